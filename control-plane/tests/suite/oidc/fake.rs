//! An identity provider that the tests play: honest until a test says otherwise.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use tokio::{net::TcpListener, task::JoinSet};

/// An identity provider that says what the test wants.
pub(crate) struct Fake {
    pub(crate) url: String,
    key: EcdsaKeyPair,
    pub(crate) shared: Arc<Shared>,
    parts: JoinSet<()>,
}

#[derive(Default)]
pub(crate) struct Shared {
    url: Mutex<String>,
    point: Mutex<Vec<u8>>,
    grant: Mutex<Value>,
    pub(crate) tokens_are: Mutex<Tokens>,
    pub(crate) userinfo: Mutex<Value>,
    pub(crate) keys_are: Mutex<Keys>,
    pub(crate) key_reads: AtomicUsize,
    pub(crate) token_reads: AtomicUsize,
}

/// How the token endpoint answers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Tokens {
    #[default]
    Given,
    Refused,
    Down,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Keys {
    #[default]
    Good,
    Huge,
    Slow,
    Elsewhere,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        let shared = Arc::new(Shared::default());
        *shared.point.lock().unwrap() = key.public_key().as_ref().to_vec();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        url.clone_into(&mut shared.url.lock().unwrap());
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", axum::routing::post(token))
            .route("/userinfo", get(userinfo))
            .with_state(Arc::clone(&shared));
        let mut parts = JoinSet::new();
        parts.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, key, shared, parts }
    }

    pub(crate) fn settings(&self, name: &str, more: &str) -> String {
        format!(
            "[[issuer]]\nname = '{name}'\nurl = '{}'\nclient_id = 'tollgate'\nclient_secret = 'client-canary'\n\
             allow_private = true\n{more}\n",
            self.url
        )
    }

    pub(crate) fn claims(&self, nonce: &str) -> Value {
        let now = now();
        json!({
            "iss": self.url, "sub": "subject-1", "aud": "tollgate", "exp": now + 300, "iat": now, "nonce": nonce,
            "preferred_username": "ada", "email": "ada@corp.example", "email_verified": true, "groups": ["dev"],
        })
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let covered = covered(header, claims);
        let signature = self.key.sign(&SystemRandom::new(), covered.as_bytes()).unwrap();
        format!("{covered}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    pub(crate) fn give(&self, id_token: &str) {
        *self.shared.grant.lock().unwrap() = json!({"id_token": id_token, "access_token": "idp-access", "token_type": "Bearer", "refresh_token": "idp-refresh-canary"});
    }

    /// The token with the issuer's public key taken for the secret of an HMAC.
    pub(crate) fn sign_with_public_key(&self, header: &Value, claims: &Value) -> String {
        let point = self.shared.point.lock().unwrap().clone();
        let mut mac = Hmac::<Sha256>::new_from_slice(&point).unwrap();
        mac.update(covered(header, claims).as_bytes());
        format!("{}.{}", covered(header, claims), URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    /// The token as its header has it: signed, unsigned, or with an HMAC.
    pub(crate) fn forge(&self, header: &Value, claims: &Value) -> String {
        match header["alg"].as_str().unwrap() {
            "none" => format!("{}.", covered(header, claims)),
            "HS256" => self.sign_with_public_key(header, claims),
            _ => self.sign(header, claims),
        }
    }

    /// What it will say of subject-1 when it is asked again.
    pub(crate) fn say(&self, change: impl FnOnce(&mut Map<String, Value>)) {
        let mut claims = self.claims("");
        let fields = claims.as_object_mut().unwrap();
        fields.remove("nonce");
        change(fields);
        self.give(&self.sign(&header(), &claims));
    }

    pub(crate) fn stop(mut self) {
        self.parts.abort_all();
    }
}

pub(crate) fn header() -> Value {
    json!({"alg": "ES256", "kid": "one"})
}

fn covered(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

pub(crate) fn now() -> i64 {
    tollgate_control_plane::clock::now_ms() / 1_000
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let url = shared.url.lock().unwrap().clone();
    Json(json!({
        "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
        "userinfo_endpoint": format!("{url}/userinfo"), "jwks_uri": format!("{url}/keys"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

async fn keys(State(shared): State<Arc<Shared>>) -> axum::response::Response {
    shared.key_reads.fetch_add(1, Ordering::SeqCst);
    let keys_are = *shared.keys_are.lock().unwrap();
    let point = shared.point.lock().unwrap().clone();
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let key = json!({"kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "x": part(&point[1..33]), "y": part(&point[33..])});
    match keys_are {
        Keys::Good => Json(json!({"keys": [key]})).into_response(),
        Keys::Huge => Json(json!({"keys": [key], "padding": "x".repeat(2 * 1024 * 1024)})).into_response(),
        Keys::Slow => std::future::pending().await,
        Keys::Elsewhere => (StatusCode::FOUND, [("location", "/keys")]).into_response(),
    }
}

async fn token(State(shared): State<Arc<Shared>>) -> axum::response::Response {
    shared.token_reads.fetch_add(1, Ordering::SeqCst);
    let tokens_are = *shared.tokens_are.lock().unwrap();
    match tokens_are {
        Tokens::Given => Json(shared.grant.lock().unwrap().clone()).into_response(),
        Tokens::Refused => (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response(),
        Tokens::Down => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

// Only for the access token of the grant; `null`: it is down.
async fn userinfo(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> axum::response::Response {
    let answer = shared.userinfo.lock().unwrap().clone();
    if headers.get("authorization").is_none_or(|value| value != "Bearer idp-access") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if answer.is_null() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    Json(answer).into_response()
}
