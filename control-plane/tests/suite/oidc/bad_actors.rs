//! Tokens that lie, issuers that misbehave, and those who press the same button four hundred times.

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::{Value, json};
use tollgate_proto::admin::v1;

use super::{
    fake::{Fake, Keys, header, now},
    person::{Person, encoded, location},
    start,
};
use crate::{
    roles::As,
    world::{Place, World},
};

type Change = fn(&Fake, &mut Value, &mut Value);

/// What is refused, why, and how the token is changed for it.
const BAD_TOKENS: &[(&str, &str, Change)] = &[
    ("alg none", "algorithm", |_, header, _| header["alg"] = json!("none")),
    ("alg HS256", "algorithm", |_, header, _| header["alg"] = json!("HS256")),
    ("another alg", "algorithm", |_, header, _| header["alg"] = json!("RS384")),
    ("unknown kid", "a key that the issuer does not have", |_, header, _| header["kid"] = json!("two")),
    ("a type of other tokens", "of a type", |_, header, _| header["typ"] = json!("at+jwt")),
    ("critical header", "critical extension", |_, header, _| header["crit"] = json!(["x"])),
    ("another iss", "another issuer", |_, _, claims| claims["iss"] = json!("https://evil.example")),
    ("another aud", "another audience", |_, _, claims| claims["aud"] = json!("other")),
    ("more aud without azp", "another party", |_, _, claims| claims["aud"] = json!(["tollgate", "other"])),
    ("another azp", "another party", |_, _, claims| claims["azp"] = json!("other")),
    ("another nonce", "another sign-in", |_, _, claims| claims["nonce"] = json!("other")),
    ("no nonce", "another sign-in", |_, _, claims| drop(claims.as_object_mut().unwrap().remove("nonce"))),
    ("expired", "expired", |_, _, claims| claims["exp"] = json!(now() - 1)),
    ("not yet", "not valid yet", |_, _, claims| claims["nbf"] = json!(now() + 600)),
    ("no exp", "the claim exp is missing", |_, _, claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
    ("exp as text", "the claim exp does not", |_, _, claims| claims["exp"] = json!((now() + 300).to_string())),
    ("nbf as text", "the claim nbf does not", |_, _, claims| claims["nbf"] = json!("0")),
    ("azp as a list", "the claim azp does not", |_, _, claims| claims["azp"] = json!(["tollgate"])),
    ("sub as a number", "the claim sub does not", |_, _, claims| claims["sub"] = json!(1)),
    ("groups as a number", "the claim groups does not", |_, _, claims| claims["groups"] = json!(7)),
    ("verified as text", "not a signed JWT", |_, _, claims| claims["email_verified"] = json!("true")),
    ("overage without userinfo", "too many for the token", |_, _, claims| {
        claims["_claim_names"] = json!({"groups": "x"})
    }),
];

pub(crate) async fn reasons(world: &World) -> Vec<String> {
    let entries = world.log("action=session.refuse").await;
    entries.into_iter().map(|entry| format!("{:?}", entry.detail)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_19_bad_actors_and_mistyped_claims_are_refused_and_written_down() {
    crate::world::run(crate::world::Database::sqlite(), bad_actors).await;
}

async fn bad_actors(place: Place) {
    let (fake, other) = (Fake::start().await, Fake::start().await);
    let text = fake.settings("corp", "algorithms = ['ES256']\nbearer_audiences = ['api']")
        + &other.settings("other", "group_prefix = 'other:'");
    let world = start(&place, &text).await;
    let mut person = Person::new(&world);
    *fake.shared.userinfo.lock().unwrap() = json!({"sub": "subject-1"});

    for (at, (name, reason, change)) in BAD_TOKENS.iter().enumerate() {
        let (state, nonce) = person.begin("corp").await;
        let (mut header, mut claims) = (header(), fake.claims(&nonce));
        change(&fake, &mut header, &mut claims);
        fake.give(&fake.forge(&header, &claims));
        let back = location(&person.come_back(&state).await);
        assert_eq!(back["error"], "access_denied", "{name}");
        let written = reasons(&world).await;
        assert_eq!(written.len(), at + 1, "{name}");
        assert!(written[at].contains(reason), "{name}: {}", written[at]);
    }
    assert!(world.users().list_users(v1::ListUsersRequest::default()).await.unwrap().into_inner().users.is_empty());

    // Unknown keys have the key set read again, once a minute.
    assert_eq!(fake.shared.key_reads.load(Ordering::SeqCst), 2);

    // A signature of another issuer's key; a state that was used; one that was made up; another browser; a mix-up.
    let (state, nonce) = person.begin("corp").await;
    fake.give(&other.sign(&header(), &fake.claims(&nonce)));
    assert_eq!(location(&person.come_back(&state).await)["error"], "access_denied");
    let mut before = reasons(&world).await.len();
    let (used, _) = (state, ());
    let (fresh, _) = person.begin("corp").await;
    let mut stranger = Person::new(&world);
    for answer in [person.come_back(&used).await, person.come_back("made-up").await, stranger.come_back(&fresh).await] {
        assert_eq!(answer.status(), 403);
    }
    let (state, _) = person.begin("corp").await;
    let mixed = person.get(&format!("/oauth/callback?state={state}&code=x&iss={}", encoded(&other.url))).await;
    assert_eq!(location(&mixed)["error"], "access_denied");
    before += 4;
    assert_eq!(reasons(&world).await.len(), before);

    // A code is good once, with its verifier and its redirect_uri.
    let (state, nonce) = person.begin("corp").await;
    fake.give(&fake.sign(&header(), &fake.claims(&nonce)));
    let code = location(&person.come_back(&state).await)["code"].clone();
    assert_eq!(person.exchange(&code).await.status(), 200);
    assert_eq!(person.exchange(&code).await.status(), 400);
    assert_eq!(reasons(&world).await.len(), before + 1);

    // A group that is called like a role is a group; the same subject elsewhere is somebody else.
    let tokens = person.sign_in(&fake, "corp", |claims| drop(claims.insert("groups".into(), json!(["admin"])))).await;
    let bearer = World::bearer(tokens["access_token"].as_str().unwrap());
    let service = tonic::service::interceptor::InterceptedService::new(world.channel(), bearer);
    let mut calls = v1::customer_service_client::CustomerServiceClient::new(service);
    assert!(calls.list_customers(v1::ListCustomersRequest::default()).await.is_err());
    let (state, nonce) = person.begin("other").await;
    other.give(&other.sign(&header(), &other.claims(&nonce)));
    assert!(location(&person.come_back(&state).await).contains_key("code"));
    let users = world.users().list_users(v1::ListUsersRequest::default()).await.unwrap().into_inner().users;
    assert_eq!(users.len(), 2);
    world.stop().await;
    fake.stop();
    other.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_at_the_sign_in_page_silences_no_refusal_of_an_admin_call() {
    crate::world::run(crate::world::Database::sqlite(), flood).await;
}

async fn flood(place: Place) {
    const SENT: usize = 400;
    let fake = Fake::start().await;
    let world = start(&place, &fake.settings("corp", "")).await;
    let mut person = Person::new(&world);
    for _ in 0..SENT {
        assert_eq!(person.come_back("made-up").await.status(), 403);
    }
    // The flood may have begun in one minute and ended in the next.
    let written = reasons(&world).await.len();
    assert!((120..=240).contains(&written), "{written}");
    let nobody = As::token(&world, "tga_made-up");
    let mut calls = v1::customer_service_client::CustomerServiceClient::new(nobody.service());
    assert!(calls.list_customers(v1::ListCustomersRequest::default()).await.is_err());
    assert_eq!(world.log("action=call.authenticate").await.len(), 1);
    world.stop().await;
    fake.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_whose_keys_are_out_of_bounds_lets_nobody_in() {
    crate::world::run(crate::world::Database::sqlite(), bad_keys).await;
}

async fn bad_keys(place: Place) {
    for keys_are in [Keys::Huge, Keys::Elsewhere, Keys::Slow] {
        let fake = Fake::start().await;
        *fake.shared.keys_are.lock().unwrap() = keys_are;
        let world = start(&place, &fake.settings("corp", "")).await;
        let mut person = Person::new(&world);
        let before = reasons(&world).await.len();
        let begun = tokio::time::timeout(Duration::from_secs(20), person.get("/login")).await.unwrap();
        assert_eq!(begun.status(), 503, "{keys_are:?}");
        assert_eq!(reasons(&world).await.len(), before + 1, "{keys_are:?}");
        assert_eq!(fake.shared.key_reads.load(Ordering::SeqCst), 1, "{keys_are:?}");
        world.stop().await;
        fake.stop();
    }
}
