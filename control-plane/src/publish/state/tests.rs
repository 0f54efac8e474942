use std::collections::HashMap;

use prost::Message as _;
use tollgate_policy::{
    id::{CredentialId, CustomerId, KeyId, McpServerId, RouteId, TeamId},
    mcp::{McpAuth, PIN_BYTES, Pin, Pinning, Transport},
    money::NanoUsd,
    name::Name as ObjectName,
    provider::Auth,
    route::{Balance, Conditions, RouteTarget, Scope, Tier},
    snapshot::{AuditMode, Dialect, Model, Object, ObjectRef},
    token::KeyHash,
};
use tollgate_proto::fleet::v1::{KeyItem, McpServerItem, Payload, ProviderItem};

use super::*;
use crate::{
    publish::encode::{Encoded, encode},
    store::{
        guardrails::Owners,
        keys::Key,
        mcp::{McpServer, OAuth, PinnedServer, Priced, ServerCredential},
        organisation::{Customer, Stamp, Team},
        quotas::Quota,
        routes::Route,
    },
};

const STAMP: Stamp = Stamp { created: 1, revision: 1, create_time: 0, update_time: 0 };

fn ulid(number: usize) -> String {
    format!("01k9zq3v5m8c4t2n7r6x{number:06}")
}

fn name(text: &str) -> ObjectName {
    ObjectName::parse(text).unwrap()
}

fn key(number: usize, revoked: bool) -> Key {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    Key {
        id: KeyId::from_ulid(&ulid(number)).unwrap(),
        name: name(&format!("k{number}")),
        display_name: String::new(),
        team: TeamId::from_ulid(&ulid(1)).unwrap(),
        user: None,
        revoked,
        expires_ms: None,
        models: vec!["claude-*".into()],
        providers: vec![],
        credentials: vec![CredentialId::from_ulid(&ulid(1)).unwrap()],
        tags: BTreeMap::new(),
        audit: AuditMode::Required,
        regions: vec![],
        tools: vec![],
        tool_rules: vec![],
        prefix: String::new(),
        hash: KeyHash::new(hash),
        quota: Quota::default(),
        stamp: STAMP,
    }
}

fn provider(vendor: &str, base_url: &str) -> Provider {
    Provider {
        id: ProviderId::from_ulid(&ulid(1)).unwrap(),
        name: name("mistral"),
        dialect: Dialect::Anthropic,
        base_url: base_url.into(),
        allow_private: false,
        models: vec![],
        vendor: vendor.into(),
        disabled: false,
        priority: 0,
        credentials: vec![],
        auth: Auth::OfDialect,
        region: String::new(),
        quirks: vec![],
        stamp: STAMP,
    }
}

fn model(vendor: &str) -> Model {
    Model {
        vendor: vendor.into(),
        name: "large".into(),
        display_name: "Large".into(),
        aliases: vec![],
        context_window: 1,
        output_max: 1,
        price: None,
    }
}

fn changes(revision: i64) -> Changes {
    Changes {
        epoch: "epoch".into(),
        revision,
        customers: vec![],
        teams: vec![],
        users: vec![],
        keys: vec![],
        providers: vec![],
        routes: vec![],
        guardrails: vec![],
        mcp_servers: vec![],
        models: vec![],
        token_keys: vec![],
        ended_sessions: vec![],
        tombstones: vec![],
    }
}

fn with_keys(revision: i64, keys: Vec<Key>) -> Changes {
    Changes { keys, ..changes(revision) }
}

fn team() -> Team {
    Team {
        id: TeamId::from_ulid(&ulid(1)).unwrap(),
        name: name("platform"),
        display_name: String::new(),
        customer: CustomerId::from_ulid(&ulid(1)).unwrap(),
        disabled: false,
        quota: Quota::default(),
        self_service: None,
        providers: vec![],
        regions: vec![],
        stamp: STAMP,
    }
}

fn begun(keys: usize) -> State {
    let customer = Customer {
        id: CustomerId::from_ulid(&ulid(1)).unwrap(),
        name: name("acme"),
        display_name: String::new(),
        disabled: false,
        quota: Quota::default(),
        stamp: STAMP,
    };
    let mut state = State::default();
    let all = (1..=keys).map(|number| key(number, false)).collect();
    state.take(&Changes { customers: vec![customer], teams: vec![team()], ..with_keys(10, all) }, true);
    state
}

