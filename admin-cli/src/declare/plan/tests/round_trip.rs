//! What is exported and applied again is nothing to do, whatever the control plane has.

use proptest::{collection, option, prelude::*, sample};
use tollgate_policy::{provider::Quirk, route::Condition};
use tollgate_proto::admin::v1;

use super::{State, plan};
use crate::{
    declare::{read::read, state::Lists},
    output::yaml,
};

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9][a-z0-9._-]{0,8}"
}

fn prose() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,12}",
        Just("null".to_owned()),
        Just("0x10".to_owned()),
        Just("- a: b # c".to_owned()),
        Just("1.0".to_owned())
    ]
}

fn names(prefix: &'static str) -> impl Strategy<Value = Vec<String>> {
    collection::btree_set(name(), 1..4)
        .prop_map(move |names| names.into_iter().map(|name| format!("{prefix}{name}")).collect())
}

fn credentials() -> impl Strategy<Value = Vec<(String, Option<String>, i32, bool)>> {
    let credential = (option::of("(env://[A-Z]{1,8}|file:///[a-z/]{1,8})"), 0..=1_000, any::<bool>());
    collection::btree_map(name(), credential, 0..3).prop_map(|all| {
        all.into_iter().map(|(name, (reference, weight, disabled))| (name, reference, weight, disabled)).collect()
    })
}

prop_compose! {
    fn provider(at: usize)(
        credentials in credentials(), models in collection::vec("!?[a-z*]{1,6}", 0..3), vendor in prose(), priority in any::<i32>(),
        allow_private in any::<bool>(), disabled in any::<bool>(), region in "[a-z0-9-]{0,8}",
        auth in prop_oneof![Just(""), Just("bearer"), Just("header:api-key"), Just("sigv4")], quirks in sample::subsequence(&Quirk::ALL[..], 0..4)
    ) -> v1::Provider {
        let credential = |(index, (name, reference, weight, disabled)): (usize, (String, Option<String>, i32, bool))| v1::Credential {
            id: format!("credential-{at}-{index}"), name, weight, disabled,
            fingerprint: if reference.is_none() { format!("{index:012x}") } else { String::new() },
            reference: reference.unwrap_or_default(), ..Default::default()
        };
        v1::Provider {
            id: format!("provider-{at}"), name: format!("p{at}"), dialect: "anthropic".into(), base_url: "https://x.example".into(),
            credentials: credentials.into_iter().enumerate().map(credential).collect(),
            models, vendor, priority, allow_private, disabled, region, auth: auth.into(),
            quirks: quirks.into_iter().map(|quirk| quirk.word().to_owned()).collect(), ..Default::default()
        }
    }
}

prop_compose! {
    fn model(at: usize)(
        amounts in proptest::array::uniform6(1..10_000_000_000_000_i64), priced in any::<bool>(), long in option::of(1..100_000_000_i64),
        context_window in 0..100_000_000_i64, display_name in "[ -~]{1,20}", aliases in collection::vec("[a-z*]{1,6}", 0..3)
    ) -> v1::Model {
        let [input, output, cache_read, cache_write_5m, cache_write_1h, web_search] = amounts;
        let long_context = long.map(|threshold| v1::LongContext { threshold, input, output, cache_read, cache_write_5m, cache_write_1h });
        let price = v1::Price { input, output, cache_read, cache_write_5m, cache_write_1h, web_search, long_context };
        v1::Model {
            id: format!("vendor/m{at}"), vendor: "vendor".into(), model: format!("m{at}"), price: priced.then_some(price),
            origin: "override".into(), context_window, display_name, aliases, ..Default::default()
        }
    }
}

prop_compose! {
    // What the control plane may return: with what is usual said or not.
    fn budget(at: usize)(
        limit in 1..10_000_000_000_000_i64, window in "([1-9][0-9]{0,2}[hdwMY]|total)", calendar in any::<bool>(), berlin in any::<bool>(),
        models in collection::vec("!?[a-z*]{1,6}", 0..3), provider in any::<bool>(), words in (0..3_i32, 0..4_i32),
        thresholds in collection::vec(1..=100, 0..4), grace in option::of((1..10_000_000_000_i64, 1..=86_400_i64)), contact in "[ -~]{0,12}"
    ) -> v1::Budget {
        let calendar = calendar && window != "total";
        let (grace_nano_usd, grace_seconds) = grace.unwrap_or_default();
        v1::Budget {
            id: format!("budget-{at}"), limit_nano_usd: limit, window, alignment: if calendar { 2 } else { words.0.min(1) },
            time_zone: if calendar && berlin { "Europe/Berlin".into() } else { String::new() }, models: [models, vec![format!("m{at}")]].concat(),
            provider: if provider { "provider-1".into() } else { String::new() }, enforcement: words.0, holding: words.1, thresholds,
            grace_nano_usd, grace_seconds, contact,
        }
    }
}

