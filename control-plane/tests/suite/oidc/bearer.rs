//! Automation that presents a token of the identity provider as it is.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tollgate_proto::admin::v1::{self, binding::Subject, customer_service_client::CustomerServiceClient};
use tonic::Code;

use super::{
    fake::{Fake, header, now},
    groups, start, user,
};
use crate::{
    roles::As,
    world::{Place, World, code, mask, over_both},
};

over_both! {
    a_token_of_the_issuer_does_what_its_groups_may
    a_token_that_is_not_for_this_is_refused_and_written_down
}

const SETTINGS: &str = "group_prefix = 'corp:'\nbearer_audiences = ['tollgate-api']";

fn claims(fake: &Fake) -> Value {
    let mut claims = fake.claims("");
    claims.as_object_mut().unwrap().remove("nonce");
    claims["aud"] = json!("tollgate-api");
    claims
}

async fn list(world: &World, token: &str) -> Result<(), tonic::Status> {
    let mut customers = CustomerServiceClient::new(As::token(world, token).service());
    customers.list_customers(v1::ListCustomersRequest::default()).await.map(drop)
}

async fn create(world: &World, token: &str) -> Result<(), tonic::Status> {
    let customer = Some(v1::Customer { name: "acme".into(), ..Default::default() });
    let mut customers = CustomerServiceClient::new(As::token(world, token).service());
    customers.create_customer(v1::CreateCustomerRequest { customer }).await.map(drop)
}

async fn a_token_of_the_issuer_does_what_its_groups_may(place: Place) {
    let fake = Fake::start().await;
    let world = start(&place, &fake.settings("corp", SETTINGS)).await;
    let root = As::token(&world, &world.token);
    root.bind("viewer", Subject::Group("corp:dev".into()), None).await.unwrap();
    for typ in [None, Some("JWT"), Some("at+jwt"), Some("application/at+jwt")] {
        let mut header = header();
        header.as_object_mut().unwrap().extend(typ.map(|typ| ("typ".to_owned(), json!(typ))));
        let token = fake.sign(&header, &claims(&fake));
        list(&world, &token).await.unwrap_or_else(|status| panic!("{typ:?}: {status:?}"));
        assert_eq!(code(create(&world, &token).await), Code::PermissionDenied, "{typ:?}");
    }
    let ada = user(&world, "ada").await;
    assert_eq!(groups(&world, &fake.url, &ada).await, ["corp:dev"]);
    assert_eq!(world.log("action=user.provision").await.len(), 1, "a token that says the same makes nothing");
    let refused = world.log("outcome=refused").await;
    assert!(refused.iter().all(|entry| entry.action == "call.authorize"), "{refused:?}");
    assert!(refused.len() == 4 && refused.iter().all(|entry| entry.initiator == format!("user/{}", ada.id)));

    // One of several audiences is enough; what a token says of groups counts at once.
    let mut other = claims(&fake);
    other["aud"] = json!(["elsewhere", "tollgate-api"]);
    list(&world, &fake.sign(&header(), &other)).await.unwrap();
    other["groups"] = json!(["ops"]);
    let token = fake.sign(&header(), &other);
    assert_eq!(code(list(&world, &token).await), Code::PermissionDenied);
    root.bind("admin", Subject::Group("corp:ops".into()), None).await.unwrap();
    create(&world, &token).await.unwrap();
    let created = world.log("action=customer.create").await;
    assert_eq!(created[0].initiator, format!("user/{}", ada.id));
    world.stop().await;
    fake.stop();
}

type Change = fn(&Fake, &mut Value, &mut Value);

