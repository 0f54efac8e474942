use proptest::{collection::btree_map, prelude::*, sample::Index};
use serde_json::{Map, Value, json};

use super::*;
use crate::{
    Entry, Facts, Outcome,
    seal::{CONTROL_PLANE, SALT_BYTES},
};

const LOG: LogId = [0xa1; 16];
const HEADER: Header<'_> = Header {
    log: LOG,
    index: 7,
    writer: CONTROL_PLANE,
    incarnation: 2,
    sequence: 5,
    previous: [9; 32],
    time_ms: 1_700_000_000_000,
    action: "request.admit",
    key: [3; 8],
};

// As the line of any entry is made.
fn written(header: &Header<'_>, content: &Content<'_>, mac: &Hash, leaf: &Hash, differs: &str) -> Vec<u8> {
    let start = before_body(header, content, mac, leaf, differs).unwrap();
    [start.as_slice(), content.body(), b"}"].concat()
}

fn line_of(body: &[u8]) -> Vec<u8> {
    let content = Content::Body { salt: [4; SALT_BYTES], body: Cow::Borrowed(body) };
    written(&HEADER, &content, &[5; 32], &[6; 32], "")
}

// Whatever is read is what would be written, and what was found in the body on the way is what is in it.
fn is_exact(line: &[u8]) -> bool {
    let Some(entry) = EntryLine::read(LOG, line) else { return false };
    let EntryLine { header, content, mac, leaf, differs, told, commitment } = &entry;
    assert_eq!(written(header, content, mac, leaf, differs), line, "{}", String::from_utf8_lossy(line));
    assert_eq!(*commitment, content.commitment());
    if let Content::Body { body, .. } = content {
        assert!(serde_json::from_slice::<&RawValue>(body).is_ok());
        assert!(told.is_none() || *told == Told::read(body), "{}", String::from_utf8_lossy(body));
    }
    true
}

fn value() -> impl Strategy<Value = Value> {
    let one = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,24}".prop_map(Value::from),
        "[a-z ]{0,40}".prop_map(Value::from),
    ];
    one.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map(name(), inner, 0..6).prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{0,3}", "cache_[a-c]{0,12}", "\\PC{0,10}"]
}

prop_compose! {
    fn entry()(
        time_ms in any::<i64>(), texts in prop::array::uniform6(".{0,30}"), detail in btree_map(name(), value(), 0..8),
    ) -> Entry {
        let [initiator, target, replica, request_id, session, source_address] = &texts;
        let detail = Map::from_iter(detail);
        let facts = Facts { initiator, target, replica, request_id, session, source_address, detail };
        Entry::new(time_ms, "request.admit", Outcome::Allowed, facts)
    }
}

prop_compose! {
    fn header()(
        index in any::<u64>(), incarnation in any::<u64>(), sequence in any::<u64>(), first in any::<bool>(),
        previous in any::<Hash>(), time_ms in any::<i64>(), key in any::<[u8; 8]>(),
    ) -> Header<'static> {
        let previous = if first { CHAIN_START } else { previous };
        Header { index, incarnation, sequence, previous, time_ms, key, ..HEADER }
    }
}

// A few bytes are changed, taken out or repeated.
fn edited(line: &[u8], edits: &[(Index, Index, u8, u8)]) -> Vec<u8> {
    let mut line = line.to_vec();
    for (from, to, byte, kind) in edits {
        let (from, to) = (from.index(line.len()), to.index(line.len()));
        let near = to.clamp(from, from + 8).min(line.len());
        match kind % 5 {
            0 => line[from] = *byte,
            1 => line.insert(from, *byte),
            2 => drop(line.drain(from..near)),
            3 => {
                let again = line[from..near].to_vec();
                line.splice(from..from, again);
            }
            _ => line.swap(from, to),
        }
        if line.is_empty() {
            break;
        }
    }
    line
}

