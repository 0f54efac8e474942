//! Writes a conversation as the items of an input.

use std::{cell::OnceCell, collections::HashSet};

use super::{
    part::{DETAIL, FILE_NAME, is_part},
    say,
    seal::{Opened, open},
    tools::{found, known},
    wire::{Breakpoint, Entry, Item, Output, Part, Piece, WireAudio},
};
use crate::{
    dialects::{
        Dialect,
        openai::media::{FAILED, data_url},
    },
    hub::{
        Block, Feature, Form, FormKind, Json, Losses, Media, MediaKind, Request, Role, Signature, Source, Text,
        ToolResult,
        order::{NO_RESULT, OPENING},
    },
};

/// What is written, and what is lost of it.
pub(super) struct Writing<'a, 'l> {
    request: &'a Request<'a>,
    losses: &'l mut Losses,
    // The request came in this dialect: what only it has is written as it was.
    is_own: bool,
    items: Vec<Entry<'a>>,
    // Parts of a message that is not whole yet, and who says it.
    parts: Vec<Piece<'a>>,
    role: Role,
    // The calls so far, and the results that there are, by id.
    called: HashSet<&'a str>,
    answered: HashSet<&'a str>,
    // Calls whose results have a form of their own.
    special: HashSet<(&'a str, &'static str)>,
    // What is known of the request's tools, once a search has found some.
    tools: OnceCell<HashSet<&'a str>>,
    has_reasoning: bool,
}

impl<'a, 'l> Writing<'a, 'l> {
    pub(super) fn new(request: &'a Request<'a>, losses: &'l mut Losses) -> Self {
        Self {
            request,
            losses,
            is_own: request.dialect == Dialect::OpenAiResponses,
            items: Vec::with_capacity(request.turns.len()),
            parts: Vec::new(),
            role: Role::System,
            called: HashSet::new(),
            answered: request.turns.iter().flat_map(|turn| &turn.blocks).filter_map(answered).collect(),
            special: HashSet::new(),
            tools: OnceCell::new(),
            has_reasoning: false,
        }
    }

    /// The instructions, the items, and whether reasoning is among them. The first text of the system prompt is the instructions, and
    /// what follows it a message, so that none is moved or joined.
    pub(super) fn conversation(mut self) -> (Option<&'a str>, Vec<Entry<'a>>, bool) {
        let mut system = self.request.system.iter();
        let mut instructions = None;
        if let Some(Block::Text { text, cache, .. }) = self.request.system.first() {
            system.next();
            instructions = Some(&**text).filter(|text| !text.is_empty());
            self.mark(cache.is_some());
        }
        system.for_each(|block| self.block(Role::System, block));
        for turn in &self.request.turns {
            turn.blocks.iter().for_each(|block| self.block(turn.role, block));
        }
        self.flush();
        if self.items.is_empty() {
            self.say(Role::User, [input_text(OPENING.into())]);
            self.flush();
        }
        (instructions, self.items, self.has_reasoning)
    }

    fn block(&mut self, role: Role, block: &'a Block<'a>) {
        match block {
            Block::Text { text, .. } if text.is_empty() => {}
            Block::Text { .. } => {
                let part = self.text(role, block);
                self.say(role, part);
            }
            Block::Media(media) => {
                let parts = self.media(media);
                self.say(role, parts);
            }
            Block::ToolUse(tool) => {
                self.mark(tool.cache.is_some());
                let form = self.form(&tool.name);
                if let Some(kind) = form.and_then(result_kind) {
                    self.special.insert((&tool.id, kind));
                }
                let item = say::call(form, &tool.id, &tool.name, tool.input.get());
                self.item(item);
                self.called.insert(&tool.id);
                // The API refuses a call without a result, and a result without a call.
                if !self.is_own && !self.answered.contains(&*tool.id) {
                    let output = Some(Output::Text(NO_RESULT.into()));
                    let call_id = Some(tool.id.lend());
                    self.item(Item { kind: "function_call_output", call_id, output, ..Item::default() });
                }
            }
            Block::ToolResult(result) if !self.is_own && !self.called.contains(&*result.tool_use_id) => {
                result.blocks.iter().for_each(|block| self.block(role, block));
            }
            Block::ToolResult(result) => {
                let item = self.result(result);
                self.item(item);
            }
            Block::Thinking { text, signature } => self.thinking(text, signature.as_ref()),
            Block::RedactedThinking { .. } => self.losses.meet(Feature::ForeignThinking),
            Block::Other { kind, json } => self.other(role, kind, json),
        }
    }

    fn other(&mut self, role: Role, kind: &str, json: &'a Json<'a>) {
        if !self.is_own {
            self.losses.drop(Feature::Block(kind.to_owned()));
        } else if is_part(kind) {
            self.say(role, [Piece::Own(json.lend())]);
        } else {
            self.flush();
            self.items.push(Entry::Own(json.lend()));
        }
    }

