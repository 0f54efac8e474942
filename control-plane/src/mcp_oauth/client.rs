//! As which client Tollgate comes to an authorization server: as an administrator wrote it, or as it registered itself (RFC 7591).

use std::path::{Component, Path, PathBuf};

use http::{Method, Request, header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tollgate_settings::{Secret, SecretSource, Setting as _};
use zeroize::Zeroizing;

use super::{
    fault::{self, Fault},
    metadata::{self, AuthorizationServer},
};
use crate::{
    oidc::outbound::Outbound,
    seal::{Keyring, Place},
    store::{
        StoreError, Txn,
        mcp::{McpServer, grants::client_place},
        providers::CREDENTIAL,
    },
};

/// The longest id or secret of a client, in bytes: they travel in a header.
const TEXT_BYTES_MAX: usize = 4 * 1024;
/// A secret that ends within so long is not begun with, in milliseconds.
const EXPIRY_MARGIN_MS: i64 = 60_000;
/// With what the names of environment variables begin that may hold the secret of a client: those of Tollgate itself are no administrator's.
pub const VARIABLE_PREFIX: &str = "MCP_";
/// Where files that may hold one are, below the data directory.
pub const DIRECTORY: &str = "mcp";

/// Tollgate as a client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its id.
    pub id: String,
    /// Its secret, if it has one.
    pub secret: Option<Secret>,
    // How it shows the secret where that was agreed upon; `None`: as the authorization server takes it.
    shows: Option<Shows>,
    /// Whether it registered itself, and can do so again.
    pub is_registered: bool,
}

/// How a client shows its secret: RFC 7591, 2.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Shows {
    /// It has none.
    #[serde(rename = "none")]
    Nothing,
    /// By HTTP Basic.
    #[serde(rename = "client_secret_basic")]
    Basic,
    /// In the body.
    #[serde(rename = "client_secret_post")]
    Post,
}

/// A registration as it is sealed.
#[derive(Clone, Deserialize, Serialize)]
pub struct Registration {
    issuer: String,
    redirect_uri: String,
    client_id: String,
    client_secret: Option<String>,
    method: Shows,
    // When the secret ends, in Unix milliseconds; 0: never.
    expire_time: i64,
}

/// From where the secret of a client may be read.
#[derive(Clone, Debug)]
pub struct References {
    directory: PathBuf,
}

// === impl Shows ===

impl Shows {
    /// How a client with a secret shows it to this authorization server: by HTTP Basic unless it takes it in the body alone.
    #[must_use]
    pub fn for_secret(server: &AuthorizationServer) -> Self {
        let takes = |method: &str| server.token_endpoint_auth_methods_supported.iter().any(|known| known == method);
        if !takes("client_secret_basic") && takes("client_secret_post") { Self::Post } else { Self::Basic }
    }

    // Public where that is possible: what is not there cannot be lost.
    fn to_register(server: &AuthorizationServer) -> Self {
        let is_public = server.token_endpoint_auth_methods_supported.iter().any(|known| known == "none");
        if is_public { Self::Nothing } else { Self::for_secret(server) }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Basic => "client_secret_basic",
            Self::Post => "client_secret_post",
        }
    }
}

// === impl Client ===

impl Client {
    /// How it shows its secret to this authorization server.
    #[must_use]
    pub fn shows(&self, server: &AuthorizationServer) -> Shows {
        match (&self.secret, self.shows) {
            (None, _) => Shows::Nothing,
            (Some(_), Some(shows)) => shows,
            (Some(_), None) => Shows::for_secret(server),
        }
    }

    /// The client that an administrator wrote, with its secret; `None` where none was written.
    ///
    /// # Errors
    /// When the database cannot be read, or the secret does not open. The inner error says what is wrong with a reference.
    pub async fn configured(
        txn: &mut Txn,
        server: &McpServer,
        keyring: &Keyring,
        references: &References,
    ) -> Result<Option<Result<Self, Fault>>, StoreError> {
        let id = server.oauth.as_ref().map(|oauth| oauth.client_id.clone()).unwrap_or_default();
        if id.is_empty() {
            return Ok(None);
        }
        let of = |secret| Self { id: id.clone(), secret, shows: None, is_registered: false };
        let Some(credential) = &server.credential else { return Ok(Some(Ok(of(None)))) };
        if let Some(reference) = &credential.reference {
            return Ok(Some(references.read(reference).map(Some).map(of)));
        }
        let place = Place { purpose: CREDENTIAL, id: credential.id.as_str() };
        let sealed = txn.secret_get(place).await?.ok_or(StoreError::Missing)?;
        let secret = Zeroizing::new(keyring.open(place, &sealed)?);
        Ok(Some(Ok(of(Some(Secret::new(String::from_utf8_lossy(&secret).into_owned()))))))
    }

