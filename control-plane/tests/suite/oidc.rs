//! People sign in, by way of an identity provider that the tests play.

#[path = "oidc/fake.rs"]
mod fake;
#[path = "oidc/person.rs"]
mod person;
#[path = "oidc/bad_actors.rs"]
mod bad_actors;
#[path = "oidc/bearer.rs"]
mod bearer;
#[path = "oidc/overage.rs"]
mod overage;
#[path = "oidc/standing.rs"]
mod standing;

use std::net::SocketAddr;

use reqwest::Url;
use serde_json::{Value, json};
use tollgate_control_plane::{
    config::Config,
    oidc::settings::{self, IssuerSettings},
};
use tollgate_proto::admin::v1;
use tollgate_settings::SecretSource;

use self::fake::Tokens;
pub(crate) use self::{
    fake::{Fake, header},
    person::{Person, encoded, location, text},
};
use crate::world::{Place, World, config, mask, over_both};

over_both! {
    a_person_signs_in_stays_and_leaves
    a_device_is_signed_in_by_its_person
}

pub(crate) fn issuers(text: &str) -> Vec<IssuerSettings> {
    settings::read(text, &|source| match source {
        SecretSource::Literal(secret) => Ok(secret.clone()),
        _ => Err("no".to_owned()),
    })
    .unwrap()
}

pub(crate) async fn start(place: &Place, settings: &str) -> World {
    start_at(place, issuers(settings), "127.0.0.1:0".parse().unwrap()).await
}

/// Another control plane over the same database.
pub(crate) async fn start_beside(place: &Place, settings: &str) -> World {
    World::start_from(Config { issuers: issuers(settings), ..config(place, "other") }).await
}

pub(crate) async fn start_at(place: &Place, issuers: Vec<IssuerSettings>, http_listen: SocketAddr) -> World {
    World::start_from(Config { issuers, http_listen, ..config(place, "data") }).await
}

pub(crate) async fn groups(world: &World, issuer: &str, user: &v1::User) -> Vec<String> {
    let mut txn = world.store.begin_read().await.unwrap();
    let id = tollgate_policy::id::UserId::parse(&user.id).unwrap();
    let groups = txn.memberships(&id, issuer).await.unwrap();
    txn.end().await.unwrap();
    groups.into_iter().collect()
}

pub(crate) async fn user(world: &World, name: &str) -> v1::User {
    world.users().get_user(v1::GetUserRequest { user: name.into() }).await.unwrap().into_inner()
}

