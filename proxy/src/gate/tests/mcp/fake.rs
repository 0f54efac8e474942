//! A server of tools that speaks the protocol over real HTTP: in the revision that it is made for, with what a test gives it to offer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::stream;
use tokio::sync::mpsc;

use super::*;

/// A server of tools.
pub(super) struct Fake {
    address: SocketAddr,
    state: Arc<State>,
    _serving: JoinSet<()>,
}

struct State {
    is_modern: bool,
    // Whether it gives sessions.
    is_stateful: bool,
    // Of the oldest transport: whose streams these are.
    streams: Option<Mutex<HashMap<String, mpsc::UnboundedSender<Bytes>>>>,
    tools: Mutex<Value>,
    seen: Mutex<Vec<(HeaderMap, Value)>>,
    sessions: AtomicU64,
    // Sessions of a number below have ended.
    ended: AtomicU64,
    is_down: AtomicBool,
    // By the tokens that are let in, what each is offered; `None`: everybody is.
    admitted: Mutex<Option<HashMap<String, Value>>>,
}

type Streamed = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

impl Fake {
    pub(super) async fn legacy() -> Self {
        Self::new(false, true, false).await
    }

    pub(super) async fn sse() -> Self {
        Self::new(false, false, true).await
    }

    pub(super) async fn modern() -> Self {
        Self::new(true, false, false).await
    }

    async fn new(is_modern: bool, is_stateful: bool, is_sse: bool) -> Self {
        let state = Arc::new(State {
            is_modern,
            is_stateful,
            streams: is_sse.then(Mutex::default),
            tools: Mutex::new(json!([
                tool("echo", "Says it again."),
                tool("delete_all", "Deletes."),
                tool("ask", "Asks.")
            ])),
            seen: Mutex::default(),
            sessions: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            is_down: AtomicBool::new(false),
            admitted: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mut serving, shared) = (JoinSet::new(), Arc::clone(&state));
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = service_fn(move |request| serve(request, Arc::clone(&state)));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, state, _serving: serving }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/mcp?tenant=1", self.address)
    }

    /// What it was sent, with the method.
    pub(super) fn seen(&self, method: &str) -> Vec<(HeaderMap, Value)> {
        let seen = self.state.seen.lock().unwrap();
        seen.iter().filter(|(_, message)| message["method"] == method).cloned().collect()
    }

    pub(super) fn all_seen(&self) -> Vec<(HeaderMap, Value)> {
        self.state.seen.lock().unwrap().clone()
    }

    pub(super) fn offer(&self, tools: Value) {
        *self.state.tools.lock().unwrap() = tools;
    }

    /// Lets only these tokens in from now on, each with its tools.
    pub(super) fn admit(&self, tokens: &[(&str, Value)]) {
        let tokens = tokens.iter().map(|(token, tools)| (format!("Bearer {token}"), tools.clone()));
        *self.state.admitted.lock().unwrap() = Some(tokens.collect());
    }

    /// Ends every session that it has given.
    pub(super) fn end_sessions(&self) {
        self.state.ended.store(self.state.sessions.load(Ordering::SeqCst) + 1, Ordering::SeqCst);
    }

    pub(super) fn go_down(&self) {
        self.state.is_down.store(true, Ordering::SeqCst);
    }
}

pub(super) fn tool(name: &str, description: &str) -> Value {
    json!({"name": name, "description": description, "inputSchema": {"type": "object"}})
}

