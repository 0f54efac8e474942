//! Requests through all rooms, over real connections, to a provider that does what the request asks of it.

use std::{collections::HashMap, convert::Infallible, net::SocketAddr, sync::Mutex};

use http::{HeaderMap, StatusCode};
use http_body_util::{Full, StreamBody};
use hyper::{body::Frame, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tollgate_policy::{
    id::{CredentialId, CustomerId, KeyId, ProviderId, TeamId},
    pattern::Patterns,
    provider::Auth,
    snapshot::{AuditMode, Credential, Customer, Dialect, Key, Object, Provider, Snapshot, Team},
    time::UnixMillis,
    token::{Pepper, Token},
};
use tollgate_proto::usage::v1::{Outcome, Record};

use super::*;
use crate::{
    current::{Current, Secret},
    guard::GuardKeys,
    listen::Listener,
    mcp::tokens::tests::Given,
    metrics::Metrics,
    spool::{Durability, Options},
    upstream,
};

mod audit;
mod credentials;
mod guardrails;
mod mcp;
mod routing;
mod samples;
mod surfaces;
mod unidentified;

const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9";
const WHOLE: &str = r#"{"type":"message","model":"claude-x","usage":{"input_tokens":3,"output_tokens":5}}"#;
const TOO_LONG: &str = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 250000 tokens > 200000 maximum"}}"#;
const BODY: &str = r#"{"model":"claude-x","max_tokens":9,"messages":[]}"#;

/// A gate behind a real listener, before a scripted provider.
struct Stand {
    address: SocketAddr,
    holder: Arc<Holder>,
    key: String,
    spool: Spool,
    funds: Arc<Funds>,
    servers: Arc<Servers>,
    tokens: Arc<Given>,
    upstream: Arc<Upstream>,
    door: Option<Door>,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// What the provider saw.
#[derive(Clone, Debug)]
struct Seen {
    headers: HeaderMap,
    body: Bytes,
    path: String,
}

/// An answer, as the client saw it.
struct Answered {
    status: u16,
    headers: HeaderMap,
    text: String,
    bytes: Bytes,
}

impl Stand {
    async fn new(secrets: &[&str]) -> Self {
        Self::with(secrets, Duration::from_secs(600)).await
    }

    async fn with(secrets: &[&str], first_byte_timeout: Duration) -> Self {
        let mut tasks = JoinSet::new();
        let seen = Arc::default();
        let provider = provider(&mut tasks, Arc::clone(&seen)).await;
        let pepper = Pepper::new(vec![7; 32]).unwrap();
        let token = Token::mint("live", &KeyId::from_ulid(&format!("{ULID}k")).unwrap(), &[9; 32]).unwrap();
        let snapshot = snapshot(&token, &pepper, provider, secrets.len());
        let secret = |at: usize, secret: &str| (credential(at), Secret::new(secret.to_owned()));
        let secrets: HashMap<_, _> = secrets.iter().enumerate().map(|(at, text)| secret(at, text)).collect();
        let holder = Arc::new(Holder::default());
        let guard_keys = Arc::new(GuardKeys::new(&pepper).unwrap());
        let current = Current { snapshot, pepper, guards: Arc::default(), guard_keys, secrets };
        holder.install(Arc::new(current), UnixMillis::new(1));
        let options = Options { durability: Durability::Memory, bytes_max: 1 << 20 };
        let (spool, _) = Spool::open(std::path::Path::new("/nowhere"), options).unwrap();
        let funds = Arc::new(Funds::new());
        let (door, settler) = settlement(spool.clone(), Arc::clone(&funds), Arc::default(), Arc::new(Metrics::new()));
        let (lingering, lingerer) = lingering(first_byte_timeout);
        tasks.spawn(lingerer.run(CancellationToken::new()));
        tasks.spawn(settler.run());
        let out = upstream::Options { connect_timeout: Duration::from_secs(5), http2: false };
        let (upstream, tokens) = (Arc::new(Upstream::new(&out, Arc::default()).unwrap()), Arc::<Given>::default());
        let servers = Arc::new(Servers::new(Arc::clone(&tokens) as _));
        let gate = Arc::new(Gate::new(Parts {
            holder: Arc::clone(&holder),
            upstream: Arc::clone(&upstream),
            servers: Arc::clone(&servers),
            origins: Arc::default(),
            spool: spool.clone(),
            funds: Arc::clone(&funds),
            rates: Rates::local(tollgate_policy::rate::Share::WHOLE),
            sessions: Arc::default(),
            lingering,
            door: door.clone(),
            sampler: Sampler::off(),
            first_byte_timeout,
            silence_max: Duration::from_secs(300),
            region: "north".into(),
        }));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(any, None, 64, Duration::from_secs(5)).await.unwrap();
        let (address, stop) = (listener.address().unwrap(), CancellationToken::new());
        tasks.spawn(listener.serve(gate, stop.clone()));
        let (key, door) = (token.expose().to_owned(), Some(door));
        Self { address, holder, key, spool, funds, servers, tokens, upstream, door, seen, stop, tasks }
    }

    async fn send(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Answered {
        self.call("POST", path, body, headers).await
    }

    async fn call(&self, method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> Answered {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if headers.iter().all(|(name, _)| !["x-api-key", "authorization"].contains(name)) {
            request = request.header("x-api-key", &self.key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answered { status: head.status.as_u16(), headers: head.headers, text, bytes }
    }

    /// A request whose provider follows a script, one step for each attempt.
    async fn script(&self, script: &str) -> Answered {
        self.send("/v1/messages", BODY, &[("x-script", script)]).await
    }

    fn revoke(&self) -> usize {
        let current = self.holder.load().unwrap();
        let gone = tollgate_policy::snapshot::ObjectRef::Key(KeyId::from_ulid(&format!("{ULID}k")).unwrap());
        self.hold(current.snapshot.next(2, vec![], vec![gone]))
    }

    /// Makes a policy hold. Returns how many visits were cut.
    fn hold(&self, snapshot: Snapshot) -> usize {
        let current = self.holder.load().unwrap();
        let guards = Arc::new(current.guards.next(snapshot.guardrails()).unwrap());
        let (pepper, guard_keys) = (current.pepper.clone(), Arc::clone(&current.guard_keys));
        let next = Current { snapshot, pepper, guards, guard_keys, secrets: current.secrets.clone() };
        self.holder.install(Arc::new(next), clock::wall())
    }

    fn asked(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Ends the stand, and returns what was settled.
    async fn records(mut self) -> Vec<Record> {
        self.stop.cancel();
        self.door = None;
        while self.spool.depth().intents > 0 {
            tokio::task::yield_now().await;
        }
        // The provider never ends; the listener and the settler do.
        for _ in 0..2 {
            self.tasks.join_next().await.unwrap().unwrap();
        }
        self.spool.pending().unwrap().map(|pending| pending.records).unwrap_or_default()
    }
}

fn credential(at: usize) -> CredentialId {
    CredentialId::from_ulid(&format!("{ULID}{at}")).unwrap()
}

fn snapshot(token: &Token, pepper: &Pepper, provider: SocketAddr, credentials: usize) -> Snapshot {
    let customer = CustomerId::from_ulid(&format!("{ULID}c")).unwrap();
    let team = TeamId::from_ulid(&format!("{ULID}t")).unwrap();
    let key = Key {
        id: KeyId::from_ulid(&format!("{ULID}k")).unwrap(),
        name: "dev".into(),
        hash: token.hash(pepper),
        team: team.clone(),
        user: None,
        revoked: false,
        expires: None,
        models: Patterns::parse(&["claude-*"]).unwrap(),
        providers: Arc::new([]),
        credentials: Arc::new([]),
        quota: None,
        audit: AuditMode::Required,
        regions: Patterns::default(),
        tools: tollgate_policy::mcp::Access::default(),
        tool_rules: Arc::default(),
    };
    let one =
        |at: usize| Credential { id: credential(at), name: "one".into(), weight: 1, disabled: false, reference: None };
    let provider = Provider {
        id: ProviderId::from_ulid(&format!("{ULID}p")).unwrap(),
        name: "anthropic".into(),
        dialect: Dialect::Anthropic,
        base_url: format!("http://{provider}").into(),
        allow_private: true,
        models: Patterns::default(),
        vendor: "anthropic".into(),
        disabled: false,
        priority: 0,
        credentials: (0..credentials).map(one).collect(),
        auth: Auth::OfDialect,
        region: "".into(),
        quirks: Arc::new([]),
    };
    let objects = vec![
        Object::Customer(Customer { id: customer.clone(), name: "acme".into(), disabled: false, quota: None }),
        Object::Team(Team {
            id: team,
            name: "platform".into(),
            customer,
            disabled: false,
            quota: None,
            providers: Arc::new([]),
            regions: Patterns::default(),
        }),
        Object::Key(key),
        Object::Provider(provider),
    ];
    Snapshot::default().next(1, objects, vec![])
}

async fn provider(tasks: &mut JoinSet<()>, seen: Arc<Mutex<Vec<Seen>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            connections.spawn(async move {
                let service = service_fn(move |request| answer(request, Arc::clone(&seen)));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

type Scripted = http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>;

async fn answer(request: Request<Incoming>, seen: Arc<Mutex<Vec<Seen>>>) -> Result<Response<Scripted>, std::io::Error> {
    let path = request.uri().to_string();
    let headers = request.headers().clone();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let script = headers.get("x-script").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let (usual_path, usual_body) = (path.clone(), body.clone());
    let attempt = {
        let mut seen = seen.lock().unwrap();
        seen.push(Seen { headers, body, path });
        seen.len() - 1
    };
    let steps: Vec<&str> = script.split(',').map(str::trim).collect();
    let step = steps.get(attempt).or(steps.last()).copied().unwrap_or_default();
    let whole = |status: u16, text: &str| {
        let body = Full::from(text.to_owned()).map_err(|never: Infallible| match never {});
        let answer = Response::builder().status(status).header("content-type", "application/json");
        answer.header("request-id", "req_upstream").body(body.boxed_unsync()).unwrap()
    };
    let typed = |(kind, text): (&'static str, String)| {
        let mut answer = whole(200, &text);
        answer.headers_mut().insert("content-type", kind.parse().unwrap());
        answer
    };
    match step {
        "echo" => Ok(typed(guardrails::echo(&usual_body))),
        "" if String::from_utf8_lossy(&usual_body).contains(guardrails::LEAK) => {
            Ok(typed(guardrails::leak(&usual_body)))
        }
        "hang" => std::future::pending().await,
        "close" => Err(std::io::Error::other("closed")),
        "half" => {
            let frames = [Ok(Frame::data(Bytes::from_static(b"{\"type\":"))), Err(std::io::Error::other("cut"))];
            let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
            Ok(Response::builder().header("content-type", "application/json").body(body).unwrap())
        }
        "long" => Ok(whole(400, TOO_LONG)),
        "slow" => {
            tokio::time::sleep(Duration::from_millis(30)).await;
            Ok(whole(200, WHOLE))
        }
        // As soon as another request has arrived, or a while after.
        "met" | "met_slow" | "failed" => {
            while seen.lock().unwrap().len() < 2 {
                tokio::task::yield_now().await;
            }
            if step == "met_slow" {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            let theirs = r#"{"type":"error","error":{"type":"x","message":"theirs"}}"#;
            Ok(if step == "failed" { whole(529, theirs) } else { whole(200, WHOLE) })
        }
        "html" => {
            let mut answer = whole(200, "<html>");
            answer.headers_mut().insert("content-type", "text/html".parse().unwrap());
            Ok(answer)
        }
        "zipped" => {
            let mut answer = whole(200, "not really gzip");
            answer.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
            Ok(answer)
        }
        "" => {
            let (kind, bytes) = surfaces::usual(&usual_path, &usual_body);
            let mut answer = whole(200, "");
            answer.headers_mut().insert("content-type", kind.parse().unwrap());
            Ok(answer.map(|_| Full::from(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()))
        }
        status => Ok(whole(status.parse().unwrap(), r#"{"type":"error","error":{"type":"x","message":"theirs"}}"#)),
    }
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent_and_is_settled_once() {
    let stand = Stand::new(&["sk-one"]).await;
    let answer = stand
        .send("/anthropic/v1/messages?beta=true", BODY, &[("anthropic-beta", "x"), ("accept-encoding", "gzip")])
        .await;
    assert_eq!((answer.status, answer.text.as_str()), (200, WHOLE));
    assert!(answer.headers["request-id"].to_str().unwrap().starts_with("req_01"));
    let asked = stand.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].path.as_str(), &asked[0].body[..]), ("/v1/messages?beta=true", BODY.as_bytes()));
    assert_eq!(asked[0].headers["x-api-key"], "sk-one");
    let mut names: Vec<&str> = asked[0].headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept-encoding", "anthropic-beta", "content-length", "host", "x-api-key"]);
    let records = stand.records().await;
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((record.outcome(), record.status, record.attempts), (Outcome::Completed, 200, 1));
    assert_eq!(record.tokens.as_ref().map(|tokens| (tokens.input, tokens.output)), Some((3, 5)));
    assert_eq!(record.upstream_request_id, "req_upstream");
    assert!(record.unpriced);
}

#[tokio::test]
async fn another_attempt_is_made_only_where_it_is_safe() {
    for (secrets, script, status, attempts, outcome) in [
        (2, "529,", 200, 2, Outcome::Completed),
        (2, "401,", 200, 2, Outcome::Completed),
        (2, "403,", 200, 2, Outcome::Completed),
        (2, "429,", 200, 2, Outcome::Completed),
        (2, "500,500", 500, 2, Outcome::UpstreamFailed),
        (6, "503", 503, 4, Outcome::UpstreamFailed),
        (1, "529,", 529, 1, Outcome::UpstreamFailed),
        (2, "400,", 400, 1, Outcome::UpstreamFailed),
        (2, "404,", 404, 1, Outcome::UpstreamFailed),
        (2, "302,", 502, 1, Outcome::UpstreamFailed),
        (2, "close,", 502, 1, Outcome::UpstreamFailed),
        (2, "half,", 502, 1, Outcome::UpstreamFailed),
        (2, "html,", 502, 1, Outcome::UpstreamFailed),
        (2, "zipped,", 200, 1, Outcome::Uncertain),
    ] {
        let names: Vec<String> = (0..secrets).map(|at| format!("sk-{at}")).collect();
        let stand = Stand::new(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let answer = stand.script(script).await;
        assert_eq!(answer.status, status, "{script}: {}", answer.text);
        assert!(answer.headers.contains_key("request-id"), "{script}");
        assert_eq!(stand.asked().len(), attempts, "{script}");
        let used: std::collections::HashSet<_> =
            stand.asked().iter().map(|seen| seen.headers["x-api-key"].clone()).collect();
        assert_eq!(used.len(), attempts, "{script}: each attempt has its own credential");
        let records = stand.records().await;
        let [record] = records.as_slice() else { panic!("{script}: {records:?}") };
        assert_eq!(
            (record.outcome(), record.attempts, record.status),
            (outcome, attempts as i32, i32::from(status)),
            "{script}"
        );
    }
}

#[tokio::test]
async fn a_provider_that_does_not_begin_to_answer_is_not_waited_for_without_end() {
    let stand = Stand::with(&["sk-one", "sk-two"], Duration::from_millis(50)).await;
    let answer = stand.script("hang").await;
    assert_eq!(answer.status, 504);
    assert_eq!(stand.asked().len(), 1, "it may have been carried out: it is not repeated");
    let records = stand.records().await;
    assert_eq!((records.len(), records[0].outcome()), (1, Outcome::UpstreamFailed));
}

#[tokio::test]
async fn a_key_that_is_revoked_while_its_request_waits_is_refused() {
    let stand = Stand::new(&["sk-one"]).await;
    let waiting = stand.script("hang");
    let revoking = async {
        while stand.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        stand.revoke()
    };
    let (answer, cut) = tokio::join!(waiting, revoking);
    assert_eq!((answer.status, cut), (401, 1));
    assert_eq!(answer.headers["x-should-retry"], "false");
    assert!(answer.text.contains("was revoked"), "{}", answer.text);
    let records = stand.records().await;
    assert_eq!((records[0].outcome(), records[0].refusal.as_str()), (Outcome::Refused, "key_revoked"));
}

#[tokio::test]
async fn a_refused_request_reaches_no_provider_and_a_large_body_is_no_reset() {
    let stand = Stand::new(&["sk-one"]).await;
    let large = "x".repeat(8 * 1024 * 1024);
    for (path, body, headers, status) in [
        ("/v1/messages", "", vec![], 400),
        ("/v1/messages", BODY, vec![("x-api-key", "junk")], 401),
        ("/v1/messages", &large, vec![("x-api-key", "junk")], 401),
        ("/v1/messages", r#"{"model":"gpt-5","messages":[]}"#, vec![], 451),
        ("/v1/messages", BODY, vec![("content-encoding", "gzip")], 415),
        ("/v1/messages?key=tg_live_x", BODY, vec![], 400),
        ("/v1/unknown", &large, vec![], 404),
        ("/v1/models", BODY, vec![], 405),
    ] {
        let answer = stand.send(path, body, &headers).await;
        assert_eq!(answer.status, status, "{path} {headers:?}: {}", answer.text);
        assert_eq!(answer.headers["x-should-retry"], "false", "{path}");
    }
    assert!(stand.asked().is_empty());
    let records = stand.records().await;
    let refusals: Vec<_> = records.iter().map(|record| (record.refusal.as_str(), record.unidentified)).collect();
    let expect = [
        ("malformed", false),
        ("unauthenticated", true),
        ("unauthenticated", true),
        ("model_denied", false),
        ("malformed", true),
        ("malformed", false),
        ("unknown_route", true),
        ("method_not_allowed", true),
    ];
    assert_eq!(refusals, expect, "one record each, and nobody's where no key was looked for or known");
    assert!(records.iter().all(|record| record.outcome() == Outcome::Refused && record.cost_nano_usd == 0));
}

#[tokio::test]
async fn without_policy_or_when_drained_a_replica_says_so() {
    let stand = Stand::new(&["sk-one"]).await;
    stand.holder.set_draining(true);
    let answer = stand.script("").await;
    assert_eq!((answer.status, answer.headers["retry-after"].to_str().unwrap()), (503, "5"));
    stand.holder.set_draining(false);
    assert_eq!(stand.script("").await.status, StatusCode::OK.as_u16());
}

#[tokio::test]
async fn http_2_and_tls_are_served_as_the_client_chooses() {
    let stand = Stand::new(&["sk-one"]).await;
    let request = || {
        let request = Request::post(format!("http://{}/v1/messages", stand.address)).header("x-api-key", &stand.key);
        request.body(Full::new(Bytes::from(BODY))).unwrap()
    };
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let answer = client.request(request()).await.unwrap();
    assert_eq!((answer.version(), answer.status()), (http::Version::HTTP_2, StatusCode::OK));

    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&certificate, signed.cert.pem()).unwrap();
    std::fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    let acceptor = crate::listen::tls(&certificate, &key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(signed.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    for (offered, chosen) in
        [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"][..], Some("http/1.1")), (&[][..], None)]
    {
        let versions =
            rustls::ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let mut config = versions.unwrap().with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (near, far) = tokio::io::duplex(1 << 16);
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let (client, server) =
            tokio::join!(connector.connect("localhost".try_into().unwrap(), near), acceptor.accept(far));
        assert_eq!(client.unwrap().get_ref().1.alpn_protocol(), chosen.map(str::as_bytes));
        assert!(server.is_ok());
    }
    std::fs::write(&key, "no key").unwrap();
    assert!(crate::listen::tls(&certificate, &key).is_err_and(|error| error.to_string().contains("key.pem")));
}
