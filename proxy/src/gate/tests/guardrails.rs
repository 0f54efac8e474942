//! What guardrails stop, replace and take back, through all rooms: nothing of a secret is on the wire where it must not be.

use tollgate_audit::Entry;
use tollgate_policy::{
    guardrail::{Action, Allowed, Directions, Guardrail, RuleSource, Scope},
    id::GuardrailId,
};

use super::*;

// In two pieces, so that it is not taken for one here.
pub(super) const SECRET: &str = concat!("AK", "IAQYLPMN5HHHFPZAM2");
const PEM: &str = concat!(
    "-----BEGIN RSA PRIV",
    "ATE KEY-----\nMIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8Qu\nKUpRKfFLfRYC9AIKjbJTWit\
     +CqvjWYzvQwECAwEAAQJAIJLixBy2qpFoS4DSmoEmo3qGy0t6z09AIJtH+5OeRV1be+N4cDYJKffGzDa88vQENZiRm0GRq6a+\nHPGQMd2kTQ==\n-----END RSA PRIV",
    "ATE KEY-----"
);

pub(super) fn guardrail(name: &str, on: [bool; 2], action: Action) -> Guardrail {
    let last = name.bytes().fold(b'a', |last, byte| b'a' + (last + byte) % 26);
    Guardrail {
        id: GuardrailId::from_ulid(&format!("{ULID}{}", char::from(last))).unwrap(),
        name: name.into(),
        disabled: false,
        source: RuleSource::Secrets { builtin: true, file: None },
        rules: Patterns::default(),
        directions: Directions { request: on[0], response: on[1] },
        action,
        shadow: false,
        scope: Scope::default(),
        allowed: Arc::default(),
    }
}

pub(super) const IN: [bool; 2] = [true, false];
pub(super) const OUT: [bool; 2] = [false, true];

async fn stand(guardrails: Vec<Guardrail>) -> Stand {
    let stand = Stand::new(&["sk-one"]).await;
    stand.put(guardrails.into_iter().map(Object::Guardrail).collect());
    stand
}

fn said(content: &str, stream: bool) -> String {
    let content = serde_json::to_string(content).unwrap();
    format!(
        r#"{{"model":"claude-x","stream":{stream},"max_tokens":9,"messages":[{{"role":"user","content":{content}}}]}}"#
    )
}

impl Stand {
    // Says something to a provider that says it again, once as text and once as the argument of a tool.
    async fn echo(&self, content: &str, stream: bool) -> Answered {
        self.send("/v1/messages", &said(content, stream), &[("x-script", "echo"), SESSION]).await
    }

    fn last_asked(&self) -> String {
        String::from_utf8(self.asked().last().unwrap().body.to_vec()).unwrap()
    }
}

const SESSION: (&str, &str) = ("x-claude-code-session-id", "one");

/// What the provider says that repeats what it is told: a text, and a call of a tool with the text in its arguments. A stream has a
/// delta for each character.
pub(super) fn echo(body: &[u8]) -> (&'static str, String) {
    let request: serde_json::Value = serde_json::from_slice(body).unwrap();
    let last = request["messages"].as_array().unwrap().last().unwrap();
    let text = match &last["content"] {
        serde_json::Value::String(text) => text.clone(),
        blocks => blocks[0]["text"].as_str().unwrap().to_owned(),
    };
    let called = request["called_with"].as_str().unwrap_or(&text);
    let input = serde_json::json!({"text": called});
    if request["stream"] != serde_json::json!(true) {
        let content = serde_json::json!([{"type": "text", "text": text}, {"type": "tool_use", "id": "toolu_1", "name": "w", "input": input}]);
        let usage = serde_json::json!({"input_tokens": 3, "output_tokens": 5});
        let answer = serde_json::json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": content,
            "stop_reason": "tool_use", "usage": usage});
        return ("application/json", answer.to_string());
    }
    let mut events = vec![
        serde_json::json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
        "model": "claude-x", "content": [], "usage": {"input_tokens": 3, "output_tokens": 1}}}),
    ];
    let blocks = [
        (serde_json::json!({"type": "text", "text": ""}), "text_delta", "text", text),
        (
            serde_json::json!({"type": "tool_use", "id": "toolu_1", "name": "w", "input": {}}),
            "input_json_delta",
            "partial_json",
            input.to_string(),
        ),
    ];
    for (index, (block, kind, member, text)) in blocks.into_iter().enumerate() {
        events.push(serde_json::json!({"type": "content_block_start", "index": index, "content_block": block}));
        for letter in text.chars() {
            let delta = serde_json::json!({"type": kind, member: letter.to_string()});
            events.push(serde_json::json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        events.push(serde_json::json!({"type": "content_block_stop", "index": index}));
    }
    events.push(serde_json::json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}}));
    events.push(serde_json::json!({"type": "message_stop"}));
    let event = |event: serde_json::Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    ("text/event-stream", events.into_iter().map(event).collect())
}

