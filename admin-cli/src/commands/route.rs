//! `tollgate route`: to which providers and models the requests for a model go.

mod view;

use clap::{Args, Subcommand, ValueEnum};
use prost_types::Duration;
use tollgate_policy::route::Conditions;
use tollgate_proto::admin::v1;

use super::{
    Changed, Context, done,
    filter::Filter,
    names::{Names, Noun},
    one, pages,
};
use crate::{
    arguments::{Deletion, Listing, Named, Switch},
    failure::Failure,
    literals::{
        name, pattern, reference,
        route::{
            FallbackArgument, HeaderArgument, TargetArgument, balance, deadline, dialect, first_byte_timeout,
            hedge_after, region, route_name, rule, used, words,
        },
    },
    output::Answer,
};
use view::{ExplanationView, RouteView};

/// What to do with routes.
#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// Create a route
    #[command(
        after_help = "Example: tollgate route create --model 'claude-haiku-*' --to openai/gpt-5-mini --fallback anthropic\n\
                      Example: tollgate route create fast --model fast --to groq/llama-3.3-70b-versatile=3 --to cerebras/llama-3.3-70b --fallback openai/gpt-5-mini@rate_limit,overloaded,timeout --team platform\n\
                      Example: tollgate route create thrifty --model 'claude-*' --to anthropic/claude-haiku-4-5 --priority -1 --rule 'budget.used >= 0.9' --first-byte-timeout 30s --deadline 10m\n\n\
                      Among the targets of --to is chosen by weight, or with --balance latency by how soon they begin to answer; each --fallback is tried \
                      after what stands before it. A request for which there is a route goes nowhere else.\n\n\
                      A rule is an expression in CEL over request (model, dialect, operation, stream, max_tokens, bytes, images), caller (key, team, customer, \
                      user, session, agent), headers, budget.used, region and now."
    )]
    Create(Box<Create>),
    /// Show one route
    #[command(after_help = "Example: tollgate route get claude-haiku -o yaml")]
    Get(Named),
    /// List routes
    #[command(after_help = "Example: tollgate route list --filter disabled=false")]
    List(Listing),
    /// Change a route; an option that is given more than once replaces the whole list
    #[command(
        after_help = "Example: tollgate route update claude-haiku --to openai/gpt-5-mini --to anthropic=9 --clear fallbacks"
    )]
    Update(Box<Update>),
    /// Delete a route
    #[command(after_help = "Example: tollgate route delete claude-haiku")]
    Delete(Deletion),
    /// Show where the requests of a key for a model go, by the rules that decide about them
    #[command(after_help = "Example: tollgate route explain --key payments-dev --model claude-haiku-4-5 -o json\n\
                      Example: tollgate route explain --key payments-dev --model claude-haiku-4-5 --region eu-west-1 --header x-team=payments --budget-used 0.95 --stream --bytes 400000")]
    Explain(Explain),
}

/// A new route.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// The name: 1 to 63 of a-z 0-9 . _ -; made of the first model where it is left out
    #[arg(value_name = "NAME", value_parser = name, conflicts_with = "named")]
    name: Option<String>,
    /// The name, as an option
    #[arg(long = "name", value_name = "NAME", value_parser = name)]
    named: Option<String>,
    /// A model, as clients name it; '*' stands for any run of characters, a leading '!' denies [may be repeated]
    #[arg(long = "model", value_name = "PATTERN", value_parser = pattern, required = true)]
    models: Vec<String>,
    /// Where to: a provider, the model there (none: as the client names it), and how often relative to the others [may be repeated]
    #[arg(long = "to", value_name = "PROVIDER[/MODEL][=WEIGHT]", required = true)]
    targets: Vec<TargetArgument>,
    #[command(flatten)]
    rest: Rest,
    /// Refuse a request that the target's dialect cannot express whole
    #[arg(long)]
    strict: bool,
    /// Create it switched off
    #[arg(long)]
    disabled: bool,
}

