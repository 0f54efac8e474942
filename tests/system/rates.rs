//! Rate limits hold for the whole fleet, with a Redis and without one; and an agent that runs in circles is stopped.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tollgate_proto::admin::v1::{Key, RateLimit, RateMeasure, SessionLimit, Team, UpdateTeamRequest};
use tollgate_tests::{
    client::{self, Answer, MODEL, message, shaped},
    cluster::{Cluster, Shape},
    fleet, redis,
    redis::Redis,
    until,
};

const HOUR: i64 = 3_600;

fn limit(measure: RateMeasure, amount: i64, per_seconds: i64) -> RateLimit {
    RateLimit { measure: measure.into(), amount, per_seconds, models: Vec::new() }
}

fn requests(amount: i64) -> RateLimit {
    limit(RateMeasure::Requests, amount, HOUR)
}

fn named(name: &str, limits: Vec<RateLimit>) -> Key {
    Key { name: name.into(), team: "platform".into(), limits, ..Default::default() }
}

async fn key(cluster: &Cluster, key: Key) -> String {
    let secret = cluster.admin.key_with(key).await.secret;
    cluster.admin.converged(cluster.replicas.len()).await;
    secret
}

async fn cluster(replicas: usize, redis: Option<&str>) -> Cluster {
    let settings: Vec<_> = redis.map(|url| ("REDIS_URL", url.to_owned())).into_iter().collect();
    let cluster = Cluster::start_with(Shape { replicas, ..Shape::default() }, &settings).await;
    if redis.is_some() {
        joined(&cluster).await;
    }
    cluster
}

/// Waits until Redis decides on every replica.
async fn joined(cluster: &Cluster) {
    let key = key(cluster, named("probe", vec![requests(1_000_000)])).await;
    for at in 0..cluster.replicas.len() {
        until("Redis to decide", || async {
            assert_eq!(send(cluster, at, &key).await.status, 200);
            (decisions(cluster, at, "redis").await > 0).then_some(())
        })
        .await;
    }
}

