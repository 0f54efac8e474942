//! Measures what guardrails cost a request: a body of 400 KB like those of Claude Code late in a session, cold and when all but its last
//! message was looked at before, with the rules that come with Tollgate.
//!
//! `cargo bench -p tollgate-proxy --bench guard`. The goals are 4 ms of CPU cold, and 0.3 ms for the next turn.
#![expect(clippy::print_stdout, reason = "it prints how large things are")]

use std::{hint::black_box, sync::Arc};

use anyhow::Context as _;
use criterion::{BatchSize, Criterion, Throughput};
use tollgate_policy::{
    guardrail::{Action, Asker, Direction, Directions, Guardrail, RuleSource, Scope},
    id::{CustomerId, GuardrailId, TeamId},
    pattern::Patterns,
    token::Pepper,
};
use tollgate_proxy::guard::{GuardKeys, Guards, Watch, screen};

const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";
const MESSAGES: usize = 150;

fn main() -> anyhow::Result<()> {
    let guardrail = Guardrail {
        id: GuardrailId::from_ulid(ULID)?,
        name: "secrets".into(),
        disabled: false,
        source: RuleSource::Secrets { builtin: true, file: None },
        rules: Patterns::default(),
        directions: Directions { request: true, response: true },
        action: Action::Tokenize,
        shadow: false,
        scope: Scope::default(),
        allowed: Arc::default(),
    };
    let guards = Guards::default().next(&Arc::new(vec![Arc::new(guardrail)]))?;
    let (before, now) = (body(MESSAGES - 1), body(MESSAGES));
    println!("{} bytes", now.len());
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Bytes(now.len() as u64));
    let cold = watches(&guards)?;
    group.bench_function("cold", |bencher| {
        // Each with a memory of its own, that has seen nothing.
        bencher.iter_batched(
            &cold,
            |watch| screen(&watch, black_box(&now), None).changed.is_some(),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("next turn", |bencher| {
        bencher.iter_batched(
            || {
                let watch = cold();
                screen(&watch, &before, None);
                watch
            },
            |watch| screen(&watch, black_box(&now), None).changed.is_some(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}

fn watches(guards: &Guards) -> anyhow::Result<impl Fn() -> Watch> {
    let pepper = Pepper::new(vec![7; 32])?;
    let (customer, team) = (CustomerId::from_ulid(ULID)?, TeamId::from_ulid(ULID)?);
    let make = move || {
        let keys = Arc::new(GuardKeys::new(&pepper).ok()?);
        guards.watch(&keys, Direction::Request, Asker { customer: &customer, team: &team, key: "k", model: "m" })
    };
    make().context("the guardrail looks at requests")?;
    Ok(move || {
        loop {
            if let Some(watch) = make() {
                return watch;
            }
        }
    })
}

// Source code as tools read it, prose between, and the calls that asked for it.
fn body(messages: usize) -> Vec<u8> {
    let message = |number: usize| {
        let code: String = (0..32).map(|line| code(number, line)).collect();
        let content = match number % 3 {
            0 => {
                serde_json::json!([{"type": "tool_result", "tool_use_id": format!("toolu_{number:024}"), "content": code}])
            }
            1 => serde_json::json!([{"type": "text", "text": format!("Message {number}: {code}")}]),
            _ => {
                serde_json::json!([{"type": "tool_use", "id": format!("toolu_{number:024}"), "name": "Edit", "input": {"new_string": code}}])
            }
        };
        serde_json::json!({"role": if number % 3 == 1 { "assistant" } else { "user" }, "content": content})
    };
    let all: Vec<_> = (0..messages).map(message).collect();
    serde_json::json!({"model": "claude-x", "max_tokens": 32_000, "system": "You are a careful engineer.", "messages": all})
        .to_string()
        .into_bytes()
}

fn code(number: usize, line: usize) -> String {
    match line % 6 {
        0 => format!("    let token_{number} = parse(&input[{line}..], \"key {number}\")?;\n"),
        1 => format!("// Section {line}: the client's secret is never printed, see auth.rs:{number}.\n"),
        2 => format!("pub fn handle_{number}_{line}(request: &Request) -> Result<Response, Error> {{\n"),
        3 => format!("    config.insert(\"api_url\", \"https://api.example.com/v{line}/items/{number}\");\n"),
        4 => format!("    assert_eq!(digest, \"{number:08x}{line:08x}{:08x}\");\n", number * line),
        _ => "}\n\n".to_owned(),
    }
}
