//! The dialects, one folder each, and the table by which the rest of the program sees them.

pub(crate) mod read;
pub mod anthropic;
pub mod gemini;
pub mod openai;
pub mod bedrock;
mod envelope;
pub mod beta;
pub mod vertex;

use std::borrow::Cow;

pub use envelope::Enveloped;

use crate::{
    error::{DecodeError, ErrorClass, Failure},
    hub::{
        Answer, Feature, Fit, Forms, Losses, Request, StreamDecoder, StreamEncoder, Support,
        fit::{self, Fitting},
    },
};

/// What a request is besides its body: some dialects name the model and the stream in the path.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Called<'a> {
    /// The model in the path.
    pub model: Option<Cow<'a, str>>,
    /// Whether the path asks for a stream.
    pub stream: Option<bool>,
}

/// The largest event of a stream that is translated: no answer has a block of that size.
pub(crate) const STREAM_EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a client is told of a stream that is none.
pub(crate) const UNREADABLE_STREAM: &str = "The model provider sent an event that cannot be read. Try again.";

/// Where a vendor's form of a dialect differs from that of its author.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Quirks {
    /// OpenAI Chat: the limit of output is `max_tokens`, and not `max_completion_tokens`.
    pub has_max_tokens: bool,
    /// OpenAI Chat: instructions have the role `system`, and not `developer`.
    pub has_system_role: bool,
    /// OpenAI Chat: thinking comes and goes in `reasoning_content` of a message.
    pub takes_reasoning_content: bool,
    /// OpenAI Chat: there is no `parallel_tool_calls`.
    pub lacks_parallel_tools: bool,
    /// OpenAI Chat: there is no `stream_options`; a stream tells its usage anyway, or not at all.
    pub lacks_stream_options: bool,
    /// OpenAI Chat: there is no `response_format` with a schema.
    pub lacks_schema_format: bool,
    /// There is no `reasoning_effort` (OpenAI Chat), no `output_config.effort` (Anthropic: models before Opus 4.5).
    pub lacks_effort: bool,
    /// OpenAI Chat: the model always thinks: `reasoning_effort` is never `none`.
    pub cannot_stop_thinking: bool,
    /// OpenAI Chat: how a request says how much the model thinks.
    pub thinking_form: ThinkingForm,
    /// OpenAI Chat: texts that follow each other in one message are one text, and not a list.
    pub joins_texts: bool,
    /// OpenAI Chat: how content says up to where the prompt is cached.
    pub cache_form: CacheForm,
    /// OpenAI Chat: `web_search_options` is taken; with OpenAI itself only the models take it that always search.
    pub takes_web_search: bool,
    /// Anthropic: there are no `temperature`, `top_p` and `top_k`; so it is with models from Opus 4.7 on.
    pub lacks_sampling: bool,
    /// Anthropic: thinking has no budget, the model decides by itself; so it is with models from Opus 4.7 on.
    pub lacks_thinking_budget: bool,
    /// Anthropic: thinking has a budget, the model does not decide by itself; so it is with models before Opus 4.6.
    pub lacks_adaptive_thinking: bool,
    /// Anthropic: there are no instructions in the middle of the conversation; so it is with models before Opus 4.8.
    pub lacks_system_turns: bool,
    /// The most tokens of output that the model gives, where they are known.
    pub output_tokens_max: Option<u64>,
    /// `top_k` is taken although the dialect's author has none.
    pub takes_top_k: bool,
}

/// How a request of OpenAI Chat says how much the model thinks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ThinkingForm {
    /// `reasoning_effort`.
    #[default]
    Effort,
    /// `reasoning`, with `effort`, `max_tokens`, `enabled` and `exclude`: OpenRouter.
    Reasoning,
    /// `thinking`, with `type`: DeepSeek, GLM, Kimi.
    Thinking,
    /// `enable_thinking` and `thinking_budget`: Qwen.
    Enable,
}

/// How content of OpenAI Chat says up to where the prompt is cached.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CacheForm {
    /// Not: the provider finds what it has cached.
    #[default]
    None,
    /// `cache_control`, which tools have too: OpenRouter for the models of Anthropic, Qwen.
    Control,
    /// `prompt_cache_breakpoint`: OpenAI itself from GPT-5.6 on.
    Breakpoint,
}

