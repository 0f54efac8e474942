//! Where routes send requests, and what ends them on the way.

use tollgate_policy::{
    id::RouteId,
    route::{Balance, Condition, Conditions, Route, RouteTarget, Scope, Tier},
    rule::Rule,
};

use super::*;
use crate::health::rest::FAILURES_MAX;

// A second provider, at the same place under another path, with the credential `at`.
fn second(stand: &Stand, at: usize) -> Provider {
    let first = first(stand);
    let one = Credential { id: credential(at), name: "one".into(), weight: 1, disabled: false, reference: None };
    Provider {
        id: ProviderId::from_ulid(&format!("{ULID}q")).unwrap(),
        name: "second".into(),
        base_url: format!("{}/second", first.base_url).into(),
        credentials: vec![one],
        ..first
    }
}

// The first provider, with the first credential alone.
fn first(stand: &Stand) -> Provider {
    let current = stand.holder.load().unwrap();
    let first = current.snapshot.providers().iter().find(|provider| &*provider.name == "anthropic").unwrap();
    Provider { credentials: first.credentials.iter().take(1).cloned().collect(), ..Provider::clone(first) }
}

fn to(provider: &Provider, model: Option<&str>) -> RouteTarget {
    RouteTarget { provider: provider.id.clone(), model: model.map(Into::into), weight: 1 }
}

fn route(tiers: Vec<(Vec<RouteTarget>, Conditions)>) -> Route {
    Route {
        id: RouteId::from_ulid(&format!("{ULID}r")).unwrap(),
        name: "careful".into(),
        models: Patterns::default(),
        scope: Scope::default(),
        priority: 0,
        disabled: false,
        strict: false,
        tiers: tiers.into_iter().map(|(targets, on)| Tier { targets, on }).collect(),
        rule: None,
        balance: Balance::Weight,
        first_byte_timeout: None,
        hedge_after: None,
        deadline: None,
    }
}

fn on(condition: Condition) -> Conditions {
    [condition].into_iter().collect()
}

// A stand with two providers, and a route from the first to the second.
async fn stand(change: impl FnOnce(Route) -> Route, after: Conditions) -> Stand {
    let stand = Stand::new(&["sk-one", "sk-two"]).await;
    let (first, second) = (first(&stand), second(&stand, 1));
    let tiers = vec![(vec![to(&first, None)], Conditions::default()), (vec![to(&second, None)], after)];
    let route = change(route(tiers));
    stand.put(vec![Object::Provider(first), Object::Provider(second), Object::Route(route)]);
    stand
}

fn paths(stand: &Stand) -> Vec<String> {
    stand.asked().iter().map(|seen| seen.path.clone()).collect()
}

#[tokio::test]
async fn a_rule_over_headers_decides_for_each_request() {
    let rule = "'x-tier' in headers && headers['x-tier'] == 'low' && region == 'north' && caller.team == 'platform' \
                && request.operation == 'messages' && request.bytes > 10 && request.max_tokens == 9 && !('x-api-key' in headers)";
    let stand = stand(
        |route| Route {
            tiers: route.tiers.into_iter().skip(1).collect(),
            rule: Some(Rule::parse(rule).unwrap()),
            ..route
        },
        Conditions::default(),
    )
    .await;
    for (headers, path) in [
        (&[("x-tier", "low")][..], "/second/v1/messages"),
        (&[("x-tier", "high")], "/v1/messages"),
        (&[], "/v1/messages"),
    ] {
        assert_eq!(stand.send("/v1/messages", BODY, headers).await.status, 200);
        assert_eq!(paths(&stand).last().map(String::as_str), Some(path), "{headers:?}");
    }
}

#[tokio::test]
async fn a_route_has_its_own_patience() {
    let short = Some(Duration::from_millis(50));
    let goes_on = stand(|route| Route { first_byte_timeout: short, ..route }, on(Condition::Timeout)).await;
    assert_eq!(goes_on.script("hang,").await.status, 200);
    assert_eq!(paths(&goes_on), ["/v1/messages", "/second/v1/messages"]);
    // What may yet be carried out is settled by itself, for the provider that had it.
    let mut records = goes_on.records().await;
    records.sort_by_key(|record| record.request_id.len());
    let [whole, given_up] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(given_up.request_id, format!("{}.1", whole.request_id));
    assert_eq!((whole.outcome(), given_up.outcome()), (Outcome::Completed, Outcome::UpstreamFailed));
    assert_ne!(whole.provider, given_up.provider);
    let stays = stand(|route| Route { first_byte_timeout: short, ..route }, Conditions::default()).await;
    assert_eq!(stays.script("hang,").await.status, 504);
    assert_eq!(paths(&stays), ["/v1/messages"], "what may have been carried out is not repeated unasked");
}

