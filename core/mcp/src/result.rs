//! Results across revisions: since 2026-07-28 each says of which type it is, what a server wants of the client travels in one, and some say
//! for how long they may be kept.

use std::borrow::Cow;

use crate::{
    json::Json,
    list::Caching,
    members::{Edit, Members},
    revision::Revision,
};

/// Of which type a result is (2026-07-28, Base protocol, "ResultType").
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ResultType<'a> {
    /// What was asked for. A result that says nothing is one: those of earlier revisions do not.
    Complete,
    /// The server wants something of the client first (Multi Round-Trip Requests).
    InputRequired,
    /// A task was begun (extension `io.modelcontextprotocol/tasks`).
    Task,
    /// Another: whoever does not know it must take the result for invalid.
    Other(Cow<'a, str>),
}

/// What a server wants of the client, within a result.
#[derive(Clone, Debug)]
pub struct InputRequest<'a> {
    /// Under which the answer is given.
    pub key: String,
    /// `sampling/createMessage`, `elicitation/create` or `roots/list`; empty where there is none, which nobody answers.
    pub method: Cow<'a, str>,
    /// With what.
    pub params: Members<'a>,
}

/// The member that says of which type a result is.
const TYPE: &str = "resultType";

// === impl ResultType ===

impl<'a> ResultType<'a> {
    /// Of which type a result is.
    #[must_use]
    pub fn of(result: &Members<'a>) -> Self {
        if result.get(TYPE).is_none() {
            return Self::Complete;
        }
        let word = result.text(TYPE).unwrap_or_default();
        match &*word {
            "complete" => Self::Complete,
            "input_required" => Self::InputRequired,
            "task" => Self::Task,
            _ => Self::Other(word),
        }
    }
}

/// What a result asks of the client, whatever type it says that it is: each must be something that the client has said it can, and that
/// policy lets pass.
#[must_use]
pub fn input_requests<'a>(result: &Members<'a>) -> Vec<InputRequest<'a>> {
    let requests = result.object("inputRequests").unwrap_or_default();
    let request = |(key, raw): (&str, &'a serde_json::value::RawValue)| {
        let members = Members::read(raw).unwrap_or_default();
        InputRequest {
            key: key.to_owned(),
            method: members.text("method").unwrap_or_default(),
            params: members.object("params").unwrap_or_default(),
        }
    };
    requests.iter().map(request).collect()
}

/// A result for a client that speaks a revision: with its type and, where `caching` is given, with for how long it may be kept, if the
/// revision has those. Every other byte stays.
#[must_use]
pub fn for_client(revision: Revision, result: &Members<'_>, caching: Option<Caching>) -> Json<'static> {
    let kind = crate::failure::result_type(revision).filter(|_| result.get(TYPE).is_none());
    let caching = caching.filter(|_| ResultType::of(result) == ResultType::Complete);
    let caching = caching.into_iter().flat_map(|caching| caching.members(revision));
    let edits: Vec<Edit<'_>> = kind.into_iter().chain(caching).map(|(name, value)| Edit::Set(name, value)).collect();
    result.edited(&edits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::Scope;
    use serde_json::value::RawValue;

    fn with<T>(json: &str, look: impl FnOnce(&Members<'_>) -> T) -> T {
        let raw = RawValue::from_string(json.to_owned()).unwrap();
        look(&Members::read(&raw).unwrap())
    }

    #[test]
    fn a_result_says_of_which_type_it_is() {
        for (json, expected) in [
            ("{}", ResultType::Complete),
            (r#"{"resultType":"complete"}"#, ResultType::Complete),
            (r#"{"resultType":"input_required"}"#, ResultType::InputRequired),
            (r#"{"resultType":"task"}"#, ResultType::Task),
            (r#"{"resultType":"Complete"}"#, ResultType::Other("Complete".into())),
            (r#"{"resultType":null}"#, ResultType::Other("".into())),
        ] {
            with(json, |result| assert_eq!(ResultType::of(result), expected, "{json}"));
        }
    }

    #[test]
    fn what_a_server_wants_of_a_client_is_seen() {
        let json = r#"{"resultType":"complete","inputRequests":{"a":{"method":"elicitation\/create","params":{"message":"?"}},"b":{"method":7},"c":1}}"#;
        let found = with(json, |result| {
            let found = input_requests(result).into_iter();
            found
                .map(|request| (request.key, request.method.into_owned(), request.params.json().to_string()))
                .collect::<Vec<_>>()
        });
        let row = |key: &str, method: &str, params: &str| (key.to_owned(), method.to_owned(), params.to_owned());
        let expected = [row("a", "elicitation/create", r#"{"message":"?"}"#), row("b", "", "{}"), row("c", "", "{}")];
        assert_eq!(found, expected);
        with("{}", |result| assert!(input_requests(result).is_empty()));
    }

    #[test]
    fn a_result_of_an_earlier_revision_becomes_one_of_the_clients() {
        let caching = Some(Caching { ttl_ms: 5, scope: Scope::Private });
        for (revision, json, caching, expected) in [
            (Revision::V2025_11_25, r#"{"content":[]}"#, caching, r#"{"content":[]}"#),
            (Revision::V2026_07_28, r#"{ "content":[ ]}"#, None, r#"{ "content":[ ],"resultType":"complete"}"#),
            (
                Revision::V2026_07_28,
                r#"{"contents":[],"cacheScope":"public","resultType":"complete"}"#,
                caching,
                r#"{"contents":[],"cacheScope":"private","resultType":"complete","ttlMs":5}"#,
            ),
            (
                Revision::V2026_07_28,
                r#"{"resultType":"input_required","requestState":"s"}"#,
                caching,
                r#"{"resultType":"input_required","requestState":"s"}"#,
            ),
        ] {
            with(json, |result| assert_eq!(for_client(revision, result, caching).as_str(), expected, "{json}"));
        }
    }
}
