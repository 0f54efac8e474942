//! The log as others receive it: whole and in order, whatever stands in it and whatever breaks on the way.

#[path = "ship/collector.rs"]
mod collector;
#[path = "ship/rsyslog.rs"]
mod rsyslog;

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tollgate_audit::{Entry, Facts, Outcome, seal::CHAIN_START};
use tollgate_control_plane::{
    audit::{self, ship::settings},
    config::Config,
    store::{Store, audit_sinks::Standing},
};
use tollgate_proto::audit::v1;

use self::{
    collector::{Answer, Collector},
    rsyslog::{Parsed, Rsyslog},
};
use crate::{
    audit::{chained, change},
    usage::{record, replica, report},
    world::{Place, World, config, keyring, over_both},
};

over_both! {
    rsyslog_parses_every_entry_over_tls
    rsyslog_parses_every_entry_over_tcp_and_udp
    a_receiver_that_dies_with_entries_unread_gets_them_again
    a_collector_that_fails_gets_every_entry_in_order_and_a_restart_repeats_a_batch_at_most
    of_two_control_planes_one_ships_and_the_other_takes_over
    a_file_is_rotated_and_has_every_entry_after_a_kill
    what_is_gone_or_unreadable_or_not_wanted_does_not_stop_the_rest
}

/// How long something may take until a test gives up: far longer than it ever takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(place: &Place, directory: &str, sinks: &str) -> World {
    let config = Config { audit_sinks: settings::read(sinks).unwrap(), ..config(place, directory) };
    World::start_from(config).await
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done().await {
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn standing(store: &Store, sink: &str) -> Standing {
    let mut txn = store.begin_read().await.unwrap();
    let standing = txn.audit_sink(sink).await.unwrap().unwrap();
    txn.end().await.unwrap();
    standing
}

async fn until_shipped(store: &Store, sink: &str, index: i64) {
    until("the cursor moves", async || standing(store, sink).await.shipped >= index).await;
}

async fn metrics(world: &World) -> String {
    reqwest::get(format!("http://{}/metrics", world.http)).await.unwrap().text().await.unwrap()
}

// What a control plane that has ended has noted.
async fn noted(place: &Place, sink: &str) -> Standing {
    let store = Store::open(&place.url, keyring()).await.unwrap();
    let standing = standing(&store, sink).await;
    store.close().await;
    standing
}

// Appends so many entries, each in a transaction of its own, and returns the last one's index.
async fn append(store: &Store, count: usize) -> i64 {
    let mut last = 0;
    for at in 0..count {
        let mut txn = store.begin().await.unwrap();
        let detail = Map::from_iter([("at".to_owned(), json!(at))]);
        last = audit::append(&mut txn, entry("test.append", "system", detail)).await.unwrap();
        txn.commit().await.unwrap();
    }
    last
}

fn entry(action: &str, text: &str, detail: Map<String, Value>) -> Entry {
    let facts = Facts {
        initiator: text,
        target: text,
        request_id: text,
        session: text,
        source_address: text,
        detail,
        replica: "",
    };
    Entry::new(1_700_000_000_123, action, Outcome::Refused, facts)
}

/// Texts with which one would forge a line, break a field, or lead a parser astray.
fn hostile() -> Vec<Entry> {
    let texts = [
        "two\nlines",
        "\r\n<109>1 2023-11-14T22:13:20.000Z host tollgate - key.delete [tollgate@32473 index=\"1\"] forged",
        "99 <109>1 - - - - - -",
        "\"quoted\" and \\\"escaped\\\"",
        "brackets ] [ ]] \\] and \\",
        "[tollgate@32473 index=\"1\" leaf=\"00\"]",
        "grüße 漢字 🦀 e\u{301}",
        "\u{2028}separator\u{2029}\u{85}",
        "\u{202e}turned around\u{202c}\u{feff}",
        "\u{0}\u{1}\u{7}\u{8}\u{1b}[31mred\u{7f}\u{9b}",
        "#012 %msg% %0a &amp; ${jndi:ldap://x}",
        " leading and trailing ",
        "-",
    ];
    let long = "ü\"\\]".repeat(2_000);
    let mut entries: Vec<_> = texts
        .iter()
        .map(|text| {
            let detail =
                Map::from_iter([("name".to_owned(), json!(text)), ((*text).to_owned(), json!([text, {"x": text}]))]);
            entry("test.hostile", text, detail)
        })
        .collect();
    entries.push(entry("test.longest-of-all-the-actions-that-there-are", &long, Map::new()));
    let kilobytes = "y".repeat(7_000);
    entries.push(entry("test.long", &long, Map::from_iter([("long".to_owned(), json!(kilobytes))])));
    entries
}

async fn fill(world: &World, visits: i64) {
    let mut txn = world.store.begin().await.unwrap();
    audit::append_all(&mut txn, &hostile()).await.unwrap();
    txn.commit().await.unwrap();
    world.customer("acme").await;
    let (records, _) = chained((1..=visits).map(|sequence| record(1, sequence)).collect(), CHAIN_START);
    for records in records.chunks(500) {
        report(&world.store, &replica(1), 1, records.to_vec()).await.unwrap();
    }
    world.user("ada").await;
}

// What a receiver of syslog has parsed is what the API lists.
fn assert_same(listed: &v1::Entry, parsed: &Parsed) {
    let mut expect = BTreeMap::from([
        ("index", listed.index.to_string()),
        ("leaf", hex::encode(&listed.leaf)),
        ("writer", listed.writer.clone()),
        ("action", listed.action.clone()),
        ("outcome", listed.outcome.clone()),
        ("initiator", listed.initiator.clone()),
        ("target", listed.target.clone()),
        ("replica", listed.replica.clone()),
        ("request_id", listed.request_id.clone()),
        ("session", listed.session.clone()),
        ("source", listed.source_address.clone()),
    ]);
    // The replica of a control plane's entry, which the list leaves out, is empty here.
    expect.retain(|_, value| !value.is_empty());
    let mut data: BTreeMap<&str, String> =
        parsed.data.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let cut = data.remove("detail_bytes");
    if !data.contains_key("replica") {
        expect.remove("replica");
    }
    assert_eq!(data, expect);
    assert_eq!(parsed.app, "tollgate");
    assert_eq!(parsed.message_id, listed.action.chars().take(32).collect::<String>());
    let detail: Value = serde_json::from_str(&listed.detail).unwrap();
    match cut {
        None => assert_eq!(serde_json::from_str::<Value>(&parsed.message).unwrap(), detail),
        Some(bytes) => {
            assert!(bytes.parse::<usize>().unwrap() > parsed.message.len() && parsed.message.ends_with('…'));
        }
    }
}

async fn rsyslog_parses_every_entry_over_tls(place: Place) {
    let rsyslog = Rsyslog::start(&place.directory).await;
    let world = start(&place, "data", &rsyslog.sink("siem", "tls", rsyslog.tls, "gateway-1")).await;
    fill(&world, 600).await;
    let mut listed = world.log("").await;
    listed.sort_by_key(|entry| entry.index);
    assert!(listed.len() > 615, "{}", listed.len());
    until("rsyslog has every entry", async || rsyslog.lines().len() >= listed.len()).await;
    // A proper end tells that all of it was read.
    world.stop().await;
    let parsed = rsyslog.parsed();
    assert_eq!(parsed.len(), listed.len(), "no line more, and no line less");
    for (listed, parsed) in listed.iter().zip(&parsed) {
        assert_eq!(parsed.host, "gateway-1");
        assert_same(listed, parsed);
    }
    assert_eq!(noted(&place, "siem").await.shipped, listed.last().unwrap().index);
    // What follows goes on behind it, and nothing comes twice.
    let world = start(&place, "data", &rsyslog.sink("siem", "tls", rsyslog.tls, "gateway-1")).await;
    append(&world.store, 3).await;
    until("rsyslog has what followed", async || rsyslog.lines().len() >= listed.len() + 3).await;
    world.stop().await;
    let indexes: Vec<_> = rsyslog.parsed().iter().map(Parsed::index).collect();
    assert_eq!(indexes, (1..=i64::try_from(listed.len()).unwrap() + 3).collect::<Vec<_>>());
}

async fn rsyslog_parses_every_entry_over_tcp_and_udp(place: Place) {
    let rsyslog = Rsyslog::start(&place.directory).await;
    let sinks = rsyslog.sink("stream", "tcp", rsyslog.tcp, "over-tcp")
        + &rsyslog.sink("datagrams", "udp", rsyslog.udp, "over-udp")
        + &rsyslog.sink("cef", "tcp", rsyslog.tcp, "over-cef")
        + "message = 'cef'\nactions = ['test.h*']\n";
    let world = start(&place, "data", &sinks).await;
    fill(&world, 20).await;
    let listed = world.log("").await;
    let hostile = listed.iter().filter(|entry| entry.action == "test.hostile").count();
    let expect = 2 * listed.len() + hostile;
    until("rsyslog has every entry", async || rsyslog.lines().len() >= expect).await;
    world.stop().await;
    let parsed = rsyslog.parsed();
    assert_eq!(parsed.len(), expect);
    for host in ["over-tcp", "over-udp"] {
        let parsed: BTreeMap<_, _> =
            parsed.iter().filter(|parsed| parsed.host == host).map(|parsed| (parsed.index(), parsed)).collect();
        for listed in &listed {
            assert_same(listed, parsed[&listed.index]);
        }
    }
    let cef: Vec<_> = parsed.iter().filter(|parsed| parsed.host == "over-cef").collect();
    assert!(cef.len() == hostile && cef.iter().all(|parsed| parsed.message.starts_with("CEF:0|Tollgate|")));
    for sink in ["stream", "datagrams", "cef"] {
        assert_eq!(noted(&place, sink).await.shipped, listed.last().unwrap().index, "{sink}");
    }
}

async fn accepted(listener: &TcpListener) -> TcpStream {
    tokio::time::timeout(PATIENCE, listener.accept()).await.expect("a connection").unwrap().0
}

// One message of a stream with octet counting; `None` at its end.
async fn framed(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut length = Vec::new();
    stream.read_until(b' ', &mut length).await.unwrap();
    let length = String::from_utf8(length).unwrap();
    let mut message = vec![0; length.strip_suffix(' ')?.parse().unwrap()];
    stream.read_exact(&mut message).await.unwrap();
    Some(String::from_utf8(message).unwrap())
}

fn index_of(message: &str) -> i64 {
    let (_, rest) = message.split_once(" index=\"").unwrap();
    rest.split_once('"').unwrap().0.parse().unwrap()
}

async fn a_receiver_that_dies_with_entries_unread_gets_them_again(place: Place) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sink = format!("[[sink]]\nname = 'siem'\nkind = 'syslog'\ntransport = 'tcp'\naddress = '{address}'\n");
    let world = start(&place, "data", &sink).await;
    let length = append(&world.store, 40).await;
    // It reads one message, and dies with the rest in its buffer: the writer has been told that all of it was written.
    let mut first = BufReader::with_capacity(64, accepted(&listener).await);
    assert_eq!(index_of(&framed(&mut first).await.unwrap()), 1);
    let written = format!("tollgate_control_plane_audit_sink_shipped_total{{sink=\"siem\"}} {length}\n");
    until("all of it is written", async || metrics(&world).await.contains(&written)).await;
    assert_eq!(standing(&world.store, "siem").await.shipped, 0);
    drop(first);
    let mut second = BufReader::new(accepted(&listener).await);
    for index in 1..=length {
        assert_eq!(index_of(&framed(&mut second).await.unwrap()), index);
    }
    // A connection that lives on is believed, after a while.
    until_shipped(&world.store, "siem", length).await;
    let last = append(&world.store, 1).await;
    assert_eq!(index_of(&framed(&mut second).await.unwrap()), last);
    // It reads to the end, and ends its side: that is believed at once.
    let read_on = async {
        let rest = framed(&mut second).await;
        drop(second);
        rest
    };
    let ((), rest) = tokio::join!(world.stop(), read_on);
    assert_eq!(rest, None);
    assert_eq!(noted(&place, "siem").await.shipped, last);
}

