//! Entries in the forms that other systems read: one line for each, whatever its texts contain.
//!
//! A record proves nothing by itself. It bears the index and the leaf's hash of its entry, by which the entry is found again in
//! the log and in what [`crate::file`] writes, which does prove itself.

mod text;
pub mod json;
pub mod syslog;
pub mod cef;
pub mod ocsf;

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::Value;

use crate::{entry::Entry, seal::Header, tree::Hash};

/// What stands for the content of an erased entry.
pub const ERASED: &str = "the content of this entry was erased";

const VENDOR: &str = "Tollgate";
const PRODUCT: &str = "Tollgate";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The form of an export.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Format {
    /// An object with everything, for programs without a seal to check: [`json`].
    Json,
    /// JSON Lines that prove themselves: [`crate::file`].
    JsonLines,
    /// RFC 5424: [`syslog`].
    Syslog,
    /// ArcSight's Common Event Format: [`cef`].
    Cef,
    /// The Open Cybersecurity Schema Framework: [`ocsf`].
    Ocsf,
}

/// An entry and its place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// The position in the log, from 1.
    pub index: u64,
    /// Who wrote it: a replica's id, or [`crate::seal::CONTROL_PLANE`].
    pub writer: &'a str,
    /// The leaf's hash.
    pub leaf: Hash,
    /// What it says.
    pub told: Told<'a>,
}

/// What an entry still says.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// Everything.
    Entry(&'a Entry),
    /// Its body was erased: only what its header has is known.
    Erased {
        /// When it happened, in Unix milliseconds.
        time_ms: i64,
        /// What was done.
        action: &'a str,
    },
}

// === impl Format ===

impl Format {
    /// Every format.
    pub const ALL: [Self; 5] = [Self::Json, Self::JsonLines, Self::Syslog, Self::Cef, Self::Ocsf];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::JsonLines => "jsonl",
            Self::Syslog => "syslog",
            Self::Cef => "cef",
            Self::Ocsf => "ocsf",
        }
    }

    /// The format of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.word() == word)
    }

    /// The record of an entry: UTF-8 without a line break in it or behind it. `host` is the name of the exporting machine,
    /// which syslog tells. `None` for [`Self::JsonLines`], whose lines are what is stored rather than what it means.
    #[must_use]
    pub fn record(self, host: &str, placed: &Placed<'_>) -> Option<Vec<u8>> {
        match self {
            Self::Json => Some(json::record(placed).into_bytes()),
            Self::JsonLines => None,
            Self::Syslog => Some(syslog::Message::new(host, placed).into_bytes()),
            Self::Cef => Some(cef::record(placed).into_bytes()),
            Self::Ocsf => Some(ocsf::record(placed).into_bytes()),
        }
    }
}

// === impl Placed ===

impl<'a> Placed<'a> {
    /// The entry under this header; without one, it was erased.
    #[must_use]
    pub fn new(header: &Header<'a>, leaf: Hash, entry: Option<&'a Entry>) -> Self {
        let Header { index, writer, time_ms, action, .. } = *header;
        let told = entry.map_or(Told::Erased { time_ms, action }, Told::Entry);
        Self { index, writer, leaf, told }
    }

    /// When it happened, in Unix milliseconds.
    #[must_use]
    pub const fn time_ms(&self) -> i64 {
        match self.told {
            Told::Entry(entry) => entry.time_ms(),
            Told::Erased { time_ms, .. } => time_ms,
        }
    }

    /// What was done.
    #[must_use]
    pub fn action(&self) -> &'a str {
        match self.told {
            Told::Entry(entry) => entry.action(),
            Told::Erased { action, .. } => action,
        }
    }

    /// The entry, unless it was erased.
    #[must_use]
    pub const fn entry(&self) -> Option<&'a Entry> {
        match self.told {
            Told::Entry(entry) => Some(entry),
            Told::Erased { .. } => None,
        }
    }

    // RFC 3339 in UTC with milliseconds. A writer's clock may be anywhere; four digits of a year is all that the RFC has.
    fn time(&self) -> Option<String> {
        let text = format!("{:.3}", Timestamp::from_millisecond(self.time_ms()).ok()?);
        text.starts_with(|first: char| first.is_ascii_digit()).then_some(text)
    }
}

// Why it was refused or failed, where the detail says so.
fn reason(entry: &Entry) -> &str {
    let said = ["reason", "refusal"].into_iter().find_map(|name| entry.detail().get(name));
    said.and_then(Value::as_str).unwrap_or_default()
}

fn address(entry: &Entry) -> Option<IpAddr> {
    entry.source_address().parse().ok()
}
