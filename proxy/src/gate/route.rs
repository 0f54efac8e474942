//! Which operation a method and a path name. The path is compared as it came, and the same value authorises: there is no
//! second reading that could see another one.

use std::sync::Arc;

use http::Method;
use tollgate_dialect::Dialect;

use crate::refuse::Detail;
use tollgate_policy::refusal::{Refusal, RefusalKind};

// The prefixes under which the paths of a dialect are served as well, so that clients whose base URL ends in one find them.
const PREFIXES: [&str; 5] = ["/anthropic", "/openai", "/gemini", "/bedrock", "/vertex"];

/// What is called.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) enum Operation {
    /// `POST /v1/messages`.
    Messages,
    /// `POST /v1/chat/completions`.
    ChatCompletions,
    /// `POST /v1/responses`.
    Responses,
    /// `POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent`.
    GenerateContent,
    /// `POST /model/{model}/converse` and `/converse-stream`.
    Converse,
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

/// An operation, and what the path says about it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Call {
    /// What is called.
    pub(super) operation: Operation,
    /// The model that the path names.
    pub(super) model: Option<Arc<str>>,
    /// Whether the path asks for a stream; `None`: the body says.
    pub(super) stream: Option<bool>,
}

/// Why a path names nothing.
pub(super) type Unrouted = (Refusal, Detail);

impl Operation {
    /// Every operation.
    pub(crate) const ALL: [Self; 9] = [
        Self::Messages,
        Self::ChatCompletions,
        Self::Responses,
        Self::GenerateContent,
        Self::Converse,
        Self::CountTokens,
        Self::Models,
        Self::Probe,
        Self::Unknown,
    ];

    /// The word for records and metrics.
    #[must_use]
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::ChatCompletions => "chat_completions",
            Self::Responses => "responses",
            Self::GenerateContent => "generate_content",
            Self::Converse => "converse",
            Self::CountTokens => "count_tokens",
            Self::Models => "models",
            Self::Probe => "probe",
            Self::Unknown => "unknown",
        }
    }

    /// The word of OpenTelemetry's conventions for generative AI, where there is one.
    #[must_use]
    pub(crate) const fn genai(self) -> &'static str {
        if self.is_answered() { "chat" } else { self.word() }
    }

    /// The path, as a template without the model.
    #[must_use]
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Messages => "/v1/messages",
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::GenerateContent => "/v1beta/models/{model}:generateContent",
            Self::Converse => "/model/{model}/converse",
            Self::CountTokens => "/v1/messages/count_tokens",
            Self::Models => "/v1/models",
            Self::Probe | Self::Unknown => "/",
        }
    }

    /// Whether a model answers, and is paid for it.
    #[must_use]
    pub(crate) const fn is_answered(self) -> bool {
        matches!(
            self,
            Self::Messages | Self::ChatCompletions | Self::Responses | Self::GenerateContent | Self::Converse
        )
    }

    /// The dialect that the client speaks. What belongs to none is answered in Anthropic's.
    #[must_use]
    pub(crate) const fn dialect(self) -> Dialect {
        match self {
            Self::ChatCompletions => Dialect::OpenAiChat,
            Self::Responses => Dialect::OpenAiResponses,
            Self::GenerateContent => Dialect::Gemini,
            Self::Converse => Dialect::BedrockConverse,
            Self::Messages | Self::CountTokens | Self::Models | Self::Probe | Self::Unknown => Dialect::Anthropic,
        }
    }
}

impl From<Operation> for Call {
    fn from(operation: Operation) -> Self {
        Self { operation, model: None, stream: None }
    }
}

/// Finds the operation.
///
/// # Errors
/// Refuses a path that is written in a way that another reader may take for a different one, a path that is not served, and a
/// method that the path does not have.
pub(super) fn route(method: &Method, path: &str) -> Result<Call, Unrouted> {
    if !is_plain(path) {
        let sentence = "The path is not in its plain form: send it without empty or relative segments, backslashes and needless \
                        percent-encoding.";
        return Err((Refusal::new(RefusalKind::Malformed, sentence), Detail::None));
    }
    let Some((call, allowed)) = served(path) else {
        let sentence = "Nothing is served at this path. Tollgate serves /v1/messages, /v1/messages/count_tokens, \
                        /v1/chat/completions, /v1/responses, /v1beta/models/{model}:generateContent, /model/{model}/converse and \
                        /v1/models: check the base URL of your client.";
        return Err((Refusal::new(RefusalKind::UnknownRoute, sentence), Detail::None));
    };
    if allowed.split(", ").any(|allowed| allowed == method.as_str()) {
        return Ok(call);
    }
    let sentence = format!("This path does not have the method you sent. Use {allowed}.");
    Err((Refusal::new(RefusalKind::MethodNotAllowed, sentence), Detail::Allow(allowed)))
}

/// The dialect in which a client at that path is answered, whatever it is told.
#[must_use]
pub(super) fn dialect(path: &str) -> Dialect {
    served(path).map_or(Dialect::Anthropic, |(call, _)| call.operation.dialect())
}

