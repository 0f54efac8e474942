//! What becomes of requests of other dialects that the API would refuse.

use serde_json::{Value, json};

use super::*;
use crate::hub::{Block, Citation, Media, MediaKind, Sampling, Signature, Source, Thinking, ToolResult, ToolUse, Turn};

fn asked<'a>() -> Request<'a> {
    Request { turns: vec![said(Role::User, vec![Block::text("Hi.")])], ..Request::default() }
}

fn said<'a>(role: Role, blocks: Vec<Block<'a>>) -> Turn<'a> {
    Turn { role, blocks }
}

fn call<'a>(id: &'a str, signature: Option<Signature<'a>>) -> Block<'a> {
    let (name, input) = ("f".into(), Json::empty_object());
    Block::ToolUse(Box::new(ToolUse { id: id.into(), name, input, signature, cache: None }))
}

fn result(id: &str) -> Block<'_> {
    let blocks = vec![Block::text("ok")];
    Block::ToolResult(Box::new(ToolResult { tool_use_id: id.into(), blocks, is_error: false, cache: None }))
}

fn function<'a>(name: &'a str, schema: &'a str) -> Tool<'a> {
    let input_schema = Json::parse(schema).unwrap();
    Tool::Function { name: name.into(), description: None, input_schema, strict: None, cache: None, rest: Vec::new() }
}

fn written(request: &Request<'_>, quirks: Quirks) -> (Value, String) {
    let mut losses = Losses::new(Dialect::Anthropic);
    let body = write(request, false, &quirks, &mut losses);
    (serde_json::from_slice(&body).unwrap(), losses.to_string())
}

/// The fields of the request that are named, and what is lost.
#[track_caller]
fn check(request: &Request<'_>, quirks: Quirks, expect: Value, lost: &str) {
    let (body, losses) = written(request, quirks);
    for (name, value) in expect.as_object().unwrap() {
        assert_eq!(&body[name], value, "{name} of {body}");
    }
    assert_eq!(losses, lost, "{body}");
}

#[test]
fn thinking_gives_way_to_forced_tools_and_drawing_gives_way_to_thinking() {
    let sampling = |temperature, top_p, top_k| Sampling { temperature, top_p, top_k, ..Sampling::default() };
    let enabled = |tokens: u64| json!({"type": "enabled", "budget_tokens": tokens});
    let adaptive = json!({"type": "adaptive"});
    let (budget, free) = (Some(ThinkingMode::Budget(2_048)), Some(ThinkingMode::Adaptive));
    let named = Some(ToolChoice::Tool { name: "f".into() });
    for (mode, choice, most, drawn, expect, lost) in [
        (budget, None, Some(9_000), sampling(None, None, None), json!({"thinking": enabled(2_048)}), ""),
        (budget, None, None, sampling(None, None, None), json!({"thinking": enabled(2_048), "max_tokens": 10_240}), ""),
        (free, None, None, sampling(None, None, None), json!({"thinking": adaptive, "max_tokens": 32_000}), ""),
        (None, None, None, sampling(None, None, None), json!({"thinking": null, "max_tokens": 8_192}), ""),
        // The budget is less than the limit, and never less than 1024.
        (
            budget,
            None,
            Some(2_048),
            sampling(None, None, None),
            json!({"thinking": enabled(2_047), "max_tokens": 2_048}),
            "thinking_budget=approximated",
        ),
        (
            budget,
            None,
            Some(1_000),
            sampling(None, None, None),
            json!({"thinking": null, "max_tokens": 1_000}),
            "thinking_budget=dropped",
        ),
        (
            Some(ThinkingMode::Budget(1)),
            None,
            None,
            sampling(None, None, None),
            json!({"thinking": enabled(1_024)}),
            "thinking_budget=approximated",
        ),
        // Whoever must call a tool does not think.
        (
            budget,
            named.clone(),
            None,
            sampling(Some(0.5), None, None),
            json!({"thinking": null, "temperature": 0.5, "tool_choice": {"type": "tool", "name": "f"}}),
            "thinking_budget=dropped",
        ),
        (
            free,
            Some(ToolChoice::Any),
            None,
            sampling(None, None, None),
            json!({"thinking": null, "tool_choice": {"type": "any"}}),
            "thinking_adaptive=dropped",
        ),
        (free, Some(ToolChoice::Auto), None, sampling(None, None, None), json!({"thinking": adaptive}), ""),
        // Whoever thinks draws as the API has it.
        (
            free,
            None,
            None,
            sampling(Some(0.5), None, Some(40)),
            json!({"temperature": null, "top_k": null}),
            "temperature=dropped, top_k=dropped",
        ),
        (free, None, None, sampling(Some(1.0), None, None), json!({"temperature": 1.0}), ""),
        (free, None, None, sampling(None, Some(0.9), None), json!({"top_p": null}), "top_p=dropped"),
        (free, None, None, sampling(None, Some(0.97), None), json!({"top_p": 0.97}), ""),
        (
            None,
            None,
            None,
            sampling(Some(0.5), Some(0.9), Some(40)),
            json!({"temperature": 0.5, "top_p": null, "top_k": 40}),
            "top_p=dropped",
        ),
        (
            None,
            None,
            None,
            sampling(Some(1.5), None, None),
            json!({"temperature": 1.0}),
            "temperature_above_1=approximated",
        ),
    ] {
        let thinking = Thinking { mode, ..Thinking::default() };
        let tools = vec![function("f", "{\"type\":\"object\"}")];
        let request =
            Request { tools, thinking, tool_choice: choice, output_tokens_max: most, sampling: drawn, ..asked() };
        check(&request, Quirks::default(), expect, lost);
    }
}

