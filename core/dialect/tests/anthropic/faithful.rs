//! Shapes that are read and written again have the JSON that they had.

use std::fs;

use serde_json::{Map, Value, json};
use tollgate_dialect::{
    Called, Dialect, Quirks,
    hub::{Losses, Signature},
};

/// Fields of objects that the hub models, which it does not model, and which are lost within one dialect too. Each has a reason.
const LOST: [&str; 2] = [
    // Of a citation without any; of a call that a program made: no client but the one who wrote it can use it.
    "citations",
    "caller",
];

/// The same in one form: a text stands for a block of text, nothing is `null`, numbers have no notation.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kind = members.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
            let is_block = ["text", "tool_use"].contains(&&*kind);
            let mut plain_members = Map::new();
            for (name, member) in members {
                let is_empty = member.as_array().is_some_and(Vec::is_empty);
                if member.is_null() || (is_block && LOST.contains(&&*name) && (name != "citations" || is_empty)) {
                    continue;
                }
                let says = ["content", "system"].contains(&&*name) && !["compaction"].contains(&&*kind);
                let member = match member {
                    Value::String(text) if says && text.is_empty() => continue,
                    Value::String(text) if says => json!([{"type": "text", "text": text}]),
                    Value::String(kind) if name == "type" && kind == "custom" => continue,
                    Value::Bool(false) if name == "is_error" => continue,
                    member => plain(member),
                };
                plain_members.insert(name, member);
            }
            Value::Object(plain_members)
        }
        Value::Array(list) => Value::Array(list.into_iter().map(plain).collect()),
        Value::Number(number) => json!(number.as_f64()),
        other => other,
    }
}

fn shapes() -> Vec<(String, Value)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shapes/anthropic");
    let mut files: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
        .iter()
        .map(|path| (path.display().to_string(), serde_json::from_slice(&fs::read(path).unwrap()).unwrap()))
        .collect()
}

#[test]
fn each_request_is_written_with_all_that_it_had() {
    for (name, shape) in shapes() {
        let Some(request) = shape.get("request") else { continue };
        let body = serde_json::to_vec(request).unwrap();
        let read = Dialect::Anthropic.decode_request(&Called::default(), &body).unwrap();
        let mut losses = Losses::new(Dialect::Anthropic);
        let written = Dialect::Anthropic.encode_request(&read, &Quirks::default(), &mut losses);
        let written: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(plain(written), plain(request.clone()), "{name}");
    }
}

#[test]
fn what_is_said_twice_of_an_object_is_refused() {
    for (fields, expect) in [
        (r#""thinking":{"type":"adaptive"},"thinking":{"type":"new"}"#, "`thinking` must be there once."),
        (r#""metadata":{},"metadata":{}"#, "`metadata` must be there once."),
        (
            r#""output_config":{"effort":"new","effort":"low"}"#,
            "`output_config` must be an object that has each name once.",
        ),
    ] {
        let body = format!(r#"{{"model":"m","max_tokens":1,"messages":[],{fields}}}"#);
        let error = Dialect::Anthropic.decode_request(&Called::default(), body.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expect);
    }
}

#[test]
fn thinking_of_a_type_that_is_not_known_is_asked_for_as_it_came_whatever_else_is_left_out() {
    // What another provider thought is left out.
    let seal = Signature::new(Dialect::Gemini, "c2VhbA==").enclose(Dialect::Anthropic).to_string();
    let thought = json!({"type": "thinking", "thinking": "Hm.", "signature": seal});
    let request = |thinking: &Value, choice: &str| {
        json!({
            "model": "m", "max_tokens": 9000, "thinking": thinking, "output_config": {"effort": "high"}, "temperature": 0.5,
            "tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": choice},
            "messages": [
                {"role": "user", "content": "Hi."},
                {"role": "assistant", "content": [thought, {"type": "text", "text": "Hello."}]},
                {"role": "user", "content": "Go on."},
            ],
        })
    };
    for (thinking, choice, expect) in [
        (json!({"type": "new", "budget_tokens": 2000}), "auto", json!({"type": "new", "budget_tokens": 2000})),
        (json!({"type": "new", "display": "omitted"}), "any", json!({"type": "new", "display": "omitted"})),
        // Without a type the API refuses all of it.
        (json!({"type": "adaptive", "new": 1}), "any", Value::Null),
        (json!({"type": "adaptive", "new": 1}), "auto", json!({"type": "adaptive", "new": 1})),
    ] {
        let body = serde_json::to_vec(&request(&thinking, choice)).unwrap();
        let read = Dialect::Anthropic.decode_request(&Called::default(), &body).unwrap();
        let mut losses = Losses::new(Dialect::Anthropic);
        let written = Dialect::Anthropic.encode_request(&read, &Quirks::default(), &mut losses);
        assert!(losses.to_string().contains("foreign_thinking"), "{losses}");
        Dialect::Anthropic.decode_request(&Called::default(), &written).unwrap();
        let wire: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(wire["thinking"], expect, "{thinking}");
        // A member that is there twice is not to be seen in a `Value`.
        let text = String::from_utf8(written).unwrap();
        assert_eq!(text.matches(r#""type":"new""#).count(), usize::from(thinking["type"] == "new"), "{text}");
        assert_eq!(text.matches(r#""type":"adaptive""#).count(), usize::from(expect["type"] == "adaptive"), "{text}");
    }
}

#[test]
fn each_answer_is_written_with_all_that_clients_of_other_providers_get() {
    for (name, shape) in shapes() {
        let Some(answer) = shape.get("answer") else { continue };
        let body = serde_json::to_vec(answer).unwrap();
        let written = Dialect::Anthropic.encode_answer(&Dialect::Anthropic.decode_answer(&body).unwrap());
        let (mut written, mut answer) = (plain(serde_json::from_slice(&written).unwrap()), plain(answer.clone()));
        // What only Anthropic's own service says about itself.
        for own in ["container", "context_management", "stop_details"] {
            answer.as_object_mut().unwrap().remove(own);
        }
        answer["usage"].as_object_mut().unwrap().remove("service_tier");
        for usage in [&mut answer["usage"], &mut written["usage"]] {
            if let Some(used) = usage.get_mut("server_tool_use") {
                used.as_object_mut().unwrap().remove("web_fetch_requests");
            }
            let is_unused = usage.get("server_tool_use").is_some_and(|used| used["web_search_requests"] == 0.0);
            if is_unused {
                usage.as_object_mut().unwrap().remove("server_tool_use");
            }
        }
        assert_eq!(written, answer, "{name}");
    }
}
