//! Routes: kept, published, explained, and what they name held fast.

use prost_types::Duration;
use serde_json::json;
use tollgate_policy::{
    provider::{Auth, Quirk},
    route::{Balance, Condition, Conditions},
    snapshot::Object,
};
use tollgate_proto::admin::v1;
use tonic::{Code, Response, Status};

use crate::{
    fleet::Member,
    world::{Place, World, code, mask, over_both, violations},
};

over_both! {
    a_route_is_kept_as_it_was_written_and_changed_by_its_mask
    every_wrong_field_of_a_route_is_named
    what_a_route_names_is_not_deleted
    routes_are_listed_in_pages_and_filtered
    routes_and_how_providers_differ_are_published_and_withdrawn
    where_requests_go_is_what_a_replica_would_decide
    when_a_route_decides_and_how_long_it_waits_is_kept_checked_and_published
    a_rule_is_told_what_the_question_supposes
    regions_and_the_providers_of_a_team_bound_where_requests_go
    what_a_request_may_lose_is_told_for_each_target
}

fn target(provider: &str, model: &str, weight: i32) -> v1::RouteTarget {
    v1::RouteTarget { provider: provider.into(), model: model.into(), weight }
}

fn tier(targets: Vec<v1::RouteTarget>, on: &[&str]) -> v1::RouteTier {
    v1::RouteTier { targets, on: on.iter().map(|word| (*word).to_owned()).collect() }
}

fn route(name: &str, models: &[&str], tiers: Vec<v1::RouteTier>) -> v1::Route {
    let models = models.iter().map(|model| (*model).to_owned()).collect();
    v1::Route { name: name.into(), models, tiers, ..Default::default() }
}

async fn create(world: &World, route: v1::Route) -> Result<v1::Route, Status> {
    world.routes().create_route(v1::CreateRouteRequest { route: Some(route) }).await.map(Response::into_inner)
}

async fn update(world: &World, route: v1::Route, paths: &[&str]) -> Result<v1::Route, Status> {
    let request = v1::UpdateRouteRequest { route: Some(route), update_mask: mask(paths) };
    world.routes().update_route(request).await.map(Response::into_inner)
}

async fn explain(world: &World, key: &str, model: &str) -> v1::ExplainRouteResponse {
    let request = v1::ExplainRouteRequest { key: key.into(), model: model.into(), ..Default::default() };
    world.routes().explain_route(request).await.unwrap().into_inner()
}

