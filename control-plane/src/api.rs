//! The administrative API: who may call, what was asked, and what is answered.
//!
//! Reading order: [`authorize`], the one layer that every call passes; [`failure`] and [`violations`], the errors; [`mask`],
//! [`filter`] and [`page`], the parts of a request that all nouns share; then a file for each service.

pub mod authorize;
pub mod failure;
pub mod violations;
pub mod mask;
pub mod filter;
pub mod page;
pub mod wire;
mod owners;
mod administrators;
mod customers;
mod teams;
mod users;
mod roles;
mod bindings;
mod service_accounts;
mod sessions;
mod providers;
mod routes;
mod guardrails;
mod mcp;
mod models;
mod keys;
mod quotas;
mod budgets;
pub mod fleet;
pub mod replicas;
mod identity;
mod audit;
mod usage;

use std::sync::Arc;

use crate::{fleet::Fleet, keys::Minter, seal::Keyring, store::Store, tokens::Signer};

/// Answers the services of the nouns, of identity and of the audit log.
#[derive(Clone, Debug)]
pub struct Admin {
    store: Store,
    keyring: Arc<Keyring>,
    minter: Arc<Minter>,
    fleet: Fleet,
    signer: Signer,
}

impl Admin {
    /// The API over this database.
    #[must_use]
    pub const fn new(store: Store, keyring: Arc<Keyring>, minter: Arc<Minter>, fleet: Fleet, signer: Signer) -> Self {
        Self { store, keyring, minter, fleet, signer }
    }
}
