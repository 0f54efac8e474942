//! The Converse API: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>.
//!
//! What is not as one would expect:
//!
//! | in the API | in the hub |
//! |---|---|
//! | `cachePoint`, a block behind what it covers; a tool's result has none inside, and none may follow reasoning | a mark on the block; one inside a result goes behind the result |
//! | `signature` and `redactedContent` | a seal of Anthropic's where it looks like one, since Claude's are good on every platform; otherwise one of Bedrock's (`seal`) |
//! | a document's `name`, which must be there, be neutral and occur once | the title; `Document 1` stands for none |
//! | `toolResult.content[].json` | text |
//! | `guardContent` | the text or image in it: without `guardrailConfig`, which is left out elsewhere, it means no more |
//! | `additionalModelRequestFields` | `top_k` and thinking, in the form of the model's maker (`additional`) |
//! | `outputConfig.textFormat`, whose schema is a text of JSON | the schema |
//! | no `toolChoice` of none, and no calls in the history without `toolConfig` | tools are left out, or an instruction says so |
//! | roles alternate | turns of one role are joined, results of tools ahead |
//! | an answer has no id and names no model | both are empty; [`Fit`](crate::hub::Fit) fills them |
//! | nothing is cached that is not marked, for Claude | the conversation of an agent whose own provider caches unasked gets two marks |
//! | the usage comes behind the end of a streamed message | the end waits for it |

mod wire;
mod formats;
mod seal;
mod citation;
mod additional;
mod support;
mod block;
mod decode;
mod piece;
mod document;
mod media;
mod tools;
mod encode;
mod message;
mod usage;
mod error;
mod decoder;
mod encoder;

pub use decode::decode_request;
pub use decoder::Decoder;
pub use encode::encode_request;
pub use encoder::Encoder;
pub use error::{decode_error, encode_error, error_type, exception_type, failure_of};
pub use message::{decode_answer, encode_answer};
pub use support::support;
