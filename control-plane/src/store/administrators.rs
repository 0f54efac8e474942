//! The rows of administrators' tokens.

use tollgate_policy::token::KeyHash;

use super::{Row, StoreError, Txn, keys};
use crate::clock;

/// The most tokens that are looked at; there is one per administrator.
const TOKENS_MAX: i64 = 64;

impl Txn {
    /// The principals and the hashes of their tokens.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn admin_tokens(&mut self) -> Result<Vec<(String, KeyHash)>, StoreError> {
        let select = sql!("SELECT principal, hash FROM admin_tokens ORDER BY create_time LIMIT $1", TOKENS_MAX);
        let read = |row: &Row| Ok((row.text("principal")?, keys::hash(row)?));
        self.fetch_all(select).await?.iter().map(read).collect()
    }

    /// Stores a principal's token, and returns whether the principal had none.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn admin_token_insert(&mut self, principal: &str, hash: &KeyHash) -> Result<bool, StoreError> {
        let insert = sql!(
            "INSERT INTO admin_tokens (principal, hash, create_time) VALUES ($1, $2, $3) ON CONFLICT (principal) DO NOTHING",
            principal,
            hash.as_bytes(),
            clock::now_ms()
        );
        Ok(self.execute(insert).await? == 1)
    }

    /// Forgets a principal's token.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn admin_token_delete(&mut self, principal: &str) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM admin_tokens WHERE principal = $1", principal)).await?;
        Ok(())
    }
}
