use super::*;
use crate::hub::{
    Effort, Hosted, Media, Sampling, Signature, Source, Thinking, ThinkingMode, Tool, ToolChoice, ToolResult, ToolUse,
    Turn,
};
use serde_json::{Value, json};

const CLAUDE: &str = "us.anthropic.claude-sonnet-5-5";

// What becomes of a request of Messages with these fields, and what it loses.
fn written(model: &str, fields: Value) -> (Value, String) {
    let mut body = json!({"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}]});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let body = body.to_string();
    let request = Dialect::Anthropic.decode_request(&crate::Called::default(), body.as_bytes()).unwrap();
    of(&request)
}

fn of(request: &Request<'_>) -> (Value, String) {
    let mut losses = Losses::new(Dialect::BedrockConverse);
    let body = encode_request(request, &Quirks::default(), &mut losses);
    (serde_json::from_slice(&body).unwrap(), losses.to_string())
}

// What stands at that place for a request of Messages.
fn check(model: &str, fields: Value, at: &str, expected: Value, losses: &str) {
    let (found, lost) = written(model, fields.clone());
    assert_eq!((found.pointer(at).unwrap_or(&Value::Null), lost.as_str()), (&expected, losses), "{at} of {fields}");
}

fn tool() -> Value {
    json!([{"name": "look", "input_schema": {"type": "object"}}])
}

fn called() -> Value {
    json!([
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1"}]},
    ])
}

#[test]
fn no_tool_may_be_called_is_said_by_leaving_them_out_or_in_words() {
    let none = json!({"type": "none"});
    let alone = json!({"tools": tool(), "tool_choice": none});
    check(CLAUDE, alone.clone(), "/toolConfig", Value::Null, "tool_choice_none=approximated");
    check(CLAUDE, alone, "/system", Value::Null, "tool_choice_none=approximated");
    let with_calls = json!({"tools": tool(), "tool_choice": none, "messages": called()});
    let config = json!({"tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}]});
    check(CLAUDE, with_calls.clone(), "/toolConfig", config, "tool_choice_none=approximated");
    check(CLAUDE, with_calls, "/system/0/text", json!(NO_TOOL_INSTRUCTION), "tool_choice_none=approximated");
}

#[test]
fn calls_in_the_history_have_their_tools_defined() {
    let config = json!({"tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}]});
    check(CLAUDE, json!({"messages": called()}), "/toolConfig", config, "");
    check(CLAUDE, json!({"messages": called()}), "/system/0/text", json!(NO_TOOL_INSTRUCTION), "");
    check(CLAUDE, json!({}), "/toolConfig", Value::Null, "");
}

#[test]
fn roles_alternate_and_results_of_tools_come_first() {
    let messages = json!([
        {"role": "user", "content": "One"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": [{"type": "text", "text": " \n"}]},
        {"role": "user", "content": "three."},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
        {"role": "user", "content": "Now?"},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "So."}]},
    ]);
    let expected = json!([
        {"role": "user", "content": [{"text": "One"}, {"text": "two"}, {"text": "three."}]},
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t1", "name": "look", "input": {}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "So."}]}}, {"text": "Now?"}]},
    ]);
    check(CLAUDE, json!({"messages": messages, "tools": tool()}), "/messages", expected, "");
}

#[test]
fn an_empty_result_says_so_and_bears_the_marks_inside_it() {
    check(
        CLAUDE,
        json!({"messages": called(), "tools": tool()}),
        "/messages/2/content/0/toolResult/content/0/text",
        json!("(no output)"),
        "",
    );
    let mut messages = called();
    let marked = json!({"type": "text", "text": "So.", "cache_control": {"type": "ephemeral", "ttl": "1h"}});
    messages[2]["content"][0]["content"] = json!([marked]);
    let expected = json!([
        {"toolResult": {"toolUseId": "t1", "content": [{"text": "So."}]}},
        {"cachePoint": {"type": "default", "ttl": "1h"}},
    ]);
    check(CLAUDE, json!({"messages": messages, "tools": tool()}), "/messages/2/content", expected, "");
}

#[test]
fn instructions_in_the_middle_are_claudes_alone() {
    let messages = json!([
        {"role": "user", "content": "Hello"},
        {"role": "system", "content": "Be brief."},
    ]);
    let asked = json!({"messages": messages});
    check(CLAUDE, asked.clone(), "/messages/1/role", json!("system"), "");
    let joined = json!([{"role": "user", "content": [{"text": "Hello"}, {"text": "Be brief."}]}]);
    check("us.amazon.nova-pro-v1:0", asked, "/messages", joined, "mid_conversation_system=approximated");
}

#[test]
fn a_document_has_a_name_and_a_text_beside_it() {
    let source = json!({"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="});
    let document = json!({"type": "document", "source": source, "title": "a/b.pdf"});
    let messages = json!([{"role": "user", "content": [document, {"type": "document", "source": source}]}]);
    let expected = json!([
        {"document": {"format": "pdf", "name": "a-b-pdf", "source": {"bytes": "JVBERg=="}}},
        {"document": {"format": "pdf", "name": "Document 1", "source": {"bytes": "JVBERg=="}}},
        {"text": DOCUMENT_TEXT},
    ]);
    check(CLAUDE, json!({"messages": messages}), "/messages/0/content", expected, "");
    let link = json!([{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}}]}]);
    let expected = json!([{"text": "[Image: https://x.example/a.png]"}]);
    check(CLAUDE, json!({"messages": link}), "/messages/0/content", expected, "image_url=approximated");
}

#[test]
fn thinking_goes_back_to_whoever_sealed_it() {
    let thought = |seal: &str| {
        json!({"messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": seal}, {"type": "text", "text": "Yes."}]},
        ]})
    };
    let shown = |seal: &str| json!({"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": seal}}});
    let at = "/messages/1/content/0";
    check(CLAUDE, thought("EqQB"), at, shown("EqQB"), "");
    check(CLAUDE, thought("tollgate.1.bedrock_converse.Zm9v"), at, shown("Zm9v"), "");
    check(CLAUDE, thought(""), at, json!({"text": "Yes."}), "foreign_thinking=dropped");
}

