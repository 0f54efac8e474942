//! Measures how fast the ledger takes records, sums and sealed audit entries included, and how fast it answers.
//!
//! `cargo run --profile measure -p tollgate-control-plane --example intake URL [records [replicas]]`, with a URL of an empty
//! database: `sqlite:///tmp/ledger.db` or `postgres://user@host/name`.
#![expect(clippy::print_stdout, reason = "it prints figures")]

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;
use tollgate_audit::{
    seal::{CHAIN_START, SALT_BYTES, commitment, link},
    tree::Hash,
};
use tollgate_control_plane::{
    intake::{Intake, RECORDS_MAX, Reporter},
    seal::{KEY_BYTES, Keyring},
    store::{
        Store,
        usage::{By, RecordFilter, UsageFilter},
    },
};
use tollgate_policy::id::ReplicaId;
use tollgate_proto::convert::evidence::{Circumstances, encode};
use tollgate_proto::usage::v1::{
    Evidence, Outcome, Record, ReportRequest, Tokens, usage_intake_service_server::UsageIntakeService as _,
};
use tonic::Request;
use zeroize::Zeroizing;

const START_MS: i64 = 1_700_000_000_000;
const DAY_MS: i64 = 86_400_000;
// What a fleet of a company may look like.
const KEYS: i64 = 500;
const TEAMS: i64 = 25;
const MODELS: i64 = 8;
const VISITS_PER_SESSION: i64 = 200;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("needs the URL of an empty database")?;
    let records: i64 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let replicas: i64 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let store = Store::open(&url, keyring()).await?;
    let began = Instant::now();
    let mut reporting = JoinSet::new();
    for number in 0..replicas {
        let store = store.clone();
        reporting.spawn(async move { report(store, number, records / replicas).await });
    }
    while let Some(ended) = reporting.join_next().await {
        ended??;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{} {records} records from {replicas} replicas: {:.0} a second", store.kind(), records as f64 / seconds);
    ask(&store).await
}

async fn report(store: Store, number: i64, count: i64) -> anyhow::Result<()> {
    let intake = Intake::new(store);
    let replica = ReplicaId::parse(&format!("replica-{number:026}"))?;
    let (mut first, mut link) = (1, CHAIN_START);
    while first <= count {
        let last = (first + RECORDS_MAX as i64 - 1).min(count);
        let records = (first..=last).map(|sequence| sealed(record(number, sequence, count), &mut link));
        let records = records.collect::<anyhow::Result<_>>()?;
        let mut request = Request::new(ReportRequest { incarnation: 1, records, forgotten_through: 0 });
        request.extensions_mut().insert(Reporter(replica.clone()));
        first = intake.report(request).await?.into_inner().acknowledged_sequence + 1;
    }
    Ok(())
}

// With its audit entry, in the chain of the run, as a replica writes it.
fn sealed(mut record: Record, previous: &mut Hash) -> anyhow::Result<Record> {
    let circumstances = Circumstances {
        source_address: Some([10, 20, 30, 40].into()),
        user_agent: "claude-cli/2.1.330 (external, cli)".into(),
        ..Circumstances::default()
    };
    let body = encode(&record, &circumstances)?;
    let salt = [7; SALT_BYTES];
    record.evidence = Some(Evidence { body, salt: salt.to_vec(), previous: previous.to_vec() });
    let evidence = record.evidence.as_ref().context("was just set")?;
    let sequence = record.sequence.unsigned_abs();
    *previous = link(record.incarnation.unsigned_abs(), sequence, previous, &commitment(&salt, &evidence.body));
    Ok(record)
}

// Thirty days, whatever the number of records.
fn record(replica: i64, sequence: i64, count: i64) -> Record {
    let key = (sequence / VISITS_PER_SESSION * 7 + replica) % KEYS;
    Record {
        incarnation: 1,
        sequence,
        request_id: format!("req_{replica}_{sequence:020}"),
        arrived_ms: START_MS + sequence * (30 * DAY_MS / count.max(1)),
        duration_ms: 9_000,
        first_byte_ms: 700,
        outcome: Outcome::Completed.into(),
        status: 200,
        key: format!("key-{key:026}"),
        team: format!("team-{:026}", key % TEAMS),
        customer: format!("customer-{:026}", key % 3),
        user: format!("user-{key:026}"),
        session: format!("3f0c1f0e-6a9f-4a6e-9d5f-{replica:04}{:08}", sequence / VISITS_PER_SESSION),
        operation: "messages".into(),
        model: format!("claude-model-{}", sequence / 20 % MODELS),
        answered_model: "claude-sonnet-4-5-20250929".into(),
        provider: format!("provider-{:026}", 1),
        credential: format!("credential-{:026}", 1),
        streamed: true,
        tokens: Some(Tokens { input: 12, output: 900, cache_read: 80_000, cache_write_5m: 2_000, ..Tokens::default() }),
        cost_nano_usd: 45_000_000,
        revision: 12,
        upstream_request_id: "req_011CVxyzxyzxyzxyzxyzxyzx".into(),
        attempts: 1,
        ..Record::default()
    }
}

async fn ask(store: &Store) -> anyhow::Result<()> {
    let day = (Some(START_MS + 10 * DAY_MS + 1), Some(START_MS + 11 * DAY_MS + 7));
    for (what, by, (since, until)) in [
        ("by key, all", By::Key, (None, None)),
        ("by day, all", By::Day, (None, None)),
        ("by session, all", By::Session, (None, None)),
        ("by key, a day", By::Key, day),
        ("by session, a day", By::Session, day),
    ] {
        let began = Instant::now();
        let mut txn = store.begin_read().await?;
        let rows = txn.usage_summarize(by, &UsageFilter::default(), since, until).await?;
        txn.end().await?;
        println!("summary {what}: {} rows in {:.0} ms", rows.len(), began.elapsed().as_secs_f64() * 1e3);
    }
    let key = Some(format!("key-{:026}", 7));
    for (what, usage) in [("all", UsageFilter::default()), ("of a key", UsageFilter { key, ..UsageFilter::default() })]
    {
        let began = Instant::now();
        let filter = RecordFilter { usage, ..RecordFilter::default() };
        let mut txn = store.begin_read().await?;
        let rows = txn.usage_list(&filter, None, 100).await?;
        txn.end().await?;
        println!("list {what}: {} rows in {:.1} ms", rows.len(), began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}

// Everything in the database is of this run.
fn keyring() -> Arc<Keyring> {
    Arc::new(Keyring::new(Zeroizing::new([7; KEY_BYTES]), None))
}
