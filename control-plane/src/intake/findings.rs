//! What guardrails found, as entries of replicas tell it, for the rows by which it is found.

use serde::Deserialize;
use serde_json::Value;
use tollgate_audit::Entry;
use tollgate_policy::guardrail::{Action, Direction, FINGERPRINT_BYTES};

use crate::{
    audit::Draft,
    store::findings::{Finding, FindingPlace},
};

// A finding in the detail of an entry. A later version may tell more of it.
#[derive(Deserialize)]
struct Told {
    action: String,
    count: i64,
    direction: String,
    fingerprint: String,
    guardrail: String,
    offset: i64,
    place: String,
    rule: String,
    #[serde(default)]
    shadow: bool,
}

/// The findings of drafts, as they stand behind each other, with the indexes that they have when the first has index 0.
pub(super) fn of(drafts: &[Draft<'_>]) -> Vec<Finding> {
    (0..).zip(drafts).flat_map(|(index, draft)| of_entry(index, &draft.entry)).collect()
}

// What is not of this form has no row; the entry stays as it came.
fn of_entry(index: i64, entry: &Entry) -> Vec<Finding> {
    let Some(Value::Array(told)) = entry.detail().get("findings") else { return Vec::new() };
    let detail = |name| entry.detail().get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let after = |text: &str, noun: &str| text.strip_prefix(noun).unwrap_or_default().to_owned();
    let read = |(number, told): (i64, &Value)| {
        let Told { action, count, direction, fingerprint, guardrail, offset, place, rule, shadow } =
            Told::deserialize(told).ok()?;
        hex::decode_to_slice(&fingerprint, &mut [0; FINGERPRINT_BYTES]).ok()?;
        Some(Finding {
            at: FindingPlace { time_ms: entry.time_ms(), index, number },
            guardrail,
            rule,
            direction: Direction::of_word(&direction)?,
            action: Action::of_word(&action)?,
            shadow,
            fingerprint: fingerprint.to_ascii_lowercase(),
            place,
            offset,
            count,
            key: after(entry.initiator(), "key/"),
            team: detail("team"),
            customer: detail("customer"),
            session: entry.session().to_owned(),
            request_id: entry.request_id().to_owned(),
            model: after(entry.target(), "model/"),
        })
    };
    let found: Vec<Finding> = (0..).zip(told).filter_map(read).collect();
    if found.len() < told.len() {
        let unread = told.len() - found.len();
        tracing::warn!(request_id = entry.request_id(), unread, "findings of an entry are not of a known form");
    }
    found
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::json;
    use tollgate_audit::{Facts, Outcome};

    use super::*;
    use crate::audit::Origin;

    fn draft(detail: Value) -> Draft<'static> {
        let Value::Object(detail) = detail else { panic!() };
        let facts = Facts {
            initiator: "key/key-1",
            target: "model/claude-x",
            request_id: "r",
            session: "s",
            detail,
            ..Facts::default()
        };
        Draft { entry: Cow::Owned(Entry::new(7, "request.admit", Outcome::Allowed, facts)), origin: Origin::Here }
    }

    #[test]
    fn what_an_entry_tells_becomes_rows_and_what_is_of_no_known_form_does_not() {
        let told = json!({
            "action": "block", "count": 2, "direction": "request", "fingerprint": "0A".repeat(16), "guardrail": "g", "later": 1,
            "offset": 3, "place": "messages[0]", "rule": "aws", "shadow": true,
        });
        let with = |name: &str, value: Value| {
            let mut told = told.clone();
            told[name] = value;
            told
        };
        let strange = [
            with("action", json!("shout")),
            with("direction", json!("up")),
            with("fingerprint", json!("00")),
            with("offset", json!(u64::MAX)),
            json!("text"),
        ];
        let all = [&strange[..], std::slice::from_ref(&told)].concat();
        let drafts = [
            draft(json!({})),
            draft(json!({"findings": "none"})),
            draft(json!({"team": "team-1", "customer": "customer-1", "findings": all})),
        ];
        let found = of(&drafts);
        let expect = Finding {
            at: FindingPlace { time_ms: 7, index: 2, number: 5 },
            guardrail: "g".into(),
            rule: "aws".into(),
            direction: Direction::Request,
            action: Action::Block,
            shadow: true,
            fingerprint: "0a".repeat(16),
            place: "messages[0]".into(),
            offset: 3,
            count: 2,
            key: "key-1".into(),
            team: "team-1".into(),
            customer: "customer-1".into(),
            session: "s".into(),
            request_id: "r".into(),
            model: "claude-x".into(),
        };
        assert_eq!(found, [expect]);
    }
}
