//! The audit log as pure functions: no clock, no I/O.
//!
//! Reading order: [`entry`], who did what to which object and how it ended, within limits; [`difference`], what a change
//! changed, field by field; [`seal`], what binds an entry to its place; [`tree`], the Merkle tree over all of them;
//! [`checkpoint`], a signed statement about it; [`file`], the log as an exported file; [`verify`], whether such a file is
//! sound; [`export`], entries in the forms that other systems read.

pub mod entry;
pub mod difference;
pub mod seal;
pub mod tree;
pub mod checkpoint;
pub mod file;
pub mod verify;
pub mod export;

pub use self::{
    checkpoint::{Checkpoint, Note},
    difference::{Fields, difference},
    entry::{Entry, Facts, Outcome, Unreadable},
    export::{Format, Placed},
    seal::{Header, MacKey},
    tree::Frontier,
    verify::{Finding, Trust, Verifier},
};