async fn serve(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Streamed>, Infallible> {
    let Some(streams) = &state.streams else { return respond(request, &state).await };
    let (sender, receiver) = mpsc::unbounded_channel();
    if request.method() == http::Method::GET {
        let number = state.sessions.fetch_add(1, Ordering::SeqCst).to_string();
        sender.send(format!("event: endpoint\ndata: /mcp?tenant=1&stream={number}\n\n").into()).unwrap();
        streams.lock().unwrap().insert(number, sender);
        let frames = stream::unfold(receiver, |mut receiver: mpsc::UnboundedReceiver<Bytes>| async move {
            receiver.recv().await.map(|bytes| (Ok(Frame::data(bytes)), receiver))
        });
        let answer = Response::builder().header("content-type", "text/event-stream");
        return Ok(answer.body(StreamBody::new(frames).boxed_unsync()).unwrap());
    }
    let number = request.uri().query().unwrap().split('=').next_back().unwrap().to_owned();
    let answer = respond(request, &state).await?.into_body().collect().await?.to_bytes();
    if !answer.is_empty() {
        let event = [b"event: message\ndata: ", &answer[..], b"\n\n"].concat();
        streams.lock().unwrap()[&number].send(event.into()).unwrap();
    }
    Ok(whole(202, &Value::Null, None))
}

async fn respond(request: Request<Incoming>, state: &State) -> Result<Response<Streamed>, Infallible> {
    let (head, body) = request.into_parts();
    assert!(head.uri.query().unwrap().starts_with("tenant=1"), "the address stays whole");
    if state.is_down.load(Ordering::SeqCst) {
        return Ok(whole(503, &json!("down"), None));
    }
    let shown = head.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let own = match (&*state.admitted.lock().unwrap(), &shown) {
        (None, _) => None,
        (Some(admitted), Some(shown)) if admitted.contains_key(shown) => Some(admitted[shown].clone()),
        (Some(_), _) => return Ok(whole(401, &json!("who are you"), None)),
    };
    if head.method != http::Method::POST {
        return Ok(whole(405, &Value::Null, None));
    }
    let bytes = body.collect().await.unwrap().to_bytes();
    let message: Value = serde_json::from_slice(&bytes).unwrap();
    state.seen.lock().unwrap().push((head.headers.clone(), message.clone()));
    let session = head.headers.get("mcp-session-id").map(|value| value.to_str().unwrap().to_owned());
    let is_known =
        |session: &String| session.parse::<u64>().is_ok_and(|number| number >= state.ended.load(Ordering::SeqCst));
    let method = message["method"].as_str().unwrap_or_default();
    let begins = matches!(method, "initialize" | "server/discover");
    if state.is_stateful && !begins {
        match &session {
            None => {
                return Ok(whole(
                    400,
                    &json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32_000, "message": "No session"}}),
                    None,
                ));
            }
            Some(session) if !is_known(session) => return Ok(whole(404, &Value::Null, None)),
            Some(_) => {}
        }
    }
    if message.get("id").is_none() || message.get("method").is_none() {
        return Ok(whole(202, &Value::Null, None));
    }
    let (params, id) = (&message["params"], &message["id"]);
    let result = match method {
        "server/discover" if state.is_modern => json!({
            "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "private",
        }),
        "initialize" if !state.is_modern => {
            let number = state.sessions.fetch_add(1, Ordering::SeqCst) + 1;
            let number = number.max(state.ended.load(Ordering::SeqCst));
            state.sessions.store(number, Ordering::SeqCst);
            let result = json!({
                "protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "prompts": {}, "resources": {"subscribe": true}},
                "serverInfo": {"name": "fake", "version": "1"}, "instructions": "Be kind.",
            });
            let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
            return Ok(whole(200, &answer, state.is_stateful.then(|| number.to_string())));
        }
        "tools/list" => json!({"tools": own.unwrap_or_else(|| state.tools.lock().unwrap().clone())}),
        "prompts/list" => json!({"prompts": [{"name": "review"}, {"name": "secret"}]}),
        "resources/list" => json!({"resources": [{"uri": "file:///a", "name": "a"}]}),
        "resources/templates/list" => json!({"resourceTemplates": []}),
        "resources/read" => json!({"contents": [{"uri": params["uri"], "text": "inside"}]}),
        "prompts/get" => json!({"messages": [{"role": "user", "content": {"type": "text", "text": params["name"]}}]}),
        "tools/call" => return Ok(called(state, id, params)),
        _ => {
            return Ok(whole(
                200,
                &json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32_601, "message": "unknown"}}),
                None,
            ));
        }
    };
    Ok(whole(200, &json!({"jsonrpc": "2.0", "id": id, "result": result}), None))
}

fn called(state: &State, id: &Value, params: &Value) -> Response<Streamed> {
    let text = |text: String| json!({"content": [{"type": "text", "text": text}]});
    let mut result = match params["name"].as_str().unwrap_or_default() {
        "long" => text("x".repeat(10_000)),
        "link" => json!({"content": [{"type": "resource_link", "uri": "file:///a", "name": "a"}]}),
        "fails" => json!({"content": [{"type": "text", "text": "no"}], "isError": true}),
        "ask" => {
            let messages = [
                json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": params["_meta"]["progressToken"], "progress": 1}}),
                json!({"jsonrpc": "2.0", "id": 7, "method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": {}}}),
                json!({"jsonrpc": "2.0", "id": id, "result": text("asked".into())}),
            ];
            let events: String =
                messages.iter().map(|message| format!("event: message\ndata: {message}\n\n")).collect();
            let body = Full::from(format!("id: 1\ndata:\n\n{events}")).boxed_unsync();
            return Response::builder().header("content-type", "text/event-stream").body(body).unwrap();
        }
        _ => text(params["arguments"]["message"].as_str().unwrap_or_default().to_owned()),
    };
    if state.is_modern {
        result["resultType"] = "complete".into();
    }
    whole(200, &json!({"jsonrpc": "2.0", "id": id, "result": result}), None)
}

fn whole(status: u16, body: &Value, session: Option<String>) -> Response<Streamed> {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let mut answer = Response::builder().status(status).header("content-type", "application/json");
    if let Some(session) = session {
        answer = answer.header("mcp-session-id", session);
    }
    answer.body(Full::from(text).boxed_unsync()).unwrap()
}
