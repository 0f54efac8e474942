//! Whether replicas can use a server: each of them asks it when an administrator has it tested.

use tollgate_proto::{admin::v1, fleet::v1::ObserveRequest};
use tonic::{Code, Response, Status};

use super::{get, made, server, told};
use crate::{
    fleet::{Member, until_listed},
    world::{Place, World, code, over_both, violations},
};

over_both! {
    every_replica_that_follows_asks_and_is_heard
    what_nobody_asks_is_shown_as_it_was_found_last
}

async fn test(world: &World, named: &str, millis: i64) -> Result<v1::TestMcpServerResponse, Status> {
    let nanos = i32::try_from(millis % 1_000).unwrap() * 1_000_000;
    let wait = Some(prost_types::Duration { seconds: millis / 1_000, nanos });
    world
        .mcp()
        .test_mcp_server(v1::TestMcpServerRequest { mcp_server: named.into(), wait })
        .await
        .map(Response::into_inner)
}

async fn finds(member: &Member, found: &v1::McpServer, problem: &str, tests: u64) {
    let protocol = if problem.is_empty() { "2025-11-25" } else { "" };
    let found = ObserveRequest {
        server: found.id.clone(),
        url: found.url.clone(),
        problem: problem.into(),
        protocol: protocol.into(),
        tests,
        ..Default::default()
    };
    member.client().observe(found).await.unwrap();
}

// Replica, whether it asked, and what is wrong.
fn seen(answer: &v1::TestMcpServerResponse) -> Vec<(&str, bool, &str)> {
    answer.findings.iter().map(|finding| (&*finding.replica, finding.asked, &*finding.problem)).collect()
}

async fn every_replica_that_follows_asks_and_is_heard(place: Place) {
    let world = World::start(&place).await;
    let a = made(&world, server("a")).await;
    let nobody = test(&world, "a", 20_000).await.unwrap();
    assert!(
        nobody.findings.is_empty() && nobody.mcp_server.unwrap().name == "a",
        "nobody follows, so nobody is waited for"
    );
    let (one, other) = (Member::join(&world, "one").await, Member::join(&world, "other").await);
    let _away = Member::join(&world, "away").await;
    let (mut first, mut second) = (one.follow().await, other.follow().await);
    assert_eq!(told(&world, &mut first).await["a"].tests, 1);
    told(&world, &mut second).await;
    // That they follow is written down shortly after they begin to.
    for name in ["one", "other"] {
        until_listed(&world, name, |replica| replica.connected).await;
    }
    finds(&one, &a, "", 1).await;
    // What is told of an earlier test is no answer, and each answer is waited for.
    let telling = async {
        let tests = loop {
            if let tests @ 2.. = told(&world, &mut first).await["a"].tests {
                break tests;
            }
        };
        finds(&one, &a, "refused", tests).await;
        finds(&other, &a, "", 1).await;
        finds(&other, &a, "", tests).await;
    };
    let (answer, ()) = tokio::join!(test(&world, &a.id, 20_000), telling);
    let answer = answer.unwrap();
    assert_eq!(seen(&answer), [("one", true, "refused"), ("other", true, "")]);
    let [bad, good] = &answer.findings[..] else { panic!("{answer:?}") };
    assert_eq!((&*good.region, &*good.protocol, &*bad.protocol), ("eu", "2025-11-25", ""));
    let health = answer.mcp_server.unwrap().health.unwrap();
    assert_eq!((health.replicas, health.failing, &*health.problem), (2, 1, "refused"));
    // Who does not tell is not waited for longer than was asked.
    let silent = test(&world, "a", 1_000).await.unwrap();
    assert_eq!(seen(&silent), [("one", false, "refused"), ("other", false, "")]);
    let entries = world.log("action=mcp-server.test").await;
    assert_eq!((entries.len(), entries[0].target.as_str()), (3, &*format!("mcp-server/{}", a.id)));
    world.stop().await;
}

async fn what_nobody_asks_is_shown_as_it_was_found_last(place: Place) {
    let world = World::start(&place).await;
    let document = "openapi: 3.0.3\npaths: { /pets: { get: {} } }\n".to_owned();
    let api = made(&world, v1::McpServer { transport: "openapi".into(), document, ..server("api") }).await;
    made(&world, v1::McpServer { auth: "per_user".into(), ..server("each") }).await;
    made(&world, v1::McpServer { disabled: true, ..server("off") }).await;
    let member = Member::join(&world, "one").await;
    let mut follower = member.follow().await;
    told(&world, &mut follower).await;
    until_listed(&world, "one", |replica| replica.connected).await;
    finds(&member, &api, "", 0).await;
    let revision = world.store.revision().await.unwrap();
    let shown = test(&world, "api", 20_000).await.unwrap();
    assert_eq!(seen(&shown), [("one", false, "")]);
    assert!(shown.findings[0].observe_time.is_some());
    let each = test(&world, "each", 20_000).await.unwrap();
    assert!(seen(&each) == [("one", false, "")] && each.findings[0].observe_time.is_none(), "{each:?}");
    let off = test(&world, "off", 20_000).await.unwrap_err();
    assert!(off.code() == Code::FailedPrecondition && off.message().contains("enable it first"), "{off:?}");
    assert_eq!(code(test(&world, "none", 20_000).await), Code::NotFound);
    for millis in [0, 999, 20_001] {
        assert_eq!(violations(test(&world, "api", millis).await), ["wait"], "{millis}");
    }
    assert_eq!(world.store.revision().await.unwrap(), revision, "no replica was told anything");
    assert!(world.log("action=mcp-server.test").await.iter().all(|entry| entry.outcome != "allowed"));
    assert!(get(&world, "off").await.unwrap().disabled);
    world.stop().await;
}
