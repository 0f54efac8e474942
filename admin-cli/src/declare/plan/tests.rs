//! What a file changes, given what the control plane has.

mod quota;
mod round_trip;

use super::*;
use crate::{
    declare::{read::read, show, state::Lists},
    output::yaml,
};

fn credential(id: &str, name: &str, reference: &str, fingerprint: &str) -> v1::Credential {
    v1::Credential {
        id: format!("credential-{id}"),
        name: name.to_owned(),
        reference: reference.to_owned(),
        fingerprint: fingerprint.to_owned(),
        weight: 1,
        ..v1::Credential::default()
    }
}

/// acme owns platform, which owns the key dev; anthropic has a reference and a stored secret.
fn lists() -> Lists {
    let etag = || "e1".to_owned();
    let price = v1::Price {
        input: 3_000_000_000,
        output: 15_000_000_000,
        cache_read: 300_000_000,
        cache_write_5m: 1,
        cache_write_1h: 2,
        ..v1::Price::default()
    };
    Lists {
        customers: vec![v1::Customer {
            id: "customer-1".into(),
            name: "acme".into(),
            etag: etag(),
            ..Default::default()
        }],
        teams: vec![v1::Team {
            id: "team-1".into(),
            name: "platform".into(),
            customer: "customer-1".into(),
            etag: etag(),
            ..Default::default()
        }],
        users: vec![v1::User {
            id: "user-1".into(),
            name: "ada".into(),
            team: "team-1".into(),
            etag: etag(),
            ..Default::default()
        }],
        providers: vec![v1::Provider {
            id: "provider-1".into(),
            name: "anthropic".into(),
            dialect: "anthropic".into(),
            base_url: "https://api.anthropic.com".into(),
            credentials: vec![
                credential("1", "primary", "env://KEY", ""),
                credential("2", "spare", "", "aabbccddeeff"),
            ],
            etag: etag(),
            ..Default::default()
        }],
        models: vec![
            v1::Model {
                id: "anthropic/set".into(),
                price: Some(price),
                display_name: "X".into(),
                origin: "override".into(),
                ..Default::default()
            },
            v1::Model {
                id: "anthropic/shipped".into(),
                price: Some(price),
                display_name: "X".into(),
                origin: "catalogue".into(),
                ..Default::default()
            },
        ],
        keys: vec![v1::Key {
            id: "key-1".into(),
            name: "dev".into(),
            team: "team-1".into(),
            state: v1::KeyState::Active.into(),
            models: vec!["claude-*".into()],
            providers: vec!["provider-1".into()],
            credentials: vec!["credential-1".into()],
            etag: etag(),
            ..Default::default()
        }],
        ..Lists::default()
    }
}

fn planned(text: &str) -> Plan {
    let document = read(text).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}"));
    plan(&State::new(lists()), &document, false).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}"))
}

fn check(text: &str, expect: &[&str]) {
    let shown = show::text(&planned(text));
    let lines: Vec<_> = shown.lines().filter(|line| !line.starts_with("plan: ")).map(str::trim).collect();
    assert_eq!(lines, expect, "{text}");
}

fn refused(text: &str, prune: bool) -> Vec<String> {
    let mistakes =
        plan(&State::new(lists()), &read(text).unwrap(), prune).map(|_| Vec::new()).unwrap_or_else(|found| found);
    mistakes.into_iter().map(|mistake| format!("{}: {}", mistake.place.line, mistake.text)).collect()
}

#[test]
fn what_is_as_declared_is_left_alone() {
    for text in [
        "customers: [{ name: acme }]",
        "customers: [{ name: acme, display_name: '', disabled: false }]",
        "teams: [{ name: platform, customer: acme }]",
        "teams: [{ name: platform, customer: customer-1 }]",
        "users: [{ name: ada, team: team-1, email: '' }]",
        "providers: [{ name: anthropic, dialect: anthropic, base_url: 'https://API.anthropic.com/' }]",
        "providers: [{ name: anthropic, credentials: [{ name: spare, secret: 'stored://aabbccddeeff' }, { name: primary, secret: 'env://KEY', weight: 1 }] }]",
        "providers: [{ name: anthropic, credentials: [{ name: spare, secret: 'stored://' }, { name: primary, secret: 'env://KEY' }] }]",
        "keys: [{ name: dev, team: platform, models: ['claude-*'], providers: [anthropic], credentials: [primary] }]",
        "keys: [{ name: dev, credentials: [anthropic/primary], expires: never, revoked: false, tags: {} }]",
        "keys: [{ name: dev, credentials: [credential-1], providers: [provider-1] }]",
        "keys: [{ name: dev, audit: required }]",
        "models: [{ model: anthropic/set, input: 3, output: '15', cache_read: 0.3 }]",
        "models: [{ model: anthropic/shipped, input: 3.0 }]",
    ] {
        let plan = planned(text);
        assert!(plan.steps.is_empty() && plan.unchanged.len() == 1, "{text}: {:?}", plan.steps);
        assert_eq!(show::text(&plan), "nothing to do\n");
    }
}

