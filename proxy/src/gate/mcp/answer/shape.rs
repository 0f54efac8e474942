//! The shape of a result: within its bound, and as the client's revision has it. Whatever is not touched stays as
//! the server wrote it.

use serde_json::value::RawValue;
use tollgate_mcp::{
    Edit, Json, Members, Method,
    list::Caching,
    result::{ResultType, for_client, input_requests},
};

use super::{Asked, Relay};

/// What stands where something was cut off.
const CUT: &str = "[cut by Tollgate: the result was longer than this server's may be]";

/// What guardrails have written.
pub(super) fn json(changed: Option<Vec<u8>>) -> Option<Json<'static>> {
    let raw = RawValue::from_string(String::from_utf8(changed?).ok()?).ok()?;
    Some(Json::from(&*raw).into_owned())
}

/// A result of a tool, or of another method with a list `content`, within so many bytes: texts are cut, and what cannot be cut goes.
pub(super) fn truncated(result: &Json<'_>, bytes_max: usize) -> Json<'static> {
    let members = result.members().unwrap_or_default();
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
            kept.push(cut);
        }
        break;
    }
    kept.push(note);
    members.edited(&[Edit::Set("content", Json::list(kept)), Edit::Remove("structuredContent")])
}

/// A result as the client's revision has it; `None`: the client could do nothing with it, or is asked for what it cannot give.
pub(super) fn translated(result: Json<'static>, relay: &Relay) -> Option<Json<'static>> {
    let is_modern = relay.revision.is_stateless();
    if !is_modern && !relay.spoken.is_stateless() {
        return Some(result);
    }
    let members = result.members()?;
    match ResultType::of(&members) {
        ResultType::Complete => {}
        ResultType::InputRequired if is_modern => {}
        ResultType::InputRequired | ResultType::Task | ResultType::Other(_) => return None,
    }
    let asks = input_requests(&members);
    if !asks.iter().all(|asked| is_modern && relay.client.answers(&Method::of_name(&asked.method))) {
        return None;
    }
    if is_modern {
        // What one caller may read another may not.
        let caching = (relay.method == Asked::Resource).then_some(Caching::NONE);
        return Some(for_client(relay.revision, &members, caching));
    }
    let edits = ["resultType", "ttlMs", "cacheScope"].map(Edit::Remove);
    Some(members.edited(&edits))
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
}
