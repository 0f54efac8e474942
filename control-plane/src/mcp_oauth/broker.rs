//! Who gets which token: the one that is there while it is good for a while, else a fresh one, got once for all control planes.
//!
//! ```text
//! one   ──claims the row──► token endpoint ──► stored, generation + 1
//! other ──finds it claimed─────── waits ─────► reads what was stored
//! ```
//!
//! An authorization server that rotates refresh tokens ends a grant whose token comes twice. So nobody asks who has not claimed the row
//! at the generation that was seen, and what was begun goes on when whoever waited for it is gone. No transaction is open meanwhile.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tollgate_audit::{Entry, Facts, Fields, Outcome as Ended};
use tollgate_policy::{
    id::{McpServerId, UserId},
    mcp::McpAuth,
};
use zeroize::Zeroizing;

use super::{
    McpOAuth,
    client::Client,
    discovery::Found,
    fault::Fault,
    renewed,
    request::{self, Given, Tokens},
    scopes,
    subject::{self, ACCESS_TOKEN, JWT},
};
use crate::{
    audit, clock,
    store::{
        StoreError,
        mcp::{McpServer, grants::McpGrant},
        organisation::User,
    },
};

/// A token that is good for less is replaced before it is given, in milliseconds.
const MARGIN_MS: i64 = 60_000;
/// The longest that a replica may keep one, in milliseconds.
const LEFT_MS_MAX: i64 = 3_600_000;
/// A token that was got so recently and is turned away would be no better a second time, in milliseconds.
const FRESH_MS: i64 = 10_000;
/// Who has claimed a grant has so long, in milliseconds: a question takes five seconds at most.
const CLAIM_MS: i64 = 20_000;
/// After an attempt that failed nobody makes another for so long, in milliseconds.
const PAUSE_MS: i64 = 2_000;
/// How long somebody waits for another's attempt, and how often they look.
const PATIENCE: Duration = Duration::from_secs(12);
const LOOK: Duration = Duration::from_millis(100);
/// What was given is stored at the latest the so-manieth time: it was given once.
const STORE_ATTEMPTS_MAX: u32 = 5;

/// What a replica asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The server, by id.
    pub server: &'a str,
    /// The user, by id; empty for the server's own token.
    pub user: &'a str,
    /// SHA-256 of a token that was turned away; empty: any will do.
    pub rejected: &'a [u8],
}

/// What it gets.
#[derive(Debug)]
pub enum Outcome {
    /// A token.
    Token(Brought),
    /// None.
    None(Lacking),
}

/// A token.
pub struct Brought {
    /// The token.
    pub token: Zeroizing<String>,
    /// For how long it is good, in milliseconds.
    pub left_ms: i64,
    /// How often tokens of the server had been taken back when it was got.
    pub grants: i64,
}

/// Why there is no token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lacking {
    /// Why, in a sentence for the user.
    pub reason: String,
    /// Where the user permits it, when that is what is missing.
    pub connect_url: Option<String>,
}

// A grant as it was read, with what is needed to go on.
struct Seen {
    server: McpServer,
    user: Option<User>,
    grant: Option<McpGrant>,
    tokens: Option<Tokens>,
}

// === impl McpOAuth ===

