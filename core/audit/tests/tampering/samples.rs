//! Files for the second verifier, tests/audit/verify.py, which must say of each what this one says.

use std::{
    borrow::Cow,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};
use tollgate_audit::{
    Checkpoint, Finding, Frontier, MacKey, Note, Trust,
    checkpoint::PublicKey,
    file::{Content, Head, seal, write_broken, write_checkpoint, write_end},
    seal::{CONTROL_PLANE, Header},
    verify::{ChainLink, FORGOTTEN, Fault, NEW_KEY, Report, Witness},
};

use crate::{
    LOG, Random, Writer, entries, entries_before_first_difference, grown, public, says_the_same, tamper, verify,
};

const LOGS: usize = 150;
const EDITS: usize = 40;

// What whoever asks brings along.
#[derive(Clone, Default)]
struct Given {
    keys: Vec<PublicKey>,
    mac_keys: Vec<[u8; 32]>,
    notes: Vec<String>,
    links: Vec<ChainLink>,
    // All that is left of the log is given.
    strict: bool,
}

// A file, whoever asks about it, and whether it may be called sound; `None` where either may be right.
struct Sample {
    kind: &'static str,
    lines: Vec<Vec<u8>>,
    given: Given,
    sound: Option<bool>,
    first_changed: Option<u64>,
}

struct Samples {
    directory: PathBuf,
    index: Vec<Value>,
}

impl Given {
    fn of(log: &Writer) -> Self {
        let mac_keys = (1..).take(log.mac_keys.len()).map(|seed| [seed; 32]).collect();
        Self { keys: vec![public(&log.pairs[0])], mac_keys, ..Self::default() }
    }

    fn trust(&self) -> Trust {
        let notes = self.notes.iter().map(|note| Witness::Checkpoint(Note::parse(note).unwrap()));
        Trust {
            public_keys: self.keys.clone(),
            mac_keys: self.mac_keys.iter().map(|key| MacKey::new(key).unwrap()).collect(),
            witnesses: notes.chain(self.links.iter().cloned().map(Witness::Link)).collect(),
            partial: !self.strict,
        }
    }
}

impl Samples {
    fn add(&mut self, sample: Sample) {
        let Sample { kind, lines, given, sound, first_changed } = sample;
        let found = verify(&lines, given.trust());
        assert!(sound.is_none_or(|sound| sound == found.is_ok()), "{kind}: {found:?}");
        let (verdict, index) = verdict(&found);
        let file = format!("{:05}.jsonl", self.index.len());
        let text: Vec<u8> = lines.into_iter().flat_map(|line| [line, vec![b'\n']].concat()).collect();
        fs::write(self.directory.join(&file), text).unwrap();
        let Given { keys, mac_keys, notes, links, strict } = given;
        let witnesses = notes.iter().enumerate().map(|(at, note)| match at % 3 {
            0 => note.clone(),
            1 => String::from_utf8(write_checkpoint(note).unwrap()).unwrap(),
            _ => String::from_utf8(write_end(note).unwrap()).unwrap(),
        });
        let links = links.iter().map(|link| format!("{}\n", json!({"link": link})));
        self.index.push(json!({
            "file": file, "kind": kind, "first_changed": first_changed, "verdict": verdict, "index": index,
            "fault": found.err().map(|found| found.fault.to_string()),
            "keys": keys.iter().map(hex::encode).collect::<Vec<_>>(),
            "mac_keys": mac_keys.iter().map(hex::encode).collect::<Vec<_>>(),
            "partial": !strict,
            "witnesses": witnesses.chain(links).collect::<String>(),
        }));
    }
}

fn verdict(found: &Result<Report, Finding>) -> (&'static str, Option<u64>) {
    match found {
        Ok(_) => ("sound", None),
        Err(Finding { index: 0, fault: Fault::Line(_) }) => ("unreadable", Some(0)),
        Err(found) => ("tampered", Some(found.index)),
    }
}

