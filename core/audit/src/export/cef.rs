//! An entry in ArcSight's Common Event Format (*Implementing ArcSight Common Event Format*, version 25 of September 2017).
//!
//! ```text
//! CEF:0|Tollgate|Tollgate|0.1.0|key.create|key create|3|rt=1700000000000 act=allowed outcome=success suser=… cn1=7 …
//! ```
//!
//! | key | what |
//! |---|---|
//! | `rt` | when it happened, in Unix milliseconds |
//! | `act`, `outcome` | what Tollgate did: `allowed`, `refused`, `failed`; and whether that is `success` or `failure` |
//! | `suser` | the initiator |
//! | `src`, `c6a2`, `shost` | the source address, when it is of IPv4, of IPv6, or neither |
//! | `reason` | why it was refused or failed |
//! | `deviceExternalId` | the writer |
//! | `cn1` | the index |
//! | `cs1` … `cs6` | the leaf's hash, target, session, request id, replica, and the detail as JSON |
//! | `msg` | that the entry was erased |
//!
//! A fact that is not known has no key. The signature id is the action.

use std::net::IpAddr;

use super::{
    ERASED, PRODUCT, Placed, Told, VENDOR, VERSION, address, reason,
    text::{cut, detail_line},
};
use crate::entry::{Entry, FACT_BYTES_MAX, Outcome};

/// The longest detail, in bytes: what a custom string takes. A longer one is cut and ends in `…`.
pub const DETAIL_BYTES_MAX: usize = 4_000;
/// The longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 1_023;

/// The record, on one line.
#[must_use]
pub fn record(placed: &Placed<'_>) -> String {
    let action = placed.action();
    let name = action.replace('.', " ");
    let header = [VENDOR, PRODUCT, VERSION, action, &name].map(|field| header_escaped(&cut(field, FACT_BYTES_MAX)));
    let pairs = pairs(placed).into_iter().filter(|(_, value)| !value.is_empty());
    let extension: Vec<_> = pairs.map(|(key, value)| format!("{key}={}", extension_escaped(&value))).collect();
    format!("CEF:0|{}|{}|{}", header.join("|"), severity(placed), extension.join(" "))
}

// From 0 to 10: up to 3 is low, 4 to 6 medium.
fn severity(placed: &Placed<'_>) -> u8 {
    match placed.entry().map(Entry::outcome) {
        Some(Outcome::Allowed) if placed.action().starts_with("request.") => 1,
        Some(Outcome::Allowed) | None => 3,
        Some(Outcome::Refused) => 5,
        Some(Outcome::Failed) => 6,
    }
}

type Pair = (&'static str, String);

fn pairs(placed: &Placed<'_>) -> Vec<Pair> {
    let mut pairs = vec![("rt", placed.time_ms().to_string()), ("deviceExternalId", fact(placed.writer))];
    pairs.extend(labelled("cn1", "cn1Label", "index", placed.index.to_string()));
    pairs.extend(labelled("cs1", "cs1Label", "leaf", hex::encode(placed.leaf)));
    match placed.told {
        Told::Entry(entry) => pairs.extend(facts(entry)),
        Told::Erased { .. } => pairs.push(("msg", ERASED.to_owned())),
    }
    pairs
}

fn facts(entry: &Entry) -> Vec<Pair> {
    let outcome = if entry.outcome() == Outcome::Allowed { "success" } else { "failure" };
    let mut pairs = vec![
        ("act", entry.outcome().word().to_owned()),
        ("outcome", outcome.to_owned()),
        ("suser", fact(entry.initiator())),
        ("reason", cut(reason(entry), REASON_BYTES_MAX)),
    ];
    let source = fact(entry.source_address());
    match address(entry) {
        Some(IpAddr::V4(_)) => pairs.push(("src", source)),
        // In version 0 of the format, `src` is an address of IPv4.
        Some(IpAddr::V6(_)) => pairs.extend(labelled("c6a2", "c6a2Label", "Source IPv6 Address", source)),
        None => pairs.push(("shost", source)),
    }
    pairs.extend(labelled("cs2", "cs2Label", "target", fact(entry.target())));
    pairs.extend(labelled("cs3", "cs3Label", "session", fact(entry.session())));
    pairs.extend(labelled("cs4", "cs4Label", "requestId", fact(entry.request_id())));
    pairs.extend(labelled("cs5", "cs5Label", "replica", fact(entry.replica())));
    pairs.extend(labelled("cs6", "cs6Label", "detail", cut(&detail_line(entry), DETAIL_BYTES_MAX)));
    pairs
}

fn labelled(key: &'static str, label_key: &'static str, label: &str, value: String) -> [Pair; 2] {
    let label = if value.is_empty() { String::new() } else { label.to_owned() };
    [(label_key, label), (key, value)]
}

fn fact(text: &str) -> String {
    cut(text, FACT_BYTES_MAX)
}

// Section "Character encoding": in the header, `|` and `\` are escaped, and a line cannot be broken.
fn header_escaped(text: &str) -> String {
    escaped(text, |character| matches!(character, '|' | '\\').then_some(character))
}

// In the extension `=` and `\` are escaped, and line breaks are `\n` and `\r`; `|` is not special.
fn extension_escaped(text: &str) -> String {
    escaped(text, |character| match character {
        '=' | '\\' => Some(character),
        '\n' => Some('n'),
        '\r' => Some('r'),
        _ => None,
    })
}

fn escaped(text: &str, escape: impl Fn(char) -> Option<char>) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match escape(character) {
            Some(letter) => escaped.extend(['\\', letter]),
            None => escaped.push(if character.is_control() { ' ' } else { character }),
        }
    }
    escaped
}
