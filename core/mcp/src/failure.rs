//! Codes of errors, and what a client or a model is told.

use crate::{id::Id, json::Json, revision::Revision, write};

/// Codes of JSON-RPC errors: its own, those of the protocol, and ours.
pub mod code {
    /// The message is no JSON (JSON-RPC 2.0, section 5.1).
    pub const PARSE_ERROR: i64 = -32_700;
    /// The message is no message of JSON-RPC (JSON-RPC 2.0, section 5.1).
    pub const INVALID_REQUEST: i64 = -32_600;
    /// There is no such method, or the server has not said that it has it (JSON-RPC 2.0, section 5.1). With the HTTP status 404 in
    /// 2026-07-28.
    pub const METHOD_NOT_FOUND: i64 = -32_601;
    /// A parameter is wrong; a tool, a prompt, and since 2026-07-28 a resource, is not known (`schema.ts`, `InvalidParamsError`).
    pub const INVALID_PARAMS: i64 = -32_602;
    /// Something failed that is not the sender's fault (JSON-RPC 2.0, section 5.1).
    pub const INTERNAL_ERROR: i64 = -32_603;
    /// A resource is not known, up to 2025-11-25 (Resources, "Error Handling"). 2026-07-28 has [`INVALID_PARAMS`] instead, and forbids
    /// this one.
    pub const RESOURCE_NOT_FOUND: i64 = -32_002;
    /// The user must visit a URL first, in 2025-11-25 only (`schema.ts`, `URL_ELICITATION_REQUIRED`).
    pub const URL_ELICITATION_REQUIRED: i64 = -32_042;
    /// A header does not say what the body says, or is missing (2026-07-28, `schema.ts`). With the HTTP status 400.
    pub const HEADER_MISMATCH: i64 = -32_020;
    /// The client has not said that it can do what is needed (2026-07-28, `schema.ts`). With the HTTP status 400.
    pub const MISSING_REQUIRED_CLIENT_CAPABILITY: i64 = -32_021;
    /// The revision is not spoken (2026-07-28, `schema.ts`). With the HTTP status 400.
    pub const UNSUPPORTED_PROTOCOL_VERSION: i64 = -32_022;

    // Ours lie outside the range that JSON-RPC reserves, as 2026-07-28 asks (Base protocol, "Error Codes").

    /// Policy does not allow it.
    pub const DENIED: i64 = -31_001;
    /// The tool's definition is another than the one that was approved, or none was approved.
    pub const QUARANTINED: i64 = -31_002;
    /// A limit is reached; it may be tried again.
    pub const LIMITED: i64 = -31_003;
    /// The upstream server cannot be reached, took too long, or answered what is no answer.
    pub const UPSTREAM: i64 = -31_004;
    /// A guardrail has stopped it.
    pub const GUARDRAIL: i64 = -31_005;
}

/// The longest text of an error that is written here, in characters. A model reads it, and pays for it.
pub const TEXT_CHARACTERS_MAX: usize = 2_000;

/// An error, for a message of the kind [`write::failure`].
#[must_use]
pub fn error(code: i64, message: &str, data: Option<Json<'_>>) -> Json<'static> {
    let message = Json::text(&cut(message));
    let members = [("code", Json::of(&code)), ("message", message)];
    Json::object(members.into_iter().chain(data.map(|data| ("data", data))))
}

/// A whole answer that says that something failed.
#[must_use]
pub fn answer(id: Option<&Id<'_>>, code: i64, message: &str) -> Vec<u8> {
    write::failure(id, &error(code, message, None))
}

/// What the error that a revision is not spoken tells: which are (2026-07-28, `UnsupportedProtocolVersionError`).
pub(crate) fn unsupported_data(requested: &str) -> Json<'static> {
    let supported: Vec<&str> = Revision::SERVED.into_iter().map(Revision::word).collect();
    let requested = crate::character::shown(requested, WORD_CHARACTERS_MAX);
    Json::object([("supported", Json::of(&supported)), ("requested", Json::text(&requested))])
}

/// That the client must be able to do something (2026-07-28, `MissingRequiredClientCapabilityError`). `capabilities` are an object such as
/// `{"elicitation":{}}`.
#[must_use]
pub fn missing_capability(capabilities: Json<'_>) -> Json<'static> {
    let message = "The client lacks a capability that this request needs.";
    let data = Json::object([("requiredCapabilities", capabilities)]);
    error(code::MISSING_REQUIRED_CLIENT_CAPABILITY, message, Some(data))
}

/// What a resource that is not known is told with, in a revision.
#[must_use]
pub const fn resource_not_found(revision: Revision) -> i64 {
    if revision.is_stateless() { code::INVALID_PARAMS } else { code::RESOURCE_NOT_FOUND }
}

/// The result of a call whose tool failed or was not let do its work. Unlike an error, it reaches the model, which can then do something
/// else: coding agents show the text to it as what the tool said.
#[must_use]
pub fn tool_failed(revision: Revision, text: &str) -> Json<'static> {
    let content = Json::object([("type", Json::text("text")), ("text", Json::text(&cut(text)))]);
    let members = [("content", Json::list([content])), ("isError", Json::from(true))];
    Json::object(result_type(revision).into_iter().chain(members))
}

