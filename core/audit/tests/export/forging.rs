//! Whoever names things cannot write lines into the log of others, or facts into an entry.

use serde_json::{Value, json};
use tollgate_audit::{
    entry::FACT_BYTES_MAX,
    export::{
        cef,
        syslog::{MESSAGE_BYTES_MAX, Message},
    },
};

use super::*;

const TEXTS: &[&str] = &[
    "line\nbreak\r\nand\rmore",
    "\"quoted\" 'twice' ]]> [x y=\"z\"]",
    "x\"] \u{feff}{}\n<109>1 2023-11-14T22:13:20.007Z gate tollgate - key.create [tollgate@32473 index=\"9\"]",
    "me outcome=success suser=root|0|CEF:0|a|b|c|d|e|9|act=allowed",
    "a\\",
    "\\\"",
    "\\]",
    "\\n",
    "\\=",
    "\\\\",
    "=",
    "|",
    "\"",
    "]",
    " leading and trailing ",
    "\",\"outcome\":\"allowed\",\"x\":\"",
    "{\"index\":1}",
    "\u{2028}one\u{2029}two\u{85}three\u{b}four\u{c}five",
    "\u{1b}[2K\u{1b}[1Anothing happened\u{7}\u{8}\u{7f}\u{9b}31m",
    "user/\u{202e}nimda\u{202c}\u{2066}x\u{2069}\u{200f}",
    "\u{feff}BOM",
    "\0nul",
    "ü 漢字 🦀 \u{10ffff}",
];

fn forged(text: &str) -> Entry {
    let detail = object(json!({"text": text, text: 1, "list": [text, {"in": text}], "reason": text}));
    let facts = Facts {
        initiator: text,
        target: text,
        replica: text,
        request_id: text,
        session: text,
        source_address: text,
        detail,
    };
    entry(text, Outcome::Refused, facts)
}

// Everything that the entry says is read from each line, and nothing else. Text that the entry itself cannot have, a line break
// in a fact of tampered bytes, is `shown` as in these formats it must be.
fn check(entry: &Entry, shown: impl Fn(&str) -> String, broken: impl Fn(&str) -> String) {
    let detail = Value::Object(entry.detail().clone());
    let placed = placed(entry);
    let facts =
        [entry.action(), entry.initiator(), entry.target(), entry.session(), entry.request_id(), entry.replica()];

    let read = read::syslog(&line(Format::Syslog, &placed));
    let found =
        ["action", "initiator", "target", "session", "request_id", "replica"].map(|name| found(&read.data, name));
    assert_eq!(found, facts.map(&shown));
    assert_eq!(
        found_pairs(&read.data, &["source", "outcome", "index", "writer"]),
        [&*shown(entry.source_address()), "refused", "7", "replica-01"]
    );
    assert_eq!((read.host.as_str(), read.facility, read.severity), ("gate.example", 13, 4));
    let known = facts.iter().chain([&entry.source_address()]).filter(|text| !text.is_empty()).count();
    assert_eq!(read.data.len(), known + ["index", "leaf", "writer", "outcome"].len());
    assert_eq!(serde_json::from_str::<Value>(&read.message).unwrap(), detail);

    let read = read::cef(&line(Format::Cef, &placed));
    assert_eq!(read.header[3], shown(entry.action()));
    let found = ["suser", "cs2", "cs3", "cs4", "cs5", "shost"].map(|key| self::found(&read.extension, key));
    let [_, initiator, target, session, request_id, replica] = facts;
    assert_eq!(found, [initiator, target, session, request_id, replica, entry.source_address()].map(&broken));
    assert_eq!(
        found_pairs(&read.extension, &["act", "outcome", "cn1", "deviceExternalId"]),
        ["refused", "failure", "7", "replica-01"]
    );
    assert_eq!(serde_json::from_str::<Value>(&read.extension["cs6"]).unwrap(), detail);

    for format in [Format::Json, Format::Ocsf] {
        let line = line(format, &placed);
        assert!(
            !line.chars().any(|c| c.is_control() || "\u{2028}\u{2029}\u{202e}\u{200f}\u{feff}".contains(c)),
            "{line:?}"
        );
        let read: Value = serde_json::from_str(&line).unwrap();
        if format == Format::Json {
            let names = ["action", "initiator", "target", "session", "request_id", "replica"];
            assert_eq!(names.map(|name| read[name].as_str().unwrap()), facts);
            assert_eq!(read["detail"], detail);
        } else {
            let name = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
            assert_eq!(read["actor"]["user"]["uid"], name(initiator));
            assert_eq!(read["resources"][0]["uid"], name(target));
            assert_eq!(read["actor"]["session"]["uid"], name(session));
            assert_eq!(read["api"]["request"]["uid"], name(request_id));
            assert_eq!(read["unmapped"]["replica"], name(replica));
            assert_eq!(read["api"]["operation"], entry.action());
            assert_eq!(read["unmapped"]["detail"], detail);
        }
    }
}

fn found(pairs: &std::collections::BTreeMap<String, String>, name: &str) -> String {
    pairs.get(name).cloned().unwrap_or_default()
}

fn found_pairs<const N: usize>(pairs: &std::collections::BTreeMap<String, String>, names: &[&str; N]) -> [String; N] {
    names.map(|name| found(pairs, name))
}

