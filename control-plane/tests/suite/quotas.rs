//! Budgets and limits: fields of four kinds of owners, and the service that shows how budgets stand.

use tollgate_control_plane::store::{Statement, Txn};
use tollgate_policy::{
    budget::{Enforcement, Grace, Holding},
    id::ProviderId,
    limit::{Measure, RunawayAction},
    money::NanoUsd,
    snapshot::Object,
};
use tollgate_proto::admin::v1::{
    self, Budget, BudgetAlignment, BudgetEnforcement, BudgetHolding, RateLimit, RateMeasure, SessionLimit,
};
use tonic::{Code, Status};

use crate::world::{Place, World, code, mask, over_both, violations};

over_both! {
    each_kind_of_owner_has_budgets_and_limits
    a_budget_keeps_its_id_while_what_tells_it_apart_stays
    every_wrong_field_of_a_quota_is_named
    a_mask_changes_what_it_names_and_nothing_else
    a_retired_budget_lets_its_provider_go
    a_replica_accepts_every_quota
    budgets_are_listed_by_owner_and_in_pages
    a_budget_stands_as_its_books_say
    a_budget_whose_limit_is_lowered_is_recalled
    the_log_tells_of_the_budget_that_changed
}

const KINDS: [&str; 4] = ["customer", "team", "user", "key"];
const HOUR_MS: i64 = 3_600_000;

/// What the four kinds of owners have in common.
#[derive(Clone, Debug, Default, PartialEq)]
struct Held {
    id: String,
    etag: String,
    budgets: Vec<Budget>,
    limits: Vec<RateLimit>,
    session_limit: Option<SessionLimit>,
}

macro_rules! held {
    ($from:expr) => {{
        let from = $from;
        Held {
            id: from.id,
            etag: from.etag,
            budgets: from.budgets,
            limits: from.limits,
            session_limit: from.session_limit,
        }
    }};
}

macro_rules! owner {
    ($kind:ident, $held:expr $(, $field:ident: $value:expr)*) => {{
        let Held { id, etag: _, budgets, limits, session_limit } = $held;
        Some(v1::$kind { id, budgets, limits, session_limit, $($field: $value,)* ..Default::default() })
    }};
}

async fn create(world: &World, kind: &str, name: &str, held: Held) -> Result<Held, Status> {
    let name = name.to_owned();
    Ok(match kind {
        "customer" => {
            let request = v1::CreateCustomerRequest { customer: owner!(Customer, held, name: name) };
            held!(world.customers().create_customer(request).await?.into_inner())
        }
        "team" => {
            let team = owner!(Team, held, name: name, customer: "acme".into());
            held!(world.teams().create_team(v1::CreateTeamRequest { team }).await?.into_inner())
        }
        "user" => {
            let user = owner!(User, held, name: name);
            held!(world.users().create_user(v1::CreateUserRequest { user }).await?.into_inner())
        }
        _ => {
            let key = owner!(Key, held, name: name, team: "platform".into());
            held!(world.keys().create_key(v1::CreateKeyRequest { key }).await?.into_inner().key.unwrap())
        }
    })
}

async fn update(world: &World, kind: &str, held: Held, paths: &[&str]) -> Result<Held, Status> {
    let update_mask = mask(paths);
    Ok(match kind {
        "customer" => {
            let request = v1::UpdateCustomerRequest { customer: owner!(Customer, held), update_mask };
            held!(world.customers().update_customer(request).await?.into_inner())
        }
        "team" => {
            let request = v1::UpdateTeamRequest { team: owner!(Team, held), update_mask };
            held!(world.teams().update_team(request).await?.into_inner())
        }
        "user" => {
            let request = v1::UpdateUserRequest { user: owner!(User, held), update_mask };
            held!(world.users().update_user(request).await?.into_inner())
        }
        _ => {
            let request = v1::UpdateKeyRequest { key: owner!(Key, held), update_mask };
            held!(world.keys().update_key(request).await?.into_inner())
        }
    })
}

