//! What this replica has borrowed from budgets: where a request finds the accounts against which it is held, and where it
//! waits when they run short.
//!
//! The way that a request takes touches no lock: accounts are found in maps that are swapped whole, and held by a
//! compare-and-swap each. What takes longer, borrowing and giving back, is the work of one task, [`borrowing`].
//!
//! ```text
//! request: hold ---------------- forward ... settle
//!            | short                            | scarce: what is over goes back
//!            v                                  v
//! borrowing: asks -> control plane -> accounts grow, who waits looks again
//! ```

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};
use tollgate_policy::{
    budget::{Budget, Grace},
    id::BudgetId,
    lease::{Account, Hold, Position, Settlement},
    money::NanoUsd,
    time::Ticks,
};

mod borrowing;
#[cfg(test)]
pub(crate) mod tests;

pub use self::borrowing::Borrowing;

/// How long a request waits for funds that others may give back. Recalls take a round trip or two; who waits longer than
/// this is better told.
pub const WAIT_MAX: Duration = Duration::from_secs(2);
// Maps are copied when a budget is first used: in so many parts, so that ten thousand budgets are small copies.
const SHARDS: usize = 64;

/// The funds of a replica. There is one in a process.
pub struct Funds {
    began: Instant,
    shards: Box<[Shard]>,
    // Held only to add a purse.
    adding: Mutex<()>,
    dirty: Mutex<Vec<Arc<Purse>>>,
    wake: Notify,
    waiters: AtomicU64,
    waits: AtomicU64,
}

/// Some of the budgets.
type Shard = ArcSwap<HashMap<BudgetId, Arc<Purse>>>;

/// One budget on this replica.
#[derive(Debug)]
pub(crate) struct Purse {
    budget: BudgetId,
    account: ArcSwapOption<Account>,
    // What each request waits for, and its number. Only requests that found too little come here.
    waiting: Mutex<BTreeSet<(i64, u64)>>,
    dirty: AtomicBool,
    // What is kept for the time without a control plane.
    grace_nano: AtomicI64,
    grace_ms: AtomicU64,
    heard: watch::Sender<Heard>,
}

/// What came of the last attempts to borrow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Heard {
    // Counts the attempts.
    attempts: u64,
    // Whether the last one was answered.
    answered: bool,
}

/// Why nothing can be held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unfunded {
    /// Which of the budgets that were given.
    pub at: usize,
    /// Why.
    pub why: Why,
    /// What is known of the budget.
    pub standing: Option<Known>,
}

/// Why a budget cannot hold what was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// It does not fit in what is left of the budget.
    Exhausted,
    /// It would fit if requests that are running cost less than they may.
    Busy,
    /// What is borrowed is used, and no control plane answers.
    Unreachable,
}

/// What is known here of a budget.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Known {
    /// The most that may be spent.
    pub limit: NanoUsd,
    /// What was spent, as the control plane last said.
    pub settled: NanoUsd,
    /// How long its window lasts, in milliseconds; `None`: for ever.
    pub left_ms: Option<u64>,
}

// A request that waits. Dropping it ends the wait.
struct Waiting<'a> {
    funds: &'a Funds,
    purse: &'a Arc<Purse>,
    entry: (i64, u64),
}

// === impl Funds ===

