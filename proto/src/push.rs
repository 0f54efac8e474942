//! What both ends of a Follow stream compute alike: item hashes, digests, the bytes that a signature covers, and bounds.

use sha2::{Digest as _, Sha256};

use crate::fleet::v1;

/// The longest payload when decompressed, in bytes: ten times what 100,000 keys take.
pub const PAYLOAD_RAW_BYTES_MAX: u64 = 256 << 20;
/// The longest payload as sent, in bytes. Compression may gain nothing, so it is the same.
pub const PAYLOAD_BYTES_MAX: u64 = PAYLOAD_RAW_BYTES_MAX;
/// The longest chunk, in bytes: far below what a gRPC peer accepts as one message, and large enough to cost nothing.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// The longest message on a Follow stream, in bytes: a chunk with its frame, or the credentials. Replaces the 4 MiB of tonic.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// The longest item, in bytes: its body holds at most a few lists of 200 patterns or ids.
pub const ITEM_BYTES_MAX: usize = 1 << 20;
/// The longest id of an item, in bytes: a model's is its vendor, a slash, and its name.
pub const ITEM_ID_BYTES_MAX: usize = 512;
/// The most items in one push: as many as fit when each is as short as a key can be.
pub const ITEMS_MAX: usize = 2_000_000;
/// The base-2 logarithm of the largest window that a decompressor allocates: 8 MiB.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// The most signing keys in a Welcome: the current one and the next.
pub const SIGNING_KEYS_MAX: usize = 2;
/// The longest reason of a Nack or Resync, in bytes.
pub const REASON_BYTES_MAX: usize = 512;
/// How often a control plane says that it is there, in seconds.
pub const HEARTBEAT_SECONDS: u64 = 5;
/// How often a replica says that it is there, in seconds.
pub const ALIVE_SECONDS: u64 = 10;
/// After how many silent seconds either side gives the stream up: three of the slower interval.
pub const SILENCE_SECONDS_MAX: u64 = 30;
/// The length of a SHA-256, a digest and an Ed25519 public key, in bytes.
pub const HASH_BYTES: usize = 32;
/// The name for which the control plane's certificate on the fleet listener is issued, wherever it listens.
pub const SERVER_NAME: &str = "tollgate-control-plane";
/// With what the URI in a replica's certificate begins; the replica's id follows.
pub const REPLICA_URI_PREFIX: &str = "tollgate://replica/";
/// With what a join token begins.
pub const JOIN_TOKEN_PREFIX: &str = "tgj_";
/// The metadata in which a replica that holds the fleet token, and so no certificate, says its name.
pub const REPLICA_NAME_METADATA: &str = "tollgate-replica";

const SIGNATURE_CONTEXT: &[u8] = b"tollgate-push-v1\0";

/// SHA-256 over one item.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ItemHash([u8; HASH_BYTES]);

/// What a state amounts to: the sum of its items' hashes modulo 2^256. It does not depend on the order, and a change costs
/// what changed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Digest([u64; 4]);

/// Hashes an item: SHA-256(kind as one byte || length of id as 4 bytes big endian || id || body).
#[must_use]
pub fn item_hash(kind: v1::ItemKind, id: &str, body: &[u8]) -> ItemHash {
    let mut hash = Sha256::new();
    hash.update([u8::try_from(i32::from(kind)).unwrap_or(u8::MAX)]);
    hash.update(u32::try_from(id.len()).unwrap_or(u32::MAX).to_be_bytes());
    hash.update(id.as_bytes());
    hash.update(body);
    ItemHash(hash.finalize().into())
}