async fn get(world: &World, kind: &str, id: &str) -> Held {
    let named = id.to_owned();
    match kind {
        "customer" => {
            let request = v1::GetCustomerRequest { customer: named };
            held!(world.customers().get_customer(request).await.unwrap().into_inner())
        }
        "team" => held!(world.teams().get_team(v1::GetTeamRequest { team: named }).await.unwrap().into_inner()),
        "user" => held!(world.users().get_user(v1::GetUserRequest { user: named }).await.unwrap().into_inner()),
        _ => held!(world.keys().get_key(v1::GetKeyRequest { key: named }).await.unwrap().into_inner()),
    }
}

async fn delete(world: &World, kind: &str, id: &str) {
    let (named, etag) = (id.to_owned(), String::new());
    match kind {
        "customer" => {
            let request = v1::DeleteCustomerRequest { customer: named, etag };
            world.customers().delete_customer(request).await.unwrap();
        }
        "team" => {
            world.teams().delete_team(v1::DeleteTeamRequest { team: named, etag }).await.unwrap();
        }
        "user" => {
            world.users().delete_user(v1::DeleteUserRequest { user: named, etag }).await.unwrap();
        }
        _ => {
            world.keys().delete_key(v1::DeleteKeyRequest { key: named, etag }).await.unwrap();
        }
    }
}

async fn list(world: &World, filter: &str) -> Result<Vec<v1::BudgetStatus>, Status> {
    let request = v1::ListBudgetsRequest { filter: filter.into(), ..Default::default() };
    Ok(world.budgets().list_budgets(request).await?.into_inner().budgets)
}

async fn find(world: &World, id: &str) -> Result<v1::BudgetStatus, Status> {
    Ok(world.budgets().get_budget(v1::GetBudgetRequest { budget: id.into() }).await?.into_inner())
}

/// A world with a customer `acme`, its team `platform` and a provider `p`.
async fn organised(place: &Place) -> (World, ProviderId) {
    let world = World::start(place).await;
    world.customer("acme").await;
    world.team("platform", "acme").await;
    let provider = world.provider("p", &[("a", "s")]).await;
    (world, ProviderId::parse(&provider.id).unwrap())
}

fn daily(limit_nano_usd: i64) -> Budget {
    Budget { limit_nano_usd, window: "1d".into(), ..Default::default() }
}

fn monthly(provider: &str) -> Budget {
    Budget {
        limit_nano_usd: 500_000_000_000,
        window: "1M".into(),
        alignment: BudgetAlignment::Calendar.into(),
        time_zone: "Europe/Berlin".into(),
        models: vec!["claude-*".into(), "!*opus*".into()],
        provider: provider.into(),
        enforcement: BudgetEnforcement::Hard.into(),
        holding: BudgetHolding::Strict.into(),
        thresholds: vec![90, 10],
        grace_nano_usd: 1_000_000_000,
        grace_seconds: 600,
        contact: "Grace, #platform".into(),
        ..Default::default()
    }
}

fn per_minute(amount: i64) -> RateLimit {
    RateLimit { measure: RateMeasure::Tokens.into(), amount, per_seconds: 60, models: vec!["claude-*".into()] }
}

fn parallel(amount: i64) -> RateLimit {
    RateLimit { measure: RateMeasure::Parallel.into(), amount, ..Default::default() }
}

fn full(provider: &str) -> Held {
    Held {
        budgets: vec![daily(10), monthly(provider)],
        limits: vec![per_minute(100), parallel(3)],
        session_limit: Some(SessionLimit { dollars_nano_usd: 7, requests: 8, repeats: 9, pause_seconds: 10 }),
        ..Default::default()
    }
}

