//! People sign in, by way of an identity provider that this test plays: honest first, then in every way dishonest.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, Response, Url, redirect};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, task::JoinSet};
use tollgate_control_plane::{
    config::Config,
    oidc::settings::{self, IssuerSettings},
};
use tollgate_proto::admin::v1;
use tollgate_settings::SecretSource;

use crate::world::{Place, World, config, mask, over_both};

over_both! {
    a_person_signs_in_stays_and_leaves
    a_device_is_signed_in_by_its_person
}

const CLI: &str = "http://127.0.0.1:9/callback";
const VERIFIER: &str = "0123456789012345678901234567890123456789012345678901";

/// An identity provider that says what the test wants.
struct Fake {
    url: String,
    key: EcdsaKeyPair,
    shared: Arc<Shared>,
    parts: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    url: Mutex<String>,
    point: Mutex<Vec<u8>>,
    grant: Mutex<Value>,
    refuses: Mutex<bool>,
    userinfo: Mutex<Value>,
    keys_are: Mutex<Keys>,
    key_reads: AtomicUsize,
}

#[derive(Clone, Copy, Debug, Default)]
enum Keys {
    #[default]
    Good,
    Huge,
    Slow,
    Elsewhere,
}

impl Fake {
    async fn start() -> Self {
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

    fn settings(&self, name: &str, more: &str) -> String {
        format!(
            "[[issuer]]\nname = '{name}'\nurl = '{}'\nclient_id = 'tollgate'\nclient_secret = 'client-canary'\n\
             allow_private = true\n{more}\n",
            self.url
        )
    }

    fn claims(&self, nonce: &str) -> Value {
        let now = now();
        json!({
            "iss": self.url, "sub": "subject-1", "aud": "tollgate", "exp": now + 300, "iat": now, "nonce": nonce,
            "preferred_username": "ada", "email": "ada@corp.example", "email_verified": true, "groups": ["dev"],
        })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let covered = covered(header, claims);
        let signature = self.key.sign(&SystemRandom::new(), covered.as_bytes()).unwrap();
        format!("{covered}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn give(&self, id_token: &str) {
        *self.shared.grant.lock().unwrap() = json!({"id_token": id_token, "access_token": "idp-access", "token_type": "Bearer", "refresh_token": "idp-refresh-canary"});
    }

    fn stop(mut self) {
        self.parts.abort_all();
    }
}

fn header() -> Value {
    json!({"alg": "ES256", "kid": "one"})
}

fn covered(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn now() -> i64 {
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
    if *shared.refuses.lock().unwrap() {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response();
    }
    Json(shared.grant.lock().unwrap().clone()).into_response()
}

async fn userinfo(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.userinfo.lock().unwrap().clone())
}

/// A browser, and the command line that sent it.
pub(crate) struct Person {
    client: Client,
    base: String,
    cookie: String,
}

impl Person {
    pub(crate) fn new(world: &World) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
        Self { client, base: format!("http://{}", world.http), cookie: String::new() }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Response {
        let url = format!("{}{path}", self.base);
        let answer = self.client.get(url).header("cookie", &self.cookie).send().await.unwrap();
        self.keep(answer)
    }

    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.post_from(path, fields, &self.base.clone()).await
    }

    async fn post_from(&mut self, path: &str, fields: &[(&str, &str)], origin: &str) -> Response {
        let body: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let request = self.client.post(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        let request = request.header("origin", origin).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(body.join("&")).send().await.unwrap();
        self.keep(answer)
    }

    fn keep(&mut self, answer: Response) -> Response {
        for line in answer.headers().get_all("set-cookie") {
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            let name = pair.split('=').next().unwrap();
            let kept: Vec<_> = self
                .cookie
                .split("; ")
                .filter(|old| !old.is_empty() && !old.starts_with(&format!("{name}=")))
                .collect();
            self.cookie = [kept, vec![pair]].concat().join("; ");
        }
        answer
    }

    /// Begins at the command line.
    pub(crate) async fn ask(&mut self, issuer: &str) -> Response {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let path = format!(
            "/oauth/authorize?response_type=code&client_id=tollgate-cli&redirect_uri={}&state=mine&code_challenge={challenge}\
             &code_challenge_method=S256&issuer={issuer}",
            encoded(CLI)
        );
        self.get(&path).await
    }

    /// The same; returns state and nonce as the issuer sees them.
    async fn begin(&mut self, issuer: &str) -> (String, String) {
        let asked = location(&self.ask(issuer).await);
        assert!(
            asked.contains_key("code_challenge") && asked["redirect_uri"].ends_with("/oauth/callback"),
            "{asked:?}"
        );
        (asked["state"].clone(), asked["nonce"].clone())
    }

    async fn come_back(&mut self, state: &str) -> Response {
        self.get(&format!("/oauth/callback?state={state}&code=idp-code")).await
    }

    pub(crate) async fn exchange(&mut self, code: &str) -> Response {
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", "tollgate-cli"),
            ("code", code),
            ("redirect_uri", CLI),
            ("code_verifier", VERIFIER),
        ];
        self.post("/oauth/token", &fields).await
    }

    pub(crate) async fn refresh(&mut self, token: &str) -> Response {
        let fields = [("grant_type", "refresh_token"), ("client_id", "tollgate-cli"), ("refresh_token", token)];
        self.post("/oauth/token", &fields).await
    }

    async fn sign_in(&mut self, fake: &Fake, issuer: &str, change: impl FnOnce(&mut Map<String, Value>)) -> Value {
        let (state, nonce) = self.begin(issuer).await;
        let mut claims = fake.claims(&nonce);
        change(claims.as_object_mut().unwrap());
        fake.give(&fake.sign(&header(), &claims));
        let back = location(&self.come_back(&state).await);
        assert_eq!(back["state"], "mine");
        let answer = self.exchange(&back["code"]).await;
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

pub(crate) fn location(answer: &Response) -> std::collections::HashMap<String, String> {
    let location = answer.headers().get("location").unwrap_or_else(|| panic!("{answer:?}")).to_str().unwrap();
    Url::parse(location).unwrap().query_pairs().into_owned().collect()
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

pub(crate) fn issuers(text: &str) -> Vec<IssuerSettings> {
    settings::read(text, &|source| match source {
        SecretSource::Literal(secret) => Ok(secret.clone()),
        _ => Err("no".to_owned()),
    })
    .unwrap()
}

async fn start(place: &Place, settings: &str) -> World {
    start_at(place, issuers(settings), "127.0.0.1:0".parse().unwrap()).await
}

pub(crate) async fn start_at(place: &Place, issuers: Vec<IssuerSettings>, http_listen: SocketAddr) -> World {
    World::start_from(Config { issuers, http_listen, ..config(place, "data") }).await
}

pub(crate) async fn groups(world: &World, issuer: &str, user: &v1::User) -> Vec<String> {
    let mut txn = world.store.begin_read().await.unwrap();
    let id = tollgate_policy::id::UserId::parse(&user.id).unwrap();
    let groups = txn.memberships(&id, issuer).await.unwrap();
    txn.end().await.unwrap();
    groups.into_iter().collect()
}

pub(crate) async fn user(world: &World, name: &str) -> v1::User {
    world.users().get_user(v1::GetUserRequest { user: name.into() }).await.unwrap().into_inner()
}

async fn a_person_signs_in_stays_and_leaves(place: Place) {
    let fake = Fake::start().await;
    let world = start(&place, &fake.settings("corp", "group_prefix = 'corp:'")).await;
    let mut person = Person::new(&world);
    let described: Value = person.get("/.well-known/oauth-authorization-server").await.json().await.unwrap();
    assert_eq!(described["code_challenge_methods_supported"], json!(["S256"]));

    let tokens = person.sign_in(&fake, "", |_| {}).await;
    assert!(text(&tokens, "access_token").starts_with("tgu_") && text(&tokens, "refresh_token").starts_with("tgr_"));
    let ada = user(&world, "ada").await;
    assert_eq!(ada.email, "ada@corp.example");
    assert_eq!(groups(&world, &fake.url, &ada).await, ["corp:dev"]);
    for (action, initiator) in
        [("user.provision", "issuer/corp".to_owned()), ("session.create", format!("user/{}", ada.id))]
    {
        let entries = world.log(&format!("action={action}")).await;
        assert_eq!(entries.len(), 1, "{action}");
        assert_eq!(entries[0].initiator, initiator);
    }

    // A change of groups takes effect at the next renewal, and the renewed tokens replace the old ones.
    let mut claims = fake.claims("");
    claims.as_object_mut().unwrap().remove("nonce");
    claims["groups"] = json!(["ops"]);
    fake.give(&fake.sign(&header(), &claims));
    let renewed: Value = person.refresh(text(&tokens, "refresh_token")).await.json().await.unwrap();
    assert_eq!(groups(&world, &fake.url, &ada).await, ["corp:ops"]);
    assert_ne!(renewed["access_token"], tokens["access_token"]);

    // A refresh token that is used again ends the session, the renewed tokens included.
    assert_eq!(person.refresh(text(&tokens, "refresh_token")).await.status(), 400);
    assert_eq!(person.refresh(text(&renewed, "refresh_token")).await.status(), 400);
    assert_eq!(world.log("action=session.end").await.len(), 1);

    // Revocation; a grant that the issuer ends; a disabled user.
    let tokens = person.sign_in(&fake, "corp", |_| {}).await;
    assert_eq!(person.post("/oauth/revoke", &[("token", text(&tokens, "access_token"))]).await.status(), 200);
    assert_eq!(person.refresh(text(&tokens, "refresh_token")).await.status(), 400);
    let tokens = person.sign_in(&fake, "corp", |_| {}).await;
    *fake.shared.refuses.lock().unwrap() = true;
    assert_eq!(person.refresh(text(&tokens, "refresh_token")).await.status(), 400);
    *fake.shared.refuses.lock().unwrap() = false;
    let tokens = person.sign_in(&fake, "corp", |_| {}).await;
    let disabled = v1::User { id: ada.id.clone(), disabled: true, ..Default::default() };
    let request = v1::UpdateUserRequest { user: Some(disabled), update_mask: mask(&["disabled"]) };
    world.users().update_user(request).await.unwrap();
    assert_eq!(person.refresh(text(&tokens, "refresh_token")).await.status(), 400);
    let (state, nonce) = person.begin("corp").await;
    fake.give(&fake.sign(&header(), &fake.claims(&nonce)));
    assert_eq!(location(&person.come_back(&state).await)["error"], "access_denied");

    // Somebody else with the same address is somebody else.
    person.sign_in(&fake, "corp", |claims| drop(claims.insert("sub".into(), json!("subject-2")))).await;
    assert_eq!(user(&world, "ada-2").await.email, "");

    let dump = String::from_utf8_lossy(&place.dump().await).into_owned();
    for canary in ["idp-refresh-canary", "client-canary", text(&tokens, "access_token"), text(&tokens, "refresh_token")]
    {
        assert!(!dump.contains(canary), "{canary} is in the database");
    }

    // A browser's session ends by the form of a page of ours and by no other.
    let begun = location(&person.get("/login?next=/logout").await);
    let mut claims = fake.claims(&begun["nonce"]);
    claims["sub"] = json!("subject-2");
    fake.give(&fake.sign(&header(), &claims));
    assert_eq!(person.come_back(&begun["state"]).await.headers()["location"], "/logout");
    let page = person.get("/logout").await.text().await.unwrap();
    let form_token = page.split("value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let evil = person.post_from("/logout", &[("form_token", &form_token)], "https://evil.example").await;
    assert_eq!(evil.status(), 403);
    assert_eq!(person.post("/logout", &[("form_token", "made-up")]).await.status(), 403);
    assert_eq!(person.post("/logout", &[("form_token", &form_token)]).await.status(), 303);
    assert!(person.get("/logout").await.text().await.unwrap().contains("not signed in"));
    world.stop().await;
    fake.stop();
}

async fn a_device_is_signed_in_by_its_person(place: Place) {
    let fake = Fake::start().await;
    let world = start(&place, &fake.settings("corp", "")).await;
    let (mut device, mut person) = (Person::new(&world), Person::new(&world));
    for (answer, expect) in [("yes", 200), ("no", 400)] {
        let begun: Value =
            device.post("/oauth/device_authorization", &[("client_id", "tollgate-cli")]).await.json().await.unwrap();
        let poll = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("client_id", "tollgate-cli"),
            ("device_code", text(&begun, "device_code")),
        ];
        for error in ["authorization_pending", "slow_down"] {
            let asked: Value = device.post("/oauth/token", &poll).await.json().await.unwrap();
            assert_eq!(asked["error"], error);
        }
        assert_eq!(person.post("/oauth/device", &[("user_code", "BBBB-BBBB")]).await.status(), 400);
        let code = [("user_code", text(&begun, "user_code"))];
        assert_eq!(person.post_from("/oauth/device", &code, "https://evil.example").await.status(), 400);
        let page = person.post("/oauth/device", &code).await.text().await.unwrap();
        let link = page.split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
        let asked: std::collections::HashMap<_, _> = Url::parse(&link).unwrap().query_pairs().into_owned().collect();
        fake.give(&fake.sign(&header(), &fake.claims(&asked["nonce"])));
        let page = person.come_back(&asked["state"]).await.text().await.unwrap();
        let ticket = page.split("value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        // Signed in is not yet confirmed, and nobody else confirms.
        let waiting: Value = device.post("/oauth/token", &poll).await.json().await.unwrap();
        assert!(waiting["error"].is_string());
        assert_eq!(person.post("/oauth/device", &[("ticket", &ticket), ("answer", answer)]).await.status(), 200);
        assert_eq!(device.post("/oauth/token", &poll).await.status(), expect, "{answer}");
        let again: Value = device.post("/oauth/token", &poll).await.json().await.unwrap();
        assert_eq!(again["error"], "expired_token");
    }
    world.stop().await;
    fake.stop();
}

type Change = fn(&Fake, &mut Value, &mut Value);

/// What is refused, why, and how the token is changed for it.
const BAD_TOKENS: &[(&str, &str, Change)] = &[
    ("alg none", "algorithm", |_, header, _| header["alg"] = json!("none")),
    ("alg HS256", "algorithm", |_, header, _| header["alg"] = json!("HS256")),
    ("another alg", "algorithm", |_, header, _| header["alg"] = json!("RS384")),
    ("unknown kid", "a key that the issuer does not have", |_, header, _| header["kid"] = json!("two")),
    ("critical header", "not a signed JWT", |_, header, _| header["crit"] = json!(["x"])),
    ("another iss", "another issuer", |_, _, claims| claims["iss"] = json!("https://evil.example")),
    ("another aud", "another audience", |_, _, claims| claims["aud"] = json!("other")),
    ("more aud without azp", "another party", |_, _, claims| claims["aud"] = json!(["tollgate", "other"])),
    ("another azp", "another party", |_, _, claims| claims["azp"] = json!("other")),
    ("another nonce", "another sign-in", |_, _, claims| claims["nonce"] = json!("other")),
    ("no nonce", "another sign-in", |_, _, claims| drop(claims.as_object_mut().unwrap().remove("nonce"))),
    ("expired", "expired", |_, _, claims| claims["exp"] = json!(now() - 1)),
    ("not yet", "not valid yet", |_, _, claims| claims["nbf"] = json!(now() + 600)),
    ("no exp", "the claim exp is missing", |_, _, claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
    ("exp as text", "the claim exp does not", |_, _, claims| claims["exp"] = json!((now() + 300).to_string())),
    ("nbf as text", "the claim nbf does not", |_, _, claims| claims["nbf"] = json!("0")),
    ("azp as a list", "the claim azp does not", |_, _, claims| claims["azp"] = json!(["tollgate"])),
    ("sub as a number", "the claim sub does not", |_, _, claims| claims["sub"] = json!(1)),
    ("groups as a number", "the claim groups does not", |_, _, claims| claims["groups"] = json!(7)),
    ("verified as text", "not a signed JWT", |_, _, claims| claims["email_verified"] = json!("true")),
    ("overage without userinfo", "too many for the token", |_, _, claims| {
        claims["_claim_names"] = json!({"groups": "x"})
    }),
];

async fn reasons(world: &World) -> Vec<String> {
    let entries = world.log("action=session.refuse").await;
    entries.into_iter().map(|entry| format!("{:?}", entry.detail)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_19_bad_actors_and_mistyped_claims_are_refused_and_written_down() {
    crate::world::run(crate::world::Database::sqlite(), bad_actors).await;
}

async fn bad_actors(place: Place) {
    let (fake, other) = (Fake::start().await, Fake::start().await);
    let text = fake.settings("corp", "algorithms = ['ES256']\nbearer_audiences = ['api']")
        + &other.settings("other", "group_prefix = 'other:'");
    let world = start(&place, &text).await;
    let mut person = Person::new(&world);
    *fake.shared.userinfo.lock().unwrap() = json!({"sub": "subject-1"});

    for (at, (name, reason, change)) in BAD_TOKENS.iter().enumerate() {
        let (state, nonce) = person.begin("corp").await;
        let (mut header, mut claims) = (header(), fake.claims(&nonce));
        change(&fake, &mut header, &mut claims);
        let forged = match header["alg"].as_str().unwrap() {
            "none" => format!("{}.", covered(&header, &claims)),
            "HS256" => {
                let point = fake.shared.point.lock().unwrap().clone();
                let mut mac = Hmac::<Sha256>::new_from_slice(&point).unwrap();
                mac.update(covered(&header, &claims).as_bytes());
                format!("{}.{}", covered(&header, &claims), URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
            }
            _ => fake.sign(&header, &claims),
        };
        fake.give(&forged);
        let back = location(&person.come_back(&state).await);
        assert_eq!(back["error"], "access_denied", "{name}");
        let written = reasons(&world).await;
        assert_eq!(written.len(), at + 1, "{name}");
        assert!(written[at].contains(reason), "{name}: {}", written[at]);
    }
    assert!(world.users().list_users(v1::ListUsersRequest::default()).await.unwrap().into_inner().users.is_empty());

    // Unknown keys have the key set read again, once a minute.
    assert_eq!(fake.shared.key_reads.load(Ordering::SeqCst), 2);

    // A signature of another issuer's key; a state that was used; one that was made up; another browser; a mix-up.
    let (state, nonce) = person.begin("corp").await;
    fake.give(&other.sign(&header(), &fake.claims(&nonce)));
    assert_eq!(location(&person.come_back(&state).await)["error"], "access_denied");
    let mut before = reasons(&world).await.len();
    let (used, _) = (state, ());
    let (fresh, _) = person.begin("corp").await;
    let mut stranger = Person::new(&world);
    for answer in [person.come_back(&used).await, person.come_back("made-up").await, stranger.come_back(&fresh).await] {
        assert_eq!(answer.status(), 403);
    }
    let (state, _) = person.begin("corp").await;
    let mixed = person.get(&format!("/oauth/callback?state={state}&code=x&iss={}", encoded(&other.url))).await;
    assert_eq!(location(&mixed)["error"], "access_denied");
    before += 4;
    assert_eq!(reasons(&world).await.len(), before);

    // A code is good once, with its verifier and its redirect_uri.
    let (state, nonce) = person.begin("corp").await;
    fake.give(&fake.sign(&header(), &fake.claims(&nonce)));
    let code = location(&person.come_back(&state).await)["code"].clone();
    assert_eq!(person.exchange(&code).await.status(), 200);
    assert_eq!(person.exchange(&code).await.status(), 400);
    assert_eq!(reasons(&world).await.len(), before + 1);

    // A group that is called like a role is a group; the same subject elsewhere is somebody else.
    let tokens = person.sign_in(&fake, "corp", |claims| drop(claims.insert("groups".into(), json!(["admin"])))).await;
    let bearer = World::bearer(tokens["access_token"].as_str().unwrap());
    let service = tonic::service::interceptor::InterceptedService::new(world.channel(), bearer);
    let mut calls = v1::customer_service_client::CustomerServiceClient::new(service);
    assert!(calls.list_customers(v1::ListCustomersRequest::default()).await.is_err());
    let (state, nonce) = person.begin("other").await;
    other.give(&other.sign(&header(), &other.claims(&nonce)));
    assert!(location(&person.come_back(&state).await).contains_key("code"));
    let users = world.users().list_users(v1::ListUsersRequest::default()).await.unwrap().into_inner().users;
    assert_eq!(users.len(), 2);
    world.stop().await;
    fake.stop();
    other.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_whose_keys_are_out_of_bounds_lets_nobody_in() {
    crate::world::run(crate::world::Database::sqlite(), bad_keys).await;
}

async fn bad_keys(place: Place) {
    for keys_are in [Keys::Huge, Keys::Elsewhere, Keys::Slow] {
        let fake = Fake::start().await;
        *fake.shared.keys_are.lock().unwrap() = keys_are;
        let world = start(&place, &fake.settings("corp", "")).await;
        let mut person = Person::new(&world);
        let before = reasons(&world).await.len();
        let begun = tokio::time::timeout(Duration::from_secs(20), person.get("/login")).await.unwrap();
        assert_eq!(begun.status(), 503, "{keys_are:?}");
        assert_eq!(reasons(&world).await.len(), before + 1, "{keys_are:?}");
        assert_eq!(fake.shared.key_reads.load(Ordering::SeqCst), 1, "{keys_are:?}");
        world.stop().await;
        fake.stop();
    }
}
