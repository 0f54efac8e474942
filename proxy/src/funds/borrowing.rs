//! The task that borrows and gives back: one in a replica, the only one that talks to the control plane about money.
//!
//! It carries what is asked of it in one call at a time, however many budgets and requests that is. Every call says totals,
//! so one that fails is simply made again. When no control plane answers, what was borrowed is still there to be spent; what
//! a budget keeps as grace is freed then, for as long as its policy allows.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tollgate_policy::{
    borrow::{Answered, Asked, Borrower, Want},
    id::BudgetId,
    lend::{Answer, Standing},
    money::NanoUsd,
    time::{Ticks, UnixMillis},
};
use tollgate_proto::fleet::v1::{self, ExchangeRequest, LeaseStanding, lease_service_client::LeaseServiceClient};

use super::{Funds, Purse};
use crate::{
    membership::Link,
    spool::{Spool, SpoolError},
};

/// How often accounts are looked at that nobody asks about: for windows that ended, and funds that lie idle.
const LOOK: Duration = Duration::from_secs(1);
/// How soon is asked again while requests wait: others need a moment to give back what they do not hold.
const AGAIN: Duration = Duration::from_millis(20);
/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(2);
/// How long the last calls may take when the replica ends.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// Between calls that fail.
const RETRY: Duration = Duration::from_millis(250);
/// The largest amount that the contract takes, in nano-dollars: 72 million dollars. One ask beyond it would have all refused.
const AMOUNT_MAX: i64 = i64::MAX / 128;

/// Borrows and gives back. There is one in a process.
#[derive(Debug)]
pub struct Borrowing {
    funds: Arc<Funds>,
    link: Link,
    spool: Spool,
    borrower: Borrower,
    // Since when no control plane answers.
    unanswered: Option<Ticks>,
}

#[derive(Debug, thiserror::Error)]
enum BorrowError {
    #[error("not a member of the fleet yet")]
    NoMember,
    #[error("control plane: {} ({:?})", .0.message(), .0.code())]
    Refused(Box<tonic::Status>),
    #[error("no answer in {} s", CALL_MAX.as_secs())]
    NoAnswer,
    #[error("the answer has {got} parts for {asked}")]
    Misfit { asked: usize, got: usize },
}

impl Borrowing {
    /// Prepares to borrow over a link, as the run of a spool.
    #[must_use]
    pub fn new(funds: Arc<Funds>, link: Link, spool: Spool) -> Self {
        Self { funds, link, spool, borrower: Borrower::new(), unanswered: None }
    }

