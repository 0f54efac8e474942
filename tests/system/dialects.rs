//! Any client reaches any provider: each dialect in, each dialect out, whole and streamed, with tools and across a fallback.

use serde_json::{Value, json};
use tollgate_dialect::{
    Called, Dialect, Quirks,
    bedrock::invoke::{self, FramesToEvents},
    hub::{Begin, Block, Delta, Event, Json, Losses, Request, Role, Stop, Tool, ToolResult, Turn},
    vertex,
};
use tollgate_proto::{
    admin::v1::{
        Budget, CreateProviderRequest, CreateRouteRequest, Credential, Key, Provider, Route, RouteTarget, RouteTier,
    },
    usage::v1::Dimension,
};
use tollgate_tests::{
    client::{self, Answer},
    cluster::{Cluster, PROVIDER_SECRET},
    until,
};

/// One who speaks, a client or a provider: a dialect, and the form in which it is carried.
#[derive(Clone, Copy, Debug)]
struct Side {
    word: &'static str,
    dialect: Dialect,
    form: Form,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Plain,
    /// In Bedrock's InvokeModel, streams in frames.
    Bedrock,
    /// In Vertex's `rawPredict`.
    Vertex,
    /// Streams are the elements of one JSON list.
    List,
    /// Below the paths of Vertex.
    Published,
}

const fn side(word: &'static str, dialect: Dialect, form: Form) -> Side {
    Side { word, dialect, form }
}

const ANTHROPIC: Side = side("anthropic", Dialect::Anthropic, Form::Plain);
const CHAT: Side = side("openai_chat", Dialect::OpenAiChat, Form::Plain);
const RESPONSES: Side = side("openai_responses", Dialect::OpenAiResponses, Form::Plain);
const GEMINI: Side = side("gemini", Dialect::Gemini, Form::Plain);
const CONVERSE: Side = side("bedrock_converse", Dialect::BedrockConverse, Form::Plain);
const INVOKE: Side = side("bedrock_invoke", Dialect::Anthropic, Form::Bedrock);
const RAW_PREDICT: Side = side("vertex_anthropic", Dialect::Anthropic, Form::Vertex);
const PROVIDERS: [Side; 7] = [ANTHROPIC, CHAT, RESPONSES, GEMINI, CONVERSE, INVOKE, RAW_PREDICT];
const CLIENTS: [Side; 9] = [
    ANTHROPIC,
    CHAT,
    RESPONSES,
    GEMINI,
    CONVERSE,
    INVOKE,
    RAW_PREDICT,
    side("gemini list", Dialect::Gemini, Form::List),
    side("gemini on vertex", Dialect::Gemini, Form::Published),
];

const PLACE: &str = "/v1/projects/p/locations/l/publishers";

// Where a simulator speaks a dialect, behind its address.
fn base(provider: Side) -> String {
    match (provider.form, provider.dialect) {
        (Form::Vertex, _) => format!("{PLACE}/anthropic"),
        (_, Dialect::Anthropic | Dialect::BedrockConverse) => String::new(),
        (_, Dialect::OpenAiChat | Dialect::OpenAiResponses) => "/v1".to_owned(),
        (_, Dialect::Gemini) => "/v1beta".to_owned(),
    }
}

