//! The audit log, as a file and as a proof.

use std::{
    fs,
    io::{self, Write},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Ran, fake::Fake, sealed::Sealed, tollgate, tollgate_with};
use crate::{Surroundings, run};

async fn offline(line: &[&str], stdin: &str) -> Ran {
    tollgate_with(&[("TOLLGATE_SERVER", "http://127.0.0.1:1")], line, stdin).await
}

fn kept(directory: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = directory.path().join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn sealed(entries: usize) -> Sealed {
    let mut log = Sealed::new();
    for at in 1..=entries {
        log.write("request.refuse");
        if at == 2 {
            log.checkpoint();
        }
    }
    log.checkpoint();
    log
}

#[tokio::test]
async fn a_sound_log_verifies_with_every_kind_of_key_and_witness() {
    let (log, directory) = (sealed(5), tempfile::tempdir().unwrap());
    let file = kept(&directory, "log", log.export());
    let key = hex::encode(log.public_key());
    let raw = kept(&directory, "raw", super::sealed::MAC_KEY);
    let digits = kept(&directory, "digits", hex::encode(super::sealed::MAC_KEY) + "\n");
    let earlier = kept(&directory, "earlier", sealed(2).export());
    let plain = offline(&["audit", "verify", &file], "").await;
    assert_eq!(plain.code, 0, "{}{}", plain.stdout, plain.stderr);
    assert!(
        plain.stdout.contains("5, from 1 to 5") && plain.stderr.contains(&format!("--key {key}")),
        "{}",
        plain.stderr
    );
    for mac in [&raw, &digits] {
        let line =
            ["audit", "verify", &file, "--key", &key, "--hmac-key-file", mac, "--checkpoint", &earlier, "-o", "json"];
        let ran = offline(&line, "").await;
        let report = ran.json();
        assert_eq!((ran.code, &report["sound"], &report["pinned"]), (0, &json!(true), &json!(true)), "{}", ran.stderr);
        assert_eq!((&report["macs_checked"], &report["witnessed"], &report["last"]), (&json!(5), &json!(1), &json!(5)));
        assert_eq!(ran.stderr, "");
    }
    let piped = offline(&["audit", "verify", "-"], &log.export()).await;
    assert!(piped.code == 0 && piped.stdout.contains("standard input"), "{}", piped.stderr);
}

#[tokio::test]
async fn whatever_byte_of_a_log_is_changed_or_missing_it_is_tampered() {
    let log = sealed(3);
    let (text, key) = (log.export(), hex::encode(log.public_key()));
    let mut checked = 0;
    for at in (0..text.len()).step_by(7) {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        let ran = offline(&["audit", "verify", "-", "--key", &key], &changed).await;
        // The digit of the version says that it is another format.
        let expect = if ran.stderr.contains("a format that this version does not read") { 2 } else { 1 };
        assert_eq!(ran.code, expect, "byte {at}: {}{}", ran.stdout, ran.stderr);
        checked += 1;
    }
    assert!(checked > 200, "{checked}");
    // A brace alone could be the beginning of anything.
    for length in (2..text.len()).step_by(11).chain([text.len() - 1]) {
        let ran = offline(&["audit", "verify", "-", "--key", &key], &text[..length]).await;
        assert_eq!(ran.code, 1, "{length} bytes: {}{}", ran.stdout, ran.stderr);
    }
}

#[tokio::test]
async fn the_first_bad_entry_is_named() {
    let log = sealed(5);
    let text = log.export();
    let lines: Vec<_> = text.lines().collect();
    let without = |gone: usize| {
        let kept = lines.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, line)| format!("{line}\n"));
        kept.collect::<String>()
    };
    let changed = text.replacen("\"request_id\":\"req_4\"", "\"request_id\":\"req_5\"", 1);
    let long = format!("{}\n{}\n", lines[0], "x".repeat(70_000));
    for (text, index, says) in [
        (changed, 4, "its content is not what its leaf hash covers"),
        (without(4), 3, "entry 4 stands in its place"),
        (without(0), 0, "the first line"),
        (without(lines.len() - 1), 6, "does not end with a checkpoint"),
        (long, 1, "longer than any line"),
        (format!("{text}{{}}\n"), 6, "stands behind the end"),
    ] {
        let ran = offline(&["audit", "verify", "-", "-o", "json"], &text).await;
        let report = ran.json();
        assert_eq!((ran.code, &report["sound"], &report["index"]), (1, &json!(false), &json!(index)), "{report}");
        assert!(ran.stderr.contains(says) && ran.stderr.contains("is not sound"), "{says}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn a_shorter_log_does_not_verify_beside_what_was_seen_before() {
    let directory = tempfile::tempdir().unwrap();
    let (short, long) = (sealed(3), sealed(5));
    let file = kept(&directory, "log", short.export());
    let note = serde_json::to_string(&json!({"checkpoint": sealed(5).checkpoint()})).unwrap();
    for seen in [kept(&directory, "export", long.export()), kept(&directory, "witness", note + "\n")] {
        let ran = offline(&["audit", "verify", &file, "--checkpoint", &seen], "").await;
        assert!(ran.code == 1 && ran.stderr.contains("the log had 5 entries"), "{}", ran.stderr);
    }
    let other = hex::encode([3; 32]);
    let ran = offline(&["audit", "verify", &file, "--key", &other], "").await;
    assert!(ran.code == 1 && ran.stderr.contains("not one of yours"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_witness_that_the_log_did_not_sign_is_told_of_a_log_and_of_a_proof() {
    let (log, directory) = (sealed(5), tempfile::tempdir().unwrap());
    let note = sealed(5).checkpoint();
    let (text, signature) = note.rsplit_once(' ').unwrap();
    let changed = if signature.contains('Q') { signature.replace('Q', "R") } else { signature.replace('g', "h") };
    assert_ne!(signature, changed);
    let forged = kept(&directory, "note", format!("{text} {changed}"));
    let file = kept(&directory, "log", log.export());
    let proof = offline(&["audit", "prove", "4", "--file", &file], "").await.stdout;
    for file in [file, kept(&directory, "proof", proof)] {
        let ran = offline(&["audit", "verify", &file, "--checkpoint", &forged], "").await;
        assert!(ran.code == 1 && ran.stderr.contains("a key that is not the log's"), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn what_is_no_log_is_unreadable() {
    let directory = tempfile::tempdir().unwrap();
    let file = kept(&directory, "log", sealed(1).export());
    let text = kept(&directory, "text", "hello\nworld\n");
    let document = kept(&directory, "document", "{\n  \"a\": 1\n}\n");
    let later = kept(&directory, "later", sealed(1).export().replacen("tollgate-audit-1", "tollgate-audit-2", 1));
    let empty = kept(&directory, "empty", "");
    for line in [
        vec!["audit", "verify", "/no/such"],
        vec!["audit", "verify", &text],
        vec!["audit", "verify", &document],
        vec!["audit", "verify", &later],
        vec!["audit", "verify", &empty],
        vec!["audit", "verify", &file, "--checkpoint", &text],
        vec!["audit", "verify", &file, "--hmac-key-file", &empty],
        vec!["audit", "verify", &file, "--key", "abc"],
        vec!["audit", "verify"],
        vec!["audit", "prove", "1", "--file", "/no/such"],
    ] {
        let ran = offline(&line, "").await;
        assert!(
            ran.code == 2 && ran.stdout.is_empty() && !ran.stderr.is_empty(),
            "{line:?}: {} {}",
            ran.code,
            ran.stderr
        );
    }
}

#[tokio::test]
async fn a_sealed_export_is_whole_or_not_there() {
    let (fake, directory) = (Fake::start().await, tempfile::tempdir().unwrap());
    fake.audit("request.refuse", 7);
    let path = directory.path().join("log");
    let file = path.to_str().unwrap();
    let ran = tollgate(&fake, &["audit", "export", "--format", "jsonl", "--file", file, "-o", "json"], "").await;
    assert_eq!((ran.code, ran.json()["entries"].clone()), (0, json!(7)), "{}", ran.stderr);
    assert_eq!(offline(&["audit", "verify", file, "--key", &fake.audit_key()], "").await.code, 0);
    let whole = fs::read_to_string(&path).unwrap();
    assert_eq!(tollgate(&fake, &["audit", "export"], "").await.stdout, whole);
    fake.cut_exports();
    let ran = tollgate(&fake, &["audit", "export", "--file", file], "").await;
    assert!(ran.code == 1 && ran.stderr.contains("log.partial"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    assert_eq!(tollgate(&fake, &["audit", "export"], "").await.code, 1);
    let ran = tollgate(&fake, &["audit", "export", "--action", "key.*"], "").await;
    assert!(
        ran.code == 2 && ran.stderr.contains("cannot prove") && ran.stderr.contains("--format json"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn other_forms_come_oldest_first_filtered_or_not() {
    let fake = Fake::start().await;
    fake.audit("request.refuse", 4);
    fake.audit("key.create", 8);
    let indexes = |ran: &Ran| {
        let entries = ran.json();
        let indexes = entries.as_array().unwrap().iter().map(|entry| entry["index"].as_u64().unwrap());
        indexes.collect::<Vec<_>>()
    };
    let export =
        async |more: &[&str]| tollgate(&fake, &[&["audit", "export", "--format", "json"], more].concat(), "").await;
    assert_eq!(indexes(&export(&[]).await), (1..=12).collect::<Vec<_>>());
    assert_eq!(indexes(&export(&["--from-index", "10"]).await), [10, 11, 12]);
    assert_eq!(indexes(&export(&["--action", "key.*"]).await), (5..=12).collect::<Vec<_>>());
    assert_eq!(indexes(&export(&["--action", "key.*", "--from-index", "9"]).await), [9, 10, 11, 12]);
    assert_eq!(export(&["--action", "team.*"]).await.stdout, "[]\n");
    // What is written meanwhile does not come into the way.
    fake.grow_while_listed(1);
    assert_eq!(indexes(&export(&["--action", "key.create"]).await), (5..=12).collect::<Vec<_>>());
    fake.grow_while_listed(0);
    for (form, begins) in [("syslog", "<"), ("cef", "CEF:0|"), ("ocsf", "{")] {
        for more in [&[][..], &["--action", "request.*"]] {
            let ran = tollgate(&fake, &[&["audit", "export", "--format", form], more].concat(), "").await;
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            assert!(
                ran.stdout.lines().count() >= 4 && ran.stdout.lines().all(|line| line.starts_with(begins)),
                "{form}"
            );
        }
    }
    // A record says the same whichever way it came.
    let (streamed, listed) = (export(&[]).await.json(), export(&["--action", "*"]).await.json());
    for (one, other) in streamed.as_array().unwrap().iter().zip(listed.as_array().unwrap()) {
        assert_eq!(
            (&one["leaf"], &one["detail"], &one["outcome"]),
            (&other["leaf"], &other["detail"], &other["outcome"])
        );
    }
}

#[tokio::test]
async fn a_proof_is_checked_before_it_is_printed_and_by_whoever_gets_it() {
    let (fake, directory) = (Fake::start().await, tempfile::tempdir().unwrap());
    fake.audit("request.refuse", 6);
    let key = fake.audit_key();
    let proof = tollgate(&fake, &["audit", "prove", "4", "--key", &key], "").await;
    assert_eq!((proof.code, proof.json()["index"].clone()), (0, json!(4)), "{}", proof.stderr);
    let log = kept(&directory, "log", tollgate(&fake, &["audit", "export"], "").await.stdout);
    let of_file = offline(&["audit", "prove", "4", "--file", &log], "").await;
    assert_eq!(of_file.json(), proof.json(), "{}", of_file.stderr);
    for stdin in [proof.stdout.clone(), serde_json::to_string(&proof.json()).unwrap()] {
        let ran = offline(&["audit", "verify", "-", "--key", &key, "-o", "json"], &stdin).await;
        assert_eq!(
            (ran.code, &ran.json()["sound"], &ran.json()["entry"]["request_id"]),
            (0, &json!(true), &json!("req_4"))
        );
    }
    let changed = proof.stdout.replacen("req_4", "req_5", 1);
    let ran = offline(&["audit", "verify", "-", "--key", &key], &changed).await;
    assert!(ran.code == 1 && ran.stderr.contains("entry 4"), "{}", ran.stderr);
    let missing = offline(&["audit", "prove", "7", "--file", &log], "").await;
    assert!(missing.code == 1 && missing.stderr.contains("1 to 6"), "{}", missing.stderr);
    assert_eq!(tollgate(&fake, &["audit", "prove", "9"], "").await.code, 1);
    assert_eq!(tollgate(&fake, &["audit", "prove", "4", "--key", &"33".repeat(32)], "").await.code, 1);
    fake.forge_proofs();
    let forged = tollgate(&fake, &["audit", "prove", "4"], "").await;
    assert!(
        forged.code == 1 && forged.stdout.is_empty() && forged.stderr.contains("does not hold"),
        "{}",
        forged.stderr
    );
}

#[tokio::test]
async fn a_checkpoint_is_checked_and_is_a_witness_later() {
    let (fake, directory) = (Fake::start().await, tempfile::tempdir().unwrap());
    fake.audit("request.refuse", 3);
    let path = directory.path().join("note");
    let file = path.to_str().unwrap();
    let signed = tollgate(&fake, &["audit", "checkpoint", "--file", file, "-o", "json"], "").await;
    assert_eq!((signed.code, signed.json()["size"].clone()), (0, json!(3)), "{}", signed.stderr);
    assert_eq!(signed.json()["checkpoint"], Value::String(fs::read_to_string(&path).unwrap()));
    fake.audit("request.refuse", 2);
    let document = kept(&directory, "document", &signed.stdout);
    let log = kept(&directory, "log", tollgate(&fake, &["audit", "export"], "").await.stdout);
    let line = ["audit", "verify", &log, "--checkpoint", file, "--checkpoint", &document, "-o", "json"];
    assert_eq!(offline(&line, "").await.json()["witnessed"], json!(2));
    assert_eq!(tollgate(&fake, &["audit", "checkpoint", "--key", &"33".repeat(32)], "").await.code, 1);
    fake.forge_proofs();
    assert_eq!(tollgate(&fake, &["audit", "checkpoint"], "").await.code, 1);
    let rotated = tollgate(&fake, &["audit", "rotate-key", "-o", "json"], "").await;
    assert_eq!(rotated.json()["key"]["key"], "08".repeat(32));
    assert!(rotated.stderr.contains(&format!("--key {}", "08".repeat(32))), "{}", rotated.stderr);
}

#[tokio::test]
async fn a_request_is_explained() {
    let fake = Fake::start().await;
    fake.audit("request.refuse", 3);
    let ran = tollgate(&fake, &["audit", "explain", "req_2"], "").await;
    assert!(
        ran.stdout.starts_with("refused because of model_not_allowed, by revision 9"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    let document = tollgate(&fake, &["audit", "explain", "req_2", "-o", "json"], "").await.json();
    assert_eq!((&document["entries"][0]["index"], &document["request_id"]), (&json!(2), &json!("req_2")));
    let ran = tollgate(&fake, &["audit", "explain", "req_9"], "").await;
    assert!(ran.code == 1 && ran.stderr.contains("req_9") && ran.stderr.contains("hint"), "{}", ran.stderr);
}

/// A reader that leaves after so many lines.
struct Reader {
    lines: usize,
    taken: Vec<u8>,
}

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.taken.iter().filter(|byte| **byte == b'\n').count() >= self.lines {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.taken.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_tail_follows_without_missing_or_repeating_and_ends_with_its_reader() {
    let fake = Fake::start().await;
    fake.audit("key.create", 20);
    let once = tollgate(&fake, &["audit", "tail", "-n", "5"], "").await;
    let firsts: Vec<_> = once.stdout.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!((once.code, firsts), (0, ["16", "17", "18", "19", "20"].map(str::to_owned).to_vec()), "{}", once.stderr);
    // Several pages come between two looks, and more while they are read.
    fake.grow_while_listed(5);
    let mut reader = Reader { lines: 40, taken: vec![] };
    let mut surroundings = Surroundings {
        environment: [
            ("TOLLGATE_SERVER".to_owned(), fake.address()),
            ("TOLLGATE_TOKEN".to_owned(), super::fake::TOKEN.to_owned()),
        ]
        .into(),
        stdin: &mut io::empty(),
        stdout: &mut reader,
        stderr: &mut io::sink(),
        now: "2026-03-01T12:00:00Z".parse().unwrap(),
    };
    let line = ["tollgate", "audit", "tail", "--follow", "-n", "2", "-o", "json"].map(std::ffi::OsString::from);
    assert_eq!(run(line, &mut surroundings).await, 0);
    let text = String::from_utf8(reader.taken).unwrap();
    let indexes: Vec<i64> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["index"].as_i64().unwrap()).collect();
    let expect: Vec<i64> = (indexes[0]..).take(40).collect();
    assert_eq!(indexes, expect);
}
