//! What the audit log keeps, what it gives away, and by what entries are found.

use std::time::Duration;

use tollgate_audit::{
    MacKey, Trust, Verifier,
    file::{Content, Head, Line},
    seal::CHAIN_START,
};
use tollgate_control_plane::{
    app,
    audit::retention::{Pruned, Retention, Settings},
    config::Config,
    store::Statement,
};
use tollgate_proto::audit::v1;
use tollgate_settings::Secret;
use tonic::Code;

use crate::{
    audit::{chained, customer, exported, verified, visits},
    usage::{replica, report},
    world::{Place, World, code, config, over_both},
};

over_both! {
    entries_whose_time_has_come_are_archived_and_pruned
    a_hold_keeps_entries_until_it_is_released
    what_is_erased_is_gone_and_its_place_stays
    entries_are_found_by_whom_and_when
    a_configured_key_seals_from_the_next_start_on
}

const KEEP: Duration = Duration::from_secs(30 * 24 * 3_600);

async fn signed(world: &World) -> i64 {
    world.audit().sign_checkpoint(v1::SignCheckpointRequest {}).await.unwrap();
    let mut txn = world.store.begin_read().await.unwrap();
    let length = txn.audit_length().await.unwrap();
    txn.end().await.unwrap();
    length
}

// When everything that is written by now is older than it is kept.
fn later() -> i64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from((now + KEEP + Duration::from_secs(3_600)).as_millis()).unwrap()
}

fn retention(world: &World) -> Retention {
    let settings = Settings { keep: KEEP, archive_dir: Some(world.data_dir.join("archive")) };
    Retention::new(world.store.clone(), settings)
}

async fn hold(world: &World, name: &str) -> Result<(), tonic::Status> {
    let hold = v1::Hold { name: name.into(), reason: "litigation".into(), ..v1::Hold::default() };
    world.audit().create_hold(v1::CreateHoldRequest { hold: Some(hold) }).await.map(drop)
}

async fn release(world: &World, name: &str) -> Result<(), tonic::Status> {
    let request = v1::ReleaseHoldRequest { name: name.into(), reason: String::new() };
    world.audit().release_hold(request).await.map(drop)
}

async fn erase(world: &World, filter: &str) -> Result<v1::EraseEntriesResponse, tonic::Status> {
    let request = v1::EraseEntriesRequest { filter: filter.into(), reason: "asked for".into() };
    world.audit().erase_entries(request).await.map(tonic::Response::into_inner)
}

