//! Budgets.

use serde_json::{Value, json};
use tollgate_policy::{
    budget::{BUDGETS_MAX, CONTACT_CHARS_MAX, Enforcement, Grace, Holding},
    id::{BudgetId, ProviderId},
    money::NanoUsd,
    time::UnixMillis,
    window::{Alignment, Period, Windows, Zone},
};
use tollgate_proto::admin::v1::{self, BudgetAlignment, BudgetEnforcement, BudgetHolding};

use super::{Element, Failure, SECONDS_MAX, Violations, bounded, wire};
use crate::{
    api::providers,
    change::Change,
    store::quotas::{Budget, reconciled},
};

/// The thresholds of a budget that names none.
const THRESHOLDS: [u8; 3] = [50, 80, 100];
/// The most thresholds of one budget.
const THRESHOLDS_MAX: usize = 16;

// What a new budget is given, and its provider, which was looked up.
struct Given {
    id: BudgetId,
    provider: Option<ProviderId>,
    create_time: i64,
    created: i64,
}

pub(super) fn refuse_output_only(list: &[v1::Budget], violations: &mut Violations) {
    for (at, budget) in list.iter().enumerate() {
        violations.output_only([(format!("budgets[{at}].id").as_str(), !budget.id.is_empty())]);
    }
}

/// Reads the budgets of an owner that had `old`. What the update keeps keeps its id: see [`reconciled`].
///
/// # Errors
/// When the database cannot be read.
pub(super) async fn read(
    change: &mut Change<'_>,
    list: &[v1::Budget],
    old: &[Budget],
    violations: &mut Violations,
) -> Result<Vec<Budget>, Failure> {
    let mut budgets: Vec<Budget> = Vec::new();
    let list = bounded("budgets", list, BUDGETS_MAX, |budget| &budget.models, violations);
    for (at, budget) in list.iter().enumerate() {
        let provider = match budget.provider.as_str() {
            "" => None,
            named => {
                providers::referred(&mut change.txn, &format!("budgets[{at}].provider"), named, violations).await?
            }
        };
        let id = wire::new_id(BudgetId::from_ulid)?;
        let given = Given { id, provider, create_time: change.now, created: change.revision };
        let Some(budget) = read_one(budget, given, &mut Element { list: "budgets", at, violations }) else { continue };
        if budgets.iter().any(|other| other.is_same(&budget)) {
            violations.add(
                format!("budgets[{at}]"),
                "has the window, alignment, time zone, models and provider of another one: make one budget of the two",
            );
        }
        budgets.push(budget);
    }
    Ok(reconciled(old, budgets))
}

fn read_one(wire: &v1::Budget, given: Given, element: &mut Element<'_>) -> Option<Budget> {
    let limit = (wire.limit_nano_usd > 0).then(|| NanoUsd::new(wire.limit_nano_usd));
    let limit = element.take("limit_nano_usd", limit.ok_or("must be at least 1 nano-dollar"));
    let period = element.take("window", wire.window.parse::<Period>());
    let alignment = read_alignment(wire, period, element);
    let models = element.models(&wire.models);
    let enforcement = element.take("enforcement", enforcement_of(wire.enforcement));
    let holding = element.take("holding", holding_of(wire.holding));
    let thresholds = element.take("thresholds", thresholds_of(&wire.thresholds));
    let grace = read_grace(wire, enforcement, element);
    let contact = wire::prose(&element.path("contact"), &wire.contact, CONTACT_CHARS_MAX, element.violations);
    let Given { id, provider, create_time, created } = given;
    Some(Budget {
        id,
        limit: limit?,
        windows: Windows { period: period?, alignment: alignment?, anchor: UnixMillis::new(create_time) },
        models: models?,
        provider,
        enforcement: enforcement?,
        holding: holding?,
        thresholds: thresholds?,
        grace,
        contact: contact?,
        created,
    })
}

fn read_alignment(wire: &v1::Budget, period: Option<Period>, element: &mut Element<'_>) -> Option<Alignment> {
    match BudgetAlignment::try_from(wire.alignment) {
        Ok(BudgetAlignment::Calendar) if period == Some(Period::Total) => {
            element.add("alignment", "must be rolling with the window total, which never ends");
            None
        }
        Ok(BudgetAlignment::Calendar) => {
            let name = if wire.time_zone.is_empty() { "UTC" } else { &wire.time_zone };
            element.take("time_zone", Zone::parse(name)).map(Alignment::Calendar)
        }
        Ok(BudgetAlignment::Unspecified | BudgetAlignment::Rolling) if wire.time_zone.is_empty() => {
            Some(Alignment::Rolling)
        }
        Ok(BudgetAlignment::Unspecified | BudgetAlignment::Rolling) => {
            element.add("time_zone", "is for calendar alignment: set that alignment, or leave the time zone empty");
            None
        }
        Err(_) => {
            element.add("alignment", "must be one of: rolling, calendar");
            None
        }
    }
}

