//! Measures what a policy of 100,000 keys costs a replica: the time to apply it and the memory that it takes, and the same
//! for a change of one key. `cargo run --release -p tollgate-proxy --example snapshot [-- KEYS]`
//!
//! The control plane that sends the policy is another process, so that its memory does not count.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a program that prints figures, and may stop at any surprise"
)]

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    pin::Pin,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use prost::{Message as _, bytes::Bytes};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tollgate_proto::{
    convert::fleet::item,
    fleet::v1::{
        Chunk, CustomerItem, FollowRequest, FollowResponse, GetTokenRequest, GetTokenResponse, Item, ItemKind,
        JoinRequest, JoinResponse, KeyItem, ObserveRequest, ObserveResponse, Payload, Push, RenewRequest,
        RenewResponse, SigningKey, TeamItem, Welcome,
        fleet_service_server::{FleetService, FleetServiceServer},
        follow_request::Message as Hear,
        follow_response::Message as Say,
    },
    push::{self, Digest},
};
use tollgate_proxy::{
    current::Holder,
    membership::{self, Link},
    sync::{Options, Sync},
};
use tollgate_settings::Secret;
use tonic::{Request, Response, Status, Streaming, transport::Server};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOKEN: &str = "a token for this program alone";
const DELTAS: i64 = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", keys] => runtime.block_on(serve(keys.parse().unwrap())),
        [] => runtime.block_on(measure(100_000)),
        [keys, ..] => runtime.block_on(measure(keys.parse().unwrap())),
    }
}

// === The replica ===

