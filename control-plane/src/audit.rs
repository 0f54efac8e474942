//! The one writer of the audit log. It seals and writes in the caller's transaction: no entry, no change.
//!
//! The head of the log is locked, entries take the indexes behind it, each is bound to its place (`core/audit/src/seal.rs`),
//! and the head moves on with the Merkle tree. So the log is one row of entries without gaps, over every control plane.
//!
//! Reading order: here, appending; [`epochs`], the keys; [`found`], the beginning of a log, and the change of its keys;
//! [`checkpoints`], what is signed and kept elsewhere; [`export`], the log as a file that proves itself; [`ship`], the log as it
//! is sent to where others read it; [`retention`] and [`erasure`], what is taken away from it.

use std::borrow::Cow;

use tollgate_audit::{
    Entry, Header,
    file::{Content, seal},
    seal::{CONTROL_PLANE, SALT_BYTES, Salt, link},
    tree::Hash,
};

use crate::{
    seal::SealError,
    store::{
        StoreError, Txn,
        audit::{Head, Line},
    },
};

pub mod epochs;
mod found;
pub mod checkpoints;
pub mod export;
pub mod ship;
pub mod retention;
pub mod erasure;

pub(crate) use self::found::{adopt, found};
pub use self::{epochs::Epochs, found::rotate};

/// An entry that is to be sealed.
#[derive(Debug)]
pub struct Draft<'a> {
    /// What it says, for the columns by which it is found.
    pub entry: Cow<'a, Entry>,
    /// Who wrote it.
    pub origin: Origin<'a>,
}

/// Who wrote an entry.
#[derive(Debug)]
pub enum Origin<'a> {
    /// A control plane, now.
    Here,
    /// A replica. It has made the body, the salt and the place in its chain; they stay as they are.
    Replica {
        /// The replica's id.
        id: &'a str,
        /// Its run.
        incarnation: u64,
        /// The position in its chain.
        sequence: u64,
        /// The link of the entry before.
        previous: Hash,
        /// The salt.
        salt: Salt,
        /// The encoded entry.
        body: Vec<u8>,
    },
}

/// Appends an entry and returns its index.
///
/// # Errors
/// When the database refuses; the transaction must then not be committed.
pub async fn append(txn: &mut Txn, entry: Entry) -> Result<i64, StoreError> {
    append_all(txn, std::slice::from_ref(&entry)).await
}

/// Appends entries of this control plane in their order, with contiguous indexes, and returns the first one's. The head's row
/// lock is held until the transaction ends.
///
/// # Errors
/// As [`append`].
pub async fn append_all(txn: &mut Txn, entries: &[Entry]) -> Result<i64, StoreError> {
    let drafts = entries.iter().map(|entry| Draft { entry: Cow::Borrowed(entry), origin: Origin::Here });
    append_drafts(txn, drafts.collect()).await
}

/// Appends entries of whomever, as [`append_all`] does.
///
/// # Errors
/// As [`append`].
pub async fn append_drafts(txn: &mut Txn, drafts: Vec<Draft<'_>>) -> Result<i64, StoreError> {
    let mut head = txn.audit_head().await?;
    let first = head.size() + 1;
    let epoch = txn.epochs().open(txn, &head.epoch).await?;
    let mut salts = salts(drafts.len())?.into_iter();
    let mut lines = Vec::with_capacity(drafts.len());
    for draft in drafts {
        lines.push(line(&mut head, epoch.mac_key(), draft, salts.next().unwrap_or_default())?);
    }
    txn.audit_insert(first, lines).await?;
    txn.audit_move(&head).await?;
    Ok(first)
}

// Seals an entry behind the head, which moves on.
fn line<'a>(
    head: &mut Head,
    key: &tollgate_audit::MacKey,
    draft: Draft<'a>,
    fresh_salt: Salt,
) -> Result<Line<'a>, StoreError> {
    let Draft { entry, origin } = draft;
    let index = head.frontier.size() + 1;
    let (is_ours, writer, incarnation, sequence, previous, salt, body) = match origin {
        Origin::Here => {
            let body = entry.encode().map_err(|error| StoreError::corrupt("body", error))?;
            (true, CONTROL_PLANE, 1, head.sequence + 1, head.link, fresh_salt, body)
        }
        Origin::Replica { id, incarnation, sequence, previous, salt, body } => {
            (false, id, incarnation, sequence, previous, salt, body)
        }
    };
    let (time_ms, action) = (entry.time_ms(), entry.action());
    let header =
        Header { log: head.log, index, writer, incarnation, sequence, previous, time_ms, action, key: key.id() };
    let content = Content::Body { salt, body: Cow::Owned(body) };
    let (stored, commitment) = seal(&header, content, key).map_err(|error| StoreError::corrupt("header", error))?;
    if is_ours {
        (head.sequence, head.link) = (sequence, link(incarnation, sequence, &previous, &commitment));
    }
    head.frontier.push(stored.leaf);
    let replica = if is_ours { entry.replica().to_owned() } else { writer.to_owned() };
    Ok(Line { entry, replica, stored })
}

// A salt for each of so many entries.
fn salts(count: usize) -> Result<Vec<Salt>, StoreError> {
    let mut salts = vec![[0; SALT_BYTES]; count];
    getrandom::fill(salts.as_flattened_mut()).map_err(|_| SealError::Randomness)?;
    Ok(salts)
}
