//! Ten thousand tamperings with a log that traffic wrote, in the database itself and in its export: each shows, to both verifiers,
//! at the entry at which it begins.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::json;
use tollgate_audit::{
    Entry, Facts, Finding, Note, Outcome, Trust, Verifier,
    checkpoint::PublicKey,
    file::Line,
    seal::{CONTROL_PLANE, Header, link},
    verify::{ChainLink, Fault, NEW_KEY, Report, Witness},
};
use tollgate_control_plane::{
    audit::{self, checkpoints, export::Export},
    store::{Row, Statement, Store, Txn, audit::Head},
};
use tollgate_proto::{
    admin::v1::{CreateCustomerRequest, Customer},
    audit::v1::{EraseEntriesRequest, RotateKeyRequest, SignCheckpointRequest},
};
use tollgate_tests::{
    client::{message, simulate},
    cluster::{Cluster, Shape},
    database::Kind,
    until,
};

/// Tamperings of each kind of database, half of them in its rows and half in an export of it.
const TAMPERINGS: usize = 5_000;
/// How many files the second verifier is shown at a time.
const BATCH: usize = 1_000;

// A splitmix64: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: i64) -> i64 {
        i64::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(i64::try_from(all.len()).unwrap())).unwrap()]
    }
}

// What was done, and the first entry that is not what it was.
struct Done {
    kind: &'static str,
    first: i64,
    // Whether that entry itself must be named, or the one before it; otherwise it, or any before it.
    named: bool,
}

// What whoever verifies has seen elsewhere.
struct Seen {
    // Each that ever signed: a fork under an old key knows nothing of the later ones.
    keys: Vec<PublicKey>,
    lines: Vec<String>,
}

impl Seen {
    // The checkpoints that the control plane told, and the newest links of each replica.
    fn read(cluster: &Cluster, keys: Vec<PublicKey>) -> Self {
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        let told = read(cluster.directory().join(checkpoints::FILE));
        let mut lines: Vec<_> = told.lines().map(str::to_owned).collect();
        for replica in &cluster.replicas {
            let kept = read(replica.directory.join("audit-witness.jsonl"));
            let links: Vec<_> = kept.lines().filter(|line| line.starts_with("{\"link\"")).collect();
            assert!(!links.is_empty(), "the replica kept its links");
            lines.extend(links.iter().rev().take(3).map(|link| (*link).to_owned()));
        }
        Self { keys, lines }
    }

    fn trust(&self) -> Trust {
        let witness = |line: &String| match Line::read([0; 16], line.as_bytes()) {
            Ok(Line::Checkpoint(note)) => Witness::Checkpoint(Note::parse(&note).unwrap()),
            _ => {
                let link = serde_json::from_str::<serde_json::Value>(line).unwrap()["link"].clone();
                Witness::Link(serde_json::from_value::<ChainLink>(link).unwrap())
            }
        };
        let witnesses = self.lines.iter().map(witness).collect();
        Trust { public_keys: self.keys.clone(), witnesses, ..Trust::default() }
    }

    fn verify(&self, file: &[u8]) -> Result<Report, Finding> {
        let mut lines = file.strip_suffix(b"\n").unwrap_or(file).split(|byte| *byte == b'\n');
        let mut verifier = Verifier::begin(lines.next().unwrap(), self.trust())?;
        lines.try_for_each(|line| verifier.line(line))?;
        verifier.finish()
    }
}

// Files for the second verifier, with what the first said of them.
struct Files {
    directory: PathBuf,
    index: Vec<String>,
    named: usize,
}

