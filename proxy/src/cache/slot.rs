//! What is in a slot: a head, then the payloads of its pushes, one after the other.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use prost::Message;
use tollgate_policy::time::UnixMillis;
use tollgate_proto::{
    fleet::v1::{Push, SigningKey},
    push,
};
use zeroize::Zeroizing;

use super::{
    Context, Loaded, Stored,
    seal::{FRAME_BYTES_MAX, Key, Opener, Sealer},
};

/// The longest head, in bytes: a few hundred bytes for each of at most some thousand pushes.
const HEAD_BYTES_MAX: u32 = 4 << 20;

/// Why a slot cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SlotError {
    /// The file cannot be read or written, or does not open.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The head is not one.
    #[error("the head of the slot is not valid: {0}")]
    Head(&'static str),
    /// A delta came while no slot holds a full snapshot.
    #[error("there is no full snapshot on disk that the delta could follow")]
    NoBase,
}

/// The head of a slot. Its length stands before it, in four bytes.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Head {
    // The higher one is newer.
    #[prost(uint64, tag = "1")]
    generation: u64,
    #[prost(bytes = "vec", tag = "2")]
    anchor: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pepper: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    signing_keys: Vec<SigningKey>,
    #[prost(int64, tag = "5")]
    heard_ms: i64,
    #[prost(message, repeated, tag = "6")]
    pushes: Vec<Push>,
}

/// What is written to a slot.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    /// The head, with the heads of all pushes.
    pub(super) head: Head,
    /// The slot from which the payloads of the first pushes are copied.
    pub(super) old: Option<PathBuf>,
    /// The pushes behind those.
    pub(super) news: &'a [Stored],
}

impl Head {
    pub(super) fn new(generation: u64, context: &Context, pushes: Vec<Push>) -> Self {
        let Context { anchor, pepper, signing_keys, heard } = context;
        Self {
            generation,
            anchor: anchor.to_vec(),
            pepper: pepper.to_vec(),
            signing_keys: signing_keys.clone(),
            heard_ms: heard.get(),
            pushes,
        }
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn pushes(&self) -> &[Push] {
        &self.pushes
    }
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Head").field("generation", &self.generation).field("pushes", &self.pushes.len()).finish()
    }
}

/// Reads the head alone; `None` when there is no slot.
pub(super) fn read_head(path: &Path, key: &Key) -> Result<Option<Head>, SlotError> {
    match open(path, key) {
        Ok((_, head)) => Ok(Some(head)),
        Err(SlotError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the whole slot.
pub(super) fn read(path: &Path, key: &Key) -> Result<Loaded, SlotError> {
    let (mut opener, head) = open(path, key)?;
    let Head { generation: _, anchor, pepper, signing_keys, heard_ms, pushes } = head;
    let anchor = anchor.try_into().map_err(|_| SlotError::Head("anchor"))?;
    let pepper = Zeroizing::new(pepper);
    let context = Context { anchor, pepper, signing_keys, heard: UnixMillis::new(heard_ms) };
    let mut stored = Vec::with_capacity(pushes.len());
    for head in pushes {
        let mut left = payload_length(&head)?;
        let mut chunks = Vec::new();
        while left > 0 {
            let mut chunk = vec![0; left.min(push::CHUNK_BYTES_MAX)];
            opener.read_exact(&mut chunk)?;
            left -= chunk.len();
            chunks.push(Bytes::from(chunk));
        }
        stored.push(Stored { head, chunks });
    }
    opener.ended()?;
    Ok(Loaded { context, pushes: stored })
}

/// Writes a slot.
pub(super) fn write(writer: impl Write, key: &Key, contents: &Contents<'_>) -> Result<(), SlotError> {
    let Contents { head, old, news } = contents;
    let mut sealer = Sealer::new(writer, key)?;
    let encoded = Zeroizing::new(head.encode_to_vec());
    let length = u32::try_from(encoded.len()).ok().filter(|length| *length <= HEAD_BYTES_MAX);
    sealer.write_all(&length.ok_or(SlotError::Head("too long"))?.to_be_bytes())?;
    sealer.write_all(&encoded)?;
    if let Some(old) = old {
        let (mut opener, _) = open(old, key)?;
        io::copy(&mut opener, &mut sealer)?;
    }
    for chunk in news.iter().flat_map(|stored| &stored.chunks) {
        sealer.write_all(chunk)?;
    }
    Ok(sealer.finish()?)
}

// Leaves the reader behind the head.
fn open(path: &Path, key: &Key) -> Result<(Opener<BufReader<File>>, Head), SlotError> {
    let file = BufReader::with_capacity(FRAME_BYTES_MAX, File::open(path)?);
    let mut opener = Opener::new(file, key)?;
    let mut length = [0; 4];
    opener.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > HEAD_BYTES_MAX {
        return Err(SlotError::Head("too long"));
    }
    let mut encoded = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or_default()]);
    opener.read_exact(&mut encoded)?;
    let head = Head::decode(encoded.as_slice()).map_err(|_| SlotError::Head("not decodable"))?;
    Ok((opener, head))
}

fn payload_length(head: &Push) -> Result<usize, SlotError> {
    let length = u64::try_from(head.payload_bytes).ok().filter(|length| *length <= push::PAYLOAD_BYTES_MAX);
    length.and_then(|length| usize::try_from(length).ok()).ok_or(SlotError::Head("payload length"))
}
