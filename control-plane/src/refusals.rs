//! What was refused, in the audit log: as many entries a minute as the bound of its kind allows. Each kind has a writer of its own,
//! so that a flood at the sign-in page silences no refusal of an admin call.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tollgate_audit::{Entry, Facts, Fields, Outcome};
use tonic::{Code, Status};

use crate::{
    audit, clock,
    store::{Store, StoreError},
};

/// The most entries a minute of refused admin calls on one control plane: a flood of guesses must not bury the log, nor hold up
/// the changes that are written to it. What exceeds it is counted in the next entry.
pub const CALLS_MAX: u32 = 300;
/// The same of refused sign-ins: a person who errs is always told of; a flood, which needs no token at all, fills no disk.
pub const SIGN_INS_MAX: u32 = 120;
const MINUTE_MS: i64 = 60_000;

/// Writes down what was refused. There is one for each kind in a control plane.
#[derive(Debug)]
pub struct Refusals {
    store: Store,
    entries_max: u32,
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
    /// What the log says and the caller is not told; empty when there is nothing.
    pub cause: &'a str,
}

// How many entries this minute has, and how many refusals were not written.
#[derive(Debug, Default)]
struct Count {
    minute: i64,
    written: u32,
    unwritten: u64,
}

// === impl Refusals ===

impl Refusals {
    /// Nothing was refused yet. At most `entries_max` entries a minute will be written.
    #[must_use]
    pub fn new(store: &Store, entries_max: u32) -> Self {
        Self { store: store.clone(), entries_max, count: Mutex::default() }
    }

    /// Writes a refused call down, and returns its status.
    pub async fn refused(&self, refused: Refused<'_>, status: Status) -> Status {
        let Refused { principal, call, source_address, cause } = refused;
        tracing::warn!(principal, call, source = source_address, code = ?status.code(), cause, "refused an admin call");
        let action = if status.code() == Code::Unauthenticated { "call.authenticate" } else { "call.authorize" };
        let mut detail = Fields::new();
        detail.insert("call".into(), Value::from(call));
        detail.insert("reason".into(), Value::from(status.message()));
        if !cause.is_empty() {
            detail.insert("cause".into(), Value::from(cause));
        }
        let facts = Facts { initiator: principal, source_address, detail, ..Facts::default() };
        self.write(action, Outcome::Refused, facts).await;
        status
    }

    /// Writes the entry of a refusal, unless there were too many. Whoever is refused stays refused when it cannot be written.
    pub async fn write(&self, action: &'static str, outcome: Outcome, mut facts: Facts<'_>) {
        let now = clock::now_ms();
        let taken = self.count.lock().unwrap_or_else(PoisonError::into_inner).take(self.entries_max, now);
        let Some(unwritten) = taken else { return };
        if unwritten > 0 {
            facts.detail.insert("unwritten_before".into(), Value::from(unwritten));
        }
        if let Err(error) = self.append(Entry::new(now, action, outcome, facts)).await {
            tracing::error!(%error, "failed to write a refusal to the audit log");
        }
    }

    async fn append(&self, entry: Entry) -> Result<(), StoreError> {
        let mut txn = self.store.begin().await?;
        audit::append(&mut txn, entry).await?;
        txn.commit().await
    }
}

// === impl Count ===

impl Count {
    // How many refusals before this one were not written; `None`: this one is not, either.
    fn take(&mut self, entries_max: u32, now_ms: i64) -> Option<u64> {
        if self.minute != now_ms / MINUTE_MS {
            *self = Self { minute: now_ms / MINUTE_MS, written: 0, unwritten: self.unwritten };
        }
        if self.written >= entries_max {
            self.unwritten += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.unwritten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_the_bound_of_a_minute_is_counted_in_the_next_entry() {
        let mut count = Count::default();
        let taken: Vec<_> = [0, 1, 2, 59_999, 60_000, 60_001, 60_002, 300_000, 300_001]
            .map(|now| count.take(2, now))
            .into_iter()
            .collect();
        let expect = [Some(0), Some(0), None, None, Some(2), Some(0), None, Some(1), Some(0)];
        assert_eq!(taken, expect);
    }
}
