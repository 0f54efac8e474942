//! Bedrock `invoke` of a model of Anthropic: its own answers, and its events each in a frame.

use super::{Frames, anthropic, frame};
use crate::reply::Reply;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

/// The answer as a stream. The last event also says what Bedrock counted.
pub(crate) fn stream(reply: &Reply) -> Frames {
    let metrics = json!({"inputTokenCount": reply.tokens.input, "outputTokenCount": reply.tokens.output,
        "invocationLatency": 1, "firstByteLatency": 1});
    Box::new(anthropic::events(reply).map(move |(name, data)| match name {
        "message_stop" => chunk(&json!({"type": name, "amazon-bedrock-invocationMetrics": metrics}).to_string()),
        _ => chunk(&data),
    }))
}

fn chunk(data: &str) -> Bytes {
    let payload: Value = json!({"bytes": STANDARD.encode(data)});
    frame::event("chunk", payload.to_string().as_bytes())
}