#[test]
fn a_second_verifier_says_the_same_of_every_file() {
    // Whoever names a directory keeps the files.
    let kept = env::var_os("AUDIT_SAMPLES").map(PathBuf::from);
    let directory = kept.clone().unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("audit-samples"));
    fs::create_dir_all(&directory).unwrap();
    // A run that failed left its index, which must not be taken for this one's.
    drop(fs::remove_file(directory.join("index.jsonl")));
    let mut samples = Samples { directory: directory.clone(), index: vec![] };
    let mut random = Random(7);
    for round in 0..LOGS {
        let size = 2 + random.below(if round % 10 == 0 { 100 } else { 20 });
        let log = grown(&mut random, size);
        clean(&mut random, &log).into_iter().for_each(|sample| samples.add(sample));
        for _ in 0..EDITS {
            samples.add(edited(&mut random, &log));
        }
        for make in CUNNING {
            make(&mut random, log.copy()).into_iter().for_each(|sample| samples.add(sample));
        }
    }
    let index: Vec<_> = samples.index.iter().map(|sample| format!("{sample}\n")).collect();
    fs::write(directory.join("index.jsonl"), index.concat()).unwrap();

    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/audit/run");
    let ran = Command::new(program).arg(&directory).stdin(Stdio::null()).output();
    let ran = ran.expect("tests/audit/run needs bash and python3: run scripts/install python");
    let (said, wrong) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    println!("{said}");
    assert!(ran.status.success(), "the two verifiers disagree, or one could not run:\n{said}\n{wrong}");
    if kept.is_none() {
        fs::remove_dir_all(directory).unwrap();
    }
}

impl Writer {
    pub(crate) fn copy(&self) -> Self {
        let seeds = || (1..).take(self.pairs.len());
        Self {
            tree: self.tree.clone(),
            chains: self.chains.clone(),
            pairs: seeds().map(|seed| Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()).collect(),
            mac_keys: self.mac_keys.clone(),
            rows: self.rows.clone(),
            notes: self.notes.clone(),
            frontiers: self.frontiers.clone(),
            links: self.links.clone(),
        }
    }

    fn admit(&mut self, replica: &str) {
        self.write(replica, 1, "request.admit", "model/m", json!({}));
    }

    // One more entry whose body is this, sealed as it should be.
    fn sealed(&mut self, writer: &str, action: &str, body: &str) {
        self.append(writer, 1, 5, action, body.as_bytes().to_vec());
        self.checkpoint();
    }

    // A checkpoint over everything, made with other keys.
    fn note_by(&self, mac_key: &MacKey, named: &Ed25519KeyPair, signer: &Ed25519KeyPair) -> String {
        let checkpoint = Checkpoint { log: LOG, size: self.tree.size(), root: self.tree.root(), time_ms: 1 };
        let text = checkpoint.text(mac_key);
        checkpoint.note(&text, &public(named), signer.sign(text.as_bytes()).as_ref())
    }

    fn with_end(&self, note: &str) -> Vec<Vec<u8>> {
        let mut lines = self.lines(1);
        *lines.last_mut().unwrap() = unbroken(write_end(note).unwrap());
        lines
    }
}

fn unbroken(mut line: Vec<u8>) -> Vec<u8> {
    assert_eq!(line.pop(), Some(b'\n'));
    line
}

fn sample(kind: &'static str, sound: bool, lines: Vec<Vec<u8>>, given: Given) -> Sample {
    Sample { kind, lines, given, sound: Some(sound), first_changed: None }
}

