//! Reads a streamed `Message` into the hub.

use serde::Deserialize;

use super::{
    decode::{block, citation},
    message::{class_of, stop},
    usage::{Latest, Usage as WireUsage},
};
use crate::dialects::Dialect;
use crate::{
    dialects::STREAM_EVENT_BYTES_MAX,
    error::{ErrorClass, Failure},
    hub::{Begin, Block, Delta, Event, Json, Signature, StreamDecoder, Text},
    sse::Splitter,
};

/// What is said of the blocks that the hub models.
const KINDS: [&str; 5] = ["text_delta", "citations_delta", "thinking_delta", "signature_delta", "input_json_delta"];

/// Reads the stream.
#[derive(Debug)]
pub struct Decoder {
    events: Splitter,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    latest: Latest,
    // The block that has begun and not ended.
    open: Option<Open>,
    has_started: bool,
    has_stopped: bool,
    is_over: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Open {
    Text,
    Thinking,
    // Nothing more is said of it.
    Redacted,
    ToolUse,
    // What is said of it is its dialect's own too.
    Other,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(default)]
    message: Option<Started<'a>>,
    #[serde(default)]
    content_block: Option<Json<'a>>,
    #[serde(default)]
    delta: Option<WireDelta<'a>>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(default)]
    error: Option<Failed<'a>>,
}

#[derive(Deserialize)]
struct Started<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(default)]
    model: Text<'a>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireDelta<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    text: Option<Text<'a>>,
    thinking: Option<Text<'a>>,
    signature: Option<Text<'a>>,
    partial_json: Option<Text<'a>>,
    citation: Option<Json<'a>>,
    stop_reason: Option<Text<'a>>,
    stop_sequence: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Failed<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Text<'a>,
    #[serde(default)]
    message: Text<'a>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { events: Splitter::new(STREAM_EVENT_BYTES_MAX), state: State::default() }
    }
}

impl StreamDecoder for Decoder {
    fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
        let Self { events, state } = self;
        events.push(bytes, |event| state.take(event.data, event.oversized, sink));
    }

    fn end(&mut self, _: &mut dyn FnMut(Event<'_>)) {}
}

impl State {
    fn take(&mut self, data: &[u8], is_oversized: bool, sink: &mut dyn FnMut(Event<'_>)) {
        if self.is_over || (data.is_empty() && !is_oversized) {
            return;
        }
        let read = serde_json::from_slice::<Wire<'_>>(data).ok().and_then(|wire| self.read(wire, data, sink));
        if read.is_none() {
            self.is_over = true;
            sink(Event::Failed { class: ErrorClass::Api, message: crate::dialects::UNREADABLE_STREAM.into() });
        }
    }

    // `None`: it cannot be read.
    fn read(&mut self, wire: Wire<'_>, data: &[u8], sink: &mut dyn FnMut(Event<'_>)) -> Option<()> {
        match &*wire.kind {
            "message_start" => {
                if std::mem::replace(&mut self.has_started, true) {
                    return None;
                }
                let Started { id, model, usage } = wire.message?;
                self.latest.take(usage.unwrap_or_default());
                sink(Event::Start { id, model, usage: self.latest.usage() });
            }
            "content_block_start" => {
                self.may_say()?;
                self.end_block(sink);
                self.open = Some(begin(wire.content_block?, sink)?);
            }
            "content_block_delta" => self.delta(wire.delta?, data, sink)?,
            "content_block_stop" => self.end_block(sink),
            "message_delta" => {
                let WireDelta { stop_reason, stop_sequence, .. } = wire.delta.unwrap_or_default();
                self.latest.take(wire.usage.unwrap_or_default());
                if let Some(word) = stop_reason.filter(|_| !self.has_stopped) {
                    self.may_say()?;
                    self.end_block(sink);
                    self.has_stopped = true;
                    sink(Event::Stop { stop: stop(word, stop_sequence), usage: self.latest.usage() });
                }
            }
            "message_stop" => {
                // An answer that does not say why it ended did not end.
                self.has_stopped.then_some(())?;
                self.is_over = true;
                sink(Event::Done);
            }
            "ping" => sink(Event::Ping),
            "error" => {
                let Failed { kind, message } = wire.error?;
                self.is_over = true;
                let failure = Failure::told(class_of(&kind).unwrap_or(ErrorClass::Api), &*message, &*kind);
                sink(Event::Failed { class: failure.class, message: (&*failure.sentence()).into() });
            }
            // Events may be added, says the API.
            _ => {}
        }
        Some(())
    }

    // What an answer says stands between its start and the reason why it stopped.
    fn may_say(&self) -> Option<()> {
        (self.has_started && !self.has_stopped).then_some(())
    }

    fn end_block(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        if self.open.take().is_some() {
            sink(Event::End);
        }
    }

    fn delta(&mut self, delta: WireDelta<'_>, data: &[u8], sink: &mut dyn FnMut(Event<'_>)) -> Option<()> {
        #[derive(Deserialize)]
        struct Whole<'a> {
            #[serde(borrow)]
            delta: Json<'a>,
        }
        sink(Event::Delta(match (self.open?, &*delta.kind) {
            (Open::Text, "text_delta") => Delta::Text(delta.text?),
            (Open::Text, "citations_delta") => Delta::Citation(citation(delta.citation?.raw()?).ok()?),
            (Open::Thinking, "thinking_delta") => Delta::Thinking(delta.thinking?),
            (Open::Thinking, "signature_delta") => {
                Delta::Signature(Signature::read(Dialect::Anthropic, delta.signature?))
            }
            (Open::ToolUse, "input_json_delta") => Delta::Input(delta.partial_json?),
            // More of another block than the one that is open: what it belongs to was lost.
            (Open::Text | Open::Thinking | Open::Redacted | Open::ToolUse, kind) if KINDS.contains(&kind) => {
                return None;
            }
            _ => Delta::Other(serde_json::from_slice::<Whole<'_>>(data).ok()?.delta),
        }));
        Some(())
    }
}

// What a block has at its start is told as deltas of it, since some vendors begin a text with its first words.
fn begin(json: Json<'_>, sink: &mut dyn FnMut(Event<'_>)) -> Option<Open> {
    Some(match block(json.raw()?).ok()? {
        Block::Text { text, citations, cache: _ } => {
            sink(Event::Begin(Begin::Text));
            if !text.is_empty() {
                sink(Event::Delta(Delta::Text(text)));
            }
            citations.into_iter().for_each(|citation| sink(Event::Delta(Delta::Citation(citation))));
            Open::Text
        }
        Block::Thinking { text, signature } => {
            sink(Event::Begin(Begin::Thinking));
            if !text.is_empty() {
                sink(Event::Delta(Delta::Thinking(text)));
            }
            signature.into_iter().for_each(|seal| sink(Event::Delta(Delta::Signature(seal))));
            Open::Thinking
        }
        Block::RedactedThinking { data } => {
            sink(Event::Begin(Begin::RedactedThinking { data }));
            Open::Redacted
        }
        Block::ToolUse(tool) => {
            let tool = *tool;
            sink(Event::Begin(Begin::ToolUse { id: tool.id, name: tool.name, signature: None }));
            let is_empty = tool.input.get().bytes().all(|byte| b"{} \t\r\n".contains(&byte));
            if !is_empty {
                sink(Event::Delta(Delta::Input(tool.input.get().into())));
            }
            Open::ToolUse
        }
        Block::Other { kind, json } => {
            sink(Event::Begin(Begin::Other { kind, json }));
            Open::Other
        }
        Block::Media(_) | Block::ToolResult(_) => return None,
    })
}
