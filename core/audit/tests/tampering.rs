//! Whatever is done to an exported log shows, and nothing that is sound is called tampered.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

#[expect(clippy::disallowed_methods, reason = "the second verifier is a program, and reads files")]
#[path = "tampering/samples.rs"]
mod samples;

use std::{borrow::Cow, collections::HashMap};

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tollgate_audit::{
    Checkpoint, Entry, Facts, Finding, Frontier, Header, MacKey, Note, Outcome, Trust, Verifier,
    checkpoint::PublicKey,
    file::{Content, Head, Stored, seal, write_checkpoint, write_end},
    seal::{CHAIN_START, CONTROL_PLANE},
    tree::Hash,
    verify::{ChainLink, ERASED, FORGOTTEN, Fault, NEW_KEY, PRUNED, Report, Witness},
};

const LOG: [u8; 16] = [0xa1; 16];

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

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }
}

// A log that is written as control planes write it.
struct Writer {
    tree: Frontier,
    chains: HashMap<(String, u64), (u64, Hash)>,
    pairs: Vec<Ed25519KeyPair>,
    mac_keys: Vec<MacKey>,
    rows: Vec<Stored<'static>>,
    notes: Vec<(u64, String)>,
    frontiers: Vec<Frontier>,
    links: Vec<ChainLink>,
}

impl Writer {
    fn new() -> Self {
        Self {
            tree: Frontier::default(),
            chains: HashMap::new(),
            pairs: vec![Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap()],
            mac_keys: vec![MacKey::new(&[1; 32]).unwrap()],
            rows: vec![],
            notes: vec![],
            frontiers: vec![Frontier::default()],
            links: vec![],
        }
    }

    fn write(&mut self, writer: &str, incarnation: u64, action: &str, target: &str, detail: Value) {
        let index = self.tree.size() + 1;
        let time_ms = 1_764_000_000_000 + i64::try_from(index).unwrap();
        let detail = detail.as_object().unwrap().clone();
        let facts = Facts { initiator: "key/1", target, request_id: "req_1", detail, ..Facts::default() };
        let body = Entry::new(time_ms, action, Outcome::Allowed, facts).encode().unwrap();
        self.append(writer, incarnation, time_ms, action, body);
    }

    fn append(&mut self, writer: &str, incarnation: u64, time_ms: i64, action: &str, body: Vec<u8>) {
        let index = self.tree.size() + 1;
        let chain = self.chains.entry((writer.to_owned(), incarnation)).or_insert((0, CHAIN_START));
        let (sequence, previous) = (chain.0 + 1, chain.1);
        let key = self.mac_keys.last().unwrap();
        let header =
            Header { log: LOG, index, writer, incarnation, sequence, previous, time_ms, action, key: key.id() };
        let salt = [u8::try_from(index % 251).unwrap(); 16];
        let (stored, commitment) = seal(&header, Content::Body { salt, body: Cow::Owned(body) }, key).unwrap();
        let link = header.link(&commitment);
        *chain = (sequence, link);
        self.links.push(ChainLink { writer: writer.to_owned(), incarnation, sequence, link });
        self.tree.push(stored.leaf);
        self.frontiers.push(self.tree.clone());
        self.rows.push(stored);
    }

    fn checkpoint(&mut self) {
        let checkpoint = Checkpoint { log: LOG, size: self.tree.size(), root: self.tree.root(), time_ms: 1 };
        let text = checkpoint.text(self.mac_keys.last().unwrap());
        let pair = self.pairs.last().unwrap();
        let note = checkpoint.note(&text, &public(pair), pair.sign(text.as_bytes()).as_ref());
        self.notes.push((checkpoint.size, note));
    }

    // A new HMAC key and a new signing key, announced and signed under the old ones.
    fn rotate(&mut self) {
        let seed = u8::try_from(self.pairs.len() + 1).unwrap();
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let detail = json!({"public_key": hex::encode(public(&pair))});
        self.write(CONTROL_PLANE, 1, NEW_KEY, "audit/key", detail);
        self.checkpoint();
        self.mac_keys.push(MacKey::new(&[seed; 32]).unwrap());
        self.pairs.push(pair);
        self.write(CONTROL_PLANE, 1, "audit.use_key", "audit/key", json!({}));
    }