/// The result of a call that is answered here, in one text.
#[must_use]
pub fn tool_said(revision: Revision, text: &str) -> Json<'static> {
    let content = Json::object([("type", Json::text("text")), ("text", Json::text(&cut(text)))]);
    Json::object(result_type(revision).into_iter().chain([("content", Json::list([content]))]))
}

/// That the user must visit a URL first (2025-11-25, `schema.ts`, `URLElicitationRequiredError`), for clients that have said that they can show
/// one. `elicitation` tells this URL apart from others.
#[must_use]
pub fn url_required(message: &str, url: &str, elicitation: &str) -> Json<'static> {
    let one = Json::object([
        ("mode", Json::text("url")),
        ("elicitationId", Json::text(elicitation)),
        ("url", Json::text(url)),
        ("message", Json::text(&cut(message))),
    ]);
    let data = Json::object([("elicitations", Json::list([one]))]);
    error(code::URL_ELICITATION_REQUIRED, message, Some(data))
}

/// What 2026-07-28 has in each result that is one.
pub(crate) fn result_type(revision: Revision) -> Option<(&'static str, Json<'static>)> {
    revision.is_stateless().then(|| ("resultType", Json::text("complete")))
}

/// The HTTP status of an answer with an error of this code, on streamable HTTP. Up to 2025-11-25 the status is 200 for whatever was a
/// message; 2026-07-28 names others (Transports, "Protocol Version Header" and "Server Validation"; Base protocol, "Error Codes").
#[must_use]
pub const fn status(revision: Revision, error: i64) -> u16 {
    match error {
        code::PARSE_ERROR | code::INVALID_REQUEST => 400,
        code::HEADER_MISMATCH | code::MISSING_REQUIRED_CLIENT_CAPABILITY | code::UNSUPPORTED_PROTOCOL_VERSION => 400,
        code::METHOD_NOT_FOUND if revision.is_stateless() => 404,
        _ => 200,
    }
}

/// So many characters of an unknown word are told.
const WORD_CHARACTERS_MAX: usize = 40;

fn cut(text: &str) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(TEXT_CHARACTERS_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    #[test]
    fn errors_are_written_as_the_schema_has_them() {
        assert_eq!(
            String::from_utf8(answer(Some(&Id::of_text("a")), code::DENIED, "No \"x\".")).unwrap(),
            r#"{"jsonrpc":"2.0","id":"a","error":{"code":-31001,"message":"No \"x\"."}}"#
        );
        assert_eq!(
            String::from_utf8(answer(None, code::PARSE_ERROR, "No.")).unwrap(),
            r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"No."}}"#
        );
        assert_eq!(
            unsupported_data("1900-01-01").as_str(),
            r#"{"supported":["2026-07-28","2025-11-25","2025-06-18"],"requested":"1900-01-01"}"#
        );
        assert_eq!(
            missing_capability(Json::object([("elicitation", Json::empty_object())])).as_str(),
            r#"{"code":-32021,"message":"The client lacks a capability that this request needs.","data":{"requiredCapabilities":{"elicitation":{}}}}"#
        );
    }

    #[test]
    fn a_failed_call_tells_the_model() {
        let at = |revision| tool_failed(revision, "Denied: ask an administrator.").to_string();
        assert_eq!(
            at(Revision::V2025_11_25),
            r#"{"content":[{"type":"text","text":"Denied: ask an administrator."}],"isError":true}"#
        );
        assert_eq!(
            at(Revision::V2026_07_28),
            r#"{"resultType":"complete","content":[{"type":"text","text":"Denied: ask an administrator."}],"isError":true}"#
        );
    }

    #[test]
    fn texts_have_a_bound_and_stay_messages() {
        let long = "ü\"".repeat(5_000);
        let bytes = answer(Some(&Id::of_number(1)), code::UPSTREAM, &long);
        let Ok(Message::Failure(failure)) = Message::parse(&bytes) else { panic!("{bytes:?}") };
        assert_eq!(failure.message.chars().count(), TEXT_CHARACTERS_MAX + 1);
    }

    #[test]
    fn an_error_has_the_status_of_its_revision() {
        for (revision, error, expected) in [
            (Revision::V2025_11_25, code::METHOD_NOT_FOUND, 200),
            (Revision::V2026_07_28, code::METHOD_NOT_FOUND, 404),
            (Revision::V2026_07_28, code::HEADER_MISMATCH, 400),
            (Revision::V2025_06_18, code::PARSE_ERROR, 400),
            (Revision::V2026_07_28, code::INVALID_PARAMS, 200),
        ] {
            assert_eq!(status(revision, error), expected, "{revision} {error}");
        }
        assert_eq!(resource_not_found(Revision::V2026_07_28), -32_602);
        assert_eq!(resource_not_found(Revision::V2025_11_25), -32_002);
    }
}
