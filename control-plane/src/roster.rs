//! What is known of the replicas: the streams report, one task writes it down in batches, and reads back what operators want.
//!
//! A thousand replicas acknowledge each revision within a second. Written one by one that is a thousand commits; here it is
//! four.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{
    sync::{Notify, watch},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use tollgate_audit::{Entry, Facts, Outcome};
use tollgate_policy::id::ReplicaId;

use crate::{
    audit, clock,
    recalls::Recalls,
    store::{
        Store, StoreError, Txn,
        replicas::{Acknowledged, Opened, Refused},
        resting::Resting,
    },
};

/// How often what was reported is written.
const WRITE_INTERVAL: Duration = Duration::from_millis(250);
/// How often is looked for what operators want of replicas, and for budgets that other control planes recall.
const READ_INTERVAL: Duration = Duration::from_secs(1);

/// A replica that was not heard for so long serves nobody: without a control plane it is not ready after a day. Until then
/// its part of each rate limit is its own.
const SHARED_MS: i64 = 24 * 3_600_000;

/// The replicas that may follow, each with whether it is to drain. `None` before the database was first read.
pub(crate) type Wishes = Option<Arc<HashMap<ReplicaId, bool>>>;

/// The replicas among which fleet-wide rate limits are shared, by id. Empty before the database was first read.
pub(crate) type Sharers = Arc<[ReplicaId]>;

/// What streams report, and what is wanted of replicas.
#[derive(Debug)]
pub(crate) struct Roster {
    store: Store,
    // At most one entry for each replica.
    reports: Mutex<HashMap<ReplicaId, Report>>,
    wishes: watch::Sender<Wishes>,
    sharers: watch::Sender<Sharers>,
    wake: Notify,
    recalls: Recalls,
    // Up to which revision it is known who is behind.
    compared: AtomicI64,
}

// The latest of each thing that a replica's streams reported since the last write.
#[derive(Clone, Debug, Default)]
struct Report {
    opened: Option<Opened>,
    closed: Option<String>,
    acknowledged: Option<Acknowledged>,
    refused: Option<Refused>,
    resting: Option<Vec<Resting>>,
    seen: i64,
}

impl Roster {
    pub(crate) fn new(store: Store, recalls: Recalls) -> Self {
        Self {
            store,
            reports: Mutex::default(),
            wishes: watch::Sender::new(None),
            sharers: watch::Sender::new(Arc::default()),
            wake: Notify::new(),
            recalls,
            compared: AtomicI64::new(0),
        }
    }

    /// What is wanted of the replicas, and a wake at each change.
    pub(crate) fn wishes(&self) -> watch::Receiver<Wishes> {
        self.wishes.subscribe()
    }

    /// The replicas among which rate limits are shared, and a wake at each change.
    pub(crate) fn sharers(&self) -> watch::Receiver<Sharers> {
        self.sharers.subscribe()
    }

