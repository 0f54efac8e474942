//! What the gateway itself says, in the API's shape.

use crate::{error::ErrorClass, models::ListedModel};
use serde::Serialize;

/// The API's word for a class of errors: <https://docs.anthropic.com/en/api/errors>.
#[must_use]
pub const fn error_type(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::InvalidRequest | ErrorClass::NotSupported => "invalid_request_error",
        ErrorClass::Authentication => "authentication_error",
        ErrorClass::Permission => "permission_error",
        ErrorClass::NotFound => "not_found_error",
        ErrorClass::RequestTooLarge => "request_too_large",
        ErrorClass::RateLimit => "rate_limit_error",
        ErrorClass::Billing => "billing_error",
        ErrorClass::Timeout => "timeout_error",
        ErrorClass::Api => "api_error",
        ErrorClass::Overloaded => "overloaded_error",
    }
}

/// Writes the body of an error answer.
#[must_use]
pub fn error_body(class: ErrorClass, message: &str, request_id: &str) -> Vec<u8> {
    let error = Failure { kind: error_type(class), message };
    serde_json::to_vec(&Envelope { kind: "error", error, request_id }).unwrap_or_default()
}

/// Writes one `error` event, to be put in at a boundary of a stream; the stream ends behind it.
#[must_use]
pub fn error_event(class: ErrorClass, message: &str, request_id: &str) -> Vec<u8> {
    let body = error_body(class, message, request_id);
    [b"event: error\ndata: ", body.as_slice(), b"\n\n"].concat()
}

/// Writes `GET /v1/models`, all on one page. The date is the epoch, as the API has it for a model whose release date is unknown.
#[must_use]
pub fn model_list<'a>(models: impl Iterator<Item = ListedModel<'a>>) -> Vec<u8> {
    model_page(models, false)
}

/// Writes one page of `GET /v1/models`; `has_more`: others follow in the direction in which the client pages.
#[must_use]
pub fn model_page<'a>(models: impl Iterator<Item = ListedModel<'a>>, has_more: bool) -> Vec<u8> {
    let data: Vec<Entry<'a>> = models.map(Entry::from).collect();
    let list = List {
        first_id: data.first().map(|entry| entry.id),
        last_id: data.last().map(|entry| entry.id),
        data,
        has_more,
    };
    serde_json::to_vec(&list).unwrap_or_default()
}

#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: Failure<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Failure<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct List<'a> {
    data: Vec<Entry<'a>>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    display_name: &'a str,
    created_at: &'static str,
    /// Its stage of life: what is listed can be asked.
    lifecycle: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
}

impl<'a> From<ListedModel<'a>> for Entry<'a> {
    fn from(model: ListedModel<'a>) -> Self {
        let ListedModel { id, display_name, owned_by: _, max_input_tokens, max_output_tokens } = model;
        Self {
            kind: "model",
            id,
            display_name: display_name.unwrap_or(id),
            created_at: "1970-01-01T00:00:00Z",
            lifecycle: "active",
            max_input_tokens,
            max_tokens: max_output_tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn an_error_has_the_envelope_of_the_api() {
        let message = "The budget \"a\" is spent.\nAsk — somebody.";
        let body: Value = serde_json::from_slice(&error_body(ErrorClass::Billing, message, "req_1")).unwrap();
        assert_eq!(
            body,
            json!({"type": "error", "error": {"type": "billing_error", "message": message}, "request_id": "req_1"})
        );
    }

    #[test]
    fn an_error_event_is_one_event_whatever_its_message_holds() {
        let bytes = error_event(ErrorClass::Permission, "two\r\nlines\n\nevent: x", "req_2");
        let mut events = Vec::new();
        crate::sse::Splitter::new(4096).push(&bytes, |event| events.push((event.name.to_vec(), event.data.to_vec())));
        let [(name, data)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(name, b"error");
        assert_eq!(data, &error_body(ErrorClass::Permission, "two\r\nlines\n\nevent: x", "req_2"));
    }

    #[test]
    fn a_list_names_first_and_last() {
        let models = [
            ListedModel { display_name: Some("Claude A"), max_output_tokens: Some(9), ..ListedModel::named("a") },
            ListedModel::named("b"),
        ];
        let list: Value = serde_json::from_slice(&model_list(models.into_iter())).unwrap();
        assert_eq!(
            list,
            json!({"data": [
                {"type": "model", "id": "a", "display_name": "Claude A", "created_at": "1970-01-01T00:00:00Z", "lifecycle": "active", "max_tokens": 9},
                {"type": "model", "id": "b", "display_name": "b", "created_at": "1970-01-01T00:00:00Z", "lifecycle": "active"},
            ], "has_more": false, "first_id": "a", "last_id": "b"})
        );
        let empty: Value = serde_json::from_slice(&model_list(std::iter::empty())).unwrap();
        assert_eq!(empty, json!({"data": [], "has_more": false, "first_id": null, "last_id": null}));
    }
}
