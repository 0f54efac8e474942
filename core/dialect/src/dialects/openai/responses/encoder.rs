//! Writes a streamed `Response` from the hub.
//!
//! Each block is an item. The events that end one repeat all that it said, and the last one of the stream repeats every item: what is said is
//! kept until then, appended piece by piece, and is as long as the answer.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    error::code,
    freeform::Unwrapper,
    message::{Billed, Failed, Reason, Response, billed, status},
    say::{COMPLETED, annotation, call, call_prefix, made_id, message, reasoning, sealed, text},
    seal,
    wire::{Annotation, Item, Part},
};
use crate::hub::{Begin, Citation, Delta, Event, FormKind, Forms, Signature, Stop, StreamEncoder, Text, Usage};

/// Writes the stream.
#[derive(Debug, Default)]
pub struct Encoder {
    // What the tools are for the client.
    forms: Forms,
    sequence: u64,
    // The place of the open item in the output, or of the next one.
    index: u64,
    id: String,
    model: String,
    open: Option<Open>,
    // The items that are whole, as JSON, with commas between them.
    output: Vec<u8>,
    // Why the answer ended, and what it used; it is told once nothing can go wrong any more.
    stop: Option<(Stop<'static>, Usage)>,
}

#[derive(Debug)]
struct Open {
    kind: Kind,
    item_id: Text<'static>,
    is_announced: bool,
    // Its text, or the arguments of its call.
    said: String,
    // Characters of the text.
    chars: usize,
    annotations: Vec<Annotation<'static>>,
    signature: Option<Signature<'static>>,
    // Of the call of a tool.
    call_id: String,
    name: String,
    unwrapper: Unwrapper,
    // What of a custom tool's input was told.
    unwrapped: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Text,
    Thinking,
    Call,
}

/// An event. Which fields it has depends on its type.
#[derive(Default, Serialize)]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    sequence_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotation_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotation: Option<&'a Annotation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<Part<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<Item<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Response<'a, &'a RawValue>>,
}

/// What a response came to.
#[derive(Default)]
struct Outcome<'a> {
    error: Option<Failed<'a>>,
    incomplete_details: Option<Reason>,
    usage: Option<Billed>,
}

impl Encoder {
    /// A writer for the client of a request whose tools have these forms.
    #[must_use]
    pub fn new(forms: Forms) -> Self {
        Self { forms, ..Self::default() }
    }
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, usage: _ } => {
                (self.id, self.model) = (id.to_string(), model.to_string());
                self.respond("response.created", "in_progress", Outcome::default(), out);
                self.respond("response.in_progress", "in_progress", Outcome::default(), out);
            }
            Event::Begin(begin) => self.begin(begin, out),
            Event::Delta(delta) => self.delta(delta, out),
            Event::End => self.end(out),
            Event::Stop { stop, usage } => self.stop = Some((owned(stop), *usage)),
            Event::Done => self.done(out),
            // A comment keeps the connection alive, and no client takes it for an event.
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::Failed { class, message } => {
                let error = Some(Failed { code: code(*class, message), message });
                self.respond("response.failed", "failed", Outcome { error, ..Outcome::default() }, out);
            }
        }
    }
}

impl Encoder {
    fn respond(&mut self, kind: &'static str, status: &'static str, outcome: Outcome<'_>, out: &mut Vec<u8>) {
        let output = [b"[", &*self.output, b"]"].concat();
        let output = String::from_utf8(output).ok().and_then(|output| RawValue::from_string(output).ok());
        let Some(output) = output else { return };
        let Outcome { error, incomplete_details, usage } = outcome;
        let response = Response::new(&self.id, &self.model, status, &*output);
        let response = Response { error, incomplete_details, usage, ..response };
        send(&mut self.sequence, Wire { kind, response: Some(response), ..Wire::default() }, out);
    }

    fn begin(&mut self, begin: &Begin<'_>, out: &mut Vec<u8>) {
        self.open = None;
        let (kind, prefix) = match begin {
            Begin::Text => (Kind::Text, "msg"),
            Begin::Thinking => (Kind::Thinking, seal::MADE_ID),
            Begin::RedactedThinking { data } => {
                return self.item(reasoning("", None, Some(seal::keep_redacted(data))), out);
            }
            Begin::ToolUse { name, signature, .. } => {
                // A call has no place for a seal here: thinking without text goes ahead of it and bears the seal.
                if let Some(seal) = signature {
                    self.item(sealed("", Some(seal), None), out);
                }
                (Kind::Call, call_prefix(self.forms.get(name)))
            }
            // What is another dialect's own, the client is not told of.
            Begin::Other { .. } => return,
        };
        let mut open = Open::new(kind, made_id(prefix, &self.id, self.index));
        if let Begin::ToolUse { id, name, .. } = begin {
            (open.call_id, open.name) = (id.to_string(), name.to_string());
            self.announce(&mut open, out);
        }
        self.open = Some(open);
    }