/// How many requests Redis, or the share of a replica, has decided there.
async fn decisions(cluster: &Cluster, at: usize, by: &str) -> u64 {
    let metrics = client::read(cluster.http.get(format!("{}/metrics", cluster.replicas[at].status))).await.text();
    let name = format!("tollgate_rate_decisions_by_{by} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
    value.unwrap_or_else(|| panic!("no {name}in {metrics}")).parse().unwrap()
}

async fn by_share(cluster: &Cluster) -> u64 {
    join_all((0..cluster.replicas.len()).map(|at| decisions(cluster, at, "share"))).await.iter().sum()
}

async fn send(cluster: &Cluster, at: usize, key: &str) -> Answer {
    client::send(&cluster.http, &cluster.replicas[at].url, key, message("Say hello.", false)).await
}

/// Sends so many requests, one after the other, over all replicas in turn.
async fn round(cluster: &Cluster, key: &str, calls: usize) -> Vec<Answer> {
    let mut answers = Vec::new();
    for call in 0..calls {
        answers.push(send(cluster, call % cluster.replicas.len(), key).await);
    }
    answers
}

fn admitted(answers: &[Answer]) -> usize {
    assert!(answers.iter().all(|answer| matches!(answer.status.as_u16(), 200 | 429)), "{answers:?}");
    answers.iter().filter(|answer| answer.status == 200).count()
}

fn assert_limited(answer: &Answer, parts: &[&str]) {
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(answer.json()["error"]["type"], "rate_limit_error");
    assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1), "{:?}", answer.headers);
    let sentence = answer.sentence();
    assert!(parts.iter().all(|part| sentence.contains(part)), "{sentence}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_with_redis_admits_exactly_the_limit() {
    let cluster = cluster(3, Some(&redis::shared())).await;
    let key = key(&cluster, named("dev", vec![requests(20)])).await;
    let before = by_share(&cluster).await;
    let answers = round(&cluster, &key, 60).await;
    let (admitted, late) = (admitted(&answers), by_share(&cluster).await - before);
    // What Redis was too late for on a loaded machine was decided by the shares, and perhaps counted by Redis too.
    if late == 0 {
        assert_eq!(admitted, 20);
    }
    assert!(admitted as u64 <= 20 + late, "{admitted} of 20, {late} by shares");
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_limited(refused, &["The key \"dev\" has reached its limit of 20 requests in 1 h.", "Try again in"]);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() <= 520);
    println!("{admitted} of 60 admitted, {late} by shares: {}", refused.sentence());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_without_redis_shares_the_limit() {
    let cluster = cluster(3, None).await;
    let key = key(&cluster, named("dev", vec![requests(20)])).await;
    let answers = round(&cluster, &key, 60).await;
    let by_replica: Vec<usize> =
        (0..3).map(|at| answers.iter().skip(at).step_by(3).filter(|answer| answer.status == 200).count()).collect();
    assert_eq!(admitted(&answers), 20, "the shares are the whole: {by_replica:?}");
    assert!(by_replica.iter().all(|count| (6..=7).contains(count)), "{by_replica:?}");
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_limited(refused, &["The key \"dev\" has reached its limit of 20 requests in 1 h."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_joins_admits_no_more_than_its_share() {
    let mut cluster = cluster(2, None).await;
    cluster.add_replica("late", 0).await;
    cluster.admin.converged(3).await;
    let key = key(&cluster, named("dev", vec![requests(30)])).await;
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(send(&cluster, 2, &key).await);
    }
    assert_eq!(admitted(&answers), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_redis_dies_the_shares_go_on_from_what_it_had_admitted() {
    let directory = tempfile::tempdir().unwrap();
    let redis = Redis::start(directory.path()).await;
    let cluster = cluster(3, Some(&redis.url)).await;
    let key = key(&cluster, named("dev", vec![requests(30)])).await;
    let before = admitted(&round(&cluster, &key, 15).await);
    redis.kill();
    let after = admitted(&round(&cluster, &key, 60).await);
    assert_eq!(before, 15);
    assert!(after > 0, "a fleet without its Redis goes on");
    assert!(before + after <= 30 + 10, "{before} and {after} of 30");
    println!("{before} before Redis died, {after} after it, of 30");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_counted_as_they_were_really_used() {
    let shared = redis::shared();
    for redis in [None, Some(&*shared)] {
        let cluster = cluster(1, redis).await;
        let key = key(&cluster, named("dev", vec![limit(RateMeasure::Tokens, 3_000, HOUR)])).await;
        let used = async |input: &str| {
            // Visits are settled a few milliseconds after they end: the next one ends later than that.
            let settings = [("input-tokens", input), ("output-tokens", "1"), ("delay", "20ms")];
            client::simulate(&cluster.http, &cluster.replicas[0].url, &key, false, &settings).await
        };
        // Each looks like more than 300 tokens beforehand, and uses 11.
        for number in 0..30 {
            let answer = used("10").await;
            assert_eq!(answer.status, 200, "{number} with {redis:?}: {}", answer.text());
        }
        assert_eq!(used("2900").await.status, 200);
        let refused = until("what was used to be counted", || async {
            let answer = used("1").await;
            (answer.status != 200).then_some(answer)
        })
        .await;
        assert_limited(&refused, &["The key \"dev\" has reached its limit of 3000 tokens in 1 h."]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_requests_are_open_at_once_and_no_more() {
    let shared = redis::shared();
    for (replicas, redis) in [(1, None), (2, Some(&*shared))] {
        let cluster = cluster(replicas, redis).await;
        let key = key(&cluster, named("dev", vec![limit(RateMeasure::Parallel, 2, 0)])).await;
        let last = &cluster.replicas[replicas - 1].url;
        let slow = [("events", "1000"), ("spacing", "50ms")];
        let mut open = Vec::new();
        for at in 0..2 {
            let url = &cluster.replicas[at % replicas].url;
            let mut answer = shaped(&cluster.http, url, &key, true, &slow).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.chunk().await.unwrap();
            open.push(answer);
        }
        let third = || client::send(&cluster.http, last, &key, message("hello", false));
        assert_limited(&third().await, &["The key \"dev\" has 2 requests open at once, which is its limit."]);
        drop(open.pop());
        until("one of them to have ended", || async { (third().await.status == 200).then_some(()) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_tokens_is_not_limited() {
    let cluster = cluster(1, None).await;
    let limits = vec![requests(1), limit(RateMeasure::Parallel, 1, 0)];
    let session_limit = Some(SessionLimit { requests: 1, ..Default::default() });
    let key = key(&cluster, Key { session_limit, ..named("dev", limits) }).await;
    let url = format!("{}/v1/messages/count_tokens", cluster.replicas[0].url);
    let count = || {
        let request = cluster.http.post(&url).bearer_auth(&key).header("x-claude-code-session-id", "session");
        client::read(request.header("anthropic-version", "2023-06-01").body(message("hello", false)))
    };
    let counted = async || join_all((0..26).map(|_| count())).await.iter().all(|answer| answer.status == 200);
    assert!(counted().await);
    assert_eq!(send(&cluster, 0, &key).await.status, 200);
    assert_eq!(send(&cluster, 0, &key).await.status, 429);
    assert!(counted().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_team_refuses_leaves_the_limit_of_the_key_as_it_was() {
    let shared = redis::shared();
    for redis in [None, Some(&*shared)] {
        let cluster = cluster(1, redis).await;
        team(&cluster, 2).await;
        let key = key(&cluster, named("dev", vec![requests(10)])).await;
        let answers = round(&cluster, &key, 12).await;
        assert_eq!(admitted(&answers), 2);
        assert_limited(answers.last().unwrap(), &["The team \"platform\" has reached its limit of 2 requests in 1 h."]);
        team(&cluster, 1_000).await;
        cluster.admin.converged(1).await;
        let answers = round(&cluster, &key, 12).await;
        assert_eq!(admitted(&answers), 8, "{redis:?}");
        assert_limited(answers.last().unwrap(), &["The key \"dev\" has reached its limit of 10 requests in 1 h."]);
    }
}

async fn team(cluster: &Cluster, amount: i64) {
    let team = Team { name: "platform".into(), limits: vec![requests(amount)], ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["limits".into()] });
    cluster.admin.teams().update_team(UpdateTeamRequest { team: Some(team), update_mask }).await.unwrap();
}

/// An agent that sends under a session.
struct Agent<'c> {
    cluster: &'c Cluster,
    key: String,
}

impl<'c> Agent<'c> {
    async fn limited(cluster: &'c Cluster, name: &str, session_limit: SessionLimit) -> Self {
        let session_limit = Some(session_limit);
        Self { cluster, key: key(cluster, Key { session_limit, ..named(name, Vec::new()) }).await }
    }

    async fn say(&self, session: &str, content: Value) -> Answer {
        let body = json!({"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": content}]});
        let request = self.cluster.http.post(format!("{}/v1/messages", self.cluster.replicas[0].url));
        let request = request.bearer_auth(&self.key).header("anthropic-version", "2023-06-01");
        let request = if session.is_empty() { request } else { request.header("x-claude-code-session-id", session) };
        client::read(request.body(body.to_string())).await
    }

    async fn greet(&self, session: &str) -> Answer {
        self.say(session, json!("hello")).await
    }
}

fn assert_stopped(answer: &Answer, parts: &[&str]) {
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["type"]), (402, &json!("billing_error")));
    assert_eq!(answer.header("x-should-retry"), "false");
    let sentence = answer.sentence();
    let ends = ["This agent session has", "under the key", "Start a new session."];
    assert!(parts.iter().chain(&ends).all(|part| sentence.contains(part)), "{sentence}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_makes_so_many_requests_and_another_is_not_touched() {
    let cluster = cluster(1, None).await;
    let agent = Agent::limited(&cluster, "dev", SessionLimit { requests: 3, ..Default::default() }).await;
    for _ in 0..3 {
        assert_eq!(agent.greet("one").await.status, 200);
    }
    for _ in 0..2 {
        assert_stopped(&agent.greet("one").await, &["has made as many requests as one session may make", "\"dev\""]);
    }
    assert_eq!(agent.greet("two").await.status, 200);
    for _ in 0..5 {
        assert_eq!(agent.greet("").await.status, 200, "without a session there is no limit of one");
    }
    // Nobody reaches into the session of another key by naming it.
    let other = Agent::limited(&cluster, "other", SessionLimit { requests: 3, ..Default::default() }).await;
    assert_eq!(other.greet("one").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_spends_so_much() {
    let cluster = cluster(1, None).await;
    fleet::price(&cluster.admin).await;
    let agent = Agent::limited(&cluster, "dev", SessionLimit { dollars_nano_usd: 1, ..Default::default() }).await;
    assert_eq!(agent.greet("one").await.status, 200);
    let stopped = until("what it spent to be counted", || async {
        let answer = agent.greet("one").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_stopped(&stopped, &["has spent what one session may spend"]);
    assert_eq!(agent.greet("two").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_runs_in_circles_is_stopped_until_it_says_something_else() {
    let cluster = cluster(1, None).await;
    let agent = Agent::limited(&cluster, "dev", SessionLimit { repeats: 2, ..Default::default() }).await;
    let result = |number: usize, text: &str| json!([{"type": "tool_result", "tool_use_id": format!("toolu_{number}"), "content": text}]);
    for number in 0..3 {
        assert_eq!(agent.say("one", result(number, "no such file")).await.status, 200, "{number}");
    }
    assert_stopped(&agent.say("one", result(4, "no such file")).await, &["it may be running in circles"]);
    assert_eq!(agent.say("two", result(5, "no such file")).await.status, 200);
    assert_eq!(agent.say("one", result(6, "3 files")).await.status, 200);
    assert_eq!(agent.say("one", result(7, "no such file")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_paused_goes_on_after_the_pause() {
    let cluster = cluster(1, None).await;
    let limit = SessionLimit { requests: 1, pause_seconds: 2, ..Default::default() };
    let agent = Agent::limited(&cluster, "dev", limit).await;
    assert_eq!(agent.greet("one").await.status, 200);
    let paused = agent.greet("one").await;
    assert_eq!(paused.status, 429, "{}", paused.text());
    assert!((1..=2).contains(&paused.header("retry-after").parse::<u64>().unwrap()));
    assert!(paused.sentence().contains("It may go on in"), "{}", paused.sentence());
    assert_eq!(agent.greet("two").await.status, 200);
    let began = tokio::time::Instant::now();
    until("the pause to end", || async { (agent.greet("one").await.status == 200).then_some(()) }).await;
    assert!(began.elapsed() > Duration::from_millis(500), "it was a pause");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_rate_limit_refused_counts_in_no_session() {
    let cluster = cluster(1, None).await;
    let session_limit = Some(SessionLimit { requests: 3, repeats: 2, ..Default::default() });
    let limits = vec![limit(RateMeasure::Requests, 1, 2)];
    let agent = Agent { cluster: &cluster, key: key(&cluster, Key { session_limit, ..named("dev", limits) }).await };
    for _ in 0..3 {
        // A client that was refused sends the same again until it is served.
        until("the rate to admit it", || async {
            let answer = agent.greet("one").await;
            assert!(matches!(answer.status.as_u16(), 200 | 429), "{}", answer.text());
            (answer.status == 200).then_some(())
        })
        .await;
    }
    until("the rate to admit it", || async {
        let answer = agent.greet("one").await;
        (answer.status != 429).then_some(()).inspect(|()| assert_stopped(&answer, &["as many requests"]))
    })
    .await;
}
