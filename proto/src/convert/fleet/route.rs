//! Routes, as a snapshot has them.

use std::time::Duration;

use tollgate_policy::{
    id::{CustomerId, KeyId, ProviderId, RouteId, TeamId},
    route::{
        Balance, Condition, DEADLINE_MAX, DEADLINE_MIN, FIRST_BYTE_TIMEOUT_MAX, FIRST_BYTE_TIMEOUT_MIN,
        HEDGE_AFTER_MAX, HEDGE_AFTER_MIN, Route, RouteTarget, SCOPE_MAX, Scope, TARGETS_MAX, TIERS_MAX, Tier,
        WEIGHT_MAX,
    },
    rule::Rule,
};

use super::{Field, parsed, patterns, problem, provider::in_order, text};
use crate::fleet::v1;

impl From<&Route> for v1::RouteItem {
    fn from(route: &Route) -> Self {
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
            first_byte_timeout,
            hedge_after,
            deadline,
        } = route;
        let Scope { customers, teams, keys } = scope;
        Self {
            name: name.to_string(),
            models: models.texts(),
            customers: customers.iter().map(|id| id.as_str().to_owned()).collect(),
            teams: teams.iter().map(|id| id.as_str().to_owned()).collect(),
            keys: keys.iter().map(|id| id.as_str().to_owned()).collect(),
            priority: *priority,
            disabled: *disabled,
            strict: *strict,
            tiers: tiers.iter().map(v1::RouteTierItem::from).collect(),
            rule: rule.as_ref().map(Rule::text).unwrap_or_default().to_owned(),
            // What is usual is not sent: a replica that does not know the field takes the route all the same.
            balance: if *balance == Balance::default() { String::new() } else { balance.word().to_owned() },
            first_byte_timeout_ms: millis(*first_byte_timeout),
            deadline_ms: millis(*deadline),
            hedge_after_ms: millis(*hedge_after),
        }
    }
}

impl From<&Tier> for v1::RouteTierItem {
    fn from(tier: &Tier) -> Self {
        let Tier { targets, on } = tier;
        Self {
            targets: targets.iter().map(v1::RouteTargetItem::from).collect(),
            on: on.iter().map(|condition| condition.word().to_owned()).collect(),
        }
    }
}

impl From<&RouteTarget> for v1::RouteTargetItem {
    fn from(target: &RouteTarget) -> Self {
        let RouteTarget { provider, model, weight } = target;
        Self {
            provider: provider.as_str().to_owned(),
            model: model.as_deref().unwrap_or_default().to_owned(),
            weight: i32::try_from(*weight).unwrap_or(i32::MAX),
        }
    }
}

pub(super) fn read(id: &str, body: v1::RouteItem) -> Field<Route> {
    let v1::RouteItem {
        name,
        models,
        customers,
        teams,
        keys,
        priority,
        disabled,
        strict,
        tiers,
        rule,
        balance,
        first_byte_timeout_ms,
        deadline_ms,
        hedge_after_ms,
    } = body;
    if customers.len() + teams.len() + keys.len() > SCOPE_MAX {
        return Err(problem("keys", "has too many owners, together with customers and teams"));
    }
    if models.is_empty() {
        return Err(problem("models", "is empty"));
    }
    if tiers.is_empty() || tiers.len() > TIERS_MAX {
        return Err(problem("tiers", "must be 1 to 8"));
    }
    let scope = Scope {
        customers: customers.iter().map(|id| parsed("customers", id, CustomerId::parse)).collect::<Field<_>>()?,
        teams: teams.iter().map(|id| parsed("teams", id, TeamId::parse)).collect::<Field<_>>()?,
        keys: keys.iter().map(|id| parsed("keys", id, KeyId::parse)).collect::<Field<_>>()?,
    };
    Ok(Route {
        id: parsed("id", id, RouteId::parse)?,
        name: text("name", &name)?,
        models: patterns("models", &models)?,
        scope,
        priority,
        disabled,
        strict,
        tiers: tiers.into_iter().map(tier).collect::<Field<_>>()?,
        rule: match rule.as_str() {
            "" => None,
            text => Some(Rule::parse(text).map_err(|invalid| problem("rule", invalid))?),
        },
        balance: match balance.as_str() {
            "" => Balance::default(),
            word => Balance::of_word(word)
                .filter(|balance| *balance != Balance::default())
                .ok_or_else(|| problem("balance", "is not known to this version"))?,
        },
        first_byte_timeout: duration(
            "first_byte_timeout_ms",
            first_byte_timeout_ms,
            (FIRST_BYTE_TIMEOUT_MIN, FIRST_BYTE_TIMEOUT_MAX),
        )?,
        hedge_after: duration("hedge_after_ms", hedge_after_ms, (HEDGE_AFTER_MIN, HEDGE_AFTER_MAX))?,
        deadline: duration("deadline_ms", deadline_ms, (DEADLINE_MIN, DEADLINE_MAX))?,
    })
}