prop_compose! {
    fn limit()(measure in 1..=3, amount in 1..i64::MAX, per in 1..=86_400_i64, models in collection::vec("!?[a-z*]{1,6}", 0..3)) -> v1::RateLimit {
        v1::RateLimit { measure, amount, per_seconds: if measure == 3 { 0 } else { per }, models }
    }
}

prop_compose! {
    fn quota()(
        budgets in (budget(0), budget(1)), count in 0..3_usize, limits in collection::vec(limit(), 0..3),
        session in option::of((0..10_000_000_000_i64, 0..1_000_i64, 0..1_000, 0..1_000))
    ) -> (Vec<v1::Budget>, Vec<v1::RateLimit>, Option<v1::SessionLimit>) {
        let session = session.map(|(dollars_nano_usd, requests, repeats, pause_seconds)| v1::SessionLimit {
            dollars_nano_usd, requests, repeats, pause_seconds,
        });
        ([budgets.0, budgets.1].into_iter().take(count).collect(), limits, session)
    }
}

prop_compose! {
    fn key(name: String)(
        name in Just(name), display_name in prose(), revoked in any::<bool>(), expires in option::of(0..4_102_444_800_000_i64),
        models in collection::vec("!?[a-z*]{1,6}", 0..3), tags in collection::btree_map("[a-z0-9./_-]{1,8}", prose(), 0..3),
        user in any::<bool>(), provider in any::<bool>(), credential in any::<bool>(), audit in 0..3,
        regions in collection::vec("!?[a-z*-]{1,6}", 0..3), tools in collection::vec("!?(prompt:|resource:)?[a-zA-Z*._-]{1,6}", 0..3),
        rules in collection::vec(("[a-z]{1,3}[.][a-z*]{1,3}", prop_oneof![Just("true"), Just("arguments.a == 'b: # c'"), Just("arguments.n > 3\n  && tool.name != 'x'")]), 0..3)
    ) -> (v1::Key, bool, bool, bool) {
        let state = if revoked { v1::KeyState::Revoked } else { v1::KeyState::Active };
        let expire_time = expires.map(|ms| crate::literals::to_wire(jiff::Timestamp::from_millisecond(ms).unwrap()));
        let key = v1::Key {
            id: format!("key-{name}"), name, display_name, team: "team-0".into(), state: state.into(), expire_time, models,
            tags: tags.into_iter().collect(), audit, regions, tools,
            tool_rules: rules.into_iter().map(|(tools, when)| v1::ToolRule { tools, when: when.into() }).collect(), ..Default::default()
        };
        (key, user, provider, credential)
    }
}

fn self_service() -> impl Strategy<Value = Option<v1::SelfService>> {
    let life = |least: i64, most: i64| {
        option::of((least..=most).prop_map(|seconds| prost_types::Duration { seconds, nanos: 0 }))
    };
    let granted = (1..=100_i32, life(3_600, 366 * 86_400), life(900, 43_200), collection::vec("!?[a-z*]{1,6}", 0..3));
    option::of(granted.prop_map(|(keys_max, key_life_max, token_life_max, models)| v1::SelfService {
        keys_max,
        key_life_max,
        token_life_max,
        models,
    }))
}

prop_compose! {
    fn tier()(
        targets in collection::btree_map((0..2_usize, prop_oneof![Just(""), Just("gpt-5-mini"), Just("a/b@1")]), 0..=1_000_i32, 1..4),
        on in sample::subsequence(&Condition::ALL[..], 0..7)
    ) -> v1::RouteTier {
        let target = |((provider, model), weight): ((usize, &str), i32)| v1::RouteTarget {
            provider: format!("provider-{provider}"), model: model.into(), weight,
        };
        let on = on.into_iter().map(|condition| condition.word().to_owned()).collect();
        v1::RouteTier { targets: targets.into_iter().map(target).collect(), on }
    }
}