// The text and the tool's argument of an answer, and how it ended.
fn read(answer: &Answered, stream: bool) -> (String, Option<String>, String) {
    if stream {
        let (mut text, mut input, mut stop) = (String::new(), None, String::new());
        for line in answer.text.lines().filter_map(|line| line.strip_prefix("data: ")) {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            match event["delta"]["type"].as_str() {
                Some("text_delta") => text.push_str(event["delta"]["text"].as_str().unwrap()),
                Some("input_json_delta") => {
                    input.get_or_insert_with(String::new).push_str(event["delta"]["partial_json"].as_str().unwrap());
                }
                _ => {}
            }
            if let Some(reason) = event["delta"]["stop_reason"].as_str() {
                stop = reason.to_owned();
            }
        }
        let input = input.map(|input| {
            let input: serde_json::Value = serde_json::from_str(&input).unwrap();
            input["text"].as_str().unwrap().to_owned()
        });
        assert!(answer.text.ends_with("\n\n"), "{}", answer.text);
        return (text, input, stop);
    }
    let answer: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
    let input = answer["content"][1]["input"]["text"].as_str().map(str::to_owned);
    (
        answer["content"][0]["text"].as_str().unwrap_or_default().to_owned(),
        input,
        answer["stop_reason"].as_str().unwrap_or_default().to_owned(),
    )
}

#[tokio::test]
async fn what_is_blocked_does_not_leave_and_the_client_learns_why() {
    let stand = stand(vec![guardrail("secrets", IN, Action::Block)]).await;
    for stream in [false, true] {
        let answer = stand.echo(&format!("my key is {SECRET}, ok?"), stream).await;
        assert_eq!(answer.status, 451);
        for word in ["secrets", "aws-access-key-id", "messages[0].content", "fingerprint"] {
            assert!(answer.text.contains(word), "{word}: {}", answer.text);
        }
        assert!(!answer.text.contains(SECRET), "{}", answer.text);
    }
    assert!(stand.asked().is_empty());
    assert_eq!(stand.echo("nothing to see", false).await.status, 200);
    let records = stand.records().await;
    let entry = Entry::decode(&records[0].evidence.as_ref().unwrap().body).unwrap();
    let found = &entry.detail()["findings"][0];
    assert_eq!((records[0].refusal.as_str(), records[0].cost_nano_usd), ("guardrail", 0));
    assert_eq!((found["rule"].as_str(), found["offset"].as_u64()), (Some("aws-access-key-id"), Some(10)));
    assert_eq!((found["action"].as_str(), found["direction"].as_str()), (Some("block"), Some("request")));
    assert_eq!(found["fingerprint"].as_str().map(str::len), Some(32));
    assert!(!String::from_utf8_lossy(&records[0].evidence.as_ref().unwrap().body).contains(SECRET));
}

