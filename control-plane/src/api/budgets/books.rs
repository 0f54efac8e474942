//! Corrects the books, and frees what replicas that will never report again have borrowed.

use std::collections::BTreeSet;

use serde_json::json;
use tollgate_policy::{
    id::{BudgetId, ReplicaId},
    money::NanoUsd,
    time::UnixMillis,
};
use tollgate_proto::admin::v1;

use super::status_of;
use crate::{
    api::{Admin, authorize::Authorized, failure::Failure, violations::Violations, wire},
    audit,
    books::{Books, Wanted},
    change::{Change, Done},
    clock,
    store::{
        Txn,
        books::{Terms, WindowId, corrections::Adjustment, leases::LeaseRow},
        replicas::Replica,
    },
};

/// The longest reason, in characters.
const REASON_MAX: usize = 500;
/// The longest name of a request, in bytes.
const REQUEST_ID_MAX: usize = 128;
/// The largest correction, in nano-dollars: 72 million dollars.
const AMOUNT_MAX: i64 = i64::MAX / 128;
/// The most leases that are listed.
const LEASES_MAX: i64 = 1_000;

/// A correction that is asked for.
#[derive(Debug)]
struct Correction {
    budget: BudgetId,
    amount: NanoUsd,
    reason: String,
    at: Option<i64>,
    request_id: Option<String>,
}

impl Admin {
    /// Corrects what was spent, in the window that contains the instant. The same request again changes nothing.
    pub(super) async fn budget_adjust(
        &self,
        by: &Authorized,
        message: v1::AdjustBudgetRequest,
    ) -> Result<v1::BudgetStatus, Failure> {
        let correction = Correction::read(message, clock::now_ms())?;
        let mut change = Change::begin(&self.store, by).await?;
        let now = change.now;
        let budget = correction.budget.clone();
        let mut books = Books::open(&mut change.txn, BTreeSet::from([budget.clone()]), now).await?;
        let missing = || Failure::NotFound { kind: BudgetId::NOUN, name: budget.to_string() };
        let terms = books.terms(&budget).ok_or_else(missing)?.clone();
        if let Some(made) = correction.made(&mut change.txn).await? {
            correction.ensure_same(&made, &terms)?;
            return status_of(&mut change.txn, by, budget.as_str(), UnixMillis::new(now)).await;
        }
        let window = lock(&mut change.txn, &mut books, &terms, correction.at.unwrap_or(now), now).await?;
        let (before, after) = books.adjust(&window, correction.amount).unwrap_or_default();
        let passed = books.write(&mut change.txn).await?;
        let adjustment = correction.adjustment(window, by, now);
        change.txn.adjustment_insert(&adjustment).await?;
        let alerts = self.fleet.parts.alerts.clone();
        let entries = alerts.entries(&mut change.txn, &passed, now).await?;
        if !entries.is_empty() {
            audit::append_all(&mut change.txn, &entries).await?;
        }
        let status = status_of(&mut change.txn, by, budget.as_str(), UnixMillis::new(now)).await?;
        let target = format!("{}/{budget}", BudgetId::NOUN);
        let Adjustment { id, window, amount, request_id, .. } = &adjustment;
        let before = wire::fields([("settled_nano_usd", json!(before.get()))]);
        let after = wire::fields([
            ("settled_nano_usd", json!(after.get())),
            ("adjustment", json!(id)),
            ("amount_nano_usd", json!(amount.get())),
            ("window_ms", json!(window.start)),
            ("request_id", json!(request_id)),
        ]);
        let done = Done {
            target: &target,
            before: Some(before),
            after: Some(after),
            reason: &adjustment.reason,
            ..Done::default()
        };
        change.finish(done).await?;
        alerts.told(passed.len());
        Ok(status)
    }

