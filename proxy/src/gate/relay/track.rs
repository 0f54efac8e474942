//! What becomes of the bytes of a stream: they pass as they came, or are read and written anew. Either way they are metered. Where one of
//! the two sides has its events in frames and the other has not, they are taken out at the one end or put in at the other.

use bytes::Bytes;
use tollgate_dialect::{
    Counters, Dialect, Metered,
    anthropic::StreamMeter,
    bedrock::{
        frames,
        invoke::{EventsToFrames, FramesToEvents},
    },
    gemini::Elements,
    hub::{Begin, Delta, Event, Stop, StreamDecoder, StreamEncoder, Tally, Usage},
    sse,
};
use tollgate_policy::refusal::RefusalKind;

use super::{edit::Edit, gather::Pile};
use crate::{
    gate::ticket::Passage,
    guard::{Blocked, Filter, Passed, Report},
    refuse,
};

// An event is only looked for here, so that little of one needs to be held.
const EVENT_BYTES_MAX: usize = 1024;
// A frame is held until it is whole; behind a larger one no whole frame is known any more. AWS's own readers take no larger ones.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The way of one stream.
pub(in crate::gate) struct Track {
    // What the client is told errors in, in the middle of a stream.
    client: Dialect,
    // Takes events out of the provider's frames.
    opening: Option<Box<FramesToEvents>>,
    way: Way,
    // Puts events into the client's frames.
    closing: Option<Box<Closing>>,
    guard: Option<Box<Guard>>,
}

// What looks at what is written anew, and why it ended the answer.
struct Guard {
    filter: Filter,
    blocked: Option<Blocked>,
}

enum Way {
    /// The bytes pass. Few of the events need to be read.
    Plain(Box<StreamMeter>),
    /// The events pass, but for what a guardrail changes.
    Edited { meter: Box<StreamMeter>, edit: Box<Edit>, written: u64 },
    /// The bytes pass, which are frames; the events in them are read.
    Framed { events: Box<FramesToEvents>, meter: Box<StreamMeter> },
    /// The bytes pass, and each event is read.
    Watched { ends: Ends, decoder: Box<dyn StreamDecoder>, tally: Box<Tally> },
    /// What the provider says is written anew.
    Translated { decoder: Box<dyn StreamDecoder>, encoder: Box<dyn StreamEncoder>, tally: Box<Tally>, written: u64 },
}

/// Finds where whole events end in bytes that pass.
enum Ends {
    Events(Box<sse::Splitter>),
    Frames(frames::Splitter),
    Elements(Box<Elements>),
}

#[derive(Default)]
struct Closing {
    frames: EventsToFrames,
    written: u64,
}

impl Track {
    /// The way of a stream that is passed on so.
    pub(in crate::gate) fn new(passage: Passage, filter: Option<Filter>) -> Self {
        let (is_framed, is_client_framed) = (passage.is_framed(), passage.is_client_framed());
        let is_plain = passage.is_plain() && filter.is_none();
        let Passage { client, provider, is_translated, is_list, forms, is_usage_hidden, .. } = passage;
        let (decoder, tally) = (|| provider.stream_decoder(), Box::<Tally>::default);
        let mut guard = filter;
        let way = match (is_translated, provider, guard.take_if(|_| !is_translated && provider == Dialect::Anthropic)) {
            (false, Dialect::Anthropic, Some(filter)) => {
                Way::Edited { meter: Box::default(), edit: Box::new(Edit::new(filter)), written: 0 }
            }
            (true, ..) => {
                let mut encoder = if is_list { client.list_encoder_in(forms) } else { client.stream_encoder_in(forms) };
                if is_usage_hidden {
                    encoder.hide_usage();
                }
                Way::Translated { decoder: decoder(), encoder, tally: tally(), written: 0 }
            }
            (false, Dialect::Anthropic, None) if is_plain && is_framed => {
                Way::Framed { events: Box::default(), meter: Box::default() }
            }
            (false, Dialect::Anthropic, None) => Way::Plain(Box::default()),
            (false, ..) => Way::Watched { ends: Ends::of(provider, is_list), decoder: decoder(), tally: tally() },
        };
        Self {
            client,
            opening: (is_framed && !is_plain).then(Box::default),
            way,
            closing: (is_client_framed && !is_plain).then(Box::default),
            guard: guard.map(|filter| Box::new(Guard { filter, blocked: None })),
        }
    }