async fn a_route_is_kept_as_it_was_written_and_changed_by_its_mask(place: Place) {
    let world = World::start(&place).await;
    let [one, other] = [world.provider("one", &[("a", "env://A")]).await, world.provider("other", &[]).await];
    let key = world.any_key("k").await.key.unwrap();
    let tiers = vec![
        tier(vec![target("one", "gpt-5-mini", 0), target(&other.id, "", 3)], &[]),
        tier(vec![target("one", "", 1)], &["timeout", "rate_limit"]),
        tier(vec![target("other", "", 1)], &[]),
    ];
    let wanted = v1::Route {
        customers: vec!["k-customer".into()],
        keys: vec!["k".into(), key.id.clone()],
        priority: -3,
        strict: true,
        ..route("fast", &["claude-haiku-*", "!*-old"], tiers)
    };
    let made = create(&world, wanted).await.unwrap();
    assert!(made.id.starts_with("route-") && made.customers[0].starts_with("customer-"));
    assert_eq!((made.keys.as_slice(), made.priority, made.strict), ([key.id].as_slice(), -3, true));
    assert_eq!(made.models, ["claude-haiku-*", "!*-old"]);
    let [first, second, third] = made.tiers.as_slice() else { panic!("{made:?}") };
    assert_eq!(first.targets, [target(&one.id, "gpt-5-mini", 1), target(&other.id, "", 3)]);
    assert_eq!((first.on.len(), second.on.as_slice()), (0, ["rate_limit".to_owned(), "timeout".to_owned()].as_slice()));
    assert_eq!(third.on, ["rate_limit", "server_error", "overloaded", "credential"]);
    let get = |named: &str| v1::GetRouteRequest { route: named.into() };
    for named in ["fast", &made.id] {
        assert_eq!(world.routes().get_route(get(named)).await.unwrap().into_inner(), made);
    }
    assert_eq!(code(world.routes().get_route(get("slow")).await), Code::NotFound);
    assert_eq!(code(create(&world, route("fast", &["x"], made.tiers.clone())).await), Code::AlreadyExists);

    // What was read can be written back: nothing changes.
    let revision = world.store.revision().await.unwrap();
    let all = ["models", "customers", "teams", "keys", "priority", "disabled", "strict", "tiers"];
    assert_eq!(update(&world, made.clone(), &all).await.unwrap(), made);
    assert_eq!(world.store.revision().await.unwrap(), revision);
    let change = v1::Route { id: made.id.clone(), name: "quick".into(), disabled: true, ..Default::default() };
    let changed = update(&world, change, &["name", "disabled", "keys"]).await.unwrap();
    let expect = v1::Route {
        name: "quick".into(),
        disabled: true,
        keys: vec![],
        etag: changed.etag.clone(),
        update_time: changed.update_time,
        ..made.clone()
    };
    assert_eq!(changed, expect);
    let stale = v1::Route { id: made.id.clone(), etag: made.etag.clone(), ..Default::default() };
    assert_eq!(code(update(&world, stale, &["strict"]).await), Code::Aborted);
    let entry = world.log("action=route.update").await.pop().unwrap();
    assert_eq!(entry.target, format!("route/{}", made.id));
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
    let changed = json!({
        "name": {"before": "fast", "after": "quick"},
        "disabled": {"before": false, "after": true},
        "keys": {"before": [made.keys[0]], "after": []},
    });
    assert_eq!(detail["changed"], changed);
    let delete = |etag: &str| v1::DeleteRouteRequest { route: "quick".into(), etag: etag.into() };
    assert_eq!(code(world.routes().delete_route(delete(&made.etag)).await), Code::Aborted);
    world.routes().delete_route(delete("")).await.unwrap();
    assert_eq!(code(world.routes().get_route(get(&made.id)).await), Code::NotFound);
    let actions: Vec<_> = world.log("action=route.*").await.into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, ["route.create", "route.update", "route.delete"]);
    world.stop().await;
}

async fn every_wrong_field_of_a_route_is_named(place: Place) {
    let world = World::start(&place).await;
    world.provider("p", &[]).await;
    world.any_key("k").await;
    let revision = world.store.revision().await.unwrap();
    assert_eq!(violations(create(&world, v1::Route::default()).await), ["models", "name", "tiers"]);
    let bad = v1::Route {
        id: "route-x".into(),
        customers: vec!["nobody".into()],
        teams: vec!["k-team".into(), "nobody".into()],
        keys: vec!["k".into(), "p".into()],
        ..route(
            "No",
            &["ok", "not ok"],
            vec![
                tier(vec![target("nobody", "a b", 1_001), target("p", "gpt-*", -1)], &["timeout"]),
                tier(vec![target("p", "m", 1), target("p", "m", 2)], &["timeout", "never", "timeout"]),
                tier(vec![], &[]),
                tier(vec![target("p", "", 1); 33], &[]),
            ],
        )
    };
    let expect = [
        "customers[0]",
        "id",
        "keys[1]",
        "models[1]",
        "name",
        "teams[1]",
        "tiers[0].on",
        "tiers[0].targets[0].model",
        "tiers[0].targets[0].provider",
        "tiers[0].targets[0].weight",
        "tiers[0].targets[1].model",
        "tiers[0].targets[1].weight",
        "tiers[1].on[1]",
        "tiers[1].on[2]",
        "tiers[1].targets[1]",
        "tiers[2].targets",
        "tiers[3].targets",
    ];
    assert_eq!(violations(create(&world, bad).await), expect);
    let one = || tier(vec![target("p", "", 1)], &[]);
    assert_eq!(violations(create(&world, route("r", &["x"], vec![one(); 9])).await), ["tiers"]);
    let crowd = v1::Route { keys: vec!["k".into(); 1_001], ..route("r", &["x"], vec![one()]) };
    assert_eq!(violations(create(&world, crowd).await), ["keys"]);
    let like_an_id = route(&format!("route-{}", "0".repeat(26)), &["x"], vec![one()]);
    assert_eq!(violations(create(&world, like_an_id).await), ["name"]);
    assert_eq!(world.store.revision().await.unwrap(), revision, "nothing was changed");
    let made = create(&world, route("r", &["x"], vec![one(); 8])).await.unwrap();
    let nothing = v1::Route { id: made.id.clone(), ..Default::default() };
    assert_eq!(violations(update(&world, nothing.clone(), &["models", "tiers"]).await), ["models", "tiers"]);
    assert_eq!(violations(update(&world, nothing, &["etag"]).await), ["update_mask"]);
    let unnamed = v1::Route { name: "s".into(), ..Default::default() };
    assert_eq!(violations(update(&world, unnamed, &["name"]).await), ["id"]);
    let request = v1::ExplainRouteRequest { dialect: "openai".into(), ..Default::default() };
    assert_eq!(violations(world.routes().explain_route(request).await), ["dialect", "key", "model"]);
    world.stop().await;
}

