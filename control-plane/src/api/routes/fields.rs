//! The fields of a route, between wire and domain.

use serde_json::{Value, json};
use tollgate_audit::Fields;
use tollgate_policy::{
    id::{CustomerId, KeyId, ProviderId, TeamId},
    pattern::PATTERN_LENGTH_MAX,
    route::{Condition, Conditions, RouteTarget, SCOPE_MAX, Scope, TARGETS_MAX, TIERS_MAX, Tier, WEIGHT_MAX},
};
use tollgate_proto::admin::v1;

use super::{
    super::{mask::Mask, providers, violations::Violations, wire},
    pace::{self, Pace},
};
use crate::store::{StoreError, Txn, routes::Route};

/// Reads the models, of which there is at least one.
pub(super) fn models(list: &[String], violations: &mut Violations) -> Option<Vec<String>> {
    if list.is_empty() {
        violations.add("models", "must be at least one pattern: '*' stands for every model");
        return None;
    }
    wire::patterns("models", list, violations)
}

/// Finds whom a route is for. One that is named twice is so once.
pub(super) async fn scope(txn: &mut Txn, wire: &v1::Route, violations: &mut Violations) -> Result<Scope, StoreError> {
    let v1::Route { customers, teams, keys, .. } = wire;
    let mut scope = Scope::default();
    for (at, named) in bounded("customers", customers, violations).iter().enumerate() {
        let found = txn.customer_find(named).await?.map(|customer| customer.id);
        put(&mut scope.customers, found, (&format!("customers[{at}]"), CustomerId::NOUN), violations);
    }
    for (at, named) in bounded("teams", teams, violations).iter().enumerate() {
        let found = txn.team_find(named).await?.map(|team| team.id);
        put(&mut scope.teams, found, (&format!("teams[{at}]"), TeamId::NOUN), violations);
    }
    for (at, named) in bounded("keys", keys, violations).iter().enumerate() {
        let found = txn.key_find(named).await?.map(|key| key.id);
        put(&mut scope.keys, found, (&format!("keys[{at}]"), KeyId::NOUN), violations);
    }
    if let Some(field) = overfull(&scope) {
        violations.add(field, format!("must be at most {SCOPE_MAX}, customers, teams and keys together"));
    }
    Ok(scope)
}

/// Reads where to, tier by tier, and finds the providers.
pub(super) async fn tiers(
    txn: &mut Txn,
    list: &[v1::RouteTier],
    violations: &mut Violations,
) -> Result<Vec<Tier>, StoreError> {
    if list.is_empty() || list.len() > TIERS_MAX {
        violations.add("tiers", format!("must be 1 to {TIERS_MAX}"));
        return Ok(Vec::new());
    }
    let mut tiers = Vec::new();
    for (at, wire) in list.iter().enumerate() {
        let field = format!("tiers[{at}]");
        let v1::RouteTier { targets: listed, on } = wire;
        let on = conditions(at, &field, on, violations);
        if listed.is_empty() || listed.len() > TARGETS_MAX {
            violations.add(format!("{field}.targets"), format!("must be 1 to {TARGETS_MAX}"));
            continue;
        }
        let mut targets: Vec<RouteTarget> = Vec::new();
        for (at, wire) in listed.iter().enumerate() {
            let field = format!("{field}.targets[{at}]");
            let Some(target) = target(txn, wire, &field, violations).await? else { continue };
            if targets.iter().any(|other| other.provider == target.provider && other.model == target.model) {
                violations.add(field, "is given twice: give it the sum of the weights");
            }
            targets.push(target);
        }
        tiers.push(Tier { targets, on });
    }
    Ok(tiers)
}

