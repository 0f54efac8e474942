//! The audit entry of each record that the spool numbers, and its place in the chain of the run.
//!
//! The replica writes the entry and binds it to the one before as it gives the record its sequence: no control plane can then
//! write another in its place or leave it out, and whoever kept a link of the chain can show it. Entries say what decided, so
//! that each decision can be explained later. Never prompt text, never a secret; of the model only its name.
//!
//! Reading order: [`Circumstances`], what is known of a visit beyond its record; [`Chain`], the links; `body`, what an entry
//! says.

use std::{net::IpAddr, sync::Arc};

use tollgate_audit::{
    seal::{CHAIN_START, SALT_BYTES, Salt, commitment, link},
    tree::Hash,
};
use tollgate_policy::{limit::Measure, money::NanoUsd, price::Price, snapshot::Model, usage::Charge};
use tollgate_proto::usage::v1;

mod body;

pub(crate) use self::body::{Members, members};

/// The longest user agent that an entry bears, in bytes: those of agents take 60.
pub const USER_AGENT_BYTES_MAX: usize = 256;
/// The longest reason, in bytes: sentences for clients are shorter, whatever the names in them.
pub const REASON_BYTES_MAX: usize = 512;

/// What is known of a visit beyond its record, for the audit log alone. What is not known stays empty.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// Where the connection came from: behind a load balancer, that. Nothing that a client claims.
    pub source_address: Option<IpAddr>,
    /// What the client says that it is, within [`USER_AGENT_BYTES_MAX`].
    pub user_agent: Arc<str>,
    /// Why it was refused, as the client was told.
    pub reason: Arc<str>,
    /// What the last attempt held when it was sent: mostly the most that it could cost.
    pub held: NanoUsd,
    /// The budgets against which it was held.
    pub charges: Arc<[Charge]>,
    /// What its tokens cost.
    pub price: Option<Applied>,
    /// The rate limits that it was counted in.
    pub limits: Arc<[Counted]>,
    /// Whether it was counted in the limit of its session.
    pub in_session: bool,
}

/// The price of a model, as it was applied: with what the way of asking adds.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The model of the catalogue.
    pub model: Arc<Model>,
    /// Its price.
    pub price: Price,
}

/// A rate limit that a visit was counted in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Counted {
    /// Whose limit it is, by id.
    pub owner: Box<str>,
    /// What it counts.
    pub measure: Measure,
    /// How many it allows.
    pub amount: u64,
    /// In how many milliseconds; 0 for [`Measure::Parallel`].
    pub span_ms: u64,
}

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
        self.append_known(sequence, record, members(circumstances), salt)
    }

    /// As [`Self::append`], with the circumstances as they were noted.
    pub(crate) fn append_known(
        &mut self,
        sequence: u64,
        mut record: v1::Record,
        known: Members,
        salt: &Salt,
    ) -> v1::Record {
        record.incarnation = signed(self.incarnation);
        record.sequence = signed(sequence);
        let body = body::encode(&record, known);
        let previous = self.link;
        self.link = link(self.incarnation, sequence, &previous, &commitment(salt, &body));
        record.evidence = Some(v1::Evidence { body, salt: salt.to_vec(), previous: previous.to_vec() });
        record
    }
}

// === impl Circumstances ===

impl Circumstances {
    /// The bytes to note with an intent, for the entry of a visit whose end is never known.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // A map of texts and numbers has a JSON form.
        serde_json::to_vec(&members(self)).unwrap_or_default()
    }

    /// Reads what [`Self::encode`] made; nothing is known from anything else.
    pub(crate) fn known(encoded: &[u8]) -> Members {
        serde_json::from_slice(encoded).unwrap_or_default()
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
