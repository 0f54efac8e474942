//! Which call a method and a path name.

use http::Method;
use percent_encoding::percent_decode_str;

/// A vendor's manner of saying things.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Vendor {
    Anthropic,
    OpenAi,
    Gemini,
    Bedrock,
}

/// What is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    Messages,
    CountTokens,
    Chat,
    Responses,
    Embeddings,
    /// A Gemini model; `stream`: as a stream.
    Generate {
        model: String,
        stream: bool,
    },
    GeminiCount {
        model: String,
    },
    /// A model of Bedrock in its vendor's own dialect.
    Invoke {
        model: String,
        stream: bool,
    },
    /// A model of Bedrock in Bedrock's dialect.
    Converse {
        model: String,
        stream: bool,
    },
    /// A model of Anthropic on Vertex.
    RawPredict {
        model: String,
        stream: bool,
    },
    Models,
    GeminiModels,
    Model {
        id: String,
    },
    /// `HEAD /` and its like.
    Probe,
    /// The simulator itself, by the rest of the path.
    Control {
        path: String,
    },
}

/// A dialect may be spoken at the root, or under its name as a gateway offers it.
const PREFIXES: &[&str] = &["/anthropic", "/openai", "/gemini", "/bedrock", "/vertex"];

impl Call {
    /// The call, or none where there is no such path.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        if let Some(control) = path.strip_prefix("/simulator/") {
            return Some(Self::Control { path: control.to_owned() });
        }
        let path = PREFIXES
            .iter()
            .find_map(|prefix| path.strip_prefix(prefix).filter(|rest| rest.starts_with('/') || rest.is_empty()))
            .unwrap_or(path);
        match *method {
            Method::GET | Method::HEAD => Self::of_get(path),
            Method::POST => Self::of_post(path),
            _ => None,
        }
    }

    fn of_get(path: &str) -> Option<Self> {
        match path {
            "" | "/" | "/api/hello" | "/healthz" => Some(Self::Probe),
            "/v1/models" => Some(Self::Models),
            "/v1beta/models" => Some(Self::GeminiModels),
            _ => path.strip_prefix("/v1/models/").map(|id| Self::Model { id: decoded(id) }),
        }
    }

    fn of_post(path: &str) -> Option<Self> {
        match path {
            "/v1/messages" => Some(Self::Messages),
            "/v1/messages/count_tokens" => Some(Self::CountTokens),
            "/v1/chat/completions" => Some(Self::Chat),
            "/v1/responses" => Some(Self::Responses),
            "/v1/embeddings" => Some(Self::Embeddings),
            _ => Self::of_model(path),
        }
    }

    /// The dialects that name the model in the path.
    fn of_model(path: &str) -> Option<Self> {
        if let Some(rest) = path.strip_prefix("/model/") {
            let (model, action) = rest.split_once('/')?;
            let model = decoded(model);
            return match action {
                "invoke" => Some(Self::Invoke { model, stream: false }),
                "invoke-with-response-stream" => Some(Self::Invoke { model, stream: true }),
                "converse" => Some(Self::Converse { model, stream: false }),
                "converse-stream" => Some(Self::Converse { model, stream: true }),
                _ => None,
            };
        }
        let (place, named) = path.rsplit_once("/models/")?;
        let (model, action) = named.rsplit_once(':')?;
        let model = decoded(model);
        if place.ends_with("/publishers/anthropic") {
            return match action {
                "rawPredict" if model == "count-tokens" => Some(Self::CountTokens),
                "rawPredict" => Some(Self::RawPredict { model, stream: false }),
                "streamRawPredict" => Some(Self::RawPredict { model, stream: true }),
                _ => None,
            };
        }
        let is_gemini = matches!(place, "/v1" | "/v1beta") || place.ends_with("/publishers/google");
        match action {
            "generateContent" if is_gemini => Some(Self::Generate { model, stream: false }),
            "streamGenerateContent" if is_gemini => Some(Self::Generate { model, stream: true }),
            "countTokens" if is_gemini => Some(Self::GeminiCount { model }),
            _ => None,
        }
    }

    /// Whose manner the answer, and an error, has.
    pub(crate) const fn vendor(&self) -> Vendor {
        match self {
            Self::Chat | Self::Responses | Self::Embeddings => Vendor::OpenAi,
            Self::Generate { .. } | Self::GeminiCount { .. } | Self::GeminiModels => Vendor::Gemini,
            Self::Invoke { .. } | Self::Converse { .. } => Vendor::Bedrock,
            _ => Vendor::Anthropic,
        }
    }

    /// The model, where the path names it.
    pub(crate) fn model(&self) -> Option<&str> {
        match self {
            Self::Generate { model, .. }
            | Self::GeminiCount { model }
            | Self::Invoke { model, .. }
            | Self::Converse { model, .. }
            | Self::RawPredict { model, .. } => Some(model),
            _ => None,
        }
    }

    /// Whether the path asks for a stream; none where the body says.
    pub(crate) const fn is_stream(&self) -> Option<bool> {
        match self {
            Self::Generate { stream, .. }
            | Self::Invoke { stream, .. }
            | Self::Converse { stream, .. }
            | Self::RawPredict { stream, .. } => Some(*stream),
            _ => None,
        }
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_call() {
        let vertex = "/v1/projects/p/locations/r/publishers/anthropic/models";
        let model = || "m".to_owned();
        for (path, expect) in [
            ("/v1/messages", Some(Call::Messages)),
            ("/anthropic/v1/messages", Some(Call::Messages)),
            ("/v1/messages/count_tokens", Some(Call::CountTokens)),
            ("/openai/v1/chat/completions", Some(Call::Chat)),
            ("/v1/responses", Some(Call::Responses)),
            ("/v1/embeddings", Some(Call::Embeddings)),
            ("/v1beta/models/m:generateContent", Some(Call::Generate { model: model(), stream: false })),
            ("/gemini/v1/models/m:streamGenerateContent", Some(Call::Generate { model: model(), stream: true })),
            ("/v1beta/models/m:countTokens", Some(Call::GeminiCount { model: model() })),
            ("/model/us.a%3A0/invoke", Some(Call::Invoke { model: "us.a:0".into(), stream: false })),
            ("/bedrock/model/m/invoke-with-response-stream", Some(Call::Invoke { model: model(), stream: true })),
            ("/model/m/converse-stream", Some(Call::Converse { model: model(), stream: true })),
            (&format!("{vertex}/m:streamRawPredict"), Some(Call::RawPredict { model: model(), stream: true })),
            (&format!("/vertex{vertex}/count-tokens:rawPredict"), Some(Call::CountTokens)),
            ("/simulator/ledger", Some(Call::Control { path: "ledger".into() })),
            ("/anthropicx/v1/messages", None),
            ("/v1/messages/", None),
            ("/elsewhere/models/m:generateContent", None),
            ("/model/m", None),
            ("/", None),
        ] {
            assert_eq!(Call::of(&Method::POST, path), expect, "{path}");
        }
        for (path, expect) in [("/", Some(Call::Probe)), ("/v1/models", Some(Call::Models)), ("/v1/messages", None)] {
            assert_eq!(Call::of(&Method::GET, path), expect, "{path}");
        }
        assert_eq!(Call::of(&Method::PUT, "/v1/messages"), None);
    }
}
