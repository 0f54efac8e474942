//! The fleet listener through its front door: joining over TLS, following, and what operators see of it.

use std::{collections::HashMap, time::Duration};

use futures_util::future::join_all;
use prost::Message as _;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, SanType};
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tollgate_policy::{id::ReplicaId, snapshot::Object};
use tollgate_proto::{
    admin::v1,
    fleet::v1::{
        Ack, Alive, FollowRequest, FollowResponse, Hello, Item, ItemKind, JoinRequest, KeyItem, Nack, Payload, Push,
        RenewRequest, Resync, Share, SigningKey, fleet_service_client::FleetServiceClient,
        follow_request::Message as Say, follow_response::Message as Hear,
    },
    push::{self, Digest},
    usage::v1::{ReportRequest, usage_intake_service_client::UsageIntakeServiceClient},
};
use tonic::{
    Code, Status, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::world::{Place, World, code, over_both};

over_both! {
    a_replica_joins_follows_and_is_listed
    who_is_not_admitted_is_told_why
    a_deleted_replica_is_cut_off_and_stays_out
    a_revocation_reaches_twenty_replicas_within_a_second
    a_refused_push_is_logged_once_and_the_next_one_leads_on
    a_full_snapshot_is_there_for_the_asking
    a_replica_that_does_not_read_holds_up_nobody
    a_drained_replica_is_told_so_wherever_it_follows
    two_control_planes_publish_the_same
    each_replica_is_told_its_part_of_every_rate_limit_before_the_limits
    a_restored_database_begins_a_new_epoch
    a_wrong_claim_of_a_higher_revision_changes_nothing
}

// === A replica that speaks the wire and checks what it hears ===

pub(crate) struct Member {
    pub(crate) world: std::net::SocketAddr,
    name: String,
    authority: String,
    chain: String,
    key: String,
    pub(crate) id: String,
}

pub(crate) struct Follower {
    say: mpsc::Sender<FollowRequest>,
    hear: Streaming<FollowResponse>,
    keys: Vec<SigningKey>,
    pepper: Vec<u8>,
    pub(crate) secrets: HashMap<String, Vec<u8>>,
    share: Option<Share>,
    has: State,
}

#[derive(Clone, Default)]
struct State {
    head: Option<Push>,
    items: HashMap<(i32, String), Vec<u8>>,
}

fn request_of(key: &KeyPair) -> prost::bytes::Bytes {
    CertificateParams::default().serialize_request(key).unwrap().der().to_vec().into()
}

async fn join_token(world: &World) -> v1::JoinToken {
    world.replicas().create_join_token(v1::CreateJoinTokenRequest { ttl: None }).await.unwrap().into_inner()
}

fn authority_of(token: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let der = URL_SAFE_NO_PAD.decode(token.split_once('.').unwrap().1).unwrap();
    pem(&der)
}

fn pem(der: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
}

fn channel(world: std::net::SocketAddr, authority: &str, identity: Option<(&str, &str)>) -> Channel {
    let mut tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)).domain_name(push::SERVER_NAME);
    if let Some((chain, key)) = identity {
        tls = tls.identity(Identity::from_pem(chain, key));
    }
    Endpoint::from_shared(format!("https://{world}")).unwrap().tls_config(tls).unwrap().connect_lazy()
}

/// A connection of somebody who trusts the fleet's authority, and is no replica.
pub(crate) async fn stranger(world: &World) -> Channel {
    channel(world.fleet, &authority_of(&join_token(world).await.token), None)
}

impl Member {
    pub(crate) async fn join(world: &World, name: &str) -> Self {
        let token = join_token(world).await.token;
        Self::join_with(world, name, &token).await.unwrap()
    }

    /// Joins at another control plane than the one that gives the token: over the same database only the first has the administrator's.
    pub(crate) async fn join_at(world: &World, first: &World, name: &str) -> Self {
        Self::join_with(world, name, &join_token(first).await.token).await.unwrap()
    }

