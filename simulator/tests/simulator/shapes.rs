//! Each dialect, read back with a reader that knows nothing of how it was written.

use crate::client::{Answer, MESSAGES, ask, events, send_http2, start};
use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use aws_smithy_types::base64;
use serde_json::{Value, json};
use tollgate_dialect::anthropic::{StreamMeter, meter_answer};
use tollgate_simulator::{Running, Tokens};

const SETTINGS: &[(&str, &str)] = &[
    ("text", "Grüße aus dem Simulator."),
    ("thinking", "Hm."),
    ("tool", "Bash"),
    ("tool-input", r#"{"command":"echo \"hi\""}"#),
    ("cache-read", "70"),
    ("cache-write-5m", "20"),
    ("cache-write-1h", "30"),
];
const TEXT: &str = "Grüße aus dem Simulator.";

/// What a reader made of an answer.
#[derive(Debug, Default, PartialEq)]
struct Read {
    thinking: String,
    text: String,
    tool: String,
    arguments: Value,
    input: u64,
    output: u64,
    cache_read: u64,
    stop: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

async fn check(
    simulator: &Running,
    path: &str,
    body: &str,
    stop: &str,
    input: impl Fn(&Tokens) -> u64,
    read: impl Fn(&Answer) -> Read,
) {
    simulator.clear_ledger();
    let answer = ask(simulator, path, SETTINGS, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let entry = simulator.ledger().pop().unwrap();
    let tokens = entry.tokens.unwrap();
    assert_eq!(tokens.input, body.len().div_ceil(4) as u64);
    assert_eq!(entry.bytes_sent, answer.body.len() as u64);
    assert_eq!(answer.header("request-id"), entry.request_id);
    let expect = Read {
        thinking: "Hm.".into(),
        text: TEXT.into(),
        tool: "Bash".into(),
        arguments: json!({"command": "echo \"hi\""}),
        input: input(&tokens),
        output: tokens.output,
        cache_read: 70,
        stop: stop.into(),
    };
    assert_eq!(read(&answer), expect, "{path}: {}", answer.text());
}

fn within(tokens: &Tokens) -> u64 {
    tokens.input + tokens.cache_read + tokens.cache_write_5m + tokens.cache_write_1h
}

fn anthropic(message: &Value) -> Read {
    let block = |kind: &str| {
        message["content"].as_array().unwrap().iter().find(|block| block["type"] == kind).cloned().unwrap()
    };
    let usage = &message["usage"];
    Read {
        thinking: text(&block("thinking")["thinking"]),
        text: text(&block("text")["text"]),
        tool: text(&block("tool_use")["name"]),
        arguments: block("tool_use")["input"].clone(),
        input: number(&usage["input_tokens"]),
        output: number(&usage["output_tokens"]),
        cache_read: number(&usage["cache_read_input_tokens"]),
        stop: text(&message["stop_reason"]),
    }
}

/// Reads a stream of Anthropic's as a client does: start, blocks by index, delta.
fn anthropic_events(events: impl Iterator<Item = Value>) -> Read {
    let mut read = Read::default();
    let mut arguments = String::new();
    let mut open = None;
    let mut ended = false;
    for event in events {
        assert!(!ended, "nothing follows message_stop");
        match event["type"].as_str().unwrap() {
            "message_start" => read.input = number(&event["message"]["usage"]["input_tokens"]),
            "content_block_start" => {
                assert_eq!(open.replace(number(&event["index"])), None);
                read.tool.push_str(&text(&event["content_block"]["name"]));
            }
            "content_block_delta" => {
                assert_eq!(open, Some(number(&event["index"])));
                let delta = &event["delta"];
                read.text.push_str(&text(&delta["text"]));
                read.thinking.push_str(&text(&delta["thinking"]));
                arguments.push_str(&text(&delta["partial_json"]));
            }
            "content_block_stop" => assert_eq!(open.take(), Some(number(&event["index"]))),
            "message_delta" => {
                read.output = number(&event["usage"]["output_tokens"]);
                read.cache_read = number(&event["usage"]["cache_read_input_tokens"]);
                read.stop = text(&event["delta"]["stop_reason"]);
            }
            "message_stop" => ended = true,
            other => assert_eq!(other, "ping"),
        }
    }
    assert!(ended);
    read.arguments = serde_json::from_str(&arguments).unwrap();
    read
}

fn sse(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    events(&answer.body)
        .iter()
        .filter(|(_, data)| data != "[DONE]")
        .map(|(_, data)| serde_json::from_str(data).unwrap())
        .collect()
}

#[tokio::test]
async fn anthropic_messages_over_its_own_path_and_vertex() {
    let simulator = start().await;
    let vertex = "/v1/projects/p/locations/r/publishers/anthropic/models/claude-x";
    let body = r#"{"model":"claude-x","messages":[],"stream":false}"#;
    for (path, body) in [(MESSAGES, body), (&*format!("{vertex}:rawPredict"), "{}"), ("/model/claude-x/invoke", "{}")] {
        check(
            &simulator,
            path,
            body,
            "tool_use",
            |tokens| tokens.input,
            |answer| {
                let metered = meter_answer(&answer.body).unwrap().counters;
                assert_eq!((metered.cache_write_5m, metered.cache_write_1h), (20, 30));
                anthropic(&answer.json())
            },
        )
        .await;
    }
    let body = r#"{"model":"claude-x","messages":[],"stream":true}"#;
    for (path, body) in [(MESSAGES, body), (&*format!("/vertex{vertex}:streamRawPredict"), "{}")] {
        check(
            &simulator,
            path,
            body,
            "tool_use",
            |tokens| tokens.input,
            |answer| {
                let mut meter = StreamMeter::new();
                meter.push(&answer.body);
                let metered = meter.metered();
                assert!(metered.complete && metered.is_final && metered.model.as_deref() == Some("claude-x"));
                assert_eq!((metered.counters.cache_write_5m, metered.counters.cache_write_1h), (20, 30));
                assert!(events(&answer.body).iter().all(|(name, data)| data.contains(&format!(r#""type":"{name}""#))));
                anthropic_events(sse(answer).into_iter())
            },
        )
        .await;
    }
}

#[tokio::test]
async fn openai_chat_completions() {
    let simulator = start().await;
    let usage = |read: &mut Read, usage: &Value| {
        read.input = number(&usage["prompt_tokens"]);
        read.output = number(&usage["completion_tokens"]);
        read.cache_read = number(&usage["prompt_tokens_details"]["cached_tokens"]);
        assert_eq!(number(&usage["total_tokens"]), read.input + read.output);
    };
    // Its author has no place for thinking; this is where other vendors have it.
    let path = "/v1/chat/completions";
    check(&simulator, path, r#"{"model":"gpt-x","messages":[]}"#, "tool_calls", within, |answer| {
        let choice = &answer.json()["choices"][0];
        let call = &choice["message"]["tool_calls"][0]["function"];
        let mut read = Read { text: text(&choice["message"]["content"]), ..Read::default() };
        read.thinking = text(&choice["message"]["reasoning_content"]);
        read.tool = text(&call["name"]);
        read.arguments = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
        read.stop = text(&choice["finish_reason"]);
        usage(&mut read, &answer.json()["usage"]);
        read
    })
    .await;
    let body = r#"{"model":"gpt-x","stream":true,"stream_options":{"include_usage":true}}"#;
    check(&simulator, path, body, "tool_calls", within, |answer| {
        assert!(answer.text().ends_with("data: [DONE]\n\n"));
        let mut read = Read::default();
        let mut arguments = String::new();
        for chunk in sse(answer) {
            assert_eq!(chunk["object"], "chat.completion.chunk");
            if chunk["choices"].as_array().unwrap().is_empty() {
                usage(&mut read, &chunk["usage"]);
                continue;
            }
            assert_eq!(chunk.get("usage"), Some(&Value::Null));
            let delta = &chunk["choices"][0]["delta"];
            read.text.push_str(&text(&delta["content"]));
            read.thinking.push_str(&text(&delta["reasoning_content"]));
            read.tool.push_str(&text(&delta["tool_calls"][0]["function"]["name"]));
            arguments.push_str(&text(&delta["tool_calls"][0]["function"]["arguments"]));
            read.stop.push_str(&text(&chunk["choices"][0]["finish_reason"]));
        }
        read.arguments = serde_json::from_str(&arguments).unwrap();
        read
    })
    .await;
    let without = ask(&simulator, path, &[], r#"{"model":"gpt-x","stream":true}"#).await;
    assert!(!without.text().contains("usage"), "usage comes only when it is asked for");
}

#[tokio::test]
async fn openai_responses() {
    let simulator = start().await;
    fn response(response: &Value) -> Read {
        assert_eq!(response["object"], "response");
        let item = |kind: &str| {
            response["output"].as_array().unwrap().iter().find(|item| item["type"] == kind).cloned().unwrap()
        };
        let usage = &response["usage"];
        Read {
            thinking: text(&item("reasoning")["summary"][0]["text"]),
            text: text(&item("message")["content"][0]["text"]),
            tool: text(&item("function_call")["name"]),
            arguments: serde_json::from_str(item("function_call")["arguments"].as_str().unwrap()).unwrap(),
            input: number(&usage["input_tokens"]),
            output: number(&usage["output_tokens"]),
            cache_read: number(&usage["input_tokens_details"]["cached_tokens"]),
            stop: text(&response["status"]),
        }
    }
    let path = "/v1/responses";
    check(&simulator, path, r#"{"model":"gpt-x","input":"hi"}"#, "completed", within, |answer| {
        response(&answer.json())
    })
    .await;
    check(&simulator, path, r#"{"model":"gpt-x","input":"hi","stream":true}"#, "completed", within, |answer| {
        let events = sse(answer);
        let mut said = String::new();
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], number);
            if event["type"] == "response.output_text.delta" {
                said.push_str(&text(&event["delta"]));
            }
        }
        assert_eq!(said, TEXT);
        assert_eq!(events[0]["type"], "response.created");
        assert_eq!(events.last().unwrap()["type"], "response.completed");
        response(&events.last().unwrap()["response"])
    })
    .await;
}

#[tokio::test]
async fn a_tool_that_takes_a_text_is_called_with_one() {
    let simulator = start().await;
    let exec = json!({"type": "custom", "name": "exec"});
    let group = json!({"type": "namespace", "name": "functions", "tools": [exec]});
    let brought = json!({"type": "additional_tools", "role": "developer", "tools": [group]});
    let asked = json!({"role": "user", "content": "[[simulate tool=exec input.input=\"a\\n\\\"b\\\"\" tool=run n=1]]"});
    for (input, tools) in [(json!([asked]), json!([exec])), (json!([brought, asked]), json!([]))] {
        let body = json!({"model": "gpt-x", "input": input, "tools": tools});
        let whole = ask(&simulator, "/v1/responses", &[], &body.to_string()).await.json();
        let calls = whole["output"].as_array().unwrap();
        assert_eq!((&calls[0]["type"], &calls[0]["input"]), (&json!("custom_tool_call"), &json!("a\n\"b\"")));
        assert_eq!((&calls[1]["type"], &calls[1]["arguments"]), (&json!("function_call"), &json!(r#"{"n":1}"#)));
        let body = json!({"model": "gpt-x", "input": input, "tools": tools, "stream": true});
        let events = sse(&ask(&simulator, "/v1/responses", &[], &body.to_string()).await);
        let said: Vec<&Value> =
            events.iter().filter(|event| event["type"] == "response.custom_tool_call_input.delta").collect();
        assert_eq!(said.iter().map(|event| &event["delta"]).collect::<Vec<_>>(), [&json!("a\n\"b\"")]);
        assert_eq!(events.last().unwrap()["response"]["output"][0]["input"], "a\n\"b\"");
    }
}

#[tokio::test]
async fn a_cloud_refuses_beta_features_that_it_does_not_know() {
    let simulator = start().await;
    let vertex = "/v1/projects/p/locations/r/publishers/anthropic/models/m:rawPredict";
    for (path, header, body, status) in [
        ("/model/m/invoke", "x", r#"{"anthropic_beta":["effort-2025-11-24"]}"#, 200),
        ("/model/m/invoke", "x", r#"{"anthropic_beta":["effort-2025-11-24","oauth-2025-04-20"]}"#, 400),
        (vertex, "web-search-2025-03-05, effort-2025-11-24", "{}", 200),
        (vertex, "effort-2025-11-24,advanced-tool-use-2025-11-20", "{}", 400),
        (MESSAGES, "oauth-2025-04-20", r#"{"model":"m"}"#, 200),
    ] {
        let mut request = crate::client::request(path, &[], body);
        request.headers_mut().insert("anthropic-beta", http::HeaderValue::from_static(header));
        let answer = send_http2(&simulator, request).await;
        assert_eq!(answer.status, status, "{path} {header}: {}", answer.text());
    }
}

#[tokio::test]
async fn what_was_thought_is_sealed_as_each_dialect_does() {
    let simulator = start().await;
    let told = r#"{"model":"m","input":"hi","include":["reasoning.encrypted_content"]}"#;
    for (path, body, seals) in [
        (MESSAGES, r#"{"model":"m","messages":[]}"#, 1),
        ("/v1/responses", told, 1),
        ("/v1/responses", r#"{"model":"m","input":"hi"}"#, 0),
        ("/v1beta/models/m:generateContent", r#"{"contents":[]}"#, 1),
        ("/model/m/converse", "{}", 1),
    ] {
        let settings = [("thinking", "Hm."), ("tool", "Bash")];
        let answer = ask(&simulator, path, &settings, body).await;
        assert_eq!(answer.text().matches("c2ltdWxhdG9y").count(), seals, "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn gemini_as_one_answer_as_events_and_as_an_array() {
    let simulator = start().await;
    fn responses(responses: &[Value]) -> Read {
        let mut read = Read::default();
        for response in responses {
            for part in response["candidates"][0]["content"]["parts"].as_array().unwrap() {
                let said = if part["thought"] == true { &mut read.thinking } else { &mut read.text };
                said.push_str(&text(&part["text"]));
                read.tool.push_str(&text(&part["functionCall"]["name"]));
                if let Some(arguments) = part["functionCall"].get("args") {
                    read.arguments = arguments.clone();
                }
            }
            read.stop.push_str(&text(&response["candidates"][0]["finishReason"]));
        }
        let usage = &responses.last().unwrap()["usageMetadata"];
        read.input = number(&usage["promptTokenCount"]);
        read.output = number(&usage["candidatesTokenCount"]) + number(&usage["thoughtsTokenCount"]);
        read.cache_read = number(&usage["cachedContentTokenCount"]);
        assert_eq!(number(&usage["totalTokenCount"]), read.input + read.output);
        read
    }
    let model = "/v1beta/models/gemini-x";
    let body = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#;
    check(&simulator, &format!("{model}:generateContent"), body, "STOP", within, |answer| responses(&[answer.json()]))
        .await;
    check(&simulator, &format!("{model}:streamGenerateContent?alt=sse"), body, "STOP", within, |answer| {
        responses(&sse(answer))
    })
    .await;
    check(&simulator, &format!("{model}:streamGenerateContent"), body, "STOP", within, |answer| {
        assert_eq!(answer.header("content-type"), "application/json");
        responses(answer.json().as_array().unwrap())
    })
    .await;
}

/// The frames of a Bedrock stream: each one's event type and payload.
fn frames(answer: &Answer) -> Vec<(String, Value)> {
    assert_eq!(answer.header("content-type"), "application/vnd.amazon.eventstream");
    let mut decoder = MessageFrameDecoder::new();
    let mut bytes = bytes::BytesMut::from(&*answer.body);
    let mut frames = Vec::new();
    while let DecodedFrame::Complete(message) = decoder.decode_frame(&mut bytes).unwrap() {
        let header = |name: &str| {
            let header = message.headers().iter().find(|header| header.name().as_str() == name).unwrap();
            header.value().as_string().unwrap().as_str().to_owned()
        };
        assert_eq!(header(":message-type"), "event");
        frames.push((header(":event-type"), serde_json::from_slice(message.payload()).unwrap()));
    }
    assert!(bytes.is_empty());
    frames
}

#[tokio::test]
async fn bedrock_invoke_and_converse_in_frames() {
    let simulator = start().await;
    let model = "/model/us.anthropic.claude-x%3A0";
    check(
        &simulator,
        &format!("{model}/invoke-with-response-stream"),
        "{}",
        "tool_use",
        |tokens| tokens.input,
        |answer| {
            let events: Vec<Value> = frames(answer)
                .into_iter()
                .map(|(kind, payload)| {
                    assert_eq!(kind, "chunk");
                    serde_json::from_slice(&base64::decode(payload["bytes"].as_str().unwrap()).unwrap()).unwrap()
                })
                .collect();
            assert_eq!(events.last().unwrap()["amazon-bedrock-invocationMetrics"]["inputTokenCount"], 1);
            anthropic_events(events.into_iter())
        },
    )
    .await;
    let usage = |read: &mut Read, usage: &Value| {
        read.input = number(&usage["inputTokens"]);
        read.output = number(&usage["outputTokens"]);
        read.cache_read = number(&usage["cacheReadInputTokens"]);
        assert_eq!(number(&usage["cacheWriteInputTokens"]), 50);
    };
    check(
        &simulator,
        &format!("{model}/converse"),
        "{}",
        "tool_use",
        |tokens| tokens.input,
        |answer| {
            let answer = answer.json();
            let content = answer["output"]["message"]["content"].as_array().unwrap();
            let mut read = Read::default();
            for block in content {
                read.thinking.push_str(&text(&block["reasoningContent"]["reasoningText"]["text"]));
                read.text.push_str(&text(&block["text"]));
                read.tool.push_str(&text(&block["toolUse"]["name"]));
                read.arguments = block["toolUse"]["input"].clone();
            }
            read.stop = text(&answer["stopReason"]);
            usage(&mut read, &answer["usage"]);
            read
        },
    )
    .await;
    check(
        &simulator,
        &format!("{model}/converse-stream"),
        "{}",
        "tool_use",
        |tokens| tokens.input,
        |answer| {
            let mut read = Read::default();
            let mut arguments = String::new();
            for (kind, payload) in frames(answer) {
                let delta = &payload["delta"];
                read.thinking.push_str(&text(&delta["reasoningContent"]["text"]));
                read.text.push_str(&text(&delta["text"]));
                arguments.push_str(&text(&delta["toolUse"]["input"]));
                read.tool.push_str(&text(&payload["start"]["toolUse"]["name"]));
                read.stop.push_str(&text(&payload["stopReason"]));
                if kind == "metadata" {
                    usage(&mut read, &payload["usage"]);
                }
            }
            read.arguments = serde_json::from_str(&arguments).unwrap();
            read
        },
    )
    .await;
}

#[tokio::test]
async fn counts_embeddings_and_lists() {
    let simulator = start().await;
    let body = r#"{"model":"m","input":["a","b"],"contents":[]}"#;
    let counted = body.len().div_ceil(4);
    for (path, field) in
        [("/v1/messages/count_tokens", "input_tokens"), ("/v1beta/models/m:countTokens", "totalTokens")]
    {
        let answer = ask(&simulator, path, &[("output-tokens", "7")], body).await;
        assert_eq!(answer.json(), json!({field: counted}));
        assert_eq!(simulator.ledger().pop().unwrap().tokens, None, "counting is free");
    }
    let answer = ask(&simulator, "/v1/embeddings", &[], body).await.json();
    assert_eq!(answer["usage"], json!({"prompt_tokens": counted, "total_tokens": counted}));
    let vectors: Vec<&Value> = answer["data"].as_array().unwrap().iter().map(|item| &item["embedding"]).collect();
    assert!(vectors.len() == 2 && vectors[0] != vectors[1]);
    let packed =
        ask(&simulator, "/v1/embeddings", &[], r#"{"model":"m","input":"a","encoding_format":"base64"}"#).await;
    let packed = base64::decode(packed.json()["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let floats = packed.chunks(4).map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap())));
    assert_eq!(vectors[0], &Value::from(floats.collect::<Vec<_>>()));
    for (path, header, expect) in [
        ("/v1/models", "anthropic-version", "\"has_more\":false"),
        ("/v1/models", "x-other", "\"object\":\"list\""),
        ("/v1beta/models", "x-other", "models/gemini"),
        ("/v1/models/gpt-5", "x-other", "\"id\":\"gpt-5\""),
    ] {
        let mut request = crate::client::request(path, &[], "");
        *request.method_mut() = http::Method::GET;
        request.headers_mut().insert(http::HeaderName::from_static(header), http::HeaderValue::from_static("1"));
        let answer = send_http2(&simulator, request).await;
        assert!(answer.status == 200 && answer.text().contains(expect), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_directive_drives_a_client_through_a_tool_call() {
    let simulator = start().await;
    let asked =
        json!({"role": "user", "content": [{"type": "text", "text": "[[simulate tool=Bash command=\"echo hi\"]]"}]});
    let first = json!({"model": "m", "messages": [asked.clone(), {"role": "system", "content": "be brief"}]});
    let answer = ask(&simulator, MESSAGES, &[], &first.to_string()).await.json();
    let call = &answer["content"][0];
    assert_eq!((&call["name"], &call["input"]), (&json!("Bash"), &json!({"command": "echo hi"})));
    assert_eq!(answer["stop_reason"], "tool_use");
    let result =
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": "hi"}]});
    let second = json!({"model": "m", "messages": [asked, {"role": "assistant", "content": [call]}, result]});
    let answer = ask(&simulator, MESSAGES, &[("tool", "Bash")], &second.to_string()).await.json();
    assert_eq!(
        (answer["content"][0]["type"].as_str(), answer["stop_reason"].as_str()),
        (Some("text"), Some("end_turn"))
    );
}

#[tokio::test]
async fn server_tools_and_pings_stand_in_the_stream_and_searches_in_the_usage() {
    let simulator = start().await;
    let answer = crate::client::stream(&simulator, &[("web-searches", "2"), ("events", "6"), ("pings", "3")]).await;
    let mut meter = StreamMeter::new();
    meter.push(&answer.body);
    assert_eq!(meter.metered().counters.web_searches, 2);
    let text = answer.text();
    for (piece, count) in
        [("event: ping", 3), ("\"server_tool_use\",\"", 0), ("web_search_tool_result", 2), ("text_delta", 6)]
    {
        assert_eq!(text.matches(piece).count(), count, "{piece} in {text}");
    }
}
