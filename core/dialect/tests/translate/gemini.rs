//! What Gemini asks of a conversation that came from elsewhere, and what its clients keep.

use serde_json::{Value, json};
use tollgate_dialect::{
    Called, Dialect, ErrorClass, Quirks, gemini,
    hub::{
        Begin, Block, Cache, Delta, Event, Losses, Request, Role, Signature, Stop, StreamEncoder, ToolChoice, Turn,
        Usage,
    },
};

const NO_SEAL: &str = "skip_thought_signature_validator";

// What a client of Anthropic's dialect sends, as a provider of Gemini gets it, and what is lost.
fn from_anthropic(model: &str, body: &Value) -> (Value, String) {
    let bytes = serde_json::to_vec(body).unwrap();
    let called = Called { model: Some(model.into()), stream: None };
    let request = Dialect::Anthropic.decode_request(&called, &bytes).unwrap();
    encoded(&Request { model: model.into(), ..request })
}

fn encoded(request: &Request<'_>) -> (Value, String) {
    let mut losses = Losses::new(Dialect::Gemini);
    let body = Dialect::Gemini.encode_request(request, &Quirks::default(), &mut losses);
    (serde_json::from_slice(&body).unwrap(), losses.to_string())
}

fn decoded(body: &Value) -> Vec<Turn<'static>> {
    let bytes = serde_json::to_vec(body).unwrap().leak();
    let called = Called { model: Some("m".into()), stream: None };
    Dialect::Gemini.decode_request(&called, bytes).unwrap().turns
}

fn user(content: &Value) -> Value {
    json!({"role": "user", "content": content})
}

fn model(content: &Value) -> Value {
    json!({"role": "assistant", "content": content})
}

fn call(id: &str, name: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": name, "input": {}})
}

fn result(id: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": "done"})
}

fn sealed(seal: &str) -> Value {
    json!({"type": "thinking", "thinking": "", "signature": seal})
}

fn asked(messages: &Value) -> Value {
    json!({"model": "m", "max_tokens": 9, "messages": messages})
}

// `[text, seal]` of each part of the model's turns.
fn seals(request: &Value) -> Vec<Vec<(String, Option<String>)>> {
    let contents = request["contents"].as_array().unwrap().iter().filter(|content| content["role"] == "model");
    let part = |part: &Value| {
        let kind = part["functionCall"]["name"].as_str().or(part["text"].as_str()).unwrap().to_owned();
        (kind, part["thoughtSignature"].as_str().map(str::to_owned))
    };
    contents.map(|content| content["parts"].as_array().unwrap().iter().map(part).collect()).collect()
}

#[test]
fn a_seal_that_a_client_of_anthropics_dialect_kept_is_the_calls_again() {
    let (request, losses) = from_anthropic(
        "gemini-3-pro-preview",
        &asked(&json!([
            user(&json!("fix it")),
            model(&json!([
                {"type": "thinking", "thinking": "I look.", "signature": ""},
                {"type": "text", "text": "Looking."},
                sealed("tollgate.1.gemini.U2VhbA=="),
                call("a", "list"),
                call("b", "read"),
            ])),
            user(&json!([result("a"), result("b")])),
            model(&json!([{"type": "text", "text": "Done."}, sealed("tollgate.1.gemini.RG9uZQ==")])),
            user(&json!("thanks")),
        ])),
    );
    let part = |kind: &str, seal: Option<&str>| (kind.to_owned(), seal.map(str::to_owned));
    assert_eq!(
        seals(&request),
        [
            vec![part("I look.", None), part("Looking.", None), part("list", Some("U2VhbA==")), part("read", None)],
            vec![part("Done.", None), part("", Some("RG9uZQ=="))],
        ]
    );
    assert_eq!(losses, "");
}

