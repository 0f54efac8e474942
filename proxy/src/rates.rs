//! The rate limits of one replica: what a request asks of the buckets of its owners.
//!
//! Where a Redis is given, the whole fleet counts in it: one script checks all buckets of a request and takes from all, or
//! from none. It has 5 ms; when it is late or away, this replica's share of each amount decides (`tollgate_policy::rate`),
//! on counts that the replica keeps beside, so that what it admitted through Redis is known to them. Without a Redis only
//! the share decides. What was estimated is corrected when a request ends, by a task that nobody waits for ([`Courier`]).
//!
//! Calls that only count tokens, and requests of nobody who has a limit, ask nothing here: who calls [`Rates::admit`]
//! decides that.

use std::{
    fmt::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::time::Instant;
use tollgate_policy::{
    decide::Owned,
    limit::Measure,
    rate::{Rate, Refused, RetryAfter, Share},
    time::Ticks,
};

use crate::evidence::Counted;

mod local;
mod shared;
mod courier;

pub(crate) use self::courier::Courier;
pub use self::shared::InvalidRedis;
use self::{
    local::{Buckets, Slot},
    shared::{Away, Ending, Part, Shared},
};

/// The rate limits of one replica.
#[derive(Clone, Debug)]
pub struct Rates(Arc<Core>);

/// What a request has taken. Dropping it ends its count among the parallel requests and leaves the estimate of its tokens
/// as it was; [`Permit::settle`] corrects that too. It is not `Clone`: a request ends once.
#[must_use = "a permit that is dropped no longer counts as open"]
pub(crate) struct Permit {
    core: Arc<Core>,
    number: u64,
    taken: Vec<Taken>,
    // Whether the local counts, and perhaps those of the fleet, have it.
    local: bool,
    shared: bool,
}

/// A rate limit that a request does not fit into now: what a sentence about it needs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Limited {
    /// `customer`, `team`, `user` or `key`.
    pub(crate) noun: &'static str,
    /// The name of the owner whose limit it is.
    pub(crate) name: Box<str>,
    /// What is counted.
    pub(crate) measure: Measure,
    /// How many are allowed to all replicas together.
    pub(crate) amount: u64,
    /// In how many milliseconds; 0 for [`Measure::Parallel`].
    pub(crate) span_ms: u64,
    /// When to try again.
    pub(crate) retry_after_ms: u64,
}

/// How decisions were made, where there is a Redis. Counts that only grow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Decisions {
    /// By Redis.
    pub(crate) shared: u64,
    /// By the share of this replica, since Redis was late or away.
    pub(crate) local: u64,
    /// Ends of requests of which Redis did not hear.
    pub(crate) unheard: u64,
}

struct Core {
    began: Instant,
    buckets: Buckets,
    shared: Option<Arc<Shared>>,
    next: AtomicU64,
    by_redis: AtomicU64,
    by_share: AtomicU64,
}

// What a request asks of one bucket.
struct Demand<'o> {
    owner: &'o Owned<'o>,
    slot: Arc<Slot>,
    measure: Measure,
    rate: Rate,
    count: u64,
}

struct Taken {
    owner: Box<str>,
    slot: Arc<Slot>,
    measure: Measure,
    rate: Rate,
    // How many were counted here, and by Redis if it decided.
    local: u64,
    shared: Option<u64>,
}

// === impl Rates ===

impl Rates {
    /// Counts in this replica alone.
    pub(crate) fn local(share: Share) -> Self {
        Self::build(share, None)
    }

    /// Counts in a Redis, of which `url` is `redis://` or `redis+unix://`. One server, alone or with replicas of its own: a
    /// request touches several owners in one script, which a Redis Cluster refuses. The courier must run.
    ///
    /// # Errors
    /// Refuses what is not such a URL.
    pub(crate) fn with_redis(url: &str, share: Share) -> Result<(Self, Courier), InvalidRedis> {
        let (shared, endings) = Shared::open(url, shared::PATIENCE)?;
        Ok(Self::joined(share, shared, endings))
    }

