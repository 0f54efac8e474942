//! Errors, in the envelope of the OpenAI API and what vendors make of it:
//! <https://platform.openai.com/docs/guides/error-codes>.

use serde::{Deserialize, Serialize};

use crate::{
    error::{CONTEXT_LENGTH_EXCEEDED, ErrorClass, Failure},
    hub::{Json, Text},
};

/// `error`, as it arrives. OpenRouter puts the status where the code belongs; vLLM has no envelope around it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireError<'a> {
    #[serde(borrow)]
    message: Option<Json<'a>>,
    #[serde(rename = "type")]
    kind: Option<Json<'a>>,
    code: Option<Json<'a>>,
    metadata: Option<Metadata<'a>>,
}

/// What OpenRouter knows of the error of the provider behind it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata<'a> {
    #[serde(borrow)]
    raw: Option<Json<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Envelope<'a> {
    #[serde(borrow)]
    error: Option<Json<'a>>,
    detail: Option<Json<'a>>,
}

#[derive(Serialize)]
struct Written<'a> {
    error: Said<'a>,
}

/// `error`, as it is written.
#[derive(Debug, Serialize)]
pub(super) struct Said<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

/// Reads the body of an error answer.
#[must_use]
pub fn decode_error(status: u16, body: &[u8]) -> Failure {
    let class = ErrorClass::of_status(status);
    let Ok(Envelope { error, detail }) = serde_json::from_slice(body) else { return Failure::bare(class, body) };
    if let Some(error) = error {
        return failure(&error, class);
    }
    let flat: WireError<'_> = serde_json::from_slice(body).unwrap_or_default();
    let message = flat.message.as_ref().or(detail.as_ref()).and_then(Json::read::<Text<'_>>);
    match message {
        Some(message) => made(class, &message, flat.kind.as_ref(), flat.code.as_ref()),
        None => Failure::bare(class, &[]),
    }
}

/// Reads the value of `error`: an object, or a sentence. The class is what is known without it.
pub(super) fn failure(error: &Json<'_>, class: ErrorClass) -> Failure {
    if let Some(sentence) = error.read::<Text<'_>>() {
        return made(class, &sentence, None, None);
    }
    let WireError { message, kind, code, metadata } = error.read().unwrap_or_default();
    let message = message.as_ref().and_then(Json::read::<Text<'_>>).unwrap_or_default();
    // The sentence of OpenRouter itself says only that the provider failed.
    let raw = metadata.and_then(|metadata| metadata.raw);
    let raw = raw.as_ref().and_then(Json::read::<Text<'_>>).map(|raw| inner(&raw)).unwrap_or_default();
    let message = if raw.is_empty() { message.to_string() } else { format!("{}: {raw}", message.0) };
    made(class, &message, kind.as_ref(), code.as_ref())
}

// What the provider behind OpenRouter said is its body, as a text.
fn inner(raw: &str) -> String {
    let error = serde_json::from_str::<Envelope<'_>>(raw).ok().and_then(|envelope| envelope.error);
    error.map_or_else(
        || Failure::bare(ErrorClass::Api, raw.as_bytes()).message,
        |error| failure(&error, ErrorClass::Api).message,
    )
}

fn made(class: ErrorClass, message: &str, kind: Option<&Json<'_>>, code: Option<&Json<'_>>) -> Failure {
    let word = |json: Option<&Json<'_>>| json.and_then(Json::read::<Text<'_>>).unwrap_or_default().to_string();
    let (kind, word) = (word(kind), word(code));
    let status = code.and_then(Json::read::<u16>);
    let class = [class_of(&word), class_of(&kind), status.map(ErrorClass::of_status)]
        .into_iter()
        .flatten()
        .next()
        .unwrap_or(class);
    Failure::told(class, message, if word.is_empty() { kind } else { word })
}

/// The class of a `code` or a `type`. `invalid_request_error` says nothing: OpenAI writes it with nearly every status.
fn class_of(word: &str) -> Option<ErrorClass> {
    Some(match word {
        "invalid_api_key" | "authentication_error" | "invalid_authentication_error" => ErrorClass::Authentication,
        "permission_error" | "permission_denied" | "insufficient_permissions" => ErrorClass::Permission,
        "model_not_found" | "not_found_error" => ErrorClass::NotFound,
        "insufficient_quota" | "billing_not_active" | "insufficient_balance" | "billing_hard_limit_reached" => {
            ErrorClass::Billing
        }
        "rate_limit_exceeded" | "rate_limit_error" | "requests" | "tokens" | "rate_limit_reached_error" => {
            ErrorClass::RateLimit
        }
        "context_length_exceeded" | "content_filter" | "content_policy_violation" => ErrorClass::InvalidRequest,
        "request_too_large" => ErrorClass::RequestTooLarge,
        "timeout" => ErrorClass::Timeout,
        "server_error" | "internal_error" | "internal_server_error" => ErrorClass::Api,
        "overloaded_error" | "engine_overloaded_error" | "service_unavailable" | "slow_down" => ErrorClass::Overloaded,
        _ => return None,
    })
}

/// Writes the body of an error answer. The id of the request stands in a header, not in here.
#[must_use]
pub fn encode_error(class: ErrorClass, message: &str, _: &str) -> Vec<u8> {
    serde_json::to_vec(&Written { error: said(class, message) }).unwrap_or_default()
}

/// Writes the value of `error`.
pub(super) fn said(class: ErrorClass, message: &str) -> Said<'_> {
    let (kind, code) = match class {
        ErrorClass::InvalidRequest if Failure::says_too_long(message) => {
            ("invalid_request_error", Some(CONTEXT_LENGTH_EXCEEDED))
        }
        ErrorClass::InvalidRequest => ("invalid_request_error", None),
        ErrorClass::Authentication => ("invalid_request_error", Some("invalid_api_key")),
        ErrorClass::Permission => ("invalid_request_error", Some("permission_denied")),
        ErrorClass::NotFound => ("invalid_request_error", Some("model_not_found")),
        ErrorClass::RequestTooLarge => ("invalid_request_error", Some("request_too_large")),
        ErrorClass::NotSupported => ("invalid_request_error", Some("unsupported")),
        ErrorClass::RateLimit => ("rate_limit_error", Some("rate_limit_exceeded")),
        ErrorClass::Billing => ("insufficient_quota", Some("insufficient_quota")),
        ErrorClass::Timeout => ("server_error", Some("timeout")),
        ErrorClass::Api => ("server_error", None),
        ErrorClass::Overloaded => ("server_error", Some("service_unavailable")),
    };
    Said { message, kind, param: None, code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_any_vendor_is_read() {
        for (status, body, class, code, message) in [
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 128000 tokens. However, your messages resulted in 130500 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                ErrorClass::InvalidRequest,
                "context_length_exceeded",
                "This model's maximum context length is 128000 tokens. However, your messages resulted in 130500 tokens.",
            ),
            (
                500,
                r#"{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.","type":"BadRequestError","param":null,"code":400}"#,
                ErrorClass::InvalidRequest,
                "context_length_exceeded",
                "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
            ),
            (
                401,
                r#"{"error":{"message":"Bad key.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
                ErrorClass::Authentication,
                "invalid_api_key",
                "Bad key.",
            ),
            (
                404,
                r#"{"error":{"message":"No such model.","type":"invalid_request_error","code":"model_not_found"}}"#,
                ErrorClass::NotFound,
                "model_not_found",
                "No such model.",
            ),
            (
                429,
                r#"{"error":{"message":"Pay.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
                ErrorClass::Billing,
                "insufficient_quota",
                "Pay.",
            ),
            (
                429,
                r#"{"error":{"message":"Slower.","type":"tokens","code":"rate_limit_exceeded"}}"#,
                ErrorClass::RateLimit,
                "rate_limit_exceeded",
                "Slower.",
            ),
            (
                200,
                r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"{\"error\":{\"message\":\"Busy.\"}}","provider_name":"X"}},"user_id":"u"}"#,
                ErrorClass::RateLimit,
                "",
                "Provider returned error: Busy.",
            ),
            (
                402,
                r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#,
                ErrorClass::Billing,
                "invalid_request_error",
                "Insufficient Balance",
            ),
            (422, r#"{"detail":"Field required"}"#, ErrorClass::InvalidRequest, "", "Field required"),
            (400, r#"{"error":"no tools here"}"#, ErrorClass::InvalidRequest, "", "no tools here"),
            (
                503,
                r#"{"error":{"message":null,"code":null}}"#,
                ErrorClass::Overloaded,
                "",
                "The model provider gave no reason.",
            ),
            (502, "<html>", ErrorClass::Api, "", "The model provider gave no reason."),
            (502, "[]", ErrorClass::Api, "", "The model provider gave no reason."),
            (500, "{}", ErrorClass::Api, "", "The model provider gave no reason."),
        ] {
            let expect = Failure { class, message: message.to_owned(), code: code.to_owned() };
            assert_eq!(decode_error(status, body.as_bytes()), expect, "{body}");
        }
    }

    #[test]
    fn an_error_is_written_with_the_words_of_the_api() {
        for (class, message, expect) in [
            (
                ErrorClass::Authentication,
                "No.",
                r#"{"error":{"message":"No.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
            ),
            (ErrorClass::Api, "No.", r#"{"error":{"message":"No.","type":"server_error","param":null,"code":null}}"#),
            (
                ErrorClass::InvalidRequest,
                "prompt is too long: 9 tokens > 8 maximum",
                r#"{"error":{"message":"prompt is too long: 9 tokens > 8 maximum","type":"invalid_request_error","param":null,"code":"context_length_exceeded"}}"#,
            ),
        ] {
            assert_eq!(String::from_utf8(encode_error(class, message, "req_1")).unwrap(), expect);
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same_class() {
        for class in [
            ErrorClass::InvalidRequest,
            ErrorClass::Authentication,
            ErrorClass::Permission,
            ErrorClass::NotFound,
            ErrorClass::RequestTooLarge,
            ErrorClass::RateLimit,
            ErrorClass::Billing,
            ErrorClass::Timeout,
            ErrorClass::Overloaded,
        ] {
            // Also without a status, as in the middle of a stream; there, what says nothing of itself is the client's fault nowhere.
            let read = decode_error(400, &encode_error(class, "No.", ""));
            assert_eq!(read.class, class);
        }
    }
}
