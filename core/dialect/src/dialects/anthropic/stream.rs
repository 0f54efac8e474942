//! Reads the counters out of a stream while it passes.
//!
//! `message_start` tells the input, each `message_delta` the totals so far. Only these and `error` are parsed; every other event costs
//! finding its lines.

use super::usage::{Latest, Loose, Usage};
use crate::{
    meter::{Counters, Metered},
    sse::{Event, Splitter},
};
use serde::Deserialize;

/// The largest event that is read when it arrives in pieces. The events with counters stay far below it; larger ones carry content.
pub const EVENT_BYTES_MAX: usize = 64 * 1024;

/// What a delta measures without its content.
const DELTA_BYTES: usize = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}"#.len();
/// Text has about four bytes a token. What is estimated by it is only what a provider did not get to count.
const BYTES_PER_TOKEN: u64 = 4;

/// The meter of one stream. Never fails: what cannot be understood is passed over, and shows as an answer that is not final.
#[derive(Debug)]
pub struct StreamMeter {
    events: Splitter,
    reading: Reading,
}

#[derive(Debug, Default)]
struct Reading {
    latest: Latest,
    model: Option<String>,
    failed: Option<String>,
    is_final: bool,
    complete: bool,
    started: bool,
    deltas: u64,
    content_bytes: u64,
}

impl Default for StreamMeter {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamMeter {
    /// A meter at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self { events: Splitter::new(EVENT_BYTES_MAX), reading: Reading::default() }
    }

    /// Reads the next bytes, cut anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { events, reading } = self;
        events.push(bytes, |event| reading.see(event));
    }

    /// Reads an event of a stream that is cut into events elsewhere.
    pub(crate) fn see(&mut self, event: Event<'_>) {
        self.reading.see(event);
    }

    /// Where an event may be put in: the offset from the stream's start just behind the last complete event.
    #[must_use]
    pub const fn boundary(&self) -> u64 {
        self.events.boundary()
    }

    /// How many bytes have been pushed.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.events.seen()
    }

    /// The counters of the input, once the stream has told them.
    #[must_use]
    pub fn input(&self) -> Option<Counters> {
        let counters = || Counters { output: 0, ..self.reading.latest.counters() };
        self.reading.started.then(counters)
    }

    /// The bytes of content that passed: no output has more tokens.
    #[must_use]
    pub const fn output_bytes(&self) -> u64 {
        self.reading.content_bytes
    }

    /// What is known so far. Until the provider has told the final output, it is estimated from the content that passed: a token
    /// for each delta, or for four bytes of content, whichever is more.
    #[must_use]
    pub fn metered(&self) -> Metered {
        let Reading { latest, model, failed, is_final, complete, started: _, deltas, content_bytes } = &self.reading;
        let mut counters = latest.counters();
        if !is_final {
            counters.output = counters.output.max(*deltas).max(content_bytes.div_ceil(BYTES_PER_TOKEN));
        }
        Metered { counters, model: model.clone(), is_final: *is_final, complete: *complete, failed: failed.clone() }
    }
}

// === impl Reading ===

impl Reading {
    fn see(&mut self, event: Event<'_>) {
        match event.name {
            b"content_block_delta" => self.pass(event.data),
            b"message_start" => self.start(event.data),
            b"message_delta" => self.delta(event.data),
            b"message_stop" => self.stop(),
            b"error" => self.fail(event.data),
            b"" => self.see_unnamed(event.data),
            _ => {}
        }
    }

    /// Vendors that leave out the `event` field still say the type in the data.
    fn see_unnamed(&mut self, data: &[u8]) {
        let Ok(Typed { kind: Loose(Some(kind)) }) = serde_json::from_slice(data) else { return };
        if !kind.is_empty() {
            self.see(Event { name: kind.as_bytes(), data, oversized: false });
        }
    }

    fn pass(&mut self, data: &[u8]) {
        self.deltas += 1;
        self.content_bytes += data.len().saturating_sub(DELTA_BYTES) as u64;
    }

    fn start(&mut self, data: &[u8]) {
        let Ok(Start { message }) = serde_json::from_slice(data) else { return };
        self.model = message.model.0.or(self.model.take());
        self.started |= message.usage.is_some();
        self.latest.take(message.usage.unwrap_or_default());
    }

