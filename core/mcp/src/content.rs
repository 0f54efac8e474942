//! URIs of resources within results: beside other servers a client knows them with the server before them, and asks for them so.

use std::{borrow::Cow, ops::Range};

use serde_json::value::RawValue;

use crate::{
    json::{Json, unquoted},
    members::Members,
    name::ServerName,
};

/// The result of a `tools/call`, a `prompts/get` or a `resources/read` with the name of its server before each URI of a resource in it
/// (`contents[].uri`; in `content` and `messages[].content` the `uri` of a `resource_link`, and of the `resource` that is embedded); every
/// other byte stays. What is no URI stays as well.
#[must_use]
pub fn with_server<'a>(server: &ServerName, result: &'a Json<'_>) -> Json<'a> {
    let text = result.as_str();
    // Most results have none.
    if !text.contains("uri") {
        return Json::read(text);
    }
    let mut uris = Vec::new();
    let result = result.members().unwrap_or_default();
    for contents in result.list("contents").into_iter().flatten() {
        uris.extend(Members::read(contents).and_then(|contents| contents.get("uri")));
    }
    uris.extend(result.get("content").into_iter().flat_map(blocks));
    for message in result.list("messages").into_iter().flatten() {
        let content = Members::read(message).and_then(|message| message.get("content"));
        uris.extend(content.into_iter().flat_map(blocks));
    }
    let joined = |raw: &RawValue| {
        let uri: Cow<'_, str> = unquoted(raw.get())?;
        Some((place(text, raw.get()), server.uri(&uri).ok()?))
    };
    let mut edits: Vec<(Range<usize>, String)> = uris.into_iter().filter_map(joined).collect();
    edits.sort_unstable_by_key(|(place, _)| place.start);
    spliced(text, &edits)
}

/// The URIs of a block of content, or of a list of blocks.
fn blocks(content: &RawValue) -> Vec<&RawValue> {
    let blocks: Vec<&RawValue> = serde_json::from_str(content.get()).unwrap_or_else(|_| vec![content]);
    blocks.into_iter().filter_map(Members::read).filter_map(|block| uri_of(&block)).collect()
}

fn uri_of<'a>(block: &Members<'a>) -> Option<&'a RawValue> {
    match &*block.text("type")? {
        "resource_link" => block.get("uri"),
        "resource" => block.object("resource")?.get("uri"),
        _ => None,
    }
}

/// Where a part of a text stands in it.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    start..start + part.len()
}

fn spliced<'a>(text: &'a str, edits: &[(Range<usize>, String)]) -> Json<'a> {
    if edits.is_empty() {
        return Json::read(text);
    }
    let mut out = String::with_capacity(text.len() + edits.len() * 40);
    let mut at = 0;
    for (place, uri) in edits {
        out.push_str(text.get(at..place.start).unwrap_or_default());
        crate::json::push_text(uri, &mut out);
        at = place.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    Json::written(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_of_resources_get_their_server_and_nothing_else_changes() {
        let server = ServerName::parse("github").unwrap();
        for (result, expected) in [
            (r#"{"content":[{"type":"text","text":"see file:///x"}]}"#, None),
            (
                r#"{"content":[{"type":"text","text":"a uri","uri":"file:///x"}],"structuredContent":{"uri":"file:///x"}}"#,
                None,
            ),
            (r#"{"contents":[{"uri":"not one","text":""}]}"#, None),
            (r#"{"contents":[{"uri":7}],"content":"uri"}"#, None),
            (
                r#"{ "contents":[ {"mimeType":"text/plain" , "uri" : "file:\/\/\/x","text":"1.0"} ,{"uri":"a:b"}]}"#,
                Some(
                    r#"{ "contents":[ {"mimeType":"text/plain" , "uri" : "github+file:///x","text":"1.0"} ,{"uri":"github+a:b"}]}"#,
                ),
            ),
            (
                r#"{"isError":false,"content":[{"type":"resource_link","uri":"a:1","name":"x"},{"resource":{"uri":"a:2","blob":""},"type":"resource"}]}"#,
                Some(
                    r#"{"isError":false,"content":[{"type":"resource_link","uri":"github+a:1","name":"x"},{"resource":{"uri":"github+a:2","blob":""},"type":"resource"}]}"#,
                ),
            ),
            (
                r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"a:1","text":""}}}]}"#,
                Some(
                    r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"github+a:1","text":""}}}]}"#,
                ),
            ),
        ] {
            assert_eq!(with_server(&server, &Json::read(result)).as_str(), expected.unwrap_or(result), "{result}");
        }
    }
}
