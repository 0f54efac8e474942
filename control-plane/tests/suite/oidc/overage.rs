//! People who are in more groups than their token has room for: the rest is fetched, or they are not let in.

use serde_json::{Map, Value, json};

use super::{
    bad_actors::reasons,
    fake::{Fake, header},
    groups,
    person::{Person, location, text},
    standing::pass,
    start, user,
};
use crate::world::{Place, over_both};

over_both! {
    groups_that_the_token_has_no_room_for_are_fetched
}

type Overage = fn(&mut Map<String, Value>);

/// How tokens say that there are more groups.
const OVERAGES: &[(&str, Overage)] = &[
    ("distributed claims", |claims| {
        claims.remove("groups");
        claims.insert("_claim_names".into(), json!({"groups": "src1"}));
        claims.insert("_claim_sources".into(), json!({"src1": {"endpoint": "https://elsewhere.example/groups"}}));
    }),
    ("a flag", |claims| {
        claims.remove("groups");
        claims.insert("hasgroups".into(), json!(true));
    }),
    ("a part of them", |claims| drop(claims.insert("_claim_names".into(), json!({"groups": "src1"})))),
];

async fn groups_that_the_token_has_no_room_for_are_fetched(place: Place) {
    let fake = Fake::start().await;
    let world = start(&place, &fake.settings("corp", "group_prefix = 'corp:'")).await;
    let mut person = Person::new(&world);
    let userinfo = |answer: Value| *fake.shared.userinfo.lock().unwrap() = answer;
    for (name, overage) in OVERAGES {
        userinfo(json!({"sub": "subject-1", "groups": ["fetched", "ops"]}));
        let tokens = person.sign_in(&fake, "corp", overage).await;
        let ada = user(&world, "ada").await;
        assert_eq!(groups(&world, &fake.url, &ada).await, ["corp:fetched", "corp:ops"], "{name}");

        // They are fetched anew with each renewal, unless the last one was within half a minute.
        fake.say(overage);
        userinfo(json!({"sub": "subject-1", "groups": ["ops"]}));
        let renewed: Value = person.refresh(text(&tokens, "refresh_token")).await.json().await.unwrap();
        assert_eq!(groups(&world, &fake.url, &ada).await, ["corp:ops"], "{name}");

        // Who cannot be asked is forgiven for a while; who speaks of somebody else, or of a part, is not.
        pass(&world, 1).await;
        userinfo(Value::Null);
        let renewed: Value = person.refresh(text(&renewed, "refresh_token")).await.json().await.unwrap();
        assert_eq!(groups(&world, &fake.url, &ada).await, ["corp:ops"], "{name}");
        pass(&world, 1).await;
        userinfo(json!({"sub": "subject-2", "groups": ["ops"]}));
        assert_eq!(person.refresh(text(&renewed, "refresh_token")).await.status(), 400, "{name}");
    }
    let ended = world.log("action=session.end").await;
    assert_eq!(ended.len(), OVERAGES.len());
    assert!(ended.iter().all(|entry| entry.detail.contains("too many for the token")), "{ended:?}");

    for (answer, error, reason) in [
        (json!({"sub": "subject-2", "groups": ["ops"]}), "access_denied", "too many for the token"),
        (json!({"sub": "subject-1"}), "access_denied", "too many for the token"),
        (json!({"sub": "subject-1", "groups": ["ops"], "hasgroups": true}), "access_denied", "too many for the token"),
        (
            json!({"sub": "subject-1", "groups": "ops", "_claim_names": 1}),
            "access_denied",
            "the claim _claim_names does",
        ),
        (Value::Null, "temporarily_unavailable", "the userinfo endpoint refuses"),
    ] {
        userinfo(answer.clone());
        let (state, nonce) = person.begin("corp").await;
        let mut claims = fake.claims(&nonce);
        OVERAGES[0].1(claims.as_object_mut().unwrap());
        fake.give(&fake.sign(&header(), &claims));
        assert_eq!(location(&person.come_back(&state).await)["error"], error, "{answer}");
        let last = reasons(&world).await.pop().unwrap();
        assert!(last.contains(reason), "{answer}: {last}");
    }
    world.stop().await;
    fake.stop();
}
