//! A push as it arrives: its head, then its chunks. Nothing is allocated that a bound does not allow.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tollgate_proto::{fleet::v1::Push, push};

/// The longest name of a history, in bytes.
const EPOCH_BYTES_MAX: usize = 128;
/// The length of an Ed25519 signature, in bytes.
const SIGNATURE_BYTES: usize = 64;

/// A push of which chunks are still to come.
#[derive(Debug)]
pub(crate) struct Assembly {
    head: Push,
    chunks: Vec<Bytes>,
    received: u64,
    hash: Sha256,
}

/// A push that is whole, and whose payload is the one that its head names. Its signature is still to be verified.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    /// The head.
    pub(crate) head: Push,
    /// The payload.
    pub(crate) chunks: Vec<Bytes>,
}

/// Why a push is refused before it is looked into.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum InvalidPush {
    #[error("the head has a field of the wrong length")]
    Shape,
    #[error("the payload is larger than this version takes, or of no length")]
    Size,
    #[error("the revision is not above its base")]
    Revision,
    #[error("a chunk is empty, too long, or goes beyond the length that was announced")]
    Chunk,
    #[error("it ended before its payload was whole")]
    Truncated,
    #[error("the payload is not the one that the head names")]
    Hash,
}

impl Assembly {
    /// Begins with the head.
    pub(crate) fn begin(head: Push) -> Result<Self, InvalidPush> {
        check(&head)?;
        Ok(Self { head, chunks: Vec::new(), received: 0, hash: Sha256::new() })
    }

    /// The revision to which the push leads.
    pub(crate) const fn revision(&self) -> i64 {
        self.head.revision
    }

    /// Takes the next chunk. The last one makes the push whole.
    pub(crate) fn push(mut self, chunk: Bytes) -> Result<Result<Whole, Self>, InvalidPush> {
        let announced = u64::try_from(self.head.payload_bytes).unwrap_or_default();
        let length = chunk.len();
        self.received += u64::try_from(length).unwrap_or(u64::MAX);
        if length == 0 || length > push::CHUNK_BYTES_MAX || self.received > announced {
            return Err(InvalidPush::Chunk);
        }
        self.hash.update(&chunk);
        self.chunks.push(chunk);
        if self.received < announced {
            return Ok(Err(self));
        }
        let Self { head, chunks, received: _, hash } = self;
        if hash.finalize().as_slice() == head.payload_sha256 {
            Ok(Ok(Whole { head, chunks }))
        } else {
            Err(InvalidPush::Hash)
        }
    }
}

fn check(head: &Push) -> Result<(), InvalidPush> {
    let Push {
        epoch,
        base_revision,
        revision,
        payload_bytes,
        payload_sha256,
        digest,
        signing_key: _,
        signature,
        payload_raw_bytes,
    } = head;
    let shaped = (1..=EPOCH_BYTES_MAX).contains(&epoch.len())
        && payload_sha256.len() == push::HASH_BYTES
        && digest.len() == push::HASH_BYTES
        && signature.len() == SIGNATURE_BYTES;
    if !shaped {
        return Err(InvalidPush::Shape);
    }
    let within = |bytes: i64, least: u64, most: u64| u64::try_from(bytes).is_ok_and(|b| (least..=most).contains(&b));
    if !within(*payload_bytes, 1, push::PAYLOAD_BYTES_MAX)
        || !within(*payload_raw_bytes, 0, push::PAYLOAD_RAW_BYTES_MAX)
    {
        return Err(InvalidPush::Size);
    }
    // A full snapshot of a history that has not begun has revision 0.
    if *base_revision < 0 || *revision < *base_revision {
        return Err(InvalidPush::Revision);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(payload: &[u8]) -> Push {
        Push {
            epoch: "e".into(),
            base_revision: 0,
            revision: 3,
            payload_bytes: i64::try_from(payload.len()).unwrap(),
            payload_sha256: Sha256::digest(payload).to_vec().into(),
            digest: vec![0; 32].into(),
            signing_key: "k".into(),
            signature: vec![0; 64].into(),
            payload_raw_bytes: 10,
        }
    }

    #[test]
    fn a_head_out_of_bounds_is_refused_before_anything_is_allocated() {
        type Change = (fn(&mut Push), InvalidPush);
        let changes: [Change; 11] = [
            (|head| head.epoch.clear(), InvalidPush::Shape),
            (|head| head.epoch = "e".repeat(EPOCH_BYTES_MAX + 1), InvalidPush::Shape),
            (|head| head.payload_sha256 = Bytes::new(), InvalidPush::Shape),
            (|head| head.digest = vec![0; 33].into(), InvalidPush::Shape),
            (|head| head.signature = vec![0; 63].into(), InvalidPush::Shape),
            (|head| head.payload_bytes = 0, InvalidPush::Size),
            (|head| head.payload_bytes = -1, InvalidPush::Size),
            (|head| head.payload_bytes = i64::MAX, InvalidPush::Size),
            (|head| head.payload_raw_bytes = (256 << 20) + 1, InvalidPush::Size),
            (|head| head.base_revision = -1, InvalidPush::Revision),
            (|head| head.base_revision = 4, InvalidPush::Revision),
        ];
        for (at, (change, expect)) in changes.into_iter().enumerate() {
            let mut head = head(b"payload");
            change(&mut head);
            assert_eq!(Assembly::begin(head).err(), Some(expect), "change {at}");
        }
    }

    #[test]
    fn a_payload_is_whole_however_it_is_cut() {
        let payload = b"payload";
        for cut in 1..payload.len() {
            let assembly = Assembly::begin(head(payload)).unwrap();
            let rest = assembly.push(Bytes::from_static(&payload[..cut])).unwrap().unwrap_err();
            let whole = rest.push(Bytes::from_static(&payload[cut..])).unwrap().unwrap();
            assert_eq!(whole.chunks.concat(), payload);
        }
    }

    #[test]
    fn a_chunk_that_does_not_fit_is_refused() {
        let begin = || Assembly::begin(head(b"payload")).unwrap();
        assert_eq!(begin().push(Bytes::new()).err(), Some(InvalidPush::Chunk));
        assert_eq!(begin().push(Bytes::from_static(b"payload!")).err(), Some(InvalidPush::Chunk));
        assert_eq!(begin().push(Bytes::from_static(b"pbyload")).err(), Some(InvalidPush::Hash));
        let mut long = head(&vec![0; push::CHUNK_BYTES_MAX + 1]);
        long.payload_bytes += 5;
        let long = Assembly::begin(long).unwrap();
        assert_eq!(long.push(vec![0; push::CHUNK_BYTES_MAX + 1].into()).err(), Some(InvalidPush::Chunk));
    }
}
