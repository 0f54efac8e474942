//! A model provider without a model: deterministic answers with usage in every dialect, and every way to fail on request.
//!
//! Reading order: what can be asked of it ([`behaviour`]); what a request says ([`route`], [`ask`]); the answer as content ([`reply`]) and as
//! bytes of a dialect ([`dialects`]); how those bytes are played, slowly, cut or compressed ([`play`]); what it remembers
//! ([`ledger`]); failures planned ahead ([`faults`]); and the server around it ([`serve`], [`control`], [`server`]).

pub mod behaviour;
mod route;
mod ask;
mod reply;
mod dialects;
mod play;
pub mod ledger;
pub mod faults;
mod control;
mod serve;
mod wire;
mod server;

pub use behaviour::{Behaviour, SETTINGS, Unclear};
pub use faults::Fault;
pub use ledger::{Entry, State};
pub use reply::Tokens;
pub use server::{Options, Running, Simulator};