// What is served at a path, and by which methods.
fn served(path: &str) -> Option<(Call, &'static str)> {
    let below = PREFIXES.iter().find_map(|prefix| match path.strip_prefix(prefix) {
        Some("") => Some("/"),
        below => below.filter(|below| below.starts_with('/')),
    });
    let path = below.unwrap_or(path);
    let (operation, allowed) = match path {
        "/v1/messages" => (Operation::Messages, "POST"),
        "/v1/messages/count_tokens" => (Operation::CountTokens, "POST"),
        "/v1/chat/completions" | "/chat/completions" => (Operation::ChatCompletions, "POST"),
        "/v1/responses" | "/responses" => (Operation::Responses, "POST"),
        "/v1/models" | "/models" | "/v1beta/models" => (Operation::Models, "GET"),
        "/" | "/api/hello" => (Operation::Probe, "HEAD"),
        "/healthz" => (Operation::Probe, "GET, HEAD"),
        _ => return of_model(path).map(|call| (call, "POST")),
    };
    Some((operation.into(), allowed))
}

// The dialects that name the model in the path.
fn of_model(path: &str) -> Option<Call> {
    let call = |operation, model: &str, stream| {
        let model = Arc::from(decoded(model)?);
        Some(Call { operation, model: Some(model), stream: Some(stream) })
    };
    if let Some(rest) = path.strip_prefix("/model/") {
        let (model, verb) = rest.split_once('/')?;
        return match verb {
            "converse" => call(Operation::Converse, model, false),
            "converse-stream" => call(Operation::Converse, model, true),
            _ => None,
        };
    }
    let rest = match path.rsplit_once("/publishers/google/models/") {
        // `/v1/projects/{project}/locations/{location}`: which one is the provider's business.
        Some((_, rest)) => rest,
        None => path.strip_prefix("/v1beta/models/").or_else(|| path.strip_prefix("/v1/models/"))?,
    };
    match rest.rsplit_once(':')? {
        (model, "generateContent") => call(Operation::GenerateContent, model, false),
        (model, "streamGenerateContent") => call(Operation::GenerateContent, model, true),
        _ => None,
    }
}

// A model's name without its percent-encoding: of what a path may have encoded, a colon is left.
fn decoded(segment: &str) -> Option<String> {
    if segment.is_empty() || segment.contains('/') {
        return None;
    }
    let name = segment.replace("%3A", ":").replace("%3a", ":").replace("%40", "@");
    (!name.contains('%')).then_some(name)
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
            ("POST", "/v1/messages", Ok(Operation::Messages.into())),
            ("POST", "/anthropic/v1/messages", Ok(Operation::Messages.into())),
            ("POST", "/v1/chat/completions", Ok(Operation::ChatCompletions.into())),
            ("POST", "/openai/v1/chat/completions", Ok(Operation::ChatCompletions.into())),
            ("POST", "/v1/responses", Ok(Operation::Responses.into())),
            ("POST", "/v1/messages/count_tokens", Ok(Operation::CountTokens.into())),
            ("POST", "/anthropic/v1/messages/count_tokens", Ok(Operation::CountTokens.into())),
            ("GET", "/v1/models", Ok(Operation::Models.into())),
            ("GET", "/anthropic/v1/models", Ok(Operation::Models.into())),
            ("GET", "/v1beta/models", Ok(Operation::Models.into())),
            ("GET", "/gemini/v1beta/models", Ok(Operation::Models.into())),
            ("HEAD", "/", Ok(Operation::Probe.into())),
            ("HEAD", "/api/hello", Ok(Operation::Probe.into())),
            ("HEAD", "/anthropic", Ok(Operation::Probe.into())),
            ("HEAD", "/anthropic/api/hello", Ok(Operation::Probe.into())),
            ("GET", "/healthz", Ok(Operation::Probe.into())),
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
    fn a_path_may_name_the_model_and_the_stream() {
        let call =
            |operation, model: &str, stream| Some(Call { operation, model: Some(model.into()), stream: Some(stream) });
        for (path, expect) in [
            ("/v1beta/models/gemini-3-pro:generateContent", call(Operation::GenerateContent, "gemini-3-pro", false)),
            ("/gemini/v1beta/models/g:streamGenerateContent", call(Operation::GenerateContent, "g", true)),
            ("/v1/models/g:generateContent", call(Operation::GenerateContent, "g", false)),
            (
                "/vertex/v1/projects/p/locations/l/publishers/google/models/g:generateContent",
                call(Operation::GenerateContent, "g", false),
            ),
            ("/model/amazon.nova-pro-v1%3A0/converse", call(Operation::Converse, "amazon.nova-pro-v1:0", false)),
            (
                "/bedrock/model/us.anthropic.claude/converse-stream",
                call(Operation::Converse, "us.anthropic.claude", true),
            ),
            ("/v1beta/models/:generateContent", None),
            ("/v1beta/models/a/b:generateContent", None),
            ("/v1beta/models/g:predict", None),
            ("/model/m/apply", None),
            ("/model/%20/converse", None),
        ] {
            assert_eq!(route(&Method::POST, path).ok(), expect, "{path}");
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
