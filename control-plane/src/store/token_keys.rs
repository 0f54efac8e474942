//! The public keys of developers' credentials, and the sessions whose credentials no longer hold.

use tollgate_policy::{
    credential::TokenKey,
    id::{SessionId, UserId},
    snapshot::EndedSession,
    time::UnixMillis,
};

use super::{Row, StoreError, Txn, changes::TOKEN_KEY};

/// A public key and when it was made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MadeKey {
    /// The key.
    pub key: TokenKey,
    /// When it was made, in Unix milliseconds.
    pub create_time: i64,
}

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The keys that verify credentials, the newest first. There are one or two.
    pub async fn token_key_list(&mut self) -> Result<Vec<MadeKey>, StoreError> {
        let rows = self.fetch_all(sql!("SELECT * FROM token_keys ORDER BY revision DESC, id")).await?;
        rows.iter().map(|row| Ok(MadeKey { key: read(row)?, create_time: row.int("create_time")? })).collect()
    }

    /// Stores a new key.
    pub async fn token_key_insert(&mut self, made: &MadeKey, revision: i64) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO token_keys (id, public_key, create_time, revision) VALUES ($1, $2, $3, $4)",
            made.key.id(),
            made.key.public_key().as_slice(),
            made.create_time,
            revision
        );
        self.execute(insert).await?;
        Ok(())
    }

    /// Deletes a key, and remembers that it is gone.
    pub async fn token_key_delete(&mut self, id: &str, revision: i64) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM token_keys WHERE id = $1", id)).await?;
        self.tombstone(TOKEN_KEY, id, revision).await
    }

    /// Remembers that the ended sessions of a user are gone: before the user is deleted, and they with it.
    pub async fn user_sessions_forget(&mut self, user: &UserId, revision: i64) -> Result<(), StoreError> {
        let told =
            sql!("SELECT id FROM sessions WHERE user_id = $1 AND ended = 1 AND tokens_expire_time > 0", user.as_str());
        for row in self.fetch_all(told).await? {
            self.tombstone(SessionId::NOUN, &row.text("id")?, revision).await?;
        }
        Ok(())
    }

    pub(super) async fn token_keys_changed(&mut self, after: i64) -> Result<Vec<TokenKey>, StoreError> {
        let rows = self.fetch_all(sql!("SELECT * FROM token_keys WHERE revision > $1 ORDER BY id", after)).await?;
        rows.iter().map(read).collect()
    }

    // No clock decides what is sent: control planes that read the same rows must publish the same items. A session that issued
    // no credential is nothing to a replica; another one is sent until its row is gone.
    pub(super) async fn sessions_ended(&mut self, after: i64) -> Result<Vec<EndedSession>, StoreError> {
        let ended = sql!(
            "SELECT id, tokens_expire_time FROM sessions WHERE ended = 1 AND tokens_expire_time > 0 AND revision > $1",
            after
        );
        let rows = self.fetch_all(ended).await?;
        let session = |row: &Row| {
            let until = UnixMillis::new(row.int("tokens_expire_time")?);
            Ok(EndedSession { id: row.parsed("id", SessionId::parse)?, until })
        };
        rows.iter().map(session).collect()
    }
}

fn read(row: &Row) -> Result<TokenKey, StoreError> {
    let bytes = row.bytes("public_key")?;
    let bytes = bytes.try_into().map_err(|_| StoreError::corrupt("public_key", "not 32 bytes"))?;
    row.parsed("id", |id| TokenKey::new(id, bytes))
}

#[cfg(test)]
mod tests;