async fn what_a_route_names_is_not_deleted(place: Place) {
    let world = World::start(&place).await;
    world.provider("p", &[]).await;
    world.provider("q", &[]).await;
    world.customer("acme").await;
    world.customer("empty").await;
    world.team("free", "acme").await;
    world.any_key("k").await;
    let named = v1::Route {
        customers: vec!["empty".into()],
        teams: vec!["free".into()],
        keys: vec!["k".into()],
        ..route("fast", &["x"], vec![tier(vec![target("q", "", 1)], &[]), tier(vec![target("p", "", 1)], &[])])
    };
    create(&world, named).await.unwrap();
    let provider = async |name: &str| {
        let request = v1::DeleteProviderRequest { provider: name.into(), ..Default::default() };
        world.providers().delete_provider(request).await.map(Response::into_inner)
    };
    let customer = async || {
        let request = v1::DeleteCustomerRequest { customer: "empty".into(), ..Default::default() };
        world.customers().delete_customer(request).await.map(Response::into_inner)
    };
    let team = async || {
        let request = v1::DeleteTeamRequest { team: "free".into(), ..Default::default() };
        world.teams().delete_team(request).await.map(Response::into_inner)
    };
    let key = async || {
        let request = v1::DeleteKeyRequest { key: "k".into(), ..Default::default() };
        world.keys().delete_key(request).await.map(Response::into_inner)
    };
    for refused in [provider("p").await, provider("q").await, customer().await, team().await, key().await] {
        let status = refused.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("is named by the route 'fast'"), "{}", status.message());
    }
    let less = route("fast", &[], vec![tier(vec![target("q", "", 1)], &[])]);
    update(&world, less, &["customers", "teams", "keys", "tiers"]).await.unwrap();
    provider("p").await.unwrap();
    customer().await.unwrap();
    team().await.unwrap();
    key().await.unwrap();
    assert_eq!(code(provider("q").await), Code::FailedPrecondition);
    world.routes().delete_route(v1::DeleteRouteRequest { route: "fast".into(), ..Default::default() }).await.unwrap();
    provider("q").await.unwrap();
    world.stop().await;
}

async fn routes_are_listed_in_pages_and_filtered(place: Place) {
    let world = World::start(&place).await;
    world.provider("p", &[]).await;
    for (name, disabled) in [("a", false), ("ab", true), ("b", false)] {
        let made = route(name, &["x"], vec![tier(vec![target("p", "", 1)], &[])]);
        create(&world, v1::Route { disabled, ..made }).await.unwrap();
    }
    let list = async |page_size: i32, page_token: String, filter: &str| {
        let request = v1::ListRoutesRequest { page_size, page_token, filter: filter.into() };
        let page = world.routes().list_routes(request).await?.into_inner();
        let names = page.routes.into_iter().map(|route| route.name).collect::<Vec<_>>().join(" ");
        Ok::<_, Status>((names, page.next_page_token))
    };
    let (names, token) = list(2, String::new(), "").await.unwrap();
    assert_eq!(names, "a ab");
    assert_eq!(list(2, token, "").await.unwrap(), ("b".into(), String::new()));
    for (filter, expect) in [("name=a*", "a ab"), ("disabled=true", "ab"), ("name=b AND disabled=false", "b")] {
        assert_eq!(list(0, String::new(), filter).await.unwrap().0, expect, "{filter}");
    }
    assert_eq!(violations(list(0, String::new(), "strict=true").await), ["filter"]);
    world.stop().await;
}

