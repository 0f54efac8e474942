//! What an owner may spend and how fast, as it stands in its item.

use tollgate_policy::{
    budget::Grace,
    id::ProviderId,
    limit::{RunawayAction, SessionLimit},
    money::NanoUsd,
};
use tollgate_proto::fleet::v1::{BudgetItem, QuotaItem, RateLimitItem, SessionLimitItem};

use crate::store::quotas::{Budget, Quota, RateLimit};

/// The quota of an owner; `None` for one that is not limited.
pub(super) fn item(quota: &Quota) -> Option<QuotaItem> {
    let Quota { budgets, limits, session_limit } = quota;
    (!quota.is_empty()).then(|| QuotaItem {
        budgets: budgets.iter().map(budget).collect(),
        limits: limits.iter().map(limit).collect(),
        session_limit: session_limit.as_ref().map(session),
    })
}

fn budget(row: &Budget) -> BudgetItem {
    let Budget {
        id,
        limit,
        windows,
        models,
        provider,
        enforcement,
        holding,
        thresholds: _,
        grace,
        contact,
        created: _,
    } = row;
    let (grace, grace_ms) = match grace {
        None => (0, 0),
        Some(Grace { amount, duration_ms }) => (amount.get(), signed(*duration_ms)),
    };
    BudgetItem {
        id: id.to_string(),
        limit: limit.get(),
        window: windows.period.to_string(),
        models: models.clone(),
        provider: provider.as_ref().map(ProviderId::to_string).unwrap_or_default(),
        enforcement: enforcement.word().to_owned(),
        holding: holding.word().to_owned(),
        grace,
        grace_ms,
        contact: contact.clone(),
    }
}

fn limit(row: &RateLimit) -> RateLimitItem {
    let RateLimit { measure, amount, span_ms, models } = row;
    RateLimitItem {
        measure: measure.word().to_owned(),
        amount: signed(*amount),
        span_ms: signed(*span_ms),
        models: models.clone(),
    }
}

fn session(row: &SessionLimit) -> SessionLimitItem {
    let SessionLimit { dollars, requests, repeats, action } = row;
    let pause_seconds = match action {
        RunawayAction::Refuse => 0,
        RunawayAction::Pause { seconds } => *seconds,
    };
    SessionLimitItem {
        dollars: dollars.map_or(0, NanoUsd::get),
        requests: requests.map_or(0, signed),
        repeats: i32::try_from(repeats.unwrap_or_default()).unwrap_or(i32::MAX),
        pause_seconds: i32::try_from(pause_seconds).unwrap_or(i32::MAX),
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
