//! Decisions over a small world.

use tollgate_rule::Rule;

use super::*;
use crate::{
    id::{CustomerId, KeyId, ProviderId, TeamId, UserId},
    pattern::Patterns,
    provider::Auth,
    route::{Balance, RouteTarget, Scope, Tier},
    snapshot::{AuditMode, Credential, Customer, Object, ObjectRef, Team, User},
};

const NOW: UnixMillis = UnixMillis::new(1_000);

fn ulid(last: char) -> String {
    format!("01k9zq3v5m8c4t2n7r6x0w1y9{last}")
}

fn key() -> Key {
    Key {
        id: KeyId::from_ulid(&ulid('k')).unwrap(),
        name: "dev".into(),
        hash: KeyHash::new([1; 32]),
        team: TeamId::from_ulid(&ulid('t')).unwrap(),
        user: Some(UserId::from_ulid(&ulid('v')).unwrap()),
        revoked: false,
        expires: None,
        models: Patterns::parse(&["claude-*", "!*opus*"]).unwrap(),
        providers: Arc::new([]),
        credentials: Arc::new([]),
        quota: None,
        audit: AuditMode::Required,
        regions: Patterns::default(),
        tools: crate::mcp::Access::default(),
        tool_rules: std::sync::Arc::default(),
    }
}

fn provider(last: char, priority: i32) -> Provider {
    let credential = |name: &str, last: char, disabled: bool| Credential {
        id: CredentialId::from_ulid(&ulid(last)).unwrap(),
        name: name.into(),
        weight: 1,
        disabled,
        reference: None,
    };
    Provider {
        id: ProviderId::from_ulid(&ulid(last)).unwrap(),
        name: format!("provider-{last}").into(),
        dialect: Dialect::Anthropic,
        base_url: "https://api.example.com".into(),
        allow_private: false,
        models: Patterns::default(),
        vendor: "anthropic".into(),
        disabled: false,
        priority,
        credentials: vec![credential("one", '1', false), credential("two", '2', false), credential("off", '3', true)],
        auth: Auth::OfDialect,
        region: "".into(),
        quirks: Arc::new([]),
    }
}

fn world() -> Snapshot {
    let customer = CustomerId::from_ulid(&ulid('c')).unwrap();
    let team = Team {
        id: key().team,
        name: "platform".into(),
        customer: customer.clone(),
        disabled: false,
        quota: None,
        providers: Arc::new([]),
        regions: Patterns::default(),
    };
    let objects = vec![
        Object::Customer(Customer { id: customer, name: "acme".into(), disabled: false, quota: None }),
        Object::Team(team),
        Object::User(User { id: key().user.unwrap(), name: "ada".into(), disabled: false, quota: None }),
        Object::Key(key()),
        Object::Provider(provider('b', 2)),
        Object::Provider(provider('a', 1)),
    ];
    Snapshot::default().next(1, objects, vec![])
}

fn refused(snapshot: &Snapshot, now: UnixMillis) -> Option<RefusalKind> {
    authenticate(snapshot, now, &KeyHash::new([1; 32])).err().map(|refusal| refusal.kind())
}

#[test]
fn a_key_needs_everything_above_it_to_stand() {
    let world = world();
    assert_eq!(refused(&world, NOW), None);
    let changed = |change: &dyn Fn(&mut Key)| {
        let mut key = key();
        change(&mut key);
        world.next(2, vec![Object::Key(key)], vec![])
    };
    let team = world.team(&key().team).unwrap().clone();
    let user = world.user(&key().user.unwrap()).unwrap().clone();
    let customer = world.customer(&team.customer).unwrap().clone();
    for (name, snapshot, expect) in [
        ("revoked", changed(&|key| key.revoked = true), RefusalKind::KeyRevoked),
        ("expired", changed(&|key| key.expires = Some(NOW)), RefusalKind::KeyExpired),
        ("unknown", changed(&|key| key.hash = KeyHash::new([2; 32])), RefusalKind::Unauthenticated),
        ("team gone", world.next(2, vec![], vec![ObjectRef::Team(team.id.clone())]), RefusalKind::OwnerDisabled),
        ("team off", put(&world, Object::Team(Team { disabled: true, ..team.clone() })), RefusalKind::OwnerDisabled),
        ("user off", put(&world, Object::User(User { disabled: true, ..user })), RefusalKind::OwnerDisabled),
        (
            "customer off",
            put(&world, Object::Customer(Customer { disabled: true, ..customer })),
            RefusalKind::OwnerDisabled,
        ),
    ] {
        assert_eq!(refused(&snapshot, NOW), Some(expect), "{name}");
        let caller = authenticate(&world, NOW, &KeyHash::new([1; 32])).unwrap();
        assert!(reconsider(&snapshot, NOW, &caller).is_err(), "{name}: an open stream is decided the same way");
    }
}

