//! Reads a streamed answer into the hub.
//!
//! ```text
//! messageStart, ( contentBlockStart?, contentBlockDelta.., contentBlockStop ).., messageStop, metadata
//! ```
//! Only calls of tools and images have a start; what another block is, its first delta says.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::{
    citation, error,
    message::{Additional, stop},
    seal,
    usage::WireUsage,
    wire::{WireCitation, WireReasoningText},
};
use crate::{
    dialects::{
        STREAM_EVENT_BYTES_MAX, UNREADABLE_STREAM,
        bedrock::frames::{Broken, Frame, Splitter},
    },
    error::ErrorClass,
    hub::{Begin, Delta, Event, Json, Stop, StreamDecoder, Text, Usage},
};

/// What a client is told of a stream that ended within a frame.
const TRUNCATED_STREAM: &str = "The model provider's stream ended in the middle of an event. Try again.";

/// Reads the stream.
#[derive(Debug)]
pub struct Decoder {
    frames: Splitter,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    has_started: bool,
    is_over: bool,
    // The index of the open block, and what it is.
    open: Option<(u64, Open)>,
    // The message has been said; its usage comes behind.
    stop: Option<Stop<'static>>,
}

#[derive(Debug)]
enum Open {
    Text,
    // Its seal comes last, in the hub.
    Thinking { seal: String },
    // The hub wants it whole.
    Redacted { bytes: Vec<u8> },
    ToolUse,
    Other,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire<'a> {
    content_block_index: u64,
    #[serde(borrow)]
    start: Option<Json<'a>>,
    delta: Option<Json<'a>>,
    stop_reason: Option<Text<'a>>,
    additional_model_response_fields: Option<Additional<'a>>,
    usage: Option<WireUsage>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireStart<'a> {
    #[serde(borrow)]
    tool_use: Option<Called<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Called<'a> {
    #[serde(borrow)]
    tool_use_id: Text<'a>,
    name: Text<'a>,
    #[serde(rename = "type", default)]
    kind: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireDelta<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    tool_use: Option<Input<'a>>,
    reasoning_content: Option<Reasoned<'a>>,
    citation: Option<WireCitation<'a>>,
}

#[derive(Deserialize)]
struct Input<'a> {
    #[serde(borrow)]
    input: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Reasoned<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    signature: Option<Text<'a>>,
    redacted_content: Option<Text<'a>>,
    // Some vendors send the block's form.
    reasoning_text: Option<WireReasoningText<'a>>,
}

type Sink<'s> = dyn FnMut(Event<'_>) + 's;

impl Default for Decoder {
    fn default() -> Self {
        Self { frames: Splitter::new(STREAM_EVENT_BYTES_MAX), state: State::default() }
    }
}

impl StreamDecoder for Decoder {
    fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
        let Self { frames, state } = self;
        frames.push(bytes, |frame| state.take(frame, sink));
    }

    fn end(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        if self.frames.end().is_err() {
            self.state.fail(ErrorClass::Api, TRUNCATED_STREAM, sink);
        }
    }
}

// === impl State ===

impl State {
    fn take(&mut self, frame: Result<Frame<'_>, Broken>, sink: &mut Sink<'_>) {
        if self.is_over {
            return;
        }
        let read = frame.ok().and_then(|frame| match frame.text(":message-type") {
            Some("exception" | "error") => {
                let failure = error::failure_of(frame)?;
                self.fail(failure.class, &failure.sentence(), sink);
                Some(())
            }
            _ => self.event(frame, sink),
        });
        if read.is_none() {
            self.fail(ErrorClass::Api, UNREADABLE_STREAM, sink);
        }
    }

    fn fail(&mut self, class: ErrorClass, message: &str, sink: &mut Sink<'_>) {
        if !std::mem::replace(&mut self.is_over, true) {
            sink(Event::Failed { class, message: message.into() });
        }
    }

    // `None`: it cannot be read.
    fn event(&mut self, frame: Frame<'_>, sink: &mut Sink<'_>) -> Option<()> {
        let kind = frame.text(":event-type")?;
        // Events may be added.
        if !matches!(
            kind,
            "messageStart"
                | "contentBlockStart"
                | "contentBlockDelta"
                | "contentBlockStop"
                | "messageStop"
                | "metadata"
        ) {
            return Some(());
        }
        let wire: Wire<'_> = serde_json::from_slice(frame.payload).ok()?;
        if !std::mem::replace(&mut self.has_started, true) {
            sink(Event::Start { id: Text::default(), model: Text::default(), usage: Usage::default() });
        }
        match kind {
            "contentBlockStart" => self.begin(wire.content_block_index, wire.start?, sink)?,
            "contentBlockDelta" => self.delta(wire.content_block_index, wire.delta?, sink)?,
            "contentBlockStop" => self.close(sink)?,
            "messageStop" => {
                self.close(sink)?;
                let Additional { stop_sequence } = wire.additional_model_response_fields.unwrap_or_default();
                let sequence = stop_sequence.map(Text::into_owned);
                self.stop = Some(stop(wire.stop_reason?.into_owned(), sequence));
            }
            "metadata" => {
                let usage = wire.usage.unwrap_or_default().read();
                sink(Event::Stop { stop: self.stop.take()?, usage });
                self.is_over = true;
                sink(Event::Done);
            }
            _ => {}
        }
        Some(())
    }

