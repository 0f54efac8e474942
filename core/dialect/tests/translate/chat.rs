//! OpenAI Chat Completions: what its vendors differ in, and how seals travel through its messages.

use serde_json::{Value, json};
use tollgate_dialect::{
    CacheForm, Called, Dialect, ErrorClass, Quirks, ThinkingForm,
    hub::{Begin, Delta, Event, Losses, Signature, Stop, Text, Usage},
    meter::Counters,
};

const CHAT: Dialect = Dialect::OpenAiChat;

/// Reads a body in one dialect and writes it in another, with what is lost.
fn written(source: Dialect, body: &Value, target: Dialect, quirks: &Quirks) -> (Value, String) {
    let body = body.to_string();
    let request = source.decode_request(&Called::default(), body.as_bytes()).unwrap();
    let mut losses = Losses::new(target);
    let written = target.encode_request(&request, quirks, &mut losses);
    (serde_json::from_slice(&written).unwrap(), losses.to_string())
}

fn answered(source: Dialect, body: &Value, target: Dialect) -> Value {
    let body = body.to_string();
    serde_json::from_slice(&target.encode_answer(&source.decode_answer(body.as_bytes()).unwrap())).unwrap()
}

/// The message that a client makes of a stream when it adds up what it knows and keeps the pieces of what it does not.
fn gathered(stream: &[u8]) -> Value {
    let mut message =
        json!({"role": "assistant", "content": "", "reasoning_content": "", "reasoning_details": [], "tool_calls": []});
    for line in String::from_utf8(stream.to_vec()).unwrap().lines() {
        let Some(data) = line.strip_prefix("data: ").filter(|data| *data != "[DONE]") else { continue };
        let chunk: Value = serde_json::from_str(data).unwrap();
        let delta = &chunk["choices"][0]["delta"];
        for name in ["content", "reasoning_content"] {
            let more = delta[name].as_str().unwrap_or_default();
            message[name] = (message[name].as_str().unwrap().to_owned() + more).into();
        }
        message["reasoning_details"]
            .as_array_mut()
            .unwrap()
            .extend(delta["reasoning_details"].as_array().cloned().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let calls = message["tool_calls"].as_array_mut().unwrap();
            if call["id"].is_string() {
                calls.push(call.clone());
            } else {
                let arguments = &mut calls.last_mut().unwrap()["function"]["arguments"];
                *arguments =
                    (arguments.as_str().unwrap().to_owned() + call["function"]["arguments"].as_str().unwrap()).into();
            }
        }
    }
    message
}

fn streamed(source: Dialect, stream: &str, target: Dialect) -> Vec<u8> {
    let (mut decoder, mut encoder, mut out) = (source.stream_decoder(), target.stream_encoder(), Vec::new());
    decoder.push(stream.as_bytes(), &mut |event| encoder.push(&event, &mut out));
    out
}

fn anthropic(content: Value) -> Value {
    json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Go."}, {"role": "assistant", "content": content}]})
}

fn chat(message: &Value) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "Go."}, message]})
}

const SIGNED: &str = r#"[{"type":"thinking","thinking":"First.","signature":"U2VhbDE="},{"type":"redacted_thinking","data":"U2VhbDI="},
    {"type":"thinking","thinking":"Then.","signature":"U2VhbDM="},{"type":"text","text":"Said."},
    {"type":"tool_use","id":"toolu_1","name":"f","input":{"a":1}}]"#;

#[test]
fn the_seals_of_anthropic_come_back_from_a_client_that_keeps_its_messages() {
    let content: Value = serde_json::from_str(SIGNED).unwrap();
    let answer = json!({"id": "msg_1", "type": "message", "model": "m", "content": content, "stop_reason": "tool_use", "usage": {}});
    let message = answered(Dialect::Anthropic, &answer, CHAT)["choices"][0]["message"].clone();
    assert_eq!(message["reasoning_content"], "First.\n\nThen.");
    let (back, losses) = written(CHAT, &chat(&message), Dialect::Anthropic, &Quirks::default());
    assert_eq!((&back["messages"][1]["content"], losses.as_str()), (&content, ""));
}

