//! Bedrock `converse`: one dialect for all of its models.

use super::{Frames, body, frame};
use crate::reply::{Reply, Tokens, input_json};
use bytes::Bytes;
use serde_json::{Value, json};

/// The answer as one response.
pub(crate) fn whole(reply: &Reply) -> Bytes {
    let thinking = reply
        .thinking
        .as_ref()
        .map(|thinking| json!({"reasoningContent": {"reasoningText": {"text": thinking, "signature": reply.seal()}}}));
    let text = reply.text.as_ref().map(|_| json!({"text": reply.text()}));
    let calls = reply.tools.iter().enumerate().map(|(index, tool)| {
        json!({"toolUse": {"toolUseId": reply.tool_id("tooluse_", index), "name": tool.name, "input": tool.input}})
    });
    let content: Vec<Value> = thinking.into_iter().chain(text).chain(calls).collect();
    body(&json!({"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop_reason(reply),
        "usage": usage(&reply.tokens), "metrics": {"latencyMs": 1}}))
}

/// The answer as a stream of frames.
pub(crate) fn stream(reply: &Reply) -> Frames {
    let mut before = vec![event("messageStart", &json!({"role": "assistant"}))];
    let mut index = 0;
    if let Some(thinking) = &reply.thinking {
        before.push(delta(index, &json!({"reasoningContent": {"text": thinking}})));
        before.push(delta(index, &json!({"reasoningContent": {"signature": reply.seal()}})));
        before.push(block_stop(index));
        index += 1;
    }
    let text_index = index;
    let mut behind = Vec::new();
    if reply.text.is_some() {
        behind.push(block_stop(text_index));
        index += 1;
    }
    for (number, tool) in reply.tools.iter().enumerate() {
        let start = json!({"toolUse": {"toolUseId": reply.tool_id("tooluse_", number), "name": tool.name}});
        behind.push(event("contentBlockStart", &json!({"contentBlockIndex": index + number, "start": start})));
        behind.push(delta(index + number, &json!({"toolUse": {"input": input_json(tool)}})));
        behind.push(block_stop(index + number));
    }
    behind.push(event("messageStop", &json!({"stopReason": stop_reason(reply)})));
    behind.push(event("metadata", &json!({"usage": usage(&reply.tokens), "metrics": {"latencyMs": 1}})));
    let text = reply.pieces().map(move |piece| delta(text_index, &json!({"text": piece})));
    Box::new(before.into_iter().chain(text).chain(behind))
}

fn event(kind: &str, payload: &Value) -> Bytes {
    frame::event(kind, payload.to_string().as_bytes())
}

fn delta(index: usize, delta: &Value) -> Bytes {
    event("contentBlockDelta", &json!({"contentBlockIndex": index, "delta": delta}))
}

fn block_stop(index: usize) -> Bytes {
    event("contentBlockStop", &json!({"contentBlockIndex": index}))
}

fn stop_reason(reply: &Reply) -> &str {
    reply.stop("end_turn", "tool_use", "max_tokens")
}

/// The cache stands beside the input here, and the total has both.
fn usage(tokens: &Tokens) -> Value {
    json!({"inputTokens": tokens.input, "outputTokens": tokens.output,
        "totalTokens": tokens.input_with_cache() + tokens.output, "cacheReadInputTokens": tokens.cache_read,
        "cacheWriteInputTokens": tokens.cache_write_5m + tokens.cache_write_1h})
}
