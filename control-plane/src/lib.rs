//! The control plane: it owns customers, teams, users, virtual keys, providers and prices, remembers usage and every
//! change, and streams signed snapshots to the replicas.
//!
//! Reading order: [`clock`] and [`store`], the only SQL there is, and the transaction in which everything happens; [`seal`],
//! secrets at rest; [`audit`], the one writer of the log; [`keys`] and [`administrators`], what is minted and who may call;
//! [`change`], the shape of every administrative change; [`api`], the services; [`config`], [`metrics`] and [`rim`], what
//! operators set and see; [`app`] and [`command`], assembly.

pub mod clock;
pub mod store;
pub mod seal;
pub mod audit;
pub mod keys;
pub mod administrators;
pub mod change;
pub mod base_url;
pub mod authority;
pub mod publish;
pub mod roster;
pub mod fleet;
pub mod api;
pub mod intake;
pub mod catalogue;
pub mod config;
pub mod metrics;
pub mod rim;
pub mod app;
pub mod command;
