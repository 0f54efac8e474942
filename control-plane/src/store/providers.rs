//! The rows of providers and their credentials.

use tollgate_policy::{
    id::{CredentialId, ProviderId},
    name::Name,
    provider::{Auth, Quirk},
    snapshot::Dialect,
};

use super::{Position, Row, StoreError, TextMatch, Txn, organisation::Stamp, statement};

/// A provider with its credentials.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Provider {
    /// Its id.
    pub id: ProviderId,
    /// Its name.
    pub name: Name,
    /// What it speaks.
    pub dialect: Dialect,
    /// Where it is, without a trailing slash.
    pub base_url: String,
    /// Whether a loopback or private address is permitted.
    pub allow_private: bool,
    /// The models that it serves, as patterns.
    pub models: Vec<String>,
    /// The vendor in the catalogue as it was written; empty: resolved when a snapshot is made.
    pub vendor: String,
    /// Whether it is not called.
    pub disabled: bool,
    /// The lowest is tried first.
    pub priority: i32,
    /// Its credentials, in the order in which they were given.
    pub credentials: Vec<Credential>,
    /// How it is shown one.
    pub auth: Auth,
    /// Where it is, in its vendor's words; empty: not said.
    pub region: String,
    /// How it differs from its dialect's author, in the order of [`Quirk::ALL`].
    pub quirks: Vec<Quirk>,
    /// Its history.
    pub stamp: Stamp,
}

/// A credential, without its secret, which is sealed under [`CREDENTIAL`] and the credential's id unless `reference` says
/// where it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credential {
    /// Its id.
    pub id: CredentialId,
    /// Its name, unique within the provider.
    pub name: Name,
    /// `env://...` or `file://...`: where a replica finds the secret.
    pub reference: Option<String>,
    /// Relative weight, at least 1.
    pub weight: u32,
    /// Whether it is not chosen.
    pub disabled: bool,
    /// Tells two secrets apart; empty for a reference.
    pub fingerprint: String,
}

/// The purpose under which credentials are sealed.
pub const CREDENTIAL: &str = "credential";