    // Entries of a replica that nobody has any more.
    fn forget(&mut self, replica: &str, incarnation: u64, count: u64) {
        let (sequence, link) = self.chains.get(&(replica.to_owned(), incarnation)).copied().unwrap_or((0, CHAIN_START));
        let detail =
            json!({"incarnation": incarnation, "from_sequence": sequence + 1, "to_sequence": sequence + count});
        self.write(CONTROL_PLANE, 1, FORGOTTEN, &format!("replica/{replica}"), detail);
        let lost = link.map(|byte| byte ^ 0x55);
        self.chains.insert((replica.to_owned(), incarnation), (sequence + count, lost));
    }

    fn lines(&self, first: usize) -> Vec<Vec<u8>> {
        let head = Head { log: LOG, start: self.frontiers[first - 1].clone(), key: self.key_at(first) };
        let mut lines = vec![head.write().unwrap()];
        for (at, row) in self.rows.iter().enumerate().skip(first - 1) {
            lines.push(row.write(&[]).unwrap());
            let size = u64::try_from(at + 1).unwrap();
            let notes = self.notes.iter().filter(|(of, _)| *of == size);
            lines.extend(notes.map(|(_, note)| write_checkpoint(note).unwrap()));
        }
        lines.pop();
        lines.push(write_end(&self.notes.last().unwrap().1).unwrap());
        lines.iter_mut().for_each(|line| assert_eq!(line.pop(), Some(b'\n')));
        lines
    }

    // A file of the first entries, whose end is signed as it was then.
    fn lines_through(&self, last: usize) -> Vec<Vec<u8>> {
        let Some(before) = last.checked_sub(1) else { return self.lines(1) };
        let rotations =
            self.rows[..before].iter().filter(|row| Header::decode(&row.header).unwrap().action == NEW_KEY).count();
        let (size, root) = (u64::try_from(last).unwrap(), self.frontiers[last].root());
        let checkpoint = Checkpoint { log: LOG, size, root, time_ms: 1 };
        let (text, pair) = (checkpoint.text(&self.mac_keys[rotations]), &self.pairs[rotations]);
        let note = checkpoint.note(&text, &public(pair), pair.sign(text.as_bytes()).as_ref());
        let mut lines = self.lines(1);
        let end = lines.iter().position(|line| line.starts_with(format!("{{\"index\":{},", size + 1).as_bytes()));
        lines.truncate(end.unwrap_or(lines.len() - 1));
        // Its checkpoint is the end, once: behind that of an announcement the next key signs.
        while lines.last().is_some_and(|line| line.starts_with(b"{\"checkpoint\"")) {
            lines.pop();
        }
        let mut end = write_end(&note).unwrap();
        end.pop();
        lines.push(end);
        lines
    }

    // The key that signs the first checkpoint over that entry.
    fn key_at(&self, first: usize) -> PublicKey {
        let rotations =
            self.rows[..first - 1].iter().filter(|row| Header::decode(&row.header).unwrap().action == NEW_KEY);
        public(&self.pairs[rotations.count()])
    }

    fn trust(&self) -> Trust {
        let public_keys = vec![public(&self.pairs[0])];
        Trust { public_keys, mac_keys: self.mac_keys.clone(), witnesses: vec![], partial: true }
    }

    // Whoever has all that is left of the log.
    fn strict(&self) -> Trust {
        Trust { partial: false, ..self.trust() }
    }

    fn declare_erased(&mut self, writer: &str, indexes: &[u64]) {
        self.write(writer, 1, ERASED, "audit/log", json!({"indexes": indexes, "reason": "asked for"}));
    }