fn put(world: &Snapshot, object: Object) -> Snapshot {
    world.next(2, vec![object], vec![])
}

fn granted(snapshot: &Snapshot, model: &str) -> Result<Vec<String>, RefusalKind> {
    let caller = authenticate(snapshot, NOW, &KeyHash::new([1; 32])).unwrap();
    let granted = authorize(snapshot, &caller, &ask(model));
    granted
        .map(|granted| granted.targets().iter().map(|target| target.provider.name.to_string()).collect())
        .map_err(|r| r.kind())
}

#[test]
fn targets_come_in_the_order_of_priority_and_only_where_the_key_may_go() {
    let world = world();
    assert_eq!(granted(&world, "claude-sonnet-5-5"), Ok(vec!["provider-a".into(), "provider-b".into()]));
    assert_eq!(granted(&world, "claude-opus-5-5"), Err(RefusalKind::ModelDenied));
    let only = |providers: Vec<ProviderId>, credentials: Vec<CredentialId>| {
        put(&world, Object::Key(Key { providers: providers.into(), credentials: credentials.into(), ..key() }))
    };
    assert_eq!(granted(&only(vec![provider('b', 0).id], vec![]), "claude-x"), Ok(vec!["provider-b".into()]));
    let nowhere = ProviderId::from_ulid(&ulid('z')).unwrap();
    assert_eq!(granted(&only(vec![nowhere], vec![]), "claude-x"), Err(RefusalKind::NoProvider));
    let disabled = CredentialId::from_ulid(&ulid('3')).unwrap();
    assert_eq!(granted(&only(vec![], vec![disabled]), "claude-x"), Err(RefusalKind::NoProvider));
}

fn model(vendor: &str, name: &str) -> Object {
    Object::Model(Model {
        vendor: vendor.into(),
        name: name.into(),
        display_name: name.into(),
        aliases: vec![],
        context_window: 9,
        output_max: 0,
        price: None,
    })
}

fn to(provider: char, model: Option<&str>, weight: u32) -> RouteTarget {
    RouteTarget { provider: ProviderId::from_ulid(&ulid(provider)).unwrap(), model: model.map(Into::into), weight }
}

fn routed_to(name: char, models: &[&str], tiers: Vec<Vec<RouteTarget>>) -> Route {
    let tier = |targets| Tier { targets, on: Conditions::default() };
    Route {
        id: crate::id::RouteId::from_ulid(&ulid(name)).unwrap(),
        name: name.to_string().into(),
        models: Patterns::parse(models).unwrap(),
        scope: Scope::default(),
        priority: 0,
        disabled: false,
        strict: false,
        tiers: tiers.into_iter().map(tier).collect(),
        rule: None,
        balance: Balance::Weight,
        first_byte_timeout: None,
        hedge_after: None,
        deadline: None,
    }
}

// A request from the north, of a budget that is nearly used up, with one header.
#[derive(Debug)]
struct Nearly;

impl Facts for Nearly {
    fn request(&self) -> tollgate_rule::Request {
        tollgate_rule::Request { model: "claude-x".into(), stream: true, ..tollgate_rule::Request::default() }
    }

    fn caller(&self) -> tollgate_rule::Who {
        tollgate_rule::Who::default()
    }

    fn headers(&self) -> Vec<(String, String)> {
        vec![("x-tier".into(), "low".into())]
    }

    fn budget_used(&self) -> f64 {
        0.95
    }

    fn region(&self) -> Arc<str> {
        "north".into()
    }

    fn now_ms(&self) -> i64 {
        NOW.get()
    }
}

fn ask(model: &str) -> Ask<'_> {
    Ask { dialect: Dialect::Anthropic, model, region: "north", facts: &Nearly }
}

// Provider, model and tier of each target.
fn places(snapshot: &Snapshot, model: &str) -> Result<Vec<String>, RefusalKind> {
    let caller = authenticate(snapshot, NOW, &KeyHash::new([1; 32])).unwrap();
    let granted = authorize(snapshot, &caller, &ask(model));
    let place = |target: &Target| format!("{} {} {}", target.provider.name, target.name, target.tier);
    granted.map(|granted| granted.targets().iter().map(place).collect()).map_err(|refusal| refusal.kind())
}

