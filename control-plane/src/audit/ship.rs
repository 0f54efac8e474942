//! Ships the log to where others read it: to each sink of the configuration every entry, in order, at least once.
//!
//! ```text
//!          shipped              sent          length
//! ----------|--------------------|--------------|
//!   the sink has acknowledged    | on its way   | waits
//! ```
//!
//! What is acknowledged stands in the database, and only that is never sent again: after a failure, a restart or a change of the
//! control plane that ships, sending begins behind it. Whoever reads tells what came twice by the index. Of several control
//! planes over one database one holds a sink, for as long as it says so every few seconds.
//!
//! Reading order: here, the cursor; [`settings`], the configuration; [`batch`], what is sent; [`syslog`] and the [`stream`] below
//! it, [`collector`], [`file`], the kinds of sinks; [`tls`], whom they are believed to be.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::{
    batch::Batch,
    collector::Collector,
    file::Output,
    settings::{SinkSettings, To},
    syslog::Syslog,
};
use crate::{
    clock,
    metrics::{AuditSink, AuditSinks},
    store::{Store, StoreError},
};

pub mod settings;
mod batch;
mod syslog;
mod stream;
mod collector;
mod file;
mod tls;

/// How often is looked for new entries.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Entries that are read, and sent, at a time.
const BATCH_ENTRIES_MAX: i64 = 500;
/// How long a sink may take for a batch, or for a connection.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// For so long a sink belongs to a control plane that says nothing more, in milliseconds: two attempts.
const HOLD_MS: i64 = 20_000;
/// The pause after the first failure, in milliseconds; it doubles, and up to a quarter of it is added by chance.
const PAUSE_MS_FIRST: u64 = 500;
/// The longest pause, in milliseconds.
const PAUSE_MS_MAX: u64 = 60_000;
/// How long a batch that has begun may take when the process is told to stop.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Where Linux says how the machine is called.
const HOST_FILE: &str = "/proc/sys/kernel/hostname";

/// Ships to every sink of a configuration.
#[derive(Debug)]
pub struct Shipping {
    shippers: Vec<Shipper>,
}

/// Why nothing can be shipped.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// The database.
    #[error("failed to begin shipping the audit log")]
    Store(#[from] StoreError),
    /// The HTTP client.
    #[error("failed to make the client of a sink of the audit log")]
    Client(#[from] reqwest::Error),
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the connection failed: {0}")]
    Connection(#[from] std::io::Error),
    #[error("the sink ended the connection")]
    Ended,
    #[error("the sink took longer than ten seconds")]
    Late,
    #[error("the request failed: {0}")]
    Request(String),
    #[error("the collector answered {0}")]
    Refused(http::StatusCode),
}

#[derive(Debug)]
struct Shipper {
    store: Store,
    name: String,
    from_now: bool,
    actions: Vec<String>,
    host: String,
    destination: Destination,
    metrics: AuditSink,
    // The run, to the other control planes.
    holder: String,
    // By the clock; 0 when another holds the sink.
    held_until: i64,
    shipped: i64,
    sent: i64,
    // Halved by each failure, so that one bad entry is found and a slow sink gets through.
    entries_max: i64,
    failures: u32,
    rests_until: Instant,
}

#[derive(Debug)]
enum Destination {
    Syslog(Syslog),
    Collector(Collector),
    File(Output),
}

// How a turn ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    // There is nothing more to do for now.
    Quiet,
    // There may be more to send.
    More,
}

// === impl Shipping ===

impl Shipping {
    /// Begins the sinks that are new.
    ///
    /// # Errors
    /// [`ShipError`].
    pub async fn open(sinks: &[SinkSettings], store: &Store, metrics: &AuditSinks) -> Result<Self, ShipError> {
        let holder = ulid::Ulid::generate().to_string();
        let mut shippers = Vec::with_capacity(sinks.len());
        for sink in sinks {
            let shipper = Shipper::new(sink, store, metrics.of(sink.name.as_str()), holder.clone())?;
            shipper.begin().await?;
            shippers.push(shipper);
        }
        Ok(Self { shippers })
    }

    /// Ships until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        join_all(self.shippers.into_iter().map(|shipper| shipper.run(&stop))).await;
        stop.cancelled().await;
    }
}

// === impl Shipper ===

impl Shipper {
    fn new(sink: &SinkSettings, store: &Store, metrics: AuditSink, holder: String) -> Result<Self, ShipError> {
        let SinkSettings { name, from_now, actions, host, to } = sink.clone();
        Ok(Self {
            store: store.clone(),
            name: name.to_string(),
            from_now,
            actions,
            host: host.unwrap_or_else(host_name),
            destination: Destination::open(to)?,
            metrics,
            holder,
            held_until: 0,
            shipped: 0,
            sent: 0,
            entries_max: BATCH_ENTRIES_MAX,
            failures: 0,
            rests_until: Instant::now(),
        })
    }

