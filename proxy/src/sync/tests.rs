//! Against a scripted control plane that speaks the wire.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use prost::Message as _;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tollgate_policy::{
    id::{CredentialId, KeyId, TeamId},
    token::KeyHash,
};
use tollgate_proto::{
    convert::fleet::item,
    fleet::v1::{
        Checkpoint, Chunk, CredentialItem, CredentialSecret, Credentials, CustomerItem, Directive, ExpressionItem,
        FollowRequest, FollowResponse, GetTokenRequest, GetTokenResponse, GuardrailItem, Heartbeat, Hello, Item,
        ItemKind, ItemRef, JoinRequest, JoinResponse, KeyItem, ObserveRequest, ObserveResponse, Payload, ProviderItem,
        Push, RenewRequest, RenewResponse, SigningKey, TeamItem, Welcome,
        fleet_service_server::{FleetService, FleetServiceServer},
        follow_request::Message as Hear,
        follow_response::Message as Say,
    },
    push::{self, Digest},
};
use tollgate_settings::Secret;
use tonic::{Request, Response, Status as Refusal, Streaming, transport::Server};

use super::*;
use crate::{membership, witness};

const TOKEN: &str = "a-fleet-token-of-the-tests";
const PEPPER: [u8; 32] = [9; 32];

// === The scripted control plane ===

/// A control plane that does what the test says, stream by stream.
struct Fake {
    address: SocketAddr,
    streams: mpsc::Receiver<Peer>,
    tasks: JoinSet<()>,
}

/// One stream of a replica, from the control plane's end.
struct Peer {
    hello: Hello,
    hear: Streaming<FollowRequest>,
    say: mpsc::Sender<Result<FollowResponse, Refusal>>,
}

struct Service(mpsc::Sender<Peer>);

#[tonic::async_trait]
impl FleetService for Service {
    async fn join(&self, _: Request<JoinRequest>) -> Result<Response<JoinResponse>, Refusal> {
        Err(Refusal::unimplemented("not here"))
    }

    async fn renew(&self, _: Request<RenewRequest>) -> Result<Response<RenewResponse>, Refusal> {
        Err(Refusal::unimplemented("not here"))
    }

    async fn observe(&self, _: Request<ObserveRequest>) -> Result<Response<ObserveResponse>, Refusal> {
        Err(Refusal::unimplemented("not here"))
    }

    async fn get_token(&self, _: Request<GetTokenRequest>) -> Result<Response<GetTokenResponse>, Refusal> {
        Err(Refusal::unimplemented("not here"))
    }

    type FollowStream = Pin<Box<ReceiverStream<Result<FollowResponse, Refusal>>>>;

    async fn follow(
        &self,
        request: Request<Streaming<FollowRequest>>,
    ) -> Result<Response<Self::FollowStream>, Refusal> {
        let authorization = request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(authorization.as_deref(), Some(format!("Bearer {TOKEN}").as_str()));
        let mut hear = request.into_inner();
        let Some(Hear::Hello(hello)) = hear.message().await?.unwrap().message else { panic!("no hello") };
        let (say, said) = mpsc::channel(64);
        self.0.send(Peer { hello: *hello, hear, say }).await.map_err(|_| Refusal::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }
}

impl Fake {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, streams) = mpsc::channel(16);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let service = FleetServiceServer::new(Service(sender));
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { address, streams, tasks }
    }

    async fn accept(&mut self) -> Peer {
        tokio::time::timeout(Duration::from_secs(20), self.streams.recv()).await.expect("a stream").unwrap()
    }
}

impl Peer {
    async fn say(&self, message: Say) {
        self.say.send(Ok(FollowResponse { message: Some(message) })).await.unwrap();
    }

    async fn welcome(&self, signers: &[&Signer]) {
        let signing_keys = signers.iter().map(|signer| signer.announced()).collect();
        let pepper = Bytes::copy_from_slice(&PEPPER);
        self.say(Say::Welcome(Welcome { replica: "replica".into(), pepper, signing_keys })).await;
    }

    async fn push(&self, (head, payload): (Push, Vec<u8>)) {
        self.say(Say::Push(head)).await;
        for chunk in payload.chunks(1_000) {
            self.say(Say::Chunk(Chunk { data: Bytes::copy_from_slice(chunk) })).await;
        }
    }

