//! OpenAI Chat Completions and Embeddings.

use super::{Frames, body, event, quoted};
use crate::reply::{CREATED, Reply, Tokens, input_json};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

/// Where the vendors who speak this dialect, and not its author, tell what the model thought.
const THINKING: &str = "reasoning_content";
/// How long an embedding is.
const DIMENSIONS: usize = 16;

/// The answer as one completion.
pub(crate) fn whole(reply: &Reply) -> Bytes {
    let mut message =
        json!({"role": "assistant", "content": reply.text.as_ref().map(|_| reply.text()), "refusal": null});
    if let (Some(message), Some(thinking)) = (message.as_object_mut(), &reply.thinking) {
        message.insert(THINKING.to_owned(), thinking.clone().into());
    }
    if let (Some(message), false) = (message.as_object_mut(), reply.tools.is_empty()) {
        message.insert(
            "tool_calls".to_owned(),
            reply.tools.iter().enumerate().map(|(index, _)| call(reply, index)).collect(),
        );
    }
    body(&json!({"id": id(reply), "object": "chat.completion", "created": CREATED, "model": reply.model,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(reply)}],
        "usage": usage(&reply.tokens), "service_tier": "default", "system_fingerprint": null}))
}

/// The answer as a stream of chunks. Usage comes last, and only when the request asked for it.
pub(crate) fn stream(reply: &Reply) -> Frames {
    let head = format!(
        r#"{{"id":{},"object":"chat.completion.chunk","created":{CREATED},"model":{},"system_fingerprint":null"#,
        quoted(&id(reply)),
        quoted(&reply.model)
    );
    let absent = if reply.include_usage { r#","usage":null"# } else { "" };
    let chunk = move |delta: &str, finish: &str| {
        event(&format!(
            r#"{head},"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]{absent}}}"#
        ))
    };
    let start = chunk(r#"{"role":"assistant","content":"","refusal":null}"#, "null");
    let thinking =
        reply.thinking.as_ref().map(|thinking| chunk(&format!(r#"{{"{THINKING}":{}}}"#, quoted(thinking)), "null"));
    let calls: Vec<Bytes> =
        (0..reply.tools.len()).flat_map(|index| call_deltas(reply, index)).map(|delta| chunk(&delta, "null")).collect();
    let finish = chunk("{}", &quoted(finish_reason(reply)));
    let usage = reply.include_usage.then(|| {
        event(
            &json!({"id": id(reply), "object": "chat.completion.chunk", "created": CREATED, "model": reply.model,
            "system_fingerprint": null, "choices": [], "usage": usage(&reply.tokens)})
            .to_string(),
        )
    });
    let text = reply.pieces().map(move |piece| chunk(&format!(r#"{{"content":{}}}"#, quoted(&piece)), "null"));
    let done = Bytes::from_static(b"data: [DONE]\n\n");
    Box::new(std::iter::once(start).chain(thinking).chain(text).chain(calls).chain([finish]).chain(usage).chain([done]))
}

/// Embeddings: for each input a vector that its bytes decide.
pub(crate) fn embeddings(model: &str, request: &[u8], input_tokens: u64) -> Bytes {
    let request: Value = serde_json::from_slice(request).unwrap_or_default();
    let one = std::slice::from_ref(request.get("input").unwrap_or(&Value::Null));
    let inputs = match request.get("input") {
        // A list of numbers is one input, already cut into tokens.
        Some(Value::Array(inputs)) if !inputs.first().is_some_and(Value::is_number) => inputs.as_slice(),
        _ => one,
    };
    let as_base64 = request.get("encoding_format").and_then(Value::as_str) == Some("base64");
    let embedding = |input: &Value| {
        let vector = vector(&input.to_string());
        if as_base64 {
            let bytes: Vec<u8> = vector.into_iter().flat_map(f32::to_le_bytes).collect();
            return Value::from(STANDARD.encode(bytes));
        }
        Value::from(vector)
    };
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| json!({"object": "embedding", "index": index, "embedding": embedding(input)}))
        .collect();
    let usage = json!({"prompt_tokens": input_tokens, "total_tokens": input_tokens});
    body(&json!({"object": "list", "data": data, "model": model, "usage": usage}))
}

/// Numbers between -0.5 and 0.5, with 16 bits, which every float holds exactly.
fn vector(input: &str) -> Vec<f32> {
    (0..DIMENSIONS)
        .map(|dimension| {
            let [high, low, ..] = crc32fast::hash(format!("{dimension}{input}").as_bytes()).to_be_bytes();
            f32::from(u16::from_be_bytes([high, low])) / 65536.0 - 0.5
        })
        .collect()
}

fn id(reply: &Reply) -> String {
    format!("chatcmpl-{}", reply.mark)
}

fn finish_reason(reply: &Reply) -> &str {
    reply.stop("stop", "tool_calls", "length")
}

fn call(reply: &Reply, index: usize) -> Value {
    let (name, arguments) =
        reply.tools.get(index).map(|tool| (tool.name.as_str(), input_json(tool))).unwrap_or_default();
    json!({"id": reply.tool_id("call_", index), "type": "function", "function": {"name": name, "arguments": arguments}})
}

/// A call in two deltas: its name, then its arguments.
fn call_deltas(reply: &Reply, index: usize) -> [String; 2] {
    let (name, arguments) =
        reply.tools.get(index).map(|tool| (tool.name.as_str(), input_json(tool))).unwrap_or_default();
    let id = reply.tool_id("call_", index);
    [
        json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]}),
        json!({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}),
    ]
    .map(|delta| delta.to_string())
}

fn usage(tokens: &Tokens) -> Value {
    let input = tokens.input_with_cache();
    json!({"prompt_tokens": input, "completion_tokens": tokens.output, "total_tokens": input + tokens.output,
        "prompt_tokens_details": {"cached_tokens": tokens.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": tokens.thinking, "audio_tokens": 0}})
}