// One sound log, as those see it who have one thing or another.
fn clean(random: &mut Random, log: &Writer) -> Vec<Sample> {
    let given = Given::of(log);
    let first = 1 + random.below(log.rows.len());
    let later = Given { keys: vec![log.key_at(first)], ..given.clone() };
    let notes: Vec<_> = (0..3).map(|_| log.notes[random.below(log.notes.len())].1.clone()).collect();
    let links: Vec<_> = (0..3).map(|_| log.links[random.below(log.links.len())].clone()).collect();
    let seen = |given: &Given| Given { notes: notes.clone(), links: links.clone(), ..given.clone() };
    let (size, note) = log.notes[random.below(log.notes.len())].clone();
    let mut shorter = log.lines(1);
    let end = shorter.iter().position(|line| line.starts_with(format!("{{\"index\":{},", size + 1).as_bytes()));
    shorter.truncate(end.unwrap_or(shorter.len() - 1));
    // Its checkpoint becomes the end.
    while shorter.last().is_some_and(|line| line.starts_with(b"{\"checkpoint\"")) {
        shorter.pop();
    }
    shorter.push(unbroken(write_end(&note).unwrap()));
    let mut erased = log.copy();
    for at in 0..log.rows.len() {
        let action = Header::decode(&log.rows[at].header).unwrap().action;
        if random.below(4) == 0 && ![FORGOTTEN, NEW_KEY].contains(&action) {
            erased.erase(at);
        }
    }
    vec![
        sample("whole", true, log.lines(1), given.clone()),
        sample("whole, without keys", true, log.lines(1), Given::default()),
        sample("whole, witnessed", true, log.lines(1), seen(&given)),
        sample("erased", true, erased.lines(1), seen(&given)),
        sample("pruned", true, log.lines(first), later.clone()),
        sample("pruned, witnessed", true, log.lines(first), seen(&later)),
        // Nobody can know that it was longer.
        sample("shorter", true, shorter, given),
    ]
}

fn edited(random: &mut Random, log: &Writer) -> Sample {
    let clean = log.lines(1);
    let mut lines = clean.clone();
    let kind = tamper(random, &mut lines);
    let sound = if says_the_same(&clean, &lines) { None } else { Some(false) };
    let same = entries(&clean).eq(entries(&lines));
    let first_changed = (!same).then(|| entries_before_first_difference(&clean, &lines) + 1);
    Sample { kind, lines, given: Given::of(log), sound, first_changed }
}

// What no chance edit does.
const CUNNING: [fn(&mut Random, Writer) -> Vec<Sample>; 10] = [
    hashed_anew,
    written_otherwise,
    signed_otherwise,
    declared_otherwise,
    sealed_otherwise,
    witnessed_otherwise,
    witnessed_by_others,
    begun_otherwise,
    gone,
    at_the_limits,
];

// By somebody who has no key, in the stored rows or in the file.
fn hashed_anew(random: &mut Random, mut log: Writer) -> Vec<Sample> {
    let (at, given) = (random.below(log.rows.len()), Given::of(&log));
    let public_only = Given { mac_keys: vec![], ..given.clone() };
    let mut erased = log.copy();
    let all: Vec<_> = (0..log.rows.len()).collect();
    all.into_iter().for_each(|at| erased.erase(at));
    let bytes = log.rows[at].header.clone();
    let header = Header::decode(&bytes).unwrap();
    let sealed = match log.rows[at].content.clone() {
        Content::Body { salt, body } => Some((salt, body)),
        Content::Erased(_) => None,
    };
    let (salt, body) = sealed.unwrap();
    let body = String::from_utf8(body.into_owned()).unwrap().replace("key/1", "key/2").into_bytes();
    let content = Content::Body { salt, body: Cow::Owned(body) };
    let thief = MacKey::new(&[99; 32]).unwrap();
    let own = Header { key: thief.id(), ..header };
    let forged = [
        ("under the key's name", seal(&header, content.clone(), &thief)),
        ("under its own name", seal(&own, content, &thief)),
    ];
    let mut made = vec![];
    for (kind, forged) in forged {
        log.rows[at] = forged.unwrap().0;
        made.push(sample(kind, false, log.lines(1), given.clone()));
        made.push(sample(kind, false, log.lines(1), public_only.clone()));
    }
    // Without the bodies nobody knows which keys were announced, and what was declared lost.
    made.push(Sample { sound: None, ..sample("all erased", true, erased.lines(1), given) });
    made
}

