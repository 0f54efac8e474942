use std::time::Duration;

use tokio::time::{advance, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tollgate_policy::{limit::RateLimit, pattern::Patterns, snapshot::Quota};
use ulid::Ulid;

use self::server::Server;
use super::*;

mod server;

const MINUTE: u64 = 60_000;
/// For tests of what is counted: a busy machine does not make Redis late.
const PATIENT: Duration = Duration::from_secs(20);

/// An owner with limits, whose buckets no other test has.
struct Owner {
    noun: &'static str,
    id: String,
    quota: Arc<Quota>,
}

fn limit(measure: Measure, amount: u64, span_ms: u64) -> RateLimit {
    RateLimit { measure, amount, span_ms, models: Patterns::default() }
}

fn owner(noun: &'static str, limits: Vec<RateLimit>) -> Owner {
    let id = format!("{noun}-{}", Ulid::generate().to_string().to_lowercase());
    Owner { noun, id, quota: Arc::new(Quota { limits, ..Quota::default() }) }
}

async fn admit(rates: &Rates, owners: &[&Owner], tokens: u64) -> Result<Permit, Limited> {
    let owned: Vec<Owned<'_>> = owners
        .iter()
        .map(|owner| Owned { noun: owner.noun, id: &owner.id, name: "acme", quota: &owner.quota })
        .collect();
    rates.admit(&owned, "claude-sonnet-5-5", tokens).await
}

/// How many requests in a row are admitted, up to `most`. They end at once.
async fn admitted(rates: &Rates, owner: &Owner, most: u64) -> u64 {
    for count in 0..most {
        if admit(rates, &[owner], 0).await.is_err() {
            return count;
        }
    }
    most
}

#[tokio::test(start_paused = true)]
async fn a_limit_names_its_owner_and_the_wait() {
    let rates = Rates::local(Share::WHOLE);
    let check = async |limits: Vec<RateLimit>, tokens: u64, measure: Measure, amount: u64, retry_after_ms: u64| {
        let (team, key) = (owner("team", limits), owner("key", vec![limit(Measure::Requests, 99, 1_000)]));
        let first = admit(&rates, &[&team, &key], tokens).await.unwrap();
        let refused = admit(&rates, &[&team, &key], tokens).await.unwrap_err();
        let span_ms = if measure == Measure::Parallel { 0 } else { MINUTE };
        let expect = Limited { noun: "team", name: "acme".into(), measure, amount, span_ms, retry_after_ms };
        assert_eq!(refused, expect);
        drop(first);
    };
    check(vec![limit(Measure::Requests, 1, MINUTE)], 0, Measure::Requests, 1, MINUTE).await;
    check(vec![limit(Measure::Tokens, 600, MINUTE)], 500, Measure::Tokens, 600, 40_000).await;
    check(vec![limit(Measure::Parallel, 1, 0)], 0, Measure::Parallel, 1, 1_000).await;
    let two = vec![limit(Measure::Requests, 5, MINUTE), limit(Measure::Requests, 1, MINUTE)];
    check(two, 0, Measure::Requests, 1, MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_takes_from_no_owner() {
    let rates = Rates::local(Share::WHOLE);
    let wide = owner("customer", vec![limit(Measure::Requests, 5, MINUTE), limit(Measure::Parallel, 9, 0)]);
    let narrow = owner("key", vec![limit(Measure::Requests, 1, MINUTE)]);
    let first = admit(&rates, &[&wide, &narrow], 0).await.unwrap();
    for _ in 0..20 {
        assert_eq!(admit(&rates, &[&wide, &narrow], 0).await.unwrap_err().noun, "key");
    }
    assert_eq!(admitted(&rates, &wide, 9).await, 4);
    drop(first);
    advance(Duration::from_millis(MINUTE)).await;
    assert_eq!(admitted(&rates, &narrow, 9).await, 1);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_corrected_and_open_requests_end() {
    let check = async |estimate: u64, settled: Option<u64>, left: u64| {
        let rates = Rates::local(Share::WHOLE);
        let owner = owner("user", vec![limit(Measure::Tokens, 1_000, MINUTE), limit(Measure::Parallel, 1, 0)]);
        let permit = admit(&rates, &[&owner], estimate).await.unwrap();
        assert_eq!(admit(&rates, &[&owner], 0).await.unwrap_err().measure, Measure::Parallel);
        match settled {
            Some(tokens) => permit.settle(tokens),
            None => drop(permit),
        }
        assert!(left == 1_000 || admit(&rates, &[&owner], left + 1).await.is_err(), "{estimate} {settled:?}");
        assert!(admit(&rates, &[&owner], left).await.is_ok() || left == 0, "{estimate} {settled:?}");
    };
    check(400, Some(400), 600).await;
    check(400, Some(100), 900).await;
    check(400, Some(0), 1_000).await;
    check(400, Some(999), 1).await;
    check(400, Some(5_000), 0).await;
    check(400, None, 600).await;
    check(9_000, Some(300), 700).await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_covers_the_models_that_it_names() {
    let rates = Rates::local(Share::WHOLE);
    let only = |pattern: &str, amount: u64| RateLimit {
        models: Patterns::parse(&[pattern]).unwrap(),
        ..limit(Measure::Requests, amount, MINUTE)
    };
    let owner = owner("key", vec![only("gpt-*", 1), only("claude-*", 3)]);
    assert_eq!(admitted(&rates, &owner, 9).await, 3);
    assert_eq!(rates.0.buckets.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_replica_counts_its_share() {
    let rates = Rates::local(Share::new(4, Some(1)));
    let check = async |share: Share, amount: u64, expect: u64| {
        rates.set_share(share);
        advance(Duration::from_millis(MINUTE)).await;
        let owner = owner("team", vec![limit(Measure::Requests, amount, MINUTE)]);
        assert_eq!(admitted(&rates, &owner, 99).await, expect, "{share:?} of {amount}");
    };
    check(Share::new(4, Some(1)), 10, 3).await;
    check(Share::new(4, None), 10, 2).await;
    check(Share::new(40, None), 10, 0).await;
    check(Share::WHOLE, 10, 10).await;
    let owner = owner("team", vec![limit(Measure::Requests, 10, MINUTE)]);
    rates.set_share(Share::new(2, Some(0)));
    rates.set_share(Share::WHOLE);
    assert_eq!(admitted(&rates, &owner, 99).await, 5, "what a share grows by begins as used");
}

#[tokio::test(start_paused = true)]
async fn idle_buckets_are_forgotten_and_busy_ones_are_not() {
    let rates = Rates::local(Share::WHOLE);
    let busy = owner("key", vec![limit(Measure::Requests, 1, 24 * 60 * MINUTE)]);
    let open = owner("key", vec![limit(Measure::Parallel, 1, 0)]);
    let _permit = admit(&rates, &[&busy, &open], 0).await.unwrap();
    for _ in 0..20_000 {
        drop(admit(&rates, &[&owner("key", vec![limit(Measure::Requests, 1, 1_000)])], 0).await.unwrap());
        advance(Duration::from_millis(1)).await;
    }
    assert!(rates.0.buckets.len() < 6_000, "{}", rates.0.buckets.len());
    assert!(admit(&rates, &[&busy], 0).await.is_err() && admit(&rates, &[&open], 0).await.is_err());
}

/// A replica that counts in a Redis.
struct Replica {
    rates: Rates,
    stop: CancellationToken,
    courier: tokio::task::JoinHandle<()>,
}

impl Replica {
    async fn start(url: &str, share: Share, patience: Duration) -> Self {
        let (shared, endings) = Shared::open(url, patience).unwrap();
        let (rates, courier) = Rates::joined(share, shared, endings);
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "the replica owns it, and ends with the test")]
        let courier = tokio::spawn(courier.run(stop.clone()));
        let replica = Self { rates, stop, courier };
        replica.linked(true).await;
        replica
    }

    async fn linked(&self, expect: bool) {
        let reached = async {
            while self.rates.0.shared.as_ref().unwrap().is_linked() != expect {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENT, reached).await.unwrap();
    }

    async fn end(self) {
        self.stop.cancel();
        self.courier.await.unwrap();
    }
}

/// Waits until a request is admitted, as it will be once Redis has heard of an end.
async fn admitted_soon(rates: &Rates, owner: &Owner, tokens: u64) -> Permit {
    let reached = async {
        loop {
            match admit(rates, &[owner], tokens).await {
                Ok(permit) => return permit,
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(PATIENT, reached).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_over_one_redis_count_exactly() {
    let server = Server::start().await;
    let half = |rank| Replica::start(server.url(), Share::new(2, Some(rank)), PATIENT);
    let replicas = [half(0).await, half(1).await];
    // A day, so that nothing leaks while the test runs.
    let day = 24 * 60 * MINUTE;
    let team = owner("team", vec![limit(Measure::Requests, 101, day), limit(Measure::Tokens, 1_000_000_000, day)]);
    let wide = owner("customer", vec![limit(Measure::Requests, 150, day)]);
    let ask = async |rates: &Rates| {
        let mut count = 0;
        for _ in 0..200 {
            match admit(rates, &[&wide, &team], 7).await {
                Ok(permit) => {
                    permit.settle(9);
                    count += 1;
                }
                Err(refused) => assert_eq!((refused.noun, refused.measure), ("team", Measure::Requests)),
            }
        }
        count
    };
    let (one, two) = tokio::join!(ask(&replicas[0].rates), ask(&replicas[1].rates));
    assert_eq!(one + two, 101);
    assert!(one > 10 && two > 10, "both asked at once: {one} and {two}");
    assert_eq!(admitted(&replicas[0].rates, &wide, 200).await, 49, "a refusal took from no owner");
    for replica in replicas {
        assert_eq!(replica.rates.decisions().local, 0);
        replica.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_counts_as_the_pure_cell_does() {
    // The same requests, one after another, in a cell and in Redis: each is decided alike, since little time passes.
    let server = Server::start().await;
    let replica = Replica::start(server.url(), Share::WHOLE, PATIENT).await;
    let local = Rates::local(Share::WHOLE);
    for (amount, span_ms) in [(1_000, 24 * 60 * MINUTE), (999_999_937, 24 * 60 * MINUTE), (7, 60 * MINUTE)] {
        let key = owner("key", vec![limit(Measure::Tokens, amount, span_ms)]);
        for (taken, used) in [(2, 1), (5, 6), (3, 1), (1, 0), (0, 5), (8, 9), (amount, 3), (amount / 2, 1)] {
            // Once somebody else may be open here, Redis has heard of the end.
            let gate = owner("user", vec![limit(Measure::Parallel, 1, 0)]);
            let shared = admit(&replica.rates, &[&key, &gate], taken).await;
            match (shared, admit(&local, &[&key], taken).await) {
                (Ok(shared), Ok(pure)) => {
                    shared.settle(used);
                    pure.settle(used);
                    drop(admitted_soon(&replica.rates, &gate, 0).await);
                }
                (Err(shared), Err(pure)) => {
                    let apart = shared.retry_after_ms.abs_diff(pure.retry_after_ms);
                    assert!(apart < 20_000, "{taken} of {amount}: {shared:?}, {pure:?}");
                }
                // Where thousands come back each millisecond, one that asks for all may find them a moment before the other.
                (Ok(permit), Err(limited)) | (Err(limited), Ok(permit)) if limited.retry_after_ms < 1_000 => {
                    permit.settle(0);
                    drop(admitted_soon(&replica.rates, &gate, 0).await);
                }
                (shared, pure) => panic!("{taken} of {amount} in {span_ms}: {shared:?} and {pure:?}"),
            }
        }
    }
    assert_eq!(replica.rates.decisions().local, 0);
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_in_redis_leaks_its_amount_in_its_span() {
    let server = Server::start().await;
    let replica = Replica::start(server.url(), Share::WHOLE, PATIENT).await;
    let owner = owner("key", vec![limit(Measure::Tokens, 1_000, 1_500)]);
    admit(&replica.rates, &[&owner], 1_000).await.unwrap().settle(1_000);
    let refused = admit(&replica.rates, &[&owner], 500).await.unwrap_err();
    assert!((1..=750).contains(&refused.retry_after_ms), "{refused:?}");
    sleep(Duration::from_millis(refused.retry_after_ms)).await;
    admit(&replica.rates, &[&owner], 500).await.unwrap().settle(500);
    let refused = admit(&replica.rates, &[&owner], 1_000).await.unwrap_err();
    sleep(Duration::from_millis(refused.retry_after_ms + 1_600)).await;
    assert_eq!(server.command(&["DBSIZE"]).await, "0", "what is empty expires");
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_request_ends_on_every_replica() {
    let server = Server::start().await;
    let (one, two) = (
        Replica::start(server.url(), Share::new(2, Some(0)), PATIENT).await,
        Replica::start(server.url(), Share::new(2, Some(1)), PATIENT).await,
    );
    let owner = owner("user", vec![limit(Measure::Parallel, 2, 0)]);
    let first = admit(&one.rates, &[&owner], 0).await.unwrap();
    let _second = admit(&one.rates, &[&owner], 0).await.unwrap();
    assert_eq!(admit(&two.rates, &[&owner], 0).await.unwrap_err().retry_after_ms, 1_000);
    drop(first);
    let third = admitted_soon(&two.rates, &owner, 0).await;
    assert!(admit(&one.rates, &[&owner], 0).await.is_err());
    third.settle(0);
    // A replica that ends tells what is left.
    two.end().await;
    assert!(admit(&one.rates, &[&owner], 0).await.is_ok());
    one.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_a_limit_holds_within_one_share_and_with_it_again_exactly() {
    let mut server = Server::start().await;
    let replica = Replica::start(server.url(), Share::new(4, Some(0)), PATIENT).await;
    let day = 24 * 60 * MINUTE;
    let (busy, fresh) = (
        owner("team", vec![limit(Measure::Requests, 40, day), limit(Measure::Parallel, 3, 0)]),
        owner("team", vec![limit(Measure::Requests, 40, day)]),
    );
    let open = admit(&replica.rates, &[&busy], 0).await.unwrap();
    for _ in 0..24 {
        drop(admitted_soon(&replica.rates, &busy, 0).await);
    }
    server.kill().await;
    // What this replica had admitted through Redis is known to its share: ten of the busy team are used.
    assert_eq!(admitted(&replica.rates, &busy, 99).await, 0);
    assert_eq!(admitted(&replica.rates, &fresh, 99).await, 10);
    assert!(replica.rates.decisions().local > 10);
    server.restart().await;
    replica.linked(true).await;
    let other = Replica::start(server.url(), Share::new(4, Some(1)), PATIENT).await;
    let (one, two) = tokio::join!(admitted(&replica.rates, &fresh, 99), admitted(&other.rates, &fresh, 99));
    assert_eq!(one + two, 40, "the new Redis begins anew, and counts exactly");
    let second = admit(&other.rates, &[&busy], 0).await.unwrap();
    let third = admit(&other.rates, &[&busy], 0).await.unwrap();
    let refused = admit(&other.rates, &[&busy], 0).await.unwrap_err();
    assert_eq!(refused.measure, Measure::Parallel, "what was open before counts in the new Redis");
    drop((open, second, third));
    replica.end().await;
    other.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_does_not_answer_delays_few_requests_by_5_ms() {
    let server = Server::start().await;
    let replica = Replica::start(server.url(), Share::new(2, Some(0)), shared::PATIENCE).await;
    let owner = owner("team", vec![limit(Measure::Requests, 1_000_000, 24 * 60 * MINUTE)]);
    server.signal("-STOP").await;
    let mut times = Vec::new();
    for _ in 0..1_000 {
        let before = Instant::now();
        drop(admit(&replica.rates, &[&owner], 0).await.unwrap());
        times.push(before.elapsed());
    }
    times.sort();
    // What the timeout allows, and a busy machine on top.
    assert!(times[999] < Duration::from_millis(100), "{:?}", times[999]);
    assert!(times[980] < Duration::from_millis(1), "after 50 ms nobody waits: {:?}", times[980]);
    assert_eq!(replica.rates.decisions(), Decisions { shared: 0, local: 1_000, unheard: 0 });
    server.signal("-CONT").await;
    replica.linked(false).await;
    replica.linked(true).await;
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_late_answer_does_not_give_redis_up() {
    let server = Server::start().await;
    let replica = Replica::start(server.url(), Share::new(2, Some(0)), Duration::from_millis(30)).await;
    let owner = owner("team", vec![limit(Measure::Requests, 10, 24 * 60 * MINUTE)]);
    server.signal("-STOP").await;
    drop(admit(&replica.rates, &[&owner], 0).await.unwrap());
    server.signal("-CONT").await;
    assert_eq!(replica.rates.decisions().local, 1);
    assert!(replica.rates.0.shared.as_ref().unwrap().is_linked());
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_waiting_for_redis_leaves_nothing_open() {
    let server = Server::start().await;
    let replica = Replica::start(server.url(), Share::WHOLE, PATIENT).await;
    let owner = owner("key", vec![limit(Measure::Parallel, 1, 0)]);
    server.signal("-STOP").await;
    assert!(timeout(Duration::from_millis(20), admit(&replica.rates, &[&owner], 0)).await.is_err());
    server.signal("-CONT").await;
    drop(admitted_soon(&replica.rates, &owner, 0).await);
    replica.end().await;
}

#[test]
fn a_url_that_no_redis_can_have_is_refused() {
    for url in ["", "http://127.0.0.1:1", "rediss://127.0.0.1:1", "127.0.0.1:1"] {
        assert!(Rates::with_redis(url, Share::WHOLE).is_err(), "{url}");
    }
}
