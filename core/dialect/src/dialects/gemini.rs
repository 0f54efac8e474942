//! Gemini's `generateContent`, of the Gemini API (<https://ai.google.dev/api/generate-content>) and of Vertex AI
//! (<https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference>): requests, answers and streams to
//! and from the hub.
//!
//! The model and whether it streams stand in the path. The body is JSON as protocol buffers have it: each name may be written
//! `camelCase` or `snake_case`, a list of one may be left without its brackets, and bytes are base64 of either alphabet; all of that is
//! read, and the first form is written. What is surprising:
//!
//! | here | in the hub |
//! |---|---|
//! | `functionDeclarations[].parameters` (a subset of `OpenAPI`, types in capitals) | a JSON schema (`schema`); written as `parametersJsonSchema`, which takes any JSON schema as it is and so loses nothing |
//! | a call without an id | an id made of the answer's id, or of the call's place in the conversation |
//! | `thoughtSignature` of a call | the call's own seal, or thinking without text directly ahead of the call, where the conversation passed through a client that keeps seals only in thinking |
//! | `thoughtSignature` of a text | thinking without text directly behind it; written as an empty text with the seal, as streams have it |
//! | a call without any seal, from elsewhere | `seal::NONE` on the first call of a step: Gemini 3 refuses a step without one |
//! | a seal of another provider | base64 of its envelope, on the thought and on the first call behind it, since some clients forget thoughts |
//! | a function's `response` | text: `output`, `error` (the tool failed), `result`, the texts of MCP's `content`, or all of its JSON |
//! | `executableCode`, `toolCall`, a video's `videoMetadata`, .. | blocks that only this dialect has |

mod wire;
mod model;
mod seal;
mod schema;
mod media;
mod result;
mod part;
mod generation;
mod support;
mod decode;
mod encode;
mod usage;
mod grounding;
mod message;
mod framing;
mod partial;
mod decoder;
mod encoder;
mod error;
mod count;

pub use count::{
    CountForm, decode_count, decode_count_answer, encode_count, encode_count_answer, model_list, takes_count,
};
pub use decode::decode_request;
pub use decoder::Decoder;
pub use encode::encode_request;
pub use encoder::Encoder;
pub use error::{decode_error, encode_error, retry_seconds};
pub use framing::Elements;
pub use message::{decode_answer, encode_answer};
pub use support::support;