// The same content in another writing: two readers must not be able to read two things.
fn written_otherwise(random: &mut Random, log: Writer) -> Vec<Sample> {
    let clean = log.lines(1);
    let at = 1 + random.below(clean.len() - 2);
    let line = String::from_utf8(clean[at].clone()).unwrap();
    let entry = clean.iter().position(|line| line.starts_with(b"{\"index\":1,")).unwrap();
    let first = String::from_utf8(clean[entry].clone()).unwrap();
    let end = String::from_utf8(clean.last().unwrap().clone()).unwrap();
    let head = String::from_utf8(clean[0].clone()).unwrap();
    let values: Vec<_> =
        serde_json::from_str::<Value>(&first).unwrap().as_object().unwrap().values().cloned().collect();
    let (before_leaf, rest) = first.split_once("\"leaf\"").unwrap();
    let (leaf, rest) = rest.split_once(',').unwrap();
    let index = before_leaf.trim_start_matches('{');
    let Some(Content::Body { salt, .. }) = log.rows.first().map(|row| &row.content) else { return vec![] };
    let salt = format!("\"salt\":\"{}\"", hex::encode(salt));
    let commitment = format!("\"commitment\":\"{}\"", hex::encode(log.rows[0].content.commitment()));
    let others = [
        ("space", at, line.replacen('{', "{ ", 1)),
        ("space at the end", at, format!("{line} ")),
        ("return", at, format!("{line}\r")),
        ("space before the body", entry, first.replace("\"body\":", "\"body\": ")),
        ("space behind the body", entry, format!("{} }}", first.strip_suffix('}').unwrap())),
        ("reordered", entry, format!("{{\"leaf\"{leaf},{index}{rest}")),
        ("explicit start", entry, first.replace("\"previous\":\"\"", &format!("\"previous\":\"{}\"", "0".repeat(64)))),
        ("explicit none", entry, first.replace(",\"body\":", ",\"commitment\":null,\"body\":")),
        ("no difference", entry, first.replace(",\"body\":", ",\"differs\":\"\",\"body\":")),
        ("difference", entry, first.replace(",\"body\":", ",\"differs\":\"target time\",\"body\":")),
        ("unknown member", entry, first.replace(",\"body\":", ",\"more\":1,\"body\":")),
        ("second member", entry, first.replace(",\"body\":", ",\"body\":{},\"body\":")),
        ("leading zero", entry, first.replace("\"sequence\":1,", "\"sequence\":01,")),
        ("fraction", entry, first.replace("\"sequence\":1,", "\"sequence\":1.0,")),
        ("another index", entry, first.replacen("{\"index\":1,", "{\"index\":2,", 1)),
        ("a commitment beside the body", entry, first.replace(&salt, &commitment)),
        ("another leaf", entry, first.replace(&hex::encode(log.rows[0].leaf), &"0".repeat(64))),
        ("another mac", entry, first.replace(&hex::encode(log.rows[0].mac), &"0".repeat(64))),
        ("array", entry, Value::from(values).to_string()),
        ("escaped", clean.len() - 1, end.replacen("tollgate", "\\u0074ollgate", 1)),
        ("no last break", clean.len() - 1, format!("{}\"}}", end.strip_suffix("\\n\"}").unwrap())),
        ("space in the first line", 0, head.replacen(':', ": ", 1)),
        ("broken", entry, String::from_utf8(unbroken(write_broken(1, "its header").unwrap())).unwrap()),
        ("broken elsewhere", entry, String::from_utf8(unbroken(write_broken(9, "its header").unwrap())).unwrap()),
        ("nothing", entry, String::new()),
    ];
    let made = others.into_iter().map(|(kind, at, line)| {
        assert!(line.as_bytes() != clean[at], "{kind} changes nothing");
        let mut lines = clean.clone();
        lines[at] = line.into_bytes();
        sample(kind, false, lines, Given::of(&log))
    });
    let behind = [("an end behind the end", clean.len() - 1), ("an entry behind the end", entry)].map(|(kind, at)| {
        let lines = [clean.as_slice(), &[clean[at].clone()]].concat();
        sample(kind, false, lines, Given::of(&log))
    });
    made.chain(behind).collect()
}