async fn each_kind_of_owner_has_budgets_and_limits(place: Place) {
    let (world, provider) = organised(&place).await;
    for kind in KINDS {
        let made = create(&world, kind, "full", full("p")).await.unwrap();
        let [day, month] = made.budgets.as_slice() else { panic!("{made:?}") };
        let expect = Budget {
            id: day.id.clone(),
            alignment: BudgetAlignment::Rolling.into(),
            enforcement: BudgetEnforcement::Hard.into(),
            holding: BudgetHolding::Auto.into(),
            thresholds: vec![50, 80, 100],
            ..daily(10)
        };
        assert_eq!(*day, expect, "defaults are written out");
        let expect = Budget { id: month.id.clone(), thresholds: vec![10, 90], ..monthly(provider.as_str()) };
        assert_eq!(*month, expect);
        assert!(day.id.starts_with("budget-") && month.id.starts_with("budget-") && day.id != month.id);
        assert_eq!((&made.limits, &made.session_limit), (&full("p").limits, &full("p").session_limit));
        assert_eq!(get(&world, kind, &made.id).await, made);
        // What was read can be written back, and is no change.
        let same = update(&world, kind, made.clone(), &["budgets", "limits", "session_limit"]).await.unwrap();
        assert_eq!(same, made);
        let none = Held { id: made.id.clone(), ..Default::default() };
        let cleared = update(&world, kind, none, &["budgets", "limits", "session_limit"]).await.unwrap();
        assert_eq!(Held { id: made.id.clone(), etag: cleared.etag.clone(), ..Default::default() }, cleared);
        assert_eq!(list(&world, &format!("{kind}=full")).await.unwrap(), []);
        let again = update(&world, kind, Held { id: made.id.clone(), ..full("p") }, &["budgets"]).await.unwrap();
        assert!(again.budgets.iter().all(|new| made.budgets.iter().all(|old| old.id != new.id)), "the books are new");
        delete(&world, kind, &made.id).await;
        assert_eq!(code(find(&world, &again.budgets[0].id).await), Code::NotFound);
    }
    let retired = count(&world, "SELECT COUNT(*) AS n FROM budgets WHERE retired = 1 AND provider IS NULL").await;
    assert_eq!((retired, count(&world, "SELECT COUNT(*) AS n FROM budgets").await), (16, 16), "none is deleted");
    world.stop().await;
}

async fn a_budget_keeps_its_id_while_what_tells_it_apart_stays(place: Place) {
    let (world, _) = organised(&place).await;
    let other = world.provider("q", &[("a", "s")]).await;
    let made = create(&world, "team", "t", Held { budgets: vec![monthly("p")], ..Default::default() }).await.unwrap();
    let old = made.budgets[0].clone();
    let change = |budget: Budget| Held { id: made.id.clone(), budgets: vec![daily(1), budget], ..Default::default() };
    let zone = |zone: &str| Budget { time_zone: zone.into(), ..old.clone() };
    let models = |models: &[&str]| Budget { models: models.iter().map(|&model| model.into()).collect(), ..old.clone() };
    let rolling = Budget { alignment: BudgetAlignment::Rolling.into(), ..zone("") };
    for (budget, kept) in [
        (Budget { limit_nano_usd: 600_000_000_000, ..old.clone() }, true),
        (
            Budget { enforcement: BudgetEnforcement::Soft.into(), grace_nano_usd: 0, grace_seconds: 0, ..old.clone() },
            true,
        ),
        (
            Budget { holding: BudgetHolding::Auto.into(), thresholds: vec![1], contact: String::new(), ..old.clone() },
            true,
        ),
        (Budget { provider: "p".into(), id: String::new(), ..old.clone() }, true),
        (models(&["!*opus*", "claude-*"]), true),
        (zone("europe/berlin"), true),
        (Budget { window: "2M".into(), ..old.clone() }, false),
        (models(&["claude-*"]), false),
        (zone("America/New_York"), false),
        (rolling, false),
        (Budget { provider: other.id.clone(), ..old.clone() }, false),
        (Budget { provider: String::new(), ..old.clone() }, false),
    ] {
        let changed = update(&world, "team", change(budget.clone()), &["budgets"]).await.unwrap();
        let new = &changed.budgets[1];
        assert_eq!(new.id == old.id, kept, "{budget:?}");
        assert_eq!((new.limit_nano_usd, &new.window), (budget.limit_nano_usd, &budget.window));
        if !kept {
            assert_eq!(code(find(&world, &old.id).await), Code::NotFound);
            return_to(&world, &made, &old).await;
        }
    }
    world.stop().await;
}