/// The route with its masked fields changed. References that stay are not looked up again.
pub(super) async fn merged(
    txn: &mut Txn,
    old: &Route,
    wire: &v1::Route,
    mask: &Mask,
    violations: &mut Violations,
) -> Result<Route, StoreError> {
    let name = mask.of("name", || wire::name(&wire.name, violations));
    let models = mask.of("models", || models(&wire.models, violations));
    // What the mask does not name is not read, and stays.
    let asked = |field: &'static str, list: &[String]| if mask.has(field) { list.to_vec() } else { Vec::new() };
    let named = v1::Route {
        customers: asked("customers", &wire.customers),
        teams: asked("teams", &wire.teams),
        keys: asked("keys", &wire.keys),
        ..v1::Route::default()
    };
    let Scope { customers, teams, keys } = scope(txn, &named, violations).await?;
    let scope = Scope {
        customers: if mask.has("customers") { customers } else { old.scope.customers.clone() },
        teams: if mask.has("teams") { teams } else { old.scope.teams.clone() },
        keys: if mask.has("keys") { keys } else { old.scope.keys.clone() },
    };
    if let Some(field) = overfull(&scope) {
        violations.add(field, format!("must be at most {SCOPE_MAX}, customers, teams and keys together"));
    }
    let tiers = if mask.has("tiers") { tiers(txn, &wire.tiers, violations).await? } else { old.tiers.clone() };
    let Pace { rule, balance, first_byte_timeout_ms, hedge_after_ms, deadline_ms } =
        Pace::merged(old, wire, mask, violations);
    Ok(Route {
        id: old.id.clone(),
        name: name.unwrap_or_else(|| old.name.clone()),
        models: models.unwrap_or_else(|| old.models.clone()),
        scope,
        priority: mask.of("priority", || Some(wire.priority)).unwrap_or(old.priority),
        disabled: mask.of("disabled", || Some(wire.disabled)).unwrap_or(old.disabled),
        strict: mask.of("strict", || Some(wire.strict)).unwrap_or(old.strict),
        tiers,
        rule,
        balance,
        first_byte_timeout_ms,
        hedge_after_ms,
        deadline_ms,
        stamp: old.stamp,
    })
}

async fn target(
    txn: &mut Txn,
    wire: &v1::RouteTarget,
    field: &str,
    violations: &mut Violations,
) -> Result<Option<RouteTarget>, StoreError> {
    let v1::RouteTarget { provider, model, weight } = wire;
    let provider: Option<ProviderId> =
        providers::referred(txn, &format!("{field}.provider"), provider, violations).await?;
    let is_shaped = model.len() <= PATTERN_LENGTH_MAX && model.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_shaped {
        let text =
            format!("must be at most {PATTERN_LENGTH_MAX} visible characters, or empty for what the client asks");
        violations.add(format!("{field}.model"), text);
    } else if model.contains('*') {
        violations.add(format!("{field}.model"), "must be one model: a provider knows no patterns");
    }
    let weight = if *weight == 0 { 1 } else { *weight };
    let weight = u32::try_from(weight).ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
    let weight = violations.take(&format!("{field}.weight"), weight.ok_or("must be 1 to 1,000, or 0 for 1"));
    let model = (!model.is_empty()).then(|| model.as_str().into());
    Ok(provider.zip(weight).map(|(provider, weight)| RouteTarget { provider, model, weight }))
}

fn conditions(at: usize, field: &str, on: &[String], violations: &mut Violations) -> Conditions {
    let field = format!("{field}.on");
    if on.is_empty() {
        return Conditions::default();
    }
    if at == 0 {
        violations.add(field, "must be empty: the first tier is tried anyway");
        return Conditions::default();
    }
    let read = wire::words(&field, on, &Condition::ALL, Condition::word, violations);
    read.unwrap_or_default().into_iter().collect()
}

fn bounded<'a>(field: &str, list: &'a [String], violations: &mut Violations) -> &'a [String] {
    if list.len() > SCOPE_MAX {
        violations.add(field, format!("must be at most {SCOPE_MAX}"));
        return &[];
    }
    list
}

fn put<T: PartialEq>(list: &mut Vec<T>, found: Option<T>, (field, noun): (&str, &str), violations: &mut Violations) {
    let found = found.ok_or_else(|| format!("is not the id or the name of a {noun}"));
    list.extend(violations.take(field, found).filter(|found| !list.contains(found)));
}

