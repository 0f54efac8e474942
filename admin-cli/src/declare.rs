//! The declarative file: from text to a document, from document and state to a plan, from plan to calls.
//!
//! Reading order: the text as a tree whose nodes know their line ([`tree`]); what a file can say ([`document`]) and how it is
//! read, all mistakes at once ([`read`]); what the control plane has ([`state`]); what would change ([`plan`]), which is a pure
//! function; how the plan is shown ([`show`]) and carried out ([`carry`]).
//!
//! The rules, which the plan keeps:
//! - A field that the file does not name is left as it is; on creation it takes the control plane's default.
//! - An object that the file does not name is left alone, unless pruning is asked for.
//! - Nothing is ever switched on again by omission: `disabled: false` and `revoked: false` must be written.

pub(crate) mod tree;
pub(crate) mod document;
pub(crate) mod read;
pub(crate) mod state;
pub(crate) mod plan;
pub(crate) mod show;
pub(crate) mod carry;