async fn routes_and_how_providers_differ_are_published_and_withdrawn(place: Place) {
    let world = World::start(&place).await;
    let plain = world.provider("plain", &[("a", "env://A")]).await;
    let member = Member::join(&world, "follower").await;
    let mut follower = member.follow().await;
    let told = follower.objects(world.store.revision().await.unwrap()).await;
    assert!(
        !told.iter().any(|object| matches!(object, Object::Route(_))),
        "no route, no item that older replicas refuse"
    );
    let provider = v1::Provider {
        name: "aws".into(),
        dialect: "bedrock_converse".into(),
        base_url: "https://bedrock-runtime.eu-west-1.amazonaws.com".into(),
        auth: "sigv4".into(),
        region: "eu-west-1".into(),
        quirks: vec!["top_k".into(), "no_effort".into()],
        ..Default::default()
    };
    let request = v1::CreateProviderRequest { provider: Some(provider) };
    let aws = world.providers().create_provider(request).await.unwrap().into_inner();
    let tiers = vec![tier(vec![target("aws", "m", 2)], &[]), tier(vec![target("plain", "", 1)], &["not_found"])];
    let made = create(&world, route("fast", &["claude-*"], tiers)).await.unwrap();
    let told = follower.objects(world.store.revision().await.unwrap()).await;
    for object in &told {
        match object {
            Object::Provider(provider) if provider.id.as_str() == aws.id => {
                assert_eq!((&provider.auth, &*provider.region), (&Auth::SigV4, "eu-west-1"));
                assert_eq!((&*provider.quirks, &*provider.vendor), ([Quirk::NoEffort, Quirk::TopK].as_slice(), "aws"));
            }
            Object::Provider(provider) => {
                assert_eq!((provider.id.as_str(), &provider.auth), (&*plain.id, &Auth::OfDialect))
            }
            _ => {}
        }
    }
    let routes = told.iter().filter_map(|object| match object {
        Object::Route(route) => Some(route),
        _ => None,
    });
    let routes: Vec<_> = routes.collect();
    let [sent] = routes.as_slice() else { panic!("{routes:?}") };
    assert_eq!((sent.id.as_str(), sent.tiers.len()), (&*made.id, 2));
    assert_eq!((sent.tiers[0].targets[0].weight, sent.tiers[0].on), (2, Conditions::default()));
    assert_eq!(sent.tiers[1].on, [Condition::NotFound].into_iter().collect());
    // A new replica is told the same at once, and who follows is told that it is gone.
    assert_eq!(crate::fleet::told(&world).await.len(), told.len());
    world.routes().delete_route(v1::DeleteRouteRequest { route: "fast".into(), ..Default::default() }).await.unwrap();
    let left = follower.objects(world.store.revision().await.unwrap()).await;
    assert_eq!(left.len(), told.len() - 1);
    assert!(!left.iter().any(|object| matches!(object, Object::Route(_))));
    world.stop().await;
}

