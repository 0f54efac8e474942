//! How fast a caller may go: the rate limits of its owners, and the limit of an agent session.

use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use tollgate_dialect::{
    Weight,
    asked::{fingerprint, last_turn},
};
use tollgate_policy::{
    decide::{self, Caller, Owned},
    limit::Measure,
    money::NanoUsd,
    refusal::{Refusal, RefusalKind},
    runaway::{Runaway, RunawayKind, SessionKey, Sessions},
    time::Ticks,
};

use super::{
    Gate,
    fund::Turned,
    parse::{Outgoing, called},
    route::Operation,
    ticket::Ticket,
};
use crate::{current::Current, rates::Limited, refuse::Detail};

// Text has about four bytes a token: what is taken from token limits beforehand, and corrected when the answer has told.
const BYTES_PER_TOKEN: u64 = 4;
// Of the output that a request allows, most use little: more than this is not taken beforehand.
const OUTPUT_TOKENS_FORESEEN: u64 = 1_024;

/// The agent sessions that this replica serves, as far as a limit holds for them.
#[derive(Debug, Default)]
pub(crate) struct SessionBook(Mutex<Sessions>);

/// What a session is charged with when its request has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Charged(SessionKey);

/// Takes the request from every rate limit that covers it, or from none, and counts it in its session.
///
/// # Errors
/// Says which limit refuses, and when to try again.
pub(super) async fn admit(
    gate: &Gate,
    current: &Current,
    caller: &Caller,
    ticket: &mut Ticket,
    weight: &Weight,
    request: &Outgoing,
) -> Result<(), Turned> {
    let owners = decide::quotas(&current.snapshot, caller);
    if owners.is_empty() {
        return Ok(());
    }
    ticket.session = session(gate, current, caller, &owners, ticket, request)?;
    ticket.circumstances.in_session = ticket.session.is_some();
    if owners.iter().any(|owner| !owner.quota.limits.is_empty()) {
        let output = weight.output_tokens.unwrap_or(OUTPUT_TOKENS_FORESEEN).min(OUTPUT_TOKENS_FORESEEN);
        let tokens = (weight.text_bytes / BYTES_PER_TOKEN).saturating_add(weight.hidden_tokens).saturating_add(output);
        match gate.rates.admit(&owners, &ticket.model, tokens).await {
            Ok(permit) => {
                ticket.circumstances.limits = permit.counted();
                ticket.permit = Some(permit);
            }
            Err(limited) => {
                // At once: the client may try again before this visit is settled.
                if let Some(counted) = ticket.session.take() {
                    gate.sessions.take_back(gate.funds.now(), counted);
                }
                return Err(slow(&limited));
            }
        }
    }
    Ok(())
}

