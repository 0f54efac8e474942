//! Reads a streamed `Response` into the hub.
//!
//! Items follow each other in all that the API is known to send. One that begins before another has ended waits, and is told as a whole
//! when its turn comes. Whatever ends without having been told piece by piece is told at its end.

use serde::Deserialize;

use super::{
    error::WireError,
    freeform::{CLOSING, OPENING, escaped},
    item::{Spoken, item},
    message::{Answered, said, searches, stop, told},
    part::{PART_END, annotation, part},
    seal,
    tools::function_name,
    wire::ReadItem,
};
use crate::{
    dialects::{STREAM_EVENT_BYTES_MAX, UNREADABLE_STREAM},
    error::ErrorClass,
    hub::{Begin, Block, Delta, Event, Json, StreamDecoder, Text, Usage},
    sse::Splitter,
};

/// What some vendors send behind the last event.
const LAST_WORD: &[u8] = b"[DONE]";
/// No answer has more items that wait for another one to end.
const WAITING_MAX: usize = 256;
/// Parts of raw reasoning are told apart from those of its summary by this.
const RAW: u64 = 1 << 32;

type Sink<'s> = &'s mut dyn FnMut(Event<'_>);

/// Reads the stream.
#[derive(Debug)]
pub struct Decoder {
    events: Splitter,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    has_started: bool,
    is_over: bool,
    is_called: bool,
    is_refusal: bool,
    has_items: bool,
    web_searches: u64,
    open: Option<Open>,
    // Items that ended while another was open.
    waiting: Vec<String>,
}

/// The item that is being told.
#[derive(Debug)]
struct Open {
    index: u64,
    kind: Kind,
    // A block of the hub is open.
    is_begun: bool,
    // Blocks that it began so far.
    has_blocks: bool,
    // The part that is being told, and whether anything of it was.
    part: Option<u64>,
    is_said: bool,
    is_cited: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Message,
    Reasoning,
    Function,
    Freeform,
    Whole,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Text<'a>,
    #[serde(default)]
    response: Option<Json<'a>>,
    #[serde(default)]
    item: Option<Json<'a>>,
    #[serde(default)]
    part: Option<Json<'a>>,
    #[serde(default)]
    output_index: Option<u64>,
    #[serde(default)]
    content_index: Option<u64>,
    #[serde(default)]
    summary_index: Option<u64>,
    #[serde(default)]
    delta: Option<Json<'a>>,
    #[serde(default)]
    text: Option<Json<'a>>,
    #[serde(default)]
    refusal: Option<Json<'a>>,
    #[serde(default)]
    arguments: Option<Json<'a>>,
    #[serde(default)]
    input: Option<Json<'a>>,
    #[serde(default)]
    annotation: Option<Json<'a>>,
    #[serde(default)]
    error: Option<Json<'a>>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { events: Splitter::new(STREAM_EVENT_BYTES_MAX), state: State::default() }
    }
}

impl StreamDecoder for Decoder {
    fn push(&mut self, bytes: &[u8], sink: Sink<'_>) {
        let Self { events, state } = self;
        events.push(bytes, |event| state.take(event.data, event.oversized, sink));
    }

    fn end(&mut self, _: Sink<'_>) {}
}

impl State {
    fn take(&mut self, data: &[u8], is_oversized: bool, sink: Sink<'_>) {
        if self.is_over || data == LAST_WORD || (data.is_empty() && !is_oversized) {
            return;
        }
        let read = serde_json::from_slice::<Wire<'_>>(data).ok().and_then(|wire| self.read(&wire, data, sink));
        if read.is_none() {
            self.is_over = true;
            sink(Event::Failed { class: ErrorClass::Api, message: UNREADABLE_STREAM.into() });
        }
    }