async fn where_requests_go_is_what_a_replica_would_decide(place: Place) {
    let world = World::start(&place).await;
    world.provider("anthropic", &[("a", "env://A")]).await;
    let openai = v1::Provider {
        name: "openai".into(),
        dialect: "openai_chat".into(),
        base_url: "https://api.openai.com/v1".into(),
        credentials: vec![v1::Credential { name: "o".into(), secret: "env://O".into(), ..Default::default() }],
        ..Default::default()
    };
    let request = v1::CreateProviderRequest { provider: Some(openai) };
    let openai = world.providers().create_provider(request).await.unwrap().into_inner();
    world.any_key("k").await;
    world.team("other", "k-customer").await;
    let told = |answer: &v1::ExplainRouteResponse| {
        let target = |target: &v1::ExplainedTarget| {
            let v1::ExplainedTarget { provider_name, model, tier, weight, on, priced, .. } = target;
            format!("{tier} {provider_name}/{model}={weight} {} {priced}", on.join(","))
        };
        answer.targets.iter().map(target).collect::<Vec<_>>()
    };
    let plain = explain(&world, "k", "claude-opus-4-8").await;
    assert_eq!((plain.route.is_none(), told(&plain)), (true, vec!["0 anthropic/claude-opus-4-8=1  true".into()]));
    let tiers = vec![
        tier(vec![target("openai", "gpt-5-mini", 3), target("anthropic", "", 1)], &[]),
        tier(vec![target("openai", "house-model", 1)], &["timeout"]),
    ];
    let wanted = v1::Route { teams: vec!["k-team".into()], ..route("fast", &["claude-*"], tiers) };
    let made = create(&world, wanted).await.unwrap();
    let routed = explain(&world, "k", "claude-opus-4-8").await;
    assert_eq!(routed.route.as_ref(), Some(&made));
    let expect =
        ["0 openai/gpt-5-mini=3  true", "0 anthropic/claude-opus-4-8=1  true", "1 openai/house-model=1 timeout false"];
    assert_eq!(told(&routed), expect);
    assert_eq!((routed.targets[0].provider.as_str(), routed.targets[0].dialect.as_str()), (&*openai.id, "openai_chat"));
    // It is not for another team's key, and an earlier one decides alone.
    world.key(v1::Key { name: "far".into(), team: "other".into(), ..Default::default() }).await.unwrap();
    assert!(explain(&world, "far", "claude-opus-4-8").await.route.is_none());
    let nowhere = v1::Route {
        priority: -1,
        ..route("nowhere", &["claude-opus-*"], vec![tier(vec![target("openai", "", 1)], &[])])
    };
    create(&world, nowhere).await.unwrap();
    let only = v1::Provider { name: "openai".into(), models: vec!["gpt-*".into()], ..Default::default() };
    let request = v1::UpdateProviderRequest { provider: Some(only), update_mask: mask(&["models"]) };
    world.providers().update_provider(request).await.unwrap();
    let refused = explain(&world, "k", "claude-opus-4-8").await;
    assert!(refused.targets.is_empty() && refused.refusal.contains("No provider"), "{}", refused.refusal);
    let limited = v1::Key { name: "k".into(), models: vec!["gpt-*".into()], ..Default::default() };
    let request = v1::UpdateKeyRequest { key: Some(limited), update_mask: mask(&["models"]) };
    world.keys().update_key(request).await.unwrap();
    assert!(explain(&world, "k", "claude-sonnet-4-5").await.refusal.contains("is not allowed"));
    world.keys().revoke_key(v1::RevokeKeyRequest { key: "k".into(), reason: String::new() }).await.unwrap();
    assert!(explain(&world, "k", "gpt-5-mini").await.refusal.contains("was revoked"));
    let request = v1::ExplainRouteRequest { key: "nobody".into(), model: "m".into(), ..Default::default() };
    assert_eq!(code(world.routes().explain_route(request).await), Code::NotFound);
    world.stop().await;
}

fn millis(millis: u64) -> Option<Duration> {
    Some(Duration::try_from(std::time::Duration::from_millis(millis)).unwrap())
}