    fn declare_pruned(&mut self, to: usize, root: Hash) {
        self.write(CONTROL_PLANE, 1, PRUNED, "audit/log", json!({"from": 1, "to": to, "root": hex::encode(root)}));
    }
}

fn public(pair: &Ed25519KeyPair) -> PublicKey {
    pair.public_key().as_ref().try_into().unwrap()
}

// A log of several writers, with rotations, lost entries and erased bodies, as chance has it.
fn grown(random: &mut Random, size: usize) -> Writer {
    let mut log = Writer::new();
    while log.rows.len() < size {
        match random.below(40) {
            0 => log.rotate(),
            1 => log.forget("replica-01", 1, 1 + random.next() % 5),
            2..=4 => log.checkpoint_if_any(),
            5..=9 => log.write(CONTROL_PLANE, 1, "key.create", "key/1", json!({"name": "say \"x\"\n"})),
            _ => {
                let replica = format!("replica-0{}", random.below(3));
                let run = 1 + random.next() % 2;
                log.write(&replica, run, "request.admit", "model/m", json!({"cost": random.next() % 1_000}));
            }
        }
    }
    log.checkpoint();
    log
}

impl Writer {
    fn checkpoint_if_any(&mut self) {
        if !self.rows.is_empty() {
            self.checkpoint();
        }
    }

    fn erase(&mut self, at: usize) {
        let row = &mut self.rows[at];
        row.content = Content::Erased(row.content.commitment());
    }
}

// Files that follow each other.
fn verify_all(files: &[Vec<Vec<u8>>], trust: Trust) -> Result<Report, Finding> {
    let mut verifier = Verifier::begin(&files[0][0], trust)?;
    for (at, lines) in files.iter().enumerate() {
        if at > 0 {
            verifier.go_on(&lines[0])?;
        }
        lines[1..].iter().try_for_each(|line| verifier.line(line))?;
    }
    verifier.finish()
}

fn verify(lines: &[Vec<u8>], trust: Trust) -> Result<Report, Finding> {
    let mut verifier = Verifier::begin(lines.first().map_or(&[][..], |line| line), trust)?;
    for line in lines.iter().skip(1) {
        verifier.line(line)?;
    }
    verifier.finish()
}

#[test]
fn sound_logs_are_sound() {
    let mut random = Random(1);
    for round in 0..1_000 {
        let size = 1 + random.below(120);
        let mut log = grown(&mut random, size);
        let size = log.rows.len();
        let announces = |row: &Stored<'_>| Header::decode(&row.header).unwrap().action.starts_with("audit.");
        let mut erased = vec![];
        for _ in 0..random.below(4) {
            let at = random.below(size);
            // What later entries are verified with is not erased.
            if !announces(&log.rows[at]) && Header::decode(&log.rows[at].header).unwrap().action != FORGOTTEN {
                log.erase(at);
                erased.push(u64::try_from(at).unwrap() + 1);
            }
        }
        let report = verify(&log.lines(1), log.trust()).unwrap_or_else(|found| panic!("round {round}: {found}"));
        assert_eq!((report.entries, report.macs), (u64::try_from(size).unwrap(), u64::try_from(size).unwrap()));
        assert!(report.pinned);
        // Without any key of one's own.
        assert!(!verify(&log.lines(1), Trust { partial: true, ..Trust::default() }).unwrap().pinned);
        // What is left when the beginning was pruned.
        let first = 1 + random.below(size);
        let report = verify(&log.lines(first), Trust { public_keys: vec![log.key_at(first)], ..log.trust() });
        assert_eq!(report.unwrap().first, u64::try_from(first).unwrap());
        // All that is left, when the log itself says what is gone.
        log.declare_erased(CONTROL_PLANE, &erased);
        log.declare_pruned(first - 1, log.frontiers[first - 1].root());
        log.checkpoint();
        let strict = Trust { public_keys: vec![log.key_at(first)], ..log.strict() };
        let report = verify(&log.lines(first), strict.clone()).unwrap_or_else(|found| panic!("round {round}: {found}"));
        assert_eq!((report.undeclared, report.pruned), (0, first > 1));
        // The beginning in one file, and the rest in the next.
        let whole = verify_all(&[log.lines_through(first - 1), log.lines(first)], log.strict());
        assert!(first == 1 || whole.unwrap().entries == u64::try_from(log.rows.len()).unwrap());
    }
}

