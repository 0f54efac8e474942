//! Ships to one sink: reads what comes next, sends it, notes what is acknowledged, and tries again what failed.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{
    ATTEMPT_MAX, Failure,
    batch::{self, Batch},
    cursor::{Cursor, Hold},
    destination::Destination,
    settings::SinkSettings,
};
use crate::{
    metrics::AuditSink,
    store::{Store, StoreError, audit::Found},
};

/// How often is looked for new entries.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Entries that are read, and sent, at a time.
const BATCH_ENTRIES_MAX: i64 = 500;
/// The pause after the first failure, in milliseconds; it doubles, and up to a quarter of it is added by chance.
const PAUSE_MS_FIRST: u64 = 500;
/// The longest pause, in milliseconds.
const PAUSE_MS_MAX: u64 = 60_000;
/// How long a batch that has begun may take when the process is told to stop, and then the end of its connection.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Where Linux says how the machine is called.
const HOST_FILE: &str = "/proc/sys/kernel/hostname";

/// Ships to one sink.
#[derive(Debug)]
pub(super) struct Shipper {
    store: Store,
    cursor: Cursor,
    actions: Vec<String>,
    host: String,
    destination: Destination,
    metrics: AuditSink,
    // The last entry that is on its way, or acknowledged.
    sent: i64,
    // Halved by each failure, so that one bad entry is found and a slow sink gets through.
    entries_max: i64,
    failures: u32,
    rests_until: Instant,
}

// How a turn ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    // There is nothing more to do for now.
    Quiet,
    // There may be more to send.
    More,
}

impl Shipper {
    /// Begins a sink that is new. `holder` names this run to the other control planes.
    pub(super) async fn open(
        sink: &SinkSettings,
        store: &Store,
        metrics: AuditSink,
        holder: String,
    ) -> Result<Self, super::ShipError> {
        let cursor = Cursor::new(sink, store, metrics.lag.clone(), holder);
        let destination = Destination::open(sink.to.clone())?;
        cursor.begin().await?;
        Ok(Self {
            store: store.clone(),
            cursor,
            actions: sink.actions.clone(),
            host: sink.host.clone().unwrap_or_else(host_name),
            destination,
            metrics,
            sent: 0,
            entries_max: BATCH_ENTRIES_MAX,
            failures: 0,
            rests_until: Instant::now(),
        })
    }

    /// Ships until `stop` is cancelled.
    pub(super) async fn run(mut self, stop: &CancellationToken) {
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
                    tracing::warn!(sink = self.cursor.name(), "gave up a batch of the audit log");
                    break;
                }
            };
            if let (Err(error), false) = (&taken, failing) {
                tracing::error!(sink = self.cursor.name(), %error, "failed to read the audit log or move a cursor of it");
            }
            failing = taken.is_err();
            turn = taken.unwrap_or(Turn::Quiet);
        }
        if let Err(error) = self.end().await {
            tracing::warn!(sink = self.cursor.name(), %error, "failed to let go of a sink of the audit log");
        }
    }

    async fn turn(&mut self) -> Result<Turn, StoreError> {
        match self.cursor.hold().await? {
            Hold::Elsewhere => return Ok(Turn::Quiet),
            Hold::Taken => {
                self.destination.reset();
                self.sent = self.cursor.shipped();
            }
            Hold::Kept => {}
        }
        if Instant::now() < self.rests_until {
            return Ok(Turn::Quiet);
        }
        let mut txn = self.store.begin_read().await?;
        let length = txn.audit_length().await?;
        let rows = txn.audit_behind(self.sent, self.entries_max).await?;
        txn.end().await?;
        let batch = self.batch(rows);
        match tokio::time::timeout(ATTEMPT_MAX, self.destination.deliver(&batch)).await.unwrap_or(Err(Failure::Late)) {
            Ok(acknowledged) => {
                self.took(&batch);
                self.cursor.acknowledge(acknowledged.unwrap_or_default(), length).await?;
                Ok(if batch.is_full { Turn::More } else { Turn::Quiet })
            }
            Err(failure) => {
                self.failed(&failure, &batch);
                self.cursor.acknowledge(0, length).await?;
                Ok(Turn::Quiet)
            }
        }
    }

    fn batch(&self, rows: Vec<Found>) -> Batch {
        let sink = self.cursor.name();
        let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows >= self.entries_max);
        let mut batch = Batch::behind(self.sent, is_full);
        for row in &rows {
            if row.index > batch.through + 1 {
                let (behind, next) = (batch.through, row.index);
                tracing::warn!(sink, behind, next, "entries are gone from the audit log and were not shipped");
            }
            let record = batch::record(row, &self.actions, |placed| self.destination.record(&self.host, placed));
            let record = record.unwrap_or_else(|problem| {
                self.metrics.failures.inc();
                tracing::error!(sink, index = row.index, problem, "an audit entry cannot be read and is not shipped");
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
            tracing::info!(sink = self.cursor.name(), "the audit log is shipped again");
        }
    }

    // Nothing is lost by it: all that is not acknowledged is sent again.
    fn failed(&mut self, failure: &Failure, batch: &Batch) {
        self.metrics.failures.inc();
        if self.failures == 0 {
            let (sink, first, last) = (self.cursor.name(), self.cursor.shipped() + 1, batch.through);
            tracing::error!(sink, first, last, %failure, "the audit log is not shipped; it is tried again");
        }
        self.destination.reset();
        self.sent = self.cursor.shipped();
        self.entries_max = (self.entries_max / 2).max(1);
        self.rests_until = Instant::now() + pause(self.failures);
        self.failures = self.failures.saturating_add(1);
    }

    async fn end(&mut self) -> Result<(), StoreError> {
        let is_taken = tokio::time::timeout(STOP_MAX, self.destination.finish()).await.unwrap_or(false);
        self.cursor.release(if is_taken { self.sent } else { 0 }).await
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