fn encoded(lazy: &Lazy) -> Encoded {
    encode(&lazy.parts().clone().unwrap()).unwrap()
}

fn payload(lazy: &Lazy) -> Payload {
    let packed = encoded(lazy).chunks.concat();
    Payload::decode(zstd::decode_all(packed.as_slice()).unwrap().as_slice()).unwrap()
}

/// What a replica would have.
#[derive(Default)]
struct Replica(HashMap<Name, Bytes>);

impl Replica {
    fn apply(&mut self, lazy: &Lazy) {
        let Payload { upserts, deletes } = payload(lazy);
        if lazy.base() == 0 {
            self.0.clear();
        }
        self.0.extend(upserts.into_iter().map(|item| ((item.kind, item.id), item.body)));
        deletes.into_iter().for_each(|gone| drop(self.0.remove(&(gone.kind, gone.id))));
        let mut digest = Digest::default();
        for ((kind, id), body) in &self.0 {
            digest.add(&push::item_hash(ItemKind::try_from(*kind).unwrap(), id, body));
        }
        assert_eq!(encoded(lazy).head.digest, digest.to_bytes().as_slice(), "revision {}", lazy.revision());
    }
}

#[test]
fn every_way_to_a_revision_leads_to_the_same_state() {
    let signer = Signer::of_seeds([1; 32], [2; 32]);
    let mut state = begun(20);
    let steps = [
        with_keys(11, vec![key(3, true)]),
        with_keys(14, vec![key(21, false), key(4, true)]),
        Changes {
            tombstones: vec![ObjectRef::Key(key(21, false).id), ObjectRef::Key(key(5, false).id)],
            ..changes(15)
        },
        changes(16),
        with_keys(17, vec![key(5, true)]),
    ];
    let mut followers: Vec<(i64, Replica)> = Vec::new();
    for at in 10..=17 {
        if at == state.revision() {
            let mut replica = Replica::default();
            replica.apply(&state.full(at, &signer));
            followers.push((at, replica));
        }
        let Some(step) = steps.iter().find(|step| step.revision > state.revision()) else { break };
        if at + 1 == step.revision {
            state.take(step, false);
        }
    }
    assert_eq!(followers.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [10, 11, 14, 15, 16, 17]);
    for (base, mut replica) in followers {
        replica.apply(&state.delta(base, &signer).unwrap());
    }
    // From within a step, and from a control plane that read everything at once.
    assert!(state.delta(12, &signer).is_some());
    let mut fresh = begun(20);
    let mut all: Vec<Key> = (1..=20).map(|number| key(number, [3, 4, 5].contains(&number))).collect();
    all.reverse();
    fresh.take(&with_keys(17, all), false);
    assert_eq!(fresh.digest(), state.digest());
    let (one, other) = (encoded(&fresh.full(17, &signer)), encoded(&state.full(17, &signer)));
    assert_eq!((one.head, one.chunks), (other.head, other.chunks), "byte for byte");
}

#[test]
fn what_is_not_remembered_is_sent_whole() {
    let signer = Signer::of_seeds([1; 32], [2; 32]);
    let mut state = begun(2);
    for base in [0, 1, 9, 11, -1] {
        assert!(state.delta(base, &signer).is_none(), "{base}");
    }
    assert!(payload(&state.delta(10, &signer).unwrap()).upserts.is_empty());
    for revision in 11..=i64::try_from(STEPS_MAX).unwrap() + 15 {
        state.take(&with_keys(revision, vec![key(1, revision % 2 == 0)]), false);
    }
    assert!(state.delta(10, &signer).is_none() && state.delta(15, &signer).is_some());
    assert!(state.deltas.len() <= DELTAS_MAX);
    state.take(&changes(5_000), true);
    assert!(state.delta(4_999, &signer).is_none());
}

