//! The rows of what authorization servers gave for servers of tools. The tokens themselves are sealed under the id of their row.

use tollgate_policy::{
    id::{McpServerId, UserId},
    rbac::Reach,
};

use super::super::{Row, Statement, StoreError, Txn, reach::Belonging};
use crate::seal::{Place, Sealed};

/// The most grants that end at once: one of each server for each of 1,000 users.
const ENDED_MAX: i64 = 500_000;

/// A grant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct McpGrant {
    /// Its id, `mcp-grant-` and a ULID. Ids order by creation.
    pub id: String,
    /// For which server.
    pub server: McpServerId,
    /// Whose; `None`: the control plane's own.
    pub user: Option<UserId>,
    /// The issuer of the authorization server.
    pub issuer: String,
    /// The client as which it was got: nobody else renews it.
    pub client: String,
    /// The scopes, separated by spaces.
    pub scopes: String,
    /// Why it is good no more; empty while it is.
    pub problem: String,
    /// Whether there is a refresh token.
    pub renewable: bool,
    /// When the access token is over, in Unix milliseconds; 0: the authorization server did not say.
    pub expire_time: i64,
    /// How often tokens were got; 0: never yet.
    pub generation: i64,
    /// Until when somebody renews it, in Unix milliseconds.
    pub claim_time: i64,
    /// When it was permitted, in Unix milliseconds.
    pub create_time: i64,
    /// When its tokens were got last, in Unix milliseconds.
    pub refresh_time: i64,
}

/// A grant with its tokens as they are sealed, if it has any.
#[derive(Clone, Debug)]
pub struct SealedGrant {
    /// The grant.
    pub grant: McpGrant,
    /// Its tokens.
    pub tokens: Option<Sealed>,
}

/// Which grants.
#[derive(Clone, Debug, Default)]
pub struct McpGrantFilter {
    /// Of that server.
    pub server: Option<McpServerId>,
    /// Of that user.
    pub user: Option<UserId>,
    /// Which the caller may see.
    pub reach: Reach,
}

/// Which grants end.
#[derive(Clone, Copy, Debug)]
pub enum Ending<'a> {
    /// That of one user at one server, or the server's own.
    One(&'a McpServerId, Option<&'a UserId>),
    /// Every one of a server.
    Server(&'a McpServerId),
    /// Every one of a user.
    User(&'a UserId),
}

const GRANTS: Belonging = Belonging {
    customer: Some("(SELECT t.customer FROM users u JOIN teams t ON t.id = u.team WHERE u.id = mcp_grants.user_id)"),
    team: Some("(SELECT u.team FROM users u WHERE u.id = mcp_grants.user_id)"),
    user: Some("user_id"),
};

/// Where the tokens of a grant are sealed.
#[must_use]
pub const fn tokens_place(id: &str) -> Place<'_> {
    Place { purpose: "mcp-grant", id }
}

