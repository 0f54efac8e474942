//! What the Responses API has of its own: tools that are no functions, seals of reasoning items, streams whose every end repeats what was
//! said, and state that is kept elsewhere.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]
#![expect(clippy::disallowed_methods, reason = "the shapes are read")]

use serde_json::{Value, json};
use tollgate_dialect::{
    Called, Dialect, ErrorClass, Quirks,
    hub::{Answer, Block, Event, Losses, Signature, Stop, Text, ToolUse, Usage},
};

use Dialect::{Anthropic, OpenAiResponses};

fn translated(from: Dialect, to: Dialect, request: &Value) -> (Value, String) {
    let body = request.to_string();
    let read = from.decode_request(&Called::default(), body.as_bytes()).unwrap();
    let mut losses = Losses::new(to);
    let written = to.encode_request(&read, &Quirks::default(), &mut losses);
    (serde_json::from_slice(&written).unwrap(), losses.to_string())
}

fn events_of(stream: &[u8]) -> Vec<Value> {
    let mut events = Vec::new();
    let mut splitter = tollgate_dialect::sse::Splitter::new(1 << 20);
    splitter.push(stream, |event| {
        let wire: Value = serde_json::from_slice(event.data).unwrap();
        assert_eq!(wire["type"].as_str().unwrap().as_bytes(), event.name);
        events.push(wire);
    });
    events
}