async fn when_a_route_decides_and_how_long_it_waits_is_kept_checked_and_published(place: Place) {
    let world = World::start(&place).await;
    world.provider("p", &[("a", "env://A")]).await;
    let plain = || route("r", &["x"], vec![tier(vec![target("p", "", 1)], &[])]);
    let usual = create(&world, v1::Route { name: "usual".into(), ..plain() }).await.unwrap();
    let paced = |route: &v1::Route| {
        let v1::Route { rule, balance, first_byte_timeout, hedge_after, deadline, .. } = route.clone();
        (rule, balance, first_byte_timeout, hedge_after, deadline)
    };
    assert_eq!(paced(&usual), (String::new(), "weight".into(), None, None, None));
    let wanted = v1::Route {
        rule: " budget.used > 0.9 ".into(),
        balance: "latency".into(),
        first_byte_timeout: millis(1_500),
        hedge_after: millis(700),
        deadline: millis(600_000),
        ..plain()
    };
    let made = create(&world, wanted).await.unwrap();
    let expect = ("budget.used > 0.9".to_owned(), "latency".to_owned(), millis(1_500), millis(700), millis(600_000));
    assert_eq!(paced(&made), expect);
    let get = v1::GetRouteRequest { route: "r".into() };
    assert_eq!(world.routes().get_route(get).await.unwrap().into_inner(), made);

    let bad = v1::Route {
        rule: "colour == 'red'".into(),
        balance: "speed".into(),
        first_byte_timeout: millis(99),
        hedge_after: millis(99),
        deadline: millis(86_400_001),
        ..plain()
    };
    let refused = create(&world, bad).await;
    let said = refused.as_ref().unwrap_err().message().to_owned();
    assert!(said.contains("rule knows nothing of \"colour\": a rule is about request, caller"), "{said}");
    assert_eq!(violations(refused), ["balance", "deadline", "first_byte_timeout", "hedge_after", "rule"]);
    let bounds = [
        (v1::Route { first_byte_timeout: millis(3_600_001), ..plain() }, "first_byte_timeout"),
        (v1::Route { first_byte_timeout: Some(Duration { seconds: 1, nanos: 1 }), ..plain() }, "first_byte_timeout"),
        (v1::Route { first_byte_timeout: Some(Duration { seconds: -1, nanos: 0 }), ..plain() }, "first_byte_timeout"),
        (v1::Route { hedge_after: millis(600_001), ..plain() }, "hedge_after"),
        (v1::Route { hedge_after: millis(1_500), ..plain() }, "hedge_after"),
        (v1::Route { deadline: millis(999), ..plain() }, "deadline"),
        (v1::Route { rule: "headers['x-team'] == 'a'".into(), ..plain() }, "rule"),
        (v1::Route { rule: "true || ".repeat(200), ..plain() }, "rule"),
        (v1::Route { rule: " ".into(), ..plain() }, "rule"),
    ];
    for (route, field) in bounds {
        let route = v1::Route { id: made.id.clone(), ..route };
        assert_eq!(violations(update(&world, route.clone(), &[field]).await), [field], "{route:?}");
    }

    // What is said apart has to fit together all the same, whichever of the two is said.
    let late = v1::Route { id: made.id.clone(), first_byte_timeout: millis(700), ..plain() };
    let refused = update(&world, late, &["first_byte_timeout"]).await;
    let said = refused.as_ref().unwrap_err().message().to_owned();
    assert!(said.contains("hedge_after must be shorter than first_byte_timeout"), "{said}");
    assert_eq!(violations(refused), ["hedge_after"]);

    // Each is changed by its own name, and what is written back changes nothing.
    let revision = world.store.revision().await.unwrap();
    let all = ["rule", "balance", "first_byte_timeout", "hedge_after", "deadline"];
    assert_eq!(update(&world, made.clone(), &all).await.unwrap(), made);
    assert_eq!(world.store.revision().await.unwrap(), revision);
    let nothing = v1::Route { id: made.id.clone(), ..Default::default() };
    let (rule, balance, timeout, hedge, deadline) = expect;
    for (field, expect) in [
        ("deadline", (rule.clone(), balance.clone(), timeout, hedge, None)),
        ("first_byte_timeout", (rule.clone(), balance.clone(), None, hedge, None)),
        ("hedge_after", (rule.clone(), balance.clone(), None, None, None)),
        ("balance", (rule.clone(), "weight".to_owned(), None, None, None)),
    ] {
        assert_eq!(paced(&update(&world, nothing.clone(), &[field]).await.unwrap()), expect, "{field}");
    }
    let entry = world.log("action=route.update").await.pop().unwrap();
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
    assert_eq!(detail["changed"], json!({"balance": {"before": "latency", "after": "weight"}}));
    let back = v1::Route { deadline, balance, first_byte_timeout: timeout, hedge_after: hedge, ..nothing.clone() };
    update(&world, back, &["deadline", "balance", "first_byte_timeout", "hedge_after"]).await.unwrap();
    for object in crate::fleet::told(&world).await {
        let Object::Route(sent) = object else { continue };
        let told = (sent.rule.as_ref().map(|rule| rule.text().to_owned()), sent.balance);
        let waits =
            [sent.first_byte_timeout, sent.hedge_after, sent.deadline].map(|wait| wait.map(|wait| wait.as_millis()));
        let expect = match sent.id.as_str() == made.id {
            true => ((Some(rule.clone()), Balance::Latency), [Some(1_500), Some(700), Some(600_000)]),
            false => ((None, Balance::Weight), [None; 3]),
        };
        assert_eq!((told, waits), expect);
    }
    assert_eq!(paced(&update(&world, nothing, &["rule"]).await.unwrap()).0, "");
    world.stop().await;
}