impl McpOAuth {
    /// The token that a replica asks for, or why there is none.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn token(self: &Arc<Self>, asked: Asked<'_>) -> Result<Outcome, StoreError> {
        let deadline = Instant::now() + PATIENCE;
        let mut waited_for = None;
        loop {
            let seen = match self.look(&asked).await? {
                Ok(seen) => seen,
                Err(lacking) => return Ok(Outcome::None(lacking)),
            };
            let now = clock::now_ms();
            if let Some(brought) = seen.usable(asked.rejected, now) {
                return Ok(Outcome::Token(brought));
            }
            if let Some(lacking) = self.hopeless(&seen, now) {
                return Ok(Outcome::None(lacking));
            }
            let grant = match &seen.grant {
                Some(grant) => grant.clone(),
                None => match self.found(&seen, now).await? {
                    made if made.generation == 0 => made,
                    // Somebody was quicker, and has got a token already.
                    _ => continue,
                },
            };
            if grant.claim_time > now && Instant::now() < deadline {
                waited_for = Some(grant.generation);
                tokio::time::sleep(LOOK).await;
                continue;
            }
            // Somebody tried and did not succeed, or still tries: to ask once more would be to stand in line for the same answer.
            if grant.claim_time > now || waited_for == Some(grant.generation) {
                return Ok(Outcome::None(seen.lacking("no token could be got at this moment: try again")));
            }
            let (this, seen) = (Arc::clone(self), Seen { grant: Some(grant), ..seen });
            let renewal = self.tasks.spawn(async move { this.renew(seen).await });
            match renewal.await.map_err(|error| StoreError::corrupt("grant", error))?? {
                Some(outcome) => return Ok(outcome),
                // Another control plane was first.
                None => waited_for = None,
            }
        }
    }

    async fn look(&self, asked: &Asked<'_>) -> Result<Result<Seen, Lacking>, StoreError> {
        let none = |reason: &str| Ok(Err(Lacking { reason: reason.to_owned(), connect_url: None }));
        let Ok(id) = McpServerId::parse(asked.server) else { return none("the server of tools is not known") };
        let mut txn = self.store.begin_read().await?;
        let server = txn.mcp_server_find(id.as_str()).await?;
        let Some(server) = server.filter(|server| server.auth.is_oauth()) else {
            return none("the server of tools is not known, or gets no tokens");
        };
        if server.disabled {
            return none("the server of tools is disabled");
        }
        let user = match (server.auth.is_per_user(), UserId::parse(asked.user)) {
            (false, _) => None,
            (true, Err(_)) => {
                return none(
                    "the server of tools wants to know who calls, and the key is nobody's: use a key of your own, or sign in with 'tollgate login'",
                );
            }
            (true, Ok(id)) => match txn.user_find(id.as_str()).await?.filter(|user| !user.disabled) {
                Some(user) => Some(user),
                None => return none("the user is not known, or is disabled"),
            },
        };
        let grant = txn.mcp_grant_find(&server.id, user.as_ref().map(|user| &user.id)).await?;
        let sealed = match &grant {
            Some(grant) => txn.secret_get(super::tokens_place(&grant.id)).await?,
            None => None,
        };
        txn.end().await?;
        let tokens = match grant.as_ref().zip(sealed) {
            Some((grant, sealed)) => Some(self.open_tokens(grant, &sealed)?),
            None => None,
        };
        Ok(Ok(Seen { server, user, grant, tokens }))
    }

    // What no question to an authorization server would mend.
    fn hopeless(&self, seen: &Seen, now: i64) -> Option<Lacking> {
        let Seen { server, user: _, grant, tokens } = seen;
        let consent = |reason: String| Some(Lacking { reason, connect_url: Some(self.connect_url(server)) });
        let recent = grant.as_ref().is_some_and(|grant| now - grant.refresh_time < FRESH_MS);
        // It is there, is good for a while, and is turned away.
        if recent && tokens.is_some() && grant.as_ref().is_some_and(|grant| grant.is_good_for(now, MARGIN_MS)) {
            return Some(seen.lacking("turns away a token that was just got for it"));
        }
        if server.auth != McpAuth::PerUser {
            return None;
        }
        if !self.has_sign_in {
            return Some(seen.lacking(
                "each user has to permit it, and none can sign in here: the control plane has no oidc_config",
            ));
        }
        match grant {
            None => consent(format!("you have not connected {} yet: open the link and permit it", server.name)),
            Some(grant) if !grant.problem.is_empty() => consent(format!(
                "your connection to {} has ended, since {}: open the link and connect it again",
                server.name, grant.problem
            )),
            Some(grant) if !grant.renewable => consent(format!(
                "your connection to {} has ended, and its authorization server gave nothing to renew it with: open the link and connect it again",
                server.name
            )),
            Some(_) => None,
        }
    }

    async fn found(&self, seen: &Seen, now: i64) -> Result<McpGrant, StoreError> {
        let mut txn = self.store.begin().await?;
        let grant = txn.mcp_grant_found(&seen.server.id, seen.user.as_ref().map(|user| &user.id), now).await?;
        txn.commit().await?;
        Ok(grant)
    }

    // `None`: another one was first, and what it got is read.
    async fn renew(&self, seen: Seen) -> Result<Option<Outcome>, StoreError> {
        let Some(grant) = seen.grant.clone() else { return Ok(None) };
        // What takes several questions is done before the claim, so that this is short.
        let prepared = self.prepare(&seen, &grant).await?;
        let (found, client) = match prepared {
            Ok(prepared) => prepared,
            Err(fault) => return self.failed(&seen, &grant, None, fault).await.map(Some),
        };
        let now = clock::now_ms();
        let claimed = McpGrant { claim_time: now + CLAIM_MS, ..grant };
        let mut txn = self.store.begin().await?;
        let is_ours = txn.mcp_grant_claim(&claimed, now).await?;
        txn.commit().await?;
        if !is_ours {
            return Ok(None);
        }
        let grant = claimed;
        let asked = scopes(&seen.server, &found, false).join(" ");
        match self.ask(&seen, &found, &client, &asked).await? {
            Ok(given) => self.stored(&seen, &grant, (&found, &client, &asked), given).await.map(Some),
            Err(fault) => self.failed(&seen, &grant, Some(&client), fault).await.map(Some),
        }
    }

    async fn prepare(&self, seen: &Seen, grant: &McpGrant) -> Result<Result<(Arc<Found>, Client), Fault>, StoreError> {
        let server = &seen.server;
        let mut txn = self.store.begin_read().await?;
        let (configured, registered) = self.known_client(&mut txn, server).await?;
        txn.end().await?;
        let client = match (configured, registered) {
            (Some(Err(fault)), _) => return Ok(Err(fault)),
            (Some(Ok(client)), _) => Some(client),
            (None, registered) => registered.map(|registered| registered.client()),
        };
        let missing = || Fault::Unfit("no client_id is configured for it".to_owned());
        let Some(client) = client else { return Ok(Err(missing())) };
        let found = match self.discovery.find(server).await {
            Ok(found) => found,
            Err(fault) => return Ok(Err(fault)),
        };
        if let Err(fault) = ensure_trusted(server, &client) {
            return Ok(Err(fault));
        }
        // What a user permitted was permitted there, and to that client.
        let is_same = grant.issuer == found.authorization.issuer && grant.client == client.id;
        if server.auth == McpAuth::PerUser && !is_same {
            return Ok(Err(Fault::Superseded));
        }
        Ok(Ok((found, client)))
    }

    async fn ask(
        &self,
        seen: &Seen,
        found: &Found,
        client: &Client,
        scope: &str,
    ) -> Result<Result<Given, Fault>, StoreError> {
        let (server, authorization) = (&seen.server, &found.authorization);
        let outbound = self.discovery.outbound(server.allow_private);
        let subject = match (&server.auth, &seen.user) {
            (McpAuth::TokenExchange, Some(user)) => {
                self.subject_token(user, &authorization.issuer, clock::now_ms()).await?
            }
            _ => Zeroizing::default(),
        };
        let refresh = seen.tokens.as_ref().and_then(|tokens| tokens.refresh.as_deref()).unwrap_or_default();
        let mut fields = match server.auth {
            McpAuth::ClientCredentials => vec![("grant_type", "client_credentials")],
            McpAuth::TokenExchange => vec![
                ("grant_type", subject::GRANT_TYPE),
                ("subject_token", subject.as_str()),
                ("subject_token_type", JWT),
                ("requested_token_type", ACCESS_TOKEN),
            ],
            _ => vec![("grant_type", "refresh_token"), ("refresh_token", refresh)],
        };
        fields.push(("resource", &found.resource));
        // RFC 6749, 6: without scopes, a refresh asks for those that were permitted.
        if server.auth != McpAuth::PerUser && !scope.is_empty() {
            fields.push(("scope", scope));
        }
        Ok(request::tokens(outbound, authorization, client, &fields).await)
    }

    async fn stored(
        &self,
        seen: &Seen,
        grant: &McpGrant,
        (found, client, asked): (&Found, &Client, &str),
        given: Given,
    ) -> Result<Outcome, StoreError> {
        let now = clock::now_ms();
        let known = seen.tokens.as_ref().and_then(|tokens| tokens.refresh.clone());
        // RFC 6749, 6: where no other refresh token comes, the one that was used stays good.
        let refresh = given.tokens.refresh.clone().or(known).filter(|_| seen.server.auth == McpAuth::PerUser);
        let given = Given { tokens: Tokens { refresh, ..given.tokens }, ..given };
        let asked = if seen.server.auth == McpAuth::PerUser { &grant.scopes } else { asked };
        let fresh = renewed(grant, found, client, asked, &given, now);
        let sealed = self.seal_tokens(&grant.id, &given.tokens)?;
        let mut attempt = 0;
        let grants = loop {
            let stored = async {
                let mut txn = self.store.begin().await?;
                let is_stored = txn.mcp_grant_renew(grant, &fresh, &sealed).await?;
                let server = txn.mcp_server_find(seen.server.id.as_str()).await?;
                txn.commit().await?;
                Ok::<_, StoreError>(server.filter(|_| is_stored).map(|server| server.grants))
            };
            match stored.await {
                Ok(grants) => break grants,
                Err(error) if error.is_transient() && attempt < STORE_ATTEMPTS_MAX => {
                    attempt += 1;
                    tokio::time::sleep(LOOK * attempt).await;
                }
                Err(error) => return Err(error),
            }
        };
        let Some(grants) = grants else {
            // It was taken back while it was renewed.
            self.take_back(&seen.server, client, &given.tokens).await;
            return Ok(Outcome::None(seen.lacking("the connection was ended at this moment: try again")));
        };
        let seen_anew = Seen {
            server: McpServer { grants, ..seen.server.clone() },
            user: None,
            grant: Some(fresh),
            tokens: Some(given.tokens),
        };
        // What lives shorter than the margin is given all the same: there is none that lives longer.
        let brought = seen_anew.token(now);
        Ok(brought.map_or_else(|| Outcome::None(seen.lacking("gets tokens that are over at once")), Outcome::Token))
    }

    async fn failed(
        &self,
        seen: &Seen,
        grant: &McpGrant,
        client: Option<&Client>,
        fault: Fault,
    ) -> Result<Outcome, StoreError> {
        let server = &seen.server;
        // RFC 6749, 5.2: only then has what the user permitted ended. A client that registered itself and is known no more has no grants.
        let is_forgotten = client.is_some_and(|client| client.is_registered) && fault.is("invalid_client");
        let is_over = server.auth == McpAuth::PerUser
            && (fault == Fault::Superseded || fault.is("invalid_grant") || is_forgotten);
        let now = clock::now_ms();
        let mut txn = self.store.begin().await?;
        if !is_over {
            // Without a claim nothing was asked, and nothing is to be given back.
            if client.is_some() {
                txn.mcp_grant_release(grant, now + PAUSE_MS).await?;
            }
            txn.commit().await?;
            tracing::warn!(server = %server.name, %fault, "failed to get a token of a server of tools");
            return Ok(Outcome::None(seen.lacking(&format!("got no token: {fault}"))));
        }
        if is_forgotten {
            txn.secret_delete(super::client_place(server.id.as_str())).await?;
        }
        let problem = fault.to_string();
        if txn.mcp_grant_break(grant, &problem).await? {
            let mut detail = Fields::new();
            detail.insert("user".into(), json!(grant.user.as_ref().map(UserId::as_str)));
            detail.insert("reason".into(), json!(problem));
            let target = crate::observe::target(server);
            let facts = Facts { initiator: "system", target: &target, detail, ..Facts::default() };
            audit::append(&mut txn, Entry::new(now, "mcp-grant.break", Ended::Failed, facts)).await?;
        }
        txn.commit().await?;
        let reason = format!(
            "your connection to {} has ended, since {problem}: open the link and connect it again",
            server.name
        );
        Ok(Outcome::None(Lacking { reason, connect_url: Some(self.connect_url(server)) }))
    }
}

