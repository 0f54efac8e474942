//! Reads a streamed answer into the hub: whole `GenerateContentResponse`s, each with the next parts.

use super::{
    error,
    framing::Chunks,
    grounding::{WireGrounding, attach},
    message::{MALFORMED, WireAnswer, WireCandidate, call_prefix, cited, first, grounding, is_malformed, stop},
    part::{self, Calls},
    partial::Arguments,
    seal,
    usage::WireUsage,
    wire::{WireCall, WirePart},
};
use crate::{
    dialects::{Dialect, UNREADABLE_STREAM, read::each},
    error::ErrorClass,
    hub::{Begin, Block, Delta, Event, Json, Signature, Stop, StreamDecoder, Text},
};
use serde_json::value::RawValue;

/// Reads the stream. An answer ends with its `finishReason`; whether more counters follow shows at the end of the bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    chunks: Chunks,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    is_started: bool,
    is_over: bool,
    open: Open,
    calls: Calls<'static>,
    has_calls: bool,
    usage: WireUsage,
    // Why the answer ended, as the API's word.
    finished: Option<String>,
    is_refused: bool,
    grounding: Option<Json<'static>>,
    citations: Option<Json<'static>>,
}

/// The block that is open.
#[derive(Debug, Default)]
enum Open {
    #[default]
    None,
    Text,
    Thinking,
    Call(Arguments),
}

type Sink<'s> = dyn FnMut(Event<'_>) + 's;

impl StreamDecoder for Decoder {
    fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
        let Self { chunks, state } = self;
        chunks.push(bytes, &mut |chunk| state.take(chunk, sink));
    }

    fn end(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        self.state.end(sink);
    }
}

impl State {
    fn take(&mut self, chunk: Option<&[u8]>, sink: &mut Sink<'_>) {
        if self.is_over {
            return;
        }
        let wire = chunk.and_then(|chunk| serde_json::from_slice::<WireAnswer<'_>>(chunk).ok());
        if wire.and_then(|wire| self.read(wire, chunk.unwrap_or_default(), sink)).is_none() {
            self.fail(ErrorClass::Api, UNREADABLE_STREAM, sink);
        }
    }

    fn fail(&mut self, class: ErrorClass, message: &str, sink: &mut Sink<'_>) {
        self.is_over = true;
        sink(Event::Failed { class, message: message.into() });
    }

    // `None`: it cannot be read.
    fn read(&mut self, wire: WireAnswer<'_>, chunk: &[u8], sink: &mut Sink<'_>) -> Option<()> {
        let WireAnswer { candidates, prompt_feedback, usage_metadata, model_version, response_id, error } = wire;
        if let Some(json) = error {
            let (class, message) = error::streamed(&json);
            self.fail(class, &message, sink);
            return Some(());
        }
        self.usage.take(usage_metadata.unwrap_or_default());
        if !std::mem::replace(&mut self.is_started, true) {
            let (id, model) = (response_id.unwrap_or_default(), model_version.unwrap_or_default());
            self.calls = Calls::new(call_prefix(&id, chunk));
            sink(Event::Start { id, model, usage: self.usage.usage(0) });
        }
        self.is_refused |= prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some());
        let Some(candidate) = candidates.and_then(first) else { return Some(()) };
        let WireCandidate { content, finish_reason, grounding_metadata, citation_metadata, .. } = candidate;
        if let Some(raw) = content.and_then(|content| content.parts).and_then(|parts| parts.raw()) {
            for raw in each("parts", raw, Ok).ok()? {
                self.part(raw, sink)?;
            }
        }
        self.grounding = grounding_metadata.map(Json::into_owned).or(self.grounding.take());
        self.citations = citation_metadata.map(Json::into_owned).or(self.citations.take());
        if finish_reason.as_deref().is_some_and(is_malformed) {
            self.fail(ErrorClass::Api, MALFORMED, sink);
            return Some(());
        }
        self.finished = finish_reason.map(|word| word.to_string()).or(self.finished.take());
        Some(())
    }

    fn part(&mut self, raw: &RawValue, sink: &mut Sink<'_>) -> Option<()> {
        let mut wire: WirePart<'_> = serde_json::from_str(raw.get()).ok()?;
        let signature = wire.thought_signature.take().filter(|seal| !seal.is_empty()).map(seal::read);
        if let Some(call) = wire.function_call {
            return self.call(call, signature, sink);
        }
        let is_thought = wire.thought == Some(true);
        match wire.text {
            Some(text) => self.text(text, is_thought, signature, sink),
            None if is_thought => {
                self.close(sink);
                if let Some(data) = signature {
                    sink(Event::Begin(Begin::RedactedThinking { data }));
                    sink(Event::End);
                }
            }
            None => self.other(raw, signature, sink)?,
        }
        Some(())
    }