async fn a_rule_is_told_what_the_question_supposes(place: Place) {
    let world = World::start(&place).await;
    world.provider("plain", &[("a", "env://A")]).await;
    world.provider("ruled", &[("b", "env://B")]).await;
    world.any_key("k").await;
    world.user("ada").await;
    let owned = v1::Key { name: "k".into(), user: "ada".into(), ..Default::default() };
    let request = v1::UpdateKeyRequest { key: Some(owned), update_mask: mask(&["user"]) };
    world.keys().update_key(request).await.unwrap();
    let ruled = route("ruled", &["*"], vec![tier(vec![target("ruled", "", 1)], &[])]);
    let id = create(&world, v1::Route { priority: -1, ..ruled }).await.unwrap().id;
    create(&world, route("plain", &["*"], vec![tier(vec![target("plain", "", 1)], &[])])).await.unwrap();
    let asked = v1::ExplainRouteRequest {
        key: "k".into(),
        model: "claude-opus-4-8".into(),
        region: "eu-west".into(),
        headers: [("X-Team".to_owned(), "a".to_owned())].into(),
        budget_used: 0.95,
        stream: true,
        bytes: 400_000,
        ..Default::default()
    };
    let decided = async |rule: &str, asked: &v1::ExplainRouteRequest| {
        let route = v1::Route { id: id.clone(), rule: rule.into(), ..Default::default() };
        update(&world, route, &["rule"]).await.unwrap();
        let answer = world.routes().explain_route(asked.clone()).await.unwrap().into_inner();
        answer.route.map(|route| route.name).unwrap_or(answer.refusal)
    };
    for (rule, expect) in [
        ("region.startsWith('eu-')", "ruled"),
        ("region == 'us-east-1'", "plain"),
        ("'x-team' in headers && headers['x-team'] == 'a'", "ruled"),
        ("budget.used > 0.96", "plain"),
        ("request.stream && request.bytes >= 400000 && request.model == 'claude-opus-4-8'", "ruled"),
        ("request.dialect == 'anthropic' && request.operation == 'messages'", "ruled"),
        (
            "caller.key == 'k' && caller.team == 'k-team' && caller.customer == 'k-customer' && caller.user == 'ada'",
            "ruled",
        ),
        ("now > timestamp('2020-01-01T00:00:00Z')", "ruled"),
        ("request.max_tokens > 0 || caller.session != ''", "plain"),
    ] {
        assert_eq!(decided(rule, &asked).await, expect, "{rule}");
    }
    // A rule that cannot be decided refuses, and is not passed over.
    let odd = v1::ExplainRouteRequest { bytes: 400_001, ..asked };
    let undecided = decided("10 / (request.bytes - 400001) > 0", &odd).await;
    assert!(undecided.contains("The rule of the route \"ruled\" cannot be decided"), "{undecided}");
    let nothing = v1::ExplainRouteRequest { key: "k".into(), model: "m".into(), ..Default::default() };
    assert_eq!(decided("budget.used == 0.0 && region == '' && !request.stream", &nothing).await, "ruled");
    let openai = v1::ExplainRouteRequest { dialect: "openai_chat".into(), ..nothing.clone() };
    assert_eq!(decided("request.operation == 'chat_completions'", &openai).await, "ruled");

    let bad = v1::ExplainRouteRequest {
        region: "eu west".into(),
        headers: (0..101).map(|at| (format!("x-{at}"), String::new())).collect(),
        budget_used: f64::NAN,
        bytes: -1,
        ..nothing
    };
    let refused = world.routes().explain_route(bad).await;
    assert_eq!(violations(refused), ["budget_used", "bytes", "headers", "region"]);
    world.stop().await;
}

