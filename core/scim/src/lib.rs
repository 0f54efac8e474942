//! SCIM 2.0 as pure functions (RFC 7643, RFC 7644): no clock, no I/O, no storage.
//!
//! Reading order: [`problem`], what a client is told; [`schema`], the attributes that are known; [`path`] and [`filter`], how a
//! client names and selects them; [`resource`], a resource as it was sent, made canonical; [`patch`] and [`members`], changes of
//! one; [`projection`] and [`list`], what is returned of one and of many.

pub mod problem;
pub mod schema;
pub mod path;
pub mod filter;
pub mod resource;
pub mod patch;
pub mod members;
pub mod projection;
pub mod list;

pub use self::problem::Problem;

/// An object of JSON.
pub type Object = serde_json::Map<String, serde_json::Value>;
