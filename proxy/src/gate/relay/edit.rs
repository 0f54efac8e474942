//! The events of Messages, passed on as they came but for what a guardrail changes: whoever sealed something in them finds it as it was.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tollgate_dialect::{
    Counters, Dialect,
    anthropic::StreamMeter,
    hub::{Begin, Delta, Event, Json, Signature, Stop, Text, Usage},
    sse,
};

use crate::guard::{Blocked, Filter, Passed, Report};

/// The largest event that is read. A larger one ends the stream, since it cannot be looked at.
const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Events on their way.
pub(super) struct Edit {
    events: sse::Splitter,
    filter: Filter,
    writer: Writer,
    blocked: Option<Blocked>,
}

// What is written: events as they came where they may, and others in their form.
#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    // The event that is looked at.
    current: Vec<u8>,
    // The text of its delta.
    text: String,
    // The event that began the open block, until it is written.
    begin: Vec<u8>,
    index: u64,
    is_begun: bool,
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    content_block: Option<Block<'a>>,
    #[serde(borrow)]
    delta: Option<Piece<'a>>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    thinking: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Piece<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    partial_json: Cow<'a, str>,
    #[serde(borrow, default)]
    thinking: Cow<'a, str>,
}

impl Edit {
    pub(super) fn new(filter: Filter) -> Self {
        let events = sse::Splitter::new(EVENT_BYTES_MAX);
        Self { events, filter, writer: Writer::default(), blocked: None }
    }

    /// Why the answer has ended.
    pub(super) fn blocked(&self) -> Option<&Blocked> {
        self.blocked.as_ref()
    }

    /// What was found since it was asked last.
    pub(super) fn report(&mut self) -> Report {
        self.filter.take_report()
    }

    /// Takes what the provider sent; returns what is for the client: whole events.
    pub(super) fn push(&mut self, data: &[u8], meter: &StreamMeter) -> Bytes {
        let Self { events, filter, writer, blocked } = self;
        events.push(data, |event| {
            if blocked.is_some() {
                return;
            }
            writer.take(&event);
            if let Passed::Blocked(why, _) = look(filter, writer, &event) {
                writer.end(&why.sentence(), &meter.metered().counters);
                *blocked = Some(why);
            }
        });
        std::mem::take(&mut self.writer.out).into()
    }
}

