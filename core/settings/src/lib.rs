//! Configuration, as a pure function of a TOML text and the environment.
//!
//! A value is looked up as `TOLLGATE_<NAME>` first and in the file second, where tables flatten: `[tls] cert` is `tls_cert`.
//! Nothing stops at the first mistake: every lookup notes its problem, and [`Reader::finish`] returns them together with
//! the keys and variables that nobody asked for.
//!
//! Reading order: [`reader`], the lookups; [`setting`], what a value may be; [`secret`], values that are never printed.

pub mod reader;
pub mod setting;
pub mod secret;

pub use self::{
    reader::{Problems, Reader},
    secret::{Secret, SecretSource},
    setting::Setting,
};