macro_rules! dialects {
    ($($(#[$about:meta])* $variant:ident = $word:literal in $($module:ident)::+),+ $(,)?) => {
        /// A provider's wire format.
        #[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Dialect {
            $($(#[$about])* $variant),+
        }

        impl Dialect {
            /// Every dialect.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// Its word in configuration, records and headers.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The dialect of that word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }

            /// How it has a feature.
            #[must_use]
            pub const fn support(self, feature: &Feature) -> Support {
                match self { $(Self::$variant => $($module)::+::support(feature),)+ }
            }

            /// Reads a request.
            ///
            /// # Errors
            /// When it is not one of this dialect; the text is a sentence for the client.
            pub fn decode_request<'a>(self, called: &Called<'a>, body: &'a [u8]) -> Result<Request<'a>, DecodeError> {
                let mut request = match self { $(Self::$variant => $($module)::+::decode_request(called, body),)+ }?;
                request.forms.fit = Fit::of(&request, body);
                Ok(request)
            }

            /// Writes a request. What the dialect cannot express is noted.
            #[must_use]
            pub fn encode_request(self, request: &Request<'_>, quirks: &Quirks, losses: &mut Losses) -> Vec<u8> {
                if request.dialect != self {
                    request.forms.approximate(losses);
                }
                // Anthropic takes longer names, and spells what letters it does not take.
                let named = (request.dialect != self && self != Self::Anthropic).then(|| fit::named(request)).flatten();
                let request = named.as_ref().unwrap_or(request);
                // Who speaks the dialect knows the model; elsewhere its quirks are for the vendor to know.
                let has_models = matches!(self, Self::Anthropic | Self::BedrockConverse) && request.dialect != self;
                let of_model = has_models.then(|| anthropic::model::quirks_of(&request.model, quirks));
                let quirks = of_model.as_ref().unwrap_or(quirks);
                match self { $(Self::$variant => $($module)::+::encode_request(request, quirks, losses),)+ }
            }

            /// Reads a whole answer.
            ///
            /// # Errors
            /// When it is not one of this dialect.
            pub fn decode_answer(self, body: &[u8]) -> Result<Answer<'_>, DecodeError> {
                match self { $(Self::$variant => $($module)::+::decode_answer(body),)+ }
            }

            /// Writes a whole answer.
            #[must_use]
            pub fn encode_answer(self, answer: &Answer<'_>) -> Vec<u8> {
                match self { $(Self::$variant => $($module)::+::encode_answer(answer),)+ }
            }

            /// Reads a streamed answer.
            #[must_use]
            pub fn stream_decoder(self) -> Box<dyn StreamDecoder> {
                match self { $(Self::$variant => Box::new($($module)::+::Decoder::default()),)+ }
            }

            /// Writes a streamed answer.
            #[must_use]
            pub fn stream_encoder(self) -> Box<dyn StreamEncoder> {
                match self { $(Self::$variant => Box::new($($module)::+::Encoder::default()),)+ }
            }

            /// Reads the body of an error answer with that status; whatever it is, it says something.
            #[must_use]
            pub fn decode_error(self, status: u16, body: &[u8]) -> Failure {
                match self { $(Self::$variant => $($module)::+::decode_error(status, body),)+ }
            }

            /// Writes the body of an error answer.
            #[must_use]
            pub fn encode_error(self, class: ErrorClass, message: &str, request_id: &str) -> Vec<u8> {
                match self { $(Self::$variant => $($module)::+::encode_error(class, message, request_id),)+ }
            }
        }
    };
}

dialects! {
    /// Anthropic Messages: also what Bedrock's InvokeModel and Vertex's rawPredict carry.
    #[default]
    Anthropic = "anthropic" in anthropic,
    /// OpenAI Responses.
    OpenAiResponses = "openai_responses" in openai::responses,
    /// Amazon Bedrock's Converse: one form for the models of many makers.
    BedrockConverse = "bedrock_converse" in bedrock::converse,
    /// Gemini's `generateContent`, of the Gemini API and of Vertex.
    Gemini = "gemini" in gemini,
    /// OpenAI Chat Completions, and the many vendors who speak it.
    OpenAiChat = "openai_chat" in openai::chat,
}

impl Dialect {
    /// Writes a whole answer to a request of this dialect with these forms of tools ([`Request::forms`]).
    #[must_use]
    pub fn encode_answer_in(self, forms: &Forms, answer: &Answer<'_>) -> Vec<u8> {
        let told = forms.fit.answer(self, answer);
        let answer = told.as_ref().unwrap_or(answer);
        match self {
            Self::OpenAiResponses => openai::responses::encode_answer_in(forms, answer),
            _ => self.encode_answer(answer),
        }
    }

    /// Writes a streamed answer to a request of this dialect with these forms of tools ([`Request::forms`]).
    #[must_use]
    pub fn stream_encoder_in(self, forms: Forms) -> Box<dyn StreamEncoder> {
        let fit = forms.fit.clone();
        let inner = match self {
            Self::OpenAiResponses => Box::new(openai::responses::Encoder::new(forms)),
            _ => self.stream_encoder(),
        };
        Box::new(Fitting::new(fit, self, inner))
    }

    /// As [`Self::stream_encoder_in`], for a client that wants no events but one JSON list: Gemini's, without `alt=sse`. The other dialects
    /// have none.
    #[must_use]
    pub fn list_encoder_in(self, forms: Forms) -> Box<dyn StreamEncoder> {
        match self {
            Self::Gemini => Box::new(Fitting::new(forms.fit, self, Box::new(gemini::Encoder::list()))),
            _ => self.stream_encoder_in(forms),
        }
    }
}
