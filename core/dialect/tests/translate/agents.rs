//! What agents rely on when their model is another provider's.

use serde_json::{Value, json};
use tollgate_dialect::{
    Called, Dialect, Quirks,
    hub::{Block, Event, Losses, Role, ToolResult, ToolUse, Turn},
};

fn sent(source: Dialect, target: Dialect, quirks: &Quirks, body: &Value) -> (Value, String) {
    let body = serde_json::to_vec(body).unwrap();
    let called = Called { model: Some("claude-opus-5-5".into()), stream: None };
    let request = source.decode_request(&called, &body).unwrap();
    let mut losses = Losses::new(target);
    let sent = target.encode_request(&request, quirks, &mut losses);
    (serde_json::from_slice(&sent).unwrap(), losses.to_string())
}

fn codex(more: &Value) -> Value {
    let mut body = json!({
        "model": "claude-opus-5-5", "instructions": "You edit code.", "store": false, "reasoning": {"effort": "high"},
        "tools": [{"type": "function", "name": "run", "parameters": {"type": "object"}, "strict": false}],
        "input": [
            {"type": "message", "role": "user", "content": "Go."},
            {"type": "function_call", "call_id": "c", "name": "run", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "done"},
        ],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn an_agent_of_another_provider_thinks_on_claude_as_hard_as_it_asked() {
    let adaptive = json!({"type": "adaptive"});
    let old = Quirks { lacks_adaptive_thinking: true, lacks_effort: true, ..Quirks::default() };
    for (quirks, more, thinking, lost) in [
        (Quirks::default(), json!({}), adaptive.clone(), ""),
        (Quirks::default(), json!({"reasoning": {"effort": "minimal"}}), Value::Null, "effort=approximated"),
        (Quirks::default(), json!({"reasoning": {"effort": "none"}}), json!({"type": "disabled"}), ""),
        // A tool that must be called wins, and nothing was said of thinking itself.
        (Quirks::default(), json!({"tool_choice": "required"}), Value::Null, ""),
        (
            old,
            json!({}),
            json!({"type": "enabled", "budget_tokens": 24_576}),
            "thinking_adaptive=approximated, effort=dropped",
        ),
    ] {
        let mut body = codex(&more);
        if quirks == old {
            body["input"] = json!("Go.");
            body["model"] = json!("claude-opus-4-5");
        }
        let (request, losses) = sent(Dialect::OpenAiResponses, Dialect::Anthropic, &quirks, &body);
        assert_eq!((&request["thinking"], &*losses), (&thinking, lost), "{more}");
        let budget = request["thinking"]["budget_tokens"].as_u64().unwrap_or_default();
        assert!(request["max_tokens"].as_u64().unwrap() > budget);
    }
    let (request, _) = sent(Dialect::OpenAiResponses, Dialect::BedrockConverse, &Quirks::default(), &codex(&json!({})));
    assert_eq!(request["additionalModelRequestFields"]["thinking"], adaptive);
    assert_eq!(request["outputConfig"]["effort"], "high");
}

#[test]
fn the_conversation_of_an_agent_whose_provider_caches_unasked_is_cached_elsewhere_too() {
    let mark = json!({"type": "ephemeral"});
    let (request, losses) = sent(Dialect::OpenAiResponses, Dialect::Anthropic, &Quirks::default(), &codex(&json!({})));
    assert_eq!(request["system"][0]["cache_control"], mark);
    assert_eq!(request["messages"][2]["content"][0]["cache_control"], mark);
    assert_eq!((request.to_string().matches("cache_control").count(), &*losses), (2, ""));
    // Without instructions, behind the tools.
    let bare = codex(&json!({"instructions": null}));
    let (request, _) = sent(Dialect::OpenAiResponses, Dialect::Anthropic, &Quirks::default(), &bare);
    assert_eq!(request["tools"][0]["cache_control"], mark);
    let point = json!({"cachePoint": {"type": "default"}});
    let (request, _) = sent(Dialect::OpenAiResponses, Dialect::BedrockConverse, &Quirks::default(), &bare);
    assert_eq!(request["toolConfig"]["tools"][1], point);
    assert_eq!(request["messages"][2]["content"][1], point);
    // What is asked but once is not kept, and who marks for themselves is left alone.
    let once = json!({"model": "m", "messages": [{"role": "user", "content": "A title."}]});
    let (request, _) = sent(Dialect::OpenAiChat, Dialect::Anthropic, &Quirks::default(), &once);
    assert!(!request.to_string().contains("cache_control"));
    let marked = json!({"model": "m", "messages": [
        {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]});
    let (request, _) = sent(Dialect::OpenAiChat, Dialect::Anthropic, &Quirks::default(), &marked);
    assert_eq!(request.to_string().matches("cache_control").count(), 1);
}

#[test]
fn calls_without_results_and_results_without_calls_are_sent_to_nobody() {
    let call = |id: &'static str| {
        let input = tollgate_dialect::hub::Json::empty_object();
        Block::ToolUse(Box::new(ToolUse { id: id.into(), name: "run".into(), input, signature: None, cache: None }))
    };
    let result = |id: &'static str| {
        let blocks = vec![Block::text("lost and found")];
        Block::ToolResult(Box::new(ToolResult { tool_use_id: id.into(), blocks, is_error: false, cache: None }))
    };
    let turn = |role, blocks| Turn { role, blocks };
    let turns =
        vec![turn(Role::Assistant, vec![call("one")]), turn(Role::User, vec![result("other"), Block::text("Go on.")])];
    for source in Dialect::ALL {
        let request = tollgate_dialect::hub::Request { dialect: source, turns: turns.clone(), ..Default::default() };
        for target in Dialect::ALL.into_iter().filter(|target| *target != source) {
            let sent = target.encode_request(&request, &Quirks::default(), &mut Losses::new(target));
            let sent: Value = serde_json::from_slice(&sent).unwrap();
            let text = sent.to_string();
            assert!(text.contains("The tool gave no result.") && text.contains("lost and found"), "{text}");
            assert!(text.contains("Go on.") && !text.contains("\"other\""), "{text}");
            let turns = sent.get("messages").or(sent.get("contents")).or(sent.get("input")).unwrap();
            let is_lenient = matches!(target, Dialect::OpenAiChat | Dialect::OpenAiResponses);
            assert!(is_lenient || turns[0]["role"] == "user", "{text}");
        }
    }
}

#[test]
fn a_request_of_which_nothing_is_left_still_asks_something() {
    for source in Dialect::ALL {
        let request = tollgate_dialect::hub::Request { dialect: source, ..Default::default() };
        for target in Dialect::ALL.into_iter().filter(|target| *target != source) {
            let sent = target.encode_request(&request, &Quirks::default(), &mut Losses::new(target));
            let sent: Value = serde_json::from_slice(&sent).unwrap();
            let turns = sent.get("messages").or(sent.get("contents")).or(sent.get("input")).unwrap();
            assert_eq!(turns.as_array().unwrap().len(), 1, "{sent}");
        }
    }
}

#[test]
fn a_call_that_gemini_could_not_write_is_a_failure_that_can_be_tried_again() {
    let body = br#"{"candidates":[{"content":{"parts":[]},"finishReason":"MALFORMED_FUNCTION_CALL"}],"usageMetadata":{"promptTokenCount":1}}"#;
    assert!(Dialect::Gemini.decode_answer(body).unwrap_err().to_string().ends_with('.'));
    let mut decoder = Dialect::Gemini.stream_decoder();
    let mut events = Vec::new();
    let wire = [b"data: ".as_slice(), body, b"\n\n"].concat();
    decoder.push(&wire, &mut |event| events.push(matches!(event, Event::Failed { .. })));
    decoder.end(&mut |event| events.push(matches!(event, Event::Failed { .. })));
    assert_eq!(events.iter().filter(|failed| **failed).count(), 1);
    assert_eq!(events.last(), Some(&true));
}

#[test]
fn who_wants_to_see_the_thinking_means_that_the_model_thinks() {
    let gemini = json!({"contents": [{"role": "user", "parts": [{"text": "Go."}]}],
        "generationConfig": {"temperature": 1, "topP": 0.95, "topK": 64, "thinkingConfig": {"includeThoughts": true}}});
    let shown = json!({"type": "adaptive", "display": "summarized"});
    let (request, losses) = sent(Dialect::Gemini, Dialect::Anthropic, &Quirks::default(), &gemini);
    assert_eq!((&request["thinking"], &*losses), (&shown, "temperature=dropped, top_p=dropped, top_k=dropped"));
    assert_eq!((request.get("temperature"), request.get("top_k")), (None, None));
    let (request, _) = sent(
        Dialect::OpenAiResponses,
        Dialect::Anthropic,
        &Quirks::default(),
        &codex(&json!({"reasoning": {"summary": "auto"}})),
    );
    assert_eq!(request["thinking"], shown);
    let (request, _) = sent(Dialect::Gemini, Dialect::BedrockConverse, &Quirks::default(), &gemini);
    assert_eq!(request["additionalModelRequestFields"], json!({"thinking": shown}));
}

#[test]
fn an_answer_without_a_limit_has_the_room_that_its_model_gives() {
    let plain = codex(&json!({"reasoning": null}));
    for (known, thinking, expect) in [
        (None, json!(null), 8_192),
        (Some(128_000), json!(null), 32_000),
        (Some(4_096), json!(null), 4_096),
        (Some(64_000), json!({"effort": "high"}), 32_000),
    ] {
        let quirks = Quirks { output_tokens_max: known, ..Quirks::default() };
        let body = if thinking.is_null() { plain.clone() } else { codex(&json!({"reasoning": thinking})) };
        let (request, _) = sent(Dialect::OpenAiResponses, Dialect::Anthropic, &quirks, &body);
        assert_eq!(request["max_tokens"], expect, "{known:?} {thinking}");
    }
}

// What Gemini streams, as Claude Code reads it: the kinds of the blocks, in order.
fn blocks_of(parts: &[Value]) -> Vec<String> {
    let (mut decoder, mut encoder) = (Dialect::Gemini.stream_decoder(), Dialect::Anthropic.stream_encoder());
    let mut out = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let is_last = number + 1 == parts.len();
        let finish = if is_last { json!("STOP") } else { Value::Null };
        let chunk = json!({"candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": finish, "index": 0}]});
        decoder.push(format!("data: {chunk}\r\n\r\n").as_bytes(), &mut |event| encoder.push(&event, &mut out));
    }
    decoder.end(&mut |event| encoder.push(&event, &mut out));
    let text = String::from_utf8(out).unwrap();
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = events.map(|data| serde_json::from_str::<Value>(data).unwrap());
    let starts = events.filter(|event| event["type"] == "content_block_start");
    starts.map(|start| start["content_block"]["type"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_text_that_is_sealed_is_the_last_that_claude_code_reads() {
    let (text, seal) = (json!({"text": "Done."}), json!({"text": "", "thoughtSignature": "U2VhbA=="}));
    let thought = json!({"text": "Hm.", "thought": true});
    let call = json!({"functionCall": {"name": "run", "args": {}}});
    for (parts, expect) in [
        (vec![text.clone(), seal.clone()], vec!["text"]),
        (vec![thought.clone(), text.clone(), seal.clone()], vec!["thinking", "text"]),
        // Where something follows, the seal has its place.
        (vec![text.clone(), seal.clone(), call.clone()], vec!["text", "thinking", "tool_use"]),
        (vec![text.clone(), seal.clone(), text.clone()], vec!["text", "thinking", "text"]),
        (vec![text, thought, seal.clone()], vec!["text", "thinking", "thinking"]),
        (vec![seal], vec!["thinking"]),
    ] {
        assert_eq!(blocks_of(&parts), expect, "{parts:?}");
    }
}
