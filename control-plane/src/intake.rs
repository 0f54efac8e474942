//! UsageIntakeService: takes what replicas report, each record once.
//!
//! One transaction stores a batch: the records, their sums, how far the run is stored, what they charge to budgets, and the
//! audit entry of each record, as the replica wrote it, with what guardrails found by it. A visit of nobody has its entry alone.
//! The row of the run is locked first, so that reports of one run follow each other, on whichever control plane they arrive.
//! A batch that begins behind a gap stores nothing and is answered with the last sequence without one.

use std::fmt;

use tollgate_policy::id::ReplicaId;
use tollgate_proto::{
    convert::usage::Reported,
    usage::v1::{self, usage_intake_service_server::UsageIntakeService},
};
use tonic::{Request, Response, Status};

use crate::{
    alerts::Alerts,
    api::{failure::Failure, violations::Violations},
    audit, clock,
    store::{Store, StoreError, usage::Chain},
};

use self::evidence::Evidence;

mod charges;
mod entry;
mod evidence;
mod findings;

/// The most records of one report, as the contract says.
pub const RECORDS_MAX: usize = 500;

/// Who reports. The layer that authenticates replicas puts it into the extensions of each call; nothing in a message says it.
#[derive(Clone, Debug)]
pub struct Reporter(pub ReplicaId);

/// Takes reports into a ledger.
#[derive(Clone)]
pub struct Intake {
    store: Store,
    alerts: Alerts,
}

/// A batch that keeps the rules: records of one run, in sequence, without gaps.
#[derive(Debug)]
struct Batch {
    incarnation: i64,
    records: Vec<Reported>,
    // What each record says for the audit log.
    evidence: Vec<Option<Evidence>>,
    forgotten_through: i64,
}

// === impl Intake ===

impl Intake {
    /// Takes reports into this database. What passes a threshold is told to nobody but the log.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self::alerting(store, Alerts::default())
    }

    /// Takes reports into this database, and tells of thresholds.
    #[must_use]
    pub const fn alerting(store: Store, alerts: Alerts) -> Self {
        Self { store, alerts }
    }

    // Stores what is new of a batch. Returns up to which sequence the run is stored.
    async fn take(&self, replica_id: &ReplicaId, batch: &Batch) -> Result<i64, StoreError> {
        let Batch { incarnation, records, evidence, forgotten_through } = batch;
        let now_ms = clock::now_ms();
        let replica = replica_id.as_str();
        let mut txn = self.store.begin().await?;
        let stored = txn.usage_run(replica, *incarnation, now_ms).await?;
        let known = stored.max(*forgotten_through);
        let new = fresh(records, known);
        let Some(last) = new.last().filter(|_| begins(records) <= known + 1) else {
            txn.end().await?;
            return Ok(stored);
        };
        let through = signed(last.sequence());
        let inserted = txn.usage_insert(replica, new).await?;
        // A run's acknowledged records are never new again, since its row is locked: that alone keeps what has no row from being
        // told twice.
        let is_new = |reported: &Reported| is_nobodys(reported) || inserted.contains(&reported.sequence());
        let counted = || new.iter().filter(|reported| is_new(reported));
        txn.usage_sum(counted().filter_map(visit)).await?;
        txn.usage_acknowledge(replica, *incarnation, through).await?;
        let passed = charges::charge(&mut txn, replica_id, *incarnation, counted().filter_map(visit), now_ms).await?;
        let told = self.alerts.entries(&mut txn, &passed, now_ms).await?;
        let mut chain = txn.usage_chain(replica, *incarnation).await?;
        let mut drafts = Vec::with_capacity(new.len() + 1);
        if stored < known {
            drafts.push(entry::here(entry::forgotten(
                replica,
                *incarnation,
                chain.sequence,
                known.unsigned_abs(),
                now_ms,
            )));
            chain = Chain { sequence: known.unsigned_abs(), link: None };
        }
        let evidence = evidence.get(records.len() - new.len()..).unwrap_or_default();
        for (reported, evidence) in new.iter().zip(evidence).filter(|(reported, _)| is_new(reported)) {
            evidence::draft(&mut drafts, &mut chain, replica, reported, evidence.as_ref(), now_ms)?;
        }
        txn.usage_chain_move(replica, *incarnation, &chain).await?;
        drafts.extend(told.into_iter().map(entry::here));
        let mut found = findings::of(&drafts);
        let first = audit::append_drafts(&mut txn, drafts).await?;
        found.iter_mut().for_each(|finding| finding.at.index += first);
        txn.findings_insert(&found).await?;
        txn.commit().await?;
        self.alerts.told(passed.len());
        Ok(through)
    }
}

