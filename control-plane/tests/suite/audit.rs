//! The sealed log: what was written verifies, whatever is done to it in the database shows, and what was told elsewhere stays.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use tokio::task::JoinSet;
use tollgate_audit::{
    Entry, Facts, Fields, Note, Outcome, Trust, Verifier,
    checkpoint::PublicKey,
    file::Line,
    seal::{CHAIN_START, commitment, link},
    tree::{Hash, root_of_path},
    verify::{ChainLink, Fault, Finding, Report, Witness},
};
use tollgate_control_plane::{
    audit::{self, checkpoints},
    store::{Statement, Store},
};
use tollgate_proto::{
    admin::v1 as admin,
    audit::v1,
    fleet::v1::follow_response::Message as Hear,
    usage::v1::{Evidence, Record, ReportRequest},
};
use tonic::Code;

use crate::{
    fleet::Member,
    usage::{record, replica, report, report_request},
    world::{Place, World, code, keyring, over_both},
};

over_both! {
    what_control_planes_and_replicas_write_verifies
    several_control_planes_write_one_log
    whatever_is_changed_in_the_database_shows
    a_tail_that_is_cut_off_with_its_checkpoints_shows_to_a_replica_and_in_the_file
    entries_of_before_are_sealed_at_the_first_start
    new_keys_are_announced_under_the_old_ones
    what_a_replica_lost_is_declared_and_the_chain_goes_on
    evidence_that_is_none_is_refused
    every_entry_is_proved_by_its_path
}

// Records with entries as a replica writes them, in a chain behind that link. Returns the link of the last one.
pub(crate) fn chained(records: Vec<Record>, previous: Hash) -> (Vec<Record>, Hash) {
    chained_as(records, previous, told)
}

// The same with entries of one's own.
pub(crate) fn chained_as(
    mut records: Vec<Record>,
    mut previous: Hash,
    told: impl Fn(&Record) -> Entry,
) -> (Vec<Record>, Hash) {
    for record in &mut records {
        let body = told(record).encode().unwrap();
        let salt = [u8::try_from(record.sequence % 200).unwrap(); 16];
        let (incarnation, sequence) = (record.incarnation.unsigned_abs(), record.sequence.unsigned_abs());
        let made = link(incarnation, sequence, &previous, &commitment(&salt, &body));
        record.evidence = Some(Evidence { body, salt: salt.to_vec(), previous: previous.to_vec() });
        previous = made;
    }
    (records, previous)
}

// What a replica would say of it, in short.
fn told(record: &Record) -> Entry {
    let (initiator, target, action, outcome) = if record.unidentified {
        ("unknown".into(), String::new(), "request.refuse", Outcome::Refused)
    } else {
        (format!("key/{}", record.key), format!("model/{}", record.model), "request.admit", Outcome::Allowed)
    };
    let facts = Facts {
        initiator: &initiator,
        target: &target,
        request_id: &record.request_id,
        session: &record.session,
        detail: Fields::from_iter([
            ("team".to_owned(), record.team.as_str().into()),
            ("refusal".to_owned(), record.refusal.as_str().into()),
            ("status".to_owned(), record.status.into()),
            ("revision".to_owned(), record.revision.into()),
        ]),
        ..Facts::default()
    };
    Entry::new(record.arrived_ms + record.duration_ms, action, outcome, facts)
}

fn entry(request_id: &str) -> Entry {
    let facts = Facts { initiator: "key/1", target: "model/m", request_id, ..Facts::default() };
    Entry::new(1_700_000_000_000, "request.admit", Outcome::Allowed, facts)
}

pub(crate) fn visits(incarnation: i64, sequences: std::ops::RangeInclusive<i64>) -> Vec<Record> {
    sequences.map(|sequence| record(incarnation, sequence)).collect()
}

pub(crate) async fn exported(world: &World, from_index: i64) -> Vec<u8> {
    let mut stream = world.audit().export_entries(v1::ExportEntriesRequest { from_index }).await.unwrap().into_inner();
    let mut file = Vec::new();
    while let Some(piece) = stream.next().await {
        file.extend(piece.unwrap().lines);
    }
    file
}

