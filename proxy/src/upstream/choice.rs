//! Which credential a request uses: by weight among those that are awake.
//!
//! A session stays with its credential as long as that is awake. Providers keep prompt caches by organisation: a session
//! that wandered between credentials of different organisations would pay for its whole prompt again at each turn.

use tokio::time::Instant;
use tollgate_policy::id::{CredentialId, ProviderId};

use crate::health::{Health, rest::State};

/// One credential that may be chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    /// Its id.
    pub(crate) id: &'a CredentialId,
    /// Whose it is.
    pub(crate) provider: &'a ProviderId,
    /// Its weight, at least 1.
    pub(crate) weight: u32,
}

/// Chooses among the candidates that are awake: the same one for the same `seed`, and over many seeds in proportion to the
/// weights. `None`: all of them rest.
#[must_use]
pub(crate) fn choose<'a>(
    candidates: impl Iterator<Item = Candidate<'a>>,
    seed: u64,
    health: &Health,
    now: Instant,
) -> Option<&'a CredentialId> {
    let awake = candidates.filter(|candidate| state(candidate, health, now) == State::Awake);
    let scored = awake.map(|candidate| (score(candidate, seed), candidate.id));
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, id)| id)
}

/// Orders what has a name and a weight: the same for the same `seed`, and over many seeds each comes first in proportion to its
/// weight.
#[must_use]
pub(crate) fn ordered<'a, T>(weighted: impl Iterator<Item = (&'a str, u32, T)>, seed: u64) -> Vec<T> {
    let mut scored: Vec<(f64, T)> = weighted.map(|(name, weight, it)| (draw(name, weight, seed), it)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().map(|(_, it)| it).collect()
}

/// Chooses the candidate that wakes first, with the instant when it does.
#[must_use]
pub(crate) fn first_to_wake<'a>(
    candidates: impl Iterator<Item = Candidate<'a>>,
    health: &Health,
    now: Instant,
) -> Option<(Instant, &'a CredentialId)> {
    let waking = candidates.map(|candidate| match state(&candidate, health, now) {
        State::Awake => (now, candidate.id),
        State::Resting(until) => (until, candidate.id),
    });
    waking.min_by_key(|(until, _)| *until)
}

// A credential rests as long as its provider does.
fn state(candidate: &Candidate<'_>, health: &Health, now: Instant) -> State {
    match (health.credentials().state(candidate.id, now), health.providers().rests().state(candidate.provider, now)) {
        (State::Resting(one), State::Resting(other)) => State::Resting(one.max(other)),
        (State::Awake, other) => other,
        (resting, State::Awake) => resting,
    }
}

/// The seed of a text, such as a session's id.
#[must_use]
pub(crate) fn seed(text: &str) -> u64 {
    // FNV-1a: short texts, no adversary, and the same value on every replica.
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

// Weighted rendezvous hashing: each candidate draws its own number from the seed, so that one which falls asleep moves only
// its own sessions. With u uniform in (0, 1), the largest -w / ln(u) belongs to a candidate with probability w / sum(w).
fn score(candidate: Candidate<'_>, seed_of_request: u64) -> f64 {
    draw(candidate.id.as_str(), candidate.weight, seed_of_request)
}

fn draw(name: &str, weight: u32, seed_of_request: u64) -> f64 {
    let mixed = mix(seed_of_request ^ seed(name));
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact, and more would not change a choice")]
    let uniform = ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight.max(1)) / uniform.ln()
}

// The finaliser of SplitMix64: every bit of the seed reaches every bit of the result.
const fn mix(seed: u64) -> u64 {
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::rest::{Cause, FAILURES_MAX};
    use std::{collections::HashMap, time::Duration};

    fn ids() -> [CredentialId; 3] {
        ['a', 'b', 'c'].map(|last| CredentialId::from_ulid(&format!("01k9zq3v5m8c4t2n7r6x0w1y9{last}")).unwrap())
    }

    fn provider() -> &'static ProviderId {
        static PROVIDER: std::sync::LazyLock<ProviderId> =
            std::sync::LazyLock::new(|| ProviderId::from_ulid("01k9zq3v5m8c4t2n7r6x0w1y9p").unwrap());
        &PROVIDER
    }

    fn weighted(ids: &[CredentialId]) -> impl Iterator<Item = Candidate<'_>> {
        ids.iter().zip([1, 2, 5]).map(|(id, weight)| Candidate { id, provider: provider(), weight })
    }

    #[test]
    fn credentials_are_chosen_in_proportion_to_their_weights() {
        let (ids, health, now) = (ids(), Health::default(), Instant::now());
        let mut counts: HashMap<&CredentialId, f64> = HashMap::new();
        for seed in 0..8_000 {
            *counts.entry(choose(weighted(&ids), seed, &health, now).unwrap()).or_default() += 1.0;
        }
        for (id, expect) in ids.iter().zip([1_000.0, 2_000.0, 5_000.0]) {
            assert!((counts[id] - expect).abs() < 150.0, "{counts:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_stays_until_its_credential_rests_and_only_then_moves() {
        let (ids, health, now) = (ids(), Health::default(), Instant::now());
        let place = |session: &str| choose(weighted(&ids), seed(session), &health, now).unwrap().clone();
        let sessions: Vec<String> = (0..200).map(|number| format!("session-{number}")).collect();
        let before: Vec<_> = sessions.iter().map(|session| place(session)).collect();
        health.credentials().rest(&ids[0], Cause::Failing, None, now);
        for (session, before) in sessions.iter().zip(before) {
            let after = place(session);
            assert_ne!(after, ids[0]);
            assert!(before == ids[0] || after == before, "{session} moved without need");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_rest_the_one_that_wakes_first_is_known() {
        let (ids, health, now) = (ids(), Health::default(), Instant::now());
        for (id, seconds) in ids.iter().zip([30, 10, 20]) {
            health.credentials().rest(id, Cause::Limited, Some(Duration::from_secs(seconds)), now);
        }
        assert_eq!(choose(weighted(&ids), 1, &health, now), None);
        assert_eq!(first_to_wake(weighted(&ids), &health, now), Some((now + Duration::from_secs(10), &ids[1])));
        for _ in 0..FAILURES_MAX + 4 {
            health.providers().failed(provider(), Cause::Failing, now);
        }
        let (until, _) = first_to_wake(weighted(&ids), &health, now).unwrap();
        assert_eq!(until, now + Duration::from_secs(16), "none wakes before its provider");
    }
}
