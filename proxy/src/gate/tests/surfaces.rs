//! What clients send besides Messages, through all rooms, to providers of their own dialect and of others.

use tollgate_audit::Entry;
use tollgate_dialect::{
    Dialect as Spoken,
    bedrock::invoke::{EventsToFrames, FramesToEvents},
    hub::{Event, Tally},
};
use tollgate_policy::{
    budget::Enforcement,
    money::NanoUsd,
    snapshot::{Model, Quota},
};

use super::{
    audit::{budget, model},
    *,
};

const STREAM: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-x\",\"content\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n\
event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"pong\"}}\n\n\
event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":5}}\n\n\
event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const SPOKEN: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"pong"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":5}}"#;
const GENERATED: &str = r#"{"candidates":[{"content":{"parts":[{"text":"pong"}],"role":"model"},"index":0,"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":5,"totalTokenCount":8},"modelVersion":"claude-x","responseId":"r"}"#;
const EMBEDDED: &str = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1]}],"model":"claude-x","usage":{"prompt_tokens":8,"total_tokens":8}}"#;

const BEDROCK: &str = r#"{"anthropic_version":"bedrock-2023-05-31", "anthropic_beta":["a-1","b-2"],"max_tokens":9,"messages":[{"role":"user","content":"ping"}]}"#;
const VERTEX: &str =
    r#"{"anthropic_version":"vertex-2023-10-16", "max_tokens":9,"messages":[{"role":"user","content":"ping"}]}"#;
const VERTEX_STREAM: &str = r#"{"stream":true,"anthropic_version":"vertex-2023-10-16", "max_tokens":9,"messages":[{"role":"user","content":"ping"}]}"#;
const VERTEX_COUNT: &str =
    r#"{"model":"claude-x","anthropic_version":"vertex-2023-10-16", "messages":[{"role":"user","content":"ping"}]}"#;
const GEMINI: &str = r#"{"contents":[ {"role":"user","parts":[{"text":"ping"}]}]}"#;
const EMBED: &str = r#"{"model":"claude-x", "input":["ping","pong"]}"#;
const PLACE: &str = "/v1/projects/p/locations/l/publishers";

