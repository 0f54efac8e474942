use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use prometheus_client::metrics::counter::Counter;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tollgate_policy::{
    id::{CustomerId, KeyId, TeamId},
    money::NanoUsd,
    time::UnixMillis,
    usage::{Attribution, Outcome, Record, Tokens},
};
use tollgate_proto::usage::v1::{
    self, ReportResponse,
    usage_intake_service_server::{UsageIntakeService, UsageIntakeServiceServer},
};
use tollgate_settings::Secret;
use tonic::{Request, Response, transport::Server};

use super::*;
use crate::{
    evidence::Circumstances,
    membership,
    spool::{BYTES_MIN, Durability, Ended, Options},
    witness,
};

const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";

// What the fake control plane does with its next calls; afterwards it takes everything.
#[derive(Clone, Copy, Debug)]
enum Act {
    Unavailable,
    // Stores, and answers with an error: the receipt is lost.
    LoseReceipt,
    // Stores and acknowledges only this many records.
    Partly(i64),
    // Acknowledges less than it had.
    Regress,
}

#[derive(Default)]
struct State {
    acts: Vec<Act>,
    // (incarnation, sequence) to how often it was stored anew, and the record.
    stored: BTreeMap<(i64, i64), v1::Record>,
    acknowledged: BTreeMap<i64, i64>,
    poison: Option<i64>,
}

struct Fake {
    state: Arc<Mutex<State>>,
    calls: mpsc::UnboundedSender<usize>,
}

#[tonic::async_trait]
impl UsageIntakeService for Fake {
    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, tonic::Status> {
        assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer fleet-token");
        let ReportRequest { incarnation, records, forgotten_through } = request.into_inner();
        let mut state = self.state.lock().unwrap();
        let act = if state.acts.is_empty() { None } else { Some(state.acts.remove(0)) };
        let _ = self.calls.send(records.len());
        if matches!(act, Some(Act::Unavailable)) {
            return Err(tonic::Status::unavailable("busy"));
        }
        if records.iter().any(|record| state.poison == Some(record.sequence) && record.dropped == 0) {
            return Err(tonic::Status::invalid_argument("records[0].model must be shorter"));
        }
        let most = if let Some(Act::Partly(most)) = act { most } else { i64::MAX };
        let mut acknowledged = state.acknowledged.get(&incarnation).copied().unwrap_or(0);
        assert!(forgotten_through <= acknowledged, "forgotten before it was acknowledged");
        for record in records.into_iter().take(usize::try_from(most).unwrap()) {
            assert_eq!(record.incarnation, incarnation);
            assert!(record.sequence <= acknowledged + 1, "a gap");
            acknowledged = acknowledged.max(record.sequence);
            state.stored.entry((incarnation, record.sequence)).or_insert(record);
        }
        state.acknowledged.insert(incarnation, acknowledged);
        match act {
            Some(Act::LoseReceipt) => Err(tonic::Status::unavailable("connection lost")),
            Some(Act::Regress) => Ok(Response::new(ReportResponse { acknowledged_sequence: 0 })),
            _ => Ok(Response::new(ReportResponse { acknowledged_sequence: acknowledged })),
        }
    }
}

struct World {
    state: Arc<Mutex<State>>,
    calls: mpsc::UnboundedReceiver<usize>,
    address: SocketAddr,
    _server: JoinSet<()>,
}

impl World {
    async fn start(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { acts, ..State::default() }));
        let (sender, calls) = mpsc::unbounded_channel();
        let fake = Fake { state: Arc::clone(&state), calls: sender };
        let mut server = JoinSet::new();
        server.spawn(async move {
            let router = Server::builder().add_service(UsageIntakeServiceServer::new(fake));
            router.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { state, calls, address, _server: server }
    }

    fn link(&self, dir: &Path) -> Link {
        link(self.address, dir)
    }

    fn stored(&self) -> Vec<(i64, i64)> {
        self.state.lock().unwrap().stored.keys().copied().collect()
    }
}

fn link(address: SocketAddr, dir: &Path) -> Link {
    Link::open(membership::Options {
        control_plane: format!("http://{address}"),
        data_dir: dir.to_path_buf(),
        name: "replica-1".to_owned(),
        region: "local".to_owned(),
        join_token: None,
        fleet_token: Some(Secret::new("fleet-token")),
        authority: None,
    })
    .unwrap()
}

fn spool(dir: &TempDir) -> Spool {
    Spool::open(&dir.path().join("spool"), Options { durability: Durability::Group, bytes_max: 16 * BYTES_MIN })
        .unwrap()
        .0
}

fn record(number: usize) -> Record {
    Record {
        incarnation: 0,
        sequence: 0,
        request_id: format!("req_{number}").into(),
        arrived: UnixMillis::new(1_700_000_000_000),
        duration_ms: 1,
        first_byte_ms: 1,
        outcome: Outcome::Completed,
        refusal: Arc::default(),
        status: 200,
        attribution: Attribution {
            key: KeyId::from_ulid(ULID).unwrap(),
            team: TeamId::from_ulid(ULID).unwrap(),
            customer: CustomerId::from_ulid(ULID).unwrap(),
            user: None,
            session: Arc::default(),
            agent: Arc::default(),
            parent_agent: Arc::default(),
        },
        operation: "messages".into(),
        model: "m".into(),
        answered_model: "m".into(),
        provider: None,
        credential: None,
        streamed: false,
        tokens: Tokens::default(),
        cost: NanoUsd::new(1),
        unpriced: false,
        revision: 1,
        upstream_request_id: Arc::default(),
        attempts: 1,
        charges: std::sync::Arc::default(),
        held_incarnation: None,
    }
}

