//! Finds secrets in text, as pure functions over bytes: no clock, no I/O, no knowledge of where the text came from.
//!
//! Reading order: what a rule says ([`rule`]), how rules are read from Gitleaks' form ([`gitleaks`]) and what was not taken over of them
//! ([`report`]); how they are compiled ([`RuleSet`]); what a match must pass to be a secret (`judge`, `checksum`); how rules follow a text
//! that arrives in pieces (`lane`, over `pattern` and `keywords`), how encodings are taken off it (`layer`, `escape`, `encoded`), what may
//! go on of it ([`Stream`]), and a text as a whole ([`RuleSet::scan`]), or within JSON ([`json`]); what was scanned before ([`Memo`]); what stands for a secret
//! ([`Placeholder`], [`redaction`]), and how it is taken back ([`Vault`], [`Restorer`]); rules of one's own ([`dry_run`]).

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
pub mod json;
mod memo;
mod placeholder;
mod vault;
mod custom;

pub use custom::{BLOCKED_WORD, DryRun, WordsError, dry_run};
pub use finding::{Finding, Fingerprint, FingerprintKey, RuleIndex};
pub use lane::{LINE_BYTES_MAX, REQUIRED_BYTES_MAX};
pub use memo::{BlockHash, Hasher, Memo};
pub use placeholder::{PLACEHOLDER_BYTES, Placeholder, redaction};
pub use report::{Outcome, Remark, Report};
pub use rule::{Rule, Rules};
pub use set::{MEMORY_BYTES_MAX, RuleSet, RuleView, Scratch, Version};
pub use stream::{HELD_BYTES_MAX, Piece, Stream};
pub use text::Scan;
pub use vault::{Form, Restorer, SealBroken, SessionKey, Vault};

/// The rules that come with Tollgate, in Gitleaks' form.
pub const RULES: &str = include_str!("../rules/tollgate.toml");
