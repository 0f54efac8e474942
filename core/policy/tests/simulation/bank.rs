//! The database of the control planes: books, loans, runs, and what was charged. Each transaction is whole or not at all, and
//! is audited when it has committed.
//!
//! The arithmetic of a transaction is `lend`'s own. What SQL does around it stands here: which window is current, who
//! may ask, which record was counted.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_policy::{
    borrow::{Answered, Asked},
    lend::{self, Ask, Book, Loan, Standing},
    money::NanoUsd,
    time::UnixMillis,
    window::{Window, Windows},
};

use super::{
    plan::Fault,
    replica::number,
    spool::{Place, Record},
    world::Broken,
};

/// One run of one replica.
pub(crate) type RunName = (usize, u64);

#[derive(Debug)]
struct Row {
    end: Option<i64>,
    book: Book,
    // What was charged to it and adjusted, by the visits' own account.
    expected: i64,
    // What settled and leased were together when the last transaction had committed.
    total: i64,
}

#[derive(Debug, Default)]
struct LoanRow {
    loan: Loan,
    audited: Loan,
    // What providers have billed for it.
    billed: i64,
    // What an operator gave up, knowing that it might have been spent.
    given_up: bool,
}

#[derive(Clone, Copy, Debug)]
enum Transaction<'a> {
    Exchange { run: RunName, newest: u64, replayed: &'a [u64] },
    Report(RunName),
    Release(RunName),
    Adjust,
}

/// What the service says to a call.
#[derive(Debug)]
pub(crate) enum Exchanged {
    /// The answers, in the order of the asks, and the books in which others should give back.
    Lent(Vec<Answered>, Vec<Place>),
    /// The run is not the newest of its replica.
    Fenced,
}

#[derive(Debug)]
pub(crate) struct Bank {
    fault: Fault,
    budgets: Vec<(NanoUsd, Windows)>,
    rows: BTreeMap<Place, Row>,
    loans: BTreeMap<(Place, RunName), LoanRow>,
    runs: BTreeMap<usize, u64>,
    /// Budgets that are not hard for a while, and whether any ever was not.
    pub(crate) gone: BTreeSet<usize>,
    pub(crate) was_gone: bool,
    asked: BTreeMap<RunName, i64>,
    reported: BTreeMap<RunName, u64>,
    // Where each visit was held, and which were charged.
    held: BTreeMap<u64, Vec<Place>>,
    charged: BTreeSet<u64>,
    // By how much an account may be passed: errors of the estimator, and uncertain records of a machine that was lost.
    slack: BTreeMap<Place, i64>,
    billed: BTreeMap<Place, i64>,
    highest: BTreeMap<usize, i64>,
    pub(crate) audits: u64,
    pub(crate) excess: i64,
}

impl Bank {
    pub(crate) fn new(fault: Fault, budgets: Vec<(NanoUsd, Windows)>) -> Self {
        let highest = budgets.iter().enumerate().map(|(budget, (limit, _))| (budget, limit.get())).collect();
        Self {
            fault,
            budgets,
            rows: BTreeMap::new(),
            loans: BTreeMap::new(),
            runs: BTreeMap::new(),
            gone: BTreeSet::new(),
            was_gone: false,
            asked: BTreeMap::new(),
            reported: BTreeMap::new(),
            held: BTreeMap::new(),
            charged: BTreeSet::new(),
            slack: BTreeMap::new(),
            billed: BTreeMap::new(),
            highest,
            audits: 0,
            excess: 0,
        }
    }

    pub(crate) fn limit(&self, budget: usize) -> i64 {
        self.budgets[budget].0.get()
    }

    pub(crate) fn set_limit(&mut self, budget: usize, limit: i64) {
        self.budgets[budget].0 = NanoUsd::new(limit);
        let highest = self.highest.entry(budget).or_default();
        *highest = limit.max(*highest);
    }

    /// Remembers where a visit is held.
    pub(crate) fn note_held(&mut self, visit: u64, places: &[Place]) {
        self.held.insert(visit, places.to_vec());
    }

    /// Lets charges pass what was held by so much.
    pub(crate) fn allow(&mut self, places: &[Place], more: i64) {
        for place in places {
            *self.slack.entry(*place).or_default() += more;
        }
    }

    pub(crate) fn slack(&self, place: &Place) -> i64 {
        self.slack.get(place).copied().unwrap_or_default()
    }

