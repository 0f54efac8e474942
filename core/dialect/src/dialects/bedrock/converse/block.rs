//! Reads content blocks, of a request or an answer.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

use super::{
    citation, document, formats, seal,
    wire::{WireBlock, WireCachePoint, WireCited, WireMedia, WireReasoning, WireSource, WireToolResult, WireToolUse},
};
use crate::{
    dialects::read::{Members, each, field, is_null},
    error::DecodeError,
    hub::{Block, Cache, Json, Media, MediaKind, Source, ToolResult, ToolUse},
};

type Read<T> = Result<T, DecodeError>;

/// A block, or the end of what is cached, which is a block of its own here.
enum Found<'a> {
    Block(Block<'a>),
    CachePoint(Cache, Json<'a>),
}

/// Reads a list of blocks.
pub(super) fn blocks<'a>(name: &str, raw: &'a RawValue) -> Read<Vec<Block<'a>>> {
    listed(name, raw, false)
}

fn listed<'a>(name: &str, raw: &'a RawValue, is_result: bool) -> Read<Vec<Block<'a>>> {
    let mut blocks = Vec::new();
    for found in each(name, raw, |raw| block(raw, is_result))? {
        match found {
            Found::Block(block) => blocks.push(block),
            Found::CachePoint(cache, json) => match blocks.last_mut().and_then(mark) {
                Some(mark) => *mark = Some(cache),
                // Nothing stands before it that could bear the mark.
                None => blocks.push(Block::Other { kind: "cachePoint".into(), json }),
            },
        }
    }
    Ok(blocks)
}

fn mark<'b>(block: &'b mut Block<'_>) -> Option<&'b mut Option<Cache>> {
    match block {
        Block::Text { cache, .. } => Some(cache),
        Block::Media(media) => Some(&mut media.cache),
        Block::ToolUse(tool) => Some(&mut tool.cache),
        Block::ToolResult(result) => Some(&mut result.cache),
        Block::Thinking { .. } | Block::RedactedThinking { .. } | Block::Other { .. } => None,
    }
    .filter(|mark| mark.is_none())
}

/// Reads the end of what is cached.
pub(super) fn cache(wire: &WireCachePoint<'_>) -> Cache {
    if wire.ttl.as_deref() == Some("1h") { Cache::Hour } else { Cache::Default }
}

// The result of a tool has none in it.
fn block<'a>(raw: &'a RawValue, is_result: bool) -> Read<Found<'a>> {
    let wire: WireBlock<'a> = field("", raw)?;
    let block = match wire {
        WireBlock { text: Some(text), .. } => Block::text(text),
        WireBlock { tool_use: Some(tool), .. } if tool.kind.is_none() => tool_use(tool),
        WireBlock { tool_result: Some(result), .. } if result.kind.is_none() && !is_result => {
            tool_result(result).map_err(|error| error.within("toolResult", None))?
        }
        WireBlock { cache_point: Some(point), .. } => return Ok(Found::CachePoint(cache(&point), field("", raw)?)),
        WireBlock { reasoning_content: Some(thought), .. } => match reasoning(thought) {
            Some(block) => block,
            None => other(raw)?,
        },
        WireBlock { citations_content: Some(cited), .. } => text_of(cited),
        WireBlock { image: Some(wire), .. } => media("image", MediaKind::Image, wire, raw)?,
        WireBlock { document: Some(wire), .. } => media("document", MediaKind::Document, wire, raw)?,
        WireBlock { audio: Some(wire), .. } => media("audio", MediaKind::Audio, wire, raw)?,
        WireBlock { video: Some(wire), .. } => media("video", MediaKind::Video, wire, raw)?,
        WireBlock { json: Some(json), .. } => Block::text(json.raw().map_or("", RawValue::get)),
        WireBlock { guard_content: Some(guarded), .. } => match (guarded.text, guarded.image) {
            (Some(guarded), _) => Block::text(guarded.text),
            (None, Some(wire)) => media("guardContent.image", MediaKind::Image, wire, raw)?,
            (None, None) => other(raw)?,
        },
        _ => other(raw)?,
    };
    Ok(Found::Block(block))
}

// What is not known here has the name of its one member.
fn other<'a>(raw: &'a RawValue) -> Read<Block<'a>> {
    let Members(members) = field("", raw)?;
    let (kind, _) = members.into_iter().next().ok_or_else(|| DecodeError::invalid("", "a content block"))?;
    Ok(Block::Other { kind, json: field("", raw)? })
}

fn tool_use(wire: WireToolUse<'_>) -> Block<'_> {
    let WireToolUse { tool_use_id, name, input, kind: _ } = wire;
    Block::ToolUse(Box::new(ToolUse { id: tool_use_id, name, input, signature: None, cache: None }))
}

fn tool_result(wire: WireToolResult<'_>) -> Read<Block<'_>> {
    let WireToolResult { tool_use_id, content, status, kind: _ } = wire;
    let content = content.and_then(|json| json.raw()).filter(|raw| !is_null(raw));
    Ok(Block::ToolResult(Box::new(ToolResult {
        tool_use_id,
        blocks: content.map(|raw| listed("content", raw, true)).transpose()?.unwrap_or_default(),
        is_error: status.as_deref() == Some("error"),
        cache: None,
    })))
}

fn reasoning(wire: WireReasoning<'_>) -> Option<Block<'_>> {
    match wire {
        WireReasoning { reasoning_text: Some(thought), .. } => {
            let signature = thought.signature.filter(|seal| !seal.is_empty()).map(seal::read);
            Some(Block::Thinking { text: thought.text, signature })
        }
        WireReasoning { redacted_content: Some(data), .. } => {
            Some(Block::RedactedThinking { data: seal::read_redacted(data) })
        }
        _ => None,
    }
}

fn text_of(wire: WireCited<'_>) -> Block<'_> {
    let WireCited { mut content, citations } = wire;
    let text = match content.pop() {
        Some(only) if content.is_empty() => only.text,
        last => content.into_iter().chain(last).map(|piece| piece.text.0).collect::<String>().into(),
    };
    Block::Text { text, citations: citations.into_iter().map(citation::read).collect(), cache: None }
}

fn media<'a>(at: &str, kind: MediaKind, wire: WireMedia<'a>, raw: &'a RawValue) -> Read<Block<'a>> {
    let WireMedia { format, name, source, context, citations } = wire;
    let media_type = format.as_deref().and_then(|format| formats::media_type(kind, format));
    let source = match source {
        // Nobody else has access to it.
        WireSource { s3_location: Some(_), .. } => return other(raw),
        WireSource { text: Some(text), .. } => Source::Text { text },
        WireSource { content: Some(content), .. } => {
            Source::Blocks { blocks: content.into_iter().map(|piece| Block::text(piece.text)).collect() }
        }
        WireSource { bytes: Some(data), .. } => {
            match media_type.filter(|kind| kind.starts_with("text/")).and_then(|_| text(&data)) {
                Some(text) => Source::Text { text: text.into() },
                // Also where the format is one that is not known here.
                None => Source::Base64 { media_type: media_type.unwrap_or("application/octet-stream").into(), data },
            }
        }
        _ => return Err(DecodeError::invalid(format!("{at}.source"), "there, with `bytes` or `s3Location`")),
    };
    Ok(Block::Media(Box::new(Media {
        title: name.and_then(document::title),
        context,
        is_cited: citations.unwrap_or_default().enabled,
        ..Media::new(kind, source)
    })))
}

// Text in base64: other dialects take documents of text as text alone.
fn text(data: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(data).ok()?).ok()
}