#[test]
fn the_seals_of_anthropic_come_back_from_a_client_that_keeps_the_pieces_of_a_stream() {
    let content: Value = serde_json::from_str(SIGNED).unwrap();
    let event = |data: Value| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap());
    let mut stream = event(json!({"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {}}}));
    for (index, block) in content.as_array().unwrap().iter().enumerate() {
        let mut opened = block.clone();
        let mut deltas = Vec::new();
        for (field, kind) in [("thinking", "thinking_delta"), ("signature", "signature_delta"), ("text", "text_delta")]
        {
            if let Some(text) = block[field].as_str() {
                opened[field] = "".into();
                let (first, second) = if field == "signature" { (text, "") } else { text.split_at(text.len() / 2) };
                deltas.extend(
                    [first, second]
                        .iter()
                        .filter(|text| !text.is_empty())
                        .map(|text| json!({"type": kind, field: text})),
                );
            }
        }
        if block["input"].is_object() {
            opened["input"] = json!({});
            deltas.push(json!({"type": "input_json_delta", "partial_json": block["input"].to_string()}));
        }
        stream += &event(json!({"type": "content_block_start", "index": index, "content_block": opened}));
        for delta in deltas {
            stream += &event(json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        stream += &event(json!({"type": "content_block_stop", "index": index}));
    }
    stream +=
        &event(json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}));
    stream += &event(json!({"type": "message_stop"}));
    let message = gathered(&streamed(Dialect::Anthropic, &stream, CHAT));
    assert_eq!(message["reasoning_content"], "First.Then.");
    let (back, losses) = written(CHAT, &chat(&message), Dialect::Anthropic, &Quirks::default());
    assert_eq!((&back["messages"][1]["content"], losses.as_str()), (&content, ""));
}

#[test]
fn the_seals_of_a_vendor_come_back_from_a_client_of_anthropic() {
    for (message, kept) in [
        (
            json!({"role": "assistant", "content": "Said.", "reasoning": "First.", "reasoning_details": [
                {"type": "reasoning.text", "text": "First.", "signature": "c2Vh", "format": "anthropic-claude-v1", "index": 0},
                {"type": "reasoning.encrypted", "data": "bA==", "format": "openai-responses-v1", "id": "rs_1", "index": 1}]}),
            "reasoning_details",
        ),
        (
            json!({"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function",
                "function": {"name": "f", "arguments": "{}"}, "extra_content": {"google": {"thought_signature": "c2Vh"}}}]}),
            "tool_calls",
        ),
    ] {
        let answer =
            json!({"id": "x", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]});
        let content = answered(CHAT, &answer, Dialect::Anthropic)["content"].clone();
        let (back, losses) = written(Dialect::Anthropic, &anthropic(content), CHAT, &Quirks::default());
        assert_eq!((&back["messages"][1][kept], losses.as_str()), (&message[kept], ""));
        assert_eq!(back["messages"][1]["content"], message["content"]);
    }
}

#[test]
fn a_seal_of_another_dialect_over_a_call_travels_with_its_id() {
    let (mut encoder, mut out) = (CHAT.stream_encoder(), Vec::new());
    let seal = Signature::new(Dialect::Anthropic, "c2Vh");
    encoder.push(
        &Event::Begin(Begin::ToolUse { id: "c1".into(), name: "f".into(), signature: Some(seal.clone()) }),
        &mut out,
    );
    encoder.push(&Event::End, &mut out);
    let message = gathered(&out);
    assert_eq!(
        message["reasoning_details"],
        json!([{"type": "reasoning.encrypted", "data": "tollgate.1.anthropic.c2Vh", "id": "c1", "index": 0}])
    );
    let body = chat(&message).to_string();
    let request = CHAT.decode_request(&Called::default(), body.as_bytes()).unwrap();
    let said = format!("{:?}", request.turns[1].blocks);
    assert!(said.starts_with("[ToolUse(") && said.contains(&format!("{seal:?}")), "{said}");
}