    // `None`: it cannot be read.
    fn read(&mut self, wire: &Wire<'_>, data: &[u8], sink: Sink<'_>) -> Option<()> {
        let index = wire.output_index.unwrap_or_default();
        let part = wire.content_index.unwrap_or_default();
        let summary = wire.summary_index.unwrap_or_default();
        match &*wire.kind {
            "response.created" | "response.in_progress" | "response.queued" => {
                self.start(wire.response.as_ref(), sink)?
            }
            "response.output_item.added" => self.added(index, wire.item.as_ref()?, sink)?,
            "response.output_item.done" => self.done(index, wire.item.as_ref()?, sink)?,
            "response.output_text.delta" => self.text(index, part, &wire.delta, false, sink)?,
            "response.output_text.done" => self.text(index, part, &wire.text, true, sink)?,
            "response.refusal.delta" => {
                self.is_refusal = true;
                self.text(index, part, &wire.delta, false, sink)?;
            }
            "response.refusal.done" => {
                self.is_refusal = true;
                self.text(index, part, &wire.refusal, true, sink)?;
            }
            "response.output_text.annotation.added" => self.cited(index, wire.annotation.as_ref()?, sink)?,
            "response.content_part.done" => self.part_done(index, part, wire.part.as_ref()?, sink)?,
            "response.reasoning_summary_text.delta" => self.thought(index, summary, &wire.delta, false, sink)?,
            "response.reasoning_summary_text.done" => self.thought(index, summary, &wire.text, true, sink)?,
            "response.reasoning_text.delta" => self.thought(index, part | RAW, &wire.delta, false, sink)?,
            "response.reasoning_text.done" => self.thought(index, part | RAW, &wire.text, true, sink)?,
            "response.function_call_arguments.delta" => self.argued(index, &wire.delta, false, sink)?,
            "response.function_call_arguments.done" => self.argued(index, &wire.arguments, true, sink)?,
            "response.custom_tool_call_input.delta" => self.argued(index, &wire.delta, false, sink)?,
            "response.custom_tool_call_input.done" => self.argued(index, &wire.input, true, sink)?,
            "response.completed" | "response.incomplete" | "response.done" => {
                self.over(wire.response.as_ref()?, sink)?
            }
            "response.failed" | "response.cancelled" => {
                let response: Answered<'_> = wire.response.as_ref()?.read()?;
                let error = response.error.as_ref().and_then(Json::read).unwrap_or_default();
                self.failed(&error, sink);
            }
            "error" => {
                let nested = wire.error.as_ref().and_then(Json::read);
                let error = nested.or_else(|| serde_json::from_slice(data).ok());
                self.failed(&error.map(named)?, sink);
            }
            // Events may be added, and many tell of the progress of what is told whole at its end.
            _ => {}
        }
        Some(())
    }

    fn start(&mut self, response: Option<&Json<'_>>, sink: Sink<'_>) -> Option<()> {
        if std::mem::replace(&mut self.has_started, true) {
            return Some(());
        }
        let Answered { id, model, .. } = match response {
            Some(json) => json.read()?,
            None => Answered::default(),
        };
        let (id, model) = (id.unwrap_or_default(), model.unwrap_or_default());
        sink(Event::Start { id, model, usage: Usage::default() });
        Some(())
    }

    fn added(&mut self, index: u64, json: &Json<'_>, sink: Sink<'_>) -> Option<()> {
        self.start(None, sink)?;
        if self.open.is_some() {
            return Some(());
        }
        let item: ReadItem<'_> = json.read()?;
        let kind = match item.kind.as_deref().unwrap_or_default() {
            "message" => Kind::Message,
            "reasoning" => Kind::Reasoning,
            "function_call" => Kind::Function,
            "custom_tool_call" => Kind::Freeform,
            _ => Kind::Whole,
        };
        let mut open = Open::new(index, kind);
        if let (Kind::Function | Kind::Freeform, Some(id), Some(name)) = (kind, item.call_id, item.name) {
            self.is_called = true;
            (open.is_begun, open.has_blocks) = (true, true);
            let name = function_name(item.namespace.as_deref(), name);
            sink(Event::Begin(Begin::ToolUse { id, name, signature: None }));
        }
        self.has_items = true;
        self.open = Some(open);
        Some(())
    }

    // The open item, if it is the one that is meant; one that nobody announced is opened, where its kind is all that one has to know.
    fn at(&mut self, index: u64, kind: Kind, sink: Sink<'_>) -> Option<Option<&mut Open>> {
        if self.open.is_none() && matches!(kind, Kind::Message | Kind::Reasoning) {
            self.start(None, sink)?;
            self.has_items = true;
            self.open = Some(Open::new(index, kind));
        }
        Some(self.open.as_mut().filter(|open| open.index == index && open.kind == kind))
    }

    fn text(&mut self, index: u64, part: u64, text: &Option<Json<'_>>, is_whole: bool, sink: Sink<'_>) -> Option<()> {
        let text: Text<'_> = text.as_ref()?.read()?;
        if let Some(open) = self.at(index, Kind::Message, sink)? {
            open.turn_to(part, sink);
            open.say(&text, is_whole, Begin::Text, Delta::Text, sink);
        }
        Some(())
    }