    /// What a provider billed for an attempt that was held in these places by a run.
    pub(crate) fn bill(&mut self, run: RunName, places: &[Place], cost: i64) -> Result<(), Broken> {
        for place in places {
            let billed = self.billed.entry(*place).or_default();
            *billed += cost;
            let most = self.highest[&place.0] + self.slack.get(place).copied().unwrap_or_default();
            self.excess = self.excess.max(*billed - most);
            if *billed > most {
                return Err(Broken::new("I3", format!("providers billed {billed} of {most} in {place:?}")));
            }
            self.loans.entry((*place, run)).or_default().billed += cost;
        }
        Ok(())
    }

    /// Gives back and lends, as the service does.
    pub(crate) fn exchange(
        &mut self,
        now: i64,
        run: RunName,
        asks: &[Asked],
        replayed: &[u64],
    ) -> Result<Exchanged, Broken> {
        let newest = self.runs.entry(run.0).or_default();
        let stale = run.1 < *newest;
        if stale && self.fault != Fault::NoFence {
            return Ok(Exchanged::Fenced);
        }
        *newest = run.1.max(*newest);
        let newest = *newest;
        self.asked.insert(run, now);
        for earlier in replayed.iter().filter(|earlier| **earlier < run.1) {
            self.release((run.0, *earlier));
        }
        let mut scarce = Vec::new();
        let mut answers = Vec::new();
        for asked in asks {
            let budget = number(&asked.budget);
            let current = self.current(now, budget);
            let start = asked.window.map_or(current.start.get(), UnixMillis::get);
            let place = (budget, start);
            let lends = start == current.start.get() && !self.gone.contains(&budget);
            let answer = self.lend(place, run, &asked.ask, lends)?;
            if self.gone.contains(&budget) {
                answers.push(Answered::Gone);
                continue;
            }
            let unmet = answer.granted < asked.ask.granted.plus(asked.ask.need);
            if unmet && answer.standing == Standing::Scarce {
                scarce.push(place);
            }
            let valid_ms = match current.end {
                _ if start != current.start.get() => Some(0),
                None => None,
                Some(end) => Some(u64::try_from(end.get() - now).unwrap_or(0)),
            };
            answers.push(Answered::Lent { window: UnixMillis::new(start), valid_ms, answer });
        }
        self.audit(Transaction::Exchange { run, newest, replayed })?;
        Ok(Exchanged::Lent(answers, scarce))
    }

    fn lend(&mut self, place: Place, run: RunName, ask: &Ask, lends: bool) -> Result<lend::Answer, Broken> {
        let borrowers = self
            .loans
            .iter()
            .filter(|(at, row)| at.0 == place && (at.1 == run || row.loan.outstanding() > NanoUsd::ZERO));
        let borrowers = u32::try_from(borrowers.count()).unwrap().max(1);
        let limit = self.budgets[place.0].0;
        let row = self.rows.get_mut(&place).expect("the replica names a window that it was told");
        let loan = &mut self.loans.entry((place, run)).or_default().loan;
        row.book.limit = limit;
        let ask = if lends { *ask } else { Ask { need: NanoUsd::ZERO, wish: NanoUsd::ZERO, ..*ask } };
        let answer = lend::exchange(&mut row.book, loan, &ask, borrowers);
        let (mut book, mut again) = (row.book, *loan);
        let repeated = lend::exchange(&mut book, &mut again, &ask, borrowers);
        if (book, again, repeated.granted) != (row.book, *loan, answer.granted) {
            return Err(Broken::new("I4", format!("{ask:?} repeated by {run:?} made {loan:?} {again:?} in {place:?}")));
        }
        Ok(answer)
    }

    // Windows only go forward: a clock that went back does not open an old one again.
    fn current(&mut self, now: i64, budget: usize) -> Window {
        let (limit, windows) = &self.budgets[budget];
        let mut window = windows.at(UnixMillis::new(now));
        let newest = self.rows.range((budget, i64::MIN)..=(budget, i64::MAX)).next_back();
        if let Some((place, row)) = newest
            && place.1 > window.start.get()
            && self.fault != Fault::WindowBackwards
        {
            window = Window { start: UnixMillis::new(place.1), end: row.end.map(UnixMillis::new) };
        }
        let place = (budget, window.start.get());
        if !self.rows.contains_key(&place) {
            if self.fault == Fault::WindowZeroed {
                let older = self.rows.range_mut((budget, i64::MIN)..place);
                older.for_each(|(_, row)| row.book.settled = NanoUsd::ZERO);
            }
            let book = Book { limit: *limit, ..Book::default() };
            let end = window.end.map(UnixMillis::get);
            self.rows.insert(place, Row { end, book, expected: 0, total: 0 });
        }
        window
    }

