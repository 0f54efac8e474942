//! Who answers: a provider is data. What sets one apart from another of its dialect is in its row, not in code.

use std::sync::Arc;

use crate::{
    id::{CredentialId, ProviderId},
    pattern::Patterns,
};

/// The longest name of a header or of a query's parameter, in bytes.
pub const AUTH_NAME_BYTES_MAX: usize = 64;

/// The format in which a client or a provider speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Dialect {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Chat Completions, and everything that is compatible with it.
    OpenAiChat,
    /// OpenAI Responses.
    OpenAiResponses,
    /// Gemini `generateContent`, of Google's Gemini API and of Vertex.
    Gemini,
    /// Amazon Bedrock's Converse.
    BedrockConverse,
    /// Amazon Bedrock's InvokeModel with Anthropic Messages in it.
    BedrockInvoke,
    /// Google Vertex's `rawPredict` with Anthropic Messages in it.
    VertexAnthropic,
}

/// How a provider is shown its credential.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub enum Auth {
    /// As the dialect's author does.
    #[default]
    OfDialect,
    /// `authorization: Bearer`.
    Bearer,
    /// In that header.
    Header(Arc<str>),
    /// In that parameter of the query.
    Query(Arc<str>),
    /// By a signature of AWS, version 4. The secret is `<access key id>:<secret access key>`, or with `:<session token>` behind it.
    SigV4,
    /// By an access token of Google: for the service account whose key file the secret is, or, with the secret `metadata`, for the
    /// one of the machine.
    Google,
    /// By an access token of Microsoft Entra ID. The secret is `<tenant>:<client id>:<client secret>`.
    Entra,
    /// Not at all: the provider is within reach of the replicas alone.
    Nothing,
}

/// Where a vendor's form of a dialect differs from that of its author.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Quirk {
    /// The limit of output is `max_tokens`, and not `max_completion_tokens`.
    MaxTokens,
    /// Instructions have the role `system`, and not `developer`.
    SystemRole,
    /// Thinking comes and goes in `reasoning_content`.
    ReasoningContent,
    /// There is no `parallel_tool_calls`.
    NoParallelTools,
    /// There is no `stream_options`.
    NoStreamOptions,
    /// There is no `response_format` with a schema.
    NoSchemaFormat,
    /// There is no `reasoning_effort`.
    NoEffort,
    /// `top_k` is taken.
    TopK,
    /// The model always thinks: `reasoning_effort` is never `none`.
    AlwaysThinks,
    /// How much the model thinks is said in `reasoning`, an object: OpenRouter.
    ReasoningObject,
    /// How much the model thinks is said in `thinking`, an object: DeepSeek, GLM, Kimi.
    ThinkingObject,
    /// How much the model thinks is said in `enable_thinking` and `thinking_budget`: Qwen.
    EnableThinking,
    /// Texts that follow each other in one message are one text, and not a list.
    JoinedTexts,
    /// `cache_control` is taken, as OpenRouter has it for the models of Anthropic.
    CacheControl,
    /// `web_search_options` is taken.
    WebSearch,
    /// There are no `temperature`, `top_p` and `top_k`: Anthropic's models from Opus 4.7 on.
    NoSampling,
    /// Thinking has no budget: Anthropic's models from Opus 4.7 on.
    NoThinkingBudget,
    /// There are no instructions in the middle of the conversation: Anthropic's models before Opus 4.8.
    NoSystemTurns,
    /// `prompt_cache_breakpoint` is taken, as OpenAI has it from GPT-5.6 on.
    CacheBreakpoint,
    /// A model thinks within a budget, and not as much as it deems right: Anthropic's models before Opus 4.6.
    NoAdaptiveThinking,
}

/// A provider.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Provider {
    /// Its id.
    pub id: ProviderId,
    /// Its name.
    pub name: Arc<str>,
    /// What it speaks.
    pub dialect: Dialect,
    /// Where it is, without a trailing slash.
    pub base_url: Arc<str>,
    /// Whether a loopback or private address is permitted.
    pub allow_private: bool,
    /// The models that it serves.
    pub models: Patterns,
    /// The vendor under which the catalogue lists its models.
    pub vendor: Arc<str>,
    /// Whether it is not called.
    pub disabled: bool,
    /// The lowest is tried first.
    pub priority: i32,
    /// Its credentials, without their secrets.
    pub credentials: Vec<Credential>,
    /// How it is shown one.
    pub auth: Auth,
    /// Where it is, in its vendor's words, such as `us-east-1`; empty: not said. What [`Auth::SigV4`] signs for.
    pub region: Arc<str>,
    /// How it differs from its dialect's author.
    pub quirks: Arc<[Quirk]>,
}

/// A credential of a provider, without its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credential {
    /// Its id.
    pub id: CredentialId,
    /// Its name.
    pub name: Arc<str>,
    /// Relative weight, at least 1.
    pub weight: u32,
    /// Whether it is not chosen.
    pub disabled: bool,
    /// Where the replica finds the secret; `None`: it comes with the stream.
    pub reference: Option<Arc<str>>,
}

/// A text that names no way of showing a credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "must be bearer, header:<name>, query:<name>, sigv4, google, entra, none, or empty for what is usual in the dialect"
)]
pub struct InvalidAuth;

