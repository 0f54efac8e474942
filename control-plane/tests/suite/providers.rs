//! Providers and their credentials.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_control_plane::{clock, seal::Place as Sealed};
use tollgate_proto::{
    admin::v1,
    fleet::v1::{Alive, Resting, follow_request::Message as Say},
};
use tonic::Code;

use crate::{
    fleet::{Follower, Member},
    world::{Place, World, code, config, mask, over_both, violations},
};

over_both! {
    a_provider_is_written_without_its_secrets
    every_wrong_field_of_a_provider_is_named
    credentials_are_kept_replaced_renamed_and_deleted
    what_a_key_names_is_not_deleted
    how_a_provider_differs_is_kept_in_one_spelling
    what_replicas_leave_alone_is_told_over_those_that_are_connected
}

async fn a_provider_is_written_without_its_secrets(place: Place) {
    let world = World::start(&place).await;
    let made = world.provider("anthropic", &[("literal", "sk-ant-canary-1"), ("reference", "env://KEY")]).await;
    let [literal, reference] = made.credentials.as_slice() else { panic!("{made:?}") };
    assert_eq!((literal.secret.as_str(), literal.reference.as_str(), literal.fingerprint.len()), ("", "", 12));
    assert_eq!((reference.reference.as_str(), reference.fingerprint.as_str()), ("env://KEY", ""));
    assert_eq!((literal.weight, made.etag.is_empty()), (1, false));
    let opened = opened(&world, &place, &literal.id).await;
    assert_eq!(opened.as_deref(), Some("sk-ant-canary-1"));
    let filter = "dialect=anthropic AND disabled=false AND name=anthropic".into();
    let list = v1::ListProvidersRequest { filter, ..Default::default() };
    let listed = world.providers().list_providers(list).await.unwrap().into_inner().providers;
    assert_eq!(listed, std::slice::from_ref(&made));
    let get = v1::GetProviderRequest { provider: made.id.clone() };
    assert_eq!(world.providers().get_provider(get).await.unwrap().into_inner(), made);
    world.stop().await;
}

async fn every_wrong_field_of_a_provider_is_named(place: Place) {
    let world = World::start(&place).await;
    let create = async |provider: v1::Provider| {
        world.providers().create_provider(v1::CreateProviderRequest { provider: Some(provider) }).await
    };
    let credential = |name: &str, secret: &str, weight: i32| v1::Credential {
        name: name.into(),
        secret: secret.into(),
        weight,
        ..Default::default()
    };
    let bad = v1::Provider {
        id: "provider-x".into(),
        name: "No".into(),
        dialect: "klingon".into(),
        base_url: "ftp://x".into(),
        models: vec!["ok".into(), "not ok".into(), String::new()],
        vendor: "Not A Vendor".into(),
        credentials: vec![
            credential("a", "", 0),
            credential("b", "vault://x", 2_000),
            credential("B", "has space", -1),
            credential("c", "env://", 0),
            credential("d", "file://relative", 0),
            credential("e", "good", 1),
            credential("e", "good", 1),
        ],
        ..Default::default()
    };
    let expect = [
        "base_url",
        "credentials[0].secret",
        "credentials[1].secret",
        "credentials[1].weight",
        "credentials[2].name",
        "credentials[2].secret",
        "credentials[2].weight",
        "credentials[3].secret",
        "credentials[4].secret",
        "credentials[6].name",
        "dialect",
        "id",
        "models[1]",
        "models[2]",
        "name",
        "vendor",
    ];
    assert_eq!(violations(create(bad).await), expect);
    let good = v1::Provider { name: "p".into(), dialect: "anthropic".into(), ..Default::default() };
    for (base_url, allow_private, fine) in [
        ("http://localhost:9", false, false),
        ("http://localhost:9", true, true),
        ("https://u:p@host", true, false),
        ("https://host?x", true, false),
    ] {
        let provider =
            v1::Provider { name: format!("p-{fine}"), base_url: base_url.into(), allow_private, ..good.clone() };
        let created = create(provider).await;
        if fine { assert!(created.is_ok()) } else { assert_eq!(violations(created), ["base_url"], "{base_url}") }
    }
    // Taking the permission away does not leave a private address behind.
    let closed = v1::Provider { name: "p-true".into(), ..Default::default() };
    let request = v1::UpdateProviderRequest { provider: Some(closed), update_mask: mask(&["allow_private"]) };
    assert_eq!(violations(world.providers().update_provider(request).await), ["base_url"]);
    world.stop().await;
}