// Makes the retired budget the current one again, so that the next row of the table begins as the first one did.
async fn return_to(world: &World, made: &Held, old: &Budget) {
    let none = Held { id: made.id.clone(), ..Default::default() };
    update(world, "team", none, &["budgets"]).await.unwrap();
    let provider =
        "UPDATE budgets SET retired = 0, provider = (SELECT id FROM providers WHERE name = 'p') WHERE id = $1";
    write(world, Statement::new(provider).bind(&old.id)).await;
    assert_eq!(get(world, "team", &made.id).await.budgets[0].id, old.id);
}

async fn every_wrong_field_of_a_quota_is_named(place: Place) {
    let (world, _) = organised(&place).await;
    let budget = |change: fn(&mut Budget)| {
        let mut budget = monthly("p");
        change(&mut budget);
        Held { budgets: vec![daily(1), budget], ..Default::default() }
    };
    let limit = |limit: RateLimit| Held { limits: vec![limit], ..Default::default() };
    let session = |limit: SessionLimit| Held { session_limit: Some(limit), ..Default::default() };
    let many = |models: usize| vec!["x".to_owned(); models];
    let crowd = (1..=17).map(|count| Budget { window: format!("{count}d"), ..daily(1) }).collect();
    for (held, expect) in [
        (budget(|budget| budget.limit_nano_usd = 0), "budgets[1].grace_nano_usd budgets[1].limit_nano_usd"),
        (budget(|budget| budget.window = "1 day".into()), "budgets[1].window"),
        (budget(|budget| budget.window = "1001d".into()), "budgets[1].window"),
        (budget(|budget| budget.window = String::new()), "budgets[1].window"),
        (budget(|budget| budget.window = "total".into()), "budgets[1].alignment"),
        (budget(|budget| budget.alignment = 9), "budgets[1].alignment"),
        (budget(|budget| budget.alignment = 0), "budgets[1].time_zone"),
        (budget(|budget| budget.time_zone = "Mars/Olympus".into()), "budgets[1].time_zone"),
        (budget(|budget| budget.models = vec!["ok".into(), "a b".into()]), "budgets[1].models[1]"),
        (budget(|budget| budget.models = vec!["x".into(); 201]), "budgets[1].models"),
        (budget(|budget| budget.models = vec!["x".into(); 401]), "budgets"),
        (budget(|budget| budget.provider = "nobody".into()), "budgets[1].provider"),
        (budget(|budget| budget.enforcement = 9), "budgets[1].enforcement"),
        (budget(|budget| budget.holding = 9), "budgets[1].holding"),
        (budget(|budget| budget.thresholds = vec![0]), "budgets[1].thresholds"),
        (budget(|budget| budget.thresholds = vec![101]), "budgets[1].thresholds"),
        (budget(|budget| budget.thresholds = vec![50, 50]), "budgets[1].thresholds"),
        (budget(|budget| budget.thresholds = (1..=17).collect()), "budgets[1].thresholds"),
        (budget(|budget| budget.grace_seconds = 0), "budgets[1].grace_seconds"),
        (budget(|budget| budget.grace_seconds = 86_401), "budgets[1].grace_seconds"),
        (budget(|budget| budget.grace_nano_usd = 0), "budgets[1].grace_seconds"),
        (budget(|budget| budget.grace_nano_usd = -1), "budgets[1].grace_nano_usd"),
        (budget(|budget| budget.grace_nano_usd = i64::MAX), "budgets[1].grace_nano_usd"),
        (budget(|budget| budget.enforcement = BudgetEnforcement::Soft.into()), "budgets[1].grace_nano_usd"),
        (budget(|budget| budget.contact = "x".repeat(121)), "budgets[1].contact"),
        (budget(|budget| budget.contact = "a\nb".into()), "budgets[1].contact"),
        (budget(|budget| budget.id = "budget-01k9zq3v5m8c4t2n7r6x0w1y9b".into()), "budgets[1].id"),
        (budget(|budget| *budget = daily(2)), "budgets[1]"),
        (Held { budgets: crowd, ..Default::default() }, "budgets"),
        (limit(RateLimit::default()), "limits[0].amount limits[0].measure"),
        (limit(per_minute(0)), "limits[0].amount"),
        (limit(RateLimit { measure: 9, ..per_minute(1) }), "limits[0].measure"),
        (limit(RateLimit { per_seconds: 0, ..per_minute(1) }), "limits[0].per_seconds"),
        (limit(RateLimit { per_seconds: 86_401, ..per_minute(1) }), "limits[0].per_seconds"),
        (limit(RateLimit { per_seconds: 1, ..parallel(1) }), "limits[0].per_seconds"),
        (limit(RateLimit { models: vec![String::new()], ..per_minute(1) }), "limits[0].models[0]"),
        (Held { limits: vec![parallel(1); 17], ..Default::default() }, "limits"),
        (Held { limits: vec![RateLimit { models: many(200), ..parallel(1) }; 3], ..Default::default() }, "limits"),
        (session(SessionLimit::default()), "session_limit"),
        (session(SessionLimit { pause_seconds: 5, ..Default::default() }), "session_limit"),
        (
            session(SessionLimit { dollars_nano_usd: -1, requests: -1, repeats: -1, pause_seconds: 86_401 }),
            "session_limit.dollars_nano_usd session_limit.pause_seconds session_limit.repeats session_limit.requests",
        ),
    ] {
        let expect: Vec<_> = expect.split(' ').collect();
        for kind in KINDS {
            assert_eq!(violations(create(&world, kind, "bad", held.clone()).await), expect, "{kind} {held:?}");
        }
    }
    world.stop().await;
}

