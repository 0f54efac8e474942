//! What values look like: one byte for the version of the encoding, then the record as the contract encodes it.

use prost::Message as _;
use tollgate_policy::time::UnixMillis;
use tollgate_proto::{convert::usage::Gap, usage::v1};

use super::Intent;

/// The version of the encoding. Protocol buffers carry new fields by themselves; another number would be another encoding.
const VERSION: u8 = 1;

/// Encodes a record, or the record that an intent becomes.
pub(super) fn encode(record: &v1::Record) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + record.encoded_len());
    value.push(VERSION);
    // A vector takes whatever is encoded.
    let _ = record.encode(&mut value);
    value
}

/// Encodes an intent: the record that it becomes, and in the place of its entry what the entry shall say besides.
pub(super) fn intent(intent: &Intent, incarnation: u64) -> Vec<u8> {
    let evidence = v1::Evidence { body: intent.circumstances.encode(), ..v1::Evidence::default() };
    encode(&v1::Record { evidence: Some(evidence), ..v1::Record::from(&intent.presumed(incarnation)) })
}

/// Decodes what [`encode`] made; `None` for anything else.
pub(super) fn decode(value: &[u8]) -> Option<v1::Record> {
    let (version, encoded) = value.split_first()?;
    if *version == VERSION { v1::Record::decode(encoded).ok() } else { None }
}

/// The first of these records that fit into so many bytes together; at least one.
pub(super) fn within(mut records: Vec<v1::Record>, bytes_max: usize) -> Vec<v1::Record> {
    let mut bytes: usize = 0;
    let fits = |record: &v1::Record| {
        bytes = bytes.saturating_add(record.encoded_len());
        bytes <= bytes_max
    };
    let most = records.iter().map(fits).take_while(|fits| *fits).count();
    records.truncate(most.max(1));
    records
}

/// A gap record for one record that is lost.
pub(super) fn gap(incarnation: u64, sequence: u64) -> v1::Record {
    v1::Record::from(&Gap { incarnation, sequence, from: UnixMillis::new(0), duration_ms: 0, dropped: 1 })
}

/// The records from `first` to `last`, with a gap record for each that is missing or cannot be read: one bad value must not
/// hold up those behind it. Returns also how many of these there are.
pub(super) fn contiguous(
    incarnation: u64,
    first: u64,
    last: u64,
    found: Vec<(u64, impl AsRef<[u8]>)>,
) -> (Vec<v1::Record>, usize) {
    let mut found = found.into_iter().peekable();
    let mut lost = 0;
    let record = |sequence| {
        let value = found.next_if(|(at, _)| *at == sequence);
        value.and_then(|(_, value)| decode(value.as_ref())).unwrap_or_else(|| {
            lost += 1;
            gap(incarnation, sequence)
        })
    };
    let records = (first..=last).map(record).collect();
    (records, lost)
}
