//! A replica joins by a token and speaks mutual TLS from then on: the programs, as an operator starts them.

use tempfile::TempDir;
use tollgate_proto::admin::v1::{CreateJoinTokenRequest, DeleteReplicaRequest};
use tollgate_simulator::{Options, Simulator};
use tollgate_tests::{
    admin::Admin,
    client::{self, message},
    cluster::PROVIDER_SECRET,
    database::{self, Kind},
    process::{Program, answers, free_port},
    until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_joins_by_a_token_follows_over_mutual_tls_and_leaves_the_list_when_it_is_deleted() {
    let http = client::http();
    let directory: TempDir = tempfile::tempdir().unwrap();
    let local = || format!("127.0.0.1:{}", free_port());
    let (admin_listen, fleet, plane_http, listen, status) = (local(), local(), local(), local(), local());
    let data = directory.path().display().to_string();
    let simulator =
        Simulator::start(Options { listen: ([127, 0, 0, 1], 0).into(), ..Options::default() }).await.unwrap();
    let plane_settings = [
        ("DATABASE_URL", database::fresh(Kind::Sqlite, &directory).await),
        ("DATA_DIR", data.clone()),
        ("ADMIN_LISTEN", admin_listen.clone()),
        ("FLEET_LISTEN", fleet.clone()),
        ("HTTP_LISTEN", plane_http.clone()),
    ];
    let log = |name: &str| directory.path().join(name);
    let _plane = Program::start("tollgate-control-plane", &[], &plane_settings, &log("control-plane.log"));
    answers(&http, &format!("http://{plane_http}/readyz")).await;
    let token = std::fs::read_to_string(directory.path().join("admin-token")).unwrap();
    let admin = Admin::new(&format!("http://{admin_listen}"), token.trim());
    admin.furnish(&format!("http://{}", simulator.addr()), PROVIDER_SECRET).await;
    let key = admin.key("dev").await.secret;

    let joining = |token: &str| {
        vec![
            ("NAME", "joiner".to_owned()),
            ("REGION", "eu".to_owned()),
            ("DATA_DIR", format!("{data}/joiner")),
            ("LISTEN", listen.clone()),
            ("STATUS_LISTEN", status.clone()),
            ("CONTROL_PLANE", format!("https://{fleet}")),
            ("JOIN_TOKEN", token.to_owned()),
        ]
    };
    let join = admin.replicas().create_join_token(CreateJoinTokenRequest { ttl: None }).await.unwrap().into_inner();
    let replica = Program::start("tollgate-proxy", &[], &joining(&join.token), &log("proxy.log"));
    answers(&http, &format!("http://{status}/readyz")).await;
    admin.converged(1).await;
    let proxy = format!("http://{listen}");
    assert_eq!(client::send(&http, &proxy, &key, message("hello", true)).await.status, 200);
    let record = admin.records_at_least(1, "").await.remove(0);
    let joined = admin.fleet().await.remove(0);
    assert_eq!((record.replica.as_str(), joined.region.as_str()), (joined.id.as_str(), "eu"));

    // Started again, the identity on its disk is enough.
    replica.kill();
    let again = Program::start("tollgate-proxy", &[], &joining(&join.token), &log("proxy.log"));
    answers(&http, &format!("http://{status}/readyz")).await;
    until("the replica to follow again", || async {
        let fleet = admin.fleet().await;
        (fleet.len() == 1 && fleet[0].connected && fleet[0].incarnation > joined.incarnation).then_some(())
    })
    .await;

    // Deleted, it is no longer listed. That its certificate is refused is shown in the control plane's own suite.
    let request = DeleteReplicaRequest { replica: "joiner".into() };
    admin.replicas().delete_replica(request).await.unwrap();
    admin.revoke("dev").await;
    assert!(admin.fleet().await.iter().all(|replica| !replica.connected));
    drop(again);
}