    /// The client that registered itself for a server, whatever it registered for.
    ///
    /// # Errors
    /// When the database cannot be read, or what was sealed does not open.
    pub async fn registered(
        txn: &mut Txn,
        server: &McpServer,
        keyring: &Keyring,
    ) -> Result<Option<Registration>, StoreError> {
        let place = client_place(server.id.as_str());
        let Some(sealed) = txn.secret_get(place).await? else { return Ok(None) };
        let body = keyring.open(place, &sealed)?;
        // The error's own text would repeat what it stumbled over.
        serde_json::from_slice(&body).map(Some).map_err(|_| StoreError::corrupt("sealed", "is no registration"))
    }
}

// === impl Registration ===

impl Registration {
    /// Registers at an authorization server.
    ///
    /// # Errors
    /// When that has no place for it, refuses, or cannot be asked.
    pub async fn register(
        outbound: &Outbound,
        server: &AuthorizationServer,
        redirect_uri: &str,
        scopes: &[String],
    ) -> Result<Self, Fault> {
        let who = "the authorization server";
        let Some(endpoint) = &server.registration_endpoint else {
            let sentence =
                "the authorization server lets no client register: an administrator has to write a client_id";
            return Err(Fault::Unfit(sentence.to_owned()));
        };
        let method = Shows::to_register(server);
        let mut body = json!({
            "client_name": "Tollgate",
            "redirect_uris": [redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": method.word(),
        });
        if let (false, Some(members)) = (scopes.is_empty(), body.as_object_mut()) {
            members.insert("scope".into(), json!(scopes.join(" ")));
        }
        let request = Request::builder()
            .method(Method::POST)
            .uri(endpoint)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string().into_bytes())
            .map_err(|_| Fault::unfit(who, metadata::Unfit::Address))?;
        let answer = outbound.call(request).await.map_err(|error| Fault::outbound(who, &error))?;
        if !answer.status().is_success() {
            return Err(refusal(answer.status(), answer.body()));
        }
        Self::read(answer.body(), server, redirect_uri, method)
    }

    fn read(bytes: &[u8], server: &AuthorizationServer, redirect_uri: &str, asked: Shows) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        struct Answer {
            client_id: String,
            client_secret: Option<String>,
            client_secret_expires_at: Option<i64>,
            token_endpoint_auth_method: Option<String>,
        }
        let unreadable =
            || Fault::Unfit("the authorization server does not answer a registration as it must".to_owned());
        let answer: Answer = serde_json::from_slice(bytes).map_err(|_| unreadable())?;
        let method = match answer.token_endpoint_auth_method.as_deref() {
            None => asked,
            Some("none") => Shows::Nothing,
            Some("client_secret_basic") => Shows::Basic,
            Some("client_secret_post") => Shows::Post,
            Some(other) => {
                let sentence = "the authorization server wants clients to show themselves by";
                return Err(Fault::Unfit(format!("{sentence} {}, which Tollgate cannot", fault::shown(other))));
            }
        };
        let is_sane = |text: &str| {
            (1..=TEXT_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        };
        let client_secret = answer.client_secret.filter(|_| method != Shows::Nothing);
        let is_whole = method == Shows::Nothing || client_secret.is_some();
        if !is_sane(&answer.client_id) || !client_secret.iter().all(|secret| is_sane(secret)) || !is_whole {
            return Err(unreadable());
        }
        Ok(Self {
            issuer: server.issuer.clone(),
            redirect_uri: redirect_uri.to_owned(),
            client_id: answer.client_id,
            client_secret,
            method,
            expire_time: answer.client_secret_expires_at.unwrap_or_default().saturating_mul(1_000),
        })
    }

    /// Whether it is one with this issuer that leads browsers back here, and whose secret is good for a while.
    #[must_use]
    pub fn serves(&self, issuer: &str, redirect_uri: &str, now: i64) -> bool {
        let is_over = self.expire_time > 0 && self.expire_time <= now.saturating_add(EXPIRY_MARGIN_MS);
        self.issuer == issuer && self.redirect_uri == redirect_uri && !is_over
    }

    /// The issuer where it was made.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The client that it made.
    #[must_use]
    pub fn client(&self) -> Client {
        Client {
            id: self.client_id.clone(),
            secret: self.client_secret.clone().map(Secret::new),
            shows: Some(self.method),
            is_registered: true,
        }
    }

    /// The text that is sealed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn text(&self) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        serde_json::to_vec(self).map(Zeroizing::new).map_err(|error| StoreError::corrupt("sealed", error))
    }
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// What an authorization server says that refuses (RFC 6749, 5.2; RFC 7591, 3.2.2).
pub(super) fn refusal(status: http::StatusCode, body: &[u8]) -> Fault {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
        error_description: Option<String>,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { error, error_description }) if status.is_client_error() && status.as_u16() != 429 => {
            Fault::refused(&error, &error_description.unwrap_or_default())
        }
        _ if status.is_client_error() && status.as_u16() != 429 => {
            Fault::Unfit(format!("the authorization server refuses with the status {}", status.as_u16()))
        }
        _ => Fault::Unavailable(format!("the authorization server does not answer: status {}", status.as_u16())),
    }
}

// === impl References ===

