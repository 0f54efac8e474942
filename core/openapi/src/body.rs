//! The body of a request (OpenAPI 3.1, "Request Body Object"): of which of its media types it is written, and how.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    document::{Document, shown},
    parameter::{Described, Style, shape},
    reason::Unfit,
    shape::{Shape, Types},
};

/// A body.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    /// What it is sent as.
    pub(crate) media: String,
    pub(crate) format: Format,
    pub(crate) is_required: bool,
    pub(crate) shape: Shape,
}

/// How a body is written.
#[derive(Clone, Debug)]
pub(crate) enum Format {
    /// As it was given.
    Json,
    /// As `application/x-www-form-urlencoded`; with members that are written in a style of their own.
    Form(BTreeMap<String, Style>),
    /// As a text.
    Text,
}

/// The longest name of a media type, in bytes.
const MEDIA_BYTES_MAX: usize = 128;

// === impl Body ===

impl Body {
    /// Reads a request body.
    ///
    /// # Errors
    /// When it is of no media type that can be written.
    pub(crate) fn read<'d>(document: &'d Document, value: &'d Value) -> Result<(Self, Described<'d>), Unfit> {
        let value = document.resolved(value)?;
        let Some(content) = value.get("content").and_then(Value::as_object).filter(|content| !content.is_empty())
        else {
            return Err(Unfit::Malformed("requestBody".into(), "an object with \"content\""));
        };
        let (media, format, content) = chosen(content)?;
        let content = document.resolved(content)?;
        let mut shape = shape(document, content.get("schema"))?;
        let format = match format {
            Format::Form(_) => {
                shape.types = shape.types.and(Types::OBJECT);
                Format::Form(encodings(content)?)
            }
            Format::Text => {
                shape.types = shape.types.and(Types::STRING.or(Types::NUMBER).or(Types::BOOLEAN));
                Format::Text
            }
            Format::Json => Format::Json,
        };
        if shape.types == Types::NONE {
            return Err(Unfit::Malformed(format!("body of {media}"), "of a type that can be written so"));
        }
        let described = Described {
            schema: content.get("schema"),
            text: value.get("description").and_then(Value::as_str),
            is_deprecated: false,
        };
        let is_required = value.get("required").and_then(Value::as_bool) == Some(true);
        Ok((Self { media, format, is_required, shape }, described))
    }
}

/// Whether a media type is JSON (RFC 6839, section 3.1).
pub(crate) fn is_json(media: &str) -> bool {
    let essence = essence(media);
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

// JSON says most, a form more than a text.
fn chosen(content: &Map<String, Value>) -> Result<(String, Format, &Value), Unfit> {
    let find = |is: fn(&str) -> bool| content.iter().find(|(media, _)| is(media));
    let is_plain_json = |media: &str| matches!(essence(media).as_str(), "application/json" | "application/*" | "*/*");
    if let Some((_, content)) = find(is_plain_json) {
        return Ok(("application/json".into(), Format::Json, content));
    }
    if let Some((media, content)) = find(|media| is_json(media) && is_visible(media)) {
        return Ok((media.to_owned(), Format::Json, content));
    }
    if let Some((_, content)) = find(|media| essence(media) == "application/x-www-form-urlencoded") {
        return Ok(("application/x-www-form-urlencoded".into(), Format::Form(BTreeMap::new()), content));
    }
    if let Some((_, content)) = find(|media| matches!(essence(media).as_str(), "text/plain" | "text/*")) {
        return Ok(("text/plain; charset=utf-8".into(), Format::Text, content));
    }
    let medias: Vec<&str> = content.keys().map(String::as_str).collect();
    Err(Unfit::Media(shown(&medias.join(", "))))
}

fn encodings(content: &Value) -> Result<BTreeMap<String, Style>, Unfit> {
    let mut styles = BTreeMap::new();
    for (name, encoding) in content.get("encoding").and_then(Value::as_object).into_iter().flatten() {
        let style = encoding.get("style").and_then(Value::as_str);
        let explode = encoding.get("explode").and_then(Value::as_bool);
        // What says neither is written by its type: an object as JSON.
        if style.is_some() || explode.is_some() {
            let written = Style::of_query(style, explode);
            let why = "has a style that is not written here";
            styles.insert(name.clone(), written.ok_or_else(|| Unfit::Parameter(shown(name), why))?);
        }
    }
    Ok(styles)
}

fn essence(media: &str) -> String {
    media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_visible(media: &str) -> bool {
    media.len() <= MEDIA_BYTES_MAX && media.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_several_media_types_the_one_is_taken_that_says_most() {
        let document = Document::read(r#"{"openapi":"3.1.0"}"#).unwrap();
        for (medias, expect) in [
            (&["text/plain", "application/json", "multipart/form-data"][..], Ok("application/json")),
            (&["application/json; charset=utf-8"], Ok("application/json")),
            (&["*/*"], Ok("application/json")),
            (&["application/xml", "application/merge-patch+json"], Ok("application/merge-patch+json")),
            (&["multipart/form-data", "application/x-www-form-urlencoded"], Ok("application/x-www-form-urlencoded")),
            (&["text/plain"], Ok("text/plain; charset=utf-8")),
            (&["multipart/form-data"], Err("multipart/form-data")),
            (&["application/octet-stream", "application/xml"], Err("application/octet-stream, application/xml")),
            (&["application/x\r\nevil: 1+json"], Err("application/x\u{fffd}\u{fffd}evil: 1+json")),
        ] {
            let content: Map<_, _> = medias.iter().map(|media| ((*media).to_owned(), json!({}))).collect();
            let read = json!({ "content": content });
            let media = Body::read(&document, &read).map(|(body, _)| body.media);
            let expect = expect.map(str::to_owned).map_err(|media| Unfit::Media(media.to_owned()));
            assert_eq!(media, expect, "{medias:?}");
        }
    }
}