#[test]
fn a_model_is_asked_only_for_what_it_has() {
    let thinking = Thinking { mode: Some(ThinkingMode::Budget(20_000)), effort: None, is_shown: Some(true) };
    let sampling = Sampling { temperature: Some(1.0), top_p: Some(0.99), top_k: Some(2), ..Sampling::default() };
    let request = Request { thinking, sampling, ..asked() };
    let quirks = Quirks { lacks_sampling: true, lacks_thinking_budget: true, ..Quirks::default() };
    check(
        &request,
        quirks,
        json!({"temperature": null, "top_p": null, "top_k": null, "thinking": {"type": "adaptive", "display": "summarized"},
            "output_config": {"effort": "high"}}),
        "thinking_budget=approximated, temperature=dropped, top_p=dropped, top_k=dropped",
    );
    let effort = Thinking { effort: Some(Effort::Minimal), ..Thinking::default() };
    let request = Request { thinking: effort, ..asked() };
    check(&request, Quirks::default(), json!({"output_config": {"effort": "low"}}), "effort=approximated");
    let quirks = Quirks { lacks_effort: true, ..Quirks::default() };
    check(&request, quirks, json!({"output_config": null}), "effort=dropped");

    let turns = vec![
        said(Role::User, vec![Block::text("Hi.")]),
        said(Role::System, vec![Block::text("Be brief.")]),
        said(Role::Assistant, vec![Block::text("Yes.")]),
        said(Role::User, vec![Block::text("So?")]),
    ];
    let request = Request { turns, ..Request::default() };
    let texts =
        |texts: &[&str]| json!(texts.iter().map(|text| json!({"type": "text", "text": text})).collect::<Vec<_>>());
    let quirks = Quirks { lacks_system_turns: true, ..Quirks::default() };
    check(
        &request,
        quirks,
        json!({"messages": [
            {"role": "user", "content": texts(&["Hi.", INSTRUCTION, "Be brief."])},
            {"role": "assistant", "content": texts(&["Yes."])},
            {"role": "user", "content": texts(&["So?"])},
        ]}),
        "mid_conversation_system=approximated",
    );
    let (body, losses) = written(&request, Quirks::default());
    assert_eq!((body["messages"][1]["role"].as_str(), losses.as_str()), (Some("system"), ""));
}