#[test]
fn thinking_without_a_seal_goes_only_to_vendors_who_take_it() {
    let body =
        anthropic(json!([{"type": "thinking", "thinking": "Hm.", "signature": ""}, {"type": "text", "text": "Said."}]));
    let signed = anthropic(
        json!([{"type": "thinking", "thinking": "Hm.", "signature": "c2Vh"}, {"type": "text", "text": "Said."}]),
    );
    let takes = Quirks { takes_reasoning_content: true, ..Quirks::default() };
    for (body, quirks, expect, losses) in [
        (&body, Quirks::default(), Value::Null, "foreign_thinking=dropped"),
        (&body, takes, json!("Hm."), ""),
        // Its text is taken, its seal is not.
        (&signed, takes, json!("Hm."), "foreign_thinking=dropped"),
    ] {
        let (found, lost) = written(Dialect::Anthropic, body, CHAT, &quirks);
        assert_eq!((&found["messages"][1]["reasoning_content"], lost.as_str()), (&expect, losses));
        assert_eq!(found["messages"][1]["reasoning_details"], Value::Null);
    }
}

#[test]
fn how_much_the_model_thinks_is_said_as_each_vendor_has_it() {
    let quirks = |thinking_form| Quirks { thinking_form, ..Quirks::default() };
    let effort = Quirks::default();
    let (reasoning, typed, enable) =
        (quirks(ThinkingForm::Reasoning), quirks(ThinkingForm::Thinking), quirks(ThinkingForm::Enable));
    let always = Quirks { cannot_stop_thinking: true, ..effort };
    let never = Quirks { lacks_effort: true, ..effort };
    let budget = json!({"thinking": {"type": "enabled", "budget_tokens": 10_000}});
    let (adaptive, off) = (json!({"thinking": {"type": "adaptive"}}), json!({"thinking": {"type": "disabled"}}));
    let hard = json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}});
    let hardest = json!({"output_config": {"effort": "max"}});
    let hidden = json!({"thinking": {"type": "adaptive", "display": "omitted"}});
    for (asked, quirks, expect, losses) in [
        (&budget, effort, json!({"reasoning_effort": "medium"}), "thinking_budget=approximated"),
        (&budget, reasoning, json!({"reasoning": {"max_tokens": 10_000}}), ""),
        (&budget, typed, json!({"thinking": {"type": "enabled"}}), "thinking_budget=approximated"),
        (&budget, enable, json!({"enable_thinking": true, "thinking_budget": 10_000}), ""),
        (&budget, never, json!({}), "thinking_budget=dropped"),
        (&adaptive, effort, json!({"reasoning_effort": "medium"}), "thinking_adaptive=approximated"),
        (&adaptive, reasoning, json!({"reasoning": {"enabled": true}}), ""),
        (&off, effort, json!({"reasoning_effort": "none"}), ""),
        (&off, always, json!({"reasoning_effort": "low"}), "thinking_off=approximated"),
        (&off, reasoning, json!({"reasoning": {"enabled": false}}), ""),
        (&off, typed, json!({"thinking": {"type": "disabled"}}), ""),
        (&off, enable, json!({"enable_thinking": false}), ""),
        (&hard, effort, json!({"reasoning_effort": "high"}), "thinking_adaptive=approximated"),
        (&hard, reasoning, json!({"reasoning": {"effort": "high"}}), ""),
        (&hard, typed, json!({"thinking": {"type": "enabled"}, "reasoning_effort": "high"}), ""),
        (&hardest, effort, json!({"reasoning_effort": "max"}), ""),
        (
            &hidden,
            effort,
            json!({"reasoning_effort": "medium"}),
            "thinking_adaptive=approximated, thinking_shown=dropped",
        ),
        (&hidden, reasoning, json!({"reasoning": {"enabled": true, "exclude": true}}), ""),
    ] {
        let mut body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Go."}]});
        body.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
        let (mut found, lost) = written(Dialect::Anthropic, &body, CHAT, &quirks);
        let found = found.as_object_mut().unwrap();
        found.retain(|name, _| !["model", "messages", "max_completion_tokens"].contains(&name.as_str()));
        assert_eq!((&Value::from(found.clone()), lost.as_str()), (&expect, losses), "{asked} {quirks:?}");
        // What a client of that vendor says is understood the same.
        if losses.is_empty() {
            let mut body = chat(&json!({"role": "user", "content": "On."}));
            body.as_object_mut().unwrap().extend(found.clone());
            let (back, _) = written(CHAT, &body, Dialect::Anthropic, &Quirks::default());
            for name in ["thinking", "output_config"] {
                // Who says how hard the model tries means that it thinks.
                let is_implied = name == "thinking" && asked["output_config"]["effort"].is_string();
                assert!(
                    is_implied
                        || back[name] == asked[name]
                        || name == "thinking" && asked[name]["display"] == "omitted",
                    "{asked} {back}"
                );
            }
        }
    }
}