    /// Why a guardrail has ended the answer: what was handed out ends in good form.
    pub(super) fn blocked(&self) -> Option<&Blocked> {
        match &self.way {
            Way::Edited { edit, .. } => edit.blocked(),
            _ => self.guard.as_ref().and_then(|guard| guard.blocked.as_ref()),
        }
    }

    /// What guardrails have found since they were asked last.
    pub(super) fn report(&mut self) -> Report {
        match &mut self.way {
            Way::Edited { edit, .. } => edit.report(),
            _ => self.guard.as_mut().map(|guard| guard.filter.take_report()).unwrap_or_default(),
        }
    }

    /// Takes what the provider sent, and adds to the pile what is for the client.
    pub(in crate::gate) fn push(&mut self, data: Bytes, pile: &mut Pile) {
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
        let out = match &mut self.way {
            Way::Plain(meter) => {
                meter.push(&data);
                data
            }
            Way::Edited { meter, edit, written } => {
                meter.push(&data);
                let out = edit.push(&data, meter);
                *written = written.saturating_add(out.len() as u64);
                out
            }
            Way::Framed { events, meter } => {
                let mut opened = Vec::new();
                events.push(&data, &mut opened);
                meter.push(&opened);
                data
            }
            Way::Watched { ends, decoder, tally } => {
                ends.push(&data);
                decoder.push(&data, &mut |event| tally.see(&event));
                data
            }
            Way::Translated { decoder, encoder, tally, written } => {
                let mut out = Vec::new();
                let guard = &mut self.guard;
                decoder.push(&data, &mut |event| say(&event, &mut **encoder, guard, tally, &mut out));
                *written = written.saturating_add(out.len() as u64);
                out.into()
            }
        };
        pile.push(self.closed(out));
    }

    // What is for the client, in the client's frames.
    fn closed(&mut self, events: Bytes) -> Bytes {
        let Some(closing) = &mut self.closing else { return events };
        let mut out = Vec::new();
        closing.frames.push(&events, &mut out);
        closing.written = closing.written.saturating_add(out.len() as u64);
        out.into()
    }

    /// The provider has ended its answer.
    pub(super) fn end(&mut self, pile: &mut Pile) {
        if let Some(opening) = &mut self.opening {
            let mut events = Vec::new();
            opening.end(&mut events);
            self.take(events.into(), pile);
        }
        let mut out = Vec::new();
        match &mut self.way {
            Way::Plain(_) | Way::Edited { .. } => {}
            Way::Framed { events, meter } => {
                let mut opened = Vec::new();
                events.end(&mut opened);
                meter.push(&opened);
            }
            Way::Watched { decoder, tally, .. } => decoder.end(&mut |event| tally.see(&event)),
            Way::Translated { decoder, encoder, tally, written } => {
                let guard = &mut self.guard;
                decoder.end(&mut |event| say(&event, &mut **encoder, guard, tally, &mut out));
                *written = written.saturating_add(out.len() as u64);
            }
        }
        pile.push(self.closed(out.into()));
    }

    /// Where an event may be put in: the offset from the start of what is for the client, just behind the last whole event.
    pub(super) fn boundary(&self) -> u64 {
        match (&self.closing, &self.way) {
            (Some(closing), _) => closing.written,
            (None, Way::Plain(meter)) => meter.boundary(),
            (None, Way::Framed { events, .. }) => events.boundary(),
            (None, Way::Watched { ends, .. }) => ends.boundary(),
            (None, Way::Translated { written, .. } | Way::Edited { written, .. }) => *written,
        }
    }

    /// The counters of the input, once the stream has told them.
    pub(in crate::gate) fn input(&self) -> Option<Counters> {
        match &self.way {
            Way::Plain(meter) | Way::Framed { meter, .. } | Way::Edited { meter, .. } => meter.input(),
            Way::Watched { tally, .. } | Way::Translated { tally, .. } => tally.input(),
        }
    }

    /// The bytes of content that passed: no output has more tokens.
    pub(super) fn output_bytes(&self) -> u64 {
        match &self.way {
            Way::Plain(meter) | Way::Framed { meter, .. } | Way::Edited { meter, .. } => meter.output_bytes(),
            Way::Watched { tally, .. } | Way::Translated { tally, .. } => tally.output_bytes(),
        }
    }

