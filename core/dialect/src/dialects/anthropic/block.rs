//! Writes content blocks: what a request says, and what a model answers.

use serde::Serialize;

use super::wire::{WireBlock, WireCache, WireSource};
use crate::{
    dialects::Dialect,
    hub::{
        Block, Cache, Citation, Feature, Json, Losses, Media, MediaKind, Role, Signature, Source, Text, ToolResult,
        order::Placed, spelling::spelled,
    },
};

/// The types of images that the API takes.
const IMAGE_TYPES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];
const PDF: &str = "application/pdf";

/// A content block, or one that is only this dialect's own.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Piece<'a> {
    Block(Box<WireBlock<'a>>),
    Own(&'a Json<'a>),
}

/// What is written, and what is lost of it.
pub(super) struct Writing<'l> {
    /// The request came in this dialect: what only it has is written as it was, and its client knows what the API takes.
    pub(super) is_own: bool,
    pub(super) losses: &'l mut Losses,
}

impl Writing<'_> {
    pub(super) fn blocks<'a>(&mut self, role: Role, blocks: &'a [Block<'a>]) -> Vec<Piece<'a>> {
        self.placed(role, blocks.iter())
    }

    pub(super) fn turn<'a>(&mut self, role: Role, blocks: &'a [Placed<'a>]) -> Vec<Piece<'a>> {
        self.placed(role, blocks.iter().map(|placed| &**placed))
    }

    fn placed<'a>(&mut self, role: Role, blocks: impl Iterator<Item = &'a Block<'a>>) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let mut thought = None;
        for block in blocks {
            // A tool's call has no place for a seal here: thinking without text goes ahead of it and bears the seal.
            if let Block::ToolUse(call) = block
                && let Some(seal) = call.signature.as_ref().filter(|seal| thought != Some(*seal))
            {
                pieces.extend(self.seal(seal));
            }
            thought = if let Block::Thinking { signature, .. } = block { signature.as_ref() } else { None };
            pieces.extend(self.block(role, block));
        }
        pieces
    }

    fn seal<'a>(&mut self, seal: &'a Signature<'a>) -> Option<Piece<'a>> {
        if seal.for_provider(Dialect::Anthropic).is_none() {
            self.losses.meet(Feature::ForeignThinking);
            return None;
        }
        Some(sealed(seal))
    }

    fn block<'a>(&mut self, role: Role, block: &'a Block<'a>) -> Option<Piece<'a>> {
        let wire = match block {
            Block::Media(media) => return self.media(role, media),
            Block::ToolResult(result) => self.tool_result(result),
            Block::Other { kind, json } => {
                if self.is_own {
                    return Some(Piece::Own(json));
                }
                self.losses.drop(Feature::Block(kind.to_string()));
                return None;
            }
            block if is_foreign_thinking(block) => {
                self.losses.meet(Feature::ForeignThinking);
                return None;
            }
            // Nor empty texts.
            Block::Text { text, .. } if text.trim().is_empty() => return None,
            Block::Text { citations, .. } => {
                let is_foreign = |citation: &&Citation<'_>| citation.native.is_none();
                if citations.iter().any(|citation| is_foreign(&citation)) {
                    self.losses.drop(Feature::Citations);
                }
                let native: Vec<_> = citations.iter().filter_map(|citation| citation.native.as_ref()).collect();
                WireBlock { citations: (!native.is_empty()).then(|| Json::of(&native)), ..said(block)? }
            }
            Block::ToolUse(_) | Block::RedactedThinking { .. } | Block::Thinking { .. } => said(block)?,
        };
        Some(Piece::Block(Box::new(wire)))
    }

    fn tool_result<'a>(&mut self, result: &'a ToolResult<'a>) -> WireBlock<'a> {
        let pieces = self.blocks(Role::User, &result.blocks);
        WireBlock {
            kind: "tool_result".into(),
            tool_use_id: Some(Text(spelled(&result.tool_use_id))),
            content: (!pieces.is_empty()).then(|| Json::of(&pieces)),
            is_error: result.is_error.then_some(true),
            cache_control: result.cache.map(cache),
            ..WireBlock::default()
        }
    }

    fn media<'a>(&mut self, role: Role, media: &'a Media<'a>) -> Option<Piece<'a>> {
        // Its own clients have neither sound nor film.
        let lost = if self.is_own { None } else { refused(role, media) };
        if let Some(feature) = lost {
            self.losses.drop(feature);
            return Some(Piece::Block(Box::new(text(media.kind.left_out()))));
        }
        if !self.is_own && media.detail.as_deref().is_some_and(|detail| detail != "auto") {
            self.losses.drop(Feature::Field("detail".to_owned()));
        }
        let is_document = media.kind == MediaKind::Document;
        let kind = if is_document { "document" } else { "image" };
        let source = self.source(&media.source);
        Some(Piece::Block(Box::new(WireBlock {
            kind: kind.into(),
            source: Some(source),
            title: media.title.as_ref().filter(|_| is_document).map(Text::lend),
            context: media.context.as_ref().filter(|_| is_document).map(Text::lend),
            citations: (is_document && media.is_cited).then(|| Json::of(&serde_json::json!({"enabled": true}))),
            cache_control: media.cache.map(cache),
            ..WireBlock::default()
        })))
    }

    fn source<'a>(&mut self, source: &'a Source<'a>) -> WireSource<'a> {
        let wire = |kind: &'static str| WireSource { kind: kind.into(), ..WireSource::default() };
        match source {
            Source::Base64 { media_type, data } => WireSource {
                media_type: Some(Text(image_type(media_type).into())),
                data: Some(data.lend()),
                ..wire("base64")
            },
            Source::Text { text } => {
                WireSource { media_type: Some("text/plain".into()), data: Some(text.lend()), ..wire("text") }
            }
            Source::Blocks { blocks } => {
                WireSource { content: Some(Json::of(&self.blocks(Role::User, blocks))), ..wire("content") }
            }
            Source::Url { url, media_type: _ } => WireSource { url: Some(url.lend()), ..wire("url") },
            Source::File { id } => WireSource { file_id: Some(id.lend()), ..wire("file") },
        }
    }
}