async fn credentials_are_kept_replaced_renamed_and_deleted(place: Place) {
    let world = World::start(&place).await;
    let made = world.provider("p", &[("a", "secret-a"), ("b", "secret-b")]).await;
    let (a, b) = (made.credentials[0].id.clone(), made.credentials[1].id.clone());
    let put = async |credentials: Vec<v1::Credential>| {
        let provider = v1::Provider { name: "p".into(), credentials, ..Default::default() };
        let request = v1::UpdateProviderRequest { provider: Some(provider), update_mask: mask(&["credentials"]) };
        world.providers().update_provider(request).await.map(|answer| answer.into_inner().credentials)
    };

    // What was read can be written back: nothing changes.
    let revision = world.store.revision().await.unwrap();
    assert_eq!(put(made.credentials.clone()).await.unwrap(), made.credentials);
    let same = v1::Credential { secret: "secret-a".into(), ..made.credentials[0].clone() };
    put(vec![same, made.credentials[1].clone()]).await.unwrap();
    assert_eq!(world.store.revision().await.unwrap(), revision);

    // Two that swap their names keep their secrets.
    let [mut one, mut two] = [made.credentials[0].clone(), made.credentials[1].clone()];
    std::mem::swap(&mut one.name, &mut two.name);
    let swapped = put(vec![one, two]).await.unwrap();
    assert_eq!((swapped[0].id.as_str(), swapped[0].name.as_str()), (a.as_str(), "b"));
    assert_eq!(opened(&world, &place, &a).await.as_deref(), Some("secret-a"));

    // By name alone: one is replaced, one turns into a reference, one is new.
    let named =
        |name: &str, secret: &str| v1::Credential { name: name.into(), secret: secret.into(), ..Default::default() };
    let put_ids = put(vec![named("b", "secret-a2"), named("a", "env://B"), named("c", "secret-c")]).await.unwrap();
    assert_eq!((put_ids[0].id.as_str(), put_ids[1].id.as_str()), (a.as_str(), b.as_str()));
    assert_ne!(put_ids[0].fingerprint, made.credentials[0].fingerprint);
    assert_eq!(opened(&world, &place, &a).await.as_deref(), Some("secret-a2"));
    assert_eq!(opened(&world, &place, &b).await, None, "a secret that became a reference is forgotten");

    // What is missing is deleted, with its secret.
    assert_eq!(put(vec![named("c", "")]).await.unwrap().len(), 1);
    assert_eq!(opened(&world, &place, &a).await, None);

    let unknown = v1::Credential { id: a, ..named("x", "s") };
    assert_eq!(violations(put(vec![unknown]).await), ["credentials[0].id"]);
    assert_eq!(violations(put(vec![named("fresh", "")]).await), ["credentials[0].secret"]);
    let many = (0..33).map(|at| named(&format!("c{at}"), "s")).collect();
    assert_eq!(violations(put(many).await), ["credentials"]);
    world.stop().await;
}

async fn what_a_key_names_is_not_deleted(place: Place) {
    let world = World::start(&place).await;
    let provider = world.provider("p", &[("a", "sa"), ("b", "sb")]).await;
    world.any_key("k").await;
    let update = |providers: &[&str], credentials: &[&str]| {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let key = v1::Key {
            name: "k".into(),
            providers: texts(providers),
            credentials: texts(credentials),
            ..Default::default()
        };
        v1::UpdateKeyRequest { key: Some(key), update_mask: mask(&["providers", "credentials"]) }
    };
    let delete = v1::DeleteProviderRequest { provider: "p".into(), ..Default::default() };
    let shrink =
        v1::Provider { name: "p".into(), credentials: vec![provider.credentials[1].clone()], ..Default::default() };
    let shrink = v1::UpdateProviderRequest { provider: Some(shrink), update_mask: mask(&["credentials"]) };

    world.keys().update_key(update(&["p"], &[])).await.unwrap();
    let status = world.providers().delete_provider(delete.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("the key 'k'"), "{}", status.message());
    world.keys().update_key(update(&[], &["p/a"])).await.unwrap();
    assert_eq!(code(world.providers().delete_provider(delete.clone()).await), Code::FailedPrecondition);
    assert_eq!(code(world.providers().update_provider(shrink.clone()).await), Code::FailedPrecondition);
    let left = world.providers().get_provider(v1::GetProviderRequest { provider: "p".into() }).await.unwrap();
    assert_eq!(left.into_inner(), provider, "what was refused changed nothing");
    world.keys().update_key(update(&[], &[])).await.unwrap();
    world.providers().update_provider(shrink).await.unwrap();
    world.providers().delete_provider(delete).await.unwrap();
    assert_eq!(opened(&world, &place, &provider.credentials[1].id).await, None);
    world.stop().await;
}

