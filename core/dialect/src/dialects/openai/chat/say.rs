//! Writes turns as messages.

use std::borrow::Cow;

use serde::Serialize;

use super::{
    call::{Extra, custom_id, is_custom, short_id},
    messages::Messages,
    part::{AUDIO, Mark, Part, PartKind, Piece, audio, document, image, video},
    reasoning::{Detail, is_packed},
    wire::{Annotation, WireCache, WireFile},
};
use crate::{
    dialects::{CacheForm, Dialect, Quirks, openai::media::FAILED},
    hub::{
        Block, Cache, Feature, Json, Losses, Media, MediaKind, Role, Signature, Source, Text, ToolResult, ToolUse, Turn,
    },
};

const BETWEEN_TEXTS: &str = "\n\n";
const BEHIND: &str = "What the tool gave stands in the next message of the user.";

/// A message, as it is written.
#[derive(Debug, Default, Serialize)]
pub(super) struct Message<'a> {
    pub(super) role: &'static str,
    pub(super) content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) reasoning_details: Vec<Detail<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<Called<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_call_id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) annotations: Vec<Annotation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) audio: Option<&'a Json<'a>>,
}

/// `content`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<Piece<'a>>),
}

/// An element of `tool_calls`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Called<'a> {
    Function(Call<'a>),
    Own(&'a Json<'a>),
}

#[derive(Debug, Serialize)]
pub(super) struct Call<'a> {
    id: Text<'a>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<Extra<'a>>,
}

#[derive(Debug, Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

// === impl Call ===

impl<'a> Call<'a> {
    /// Writes a call, with the seal that Google wants back in it.
    pub(super) fn of(id: Text<'a>, tool: &'a ToolUse<'a>, seal: Option<&'a str>) -> Self {
        let function = Function { name: &tool.name, arguments: tool.input.get() };
        Self { id, kind: "function", function, extra_content: seal.map(Extra::bearing) }
    }
}

/// What is written, and what is lost of it.
#[derive(Debug)]
pub(super) struct Writing<'l> {
    /// The request came in this dialect: what only it has is written as it was.
    pub(super) is_own: bool,
    pub(super) quirks: Quirks,
    pub(super) losses: &'l mut Losses,
}

