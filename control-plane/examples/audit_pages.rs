//! Measures how long a filtered page of a long audit log takes.
//!
//! `cargo run --profile measure -p tollgate-control-plane --example audit_pages URL [entries]`, with a URL of an empty database. The
//! rows are made by the database itself, since ten million are to be found, not sealed.
#![expect(clippy::print_stdout, reason = "it prints figures")]

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use tollgate_audit::{Entry, Facts, Header, Outcome, seal::CHAIN_START};
use tollgate_control_plane::{
    seal::{KEY_BYTES, Keyring},
    store::{
        Statement, Store,
        audit::list::{AuditFilter, Begin, TextMatch},
    },
};
use zeroize::Zeroizing;

/// A log of a year: an entry every three seconds.
const START_MS: i64 = 1_735_689_600_000;
const SPACING_MS: i64 = 3_000;
/// Rows of one statement.
const BATCH: i64 = 100_000;
/// The page that is asked for.
const PAGE: i64 = 50;
const ROUNDS: usize = 7;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("needs the URL of an empty database")?;
    let entries: i64 = arguments.next().map_or(Ok(10_000_000), |text| text.parse())?;
    let keyring = Arc::new(Keyring::new(Zeroizing::new([7; KEY_BYTES]), None));
    let store = Store::open(&url, keyring).await?;
    let began = Instant::now();
    fill(&store, entries).await?;
    println!("{} {entries} entries in {:.0} s", store.kind(), began.elapsed().as_secs_f64());
    for (what, filter) in filters(entries) {
        let newest = ask(&store, &filter, Begin::Newest).await?;
        let middle = ask(&store, &filter, Begin::Before(START_MS + entries / 2 * SPACING_MS, entries / 2)).await?;
        println!("{what:<34} newest {newest:>6.1} ms   from the middle {middle:>6.1} ms");
    }
    Ok(())
}

async fn fill(store: &Store, entries: i64) -> anyhow::Result<()> {
    let facts = Facts { initiator: "key/1", target: "model/m", request_id: "req_1", ..Facts::default() };
    let body = Entry::new(START_MS, "request.admit", Outcome::Allowed, facts).encode()?;
    let header = Header {
        log: [7; 16],
        index: 1,
        writer: "control-plane",
        incarnation: 1,
        sequence: 1,
        previous: CHAIN_START,
        time_ms: START_MS,
        action: "request.admit",
        key: [7; 8],
    };
    let header = header.encode()?;
    let mut first = 1;
    while first <= entries {
        let last = entries.min(first + BATCH - 1);
        let mut txn = store.begin().await?;
        let insert = Statement::new(
            "INSERT INTO audit_entries (idx, time, action, outcome, initiator, target, replica, request_id, session, team, header, salt, mac, leaf, body)
             WITH RECURSIVE n (i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $2)
             SELECT i, $3 + i * $4,
                 CASE WHEN i % 100003 = 0 THEN 'key.create' WHEN i % 50 = 0 THEN 'request.refuse' WHEN i % 99 = 0 THEN 'request.cut' ELSE 'request.admit' END,
                 CASE WHEN i % 50 = 0 THEN 'refused' WHEN i % 99 = 0 THEN 'failed' ELSE 'allowed' END,
                 'key/' || (i * 7919 % 5000), 'model/' || (i % 9), 'replica-' || (i % 12), 'req_' || i, 'session-' || (i / 200), 'team-' || (i % 200),
                 $5, $6, $7, $7, $8 FROM n",
        );
        let insert = insert.bind(first).bind(last).bind(START_MS).bind(SPACING_MS);
        txn.execute(insert.bind(header.clone()).bind(vec![7; 16]).bind(vec![7; 32]).bind(body.clone())).await?;
        txn.commit().await?;
        first = last + 1;
    }
    let mut txn = store.begin().await?;
    txn.execute(Statement::new("ANALYZE")).await?;
    Ok(txn.commit().await?)
}

fn filters(entries: i64) -> Vec<(&'static str, AuditFilter)> {
    let some = |text: &str| Some(text.to_owned());
    let none = AuditFilter::default;
    // A day in the middle of it.
    let day = START_MS + entries / 3 * SPACING_MS;
    let (since, until) = (Some(day), Some(day + 86_400_000));
    vec![
        ("everything", none()),
        ("action", AuditFilter { action: Some(TextMatch::Whole("request.cut".into())), ..none() }),
        ("action, one in 100,000", AuditFilter { action: Some(TextMatch::Whole("key.create".into())), ..none() }),
        ("actions by prefix", AuditFilter { action: Some(TextMatch::Prefix("request.".into())), ..none() }),
        ("outcome", AuditFilter { outcome: Some(Outcome::Refused), ..none() }),
        ("initiator", AuditFilter { initiator: some("key/7"), ..none() }),
        ("target", AuditFilter { target: some("model/3"), ..none() }),
        ("key", AuditFilter { key: some("7"), ..none() }),
        ("team", AuditFilter { team: some("team-7"), ..none() }),
        ("replica", AuditFilter { replica: some("replica-7"), ..none() }),
        ("session", AuditFilter { session: some("session-777"), ..none() }),
        ("request", AuditFilter { request_id: some("req_4242"), ..none() }),
        ("a day", AuditFilter { since, until, ..none() }),
        ("a key, a day", AuditFilter { key: some("7"), since, until, ..none() }),
        ("a team, refused", AuditFilter { team: some("team-50"), outcome: Some(Outcome::Refused), ..none() }),
        (
            "a team, a day, cut",
            AuditFilter {
                team: some("team-99"),
                action: Some(TextMatch::Whole("request.cut".into())),
                since,
                until,
                ..none()
            },
        ),
        ("a session that is not there", AuditFilter { session: some("none"), ..none() }),
    ]
}

// The middle of some rounds, in milliseconds.
async fn ask(store: &Store, filter: &AuditFilter, begin: Begin) -> anyhow::Result<f64> {
    let mut took = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let mut txn = store.begin_read().await?;
        let rows = txn.audit_list(filter, begin, PAGE).await?;
        txn.end().await?;
        std::hint::black_box(rows);
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    Ok(took.get(ROUNDS / 2).copied().unwrap_or_default())
}