async fn a_person_signs_in_stays_and_leaves(place: Place) {
    let fake = Fake::start().await;
    let world = start(&place, &fake.settings("corp", "group_prefix = 'corp:'")).await;
    let mut person = Person::new(&world);
    let described: Value = person.get("/.well-known/oauth-authorization-server").await.json().await.unwrap();
    assert_eq!(described["code_challenge_methods_supported"], json!(["S256"]));

    let tokens = person.sign_in(&fake, "", |_| {}).await;
    assert!(text(&tokens, "access_token").starts_with("tgu_") && text(&tokens, "refresh_token").starts_with("tgr_"));
    let ada = user(&world, "ada").await;
    assert_eq!(ada.email, "ada@corp.example");
    assert_eq!(groups(&world, &fake.url, &ada).await, ["corp:dev"]);
    for (action, initiator) in
        [("user.provision", "issuer/corp".to_owned()), ("session.create", format!("user/{}", ada.id))]
    {
        let entries = world.log(&format!("action={action}")).await;
        assert_eq!(entries.len(), 1, "{action}");
        assert_eq!(entries[0].initiator, initiator);
    }

    // A change of groups takes effect at the next renewal, and the renewed tokens replace the old ones.
    fake.say(|claims| drop(claims.insert("groups".into(), json!(["ops"]))));
    let renewed: Value = person.refresh(text(&tokens, "refresh_token")).await.json().await.unwrap();
    assert_eq!(groups(&world, &fake.url, &ada).await, ["corp:ops"]);
    assert_ne!(renewed["access_token"], tokens["access_token"]);

    // A refresh token that is used again ends the session, the renewed tokens included.
    assert_eq!(person.refresh(text(&tokens, "refresh_token")).await.status(), 400);
    assert_eq!(person.refresh(text(&renewed, "refresh_token")).await.status(), 400);
    assert_eq!(world.log("action=session.end").await.len(), 1);

    // Revocation; a grant that the issuer ends; a disabled user.
    let tokens = person.sign_in(&fake, "corp", |_| {}).await;
    assert_eq!(person.post("/oauth/revoke", &[("token", text(&tokens, "access_token"))]).await.status(), 200);
    assert_eq!(person.refresh(text(&tokens, "refresh_token")).await.status(), 400);
    let tokens = person.sign_in(&fake, "corp", |_| {}).await;
    *fake.shared.tokens_are.lock().unwrap() = Tokens::Refused;
    assert_eq!(person.refresh(text(&tokens, "refresh_token")).await.status(), 400);
    *fake.shared.tokens_are.lock().unwrap() = Tokens::Given;
    let tokens = person.sign_in(&fake, "corp", |_| {}).await;
    let disabled = v1::User { id: ada.id.clone(), disabled: true, ..Default::default() };
    let request = v1::UpdateUserRequest { user: Some(disabled), update_mask: mask(&["disabled"]) };
    world.users().update_user(request).await.unwrap();
    assert_eq!(person.refresh(text(&tokens, "refresh_token")).await.status(), 400);
    let (state, nonce) = person.begin("corp").await;
    fake.give(&fake.sign(&header(), &fake.claims(&nonce)));
    assert_eq!(location(&person.come_back(&state).await)["error"], "access_denied");

    // Somebody else with the same address is somebody else.
    person.sign_in(&fake, "corp", |claims| drop(claims.insert("sub".into(), json!("subject-2")))).await;
    assert_eq!(user(&world, "ada-2").await.email, "");

    let dump = String::from_utf8_lossy(&place.dump().await).into_owned();
    for canary in ["idp-refresh-canary", "client-canary", text(&tokens, "access_token"), text(&tokens, "refresh_token")]
    {
        assert!(!dump.contains(canary), "{canary} is in the database");
    }

    // A browser's session ends by the form of a page of ours and by no other.
    let begun = location(&person.get("/login?next=/logout").await);
    let mut claims = fake.claims(&begun["nonce"]);
    claims["sub"] = json!("subject-2");
    fake.give(&fake.sign(&header(), &claims));
    assert_eq!(person.come_back(&begun["state"]).await.headers()["location"], "/logout");
    let page = person.get("/logout").await.text().await.unwrap();
    let form_token = page.split("value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let evil = person.post_from("/logout", &[("form_token", &form_token)], "https://evil.example").await;
    assert_eq!(evil.status(), 403);
    assert_eq!(person.post("/logout", &[("form_token", "made-up")]).await.status(), 403);
    assert_eq!(person.post("/logout", &[("form_token", &form_token)]).await.status(), 303);
    assert!(!person.is_signed_in().await);
    world.stop().await;
    fake.stop();
}

async fn a_device_is_signed_in_by_its_person(place: Place) {
    let fake = Fake::start().await;
    let world = start(&place, &fake.settings("corp", "")).await;
    let (mut device, mut person) = (Person::new(&world), Person::new(&world));
    for (answer, expect) in [("yes", 200), ("no", 400)] {
        let begun: Value =
            device.post("/oauth/device_authorization", &[("client_id", "tollgate-cli")]).await.json().await.unwrap();
        let poll = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("client_id", "tollgate-cli"),
            ("device_code", text(&begun, "device_code")),
        ];
        for error in ["authorization_pending", "slow_down"] {
            let asked: Value = device.post("/oauth/token", &poll).await.json().await.unwrap();
            assert_eq!(asked["error"], error);
        }
        assert_eq!(person.post("/oauth/device", &[("user_code", "BBBB-BBBB")]).await.status(), 400);
        let code = [("user_code", text(&begun, "user_code"))];
        assert_eq!(person.post_from("/oauth/device", &code, "https://evil.example").await.status(), 400);
        let page = person.post("/oauth/device", &code).await.text().await.unwrap();
        let link = page.split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
        let asked: std::collections::HashMap<_, _> = Url::parse(&link).unwrap().query_pairs().into_owned().collect();
        fake.give(&fake.sign(&header(), &fake.claims(&asked["nonce"])));
        let page = person.come_back(&asked["state"]).await.text().await.unwrap();
        let ticket = page.split("value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        // Signed in is not yet confirmed, and nobody else confirms.
        let waiting: Value = device.post("/oauth/token", &poll).await.json().await.unwrap();
        assert!(waiting["error"].is_string());
        assert_eq!(person.post("/oauth/device", &[("ticket", &ticket), ("answer", answer)]).await.status(), 200);
        assert_eq!(device.post("/oauth/token", &poll).await.status(), expect, "{answer}");
        let again: Value = device.post("/oauth/token", &poll).await.json().await.unwrap();
        assert_eq!(again["error"], "expired_token");
    }
    world.stop().await;
    fake.stop();
}
