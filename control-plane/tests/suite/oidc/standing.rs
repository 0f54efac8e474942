//! Sessions while they are used: every quarter of an hour the issuer is asked again, and one that cannot be asked has an hour.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tollgate_control_plane::store::Statement;
use tollgate_proto::admin::v1::{
    self, binding::Scope, binding::Subject, customer_service_client::CustomerServiceClient,
    session_service_client::SessionServiceClient,
};
use tonic::Code;

use super::{
    fake::{Fake, Tokens},
    groups,
    person::{Person, text},
    start, user,
};
use crate::{
    roles::As,
    world::{Place, World, code, over_both},
};

over_both! {
    what_the_issuer_says_after_a_quarter_of_an_hour_counts
    an_issuer_that_is_away_has_an_hour
    a_renewal_waits_for_an_issuer_that_is_away_for_longer
}

/// So many minutes go by for every session: all that is remembered of it becomes so much older.
pub(super) async fn pass(world: &World, minutes: i64) {
    let mut txn = world.store.begin().await.unwrap();
    let update = Statement::new(
        "UPDATE sessions SET create_time = create_time - $1, used_time = used_time - $1, checked_time = checked_time - $1,
         claim_time = claim_time - $1, access_expire_time = access_expire_time - $1, expire_time = expire_time - $1",
    );
    txn.execute(update.bind(minutes * 60_000)).await.unwrap();
    txn.commit().await.unwrap();
}

async fn list(world: &World, token: &str) -> Result<(), tonic::Status> {
    let mut customers = CustomerServiceClient::new(As::token(world, token).service());
    customers.list_customers(v1::ListCustomersRequest::default()).await.map(drop)
}

// What replicas are told of the only session: whether it has ended, until when what it issued holds, and the revision.
async fn told(world: &World) -> (bool, i64, i64) {
    let mut txn = world.store.begin_read().await.unwrap();
    let row = txn.fetch_one(Statement::new("SELECT ended, tokens_expire_time, revision FROM sessions")).await.unwrap();
    (row.flag("ended").unwrap(), row.int("tokens_expire_time").unwrap(), row.int("revision").unwrap())
}

async fn what_the_issuer_says_after_a_quarter_of_an_hour_counts(place: Place) {
    let fake = Fake::start().await;
    let world = start(&place, &fake.settings("corp", "group_prefix = 'corp:'")).await;
    let root = As::token(&world, &world.token);
    root.bind("viewer", Subject::Group("corp:dev".into()), None).await.unwrap();
    let mut person = Person::new(&world);
    let cookie = person.log_in(&fake).await;
    let ada = user(&world, "ada").await;
    root.bind("developer", Subject::User(ada.id.clone()), Some(Scope::Own(true))).await.unwrap();
    world.customer("acme").await;
    world.team("dev", "acme").await;
    let key = v1::Key { name: "laptop".into(), team: "dev".into(), user: ada.id.clone(), ..Default::default() };
    world.key(key).await.unwrap();
    let asked = || fake.shared.token_reads.load(Ordering::SeqCst);
    let groups_are = |names: Value| fake.say(|claims| drop(claims.insert("groups".into(), names)));

    groups_are(json!(["ops"]));
    let before = asked();
    pass(&world, 14).await;
    list(&world, &cookie).await.unwrap();
    assert_eq!(asked(), before, "a session that was verified a moment ago is believed");
    pass(&world, 1).await;
    assert_eq!(code(list(&world, &cookie).await), Code::PermissionDenied, "who left the group lost its role");
    assert_eq!(groups(&world, &fake.url, &ada).await, ["corp:ops"]);
    assert_eq!(world.log("action=user.groups").await.last().unwrap().initiator, "issuer/corp");
    groups_are(json!(["dev"]));
    assert_eq!(code(list(&world, &cookie).await), Code::PermissionDenied);
    assert_eq!(asked(), before + 1, "asked once, then believed for a quarter of an hour");
    pass(&world, 15).await;
    list(&world, &cookie).await.unwrap();

    // Who is gone at the issuer loses the session, and replicas are told of it for the credential that it issued.
    let mut sessions = SessionServiceClient::new(As::token(&world, &cookie).service());
    let request = v1::IssueTokenRequest { key: "laptop".into(), life: None };
    sessions.issue_token(request.clone()).await.unwrap();
    let (ended, until, _) = told(&world).await;
    assert!(!ended && until > tollgate_control_plane::clock::now_ms());
    *fake.shared.tokens_are.lock().unwrap() = Tokens::Refused;
    list(&world, &cookie).await.unwrap();
    pass(&world, 15).await;
    assert_eq!(code(list(&world, &cookie).await), Code::Unauthenticated);
    let (ended, until, revision) = told(&world).await;
    assert!(ended && until > tollgate_control_plane::clock::now_ms());
    assert_eq!(revision, world.store.revision().await.unwrap());
    let entry = world.log("action=session.end").await.pop().unwrap();
    assert_eq!(entry.initiator, "issuer/corp");
    assert!(entry.detail.contains("the identity provider has ended the grant"), "{entry:?}");
    assert_eq!(world.log("action=call.authenticate").await.len(), 1);

    // It does not come back with the issuer's yes.
    *fake.shared.tokens_are.lock().unwrap() = Tokens::Given;
    pass(&world, 15).await;
    assert_eq!(code(list(&world, &cookie).await), Code::Unauthenticated);
    assert_eq!(code(sessions.issue_token(request).await), Code::Unauthenticated);
    assert!(!person.is_signed_in().await);
    world.stop().await;
    fake.stop();
}

