//! The books in one transaction: terms, windows and leases are read and locked, changed in memory by the rules of
//! [`tollgate_policy::lend`], and written back where they differ.
//!
//! ```text
//! let mut books = Books::open(&mut txn, budgets, now).await?;      // terms
//! books.lock(&mut txn, windows).await?;                            // rows, in one order
//! books.take_out(&mut txn, leases).await?;                         // what was lent from them
//! books.charge(&lease, amount);                                    // any number of changes
//! let passed = books.write(&mut txn).await?;                       // and the thresholds that they passed
//! audit::append_all(&mut txn, &alerts.entries(&mut txn, &passed, now).await?).await?;
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tollgate_policy::{
    id::BudgetId,
    lend::{self, Answer, Ask, Book, Loan, Standing},
    money::NanoUsd,
    window::Window,
};

use crate::store::{
    StoreError, Txn,
    books::{Terms, WindowId, WindowRow, leases::LeaseId},
};

/// A budget of which somebody needs more than is free is recalled at most this often, in milliseconds.
pub const RECALL_PAUSE_MS: i64 = 500;

/// The books that a transaction works on.
#[derive(Debug)]
pub struct Books {
    now: i64,
    terms: HashMap<BudgetId, Terms>,
    windows: BTreeMap<WindowId, Entry<WindowRow>>,
    leases: BTreeMap<LeaseId, Entry<Loan>>,
    borrowers: HashMap<WindowId, u32>,
}

/// A row as it was read and as it is to be.
#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    before: T,
    now: T,
}

/// What a replica is told of its ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answered {
    /// How the loan stands.
    Lent {
        /// The start of the window, in Unix milliseconds.
        window: i64,
        /// How long it lasts, in milliseconds; 0: it has ended; -1: for ever.
        valid_ms: i64,
        /// What is granted.
        answer: Answer,
    },
    /// There is no such hard budget any more.
    Gone,
}

/// A threshold that was passed.
#[derive(Clone, Debug)]
pub struct Passed {
    /// The terms of the budget.
    pub terms: Terms,
    /// The window.
    pub window: WindowId,
    /// How the window stands.
    pub row: WindowRow,
    /// The threshold, in percent of the limit.
    pub percent: i64,
}

/// The windows that a transaction wants, each with its end where its row is made if it is missing.
pub type Wanted = BTreeMap<WindowId, Option<Window>>;

