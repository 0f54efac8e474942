//! Writes content blocks, of a request or an answer.

use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{
    citation,
    document::Names,
    media, seal,
    wire::{WireCachePoint, WireCited, WireMedia, WireReasoning, WireReasoningText, WireText, WireToolUse},
};
use crate::hub::{
    Block, Cache, Feature, Json, Losses, MediaKind, Signature, Text, ToolResult, ToolUse, spelling::shortened,
};

/// The longest id of a call that the API takes.
const ID_CHARS_MAX: usize = 64;
/// The API wants something in what a tool answered.
const NO_OUTPUT: &str = "(no output)";

/// A content block, or one that is only this dialect's own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Piece<'a> {
    Text(Cow<'a, str>),
    Image(Box<WireMedia<'a>>),
    Document(Box<WireMedia<'a>>),
    Audio(Box<WireMedia<'a>>),
    Video(Box<WireMedia<'a>>),
    ToolUse(WireToolUse<'a>),
    ToolResult(Result<'a>),
    CachePoint(WireCachePoint<'static>),
    ReasoningContent(WireReasoning<'a>),
    CitationsContent(WireCited<'a>),
    #[serde(untagged)]
    Own(&'a Json<'a>),
}

/// What a tool answered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Result<'a> {
    tool_use_id: Cow<'a, str>,
    content: Vec<Piece<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

/// Fields of this dialect that the hub does not model.
pub(super) struct Members<'a>(pub(super) &'a [(Text<'a>, Json<'a>)]);

/// What is written, and what is lost of it.
pub(super) struct Writing<'l> {
    /// The request came in this dialect: what only it has is written as it was.
    pub(super) is_own: bool,
    /// An answer is written: its client keeps every seal.
    pub(super) is_answer: bool,
    pub(super) losses: &'l mut Losses,
    pub(super) names: Names,
}

/// The end of what is cached.
pub(super) fn cache_point(cache: Cache) -> WireCachePoint<'static> {
    let ttl = match cache {
        Cache::Default => None,
        Cache::Hour => Some("1h".into()),
    };
    WireCachePoint { kind: "default".into(), ttl }
}

// === impl Writing ===

impl Writing<'_> {
    /// Writes blocks, each with its mark behind it.
    pub(super) fn blocks<'a>(&mut self, blocks: impl IntoIterator<Item = &'a Block<'a>>) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        for block in blocks {
            if let Block::ToolUse(tool) = block {
                pieces.extend(self.sealed(tool));
            }
            pieces.extend(self.block(block));
            let cache = block.cache().or_else(|| inner_cache(block));
            // No mark may follow reasoning, or another mark.
            let takes = |last: &Piece<'_>| !matches!(last, Piece::ReasoningContent(_) | Piece::CachePoint(_));
            if let Some(cache) = cache.filter(|_| pieces.last().is_some_and(takes)) {
                pieces.push(Piece::CachePoint(cache_point(cache)));
            }
        }
        pieces
    }

    fn block<'a>(&mut self, block: &'a Block<'a>) -> Option<Piece<'a>> {
        Some(match block {
            // The API takes no text of white space alone.
            Block::Text { text, .. } if text.trim().is_empty() && !self.is_answer => return None,
            Block::Text { text, citations, .. } if citations.is_empty() => Piece::Text((&**text).into()),
            Block::Text { text, citations, .. } => Piece::CitationsContent(WireCited {
                content: vec![WireText { text: text.lend() }],
                citations: citations.iter().map(citation::written).collect(),
            }),
            Block::Media(medium) => return media::media(self, medium),
            Block::ToolUse(tool) => Piece::ToolUse(WireToolUse {
                tool_use_id: Text(self.id(&tool.id)),
                name: tool.name.lend(),
                input: tool.input.lend(),
                kind: None,
            }),
            Block::ToolResult(result) => self.tool_result(result),
            Block::Thinking { text, signature } => return self.thinking(text, signature.as_ref()),
            Block::RedactedThinking { data } => {
                let data = if self.is_answer {
                    Some(seal::enclose_redacted(data))
                } else {
                    self.returned(data).map(Cow::Borrowed)
                };
                let redacted_content = Some(Text(data?));
                Piece::ReasoningContent(WireReasoning { redacted_content, ..WireReasoning::default() })
            }
            Block::Other { json, .. } if self.is_own => Piece::Own(json),
            Block::Other { kind, .. } => {
                self.losses.drop(Feature::Block(kind.to_string()));
                return None;
            }
        })
    }

    // A tool's call has no place for a seal here: thinking without text goes ahead of it and bears the seal.
    fn sealed<'a>(&self, tool: &'a ToolUse<'a>) -> Option<Piece<'a>> {
        let seal = tool.signature.as_ref().filter(|_| self.is_answer)?;
        Some(shown("", Some(Text(seal::enclose(seal)))))
    }

    fn thinking<'a>(&mut self, text: &'a str, signature: Option<&'a Signature<'a>>) -> Option<Piece<'a>> {
        let signature = match signature {
            Some(seal) if self.is_answer => Some(seal::enclose(seal)),
            Some(seal) => Some(Cow::Borrowed(self.returned(seal)?)),
            None if self.is_answer || self.is_own => None,
            None => {
                // Claude takes back no thinking that nobody signed.
                self.losses.meet(Feature::ForeignThinking);
                return None;
            }
        };
        Some(shown(text, signature.map(Text)))
    }

    fn returned<'a>(&mut self, seal: &'a Signature<'a>) -> Option<&'a str> {
        let returned = seal::for_provider(seal);
        if returned.is_none() {
            self.losses.meet(Feature::ForeignThinking);
        }
        returned
    }

    fn tool_result<'a>(&mut self, result: &'a ToolResult<'a>) -> Piece<'a> {
        let mut content: Vec<Piece<'a>> = Vec::new();
        for block in &result.blocks {
            match self.block(block) {
                // Of what a tool answers nothing is cited.
                Some(Piece::CitationsContent(cited)) => {
                    content.extend(cited.content.into_iter().map(|piece| Piece::Text(piece.text.0)));
                }
                Some(Piece::Audio(_)) => {
                    self.losses.drop(Feature::Audio);
                    content.push(Piece::Text(MediaKind::Audio.left_out().into()));
                }
                piece => content.extend(piece),
            }
        }
        if content.is_empty() && !self.is_own {
            content.push(Piece::Text(NO_OUTPUT.into()));
        }
        Piece::ToolResult(Result {
            tool_use_id: self.id(&result.tool_use_id),
            content,
            status: result.is_error.then_some("error"),
        })
    }

    // The API takes ids of letters, digits and a few marks; what it would refuse is replaced alike in call and result.
    fn id<'a>(&self, id: &'a str) -> Cow<'a, str> {
        shortened(id, "_.:-", ID_CHARS_MAX)
    }

    /// What only this dialect has, where the request came in it.
    pub(super) fn rest<'a>(&mut self, rest: &'a [(Text<'a>, Json<'a>)]) -> Members<'a> {
        if self.is_own {
            return Members(rest);
        }
        rest.iter().for_each(|(name, _)| self.losses.drop(Feature::Field(name.to_string())));
        Members(&[])
    }
}

fn shown<'a>(text: &'a str, signature: Option<Text<'a>>) -> Piece<'a> {
    let reasoning_text = Some(WireReasoningText { text: text.into(), signature });
    Piece::ReasoningContent(WireReasoning { reasoning_text, ..WireReasoning::default() })
}

// A mark inside what a tool answered goes behind it.
fn inner_cache(block: &Block<'_>) -> Option<Cache> {
    match block {
        Block::ToolResult(result) => result.blocks.iter().rev().find_map(Block::cache),
        _ => None,
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, json) in self.0 {
            map.serialize_entry(name, json)?;
        }
        map.end()
    }
}