// Where one sends who speaks so.
fn path(side: Side, model: &str, stream: bool) -> String {
    match (side.form, side.dialect, stream) {
        (Form::Bedrock, _, false) => format!("/model/{model}/invoke"),
        (Form::Bedrock, _, true) => format!("/model/{model}/invoke-with-response-stream"),
        (Form::Vertex, _, false) => format!("{PLACE}/anthropic/models/{model}:rawPredict"),
        (Form::Vertex, _, true) => format!("{PLACE}/anthropic/models/{model}:streamRawPredict"),
        (Form::List, _, true) => format!("/v1beta/models/{model}:streamGenerateContent"),
        (Form::Published, _, false) => format!("{PLACE}/google/models/{model}:generateContent"),
        (Form::Published, _, true) => format!("{PLACE}/google/models/{model}:streamGenerateContent?alt=sse"),
        (_, Dialect::Anthropic, _) => "/v1/messages".to_owned(),
        (_, Dialect::OpenAiChat, _) => "/v1/chat/completions".to_owned(),
        (_, Dialect::OpenAiResponses, _) => "/v1/responses".to_owned(),
        (_, Dialect::Gemini, false) => format!("/v1beta/models/{model}:generateContent"),
        (_, Dialect::Gemini, true) => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
        (_, Dialect::BedrockConverse, false) => format!("/model/{model}/converse"),
        (_, Dialect::BedrockConverse, true) => format!("/model/{model}/converse-stream"),
    }
}

fn provider(cluster: &Cluster, side: Side, name: &str, models: &str) -> CreateProviderRequest {
    let credential = Credential { name: "one".into(), secret: PROVIDER_SECRET.into(), ..Default::default() };
    let provider = Provider {
        name: name.into(),
        dialect: side.word.into(),
        base_url: format!("http://{}{}", cluster.simulator.addr(), base(side)),
        allow_private: true,
        models: vec![models.into()],
        // Ahead of the cluster's own, which serves every model.
        priority: -1,
        credentials: vec![credential],
        ..Default::default()
    };
    CreateProviderRequest { provider: Some(provider) }
}

// A provider of each dialect; the model `<word>-model` is the one that it alone serves.
async fn furnish(cluster: &Cluster, key: &str) {
    for side in PROVIDERS {
        let request = provider(cluster, side, &format!("up-{}", side.word), &format!("{}-*", side.word));
        cluster.admin.providers().create_provider(request).await.unwrap();
    }
    cluster.admin.converged(1).await;
    // Secrets come beside the snapshot: until one is there, the cluster's own provider answers in its place.
    for side in PROVIDERS {
        let model = format!("{}-model", side.word);
        until("the provider to be used", || async {
            send(cluster, key, ANTHROPIC, &asked(&model, "hi", false)).await;
            (called_last(cluster).await == upstream(side, &model, false)).then_some(())
        })
        .await;
    }
}

fn asked(model: &str, text: &str, stream: bool) -> Request<'static> {
    let schema = r#"{"type":"object","properties":{"command":{"type":"string"}},"required":["command"]}"#;
    Request {
        model: model.to_owned().into(),
        turns: vec![Turn { role: Role::User, blocks: vec![Block::text(text.to_owned())] }],
        tools: vec![Tool::Function {
            name: "Bash".into(),
            description: Some("Runs a command.".into()),
            input_schema: Json::parse(schema).unwrap(),
            strict: None,
            cache: None,
            rest: Vec::new(),
        }],
        output_tokens_max: Some(256),
        stream,
        ..Request::default()
    }
}

async fn send(cluster: &Cluster, key: &str, client: Side, request: &Request<'_>) -> Answer {
    let request = Request { dialect: client.dialect, ..request.clone() };
    let body = client.dialect.encode_request(&request, &Quirks::default(), &mut Losses::new(client.dialect));
    let body = match client.form {
        Form::Bedrock => invoke::from_messages(&body, []).unwrap().body,
        Form::Vertex => vertex::from_messages(&body).unwrap().body,
        Form::Plain | Form::List | Form::Published => body,
    };
    let url = format!("{}{}", cluster.replicas[0].url, path(client, &request.model, request.stream));
    let http = cluster.http.post(url).header("content-type", "application/json").bearer_auth(key);
    client::read(http.header("anthropic-version", "2023-06-01").body(body)).await
}