#[test]
fn a_full_snapshot_is_sent_again_while_a_delta_leads_on_from_it() {
    let signer = Signer::of_seeds([1; 32], [2; 32]);
    let mut state = begun(3);
    let first = state.full(0, &signer);
    state.take(&with_keys(11, vec![key(1, true)]), false);
    assert!(Arc::ptr_eq(&first, &state.full(0, &signer)));
    assert!(state.delta(first.revision(), &signer).is_some());
    let newer = state.full(11, &signer);
    assert_eq!(newer.revision(), 11);
    state.forget_encoded();
    assert!(!Arc::ptr_eq(&newer, &state.full(0, &signer)));
}

#[test]
fn an_object_that_a_replica_would_refuse_is_left_out_until_it_is_mended() {
    let signer = Signer::of_seeds([1; 32], [2; 32]);
    let mut state = begun(1);
    let before = state.digest();
    let broken = Changes { providers: vec![provider("", "not a url")], ..with_keys(11, vec![key(1, true)]) };
    state.take(&broken, false);
    assert!(state.refused().next().unwrap().contains("base_url"));
    let sent = payload(&state.delta(10, &signer).unwrap());
    assert_eq!((sent.upserts.len(), sent.deletes.len()), (1, 1), "the revocation goes out, the provider is gone");
    state.take(&Changes { providers: vec![provider("", "https://a")], ..with_keys(12, vec![key(1, false)]) }, false);
    assert_eq!(state.refused().count(), 0);
    assert_eq!(payload(&state.delta(11, &signer).unwrap()).upserts.len(), 2);
    let gone = Changes { tombstones: vec![ObjectRef::Provider(provider("", "").id)], ..changes(13) };
    state.take(&gone, false);
    assert_eq!(state.digest(), before);
}

#[test]
fn a_provider_without_a_vendor_follows_the_catalogue() {
    let signer = Signer::of_seeds([1; 32], [2; 32]);
    let vendor = |state: &mut State, base: i64| {
        let sent = payload(&state.delta(base, &signer).unwrap());
        let provider = sent.upserts.into_iter().find(|item| item.kind == i32::from(ItemKind::Provider));
        provider.map(|item| ProviderItem::decode(item.body).unwrap().vendor)
    };
    let mut state = begun(0);
    state.take(&Changes { providers: vec![provider("", "https://a")], ..changes(11) }, false);
    assert_eq!(vendor(&mut state, 10).as_deref(), Some("anthropic"), "the dialect");
    state.take(&Changes { models: vec![model("mistral")], ..changes(12) }, false);
    assert_eq!(vendor(&mut state, 11).as_deref(), Some("mistral"), "its name, once the catalogue has such a vendor");
    state.take(&Changes { models: vec![model("other")], ..changes(13) }, false);
    assert_eq!(vendor(&mut state, 12), None, "unchanged");
    state.take(&Changes { tombstones: vec![ObjectRef::Model("mistral".into(), "large".into())], ..changes(14) }, false);
    assert_eq!(vendor(&mut state, 13).as_deref(), Some("anthropic"));
    state.take(&Changes { providers: vec![provider("said", "https://a")], ..changes(15) }, false);
    assert_eq!(vendor(&mut state, 14).as_deref(), Some("said"));
}

#[test]
fn a_push_is_signed_by_the_current_key_and_both_are_announced() {
    let (one, next) = (Signer::of_seeds([1; 32], [2; 32]), Signer::of_seeds([2; 32], [3; 32]));
    let head = encoded(&begun(1).full(0, &one)).head;
    assert_eq!(head.signing_key, one.announced()[0].id);
    assert_eq!(one.announced()[1], next.announced()[0], "what is announced signs after the rotation");
    assert!(one.has_signed(&head));
    assert!(!next.has_signed(&head), "one rotation later the old key no longer proves anything");
    assert!(!one.has_signed(&tollgate_proto::fleet::v1::Push { revision: 99, ..head }));
}

#[test]
fn a_replica_is_told_of_the_mode_of_a_key_only_where_it_is_not_the_usual_one() {
    for (audit, expect) in [(AuditMode::Required, ""), (AuditMode::BestEffort, "best_effort")] {
        let item = items::checked(items::key(&Key { audit, ..key(1, false) })).unwrap();
        assert_eq!(KeyItem::decode(item.body.clone()).unwrap().audit, expect);
        let Ok(Object::Key(read)) = Object::try_from(&item) else { panic!("{item:?}") };
        assert_eq!(read.audit, audit);
    }
    // What an older replica knows of a key, and an item of one field more.
    let required = items::key(&key(1, false)).body;
    let loose = items::key(&Key { audit: AuditMode::BestEffort, ..key(1, false) }).body;
    assert_eq!(loose, [&required[..], &[11 << 3 | 2, 11], b"best_effort"].concat());
}

