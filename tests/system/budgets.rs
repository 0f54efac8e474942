//! A hard dollar budget is never exceeded, by the provider's own books: by any number of replicas, whatever is killed, and
//! whoever is away.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use tollgate_proto::admin::v1::{
    Budget, BudgetAlignment, BudgetEnforcement, BudgetStatus, Customer, Key, RotateKeyRequest, Team,
    UpdateCustomerRequest, UpdateTeamRequest,
};
use tollgate_tests::{
    client::{self, Answer, MODEL},
    cluster::Cluster,
    database::Kind,
    fleet::{self, Fleet, total},
    until,
};

const CENT: i64 = 10_000_000;
/// So many fleets run beside each other: most of a burst is waiting until everything was given back.
const AT_ONCE: usize = 3;
/// How long the control plane is away.
const AWAY: Duration = Duration::from_secs(60);

/// A load: how many calls, and what each asks for and really costs.
#[derive(Clone, Copy, Debug)]
struct Load {
    calls: usize,
    at_once: usize,
    max_tokens: u64,
    output_tokens: u64,
    stream: bool,
}

fn request(http: &reqwest::Client, url: &str, key: &str, load: &Load) -> reqwest::RequestBuilder {
    let body = serde_json::json!({
        "model": MODEL,
        "max_tokens": load.max_tokens,
        "stream": load.stream,
        "messages": [{"role": "user", "content": "Say hello."}],
    });
    http.post(format!("{url}/v1/messages"))
        .bearer_auth(key)
        .header("anthropic-version", "2023-06-01")
        .header("content-type", "application/json")
        .header("x-simulator-output-tokens", load.output_tokens.to_string())
        .header("x-simulator-delay", "20ms")
        .body(body.to_string())
}

/// Sends a load over all replicas. Returns the statuses; 0: the connection broke.
async fn run(fleet: &Fleet, key: &str, load: Load) -> Vec<u16> {
    let urls: Vec<String> = fleet.replicas.iter().map(|replica| replica.url.clone()).collect();
    let calls = (0..load.calls).map(|call| {
        let request = request(&fleet.http, &urls[call % urls.len()], key, &load);
        async move {
            let Ok(mut answer) = request.send().await else { return 0 };
            let status = answer.status().as_u16();
            while let Ok(Some(_)) = answer.chunk().await {}
            status
        }
    });
    stream::iter(calls).buffer_unordered(load.at_once).collect().await
}

async fn key(fleet: &Fleet, name: &str, budgets: Vec<Budget>) -> String {
    let key = Key { name: name.into(), team: "platform".into(), budgets, ..Default::default() };
    let secret = fleet.admin.key_with(key).await.secret;
    fleet.admin.converged(fleet.replicas.len()).await;
    secret
}