    /// Borrows until `stop` is cancelled, and then gives everything back. Cancel it after the last hold was settled.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = Duration::ZERO;
        while stop.run_until_cancelled(self.idle(pause)).await.is_some() {
            let Some(next) = stop.run_until_cancelled(self.turn()).await else { break };
            pause = next;
        }
        if timeout(CLOSE_MAX, self.close()).await.is_err() {
            tracing::warn!("borrowed funds were not given back: they stay lent until the next run has reported");
        }
    }

    // Waits for somebody to ask, but not before the pause is over and no longer than a look lasts.
    async fn idle(&self, pause: Duration) {
        if pause.is_zero() {
            let _ = timeout(LOOK, self.funds.wake.notified()).await;
        } else {
            sleep(pause).await;
        }
    }

    // One call, if there is something to say. Returns how long to wait before the next; zero: until somebody asks.
    async fn turn(&mut self) -> Duration {
        let now = self.funds.now();
        let dirty = self.funds.wash();
        let asked = self.borrower.asks(now, &wants(&dirty));
        self.leave(&dirty, &asked);
        let replayed = self.spool.replayed();
        if asked.is_empty() && replayed.is_empty() {
            return Duration::ZERO;
        }
        match self.exchange(&asked, &replayed).await {
            Ok(answers) => {
                self.answered(now, &asked, &answers);
                if let Err(error) = self.forget(replayed).await {
                    tracing::error!(%error, "failed to forget runs that are settled");
                }
                self.again(&asked)
            }
            Err(error) => {
                self.failed(now, &asked, &error);
                RETRY
            }
        }
    }

    // What did not fit into the call is looked at again: who waits for it must not wait for somebody to ask anew.
    fn leave(&self, dirty: &[Arc<Purse>], asked: &[Asked]) {
        let said: HashSet<&BudgetId> = asked.iter().map(|asked| &asked.budget).collect();
        dirty.iter().filter(|purse| !said.contains(&purse.budget)).for_each(|purse| self.funds.soil(purse));
    }

    async fn exchange(&self, asked: &[Asked], replayed: &[u64]) -> Result<Vec<Answered>, BorrowError> {
        if !self.link.is_member() {
            return Err(BorrowError::NoMember);
        }
        let request = ExchangeRequest {
            incarnation: signed(self.spool.incarnation()),
            asks: asked.iter().map(ask).collect(),
            replayed_incarnations: replayed.iter().map(|run| signed(*run)).collect(),
        };
        let mut client = LeaseServiceClient::new(self.link.channel());
        let answer = timeout(CALL_MAX, client.exchange(self.link.request(request))).await;
        let answer = answer.map_err(|_| BorrowError::NoAnswer)?;
        let answers = answer.map_err(|status| BorrowError::Refused(Box::new(status)))?.into_inner().answers;
        if answers.len() != asked.len() {
            return Err(BorrowError::Misfit { asked: asked.len(), got: answers.len() });
        }
        Ok(answers.into_iter().map(answered).collect())
    }

    fn answered(&mut self, at: Ticks, asked: &[Asked], answers: &[Answered]) {
        let now = self.funds.now();
        if self.unanswered.take().is_some() {
            tracing::info!("funds are borrowed again");
        }
        for (budget, account) in self.borrower.answered(at, now, asked, answers) {
            if let Some(purse) = self.funds.find(&budget) {
                purse.account.store(account);
            }
        }
        for (asked, answer) in asked.iter().zip(answers) {
            let Some(purse) = self.funds.find(&asked.budget) else { continue };
            // What little there is, nobody keeps for bad times.
            let ample = matches!(answer, Answered::Lent { answer, .. } if answer.standing == Standing::Ample);
            purse.keep_back(ample);
            purse.told(true);
        }
    }

    fn failed(&mut self, now: Ticks, asked: &[Asked], error: &BorrowError) {
        match self.unanswered {
            None => tracing::warn!(%error, "failed to borrow"),
            Some(_) => tracing::debug!(%error, "failed to borrow"),
        }
        let since = *self.unanswered.get_or_insert(now);
        let away_ms = now.get().saturating_sub(since.get());
        for purse in self.funds.purses() {
            purse.keep_back(away_ms >= purse.grace_ms.load(Ordering::Relaxed));
        }
        for purse in asked.iter().filter_map(|asked| self.funds.find(&asked.budget)) {
            purse.told(false);
            // What was not said is to be said with the next call.
            self.funds.soil(&purse);
        }
    }

    // Who still waits is asked for again, but not before others had a moment to give back.
    fn again(&self, asked: &[Asked]) -> Duration {
        let mut pause = Duration::ZERO;
        for purse in asked.iter().filter_map(|asked| self.funds.find(&asked.budget)) {
            if purse.waiting().0 > NanoUsd::ZERO {
                self.funds.soil(&purse);
                pause = AGAIN;
            }
        }
        pause
    }

    async fn forget(&self, replayed: Vec<u64>) -> Result<(), SpoolError> {
        if replayed.is_empty() {
            return Ok(());
        }
        let spool = self.spool.clone();
        let forgotten = tokio::task::spawn_blocking(move || spool.released(&replayed)).await;
        forgotten.unwrap_or(Ok(()))
    }

    async fn close(&mut self) {
        self.borrower.close();
        while !self.borrower.is_clear() {
            let now = self.funds.now();
            let asked = self.borrower.asks(now, &[]);
            if asked.is_empty() {
                return;
            }
            match self.exchange(&asked, &[]).await {
                Ok(answers) => self.answered(now, &asked, &answers),
                Err(error) => {
                    tracing::debug!(%error, "failed to give back");
                    sleep(RETRY).await;
                }
            }
        }
    }
}

impl Purse {
    // Keeps the grace back, or frees it.
    fn keep_back(&self, keep: bool) {
        if let Some(account) = &*self.account.load() {
            let grace = if keep { self.grace_nano.load(Ordering::Relaxed) } else { 0 };
            account.keep_back(NanoUsd::new(grace));
        }
    }

    fn told(&self, answered: bool) {
        self.heard.send_modify(|heard| {
            heard.attempts += 1;
            heard.answered = answered;
        });
    }
}

// What is wanted of each budget that somebody looked at.
fn wants(dirty: &[Arc<Purse>]) -> Vec<Want> {
    let want = |purse: &Arc<Purse>| {
        let (first, waiting) = purse.waiting();
        Want { budget: purse.budget.clone(), first, waiting, ahead: true }
    };
    dirty.iter().map(want).collect()
}

fn ask(asked: &Asked) -> v1::LeaseAsk {
    let Asked { budget, window, ask } = asked;
    v1::LeaseAsk {
        budget: budget.as_str().to_owned(),
        window_ms: window.map(UnixMillis::get),
        granted: ask.granted.get(),
        returned: ask.returned.get(),
        need: ask.need.get().min(AMOUNT_MAX),
        wish: ask.wish.get().min(AMOUNT_MAX),
        mean_hold: ask.mean_hold.get().min(AMOUNT_MAX),
    }
}

fn answered(wire: v1::LeaseAnswer) -> Answered {
    let v1::LeaseAnswer { window_ms, granted, valid_ms, standing, limit, settled } = wire;
    let standing = match LeaseStanding::try_from(standing) {
        Ok(LeaseStanding::Ample) => Standing::Ample,
        Ok(LeaseStanding::Scarce) => Standing::Scarce,
        Ok(LeaseStanding::Exhausted) => Standing::Exhausted,
        Ok(LeaseStanding::Gone | LeaseStanding::Unspecified) | Err(_) => return Answered::Gone,
    };
    let amount = |nano: i64| NanoUsd::new(nano.max(0));
    let answer = Answer { granted: amount(granted), standing, limit: amount(limit), settled: amount(settled) };
    Answered::Lent { window: UnixMillis::new(window_ms), valid_ms: u64::try_from(valid_ms).ok(), answer }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