async fn a_mask_changes_what_it_names_and_nothing_else(place: Place) {
    let (world, _) = organised(&place).await;
    for kind in KINDS {
        let made = create(&world, kind, "full", full("p")).await.unwrap();
        let asked = Held {
            id: made.id.clone(),
            budgets: vec![daily(20)],
            limits: vec![parallel(1)],
            session_limit: Some(SessionLimit { requests: 1, ..Default::default() }),
            ..Default::default()
        };
        let mut expect = made.clone();
        for path in ["budgets", "limits", "session_limit"] {
            let changed = update(&world, kind, asked.clone(), &[path]).await.unwrap();
            match path {
                "budgets" => expect.budgets = vec![Budget { limit_nano_usd: 20, ..made.budgets[0].clone() }],
                "limits" => expect.limits.clone_from(&asked.limits),
                _ => expect.session_limit = asked.session_limit,
            }
            expect.etag.clone_from(&changed.etag);
            assert_eq!(changed, expect, "{kind} {path}");
        }
        // What the mask does not name may be wrong.
        let wrong = Held { budgets: vec![Budget::default()], ..asked };
        update(&world, kind, wrong.clone(), &["limits"]).await.unwrap();
        let named = violations(update(&world, kind, wrong, &["budgets"]).await);
        assert_eq!(named, ["budgets[0].limit_nano_usd", "budgets[0].window"]);
        assert_eq!(get(&world, kind, &made.id).await, expect);
    }
    world.stop().await;
}

async fn a_retired_budget_lets_its_provider_go(place: Place) {
    let (world, _) = organised(&place).await;
    let held = Held { budgets: vec![monthly("p")], ..Default::default() };
    let key = create(&world, "key", "k", held.clone()).await.unwrap();
    let user = create(&world, "user", "ada", held).await.unwrap();
    let remove = async || {
        let request = v1::DeleteProviderRequest { provider: "p".into(), ..Default::default() };
        world.providers().delete_provider(request).await.map(drop)
    };
    let status = remove().await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("budgets of key 'k', user 'ada':"), "{}", status.message());
    update(&world, "key", Held { budgets: Vec::new(), ..key }, &["budgets"]).await.unwrap();
    let status = remove().await.unwrap_err();
    assert!(status.message().contains("budgets of user 'ada':"), "{}", status.message());
    delete(&world, "user", &user.id).await;
    remove().await.unwrap();
    world.stop().await;
}

