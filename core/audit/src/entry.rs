//! One entry of the log. Its limits hold by construction, so that nobody can fill the log with one request.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The longest action, in bytes.
pub const ACTION_BYTES_MAX: usize = 64;
/// The longest initiator, target, replica, request id, session or source address, in bytes.
pub const FACT_BYTES_MAX: usize = 256;
/// The longest detail, encoded, in bytes: a page of 1,000 entries stays within 8 MiB.
pub const DETAIL_BYTES_MAX: usize = 8 * 1024;

/// What stands where text was cut off.
const CUT: &str = "…";
// Of a visit with everything that is known of it.
const BYTES_EXPECTED: usize = 2 * 1024;
/// How much of an oversized value of the detail is kept, in bytes.
const VALUE_BYTES_KEPT: usize = 200;

/// One entry: who did what to which object, when, and how it ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    time_ms: i64,
    action: String,
    outcome: Outcome,
    initiator: String,
    target: String,
    replica: String,
    request_id: String,
    session: String,
    source_address: String,
    detail: Map<String, Value>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Allowed,
    /// It was refused.
    Refused,
    /// It was allowed and did not succeed.
    Failed,
}

/// The circumstances of an entry. What is not known stays empty.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a, Detail = Map<String, Value>> {
    /// Who did it: `administrator/bootstrap`, `key/<id>`, `system`.
    pub initiator: &'a str,
    /// What it was done to: `key/<id>`.
    pub target: &'a str,
    /// The replica that decided; empty for the control plane.
    pub replica: &'a str,
    /// The request id that the client saw.
    pub request_id: &'a str,
    /// The coding agent's session.
    pub session: &'a str,
    /// Where the caller is.
    pub source_address: &'a str,
    /// The rest. Never a secret, never prompt text.
    pub detail: Detail,
}

// An entry that is written without being made: its members in the same order.
#[derive(Serialize)]
struct Written<'a, Detail> {
    time_ms: i64,
    action: Cow<'a, str>,
    outcome: Outcome,
    initiator: Cow<'a, str>,
    target: Cow<'a, str>,
    replica: Cow<'a, str>,
    request_id: Cow<'a, str>,
    session: Cow<'a, str>,
    source_address: Cow<'a, str>,
    detail: Detail,
}

/// Bytes that are not an encoded entry.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// They are not of its form.
    #[error("not an encoded audit entry: {0}")]
    Form(#[from] serde_json::Error),
    /// They are not what [`Entry::new`] and [`Entry::encode`] make.
    #[error("not an audit entry as it is made: a limit is passed, or it is written in another way")]
    Made,
}

impl Entry {
    /// Makes an entry. Text beyond the limits is cut, and ends in `…`; control characters become spaces.
    #[must_use]
    pub fn new(time_ms: i64, action: &str, outcome: Outcome, facts: Facts<'_>) -> Self {
        let Facts { initiator, target, replica, request_id, session, source_address, detail } = facts;
        let fact = |text| clean(text, FACT_BYTES_MAX).into_owned();
        Self {
            time_ms,
            action: clean(action, ACTION_BYTES_MAX).into_owned(),
            outcome,
            initiator: fact(initiator),
            target: fact(target),
            replica: fact(replica),
            request_id: fact(request_id),
            session: fact(session),
            source_address: fact(source_address),
            detail: bounded(detail),
        }
    }

    /// The bytes to store: JSON with its members in a fixed order. They are what is later hashed and signed, as they are.
    ///
    /// # Errors
    /// Never in practice: every member has a JSON form.
    pub fn encode(&self) -> Result<Vec<u8>, Unreadable> {
        Ok(serde_json::to_vec(self)?)
    }

