//! What is exported and applied again is nothing to do, whatever the control plane has.

use proptest::{collection, option, prelude::*};
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
        allow_private in any::<bool>(), disabled in any::<bool>()
    ) -> v1::Provider {
        let credential = |(index, (name, reference, weight, disabled)): (usize, (String, Option<String>, i32, bool))| v1::Credential {
            id: format!("credential-{at}-{index}"), name, weight, disabled,
            fingerprint: if reference.is_none() { format!("{index:012x}") } else { String::new() },
            reference: reference.unwrap_or_default(), ..Default::default()
        };
        v1::Provider {
            id: format!("provider-{at}"), name: format!("p{at}"), dialect: "anthropic".into(), base_url: "https://x.example".into(),
            credentials: credentials.into_iter().enumerate().map(credential).collect(),
            models, vendor, priority, allow_private, disabled, ..Default::default()
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
    fn key(name: String)(
        name in Just(name), display_name in prose(), revoked in any::<bool>(), expires in option::of(0..4_102_444_800_000_i64),
        models in collection::vec("!?[a-z*]{1,6}", 0..3), tags in collection::btree_map("[a-z0-9./_-]{1,8}", prose(), 0..3),
        user in any::<bool>(), provider in any::<bool>(), credential in any::<bool>()
    ) -> (v1::Key, bool, bool, bool) {
        let state = if revoked { v1::KeyState::Revoked } else { v1::KeyState::Active };
        let expire_time = expires.map(|ms| crate::literals::to_wire(jiff::Timestamp::from_millisecond(ms).unwrap()));
        let key = v1::Key {
            id: format!("key-{name}"), name, display_name, team: "team-0".into(), state: state.into(), expire_time, models,
            tags: tags.into_iter().collect(), ..Default::default()
        };
        (key, user, provider, credential)
    }
}

prop_compose! {
    fn world()(
        customers in names("c"), teams in names("t"), users in names("u"), keys in names("k"), text in prose(), disabled in any::<bool>()
    )(
        customers in Just(customers), teams in Just(teams), users in Just(users), text in Just(text), disabled in Just(disabled),
        keys in keys.into_iter().map(key).collect::<Vec<_>>(), providers in (provider(0), provider(1)), models in (model(0), model(1))
    ) -> Lists {
        let providers = vec![providers.0, providers.1];
        let credential = providers.iter().flat_map(|each| &each.credentials).next().map(|each| each.id.clone());
        let keys = keys.into_iter().map(|(mut key, user, provider, credentials)| {
            key.user = if user { "user-0".into() } else { String::new() };
            key.providers = if provider { vec!["provider-1".into(), "provider-0".into()] } else { Vec::new() };
            key.credentials = credential.clone().filter(|_| credentials).into_iter().collect();
            key
        }).collect();
        let numbered = |noun: &'static str| move |(at, name): (usize, String)| (format!("{noun}-{at}"), name);
        Lists {
            customers: customers.into_iter().enumerate().map(numbered("customer")).map(|(id, name)| v1::Customer {
                id, name, display_name: text.clone(), disabled, ..Default::default()
            }).collect(),
            teams: teams.into_iter().enumerate().map(numbered("team")).map(|(id, name)| v1::Team {
                id, name, customer: "customer-0".into(), display_name: text.clone(), disabled, ..Default::default()
            }).collect(),
            users: users.into_iter().enumerate().map(numbered("user")).map(|(id, name)| v1::User {
                id, name, email: text.clone(), team: "team-0".into(), display_name: text.clone(), disabled, ..Default::default()
            }).collect(),
            models: vec![models.0, models.1],
            providers, keys,
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
