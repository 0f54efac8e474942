//! What this replica counts: its buckets, and its share of every amount.
//!
//! A bucket is found by its key under the lock of a shard, and is then locked on its own; a request locks all of its buckets
//! in the order of their keys. A bucket leaves the map only while nobody holds it, so nobody counts in one that was left.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use tollgate_policy::{
    limit::Measure,
    rate::{self, Bucket, Rate, Refused, Share},
    time::Ticks,
};

// Buckets are spread over so many maps, so that two cores seldom wait for one lock.
const SHARDS: usize = 16;
/// So many buckets one shard keeps, 262,144 in all, in some 60 MB: those of 50,000 developers who are all at work.
const SHARD_BUCKETS_MAX: usize = 16_384;
/// A shard with fewer is not searched for idle ones.
const SHARD_BUCKETS_FEW: usize = 64;
/// A full shard is searched once in so many milliseconds: a search takes a millisecond.
const SEARCH_EVERY_MS: u64 = 1_000;
/// Where none is idle, the emptiest of so many makes room.
const SAMPLE: usize = 64;

/// The buckets of one replica.
pub(super) struct Buckets {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    shares: RwLock<Shares>,
}

/// One bucket, and the key that names it on every replica.
pub(super) struct Slot {
    key: Arc<str>,
    state: Mutex<State>,
}

struct Shard {
    slots: HashMap<Arc<str>, Arc<Slot>>,
    search_at: usize,
    searched: Ticks,
}

struct State {
    bucket: Bucket,
    // As it was last used.
    rate: Rate,
    share: Share,
}

#[derive(Clone, Copy)]
struct Shares {
    now: Share,
    before: Share,
    since: Ticks,
}

// === impl Buckets ===

impl Buckets {
    pub(super) fn new(share: Share) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Shard::new())),
            hasher: RandomState::new(),
            shares: RwLock::new(Shares { now: share, before: share, since: Ticks::default() }),
        }
    }

    pub(super) fn set_share(&self, now: Ticks, share: Share) {
        let mut shares = self.shares.write().unwrap_or_else(PoisonError::into_inner);
        if shares.now != share {
            *shares = Shares { now: share, before: shares.now, since: now };
        }
    }

    /// The bucket of a key, which is made when there is none.
    pub(super) fn slot(&self, now: Ticks, key: &str, measure: Measure, rate: Rate) -> Arc<Slot> {
        let at = usize::try_from(self.hasher.hash_one(key)).unwrap_or_default() % SHARDS;
        let Some(shard) = self.shards.get(at) else { return Slot::new(key, measure, rate, self.shares()) };
        let mut shard = lock(shard);
        if let Some(slot) = shard.slots.get(key) {
            return Arc::clone(slot);
        }
        shard.make_room(now);
        let slot = Slot::new(key, measure, rate, self.shares());
        shard.slots.insert(Arc::clone(&slot.key), Arc::clone(&slot));
        slot
    }

    /// Takes from all, or from none. Each count becomes what was taken: at most the whole of the share. The slots come in
    /// the order of their keys.
    pub(super) fn take(&self, now: Ticks, mut asks: Vec<(&Slot, Rate, &mut u64)>) -> Result<(), Refused> {
        let mut states: Vec<MutexGuard<'_, State>> = asks.iter().map(|(slot, ..)| lock(&slot.state)).collect();
        // Read behind the locks: whoever comes after a change of the share counts by the new one.
        let share = self.shares().now;
        let demands = states.iter_mut().zip(&asks).map(|(state, (_, rate, count))| {
            state.reach(now, *rate, share);
            rate::Demand { bucket: &mut state.bucket, rate: share.rate(*rate), count: **count }
        });
        rate::admit(now, &mut demands.collect::<Vec<_>>())?;
        for (_, rate, count) in &mut asks {
            **count = (**count).min(share.of(rate.amount));
        }
        Ok(())
    }

    /// Counts what Redis has admitted.
    pub(super) fn note(&self, now: Ticks, slot: &Slot, rate: Rate, count: u64) {
        let share = self.shares().now;
        let mut state = lock(&slot.state);
        state.reach(now, rate, share);
        state.bucket.note(now, share.rate(rate), count);
    }

    /// Corrects what was taken to what was used.
    pub(super) fn correct(&self, now: Ticks, slot: &Slot, rate: Rate, taken: u64, used: u64) {
        let share = self.shares().now;
        let mut state = lock(&slot.state);
        state.reach(now, rate, share);
        state.bucket.correct(now, share.rate(rate), taken, used);
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).slots.len()).sum()
    }

    fn shares(&self) -> Shares {
        *self.shares.read().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Slot ===

impl Slot {
    // One that is made anew has been idle, also when the share grew: it begins there.
    fn new(key: &str, measure: Measure, rate: Rate, shares: Shares) -> Arc<Self> {
        let mut bucket = Bucket::new(measure, shares.since);
        bucket.reshare(shares.since, rate, shares.before, shares.now);
        let state = State { bucket, rate, share: shares.now };
        Arc::new(Self { key: key.into(), state: Mutex::new(state) })
    }

    /// Its key.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// One of the requests that are open has ended.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        if let Bucket::Open(open) = &mut state.bucket {
            *open = open.saturating_sub(1);
        }
    }

    fn reset_ms(&self, now: Ticks) -> u64 {
        let state = lock(&self.state);
        state.bucket.reset_ms(now, state.share.rate(state.rate))
    }
}

// === impl State ===

impl State {
    fn reach(&mut self, now: Ticks, rate: Rate, share: Share) {
        if self.share != share {
            self.bucket.reshare(now, rate, self.share, share);
            self.share = share;
        }
        self.rate = rate;
    }
}

// === impl Shard ===

impl Shard {
    fn new() -> Self {
        Self { slots: HashMap::new(), search_at: SHARD_BUCKETS_FEW, searched: Ticks::default() }
    }

    fn make_room(&mut self, now: Ticks) {
        if self.slots.len() < self.search_at {
            return;
        }
        let full = self.slots.len() >= SHARD_BUCKETS_MAX;
        if !full || now >= self.searched.plus(SEARCH_EVERY_MS) {
            self.slots.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.reset_ms(now) > 0);
            self.searched = now;
            self.search_at = (self.slots.len() * 2).clamp(SHARD_BUCKETS_FEW, SHARD_BUCKETS_MAX);
        }
        if self.slots.len() >= SHARD_BUCKETS_MAX {
            let unheld = self.slots.values().filter(|slot| Arc::strong_count(slot) == 1).take(SAMPLE);
            if let Some(emptiest) = unheld.min_by_key(|slot| slot.reset_ms(now)).map(|slot| Arc::clone(&slot.key)) {
                self.slots.remove(&emptiest);
            }
        }
    }
}

// No code panics while it holds a lock, and counts are sound whatever happened.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