fn add(spool: &Spool, count: usize) {
    let ended = |number| Ended {
        visit: None,
        record: v1::Record::from(&record(number)),
        circumstances: Circumstances::default(),
    };
    spool.outcomes((0..count).map(ended).collect()).unwrap();
}

async fn emptied(spool: &Spool, status: &mut watch::Receiver<Status>) {
    while spool.depth().outcomes > 0 {
        tokio::time::timeout(Duration::from_secs(20), status.changed()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn each_record_arrives_once_whatever_is_lost_on_the_way() {
    for acts in [
        vec![],
        vec![Act::LoseReceipt],
        vec![Act::Unavailable, Act::LoseReceipt, Act::Partly(7), Act::Unavailable, Act::Regress],
        vec![Act::Partly(1), Act::Partly(0), Act::LoseReceipt, Act::LoseReceipt],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let world = World::start(acts).await;
        let first_run = spool(&dir);
        add(&first_run, 3);
        let before = i64::try_from(first_run.incarnation()).unwrap();
        drop(first_run);
        let spool = spool(&dir);
        add(&spool, 1_200);
        let now = i64::try_from(spool.incarnation()).unwrap();
        let report = Report::new(world.link(dir.path()), spool.clone(), Witness::default());
        let mut status = report.status();
        let stop = CancellationToken::new();
        let ((), ()) = tokio::join!(report.run(stop.clone()), async {
            emptied(&spool, &mut status).await;
            stop.cancel();
        });
        let expect: Vec<_> = (1..=3).map(|at| (before, at)).chain((1..=1_200).map(|at| (now, at))).collect();
        assert_eq!(world.stored(), expect);
        assert_eq!((spool.depth().bytes, status.borrow().acknowledged), (0, 1_203));
    }
}

#[tokio::test]
async fn a_record_that_is_refused_becomes_a_gap_and_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(vec![]).await;
    world.state.lock().unwrap().poison = Some(5);
    let spool = spool(&dir);
    add(&spool, 12);
    let report = Report::new(world.link(dir.path()), spool.clone(), Witness::default());
    let mut status = report.status();
    let stop = CancellationToken::new();
    let ((), ()) = tokio::join!(report.run(stop.clone()), async {
        emptied(&spool, &mut status).await;
        stop.cancel();
    });
    let state = world.state.lock().unwrap();
    let gaps: Vec<i64> =
        state.stored.values().filter(|record| record.dropped == 1).map(|record| record.sequence).collect();
    assert_eq!((state.stored.len(), gaps), (12, vec![5]));
}

#[tokio::test]
async fn the_end_flushes_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(vec![]).await;
    let spool = spool(&dir);
    add(&spool, 10);
    let stop = CancellationToken::new();
    stop.cancel();
    Report::new(world.link(dir.path()), spool.clone(), Witness::default()).run(stop).await;
    assert_eq!((world.stored().len(), spool.depth().outcomes), (10, 0));
}

#[tokio::test]
async fn records_are_gathered_into_few_reports() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::start(vec![]).await;
    let spool = spool(&dir);
    let report = Report::new(world.link(dir.path()), spool.clone(), Witness::default());
    let mut status = report.status();
    let stop = CancellationToken::new();
    let ((), ()) = tokio::join!(report.run(stop.clone()), async {
        for _ in 0..20 {
            add(&spool, 1);
            tokio::task::yield_now().await;
        }
        emptied(&spool, &mut status).await;
        stop.cancel();
    });
    assert_eq!(world.calls.recv().await, Some(20));
}

#[tokio::test]
async fn a_control_plane_that_is_away_loses_nothing_and_the_end_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let unbound = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let spool = spool(&dir);
    add(&spool, 10);
    let report = Report::new(link(unbound, dir.path()), spool.clone(), Witness::default());
    let mut status = report.status();
    let stop = CancellationToken::new();
    let run = report.run(stop.clone());
    let ((), ()) = tokio::join!(async { timeout(FLUSH_MAX * 2, run).await.unwrap() }, async {
        status.changed().await.unwrap();
        stop.cancel();
    });
    assert!(status.borrow().last_error.is_some());
    assert_eq!(spool.depth().outcomes, 10);
}

#[tokio::test]
async fn the_newest_entry_that_was_acknowledged_is_witnessed() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(vec![Act::Partly(2)]).await;
    let spool = spool(&dir);
    add(&spool, 700);
    let path = dir.path().join(witness::FILE_NAME);
    let (witness, watch) = witness::open(Some(path.clone()), Counter::default());
    witness.writer("replica-1");
    let report = Report::new(world.link(dir.path()), spool.clone(), witness);
    let mut status = report.status();
    let stop = CancellationToken::new();
    let ((), (), ()) = tokio::join!(report.run(stop.clone()), watch.run(), async {
        emptied(&spool, &mut status).await;
        stop.cancel();
    });
    let state = world.state.lock().unwrap();
    let (_, last) = state.stored.last_key_value().unwrap();
    let link = hex::encode(evidence::link_of(last).unwrap());
    let text = std::fs::read_to_string(path).unwrap();
    let expect = format!(
        "{{\"link\":{{\"writer\":\"replica-1\",\"incarnation\":{},\"sequence\":700,\"link\":\"{link}\"}}}}",
        spool.incarnation()
    );
    assert_eq!(text.lines().last(), Some(expect.as_str()), "{text}");
    assert!(text.lines().count() <= 2, "not one for each report");
}