fn signed_otherwise(_: &mut Random, mut log: Writer) -> Vec<Sample> {
    let thief = Ed25519KeyPair::from_seed_unchecked(&[99; 32]).unwrap();
    let (mac_key, other) = (log.mac_keys.last().unwrap().clone(), MacKey::new(&[99; 32]).unwrap());
    let own = log.pairs.last().unwrap();
    let good = log.notes.last().unwrap().1.clone();
    let twice = good.lines().last().unwrap().to_owned();
    let given = Given::of(&log);
    let notes = [
        ("another signer", log.note_by(&mac_key, &thief, &thief)),
        ("another signer under our name", log.note_by(&mac_key, own, &thief)),
        ("our signature under another name", log.note_by(&mac_key, &thief, own)),
        ("another MAC", log.note_by(&other, own, own)),
        ("two signatures", format!("{good}{twice}\n")),
        ("a foreign signature", format!("{good}— witness.example AAAA\n")),
        ("an empty signature", format!("{good}\n")),
        ("no signature", format!("{}\n\n", good.split_once("\n\n").unwrap().0)),
        ("a signature of another key's name", good.replace(twice.get(twice.len() - 92..).unwrap(), &"A".repeat(92))),
        ("no note", "none".into()),
    ];
    let notes = notes.into_iter().map(|(kind, note)| sample(kind, false, log.with_end(&note), given.clone()));
    let mut made: Vec<_> = notes.collect();
    // Who has no HMAC key does not see what another made of it.
    let public_only = Given { mac_keys: vec![], ..given.clone() };
    made.push(sample("another MAC, unseen", true, log.with_end(&log.note_by(&other, own, own)), public_only));
    made.push(sample("another key is pinned", false, log.lines(1), Given { keys: vec![[9; 32]], ..given.clone() }));
    // A key that a replica announces is none.
    let detail = json!({"public_key": hex::encode(public(&thief))});
    log.write("replica-00", 1, NEW_KEY, "audit/key", detail);
    log.checkpoint();
    log.admit("replica-00");
    log.pairs.push(thief);
    log.checkpoint();
    made.push(sample("announced by a replica", false, log.lines(1), given));
    made
}

// Losses that are declared where there is none, or otherwise than they are.
fn declared_otherwise(random: &mut Random, log: Writer) -> Vec<Sample> {
    let declare = |log: &mut Writer, by: &str, replica: &str, from: u64, to: u64| {
        let detail = json!({"incarnation": 1, "from_sequence": from, "to_sequence": to});
        log.write(by, 1, FORGOTTEN, &format!("replica/{replica}"), detail);
    };
    let skip = |log: &mut Writer, to: u64| {
        log.chains.insert(("replica-09".into(), 1), (to, [5; 32]));
        log.admit("replica-09");
        log.checkpoint();
    };
    let lost = 2 + random.next() % 9;
    let rows = [
        ("declared from later", CONTROL_PLANE, vec![(4, 9)], 9, false),
        ("declared from nothing", CONTROL_PLANE, vec![(0, lost)], lost, false),
        ("declared less", CONTROL_PLANE, vec![(1, lost)], lost + 1, false),
        ("declared more", CONTROL_PLANE, vec![(1, lost)], lost - 1, false),
        ("declared backwards", CONTROL_PLANE, vec![(1, 10), (11, 7)], 7, false),
        ("declared by a replica", "replica-00", vec![(1, lost)], lost, false),
        ("declared without end", CONTROL_PLANE, vec![(1, u64::MAX)], 3, false),
        ("declared twice", CONTROL_PLANE, vec![(1, lost), (lost + 1, lost + 3)], lost + 3, true),
        ("declared before it begins", CONTROL_PLANE, vec![(1, lost)], lost, true),
    ];
    let made = rows.into_iter().map(|(kind, by, declared, to, sound)| {
        let mut log = log.copy();
        declared.into_iter().for_each(|(from, to)| declare(&mut log, by, "replica-09", from, to));
        skip(&mut log, to);
        sample(kind, sound, log.lines(1), Given::of(&log))
    });
    made.collect()
}

