//! Errors, in the form of `google.rpc.Status`: <https://ai.google.dev/gemini-api/docs/troubleshooting>.

use serde::{Deserialize, Serialize};

use crate::{
    error::{ErrorClass, Failure},
    hub::{Json, Text},
};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireError<'a> {
    code: u16,
    #[serde(borrow)]
    message: Text<'a>,
    status: Text<'a>,
    details: Vec<Detail<'a>>,
}

/// A detail, of whatever type.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Detail<'a> {
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    #[serde(alias = "retry_delay")]
    retry_delay: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    error: Json<'a>,
}

/// Reads the body of an error answer.
#[must_use]
pub fn decode_error(status: u16, body: &[u8]) -> Failure {
    match read(body).as_ref().and_then(Json::read) {
        Some(error) => failure(status, &error),
        None => Failure::bare(ErrorClass::of_status(status), body),
    }
}

/// After how many seconds the provider says to try again, where an error answer says so.
#[must_use]
pub fn retry_seconds(body: &[u8]) -> Option<u64> {
    let json = read(body)?;
    let WireError { details, .. } = json.read()?;
    let delay = details.into_iter().find_map(|detail| detail.retry_delay)?;
    // A duration: `38.5s`. Half a second too late is better than too early.
    let (whole, fraction) = delay.strip_suffix('s')?.split_once('.').unwrap_or((delay.strip_suffix('s')?, ""));
    let begun = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    whole.parse::<u64>().ok().map(|seconds| seconds.saturating_add(begun))
}

// Where an answer was to be a list, so is an error.
fn read(body: &[u8]) -> Option<Json<'_>> {
    let list = serde_json::from_slice::<Vec<Envelope<'_>>>(body).ok();
    let read = list.and_then(|list| list.into_iter().next()).or_else(|| serde_json::from_slice(body).ok());
    read.map(|envelope: Envelope<'_>| envelope.error)
}

/// Reads an error that came with that status; 0 where it came in the middle of a stream.
pub(super) fn failure(status: u16, error: &WireError<'_>) -> Failure {
    let WireError { code, message, status: word, details } = error;
    let status = if status == 0 { *code } else { status };
    let is_bad_key = details.iter().any(|detail| detail.reason.as_deref() == Some("API_KEY_INVALID"));
    let (class, code) = match () {
        () if is_bad_key => (ErrorClass::Authentication, &**word),
        () => (class_of(word).unwrap_or(ErrorClass::of_status(status)), &**word),
    };
    Failure::told(class, &**message, code)
}

/// Reads the error in a chunk of a stream.
pub(super) fn streamed(json: &Json<'_>) -> (ErrorClass, String) {
    let error = json.read::<WireError<'_>>().unwrap_or_default();
    let failure = failure(0, &error);
    (failure.class, failure.sentence().into_owned())
}

fn class_of(word: &str) -> Option<ErrorClass> {
    Some(match word {
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => ErrorClass::InvalidRequest,
        "UNAUTHENTICATED" => ErrorClass::Authentication,
        "PERMISSION_DENIED" => ErrorClass::Permission,
        "NOT_FOUND" => ErrorClass::NotFound,
        "RESOURCE_EXHAUSTED" => ErrorClass::RateLimit,
        "DEADLINE_EXCEEDED" => ErrorClass::Timeout,
        "INTERNAL" | "UNKNOWN" | "ABORTED" | "CANCELLED" | "DATA_LOSS" => ErrorClass::Api,
        "UNAVAILABLE" => ErrorClass::Overloaded,
        "UNIMPLEMENTED" => ErrorClass::NotSupported,
        _ => return None,
    })
}

