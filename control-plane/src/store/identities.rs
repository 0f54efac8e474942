//! The rows that say which user an issuer's subject is, and of which groups a source says that they are.

use std::collections::BTreeSet;

use tollgate_policy::id::UserId;

use super::{Row, StoreError, Txn};

/// The most groups of one user and one source that are read; an issuer gives no more than 1,000.
const GROUPS_MAX: i64 = 10_000;

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The user that a subject of an issuer is.
    pub async fn identity_find(&mut self, issuer: &str, subject: &str) -> Result<Option<UserId>, StoreError> {
        let select = sql!("SELECT user_id FROM identities WHERE issuer = $1 AND subject = $2", issuer, subject);
        let row = self.fetch_optional(select).await?;
        row.map(|row| row.parsed("user_id", UserId::parse)).transpose()
    }

    /// The subject that a user is at an issuer.
    pub async fn identity_subject(&mut self, issuer: &str, user: &UserId) -> Result<Option<String>, StoreError> {
        let select =
            sql!("SELECT subject FROM identities WHERE issuer = $1 AND user_id = $2 LIMIT 1", issuer, user.as_str());
        self.fetch_optional(select).await?.map(|row| row.text("subject")).transpose()
    }

    /// The issuer where a user signed in last, and the subject that they are there.
    pub async fn identity_latest(&mut self, user: &UserId) -> Result<Option<(String, String)>, StoreError> {
        let select = sql!(
            "SELECT issuer, subject FROM identities WHERE user_id = $1 ORDER BY sign_in_time DESC, issuer, subject LIMIT 1",
            user.as_str()
        );
        let row = self.fetch_optional(select).await?;
        row.map(|row| Ok((row.text("issuer")?, row.text("subject")?))).transpose()
    }

    /// Stores whom a subject of an issuer means, for ever.
    pub async fn identity_insert(
        &mut self,
        issuer: &str,
        subject: &str,
        user: &UserId,
        now: i64,
    ) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO identities (issuer, subject, user_id, create_time, sign_in_time) VALUES ($1, $2, $3, $4, $5)",
            issuer,
            subject,
            user.as_str(),
            now,
            now
        );
        self.execute(insert).await?;
        Ok(())
    }

    /// Notes that somebody signed in.
    pub async fn identity_signed_in(&mut self, issuer: &str, subject: &str, now: i64) -> Result<(), StoreError> {
        let update =
            sql!("UPDATE identities SET sign_in_time = $1 WHERE issuer = $2 AND subject = $3", now, issuer, subject);
        self.execute(update).await?;
        Ok(())
    }

    /// The groups of a user as a source last said.
    pub async fn memberships(&mut self, user: &UserId, source: &str) -> Result<BTreeSet<String>, StoreError> {
        let select = sql!(
            "SELECT group_name FROM memberships WHERE user_id = $1 AND source = $2 LIMIT $3",
            user.as_str(),
            source,
            GROUPS_MAX
        );
        let read = |row: &Row| row.text("group_name");
        self.fetch_all(select).await?.iter().map(read).collect()
    }

    /// Makes the groups of a user those that a source now says, and returns whether anything changed.
    pub async fn memberships_replace(
        &mut self,
        user: &UserId,
        source: &str,
        groups: &BTreeSet<String>,
    ) -> Result<bool, StoreError> {
        let stands = self.memberships(user, source).await?;
        for gone in stands.difference(groups) {
            let delete = sql!(
                "DELETE FROM memberships WHERE user_id = $1 AND source = $2 AND group_name = $3",
                user.as_str(),
                source,
                gone
            );
            self.execute(delete).await?;
        }
        for fresh in groups.difference(&stands) {
            let insert = sql!(
                "INSERT INTO memberships (user_id, source, group_name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                user.as_str(),
                source,
                fresh
            );
            self.execute(insert).await?;
        }
        Ok(stands != *groups)
    }
}