    fn joined(share: Share, shared: Shared, endings: shared::Endings) -> (Self, Courier) {
        let shared = Arc::new(shared);
        (Self::build(share, Some(Arc::clone(&shared))), Courier::new(shared, endings))
    }

    fn build(share: Share, shared: Option<Arc<Shared>>) -> Self {
        Self(Arc::new(Core {
            began: Instant::now(),
            buckets: Buckets::new(share),
            shared,
            next: AtomicU64::new(0),
            by_redis: AtomicU64::new(0),
            by_share: AtomicU64::new(0),
        }))
    }

    /// Changes the part that this replica counts on its own. A fleet installs the shares that shrink before those that grow.
    pub(crate) fn set_share(&self, share: Share) {
        self.0.buckets.set_share(self.0.now(), share);
    }

    /// Takes one request, and so many tokens by estimate, from every limit of these owners that covers the model, or from
    /// none of them.
    ///
    /// # Errors
    /// Names the limit that has to be waited for longest.
    pub(crate) async fn admit(&self, owners: &[Owned<'_>], model: &str, tokens: u64) -> Result<Permit, Limited> {
        let core = &self.0;
        let demands = core.demands(owners, model, tokens);
        let mut permit = Permit::of(core, &demands);
        let Some(first) = demands.first() else { return Ok(permit) };
        let refused = |refused: Refused| Limited::of(demands.get(refused.at).unwrap_or(first), refused.retry);
        match permit.ask_redis().await {
            Ok(answer) => {
                answer.map_err(refused)?;
                permit.note();
            }
            Err(Away { .. }) => permit.ask_share().map_err(refused)?,
        }
        Ok(permit)
    }

    /// How decisions were made.
    pub(crate) fn decisions(&self) -> Decisions {
        let core = &self.0;
        Decisions {
            shared: core.by_redis.load(Ordering::Relaxed),
            local: core.by_share.load(Ordering::Relaxed),
            unheard: core.shared.as_ref().map(|shared| shared.count_unheard()).unwrap_or_default(),
        }
    }
}

impl Default for Rates {
    /// Counts everything here: there is one replica.
    fn default() -> Self {
        Self::local(Share::WHOLE)
    }
}

// === impl Core ===

impl Core {
    fn now(&self) -> Ticks {
        Ticks::new(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    // In the order of their keys, in which they are locked and told to Redis.
    fn demands<'o>(&self, owners: &'o [Owned<'o>], model: &str, tokens: u64) -> Vec<Demand<'o>> {
        let (now, mut key) = (self.now(), String::new());
        let mut demands: Vec<Demand<'o>> = Vec::new();
        for owner in owners {
            for limit in owner.quota.limits.iter().filter(|limit| limit.models.admit(model)) {
                let (measure, rate) = (limit.measure, Rate::from(limit));
                key.clear();
                let models = limit.models.fingerprint();
                // Writing into a string does not fail.
                let _ = write!(key, "tollgate:rate:{}:{}:{}:{models:016x}", owner.id, measure.word(), rate.span_ms);
                let slot = self.buckets.slot(now, &key, measure, rate);
                let count = if measure == Measure::Tokens { tokens } else { 1 };
                demands.push(Demand { owner, slot, measure, rate, count });
            }
        }
        // Of two limits that differ in their amounts alone, the smaller one holds.
        demands.sort_by(|a, b| a.slot.key().cmp(b.slot.key()).then(a.rate.amount.cmp(&b.rate.amount)));
        demands.dedup_by(|b, a| a.slot.key() == b.slot.key());
        demands
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("shared", &self.shared.is_some()).finish_non_exhaustive()
    }
}

// === impl Permit ===

impl Permit {
    fn of(core: &Arc<Core>, demands: &[Demand<'_>]) -> Self {
        let number = core.next.fetch_add(1, Ordering::Relaxed);
        let taken = demands.iter().map(|demand| Taken {
            owner: demand.owner.id.into(),
            slot: Arc::clone(&demand.slot),
            measure: demand.measure,
            rate: demand.rate,
            local: demand.count,
            shared: None,
        });
        Self { core: Arc::clone(core), number, taken: taken.collect(), local: false, shared: false }
    }

    /// The limits that it was counted in.
    pub(crate) fn counted(&self) -> Arc<[Counted]> {
        let counted = |taken: &Taken| Counted {
            owner: taken.owner.clone(),
            measure: taken.measure,
            amount: taken.rate.amount,
            span_ms: taken.rate.span_ms,
        };
        self.taken.iter().map(counted).collect()
    }

    /// Ends the request, which has used so many tokens.
    pub(crate) fn settle(mut self, tokens: u64) {
        let now = self.core.now();
        for taken in self.taken.iter().filter(|taken| taken.measure == Measure::Tokens) {
            self.core.buckets.correct(now, &taken.slot, taken.rate, taken.local, tokens);
        }
        self.end(Some(tokens));
    }

    // Whoever stops waiting for the answer drops the permit, which then tells Redis that it has ended.
    async fn ask_redis(&mut self) -> Result<Result<(), Refused>, Away> {
        let Some(shared) = self.core.shared.clone() else { return Err(Away { asked: false }) };
        self.shared = true;
        let parts = self.taken.iter().map(|taken| (&*taken.slot, taken.measure, taken.rate, taken.local));
        let answer = shared.take(self.number, parts).await;
        let decided = if answer.is_ok() { &self.core.by_redis } else { &self.core.by_share };
        decided.fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok(Ok(())) => {
                self.taken.iter_mut().for_each(|taken| taken.shared = Some(taken.local.min(taken.rate.amount)));
            }
            Ok(Err(_)) => self.shared = false,
            // What Redis perhaps took stays taken; that the request has ended is true in either case.
            Err(Away { asked }) => self.shared = asked,
        }
        answer
    }

    fn ask_share(&mut self) -> Result<(), Refused> {
        let asks = self.taken.iter_mut().map(|taken| (&*taken.slot, taken.rate, &mut taken.local));
        self.core.buckets.take(self.core.now(), asks.collect())?;
        self.open();
        Ok(())
    }

    fn note(&mut self) {
        let now = self.core.now();
        for taken in &self.taken {
            self.core.buckets.note(now, &taken.slot, taken.rate, taken.local);
        }
        self.open();
    }

    fn open(&mut self) {
        self.local = true;
        if let Some(shared) = &self.core.shared {
            // Renewals make it known to Redis, whoever has admitted it.
            self.shared = true;
            shared.opened(self.number, self.open_slots().map(Arc::clone).collect());
        }
    }

    fn open_slots(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.taken.iter().filter(|taken| taken.measure == Measure::Parallel).map(|taken| &taken.slot)
    }

    fn end(&mut self, tokens: Option<u64>) {
        if std::mem::take(&mut self.local) {
            self.open_slots().for_each(|slot| slot.close());
        }
        if !std::mem::take(&mut self.shared) {
            return;
        }
        if let Some(shared) = &self.core.shared {
            let parts = self.taken.iter().filter_map(|taken| Some((Arc::clone(&taken.slot), taken.part(tokens)?)));
            shared.ended(Ending { number: self.number, parts: parts.collect() });
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("number", &self.number).finish_non_exhaustive()
    }
}

// === impl Taken ===

impl Taken {
    // What Redis must hear at the end.
    fn part(&self, tokens: Option<u64>) -> Option<Part> {
        match (self.measure, self.shared, tokens) {
            (Measure::Parallel, ..) => Some(Part::Open),
            (Measure::Tokens, Some(taken), Some(used)) if taken != used => {
                Some(Part::Tokens { rate: self.rate, taken, used })
            }
            (Measure::Tokens | Measure::Requests, ..) => None,
        }
    }
}

// === impl Limited ===

impl Limited {
    fn of(demand: &Demand<'_>, retry: RetryAfter) -> Self {
        Self {
            noun: demand.owner.noun,
            name: demand.owner.name.into(),
            measure: demand.measure,
            amount: demand.rate.amount,
            span_ms: demand.rate.span_ms,
            retry_after_ms: retry.millis,
        }
    }
}

#[cfg(test)]
mod tests;
