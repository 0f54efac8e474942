//! Measures how many exchanges a second are lent from the books, each of three budgets: one that all replicas share, one
//! that a tenth of them share, and one of each.
//!
//! `cargo run --profile measure -p tollgate-control-plane --example lend URL [exchanges [replicas [lenders]]]`, with a URL of
//! an empty database: `sqlite:///tmp/books.db` or `postgres://user@host/name`. Each lender stands for a control plane.
#![expect(clippy::print_stdout, reason = "it prints figures")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tollgate_control_plane::{
    lend::{Answered, Asked, Exchange, LendError, Lender},
    recalls::Recalls,
    seal::{KEY_BYTES, Keyring},
    store::{Statement, Store},
};
use tollgate_policy::{
    id::{BudgetId, ReplicaId},
    lend::Ask,
    money::NanoUsd,
};
use zeroize::Zeroizing;

// What a request holds, and what a replica borrows ahead.
const HOLD: i64 = 50_000_000;
const WISH: i64 = 4 * HOLD;
// More than is lent in any measurement.
const LIMIT: i64 = 1_000_000_000_000_000_000;
// So many replicas share the second budget.
const SHARE: i64 = 10;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("needs the URL of an empty database")?;
    let mut number = |default: i64| arguments.next().map_or(Ok(default), |text| text.parse::<i64>());
    let (exchanges, replicas, lenders) = (number(20_000)?, number(100)?, number(1)?);
    let store = Store::open(&url, keyring()).await?;
    configure(&store, replicas).await?;
    let stop = CancellationToken::new();
    let mut desks = JoinSet::new();
    let mut opened = Vec::new();
    for _ in 0..lenders {
        let (lender, desk) = Lender::new(Store::open(&url, keyring()).await?, Recalls::default());
        desks.spawn(desk.run(stop.clone()));
        opened.push(lender);
    }
    let began = Instant::now();
    let mut borrowing = JoinSet::new();
    for (replica, lender) in (0..replicas).zip(opened.iter().cycle()) {
        borrowing.spawn(borrow(lender.clone(), replica, exchanges / replicas));
    }
    let mut took = Vec::new();
    while let Some(ended) = borrowing.join_next().await {
        took.extend(ended??);
    }
    let seconds = began.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default();
    println!(
        "{} {} exchanges of 3 budgets, {replicas} replicas at once, {lenders} lenders: {:.0} a second; \
         half within {:.1} ms, 99 % within {:.1} ms",
        store.kind(),
        took.len(),
        took.len() as f64 / seconds,
        at(50).as_secs_f64() * 1e3,
        at(99).as_secs_f64() * 1e3,
    );
    stop.cancel();
    desks.join_all().await;
    Ok(())
}

fn budget(level: i64, number: i64) -> anyhow::Result<BudgetId> {
    Ok(BudgetId::parse(&format!("budget-{level:06}{number:020}"))?)
}

fn budgets(replica: i64) -> anyhow::Result<[BudgetId; 3]> {
    Ok([budget(1, 0)?, budget(2, replica / SHARE)?, budget(3, replica)?])
}

async fn configure(store: &Store, replicas: i64) -> anyhow::Result<()> {
    let mut txn = store.begin().await?;
    for replica in 0..replicas {
        for budget in budgets(replica)? {
            let insert = Statement::new(
                "INSERT INTO budgets (id, owner_kind, owner, position, limit_nano_usd, period, alignment, time_zone,
                 models, provider, enforcement, holding, thresholds, grace_nano_usd, grace_ms, contact, create_time,
                 created, retired) VALUES ($1, 'team', 'team', 0, $2, '1d', 'calendar', 'Europe/Berlin', '[]', NULL,
                 'hard', 'auto', '[]', 0, 0, '', 0, 1, 0) ON CONFLICT DO NOTHING",
            );
            txn.execute(insert.bind(budget.as_str()).bind(LIMIT)).await?;
        }
    }
    txn.commit().await?;
    Ok(())
}

// Borrows ahead, again and again, as a replica does that is never idle. Returns how long each exchange took.
async fn borrow(lender: Lender, number: i64, count: i64) -> anyhow::Result<Vec<Duration>> {
    let replica = ReplicaId::parse(&format!("replica-{number:026}"))?;
    let budgets = budgets(number)?;
    let mut known: [(Option<i64>, NanoUsd); 3] = Default::default();
    let mut took = Vec::new();
    for _ in 0..count {
        let ask = |granted| Ask {
            granted,
            need: NanoUsd::new(HOLD),
            wish: NanoUsd::new(WISH),
            mean_hold: NanoUsd::new(HOLD),
            ..Ask::default()
        };
        let asked = budgets.iter().zip(known);
        let asked =
            asked.map(|(budget, (window, granted))| Asked { budget: budget.clone(), window, ask: ask(granted) });
        let asks: Vec<_> = asked.collect();
        let began = Instant::now();
        let answers = loop {
            let exchange =
                Exchange { replica: replica.clone(), incarnation: 1, asks: asks.clone(), replayed: Vec::new() };
            match lender.exchange(exchange).await {
                Err(LendError::Unavailable) => {}
                answers => break answers?,
            }
        };
        took.push(began.elapsed());
        for (known, answered) in known.iter_mut().zip(answers) {
            let Answered::Lent { window, answer, .. } = answered else { anyhow::bail!("a budget is gone") };
            *known = (Some(window), answer.granted);
        }
    }
    Ok(took)
}

// Everything in the database is of this run.
fn keyring() -> Arc<Keyring> {
    Arc::new(Keyring::new(Zeroizing::new([7; KEY_BYTES]), None))
}