// Shows the filter what it understands of an event. What says nothing of a block passes.
fn look(filter: &mut Filter, writer: &mut Writer, event: &sse::Event<'_>) -> Passed {
    // With this some vendors end their streams.
    if event.data == b"[DONE]" {
        return pass(writer);
    }
    let read: Option<Read<'_>> = serde_json::from_slice(event.data).ok();
    // Whoever reads the name, where there is one, and whoever reads the type must read the same.
    let Some(read) = read.filter(|read| event.name.is_empty() || read.kind.as_bytes() == event.name) else {
        return unread(filter, writer);
    };
    match (read.kind.as_bytes(), read.content_block, read.delta) {
        (b"content_block_start", Some(block), _) => begin(filter, writer, read.index, &block, event.data),
        (b"content_block_delta", _, Some(delta)) => {
            let shown: fn(Text<'static>) -> Delta<'static> = match &*delta.kind {
                "text_delta" => Delta::Text,
                "input_json_delta" => Delta::Input,
                "thinking_delta" => Delta::Thinking,
                "signature_delta" => |seal| Delta::Signature(Signature::new(Dialect::Anthropic, seal)),
                _ => return pass(writer),
            };
            let text = [delta.text, delta.partial_json, delta.thinking].into_iter().find(|text| !text.is_empty());
            writer.text = text.unwrap_or_default().into_owned();
            let text = Text::from(writer.text.clone());
            filter.push(&Event::Delta(shown(text)), &mut |event| writer.write(event))
        }
        (b"content_block_stop", ..) => filter.push(&Event::End, &mut |event| writer.write(event)),
        (b"message_stop", ..) => filter.push(&Event::Done, &mut |event| writer.write(event)),
        (b"message_delta" | b"error", ..) => {
            let stop = Event::Stop { stop: Stop::EndTurn, usage: Usage::default() };
            filter.push(&stop, &mut |event| writer.write(event))
        }
        (kind, ..) if kind.starts_with(b"content_block_") => unread(filter, writer),
        _ => pass(writer),
    }
}

fn begin(filter: &mut Filter, writer: &mut Writer, index: u64, block: &Block<'_>, data: &[u8]) -> Passed {
    writer.begin(index);
    let has_input = block.input.is_some_and(|input| input.get().trim() != "{}");
    let shown = match &*block.kind {
        "text" => Begin::Text,
        "thinking" => Begin::Thinking,
        // Its id is in the event that is kept.
        "tool_use" if !has_input => {
            let name = block.name.to_string().into();
            Begin::ToolUse { id: "".into(), name, signature: None }
        }
        kind => match std::str::from_utf8(data).ok().and_then(|data| Json::parse(data).ok()) {
            Some(json) => Begin::Other { kind: kind.to_owned().into(), json },
            None => return unread(filter, writer),
        },
    };
    let first = match shown {
        // What is there from the beginning goes through the filter like what follows.
        Begin::Text if !block.text.is_empty() => {
            writer.begin_empty(index);
            Some(Delta::Text(block.text.to_string().into()))
        }
        Begin::Thinking if !block.thinking.is_empty() => return unread(filter, writer),
        _ => None,
    };
    let begun = filter.push(&Event::Begin(shown), &mut |event| writer.write(event));
    match first {
        Some(first) if begun == Passed::On => filter.push(&Event::Delta(first), &mut |event| writer.write(event)),
        _ => begun,
    }
}

fn pass(writer: &mut Writer) -> Passed {
    writer.pass();
    Passed::On
}

// An event that cannot be read is not looked at.
fn unread(filter: &Filter, writer: &mut Writer) -> Passed {
    match filter.unread() {
        Some(blocked) => Passed::Blocked(blocked, false),
        None => pass(writer),
    }
}

// === impl Writer ===

impl Writer {
    fn take(&mut self, event: &sse::Event<'_>) {
        self.current.clear();
        self.text.clear();
        for (field, value) in [(&b"event: "[..], event.name), (b"data: ", event.data)] {
            for line in value.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                self.current.extend_from_slice(field);
                self.current.extend_from_slice(line);
                self.current.push(b'\n');
            }
        }
        self.current.push(b'\n');
    }

    fn pass(&mut self) {
        self.out.append(&mut self.current);
    }

    fn begin(&mut self, index: u64) {
        (self.index, self.is_begun) = (index, false);
        self.begin = std::mem::take(&mut self.current);
    }

    fn begin_empty(&mut self, index: u64) {
        let block = json!({"type": "text", "text": ""});
        let start = json!({"type": "content_block_start", "index": index, "content_block": block});
        self.begin = format!("event: content_block_start\ndata: {start}\n\n").into_bytes();
    }

    fn write(&mut self, event: &Event<'_>) {
        match event {
            Event::Begin(Begin::Other { json, .. }) => {
                self.is_begun = true;
                self.begin.clear();
                self.out.extend_from_slice(b"event: content_block_start\n");
                json.get().lines().for_each(|line| self.out.extend_from_slice(format!("data: {line}\n").as_bytes()));
                self.out.push(b'\n');
            }
            Event::Begin(_) => {
                self.is_begun = true;
                self.out.append(&mut self.begin);
            }
            Event::Delta(Delta::Text(text)) => self.delta(text, "text_delta", "text"),
            Event::Delta(Delta::Input(text)) => self.delta(text, "input_json_delta", "partial_json"),
            Event::Delta(Delta::Thinking(text)) => self.delta(text, "thinking_delta", "thinking"),
            Event::End => {
                self.is_begun = false;
                self.pass();
            }
            _ => self.pass(),
        }
    }

    fn delta(&mut self, text: &str, kind: &str, member: &str) {
        if self.text == text && !text.is_empty() {
            self.text.clear();
            return self.pass();
        }
        let delta = json!({"type": kind, member: text});
        self.event("content_block_delta", &json!({"type": "content_block_delta", "index": self.index, "delta": delta}));
    }

    fn event(&mut self, name: &str, data: &serde_json::Value) {
        self.out.extend_from_slice(format!("event: {name}\ndata: {data}\n\n").as_bytes());
    }

    // Ends the answer as if the model had: a client that is told of an error asks again at once.
    fn end(&mut self, sentence: &str, counters: &Counters) {
        if self.is_begun {
            self.event("content_block_stop", &json!({"type": "content_block_stop", "index": self.index}));
            self.index = self.index.saturating_add(1);
        }
        let index = self.index;
        let block = json!({"type": "text", "text": ""});
        self.event(
            "content_block_start",
            &json!({"type": "content_block_start", "index": index, "content_block": block}),
        );
        let delta = json!({"type": "text_delta", "text": sentence});
        self.event("content_block_delta", &json!({"type": "content_block_delta", "index": index, "delta": delta}));
        self.event("content_block_stop", &json!({"type": "content_block_stop", "index": index}));
        let delta = json!({"stop_reason": "end_turn", "stop_sequence": null});
        let usage = json!({"output_tokens": counters.output});
        self.event("message_delta", &json!({"type": "message_delta", "delta": delta, "usage": usage}));
        self.event("message_stop", &json!({"type": "message_stop"}));
    }
}