#[test]
fn what_differs_is_updated_field_by_field() {
    check(
        "customers: [{ name: acme, display_name: Acme, disabled: true }]",
        &["~ customer acme", "disabled: false -> true", "display_name: \"\" -> \"Acme\""],
    );
    check("users: [{ name: ada, team: '' }]", &["~ user ada", "team: \"platform\" -> \"\""]);
    check(
        "keys: [{ name: dev, models: [], expires: 2027-01-01 }]",
        &["~ key dev", "expires: \"never\" -> \"2027-01-01T00:00:00Z\"", "models: [\"claude-*\"] -> []"],
    );
    check("keys: [{ name: dev, audit: best_effort }]", &["~ key dev", "audit: \"required\" -> \"best_effort\""]);
    check(
        "models: [{ model: anthropic/shipped, output: 10.5 }]",
        &["~ model anthropic/shipped", "output: \"15\" -> \"10.5\""],
    );
}

#[test]
fn an_update_carries_the_id_the_etag_and_the_mask() {
    let plan = planned("keys: [{ name: dev, models: [b, a], expires: 2027-01-01, revoked: true }]");
    let Call::Key { write: Some(Write::Update(key, mask)), revoked, id } = &plan.steps[0].call else { panic!() };
    assert_eq!((key.id.as_str(), key.etag.as_str(), id.as_str(), *revoked), ("key-1", "e1", "key-1", Some(true)));
    assert_eq!(mask, &["expire_time", "models"]);
    assert_eq!(key.models, ["a", "b"]);
    // What is not masked is not said either.
    assert!(key.team.is_empty() && key.credentials.is_empty());
}

#[test]
fn a_revocation_alone_is_one_call() {
    let plan = planned("keys: [{ name: dev, revoked: true }]");
    assert!(matches!(&plan.steps[0].call, Call::Key { write: None, revoked: Some(true), id } if id == "key-1"));
    assert_eq!(plan.steps[0].action, Action::Update);
}

#[test]
fn nothing_is_switched_on_by_omission() {
    let mut lists = lists();
    lists.keys[0].state = v1::KeyState::Revoked.into();
    lists.customers[0].disabled = true;
    let state = State::new(lists);
    let silent = read("keys: [{ name: dev, team: platform }]\ncustomers: [{ name: acme }]").unwrap();
    assert!(plan(&state, &silent, false).unwrap().steps.is_empty());
    let spoken = read("keys: [{ name: dev, revoked: false }]\ncustomers: [{ name: acme, disabled: false }]").unwrap();
    assert_eq!(plan(&state, &spoken, false).unwrap().steps.len(), 2);
}

#[test]
fn what_is_new_is_created_whatever_the_order_of_the_file() {
    let text = "
keys: [{ name: new, team: payments, user: bob, credentials: [only], providers: [local], revoked: true }]
users: [{ name: bob, team: payments }]
teams: [{ name: payments, customer: globex }]
models: [{ model: local/new, input: 1, output: 2 }]
providers: [{ name: local, dialect: anthropic, base_url: 'http://127.0.0.1:9', allow_private: true, credentials: [{ name: only, secret: canary, weight: 3 }] }]
customers: [{ name: globex }]
";
    let plan = planned(text);
    let order: Vec<_> = plan.steps.iter().map(|step| (step.action, step.kind)).collect();
    let kinds = [Kind::Provider, Kind::Model, Kind::Customer, Kind::Team, Kind::User, Kind::Key];
    assert_eq!(order, kinds.map(|kind| (Action::Create, kind)));
    assert!(!show::text(&plan).contains("canary") && !format!("{plan:?}").contains("canary"));
    let Call::Provider(Write::Create(provider)) = &plan.steps[0].call else { panic!() };
    assert_eq!((provider.credentials[0].secret.as_str(), provider.credentials[0].weight), ("canary", 3));
    assert!(provider.allow_private);
    let Call::Key { write: Some(Write::Create(key)), revoked: Some(true), .. } = &plan.steps[5].call else { panic!() };
    assert_eq!((key.team.as_str(), key.credentials[0].as_str()), ("payments", "local/only"));
}