    /// What is known so far.
    pub(in crate::gate) fn metered(&self) -> Metered {
        match &self.way {
            Way::Plain(meter) | Way::Framed { meter, .. } | Way::Edited { meter, .. } => meter.metered(),
            Way::Watched { tally, .. } | Way::Translated { tally, .. } => tally.metered(),
        }
    }

    /// The sign of life that the client's dialect has, where the provider's may not have sent one.
    pub(super) fn ping(&mut self) -> Bytes {
        let mut out = Vec::new();
        if let Way::Translated { encoder, written, .. } = &mut self.way {
            encoder.push(&Event::Ping, &mut out);
            *written = written.saturating_add(out.len() as u64);
        }
        self.closed(out.into())
    }

    /// The event that ends the stream.
    pub(super) fn failed(&mut self, kind: RefusalKind, sentence: &str, request_id: &str) -> Bytes {
        let mut out = Vec::new();
        let event = || refuse::event(self.client, kind, sentence, request_id);
        match (&mut self.way, &mut self.closing) {
            (_, Some(closing)) => closing.frames.interrupt(&event(), &mut out),
            (Way::Framed { .. }, _) => EventsToFrames::default().push(&event(), &mut out),
            // An encoder knows where in its dialect's order of events it stands.
            (Way::Translated { encoder, .. }, _) if self.client != Dialect::Anthropic => {
                encoder.push(&Event::Failed { class: refuse::class(kind), message: sentence.into() }, &mut out);
            }
            (Way::Watched { ends: Ends::Elements(elements), .. }, _) => {
                out = elements.ended_by(&self.client.encode_error(refuse::class(kind), sentence, request_id));
            }
            _ => return event(),
        }
        out.into()
    }
}

// === impl Ends ===

impl Ends {
    fn of(dialect: Dialect, is_list: bool) -> Self {
        match dialect {
            Dialect::BedrockConverse => Self::Frames(frames::Splitter::new(FRAME_BYTES_MAX)),
            Dialect::Gemini if is_list => Self::Elements(Box::default()),
            _ => Self::Events(Box::new(sse::Splitter::new(EVENT_BYTES_MAX))),
        }
    }

    fn push(&mut self, data: &[u8]) {
        match self {
            Self::Events(events) => events.push(data, |_| {}),
            Self::Frames(frames) => frames.push(data, |_| {}),
            Self::Elements(elements) => elements.push(data),
        }
    }

    fn boundary(&self) -> u64 {
        match self {
            Self::Events(events) => events.boundary(),
            Self::Frames(frames) => frames.boundary(),
            Self::Elements(elements) => elements.boundary(),
        }
    }
}

fn say(
    event: &Event<'_>,
    encoder: &mut dyn StreamEncoder,
    guard: &mut Option<Box<Guard>>,
    tally: &mut Tally,
    out: &mut Vec<u8>,
) {
    tally.see(event);
    let Some(guard) = guard else { return encoder.push(event, out) };
    if guard.blocked.is_some() {
        return;
    }
    match guard.filter.push(event, &mut |event| encoder.push(event, out)) {
        Passed::On => {}
        Passed::Blocked(blocked, is_open) => {
            end(encoder, is_open, &blocked.sentence(), tally, out);
            guard.blocked = Some(blocked);
        }
    }
}

// Ends an answer as if the model had: a client that is told of an error asks again at once.
fn end(encoder: &mut dyn StreamEncoder, is_open: bool, sentence: &str, tally: &Tally, out: &mut Vec<u8>) {
    let usage = Usage { counters: tally.metered().counters, thinking: None };
    let last = [
        Event::Begin(Begin::Text),
        Event::Delta(Delta::Text(sentence.into())),
        Event::End,
        Event::Stop { stop: Stop::EndTurn, usage },
        Event::Done,
    ];
    is_open.then_some(Event::End).iter().chain(&last).for_each(|event| encoder.push(event, out));
}

impl std::fmt::Debug for Track {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = match self.way {
            Way::Plain(_) => "plain",
            Way::Edited { .. } => "edited",
            Way::Framed { .. } => "framed",
            Way::Watched { .. } => "watched",
            Way::Translated { .. } => "translated",
        };
        f.debug_struct("Track").field("client", &self.client).field("way", &way).finish()
    }
}
