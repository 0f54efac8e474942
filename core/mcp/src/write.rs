//! Writes messages from their parts. What is JSON already is placed as it is.

use crate::{
    id::Id,
    json::{Json, push_text},
};

/// A request.
#[must_use]
pub fn request(id: &Id<'_>, method: &str, params: Option<&Json<'_>>) -> Vec<u8> {
    asking(Some(id), method, params)
}

/// A notification.
#[must_use]
pub fn notification(method: &str, params: Option<&Json<'_>>) -> Vec<u8> {
    asking(None, method, params)
}

/// The answer to a request.
#[must_use]
pub fn response(id: &Id<'_>, result: &Json<'_>) -> Vec<u8> {
    finished(begun(Some(id), result.as_str().len()), "result", result)
}

/// The answer to a request that failed; without an id where that could not be read, as the schema has it since 2025-11-25.
#[must_use]
pub fn failure(id: Option<&Id<'_>>, error: &Json<'_>) -> Vec<u8> {
    finished(begun(id, error.as_str().len()), "error", error)
}

fn asking(id: Option<&Id<'_>>, method: &str, params: Option<&Json<'_>>) -> Vec<u8> {
    let mut out = begun(id, params.map_or(0, |params| params.as_str().len()) + method.len());
    out.push_str(",\"method\":");
    push_text(method, &mut out);
    match params {
        Some(params) => finished(out, "params", params),
        None => {
            out.push('}');
            out.into_bytes()
        }
    }
}

fn begun(id: Option<&Id<'_>>, length: usize) -> String {
    let id = id.map_or("", Id::raw);
    let mut out = String::with_capacity(id.len() + length + 64);
    out.push_str("{\"jsonrpc\":\"2.0\"");
    if !id.is_empty() {
        out.push_str(",\"id\":");
        out.push_str(id);
    }
    out
}

fn finished(mut out: String, name: &str, value: &Json<'_>) -> Vec<u8> {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    out.push_str(value.as_str());
    out.push('}');
    out.into_bytes()
}