/// Where the client that was registered for a server is sealed.
#[must_use]
pub const fn client_place(server: &str) -> Place<'_> {
    Place { purpose: "mcp-client", id: server }
}

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The grant of a user at a server, or the server's own.
    pub async fn mcp_grant_find(
        &mut self,
        server: &McpServerId,
        user: Option<&UserId>,
    ) -> Result<Option<McpGrant>, StoreError> {
        let select = sql!("SELECT * FROM mcp_grants WHERE server = $1 AND holder = $2", server.as_str(), holder(user));
        self.fetch_optional(select).await?.as_ref().map(McpGrant::read).transpose()
    }

    /// The same, made without tokens where there is none: for tokens that nobody has to permit.
    pub async fn mcp_grant_found(
        &mut self,
        server: &McpServerId,
        user: Option<&UserId>,
        now: i64,
    ) -> Result<McpGrant, StoreError> {
        let insert = sql!(
            "INSERT INTO mcp_grants (id, server, holder, user_id, issuer, client, scopes, problem, renewable, expire_time, generation,
             claim_time, create_time, refresh_time)
             VALUES ($1, $2, $3, $4, '', '', '', '', 0, 0, 0, 0, $5, 0) ON CONFLICT DO NOTHING",
            fresh_id(),
            server.as_str(),
            holder(user),
            user.map(UserId::as_str),
            now
        );
        self.execute(insert).await?;
        self.mcp_grant_find(server, user).await?.ok_or(StoreError::Missing)
    }

    /// Takes it on to get tokens, until the `claim_time`, unless somebody else does or has done so since the `generation` was seen. Returns
    /// whether it was taken.
    pub async fn mcp_grant_claim(&mut self, claimed: &McpGrant, now: i64) -> Result<bool, StoreError> {
        let claim = sql!(
            "UPDATE mcp_grants SET claim_time = $1 WHERE id = $2 AND generation = $3 AND claim_time <= $4",
            claimed.claim_time,
            &claimed.id,
            claimed.generation,
            now
        );
        Ok(self.execute(claim).await? == 1)
    }

    /// Gives a claim back without tokens: nobody tries before `until`.
    pub async fn mcp_grant_release(&mut self, claimed: &McpGrant, until: i64) -> Result<(), StoreError> {
        let release = sql!(
            "UPDATE mcp_grants SET claim_time = $1 WHERE id = $2 AND generation = $3 AND claim_time = $4",
            until,
            &claimed.id,
            claimed.generation,
            claimed.claim_time
        );
        self.execute(release).await.map(drop)
    }

    /// Stores tokens that were got, if the grant is still the one that was claimed. Returns whether it was.
    pub async fn mcp_grant_renew(
        &mut self,
        seen: &McpGrant,
        fresh: &McpGrant,
        tokens: &Sealed,
    ) -> Result<bool, StoreError> {
        let update = sql!(
            "UPDATE mcp_grants SET issuer = $1, client = $2, scopes = $3, problem = '', renewable = $4, expire_time = $5,
             generation = generation + 1, claim_time = 0, refresh_time = $6 WHERE id = $7 AND generation = $8",
            &fresh.issuer,
            &fresh.client,
            &fresh.scopes,
            fresh.renewable,
            fresh.expire_time,
            fresh.refresh_time,
            &seen.id,
            seen.generation
        );
        if self.execute(update).await? == 0 {
            return Ok(false);
        }
        self.secret_delete(tokens_place(&seen.id)).await?;
        self.secret_insert(tokens_place(&seen.id), tokens).await?;
        Ok(true)
    }

    /// Notes that a grant is good no more, and forgets its tokens. Returns whether it was still the one that was seen.
    pub async fn mcp_grant_break(&mut self, seen: &McpGrant, problem: &str) -> Result<bool, StoreError> {
        let update = sql!(
            "UPDATE mcp_grants SET problem = $1, renewable = 0, expire_time = 0, generation = generation + 1, claim_time = 0
             WHERE id = $2 AND generation = $3",
            problem,
            &seen.id,
            seen.generation
        );
        if self.execute(update).await? == 0 {
            return Ok(false);
        }
        self.secret_delete(tokens_place(&seen.id)).await?;
        Ok(true)
    }

    /// Stores a grant that a user has permitted, in the place of one that may be there, with its tokens.
    pub async fn mcp_grant_insert(&mut self, grant: &McpGrant, tokens: &Sealed) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO mcp_grants (id, server, holder, user_id, issuer, client, scopes, problem, renewable, expire_time, generation,
             claim_time, create_time, refresh_time) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            &grant.id,
            grant.server.as_str(),
            holder(grant.user.as_ref()),
            grant.user.as_ref().map(UserId::as_str),
            &grant.issuer,
            &grant.client,
            &grant.scopes,
            &grant.problem,
            grant.renewable,
            grant.expire_time,
            grant.generation,
            grant.claim_time,
            grant.create_time,
            grant.refresh_time
        );
        self.execute(insert).await?;
        self.secret_insert(tokens_place(&grant.id), tokens).await
    }

    /// Grants that have tokens, or had some, from the newest on, behind the one with this id.
    pub async fn mcp_grant_list(
        &mut self,
        filter: &McpGrantFilter,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<McpGrant>, StoreError> {
        let McpGrantFilter { server, user, reach } = filter;
        let mut select = sql!("SELECT * FROM mcp_grants WHERE generation > 0");
        select.narrow("server", server.as_ref().map(McpServerId::as_str));
        select.narrow("user_id", user.as_ref().map(UserId::as_str));
        GRANTS.narrow(&mut select, reach);
        if let Some(id) = after {
            select.push(" AND id < ");
            select.push_bind(id);
        }
        select.push(" ORDER BY id DESC LIMIT ");
        select.push_bind(limit);
        self.fetch_all(select).await?.iter().map(McpGrant::read).collect()
    }

    /// Ends grants: rows and tokens go, and every server that had one learns at this revision that tokens were taken back. Returns what
    /// there was, so that the authorization servers can be told.
    pub async fn mcp_grants_end(&mut self, which: Ending<'_>, revision: i64) -> Result<Vec<SealedGrant>, StoreError> {
        let mut select = which.narrowed(sql!("SELECT * FROM mcp_grants WHERE 1 = 1"));
        // Whoever renews one at this moment has stored its tokens before, or finds that it is gone.
        select.push(self.for_update());
        let rows = self.fetch_all(select).await?;
        let mut ended = Vec::with_capacity(rows.len());
        let mut servers: Vec<McpServerId> = Vec::new();
        for row in &rows {
            let grant = McpGrant::read(row)?;
            let place = tokens_place(&grant.id);
            let tokens = self.secret_get(place).await?;
            self.secret_delete(place).await?;
            self.execute(sql!("DELETE FROM mcp_grants WHERE id = $1", &grant.id)).await?;
            if !servers.contains(&grant.server) {
                servers.push(grant.server.clone());
            }
            ended.push(SealedGrant { grant, tokens });
        }
        // Always in one order, so that no two transactions wait for each other.
        servers.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        for server in &servers {
            self.mcp_server_took_back(server, revision).await?;
        }
        Ok(ended)
    }

    /// Tells the replicas, at this revision, that tokens for a server were taken back: what they have is good no more.
    pub async fn mcp_server_took_back(&mut self, id: &McpServerId, revision: i64) -> Result<(), StoreError> {
        let update =
            sql!("UPDATE mcp_servers SET grants = grants + 1, revision = $1 WHERE id = $2", revision, id.as_str());
        self.execute(update).await.map(drop)
    }
}