    fn thinking(&mut self, text: &'a str, signature: Option<&'a Signature<'a>>) {
        let seal = signature.and_then(|seal| seal.for_provider(Dialect::OpenAiResponses)).map(open);
        // The API takes back no reasoning that it did not encrypt; only who kept it there can do with its id alone.
        let Some(Opened { id, encrypted }) = seal.filter(|seal| self.is_own || !seal.encrypted.is_empty()) else {
            return self.losses.meet(Feature::ForeignThinking);
        };
        self.has_reasoning = true;
        let encrypted = Some(encrypted).filter(|encrypted| !encrypted.is_empty());
        self.item(say::reasoning(text, id.map(Into::into), encrypted.map(Into::into)));
    }

    fn result(&mut self, result: &'a ToolResult<'a>) -> Item<'a> {
        self.mark(result.cache.is_some());
        let is = |kind| self.special.contains(&(&*result.tool_use_id, kind));
        let call_id = Some(result.tool_use_id.lend());
        if let ([Block::Text { text, .. }], true) = (&*result.blocks, is("tool_search_output"))
            && let Some(found) = found(text, self.tools.get_or_init(|| known(&self.request.tools)))
        {
            let (execution, status) = (Some("client"), Some(say::COMPLETED));
            return Item {
                kind: "tool_search_output",
                call_id,
                execution,
                status,
                tools: Some(found),
                ..Item::default()
            };
        }
        let kind = ["custom_tool_call_output", "local_shell_call_output"].into_iter().find(|kind| is(kind));
        let output = Some(self.output(result));
        Item { kind: kind.unwrap_or("function_call_output"), call_id, output, ..Item::default() }
    }

    fn output(&mut self, result: &'a ToolResult<'a>) -> Output<'a> {
        if result.is_error {
            self.losses.meet(Feature::ToolError);
        }
        let failed = result.is_error.then_some(FAILED);
        match &*result.blocks {
            [] => Output::Text(failed.map(str::trim_end).unwrap_or_default().into()),
            [Block::Text { text, cache, .. }] => {
                self.mark(cache.is_some());
                Output::Text(failed.map_or_else(|| text.lend(), |failed| [failed, &**text].concat().into()))
            }
            blocks => {
                let failed = failed.map(|failed| input_text(failed.trim_end().into()));
                let mut pieces: Vec<Piece<'a>> = failed.into_iter().collect();
                for block in blocks {
                    match block {
                        Block::Text { text, .. } if text.is_empty() => {}
                        Block::Text { .. } => pieces.extend(self.text(Role::User, block)),
                        Block::Media(media) => pieces.extend(self.media(media)),
                        Block::Other { json, .. } if self.is_own => pieces.push(Piece::Own(json.lend())),
                        Block::Other { kind, .. } => self.losses.drop(Feature::Block(kind.to_string())),
                        Block::ToolUse(_)
                        | Block::ToolResult(_)
                        | Block::Thinking { .. }
                        | Block::RedactedThinking { .. } => {}
                    }
                }
                Output::Pieces(pieces)
            }
        }
    }

    fn text(&mut self, role: Role, block: &'a Block<'a>) -> Option<Piece<'a>> {
        let Block::Text { text, citations, cache } = block else { return None };
        self.mark(cache.is_some());
        if role != Role::Assistant {
            let part = Part { kind: "input_text", text: Some(text.lend()), ..Part::default() };
            return Some(Piece::Part(Box::new(Part {
                prompt_cache_breakpoint: self.breakpoint(cache.is_some()),
                ..part
            })));
        }
        if !citations.is_empty() && !self.is_own {
            self.losses.meet(Feature::Citations);
        }
        let end = if citations.is_empty() { 0 } else { text.chars().count() };
        let annotations: Vec<_> = citations.iter().filter_map(|citation| say::annotation(citation, end)).collect();
        let part = say::text(text, annotations);
        Some(Piece::Part(Box::new(part)))
    }

    // None, or one part, and ahead of it what the model shall know about it.
    fn media(&mut self, media: &'a Media<'a>) -> Vec<Piece<'a>> {
        self.mark(media.cache.is_some());
        if media.is_cited {
            self.losses.meet(Feature::DocumentCitations);
        }
        let mut pieces: Vec<Piece<'a>> = media.context.iter().map(|context| input_text(context.lend())).collect();
        let part = match media.kind {
            MediaKind::Image => self.image(&media.source),
            MediaKind::Document => return self.document(media, pieces),
            MediaKind::Audio => self.audio(&media.source),
            MediaKind::Video => {
                self.losses.meet(Feature::Video);
                None
            }
        };
        if part.is_none() {
            pieces.push(input_text(media.kind.left_out().into()));
        }
        pieces.extend(part.map(|part| {
            let unsaid = || (media.kind == MediaKind::Image).then(|| DETAIL.into());
            let detail = media.detail.as_ref().map(Text::lend).or_else(unsaid);
            let prompt_cache_breakpoint = self.breakpoint(media.cache.is_some());
            Piece::Part(Box::new(Part { detail, prompt_cache_breakpoint, ..part }))
        }));
        pieces
    }

    fn image(&mut self, source: &'a Source<'a>) -> Option<Part<'a>> {
        let part = Part { kind: "input_image", ..Part::default() };
        Some(match source {
            Source::Base64 { media_type, data } => Part { image_url: Some(data_url(media_type, data).into()), ..part },
            Source::Url { url, .. } => Part { image_url: Some(url.lend()), ..part },
            Source::File { id } => Part { file_id: Some(self.file(id)?), ..part },
            Source::Text { .. } | Source::Blocks { .. } => return None,
        })
    }

    fn document(&mut self, media: &'a Media<'a>, mut pieces: Vec<Piece<'a>>) -> Vec<Piece<'a>> {
        let title = media.title.as_ref().map(Text::lend);
        let part = Part { kind: "input_file", ..Part::default() };
        let part = match &media.source {
            Source::Base64 { media_type, data } => Part {
                filename: Some(title.unwrap_or_else(|| FILE_NAME.into())),
                file_data: Some(data_url(media_type, data).into()),
                ..part
            },
            Source::Url { url, .. } => Part { file_url: Some(url.lend()), filename: title, ..part },
            Source::File { id } => match self.file(id) {
                Some(id) => Part { file_id: Some(id), filename: title, ..part },
                None => {
                    pieces.push(input_text(media.kind.left_out().into()));
                    return pieces;
                }
            },
            Source::Text { text } => {
                self.losses.meet(Feature::DocumentText);
                pieces.extend(title.map(input_text));
                pieces.push(input_text(text.lend()));
                return pieces;
            }
            Source::Blocks { blocks } => {
                self.losses.meet(Feature::DocumentText);
                pieces.extend(title.map(input_text));
                for block in blocks {
                    match block {
                        Block::Media(media) => pieces.extend(self.media(media)),
                        block => pieces.extend(self.text(Role::User, block)),
                    }
                }
                return pieces;
            }
        };
        let detail = media.detail.as_ref().map(Text::lend);
        let prompt_cache_breakpoint = self.breakpoint(media.cache.is_some());
        pieces.push(Piece::Part(Box::new(Part { detail, prompt_cache_breakpoint, ..part })));
        pieces
    }

    fn audio(&mut self, source: &'a Source<'a>) -> Option<Part<'a>> {
        let Source::Base64 { media_type, data } = source else { return None };
        if !self.is_own {
            self.losses.meet(Feature::Audio);
            return None;
        }
        let format = media_type.strip_prefix("audio/").unwrap_or(media_type).into();
        Some(Part {
            kind: "input_audio",
            input_audio: Some(WireAudio { data: data.lend(), format }),
            ..Part::default()
        })
    }

    // A file is with one provider only.
    fn file(&mut self, id: &'a Text<'a>) -> Option<Text<'a>> {
        if !self.is_own {
            self.losses.meet(Feature::File);
        }
        self.is_own.then(|| id.lend())
    }

    fn mark(&mut self, is_marked: bool) {
        if is_marked && !self.is_own {
            self.losses.meet(Feature::CacheControl);
        }
    }

    fn breakpoint(&self, is_marked: bool) -> Option<Breakpoint> {
        (is_marked && self.is_own).then_some(Breakpoint { mode: "explicit" })
    }

    fn form(&self, name: &str) -> Option<&'a Form> {
        self.request.forms.get(name).filter(|_| self.is_own)
    }

    fn item(&mut self, item: Item<'a>) {
        self.flush();
        self.items.push(Entry::Item(Box::new(item)));
    }

    // What one side says without an item in between is one message, also over a turn of which nothing is left.
    fn say(&mut self, role: Role, parts: impl IntoIterator<Item = Piece<'a>>) {
        for part in parts {
            if self.role != role {
                self.flush();
                self.role = role;
            }
            self.parts.push(part);
        }
    }

    fn flush(&mut self) {
        if self.parts.is_empty() {
            return;
        }
        let role = match self.role {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System => "developer",
        };
        let content = Some(std::mem::take(&mut self.parts));
        let item = Item { kind: "message", role: Some(role), content, ..Item::default() };
        self.items.push(Entry::Item(Box::new(item)));
    }
}

fn input_text(text: Text<'_>) -> Piece<'_> {
    Piece::Part(Box::new(Part { kind: "input_text", text: Some(text), ..Part::default() }))
}

fn answered<'a>(block: &'a Block<'a>) -> Option<&'a str> {
    match block {
        Block::ToolResult(result) => Some(&result.tool_use_id),
        _ => None,
    }
}

fn result_kind(form: &Form) -> Option<&'static str> {
    match form.kind {
        FormKind::Function => None,
        FormKind::Freeform { .. } => Some("custom_tool_call_output"),
        FormKind::Search => Some("tool_search_output"),
        FormKind::Shell => Some("local_shell_call_output"),
    }
}
