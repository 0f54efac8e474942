//! One stateless proxy replica: it enforces the control plane's policy on every request, and reports what happened.
//!
//! Reading order: [`app`], how the parts fit together, from [`config`] and [`program`]; then what holds now ([`current`], and
//! [`visits`], what is open), who a developer's credential stands for ([`credentials`]), the way of a request (`listen`, `gate` with its nine rooms, [`rates`], [`guard`], [`funds`], `upstream`, `mcp`,
//! `refuse`), what is remembered of it ([`evidence`], [`spool`], [`report`]), and how the policy arrives ([`membership`], [`sync`], `cache`).
//! [`witness`] keeps what was seen of the audit log.
//! `status` and `metrics` tell operators how it goes.

pub mod app;
pub mod config;
pub mod program;
pub mod clock;

pub mod current;
pub mod visits;
pub mod credentials;
mod listen;
mod gate;
pub mod rates;
pub mod health;
mod upstream;
pub mod guard;
mod mcp;
pub mod funds;
mod refuse;

pub mod evidence;
pub mod spool;
pub mod report;

pub mod membership;
mod cache;
pub mod sync;
pub mod witness;
mod durable;
mod backoff;

mod status;
mod metrics;

pub use self::config::Config;
