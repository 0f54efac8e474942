//! The replica's side of a budget: what it has borrowed, what requests hold of that, and what they spent.
//!
//! An [`Account`] is one budget in one window. Its one guard is `free`: what was granted, less what was returned, spent and
//! is held. A hold takes from it by one compare-and-swap and never below zero, so `spent + held <= granted - returned` at
//! every instant, without a lock and without a call. The other numbers are totals for the control plane and for people.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use crate::{
    id::BudgetId,
    lend::{Answer, Ask, Standing},
    money::NanoUsd,
    time::{Ticks, UnixMillis},
};

/// For so long after a sign of scarcity an account keeps nothing that it does not hold.
pub const SCARCE_MS: u64 = 10_000;
/// An account that was not used for so long gives back what it has.
pub const IDLE_MS: u64 = 20_000;
/// So much use is borrowed for ahead of time, in milliseconds.
const AHEAD_MS: u64 = 10_000;
/// Over a shorter time than this no rate is believed, in milliseconds.
const RATE_MS_MIN: u64 = 1_000;
/// The most that is borrowed ahead, as a part of the limit: 5 %.
const AHEAD_PART: i64 = 20;
/// The least that is borrowed ahead, in mean holds.
const AHEAD_HOLDS: i64 = 4;

/// A budget in one window, on one replica. Shared by every request that is held against it.
#[derive(Debug)]
pub struct Account {
    budget: BudgetId,
    window: UnixMillis,
    free: AtomicI64,
    held: AtomicI64,
    spent: AtomicI64,
    granted: AtomicI64,
    returned: AtomicI64,
    // Kept back while a control plane answers.
    reserve: AtomicI64,
    // Instants on the replica's own clock.
    expires: AtomicU64,
    // When the newest of the answers was asked for that were applied.
    asked: AtomicU64,
    scarce_until: AtomicU64,
    touched: AtomicU64,
    // What was spent when funds were last asked for, and when that was: the rate.
    mark: AtomicI64,
    marked: AtomicU64,
    mean_hold: AtomicI64,
    // As the control plane last said.
    limit: AtomicI64,
    settled: AtomicI64,
}

/// What an account has at one instant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    /// Borrowed and not given back, spent or held.
    pub free: NanoUsd,
    /// Held by requests that are open.
    pub held: NanoUsd,
    /// Spent by requests that have ended.
    pub spent: NanoUsd,
    /// The total that was granted.
    pub granted: NanoUsd,
    /// The total that was given back.
    pub returned: NanoUsd,
    /// The most that may be spent by all replicas, as the control plane last said.
    pub limit: NanoUsd,
    /// What all replicas had spent, as the control plane last said.
    pub settled: NanoUsd,
}

/// An account cannot hold what was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Short {
    /// Which of the accounts that were given.
    pub at: usize,
    /// Whether its window has ended, so that it will hold nothing more.
    pub expired: bool,
}

/// The worst case of one attempt, set aside before any byte goes to a provider. It is not `Clone`, and only
/// [`Hold::settle`] ends it: who sends to a provider must show one, and what was held is charged or returned exactly once.
/// One that is dropped is charged whole, since nobody knows what was spent.
#[derive(Debug)]
#[must_use = "a hold that is not settled is charged whole"]
pub struct Hold {
    amount: NanoUsd,
    accounts: Arc<[Arc<Account>]>,
    settled: bool,
}

/// What became of a hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settlement {
    /// What was charged.
    pub charged: NanoUsd,
    /// What went back.
    pub returned: NanoUsd,
    /// By how much the charge passed the hold: the estimator's error, zero when its bound is sound.
    pub excess: NanoUsd,
}

// === impl Account ===

impl Account {
    /// An account without funds, whose window ends at an instant of the replica's own clock.
    #[must_use]
    pub fn new(budget: BudgetId, window: UnixMillis, expires: Ticks, now: Ticks) -> Self {
        let zero = || AtomicI64::new(0);
        Self {
            budget,
            window,
            free: zero(),
            held: zero(),
            spent: zero(),
            granted: zero(),
            returned: zero(),
            reserve: zero(),
            expires: AtomicU64::new(expires.get()),
            asked: AtomicU64::new(0),
            scarce_until: AtomicU64::new(0),
            touched: AtomicU64::new(now.get()),
            mark: zero(),
            marked: AtomicU64::new(now.get()),
            mean_hold: zero(),
            limit: zero(),
            settled: zero(),
        }
    }