async fn entries_whose_time_has_come_are_archived_and_pruned(place: Place) {
    let world = World::start(&place).await;
    let (records, last) = chained(visits(1, 1..=40), CHAIN_START);
    report(&world.store, &replica(1), 1, records).await.unwrap();
    let size = signed(&world).await;
    let (records, _) = chained(visits(1, 41..=45), last);
    report(&world.store, &replica(1), 1, records).await.unwrap();
    let whole = verified(&exported(&world, 0).await, vec![]).unwrap();
    let size_now = i64::try_from(whole.checkpoint.size).unwrap();

    let retention = retention(&world);
    assert_eq!(retention.prune(0).await.unwrap(), None, "nothing is due");
    let Some(Pruned { first: 1, last, archive: Some(archive) }) = retention.prune(later()).await.unwrap() else {
        panic!("nothing was pruned")
    };
    assert!((size..=size_now).contains(&last), "{last} {size} {size_now}");
    // The archive is a sealed file of its own, and what is left goes on where it ends.
    let archived = verified(&std::fs::read(&archive).unwrap(), vec![]).unwrap();
    assert_eq!((archived.first, archived.entries), (1, last.unsigned_abs()));
    let rest = verified(&exported(&world, 0).await, vec![]).unwrap();
    assert_eq!(rest.first, last.unsigned_abs() + 1);
    let told = world.log("action=audit.prune").await;
    assert_eq!(told.len(), 1);
    let detail: serde_json::Value = serde_json::from_str(&told[0].detail).unwrap();
    assert_eq!(detail["to"], last);
    assert_eq!(detail["root"], hex::encode(archived.checkpoint.root));
    let digest = <sha2::Sha256 as sha2::Digest>::digest(std::fs::read(&archive).unwrap());
    assert_eq!(detail["archive_sha256"], hex::encode(digest));
    // An export from an index that is gone begins with the first that is there; a proof of one that is gone is refused.
    assert_eq!(verified(&exported(&world, 3).await, vec![]).unwrap().first, rest.first);
    let gone = world.audit().prove_entry(v1::ProveEntryRequest { index: 3 }).await;
    assert_eq!(code(gone), Code::NotFound);
    let proof = world.audit().prove_entry(v1::ProveEntryRequest { index: told[0].index }).await;
    assert!(proof.is_ok(), "{proof:?}");
    // It goes on, through a start as well.
    world.stop().await;
    let world = World::start(&place).await;
    let (more, _) = chained(visits(2, 1..=3), CHAIN_START);
    report(&world.store, &replica(1), 2, more).await.unwrap();
    signed(&world).await;
    // The newest checkpoint is the one that the old key signs over the announcement of the new one.
    world.audit().rotate_key(v1::RotateKeyRequest {}).await.unwrap();
    let again = self::retention(&world).prune(later()).await.unwrap().unwrap();
    assert_eq!(again.first, last + 1);
    let archives = [std::fs::read(&archive).unwrap(), std::fs::read(again.archive.unwrap()).unwrap()];
    let rest = exported(&world, 0).await;
    verified(&rest, vec![]).unwrap();
    // Together they are the whole log again.
    let mut verifier: Option<Verifier> = None;
    for file in [&archives[0], &archives[1], &rest] {
        let mut lines = file.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n');
        let head = lines.next().unwrap();
        match &mut verifier {
            Some(verifier) => verifier.go_on(head).unwrap(),
            none => *none = Some(Verifier::begin(head, Trust::default()).unwrap()),
        }
        lines.for_each(|line| verifier.as_mut().unwrap().line(line).unwrap());
    }
    let all = verifier.unwrap().finish().unwrap();
    assert_eq!((all.first, all.entries, all.keys.len()), (1, all.checkpoint.size, 2));

    // What a sink has not got yet stays.
    let mut txn = world.store.begin().await.unwrap();
    let sink = Statement::new("INSERT INTO audit_sinks (name, shipped, holder, held_until) VALUES ('siem', 0, '', $1)");
    txn.execute(sink.bind(i64::MAX)).await.unwrap();
    txn.commit().await.unwrap();
    signed(&world).await;
    assert_eq!(self::retention(&world).prune(later()).await.unwrap(), None);
    world.stop().await;
}

async fn a_hold_keeps_entries_until_it_is_released(place: Place) {
    let world = World::start(&place).await;
    customer(&world, "acme").await;
    signed(&world).await;
    hold(&world, "matter-17").await.unwrap();
    assert_eq!(code(hold(&world, "matter-17").await), Code::AlreadyExists);
    assert_eq!(retention(&world).prune(later()).await.unwrap(), None);
    assert_eq!(code(erase(&world, "action=customer.create").await), Code::FailedPrecondition);
    let held = world.audit().list_holds(v1::ListHoldsRequest {}).await.unwrap().into_inner().holds;
    assert_eq!(held.iter().map(|hold| hold.name.as_str()).collect::<Vec<_>>(), ["matter-17"]);

    // A hold of what is written from now on lets go of what was before.
    let since = prost_types::Timestamp { seconds: later() / 1_000, nanos: 0 };
    let future = v1::Hold { name: "next".into(), reason: "r".into(), since: Some(since), ..v1::Hold::default() };
    world.audit().create_hold(v1::CreateHoldRequest { hold: Some(future) }).await.unwrap();
    release(&world, "matter-17").await.unwrap();
    assert_eq!(code(release(&world, "matter-17").await), Code::NotFound);
    assert_eq!(erase(&world, "action=customer.create").await.unwrap().erased, 1);
    assert!(retention(&world).prune(later()).await.unwrap().is_some());
    assert_eq!(world.log("action=audit.hold").await.len(), 3, "two placed and one released");
    world.stop().await;
}

