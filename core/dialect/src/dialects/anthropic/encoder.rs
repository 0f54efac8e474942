//! Writes a streamed `Message` from the hub.

use serde::Serialize;

use super::{
    block::citation,
    message::{Billed, billed, stop_words},
    say::error_type,
};
use crate::{
    dialects::Dialect,
    hub::{Begin, Delta, Event, Json, Signature, StreamEncoder, spelling::spelled},
};

/// Writes the stream.
#[derive(Debug, Default)]
pub struct Encoder {
    // The index of the block that is open, or of the next one.
    index: u64,
    // The open block is none that a client of this dialect is told of.
    is_hidden: bool,
    // A tool was called.
    has_call: bool,
    // The block before was text.
    is_behind_text: bool,
    // Thinking behind a text, of which nothing is written yet.
    waiting: Option<Waiting>,
}

/// Thinking without text behind a text is how another provider seals that text. It is written once something follows: clients take the
/// last block of a message for what it says, and would show nothing.
#[derive(Debug, Default)]
struct Waiting {
    seal: Option<Signature<'static>>,
    is_over: bool,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Wire<'a> {
    MessageStart { message: Started<'a> },
    ContentBlockStart { index: u64, content_block: Opened<'a> },
    ContentBlockDelta { index: u64, delta: More<'a> },
    ContentBlockStop { index: u64 },
    MessageDelta { delta: Stopped<'a>, usage: Billed },
    MessageStop,
    Ping,
    Error { error: Failed<'a> },
}

#[derive(Serialize)]
struct Started<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: [(); 0],
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'static str>,
    usage: Billed,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Opened<'a> {
    Text { text: &'static str },
    Thinking { thinking: &'static str, signature: &'static str },
    RedactedThinking { data: &'a str },
    ToolUse { id: &'a str, name: &'a str, input: Empty },
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(tag = "type")]
enum More<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "input_json_delta")]
    Input { partial_json: &'a str },
    #[serde(rename = "citations_delta")]
    Citation { citation: Json<'a> },
}

#[derive(Serialize)]
struct Stopped<'a> {
    stop_reason: &'a str,
    stop_sequence: Option<&'a str>,
}

#[derive(Serialize)]
struct Failed<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, usage } => {
                let message = Started {
                    id,
                    kind: "message",
                    role: "assistant",
                    model,
                    content: [],
                    stop_reason: None,
                    stop_sequence: None,
                    usage: billed(usage),
                };
                write("message_start", &Wire::MessageStart { message }, out);
            }
            Event::Begin(begin) => self.begin(begin, out),
            Event::Delta(delta) => self.delta(delta, out),
            Event::End => self.end(out),
            Event::Stop { stop, usage } => {
                let (stop_reason, stop_sequence) = stop_words(stop, self.has_call);
                let delta = Stopped { stop_reason, stop_sequence };
                write("message_delta", &Wire::MessageDelta { delta, usage: billed(usage) }, out);
            }
            Event::Done => write("message_stop", &Wire::MessageStop, out),
            Event::Ping => write("ping", &Wire::Ping, out),
            Event::Failed { class, message } => {
                write("error", &Wire::Error { error: Failed { kind: error_type(*class), message } }, out);
            }
        }
    }
}

impl Encoder {
    fn begin(&mut self, begin: &Begin<'_>, out: &mut Vec<u8>) {
        self.go_on(out);
        let is_behind_text = std::mem::replace(&mut self.is_behind_text, matches!(begin, Begin::Text));
        match begin {
            Begin::Thinking if is_behind_text => self.waiting = Some(Waiting::default()),
            Begin::Text => self.open(Opened::Text { text: "" }, out),
            Begin::Thinking => self.open(Opened::Thinking { thinking: "", signature: "" }, out),
            Begin::RedactedThinking { data } => {
                self.open(Opened::RedactedThinking { data: &data.enclose(Dialect::Anthropic) }, out);
            }
            Begin::ToolUse { id, name, signature } => {
                if let Some(seal) = signature {
                    self.sealed(seal, out);
                }
                self.has_call = true;
                self.open(Opened::ToolUse { id: &spelled(id), name: &spelled(name), input: Empty {} }, out);
            }
            Begin::Other { .. } => self.is_hidden = true,
        }
    }

    // A tool's call has no place for a seal here: thinking without text goes ahead of it and bears the seal.
    fn sealed(&mut self, seal: &Signature<'_>, out: &mut Vec<u8>) {
        self.open(Opened::Thinking { thinking: "", signature: "" }, out);
        self.delta(&Delta::Signature(seal.clone()), out);
        self.end(out);
    }

    // Writes what waits.
    fn go_on(&mut self, out: &mut Vec<u8>) {
        let Some(Waiting { seal, is_over }) = self.waiting.take() else { return };
        self.open(Opened::Thinking { thinking: "", signature: "" }, out);
        if let Some(seal) = seal {
            self.delta(&Delta::Signature(seal), out);
        }
        if is_over {
            self.end(out);
        }
    }

    fn open(&mut self, content_block: Opened<'_>, out: &mut Vec<u8>) {
        write("content_block_start", &Wire::ContentBlockStart { index: self.index, content_block }, out);
    }

    fn delta(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        if self.is_hidden {
            return;
        }
        match (&mut self.waiting, delta) {
            (Some(Waiting { seal, .. }), Delta::Signature(sealed)) if sealed.dialect != Dialect::Anthropic => {
                *seal = Some(Signature { dialect: sealed.dialect, seal: sealed.seal.clone().into_owned() });
                return;
            }
            (Some(_), _) => self.go_on(out),
            (None, _) => {}
        }
        let enclosed;
        let delta = match delta {
            Delta::Text(text) => More::Text { text },
            Delta::Thinking(thinking) => More::Thinking { thinking },
            Delta::Signature(seal) => {
                enclosed = seal.enclose(Dialect::Anthropic);
                More::Signature { signature: &enclosed }
            }
            Delta::Input(partial_json) => More::Input { partial_json },
            Delta::Citation(cited) => More::Citation { citation: citation(cited) },
            Delta::Other(_) => return,
        };
        write("content_block_delta", &Wire::ContentBlockDelta { index: self.index, delta }, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if let Some(Waiting { seal: Some(_), is_over }) = &mut self.waiting {
            *is_over = true;
            return;
        }
        self.go_on(out);
        if !std::mem::take(&mut self.is_hidden) {
            write("content_block_stop", &Wire::ContentBlockStop { index: self.index }, out);
            self.index += 1;
        }
    }
}

fn write(name: &str, wire: &Wire<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    // Texts and numbers have a JSON form.
    let _ = serde_json::to_writer(&mut *out, wire);
    out.extend_from_slice(b"\n\n");
}