#[test]
fn a_request_is_written_as_a_vendor_has_it() {
    let body = json!({"model": "m", "max_tokens": 9, "stream": true, "top_k": 5,
        "system": [{"type": "text", "text": "One.", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "Two."}],
        "messages": [{"role": "user", "content": "Go."}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}, {"type": "web_search_20250305", "name": "web_search"}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
        "metadata": {"user_id": "{\"device_id\":\"ab\"}"},
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}});
    let (found, losses) = written(Dialect::Anthropic, &body, CHAT, &Quirks::default());
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    assert_eq!(
        found,
        json!({"model": "m", "max_completion_tokens": 9, "stream": true, "stream_options": {"include_usage": true}, "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]},
            {"role": "user", "content": "Go."}], "tools": [tool], "tool_choice": "required", "parallel_tool_calls": false,
            "user": "user_876eacf1b441739e",
            "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}})
    );
    assert_eq!(losses, "cache_control=dropped, web_search=dropped, top_k=dropped, user=approximated");
    let quirks = Quirks {
        has_max_tokens: true,
        has_system_role: true,
        lacks_parallel_tools: true,
        lacks_stream_options: true,
        lacks_schema_format: true,
        joins_texts: true,
        takes_top_k: true,
        cache_form: CacheForm::Control,
        takes_web_search: true,
        ..Quirks::default()
    };
    let (found, losses) = written(Dialect::Anthropic, &body, CHAT, &quirks);
    let schema = "Answer with one JSON object that keeps this JSON schema:\n{\"type\":\"object\"}";
    assert_eq!(
        found,
        json!({"model": "m", "max_tokens": 9, "stream": true, "messages": [
            {"role": "system", "content": format!("One.\n\nTwo.\n\n{schema}")}, {"role": "user", "content": "Go."}],
            "tools": [tool], "tool_choice": "required", "top_k": 5, "web_search_options": {}, "user": "user_876eacf1b441739e",
            "response_format": {"type": "json_object"}})
    );
    assert_eq!(
        losses,
        "parallel_tools=dropped, web_search=approximated, schema_format=approximated, user=approximated"
    );
}

