//! Gemini `generateContent`, and its stream as events or as one JSON array that grows.

use super::{Frames, anthropic::MODELS, body, event};
use crate::reply::{Reply, Tokens};
use bytes::Bytes;
use serde_json::{Value, json};

/// The list of models.
pub(crate) fn model_list() -> Bytes {
    let models: Vec<Value> = MODELS
        .iter()
        .map(|(id, name)| {
            json!({"name": format!("models/{id}"), "displayName": name,
            "supportedGenerationMethods": ["generateContent", "countTokens"]})
        })
        .collect();
    body(&json!({"models": models}))
}

/// The answer of `countTokens`.
pub(crate) fn counted(input: u64) -> Bytes {
    body(&json!({"totalTokens": input}))
}

/// The answer as one response.
pub(crate) fn whole(reply: &Reply) -> Bytes {
    let text = reply.text.as_ref().map(|_| json!({"text": reply.text()}));
    let parts = thought(reply).into_iter().chain(text).chain(calls(reply)).chain(sealed(reply)).collect();
    body(&response(reply, parts, true))
}

/// The answer as a stream: with `alt=sse` as events, otherwise as the elements of a JSON array.
pub(crate) fn stream(reply: &Reply, as_events: bool) -> Frames {
    let first = thought(reply).map(|thought| response(reply, vec![thought], false));
    let calls: Vec<Value> = calls(reply).chain(sealed(reply)).collect();
    let last = response(reply, calls, true);
    let base = reply.clone();
    let text = reply.pieces().map(move |piece| response(&base, vec![json!({"text": piece})], false));
    let chunks = first.into_iter().chain(text).chain([last]);
    if as_events {
        return Box::new(chunks.map(|chunk| event(&chunk.to_string())));
    }
    let elements = chunks.enumerate().map(|(index, chunk)| {
        let joint = if index == 0 { "[" } else { ",\r\n" };
        Bytes::from(format!("{joint}{chunk}"))
    });
    Box::new(elements.chain([Bytes::from_static(b"]")]))
}

fn thought(reply: &Reply) -> Option<Value> {
    reply.thinking.as_ref().map(|thinking| json!({"text": thinking, "thought": true}))
}

// Whoever thought seals the first of the calls.
fn calls(reply: &Reply) -> impl Iterator<Item = Value> {
    reply.tools.iter().enumerate().map(|(index, tool)| {
        let mut part = json!({"functionCall": {"name": tool.name, "args": tool.input}});
        if let (0, Some(_), Some(part)) = (index, &reply.thinking, part.as_object_mut()) {
            part.insert("thoughtSignature".to_owned(), Value::from(reply.seal()));
        }
        part
    })
}

// Without a call, a part of its own seals what was thought.
fn sealed(reply: &Reply) -> Option<Value> {
    let is_bare = reply.tools.is_empty() && reply.thinking.is_some();
    is_bare.then(|| json!({"text": "", "thoughtSignature": reply.seal()}))
}

fn response(reply: &Reply, parts: Vec<Value>, is_last: bool) -> Value {
    let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": 0});
    if let (Some(candidate), true) = (candidate.as_object_mut(), is_last) {
        candidate.insert("finishReason".to_owned(), Value::from(reply.stop("STOP", "STOP", "MAX_TOKENS")));
    }
    json!({"candidates": [candidate], "usageMetadata": usage(&reply.tokens, is_last), "modelVersion": reply.model,
        "responseId": reply.mark})
}

/// Thinking stands beside the output here, not in it.
fn usage(tokens: &Tokens, is_last: bool) -> Value {
    let input = tokens.input_with_cache();
    let (said, thought) =
        if is_last { (tokens.output.saturating_sub(tokens.thinking), tokens.thinking) } else { (0, 0) };
    json!({"promptTokenCount": input, "cachedContentTokenCount": tokens.cache_read, "candidatesTokenCount": said,
        "thoughtsTokenCount": thought, "totalTokenCount": input + said + thought})
}