    /// The bytes that [`Self::new`] and [`Self::encode`] give, without what they hold in between. The detail is an object, and
    /// the members of each object in it are sorted.
    ///
    /// # Errors
    /// Never in practice: every member has a JSON form.
    pub fn written<Detail: Serialize>(
        time_ms: i64,
        action: &str,
        outcome: Outcome,
        facts: Facts<'_, Detail>,
    ) -> Result<Vec<u8>, Unreadable> {
        let Facts { initiator, target, replica, request_id, session, source_address, detail } = facts;
        let fact = |text| clean(text, FACT_BYTES_MAX);
        let written = Written {
            time_ms,
            action: clean(action, ACTION_BYTES_MAX),
            outcome,
            initiator: fact(initiator),
            target: fact(target),
            replica: fact(replica),
            request_id: fact(request_id),
            session: fact(session),
            source_address: fact(source_address),
            detail,
        };
        let mut bytes = Vec::with_capacity(BYTES_EXPECTED);
        serde_json::to_writer(&mut bytes, &written)?;
        // Where all of it is within the detail's bound, the detail is.
        if bytes.len() <= DETAIL_BYTES_MAX { Ok(bytes) } else { Self::decode(&bytes)?.again().encode() }
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    /// When they are not an encoded entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Reads what somebody else encoded, and makes sure that they kept to the limits and to the one way to write it.
    ///
    /// # Errors
    /// When it is anything else than [`Entry::new`] and [`Entry::encode`] make.
    pub fn decode_foreign(bytes: &[u8]) -> Result<Self, Unreadable> {
        let made = Self::decode(bytes)?.again();
        if made.encode()? == bytes { Ok(made) } else { Err(Unreadable::Made) }
    }

    // Made of what it says, within the limits.
    fn again(self) -> Self {
        let Self { time_ms, action, outcome, initiator, target, replica, request_id, session, source_address, detail } =
            self;
        let facts = Facts {
            initiator: &initiator,
            target: &target,
            replica: &replica,
            request_id: &request_id,
            session: &session,
            source_address: &source_address,
            detail,
        };
        Self::new(time_ms, &action, outcome, facts)
    }

    /// When it happened, in Unix milliseconds by the clock of the writer.
    #[must_use]
    pub const fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// What was done: `key.create`, `request.refuse`.
    #[must_use]
    pub fn action(&self) -> &str {
        &self.action
    }

    /// How it ended.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// As [`Facts::initiator`].
    #[must_use]
    pub fn initiator(&self) -> &str {
        &self.initiator
    }

    /// As [`Facts::target`].
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// As [`Facts::replica`].
    #[must_use]
    pub fn replica(&self) -> &str {
        &self.replica
    }

    /// As [`Facts::request_id`].
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// As [`Facts::session`].
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// As [`Facts::source_address`].
    #[must_use]
    pub fn source_address(&self) -> &str {
        &self.source_address
    }

    /// As [`Facts::detail`].
    #[must_use]
    pub const fn detail(&self) -> &Map<String, Value> {
        &self.detail
    }
}

// === impl Outcome ===

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Allowed, Self::Refused, Self::Failed];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    /// The outcome of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.word() == word)
    }
}

fn clean(text: &str, bytes_max: usize) -> Cow<'_, str> {
    let is_plain = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let spaced = |character: char| if character.is_control() { ' ' } else { character };
    if text.len() <= bytes_max {
        return if is_plain(text) { text.into() } else { text.chars().map(spaced).collect() };
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub(CUT.len()));
    let kept = text.get(..end).unwrap_or_default();
    kept.chars().map(spaced).chain(CUT.chars()).collect()
}

// First each long value is shortened to its beginning; a detail that is still too long says only how long it was.
fn bounded(mut detail: Map<String, Value>) -> Map<String, Value> {
    let whole = encoded_bytes(&detail);
    if whole <= DETAIL_BYTES_MAX {
        return detail;
    }
    detail.values_mut().for_each(shorten);
    if encoded_bytes(&detail) > DETAIL_BYTES_MAX {
        detail = Map::from_iter([("omitted_bytes".to_owned(), Value::from(whole))]);
    }
    detail
}