    fn begin(&mut self, index: u64, json: Json<'_>, sink: &mut Sink<'_>) -> Option<()> {
        self.close(sink)?;
        let start: WireStart<'_> = json.read()?;
        let open = match start.tool_use {
            Some(Called { tool_use_id, name, kind: None }) => {
                sink(Event::Begin(Begin::ToolUse { id: tool_use_id, name, signature: None }));
                Open::ToolUse
            }
            _ => {
                let kind = member(&json)?;
                sink(Event::Begin(Begin::Other { kind, json: json.lend() }));
                Open::Other
            }
        };
        self.open = Some((index, open));
        Some(())
    }

    fn delta(&mut self, index: u64, json: Json<'_>, sink: &mut Sink<'_>) -> Option<()> {
        let is_other = matches!(self.open, Some((open, Open::Other)) if open == index);
        let WireDelta { text, tool_use, reasoning_content, citation } =
            if is_other { WireDelta::default() } else { json.read()? };
        if let Some(text) = text {
            self.open_text(index, sink)?;
            if !text.is_empty() {
                sink(Event::Delta(Delta::Text(text)));
            }
        } else if let Some(Input { input }) = tool_use {
            if !matches!(self.open, Some((open, Open::ToolUse)) if open == index) {
                return None;
            }
            if !input.is_empty() {
                sink(Event::Delta(Delta::Input(input)));
            }
        } else if let Some(reasoned) = reasoning_content {
            self.reasoned(index, reasoned, sink)?;
        } else if let Some(cited) = citation {
            self.open_text(index, sink)?;
            sink(Event::Delta(Delta::Citation(citation::read(cited))));
        } else {
            if !is_other {
                self.close(sink)?;
                sink(Event::Begin(Begin::Other { kind: member(&json)?, json: json.lend() }));
                self.open = Some((index, Open::Other));
            }
            sink(Event::Delta(Delta::Other(json)));
        }
        Some(())
    }

    fn open_text(&mut self, index: u64, sink: &mut Sink<'_>) -> Option<()> {
        if !matches!(self.open, Some((open, Open::Text)) if open == index) {
            self.close(sink)?;
            sink(Event::Begin(Begin::Text));
            self.open = Some((index, Open::Text));
        }
        Some(())
    }

    fn reasoned(&mut self, index: u64, reasoned: Reasoned<'_>, sink: &mut Sink<'_>) -> Option<()> {
        let Reasoned { text, signature, redacted_content, reasoning_text } = reasoned;
        let (whole_text, whole_signature) = reasoning_text.map(|thought| (thought.text, thought.signature)).unzip();
        let (text, signature) = (text.or(whole_text), signature.or(whole_signature.flatten()));
        if let Some(data) = redacted_content {
            let more = STANDARD.decode(&*data).ok()?;
            match &mut self.open {
                Some((open, Open::Redacted { bytes })) if *open == index => {
                    if bytes.len() + more.len() > STREAM_EVENT_BYTES_MAX {
                        return None;
                    }
                    bytes.extend_from_slice(&more);
                }
                _ => {
                    self.close(sink)?;
                    self.open = Some((index, Open::Redacted { bytes: more }));
                }
            }
            return Some(());
        }
        if !matches!(self.open, Some((open, Open::Thinking { .. })) if open == index) {
            self.close(sink)?;
            sink(Event::Begin(Begin::Thinking));
            self.open = Some((index, Open::Thinking { seal: String::new() }));
        }
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            sink(Event::Delta(Delta::Thinking(text)));
        }
        if let (Some(more), Some((_, Open::Thinking { seal }))) = (signature, &mut self.open) {
            if seal.len() + more.len() > STREAM_EVENT_BYTES_MAX {
                return None;
            }
            seal.push_str(&more);
        }
        Some(())
    }

    // Ends the open block, if one is open.
    fn close(&mut self, sink: &mut Sink<'_>) -> Option<()> {
        match self.open.take() {
            None => return Some(()),
            Some((_, Open::Thinking { seal })) if !seal.is_empty() => {
                sink(Event::Delta(Delta::Signature(seal::read(seal.into()))));
            }
            Some((_, Open::Redacted { bytes })) => {
                let data = seal::read_redacted(STANDARD.encode(bytes).into());
                sink(Event::Begin(Begin::RedactedThinking { data }));
            }
            Some(_) => {}
        }
        sink(Event::End);
        Some(())
    }
}

// The name of the one member of an object.
fn member(json: &Json<'_>) -> Option<Text<'static>> {
    let members: crate::dialects::read::Members<'_> = json.read()?;
    let (name, _) = members.0.into_iter().next()?;
    Some(name.into_owned())
}