fn enforcement_of(number: i32) -> Result<Enforcement, &'static str> {
    match BudgetEnforcement::try_from(number) {
        Ok(BudgetEnforcement::Unspecified | BudgetEnforcement::Hard) => Ok(Enforcement::Hard),
        Ok(BudgetEnforcement::Soft) => Ok(Enforcement::Soft),
        Err(_) => Err("must be one of: hard, soft"),
    }
}

fn holding_of(number: i32) -> Result<Holding, &'static str> {
    match BudgetHolding::try_from(number) {
        Ok(BudgetHolding::Unspecified | BudgetHolding::Auto) => Ok(Holding::Auto),
        Ok(BudgetHolding::Strict) => Ok(Holding::Strict),
        Ok(BudgetHolding::Incremental) => Ok(Holding::Incremental),
        Err(_) => Err("must be one of: auto, strict, incremental"),
    }
}

fn thresholds_of(list: &[i32]) -> Result<Vec<u8>, &'static str> {
    if list.is_empty() {
        return Ok(THRESHOLDS.to_vec());
    }
    if list.len() > THRESHOLDS_MAX {
        return Err("must be at most 16");
    }
    let percent = |number: &i32| u8::try_from(*number).ok().filter(|percent| (1..=100).contains(percent));
    let mut thresholds: Vec<u8> =
        list.iter().map(percent).collect::<Option<_>>().ok_or("must be percentages from 1 to 100")?;
    thresholds.sort_unstable();
    thresholds.dedup();
    if thresholds.len() == list.len() { Ok(thresholds) } else { Err("must be different from each other") }
}

fn read_grace(wire: &v1::Budget, enforcement: Option<Enforcement>, element: &mut Element<'_>) -> Option<Grace> {
    let (amount, seconds) = (wire.grace_nano_usd, wire.grace_seconds);
    if amount == 0 {
        if seconds != 0 {
            element.add("grace_seconds", "is how long grace_nano_usd may be used: set that as well");
        }
        return None;
    }
    if enforcement == Some(Enforcement::Soft) {
        element.add("grace_nano_usd", "is for hard budgets: a soft one refuses nothing anyway");
    }
    if amount < 0 || amount > wire.limit_nano_usd.max(0) {
        element.add("grace_nano_usd", "must not be negative, and at most the limit");
    }
    let duration = u64::try_from(seconds).ok().filter(|_| (1..=SECONDS_MAX).contains(&seconds));
    let seconds = element.take("grace_seconds", duration.ok_or("must be 1 to 86400 with grace_nano_usd"))?;
    Some(Grace { amount: NanoUsd::new(amount), duration_ms: seconds * 1_000 })
}

/// A budget on the wire.
pub(in crate::api) fn written(budget: &Budget) -> v1::Budget {
    let Budget { id, limit, windows, models, provider, enforcement, holding, thresholds, grace, contact, created: _ } =
        budget;
    let zone = budget.zone();
    let alignment = if zone.is_some() { BudgetAlignment::Calendar } else { BudgetAlignment::Rolling };
    let enforcement = match enforcement {
        Enforcement::Hard => BudgetEnforcement::Hard,
        Enforcement::Soft => BudgetEnforcement::Soft,
    };
    let holding = match holding {
        Holding::Auto => BudgetHolding::Auto,
        Holding::Strict => BudgetHolding::Strict,
        Holding::Incremental => BudgetHolding::Incremental,
    };
    v1::Budget {
        id: id.to_string(),
        limit_nano_usd: limit.get(),
        window: windows.period.to_string(),
        alignment: alignment.into(),
        time_zone: zone.unwrap_or_default().to_owned(),
        models: models.clone(),
        provider: provider.as_ref().map(ProviderId::to_string).unwrap_or_default(),
        enforcement: enforcement.into(),
        holding: holding.into(),
        thresholds: thresholds.iter().map(|percent| i32::from(*percent)).collect(),
        grace_nano_usd: grace.map_or(0, |grace| grace.amount.get()),
        grace_seconds: grace.map_or(0, seconds_of),
        contact: contact.clone(),
    }
}

fn seconds_of(grace: Grace) -> i64 {
    i64::try_from(grace.duration_ms / 1_000).unwrap_or(i64::MAX)
}

/// A budget as the log may show it.
pub(super) fn field_of(budget: &Budget) -> Value {
    let zone = budget.zone();
    json!({
        "limit_nano_usd": budget.limit.get(),
        "window": budget.windows.period.to_string(),
        "alignment": if zone.is_some() { "calendar" } else { "rolling" },
        "time_zone": zone,
        "models": budget.models,
        "provider": budget.provider.as_ref().map(ProviderId::as_str),
        "enforcement": budget.enforcement.word(),
        "holding": budget.holding.word(),
        "thresholds": budget.thresholds,
        "grace_nano_usd": budget.grace.map_or(0, |grace| grace.amount.get()),
        "grace_seconds": budget.grace.map_or(0, seconds_of),
        "contact": budget.contact,
    })
}