    /// Has what is wanted read at once.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(crate) fn opened(&self, replica: &ReplicaId, opened: Opened) {
        // What an earlier stream said is said again on this one.
        self.report(replica, |report| (report.opened, report.resting) = (Some(opened), None));
    }

    pub(crate) fn seen(&self, replica: &ReplicaId) {
        self.report(replica, |_| {});
    }

    pub(crate) fn acknowledged(&self, replica: &ReplicaId, acknowledged: Acknowledged) {
        self.report(replica, |report| report.acknowledged = Some(acknowledged));
    }

    pub(crate) fn refused(&self, replica: &ReplicaId, refused: Refused) {
        self.report(replica, |report| report.refused = Some(refused));
    }

    /// What the replica leaves alone, all of it.
    pub(crate) fn resting(&self, replica: &ReplicaId, resting: Vec<Resting>) {
        self.report(replica, |report| report.resting = Some(resting));
    }

    pub(crate) fn closed(&self, replica: &ReplicaId, stream: String) {
        self.report(replica, |report| report.closed = Some(stream));
    }

    /// Writes and reads until `stop` is cancelled, and then writes once more.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let mut changed = self.store.changed();
        let mut write = interval(WRITE_INTERVAL);
        let mut read = interval(READ_INTERVAL);
        let mut failing = false;
        while !stop.is_cancelled() {
            let done = tokio::select! {
                () = stop.cancelled() => self.write().await,
                _ = write.tick() => self.write().await,
                // What an operator changed is a revision like any other.
                Ok(()) = changed.changed() => {
                    changed.borrow_and_update();
                    self.read().await
                }
                () = self.wake.notified() => self.read().await,
                _ = read.tick() => self.read().await,
            };
            if let (Err(error), false) = (&done, failing) {
                tracing::error!(%error, "failed to keep the roster of replicas");
            }
            failing = done.is_err();
        }
    }

    fn report(&self, replica: &ReplicaId, note: impl FnOnce(&mut Report)) {
        let mut reports = self.reports();
        let report = reports.entry(replica.clone()).or_default();
        report.seen = clock::now_ms();
        note(report);
    }

    async fn read(&self) -> Result<(), StoreError> {
        let mut txn = self.store.begin_read().await?;
        let wishes: HashMap<_, _> = txn.replica_wishes().await?.into_iter().collect();
        let now = clock::now_ms();
        self.recalls.poll(&mut txn, now).await?;
        let sharers = txn.replica_serving(now.saturating_sub(SHARED_MS)).await?;
        txn.end().await?;
        self.sharers.send_if_modified(|known| {
            let differs = **known != *sharers;
            if differs {
                *known = sharers.into();
            }
            differs
        });
        self.wishes.send_if_modified(|known| {
            let differs = known.as_deref() != Some(&wishes);
            if differs {
                *known = Some(Arc::new(wishes));
            }
            differs
        });
        Ok(())
    }

    async fn write(&self) -> Result<(), StoreError> {
        let reports = mem::take(&mut *self.reports());
        let head = *self.store.changed().borrow();
        if reports.is_empty() && head == self.compared.load(Ordering::Relaxed) {
            return Ok(());
        }
        let written = self.write_all(&reports).await;
        if written.is_ok() {
            self.compared.store(head, Ordering::Relaxed);
            // Who follows again after a long time waits for its part of the rate limits.
            if reports.values().any(|report| report.opened.is_some()) {
                self.wake();
            }
        } else {
            // What was reported meanwhile is newer.
            let mut newer = self.reports();
            for (replica, report) in reports {
                let merged = newer.remove(&replica).unwrap_or_default().over(report);
                newer.insert(replica, merged);
            }
        }
        written
    }

    async fn write_all(&self, reports: &HashMap<ReplicaId, Report>) -> Result<(), StoreError> {
        let now = clock::now_ms();
        let mut txn = self.store.begin().await?;
        // In one order, so that two control planes do not wait for each other's rows.
        let mut ordered: Vec<_> = reports.iter().collect();
        ordered.sort_by_key(|(replica, _)| *replica);
        let mut entries = Vec::new();
        for (replica, report) in ordered {
            entries.extend(write_one(&mut txn, replica, report, now).await?);
        }
        txn.replica_behind(now).await?;
        if !entries.is_empty() {
            audit::append_all(&mut txn, &entries).await?;
        }
        txn.commit().await
    }

    fn reports(&self) -> MutexGuard<'_, HashMap<ReplicaId, Report>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report {
    // This one, where it says something, before an older one.
    fn over(self, older: Self) -> Self {
        let is_new = self.opened.is_some();
        let closed = if is_new { self.closed } else { self.closed.or(older.closed) };
        let resting = if is_new { self.resting } else { self.resting.or(older.resting) };
        Self {
            opened: self.opened.or(older.opened),
            closed,
            acknowledged: self.acknowledged.or(older.acknowledged),
            refused: self.refused.or(older.refused),
            resting,
            seen: self.seen.max(older.seen),
        }
    }
}

// Returns the entries for the log: what the replica has put in force, and what it refused, each once.
async fn write_one(txn: &mut Txn, replica: &ReplicaId, report: &Report, now: i64) -> Result<Vec<Entry>, StoreError> {
    let Report { opened, closed, acknowledged, refused, resting, seen } = report;
    match opened {
        Some(opened) => txn.replica_opened(replica, opened, *seen).await?,
        None => txn.replica_seen(replica, *seen).await?,
    }
    let entry = |action, outcome, detail: serde_json::Map<_, _>| {
        let target = format!("replica/{replica}");
        let facts =
            Facts { initiator: &target, target: &target, replica: replica.as_str(), detail, ..Facts::default() };
        Entry::new(now, action, outcome, facts)
    };
    let mut entries = Vec::new();
    if let Some(acknowledged) = acknowledged
        && txn.replica_acknowledged(replica, acknowledged, now).await?
    {
        let Acknowledged { epoch, revision, apply_us } = acknowledged;
        let mut detail = serde_json::Map::new();
        detail.insert("epoch".into(), json!(epoch));
        detail.insert("revision".into(), json!(revision));
        detail.insert("apply_us".into(), json!(apply_us));
        entries.push(entry("replica.apply", Outcome::Allowed, detail));
    }
    if let Some(refused) = refused
        && txn.replica_refused(replica, refused).await?
    {
        let Refused { epoch, revision, reason } = refused;
        tracing::warn!(%replica, revision, reason, "a replica refused a push");
        let mut detail = serde_json::Map::new();
        detail.insert("epoch".into(), json!(epoch));
        detail.insert("revision".into(), json!(revision));
        detail.insert("reason".into(), json!(reason));
        entries.push(entry("replica.refuse_push", Outcome::Failed, detail));
    }
    if let Some(resting) = resting {
        txn.replica_resting(replica, resting).await?;
    }
    if let Some(stream) = closed {
        txn.replica_closed(replica, stream).await?;
    }
    Ok(entries)
}

fn interval(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