    fn delta(&mut self, data: &[u8]) {
        let Ok(Delta { delta, usage }) = serde_json::from_slice(data) else { return };
        if let Some(usage) = usage {
            self.latest.take(usage);
            self.is_final |= delta.is_some_and(|delta| delta.stop_reason.0.is_some());
        }
    }

    fn stop(&mut self) {
        self.complete = self.failed.is_none();
    }

    fn fail(&mut self, data: &[u8]) {
        let kind = serde_json::from_slice(data).ok().and_then(|Failure { error }| error.kind.0);
        self.failed = Some(kind.unwrap_or_else(|| "error".to_owned()));
    }
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type", default)]
    kind: Loose<String>,
}

#[derive(Deserialize)]
struct Start {
    message: Message,
}

/// The parts of a `Message` that count.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    model: Loose<String>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Delta {
    delta: Option<Stop>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Stop {
    #[serde(default)]
    stop_reason: Loose<String>,
}

#[derive(Deserialize)]
struct Failure {
    error: Kind,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type", default)]
    kind: Loose<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::{COUNT_MAX, Counters};
    use proptest::prelude::*;

    const TEXT: &str = include_str!("streams/text.sse");
    const TOOL_USE: &str = include_str!("streams/tool_use.sse");
    const WEB_SEARCH: &str = include_str!("streams/web_search.sse");
    const ERROR: &str = include_str!("streams/error.sse");

    fn meter(pieces: &[&[u8]]) -> (Metered, u64) {
        let mut meter = StreamMeter::new();
        pieces.iter().for_each(|piece| meter.push(piece));
        (meter.metered(), meter.boundary())
    }

    fn whole(counters: Counters) -> Metered {
        Metered { counters, model: Some("claude-opus-5-5".into()), is_final: true, complete: true, failed: None }
    }

    fn recorded() -> [(String, Metered); 5] {
        let none = Counters::default();
        let searched = whole(Counters { input: 10_682, output: 510, web_searches: 1, ..none });
        let read = Counters {
            input: 4,
            output: 96,
            cache_read: 20_480,
            cache_write_5m: 500,
            cache_write_1h: 1000,
            web_searches: 0,
        };
        let overloaded = Metered {
            counters: Counters { input: 30, output: 1, cache_write_5m: 40, ..none },
            model: Some("claude-opus-5-5".into()),
            failed: Some("overloaded_error".into()),
            ..Metered::default()
        };
        [
            (TEXT.to_owned(), whole(Counters { input: 12, output: 27, ..none })),
            (TOOL_USE.to_owned(), whole(read)),
            (WEB_SEARCH.to_owned(), searched.clone()),
            (WEB_SEARCH.replace('\n', "\r\n"), searched),
            (ERROR.to_owned(), overloaded),
        ]
    }