#[test]
fn what_is_gone_without_a_word_shows() {
    let mut log = Writer::new();
    for _ in 0..6 {
        log.write("replica-01", 1, "request.admit", "model/m", json!({}));
        log.checkpoint();
    }
    let fault = |log: &Writer, first: usize| verify(&log.lines(first), log.strict()).unwrap_err();
    let root = log.frontiers[3].root();
    let cut = fault(&log, 4);
    assert!(cut.index == 1 && matches!(cut.fault, Fault::Truncated(_)), "{cut}");
    // By somebody who does not know what was there, or speaks of something else.
    for (to, root) in [(3, [7; 32]), (2, root), (4, root)] {
        let mut log = log.copy();
        log.declare_pruned(to, root);
        log.checkpoint();
        assert_eq!(fault(&log, 4).index, 1);
    }
    log.erase(2);
    assert_eq!(fault(&log, 1), Finding { index: 3, fault: Fault::Erased });
    // A replica does not speak of others' entries, and nobody of what comes later.
    log.declare_erased("replica-01", &[3]);
    log.declare_erased(CONTROL_PLANE, &[4]);
    log.erase(3);
    log.checkpoint();
    assert_eq!(fault(&log, 1), Finding { index: 3, fault: Fault::Erased });
    log.declare_erased(CONTROL_PLANE, &[3]);
    log.checkpoint();
    assert_eq!(verify(&log.lines(1), log.strict()).unwrap().undeclared, 0);
    // Of a part it is told, and no fault.
    log.erase(4);
    assert_eq!(verify(&log.lines(1), log.trust()).unwrap().undeclared, 1);
    // Files that do not follow each other.
    let files = |one: &[usize], other: usize| verify_all(&[log.lines_through(one[0]), log.lines(other)], log.trust());
    assert!(files(&[3], 4).is_ok());
    for (through, first) in [(3, 5), (3, 3), (3, 1)] {
        assert_eq!(files(&[through], first).unwrap_err().index, u64::try_from(through).unwrap() + 1);
    }
}

#[test]
fn whatever_is_done_to_a_file_shows_at_its_index_or_before() {
    let mut random = Random(2);
    let mut kinds: HashMap<&str, u32> = HashMap::new();
    for round in 0..200 {
        let size = 2 + random.below(60);
        let log = grown(&mut random, size);
        let clean = log.lines(1);
        for _ in 0..50 {
            let mut lines = clean.clone();
            let kind = tamper(&mut random, &mut lines);
            let first_changed = entries_before_first_difference(&clean, &lines) + 1;
            let Err(found) = verify(&lines, log.trust()) else {
                assert!(says_the_same(&clean, &lines), "round {round}: {kind} was not seen");
                continue;
            };
            assert!(
                found.index <= first_changed || entries(&clean).eq(entries(&lines)),
                "round {round}: {kind} before entry {first_changed} was told of entry {}: {found}",
                found.index
            );
            *kinds.entry(kind).or_default() += 1;
        }
    }
    assert!(kinds.values().sum::<u32>() > 9_000, "{kinds:?}");
    assert!(kinds.values().all(|count| *count > 500), "{kinds:?}");
}

fn entries_before_first_difference(clean: &[Vec<u8>], lines: &[Vec<u8>]) -> u64 {
    let same = entries(clean).zip(entries(lines)).take_while(|(one, other)| one == other).count();
    u64::try_from(same).unwrap()
}

// A checkpoint between others can be left out or repeated: the log is the same, and so is what is proved of it.
fn says_the_same(clean: &[Vec<u8>], lines: &[Vec<u8>]) -> bool {
    entries(clean).eq(entries(lines)) && clean.last() == lines.last() && lines.iter().all(|line| clean.contains(line))
}

