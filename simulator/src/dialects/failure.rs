//! An error in each dialect: as a body, and as an event in the middle of a stream.

use super::{body, event, frame, named_event};
use crate::{
    behaviour::Failure,
    route::{Call, Vendor},
};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tollgate_dialect::{ErrorClass, anthropic};

/// An error, before a dialect gives it a form.
#[derive(Clone, Debug)]
pub(crate) struct Wrong {
    pub(crate) status: StatusCode,
    kind: Option<String>,
    message: String,
}

// === impl Wrong ===

impl Wrong {
    /// An error of the simulator's own.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, kind: None, message: message.into() }
    }

    /// An error as it was asked for.
    pub(crate) fn asked(failure: &Failure) -> Self {
        let Failure { status, kind, message } = failure.clone();
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self {
            status,
            kind,
            message: message.unwrap_or_else(|| format!("The simulator was asked to answer {status}.")),
        }
    }

    /// As the body of an answer; with it, for Bedrock, the type that its header names.
    pub(crate) fn body(&self, call: &Call, request_id: &str) -> (Bytes, Option<String>) {
        match call.vendor() {
            Vendor::Bedrock => (body(&json!({"message": self.message})), Some(self.kind(Vendor::Bedrock).to_owned())),
            vendor => (body(&self.value(vendor, request_id)), None),
        }
    }

    /// As an event in a stream, behind so many others.
    pub(crate) fn event(&self, call: &Call, request_id: &str, number: usize) -> Bytes {
        let value = self.value(call.vendor(), request_id);
        match (call.vendor(), call) {
            (Vendor::Anthropic, _) => named_event("error", &value.to_string()),
            (Vendor::OpenAi, Call::Responses) => {
                let fields = json!({"type": "error", "code": self.kind(Vendor::OpenAi), "message": self.message,
                    "param": null, "sequence_number": number});
                named_event("error", &fields.to_string())
            }
            (Vendor::OpenAi | Vendor::Gemini, _) => event(&value.to_string()),
            (Vendor::Bedrock, _) => {
                frame::exception(&in_stream(self.kind(Vendor::Bedrock)), value.to_string().as_bytes())
            }
        }
    }

    fn value(&self, vendor: Vendor, request_id: &str) -> Value {
        let kind = self.kind(vendor);
        let message = &self.message;
        match vendor {
            Vendor::Anthropic => {
                json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id})
            }
            Vendor::OpenAi => json!({"error": {"message": message, "type": kind, "param": null, "code": null}}),
            Vendor::Gemini => json!({"error": {"code": self.status.as_u16(), "message": message, "status": kind}}),
            Vendor::Bedrock => json!({"message": message}),
        }
    }

    fn kind(&self, vendor: Vendor) -> &str {
        self.kind.as_deref().unwrap_or(match vendor {
            Vendor::Anthropic => anthropic::error_type(class(self.status)),
            Vendor::OpenAi => openai(self.status),
            Vendor::Gemini => gemini(self.status),
            Vendor::Bedrock => bedrock(self.status),
        })
    }
}

/// Bedrock's name of an error as its streams have it: `throttlingException`.
fn in_stream(kind: &str) -> String {
    let mut letters = kind.chars();
    letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect()
}

const fn class(status: StatusCode) -> ErrorClass {
    match status.as_u16() {
        401 => ErrorClass::Authentication,
        402 => ErrorClass::Billing,
        403 => ErrorClass::Permission,
        404 => ErrorClass::NotFound,
        413 => ErrorClass::RequestTooLarge,
        429 => ErrorClass::RateLimit,
        400..=499 => ErrorClass::InvalidRequest,
        504 => ErrorClass::Timeout,
        529 => ErrorClass::Overloaded,
        _ => ErrorClass::Api,
    }
}

const fn openai(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "authentication_error",
        429 => "rate_limit_exceeded",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

const fn gemini(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        400..=499 => "INVALID_ARGUMENT",
        503 | 529 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    }
}

const fn bedrock(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        429 => "ThrottlingException",
        400..=499 => "ValidationException",
        503 | 529 => "ServiceUnavailableException",
        _ => "InternalServerException",
    }
}
