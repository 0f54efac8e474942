//! What a user permits: that Tollgate has tokens of theirs for a server of tools.

use std::sync::Arc;

use http::Uri;
use openidconnect::{PkceCodeChallenge, PkceCodeVerifier};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tollgate_audit::{Entry, Facts, Fields, Outcome};
use tollgate_policy::{
    id::McpServerId,
    mcp::{Access, McpAuth},
    pattern::Patterns,
    rbac::Reach,
};

use super::{
    McpOAuth, OFFLINE,
    client::{Client, Registration},
    discovery::Found,
    ending::Ended,
    fault::Fault,
    metadata::is_same_issuer,
    renewed, request, scopes,
};
use crate::{
    audit, clock,
    observe::target,
    oidc::issuer::with_query,
    store::{
        StoreError, Txn,
        keys::KeyFilter,
        mcp::{
            McpServer,
            grants::{Ending, McpGrant},
        },
        organisation::{Team, User},
    },
};

/// The most keys of a user that are looked at.
const KEYS_MAX: i64 = 200;

/// Somebody at a browser.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// Who it is.
    pub user: &'a User,
    /// Where they are.
    pub source_address: &'a str,
}

/// What a user is asked to permit.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The host at which they are asked.
    pub host: String,
    /// For what, as the authorization server calls it.
    pub scopes: Vec<String>,
    found: Arc<Found>,
}

/// A user who is asked.
#[derive(Clone, Deserialize, Serialize)]
pub struct Begun {
    issuer: String,
    client: String,
    redirect_uri: String,
    scopes: String,
    verifier: String,
}

/// What an authorization server sends a browser back with.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The code.
    pub code: &'a str,
    /// Why there is none; empty when there is one.
    pub error: &'a str,
    /// Who says so (RFC 9207).
    pub iss: Option<&'a str>,
    /// The path at which it came back.
    pub path: &'a str,
}

/// Why there is no grant.
#[derive(Debug, thiserror::Error)]
pub enum NotConnected {
    /// There is no such server for that user.
    #[error("no server of tools of that name is for this user, with a token of their own")]
    Unknown,
    /// It is another authorization server that answers, or at another place than the one that was asked.
    #[error("the answer is of another authorization server than the one that was asked")]
    MixedUp,
    /// The user, or the authorization server, said no.
    #[error("the authorization server did not permit it: {0}")]
    Denied(String),
    /// Somebody, or what was configured, is in the way.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl McpOAuth ===

impl McpOAuth {
    /// The server of that name, if users permit tokens for it and a key of this one could reach it; with what the user permitted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn offered(&self, name: &str, user: &User) -> Result<Option<(McpServer, Option<McpGrant>)>, StoreError> {
        let mut txn = self.store.begin_read().await?;
        let server = txn.mcp_server_find(name).await?;
        let Some(server) = server.filter(|server| server.auth == McpAuth::PerUser && !server.disabled) else {
            return Ok(None);
        };
        if !is_reached(&mut txn, &server, user).await? {
            return Ok(None);
        }
        let grant = txn.mcp_grant_find(&server.id, Some(&user.id)).await?;
        txn.end().await?;
        Ok(Some((server, grant)))
    }

    /// What the user of a server is asked to permit, and where.
    ///
    /// # Errors
    /// When that is not to be found out, or codes are not bound there to whoever asked for them.
    pub async fn offer(&self, server: &McpServer) -> Result<Offer, Fault> {
        let found = self.discovery.find(server).await?;
        if !found.authorization.has_s256() {
            let sentence =
                "the authorization server does not bind codes by S256 (RFC 7636), without which nobody is sent there";
            return Err(Fault::Unfit(sentence.to_owned()));
        }
        let endpoint = found.authorization.authorization_endpoint.as_deref();
        let endpoint = endpoint.ok_or_else(|| {
            Fault::Unfit("the authorization server has no place where users permit anything".to_owned())
        })?;
        let host = endpoint.parse::<Uri>().ok().and_then(|uri| uri.authority().map(ToString::to_string));
        Ok(Offer { host: host.unwrap_or_default(), scopes: scopes(server, &found, true), found })
    }

