//! Errors, as bodies and in streams.

use serde::{Deserialize, Serialize};

use crate::{
    error::{CONTEXT_LENGTH_EXCEEDED, ErrorClass, Failure},
    hub::Text,
};

/// What went wrong, of a body or an event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireError<'a> {
    #[serde(borrow)]
    pub(super) message: Option<Text<'a>>,
    #[serde(rename = "type")]
    pub(super) kind: Option<Text<'a>>,
    pub(super) code: Option<Text<'a>>,
}

impl WireError<'_> {
    /// How it failed; `class` where the API has no word for it.
    pub(super) fn failure(&self, class: ErrorClass) -> Failure {
        let code = self.code.as_deref().or(self.kind.as_deref()).unwrap_or_default();
        let said = self.message.as_deref().unwrap_or("The model provider gave no reason.");
        let known = self.code.as_deref().and_then(class_of).or_else(|| self.kind.as_deref().and_then(class_of));
        Failure::told(known.unwrap_or(class), said, code)
    }
}

/// The class of the API's word, a code or a type.
fn class_of(word: &str) -> Option<ErrorClass> {
    Some(match word {
        "invalid_request_error" | "invalid_prompt" | "invalid_value" | "unsupported_parameter" => {
            ErrorClass::InvalidRequest
        }
        "authentication_error" | "invalid_api_key" => ErrorClass::Authentication,
        "permission_error" => ErrorClass::Permission,
        "not_found_error" | "model_not_found" => ErrorClass::NotFound,
        "rate_limit_error" | "rate_limit_exceeded" | "tokens" | "requests" => ErrorClass::RateLimit,
        "insufficient_quota" | "billing_hard_limit_reached" => ErrorClass::Billing,
        "server_is_overloaded" | "slow_down" | "overloaded_error" => ErrorClass::Overloaded,
        "timeout" => ErrorClass::Timeout,
        "server_error" | "api_error" => ErrorClass::Api,
        _ => return None,
    })
}

/// Reads the body of an error answer.
#[must_use]
pub fn decode_error(status: u16, body: &[u8]) -> Failure {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        error: WireError<'a>,
    }
    let class = ErrorClass::of_status(status);
    match serde_json::from_slice::<Envelope<'_>>(body) {
        Ok(Envelope { error }) => error.failure(class),
        Err(_) => Failure::bare(class, body),
    }
}

/// Writes the body of an error answer. The API has no place for the id of a request but a header.
#[must_use]
pub fn encode_error(class: ErrorClass, message: &str, _request_id: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        error: Said<'a>,
    }
    #[derive(Serialize)]
    struct Said<'a> {
        message: &'a str,
        #[serde(rename = "type")]
        kind: &'static str,
        param: Option<&'static str>,
        code: Option<&'static str>,
    }
    let (kind, code) = words(class, message);
    serde_json::to_vec(&Envelope { error: Said { message, kind, param: None, code } }).unwrap_or_default()
}

// The type and the code.
fn words(class: ErrorClass, message: &str) -> (&'static str, Option<&'static str>) {
    match class {
        ErrorClass::InvalidRequest if Failure::says_too_long(message) => {
            ("invalid_request_error", Some(CONTEXT_LENGTH_EXCEEDED))
        }
        ErrorClass::InvalidRequest | ErrorClass::RequestTooLarge | ErrorClass::NotSupported => {
            ("invalid_request_error", None)
        }
        ErrorClass::Authentication => ("authentication_error", Some("invalid_api_key")),
        ErrorClass::Permission => ("permission_error", None),
        ErrorClass::NotFound => ("not_found_error", None),
        ErrorClass::RateLimit => ("rate_limit_error", Some("rate_limit_exceeded")),
        ErrorClass::Billing => ("insufficient_quota", Some("insufficient_quota")),
        ErrorClass::Overloaded => ("server_error", Some("server_is_overloaded")),
        ErrorClass::Timeout => ("server_error", Some("timeout")),
        ErrorClass::Api => ("server_error", Some("server_error")),
    }
}

/// The code of a failure in the middle of a stream: one that every client knows.
pub(super) fn code(class: ErrorClass, message: &str) -> &'static str {
    let (kind, code) = words(class, message);
    code.unwrap_or(match class {
        ErrorClass::InvalidRequest | ErrorClass::RequestTooLarge | ErrorClass::NotSupported => "invalid_prompt",
        _ => kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn an_error_is_read_by_its_code_its_type_or_its_status() {
        let failure = |class, message: &str, code: &str| Failure { class, message: message.into(), code: code.into() };
        for (status, body, expect) in [
            (
                400,
                r#"{"error":{"message":"Your input exceeds the context window of this model.","type":"invalid_request_error","param":"input","code":"context_length_exceeded"}}"#,
                failure(
                    ErrorClass::InvalidRequest,
                    "Your input exceeds the context window of this model.",
                    "context_length_exceeded",
                ),
            ),
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 8 tokens.","type":"BadRequestError","code":null}}"#,
                failure(
                    ErrorClass::InvalidRequest,
                    "This model's maximum context length is 8 tokens.",
                    "context_length_exceeded",
                ),
            ),
            (
                429,
                r#"{"error":{"message":"Pay.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
                failure(ErrorClass::Billing, "Pay.", "insufficient_quota"),
            ),
            (
                429,
                r#"{"error":{"message":"Wait.","type":"requests","code":"rate_limit_exceeded"}}"#,
                failure(ErrorClass::RateLimit, "Wait.", "rate_limit_exceeded"),
            ),
            (401, r#"{"error":{"message":"No.","code":"odd"}}"#, failure(ErrorClass::Authentication, "No.", "odd")),
            (503, "no server", failure(ErrorClass::Overloaded, "no server", "")),
        ] {
            assert_eq!(decode_error(status, body.as_bytes()), expect);
        }
    }

    #[test]
    fn each_class_comes_back_from_its_words() {
        for class in [
            ErrorClass::InvalidRequest,
            ErrorClass::Authentication,
            ErrorClass::Permission,
            ErrorClass::NotFound,
            ErrorClass::RateLimit,
            ErrorClass::Billing,
            ErrorClass::Timeout,
            ErrorClass::Api,
            ErrorClass::Overloaded,
        ] {
            let back = decode_error(500, &encode_error(class, "Why.", "req_1"));
            assert_eq!((back.class, &*back.message), (class, "Why."));
            let error = WireError { code: Some(code(class, "Why.").into()), ..WireError::default() };
            assert_eq!(error.failure(ErrorClass::Api).class, class);
        }
        let body: Value = serde_json::from_slice(&encode_error(
            ErrorClass::InvalidRequest,
            "prompt is too long: 9 tokens > 8 maximum",
            "req_1",
        ))
        .unwrap();
        assert_eq!(
            body,
            json!({"error": {"message": "prompt is too long: 9 tokens > 8 maximum", "type": "invalid_request_error",
                "param": null, "code": "context_length_exceeded"}})
        );
    }
}
