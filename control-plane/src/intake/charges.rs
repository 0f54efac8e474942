//! What a batch charges to budgets: summed in memory first, so that each window and each lease is touched once.

use std::collections::BTreeMap;

use tollgate_policy::{
    id::{BudgetId, ReplicaId},
    money::NanoUsd,
    usage::{Charge, Record},
    window::Window,
};

use crate::{
    books::{Books, Passed, Wanted, window_of},
    store::{
        StoreError, Txn,
        books::{
            Terms, WindowId,
            corrections::{SLOT_MS, SLOTS_KEPT},
            leases::LeaseId,
        },
    },
};

/// Charges records of one run, each of which must be charged once. Returns the thresholds that were passed. Records that are
/// charged to no budget ask nothing of the database, and a budget that does not exist is passed over.
pub(super) async fn charge<'a>(
    txn: &mut Txn,
    replica: &ReplicaId,
    incarnation: i64,
    records: impl Iterator<Item = &'a Record>,
    now: i64,
) -> Result<Vec<Passed>, StoreError> {
    let charged: Vec<_> = records.filter(|record| !record.charges.is_empty() && record.cost > NanoUsd::ZERO).collect();
    if charged.is_empty() {
        return Ok(Vec::new());
    }
    let each = || charged.iter().flat_map(|record| record.charges.iter().map(|charge| (*record, charge)));
    let mut books = Books::open(txn, each().map(|(_, charge)| charge.budget.clone()).collect(), now).await?;
    let mut wanted = Wanted::new();
    for (terms, record, charge) in with_terms(&books, each()) {
        want(&mut wanted, place(terms, record, charge, now));
    }
    books.lock(txn, wanted).await?;
    let mut missing = Wanted::new();
    let mut sums: BTreeMap<(WindowId, Option<i64>), NanoUsd> = BTreeMap::new();
    let mut slots: BTreeMap<(BudgetId, i64), NanoUsd> = BTreeMap::new();
    for (terms, record, charge) in with_terms(&books, each()) {
        let mut placed = place(terms, record, charge, now);
        // A window that no terms make and that has no row: the books were restored from before it began.
        if !books.has(&placed.0) {
            placed = window_of(terms, record.arrived.get(), now);
            want(&mut missing, placed.clone());
        }
        // What an earlier run had borrowed pays for what it did not live to report.
        let run = record.held_incarnation.and_then(|run| i64::try_from(run).ok()).unwrap_or(incarnation);
        add(&mut sums, (placed.0, charge.window.map(|_| run)), record.cost);
        let slot = record.arrived.get().min(now) / SLOT_MS;
        if slot > now / SLOT_MS - SLOTS_KEPT {
            add(&mut slots, (charge.budget.clone(), slot), record.cost);
        }
    }
    if !missing.is_empty() {
        books.lock(txn, missing).await?;
    }
    let lease = |window: &WindowId, run: Option<i64>| {
        run.map(|incarnation| LeaseId { window: window.clone(), replica: replica.clone(), incarnation })
    };
    let leases = sums.keys().filter_map(|(window, run)| lease(window, *run));
    books.take_out(txn, leases.collect()).await?;
    for ((window, run), amount) in &sums {
        books.charge(window, lease(window, *run).as_ref(), *amount);
    }
    let passed = books.write(txn).await?;
    txn.spend_add(&slots.into_iter().collect::<Vec<_>>()).await?;
    Ok(passed)
}

fn with_terms<'b, 'r>(
    books: &'b Books,
    each: impl Iterator<Item = (&'r Record, &'r Charge)>,
) -> impl Iterator<Item = (&'b Terms, &'r Record, &'r Charge)> {
    each.filter_map(|(record, charge)| Some((books.terms(&charge.budget)?, record, charge)))
}

// The window of a charge, with its end where its row may be made.
fn place(terms: &Terms, record: &Record, charge: &Charge, now: i64) -> (WindowId, Option<Window>) {
    let Some(start) = charge.window else { return window_of(terms, record.arrived.get(), now) };
    let window = terms.window_at(start.get());
    let is_real = window.start == start && start.get() <= terms.current(now).0;
    (WindowId { budget: charge.budget.clone(), start: start.get() }, is_real.then_some(window))
}

fn want(wanted: &mut Wanted, (id, window): (WindowId, Option<Window>)) {
    let wanted = wanted.entry(id).or_default();
    *wanted = wanted.or(window);
}

fn add<K: Ord>(sums: &mut BTreeMap<K, NanoUsd>, key: K, amount: NanoUsd) {
    let sum = sums.entry(key).or_default();
    *sum = sum.plus(amount);
}