    /// Lists what replicas have borrowed and neither spent nor given back.
    pub(super) async fn lease_list(&self, message: v1::ListLeasesRequest) -> Result<v1::ListLeasesResponse, Failure> {
        let v1::ListLeasesRequest { replica, budget } = message;
        let mut violations = Violations::default();
        let budget = Some(budget.as_str()).filter(|budget| !budget.is_empty());
        let budget = budget.and_then(|budget| violations.take("budget", BudgetId::parse(budget)));
        let budget = violations.finish(Some(budget))?;
        let mut txn = self.store.begin_read().await?;
        let replica = if replica.is_empty() { None } else { Some(borrower(&mut txn, &replica).await?.0) };
        let rows = txn.leases_list(replica.as_ref(), budget.as_ref(), LEASES_MAX).await?;
        txn.end().await?;
        Ok(v1::ListLeasesResponse { leases: rows.iter().map(written).collect() })
    }

    /// Frees what the ended runs of a replica have borrowed, and its newest one too when the replica does not follow. What is
    /// freed is fenced: none of these runs borrows again.
    pub(super) async fn lease_release(
        &self,
        by: &Authorized,
        message: v1::ReleaseLeasesRequest,
    ) -> Result<v1::ReleaseLeasesResponse, Failure> {
        let v1::ReleaseLeasesRequest { replica: named, reason } = message;
        let mut violations = Violations::default();
        let reason = required_reason(&reason, &mut violations);
        let reason = violations.finish(reason)?;
        let mut change = Change::begin(&self.store, by).await?;
        let (id, replica) = borrower(&mut change.txn, &named).await?;
        // Locked, so that none of its runs borrows meanwhile.
        change.txn.lease_runs(&[&id]).await?;
        let mut leases = change.txn.leases_of(&id).await?;
        let borrowed = leases.iter().map(|lease| lease.incarnation).max().unwrap_or_default();
        let newest = replica.as_ref().map_or(borrowed, |replica| replica.incarnation.max(borrowed));
        let follows = replica.is_some_and(|replica| replica.is_connected(change.now));
        // The next run of a replica has a higher number.
        let first_alive = if follows { newest } else { newest.saturating_add(1) };
        change.txn.lease_runs_raise(&[(&id, first_alive)]).await?;
        leases.retain(|lease| lease.incarnation < first_alive);
        let mut books = Books::open(&mut change.txn, BTreeSet::new(), change.now).await?;
        let windows: Wanted = leases.iter().map(|lease| (lease.window.clone(), None)).collect();
        books.lock(&mut change.txn, windows).await?;
        books.take_out(&mut change.txn, leases.iter().cloned().collect()).await?;
        let freed: Vec<_> =
            leases.iter().map(|lease| books.release(lease)).filter(|sum| *sum > NanoUsd::ZERO).collect();
        books.write(&mut change.txn).await?;
        let released: NanoUsd = freed.iter().copied().sum();
        let target = format!("{}/{id}", ReplicaId::NOUN);
        let after = wire::fields([
            ("leases", json!(freed.len())),
            ("released_nano_usd", json!(released.get())),
            ("through_incarnation", json!(first_alive.saturating_sub(1))),
        ]);
        change.finish(Done { target: &target, after: Some(after), reason: &reason, ..Done::default() }).await?;
        let leases = i32::try_from(freed.len()).unwrap_or(i32::MAX);
        Ok(v1::ReleaseLeasesResponse { leases, released_nano_usd: released.get() })
    }
}

// === impl Correction ===