#[test]
fn the_first_call_of_a_step_without_a_seal_says_that_there_is_none() {
    let conversation = asked(&json!([
        user(&json!("fix it")),
        model(&json!([
            {"type": "thinking", "thinking": "hm", "signature": "EqQBCgIYAhIM"},
            call("a", "list"),
            call("b", "read"),
        ])),
        user(&json!([result("a"), result("b")])),
        model(&json!([sealed("tollgate.1.gemini.U2VhbA=="), call("c", "write")])),
        user(&json!([result("c")])),
        model(&json!([{"type": "text", "text": "then"}, call("d", "test")])),
        user(&json!([result("d")])),
    ]));
    let part = |kind: &str, seal: Option<&str>| (kind.to_owned(), seal.map(str::to_owned));
    for (name, mark) in
        [("gemini-3-pro-preview", Some(NO_SEAL)), ("any-model", Some(NO_SEAL)), ("gemini-2.5-pro", None)]
    {
        let (request, losses) = from_anthropic(name, &conversation);
        assert_eq!(
            seals(&request),
            [
                vec![part("list", mark), part("read", None)],
                vec![part("write", Some("U2VhbA=="))],
                vec![part("then", None), part("test", mark)],
            ],
            "{name}"
        );
        let said = if mark.is_some() {
            "foreign_thinking=dropped, thoughtSignature=dropped"
        } else {
            "foreign_thinking=dropped"
        };
        assert_eq!(losses, said, "{name}");
    }
}

