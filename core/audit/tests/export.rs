//! Exported entries, read back by strict readers of each format.

#![expect(clippy::unwrap_used, reason = "a test")]

#[cfg(test)]
#[path = "export/read.rs"]
mod read;
#[cfg(test)]
#[path = "export/golden.rs"]
mod golden;
#[cfg(test)]
#[path = "export/forging.rs"]
mod forging;
#[cfg(test)]
#[path = "export/schema.rs"]
mod schema;

use serde_json::{Map, Value};
use tollgate_audit::{
    Entry, Facts, Format, Outcome, Placed,
    export::Told,
    seal::{CONTROL_PLANE, Header},
};

const LEAF: [u8; 32] = [0xab; 32];
const TIME_MS: i64 = 1_700_000_000_007;

fn placed(entry: &Entry) -> Placed<'_> {
    Placed { index: 7, writer: "replica-01", leaf: LEAF, told: Told::Entry(entry) }
}

const fn erased(action: &str) -> Placed<'_> {
    Placed { index: 8, writer: CONTROL_PLANE, leaf: LEAF, told: Told::Erased { time_ms: TIME_MS, action } }
}

fn entry(action: &str, outcome: Outcome, facts: Facts<'_>) -> Entry {
    Entry::new(TIME_MS, action, outcome, facts)
}

fn line(format: Format, placed: &Placed<'_>) -> String {
    String::from_utf8(format.record("gate.example", placed).unwrap()).unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn formats_have_the_words_that_are_typed() {
    let words: Vec<_> = Format::ALL.into_iter().map(Format::word).collect();
    assert_eq!(words, ["json", "jsonl", "syslog", "cef", "ocsf"]);
    for format in Format::ALL {
        assert_eq!(Format::of_word(format.word()), Some(format));
        // JSON Lines are stored bytes, which nothing here has.
        assert_eq!(format.record("h", &erased("key.create")).is_none(), format == Format::JsonLines);
    }
    assert_eq!(Format::of_word("CEF"), None);
}

#[test]
fn an_entry_takes_its_place_from_its_header() {
    let header = Header {
        log: [1; 16],
        index: 42,
        writer: "replica-09",
        incarnation: 3,
        sequence: 5,
        previous: [0; 32],
        time_ms: TIME_MS,
        action: "key.revoke",
        key: [2; 8],
    };
    let entry = entry("key.revoke", Outcome::Allowed, Facts::default());
    let (whole, erased) = (Placed::new(&header, LEAF, Some(&entry)), Placed::new(&header, LEAF, None));
    for placed in [whole, erased] {
        let Placed { index, writer, leaf, told: _ } = placed;
        assert_eq!((index, writer, leaf), (42, "replica-09", LEAF));
        assert_eq!((placed.time_ms(), placed.action()), (TIME_MS, "key.revoke"));
    }
    assert!(whole.entry().is_some() && erased.entry().is_none());
}