#[tokio::test]
async fn what_is_tokenized_comes_back_and_the_provider_never_sees_it() {
    let stand = stand(vec![guardrail("secrets", IN, Action::Tokenize)]).await;
    for secret in [SECRET, PEM] {
        for stream in [false, true] {
            let content = format!("write {secret} and \"{secret}\"\n");
            let answer = stand.echo(&content, stream).await;
            assert_eq!(answer.status, 200);
            let asked = stand.last_asked();
            assert!(!asked.contains(&secret[4..16]) && asked.matches("TOLLGATE_SECRET_").count() == 2, "{asked}");
            assert_eq!(
                read(&answer, stream),
                (content.clone(), Some(content), "tool_use".to_owned()),
                "{}",
                answer.text
            );
        }
    }
    // The same secret has the same placeholder in each turn of a session, and another one elsewhere.
    let asked = stand.asked();
    let placeholder = |at: usize| {
        let text = String::from_utf8(asked[at].body.to_vec()).unwrap();
        text.split("TOLLGATE_SECRET_").nth(1).unwrap()[..24].to_owned()
    };
    assert_eq!(placeholder(0), placeholder(1));
    assert_ne!(placeholder(0), placeholder(2));
    stand.send("/v1/messages", &said(SECRET, false), &[("x-claude-code-session-id", "two")]).await;
    assert!(!stand.last_asked().contains(&placeholder(0)), "another session");
}

#[tokio::test]
async fn what_is_redacted_stays_away_in_either_direction() {
    let inward = stand(vec![guardrail("secrets", IN, Action::Redact)]).await;
    let outward = stand(vec![guardrail("secrets", OUT, Action::Redact)]).await;
    for stream in [false, true] {
        let content = format!("é {SECRET} ü {PEM} end");
        let expect = "é [REDACTED:aws-access-key-id] ü [REDACTED:private-key-rsa] end".to_owned();
        for stand in [&inward, &outward] {
            let answer = stand.echo(&content, stream).await;
            let (text, input, stop) = read(&answer, stream);
            assert_eq!((text, input, &*stop), (expect.clone(), Some(expect.clone()), "tool_use"), "{}", answer.text);
        }
        assert!(inward.last_asked().contains(&expect) && outward.last_asked().contains(SECRET));
    }
}

#[tokio::test]
async fn a_blocked_answer_ends_as_if_the_model_had_and_nothing_of_the_secret_passes() {
    let stand = stand(vec![guardrail("secrets", OUT, Action::Block)]).await;
    let answer = stand.echo(&format!("before {SECRET} behind"), true).await;
    let (text, input, stop) = read(&answer, true);
    assert_eq!((answer.status, input, &*stop), (200, None, "end_turn"), "{}", answer.text);
    assert!(text.starts_with("before Tollgate stopped this answer"), "{text}");
    for piece in [&SECRET[..8], &SECRET[4..], "behind"] {
        assert!(!text.contains(piece), "{text}");
    }
    assert!(answer.text.ends_with("data: {\"type\":\"message_stop\"}\n\n"), "{}", answer.text);
    // And the twin without a stream.
    let twin = stand.echo(&format!("before {SECRET} behind"), false).await;
    assert_eq!(twin.status, 451);
    assert!(!twin.text.contains(&SECRET[4..]) && twin.text.contains("aws-access-key-id"), "{}", twin.text);
    let records = stand.records().await;
    for record in &records {
        assert_eq!((record.refusal.as_str(), record.tokens.map(|tokens| tokens.input)), ("guardrail", Some(3)));
        let entry = Entry::decode(&record.evidence.as_ref().unwrap().body).unwrap();
        assert_eq!(entry.detail()["findings"][0]["direction"].as_str(), Some("response"));
    }
}