// The events of a stream, out of the client's frames; and that a list is one.
fn events(client: Side, body: &[u8]) -> Vec<u8> {
    match client.form {
        Form::Bedrock => {
            let (mut reader, mut out) = (FramesToEvents::default(), Vec::new());
            reader.push(body, &mut out);
            reader.end(&mut out);
            out
        }
        Form::List => {
            let list: Vec<Value> = serde_json::from_slice(body)
                .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)));
            assert!(!list.is_empty());
            body.to_vec()
        }
        Form::Plain | Form::Vertex | Form::Published => body.to_vec(),
    }
}

// The path that a provider was last called at.
async fn called_last(cluster: &Cluster) -> String {
    let ledger = format!("http://{}/simulator/ledger", cluster.simulator.addr());
    let ledger = client::read(cluster.http.get(ledger)).await.json();
    ledger["entries"].as_array().unwrap().last().unwrap()["path"].as_str().unwrap().to_owned()
}

// Where a provider of a dialect is called.
fn upstream(provider: Side, model: &str, stream: bool) -> String {
    path(provider, model, stream).split('?').next().unwrap().to_owned()
}

// What an answer says, in one form for all: texts, calls with their arguments, and why it ended.
#[derive(Debug, Default, Eq, PartialEq)]
struct Said {
    text: String,
    calls: Vec<(String, String)>,
    stop: String,
    is_done: bool,
    output_tokens: u64,
}

fn read(client: Side, stream: bool, body: &[u8]) -> Said {
    let mut said = Said::default();
    if !stream {
        let answer = client
            .dialect
            .decode_answer(body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)));
        for block in &answer.blocks {
            match block {
                Block::Text { text, .. } => said.text.push_str(text),
                Block::ToolUse(tool) => said.calls.push((tool.name.to_string(), tool.input.get().to_owned())),
                _ => {}
            }
        }
        said.stop = format!("{:?}", answer.stop.unwrap());
        (said.is_done, said.output_tokens) = (true, answer.usage.counters.output);
        return said;
    }
    let mut decoder = client.dialect.stream_decoder();
    let mut take = |event: Event<'_>| match event {
        Event::Begin(Begin::ToolUse { name, .. }) => said.calls.push((name.to_string(), String::new())),
        Event::Delta(Delta::Text(text)) => said.text.push_str(&text),
        Event::Delta(Delta::Input(text)) => said.calls.last_mut().unwrap().1.push_str(&text),
        Event::Stop { stop, usage } => {
            said.stop = format!("{stop:?}");
            said.output_tokens = usage.counters.output;
        }
        Event::Done => said.is_done = true,
        Event::Failed { message, .. } => panic!("{message:?}: {}", String::from_utf8_lossy(body)),
        _ => {}
    };
    decoder.push(&events(client, body), &mut take);
    decoder.end(&mut take);
    said
}

fn arguments(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_is_answered_by_each_provider_in_its_own_dialect() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    furnish(&cluster, &key).await;
    for client in CLIENTS {
        for provider in PROVIDERS {
            for stream in [false, true] {
                let name = format!("{} -> {}, stream {stream}", client.word, provider.word);
                let model = format!("{}-model", provider.word);
                let text = r#"[[simulate text="Grüße, \"you\".\nBye." output-tokens=17]]"#;
                let answer = send(&cluster, &key, client, &asked(&model, text, stream)).await;
                assert_eq!((answer.status.as_u16(), answer.ended), (200, true), "{name}: {}", answer.text());
                assert!(answer.header("request-id").starts_with("req_"), "{name}");
                let said = read(client, stream, &answer.body);
                assert_eq!((&*said.text, said.is_done), ("Grüße, \"you\".\nBye.", true), "{name}");
                assert_eq!((said.stop, said.output_tokens), (format!("{:?}", Stop::EndTurn), 17), "{name}");

                let text = r#"[[simulate tool=Bash command="echo \"hi\""]]"#;
                let request = asked(&model, text, stream);
                let answer = send(&cluster, &key, client, &request).await;
                let said = read(client, stream, &answer.body);
                assert_eq!(said.stop, format!("{:?}", Stop::ToolUse), "{name}: {}", answer.text());
                let [(tool, input)] = said.calls.as_slice() else { panic!("{name}: {said:?}") };
                assert_eq!(
                    (&**tool, arguments(input)),
                    ("Bash", serde_json::json!({"command": "echo \"hi\""})),
                    "{name}"
                );

                assert_eq!(called_last(&cluster).await, upstream(provider, &model, stream), "{name}");

                // The call goes back with its result, and the model speaks.
                let answer = send(&cluster, &key, client, &answered(client, &request, stream, &answer.body)).await;
                let said = read(client, stream, &answer.body);
                assert_eq!((answer.status.as_u16(), said.calls.len()), (200, 0), "{name}: {}", answer.text());
                assert!(!said.text.is_empty() && said.is_done, "{name}: {}", answer.text());
            }
        }
    }
}

