//! How a provider is spoken to: its dialect, and the path behind its base URL for what it is asked.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tollgate_dialect::{CacheForm, Dialect, Quirks, ThinkingForm, gemini::CountForm, vertex};
use tollgate_policy::{
    provider::{Dialect as Spoken, Quirk},
    snapshot::Provider,
};

// RFC 3986, section 2.3: what is encoded nowhere. A colon is encoded, as AWS's own clients do.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a provider is asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Question {
    /// What a model says next.
    #[default]
    Answer,
    /// What texts are to a model, in numbers.
    Embeddings,
    /// How many tokens a request has.
    Count,
}

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

/// The word of policy for a dialect, and for what its bodies are carried in.
#[must_use]
pub(crate) fn policy(dialect: Dialect, envelope: Option<Envelope>) -> Spoken {
    match envelope {
        Some(Envelope::Bedrock) => Spoken::BedrockInvoke,
        Some(Envelope::Vertex) => Spoken::VertexAnthropic,
        None => Spoken::of_word(dialect.word()).unwrap_or(Spoken::Anthropic),
    }
}

/// How a provider of Gemini's dialect wants a request to count.
#[must_use]
pub(crate) fn count_form(provider: &Provider) -> CountForm {
    // Vertex names the publisher of a model, the Gemini API has but one.
    if provider.base_url.contains("/publishers/") { CountForm::Vertex } else { CountForm::Gemini }
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
pub(crate) fn path(
    question: Question,
    dialect: Dialect,
    envelope: Option<Envelope>,
    model: &str,
    stream: bool,
) -> Cow<'static, str> {
    let model = || segment(model);
    match (question, envelope) {
        (Question::Embeddings, _) => "/embeddings".into(),
        (Question::Count, Some(_)) => format!("/models/{}:rawPredict", vertex::COUNT_TOKENS).into(),
        (Question::Count, None) => match dialect {
            Dialect::Gemini => format!("/models/{}:countTokens", model()).into(),
            Dialect::OpenAiResponses => "/responses/input_tokens".into(),
            // The last two do not count, and are not asked.
            Dialect::Anthropic | Dialect::OpenAiChat | Dialect::BedrockConverse => "/v1/messages/count_tokens".into(),
        },
        (Question::Answer, Some(Envelope::Bedrock)) if stream => {
            format!("/model/{}/invoke-with-response-stream", model()).into()
        }
        (Question::Answer, Some(Envelope::Bedrock)) => format!("/model/{}/invoke", model()).into(),
        (Question::Answer, Some(Envelope::Vertex)) if stream => format!("/models/{}:streamRawPredict", model()).into(),
        (Question::Answer, Some(Envelope::Vertex)) => format!("/models/{}:rawPredict", model()).into(),
        (Question::Answer, None) => match (dialect, stream) {
            (Dialect::Anthropic, _) => "/v1/messages".into(),
            (Dialect::OpenAiChat, _) => "/chat/completions".into(),
            (Dialect::OpenAiResponses, _) => "/responses".into(),
            (Dialect::Gemini, false) => format!("/models/{}:generateContent", model()).into(),
            (Dialect::Gemini, true) => format!("/models/{}:streamGenerateContent?alt=sse", model()).into(),
            (Dialect::BedrockConverse, false) => format!("/model/{}/converse", model()).into(),
            (Dialect::BedrockConverse, true) => format!("/model/{}/converse-stream", model()).into(),
        },
    }
}

/// The type of a stream of that dialect, in that envelope.
#[must_use]
pub(crate) const fn stream_type(dialect: Dialect, envelope: Option<Envelope>) -> &'static str {
    match (dialect, envelope) {
        (Dialect::BedrockConverse, _) | (_, Some(Envelope::Bedrock)) => "application/vnd.amazon.eventstream",
        (Dialect::Anthropic | Dialect::OpenAiChat | Dialect::OpenAiResponses | Dialect::Gemini, _) => {
            "text/event-stream"
        }
    }
}

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_question_has_its_path_in_each_dialect() {
        use {Dialect as D, Envelope as E, Question as Q};
        for (question, dialect, envelope, model, stream, expect) in [
            (Q::Answer, D::Anthropic, None, "claude-x", true, "/v1/messages"),
            (Q::Answer, D::OpenAiChat, None, "gpt-5", true, "/chat/completions"),
            (Q::Answer, D::OpenAiResponses, None, "gpt-5", false, "/responses"),
            (Q::Answer, D::Gemini, None, "gemini-3-pro", false, "/models/gemini-3-pro:generateContent"),
            (Q::Answer, D::Gemini, None, "gemini-3-pro", true, "/models/gemini-3-pro:streamGenerateContent?alt=sse"),
            (Q::Answer, D::BedrockConverse, None, "amazon.nova-v1:0", false, "/model/amazon.nova-v1%3A0/converse"),
            (Q::Answer, D::BedrockConverse, None, "a/../b", true, "/model/a%2F..%2Fb/converse-stream"),
            (Q::Answer, D::Anthropic, Some(E::Bedrock), "a:0", false, "/model/a%3A0/invoke"),
            (Q::Answer, D::Anthropic, Some(E::Bedrock), "a/b", true, "/model/a%2Fb/invoke-with-response-stream"),
            (Q::Answer, D::Anthropic, Some(E::Vertex), "c@1", false, "/models/c%401:rawPredict"),
            (Q::Answer, D::Anthropic, Some(E::Vertex), "c", true, "/models/c:streamRawPredict"),
            (Q::Count, D::Anthropic, None, "c", false, "/v1/messages/count_tokens"),
            (Q::Count, D::Anthropic, Some(E::Vertex), "c", false, "/models/count-tokens:rawPredict"),
            (Q::Count, D::Gemini, None, "g", false, "/models/g:countTokens"),
            (Q::Count, D::OpenAiResponses, None, "o", false, "/responses/input_tokens"),
            (Q::Embeddings, D::OpenAiResponses, None, "o", false, "/embeddings"),
        ] {
            assert_eq!(path(question, dialect, envelope, model, stream), expect);
        }
    }

    #[test]
    fn each_dialect_of_the_hub_is_one_of_policy() {
        for dialect in Dialect::ALL {
            assert_eq!(super::dialect(policy(dialect, None)), Some(dialect));
        }
        for envelope in [Envelope::Bedrock, Envelope::Vertex] {
            assert_eq!(super::envelope(policy(Dialect::Anthropic, Some(envelope))), Some(envelope));
        }
    }
}