async fn what_is_erased_is_gone_and_its_place_stays(place: Place) {
    let world = World::start(&place).await;
    let (records, last) = chained(visits(1, 1..=50), CHAIN_START);
    let key = records[0].key.clone();
    report(&world.store, &replica(1), 1, records).await.unwrap();
    assert_eq!(code(erase(&world, "").await), Code::InvalidArgument);
    let before = world.log(&format!("initiator=key/{key}")).await;
    assert!(before.len() > 10);
    let v1::EraseEntriesResponse { erased, kept } = erase(&world, &format!("key={key}")).await.unwrap();
    assert_eq!((erased, kept), (i64::try_from(before.len()).unwrap(), 0));

    let file = exported(&world, 0).await;
    assert_eq!(i64::try_from(verified(&file, vec![]).unwrap().erased).unwrap(), erased);
    let mut lines = file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let log = Head::read(lines.next().unwrap()).unwrap().log;
    for line in lines {
        if let Line::Entry(entry) = Line::read(log, line).unwrap()
            && let Content::Body { body, .. } = &entry.content
            && entry.header.action != "audit.erase"
        {
            assert!(!String::from_utf8_lossy(body).contains(&key), "{}", String::from_utf8_lossy(body));
        }
    }
    // The log says so, and can still be listed.
    let told = world.log("action=audit.erase").await;
    let indexes: serde_json::Value = serde_json::from_str(&told[0].detail).unwrap();
    assert_eq!(indexes["indexes"].as_array().unwrap().len(), before.len());
    assert!(world.log("action=request.admit").await.iter().filter(|entry| entry.erased).count() == before.len());
    // In the rows nothing of it is left.
    let rows = String::from_utf8_lossy(&place.dump().await).matches(&format!("\"initiator\":\"key/{key}\"")).count();
    assert!(!place.is_postgres() || rows == 0, "{rows}");
    // What verifies the log stays, and the chain of the replica goes on.
    let kept = erase(&world, "action=audit.*").await.unwrap();
    assert_eq!((kept.erased, kept.kept), (0, 1));
    let (more, _) = chained(visits(1, 51..=53), last);
    report(&world.store, &replica(1), 1, more).await.unwrap();
    verified(&exported(&world, 0).await, vec![]).unwrap();
    world.stop().await;
}

