//! Tools behind OAuth: two people permit Tollgate to act for them at a real authorisation server, each gets what is theirs on any replica, and who takes
//! that back, or whose permission has ended, is told what to do.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming};
use serde_json::{Value, json};
use tollgate_proto::admin::v1::{CreateMcpServerRequest, Key, McpOAuth, McpServer, RevokeMcpGrantRequest};
use tollgate_tests::{
    client::{self, Answer},
    database::Kind,
    fleet::Fleet,
    identity::{Authorization, Browser, Identity},
    serving::{self, Serving},
    until,
};

/// The promise for whatever is taken back. Measured: see the README.
const PROMISE: Duration = Duration::from_secs(1);
/// A token that is so old is replaced when it is turned away.
const FRESH: Duration = Duration::from_secs(11);
/// Where the server of tools says which authorisation server it has (RFC 9728).
const METADATA: &str = "/.well-known/oauth-protected-resource/mcp";

/// A server of tools that lets in whom its authorisation server knows, and says to whom it speaks.
struct Notes {
    url: String,
    state: Arc<State>,
    _serving: Serving,
}

struct State {
    http: reqwest::Client,
    authorization: String,
    resource: String,
    // Turned away, although they are good.
    refused: Mutex<BTreeSet<String>>,
    // By whom they were shown.
    shown: Mutex<HashMap<String, BTreeSet<String>>>,
}

impl Notes {
    async fn start(authorization: &str) -> Self {
        let (url, listener) = Serving::bind().await;
        let url = format!("{url}/mcp");
        let state = Arc::new(State {
            http: client::http(),
            authorization: authorization.to_owned(),
            resource: url.clone(),
            refused: Mutex::default(),
            shown: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let serving = Serving::start(listener, move |request| serve(request, Arc::clone(&shared)));
        Self { url, state, _serving: serving }
    }

    fn tokens_of(&self, subject: &str) -> BTreeSet<String> {
        self.state.shown.lock().unwrap().get(subject).cloned().unwrap_or_default()
    }

    /// Turns away whatever it was shown until now.
    fn forget(&self) {
        let shown = self.state.shown.lock().unwrap();
        self.state.refused.lock().unwrap().extend(shown.values().flatten().cloned());
    }
}

impl State {
    // RFC 7662: who it is, if the token is one for this server.
    async fn subject(&self, token: &str) -> Option<String> {
        if self.refused.lock().unwrap().contains(token) {
            return None;
        }
        let about = format!("token={token}");
        let request = self.http.post(format!("{}/token/introspection", self.authorization));
        let request = request.basic_auth("tools", Some("secret-of-the-tools"));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(about);
        let about = client::read(request).await.json();
        let is_good = about["active"] == true && about["aud"] == self.resource && about["scope"] == "tools:call";
        let name = about["sub"].as_str().or_else(|| about["client_id"].as_str());
        name.filter(|_| is_good).map(str::to_owned)
    }
}

async fn serve(request: Request<Incoming>, state: Arc<State>) -> Response<Full<Bytes>> {
    let metadata = state.resource.replace("/mcp", METADATA);
    if request.uri().path() == METADATA {
        let body = json!({
            "resource": state.resource, "authorization_servers": [state.authorization], "scopes_supported": ["tools:call"],
        });
        return serving::json(200, &body);
    }
    let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let token = shown.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    let subject = match &token {
        Some(token) => state.subject(token).await,
        None => None,
    };
    let (Some(token), Some(subject)) = (token, subject) else {
        let mut refused = serving::json(401, &Value::Null);
        let challenge = format!("Bearer resource_metadata=\"{metadata}\", scope=\"tools:call\"");
        refused.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
        return refused;
    };
    state.shown.lock().unwrap().entry(subject.clone()).or_default().insert(token);
    let is_post = request.method() == hyper::Method::POST;
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let tool = |name: &str| json!({"name": name, "description": "Of this person.", "inputSchema": {"type": "object"}});
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "notes", "version": "1"},
        }),
        Some("tools/list") => {
            let own = format!("notes_of_{}", subject.split('@').next().unwrap());
            json!({"tools": [tool("whoami"), tool(&own)]})
        }
        Some("tools/call") => json!({"content": [{"type": "text", "text": subject}]}),
        Some(method) if !method.starts_with("notifications/") => {
            let error = json!({"code": -32_601, "message": "unknown"});
            return serving::json(200, &json!({"jsonrpc": "2.0", "id": message["id"], "error": error}));
        }
        _ => return serving::json(if is_post { 202 } else { 405 }, &Value::Null),
    };
    serving::json(200, &json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
}

/// A fleet of two replicas at which people can sign in, before a server of tools with an authorisation server of its own.
struct Scene {
    fleet: Fleet,
    authorization: Authorization,
    notes: Notes,
    keys: HashMap<&'static str, String>,
    _identity: Identity,
}

