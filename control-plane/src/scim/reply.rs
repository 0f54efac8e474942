//! What is answered, and the conditions that a client puts.

use axum::{
    body::Bytes,
    extract::rejection::BytesRejection,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tollgate_scim::{Object, Problem};

use crate::store::{StoreError, organisation::Stamp};

/// The type of every body.
const MEDIA_TYPE: &str = "application/scim+json";

/// Why a call was not done.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The client can do something about it.
    Problem(Problem),
    /// The database cannot.
    Store(StoreError),
}

impl Refusal {
    pub(super) fn status(status: u16, text: &str) -> Self {
        Self::Problem(Problem::Status(status, text.to_owned()))
    }

    pub(super) fn missing(kind: &str, id: &str) -> Self {
        let id: String = id.chars().filter(|character| !character.is_control()).take(80).collect();
        Self::Problem(Problem::Status(404, format!("no {kind} has the id {id:?}")))
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = match self {
            Self::Problem(problem) => problem,
            Self::Store(error) if error.is_transient() => {
                tracing::warn!(%error, "a scim call met a busy database");
                Problem::Status(503, "the database is busy: try again".into())
            }
            Self::Store(StoreError::Taken { .. }) => Problem::Uniqueness("another resource has this value".into()),
            Self::Store(error) => {
                tracing::error!(%error, "a scim call failed");
                Problem::Status(500, "the control plane failed: its log says why".into())
            }
        };
        let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = answer(status, &problem.body());
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// An answer with a body.
pub(super) fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body.to_string()).into_response()
}

/// An answer with one resource, its address and its version.
pub(super) fn resource(status: StatusCode, body: Object) -> Response {
    let text = |name: &str| {
        let text = body.get("meta").and_then(|meta| meta.get(name)).and_then(Value::as_str);
        text.and_then(|text| HeaderValue::from_str(text).ok())
    };
    let (location, version) = (text("location"), text("version"));
    let mut response = answer(status, &Value::Object(body));
    for (name, value) in [(header::LOCATION, location), (header::ETAG, version)] {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// What the server knows of a resource.
pub(super) fn meta(kind: &str, location: String, stamp: &Stamp) -> Value {
    let instant = |millis| Timestamp::from_millisecond(millis).unwrap_or_default().to_string();
    json!({
        "resourceType": kind,
        "created": instant(stamp.create_time),
        "lastModified": instant(stamp.update_time),
        "location": location,
        "version": version(stamp),
    })
}

/// The version of a resource, which changes with each change.
pub(super) fn version(stamp: &Stamp) -> String {
    format!("W/\"r{}\"", stamp.revision)
}

/// Demands that a resource has not changed since the client read it, if the client does.
///
/// # Errors
/// 412.
pub(super) fn ensure_fresh(headers: &HeaderMap, stamp: &Stamp) -> Result<(), Refusal> {
    match headers.get(header::IF_MATCH) {
        Some(given) if !names(given, stamp) => {
            Err(Refusal::status(412, "the resource has changed since it was read: read it again"))
        }
        _ => Ok(()),
    }
}

/// Whether the client has this version already.
pub(super) fn is_known(headers: &HeaderMap, stamp: &Stamp) -> bool {
    headers.get(header::IF_NONE_MATCH).is_some_and(|given| names(given, stamp))
}

/// The object in a body.
///
/// # Errors
/// When it is too large, of another type, or no object of JSON.
pub(super) fn object(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Object, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).map_or(Some(""), |kind| kind.to_str().ok()).unwrap_or("unreadable");
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !matches!(essence.as_str(), "" | MEDIA_TYPE | "application/json") {
        return Err(Refusal::status(415, "send application/scim+json"));
    }
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::status(413, "a body may have 1 MiB: send fewer members at a time"),
        _ => Refusal::Problem(Problem::InvalidSyntax("the body broke off".into())),
    })?;
    let read = serde_json::from_slice(&body);
    Ok(read.map_err(|error| Problem::InvalidSyntax(format!("the body is not an object of JSON: {error}")))?)
}

fn names(given: &HeaderValue, stamp: &Stamp) -> bool {
    let own = version(stamp);
    let own = own.trim_start_matches("W/");
    let given = given.to_str().unwrap_or_default();
    given.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == "*" || tag == own)
}