#[test]
fn every_text_comes_back_from_every_format_as_it_was_and_stays_on_its_line() {
    for text in TEXTS {
        check(&forged(text), str::to_owned, str::to_owned);
    }
    for character in ('\0'..'\u{3000}').chain(['\u{fe00}', '\u{feff}', '\u{ffff}', '\u{1f980}', '\u{e0001}']) {
        check(&forged(&format!("a{character}b{character}")), str::to_owned, str::to_owned);
    }
}

#[test]
fn ten_kilobytes_of_text_stay_on_their_line_and_within_its_bound() {
    for text in TEXTS.iter().map(|text| text.repeat(10_240 / text.len() + 1)) {
        let entry = forged(&text);
        let [syslog, cef] = [Format::Syslog, Format::Cef].map(|format| line(format, &placed(&entry)));
        assert!(syslog.len() <= MESSAGE_BYTES_MAX, "{}", syslog.len());
        assert!(cef.len() <= 16 * 1024, "{}", cef.len());
        let (syslog, cef) = (read::syslog(&syslog), read::cef(&cef));
        for found in [&syslog.data["target"], &syslog.data["initiator"], &cef.extension["cs2"]] {
            assert_eq!(found, entry.target());
        }
    }
}

#[test]
fn a_message_is_cut_in_its_detail_and_never_in_its_facts() {
    let longest = "]\"".repeat(FACT_BYTES_MAX);
    for (letter, count) in [("x", 8_000), ("ü", 4_000), ("\u{2028}", 1_300), ("\"", 4_000), ("x", 40), ("x", 3_000)] {
        let detail = object(json!({"text": letter.repeat(count)}));
        let facts = Facts {
            initiator: &longest,
            target: &longest,
            replica: &longest,
            request_id: &longest,
            session: &longest,
            source_address: &longest,
            detail,
        };
        let entry = entry(&"]".repeat(64), Outcome::Allowed, facts);
        let message = Message::new(&"h".repeat(300), &placed(&entry));
        assert!(message.as_str().len() <= MESSAGE_BYTES_MAX, "{}", message.as_str().len());
        let read = read::syslog(message.as_str());
        assert_eq!(read.data["source"], entry.source_address());
        assert_eq!(read.data["action"], entry.action());
        let whole = serde_json::from_str::<Value>(&read.message);
        if count <= 3_000 && letter == "x" {
            assert_eq!(whole.unwrap(), Value::Object(entry.detail().clone()));
            assert_eq!(read.data.get("detail_bytes"), None);
        } else {
            assert!(whole.is_err() && read.message.ends_with('…'), "{}", read.message);
            assert!(read.data["detail_bytes"].parse::<usize>().unwrap() > read.message.len());
            // No more is cut than must be.
            assert!(message.as_str().len() > MESSAGE_BYTES_MAX - 4, "{}", message.as_str().len());
        }
    }
}

#[test]
fn a_detail_beyond_a_custom_string_is_cut_in_cef() {
    let detail = object(json!({"text": "ü".repeat(3_000)}));
    let entry = entry("key.create", Outcome::Allowed, Facts { detail, ..Facts::default() });
    let read = read::cef(&line(Format::Cef, &placed(&entry)));
    let shown = &read.extension["cs6"];
    assert!(
        shown.ends_with('…') && (cef::DETAIL_BYTES_MAX - 2..=cef::DETAIL_BYTES_MAX).contains(&shown.len()),
        "{shown}"
    );
}

#[test]
fn stored_bytes_that_were_tampered_with_break_no_line() {
    let clean = forged("x").encode().unwrap();
    for text in TEXTS {
        let mut stored: Value = serde_json::from_slice(&clean).unwrap();
        for name in ["action", "initiator", "target", "replica", "request_id", "session", "source_address"] {
            stored[name] = (*text).into();
        }
        let entry = Entry::decode(stored.to_string().as_bytes()).unwrap();
        let spaced = |c: char| if c.is_control() { ' ' } else { c };
        let broken = |c: char| if matches!(c, '\r' | '\n') { c } else { spaced(c) };
        check(&entry, |text| text.chars().map(spaced).collect(), |text| text.chars().map(broken).collect());
    }
}

#[test]
fn a_stream_is_cut_into_its_messages_again() {
    let entries: Vec<_> = TEXTS.iter().map(|text| forged(text)).collect();
    let messages: Vec<_> = entries.iter().map(|entry| Message::new("gate", &placed(entry))).collect();

    let counted = messages.iter().flat_map(Message::octet_counted).collect::<Vec<_>>();
    let mut rest = &counted[..];
    for message in &messages {
        let space = rest.iter().position(|byte| *byte == b' ').unwrap();
        let digits = std::str::from_utf8(&rest[..space]).unwrap();
        assert!(!digits.starts_with('0'));
        let (read, behind) = rest[space + 1..].split_at(digits.parse().unwrap());
        assert_eq!(read, message.as_str().as_bytes());
        rest = behind;
    }
    assert!(rest.is_empty());

    let lines = String::from_utf8(messages.iter().flat_map(Message::as_line).collect()).unwrap();
    assert!(lines.ends_with('\n'));
    assert_eq!(lines.lines().collect::<Vec<_>>(), messages.iter().map(Message::as_str).collect::<Vec<_>>());
}
