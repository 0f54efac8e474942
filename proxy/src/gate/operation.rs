//! What is called: each operation that clients know, and what it means for the rooms.

use tollgate_dialect::Dialect;
use tollgate_policy::{decide::Granted, provider::Dialect as Spoken};

use crate::upstream::speech::{Envelope, Question};

/// What is called.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) enum Operation {
    /// `POST /v1/messages`.
    Messages,
    /// `POST /v1/chat/completions`.
    ChatCompletions,
    /// `POST /v1/responses`.
    Responses,
    /// `POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent`, of the Gemini API and of Vertex.
    GenerateContent,
    /// `POST /model/{model}/converse` and `/converse-stream`.
    Converse,
    /// `POST /model/{model}/invoke` and `/invoke-with-response-stream`, with a body of Messages.
    Invoke,
    /// `POST ../publishers/anthropic/models/{model}:rawPredict` and `:streamRawPredict`, with a body of Messages.
    RawPredict,
    /// `POST /v1/embeddings`.
    Embeddings,
    /// `POST /v1/messages/count_tokens`.
    CountTokens,
    /// `POST ../publishers/anthropic/models/count-tokens:rawPredict`.
    RawCountTokens,
    /// `POST /v1beta/models/{model}:countTokens`.
    GeminiCountTokens,
    /// `POST /v1/responses/input_tokens`.
    InputTokens,
    /// `GET /v1/models`.
    Models,
    /// `GET /v1beta/models`.
    GeminiModels,
    /// `GET /inference-profiles`.
    InferenceProfiles,
    /// `POST`, `GET` and `DELETE /mcp` and `/mcp/{server}`: a message to servers of tools, or a stream of theirs.
    Mcp,
    /// A call of a tool among them.
    McpCall,
    /// A look whether somebody is there.
    Probe,
    /// Nothing that is served.
    #[default]
    Unknown,
}