#[test]
fn rules_waits_and_regions_are_told_only_where_there_are_some() {
    let provider = ProviderId::from_ulid(&ulid(1)).unwrap();
    let target = RouteTarget { provider: provider.clone(), model: None, weight: 1 };
    let route = Route {
        id: RouteId::from_ulid(&ulid(1)).unwrap(),
        name: name("r"),
        models: vec!["*".to_owned()],
        scope: Scope::default(),
        priority: 0,
        disabled: false,
        strict: false,
        tiers: vec![Tier { targets: vec![target], on: Conditions::default() }],
        rule: String::new(),
        balance: Balance::Weight,
        first_byte_timeout_ms: None,
        hedge_after_ms: None,
        deadline_ms: None,
        stamp: STAMP,
    };
    let body = |item: Item| items::checked(item).unwrap().body;
    // What an older replica knows of an object, and an item of some fields more.
    let plain = body(items::route(&route));
    let ruled = Route { rule: "true".to_owned(), balance: Balance::Latency, ..route.clone() };
    let more = [&[10 << 3 | 2, 4], &b"true"[..], &[11 << 3 | 2, 7], b"latency"].concat();
    assert_eq!(body(items::route(&ruled)), [&plain[..], &more].concat());
    let paced = Route { first_byte_timeout_ms: Some(100), deadline_ms: Some(1_000), ..route.clone() };
    assert_eq!(body(items::route(&paced)), [&plain[..], &[12 << 3, 100, 13 << 3, 0xe8, 0x07]].concat());
    let hedged = Route { hedge_after_ms: Some(100), ..route };
    assert_eq!(body(items::route(&hedged)), [&plain[..], &[14 << 3, 100]].concat());

    let regions = || vec!["eu".to_owned()];
    let plain = body(items::key(&key(1, false)));
    let bound = body(items::key(&Key { regions: regions(), ..key(1, false) }));
    assert_eq!(bound, [&plain[..], &[12 << 3 | 2, 2], b"eu"].concat());
    let reaching = body(items::key(&Key { tools: vec!["a.*".to_owned()], ..key(1, false) }));
    assert_eq!(reaching, [&plain[..], &[13 << 3 | 2, 3], b"a.*"].concat());
    let plain = body(items::team(&team()));
    let bound = body(items::team(&Team { regions: regions(), providers: vec![provider.clone()], ..team() }));
    let named = [&[5 << 3 | 2, 35], provider.as_str().as_bytes()].concat();
    assert_eq!(bound, [&plain[..], &named, &[6 << 3 | 2, 2], b"eu"].concat());
}

fn server() -> McpServer {
    McpServer {
        id: McpServerId::from_ulid(&ulid(1)).unwrap(),
        name: name("github"),
        disabled: false,
        url: "https://mcp.example/mcp?x=1".into(),
        document: None,
        allow_private: false,
        transport: Transport::StreamableHttp,
        auth: McpAuth::Nothing,
        credential: None,
        oauth: None,
        grants: 0,
        owners: Owners::default(),
        keys: vec![],
        tools: vec![],
        prompts: vec![],
        resources: vec![],
        prices: vec![],
        timeout_ms: 60_000,
        parallel: 0,
        arguments_bytes: 4 << 20,
        result_bytes: 4 << 20,
        truncate: false,
        record_arguments: false,
        pinning: Pinning::FirstUse,
        stamp: STAMP,
    }
}