    async fn join_with(world: &World, name: &str, token: &str) -> Result<Self, Status> {
        let key = KeyPair::generate().unwrap();
        let authority = authority_of(token);
        let mut client = FleetServiceClient::new(channel(world.fleet, &authority, None));
        let request = JoinRequest {
            token: token.into(),
            certificate_request: request_of(&key),
            name: name.into(),
            region: "eu".into(),
        };
        let answer = client.join(request).await?.into_inner();
        ReplicaId::parse(&answer.replica).unwrap();
        Ok(Self {
            world: world.fleet,
            name: name.into(),
            authority,
            chain: answer.certificate_chain,
            key: key.serialize_pem(),
            id: answer.replica,
        })
    }

    pub(crate) fn channel(&self) -> Channel {
        channel(self.world, &self.authority, Some((&self.chain, &self.key)))
    }

    pub(crate) fn client(&self) -> FleetServiceClient<Channel> {
        FleetServiceClient::new(self.channel()).max_decoding_message_size(push::MESSAGE_BYTES_MAX)
    }

    async fn call(&self, hello: Hello) -> Result<(mpsc::Sender<FollowRequest>, Streaming<FollowResponse>), Status> {
        let (say, said) = mpsc::channel(64);
        say.send(FollowRequest { message: Some(Say::Hello(Box::new(hello))) }).await.unwrap();
        Ok((say, self.client().follow(ReceiverStream::new(said)).await?.into_inner()))
    }

    fn hello(&self, has: &State) -> Hello {
        let head = has.head.clone();
        Hello {
            name: self.name.clone(),
            region: "eu".into(),
            version: "1.2.3".into(),
            incarnation: 4,
            epoch: head.as_ref().map(|head| head.epoch.clone()).unwrap_or_default(),
            revision: head.as_ref().map_or(0, |head| head.revision),
            digest: head.as_ref().map(|head| head.digest.clone()).unwrap_or_default(),
            head,
        }
    }

    pub(crate) async fn follow(&self) -> Follower {
        self.follow_with(State::default()).await
    }

    async fn follow_with(&self, has: State) -> Follower {
        let (say, hear) = self.call(self.hello(&has)).await.unwrap();
        let (keys, pepper, secrets) = (Vec::new(), Vec::new(), HashMap::new());
        Follower { say, hear, keys, pepper, secrets, share: None, has }
    }
}

