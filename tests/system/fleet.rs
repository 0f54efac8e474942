//! Policy reaches every replica, from any control plane, and survives the loss of all of them.

use tollgate_proto::admin::v1::{CreateJoinTokenRequest, DrainReplicaRequest};
use tollgate_tests::{
    client::{self, message},
    cluster::{self, Cluster, Shape},
    database::Kind,
    until,
};

#[tokio::test(flavor = "multi_thread")]
async fn two_control_planes_over_one_database_serve_the_same_revisions() {
    let mut cluster = Cluster::start(Shape { database: Kind::Postgres, control_planes: 2, replicas: 4 }).await;
    let key = cluster.key("dev").await;
    for replica in &cluster.replicas {
        assert_eq!(client::send(&cluster.http, &replica.url, &key, message("hello", false)).await.status, 200);
    }
    // A replica that loses its control plane finds its state confirmed, not replaced, by the other one.
    cluster.control_planes[1].stop.cancel();
    cluster.admin.revoke("dev").await;
    let third = cluster.add_control_plane().await.fleet.clone();
    assert!(!third.is_empty());
    let fleet = cluster.admin.fleet().await;
    assert_eq!(fleet.len(), 4);
    for replica in cluster.replicas.iter().step_by(2) {
        until("the revocation", || async {
            let answer = client::send(&cluster.http, &replica.url, &key, message("hello", false)).await;
            (answer.status == 401).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_starts_from_its_sealed_cache_when_no_control_plane_is_there() {
    let mut cluster = Cluster::small().await;
    let secret = cluster.directory().join("provider-secret");
    std::fs::write(&secret, cluster::PROVIDER_SECRET).unwrap();
    let address = format!("http://{}", cluster.simulator.addr());
    cluster.admin.provider("by-reference", &address, &[("file", &format!("file://{}", secret.display()))]).await;
    let key = cluster.key("dev").await;
    let replica = cluster.replicas.remove(0);
    until("the cache to be written", || async { replica.directory.join("snapshot-a").exists().then_some(()) }).await;
    replica.stop.cancel();
    until("the replica to end", || async { cluster.http.get(&replica.status).send().await.is_err().then_some(()) })
        .await;
    cluster.control_planes[0].stop.cancel();
    until("the control plane to end", || async {
        cluster.http.get(&cluster.control_planes[0].http).send().await.is_err().then_some(())
    })
    .await;

    let again = cluster.add_replica("replica-0", 0).await;
    let (url, status) = (again.url.clone(), again.status.clone());
    until("the replica to be ready", || async {
        cluster
            .http
            .get(format!("{status}/readyz"))
            .send()
            .await
            .ok()
            .filter(|answer| answer.status() == 200)
            .map(|_| ())
    })
    .await;
    let answer = client::send(&cluster.http, &url, &key, message("hello", false)).await;
    assert_eq!(answer.status, 200, "served by the provider whose credential is a reference: {}", answer.text());

    let fresh = cluster.add_replica("never-joined", 0).await;
    let (url, status) = (fresh.url.clone(), fresh.status.clone());
    let ready = client::read(cluster.http.get(format!("{status}/readyz"))).await;
    assert_eq!(ready.status, 503, "a replica without policy is not ready: {}", ready.text());
    let answer = client::send(&cluster.http, &url, &key, message("hello", false)).await;
    assert_eq!(answer.status, 503);
    assert!(!answer.header("retry-after").is_empty() && !answer.sentence().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_drains_a_replica_and_takes_it_back() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    let replica = &cluster.replicas[0];
    for (drain, ready) in [(true, 503), (false, 200)] {
        let request = DrainReplicaRequest { replica: "replica-0".into(), drain };
        cluster.admin.replicas().drain_replica(request).await.unwrap();
        until("the replica to follow", || async {
            let answer = client::read(cluster.http.get(format!("{}/readyz", replica.status))).await;
            (answer.status == ready).then_some(())
        })
        .await;
    }
    assert_eq!(cluster.send(&key, message("hello", false)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_is_short_lived_and_named_in_the_log() {
    let cluster = Cluster::small().await;
    let token =
        cluster.admin.replicas().create_join_token(CreateJoinTokenRequest { ttl: None }).await.unwrap().into_inner();
    assert!(token.expire_time.is_some() && token.token.len() > 40);
    let long = prost_types::Duration { seconds: 3_600, nanos: 0 };
    let refused =
        cluster.admin.replicas().create_join_token(CreateJoinTokenRequest { ttl: Some(long) }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    let entries = cluster.admin.entries("").await;
    assert!(entries.iter().any(|entry| entry.action.contains("join")), "{entries:?}");
    assert!(!entries.iter().any(|entry| entry.detail.contains(&token.token)));
}