impl Files {
    fn add(&mut self, seen: &Seen, done: &Done, file: &[u8]) {
        let Done { kind, first, named } = *done;
        let found = seen.verify(file).expect_err(kind);
        let index = i64::try_from(found.index).unwrap();
        // A checkpoint that stands behind too few entries is told with the last of those.
        assert!(index <= first && (!named || index >= first - 1), "{kind} at {first}: {found}");
        self.named += usize::from(index == first);
        let name = format!("{}.jsonl", self.index.len());
        fs::write(self.directory.join(&name), file).unwrap();
        let unreadable = matches!(found, Finding { index: 0, fault: Fault::Line(_) });
        let sample = json!({
            "file": name, "kind": kind, "first_changed": first, "index": index, "fault": found.fault.to_string(),
            "verdict": if unreadable { "unreadable" } else { "tampered" },
            "keys": seen.keys.iter().map(hex::encode).collect::<Vec<_>>(), "mac_keys": [], "partial": false, "witnesses": format!("{}\n", seen.lines.join("\n")),
        });
        self.index.push(format!("{sample}\n"));
        if self.index.len() == BATCH {
            self.show();
        }
    }

    fn show(&mut self) {
        let index = std::mem::take(&mut self.index);
        fs::write(self.directory.join("index.jsonl"), index.concat()).unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("audit/run");
        let count = index.len().to_string();
        let ran = Command::new(program).arg(&self.directory).args(["0", &count]).stdin(Stdio::null()).output();
        let ran = ran.expect("tests/audit/run needs bash and python3: run scripts/install python");
        let (said, wrong) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "the two verifiers disagree, or one could not run:\n{said}\n{wrong}");
    }
}

async fn run(txn: &mut Txn, statement: Statement) -> u64 {
    txn.execute(statement).await.unwrap()
}

async fn row(txn: &mut Txn, index: i64) -> Row {
    let select = Statement::new("SELECT * FROM audit_entries WHERE idx = $1").bind(index);
    txn.fetch_one(select).await.unwrap()
}

async fn exported(txn: &mut Txn, store: &Store) -> Vec<u8> {
    let (mut export, mut file) = Export::begin_in(txn, store, 1).await.unwrap();
    loop {
        let lines = export.page_in(txn).await.unwrap();
        if lines.is_empty() {
            return file;
        }
        file.extend(lines);
    }
}

// One bit of what a column holds.
fn flipped(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.is_empty() {
        return vec![1];
    }
    let at = usize::try_from(random.below(i64::try_from(bytes.len()).unwrap())).unwrap();
    bytes[at] ^= 1 << random.below(8);
    bytes
}

async fn edit(txn: &mut Txn, random: &mut Random, index: i64) -> Done {
    let found = row(txn, index).await;
    let (text, update) = random.of(&[
        ("action", "UPDATE audit_entries SET action = $1 WHERE idx = $2"),
        ("outcome", "UPDATE audit_entries SET outcome = $1 WHERE idx = $2"),
        ("initiator", "UPDATE audit_entries SET initiator = $1 WHERE idx = $2"),
        ("target", "UPDATE audit_entries SET target = $1 WHERE idx = $2"),
        ("replica", "UPDATE audit_entries SET replica = $1 WHERE idx = $2"),
        ("request_id", "UPDATE audit_entries SET request_id = $1 WHERE idx = $2"),
        ("session", "UPDATE audit_entries SET session = $1 WHERE idx = $2"),
        ("team", "UPDATE audit_entries SET team = $1 WHERE idx = $2"),
    ]);
    let (bytes, rewrite) = random.of(&[
        ("body", "UPDATE audit_entries SET body = $1 WHERE idx = $2"),
        ("header", "UPDATE audit_entries SET header = $1 WHERE idx = $2"),
        ("salt", "UPDATE audit_entries SET salt = $1 WHERE idx = $2"),
        ("mac", "UPDATE audit_entries SET mac = $1 WHERE idx = $2"),
        ("leaf", "UPDATE audit_entries SET leaf = $1 WHERE idx = $2"),
    ]);
    let (kind, statement) = match random.below(8) {
        0 | 1 => {
            let value = found.text(text).unwrap();
            let value = if value.is_empty() { "x".to_owned() } else { value[..value.len() - 1].to_owned() };
            (text, Statement::new(update).bind(value))
        }
        2 => {
            let value = found.int("time").unwrap() - 1 - random.below(1_000_000);
            ("time", Statement::new("UPDATE audit_entries SET time = $1 WHERE idx = $2").bind(value))
        }
        3 => {
            // Another story, well formed.
            let mut body: serde_json::Value =
                serde_json::from_slice(&found.bytes("body").unwrap()).unwrap_or_else(|_| json!({}));
            body["detail"]["cost_nano_usd"] = random.below(1_000_000_000).into();
            let rewrite = "UPDATE audit_entries SET body = $1 WHERE idx = $2";
            ("story", Statement::new(rewrite).bind(serde_json::to_vec(&body).unwrap()))
        }
        _ => (bytes, Statement::new(rewrite).bind(flipped(random, found.bytes(bytes).unwrap()))),
    };
    assert_eq!(run(txn, statement.bind(index)).await, 1);
    Done { kind, first: index, named: true }
}