/// What a provider usually answers at a path.
pub(super) fn usual(path: &str, body: &[u8]) -> (&'static str, Vec<u8>) {
    let has = |text: &str| path.contains(text);
    let json = |text: &str| ("application/json", text.as_bytes().to_vec());
    let is_streamed = || String::from_utf8_lossy(body).contains("\"stream\":true");
    if has("/invoke-with-response-stream") {
        return ("application/vnd.amazon.eventstream", frames(STREAM));
    }
    if has(":streamRawPredict") || path.ends_with("/v1/messages") && is_streamed() {
        return ("text/event-stream", STREAM.as_bytes().to_vec());
    }
    if has(":streamGenerateContent") && has("alt=sse") {
        return ("text/event-stream", format!("data: {GENERATED}\r\n\r\n").into_bytes());
    }
    match path {
        _ if has(":streamGenerateContent") => json(&format!("[{GENERATED}\n]")),
        _ if has(":generateContent") => json(GENERATED),
        _ if has(":countTokens") => json(r#"{"totalTokens": 31}"#),
        _ if has("count_tokens") || has("count-tokens") => json(r#"{"input_tokens": 32}"#),
        _ if has("/responses/input_tokens") => json(r#"{"object": "response.input_tokens", "input_tokens": 33}"#),
        _ if has("/embeddings") => json(EMBEDDED),
        _ if has("/invoke") || has(":rawPredict") => json(SPOKEN),
        _ => json(WHOLE),
    }
}

fn frames(events: &str) -> Vec<u8> {
    let mut out = Vec::new();
    EventsToFrames::default().push(events.as_bytes(), &mut out);
    out
}

pub(super) fn events(frames: &[u8]) -> String {
    let (mut reader, mut out) = (FramesToEvents::default(), Vec::new());
    reader.push(frames, &mut out);
    reader.end(&mut out);
    String::from_utf8(out).unwrap()
}

// What a stream of a dialect comes to.
fn tallied(dialect: Spoken, bytes: &[u8]) -> (u64, u64, bool, Option<String>) {
    let (mut decoder, mut tally, mut failed) = (dialect.stream_decoder(), Tally::default(), None);
    let mut see = |event: Event<'_>| {
        if let Event::Failed { message, .. } = &event {
            failed = Some(message.to_string());
        }
        tally.see(&event);
    };
    decoder.push(bytes, &mut see);
    decoder.end(&mut see);
    let metered = tally.metered();
    (metered.counters.input, metered.counters.output, metered.complete, failed)
}

impl Stand {
    // A stand whose provider speaks this, behind a base URL that ends so, and serves every model; its key may ask for each.
    pub(super) async fn speaking(dialect: Dialect, suffix: &str) -> Self {
        let stand = Self::new(&["sk-one"]).await;
        let current = stand.holder.load().unwrap();
        let provider = current.snapshot.providers()[0].as_ref().clone();
        let base_url = format!("{}{suffix}", provider.base_url).into();
        let models = Patterns::parse(&["*"]).unwrap();
        stand.put(vec![Object::Provider(Provider { dialect, base_url, models, ..provider }), Object::Model(model())]);
        stand.set_quota(None);
        stand
    }

    fn set_quota(&self, quota: Option<Quota>) {
        let id = KeyId::from_ulid(&format!("{ULID}k")).unwrap();
        let key = self.holder.load().unwrap().snapshot.key_by_id(&id).unwrap().as_ref().clone();
        self.put(vec![Object::Key(Key { models: Patterns::default(), quota: quota.map(Arc::new), ..key })]);
    }
}

#[tokio::test]
async fn each_surface_passes_byte_for_byte_to_a_provider_that_has_it() {
    let google = format!("{PLACE}/google");
    let anthropic = format!("{PLACE}/anthropic");
    let at = |publisher: &str, rest: &str| format!("{PLACE}/{publisher}/models/{rest}");
    for (dialect, suffix, path, body, expect, operation, tokens) in [
        (
            Dialect::BedrockInvoke,
            "",
            "/model/claude-x%3A0/invoke".to_owned(),
            BEDROCK,
            "/model/claude-x%3A0/invoke",
            "invoke",
            (3, 5),
        ),
        (
            Dialect::BedrockInvoke,
            "",
            "/bedrock/model/claude-x/invoke-with-response-stream".to_owned(),
            BEDROCK,
            "/model/claude-x/invoke-with-response-stream",
            "invoke",
            (3, 5),
        ),
        (
            Dialect::VertexAnthropic,
            &anthropic,
            at("anthropic", "claude-x@1:rawPredict"),
            VERTEX,
            "/models/claude-x%401:rawPredict",
            "raw_predict",
            (3, 5),
        ),
        (
            Dialect::VertexAnthropic,
            &anthropic,
            format!("/vertex{}", at("anthropic", "claude-x:streamRawPredict")),
            VERTEX_STREAM,
            "/models/claude-x:streamRawPredict",
            "raw_predict",
            (3, 5),
        ),
        (
            Dialect::VertexAnthropic,
            &anthropic,
            at("anthropic", "count-tokens:rawPredict"),
            VERTEX_COUNT,
            "/models/count-tokens:rawPredict",
            "raw_predict_count_tokens",
            (0, 0),
        ),
        (
            Dialect::Gemini,
            &google,
            at("google", "claude-x:generateContent"),
            GEMINI,
            "/models/claude-x:generateContent",
            "generate_content",
            (3, 5),
        ),
        (
            Dialect::Gemini,
            "/v1beta",
            "/v1beta/models/claude-x:streamGenerateContent".to_owned(),
            GEMINI,
            "/v1beta/models/claude-x:streamGenerateContent",
            "generate_content",
            (3, 5),
        ),
        (
            Dialect::Gemini,
            "/v1beta",
            "/v1beta/models/claude-x:streamGenerateContent?alt=sse".to_owned(),
            GEMINI,
            "/v1beta/models/claude-x:streamGenerateContent?alt=sse",
            "generate_content",
            (3, 5),
        ),
        (
            Dialect::Gemini,
            "/v1beta",
            "/v1beta/models/claude-x:countTokens".to_owned(),
            GEMINI,
            "/v1beta/models/claude-x:countTokens",
            "gemini_count_tokens",
            (0, 0),
        ),
        (Dialect::OpenAiChat, "/v1", "/v1/embeddings".to_owned(), EMBED, "/v1/embeddings", "embeddings", (8, 0)),
        (
            Dialect::OpenAiResponses,
            "/v1",
            "/openai/v1/embeddings".to_owned(),
            EMBED,
            "/v1/embeddings",
            "embeddings",
            (8, 0),
        ),
        (
            Dialect::OpenAiResponses,
            "/v1",
            "/v1/responses/input_tokens".to_owned(),
            r#"{"model":"claude-x", "input":"ping"}"#,
            "/v1/responses/input_tokens",
            "responses_input_tokens",
            (0, 0),
        ),
    ] {
        let stand = Stand::speaking(dialect, suffix).await;
        let answer = stand.send(&path, body, &[("x-unheard-of", "kept")]).await;
        let asked = stand.asked();
        let [asked] = asked.as_slice() else { panic!("{path}: {} {}", answer.status, answer.text) };
        assert_eq!(
            asked.path,
            if expect.starts_with("/v1") { expect.to_owned() } else { format!("{suffix}{expect}") },
            "{path}"
        );
        assert_eq!((&*asked.body, answer.status), (body.as_bytes(), 200), "{path}: {}", answer.text);
        let (kind, expected) = usual(&asked.path, &asked.body);
        assert_eq!((answer.headers["content-type"].to_str().unwrap(), &*answer.bytes), (kind, &*expected), "{path}");
        assert!(
            asked.headers.contains_key("x-unheard-of") && !asked.headers.contains_key("anthropic-version"),
            "{path}"
        );
        let records = stand.records().await;
        let [record] = records.as_slice() else { panic!("{path}: {records:?}") };
        assert_eq!(
            (record.operation.as_str(), record.outcome(), record.model.is_empty()),
            (operation, Outcome::Completed, false)
        );
        let told = record.tokens.as_ref().map(|tokens| (tokens.input, tokens.output)).unwrap_or_default();
        // One nano-dollar a token.
        let is_priced = record.model == "claude-x";
        assert_eq!((told, record.cost_nano_usd), (tokens, if is_priced { tokens.0 + tokens.1 } else { 0 }), "{path}");
        assert_eq!(record.streamed, path.contains("tream"), "{path}");
        let entry = Entry::decode(&record.evidence.as_ref().unwrap().body).unwrap();
        assert_eq!(entry.detail()["operation"], operation, "{path}");
    }
}

#[tokio::test]
async fn a_body_in_an_envelope_reaches_a_provider_that_has_none_as_anthropics_own_clients_send_it() {
    let aws = [
        ("x-amz-date", "20260101T000000Z"),
        ("x-amz-security-token", "theirs"),
        ("amz-sdk-invocation-id", "1"),
        ("x-amzn-bedrock-accept", "application/json"),
        ("x-claude-code-session-id", "s-1"),
    ];
    for (stream, verb) in [(false, "invoke"), (true, "invoke-with-response-stream")] {
        let stand = Stand::speaking(Dialect::Anthropic, "").await;
        let answer = stand.send(&format!("/model/claude-x/{verb}?x=1"), BEDROCK, &aws).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let [asked] = stand.asked().try_into().unwrap_or_else(|asked| panic!("{asked:?}"));
        let stream_field = if stream { r#""stream":true,"# } else { "" };
        let expect = format!(
            r#"{{"model":"claude-x",{stream_field}"max_tokens":9,"messages":[{{"role":"user","content":"ping"}}]}}"#
        );
        assert_eq!(
            (asked.path.as_str(), String::from_utf8_lossy(&asked.body).replace(", ", ",")),
            ("/v1/messages", expect)
        );
        assert_eq!(
            (&asked.headers["anthropic-version"], &asked.headers["anthropic-beta"]),
            (&"2023-06-01".parse().unwrap(), &"a-1,b-2".parse().unwrap())
        );
        assert_eq!(
            (&asked.headers["x-api-key"], &asked.headers["x-claude-code-session-id"]),
            (&"sk-one".parse().unwrap(), &"s-1".parse().unwrap())
        );
        assert!(asked.headers.keys().all(|name| !name.as_str().contains("amz")), "{:?}", asked.headers);
        assert_eq!(answer.headers["x-amzn-requestid"], answer.headers["request-id"]);
        if stream {
            assert_eq!(answer.headers["content-type"], "application/vnd.amazon.eventstream");
            assert!(!events(&answer.bytes).contains("amazon-bedrock"), "what Bedrock counts is in the frame");
            assert_eq!(events(&answer.bytes), STREAM);
            assert_eq!(&*answer.bytes, &*frames(STREAM));
        } else {
            assert_eq!(answer.text, WHOLE);
        }
        let records = stand.records().await;
        let tokens = records[0].tokens.as_ref().map(|tokens| (tokens.input, tokens.output));
        assert_eq!((records[0].operation.as_str(), tokens), ("invoke", Some((3, 5))));
    }
}

#[tokio::test]
async fn each_envelope_is_changed_for_the_other_and_translated_for_the_rest() {
    let place = format!("{PLACE}/anthropic/models/claude-x");
    let vertex = format!("{place}:rawPredict");
    let vertex_stream = format!("{place}:streamRawPredict");
    for (dialect, path, body, expect, version) in [
        (
            Dialect::VertexAnthropic,
            "/model/claude-x/invoke",
            BEDROCK,
            "/models/claude-x:rawPredict",
            "vertex-2023-10-16",
        ),
        (
            Dialect::VertexAnthropic,
            "/model/claude-x/invoke-with-response-stream",
            BEDROCK,
            "/models/claude-x:streamRawPredict",
            "vertex-2023-10-16",
        ),
        (Dialect::BedrockInvoke, vertex.as_str(), VERTEX, "/model/claude-x/invoke", "bedrock-2023-05-31"),
        (
            Dialect::BedrockInvoke,
            &vertex_stream,
            VERTEX_STREAM,
            "/model/claude-x/invoke-with-response-stream",
            "bedrock-2023-05-31",
        ),
        (Dialect::Gemini, "/model/claude-x/invoke", BEDROCK, "/models/claude-x:generateContent", ""),
        (
            Dialect::Gemini,
            "/model/claude-x/invoke-with-response-stream",
            BEDROCK,
            "/models/claude-x:streamGenerateContent?alt=sse",
            "",
        ),
        (Dialect::Gemini, &vertex_stream, VERTEX_STREAM, "/models/claude-x:streamGenerateContent?alt=sse", ""),
    ] {
        let stand = Stand::speaking(dialect, "").await;
        let answer = stand.send(path, body, &[]).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let [asked] = stand.asked().try_into().unwrap_or_else(|asked| panic!("{asked:?}"));
        let sent: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!((asked.path.as_str(), sent["anthropic_version"].as_str().unwrap_or_default()), (expect, version));
        assert!(sent.to_string().contains("ping") && sent.get("model").is_none(), "{sent}");
        let told = match path.contains("tream") {
            true if path.contains("/model/") && !path.contains("publishers") => {
                assert_eq!(answer.headers["content-type"], "application/vnd.amazon.eventstream");
                tallied(Spoken::Anthropic, events(&answer.bytes).as_bytes())
            }
            true => {
                assert_eq!(answer.headers["content-type"], "text/event-stream");
                tallied(Spoken::Anthropic, &answer.bytes)
            }
            false => {
                let whole = Spoken::Anthropic.decode_answer(&answer.bytes).unwrap();
                let counters = whole.usage.counters;
                (counters.input, counters.output, true, None)
            }
        };
        assert_eq!(told, (3, 5, true, None), "{path}: {}", answer.text);
        assert!(answer.text.contains("pong") || path.contains("invoke-with"), "{path}: {}", answer.text);
        let records = stand.records().await;
        let tokens = records[0].tokens.as_ref().map(|tokens| (tokens.input, tokens.output));
        assert_eq!(
            (records[0].outcome(), tokens, records[0].cost_nano_usd),
            (Outcome::Completed, Some((3, 5)), 8),
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_as_the_clients_of_bedrock_read_it() {
    for dialect in [Dialect::BedrockInvoke, Dialect::Anthropic] {
        let stand = Stand::speaking(dialect, "").await;
        let signed =
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/bedrock/aws4_request, Signature=ab";
        let theirs = |status: &'static str| vec![("x-script", status)];
        for (method, path, body, headers, status, kind, words) in [
            (
                "POST",
                "/model/claude-x/invoke",
                BEDROCK,
                vec![("authorization", signed)],
                401,
                "UnrecognizedClientException",
                "AWS_BEARER_TOKEN_BEDROCK",
            ),
            (
                "POST",
                "/model/claude-x/converse",
                "{}",
                vec![("x-api-key", "tg_no")],
                401,
                "UnrecognizedClientException",
                "not a Tollgate key",
            ),
            ("POST", "/model/claude-x/invoke", r#"{"prompt":"hi"}"#, vec![], 400, "ValidationException", "/converse"),
            ("POST", "/model/claude-x/apply", BEDROCK, vec![], 404, "ResourceNotFoundException", "Nothing is served"),
            ("GET", "/model/claude-x/invoke", "", vec![], 405, "ValidationException", "Use POST"),
            ("POST", "/model/claude-x/invoke", BEDROCK, theirs("400"), 400, "ValidationException", "theirs"),
            (
                "POST",
                "/model/claude-x/invoke-with-response-stream",
                BEDROCK,
                theirs("429"),
                429,
                "ThrottlingException",
                "theirs",
            ),
        ] {
            let answer = stand.call(method, path, body, &headers).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text);
            assert_eq!(answer.headers["x-amzn-requestid"], answer.headers["request-id"], "{path}");
            // A provider of Bedrock has said it by itself.
            if words == "theirs" && dialect == Dialect::BedrockInvoke {
                continue;
            }
            assert_eq!(answer.headers["x-amzn-errortype"], kind, "{path}");
            let error: serde_json::Value = serde_json::from_slice(&answer.bytes).unwrap();
            assert!(error["message"].as_str().unwrap().contains(words), "{path}: {error}");
        }
    }
}

#[tokio::test]
async fn a_key_is_taken_from_where_the_sdks_of_aws_and_google_put_it() {
    let stand = Stand::speaking(Dialect::BedrockInvoke, "").await;
    let bearer = format!("Bearer {}", stand.key);
    let signed = format!(
        "AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=ab",
        stand.key
    );
    for authorization in [&bearer, &signed] {
        let headers = [("authorization", authorization.as_str()), ("x-amz-security-token", "theirs")];
        let answer = stand.send("/model/claude-x/invoke", BEDROCK, &headers).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let asked = stand.asked().pop().unwrap();
        assert_eq!(asked.headers["authorization"], "Bearer sk-one");
        assert!(!asked.headers.contains_key("x-amz-security-token"));
    }
    let stand = Stand::speaking(Dialect::Gemini, "/v1beta").await;
    let path = "/v1beta/models/claude-x:generateContent";
    let key = stand.key.clone();
    let headers = [("authorization", bearer.as_str()), ("x-goog-api-key", key.as_str())];
    assert_eq!(stand.send(path, GEMINI, &headers).await.status, 200);
    for query in
        [format!("key={key}"), "%6Bey=other".to_owned(), "k%65y=other".to_owned(), "alt=sse&access_token=x".to_owned()]
    {
        let answer = stand.send(&format!("{path}?{query}"), GEMINI, &headers).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text);
        assert!(answer.text.contains("x-goog-api-key") && !answer.text.contains(&key), "{}", answer.text);
    }
    assert_eq!(stand.asked().len(), 1);
}

#[tokio::test]
async fn tokens_are_counted_by_whoever_counts_and_otherwise_estimated() {
    let vertex = format!("{PLACE}/anthropic/models/count-tokens:rawPredict");
    let messages = r#"{"model":"claude-x","messages":[{"role":"user","content":"ping"}]}"#;
    let gemini = "/v1beta/models/claude-x:countTokens";
    let input = r#"{"model":"claude-x","input":"ping"}"#;
    let counted = |name: &str, tokens: u64| serde_json::json!({name: tokens});
    for (dialect, path, body, expect, asked) in [
        (Dialect::Anthropic, gemini, GEMINI, counted("totalTokens", 32), "/v1/messages/count_tokens"),
        (Dialect::VertexAnthropic, gemini, GEMINI, counted("totalTokens", 32), "/models/count-tokens:rawPredict"),
        (Dialect::Anthropic, &vertex, VERTEX_COUNT, counted("input_tokens", 32), "/v1/messages/count_tokens"),
        (
            Dialect::VertexAnthropic,
            "/v1/messages/count_tokens",
            messages,
            counted("input_tokens", 32),
            "/models/count-tokens:rawPredict",
        ),
        (
            Dialect::Gemini,
            "/v1/messages/count_tokens",
            messages,
            counted("input_tokens", 31),
            "/models/claude-x:countTokens",
        ),
        (Dialect::Gemini, &vertex, VERTEX_COUNT, counted("input_tokens", 31), "/models/claude-x:countTokens"),
        (
            Dialect::Gemini,
            "/v1/responses/input_tokens",
            input,
            serde_json::json!({"object": "response.input_tokens", "input_tokens": 31}),
            "/models/claude-x:countTokens",
        ),
        (Dialect::OpenAiResponses, "/v1/messages/count_tokens", messages, counted("input_tokens", 17), ""),
        (Dialect::BedrockInvoke, gemini, GEMINI, counted("totalTokens", 15), ""),
        (
            Dialect::OpenAiChat,
            "/v1/responses/input_tokens",
            input,
            serde_json::json!({"object": "response.input_tokens", "input_tokens": 9}),
            "",
        ),
    ] {
        let stand = Stand::speaking(dialect, "").await;
        // Counting is held by no budget.
        let hard = budget(Enforcement::Hard);
        stand.set_quota(Some(Quota { budgets: vec![Arc::clone(&hard)], ..Quota::default() }));
        let answer = stand.send(path, body, &[]).await;
        assert_eq!(
            (answer.status, serde_json::from_slice(&answer.bytes).ok()),
            (200, Some(expect)),
            "{path}: {}",
            answer.text
        );
        let was_asked = stand.asked().pop();
        assert_eq!(was_asked.as_ref().map_or("", |seen| seen.path.as_str()), asked, "{path}");
        if let Some(seen) = was_asked {
            let body = String::from_utf8_lossy(&seen.body).into_owned();
            assert!(body.contains("ping") && !body.contains("max_tokens"), "{path}: {body}");
        } else {
            let approximated = answer.headers["x-tollgate-approximated"].to_str().unwrap();
            assert_eq!(approximated, "input_tokens=approximated", "{path}");
        }
        let records = stand.records().await;
        assert_eq!((records[0].outcome(), records[0].cost_nano_usd), (Outcome::Completed, 0), "{path}");
    }
}

#[tokio::test]
async fn embeddings_are_held_and_settled_by_their_input_alone() {
    let stand = Stand::speaking(Dialect::OpenAiChat, "/v1").await;
    // Dear output, of which there is none; a window that each input has for itself.
    let price = model().price.unwrap();
    let output = NanoUsd::new(1_000_000_000_000);
    let rates = tollgate_policy::price::Rates { output, ..price.rates };
    let dear = tollgate_policy::price::Price { rates, ..price };
    stand.put(vec![Object::Model(Model { context_window: 4, output_max: 0, price: Some(dear), ..model() })]);
    let hard = budget(Enforcement::Hard);
    stand.set_quota(Some(Quota { budgets: vec![Arc::clone(&hard)], ..Quota::default() }));
    crate::funds::tests::answer(&stand.funds, &hard, 2_000_000, 0);
    let answer = stand.send("/v1/embeddings", EMBED, &[]).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, EMBEDDED));
    while stand.funds.totals().0 > 0 {
        tokio::task::yield_now().await;
    }
    // What is not known to be an answer is charged at what it held.
    let answer = stand.send("/v1/embeddings", EMBED, &[("x-script", ",zipped")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    while stand.spool.depth().outcomes < 2 || stand.funds.totals().0 > 0 {
        tokio::task::yield_now().await;
    }
    let records = stand.spool.pending().unwrap().unwrap().records;
    let [told, untold] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((told.cost_nano_usd, told.charges.len(), told.unpriced), (8, 1, false));
    // 15 bytes of input, what a provider may add, and one token of output.
    let held = 15 + 4_096 + 3 + 1_000_000;
    assert_eq!((untold.outcome(), untold.cost_nano_usd), (Outcome::Uncertain, held));
    assert_eq!(stand.funds.totals(), (0, 2_000_000 - 8 - held), "nothing stays held");
    // What does not fit is refused before anything is sent.
    let large = format!(r#"{{"model":"claude-x","input":"{}"}}"#, "x".repeat(1_000_000));
    let answer = stand.send("/v1/embeddings", &large, &[]).await;
    let error: serde_json::Value = serde_json::from_slice(&answer.bytes).unwrap();
    assert_eq!(answer.status, 429, "{error}");
    assert!(error["error"]["message"].as_str().unwrap().contains("budget"), "{error}");
    assert_eq!(stand.asked().len(), 2);
}

#[tokio::test]
async fn embeddings_that_cannot_be_had_are_refused_with_what_to_do() {
    for (dialect, body, status, words) in [
        (Dialect::Gemini, EMBED, 451, "ask your platform team for such a provider"),
        (Dialect::BedrockConverse, EMBED, 451, "openai_chat or openai_responses"),
        (Dialect::OpenAiChat, r#"{"model":"unknown","input":"x"}"#, 451, "no price"),
        (Dialect::OpenAiChat, r#"{"model":"claude-x","input":[{"image":"x"}]}"#, 400, "`input`"),
        (Dialect::OpenAiChat, r#"{"model":"claude-x","input":"x","Input":"y"}"#, 400, "`input`"),
        (Dialect::OpenAiChat, r#"{"model":"claude-x"}"#, 400, "`input`"),
    ] {
        let stand = Stand::speaking(dialect, "").await;
        let hard = budget(Enforcement::Hard);
        stand.set_quota(Some(Quota { budgets: vec![Arc::clone(&hard)], ..Quota::default() }));
        crate::funds::tests::answer(&stand.funds, &hard, 2_000_000, 0);
        let answer = stand.send("/v1/embeddings", body, &[]).await;
        let error: serde_json::Value = serde_json::from_slice(&answer.bytes).unwrap();
        assert_eq!(answer.status, status, "{body}: {error}");
        assert!(error["error"]["message"].as_str().unwrap().contains(words), "{body}: {error}");
        assert_eq!((stand.asked().len(), stand.funds.totals()), (0, (0, 2_000_000)), "{body}");
    }
}

#[tokio::test]
async fn a_client_that_asks_for_no_events_gets_one_list_from_each_provider() {
    for (dialect, suffix) in [(Dialect::Gemini, ""), (Dialect::Anthropic, ""), (Dialect::BedrockInvoke, "")] {
        let stand = Stand::speaking(dialect, suffix).await;
        let answer = stand.send("/v1beta/models/claude-x:streamGenerateContent", GEMINI, &[]).await;
        assert_eq!((answer.status, &answer.headers["content-type"]), (200, &"application/json".parse().unwrap()));
        let list: Vec<serde_json::Value> = serde_json::from_slice(&answer.bytes).unwrap();
        assert!(list[0]["candidates"][0]["content"]["parts"][0]["text"] == "pong", "{}", answer.text);
        assert_eq!(tallied(Spoken::Gemini, &answer.bytes), (3, 5, true, None));
        let records = stand.records().await;
        let tokens = records[0].tokens.as_ref().map(|tokens| (tokens.input, tokens.output));
        assert_eq!((records[0].outcome(), tokens, records[0].cost_nano_usd), (Outcome::Completed, Some((3, 5)), 8));
    }
}

#[tokio::test]
async fn the_models_of_the_key_are_listed_as_each_client_reads_them() {
    let stand = Stand::speaking(Dialect::Anthropic, "").await;
    for (path, pointer, expect) in [
        ("/v1beta/models", "/models/0/name", Some("models/claude-x")),
        (
            "/inference-profiles?type=SYSTEM_DEFINED",
            "/inferenceProfileSummaries/0/inferenceProfileId",
            Some("claude-x"),
        ),
        ("/bedrock/inference-profiles", "/inferenceProfileSummaries/0/status", Some("ACTIVE")),
        ("/inference-profiles?type=APPLICATION", "/inferenceProfileSummaries/0", None),
        ("/v1/models", "/data/0/id", Some("claude-x")),
    ] {
        let answer = stand.call("GET", path, "", &[]).await;
        let list: serde_json::Value = serde_json::from_slice(&answer.bytes).unwrap();
        assert_eq!(
            (answer.status, list.pointer(pointer).and_then(|value| value.as_str())),
            (200, expect),
            "{path}: {list}"
        );
    }
    let answer = stand.call("GET", "/v1/models", "", &[("x-goog-api-client", "google-genai-sdk")]).await;
    assert!(answer.text.contains(r#""name":"models/claude-x""#), "{}", answer.text);
    let answer = stand.call("GET", "/inference-profiles", "", &[("x-api-key", "tg_no")]).await;
    assert_eq!(
        (answer.status, answer.headers["x-amzn-errortype"].to_str().unwrap()),
        (401, "UnrecognizedClientException")
    );
    let records = stand.records().await;
    let operations: Vec<&str> = records.iter().map(|record| record.operation.as_str()).collect();
    let profiles = "inference_profiles";
    assert_eq!(operations, ["gemini_models", profiles, profiles, profiles, "models", "models", profiles]);
}
