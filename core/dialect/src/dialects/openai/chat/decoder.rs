//! Reads a streamed completion into the hub.

use serde::Deserialize;

use super::{
    super::{error::failure, usage::WireUsage},
    call::WireCall,
    message::stop,
    reasoning::{Thought, WireDetail},
    sequence::Sequence,
    wire::{WireAnnotation, WirePart},
};
use crate::{
    dialects::{STREAM_EVENT_BYTES_MAX, UNREADABLE_STREAM},
    error::ErrorClass,
    hub::{Begin, Delta, Event, Json, Signature, Stop, StreamDecoder, Text, Usage},
    sse::{self, Splitter},
};

const DONE: &[u8] = b"[DONE]";

/// Reads the stream.
#[derive(Debug)]
pub struct Decoder {
    events: Splitter,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    /// The id of the answer, once it has begun.
    answer: Option<String>,
    open: Open,
    calls: Sequence,
    /// Sealed thinking that came while a call was open.
    held: Vec<Signature<'static>>,
    usage: Usage,
    /// The answer is said.
    finish: Option<String>,
    /// The usage came with the end of the answer, or behind it.
    is_counted: bool,
    is_refused: bool,
    is_over: bool,
}

/// Which block is open.
#[derive(Debug, Default, PartialEq)]
enum Open {
    #[default]
    Nothing,
    Text,
    Thinking {
        index: Option<u64>,
        is_sealed: bool,
    },
    Calls,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Chunk<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    model: Option<Text<'a>>,
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<WireUsage>,
    /// Groq.
    x_groq: Option<Groq>,
    error: Option<Json<'a>>,
    /// vLLM says `error` here, and what it is beside it.
    object: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Groq {
    usage: Option<WireUsage>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Choice<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    delta: Option<WireDelta<'a>>,
    finish_reason: Option<Text<'a>>,
    /// Moonshot.
    usage: Option<WireUsage>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireDelta<'a> {
    /// A text, or, with Mistral, parts.
    #[serde(borrow)]
    content: Option<Json<'a>>,
    refusal: Option<Text<'a>>,
    reasoning_content: Option<Text<'a>>,
    reasoning: Option<Text<'a>>,
    reasoning_details: Option<Vec<WireDetail<'a>>>,
    tool_calls: Option<Vec<WireCall<'a>>>,
    annotations: Option<Vec<WireAnnotation<'a>>>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { events: Splitter::new(STREAM_EVENT_BYTES_MAX), state: State::default() }
    }
}

impl StreamDecoder for Decoder {
    fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
        let Self { events, state } = self;
        events.push(bytes, |event| state.take(&event, sink));
    }

    // Some vendors leave out the last word. When the answer and its usage are there, nothing is missing.
    fn end(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        let State { finish, is_counted, is_over, .. } = &self.state;
        if finish.is_some() && *is_counted && !is_over {
            self.state.done(sink);
        }
    }
}

impl State {
    fn take(&mut self, event: &sse::Event<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        let data = event.data.trim_ascii();
        if self.is_over || (data.is_empty() && !event.oversized) {
            return;
        }
        if data == DONE && self.answer.is_some() {
            return self.done(sink);
        }
        let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(data) else {
            return self.fail(ErrorClass::Api, UNREADABLE_STREAM, sink);
        };
        self.read(chunk, data, sink);
    }

