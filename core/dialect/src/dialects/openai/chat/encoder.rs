//! Writes a streamed completion from the hub.

use serde::Serialize;

use super::{
    super::{error::said, usage::Billed},
    call::Extra,
    message::finish_reason,
    reasoning::{Detail, is_packed},
    wire::Annotation,
};
use crate::{
    dialects::Dialect,
    hub::{Begin, Delta, Event, Signature, StreamEncoder, Usage},
};

/// Writes the stream.
#[derive(Debug)]
pub struct Encoder {
    /// What each chunk begins with.
    head: Vec<u8>,
    hides_usage: bool,
    open: Open,
    /// How many calls and how many entries of `reasoning_details` came so far.
    calls: u64,
    details: u64,
    /// How many characters of content came before the open block, and with it.
    before: usize,
    behind: usize,
}

#[derive(Debug, Default)]
enum Open {
    #[default]
    Nothing,
    Thinking,
    Call {
        has_arguments: bool,
    },
    /// A block that no client of this dialect is told of.
    Hidden,
}

#[derive(Serialize)]
struct Head<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
}

#[derive(Default, Serialize)]
struct Said<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_details: Option<[Detail<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Call<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<[Annotation<'a>; 1]>,
}

#[derive(Serialize)]
struct Call<'a> {
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: Function<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<Extra<'a>>,
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Failed<'a> {
    error: super::super::error::Said<'a>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { head: head("", ""), hides_usage: false, open: Open::Nothing, calls: 0, details: 0, before: 0, behind: 0 }
    }
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, usage: _ } => {
                self.head = head(id, model);
                self.delta(&Said { role: Some("assistant"), content: Some(""), ..Said::default() }, out);
            }
            Event::Begin(begin) => self.begin(begin, out),
            Event::Delta(delta) => self.more(delta, out),
            Event::End => self.end(out),
            Event::Stop { stop, usage } => {
                self.choice(&Said::default(), Some(finish_reason(stop, self.calls > 0)), out);
                if !self.hides_usage {
                    self.usage(usage, out);
                }
            }
            Event::Done => out.extend_from_slice(b"data: [DONE]\n\n"),
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::Failed { class, message } => {
                out.extend_from_slice(b"data: ");
                write(&Failed { error: said(*class, message) }, out);
                out.extend_from_slice(b"\n\n");
            }
        }
    }

    fn hide_usage(&mut self) {
        self.hides_usage = true;
    }
}

impl Encoder {
    fn begin(&mut self, begin: &Begin<'_>, out: &mut Vec<u8>) {
        self.open = match begin {
            Begin::Text => {
                self.before = self.behind;
                Open::Nothing
            }
            Begin::Thinking => Open::Thinking,
            Begin::RedactedThinking { data } => {
                self.detail(Detail::encrypted(data.enclose(Dialect::OpenAiChat), self.details), out);
                Open::Thinking
            }
            Begin::ToolUse { id, name, signature } => {
                self.call(id, name, signature.as_ref(), out);
                Open::Call { has_arguments: false }
            }
            Begin::Other { .. } => Open::Hidden,
        };
    }

    fn call(&mut self, id: &str, name: &str, signature: Option<&Signature<'_>>, out: &mut Vec<u8>) {
        let own = signature.and_then(|seal| seal.for_provider(Dialect::OpenAiChat)).filter(|seal| !is_packed(seal));
        if let Some(seal) = signature.filter(|_| own.is_none()) {
            self.detail(Detail::of_call(seal.enclose(Dialect::OpenAiChat), id, self.details), out);
            self.details += 1;
        }
        let call = Call {
            index: self.calls,
            id: Some(id),
            kind: Some("function"),
            function: Function { name: Some(name), arguments: "" },
            extra_content: own.map(Extra::bearing),
        };
        self.delta(&Said { tool_calls: Some([call]), ..Said::default() }, out);
    }

    fn more(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        match delta {
            _ if matches!(self.open, Open::Hidden) => {}
            // Some dialects begin a block with a piece of nothing.
            Delta::Text(text) | Delta::Thinking(text) | Delta::Input(text) if text.is_empty() => {}
            Delta::Text(text) => {
                self.behind += text.chars().count();
                self.delta(&Said { content: Some(text), ..Said::default() }, out);
            }
            Delta::Thinking(text) => {
                let details = Some([Detail::text(text, self.details)]);
                let said = Said { reasoning_content: Some(text), reasoning_details: details, ..Said::default() };
                self.delta(&said, out);
            }
            Delta::Signature(seal) => self.detail(Detail::seal(seal.enclose(Dialect::OpenAiChat), self.details), out),
            Delta::Input(arguments) => {
                self.open = Open::Call { has_arguments: true };
                self.arguments(arguments, out);
            }
            Delta::Citation(citation) => {
                let annotation = Annotation::of(citation, self.before, self.behind);
                if let Some(annotation) = annotation {
                    self.delta(&Said { annotations: Some([annotation]), ..Said::default() }, out);
                }
            }
            Delta::Other(_) => {}
        }
    }

    // Clients read the arguments as JSON: a call without any is given an empty object.
    fn end(&mut self, out: &mut Vec<u8>) {
        match std::mem::take(&mut self.open) {
            Open::Call { has_arguments } => {
                if !has_arguments {
                    self.arguments("{}", out);
                }
                self.calls += 1;
            }
            Open::Thinking => self.details += 1,
            Open::Nothing | Open::Hidden => {}
        }
    }

    fn arguments(&self, arguments: &str, out: &mut Vec<u8>) {
        let function = Function { name: None, arguments };
        let call = Call { index: self.calls, id: None, kind: None, function, extra_content: None };
        self.delta(&Said { tool_calls: Some([call]), ..Said::default() }, out);
    }

    fn detail(&self, detail: Detail<'_>, out: &mut Vec<u8>) {
        self.delta(&Said { reasoning_details: Some([detail]), ..Said::default() }, out);
    }

    fn delta(&self, said: &Said<'_>, out: &mut Vec<u8>) {
        self.choice(said, None, out);
    }

    fn choice(&self, said: &Said<'_>, finish_reason: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&self.head);
        out.extend_from_slice(br#","choices":[{"index":0,"delta":"#);
        write(said, out);
        out.extend_from_slice(br#","logprobs":null,"finish_reason":"#);
        write(&finish_reason, out);
        out.extend_from_slice(b"}]}\n\n");
    }

    fn usage(&self, usage: &Usage, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&self.head);
        out.extend_from_slice(br#","choices":[],"usage":"#);
        write(&Billed::of(usage), out);
        out.extend_from_slice(b"}\n\n");
    }
}

// The object that each chunk is, open for its choices.
fn head(id: &str, model: &str) -> Vec<u8> {
    let mut head = Vec::with_capacity(128);
    write(&Head { id, object: "chat.completion.chunk", created: 0, model }, &mut head);
    head.pop();
    head
}

fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    // Texts and numbers have a JSON form.
    let _ = serde_json::to_writer(&mut *out, value);
}