/// What a new route and a changed one take.
#[derive(Args, Debug)]
pub(crate) struct Rest {
    /// Where to after a failure: rate_limit, server_error, overloaded, timeout, context_length, credential, not_found (none said: rate_limit, server_error, overloaded, credential) [may be repeated]
    #[arg(long = "fallback", value_name = "PROVIDER[/MODEL][@CONDITION,CONDITION]")]
    fallbacks: Vec<FallbackArgument>,
    /// Only for the keys of this customer, by id or name [may be repeated; no customer, team and key: for everybody]
    #[arg(long = "customer", value_name = "CUSTOMER", value_parser = reference)]
    customers: Vec<String>,
    /// Only for the keys of this team, by id or name [may be repeated]
    #[arg(long = "team", value_name = "TEAM", value_parser = reference)]
    teams: Vec<String>,
    /// Only for this key, by id or name [may be repeated]
    #[arg(long = "key", value_name = "KEY", value_parser = reference)]
    keys: Vec<String>,
    /// When several routes are for a request, the lowest number decides
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Decides only where this holds, such as 'budget.used > 0.9' or 'region.startsWith("eu-") && request.stream'; without one always
    #[arg(long, value_name = "CEL", value_parser = rule)]
    rule: Option<String>,
    /// How is chosen among the targets: weight, or latency for whichever begins to answer soonest [default: weight]
    #[arg(long, value_name = "WAY", value_parser = balance)]
    balance: Option<String>,
    /// How long an attempt may take until its answer begins: 100ms to 1h [default: as the replica is configured]
    #[arg(long, value_name = "DURATION", value_parser = first_byte_timeout)]
    first_byte_timeout: Option<Duration>,
    /// When the first target has not begun to answer after this long, ask another beside it; both are charged: 100ms to 10m [default: never]
    #[arg(long, value_name = "DURATION", value_parser = hedge_after)]
    hedge_after: Option<Duration>,
    /// How long the whole request may take: 1s to 24h [default: as long as it takes]
    #[arg(long, value_name = "DURATION", value_parser = deadline)]
    deadline: Option<Duration>,
}

/// A changed route.
#[derive(Args, Debug)]
pub(crate) struct Update {
    /// The id or the name
    #[arg(value_parser = reference)]
    route: String,
    /// A new name
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// A model, as clients name it; '*' stands for any run of characters, a leading '!' denies [may be repeated]
    #[arg(long = "model", value_name = "PATTERN", value_parser = pattern)]
    models: Vec<String>,
    /// Where to: a provider, the model there (none: as the client names it), and how often relative to the others [may be repeated]
    #[arg(long = "to", value_name = "PROVIDER[/MODEL][=WEIGHT]")]
    targets: Vec<TargetArgument>,
    #[command(flatten)]
    rest: Rest,
    /// Whether a request is refused that the target's dialect cannot express whole
    #[arg(long, value_name = "BOOLEAN")]
    strict: Option<bool>,
    /// Empty a field [may be repeated]
    #[arg(long, value_name = "FIELD")]
    clear: Vec<Clearable>,
    #[command(flatten)]
    switch: Switch,
}

/// A field that can be emptied.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Clearable {
    Fallbacks,
    Customers,
    Teams,
    Keys,
    Rule,
    #[value(alias = "first-byte-timeout")]
    FirstByteTimeout,
    #[value(alias = "hedge-after")]
    HedgeAfter,
    Deadline,
}

