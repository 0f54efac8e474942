//! Reads the parts of messages and results.

use serde_json::value::RawValue;

use super::{
    decode::{Read, needed},
    wire::{ReadAnnotation, ReadPart},
};
use crate::{
    dialects::{
        openai::media::inline,
        read::{each, field, is_text},
    },
    error::DecodeError,
    hub::{Block, Cache, Citation, Json, Media, MediaKind, Source, Text},
};

/// The name of a document that has none: the API wants one.
pub(super) const FILE_NAME: &str = "document.pdf";
/// How closely the model looks at an image of which nobody says it: the API's schema has it in every image, and servers that hold
/// requests against the schema refuse one without.
pub(super) const DETAIL: &str = "auto";
/// What a document is whose type nobody tells.
const DOCUMENT_TYPE: &str = "application/pdf";

/// Items that the hub models: one of them within a content is a mistake, and would be one of its own when it is written.
const ITEMS: [&str; 12] = [
    "message",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "local_shell_call",
    "local_shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "reasoning",
    "additional_tools",
    "item_reference",
];

/// What the type of another part begins with in the hub, where items have types too.
const OTHER_PART: &str = "content.";

/// Whether what has this type in the hub stands in a content.
pub(super) fn is_part(kind: &str) -> bool {
    ["input_", "output_", OTHER_PART].iter().any(|start| kind.starts_with(start))
}

/// Reads a content: a text stands for one part.
pub(super) fn content<'a>(name: &str, raw: &'a RawValue) -> Read<Vec<Block<'a>>> {
    if is_text(raw) {
        let text: Text<'a> = field(name, raw)?;
        return Ok(if text.is_empty() { Vec::new() } else { vec![Block::text(text)] });
    }
    each(name, raw, |raw| part(raw).map(|(block, _)| block))
}

/// Reads a part, and says whether it is a refusal.
pub(super) fn part<'a>(raw: &'a RawValue) -> Read<(Block<'a>, bool)> {
    let wire: ReadPart<'a> = field("", raw)?;
    let cache = wire.prompt_cache_breakpoint.as_ref().map(|_| Cache::Default);
    let media = |kind, source, title, detail| {
        Block::Media(Box::new(Media { title, detail, cache, ..Media::new(kind, source) }))
    };
    let block = match &*wire.kind {
        "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text" => Block::Text {
            citations: wire.annotations.map(annotations).transpose()?.unwrap_or_default(),
            text: needed("text", wire.text)?,
            cache,
        },
        "refusal" => return Ok((Block::text(needed("refusal", wire.refusal)?), true)),
        "input_image" => {
            let source = match (wire.image_url, wire.file_id) {
                (Some(url), _) => link(url),
                (None, Some(id)) => Source::File { id },
                (None, None) => return needed("image_url", None),
            };
            media(MediaKind::Image, source, None, wire.detail.filter(|detail| &**detail != DETAIL))
        }
        "input_file" => {
            let source = match (wire.file_data, wire.file_url, wire.file_id) {
                (Some(data), _, _) => bytes(data),
                (None, Some(url), _) => Source::Url { url, media_type: None },
                (None, None, Some(id)) => Source::File { id },
                (None, None, None) => return needed("file_data", None),
            };
            let title = wire.filename.filter(|name| &**name != FILE_NAME);
            media(MediaKind::Document, source, title, wire.detail)
        }
        "input_audio" => {
            let audio = needed("input_audio", wire.input_audio)?;
            let media_type = ["audio/", &*audio.format].concat().into();
            media(MediaKind::Audio, Source::Base64 { media_type, data: audio.data }, None, None)
        }
        kind if ITEMS.contains(&kind) => return Err(DecodeError::invalid("type", "the type of a part")),
        _ => {
            let kind = needed("type", Some(wire.kind).filter(|kind| !kind.is_empty()))?;
            let kind = if is_part(&kind) { kind } else { [OTHER_PART, &*kind].concat().into() };
            Block::Other { kind, json: field("", raw)? }
        }
    };
    Ok((block, false))
}

/// Reads the text of a list of parts, such as a summary.
pub(super) fn joined<'a>(name: &str, raw: &'a RawValue) -> Read<Text<'a>> {
    let texts = each(name, raw, |raw| {
        let part: ReadPart<'a> = field("", raw)?;
        needed("text", part.text)
    })?;
    let mut texts = texts.into_iter();
    let first = texts.next().unwrap_or_default();
    Ok(texts.fold(first, |mut all, text| {
        all.0.to_mut().extend([PART_END, &*text]);
        all
    }))
}

/// What stands between two parts of a summary when they are one text.
pub(super) const PART_END: &str = "\n\n";

// Only a page on the web is a place that other dialects know.
fn annotations(json: Json<'_>) -> Read<Vec<Citation<'_>>> {
    let Some(raw) = json.raw() else { return Ok(Vec::new()) };
    let cited = each("annotations", raw, annotation)?;
    Ok(cited.into_iter().flatten().collect())
}

/// Reads an annotation; `None` where it is none of a page on the web.
pub(super) fn annotation<'a>(raw: &'a RawValue) -> Read<Option<Citation<'a>>> {
    let ReadAnnotation { kind, url, title } = field("", raw)?;
    Ok(url.filter(|_| &*kind == "url_citation").map(|url| Citation {
        url: Some(url),
        title: title.filter(|title| !title.is_empty()),
        ..Citation::default()
    }))
}

fn link(url: Text<'_>) -> Source<'_> {
    inline(&url).unwrap_or(Source::Url { url, media_type: None })
}

fn bytes(data: Text<'_>) -> Source<'_> {
    inline(&data).unwrap_or(Source::Base64 { media_type: DOCUMENT_TYPE.into(), data })
}
