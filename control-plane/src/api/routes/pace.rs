//! When a route decides, how it chooses, and how long it waits: the fields that name nothing else.

use std::time::Duration;

use tollgate_policy::{
    route::{
        Balance, DEADLINE_MAX, DEADLINE_MIN, FIRST_BYTE_TIMEOUT_MAX, FIRST_BYTE_TIMEOUT_MIN, HEDGE_AFTER_MAX,
        HEDGE_AFTER_MIN,
    },
    rule::Rule,
};
use tollgate_proto::admin::v1;

use super::super::{mask::Mask, violations::Violations};
use crate::store::routes::Route;

/// These fields of a route.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) rule: String,
    pub(super) balance: Balance,
    pub(super) first_byte_timeout_ms: Option<i64>,
    pub(super) hedge_after_ms: Option<i64>,
    pub(super) deadline_ms: Option<i64>,
}

// Between which a duration lies, and how that is told.
struct Bounds {
    least: Duration,
    most: Duration,
    told: &'static str,
}

const FIRST_BYTE_TIMEOUT: Bounds = Bounds {
    least: FIRST_BYTE_TIMEOUT_MIN,
    most: FIRST_BYTE_TIMEOUT_MAX,
    told: "must be 100 ms to 1 h, in whole milliseconds",
};
const HEDGE_AFTER: Bounds =
    Bounds { least: HEDGE_AFTER_MIN, most: HEDGE_AFTER_MAX, told: "must be 100 ms to 10 min, in whole milliseconds" };
const DEADLINE: Bounds =
    Bounds { least: DEADLINE_MIN, most: DEADLINE_MAX, told: "must be 1 s to 24 h, in whole milliseconds" };

impl Pace {
    /// Reads those of a new route.
    pub(super) fn read(wire: &v1::Route, violations: &mut Violations) -> Option<Self> {
        let rule = rule(&wire.rule, violations);
        let balance = balance(&wire.balance, violations);
        let (first_byte_timeout_ms, hedge_after_ms) =
            (first_byte_timeout(wire, violations), hedge_after(wire, violations));
        ensure_in_time(hedge_after_ms, first_byte_timeout_ms, violations);
        Some(Self {
            first_byte_timeout_ms,
            hedge_after_ms,
            deadline_ms: deadline(wire, violations),
            rule: rule?,
            balance: balance?,
        })
    }

    /// Those of a route with the masked ones changed.
    pub(super) fn merged(old: &Route, wire: &v1::Route, mask: &Mask, violations: &mut Violations) -> Self {
        let first_byte_timeout_ms = match mask.has("first_byte_timeout") {
            true => first_byte_timeout(wire, violations),
            false => old.first_byte_timeout_ms,
        };
        let hedge_after_ms = if mask.has("hedge_after") { hedge_after(wire, violations) } else { old.hedge_after_ms };
        ensure_in_time(hedge_after_ms, first_byte_timeout_ms, violations);
        let deadline_ms = if mask.has("deadline") { deadline(wire, violations) } else { old.deadline_ms };
        Self {
            rule: mask.of("rule", || rule(&wire.rule, violations)).unwrap_or_else(|| old.rule.clone()),
            balance: mask.of("balance", || balance(&wire.balance, violations)).unwrap_or(old.balance),
            first_byte_timeout_ms,
            hedge_after_ms,
            deadline_ms,
        }
    }
}

/// A duration on the wire.
pub(super) fn written(millis: Option<i64>) -> Option<prost_types::Duration> {
    let duration = Duration::from_millis(u64::try_from(millis?).ok()?);
    prost_types::Duration::try_from(duration).ok()
}

// What is wrong with a rule is found here: a replica that met it could only refuse the requests.
fn rule(text: &str, violations: &mut Violations) -> Option<String> {
    if text.is_empty() {
        return Some(String::new());
    }
    violations.take("rule", Rule::parse(text)).map(|rule| rule.text().to_owned())
}

fn balance(word: &str, violations: &mut Violations) -> Option<Balance> {
    if word.is_empty() {
        return Some(Balance::default());
    }
    violations.take("balance", Balance::of_word(word).ok_or("must be weight or latency"))
}

fn first_byte_timeout(wire: &v1::Route, violations: &mut Violations) -> Option<i64> {
    millis("first_byte_timeout", wire.first_byte_timeout.as_ref(), &FIRST_BYTE_TIMEOUT, violations)
}

fn hedge_after(wire: &v1::Route, violations: &mut Violations) -> Option<i64> {
    millis("hedge_after", wire.hedge_after.as_ref(), &HEDGE_AFTER, violations)
}

// An attempt that is over is not helped by another beside it.
fn ensure_in_time(hedge_after_ms: Option<i64>, first_byte_timeout_ms: Option<i64>, violations: &mut Violations) {
    if hedge_after_ms.zip(first_byte_timeout_ms).is_some_and(|(hedge, timeout)| hedge >= timeout) {
        violations.add("hedge_after", "must be shorter than first_byte_timeout, which ends the first attempt");
    }
}

fn deadline(wire: &v1::Route, violations: &mut Violations) -> Option<i64> {
    millis("deadline", wire.deadline.as_ref(), &DEADLINE, violations)
}

// Both unset and wrong are `None`: what is wrong is never stored.
fn millis(
    field: &str,
    wire: Option<&prost_types::Duration>,
    bounds: &Bounds,
    violations: &mut Violations,
) -> Option<i64> {
    let duration = Duration::try_from(*wire?).ok();
    let bounded = duration.filter(|duration| (bounds.least..=bounds.most).contains(duration));
    let whole = bounded.filter(|duration| duration.subsec_nanos() % 1_000_000 == 0);
    let millis = whole.and_then(|duration| i64::try_from(duration.as_millis()).ok());
    violations.take(field, millis.ok_or(bounds.told))
}
