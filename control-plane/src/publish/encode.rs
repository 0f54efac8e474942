//! A push as it is sent: compressed, cut into chunks and signed, once, whoever asks for it and however many do.

use std::{
    io::{self, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

use prost::{Message as _, bytes::Bytes};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use tollgate_proto::{
    fleet::v1::{Item, ItemRef, Push},
    push::{self, Digest},
};

use super::{PublishError, signer::Signer};

/// Fast, and within a few percent of what slower levels reach on hashes and ids, which do not compress.
const ZSTD_LEVEL: i32 = 3;

/// A push, ready to be sent. Its parts are shared between streams.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    /// The signed head.
    pub(crate) head: Push,
    /// The payload.
    pub(crate) chunks: Arc<[Bytes]>,
}

/// A push that is encoded when the first stream wants it.
#[derive(Debug)]
pub(crate) struct Lazy {
    base: i64,
    revision: i64,
    parts: Mutex<Option<Arc<Parts>>>,
    encoded: OnceCell<Encoded>,
}

/// What a push is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Names the history.
    pub(crate) epoch: String,
    /// The revision that it builds on; 0 for a full snapshot.
    pub(crate) base: i64,
    /// The revision that it leads to.
    pub(crate) revision: i64,
    /// The digest of the state that it leads to.
    pub(crate) digest: Digest,
    /// Objects that are new or changed, in the order of their names.
    pub(crate) upserts: Vec<(i32, Arc<str>, Bytes)>,
    /// Objects that are gone.
    pub(crate) deletes: Vec<(i32, Arc<str>)>,
    /// Signs it.
    pub(crate) signer: Arc<Signer>,
}

// === impl Lazy ===

impl Lazy {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let (base, revision) = (parts.base, parts.revision);
        Arc::new(Self { base, revision, parts: Mutex::new(Some(Arc::new(parts))), encoded: OnceCell::new() })
    }

    /// The revision that it builds on.
    pub(crate) const fn base(&self) -> i64 {
        self.base
    }

    /// The revision that it leads to.
    pub(crate) const fn revision(&self) -> i64 {
        self.revision
    }

    /// The push, encoded on a thread for such work the first time. Whoever waits meanwhile gets the same.
    ///
    /// # Errors
    /// When it cannot be encoded; the next caller tries again.
    pub(crate) async fn get(&self) -> Result<&Encoded, PublishError> {
        self.encoded
            .get_or_try_init(|| async {
                let parts = self.parts().clone().ok_or(PublishError::Encoding)?;
                let encoded = tokio::task::spawn_blocking(move || encode(&parts)).await;
                let encoded = encoded.map_err(|_| PublishError::Encoding)??;
                *self.parts() = None;
                Ok(encoded)
            })
            .await
    }

    pub(super) fn parts(&self) -> std::sync::MutexGuard<'_, Option<Arc<Parts>>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Encodes a push. Blocks.
pub(crate) fn encode(parts: &Parts) -> Result<Encoded, PublishError> {
    let Parts { epoch, base, revision, digest, upserts, deletes, signer } = parts;
    let (payload, raw_bytes) = compress(upserts, deletes).map_err(|_| PublishError::Encoding)?;
    let length = u64::try_from(payload.len()).unwrap_or(u64::MAX);
    if raw_bytes > push::PAYLOAD_RAW_BYTES_MAX || length > push::PAYLOAD_BYTES_MAX {
        return Err(PublishError::TooLarge { revision: *revision, bytes: raw_bytes });
    }
    let head = Push {
        epoch: epoch.clone(),
        base_revision: *base,
        revision: *revision,
        payload_bytes: i64::try_from(length).unwrap_or(i64::MAX),
        payload_sha256: Sha256::digest(&payload).to_vec().into(),
        digest: digest.to_bytes().to_vec().into(),
        signing_key: String::new(),
        signature: Bytes::new(),
        payload_raw_bytes: i64::try_from(raw_bytes).unwrap_or(i64::MAX),
    };
    Ok(Encoded { head: signer.sign(head), chunks: chunks(payload.into()) })
}

// Item by item, so that a full snapshot is not in memory once more before it is compressed.
fn compress(upserts: &[(i32, Arc<str>, Bytes)], deletes: &[(i32, Arc<str>)]) -> io::Result<(Vec<u8>, u64)> {
    let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    encoder.window_log(push::ZSTD_WINDOW_LOG_MAX.min(21))?;
    let (mut record, mut raw_bytes) = (Vec::new(), 0);
    let mut write = |tag: u32, message: &dyn Fn(&mut Vec<u8>) -> io::Result<()>| {
        record.clear();
        prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut record);
        message(&mut record)?;
        raw_bytes += u64::try_from(record.len()).unwrap_or(u64::MAX);
        encoder.write_all(&record)
    };
    for (kind, id, body) in upserts {
        let item = Item { kind: *kind, id: id.to_string(), body: body.clone() };
        write(1, &|record| item.encode_length_delimited(record).map_err(io::Error::other))?;
    }
    for (kind, id) in deletes {
        let gone = ItemRef { kind: *kind, id: id.to_string() };
        write(2, &|record| gone.encode_length_delimited(record).map_err(io::Error::other))?;
    }
    Ok((encoder.finish()?, raw_bytes))
}

fn chunks(mut payload: Bytes) -> Arc<[Bytes]> {
    let mut chunks = Vec::new();
    while !payload.is_empty() {
        chunks.push(payload.split_to(payload.len().min(push::CHUNK_BYTES_MAX)));
    }
    chunks.into()
}
