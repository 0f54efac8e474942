//! The Anthropic Messages API: <https://docs.anthropic.com/en/api/messages>.
//!
//! What a gateway needs to pass it through: which model a request asks for ([`probe`]), what an answer costs ([`StreamMeter`],
//! [`meter_answer`]), and its own words in the API's shape ([`error_body`], [`error_event`], [`model_list`]).

mod probe;
mod usage;
mod stream;
mod answer;
mod say;

pub use answer::meter_answer;
pub use probe::{MODEL_CHARS_MAX, Probe, probe};
pub use say::{error_body, error_event, error_type, model_list, model_page};
pub use stream::{EVENT_BYTES_MAX, StreamMeter};