#[test]
fn a_price_that_is_left_out_is_what_the_control_plane_makes_of_it() {
    let plan = planned(
        "models: [{ model: local/new, input: 2, output: 4, long_context: { threshold: 5, input: 3, output: 6 } }]",
    );
    let field = |name: &str| plan.steps[0].changes.iter().find(|change| change.field == name).unwrap().to.clone();
    assert_eq!((field("cache_read"), field("cache_write_1h")), (Value::from("2"), Value::from("2")));
    assert_eq!(field("long_context")["cache_read"], "3");
    // Applied again, a zero means the same.
    let mut lists = lists();
    let Call::Model(row, true) = &plan.steps[0].call else { panic!() };
    let model = policy::snapshot::Model::try_from(row.clone()).unwrap();
    lists.models.push(written(&model, "override", UnixMillis::default()));
    let again = read("models: [{ model: local/new, input: 2, output: 4, cache_read: 0, display_name: '' }]").unwrap();
    assert!(super::plan(&State::new(lists), &again, false).unwrap().steps.is_empty());
}

#[test]
fn a_credential_is_told_by_reference_or_fingerprint() {
    let with = |credentials: &str| format!("providers: [{{ name: anthropic, credentials: [{credentials}] }}]");
    let primary = "{ name: primary, secret: 'env://KEY' }";
    let spare = "{ name: spare, secret: 'stored://' }";
    check(
        &with(&format!("{{ name: primary, secret: 'env://OTHER', weight: 5 }}, {spare}")),
        &[
            "~ provider anthropic",
            "credentials.primary.weight: 1 -> 5",
            "credentials.primary.secret: \"env://KEY\" -> \"env://OTHER\"",
        ],
    );
    check(
        &with(&format!("{primary}, {{ name: spare, secret: canary }}")),
        &["? provider anthropic", "credentials.spare.secret: \"stored://aabbccddeeff\" -> \"***\""],
    );
    check(
        &with(&format!("{primary}, {{ name: spare, secret: canary, disabled: true }}")),
        &[
            "~ provider anthropic",
            "credentials.spare.secret: \"stored://aabbccddeeff\" -> \"***\"",
            "credentials.spare.disabled: false -> true",
        ],
    );
    check(
        &with(&format!("{primary}, {spare}, {{ name: third, secret: 'file:///k' }}")),
        &["~ provider anthropic", "credentials.third: \"file:///k\""],
    );
    let kept = planned(&with(&format!("{primary}, {spare}, {{ name: third, secret: 'file:///k' }}")));
    let Call::Provider(Write::Update(provider, mask)) = &kept.steps[0].call else { panic!() };
    let said: Vec<_> =
        provider.credentials.iter().map(|credential| (credential.name.as_str(), credential.secret.as_str())).collect();
    assert_eq!(
        (said, mask.as_slice()),
        (vec![("primary", ""), ("spare", ""), ("third", "file:///k")], &["credentials".to_owned()][..])
    );
}

#[test]
fn a_credential_ends_after_the_keys_that_named_it_were_changed() {
    let text = "
providers: [{ name: anthropic, credentials: [{ name: new, secret: 'env://NEW' }] }]
keys: [{ name: dev, credentials: [new] }]
";
    let plan = planned(text);
    assert_eq!(plan.steps.len(), 3);
    let Call::Provider(Write::Update(first, _)) = &plan.steps[0].call else { panic!() };
    let names = |credentials: &[v1::Credential]| credentials.iter().map(|each| each.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&first.credentials), ["new", "primary", "spare"]);
    assert!(matches!(&plan.steps[1].call, Call::Key { .. }));
    let Call::Trim { credentials, .. } = &plan.steps[2].call else { panic!() };
    assert_eq!(names(credentials), ["new"]);
    let only = planned("providers: [{ name: anthropic, credentials: [{ name: primary, secret: 'env://KEY' }] }]");
    assert!(matches!(only.steps.as_slice(), [Step { call: Call::Trim { .. }, .. }]), "{:?}", only.steps);
    assert_eq!(only.steps[0].changes[0].field, "credentials.spare");
}