impl Writing<'_> {
    /// Writes the instructions; `more` are the gateway's own.
    pub(super) fn system<'a>(&mut self, blocks: &'a [Block<'a>], more: Option<String>, out: &mut Messages<'a>) {
        let mut pieces = self.pieces(blocks);
        pieces.extend(more.map(text));
        self.push(self.system_role(), pieces, out);
    }

    /// Writes a turn.
    pub(super) fn turn<'a>(&mut self, turn: &'a Turn<'a>, out: &mut Messages<'a>) {
        match turn.role {
            Role::System => {
                let pieces = self.pieces(&turn.blocks);
                self.push(self.system_role(), pieces, out);
            }
            Role::User => self.user(&turn.blocks, out),
            Role::Assistant => self.assistant(&turn.blocks, out),
        }
    }

    fn push<'a>(&self, role: &'static str, pieces: Vec<Piece<'a>>, out: &mut Messages<'a>) {
        let content = self.content(pieces);
        if content.is_some() {
            out.say(Message { role, content, ..Message::default() });
        }
    }

    const fn system_role(&self) -> &'static str {
        if self.quirks.has_system_role { "system" } else { "developer" }
    }

    // The API wants nothing but text in results: media follow in a message of the user. So does a result that nobody waits for.
    fn user<'a>(&mut self, blocks: &'a [Block<'a>], out: &mut Messages<'a>) {
        let mut behind = Vec::new();
        for block in blocks {
            let Block::ToolResult(result) = block else { continue };
            match awaited(result, out) {
                Some(id) => out.result(self.result(result, id, &mut behind)),
                None => behind.extend(self.pieces(&result.blocks)),
            }
        }
        behind.extend(self.pieces(blocks));
        self.push("user", behind, out);
    }

    fn result<'a>(&mut self, result: &'a ToolResult<'a>, id: Text<'a>, behind: &mut Vec<Piece<'a>>) -> Message<'a> {
        let mut pieces = Vec::new();
        let mut moved = Vec::new();
        for block in &result.blocks {
            let place = match block {
                Block::Media(media) if !self.is_own && is_behind(media) => {
                    let is_image = media.kind == MediaKind::Image;
                    let feature = if is_image { Feature::ToolResultImage } else { Feature::ToolResultDocument };
                    self.losses.meet(feature);
                    &mut moved
                }
                _ => &mut pieces,
            };
            self.piece(block, place);
        }
        self.mark(result.cache);
        if result.is_error {
            self.losses.meet(Feature::ToolError);
            say_error(&mut pieces);
        }
        if !moved.is_empty() {
            behind.push(text(format!("From the tool call {}:", id.0)));
            behind.append(&mut moved);
            if pieces.is_empty() {
                pieces.push(text(BEHIND));
            }
        }
        let content = self.content(pieces).unwrap_or(Content::Text(Cow::Borrowed("")));
        Message { role: "tool", content: Some(content), tool_call_id: Some(id), ..Message::default() }
    }

    fn assistant<'a>(&mut self, blocks: &'a [Block<'a>], out: &mut Messages<'a>) {
        let mut message = Message { role: "assistant", ..Message::default() };
        let mut pieces = Vec::new();
        let mut calls = Vec::new();
        // A seal over the call that follows, which another dialect had to put ahead of it.
        let mut bearing = None;
        let mut thoughts = Vec::new();
        for block in blocks {
            match block {
                Block::Thinking { text, signature } => {
                    bearing = signature.as_ref().and_then(own_seal).filter(|seal| text.is_empty() && !is_packed(seal));
                    if bearing.is_none() {
                        thoughts.push(block);
                    }
                }
                Block::RedactedThinking { .. } => thoughts.push(block),
                Block::ToolUse(tool) => {
                    self.mark(tool.cache);
                    let seal = self.seal(tool).or(bearing.take());
                    calls.push(short_id(&tool.id));
                    message.tool_calls.push(Called::Function(Call::of(short_id(&tool.id), tool, seal)));
                }
                Block::Other { kind, json } if self.is_own && &**kind == AUDIO => message.audio = Some(json),
                Block::Other { kind, json } if self.is_own && is_custom(kind) => {
                    calls.extend(custom_id(json));
                    message.tool_calls.push(Called::Own(json));
                }
                Block::Text { citations, .. } if !citations.is_empty() => {
                    self.cite(block, &mut message);
                    self.piece(block, &mut pieces);
                }
                Block::Media(_) => self.losses.drop(Feature::Block("image".to_owned())),
                Block::Text { .. } | Block::Other { .. } | Block::ToolResult(_) => self.piece(block, &mut pieces),
            }
        }
        self.think(&thoughts, &mut message);
        message.content = self.content(pieces);
        let is_said = message.content.is_some()
            || !message.tool_calls.is_empty()
            || message.audio.is_some()
            || !message.reasoning_details.is_empty()
            || message.reasoning_content.is_some();
        if is_said {
            out.answer(message, calls);
        }
    }

    fn seal<'a>(&mut self, tool: &'a ToolUse<'a>) -> Option<&'a str> {
        let signature = tool.signature.as_ref()?;
        let seal = own_seal(signature);
        if seal.is_none() {
            self.losses.meet(Feature::ForeignThinking);
        }
        seal
    }

    fn cite<'a>(&mut self, block: &'a Block<'a>, message: &mut Message<'a>) {
        let Block::Text { text, citations, .. } = block else { return };
        if !self.is_own {
            return self.losses.meet(Feature::Citations);
        }
        let end = text.chars().count();
        message.annotations.extend(citations.iter().filter_map(|citation| Annotation::of(citation, 0, end)));
    }

    // Only whoever sealed thinking takes it back with its seal; a vendor who takes plain thinking takes anyone's.
    fn think<'a>(&mut self, thoughts: &[&'a Block<'a>], message: &mut Message<'a>) {
        let takes_text = self.quirks.takes_reasoning_content;
        let mut plain: Vec<&str> = Vec::new();
        let mut is_sealed = false;
        for block in thoughts {
            let index = message.reasoning_details.len() as u64;
            match block {
                Block::Thinking { text, signature } => {
                    let seal = signature.as_ref().and_then(own_seal);
                    let is_foreign = signature.is_some() && seal.is_none();
                    let is_kept = seal.is_some() || takes_text || (self.is_own && !is_foreign);
                    if is_foreign || !is_kept {
                        self.losses.meet(Feature::ForeignThinking);
                    }
                    if !is_kept || (text.is_empty() && seal.is_none()) {
                        continue;
                    }
                    is_sealed |= seal.is_some();
                    plain.extend((!text.is_empty()).then_some(&**text));
                    let detail = Detail::text(text, index);
                    message.reasoning_details.push(match seal {
                        Some(seal) => detail.signed(seal.into()),
                        None => detail,
                    });
                }
                Block::RedactedThinking { data } => match own_seal(data) {
                    Some(seal) => {
                        is_sealed = true;
                        message.reasoning_details.push(Detail::encrypted(seal.into(), index));
                    }
                    None => self.losses.meet(Feature::ForeignThinking),
                },
                _ => {}
            }
        }
        if !is_sealed {
            message.reasoning_details.clear();
        }
        if (takes_text || (self.is_own && !is_sealed)) && !plain.is_empty() {
            message.reasoning_content = Some(joined(plain.into_iter().map(Cow::Borrowed).collect()));
        }
    }

    fn pieces<'a>(&mut self, blocks: &'a [Block<'a>]) -> Vec<Piece<'a>> {
        let mut pieces = Vec::with_capacity(blocks.len());
        blocks.iter().for_each(|block| self.piece(block, &mut pieces));
        pieces
    }

    fn piece<'a>(&mut self, block: &'a Block<'a>, out: &mut Vec<Piece<'a>>) {
        match block {
            Block::Text { text, .. } if text.is_empty() => {}
            Block::Text { text, cache, citations: _ } => {
                let mark = self.mark(*cache);
                out.push(Piece::Part(Part { kind: PartKind::Text { text: Cow::Borrowed(text) }, mark }));
            }
            Block::Media(media) => self.media(media, out),
            Block::Other { json, .. } if self.is_own => out.push(Piece::Own(json)),
            Block::Other { kind, .. } => self.losses.drop(Feature::Block(kind.to_string())),
            Block::ToolUse(_) | Block::ToolResult(_) | Block::Thinking { .. } | Block::RedactedThinking { .. } => {}
        }
    }

    fn media<'a>(&mut self, media: &'a Media<'a>, out: &mut Vec<Piece<'a>>) {
        if media.is_cited {
            self.losses.meet(Feature::DocumentCitations);
        }
        if media.context.is_some() {
            self.losses.drop(Feature::Field("context".to_owned()));
        }
        let kind = match (media.kind, &media.source) {
            (_, Source::Blocks { blocks }) => {
                self.losses.meet(Feature::DocumentText);
                out.extend(media.title.as_ref().map(|title| text(format!("Document: {}", title.0))));
                out.extend(self.pieces(blocks));
                return;
            }
            (_, Source::Text { text: said }) => {
                self.losses.meet(Feature::DocumentText);
                let title = media.title.as_ref().map(|title| format!("Document: {}\n\n", title.0)).unwrap_or_default();
                Some(PartKind::Text { text: if title.is_empty() { said.lend().0 } else { (title + said).into() } })
            }
            (MediaKind::Document, Source::File { id }) if self.is_own => {
                let file_id = Some(id.lend());
                Some(PartKind::File { file: WireFile { file_id, ..WireFile::default() } })
            }
            (_, Source::File { .. }) => self.lost(media, Feature::File),
            (MediaKind::Image, _) => image(media),
            (MediaKind::Video, _) if self.is_own => video(media),
            (MediaKind::Video, _) => self.lost(media, Feature::Video),
            (MediaKind::Audio, Source::Base64 { media_type, data }) => Some(audio(media_type, data)),
            (MediaKind::Document, Source::Base64 { .. }) => document(media),
            (_, Source::Url { url, .. }) => {
                self.losses.meet(Feature::DocumentUrl);
                let title = media.title.as_deref().unwrap_or("Document");
                Some(PartKind::Text { text: format!("[{title}]({})", url.0).into() })
            }
        };
        let mark = self.mark(media.cache);
        out.extend(kind.map(|kind| Piece::Part(Part { kind, mark })));
    }

    fn lost<'a>(&mut self, media: &Media<'_>, feature: Feature) -> Option<PartKind<'a>> {
        self.losses.meet(feature);
        Some(PartKind::Text { text: media.kind.left_out().into() })
    }

    /// Says up to where the prompt is cached, where the vendor has it.
    fn mark(&mut self, cache: Option<Cache>) -> Mark {
        let Some(cache) = cache else { return Mark::default() };
        match self.quirks.cache_form {
            CacheForm::Control => Mark { cache_control: Some(cache.into()), ..Mark::default() },
            CacheForm::None if !self.is_own => {
                self.unmarked(cache);
                Mark::default()
            }
            CacheForm::None | CacheForm::Breakpoint => {
                Mark { prompt_cache_breakpoint: Some(cache.into()), ..Mark::default() }
            }
        }
    }

    /// The same of a tool, for which OpenAI has no such word.
    pub(super) fn mark_tool(&mut self, cache: Option<Cache>) -> Option<WireCache<'static>> {
        let cache = cache?;
        match self.quirks.cache_form {
            CacheForm::None if self.is_own => Some(cache.into()),
            CacheForm::Control => Some(cache.into()),
            CacheForm::None | CacheForm::Breakpoint => {
                self.unmarked(cache);
                None
            }
        }
    }

    fn unmarked(&mut self, cache: Cache) {
        self.losses.meet(Feature::CacheControl);
        if cache == Cache::Hour {
            self.losses.meet(Feature::CacheHour);
        }
    }

    // A single text without a mark needs no list.
    fn content<'a>(&self, pieces: Vec<Piece<'a>>) -> Option<Content<'a>> {
        let is_text = |piece: &Piece<'_>| match piece {
            Piece::Part(Part { kind: PartKind::Text { .. }, mark }) => mark.is_none() || self.quirks.joins_texts,
            Piece::Part(_) | Piece::Own(_) => false,
        };
        if pieces.is_empty() {
            return None;
        }
        if !pieces.iter().all(is_text) || (pieces.len() > 1 && !self.quirks.joins_texts) {
            return Some(Content::Parts(pieces));
        }
        let texts = pieces.into_iter().filter_map(|piece| match piece {
            Piece::Part(Part { kind: PartKind::Text { text }, .. }) => Some(text),
            _ => None,
        });
        Some(Content::Text(joined(texts.collect())))
    }
}

