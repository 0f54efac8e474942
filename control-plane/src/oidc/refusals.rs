//! What the log says of those who are not let in. Anybody can be refused as often as they like: the log takes so many a minute,
//! and the next entry says how many were left out.

use std::sync::{Mutex, PoisonError};

use serde_json::json;
use tollgate_audit::{Entry, Facts, Fields, Outcome};

use crate::{audit, clock, store::Store};

/// The most entries a minute: a person who errs is always told of; a flood fills no disk.
const ENTRIES_MAX: u32 = 120;
const MINUTE_MS: i64 = 60_000;

/// Writes refusals.
#[derive(Debug)]
pub struct Refusals {
    store: Store,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    begun: i64,
    written: u32,
    omitted: u64,
}

/// A refusal. None of it is a token or a code.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refusal<'a> {
    /// What was asked: `callback`, `token`.
    pub step: &'a str,
    /// Why not.
    pub reason: &'a str,
    /// The issuer's name, where it is known.
    pub issuer: &'a str,
    /// `user/<id>` or `session/<id>`, where it is known.
    pub target: &'a str,
    /// Where the caller is.
    pub source_address: &'a str,
    /// Whether it was not so much refused as failed.
    pub is_failure: bool,
}

// === impl Refusals ===

impl Refusals {
    /// Writes into this database.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), window: Mutex::default() }
    }

    /// Writes one. Whoever is refused stays refused when it cannot be written.
    pub async fn write(&self, refusal: Refusal<'_>) {
        let now = clock::now_ms();
        tracing::info!(step = refusal.step, reason = refusal.reason, issuer = refusal.issuer, "refused a sign-in");
        let Some(omitted) = self.admit(now) else { return };
        let entry = refusal.entry(omitted, now);
        let written = async {
            let mut txn = self.store.begin().await?;
            audit::append(&mut txn, entry).await?;
            txn.commit().await
        };
        if let Err(error) = written.await {
            tracing::error!(%error, "failed to write a refusal into the audit log");
        }
    }

    fn admit(&self, now: i64) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now - window.begun >= MINUTE_MS {
            (window.begun, window.written) = (now, 0);
        }
        if window.written >= ENTRIES_MAX {
            window.omitted += 1;
            return None;
        }
        window.written += 1;
        Some(std::mem::take(&mut window.omitted))
    }
}

// === impl Refusal ===

impl Refusal<'_> {
    fn entry(&self, omitted: u64, now: i64) -> Entry {
        let Self { step, reason, issuer, target, source_address, is_failure } = self;
        let mut detail = Fields::new();
        detail.insert("step".into(), json!(step));
        detail.insert("reason".into(), json!(reason));
        if omitted > 0 {
            detail.insert("omitted_entries".into(), json!(omitted));
        }
        let initiator = if issuer.is_empty() { "anonymous".to_owned() } else { format!("issuer/{issuer}") };
        let facts = Facts { initiator: &initiator, target, source_address, detail, ..Facts::default() };
        let outcome = if *is_failure { Outcome::Failed } else { Outcome::Refused };
        Entry::new(now, "session.refuse", outcome, facts)
    }
}