impl Follower {
    pub(crate) async fn say(&self, message: Say) {
        self.say.send(FollowRequest { message: Some(message) }).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Result<Hear, Status> {
        let message = tokio::time::timeout(Duration::from_secs(30), self.hear.message()).await.expect("a message");
        Ok(message?.expect("the stream is open").message.unwrap())
    }

    /// The next push, with what comes before it taken in; checked, and not applied.
    async fn push(&mut self) -> (Push, Payload) {
        loop {
            match self.hear().await.unwrap() {
                Hear::Welcome(welcome) => {
                    (self.keys, self.pepper) = (welcome.signing_keys, welcome.pepper.to_vec());
                }
                Hear::Credentials(credentials) => {
                    let secret = |secret: tollgate_proto::fleet::v1::CredentialSecret| {
                        (secret.credential, secret.secret.to_vec())
                    };
                    self.secrets = credentials.secrets.into_iter().map(secret).collect();
                }
                Hear::Push(head) => {
                    assert!(self.share.is_some(), "a limit came before its part of it");
                    return self.received(head).await;
                }
                Hear::Share(share) => self.share = Some(share),
                Hear::Heartbeat(_) | Hear::Directive(_) | Hear::Recall(_) | Hear::Checkpoint(_) => {}
                Hear::Chunk(_) => panic!("a chunk without a push"),
            }
        }
    }

    async fn received(&mut self, head: Push) -> (Push, Payload) {
        let mut packed = Vec::new();
        while i64::try_from(packed.len()).unwrap() < head.payload_bytes {
            let Hear::Chunk(chunk) = self.hear().await.unwrap() else { panic!("chunks follow at once") };
            assert!(chunk.data.len() <= push::CHUNK_BYTES_MAX);
            packed.extend_from_slice(&chunk.data);
        }
        assert_eq!(head.payload_sha256, Sha256::digest(&packed).as_slice());
        let key = self.keys.iter().find(|key| key.id == head.signing_key).expect("an announced key");
        let key = UnparsedPublicKey::new(&ED25519, &key.public_key);
        key.verify(&push::signed_bytes(&head), &head.signature).unwrap();
        let raw = zstd::decode_all(packed.as_slice()).unwrap();
        assert_eq!(i64::try_from(raw.len()).unwrap(), head.payload_raw_bytes);
        (head, Payload::decode(raw.as_slice()).unwrap())
    }

    fn apply(&mut self, (head, payload): (Push, Payload)) {
        if head.base_revision == 0 {
            self.has.items.clear();
        } else {
            let has = self.has.head.as_ref().unwrap();
            assert!(head.base_revision <= has.revision && head.epoch == has.epoch);
        }
        let Payload { upserts, deletes } = payload;
        self.has.items.extend(upserts.into_iter().map(|item| ((item.kind, item.id), item.body.to_vec())));
        deletes.into_iter().for_each(|gone| drop(self.has.items.remove(&(gone.kind, gone.id))));
        let mut digest = Digest::default();
        for ((kind, id), body) in &self.has.items {
            digest.add(&push::item_hash(ItemKind::try_from(*kind).unwrap(), id, body));
        }
        assert_eq!(head.digest, digest.to_bytes().as_slice());
        self.has.head = Some(head);
    }

    /// Applies the next push and acknowledges it.
    async fn take(&mut self) -> Push {
        let push = self.push().await;
        let head = push.0.clone();
        self.apply(push);
        self.say(Say::Ack(Ack { revision: head.revision, apply_us: 5 })).await;
        head
    }

    /// Applies pushes until the state is that of a revision, or a later one.
    async fn take_until(&mut self, revision: i64) -> Push {
        loop {
            let head = self.take().await;
            if head.revision >= revision {
                return head;
            }
        }
    }

    /// Every object of the state of a revision, or of a later one, as a replica reads them.
    pub(crate) async fn objects(&mut self, revision: i64) -> Vec<Object> {
        if self.revision() < revision {
            self.take_until(revision).await;
        }
        let item = |((kind, id), body): (&(i32, String), &Vec<u8>)| {
            let item = Item { kind: *kind, id: id.clone(), body: body.clone().into() };
            Object::try_from(&item).unwrap()
        };
        self.has.items.iter().map(item).collect()
    }

    fn revision(&self) -> i64 {
        self.has.head.as_ref().map_or(0, |head| head.revision)
    }

    fn key(&self, id: &str) -> Option<KeyItem> {
        let body = self.has.items.get(&(ItemKind::Key.into(), id.to_owned()))?;
        Some(KeyItem::decode(body.as_slice()).unwrap())
    }

    async fn ended(&mut self) -> Status {
        loop {
            match self.hear().await {
                Ok(_) => {}
                Err(status) => return status,
            }
        }
    }
}

/// Every object that a new replica is told of, as it reads them.
pub(crate) async fn told(world: &World) -> Vec<Object> {
    let member = Member::join(world, "reader").await;
    let mut follower = member.follow().await;
    follower.objects(world.store.revision().await.unwrap()).await
}

async fn listed(world: &World, name: &str) -> Option<v1::Replica> {
    let request = v1::ListReplicasRequest { filter: format!("name={name}"), ..Default::default() };
    world.replicas().list_replicas(request).await.unwrap().into_inner().replicas.into_iter().next()
}

/// What operators see is written a moment later.
pub(crate) async fn until_listed(world: &World, name: &str, wanted: impl Fn(&v1::Replica) -> bool) -> v1::Replica {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let replica = listed(world, name).await;
        match replica {
            Some(replica) if wanted(&replica) => return replica,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn revoke(world: &World, key: &str, revoked: bool) {
    let mut keys = world.keys();
    if revoked {
        keys.revoke_key(v1::RevokeKeyRequest { key: key.into(), ..Default::default() }).await.unwrap();
    } else {
        keys.enable_key(v1::EnableKeyRequest { key: key.into() }).await.unwrap();
    }
}

// === Tests ===

async fn a_replica_joins_follows_and_is_listed(place: Place) {
    let world = World::start(&place).await;
    let key = world.any_key("dev").await.key.unwrap();
    let provider = world.provider("anthropic", &[("literal", "sk-canary"), ("elsewhere", "env://KEY")]).await;
    let member = Member::join(&world, "replica-one").await;
    assert!(!listed(&world, "replica-one").await.unwrap().connected);
    let mut follower = member.follow().await;
    let head = follower.take_until(world.store.revision().await.unwrap()).await;
    assert_eq!(follower.key(&key.id).unwrap().name, "dev");
    assert!(follower.pepper.len() >= 32);
    assert_eq!(follower.keys.len(), 2, "the current key and the next");
    assert_eq!(follower.secrets, HashMap::from([(provider.credentials[0].id.clone(), b"sk-canary".to_vec())]));
    let replica = until_listed(&world, "replica-one", |replica| replica.acknowledged_revision == head.revision).await;
    assert_eq!(replica.id, member.id);
    assert_eq!((replica.region.as_str(), replica.version.as_str(), replica.incarnation), ("eu", "1.2.3", 4));
    assert!(replica.connected && !replica.draining && replica.last_seen_time.is_some());
    assert_eq!((replica.head_revision, replica.lag), (head.revision, Some(prost_types::Duration::default())));
    let check = world.identity().check(v1::CheckRequest {}).await.unwrap().into_inner();
    assert_eq!((check.replicas_connected, check.replicas_behind), (1, 0));

    // Behind until it acknowledges.
    revoke(&world, "dev", true).await;
    let push = follower.push().await;
    until_listed(&world, "replica-one", |replica| replica.lag.is_some_and(|lag| lag.nanos > 0 || lag.seconds > 0))
        .await;
    follower.apply(push);
    assert!(follower.key(&key.id).unwrap().revoked);
    let revision = follower.revision();
    follower.say(Say::Ack(Ack { revision, apply_us: 1 })).await;
    until_listed(&world, "replica-one", |replica| replica.lag == Some(prost_types::Duration::default())).await;

    // Renewing gives a certificate for the same replica.
    let key = KeyPair::generate().unwrap();
    let renewed = member.client().renew(RenewRequest { certificate_request: request_of(&key) }).await.unwrap();
    let renewed = Member { chain: renewed.into_inner().certificate_chain, key: key.serialize_pem(), ..member };
    drop(follower);
    until_listed(&world, "replica-one", |replica| !replica.connected).await;
    let mut follower = renewed.follow().await;
    follower.take().await;
    until_listed(&world, "replica-one", |replica| replica.connected).await;

    let joins = world.log("action=replica.join").await;
    assert!(joins.iter().any(|entry| entry.target == format!("replica/{}", renewed.id)), "{joins:?}");
    world.stop().await;
    assert_eq!(follower.ended().await.code(), Code::Unavailable);
}

async fn who_is_not_admitted_is_told_why(place: Place) {
    let world = World::start(&place).await;
    let token = join_token(&world).await.token;
    let (admits, authority) = token.split_once('.').unwrap();
    let flipped = format!("{}x.{authority}", &admits[..admits.len() - 1]);
    let join = async |token: &str, name: &str, request: Vec<u8>| {
        let mut client = FleetServiceClient::new(channel(world.fleet, &authority_of(&token_or(token, &flipped)), None));
        let certificate_request = request.into();
        client
            .join(JoinRequest { token: token.into(), certificate_request, name: name.into(), region: "eu".into() })
            .await
    };
    fn token_or(token: &str, other: &str) -> String {
        if token.contains('.') { token.into() } else { other.into() }
    }
    let request = || request_of(&KeyPair::generate().unwrap()).to_vec();
    let mut tampered = request();
    let last = tampered.len() - 1;
    tampered[last] ^= 1;
    let other_curve = request_of(&KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()).to_vec();
    for (token, name, request, expect) in [
        (flipped.as_str(), "r", request(), Code::Unauthenticated),
        ("", "r", request(), Code::Unauthenticated),
        ("tgj_", "r", request(), Code::Unauthenticated),
        (&token, "", request(), Code::InvalidArgument),
        (&token, "Not A Name", request(), Code::InvalidArgument),
        (&token, "r", Vec::new(), Code::InvalidArgument),
        (&token, "r", b"garbage".to_vec(), Code::InvalidArgument),
        (&token, "r", vec![0; 10_000], Code::InvalidArgument),
        (&token, "r", tampered, Code::InvalidArgument),
        (&token, "r", other_curve, Code::InvalidArgument),
    ] {
        assert_eq!(code(join(token, name, request).await), expect, "{token} {name}");
    }
    assert!(listed(&world, "r").await.is_none(), "who was refused is not listed");
    // A token without its certificate admits, and it admits more than once.
    assert!(join(admits, "r", request()).await.is_ok() && join(&token, "s", request()).await.is_ok());
    let short = v1::CreateJoinTokenRequest { ttl: Some(prost_types::Duration { seconds: 1, nanos: 0 }) };
    let short = world.replicas().create_join_token(short).await.unwrap().into_inner();
    let deadline = Instant::now() + Duration::from_secs(20);
    while join(&short.token, "t", request()).await.is_ok() {
        assert!(Instant::now() < deadline, "the token never expires");
    }
    for seconds in [0, -1, 601] {
        let ttl = Some(prost_types::Duration { seconds, nanos: 0 });
        let refused = world.replicas().create_join_token(v1::CreateJoinTokenRequest { ttl }).await;
        assert_eq!(code(refused), Code::InvalidArgument, "{seconds}");
    }

    // Without a certificate nothing but Join; with one of another authority not even a connection.
    let authority = authority_of(&token);
    let mut nobody = FleetServiceClient::new(channel(world.fleet, &authority, None));
    assert_eq!(code(nobody.renew(RenewRequest::default()).await), Code::Unauthenticated);
    assert_eq!(code(nobody.follow(tokio_stream::empty()).await), Code::Unauthenticated);
    let mut nobody = UsageIntakeServiceClient::new(channel(world.fleet, &authority, None));
    assert_eq!(code(nobody.report(ReportRequest::default()).await), Code::Unauthenticated);
    let key = KeyPair::generate().unwrap();
    let mut forged = CertificateParams::default();
    let member = Member::join_with(&world, "u", &token).await.unwrap();
    forged.subject_alt_names = vec![SanType::URI(format!("tollgate://replica/{}", member.id).try_into().unwrap())];
    let forged = forged.self_signed(&key).unwrap().pem();
    let stranger = channel(world.fleet, &authority, Some((&forged, &key.serialize_pem())));
    assert!(FleetServiceClient::new(stranger).renew(RenewRequest::default()).await.is_err());

    // A certificate is good for its own name, and a hello comes first and once.
    let hello = Hello { name: "someone-else".into(), ..member.hello(&State::default()) };
    assert_eq!(code(member.call(hello).await), Code::PermissionDenied);
    let alive = FollowRequest { message: Some(Say::Alive(Alive::default())) };
    assert_eq!(code(member.client().follow(tokio_stream::iter([alive])).await), Code::InvalidArgument);
    let mut follower = member.follow().await;
    follower.say(Say::Hello(Box::new(member.hello(&State::default())))).await;
    assert_eq!(follower.ended().await.code(), Code::InvalidArgument);
    drop(follower);
    world.stop().await;
}

async fn a_deleted_replica_is_cut_off_and_stays_out(place: Place) {
    let world = World::start(&place).await;
    let member = Member::join(&world, "replica-one").await;
    let mut follower = member.follow().await;
    follower.take().await;
    world.replicas().delete_replica(v1::DeleteReplicaRequest { replica: "replica-one".into() }).await.unwrap();
    assert_eq!(follower.ended().await.code(), Code::Unauthenticated);
    assert_eq!(code(member.call(member.hello(&State::default())).await), Code::Unauthenticated);
    let request = RenewRequest { certificate_request: request_of(&KeyPair::generate().unwrap()) };
    assert_eq!(code(member.client().renew(request).await), Code::Unauthenticated);
    let report = UsageIntakeServiceClient::new(member.channel()).report(ReportRequest::default()).await;
    assert_eq!(code(report), Code::Unauthenticated);
    let again = world.replicas().delete_replica(v1::DeleteReplicaRequest { replica: member.id.clone() }).await;
    assert_eq!(code(again), Code::NotFound);
    // Joining anew under the name makes another replica.
    let anew = Member::join(&world, "replica-one").await;
    assert_ne!(anew.id, member.id);
    anew.follow().await.take().await;
    world.stop().await;
}

async fn a_revocation_reaches_twenty_replicas_within_a_second(place: Place) {
    let world = World::start(&place).await;
    let key = world.any_key("dev").await.key.unwrap();
    let token = join_token(&world).await.token;
    let joins = (0..20).map(|at| {
        let (world, token) = (&world, &token);
        async move { Member::join_with(world, &format!("replica-{at}x"), token).await.unwrap() }
    });
    let members = join_all(joins).await;
    let mut followers = join_all(members.iter().map(Member::follow)).await;
    let head = world.store.revision().await.unwrap();
    join_all(followers.iter_mut().map(|follower| follower.take_until(head))).await;
    let mut slowest = Vec::new();
    for round in 0..10 {
        revoke(&world, "dev", round % 2 == 0).await;
        let committed = Instant::now();
        let pushes = join_all(followers.iter_mut().map(Follower::push)).await;
        slowest.push(committed.elapsed());
        // What these replicas do with it is slow: they sum every item up each time.
        for (follower, push) in followers.iter_mut().zip(pushes) {
            let revision = push.0.revision;
            follower.apply(push);
            follower.say(Say::Ack(Ack { revision, apply_us: 1 })).await;
        }
        assert!(followers.iter().all(|follower| follower.key(&key.id).unwrap().revoked == (round % 2 == 0)));
    }
    slowest.sort();
    println!("from commit to the last of 20 replicas, ten times: {slowest:?}");
    assert!(slowest[5] < Duration::from_secs(1), "{slowest:?}");
    world.stop().await;
}

async fn a_refused_push_is_logged_once_and_the_next_one_leads_on(place: Place) {
    let world = World::start(&place).await;
    let key = world.any_key("dev").await.key.unwrap();
    let member = Member::join(&world, "replica-one").await;
    let mut follower = member.follow().await;
    let good = follower.take_until(world.store.revision().await.unwrap()).await;
    revoke(&world, "dev", true).await;
    let (refused, _) = follower.push().await;
    let nack = Say::Nack(Nack { revision: refused.revision, reason: "cannot\u{7} read it".into() });
    follower.say(nack.clone()).await;
    follower.say(nack).await;
    let replica = until_listed(&world, "replica-one", |replica| !replica.last_nack.is_empty()).await;
    assert_eq!((replica.last_nack.as_str(), replica.acknowledged_revision), ("cannot read it", good.revision));
    let check = world.identity().check(v1::CheckRequest {}).await.unwrap().into_inner();
    assert!(check.warnings.iter().any(|warning| warning.contains("cannot read it")), "{check:?}");
    // Nothing is sent again until there is something newer; that then builds on what the replica has.
    world.customer("another").await;
    let (next, payload) = follower.push().await;
    assert_eq!(next.base_revision, good.revision);
    follower.apply((next.clone(), payload));
    assert!(follower.key(&key.id).unwrap().revoked);
    follower.say(Say::Ack(Ack { revision: next.revision, apply_us: 1 })).await;
    until_listed(&world, "replica-one", |replica| replica.last_nack.is_empty()).await;
    let refusals = world.log("action=replica.refuse_push").await;
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    world.stop().await;
}

async fn a_full_snapshot_is_there_for_the_asking(place: Place) {
    let world = World::start(&place).await;
    let member = Member::join(&world, "replica-one").await;
    let mut follower = member.follow().await;
    let head = follower.take_until(world.store.revision().await.unwrap()).await;
    follower.say(Say::Resync(Resync { reason: "differs".into() })).await;
    let full = follower.take().await;
    assert_eq!((full.base_revision, full.revision), (0, head.revision));
    // Asking again and again is answered, ever later, and loses nothing.
    let began = Instant::now();
    for _ in 0..2 {
        follower.say(Say::Resync(Resync { reason: "differs".into() })).await;
        assert_eq!(follower.take().await.base_revision, 0);
    }
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    world.stop().await;
}

async fn a_replica_that_does_not_read_holds_up_nobody(place: Place) {
    let world = World::start(&place).await;
    world.any_key("dev").await;
    let (slow, quick) = (Member::join(&world, "slow").await, Member::join(&world, "quick").await);
    let (mut asleep, mut awake) = (slow.follow().await, quick.follow().await);
    awake.take_until(world.store.revision().await.unwrap()).await;
    for round in 0..40 {
        // Each change is one of many bytes, so that what is under way to the sleeper is soon full.
        let models = (0..200).map(|at| format!("{}-{at}-{round}", "m".repeat(150))).collect();
        let key = v1::Key { name: "dev".into(), models, ..Default::default() };
        let request = v1::UpdateKeyRequest { key: Some(key), update_mask: crate::world::mask(&["models"]) };
        world.keys().update_key(request).await.unwrap();
        awake.take_until(world.store.revision().await.unwrap()).await;
    }
    asleep.take_until(awake.revision()).await;
    assert_eq!(asleep.has.items, awake.has.items);
    world.stop().await;
}

async fn a_drained_replica_is_told_so_wherever_it_follows(place: Place) {
    let (world, other) = (World::start(&place).await, World::start_in(&place, "other").await);
    let member = Member::join(&world, "replica-one").await;
    let elsewhere = Member { world: other.fleet, ..member };
    let mut follower = elsewhere.follow().await;
    follower.take().await;
    for drain in [true, false] {
        let request = v1::DrainReplicaRequest { replica: "replica-one".into(), drain };
        let replica = world.replicas().drain_replica(request).await.unwrap().into_inner();
        assert_eq!(replica.draining, drain);
        loop {
            match follower.hear().await.unwrap() {
                Hear::Directive(directive) => break assert_eq!(directive.drain, drain),
                Hear::Push(head) => {
                    let push = follower.received(head).await;
                    follower.apply(push);
                }
                _ => {}
            }
        }
    }
    let drains = world.log("action=replica.drain").await;
    assert_eq!(drains.len(), 2);
    world.stop().await;
    other.stop().await;
}

async fn two_control_planes_publish_the_same(place: Place) {
    let world = World::start(&place).await;
    world.any_key("dev").await;
    let other = World::start_in(&place, "other").await;
    let here = Member::join(&world, "here").await;
    let there = Member { world: other.fleet, ..Member::join(&world, "there").await };
    let (mut one, mut two) = (here.follow().await, there.follow().await);
    for round in 0..6 {
        revoke(&world, "dev", round % 2 == 0).await;
        world.user(&format!("user-{round}x")).await;
        let revision = world.store.revision().await.unwrap();
        let (a, b) = tokio::join!(one.take_until(revision), two.take_until(revision));
        assert_eq!((a.revision, a.digest, a.epoch), (b.revision, b.digest, b.epoch));
    }
    assert_eq!(one.has.items, two.has.items);
    assert_eq!(one.keys, two.keys, "one fleet, one set of signing keys");
    // A replica that moves goes on from what it has, with a delta.
    let has = one.has.clone();
    drop(one);
    world.user("late").await;
    let moved = Member { world: other.fleet, ..here };
    let mut one = moved.follow_with(has.clone()).await;
    let head = one.take().await;
    assert_eq!(head.base_revision, has.head.unwrap().revision);
    drop(one);

    // So does one whose control plane starts again.
    let has = two.has.clone();
    drop(two);
    other.stop().await;
    world.user("later").await;
    let again = World::start_in(&place, "other").await;
    let back = Member { world: again.fleet, ..there };
    let mut two = back.follow_with(has.clone()).await;
    let head = two.take_until(again.store.revision().await.unwrap()).await;
    assert_eq!(head.base_revision, has.head.unwrap().revision, "a delta after a restart");
    world.stop().await;
    again.stop().await;
}

async fn run_sql(place: &Place, text: &'static str) {
    if place.is_postgres() {
        PgConnection::connect(&place.url).await.unwrap().execute(AssertSqlSafe(text)).await.unwrap();
    } else {
        SqliteConnection::connect(&place.url).await.unwrap().execute(AssertSqlSafe(text)).await.unwrap();
    }
}

async fn a_restored_database_begins_a_new_epoch(place: Place) {
    let world = World::start(&place).await;
    world.any_key("dev").await;
    let member = Member::join(&world, "replica-one").await;
    let mut follower = member.follow().await;
    let before = follower.take_until(world.store.revision().await.unwrap()).await;
    // While the control plane runs: it has published a revision that is not there any more.
    run_sql(&place, "UPDATE fleet SET revision = revision - 2").await;
    let after = loop {
        let head = follower.take().await;
        if head.epoch != before.epoch {
            break head;
        }
    };
    assert_eq!(after.base_revision, 0);
    assert_eq!(world.log("action=fleet.begin_epoch").await.len(), 1);
    // While it is off: the replica shows the head that the fleet has signed.
    let has = follower.has.clone();
    drop(follower);
    world.stop().await;
    run_sql(&place, "UPDATE fleet SET revision = revision - 1").await;
    let world = World::start(&place).await;
    let member = Member { world: world.fleet, ..member };
    let mut follower = member.follow_with(has).await;
    let last = follower.take().await;
    assert!(last.epoch != after.epoch && last.base_revision == 0);
    assert_eq!(world.log("action=fleet.begin_epoch").await.len(), 2);
    assert!(
        follower
            .key(&world.keys().get_key(v1::GetKeyRequest { key: "dev".into() }).await.unwrap().into_inner().id)
            .is_some()
    );
    world.stop().await;
}

async fn a_wrong_claim_of_a_higher_revision_changes_nothing(place: Place) {
    let world = World::start(&place).await;
    world.any_key("dev").await;
    let honest = Member::join(&world, "honest").await;
    let mut follower = honest.follow().await;
    let head = follower.take_until(world.store.revision().await.unwrap()).await;
    let liar = Member::join(&world, "liar").await;
    // A head that nobody signed, and an acknowledgement of what was never sent.
    let mut has = follower.has.clone();
    has.head = Some(Push { revision: head.revision + 1_000, ..head.clone() });
    let mut lying = liar.follow_with(has).await;
    lying.say(Say::Ack(Ack { revision: i64::MAX, apply_us: i64::MIN })).await;
    until_listed(&world, "liar", |replica| replica.connected).await;
    lying.say(Say::Resync(Resync { reason: "x".repeat(2_000) })).await;
    let full = lying.push().await.0;
    assert_eq!((full.base_revision, full.epoch.as_str()), (0, head.epoch.as_str()));
    assert!(world.log("action=fleet.begin_epoch").await.is_empty());
    assert!(listed(&world, "liar").await.unwrap().acknowledged_revision <= head.revision);
    world.stop().await;
}

async fn each_replica_is_told_its_part_of_every_rate_limit_before_the_limits(place: Place) {
    let world = World::start(&place).await;
    world.any_key("dev").await;
    let mut followers = Vec::new();
    for name in ["one", "two", "three"] {
        let mut follower = Member::join(&world, name).await.follow().await;
        follower.take_until(world.store.revision().await.unwrap()).await;
        followers.push(follower);
    }
    // A revision that is newer than the last of them brings the parts of all up to date.
    revoke(&world, "dev", true).await;
    let (newest, mut ranks) = (world.store.revision().await.unwrap(), Vec::new());
    for follower in &mut followers {
        follower.take_until(newest).await;
        let Share { replicas, rank } = follower.share.unwrap();
        assert_eq!(replicas, 3);
        ranks.push(rank);
    }
    ranks.sort_unstable();
    assert_eq!(ranks, [0, 1, 2]);
    world.stop().await;
}
