//! What an owner may spend and how fast, as it stands in an item.

use std::sync::Arc;

use tollgate_policy::{
    budget::{BUDGETS_MAX, Budget, CONTACT_CHARS_MAX, Enforcement, Grace, Holding},
    id::{BudgetId, ProviderId},
    limit::{LIMITS_MAX, Measure, RateLimit, RunawayAction, SPAN_MS_MAX, SessionLimit},
    money::NanoUsd,
    snapshot::Quota,
};

use super::{Field, parsed, patterns, problem};
use crate::fleet::v1;

/// Reads a quota. What this version does not know is refused: it may be a restriction.
pub(super) fn read(wire: v1::QuotaItem) -> Field<Quota> {
    let v1::QuotaItem { budgets, limits, session_limit } = wire;
    if budgets.len() > BUDGETS_MAX || limits.len() > LIMITS_MAX {
        return Err(problem("quota", "has too many budgets or limits"));
    }
    Ok(Quota {
        budgets: budgets.into_iter().map(|wire| budget(wire).map(Arc::new)).collect::<Field<_>>()?,
        limits: limits.into_iter().map(limit).collect::<Field<_>>()?,
        session: session_limit.map(session).transpose()?,
    })
}

fn budget(wire: v1::BudgetItem) -> Field<Budget> {
    let v1::BudgetItem { id, limit, window, models, provider, enforcement, holding, grace, grace_ms, contact } = wire;
    if contact.chars().count() > CONTACT_CHARS_MAX || contact.chars().any(char::is_control) {
        return Err(problem("quota.budgets.contact", "is too long or has control characters"));
    }
    let grace = match (grace, grace_ms) {
        (0, 0) => None,
        _ => {
            let duration_ms = number("quota.budgets.grace_ms", grace_ms, 1)?;
            Some(Grace { amount: amount("quota.budgets.grace", grace)?, duration_ms })
        }
    };
    Ok(Budget {
        id: parsed("quota.budgets.id", &id, BudgetId::parse)?,
        limit: amount("quota.budgets.limit", limit)?,
        period: window.parse().map_err(|error| problem("quota.budgets.window", error))?,
        models: patterns("quota.budgets.models", &models)?,
        provider: match provider.as_str() {
            "" => None,
            id => Some(parsed("quota.budgets.provider", id, ProviderId::parse)?),
        },
        enforcement: Enforcement::of_word(&enforcement)
            .ok_or_else(|| problem("quota.budgets.enforcement", "is not known to this version"))?,
        holding: Holding::of_word(&holding)
            .ok_or_else(|| problem("quota.budgets.holding", "is not known to this version"))?,
        grace,
        contact: contact.into(),
    })
}

fn limit(wire: v1::RateLimitItem) -> Field<RateLimit> {
    let v1::RateLimitItem { measure, amount, span_ms, models } = wire;
    let measure =
        Measure::of_word(&measure).ok_or_else(|| problem("quota.limits.measure", "is not known to this version"))?;
    let least = u64::from(measure != Measure::Parallel);
    let span_ms = number("quota.limits.span_ms", span_ms, least)?;
    let most = if measure == Measure::Parallel { 0 } else { SPAN_MS_MAX };
    if span_ms > most {
        return Err(problem("quota.limits.span_ms", "is too long"));
    }
    let amount = number("quota.limits.amount", amount, 1)?;
    Ok(RateLimit { measure, amount, span_ms, models: patterns("quota.limits.models", &models)? })
}

fn session(wire: v1::SessionLimitItem) -> Field<SessionLimit> {
    let v1::SessionLimitItem { dollars, requests, repeats, pause_seconds } = wire;
    let requests = number("quota.session_limit.requests", requests, 0)?;
    let dollars = number("quota.session_limit.dollars", dollars, 0)?;
    let small = |field, number: i32| u32::try_from(number).map_err(|_| problem(field, "is negative"));
    let repeats = small("quota.session_limit.repeats", repeats)?;
    Ok(SessionLimit {
        dollars: (dollars > 0).then(|| NanoUsd::new(i64::try_from(dollars).unwrap_or(i64::MAX))),
        requests: (requests > 0).then_some(requests),
        repeats: (repeats > 0).then_some(repeats),
        action: match small("quota.session_limit.pause_seconds", pause_seconds)? {
            0 => RunawayAction::Refuse,
            seconds => RunawayAction::Pause { seconds },
        },
    })
}

fn amount(field: &'static str, nano: i64) -> Field<NanoUsd> {
    number(field, nano, 1).map(|_| NanoUsd::new(nano))
}

fn number(field: &'static str, number: i64, least: u64) -> Field<u64> {
    let number = u64::try_from(number).ok().filter(|number| *number >= least);
    number.ok_or_else(|| problem(field, format!("is below {least}")))
}
