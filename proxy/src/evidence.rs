//! The audit entry of each record that the spool numbers, and its place in the chain of the run.
//!
//! The replica writes the entry and binds it to the one before as it gives the record its sequence: no control plane can then
//! write another in its place or leave it out, and whoever kept a link of the chain can show it. Entries say what decided, so
//! that each decision can be explained later. Never prompt text, never a secret; of the model only its name.
//!
//! What an entry says is in [`tollgate_proto::convert::evidence`]; here are the links.

use std::sync::Arc;

use tollgate_audit::{
    Unreadable,
    seal::{CHAIN_START, SALT_BYTES, Salt, commitment, link},
    tree::Hash,
};
use tollgate_proto::{convert::evidence, usage::v1};

pub use self::evidence::{Applied, Circumstances, Counted, ToolCall};

/// The longest user agent that an entry bears, in bytes: those of agents take 60.
pub const USER_AGENT_BYTES_MAX: usize = 256;
/// The longest reason, in bytes: sentences for clients are shorter, whatever the names in them.
pub const REASON_BYTES_MAX: usize = 512;

/// The chain of a run, up to its newest record.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Chain {
    incarnation: u64,
    link: Hash,
}

/// The system has no random bytes.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no random bytes: {0}")]
pub struct NoSalt(getrandom::Error);

/// So many salts, for one batch.
///
/// # Errors
/// When the system has no random bytes.
pub fn salts(count: usize) -> Result<Vec<Salt>, NoSalt> {
    let mut salts = vec![[0; SALT_BYTES]; count];
    getrandom::fill(salts.as_flattened_mut()).map_err(NoSalt)?;
    Ok(salts)
}

/// The link of a record that bears evidence.
#[must_use]
pub fn link_of(record: &v1::Record) -> Option<Hash> {
    let v1::Evidence { body, salt, previous } = record.evidence.as_ref()?;
    let (salt, previous) = (salt.as_slice().try_into().ok()?, previous.as_slice().try_into().ok()?);
    let (incarnation, sequence) = (record.incarnation.try_into().ok()?, record.sequence.try_into().ok()?);
    Some(link(incarnation, sequence, &previous, &commitment(&salt, body)))
}

// === impl Chain ===

impl Chain {
    /// The chain of a run that has no record yet.
    #[must_use]
    pub const fn begin(incarnation: u64) -> Self {
        Self { incarnation, link: CHAIN_START }
    }

    /// The number of the run.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Gives a record its place in the run and its evidence. The chain goes on behind it.
    #[must_use]
    pub fn append(
        &mut self,
        sequence: u64,
        record: v1::Record,
        circumstances: &Circumstances,
        salt: &Salt,
    ) -> v1::Record {
        self.seal(sequence, record, salt, |record| evidence::encode(record, circumstances))
    }

    /// As [`Self::append`], with the circumstances as they were noted.
    pub(crate) fn append_noted(&mut self, sequence: u64, record: v1::Record, noted: &[u8], salt: &Salt) -> v1::Record {
        self.seal(sequence, record, salt, |record| evidence::encode_noted(record, noted))
    }

    fn seal(
        &mut self,
        sequence: u64,
        mut record: v1::Record,
        salt: &Salt,
        encode: impl FnOnce(&v1::Record) -> Result<Vec<u8>, Unreadable>,
    ) -> v1::Record {
        record.incarnation = signed(self.incarnation);
        record.sequence = signed(sequence);
        // An entry has a JSON form.
        let body = encode(&record).unwrap_or_default();
        let previous = self.link;
        self.link = link(self.incarnation, sequence, &previous, &commitment(salt, &body));
        record.evidence = Some(v1::Evidence { body, salt: salt.to_vec(), previous: previous.to_vec() });
        record
    }
}

/// Text that somebody else wrote, within a bound and in one line.
pub(crate) fn bounded(text: &[u8], bytes_max: usize) -> Arc<str> {
    let text = String::from_utf8_lossy(text);
    let kept = text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default();
    kept.chars().map(|character| if character.is_control() { ' ' } else { character }).collect::<String>().into()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