    #[test]
    fn a_stream_cut_into_pieces_at_every_byte_is_metered_as_the_whole() {
        for (stream, expect) in recorded() {
            let bytes = stream.as_bytes();
            let expect = (expect, bytes.len() as u64);
            assert_eq!(meter(&[bytes]), expect);
            for at in 0..=bytes.len() {
                assert_eq!(meter(&[&bytes[..at], &bytes[at..]]), expect, "cut at {at}");
            }
            for size in [1, 2, 3, 7, 64] {
                assert_eq!(meter(&bytes.chunks(size).collect::<Vec<_>>()), expect, "in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_stream_that_dies_at_every_byte_keeps_what_arrived() {
        for (stream, expect) in recorded() {
            let bytes = stream.as_bytes();
            let mut before = Counters::default();
            for end in 0..=bytes.len() {
                let (found, boundary) = meter(&[&bytes[..end]]);
                assert_eq!((&found, boundary), (&meter(&bytes[..end].chunks(1).collect::<Vec<_>>()).0, boundary));
                let read = &stream.as_bytes()[..usize::try_from(boundary).unwrap()];
                assert!(
                    read.is_empty()
                        || read.ends_with(b"\n\n")
                        || read.ends_with(b"\r\n\r\n")
                        || read.ends_with(b"\r\n\r")
                );
                assert!(found.is_final || found.counters.output >= before.output, "an estimate does not fall");
                assert!(found.counters.input >= before.input);
                assert!(!found.complete || boundary == bytes.len() as u64 || end == bytes.len() - 1);
                before = found.counters;
            }
            assert_eq!(before, expect.counters);
        }
    }

    #[test]
    fn output_that_the_provider_did_not_get_to_count_is_estimated_from_what_passed() {
        let start = "event: message_start\ndata: {\"message\":{\"usage\":{\"output_tokens\":1}}}\n\n";
        let delta = |text: &str| {
            format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
            )
        };
        let end = "event: message_delta\ndata: {\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}}\n\n";
        for (stream, output) in [
            (start.to_owned(), 1),
            (format!("{start}{}", delta("a").repeat(5)), 5),
            (format!("{start}{}", delta(&"word ".repeat(80))), 100),
            (format!("{start}{}{end}", delta(&"word ".repeat(80))), 9),
        ] {
            assert_eq!(meter(&[stream.as_bytes()]).0.counters.output, output, "{stream}");
        }
    }

    #[test]
    fn odd_events_are_passed_over_or_understood() {
        let model = |model: &str| Metered { model: Some(model.into()), ..Metered::default() };
        let counted = |output| Metered { counters: Counters { output, ..Counters::default() }, ..Metered::default() };
        for (stream, expect) in [
            ("event: message_start\ndata: {\n\n".to_owned(), Metered::default()),
            ("event: message_start\ndata: null\n\n".to_owned(), Metered::default()),
            ("event: message_start\ndata: {\"message\":{\"model\":\"m\",\ndata: \"usage\":null}}\n\n".to_owned(), model("m")),
            (format!("event: message_start\ndata: {{\"message\":{{\"model\":\"{}\"}}}}\n\n", "m".repeat(300)), Metered::default()),
            ("data: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":5}}\n\n".to_owned(), counted(5)),
            ("data: {\"type\":\"\"}\n\ndata: [DONE]\n\ndata: {\"type\":7}\n\n".to_owned(), Metered::default()),
            (format!("event: message_delta\ndata: {{\"usage\":{{\"output_tokens\":{COUNT_MAX}}}}}\n\n"), counted(COUNT_MAX)),
            (format!("event: message_delta\ndata: {{\"usage\":{{\"output_tokens\":{}}}}}\n\n", COUNT_MAX + 1), counted(0)),
            (
                "event: message_delta\ndata: {\"usage\":{\"output_tokens\":8}}\n\nevent: message_delta\ndata: {\"usage\":{\"output_tokens\":null}}\n\n".to_owned(),
                counted(8),
            ),
            ("event: error\ndata: overloaded\n\n".to_owned(), Metered { failed: Some("error".into()), ..Metered::default() }),
            (
                "event: error\ndata: {\"error\":{\"type\":\"api_error\"}}\n\nevent: message_stop\ndata: {}\n\n".to_owned(),
                Metered { failed: Some("api_error".into()), ..Metered::default() },
            ),
            (format!("event: message_delta\ndata: {}{}\n\n", "[".repeat(30_000), "]".repeat(30_000)), Metered::default()),
            (format!("event: message_delta\ndata: {{\"usage\":{}", "[".repeat(100_000)), Metered::default()),
        ] {
            assert_eq!(meter(&[stream.as_bytes()]).0, expect, "{}", &stream[..stream.len().min(200)]);
            assert_eq!(meter(&stream.as_bytes().chunks(997).collect::<Vec<_>>()).0, expect);
        }
    }

    proptest! {
        #[test]
        fn garbage_in_a_stream_neither_panics_nor_depends_on_the_pieces(
            garbage in proptest::collection::vec(any::<u8>(), 0..200),
            at in 0usize..2000,
            cuts in proptest::collection::vec(0usize..2400, 0..6),
        ) {
            let mut bytes = TOOL_USE.as_bytes().to_vec();
            let at = at.min(bytes.len());
            bytes.splice(at..at, garbage);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut from = 0;
            let mut pieces = Vec::new();
            for cut in cuts.into_iter().chain([bytes.len()]) {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            prop_assert_eq!(meter(&pieces), meter(&[&bytes]));
        }
    }
}