    // A log that is shorter than what was shipped of it was restored from a backup: what it has anew is to be shipped.
    async fn begin(&self) -> Result<(), StoreError> {
        let mut txn = self.store.begin().await?;
        let shipped = txn.audit_sink(&self.name).await?.map(|standing| standing.shipped);
        let length = txn.audit_length().await?;
        let first = if self.from_now { length } else { 0 };
        txn.audit_sink_begin(&self.name, first, clock::now_ms()).await?;
        if let Some(shipped) = shipped.filter(|shipped| *shipped > length) {
            tracing::error!(sink = self.name, shipped, length, "the audit log is shorter than what was shipped of it");
            txn.audit_sink_rewind(&self.name, length).await?;
        }
        txn.commit().await
    }

    async fn run(mut self, stop: &CancellationToken) {
        let mut poll = tokio::time::interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut turn, mut failing) = (Turn::Quiet, false);
        while !stop.is_cancelled() {
            if turn == Turn::Quiet {
                tokio::select! {
                    () = stop.cancelled() => break,
                    _ = poll.tick() => {}
                }
            }
            let taken = tokio::select! {
                taken = self.turn() => taken,
                () = patience(stop) => {
                    tracing::warn!(sink = self.name, "gave up a batch of the audit log");
                    break;
                }
            };
            if let (Err(error), false) = (&taken, failing) {
                tracing::error!(sink = self.name, %error, "failed to read or move the cursor of a sink of the audit log");
            }
            failing = taken.is_err();
            turn = taken.unwrap_or(Turn::Quiet);
        }
        if let Err(error) = self.end().await {
            tracing::warn!(sink = self.name, %error, "failed to let go of a sink of the audit log");
        }
    }

    // Reads what comes next, sends it, and notes what is acknowledged.
    async fn turn(&mut self) -> Result<Turn, StoreError> {
        if !self.hold().await? {
            return Ok(Turn::Quiet);
        }
        let mut txn = self.store.begin_read().await?;
        let length = txn.audit_length().await?;
        let rests = Instant::now() < self.rests_until;
        let rows = if rests { Vec::new() } else { txn.audit_behind(self.sent, self.entries_max).await? };
        txn.end().await?;
        self.metrics.lag.set(length - self.shipped);
        if rests {
            return Ok(Turn::Quiet);
        }
        let batch = self.batch(rows);
        match tokio::time::timeout(ATTEMPT_MAX, self.destination.deliver(&batch)).await.unwrap_or(Err(Failure::Late)) {
            Ok(acknowledged) => {
                self.took(&batch);
                self.acknowledge(acknowledged.unwrap_or(self.shipped), length).await?;
                Ok(if batch.is_full { Turn::More } else { Turn::Quiet })
            }
            Err(failure) => {
                self.failed(&failure, &batch);
                Ok(Turn::Quiet)
            }
        }
    }

    // Takes the sink, or keeps it. Whoever takes it begins behind what was acknowledged.
    async fn hold(&mut self) -> Result<bool, StoreError> {
        let now = clock::now_ms();
        if now + HOLD_MS / 2 < self.held_until {
            return Ok(true);
        }
        let had = now < self.held_until;
        let mut txn = self.store.begin_read().await?;
        let (standing, length) = (txn.audit_sink(&self.name).await?, txn.audit_length().await?);
        txn.end().await?;
        let Some(standing) = standing else {
            self.begin().await?;
            return Ok(false);
        };
        self.metrics.lag.set(length - standing.shipped);
        if standing.holder != self.holder && now < standing.held_until {
            self.held_until = 0;
            return Ok(false);
        }
        let until = now + HOLD_MS;
        let mut txn = self.store.begin().await?;
        let held = txn.audit_sink_hold(&self.name, &self.holder, now, until).await?;
        txn.commit().await?;
        let Some(shipped) = held else { return Ok(false) };
        if !had {
            self.destination.reset();
            (self.shipped, self.sent) = (shipped, shipped);
        }
        self.held_until = until;
        Ok(true)
    }

    fn batch(&self, rows: Vec<crate::store::audit::Found>) -> Batch {
        let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows >= self.entries_max);
        let mut batch = Batch::behind(self.sent, is_full);
        for row in &rows {
            if row.index > batch.through + 1 {
                let (behind, next) = (batch.through, row.index);
                tracing::warn!(
                    sink = self.name,
                    behind,
                    next,
                    "entries are gone from the audit log and were not shipped"
                );
            }
            let record = batch::record(row, &self.actions, |placed| self.destination.record(&self.host, placed));
            let record = record.unwrap_or_else(|problem| {
                self.metrics.failures.inc();
                tracing::error!(
                    sink = self.name,
                    index = row.index,
                    problem,
                    "an audit entry cannot be read and is not shipped"
                );
                None
            });
            if !batch.take(row.index, record) {
                break;
            }
        }
        batch
    }

    fn took(&mut self, batch: &Batch) {
        self.metrics.shipped.inc_by(u64::try_from(batch.records.len()).unwrap_or_default());
        self.sent = batch.through;
        if batch.records.is_empty() {
            return;
        }
        self.entries_max = (self.entries_max * 2).min(BATCH_ENTRIES_MAX);
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!(sink = self.name, "the audit log is shipped again");
        }
    }

    // Nothing is lost by it: all that is not acknowledged is sent again.
    fn failed(&mut self, failure: &Failure, batch: &Batch) {
        self.metrics.failures.inc();
        if self.failures == 0 {
            let (sink, first, last) = (&self.name, self.shipped + 1, batch.through);
            tracing::error!(sink, first, last, %failure, "the audit log is not shipped; it is tried again");
        }
        self.destination.reset();
        self.sent = self.shipped;
        self.entries_max = (self.entries_max / 2).max(1);
        self.rests_until = Instant::now() + pause(self.failures);
        self.failures = self.failures.saturating_add(1);
    }

    async fn acknowledge(&mut self, acknowledged: i64, length: i64) -> Result<(), StoreError> {
        if acknowledged <= self.shipped {
            return Ok(());
        }
        let until = clock::now_ms() + HOLD_MS;
        let mut txn = self.store.begin().await?;
        let is_ours = txn.audit_sink_move(&self.name, &self.holder, acknowledged, until).await?;
        txn.commit().await?;
        if !is_ours {
            tracing::warn!(sink = self.name, "another control plane has taken over a sink of the audit log");
            self.held_until = 0;
            return Ok(());
        }
        (self.shipped, self.held_until) = (acknowledged, until);
        self.metrics.lag.set(length - acknowledged);
        Ok(())
    }

    // Lets others go on at once.
    async fn end(&mut self) -> Result<(), StoreError> {
        if self.held_until == 0 {
            return Ok(());
        }
        let is_taken = tokio::time::timeout(STOP_MAX, self.destination.finish()).await.unwrap_or(false);
        let shipped = if is_taken { self.sent } else { self.shipped };
        let mut txn = self.store.begin().await?;
        txn.audit_sink_move(&self.name, &self.holder, shipped, clock::now_ms()).await?;
        txn.commit().await
    }
}

