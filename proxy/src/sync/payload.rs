//! The payload of a push, read record by record while it is decompressed: memory is bounded by one item, not by the payload.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Read},
};

use bytes::{Buf as _, Bytes};
use prost::Message as _;
use tollgate_proto::{
    fleet::v1::{Item, ItemRef},
    push,
};
use zstd::stream::read::Decoder;

// In the message Payload: field number and wire type 2, a length and so many bytes.
const UPSERTS: u64 = (1 << 3) | 2;
const DELETES: u64 = (2 << 3) | 2;
// An item's own fields take less than this beside its body.
const RECORD_BYTES_MAX: u64 = push::ITEM_BYTES_MAX as u64 + 1024;

/// Reads the records of a payload.
pub(crate) struct Records {
    raw: BufReader<Counted<Decoder<'static, BufReader<Chunks>>>>,
    announced: u64,
    records: usize,
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    /// An object that is new or changed.
    Upsert(Item),
    /// An object that is gone.
    Delete(ItemRef),
}

/// Why a payload cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidPayload {
    #[error("the payload cannot be decompressed or is cut short: {0}")]
    Read(#[from] io::Error),
    #[error("the payload has another length than its head says")]
    Length,
    #[error("the payload has a part that is not known to this version")]
    UnknownPart,
    #[error("the payload has too many items, or one that is too long")]
    Bounds,
    #[error("an item cannot be decoded: {0}")]
    Item(#[from] prost::DecodeError),
}

impl Records {
    /// Begins to read. `announced` is the length of the payload when decompressed.
    pub(crate) fn new(chunks: Vec<Bytes>, announced: u64) -> Result<Self, InvalidPayload> {
        let mut decoder = Decoder::new(Chunks(chunks.into()))?;
        decoder.window_log_max(push::ZSTD_WINDOW_LOG_MAX)?;
        // One byte more than announced is enough to know that it is too long.
        let raw = BufReader::new(Counted { inner: decoder, left: announced.saturating_add(1) });
        Ok(Self { raw, announced, records: 0 })
    }

    /// The next record; `None` at the end, when the length was the announced one.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, InvalidPayload> {
        if self.raw.fill_buf()?.is_empty() {
            return if self.raw.get_ref().left == 1 { Ok(None) } else { Err(InvalidPayload::Length) };
        }
        self.records += 1;
        let (tag, length) = (varint(&mut self.raw)?, varint(&mut self.raw)?);
        if self.records > push::ITEMS_MAX || length > RECORD_BYTES_MAX || length > self.announced {
            return Err(InvalidPayload::Bounds);
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| InvalidPayload::Bounds)?];
        self.raw.read_exact(&mut bytes)?;
        match tag {
            UPSERTS => Ok(Some(Record::Upsert(Item::decode(Bytes::from(bytes))?))),
            DELETES => Ok(Some(Record::Delete(ItemRef::decode(Bytes::from(bytes))?))),
            _ => Err(InvalidPayload::UnknownPart),
        }
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("announced", &self.announced).field("records", &self.records).finish()
    }
}

// The chunks as one run of bytes. Each is let go when it has been read.
struct Chunks(VecDeque<Bytes>);

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(chunk) = self.0.front_mut() else { return Ok(0) };
        let length = chunk.len().min(buffer.len());
        let Some(part) = buffer.get_mut(..length) else { return Ok(0) };
        chunk.copy_to_slice(part);
        if chunk.is_empty() {
            self.0.pop_front();
        }
        Ok(length)
    }
}

// Ends after so many bytes, like `Read::take`, and tells how many are left.
struct Counted<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.inner.read(buffer.get_mut(..length).unwrap_or_default())?;
        self.left = self.left.saturating_sub(u64::try_from(read).unwrap_or_default());
        Ok(read)
    }
}

