//! Which operation a method and a path name. The path is compared as it came, and the same value authorises: there is no
//! second reading that could see another one.

use std::sync::Arc;

use http::Method;
use tollgate_dialect::{Dialect, vertex};
use tollgate_policy::{
    mcp,
    refusal::{Refusal, RefusalKind},
};

pub(crate) use super::operation::Operation;
use crate::refuse::{Detail, Shape};

// The prefixes under which the paths of a dialect are served as well, so that clients whose base URL ends in one find them.
const PREFIXES: [&str; 5] = ["/anthropic", "/openai", "/gemini", "/bedrock", "/vertex"];

/// An operation, and what the path says about it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Call {
    /// What is called.
    pub(super) operation: Operation,
    /// The model that the path names, or the server of tools.
    pub(super) model: Option<Arc<str>>,
    /// Whether the path asks for a stream; `None`: the body says.
    pub(super) stream: Option<bool>,
}

/// Why a path names nothing.
pub(super) type Unrouted = (Refusal, Detail);

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
                        /v1/chat/completions, /v1/responses, /v1/embeddings, /v1beta/models/{model}:generateContent, \
                        /model/{model}/converse, /model/{model}/invoke, \
                        /v1/projects/{project}/locations/{location}/publishers/anthropic/models/{model}:rawPredict, \
                        /v1/models, /mcp and /mcp/{server}: check the base URL of your client.";
        return Err((Refusal::new(RefusalKind::UnknownRoute, sentence), Detail::None));
    };
    if allowed.split(", ").any(|allowed| allowed == method.as_str()) {
        return Ok(call);
    }
    let sentence = format!("This path does not have the method you sent. Use {allowed}.");
    Err((Refusal::new(RefusalKind::MethodNotAllowed, sentence), Detail::Allow(allowed)))
}

/// The shape in which a client at that path is told what is wrong.
#[must_use]
pub(super) fn shape(path: &str) -> Shape {
    let is_mcp = path.strip_prefix("/mcp").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if is_mcp { Shape::JsonRpc } else { Shape::Of(dialect(path)) }
}

/// The dialect in which a client at that path is answered, whatever it is told. Where nothing is served the path's beginning says who asks.
#[must_use]
pub(super) fn dialect(path: &str) -> Dialect {
    let begins = |with: &str| path.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match served(path) {
        Some((call, _)) => call.operation.dialect(),
        None if begins("/bedrock") || begins("/model") => Dialect::BedrockConverse,
        None if begins("/gemini") || begins("/v1beta") || path.contains(GOOGLE) => Dialect::Gemini,
        None if begins("/openai") => Dialect::OpenAiChat,
        None => Dialect::Anthropic,
    }
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
        "/v1/responses/input_tokens" | "/responses/input_tokens" => (Operation::InputTokens, "POST"),
        "/v1/embeddings" | "/embeddings" => (Operation::Embeddings, "POST"),
        "/v1/models" | "/models" => (Operation::Models, "GET"),
        "/v1beta/models" => (Operation::GeminiModels, "GET"),
        "/inference-profiles" => (Operation::InferenceProfiles, "GET"),
        "/mcp" if below.is_none() => (Operation::Mcp, MCP_METHODS),
        "/" | "/api/hello" => (Operation::Probe, "HEAD"),
        "/healthz" => (Operation::Probe, "GET, HEAD"),
        _ => {
            let of_server = below.is_none().then(|| of_server(path)).flatten();
            let of_server = of_server.map(|call| (call, MCP_METHODS));
            return of_server.or_else(|| of_model(path).map(|call| (call, "POST")));
        }
    };
    Some((operation.into(), allowed))
}

// Messages, their standing stream, and the end of a session.
const MCP_METHODS: &str = "POST, GET, DELETE";

// One server of tools.
fn of_server(path: &str) -> Option<Call> {
    let name = path.strip_prefix("/mcp/")?;
    mcp::is_server_name(name).then(|| Call { operation: Operation::Mcp, model: Some(name.into()), stream: None })
}

