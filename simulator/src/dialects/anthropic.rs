//! Anthropic Messages. Its events also travel in the frames of Bedrock, and over Vertex.

use super::{Frames, body, named_event, quoted};
use crate::{
    behaviour::ToolUse,
    reply::{Reply, Tokens, input_json},
};
use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_dialect::{ListedModel, anthropic};

/// The models that a list names; every other name is answered just as well.
pub(crate) const MODELS: &[(&str, &str)] = &[
    ("claude-opus-5-5", "Claude Opus 5.5"),
    ("claude-sonnet-5-5", "Claude Sonnet 5.5"),
    ("claude-haiku-5-5", "Claude Haiku 5.5"),
    ("gpt-5", "GPT-5"),
    ("gpt-5-mini", "GPT-5 mini"),
    ("text-embedding-3-small", "Embedding 3 small"),
    ("gemini-2.5-pro", "Gemini 2.5 Pro"),
];

/// The list of models in the manner of Anthropic, or of OpenAI.
pub(crate) fn model_list(in_own_manner: bool) -> Bytes {
    let models = MODELS.iter().map(|(id, name)| ListedModel { display_name: Some(*name), ..ListedModel::named(id) });
    let list = if in_own_manner { anthropic::model_list(models) } else { tollgate_dialect::openai_model_list(models) };
    Bytes::from(list)
}

/// One model of the list.
pub(crate) fn model(id: &str) -> Option<Bytes> {
    let (id, name) = MODELS.iter().find(|(listed, _)| *listed == id)?;
    Some(body(&json!({"type": "model", "id": id, "display_name": name, "created_at": "1970-01-01T00:00:00Z",
        "object": "model", "created": 0, "owned_by": "system"})))
}

/// The answer of `count_tokens`.
pub(crate) fn counted(input: u64) -> Bytes {
    body(&json!({"input_tokens": input}))
}

/// The answer as one message.
pub(crate) fn whole(reply: &Reply) -> Bytes {
    body(&message(reply, content(reply), Some(stop_reason(reply)), &usage(&reply.tokens, reply.tokens.output)))
}

/// The answer as a stream.
pub(crate) fn stream(reply: &Reply) -> Frames {
    Box::new(events(reply).map(|(name, data)| named_event(name, &data)))
}

/// The answer as events: each one's name and data.
pub(crate) fn events(reply: &Reply) -> impl Iterator<Item = (&'static str, String)> + Send + use<> {
    let start = message(reply, Value::Array(Vec::new()), None, &usage(&reply.tokens, 1));
    let start = [event("message_start", json!({"message": start})), ("ping", PING.to_owned())];
    let mut before = Vec::new();
    let mut index = 0;
    if let Some(thinking) = &reply.thinking {
        before.extend(thinking_block(index, thinking, &reply.seal()));
        index += 1;
    }
    for search in 0..usize::try_from(reply.tokens.web_searches).unwrap_or_default() {
        before.extend(search_blocks(index, search, reply));
        index += 2;
    }
    let text_index = index;
    let has_text = reply.text.is_some();
    index += usize::from(has_text);
    let opening = has_text.then(|| block_start(text_index, &json!({"type": "text", "text": ""})));
    let closing = has_text.then(|| block_stop(text_index));
    let mut behind = Vec::new();
    for (number, tool) in reply.tools.iter().enumerate() {
        behind.extend(tool_block(index + number, tool, &reply.tool_id("toolu_", number)));
    }
    let delta = json!({"delta": {"stop_reason": stop_reason(reply), "stop_sequence": null},
        "usage": usage(&reply.tokens, reply.tokens.output)});
    let end = [event("message_delta", delta), ("message_stop", r#"{"type":"message_stop"}"#.to_owned())];
    let text = text_events(reply, text_index);
    start.into_iter().chain(before).chain(opening).chain(text).chain(closing).chain(behind).chain(end)
}

const PING: &str = r#"{"type":"ping"}"#;

fn text_events(reply: &Reply, index: usize) -> impl Iterator<Item = (&'static str, String)> + Send + use<> {
    let pings = reply.pings.unwrap_or_default();
    reply.pieces().enumerate().flat_map(move |(number, piece)| {
        let delta = format!(
            r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"text_delta","text":{}}}}}"#,
            quoted(&piece)
        );
        let ping = (pings > 0 && (number + 1).is_multiple_of(pings)).then(|| ("ping", PING.to_owned()));
        std::iter::once(("content_block_delta", delta)).chain(ping)
    })
}