#[test]
fn a_provider_of_another_dialect_serves_what_its_row_or_the_catalogue_names() {
    let other = |models: &[&str]| Provider {
        dialect: Dialect::OpenAiChat,
        vendor: "openai".into(),
        models: Patterns::parse(models).unwrap(),
        ..provider('o', 0)
    };
    let first = "provider-a claude-x 0".to_owned();
    let second = "provider-b claude-x 1".to_owned();
    let world = world();
    assert_eq!(places(&put(&world, Object::Provider(other(&[]))), "claude-x"), Ok(vec![first, second]));
    for objects in
        [vec![Object::Provider(other(&["claude-x"]))], vec![Object::Provider(other(&[])), model("openai", "claude-x")]]
    {
        let places = places(&world.next(2, objects, vec![]), "claude-x").unwrap();
        assert_eq!(places.first().map(String::as_str), Some("provider-o claude-x 0"));
    }
}

#[test]
fn the_first_route_that_is_for_the_caller_and_the_model_decides_alone() {
    let world = world();
    let tiers = || vec![vec![to('b', Some("gpt-5-mini"), 3), to('a', None, 1)], vec![to('a', Some("claude-y"), 1)]];
    let route = routed_to('r', &["claude-haiku-*"], tiers());
    let expect = ["provider-b gpt-5-mini 0", "provider-a claude-haiku-9 0", "provider-a claude-y 1"];
    let expect = Ok(expect.map(str::to_owned).to_vec());
    let with = |routes: Vec<Route>| world.next(2, routes.into_iter().map(Object::Route).collect(), vec![]);
    assert_eq!(places(&with(vec![route.clone()]), "claude-haiku-9"), expect);
    assert_eq!(places(&with(vec![route.clone()]), "claude-x").unwrap().len(), 2, "other models go as before");
    assert_eq!(places(&with(vec![Route { disabled: true, ..route.clone() }]), "claude-haiku-9").unwrap().len(), 2);
    let earlier = Route { priority: -1, ..routed_to('s', &["*"], vec![vec![to('b', None, 1)]]) };
    let both = with(vec![route.clone(), earlier.clone()]);
    assert_eq!(places(&both, "claude-haiku-9"), Ok(vec!["provider-b claude-haiku-9 0".into()]));
    let scope = Scope { teams: vec![TeamId::from_ulid(&ulid('z')).unwrap()], ..Scope::default() };
    assert_eq!(places(&with(vec![route.clone(), Route { scope, ..earlier }]), "claude-haiku-9"), expect);
    let gone = with(vec![route.clone()]).next(3, vec![], vec![ObjectRef::Route(route.id.clone())]);
    assert_eq!(places(&gone, "claude-haiku-9").unwrap().len(), 2, "a route that is gone decides nothing");
}

#[test]
fn what_is_routed_to_nobody_is_refused_and_not_sent_elsewhere() {
    let world = world();
    let with = |route: Route| put(&world, Object::Route(route));
    let narrow = Object::Key(Key { providers: Arc::new([provider('b', 0).id]), ..key() });
    for (name, snapshot) in [
        ("unknown provider", with(routed_to('r', &["*"], vec![vec![to('z', None, 1)]]))),
        (
            "out of the key's reach",
            with(routed_to('r', &["*"], vec![vec![to('a', None, 1)]])).next(3, vec![narrow], vec![]),
        ),
    ] {
        assert_eq!(places(&snapshot, "claude-x"), Err(RefusalKind::NoProvider), "{name}");
    }
    let denied = with(routed_to('r', &["gpt-*"], vec![vec![to('a', None, 1)]]));
    assert_eq!(places(&denied, "gpt-5"), Err(RefusalKind::ModelDenied), "a route admits to no model");
}

#[test]
fn a_list_has_the_models_of_providers_and_the_names_of_routes() {
    let aliased = routed_to('r', &["claude-fast", "claude-haiku-*"], vec![vec![to('a', Some("claude-x"), 1)]]);
    let objects = vec![
        model("anthropic", "claude-x"),
        model("anthropic", "claude-opus-1"),
        model("openai", "claude-nobody"),
        Object::Route(aliased),
    ];
    let snapshot = world().next(2, objects, vec![]);
    let caller = authenticate(&snapshot, NOW, &KeyHash::new([1; 32])).unwrap();
    let listed = models(&snapshot, &caller);
    let listed: Vec<_> = listed.iter().map(|model| (&*model.name, model.context_window)).collect();
    assert_eq!(listed, [("claude-fast", 9), ("claude-x", 9)]);
}