// === impl Destination ===

impl Destination {
    fn open(to: To) -> Result<Self, reqwest::Error> {
        Ok(match to {
            To::Syslog(settings) => Self::Syslog(Syslog::new(settings)),
            To::Collector(settings) => Self::Collector(Collector::new(settings)?),
            To::File(settings) => Self::File(Output::new(settings)),
        })
    }

    // What is sent of an entry, with what delimits it.
    fn record(&self, host: &str, placed: &tollgate_audit::Placed<'_>) -> Vec<u8> {
        match self {
            Self::Syslog(syslog) => syslog.record(host, placed),
            Self::Collector(collector) => collector.record(host, placed),
            Self::File(output) => output.record(host, placed),
        }
    }

    // Sends a batch, which may be empty. Returns the last entry that is acknowledged now, if that is known.
    async fn deliver(&mut self, batch: &Batch) -> Result<Option<i64>, Failure> {
        match self {
            Self::Syslog(syslog) => syslog.deliver(batch).await,
            Self::Collector(collector) => collector.deliver(batch).await,
            Self::File(output) => output.deliver(batch).await,
        }
    }

    // Tells whether all that was delivered is acknowledged.
    async fn finish(&mut self) -> bool {
        match self {
            Self::Syslog(syslog) => syslog.finish().await,
            Self::Collector(_) | Self::File(_) => true,
        }
    }

    fn reset(&mut self) {
        match self {
            Self::Syslog(syslog) => syslog.reset(),
            Self::Collector(_) => {}
            Self::File(output) => output.reset(),
        }
    }
}

async fn patience(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_MAX).await;
}

fn pause(failures: u32) -> Duration {
    let doubled = PAUSE_MS_FIRST << failures.min(10);
    let longest = doubled.min(PAUSE_MS_MAX);
    let chance = u64::from(getrandom::u32().unwrap_or_default());
    Duration::from_millis((longest + chance % (longest / 4)).min(PAUSE_MS_MAX))
}

fn host_name() -> String {
    std::fs::read_to_string(HOST_FILE).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute() {
        for (failures, least, most) in [(0, 500, 625), (1, 1_000, 1_250), (6, 32_000, 40_000)] {
            let pause = pause(failures).as_millis();
            assert!((least..most).contains(&pause), "{failures}: {pause}");
        }
        assert_eq!((pause(7), pause(99)), (Duration::from_secs(60), Duration::from_secs(60)));
    }
}
