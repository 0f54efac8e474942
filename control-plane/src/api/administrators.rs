//! The guard of the last administrator: whoever is not the bootstrap administrator leaves at least one who can sign in.

use super::failure::Failure;
use crate::{change::Change, principals::Identity, store::StoreError};

/// How many administrators there are before a change.
pub(super) async fn count(change: &mut Change<'_>) -> Result<i64, StoreError> {
    let now = change.now;
    change.txn.administrators_count(now).await
}

/// Refuses a change that takes away the last administrator.
pub(super) async fn ensure_left(change: &mut Change<'_>, before: i64) -> Result<(), Failure> {
    if before == 0 || *change.by().identity() == Identity::Bootstrap || count(change).await? > 0 {
        return Ok(());
    }
    Err(Failure::Blocked {
        subject: "role/admin".into(),
        sentence: "nobody who can sign in would be an administrator: bind the role admin to somebody else first".into(),
    })
}