/// A secret that an administrator wrote is shown to whom an administrator named: what a server of tools says of itself decides nothing
/// about that. So is who a user is.
pub(super) fn ensure_trusted(server: &McpServer, client: &Client) -> Result<(), Fault> {
    let is_named = server.oauth.as_ref().is_some_and(|oauth| !oauth.authorization_server.is_empty());
    let shows_much = (client.secret.is_some() && !client.is_registered) || server.auth == McpAuth::TokenExchange;
    if is_named || !shows_much {
        return Ok(());
    }
    let sentence = "the client's secret and the names of users are shown to nobody but an authorization server that an administrator named: set authorization_server";
    Err(Fault::Unfit(sentence.to_owned()))
}

// === impl Seen ===

impl Seen {
    fn lacking(&self, what: &str) -> Lacking {
        Lacking { reason: format!("the server of tools {}: {what}", self.server.name), connect_url: None }
    }

    // A token that is good for a while and was not turned away.
    fn usable(&self, rejected: &[u8], now: i64) -> Option<Brought> {
        // One that cannot be renewed is given to its end.
        let is_last = |grant: &McpGrant| self.server.auth == McpAuth::PerUser && !grant.renewable;
        let is_good = |grant: &McpGrant| grant.is_good_for(now, if is_last(grant) { 0 } else { MARGIN_MS });
        let grant = self.grant.as_ref().filter(|grant| grant.problem.is_empty() && is_good(grant))?;
        let hash = Sha256::digest(self.tokens.as_ref()?.access.as_bytes());
        if hash.as_slice() == rejected || grant.generation == 0 {
            return None;
        }
        self.token(now)
    }

    fn token(&self, now: i64) -> Option<Brought> {
        let (grant, tokens) = self.grant.as_ref().zip(self.tokens.as_ref())?;
        let left_ms = if grant.expire_time == 0 { LEFT_MS_MAX } else { grant.expire_time.saturating_sub(now) };
        let token = Zeroizing::new(tokens.access.clone());
        (left_ms > 0).then(|| Brought { token, left_ms: left_ms.min(LEFT_MS_MAX), grants: self.server.grants })
    }
}

impl McpGrant {
    fn is_good_for(&self, now: i64, margin_ms: i64) -> bool {
        self.expire_time == 0 || self.expire_time > now.saturating_add(margin_ms)
    }
}

impl std::fmt::Debug for Brought {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Brought").field("left_ms", &self.left_ms).field("grants", &self.grants).finish_non_exhaustive()
    }
}