async fn a_replica_accepts_every_quota(place: Place) {
    let (world, provider) = organised(&place).await;
    let mut made = Vec::new();
    for kind in KINDS {
        made.push(create(&world, kind, "full", full("p")).await.unwrap());
    }
    let longest = |at: usize| format!("{at:0>200}");
    let patterns = |from: usize| (from..from + 25).map(longest).collect::<Vec<_>>();
    let largest = Held {
        budgets: (0..16).map(|at| Budget { models: patterns(25 * at), ..monthly("p") }).collect(),
        limits: (0..16).map(|at| RateLimit { models: patterns(25 * at), ..per_minute(i64::MAX) }).collect(),
        session_limit: Some(SessionLimit { dollars_nano_usd: i64::MAX, requests: i64::MAX, ..Default::default() }),
        ..Default::default()
    };
    create(&world, "key", "largest", largest).await.unwrap();
    let mut quotas = std::collections::HashMap::new();
    for object in crate::fleet::told(&world).await {
        let (id, name, quota) = match object {
            Object::Customer(owner) => (owner.id.to_string(), owner.name, owner.quota),
            Object::Team(owner) => (owner.id.to_string(), owner.name, owner.quota),
            Object::User(owner) => (owner.id.to_string(), owner.name, owner.quota),
            Object::Key(owner) => (owner.id.to_string(), owner.name, owner.quota),
            Object::Provider(_)
            | Object::Route(_)
            | Object::Guardrail(_)
            | Object::McpServer(_)
            | Object::Model(_)
            | Object::TokenKey(_)
            | Object::EndedSession(_) => continue,
        };
        assert_eq!(quota.is_some(), ["full", "largest"].contains(&&*name), "{name}");
        quotas.insert(id, quota);
    }
    assert_eq!(quotas.len(), 7);
    for held in made {
        let quota = quotas.remove(&held.id).flatten().unwrap();
        let [day, month] = quota.budgets.as_slice() else { panic!("{quota:?}") };
        assert_eq!([day.id.as_str(), month.id.as_str()], [&*held.budgets[0].id, &*held.budgets[1].id]);
        assert_eq!((day.limit, day.period.to_string().as_str(), &day.grace), (NanoUsd::new(10), "1d", &None));
        assert_eq!((month.enforcement, month.holding), (Enforcement::Hard, Holding::Strict));
        assert_eq!(month.grace, Some(Grace { amount: NanoUsd::DOLLAR, duration_ms: 600_000 }));
        assert_eq!((&*month.contact, month.provider.as_ref()), ("Grace, #platform", Some(&provider)));
        assert!(month.covers("claude-sonnet-5", Some(&provider)) && !month.covers("claude-opus-5", Some(&provider)));
        let limits: Vec<_> = quota.limits.iter().map(|limit| (limit.measure, limit.amount, limit.span_ms)).collect();
        assert_eq!(limits, [(Measure::Tokens, 100, 60_000), (Measure::Parallel, 3, 0)]);
        let session = quota.session.as_ref().unwrap();
        assert_eq!((session.dollars, session.requests, session.repeats), (Some(NanoUsd::new(7)), Some(8), Some(9)));
        assert_eq!(session.action, RunawayAction::Pause { seconds: 10 });
    }
    world.stop().await;
}