    fn thought(
        &mut self,
        index: u64,
        part: u64,
        text: &Option<Json<'_>>,
        is_whole: bool,
        sink: Sink<'_>,
    ) -> Option<()> {
        let text: Text<'_> = text.as_ref()?.read()?;
        if let Some(open) = self.at(index, Kind::Reasoning, sink)? {
            let is_next = open.is_begun && open.part.is_some_and(|before| before != part);
            if open.part != Some(part) {
                (open.part, open.is_said) = (Some(part), false);
            }
            if is_next && !text.is_empty() {
                sink(Event::Delta(Delta::Thinking(PART_END.into())));
            }
            open.say(&text, is_whole, Begin::Thinking, Delta::Thinking, sink);
        }
        Some(())
    }

    fn argued(&mut self, index: u64, text: &Option<Json<'_>>, is_whole: bool, sink: Sink<'_>) -> Option<()> {
        let text: Text<'_> = text.as_ref()?.read()?;
        let is_meant = |open: &&mut Open| {
            open.index == index && open.is_begun && matches!(open.kind, Kind::Function | Kind::Freeform)
        };
        let Some(open) = self.open.as_mut().filter(is_meant) else { return Some(()) };
        open.argue(&text, is_whole, sink);
        Some(())
    }

    fn cited(&mut self, index: u64, json: &Json<'_>, sink: Sink<'_>) -> Option<()> {
        let citation = annotation(json.raw()?).ok()?;
        let open = self.at(index, Kind::Message, sink)?.filter(|open| open.is_begun);
        if let (Some(open), Some(citation)) = (open, citation) {
            open.is_cited = true;
            sink(Event::Delta(Delta::Citation(citation)));
        }
        Some(())
    }

    fn part_done(&mut self, index: u64, at: u64, json: &Json<'_>, sink: Sink<'_>) -> Option<()> {
        let Some(open) = self.open.as_mut().filter(|open| open.index == index && open.kind == Kind::Message) else {
            return Some(());
        };
        let (block, is_refusal) = part(json.raw()?).ok()?;
        open.turn_to(at, sink);
        if let Block::Text { text, citations, .. } = block {
            open.say(&text, true, Begin::Text, Delta::Text, sink);
            if open.is_begun && !open.is_cited {
                citations.into_iter().for_each(|citation| sink(Event::Delta(Delta::Citation(citation))));
            }
        }
        open.end(sink);
        self.is_refusal |= is_refusal;
        Some(())
    }

    fn done(&mut self, index: u64, json: &Json<'_>, sink: Sink<'_>) -> Option<()> {
        self.start(None, sink)?;
        let Some(mut open) = self.open.take() else { return self.whole(json, sink) };
        if open.index != index {
            self.open = Some(open);
            if self.waiting.len() < WAITING_MAX {
                self.waiting.push(json.get().to_owned());
            }
            return Some(());
        }
        if open.has_blocks {
            open.finish(json, sink)?;
        } else {
            self.whole(json, sink)?;
        }
        self.tell_waiting(sink)
    }

    fn tell_waiting(&mut self, sink: Sink<'_>) -> Option<()> {
        for waiting in std::mem::take(&mut self.waiting) {
            self.whole(&Json::parse(&waiting).ok()?, sink)?;
        }
        Some(())
    }

    // Tells an item of which nothing was told before.
    fn whole(&mut self, json: &Json<'_>, sink: Sink<'_>) -> Option<()> {
        self.has_items = true;
        let Spoken { blocks, is_refusal, .. } = item(json.raw()?).ok()?;
        self.is_refusal |= is_refusal;
        blocks.into_iter().filter_map(told).for_each(|block| self.block(block, sink));
        Some(())
    }

    fn block(&mut self, block: Block<'_>, sink: Sink<'_>) {
        self.web_searches = self.web_searches.saturating_add(searches(&block));
        match block {
            Block::Text { text, citations, .. } => {
                sink(Event::Begin(Begin::Text));
                sink(Event::Delta(Delta::Text(text)));
                citations.into_iter().for_each(|citation| sink(Event::Delta(Delta::Citation(citation))));
            }
            Block::Thinking { text, signature } => {
                sink(Event::Begin(Begin::Thinking));
                if !text.is_empty() {
                    sink(Event::Delta(Delta::Thinking(text)));
                }
                signature.into_iter().for_each(|seal| sink(Event::Delta(Delta::Signature(seal))));
            }
            Block::RedactedThinking { data } => sink(Event::Begin(Begin::RedactedThinking { data })),
            Block::ToolUse(tool) => {
                self.is_called = true;
                let tool = *tool;
                sink(Event::Begin(Begin::ToolUse { id: tool.id, name: tool.name, signature: None }));
                sink(Event::Delta(Delta::Input(tool.input.get().into())));
            }
            Block::Other { kind, json } => sink(Event::Begin(Begin::Other { kind, json })),
            // The model does not say such.
            Block::Media(_) | Block::ToolResult(_) => return,
        }
        sink(Event::End);
    }