async fn swap(txn: &mut Txn, random: &mut Random, size: i64) -> Done {
    let one = 1 + random.below(size - 1);
    let other = one + 1 + random.below(size - one);
    for (from, to) in [(one, -1), (other, one), (-1, other)] {
        run(txn, Statement::new("UPDATE audit_entries SET idx = $1 WHERE idx = $2").bind(to).bind(from)).await;
    }
    Done { kind: "swap", first: one, named: true }
}

// An entry is put in, a copy of another one, and all behind it make room.
async fn insert(txn: &mut Txn, random: &mut Random, size: i64) -> Done {
    // Not at the end: a copy of the last entry in its own place would change nothing that the head counts.
    let at = 1 + random.below(size - 1);
    let model = 1 + random.below(size);
    run(txn, Statement::new("CREATE TEMPORARY TABLE forged AS SELECT * FROM audit_entries WHERE idx = $1").bind(model))
        .await;
    run(txn, Statement::new("UPDATE audit_entries SET idx = -(idx + 1) WHERE idx >= $1").bind(at)).await;
    run(txn, Statement::new("UPDATE audit_entries SET idx = -idx WHERE idx < 0")).await;
    run(txn, Statement::new("UPDATE forged SET idx = $1").bind(at)).await;
    run(txn, Statement::new("INSERT INTO audit_entries SELECT * FROM forged")).await;
    // What stands there now says that it is another one; unless it is the copy of itself, and then the next one does.
    Done { kind: "insert", first: if model == at { at + 1 } else { at }, named: false }
}

// Everything behind a checkpoint goes, with the checkpoints and the head.
async fn cut(txn: &mut Txn, random: &mut Random, size: i64) -> Head {
    let select = Statement::new("SELECT size FROM audit_checkpoints WHERE size < $1 ORDER BY size").bind(size);
    let sizes: Vec<i64> = txn.fetch_all(select).await.unwrap().iter().map(|row| row.int("size").unwrap()).collect();
    let end = random.of(&sizes);
    let mut head = txn.audit_head().await.unwrap();
    (head.frontier, _) = txn.audit_start(end + 1).await.unwrap().unwrap();
    // The keys of then seal again, unless the next ones were announced by then.
    let last = row(txn, end).await.bytes("header").unwrap();
    let Header { action, key, .. } = Header::decode(&last).unwrap();
    if action != NEW_KEY {
        head.epoch = hex::encode(key);
    }
    // The chain of the control planes stood at its last entry before that.
    let select = Statement::new("SELECT * FROM audit_entries WHERE idx <= $1 ORDER BY idx DESC").bind(end);
    for found in txn.fetch_all(select).await.unwrap() {
        let header = found.bytes("header").unwrap();
        let Header { writer, incarnation, sequence, previous, .. } = Header::decode(&header).unwrap();
        if writer == CONTROL_PLANE {
            let commitment = match found.bytes_opt("commitment").unwrap() {
                Some(commitment) => commitment.try_into().unwrap(),
                None => tollgate_audit::seal::commitment(
                    &found.bytes("salt").unwrap().try_into().unwrap(),
                    &found.bytes("body").unwrap(),
                ),
            };
            (head.sequence, head.link) = (sequence, link(incarnation, sequence, &previous, &commitment));
            break;
        }
    }
    txn.audit_move(&head).await.unwrap();
    run(txn, Statement::new("DELETE FROM audit_entries WHERE idx > $1").bind(end)).await;
    run(txn, Statement::new("DELETE FROM audit_checkpoints WHERE size > $1").bind(end)).await;
    head
}