#[test]
fn a_server_of_tools_is_told_as_replicas_write_it_themselves() {
    let pin = |tool: &str, first| Pin { tool: tool.into(), hash: [first; PIN_BYTES] };
    let full = McpServer {
        disabled: true,
        allow_private: true,
        transport: Transport::Sse,
        auth: McpAuth::Header("x-key".into()),
        credential: Some(ServerCredential {
            id: CredentialId::from_ulid(&ulid(2)).unwrap(),
            reference: Some("env://X".into()),
            fingerprint: "nobody's business".into(),
        }),
        owners: Owners {
            customers: vec![CustomerId::from_ulid(&ulid(3)).unwrap()],
            teams: vec![TeamId::from_ulid(&ulid(4)).unwrap()],
        },
        keys: vec!["dev-*".into()],
        tools: vec!["a*".into(), "!delete_*".into()],
        prompts: vec!["p".into()],
        resources: vec!["file:*".into()],
        prices: vec![Priced { tools: "search".into(), call: NanoUsd::new(7) }],
        timeout_ms: 5,
        parallel: 3,
        arguments_bytes: 1,
        result_bytes: 2,
        truncate: true,
        record_arguments: true,
        pinning: Pinning::Approval,
        ..server()
    };
    let api = McpServer {
        transport: Transport::OpenApi,
        document: Some(r#"{"openapi":"3.1.0"}"#.into()),
        auth: McpAuth::ClientCredentials,
        oauth: Some(OAuth { client_id: "gate".into(), ..OAuth::default() }),
        grants: 2,
        credential: full.credential.clone(),
        ..server()
    };
    let local = McpServer { transport: Transport::Stdio, url: String::new(), ..server() };
    let pinned = vec![pin("a", 1), pin("a", 2), pin("b", 1)];
    for (server, pins) in [(server(), vec![]), (full, pinned), (api.clone(), vec![]), (local, vec![])] {
        let item = items::checked(items::mcp_server(&PinnedServer { server, pins: pins.clone(), tests: 0 })).unwrap();
        let Ok(Object::McpServer(read)) = Object::try_from(&item) else { panic!("{item:?}") };
        assert_eq!(&*read.pins, pins);
        assert_eq!(McpServerItem::from(&read).encode_to_vec(), item.body, "byte for byte");
    }
    // The secret of a client is not told of, nor where it lies.
    let told =
        McpServerItem::decode(items::mcp_server(&PinnedServer { server: api, pins: vec![], tests: 3 }).body).unwrap();
    assert_eq!((&*told.auth, &*told.credential, &*told.reference, told.grants), ("client_credentials", "", "", 2));
    assert_eq!(told.document, &br#"{"openapi":"3.1.0"}"#[..]);
    // What is usual is not told.
    let usual = items::mcp_server(&PinnedServer { server: server(), pins: vec![], tests: 0 }).body;
    let bare = McpServerItem { name: "github".into(), url: server().url, ..McpServerItem::default() };
    assert_eq!(usual, bare.encode_to_vec());
}

#[test]
fn an_approval_is_a_change_of_its_server_and_a_deleted_one_is_gone() {
    let signer = Signer::of_seeds([1; 32], [2; 32]);
    let mut state = begun(0);
    let before = state.digest();
    let pinned = |pins: Vec<Pin>| vec![PinnedServer { server: server(), pins, tests: 0 }];
    state.take(&Changes { mcp_servers: pinned(vec![]), ..changes(11) }, false);
    let pin = Pin { tool: "read".into(), hash: [1; PIN_BYTES] };
    state.take(&Changes { mcp_servers: pinned(vec![pin]), ..changes(12) }, false);
    let sent = payload(&state.delta(11, &signer).unwrap());
    assert_eq!((sent.upserts.len(), sent.upserts[0].kind), (1, i32::from(ItemKind::McpServer)));
    assert_eq!(McpServerItem::decode(sent.upserts[0].body.clone()).unwrap().pins.len(), 1);
    state.take(&Changes { tombstones: vec![ObjectRef::McpServer(server().id)], ..changes(13) }, false);
    assert_eq!(payload(&state.delta(12, &signer).unwrap()).deletes.len(), 1);
    assert_eq!(state.digest(), before);
    // Who starts here remembers what changed lately.
    let mut fresh = begun(0);
    fresh.take(&Changes { mcp_servers: pinned(vec![]), ..changes(11) }, true);
    fresh.remember(10, &Changes { mcp_servers: pinned(vec![]), ..changes(11) });
    assert_eq!(payload(&fresh.delta(10, &signer).unwrap()).upserts.len(), 1);
}