pub(crate) fn verified(file: &[u8], witnesses: Vec<Witness>) -> Result<Report, Finding> {
    verified_with(file, Trust { witnesses, ..Trust::default() })
}

fn verified_with(file: &[u8], trust: Trust) -> Result<Report, Finding> {
    let mut lines = file.strip_suffix(b"\n").unwrap_or(file).split(|byte| *byte == b'\n');
    let mut verifier = Verifier::begin(lines.next().unwrap(), trust)?;
    lines.try_for_each(|line| verifier.line(line))?;
    verifier.finish()
}

pub(crate) async fn change(store: &Store, statement: &'static str) -> u64 {
    let mut txn = store.begin().await.unwrap();
    let rows = txn.execute(Statement::new(statement)).await.unwrap();
    txn.commit().await.unwrap();
    rows
}

pub(crate) async fn customer(world: &World, name: &str) {
    let customer = admin::Customer { name: name.into(), ..admin::Customer::default() };
    world.customers().create_customer(admin::CreateCustomerRequest { customer: Some(customer) }).await.unwrap();
}

async fn what_control_planes_and_replicas_write_verifies(place: Place) {
    let world = World::start(&place).await;
    customer(&world, "acme").await;
    let (records, last) = chained(visits(1, 1..=700), CHAIN_START);
    let (first, second) = records.split_at(400);
    assert_eq!(report(&world.store, &replica(1), 1, first.to_vec()).await.unwrap(), 400);
    customer(&world, "umbrella").await;
    // What is sent twice is written once, and the chain goes on.
    assert_eq!(report(&world.store, &replica(1), 1, [&first[350..], second].concat()).await.unwrap(), 700);
    let (other, _) = chained(visits(1, 1..=3), CHAIN_START);
    assert_eq!(report(&world.store, &replica(2), 1, other).await.unwrap(), 3);

    let link = ChainLink { writer: replica(1).to_string(), incarnation: 1, sequence: 700, link: last };
    let file = exported(&world, 0).await;
    let report = verified(&file, vec![Witness::Link(link)]).unwrap();
    assert!(report.entries > 705 && report.first == 1 && report.witnessed == 1, "{report:?}");
    // From a later checkpoint on.
    let file = exported(&world, i64::try_from(report.entries).unwrap() + 1).await;
    let rest = verified_with(&file, Trust { partial: true, ..Trust::default() }).unwrap();
    assert!(verified(&file, vec![]).is_err(), "nothing says that it is all that is left");
    assert!(rest.first > 1 && rest.checkpoint.root != [0; 32], "{rest:?}");

    // A listed entry names its writer, and by the leaf it is found in the export.
    let request = v1::ListEntriesRequest { filter: format!("replica={}", replica(2)), ..Default::default() };
    let listed = world.audit().list_entries(request).await.unwrap().into_inner().entries;
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|entry| entry.writer == replica(2).as_str() && entry.leaf.len() == 32));
    world.stop().await;
}

async fn several_control_planes_write_one_log(place: Place) {
    let world = World::start(&place).await;
    let stores = [Store::open(&place.url, keyring()).await.unwrap(), Store::open(&place.url, keyring()).await.unwrap()];
    let mut writing = JoinSet::new();
    for at in 0..40_i64 {
        let store = stores[usize::try_from(at % 2).unwrap()].clone();
        writing.spawn(async move {
            let mut txn = store.begin().await.unwrap();
            audit::append_all(&mut txn, &[entry(&format!("req_{at}")), entry("")]).await.unwrap();
            if at % 10 == 9 { txn.end().await.unwrap() } else { txn.commit().await.unwrap() }
        });
    }
    writing.join_all().await;
    let report = verified(&exported(&world, 0).await, vec![]).unwrap();
    assert!(report.entries >= 72, "{report:?}");
    for store in stores {
        store.close().await;
    }
    world.stop().await;
}