/// The bytes that the signature of a push covers; they are laid out in the comment of the message `Push`.
#[must_use]
pub fn signed_bytes(push: &v1::Push) -> Vec<u8> {
    let v1::Push {
        epoch,
        base_revision,
        revision,
        payload_bytes,
        payload_sha256,
        digest,
        signing_key: _,
        signature: _,
        payload_raw_bytes: _,
    } = push;
    let mut bytes = Vec::with_capacity(SIGNATURE_CONTEXT.len() + epoch.len() + 4 + 3 * 8 + 2 * HASH_BYTES);
    bytes.extend_from_slice(SIGNATURE_CONTEXT);
    bytes.extend_from_slice(&u32::try_from(epoch.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(epoch.as_bytes());
    for number in [base_revision, revision, payload_bytes] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(payload_sha256);
    bytes.extend_from_slice(digest);
    bytes
}

/// The id of a model's item: its vendor, a slash, its name. No vendor has a slash in it.
#[must_use]
pub fn model_id(vendor: &str, name: &str) -> String {
    format!("{vendor}/{name}")
}

/// Cuts a reason for a Nack or Resync at its bound, between characters.
#[must_use]
pub fn bounded_reason(reason: &str) -> String {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default().to_owned()
}

// === impl ItemHash ===

impl ItemHash {
    /// The hash itself.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }
}

// === impl Digest ===

impl Digest {
    /// Adds an item.
    pub fn add(&mut self, hash: &ItemHash) {
        let mut carry = false;
        for (word, other) in self.0.iter_mut().zip(words(&hash.0)) {
            (*word, carry) = word.carrying_add(other, carry);
        }
    }

    /// Takes an item away.
    pub fn remove(&mut self, hash: &ItemHash) {
        let mut borrow = false;
        for (word, other) in self.0.iter_mut().zip(words(&hash.0)) {
            (*word, borrow) = word.borrowing_sub(other, borrow);
        }
    }

    /// The digest as it is sent: 32 bytes, little endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HASH_BYTES] {
        let mut bytes = [0; HASH_BYTES];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

fn words(bytes: &[u8; HASH_BYTES]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = chunk.first_chunk().copied().map_or(0, u64::from_le_bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::bytes::Bytes;

    use super::*;

    fn push() -> v1::Push {
        v1::Push {
            epoch: "e1".into(),
            base_revision: 1,
            revision: 2,
            payload_bytes: 3,
            payload_sha256: Bytes::from(vec![4; 32]),
            digest: Bytes::from(vec![5; 32]),
            signing_key: "k".into(),
            signature: Bytes::new(),
            payload_raw_bytes: 6,
        }
    }

    #[test]
    fn the_signature_covers_each_field_that_decides() {
        let bytes = signed_bytes(&push());
        let mut expect = b"tollgate-push-v1\0\0\0\0\x02e1".to_vec();
        expect.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
        expect.extend([4; 32]);
        expect.extend([5; 32]);
        assert_eq!(bytes, expect);
        let changes: [fn(&mut v1::Push); 6] = [
            |push| push.epoch = "e2".into(),
            |push| push.base_revision = 0,
            |push| push.revision = 3,
            |push| push.payload_bytes = 4,
            |push| push.payload_sha256 = Bytes::from(vec![0; 32]),
            |push| push.digest = Bytes::from(vec![0; 32]),
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut changed = push();
            change(&mut changed);
            assert_ne!(signed_bytes(&changed), bytes, "change {at}");
        }
    }

    #[test]
    fn an_item_hash_tells_kind_id_and_body_apart() {
        let hashes = [
            item_hash(v1::ItemKind::Key, "ab", b"c"),
            item_hash(v1::ItemKind::Key, "a", b"bc"),
            item_hash(v1::ItemKind::Key, "abc", b""),
            item_hash(v1::ItemKind::User, "ab", b"c"),
        ];
        for (at, one) in hashes.iter().enumerate() {
            assert!(hashes.iter().skip(at + 1).all(|other| other != one));
        }
        // A fixed value, computed with another program, so that two versions cannot drift apart together.
        let hex: String = hashes[0].as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ca904701a27819701bc811058a6ed1196903e78ad69c452d1ca57c0da08f1614");
    }

    #[test]
    fn a_carry_runs_through_every_word() {
        let mut digest = Digest::default();
        digest.add(&ItemHash([0xff; 32]));
        let mut one = [0; 32];
        one[0] = 1;
        digest.add(&ItemHash(one));
        assert_eq!(digest, Digest::default());
        digest.remove(&ItemHash(one));
        assert_eq!(digest.to_bytes(), [0xff; 32]);
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(bounded_reason("short"), "short");
        let long = format!("{}ä", "a".repeat(REASON_BYTES_MAX - 1));
        assert_eq!(bounded_reason(&long).len(), REASON_BYTES_MAX - 1);
    }

    proptest! {
        #[test]
        fn the_digest_depends_on_what_is_in_it_and_not_on_the_way_there(
            items in prop::collection::vec(any::<[u8; 32]>(), 0..20),
            passing in prop::collection::vec(any::<[u8; 32]>(), 0..20),
        ) {
            let mut straight = Digest::default();
            items.iter().for_each(|item| straight.add(&ItemHash(*item)));
            let mut winding = Digest::default();
            passing.iter().for_each(|item| winding.add(&ItemHash(*item)));
            items.iter().rev().for_each(|item| winding.add(&ItemHash(*item)));
            passing.iter().for_each(|item| winding.remove(&ItemHash(*item)));
            prop_assert_eq!(straight, winding);
        }
    }
}
