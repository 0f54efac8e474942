//! The rows of service accounts and of their tokens.

use tollgate_policy::{id::ServiceAccountId, name::Name, token::KeyHash};

use super::{Position, Row, StoreError, TextMatch, Txn, keys, organisation::Stamp};

/// A token's use is written down once in so many milliseconds.
const USED_EVERY_MS: i64 = 60_000;

/// A service account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceAccount {
    /// Its id.
    pub id: ServiceAccountId,
    /// Its name.
    pub name: Name,
    /// What people read.
    pub display_name: String,
    /// Whether its tokens are refused.
    pub disabled: bool,
    /// Its tokens, oldest first.
    pub tokens: Vec<Token>,
    /// Its history.
    pub stamp: Stamp,
}

/// A token of a service account, without its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    /// Its name.
    pub name: Name,
    /// HMAC-SHA256 of the secret under the pepper.
    pub hash: KeyHash,
    /// The public beginning of the secret.
    pub prefix: String,
    /// From when it is refused, in Unix milliseconds.
    pub expires_ms: i64,
    /// When it was created.
    pub create_time: i64,
    /// When it was last used.
    pub used_time: Option<i64>,
}

/// Which service accounts to list.
#[derive(Clone, Debug, Default)]
pub struct ServiceAccountFilter {
    /// The name.
    pub name: Option<TextMatch>,
    /// Whether disabled.
    pub disabled: Option<bool>,
}

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The service account with this id or name.
    pub async fn service_account_find(&mut self, named: &str) -> Result<Option<ServiceAccount>, StoreError> {
        let row = self.fetch_optional(sql!("SELECT * FROM service_accounts WHERE id = $1 OR name = $1", named)).await?;
        match row {
            Some(row) => Ok(Some(self.with_tokens(&row).await?)),
            None => Ok(None),
        }
    }

    /// The service accounts that match, in the order of creation.
    pub async fn service_account_list(
        &mut self,
        filter: &ServiceAccountFilter,
        after: Option<&Position>,
        limit: i64,
    ) -> Result<Vec<ServiceAccount>, StoreError> {
        let ServiceAccountFilter { name, disabled } = filter;
        let mut select = sql!("SELECT * FROM service_accounts WHERE 1 = 1");
        if let Some(name) = name {
            name.narrow(&mut select, "name");
        }
        select.narrow("disabled", *disabled);
        select.page(after, limit);
        let mut accounts = Vec::new();
        for row in self.fetch_all(select).await? {
            accounts.push(self.with_tokens(&row).await?);
        }
        Ok(accounts)
    }

    /// Stores a new service account.
    pub async fn service_account_insert(&mut self, account: &ServiceAccount) -> Result<(), StoreError> {
        let ServiceAccount { id, name, display_name, disabled, tokens: _, stamp } = account;
        let insert = sql!(
            "INSERT INTO service_accounts (id, name, display_name, disabled, create_time, update_time, created, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            id.as_str(),
            name.as_str(),
            display_name,
            *disabled,
        );
        self.execute(stamp.bind(insert)).await?;
        Ok(())
    }

    /// Stores the changed fields of a service account.
    pub async fn service_account_update(&mut self, account: &ServiceAccount) -> Result<(), StoreError> {
        let ServiceAccount { id, name, display_name, disabled, tokens: _, stamp } = account;
        let update = sql!(
            "UPDATE service_accounts SET name = $1, display_name = $2, disabled = $3, update_time = $4, revision = $5
             WHERE id = $6",
            name.as_str(),
            display_name,
            *disabled,
            stamp.update_time,
            stamp.revision,
            id.as_str(),
        );
        self.execute(update).await?;
        Ok(())
    }

    /// Deletes a service account with its tokens and its bindings.
    pub async fn service_account_delete(&mut self, id: &ServiceAccountId) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM service_account_tokens WHERE account = $1", id.as_str())).await?;
        self.execute(sql!("DELETE FROM service_accounts WHERE id = $1", id.as_str())).await?;
        self.bindings_forget(id.as_str()).await
    }

    /// Gives an account a token. Those of its tokens that have expired make room.
    pub async fn service_account_token_insert(
        &mut self,
        id: &ServiceAccountId,
        token: &Token,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let expired =
            sql!("DELETE FROM service_account_tokens WHERE account = $1 AND expire_time <= $2", id.as_str(), now_ms);
        self.execute(expired).await?;
        let Token { name, hash, prefix, expires_ms, create_time, used_time: _ } = token;
        let insert = sql!(
            "INSERT INTO service_account_tokens (account, name, hash, prefix, expire_time, create_time)
             VALUES ($1, $2, $3, $4, $5, $6)",
            id.as_str(),
            name.as_str(),
            hash.as_bytes(),
            prefix,
            *expires_ms,
            *create_time,
        );
        self.execute(insert).await?;
        Ok(())
    }

    /// Takes a token away, and returns whether it was there.
    pub async fn service_account_token_delete(
        &mut self,
        id: &ServiceAccountId,
        name: &str,
    ) -> Result<bool, StoreError> {
        let delete = sql!("DELETE FROM service_account_tokens WHERE account = $1 AND name = $2", id.as_str(), name);
        Ok(self.execute(delete).await? == 1)
    }

    /// The account that has a token with this hash, unless either is no longer good, and whether its use should be noted.
    pub async fn service_account_of_token(
        &mut self,
        hash: &KeyHash,
        now_ms: i64,
    ) -> Result<Option<(ServiceAccountId, bool)>, StoreError> {
        let select = sql!(
            "SELECT t.account, t.hash, t.used_time FROM service_account_tokens t JOIN service_accounts a ON a.id = t.account
             WHERE t.hash = $1 AND t.expire_time > $2 AND a.disabled = 0",
            hash.as_bytes(),
            now_ms
        );
        let Some(row) = self.fetch_optional(select).await? else { return Ok(None) };
        // The index compares as it likes; this takes as long whatever is asked for.
        if !keys::hash(&row)?.matches(hash) {
            return Ok(None);
        }
        let is_old = row.int_opt("used_time")?.is_none_or(|used| used <= now_ms - USED_EVERY_MS);
        Ok(Some((row.parsed("account", ServiceAccountId::parse)?, is_old)))
    }

    /// Notes that a token was used.
    pub async fn service_account_token_used(&mut self, hash: &KeyHash, now_ms: i64) -> Result<(), StoreError> {
        let update = sql!("UPDATE service_account_tokens SET used_time = $1 WHERE hash = $2", now_ms, hash.as_bytes());
        self.execute(update).await?;
        Ok(())
    }

    async fn with_tokens(&mut self, row: &Row) -> Result<ServiceAccount, StoreError> {
        let id = row.parsed("id", ServiceAccountId::parse)?;
        let select =
            sql!("SELECT * FROM service_account_tokens WHERE account = $1 ORDER BY create_time, name", id.as_str());
        let tokens = self.fetch_all(select).await?.iter().map(Token::read).collect::<Result<_, _>>()?;
        Ok(ServiceAccount {
            id,
            name: row.parsed("name", Name::parse)?,
            display_name: row.text("display_name")?,
            disabled: row.flag("disabled")?,
            tokens,
            stamp: Stamp::read(row)?,
        })
    }
}

impl Token {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            name: row.parsed("name", Name::parse)?,
            hash: keys::hash(row)?,
            prefix: row.text("prefix")?,
            expires_ms: row.int("expire_time")?,
            create_time: row.int("create_time")?,
            used_time: row.int_opt("used_time")?,
        })
    }
}