/// Of whose requests is explained where they go.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The key, by id or name
    #[arg(long, value_parser = reference)]
    key: String,
    /// The model, as a client names it
    #[arg(long)]
    model: String,
    /// The dialect that the client speaks [default: anthropic]
    #[arg(long, value_parser = dialect)]
    dialect: Option<String>,
    /// Where the replica runs that the client calls [default: one that does not say]
    #[arg(long, value_parser = region)]
    region: Option<String>,
    /// A header that the client sends, for rules that read it [may be repeated]
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<HeaderArgument>,
    /// Which part of its budget the caller has used, for rules that read it: 0 to 1 [default: 0]
    #[arg(long, value_name = "PART", value_parser = used)]
    budget_used: Option<f64>,
    /// Suppose that a stream is asked for
    #[arg(long)]
    stream: bool,
    /// How many bytes of text the request has, for rules that read it [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    bytes: Option<i64>,
}

impl RouteCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.routes();
        let route = match self {
            Self::Create(create) => {
                client.create_route(v1::CreateRouteRequest { route: Some(create.route()?) }).await?
            }
            Self::Get(Named { name }) => client.get_route(v1::GetRouteRequest { route: name }).await?,
            Self::List(Listing { filter, limit }) => {
                let found = all(context, limit, Filter::new(filter).text()).await?;
                return context.format.list(&views(context, found).await);
            }
            Self::Update(update) => {
                update.check()?;
                let found = client.get_route(v1::GetRouteRequest { route: update.route.clone() }).await?;
                client.update_route(update.request(found.into_inner())?).await?
            }
            Self::Delete(Deletion { name, etag }) => {
                let request = v1::DeleteRouteRequest { route: name.clone(), etag: etag.unwrap_or_default() };
                client.delete_route(request).await?;
                return done(context.format, "deleted", "route", &name);
            }
            Self::Explain(explain) => {
                let explained = client.explain_route(explain.request()).await?.into_inner();
                return ExplanationView::new(explained).answer(context.format);
            }
        };
        one(context, views(context, vec![route.into_inner()]).await)
    }
}

impl Explain {
    fn request(self) -> v1::ExplainRouteRequest {
        let Self { key, model, dialect, region, headers, budget_used, stream, bytes } = self;
        v1::ExplainRouteRequest {
            key,
            model,
            dialect: dialect.unwrap_or_default(),
            region: region.unwrap_or_default(),
            headers: headers.into_iter().map(|header| (header.name, header.value)).collect(),
            budget_used: budget_used.unwrap_or_default(),
            stream,
            bytes: bytes.unwrap_or_default(),
        }
    }
}

impl Create {
    fn route(self) -> Result<v1::Route, Failure> {
        let Self { name, named, models, targets, rest, strict, disabled } = self;
        let Rest {
            fallbacks,
            customers,
            teams,
            keys,
            priority,
            rule,
            balance,
            first_byte_timeout,
            hedge_after,
            deadline,
        } = rest;
        let name = name.or(named).or_else(|| route_name(&models));
        let name = name.ok_or_else(|| Failure::usage("no name can be made of the model: give one with --name"))?;
        let mut tiers = vec![first(targets)];
        tiers.extend(fallbacks.into_iter().map(after));
        let priority = priority.unwrap_or_default();
        Ok(v1::Route {
            name,
            models,
            customers,
            teams,
            keys,
            priority,
            disabled,
            strict,
            tiers,
            rule: rule.unwrap_or_default(),
            balance: balance.unwrap_or_default(),
            first_byte_timeout,
            hedge_after,
            deadline,
            ..v1::Route::default()
        })
    }
}

impl Update {
    /// Refuses what can be refused without asking anybody.
    fn check(&self) -> Result<(), Failure> {
        let Rest {
            fallbacks,
            customers,
            teams,
            keys,
            priority: _,
            rule,
            balance: _,
            first_byte_timeout,
            hedge_after,
            deadline,
        } = &self.rest;
        let set = [
            (Clearable::Fallbacks, !fallbacks.is_empty()),
            (Clearable::Customers, !customers.is_empty()),
            (Clearable::Teams, !teams.is_empty()),
            (Clearable::Keys, !keys.is_empty()),
            (Clearable::Rule, rule.is_some()),
            (Clearable::FirstByteTimeout, first_byte_timeout.is_some()),
            (Clearable::HedgeAfter, hedge_after.is_some()),
            (Clearable::Deadline, deadline.is_some()),
        ];
        if set.into_iter().any(|(field, set)| set && self.clear.contains(&field)) {
            return Err(Failure::usage("a field cannot be set and cleared at once"));
        }
        Ok(())
    }