fn edits() -> impl Strategy<Value = Vec<(Index, Index, u8, u8)>> {
    // What JSON is made of more often than other bytes.
    let byte = prop_oneof![any::<u8>(), prop::sample::select(br#"{}[]",:\ 0123456789-.eutfnab"#.to_vec()),];
    prop::collection::vec((any::<Index>(), any::<Index>(), byte, any::<u8>()), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_is_read(
        header in header(), entry in entry(), mac in any::<Hash>(), leaf in any::<Hash>(), erased in any::<bool>(),
        differs in prop_oneof![Just(""), Just("target time")],
    ) {
        let body = entry.encode().unwrap();
        let content = Content::Body { salt: [4; SALT_BYTES], body: Cow::Owned(body) };
        let content = if erased { Content::Erased(content.commitment()) } else { content };
        let line = written(&header, &content, &mac, &leaf, differs);
        prop_assert!(is_exact(&line));
        let read = EntryLine::read(LOG, &line).unwrap();
        prop_assert_eq!((read.header, read.content, read.mac, read.leaf, read.differs), (header, content, mac, leaf, differs));
    }

    #[test]
    fn whatever_is_read_is_what_would_be_written(entry in entry(), edits in edits()) {
        is_exact(&edited(&line_of(&entry.encode().unwrap()), &edits));
    }

    // Most edits to a whole line are to its hashes.
    #[test]
    fn whatever_is_read_of_a_body_is_in_it(entry in entry(), edits in edits()) {
        is_exact(&line_of(&edited(&entry.encode().unwrap(), &edits)));
    }
}

#[test]
fn what_replicas_write_is_read_in_one_pass() {
    let detail = json!({
        "status": 200, "cost_nano_usd": 45_000_000, "streamed": true, "user_agent": "claude-cli/2 (\"x\", ü)",
        "price": {"input": 3_000_000_000_u64, "long_context": {"input": 6, "threshold": 200_000}, "model": "m"},
        "limits": [{"owner": "team-1", "amount": 600}, {}], "budgets": [], "parent": null, "refund": -5,
    });
    let facts = Facts { detail: detail.as_object().unwrap().clone(), session: "a\\b", ..Facts::default() };
    let body = Entry::new(-7, "request.admit", Outcome::Allowed, facts).encode().unwrap();
    let told = Told { time_ms: -7, action: b"request.admit" };
    assert_eq!(Reading::new(&[4; SALT_BYTES], &body).told(&body), Some(told));
    assert!(is_exact(&line_of(&body)));
}

#[test]
fn what_is_not_told_at_once_is_told_or_refused_at_length() {
    let of = |detail: &str| {
        let texts = r#""outcome":"allowed","initiator":"","target":"","replica":"","request_id":"","session":"","source_address":"""#;
        format!(r#"{{"time_ms":5,"action":"a",{texts},"detail":{detail}}}"#).into_bytes()
    };
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    let rows = [
        (r#"{"a":1,"b":2}"#, true, true),
        (r#"{"b":1,"a":2}"#, false, true),
        (r#"{"a":1.5}"#, false, true),
        (r#"{"a":1e3}"#, false, true),
        (r#"{"a":18446744073709551615}"#, false, true),
        (r#"{"a": 1}"#, false, true),
        (r#"{"a":"\u00e9"}"#, false, true),
        (r#"{"\u0061":1,"b":1}"#, false, true),
        (&deep, false, true),
        (r#"{"a":1,"a":2}"#, false, false),
        (r#"{"a":1,"\u0061":2}"#, false, false),
        (r#"{"aaaaaaaaa":1,"aaaaaaaaa":2}"#, false, false),
        (r#"{"a":{"x":[{"y":1,"y":2}]}}"#, false, false),
        (r#"{"":1,"":2}"#, false, false),
        (r#"{"a":01}"#, false, false),
        (r#"{"a":-}"#, false, false),
        (r#"{"a":tru}"#, false, false),
        (r#"{"a":"\x"}"#, false, false),
        (r#"{"a":"\ud800"}"#, false, false),
        (r#"{"a":1,}"#, false, false),
        (r#"{"a":1}}"#, false, false),
        ("{\"a\":\"\u{1}\"}", false, false),
        ("{\"a\":\"\u{1f}\",\"b\":\"and more\"}", false, false),
        ("{\"a\":\"x\n\",\"b\":\"and more\"}", false, false),
        ("{\"a\":\" \u{7f}ü\",\"b\":\"and more\"}", true, true),
    ];
    for (detail, at_once, at_length) in rows {
        let body = of(detail);
        let told = Some(Told { time_ms: 5, action: b"a" });
        let expected = |is_told: bool| told.filter(|_| is_told);
        assert_eq!(Reading::new(&[4; SALT_BYTES], &body).told(&body), expected(at_once), "{detail}");
        assert_eq!(Told::read(&body), expected(at_length), "{detail}");
    }
    let mut body = of(r#"{"a":"x"}"#);
    let at = body.len() - 4;
    body[at] = 0xff;
    assert_eq!(Reading::new(&[4; SALT_BYTES], &body).told(&body), None);
    assert_eq!(Told::read(&body), None);
}

#[test]
fn a_line_in_another_writing_is_none() {
    let line = String::from_utf8(line_of(br#"{"a":1}"#)).unwrap();
    assert!(is_exact(line.as_bytes()));
    let (leaf, none) = (hex::encode([6; 32]), "0".repeat(64));
    let rows = [
        ("\"index\":7", "\"index\":07".to_owned()),
        ("\"index\":7", "\"index\":+7".to_owned()),
        ("\"index\":7", "\"index\":18446744073709551616".to_owned()),
        ("\"time_ms\":1", "\"time_ms\":-01".to_owned()),
        ("\"time_ms\":1700000000000", "\"time_ms\":-0".to_owned()),
        ("\"time_ms\":1700000000000", "\"time_ms\":9223372036854775808".to_owned()),
        (&leaf, leaf.replace('6', "g")),
        (&leaf, leaf.replace("0606", "060")),
        (&hex::encode([9; 32]), none),
        ("request.admit", "request\\u002eadmit".to_owned()),
        ("\"body\":", "\"differs\":\"\",\"body\":".to_owned()),
        ("{\"a\":1}", "null".to_owned()),
        ("{\"a\":1}", "{\"a\":1} ".to_owned()),
        ("{\"a\":1}", "{\"a\":1},\"body\":{}".to_owned()),
        ("\"salt\"", "\"commitment\"".to_owned()),
    ];
    for (from, to) in rows {
        let other = line.replace(from, &to);
        assert_ne!(line, other, "{to}");
        assert!(EntryLine::read(LOG, other.as_bytes()).is_none(), "{to}");
    }
    let upper = hex::encode([0xab; 32]);
    let content = Content::Erased([0xab; 32]);
    let line = String::from_utf8(written(&HEADER, &content, &[5; 32], &[6; 32], "time")).unwrap();
    assert!(is_exact(line.as_bytes()));
    assert!(EntryLine::read(LOG, line.replace(&upper, &upper.to_uppercase()).as_bytes()).is_none());
    // The least and the greatest number have one writing too.
    let least = Header { time_ms: i64::MIN, index: u64::MAX, ..HEADER };
    assert!(is_exact(&written(&least, &content, &[5; 32], &[6; 32], "")));
}