impl Scene {
    async fn begin(kind: Kind, auth: &str, secret: &str) -> Self {
        let mut fleet = Fleet::start(kind, 2).await;
        let http_url = fleet.control_plane.http_url();
        let identity = Identity::start(&format!("{http_url}/oauth/callback")).await;
        let authorization = Authorization::start().await;
        let notes = Notes::start(&authorization.url).await;
        let file = fleet.directory.path().join("oidc.toml");
        std::fs::write(&file, identity.settings()).unwrap();
        fleet.control_plane.end().await;
        fleet.control_plane.set("OIDC_CONFIG", file.to_str().unwrap());
        fleet.control_plane.restart(&fleet.http).await;
        let mut keys = HashMap::new();
        for name in ["ada", "ben"] {
            identity.groups(name, "engineering").await;
            let page = Browser::new(name).open(&format!("{http_url}/login")).await;
            assert!(page.status < 500, "{page:?}");
            let key = Key { name: format!("of-{name}"), team: "platform".into(), user: name.into(), ..Key::default() };
            keys.insert(name, fleet.admin.key_with(key).await.secret);
        }
        // A secret of an administrator's is shown to whom an administrator has named.
        let oauth = if secret.is_empty() {
            McpOAuth::default()
        } else {
            let (client_id, authorization_server) = ("tollgate".into(), authorization.url.clone());
            let scopes = vec!["tools:call".into()];
            McpOAuth { client_id, authorization_server, scopes, ..McpOAuth::default() }
        };
        let server = McpServer {
            name: "notes".into(),
            url: notes.url.clone(),
            allow_private: true,
            auth: auth.into(),
            oauth: Some(oauth),
            secret: secret.into(),
            ..McpServer::default()
        };
        fleet.admin.mcp().create_mcp_server(CreateMcpServerRequest { mcp_server: Some(server) }).await.unwrap();
        fleet.admin.converged(2).await;
        Self { fleet, authorization, notes, keys, _identity: identity }
    }

    async fn send(&self, name: &str, replica: usize, method: &str, params: Value) -> Value {
        let url = format!("{}/mcp", self.fleet.replicas[replica].url);
        let mut params = params;
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "agent", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut request = self.fleet.http.post(url).bearer_auth(&self.keys[name]);
        for (header, value) in [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", method),
        ] {
            request = request.header(header, value);
        }
        if let Some(name) = params["name"].as_str() {
            request = request.header("mcp-name", name);
        }
        let answer: Answer = client::read(request.body(message.to_string())).await;
        answer.json()
    }

    async fn tools(&self, name: &str, replica: usize) -> Vec<String> {
        let list = self.send(name, replica, "tools/list", json!({})).await;
        let tools = list["result"]["tools"].as_array().unwrap_or_else(|| panic!("{list}"));
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    /// What the tool says, and whether it failed.
    async fn call(&self, name: &str, replica: usize) -> (String, bool) {
        let said = self.send(name, replica, "tools/call", json!({"name": "notes__whoami", "arguments": {}})).await;
        let text = said["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{said}"));
        (text.to_owned(), said["result"]["isError"] == true)
    }

    fn connect_url(&self) -> String {
        format!("{}/mcp/connect/notes", self.fleet.control_plane.http_url())
    }

