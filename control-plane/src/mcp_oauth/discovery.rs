//! Which authorization server gives tokens for a server of tools, asked where that is told and remembered for some minutes.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header};
use tokio::{sync::Mutex, time::Instant};
use tollgate_policy::mcp::Transport;

use super::{
    fault::Fault,
    metadata::{self, AuthorizationServer, Challenge, ProtectedResource},
};
use crate::{
    base_url,
    oidc::outbound::{Outbound, OutboundError},
    store::mcp::McpServer,
};

/// How long what was found is believed.
const LIFE: Duration = Duration::from_mins(5);
/// After it could not be found nobody asks again for so long: each that waits would wait in turn.
const FAILURE_PAUSE: Duration = Duration::from_secs(3);
/// The most that is remembered: twice the servers that there may be, since each change of one is remembered anew.
const REMEMBERED_MAX: usize = 1_000;
/// A question that every server of tools knows: whoever wants a token refuses it before that.
const QUESTION: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// Who gives tokens for a server of tools, and what is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// The authorization server.
    pub authorization: AuthorizationServer,
    /// What tokens are to be for (RFC 8707).
    pub resource: String,
    /// The scopes that the server of tools asks for; empty where it does not say.
    pub scopes: Vec<String>,
}

/// Finds authorization servers.
#[derive(Debug)]
pub struct Discovery {
    public: Outbound,
    private: Outbound,
    remembered: std::sync::Mutex<HashMap<Key, Arc<Mutex<Entry>>>>,
}

// All that decides what is found.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    url: String,
    transport: Transport,
    allow_private: bool,
    authorization_server: String,
    resource: String,
}

// The lock is held while somebody asks: of several one does.
#[derive(Debug, Default)]
struct Entry {
    found: Option<(Arc<Found>, Instant)>,
    failed: Option<(Fault, Instant)>,
}

// === impl Discovery ===

impl Discovery {
    /// Nothing is found yet.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new() -> Result<Self, reqwest::Error> {
        let (public, private) = (Outbound::new(false)?, Outbound::new(true)?);
        Ok(Self { public, private, remembered: std::sync::Mutex::default() })
    }

    /// By which the servers around a server of tools are asked.
    #[must_use]
    pub const fn outbound(&self, allow_private: bool) -> &Outbound {
        if allow_private { &self.private } else { &self.public }
    }

    /// Who gives tokens for a server of tools.
    ///
    /// # Errors
    /// When nobody can be asked, or what is said cannot be relied on.
    pub async fn find(&self, server: &McpServer) -> Result<Arc<Found>, Fault> {
        let key = Key::of(server);
        let entry = self.entry(&key);
        let mut entry = entry.lock().await;
        match (&entry.found, &entry.failed) {
            (Some((found, at)), _) if at.elapsed() < LIFE => return Ok(Arc::clone(found)),
            (_, Some((fault, at))) if at.elapsed() < FAILURE_PAUSE => return Err(fault.clone()),
            _ => {}
        }
        match self.discover(&key).await {
            Ok(found) => {
                let found = Arc::new(found);
                *entry = Entry { found: Some((Arc::clone(&found), Instant::now())), failed: None };
                Ok(found)
            }
            Err(fault) => {
                entry.failed = Some((fault.clone(), Instant::now()));
                Err(fault)
            }
        }
    }

    fn entry(&self, key: &Key) -> Arc<Mutex<Entry>> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX && !remembered.contains_key(key) {
            remembered.clear();
        }
        Arc::clone(remembered.entry(key.clone()).or_default())
    }

    async fn discover(&self, key: &Key) -> Result<Found, Fault> {
        let outbound = self.outbound(key.allow_private);
        let of_server = base_url_of(&key.url);
        if !key.authorization_server.is_empty() {
            let authorization = authorization(outbound, &key.authorization_server, key.allow_private).await?;
            return Ok(Found { authorization, resource: chosen(&key.resource, of_server), scopes: Vec::new() });
        }
        let challenge = challenge(outbound, key).await?;
        let described = described(outbound, key, &challenge).await?;
        let mut fault = Fault::Unfit("its metadata names no authorization server".to_owned());
        // RFC 9728, 7.6: it is for the client to choose; the first that can be used is.
        for issuer in &described.authorization_servers {
            match authorization(outbound, issuer, key.allow_private).await {
                Ok(authorization) => {
                    let of_challenge =
                        challenge.scope.iter().flat_map(|scope| scope.split(' ')).filter(|s| !s.is_empty());
                    let mut scopes: Vec<String> = of_challenge.map(str::to_owned).collect();
                    if scopes.is_empty() {
                        scopes = described.scopes_supported;
                    }
                    return Ok(Found { authorization, resource: chosen(&key.resource, described.resource), scopes });
                }
                Err(other) => fault = other,
            }
        }
        Err(fault)
    }
}