async fn in_the_database(txn: &mut Txn, random: &mut Random, size: i64) -> Done {
    let index = 1 + random.below(size);
    match random.below(10) {
        0 => {
            run(txn, Statement::new("DELETE FROM audit_entries WHERE idx = $1").bind(index)).await;
            Done { kind: "delete", first: index, named: true }
        }
        1 => swap(txn, random, size).await,
        2 => insert(txn, random, size).await,
        3 => {
            let head = cut(txn, random, size).await;
            Done { kind: "truncate", first: head.size() + 1, named: false }
        }
        4 => {
            // Whoever has the keys of the control plane goes on with another story, as long as the first or longer.
            let head = cut(txn, random, size).await;
            let more = size - head.size() + random.below(3);
            for number in 0..more {
                let request_id = format!("req_forged_{number}");
                let facts = Facts { initiator: "key/1", request_id: &request_id, ..Facts::default() };
                let entry = Entry::new(1_700_000_000_000 + number, "request.admit", Outcome::Allowed, facts);
                audit::append(txn, entry).await.unwrap();
            }
            Done { kind: "fork", first: head.size() + 1, named: false }
        }
        5 => {
            run(txn, Statement::new("DELETE FROM audit_entries WHERE idx >= $1").bind(index)).await;
            Done { kind: "tail of rows", first: index, named: true }
        }
        _ => edit(txn, random, index).await,
    }
}