/// A request of an agent with a tool of each form.
fn agent() -> Value {
    json!({
        "model": "m",
        "input": [
            {"type": "additional_tools", "role": "developer", "tools": [
                {"type": "namespace", "name": "functions", "description": "", "tools": [
                    {"type": "custom", "name": "exec", "description": "Runs a script."}]},
                {"type": "namespace", "name": "clock", "description": "Of time.", "tools": [
                    {"type": "function", "name": "sleep", "parameters": {"type": "object"}, "strict": false}]}]},
            {"role": "user", "content": "Begin."},
        ],
        "tools": [
            {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"}},
            {"type": "function", "name": "plain", "parameters": {"type": "object"}, "strict": false},
            {"type": "tool_search", "execution": "client", "parameters": {"type": "object"}},
            {"type": "local_shell"},
        ],
    })
}

fn calls() -> Vec<(&'static str, &'static str, Value)> {
    let call = |kind: &str, id: &str, rest: Value| {
        let mut item = json!({"type": kind, "call_id": id, "status": "completed"});
        item.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        item
    };
    vec![
        (
            "apply_patch",
            r#"{"input": "*** Begin \"Patch\"\n+\u00e9😀\n"}"#,
            call("custom_tool_call", "call_0", json!({"name": "apply_patch", "input": "*** Begin \"Patch\"\n+é😀\n"})),
        ),
        (
            "exec",
            r#"{"input":"text(1)"}"#,
            call("custom_tool_call", "call_1", json!({"name": "exec", "namespace": "functions", "input": "text(1)"})),
        ),
        (
            "clock__sleep",
            r#"{"ms": 1}"#,
            call(
                "function_call",
                "call_2",
                json!({"name": "sleep", "namespace": "clock", "arguments": r#"{"ms": 1}"#}),
            ),
        ),
        ("plain", "{}", call("function_call", "call_3", json!({"name": "plain", "arguments": "{}"}))),
        (
            "tool_search",
            r#"{"query":"x"}"#,
            call("tool_search_call", "call_4", json!({"arguments": {"query": "x"}, "execution": "client"})),
        ),
        (
            "local_shell",
            r#"{"command":["ls"]}"#,
            call("local_shell_call", "call_5", json!({"action": {"type": "exec", "command": ["ls"], "env": {}}})),
        ),
    ]
}

fn without_id(item: &Value) -> Value {
    let mut item = item.clone();
    let id = item.as_object_mut().unwrap().remove("id").unwrap();
    assert!(id.as_str().unwrap().len() <= 64, "{id}");
    item
}

#[test]
fn a_tool_is_a_function_for_the_model_and_itself_for_the_client() {
    let body = agent().to_string();
    let request = OpenAiResponses.decode_request(&Called::default(), body.as_bytes()).unwrap();
    let (sent, losses) = translated(OpenAiResponses, Anthropic, &agent());
    let names: Vec<&str> =
        sent["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["apply_patch", "plain", "tool_search", "local_shell", "exec", "clock__sleep"]);
    let grammar = sent["tools"][0]["input_schema"]["properties"]["input"]["description"].as_str().unwrap();
    assert!(grammar.ends_with("(lark):\nstart: X"), "{grammar}");
    assert_eq!(
        losses,
        "custom_tool=approximated, local_shell=approximated, namespace_tool=approximated, tool_search=approximated"
    );

    let called = |(at, (name, input, _)): (usize, &(&'static str, &'static str, Value))| {
        let input = tollgate_dialect::hub::Json::parse(input).unwrap();
        let id = format!("call_{at}").into();
        Block::ToolUse(Box::new(ToolUse { id, name: (*name).into(), input, signature: None, cache: None }))
    };
    let calls = calls();
    let answer = Answer {
        dialect: Dialect::Anthropic,
        id: "msg_1".into(),
        model: "m".into(),
        blocks: calls.iter().enumerate().map(called).collect(),
        stop: Some(Stop::ToolUse),
        usage: Usage::default(),
    };
    let answered: Value = serde_json::from_slice(&OpenAiResponses.encode_answer_in(&request.forms, &answer)).unwrap();
    let output: Vec<Value> = answered["output"].as_array().unwrap().iter().map(without_id).collect();
    assert_eq!(output, calls.iter().map(|(_, _, item)| item.clone()).collect::<Vec<_>>());
}

// What Anthropic streams of those calls, their arguments cut after so many characters.
fn streamed_calls(characters: usize) -> Vec<u8> {
    let mut events = vec![json!({"type": "message_start", "message": {"id": "msg_1", "model": "m"}})];
    for (at, (name, input, _)) in calls().iter().enumerate() {
        let block = json!({"type": "tool_use", "id": format!("call_{at}"), "name": name, "input": {}});
        events.push(json!({"type": "content_block_start", "index": at, "content_block": block}));
        for piece in input.chars().collect::<Vec<_>>().chunks(characters) {
            let delta = json!({"type": "input_json_delta", "partial_json": piece.iter().collect::<String>()});
            events.push(json!({"type": "content_block_delta", "index": at, "delta": delta}));
        }
        events.push(json!({"type": "content_block_stop", "index": at}));
    }
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}}));
    events.push(json!({"type": "message_stop"}));
    events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>().into_bytes()
}

#[test]
fn a_streamed_call_is_that_of_the_clients_tool_however_its_arguments_are_cut() {
    let body = agent().to_string();
    let forms = OpenAiResponses.decode_request(&Called::default(), body.as_bytes()).unwrap().forms;
    for characters in 1..12 {
        let (mut decoder, mut encoder) = (Anthropic.stream_decoder(), OpenAiResponses.stream_encoder_in(forms.clone()));
        let mut out = Vec::new();
        decoder.push(&streamed_calls(characters), &mut |event| encoder.push(&event, &mut out));
        let events = events_of(&out);
        consistent(&events);
        let output = events.last().unwrap()["response"]["output"].as_array().unwrap();
        let output: Vec<Value> = output.iter().map(without_id).collect();
        assert_eq!(output, calls().into_iter().map(|(_, _, item)| item).collect::<Vec<_>>());
    }
}