// The limit of the innermost owner that has one decides.
fn session(
    gate: &Gate,
    current: &Current,
    caller: &Caller,
    owners: &[Owned<'_>],
    ticket: &Ticket,
    request: &Outgoing,
) -> Result<Option<Charged>, Turned> {
    let limited = owners.iter().rev().find_map(|owner| Some((owner, owner.quota.session.as_ref()?)));
    let named = ticket.attribution.as_ref().map(|attribution| &*attribution.session).filter(|name| !name.is_empty());
    let (Some((owner, limit)), Some(named)) = (limited, named) else { return Ok(None) };
    let key = session_key(current, caller, named);
    let said = limit.repeats.and_then(|_| match ticket.operation {
        Operation::Embeddings => Some(fingerprint(&request.body)),
        _ => last_turn(request.dialect, &called(&request.call), &request.body),
    });
    let checked = gate.sessions.lock().check(gate.funds.now(), &[(key, limit)], said.unwrap_or_default());
    checked.map(|()| Some(Charged(key))).map_err(|runaway| stopped(owner, &runaway))
}

// Nobody can choose the session of another: it is named under a secret, and under the key that calls.
fn session_key(current: &Current, caller: &Caller, session: &str) -> SessionKey {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(current.pepper.expose())
        .unwrap_or_else(|_| <Hmac<Sha256> as hmac::KeyInit>::new(&Default::default()));
    mac.update(b"session\0");
    mac.update(caller.key().id.as_str().as_bytes());
    mac.update(b"\0");
    mac.update(session.as_bytes());
    let bytes = mac.finalize().into_bytes();
    SessionKey(bytes.first_chunk().map_or(0, |first| u128::from_be_bytes(*first)))
}

fn stopped(owner: &Owned<'_>, runaway: &Runaway) -> Turned {
    let what = match runaway.kind {
        RunawayKind::Dollars => "has spent what one session may spend",
        RunawayKind::Requests => "has made as many requests as one session may make",
        RunawayKind::Repeats => "has sent the same request too often in a row: it may be running in circles",
    };
    let next = match runaway.retry_after_ms {
        Some(ms) => format!("It may go on in {}.", span(ms)),
        None => "Start a new session.".to_owned(),
    };
    let sentence = format!("This agent session {what} under the {} \"{}\". {next}", owner.noun, owner.name);
    let detail = runaway.retry_after_ms.map_or(Detail::None, |ms| Detail::Later(ms.div_ceil(1_000)));
    (Refusal::new(RefusalKind::SessionLimited, sentence), detail)
}

/// What a caller is told who is too fast.
pub(super) fn slow(limited: &Limited) -> Turned {
    let Limited { noun, name, measure, amount, span_ms, retry_after_ms } = limited;
    let seconds = retry_after_ms.div_ceil(1_000).max(1);
    if *measure == Measure::Parallel {
        let sentence = format!(
            "The {noun} \"{name}\" has {amount} requests open at once, which is its limit. Try again when one has ended."
        );
        return (Refusal::new(RefusalKind::ParallelLimited, sentence), Detail::Later(seconds));
    }
    let sentence = format!(
        "The {noun} \"{name}\" has reached its limit of {amount} {} in {}. Try again in {}.",
        measure.word(),
        span(*span_ms),
        span(*retry_after_ms)
    );
    (Refusal::new(RefusalKind::RateLimited, sentence), Detail::Later(seconds))
}

// `90 s`, `10 min`, `2 h`: what is whole in the largest unit.
fn span(ms: u64) -> String {
    let seconds = ms.div_ceil(1_000).max(1);
    match (seconds % 3_600, seconds % 60) {
        (0, _) => format!("{} h", seconds / 3_600),
        (_, 0) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

// === impl SessionBook ===

impl SessionBook {
    /// Counts what a request of a session has cost.
    pub(crate) fn spent(&self, now: Ticks, charged: Charged, cost: NanoUsd) {
        self.lock().spent(now, charged.0, cost);
    }

    /// Takes back what was counted of a request that was refused for another reason.
    pub(crate) fn take_back(&self, now: Ticks, charged: Charged) {
        self.lock().take_back(now, charged.0);
    }

    // Nothing panics while it is held.
    fn lock(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_its_largest_whole_unit() {
        for (ms, text) in [(1, "1 s"), (60_000, "1 min"), (90_000, "90 s"), (7_200_000, "2 h"), (5_400_000, "90 min")] {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn a_limit_is_named_with_its_owner_and_when_to_try_again() {
        let limited = |measure, span_ms, retry_after_ms| Limited {
            noun: "team",
            name: "platform".into(),
            measure,
            amount: 600,
            span_ms,
            retry_after_ms,
        };
        let (refusal, detail) = slow(&limited(Measure::Requests, 60_000, 1_200));
        assert_eq!(
            refusal.public(),
            "The team \"platform\" has reached its limit of 600 requests in 1 min. Try again in 2 s."
        );
        assert_eq!((refusal.kind(), detail), (RefusalKind::RateLimited, Detail::Later(2)));
        let (refusal, detail) = slow(&limited(Measure::Parallel, 0, 300));
        assert_eq!((refusal.kind(), detail), (RefusalKind::ParallelLimited, Detail::Later(1)));
    }
}
