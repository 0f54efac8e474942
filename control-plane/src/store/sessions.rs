//! The rows of sessions.

use tollgate_policy::id::UserId;

use super::{StoreError, Txn};

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// Ends every session of a user. Replicas learn of it by the revision.
    pub async fn sessions_end(&mut self, user: &UserId, revision: i64) -> Result<(), StoreError> {
        let update = sql!(
            "UPDATE sessions SET ended = 1, revision = $1 WHERE user_id = $2 AND ended = 0",
            revision,
            user.as_str()
        );
        self.execute(update).await?;
        Ok(())
    }
}