#[tonic::async_trait]
impl UsageIntakeService for Intake {
    async fn report(&self, request: Request<v1::ReportRequest>) -> Result<Response<v1::ReportResponse>, Status> {
        let reporter = request.extensions().get::<Reporter>().cloned();
        let Reporter(replica) = reporter.ok_or_else(|| Status::unauthenticated("only a replica may report usage"))?;
        let batch = Batch::read(request.into_inner())?;
        let acknowledged_sequence = self.take(&replica, &batch).await.map_err(Failure::from)?;
        Ok(Response::new(v1::ReportResponse { acknowledged_sequence }))
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("store", &self.store.kind()).finish()
    }
}

// === impl Batch ===

impl Batch {
    fn read(request: v1::ReportRequest) -> Result<Self, Failure> {
        let v1::ReportRequest { incarnation, records, forgotten_through } = request;
        let mut violations = Violations::default();
        if incarnation < 1 {
            violations.add("incarnation", "must be 1 or more");
        }
        if records.len() > RECORDS_MAX {
            violations.add("records", format!("must be at most {RECORDS_MAX}"));
            return violations.finish(None);
        }
        let mut read = Vec::with_capacity(records.len());
        let mut evidence = Vec::with_capacity(records.len());
        for (at, mut record) in records.into_iter().enumerate() {
            match Evidence::read(&mut record) {
                Ok(found) => evidence.push(found),
                Err(rule) => violations.add(format!("records[{at}].evidence"), rule),
            }
            match Reported::try_from(record) {
                Ok(record) => read.push(record),
                Err(error) => violations.add(format!("records[{at}].{}", error.field), error.rule),
            }
        }
        if violations.is_empty() && !follow(incarnation, &read) {
            violations.add("records", "must be of the request's run, in the order of their sequence, without gaps");
        }
        // A run cannot have forgotten what it still reports.
        if !(0..begins(&read).max(1)).contains(&forgotten_through) {
            violations.add("forgotten_through", "must be before the first record");
        }
        violations.finish(Some(Self { incarnation, records: read, evidence, forgotten_through }))
    }
}

fn follow(incarnation: i64, records: &[Reported]) -> bool {
    let first = begins(records);
    records.iter().zip(first..).all(|(reported, sequence)| {
        signed(reported.incarnation()) == incarnation && signed(reported.sequence()) == sequence
    })
}

// The sequence of the first record; 0 when there is none.
fn begins(records: &[Reported]) -> i64 {
    records.first().map_or(0, |reported| signed(reported.sequence()))
}

// The records behind what is known.
fn fresh(records: &[Reported], known: i64) -> &[Reported] {
    let old = records.partition_point(|reported| signed(reported.sequence()) <= known);
    records.get(old..).unwrap_or_default()
}

const fn visit(reported: &Reported) -> Option<&tollgate_policy::usage::Record> {
    match reported {
        Reported::Visit(record) => Some(record),
        Reported::Gap(_) | Reported::Unidentified(_) => None,
    }
}

const fn is_nobodys(reported: &Reported) -> bool {
    matches!(reported, Reported::Unidentified(_))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