// Every rule that a client may rely on: numbers in order, items that begin and end in their place, ends that repeat what was said.
fn consistent(events: &[Value]) {
    let (mut items, mut said) = (Vec::new(), String::new());
    let mut open: Option<Value> = None;
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], at, "{event}");
        let kind = event["type"].as_str().unwrap();
        if let Some(index) = event.get("output_index") {
            assert_eq!(*index, items.len(), "{event}");
        }
        if let Some(id) = event.get("item_id") {
            assert_eq!(*id, open.as_ref().unwrap()["id"], "{event}");
        }
        match kind {
            "response.output_item.added" => {
                assert!(open.is_none(), "{event}");
                open = Some(event["item"].clone());
                said.clear();
            }
            "response.output_item.done" => {
                let begun = open.take().unwrap();
                assert_eq!(begun["type"], event["item"]["type"], "{event}");
                let all = event["item"].to_string();
                assert!(all.contains(serde_json::to_string(&said).unwrap().trim_matches('"')), "{said} {event}");
                items.push(event["item"].clone());
            }
            _ if kind.ends_with(".delta") => said.push_str(event["delta"].as_str().unwrap()),
            "response.output_text.done" | "response.reasoning_summary_text.done" => assert_eq!(event["text"], *said),
            "response.custom_tool_call_input.done" => assert_eq!(event["input"], *said),
            "response.function_call_arguments.done" if !said.is_empty() => assert_eq!(event["arguments"], *said),
            "response.completed" | "response.incomplete" | "response.failed" => {
                assert_eq!(event["response"]["output"], json!(items));
                assert_eq!(at + 1, events.len());
                assert_eq!(format!("response.{}", event["response"]["status"].as_str().unwrap()), kind);
            }
            _ => {}
        }
    }
}