    // Writes an item of reasoning that is whole at once.
    fn item(&mut self, item: Item<'_>, out: &mut Vec<u8>) {
        let id = item.id.clone().unwrap_or_else(|| made_id(seal::MADE_ID, &self.id, self.index));
        self.added(reasoning("", Some(id.lend()), None), out);
        self.keep(Item { id: Some(id), ..item }, out);
    }

    fn added(&mut self, item: Item<'_>, out: &mut Vec<u8>) {
        let wire = Wire { output_index: Some(self.index), item: Some(item), ..Wire::of("response.output_item.added") };
        send(&mut self.sequence, wire, out);
    }

    // Tells of the end of an item, and keeps it for the end of the stream.
    fn keep(&mut self, item: Item<'_>, out: &mut Vec<u8>) {
        if !self.output.is_empty() {
            self.output.push(b',');
        }
        // Texts and numbers have a JSON form.
        let _ = serde_json::to_writer(&mut self.output, &item);
        let wire = Wire { output_index: Some(self.index), item: Some(item), ..Wire::of("response.output_item.done") };
        send(&mut self.sequence, wire, out);
        self.index += 1;
    }

    // The item begins for the client: a text or thinking with its first word, so that none is empty.
    fn announce(&mut self, open: &mut Open, out: &mut Vec<u8>) {
        if std::mem::replace(&mut open.is_announced, true) {
            return;
        }
        let (id, status) = (Some(open.item_id.clone()), Some("in_progress"));
        match open.kind {
            Kind::Text => {
                let item =
                    Item { kind: "message", role: Some("assistant"), content: Some(Vec::new()), ..Item::default() };
                self.added(Item { id, status, ..item }, out);
                let wire =
                    Wire { part: Some(text("", Vec::new())), ..self.content("response.content_part.added", open) };
                send(&mut self.sequence, wire, out);
            }
            Kind::Thinking => self.added(reasoning("", id, None), out),
            Kind::Call => {
                let form = self.forms.get(&open.name).cloned();
                self.added(Item { id, status, ..call(form.as_ref(), &open.call_id, &open.name, "") }, out);
            }
        }
    }

    fn delta(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let Some(mut open) = self.open.take() else { return };
        match (delta, open.kind) {
            (Delta::Text(said), Kind::Text) if !said.is_empty() => {
                self.announce(&mut open, out);
                open.said.push_str(said);
                open.chars += said.chars().count();
                let wire = self.content("response.output_text.delta", &open);
                send(&mut self.sequence, Wire { delta: Some(said), logprobs: Some([]), ..wire }, out);
            }
            (Delta::Citation(citation), Kind::Text) if citation.url.is_some() => {
                self.announce(&mut open, out);
                self.cited(citation, &mut open, out);
            }
            (Delta::Thinking(said), Kind::Thinking) if !said.is_empty() => {
                self.announce(&mut open, out);
                if open.said.is_empty() {
                    let wire = self.summary("response.reasoning_summary_part.added", &open);
                    send(&mut self.sequence, Wire { part: Some(summary("")), ..wire }, out);
                }
                open.said.push_str(said);
                let wire = self.summary("response.reasoning_summary_text.delta", &open);
                send(&mut self.sequence, Wire { delta: Some(said), ..wire }, out);
            }
            (Delta::Signature(seal), Kind::Thinking) => {
                self.announce(&mut open, out);
                open.signature = Some(Signature::new(seal.dialect, seal.seal.clone().into_owned()));
            }
            (Delta::Input(piece), Kind::Call) if !piece.is_empty() => self.argued(piece, &mut open, out),
            _ => {}
        }
        self.open = Some(open);
    }

    fn argued(&mut self, piece: &str, open: &mut Open, out: &mut Vec<u8>) {
        open.said.push_str(piece);
        match self.forms.get(&open.name).map(|form| &form.kind) {
            None | Some(FormKind::Function) => {
                let wire = self.at("response.function_call_arguments.delta", open);
                send(&mut self.sequence, Wire { delta: Some(piece), ..wire }, out);
            }
            Some(FormKind::Freeform { .. }) => {
                let before = open.unwrapped.len();
                open.unwrapper.push(piece, &mut open.unwrapped);
                let more = open.unwrapped.get(before..).filter(|more| !more.is_empty());
                if more.is_some() {
                    let wire = self.at("response.custom_tool_call_input.delta", open);
                    send(&mut self.sequence, Wire { delta: more, ..wire }, out);
                }
            }
            // The client gets these whole.
            Some(FormKind::Search | FormKind::Shell) => {}
        }
    }

