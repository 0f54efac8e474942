//! What a rate limit counts with: cells of the generic cell rate algorithm, and counts of what is open.
//!
//! A [`Cell`] is the algorithm in its form as a leaky bucket that is a meter (ITU-T I.371, annex A: both forms admit the same).
//! Its level rises by what is admitted and leaks evenly, the whole amount in one span. It is kept in parts of a token so
//! small that both are whole numbers: nothing is rounded, so nothing drifts. A burst may take the whole amount at once; so
//! any span of time sees at most the amount twice: what was left at its beginning, and what leaked during it.
//!
//! A request asks several buckets. All are checked, then all are taken from: a refusal leaves no bucket fuller.
//!
//! A fleet without a common store divides each amount: every replica counts its [`Share`]. When replicas come or go, the
//! shares that shrink are installed first and those that grow afterwards, so that their sum never exceeds the amount. What
//! a share grows by begins as used, since others may have used it: no regrouping of the fleet makes anything free.

use crate::{
    limit::{Measure, RateLimit},
    time::Ticks,
};

/// When to try again where too many requests are open: nobody knows when one of them ends.
pub const PARALLEL_RETRY_MS: u64 = 1_000;

/// How much in which time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// How much. 0 admits nothing.
    pub amount: u64,
    /// In how many milliseconds.
    pub span_ms: u64,
}

/// The use of one rate. It does not remember the rate, so that a new amount holds at once for what was used under the old.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Cell {
    // In parts of which `span_ms` make one, so that `amount` of them leak in each millisecond. Above the amount: a debt.
    level: u128,
    at: Ticks,
}

/// What one rate limit counts with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bucket {
    /// Requests or tokens.
    Flow(Cell),
    /// So many requests are open.
    Open(u64),
}

/// What a request asks of one bucket.
#[derive(Debug)]
pub struct Demand<'b> {
    /// The bucket.
    pub bucket: &'b mut Bucket,
    /// The rate; of [`Bucket::Open`] the amount alone counts.
    pub rate: Rate,
    /// How many: 1 unless tokens are counted.
    pub count: u64,
}

/// It does not fit now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryAfter {
    /// In so many milliseconds it does, if nobody else comes first.
    pub millis: u64,
}

/// A request does not fit into all of its buckets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused {
    /// Which of the demands has to wait longest.
    pub at: usize,
    /// For how long.
    pub retry: RetryAfter,
}

/// One replica's part of every amount.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Share {
    replicas: u32,
    // Its place among them. Without one it gets none of what does not divide.
    rank: Option<u32>,
}