async fn measure(keys: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["serve", &keys.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address: SocketAddr = lines.next().unwrap().unwrap().parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let link = Link::open(membership::Options {
        control_plane: format!("http://{address}"),
        data_dir: dir.path().to_owned(),
        name: "measured".into(),
        region: "local".into(),
        join_token: None,
        fleet_token: Some(Secret::new(TOKEN)),
        authority: None,
    });
    let options = Options {
        link: link.unwrap(),
        data_dir: dir.path().to_owned(),
        name: "measured".into(),
        region: "local".into(),
        version: "0".into(),
        incarnation: 1,
        funds: std::sync::Arc::default(),
        rates: tollgate_proxy::rates::Rates::default(),
        health: std::sync::Arc::default(),
        witness: tollgate_proxy::witness::Witness::default(),
        snapshot_age_max: Duration::from_secs(3_600),
        environment: Arc::new(|_| None),
    };
    let holder = Arc::new(Holder::default());
    let before = resident();
    let sync = Sync::new(options.clone(), Arc::clone(&holder));
    let (mut status, stop) = (sync.status(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    tasks.spawn(sync.run(stop.clone()));
    let first = status.wait_for(|status| status.revision >= 1).await.unwrap().clone();
    println!("{:>9} keys", holder.load().unwrap().snapshot.key_count());
    println!("{:>9.0} ms from start to applied, of which", began.elapsed().as_secs_f64() * 1e3);
    println!("{:>9.0} ms to verify, decompress, decode, build and install", ms(first.apply_us));
    println!("{:>9.1} MB resident more than before", (resident() - before) as f64 / 1e6);
    let mut deltas = Vec::new();
    for revision in 2..=1 + DELTAS.unsigned_abs() {
        let applied = status.wait_for(|status| status.revision >= revision).await.unwrap().apply_us;
        deltas.push(applied);
    }
    deltas.sort_unstable();
    println!("{:>9.1} ms for a change of one key, median of {DELTAS}", ms(deltas[deltas.len() / 2]));
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    println!("{:>9.1} MB resident more than before, after the changes", (resident() - before) as f64 / 1e6);
    println!("{:>9.1} MB resident at the highest", peak() as f64 / 1e6);
    let disk: u64 = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    println!("{:>9.1} MB on disk, in two slots", disk as f64 / 1e6);
    child.kill().unwrap();
    child.wait().unwrap();

    drop(holder);
    let holder = Arc::new(Holder::default());
    let sync = Sync::new(options, Arc::clone(&holder));
    let (mut status, stop) = (sync.status(), CancellationToken::new());
    let began = Instant::now();
    tasks.spawn(sync.run(stop.clone()));
    status.wait_for(|status| status.revision >= 1).await.unwrap();
    println!("{:>9.0} ms to start from disk without a control plane", began.elapsed().as_secs_f64() * 1e3);
    stop.cancel();
    while tasks.join_next().await.is_some() {}
}

fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}

fn resident() -> u64 {
    of_status("VmRSS:")
}

fn peak() -> u64 {
    of_status("VmHWM:")
}

fn of_status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
}

// === The control plane ===

struct Service {
    signer: Arc<Ed25519KeyPair>,
    pushes: Arc<Vec<(Push, Vec<Bytes>)>>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

async fn serve(keys: usize) {
    let signer = Arc::new(Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap());
    let pushes = Arc::new(pushes(&signer, keys));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let service = FleetServiceServer::new(Service { signer, pushes, tasks: tokio::sync::Mutex::default() });
    Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
}

#[tonic::async_trait]
impl FleetService for Service {
    async fn join(&self, _: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn renew(&self, _: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn observe(&self, _: Request<ObserveRequest>) -> Result<Response<ObserveResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_token(&self, _: Request<GetTokenRequest>) -> Result<Response<GetTokenResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    type FollowStream = Pin<Box<ReceiverStream<Result<FollowResponse, Status>>>>;

    async fn follow(&self, request: Request<Streaming<FollowRequest>>) -> Result<Response<Self::FollowStream>, Status> {
        let (say, said) = mpsc::channel(4);
        let (pushes, mut hear) = (Arc::clone(&self.pushes), request.into_inner());
        let key = SigningKey { id: "k".into(), public_key: self.signer.public_key().as_ref().to_vec().into() };
        let welcome = Welcome { replica: "r".into(), pepper: vec![7; 32].into(), signing_keys: vec![key] };
        self.tasks.lock().await.spawn(async move {
            let send = |message| say.send(Ok(FollowResponse { message: Some(message) }));
            send(Say::Welcome(welcome)).await.unwrap();
            for (head, chunks) in pushes.iter() {
                send(Say::Push(head.clone())).await.unwrap();
                for data in chunks {
                    send(Say::Chunk(Chunk { data: data.clone() })).await.unwrap();
                }
                loop {
                    match hear.message().await {
                        Ok(Some(FollowRequest { message: Some(Hear::Ack(_)) })) => break,
                        Ok(Some(_)) => {}
                        // The replica has what it came for.
                        Ok(None) | Err(_) => return,
                    }
                }
            }
            // The stream stays open until the replica leaves.
            while let Ok(Some(_)) = hear.message().await {}
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }
}

// A full snapshot, then deltas that each revoke a key.
fn pushes(signer: &Ed25519KeyPair, keys: usize) -> Vec<(Push, Vec<Bytes>)> {
    let customer = CustomerItem { name: "acme".into(), disabled: false, quota: None };
    let mut items = vec![item(ItemKind::Customer, format!("customer-{}", ulid(0)), &customer)];
    for team in 0..200 {
        let body =
            TeamItem { name: format!("team-{team}"), customer: format!("customer-{}", ulid(0)), ..TeamItem::default() };
        items.push(item(ItemKind::Team, format!("team-{}", ulid(team)), &body));
    }
    items.extend((0..keys).map(|number| key(number, false)));
    let mut digest = Digest::default();
    items.iter().for_each(|item| digest.add(&hash(item)));
    let mut pushes = vec![push(signer, 0, 1, items, &digest)];
    for revision in 2..=1 + DELTAS {
        let number = usize::try_from(revision).unwrap();
        digest.remove(&hash(&key(number, false)));
        digest.add(&hash(&key(number, true)));
        pushes.push(push(signer, revision - 1, revision, vec![key(number, true)], &digest));
    }
    pushes
}

fn hash(item: &Item) -> push::ItemHash {
    push::item_hash(item.kind(), &item.id, &item.body)
}

// Ids and hashes are as random as real ones, so that they compress as little.
fn ulid(number: usize) -> String {
    let digest = Sha256::digest(number.to_be_bytes());
    let letters = b"0123456789abcdefghjkmnpqrstvwxyz";
    digest.iter().take(26).map(|byte| char::from(letters[usize::from(byte % 32)])).collect()
}

fn key(number: usize, revoked: bool) -> Item {
    let body = KeyItem {
        name: format!("service-{number}"),
        hash: Sha256::digest(format!("key {number}")).to_vec().into(),
        team: format!("team-{}", ulid(number % 200)),
        revoked,
        expires_ms: 1_900_000_000_000,
        models: vec!["claude-*".into(), "!*opus*".into()],
        ..KeyItem::default()
    };
    item(ItemKind::Key, format!("key-{}", ulid(1_000 + number)), &body)
}

fn push(signer: &Ed25519KeyPair, base: i64, revision: i64, upserts: Vec<Item>, digest: &Digest) -> (Push, Vec<Bytes>) {
    let raw = Payload { upserts, deletes: vec![] }.encode_to_vec();
    let payload = zstd::encode_all(raw.as_slice(), 3).unwrap();
    let head = Push {
        epoch: "epoch".into(),
        base_revision: base,
        revision,
        payload_bytes: i64::try_from(payload.len()).unwrap(),
        payload_sha256: Sha256::digest(&payload).to_vec().into(),
        digest: digest.to_bytes().to_vec().into(),
        signing_key: "k".into(),
        signature: Bytes::new(),
        payload_raw_bytes: i64::try_from(raw.len()).unwrap(),
    };
    let signature = signer.sign(&push::signed_bytes(&head)).as_ref().to_vec().into();
    let chunks = payload.chunks(push::CHUNK_BYTES_MAX).map(Bytes::copy_from_slice).collect();
    (Push { signature, ..head }, chunks)
}
