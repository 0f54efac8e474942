//! What Tollgate decides, as pure functions: no clock, no randomness, no I/O.
//!
//! Reading order: the words ([`id`], [`name`], [`money`], [`time`]); what a virtual key looks like ([`token`]); which models a
//! pattern admits ([`pattern`]); what a token costs ([`price`]); the state that every decision reads ([`snapshot`]); the
//! decision itself ([`decide`]) and its negative ([`refusal`]); the money held while a request runs ([`hold`]); and what is
//! remembered of it ([`usage`]).

pub mod id;
pub mod name;
pub mod money;
pub mod time;
pub mod token;
pub mod pattern;
pub mod price;
pub mod snapshot;
pub mod decide;
pub mod refusal;
pub mod hold;
pub mod usage;
