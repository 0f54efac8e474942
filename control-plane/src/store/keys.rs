//! The rows of virtual keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tollgate_policy::{
    id::{CredentialId, KeyId, ProviderId, TeamId, UserId},
    name::Name,
    rbac::Reach,
    snapshot::AuditMode,
    token::KeyHash,
};

use super::{
    Position, Row, StoreError, TextMatch, Txn, organisation::Stamp, quotas::Quota, reach::Belonging, statement,
};

/// A virtual key, without its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// Its name.
    pub name: Name,
    /// What people read.
    pub display_name: String,
    /// The team that owns it.
    pub team: TeamId,
    /// The user to whom it is attributed.
    pub user: Option<UserId>,
    /// Whether it is refused.
    pub revoked: bool,
    /// The instant from which it is refused, in Unix milliseconds.
    pub expires_ms: Option<i64>,
    /// The models that it may ask for, as patterns.
    pub models: Vec<String>,
    /// The providers that it may reach; empty: all.
    pub providers: Vec<ProviderId>,
    /// The credentials that it may use; empty: all.
    pub credentials: Vec<CredentialId>,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// Whether its requests go on that the audit log may miss.
    pub audit: AuditMode,
    /// Where its requests may be received and answered, as patterns; empty: everywhere.
    pub regions: Vec<String>,
    /// The tools that it may use, as patterns; empty: all.
    pub tools: Vec<String>,
    /// What must hold of the arguments of its calls.
    pub tool_rules: Vec<ToolRule>,
    /// The public beginning of its secret.
    pub prefix: String,
    /// HMAC-SHA256 of its secret under the pepper.
    pub hash: KeyHash,
    /// What it may spend and how fast.
    pub quota: Quota,
    /// Its history.
    pub stamp: Stamp,
}

/// What must hold of the arguments of calls.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ToolRule {
    /// Of which tools, as a pattern over `<server>.<tool>`.
    pub tools: String,
    /// In CEL.
    pub when: String,
}

/// Which keys to list.
#[derive(Clone, Debug, Default)]
pub struct KeyFilter {
    /// The name.
    pub name: Option<TextMatch>,
    /// The team that owns them.
    pub team: Option<TeamId>,
    /// The user to whom they are attributed.
    pub user: Option<UserId>,
    /// Whether revoked.
    pub revoked: Option<bool>,
    /// Which the caller may see.
    pub reach: Reach,
}