/// What is refused, the cause in the log, and how the token is changed for it.
const REFUSED: &[(&str, &str, Change)] = &[
    ("another aud", "another audience", |_, _, claims| claims["aud"] = json!("other")),
    ("the aud of a sign-in", "another audience", |_, _, claims| claims["aud"] = json!("tollgate")),
    ("no aud", "the claim aud is missing", |_, _, claims| drop(claims.as_object_mut().unwrap().remove("aud"))),
    ("expired", "expired", |_, _, claims| claims["exp"] = json!(now() - 1)),
    ("no exp", "the claim exp is missing", |_, _, claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
    ("not yet", "not valid yet", |_, _, claims| claims["nbf"] = json!(now() + 600)),
    ("unknown kid", "a key that the issuer does not have", |_, header, _| header["kid"] = json!("two")),
    ("alg none", "an algorithm that is not accepted", |_, header, _| header["alg"] = json!("none")),
    ("HS256 by the public key", "an algorithm that is not accepted", |_, header, _| header["alg"] = json!("HS256")),
    ("a logout token", "of a type", |_, header, _| header["typ"] = json!("logout+jwt")),
    ("a proof of possession", "of a type", |_, header, _| header["typ"] = json!("dpop+jwt")),
    ("a critical header", "critical extension", |_, header, _| header["crit"] = json!(["b64"])),
    ("an issuer that is none", "of no issuer", |_, _, claims| claims["iss"] = json!("https://evil.example")),
    ("no iss", "of no issuer", |_, _, claims| drop(claims.as_object_mut().unwrap().remove("iss"))),
    ("groups as a number", "the claim groups does not", |_, _, claims| claims["groups"] = json!(7)),
    ("overage", "too many for the token", |_, _, claims| claims["hasgroups"] = json!(true)),
    ("a group that is an emptiness", "a group is not", |_, _, claims| claims["groups"] = json!([""])),
];

async fn a_token_that_is_not_for_this_is_refused_and_written_down(place: Place) {
    let (fake, other) = (Fake::start().await, Fake::start().await);
    let text = fake.settings("corp", SETTINGS) + &other.settings("people", "group_prefix = 'people:'");
    let world = start(&place, &text).await;
    let root = As::token(&world, &world.token);
    root.bind("admin", Subject::Group("corp:dev".into()), None).await.unwrap();
    let mut tokens: Vec<(&str, &str, String)> = REFUSED
        .iter()
        .map(|(name, cause, change)| {
            let (mut header, mut claims) = (header(), claims(&fake));
            change(&fake, &mut header, &mut claims);
            (*name, *cause, fake.forge(&header, &claims))
        })
        .collect();
    tokens.push(("a key of another issuer", "the signature", other.sign(&header(), &claims(&fake))));
    tokens.push(("an issuer that gives none", "of no issuer", other.sign(&header(), &claims(&other))));
    let good = fake.sign(&header(), &claims(&fake));
    let mut changed = claims(&fake);
    changed["sub"] = json!("subject-2");
    let changed = fake.sign(&header(), &changed);
    let mixed: Vec<_> = good.split('.').zip(changed.split('.')).collect();
    tokens.push(("other claims under a signature", "the signature", [mixed[0].0, mixed[1].1, mixed[2].0].join(".")));

    for (at, (name, cause, token)) in tokens.iter().enumerate() {
        let status = list(&world, token).await.expect_err(name);
        assert_eq!(status.code(), Code::Unauthenticated, "{name}");
        assert!(status.message().starts_with("the token is not known"), "{name}: the cause is for the log: {status:?}");
        let entries = world.log("action=call.authenticate").await;
        assert_eq!(entries.len(), at + 1, "{name}");
        let entry = &entries[at];
        assert_eq!((entry.outcome.as_str(), entry.initiator.as_str()), ("refused", "unknown"), "{name}");
        let detail: Value = serde_json::from_str(&entry.detail).unwrap();
        assert_eq!(detail["call"], "/tollgate.admin.v1.CustomerService/ListCustomers", "{name}");
        assert!(detail["cause"].as_str().unwrap().contains(cause), "{name}: {detail}");
        assert!(!entry.source_address.is_empty() && !entry.detail.contains(token.as_str()), "{name}");
    }
    assert!(world.users().list_users(v1::ListUsersRequest::default()).await.unwrap().into_inner().users.is_empty());
    assert_eq!(fake.shared.key_reads.load(Ordering::SeqCst), 2, "an unknown key has them read again, once a minute");

    // Who is disabled is refused by the same token that was good before.
    list(&world, &good).await.unwrap();
    let disabled = v1::User { id: user(&world, "ada").await.id, disabled: true, ..Default::default() };
    let request = v1::UpdateUserRequest { user: Some(disabled), update_mask: mask(&["disabled"]) };
    world.users().update_user(request).await.unwrap();
    assert_eq!(code(list(&world, &good).await), Code::Unauthenticated);
    let last = world.log("action=call.authenticate").await.pop().unwrap();
    assert!(last.detail.contains("the user is disabled"), "{last:?}");
    world.stop().await;
    fake.stop();
    other.stop();
}