    fn over(&mut self, json: &Json<'_>, sink: Sink<'_>) -> Option<()> {
        self.start(Some(json), sink)?;
        let response: Answered<'_> = json.read()?;
        if let Some(mut open) = self.open.take() {
            open.end(sink);
        }
        self.tell_waiting(sink)?;
        let output = response.output.as_ref().and_then(Json::raw).filter(|_| !self.has_items);
        if let Some(raw) = output {
            let said = said(raw).ok()?;
            self.is_refusal |= said.is_refusal;
            said.blocks.into_iter().for_each(|block| self.block(block, sink));
        }
        let mut usage = response.usage.map(|usage| usage.usage()).unwrap_or_default();
        usage.counters.web_searches = self.web_searches;
        sink(Event::Stop { stop: stop(response.incomplete_details, self.is_called, self.is_refusal), usage });
        sink(Event::Done);
        self.is_over = true;
        Some(())
    }

    fn failed(&mut self, error: &WireError<'_>, sink: Sink<'_>) {
        self.is_over = true;
        let failure = error.failure(ErrorClass::Api);
        sink(Event::Failed { class: failure.class, message: failure.sentence().into_owned().into() });
    }
}

// The type of an `error` event is no word for what went wrong.
fn named(error: WireError<'_>) -> WireError<'_> {
    WireError { kind: error.kind.filter(|kind| &**kind != "error"), ..error }
}

impl Open {
    const fn new(index: u64, kind: Kind) -> Self {
        Self { index, kind, is_begun: false, has_blocks: false, part: None, is_said: false, is_cited: false }
    }

    // Each part of a message is a block.
    fn turn_to(&mut self, part: u64, sink: Sink<'_>) {
        if self.part != Some(part) {
            self.end(sink);
            (self.part, self.is_said, self.is_cited) = (Some(part), false, false);
        }
    }

    // What is told whole at its end was told already, if any of it was.
    fn say<'t>(
        &mut self,
        text: &'t str,
        is_whole: bool,
        begin: Begin<'_>,
        delta: fn(Text<'t>) -> Delta<'t>,
        sink: Sink<'_>,
    ) {
        if text.is_empty() || (is_whole && self.is_said) {
            return;
        }
        if !std::mem::replace(&mut self.is_begun, true) {
            self.has_blocks = true;
            sink(Event::Begin(begin));
        }
        self.is_said = true;
        sink(Event::Delta(delta(text.into())));
    }

    fn argue(&mut self, text: &str, is_whole: bool, sink: Sink<'_>) {
        if text.is_empty() || (is_whole && self.is_said) {
            return;
        }
        let is_first = !std::mem::replace(&mut self.is_said, true);
        if self.kind == Kind::Freeform {
            if is_first {
                sink(Event::Delta(Delta::Input(OPENING.into())));
            }
            sink(Event::Delta(Delta::Input(escaped(text).into())));
        } else {
            sink(Event::Delta(Delta::Input(text.into())));
        }
    }

    // Ends an item of which something was told, with what only its end tells.
    fn finish(&mut self, json: &Json<'_>, sink: Sink<'_>) -> Option<()> {
        let item: ReadItem<'_> = json.read()?;
        match self.kind {
            Kind::Function => {
                let whole: Option<Text<'_>> = item.arguments.as_ref().and_then(Json::read);
                self.argue(whole.as_deref().unwrap_or_default(), true, sink);
            }
            Kind::Freeform => {
                self.argue(item.input.as_deref().unwrap_or_default(), true, sink);
                sink(Event::Delta(Delta::Input(if self.is_said { CLOSING } else { r#"{"input":""}"# }.into())));
            }
            Kind::Reasoning => {
                if let Some(seal) = seal::read(item.id, item.encrypted_content).filter(|seal| !seal.seal.ends_with('.'))
                {
                    sink(Event::Delta(Delta::Signature(seal)));
                }
            }
            Kind::Message | Kind::Whole => {}
        }
        self.end(sink);
        Some(())
    }

    fn end(&mut self, sink: Sink<'_>) {
        if std::mem::take(&mut self.is_begun) {
            sink(Event::End);
        }
    }
}