// === impl Ending ===

impl Ending<'_> {
    fn narrowed(self, mut select: Statement) -> Statement {
        match self {
            Self::One(server, user) => {
                select.narrow("server", Some(server.as_str()));
                select.narrow("holder", Some(holder(user)));
            }
            Self::Server(server) => select.narrow("server", Some(server.as_str())),
            Self::User(user) => select.narrow("user_id", Some(user.as_str())),
        }
        select.push(" ORDER BY id LIMIT ");
        select.push_bind(ENDED_MAX);
        select
    }
}

// === impl McpGrant ===

impl McpGrant {
    /// A grant that was permitted at this instant, without what was given.
    #[must_use]
    pub fn permitted(server: &McpServerId, user: &UserId, now: i64) -> Self {
        Self {
            id: fresh_id(),
            server: server.clone(),
            user: Some(user.clone()),
            issuer: String::new(),
            client: String::new(),
            scopes: String::new(),
            problem: String::new(),
            renewable: false,
            expire_time: 0,
            generation: 1,
            claim_time: 0,
            create_time: now,
            refresh_time: now,
        }
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.text("id")?,
            server: row.parsed("server", McpServerId::parse)?,
            user: row.parsed_opt("user_id", UserId::parse)?,
            issuer: row.text("issuer")?,
            client: row.text("client")?,
            scopes: row.text("scopes")?,
            problem: row.text("problem")?,
            renewable: row.flag("renewable")?,
            expire_time: row.int("expire_time")?,
            generation: row.int("generation")?,
            claim_time: row.int("claim_time")?,
            create_time: row.int("create_time")?,
            refresh_time: row.int("refresh_time")?,
        })
    }
}

fn fresh_id() -> String {
    format!("mcp-grant-{}", ulid::Ulid::generate().to_string().to_lowercase())
}

fn holder(user: Option<&UserId>) -> &str {
    user.map(UserId::as_str).unwrap_or_default()
}