prop_compose! {
    fn route(at: usize)(
        models in collection::vec("!?[a-z*]{1,6}", 1..4), tiers in collection::vec(tier(), 1..4), priority in any::<i32>(),
        flags in any::<(bool, bool, bool, bool, bool)>(), balance in prop_oneof![Just(""), Just("weight"), Just("latency")],
        rule in prop_oneof![Just(""), Just("budget.used > 0.9"), Just("'x-a' in headers && headers['x-a'] == \"b: # c\""), Just("request.stream\n  || region == 'eu'")],
        first_byte_timeout in option::of(100..=3_600_000_u64), hedge_after in option::of(100..=600_000_u64), deadline in option::of(1_000..=86_400_000_u64)
    ) -> v1::Route {
        let (customers, teams, keys, disabled, strict) = flags;
        let owner = |named: bool, id: &str| named.then(|| id.to_owned()).into_iter().collect();
        let wait = |millis: Option<u64>| {
            millis.map(|millis| prost_types::Duration::try_from(std::time::Duration::from_millis(millis)).unwrap())
        };
        let mut tiers = tiers;
        tiers[0].on.clear();
        v1::Route {
            id: format!("route-{at}"), name: format!("r{at}"), models, priority, disabled, strict, tiers,
            rule: rule.into(), balance: balance.into(), first_byte_timeout: wait(first_byte_timeout), hedge_after: wait(hedge_after), deadline: wait(deadline),
            customers: owner(customers, "customer-0"), teams: owner(teams, "team-0"), keys: owner(keys, "key-first"), ..Default::default()
        }
    }
}

// A guardrail of each kind, with what is usual said, as the control plane does.
prop_compose! {
    fn guardrail(at: usize)(
        kind in 0..3_usize, flags in any::<(bool, bool, bool, bool, bool)>(), rule_file in prop_oneof![Just(""), Just("# a: b\n[[rules]]\nid = \"x\"\n")],
        expressions in collection::btree_map("[a-z]{1,4}", "\\PC{1,8}", 1..3), words in collection::btree_set("\\PC{2,8}", 1..3),
        lists in proptest::array::uniform3(collection::vec("!?[a-z*:-]{1,6}", 0..3)), on in sample::subsequence(vec!["request", "response"], 1..=2),
        action in prop_oneof![Just("detect"), Just("tokenize"), Just("redact"), Just("block")],
        allowed in collection::btree_map("[0-9a-f]{32}", (option::of(1..4_102_444_800_000_i64), "[a-z:#][ -~]{0,8}"), 0..3)
    ) -> v1::Guardrail {
        let (builtin, shadow, customers, teams, disabled) = flags;
        let owner = |named: bool, id: &str| named.then(|| id.to_owned()).into_iter().collect();
        let [rules, keys, models] = lists;
        let instant = |ms: i64| crate::literals::to_wire(jiff::Timestamp::from_millisecond(ms).unwrap());
        let bare = v1::Guardrail {
            id: format!("guardrail-{at}"), name: format!("g{at}"), disabled, kind: ["secrets", "expressions", "words"][kind].into(),
            rules, keys, models, on: on.into_iter().map(str::to_owned).collect(), action: action.into(), shadow,
            customers: owner(customers, "customer-0"), teams: owner(teams, "team-0"),
            allowed: allowed.into_iter().map(|(fingerprint, (until, reason))| v1::AllowedFinding { fingerprint, until: until.map(instant), reason }).collect(),
            ..Default::default()
        };
        match kind {
            0 => v1::Guardrail { builtin: Some(builtin), rule_file: rule_file.into(), ..bare },
            1 => v1::Guardrail { expressions: expressions.into_iter().map(|(id, regex)| v1::Expression { id, regex }).collect(), ..bare },
            _ => v1::Guardrail { words: words.into_iter().collect(), ..bare },
        }
    }
}

fn api_document() -> impl Strategy<Value = serde_json::Value> {
    (prose(), any::<i64>(), any::<f32>().prop_filter("of JSON", |number| number.is_finite()), prose()).prop_map(
        |(title, whole, part, name)| {
            let info = serde_json::json!({"title": title, "version": "1.0"});
            let schema = serde_json::json!({"enum": [whole, part, null, true, "no", "1.0", ""], name: {}});
            serde_json::json!({"openapi": "3.1.0", "info": info, "paths": {}, "x-schema": schema, "x-list": []})
        },
    )
}