const ANTHROPIC: &str = "/publishers/anthropic/models/";
const GOOGLE: &str = "/publishers/google/models/";
const OF_GEMINI: [&str; 2] = ["/v1beta/models/", "/v1/models/"];

// The dialects that name the model in the path.
fn of_model(path: &str) -> Option<Call> {
    if let Some(rest) = path.strip_prefix("/model/") {
        let (model, verb) = rest.split_once('/')?;
        let (operation, stream) = match verb {
            "converse" => (Operation::Converse, false),
            "converse-stream" => (Operation::Converse, true),
            "invoke" => (Operation::Invoke, false),
            "invoke-with-response-stream" => (Operation::Invoke, true),
            _ => return None,
        };
        return call(operation, model, stream);
    }
    if let Some(rest) = OF_GEMINI.iter().find_map(|before| path.strip_prefix(before)) {
        return of_gemini(rest);
    }
    let published = behind_place(path)?;
    if let Some(rest) = published.strip_prefix(GOOGLE) {
        return of_gemini(rest);
    }
    match published.strip_prefix(ANTHROPIC)?.rsplit_once(':')? {
        (vertex::COUNT_TOKENS, "rawPredict") => {
            Some(Call { operation: Operation::RawCountTokens, model: None, stream: Some(false) })
        }
        (vertex::COUNT_TOKENS, _) => None,
        (model, "rawPredict") => call(Operation::RawPredict, model, false),
        (model, "streamRawPredict") => call(Operation::RawPredict, model, true),
        _ => None,
    }
}

fn of_gemini(named: &str) -> Option<Call> {
    match named.rsplit_once(':')? {
        (model, "generateContent") => call(Operation::GenerateContent, model, false),
        (model, "streamGenerateContent") => call(Operation::GenerateContent, model, true),
        (model, "countTokens") => call(Operation::GeminiCountTokens, model, false),
        _ => None,
    }
}

fn call(operation: Operation, model: &str, stream: bool) -> Option<Call> {
    let model = Arc::from(decoded(model)?);
    Some(Call { operation, model: Some(model), stream: Some(stream) })
}

