//! Writes a streamed answer from the hub: server-sent events as with `alt=sse`, or the elements of one JSON list as without.

use super::{
    encode::function_call,
    error::encode_error,
    grounding::Sources,
    message::{Written, WrittenCandidate, stop_word},
    seal,
    usage::WireUsage,
    wire::{Piece, Said, WirePart},
};
use crate::{
    dialects::Dialect,
    hub::{Begin, Delta, Event, Json, Signature, Stop, StreamEncoder, Text, ToolUse, Usage},
};

/// Writes the stream. Each chunk names the answer and the model, as the API's do.
#[derive(Debug, Default)]
pub struct Encoder {
    is_list: bool,
    chunks: u64,
    id: String,
    model: String,
    open: Open,
    // Another provider's seal, for the call that follows: some clients forget thoughts.
    riding: Option<Signature<'static>>,
    blocks: usize,
    text_bytes: usize,
    sources: Sources,
}

/// The block that is open, as far as it waits for its end.
#[derive(Debug, Default)]
enum Open {
    #[default]
    Other,
    /// The arguments are written whole.
    Call { id: Text<'static>, name: Text<'static>, signature: Option<Signature<'static>>, input: String },
}

impl Encoder {
    /// Writes one JSON list, as for a client that did not ask for `alt=sse`.
    #[must_use]
    pub fn list() -> Self {
        Self { is_list: true, ..Self::default() }
    }
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, usage: _ } => {
                self.id = id.to_string();
                self.model = model.to_string();
            }
            Event::Begin(begin) => self.begin(begin, out),
            Event::Delta(delta) => self.delta(delta, out),
            Event::End => self.end(out),
            Event::Stop { stop, usage } => self.stop(stop, usage, out),
            Event::Done => {
                if self.is_list {
                    out.extend_from_slice(if self.chunks == 0 { b"[]" } else { b"\n]" });
                }
            }
            Event::Ping => {}
            Event::Failed { class, message } => {
                self.frame(&encode_error(*class, message, ""), out);
                if self.is_list {
                    out.extend_from_slice(b"\n]");
                }
            }
        }
    }
}

impl Encoder {
    fn begin(&mut self, begin: &Begin<'_>, out: &mut Vec<u8>) {
        self.text_bytes = 0;
        self.open = match begin {
            Begin::ToolUse { id, name, signature } => {
                let signature = signature.as_ref().map(owned).or(self.riding.take());
                Open::Call {
                    id: id.clone().into_owned(),
                    name: name.clone().into_owned(),
                    signature,
                    input: String::new(),
                }
            }
            Begin::RedactedThinking { data } => {
                let wire = WirePart {
                    thought: Some(true),
                    thought_signature: Some(Text(seal::write(data))),
                    ..WirePart::default()
                };
                self.part(wire, out);
                self.ride(data);
                Open::Other
            }
            Begin::Text | Begin::Thinking | Begin::Other { .. } => Open::Other,
        };
    }

    fn delta(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let wire = match delta {
            Delta::Text(text) => {
                self.text_bytes = self.text_bytes.saturating_add(text.len());
                WirePart { text: Some(text.lend()), ..WirePart::default() }
            }
            Delta::Thinking(text) => WirePart { text: Some(text.lend()), thought: Some(true), ..WirePart::default() },
            Delta::Signature(seal) => {
                self.ride(seal);
                WirePart {
                    text: Some(Text::default()),
                    thought: Some(true),
                    thought_signature: Some(Text(seal::write(seal))),
                    ..WirePart::default()
                }
            }
            Delta::Input(more) => {
                if let Open::Call { input, .. } = &mut self.open {
                    input.push_str(more);
                }
                return;
            }
            Delta::Citation(citation) => return self.sources.cite(self.blocks, self.text_bytes, None, citation),
            Delta::Other(_) => return,
        };
        self.part(wire, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.blocks += 1;
        let Open::Call { id, name, signature, input } = std::mem::take(&mut self.open) else { return };
        // Arguments that are no JSON, or none at all, are left out.
        let input = Json::parse(&input).unwrap_or_else(|_| Json::empty_object());
        let call = ToolUse { id, name, input, signature: None, cache: None };
        let thought_signature = signature.as_ref().map(|seal| Text(seal::write(seal)));
        self.part(WirePart { thought_signature, ..function_call(&call) }, out);
    }

    fn stop(&mut self, stop: &Stop<'_>, usage: &Usage, out: &mut Vec<u8>) {
        let sources = std::mem::take(&mut self.sources);
        let candidate = WrittenCandidate {
            // Clients take an answer whose last chunk has no part for a broken one.
            content: said(WirePart { text: Some(Text::default()), ..WirePart::default() }),
            finish_reason: Some(stop_word(stop)),
            index: 0,
            grounding_metadata: sources.written(usage.counters.web_searches),
        };
        self.write(candidate, Some(WireUsage::of(usage)), out);
    }

    fn ride(&mut self, seal: &Signature<'_>) {
        if seal.dialect != Dialect::Gemini {
            self.riding = Some(owned(seal));
        }
    }

    fn part(&mut self, wire: WirePart<'_>, out: &mut Vec<u8>) {
        let content = said(wire);
        let candidate = WrittenCandidate { content, finish_reason: None, index: 0, grounding_metadata: None };
        self.write(candidate, None, out);
    }

    fn write(&mut self, candidate: WrittenCandidate<'_>, usage_metadata: Option<WireUsage>, out: &mut Vec<u8>) {
        let written =
            Written { candidates: [candidate], usage_metadata, model_version: &self.model, response_id: &self.id };
        // Texts, numbers and JSON have a JSON form.
        let json = serde_json::to_vec(&written).unwrap_or_default();
        self.frame(&json, out);
    }

    fn frame(&mut self, json: &[u8], out: &mut Vec<u8>) {
        let (before, behind): (&[u8], &[u8]) = match (self.is_list, self.chunks) {
            (true, 0) => (b"[", b""),
            (true, _) => (b"\n,\r\n", b""),
            (false, _) => (b"data: ", b"\r\n\r\n"),
        };
        self.chunks += 1;
        out.extend_from_slice(before);
        out.extend_from_slice(json);
        out.extend_from_slice(behind);
    }
}

fn said(wire: WirePart<'_>) -> Said<'_> {
    Said { role: Some("model"), parts: vec![Piece::Part(Box::new(wire))] }
}

fn owned(seal: &Signature<'_>) -> Signature<'static> {
    Signature { dialect: seal.dialect, seal: seal.seal.clone().into_owned() }
}