    /// The budget.
    #[must_use]
    pub const fn budget(&self) -> &BudgetId {
        &self.budget
    }

    /// The start of the window, which names it.
    #[must_use]
    pub const fn window(&self) -> UnixMillis {
        self.window
    }

    /// Whether the window has ended: nothing more is held, and what is free goes back.
    #[must_use]
    pub fn is_expired(&self, now: Ticks) -> bool {
        now.get() >= self.expires.load(Ordering::Relaxed)
    }

    /// How long the window still lasts, in milliseconds; `None`: for ever.
    #[must_use]
    pub fn left_ms(&self, now: Ticks) -> Option<u64> {
        let expires = self.expires.load(Ordering::Relaxed);
        (expires != u64::MAX).then(|| expires.saturating_sub(now.get()))
    }

    /// Whether the budget is scarce: what is not held goes back at once.
    #[must_use]
    pub fn is_scarce(&self, now: Ticks) -> bool {
        now.get() < self.scarce_until.load(Ordering::Relaxed)
    }

    /// What it has.
    #[must_use]
    pub fn position(&self) -> Position {
        let read = |number: &AtomicI64| NanoUsd::new(number.load(Ordering::Acquire));
        Position {
            free: read(&self.free),
            held: read(&self.held),
            spent: read(&self.spent),
            granted: read(&self.granted),
            returned: read(&self.returned),
            limit: read(&self.limit),
            settled: read(&self.settled),
        }
    }

