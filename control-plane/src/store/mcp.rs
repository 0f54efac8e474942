//! The rows of servers of tools, and which objects they name. [`tools`] has what they offer, and what was approved of it;
//! [`observations`], how replicas find them.

use serde::{Deserialize, Serialize};
use tollgate_policy::{
    id::{CredentialId, CustomerId, McpServerId, TeamId},
    mcp::{McpAuth, Pin, Pinning, Transport},
    money::NanoUsd,
    name::Name,
};

use super::{Position, Row, Statement, StoreError, TextMatch, Txn, guardrails::Owners, organisation::Stamp, statement};

pub mod consents;
pub mod grants;
pub mod observations;
pub mod tools;

/// A server of tools.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct McpServer {
    /// Its id.
    pub id: McpServerId,
    /// Its name.
    pub name: Name,
    /// Whether it is not called.
    pub disabled: bool,
    /// Where it is; empty for one that runs as a process of the replicas.
    pub url: String,
    /// What an HTTP API can, as OpenAPI in JSON; `None` for every other transport.
    pub document: Option<String>,
    /// Whether a private address is permitted.
    pub allow_private: bool,
    /// How it is spoken to.
    pub transport: Transport,
    /// How it is shown a credential.
    pub auth: McpAuth,
    /// Which secret; `None`: it needs none. Where the control plane gets tokens, it is the client's, and stays here.
    pub credential: Option<ServerCredential>,
    /// The OAuth client that gets its tokens; `None` where none is got.
    pub oauth: Option<OAuth>,
    /// How often its tokens were taken back.
    pub grants: i64,
    /// Whom it is for.
    pub owners: Owners,
    /// For which of their keys, as patterns of names.
    pub keys: Vec<String>,
    /// Which of its tools are passed on, as patterns.
    pub tools: Vec<String>,
    /// Which of its prompts.
    pub prompts: Vec<String>,
    /// Which of its resources, by URI.
    pub resources: Vec<String>,
    /// What calls cost.
    pub prices: Vec<Priced>,
    /// How long a call may take, in milliseconds.
    pub timeout_ms: i64,
    /// How many calls a replica has open at it; 0: any number.
    pub parallel: i32,
    /// The most bytes of a call's arguments.
    pub arguments_bytes: i64,
    /// The most bytes of a result.
    pub result_bytes: i64,
    /// Whether a longer result is shortened.
    pub truncate: bool,
    /// Whether the log has the arguments of calls.
    pub record_arguments: bool,
    /// How a tool is approved.
    pub pinning: Pinning,
    /// Its history. An approval of a tool moves its revision.
    pub stamp: Stamp,
}

/// The credential of a server, without its secret, which is sealed as that of a provider's credential unless `reference` says where
/// it is found: by replicas if the server is shown it, by the control plane if it is a client's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerCredential {
    /// Its id.
    pub id: CredentialId,
    /// Where the secret is found.
    pub reference: Option<String>,
    /// What tells two secrets apart; empty for a reference.
    pub fingerprint: String,
}

/// The control plane as an OAuth client of a server.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OAuth {
    /// By which id the authorization server knows it; empty: it registers itself.
    pub client_id: String,
    /// What is asked for; empty: what the server asks for.
    pub scopes: Vec<String>,
    /// The authorization server, by its issuer URL; empty: the one that the server names.
    pub authorization_server: String,
    /// What the tokens are for; empty: the URL of the server.
    pub resource: String,
}

/// What calls of some tools cost.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Priced {
    /// Which tools, as a pattern.
    pub tools: String,
    /// Each call.
    pub call: NanoUsd,
}

/// A server with what was approved of it, as replicas are told of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PinnedServer {
    /// The server.
    pub server: McpServer,
    /// The definitions that were approved, sorted by tool and hash.
    pub pins: Vec<Pin>,
    /// How often it was to be tested.
    pub tests: i64,
}

/// Which servers to list.
#[derive(Clone, Debug, Default)]
pub struct McpServerFilter {
    /// The name.
    pub name: Option<TextMatch>,
    /// Whether disabled.
    pub disabled: Option<bool>,
}