    /// Where the browser is to be sent with this state, and what is to be remembered of it.
    ///
    /// # Errors
    /// As [`NotConnected`] says.
    pub async fn begin(&self, server: &McpServer, state: &str) -> Result<(String, Begun), NotConnected> {
        let offer = self.offer(server).await?;
        let Found { authorization, resource, .. } = &*offer.found;
        let client = self.client_at(server, &offer).await?;
        super::broker::ensure_trusted(server, &client)?;
        let redirect_uri = self.redirect_uri(server, client.is_registered);
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let scope = offer.scopes.join(" ");
        let mut fields = vec![
            ("response_type", "code"),
            ("client_id", client.id.as_str()),
            ("redirect_uri", redirect_uri.as_str()),
            ("state", state),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
            ("resource", resource.as_str()),
        ];
        if !scope.is_empty() {
            fields.push(("scope", &scope));
        }
        // OpenID Connect Core 1.0, 11: without it the scope is passed over.
        if offer.scopes.iter().any(|scope| scope == OFFLINE) {
            fields.push(("prompt", "consent"));
        }
        let endpoint = authorization.authorization_endpoint.as_deref().unwrap_or_default();
        let url = with_query(endpoint, fields.iter());
        let begun = Begun {
            issuer: authorization.issuer.clone(),
            client: client.id.clone(),
            redirect_uri,
            scopes: scope,
            verifier: verifier.secret().clone(),
        };
        Ok((url, begun))
    }

    /// Takes what a browser came back with, and keeps the grant.
    ///
    /// # Errors
    /// As [`NotConnected`] says.
    pub async fn accept(
        &self,
        person: Person<'_>,
        server: &McpServerId,
        begun: &Begun,
        answer: Answer<'_>,
    ) -> Result<McpServer, NotConnected> {
        let offered = self.offered(server.as_str(), person.user).await?;
        let (server, _) = offered.ok_or(NotConnected::Unknown)?;
        let offer = self.offer(&server).await?;
        let authorization = &offer.found.authorization;
        let names_itself = authorization.authorization_response_iss_parameter_supported;
        let is_of = |iss: Option<&str>| iss.map_or(!names_itself, |iss| is_same_issuer(iss, &begun.issuer));
        let is_at = begun.redirect_uri == format!("{}{}", self.public_url, answer.path);
        if authorization.issuer != begun.issuer || !is_of(answer.iss) || !is_at {
            return Err(NotConnected::MixedUp);
        }
        if !answer.error.is_empty() || answer.code.is_empty() {
            return Err(NotConnected::Denied(super::fault::shown(answer.error)));
        }
        let client = self.client_at(&server, &offer).await?;
        if client.id != begun.client {
            return Err(Fault::Superseded.into());
        }
        let verifier = PkceCodeVerifier::new(begun.verifier.clone());
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", answer.code),
            ("redirect_uri", begun.redirect_uri.as_str()),
            ("code_verifier", verifier.secret().as_str()),
            ("resource", offer.found.resource.as_str()),
        ];
        let outbound = self.discovery.outbound(server.allow_private);
        let given = request::tokens(outbound, authorization, &client, &fields).await?;
        let now = clock::now_ms();
        let fresh = McpGrant::permitted(&server.id, &person.user.id, now);
        let grant = renewed(&fresh, &offer.found, &client, &begun.scopes, &given, now);
        let sealed = self.seal_tokens(&grant.id, &given.tokens)?;
        let mut txn = self.store.begin().await?;
        let revision = txn.advance_revision().await?;
        if txn.user_find(person.user.id.as_str()).await?.is_none_or(|user| user.disabled) {
            return Err(NotConnected::Unknown);
        }
        // Replicas drop what they had for the user. The authorization server is not told: some would end what they just gave as well.
        self.end(&mut txn, Ending::One(&server.id, Some(&person.user.id)), revision).await?;
        txn.mcp_grant_insert(&grant, &sealed).await?;
        let told =
            [("issuer", json!(grant.issuer)), ("scopes", json!(grant.scopes)), ("renewable", json!(grant.renewable))];
        audit::append(&mut txn, entry("mcp-grant.connect", &server, person, told, now)).await?;
        txn.commit().await?;
        Ok(server)
    }

    /// Ends what a user permitted. Returns whether there was anything.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn disconnect(self: &Arc<Self>, person: Person<'_>, server: &McpServer) -> Result<bool, StoreError> {
        let mut txn = self.store.begin().await?;
        let revision = txn.advance_revision().await?;
        let ended = self.end(&mut txn, Ending::One(&server.id, Some(&person.user.id)), revision).await?;
        let Some(Ended { grant, .. }) = ended.first() else {
            txn.end().await?;
            return Ok(false);
        };
        let told = [("issuer", json!(grant.issuer))];
        audit::append(&mut txn, entry("mcp-grant.disconnect", server, person, told, clock::now_ms())).await?;
        txn.commit().await?;
        self.tell(ended);
        Ok(true)
    }

    // The client that comes to that authorization server: the one that was written, else the one that registered itself there, now if need be.
    async fn client_at(&self, server: &McpServer, offer: &Offer) -> Result<Client, NotConnected> {
        let authorization = &offer.found.authorization;
        let redirect_uri = self.redirect_uri(server, true);
        let mut txn = self.store.begin_read().await?;
        let (configured, registered) = self.known_client(&mut txn, server).await?;
        txn.end().await?;
        if let Some(configured) = configured {
            return Ok(configured?);
        }
        let serves = |known: &Registration| known.serves(&authorization.issuer, &redirect_uri, clock::now_ms());
        if let Some(known) = registered.filter(&serves) {
            return Ok(known.client());
        }
        let outbound = self.discovery.outbound(server.allow_private);
        let fresh = Registration::register(outbound, authorization, &redirect_uri, &offer.scopes).await?;
        let mut txn = self.store.begin().await?;
        // Of several that register at a time, all use the one that is there first.
        txn.mcp_server_lock(&server.id).await?.ok_or(NotConnected::Unknown)?;
        if let Some(known) = Client::registered(&mut txn, server, &self.keyring).await?.filter(&serves) {
            txn.end().await?;
            return Ok(known.client());
        }
        self.keep_client(&mut txn, server, &fresh).await?;
        let detail = [("issuer", json!(fresh.issuer())), ("client_id", json!(fresh.client().id))];
        let detail = Fields::from_iter(detail.map(|(name, value)| (name.to_owned(), value)));
        let target = target(server);
        let facts = Facts { initiator: "system", target: &target, detail, ..Facts::default() };
        audit::append(&mut txn, Entry::new(clock::now_ms(), "mcp-client.register", Outcome::Allowed, facts)).await?;
        txn.commit().await?;
        Ok(fresh.client())
    }
}