    fn request(self, found: v1::Route) -> Result<v1::UpdateRouteRequest, Failure> {
        let Self { route: _, name, models, targets, rest, strict, clear, switch } = self;
        let Rest {
            fallbacks,
            customers,
            teams,
            keys,
            priority,
            rule,
            balance,
            first_byte_timeout,
            hedge_after,
            deadline,
        } = rest;
        let cleared = |field| clear.contains(&field);
        let list = |values: Vec<String>, field| (!values.is_empty() || cleared(field)).then_some(values);
        let text = |value: Option<String>, field| if cleared(field) { Some(String::new()) } else { value };
        // In the mask and unset means: none.
        let wait = |value: Option<Duration>, field| (value.is_some() || cleared(field)).then_some(value);
        let touched = !targets.is_empty() || !fallbacks.is_empty() || cleared(Clearable::Fallbacks);
        let mut changed = Changed::default();
        let tiers = touched.then(|| merged(found.tiers, targets, fallbacks, cleared(Clearable::Fallbacks)));
        let wanted = v1::Route {
            id: found.id,
            name: changed.field("name", name),
            models: changed.field("models", (!models.is_empty()).then_some(models)),
            customers: changed.field("customers", list(customers, Clearable::Customers)),
            teams: changed.field("teams", list(teams, Clearable::Teams)),
            keys: changed.field("keys", list(keys, Clearable::Keys)),
            priority: changed.field("priority", priority),
            disabled: changed.field("disabled", switch.disabled()),
            strict: changed.field("strict", strict),
            tiers: changed.field("tiers", tiers),
            rule: changed.field("rule", text(rule, Clearable::Rule)),
            balance: changed.field("balance", balance),
            first_byte_timeout: changed
                .field("first_byte_timeout", wait(first_byte_timeout, Clearable::FirstByteTimeout)),
            hedge_after: changed.field("hedge_after", wait(hedge_after, Clearable::HedgeAfter)),
            deadline: changed.field("deadline", wait(deadline, Clearable::Deadline)),
            // The tiers were read and changed here: they must not overwrite another's change of them.
            etag: if touched { found.etag } else { String::new() },
            ..v1::Route::default()
        };
        Ok(v1::UpdateRouteRequest { route: Some(wanted), update_mask: Some(changed.mask()?) })
    }
}

/// The tiers after a change: the first one and those behind it are replaced apart.
fn merged(
    held: Vec<v1::RouteTier>,
    targets: Vec<TargetArgument>,
    fallbacks: Vec<FallbackArgument>,
    cleared: bool,
) -> Vec<v1::RouteTier> {
    let mut held = held.into_iter();
    let before = held.next().unwrap_or_default();
    let mut tiers = vec![if targets.is_empty() { before } else { first(targets) }];
    if fallbacks.is_empty() && !cleared {
        tiers.extend(held);
    }
    tiers.extend(fallbacks.into_iter().map(after));
    tiers
}

fn first(targets: Vec<TargetArgument>) -> v1::RouteTier {
    let targets = targets.into_iter().map(TargetArgument::into_wire).collect();
    v1::RouteTier { targets, on: Vec::new() }
}

fn after(fallback: FallbackArgument) -> v1::RouteTier {
    let FallbackArgument { target, on } = fallback;
    // None said are the usual ones of the control plane.
    let on = if on == Conditions::default() { Vec::new() } else { words(on) };
    v1::RouteTier { targets: vec![target.into_wire()], on }
}