async fn whatever_is_changed_in_the_database_shows(place: Place) {
    let world = World::start(&place).await;
    let (records, _) = chained(visits(1, 1..=40), CHAIN_START);
    report(&world.store, &replica(1), 1, records).await.unwrap();
    let sound = verified(&exported(&world, 0).await, vec![]).unwrap();
    // The report's entries are the last: the thirtieth is in the middle of them.
    let index = sound.entries - 10;
    for (what, statement) in [
        (
            "body",
            "UPDATE audit_entries SET body = (SELECT body FROM audit_entries o WHERE o.idx = audit_entries.idx - 1) WHERE idx = (SELECT MAX(idx) - 10 FROM audit_entries)",
        ),
        (
            "initiator",
            "UPDATE audit_entries SET initiator = 'key/2' WHERE idx = (SELECT MAX(idx) - 10 FROM audit_entries)",
        ),
        ("time", "UPDATE audit_entries SET time = time + 1 WHERE idx = (SELECT MAX(idx) - 10 FROM audit_entries)"),
        ("replica", "UPDATE audit_entries SET replica = '' WHERE idx = (SELECT MAX(idx) - 10 FROM audit_entries)"),
        ("salt", "UPDATE audit_entries SET salt = mac WHERE idx = (SELECT MAX(idx) - 10 FROM audit_entries)"),
        ("mac", "UPDATE audit_entries SET mac = leaf WHERE idx = (SELECT MAX(idx) - 10 FROM audit_entries)"),
        ("leaf", "UPDATE audit_entries SET leaf = mac WHERE idx = (SELECT MAX(idx) - 10 FROM audit_entries)"),
        ("header", "UPDATE audit_entries SET header = leaf WHERE idx = (SELECT MAX(idx) - 10 FROM audit_entries)"),
        (
            "erased with another commitment",
            "UPDATE audit_entries SET commitment = leaf, body = salt WHERE idx = (SELECT MAX(idx) - 10 FROM audit_entries)",
        ),
        ("delete", "DELETE FROM audit_entries WHERE idx = (SELECT MAX(idx) - 10 FROM audit_entries)"),
    ] {
        change(&world.store, "CREATE TABLE kept AS SELECT * FROM audit_entries").await;
        assert!(change(&world.store, statement).await > 0, "{what}");
        let found = verified(&exported(&world, 0).await, vec![]).expect_err(what);
        assert_eq!(found.index, index, "{what}: {found}");
        change(&world.store, "DELETE FROM audit_entries").await;
        change(&world.store, "INSERT INTO audit_entries SELECT * FROM kept").await;
        change(&world.store, "DROP TABLE kept").await;
    }
    verified(&exported(&world, 0).await, vec![]).unwrap();
    // The tree in the head is what is signed: an older one, or one of other entries, does not fit.
    change(&world.store, "UPDATE audit_head SET link = (SELECT leaf FROM audit_entries WHERE idx = 1)").await;
    customer(&world, "acme").await;
    let found = verified(&exported(&world, 0).await, vec![]).unwrap_err();
    assert!(matches!(found.fault, Fault::Chain(..)), "{found}");
    world.stop().await;
}