impl References {
    /// References into this data directory, and to variables of the environment.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { directory: data_dir.join(DIRECTORY) }
    }

    // Who writes a server says where its secret goes. So it must not be one of the control plane's own: only what was put there for this.
    #[expect(
        clippy::disallowed_methods,
        reason = "what a server of tools refers to is known when its token is got, not at the start"
    )]
    fn read(&self, reference: &str) -> Result<Secret, Fault> {
        let source =
            SecretSource::parse(reference).map_err(|text| Fault::Unfit(format!("the client's secret {text}")))?;
        match &source {
            SecretSource::Env(name) if !name.starts_with(VARIABLE_PREFIX) => {
                return Err(Fault::Unfit(format!(
                    "the control plane reads the secret of a client from variables whose names begin with {VARIABLE_PREFIX}"
                )));
            }
            SecretSource::File(path) if !self.holds(path) => {
                return Err(Fault::Unfit(format!(
                    "the control plane reads the secret of a client from files in {DIRECTORY} of its data directory"
                )));
            }
            _ => {}
        }
        let read = source.resolve(&|name| std::env::var(name).ok(), &|path| std::fs::read_to_string(path));
        read.map_err(|text| Fault::Unfit(format!("the client's secret cannot be read: {text}")))
    }

    fn holds(&self, path: &Path) -> bool {
        let directory = std::path::absolute(&self.directory).unwrap_or_else(|_| self.directory.clone());
        let is_plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        is_plain && path.starts_with(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(methods: &[&str]) -> AuthorizationServer {
        let methods = methods.iter().map(|method| (*method).to_owned()).collect();
        AuthorizationServer {
            issuer: "https://a.example".into(),
            token_endpoint_auth_methods_supported: methods,
            ..AuthorizationServer::default()
        }
    }

    #[test]
    fn a_client_is_public_where_it_may_be_and_shows_its_secret_as_the_server_takes_it() {
        for (methods, registers, shows) in [
            (vec![], Shows::Basic, Shows::Basic),
            (vec!["none", "client_secret_basic"], Shows::Nothing, Shows::Basic),
            (vec!["client_secret_post"], Shows::Post, Shows::Post),
            (vec!["client_secret_basic", "client_secret_post"], Shows::Basic, Shows::Basic),
            (vec!["private_key_jwt"], Shows::Basic, Shows::Basic),
        ] {
            let server = server(&methods);
            assert_eq!((Shows::to_register(&server), Shows::for_secret(&server)), (registers, shows), "{methods:?}");
        }
    }

    #[test]
    fn a_registration_is_read_strictly_and_serves_what_it_was_made_for() {
        let read =
            |text: &str, asked| Registration::read(text.as_bytes(), &server(&[]), "https://t/mcp/callback", asked);
        let public = read(r#"{"client_id": "one"}"#, Shows::Nothing).unwrap();
        assert!(public.client().secret.is_none() && public.client().is_registered);
        let text = r#"{"client_id": "one", "client_secret": "canary", "client_secret_expires_at": 100}"#;
        let secret = read(text, Shows::Basic).unwrap();
        assert_eq!(secret.client().shows(&server(&["client_secret_post"])), Shows::Basic);
        assert!(secret.serves("https://a.example", "https://t/mcp/callback", 39_999));
        assert!(!secret.serves("https://a.example", "https://t/mcp/callback", 40_000));
        assert!(!secret.serves("https://b.example", "https://t/mcp/callback", 0));
        assert!(!secret.serves("https://a.example", "https://u/mcp/callback", 0));
        let back: Registration = serde_json::from_slice(&secret.text().unwrap()).unwrap();
        assert_eq!(back.client().secret, Some(Secret::new("canary")));
        assert!(!format!("{secret:?}{:?}", secret.client()).contains("canary"));
        for (text, asked) in [
            (r#"{"client_id": ""}"#, Shows::Nothing),
            (r#"{"client_id": "one"}"#, Shows::Basic),
            (r#"{"client_id": "o\nne"}"#, Shows::Nothing),
            (r#"{"client_id": "one", "token_endpoint_auth_method": "private_key_jwt"}"#, Shows::Basic),
            ("{}", Shows::Nothing),
        ] {
            assert!(read(text, asked).is_err(), "{text}");
        }
    }

    #[test]
    fn no_secret_of_the_control_plane_itself_is_read() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(DIRECTORY)).unwrap();
        for (name, text) in [("admin-token", "own"), ("mcp/github", "canary\n")] {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let references = References::new(directory.path());
        let at = |name: &str| references.read(&format!("file://{}", directory.path().join(name).display()));
        assert_eq!(at("mcp/github"), Ok(Secret::new("canary")));
        for bad in ["admin-token", "mcp/../admin-token", "mcp/missing"] {
            assert!(at(bad).is_err(), "{bad}");
        }
        for bad in ["env://TOLLGATE_ENCRYPTION_KEY", "env://PATH", "env://MCP_THAT_IS_NOT_SET", "file:///etc/hostname"]
        {
            assert!(references.read(bad).is_err(), "{bad}");
        }
    }
}