#[test]
fn a_conversation_is_put_in_order_and_its_ids_and_names_are_spelled() {
    let turns = vec![
        said(Role::Assistant, vec![call("functions.f:0", None), call("b", None)]),
        said(Role::User, vec![Block::text(" \n"), Block::text("Wait.")]),
        said(Role::User, vec![result("functions.f:0")]),
    ];
    let tools = vec![
        function("git.log", "{}"),
        function("g", "{\"properties\":{\"a\":{}}}"),
        function("h", "{\"type\":\"object\"}"),
    ];
    let tool_choice = Some(ToolChoice::Tool { name: "git.log".into() });
    let (body, _) = written(&Request { turns, tools, tool_choice, ..Request::default() }, Quirks::default());
    let shown: Vec<Value> = body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|turn| {
            let block = |block: &Value| {
                let id = block.get("id").or(block.get("tool_use_id")).or(block.get("text"));
                id.cloned().unwrap()
            };
            json!(turn["content"].as_array().unwrap().iter().map(block).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(shown[1..], [json!(["functions_x2ef_x3a0-tg", "b"]), json!(["functions_x2ef_x3a0-tg", "b", "Wait."])]);
    assert_eq!(body["messages"][2]["content"][1]["is_error"], true);
    assert_eq!(
        body["tools"],
        json!([
            {"name": "git_x2elog-tg", "input_schema": {"type": "object", "properties": {}}},
            {"name": "g", "input_schema": {"type": "object", "properties": {"a": {}}}},
            {"name": "h", "input_schema": {"type": "object"}},
        ])
    );
    assert_eq!(body["tool_choice"]["name"], "git_x2elog-tg");
    let bytes = serde_json::to_vec(&body).unwrap();
    let back = super::super::decode_request(&crate::Called { model: Some("m".into()), stream: None }, &bytes).unwrap();
    assert!(matches!(&back.turns[1].blocks[0], Block::ToolUse(call) if &*call.id == "functions.f:0"));
    assert!(matches!(&back.turns[2].blocks[0], Block::ToolResult(result) if &*result.tool_use_id == "functions.f:0"));
    assert!(matches!(&back.tools[0], Tool::Function { name, .. } if &**name == "git.log"));
    assert_eq!(back.tool_choice, Some(ToolChoice::Tool { name: "git.log".into() }));
    // A choice without tools, of which only a hosted one is left out here, is none.
    let hosted = Tool::Hosted { hosted: Hosted::Other, kind: "x".into(), json: Json::empty_object() };
    let request = Request { tools: vec![hosted], tool_choice: Some(ToolChoice::Any), ..asked() };
    check(&request, Quirks::default(), json!({"tools": null, "tool_choice": null}), "hosted_tool=dropped");
}

#[test]
fn seals_of_calls_come_back_and_an_unthought_loop_is_not_thought_about() {
    let seal = || Signature::new(Dialect::Anthropic, "c2VhbA==");
    let thought = |text: &'static str| Block::Thinking { text: text.into(), signature: Some(seal()) };
    let thinking = Thinking { mode: Some(ThinkingMode::Budget(2_048)), ..Thinking::default() };
    let bare = json!({"type": "thinking", "thinking": "", "signature": "c2VhbA=="});
    let shown = json!({"type": "thinking", "thinking": "Hm.", "signature": "c2VhbA=="});
    for (model, first, calls, lost) in [
        (vec![call("a", Some(seal())), call("b", None)], bare.clone(), 2, ""),
        (vec![thought("Hm."), call("a", Some(seal()))], shown, 1, ""),
        (
            vec![call("a", None)],
            json!({"type": "tool_use", "id": "a", "name": "f", "input": {}}),
            1,
            "thinking_budget=dropped",
        ),
        (
            vec![Block::Thinking { text: "Hm.".into(), signature: None }, call("a", None)],
            json!({"type": "tool_use", "id": "a", "name": "f", "input": {}}),
            1,
            "foreign_thinking=dropped, thinking_budget=dropped",
        ),
    ] {
        let results = model
            .iter()
            .filter_map(|block| match block {
                Block::ToolUse(call) => Some(result(if &*call.id == "a" { "a" } else { "b" })),
                _ => None,
            })
            .collect();
        let turns =
            vec![said(Role::User, vec![Block::text("Hi.")]), said(Role::Assistant, model), said(Role::User, results)];
        let (body, losses) = written(&Request { turns, thinking, ..Request::default() }, Quirks::default());
        let content = body["messages"][1]["content"].as_array().unwrap();
        assert_eq!((&content[0], losses.as_str()), (&first, lost), "{body}");
        assert_eq!(content.iter().filter(|block| block["type"] == "tool_use").count(), calls);
        assert_eq!(
            content.iter().filter(|block| block["type"] == "thinking").count(),
            usize::from(first["type"] == "thinking")
        );
    }
}

#[test]
fn what_the_api_cannot_read_is_left_out_with_a_word() {
    let bytes = |kind, media_type: &'static str| {
        Block::Media(Box::new(Media::new(kind, Source::Base64 { media_type: media_type.into(), data: "AAAA".into() })))
    };
    let file = || Block::Media(Box::new(Media::new(MediaKind::Image, Source::File { id: "file-1".into() })));
    let detailed = || {
        let url = Source::Url { url: "https://x.example/a.png".into(), media_type: None };
        Block::Media(Box::new(Media { detail: Some("high".into()), ..Media::new(MediaKind::Image, url) }))
    };
    for (block, kind, lost) in [
        (bytes(MediaKind::Image, "image/png"), "image", ""),
        (bytes(MediaKind::Image, "image/jpg"), "image", ""),
        (bytes(MediaKind::Image, "image/heic"), "text", "image=dropped"),
        (bytes(MediaKind::Document, "application/pdf"), "document", ""),
        (bytes(MediaKind::Document, "text/csv"), "text", "document=dropped"),
        (file(), "text", "file=dropped"),
        (detailed(), "image", "detail=dropped"),
    ] {
        let request = Request { turns: vec![said(Role::User, vec![block])], ..Request::default() };
        let (body, losses) = written(&request, Quirks::default());
        let content = &body["messages"][0]["content"][0];
        assert_eq!((content["type"].as_str(), losses.as_str()), (Some(kind), lost), "{body}");
        assert_ne!(content["source"]["media_type"], "image/jpg");
    }
    let pictured = said(Role::Assistant, vec![bytes(MediaKind::Image, "image/png")]);
    let turns =
        vec![said(Role::User, vec![Block::text("Draw.")]), pictured, said(Role::User, vec![Block::text("Thanks.")])];
    let (body, losses) = written(&Request { turns, ..Request::default() }, Quirks::default());
    assert_eq!((body["messages"][1]["content"][0]["type"].as_str(), losses.as_str()), (Some("text"), "image=dropped"));
}

#[test]
fn words_that_the_api_refuses_are_not_sent() {
    let stops = vec!["\n".into(), "END".into()];
    let request = Request { stop_sequences: stops, user: Some("someone@mail.example".into()), ..asked() };
    check(
        &request,
        Quirks::default(),
        json!({"stop_sequences": ["END"], "metadata": null}),
        "stop_sequences=dropped, user=dropped",
    );
    for (user, is_sent) in [
        ("user-123", true),
        ("8f14e45f", true),
        ("+1 (555) 010-9999", false),
        ("12345678", false),
        (&*"x".repeat(257), false),
    ] {
        let (body, _) = written(&Request { user: Some(user.into()), ..asked() }, Quirks::default());
        assert_eq!(body.get("metadata").is_some(), is_sent, "{user}");
    }
    // A citation of another provider is not this one's.
    let cited = Citation { url: Some("https://x.example".into()), ..Citation::default() };
    let block = Block::Text { text: "So it is.".into(), citations: vec![cited], cache: None };
    let turns = vec![
        said(Role::User, vec![Block::text("Hi.")]),
        said(Role::Assistant, vec![block.clone()]),
        said(Role::User, vec![Block::text("So?")]),
    ];
    let (body, losses) = written(&Request { turns, ..Request::default() }, Quirks::default());
    assert_eq!((body["messages"][1]["content"][0].get("citations"), losses.as_str()), (None, "citations=dropped"));
    // Its client is told of it, and what the client sends back is still not this one's.
    let said = serde_json::to_string(&super::super::block::said(&block).unwrap()).unwrap();
    let back = super::super::decode::block(serde_json::from_str(&said).unwrap()).unwrap();
    assert_eq!(back, block_with_texts(&said));
}

fn block_with_texts(said: &str) -> Block<'static> {
    assert!(said.contains("https://x.example"));
    let cited =
        Citation { url: Some("https://x.example".into()), title: None, cited_text: Some("".into()), native: None };
    Block::Text { text: "So it is.".into(), citations: vec![cited], cache: None }
}
