//! Lends from the books: one task of each control plane takes what replicas ask for, many exchanges at once, and carries
//! them out in one transaction.
//!
//! Several control planes may lend over one database: the rows of the windows are the locks. An exchange tells totals, so one
//! whose answer was lost is asked again and changes nothing.
//!
//! Reading order: here, the queue and the task; [`round`], one transaction; [`service`], the call of the replicas.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use tollgate_policy::{
    id::{BudgetId, ReplicaId},
    lend::Ask,
};

pub use crate::books::Answered;
use crate::{
    clock,
    recalls::Recalls,
    store::{
        Store, StoreError,
        books::corrections::{SLOT_MS, SLOTS_KEPT},
    },
};

mod round;
mod service;

pub use self::service::Leases;

/// The most exchanges of one transaction: what queues up while one commits.
const ROUND_MAX: usize = 256;
/// The most asks of one transaction; the exchange that passes it is the last.
const ROUND_ASKS_MAX: usize = 2_048;
/// Exchanges that wait. One of each replica of a large fleet fits; what is more is told to try again.
const QUEUE_MAX: usize = 4_096;
/// How often a transaction is tried that met another one.
const ATTEMPTS_MAX: u32 = 6;
/// The pause before the second attempt, in milliseconds; it doubles, and half of it is chance.
const PAUSE_MS: u64 = 4;
/// How often slots of spending are removed that nobody asks for any more.
const SWEEP_INTERVAL: Duration = Duration::from_secs(300);
/// How often leases are removed that nobody asks for any more; after a full batch, the next one follows with the next sweep.
const FORGET_INTERVAL: Duration = Duration::from_secs(3_600);
/// The most leases that are removed at a time: nobody borrows meanwhile.
const FORGET_MAX: usize = 1_024;
/// So long behind the end of their window leases are kept, in milliseconds: 35 days, longer than a replica stays away.
const LEASES_KEPT_MS: i64 = 35 * 24 * 3_600_000;

/// What one run of a replica gives back and asks for.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The replica.
    pub replica: ReplicaId,
    /// The run.
    pub incarnation: i64,
    /// What it asks, each of another budget and window.
    pub asks: Vec<Asked>,
    /// Earlier runs of which every record is stored.
    pub replayed: Vec<i64>,
}

/// One budget of an exchange.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The budget.
    pub budget: BudgetId,
    /// The start of the window, in Unix milliseconds; `None`: the current one.
    pub window: Option<i64>,
    /// What is given back and asked for.
    pub ask: Ask,
}

/// Why nothing was exchanged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LendError {
    /// A newer run of the replica has asked, or an operator released what this one had.
    #[error("run {asked} is over: run {newest} or a later one may borrow")]
    Superseded {
        /// The run that asked.
        asked: i64,
        /// The newest that is known.
        newest: i64,
    },
    /// Trying again can succeed.
    #[error("the books are busy or cannot be reached")]
    Unavailable,
    /// The log says why.
    #[error("the books cannot be read or written")]
    Failed,
}

/// Takes exchanges. Cloning shares the queue.
#[derive(Clone, Debug)]
pub struct Lender {
    queue: mpsc::Sender<Job>,
}

/// The task behind a [`Lender`].
#[derive(Debug)]
pub struct Desk {
    store: Store,
    recalls: Recalls,
    queue: mpsc::Receiver<Job>,
}

#[derive(Debug)]
struct Job {
    exchange: Exchange,
    answer: oneshot::Sender<Result<Vec<Answered>, LendError>>,
}

// === impl Lender ===

impl Lender {
    /// A lender over this database, and the task that must run for it.
    #[must_use]
    pub fn new(store: Store, recalls: Recalls) -> (Self, Desk) {
        let (send, queue) = mpsc::channel(QUEUE_MAX);
        (Self { queue: send }, Desk { store, recalls, queue })
    }

    /// Exchanges, durably. The answers are in the order of the asks.
    ///
    /// # Errors
    /// When nothing was exchanged, or nobody knows whether it was: asking again is safe.
    pub async fn exchange(&self, exchange: Exchange) -> Result<Vec<Answered>, LendError> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Job { exchange, answer }).map_err(|_| LendError::Unavailable)?;
        answered.await.map_err(|_| LendError::Unavailable)?
    }
}

// === impl Desk ===

