//! Measures what a gateway does with every request: the probe of a body of 400 KB, and the meter on a stream, per event.
//!
//! `cargo run --release -p tollgate-dialect --example probe`

#![expect(clippy::print_stdout, reason = "an example prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "an example may read the clock")]
#![expect(clippy::expect_used, reason = "an example ends when its own data is wrong")]

use serde_json::{Value, json};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use tollgate_dialect::anthropic;

const BODY_BYTES: usize = 400 * 1024;
const EVENTS: u32 = 200;
const ROUNDS: u32 = 400;

fn main() {
    let (body, session) = (body(), session());
    println!("body of {} bytes", body.len());
    let probing = fastest(|| black_box(anthropic::probe(black_box(&body)).is_ok()));
    println!("  probe                         {probing:>10.1?}");
    let probing = fastest(|| black_box(anthropic::probe(black_box(&session)).is_ok()));
    println!("  probe of {} bytes of tools' results {probing:>10.1?}", session.len());
    let utf8 = fastest(|| black_box(std::str::from_utf8(black_box(&body)).is_ok()));
    println!("  of it, validating UTF-8       {utf8:>10.1?}");
    let value = fastest(|| black_box(serde_json::from_slice::<Value>(black_box(&body)).is_ok()));
    println!("  a parse into serde_json Value {value:>10.1?}");

    let stream = stream();
    println!("stream of {EVENTS} events, {} bytes", stream.len());
    for piece in [stream.len(), 8192, 160, 16] {
        let metering = fastest(|| {
            let mut meter = anthropic::StreamMeter::new();
            black_box(&stream).chunks(piece).for_each(|bytes| meter.push(bytes));
            black_box(meter.metered().complete)
        });
        println!("  meter, in pieces of {piece:>6}    {:>10.1?} per event", metering / EVENTS);
    }
}

/// The fastest of many rounds: what the work costs when nothing disturbs it.
fn fastest(mut work: impl FnMut() -> bool) -> Duration {
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            assert!(work());
            start.elapsed()
        })
        .min()
        .unwrap_or_default()
}

/// What a coding agent sends: a long system prompt, twenty tools, sixty messages with source code in them.
fn body() -> Vec<u8> {
    let code =
        "fn main() {\n    let words: Vec<&str> = \"one two\".split(' ').collect();\n\tprintln!(\"{words:?}\");\n}\n";
    let prose =
        "Read the file before you change it, and run the tests when you have. Say what you did in one sentence. ";
    let tools: Vec<Value> = (0..20)
        .map(|index| {
            json!({"name": format!("tool_{index}"), "description": prose.repeat(20), "input_schema": {"type": "object",
                "properties": {"path": {"type": "string", "description": prose}}, "required": ["path"]}})
        })
        .collect();
    let rest = (BODY_BYTES - 70_000) / 60 / (code.len() + 12);
    let messages: Vec<Value> = (0..60)
        .map(|index| {
            let role = if index % 2 == 0 { "user" } else { "assistant" };
            json!({"role": role, "content": [{"type": "text", "text": code.repeat(rest)}]})
        })
        .collect();
    let body = json!({"max_tokens": 32000, "messages": messages, "model": "claude-opus-5-5", "stream": true,
        "system": [{"type": "text", "text": prose.repeat(120)}], "tools": tools});
    serde_json::to_vec(&body).expect("a value can be written")
}

/// The same size late in a session: hundreds of calls of tools and their results, which are texts.
fn session() -> Vec<u8> {
    let line = "    let words: Vec<&str> = \"one two\".split(' ').collect();\n";
    let messages: Vec<Value> = (0..300)
        .flat_map(|index| {
            let id = format!("toolu_{index:024}");
            let call = json!({"type": "tool_use", "id": id, "name": "Read", "input": {"file_path": "/src/main.rs"}});
            let result = json!({"type": "tool_result", "tool_use_id": id, "content": line.repeat(17)});
            [json!({"role": "assistant", "content": [call]}), json!({"role": "user", "content": [result]})]
        })
        .collect();
    let body = json!({"max_tokens": 32000, "messages": messages, "model": "claude-opus-5-5", "stream": true});
    serde_json::to_vec(&body).expect("a value can be written")
}

fn stream() -> Vec<u8> {
    let event = |name: &str, data: Value| format!("event: {name}\ndata: {data}\n\n");
    let usage = json!({"input_tokens": 9, "cache_read_input_tokens": 50000, "output_tokens": 1});
    let mut stream =
        event("message_start", json!({"type": "message_start", "message": {"model": "m", "usage": usage}}));
    for _ in 2..EVENTS {
        let delta = json!({"type": "text_delta", "text": " a few words of text"});
        stream += &event("content_block_delta", json!({"type": "content_block_delta", "index": 0, "delta": delta}));
    }
    let last = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 200}});
    stream += &event("message_delta", last);
    stream += &event("message_stop", json!({"type": "message_stop"}));
    stream.into_bytes()
}