#[test]
fn what_a_tool_gave_stands_right_behind_its_call_and_media_behind_that() {
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
    let long = "toolu_".repeat(10);
    let body = json!({"model": "m", "max_tokens": 9, "messages": [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}, {"type": "tool_use", "id": long, "name": "f", "input": {}}]},
        {"role": "user", "content": [
            {"type": "text", "text": "See."},
            {"type": "tool_result", "tool_use_id": "t1", "content": [image]},
            {"type": "tool_result", "tool_use_id": long, "is_error": true, "content": [{"type": "text", "text": "broken"}, image]},
            {"type": "document", "title": "Notes", "source": {"type": "text", "media_type": "text/plain", "data": "All well."}},
            {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}, "citations": {"enabled": true}},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}}]}]});
    let (found, losses) = written(Dialect::Anthropic, &body, CHAT, &Quirks::default());
    let short = found["messages"][0]["tool_calls"][1]["id"].clone();
    assert!(short.as_str().unwrap().len() <= 40);
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    let from = |id: &str| json!({"type": "text", "text": format!("From the tool call {id}:")});
    assert_eq!(
        found["messages"].as_array().unwrap()[1..],
        [
            json!({"role": "tool", "tool_call_id": "t1", "content": "What the tool gave stands in the next message of the user."}),
            json!({"role": "tool", "tool_call_id": short, "content": "Error: broken"}),
            json!({"role": "user", "content": [
                from("t1"), picture, from(short.as_str().unwrap()), picture,
                {"type": "text", "text": "See."},
                {"type": "text", "text": "Document: Notes\n\nAll well."},
                {"type": "text", "text": "[Document](https://x.example/a.pdf)"},
                {"type": "file", "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,AAAA"}}]}),
        ]
    );
    assert_eq!(
        losses,
        "document_url=approximated, document_text=approximated, document_citations=dropped, tool_error=approximated, tool_result_image=approximated"
    );
}

#[test]
fn each_call_has_its_result_right_behind_it_whatever_the_client_sent() {
    let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "f", "input": {}});
    let model =
        |ids: &[&str]| json!({"role": "assistant", "content": ids.iter().map(|id| call(id)).collect::<Vec<_>>()});
    let result =
        |id: &str| json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": id}]});
    let said = |role: &str, text: &str| json!({"role": role, "content": text});
    for (messages, expect) in [
        (vec![model(&["1", "2"]), result("2"), result("1")], "a!1!2 t2=2 t1=1"),
        (
            vec![model(&["1"]), said("user", "wait"), said("system", "rule"), result("1"), said("user", "on")],
            "a!1 t1=1 u=wait d=rule u=on",
        ),
        (vec![model(&["1", "2"]), result("1"), said("user", "wait")], "a!1!2 t1=1 t2=The tool gave no result. u=wait"),
        (vec![model(&["1"]), model(&["2"]), result("2")], "a!1 t1=The tool gave no result. a!2 t2=2"),
        (vec![model(&["1"])], "a!1 t1=The tool gave no result."),
        (vec![result("9"), said("assistant", "so"), result("8")], "u=9 a=so u=8"),
        (vec![model(&["1"]), result("1"), result("1")], "a!1 t1=1 u=1"),
    ] {
        let body = json!({"model": "m", "max_tokens": 9, "messages": messages});
        let (found, _) = written(Dialect::Anthropic, &body, CHAT, &Quirks::default());
        let show = |message: &Value| {
            let calls = message["tool_calls"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|call| format!("!{}", call["id"].as_str().unwrap()));
            let content = message["content"].as_str().map(|text| format!("={text}")).unwrap_or_default();
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            format!("{}{id}{}{content}", &message["role"].as_str().unwrap()[..1], calls.collect::<String>())
        };
        let shown: Vec<String> = found["messages"].as_array().unwrap().iter().map(show).collect();
        assert_eq!(shown.join(" "), expect);
    }
}

