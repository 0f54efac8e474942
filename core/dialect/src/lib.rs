//! The wire formats of model providers, as pure functions over bytes: no clock, no I/O, no knowledge of Tollgate's policy.
//!
//! Reading order: what every dialect shares (how an event stream is cut into events, [`sse`]; the ways in which a request can
//! fail, [`error`]; what a request may cost, [`weight`]; what an answer cost in tokens, [`meter`]; which models can be listed, [`models`]), how a body is changed in one place ([`splice`]), and the tools that it offers ([`offered`]), the form between two dialects ([`hub`]), then the dialects, one folder each ([`dialects`]), and what is asked of all of them: what decides about a request ([`asked`]), and how many tokens it has ([`count`]).
//!
//! A gateway that passes the same dialect in and out needs only three things of it: one borrowed look at the request
//! ([`anthropic::probe`]), one cheap look at each piece of the answer ([`anthropic::StreamMeter`]), and errors of the right shape.

pub mod sse;
pub mod error;
pub mod weight;
pub mod meter;
pub mod models;
pub mod splice;
pub mod offered;
pub mod hub;
pub mod dialects;
pub mod asked;
pub mod count;

pub use asked::Asked;
pub use dialects::{
    CacheForm, Called, Dialect, Enveloped, Quirks, ThinkingForm, anthropic, bedrock, beta, gemini, openai, vertex,
};
pub use error::{DecodeError, ErrorClass, Failure, Malformed};
pub use meter::{Counters, Metered, meter_answer};
pub use models::ListedModel;
pub use openai::model_list as openai_model_list;
pub use weight::Weight;