    /// Signs in at the server's authorisation server, as its page leads there.
    async fn connect(&self, browser: &mut Browser) {
        let url = self.connect_url();
        let page = browser.open(&url).await;
        assert_eq!(page.status, 200, "{page:?}");
        let token = page.after("name=\"form_token\" value=\"").unwrap_or_else(|| panic!("{page:?}"));
        let page = browser.submit(&url, &[("form_token", &token), ("action", "connect")]).await;
        let page = browser.open(&page.after("href=\"").unwrap_or_else(|| panic!("{page:?}"))).await;
        assert!(page.status == 200 && page.text.contains("notes is connected"), "{page:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_person_permits_has_what_is_theirs_and_takes_it_back() {
    // Without a client of its own: the control plane registers itself.
    let scene = Scene::begin(Kind::Postgres, "per_user", "").await;
    assert_eq!(scene.tools("ada", 0).await, ["notes__connect"]);
    let (text, failed) = scene.call("ada", 0).await;
    assert!(failed && text.contains(&scene.connect_url()), "{text}");

    let mut ada = Browser::new("ada");
    scene.connect(&mut ada).await;
    until("the tools of ada to be there", || async {
        (scene.tools("ada", 0).await == ["notes__whoami", "notes__notes_of_ada"]).then_some(())
    })
    .await;
    for replica in [0, 1] {
        assert_eq!(scene.call("ada", replica).await, ("ada".into(), false));
    }
    assert_eq!(scene.tools("ben", 1).await, ["notes__connect"], "what ada permitted is for ada");
    scene.connect(&mut Browser::new("ben")).await;
    until("the tools of ben to be there", || async {
        (scene.tools("ben", 1).await == ["notes__whoami", "notes__notes_of_ben"]).then_some(())
    })
    .await;
    assert_eq!(scene.call("ben", 1).await, ("ben".into(), false));
    let (of_ada, of_ben) = (scene.notes.tokens_of("ada"), scene.notes.tokens_of("ben"));
    assert!(of_ada.len() == 1 && of_ben.len() == 1 && of_ada != of_ben, "one token each");

    // Tokens that are turned away before their time are renewed: once, whichever replica comes first. One that was just got would be no better
    // the second time.
    tokio::time::sleep(FRESH).await;
    scene.notes.forget();
    for replica in [0, 1, 0] {
        assert_eq!(scene.call("ada", replica).await, ("ada".into(), false));
    }
    assert_eq!(scene.notes.tokens_of("ada").len(), 2);
    assert_eq!(scene.authorization.count("refresh_token").await, 1);

    // What ben has permitted has ended at the authorisation server: nobody but ben can do something about that, and is told.
    scene.authorization.forget("ben").await;
    let (text, failed) = scene.call("ben", 0).await;
    assert!(failed && text.contains(&scene.connect_url()), "{text}");
    let (text, failed) = scene.call("ben", 1).await;
    assert!(failed && text.contains(&scene.connect_url()), "{text}");
    assert_eq!(scene.call("ada", 1).await, ("ada".into(), false), "others go on");
    scene.connect(&mut Browser::new("ben")).await;
    until("ben to be back", || async { (scene.call("ben", 0).await == ("ben".into(), false)).then_some(()) }).await;

    // Taken back: every replica drops what it has within the promise, and the token is dead at its server.
    let token = scene.notes.tokens_of("ada").into_iter().find(|token| !of_ada.contains(token)).unwrap();
    let began = Instant::now();
    let revoke = RevokeMcpGrantRequest { mcp_server: "notes".into(), user: "ada".into(), reason: String::new() };
    scene.fleet.admin.mcp().revoke_mcp_grant(revoke).await.unwrap();
    for replica in [0, 1] {
        until("the replica to have dropped it", || async { scene.call("ada", replica).await.1.then_some(()) }).await;
    }
    let took = began.elapsed();
    assert!(took < PROMISE, "{took:?}");
    let (text, _) = scene.call("ada", 0).await;
    assert!(text.contains(&scene.connect_url()), "{text}");
    until("the token to be dead", || async { scene.notes.state.subject(&token).await.is_none().then_some(()) }).await;
    assert_eq!(scene.call("ben", 1).await, ("ben".into(), false), "others go on");

    // Nothing of a token or a refresh token is in the log.
    let entries = scene.fleet.admin.entries("").await;
    let actions: BTreeSet<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert!(actions.contains("mcp-grant.connect") && actions.contains("mcp-grant.disconnect"), "{actions:?}");
    let said =
        [scene.fleet.control_plane.said(), scene.fleet.replicas[0].said(), scene.fleet.replicas[1].said()].concat();
    let written: String = entries.iter().map(|entry| entry.detail.as_str()).collect();
    assert!(of_ada.iter().chain(&of_ben).all(|token| !said.contains(token) && !written.contains(token)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_installation_has_a_token_of_its_own() {
    let scene = Scene::begin(Kind::Sqlite, "client_credentials", "secret-of-the-gateway").await;
    until("the tools to be there", || async {
        (scene.tools("ada", 0).await == ["notes__whoami", "notes__notes_of_tollgate"]).then_some(())
    })
    .await;
    for (name, replica) in [("ada", 0), ("ben", 1)] {
        assert_eq!(scene.call(name, replica).await, ("tollgate".into(), false));
    }
    tokio::time::sleep(FRESH).await;
    scene.notes.forget();
    for replica in [0, 1] {
        assert_eq!(scene.call("ada", replica).await, ("tollgate".into(), false));
    }
    assert!(scene.authorization.count("client_credentials").await <= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_a_person_is_is_exchanged_for_a_token_of_theirs() {
    let scene = Scene::begin(Kind::Sqlite, "token_exchange", "secret-of-the-gateway").await;
    let (text, failed) = scene.call("ada", 0).await;
    assert!(failed && text.contains("notes"), "the authorisation server trusts nobody yet: {text}");
    scene.authorization.trust(&scene.fleet.control_plane.http_url()).await;
    for (name, replica) in [("ada", 0), ("ben", 1)] {
        let own = format!("notes__notes_of_{name}");
        until("the tools to be there", || async {
            (scene.tools(name, replica).await == ["notes__whoami", &own]).then_some(())
        })
        .await;
        assert_eq!(scene.call(name, replica).await, (format!("{name}@corp.example"), false));
    }
}
