//! One transaction of exchanges: who may ask, what ended runs had, and then each ask in turn.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::json;
use tollgate_audit::{Entry, Facts, Outcome};
use tollgate_policy::{
    id::{BudgetId, ReplicaId},
    money::NanoUsd,
};

use super::{Asked, Exchange, LendError};
use crate::{
    audit,
    books::{Answered, Books, Wanted},
    store::{
        Store, StoreError, Txn,
        books::{WindowId, leases::LeaseId},
    },
};

/// What became of exchanges.
pub(super) struct Round {
    /// For each of them, in their order.
    pub(super) results: Vec<Result<Vec<Answered>, LendError>>,
    /// The budgets that are to be recalled.
    pub(super) scarce: BTreeSet<BudgetId>,
}

/// Carries exchanges out, all or none.
pub(super) async fn carry_out(store: &Store, exchanges: &[Exchange], now: i64) -> Result<Round, StoreError> {
    let mut txn = store.begin().await?;
    let verdicts = admit(&mut txn, exchanges).await?;
    let admitted = exchanges.iter().zip(&verdicts).filter(|(_, verdict)| verdict.is_ok());
    let admitted: Vec<_> = admitted.map(|(exchange, _)| exchange).collect();
    let budgets = admitted.iter().flat_map(|exchange| exchange.asks.iter().map(|asked| asked.budget.clone()));
    let mut books = Books::open(&mut txn, budgets.collect(), now).await?;
    let replayed = replayed(&mut txn, &admitted).await?;
    let mut wanted: Wanted = replayed.iter().map(|lease| (lease.window.clone(), None)).collect();
    let leases: Vec<_> = admitted.iter().map(|exchange| leases(&books, exchange, now, &mut wanted)).collect();
    let asked = || leases.iter().flatten().flatten();
    books.lock(&mut txn, wanted).await?;
    books.take_out(&mut txn, asked().chain(&replayed).cloned().collect()).await?;
    books.count_borrowers(&mut txn, asked().map(|lease| lease.window.clone()).collect()).await?;

    let entries = release(&mut books, &replayed, now);
    let mut scarce = BTreeSet::new();
    let mut answers =
        admitted.iter().zip(&leases).map(|(exchange, leases)| answer(&mut books, exchange, leases, &mut scarce));
    let results = verdicts.into_iter().map(|verdict| verdict.map(|()| answers.next().unwrap_or_default())).collect();
    books.write(&mut txn).await?;
    if !entries.is_empty() {
        audit::append_all(&mut txn, &entries).await?;
    }
    txn.commit().await?;
    Ok(Round { results, scarce })
}

// The run that asks must be the newest that is known, and is from now on.
async fn admit(txn: &mut Txn, exchanges: &[Exchange]) -> Result<Vec<Result<(), LendError>>, StoreError> {
    let mut asking: BTreeMap<&ReplicaId, i64> = BTreeMap::new();
    for Exchange { replica, incarnation, .. } in exchanges {
        let newest = asking.entry(replica).or_default();
        *newest = (*newest).max(*incarnation);
    }
    let replicas: Vec<_> = asking.keys().copied().collect();
    let mut known = txn.lease_runs(&replicas).await?;
    let newer = asking.into_iter().filter(|(replica, run)| known.get(*replica).is_none_or(|known| run > known));
    let newer: Vec<_> = newer.collect();
    known.extend(txn.lease_runs_raise(&newer).await?);
    Ok(exchanges.iter().map(|exchange| verdict(exchange, &known)).collect())
}

fn verdict(exchange: &Exchange, known: &HashMap<ReplicaId, i64>) -> Result<(), LendError> {
    let asked = exchange.incarnation;
    match known.get(&exchange.replica) {
        Some(newest) if *newest > asked => Err(LendError::Superseded { asked, newest: *newest }),
        _ => Ok(()),
    }
}

// The leases of runs that ended and of which every record is stored.
async fn replayed(txn: &mut Txn, admitted: &[&Exchange]) -> Result<BTreeSet<LeaseId>, StoreError> {
    let mut leases = BTreeSet::new();
    for Exchange { replica, incarnation, replayed, .. } in admitted {
        if !replayed.is_empty() {
            let had = txn.leases_of(replica).await?.into_iter();
            leases.extend(had.filter(|had| had.incarnation < *incarnation && replayed.contains(&had.incarnation)));
        }
    }
    Ok(leases)
}

fn release(books: &mut Books, replayed: &BTreeSet<LeaseId>, now: i64) -> Vec<Entry> {
    let mut runs: BTreeMap<(&ReplicaId, i64), (u32, NanoUsd)> = BTreeMap::new();
    for lease in replayed {
        let released = books.release(lease);
        if released > NanoUsd::ZERO {
            let (leases, sum) = runs.entry((&lease.replica, lease.incarnation)).or_default();
            (*leases, *sum) = (*leases + 1, sum.plus(released));
        }
    }
    let entry = |((replica, incarnation), (leases, sum)): ((&ReplicaId, i64), (u32, NanoUsd))| {
        let target = format!("{}/{replica}", ReplicaId::NOUN);
        let detail =
            [("incarnation", json!(incarnation)), ("leases", json!(leases)), ("released_nano_usd", json!(sum.get()))];
        let detail = detail.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let facts =
            Facts { initiator: "system", target: &target, replica: replica.as_str(), detail, ..Facts::default() };
        Entry::new(now, "lease.replay", Outcome::Allowed, facts)
    };
    runs.into_iter().map(entry).collect()
}

// The lease of each ask, and the windows that they want. `None`: the budget is not one, or has no window to borrow from.
fn leases(books: &Books, exchange: &Exchange, now: i64, wanted: &mut Wanted) -> Vec<Option<LeaseId>> {
    let Exchange { replica, incarnation, asks, .. } = exchange;
    let lease = |Asked { budget, window, .. }: &Asked| {
        let terms = books.terms(budget)?;
        let current = || terms.current(now);
        let (start, fresh) = match window {
            // The books were restored from before it began: its row is made again, and learns from who borrowed.
            Some(start) if terms.lends() && *start == current().0 => current(),
            Some(start) => (*start, None),
            None if terms.lends() => current(),
            None => return None,
        };
        let window = WindowId { budget: budget.clone(), start };
        let wanted = wanted.entry(window.clone()).or_default();
        *wanted = wanted.or(fresh);
        Some(LeaseId { window, replica: replica.clone(), incarnation: *incarnation })
    };
    asks.iter().map(lease).collect()
}

fn answer(
    books: &mut Books,
    exchange: &Exchange,
    leases: &[Option<LeaseId>],
    scarce: &mut BTreeSet<BudgetId>,
) -> Vec<Answered> {
    let each = exchange.asks.iter().zip(leases).map(|(asked, lease)| {
        let Some(lease) = lease else { return Answered::Gone };
        let (answered, recall) = books.exchange(lease, &asked.ask);
        if recall {
            scarce.insert(asked.budget.clone());
        }
        answered
    });
    each.collect()
}
