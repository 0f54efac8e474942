//! Any client reaches any provider: each dialect in, each dialect out, whole and streamed, with tools and across a fallback.

use serde_json::Value;
use tollgate_dialect::{
    Called, Dialect, Quirks,
    hub::{Begin, Block, Delta, Event, Json, Losses, Request, Role, Stop, Tool, ToolResult, Turn},
};
use tollgate_proto::admin::v1::{
    CreateProviderRequest, CreateRouteRequest, Credential, Provider, Route, RouteTarget, RouteTier,
};
use tollgate_tests::{
    client::{self, Answer},
    cluster::{Cluster, PROVIDER_SECRET},
    until,
};

// Where a simulator speaks a dialect, behind its address.
fn base(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Anthropic | Dialect::BedrockConverse => "",
        Dialect::OpenAiChat | Dialect::OpenAiResponses => "/v1",
        Dialect::Gemini => "/v1beta",
    }
}

// Where a client of a dialect sends.
fn path(dialect: Dialect, model: &str, stream: bool) -> String {
    match (dialect, stream) {
        (Dialect::Anthropic, _) => "/v1/messages".to_owned(),
        (Dialect::OpenAiChat, _) => "/v1/chat/completions".to_owned(),
        (Dialect::OpenAiResponses, _) => "/v1/responses".to_owned(),
        (Dialect::Gemini, false) => format!("/v1beta/models/{model}:generateContent"),
        (Dialect::Gemini, true) => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
        (Dialect::BedrockConverse, false) => format!("/model/{model}/converse"),
        (Dialect::BedrockConverse, true) => format!("/model/{model}/converse-stream"),
    }
}

// A provider of each dialect; the model `<word>-model` is the one that it alone serves.
async fn furnish(cluster: &Cluster, key: &str) {
    for dialect in Dialect::ALL {
        let credential = Credential { name: "one".into(), secret: PROVIDER_SECRET.into(), ..Default::default() };
        let provider = Provider {
            name: format!("up-{}", dialect.word()),
            dialect: dialect.word().into(),
            base_url: format!("http://{}{}", cluster.simulator.addr(), base(dialect)),
            allow_private: true,
            models: vec![format!("{}-*", dialect.word())],
            // Ahead of the cluster's own, which serves every model.
            priority: -1,
            credentials: vec![credential],
            ..Default::default()
        };
        let request = CreateProviderRequest { provider: Some(provider) };
        cluster.admin.providers().create_provider(request).await.unwrap();
    }
    cluster.admin.converged(1).await;
    // Secrets come beside the snapshot: until one is there, the cluster's own provider answers in its place.
    for dialect in Dialect::ALL {
        let model = format!("{}-model", dialect.word());
        until("the provider to be used", || async {
            send(cluster, key, Dialect::Anthropic, &asked(&model, "hi", false)).await;
            (called_last(cluster).await == upstream(dialect, &model, false)).then_some(())
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

async fn send(cluster: &Cluster, key: &str, client: Dialect, request: &Request<'_>) -> Answer {
    let request = Request { dialect: client, ..request.clone() };
    let body = client.encode_request(&request, &Quirks::default(), &mut Losses::new(client));
    let url = format!("{}{}", cluster.replicas[0].url, path(client, &request.model, request.stream));
    let http = cluster.http.post(url).header("content-type", "application/json").bearer_auth(key);
    client::read(http.header("anthropic-version", "2023-06-01").body(body)).await
}

// The path that a provider was last called at.
async fn called_last(cluster: &Cluster) -> String {
    let ledger = format!("http://{}/simulator/ledger", cluster.simulator.addr());
    let ledger = client::read(cluster.http.get(ledger)).await.json();
    ledger["entries"].as_array().unwrap().last().unwrap()["path"].as_str().unwrap().to_owned()
}

// Where a provider of a dialect is called.
fn upstream(dialect: Dialect, model: &str, stream: bool) -> String {
    path(dialect, model, stream).split('?').next().unwrap().to_owned()
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

fn read(client: Dialect, stream: bool, body: &[u8]) -> Said {
    let mut said = Said::default();
    if !stream {
        let answer =
            client.decode_answer(body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)));
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
    let mut decoder = client.stream_decoder();
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
    decoder.push(body, &mut take);
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
    for client in Dialect::ALL {
        for provider in Dialect::ALL {
            for stream in [false, true] {
                let name = format!("{} -> {}, stream {stream}", client.word(), provider.word());
                let model = format!("{}-model", provider.word());
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
fn answered<'a>(client: Dialect, request: &Request<'a>, stream: bool, body: &[u8]) -> Request<'a> {
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
        let (mut open, mut decoder) = (None, client.stream_decoder());
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
        decoder.push(body, &mut take);
        decoder.end(&mut take);
    } else {
        for block in client.decode_answer(body).unwrap().blocks {
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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_says_is_wrong_reaches_the_client_in_its_own_words() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    furnish(&cluster, &key).await;
    for client in Dialect::ALL {
        for provider in Dialect::ALL {
            let name = format!("{} -> {}", client.word(), provider.word());
            let model = format!("{}-model", provider.word());
            let answer = send(&cluster, &key, client, &asked(&model, "[[simulate status=400]]", false)).await;
            assert_eq!(answer.status.as_u16(), 400, "{name}: {}", answer.text());
            let failure = client.decode_error(400, &answer.body);
            assert!(!failure.message.is_empty(), "{name}: {}", answer.text());
            // A refusal of our own too.
            let answer = send(&cluster, "tg_live_nobody", client, &asked(&model, "hi", false)).await;
            let failure = client.decode_error(401, &answer.body);
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
    let target = |dialect: Dialect| RouteTarget {
        provider: format!("up-{}", dialect.word()),
        model: format!("{}-model", dialect.word()),
        weight: 1,
    };
    let tier = |dialect: Dialect| RouteTier { targets: vec![target(dialect)], on: Vec::new() };
    // Each with a first provider of its own: one that was turned away is left alone for a while.
    let whole = ("whole", Dialect::OpenAiChat, "/v1/chat/completions", false);
    let streamed = ("streamed", Dialect::OpenAiResponses, "/v1/responses", true);
    for (model, first, ..) in [whole, streamed] {
        let tiers = vec![tier(first), tier(Dialect::Gemini)];
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
        let answer = send(&cluster, &key, Dialect::Anthropic, &asked(model, "Say hello.", stream)).await;
        let said = read(Dialect::Anthropic, stream, &answer.body);
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
    let answer = send(&cluster, &key, Dialect::Anthropic, &asked("gemini-model", cut, true)).await;
    assert!(answer.text().contains("event: error"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dialect_cannot_express_is_named_and_refused_by_a_strict_route() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    furnish(&cluster, &key).await;
    let mut request = asked("openai_chat-model", "Say hello.", false);
    request.sampling.top_k = Some(5);
    let answer = send(&cluster, &key, Dialect::Anthropic, &request).await;
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
    let answer = send(&cluster, &key, Dialect::Anthropic, &request).await;
    assert_eq!(answer.status.as_u16(), 451, "{}", answer.text());
    assert!(answer.sentence().contains("top_k"), "{}", answer.sentence());
    let called = Called::default();
    assert!(Dialect::Anthropic.decode_request(&called, br#"{"model":"m","messages":[]}"#).is_ok());
    request.sampling.top_k = None;
    let answer = send(&cluster, &key, Dialect::Anthropic, &request).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
}
