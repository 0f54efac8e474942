//! A server of tools that wants tokens, and its authorization server, as the tests play them: strict with others, and themselves honest until
//! a test says otherwise.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use axum::{
    Form, Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Url;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    task::JoinSet,
};

pub(crate) type Fields = BTreeMap<String, String>;

/// Both of them, at one address.
pub(crate) struct Gate {
    pub(crate) url: String,
    pub(crate) shared: Arc<Shared>,
    parts: JoinSet<()>,
}

/// How the token endpoint answers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Mood {
    #[default]
    Honest,
    Down,
    Refusing(&'static str),
    /// It waits for [`Shared::go_on`].
    Slow,
}

pub(crate) struct Shared {
    url: String,
    /// What stands in the metadata in the place of what is true.
    pub(crate) metadata: Mutex<Value>,
    pub(crate) resource: Mutex<Value>,
    pub(crate) mood: Mutex<Mood>,
    pub(crate) life_s: Mutex<Value>,
    pub(crate) go_on: Notify,
    pub(crate) registered: Mutex<Vec<Value>>,
    /// What the token endpoint was asked, with the `authorization` header.
    pub(crate) asked: Mutex<Vec<Fields>>,
    /// What was taken back.
    pub(crate) revoked: watch::Sender<Vec<String>>,
    codes: Mutex<HashMap<String, Fields>>,
    // The refresh token that is good, by the family; an old one ends it.
    families: Mutex<HashMap<String, String>>,
    given: Mutex<u64>,
}

impl Gate {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            url: url.clone(),
            metadata: Mutex::new(json!({})),
            resource: Mutex::new(json!({})),
            mood: Mutex::default(),
            life_s: Mutex::new(json!(3_600)),
            go_on: Notify::new(),
            registered: Mutex::default(),
            asked: Mutex::default(),
            revoked: watch::Sender::default(),
            codes: Mutex::default(),
            families: Mutex::default(),
            given: Mutex::default(),
        });
        let routes = Router::new()
            .route("/mcp", post(tools))
            .route("/described", get(resource))
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/register", post(register))
            .route("/token", post(token))
            .route("/revoke", post(revoke))
            .with_state(Arc::clone(&shared));
        let mut parts = JoinSet::new();
        parts.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, shared, parts }
    }

    pub(crate) fn stop(mut self) {
        self.parts.abort_all();
    }

    /// Somebody permits what a browser was sent for; returns the code.
    pub(crate) fn permit(&self, url: &str) -> (String, Fields) {
        let url = Url::parse(url).unwrap();
        assert!(url.as_str().starts_with(&format!("{}/authorize?", self.url)), "{url}");
        let fields: Fields = url.query_pairs().into_owned().collect();
        assert_eq!((fields["response_type"].as_str(), fields["code_challenge_method"].as_str()), ("code", "S256"));
        let code = format!("code-canary-{}", self.shared.next());
        self.shared.codes.lock().unwrap().insert(code.clone(), fields.clone());
        (code, fields)
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    pub(crate) fn live(&self, seconds: i64) {
        *self.shared.life_s.lock().unwrap() = json!(seconds);
    }

    pub(crate) fn asked(&self) -> Vec<Fields> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Waits until a token was taken back.
    pub(crate) async fn revoked(&self, token: &str) {
        let mut revoked = self.shared.revoked.subscribe();
        let has = |all: &Vec<String>| all.iter().any(|one| one == token);
        let seen = tokio::time::timeout(std::time::Duration::from_secs(30), revoked.wait_for(has)).await;
        assert!(seen.is_ok(), "{token} was not taken back");
    }
}

impl Shared {
    fn next(&self) -> u64 {
        let mut given = self.given.lock().unwrap();
        *given += 1;
        *given
    }

    fn tokens(&self, family: Option<String>) -> Response {
        let number = self.next();
        let mut answer = json!({ "access_token": format!("access-canary-{number}"), "token_type": "Bearer" });
        let life = self.life_s.lock().unwrap().clone();
        if !life.is_null() {
            answer["expires_in"] = life;
        }
        if let Some(family) = family {
            let refresh = format!("refresh-canary-{family}-{number}");
            answer["refresh_token"] = json!(refresh);
            self.families.lock().unwrap().insert(family, refresh);
        }
        Json(answer).into_response()
    }

    fn by_code(&self, fields: &Fields) -> Response {
        let Some(begun) = self.codes.lock().unwrap().remove(&fields["code"]) else { return refused("invalid_grant") };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&fields["code_verifier"]));
        for (name, value) in [
            ("code_challenge", &challenge),
            ("redirect_uri", &fields["redirect_uri"]),
            ("client_id", &fields["client_id"]),
            ("resource", &fields["resource"]),
        ] {
            assert_eq!(&begun[name], value, "{name}");
        }
        self.tokens(Some(self.next().to_string()))
    }

    fn by_refresh(&self, fields: &Fields) -> Response {
        let token = &fields["refresh_token"];
        let family = token.split('-').nth(2).unwrap_or_default().to_owned();
        let good = self.families.lock().unwrap().remove(&family);
        // Used a second time, it ends the family, as RFC 9700, 4.14.2 has it.
        if good.as_ref() == Some(token) { self.tokens(Some(family)) } else { refused("invalid_grant") }
    }
}

fn refused(code: &str) -> Response {
    let body = json!({ "error": code, "error_description": "because \u{1b}[31mI say so" });
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

fn merged(mut truth: Value, lies: &Value) -> Value {
    for (name, value) in lies.as_object().unwrap() {
        truth[name] = value.clone();
    }
    truth
}

async fn tools(State(shared): State<Arc<Shared>>) -> Response {
    let challenge = format!("Bearer resource_metadata=\"{}/described\", scope=\"read write\"", shared.url);
    (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response()
}

async fn resource(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let truth = json!({ "resource": format!("{}/mcp", shared.url), "authorization_servers": [shared.url] });
    Json(merged(truth, &shared.resource.lock().unwrap()))
}

async fn metadata(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", shared.url);
    let truth = json!({
        "issuer": shared.url, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
        "registration_endpoint": at("/register"), "revocation_endpoint": at("/revoke"),
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
        "code_challenge_methods_supported": ["S256"], "authorization_response_iss_parameter_supported": true,
    });
    Json(merged(truth, &shared.metadata.lock().unwrap()))
}

async fn register(State(shared): State<Arc<Shared>>, Json(body): Json<Value>) -> Response {
    shared.registered.lock().unwrap().push(body);
    let answer = json!({ "client_id": format!("client-{}", shared.next()), "token_endpoint_auth_method": "none" });
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, Form(mut fields): Form<Fields>) -> Response {
    if let Some(value) = headers.get("authorization") {
        fields.insert("authorization".into(), value.to_str().unwrap().to_owned());
    }
    shared.asked.lock().unwrap().push(fields.clone());
    let mood = *shared.mood.lock().unwrap();
    match mood {
        Mood::Honest => {}
        Mood::Down => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Mood::Refusing(code) => return refused(code),
        Mood::Slow => shared.go_on.notified().await,
    }
    match fields["grant_type"].as_str() {
        "authorization_code" => shared.by_code(&fields),
        "refresh_token" => shared.by_refresh(&fields),
        "client_credentials" | "urn:ietf:params:oauth:grant-type:token-exchange" => shared.tokens(None),
        _ => refused("unsupported_grant_type"),
    }
}

async fn revoke(State(shared): State<Arc<Shared>>, Form(fields): Form<Fields>) -> StatusCode {
    shared.revoked.send_modify(|all| all.push(fields["token"].clone()));
    StatusCode::OK
}