#[test]
fn what_a_model_is_told_beside_the_api_has_the_form_of_its_maker() {
    let fields = "/additionalModelRequestFields";
    let budget = json!({"thinking": {"type": "enabled", "budget_tokens": 5000}, "top_k": 40});
    // As Messages has it: thinking has room beside it, and how tokens are drawn is then the model's affair.
    let roomy = json!({"thinking": budget["thinking"], "top_k": 40, "max_tokens": 9000});
    let thinking = json!({"thinking": budget["thinking"]});
    let profile = "arn:aws:bedrock:eu-west-1:1:application-inference-profile/abc";
    for model in [CLAUDE, profile, "anthropic.claude-haiku-4-5-20251001-v1:0"] {
        check(model, roomy.clone(), fields, thinking.clone(), "top_k=dropped");
        check(model, budget.clone(), fields, json!({"top_k": 40}), "thinking_budget=dropped");
    }
    let nova = json!({"inferenceConfig": {"topK": 40}, "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}});
    check("us.amazon.nova-2-lite-v1:0", budget.clone(), fields, nova, "thinking_budget=approximated");
    check(
        "openai.gpt-oss-120b-1:0",
        budget.clone(),
        fields,
        json!({"reasoning_effort": "medium"}),
        "thinking_budget=approximated, top_k=dropped",
    );
    check(
        "us.meta.llama4-maverick-17b-instruct-v1:0",
        budget,
        fields,
        Value::Null,
        "thinking_budget=dropped, top_k=dropped",
    );
    let hard = json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}});
    check(CLAUDE, hard.clone(), "/outputConfig", json!({"effort": "max"}), "");
    let capped = json!({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}});
    check("amazon.nova-2-lite-v1:0", hard, fields, capped, "effort=approximated");
    let off = json!({"thinking": {"type": "disabled"}});
    check("amazon.nova-2-lite-v1:0", off.clone(), fields, json!({"reasoningConfig": {"type": "disabled"}}), "");
    check(CLAUDE, off.clone(), fields, off, "");
}

#[test]
fn a_newer_claude_gets_neither_a_budget_nor_a_temperature_and_an_older_one_no_instructions_in_the_middle() {
    let asked = |model: &str| {
        let body = json!({"model": model, "max_tokens": 9000, "temperature": 0.5, "top_k": 40,
            "messages": [{"role": "user", "content": "Hello"}, {"role": "system", "content": "Be brief."}]});
        let body = body.to_string();
        let request = Dialect::Anthropic.decode_request(&crate::Called::default(), body.as_bytes()).unwrap();
        let mut losses = Losses::new(Dialect::BedrockConverse);
        let body = Dialect::BedrockConverse.encode_request(&request, &Quirks::default(), &mut losses);
        let body: Value = serde_json::from_slice(&body).unwrap();
        let temperature = body["inferenceConfig"]["temperature"].clone();
        (temperature, body["additionalModelRequestFields"]["top_k"].clone(), body["messages"][1]["role"].clone())
    };
    assert_eq!(asked("us.anthropic.claude-opus-4-6-v1"), (json!(0.5), json!(40), Value::Null));
    assert_eq!(asked("us.anthropic.claude-opus-4-8"), (Value::Null, Value::Null, json!("system")));
}

