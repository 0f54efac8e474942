//! The rows of browsers that are at an authorization server. Each is found by the keyed hash of its state, and taken once.

use tollgate_policy::{
    id::{McpServerId, UserId},
    token::KeyHash,
};

use super::super::{StoreError, Txn};

/// The most expired rows that one purge removes.
const PURGE_MAX: i64 = 500;

/// A browser that was sent to an authorization server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct McpConsent {
    /// The hash of the state.
    pub hash: KeyHash,
    /// For which server of tools.
    pub server: McpServerId,
    /// Whose browser it is.
    pub user: UserId,
    /// The rest, JSON.
    pub body: String,
    /// When it is over, in Unix milliseconds.
    pub expire_time: i64,
}

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// Stores what has begun.
    pub async fn mcp_consent_insert(&mut self, consent: &McpConsent) -> Result<(), StoreError> {
        let McpConsent { hash, server, user, body, expire_time } = consent;
        let insert = sql!(
            "INSERT INTO mcp_consents (hash, server, user_id, body, expire_time) VALUES ($1, $2, $3, $4, $5)",
            hash.as_bytes(),
            server.as_str(),
            user.as_str(),
            body,
            *expire_time
        );
        self.execute(insert).await.map(drop)
    }

    /// Takes what has begun: nobody takes it a second time. `None` when it is over, or there never was one.
    pub async fn mcp_consent_take(&mut self, hash: &KeyHash, now: i64) -> Result<Option<McpConsent>, StoreError> {
        let delete = sql!("DELETE FROM mcp_consents WHERE hash = $1 RETURNING *", hash.as_bytes());
        let Some(row) = self.fetch_optional(delete).await? else { return Ok(None) };
        let taken = McpConsent {
            hash: *hash,
            server: row.parsed("server", McpServerId::parse)?,
            user: row.parsed("user_id", UserId::parse)?,
            body: row.text("body")?,
            expire_time: row.int("expire_time")?,
        };
        Ok(Some(taken).filter(|taken| taken.expire_time > now))
    }

    /// How many of a user are not over.
    pub async fn mcp_consent_count(&mut self, user: &UserId, now: i64) -> Result<i64, StoreError> {
        let count =
            sql!("SELECT COUNT(*) AS n FROM mcp_consents WHERE user_id = $1 AND expire_time > $2", user.as_str(), now);
        self.fetch_one(count).await?.int("n")
    }

    /// Removes what is over.
    pub async fn mcp_consent_purge(&mut self, now: i64) -> Result<(), StoreError> {
        let delete = sql!(
            "DELETE FROM mcp_consents WHERE hash IN (SELECT hash FROM mcp_consents WHERE expire_time <= $1 LIMIT $2)",
            now,
            PURGE_MAX
        );
        self.execute(delete).await.map(drop)
    }
}