    async fn hear(&mut self) -> Hear {
        let message = tokio::time::timeout(Duration::from_secs(20), self.hear.message()).await.expect("an answer");
        message.unwrap().expect("the stream is open").message.unwrap()
    }

    async fn acknowledged(&mut self) -> i64 {
        match self.hear().await {
            Hear::Ack(ack) => ack.revision,
            other => panic!("{other:?}"),
        }
    }

    async fn refused(&mut self) -> String {
        match self.hear().await {
            Hear::Nack(nack) => nack.reason,
            other => panic!("{other:?}"),
        }
    }
}

struct Signer(Ed25519KeyPair, &'static str);

impl Signer {
    fn new(seed: u8, id: &'static str) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(), id)
    }

    fn announced(&self) -> SigningKey {
        SigningKey { id: self.1.into(), public_key: self.0.public_key().as_ref().to_vec().into() }
    }

    fn sign(&self, head: Push) -> Push {
        let head = Push { signing_key: self.1.into(), ..head };
        Push { signature: self.0.sign(&push::signed_bytes(&head)).as_ref().to_vec().into(), ..head }
    }
}

// === Policy ===

fn ulid(number: usize) -> String {
    format!("01k9zq3v5m8c4t2n7r6x{number:06}")
}

fn key_of(number: usize, revoked: bool) -> Item {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    let body = KeyItem {
        name: format!("key-number-{number}"),
        hash: hash.to_vec().into(),
        team: format!("team-{}", ulid(0)),
        revoked,
        models: vec!["claude-*".into()],
        ..KeyItem::default()
    };
    item(ItemKind::Key, format!("key-{}", ulid(number)), &body)
}

fn provider_of(reference: &str) -> Item {
    let credential = |number, reference: &str| CredentialItem {
        id: format!("credential-{}", ulid(number)),
        name: format!("credential-{number}x"),
        weight: 1,
        disabled: false,
        reference: reference.into(),
    };
    let body = ProviderItem {
        name: "anthropic".into(),
        dialect: "anthropic".into(),
        base_url: "https://api.anthropic.com".into(),
        vendor: "anthropic".into(),
        credentials: vec![credential(1, ""), credential(2, reference)],
        ..ProviderItem::default()
    };
    item(ItemKind::Provider, format!("provider-{}", ulid(0)), &body)
}

/// A policy of so many keys.
fn policy(keys: usize) -> Vec<Item> {
    let customer = CustomerItem { name: "acme".into(), disabled: false, quota: None };
    let team = TeamItem {
        name: "platform".into(),
        customer: format!("customer-{}", ulid(0)),
        disabled: false,
        quota: None,
        providers: Vec::new(),
        regions: Vec::new(),
    };
    let owners = [
        item(ItemKind::Customer, format!("customer-{}", ulid(0)), &customer),
        item(ItemKind::Team, format!("team-{}", ulid(0)), &team),
        provider_of("env://SET"),
    ];
    owners.into_iter().chain((1..=keys).map(|number| key_of(number, false))).collect()
}

fn digest(items: &[Item]) -> Digest {
    let mut digest = Digest::default();
    items.iter().for_each(|item| digest.add(&push::item_hash(item.kind(), &item.id, &item.body)));
    digest
}

/// A push, before it is signed.
fn made(base: i64, revision: i64, upserts: Vec<Item>, deletes: Vec<ItemRef>, digest: Digest) -> (Push, Vec<u8>) {
    packed(base, revision, &Payload { upserts, deletes }.encode_to_vec(), digest)
}

fn packed(base: i64, revision: i64, raw: &[u8], digest: Digest) -> (Push, Vec<u8>) {
    let payload = zstd::encode_all(raw, 3).unwrap();
    let head = Push {
        epoch: "epoch-1".into(),
        base_revision: base,
        revision,
        payload_bytes: i64::try_from(payload.len()).unwrap(),
        payload_sha256: Sha256::digest(&payload).to_vec().into(),
        digest: digest.to_bytes().to_vec().into(),
        payload_raw_bytes: i64::try_from(raw.len()).unwrap(),
        ..Push::default()
    };
    (head, payload)
}

fn signed(signer: &Signer, (head, payload): (Push, Vec<u8>)) -> (Push, Vec<u8>) {
    (signer.sign(head), payload)
}

fn full(signer: &Signer, revision: i64, items: Vec<Item>) -> (Push, Vec<u8>) {
    let digest = digest(&items);
    signed(signer, made(0, revision, items, vec![], digest))
}

// === The replica ===

struct Replica {
    holder: Arc<Holder>,
    status: watch::Receiver<Status>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Replica {
    fn start(dir: &TempDir, address: SocketAddr) -> Self {
        Self::start_with(dir, address, Duration::from_secs(3_600))
    }

    fn start_with(dir: &TempDir, address: SocketAddr, snapshot_age_max: Duration) -> Self {
        let link = Link::open(membership::Options {
            control_plane: format!("http://{address}"),
            data_dir: dir.path().to_owned(),
            name: "replica-one".into(),
            region: "local".into(),
            join_token: None,
            fleet_token: Some(Secret::new(TOKEN)),
            authority: None,
        });
        let (witness, watch) = witness::open(Some(dir.path().join(witness::FILE_NAME)), Counter::default());
        let options = Options {
            witness,
            funds: Arc::default(),
            rates: crate::rates::Rates::default(),
            health: Arc::default(),
            link: link.unwrap(),
            data_dir: dir.path().to_owned(),
            name: "replica-one".into(),
            region: "local".into(),
            version: "0".into(),
            incarnation: 7,
            snapshot_age_max,
            environment: Arc::new(|name| (name == "SET").then(|| "from-env".into())),
        };
        let holder = Arc::new(Holder::default());
        let sync = Sync::new(options, Arc::clone(&holder));
        let (status, stop) = (sync.status(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(sync.run(stop.clone()));
        tasks.spawn(watch.run());
        Self { holder, status, stop, tasks }
    }

    async fn until(&mut self, what: &str, wanted: impl FnMut(&Status) -> bool) -> Status {
        let found = tokio::time::timeout(Duration::from_secs(20), self.status.wait_for(wanted)).await;
        found.unwrap_or_else(|_| panic!("status never was: {what}")).unwrap().clone()
    }

    async fn stop(mut self) -> Arc<Holder> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.holder
    }

    fn keys(&self) -> usize {
        self.holder.load().map_or(0, |current| current.snapshot.key_count())
    }

    fn is_revoked(&self, number: usize) -> bool {
        let id = KeyId::from_ulid(&ulid(number)).unwrap();
        self.holder.load().unwrap().snapshot.key_by_id(&id).is_none_or(|key| key.revoked)
    }
}

fn credential(number: usize) -> CredentialId {
    CredentialId::from_ulid(&ulid(number)).unwrap()
}

// === Tests ===

#[tokio::test]
async fn what_is_said_of_the_audit_log_is_kept_in_the_data_directory() {
    let (dir, signer) = (tempfile::tempdir().unwrap(), Signer::new(1, "one"));
    let mut fake = Fake::start().await;
    let replica = Replica::start(&dir, fake.address);
    let mut peer = fake.accept().await;
    peer.welcome(&[&signer]).await;
    let public_key = Bytes::copy_from_slice(signer.0.public_key().as_ref());
    let said = tollgate_audit::Checkpoint { log: [3; 16], size: 9, root: [4; 32], time_ms: 5 };
    let text = said.text(&tollgate_audit::MacKey::new(&[1; 32]).unwrap());
    let note = said.note(&text, &public_key[..].try_into().unwrap(), signer.0.sign(text.as_bytes()).as_ref());
    peer.say(Say::Checkpoint(Checkpoint { note: note.clone(), public_key })).await;
    // What comes behind it was heard, so it was heard.
    peer.push(full(&signer, 3, policy(1))).await;
    assert_eq!(peer.acknowledged().await, 3);
    replica.stop().await;
    let kept = std::fs::read_to_string(dir.path().join(witness::FILE_NAME)).unwrap();
    let last: serde_json::Value = serde_json::from_str(kept.lines().last().unwrap()).unwrap();
    assert_eq!(last, serde_json::json!({"checkpoint": note}));
}

#[tokio::test]
async fn a_snapshot_then_a_delta_hold_and_are_acknowledged() {
    let (dir, signer) = (tempfile::tempdir().unwrap(), Signer::new(1, "one"));
    let mut fake = Fake::start().await;
    let mut replica = Replica::start(&dir, fake.address);
    let mut peer = fake.accept().await;
    let Hello { name, region, version, incarnation, epoch, revision, digest: has, head } = peer.hello.clone();
    assert_eq!((name.as_str(), region.as_str(), version.as_str(), incarnation), ("replica-one", "local", "0", 7));
    assert_eq!((epoch.as_str(), revision, has.len(), head), ("", 0, 0, None));
    peer.welcome(&[&signer]).await;
    let secret = CredentialSecret { credential: credential(1).to_string(), secret: "sk-canary".into() };
    peer.say(Say::Credentials(Credentials { secrets: vec![secret] })).await;
    peer.push(full(&signer, 3, policy(10))).await;
    assert_eq!(peer.acknowledged().await, 3);
    let current = replica.holder.load().unwrap();
    assert_eq!((current.snapshot.revision(), current.snapshot.key_count()), (3, 10));
    assert_eq!(current.secrets[&credential(1)].expose(), "sk-canary");
    assert_eq!(current.secrets[&credential(2)].expose(), "from-env");
    assert_eq!(current.pepper.expose(), PEPPER);
    assert!(current.snapshot.team(&TeamId::from_ulid(&ulid(0)).unwrap()).is_some());

    let mut items = policy(9);
    items.retain(|item| item.id != key_of(4, false).id);
    items.push(key_of(4, true));
    let gone = ItemRef { kind: ItemKind::Key.into(), id: key_of(10, false).id };
    let delta = made(3, 5, vec![key_of(4, true)], vec![gone], digest(&items));
    peer.push(signed(&signer, delta)).await;
    assert_eq!(peer.acknowledged().await, 5);
    assert!(replica.is_revoked(4) && replica.is_revoked(10) && !replica.is_revoked(5));
    assert_eq!(replica.keys(), 9);
    let mut hash = [0; 32];
    hash[7] = 10;
    assert!(replica.holder.load().unwrap().snapshot.key(&KeyHash::new(hash)).is_none());

    peer.say(Say::Heartbeat(Heartbeat { revision: 6 })).await;
    let status = replica.until("heartbeat", |status| status.head_revision == 6).await;
    assert_eq!((status.connected, status.revision, status.epoch.as_str()), (true, 5, "epoch-1"));
    assert_eq!((status.last_error, status.since.is_some(), status.heard.is_some()), (None, true, true));

    peer.say(Say::Directive(Directive { drain: true })).await;
    peer.say(Say::Credentials(Credentials { secrets: vec![] })).await;
    peer.say(Say::Heartbeat(Heartbeat { revision: 7 })).await;
    replica.until("heartbeat", |status| status.head_revision == 7).await;
    assert!(replica.holder.is_draining());
    let secrets = replica.holder.load().unwrap().secrets.clone();
    assert!(!secrets.contains_key(&credential(1)), "what is missing is gone");
    assert!(secrets.contains_key(&credential(2)));
}

/// What a hostile or broken control plane sends, and what must come back.
enum Expect {
    Nack(&'static str),
    Resync(&'static str),
}

type Hostile = (&'static str, (Push, Vec<u8>), Expect);

fn hostile(signer: &Signer, stranger: &Signer) -> Vec<Hostile> {
    use Expect::{Nack, Resync};
    let items = policy(10);
    let after = |more: Vec<Item>| digest(&[policy(10), more].concat());
    let sign = |made| signed(signer, made);
    let flipped = |at: usize| {
        let (head, mut payload) = full(signer, 4, policy(10));
        payload[at] ^= 1;
        (head, payload)
    };
    let headed = |change: fn(&mut Push)| {
        let (mut head, payload) = full(signer, 4, policy(10));
        change(&mut head);
        (head, payload)
    };
    let bodied = |item: Item| {
        let digest = after(vec![item.clone()]);
        sign(made(3, 4, vec![item], vec![], digest))
    };
    // Announces its first item alone; 8 MiB stand behind it.
    let first = Payload { upserts: vec![key_of(11, false)], deletes: vec![] }.encode_to_vec();
    let (bomb, packed_bomb) = packed(3, 4, &[&first[..], &[0x12, 0x00].repeat(4 << 20)].concat(), digest(&items));
    let bomb = Push { payload_raw_bytes: i64::try_from(first.len()).unwrap(), ..bomb };
    let garbage = b"this is not zstd".to_vec();
    let garbage_head = Push {
        payload_bytes: 16,
        payload_sha256: Sha256::digest(&garbage).to_vec().into(),
        ..packed(3, 4, b"", digest(&items)).0
    };
    let mut same_hash = key_of(11, false);
    same_hash.body = key_of(5, false).body;
    let other_kind = Item { kind: 42, ..key_of(11, false) };
    let nameless = item(ItemKind::Customer, format!("customer-{}", ulid(5)), &CustomerItem::default());
    let unfit = GuardrailItem {
        name: "mine".into(),
        kind: "expressions".into(),
        expressions: vec![ExpressionItem { id: "own".into(), regex: "(".into() }],
        on_request: true,
        action: "block".into(),
        ..GuardrailItem::default()
    };
    let unfit = item(ItemKind::Guardrail, format!("guardrail-{}", ulid(5)), &unfit);
    let unknown_field =
        Item { body: [&key_of(11, false).body[..], &[0xa0, 0x06, 0x01]].concat().into(), ..key_of(11, false) };
    let gone = ItemRef { kind: ItemKind::Key.into(), id: key_of(1, false).id };
    let other_epoch = {
        let (mut head, payload) = made(3, 4, vec![], vec![], digest(&items));
        head.epoch = "epoch-2".into();
        sign((head, payload))
    };
    vec![
        ("first byte flipped", flipped(0), Nack("not the one that the head names")),
        ("a byte flipped", flipped(40), Nack("not the one that the head names")),
        ("wrong signature", headed(|head| head.signature = vec![0; 64].into()), Nack("signature that is not valid")),
        ("short signature", headed(|head| head.signature = vec![0; 63].into()), Nack("wrong length")),
        ("revision changed", headed(|head| head.revision = 9), Nack("signature that is not valid")),
        ("epoch changed", headed(|head| head.epoch = "other".into()), Nack("signature that is not valid")),
        ("unknown key", signed(stranger, full(stranger, 4, policy(10))), Nack("not pinned")),
        ("oversize", headed(|head| head.payload_bytes = 257 << 20), Nack("larger than this version takes")),
        ("oversize raw", headed(|head| head.payload_raw_bytes = 257 << 20), Nack("larger than this version takes")),
        ("lower full", full(signer, 2, policy(10)), Nack("below 3")),
        ("full digest", sign(made(0, 4, policy(10), vec![], digest(&policy(9)))), Nack("do not add up")),
        ("full with deletes", sign(made(0, 4, policy(10), vec![gone.clone()], digest(&items))), Nack("deletes")),
        (
            "item twice",
            sign(made(0, 4, [policy(10), policy(1)].concat(), vec![], after(policy(1)))),
            Nack("named twice"),
        ),
        ("bomb", sign((bomb, packed_bomb)), Nack("cut short")),
        ("garbage", sign((garbage_head, garbage)), Nack("cannot be decompressed")),
        ("unknown kind", bodied(other_kind), Nack("kind 42 is not known")),
        ("no name", bodied(nameless), Nack("name must be 1 to 256 bytes")),
        ("a rule that does not compile", bodied(unfit), Nack("guardrail \"mine\" cannot be enforced: own")),
        ("unknown field", bodied(unknown_field), Nack("not known to this version")),
        ("shared hash", bodied(same_hash), Nack("same hash")),
        ("delta digest", sign(made(3, 4, vec![key_of(1, true)], vec![], digest(&items))), Resync("another state")),
        ("delta from ahead", sign(made(9, 10, vec![], vec![], digest(&items))), Resync("older revision")),
        ("other epoch", other_epoch, Resync("another epoch")),
    ]
}

#[tokio::test]
async fn what_is_not_valid_is_refused_and_the_last_good_policy_is_kept() {
    let (dir, signer, stranger) = (tempfile::tempdir().unwrap(), Signer::new(1, "one"), Signer::new(2, "two"));
    let mut fake = Fake::start().await;
    let mut replica = Replica::start(&dir, fake.address);
    let mut peer = fake.accept().await;
    peer.welcome(&[&signer]).await;
    peer.push(full(&signer, 3, policy(10))).await;
    assert_eq!(peer.acknowledged().await, 3);
    let good = replica.holder.load().unwrap();
    for (name, push, expect) in hostile(&signer, &stranger) {
        peer.push(push).await;
        let answer = peer.hear().await;
        match (&answer, &expect) {
            (Hear::Nack(nack), Expect::Nack(part)) => assert!(nack.reason.contains(part), "{name}: {}", nack.reason),
            (Hear::Resync(resync), Expect::Resync(part)) => {
                assert!(resync.reason.contains(part), "{name}: {}", resync.reason);
            }
            _ => panic!("{name}: {answer:?}"),
        }
        assert!(Arc::ptr_eq(&good, &replica.holder.load().unwrap()), "{name} changed what holds");
        assert!(replica.status.borrow().last_error.is_some(), "{name}");
    }
    // A push that is cut short is refused when the next one begins, and that one counts.
    let (head, payload) = full(&signer, 4, policy(10));
    peer.say(Say::Push(head)).await;
    peer.say(Say::Chunk(Chunk { data: payload[..10].to_vec().into() })).await;
    let mut items = policy(10);
    items.push(key_of(11, false));
    peer.push(signed(&signer, made(3, 4, vec![key_of(11, false)], vec![], digest(&items)))).await;
    assert!(peer.refused().await.contains("ended before"));
    assert_eq!(peer.acknowledged().await, 4);
    assert_eq!(replica.keys(), 11);
    replica.until("all well again", |status| status.last_error.is_none()).await;
}

#[tokio::test]
async fn a_full_snapshot_heals_and_a_new_epoch_may_count_from_lower() {
    let (dir, signer) = (tempfile::tempdir().unwrap(), Signer::new(1, "one"));
    let mut fake = Fake::start().await;
    let replica = Replica::start(&dir, fake.address);
    let mut peer = fake.accept().await;
    peer.welcome(&[&signer]).await;
    peer.push(full(&signer, 30, policy(3))).await;
    assert_eq!(peer.acknowledged().await, 30);
    peer.push(full(&signer, 30, policy(4))).await;
    assert_eq!(peer.acknowledged().await, 30);
    let (mut head, payload) = made(0, 5, policy(2), vec![], digest(&policy(2)));
    head.epoch = "epoch-2".into();
    peer.push(signed(&signer, (head, payload))).await;
    assert_eq!(peer.acknowledged().await, 5);
    assert_eq!(replica.keys(), 2);
}

#[tokio::test]
async fn a_stream_that_ends_is_opened_again_with_what_the_replica_has() {
    let (dir, signer) = (tempfile::tempdir().unwrap(), Signer::new(1, "one"));
    let mut fake = Fake::start().await;
    let mut replica = Replica::start(&dir, fake.address);
    let mut peer = fake.accept().await;
    peer.welcome(&[&signer]).await;
    let push = full(&signer, 3, policy(3));
    peer.push(push.clone()).await;
    assert_eq!(peer.acknowledged().await, 3);
    // Each of these ends the stream; the policy stays.
    for last in [
        Err(Refusal::unavailable("restart")),
        Ok(FollowResponse { message: Some(Say::Welcome(Welcome::default())) }),
        Ok(FollowResponse { message: Some(Say::Chunk(Chunk::default())) }),
    ] {
        peer.say.send(last).await.unwrap();
        peer = fake.accept().await;
        assert_eq!((peer.hello.epoch.as_str(), peer.hello.revision), ("epoch-1", 3));
        assert_eq!(peer.hello.digest.as_ref(), digest(&policy(3)).to_bytes());
        assert_eq!(peer.hello.head.as_ref(), Some(&push.0));
        assert!(!replica.until("cut off", |status| !status.connected).await.last_error.unwrap().is_empty());
        peer.welcome(&[&signer]).await;
        replica.until("connected", |status| status.connected).await;
        assert_eq!(replica.keys(), 3);
    }
}

#[tokio::test]
async fn only_an_announced_key_may_follow_the_one_that_is_pinned() {
    let (dir, one, two, three) =
        (tempfile::tempdir().unwrap(), Signer::new(1, "one"), Signer::new(2, "two"), Signer::new(3, "three"));
    let mut fake = Fake::start().await;
    let mut replica = Replica::start(&dir, fake.address);
    let mut peer = fake.accept().await;
    peer.welcome(&[&one, &two]).await;
    peer.push(full(&one, 3, policy(3))).await;
    assert_eq!(peer.acknowledged().await, 3);
    peer.welcome(&[&three]).await;
    let status = replica.until("refused", |status| !status.connected).await;
    assert!(status.last_error.unwrap().contains("not announced"));
    // Also after a restart: pins are on disk.
    replica.stop().await;
    let mut replica = Replica::start(&dir, fake.address);
    peer = fake.accept().await;
    if peer.hello.incarnation != 7 || peer.say.is_closed() {
        peer = fake.accept().await;
    }
    peer.welcome(&[&three]).await;
    let status = replica.until("refused", |status| status.last_error.is_some()).await;
    assert!(status.last_error.unwrap().contains("not announced"));
    assert_eq!(replica.keys(), 3, "the last good policy holds");
    peer = fake.accept().await;
    peer.welcome(&[&two, &three]).await;
    peer.push(full(&two, 4, policy(4))).await;
    assert_eq!(peer.acknowledged().await, 4);
}

#[tokio::test]
async fn a_replica_starts_from_disk_while_its_control_plane_is_away() {
    let (dir, signer) = (tempfile::tempdir().unwrap(), Signer::new(1, "one"));
    let mut fake = Fake::start().await;
    let replica = Replica::start(&dir, fake.address);
    let mut peer = fake.accept().await;
    peer.welcome(&[&signer]).await;
    let secret = CredentialSecret { credential: credential(1).to_string(), secret: "sk-canary-secret".into() };
    peer.say(Say::Credentials(Credentials { secrets: vec![secret] })).await;
    peer.push(full(&signer, 3, policy(50))).await;
    assert_eq!(peer.acknowledged().await, 3);
    let mut items = policy(50);
    items.push(key_of(51, false));
    let delta = signed(&signer, made(3, 4, vec![key_of(51, false)], vec![], digest(&items)));
    peer.push(delta.clone()).await;
    assert_eq!(peer.acknowledged().await, 4);
    replica.stop().await;
    let away = fake.address;
    fake.tasks.shutdown().await;
    drop(peer);
    no_file_has(&dir, &[b"sk-canary-secret", b"key-number-1", &PEPPER, b"platform"]);

    let mut replica = Replica::start(&dir, away);
    let status = replica.until("loaded", |status| status.revision == 4).await;
    assert!(!status.connected && status.heard.is_some());
    assert_eq!(replica.keys(), 51);
    let current = replica.holder.load().unwrap();
    assert!(!current.secrets.contains_key(&credential(1)), "literal secrets are not on disk");
    assert!(current.secrets.contains_key(&credential(2)), "references resolve");
    replica.until("away", |status| status.last_error.is_some()).await;
    assert_eq!(replica.stop().await.load().unwrap().snapshot.revision(), 4);

    // The control plane is back, elsewhere: the replica goes on from what it has.
    let mut fake = Fake::start().await;
    let replica = Replica::start(&dir, fake.address);
    let peer = fake.accept().await;
    assert_eq!((peer.hello.revision, peer.hello.head.clone()), (4, Some(delta.0)));
    replica.stop().await;

    // Too old: not used.
    let mut stale = Replica::start_with(&dir, away, Duration::ZERO);
    stale.until("away", |status| status.last_error.is_some()).await;
    assert!(stale.holder.load().is_none());
    stale.stop().await;
}

fn no_file_has(dir: &TempDir, canaries: &[&[u8]]) {
    let mut files = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let (path, bytes) = {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            (path, bytes)
        };
        files += 1;
        for canary in canaries {
            assert!(memchr::memmem::find(&bytes, canary).is_none(), "{} has a canary", path.display());
        }
    }
    assert!(files >= 2, "a key and a slot are on disk");
}