    // What a run will not use any more.
    fn release(&mut self, run: RunName) {
        for ((place, of), row) in &mut self.loans {
            if *of == run
                && let Some(book) = self.rows.get_mut(place)
            {
                let _ = lend::release(&mut book.book, &mut row.loan);
            }
        }
    }

    /// Counts records, each once. Returns the last sequence without a gap.
    pub(crate) fn report(&mut self, now: i64, run: RunName, first: u64, records: &[Record]) -> Result<u64, Broken> {
        let counted = self.reported.get(&run).copied().unwrap_or_default();
        let mut last = counted;
        for (sequence, record) in (first..).zip(records) {
            let again = sequence <= counted;
            if (again && self.fault != Fault::CountedTwice) || sequence > last + 1 {
                continue;
            }
            last = last.max(sequence);
            self.count(now, (run.0, record.run), record)?;
        }
        self.reported.insert(run, last);
        self.audit(Transaction::Report(run))?;
        Ok(last)
    }

    fn count(&mut self, now: i64, run: RunName, record: &Record) -> Result<(), Broken> {
        if !self.charged.insert(record.visit) {
            return Err(Broken::new("I4", format!("visit {} was charged twice", record.visit)));
        }
        let held = self.held[&record.visit].clone();
        for place in &held {
            self.rows.get_mut(place).expect("it was held there").expected += record.cost;
        }
        let skipped = usize::from(self.fault == Fault::AncestorUncharged);
        for place in record.charges.iter().skip(skipped) {
            let place = match self.fault {
                Fault::WrongWindow => (place.0, self.current(now, place.0).start.get()),
                _ => *place,
            };
            let loan = &mut self.loans.entry((place, run)).or_default().loan;
            let row = self.rows.get_mut(&place).expect("it was held there");
            lend::charge(&mut row.book, loan, NanoUsd::new(record.cost));
        }
        Ok(())
    }

    /// An operator knows that a run has ended, and frees what it borrowed. What it spent without a record is given up, and
    /// records of it that are still on their way count.
    pub(crate) fn operator_releases(&mut self, run: RunName) -> Result<(), Broken> {
        let mut given_up = Vec::new();
        for ((place, of), row) in &mut self.loans {
            if *of == run {
                row.given_up = true;
                let unrecorded = (row.billed - row.loan.settled.get()).max(row.loan.outstanding().get());
                given_up.push((*place, unrecorded.max(0)));
            }
        }
        given_up.into_iter().for_each(|(place, unrecorded)| self.allow(&[place], unrecorded));
        self.release(run);
        self.audit(Transaction::Release(run))
    }

    pub(crate) fn adjust(&mut self, index: usize, amount: i64) -> Result<(), Broken> {
        let count = self.rows.len();
        let Some((place, row)) = self.rows.iter_mut().nth(index % count.max(1)) else { return Ok(()) };
        let before = row.book.settled.get();
        lend::adjust(&mut row.book, NanoUsd::new(amount));
        let change = row.book.settled.get() - before;
        row.expected += change;
        // Who refunds lets providers be paid more than the limit.
        let place = *place;
        self.allow(&[place], change.abs());
        self.audit(Transaction::Adjust)
    }

    /// Frees what was lent to a run that has not asked for long: the fault of who takes silence for death.
    pub(crate) fn regrant_silent(&mut self, now: i64) -> Result<(), Broken> {
        let silent: Vec<RunName> =
            self.asked.iter().filter(|(_, asked)| now - **asked > 5_000).map(|(run, _)| *run).collect();
        for run in silent {
            self.release(run);
        }
        self.audit(Transaction::Adjust)
    }

    /// What is outstanding of a run, by place.
    pub(crate) fn outstanding(&self, run: RunName) -> impl Iterator<Item = (Place, i64)> {
        let of = self.loans.iter().filter(move |(at, _)| at.1 == run);
        of.map(|(at, row)| (at.0, row.loan.outstanding().get())).filter(|(_, outstanding)| *outstanding > 0)
    }