/// The API takes back no thinking that it did not sign.
pub(super) fn is_foreign_thinking(block: &Block<'_>) -> bool {
    let is_foreign = |seal: &Signature<'_>| seal.for_provider(Dialect::Anthropic).is_none();
    match block {
        Block::Thinking { signature, .. } => signature.as_ref().is_none_or(is_foreign),
        Block::RedactedThinking { data } => is_foreign(data),
        _ => false,
    }
}

// What the API refuses of a medium that another dialect takes: files of another provider, types that it cannot read, and anything
// that a model made.
fn refused(role: Role, media: &Media<'_>) -> Option<Feature> {
    let is_image = media.kind == MediaKind::Image;
    let by_bytes = if is_image { Feature::ImageBytes } else { Feature::DocumentBytes };
    match (&media.source, media.kind) {
        (_, MediaKind::Audio) => Some(Feature::Audio),
        (_, MediaKind::Video) => Some(Feature::Video),
        (Source::File { .. }, _) => Some(Feature::File),
        (Source::Base64 { media_type, .. }, _) if is_image && !IMAGE_TYPES.contains(&image_type(media_type)) => {
            Some(by_bytes)
        }
        (Source::Base64 { media_type, .. }, _) if !is_image && &**media_type != PDF => Some(by_bytes),
        _ if role != Role::User => Some(by_bytes),
        _ => None,
    }
}

// A name that others give to a type of this one.
fn image_type(media_type: &str) -> &str {
    if media_type == "image/jpg" { "image/jpeg" } else { media_type }
}

/// What the model says: a block of an answer as much as of a request. `None`: the model does not say such.
pub(super) fn said<'a>(block: &'a Block<'a>) -> Option<WireBlock<'a>> {
    Some(match block {
        Block::Text { text: said, citations, cache: marked } => WireBlock {
            citations: (!citations.is_empty()).then(|| Json::of(&citations.iter().map(citation).collect::<Vec<_>>())),
            cache_control: marked.map(cache),
            ..text(said)
        },
        Block::ToolUse(tool) => WireBlock {
            kind: "tool_use".into(),
            id: Some(Text(spelled(&tool.id))),
            name: Some(Text(spelled(&tool.name))),
            input: Some(tool.input.lend()),
            cache_control: tool.cache.map(cache),
            ..WireBlock::default()
        },
        Block::Thinking { text, signature } => WireBlock {
            kind: "thinking".into(),
            thinking: Some(text.lend()),
            signature: Some(signature.as_ref().map(|seal| Text(seal.enclose(Dialect::Anthropic))).unwrap_or_default()),
            ..WireBlock::default()
        },
        Block::RedactedThinking { data } => WireBlock {
            kind: "redacted_thinking".into(),
            data: Some(Text(data.enclose(Dialect::Anthropic))),
            ..WireBlock::default()
        },
        Block::Media(_) | Block::ToolResult(_) | Block::Other { .. } => return None,
    })
}

/// Thinking without text, which bears the seal of the call behind it.
pub(super) fn sealed<'a>(seal: &'a Signature<'a>) -> Piece<'a> {
    Piece::Block(Box::new(WireBlock {
        kind: "thinking".into(),
        thinking: Some(Text::default()),
        signature: Some(Text(seal.enclose(Dialect::Anthropic))),
        ..WireBlock::default()
    }))
}

/// A block of text.
pub(super) fn text(text: &str) -> WireBlock<'_> {
    WireBlock { kind: "text".into(), text: Some(text.into()), ..WireBlock::default() }
}

/// Writes a citation for a client: its own form where it has one, otherwise that of a page on the web.
pub(super) fn citation<'a>(citation: &'a Citation<'a>) -> Json<'a> {
    #[derive(Serialize)]
    struct Web<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        url: &'a str,
        title: Option<&'a Text<'a>>,
        cited_text: &'a str,
        encrypted_index: &'static str,
    }
    let Citation { url, title, cited_text, native } = citation;
    native.as_ref().map(Json::lend).unwrap_or_else(|| {
        Json::of(&Web {
            kind: "web_search_result_location",
            url: url.as_deref().unwrap_or_default(),
            title: title.as_ref(),
            cited_text: cited_text.as_deref().unwrap_or_default(),
            encrypted_index: "",
        })
    })
}

/// The mark up to which a prompt is cached.
pub(super) fn cache<'a>(cache: Cache) -> WireCache<'a> {
    let ttl = match cache {
        Cache::Default => None,
        Cache::Hour => Some("1h".into()),
    };
    WireCache { kind: "ephemeral".into(), ttl }
}