impl Funds {
    /// Nothing is borrowed.
    #[must_use]
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            shards: (0..SHARDS).map(|_| ArcSwap::default()).collect(),
            adding: Mutex::default(),
            dirty: Mutex::default(),
            wake: Notify::new(),
            waiters: AtomicU64::new(0),
            waits: AtomicU64::new(0),
        }
    }

    /// The replica's own clock.
    pub(crate) fn now(&self) -> Ticks {
        Ticks::new(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Sets an amount aside in every budget, or in none. Waits for what others can give back, at most [`WAIT_MAX`].
    ///
    /// # Errors
    /// Says which budget is short, and why waiting does not help.
    pub async fn hold(&self, budgets: &[&Arc<Budget>], amount: NanoUsd) -> Result<Hold, Unfunded> {
        if budgets.is_empty() {
            return Ok(Hold::unbudgeted(amount));
        }
        let purses: Vec<Arc<Purse>> = budgets.iter().map(|budget| self.purse(budget)).collect();
        match self.take(&purses, amount) {
            Ok(hold) => Ok(hold),
            Err(at) => self.wait(&purses, amount, at).await,
        }
    }

    /// Ends a hold with what was really spent. What is over goes back while its budget is scarce.
    pub fn end(&self, hold: Hold, charge: NanoUsd) -> Settlement {
        let now = self.now();
        let accounts: Vec<Arc<Account>> = hold.accounts().to_vec();
        let settlement = hold.settle(charge);
        self.look(now, &accounts);
        settlement
    }

    /// Has more borrowed for a hold that will have to grow.
    pub(crate) fn look_ahead(&self, hold: &Hold) {
        for purse in hold.accounts().iter().filter_map(|account| self.find(account.budget())) {
            self.soil(&purse);
        }
    }

    fn look(&self, now: Ticks, accounts: &[Arc<Account>]) {
        for account in accounts.iter().filter(|account| account.is_scarce(now) || account.is_expired(now)) {
            if let Some(purse) = self.find(account.budget()) {
                self.soil(&purse);
            }
        }
    }

    /// Somebody else needs what this replica has of a budget and does not hold.
    pub(crate) fn recall(&self, budget: &BudgetId) {
        let Some(purse) = self.find(budget) else { return };
        if let Some(account) = &*purse.account.load() {
            account.recall(self.now());
        }
        self.soil(&purse);
    }

    /// What is known of a budget; `None`: nothing was borrowed of it yet.
    pub(crate) fn known(&self, budget: &BudgetId) -> Option<Known> {
        self.find(budget)?.known(self.now())
    }

    /// What all accounts hold and have free, in nano-dollars: for metrics.
    pub(crate) fn totals(&self) -> (i64, i64) {
        let mut totals = (0_i64, 0_i64);
        for shard in &self.shards {
            for account in shard.load().values().filter_map(|purse| purse.account.load_full()) {
                let Position { held, free, .. } = account.position();
                totals = (totals.0.saturating_add(held.get()), totals.1.saturating_add(free.get()));
            }
        }
        totals
    }

    /// How many holds did not find enough at once and waited: for metrics.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    fn find(&self, budget: &BudgetId) -> Option<Arc<Purse>> {
        self.shard(budget)?.load().get(budget).map(Arc::clone)
    }

    fn purse(&self, budget: &Budget) -> Arc<Purse> {
        if let Some(known) = self.find(&budget.id) {
            known.allow(budget.grace);
            return known;
        }
        let purse = Arc::new(Purse::new(budget));
        let Some(shard) = self.shard(&budget.id) else { return purse };
        let _adding = lock(&self.adding);
        let before = shard.load();
        if let Some(known) = before.get(&budget.id) {
            return Arc::clone(known);
        }
        let mut after = HashMap::clone(&before);
        after.insert(budget.id.clone(), Arc::clone(&purse));
        shard.store(Arc::new(after));
        purse
    }

    fn shard(&self, budget: &BudgetId) -> Option<&Shard> {
        // The last characters of a ULID are random.
        let tail = budget.ulid().bytes().rev().take(2).fold(0, |hash, byte| hash * 31 + usize::from(byte));
        self.shards.get(tail % SHARDS)
    }

    fn purses(&self) -> Vec<Arc<Purse>> {
        self.shards.iter().flat_map(|shard| shard.load().values().map(Arc::clone).collect::<Vec<_>>()).collect()
    }

    // Holds at once, or says which purse is short.
    fn take(&self, purses: &[Arc<Purse>], amount: NanoUsd) -> Result<Hold, usize> {
        let now = self.now();
        let mut accounts = Vec::with_capacity(purses.len());
        for (at, purse) in purses.iter().enumerate() {
            accounts.push(purse.account.load_full().ok_or(at)?);
        }
        let hold = Hold::take(now, accounts.into(), amount).map_err(|short| short.at)?;
        for (purse, account) in purses.iter().zip(hold.accounts()) {
            if account.runs_low(now) {
                self.soil(purse);
            }
        }
        Ok(hold)
    }

    async fn wait(&self, purses: &[Arc<Purse>], amount: NanoUsd, mut at: usize) -> Result<Hold, Unfunded> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            let Some(purse) = purses.get(at) else { return Err(Unfunded { at, why: Why::Busy, standing: None }) };
            let mut heard = purse.heard.subscribe();
            let before = heard.borrow_and_update().attempts;
            let _waiting = self.wait_at(purse, amount);
            // Between the first look and this place in the queue something may have come back.
            let mut short = match self.take(purses, amount) {
                Ok(hold) => return Ok(hold),
                Err(short) => short,
            };
            while short == at {
                let why = purse.verdict(before, amount, self.now());
                let late = timeout_at(deadline, heard.changed());
                let why = match why {
                    Some(why) => Some(why),
                    None => late.await.is_err().then_some(Why::Busy),
                };
                if let Some(why) = why {
                    return Err(Unfunded { at, why, standing: purse.known(self.now()) });
                }
                short = match self.take(purses, amount) {
                    Ok(hold) => return Ok(hold),
                    Err(short) => short,
                };
            }
            at = short;
        }
    }

    fn wait_at<'a>(&'a self, purse: &'a Arc<Purse>, amount: NanoUsd) -> Waiting<'a> {
        let entry = (amount.get(), self.waiters.fetch_add(1, Ordering::Relaxed));
        lock(&purse.waiting).insert(entry);
        self.soil(purse);
        Waiting { funds: self, purse, entry }
    }

    // The borrowing task is to look at it.
    fn soil(&self, purse: &Arc<Purse>) {
        if !purse.dirty.swap(true, Ordering::AcqRel) {
            lock(&self.dirty).push(Arc::clone(purse));
            self.wake.notify_one();
        }
    }

    fn wash(&self) -> Vec<Arc<Purse>> {
        let dirty = std::mem::take(&mut *lock(&self.dirty));
        dirty.iter().for_each(|purse| purse.dirty.store(false, Ordering::Release));
        dirty
    }
}