// The id of the call that waits for this result, as it was written: calls without JSON are written as they were, with ids of any length.
fn awaited<'a>(result: &'a ToolResult<'a>, out: &mut Messages<'a>) -> Option<Text<'a>> {
    [result.tool_use_id.lend(), short_id(&result.tool_use_id)].into_iter().find(|id| out.takes(id))
}

fn own_seal<'a>(signature: &'a Signature<'a>) -> Option<&'a str> {
    signature.for_provider(Dialect::OpenAiChat)
}

fn text<'a>(text: impl Into<Cow<'a, str>>) -> Piece<'a> {
    Piece::Part(Part { kind: PartKind::Text { text: text.into() }, mark: Mark::default() })
}

/// Several texts as one.
pub(super) fn joined<'a>(mut texts: Vec<Cow<'a, str>>) -> Cow<'a, str> {
    match texts.len() {
        0 | 1 => texts.pop().unwrap_or_default(),
        _ => texts.join(BETWEEN_TEXTS).into(),
    }
}

// What becomes text can stay with the result.
const fn is_behind(media: &Media<'_>) -> bool {
    match media.kind {
        MediaKind::Image | MediaKind::Audio | MediaKind::Video => true,
        MediaKind::Document => matches!(media.source, Source::Base64 { .. }),
    }
}

fn say_error(pieces: &mut Vec<Piece<'_>>) {
    if let Some(Piece::Part(Part { kind: PartKind::Text { text: said }, .. })) = pieces.first_mut() {
        if !said.starts_with(FAILED) {
            said.to_mut().insert_str(0, FAILED);
        }
        return;
    }
    pieces.insert(0, text(FAILED.trim_end()));
}