async fn a_tail_that_is_cut_off_with_its_checkpoints_shows_to_a_replica_and_in_the_file(place: Place) {
    let world = World::start(&place).await;
    customer(&world, "acme").await;
    change(&world.store, "CREATE TABLE kept_head AS SELECT * FROM audit_head").await;
    let member = Member::join(&world, "eu-1").await;
    let mut follower = member.follow().await;
    customer(&world, "umbrella").await;
    let length = verified(&exported(&world, 0).await, vec![]).unwrap().entries;
    // The replica is told within seconds, and the file beside the data has it as well.
    let told = loop {
        if let Hear::Checkpoint(told) = follower.hear().await.unwrap() {
            let note = Note::parse(&told.note).unwrap();
            assert!(note.is_signed_by(&PublicKey::try_from(told.public_key.to_vec()).unwrap()));
            if note.checkpoint().size >= length {
                break note;
            }
        }
    };
    verified(&exported(&world, 0).await, vec![Witness::Checkpoint(told.clone())]).unwrap();
    drop(follower);

    // Whoever holds the database takes everything back, to the last hash.
    let data_dir = world.data_dir.clone();
    world.stop().await;
    let store = Store::open(&place.url, keyring()).await.unwrap();
    change(&store, "DELETE FROM audit_entries WHERE idx > (SELECT length FROM kept_head)").await;
    change(&store, "DELETE FROM audit_checkpoints WHERE size > (SELECT length FROM kept_head)").await;
    change(&store, "DELETE FROM audit_head").await;
    change(&store, "INSERT INTO audit_head SELECT * FROM kept_head").await;
    store.close().await;

    let file = std::fs::read(data_dir.join(checkpoints::FILE)).unwrap();
    let lines = file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let kept = lines.map(|line| match Line::read([0; 16], line).unwrap() {
        Line::Checkpoint(note) => Witness::Checkpoint(Note::parse(&note).unwrap()),
        other => panic!("{other:?}"),
    });
    let kept: Vec<_> = kept.collect();
    let world = World::start(&place).await;
    // The control plane itself has seen it at its start.
    let request = v1::ListEntriesRequest { filter: "action=audit.differ".into(), ..Default::default() };
    assert_eq!(world.audit().list_entries(request).await.unwrap().into_inner().entries.len(), 1);
    let file = exported(&world, 0).await;
    assert!(verified(&file, vec![]).is_ok(), "by itself the shorter log is sound");
    for witnesses in [vec![Witness::Checkpoint(told)], kept] {
        let found = verified(&file, witnesses).unwrap_err();
        assert!(matches!(found.fault, Fault::Truncated(_) | Fault::Witness(_)), "{found}");
    }
    world.stop().await;
}

async fn entries_of_before_are_sealed_at_the_first_start(place: Place) {
    let world = World::start(&place).await;
    customer(&world, "acme").await;
    let before = verified(&exported(&world, 0).await, vec![]).unwrap();
    world.stop().await;
    let store = Store::open(&place.url, keyring()).await.unwrap();
    change(&store, "UPDATE audit_entries SET header = NULL, salt = NULL, mac = NULL, leaf = NULL").await;
    change(&store, "UPDATE audit_head SET log = NULL, frontier = NULL, sequence = 0, link = NULL, epoch = NULL").await;
    change(&store, "DELETE FROM audit_checkpoints").await;
    change(&store, "DELETE FROM audit_epochs").await;
    store.close().await;
    std::fs::remove_file(place.directory.join("data").join(checkpoints::FILE)).ok();
    let world = World::start(&place).await;
    let after = verified(&exported(&world, 0).await, vec![]).unwrap();
    assert!(after.entries >= before.entries && after.checkpoint.log != before.checkpoint.log);
    world.stop().await;
}

async fn new_keys_are_announced_under_the_old_ones(place: Place) {
    let world = World::start(&place).await;
    customer(&world, "acme").await;
    let signed = world.audit().sign_checkpoint(v1::SignCheckpointRequest {}).await.unwrap().into_inner();
    let rotated = world.audit().rotate_key(v1::RotateKeyRequest {}).await.unwrap().into_inner();
    assert_ne!(rotated.public_key, signed.public_key);
    customer(&world, "umbrella").await;
    let file = exported(&world, 0).await;
    let key = |bytes: &[u8]| PublicKey::try_from(bytes).unwrap();
    let begin = |keys| {
        let lines: Vec<_> = file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        let mut verifier = Verifier::begin(lines[0], Trust { public_keys: keys, ..Trust::default() })?;
        lines[1..].iter().try_for_each(|line| verifier.line(line))?;
        verifier.finish()
    };
    // Whoever knows the first key follows to the second.
    let report = begin(vec![key(&signed.public_key)]).unwrap();
    assert_eq!(report.keys, [key(&signed.public_key), key(&rotated.public_key)]);
    assert!(begin(vec![[9; 32]]).is_err());
    world.stop().await;
}