async fn a_collector_that_fails_gets_every_entry_in_order_and_a_restart_repeats_a_batch_at_most(place: Place) {
    let plan = [Answer::Unavailable, Answer::CutOff, Answer::BadRequest, Answer::Dropped];
    let mut collector = Collector::start(&plan).await;
    let world = start(&place, "data", &collector.splunk("hec")).await;
    fill(&world, 600).await;
    let listed = world.log("").await;
    let length = listed.last().unwrap().index;
    let mut taken = BTreeMap::new();
    let (mut firsts, mut last) = (Vec::new(), 0);
    while last < length {
        let request = collector.request().await;
        assert_eq!(request.authorization, "Splunk canary-token");
        firsts.push(request.first());
        if request.answer == Answer::Taken {
            assert_eq!(request.first(), last + 1, "in order, and without a gap");
            last = request.last();
            taken.extend(request.events.into_iter().map(|event| (collector::index(&event), event)));
        }
    }
    assert!(firsts.iter().filter(|first| **first == 1).count() >= 5, "what failed came again: {firsts:?}");
    for listed in &listed {
        let event = &taken[&listed.index];
        assert_eq!((&event["source"], &event["sourcetype"]), (&json!("tollgate"), &json!("tollgate:audit")));
        assert_eq!(
            event["time"].as_f64().map(|seconds| (seconds * 1_000.0).round() as i64),
            event["event"]["time_ms"].as_i64()
        );
        assert_eq!(event["event"]["leaf"], hex::encode(&listed.leaf));
        assert_eq!(event["event"]["initiator"], listed.initiator);
        assert_eq!(event["event"]["detail"], serde_json::from_str::<Value>(&listed.detail).unwrap());
    }
    until_shipped(&world.store, "hec", length).await;
    let metrics = metrics(&world).await;
    for line in [
        "tollgate_control_plane_audit_sink_lag{sink=\"hec\"} 0\n".to_owned(),
        format!("tollgate_control_plane_audit_sink_shipped_total{{sink=\"hec\"}} {length}\n"),
        format!("tollgate_control_plane_audit_sink_failures_total{{sink=\"hec\"}} {}\n", plan.len()),
    ] {
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    world.stop().await;

    // Stopped properly, it goes on where it was.
    let world = start(&place, "data", &collector.splunk("hec")).await;
    append(&world.store, 1).await;
    let request = collector.request().await;
    assert_eq!((request.first(), request.last()), (length + 1, length + 1));
    until_shipped(&world.store, "hec", length + 1).await;
    // Killed before it could note what was taken, it repeats that and no more.
    change(&world.store, "UPDATE audit_sinks SET holder = 'another', held_until = 9000000000000").await;
    let last = append(&world.store, 2).await;
    assert_eq!(collector.request().await.first(), length + 2);
    drop(world);
    let store = Store::open(&place.url, keyring()).await.unwrap();
    change(&store, "UPDATE audit_sinks SET held_until = 0").await;
    assert_eq!(standing(&store, "hec").await.shipped, length + 1);
    store.close().await;
    let world = start(&place, "data", &collector.splunk("hec")).await;
    let mut next = length + 2;
    while next <= last {
        let request = collector.request().await;
        assert_eq!(request.first(), next);
        next = request.last() + 1;
    }
    world.stop().await;
}

async fn of_two_control_planes_one_ships_and_the_other_takes_over(place: Place) {
    let mut collector = Collector::start(&[]).await;
    let sink = collector.splunk("hec");
    let first = start(&place, "data", &sink).await;
    let mut length = append(&first.store, 1).await;
    until_shipped(&first.store, "hec", length).await;
    let second = start(&place, "second", &sink).await;
    // Each sees what the other writes, at once; were both to ship, both would.
    for _ in 0..5 {
        append(&first.store, 20).await;
        length = append(&second.store, 20).await;
        until_shipped(&first.store, "hec", length).await;
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&length) {
        let request = collector.request().await;
        seen.extend(request.events.iter().map(collector::index));
    }
    assert_eq!(seen, (1..=length).collect::<Vec<_>>(), "each entry came once");
    assert!(collector.is_quiet());
    let holder = standing(&second.store, "hec").await.holder;
    first.stop().await;
    let last = append(&second.store, 1).await;
    let request = collector.request().await;
    assert_eq!((request.first(), request.last()), (last, last));
    assert_ne!(standing(&second.store, "hec").await.holder, holder);
    second.stop().await;
}

fn lines(directory: &Path) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(directory).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    files.flat_map(|file| file.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
}

async fn a_file_is_rotated_and_has_every_entry_after_a_kill(place: Place) {
    let directory = place.directory.join("out");
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("audit.jsonl");
    let sink = format!(
        "[[sink]]\nname = 'file'\nkind = 'file'\npath = '{}'\nbytes_max = 4096\nrotated = 1000\n",
        path.display()
    );
    let world = start(&place, "data", &sink).await;
    fill(&world, 0).await;
    for _ in 0..4 {
        let length = append(&world.store, 12).await;
        until_shipped(&world.store, "file", length).await;
    }
    // A kill leaves half a line, and the cursor a little behind.
    drop(world);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole, &br#"{"index":9"#[..]].concat()).unwrap();
    let store = Store::open(&place.url, keyring()).await.unwrap();
    change(&store, "UPDATE audit_sinks SET shipped = shipped - 5, held_until = 0").await;
    store.close().await;
    let world = start(&place, "data", &sink).await;
    let length = append(&world.store, 12).await;
    until_shipped(&world.store, "file", length).await;
    let listed = world.log("").await;
    world.stop().await;
    let mut found = BTreeMap::new();
    let lines = lines(&directory);
    for line in &lines {
        let line: Value = serde_json::from_slice(line.strip_suffix(b"\n").unwrap()).unwrap();
        found.insert(line["index"].as_i64().unwrap(), line["leaf"].as_str().unwrap().to_owned());
    }
    assert_eq!(found.len(), listed.len());
    assert!(lines.len() <= listed.len() + 5, "{} lines", lines.len());
    assert!(listed.iter().all(|entry| found[&entry.index] == hex::encode(&entry.leaf)));
    assert!(std::fs::read_dir(&directory).unwrap().count() > 3);
}

async fn what_is_gone_or_unreadable_or_not_wanted_does_not_stop_the_rest(place: Place) {
    let world = World::start(&place).await;
    append(&world.store, 30).await;
    change(&world.store, "DELETE FROM audit_entries WHERE idx <= 10").await;
    change(&world.store, "UPDATE audit_entries SET header = leaf WHERE idx = 12").await;
    world.stop().await;
    let (mut all, mut now) = (Collector::start(&[]).await, Collector::start(&[]).await);
    let mut some = Collector::start(&[]).await;
    let sinks = all.splunk("all")
        + &(now.splunk("now") + "from = 'now'\n")
        + &(some.splunk("some") + "actions = ['customer.*']\nformat = 'ocsf'\n");
    let world = start(&place, "data", &sinks).await;
    world.customer("acme").await;
    let length = world.log("action=customer.create").await[0].index;
    for sink in ["all", "now", "some"] {
        until_shipped(&world.store, sink, length).await;
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&length) {
        seen.extend(all.request().await.events.iter().map(collector::index));
    }
    assert_eq!(seen, (11..=length).filter(|index| *index != 12).collect::<Vec<_>>());
    assert_eq!(now.request().await.events.iter().map(collector::index).collect::<Vec<_>>(), [length]);
    let wanted = some.request().await.events;
    assert_eq!((wanted.len(), &wanted[0]["event"]["metadata"]["sequence"]), (1, &json!(length)));

    // Nothing that waits for a sink is to be pruned, unless the sink is one no more.
    let mut txn = world.store.begin().await.unwrap();
    let clock = tollgate_control_plane::clock::now_ms();
    assert_eq!(txn.audit_shipped_min(clock).await.unwrap(), Some(length));
    txn.audit_sink_begin("new", 3, clock).await.unwrap();
    assert_eq!(txn.audit_shipped_min(clock).await.unwrap(), Some(3));
    assert_eq!(txn.audit_shipped_min(clock + 8 * 24 * 3_600_000).await.unwrap(), None);
    txn.commit().await.unwrap();
    world.stop().await;

    // A log that was restored from a backup is shorter than what was shipped of it: what it has anew is shipped.
    let store = Store::open(&place.url, keyring()).await.unwrap();
    change(&store, "UPDATE audit_sinks SET shipped = 100000 WHERE name = 'all'").await;
    store.close().await;
    let world = start(&place, "data", &all.splunk("all")).await;
    let shipped = standing(&world.store, "all").await.shipped;
    let last = append(&world.store, 1).await;
    let request = all.request().await;
    assert_eq!((shipped, request.first(), request.last()), (last - 1, last, last));
    world.stop().await;
}
