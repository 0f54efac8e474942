//! The reply in each dialect: whole, or as the frames of a stream.

pub(crate) mod anthropic;
pub(crate) mod openai;
pub(crate) mod responses;
pub(crate) mod gemini;
pub(crate) mod bedrock;
pub(crate) mod converse;
pub(crate) mod frame;
pub(crate) mod failure;

use bytes::Bytes;
use serde_json::Value;

/// What a stream sends, one event each.
pub(crate) type Frames = Box<dyn Iterator<Item = Bytes> + Send>;

/// One event of a `text/event-stream` with a name.
fn named_event(name: &str, data: &str) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

/// One event of a `text/event-stream` without a name.
fn event(data: &str) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

/// A text as a JSON string.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A JSON value as a body.
pub(crate) fn body(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}
