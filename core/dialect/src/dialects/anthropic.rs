//! The Anthropic Messages API: <https://docs.anthropic.com/en/api/messages>.
//!
//! What a gateway needs to pass it through: which model a request asks for and what it may cost
//! ([`probe`], [`price_percent`]), what an answer costs ([`StreamMeter`],
//! [`meter_answer`]), and its own words in the API's shape ([`error_body`], [`error_event`], [`model_list`]), and
//! whether it says again what was said before ([`last_turn`]).
//!
//! What it needs to translate it: requests, answers and streams to and from the hub.

mod probe;
mod weigh;
mod usage;
mod stream;
mod answer;
mod say;
mod turn;
mod wire;
mod support;
mod decode;
pub(crate) mod limits;
pub(crate) mod model;
mod block;
mod encode;
mod message;
mod decoder;
mod encoder;

pub use answer::meter_answer;
pub use decode::decode_request;
pub use decoder::Decoder;
pub use encode::encode_request;
pub use encoder::Encoder;
pub use message::{decode_answer, decode_error, encode_answer};
pub use probe::{MODEL_CHARS_MAX, Probe, probe};
pub use say::{error_body, error_body as encode_error, error_event, error_type, model_list, model_page};
pub use stream::{EVENT_BYTES_MAX, StreamMeter};
pub use support::support;
pub use turn::last_turn;
pub use weigh::{
    CLIENT_TOOL_TOKENS, FALLBACKS_MAX, IMAGE_TOKENS, LOOP_SAMPLES, PLAIN_PROMPT_TOKENS, PROMPT_TOKENS, USES,
    price_percent,
};