/// Which providers to list.
#[derive(Clone, Debug, Default)]
pub struct ProviderFilter {
    /// The name.
    pub name: Option<TextMatch>,
    /// What they speak.
    pub dialect: Option<Dialect>,
    /// Whether disabled.
    pub disabled: Option<bool>,
}

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The provider with this id or name.
    pub async fn provider_find(&mut self, named: &str) -> Result<Option<Provider>, StoreError> {
        let select = sql!("SELECT * FROM providers WHERE id = $1 OR name = $1", named);
        match self.fetch_optional(select).await? {
            Some(row) => Ok(Some(self.provider_whole(&row).await?)),
            None => Ok(None),
        }
    }

    /// The providers that match, in the order of creation.
    pub async fn provider_list(
        &mut self,
        filter: &ProviderFilter,
        after: Option<&Position>,
        limit: i64,
    ) -> Result<Vec<Provider>, StoreError> {
        let ProviderFilter { name, dialect, disabled } = filter;
        let mut select = sql!("SELECT * FROM providers WHERE 1 = 1");
        if let Some(name) = name {
            name.narrow(&mut select, "name");
        }
        select.narrow("dialect", dialect.map(Dialect::word));
        select.narrow("disabled", *disabled);
        select.page(after, limit);
        let mut providers = Vec::new();
        for row in self.fetch_all(select).await? {
            providers.push(self.provider_whole(&row).await?);
        }
        Ok(providers)
    }

    /// Stores a new provider and its credentials.
    pub async fn provider_insert(&mut self, provider: &Provider) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO providers (id, name, dialect, base_url, allow_private, models, vendor, disabled, priority,
             auth, region, quirks, create_time, update_time, created, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            provider.id.as_str(),
            provider.name.as_str(),
            provider.dialect.word(),
            &provider.base_url,
            provider.allow_private,
            statement::list(&provider.models),
            &provider.vendor,
            provider.disabled,
            provider.priority,
            provider.auth.text(),
            &provider.region,
            statement::list(provider.quirks.iter().map(|quirk| quirk.word())),
        );
        self.execute(provider.stamp.bind(insert)).await?;
        self.credentials_put(provider).await
    }

    /// Stores the changed fields of a provider. Credentials that it no longer lists are not deleted here:
    /// see [`Txn::credential_delete`].
    pub async fn provider_update(&mut self, provider: &Provider) -> Result<(), StoreError> {
        let update = sql!(
            "UPDATE providers SET name = $1, base_url = $2, allow_private = $3, models = $4, vendor = $5, disabled = $6,
             priority = $7, auth = $8, region = $9, quirks = $10, update_time = $11, revision = $12 WHERE id = $13",
            provider.name.as_str(),
            &provider.base_url,
            provider.allow_private,
            statement::list(&provider.models),
            &provider.vendor,
            provider.disabled,
            provider.priority,
            provider.auth.text(),
            &provider.region,
            statement::list(provider.quirks.iter().map(|quirk| quirk.word())),
            provider.stamp.update_time,
            provider.stamp.revision,
            provider.id.as_str(),
        );
        self.execute(update).await?;
        self.credentials_put(provider).await
    }

    /// Deletes a provider that has no credentials left, and remembers that it is gone.
    pub async fn provider_delete(&mut self, id: &ProviderId, revision: i64) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM providers WHERE id = $1", id.as_str())).await?;
        self.tombstone(ProviderId::NOUN, id.as_str(), revision).await
    }

    /// Deletes a credential. Its provider's revision says that it is gone.
    pub async fn credential_delete(&mut self, id: &CredentialId) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM credentials WHERE id = $1", id.as_str())).await.map(drop)
    }

    /// The names of at most five keys that name the provider, or one of its credentials.
    pub async fn provider_keys(&mut self, id: &ProviderId) -> Result<Vec<String>, StoreError> {
        let select = sql!(
            "SELECT name FROM keys WHERE id IN (SELECT key_id FROM key_providers WHERE provider = $1)
             OR id IN (SELECT k.key_id FROM key_credentials k JOIN credentials c ON c.id = k.credential WHERE c.provider = $1)
             ORDER BY name LIMIT 5",
            id.as_str()
        );
        self.fetch_all(select).await?.iter().map(|row| row.text("name")).collect()
    }

    /// The names of at most five teams that name the provider.
    pub async fn provider_teams(&mut self, id: &ProviderId) -> Result<Vec<String>, StoreError> {
        let select = sql!(
            "SELECT name FROM teams WHERE id IN (SELECT team FROM team_providers WHERE provider = $1) ORDER BY name LIMIT 5",
            id.as_str()
        );
        self.fetch_all(select).await?.iter().map(|row| row.text("name")).collect()
    }

    /// The names of at most five keys that name the credential.
    pub async fn credential_keys(&mut self, id: &CredentialId) -> Result<Vec<String>, StoreError> {
        let select = sql!(
            "SELECT name FROM keys WHERE id IN (SELECT key_id FROM key_credentials WHERE credential = $1) ORDER BY name LIMIT 5",
            id.as_str()
        );
        self.fetch_all(select).await?.iter().map(|row| row.text("name")).collect()
    }

    /// The credential with this id, or named `provider/name`, and the provider that has it.
    pub async fn credential_find(&mut self, named: &str) -> Result<Option<(CredentialId, ProviderId)>, StoreError> {
        let (provider, name) = named.split_once('/').unwrap_or_default();
        let select = sql!(
            "SELECT c.id, c.provider FROM credentials c JOIN providers p ON p.id = c.provider
             WHERE c.id = $1 OR (c.name = $2 AND (p.name = $3 OR p.id = $3))",
            named,
            name,
            provider
        );
        let row = self.fetch_optional(select).await?;
        let read = |row: Row| Ok((row.parsed("id", CredentialId::parse)?, row.parsed("provider", ProviderId::parse)?));
        row.map(read).transpose()
    }

    /// The names of at most ten enabled providers without an enabled credential.
    pub async fn idle_providers(&mut self) -> Result<Vec<String>, StoreError> {
        let select = sql!(
            "SELECT name FROM providers p WHERE disabled = 0
             AND NOT EXISTS (SELECT 1 FROM credentials c WHERE c.provider = p.id AND c.disabled = 0) ORDER BY name LIMIT 10"
        );
        self.fetch_all(select).await?.iter().map(|row| row.text("name")).collect()
    }

    async fn provider_whole(&mut self, row: &Row) -> Result<Provider, StoreError> {
        let select = sql!("SELECT * FROM credentials WHERE provider = $1 ORDER BY position", &row.text("id")?);
        let credentials = self.fetch_all(select).await?;
        Provider::read(row, credentials.iter().map(Credential::read).collect::<Result<_, _>>()?)
    }

    // A name may move from one credential to another in one update: names are made free before they are given.
    async fn credentials_put(&mut self, provider: &Provider) -> Result<(), StoreError> {
        for credential in &provider.credentials {
            let free = sql!(
                "UPDATE credentials SET name = id WHERE id = $1 AND name <> $2",
                credential.id.as_str(),
                credential.name.as_str()
            );
            self.execute(free).await?;
        }
        for (position, credential) in provider.credentials.iter().enumerate() {
            let Credential { id, name, reference, weight, disabled, fingerprint } = credential;
            let put = sql!(
                "INSERT INTO credentials (id, provider, name, position, reference, weight, disabled, fingerprint)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                 ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, position = EXCLUDED.position,
                 reference = EXCLUDED.reference, weight = EXCLUDED.weight, disabled = EXCLUDED.disabled,
                 fingerprint = EXCLUDED.fingerprint",
                id.as_str(),
                provider.id.as_str(),
                name.as_str(),
                position,
                reference.as_deref(),
                *weight,
                *disabled,
                fingerprint,
            );
            self.execute(put).await?;
        }
        Ok(())
    }
}

impl Provider {
    pub(super) fn read(row: &Row, credentials: Vec<Credential>) -> Result<Self, StoreError> {
        let dialect = |word: &str| Dialect::of_word(word).ok_or("not a dialect");
        let quirk = |word: &String| Quirk::of_word(word).ok_or_else(|| StoreError::corrupt("quirks", word));
        Ok(Self {
            id: row.parsed("id", ProviderId::parse)?,
            name: row.parsed("name", Name::parse)?,
            dialect: row.parsed("dialect", dialect)?,
            base_url: row.text("base_url")?,
            allow_private: row.flag("allow_private")?,
            models: row.list("models")?,
            vendor: row.text("vendor")?,
            disabled: row.flag("disabled")?,
            priority: row.narrow("priority")?,
            credentials,
            auth: row.parsed("auth", Auth::parse)?,
            region: row.text("region")?,
            quirks: row.list("quirks")?.iter().map(quirk).collect::<Result<_, _>>()?,
            stamp: Stamp::read(row)?,
        })
    }
}

impl Credential {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id", CredentialId::parse)?,
            name: row.parsed("name", Name::parse)?,
            reference: row.text_opt("reference")?,
            weight: row.narrow("weight")?,
            disabled: row.flag("disabled")?,
            fingerprint: row.text("fingerprint")?,
        })
    }
}