impl Operation {
    /// Every operation.
    pub(crate) const ALL: [Self; 19] = [
        Self::Messages,
        Self::ChatCompletions,
        Self::Responses,
        Self::GenerateContent,
        Self::Converse,
        Self::Invoke,
        Self::RawPredict,
        Self::Embeddings,
        Self::CountTokens,
        Self::RawCountTokens,
        Self::GeminiCountTokens,
        Self::InputTokens,
        Self::Models,
        Self::GeminiModels,
        Self::InferenceProfiles,
        Self::Mcp,
        Self::McpCall,
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
            Self::Invoke => "invoke",
            Self::RawPredict => "raw_predict",
            Self::Embeddings => "embeddings",
            Self::CountTokens => "count_tokens",
            Self::RawCountTokens => "raw_predict_count_tokens",
            Self::GeminiCountTokens => "gemini_count_tokens",
            Self::InputTokens => "responses_input_tokens",
            Self::Models => "models",
            Self::GeminiModels => "gemini_models",
            Self::InferenceProfiles => "inference_profiles",
            Self::Mcp => "mcp",
            Self::McpCall => "mcp_call",
            Self::Probe => "probe",
            Self::Unknown => "unknown",
        }
    }

    /// The word of OpenTelemetry's conventions for generative AI, where there is one.
    #[must_use]
    pub(crate) const fn genai(self) -> &'static str {
        match self.question() {
            Some(Question::Answer) => "chat",
            _ => self.word(),
        }
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
            Self::Invoke => "/model/{model}/invoke",
            Self::RawPredict => {
                "/v1/projects/{project}/locations/{location}/publishers/anthropic/models/{model}:rawPredict"
            }
            Self::Embeddings => "/v1/embeddings",
            Self::CountTokens => "/v1/messages/count_tokens",
            Self::RawCountTokens => {
                "/v1/projects/{project}/locations/{location}/publishers/anthropic/models/count-tokens:rawPredict"
            }
            Self::GeminiCountTokens => "/v1beta/models/{model}:countTokens",
            Self::InputTokens => "/v1/responses/input_tokens",
            Self::Models => "/v1/models",
            Self::GeminiModels => "/v1beta/models",
            Self::InferenceProfiles => "/inference-profiles",
            Self::Mcp | Self::McpCall => "/mcp",
            Self::Probe | Self::Unknown => "/",
        }
    }

    /// What a provider is asked for; `None`: nothing, the replica answers by itself.
    #[must_use]
    pub(crate) const fn question(self) -> Option<Question> {
        match self {
            Self::Messages
            | Self::ChatCompletions
            | Self::Responses
            | Self::GenerateContent
            | Self::Converse
            | Self::Invoke
            | Self::RawPredict => Some(Question::Answer),
            Self::Embeddings => Some(Question::Embeddings),
            Self::CountTokens | Self::RawCountTokens | Self::GeminiCountTokens | Self::InputTokens => {
                Some(Question::Count)
            }
            Self::Models
            | Self::GeminiModels
            | Self::InferenceProfiles
            | Self::Mcp
            | Self::McpCall
            | Self::Probe
            | Self::Unknown => None,
        }
    }

    /// Whether a model answers, and is paid for it.
    #[must_use]
    pub(crate) const fn is_answered(self) -> bool {
        matches!(self.question(), Some(Question::Answer | Question::Embeddings))
    }

    /// Whether tokens are counted, which costs nothing.
    #[must_use]
    pub(crate) const fn is_count(self) -> bool {
        matches!(self.question(), Some(Question::Count))
    }

    /// Whether the models are listed that the key may ask for.
    #[must_use]
    pub(crate) const fn is_list(self) -> bool {
        matches!(self, Self::Models | Self::GeminiModels | Self::InferenceProfiles)
    }

    /// Whether servers of tools are spoken to.
    #[must_use]
    pub(crate) const fn is_mcp(self) -> bool {
        matches!(self, Self::Mcp | Self::McpCall)
    }

    /// The dialects of the providers that can be asked; `None`: all of them, since between two dialects it is translated.
    #[must_use]
    pub(crate) const fn asks_only(self) -> Option<&'static [Spoken]> {
        match self {
            Self::CountTokens | Self::RawCountTokens | Self::GeminiCountTokens => {
                Some(&[Spoken::Anthropic, Spoken::VertexAnthropic, Spoken::Gemini])
            }
            // Not every provider of Responses counts: only a client that speaks it too takes the risk.
            Self::InputTokens => {
                Some(&[Spoken::OpenAiResponses, Spoken::Anthropic, Spoken::VertexAnthropic, Spoken::Gemini])
            }
            Self::Embeddings => Some(&[Spoken::OpenAiChat, Spoken::OpenAiResponses]),
            _ => None,
        }
    }

    /// Whether somebody can be asked among those whom policy grants.
    #[must_use]
    pub(crate) fn is_asked_of(self, granted: &Granted) -> bool {
        let can =
            |only: &'static [Spoken]| granted.targets().iter().any(|target| only.contains(&target.provider.dialect));
        self.asks_only().is_none_or(can)
    }

    /// The dialect of the body, once it is taken out of its envelope.
    #[must_use]
    pub(crate) const fn body(self) -> Dialect {
        match self {
            Self::Invoke => Dialect::Anthropic,
            _ => self.dialect(),
        }
    }

    /// In what the client carries its body; `None`: as it is.
    #[must_use]
    pub(crate) const fn envelope(self) -> Option<Envelope> {
        match self {
            Self::Invoke => Some(Envelope::Bedrock),
            Self::RawPredict | Self::RawCountTokens => Some(Envelope::Vertex),
            _ => None,
        }
    }

    /// The dialect in which the client is told what is wrong. What belongs to none is answered in Anthropic's.
    #[must_use]
    pub(crate) const fn dialect(self) -> Dialect {
        match self {
            Self::ChatCompletions | Self::Embeddings => Dialect::OpenAiChat,
            Self::Responses | Self::InputTokens => Dialect::OpenAiResponses,
            Self::GenerateContent | Self::GeminiCountTokens | Self::GeminiModels => Dialect::Gemini,
            Self::Converse | Self::Invoke | Self::InferenceProfiles => Dialect::BedrockConverse,
            Self::Messages
            | Self::RawPredict
            | Self::CountTokens
            | Self::RawCountTokens
            | Self::Models
            | Self::Mcp
            | Self::McpCall
            | Self::Probe
            | Self::Unknown => Dialect::Anthropic,
        }
    }
}
