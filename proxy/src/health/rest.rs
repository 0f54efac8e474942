//! What rests. A credential that a provider turned away, or whose provider failed, is left alone for a while, and then tried by
//! one request before the others follow: a circuit breaker that is half open for that one. A provider that fails again and
//! again, whatever the credential, rests as a whole.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use tokio::time::Instant;

/// The longest rest that a provider may ask for by `retry-after`: a mistaken header must not disable a credential for long.
pub(crate) const REST_MAX: Duration = Duration::from_secs(600);

/// So many failures in a row open a provider's circuit: more than the attempts of one request, which may itself be what fails.
pub(crate) const FAILURES_MAX: u32 = 5;

// The longest rest that is taken unasked.
const UNASKED_MAX: Duration = Duration::from_secs(60);
// A rested credential is tried by one request; while that waits so long for its answer, no other tries.
const TRIAL: Duration = Duration::from_secs(5);
// Doubling stops here; sixty seconds are reached long before.
const STRIKES_MAX: u32 = 10;

/// Why something rests.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Cause {
    /// 401 or 403: the provider does not accept it.
    Rejected,
    /// 429: it is used up for now.
    Limited,
    /// 5xx: the provider failed.
    Failing,
    /// Its answer did not begin in time.
    Late,
    /// No connection.
    Unreachable,
}

/// What rests, by its id.
#[derive(Debug)]
pub(crate) struct Rests<K> {
    resting: Mutex<HashMap<K, Rest>>,
    // How many rest, so that a healthy replica takes no lock.
    count: AtomicUsize,
}

/// The providers whose circuit is open, or may soon be.
#[derive(Debug)]
pub(crate) struct Breakers<K> {
    rests: Rests<K>,
    failures: Mutex<HashMap<K, u32>>,
    count: AtomicUsize,
}

/// One that rests, as operators see it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rest {
    /// Until then; past: it waits for the request that tries it.
    pub(crate) until: Instant,
    /// Why.
    pub(crate) cause: Cause,
    strikes: u32,
}

/// What may be done with it now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    /// Use it.
    Awake,
    /// Leave it alone until then.
    Resting(Instant),
}

// === impl Cause ===

impl Cause {
    /// Why a credential that was answered so must rest; `None`: it need not.
    #[must_use]
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        match status.as_u16() {
            401 | 403 => Some(Self::Rejected),
            429 => Some(Self::Limited),
            500..=599 => Some(Self::Failing),
            _ => None,
        }
    }

    /// The word for metrics.
    #[must_use]
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Limited => "limited",
            Self::Failing => "failing",
            Self::Late => "late",
            Self::Unreachable => "unreachable",
        }
    }

    // Whether it says something of the provider, whatever the credential.
    const fn is_of_provider(self) -> bool {
        matches!(self, Self::Failing | Self::Late | Self::Unreachable)
    }

    // The first rest that is taken unasked; it doubles with each further strike. A rejected credential seldom heals by
    // itself, a failing provider often does within a second.
    const fn first(self) -> Duration {
        match self {
            Self::Rejected => Duration::from_secs(15),
            Self::Limited => Duration::from_secs(2),
            Self::Failing | Self::Late | Self::Unreachable => Duration::from_secs(1),
        }
    }
}

// === impl Rests ===

impl<K> Default for Rests<K> {
    fn default() -> Self {
        Self { resting: Mutex::default(), count: AtomicUsize::default() }
    }
}

impl<K: Clone + Eq + Hash> Rests<K> {
    /// Looks whether it may be used.
    pub(crate) fn state(&self, id: &K, now: Instant) -> State {
        if self.count.load(Ordering::Relaxed) == 0 {
            return State::Awake;
        }
        match self.lock().get(id) {
            Some(rest) if now < rest.until => State::Resting(rest.until),
            _ => State::Awake,
        }
    }

    /// Takes it into use. What has rested is on trial: it rests on for everybody else until this use has ended, or has taken too
    /// long to wait for.
    pub(crate) fn take(&self, id: &K, now: Instant) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(rest) = self.lock().get_mut(id) {
            rest.until = rest.until.max(now + TRIAL);
        }
    }

    /// Lets it rest, for as long as the provider asks or the schedule says.
    pub(crate) fn rest(&self, id: &K, cause: Cause, asked: Option<Duration>, now: Instant) {
        let mut resting = self.lock();
        let strikes = resting.get(id).map_or(0, |rest| rest.strikes);
        let unasked = cause.first().saturating_mul(1 << strikes.min(STRIKES_MAX)).min(UNASKED_MAX);
        let length = asked.map_or(unasked, |asked| asked.min(REST_MAX));
        resting.insert(id.clone(), Rest { until: now + length, cause, strikes: (strikes + 1).min(STRIKES_MAX) });
        self.count.store(resting.len(), Ordering::Relaxed);
    }

    /// Ends its rest: it was used, and answered.
    pub(crate) fn wake(&self, id: &K) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut resting = self.lock();
        resting.remove(id);
        self.count.store(resting.len(), Ordering::Relaxed);
    }

    /// All that rest.
    pub(crate) fn all(&self) -> Vec<(K, Rest)> {
        self.lock().iter().map(|(id, rest)| (id.clone(), *rest)).collect()
    }

    // No code panics while it holds the lock, and a map is sound whatever happened.
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Rest>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Breakers ===

impl<K> Default for Breakers<K> {
    fn default() -> Self {
        Self { rests: Rests::default(), failures: Mutex::default(), count: AtomicUsize::default() }
    }
}