async fn an_issuer_that_is_away_has_an_hour(place: Place) {
    let fake = Fake::start().await;
    let world = start(&place, &fake.settings("corp", "group_prefix = 'corp:'")).await;
    let root = As::token(&world, &world.token);
    root.bind("viewer", Subject::Group("corp:dev".into()), None).await.unwrap();
    let mut person = Person::new(&world);
    let cookie = person.log_in(&fake).await;
    fake.say(|_| {});
    *fake.shared.tokens_are.lock().unwrap() = Tokens::Down;
    for minutes in [16, 43] {
        let before = fake.shared.token_reads.load(Ordering::SeqCst);
        pass(&world, minutes).await;
        list(&world, &cookie).await.unwrap();
        assert_eq!(fake.shared.token_reads.load(Ordering::SeqCst), before + 1, "it is asked nevertheless");
        // The next one goes by what is known: each would wait in turn.
        list(&world, &cookie).await.unwrap();
        assert_eq!(fake.shared.token_reads.load(Ordering::SeqCst), before + 1);
    }
    pass(&world, 1).await;
    assert_eq!(code(list(&world, &cookie).await), Code::Unauthenticated, "an hour has gone by");
    assert!(!person.is_signed_in().await);
    assert_eq!(world.log("action=call.authenticate").await.len(), 1);
    assert!(world.log("action=session.end").await.is_empty(), "it waits");

    *fake.shared.tokens_are.lock().unwrap() = Tokens::Given;
    pass(&world, 1).await;
    list(&world, &cookie).await.unwrap();
    assert!(person.is_signed_in().await);
    world.stop().await;
    fake.stop();
}

async fn a_renewal_waits_for_an_issuer_that_is_away_for_longer(place: Place) {
    let fake = Fake::start().await;
    let world = start(&place, &fake.settings("corp", "group_prefix = 'corp:'")).await;
    let mut person = Person::new(&world);
    let tokens = person.sign_in(&fake, "corp", |_| {}).await;
    fake.say(|_| {});
    *fake.shared.tokens_are.lock().unwrap() = Tokens::Down;
    pass(&world, 59).await;
    let tokens: Value = person.refresh(text(&tokens, "refresh_token")).await.json().await.unwrap();
    pass(&world, 1).await;
    let refused = person.refresh(text(&tokens, "refresh_token")).await;
    assert_eq!(refused.status(), 503);
    let said: Value = refused.json().await.unwrap();
    assert_eq!(said["error"], "temporarily_unavailable");
    let entry = world.log("action=session.refuse").await.pop().unwrap();
    assert_eq!(entry.outcome, "failed");
    assert!(entry.target.starts_with("session/") && entry.detail.contains("for an hour"), "{entry:?}");

    *fake.shared.tokens_are.lock().unwrap() = Tokens::Given;
    pass(&world, 1).await;
    let renewed = person.refresh(text(&tokens, "refresh_token")).await;
    assert_eq!(renewed.status(), 200, "the refresh token was not spent");
    assert!(world.log("action=session.end").await.is_empty());
    world.stop().await;
    fake.stop();
}