// With what is usual said or not, and what a secret leaves of itself: a reference, or nothing.
prop_compose! {
    fn mcp_server(at: usize)(
        flags in any::<(bool, bool, bool, bool, bool, bool)>(), url in "http://[a-z]{1,4}(/[a-zA-Z/]{1,4})?([?][a-z=]{1,4})?",
        auth in prop_oneof![Just("none"), Just("bearer"), Just("header:x-api-key"), Just(""), Just("client_credentials"), Just("per_user"), Just("token_exchange")], reference in "(env://[A-Z]{1,8})?",
        oauth in ("[ -~&&[^ ]]{0,6}", collection::btree_set("[a-z:.]{1,6}", 0..3), "(https://[a-z]{1,4}(/[a-z]{1,3})?/?)?", "(api://[a-z]{1,4})?", any::<bool>()), document in api_document(),
        lists in proptest::array::uniform4(collection::vec("!?[a-z*:./-]{1,6}", 0..3)), prices in collection::vec(("[a-z*_]{1,6}", 0..i64::MAX), 0..3),
        timeout in option::of(1..=3_600_000_u64), parallel in 0..i32::MAX, sizes in proptest::array::uniform2(0..=33_554_432_i64),
        words in (prop_oneof![Just(""), Just("streamable_http"), Just("sse"), Just("stdio"), Just("openapi")], prop_oneof![Just(""), Just("first_use"), Just("approval"), Just("off")])
    ) -> v1::McpServer {
        let (allow_private, customers, teams, truncate, record_arguments, disabled) = flags;
        let owner = |named: bool, id: &str| named.then(|| id.to_owned()).into_iter().collect();
        let [keys, tools, prompts, resources] = lists;
        let (client_id, scopes, authorization_server, resource, stored) = oauth;
        let is_client = auth.contains('_');
        let oauth = v1::McpOAuth { client_id, scopes: scopes.into_iter().collect(), authorization_server, resource };
        let price = |(tools, call_nano_usd)| v1::ToolPrice { tools, call_nano_usd };
        v1::McpServer {
            id: format!("mcp-server-{at}"), name: format!("s{at}"), disabled, url: if words.0 == "stdio" { String::new() } else { url }, allow_private, transport: words.0.into(), auth: auth.into(),
            secret_stored: auth != "none" && reference.is_empty() && (stored || !is_client), oauth: is_client.then_some(oauth),
            document: if words.0 == "openapi" { document.to_string() } else { String::new() },
            reference: if auth == "none" { String::new() } else { reference }, keys, tools, prompts, resources,
            customers: owner(customers, "customer-0"), teams: owner(teams, "team-0"), prices: prices.into_iter().map(price).collect(),
            timeout: timeout.map(|millis| prost_types::Duration::try_from(std::time::Duration::from_millis(millis)).unwrap()),
            parallel, arguments_bytes: sizes[0], result_bytes: sizes[1], truncate, record_arguments, pinning: words.1.into(), ..Default::default()
        }
    }
}

type Access = (Vec<v1::Role>, Vec<v1::ServiceAccount>, Vec<v1::Binding>);

// Each subject gets the role in each scope at most once, as the control plane keeps it.
fn access() -> impl Strategy<Value = Access> {
    let ends = collection::vec(option::of(0..4_102_444_800_000_i64), 12);
    let permissions = collection::vec("[a-z]{1,5}\\.([a-z]{1,5}|\\*)", 0..4);
    (permissions, prose(), any::<bool>(), "\\PC{1,12}", ends, collection::vec(any::<bool>(), 12)).prop_map(
        |(permissions, display_name, disabled, group, ends, kept)| {
            use v1::binding::{Scope, Subject};
            let roles = vec![
                v1::Role {
                    id: "role-0".into(),
                    name: "auditor".into(),
                    display_name: display_name.clone(),
                    permissions,
                    ..Default::default()
                },
                v1::Role { id: "admin".into(), name: "admin".into(), system: true, ..Default::default() },
            ];
            let accounts = vec![v1::ServiceAccount {
                id: "service-account-0".into(),
                name: "ci".into(),
                display_name,
                disabled,
                ..Default::default()
            }];
            let subjects = [
                Subject::User("user-0".into()),
                Subject::Group(group),
                Subject::ServiceAccount("service-account-0".into()),
            ];
            let scopes = [
                None,
                Some(Scope::Own(true)),
                Some(Scope::Team("team-0".into())),
                Some(Scope::Customer("customer-0".into())),
            ];
            let pairs =
                subjects.iter().flat_map(|subject| scopes.iter().map(move |scope| (subject.clone(), scope.clone())));
            let bindings = pairs.zip(ends.into_iter().zip(kept)).enumerate().filter(|(_, (_, (_, kept)))| *kept);
            let bindings = bindings.map(|(at, ((subject, scope), (end, _)))| v1::Binding {
                id: format!("binding-{at}"),
                role: if at % 2 == 0 { "auditor".into() } else { "admin".into() },
                subject: Some(subject),
                scope,
                expire_time: end.map(|ms| crate::literals::to_wire(jiff::Timestamp::from_millisecond(ms).unwrap())),
                ..Default::default()
            });
            (roles, accounts, bindings.collect())
        },
    )
}

