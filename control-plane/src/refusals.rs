//! Admin calls that were refused: each is logged and written to the audit log, as many as its bound allows.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tollgate_audit::{Entry, Facts, Fields, Outcome};
use tonic::{Code, Status};

use crate::{
    audit, clock,
    store::{Store, StoreError},
};

/// The most entries a minute on one control plane: a flood of guesses must not bury the log, nor hold up the changes that are
/// written to it. What exceeds it is counted in the next entry.
const ENTRIES_MAX: u32 = 300;
const MINUTE_MS: i64 = 60_000;

/// Writes down what was refused. There is one in a control plane.
#[derive(Debug)]
pub struct Refusals {
    store: Store,
    count: Mutex<Count>,
}

/// A call that was refused.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// Who called: `unknown`, or a principal.
    pub principal: &'a str,
    /// The call: `/tollgate.admin.v1.KeyService/CreateKey`.
    pub call: &'a str,
    /// From where.
    pub source_address: &'a str,
}

// How many entries this minute has, and how many refusals were not written.
#[derive(Debug, Default)]
struct Count {
    minute: i64,
    written: u32,
    unwritten: u64,
}

impl Refusals {
    /// Nothing was refused yet.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, count: Mutex::default() }
    }

    /// Writes a refusal down, and returns its status.
    pub async fn refused(&self, refused: Refused<'_>, status: Status) -> Status {
        let Refused { principal, call, source_address } = refused;
        tracing::warn!(principal, call, source = source_address, code = ?status.code(), "refused an admin call");
        let action = if status.code() == Code::Unauthenticated { "call.authenticate" } else { "call.authorize" };
        let mut detail = Fields::new();
        detail.insert("call".into(), Value::from(call));
        detail.insert("reason".into(), Value::from(status.message()));
        let facts = Facts { initiator: principal, source_address, detail, ..Facts::default() };
        self.write(action, facts).await;
        status
    }

    /// Writes the entry of a refusal, unless there were too many.
    pub async fn write(&self, action: &'static str, mut facts: Facts<'_>) {
        let now = clock::now_ms();
        let Some(unwritten) = self.take(now) else { return };
        if unwritten > 0 {
            facts.detail.insert("unwritten_before".into(), Value::from(unwritten));
        }
        if let Err(error) = self.append(Entry::new(now, action, Outcome::Refused, facts)).await {
            tracing::error!(%error, "failed to write a refusal to the audit log");
        }
    }

    async fn append(&self, entry: Entry) -> Result<(), StoreError> {
        let mut txn = self.store.begin().await?;
        audit::append(&mut txn, entry).await?;
        txn.commit().await
    }

    // How many refusals before this one were not written; `None`: this one is not, either.
    fn take(&self, now_ms: i64) -> Option<u64> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        if count.minute != now_ms / MINUTE_MS {
            *count = Count { minute: now_ms / MINUTE_MS, written: 0, unwritten: count.unwritten };
        }
        if count.written >= ENTRIES_MAX {
            count.unwritten += 1;
            return None;
        }
        count.written += 1;
        Some(std::mem::take(&mut count.unwritten))
    }
}
