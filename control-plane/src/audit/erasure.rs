//! Erasure: the body of an entry goes, its place in the log stays. The salted hash says nothing of what it was, and an entry says
//! which bodies are gone, by whose word, and why: one that is missing without such an entry was taken away by somebody else.

use serde_json::json;
use tollgate_audit::{Entry, Facts, Fields, Outcome, verify::ERASED};

use super::append;
use crate::store::{
    Store, StoreError, Txn,
    audit::list::{AuditFilter, Begin, Listed},
};

/// How many bodies one entry declares: their indexes fit its detail.
const PAGE: i64 = 400;

/// What is asked to be erased.
#[derive(Debug)]
pub struct Erasure<'a> {
    /// Which entries.
    pub filter: &'a AuditFilter,
    /// How the caller wrote that.
    pub written: &'a str,
    /// Why.
    pub reason: &'a str,
    /// Who asks.
    pub initiator: &'a str,
}

/// What became of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Erased {
    /// How many bodies are gone.
    pub erased: u64,
    /// How many entries stay as they are, since the log could not be verified without them.
    pub kept: u64,
}

/// Why nothing more is erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The database.
    #[error("failed to erase")]
    Store(#[from] StoreError),
    /// A hold keeps an entry.
    #[error("the hold {name:?} keeps entry {index}")]
    Held {
        /// The hold.
        name: String,
        /// The entry.
        index: i64,
    },
}

/// Erases the bodies of every entry that matches and is in the log by now.
///
/// # Errors
/// [`EraseError`]: when a hold keeps one of them nothing is erased. A hold that is placed meanwhile ends it where it stands.
pub async fn erase(store: &Store, erasure: &Erasure<'_>, now_ms: i64) -> Result<Erased, EraseError> {
    let mut txn = store.begin_read().await?;
    let through = txn.audit_length().await?;
    ensure_free(&mut txn, erasure.filter).await?;
    txn.end().await?;
    let (mut done, mut behind) = (Erased::default(), 0);
    loop {
        let mut txn = store.begin().await?;
        // Before the rows are read: from here on nobody else appends, erases or prunes.
        txn.audit_head().await?;
        ensure_free(&mut txn, erasure.filter).await?;
        let mut page = txn.audit_list(erasure.filter, Begin::Behind(behind), PAGE).await?;
        page.retain(|listed| listed.index <= through);
        let Some(last) = page.last().map(|listed| listed.index) else {
            txn.end().await?;
            return Ok(done);
        };
        behind = last;
        let (needed, others): (Vec<_>, Vec<_>) = page.iter().partition(|listed| is_needed(listed));
        done.kept += u64::try_from(needed.len()).unwrap_or_default();
        let mut indexes = Vec::with_capacity(others.len());
        for listed in others {
            for found in txn.audit_range(listed.index, listed.index).await? {
                if txn.audit_erase(&found).await? {
                    indexes.push(found.index);
                }
            }
        }
        if indexes.is_empty() {
            txn.end().await?;
            continue;
        }
        append(&mut txn, entry(erasure, &indexes, now_ms)).await?;
        txn.commit().await?;
        done.erased += u64::try_from(indexes.len()).unwrap_or_default();
    }
}

// Whether no hold keeps an entry that matches.
async fn ensure_free(txn: &mut Txn, filter: &AuditFilter) -> Result<(), EraseError> {
    for hold in txn.audit_holds().await? {
        // What is behind the newest checkpoint before it was written then or later.
        let free = txn.audit_size_at(hold.since).await?;
        if let Some(Listed { index, .. }) = txn.audit_list(filter, Begin::Behind(free), 1).await?.first() {
            return Err(EraseError::Held { name: hold.name, index: *index });
        }
    }
    Ok(())
}

// Whoever verifies the log reads what these say.
fn is_needed(listed: &Listed) -> bool {
    ["audit.", "usage."].iter().any(|noun| listed.entry.action().starts_with(noun))
}

fn entry(erasure: &Erasure<'_>, indexes: &[i64], now_ms: i64) -> Entry {
    let Erasure { filter: _, written, reason, initiator } = erasure;
    let mut detail = Fields::new();
    detail.insert("indexes".into(), json!(indexes));
    detail.insert("filter".into(), json!(written));
    detail.insert("reason".into(), json!(reason));
    let facts = Facts { initiator, target: "audit/log", detail, ..Facts::default() };
    Entry::new(now_ms, ERASED, Outcome::Allowed, facts)
}