#[test]
fn a_rule_decides_whether_its_route_does() {
    let world = world();
    let with = |rule: &str| {
        let route = Route {
            rule: Some(Rule::parse(rule).unwrap()),
            ..routed_to('r', &["*"], vec![vec![to('b', Some("cheap"), 1)]])
        };
        places(&put(&world, Object::Route(route)), "claude-x")
    };
    let cheap = Ok(vec!["provider-b cheap 0".to_owned()]);
    let usual = Ok(vec!["provider-a claude-x 0".to_owned(), "provider-b claude-x 1".to_owned()]);
    assert_eq!(with("budget.used >= 0.9"), cheap);
    assert_eq!(with("'x-tier' in headers && headers['x-tier'] == 'low' && region == 'north'"), cheap);
    assert_eq!(with("budget.used >= 0.96"), usual);
    assert_eq!(with("!request.stream"), usual);
    // Not sent elsewhere than where an administrator may have wanted it.
    assert_eq!(
        with("10 / (request.images - 0) > 0 || true || request.images > 0"),
        cheap,
        "an error beside what holds is none"
    );
    assert_eq!(with("request.model == 'claude-x' && 1 / int(budget.used - 0.95) > 0"), Err(RefusalKind::NoProvider));
}

#[test]
fn a_key_stays_within_its_regions_and_within_those_of_its_team() {
    let world = world();
    let in_region = |last: char, priority, region: &str| {
        Object::Provider(Provider { region: region.into(), ..provider(last, priority) })
    };
    let objects = vec![in_region('a', 1, "eu-west-1"), in_region('b', 2, "us-east-1"), in_region('c', 3, "")];
    let world = world.next(2, objects, vec![]);
    let asked = |of_key: &[&str], of_team: &[&str], region: &str| {
        let team = Team { regions: Patterns::parse(of_team).unwrap(), ..world.team(&key().team).unwrap().clone() };
        let key = Key { regions: Patterns::parse(of_key).unwrap(), ..key() };
        let world = world.next(3, vec![Object::Key(key), Object::Team(team)], vec![]);
        let caller = authenticate(&world, NOW, &KeyHash::new([1; 32])).unwrap();
        let granted = authorize(&world, &caller, &Ask { region, ..ask("claude-x") });
        granted
            .map(|granted| {
                granted.targets().iter().map(|target| target.provider.name.to_string()).collect::<Vec<_>>().join(" ")
            })
            .map_err(|refusal| (refusal.kind(), refusal.public().to_owned()))
    };
    assert_eq!(asked(&[], &[], "").unwrap(), "provider-a provider-b provider-c");
    assert_eq!(asked(&["eu-*"], &[], "eu-north").unwrap(), "provider-a");
    assert_eq!(asked(&[], &["!us-*"], "eu-north").unwrap(), "provider-a", "what does not say where it is, is nowhere");
    assert_eq!(asked(&["eu-*", "us-*"], &["us-*"], "us-west").unwrap(), "provider-b");
    for (of_key, of_team, region) in
        [(&["eu-*"][..], &[][..], "us-west"), (&["eu-*"], &[], ""), (&["eu-*"], &["us-*"], "us-west")]
    {
        let (kind, said) = asked(of_key, of_team, region).unwrap_err();
        assert_eq!(kind, RefusalKind::RegionDenied, "{said}");
        assert!(said.contains("its data stays in eu-*"), "{said}");
    }
    assert_eq!(asked(&["eu-*"], &[], "eu-x").unwrap(), "provider-a");
}

#[test]
fn a_team_bounds_the_providers_of_its_keys() {
    let world = world();
    let with = |of_team: &[char], of_key: &[char]| {
        let ids = |list: &[char]| list.iter().map(|last| provider(*last, 0).id).collect::<Arc<[ProviderId]>>();
        let team = Team { providers: ids(of_team), ..world.team(&key().team).unwrap().clone() };
        let key = Key { providers: ids(of_key), ..key() };
        granted(&world.next(2, vec![Object::Key(key), Object::Team(team)], vec![]), "claude-x")
    };
    assert_eq!(with(&['b'], &[]), Ok(vec!["provider-b".into()]));
    assert_eq!(with(&['a', 'b'], &['a']), Ok(vec!["provider-a".into()]));
    assert_eq!(with(&['b'], &['a']), Err(RefusalKind::NoProvider));
}