fn entries(lines: &[Vec<u8>]) -> impl Iterator<Item = &Vec<u8>> {
    lines.iter().filter(|line| line.starts_with(b"{\"index\""))
}

fn tamper(random: &mut Random, lines: &mut Vec<Vec<u8>>) -> &'static str {
    let at = 1 + random.below(lines.len() - 1);
    match random.below(6) {
        0 => {
            let line = random.below(lines.len());
            let place = random.below(lines[line].len());
            let byte = &mut lines[line][place];
            let new = b'0' + u8::try_from(random.below(75)).unwrap();
            *byte = if *byte == new { b'!' } else { new };
            "edit"
        }
        1 => {
            lines.remove(at);
            "delete"
        }
        2 => {
            let other = 1 + random.below(lines.len() - 1);
            lines.swap(at, other);
            "swap"
        }
        3 => {
            let other = 1 + random.below(lines.len() - 1);
            let line = lines[other].clone();
            lines.insert(at, line);
            "insert"
        }
        4 => {
            lines.truncate(at);
            "truncate"
        }
        _ => {
            lines[at] = lines[1 + random.below(lines.len() - 1)].clone();
            "replace"
        }
    }
}

// Who writes to the database and knows no key makes every hash anew; who has lost the HMAC key cannot make a MAC.
#[test]
fn what_is_hashed_anew_shows_by_its_mac_and_by_the_next_checkpoint() {
    let mut random = Random(3);
    for _ in 0..300 {
        let log = grown(&mut random, 20);
        let at = random.below(log.rows.len());
        let mut forged = log.rows[at].clone();
        let (header, Content::Body { salt, body }) = (forged.header.clone(), forged.content.clone()) else { panic!() };
        let header = Header::decode(&header).unwrap();
        let body = String::from_utf8(body.into_owned()).unwrap().replace("key/1", "key/2").into_bytes();
        let thief = MacKey::new(&[99; 32]).unwrap();
        let content = Content::Body { salt, body: Cow::Owned(body) };
        (forged, _) = seal(&header, content, &thief).unwrap();
        let mut lines = log.lines(1);
        let line =
            lines.iter().position(|line| line.starts_with(format!("{{\"index\":{},", at + 1).as_bytes())).unwrap();
        lines[line] = forged.write(&[]).unwrap();
        lines[line].pop();
        let index = u64::try_from(at + 1).unwrap();
        assert_eq!(verify(&lines, log.trust()), Err(Finding { index, fault: Fault::Mac }));
        // Without the HMAC key: by the chain of its writer, or by the root that was signed.
        let found = verify(&lines, Trust { mac_keys: vec![], ..log.trust() }).unwrap_err();
        assert!(matches!(found.fault, Fault::Chain(..) | Fault::Root(_)), "{found}");
    }
}

// Who has the database and everything in it, and even the keys, cannot take back what was seen elsewhere.
#[test]
fn a_missing_tail_and_a_fork_show_to_whoever_kept_a_checkpoint_or_a_link() {
    let mut random = Random(4);
    for _ in 0..100 {
        let mut log = grown(&mut random, 30);
        let short = log.lines(1);
        log.write("replica-02", 9, "request.admit", "model/m", json!({}));
        log.write("replica-02", 9, "request.admit", "model/m", json!({}));
        log.checkpoint();
        let seen = Note::parse(&log.notes.last().unwrap().1).unwrap();
        let links: Vec<_> = log.links.iter().rev().take(2).cloned().map(Witness::Link).collect();
        let with = |witnesses| Trust { witnesses, ..log.trust() };

        let whole =
            verify(&log.lines(1), with([vec![Witness::Checkpoint(seen.clone())], links.clone()].concat())).unwrap();
        assert_eq!(whole.witnessed, 3);
        let found = verify(&short, with(vec![Witness::Checkpoint(seen.clone())])).unwrap_err();
        assert!(matches!(found.fault, Fault::Truncated(_)), "{found}");
        for link in links {
            let found = verify(&short, with(vec![link])).unwrap_err();
            assert!(matches!(found.fault, Fault::Truncated(_)), "{found}");
        }

        let mut fork = grown(&mut Random(random.next()), 30);
        while fork.rows.len() < log.rows.len() {
            fork.write("replica-02", 8, "request.admit", "model/other", json!({}));
        }
        fork.checkpoint();
        // Its keys are the same, of which it may have announced fewer.
        let keys = log.pairs.iter().map(public).collect();
        let given = Trust { public_keys: keys, ..with(vec![Witness::Checkpoint(seen)]) };
        let found = verify(&fork.lines(1), given).unwrap_err();
        assert!(matches!(found.fault, Fault::Witness(_)), "{found}");
    }
}

