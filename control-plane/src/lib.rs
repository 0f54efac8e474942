//! The control plane: it owns customers, teams, users, virtual keys, providers and prices, remembers usage and every
//! change, and streams signed snapshots to the replicas.
//!
//! Reading order: [`clock`] and [`store`], the only SQL there is, and the transaction in which everything happens; [`seal`]
//! and [`private`], secrets at rest; [`audit`], the one writer of the log; [`keys`] and [`tokens`], what is minted and signed;
//! [`administrators`], [`principals`] and [`refusals`], who may call and who was turned away;
//! [`change`], the shape of every administrative change; [`authority`], [`publish`], [`roster`] and [`fleet`], the replicas and
//! what they are told; [`api`], the services; [`intake`], what replicas report; `observe`, what they find at servers of tools; [`books`], [`alerts`],
//! [`recalls`], [`lend`] and [`webhooks`], the books of budgets and who is told of them; [`oidc`], [`sessions`] and
//! [`oauth`], how people sign in and stay so; [`mcp_oauth`], the tokens of others that servers of tools are shown; [`scim`], where users
//! come from;
//! [`catalogue`], models and prices; [`config`],
//! [`metrics`] and [`rim`], what operators set and see; [`app`] and [`command`], assembly.

pub mod clock;
pub mod store;
pub mod seal;
pub mod private;
pub mod audit;
pub mod keys;
pub mod tokens;
pub mod administrators;
pub mod principals;
pub mod refusals;
pub mod change;
pub mod base_url;
mod definition;
mod observe;
pub mod authority;
pub mod publish;
pub mod books;
pub mod alerts;
pub mod recalls;
pub mod lend;
pub mod webhooks;
pub mod oidc;
pub mod sessions;
pub mod mcp_oauth;
pub mod oauth;
pub mod roster;
pub mod fleet;
pub mod api;
pub mod intake;
pub mod catalogue;
pub mod config;
pub mod metrics;
pub mod scim;
pub mod rim;
pub mod app;
pub mod command;
