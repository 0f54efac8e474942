//! The control plane's side of a budget: how much of it is lent to which replica, and what became of it.
//!
//! Everything that is told is a total that only grows: what was granted, returned and settled since the loan began. So a
//! message that is lost, repeated or overtaken changes nothing: the larger total is the newer one. The same request for
//! funds is granted once, since the answer to it raises the total that the replica says it knows.
//!
//! ```text
//! settled + leased <= limit, where leased is what is outstanding over all loans
//! outstanding = granted - returned - settled
//! ```

use crate::money::NanoUsd;

/// A budget in one window.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Book {
    /// The most that may be spent.
    pub limit: NanoUsd,
    /// What was spent: charges, less what was refunded.
    pub settled: NanoUsd,
    /// What is outstanding over all loans.
    pub leased: NanoUsd,
}

/// What one run of a replica has borrowed from a book. Totals that only grow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Loan {
    /// Lent.
    pub granted: NanoUsd,
    /// Given back unspent.
    pub returned: NanoUsd,
    /// Reported as spent.
    pub settled: NanoUsd,
}

/// What a replica asks for, and what it gives back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ask {
    /// The total that was granted, as far as the replica has heard.
    pub granted: NanoUsd,
    /// The total that it has given back.
    pub returned: NanoUsd,
    /// What the first of the requests that wait needs. Nothing less helps.
    pub need: NanoUsd,
    /// What it would like to have for all that wait and for the requests to come; at least the need.
    pub wish: NanoUsd,
    /// What a request holds on average.
    pub mean_hold: NanoUsd,
}

/// What the control plane says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The total that is granted now.
    pub granted: NanoUsd,
    /// How the budget stands.
    pub standing: Standing,
    /// The most that may be spent.
    pub limit: NanoUsd,
    /// What was spent.
    pub settled: NanoUsd,
}

/// How a budget stands towards somebody who asks.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Standing {
    /// There is enough.
    #[default]
    Ample,
    /// There is little left, or others hold what is needed: replicas give back what they do not hold.
    Scarce,
    /// What is needed does not fit, whatever others give back.
    Exhausted,
}

/// So many parts of what is free go to one replica at most, for each replica that borrows.
const SHARES: i64 = 2;
/// The largest grant beyond the need, as a part of the limit: 5 %.
const LARGEST_PART: i64 = 20;
/// Below this part of the limit what is free is scarce: 3 %, as hundredths.
const SCARCE_PERCENT: i64 = 3;

/// Takes what a replica gives back, and lends what it asks for, if it fits. `borrowers` is how many loans of this book have
/// something outstanding, with this one.
#[must_use]
pub fn exchange(book: &mut Book, loan: &mut Loan, ask: &Ask, borrowers: u32) -> Answer {
    let before = loan.outstanding();
    // Who knows of more than the book does has it: the book was restored from a backup.
    loan.granted = loan.granted.max(ask.granted);
    loan.returned = loan.returned.max(ask.returned.min(loan.granted));
    move_leased(book, before, loan.outstanding());

    let unheard = loan.granted.get() - ask.granted.get();
    let need = (ask.need.get() - unheard).max(0);
    // Ahead only to one who has heard of all that it was lent: a repeated message is then granted once, whatever cut it short.
    let wish = if unheard > 0 { need } else { ask.wish.get().max(need) };
    let free = book.free().get();
    let standing = standing(book, need, free, ask.mean_hold, borrowers);
    let grant = match standing {
        _ if need > free => 0,
        Standing::Ample => {
            let share = free / (SHARES * i64::from(borrowers.max(1)));
            wish.min(share.min(book.limit.get() / LARGEST_PART).max(need))
        }
        Standing::Scarce | Standing::Exhausted => need,
    };
    // A grant to a loan that was charged beyond what it had covers that first, so that less is outstanding than is granted.
    let before = loan.outstanding();
    loan.granted = NanoUsd::new(loan.granted.get() + grant);
    move_leased(book, before, loan.outstanding());
    Answer { granted: loan.granted, standing, limit: book.limit, settled: book.settled }
}

