//! What callers of the spool see: what they hand in, what they are told, and why they are turned away.

use std::sync::Arc;

use tollgate_policy::{
    id::{CredentialId, ProviderId},
    money::NanoUsd,
    time::UnixMillis,
    usage::{Attribution, Charge, Outcome, Record, Tokens},
};
use tollgate_proto::usage::v1;
use tollgate_settings::Setting;

use crate::evidence::{Circumstances, NoSalt};

/// What a lost machine may lose. A killed process loses nothing but with [`Durability::Memory`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Durability {
    /// Nothing: an intent is on the disk before anything is sent to a provider.
    Strict,
    /// The last few milliseconds.
    #[default]
    Group,
    /// Everything that was not reported, and so may a process that is killed. Nothing is written to disk.
    Memory,
}

/// How a spool is kept.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What a lost machine may lose.
    pub durability: Durability,
    /// The bound, in bytes of unreported records; at least [`BYTES_MIN`](super::BYTES_MIN).
    pub bytes_max: u64,
}

/// What is remembered before a visit may cost anything.
#[derive(Clone, Debug)]
pub struct Intent {
    /// The visit's number, unique within the run.
    pub visit: u64,
    /// The `request-id` that the client will see.
    pub request_id: Arc<str>,
    /// When the request arrived.
    pub arrived: UnixMillis,
    /// Whose it is.
    pub attribution: Attribution,
    /// What is called.
    pub operation: Arc<str>,
    /// The model that the client asked for.
    pub model: Arc<str>,
    /// The provider that will be called.
    pub provider: Option<ProviderId>,
    /// The credential that will be used.
    pub credential: Option<CredentialId>,
    /// The most that it can cost: its cost, should its end never be known.
    pub hold: NanoUsd,
    /// The budgets that it is charged to.
    pub charges: Arc<[Charge]>,
    /// Whether the model has no price.
    pub unpriced: bool,
    /// The policy revision that decided.
    pub revision: u64,
    /// What the audit log shall say besides.
    pub circumstances: Circumstances,
}

/// A visit that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its number, if an intent was written.
    pub visit: Option<u64>,
    /// Its record, of which incarnation and sequence are not read.
    pub record: v1::Record,
    /// What the audit log shall say besides.
    pub circumstances: Circumstances,
}

/// The proof that an intent was written.
#[derive(Clone, Copy, Debug)]
#[must_use = "await Spool::durable with it before anything is sent"]
pub struct Ticketed {
    pub(super) position: u64,
}

/// Why an intent is not taken. The visit must not go on, unless it may cost no budget anything and its key says so.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Backlog {
    /// Too much is waiting for the control plane.
    #[error("spool is full of unreported records")]
    Full,
    /// The disk refused a write; nothing is taken until the replica is started anew.
    #[error("spool cannot be written")]
    Failed,
}

/// Why a spool cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The bound is too small.
    #[error("spool_bytes_max must be at least {}", super::BYTES_MIN)]
    TooSmall,
    /// The store failed. That another process has it open is one of the reasons.
    #[error("spool at {path}: {reason}")]
    Store {
        /// The directory.
        path: String,
        /// What the store says.
        reason: String,
    },
    /// Nothing could be sealed.
    #[error("spool: {0}")]
    Salt(#[from] NoSalt),
    /// A newer version wrote it.
    #[error("spool at {path} was written by a newer version")]
    Newer {
        /// The directory.
        path: String,
    },
}

/// What was found in the spool when it was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Recovered {
    /// Intents without an outcome, now uncertain records.
    pub uncertain: u64,
    /// Outcomes that were not reported.
    pub unreported: u64,
    /// Values that cannot be read, now gap records.
    pub unreadable: u64,
}

/// How full the spool is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Depth {
    /// Visits that are open and may cost something.
    pub intents: u64,
    /// Records that are not reported.
    pub outcomes: u64,
    /// What both take, in bytes.
    pub bytes: u64,
    /// The bound.
    pub bytes_max: u64,
    /// Records of visits without an intent that found no room or could not be written, in this run.
    pub dropped: u64,
}

/// Records of one run, in sequence, for one report.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// The run.
    pub incarnation: u64,
    /// The sequence of the first record.
    pub first: u64,
    /// The records.
    pub records: Vec<v1::Record>,
}

// === impl Intent ===

impl Intent {
    /// The record that this becomes when its end is never known: the provider may have been asked once, at full cost.
    pub(super) fn presumed(&self, incarnation: u64) -> Record {
        Record {
            incarnation,
            sequence: 0,
            request_id: Arc::clone(&self.request_id),
            arrived: self.arrived,
            duration_ms: 0,
            first_byte_ms: 0,
            outcome: Outcome::Uncertain,
            refusal: Arc::default(),
            status: 0,
            attribution: self.attribution.clone(),
            operation: Arc::clone(&self.operation),
            model: Arc::clone(&self.model),
            answered_model: Arc::default(),
            provider: self.provider.clone(),
            credential: self.credential.clone(),
            streamed: false,
            tokens: Tokens::default(),
            cost: self.hold,
            unpriced: self.unpriced,
            revision: self.revision,
            upstream_request_id: Arc::default(),
            attempts: 1,
            charges: Arc::clone(&self.charges),
            held_incarnation: None,
        }
    }
}

// === impl Durability ===

impl Setting for Durability {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "strict" => Ok(Self::Strict),
            "group" => Ok(Self::Group),
            "memory" => Ok(Self::Memory),
            _ => Err("must be strict, group or memory"),
        }
    }
}
