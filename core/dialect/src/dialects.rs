//! The dialects, one folder each, and the table by which the rest of the program sees them.

pub(crate) mod read;
pub mod anthropic;
pub mod openai;
pub mod bedrock;
mod envelope;
pub mod vertex;

use std::borrow::Cow;

pub use envelope::Enveloped;

use crate::{
    error::{DecodeError, ErrorClass, Failure},
    hub::{Answer, Feature, Losses, Request, StreamDecoder, StreamEncoder, Support},
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
    /// OpenAI Chat: there is no `reasoning_effort`.
    pub lacks_effort: bool,
    /// `top_k` is taken although the dialect's author has none.
    pub takes_top_k: bool,
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
                match self { $(Self::$variant => $($module)::+::decode_request(called, body),)+ }
            }

            /// Writes a request. What the dialect cannot express is noted.
            #[must_use]
            pub fn encode_request(self, request: &Request<'_>, quirks: &Quirks, losses: &mut Losses) -> Vec<u8> {
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
    /// Amazon Bedrock's Converse: one form for the models of many makers.
    BedrockConverse = "bedrock_converse" in bedrock::converse,
}