fn message(reply: &Reply, content: Value, stop_reason: Option<&str>, usage: &Value) -> Value {
    json!({"id": format!("msg_{}", reply.mark), "type": "message", "role": "assistant", "model": reply.model,
        "content": content, "stop_reason": stop_reason, "stop_sequence": null, "usage": usage})
}

fn stop_reason(reply: &Reply) -> &str {
    reply.stop("end_turn", "tool_use", "max_tokens")
}

fn usage(tokens: &Tokens, output: u64) -> Value {
    let mut usage = json!({
        "input_tokens": tokens.input,
        "cache_creation_input_tokens": tokens.cache_write_5m + tokens.cache_write_1h,
        "cache_read_input_tokens": tokens.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tokens.cache_write_5m,
            "ephemeral_1h_input_tokens": tokens.cache_write_1h,
        },
        "output_tokens": output,
        "service_tier": "standard",
    });
    if let (Some(usage), 1..) = (usage.as_object_mut(), tokens.web_searches) {
        usage.insert("server_tool_use".to_owned(), json!({"web_search_requests": tokens.web_searches}));
    }
    usage
}

fn content(reply: &Reply) -> Value {
    let mut blocks = Vec::new();
    if let Some(thinking) = &reply.thinking {
        blocks.push(json!({"type": "thinking", "thinking": thinking, "signature": reply.seal()}));
    }
    for search in 0..usize::try_from(reply.tokens.web_searches).unwrap_or_default() {
        let id = reply.tool_id("srvtoolu_", search);
        let input = json!({"query": "simulator"});
        blocks.push(json!({"type": "server_tool_use", "id": id, "name": "web_search", "input": input}));
        blocks.push(search_result(&id));
    }
    if reply.text.is_some() {
        blocks.push(json!({"type": "text", "text": reply.text()}));
    }
    for (number, tool) in reply.tools.iter().enumerate() {
        let id = reply.tool_id("toolu_", number);
        blocks.push(json!({"type": "tool_use", "id": id, "name": tool.name, "input": tool.input}));
    }
    Value::Array(blocks)
}

fn search_result(id: &str) -> Value {
    json!({"type": "web_search_tool_result", "tool_use_id": id, "content": [{"type": "web_search_result",
        "title": "A page", "url": "https://example.com/", "encrypted_content": "c2ltdWxhdG9y", "page_age": null}]})
}

type Events = Vec<(&'static str, String)>;

fn thinking_block(index: usize, thinking: &str, seal: &str) -> Events {
    let start = json!({"type": "thinking", "thinking": "", "signature": ""});
    let deltas = [
        json!({"type": "thinking_delta", "thinking": thinking}),
        json!({"type": "signature_delta", "signature": seal}),
    ];
    block(index, &start, deltas)
}

fn search_blocks(index: usize, search: usize, reply: &Reply) -> Events {
    let id = reply.tool_id("srvtoolu_", search);
    let start = json!({"type": "server_tool_use", "id": id, "name": "web_search", "input": {}});
    let query = json!({"type": "input_json_delta", "partial_json": r#"{"query":"simulator"}"#});
    let mut events = block(index, &start, [query]);
    events.extend(block(index + 1, &search_result(&id), []));
    events
}

fn tool_block(index: usize, tool: &ToolUse, id: &str) -> Events {
    let start = json!({"type": "tool_use", "id": id, "name": tool.name, "input": {}});
    let input = input_json(tool);
    let (head, tail) = input.split_at(input.floor_char_boundary(input.len() / 2));
    let part = |json: &str| json!({"type": "input_json_delta", "partial_json": json});
    block(index, &start, [part(""), part(head), part(tail)])
}

fn block<const N: usize>(index: usize, start: &Value, deltas: [Value; N]) -> Events {
    let mut events = vec![block_start(index, start)];
    events.extend(deltas.map(|delta| event("content_block_delta", json!({"index": index, "delta": delta}))));
    events.push(block_stop(index));
    events
}

fn block_start(index: usize, block: &Value) -> (&'static str, String) {
    event("content_block_start", json!({"index": index, "content_block": block}))
}

fn block_stop(index: usize) -> (&'static str, String) {
    event("content_block_stop", json!({"index": index}))
}

fn event(name: &'static str, mut data: Value) -> (&'static str, String) {
    if let Some(data) = data.as_object_mut() {
        data.insert("type".to_owned(), Value::from(name));
    }
    (name, data.to_string())
}
