//! Rate limits, and the limits of a session.

use serde_json::{Value, json};
use tollgate_policy::{
    limit::{Measure, RunawayAction, SessionLimit},
    money::NanoUsd,
};
use tollgate_proto::admin::v1::{self, RateMeasure};

use super::{Element, LIMITS_MAX, SECONDS_MAX, Violations, bounded};
use crate::store::quotas::RateLimit;

/// Reads the rate limits of an owner.
pub(super) fn read(list: &[v1::RateLimit], violations: &mut Violations) -> Vec<RateLimit> {
    let list = bounded("limits", list, LIMITS_MAX, |limit| &limit.models, violations);
    let read = |(at, wire)| limit(wire, &mut Element { list: "limits", at, violations });
    list.iter().enumerate().filter_map(read).collect()
}

fn limit(wire: &v1::RateLimit, element: &mut Element<'_>) -> Option<RateLimit> {
    let v1::RateLimit { measure, amount, per_seconds, models } = wire;
    let measure = element.take("measure", measure_of(*measure));
    let at_least_one = u64::try_from(*amount).ok().filter(|amount| *amount > 0);
    let amount = element.take("amount", at_least_one.ok_or("must be at least 1"));
    let span_ms = element.take("per_seconds", span_of(measure?, *per_seconds));
    let models = element.models(models);
    Some(RateLimit { measure: measure?, amount: amount?, span_ms: span_ms?, models: models? })
}

fn measure_of(number: i32) -> Result<Measure, &'static str> {
    match RateMeasure::try_from(number) {
        Ok(RateMeasure::Requests) => Ok(Measure::Requests),
        Ok(RateMeasure::Tokens) => Ok(Measure::Tokens),
        Ok(RateMeasure::Parallel) => Ok(Measure::Parallel),
        Ok(RateMeasure::Unspecified) | Err(_) => Err("is required, and one of: requests, tokens, parallel"),
    }
}

fn span_of(measure: Measure, seconds: i64) -> Result<u64, &'static str> {
    match measure {
        Measure::Parallel if seconds == 0 => Ok(0),
        Measure::Parallel => Err("must be 0 for parallel requests, which are counted while they are open"),
        Measure::Requests | Measure::Tokens => {
            let span_ms = u64::try_from(seconds).ok().filter(|_| (1..=SECONDS_MAX).contains(&seconds));
            span_ms.map(|seconds| seconds * 1_000).ok_or("must be 1 to 86400")
        }
    }
}

/// Reads the limits of a session.
pub(super) fn read_session(wire: &v1::SessionLimit, violations: &mut Violations) -> Option<SessionLimit> {
    let v1::SessionLimit { dollars_nano_usd, requests, repeats, pause_seconds } = *wire;
    let mut number = |field: &str, number: i64, most: i64| {
        let fits = u32::try_from(number.min(i64::from(u32::MAX))).is_ok() && number <= most;
        let problem = if number < 0 { "must not be negative" } else { "must be at most 86400" };
        violations.take(&format!("session_limit.{field}"), if fits { Ok(number) } else { Err(problem) })
    };
    let dollars = number("dollars_nano_usd", dollars_nano_usd, i64::MAX);
    let requests = number("requests", requests, i64::MAX);
    let repeats = number("repeats", repeats.into(), i64::MAX);
    let pause = number("pause_seconds", pause_seconds.into(), SECONDS_MAX);
    let (dollars, requests, repeats, pause) = (dollars?, requests?, repeats?, pause?);
    if dollars == 0 && requests == 0 && repeats == 0 {
        violations.add("session_limit", "must limit dollars, requests or repeats: leave it unset for no limit");
        return None;
    }
    Some(SessionLimit {
        dollars: (dollars > 0).then(|| NanoUsd::new(dollars)),
        requests: u64::try_from(requests).ok().filter(|requests| *requests > 0),
        repeats: u32::try_from(repeats).ok().filter(|repeats| *repeats > 0),
        action: match u32::try_from(pause) {
            Ok(seconds) if seconds > 0 => RunawayAction::Pause { seconds },
            _ => RunawayAction::Refuse,
        },
    })
}

/// A rate limit on the wire.
pub(super) fn written(limit: &RateLimit) -> v1::RateLimit {
    let RateLimit { measure, amount, span_ms, models } = limit;
    let measure = match measure {
        Measure::Requests => RateMeasure::Requests,
        Measure::Tokens => RateMeasure::Tokens,
        Measure::Parallel => RateMeasure::Parallel,
    };
    v1::RateLimit {
        measure: measure.into(),
        amount: i64::try_from(*amount).unwrap_or(i64::MAX),
        per_seconds: i64::try_from(span_ms / 1_000).unwrap_or(i64::MAX),
        models: models.clone(),
    }
}

/// The limits of a session on the wire.
pub(super) fn written_session(limit: &SessionLimit) -> v1::SessionLimit {
    let SessionLimit { dollars, requests, repeats, action } = limit;
    let pause_seconds = match action {
        RunawayAction::Refuse => 0,
        RunawayAction::Pause { seconds } => *seconds,
    };
    v1::SessionLimit {
        dollars_nano_usd: dollars.map_or(0, NanoUsd::get),
        requests: requests.map_or(0, |requests| i64::try_from(requests).unwrap_or(i64::MAX)),
        repeats: repeats.map_or(0, |repeats| i32::try_from(repeats).unwrap_or(i32::MAX)),
        pause_seconds: i32::try_from(pause_seconds).unwrap_or(i32::MAX),
    }
}

/// A rate limit as the log may show it.
pub(super) fn field_of(limit: &RateLimit) -> Value {
    let RateLimit { measure, amount, span_ms, models } = limit;
    json!({ "measure": measure.word(), "amount": amount, "per_seconds": span_ms / 1_000, "models": models })
}

/// The limits of a session as the log may show them.
pub(super) fn session_field_of(limit: &SessionLimit) -> Value {
    let v1::SessionLimit { dollars_nano_usd, requests, repeats, pause_seconds } = written_session(limit);
    json!({
        "dollars_nano_usd": dollars_nano_usd,
        "requests": requests,
        "repeats": repeats,
        "pause_seconds": pause_seconds,
    })
}
