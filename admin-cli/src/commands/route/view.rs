//! A route as it is shown, and where requests go.

use serde::Serialize;
use tollgate_proto::admin::v1;

use crate::{
    commands::{names::Names, switched},
    failure::Failure,
    literals::{printed, route::shown_wait},
    output::{Answer, Format, View, bare_table},
};

/// A route. Ids stand beside names, since a name may change.
#[derive(Serialize)]
pub(super) struct RouteView {
    id: String,
    name: String,
    models: Vec<String>,
    customers: Vec<Owner>,
    teams: Vec<Owner>,
    keys: Vec<Owner>,
    priority: i32,
    disabled: bool,
    strict: bool,
    tiers: Vec<TierView>,
    rule: String,
    balance: String,
    first_byte_timeout: Option<String>,
    hedge_after: Option<String>,
    deadline: Option<String>,
    etag: String,
    create_time: Option<String>,
    update_time: Option<String>,
}

#[derive(Serialize)]
struct Owner {
    id: String,
    name: String,
}

#[derive(Serialize)]
struct TierView {
    targets: Vec<TargetView>,
    on: Vec<String>,
}

#[derive(Serialize)]
struct TargetView {
    provider: String,
    provider_name: String,
    model: String,
    weight: i32,
}

/// Where the requests of a key for a model go.
#[derive(Serialize)]
pub(super) struct ExplanationView {
    /// The id of the route that decides.
    route: Option<String>,
    route_name: Option<String>,
    targets: Vec<ExplainedView>,
    refusal: Option<String>,
}

#[derive(Serialize)]
struct ExplainedView {
    tier: i32,
    provider: String,
    provider_name: String,
    dialect: String,
    model: String,
    weight: i32,
    on: Vec<String>,
    priced: bool,
    losses: Vec<LossView>,
}

/// What a request may lose on the way to a target.
#[derive(Serialize)]
struct LossView {
    feature: String,
    becomes: String,
}

impl RouteView {
    pub(super) fn new(route: v1::Route, names: &Names) -> Self {
        let v1::Route {
            id,
            name,
            models,
            customers,
            teams,
            keys,
            priority,
            disabled,
            strict,
            tiers,
            etag,
            create_time,
            update_time,
            rule,
            balance,
            first_byte_timeout,
            hedge_after,
            deadline,
        } = route;
        let owners = |ids: Vec<String>| ids.into_iter().map(|id| Owner { name: names.of(&id), id }).collect();
        let target = |target: v1::RouteTarget| {
            let v1::RouteTarget { provider, model, weight } = target;
            TargetView { provider_name: names.of(&provider), provider, model, weight }
        };
        let tier = |tier: v1::RouteTier| {
            let v1::RouteTier { targets, on } = tier;
            TierView { targets: targets.into_iter().map(target).collect(), on }
        };
        Self {
            id,
            name,
            models,
            customers: owners(customers),
            teams: owners(teams),
            keys: owners(keys),
            priority,
            disabled,
            strict,
            tiers: tiers.into_iter().map(tier).collect(),
            rule,
            balance,
            first_byte_timeout: first_byte_timeout.as_ref().map(shown_wait),
            hedge_after: hedge_after.as_ref().map(shown_wait),
            deadline: deadline.as_ref().map(shown_wait),
            etag,
            create_time: printed(create_time.as_ref()),
            update_time: printed(update_time.as_ref()),
        }
    }

    fn scope(&self) -> String {
        let named = |noun: &'static str, owners: &[Owner]| {
            owners.iter().map(|owner| format!("{noun}/{}", owner.name)).collect::<Vec<_>>()
        };
        let all = [named("customer", &self.customers), named("team", &self.teams), named("key", &self.keys)].concat();
        if all.is_empty() { "(everybody)".to_owned() } else { all.join(" ") }
    }
}

