//! Errors: `{"message": …}` in a body, whose type stands in the header `x-amzn-errortype`, and exceptions in the middle of a stream.

use serde::{Deserialize, Serialize};

use crate::{
    dialects::bedrock::frames::Frame,
    error::{ErrorClass, Failure},
    hub::Text,
};

/// The body of an error.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "__type", borrow, default)]
    kind: Option<Text<'a>>,
    #[serde(alias = "Message", default)]
    message: Option<Text<'a>>,
}

/// Reads the body of an error answer.
#[must_use]
pub fn decode_error(status: u16, body: &[u8]) -> Failure {
    // A model that failed is nothing that the client could change.
    let class = if status == 424 { ErrorClass::Api } else { ErrorClass::of_status(status) };
    match serde_json::from_slice(body) {
        Ok(Wire { kind, message: Some(message) }) => {
            // `com.amazon.coral.service#ThrottlingException:http://…`, of which only the name matters.
            let kind = kind.as_deref().unwrap_or_default();
            let kind = kind.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default();
            failure(class_of(kind).unwrap_or(class), kind, &message)
        }
        _ => Failure::bare(class, body),
    }
}

/// Reads the frame of an exception, or of an error that the API's model does not name; `None` where it is neither.
#[must_use]
pub fn failure_of(frame: Frame<'_>) -> Option<Failure> {
    match frame.text(":message-type")? {
        "exception" => Some(exception(frame.text(":exception-type")?, frame.payload)),
        "error" => {
            let code = frame.text(":error-code").unwrap_or_default();
            let message = frame.text(":error-message").unwrap_or(code).to_owned();
            Some(failure(class_of(code).unwrap_or(ErrorClass::Api), code, &message))
        }
        _ => None,
    }
}

fn exception(kind: &str, payload: &[u8]) -> Failure {
    let class = class_of(kind).unwrap_or(ErrorClass::Api);
    match serde_json::from_slice(payload) {
        Ok(Wire { message: Some(message), .. }) => failure(class, kind, &message),
        _ => Failure::bare(class, &[]),
    }
}

fn failure(class: ErrorClass, kind: &str, message: &str) -> Failure {
    Failure::told(class, message, kind)
}

/// The class of the API's word; in streams it begins with a small letter.
fn class_of(word: &str) -> Option<ErrorClass> {
    let is = |name: &str| word.eq_ignore_ascii_case(name);
    let classes = [
        ("ValidationException", ErrorClass::InvalidRequest),
        ("UnrecognizedClientException", ErrorClass::Authentication),
        ("InvalidSignatureException", ErrorClass::Authentication),
        ("ExpiredTokenException", ErrorClass::Authentication),
        ("IncompleteSignatureException", ErrorClass::Authentication),
        ("MissingAuthenticationTokenException", ErrorClass::Authentication),
        ("AccessDeniedException", ErrorClass::Permission),
        ("ResourceNotFoundException", ErrorClass::NotFound),
        ("ThrottlingException", ErrorClass::RateLimit),
        ("ServiceQuotaExceededException", ErrorClass::RateLimit),
        ("ModelTimeoutException", ErrorClass::Timeout),
        ("ModelNotReadyException", ErrorClass::Overloaded),
        ("ServiceUnavailableException", ErrorClass::Overloaded),
        ("ModelErrorException", ErrorClass::Api),
        ("ModelStreamErrorException", ErrorClass::Api),
        ("InternalServerException", ErrorClass::Api),
    ];
    classes.into_iter().find(|(name, _)| is(name)).map(|(_, class)| class)
}

/// The API's word for a class, which also belongs into the header `x-amzn-errortype`: SDKs look there first.
#[must_use]
pub const fn error_type(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::InvalidRequest | ErrorClass::RequestTooLarge | ErrorClass::NotSupported => "ValidationException",
        ErrorClass::Authentication => "UnrecognizedClientException",
        ErrorClass::Permission => "AccessDeniedException",
        ErrorClass::NotFound => "ResourceNotFoundException",
        ErrorClass::RateLimit => "ThrottlingException",
        ErrorClass::Billing => "ServiceQuotaExceededException",
        ErrorClass::Timeout => "ModelTimeoutException",
        ErrorClass::Api => "InternalServerException",
        ErrorClass::Overloaded => "ServiceUnavailableException",
    }
}

/// The word for a class in the middle of a stream. Streams know fewer; clients drop exceptions that they do not know.
#[must_use]
pub const fn exception_type(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::RateLimit => "throttlingException",
        ErrorClass::Overloaded => "serviceUnavailableException",
        ErrorClass::Api => "internalServerException",
        ErrorClass::Timeout => "modelStreamErrorException",
        ErrorClass::InvalidRequest
        | ErrorClass::Authentication
        | ErrorClass::Permission
        | ErrorClass::NotFound
        | ErrorClass::RequestTooLarge
        | ErrorClass::Billing
        | ErrorClass::NotSupported => "validationException",
    }
}

/// Writes the body of an error answer. The id of the request belongs into the header `x-amzn-requestid`.
#[must_use]
pub fn encode_error(class: ErrorClass, message: &str, _request_id: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Written<'a> {
        #[serde(rename = "__type")]
        kind: &'static str,
        message: &'a str,
    }
    serde_json::to_vec(&Written { kind: error_type(class), message }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_class_of_its_type_or_else_of_its_status() {
        let check = |status, body: &str, class, code: &str, message: &str| {
            let expected = Failure { class, code: code.to_owned(), message: message.to_owned() };
            assert_eq!(decode_error(status, body.as_bytes()), expected, "{body}");
        };
        check(429, r#"{"message":"Slow down."}"#, ErrorClass::RateLimit, "", "Slow down.");
        check(403, r#"{"Message":"No."}"#, ErrorClass::Permission, "", "No.");
        let body = r#"{"__type":"com.amazon.coral.service#UnrecognizedClientException","message":"Who?"}"#;
        check(403, body, ErrorClass::Authentication, "UnrecognizedClientException", "Who?");
        check(424, r#"{"message":"It failed.","originalStatusCode":500}"#, ErrorClass::Api, "", "It failed.");
        check(500, "<html>", ErrorClass::Api, "", "The model provider gave no reason.");
    }

    #[test]
    fn a_conversation_that_is_too_long_is_said_in_the_words_that_agents_know() {
        let check = |said: &str, message: &str| {
            let body = serde_json::json!({"message": said}).to_string();
            let failure = decode_error(400, body.as_bytes());
            assert_eq!((&*failure.code, &*failure.sentence()), ("context_length_exceeded", message));
            assert_eq!(exception("validationException", body.as_bytes()), failure);
        };
        check(
            "The model returned the following errors: prompt is too long: 200049 tokens > 200000 maximum",
            "prompt is too long: 200049 tokens > 200000 maximum",
        );
        check("Input is too long for requested model.", "prompt is too long: Input is too long for requested model.");
    }

    #[test]
    fn each_class_is_told_by_a_type_that_is_read_again() {
        for class in [
            ErrorClass::InvalidRequest,
            ErrorClass::Authentication,
            ErrorClass::Permission,
            ErrorClass::NotFound,
            ErrorClass::RateLimit,
            ErrorClass::Timeout,
            ErrorClass::Api,
            ErrorClass::Overloaded,
        ] {
            let failure = decode_error(400, &encode_error(class, "Why.", "req_1"));
            assert_eq!((failure.class, &*failure.message), (class, "Why."));
            assert!(class_of(exception_type(class)).is_some());
        }
    }
}