const fn words(class: ErrorClass) -> (u16, &'static str) {
    match class {
        ErrorClass::InvalidRequest => (400, "INVALID_ARGUMENT"),
        ErrorClass::Authentication => (401, "UNAUTHENTICATED"),
        ErrorClass::Billing => (402, "FAILED_PRECONDITION"),
        ErrorClass::Permission => (403, "PERMISSION_DENIED"),
        ErrorClass::NotFound => (404, "NOT_FOUND"),
        ErrorClass::RequestTooLarge => (413, "INVALID_ARGUMENT"),
        ErrorClass::RateLimit => (429, "RESOURCE_EXHAUSTED"),
        ErrorClass::Api => (500, "INTERNAL"),
        ErrorClass::NotSupported => (501, "UNIMPLEMENTED"),
        ErrorClass::Overloaded => (503, "UNAVAILABLE"),
        ErrorClass::Timeout => (504, "DEADLINE_EXCEEDED"),
    }
}

#[derive(Serialize)]
struct Written<'a> {
    error: Told<'a>,
}

#[derive(Serialize)]
struct Told<'a> {
    code: u16,
    message: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<RequestInfo<'a>>,
}

#[derive(Serialize)]
struct RequestInfo<'a> {
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(rename = "requestId")]
    request_id: &'a str,
}

/// Writes the body of an error answer.
#[must_use]
pub fn encode_error(class: ErrorClass, message: &str, request_id: &str) -> Vec<u8> {
    let (code, status) = words(class);
    let kind = "type.googleapis.com/google.rpc.RequestInfo";
    let details = if request_id.is_empty() { Vec::new() } else { vec![RequestInfo { kind, request_id }] };
    serde_json::to_vec(&Written { error: Told { code, message, status, details } }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::CONTEXT_LENGTH_EXCEEDED;

    #[test]
    fn an_error_is_read_with_its_class_and_word() {
        for (status, body, class, code) in [
            (
                429,
                r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}"#,
                ErrorClass::RateLimit,
                "RESOURCE_EXHAUSTED",
            ),
            (
                503,
                r#"[{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}]"#,
                ErrorClass::Overloaded,
                "UNAVAILABLE",
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT","details":[{"@type":"x","reason":"API_KEY_INVALID"}]}}"#,
                ErrorClass::Authentication,
                "INVALID_ARGUMENT",
            ),
            (500, r#"{"error":{"message":"m","status":"NEW_WORD"}}"#, ErrorClass::Api, "NEW_WORD"),
        ] {
            let expect = Failure { class, message: "m".into(), code: code.into() };
            assert_eq!(decode_error(status, body.as_bytes()), expect, "{body}");
        }
        assert_eq!(decode_error(502, b"<html>"), Failure::bare(ErrorClass::Api, b"<html>"));
    }

    #[test]
    fn a_prompt_that_is_too_long_is_known_by_its_wording() {
        let message = "The input token count (1054016) exceeds the maximum number of tokens allowed (1048576).";
        let body = format!(r#"{{"error":{{"code":400,"message":"{message}","status":"INVALID_ARGUMENT"}}}}"#);
        let Failure { class, message: told, code } = decode_error(400, body.as_bytes());
        assert_eq!(
            (class, told.as_str(), code.as_str()),
            (ErrorClass::InvalidRequest, message, CONTEXT_LENGTH_EXCEEDED)
        );
    }

    #[test]
    fn an_error_says_when_to_try_again() {
        for (delay, expect) in [("38s", Some(38)), ("38.5s", Some(39)), ("0.000s", Some(0)), ("x", None), ("-1s", None)]
        {
            let body = format!(
                r#"{{"error":{{"details":[{{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[]}},{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"{delay}"}}]}}}}"#
            );
            assert_eq!(retry_seconds(body.as_bytes()), expect, "{delay}");
        }
        assert_eq!(retry_seconds(b"{}"), None);
    }

    #[test]
    fn an_error_is_written_as_it_is_read() {
        let body = encode_error(ErrorClass::RateLimit, "slow \"down\"", "req_1");
        let text = r#"{"error":{"code":429,"message":"slow \"down\"","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RequestInfo","requestId":"req_1"}]}}"#;
        assert_eq!(String::from_utf8(body.clone()).unwrap(), text);
        assert_eq!(decode_error(429, &body).message, "slow \"down\"");
    }
}
