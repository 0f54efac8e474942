//! The one writer of the audit log. It writes in the caller's transaction: no entry, no change.

use tollgate_audit::Entry;

use crate::store::{StoreError, Txn, audit::Line};

/// Appends an entry and returns its index.
///
/// # Errors
/// When the database refuses; the transaction must then not be committed.
pub async fn append(txn: &mut Txn, entry: Entry) -> Result<i64, StoreError> {
    append_all(txn, &[entry]).await
}

/// Appends entries in their order, with contiguous indexes, and returns the first one's. The head's row lock is held until the
/// transaction ends, so that the log is contiguous over every control plane.
///
/// # Errors
/// As [`append`].
pub async fn append_all(txn: &mut Txn, entries: &[Entry]) -> Result<i64, StoreError> {
    let lines = entries.iter().map(|entry| match entry.encode() {
        Ok(body) => Ok(Line { entry, body }),
        Err(error) => Err(StoreError::corrupt("body", error)),
    });
    let lines = lines.collect::<Result<Vec<_>, _>>()?;
    let first = txn.audit_take(lines.len()).await?;
    txn.audit_insert(first, lines).await?;
    Ok(first)
}