// The form of the JSON column.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PricedForm {
    tools: String,
    call: i64,
}

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The server with this id or name.
    pub async fn mcp_server_find(&mut self, named: &str) -> Result<Option<McpServer>, StoreError> {
        let select = sql!("SELECT * FROM mcp_servers WHERE id = $1 OR name = $1", named);
        self.fetch_optional(select).await?.map(|row| McpServer::read(&row)).transpose()
    }

    /// The server with this id, whose row stays locked until the transaction ends.
    pub async fn mcp_server_lock(&mut self, id: &McpServerId) -> Result<Option<McpServer>, StoreError> {
        let mut select = sql!("SELECT * FROM mcp_servers WHERE id = $1", id.as_str());
        select.push(self.for_update());
        self.fetch_optional(select).await?.map(|row| McpServer::read(&row)).transpose()
    }

    /// How many servers there are.
    pub async fn mcp_server_count(&mut self) -> Result<i64, StoreError> {
        self.fetch_one(sql!("SELECT COUNT(*) AS count FROM mcp_servers")).await?.int("count")
    }

    /// The servers that match, in the order of creation.
    pub async fn mcp_server_list(
        &mut self,
        filter: &McpServerFilter,
        after: Option<&Position>,
        limit: i64,
    ) -> Result<Vec<McpServer>, StoreError> {
        let McpServerFilter { name, disabled } = filter;
        let mut select = sql!("SELECT * FROM mcp_servers WHERE 1 = 1");
        if let Some(name) = name {
            name.narrow(&mut select, "name");
        }
        select.narrow("disabled", *disabled);
        select.page(after, limit);
        self.fetch_all(select).await?.iter().map(McpServer::read).collect()
    }

    /// The servers that changed after a revision, each with what was approved of it.
    pub async fn mcp_servers_changed(&mut self, after: i64) -> Result<Vec<PinnedServer>, StoreError> {
        let mut pins = self.mcp_pins_changed(after).await?;
        let rows = self.fetch_all(sql!("SELECT * FROM mcp_servers WHERE revision > $1", after)).await?;
        let pinned = |row: &Row| {
            let server = McpServer::read(row)?;
            let pins = pins.remove(server.id.as_str()).unwrap_or_default();
            Ok(PinnedServer { server, pins, tests: row.int("tests")? })
        };
        rows.iter().map(pinned).collect()
    }

    /// The credentials that enabled servers are shown and whose secrets are sealed here, by id: those that replicas get. The secret of a
    /// client is for the control plane alone.
    pub async fn mcp_literals(&mut self) -> Result<Vec<String>, StoreError> {
        let select = sql!(
            "SELECT credential FROM mcp_servers WHERE disabled = 0 AND credential IS NOT NULL AND reference IS NULL
             AND (auth = 'bearer' OR auth LIKE 'header:%')"
        );
        self.fetch_all(select).await?.iter().map(|row| row.text("credential")).collect()
    }

    /// Stores a new server.
    pub async fn mcp_server_insert(&mut self, server: &McpServer) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO mcp_servers (id, name, disabled, url, allow_private, transport, auth, credential, reference, fingerprint,
             customers, teams, keys, tools, prompts, resources, prices, timeout_ms, parallel, arguments_bytes, result_bytes,
             shortens, record_arguments, pinning, document, oauth, grants, create_time, update_time, created, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
             $24, $25, $26, $27, $28, $29, $30, $31)",
            server.id.as_str(),
        );
        self.execute(server.stamp.bind(server.bind(insert)?)).await?;
        self.mcp_server_links(server).await
    }

    /// Stores the changed fields of a server.
    pub async fn mcp_server_update(&mut self, server: &McpServer) -> Result<(), StoreError> {
        let update = sql!(
            "UPDATE mcp_servers SET name = $2, disabled = $3, url = $4, allow_private = $5, transport = $6, auth = $7,
             credential = $8, reference = $9, fingerprint = $10, customers = $11, teams = $12, keys = $13, tools = $14,
             prompts = $15, resources = $16, prices = $17, timeout_ms = $18, parallel = $19, arguments_bytes = $20,
             result_bytes = $21, shortens = $22, record_arguments = $23, pinning = $24, document = $25, oauth = $26,
             grants = $27, update_time = $28, revision = $29
             WHERE id = $1",
            server.id.as_str(),
        );
        let Stamp { update_time, revision, .. } = server.stamp;
        self.execute(server.bind(update)?.bind(update_time).bind(revision)).await?;
        self.execute(sql!("DELETE FROM mcp_server_references WHERE server = $1", server.id.as_str())).await?;
        self.mcp_server_links(server).await
    }

    /// Tells the revision at which what was approved of a server changed.
    pub async fn mcp_server_touch(&mut self, id: &McpServerId, revision: i64) -> Result<(), StoreError> {
        self.execute(sql!("UPDATE mcp_servers SET revision = $1 WHERE id = $2", revision, id.as_str())).await.map(drop)
    }

    /// Deletes a server with what is known of its tools, and remembers that it is gone.
    pub async fn mcp_server_delete(&mut self, id: &McpServerId, revision: i64) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM mcp_servers WHERE id = $1", id.as_str())).await?;
        self.tombstone(McpServerId::NOUN, id.as_str(), revision).await
    }

    /// The names of at most five servers that name the object with this id: a customer or a team.
    pub async fn mcp_servers_naming(&mut self, id: &str) -> Result<Vec<String>, StoreError> {
        let select = sql!(
            "SELECT name FROM mcp_servers WHERE id IN
             (SELECT server FROM mcp_server_references WHERE customer = $1 OR team = $1) ORDER BY name LIMIT 5",
            id
        );
        self.fetch_all(select).await?.iter().map(|row| row.text("name")).collect()
    }

    async fn mcp_server_links(&mut self, server: &McpServer) -> Result<(), StoreError> {
        let Owners { customers, teams } = &server.owners;
        let id = server.id.as_str();
        for customer in customers.iter().map(CustomerId::as_str) {
            let insert = sql!("INSERT INTO mcp_server_references (server, customer) VALUES ($1, $2)", id, customer);
            self.execute(insert).await?;
        }
        for team in teams.iter().map(TeamId::as_str) {
            self.execute(sql!("INSERT INTO mcp_server_references (server, team) VALUES ($1, $2)", id, team)).await?;
        }
        Ok(())
    }
}

