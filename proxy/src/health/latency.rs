//! How soon answers begin, and which session was sent where for it.
//!
//! What was measured long ago counts for less and less, so that a target which was slow once is tried again; a session that
//! was sent somewhere stays there, since its prompt is cached there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tollgate_policy::id::ProviderId;

// A new answer counts for so much of the average: about the last eight are in it.
const NEWEST: f64 = 0.25;
// After so long without an answer, half of what is known is forgotten.
const HALF_LIFE: Duration = Duration::from_secs(60);
/// So many places are known at most: a route over a pattern takes whatever model clients name.
pub(crate) const PLACES_MAX: usize = 10_000;
/// So many sessions are remembered at least, and twice as many at most.
pub(crate) const SESSIONS_MAX: usize = 10_000;

/// How soon answers begin, by provider and model.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    seen: Mutex<HashMap<Place, Seen>>,
    sessions: Mutex<Sessions>,
}

/// A provider, and a model as it names it.
pub(crate) type Place = (ProviderId, Arc<str>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    seconds: f64,
    at: Instant,
}

// The sessions that were seen since the last turn, and those of the turn before: the oldest are forgotten all at once.
#[derive(Debug, Default)]
struct Sessions {
    recent: HashMap<u64, Place>,
    older: HashMap<u64, Place>,
}

impl Latencies {
    /// Remembers how long an answer took to begin.
    pub(crate) fn see(&self, place: &Place, took: Duration, now: Instant) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let took = took.as_secs_f64();
        let next = match seen.get(place) {
            Some(before) => before.seconds + (took - before.seconds) * NEWEST,
            None => took,
        };
        if seen.len() >= PLACES_MAX && !seen.contains_key(place) {
            seen.clear();
        }
        seen.insert(place.clone(), Seen { seconds: next, at: now });
    }

    /// How many seconds an answer is expected to take until it begins; 0: nothing is known, or not any more.
    pub(crate) fn expected(&self, place: &Place, now: Instant) -> f64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(place).map_or(0.0, |seen| {
            let age = now.saturating_duration_since(seen.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
            seen.seconds * 0.5_f64.powf(age)
        })
    }

    /// Where a session was last answered.
    pub(crate) fn place_of(&self, session: u64) -> Option<Place> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.recent.get(&session).or_else(|| sessions.older.get(&session)).cloned()
    }

    /// Remembers where a session was answered.
    pub(crate) fn settle(&self, session: u64, place: Place) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.recent.len() >= SESSIONS_MAX && !sessions.recent.contains_key(&session) {
            sessions.older = std::mem::take(&mut sessions.recent);
        }
        sessions.recent.insert(session, place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(last: char) -> Place {
        (ProviderId::from_ulid(&format!("01k9zq3v5m8c4t2n7r6x0w1y9{last}")).unwrap(), "m".into())
    }

    fn millis(latencies: &Latencies, place: &Place, now: Instant) -> u64 {
        Duration::from_secs_f64(latencies.expected(place, now)).as_millis() as u64
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_is_averaged_and_forgotten() {
        let (latencies, now) = (Latencies::default(), Instant::now());
        assert_eq!(millis(&latencies, &place('a'), now), 0, "what is not known is tried first");
        latencies.see(&place('a'), Duration::from_millis(400), now);
        latencies.see(&place('a'), Duration::from_millis(800), now);
        assert_eq!(millis(&latencies, &place('a'), now), 500);
        assert_eq!(millis(&latencies, &place('a'), now + HALF_LIFE), 250);
        assert_eq!(millis(&latencies, &place('a'), now + HALF_LIFE * 20), 0);
        assert_eq!(millis(&latencies, &place('b'), now), 0);
    }

    #[test]
    fn a_session_is_remembered_until_many_others_came() {
        let latencies = Latencies::default();
        latencies.settle(1, place('a'));
        latencies.settle(1, place('b'));
        assert_eq!(latencies.place_of(1), Some(place('b')));
        for session in 2..=SESSIONS_MAX as u64 + 1 {
            latencies.settle(session, place('a'));
        }
        assert_eq!(latencies.place_of(1), Some(place('b')), "one turn later");
        for session in 0..2 * SESSIONS_MAX as u64 {
            latencies.settle(session + 100_000, place('a'));
        }
        assert_eq!(latencies.place_of(1), None);
        let sessions = latencies.sessions.lock().unwrap();
        assert!(sessions.recent.len() <= SESSIONS_MAX && sessions.older.len() <= SESSIONS_MAX);
    }
}