// What stands behind `[/{version}][/projects/{project}/locations/{location}]`. Which project and which location it is, is the provider's
// business, and decides nothing here.
fn behind_place(path: &str) -> Option<&str> {
    const VERSIONS: [&str; 3] = ["/v1beta1/", "/v1beta/", "/v1/"];
    // The slash belongs to what follows.
    let version = VERSIONS.iter().find(|version| path.starts_with(**version)).map_or(0, |version| version.len() - 1);
    let path = path.get(version..)?;
    let Some(rest) = path.strip_prefix("/projects/") else { return Some(path) };
    let (project, rest) = rest.split_once("/locations/")?;
    let location = rest.split('/').next()?;
    let is_segment = |text: &str| !text.is_empty() && !text.contains('/');
    if is_segment(project) && is_segment(location) { rest.get(location.len()..) } else { None }
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
            ("POST", "/v1/responses/input_tokens", Ok(Operation::InputTokens.into())),
            ("POST", "/openai/v1/embeddings", Ok(Operation::Embeddings.into())),
            ("GET", "/v1beta/models", Ok(Operation::GeminiModels.into())),
            ("GET", "/bedrock/inference-profiles", Ok(Operation::InferenceProfiles.into())),
            ("POST", "/inference-profiles", Err((RefusalKind::MethodNotAllowed, Detail::Allow("GET")))),
            ("GET", "/v1/models", Ok(Operation::Models.into())),
            ("GET", "/anthropic/v1/models", Ok(Operation::Models.into())),
            ("GET", "/gemini/v1beta/models", Ok(Operation::GeminiModels.into())),
            ("POST", "/mcp", Ok(Operation::Mcp.into())),
            ("GET", "/mcp", Ok(Operation::Mcp.into())),
            ("PUT", "/mcp", Err((RefusalKind::MethodNotAllowed, Detail::Allow("POST, GET, DELETE")))),
            ("POST", "/openai/mcp", Err((RefusalKind::UnknownRoute, Detail::None))),
            ("POST", "/mcp/", Err((RefusalKind::UnknownRoute, Detail::None))),
            ("POST", "/mcp/GitHub", Err((RefusalKind::UnknownRoute, Detail::None))),
            ("POST", "/mcp/a/b", Err((RefusalKind::UnknownRoute, Detail::None))),
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
            (
                "/model/us.anthropic.claude-x-v1%3A0/invoke",
                call(Operation::Invoke, "us.anthropic.claude-x-v1:0", false),
            ),
            ("/bedrock/model/m/invoke-with-response-stream", call(Operation::Invoke, "m", true)),
            (
                "/v1/projects/p/locations/l/publishers/anthropic/models/claude-x%4020260101:rawPredict",
                call(Operation::RawPredict, "claude-x@20260101", false),
            ),
            (
                "/vertex/projects/p%3Aq/locations/l/publishers/anthropic/models/m:streamRawPredict",
                call(Operation::RawPredict, "m", true),
            ),
            (
                "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict",
                Some(Call { operation: Operation::RawCountTokens, model: None, stream: Some(false) }),
            ),
            (
                "/v1beta1/projects/p/locations/l/publishers/google/models/g:countTokens",
                call(Operation::GeminiCountTokens, "g", false),
            ),
            ("/v1beta1/publishers/google/models/g:generateContent", call(Operation::GenerateContent, "g", false)),
            ("/v1beta/models/g:countTokens", call(Operation::GeminiCountTokens, "g", false)),
            ("/v1beta/models/g:embedContent", None),
            ("/v1beta1/models/g:generateContent", None),
            ("/v2/projects/p/locations/l/publishers/google/models/g:generateContent", None),
            ("/v1/projects/p/publishers/google/models/g:generateContent", None),
            ("/v1/projects/p/q/locations/l/publishers/google/models/g:generateContent", None),
            ("/v1/projects/p/locations/l/q/publishers/google/models/g:generateContent", None),
            ("/v1/models/x/publishers/google/models/g:generateContent", None),
            ("/v1/projects/p/locations/l/publishers/meta/models/m:rawPredict", None),
            ("/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:streamRawPredict", None),
            ("/v1/publishers/anthropic/models/a/b:rawPredict", None),
            ("/model/m%2Fn/invoke", None),
            ("/model/m/invoke/", None),
            ("/model//invoke", None),
            ("/v1beta/models/:generateContent", None),
            ("/v1beta/models/a/b:generateContent", None),
            ("/v1beta/models/g:predict", None),
            ("/mcp/github", Some(Call { operation: Operation::Mcp, model: Some("github".into()), stream: None })),
            ("/model/m/apply", None),
            ("/model/%20/converse", None),
        ] {
            assert_eq!(route(&Method::POST, path).ok(), expect, "{path}");
        }
    }

    #[test]
    fn who_asks_at_a_path_where_nothing_is_served_is_told_so_in_their_own_dialect() {
        for (path, expect) in [
            ("/model/m/apply", Dialect::BedrockConverse),
            ("/bedrock/x", Dialect::BedrockConverse),
            ("/models/m/apply", Dialect::Anthropic),
            ("/v1beta/models/m:embedContent", Dialect::Gemini),
            ("/v1/projects/p/locations/l/publishers/google/models/m:predict", Dialect::Gemini),
            ("/openai/v1/audio/speech", Dialect::OpenAiChat),
            ("/model/m/invoke", Dialect::BedrockConverse),
            ("/v1/publishers/anthropic/models/m:rawPredict", Dialect::Anthropic),
            ("/elsewhere", Dialect::Anthropic),
        ] {
            assert_eq!(dialect(path), expect, "{path}");
        }
    }

    #[test]
    fn a_path_with_a_second_reading_is_refused() {
        for path in [
            "/v1/../v1/messages",
            "/v1/./messages",
            "/v1//messages",
            "//v1/messages",
            "/model/../model/m/invoke",
            "/model/m%2f..%2fn/invoke",
            "/model/%6d/invoke",
            "/model/m%253A0/invoke",
            "/v1/projects/p/locations/l/publishers/anthropic/../google/models/m:rawPredict",
            "/v1/projects/p%2Flocations/locations/l/publishers/anthropic/models/m:rawPredict",
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