/// Charges what was spent under a loan.
pub fn charge(book: &mut Book, loan: &mut Loan, amount: NanoUsd) {
    let before = loan.outstanding();
    loan.settled = loan.settled.plus(amount);
    move_leased(book, before, loan.outstanding());
    book.settled = book.settled.plus(amount);
}

/// Frees what is outstanding of a loan whose replica has ended and will report nothing more. Returns how much that is.
#[must_use]
pub fn release(book: &mut Book, loan: &mut Loan) -> NanoUsd {
    let outstanding = loan.outstanding();
    loan.returned = loan.returned.plus(outstanding);
    move_leased(book, outstanding, loan.outstanding());
    outstanding
}

/// Corrects what was spent: a negative amount refunds, a positive one charges. The result is not below zero.
pub fn adjust(book: &mut Book, amount: NanoUsd) {
    book.settled = NanoUsd::new(book.settled.get().saturating_add(amount.get()).max(0));
}

fn standing(book: &Book, need: i64, free: i64, mean_hold: NanoUsd, borrowers: u32) -> Standing {
    let crowd = SHARES.saturating_mul(i64::from(borrowers.max(1))).saturating_mul(mean_hold.get().max(0));
    let little = (book.limit.get() / 100 * SCARCE_PERCENT).max(crowd);
    if book.settled.get().saturating_add(need.max(1)) > book.limit.get() {
        Standing::Exhausted
    } else if need > free || free < little {
        Standing::Scarce
    } else {
        Standing::Ample
    }
}

fn move_leased(book: &mut Book, before: NanoUsd, after: NanoUsd) {
    book.leased = NanoUsd::new(book.leased.get() - before.get() + after.get());
}

// === impl Book ===

impl Book {
    /// What can still be lent; below zero when the limit was lowered under what is spent and lent.
    #[must_use]
    pub const fn free(&self) -> NanoUsd {
        NanoUsd::new(self.limit.get().saturating_sub(self.settled.get()).saturating_sub(self.leased.get()))
    }
}

// === impl Loan ===

impl Loan {
    /// What is lent, and neither given back nor reported as spent. A charge beyond what was lent leaves nothing outstanding.
    #[must_use]
    pub fn outstanding(&self) -> NanoUsd {
        NanoUsd::new((self.granted.get() - self.returned.get() - self.settled.get()).max(0))
    }
}

// === impl Standing ===

