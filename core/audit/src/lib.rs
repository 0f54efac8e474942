//! What the audit log remembers, as pure functions: no clock, no I/O.
//!
//! Reading order: [`entry`], who did what to which object and how it ended, within limits; [`difference`], what a change
//! changed, field by field.

pub mod entry;
pub mod difference;

pub use self::{
    difference::{Fields, difference},
    entry::{Entry, Facts, Outcome, Unreadable},
};
