//! Access tokens of clouds: what a long-lived credential is exchanged for, and shown in its place until it expires.
//!
//! Google: RFC 7523 with a service account's key (<https://developers.google.com/identity/protocols/oauth2/service-account>), or the
//! machine's own account by its metadata server. Microsoft Entra ID: the client credentials grant
//! (<https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::header::CONTENT_TYPE;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use tollgate_policy::{id::CredentialId, provider::Auth, snapshot::Provider, time::UnixMillis};
use zeroize::Zeroizing;

use crate::current::Secret;

const GOOGLE_METADATA: &str = "http://metadata.google.internal";
const GOOGLE_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const ENTRA: &str = "https://login.microsoftonline.com";
const ENTRA_SCOPE: &str = "https://cognitiveservices.azure.com/.default";
// How long the exchange may take: a client waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
// A token is replaced so long before it expires, so that none expires on its way.
const EARLY: Duration = Duration::from_secs(120);
// Clouds give tokens of an hour; whatever they say, none is kept for longer than a day.
const LIFE_MAX: Duration = Duration::from_secs(24 * 3_600);
// An answer with a token has a few kilobytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The tokens of all credentials. There is one for a replica.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    // Made when it is first needed: most fleets have no such provider.
    http: OnceLock<reqwest::Client>,
    // One lock a credential, so that a cloud that does not answer holds up nobody else.
    held: Mutex<HashMap<CredentialId, Slot>>,
}

type Slot = Arc<tokio::sync::Mutex<Option<Held>>>;

struct Held {
    // What it was given for: a rotated secret has another token.
    secret: Zeroizing<String>,
    token: Secret,
    until: Instant,
}

/// Why there is no token. It never quotes the credential.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoToken {
    /// The credential has not the form that the cloud needs.
    #[error("credential is not {0}")]
    Shape(&'static str),
    /// The cloud cannot be asked.
    #[error("token cannot be fetched: {0}")]
    Unreachable(#[from] reqwest::Error),
    /// The cloud gives none.
    #[error("token refused with status {0}")]
    Refused(u16),
    /// What it answered has none in it.
    #[error("answer has no token")]
    Answer,
}

#[derive(Deserialize)]
struct Account {
    client_email: String,
    private_key: String,
    token_uri: String,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

// === impl Tokens ===

impl Tokens {
    /// What the provider is shown for this credential: the secret itself, or the token that it is exchanged for.
    ///
    /// # Errors
    /// When the cloud gives no token.
    pub(crate) async fn shown(
        &self,
        provider: &Provider,
        credential: &CredentialId,
        secret: &Secret,
        now: UnixMillis,
    ) -> Result<Secret, NoToken> {
        match provider.auth {
            Auth::Google | Auth::Entra => {}
            _ => return Ok(secret.clone()),
        }
        let slot = Arc::clone(self.lock().entry(credential.clone()).or_default());
        let mut held = slot.lock().await;
        if let Some(held) = held.as_ref().filter(|held| Instant::now() < held.until && *held.secret == secret.expose())
        {
            return Ok(held.token.clone());
        }
        let Granted { access_token, expires_in } = match provider.auth {
            Auth::Google => self.google(secret.expose().trim(), provider.allow_private, now).await?,
            _ => self.entra(ENTRA, secret.expose().trim()).await?,
        };
        let token = Secret::new(access_token);
        let life = Duration::from_secs(expires_in).min(LIFE_MAX).saturating_sub(EARLY);
        let secret = Zeroizing::new(secret.expose().to_owned());
        *held = Some(Held { secret, token: token.clone(), until: Instant::now() + life });
        Ok(token)
    }

    async fn google(&self, secret: &str, allow_private: bool, now: UnixMillis) -> Result<Granted, NoToken> {
        if secret == "metadata" {
            return self.of_machine(GOOGLE_METADATA).await;
        }
        const SHAPE: NoToken = NoToken::Shape("the JSON key of a service account, or `metadata`");
        let Account { client_email, private_key, token_uri } = serde_json::from_str(secret).map_err(|_| SHAPE)?;
        if !(token_uri.starts_with("https://") || allow_private && token_uri.starts_with("http://")) {
            return Err(NoToken::Shape("of an account whose `token_uri` is https"));
        }
        let assertion = assertion(&client_email, &private_key, &token_uri, now).ok_or(SHAPE)?;
        let form = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &assertion)];
        granted(posted(&self.http()?, &token_uri, &form)).await
    }

    async fn of_machine(&self, server: &str) -> Result<Granted, NoToken> {
        let url = format!("{server}/computeMetadata/v1/instance/service-accounts/default/token");
        granted(self.http()?.get(url).header("metadata-flavor", "Google")).await
    }

    async fn entra(&self, server: &str, secret: &str) -> Result<Granted, NoToken> {
        let mut parts = secret.splitn(3, ':');
        let (Some(tenant), Some(client), Some(secret)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoToken::Shape("of the form <tenant>:<client id>:<client secret>"));
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        if tenant.is_empty() || !tenant.bytes().all(is_plain) {
            return Err(NoToken::Shape("of a tenant that is an id or a domain"));
        }
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("client_secret", secret),
            ("scope", ENTRA_SCOPE),
        ];
        granted(posted(&self.http()?, &format!("{server}/{tenant}/oauth2/v2.0/token"), &form)).await
    }

    fn http(&self) -> Result<reqwest::Client, NoToken> {
        if let Some(http) = self.http.get() {
            return Ok(http.clone());
        }
        let builder = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
        let http = builder.build()?;
        Ok(self.http.get_or_init(|| http).clone())
    }

    // No code panics while it holds the lock, and a map is sound whatever happened.
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<CredentialId, Slot>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn posted(http: &reqwest::Client, url: &str, form: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let pair = |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
    let body = form.iter().map(pair).collect::<Vec<_>>().join("&");
    http.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
}

async fn granted(request: reqwest::RequestBuilder) -> Result<Granted, NoToken> {
    let mut response = request.send().await?;
    if !response.status().is_success() {
        return Err(NoToken::Refused(response.status().as_u16()));
    }
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(NoToken::Answer);
        }
    }
    serde_json::from_slice(&body).map_err(|_| NoToken::Answer)
}

// RFC 7523: who asks, for what, for an hour. `None`: the key is none.
fn assertion(email: &str, key: &str, audience: &str, now: UnixMillis) -> Option<String> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).ok()?;
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok()?;
    let now = now.get() / 1_000;
    let claims =
        json!({"iss": email, "scope": GOOGLE_SCOPE, "aud": audience, "iat": now, "exp": now.saturating_add(3_600)});
    let encoded = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let head = encoded(br#"{"alg":"RS256","typ":"JWT"}"#);
    let mut text = format!("{head}.{}", encoded(claims.to_string().as_bytes()));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).ok()?;
    text.push('.');
    text.push_str(&encoded(&signature));
    Some(text)
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("until", &self.until).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
