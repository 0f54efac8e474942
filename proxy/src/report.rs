//! Reports the spool's records to the control plane, each exactly once.
//!
//! The control plane counts a record once, however often it is sent, and says up to which sequence it has all of them; only
//! that lets the spool forget. So whatever is lost on the way, the request or the receipt, the batch is sent again. Nothing
//! here holds up a visit.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tollgate_proto::usage::v1::{ReportRequest, usage_intake_service_client::UsageIntakeServiceClient};
use tonic::Code;

use crate::{
    backoff::Backoff,
    evidence,
    membership::Link,
    spool::{BATCH_MAX, Pending, Spool, SpoolError},
    witness::Witness,
};

/// How long a record waits for others: reports are then fresh enough to watch, and few.
const GATHER: Duration = Duration::from_millis(250);
/// How long one report may take.
const REPORT_MAX: Duration = Duration::from_secs(10);
/// How long the last reports may take when the replica ends. What is left is sent by the next run.
const FLUSH_MAX: Duration = Duration::from_secs(5);
/// Between attempts, with jitter: soon at first, and no fleet returns in step.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// Reports what a spool holds. There is one in a process.
#[derive(Debug)]
pub struct Report {
    link: Link,
    spool: Spool,
    witness: Witness,
    // So many records are sent one by one, to find the one that the control plane refuses.
    one_by_one: AtomicUsize,
    status: watch::Sender<Status>,
}

/// How reporting goes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// Records that were acknowledged, in this run.
    pub acknowledged: u64,
    /// Why the last report failed; `None` after one that did not.
    pub last_error: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum ReportError {
    #[error("not a member of the fleet yet")]
    NoMember,
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("control plane: {} ({:?})", .0.message(), .0.code())]
    Refused(Box<tonic::Status>),
    #[error("no receipt in {} s", REPORT_MAX.as_secs())]
    NoReceipt,
    #[error("receipt is for sequence {got}, and {first} was sent")]
    NoProgress { got: i64, first: u64 },
    #[error("task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Report {
    /// Prepares to report over a link. The witness is told what was acknowledged.
    #[must_use]
    pub fn new(link: Link, spool: Spool, witness: Witness) -> Self {
        Self { link, spool, witness, one_by_one: AtomicUsize::new(0), status: watch::Sender::new(Status::default()) }
    }

    /// How reporting goes, and a wake at each change.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Reports until `stop` is cancelled, and then what is left, for a bounded time. Cancel it after the last outcome was
    /// spooled.
    pub async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST);
        while let Some(()) = stop.run_until_cancelled(self.gather()).await {
            let Some(sent) = stop.run_until_cancelled(self.send()).await else { break };
            let wait = self.note(sent, &mut backoff);
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                break;
            }
        }
        if timeout(FLUSH_MAX, self.flush()).await.is_err() {
            tracing::warn!(records = self.spool.depth().outcomes, "records are left for the next run to report");
        }
    }

    // Waits until there is a full batch, or the first of a smaller one has waited for others.
    async fn gather(&self) {
        while self.spool.depth().outcomes == 0 {
            self.spool.arrived().await;
        }
        let until = Instant::now() + GATHER;
        while self.spool.depth().outcomes < BATCH_MAX as u64 {
            if tokio::time::timeout_at(until, self.spool.arrived()).await.is_err() {
                return;
            }
        }
    }

    async fn flush(&self) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST);
        while self.spool.depth().outcomes > 0 {
            let sent = self.send().await;
            tokio::time::sleep(self.note(sent, &mut backoff)).await;
        }
    }

    // One line when reports begin to fail, one when they succeed again. Returns how long to wait.
    fn note(&self, sent: Result<u64, ReportError>, backoff: &mut Backoff) -> Duration {
        let failed_before = self.status.borrow().last_error.is_some();
        match sent {
            Ok(count) => {
                if failed_before {
                    tracing::info!("usage is reported again");
                }
                self.status.send_modify(|status| {
                    status.acknowledged += count;
                    status.last_error = None;
                });
                backoff.reset();
                Duration::ZERO
            }
            Err(error) => {
                let waiting = self.spool.depth().outcomes;
                if failed_before {
                    tracing::debug!(%error, waiting, "failed to report usage");
                } else {
                    tracing::warn!(%error, waiting, "failed to report usage");
                }
                self.status.send_modify(|status| status.last_error = Some(error.to_string()));
                backoff.next()
            }
        }
    }

    // Sends one batch. Returns how many of its records were acknowledged.
    async fn send(&self) -> Result<u64, ReportError> {
        if !self.link.is_member() {
            return Err(ReportError::NoMember);
        }
        let spool = self.spool.clone();
        let Some(mut pending) = tokio::task::spawn_blocking(move || spool.pending()).await?? else { return Ok(0) };
        if self.one_by_one.load(Ordering::Relaxed) > 0 {
            pending.records.truncate(1);
        }
        let (incarnation, first, sent) = (pending.incarnation, pending.first, pending.records.len());
        let head = pending.records.last().and_then(|last| Some((last.sequence, evidence::link_of(last)?)));
        let got = match self.exchange(pending).await {
            Err(ReportError::Refused(status)) if status.code() == Code::InvalidArgument => {
                return self.refused(incarnation, first, sent, &status).await;
            }
            got => got?,
        };
        let through = u64::try_from(got).ok().filter(|through| *through >= first);
        let through = through.ok_or(ReportError::NoProgress { got, first })?;
        self.one_by_one.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(sent))).ok();
        let spool = self.spool.clone();
        tokio::task::spawn_blocking(move || spool.acknowledge(incarnation, through)).await??;
        // Of a batch that was taken in part nothing is witnessed: the next receipt covers it.
        if let Some((_, link)) = head.filter(|(sequence, _)| *sequence == got) {
            self.witness.acknowledged(incarnation, through, link);
        }
        Ok((through - first + 1).min(sent as u64))
    }

    async fn exchange(&self, pending: Pending) -> Result<i64, ReportError> {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let request = ReportRequest {
            incarnation: signed(pending.incarnation),
            forgotten_through: signed(pending.first.saturating_sub(1)),
            records: pending.records,
        };
        let mut client = UsageIntakeServiceClient::new(self.link.channel());
        let receipt = timeout(REPORT_MAX, client.report(self.link.request(request))).await;
        let receipt = receipt.map_err(|_| ReportError::NoReceipt)?;
        Ok(receipt.map_err(|status| ReportError::Refused(Box::new(status)))?.into_inner().acknowledged_sequence)
    }

    // A record that is never taken would hold up all that follow. Alone it is found, and a gap record takes its place: the
    // loss shows in the ledger, and the record in this log.
    async fn refused(
        &self,
        incarnation: u64,
        first: u64,
        sent: usize,
        status: &tonic::Status,
    ) -> Result<u64, ReportError> {
        if sent > 1 {
            self.one_by_one.store(sent, Ordering::Relaxed);
            return Ok(0);
        }
        tracing::error!(
            incarnation,
            sequence = first,
            reason = status.message(),
            "control plane refuses a usage record"
        );
        let spool = self.spool.clone();
        let refused = ReportError::Refused(Box::new(status.clone()));
        if tokio::task::spawn_blocking(move || spool.replace_by_gap(incarnation, first)).await?? {
            Ok(0)
        } else {
            // It is a gap already, and that is refused as well: nothing here can help, so wait like for any other failure.
            Err(refused)
        }
    }
}

#[cfg(test)]
mod tests;
