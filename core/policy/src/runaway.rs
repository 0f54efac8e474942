//! Stops an agent that runs in circles: what each session has spent, how often it asked, and whether it repeats itself.
//!
//! A replica counts the sessions that it serves. It counts in memory, and dollars only when a request has ended: this stops
//! a loop, while budgets bound what is spent. Of a bounded number of sessions the one that was silent longest is forgotten
//! first, and one that was stopped only when all are: a flood of new sessions sets nobody free.

use std::collections::{BTreeMap, HashMap};

use crate::{
    limit::{RunawayAction, SessionLimit},
    money::NanoUsd,
    time::Ticks,
};

/// So many sessions are remembered, about 15 MB: several days of a large company's agents on one replica.
pub const SESSIONS_MAX: usize = 65_536;
/// A session that was silent for so long is forgotten, in milliseconds: a day.
pub const IDLE_MS: u64 = 24 * 3_600_000;
/// So many silent sessions are forgotten at one request at most: more than arrive, so that all are in time.
const FORGOTTEN_MAX: usize = 4;

/// Names a session under one of the owners that limit it: a hash of both and of the key that called. The caller makes it
/// with a secret, so that no client can choose that of another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionKey(pub u128);

/// The sessions of one replica.
#[derive(Debug)]
pub struct Sessions {
    known: HashMap<SessionKey, Session>,
    // By the number of the last touch, the longest silent first: those that may go on, and those that were stopped.
    running: BTreeMap<u64, SessionKey>,
    stopped: BTreeMap<u64, SessionKey>,
    touches: u64,
    most: usize,
}

/// Which limit a session has reached.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RunawayKind {
    /// It has spent what it may.
    Dollars,
    /// It has made as many requests as it may.
    Requests,
    /// It has sent the same request too often in a row.
    Repeats,
}

