//! Which operation a method and a path name. The path is compared as it came, and the same value authorises: there is no
//! second reading that could see another one.

use http::Method;

use crate::refuse::Detail;
use tollgate_policy::refusal::{Refusal, RefusalKind};

// The prefix under which each path is served as well, so that one origin can serve every dialect.
const PREFIX: &str = "/anthropic";

/// What is called.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) enum Operation {
    /// `POST /v1/messages`.
    Messages,
    /// `POST /v1/messages/count_tokens`.
    CountTokens,
    /// `GET /v1/models`.
    Models,
    /// A look whether somebody is there.
    Probe,
    /// Nothing that is served.
    #[default]
    Unknown,
}

/// Why a path names nothing.
pub(super) type Unrouted = (Refusal, Detail);

impl Operation {
    /// Every operation.
    pub(crate) const ALL: [Self; 5] = [Self::Messages, Self::CountTokens, Self::Models, Self::Probe, Self::Unknown];

    /// The word for records and metrics.
    #[must_use]
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::Models => "models",
            Self::Probe => "probe",
            Self::Unknown => "unknown",
        }
    }

    /// The word of OpenTelemetry's conventions for generative AI, where there is one.
    #[must_use]
    pub(crate) const fn genai(self) -> &'static str {
        match self {
            Self::Messages => "chat",
            other => other.word(),
        }
    }

    /// The path at a provider, behind its base URL.
    #[must_use]
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Messages => "/v1/messages",
            Self::CountTokens => "/v1/messages/count_tokens",
            Self::Models => "/v1/models",
            Self::Probe | Self::Unknown => "/",
        }
    }
}

/// Finds the operation.
///
/// # Errors
/// Refuses a path that is written in a way that another reader may take for a different one, a path that is not served, and a
/// method that the path does not have.
pub(super) fn route(method: &Method, path: &str) -> Result<Operation, Unrouted> {
    if !is_plain(path) {
        let sentence = "The path is not in its plain form: send it without empty or relative segments, backslashes and needless \
                        percent-encoding.";
        return Err((Refusal::new(RefusalKind::Malformed, sentence), Detail::None));
    }
    let below = match path.strip_prefix(PREFIX) {
        Some("") => "/",
        Some(below) if below.starts_with('/') => below,
        _ => path,
    };
    let (operation, allowed) = match below {
        "/v1/messages" => (Operation::Messages, "POST"),
        "/v1/messages/count_tokens" => (Operation::CountTokens, "POST"),
        "/v1/models" => (Operation::Models, "GET"),
        "/" | "/api/hello" => (Operation::Probe, "HEAD"),
        "/healthz" => (Operation::Probe, "GET, HEAD"),
        _ => {
            let sentence = "Nothing is served at this path. Tollgate serves /v1/messages, /v1/messages/count_tokens and \
                            /v1/models, also under /anthropic: check the base URL of your client.";
            return Err((Refusal::new(RefusalKind::UnknownRoute, sentence), Detail::None));
        }
    };
    if allowed.split(", ").any(|allowed| allowed == method.as_str()) {
        return Ok(operation);
    }
    let sentence = format!("This path does not have the method you sent. Use {allowed}.");
    Err((Refusal::new(RefusalKind::MethodNotAllowed, sentence), Detail::Allow(allowed)))
}

// Whether every reader of the path sees the same segments: nothing empty, relative, encoded without need, or invisible.
fn is_plain(path: &str) -> bool {
    let segment = |segment: &str| !matches!(segment, "." | "..");
    path.starts_with('/')
        && !path.contains("//")
        && path.split('/').all(segment)
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        && !has_needless_encoding(path)
}

// `%2e`, `%2f`, `%5c`, `%25` and control characters, or a `%` that encodes nothing.
fn has_needless_encoding(path: &str) -> bool {
    path.split('%').skip(1).any(|behind| {
        let byte = behind.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        byte.is_none_or(|byte| b"./\\%".contains(&byte) || byte.is_ascii_control() || byte.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_one_operation_and_its_methods() {
        for (method, path, expect) in [
            ("POST", "/v1/messages", Ok(Operation::Messages)),
            ("POST", "/anthropic/v1/messages", Ok(Operation::Messages)),
            ("POST", "/v1/messages/count_tokens", Ok(Operation::CountTokens)),
            ("POST", "/anthropic/v1/messages/count_tokens", Ok(Operation::CountTokens)),
            ("GET", "/v1/models", Ok(Operation::Models)),
            ("GET", "/anthropic/v1/models", Ok(Operation::Models)),
            ("HEAD", "/", Ok(Operation::Probe)),
            ("HEAD", "/api/hello", Ok(Operation::Probe)),
            ("HEAD", "/anthropic", Ok(Operation::Probe)),
            ("HEAD", "/anthropic/api/hello", Ok(Operation::Probe)),
            ("GET", "/healthz", Ok(Operation::Probe)),
            ("GET", "/v1/messages", Err((RefusalKind::MethodNotAllowed, Detail::Allow("POST")))),
            ("PATCH", "/v1/models", Err((RefusalKind::MethodNotAllowed, Detail::Allow("GET")))),
            ("GET", "/", Err((RefusalKind::MethodNotAllowed, Detail::Allow("HEAD")))),
            ("POST", "/v1/messages/", Err((RefusalKind::UnknownRoute, Detail::None))),
            ("POST", "/V1/messages", Err((RefusalKind::UnknownRoute, Detail::None))),
            ("POST", "/anthropicv1/messages", Err((RefusalKind::UnknownRoute, Detail::None))),
            ("POST", "/anthropic/anthropic/v1/messages", Err((RefusalKind::UnknownRoute, Detail::None))),
            ("POST", "/v1/complete", Err((RefusalKind::UnknownRoute, Detail::None))),
            ("GET", "/with%20space", Err((RefusalKind::UnknownRoute, Detail::None))),
        ] {
            let routed = route(&method.parse().unwrap(), path).map_err(|(refusal, detail)| (refusal.kind(), detail));
            assert_eq!(routed, expect, "{method} {path}");
        }
    }

    #[test]
    fn a_path_with_a_second_reading_is_refused() {
        for path in [
            "/v1/../v1/messages",
            "/v1/./messages",
            "/v1//messages",
            "//v1/messages",
            "/v1/models/..%2Fmessages",
            "/v1/models/..%2fmessages",
            "/%2e%2e/v1/messages",
            "/v1/%6dessages",
            "/v1\\messages",
            "/v1/messages%5c..",
            "/v1/messages%00",
            "/v1/messages%0d%0a",
            "/v1/messages%",
            "/v1/messages%2",
            "/v1/messages%zz",
            "/v1/%252e%252e/messages",
            "/v1/messages\u{7f}",
            "/v1/mess\u{e4}ges",
            "v1/messages",
            "*",
        ] {
            let kind = route(&Method::POST, path).map_err(|(refusal, _)| refusal.kind());
            assert_eq!(kind, Err(RefusalKind::Malformed), "{path}");
        }
    }
}