impl View for RouteView {
    const PLURAL: &'static str = "routes";
    const LISTED: &'static [&'static str] =
        &["name", "models", "to", "fallbacks", "for", "rule", "priority", "state", "id"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let tiers: Vec<_> = self.tiers.iter().map(TierView::text).collect();
        vec![
            ("name", self.name.clone()),
            ("models", self.models.join(" ")),
            ("to", tiers.first().cloned().unwrap_or_default()),
            ("fallbacks", tiers.get(1..).unwrap_or_default().join("; ")),
            ("for", self.scope()),
            ("rule", self.rule.clone()),
            ("balance", self.balance.clone()),
            ("first_byte_timeout", self.first_byte_timeout.clone().unwrap_or_default()),
            ("hedge_after", self.hedge_after.clone().unwrap_or_default()),
            ("deadline", self.deadline.clone().unwrap_or_default()),
            ("priority", self.priority.to_string()),
            ("strict", if self.strict { "yes".to_owned() } else { String::new() }),
            ("state", switched(self.disabled)),
            ("id", self.id.clone()),
            ("etag", self.etag.clone()),
            ("created", self.create_time.clone().unwrap_or_default()),
            ("updated", self.update_time.clone().unwrap_or_default()),
        ]
    }
}

impl TierView {
    // As it is typed: `openai/gpt-5-mini=3 anthropic`, and behind an `@` after which failures.
    fn text(&self) -> String {
        let target = |target: &TargetView| {
            let TargetView { provider: _, provider_name, model, weight } = target;
            let model = if model.is_empty() { String::new() } else { format!("/{model}") };
            let weight = if *weight > 1 { format!("={weight}") } else { String::new() };
            format!("{provider_name}{model}{weight}")
        };
        let targets: Vec<_> = self.targets.iter().map(target).collect();
        let on = if self.on.is_empty() { String::new() } else { format!("@{}", self.on.join(",")) };
        format!("{}{on}", targets.join(" "))
    }
}

impl ExplanationView {
    pub(super) fn new(explained: v1::ExplainRouteResponse) -> Self {
        let v1::ExplainRouteResponse { route, targets, refusal } = explained;
        let target = |target: v1::ExplainedTarget| {
            let v1::ExplainedTarget { provider, provider_name, dialect, model, tier, weight, on, priced, losses } =
                target;
            let loss = |v1::Loss { feature, becomes }| LossView { feature, becomes };
            let losses = losses.into_iter().map(loss).collect();
            ExplainedView { tier, provider, provider_name, dialect, model, weight, on, priced, losses }
        };
        let (route, route_name) = route.map(|route| (route.id, route.name)).unzip();
        let refusal = Some(refusal).filter(|refusal| !refusal.is_empty());
        Self { route, route_name, targets: targets.into_iter().map(target).collect(), refusal }
    }

    /// As one document, or as a table of targets, what may be lost on the way to each, and a word about what decides.
    pub(super) fn answer(self, format: Format) -> Result<Answer, Failure> {
        if format != Format::Table {
            return format.document(&self, bare_table);
        }
        if let Some(refusal) = &self.refusal {
            return Ok(Answer::raw(format!("refused: {refusal}\n")));
        }
        let decides = match &self.route_name {
            Some(name) => format!("the route {name} decides"),
            None => "no route is for this: providers are asked by their priority".to_owned(),
        };
        let mut answer = format.list(&self.targets)?;
        for target in self.targets.iter().filter(|target| !target.losses.is_empty()) {
            answer.result.push_str(&target.lost());
        }
        Ok(answer.note(decides))
    }
}

impl ExplainedView {
    // A paragraph about one target: what becomes of which features.
    fn lost(&self) -> String {
        let Self { tier, provider_name, model, losses, .. } = self;
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for LossView { feature, becomes } in losses {
            match groups.iter_mut().find(|group| group.0 == becomes) {
                Some(group) => group.1.push(feature),
                None => groups.push((becomes, vec![feature])),
            }
        }
        groups.sort_unstable();
        let lines = groups.iter().map(|(becomes, features)| format!("  {becomes}: {}\n", features.join(", ")));
        format!(
            "\nlost on the way to {provider_name}/{model} (tier {tier}), where a request asks for it:\n{}",
            lines.collect::<String>()
        )
    }
}

impl View for ExplainedView {
    const PLURAL: &'static str = "targets";
    const LISTED: &'static [&'static str] = &["tier", "provider", "dialect", "model", "weight", "on", "priced"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("tier", self.tier.to_string()),
            ("provider", self.provider_name.clone()),
            ("dialect", self.dialect.clone()),
            ("model", self.model.clone()),
            ("weight", self.weight.to_string()),
            ("on", self.on.join(" ")),
            ("priced", if self.priced { "yes" } else { "no" }.to_owned()),
        ]
    }
}
