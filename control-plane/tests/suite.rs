//! The control plane through its front door, over SQLite and over PostgreSQL: every test runs on both.
//!
//! PostgreSQL is named by TOLLGATE_TEST_POSTGRES_URL, an administrator's URL of a throw-away server; `make test` starts one.

#[cfg(test)]
#[path = "suite/world.rs"]
mod world;
#[cfg(test)]
#[path = "suite/audit.rs"]
mod audit;
#[cfg(test)]
#[path = "suite/ship.rs"]
mod ship;
#[cfg(test)]
#[path = "suite/retention.rs"]
mod retention;
#[cfg(test)]
#[path = "suite/organisation.rs"]
mod organisation;
#[cfg(test)]
#[path = "suite/providers.rs"]
mod providers;
#[cfg(test)]
#[path = "suite/routes.rs"]
mod routes;
#[cfg(test)]
#[path = "suite/guardrails.rs"]
mod guardrails;
#[cfg(test)]
#[path = "suite/mcp.rs"]
mod mcp;
#[cfg(test)]
#[path = "suite/models.rs"]
mod models;
#[cfg(test)]
#[path = "suite/keys.rs"]
mod keys;
#[cfg(test)]
#[path = "suite/quotas.rs"]
mod quotas;
#[cfg(test)]
#[path = "suite/access.rs"]
mod access;
#[cfg(test)]
#[path = "suite/roles.rs"]
mod roles;
#[cfg(test)]
#[path = "suite/matrix.rs"]
mod matrix;
#[cfg(test)]
#[path = "suite/history.rs"]
mod history;
#[cfg(test)]
#[path = "suite/storage.rs"]
mod storage;
#[cfg(test)]
#[path = "suite/usage.rs"]
mod usage;
#[cfg(test)]
#[path = "suite/fleet.rs"]
mod fleet;
#[cfg(test)]
#[path = "suite/books.rs"]
mod books;
#[cfg(test)]
#[path = "suite/scim.rs"]
mod scim;
#[cfg(test)]
#[path = "suite/program.rs"]
mod program;
#[cfg(test)]
#[path = "suite/oidc.rs"]
mod oidc;
#[cfg(test)]
#[path = "suite/mcp_oauth.rs"]
mod mcp_oauth;
#[cfg(test)]
#[path = "suite/idp.rs"]
mod idp;