#[test]
fn results_name_their_functions_and_follow_the_calls_ahead_of_other_text() {
    let (request, losses) = from_anthropic(
        "gemini-2.5-flash",
        &asked(&json!([
            user(&json!("go")),
            model(&json!([call("a", "list"), call("b", "read"), call("c", "list")])),
            user(&json!([
                {"type": "text", "text": "in between"},
                {"type": "tool_result", "tool_use_id": "c", "is_error": true, "content": [{"type": "text", "text": "no"}]},
            ])),
            user(&json!([
                {"type": "tool_result", "tool_use_id": "a", "content": [
                    {"type": "text", "text": "one"},
                    {"type": "text", "text": "two"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAEC"}},
                ]},
                {"type": "tool_result", "tool_use_id": "b", "content": []},
                {"type": "text", "text": "go on"},
            ])),
        ])),
    );
    let answered = |id: &str, name: &str, response: &Value| json!({"functionResponse": {"id": id, "name": name, "response": response}});
    let content = [{ "one" }, { "two" }].map(|text| json!({"type": "text", "text": text}));
    assert_eq!(
        request["contents"][2]["parts"],
        json!([
            answered("a", "list", &json!({"content": content})),
            answered("b", "read", &json!({"output": ""})),
            answered("c", "list", &json!({"error": "no"})),
            // Models before Gemini 3 take no media within a response.
            {"inlineData": {"mimeType": "image/png", "data": "AAEC"}},
            {"text": "in between"},
            {"text": "go on"},
        ])
    );
    assert_eq!(losses, "");
}

#[test]
fn turns_without_content_are_left_out_and_those_of_one_role_are_one() {
    let turns = |texts: &[(Role, &'static str)]| {
        texts.iter().map(|(role, text)| Turn { role: *role, blocks: vec![Block::text(*text)] }).collect()
    };
    let request = Request {
        model: "m".into(),
        system: vec![Block::text("")],
        turns: turns(&[
            (Role::User, ""),
            (Role::User, "one"),
            (Role::System, "two"),
            (Role::Assistant, "three"),
            (Role::Assistant, "four"),
            (Role::User, ""),
        ]),
        ..Request::default()
    };
    let (written, losses) = encoded(&request);
    assert_eq!(
        written,
        json!({"contents": [
            {"role": "user", "parts": [{"text": "one"}, {"text": "two"}]},
            {"role": "model", "parts": [{"text": "three"}, {"text": "four"}]},
        ]})
    );
    assert_eq!(losses, "mid_conversation_system=approximated");
}

#[test]
fn thinking_is_asked_for_as_the_model_takes_it() {
    let claude_code = json!({"type": "adaptive"});
    for (name, thinking, effort, expect) in [
        ("gemini-3-pro-preview", &claude_code, Some("high"), json!({"includeThoughts": true, "thinkingLevel": "HIGH"})),
        ("gemini-3-flash", &claude_code, None, json!({"includeThoughts": true})),
        ("gemini-2.5-pro", &claude_code, Some("medium"), json!({"includeThoughts": true, "thinkingBudget": 8192})),
        ("gemini-2.5-pro", &claude_code, None, json!({"includeThoughts": true, "thinkingBudget": -1})),
        (
            "gemini-2.5-flash",
            &json!({"type": "enabled", "budget_tokens": 31_999}),
            None,
            json!({"includeThoughts": true, "thinkingBudget": 24_576}),
        ),
        ("gemini-2.5-flash", &json!({"type": "disabled"}), None, json!({"thinkingBudget": 0})),
        ("gemini-2.5-pro", &json!({"type": "disabled"}), None, json!({"thinkingBudget": 128})),
        ("gemini-3-flash", &json!({"type": "disabled"}), None, json!({"thinkingLevel": "MINIMAL"})),
        ("gemini-3-pro-preview", &json!({"type": "disabled"}), None, json!({"thinkingLevel": "LOW"})),
        ("gemini-3-pro-preview", &Value::Null, Some("low"), json!({"thinkingLevel": "LOW"})),
    ] {
        let mut body = asked(&json!([user(&json!("hi"))]));
        body["thinking"] = thinking.clone();
        body["output_config"] = json!({"effort": effort});
        let (request, losses) = from_anthropic(name, &body);
        assert_eq!(request["generationConfig"]["thinkingConfig"], expect, "{name} {thinking} {effort:?}");
        // It is told where the model thinks all the same.
        let thinks_anyway = thinking["type"] == "disabled" && name != "gemini-2.5-flash";
        assert_eq!(losses == "thinking_off=dropped", thinks_anyway, "{name} {thinking}: {losses}");
    }
}

#[test]
fn what_gemini_does_not_have_is_said() {
    let mut body = asked(&json!([user(&json!([
        {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
        {"type": "document", "title": "Plan", "context": "Of last year.", "citations": {"enabled": true},
            "source": {"type": "text", "media_type": "text/plain", "data": "ü"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
    ]))]));
    body["tools"] = json!([
        {"name": "f", "input_schema": {"type": "object"}, "strict": true},
        {"type": "web_search_20250305", "name": "web_search"},
    ]);
    body["tool_choice"] = json!({"type": "auto", "disable_parallel_tool_use": true});
    body["metadata"] = json!({"user_id": "u"});
    body["service_tier"] = json!("auto");
    let (request, losses) = from_anthropic("gemini-3-flash", &body);
    assert_eq!(
        losses,
        "cache_control=dropped, document_citations=dropped, file=dropped, parallel_tools=dropped, strict_tools=approximated, \
         web_search=dropped, user=dropped, service_tier=dropped"
    );
    assert_eq!(
        request,
        json!({
            "contents": [{"role": "user", "parts": [
                {"text": "hi"},
                {"text": "The title of the document that follows: Plan\nOf last year."},
                {"inlineData": {"mimeType": "text/plain", "data": "w7w="}},
                {"text": "[An image that cannot be shown here was left out.]"},
            ]}],
            "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]}],
            "generationConfig": {"maxOutputTokens": 9},
            "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}},
        })
    );
    // Alone, the search is the provider's own.
    body["tools"] = json!([{"type": "web_search_20250305", "name": "web_search"}]);
    assert_eq!(from_anthropic("gemini-3-flash", &body).0["tools"], json!([{"googleSearch": {}}]));
}

// What Anthropic's model says, as a client of Gemini's dialect keeps it.
fn kept(stream: bool) -> Vec<Value> {
    let seal = Signature::new(Dialect::Anthropic, "EqQBCgIY+/9=");
    let events = [
        Event::Start { id: "msg_1".into(), model: "claude-x".into(), usage: Usage::default() },
        Event::Begin(Begin::Thinking),
        Event::Delta(Delta::Thinking("hm".into())),
        Event::Delta(Delta::Signature(seal)),
        Event::End,
        Event::Begin(Begin::Text),
        Event::Delta(Delta::Text("I look.".into())),
        Event::End,
        Event::Begin(Begin::ToolUse { id: "toolu_1".into(), name: "read".into(), signature: None }),
        Event::Delta(Delta::Input("{\"a\":".into())),
        Event::Delta(Delta::Input("1}".into())),
        Event::End,
        Event::Stop { stop: Stop::ToolUse, usage: Usage::default() },
        Event::Done,
    ];
    let (mut encoder, mut out) =
        (if stream { gemini::Encoder::default() } else { gemini::Encoder::list() }, Vec::new());
    events.iter().for_each(|event| encoder.push(event, &mut out));
    let text = String::from_utf8(out).unwrap();
    let chunks: Vec<Value> = if stream {
        text.split_terminator("\r\n\r\n")
            .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
            .collect()
    } else {
        serde_json::from_str(&text).unwrap()
    };
    chunks.iter().flat_map(|chunk| chunk["candidates"][0]["content"]["parts"].as_array().unwrap().clone()).collect()
}

#[test]
fn the_thinking_of_another_provider_survives_clients_that_forget_thoughts() {
    let parts = kept(true);
    assert_eq!(parts, kept(false));
    assert_eq!(parts[3]["functionCall"], json!({"id": "toolu_1", "name": "read", "args": {"a": 1}}));
    let seal = Signature::new(Dialect::Anthropic, "EqQBCgIY+/9=");
    let thinking = |text: &'static str, signature| Block::Thinking { text: text.into(), signature };
    let all: Vec<Value> = parts.clone();
    let forgetful: Vec<Value> = parts.into_iter().filter(|part| part["thought"] != true).collect();
    for (parts, expect) in [(all, thinking("hm", Some(seal.clone()))), (forgetful, thinking("", Some(seal)))] {
        // Google's SDKs keep each chunk as a content of its own, its other agents one content for all.
        let whole = vec![json!({"role": "model", "parts": parts})];
        let pieces = parts.iter().map(|part| json!({"role": "model", "parts": [part]})).collect();
        for contents in [whole, pieces] {
            let turns = decoded(&json!({"contents": contents}));
            let [Turn { blocks, .. }] = turns.as_slice() else { panic!("{turns:?}") };
            let (call, thoughts) = blocks.split_last().unwrap();
            assert_eq!(thoughts, [expect.clone(), Block::text("I look.")]);
            assert!(matches!(call, Block::ToolUse(call) if call.signature.is_none()), "{call:?}");
        }
    }
}

#[test]
fn a_streamed_answer_that_was_kept_in_its_pieces_is_one_turn() {
    let model = |part: Value| json!({"role": "model", "parts": [part]});
    let turns = decoded(&json!({"contents": [
        model(json!({"text": "I ", "thought": true})),
        model(json!({"text": "think.", "thought": true})),
        model(json!({"text": "Yes"})),
        model(json!({"text": "."})),
        model(json!({"text": "", "thoughtSignature": "U2VhbA=="})),
        model(json!({"text": ""})),
    ]}));
    let thinking = |text: &'static str, signature| Block::Thinking { text: text.into(), signature };
    let seal = Signature::new(Dialect::Gemini, "U2VhbA==");
    let blocks = vec![thinking("I think.", None), Block::text("Yes."), thinking("", Some(seal))];
    assert_eq!(turns, [Turn { role: Role::Assistant, blocks }]);
}

#[test]
fn calls_without_ids_have_other_ids_in_each_answer_and_the_same_each_time() {
    let answer = |id: &str, tokens: u64| {
        let call = json!({"functionCall": {"name": "f", "args": {}}});
        json!({
            "candidates": [{"content": {"role": "model", "parts": [call, call]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": tokens},
            "responseId": id,
        })
    };
    let ids = |answer: &Value| {
        let whole = serde_json::to_vec(answer).unwrap();
        let (mut decoder, mut streamed) = (Dialect::Gemini.stream_decoder(), Vec::new());
        let mut sink = |event: Event<'_>| {
            if let Event::Begin(Begin::ToolUse { id, .. }) = event {
                streamed.push(id.to_string());
            }
        };
        decoder.push(&whole, &mut sink);
        let read = Dialect::Gemini.decode_answer(&whole).unwrap();
        let calls = read.blocks.iter().map(|block| match block {
            Block::ToolUse(call) => call.id.to_string(),
            other => panic!("{other:?}"),
        });
        assert_eq!(calls.collect::<Vec<_>>(), streamed);
        streamed
    };
    assert_eq!(ids(&answer("aB_3-x", 1)), ["call_aB3-x_1", "call_aB3-x_2"]);
    let answers = [answer("", 1), answer("", 2), answer("r", 1)];
    let mut all: Vec<String> = answers.iter().flat_map(ids).collect();
    assert!(
        all.iter().all(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))),
        "{all:?}"
    );
    assert_eq!(ids(&answers[0]), all[..2]);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 6);
}

#[test]
fn a_stream_that_fails_says_so_in_either_form() {
    let failed = Event::Failed { class: ErrorClass::Overloaded, message: "Try again.".into() };
    let error = r#"{"error":{"code":503,"message":"Try again.","status":"UNAVAILABLE"}}"#;
    for (mut encoder, expect) in [
        (gemini::Encoder::default(), format!("data: {error}\r\n\r\n")),
        (gemini::Encoder::list(), format!("[{error}\n]")),
    ] {
        let mut out = Vec::new();
        encoder.push(&failed, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }
}

#[test]
fn an_error_says_where_in_the_body_it_is() {
    for (body, expect) in [
        (r#"{"contents":[{"role":"user","parts":[{"text":"a"},{"text":7}]}]}"#, "`contents[0].parts[1]`"),
        (r#"{"contents":[{"role":"robot","parts":[]}]}"#, "`contents[0].role`"),
        (r#"{"contents":[{"parts":[{"functionCall":{"args":{}}}]}]}"#, "`contents[0].parts[0].functionCall.name`"),
        (r#"{"contents":[],"generationConfig":{"topK":1.5}}"#, "`generationConfig.topK`"),
        (
            r#"{"contents":[],"tools":[{"functionDeclarations":[{"description":"x"}]}]}"#,
            "`tools[0].functionDeclarations[0].name`",
        ),
        (r#"{"systemInstruction":{"parts":[]}}"#, "The field `contents` is missing"),
    ] {
        let called = Called { model: Some("m".into()), stream: None };
        let error = Dialect::Gemini.decode_request(&called, body.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expect), "{body}: {error}");
    }
}

#[test]
fn hub_fields_that_only_another_client_sets_are_bounded() {
    let request = Request {
        model: "m".into(),
        stop_sequences: ["a", "b", "c", "d", "e", "f"].map(Into::into).to_vec(),
        tool_choice: Some(ToolChoice::Any),
        turns: vec![Turn {
            role: Role::User,
            blocks: vec![Block::Text { text: "x".into(), citations: Vec::new(), cache: Some(Cache::Hour) }],
        }],
        ..Request::default()
    };
    let (written, losses) = encoded(&request);
    assert_eq!(written["generationConfig"], json!({"stopSequences": ["a", "b", "c", "d", "e"]}));
    // A choice without functions is refused by the API.
    assert_eq!(written["toolConfig"], Value::Null);
    assert_eq!(losses, "cache_control_1h=dropped, stop_sequences=dropped");
}

// A part that the hub does not model is kept whole, and its seal stands beside it for clients of other dialects.
#[test]
fn the_seal_of_a_part_that_is_kept_whole_is_written_once() {
    let kept = |name: &str| json!({"executableCode": {"code": "1", "language": "PYTHON"}, name: "c2VhbA=="});
    let seal = |seal: &str| json!({"text": "", "thoughtSignature": seal});
    for (parts, seals) in [
        (json!([kept("thoughtSignature")]), 1),
        (json!([kept("thought_signature")]), 1),
        (json!([kept("thoughtSignature"), seal("b3RoZXI=")]), 2),
        (json!([kept("other"), seal("c2VhbA==")]), 1),
    ] {
        let body = json!({"contents": [{"role": "model", "parts": parts}]});
        let bytes = serde_json::to_vec(&body).unwrap();
        let called = Called { model: Some("m".into()), stream: None };
        let request = Dialect::Gemini.decode_request(&called, &bytes).unwrap();
        let (written, losses) = encoded(&request);
        assert_eq!((&written["contents"], &*losses), (&body["contents"], ""));
        let thoughts = request.turns[0].blocks.iter().filter(|block| matches!(block, Block::Thinking { .. })).count();
        assert_eq!(thoughts, seals, "{body}");
    }
}