async fn budgets_are_listed_by_owner_and_in_pages(place: Place) {
    let (world, _) = organised(&place).await;
    let mut ids = Vec::new();
    for kind in KINDS {
        let made = create(&world, kind, "full", full("p")).await.unwrap();
        let mut own: Vec<_> = made.budgets.iter().map(|budget| budget.id.clone()).collect();
        own.sort();
        for filter in [format!("{kind}=full"), format!("{kind}={}", made.id)] {
            let listed = list(&world, &filter).await.unwrap();
            assert_eq!(listed.iter().map(|status| status.budget.clone().unwrap().id).collect::<Vec<_>>(), own);
            for status in &listed {
                assert_eq!((&*status.owner_kind, &status.owner, &*status.owner_name), (kind, &made.id, "full"));
                let budget = made.budgets.iter().find(|budget| budget.id == status.budget.as_ref().unwrap().id);
                assert_eq!(status.budget.as_ref(), budget);
            }
        }
        ids.extend(own);
    }
    let mut request = v1::ListBudgetsRequest { page_size: 3, ..Default::default() };
    let mut paged = Vec::new();
    loop {
        let page = world.budgets().list_budgets(request.clone()).await.unwrap().into_inner();
        paged.extend(page.budgets.into_iter().map(|status| status.budget.unwrap().id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(paged, ids);
    for bad in
        ["customer=nobody", "team=nobody", "user=nobody", "key=nobody", "name=full", "customer=full AND key=full"]
    {
        assert_eq!(violations(list(&world, bad).await), ["filter"], "{bad}");
    }
    assert_eq!(code(find(&world, "budget-01k9zq3v5m8c4t2n7r6x0w1y9b").await), Code::NotFound);
    world.stop().await;
}

async fn a_budget_stands_as_its_books_say(place: Place) {
    let (world, _) = organised(&place).await;
    let hourly = Budget { window: "1h".into(), ..daily(1_000_000) };
    let total = Budget { window: "total".into(), ..daily(1_000_000) };
    let held = Held { budgets: vec![hourly, total, monthly("p")], ..Default::default() };
    let made = create(&world, "team", "t", held).await.unwrap();
    let [hour, total, month] = [0, 1, 2].map(|at| made.budgets[at].id.clone());
    let fresh = find(&world, &hour).await.unwrap();
    let start = millis(fresh.window_start.as_ref());
    assert_eq!(millis(fresh.reset_time.as_ref()) - start, HOUR_MS);
    assert_eq!((fresh.settled_nano_usd, fresh.leased_nano_usd, fresh.free_nano_usd), (0, 0, 1_000_000));
    assert_eq!((fresh.burn_nano_usd_per_hour, fresh.empty_time), (0, None));
    assert_eq!(find(&world, &total).await.unwrap().reset_time, None);
    let month = find(&world, &month).await.unwrap();
    let days = (millis(month.reset_time.as_ref()) - millis(month.window_start.as_ref())) / HOUR_MS;
    assert!((28 * 24 - 1..=31 * 24 + 1).contains(&days), "{days}");

    // The current window has books; an older one does not count.
    open(&world, &hour, start - HOUR_MS, 999, 1).await;
    open(&world, &hour, start, 400_000, 100_000).await;
    let now = now_ms();
    spend(&world, &hour, now / 300_000 - 13, 70_000).await;
    spend(&world, &hour, now / 300_000, 50_000).await;
    let status = find(&world, &hour).await.unwrap();
    assert_eq!((status.settled_nano_usd, status.leased_nano_usd, status.free_nano_usd), (400_000, 100_000, 500_000));
    assert_eq!(millis(status.window_start.as_ref()), start);
    assert_eq!(status.burn_nano_usd_per_hour, 600_000, "a window that has just begun is taken to be five minutes old");
    assert_eq!(status.empty_time, None, "the window ends before that");
    assert_eq!(list(&world, "team=t").await.unwrap().iter().filter(|each| each.settled_nano_usd == 400_000).count(), 1);

    // A budget that never ends is empty in an hour and a half.
    open(&world, &total, millis(find(&world, &total).await.unwrap().window_start.as_ref()), 100_000, 950_000).await;
    spend(&world, &total, now / 300_000, 50_000).await;
    let status = find(&world, &total).await.unwrap();
    assert_eq!(status.free_nano_usd, 0, "less than nothing is not free");
    let empty = millis(status.empty_time.as_ref()) - now_ms();
    assert!((89 * 60_000..=91 * 60_000).contains(&empty), "{empty}");

    // A window that began in the future, by the clock of another control plane, stays the current one.
    open(&world, &hour, start + 3 * HOUR_MS, 7, 0).await;
    let status = find(&world, &hour).await.unwrap();
    assert_eq!((millis(status.window_start.as_ref()), status.settled_nano_usd), (start + 3 * HOUR_MS, 7));
    world.stop().await;
}

async fn the_log_tells_of_the_budget_that_changed(place: Place) {
    let (world, _) = organised(&place).await;
    for kind in KINDS {
        let made = create(&world, kind, "full", full("p")).await.unwrap();
        let mut new = made.clone();
        new.budgets[0].limit_nano_usd = 20;
        update(&world, kind, new, &["budgets"]).await.unwrap();
        let entry = world.log(&format!("action={kind}.update")).await.pop().unwrap();
        let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
        let changed = detail["changed"].as_object().unwrap();
        let field = format!("budgets.{}", made.budgets[0].id);
        assert_eq!(changed.keys().collect::<Vec<_>>(), [&field], "the other budget is not repeated");
        let limits = ["before", "after"].map(|side| changed[&field][side]["limit_nano_usd"].as_i64());
        assert_eq!(limits, [Some(10), Some(20)]);
        delete(&world, kind, &made.id).await;
        let entry = world.log(&format!("action={kind}.delete")).await.pop().unwrap();
        for word in ["session_limit", "per_seconds", "Europe/Berlin", "limit_nano_usd"] {
            assert!(entry.detail.contains(word), "{kind} {word}: {}", entry.detail);
        }
    }
    world.stop().await;
}

async fn write(world: &World, statement: Statement) {
    let mut txn: Txn = world.store.begin().await.unwrap();
    assert_eq!(txn.execute(statement).await.unwrap(), 1);
    txn.commit().await.unwrap();
}

async fn count(world: &World, select: &'static str) -> i64 {
    let mut txn = world.store.begin_read().await.unwrap();
    let number = txn.fetch_one(Statement::new(select)).await.unwrap().int("n").unwrap();
    txn.end().await.unwrap();
    number
}

async fn a_budget_whose_limit_is_lowered_is_recalled(place: Place) {
    let (world, _) = organised(&place).await;
    let budgets = vec![daily(10), monthly("p")];
    let mut made = create(&world, "team", "t", Held { budgets, ..Default::default() }).await.unwrap();
    for budget in &made.budgets {
        for start in [1_000, 2_000] {
            open(&world, &budget.id, start, 0, 5).await;
        }
    }
    for (limit, recalled) in [(20, 0), (9, 1)] {
        made.budgets[0].limit_nano_usd = limit;
        made = update(&world, "team", made, &["budgets"]).await.unwrap();
        let select = "SELECT COUNT(*) AS n FROM budget_windows WHERE scarce_time > 0 AND start_ms = 2000";
        assert_eq!(count(&world, select).await, recalled, "{limit}");
        let select = "SELECT COUNT(*) AS n FROM budget_windows WHERE scarce_time > 0";
        assert_eq!(count(&world, select).await, recalled, "only what is lent of the newest window: {limit}");
    }
    world.stop().await;
}

async fn open(world: &World, budget: &str, start_ms: i64, settled: i64, leased: i64) {
    let insert = Statement::new(
        "INSERT INTO budget_windows (budget, start_ms, end_ms, settled, leased, alerted, scarce_time)
         VALUES ($1, $2, $3, $4, $5, 0, 0)",
    );
    let end = if find(world, budget).await.unwrap().reset_time.is_some() { Some(start_ms + HOUR_MS) } else { None };
    write(world, insert.bind(budget).bind(start_ms).bind(end).bind(settled).bind(leased)).await;
}

async fn spend(world: &World, budget: &str, slot: i64, amount: i64) {
    let insert = Statement::new("INSERT INTO budget_spend (budget, slot, amount) VALUES ($1, $2, $3)");
    write(world, insert.bind(budget).bind(slot).bind(amount)).await;
}

fn millis(at: Option<&prost_types::Timestamp>) -> i64 {
    let at = at.unwrap();
    at.seconds * 1_000 + i64::from(at.nanos) / 1_000_000
}

fn now_ms() -> i64 {
    tollgate_control_plane::clock::now_ms()
}
