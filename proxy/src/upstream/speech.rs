//! How a provider is spoken to: its dialect, and the path behind its base URL.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tollgate_dialect::{CacheForm, Dialect, Quirks, ThinkingForm};
use tollgate_policy::{
    provider::{Dialect as Spoken, Quirk},
    snapshot::Provider,
};

// RFC 3986, section 2.3: what is encoded nowhere. A colon is encoded, as AWS's own clients do.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// In what a cloud carries bodies of Anthropic Messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Envelope {
    /// Amazon Bedrock's InvokeModel.
    Bedrock,
    /// Google Vertex's `rawPredict`.
    Vertex,
}

/// The dialect of a provider; `None`: this version does not speak it.
#[must_use]
pub(crate) fn dialect(spoken: Spoken) -> Option<Dialect> {
    match spoken {
        Spoken::BedrockInvoke | Spoken::VertexAnthropic => Some(Dialect::Anthropic),
        _ => Dialect::from_word(spoken.word()),
    }
}

/// In what the provider carries it; `None`: as it is.
#[must_use]
pub(crate) const fn envelope(spoken: Spoken) -> Option<Envelope> {
    match spoken {
        Spoken::BedrockInvoke => Some(Envelope::Bedrock),
        Spoken::VertexAnthropic => Some(Envelope::Vertex),
        _ => None,
    }
}

/// The path of a question in an envelope, behind the base URL.
#[must_use]
pub(crate) fn enveloped(envelope: Envelope, model: &str, stream: bool) -> String {
    let model = segment(model);
    match (envelope, stream) {
        (Envelope::Bedrock, false) => format!("/model/{model}/invoke"),
        (Envelope::Bedrock, true) => format!("/model/{model}/invoke-with-response-stream"),
        (Envelope::Vertex, false) => format!("/models/{model}:rawPredict"),
        (Envelope::Vertex, true) => format!("/models/{model}:streamRawPredict"),
    }
}

/// The word of policy for a dialect.
#[must_use]
pub(crate) fn policy(dialect: Dialect) -> Spoken {
    Spoken::of_word(dialect.word()).unwrap_or(Spoken::Anthropic)
}

/// How a provider differs from its dialect's author.
#[must_use]
pub(crate) fn quirks(provider: &Provider) -> Quirks {
    let has = |quirk| provider.quirks.contains(&quirk);
    Quirks {
        has_max_tokens: has(Quirk::MaxTokens),
        has_system_role: has(Quirk::SystemRole),
        takes_reasoning_content: has(Quirk::ReasoningContent),
        lacks_parallel_tools: has(Quirk::NoParallelTools),
        lacks_stream_options: has(Quirk::NoStreamOptions),
        lacks_schema_format: has(Quirk::NoSchemaFormat),
        lacks_effort: has(Quirk::NoEffort),
        takes_top_k: has(Quirk::TopK),
        cannot_stop_thinking: has(Quirk::AlwaysThinks),
        thinking_form: if has(Quirk::ReasoningObject) {
            ThinkingForm::Reasoning
        } else if has(Quirk::ThinkingObject) {
            ThinkingForm::Thinking
        } else if has(Quirk::EnableThinking) {
            ThinkingForm::Enable
        } else {
            ThinkingForm::Effort
        },
        joins_texts: has(Quirk::JoinedTexts),
        cache_form: if has(Quirk::CacheControl) {
            CacheForm::Control
        } else if has(Quirk::CacheBreakpoint) {
            CacheForm::Breakpoint
        } else {
            CacheForm::None
        },
        lacks_sampling: has(Quirk::NoSampling),
        lacks_thinking_budget: has(Quirk::NoThinkingBudget),
        lacks_system_turns: has(Quirk::NoSystemTurns),
        lacks_adaptive_thinking: has(Quirk::NoAdaptiveThinking),
        takes_web_search: has(Quirk::WebSearch),
        // That of the model, which whoever asks knows.
        output_tokens_max: None,
    }
}

/// The path and the query of a question to a model, behind the base URL.
#[must_use]
pub(crate) fn path(dialect: Dialect, model: &str, stream: bool) -> Cow<'static, str> {
    let model = || segment(model);
    match (dialect, stream) {
        (Dialect::Anthropic, _) => "/v1/messages".into(),
        (Dialect::OpenAiChat, _) => "/chat/completions".into(),
        (Dialect::OpenAiResponses, _) => "/responses".into(),
        (Dialect::Gemini, false) => format!("/models/{}:generateContent", model()).into(),
        (Dialect::Gemini, true) => format!("/models/{}:streamGenerateContent?alt=sse", model()).into(),
        (Dialect::BedrockConverse, false) => format!("/model/{}/converse", model()).into(),
        (Dialect::BedrockConverse, true) => format!("/model/{}/converse-stream", model()).into(),
    }
}

/// The type of a stream of that dialect.
#[must_use]
pub(crate) const fn stream_type(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::BedrockConverse => "application/vnd.amazon.eventstream",
        Dialect::Anthropic | Dialect::OpenAiChat | Dialect::OpenAiResponses | Dialect::Gemini => "text/event-stream",
    }
}

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_has_its_path() {
        for (dialect, model, stream, expect) in [
            (Dialect::Anthropic, "claude-x", true, "/v1/messages"),
            (Dialect::OpenAiChat, "gpt-5", true, "/chat/completions"),
            (Dialect::OpenAiResponses, "gpt-5", false, "/responses"),
            (Dialect::Gemini, "gemini-3-pro", false, "/models/gemini-3-pro:generateContent"),
            (Dialect::Gemini, "gemini-3-pro", true, "/models/gemini-3-pro:streamGenerateContent?alt=sse"),
            (Dialect::BedrockConverse, "amazon.nova-pro-v1:0", false, "/model/amazon.nova-pro-v1%3A0/converse"),
            (Dialect::BedrockConverse, "a/../b", true, "/model/a%2F..%2Fb/converse-stream"),
        ] {
            assert_eq!(path(dialect, model, stream), expect);
        }
    }

    #[test]
    fn each_dialect_of_the_hub_is_one_of_policy() {
        for dialect in Dialect::ALL {
            assert_eq!(super::dialect(policy(dialect)), Some(dialect));
        }
    }
}