// The last field that is not empty, where all together are too many.
fn overfull(scope: &Scope) -> Option<&'static str> {
    let Scope { customers, teams, keys } = scope;
    let is_over = customers.len() + teams.len() + keys.len() > SCOPE_MAX;
    let last = if !keys.is_empty() {
        "keys"
    } else if !teams.is_empty() {
        "teams"
    } else {
        "customers"
    };
    is_over.then_some(last)
}

/// The route as the log may show it.
pub(super) fn fields_of(route: &Route) -> Fields {
    let Route {
        id: _,
        name,
        models,
        scope,
        priority,
        disabled,
        strict,
        tiers,
        rule,
        balance,
        first_byte_timeout_ms,
        hedge_after_ms,
        deadline_ms,
        stamp: _,
    } = route;
    let Scope { customers, teams, keys } = scope;
    let tiers: Vec<Value> = tiers.iter().enumerate().map(|(at, tier)| tier_field(at, tier)).collect();
    wire::fields([
        ("name", json!(name.as_str())),
        ("models", json!(models)),
        ("customers", json!(customers.iter().map(CustomerId::as_str).collect::<Vec<_>>())),
        ("teams", json!(teams.iter().map(TeamId::as_str).collect::<Vec<_>>())),
        ("keys", json!(keys.iter().map(KeyId::as_str).collect::<Vec<_>>())),
        ("priority", json!(priority)),
        ("disabled", json!(disabled)),
        ("strict", json!(strict)),
        ("tiers", json!(tiers)),
        ("rule", json!(rule)),
        ("balance", json!(balance.word())),
        ("first_byte_timeout_ms", json!(first_byte_timeout_ms)),
        ("hedge_after_ms", json!(hedge_after_ms)),
        ("deadline_ms", json!(deadline_ms)),
    ])
}

fn tier_field(at: usize, tier: &Tier) -> Value {
    let target = |target: &RouteTarget| {
        let RouteTarget { provider, model, weight } = target;
        json!({ "provider": provider.as_str(), "model": model.as_deref(), "weight": weight })
    };
    json!({
        "targets": tier.targets.iter().map(target).collect::<Vec<_>>(),
        "on": words(at, tier.on),
    })
}

/// The route on the wire.
pub(super) fn written(route: &Route) -> v1::Route {
    let Route {
        id,
        name,
        models,
        scope,
        priority,
        disabled,
        strict,
        tiers,
        rule,
        balance,
        first_byte_timeout_ms,
        hedge_after_ms,
        deadline_ms,
        stamp,
    } = route;
    let Scope { customers, teams, keys } = scope;
    let target = |target: &RouteTarget| v1::RouteTarget {
        provider: target.provider.to_string(),
        model: target.model.as_deref().unwrap_or_default().to_owned(),
        weight: i32::try_from(target.weight).unwrap_or(i32::MAX),
    };
    let tier = |(at, tier): (usize, &Tier)| v1::RouteTier {
        targets: tier.targets.iter().map(target).collect(),
        on: words(at, tier.on),
    };
    v1::Route {
        id: id.to_string(),
        name: name.to_string(),
        models: models.clone(),
        customers: customers.iter().map(CustomerId::to_string).collect(),
        teams: teams.iter().map(TeamId::to_string).collect(),
        keys: keys.iter().map(KeyId::to_string).collect(),
        priority: *priority,
        disabled: *disabled,
        strict: *strict,
        tiers: tiers.iter().enumerate().map(tier).collect(),
        etag: wire::etag(stamp),
        create_time: Some(wire::timestamp(stamp.create_time)),
        update_time: Some(wire::timestamp(stamp.update_time)),
        rule: rule.clone(),
        balance: balance.word().to_owned(),
        first_byte_timeout: pace::written(*first_byte_timeout_ms),
        hedge_after: pace::written(*hedge_after_ms),
        deadline: pace::written(*deadline_ms),
    }
}

/// The conditions of a tier; the first one has none to show, since it is tried anyway.
pub(super) fn words(tier: usize, on: Conditions) -> Vec<String> {
    let shown = on.iter().filter(|_| tier > 0);
    shown.map(|condition| condition.word().to_owned()).collect()
}
