//! Measures what the spool costs a visit: an intent before it, an outcome after it.
//!
//! `cargo run --profile measure -p tollgate-proxy --example spool [visits]`
#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::{fs, path::Path, sync::Arc, time::Instant};

use anyhow::Context as _;
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
use tollgate_proxy::{
    evidence::{Applied, Circumstances, Counted},
    spool::{Durability, Ended, Intent, Options, Spool},
};

// That of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";
const BYTES_MAX: u64 = 1024 * 1024 * 1024;

// Visits that are open at once, and reported together.
const OPEN: u64 = 500;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let visits = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse())?;
    let dir = std::env::temp_dir().join(format!("tollgate-spool-{}", std::process::id()));
    println!("CPU per visit in µs; `threads` are those of the store and of the sync.");
    println!("durability  batch  intent  outcome  threads  | report | intent p50 µs  p99 µs  max µs | resident");
    let resident_at_start = resident_kib()?;
    for (durability, batch, visits) in [
        (Durability::Group, 1, visits),
        (Durability::Group, 8, visits),
        (Durability::Group, 64, visits),
        (Durability::Memory, 8, visits),
        (Durability::Strict, 1, visits / 100),
    ] {
        let (spool, _) = Spool::open(&dir, Options { durability, bytes_max: BYTES_MAX })?;
        let idle = resident_kib()?.saturating_sub(resident_at_start);
        let measured = measure(&spool, batch, visits).await?;
        let loaded = resident_kib()?.saturating_sub(resident_at_start);
        println!("{:<10} {batch:>6} {measured} | +{idle} KiB opened, +{loaded} KiB loaded", format!("{durability:?}"));
        drop(spool);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
    }
    Ok(())
}

async fn measure(spool: &Spool, batch: u64, visits: u64) -> anyhow::Result<String> {
    let intent = intent()?;
    let mut latencies = Vec::new();
    let [mut intents, mut outcomes, mut reports] = [0; 3];
    let (process, thread) = (process_nanos()?, thread_nanos()?);
    for block in 0..visits / OPEN {
        let numbers = block * OPEN..(block + 1) * OPEN;
        let cpu = thread_nanos()?;
        for visit in numbers.clone() {
            let began = Instant::now();
            let ticketed = spool.intent(&Intent { visit, ..intent.clone() })?;
            spool.durable(ticketed).await?;
            latencies.push(began.elapsed().as_nanos());
        }
        intents += thread_nanos()? - cpu;
        let ended = |visit| Ended {
            visit: Some(visit),
            record: v1::Record::from(&record(&intent)),
            circumstances: intent.circumstances.clone(),
        };
        let mut ended: Vec<_> = numbers.map(ended).collect();
        let cpu = thread_nanos()?;
        while !ended.is_empty() {
            let rest = ended.split_off(ended.len().min(usize::try_from(batch)?));
            spool.outcomes(std::mem::replace(&mut ended, rest))?;
        }
        outcomes += thread_nanos()? - cpu;
        let cpu = thread_nanos()?;
        if let Some(pending) = spool.pending()? {
            spool.acknowledge(pending.incarnation, pending.first + pending.records.len() as u64 - 1)?;
        }
        reports += thread_nanos()? - cpu;
    }
    spool.sync()?;
    let threads = (process_nanos()? - process).saturating_sub(thread_nanos()? - thread);
    latencies.sort_unstable();
    let at = |share: usize| latencies.get(latencies.len() * share / 1_000).copied().unwrap_or_default() as f64 / 1e3;
    let max = latencies.last().copied().unwrap_or_default() as f64 / 1e3;
    let [intents, outcomes, threads, reports] =
        [intents, outcomes, threads, reports].map(|nanos| nanos as f64 / visits as f64 / 1e3);
    Ok(format!(
        "{intents:>7.1} {outcomes:>8.1} {threads:>8.1}  | {reports:>6.1} | {:>13.1} {:>7.1} {max:>7.0}",
        at(500),
        at(990)
    ))
}

fn intent() -> anyhow::Result<Intent> {
    Ok(Intent {
        visit: 0,
        request_id: "req_01k9zq3v5m8c4t2n7r6x0w1y9b".into(),
        arrived: UnixMillis::new(1_700_000_000_000),
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
        provider: Some(ProviderId::from_ulid(ULID)?),
        credential: Some(CredentialId::from_ulid(ULID)?),
        charges: Arc::default(),
        hold: NanoUsd::new(1_000_000),
        unpriced: false,
        revision: 12,
        circumstances: circumstances()?,
    })
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

fn record(intent: &Intent) -> Record {
    Record {
        incarnation: 0,
        sequence: 0,
        request_id: Arc::clone(&intent.request_id),
        arrived: intent.arrived,
        duration_ms: 12_000,
        first_byte_ms: 800,
        outcome: Outcome::Completed,
        refusal: Arc::default(),
        status: 200,
        attribution: intent.attribution.clone(),
        operation: Arc::clone(&intent.operation),
        model: Arc::clone(&intent.model),
        answered_model: "claude-sonnet-4-5-20250929".into(),
        provider: intent.provider.clone(),
        credential: intent.credential.clone(),
        streamed: true,
        tokens: Tokens { input: 12, output: 900, cache_read: 80_000, cache_write_5m: 2_000, ..Tokens::default() },
        cost: NanoUsd::new(45_000_000),
        unpriced: false,
        revision: 12,
        upstream_request_id: "req_011CVxyzxyzxyzxyzxyzxyzx".into(),
        attempts: 1,
        charges: std::sync::Arc::default(),
        held_incarnation: None,
    }
}

// The time on a processor, of this thread and of every thread of this process.
fn thread_nanos() -> anyhow::Result<u64> {
    on_processor(Path::new("/proc/thread-self"))
}

fn process_nanos() -> anyhow::Result<u64> {
    let mut nanos = 0;
    for task in fs::read_dir("/proc/self/task")? {
        nanos += on_processor(&task?.path())?;
    }
    Ok(nanos)
}

fn on_processor(task: &Path) -> anyhow::Result<u64> {
    let schedstat = fs::read_to_string(task.join("schedstat"))?;
    Ok(schedstat.split(' ').next().context("schedstat is empty")?.parse()?)
}

fn resident_kib() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