async fn regions_and_the_providers_of_a_team_bound_where_requests_go(place: Place) {
    let world = World::start(&place).await;
    for (name, region) in [("eu", "eu-west-1"), ("us", "us-east-1"), ("somewhere", "")] {
        let provider = v1::Provider {
            name: name.into(),
            dialect: "anthropic".into(),
            base_url: "https://api.anthropic.com".into(),
            region: region.into(),
            credentials: vec![v1::Credential { name: "a".into(), secret: "env://A".into(), ..Default::default() }],
            ..Default::default()
        };
        let request = v1::CreateProviderRequest { provider: Some(provider) };
        world.providers().create_provider(request).await.unwrap();
    }
    world.any_key("k").await;
    let asked = async |region: &str| {
        let request = v1::ExplainRouteRequest {
            key: "k".into(),
            model: "claude-opus-4-8".into(),
            region: region.into(),
            ..Default::default()
        };
        let answer = world.routes().explain_route(request).await.unwrap().into_inner();
        let names: Vec<_> = answer.targets.into_iter().map(|target| target.provider_name).collect();
        if names.is_empty() { answer.refusal } else { names.join(" ") }
    };
    let bind = async |key: &[&str], providers: &[&str], team: &[&str]| {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let key = v1::Key { name: "k".into(), regions: texts(key), ..Default::default() };
        let request = v1::UpdateKeyRequest { key: Some(key), update_mask: mask(&["regions"]) };
        world.keys().update_key(request).await.unwrap();
        let team =
            v1::Team { name: "k-team".into(), providers: texts(providers), regions: texts(team), ..Default::default() };
        let request = v1::UpdateTeamRequest { team: Some(team), update_mask: mask(&["providers", "regions"]) };
        world.teams().update_team(request).await.unwrap();
    };
    assert_eq!(asked("").await, "eu somewhere us");
    bind(&["eu-*"], &[], &[]).await;
    assert_eq!(asked("eu-central").await, "eu");
    for elsewhere in ["us-west", ""] {
        let refused = asked(elsewhere).await;
        assert!(refused.contains("its data stays in eu-*"), "{refused}");
    }
    bind(&[], &["us", "somewhere"], &[]).await;
    assert_eq!(asked("").await, "somewhere us");
    bind(&["*-1"], &["us", "eu"], &["us-*"]).await;
    assert_eq!(asked("us-east-1").await, "us");
    world.stop().await;
}

async fn what_a_request_may_lose_is_told_for_each_target(place: Place) {
    let world = World::start(&place).await;
    world.provider("anthropic", &[("a", "env://A")]).await;
    for (name, dialect, quirks) in
        [("openai", "openai_chat", vec![]), ("vllm", "openai_chat", vec!["top_k"]), ("aws", "bedrock_invoke", vec![])]
    {
        let provider = v1::Provider {
            name: name.into(),
            dialect: dialect.into(),
            base_url: "https://models.example/v1".into(),
            quirks: quirks.into_iter().map(str::to_owned).collect(),
            credentials: vec![v1::Credential { name: "a".into(), secret: "env://A".into(), ..Default::default() }],
            ..Default::default()
        };
        let request = v1::CreateProviderRequest { provider: Some(provider) };
        world.providers().create_provider(request).await.unwrap();
    }
    world.any_key("k").await;
    let targets = ["openai", "vllm", "anthropic", "aws"].map(|name| target(name, "", 1)).to_vec();
    create(&world, route("all", &["*"], vec![tier(targets, &[])])).await.unwrap();
    let lost = async |dialect: &str| {
        let request = v1::ExplainRouteRequest {
            key: "k".into(),
            model: "m".into(),
            dialect: dialect.into(),
            ..Default::default()
        };
        let answer = world.routes().explain_route(request).await.unwrap().into_inner();
        let becomes = |target: &v1::ExplainedTarget, feature: &str| {
            target.losses.iter().find(|loss| loss.feature == feature).map(|loss| loss.becomes.clone())
        };
        let told = |target: v1::ExplainedTarget| {
            let found = ["top_k", "cache_control", "document_text"].map(|feature| becomes(&target, feature));
            let found: Vec<_> = found.into_iter().map(|found| found.unwrap_or_else(|| "-".to_owned())).collect();
            format!("{} {} {}", target.provider_name, target.losses.is_empty(), found.join(" "))
        };
        answer.targets.into_iter().map(told).collect::<Vec<_>>()
    };
    let expect = [
        "openai false dropped dropped approximated",
        "vllm false - dropped approximated",
        "anthropic true - - -",
        "aws true - - -",
    ];
    assert_eq!(lost("").await, expect);
    let expect = ["openai true - - -", "vllm true - - -", "anthropic false - - -", "aws false - - -"];
    assert_eq!(lost("openai_chat").await, expect);
    world.stop().await;
}