    // Text that is sealed, and nothing else, ends with its seal.
    fn text(&mut self, text: Text<'_>, is_thought: bool, signature: Option<Signature<'_>>, sink: &mut Sink<'_>) {
        if !text.is_empty() {
            self.open(if is_thought { Open::Thinking } else { Open::Text }, sink);
            sink(Event::Delta(if is_thought { Delta::Thinking(text) } else { Delta::Text(text) }));
        }
        if let Some(seal) = signature {
            self.open_sealed(is_thought, sink);
            sink(Event::Delta(Delta::Signature(seal)));
            self.close(sink);
        }
    }

    // A thought's seal belongs to the thought; a text's has thinking of its own behind it.
    fn open_sealed(&mut self, is_thought: bool, sink: &mut Sink<'_>) {
        if !is_thought {
            self.close(sink);
        }
        self.open(Open::Thinking, sink);
    }

    fn call(&mut self, call: WireCall<'_>, signature: Option<Signature<'_>>, sink: &mut Sink<'_>) -> Option<()> {
        let WireCall { id, name, args, partial_args, will_continue } = call;
        let will_continue = will_continue.unwrap_or_default();
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            self.close(sink);
            self.has_calls = true;
            let id = self.calls.call(id.map(Text::into_owned), &name.lend().into_owned());
            let (foreign, signature) = match signature {
                Some(seal) if seal.dialect != Dialect::Gemini => (Some(seal), None),
                own => (None, own),
            };
            if let Some(seal) = foreign {
                self.text(Text::default(), true, Some(seal), sink);
            }
            sink(Event::Begin(Begin::ToolUse { id, name, signature }));
            self.open = Open::Call(Arguments::default());
        }
        let Open::Call(arguments) = &mut self.open else {
            // The end of a call that ended already.
            return Some(());
        };
        for piece in partial_args.unwrap_or_default() {
            arguments.take(piece)?;
        }
        if let Some(args) = args.filter(|args| args.get() != "null") {
            self.open = Open::None;
            sink(Event::Delta(Delta::Input(args.get().into())));
            sink(Event::End);
        } else if !will_continue {
            self.close(sink);
        }
        Some(())
    }

    // What is no text: media, code that the provider ran, and what the API adds.
    fn other(&mut self, raw: &RawValue, signature: Option<Signature<'_>>, sink: &mut Sink<'_>) -> Option<()> {
        let mut blocks = Vec::new();
        part::part(raw, &mut Calls::default(), &mut blocks).ok()?;
        for block in blocks {
            let (kind, json) = match block {
                Block::Other { kind, json } => (kind, json),
                Block::Media(_) => ("media".into(), Json::parse(raw.get()).ok()?),
                _ => continue,
            };
            self.close(sink);
            sink(Event::Begin(Begin::Other { kind, json }));
            sink(Event::End);
        }
        if signature.is_some() {
            self.text(Text::default(), false, signature, sink);
        }
        Some(())
    }

    fn open(&mut self, block: Open, sink: &mut Sink<'_>) {
        let begin = match (&self.open, &block) {
            (Open::Text, Open::Text) | (Open::Thinking, Open::Thinking) => return,
            (_, Open::Thinking) => Begin::Thinking,
            _ => Begin::Text,
        };
        self.close(sink);
        sink(Event::Begin(begin));
        self.open = block;
    }

    fn close(&mut self, sink: &mut Sink<'_>) {
        match std::mem::take(&mut self.open) {
            Open::None => {}
            Open::Text | Open::Thinking => sink(Event::End),
            Open::Call(arguments) => {
                sink(Event::Delta(Delta::Input(arguments.written().into())));
                sink(Event::End);
            }
        }
    }

    fn end(&mut self, sink: &mut Sink<'_>) {
        let word = self.finished.take();
        if self.is_over || (word.is_none() && !self.is_refused) {
            return;
        }
        self.is_over = true;
        let web_searches = self.cite(sink);
        self.close(sink);
        let stop = word.map_or(Stop::Refusal, |word| stop(word.into(), self.has_calls));
        sink(Event::Stop { stop, usage: self.usage.usage(web_searches) });
        sink(Event::Done);
    }

    // Tells the sources of the answer at its last text; how often the web was searched.
    fn cite(&mut self, sink: &mut Sink<'_>) -> u64 {
        let (grounding_metadata, citation_metadata) = (self.grounding.take(), self.citations.take());
        let told = grounding(grounding_metadata.as_ref().map(Json::get));
        let web_searches = told.as_ref().map(WireGrounding::web_searches).unwrap_or_default();
        let mut blocks = Vec::new();
        let sources = told.map(WireGrounding::citations).unwrap_or_default();
        attach(&mut blocks, sources);
        attach(
            &mut blocks,
            cited(citation_metadata.as_ref().map(Json::get)).map(|citation| (None, citation)).collect(),
        );
        for block in blocks {
            let Block::Text { citations, .. } = block else { continue };
            self.open(Open::Text, sink);
            citations.into_iter().for_each(|citation| sink(Event::Delta(Delta::Citation(citation))));
        }
        web_searches
    }
}