    fn fail(&mut self, class: ErrorClass, message: &str, sink: &mut dyn FnMut(Event<'_>)) {
        self.is_over = true;
        sink(Event::Failed { class, message: message.into() });
    }

    fn read(&mut self, chunk: Chunk<'_>, data: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
        let Chunk { id, model, choices, usage, x_groq, error, object } = chunk;
        let flat = object.filter(|object| &**object == "error").and_then(|_| serde_json::from_slice(data).ok());
        if let Some(error) = error.filter(|error| error.get() != "null").or(flat) {
            let failure = failure(&error, ErrorClass::Api);
            return self.fail(failure.class, &failure.sentence(), sink);
        }
        let (mut id, mut model) = (id, model);
        for choice in choices.unwrap_or_default() {
            let Choice { index, delta, finish_reason, usage } = choice;
            if index.unwrap_or_default() > 0 {
                continue;
            }
            if self.answer.is_none() {
                let (id, model) = (id.take().unwrap_or_default(), model.take().unwrap_or_default());
                self.answer = Some(id.to_string());
                sink(Event::Start { id, model, usage: Usage::default() });
            }
            self.delta(delta.unwrap_or_default(), sink);
            if let Some(word) = finish_reason.filter(|word| !word.is_empty()) {
                if &*word == "error" {
                    return self.fail(ErrorClass::Api, "The model provider failed in the middle of its answer.", sink);
                }
                self.close(sink);
                self.finish = Some(word.to_string());
            }
            self.count(usage);
        }
        self.count(usage.or(x_groq.unwrap_or_default().usage));
    }

    fn count(&mut self, usage: Option<WireUsage>) {
        if let Some(usage) = usage {
            self.usage = usage.usage();
            self.is_counted = self.finish.is_some();
        }
    }

    fn delta(&mut self, delta: WireDelta<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        let WireDelta { content, refusal, reasoning_content, reasoning, reasoning_details, tool_calls, annotations } =
            delta;
        let thoughts = reasoning_details.unwrap_or_default().into_iter().filter_map(WireDetail::thought);
        let mut is_thought = false;
        for thought in thoughts {
            is_thought = true;
            self.think(thought, sink);
        }
        // The details say the same again, and more.
        if let Some(text) = reasoning_content.or(reasoning).filter(|text| !is_thought && !text.is_empty()) {
            self.think(Thought::Shown { index: None, text, seal: None }, sink);
        }
        if let Some(content) = content {
            self.content(&content, sink);
        }
        if let Some(text) = refusal.filter(|text| !text.is_empty()) {
            self.is_refused = true;
            self.text(text, sink);
        }
        for citation in annotations.unwrap_or_default().into_iter().filter_map(WireAnnotation::citation) {
            self.open(Open::Text, sink);
            sink(Event::Delta(Delta::Citation(citation)));
        }
        for call in tool_calls.unwrap_or_default() {
            if self.open != Open::Calls {
                self.close(sink);
                self.open = Open::Calls;
            }
            self.calls.take(call, self.answer.as_deref().unwrap_or_default(), sink);
        }
    }

    fn content(&mut self, content: &Json<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        if let Some(text) = content.read::<Text<'_>>() {
            return self.text(text, sink);
        }
        for part in content.read::<Vec<WirePart<'_>>>().unwrap_or_default() {
            let thinking = part.thinking.and_then(|raw| super::part::thinking(raw).ok());
            if let Some(text) = thinking.filter(|text| !text.is_empty()) {
                self.think(Thought::Shown { index: None, text, seal: None }, sink);
            }
            self.text(part.text.unwrap_or_default(), sink);
        }
    }

    fn text(&mut self, text: Text<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        if !text.is_empty() {
            self.open(Open::Text, sink);
            sink(Event::Delta(Delta::Text(text)));
        }
    }

    fn think(&mut self, thought: Thought<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        match thought {
            Thought::Shown { index, text, seal } => {
                let is_on = matches!(self.open, Open::Thinking { index: open, is_sealed: false } if index.is_none() || open.is_none() || open == index);
                if !is_on {
                    self.close(sink);
                }
                self.open(Open::Thinking { index, is_sealed: false }, sink);
                if !text.is_empty() {
                    sink(Event::Delta(Delta::Thinking(text)));
                }
                if let Some(seal) = seal {
                    sink(Event::Delta(Delta::Signature(seal)));
                    self.open = Open::Thinking { index, is_sealed: true };
                }
            }
            Thought::Sealed { data, id: _ } if self.open == Open::Calls => {
                self.held.push(Signature { dialect: data.dialect, seal: data.seal.into_owned() });
            }
            Thought::Sealed { data, id: _ } => {
                self.close(sink);
                sink(Event::Begin(Begin::RedactedThinking { data }));
                sink(Event::End);
            }
        }
    }

    // Opens a block unless one of its kind is open.
    fn open(&mut self, block: Open, sink: &mut dyn FnMut(Event<'_>)) {
        if std::mem::discriminant(&self.open) == std::mem::discriminant(&block) {
            return;
        }
        self.close(sink);
        sink(Event::Begin(if block == Open::Text { Begin::Text } else { Begin::Thinking }));
        self.open = block;
    }

    fn close(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        match std::mem::take(&mut self.open) {
            Open::Nothing => {}
            Open::Text | Open::Thinking { .. } => sink(Event::End),
            Open::Calls => self.calls.finish(sink),
        }
        for data in std::mem::take(&mut self.held) {
            sink(Event::Begin(Begin::RedactedThinking { data }));
            sink(Event::End);
        }
    }

    fn done(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        self.close(sink);
        let word: Text<'_> = self.finish.as_deref().unwrap_or("stop").into();
        let stop: Stop<'_> = stop(word, self.calls.has_calls(), self.is_refused);
        sink(Event::Stop { stop, usage: self.usage });
        self.is_over = true;
        sink(Event::Done);
    }
}
