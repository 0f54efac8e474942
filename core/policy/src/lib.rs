//! What Tollgate decides, as pure functions: no clock, no randomness, no I/O.
//!
//! Reading order: the words ([`id`], [`name`], [`money`], [`time`]); what a virtual key looks like ([`token`]), and what a
//! developer's short-lived credential for one ([`credential`]); which models a pattern admits ([`pattern`]); what a token costs ([`price`]); what an owner may spend and how fast ([`window`], [`budget`],
//! [`limit`]), and what that is counted with ([`rate`], [`runaway`]); who answers ([`provider`], and [`preset`] for those known by name), and which of them a request is sent to ([`route`]); what is looked for on the way ([`guardrail`]); which tools are reached through us ([`mcp`]); the state that every decision reads ([`snapshot`]); the
//! decision itself ([`decide`]) and its negative ([`refusal`]); what administrators may do ([`rbac`]); the money that is lent to replicas ([`lend`]), held while a
//! request runs ([`lease`]), borrowed and given back ([`borrow`]); and what is remembered of it ([`usage`]).

pub mod id;
pub mod name;
pub mod money;
pub mod time;
pub mod token;
pub mod credential;
pub mod pattern;
pub mod price;
pub mod window;
pub mod budget;
pub mod limit;
pub mod rate;
pub mod runaway;
pub mod provider;
pub mod preset;
pub mod route;
pub use tollgate_rule as rule;
pub mod guardrail;
pub mod mcp;
pub mod snapshot;
pub mod decide;
pub mod refusal;
pub mod rbac;
pub mod lend;
pub mod lease;
pub mod borrow;
pub mod usage;