fn millis(duration: Option<Duration>) -> i64 {
    duration.map_or(0, |duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

fn duration(field: &'static str, millis: i64, (least, most): (Duration, Duration)) -> Field<Option<Duration>> {
    if millis == 0 {
        return Ok(None);
    }
    let duration = u64::try_from(millis).ok().map(Duration::from_millis);
    let bounded = duration.filter(|duration| (least..=most).contains(duration));
    bounded.map(Some).ok_or_else(|| problem(field, "is out of its bounds"))
}

fn tier(wire: v1::RouteTierItem) -> Field<Tier> {
    let v1::RouteTierItem { targets, on } = wire;
    if targets.is_empty() || targets.len() > TARGETS_MAX {
        return Err(problem("tiers.targets", "must be 1 to 32"));
    }
    Ok(Tier {
        targets: targets.into_iter().map(target).collect::<Field<_>>()?,
        on: in_order("tiers.on", &on, Condition::of_word)?,
    })
}

fn target(wire: v1::RouteTargetItem) -> Field<RouteTarget> {
    let v1::RouteTargetItem { provider, model, weight } = wire;
    let weight = u32::try_from(weight).ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
    Ok(RouteTarget {
        provider: parsed("tiers.targets.provider", &provider, ProviderId::parse)?,
        model: if model.is_empty() { None } else { Some(text("tiers.targets.model", &model)?) },
        weight: weight.ok_or_else(|| problem("tiers.targets.weight", "is not between 1 and 1,000"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_policy::{pattern::Patterns, route::Conditions};

    const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";

    fn route() -> Route {
        let target =
            RouteTarget { provider: ProviderId::from_ulid(ULID).unwrap(), model: Some("gpt-5-mini".into()), weight: 3 };
        let plain = RouteTarget { model: None, weight: 1, ..target.clone() };
        Route {
            id: RouteId::from_ulid(ULID).unwrap(),
            name: "fast".into(),
            models: Patterns::parse(&["claude-haiku-*", "!*-old"]).unwrap(),
            scope: Scope {
                customers: vec![CustomerId::from_ulid(ULID).unwrap()],
                teams: vec![TeamId::from_ulid(ULID).unwrap()],
                keys: vec![KeyId::from_ulid(ULID).unwrap()],
            },
            priority: -2,
            disabled: true,
            strict: true,
            tiers: vec![
                Tier { targets: vec![target, plain.clone()], on: Conditions::default() },
                Tier { targets: vec![plain], on: [Condition::Timeout].into_iter().collect() },
            ],
            rule: Some(Rule::parse("budget.used > 0.9").unwrap()),
            balance: Balance::Latency,
            first_byte_timeout: Some(Duration::from_millis(1_500)),
            hedge_after: Some(Duration::from_millis(700)),
            deadline: Some(Duration::from_secs(600)),
        }
    }

    #[test]
    fn a_route_comes_back_as_it_was_sent() {
        let route = route();
        let wire = v1::RouteItem::from(&route);
        assert_eq!(read(route.id.as_str(), wire).map_err(|problem| problem.text), Ok(route));
    }

    #[test]
    fn an_item_that_is_no_route_is_refused_with_its_field() {
        let id = route().id.as_str().to_owned();
        let refused = |change: &dyn Fn(&mut v1::RouteItem)| {
            let mut wire = v1::RouteItem::from(&route());
            change(&mut wire);
            read(&id, wire).err().map(|problem| problem.field)
        };
        for (change, field) in [
            (&(|wire: &mut v1::RouteItem| wire.models.clear()) as &dyn Fn(&mut v1::RouteItem), "models"),
            (&|wire| wire.tiers.clear(), "tiers"),
            (&|wire| wire.tiers[0].targets.clear(), "tiers.targets"),
            (&|wire| wire.tiers[0].targets[0].weight = 0, "tiers.targets.weight"),
            (&|wire| wire.tiers[0].targets[0].provider = "x".into(), "tiers.targets.provider"),
            (&|wire| wire.tiers[0].on.push("never".into()), "tiers.on"),
            (&|wire| wire.tiers[0].on.reverse(), "tiers.on"),
            (&|wire| wire.tiers[1].on.push("timeout".into()), "tiers.on"),
            (&|wire| wire.teams.push("key-x".into()), "teams"),
            (&|wire| wire.name.clear(), "name"),
            (&|wire| wire.rule = "colour == 'red'".into(), "rule"),
            (&|wire| wire.balance = "weight".into(), "balance"),
            (&|wire| wire.first_byte_timeout_ms = 99, "first_byte_timeout_ms"),
            (&|wire| wire.first_byte_timeout_ms = -1, "first_byte_timeout_ms"),
            (&|wire| wire.hedge_after_ms = 99, "hedge_after_ms"),
            (&|wire| wire.hedge_after_ms = 600_001, "hedge_after_ms"),
            (&|wire| wire.deadline_ms = 86_400_001, "deadline_ms"),
        ] {
            assert_eq!(refused(change), Some(field));
        }
    }
}
