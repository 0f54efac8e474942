//! The replica's side of all budgets: which accounts it has, what to tell the control plane of them, and when to forget one.
//!
//! One task owns a [`Borrower`]. Requests find the current account of a budget in a shared map, into which the owner puts what
//! [`Borrower::answered`] returns.
//!
//! An account must never be opened twice in a run: the second would begin at zero and be told the whole total that the
//! first has already spent. So windows of a budget only go forward here, the account of the newest window is kept, and an
//! older one is forgotten only when nothing is held in it and the control plane has acknowledged all that it gave back.
//!
//! ```text
//! answer names a window .. that has an account: its totals are applied
//!                       .. newer than the newest: a new account, current; the one before becomes older and gives all back
//!                       .. older, and never forgotten: an account that only gives back what was granted on the way
//!                       .. as old as one that was forgotten, or older: nothing
//! ```

use std::{
    collections::BTreeMap,
    ops::Bound::{self, Excluded, Included, Unbounded},
    sync::Arc,
};

use crate::{
    id::BudgetId,
    lease::Account,
    lend::{Answer, Ask},
    money::NanoUsd,
    time::{Ticks, UnixMillis},
};

/// The most asks of one message: what the contract of Exchange allows.
pub const ASKS_MAX: usize = 256;
/// So many of them are for budgets that somebody waits for; the others are for what is given back and borrowed ahead, so
/// that neither starves.
const WANTED_MAX: usize = 192;
/// The most asks for one budget at a time: the current window, the next, and some that have ended.
const ASKS_OF_BUDGET_MAX: usize = 8;
/// A message may arrive so late. So long after something was wished for, one more ask hears of what was granted then.
const LATE_MS: u64 = 5_000;
/// Of a budget that is gone what is idle goes back at least so often: it may have become soft, and come back.
const GONE_MS: u64 = 30_000;

/// The accounts of one run of a replica.
#[derive(Debug, Default)]
pub struct Borrower {
    // One entry for each budget of which this run ever wanted something.
    budgets: BTreeMap<BudgetId, Lent>,
    // Where the last rounds ended.
    wanted: Option<BudgetId>,
    swept: Option<BudgetId>,
    closing: bool,
}

/// What requests wait for in one budget.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Want {
    /// The budget.
    pub budget: BudgetId,
    /// What the first of them needs; nothing less helps.
    pub first: NanoUsd,
    /// What all of them need.
    pub waiting: NanoUsd,
    /// Whether to borrow for requests to come as well.
    pub ahead: bool,
}

/// What is told and asked of one budget in one window.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asked {
    /// The budget.
    pub budget: BudgetId,
    /// The start of the window; `None`: whichever is current, in which this run may have no account yet.
    pub window: Option<UnixMillis>,
    /// What is told and asked.
    pub ask: Ask,
}

/// What the control plane says to one [`Asked`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answered {
    /// It answers for a window.
    Lent {
        /// The start of the window.
        window: UnixMillis,
        /// How long the window lasts from then, in milliseconds; `None`: for ever.
        valid_ms: Option<u64>,
        /// The rest.
        answer: Answer,
    },
    /// There is no such hard budget any more. What was given back was taken nevertheless.
    Gone,
}

/// A budget whose current account is another one now, or none.
pub type Change = (BudgetId, Option<Arc<Account>>);

#[derive(Debug, Default)]
struct Lent {
    current: Option<Kept>,
    // By window.
    older: Vec<Kept>,
    // What was wished for without naming a window.
    wished: Wished,
    // The newest window of which an account was forgotten.
    forgotten: Option<UnixMillis>,
    // When the control plane last said that there is no such budget.
    gone: Option<Ticks>,
}

#[derive(Debug)]
struct Kept {
    account: Arc<Account>,
    // The total given back that the control plane has confirmed.
    acknowledged: NanoUsd,
    wished: Wished,
}

// What was wished for may have been granted though no answer came: who then says nothing would keep it lent for ever.
#[derive(Clone, Copy, Debug, Default)]
struct Wished {
    last: Option<Ticks>,
    // When the newest ask was made that was answered.
    heard: Option<Ticks>,
}

// === impl Borrower ===

impl Borrower {
    /// A run that has borrowed nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The account in which requests are held now.
    #[must_use]
    pub fn account(&self, now: Ticks, budget: &BudgetId) -> Option<Arc<Account>> {
        let current = self.budgets.get(budget)?.published()?;
        (!current.is_expired(now)).then_some(current)
    }

