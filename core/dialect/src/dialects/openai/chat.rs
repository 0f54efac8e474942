//! OpenAI Chat Completions (<https://platform.openai.com/docs/api-reference/chat>), and what the vendors of that dialect add to it.
//!
//! Where it is surprising, what becomes of a field:
//!
//! | field | in the hub |
//! |---|---|
//! | `system` and `developer` | the same; those at the start are the instructions, later ones are turns |
//! | `tool` messages that follow each other | the results in one turn |
//! | `tool_calls[].function.arguments` | as they are; what is no JSON object becomes one, with the text in `invalid_arguments` |
//! | a call without an id | gets one that its place decides; results without one answer the calls in their order |
//! | `reasoning_details` | thinking, each entry a block; if there are none, `reasoning_content` or `reasoning` is one |
//! | `refusal` | text, and the answer stops with a refusal |
//! | `n`, `logprobs`, `logit_bias`, `prompt_cache_key`, … | kept for the same dialect, a loss in others |
//! | `name` of a message | left out: no other dialect has names of speakers |
//! | `created` | written as 0: the hub knows no time |
//!
//! A provider's seal goes into `reasoning_details`, in the form that OpenRouter gave it: clients that send their messages back as they
//! got them keep it. With what a vendor wants back beside the seal (`format` and `id`) it is packed into one text.

mod wire;
mod support;
mod part;
mod call;
mod reasoning;
mod turn;
mod decode;
mod messages;
mod say;
mod encode;
mod message;
mod sequence;
mod decoder;
mod encoder;

pub use super::error::{decode_error, encode_error};
pub(super) use call::short_user;
pub use decode::decode_request;
pub use decoder::Decoder;
pub use encode::encode_request;
pub use encoder::Encoder;
pub use message::{decode_answer, encode_answer};
pub use support::support;