// === impl Key ===

impl Key {
    fn of(server: &McpServer) -> Self {
        let oauth = server.oauth.clone().unwrap_or_default();
        Self {
            url: server.url.clone(),
            transport: server.transport,
            allow_private: server.allow_private,
            authorization_server: oauth.authorization_server,
            resource: oauth.resource,
        }
    }
}

fn chosen(configured: &str, otherwise: String) -> String {
    if configured.is_empty() { otherwise } else { configured.to_owned() }
}

// RFC 8707, 2: a query may hold what is not everybody's.
fn base_url_of(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

// What the server says to somebody without a token. One that does not answer may still describe itself.
async fn challenge(outbound: &Outbound, key: &Key) -> Result<Challenge, Fault> {
    let accept = "application/json, text/event-stream";
    let request = Request::builder().uri(&key.url).header(header::ACCEPT, accept);
    let request = match key.transport {
        // What a POST does at an HTTP API nobody knows.
        Transport::Sse | Transport::OpenApi => request.method(Method::GET).body(Vec::new()),
        Transport::StreamableHttp | Transport::Stdio => request
            .method(Method::POST)
            .header(header::CONTENT_TYPE, "application/json")
            .body(QUESTION.as_bytes().to_vec()),
    };
    let request = request.map_err(|_| Fault::Unfit("it is at no URL that may be asked".to_owned()))?;
    match outbound.head(request).await {
        Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED => Ok(Challenge::read(answer.headers())),
        Ok(_) | Err(OutboundError::Unreachable(_) | OutboundError::TooLong) => Ok(Challenge::default()),
        Err(error @ OutboundError::Address) => Err(Fault::outbound("the server of tools", &error)),
    }
}

async fn described(outbound: &Outbound, key: &Key, challenge: &Challenge) -> Result<ProtectedResource, Fault> {
    let urls = match &challenge.resource_metadata {
        Some(url) => {
            let url = base_url::endpoint(url, key.allow_private);
            vec![url.map_err(|_| Fault::unfit("the server of tools", metadata::Unfit::Address))?]
        }
        None => metadata::resource_urls(&key.url),
    };
    let answer = first(outbound, "the server of tools", &urls).await?;
    ProtectedResource::read(answer.body(), &key.url).map_err(|unfit| Fault::unfit("the server of tools", unfit))
}

async fn authorization(outbound: &Outbound, issuer: &str, allow_private: bool) -> Result<AuthorizationServer, Fault> {
    let who = "the authorization server";
    if base_url::endpoint(issuer, allow_private).is_err() || issuer.contains('?') {
        return Err(Fault::unfit(who, metadata::Unfit::Address));
    }
    let answer = first(outbound, who, &metadata::issuer_urls(issuer)).await?;
    AuthorizationServer::read(answer.body(), issuer, allow_private).map_err(|unfit| Fault::unfit(who, unfit))
}

// The first document that is there. What is not there may be elsewhere; what cannot be asked is asked again later.
async fn first(outbound: &Outbound, who: &'static str, urls: &[String]) -> Result<Response<Vec<u8>>, Fault> {
    for url in urls {
        let request = Request::builder().uri(url).header(header::ACCEPT, "application/json").body(Vec::new());
        let request = request.map_err(|_| Fault::unfit(who, metadata::Unfit::Address))?;
        let answer = outbound.call(request).await.map_err(|error| Fault::outbound(who, &error))?;
        match answer.status() {
            StatusCode::OK => return Ok(answer),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(Fault::Unavailable(format!("{who} does not answer: status {}", status.as_u16())));
            }
            _ => {}
        }
    }
    Err(Fault::Unfit(format!(
        "{who} does not say who gives tokens: it has none of the documents of RFC 9728 and RFC 8414"
    )))
}
