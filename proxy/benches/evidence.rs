//! Measures what the audit log costs a visit: its entry with its place in the chain, which the settler makes, and what is noted
//! with an intent before the provider is called.
//!
//! `cargo bench --profile measure -p tollgate-proxy --bench evidence`. It also prints how long these are, in bytes.
#![expect(clippy::print_stdout, reason = "it prints figures")]

use std::{hint::black_box, sync::Arc};

use anyhow::Context as _;
use criterion::Criterion;
use mimalloc::MiMalloc;
use tollgate_policy::{
    id::{BudgetId, CredentialId, CustomerId, KeyId, ProviderId, TeamId, UserId},
    limit::Measure,
    money::NanoUsd,
    price::{Price, Rates},
    snapshot::Model,
    time::UnixMillis,
    usage::{Attribution, Charge, Outcome, Record, Tokens},
};
use tollgate_proto::usage::v1;
use tollgate_proxy::evidence::{self, Applied, Chain, Circumstances, Counted};

// As the proxy's own.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";
/// As many salts as the settler draws at a time under load.
const BATCH: usize = 64;

fn main() -> anyhow::Result<()> {
    let (record, full, bare) = (v1::Record::from(&record()?), circumstances()?, Circumstances::default());
    let mut criterion = Criterion::default().configure_from_args();
    for (name, circumstances) in [("entry, all circumstances", &full), ("entry, none", &bare)] {
        let (mut chain, mut sequence) = (Chain::begin(1), 0);
        let salts = evidence::salts(1)?;
        let salt = salts.first().context("no salt")?;
        criterion.bench_function(name, |bencher| {
            bencher.iter_batched(
                || record.clone(),
                |record| {
                    sequence += 1;
                    chain.append(sequence, record, black_box(circumstances), salt)
                },
                criterion::BatchSize::SmallInput,
            );
        });
        let sealed = chain.append(1, record.clone(), circumstances, salt);
        let body = sealed.evidence.map(|evidence| evidence.body.len()).unwrap_or_default();
        println!("{name}: {body} bytes");
    }
    criterion.bench_function("salts for 64", |bencher| bencher.iter(|| evidence::salts(black_box(BATCH)).is_ok()));
    criterion.bench_function("note of an intent", |bencher| bencher.iter(|| black_box(&full).encode()));
    println!("note of an intent: {} bytes", full.encode().len());
    criterion.final_summary();
    Ok(())
}

// As of a request under a budget and two rate limits.
fn circumstances() -> anyhow::Result<Circumstances> {
    let rates = Rates {
        input: NanoUsd::new(3_000_000_000),
        output: NanoUsd::new(15_000_000_000),
        cache_read: NanoUsd::new(300_000_000),
        cache_write_5m: NanoUsd::new(3_750_000_000),
        cache_write_1h: NanoUsd::new(6_000_000_000),
    };
    let price = Price { rates, long_context: Some((200_000, rates)), web_search: NanoUsd::new(10_000_000) };
    let model = Model {
        vendor: "anthropic".into(),
        name: "claude-sonnet-4-5".into(),
        display_name: "Claude Sonnet 4.5".into(),
        aliases: vec![],
        context_window: 1_000_000,
        output_max: 64_000,
        price: Some(price),
    };
    let limit = |measure, amount| Counted { owner: format!("team-{ULID}").into(), measure, amount, span_ms: 60_000 };
    Ok(Circumstances {
        source_address: Some([192, 0, 2, 7].into()),
        user_agent: "claude-cli/2.1.330 (external, sdk-cli)".into(),
        reason: Arc::default(),
        held: NanoUsd::new(1_000_000),
        charges: Arc::new([Charge {
            budget: BudgetId::from_ulid(ULID)?,
            window: Some(UnixMillis::new(1_700_000_000_000)),
        }]),
        price: Some(Applied { model: Arc::new(model), price }),
        limits: Arc::new([limit(Measure::Requests, 600), limit(Measure::Tokens, 2_000_000)]),
        in_session: true,
        ..Circumstances::default()
    })
}

fn record() -> anyhow::Result<Record> {
    Ok(Record {
        incarnation: 0,
        sequence: 0,
        request_id: "req_01k9zq3v5m8c4t2n7r6x0w1y9b".into(),
        arrived: UnixMillis::new(1_700_000_000_000),
        duration_ms: 12_000,
        first_byte_ms: 800,
        outcome: Outcome::Completed,
        refusal: Arc::default(),
        status: 200,
        attribution: Attribution {
            key: KeyId::from_ulid(ULID)?,
            team: TeamId::from_ulid(ULID)?,
            customer: CustomerId::from_ulid(ULID)?,
            user: Some(UserId::from_ulid(ULID)?),
            session: "3f0c1f0e-6a9f-4a6e-9d5f-1d2b3c4d5e6f".into(),
            agent: Arc::default(),
            parent_agent: Arc::default(),
        },
        operation: "messages".into(),
        model: "claude-sonnet-4-5".into(),
        answered_model: "claude-sonnet-4-5-20250929".into(),
        provider: Some(ProviderId::from_ulid(ULID)?),
        credential: Some(CredentialId::from_ulid(ULID)?),
        streamed: true,
        tokens: Tokens { input: 12, output: 900, cache_read: 80_000, cache_write_5m: 2_000, ..Tokens::default() },
        cost: NanoUsd::new(45_000_000),
        unpriced: false,
        revision: 12,
        upstream_request_id: "req_011CVxyzxyzxyzxyzxyzxyzx".into(),
        attempts: 1,
        charges: Arc::default(),
        held_incarnation: None,
    })
}