    /// The replicas that have borrowed from a book.
    pub(crate) fn borrowers(&self, place: Place) -> impl Iterator<Item = RunName> {
        let of = self.loans.iter().filter(move |(at, row)| at.0 == place && row.loan.outstanding() > NanoUsd::ZERO);
        of.map(|(at, _)| at.1)
    }

    /// When a budget's newest window began.
    pub(crate) fn newest(&self, budget: usize) -> Option<i64> {
        self.rows.range((budget, i64::MIN)..=(budget, i64::MAX)).next_back().map(|(place, _)| place.1)
    }

    /// What could still be lent in a budget's newest window.
    pub(crate) fn unlent(&self, budget: usize) -> i64 {
        let newest = self.rows.range((budget, i64::MIN)..=(budget, i64::MAX)).next_back();
        newest.map_or(0, |(_, row)| row.book.free().get())
    }

    /// How much of each newest window's limit was spent, in percent.
    pub(crate) fn used_percent(&self) -> impl Iterator<Item = i64> {
        self.rows.values().map(|row| row.book.settled.get() * 100 / row.book.limit.get().max(1))
    }

    fn audit(&mut self, transaction: Transaction<'_>) -> Result<(), Broken> {
        self.audits += 1;
        let mut leased: BTreeMap<Place, i64> = BTreeMap::new();
        for ((place, run), row) in &mut self.loans {
            *leased.entry(*place).or_default() += row.loan.outstanding().get();
            check_loan(*place, *run, row, transaction)?;
            let covered = (row.loan.granted.get() - row.loan.returned.get()).max(row.loan.settled.get());
            let slack = self.slack.get(place).copied().unwrap_or_default();
            if row.billed > covered + slack && !row.given_up {
                let billed = row.billed;
                return Err(Broken::new(
                    "I6",
                    format!("{run:?} was billed {billed} of {covered} in {place:?}: freed unpaid"),
                ));
            }
            row.audited = row.loan;
        }
        for (place, row) in &mut self.rows {
            let Book { limit, settled, leased: booked } = row.book;
            let outstanding = leased.get(place).copied().unwrap_or_default();
            if booked.get() != outstanding {
                let text = format!("{place:?} has {booked} leased, its loans {} nano", NanoUsd::new(outstanding));
                return Err(Broken::new("I5", text));
            }
            if settled.get() != row.expected {
                let text =
                    format!("{place:?} has settled {}, charges and adjustments are {}", settled.get(), row.expected);
                return Err(Broken::new("I11", text));
            }
            let total = settled.get() + booked.get();
            // The limit counts at a grant. What was granted before it was lowered may still be charged.
            let limit =
                if matches!(transaction, Transaction::Exchange { .. }) { limit.get() } else { self.highest[&place.0] };
            let most = limit + self.slack.get(place).copied().unwrap_or_default();
            if total > most.max(row.total) {
                let text = format!("{place:?} has {total} settled and leased of {most}, {transaction:?}");
                return Err(Broken::new("I1", text));
            }
            row.total = total;
        }
        Ok(())
    }
}

// Who may change a loan, and how.
fn check_loan(place: Place, run: RunName, row: &LoanRow, transaction: Transaction<'_>) -> Result<(), Broken> {
    let LoanRow { loan, audited, .. } = row;
    let broken =
        |invariant, what: &str| Err(Broken::new(invariant, format!("{what}: {run:?} in {place:?}, {transaction:?}")));
    if loan.granted < audited.granted || loan.returned < audited.returned || loan.settled < audited.settled {
        return broken("I4", "a total went down");
    }
    let (granted, returned) = (loan.granted != audited.granted, loan.returned != audited.returned);
    let allowed = match transaction {
        Transaction::Exchange { run: asking, newest, replayed } if asking.0 == run.0 => {
            if asking == run && (granted || returned) && asking.1 < newest {
                return broken("I7", "a stale run obtained or freed funds");
            }
            asking == run || (!granted && replayed.contains(&run.1))
        }
        Transaction::Release(released) => released == run && !granted,
        _ => false,
    };
    if (granted || returned) && !allowed {
        return broken("I6", "funds of another run changed");
    }
    if loan.settled != audited.settled && !matches!(transaction, Transaction::Report(from) if from == run) {
        return broken("I11", "something was charged by no record of the run");
    }
    Ok(())
}
