//! Signing in: how a person becomes known to this program, and stays so from one command to the next.
//!
//! Reading order: files that only their owner may read ([`private`]); the sessions that are kept in one ([`sessions`]); what the
//! authorisation server is asked ([`authority`]); the two ways to sign in, by a browser on this machine ([`loopback`]) or on
//! another one ([`device`]); and the short-lived credentials that are kept so that a helper may ask often ([`tokens`]).

pub(crate) mod private;
pub(crate) mod sessions;
pub(crate) mod authority;
pub(crate) mod loopback;
pub(crate) mod device;
pub(crate) mod tokens;
