//! Measures what the protocol costs: a `tools/call` of 1 KB read and written, and a list of 1,000 tools read once and written for a client.
//!
//! `cargo bench -p tollgate-mcp --bench pass`. The goals are a few microseconds for the call, and 1 ms for writing the list.
#![expect(clippy::print_stdout, reason = "it prints how large the messages are")]

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use serde_json::json;
use tollgate_mcp::{
    Json, Kind, List, Message, Method, Revision, ServerName,
    difference::difference,
    flag,
    list::{Caching, Offer, page},
    params::meta,
};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    call(&mut criterion);
    list(&mut criterion);
    criterion.final_summary();
}

/// An edit of a file, as agents make them.
fn call(criterion: &mut Criterion) {
    let lines = "let total = lines.iter().map(|line| line.trim().len()).sum::<usize>();\n".repeat(9);
    let body = json!({
        "jsonrpc": "2.0",
        "id": 42,
        "method": "tools/call",
        "params": {
            "name": "files__edit",
            "arguments": {"path": "/home/someone/src/project/src/lines.rs", "edits": [{"old": "", "new": lines}], "dry": false},
            "_meta": {"progressToken": 42, "claudecode/toolUseId": "toolu_01A09q90qw90lq917835lq9"},
        },
    })
    .to_string();
    println!("call: {} bytes", body.len());
    let mut group = criterion.benchmark_group("call");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("read", |bencher| bencher.iter(|| Message::parse(black_box(body.as_bytes())).is_ok()));
    group.bench_function("read, named and renamed", |bencher| {
        bencher.iter(|| {
            let Ok(Message::Request(request)) = Message::parse(black_box(body.as_bytes())) else { return 0 };
            let target = Method::of_name(&request.method).target(&request.params);
            let tool_use = request.params.meta_text(meta::TOOL_USE_ID);
            let params = request.params.with("name", &Json::text("edit"));
            let out = tollgate_mcp::write::request(&request.id, &request.method, Some(&params));
            out.len() + usize::from(target.is_ok()) + usize::from(tool_use.is_some())
        });
    });
    group.finish();
}

/// A tool with seven parameters, of about 1 KB.
fn tool(index: usize) -> serde_json::Value {
    let parameter = |number: usize| {
        let description = format!("What number {number} is for, in a sentence of usual length.");
        (format!("parameter_{number}"), json!({"type": "string", "description": description}))
    };
    json!({
        "name": format!("tool_{index}"),
        "title": "Does something",
        "description": "Does something with a few parameters, and says in two sentences what. Use it when something is to be done.",
        "inputSchema": {
            "type": "object",
            "properties": (0..7).map(parameter).collect::<serde_json::Map<_, _>>(),
            "required": ["parameter_0", "parameter_1"],
            "additionalProperties": false,
        },
        "annotations": {"readOnlyHint": true, "openWorldHint": false},
    })
}

fn list(criterion: &mut Criterion) {
    let tools: Vec<_> = (0..1_000).map(tool).collect();
    let body = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}).to_string();
    println!("list: {} bytes", body.len());
    let Ok(server) = ServerName::parse("github") else { return };
    let read = |body: &[u8]| {
        let mut list = List::new(Kind::Tool);
        if let Ok(Message::Response(response)) = Message::parse(body) {
            let _ = list.add(response.result);
        }
        list
    };
    let kept = read(body.as_bytes());
    let mut group = criterion.benchmark_group("list of 1,000 tools");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("message", |bencher| bencher.iter(|| Message::parse(black_box(body.as_bytes())).is_ok()));
    group.bench_function("message, definitions and pins", |bencher| {
        bencher.iter(|| read(black_box(body.as_bytes())).definitions.len());
    });
    group.bench_function("written with names", |bencher| {
        let offers = || kept.definitions.iter().map(|definition| Offer { server: Some(&server), definition });
        bencher.iter(|| page(Kind::Tool, Revision::LATEST, offers(), None, Caching::NONE).result.as_str().len());
    });
    group.bench_function("flags", |bencher| {
        bencher.iter(|| kept.definitions.iter().map(|definition| flag::flags(definition).len()).sum::<usize>());
    });
    group.bench_function("difference of one", |bencher| {
        let [one, other, ..] = kept.definitions.as_slice() else { return };
        bencher.iter(|| difference(&one.json(), &other.json()).len());
    });
    group.finish();
}
