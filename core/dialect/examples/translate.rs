//! Measures the CPU time of translation, which other load on the machine does not add to: a request of Claude Code of 400 KB, read, written
//! in each dialect, and both; and the events of a stream, from Anthropic's to each dialect and back. On Linux, which tells it.
//!
//! `cargo run --release -p tollgate-dialect --example translate`. The goals are 3 ms for the request and 5 µs for an event.

#![expect(clippy::print_stdout, reason = "an example prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "an example may ask the system")]

#[path = "../benches/translate/conversation.rs"]
mod conversation;

use std::{fs, hint::black_box};

use tollgate_dialect::{
    Called, Dialect, Quirks,
    hub::{Event, Losses, Request},
};

/// The least of the rounds is what it costs.
const ROUNDS: usize = 3;
/// So often that what the system counts by its own clock, every 4 ms, does not show.
const TIMES: u32 = 100;

fn main() {
    let body = conversation::body();
    let called = Called { model: Some("some-model".into()), stream: Some(true) };
    let read = || Dialect::Anthropic.decode_request(&called, black_box(&body));
    let write = |target: Dialect, request: &Request<'_>| {
        target.encode_request(request, &Quirks::default(), &mut Losses::new(target))
    };
    println!("request of {} bytes, microseconds of CPU: read {:.0}", body.len(), cpu(|| read().is_ok()) / 1e3);
    let Ok(request) = read() else { return };
    for target in Dialect::ALL {
        let written = cpu(|| !write(target, black_box(&request)).is_empty());
        let both = cpu(|| read().is_ok_and(|request| !write(target, &request).is_empty()));
        println!("  to {:18} write {:6.0}   read and write {:6.0}", target.word(), written / 1e3, both / 1e3);
    }
    let (wire, events) = conversation::answer();
    println!("stream of {events} events, nanoseconds of CPU an event, to it and from it:");
    for target in Dialect::ALL {
        let theirs = translated(Dialect::Anthropic, target, &wire);
        let to = cpu(|| !translated(Dialect::Anthropic, target, black_box(&wire)).is_empty());
        let from = cpu(|| !translated(target, Dialect::Anthropic, black_box(&theirs)).is_empty());
        println!("  {:18} {:6.0} {:6.0}", target.word(), to / events as f64, from / events as f64);
    }
}

/// Nanoseconds of this thread's CPU time that the work takes.
fn cpu(mut work: impl FnMut() -> bool) -> f64 {
    let round = |_| {
        let start = spent();
        (0..TIMES).for_each(|_| assert!(work()));
        (spent() - start) / f64::from(TIMES)
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}

fn spent() -> f64 {
    let told = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    told.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok()).unwrap_or_default()
}

// As pieces of a network's size come.
fn translated(source: Dialect, target: Dialect, wire: &[u8]) -> Vec<u8> {
    let (mut decoder, mut encoder, mut out) = (source.stream_decoder(), target.stream_encoder(), Vec::new());
    let mut sink = |event: Event<'_>| encoder.push(&event, &mut out);
    wire.chunks(1_400).for_each(|piece| decoder.push(piece, &mut sink));
    decoder.end(&mut sink);
    out
}