// A forged witness raises its own alarm, and is taken neither for a fork nor for a missing tail.
#[test]
fn a_witness_that_the_log_did_not_sign_is_not_believed() {
    let mut log = grown(&mut Random(5), 20);
    let thief = Ed25519KeyPair::from_seed_unchecked(&[99; 32]).unwrap();
    let note = |size, root, pair: &Ed25519KeyPair| {
        let checkpoint = Checkpoint { log: LOG, size, root, time_ms: 1 };
        let text = checkpoint.text(&log.mac_keys[0]);
        let note = checkpoint.note(&text, &public(pair), pair.sign(text.as_bytes()).as_ref());
        Witness::Checkpoint(Note::parse(&note).unwrap())
    };
    let size = log.tree.size();
    let foreign = |index| Err(Finding { index, fault: Fault::ForeignWitness });
    let ours = note(size, log.tree.root(), log.pairs.last().unwrap());
    let forged = [
        (note(size, log.tree.root(), &thief), size),
        (note(3, [1; 32], &thief), 3),
        (note(size + 5, [1; 32], &thief), size + 1),
    ];
    let longer = note(size + 5, [1; 32], log.pairs.last().unwrap());
    let truncated = |found: Finding| matches!(found.fault, Fault::Truncated(_));
    for (witness, index) in forged {
        let trust = Trust { witnesses: vec![ours.clone(), witness.clone()], ..log.trust() };
        assert_eq!(verify(&log.lines(1), trust.clone()), foreign(index));
        // What is wrong with the log itself comes first.
        let trust = Trust { witnesses: vec![longer.clone(), witness], ..trust };
        assert!(truncated(verify(&log.lines(1), trust.clone()).unwrap_err()));
        let mut cut = log.lines(1);
        cut.pop();
        assert!(truncated(verify(&cut, Trust { witnesses: trust.witnesses[1..].to_vec(), ..trust }).unwrap_err()));
    }
    // A key that the file announces signs over what was before it: known when the announcement is.
    let early = |log: &Writer, root| {
        let checkpoint = Checkpoint { log: LOG, size: 2, root, time_ms: 1 };
        let text = checkpoint.text(&log.mac_keys[0]);
        let pair = log.pairs.last().unwrap();
        let note = checkpoint.note(&text, &public(pair), pair.sign(text.as_bytes()).as_ref());
        Trust { witnesses: vec![Witness::Checkpoint(Note::parse(&note).unwrap())], ..log.trust() }
    };
    log.rotate();
    log.checkpoint();
    let found = verify(&log.lines(1), early(&log, [1; 32])).unwrap_err();
    assert!(found.index == 1 && matches!(found.fault, Fault::Witness(_)), "{found}");
    assert_eq!(verify(&log.lines(1), early(&log, log.frontiers[2].root())).unwrap().witnessed, 1);
}

#[test]
fn a_file_that_is_none_says_so() {
    for line in ["", "{}", "not json", r#"{"format":"tollgate-audit-9","log":"","first":1,"start":[],"key":""}"#] {
        let found = Verifier::begin(line.as_bytes(), Trust::default()).unwrap_err();
        assert!(found.index == 0 && matches!(found.fault, Fault::Line(_)), "{found}");
    }
}