prop_compose! {
    fn world()(
        customers in names("c"), teams in names("t"), users in names("u"), keys in names("k"), text in prose(), disabled in any::<bool>(),
        quotas in proptest::array::uniform4(quota().boxed()), self_service in self_service().boxed(), access in access().boxed(),
        reach in (any::<bool>(), collection::vec("!?[a-z*-]{1,6}", 0..3))
    )(
        customers in Just(customers), teams in Just(teams), users in Just(users), text in Just(text), disabled in Just(disabled), quotas in Just(quotas),
        self_service in Just(self_service), access in Just(access), reach in Just(reach),
        keys in keys.into_iter().map(key).collect::<Vec<_>>(), providers in (provider(0).boxed(), provider(1).boxed()), models in (model(0).boxed(), model(1).boxed()), routes in (route(0).boxed(), route(1).boxed()), guardrails in (guardrail(0).boxed(), guardrail(1).boxed()), mcp_servers in (mcp_server(0).boxed(), mcp_server(1).boxed())
    ) -> Lists {
        let [customer, team, user, owner] = quotas;
        let providers = vec![providers.0, providers.1];
        let credential = providers.iter().flat_map(|each| &each.credentials).next().map(|each| each.id.clone());
        let mut first = Some("key-first".to_owned());
        let keys = keys.into_iter().map(|(mut key, user, provider, credentials)| {
            (key.budgets, key.limits, key.session_limit) = owner.clone();
            key.id = first.take().unwrap_or(key.id);
            key.user = if user { "user-0".into() } else { String::new() };
            key.providers = if provider { vec!["provider-1".into(), "provider-0".into()] } else { Vec::new() };
            key.credentials = credential.clone().filter(|_| credentials).into_iter().collect();
            key
        }).collect();
        let numbered = |noun: &'static str| move |(at, name): (usize, String)| (format!("{noun}-{at}"), name);
        Lists {
            customers: customers.into_iter().enumerate().map(numbered("customer")).map(|(id, name)| v1::Customer {
                id, name, display_name: text.clone(), disabled, budgets: customer.0.clone(), limits: customer.1.clone(),
                session_limit: customer.2, ..Default::default()
            }).collect(),
            teams: teams.into_iter().enumerate().map(numbered("team")).map(|(id, name)| v1::Team {
                id, name, customer: "customer-0".into(), display_name: text.clone(), disabled, budgets: team.0.clone(),
                limits: team.1.clone(), session_limit: team.2, self_service: self_service.clone(), regions: reach.1.clone(),
                providers: if reach.0 { vec!["provider-1".into(), "provider-0".into()] } else { Vec::new() }, ..Default::default()
            }).collect(),
            users: users.into_iter().enumerate().map(numbered("user")).map(|(id, name)| v1::User {
                id, name, email: text.clone(), team: "team-0".into(), display_name: text.clone(), disabled,
                budgets: user.0.clone(), limits: user.1.clone(), session_limit: user.2, ..Default::default()
            }).collect(),
            models: vec![models.0, models.1],
            routes: vec![routes.0, routes.1], guardrails: vec![guardrails.0, guardrails.1], mcp_servers: vec![mcp_servers.0, mcp_servers.1], providers, keys, roles: access.0, service_accounts: access.1, bindings: access.2,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_exported_and_applied_is_nothing_to_do(lists in world()) {
        let state = State::new(lists);
        let exported = state.export();
        for text in [yaml(&exported).unwrap(), serde_json::to_string_pretty(&exported).unwrap()] {
            let document = read(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{text}"));
            prop_assert_eq!(serde_json::to_value(&document).unwrap(), serde_json::to_value(&exported).unwrap());
            for prune in [false, true] {
                let plan = plan(&state, &document, prune).unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{text}"));
                prop_assert!(plan.steps.is_empty(), "{:?}\n{}", plan.steps, text);
            }
        }
    }
}