#[test]
fn what_the_api_has_no_field_for_is_told_in_words_or_left_out() {
    let one = json!({"tools": tool(), "tool_choice": {"type": "auto", "disable_parallel_tool_use": true}});
    check(CLAUDE, one, "/system/0/text", json!(ONE_TOOL_INSTRUCTION), "parallel_tools=approximated");
    let search = json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]});
    check(CLAUDE, search.clone(), "/toolConfig", Value::Null, "web_search=dropped");
    let grounded = json!({"tools": [{"systemTool": {"name": "nova_grounding"}}]});
    check("us.amazon.nova-premier-v1:0", search, "/toolConfig", grounded, "web_search=approximated");
    let request = Request {
        sampling: Sampling {
            temperature: Some(1.5),
            seed: Some(7),
            presence_penalty: Some(1.0),
            ..Sampling::default()
        },
        format: Format::Json,
        user: Some("u".into()),
        ..Request::default()
    };
    let (found, losses) = of(&request);
    assert_eq!(
        found,
        json!({"messages": [{"role": "user", "content": [{"text": OPENING}]}], "system": [{"text": JSON_INSTRUCTION}], "inferenceConfig": {"temperature": 1.0}})
    );
    assert_eq!(
        losses,
        "temperature_above_1=approximated, seed=dropped, penalties=dropped, json_format=approximated, user=dropped"
    );
}

#[test]
fn ids_that_the_api_refuses_are_replaced_alike_in_call_and_result() {
    let id = format!("call|{}", "x".repeat(80));
    let call = ToolUse {
        id: id.as_str().into(),
        name: "look".into(),
        input: Json::empty_object(),
        signature: None,
        cache: None,
    };
    let result = ToolResult { tool_use_id: id.as_str().into(), blocks: Vec::new(), is_error: true, cache: None };
    let turns = vec![
        Turn { role: Role::Assistant, blocks: vec![Block::ToolUse(Box::new(call))] },
        Turn { role: Role::User, blocks: vec![Block::ToolResult(Box::new(result))] },
    ];
    let (found, _) = of(&Request { turns, ..Request::default() });
    let sent = found.pointer("/messages/1/content/0/toolUse/toolUseId").and_then(Value::as_str).unwrap();
    assert_eq!(found.pointer("/messages/2/content/0/toolResult/toolUseId"), Some(&json!(sent)));
    assert_eq!(found.pointer("/messages/2/content/0/toolResult/status"), Some(&json!("error")));
    assert!(
        sent.len() <= 64 && sent.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte)),
        "{sent}"
    );
}

#[test]
fn what_nobody_else_can_read_is_left_out() {
    let file = Media::new(MediaKind::Image, Source::File { id: "f".into() });
    let drawing =
        Media::new(MediaKind::Image, Source::Base64 { media_type: "image/svg+xml".into(), data: "PHN2Zz4=".into() });
    let sealed = Block::RedactedThinking { data: Signature::new(Dialect::BedrockConverse, "Zm9v") };
    let blocks = vec![Block::Media(Box::new(file)), Block::Media(Box::new(drawing)), sealed];
    let hosted = Tool::Hosted { hosted: Hosted::CodeExecution, kind: "code".into(), json: Json::empty_object() };
    let request = Request {
        turns: vec![Turn { role: Role::Assistant, blocks }],
        tools: vec![hosted],
        tool_choice: Some(ToolChoice::Any),
        thinking: Thinking { mode: Some(ThinkingMode::Budget(9)), effort: Some(Effort::High), is_shown: None },
        model: "cohere.command-r-plus-v1:0".into(),
        ..Request::default()
    };
    let (found, losses) = of(&request);
    assert_eq!(
        found,
        json!({"messages": [
            {"role": "user", "content": [{"text": OPENING}]},
            {"role": "assistant", "content": [
                {"text": MediaKind::Image.left_out()},
                {"text": MediaKind::Image.left_out()},
                {"reasoningContent": {"redactedContent": "Zm9v"}},
            ]},
        ]})
    );
    assert_eq!(losses, "image=dropped, file=dropped, hosted_tool=dropped, thinking_budget=dropped, effort=dropped");
}
