//! Tollgate as an OAuth 2 client: tokens for servers of tools, of authorization servers that are none of ours.
//!
//! ```text
//! replica ──GetToken──► broker ──► grant in the database ──► its token, when it is good for a while
//!                          └─ one at a time, over all control planes ──► token endpoint ──► sealed, and then given
//! browser ──connect──► consent ──state, PKCE──► authorization server ──callback──► consent ──► grant
//! ```
//!
//! A replica gets a token and nothing by which another could be got. Tokens that nobody has to permit (client credentials, exchange)
//! lie in the database like those that a user permits: so one control plane asks for all of them, and what was taken back is gone everywhere.
//!
//! Reading order: [`fault`], why there is no token; [`metadata`] and [`discovery`], who gives them; [`client`], as whom they are asked for;
//! [`request`], the questions; [`subject`], what another server is told of a user; [`broker`], who gets which token; [`consent`], what a
//! user permits; [`ending`], how tokens are taken back; [`keys`], by what others know what we sign.

pub mod fault;
pub mod metadata;
pub mod discovery;
pub mod client;
pub mod request;
pub mod subject;
pub mod broker;
pub mod consent;
pub mod ending;
pub mod keys;

use std::{path::Path, sync::Arc};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use self::{
    client::{Client, References, Registration},
    discovery::{Discovery, Found},
    fault::Fault,
    request::{Given, Tokens},
};
use crate::{
    seal::{Keyring, Sealed},
    store::{
        Store, StoreError, Txn,
        mcp::{
            McpServer,
            grants::{McpGrant, client_place, tokens_place},
        },
    },
    tokens::Signer,
};

/// Where browsers come back to, on the HTTP listener; those of a client that registered itself, with the id of the server behind it.
pub const CALLBACK: &str = "/mcp/callback";
/// Where users permit and end it, before the name of a server.
pub const CONNECT: &str = "/mcp/connect/";
/// The scope by which many authorization servers give a refresh token (OpenID Connect Core 1.0, 11).
const OFFLINE: &str = "offline_access";
/// The most calls whose ended grants authorization servers are told of at a time.
const ENDINGS_MAX: usize = 16;

/// Tollgate as a client of authorization servers.
#[derive(Debug)]
pub struct McpOAuth {
    store: Store,
    keyring: Arc<Keyring>,
    signer: Signer,
    public_url: String,
    // Whether there is anywhere for people to sign in.
    has_sign_in: bool,
    references: References,
    discovery: Discovery,
    // What has begun ends, whoever waits for it: a refresh token that was spent and not stored would end the grant.
    tasks: TaskTracker,
    endings: Arc<Semaphore>,
}

// === impl McpOAuth ===

impl McpOAuth {
    /// A client that browsers reach at this URL, and whether people can sign in there.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(
        store: &Store,
        keyring: &Arc<Keyring>,
        signer: &Signer,
        (public_url, has_sign_in): (String, bool),
        data_dir: &Path,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            store: store.clone(),
            keyring: Arc::clone(keyring),
            signer: signer.clone(),
            public_url,
            has_sign_in,
            references: References::new(data_dir),
            discovery: Discovery::new()?,
            tasks: TaskTracker::new(),
            endings: Arc::new(Semaphore::new(ENDINGS_MAX)),
        })
    }

    /// Waits for what has begun, after the last call.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The key that says who users are.
    #[must_use]
    pub const fn signer(&self) -> &Signer {
        &self.signer
    }

    // Where browsers come back to. RFC 9700, 4.4.2.2: with a place for each server that is registered at, a code of one authorization server
    // is not taken for another's, even where neither names itself.
    fn redirect_uri(&self, server: &McpServer, is_registered: bool) -> String {
        let own = if is_registered { format!("/{}", server.id) } else { String::new() };
        format!("{}{CALLBACK}{own}", self.public_url)
    }

    /// Where a user permits it.
    #[must_use]
    pub fn connect_url(&self, server: &McpServer) -> String {
        format!("{}{CONNECT}{}", self.public_url, server.name)
    }

    // The client of a server where it is known, and the registration that is there.
    async fn known_client(
        &self,
        txn: &mut Txn,
        server: &McpServer,
    ) -> Result<(Option<Result<Client, Fault>>, Option<Registration>), StoreError> {
        let configured = Client::configured(txn, server, &self.keyring, &self.references).await?;
        let registered = match &configured {
            None => Client::registered(txn, server, &self.keyring).await?,
            Some(_) => None,
        };
        Ok((configured, registered))
    }

    fn open_tokens(&self, grant: &McpGrant, sealed: &Sealed) -> Result<Tokens, StoreError> {
        let body = self.keyring.open(tokens_place(&grant.id), sealed)?;
        // The error's own text would repeat what it stumbled over.
        serde_json::from_slice(&body).map_err(|_| StoreError::corrupt("sealed", "is no token"))
    }

    fn seal_tokens(&self, id: &str, tokens: &Tokens) -> Result<Sealed, StoreError> {
        let body = serde_json::to_vec(tokens).map(Zeroizing::new);
        let body = body.map_err(|_| StoreError::corrupt("sealed", "cannot be written"))?;
        Ok(self.keyring.seal(tokens_place(id), &body)?)
    }

    async fn keep_client(&self, txn: &mut Txn, server: &McpServer, fresh: &Registration) -> Result<(), StoreError> {
        let place = client_place(server.id.as_str());
        let sealed = self.keyring.seal(place, &fresh.text()?)?;
        txn.secret_delete(place).await?;
        txn.secret_insert(place, &sealed).await
    }
}

/// What is asked for: what an administrator wrote, else what the server of tools asks for. `offline` where a refresh token is wanted: then
/// also the scope that many give one for, where the authorization server knows it.
fn scopes(server: &McpServer, found: &Found, offline: bool) -> Vec<String> {
    let configured = server.oauth.as_ref().map(|oauth| oauth.scopes.clone()).unwrap_or_default();
    if !configured.is_empty() {
        return configured;
    }
    let mut scopes = found.scopes.clone();
    let knows = found.authorization.scopes_supported.iter().any(|scope| scope == OFFLINE);
    if offline && knows && !scopes.iter().any(|scope| scope == OFFLINE) {
        scopes.push(OFFLINE.to_owned());
    }
    scopes
}

// A grant with what was just given.
fn renewed(grant: &McpGrant, found: &Found, client: &Client, scopes: &str, given: &Given, now: i64) -> McpGrant {
    McpGrant {
        issuer: found.authorization.issuer.clone(),
        client: client.id.clone(),
        scopes: given.scope.clone().unwrap_or_else(|| scopes.to_owned()),
        renewable: given.tokens.refresh.is_some(),
        expire_time: given.expires_in_s.map_or(0, |life_s| now.saturating_add(life_s.saturating_mul(1_000))),
        refresh_time: now,
        ..grant.clone()
    }
}
