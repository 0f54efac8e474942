//! Reads the budgets and limits of an owner.

use tollgate_policy::{budget::BUDGETS_MAX, limit::LIMITS_MAX};
use tollgate_proto::admin::v1;

use super::fields::Fields;
use crate::{
    declare::document::quota::{Quota, Session},
    literals::{self, quota as literal},
    quota::{Budget, RateLimit, SessionLimit, alignment_word},
};

/// What is said of a limit that counts nothing, or two things.
const MEASURE: &str = "must have one of requests, tokens and parallel, such as { requests: 600, per: 1m }";

/// Reads the fields of an owner.
pub(super) fn quota(fields: &mut Fields<'_, '_>) -> Quota {
    let quota = Quota {
        budgets: fields.tables("budgets", budget),
        limits: fields.tables("limits", limit),
        session_limit: fields
            .one_of("session_limit", "none", session)
            .map(|limit| limit.flatten().map_or(Session::None, Session::Limited)),
    };
    let budgets = quota.budgets.as_deref().unwrap_or_default();
    for (at, budget) in budgets.iter().enumerate() {
        // What lacks its window has been reported already.
        let window = !budget.wire().window.is_empty();
        if window && budgets.iter().take(at).any(|earlier| earlier.identity() == budget.identity()) {
            let text = format!("'{budget}' covers the same as one before it: window, time zone, models and provider");
            fields.mistake(fields.place(), &format!("budgets[{at}]"), &text);
        }
    }
    if budgets.len() > BUDGETS_MAX {
        fields.mistake(fields.place(), "budgets", &format!("at most {BUDGETS_MAX} budgets are allowed"));
    }
    if quota.limits.as_ref().is_some_and(|limits| limits.len() > LIMITS_MAX) {
        fields.mistake(fields.place(), "limits", &format!("at most {LIMITS_MAX} rate limits are allowed"));
    }
    quota
}

fn budget(mut fields: Fields<'_, '_>) -> Budget {
    let limit = fields.required_scalar("limit", literal::money).unwrap_or_default();
    let mut budget = v1::Budget {
        limit_nano_usd: limit.get(),
        window: fields.required_scalar("window", literal::window).unwrap_or_default(),
        alignment: fields.parsed("align", alignment).unwrap_or_default().into(),
        time_zone: fields.parsed("time_zone", literal::time_zone).unwrap_or_default(),
        models: fields.list("models", literals::pattern).unwrap_or_default(),
        provider: fields.parsed("provider", literals::reference).unwrap_or_default(),
        enforcement: fields.parsed("enforcement", enforcement).unwrap_or_default().into(),
        holding: fields.parsed("holding", holding).unwrap_or_default().into(),
        thresholds: fields.scalars("thresholds", literal::threshold).unwrap_or_default(),
        contact: fields.parsed("contact", literal::contact).unwrap_or_default(),
        ..v1::Budget::default()
    };
    (budget.grace_nano_usd, budget.grace_seconds) = fields.parsed("grace", literal::grace).unwrap_or_default();
    let calendar = alignment_word(&budget) == "calendar";
    if !calendar && !budget.time_zone.is_empty() {
        fields.mistake(fields.place(), "time_zone", "is for a budget with align: calendar");
    }
    if calendar && budget.window == "total" {
        fields.mistake(fields.place(), "align", "is for a budget that begins anew, which total does not");
    }
    fields.close();
    Budget::new(budget)
}

fn limit(mut fields: Fields<'_, '_>) -> RateLimit {
    let counted = [
        (v1::RateMeasure::Requests, fields.integer("requests", 1, i64::MAX)),
        (v1::RateMeasure::Tokens, fields.integer("tokens", 1, i64::MAX)),
        (v1::RateMeasure::Parallel, fields.integer("parallel", 1, i64::MAX)),
    ];
    let named = fields.names(&["requests", "tokens", "parallel"]);
    let (measure, amount) =
        counted.into_iter().find_map(|(measure, amount)| Some((measure, amount?))).unwrap_or_default();
    let per_seconds = match measure {
        v1::RateMeasure::Requests | v1::RateMeasure::Tokens => fields.required_scalar("per", literal::per),
        v1::RateMeasure::Parallel | v1::RateMeasure::Unspecified => fields.scalar("per", literal::per),
    };
    let models = fields.list("models", literals::pattern).unwrap_or_default();
    if named != 1 {
        fields.mistake_here(MEASURE);
    } else if measure == v1::RateMeasure::Parallel && per_seconds.is_some() {
        fields.mistake(fields.place(), "per", "is for requests and tokens: what is open at once has no time");
    }
    fields.close();
    let per_seconds = per_seconds.unwrap_or_default();
    RateLimit::new(v1::RateLimit { measure: measure.into(), amount, per_seconds, models })
}

fn session(mut fields: Fields<'_, '_>) -> Option<SessionLimit> {
    let most = i64::from(i32::MAX);
    let limit = SessionLimit::new(v1::SessionLimit {
        dollars_nano_usd: fields.scalar("dollars", literal::money).unwrap_or_default().get(),
        requests: fields.integer("requests", 1, i64::MAX).unwrap_or_default(),
        repeats: fields.integer("repeats", 1, most).and_then(|number| i32::try_from(number).ok()).unwrap_or_default(),
        pause_seconds: fields.scalar("pause", literal::pause).unwrap_or_default(),
    });
    if fields.names(&["dollars", "requests", "repeats"]) == 0 {
        fields.mistake_here("must have at least one of dollars, requests and repeats; write none for no limit");
    }
    fields.close();
    limit
}

fn alignment(word: &str) -> Result<v1::BudgetAlignment, String> {
    match word {
        "rolling" => Ok(v1::BudgetAlignment::Rolling),
        "calendar" => Ok(v1::BudgetAlignment::Calendar),
        _ => Err("must be rolling or calendar".to_owned()),
    }
}

fn enforcement(word: &str) -> Result<v1::BudgetEnforcement, String> {
    literal::enforcement(word).ok_or_else(|| "must be hard or soft".to_owned())
}

fn holding(word: &str) -> Result<v1::BudgetHolding, String> {
    literal::holding(word).ok_or_else(|| "must be auto, strict or incremental".to_owned())
}

#[cfg(test)]
mod tests;