    /// What to send: for budgets that somebody waits for, for accounts that run low, and for those that have something to
    /// give back, until that was acknowledged. At most [`ASKS_MAX`]; what does not fit comes first the next time.
    #[must_use]
    pub fn asks(&mut self, now: Ticks, wants: &[Want]) -> Vec<Asked> {
        let wants: BTreeMap<BudgetId, &Want> = wants.iter().map(|want| (want.budget.clone(), want)).collect();
        let mut asked = Vec::new();
        let full = |asked: &[Asked], most: usize| asked.len() + ASKS_OF_BUDGET_MAX > most;
        let wanted = round(self.wanted.as_ref()).into_iter().flatten().flat_map(|range| wants.range(range));
        let mut last = None;
        for (budget, want) in wanted {
            if full(&asked, WANTED_MAX) {
                break;
            }
            let lent = self.budgets.entry(budget.clone()).or_default();
            lent.asks(now, budget, Some(want), self.closing, &mut asked);
            last = Some(budget);
        }
        self.wanted = last.cloned().or(self.wanted.take());
        let mut last = None;
        for range in round(self.swept.as_ref()).into_iter().flatten() {
            for (budget, lent) in self.budgets.range_mut(range) {
                if full(&asked, ASKS_MAX) {
                    break;
                }
                if !wants.contains_key(budget) {
                    lent.asks(now, budget, None, self.closing, &mut asked);
                }
                last = Some(budget.clone());
            }
        }
        self.swept = last;
        asked
    }

    /// Takes the answers, in the order of what was asked at `asked_at`, as often as they come and in whatever order. Returns
    /// whose current account has changed; what becomes current keeps nothing back until its owner says so.
    #[must_use]
    pub fn answered(&mut self, asked_at: Ticks, now: Ticks, asked: &[Asked], answers: &[Answered]) -> Vec<Change> {
        let mut changes = Vec::new();
        for (asked, answered) in asked.iter().zip(answers) {
            let lent = self.budgets.entry(asked.budget.clone()).or_default();
            let before = lent.published();
            lent.answered(asked_at, now, asked, answered);
            lent.forget();
            let after = lent.published();
            let same = match (&before, &after) {
                (Some(before), Some(after)) => Arc::ptr_eq(before, after),
                (before, after) => before.is_none() && after.is_none(),
            };
            if !same {
                changes.push((asked.budget.clone(), after));
            }
        }
        changes
    }

    /// Somebody else needs what is not held of a budget.
    pub fn recall(&mut self, now: Ticks, budget: &BudgetId) {
        if let Some(current) = self.budgets.get(budget).and_then(|lent| lent.current.as_ref()) {
            current.account.recall(now);
        }
    }

    /// From now on everything that is not held goes back, and nothing is borrowed but what somebody waits for: the replica
    /// is about to end.
    pub const fn close(&mut self) {
        self.closing = true;
    }

    /// Whether nothing is held, every wish was answered, and all that was given back is acknowledged.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        let heard = |lent: &Lent| !lent.wished.is_open() && lent.kept().all(|kept| !kept.wished.is_open());
        self.budgets.values().all(|lent| lent.kept().all(Kept::is_clear) && (lent.gone.is_some() || heard(lent)))
    }

    /// Every account, for figures.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.budgets.values().flat_map(|lent| lent.kept().map(|kept| &kept.account))
    }
}

// Those behind the one that was last, and then from the beginning.
fn round(last: Option<&BudgetId>) -> [Option<(Bound<BudgetId>, Bound<BudgetId>)>; 2] {
    match last.cloned() {
        None => [Some((Unbounded, Unbounded)), None],
        Some(last) => [Some((Excluded(last.clone()), Unbounded)), Some((Unbounded, Included(last)))],
    }
}

// === impl Lent ===

impl Lent {
    fn kept(&self) -> impl Iterator<Item = &Kept> {
        self.older.iter().chain(&self.current)
    }

    fn published(&self) -> Option<Arc<Account>> {
        self.current.as_ref().filter(|_| self.gone.is_none()).map(|current| Arc::clone(&current.account))
    }

    fn asks(&mut self, now: Ticks, budget: &BudgetId, want: Option<&Want>, closing: bool, asked: &mut Vec<Asked>) {
        if want.is_none() && !closing && self.gone.is_some_and(|gone| now < gone.plus(GONE_MS)) {
            return;
        }
        let told = |kept: &mut Kept, want: Option<&Want>| {
            let (first, waiting) = want.map_or_else(Default::default, |want| (want.first, want.waiting));
            let ahead = !closing && want.is_none_or(|want| want.ahead);
            let ask = kept.account.ask(now, first, waiting, ahead);
            kept.wished.note(now, &ask);
            Asked { budget: budget.clone(), window: Some(kept.account.window()), ask }
        };
        let older = self.older.iter_mut().filter(|kept| kept.has_news(now)).take(ASKS_OF_BUDGET_MAX - 2);
        asked.extend(older.map(|kept| told(kept, None)));
        let open = self.current.as_ref().is_some_and(|current| !current.account.is_expired(now));
        if let Some(current) = &mut self.current {
            if closing {
                current.account.keep_back(NanoUsd::ZERO);
                current.account.recall(now);
            }
            let here = want.filter(|_| open);
            if here.is_some() || current.has_news(now) || current.account.runs_low(now) {
                asked.push(told(current, here));
            }
        }
        if !open && (want.is_some() || self.wished.is_unheard(now)) {
            let (first, waiting) = want.map_or_else(Default::default, |want| (want.first, want.waiting));
            let ask = Ask { need: first, wish: waiting.max(first), mean_hold: first, ..Ask::default() };
            self.wished.note(now, &ask);
            asked.push(Asked { budget: budget.clone(), window: None, ask });
        }
    }