impl Correction {
    fn read(message: v1::AdjustBudgetRequest, now: i64) -> Result<Self, Failure> {
        let v1::AdjustBudgetRequest { budget, amount_nano_usd, reason, at, request_id } = message;
        let mut violations = Violations::default();
        let budget = violations.take("budget", BudgetId::parse(&budget));
        if amount_nano_usd == 0 || !(-AMOUNT_MAX..=AMOUNT_MAX).contains(&amount_nano_usd) {
            violations.add("amount_nano_usd", format!("must be from -{AMOUNT_MAX} to {AMOUNT_MAX}, and not 0"));
        }
        let reason = required_reason(&reason, &mut violations);
        let at = at.and_then(|at| wire::instant("at", &at, &mut violations));
        if at.is_some_and(|at| at > now) {
            violations.add("at", "must not be in the future");
        }
        if request_id.len() > REQUEST_ID_MAX || !request_id.bytes().all(|byte| byte.is_ascii_graphic()) {
            violations.add("request_id", format!("must be at most {REQUEST_ID_MAX} visible characters of ASCII"));
        }
        let request_id = Some(request_id).filter(|id| !id.is_empty());
        let amount = NanoUsd::new(amount_nano_usd);
        let both = wire::both((budget, reason));
        violations.finish(both.map(|(budget, reason)| Self { budget, amount, reason, at, request_id }))
    }

    async fn made(&self, txn: &mut Txn) -> Result<Option<Adjustment>, Failure> {
        let Some(request_id) = &self.request_id else { return Ok(None) };
        Ok(txn.adjustment_find(request_id).await?)
    }

    fn ensure_same(&self, made: &Adjustment, terms: &Terms) -> Result<(), Failure> {
        let in_window = self.at.is_none_or(|at| terms.window_at(at).start.get() == made.window.start);
        let same = made.window.budget == self.budget && made.amount == self.amount && made.reason == self.reason;
        if same && in_window {
            return Ok(());
        }
        let value = self.request_id.clone().unwrap_or_default();
        Err(Failure::Exists { kind: "different correction", field: "request_id", value })
    }

    fn adjustment(self, window: WindowId, by: &Authorized, now: i64) -> Adjustment {
        let Self { amount, reason, request_id, .. } = self;
        let id = format!("adjustment-{}", ulid::Ulid::generate().to_string().to_ascii_lowercase());
        Adjustment { id, window, amount, principal: by.principal().to_owned(), reason, request_id, time: now }
    }
}

// Locks the window that contains an instant. Only the current one may have no row yet.
async fn lock(txn: &mut Txn, books: &mut Books, terms: &Terms, at: i64, now: i64) -> Result<WindowId, Failure> {
    let (current, fresh) = terms.current(now);
    let contains = terms.window_at(at).start.get();
    let (start, fresh) = if contains >= current { (current, fresh) } else { (contains, None) };
    let window = WindowId { budget: terms.budget.clone(), start };
    books.lock(txn, Wanted::from([(window.clone(), fresh)])).await?;
    if books.has(&window) {
        return Ok(window);
    }
    let subject = format!("{}/{}", BudgetId::NOUN, terms.budget);
    Err(Failure::Blocked { subject, sentence: "nothing was lent or spent in the window of that instant".into() })
}

// The replica of this id or name; an id is good as it is, since leases outlive their replica.
async fn borrower(txn: &mut Txn, named: &str) -> Result<(ReplicaId, Option<Replica>), Failure> {
    match (txn.replica_find(named).await?, ReplicaId::parse(named)) {
        (Some(replica), _) => Ok((replica.id.clone(), Some(replica))),
        (None, Ok(id)) => Ok((id, None)),
        (None, Err(_)) => Err(Failure::NotFound { kind: ReplicaId::NOUN, name: wire::shown(named) }),
    }
}

fn required_reason(text: &str, violations: &mut Violations) -> Option<String> {
    if text.trim().is_empty() {
        violations.add("reason", "must say why");
        return None;
    }
    wire::prose("reason", text, REASON_MAX, violations)
}

fn written(row: &LeaseRow) -> v1::Lease {
    let LeaseRow { id, replica_name, outstanding, ended } = row;
    v1::Lease {
        budget: id.window.budget.to_string(),
        window_start: Some(wire::timestamp(id.window.start)),
        replica: id.replica.to_string(),
        replica_name: replica_name.clone(),
        incarnation: id.incarnation,
        outstanding_nano_usd: outstanding.get(),
        ended: *ended,
    }
}