// A stand whose route asks the second provider beside the first, and what is waited for without a client ends soon.
async fn hedging() -> Stand {
    let stand = Stand::with(&["sk-one", "sk-two"], Duration::from_millis(400)).await;
    let (first, second) = (first(&stand), second(&stand, 1));
    let tiers = vec![(vec![to(&first, None)], Conditions::default()), (vec![to(&second, None)], Conditions::default())];
    let route = Route { hedge_after: Some(Duration::from_millis(5)), ..route(tiers) };
    stand.put(vec![Object::Provider(first), Object::Provider(second), Object::Route(route)]);
    stand
}

#[tokio::test]
async fn a_slow_attempt_gets_a_rival_and_each_is_settled_by_itself() {
    for (script, winner, ends) in [
        // The second is sooner; what became of the first nobody knows.
        ("hang,", 'q', Outcome::ClientGone),
        // The first is sooner after all.
        ("met,hang", 'p', Outcome::ClientGone),
        // The second fails, and the first is waited for.
        ("met_slow,529", 'p', Outcome::UpstreamFailed),
        // The first fails, and the second is waited for.
        ("failed,met_slow", 'q', Outcome::UpstreamFailed),
    ] {
        let stand = hedging().await;
        let answer = stand.script(script).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, WHOLE), "{script}");
        assert_eq!(paths(&stand), ["/v1/messages", "/second/v1/messages"], "{script}");
        let mut records = stand.records().await;
        records.sort_by_key(|record| record.request_id.len());
        let [whole, other] = records.as_slice() else { panic!("{script}: {records:?}") };
        assert_eq!(other.request_id, format!("{}.1", whole.request_id), "{script}");
        assert_eq!((whole.outcome(), whole.attempts), (Outcome::Completed, 2), "{script}");
        assert!(whole.provider.ends_with(winner), "{script}: {whole:?}");
        assert!(!other.provider.ends_with(winner) && !other.provider.is_empty(), "{script}: {other:?}");
        assert_eq!(whole.tokens.map(|tokens| tokens.output), Some(5), "{script}");
        assert_eq!(other.outcome(), ends, "{script}");
    }
}

#[tokio::test]
async fn what_is_soon_or_has_nowhere_else_to_go_gets_no_rival() {
    let soon = hedging().await;
    let current = soon.holder.load().unwrap();
    let patient = Route { hedge_after: Some(Duration::from_secs(600)), ..Route::clone(&current.snapshot.routes()[0]) };
    soon.put(vec![Object::Route(patient.clone())]);
    assert_eq!(soon.script("slow").await.status, 200);
    assert_eq!(paths(&soon), ["/v1/messages"]);
    let alone = hedging().await;
    let tiers = patient.tiers.into_iter().take(1).collect();
    let hedge_after = Some(Duration::from_millis(5));
    alone.put(vec![Object::Route(Route { hedge_after, tiers, ..patient })]);
    assert_eq!(alone.script("slow").await.status, 200);
    assert_eq!(paths(&alone), ["/v1/messages"]);
    assert_eq!(alone.records().await.len(), 1);
}

#[tokio::test]
async fn when_both_fail_the_client_hears_the_last_and_nothing_is_charged() {
    let stand = hedging().await;
    assert_eq!(stand.script("failed,529").await.status, 529);
    let records = stand.records().await;
    assert_eq!(records.iter().map(|record| record.cost_nano_usd).collect::<Vec<_>>(), [0, 0]);
    assert!(records.iter().all(|record| record.outcome() == Outcome::UpstreamFailed), "{records:?}");
}