async fn how_a_provider_differs_is_kept_in_one_spelling(place: Place) {
    let world = World::start(&place).await;
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let wanted = v1::Provider {
        name: "p".into(),
        dialect: "openai_chat".into(),
        base_url: "https://p.example/v1".into(),
        auth: "header:API-Key".into(),
        region: "eu-west-1".into(),
        quirks: texts(&["top_k", "max_tokens"]),
        ..Default::default()
    };
    let request = v1::CreateProviderRequest { provider: Some(wanted.clone()) };
    let made = world.providers().create_provider(request).await.unwrap().into_inner();
    let kept = |provider: &v1::Provider| (provider.auth.clone(), provider.region.clone(), provider.quirks.clone());
    assert_eq!(kept(&made), ("header:api-key".into(), "eu-west-1".into(), texts(&["max_tokens", "top_k"])));
    let get = v1::GetProviderRequest { provider: "p".into() };
    assert_eq!(world.providers().get_provider(get).await.unwrap().into_inner(), made);
    let update = async |provider: v1::Provider, paths: &[&str]| {
        let provider = v1::Provider { id: made.id.clone(), ..provider };
        let request = v1::UpdateProviderRequest { provider: Some(provider), update_mask: mask(paths) };
        world.providers().update_provider(request).await.map(tonic::Response::into_inner)
    };
    let revision = world.store.revision().await.unwrap();
    assert_eq!(update(wanted.clone(), &["auth", "region", "quirks"]).await.unwrap(), made);
    assert_eq!(world.store.revision().await.unwrap(), revision, "another spelling is no change");

    let bad = v1::Provider {
        auth: "cookie:x".into(),
        region: "eu west".into(),
        quirks: texts(&["top_k", "odd", "top_k"]),
        ..Default::default()
    };
    assert_eq!(
        violations(update(bad, &["auth", "region", "quirks"]).await),
        ["auth", "quirks[1]", "quirks[2]", "region"]
    );
    let signed = |region: &str| v1::Provider { auth: "sigv4".into(), region: region.into(), ..Default::default() };
    let created = v1::Provider { name: "q".into(), ..signed("") };
    let created = v1::Provider { dialect: wanted.dialect.clone(), base_url: wanted.base_url.clone(), ..created };
    let request = v1::CreateProviderRequest { provider: Some(created) };
    assert_eq!(violations(world.providers().create_provider(request).await), ["region"]);
    assert_eq!(violations(update(signed(""), &["auth", "region"]).await), ["region"]);
    let long = v1::Provider { region: "r".repeat(65), ..Default::default() };
    assert_eq!(violations(update(long, &["region"]).await), ["region"]);
    let updated = update(signed(""), &["auth", "quirks"]).await.unwrap();
    assert_eq!(kept(&updated), ("sigv4".into(), "eu-west-1".into(), vec![]));
    assert_eq!(
        violations(update(signed(""), &["region"]).await),
        ["region"],
        "its region goes with its signature only"
    );
    let entry = world.log("action=provider.update").await.pop().unwrap();
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
    let auth = serde_json::json!({"before": "header:api-key", "after": "sigv4"});
    let quirks = serde_json::json!({"before": ["max_tokens", "top_k"], "after": []});
    assert_eq!(detail["changed"], serde_json::json!({"auth": auth, "quirks": quirks}));
    world.stop().await;
}