    fn cited(&mut self, citation: &Citation<'_>, open: &mut Open, out: &mut Vec<u8>) {
        let Some(Annotation { url, title, kind, start_index, end_index }) = annotation(citation, open.chars) else {
            return;
        };
        let annotation = Annotation { url: url.into_owned(), title: title.into_owned(), kind, start_index, end_index };
        let wire = self.content("response.output_text.annotation.added", open);
        let annotation_index = Some(open.annotations.len());
        send(&mut self.sequence, Wire { annotation_index, annotation: Some(&annotation), ..wire }, out);
        open.annotations.push(annotation);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let Some(open) = self.open.take().filter(|open| open.is_announced) else { return };
        let (id, said) = (open.item_id.lend(), open.said.as_str());
        match open.kind {
            Kind::Text => {
                let annotations = || open.annotations.clone();
                let wire = self.content("response.output_text.done", &open);
                send(&mut self.sequence, Wire { text: Some(said), logprobs: Some([]), ..wire }, out);
                let wire = self.content("response.content_part.done", &open);
                send(&mut self.sequence, Wire { part: Some(text(said, annotations())), ..wire }, out);
                let item = message(text(said, annotations()));
                self.keep(Item { id: Some(id), status: Some(COMPLETED), ..item }, out);
            }
            Kind::Thinking => {
                if !said.is_empty() {
                    let wire = self.summary("response.reasoning_summary_text.done", &open);
                    send(&mut self.sequence, Wire { text: Some(said), ..wire }, out);
                    let wire = self.summary("response.reasoning_summary_part.done", &open);
                    send(&mut self.sequence, Wire { part: Some(summary(said)), ..wire }, out);
                }
                self.keep(sealed(said, open.signature.as_ref(), Some(id)), out);
            }
            Kind::Call => self.end_call(&open, out),
        }
    }

    fn end_call(&mut self, open: &Open, out: &mut Vec<u8>) {
        let form = self.forms.get(&open.name).cloned();
        let arguments = if open.said.is_empty() { "{}" } else { &open.said };
        let item = call(form.as_ref(), &open.call_id, &open.name, arguments);
        match form.as_ref().map(|form| &form.kind) {
            None | Some(FormKind::Function) => {
                let wire = self.at("response.function_call_arguments.done", open);
                let wire = Wire { name: item.name.as_deref(), arguments: Some(arguments), ..wire };
                send(&mut self.sequence, wire, out);
            }
            Some(FormKind::Freeform { .. }) => {
                let input = item.input.as_deref().unwrap_or_default();
                let more = input.strip_prefix(&*open.unwrapped).filter(|more| !more.is_empty());
                if more.is_some() {
                    let wire = self.at("response.custom_tool_call_input.delta", open);
                    send(&mut self.sequence, Wire { delta: more, ..wire }, out);
                }
                let wire = self.at("response.custom_tool_call_input.done", open);
                send(&mut self.sequence, Wire { input: Some(input), ..wire }, out);
            }
            Some(FormKind::Search | FormKind::Shell) => {}
        }
        self.keep(Item { id: Some(open.item_id.lend()), status: Some(COMPLETED), ..item }, out);
    }

    fn done(&mut self, out: &mut Vec<u8>) {
        let (stop, usage) = self.stop.take().unwrap_or((Stop::EndTurn, Usage::default()));
        let (status, incomplete_details) = status(Some(&stop));
        let kind = if incomplete_details.is_some() { "response.incomplete" } else { "response.completed" };
        let outcome = Outcome { incomplete_details, usage: Some(billed(&usage)), error: None };
        self.respond(kind, status, outcome, out);
    }

    fn at<'a>(&self, kind: &'static str, open: &'a Open) -> Wire<'a> {
        Wire { output_index: Some(self.index), item_id: Some(&open.item_id), ..Wire::of(kind) }
    }

    fn content<'a>(&self, kind: &'static str, open: &'a Open) -> Wire<'a> {
        Wire { content_index: Some(0), ..self.at(kind, open) }
    }

    fn summary<'a>(&self, kind: &'static str, open: &'a Open) -> Wire<'a> {
        Wire { summary_index: Some(0), ..self.at(kind, open) }
    }
}

impl Wire<'_> {
    fn of(kind: &'static str) -> Self {
        Self { kind, ..Self::default() }
    }
}

impl Open {
    fn new(kind: Kind, item_id: Text<'static>) -> Self {
        Self {
            kind,
            item_id,
            is_announced: false,
            said: String::new(),
            chars: 0,
            annotations: Vec::new(),
            signature: None,
            call_id: String::new(),
            name: String::new(),
            unwrapper: Unwrapper::default(),
            unwrapped: String::new(),
        }
    }
}

fn summary(text: &str) -> Part<'_> {
    Part { kind: "summary_text", text: Some(text.into()), ..Part::default() }
}

// Only the words that the status depends on are of any use by then.
fn owned(stop: &Stop<'_>) -> Stop<'static> {
    match stop {
        Stop::EndTurn => Stop::EndTurn,
        Stop::MaxTokens => Stop::MaxTokens,
        Stop::ContextWindow => Stop::ContextWindow,
        Stop::Sequence { .. } => Stop::Sequence { text: None },
        Stop::ToolUse => Stop::ToolUse,
        Stop::Pause => Stop::Pause,
        Stop::Refusal => Stop::Refusal,
        Stop::Other { word } => Stop::Other { word: word.clone().into_owned() },
    }
}

fn send(sequence: &mut u64, wire: Wire<'_>, out: &mut Vec<u8>) {
    let wire = Wire { sequence_number: *sequence, ..wire };
    *sequence += 1;
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(wire.kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    // Texts and numbers have a JSON form.
    let _ = serde_json::to_writer(&mut *out, &wire);
    out.extend_from_slice(b"\n\n");
}