/// Follows the list of routes.
pub(crate) async fn all(context: &Context, limit: Option<u32>, filter: String) -> Result<Vec<v1::Route>, Failure> {
    let mut client = context.client.routes();
    pages(limit, async |page_size: i32, page_token: String| {
        let request = v1::ListRoutesRequest { page_size, page_token, filter: filter.clone() };
        let page = client.list_routes(request).await?.into_inner();
        Ok((page.routes, page.next_page_token))
    })
    .await
}

async fn views(context: &Context, routes: Vec<v1::Route>) -> Vec<RouteView> {
    let mut names = Names::default();
    let targets = routes.iter().flat_map(|route| &route.tiers).flat_map(|tier| &tier.targets);
    names.learn(context, Noun::Provider, targets.map(|target| target.provider.as_str())).await;
    for (noun, ids) in [
        (Noun::Customer, routes.iter().flat_map(|route| &route.customers).collect::<Vec<_>>()),
        (Noun::Team, routes.iter().flat_map(|route| &route.teams).collect()),
        (Noun::Key, routes.iter().flat_map(|route| &route.keys).collect()),
    ] {
        names.learn(context, noun, ids.into_iter().map(String::as_str)).await;
    }
    routes.into_iter().map(|route| RouteView::new(route, &names)).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{arguments::Cli, commands::Command};

    fn command(line: &[&str]) -> RouteCommand {
        let Command::Route(command) = Cli::try_parse_from([&["tollgate", "route"], line].concat()).unwrap().command
        else {
            panic!()
        };
        command
    }

    fn tiers(list: &[v1::RouteTier]) -> Vec<String> {
        let target = |target: &v1::RouteTarget| format!("{}/{}={}", target.provider, target.model, target.weight);
        let tier = |tier: &v1::RouteTier| {
            let targets: Vec<_> = tier.targets.iter().map(target).collect();
            format!("{}@{}", targets.join("+"), tier.on.join(","))
        };
        list.iter().map(tier).collect()
    }

    #[test]
    fn a_route_has_its_targets_and_then_its_fallbacks() {
        let RouteCommand::Create(create) = command(&[
            "create",
            "--model",
            "claude-haiku-*",
            "--to",
            "a/x=3",
            "--to",
            "b",
            "--fallback",
            "c@timeout",
            "--fallback",
            "d/y",
        ]) else {
            panic!()
        };
        let route = create.route().unwrap();
        assert_eq!(
            (route.name.as_str(), route.models.as_slice()),
            ("claude-haiku", &["claude-haiku-*".to_owned()][..])
        );
        assert_eq!(tiers(&route.tiers), ["a/x=3+b/=1@", "c/=1@timeout", "d/y=1@"]);
    }

    #[test]
    fn an_update_keeps_what_it_does_not_say() {
        let update = |line: &[&str]| {
            let RouteCommand::Update(update) = command(&[&["update", "r"], line].concat()) else { panic!() };
            update.check()?;
            let tier = |provider: &str| v1::RouteTier {
                targets: vec![v1::RouteTarget { provider: provider.into(), weight: 1, ..Default::default() }],
                on: Vec::new(),
            };
            let (id, etag) = ("route-1".into(), "e1".into());
            update.request(v1::Route { id, etag, tiers: vec![tier("a"), tier("b")], ..Default::default() })
        };
        for (line, paths, expect, etag) in [
            (&["--to", "c"][..], &["tiers"][..], &["c/=1@", "b/=1@"][..], "e1"),
            (&["--fallback", "c@not_found"], &["tiers"], &["a/=1@", "c/=1@not_found"], "e1"),
            (&["--clear", "fallbacks"], &["tiers"], &["a/=1@"], "e1"),
            (&["--strict", "true", "--priority", "-1", "--enable"], &["priority", "disabled", "strict"], &[], ""),
            (&["--clear", "teams", "--key", "k"], &["teams", "keys"], &[], ""),
            (&["--rule", "request.stream", "--balance", "latency"], &["rule", "balance"], &[], ""),
            (&["--clear", "rule", "--deadline", "10m"], &["rule", "deadline"], &[], ""),
            (&["--clear", "hedge_after"], &["hedge_after"], &[], ""),
            (&["--clear", "deadline", "--clear", "first_byte_timeout"], &["first_byte_timeout", "deadline"], &[], ""),
        ] {
            let request = update(line).unwrap();
            let route = request.route.unwrap();
            assert_eq!(request.update_mask.unwrap().paths, paths, "{line:?}");
            assert_eq!(
                (tiers(&route.tiers).as_slice(), route.etag.as_str()),
                (expect.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>().as_slice(), etag),
                "{line:?}"
            );
        }
        assert_eq!(update(&[]).unwrap_err().code, "usage");
        for both in [
            &["--clear", "keys", "--key", "k"],
            &["--clear", "rule", "--rule", "true"],
            &["--clear", "deadline", "--deadline", "1m"],
            &["--clear", "hedge_after", "--hedge-after", "1s"],
        ] {
            assert_eq!(update(both).unwrap_err().code, "usage", "{both:?}");
        }
        let cleared = update(&["--clear", "rule", "--clear", "deadline"]).unwrap().route.unwrap();
        assert_eq!((cleared.rule.as_str(), cleared.deadline), ("", None));
    }

    #[test]
    fn when_a_route_decides_and_how_long_it_waits_are_typed_or_refused() {
        let line = ["create", "r", "--model", "m", "--to", "a", "--rule", "budget.used > 0.9", "--balance", "latency"];
        let more = ["--first-byte-timeout", "1500ms", "--hedge-after", "700ms", "--deadline", "10m"];
        let RouteCommand::Create(create) = command(&[&line[..], &more[..]].concat()) else { panic!() };
        let route = create.route().unwrap();
        assert_eq!((route.rule.as_str(), route.balance.as_str()), ("budget.used > 0.9", "latency"));
        assert_eq!(route.first_byte_timeout, Some(Duration { seconds: 1, nanos: 500_000_000 }));
        assert_eq!(route.hedge_after, Some(Duration { seconds: 0, nanos: 700_000_000 }));
        assert_eq!(route.deadline, Some(Duration { seconds: 600, nanos: 0 }));
        for (flag, text, says) in [
            ("--rule", "budget > 1", "name one of its fields"),
            ("--rule", "headers['x-a'] == 'b'", "in headers && "),
            ("--balance", "speed", "must be weight or latency"),
            ("--first-byte-timeout", "2h", "100ms to 1h"),
            ("--hedge-after", "11m", "100ms to 10m"),
            ("--deadline", "10ms", "1s to 24h"),
        ] {
            let line = ["tollgate", "route", "create", "r", "--model", "m", "--to", "a", flag, text];
            let refusal = Cli::try_parse_from(line).unwrap_err().to_string();
            assert!(refusal.contains(says), "{refusal}");
        }
    }

    #[test]
    fn what_is_supposed_of_a_request_is_asked_about() {
        let line = ["explain", "--key", "k", "--model", "m", "--region", "eu-west", "--header", "X-Team=a"];
        let more = ["--header", "x-b=", "--budget-used", "0.9", "--stream", "--bytes", "400000"];
        let RouteCommand::Explain(explain) = command(&[&line[..], &more[..]].concat()) else { panic!() };
        let v1::ExplainRouteRequest { region, headers, budget_used, stream, bytes, .. } = explain.request();
        let headers: std::collections::BTreeMap<_, _> = headers.into_iter().collect();
        let expect = [("x-b".to_owned(), String::new()), ("x-team".to_owned(), "a".to_owned())];
        assert_eq!((region.as_str(), headers.into_iter().collect::<Vec<_>>()), ("eu-west", expect.to_vec()));
        assert_eq!((budget_used, stream, bytes), (0.9, true, 400_000));
    }
}
