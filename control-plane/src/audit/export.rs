//! The log as a file that proves itself (`core/audit/src/file.rs`), page by page, so that it never stands in memory whole.

use tollgate_audit::{
    Header,
    file::{Head, InvalidLine, Stored, write_broken, write_checkpoint, write_end},
    seal::LogId,
    tree::{Hash, Tree},
};

use super::checkpoints::{self, Signed};
use crate::{
    clock,
    store::{
        Store, StoreError, Txn,
        audit::{Found, retention::Cut},
    },
};

/// How many entries one page has: at most 1 MiB.
const PAGE: i64 = 500;

/// An export that has begun. Its end is fixed; what is written meanwhile is not in it.
#[derive(Debug)]
pub struct Export {
    store: Store,
    end: Signed,
    next: i64,
    ended: bool,
}

/// A proof that an entry is in the log (RFC 6962, section 2.1.1).
#[derive(Debug)]
pub struct Proof {
    /// The entry's line, without its break.
    pub line: Vec<u8>,
    /// The path from its leaf to the root.
    pub path: Vec<Hash>,
    /// The checkpoint.
    pub end: Signed,
}

/// Why the log is not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database.
    #[error("failed to read the audit log")]
    Store(#[from] StoreError),
    /// A line cannot be written.
    #[error("failed to write a line of the audit log")]
    Line(#[from] InvalidLine),
    /// There is nothing in it.
    #[error("the audit log is empty")]
    Empty,
    /// There is no such entry.
    #[error("there is no entry of that index")]
    Missing,
}

/// Proves that an entry is in the log, against a checkpoint over all of it.
///
/// # Errors
/// [`ExportError`].
pub async fn prove(store: &Store, index: i64) -> Result<Proof, ExportError> {
    let mut txn = store.begin().await?;
    let end = checkpoints::sign(&mut txn, clock::now_ms()).await?.ok_or(ExportError::Empty)?;
    txn.commit().await?;
    let size = i64::try_from(end.checkpoint.size).unwrap_or(i64::MAX);
    if !(1..=size).contains(&index) {
        return Err(ExportError::Missing);
    }
    let mut txn = store.begin_read().await?;
    // Of what is before the checkpoint before the entry, its tree is enough.
    let (start, behind) = txn.audit_start(index).await?.unwrap_or_default();
    let leaves = txn.audit_leaves(behind, size).await?;
    let found = txn.audit_range(index, index).await?;
    txn.end().await?;
    let Some(Found { row: row @ Ok(_), .. }) = found.into_iter().next() else {
        return Err(ExportError::Missing);
    };
    let path = Tree { start: &start, leaves: &leaves }.inclusion(place(index - 1)).ok_or(ExportError::Missing)?;
    let mut line = line(end.checkpoint.log, index, row)?;
    line.pop();
    Ok(Proof { line, path, end })
}

impl Export {
    /// Begins an export from that index, or from the checkpoint before it, since a file begins behind one. Returns the first
    /// line with it.
    ///
    /// # Errors
    /// [`ExportError`].
    pub async fn begin(store: &Store, from: i64) -> Result<(Self, Vec<u8>), ExportError> {
        let mut txn = store.begin().await?;
        let begun = Self::begin_in(&mut txn, store, from).await?;
        txn.commit().await?;
        Ok(begun)
    }

    /// As [`Self::begin`], as a transaction sees the log; the checkpoint at its end lasts as long as that.
    ///
    /// # Errors
    /// [`ExportError`].
    pub async fn begin_in(txn: &mut Txn, store: &Store, from: i64) -> Result<(Self, Vec<u8>), ExportError> {
        let end = checkpoints::sign(txn, clock::now_ms()).await?.ok_or(ExportError::Empty)?;
        let first = from.max(txn.audit_pruned().await? + 1);
        Self::behind(txn, store, first, end).await
    }

    /// Begins an export from the checkpoint before that index through another one.
    ///
    /// # Errors
    /// [`ExportError`].
    pub async fn through(store: &Store, first: i64, cut: &Cut) -> Result<(Self, Vec<u8>), ExportError> {
        let mut txn = store.begin_read().await?;
        let begun = Self::behind(&mut txn, store, first, cut.signed.clone()).await?;
        txn.end().await?;
        Ok(begun)
    }

    async fn behind(txn: &mut Txn, store: &Store, first: i64, end: Signed) -> Result<(Self, Vec<u8>), ExportError> {
        let (start, size) = txn.audit_start(first).await?.unwrap_or_default();
        let key = txn.audit_key_behind(size).await?.unwrap_or(end.public_key);
        let line = Head { log: end.checkpoint.log, start, key }.write()?;
        Ok((Self { store: store.clone(), end, next: size + 1, ended: false }, line))
    }

    /// The next lines; empty at the end.
    ///
    /// # Errors
    /// [`ExportError`].
    pub async fn page(&mut self) -> Result<Vec<u8>, ExportError> {
        let mut txn = self.store.begin_read().await?;
        let lines = self.page_in(&mut txn).await?;
        txn.end().await?;
        Ok(lines)
    }

    /// As [`Self::page`], as a transaction sees the log.
    ///
    /// # Errors
    /// [`ExportError`].
    pub async fn page_in(&mut self, txn: &mut Txn) -> Result<Vec<u8>, ExportError> {
        let mut lines = Vec::new();
        if self.ended {
            return Ok(lines);
        }
        let size = i64::try_from(self.end.checkpoint.size).unwrap_or(i64::MAX);
        let through = size.min(self.next + PAGE - 1);
        let found = txn.audit_range(self.next, through).await?;
        let signed = txn.audit_checkpoints(self.next, through).await?;
        let mut signed = signed.into_iter().peekable();
        for Found { index, row } in found {
            lines.extend(line(self.end.checkpoint.log, index, row)?);
            while let Some((of, note)) = signed.next_if(|(of, _)| *of <= index) {
                // The last one is the end, once: behind that of an announcement the next key signs.
                if of < size {
                    lines.extend(write_checkpoint(&note)?);
                }
            }
        }
        self.next = through + 1;
        if self.next > size {
            lines.extend(write_end(&self.end.note)?);
            self.ended = true;
        }
        Ok(lines)
    }
}

// The line of a row of this log. A line does not name the log, so that a row of another one is told here.
fn line(log: LogId, index: i64, row: Result<(Stored<'_>, Vec<&'static str>), String>) -> Result<Vec<u8>, InvalidLine> {
    let (stored, mut differs) = match row {
        Ok(sealed) => sealed,
        Err(what) => return write_broken(place(index), &what),
    };
    if Header::decode(&stored.header).is_ok_and(|header| header.log != log) {
        differs.push("log");
    }
    stored.write(&differs).or_else(|error| write_broken(place(index), error.0))
}

// Indexes are positive.
const fn place(index: i64) -> u64 {
    index.unsigned_abs()
}
