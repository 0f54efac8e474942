//! What changed since a revision: what a snapshot or a delta is made of.

use std::collections::HashMap;

use tollgate_policy::{
    credential::TokenKey,
    id::{CustomerId, GuardrailId, KeyId, McpServerId, ProviderId, RouteId, SessionId, TeamId, UserId},
    snapshot::{EndedSession, Model, ObjectRef},
};

use super::{
    Row, Store, StoreError, Txn,
    guardrails::Guardrail,
    keys::Key,
    mcp::PinnedServer,
    organisation::{Customer, Team, User},
    providers::{Credential, Provider},
    routes::Route,
};

/// Every object that was created or changed after a revision, and what was deleted.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Names the history.
    pub epoch: String,
    /// The newest revision, to which the changes lead.
    pub revision: i64,
    /// Customers.
    pub customers: Vec<Customer>,
    /// Teams.
    pub teams: Vec<Team>,
    /// Users.
    pub users: Vec<User>,
    /// Keys.
    pub keys: Vec<Key>,
    /// Providers, each with all of its credentials.
    pub providers: Vec<Provider>,
    /// Routes.
    pub routes: Vec<Route>,
    /// Guardrails.
    pub guardrails: Vec<Guardrail>,
    /// Servers of tools, each with what was approved of it.
    pub mcp_servers: Vec<PinnedServer>,
    /// Models of the catalogue, with the price that holds.
    pub models: Vec<Model>,
    /// Keys that sign developers' credentials.
    pub token_keys: Vec<TokenKey>,
    /// Sessions that were ended and had issued credentials.
    pub ended_sessions: Vec<EndedSession>,
    /// What was deleted. Empty for the whole state.
    pub tombstones: Vec<ObjectRef>,
}

impl Store {
    /// Reads what changed after a revision, in one read transaction. After 0: the whole state.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn changes(&self, after: i64) -> Result<Changes, StoreError> {
        let mut txn = self.begin_read().await?;
        let changes = txn.changes(after).await?;
        txn.end().await?;
        Ok(changes)
    }
}

impl Txn {
    /// As [`Store::changes`], in a transaction of the caller.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn changes(&mut self, after: i64) -> Result<Changes, StoreError> {
        let (epoch, revision) = self.fleet().await?;
        Ok(Changes {
            epoch,
            revision,
            customers: self.owners(sql!("SELECT * FROM customers WHERE revision > $1", after), Customer::read).await?,
            teams: self.owners(sql!("SELECT * FROM teams WHERE revision > $1", after), Team::read).await?,
            users: self.owners(sql!("SELECT * FROM users WHERE revision > $1", after), User::read).await?,
            keys: self.owners(sql!("SELECT * FROM keys WHERE revision > $1", after), Key::read).await?,
            providers: self.changed_providers(after).await?,
            routes: self.routes_changed(after).await?,
            guardrails: self.guardrails_changed(after).await?,
            mcp_servers: self.mcp_servers_changed(after).await?,
            models: self.models_changed(after).await?,
            token_keys: self.token_keys_changed(after).await?,
            ended_sessions: self.sessions_ended(after).await?,
            tombstones: self.changed_tombstones(after).await?,
        })
    }

    /// The providers that changed after a revision, each with all of its credentials.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn changed_providers(&mut self, after: i64) -> Result<Vec<Provider>, StoreError> {
        let select = sql!(
            "SELECT c.* FROM credentials c JOIN providers p ON p.id = c.provider WHERE p.revision > $1 ORDER BY c.position",
            after
        );
        let mut credentials: HashMap<String, Vec<Credential>> = HashMap::new();
        for row in self.fetch_all(select).await? {
            credentials.entry(row.text("provider")?).or_default().push(Credential::read(&row)?);
        }
        let rows = self.fetch_all(sql!("SELECT * FROM providers WHERE revision > $1", after)).await?;
        let provider = |row: &Row| Provider::read(row, credentials.remove(&row.text("id")?).unwrap_or_default());
        rows.iter().map(provider).collect()
    }

    async fn changed_tombstones(&mut self, after: i64) -> Result<Vec<ObjectRef>, StoreError> {
        if after == 0 {
            return Ok(Vec::new());
        }
        let rows = self.fetch_all(sql!("SELECT kind, id FROM tombstones WHERE revision > $1", after)).await?;
        rows.iter().map(tombstone).collect()
    }

    /// Remembers that an object is gone. `kind` is the noun, and for a model the id is `vendor/name`.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn tombstone(&mut self, kind: &'static str, id: &str, revision: i64) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO tombstones (kind, id, revision) VALUES ($1, $2, $3)
             ON CONFLICT (kind, id) DO UPDATE SET revision = EXCLUDED.revision",
            kind,
            id,
            revision
        );
        self.execute(insert).await?;
        Ok(())
    }
}

fn tombstone(row: &Row) -> Result<ObjectRef, StoreError> {
    let kind = row.text("kind")?;
    Ok(match kind.as_str() {
        CustomerId::NOUN => ObjectRef::Customer(row.parsed("id", CustomerId::parse)?),
        TeamId::NOUN => ObjectRef::Team(row.parsed("id", TeamId::parse)?),
        UserId::NOUN => ObjectRef::User(row.parsed("id", UserId::parse)?),
        KeyId::NOUN => ObjectRef::Key(row.parsed("id", KeyId::parse)?),
        ProviderId::NOUN => ObjectRef::Provider(row.parsed("id", ProviderId::parse)?),
        RouteId::NOUN => ObjectRef::Route(row.parsed("id", RouteId::parse)?),
        GuardrailId::NOUN => ObjectRef::Guardrail(row.parsed("id", GuardrailId::parse)?),
        McpServerId::NOUN => ObjectRef::McpServer(row.parsed("id", McpServerId::parse)?),
        SessionId::NOUN => ObjectRef::EndedSession(row.parsed("id", SessionId::parse)?),
        TOKEN_KEY => ObjectRef::TokenKey(row.text("id")?.into()),
        MODEL => row.parsed("id", |id| match id.split_once('/') {
            Some((vendor, name)) => Ok(ObjectRef::Model(vendor.into(), name.into())),
            None => Err("not vendor/name"),
        })?,
        _ => return Err(StoreError::corrupt("kind", kind)),
    })
}

/// The kind of a model's tombstone.
pub const MODEL: &str = "model";
/// The kind of the tombstone of a key that signs credentials.
pub const TOKEN_KEY: &str = "token-key";