#[test]
fn a_stream_keeps_the_rules_of_the_api_whatever_it_came_from() {
    let mut seen = 0;
    for source in Dialect::ALL {
        let folder = format!("{}/tests/shapes/{}", env!("CARGO_MANIFEST_DIR"), source.word());
        let Ok(files) = std::fs::read_dir(folder) else { continue };
        for path in files.map(|file| file.unwrap().path()).filter(|path| path.extension().unwrap() == "stream") {
            let (mut decoder, mut encoder) = (source.stream_decoder(), OpenAiResponses.stream_encoder());
            let (mut out, mut is_whole) = (Vec::new(), false);
            decoder.push(&std::fs::read(&path).unwrap(), &mut |event| {
                is_whole |= matches!(event, Event::Done | Event::Failed { .. });
                encoder.push(&event, &mut out);
            });
            let events = events_of(&out);
            consistent(&events);
            let ends = ["response.completed", "response.incomplete", "response.failed"];
            let has_end = ends.contains(&events.last().unwrap()["type"].as_str().unwrap());
            assert_eq!(has_end, is_whole, "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 25, "{seen}");
}

#[test]
fn more_of_another_kind_of_item_than_the_open_one_is_left_out() {
    let added = |item: Value| json!({"type": "response.output_item.added", "output_index": 0, "item": item});
    let more = |kind: &str| json!({"type": format!("response.{kind}.delta"), "output_index": 0, "delta": "5}"});
    let begun = |begin: &str, delta: &str| [format!("Begin({begin})"), format!("Delta({delta}(Text(\"5}}\")))")];
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": ""});
    let kinds = ["output_text", "reasoning_summary_text", "function_call_arguments", "custom_tool_call_input"];
    for (item, own, expect) in [
        (json!({"type": "message", "role": "assistant", "content": []}), 0..1, begun("Text", "Text")),
        (json!({"type": "reasoning", "summary": []}), 1..2, begun("Thinking", "Thinking")),
        (call, 2..3, begun(r#"ToolUse { id: Text("c"), name: Text("f"), signature: None }"#, "Input")),
    ] {
        let pieces = own.clone().chain((0..4).filter(|at| !(own.contains(at) || own.start == 2 && *at == 3)));
        let events = std::iter::once(added(item)).chain(pieces.map(|at| more(kinds[at])));
        let stream: String = events.map(|event| format!("data: {event}\n\n")).collect();
        let (mut decoder, mut seen) = (OpenAiResponses.stream_decoder(), Vec::new());
        decoder.push(stream.as_bytes(), &mut |event| seen.push(format!("{event:?}")));
        assert_eq!(seen[1..], expect);
    }
}

#[test]
fn a_tool_that_comes_twice_is_one() {
    let (search, ticket) =
        (json!({"type": "web_search"}), json!({"type": "function", "name": "ticket", "parameters": {}}));
    let found = json!({"type": "tool_search_output", "call_id": "c", "tools": [search, ticket, {"type": "mcp"}]});
    let input =
        json!([{"role": "user", "content": "a"}, {"type": "tool_search_call", "call_id": "c", "arguments": {}}, found]);
    let request = json!({"model": "m", "input": input, "tools": [search, ticket]});
    let body = request.to_string();
    let read = OpenAiResponses.decode_request(&Called::default(), body.as_bytes()).unwrap();
    assert_eq!(read.tools.len(), 3, "{:?}", read.tools);
    let (written, _) = translated(OpenAiResponses, Anthropic, &request);
    assert_eq!(written["tools"].as_array().unwrap().len(), 2, "{written}");
}

#[test]
fn what_a_search_has_found_is_written_with_the_tools_that_the_request_has() {
    let tool = |name: &str| json!({"type": "function", "name": name, "parameters": {"type": "object"}});
    let request = |answer: Value, choice: Value| {
        let search = json!({"type": "tool_search", "execution": "client", "parameters": {"type": "object"}});
        json!({"model": "m", "tools": [search], "tool_choice": choice, "input": [
            {"type": "tool_search_call", "call_id": "c", "arguments": {"query": "x"}},
            answer,
        ]})
    };
    let output = |output: &str| json!({"type": "function_call_output", "call_id": "c", "output": output});
    let found = |tools: Value| json!({"type": "tool_search_output", "call_id": "c", "execution": "client", "status": "completed", "tools": tools});
    let allowed =
        json!({"type": "allowed_tools", "tools": [{"type": "tool_search"}, {"type": "function", "name": "a"}]});
    let web = json!({"type": "web_search"});
    for (answer, choice, expect) in [
        (found(json!([])), json!("auto"), found(json!([]))),
        (found(json!([tool("a"), web])), json!("auto"), found(json!([tool("a"), web]))),
        (found(json!([tool("a"), tool("b")])), allowed, found(json!([tool("a")]))),
        // What is no list of tools is written as it came.
        (output("T-1"), json!("auto"), output("T-1")),
        (output(""), json!("auto"), output("")),
        (output("5"), json!("auto"), output("5")),
        (output("[{\"type\":\"function\"}]"), json!("auto"), output("[{\"type\":\"function\"}]")),
    ] {
        let first = translated(OpenAiResponses, OpenAiResponses, &request(answer.clone(), choice)).0;
        assert_eq!(first["input"][1], expect, "{answer}");
        assert_eq!(translated(OpenAiResponses, OpenAiResponses, &first).0, first, "{answer}");
    }
}

#[test]
fn a_part_of_a_type_that_nobody_knows_stays_in_its_message() {
    for kind in ["input_video", "screenshot"] {
        let content = json!([{"type": "input_text", "text": "See."}, {"type": kind, "input": {"a": 1}}]);
        let request = json!({"model": "m", "input": [{"type": "message", "role": "user", "content": content}]});
        let (written, losses) = translated(OpenAiResponses, OpenAiResponses, &request);
        assert_eq!((&written["input"][0]["content"], losses.as_str()), (&content, ""));
        let (_, losses) = translated(OpenAiResponses, Anthropic, &request);
        assert!(losses.contains(kind), "{losses}");
    }
}

#[test]
fn what_another_provider_keeps_is_refused_with_a_sentence() {
    let request = |more: Value| {
        let mut body = json!({"model": "m", "input": [{"role": "user", "content": "a"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let body = body.to_string();
        OpenAiResponses
            .decode_request(&Called::default(), body.as_bytes())
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    for (more, at) in [
        (json!({"previous_response_id": "resp_1"}), "`previous_response_id` must be left out: "),
        (json!({"conversation": {"id": "conv_1"}}), "`conversation` must be left out: "),
        (json!({"prompt": {"id": "pmpt_1"}}), "`prompt` must be left out: "),
        (json!({"input": [{"type": "item_reference", "id": "msg_1"}]}), "`input[0]` must be left out: "),
        (json!({"input": [{"role": "user", "content": "a"}, {"id": "msg_1"}]}), "`input[1]` must be left out: "),
        (
            json!({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}),
            "`input[0].content[0].text` must be there.",
        ),
        (
            json!({"input": [{"role": "user", "content": [{"type": "custom_tool_call", "call_id": "c"}]}]}),
            "`input[0].content[0].type` must be ",
        ),
        (json!({"input": [{"type": "input_text", "text": "a"}]}), "`input[0].type` must be the type of an item."),
        (json!({"input": [{"type": "output_text", "text": "a"}]}), "`input[0].type` must be the type of an item."),
        (json!({"input": [{"role": "nobody", "content": "a"}]}), "`input[0].role` must be "),
        (json!({"tools": [{"type": "function"}]}), "`tools[0].name` must be there."),
        (json!({"tool_choice": "some"}), "`tool_choice` must be "),
    ] {
        let error = request(more).unwrap_err();
        assert!(error.starts_with(at), "{error}");
        assert!(error.ends_with('.'), "{error}");
    }
    assert_eq!(request(json!({"previous_response_id": null, "store": false})), Ok(()));
}

// A provider's reasoning goes to a client of another dialect, who sends it back with the next turn.
#[test]
fn a_reasoning_item_survives_a_client_of_another_dialect() {
    let item = json!({"type": "reasoning", "id": "rs_7", "summary": [{"type": "summary_text", "text": "Look."}],
        "encrypted_content": "gAAAAA-_=="});
    let call = json!({"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"});
    let body = json!({"id": "resp_1", "model": "m", "status": "completed", "output": [item, call]}).to_string();
    let answer = OpenAiResponses.decode_answer(body.as_bytes()).unwrap();
    let told: Value = serde_json::from_slice(&Anthropic.encode_answer(&answer)).unwrap();
    let next = json!({"model": "m", "max_tokens": 5, "tools": [{"name": "f", "input_schema": {"type": "object"}}], "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": told["content"]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "b"}]},
    ]});
    let (sent, losses) = translated(Anthropic, OpenAiResponses, &next);
    assert_eq!(sent["input"][1], item);
    assert_eq!(sent["include"], json!(["reasoning.encrypted_content"]));
    // The API takes no lower limit than 16.
    assert_eq!((losses.as_str(), &sent["max_output_tokens"]), ("max_tokens=approximated", &json!(16)));
}

// The same the other way: what Anthropic sealed goes through a client of this dialect.
#[test]
fn sealed_thinking_survives_a_client_of_this_dialect() {
    let seal = |seal: &'static str| Signature::new(Anthropic, seal);
    let blocks = vec![
        Block::Thinking { text: "Look.".into(), signature: Some(seal("EqQB")) },
        Block::RedactedThinking { data: seal("EmwK") },
        Block::text("Done."),
    ];
    let answer = Answer { id: "msg_1".into(), blocks, stop: Some(Stop::EndTurn), ..Answer::default() };
    let told: Value = serde_json::from_slice(&OpenAiResponses.encode_answer(&answer)).unwrap();
    let mut input = vec![json!({"role": "user", "content": "Look there."})];
    input.extend(told["output"].as_array().unwrap().clone());
    input.push(json!({"role": "user", "content": "And now?"}));
    let (sent, losses) = translated(OpenAiResponses, Anthropic, &json!({"model": "m", "input": input}));
    assert_eq!(losses, "");
    assert_eq!(
        sent["messages"][1]["content"],
        json!([
            {"type": "thinking", "thinking": "Look.", "signature": "EqQB"},
            {"type": "redacted_thinking", "data": "EmwK"},
            {"type": "text", "text": "Done."},
        ])
    );
}

#[test]
fn a_request_of_another_dialect_is_asked_as_the_api_wants_it() {
    let asked = |more: Value| {
        let mut body = json!({"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "a"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        translated(Anthropic, OpenAiResponses, &body)
    };
    let tools = json!([{"name": "f", "input_schema": {"type": "object"}}]);
    let long = "u".repeat(80);
    for (more, field, expect, lost) in [
        (json!({}), "store", json!(false), ""),
        (json!({}), "include", Value::Null, ""),
        (json!({"temperature": 1.0}), "temperature", Value::Null, ""),
        (json!({"temperature": 0.5}), "temperature", json!(0.5), ""),
        (json!({"top_k": 4}), "top_k", Value::Null, "top_k=dropped"),
        (json!({"stop_sequences": ["x"]}), "stop", Value::Null, "stop_sequences=dropped"),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 10_000}}),
            "reasoning",
            json!({"effort": "medium", "summary": "auto"}),
            "thinking_budget=approximated",
        ),
        (
            json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}),
            "reasoning",
            json!({"effort": "max", "summary": "auto"}),
            "thinking_adaptive=approximated",
        ),
        (json!({"thinking": {"type": "disabled"}}), "reasoning", json!({"effort": "none"}), ""),
        (
            json!({"metadata": {"user_id": long}}),
            "safety_identifier",
            json!("user_baf863963edced95"),
            "user=approximated",
        ),
        (
            json!({"tools": tools}),
            "tools",
            json!([{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": false}]),
            "",
        ),
        (
            json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
            "tools",
            json!([{"type": "web_search"}]),
            "web_search=approximated",
        ),
        (
            json!({"system": [{"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "two"}]}),
            "instructions",
            json!("one"),
            "cache_control=dropped",
        ),
        (
            json!({"tools": tools, "tool_choice": {"type": "tool", "name": "f"}}),
            "tool_choice",
            json!({"type": "function", "name": "f"}),
            "",
        ),
    ] {
        let (sent, losses) = asked(more);
        assert_eq!((sent.get(field).unwrap_or(&Value::Null), losses.as_str()), (&expect, lost), "{field} {sent}");
    }
    let (sent, losses) = asked(json!({"messages": [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true, "content": "no such file"},
            {"type": "document", "title": "Notes", "source": {"type": "text", "media_type": "text/plain", "data": "abc"}},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}]},
    ]}));
    assert_eq!(losses, "document_text=approximated, tool_error=approximated");
    assert_eq!(
        sent["input"],
        json!([
            {"type": "function_call", "call_id": "toolu_1", "name": "f", "arguments": "{\"a\":1}"},
            {"type": "function_call_output", "call_id": "toolu_1", "output": "Error: no such file"},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "Notes"},
                {"type": "input_text", "text": "abc"},
                {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBE"}]},
        ])
    );
}

#[test]
fn a_failure_in_the_middle_of_a_stream_has_a_code_that_clients_know() {
    for (class, message, expect) in [
        (ErrorClass::InvalidRequest, "prompt is too long: 9 tokens > 8 maximum", "context_length_exceeded"),
        (ErrorClass::InvalidRequest, "Not so.", "invalid_prompt"),
        (ErrorClass::RateLimit, "Wait.", "rate_limit_exceeded"),
        (ErrorClass::Overloaded, "Later.", "server_is_overloaded"),
        (ErrorClass::Billing, "Pay.", "insufficient_quota"),
        (ErrorClass::Api, "Broken.", "server_error"),
    ] {
        let (mut encoder, mut out) = (OpenAiResponses.stream_encoder(), Vec::new());
        encoder.push(&Event::Failed { class, message: Text::from(message) }, &mut out);
        let [event] = &*events_of(&out) else { panic!("{message}") };
        assert_eq!(event["type"], "response.failed");
        assert_eq!(event["response"]["error"], json!({"code": expect, "message": message}));
    }
}