// The conversation behind the call of a tool, as a client of the dialect goes on with it.
fn answered<'a>(client: Side, request: &Request<'a>, stream: bool, body: &[u8]) -> Request<'a> {
    let (mut blocks, mut results) = (Vec::new(), Vec::new());
    let mut call = |id: String, name: String, input: &str| {
        let result = ToolResult {
            tool_use_id: id.clone().into(),
            blocks: vec![Block::text("hi")],
            is_error: false,
            cache: None,
        };
        results.push(Block::ToolResult(Box::new(result)));
        let input = Json::parse(input).unwrap().into_owned();
        let tool =
            tollgate_dialect::hub::ToolUse { id: id.into(), name: name.into(), input, signature: None, cache: None };
        blocks.push(Block::ToolUse(Box::new(tool)));
    };
    if stream {
        let (mut open, mut decoder) = (None, client.dialect.stream_decoder());
        let mut take = |event: Event<'_>| match event {
            Event::Begin(Begin::ToolUse { id, name, .. }) => {
                open = Some((id.to_string(), name.to_string(), String::new()))
            }
            Event::Delta(Delta::Input(text)) => open.as_mut().unwrap().2.push_str(&text),
            Event::End => {
                if let Some((id, name, input)) = open.take() {
                    call(id, name, &input);
                }
            }
            _ => {}
        };
        decoder.push(&events(client, body), &mut take);
        decoder.end(&mut take);
    } else {
        for block in client.dialect.decode_answer(body).unwrap().blocks {
            if let Block::ToolUse(tool) = block {
                call(tool.id.to_string(), tool.name.to_string(), tool.input.get());
            }
        }
    }
    let mut request = request.clone();
    request.turns.push(Turn { role: Role::Assistant, blocks });
    request.turns.push(Turn { role: Role::User, blocks: results });
    request
}

