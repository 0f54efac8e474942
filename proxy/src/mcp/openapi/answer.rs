//! What an API answered, as the result of a tool: JSON as text, and as structured content where it is an object; other texts as text; images
//! as images. That it failed is told to the model with its status and the beginning of what it said, since it can often do something about it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use http::{
    Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER},
    response::Parts,
};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::value::RawValue;
use tokio::time::timeout_at;
use tollgate_mcp::{Id, Json, Message, write};

use crate::mcp::wire::{Bounds, Unreached, collect, media};

/// So much is told of what an API says when it fails, in bytes.
const FAILURE_BYTES_MAX: usize = 16 * 1024;
/// The longest media type that is told, in bytes.
const MEDIA_BYTES_MAX: usize = 100;

/// The message for the request of that id.
///
/// # Errors
/// When there is no whole answer, it is too long, or the API turned away what it was shown.
pub(super) async fn of(
    response: Response<Incoming>,
    id: &Id<'_>,
    has_shown: bool,
    bounds: Bounds,
) -> Result<Bytes, Unreached> {
    let (head, body) = response.into_parts();
    // What is said of a credential is nothing for a model, and may have it in it.
    if head.status == StatusCode::UNAUTHORIZED && has_shown {
        return Err(Unreached::Credential(head.status.as_u16()));
    }
    let media = media(head.headers.get(CONTENT_TYPE));
    let reading = async {
        if !head.status.is_success() {
            return Ok(failed(&failure(&head, &media, body).await));
        }
        match unreadable(&head, &media, &body) {
            Some(why) => Ok(failed(&why)),
            None => Ok(result(&head, &media, &collect(body, bounds.bytes_max).await?, id, bounds.bytes_max)),
        }
    };
    let result = timeout_at(bounds.until, reading).await.map_err(|_| Unreached::Late)??;
    Ok(write::response(id, &result).into())
}

// Why a body is nothing for a model; `None`: it is read.
fn unreadable(head: &Parts, media: &str, body: &Incoming) -> Option<String> {
    let status = said(head.status);
    let encoding = head.headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
    if encoding.is_some_and(|encoding| encoding != b"identity") {
        return Some(format!("{status}: the answer is compressed, although that was not asked for, and is not read."));
    }
    if body.is_end_stream() || media.is_empty() || is_text(media) || media.starts_with("image/") {
        return None;
    }
    let length = body.size_hint().exact().map_or_else(|| "some".into(), |bytes| bytes.to_string());
    Some(format!("{status}: the answer is {length} bytes of {}, which a tool's result has no form for.", shown(media)))
}

fn result(head: &Parts, media: &str, body: &[u8], id: &Id<'_>, bytes_max: usize) -> Json<'static> {
    if body.is_empty() {
        return content([text(&said(head.status))]);
    }
    if media.starts_with("image/") && !is_text(media) {
        let image = [("type", Json::text("image")), ("data", Json::text(&STANDARD.encode(body)))];
        return content([Json::object(image.into_iter().chain([("mimeType", Json::text(media))]))]);
    }
    if media.is_empty() && std::str::from_utf8(body).is_err() {
        let why = format!("{}: the answer is {} bytes of no media type, and no text.", said(head.status), body.len());
        return failed(&why);
    }
    let body = String::from_utf8_lossy(body);
    let alone = content([text(&body)]);
    if !is_json(media) || !body.trim_start().starts_with('{') {
        return alone;
    }
    structured(&body, id, bytes_max).unwrap_or(alone)
}

// The same object for programs beside the text for models: where it fits, and no reader could read it otherwise.
fn structured(body: &str, id: &Id<'_>, bytes_max: usize) -> Option<Json<'static>> {
    let object = RawValue::from_string(body.trim().to_owned()).ok()?;
    let members = [("content", Json::list([text(body)])), ("structuredContent", Json::from(&*object))];
    let result = Json::object(members);
    let fits = result.as_str().len() <= bytes_max && Message::parse(&write::response(id, &result)).is_ok();
    fits.then_some(result)
}

async fn failure(head: &Parts, media: &str, body: Incoming) -> String {
    let status = said(head.status);
    if head.status.is_redirection() {
        return format!("{status}: the API answers with a redirect, and none is followed.");
    }
    let later = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let later = later.filter(|later| later.len() <= 40).map(|later| format!("\nRetry-After: {later}"));
    let said = if is_text(media) { beginning(body).await } else { String::new() };
    let said = if said.is_empty() { said } else { format!("\n\n{said}") };
    [status, later.unwrap_or_default(), said].concat()
}

// What breaks off is told as far as it came.
async fn beginning(mut body: Incoming) -> String {
    let mut bytes = BytesMut::new();
    let mut is_whole = true;
    while let Some(Ok(frame)) = body.frame().await {
        bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
        if bytes.len() > FAILURE_BYTES_MAX {
            bytes.truncate(FAILURE_BYTES_MAX);
            is_whole = false;
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    [text.trim(), if is_whole { "" } else { "\n[cut by Tollgate]" }].concat()
}

fn said(status: StatusCode) -> String {
    format!("HTTP {} {}", status.as_u16(), status.canonical_reason().unwrap_or_default()).trim_end().to_owned()
}

fn text(text: &str) -> Json<'static> {
    Json::object([("type", Json::text("text")), ("text", Json::text(text))])
}

fn content<'a>(blocks: impl IntoIterator<Item = Json<'a>>) -> Json<'static> {
    Json::object([("content", Json::list(blocks))])
}

fn failed(why: &str) -> Json<'static> {
    Json::object([("content", Json::list([text(why)])), ("isError", Json::from(true))])
}

fn is_json(media: &str) -> bool {
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

fn is_text(media: &str) -> bool {
    const TEXTS: [&str; 12] = [
        "application/graphql",
        "application/javascript",
        "application/jsonl",
        "application/ndjson",
        "application/sql",
        "application/toml",
        "application/x-ndjson",
        "application/x-sh",
        "application/x-www-form-urlencoded",
        "application/x-yaml",
        "application/xml",
        "application/yaml",
    ];
    let is_of_one = ["+json", "+xml", "+yaml"].iter().any(|suffix| media.ends_with(suffix));
    media.starts_with("text/") || is_json(media) || is_of_one || TEXTS.contains(&media)
}

fn shown(media: &str) -> String {
    media.chars().filter(char::is_ascii_graphic).take(MEDIA_BYTES_MAX).collect()
}