const KEYS: Belonging = Belonging {
    customer: Some("(SELECT t.customer FROM teams t WHERE t.id = keys.team)"),
    team: Some("team"),
    user: Some("user_id"),
};

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The key with this id or name.
    pub async fn key_find(&mut self, named: &str) -> Result<Option<Key>, StoreError> {
        let select = sql!("SELECT * FROM keys WHERE id = $1 OR name = $1", named);
        Ok(self.owners(select, Key::read).await?.pop())
    }

    /// The keys that match, in the order of creation.
    pub async fn key_list(
        &mut self,
        filter: &KeyFilter,
        after: Option<&Position>,
        limit: i64,
    ) -> Result<Vec<Key>, StoreError> {
        let KeyFilter { name, team, user, revoked, reach } = filter;
        let mut select = sql!("SELECT * FROM keys WHERE 1 = 1");
        if let Some(name) = name {
            name.narrow(&mut select, "name");
        }
        select.narrow("team", team.as_ref().map(TeamId::as_str));
        select.narrow("user_id", user.as_ref().map(UserId::as_str));
        select.narrow("revoked", *revoked);
        KEYS.narrow(&mut select, reach);
        select.page(after, limit);
        self.owners(select, Key::read).await
    }

    /// Stores a new key.
    pub async fn key_insert(&mut self, key: &Key) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO keys (id, name, display_name, team, user_id, revoked, expire_time, models, providers, credentials,
             tags, prefix, hash, limits, session_limit, audit, regions, tools, tool_rules, create_time, update_time, created,
             revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)",
            key.id.as_str(),
            key.name.as_str(),
            &key.display_name,
            key.team.as_str(),
            key.user.as_ref().map(UserId::as_str),
            key.revoked,
            key.expires_ms,
            statement::list(&key.models),
            statement::list(key.providers.iter().map(ProviderId::as_str)),
            statement::list(key.credentials.iter().map(CredentialId::as_str)),
            tags_text(&key.tags),
            &key.prefix,
            key.hash.as_bytes(),
            key.quota.limits_text()?,
            key.quota.session_text()?,
            key.audit.word(),
            statement::list(&key.regions),
            statement::list(&key.tools),
            rules_text(&key.tool_rules)?,
        );
        self.execute(key.stamp.bind(insert)).await?;
        self.budgets_put(KeyId::NOUN, key.id.as_str(), &key.quota.budgets).await?;
        self.key_links(key).await
    }

    /// Stores the changed fields of a key.
    pub async fn key_update(&mut self, key: &Key) -> Result<(), StoreError> {
        let update = sql!(
            "UPDATE keys SET name = $1, display_name = $2, user_id = $3, revoked = $4, expire_time = $5, models = $6,
             providers = $7, credentials = $8, tags = $9, hash = $10, prefix = $11, limits = $12,
             session_limit = $13, audit = $14, regions = $15, tools = $16, tool_rules = $17, update_time = $18, revision = $19
             WHERE id = $20",
            key.name.as_str(),
            &key.display_name,
            key.user.as_ref().map(UserId::as_str),
            key.revoked,
            key.expires_ms,
            statement::list(&key.models),
            statement::list(key.providers.iter().map(ProviderId::as_str)),
            statement::list(key.credentials.iter().map(CredentialId::as_str)),
            tags_text(&key.tags),
            key.hash.as_bytes(),
            &key.prefix,
            key.quota.limits_text()?,
            key.quota.session_text()?,
            key.audit.word(),
            statement::list(&key.regions),
            statement::list(&key.tools),
            rules_text(&key.tool_rules)?,
            key.stamp.update_time,
            key.stamp.revision,
            key.id.as_str(),
        );
        self.execute(update).await?;
        self.budgets_put(KeyId::NOUN, key.id.as_str(), &key.quota.budgets).await?;
        self.execute(sql!("DELETE FROM key_providers WHERE key_id = $1", key.id.as_str())).await?;
        self.execute(sql!("DELETE FROM key_credentials WHERE key_id = $1", key.id.as_str())).await?;
        self.key_links(key).await
    }

    /// Deletes a key, retires its budgets, and remembers that it is gone.
    pub async fn key_delete(&mut self, id: &KeyId, revision: i64) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM keys WHERE id = $1", id.as_str())).await?;
        self.budgets_put(KeyId::NOUN, id.as_str(), &[]).await?;
        self.tombstone(KeyId::NOUN, id.as_str(), revision).await
    }

    async fn key_links(&mut self, key: &Key) -> Result<(), StoreError> {
        for provider in &key.providers {
            let link = sql!(
                "INSERT INTO key_providers (key_id, provider) VALUES ($1, $2)",
                key.id.as_str(),
                provider.as_str()
            );
            self.execute(link).await?;
        }
        for credential in &key.credentials {
            let link = sql!(
                "INSERT INTO key_credentials (key_id, credential) VALUES ($1, $2)",
                key.id.as_str(),
                credential.as_str()
            );
            self.execute(link).await?;
        }
        Ok(())
    }
}

impl Key {
    pub(super) fn read(row: &Row, quota: Quota) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id", KeyId::parse)?,
            name: row.parsed("name", Name::parse)?,
            display_name: row.text("display_name")?,
            team: row.parsed("team", TeamId::parse)?,
            user: row.parsed_opt("user_id", UserId::parse)?,
            revoked: row.flag("revoked")?,
            expires_ms: row.int_opt("expire_time")?,
            models: row.list("models")?,
            providers: row.ids("providers", ProviderId::parse)?,
            credentials: row.ids("credentials", CredentialId::parse)?,
            tags: row.parsed("tags", |text| serde_json::from_str(text))?,
            audit: row.parsed("audit", audit)?,
            regions: row.list("regions")?,
            tools: row.list("tools")?,
            tool_rules: row.parsed("tool_rules", |text| serde_json::from_str(text))?,
            prefix: row.text("prefix")?,
            hash: hash(row)?,
            quota,
            stamp: Stamp::read(row)?,
        })
    }
}

// Keys that are older than the modes have none.
fn audit(text: &str) -> Result<AuditMode, &'static str> {
    if text.is_empty() {
        return Ok(AuditMode::default());
    }
    AuditMode::of_word(text).ok_or("neither required nor best_effort")
}

fn rules_text(rules: &[ToolRule]) -> Result<String, StoreError> {
    serde_json::to_string(rules).map_err(|error| StoreError::corrupt("tool_rules", error))
}

fn tags_text(tags: &BTreeMap<String, String>) -> String {
    serde_json::Value::from_iter(tags.clone()).to_string()
}

pub(super) fn hash(row: &Row) -> Result<KeyHash, StoreError> {
    let bytes = <[u8; 32]>::try_from(row.bytes("hash")?).map_err(|_| StoreError::corrupt("hash", "not 32 bytes"))?;
    Ok(KeyHash::new(bytes))
}