/// Takes what is asked from every bucket, or from none.
///
/// # Errors
/// Says which demand does not fit; nothing is taken then.
pub fn admit(now: Ticks, demands: &mut [Demand<'_>]) -> Result<(), Refused> {
    let mut worst: Option<Refused> = None;
    for (at, demand) in demands.iter().enumerate() {
        if let Err(retry) = demand.bucket.check(now, demand.rate, demand.count)
            && worst.is_none_or(|worst| retry.millis > worst.retry.millis)
        {
            worst = Some(Refused { at, retry });
        }
    }
    if let Some(worst) = worst {
        return Err(worst);
    }
    demands.iter_mut().for_each(|demand| demand.bucket.take(now, demand.rate, demand.count));
    Ok(())
}

// === impl Rate ===

impl Rate {
    // The amount in the parts in which levels are kept.
    fn whole(self) -> u128 {
        self.parts(self.amount)
    }

    fn parts(self, count: u64) -> u128 {
        u128::from(count) * u128::from(self.span_ms)
    }

    // How long so much takes to leak, rounded up. Without a rate nothing leaks: a span is as good as any guess.
    fn leak_ms(self, level: u128) -> u64 {
        let millis = if self.amount == 0 { u128::from(self.span_ms) } else { level.div_ceil(u128::from(self.amount)) };
        u64::try_from(millis).unwrap_or(u64::MAX)
    }
}

impl From<&RateLimit> for Rate {
    fn from(limit: &RateLimit) -> Self {
        Self { amount: limit.amount, span_ms: limit.span_ms }
    }
}

// === impl Cell ===

impl Cell {
    /// Whether so many fit now. More than the whole amount never fits, so it is asked for as the whole amount: what a
    /// request really uses is charged in the end.
    ///
    /// # Errors
    /// Says in how many milliseconds they do.
    pub fn check(&self, now: Ticks, rate: Rate, count: u64) -> Result<(), RetryAfter> {
        let wanted = self.level(now, rate) + rate.parts(count.min(rate.amount));
        if rate.amount > 0 && wanted <= rate.whole() {
            return Ok(());
        }
        Err(RetryAfter { millis: rate.leak_ms(wanted - rate.whole()).max(1) })
    }

    /// Takes so many, at most the whole amount. The caller has checked that they fit.
    pub fn take(&mut self, now: Ticks, rate: Rate, count: u64) {
        self.charge(now, rate, count.min(rate.amount));
    }

    /// Takes what was used beyond what was taken before, whether it fits or not: what does not is a debt, and leaks first.
    pub fn charge(&mut self, now: Ticks, rate: Rate, count: u64) {
        self.leak(now, rate);
        self.level = self.level.saturating_add(rate.parts(count));
    }

    /// Takes what somebody else has admitted, but never into debt.
    pub fn note(&mut self, now: Ticks, rate: Rate, count: u64) {
        self.leak(now, rate);
        self.level = self.level.max(rate.whole().min(self.level.saturating_add(rate.parts(count))));
    }

    /// Gives back what was taken and not used. What has leaked already is not given back again.
    pub fn give_back(&mut self, now: Ticks, rate: Rate, count: u64) {
        self.leak(now, rate);
        self.level = self.level.saturating_sub(rate.parts(count));
    }

    /// So many fit now.
    #[must_use]
    pub fn remaining(&self, now: Ticks, rate: Rate) -> u64 {
        let free = rate.whole().saturating_sub(self.level(now, rate));
        let count = free.checked_div(u128::from(rate.span_ms)).unwrap_or_default();
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// In so many milliseconds the whole amount fits again.
    #[must_use]
    pub fn reset_ms(&self, now: Ticks, rate: Rate) -> u64 {
        match self.level(now, rate) {
            0 => 0,
            level => rate.leak_ms(level),
        }
    }

    fn leak(&mut self, now: Ticks, rate: Rate) {
        self.level = self.level(now, rate);
        // Two callers may come in another order than they read the clock.
        self.at = self.at.max(now);
    }

    fn level(&self, now: Ticks, rate: Rate) -> u128 {
        let elapsed = u128::from(now.get().saturating_sub(self.at.get()));
        self.level.saturating_sub(elapsed * u128::from(rate.amount))
    }
}

// === impl Bucket ===

impl Bucket {
    /// An empty bucket, which counts from an instant on.
    #[must_use]
    pub fn new(measure: Measure, at: Ticks) -> Self {
        match measure {
            Measure::Requests | Measure::Tokens => Self::Flow(Cell { level: 0, at }),
            Measure::Parallel => Self::Open(0),
        }
    }

    /// Whether so many fit now.
    ///
    /// # Errors
    /// Says when to try again.
    pub fn check(&self, now: Ticks, rate: Rate, count: u64) -> Result<(), RetryAfter> {
        match self {
            Self::Flow(cell) => cell.check(now, rate, count),
            Self::Open(open) if open.saturating_add(count) <= rate.amount => Ok(()),
            Self::Open(_) => Err(RetryAfter { millis: PARALLEL_RETRY_MS }),
        }
    }

    /// Takes so many. The caller has checked that they fit.
    pub fn take(&mut self, now: Ticks, rate: Rate, count: u64) {
        match self {
            Self::Flow(cell) => cell.take(now, rate, count),
            Self::Open(open) => *open = open.saturating_add(count),
        }
    }

    /// Takes what somebody else has admitted: a flow never goes into debt by it.
    pub fn note(&mut self, now: Ticks, rate: Rate, count: u64) {
        match self {
            Self::Flow(cell) => cell.note(now, rate, count),
            Self::Open(open) => *open = open.saturating_add(count),
        }
    }

    /// Corrects what was taken to what was used.
    pub fn correct(&mut self, now: Ticks, rate: Rate, taken: u64, used: u64) {
        let Self::Flow(cell) = self else { return };
        cell.charge(now, rate, used.saturating_sub(taken));
        cell.give_back(now, rate, taken.saturating_sub(used));
    }

    /// Counts at a new share from now on. What the share grows by begins as used.
    pub fn reshare(&mut self, now: Ticks, rate: Rate, from: Share, to: Share) {
        let Self::Flow(cell) = self else { return };
        let (before, after) = (from.rate(rate), to.rate(rate));
        cell.leak(now, before);
        cell.charge(now, after, after.amount.saturating_sub(before.amount));
    }

    /// Whether it is as good as new.
    #[must_use]
    pub fn is_idle(&self, now: Ticks, rate: Rate) -> bool {
        self.reset_ms(now, rate) == 0
    }

    /// In so many milliseconds it is as good as new, or at the most distant time while requests are open.
    #[must_use]
    pub fn reset_ms(&self, now: Ticks, rate: Rate) -> u64 {
        match self {
            Self::Flow(cell) => cell.reset_ms(now, rate),
            Self::Open(0) => 0,
            Self::Open(_) => u64::MAX,
        }
    }
}

// === impl Share ===

impl Share {
    /// Everything: there is one replica.
    pub const WHOLE: Self = Self { replicas: 1, rank: Some(0) };

    /// The part of one of so many replicas. `rank` is its place among them, from 0: with ranks that differ the parts of all
    /// add up to exactly the amount, and an amount smaller than the fleet goes to its first replicas, one for each. A
    /// replica without a rank gets the amount divided and rounded down, which may be nothing.
    #[must_use]
    pub const fn new(replicas: u32, rank: Option<u32>) -> Self {
        Self { replicas: if replicas == 0 { 1 } else { replicas }, rank }
    }

    /// Its part of an amount.
    #[must_use]
    pub fn of(self, amount: u64) -> u64 {
        let replicas = u64::from(self.replicas);
        let one_more = self.rank.is_some_and(|rank| u64::from(rank) < amount % replicas);
        amount / replicas + u64::from(one_more)
    }

    /// Its part of a rate.
    #[must_use]
    pub fn rate(self, rate: Rate) -> Rate {
        Rate { amount: self.of(rate.amount), ..rate }
    }
}

#[cfg(test)]
mod tests;