// Protocol buffers: seven bits a byte, lowest first, at most ten bytes.
fn varint(reader: &mut impl Read) -> Result<u64, InvalidPayload> {
    let mut bytes = [0; 10];
    for (at, byte) in bytes.iter_mut().enumerate() {
        reader.read_exact(std::slice::from_mut(byte))?;
        if *byte < 0x80 {
            let whole = bytes.get(..=at).unwrap_or_default();
            return Ok(prost::encoding::decode_varint(&mut &*whole)?);
        }
    }
    Err(InvalidPayload::UnknownPart)
}

#[cfg(test)]
mod tests {
    use tollgate_proto::fleet::v1::Payload;

    use super::*;

    fn payload() -> Payload {
        let item = |id: &str| Item { kind: 4, id: id.into(), body: Bytes::from(vec![7; 300]) };
        Payload { upserts: vec![item("a"), item("b")], deletes: vec![ItemRef { kind: 2, id: "c".into() }] }
    }

    fn read(raw: &[u8], announced: u64) -> Result<Vec<Record>, InvalidPayload> {
        let packed = zstd::encode_all(raw, 3).unwrap();
        let chunks = packed.chunks(7).map(Bytes::copy_from_slice).collect();
        let mut records = Records::new(chunks, announced)?;
        std::iter::from_fn(|| records.next().transpose()).collect()
    }

    #[test]
    fn the_records_are_those_of_the_message() {
        let raw = payload().encode_to_vec();
        let records = read(&raw, raw.len() as u64).unwrap();
        let Payload { upserts, deletes } = payload();
        let expect: Vec<Record> =
            upserts.into_iter().map(Record::Upsert).chain(deletes.into_iter().map(Record::Delete)).collect();
        assert_eq!(records, expect);
        assert_eq!(read(b"", 0).unwrap(), vec![]);
    }

    #[test]
    fn each_cut_and_each_other_length_is_noticed() {
        let raw = payload().encode_to_vec();
        let length = raw.len() as u64;
        for cut in 0..raw.len() {
            assert!(read(&raw[..cut], length).is_err(), "cut at {cut}");
        }
        for announced in [0, 1, length - 1, length + 1, u64::MAX] {
            assert!(read(&raw, announced).is_err(), "announced {announced}");
        }
        let packed = zstd::encode_all(raw.as_slice(), 3).unwrap();
        for cut in 0..packed.len() {
            let mut records = Records::new(vec![Bytes::copy_from_slice(&packed[..cut])], length).unwrap();
            let all: Result<Vec<_>, _> = std::iter::from_fn(|| records.next().transpose()).collect();
            assert!(all.is_err(), "packed cut at {cut}");
        }
    }

    #[test]
    fn hostile_payloads_are_refused() {
        let unknown_part = [payload().encode_to_vec(), vec![0x1a, 0x00]].concat();
        let endless_varint = vec![0xff; 64];
        let too_long = [&[0x0a][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
        let not_an_item = vec![0x0a, 0x02, 0xff, 0xff];
        for raw in [unknown_part, endless_varint, too_long, not_an_item] {
            assert!(read(&raw, raw.len() as u64).is_err(), "{raw:?}");
        }
        let mut garbage = Records::new(vec![Bytes::from_static(b"not zstd at all")], 100).unwrap();
        assert!(garbage.next().is_err());
    }

    #[test]
    fn a_bomb_stops_at_the_announced_length() {
        // Zeros decode as records of field 0, so the bomb consists of empty deletes: valid all the way.
        let bomb: Vec<u8> = [0x12, 0x00].repeat(8 << 20);
        let packed = zstd::encode_all(bomb.as_slice(), 19).unwrap();
        assert!(packed.len() < bomb.len() / 1_000);
        let mut records = Records::new(vec![packed.into()], 1_000).unwrap();
        let mut count = 0;
        let end = loop {
            match records.next() {
                Ok(Some(_)) => count += 1,
                end => break end,
            }
        };
        assert!(end.is_err());
        assert!(count <= 501, "read {count} records of 500");
    }
}
