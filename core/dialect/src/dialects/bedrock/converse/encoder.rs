//! Writes a streamed answer from the hub.

use serde::Serialize;

use super::{
    citation,
    error::exception_type,
    message::{Additional, Metrics, additional, stop_word},
    seal,
    usage::WireUsage,
    wire::WireCitation,
};
use crate::{
    dialects::bedrock::frames,
    hub::{Begin, Delta, Event, Signature, StreamEncoder},
};

/// Writes the stream.
#[derive(Debug, Default)]
pub struct Encoder {
    // The index of the block that is open, or of the next one.
    index: u64,
    // Something of the open block has been written: text and thinking have no start of their own.
    is_said: bool,
    // The open block is none that a client of this dialect is told of.
    is_hidden: bool,
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Payload<'a> {
    Role {
        role: &'static str,
    },
    Start {
        start: Start<'a>,
        content_block_index: u64,
    },
    Delta {
        delta: More<'a>,
        content_block_index: u64,
    },
    End {
        content_block_index: u64,
    },
    Stop {
        stop_reason: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        additional_model_response_fields: Option<Additional<'a>>,
    },
    Metadata {
        usage: Box<WireUsage>,
        metrics: Metrics,
    },
    Failed {
        message: &'a str,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Start<'a> {
    ToolUse { tool_use_id: &'a str, name: &'a str },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum More<'a> {
    Text(&'a str),
    ToolUse { input: &'a str },
    ReasoningContent(Reasoned<'a>),
    Citation(Box<WireCitation<'a>>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Reasoned<'a> {
    Text(&'a str),
    Signature(&'a str),
    RedactedContent(&'a str),
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start { .. } => write("messageStart", &Payload::Role { role: "assistant" }, out),
            Event::Begin(begin) => self.begin(begin, out),
            Event::Delta(delta) => self.delta(delta, out),
            Event::End => self.end(out),
            Event::Stop { stop, usage } => {
                let payload =
                    Payload::Stop { stop_reason: stop_word(stop), additional_model_response_fields: additional(stop) };
                write("messageStop", &payload, out);
                let payload = Payload::Metadata { usage: Box::new(WireUsage::of(usage)), metrics: Metrics::default() };
                write("metadata", &payload, out);
            }
            // The API has nothing behind the usage, and nothing to say that a connection lives.
            Event::Done | Event::Ping => {}
            Event::Failed { class, message } => {
                frames::exception(exception_type(*class), out, |out| json(&Payload::Failed { message }, out));
            }
        }
    }
}

impl Encoder {
    fn begin(&mut self, begin: &Begin<'_>, out: &mut Vec<u8>) {
        match begin {
            Begin::RedactedThinking { data } => {
                self.more(More::ReasoningContent(Reasoned::RedactedContent(&seal::enclose_redacted(data))), out);
            }
            Begin::ToolUse { id, name, signature } => {
                // A tool's call has no place for a seal here: thinking without text goes ahead of it and bears the seal.
                if let Some(seal) = signature {
                    self.sealed(seal, out);
                    self.end(out);
                }
                self.is_said = true;
                let start = Start::ToolUse { tool_use_id: id, name };
                write("contentBlockStart", &Payload::Start { start, content_block_index: self.index }, out);
            }
            Begin::Text | Begin::Thinking => {}
            Begin::Other { .. } => self.is_hidden = true,
        }
    }

    fn delta(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        if self.is_hidden {
            return;
        }
        match delta {
            Delta::Text(text) => self.more(More::Text(text), out),
            Delta::Thinking(text) => self.more(More::ReasoningContent(Reasoned::Text(text)), out),
            Delta::Signature(seal) => self.sealed(seal, out),
            Delta::Input(input) => self.more(More::ToolUse { input }, out),
            Delta::Citation(cited) => self.more(More::Citation(Box::new(citation::written(cited))), out),
            Delta::Other(_) => {}
        }
    }

    fn sealed(&mut self, seal: &Signature<'_>, out: &mut Vec<u8>) {
        self.more(More::ReasoningContent(Reasoned::Signature(&seal::enclose(seal))), out);
    }

    fn more(&mut self, delta: More<'_>, out: &mut Vec<u8>) {
        self.is_said = true;
        write("contentBlockDelta", &Payload::Delta { delta, content_block_index: self.index }, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.is_hidden = false;
        if std::mem::take(&mut self.is_said) {
            write("contentBlockStop", &Payload::End { content_block_index: self.index }, out);
            self.index += 1;
        }
    }
}

fn write(kind: &str, payload: &Payload<'_>, out: &mut Vec<u8>) {
    frames::event(kind, out, |out| json(payload, out));
}

fn json(payload: &Payload<'_>, out: &mut Vec<u8>) {
    // Texts and numbers have a JSON form.
    let _ = serde_json::to_writer(out, payload);
}