// === impl Dialect ===

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 7] = [
        Self::Anthropic,
        Self::OpenAiChat,
        Self::OpenAiResponses,
        Self::Gemini,
        Self::BedrockConverse,
        Self::BedrockInvoke,
        Self::VertexAnthropic,
    ];

    /// The word for it in configuration and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAiChat => "openai_chat",
            Self::OpenAiResponses => "openai_responses",
            Self::Gemini => "gemini",
            Self::BedrockConverse => "bedrock_converse",
            Self::BedrockInvoke => "bedrock_invoke",
            Self::VertexAnthropic => "vertex_anthropic",
        }
    }

    /// The dialect of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.word() == word)
    }

    /// The vendor whose models a provider of this dialect has, where nobody says otherwise: as the catalogue spells it.
    #[must_use]
    pub const fn vendor(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAiChat | Self::OpenAiResponses => "openai",
            Self::Gemini => "google",
            Self::VertexAnthropic => "vertex",
            Self::BedrockConverse | Self::BedrockInvoke => "aws",
        }
    }
}

// === impl Auth ===

impl Auth {
    /// Reads it as it is written in configuration and records.
    ///
    /// # Errors
    /// Says what it must be.
    pub fn parse(text: &str) -> Result<Self, InvalidAuth> {
        let named = |name: &str| {
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            let is_name = (1..=AUTH_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_token);
            is_name.then(|| Arc::from(name.to_ascii_lowercase())).ok_or(InvalidAuth)
        };
        Ok(match text {
            "" => Self::OfDialect,
            "bearer" => Self::Bearer,
            "sigv4" => Self::SigV4,
            "google" => Self::Google,
            "entra" => Self::Entra,
            "none" => Self::Nothing,
            _ => match text.split_once(':') {
                Some(("header", name)) => Self::Header(named(name)?),
                Some(("query", name)) => Self::Query(named(name)?),
                _ => return Err(InvalidAuth),
            },
        })
    }

    /// As [`Self::parse`] reads it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::OfDialect => String::new(),
            Self::Bearer => "bearer".to_owned(),
            Self::Header(name) => format!("header:{name}"),
            Self::Query(name) => format!("query:{name}"),
            Self::SigV4 => "sigv4".to_owned(),
            Self::Google => "google".to_owned(),
            Self::Entra => "entra".to_owned(),
            Self::Nothing => "none".to_owned(),
        }
    }
}

// === impl Quirk ===

impl Quirk {
    /// Every quirk.
    pub const ALL: [Self; 20] = [
        Self::MaxTokens,
        Self::SystemRole,
        Self::ReasoningContent,
        Self::NoParallelTools,
        Self::NoStreamOptions,
        Self::NoSchemaFormat,
        Self::NoEffort,
        Self::TopK,
        Self::AlwaysThinks,
        Self::ReasoningObject,
        Self::ThinkingObject,
        Self::EnableThinking,
        Self::JoinedTexts,
        Self::CacheControl,
        Self::WebSearch,
        Self::NoSampling,
        Self::NoThinkingBudget,
        Self::NoSystemTurns,
        Self::CacheBreakpoint,
        Self::NoAdaptiveThinking,
    ];

    /// The word for it in configuration and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::SystemRole => "system_role",
            Self::ReasoningContent => "reasoning_content",
            Self::NoParallelTools => "no_parallel_tools",
            Self::NoStreamOptions => "no_stream_options",
            Self::NoSchemaFormat => "no_schema_format",
            Self::NoEffort => "no_effort",
            Self::TopK => "top_k",
            Self::AlwaysThinks => "always_thinks",
            Self::ReasoningObject => "reasoning_object",
            Self::ThinkingObject => "thinking_object",
            Self::EnableThinking => "enable_thinking",
            Self::JoinedTexts => "joined_texts",
            Self::CacheControl => "cache_control",
            Self::WebSearch => "web_search",
            Self::NoSampling => "no_sampling",
            Self::NoThinkingBudget => "no_thinking_budget",
            Self::NoSystemTurns => "no_system_turns",
            Self::CacheBreakpoint => "cache_breakpoint",
            Self::NoAdaptiveThinking => "no_adaptive_thinking",
        }
    }

    /// The quirk of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quirk| quirk.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_what_they_name() {
        for dialect in Dialect::ALL {
            assert_eq!(Dialect::of_word(dialect.word()), Some(dialect));
        }
        for quirk in Quirk::ALL {
            assert_eq!(Quirk::of_word(quirk.word()), Some(quirk));
        }
        assert_eq!((Dialect::of_word("openai"), Quirk::of_word("")), (None, None));
    }

    #[test]
    fn how_a_credential_is_shown_is_read_and_written_alike() {
        for text in ["", "bearer", "header:api-key", "query:key", "sigv4", "google", "entra", "none"] {
            assert_eq!(Auth::parse(text).map(|auth| auth.text()), Ok(text.to_owned()));
        }
        assert_eq!(Auth::parse("header:API-Key"), Ok(Auth::Header("api-key".into())));
        let long = format!("header:{}", "x".repeat(65));
        for text in ["Bearer", "header", "header:", "header:a b", "query:a=b", "cookie:x", "header:a\r\nb", &long] {
            assert_eq!(Auth::parse(text), Err(InvalidAuth), "{text:?}");
        }
    }
}