// Who sealed something in a stream finds it as it was.
#[tokio::test]
async fn what_is_looked_at_and_not_changed_passes_byte_for_byte() {
    let stand = stand(vec![guardrail("secrets", OUT, Action::Redact)]).await;
    let answer = stand.echo("nothing in here", true).await;
    let (_, sent) = echo(said("nothing in here", true).as_bytes());
    let events = |text: &str| {
        text.split("\n\n").filter(|event| !event.contains("_delta\"")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(events(&answer.text), events(&sent));
    assert_eq!(read(&answer, true).0, "nothing in here");
    // What is whole at its end passes as it came.
    let words = answer.text.matches("text_delta").count();
    assert!(words <= sent.matches("text_delta").count(), "{}", answer.text);
}

#[tokio::test]
async fn a_tools_call_is_held_until_it_is_cleared() {
    let only = RuleSource::Words(["forbidden".into()].into());
    let stand = stand(vec![Guardrail { source: only, ..guardrail("words", OUT, Action::Block) }]).await;
    let body = r#"{"model":"claude-x","stream":true,"called_with":"a forbidden thing","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#;
    let answer = stand.send("/v1/messages", body, &[("x-script", "echo")]).await;
    let (text, input, stop) = read(&answer, true);
    assert_eq!((input, &*stop), (None, "end_turn"), "{}", answer.text);
    assert!(text.contains("blocked-word") && !answer.text.contains("tool_use"), "{}", answer.text);
}

#[tokio::test]
async fn only_what_a_guardrail_is_for_is_touched() {
    let secrets = |name: &str| guardrail(name, IN, Action::Block);
    let off = |name: &str| Guardrail { disabled: true, ..secrets(name) };
    for (guardrail, expect) in [
        (secrets("on"), 451),
        (off("off"), 200),
        (Guardrail { action: Action::Detect, ..secrets("detect") }, 200),
        (Guardrail { shadow: true, ..secrets("shadow") }, 200),
        (Guardrail { rules: Patterns::parse(&["github-*"]).unwrap(), ..secrets("rules") }, 200),
        (
            Guardrail {
                scope: Scope { keys: Patterns::parse(&["d*"]).unwrap(), ..Scope::default() },
                ..secrets("keys")
            },
            451,
        ),
        (
            Guardrail {
                scope: Scope { keys: Patterns::parse(&["e*"]).unwrap(), ..Scope::default() },
                ..secrets("others")
            },
            200,
        ),
        (
            Guardrail {
                scope: Scope { models: Patterns::parse(&["gpt*"]).unwrap(), ..Scope::default() },
                ..secrets("models")
            },
            200,
        ),
        (Guardrail { directions: Directions { request: false, response: true }, ..secrets("answers") }, 451),
    ] {
        let (name, is_active) = (Arc::clone(&guardrail.name), !guardrail.disabled);
        let told = is_active && !matches!(&*name, "rules" | "others" | "models");
        let stand = stand(vec![guardrail]).await;
        assert_eq!(stand.echo(SECRET, false).await.status, expect, "{name}");
        let records = stand.records().await;
        let entry = Entry::decode(&records[0].evidence.as_ref().unwrap().body).unwrap();
        assert_eq!(entry.detail().contains_key("findings"), told, "{name}");
    }
}

#[tokio::test]
async fn a_known_fingerprint_passes_until_its_time_and_the_strictest_decides() {
    let two = stand(vec![guardrail("mild", IN, Action::Redact), guardrail("hard", IN, Action::Block)]).await;
    let refused = two.echo(SECRET, false).await;
    assert_eq!(refused.status, 451);
    let fingerprint = refused.text.split("fingerprint ").nth(1).unwrap()[..32].to_owned();
    let bytes: [u8; 16] = hex::decode(fingerprint).unwrap().try_into().unwrap();
    for (until, expect) in [(None, 200), (Some(1), 451), (Some(i64::MAX), 200)] {
        let allowed = Arc::new([Allowed { fingerprint: bytes, until: until.map(UnixMillis::new) }]);
        two.put(vec![Object::Guardrail(Guardrail { allowed, ..guardrail("hard", IN, Action::Block) })]);
        assert_eq!(two.echo(SECRET, false).await.status, expect, "{until:?}");
    }
    assert!(two.last_asked().contains("[REDACTED:aws-access-key-id]"), "the other guardrail does not know it");
}

#[tokio::test]
async fn every_dialect_and_every_place_of_a_request_is_looked_at() {
    for (dialect, path, body) in [
        (
            Dialect::Anthropic,
            "/v1/messages",
            r#"{"model":"m","max_tokens":9,"system":"@","messages":[{"role":"user","content":"x"}]}"#,
        ),
        (
            Dialect::Anthropic,
            "/v1/messages",
            r#"{"model":"m","max_tokens":9,"tools":[{"name":"t","description":"@","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"x"}]}"#,
        ),
        (
            Dialect::Anthropic,
            "/v1/messages",
            r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"w","input":{"a":["@"]}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"y"}]}]}]}"#,
        ),
        (
            Dialect::Anthropic,
            "/v1/messages",
            r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"w","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"@"}]}]}"#,
        ),
        (
            Dialect::Anthropic,
            "/v1/messages",
            r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"document","title":"@","source":{"type":"text","media_type":"text/plain","data":"y"}}]}]}"#,
        ),
        (
            Dialect::Anthropic,
            "/v1/messages",
            r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"@"}}]}]}"#,
        ),
        (
            Dialect::Anthropic,
            "/v1/messages/count_tokens",
            r#"{"model":"m","messages":[{"role":"user","content":"@"}]}"#,
        ),
        (Dialect::OpenAiChat, "/v1/chat/completions", r#"{"model":"m","messages":[{"role":"user","content":"@"}]}"#),
        (Dialect::OpenAiResponses, "/v1/responses", r#"{"model":"m","input":"@"}"#),
        (Dialect::OpenAiChat, "/v1/embeddings", r#"{"model":"m","input":["x","@"]}"#),
        (
            Dialect::Gemini,
            "/v1beta/models/m:generateContent",
            r#"{"contents":[{"role":"user","parts":[{"text":"@"}]}]}"#,
        ),
        (Dialect::BedrockConverse, "/model/m/converse", r#"{"messages":[{"role":"user","content":[{"text":"@"}]}]}"#),
        (
            Dialect::BedrockInvoke,
            "/model/m/invoke",
            r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"messages":[{"role":"user","content":"@"}]}"#,
        ),
    ] {
        let stand = Stand::speaking(dialect, "").await;
        stand.put(vec![Object::Guardrail(guardrail("secrets", IN, Action::Redact))]);
        stand.send(path, &body.replace('@', SECRET), &[("anthropic-version", "2023-06-01")]).await;
        let asked = stand.last_asked();
        assert!(!asked.contains(SECRET) && asked.contains("[REDACTED:aws-access-key-id]"), "{path} {body}: {asked}");
        // In the escapes of JSON it is the same.
        let escaped: String = SECRET.chars().map(|letter| format!("\\u{:04x}", u32::from(letter))).collect();
        stand.send(path, &body.replace('@', &escaped), &[("anthropic-version", "2023-06-01")]).await;
        let asked = stand.last_asked();
        assert!(!asked.contains(&escaped) && asked.contains("[REDACTED:aws-access-key-id]"), "{path} {body}: {asked}");
    }
}

#[tokio::test]
async fn what_a_provider_has_sealed_passes_as_it_is() {
    let stand = stand(vec![guardrail("secrets", IN, Action::Redact)]).await;
    let body = format!(
        r#"{{"model":"claude-x","max_tokens":9,"messages":[{{"role":"user","content":"x"}},{{"role":"assistant","content":[{{"type":"thinking","thinking":"{SECRET}","signature":"{SECRET}"}},{{"type":"text","text":"y"}}]}},{{"role":"user","content":"z"}}]}}"#
    );
    assert_eq!(stand.send("/v1/messages", &body, &[]).await.status, 200);
    assert_eq!(stand.last_asked(), body);
}

#[tokio::test]
async fn an_answer_in_another_dialect_is_looked_at_too() {
    let stand = Stand::speaking(Dialect::OpenAiChat, "").await;
    stand.put(vec![Object::Guardrail(guardrail("secrets", OUT, Action::Redact))]);
    for stream in [false, true] {
        let answer = stand.send("/v1/messages", &said(LEAK, stream), &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(
            !answer.text.contains(SECRET) && answer.text.contains("[REDACTED:aws-access-key-id]"),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn an_answer_is_looked_at_in_whatever_carries_it() {
    let words = || {
        let source = RuleSource::Words(["pong".into()].into());
        Guardrail { source, ..guardrail("words", OUT, Action::Redact) }
    };
    let vertex = "/v1/projects/p/locations/l/publishers/anthropic/models/m";
    let bedrock =
        r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"messages":[{"role":"user","content":"ping"}]}"#;
    let google = r#"{"contents":[{"role":"user","parts":[{"text":"ping"}]}]}"#;
    let on_vertex = |stream: bool| {
        format!(
            r#"{{"stream":{stream},"anthropic_version":"vertex-2023-10-16","max_tokens":9,"messages":[{{"role":"user","content":"ping"}}]}}"#
        )
    };
    for (dialect, path, body) in [
        (Dialect::BedrockInvoke, "/model/m/invoke-with-response-stream".to_owned(), bedrock.to_owned()),
        (Dialect::BedrockInvoke, "/model/m/invoke".to_owned(), bedrock.to_owned()),
        (Dialect::BedrockInvoke, "/v1/messages".to_owned(), said("ping", true)),
        (Dialect::Anthropic, "/model/m/invoke-with-response-stream".to_owned(), bedrock.to_owned()),
        (Dialect::VertexAnthropic, format!("{vertex}:streamRawPredict"), on_vertex(true)),
        (Dialect::VertexAnthropic, format!("{vertex}:rawPredict"), on_vertex(false)),
        (Dialect::Gemini, "/v1beta/models/m:streamGenerateContent?alt=sse".to_owned(), google.to_owned()),
        (Dialect::Gemini, "/v1beta/models/m:streamGenerateContent".to_owned(), google.to_owned()),
        (Dialect::Gemini, "/v1beta/models/m:generateContent".to_owned(), google.to_owned()),
    ] {
        let stand = Stand::speaking(dialect, "").await;
        let is_framed = path.ends_with("/invoke-with-response-stream");
        let text = |answer: &Answered| if is_framed { surfaces::events(&answer.bytes) } else { answer.text.clone() };
        let plain = text(&stand.send(&path, &body, &[]).await);
        assert!(plain.contains("pong"), "{dialect:?} {path}: {plain}");
        stand.put(vec![Object::Guardrail(words())]);
        let answer = stand.send(&path, &body, &[]).await;
        let said = text(&answer);
        let (is_said, is_replaced) = (said.contains("pong"), said.contains("[REDACTED:blocked-word]"));
        assert_eq!((answer.status, is_said, is_replaced), (200, false, true), "{dialect:?} {path}: {said}");
    }
}

/// Whoever is told so says a secret.
pub(super) const LEAK: &str = "please leak";

/// What a provider of OpenAI Chat says then.
pub(super) fn leak(body: &[u8]) -> (&'static str, String) {
    if !String::from_utf8_lossy(body).contains("\"stream\":true") {
        let answer = format!(
            r#"{{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"it is {SECRET}."}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}}}"#
        );
        return ("application/json", answer);
    }
    let chunk = |delta: &str| {
        format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{delta}\"}},\"finish_reason\":null}}]}}\n\n"
        )
    };
    let (one, two) = SECRET.split_at(7);
    let text = [chunk("it is "), chunk(one), chunk(two), chunk(".")].concat();
    let end = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":8}}\n\ndata: [DONE]\n\n";
    ("text/event-stream", text + end)
}