async fn what_a_replica_lost_is_declared_and_the_chain_goes_on(place: Place) {
    let world = World::start(&place).await;
    let (mut records, _) = chained(visits(1, 1..=9), CHAIN_START);
    // The fourth could not be read: a gap without an entry stands in its place.
    let (incarnation, sequence, arrived_ms) = (1, 4, records[3].arrived_ms);
    records[3] = Record { incarnation, sequence, arrived_ms, dropped: 1, ..Record::default() };
    report(&world.store, &replica(1), 1, records.drain(..6).collect()).await.unwrap();
    // Seven and eight were forgotten: a restored database never had them.
    let records = records.split_off(2);
    let request = ReportRequest { incarnation: 1, records, forgotten_through: 8 };
    assert_eq!(report_request(&world.store, &replica(1), request).await.unwrap(), 9);
    let report = verified(&exported(&world, 0).await, vec![]).unwrap();
    let request = v1::ListEntriesRequest { filter: "action=usage.forget".into(), ..Default::default() };
    assert_eq!(world.audit().list_entries(request).await.unwrap().into_inner().entries.len(), 2, "{report:?}");
    world.stop().await;
}

async fn evidence_that_is_none_is_refused(place: Place) {
    let world = World::start(&place).await;
    let good = || chained(visits(1, 1..=1), CHAIN_START).0.remove(0);
    let with = |change: &dyn Fn(&mut Evidence)| {
        let mut record = good();
        change(record.evidence.as_mut().unwrap());
        record
    };
    let body = |facts| Entry::new(0, "request.admit", Outcome::Allowed, facts).encode().unwrap();
    let forged = [
        with(&|evidence| evidence.salt = vec![1; 15]),
        with(&|evidence| evidence.previous = vec![]),
        with(&|evidence| evidence.body = b"{}".to_vec()),
        with(&|evidence| evidence.body = body(Facts { request_id: "req_of_another", ..Facts::default() })),
        with(&|evidence| {
            evidence.body = body(Facts { request_id: "req_1_1", replica: "replica-2", ..Facts::default() })
        }),
        with(&|evidence| {
            let text = String::from_utf8(evidence.body.clone()).unwrap();
            evidence.body = text.replace("\"key/", "\"two\\nlines: key/").into_bytes();
        }),
        with(&|evidence| evidence.body = vec![b' '; 30_000]),
        with(&|evidence| {
            evidence.body =
                Entry::new(0, "Request admit", Outcome::Allowed, Facts { request_id: "req_1_1", ..Facts::default() })
                    .encode()
                    .unwrap();
        }),
    ];
    for record in forged {
        let refused = report(&world.store, &replica(1), 1, vec![record]).await;
        assert_eq!(code(refused), Code::InvalidArgument);
    }
    assert_eq!(report(&world.store, &replica(1), 1, vec![good()]).await.unwrap(), 1);
    world.stop().await;
}

async fn every_entry_is_proved_by_its_path(place: Place) {
    let world = World::start(&place).await;
    let (records, _) = chained(visits(1, 1..=30), CHAIN_START);
    report(&world.store, &replica(1), 1, records).await.unwrap();
    let length = verified(&exported(&world, 0).await, vec![]).unwrap().entries;
    let mut roots = HashMap::new();
    for index in 1..=i64::try_from(length).unwrap() {
        let proof = world.audit().prove_entry(v1::ProveEntryRequest { index }).await.unwrap().into_inner();
        let note = Note::parse(&proof.checkpoint).unwrap();
        assert!(note.is_signed_by(&PublicKey::try_from(proof.public_key).unwrap()));
        let Line::Entry(line) = Line::read(note.checkpoint().log, &proof.line).unwrap() else { panic!() };
        let path: Vec<_> = proof.path.iter().map(|hash| Hash::try_from(hash.as_slice()).unwrap()).collect();
        let root = root_of_path(line.header.index - 1, note.checkpoint().size, line.leaf, &path);
        assert_eq!(root, Some(note.checkpoint().root), "entry {index}");
        roots.insert(note.checkpoint().size, root);
    }
    for index in [0, -1, 1_000_000] {
        let refused = world.audit().prove_entry(v1::ProveEntryRequest { index }).await;
        assert_eq!(code(refused), Code::NotFound);
    }
    world.stop().await;
}