async fn entries_are_found_by_whom_and_when(place: Place) {
    let world = World::start(&place).await;
    let (records, _) = chained(visits(1, 1..=30), CHAIN_START);
    let (first, tenth) = (records[0].clone(), records[9].clone());
    // A later run reports what happened earlier.
    let (early, _) = chained(visits(2, 1..=2), CHAIN_START);
    report(&world.store, &replica(1), 1, records).await.unwrap();
    report(&world.store, &replica(1), 2, early).await.unwrap();
    let count = async |filter: String| world.log(&filter).await.len();
    assert_eq!(count(format!("team={} AND action=request.*", first.team)).await, 16);
    assert_eq!(count(format!("key={}", first.key)).await, count(format!("initiator=key/{}", first.key)).await);
    assert_eq!(count("action=nothing.*".into()).await, 0);
    assert_eq!(count("outcome=allowed AND action=request.admit".into()).await, 32);

    // Newest first by time, whatever the order in which they arrived; each page goes on where the one before ended.
    let mut request = v1::ListEntriesRequest { page_size: 7, filter: "action=request.*".into(), ..Default::default() };
    let (mut seen, mut pages) = (vec![], 0);
    loop {
        let page = world.audit().list_entries(request.clone()).await.unwrap().into_inner();
        seen.extend(page.entries.iter().map(|entry| (entry.time.unwrap().seconds, entry.index)));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert!(seen.is_sorted_by(|one, other| one > other) && seen.len() == 32 && pages == 5, "{seen:?}");
    let at = jiff::Timestamp::from_millisecond(tenth.arrived_ms + tenth.duration_ms).unwrap();
    assert_eq!(count(format!("since={at} AND action=request.*")).await, 21);
    assert_eq!(count(format!("until={at} AND action=request.*")).await, 11);

    // Behind an index, oldest first by index.
    let mut behind = v1::ListEntriesRequest {
        page_size: 9,
        filter: "action=request.*".into(),
        after_index: Some(seen.iter().map(|(_, index)| *index).min().unwrap()),
        ..Default::default()
    };
    let mut indexes = vec![];
    loop {
        let page = world.audit().list_entries(behind.clone()).await.unwrap().into_inner();
        indexes.extend(page.entries.iter().map(|entry| entry.index));
        if page.next_page_token.is_empty() {
            break;
        }
        behind.page_token = page.next_page_token;
    }
    assert!(indexes.is_sorted_by(|one, other| one < other) && indexes.len() == 31, "{indexes:?}");
    // Free text, wherever it stands; erasure knows nothing of it, and must not take it for all.
    assert_eq!(count("text=REQ_1_17".into()).await, 1);
    assert_eq!(count(format!("text={} AND action=request.admit", first.team)).await, 16);
    assert_eq!(count("text=nowhere".into()).await, 0);
    assert_eq!(code(erase(&world, "text=req_1_17").await), Code::InvalidArgument);
    let mut texts = v1::ListEntriesRequest { page_size: 7, filter: "text=key/".into(), ..Default::default() };
    let mut searched = 0;
    loop {
        let page = world.audit().list_entries(texts.clone()).await.unwrap().into_inner();
        searched += page.entries.iter().filter(|entry| entry.action == "request.admit").count();
        if page.next_page_token.is_empty() {
            break;
        }
        texts.page_token = page.next_page_token;
    }
    assert_eq!(searched, 32);
    // The token of one list is none of the other.
    behind.after_index = None;
    behind.page_token = request.page_token;
    behind.filter = "action=request.*".into();
    assert!(world.audit().list_entries(behind.clone()).await.is_ok());
    behind.after_index = Some(0);
    assert_eq!(code(world.audit().list_entries(behind).await), Code::InvalidArgument);
    world.stop().await;
}

async fn a_configured_key_seals_from_the_next_start_on(place: Place) {
    let world = World::start(&place).await;
    customer(&world, "acme").await;
    world.stop().await;
    let mut with_key = config(&place, "data");
    with_key.audit.hmac_key = Some(Secret::new("ab".repeat(32)));
    let world = World::start_from(with_key.clone()).await;
    customer(&world, "umbrella").await;
    let file = exported(&world, 0).await;
    let report = verified(&file, vec![]).unwrap();
    assert_eq!(report.keys.len(), 2, "the change of the key is announced");
    let mut lines = file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let log = Head::read(lines.next().unwrap()).unwrap().log;
    let named = MacKey::new(&[0xab; 32]).unwrap().id();
    let sealed =
        lines.filter(|line| matches!(Line::read(log, line).unwrap(), Line::Entry(entry) if entry.header.key == named));
    assert!(sealed.count() >= 2);
    // Another one by a call would not last: it is refused, and says what to do.
    assert_eq!(code(world.audit().rotate_key(v1::RotateKeyRequest {}).await), Code::FailedPrecondition);
    world.stop().await;
    // The same one again changes nothing.
    let world = World::start_from(with_key.clone()).await;
    assert_eq!(verified(&exported(&world, 0).await, vec![]).unwrap().keys.len(), 2);
    world.stop().await;
    // One whose time is over cannot come back: its signing key is retired.
    let other = |digits: &str| {
        let mut other: Config = with_key.clone();
        other.audit.hmac_key = Some(Secret::new(digits.repeat(32)));
        other
    };
    World::start_from(other("cd")).await.stop().await;
    assert!(app::build(other("ab")).await.is_err());
}