impl<K: Clone + Eq + Hash> Breakers<K> {
    /// Those whose circuit is open.
    pub(crate) const fn rests(&self) -> &Rests<K> {
        &self.rests
    }

    /// Counts a failure of the provider; the circuit opens with the last of a row, and again with each failure of a trial.
    pub(crate) fn failed(&self, id: &K, cause: Cause, now: Instant) {
        if !cause.is_of_provider() {
            return self.answered(id);
        }
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let row = failures.entry(id.clone()).or_default();
        *row = row.saturating_add(1);
        let is_open = *row >= FAILURES_MAX;
        self.count.store(failures.len(), Ordering::Relaxed);
        drop(failures);
        if is_open {
            self.rests.rest(id, cause, None, now);
        }
    }

    /// Closes the circuit: the provider answers, be it with a refusal.
    pub(crate) fn answered(&self, id: &K) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(id);
        self.count.store(failures.len(), Ordering::Relaxed);
        drop(failures);
        self.rests.wake(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_policy::id::CredentialId;

    fn credential(last: char) -> CredentialId {
        CredentialId::from_ulid(&format!("01k9zq3v5m8c4t2n7r6x0w1y9{last}")).unwrap()
    }

    fn length(rests: &Rests<CredentialId>, id: &CredentialId, now: Instant) -> Duration {
        match rests.state(id, now) {
            State::Awake => Duration::ZERO,
            State::Resting(until) => until - now,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_cause_has_its_schedule_and_the_provider_may_ask_for_another() {
        let seconds = Duration::from_secs;
        for (cause, asked, strikes, expect) in [
            (Cause::Rejected, None, 1, seconds(15)),
            (Cause::Limited, None, 1, seconds(2)),
            (Cause::Failing, None, 1, seconds(1)),
            (Cause::Unreachable, None, 1, seconds(1)),
            (Cause::Failing, None, 4, seconds(8)),
            (Cause::Failing, None, 40, UNASKED_MAX),
            (Cause::Limited, Some(seconds(30)), 1, seconds(30)),
            (Cause::Limited, Some(seconds(0)), 3, seconds(0)),
            (Cause::Limited, Some(seconds(86_400)), 1, REST_MAX),
        ] {
            let (rests, id, now) = (Rests::<CredentialId>::default(), credential('a'), Instant::now());
            for _ in 0..strikes {
                rests.rest(&id, cause, asked, now);
            }
            assert_eq!(length(&rests, &id, now), expect, "{cause:?} {asked:?} x{strikes}");
            assert_eq!(rests.state(&credential('b'), now), State::Awake, "only that one rests");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rested_credential_is_tried_by_one_request_before_the_others_follow() {
        let (rests, id) = (Rests::default(), credential('a'));
        rests.rest(&id, Cause::Failing, None, Instant::now());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(rests.state(&id, Instant::now()), State::Awake);
        rests.take(&id, Instant::now());
        assert_eq!(length(&rests, &id, Instant::now()), TRIAL, "the others wait for the trial");
        rests.rest(&id, Cause::Failing, None, Instant::now());
        assert_eq!(length(&rests, &id, Instant::now()), Duration::from_secs(2), "failed again: twice as long");
        tokio::time::advance(Duration::from_secs(2)).await;
        rests.take(&id, Instant::now());
        rests.wake(&id);
        assert_eq!(rests.state(&id, Instant::now()), State::Awake);
        rests.rest(&id, Cause::Failing, None, Instant::now());
        assert_eq!(length(&rests, &id, Instant::now()), Duration::from_secs(1), "and the strikes are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_rests_after_a_row_of_failures_and_one_request_tries_it() {
        let (breakers, id) = (Breakers::default(), credential('a'));
        let open = |now| breakers.rests().state(&id, now) != State::Awake;
        let fail = |cause| breakers.failed(&id, cause, Instant::now());
        // A refusal is an answer, and ends the row.
        let row = [Cause::Failing, Cause::Late, Cause::Unreachable, Cause::Failing];
        for cause in row.into_iter().chain([Cause::Limited]).chain(row) {
            fail(cause);
            assert!(!open(Instant::now()), "{cause:?}");
        }
        fail(Cause::Late);
        assert!(open(Instant::now()));
        assert_eq!(breakers.rests().all().iter().map(|(_, rest)| rest.cause).collect::<Vec<_>>(), [Cause::Late]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!open(Instant::now()), "half open");
        breakers.rests().take(&id, Instant::now());
        assert!(open(Instant::now()), "for one");
        fail(Cause::Failing);
        tokio::time::advance(Duration::from_millis(1_999)).await;
        assert!(open(Instant::now()), "one failed trial opens it again, for twice as long");
        tokio::time::advance(Duration::from_millis(1)).await;
        breakers.answered(&id);
        assert!(!open(Instant::now()));
        fail(Cause::Failing);
        assert!(!open(Instant::now()), "and the row begins anew");
    }

    #[test]
    fn only_answers_that_concern_the_credential_or_the_provider_make_it_rest() {
        for (status, expect) in [
            (200, None),
            (302, None),
            (400, None),
            (401, Some(Cause::Rejected)),
            (403, Some(Cause::Rejected)),
            (404, None),
            (413, None),
            (429, Some(Cause::Limited)),
            (500, Some(Cause::Failing)),
            (529, Some(Cause::Failing)),
        ] {
            assert_eq!(Cause::of_status(StatusCode::from_u16(status).unwrap()), expect, "{status}");
        }
    }
}