/// How many bursts are played; `TOLLGATE_BUDGET_RUNS` asks for more.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration of its own")]
fn runs() -> usize {
    std::env::var("TOLLGATE_BUDGET_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(6)
}

/// The ledger of the provider is compared with the limit, whatever Tollgate's own books say.
async fn burst(run_number: usize, limit: i64, load: Load) {
    let mut fleet = Fleet::start(Kind::Postgres, 4).await;
    let key = key(&fleet, "dev", vec![total(limit)]).await;
    // In half of all runs, and in half of those of each load.
    let kill = (run_number / 6 + run_number) % 2 == 1;
    let began = Instant::now();
    let statuses = if kill {
        let victim = &fleet.replicas[run_number / 2 % 4];
        let reached = || async { (fleet.simulator.ledger().len() >= 5).then_some(()) };
        let killing = async {
            tokio::time::timeout(Duration::from_secs(5), until("some requests to be under way", reached)).await.ok();
            victim.kill();
        };
        tokio::join!(run(&fleet, &key, load), killing).0
    } else {
        run(&fleet, &key, load).await
    };
    let (charged, took) = (fleet.charged(), began.elapsed());
    let admitted = statuses.iter().filter(|status| **status == 200).count();
    assert!(charged <= limit, "run {run_number}: {charged} charged of {limit}");
    assert!(admitted > 0, "run {run_number}: nothing was admitted: {statuses:?}");
    if kill {
        let http = fleet.http.clone();
        fleet.replicas[run_number / 2 % 4].restart(&http).await;
    }
    let standing = fleet.quiet().await.remove(0);
    assert!(
        (charged..=limit).contains(&standing.settled_nano_usd),
        "run {run_number}: {charged} charged, {} settled of {limit}",
        standing.settled_nano_usd
    );
    println!(
        "run {run_number}: {} calls, {} at once, {limit} nano-dollars: {admitted} admitted in {took:.1?}, {charged} charged, {} \
         settled{}",
        load.calls,
        load.at_once,
        standing.settled_nano_usd,
        if kill { ", a replica killed" } else { "" },
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_never_pass_a_budget_even_when_a_replica_is_killed() {
    let small = |calls| Load { calls, at_once: calls, max_tokens: 16, output_tokens: 12, stream: false };
    let large = |calls| Load { max_tokens: 400, output_tokens: 350, stream: true, ..small(calls) };
    let huge = |calls| Load { max_tokens: 8_000, output_tokens: 7_000, ..small(calls) };
    let loads = [
        (2 * CENT, small(150)),
        (2 * CENT, small(1_000)),
        (100 * CENT, large(150)),
        (100 * CENT, large(1_000)),
        (2_000 * CENT, huge(150)),
        (2_000 * CENT, huge(1_000)),
    ];
    let bursts = (0..runs()).map(|number| burst(number, loads[number % 6].0, loads[number % 6].1));
    stream::iter(bursts).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_used_to_its_end_by_small_requests() {
    let fleet = Fleet::start(Kind::Postgres, 4).await;
    let key = key(&fleet, "dev", vec![total(2 * CENT)]).await;
    let load = Load { calls: 400, at_once: 8, max_tokens: 16, output_tokens: 14, stream: false };
    let statuses = run(&fleet, &key, load).await;
    assert!(statuses.contains(&429), "the budget ended: {statuses:?}");
    // Once quiet, one after the other.
    let mut refused = 0;
    for _ in 0..200 {
        if refused >= 3 {
            break;
        }
        let status = run(&fleet, &key, Load { calls: 1, at_once: 1, ..load }).await[0];
        refused += usize::from(status == 429);
    }
    let (charged, standing) = (fleet.charged(), fleet.quiet().await.remove(0));
    let used = charged * 100 / (2 * CENT);
    println!("{used} % used: {charged} charged, {} settled", standing.settled_nano_usd);
    assert!(used >= 95 && charged <= 2 * CENT, "{used} % used");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_level_holds_and_a_refused_request_is_charged_to_none() {
    let fleet = Fleet::start(Kind::Sqlite, 2).await;
    let customer = Customer { name: "acme".into(), budgets: vec![total(3 * CENT)], ..Default::default() };
    let mask = |path: &str| Some(prost_types::FieldMask { paths: vec![path.into()] });
    let update = UpdateCustomerRequest { customer: Some(customer), update_mask: mask("budgets") };
    fleet.admin.customers().update_customer(update).await.unwrap();
    let team = Team { name: "platform".into(), budgets: vec![total(2 * CENT)], ..Default::default() };
    let update = UpdateTeamRequest { team: Some(team), update_mask: mask("budgets") };
    fleet.admin.teams().update_team(update).await.unwrap();
    let poor = key(&fleet, "poor", vec![total(CENT)]).await;
    let rich = key(&fleet, "rich", vec![total(100 * CENT)]).await;
    let load = Load { calls: 200, at_once: 16, max_tokens: 32, output_tokens: 30, stream: false };
    let first = run(&fleet, &poor, load).await;
    let charged = fleet.charged();
    assert!(charged <= CENT && first.contains(&429));
    let second = run(&fleet, &rich, load).await;
    assert!(second.contains(&200) && second.contains(&429));
    let total_charged = fleet.charged();
    assert!(total_charged <= 2 * CENT, "{total_charged} of the team's budget");
    let budgets = fleet.quiet().await;
    let of = |kind: &str, name: &str| {
        let found = budgets.iter().find(|budget| budget.owner_kind == kind && budget.owner_name == name);
        found.map_or(0, |budget| budget.settled_nano_usd)
    };
    assert_eq!(of("key", "poor") + of("key", "rich"), of("team", "platform"), "{budgets:?}");
    assert_eq!(of("customer", "acme"), of("team", "platform"));
    assert!(of("team", "platform") >= total_charged && of("team", "platform") <= 2 * CENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_control_plane_what_was_borrowed_is_spent_and_no_more() {
    let mut fleet = Fleet::start(Kind::Postgres, 2).await;
    let key = key(&fleet, "dev", vec![total(20 * CENT)]).await;
    let load = Load { calls: 40, at_once: 4, max_tokens: 32, output_tokens: 30, stream: false };
    assert!(run(&fleet, &key, load).await.iter().all(|status| *status == 200));
    fleet.control_plane.kill();
    let began = Instant::now();
    let mut statuses = Vec::new();
    while began.elapsed() < AWAY {
        statuses.extend(run(&fleet, &key, Load { calls: 20, ..load }).await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (admitted, away) = (statuses.iter().filter(|status| **status == 200).count(), statuses.len());
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
    assert!(fleet.charged() <= 20 * CENT);
    let http = fleet.http.clone();
    fleet.control_plane.restart(&http).await;
    fleet.admin.converged(2).await;
    assert!(run(&fleet, &key, load).await.contains(&200), "it goes on when the control plane is back");
    let (charged, standing) = (fleet.charged(), fleet.quiet().await.remove(0));
    assert!(charged <= standing.settled_nano_usd && standing.settled_nano_usd <= 20 * CENT);
    println!("without a control plane for {AWAY:?}: {admitted} of {away} requests were served from what was borrowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_replica_borrowed_stays_lent_until_its_spool_is_replayed() {
    let mut fleet = Fleet::start(Kind::Postgres, 2).await;
    let key = key(&fleet, "dev", vec![total(100 * CENT)]).await;
    let load = Load { calls: 20, at_once: 4, max_tokens: 64, output_tokens: 60, stream: false };
    assert!(run(&fleet, &key, load).await.iter().all(|status| *status == 200));
    fleet.replicas[0].kill();
    let mine = |leases: Vec<tollgate_proto::admin::v1::Lease>| {
        leases
            .into_iter()
            .filter(|lease| lease.replica_name == "replica-0")
            .map(|lease| lease.outstanding_nano_usd)
            .sum::<i64>()
    };
    let lent = mine(fleet::leases(&fleet.admin).await);
    assert!(lent > 0, "it had borrowed something");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(mine(fleet::leases(&fleet.admin).await) > 0, "nobody gives it back for the dead");
    let http = fleet.http.clone();
    fleet.replicas[0].restart(&http).await;
    fleet.quiet().await;
    let replayed = fleet.admin.entries("action=lease.replay").await;
    assert_eq!(replayed.len(), 1, "{replayed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_ends_in_order_gives_everything_back() {
    let fleet = Fleet::start(Kind::Sqlite, 1).await;
    let key = key(&fleet, "dev", vec![total(100 * CENT)]).await;
    let load = Load { calls: 8, at_once: 4, max_tokens: 64, output_tokens: 60, stream: true };
    assert!(run(&fleet, &key, load).await.iter().all(|status| *status == 200));
    fleet.replicas[0].end().await;
    assert!(fleet::leases(&fleet.admin).await.is_empty());
    let standing = fleet.budgets().await.remove(0);
    assert_eq!((standing.leased_nano_usd, standing.settled_nano_usd), (0, fleet.charged()));
}

#[tokio::test(flavor = "multi_thread")]
async fn however_a_request_ends_its_hold_ends_with_it() {
    let cluster = Cluster::small().await;
    fleet::price(&cluster.admin).await;
    let budgets = vec![total(100 * CENT)];
    let key = Key { name: "dev".into(), team: "platform".into(), budgets, ..Default::default() };
    let key = cluster.admin.key_with(key).await.secret;
    cluster.admin.converged(1).await;
    let url = cluster.replicas[0].url.clone();
    let send = |stream: bool, settings: &'static [(&'static str, &'static str)]| {
        client::shaped(&cluster.http, &url, &key, stream, settings)
    };
    for (name, stream, settings, expect) in [
        ("whole", false, &[][..], 200),
        ("streamed", true, &[][..], 200),
        ("an error of the provider", false, &[("status", "400")][..], 400),
        ("overloaded", true, &[("status", "529")][..], 529),
        ("a redirect", false, &[("redirect", "http://127.0.0.1:1/")][..], 502),
        ("no answer", false, &[("cut", "head")][..], 502),
        ("garbage", false, &[("body", "garbage")][..], 502),
        ("an error in the middle", true, &[("error-event", "3")][..], 200),
    ] {
        let answer = client::read(send(stream, settings)).await;
        assert_eq!(answer.status.as_u16(), expect, "{name}: {}", answer.text());
    }
    // The client leaves in the middle of a stream, and before there is an answer.
    let mut leaving = send(true, &[("events", "200"), ("spacing", "20ms")]).send().await.unwrap();
    leaving.chunk().await.unwrap();
    drop(leaving);
    for stream in [true, false] {
        let waiting = send(stream, &[("delay", "400ms")]).timeout(Duration::from_millis(100));
        assert!(waiting.send().await.is_err());
    }
    let standing = until("everything to be settled", || async {
        let standing = fleet::budgets(&cluster.admin).await.remove(0);
        (standing.leased_nano_usd == 0).then_some(standing)
    })
    .await;
    let records = cluster.admin.records("").await;
    let sum: i64 = records.iter().filter_map(|stored| stored.record.as_ref()).map(|record| record.cost_nano_usd).sum();
    assert_eq!(standing.settled_nano_usd, sum, "the books are the sum of the records");
    assert_eq!(records.len(), 11);
    // Who leaves before the answer is charged what the provider then tells, not the worst case.
    let gone: Vec<i64> = records
        .iter()
        .filter_map(|stored| stored.record.as_ref())
        .filter(|record| record.outcome() == tollgate_proto::usage::v1::Outcome::ClientGone)
        .map(|record| record.cost_nano_usd)
        .collect();
    assert_eq!(gone.len(), 3, "{gone:?}");
    assert!(gone.iter().all(|cost| *cost > 0 && *cost < 4_000_000), "{gone:?}");
}

async fn exhausted(cluster: &Cluster, budget: Budget) -> (Answer, BudgetStatus) {
    fleet::price(&cluster.admin).await;
    let key = Key { name: "dev".into(), team: "platform".into(), budgets: vec![budget], ..Default::default() };
    let secret = cluster.admin.key_with(key).await.secret;
    cluster.admin.converged(1).await;
    let load = Load { calls: 1, at_once: 1, max_tokens: 64, output_tokens: 60, stream: false };
    for _ in 0..200 {
        let answer = client::read(request(&cluster.http, &cluster.replicas[0].url, &secret, &load)).await;
        if answer.status != 200 {
            return (answer, fleet::budgets(&cluster.admin).await.remove(0));
        }
    }
    panic!("the budget did not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_budget_and_carries_what_claude_code_shows() {
    let cluster = Cluster::small().await;
    let budget = Budget {
        limit_nano_usd: CENT,
        window: "1d".into(),
        alignment: BudgetAlignment::Calendar.into(),
        time_zone: "Europe/Berlin".into(),
        contact: "#llm-budgets".into(),
        ..Budget::default()
    };
    let (answer, _) = exhausted(&cluster, budget).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"]["type"].as_str()), (429, Some("billing_error")));
    assert_eq!(
        (answer.header("x-should-retry"), answer.header("anthropic-ratelimit-unified-status")),
        ("false", "rejected")
    );
    assert!(answer.header("retry-after").parse::<u64>().unwrap() <= 25 * 3_600);
    assert_eq!(answer.header("anthropic-ratelimit-unified-overage-disabled-reason"), "org_spend_cap_reached");
    assert!(answer.header("anthropic-ratelimit-unified-representative-claim").is_empty());
    let sentence = answer.sentence();
    for part in ["The 1d budget of the key \"dev\"", "$0.01", "It resets at", "Ask #llm-budgets for more."] {
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_how_far_the_budget_is_used_and_a_refund_opens_it_again() {
    let cluster = Cluster::small().await;
    let (_, standing) = exhausted(&cluster, total(CENT)).await;
    let id = standing.budget.unwrap().id;
    let after = fleet::refund(&cluster.admin, &id, CENT / 2).await;
    assert!(after.settled_nano_usd < standing.settled_nano_usd);
    let rotated = cluster.admin.keys().rotate_key(RotateKeyRequest { key: "dev".into() }).await;
    let secret = rotated.unwrap().into_inner().secret;
    cluster.admin.converged(1).await;
    let load = Load { calls: 1, at_once: 1, max_tokens: 64, output_tokens: 60, stream: true };
    let answer = client::read(request(&cluster.http, &cluster.replicas[0].url, &secret, &load)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("anthropic-ratelimit-unified-representative-claim"), "overage");
    assert!(answer.header("anthropic-ratelimit-unified-overage-utilization").starts_with("0."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_budget_refuses_nothing_and_tells_of_its_thresholds() {
    let cluster = Cluster::small().await;
    fleet::price(&cluster.admin).await;
    let soft = Budget { enforcement: BudgetEnforcement::Soft.into(), ..total(CENT / 10) };
    let key = Key { name: "dev".into(), team: "platform".into(), budgets: vec![soft], ..Default::default() };
    let secret = cluster.admin.key_with(key).await.secret;
    cluster.admin.converged(1).await;
    let load = Load { calls: 1, at_once: 1, max_tokens: 64, output_tokens: 60, stream: false };
    for _ in 0..5 {
        let answer = client::read(request(&cluster.http, &cluster.replicas[0].url, &secret, &load)).await;
        assert_eq!(answer.status, 200);
    }
    let entries = until("the thresholds", || async {
        let entries = cluster.admin.entries("action=budget.threshold").await;
        (entries.len() >= 3).then_some(entries)
    })
    .await;
    assert_eq!(entries.len(), 3, "each once: {entries:?}");
    let standing = fleet::budgets(&cluster.admin).await.remove(0);
    assert!(standing.settled_nano_usd > CENT / 10 && standing.leased_nano_usd == 0, "{standing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_a_price_is_refused_under_a_budget() {
    let cluster = Cluster::small().await;
    let key = Key { name: "dev".into(), team: "platform".into(), budgets: vec![total(CENT)], ..Default::default() };
    let secret = cluster.admin.key_with(key).await.secret;
    cluster.admin.converged(1).await;
    let body = String::from_utf8(client::message("hello", false)).unwrap().replace(MODEL, "a-model-that-nobody-knows");
    let answer = cluster.send(&secret, body.into_bytes()).await;
    assert_eq!(answer.status, 451, "{}", answer.text());
    assert!(answer.sentence().contains("has no price"), "{}", answer.sentence());
    assert!(cluster.simulator.ledger().is_empty());
}