impl Desk {
    /// Lends until `stop` is cancelled and what was queued is answered.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut forget = tokio::time::interval(FORGET_INTERVAL);
        forget.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut jobs = Vec::with_capacity(ROUND_MAX);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
                _ = sweep.tick() => self.sweep().await,
                _ = forget.tick() => if self.forget().await == FORGET_MAX {
                    forget.reset_after(SWEEP_INTERVAL);
                },
                taken = self.queue.recv_many(&mut jobs, ROUND_MAX) => {
                    if taken == 0 {
                        return;
                    }
                    self.serve(&mut jobs).await;
                }
            }
        }
    }

    async fn serve(&self, jobs: &mut Vec<Job>) {
        while !jobs.is_empty() {
            let mut asks = 0;
            let fits = |job: &&Job| {
                let fits = asks < ROUND_ASKS_MAX;
                asks += job.exchange.asks.len();
                fits
            };
            let count = jobs.iter().take_while(fits).count();
            let round: Vec<Job> = jobs.drain(..count).collect();
            self.answer(round).await;
        }
    }

    async fn answer(&self, jobs: Vec<Job>) {
        let (exchanges, answers): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.exchange, job.answer)).unzip();
        match self.carry_out(&exchanges).await {
            Ok(results) => {
                for (answer, result) in answers.into_iter().zip(results) {
                    // Who asked may have gone; it asks again.
                    let _ = answer.send(result);
                }
            }
            // One that the books cannot take must not hold up the others.
            Err(error) if exchanges.len() > 1 && !error.is_transient() => {
                for (exchange, answer) in exchanges.into_iter().zip(answers) {
                    let result = self.carry_out(std::slice::from_ref(&exchange)).await;
                    let result = result
                        .map_err(|error| told(&error))
                        .and_then(|mut results| results.pop().unwrap_or(Err(LendError::Failed)));
                    let _ = answer.send(result);
                }
            }
            Err(error) => {
                let told = told(&error);
                answers.into_iter().for_each(|answer| drop(answer.send(Err(told))));
            }
        }
    }

    async fn carry_out(&self, exchanges: &[Exchange]) -> Result<Vec<Result<Vec<Answered>, LendError>>, StoreError> {
        let mut attempt = 1;
        loop {
            let now = clock::now_ms();
            match round::carry_out(&self.store, exchanges, now).await {
                Ok(round::Round { results, scarce }) => {
                    scarce.iter().for_each(|budget| self.recalls.tell(budget, now));
                    return Ok(results);
                }
                Err(StoreError::Busy) if attempt < ATTEMPTS_MAX => {
                    tokio::time::sleep(pause(attempt)).await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn sweep(&self) {
        let swept = async {
            let mut txn = self.store.begin().await?;
            txn.spend_forget(clock::now_ms() / SLOT_MS - SLOTS_KEPT).await?;
            txn.commit().await
        };
        if let Err(error) = swept.await {
            tracing::warn!(%error, "failed to remove old slots of spending");
        }
    }

    // Removes leases of windows that ended long ago, and of which nothing is outstanding. Returns how many were found.
    async fn forget(&self) -> usize {
        let forgotten = async {
            let mut txn = self.store.begin_read().await?;
            let before = clock::now_ms() - LEASES_KEPT_MS;
            let mut leases = txn.leases_ended(before, i64::try_from(FORGET_MAX).unwrap_or(i64::MAX)).await?;
            txn.end().await?;
            if leases.is_empty() {
                return Ok(0);
            }
            leases.sort();
            let mut windows: Vec<_> = leases.iter().map(|lease| lease.window.clone()).collect();
            windows.dedup();
            let mut txn = self.store.begin().await?;
            txn.windows_lock(&windows, &mut BTreeMap::new()).await?;
            txn.leases_forget(&leases).await?;
            txn.commit().await?;
            Ok::<_, StoreError>(leases.len())
        };
        forgotten.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "failed to remove old leases");
            0
        })
    }
}

fn told(error: &StoreError) -> LendError {
    tracing::error!(%error, "failed to lend");
    if error.is_transient() { LendError::Unavailable } else { LendError::Failed }
}

// Two that met must not meet again.
fn pause(attempt: u32) -> Duration {
    let longest = PAUSE_MS << attempt;
    let chance = u64::from(getrandom::u32().unwrap_or_default());
    Duration::from_millis(longest / 2 + chance % (longest / 2))
}