#[tokio::test]
async fn a_conversation_that_is_too_long_goes_on_only_where_the_route_says_so() {
    let goes_on = stand(|route| route, on(Condition::ContextLength)).await;
    assert_eq!(goes_on.script("long,").await.status, 200);
    assert_eq!(paths(&goes_on), ["/v1/messages", "/second/v1/messages"]);
    // Another mistake of the client's is not the second provider's business, and arrives as it was said.
    let other = goes_on.script("400,400,400").await;
    assert_eq!(
        (other.status, other.text.as_str()),
        (400, r#"{"type":"error","error":{"type":"x","message":"theirs"}}"#)
    );
    assert_eq!(paths(&goes_on).len(), 3);
    let both = stand(|route| route, on(Condition::ContextLength)).await;
    let answer = both.script("long,long").await;
    assert_eq!(
        (answer.status, answer.text.as_str()),
        (400, TOO_LONG),
        "when it is too long for both, the client hears it"
    );
    let stays = stand(|route| route, Conditions::default()).await;
    let answer = stays.script("long,").await;
    assert_eq!((answer.status, answer.text.as_str()), (400, TOO_LONG));
    assert_eq!(paths(&stays), ["/v1/messages"]);
}

#[tokio::test]
async fn a_deadline_ends_a_request_wherever_it_is() {
    let stand = stand(|route| Route { deadline: Some(Duration::from_millis(1)), ..route }, Conditions::default()).await;
    let (answer, ()) = tokio::join!(stand.script("hang"), async {
        while stand.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(stand.holder.tick(UnixMillis::new(3)), 1);
    });
    assert_eq!(answer.status, 504);
    assert!(answer.text.contains("longer than the route \\\"careful\\\" allows"), "{}", answer.text);
}

#[tokio::test]
async fn a_provider_that_fails_again_and_again_is_left_alone() {
    let stand =
        stand(|route| Route { first_byte_timeout: Some(Duration::from_millis(20)), ..route }, on(Condition::Timeout))
            .await;
    for _ in 0..FAILURES_MAX {
        // The second one answers whatever its step is.
        let steps = vec!["hang"; stand.asked().len() + 1].join(",");
        assert_eq!(stand.script(&format!("{steps},")).await.status, 200);
    }
    let before = stand.asked().len();
    assert_eq!(before, 2 * FAILURES_MAX as usize, "each waited for the first one");
    assert_eq!(stand.script("").await.status, 200);
    assert_eq!(paths(&stand)[before..], ["/second/v1/messages"], "and the next one does not");
}

#[tokio::test]
async fn the_soonest_is_asked_and_a_session_stays_where_it_was_answered() {
    let stand = Stand::new(&["sk-one", "sk-two"]).await;
    let (first, second) = (first(&stand), second(&stand, 1));
    let tiers = vec![(vec![to(&first, None), to(&second, None)], Conditions::default())];
    let route = Route { balance: Balance::Latency, ..route(tiers) };
    stand.put(vec![Object::Provider(first), Object::Provider(second), Object::Route(route)]);
    let session = |name| [("x-claude-code-session-id", name), ("x-script", "slow,,")];
    // The first choice is slow; what is not known yet is tried next, and was quick.
    assert_eq!(stand.send("/v1/messages", BODY, &session("one")).await.status, 200);
    assert_eq!(stand.send("/v1/messages", BODY, &session("two")).await.status, 200);
    let [slow, quick] = paths(&stand).try_into().unwrap();
    assert_ne!(slow, quick);
    for (name, expect) in [("three", &quick), ("four", &quick), ("one", &slow), ("two", &quick), ("one", &slow)] {
        assert_eq!(stand.send("/v1/messages", BODY, &session(name)).await.status, 200);
        assert_eq!(paths(&stand).last(), Some(expect), "{name}");
    }
}

#[tokio::test]
async fn a_key_is_refused_outside_its_regions() {
    let stand = Stand::new(&["sk-one"]).await;
    let key = {
        let current = stand.holder.load().unwrap();
        let key = current.snapshot.key_by_id(&KeyId::from_ulid(&format!("{ULID}k")).unwrap()).unwrap();
        Key { regions: Patterns::parse(&["south*"]).unwrap(), ..Key::clone(key) }
    };
    stand.put(vec![Object::Key(key)]);
    let answer = stand.script("").await;
    assert_eq!(answer.status, 451);
    assert!(answer.text.contains("its data stays in south*"), "{}", answer.text);
    assert!(stand.asked().is_empty());
}