impl Books {
    /// Opens the books of these budgets, without any window yet.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn open(txn: &mut Txn, budgets: BTreeSet<BudgetId>, now: i64) -> Result<Self, StoreError> {
        let budgets: Vec<_> = budgets.into_iter().collect();
        let terms = txn.books_terms(&budgets).await?;
        let (windows, leases, borrowers) = (BTreeMap::new(), BTreeMap::new(), HashMap::new());
        Ok(Self { now, terms, windows, leases, borrowers })
    }

    /// On which terms a budget lends, if it exists.
    #[must_use]
    pub fn terms(&self, budget: &BudgetId) -> Option<&Terms> {
        self.terms.get(budget)
    }

    /// Whether a window is locked, and so exists.
    #[must_use]
    pub fn has(&self, window: &WindowId) -> bool {
        self.windows.contains_key(window)
    }

    /// Locks windows until the transaction ends, and makes those that are missing where their end is given.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn lock(&mut self, txn: &mut Txn, wanted: Wanted) -> Result<(), StoreError> {
        let ids: Vec<_> = wanted.keys().cloned().collect();
        let mut rows = BTreeMap::new();
        txn.windows_lock(&ids, &mut rows).await?;
        let missing = wanted.into_iter().filter(|(id, _)| !rows.contains_key(id));
        let missing: Vec<_> = missing.filter_map(|(id, window)| Some((id, WindowRow::fresh(window?.end)))).collect();
        if !missing.is_empty() {
            txn.windows_insert(&missing).await?;
            let ids: Vec<_> = missing.into_iter().map(|(id, _)| id).collect();
            txn.windows_lock(&ids, &mut rows).await?;
        }
        self.windows.extend(rows.into_iter().map(|(id, row)| (id, Entry::of(row))));
        Ok(())
    }

    /// Reads leases of windows that are locked.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn take_out(&mut self, txn: &mut Txn, leases: BTreeSet<LeaseId>) -> Result<(), StoreError> {
        let ids: Vec<_> = leases.into_iter().filter(|id| self.windows.contains_key(&id.window)).collect();
        let mut rows = BTreeMap::new();
        txn.leases_read(&ids, &mut rows).await?;
        self.leases.extend(rows.into_iter().map(|(id, loan)| (id, Entry::of(loan))));
        Ok(())
    }

    /// Counts who borrows from windows that are locked.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn count_borrowers(&mut self, txn: &mut Txn, windows: BTreeSet<WindowId>) -> Result<(), StoreError> {
        let windows: Vec<_> = windows.into_iter().filter(|id| self.windows.contains_key(id)).collect();
        self.borrowers.extend(txn.leases_borrowers(&windows).await?);
        Ok(())
    }

    /// Takes what a replica gives back, and lends what it asks for. A window that is not the current one takes and lends
    /// nothing. Tells of scarcity when the budget is to be recalled from others.
    pub fn exchange(&mut self, lease: &LeaseId, ask: &Ask) -> (Answered, bool) {
        let gone = (Answered::Gone, false);
        let Some(terms) = self.terms.get(&lease.window.budget) else { return gone };
        let (lends, limit) = (terms.lends(), terms.limit);
        let is_current = terms.current(self.now).0 == lease.window.start;
        let Some(window) = self.windows.get_mut(&lease.window) else { return gone };
        let entry = self.leases.entry(lease.clone()).or_insert_with(|| Entry::of(Loan::default()));
        let borrowers = self.borrowers.entry(lease.window.clone()).or_default();
        let had = entry.now.outstanding() > NanoUsd::ZERO;
        let others = borrowers.saturating_sub(u32::from(had));
        let mut ask = *ask;
        if !lends || !is_current {
            (ask.need, ask.wish) = (NanoUsd::ZERO, NanoUsd::ZERO);
        }
        let mut book = window.now.book(limit);
        let answer = lend::exchange(&mut book, &mut entry.now, &ask, others.saturating_add(1));
        window.now.take(&book);
        *borrowers = others.saturating_add(u32::from(entry.now.outstanding() > NanoUsd::ZERO));
        if !lends {
            return gone;
        }
        let unmet = answer.granted < ask.granted.plus(ask.need);
        let recall = unmet
            && answer.standing == Standing::Scarce
            && self.now.saturating_sub(window.now.scarce_time).saturating_abs() >= RECALL_PAUSE_MS;
        if recall {
            window.now.scarce_time = self.now;
        }
        let valid_ms = if is_current { left(&window.now, self.now) } else { 0 };
        (Answered::Lent { window: lease.window.start, valid_ms, answer }, recall)
    }

    /// Charges what was spent under a lease, or, without one, what was spent without borrowing.
    pub fn charge(&mut self, window: &WindowId, lease: Option<&LeaseId>, amount: NanoUsd) {
        let Some(entry) = self.windows.get_mut(window) else { return };
        let mut book = entry.now.book(NanoUsd::ZERO);
        // What was not borrowed must not be taken off what a run borrows later.
        let mut unborrowed = Loan::default();
        let loan = match lease {
            Some(lease) => &mut self.leases.entry(lease.clone()).or_insert_with(|| Entry::of(Loan::default())).now,
            None => &mut unborrowed,
        };
        lend::charge(&mut book, loan, amount);
        entry.now.take(&book);
    }

    /// Frees what is outstanding of a lease whose run has ended. Returns how much that is.
    pub fn release(&mut self, lease: &LeaseId) -> NanoUsd {
        let window = self.windows.get_mut(&lease.window);
        let Some((window, loan)) = window.zip(self.leases.get_mut(lease)) else { return NanoUsd::ZERO };
        let mut book = window.now.book(NanoUsd::ZERO);
        let released = lend::release(&mut book, &mut loan.now);
        window.now.take(&book);
        if let Some(borrowers) = self.borrowers.get_mut(&lease.window).filter(|_| released > NanoUsd::ZERO) {
            *borrowers = borrowers.saturating_sub(1);
        }
        released
    }

    /// Corrects what was spent in a window. Returns what was spent before and after.
    pub fn adjust(&mut self, window: &WindowId, amount: NanoUsd) -> Option<(NanoUsd, NanoUsd)> {
        let entry = self.windows.get_mut(window)?;
        let mut book = entry.now.book(NanoUsd::ZERO);
        lend::adjust(&mut book, amount);
        let before = entry.now.settled;
        entry.now.take(&book);
        Some((before, entry.now.settled))
    }

    /// Writes what differs. Returns the thresholds that were passed, each once a window.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn write(mut self, txn: &mut Txn) -> Result<Vec<Passed>, StoreError> {
        let mut passed = Vec::new();
        for (id, entry) in &mut self.windows {
            let terms = self.terms.get(&id.budget).filter(|_| entry.now.settled != entry.before.settled);
            if let Some(terms) = terms {
                passed.extend(pass(terms, id, &mut entry.now));
            }
        }
        let windows: Vec<_> = changed(self.windows);
        txn.windows_write(&windows).await?;
        txn.leases_write(&changed(self.leases)).await?;
        Ok(passed)
    }
}

fn changed<K, T: PartialEq>(entries: BTreeMap<K, Entry<T>>) -> Vec<(K, T)> {
    let differing = entries.into_iter().filter(|(_, Entry { before, now })| before != now);
    differing.map(|(id, entry)| (id, entry.now)).collect()
}

// The thresholds above the last one that was told of, the lowest first.
fn pass(terms: &Terms, window: &WindowId, row: &mut WindowRow) -> Vec<Passed> {
    let spent = i128::from(row.settled.get()) * 100;
    let is_passed =
        |percent: i64| percent > row.alerted && spent >= i128::from(terms.limit.get()) * i128::from(percent);
    let percents: BTreeSet<_> = terms.thresholds.iter().copied().filter(|percent| is_passed(*percent)).collect();
    row.alerted = percents.last().copied().unwrap_or(row.alerted);
    let passed = |percent| Passed { terms: terms.clone(), window: window.clone(), row: *row, percent };
    percents.into_iter().map(passed).collect()
}

fn left(row: &WindowRow, now: i64) -> i64 {
    row.end.map_or(-1, |end| end.saturating_sub(now).max(0))
}

impl<T: Copy> Entry<T> {
    const fn of(row: T) -> Self {
        Self { before: row, now: row }
    }
}

impl WindowRow {
    const fn book(&self, limit: NanoUsd) -> Book {
        Book { limit, settled: self.settled, leased: self.leased }
    }

    const fn take(&mut self, book: &Book) {
        (self.settled, self.leased) = (book.settled, book.leased);
    }
}

/// The window to which a charge belongs whose window has no row, or that names none: that in which the instant lies, and
/// never one that is still to come.
#[must_use]
pub fn window_of(terms: &Terms, at: i64, now: i64) -> (WindowId, Option<Window>) {
    let (newest, current) = terms.current(now);
    let window = terms.window_at(at);
    let (start, window) =
        if window.start.get() >= newest { (newest, current) } else { (window.start.get(), Some(window)) };
    (WindowId { budget: terms.budget.clone(), start }, window)
}
