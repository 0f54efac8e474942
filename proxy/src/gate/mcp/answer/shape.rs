//! The shape of a result: within its bound, with the names that the client knows, and as the client's revision has it. Whatever is not touched stays as
//! the server wrote it.

use std::borrow::Cow;

use serde_json::value::RawValue;
use tollgate_mcp::{Edit, Json, Members, ServerName};

use super::{Asked, Relay};
use crate::gate::mcp::read_again;

/// What stands where something was cut off.
const CUT: &str = "[cut by Tollgate: the result was longer than this server's may be]";

/// What guardrails have written.
pub(super) fn json(changed: Option<Vec<u8>>) -> Option<Json<'static>> {
    let raw = RawValue::from_string(String::from_utf8(changed?).ok()?).ok()?;
    Some(Json::from(&*raw).into_owned())
}

/// A result of a tool, or of another method with a list `content`, within so many bytes: texts are cut, and what cannot be cut goes.
pub(super) fn truncated(result: &Json<'_>, bytes_max: usize) -> Json<'static> {
    let raw = read_again(result);
    let members = Members::read(&raw).unwrap_or_default();
    let note = text_block(CUT);
    let mut left = bytes_max.saturating_sub(note.as_str().len() + 128);
    let mut kept = Vec::new();
    for block in members.list("content").unwrap_or_default() {
        let length = block.get().len() + 1;
        if length <= left {
            left -= length;
            kept.push(Json::from(block).into_owned());
            continue;
        }
        let text = Members::read(block).filter(|block| block.text("type").as_deref() == Some("text"));
        if let Some(text) = text.and_then(|block| block.text("text")) {
            // A quoted text is at most six times as long.
            let cut = text_block(text.get(..text.floor_char_boundary(left / 6)).unwrap_or_default());
            left = left.saturating_sub(cut.as_str().len());
            kept.push(cut);
        }
        break;
    }
    kept.push(note);
    members.edited(&[Edit::Set("content", Json::list(kept)), Edit::Remove("structuredContent")])
}

/// A result whose resources have names that say which server has them.
pub(super) fn joined(result: Json<'static>, server: &ServerName, method: Asked) -> Json<'static> {
    if !result.as_str().contains("uri") {
        return result;
    }
    let raw = read_again(&result);
    let Some(members) = Members::read(&raw) else { return result };
    let (list, within) = match method {
        Asked::Resource => ("contents", false),
        Asked::Tool => ("content", true),
        // Messages of a prompt have one block each.
        Asked::Other => ("messages", true),
    };
    let Some(elements) = members.list(list) else { return result };
    let element = |raw: &RawValue| {
        let Some(element) = Members::read(raw) else { return Json::from(raw).into_owned() };
        if !within {
            return renamed(&element, server);
        }
        match element.object("content") {
            Some(block) if method == Asked::Other => element.with("content", &of_block(&block, server)),
            _ => of_block(&element, server),
        }
    };
    members.with(list, &Json::list(elements.into_iter().map(element)))
}

/// A result as the client's revision has it; `None`: the client could do nothing with it.
pub(super) fn translated(result: Json<'static>, relay: &Relay) -> Option<Json<'static>> {
    let (client, server) = (relay.revision.is_stateless(), relay.spoken.is_stateless());
    if !client && !server {
        return Some(result);
    }
    let raw = read_again(&result);
    let members = Members::read(&raw)?;
    let kind = members.text("resultType").unwrap_or(Cow::Borrowed("complete"));
    if kind != "complete" && (!client || kind != "input_required") {
        return None;
    }
    let mut edits = Vec::new();
    match (client, server) {
        (false, _) => edits.extend([Edit::Remove("resultType"), Edit::Remove("ttlMs"), Edit::Remove("cacheScope")]),
        (true, _) => {
            edits.push(Edit::Set("resultType", Json::text(&kind)));
            if relay.method == Asked::Resource && kind == "complete" {
                if members.get("ttlMs").is_none() {
                    edits.push(Edit::Set("ttlMs", Json::of(&0)));
                }
                // What one caller may read another may not.
                edits.push(Edit::Set("cacheScope", Json::text("private")));
            }
        }
    }
    Some(members.edited(&edits))
}

fn of_block(block: &Members<'_>, server: &ServerName) -> Json<'static> {
    match block.text("type").as_deref() {
        Some("resource_link") => renamed(block, server),
        Some("resource") => match block.object("resource") {
            Some(resource) => block.with("resource", &renamed(&resource, server)),
            None => block.json().into_owned(),
        },
        _ => block.json().into_owned(),
    }
}

fn renamed(resource: &Members<'_>, server: &ServerName) -> Json<'static> {
    match resource.text("uri").and_then(|uri| server.uri(&uri).ok()) {
        Some(uri) => resource.with("uri", &Json::text(&uri)),
        None => resource.json().into_owned(),
    }
}

fn text_block(text: &str) -> Json<'static> {
    Json::object([("type", Json::text("text")), ("text", Json::text(text))])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Json<'static> {
        json(Some(text.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn a_result_is_cut_to_its_bound_and_says_so() {
        let long = "é".repeat(2_000);
        let result = format!(
            r#"{{"content":[{{"type":"text","text":"short"}},{{"type":"text","text":"{long}"}},{{"type":"text","text":"never"}}],"structuredContent":{{"a":1}},"isError":false}}"#
        );
        let cut = truncated(&of(&result), 1_000);
        let read: serde_json::Value = serde_json::from_str(cut.as_str()).unwrap();
        assert!(cut.as_str().len() <= 1_000 && !cut.as_str().contains("never"), "{}", cut.as_str().len());
        assert_eq!(read["content"][0]["text"], "short");
        assert!(read["content"][1]["text"].as_str().unwrap().starts_with('é'));
        assert_eq!((&read["content"][2]["text"], &read["isError"]), (&CUT.into(), &false.into()));
        assert!(read.get("structuredContent").is_none());
    }

    #[test]
    fn resources_are_known_by_their_server() {
        let server = ServerName::parse("files").unwrap();
        for (method, result, expect) in [
            (
                Asked::Resource,
                r#"{"contents":[{"uri":"file:///a","text":"uri"}]}"#,
                r#"{"contents":[{"uri":"files+file:///a","text":"uri"}]}"#,
            ),
            (
                Asked::Tool,
                r#"{"content":[{"type":"resource_link","uri":"file:///a","name":"a"},{"type":"text","text":"uri"}]}"#,
                r#"{"content":[{"type":"resource_link","uri":"files+file:///a","name":"a"},{"type":"text","text":"uri"}]}"#,
            ),
            (
                Asked::Tool,
                r#"{"content":[{"type":"resource","resource":{"uri":"file:///a","blob":""}}]}"#,
                r#"{"content":[{"type":"resource","resource":{"uri":"files+file:///a","blob":""}}]}"#,
            ),
            (
                Asked::Other,
                r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"x:y"}}}]}"#,
                r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"files+x:y"}}}]}"#,
            ),
            (Asked::Tool, r#"{"content":[], "a" : 1}"#, r#"{"content":[], "a" : 1}"#),
        ] {
            assert_eq!(joined(of(result), &server, method).as_str(), expect);
        }
    }
}