// === impl McpServer ===

impl McpServer {
    // As the columns from name to grants.
    fn bind(&self, statement: Statement) -> Result<Statement, StoreError> {
        let Self {
            id: _,
            name,
            disabled,
            url,
            document,
            allow_private,
            transport,
            auth,
            credential,
            oauth,
            grants,
            owners: Owners { customers, teams },
            keys,
            tools,
            prompts,
            resources,
            prices,
            timeout_ms,
            parallel,
            arguments_bytes,
            result_bytes,
            truncate,
            record_arguments,
            pinning,
            stamp: _,
        } = self;
        let form = |Priced { tools, call }: &Priced| PricedForm { tools: tools.clone(), call: call.get() };
        let prices = serde_json::to_string(&prices.iter().map(form).collect::<Vec<_>>());
        let (credential, reference, fingerprint) = match credential {
            Some(ServerCredential { id, reference, fingerprint }) => {
                (Some(id.as_str()), reference.as_deref(), fingerprint.as_str())
            }
            None => (None, None, ""),
        };
        let oauth = oauth.as_ref().map(serde_json::to_string).transpose();
        Ok(statement
            .bind(name.as_str())
            .bind(*disabled)
            .bind(url)
            .bind(*allow_private)
            .bind(transport.word())
            .bind(auth.text())
            .bind(credential)
            .bind(reference)
            .bind(fingerprint)
            .bind(statement::list(customers.iter().map(CustomerId::as_str)))
            .bind(statement::list(teams.iter().map(TeamId::as_str)))
            .bind(statement::list(keys))
            .bind(statement::list(tools))
            .bind(statement::list(prompts))
            .bind(statement::list(resources))
            .bind(prices.map_err(|error| StoreError::corrupt("prices", error))?)
            .bind(*timeout_ms)
            .bind(*parallel)
            .bind(*arguments_bytes)
            .bind(*result_bytes)
            .bind(*truncate)
            .bind(*record_arguments)
            .bind(pinning.word())
            .bind(document.as_deref().unwrap_or_default())
            .bind(oauth.map_err(|error| StoreError::corrupt("oauth", error))?.unwrap_or_default())
            .bind(*grants))
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        let credential = row.parsed_opt("credential", CredentialId::parse)?;
        let (reference, fingerprint) = (row.text_opt("reference")?, row.text("fingerprint")?);
        Ok(Self {
            id: row.parsed("id", McpServerId::parse)?,
            name: row.parsed("name", Name::parse)?,
            disabled: row.flag("disabled")?,
            url: row.text("url")?,
            document: Some(row.text("document")?).filter(|document| !document.is_empty()),
            allow_private: row.flag("allow_private")?,
            transport: row.parsed("transport", |word| Transport::of_word(word).ok_or("not a transport"))?,
            auth: row.parsed("auth", |text| McpAuth::parse(text).ok_or("no way to show a secret"))?,
            credential: credential.map(|id| ServerCredential { id, reference, fingerprint }),
            oauth: row.parsed("oauth", |text| match text {
                "" => Ok(None),
                _ => serde_json::from_str(text).map(Some),
            })?,
            grants: row.int("grants")?,
            owners: Owners {
                customers: row.ids("customers", CustomerId::parse)?,
                teams: row.ids("teams", TeamId::parse)?,
            },
            keys: row.list("keys")?,
            tools: row.list("tools")?,
            prompts: row.list("prompts")?,
            resources: row.list("resources")?,
            prices: row.parsed("prices", |text| {
                let forms: Vec<PricedForm> = serde_json::from_str(text)?;
                let priced = |PricedForm { tools, call }| Priced { tools, call: NanoUsd::new(call) };
                Ok::<_, serde_json::Error>(forms.into_iter().map(priced).collect())
            })?,
            timeout_ms: row.int("timeout_ms")?,
            parallel: row.narrow("parallel")?,
            arguments_bytes: row.int("arguments_bytes")?,
            result_bytes: row.int("result_bytes")?,
            truncate: row.flag("shortens")?,
            record_arguments: row.flag("record_arguments")?,
            pinning: row.parsed("pinning", |word| Pinning::of_word(word).ok_or("not a pinning"))?,
            stamp: Stamp::read(row)?,
        })
    }
}