// In which dialect a client is told what is wrong.
fn errors(client: Side) -> Dialect {
    if client.form == Form::Bedrock { Dialect::BedrockConverse } else { client.dialect }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_says_is_wrong_reaches_the_client_in_its_own_words() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    furnish(&cluster, &key).await;
    for client in CLIENTS {
        for provider in PROVIDERS {
            let name = format!("{} -> {}", client.word, provider.word);
            let model = format!("{}-model", provider.word);
            let answer = send(&cluster, &key, client, &asked(&model, "[[simulate status=400]]", false)).await;
            assert_eq!(answer.status.as_u16(), 400, "{name}: {}", answer.text());
            let failure = errors(client).decode_error(400, &answer.body);
            assert!(!failure.message.is_empty(), "{name}: {}", answer.text());
            if errors(client) == Dialect::BedrockConverse {
                assert_eq!(answer.header("x-amzn-errortype"), "ValidationException", "{name}");
                assert_eq!(answer.header("x-amzn-requestid"), answer.header("request-id"), "{name}");
            }
            // A refusal of our own too.
            let answer = send(&cluster, "tg_live_nobody", client, &asked(&model, "hi", false)).await;
            let failure = errors(client).decode_error(401, &answer.body);
            assert_eq!(answer.status.as_u16(), 401, "{name}");
            assert!(failure.message.contains("Tollgate key"), "{name}: {}", answer.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_overloaded_is_passed_over_without_the_client_knowing() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    furnish(&cluster, &key).await;
    let target = |side: Side| RouteTarget {
        provider: format!("up-{}", side.word),
        model: format!("{}-model", side.word),
        weight: 1,
    };
    let tier = |side: Side| RouteTier { targets: vec![target(side)], on: Vec::new() };
    // Each with a first provider of its own: one that was turned away is left alone for a while.
    let whole = ("whole", CHAT, "/v1/chat/completions", false);
    let streamed = ("streamed", RESPONSES, "/v1/responses", true);
    for (model, first, ..) in [whole, streamed] {
        let tiers = vec![tier(first), tier(GEMINI)];
        let route = Route { name: model.into(), models: vec![model.into()], tiers, ..Default::default() };
        cluster.admin.routes().create_route(CreateRouteRequest { route: Some(route) }).await.unwrap();
    }
    cluster.admin.converged(1).await;
    let plan = |path: &str| {
        let fault = serde_json::json!({"next": 1, "path": path, "settings": {"status": 529}});
        cluster.http.post(format!("http://{}/simulator/faults", cluster.simulator.addr())).json(&fault).send()
    };
    for (model, _, path, stream) in [whole, streamed] {
        plan(path).await.unwrap();
        let answer = send(&cluster, &key, ANTHROPIC, &asked(model, "Say hello.", stream)).await;
        let said = read(ANTHROPIC, stream, &answer.body);
        assert_eq!((answer.status.as_u16(), said.is_done), (200, true), "{}", answer.text());
        let ledger = client::read(cluster.http.get(format!("http://{}/simulator/ledger", cluster.simulator.addr())))
            .await
            .json();
        let entries = ledger["entries"].as_array().unwrap().clone();
        let [.., first, second] = entries.as_slice() else { panic!("{ledger}") };
        assert_eq!((&first["status"], &second["status"]), (&529.into(), &200.into()), "{ledger}");
        assert!(second["path"].as_str().unwrap().contains("gemini-model"), "{second}");
    }
    // Behind the first byte there is no second attempt: the client is told.
    let cut = "[[simulate events=20 cut=8]]";
    let answer = send(&cluster, &key, ANTHROPIC, &asked("gemini-model", cut, true)).await;
    assert!(answer.text().contains("event: error"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dialect_cannot_express_is_named_and_refused_by_a_strict_route() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    furnish(&cluster, &key).await;
    let mut request = asked("openai_chat-model", "Say hello.", false);
    request.sampling.top_k = Some(5);
    let answer = send(&cluster, &key, ANTHROPIC, &request).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-approximated")), (200, "top_k=dropped"));
    let target = RouteTarget { provider: "up-openai_chat".into(), model: "openai_chat-model".into(), weight: 1 };
    let route = Route {
        name: "strict".into(),
        models: vec!["exact".into()],
        strict: true,
        tiers: vec![RouteTier { targets: vec![target], on: Vec::new() }],
        ..Default::default()
    };
    cluster.admin.routes().create_route(CreateRouteRequest { route: Some(route) }).await.unwrap();
    cluster.admin.converged(1).await;
    request.model = "exact".into();
    let answer = send(&cluster, &key, ANTHROPIC, &request).await;
    assert_eq!(answer.status.as_u16(), 451, "{}", answer.text());
    assert!(answer.sentence().contains("top_k"), "{}", answer.sentence());
    let called = Called::default();
    assert!(Dialect::Anthropic.decode_request(&called, br#"{"model":"m","messages":[]}"#).is_ok());
    request.sampling.top_k = None;
    let answer = send(&cluster, &key, ANTHROPIC, &request).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_counted_where_the_provider_counts_and_estimated_elsewhere() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    furnish(&cluster, &key).await;
    // Not the cluster's own provider, which serves every model and counts.
    let providers = PROVIDERS.iter().map(|provider| format!("up-{}", provider.word)).collect();
    let key = Key { name: "counted".into(), team: "platform".into(), providers, ..Default::default() };
    let key = cluster.admin.key_with(key).await.secret;
    cluster.admin.converged(1).await;
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]});
    let messages = json!([{"role": "user", "content": "Say hello."}]);
    for provider in PROVIDERS {
        let model = format!("{}-model", provider.word);
        let is_exact = matches!(provider.word, "anthropic" | "vertex_anthropic" | "gemini");
        for (path, body, field) in [
            ("/v1/messages/count_tokens".to_owned(), json!({"model": model, "messages": messages}), "input_tokens"),
            (
                format!("{PLACE}/anthropic/models/count-tokens:rawPredict"),
                json!({"model": model, "messages": messages, "anthropic_version": "vertex-2023-10-16"}),
                "input_tokens",
            ),
            (format!("/v1beta/models/{model}:countTokens"), contents.clone(), "totalTokens"),
        ] {
            let url = format!("{}{path}", cluster.replicas[0].url);
            let answer = client::read(cluster.http.post(url).bearer_auth(&key).json(&body)).await;
            assert_eq!(answer.status.as_u16(), 200, "{path} {model}: {}", answer.text());
            assert!(
                answer.json()[field].as_u64().is_some_and(|tokens| tokens > 0),
                "{path} {model}: {}",
                answer.text()
            );
            let told = if is_exact { "" } else { "input_tokens=approximated" };
            assert_eq!(answer.header("x-tollgate-approximated"), told, "{path} {model}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_are_priced_by_the_catalogue_and_kept_within_budgets() {
    let cluster = Cluster::small().await;
    let model = "text-embedding-3-small";
    let request = provider(&cluster, CHAT, "embedder", "text-embedding-*");
    cluster.admin.providers().create_provider(request).await.unwrap();
    let budget = |limit_nano_usd| Budget { limit_nano_usd, window: "1d".into(), ..Default::default() };
    let key = |name: &str, limit| Key {
        name: name.into(),
        team: "platform".into(),
        budgets: vec![budget(limit)],
        ..Default::default()
    };
    let rich = cluster.admin.key_with(key("rich", 10_000_000)).await.secret;
    let poor = cluster.admin.key_with(key("poor", 1_000)).await.secret;
    cluster.admin.converged(1).await;
    let ask = |key: &str, model: &str| {
        let url = format!("{}/v1/embeddings", cluster.replicas[0].url);
        let body = json!({"model": model, "input": ["Say hello.", "Say goodbye."]});
        client::read(cluster.http.post(url).bearer_auth(key).header("x-simulator-input-tokens", "1000").json(&body))
    };
    until("the provider's secret", || async { (ask(&rich, model).await.status == 200).then_some(()) }).await;
    let answer = ask(&rich, model).await;
    assert_eq!((answer.status.as_u16(), answer.json()["data"].as_array().unwrap().len()), (200, 2));
    let record = cluster.admin.records_at_least(1, "key=rich AND outcome=completed").await.remove(0).record.unwrap();
    // A thousand tokens at two cents a million.
    assert_eq!((record.operation.as_str(), record.cost_nano_usd, record.unpriced), ("embeddings", 20_000, false));
    let answer = ask(&poor, model).await;
    assert_eq!(answer.status.as_u16(), 429, "{}", answer.text());
    assert!(answer.sentence().contains("budget of the key \"poor\""), "{}", answer.text());
    let answer = ask(&rich, "text-embedding-of-nobody").await;
    assert_eq!(answer.status.as_u16(), 451, "{}", answer.text());
    assert!(answer.sentence().contains("price"), "{}", answer.text());
    let spent = cluster.admin.summary(Dimension::Model).await;
    assert!(spent.iter().any(|row| row.id == model && row.cost_nano_usd > 0), "{spent:?}");
}
