//! `kill -9` of a replica and of the control plane, as processes, under load: what was answered is in the ledger exactly once, or
//! listed as uncertain; nothing is there twice, and nothing is lost.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tempfile::TempDir;
use tollgate_proto::usage::v1::{ListRecordsRequest, Outcome, Record};
use tollgate_simulator::{Options, Running, Simulator};
use tollgate_tests::{
    admin::Admin,
    client::{self, message, simulate},
    cluster::{FLEET_TOKEN, PROVIDER_SECRET},
    database::{self, Kind},
    process::{Program, answers, free_port},
    until,
};

/// A control plane, a replica and what they need to start again under their old addresses.
struct Processes {
    simulator: Running,
    admin: Admin,
    http: reqwest::Client,
    key: String,
    control_plane: Program,
    replica: Program,
    plane_settings: Vec<(&'static str, String)>,
    replica_settings: Vec<(&'static str, String)>,
    proxy: String,
    status: String,
    directory: TempDir,
}

impl Processes {
    async fn start(kind: Kind) -> Self {
        let http = client::http();
        let directory = tempfile::tempdir().unwrap();
        let simulator =
            Simulator::start(Options { listen: ([127, 0, 0, 1], 0).into(), ..Options::default() }).await.unwrap();
        let local = || format!("127.0.0.1:{}", free_port());
        let (admin_listen, fleet, plane_http, listen, status) = (local(), local(), local(), local(), local());
        let data = directory.path().display().to_string();
        let plane_settings = vec![
            ("DATABASE_URL", database::fresh(kind, &directory).await),
            ("DATA_DIR", data.clone()),
            ("ADMIN_LISTEN", admin_listen.clone()),
            ("FLEET_LISTEN", fleet.clone()),
            ("HTTP_LISTEN", plane_http.clone()),
            ("FLEET_TOKEN", FLEET_TOKEN.into()),
        ];
        let replica_settings = vec![
            ("NAME", "replica-1".into()),
            ("REGION", "test".into()),
            ("DATA_DIR", format!("{data}/replica-1")),
            ("LISTEN", listen.clone()),
            ("STATUS_LISTEN", status.clone()),
            ("CONTROL_PLANE", format!("http://{fleet}")),
            ("FLEET_TOKEN", FLEET_TOKEN.into()),
            ("SPOOL_DURABILITY", "group".into()),
        ];
        let control_plane = plane(&plane_settings, directory.path());
        answers(&http, &format!("http://{plane_http}/readyz")).await;
        let token = std::fs::read_to_string(directory.path().join("admin-token")).unwrap();
        let admin = Admin::new(&format!("http://{admin_listen}"), token.trim());
        admin.furnish(&format!("http://{}", simulator.addr()), PROVIDER_SECRET).await;
        let key = admin.key("dev").await.secret;
        let replica = proxy(&replica_settings, directory.path());
        let status = format!("http://{status}");
        answers(&http, &format!("{status}/readyz")).await;
        let proxy = format!("http://{listen}");
        Self {
            simulator,
            admin,
            http,
            key,
            control_plane,
            replica,
            plane_settings,
            replica_settings,
            proxy,
            status,
            directory,
        }
    }

    async fn restart_replica(&mut self) {
        self.replica = proxy(&self.replica_settings, self.directory.path());
        answers(&self.http, &format!("{}/readyz", self.status)).await;
    }

    fn restart_control_plane(&mut self) {
        self.control_plane = plane(&self.plane_settings, self.directory.path());
    }

    async fn records(&self) -> Vec<Record> {
        let (mut records, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListRecordsRequest { page_size: 1_000, page_token, ..Default::default() };
            let Ok(page) = self.admin.usage().list_records(request).await else { return Vec::new() };
            let page = page.into_inner();
            records.extend(page.records.into_iter().filter_map(|stored| stored.record));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return records;
            }
        }
    }
}

fn plane(settings: &[(&str, String)], directory: &Path) -> Program {
    Program::start("tollgate-control-plane", &[], settings, &directory.join("control-plane.log"))
}

fn proxy(settings: &[(&str, String)], directory: &Path) -> Program {
    Program::start("tollgate-proxy", &[], settings, &directory.join("proxy.log"))
}

/// What the provider answered, by the id under which it answered: the record keeps it.
fn answered(simulator: &Running) -> HashSet<String> {
    simulator.ledger().iter().map(|row| row.request_id.clone()).collect()
}

async fn a_killed_replica(kind: Kind) {
    let mut processes = Processes::start(kind).await;
    let (http, key, url) = (processes.http.clone(), processes.key.clone(), processes.proxy.clone());
    let load = tokio::task::spawn(async move {
        let sends = stream::iter(0..200).map(|turn| {
            let (http, key, url) = (http.clone(), key.clone(), url.clone());
            async move {
                let settings = [("events", "20"), ("spacing", "5ms")];
                let request = client::shaped(&http, &url, &key, turn % 2 == 0, &settings);
                let Ok(mut response) = request.send().await else { return };
                while let Ok(Some(_)) = response.chunk().await {}
            }
        });
        sends.buffer_unordered(32).collect::<Vec<()>>().await;
    });
    until("the load to be half way", || async { (processes.simulator.ledger().len() >= 100).then_some(()) }).await;
    processes.replica.kill();
    load.await.unwrap();
    let reached = answered(&processes.simulator);
    processes.restart_replica().await;
    // One more visit, so that its record comes behind everything that was recovered.
    assert_eq!(
        client::send(&processes.http, &processes.proxy, &processes.key, message("after", false)).await.status,
        200
    );
    let records = until("everything to be in the ledger", || async {
        let records = processes.records().await;
        (records.len() > reached.len().saturating_sub(1) && records.iter().any(|r| r.outcome() == Outcome::Completed))
            .then_some(records)
    })
    .await;
    let mut counted: HashMap<String, usize> = HashMap::new();
    for record in &records {
        *counted.entry(record.request_id.clone()).or_default() += 1;
    }
    assert!(counted.values().all(|count| *count == 1), "a visit is in the ledger twice");
    let uncertain = records.iter().filter(|record| record.outcome() == Outcome::Uncertain).count();
    let named: HashSet<String> = records.iter().map(|record| record.upstream_request_id.clone()).collect();
    let missing = reached.iter().filter(|id| !named.contains(*id)).count();
    assert!(missing <= uncertain, "{missing} answered requests are neither in the ledger nor uncertain ({uncertain})");
    assert!(uncertain > 0, "the replica was killed in the middle of requests");
    assert!(
        records.iter().filter(|record| record.outcome() == Outcome::Uncertain).all(|record| record.cost_nano_usd > 0)
    );
    println!("{} reached the provider, {} records, {uncertain} uncertain, nothing twice", reached.len(), records.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_killed_loses_nothing_and_counts_nothing_twice_over_sqlite() {
    a_killed_replica(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_killed_loses_nothing_and_counts_nothing_twice_over_postgresql() {
    a_killed_replica(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_serves_on_while_the_control_plane_is_dead_and_reports_when_it_is_back() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let mut processes = Processes::start(kind).await;
        for turn in 0..150 {
            if turn == 50 {
                processes.control_plane.kill();
            }
            let answer = simulate(&processes.http, &processes.proxy, &processes.key, turn % 2 == 0, &[]).await;
            assert_eq!(answer.status, 200, "visit {turn}: {}", answer.text());
        }
        processes.restart_control_plane();
        let records = until("every record", || async {
            let records = processes.records().await;
            (records.len() >= 150).then_some(records)
        })
        .await;
        let ids: HashSet<_> = records.iter().map(|record| record.request_id.clone()).collect();
        assert_eq!((records.len(), ids.len()), (150, 150));
        assert!(records.iter().all(|record| record.outcome() == Outcome::Completed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_told_to_end_finishes_its_streams_and_reports_them() {
    let processes = Processes::start(Kind::Sqlite).await;
    let settings = [("events", "40"), ("spacing", "25ms")];
    let request = client::shaped(&processes.http, &processes.proxy, &processes.key, true, &settings);
    let mut response = request.send().await.unwrap();
    let mut text = response.chunk().await.unwrap().unwrap().to_vec();
    processes.replica.terminate();
    while let Some(chunk) = response.chunk().await.unwrap() {
        text.extend_from_slice(&chunk);
    }
    assert!(String::from_utf8(text).unwrap().contains("message_stop"), "the stream was finished");
    let ended = tokio::time::timeout(Duration::from_secs(40), processes.replica.ended()).await.unwrap();
    assert!(ended, "the replica ends with success: {}", processes.replica.said());
    let record = processes.admin.records_at_least(1, "").await.remove(0).record.unwrap();
    assert_eq!(record.outcome(), Outcome::Completed);
}