    fn answered(&mut self, asked_at: Ticks, now: Ticks, asked: &Asked, answered: &Answered) {
        let Answered::Lent { window, valid_ms, answer } = answered else {
            // What was granted before is not heard of so.
            self.acknowledge(asked);
            self.gone = Some(now);
            return;
        };
        self.gone = None;
        // A wish without window may still be granted in the one that is named now.
        let unnamed = self.wished.last.filter(|_| asked.window.is_none());
        if asked.window.is_none() {
            self.wished.hear(asked_at);
        }
        let newest = self.current.as_ref().map(|current| current.account.window());
        let is_current = newest.is_none_or(|newest| *window >= newest);
        // What is not current has ended for this replica, whatever a control plane with another clock says.
        let valid_ms = if is_current { valid_ms.unwrap_or(u64::MAX) } else { 0 };
        if !self.kept().any(|kept| kept.account.window() == *window) {
            if self.forgotten.is_some_and(|forgotten| *window <= forgotten) {
                return;
            }
            let account = Account::new(asked.budget.clone(), *window, asked_at.plus(valid_ms), now);
            let kept = Kept { account: Arc::new(account), acknowledged: NanoUsd::ZERO, wished: Wished::default() };
            self.open(kept, is_current, asked_at, now);
        }
        let kept = self.older.iter_mut().chain(&mut self.current).find(|kept| kept.account.window() == *window);
        if let Some(kept) = kept {
            kept.account.apply(asked_at, now, valid_ms, answer);
            kept.wished.last = kept.wished.last.max(unnamed);
            kept.wished.hear(asked_at);
        }
        if asked.window == Some(*window) {
            self.acknowledge(asked);
        }
    }

    // What is given back is taken, whatever else is answered.
    fn acknowledge(&mut self, asked: &Asked) {
        let told = |kept: &&mut Kept| Some(kept.account.window()) == asked.window;
        if let Some(kept) = self.older.iter_mut().chain(&mut self.current).find(told) {
            kept.acknowledged = kept.acknowledged.max(asked.ask.returned);
        }
    }

    fn open(&mut self, kept: Kept, is_current: bool, asked_at: Ticks, now: Ticks) {
        let older = if is_current { self.current.replace(kept) } else { Some(kept) };
        if let Some(mut older) = older {
            // A wish without window may have been granted in the one before, too.
            older.wished.last = older.wished.last.max(self.wished.last);
            older.account.end(asked_at.max(now));
            self.older.push(older);
            self.older.sort_by_key(|kept| kept.account.window());
        }
    }

    // From the oldest on, so that what was forgotten is always older than what is kept. The newest account is kept, also of a
    // budget that is gone: it may come back in the same window, and clocks differ about when that ends.
    fn forget(&mut self) {
        let count = self.older.iter().take_while(|kept| kept.is_clear() && kept.wished.is_settled()).count();
        let forgotten = self.older.drain(..count).next_back();
        self.forgotten = forgotten.map(|kept| kept.account.window()).or(self.forgotten);
    }
}

// === impl Kept ===

impl Kept {
    fn has_news(&self, now: Ticks) -> bool {
        self.account.position().returned > self.acknowledged
            || self.account.has_surplus(now)
            || self.wished.is_unheard(now)
    }

    fn is_clear(&self) -> bool {
        self.account.is_empty() && self.account.position().returned <= self.acknowledged
    }
}

// === impl Wished ===

impl Wished {
    fn note(&mut self, now: Ticks, ask: &Ask) {
        if ask.wish > NanoUsd::ZERO {
            self.last = Some(now);
        }
    }

    fn hear(&mut self, asked_at: Ticks) {
        self.heard = self.heard.max(Some(asked_at));
    }

    // Whether no ask was answered since the last wish.
    fn is_open(&self) -> bool {
        self.last > self.heard
    }

    // Whether an ask was answered so long after it that no late message can be granted any more.
    fn is_settled(&self) -> bool {
        self.last.is_none_or(|last| Some(last.plus(LATE_MS)) <= self.heard)
    }

    // Whether it is time to ask for that answer.
    fn is_unheard(&self, now: Ticks) -> bool {
        self.is_open() || (!self.is_settled() && self.last.is_some_and(|last| last.plus(LATE_MS) <= now))
    }
}

#[cfg(test)]
mod tests;
