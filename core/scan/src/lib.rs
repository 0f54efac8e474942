//! Finds secrets in text, as pure functions over bytes: no clock, no I/O, no knowledge of where the text came from.
//!
//! Reading order: what a rule says ([`rule`]), how rules are read from Gitleaks' form ([`gitleaks`]) and what was not taken over of them
//! ([`report`]); how they are compiled ([`RuleSet`]); what a match must pass to be a secret (`judge`, `checksum`); how rules follow a text
//! that arrives in pieces (`lane`, over `pattern` and `keywords`), how encodings are taken off it (`layer`, `escape`, `encoded`), what may
//! go on of it ([`Stream`]), and a text as a whole ([`RuleSet::scan`]).

pub mod rule;
pub mod report;
pub mod gitleaks;
mod syntax;
mod shape;
mod pattern;
mod keywords;
mod set;
mod finding;
mod checksum;
mod judge;
mod lane;
mod escape;
mod encoded;
mod layer;
mod stream;
mod text;
mod placeholder;

pub use finding::{Finding, Fingerprint, FingerprintKey, RuleIndex};
pub use lane::{LINE_BYTES_MAX, REQUIRED_BYTES_MAX};
pub use report::Report;
pub use rule::{Rule, Rules};
pub use set::{MEMORY_BYTES_MAX, RuleSet, RuleView, Scratch, Version};
pub use stream::{HELD_BYTES_MAX, Piece, Stream};
pub use text::Scan;
