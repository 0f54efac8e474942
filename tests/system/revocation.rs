//! A key dies on every replica within a second, open streams included, and a stream that dies ends properly.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tollgate_proto::usage::v1::Outcome;
use tollgate_tests::{
    client::{self, message, simulate},
    cluster::{Cluster, Shape},
    database::Kind,
    until,
};

const REPLICAS: usize = 20;
const ROUNDS: usize = 10;
/// The promise. Measured: see the README.
const PROMISE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_and_its_streams_are_cut_on_twenty_replicas_within_a_second() {
    let cluster = Cluster::start(Shape { database: Kind::Sqlite, control_planes: 1, replicas: REPLICAS }).await;
    let mut cuts = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("key-of-round-{round}");
        let key = cluster.key(&name).await;
        let settings = [("events", "3000"), ("spacing", "20ms")];
        let mut streams = Vec::new();
        for replica in &cluster.replicas {
            let mut response = client::shaped(&cluster.http, &replica.url, &key, true, &settings).send().await.unwrap();
            assert_eq!(response.status(), 200);
            let first = response.chunk().await.unwrap().unwrap();
            streams.push((response, first.to_vec()));
        }
        let revoked = Instant::now();
        cluster.admin.revoke(&name).await;
        let committed = revoked.elapsed();
        let ends = join_all(streams.into_iter().map(|(mut response, mut text)| async move {
            while let Some(chunk) = response.chunk().await.expect("the stream ends properly") {
                text.extend_from_slice(&chunk);
            }
            (revoked.elapsed(), String::from_utf8(text).unwrap())
        }));
        for (elapsed, text) in ends.await {
            let last = text.trim_end().rsplit("\n\n").next().unwrap();
            assert!(last.starts_with("event: error\ndata: {") && text.ends_with("\n\n"), "{last}");
            assert!(last.contains("was revoked"), "{last}");
            cuts.push(elapsed.saturating_sub(committed));
        }
        for replica in &cluster.replicas {
            let answer = client::send(&cluster.http, &replica.url, &key, message("hello", false)).await;
            assert_eq!((answer.status.as_u16(), answer.header("x-should-retry")), (401, "false"));
        }
    }
    cuts.sort();
    let at = |share: f64| cuts[((cuts.len() - 1) as f64 * share) as usize];
    println!(
        "{} streams on {REPLICAS} replicas: cut after the commit p50 {:?}, p99 {:?}, max {:?}",
        cuts.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    assert!(at(0.99) < PROMISE, "p99 {:?}", at(0.99));
    let cut = cluster.admin.records_at_least(REPLICAS * ROUNDS, "outcome=cut").await;
    assert!(cut.iter().all(|stored| stored.record.as_ref().unwrap().outcome() == Outcome::Cut));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_for_its_provider_is_refused_when_its_key_dies() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    let url = cluster.replicas[0].url.clone();
    let (http, waiting_key) = (cluster.http.clone(), key.clone());
    let waiting =
        tokio::task::spawn(async move { simulate(&http, &url, &waiting_key, true, &[("delay", "50s")]).await });
    until("the provider to be asked", || async { (cluster.simulator.ledger().len() == 1).then_some(()) }).await;
    cluster.admin.revoke("dev").await;
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, 401);
    assert!(answer.sentence().contains("was revoked"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_team_takes_its_keys_and_streams_with_it_and_gives_them_back() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    let set = |disabled: bool| {
        let team = tollgate_proto::admin::v1::Team { name: "platform".into(), disabled, ..Default::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["disabled".into()] });
        let request = tollgate_proto::admin::v1::UpdateTeamRequest { team: Some(team), update_mask };
        let mut teams = cluster.admin.teams();
        async move { teams.update_team(request).await.unwrap() }
    };
    set(true).await;
    cluster.admin.converged(1).await;
    let refused = cluster.send(&key, message("hello", false)).await;
    assert_eq!(refused.status, 401);
    assert!(refused.sentence().contains("disabled"), "{}", refused.text());
    set(false).await;
    cluster.admin.converged(1).await;
    assert_eq!(cluster.send(&key, message("hello", false)).await.status, 200);
}
