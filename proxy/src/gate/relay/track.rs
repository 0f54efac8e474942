//! What becomes of the bytes of a stream: they pass as they came, or are read and written anew. Either way they are metered.

use bytes::Bytes;
use tollgate_dialect::{
    Counters, Dialect, Metered,
    anthropic::StreamMeter,
    bedrock::invoke::FramesToEvents,
    hub::{Event, StreamDecoder, StreamEncoder, Tally},
    sse::Splitter,
};
use tollgate_policy::refusal::RefusalKind;

use super::gather::Pile;
use crate::{gate::ticket::Passage, refuse, upstream::speech::Envelope};

// An event is only looked for here, so that little of one needs to be held.
const EVENT_BYTES_MAX: usize = 1024;

/// The way of one stream.
pub(super) struct Track {
    client: Dialect,
    // Takes events out of the provider's frames.
    opening: Option<Box<FramesToEvents>>,
    way: Way,
}

enum Way {
    /// The bytes pass. Few of the events need to be read.
    Plain(Box<StreamMeter>),
    /// The bytes pass, and each event is read.
    Watched { events: Box<Splitter>, decoder: Box<dyn StreamDecoder>, tally: Box<Tally> },
    /// What the provider says is written anew.
    Translated { decoder: Box<dyn StreamDecoder>, encoder: Box<dyn StreamEncoder>, tally: Box<Tally>, written: u64 },
}

impl Track {
    /// The way of a stream that is passed on so.
    pub(super) fn new(passage: Passage) -> Self {
        let Passage { client, provider, is_translated, envelope, forms, is_usage_hidden } = passage;
        let opening = (envelope == Some(Envelope::Bedrock)).then(Box::default);
        let (decoder, tally) = (|| provider.stream_decoder(), Box::<Tally>::default);
        let way = match (is_translated, provider) {
            (true, _) => {
                let mut encoder = client.stream_encoder_in(forms);
                if is_usage_hidden {
                    encoder.hide_usage();
                }
                Way::Translated { decoder: decoder(), encoder, tally: tally(), written: 0 }
            }
            (false, Dialect::Anthropic) => Way::Plain(Box::default()),
            (false, _) => {
                Way::Watched { events: Box::new(Splitter::new(EVENT_BYTES_MAX)), decoder: decoder(), tally: tally() }
            }
        };
        Self { client, opening, way }
    }

    /// Takes what the provider sent, and adds to the pile what is for the client.
    pub(super) fn push(&mut self, data: Bytes, pile: &mut Pile) {
        let data = match &mut self.opening {
            Some(opening) => {
                let mut events = Vec::new();
                opening.push(&data, &mut events);
                events.into()
            }
            None => data,
        };
        self.take(data, pile);
    }

    fn take(&mut self, data: Bytes, pile: &mut Pile) {
        match &mut self.way {
            Way::Plain(meter) => {
                meter.push(&data);
                pile.push(data);
            }
            Way::Watched { events, decoder, tally } => {
                events.push(&data, |_| {});
                decoder.push(&data, &mut |event| tally.see(&event));
                pile.push(data);
            }
            Way::Translated { decoder, encoder, tally, written } => {
                let mut out = Vec::new();
                decoder.push(&data, &mut |event| say(&event, &mut **encoder, tally, &mut out));
                *written = written.saturating_add(out.len() as u64);
                pile.push(out.into());
            }
        }
    }

    /// The provider has ended its answer.
    pub(super) fn end(&mut self, pile: &mut Pile) {
        if let Some(opening) = &mut self.opening {
            let mut events = Vec::new();
            opening.end(&mut events);
            self.take(events.into(), pile);
        }
        match &mut self.way {
            Way::Plain(_) => {}
            Way::Watched { decoder, tally, .. } => decoder.end(&mut |event| tally.see(&event)),
            Way::Translated { decoder, encoder, tally, written } => {
                let mut out = Vec::new();
                decoder.end(&mut |event| say(&event, &mut **encoder, tally, &mut out));
                *written = written.saturating_add(out.len() as u64);
                pile.push(out.into());
            }
        }
    }

    /// Where an event may be put in: the offset from the start of what is for the client, just behind the last whole event.
    pub(super) fn boundary(&self) -> u64 {
        match &self.way {
            Way::Plain(meter) => meter.boundary(),
            // Frames have no lines: they pass as they come.
            Way::Watched { events, .. } if self.client == Dialect::BedrockConverse => events.seen(),
            Way::Watched { events, .. } => events.boundary(),
            Way::Translated { written, .. } => *written,
        }
    }

    /// The counters of the input, once the stream has told them.
    pub(super) fn input(&self) -> Option<Counters> {
        match &self.way {
            Way::Plain(meter) => meter.input(),
            Way::Watched { tally, .. } | Way::Translated { tally, .. } => tally.input(),
        }
    }

    /// The bytes of content that passed: no output has more tokens.
    pub(super) fn output_bytes(&self) -> u64 {
        match &self.way {
            Way::Plain(meter) => meter.output_bytes(),
            Way::Watched { tally, .. } | Way::Translated { tally, .. } => tally.output_bytes(),
        }
    }

    /// What is known so far.
    pub(super) fn metered(&self) -> Metered {
        match &self.way {
            Way::Plain(meter) => meter.metered(),
            Way::Watched { tally, .. } | Way::Translated { tally, .. } => tally.metered(),
        }
    }

    /// The sign of life that the client's dialect has, where the provider's may not have sent one.
    pub(super) fn ping(&mut self) -> Bytes {
        match &mut self.way {
            Way::Translated { encoder, written, .. } => {
                let mut out = Vec::new();
                encoder.push(&Event::Ping, &mut out);
                *written = written.saturating_add(out.len() as u64);
                out.into()
            }
            Way::Plain(_) | Way::Watched { .. } => Bytes::new(),
        }
    }

    /// The event that ends the stream.
    pub(super) fn failed(&mut self, kind: RefusalKind, sentence: &str, request_id: &str) -> Bytes {
        match &mut self.way {
            // An encoder knows where in its dialect's order of events it stands.
            Way::Translated { encoder, .. } if self.client != Dialect::Anthropic => {
                let mut out = Vec::new();
                encoder.push(&Event::Failed { class: refuse::class(kind), message: sentence.into() }, &mut out);
                out.into()
            }
            _ => refuse::event(self.client, kind, sentence, request_id),
        }
    }
}

fn say(event: &Event<'_>, encoder: &mut dyn StreamEncoder, tally: &mut Tally, out: &mut Vec<u8>) {
    tally.see(event);
    encoder.push(event, out);
}

impl std::fmt::Debug for Track {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = match self.way {
            Way::Plain(_) => "plain",
            Way::Watched { .. } => "watched",
            Way::Translated { .. } => "translated",
        };
        f.debug_struct("Track").field("client", &self.client).field("way", &way).finish()
    }
}