impl Standing {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ample => "ample",
            Self::Scarce => "scarce",
            Self::Exhausted => "exhausted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(nano: i64) -> NanoUsd {
        NanoUsd::new(nano)
    }

    fn ask(granted: i64, returned: i64, need: i64, wish: i64) -> Ask {
        Ask { granted: usd(granted), returned: usd(returned), need: usd(need), wish: usd(wish), mean_hold: usd(need) }
    }

    fn book(limit: i64, settled: i64, leased: i64) -> Book {
        Book { limit: usd(limit), settled: usd(settled), leased: usd(leased) }
    }

    #[test]
    fn a_grant_is_the_wish_within_the_share() {
        let check = |book: Book, ask: Ask, borrowers: u32, granted: i64, standing: Standing| {
            let (mut after, mut loan) = (book, Loan::default());
            let answer = exchange(&mut after, &mut loan, &ask, borrowers);
            assert_eq!((answer.granted, answer.standing), (usd(granted), standing), "{book:?} {ask:?}");
            assert_eq!(after.leased.get() - book.leased.get(), granted);
        };
        check(book(10_000, 0, 0), ask(0, 0, 100, 300), 1, 300, Standing::Ample);
        check(book(10_000, 0, 0), ask(0, 0, 100, 9_000), 1, 500, Standing::Ample);
        check(book(10_000, 0, 0), ask(0, 0, 900, 9_000), 1, 900, Standing::Ample);
        check(book(10_000, 6_000, 1_000), ask(0, 0, 10, 9_000), 10, 150, Standing::Ample);
        check(book(10_000, 9_000, 900), ask(0, 0, 10, 90), 1, 10, Standing::Scarce);
        check(book(10_000, 9_000, 900), ask(0, 0, 200, 200), 1, 0, Standing::Scarce);
        check(book(10_000, 9_900, 0), ask(0, 0, 101, 101), 1, 0, Standing::Exhausted);
        check(book(10_000, 10_000, 0), ask(0, 0, 0, 0), 1, 0, Standing::Exhausted);
        check(book(10_000, 12_000, 0), ask(0, 0, 1, 1), 1, 0, Standing::Exhausted);
    }

    #[test]
    fn a_repeated_or_overtaken_message_changes_nothing() {
        let (mut book, mut loan) = (book(10_000, 0, 0), Loan::default());
        let first = ask(0, 0, 100, 200);
        let granted = exchange(&mut book, &mut loan, &first, 1).granted;
        let (once, lent) = (book, loan);
        assert_eq!(exchange(&mut book, &mut loan, &first, 1).granted, granted);
        assert_eq!((book, loan), (once, lent));
        let (mut cut_short, mut other) = (self::book(10_000, 0, 0), Loan::default());
        for _ in 0..3 {
            let answer = exchange(&mut cut_short, &mut other, &ask(0, 0, 100, 9_000), 1);
            assert_eq!((answer.granted, cut_short.leased), (usd(500), usd(500)));
        }
        let _ = exchange(&mut book, &mut loan, &ask(200, 150, 0, 0), 1);
        assert_eq!(book.leased, usd(50));
        let _ = exchange(&mut book, &mut loan, &ask(200, 20, 0, 0), 1);
        assert_eq!(book.leased, usd(50), "an older message does not take back what was given back");
    }

    #[test]
    fn what_a_replica_claims_never_frees_more_than_it_was_lent() {
        let (mut book, mut loan) = (book(10_000, 0, 0), Loan::default());
        let _ = exchange(&mut book, &mut loan, &ask(0, 9_000, 0, 0), 1);
        assert_eq!((book.leased, loan.outstanding()), (usd(0), usd(0)));
        let answer = exchange(&mut book, &mut loan, &ask(700, 0, 0, 0), 1);
        assert_eq!((book.leased, answer.granted), (usd(700), usd(700)), "a book restored from a backup learns");
    }

    #[test]
    fn a_charge_moves_from_leased_to_settled() {
        let (mut book, mut loan) = (book(10_000, 0, 0), Loan::default());
        let _ = exchange(&mut book, &mut loan, &ask(0, 0, 300, 300), 1);
        charge(&mut book, &mut loan, usd(120));
        assert_eq!((book.settled, book.leased), (usd(120), usd(180)));
        charge(&mut book, &mut loan, usd(200));
        assert_eq!((book.settled, book.leased), (usd(320), usd(0)), "beyond what was lent nothing is outstanding");
        assert_eq!(release(&mut book, &mut loan), usd(0));
    }

    #[test]
    fn a_grant_behind_an_excess_covers_it_first() {
        let (mut book, mut loan) = (book(10_000, 0, 0), Loan::default());
        let _ = exchange(&mut book, &mut loan, &ask(0, 0, 300, 300), 1);
        charge(&mut book, &mut loan, usd(350));
        let answer = exchange(&mut book, &mut loan, &ask(300, 0, 80, 80), 1);
        assert_eq!((answer.granted, loan.outstanding(), book.leased), (usd(380), usd(30), usd(30)));
        charge(&mut book, &mut loan, usd(30));
        assert_eq!((book.settled, book.leased), (usd(380), usd(0)));
    }

    #[test]
    fn a_release_frees_what_is_outstanding_once() {
        let (mut book, mut loan) = (book(10_000, 0, 0), Loan::default());
        let _ = exchange(&mut book, &mut loan, &ask(0, 0, 300, 300), 1);
        charge(&mut book, &mut loan, usd(100));
        assert_eq!((release(&mut book, &mut loan), book.leased), (usd(200), usd(0)));
        assert_eq!((release(&mut book, &mut loan), book.free()), (usd(0), usd(9_900)));
        adjust(&mut book, usd(-40));
        assert_eq!(book.settled, usd(60));
        adjust(&mut book, usd(-100));
        assert_eq!(book.settled, usd(0));
    }
}
