//! One identity provider: what it says of itself, the keys that it signs with, and the questions that it is asked.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Method, Request, StatusCode, header};
use openidconnect::{
    ProviderMetadataWithLogout,
    core::{CoreClientAuthMethod, CoreJsonWebKeySet},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{sync::Mutex, time::Instant};
use zeroize::Zeroizing;

use super::{
    claims::Claims,
    outbound::{Outbound, OutboundError},
    settings::IssuerSettings,
    verify::{self, Purpose, Rejection},
};
use crate::clock;

/// How long what an issuer says of itself is believed.
const DISCOVERY_LIFE: Duration = Duration::from_secs(3_600);
/// A token with an unknown key has the keys read again, at most this often: anybody can make up key ids.
const REFETCH_PAUSE: Duration = Duration::from_secs(60);
/// After an issuer could not be reached it is left alone for so long: each waiting sign-in would wait in turn.
const FAILURE_PAUSE: Duration = Duration::from_secs(3);

/// An identity provider.
#[derive(Debug)]
pub struct Issuer {
    settings: IssuerSettings,
    outbound: Outbound,
    // The lock is held while the issuer is asked: of several sign-ins one asks.
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    known: Option<(Arc<Known>, Instant)>,
    refetched: Option<Instant>,
    failed: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    metadata: ProviderMetadataWithLogout,
    keys: CoreJsonWebKeySet,
}

/// What a token endpoint answers.
#[derive(Deserialize)]
pub struct Grant {
    /// Who it is.
    pub id_token: Option<String>,
    /// What the userinfo endpoint wants to see.
    pub access_token: Option<String>,
    /// What the next question is asked with.
    pub refresh_token: Option<String>,
}

/// Why an issuer gave no grant, or none that holds.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// It cannot be reached, or does not answer as an issuer does; trying again can succeed.
    #[error("the identity provider does not answer: {0}")]
    Unavailable(&'static str),
    /// It says that the code or the refresh token is not valid, or not any more.
    #[error("the identity provider refuses the grant")]
    Refused,
    /// What it gave does not hold.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

// === impl Issuer ===

impl Issuer {
    /// An issuer that was not asked yet.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(settings: IssuerSettings) -> Result<Self, reqwest::Error> {
        let outbound = Outbound::new(settings.allow_private)?;
        Ok(Self { settings, outbound, cache: Mutex::default() })
    }

    /// As it is configured.
    #[must_use]
    pub const fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    /// Where a browser is sent to sign in.
    ///
    /// # Errors
    /// When the issuer cannot be asked where that is.
    pub async fn authorize_url(&self, parameters: &[(&str, &str)]) -> Result<String, IssuerError> {
        let known = self.known().await?;
        let endpoint = known.metadata.authorization_endpoint().as_str().to_owned();
        let scope = self.settings.scopes.join(" ");
        let own = [("response_type", "code"), ("client_id", &self.settings.client_id), ("scope", &scope)];
        Ok(with_query(&endpoint, own.iter().chain(parameters)))
    }

    /// Where a browser is sent to sign out there as well (OpenID Connect RP-Initiated Logout 1.0); `None` when the issuer has
    /// no such place. `hint` is the ID token of the sign-in.
    ///
    /// # Errors
    /// When the issuer cannot be asked where that is.
    pub async fn end_session_url(&self, hint: Option<&str>, back: &str) -> Result<Option<String>, IssuerError> {
        let known = self.known().await?;
        let endpoint = known.metadata.additional_metadata().end_session_endpoint.as_ref();
        // A link to another scheme could be a script.
        let endpoint = endpoint.filter(|endpoint| matches!(endpoint.url().scheme(), "https" | "http"));
        let own = [("client_id", self.settings.client_id.as_str()), ("post_logout_redirect_uri", back)];
        let hint = hint.map(|hint| ("id_token_hint", hint));
        Ok(endpoint.map(|endpoint| with_query(endpoint.as_str(), own.iter().chain(&hint))))
    }

    /// Exchanges the code of a sign-in.
    ///
    /// # Errors
    /// As [`IssuerError`] says.
    pub async fn exchange(&self, code: &str, verifier: &str, redirect_uri: &str) -> Result<Grant, IssuerError> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        self.token(&fields).await
    }

    /// Asks whether a grant still holds, and for what it holds now.
    ///
    /// # Errors
    /// As [`IssuerError`] says.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Grant, IssuerError> {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    /// Verifies a token, with the keys read again when it names one that is unknown.
    ///
    /// # Errors
    /// Says why it is refused, or that the keys cannot be read.
    pub async fn verify(&self, raw: &str, purpose: Purpose<'_>) -> Result<Claims, IssuerError> {
        let known = self.known().await?;
        let now = clock::now_ms();
        match verify::verify(&self.settings, &known.keys, raw, purpose, now) {
            Err(Rejection::UnknownKey) => {
                let known = self.refetch(&known).await?;
                Ok(verify::verify(&self.settings, &known.keys, raw, purpose, now)?)
            }
            verified => Ok(verified?),
        }
    }

    /// What the userinfo endpoint says of this subject. `None` when the issuer has none, or it speaks of somebody else.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn userinfo(&self, access_token: &str, subject: &str) -> Result<Option<Claims>, IssuerError> {
        let known = self.known().await?;
        let Some(endpoint) = known.metadata.userinfo_endpoint() else { return Ok(None) };
        let request = Request::builder()
            .method(Method::GET)
            .uri(endpoint.url().as_str())
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {access_token}"))
            .body(Vec::new())
            .map_err(|_| IssuerError::Unavailable("the userinfo endpoint is not a URL"))?;
        let answer = self.outbound.call(request).await.map_err(unavailable)?;
        if answer.status() != StatusCode::OK {
            return Err(IssuerError::Unavailable("the userinfo endpoint refuses"));
        }
        let claims: Claims = serde_json::from_slice(answer.body())
            .map_err(|_| IssuerError::Unavailable("the userinfo endpoint does not answer JSON"))?;
        Ok((claims.get("sub").and_then(serde_json::Value::as_str) == Some(subject)).then_some(claims))
    }

    async fn token(&self, fields: &[(&str, &str)]) -> Result<Grant, IssuerError> {
        let known = self.known().await?;
        let endpoint = known.metadata.token_endpoint();
        let endpoint = endpoint.ok_or(IssuerError::Unavailable("it has no token endpoint"))?;
        let (id, secret) = (self.settings.client_id.as_str(), self.settings.client_secret.expose());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(endpoint.url().as_str())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let body = if known.wants_secret_in_body() {
            Zeroizing::new(form(fields.iter().chain(&[("client_id", id), ("client_secret", secret)])))
        } else {
            // RFC 6749, 2.3.1: both are encoded as in a form first.
            let pair = Zeroizing::new(format!("{}:{}", encoded(id), encoded(secret)));
            request = request.header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair.as_bytes())));
            Zeroizing::new(form(fields.iter()))
        };
        let request = request.body(body.as_bytes().to_vec());
        let request = request.map_err(|_| IssuerError::Unavailable("the token endpoint is not a URL"))?;
        let answer = self.outbound.call(request).await.map_err(unavailable)?;
        if answer.status() == StatusCode::OK {
            let grant = serde_json::from_slice(answer.body());
            return grant.map_err(|_| IssuerError::Unavailable("the token endpoint does not answer as it must"));
        }
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
        }
        match serde_json::from_slice::<Refusal>(answer.body()) {
            Ok(refusal) if answer.status().is_client_error() && refusal.error == "invalid_grant" => {
                Err(IssuerError::Refused)
            }
            Ok(refusal) if refusal.error == "invalid_client" => {
                Err(IssuerError::Unavailable("it does not accept client_id and client_secret"))
            }
            _ => Err(IssuerError::Unavailable("the token endpoint refuses")),
        }
    }

    async fn known(&self) -> Result<Arc<Known>, IssuerError> {
        let mut cache = self.cache.lock().await;
        match &cache.known {
            Some((known, at)) if at.elapsed() < DISCOVERY_LIFE => return Ok(Arc::clone(known)),
            _ => {}
        }
        if cache.failed.is_some_and(|at| at.elapsed() < FAILURE_PAUSE) {
            return Err(IssuerError::Unavailable("it could not be reached a moment ago"));
        }
        let known = match self.discover().await {
            Ok(known) => Arc::new(known),
            Err(error) => {
                cache.failed = Some(Instant::now());
                return Err(error);
            }
        };
        cache.failed = None;
        cache.known = Some((Arc::clone(&known), Instant::now()));
        Ok(known)
    }

    // OpenID Connect Discovery, 4: the document must name the issuer exactly as it is configured.
    async fn discover(&self) -> Result<Known, IssuerError> {
        let url = format!("{}/.well-known/openid-configuration", self.settings.url.trim_end_matches('/'));
        let metadata: ProviderMetadataWithLogout = self.read(&url).await?;
        if metadata.issuer().as_str() != self.settings.url {
            return Err(IssuerError::Unavailable("it names another issuer than the configuration"));
        }
        let keys = self.read(metadata.jwks_uri().as_str()).await?;
        Ok(Known { metadata, keys })
    }

    async fn read<T: DeserializeOwned>(&self, url: &str) -> Result<T, IssuerError> {
        let request = Request::builder().uri(url).header(header::ACCEPT, "application/json").body(Vec::new());
        let request = request.map_err(|_| IssuerError::Unavailable("its keys are at no URL"))?;
        let answer = self.outbound.call(request).await.map_err(unavailable)?;
        if answer.status() != StatusCode::OK {
            return Err(IssuerError::Unavailable("it answers its discovery with another status than 200"));
        }
        serde_json::from_slice(answer.body()).map_err(|_| IssuerError::Unavailable("its discovery cannot be read"))
    }

    async fn refetch(&self, seen: &Arc<Known>) -> Result<Arc<Known>, IssuerError> {
        let mut cache = self.cache.lock().await;
        match &cache.known {
            // Somebody else has read them while this one waited.
            Some((known, _)) if !Arc::ptr_eq(known, seen) => return Ok(Arc::clone(known)),
            _ => {}
        }
        if cache.refetched.is_some_and(|at| at.elapsed() < REFETCH_PAUSE) {
            return Ok(Arc::clone(seen));
        }
        cache.refetched = Some(Instant::now());
        let keys = self.read(seen.metadata.jwks_uri().as_str()).await?;
        let known = Arc::new(Known { metadata: seen.metadata.clone(), keys });
        let discovered = cache.known.as_ref().map_or_else(Instant::now, |(_, at)| *at);
        cache.known = Some((Arc::clone(&known), discovered));
        Ok(known)
    }
}

// === impl Known ===

impl Known {
    // OpenID Connect Discovery, 3: where nothing is said, it is HTTP Basic.
    fn wants_secret_in_body(&self) -> bool {
        self.metadata.token_endpoint_auth_methods_supported().is_some_and(|methods| {
            !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
                && methods.contains(&CoreClientAuthMethod::ClientSecretPost)
        })
    }
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grant(***)")
    }
}

/// The text of a form or of a query.
pub fn form<'a>(fields: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> String {
    let pairs = fields.into_iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// A URL with more in its query.
pub fn with_query<'a>(endpoint: &str, fields: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> String {
    let mark = if endpoint.contains('?') { '&' } else { '?' };
    format!("{endpoint}{mark}{}", form(fields))
}

/// A text as it stands in a form or in a query.
#[must_use]
pub fn encoded(text: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(text, KEPT).to_string()
}

fn unavailable(error: OutboundError) -> IssuerError {
    tracing::warn!(%error, source = ?std::error::Error::source(&error), "failed to ask an identity provider");
    IssuerError::Unavailable(match error {
        OutboundError::Address => "its address is not one that may be asked",
        OutboundError::TooLong => "its answer is longer than 1 MiB",
        OutboundError::Unreachable(_) => "it cannot be reached",
    })
}