// A line of an entry is edited, deleted, swapped with another, repeated, or all behind it goes.
fn in_the_file(random: &mut Random, file: &[u8]) -> (Done, Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = file.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let index_of = |line: &[u8]| -> Option<i64> {
        let digits = line.strip_prefix(b"{\"index\":")?.split(|byte| !byte.is_ascii_digit()).next()?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    let entries: Vec<(usize, i64)> =
        lines.iter().enumerate().filter_map(|(at, line)| Some((at, index_of(line)?))).collect();
    let (at, index) = random.of(&entries);
    let done = match random.below(6) {
        0 => {
            lines.remove(at);
            Done { kind: "delete line", first: index, named: true }
        }
        1 => {
            let (other, index_of_other) = random.of(&entries[..entries.len() - 1]);
            let (other, index_of_other) = if other == at { *entries.last().unwrap() } else { (other, index_of_other) };
            if other == at {
                lines.remove(at);
            } else {
                lines.swap(at, other);
            }
            Done { kind: "swap lines", first: index.min(index_of_other), named: true }
        }
        2 => {
            let (other, _) = random.of(&entries);
            let copy = lines[other].clone();
            lines.insert(at, copy);
            Done { kind: "insert line", first: if other == at { index + 1 } else { index }, named: false }
        }
        3 => {
            lines.truncate(at);
            Done { kind: "truncate file", first: index, named: true }
        }
        _ => {
            let line = lines[at].clone();
            let mut edited = flipped(random, line.clone());
            // A line that becomes two is told at the same place.
            if edited == line {
                edited.push(b' ');
            }
            lines[at] = edited;
            Done { kind: "edit line", first: index, named: true }
        }
    };
    (done, lines.concat())
}

// A log as a day leaves it: changes, every way in which a request ends, new keys, bodies that were erased.
async fn lived(kind: Kind) -> (Cluster, Vec<PublicKey>) {
    let cluster = Cluster::start(Shape { database: kind, control_planes: 1, replicas: 2 }).await;
    let key = cluster.key("dev").await;
    let sign = async || cluster.admin.audit().sign_checkpoint(SignCheckpointRequest {}).await.unwrap().into_inner();
    let first = PublicKey::try_from(sign().await.public_key).unwrap();
    let mut ended = 0;
    let settle = async |ended: usize| {
        until("every request to be in the log", || async {
            (cluster.admin.entries("action=request.*").await.len() >= ended).then_some(())
        })
        .await;
    };
    for turn in 0..12 {
        let url = &cluster.replicas[turn % 2].url;
        let settings: &[(&str, &str)] =
            [&[][..], &[("status", "429")], &[("cut", "2")], &[("status", "500")]][turn % 4];
        simulate(&cluster.http, url, &key, turn % 3 == 0, settings).await;
        ended += 1;
        if turn % 5 == 4 {
            settle(ended).await;
            sign().await;
        }
    }
    let denied = String::from_utf8(message("hello", false)).unwrap().replace("\"model\":\"", "\"model\":\"no\u{e9}");
    cluster.send(&key, denied.into_bytes()).await;
    ended += 1;
    for name in ["umbrella", "initech"] {
        let customer = Customer { name: name.into(), ..Customer::default() };
        cluster.admin.customers().create_customer(CreateCustomerRequest { customer: Some(customer) }).await.unwrap();
    }
    let rotated = cluster.admin.audit().rotate_key(RotateKeyRequest {}).await.unwrap().into_inner();
    let second = PublicKey::try_from(rotated.public_key).unwrap();
    for turn in 0..6 {
        simulate(&cluster.http, &cluster.replicas[turn % 2].url, &key, false, &[]).await;
        ended += 1;
    }
    settle(ended).await;
    let request = EraseEntriesRequest { filter: "action=customer.create".into(), reason: "tested".into() };
    let erased = cluster.admin.audit().erase_entries(request).await.unwrap().into_inner();
    assert!(erased.erased >= 2, "{erased:?}");
    for replica in &cluster.replicas {
        let path = replica.directory.join("audit-witness.jsonl");
        let kept = || async {
            let kept = fs::read_to_string(&path).unwrap_or_default();
            kept.lines().any(|line| line.starts_with("{\"link\"")).then_some(())
        };
        until("the replica to keep a link of its chain", kept).await;
    }
    // The newest checkpoint is told to the file within seconds.
    let size = {
        sign().await;
        let mut txn = cluster.control_planes[0].store.begin_read().await.unwrap();
        let size = txn.audit_length().await.unwrap();
        txn.end().await.unwrap();
        size.to_string()
    };
    until("the file to have the newest checkpoint", || async {
        let told = fs::read_to_string(cluster.directory().join(checkpoints::FILE)).unwrap_or_default();
        told.lines().last().is_some_and(|line| line.contains(&format!("\\n{size}\\n"))).then_some(())
    })
    .await;
    (cluster, vec![first, second])
}

async fn tampered_with(kind: Kind, seed: u64) {
    let (cluster, keys) = lived(kind).await;
    let store = cluster.control_planes[0].store.clone();
    let seen = Seen::read(&cluster, keys);
    let directory = tempfile::tempdir().unwrap();
    let mut files = Files { directory: directory.path().to_owned(), index: vec![], named: 0 };
    let mut random = Random(seed);
    let mut txn = store.begin().await.unwrap();
    let sound = exported(&mut txn, &store).await;
    let size = txn.audit_length().await.unwrap();
    txn.end().await.unwrap();
    let report = seen.verify(&sound).unwrap();
    assert!(report.entries > 35 && report.keys.len() == 2 && report.erased >= 2 && report.witnessed >= 3, "{report:?}");
    for turn in 0..TAMPERINGS {
        if turn % 2 == 0 {
            let mut txn = store.begin().await.unwrap();
            let done = in_the_database(&mut txn, &mut random, size).await;
            let file = exported(&mut txn, &store).await;
            txn.end().await.unwrap();
            files.add(&seen, &done, &file);
        } else {
            let (done, file) = in_the_file(&mut random, &sound);
            files.add(&seen, &done, &file);
        }
    }
    assert!(files.index.is_empty(), "every file was shown to the second verifier");
    // Nothing of it stayed.
    let mut txn = store.begin().await.unwrap();
    let after = exported(&mut txn, &store).await;
    txn.end().await.unwrap();
    assert!(after == sound || seen.verify(&after).is_ok());
    println!(
        "{TAMPERINGS} tamperings with {size} entries told, {} of them at the entry itself, the others before it",
        files.named
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_to_a_log_of_real_traffic_shows_over_sqlite() {
    tampered_with(Kind::Sqlite, 11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_to_a_log_of_real_traffic_shows_over_postgresql() {
    tampered_with(Kind::Postgres, 12).await;
}