#[test]
fn what_cannot_be_is_refused_with_its_line_all_at_once() {
    let text = "
teams:
  - { name: platform, customer: globex }
  - { name: new }
keys:
  - { name: dev, team: other }
  - { name: k, team: platform, user: nobody, providers: [nowhere], credentials: [anthropic/none] }
";
    let found = refused(text, false);
    assert_eq!(
        found,
        [
            "3: the team \"platform\" names the customer \"globex\", which is neither in the file nor there already",
            "6: the key \"dev\" names the team \"other\", which is neither in the file nor there already",
            "7: the key \"k\" names the credential \"anthropic/none\", which no provider that it may reach has",
            "7: the key \"k\" names the provider \"nowhere\", which is neither in the file nor there already",
            "7: the key \"k\" names the user \"nobody\", which is neither in the file nor there already",
        ]
    );
    let one = |text: &str, expect: &str| {
        let found = refused(text, false);
        assert!(found.len() == 1 && found[0].contains(expect), "{text}: {found:?}");
    };
    one("teams: [{ name: new }]", "needs customer to be created");
    one("keys: [{ name: new }]", "needs team to be created");
    one("customers: [{ name: b }]\nteams: [{ name: platform, customer: b }]", "fixed after creation");
    one("providers: [{ name: anthropic, dialect: openai_chat }]", "fixed after creation");
    one("providers: [{ name: new, dialect: anthropic }]", "needs base_url");
    one("models: [{ model: a/new, input: 1 }]", "needs output");
    one("models: [{ model: A/new, input: 1, output: 1 }]", "the model \"A/new\": vendor must be");
    one(
        "providers: [{ name: anthropic, credentials: [{ name: spare, secret: 'stored://000000000000' }] }]",
        "another one than the file means",
    );
    one(
        "providers: [{ name: anthropic, credentials: [{ name: primary, secret: 'stored://' }] }]",
        "no stored secret that could stay",
    );
    one(
        "providers: [{ name: anthropic, credentials: [{ name: new, secret: 'stored://' }] }]",
        "no credential \"new\" whose secret could stay",
    );
}

#[test]
fn a_bare_credential_means_that_of_every_provider_that_the_key_may_reach() {
    let text = |providers: &str| {
        format!(
            "providers: [{{ name: other, dialect: anthropic, base_url: 'https://x', credentials: [{{ name: primary, secret: 'env://X' }}] }}]\n\
             keys: [{{ name: new, team: platform, providers: {providers}, credentials: [primary] }}]"
        )
    };
    for (providers, expect) in [
        ("[]", &["anthropic/primary", "other/primary"][..]),
        ("[other]", &["other/primary"]),
        ("[provider-1]", &["anthropic/primary"]),
    ] {
        let plan = planned(&text(providers));
        let Call::Key { write: Some(Write::Create(key)), .. } = &plan.steps.last().unwrap().call else { panic!() };
        assert_eq!(key.credentials, expect, "{providers}");
    }
}

#[test]
fn pruning_deletes_in_the_sections_of_the_file_and_nowhere_else() {
    let gone = |text: &str| {
        let plan = plan(&State::new(lists()), &read(text).unwrap(), true).unwrap();
        plan.steps.into_iter().map(|step| (step.action, step.kind, step.name)).collect::<Vec<_>>()
    };
    assert_eq!(gone("customers: [{ name: acme }]"), []);
    let delete = |kind, name: &str| (Action::Delete, kind, name.to_owned());
    assert_eq!(gone("keys: []"), [delete(Kind::Key, "dev")]);
    assert_eq!(gone("models: []"), [delete(Kind::Model, "anthropic/set")]);
    assert_eq!(
        gone("customers: []\nteams: []\nusers: []\nproviders: []\nkeys: []\nmodels: []"),
        [
            delete(Kind::Key, "dev"),
            delete(Kind::User, "ada"),
            delete(Kind::Team, "platform"),
            delete(Kind::Customer, "acme"),
            delete(Kind::Model, "anthropic/set"),
            delete(Kind::Provider, "anthropic"),
        ]
    );
    assert!(
        refused("teams: []\nusers: [{ name: ada, team: platform }]", true)[0].contains("names the team \"platform\"")
    );
}

#[test]
fn an_export_hides_secrets_and_leaves_out_what_does_not_hold_back() {
    let text = yaml(&State::new(lists()).export()).unwrap();
    assert!(
        text.contains("env://KEY") && text.contains("stored://aabbccddeeff") && text.contains("anthropic/primary"),
        "{text}"
    );
    for absent in ["disabled", "revoked", "shipped", "team-1", "etag"] {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
}