#[test]
fn usage_is_told_to_a_client_that_asks_and_wanted_from_the_provider_always() {
    for (options, is_hidden) in [
        (Value::Null, true),
        (json!({}), true),
        (json!({"include_usage": false}), true),
        (json!({"include_usage": true}), false),
    ] {
        let body = json!({"model": "m", "stream": true, "stream_options": options, "messages": []}).to_string();
        let request = CHAT.decode_request(&Called::default(), body.as_bytes()).unwrap();
        assert_eq!(request.is_usage_hidden, is_hidden, "{options}");
        let (found, _) = written(CHAT, &serde_json::from_str(&body).unwrap(), CHAT, &Quirks::default());
        assert_eq!(found["stream_options"], json!({"include_usage": true}));
        let mut encoder = CHAT.stream_encoder();
        if request.is_usage_hidden {
            encoder.hide_usage();
        }
        let mut out = Vec::new();
        let counters = Counters { input: 5, output: 2, cache_read: 3, ..Counters::default() };
        encoder.push(&Event::Stop { stop: Stop::EndTurn, usage: Usage { counters, thinking: Some(1) } }, &mut out);
        encoder.push(&Event::Done, &mut out);
        let out = String::from_utf8(out).unwrap();
        let usage = r#""choices":[],"usage":{"prompt_tokens":8,"completion_tokens":2,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":1}}"#;
        assert_eq!(
            (out.contains(usage), out.contains("usage"), out.ends_with("data: [DONE]\n\n")),
            (!is_hidden, !is_hidden, true),
            "{out}"
        );
    }
    assert!(!CHAT.decode_request(&Called::default(), br#"{"model":"m","messages":[]}"#).unwrap().is_usage_hidden);
}

#[test]
fn a_stream_that_fails_says_so_in_its_own_way() {
    let (mut encoder, mut out) = (CHAT.stream_encoder(), Vec::new());
    for event in [
        Event::Start { id: "x".into(), model: "m".into(), usage: Usage::default() },
        Event::Begin(Begin::Other {
            kind: "server_tool_use".into(),
            json: tollgate_dialect::hub::Json::empty_object(),
        }),
        Event::Delta(Delta::Input("{".into())),
        Event::End,
        Event::Ping,
        Event::Begin(Begin::Text),
        Event::Delta(Delta::Text(Text::from("a"))),
        Event::Failed { class: ErrorClass::Overloaded, message: "Busy.".into() },
    ] {
        encoder.push(&event, &mut out);
    }
    assert_eq!(
        String::from_utf8(out).unwrap(),
        concat!(
            r#"data: {"id":"x","object":"chat.completion.chunk","created":0,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}"#,
            "\n\n: ping\n\n",
            r#"data: {"id":"x","object":"chat.completion.chunk","created":0,"model":"m","choices":[{"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":null}]}"#,
            "\n\n",
            r#"data: {"error":{"message":"Busy.","type":"server_error","param":null,"code":"service_unavailable"}}"#,
            "\n\n"
        )
    );
}

#[test]
fn a_call_without_arguments_is_given_an_empty_object() {
    for deltas in [vec![], vec![""], vec!["", ""], vec!["{", "", "}"]] {
        let (mut encoder, mut out) = (CHAT.stream_encoder(), Vec::new());
        encoder.push(&Event::Begin(Begin::ToolUse { id: "c".into(), name: "f".into(), signature: None }), &mut out);
        deltas.iter().for_each(|delta| encoder.push(&Event::Delta(Delta::Input((*delta).into())), &mut out));
        encoder.push(&Event::End, &mut out);
        assert_eq!(gathered(&out)["tool_calls"][0]["function"]["arguments"], "{}", "{deltas:?}");
    }
}

#[test]
fn what_is_wrong_with_a_request_is_told_with_its_place() {
    for (body, expect) in [
        (r#"{"messages":[]}"#, "The field `model` is missing: add it."),
        (r#"{"model":"m"}"#, "The field `messages` is missing: add it."),
        (
            r#"{"model":"m","messages":[{"role":"robot"}]}"#,
            "`messages[0].role` must be `system`, `developer`, `user`, `assistant` or `tool`.",
        ),
        (
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text"}]}]}"#,
            "`messages[0].content[0].text` must be there.",
        ),
        (
            r#"{"model":"m","messages":[{"role":"tool","content":"x"}]}"#,
            "`messages[0].tool_call_id` must be the id of a call that waits for its result.",
        ),
        (
            r#"{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"c"}]}]}"#,
            "`messages[0].tool_calls[0].function` must be there.",
        ),
        (
            r#"{"model":"m","messages":[{"role":"assistant","content":[{"type":"custom","id":"c"}]}]}"#,
            "`messages[0].content[0].type` must be the type of a part.",
        ),
        (
            r#"{"model":"m","messages":[{"role":"assistant","content":[{"type":"audio","id":"a"}]}]}"#,
            "`messages[0].content[0].type` must be the type of a part.",
        ),
        (
            r#"{"model":"m","messages":[],"tools":[{"type":"function","function":{}}]}"#,
            "`tools[0].function.name` must be there.",
        ),
        (
            r#"{"model":"m","messages":[],"tool_choice":"perhaps"}"#,
            "`tool_choice` must be `none`, `auto`, `required` or an object with a `type`.",
        ),
        (r#"{"model":"m","messages":[],"stop":7}"#, "`stop` must be what the API's reference says of its type."),
        (
            r#"{"model":"m","messages":[],"response_format":{"type":"xml"}}"#,
            "`response_format.type` must be `text`, `json_object` or `json_schema` with its schema.",
        ),
    ] {
        let error = CHAT.decode_request(&Called::default(), body.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expect, "{body}");
    }
}

#[test]
fn up_to_where_the_prompt_is_cached_is_said_as_each_vendor_has_it() {
    let hour = json!({"type": "ephemeral", "ttl": "1h"});
    let body = json!({"model": "m", "max_tokens": 9, "system": [{"type": "text", "text": "One.", "cache_control": hour}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Go.", "cache_control": {"type": "ephemeral"}}]}],
        "tools": [{"name": "f", "input_schema": {}, "cache_control": {"type": "ephemeral"}}]});
    let form = |cache_form| Quirks { cache_form, ..Quirks::default() };
    for (quirks, name, system, user, on_tool, losses) in [
        (form(CacheForm::Control), "cache_control", hour.clone(), json!({"type": "ephemeral"}), true, ""),
        (
            form(CacheForm::Breakpoint),
            "prompt_cache_breakpoint",
            json!({"mode": "explicit", "ttl": "12h"}),
            json!({"mode": "explicit"}),
            false,
            "cache_control=dropped",
        ),
    ] {
        let (found, lost) = written(Dialect::Anthropic, &body, CHAT, &quirks);
        assert_eq!(found["messages"][0]["content"][0][name], system);
        assert_eq!(found["messages"][1]["content"][0][name], user);
        assert_eq!((found["tools"][0]["cache_control"].is_object(), lost.as_str()), (on_tool, losses));
        let (back, _) = written(CHAT, &found, Dialect::Anthropic, &Quirks::default());
        assert_eq!((&back["system"], &back["messages"]), (&body["system"], &body["messages"]));
    }
    let (found, losses) = written(Dialect::Anthropic, &body, CHAT, &Quirks::default());
    assert_eq!(
        (&found["messages"][1]["content"], losses.as_str()),
        (&json!("Go."), "cache_control=dropped, cache_control_1h=dropped")
    );
}

#[test]
fn a_call_without_json_finds_its_result_by_an_id_of_any_length() {
    let id = "c".repeat(100);
    let call = json!({"id": id, "type": "custom", "custom": {"name": "f", "input": "x"}});
    let messages = json!([
        {"role": "user", "content": "Patch it."},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": id, "content": "Patched."},
    ]);
    let (back, losses) = written(CHAT, &json!({"model": "m", "messages": messages}), CHAT, &Quirks::default());
    assert_eq!((&back["messages"], losses.as_str()), (&messages, ""));
}

#[test]
fn a_call_of_a_type_that_nobody_knows_stays_a_call() {
    for kind in ["text", "image_url", "browser"] {
        let call = json!({"id": "c", "type": kind, "text": "x"});
        let messages = json!([
            {"role": "assistant", "content": "Now.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "Done."},
        ]);
        let body = json!({"model": "m", "messages": messages});
        let (back, losses) = written(CHAT, &body, CHAT, &Quirks::default());
        assert_eq!((&back["messages"], losses.as_str()), (&messages, ""));
        let (_, losses) = written(CHAT, &body, Dialect::Anthropic, &Quirks::default());
        assert!(losses.contains("tool_calls."), "{losses}");
    }
}