async fn what_replicas_leave_alone_is_told_over_those_that_are_connected(place: Place) {
    let world = World::start(&place).await;
    let made = world.provider("p", &[("a", "env://A"), ("b", "env://B")]).await;
    let told = |health: &Option<v1::ProviderHealth>| {
        let v1::ProviderHealth { replicas, resting, cause, until } = health.clone().unwrap();
        format!("{resting}/{replicas} {cause} {}", until.is_some())
    };
    let all = |provider: &v1::Provider| {
        let credentials = provider.credentials.iter().map(|credential| &credential.health);
        [&provider.health].into_iter().chain(credentials).map(told).collect::<Vec<_>>()
    };
    assert_eq!(all(&made), ["0/0  false", "0/0  false", "0/0  false"]);
    let (a, b) = (made.credentials[0].id.clone(), made.credentials[1].id.clone());
    let resting = |id: &str, cause: &str, left_ms: i64| Resting { id: id.into(), cause: cause.into(), left_ms };
    let say = async |follower: &Follower, resting: Vec<Resting>| follower.say(Say::Alive(Alive { resting })).await;
    // It is written a moment after it was heard.
    let until = async |expect: [&str; 3]| {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let get = v1::GetProviderRequest { provider: "p".into() };
            let provider = world.providers().get_provider(get).await.unwrap().into_inner();
            if all(&provider) == expect {
                let list = v1::ListProvidersRequest::default();
                let listed = world.providers().list_providers(list).await.unwrap().into_inner().providers;
                assert_eq!(all(&listed[0]), expect);
                return provider;
            }
            assert!(Instant::now() < deadline, "{:?} is not {expect:?}", all(&provider));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (one, other) = (Member::join(&world, "one").await, Member::join(&world, "other").await);
    let third = Member::join(&world, "third").await;
    let (one, other, third) = (one.follow().await, other.follow().await, third.follow().await);
    until(["0/3  false", "0/3  false", "0/3  false"]).await;
    let before = clock::now_ms();
    say(&one, vec![resting(&made.id, "failing", 20_000), resting(&a, "limited", 60_000)]).await;
    // What is no provider and no credential is left out, and of a cause that is not known it is known that there is one.
    let odd =
        [resting("key-00000000000000000000000000", "late", 1), resting("nobody", "late", 1), resting(&b, "moody", 1)];
    say(&other, [odd.to_vec(), vec![resting(&a, "rejected", 5_000), resting(&a, "late", 5_000)]].concat()).await;
    say(&third, vec![resting(&a, "limited", 0)]).await;
    let provider = until(["1/3 failing true", "3/3 limited true", "1/3  true"]).await;
    let ends = provider.credentials[0].health.as_ref().unwrap().until.unwrap();
    let ends = ends.seconds * 1_000 + i64::from(ends.nanos) / 1_000_000;
    assert!((before + 60_000..=clock::now_ms() + 60_000).contains(&ends), "the last of them: {ends}");
    // What a caller got can be written back: how it is found is not for them to say.
    let revision = world.store.revision().await.unwrap();
    let request = v1::UpdateProviderRequest { provider: Some(provider.clone()), update_mask: mask(&["credentials"]) };
    assert_eq!(all(&world.providers().update_provider(request).await.unwrap().into_inner()), all(&provider));
    assert_eq!(world.store.revision().await.unwrap(), revision);
    let claimed = v1::Provider {
        name: "q".into(),
        dialect: "anthropic".into(),
        base_url: "https://api.anthropic.com".into(),
        health: provider.health.clone(),
        ..Default::default()
    };
    let request = v1::CreateProviderRequest { provider: Some(claimed) };
    assert_eq!(violations(world.providers().create_provider(request).await), ["health"]);
    // Each sign of life says all of it again; who is gone says nothing.
    say(&one, vec![]).await;
    until(["0/3  false", "2/3 rejected true", "1/3  true"]).await;
    drop(other);
    until(["0/2  false", "1/2 limited true", "0/2  false"]).await;
    drop((one, third));
    world.stop().await;
}

// The literal secret of a credential as the control plane can open it.
async fn opened(world: &World, place: &Place, credential: &str) -> Option<String> {
    let keyring = config(place, "data").keyring().unwrap();
    let at = Sealed { purpose: "credential", id: credential };
    let mut txn = world.store.begin_read().await.unwrap();
    let sealed = txn.secret_get(at).await.unwrap();
    txn.end().await.unwrap();
    sealed.map(|sealed| String::from_utf8(keyring.open(at, &sealed).unwrap().to_vec()).unwrap())
}
