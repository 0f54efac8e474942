//! `functionResponse`, both ways: what a function answers is an object here, and texts and media in the hub.
//!
//! The API documents `output` for what a function gave and `error` for why it failed; whatever else the object holds is the output as a
//! whole. Google's SDKs write `result`, and for tools of MCP the protocol's own `content` and `isError`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    media,
    wire::{Piece, WirePart, WireResult},
};
use crate::{
    dialects::read::{Members, each, field, is_null, is_text},
    error::DecodeError,
    hub::{Block, Json, Text, ToolResult},
};

#[derive(Deserialize, Serialize)]
struct Item<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    text: Text<'a>,
}

/// Reads the answer of a function; `id` is the call's.
pub(super) fn read<'a>(id: Text<'a>, wire: WireResult<'a>) -> Result<ToolResult<'a>, DecodeError> {
    let (mut blocks, is_error) = match wire.response.and_then(|json| json.raw()) {
        Some(raw) => response(raw)?,
        None => (Vec::new(), false),
    };
    if let Some(raw) = wire.parts.and_then(|json| json.raw()).filter(|raw| !is_null(raw)) {
        blocks.extend(each("parts", raw, part)?.into_iter().flatten());
    }
    Ok(ToolResult { tool_use_id: id, blocks, is_error, cache: None })
}

fn part<'a>(raw: &'a RawValue) -> Result<Option<Block<'a>>, DecodeError> {
    let WirePart { inline_data, file_data, .. } = field("", raw)?;
    let medium = inline_data
        .map(|blob| media::read_blob(blob, None))
        .or_else(|| file_data.map(|file| media::read_file(file, None)));
    Ok(medium.map(|medium| Block::Media(Box::new(medium))))
}

fn response<'a>(raw: &'a RawValue) -> Result<(Vec<Block<'a>>, bool), DecodeError> {
    let Ok(Members(members)) = field::<Members<'a>>("response", raw) else { return Ok((said(raw)?, false)) };
    let value =
        |name: &str| members.iter().find(|(member, raw)| **member == *name && !is_null(raw)).map(|(_, raw)| *raw);
    if let Some(error) = value("error").filter(|_| value("output").is_none()) {
        return Ok((said(error)?, true));
    }
    if let Some(items) = value("content").and_then(texts) {
        let is_error = value("isError").is_some_and(|raw| raw.get() == "true");
        return Ok((items, is_error));
    }
    let sole = value("output").or_else(|| value("result").filter(|_| members.len() == 1));
    match sole.filter(|_| members.iter().all(|(name, raw)| is_null(raw) || ["output", "result"].contains(&&**name))) {
        Some(output) => Ok((said(output)?, false)),
        None if members.is_empty() => Ok((Vec::new(), false)),
        None => Ok((vec![Block::text(raw.get())], false)),
    }
}

fn said<'a>(raw: &'a RawValue) -> Result<Vec<Block<'a>>, DecodeError> {
    let text: Text<'a> = if is_text(raw) { field("response", raw)? } else { raw.get().into() };
    Ok(if text.is_empty() { Vec::new() } else { vec![Block::text(text)] })
}

// `None`: not all of them are texts, as MCP has them.
fn texts<'a>(raw: &'a RawValue) -> Option<Vec<Block<'a>>> {
    let items: Vec<Item<'a>> = serde_json::from_str(raw.get()).ok()?;
    let text = |Item { kind, text }| (&*kind == "text").then(|| Block::text(text));
    items.into_iter().map(text).collect()
}

/// Writes `response`.
pub(super) fn write(texts: &[&str], is_error: bool) -> Json<'static> {
    #[derive(Serialize)]
    #[serde(rename_all = "lowercase")]
    enum Sole<'a> {
        Output(&'a str),
        Error(&'a str),
    }
    #[derive(Serialize)]
    struct Several<'a> {
        content: Vec<Item<'a>>,
        #[serde(rename = "isError", skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    }
    match texts {
        [] | [_] => {
            let text = texts.first().copied().unwrap_or_default();
            Json::of(&if is_error { Sole::Error(text) } else { Sole::Output(text) })
        }
        several => {
            let content = several.iter().map(|text| Item { kind: "text".into(), text: (*text).into() }).collect();
            Json::of(&Several { content, is_error })
        }
    }
}

/// Writes `parts`; `None` where there is nothing.
pub(super) fn parts(media: Vec<WirePart<'_>>) -> Option<Json<'static>> {
    let pieces: Vec<Piece<'_>> = media.into_iter().map(|part| Piece::Part(Box::new(part))).collect();
    (!pieces.is_empty()).then(|| Json::of(&pieces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_function_is_text_however_it_is_put() {
        for (response, texts, is_error) in [
            (r#"{"output": "a\nb"}"#, vec!["a\nb"], false),
            (r#"{"output": {"n": 1.0}}"#, vec![r#"{"n": 1.0}"#], false),
            (r#"{"output": ""}"#, vec![], false),
            (r#"{"result": [1, 2]}"#, vec!["[1, 2]"], false),
            (r#"{"error": "no such file"}"#, vec!["no such file"], true),
            (r#"{"error": {"code": 7}}"#, vec![r#"{"code": 7}"#], true),
            (r#"{"error": null, "output": "x"}"#, vec!["x"], false),
            (r#"{"output": "x", "error": "y"}"#, vec![r#"{"output": "x", "error": "y"}"#], false),
            (r#"{"result": "x", "took": 3}"#, vec![r#"{"result": "x", "took": 3}"#], false),
            (r#"{"celsius": 20}"#, vec![r#"{"celsius": 20}"#], false),
            (r#"{"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}"#, vec!["a", "b"], false),
            (r#"{"content": [{"type": "text", "text": "a"}], "isError": true}"#, vec!["a"], true),
            (r#"{"content": [{"type": "image"}]}"#, vec![r#"{"content": [{"type": "image"}]}"#], false),
            ("{}", vec![], false),
            ("null", vec![], false),
            (r#""plain""#, vec!["plain"], false),
        ] {
            let wire = WireResult { response: Some(Json::parse(response).unwrap()), ..WireResult::default() };
            let wire = if response == "null" { WireResult::default() } else { wire };
            let read = read("id".into(), wire).unwrap();
            let expect: Vec<Block<'_>> = texts.into_iter().map(Block::text).collect();
            assert_eq!((read.blocks, read.is_error), (expect, is_error), "{response}");
        }
    }
}
