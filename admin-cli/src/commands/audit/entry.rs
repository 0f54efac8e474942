//! An entry as it is shown.

use jiff::Timestamp;
use serde::Serialize;
use tollgate_proto::audit::v1;

use crate::{commands::text, literals::printed, output::View};

/// An entry for people and for programs.
#[derive(Debug, Serialize)]
pub(super) struct EntryView {
    pub(super) index: i64,
    pub(super) time: Option<String>,
    pub(super) action: String,
    pub(super) outcome: String,
    pub(super) initiator: String,
    pub(super) target: String,
    pub(super) replica: String,
    pub(super) request_id: String,
    pub(super) session: String,
    pub(super) source_address: String,
    pub(super) detail: serde_json::Value,
    pub(super) writer: String,
    pub(super) leaf: String,
    pub(super) erased: bool,
}

impl EntryView {
    /// The entry on one line: what a person follows with their eyes.
    pub(super) fn line(&self) -> String {
        let time = self.time.as_deref().unwrap_or("-");
        let mut words = vec![self.index.to_string(), time.to_owned(), self.action.clone(), self.outcome.clone()];
        words.extend(
            [&self.initiator, &self.target].map(|text| if text.is_empty() { "-".into() } else { text.clone() }),
        );
        for (name, value) in [("request", &self.request_id), ("session", &self.session)] {
            if !value.is_empty() {
                words.push(format!("{name}={value}"));
            }
        }
        if self.erased {
            words.push("(erased)".to_owned());
        } else {
            words.push(self.told());
        }
        text::for_terminal(&words.join("  "))
    }

    fn told(&self) -> String {
        if self.detail.is_null() { String::new() } else { self.detail.to_string() }
    }
}

impl From<v1::Entry> for EntryView {
    fn from(entry: v1::Entry) -> Self {
        let v1::Entry {
            index,
            time,
            action,
            outcome,
            initiator,
            target,
            replica,
            request_id,
            session,
            detail,
            source_address,
            writer,
            leaf,
            erased,
        } = entry;
        let time = printed(time.as_ref());
        // The detail is a JSON object in a string; programs should not have to parse twice.
        let detail = match serde_json::from_str(&detail) {
            Ok(parsed) => parsed,
            Err(_) => serde_json::Value::String(detail),
        };
        Self {
            index,
            time,
            action,
            outcome,
            initiator,
            target,
            replica,
            request_id,
            session,
            source_address,
            detail,
            writer,
            leaf: hex::encode(leaf),
            erased,
        }
    }
}

impl View for EntryView {
    const PLURAL: &'static str = "entries";
    const LISTED: &'static [&'static str] = &["index", "time", "action", "outcome", "initiator", "target", "detail"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let fields = [
            ("index", self.index.to_string()),
            ("time", self.time.clone().unwrap_or_default()),
            ("action", self.action.clone()),
            ("outcome", self.outcome.clone()),
            ("initiator", self.initiator.clone()),
            ("target", self.target.clone()),
            ("replica", self.replica.clone()),
            ("request_id", self.request_id.clone()),
            ("session", self.session.clone()),
            ("source", self.source_address.clone()),
            ("writer", self.writer.clone()),
            ("leaf", self.leaf.clone()),
            ("erased", if self.erased { "yes".into() } else { String::new() }),
            ("detail", self.told()),
        ];
        // Sessions, names and models are what clients sent.
        fields.into_iter().map(|(name, value)| (name, text::for_terminal(&value))).collect()
    }
}

/// An instant of the log.
pub(super) fn instant(time_ms: i64) -> Option<String> {
    Timestamp::from_millisecond(time_ms).ok().map(|at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_a_value_for_programs() {
        let entry =
            |detail: &str| EntryView::from(v1::Entry { detail: detail.to_owned(), ..v1::Entry::default() }).detail;
        assert_eq!(entry(r#"{"a": 1}"#), serde_json::json!({"a": 1}));
        assert_eq!(entry("not json"), serde_json::json!("not json"));
    }

    #[test]
    fn an_entry_is_one_line_whatever_it_says() {
        let entry = v1::Entry {
            index: 7,
            action: "request.refuse".into(),
            outcome: "refused".into(),
            session: "a\nb\u{1b}[2J\u{202e}c".into(),
            detail: "{\"refusal\":\"x\u{9b}y\"}".into(),
            ..v1::Entry::default()
        };
        let line = EntryView::from(entry).line();
        assert_eq!(
            line,
            "7  -  request.refuse  refused  -  -  session=a\\u{a}b\\u{1b}[2J\\u{202e}c  {\"refusal\":\"x\\u{9b}y\"}"
        );
    }
}