/// A session has reached a limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Runaway {
    /// Under which of the limits that were given.
    pub at: usize,
    /// What it has reached.
    pub kind: RunawayKind,
    /// In how many milliseconds it may go on; `None`: waiting does not help.
    pub retry_after_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Counts {
    spent: NanoUsd,
    requests: u64,
    last: Option<u64>,
    repeats: u32,
    pause: Option<Pause>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Pause {
    until: Ticks,
    kind: RunawayKind,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    counts: Counts,
    touched: Ticks,
    touch: u64,
    stopped: bool,
}

// === impl Sessions ===

impl Default for Sessions {
    fn default() -> Self {
        Self::new(SESSIONS_MAX)
    }
}

impl Sessions {
    /// Remembers so many sessions at most.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let (running, stopped) = (BTreeMap::new(), BTreeMap::new());
        Self { known: HashMap::new(), running, stopped, touches: 0, most: most.max(1) }
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Decides whether a session may make a request, under every limit that holds for it, and counts the request. The
    /// fingerprint is a hash of what is asked for. A request that is refused counts nowhere.
    ///
    /// With [`RunawayAction::Refuse`] a repeated request is refused until another one comes; dollars and requests stay
    /// refused. With [`RunawayAction::Pause`] every request is refused for the time, and then counted anew.
    ///
    /// # Errors
    /// Says which limit was reached.
    pub fn check(
        &mut self,
        now: Ticks,
        limits: &[(SessionKey, &SessionLimit)],
        fingerprint: u64,
    ) -> Result<(), Runaway> {
        self.forget_silent(now);
        for (at, (key, limit)) in limits.iter().enumerate() {
            let mut counts = self.counts(*key).after_pause(now);
            if let Err((kind, retry_after_ms)) = counts.check(now, limit, fingerprint) {
                self.touch(now, *key, counts, true);
                return Err(Runaway { at, kind, retry_after_ms });
            }
        }
        for (key, _) in limits {
            let counts = self.counts(*key).after_pause(now).with(fingerprint);
            self.touch(now, *key, counts, false);
        }
        Ok(())
    }

    /// Counts what a request of a session has cost. A session that was forgotten meanwhile begins anew.
    pub fn spent(&mut self, now: Ticks, key: SessionKey, cost: NanoUsd) {
        let mut counts = self.counts(key);
        counts.spent = counts.spent.plus(cost);
        let stopped = self.known.get(&key).is_some_and(|session| session.stopped);
        self.touch(now, key, counts, stopped);
    }

    /// Takes back what was counted of a request that was then refused for another reason: its client sends it again, and does
    /// not run in circles by that.
    pub fn take_back(&mut self, now: Ticks, key: SessionKey) {
        let Some(Session { counts, stopped, .. }) = self.known.get(&key).copied() else { return };
        self.touch(now, key, counts.without(), stopped);
    }

    fn counts(&self, key: SessionKey) -> Counts {
        self.known.get(&key).map(|session| session.counts).unwrap_or_default()
    }

    fn touch(&mut self, now: Ticks, key: SessionKey, counts: Counts, stopped: bool) {
        if let Some(Session { touch, stopped, .. }) = self.known.get(&key).copied() {
            self.order(stopped).remove(&touch);
        } else if self.known.len() >= self.most {
            self.forget_one();
        }
        self.touches += 1;
        let touch = self.touches;
        self.known.insert(key, Session { counts, touched: now, touch, stopped });
        self.order(stopped).insert(touch, key);
    }

    fn order(&mut self, stopped: bool) -> &mut BTreeMap<u64, SessionKey> {
        if stopped { &mut self.stopped } else { &mut self.running }
    }

    fn forget_one(&mut self) {
        let oldest = self.running.pop_first().or_else(|| self.stopped.pop_first());
        if let Some((_, key)) = oldest {
            self.known.remove(&key);
        }
    }

    fn forget_silent(&mut self, now: Ticks) {
        for stopped in [false, true] {
            for _ in 0..FORGOTTEN_MAX {
                let Some((touch, key)) = self.order(stopped).first_key_value().map(|(touch, key)| (*touch, *key))
                else {
                    break;
                };
                if self.known.get(&key).is_some_and(|session| !session.is_silent(now)) {
                    break;
                }
                self.order(stopped).remove(&touch);
                self.known.remove(&key);
            }
        }
    }
}

// === impl Session ===

impl Session {
    // Who is paused for longer than a day is not forgotten after one.
    fn is_silent(&self, now: Ticks) -> bool {
        let paused = self.counts.pause.is_some_and(|pause| now < pause.until);
        !paused && now.get().saturating_sub(self.touched.get()) >= IDLE_MS
    }
}

// === impl Counts ===

impl Counts {
    // What was counted before a pause does not count after it.
    fn after_pause(self, now: Ticks) -> Self {
        if self.pause.is_some_and(|pause| pause.until <= now) { Self::default() } else { self }
    }

    fn with(mut self, fingerprint: u64) -> Self {
        self.requests = self.requests.saturating_add(1);
        self.repeats = self.repeated(fingerprint);
        self.last = Some(fingerprint);
        self
    }

    fn without(mut self) -> Self {
        self.requests = self.requests.saturating_sub(1);
        // What came before it is no longer known: what comes next repeats nothing.
        self.last = self.last.filter(|_| self.repeats > 0);
        self.repeats = self.repeats.saturating_sub(1);
        self
    }

    fn repeated(&self, fingerprint: u64) -> u32 {
        if self.last == Some(fingerprint) { self.repeats.saturating_add(1) } else { 0 }
    }

    fn check(&mut self, now: Ticks, limit: &SessionLimit, fingerprint: u64) -> Result<(), (RunawayKind, Option<u64>)> {
        let left = |until: Ticks| Some(until.get().saturating_sub(now.get()));
        if let Some(Pause { until, kind }) = self.pause {
            return Err((kind, left(until)));
        }
        let Some(kind) = self.reached(limit, fingerprint) else { return Ok(()) };
        match limit.action {
            RunawayAction::Refuse => Err((kind, None)),
            RunawayAction::Pause { seconds } => {
                let until = now.plus(u64::from(seconds) * 1_000);
                self.pause = Some(Pause { until, kind });
                Err((kind, left(until)))
            }
        }
    }

    fn reached(&self, limit: &SessionLimit, fingerprint: u64) -> Option<RunawayKind> {
        let SessionLimit { dollars, requests, repeats, action: _ } = limit;
        if dollars.is_some_and(|most| self.spent >= most) {
            Some(RunawayKind::Dollars)
        } else if requests.is_some_and(|most| self.requests >= most) {
            Some(RunawayKind::Requests)
        } else if repeats.is_some_and(|most| self.repeated(fingerprint) > most) {
            Some(RunawayKind::Repeats)
        } else {
            None
        }
    }
}

// === impl RunawayKind ===

impl RunawayKind {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dollars => "dollars",
            Self::Requests => "requests",
            Self::Repeats => "repeats",
        }
    }
}

#[cfg(test)]
mod tests;
