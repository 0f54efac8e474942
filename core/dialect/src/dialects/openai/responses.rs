//! The OpenAI Responses API: <https://platform.openai.com/docs/api-reference/responses>.
//!
//! Where a field goes that has no counterpart in the hub, or goes another way than one would think:
//!
//! ```text
//! previous_response_id, conversation, prompt, item_reference   refused: what OpenAI keeps, no other model can see
//! store: false, include: reasoning.encrypted_content           nothing is lost: that is how everybody else works
//! custom (freeform) tools, namespaces, tool_search, local_shell   functions for the model, and themselves for the client (`Forms`)
//! additional_tools, tool_search_output                         their tools are tools of the request
//! tool_choice: allowed_tools                                   the others are left out
//! ids of items (msg_, fc_, ctc_), status, phase                not kept; the id of a reasoning item is in its seal
//! ```

mod wire;
mod error;
mod seal;
mod freeform;
mod support;
mod tools;
mod item;
mod part;
mod decode;
mod encode;
mod input;
mod say;
mod message;
mod decoder;
mod encoder;

pub use decode::decode_request;
pub use decoder::Decoder;
pub use encode::encode_request;
pub use encoder::Encoder;
pub use error::{decode_error, encode_error};
pub use message::{decode_answer, encode_answer, encode_answer_in};
pub use support::support;