// Objects keep their members, so that which fields changed is told even when their values are cut. What is encoded is never
// nested deeper than an object's fields, and the parser of what comes from outside stops at 128.
fn shorten(value: &mut Value) {
    if let Value::Object(members) = value {
        members.values_mut().for_each(shorten);
        return;
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.len() > VALUE_BYTES_KEPT {
        *value = Value::String(clean(&text, VALUE_BYTES_KEPT).into_owned());
    }
}

fn encoded_bytes(detail: &Map<String, Value>) -> usize {
    serde_json::to_vec(detail).map_or(usize::MAX, |bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(facts: Facts<'_>) -> Entry {
        Entry::new(1_700_000_000_000, "key.create", Outcome::Allowed, facts)
    }

    #[test]
    fn an_entry_survives_encoding_byte_for_byte() {
        let detail = Map::from_iter([("b".to_owned(), json!({"x": [1, "ü"]})), ("a".to_owned(), json!(null))]);
        let made = entry(Facts { initiator: "administrator/bootstrap", target: "key/1", detail, ..Facts::default() });
        let bytes = made.encode().unwrap();
        let read = Entry::decode(&bytes).unwrap();
        assert_eq!(read, made);
        assert_eq!(read.encode().unwrap(), bytes);
        assert!(Entry::decode(b"{}").is_err());
    }

    #[test]
    fn what_is_written_without_being_made_is_the_same() {
        let long = "ü\"".repeat(200);
        for texts in [["key/1", "model/m"], ["a\u{85}b\n", "\"\\"], [&long, ""]] {
            for value in [json!(1), json!("y".repeat(5_000)), json!("\u{1}".repeat(1_400)), json!("z".repeat(9_000))] {
                let [initiator, target] = texts;
                let detail = Map::from_iter([("a".to_owned(), json!({"b": value, "c": [1, null]}))]);
                let facts = Facts { initiator, target, session: target, detail, ..Facts::default() };
                let made = entry(facts.clone()).encode().unwrap();
                let written = Entry::written(1_700_000_000_000, "key.create", Outcome::Allowed, facts).unwrap();
                assert_eq!(String::from_utf8(written), String::from_utf8(made));
            }
        }
    }

    #[test]
    fn what_somebody_else_made_keeps_to_the_limits() {
        let bytes = entry(Facts { initiator: "key/1", ..Facts::default() }).encode().unwrap();
        assert!(Entry::decode_foreign(&bytes).is_ok());
        let text = String::from_utf8(bytes).unwrap();
        let long = "x".repeat(10_000);
        for (from, to) in [
            ("key/1", "key\\n1"),
            ("key/1", &long),
            ("{\"time_ms\"", "{ \"time_ms\""),
            ("{}", &format!("{{\"a\":\"{long}\"}}")),
        ] {
            assert!(
                matches!(Entry::decode_foreign(text.replace(from, to).as_bytes()), Err(Unreadable::Made)),
                "{to:.20}"
            );
        }
    }

    #[test]
    fn no_text_is_longer_than_its_limit_or_breaks_a_line() {
        for (text, expect_end) in [("x".repeat(10_000), "x…"), ("ü".repeat(200), "ü…"), ("a\nb\u{1b}c".into(), "a b c")]
        {
            let made = entry(Facts { target: &text, session: &text, ..Facts::default() });
            assert!(made.target().len() <= FACT_BYTES_MAX && made.target().ends_with(expect_end), "{}", made.target());
            assert_eq!(made.target(), made.session());
        }
        let action = "a".repeat(100);
        let made = Entry::new(0, &action, Outcome::Refused, Facts::default());
        assert!(made.action().len() <= ACTION_BYTES_MAX);
    }

    #[test]
    fn an_oversized_detail_keeps_the_beginning_of_its_values() {
        let detail = Map::from_iter([("long".to_owned(), json!("y".repeat(20_000))), ("short".to_owned(), json!(1))]);
        let made = entry(Facts { detail, ..Facts::default() });
        assert_eq!(made.detail()["short"], json!(1));
        assert!(made.detail()["long"].as_str().unwrap().ends_with('…'));
        assert!(encoded_bytes(made.detail()) <= DETAIL_BYTES_MAX);

        let models: Vec<_> = (0..200).map(|at| format!("model-{at}-{}", "z".repeat(100))).collect();
        let changed = json!({"models": {"before": models, "after": []}, "disabled": {"before": false, "after": true}});
        let made = entry(Facts { detail: Map::from_iter([("changed".to_owned(), changed)]), ..Facts::default() });
        assert_eq!(made.detail()["changed"]["disabled"]["after"], json!(true));
        assert!(made.detail()["changed"]["models"]["before"].as_str().unwrap().starts_with("[\"model-0-"));

        let many = (0..2_000).map(|at| (format!("field-{at}"), json!("value")));
        let made = entry(Facts { detail: many.collect(), ..Facts::default() });
        assert!(made.detail()["omitted_bytes"].as_u64().unwrap() > 8_192);
        assert_eq!(made.detail().len(), 1);
    }
}