impl Default for Funds {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Funds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Funds").field("totals", &self.totals()).finish_non_exhaustive()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.purse.waiting);
        waiting.remove(&self.entry);
        let others = !waiting.is_empty();
        drop(waiting);
        // Who waits behind this one needs something else now.
        if others {
            self.funds.soil(self.purse);
        }
    }
}

// === impl Purse ===

impl Purse {
    fn new(budget: &Budget) -> Self {
        let purse = Self {
            budget: budget.id.clone(),
            account: ArcSwapOption::empty(),
            waiting: Mutex::default(),
            dirty: AtomicBool::new(false),
            grace_nano: AtomicI64::new(0),
            grace_ms: AtomicU64::new(0),
            heard: watch::Sender::new(Heard::default()),
        };
        purse.allow(budget.grace);
        purse
    }

    fn allow(&self, grace: Option<Grace>) {
        let (nano, ms) = grace.map_or((0, 0), |grace| (grace.amount.get(), grace.duration_ms));
        self.grace_nano.store(nano, Ordering::Relaxed);
        self.grace_ms.store(ms, Ordering::Relaxed);
    }

    // The least that a request waits for, so that whoever can go on does, and what all of them wait for.
    fn waiting(&self) -> (NanoUsd, NanoUsd) {
        let waiting = lock(&self.waiting);
        let first = waiting.first().map_or(NanoUsd::ZERO, |(amount, _)| NanoUsd::new(*amount));
        (first, waiting.iter().map(|(amount, _)| NanoUsd::new(*amount)).sum())
    }

    fn known(&self, now: Ticks) -> Option<Known> {
        let account = self.account.load_full()?;
        let Position { limit, settled, .. } = account.position();
        Some(Known { limit, settled, left_ms: account.left_ms(now) })
    }

    // Whether it is certain, after an attempt to borrow that began later than the wait, that waiting does not help.
    fn verdict(&self, before: u64, amount: NanoUsd, now: Ticks) -> Option<Why> {
        let heard = *self.heard.borrow();
        // The attempt that was under way when the wait began may not have carried it.
        if heard.attempts < before + 2 && !(heard.attempts > before && self.fits_never(amount, now)) {
            return None;
        }
        if !heard.answered {
            return Some(Why::Unreachable);
        }
        self.fits_never(amount, now).then_some(Why::Exhausted)
    }

    fn fits_never(&self, amount: NanoUsd, now: Ticks) -> bool {
        self.known(now).is_some_and(|known| known.settled.plus(amount) > known.limit)
    }
}

// What these locks guard is sound at every step, whatever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