// Whether a key that the user has, or could have in their team, reaches the server.
async fn is_reached(txn: &mut Txn, server: &McpServer, user: &User) -> Result<bool, StoreError> {
    let owners = &server.owners;
    let is_open = owners.customers.is_empty() && owners.teams.is_empty();
    let team = match &user.team {
        Some(team) => txn.team_find(team.as_str()).await?,
        None => None,
    };
    let is_owner =
        |team: &Team| is_open || owners.teams.contains(&team.id) || owners.customers.contains(&team.customer);
    if is_open || team.is_some_and(|team| is_owner(&team)) {
        return Ok(true);
    }
    let reach = Reach { everything: true, ..Reach::default() };
    let filter = KeyFilter { user: Some(user.id.clone()), revoked: Some(false), reach, ..KeyFilter::default() };
    let names = Patterns::parse(&server.keys).map_err(|error| StoreError::corrupt("keys", error))?;
    for key in txn.key_list(&filter, None, KEYS_MAX).await? {
        let access = Access::parse(&key.tools).map_err(|error| StoreError::corrupt("tools", error))?;
        let team = txn.team_find(key.team.as_str()).await?;
        let is_for = team.is_some_and(|team| is_owner(&team));
        if is_for && names.admit(key.name.as_str()) && access.reaches(server.name.as_str()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn entry<const N: usize>(
    action: &str,
    server: &McpServer,
    person: Person<'_>,
    told: [(&str, serde_json::Value); N],
    now: i64,
) -> Entry {
    let user = format!("user/{}", person.user.id);
    let mut detail = Fields::from_iter(told.map(|(name, value)| (name.to_owned(), value)));
    detail.insert("user".into(), json!(person.user.id.as_str()));
    detail.insert("server".into(), json!(server.name.as_str()));
    let target = target(server);
    let facts =
        Facts { initiator: &user, target: &target, source_address: person.source_address, detail, ..Facts::default() };
    Entry::new(now, action, Outcome::Allowed, facts)
}

impl std::fmt::Debug for Begun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Begun").field("issuer", &self.issuer).field("client", &self.client).finish_non_exhaustive()
    }
}