    /// Whether nothing is held and everything was given back or spent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Position { free, held, .. } = self.position();
        free <= NanoUsd::ZERO && held == NanoUsd::ZERO
    }

    /// Whether requests hold something.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire) != 0
    }

    /// Whether it was left alone for [`IDLE_MS`] and holds nothing.
    #[must_use]
    pub fn is_idle(&self, now: Ticks) -> bool {
        !self.is_held() && now.get().saturating_sub(self.touched.load(Ordering::Relaxed)) >= IDLE_MS
    }

    /// Keeps back so much of what is free, for the time without a control plane. 0: everything may be held.
    pub fn keep_back(&self, reserve: NanoUsd) {
        self.reserve.store(reserve.get(), Ordering::Relaxed);
    }

    /// Whether it has something to give back: all that is free once its window has ended or it is idle, what is free beyond
    /// the reserve while the budget is scarce.
    #[must_use]
    pub fn has_surplus(&self, now: Ticks) -> bool {
        let free = self.free.load(Ordering::Relaxed);
        let ended = self.is_expired(now) || self.is_idle(now);
        (ended && free > 0) || (self.is_scarce(now) && free > self.reserve.load(Ordering::Relaxed))
    }

    /// Whether more should be borrowed: less than half of what is wanted ahead is left. Never while it is idle, or what an
    /// idle account gives back would be borrowed again at once.
    #[must_use]
    pub fn runs_low(&self, now: Ticks) -> bool {
        !self.is_expired(now) && !self.is_scarce(now) && !self.is_idle(now) && {
            let free = self.free.load(Ordering::Relaxed) - self.reserve.load(Ordering::Relaxed);
            free < self.ahead(now) / 2
        }
    }

    /// What to ask of the control plane. Requests wait for `waiting` in all, and nothing less than `first` helps any of them;
    /// `ahead` is whether to borrow for requests to come. What need not be kept is given back in the same breath. In scarcity
    /// that is all but what the first one needs, and this too when it is not enough: two replicas never keep halves that
    /// would serve one, nor what many need who wait for another budget.
    #[must_use]
    pub fn ask(&self, now: Ticks, first: NanoUsd, waiting: NanoUsd, ahead: bool) -> Ask {
        let open = !self.is_expired(now);
        let reserve = if open { self.reserve.load(Ordering::Relaxed) } else { 0 };
        let (first, waiting) = if open { (first.get(), waiting.get().max(first.get())) } else { (0, 0) };
        if waiting > 0 {
            self.touched.fetch_max(now.get(), Ordering::Relaxed);
        }
        let (idle, scarce) = (self.is_idle(now), self.is_scarce(now));
        if !open || idle {
            self.give_back(0);
        } else if scarce {
            let helps = self.free.load(Ordering::Acquire).saturating_sub(reserve) >= first;
            self.give_back(if helps { first + reserve } else { reserve });
        }
        let wanted = if ahead && open && !idle && !scarce { self.ahead(now).max(waiting) } else { waiting };
        if ahead {
            self.mark(now);
        }
        let Position { free, granted, returned, .. } = self.position();
        let missing = |wanted: i64| NanoUsd::new(if wanted > 0 { (wanted + reserve - free.get()).max(0) } else { 0 });
        Ask {
            granted,
            returned,
            need: missing(first),
            wish: missing(wanted),
            mean_hold: NanoUsd::new(self.mean_hold.load(Ordering::Relaxed)),
        }
    }

    /// Takes the answer to an ask that was made at `asked`. `valid_ms` is how long from then the window lasts; the answer to
    /// the newest ask decides that, whatever came before it.
    pub fn apply(&self, asked: Ticks, now: Ticks, valid_ms: u64, answer: &Answer) {
        let Answer { granted, standing, limit, settled } = *answer;
        let before = self.granted.fetch_max(granted.get(), Ordering::AcqRel);
        let more = granted.get() - before;
        if more > 0 {
            self.free.fetch_add(more, Ordering::AcqRel);
        }
        if self.asked.fetch_max(asked.get(), Ordering::Relaxed) <= asked.get() {
            self.expires.store(asked.plus(valid_ms).get(), Ordering::Relaxed);
        }
        self.limit.store(limit.get(), Ordering::Relaxed);
        self.settled.fetch_max(settled.get(), Ordering::Relaxed);
        if standing != Standing::Ample {
            self.recall(now);
        }
    }

    /// Ends the window: a newer one is known.
    pub fn end(&self, now: Ticks) {
        self.expires.fetch_min(now.get(), Ordering::Relaxed);
    }

    /// Somebody else needs what is not held: from now on, and for [`SCARCE_MS`], everything of that goes back.
    pub fn recall(&self, now: Ticks) {
        self.scarce_until.fetch_max(now.plus(SCARCE_MS).get(), Ordering::Relaxed);
    }

    // Takes from what is free unless less than the reserve would be left.
    fn take(&self, amount: i64) -> bool {
        let reserve = self.reserve.load(Ordering::Relaxed);
        let take = |free: i64| (amount == 0 || free >= amount.saturating_add(reserve)).then(|| free - amount);
        let taken = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok();
        if taken {
            self.held.fetch_add(amount, Ordering::AcqRel);
        }
        taken
    }

    // What is held is lowered last, here and where a hold is settled, so that no account looks empty in between.
    fn untake(&self, amount: i64) {
        self.free.fetch_add(amount, Ordering::AcqRel);
        self.held.fetch_sub(amount, Ordering::AcqRel);
    }

    // Gives back what is free beyond `kept`.
    fn give_back(&self, kept: i64) {
        let mut given = 0;
        let give = |free: i64| {
            given = (free - kept.max(0)).max(0);
            (given > 0).then(|| free - given)
        };
        if self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, give).is_ok() {
            self.returned.fetch_add(given, Ordering::AcqRel);
        }
    }

    fn settle(&self, held: i64, charge: i64) {
        self.spent.fetch_add(charge, Ordering::AcqRel);
        self.free.fetch_add(held - charge, Ordering::AcqRel);
        self.held.fetch_sub(held, Ordering::AcqRel);
    }

    fn touch(&self, now: Ticks, amount: i64) {
        self.touched.fetch_max(now.get(), Ordering::Relaxed);
        // An eighth of each new hold: a few dozen requests make the mean.
        let mean = self.mean_hold.load(Ordering::Relaxed);
        let next = if mean == 0 { amount } else { mean + (amount - mean) / 8 };
        self.mean_hold.store(next, Ordering::Relaxed);
    }

    // What the requests of the next seconds will want, by what was spent since the last look, and at least a few holds. No
    // more than a part of the limit: a burst of a moment does not take from others what it will not use.
    fn ahead(&self, now: Ticks) -> i64 {
        let elapsed = now.get().saturating_sub(self.marked.load(Ordering::Relaxed)).max(RATE_MS_MIN);
        let spent = self.spent.load(Ordering::Relaxed) - self.mark.load(Ordering::Relaxed);
        let rate = i128::from(spent.max(0)) * i128::from(AHEAD_MS) / i128::from(elapsed);
        let holds = self.mean_hold.load(Ordering::Relaxed).saturating_mul(AHEAD_HOLDS);
        let most = self.limit.load(Ordering::Relaxed) / AHEAD_PART;
        i64::try_from(rate).unwrap_or(i64::MAX).min(most).max(holds)
    }

    // The rate is measured over a second or more.
    fn mark(&self, now: Ticks) {
        if now.get().saturating_sub(self.marked.load(Ordering::Relaxed)) >= AHEAD_MS {
            self.marked.store(now.get(), Ordering::Relaxed);
            self.mark.store(self.spent.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

// === impl Hold ===

impl Hold {
    /// Sets an amount aside where no budget applies.
    pub fn unbudgeted(amount: NanoUsd) -> Self {
        Self { amount, accounts: Arc::new([]), settled: false }
    }

    /// Sets an amount aside in every one of the accounts, or in none.
    ///
    /// # Errors
    /// Says which account is short; nothing is held then.
    pub fn take(now: Ticks, accounts: Arc<[Arc<Account>]>, amount: NanoUsd) -> Result<Self, Short> {
        for (at, account) in accounts.iter().enumerate() {
            let expired = account.is_expired(now);
            if expired || !account.take(amount.get()) {
                accounts.iter().take(at).for_each(|taken| taken.untake(amount.get()));
                return Err(Short { at, expired });
            }
        }
        accounts.iter().for_each(|account| account.touch(now, amount.get()));
        Ok(Self { amount, accounts, settled: false })
    }

    /// What is held.
    #[must_use]
    pub const fn amount(&self) -> NanoUsd {
        self.amount
    }

    /// The accounts in which it is held.
    #[must_use]
    pub fn accounts(&self) -> &[Arc<Account>] {
        &self.accounts
    }

    /// Holds less from now on, since more is known. Never holds more.
    pub fn tighten(&mut self, to: NanoUsd) {
        let less = self.amount.get() - to.get().max(0);
        if less > 0 {
            self.accounts.iter().for_each(|account| account.untake(less));
            self.amount = NanoUsd::new(self.amount.get() - less);
        }
    }

    /// Holds more, in every account or in none.
    ///
    /// # Errors
    /// Says which account is short; what was held stays held. That a window has ended meanwhile is no reason: a charge
    /// belongs to the window of its hold.
    pub fn extend(&mut self, more: NanoUsd) -> Result<(), Short> {
        for (at, account) in self.accounts.iter().enumerate() {
            if !account.take(more.get()) {
                self.accounts.iter().take(at).for_each(|taken| taken.untake(more.get()));
                return Err(Short { at, expired: false });
            }
        }
        self.amount = self.amount.plus(more);
        Ok(())
    }

    /// Ends the hold with what was really spent.
    #[must_use]
    pub fn settle(mut self, charge: NanoUsd) -> Settlement {
        self.end(charge)
    }

    fn end(&mut self, charge: NanoUsd) -> Settlement {
        self.settled = true;
        self.accounts.iter().for_each(|account| account.settle(self.amount.get(), charge.get()));
        let positive = |nano: i64| NanoUsd::new(nano.max(0));
        Settlement {
            charged: charge,
            returned: positive(self.amount.get().saturating_sub(charge.get())),
            excess: positive(charge.get().saturating_sub(self.amount.get())),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.settled {
            let amount = self.amount;
            self.end(amount);
        }
    }
}

#[cfg(test)]
mod tests;
