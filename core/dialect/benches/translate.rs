//! Measures what translation costs: a request of Claude Code late in a session (150 turns with results of tools, 400 KB), read and
//! written in each dialect, and the events of a stream, from Anthropic's to each dialect and back.
//!
//! `cargo bench -p tollgate-dialect --bench translate`. The goals are 3 ms of CPU for the request and 5 µs for an event.
#![expect(clippy::print_stdout, reason = "it prints how large the bodies are")]

#[path = "translate/conversation.rs"]
mod conversation;

use std::hint::black_box;

use conversation::{answer, body};
use criterion::{Criterion, Throughput};
use tollgate_dialect::{
    Called, Dialect, Quirks,
    hub::{Event, Losses, Request},
};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    request(&mut criterion);
    stream(&mut criterion);
    criterion.final_summary();
}

fn called() -> Called<'static> {
    Called { model: Some("some-model".into()), stream: Some(true) }
}

fn request(criterion: &mut Criterion) {
    let body = body();
    println!("request: {} bytes", body.len());
    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Bytes(body.len() as u64));
    let read = || Dialect::Anthropic.decode_request(&called(), black_box(&body));
    group.bench_function("read anthropic", |bencher| bencher.iter(|| read().is_ok()));
    let write = |target: Dialect, request: &Request<'_>| {
        target.encode_request(request, &Quirks::default(), &mut Losses::new(target))
    };
    for target in Dialect::ALL {
        let Ok(request) = read() else { continue };
        let word = target.word();
        group.bench_function(format!("write {word}"), |bencher| bencher.iter(|| write(target, black_box(&request))));
        group.bench_function(format!("anthropic to {word}"), |bencher| {
            bencher.iter(|| read().map(|request| write(target, &request)).is_ok());
        });
        let theirs = write(target, &request);
        if target == Dialect::Anthropic {
            continue;
        }
        group.bench_function(format!("{word} to anthropic"), |bencher| {
            bencher.iter(|| {
                let request = target.decode_request(&called(), black_box(&theirs));
                request.map(|request| write(Dialect::Anthropic, &request)).is_ok()
            });
        });
    }
    group.finish();
}

fn stream(criterion: &mut Criterion) {
    let (wire, events) = answer();
    println!("stream: {} bytes, {events} events", wire.len());
    let mut group = criterion.benchmark_group("stream");
    group.throughput(Throughput::Elements(events));
    for target in Dialect::ALL {
        let word = target.word();
        let theirs = translated(Dialect::Anthropic, target, &wire);
        group.bench_function(format!("anthropic to {word}"), |bencher| {
            bencher.iter(|| translated(Dialect::Anthropic, target, black_box(&wire)));
        });
        if target == Dialect::Anthropic {
            continue;
        }
        group.bench_function(format!("{word} to anthropic"), |bencher| {
            bencher.iter(|| translated(target, Dialect::Anthropic, black_box(&theirs)));
        });
    }
    group.finish();
}

// As pieces of a network's size come.
fn translated(source: Dialect, target: Dialect, wire: &[u8]) -> Vec<u8> {
    let (mut decoder, mut encoder, mut out) = (source.stream_decoder(), target.stream_encoder(), Vec::new());
    let mut sink = |event: Event<'_>| encoder.push(&event, &mut out);
    wire.chunks(1_400).for_each(|piece| decoder.push(piece, &mut sink));
    decoder.end(&mut sink);
    out
}