// Bodies that no writer makes, under a seal that is right.
fn sealed_otherwise(_: &mut Random, log: Writer) -> Vec<Sample> {
    let nested = |depth| {
        format!(r#"{{"time_ms":5,"action":"a","x":"{{[","detail":{}{}}}"#, "[".repeat(depth), "]".repeat(depth))
    };
    let (deep, deeper, deepest) = (nested(126), nested(127), nested(5_000));
    let bodies = [
        ("another action", r#"{"time_ms":5,"action":"b"}"#),
        ("another time", r#"{"time_ms":6,"action":"a"}"#),
        ("time as text", r#"{"time_ms":"5","action":"a"}"#),
        ("time as a fraction", r#"{"time_ms":5.0,"action":"a"}"#),
        ("no time", r#"{"action":"a"}"#),
        ("two actions", r#"{"time_ms":5,"action":"a","action":"a"}"#),
        ("two targets", r#"{"time_ms":5,"action":"a","target":"x","target":"y"}"#),
        ("two details", r#"{"time_ms":5,"action":"a","detail":{"x":[{"y":1,"y":2}]}}"#),
        ("an escaped action", r#"{"time_ms":5,"\u0061ction":"b","action":"a"}"#),
        ("an array", r#"[5,"a"]"#),
        ("a text", r#""a""#),
        ("a space before it", r#" {"time_ms":5,"action":"a"}"#),
        ("a space behind it", r#"{"time_ms":5,"action":"a"} "#),
        ("nested too deep by one", deeper.as_str()),
        ("nested too deep by far", deepest.as_str()),
    ];
    let mut sound = log.copy();
    sound.sealed("replica-00", "a", &deep);
    let made = bodies.into_iter().map(|(kind, body)| {
        let mut log = log.copy();
        log.sealed("replica-00", "a", body);
        sample(kind, false, log.lines(1), Given::of(&log))
    });
    made.chain([sample("nested as deep as may be", true, sound.lines(1), Given::of(&sound))]).collect()
}

fn witnessed_otherwise(random: &mut Random, mut log: Writer) -> Vec<Sample> {
    let (short, given) = (log.lines(1), Given::of(&log));
    let link = log.links[random.below(log.links.len())].clone();
    let other = ChainLink { link: [7; 32], ..link.clone() };
    let links = |links: &[&ChainLink]| Given { links: links.iter().copied().cloned().collect(), ..given.clone() };
    let unwritten = ChainLink { sequence: link.sequence + 1_000, ..link.clone() };
    let mut made = vec![
        sample("another link", false, short.clone(), links(&[&other])),
        sample("two links", false, short.clone(), links(&[&link, &other])),
        sample("a link that is not there", false, short.clone(), links(&[&unwritten])),
    ];
    log.forget("replica-09", 1, 4);
    log.admit("replica-09");
    log.checkpoint();
    // What was acknowledged is declared lost.
    let lost = ChainLink { writer: "replica-09".into(), incarnation: 1, sequence: 2, link: [7; 32] };
    made.push(sample("a link that was declared lost", false, log.lines(1), links(&[&lost])));
    let declaration = log.rows.len() - 1;
    let later = Given { keys: vec![log.key_at(declaration)], ..links(&[&lost]) };
    made.push(sample("a link that was declared lost, pruned", false, log.lines(declaration), later));
    let last = log.notes.last().unwrap().1.clone();
    made.push(sample("longer once", false, short, Given { notes: vec![last], ..given.clone() }));
    let foreign = Checkpoint { log: [0xee; 16], size: 1, root: [1; 32], time_ms: 1 };
    let forked = Checkpoint { log: LOG, size: 1, root: [1; 32], time_ms: 1 };
    for (kind, checkpoint) in [("another log", foreign), ("forked", forked)] {
        let text = checkpoint.text(&log.mac_keys[0]);
        let note = checkpoint.note(&text, &public(&log.pairs[0]), log.pairs[0].sign(text.as_bytes()).as_ref());
        made.push(sample(kind, false, log.lines(1), Given { notes: vec![note], ..given.clone() }));
    }
    made
}

// Checkpoints that somebody kept, and that the log did not sign; or that a key signed which is not the file's first.
fn witnessed_by_others(_: &mut Random, mut log: Writer) -> Vec<Sample> {
    let given = Given::of(&log);
    let with =
        |given: &Given, notes: &[&String]| Given { notes: notes.iter().copied().cloned().collect(), ..given.clone() };
    let thief = Ed25519KeyPair::from_seed_unchecked(&[99; 32]).unwrap();
    let mac_key = log.mac_keys[0].clone();
    let seen = log.notes.last().unwrap().1.clone();
    let whole = log.lines(1);
    let by = |size, root, pair: &Ed25519KeyPair| {
        let checkpoint = Checkpoint { log: LOG, size, root, time_ms: 1 };
        let text = checkpoint.text(&mac_key);
        checkpoint.note(&text, &public(pair), pair.sign(text.as_bytes()).as_ref())
    };
    let (size, root) = (log.tree.size(), log.tree.root());
    let (true_one, forked, longer) = (by(size, root, &thief), by(1, [1; 32], &thief), by(size + 9, [1; 32], &thief));
    let named = log.note_by(&mac_key, &log.pairs[0], &thief);
    let cosigned = format!("{seen}— witness.example AAAA\n");
    let behind = format!("{seen}{}", "— witness.example AAAA\n".repeat(7));
    let buried = format!(
        "{}\n\n{}{}",
        seen.split_once("\n\n").unwrap().0,
        "— witness.example AAAA\n".repeat(8),
        seen.split_once("\n\n").unwrap().1
    );
    let both = Given { keys: vec![public(&log.pairs[0]), public(&thief)], ..given.clone() };
    let mut cut = whole.clone();
    cut.pop();
    let mut made = vec![
        sample("a stranger's witness", false, whole.clone(), with(&given, &[&true_one])),
        sample("a stranger's witness, without keys", false, whole.clone(), with(&Given::default(), &[&true_one])),
        sample("a stranger's witness of a fork", false, whole.clone(), with(&given, &[&forked])),
        sample("a stranger's witness of more", false, whole.clone(), with(&given, &[&longer, &seen])),
        sample("a stranger's witness of a cut file", false, cut, with(&given, &[&forked, &longer])),
        sample("a stranger's witness under our name", false, whole.clone(), with(&given, &[&seen, &named])),
        sample("a witness by another key of yours", true, whole.clone(), with(&both, &[&true_one])),
        sample("a cosigned witness", true, whole.clone(), with(&given, &[&cosigned, &behind])),
        sample("a witness with too many signatures", false, whole, with(&given, &[&buried])),
    ];
    // From here on another key signs, which the file announces on its way.
    log.rotate();
    let (announced, root) = log.notes.last().unwrap().clone();
    log.checkpoint();
    let later = log.notes.last().unwrap().1.clone();
    let first = usize::try_from(announced).unwrap() + 1;
    let (old, new) = (public(&log.pairs[log.pairs.len() - 2]), public(log.pairs.last().unwrap()));
    let of_new = Given { keys: vec![new], ..Given::of(&log) };
    let of_both = Given { keys: vec![new, old], ..of_new.clone() };
    let forked = by(announced, [1; 32], &log.pairs[log.pairs.len() - 2]);
    let early = by(1, [1; 32], log.pairs.last().unwrap());
    let right = by(1, log.frontiers[1].root(), log.pairs.last().unwrap());
    let rest = log.lines(first);
    made.extend([
        sample("a witness by a later key", true, log.lines(1), with(&Given::of(&log), &[&later, &right])),
        sample("a fork by a later key", false, log.lines(1), with(&Given::of(&log), &[&early])),
        sample("a witness by the key before the file", true, rest.clone(), with(&of_new, &[&root, &later])),
        sample("a witness by the key before the file, known", true, rest.clone(), with(&of_both, &[&root])),
        sample("a fork before the file that nobody can know", true, rest.clone(), with(&of_new, &[&forked])),
        sample("a fork before the file, known", false, rest, with(&of_both, &[&forked])),
    ]);
    made
}

// First lines that say something else of what is not in the file.
fn begun_otherwise(random: &mut Random, log: Writer) -> Vec<Sample> {
    let first = 2 + random.below(log.rows.len() - 1);
    let start = &log.frontiers[first - 1];
    let lines = log.lines(first);
    let given = Given { keys: vec![log.key_at(first)], ..Given::of(&log) };
    let mut roots = start.roots().to_vec();
    roots[0][0] ^= 1;
    let later = &log.frontiers[first];
    let others = [
        ("another start", Frontier::new(start.size(), roots).unwrap(), LOG),
        ("a start elsewhere", later.clone(), LOG),
        ("no start", Frontier::default(), LOG),
        ("of another log", start.clone(), [0xee; 16]),
    ];
    let made = others.into_iter().map(|(kind, start, id)| {
        let mut lines = lines.clone();
        lines[0] = unbroken(Head { log: id, start, key: log.key_at(first) }.write().unwrap());
        sample(kind, false, lines, given.clone())
    });
    made.collect()
}

// What is gone, with a word and without.
fn gone(random: &mut Random, mut log: Writer) -> Vec<Sample> {
    let strict = Given { strict: true, ..Given::of(&log) };
    let (size, first) = (log.rows.len(), 2 + random.below(log.rows.len() - 1));
    let is_needed = |at: usize| [FORGOTTEN, NEW_KEY].contains(&Header::decode(&log.rows[at].header).unwrap().action);
    let erased: Vec<usize> = (0..size).filter(|at| !is_needed(*at) && at % 3 == 0).collect();
    let indexes: Vec<u64> = erased.iter().map(|at| u64::try_from(*at).unwrap() + 1).collect();
    erased.iter().for_each(|at| log.erase(*at));
    let later = |given: &Given, log: &Writer| Given { keys: vec![log.key_at(first)], ..given.clone() };
    let root = log.frontiers[first - 1].root();
    let mut made = vec![
        sample("cut off in front", false, log.lines(first), later(&strict, &log)),
        sample("a part", true, log.lines(first), later(&Given::of(&log), &log)),
    ];
    if !erased.is_empty() {
        made.push(sample("erased by nobody", false, log.lines(1), strict.clone()));
        let mut by_replica = log.copy();
        by_replica.declare_erased("replica-01", &indexes);
        by_replica.checkpoint();
        made.push(sample("erased by a replica", false, by_replica.lines(1), strict.clone()));
    }
    let mut forged = log.copy();
    forged.declare_erased(CONTROL_PLANE, &indexes);
    forged.declare_pruned(first - 1, [9; 32]);
    forged.checkpoint();
    log.declare_erased(CONTROL_PLANE, &indexes);
    log.declare_pruned(first - 1, root);
    log.checkpoint();
    made.extend([
        sample("erased with a word", true, log.lines(1), strict.clone()),
        sample("pruned with a word", true, log.lines(first), later(&strict, &log)),
        sample("pruned with a forged word", false, forged.lines(first), later(&strict, &log)),
    ]);
    made
}

// Numbers behind which there is none.
fn at_the_limits(_: &mut Random, log: Writer) -> Vec<Sample> {
    let first = log.rows.len() + 1;
    let given = Given { keys: vec![log.key_at(first)], ..Given::of(&log) };
    let mut last = log.copy();
    last.chains.insert(("replica-07".into(), 1), (u64::MAX - 1, [1; 32]));
    last.admit("replica-07");
    let mut behind = last.copy();
    last.checkpoint();
    behind.chains.insert(("replica-07".into(), 1), (4, [1; 32]));
    behind.admit("replica-07");
    behind.checkpoint();
    let mut full = last.lines(first);
    let start = Frontier::new(u64::MAX - 1, vec![[1; 32]; 63]).unwrap();
    full[0] = unbroken(Head { log: LOG, start, key: given.keys[0] }.write().unwrap());
    vec![
        sample("the last sequence", true, last.lines(first), given.clone()),
        sample("behind the last sequence", false, behind.lines(first), given.clone()),
        sample("the last index", false, full, given),
    ]
}
