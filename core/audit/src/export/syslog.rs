//! An entry as a syslog message (RFC 5424), and the two ways in which a stream delimits messages.
//!
//! ```text
//! <109>1 2023-11-14T22:13:20.000Z host tollgate - key.create [tollgate@32473 index="7" leaf="…" …] BOM{"name":"…"}
//! ```
//!
//! Every fact is a parameter of the structured data, whole; the detail is the message, which alone is cut when there is too much.
//!
//! It is written here rather than by a crate: `fasyslog` puts the present time into a message when it is formatted and takes no
//! other, so an entry would bear the time of its export; `syslog_fmt` takes host and message id unchecked, which is the larger
//! part of what is to be got right.

use super::{
    ERASED, Placed, Told, cef,
    text::{cut, detail_line},
};
use crate::entry::{Entry, FACT_BYTES_MAX, Outcome};

/// The longest message, in bytes: what every receiver over TLS should take (RFC 5425, section 4.3.1). Header and structured
/// data never take more than 5 KiB of it.
pub const MESSAGE_BYTES_MAX: usize = 8_192;
/// The id of the structured data. Tollgate has no private enterprise number; this is the one for examples (RFC 5612).
pub const DATA_ID: &str = "tollgate@32473";

// RFC 5424, section 6.2.1: log audit.
const FACILITY: u8 = 13;
const NOTICE: u8 = 5;
const NIL: &str = "-";
// RFC 5424, section 6: the longest of each, in characters.
const HOST_LENGTH_MAX: usize = 255;
const MESSAGE_ID_LENGTH_MAX: usize = 32;
// RFC 5424, section 6.4: says that what follows is UTF-8.
const BOM: &str = "\u{feff}";

/// A message: without a line break and without any other control character.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message(String);

// === impl Message ===

impl Message {
    /// The message of an entry. `host` is the name of the machine that sends it.
    #[must_use]
    pub fn new(host: &str, placed: &Placed<'_>) -> Self {
        let text = placed.entry().map_or_else(|| ERASED.to_owned(), detail_line);
        Self::whole_or_cut(host, placed, &[BOM, &text].concat())
    }

    /// The message of an entry whose text is its record in CEF, for receivers that look into the text alone. They want it to
    /// begin with `CEF:`, so that no byte order mark stands before it.
    #[must_use]
    pub fn with_cef(host: &str, placed: &Placed<'_>) -> Self {
        Self::whole_or_cut(host, placed, &cef::record(placed))
    }

    fn whole_or_cut(host: &str, placed: &Placed<'_>, text: &str) -> Self {
        let head = header(host, placed);
        let whole = joined(&head, &data(placed, None), text);
        if whole.len() <= MESSAGE_BYTES_MAX {
            return Self(whole);
        }
        let data = data(placed, Some(text.trim_start_matches(BOM).len()));
        let room = MESSAGE_BYTES_MAX.saturating_sub(joined(&head, &data, "").len());
        Self(joined(&head, &data, &cut(text, room)))
    }

    /// The message as it is.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bytes of the message as it is.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }

    /// The message behind its length (RFC 5425, section 4.3; RFC 6587, section 3.4.1).
    #[must_use]
    pub fn octet_counted(&self) -> Vec<u8> {
        format!("{} {}", self.0.len(), self.0).into_bytes()
    }

    /// The message as a line (RFC 6587, section 3.4.2), for a file or a receiver that counts no octets.
    #[must_use]
    pub fn as_line(&self) -> Vec<u8> {
        format!("{}\n", self.0).into_bytes()
    }
}

fn joined(head: &str, data: &str, text: &str) -> String {
    [head, " ", data, " ", text].concat()
}

fn header(host: &str, placed: &Placed<'_>) -> String {
    let priority = FACILITY * 8 + severity(placed);
    let time = placed.time();
    let (time, host) = (time.as_deref().unwrap_or(NIL), name(host, HOST_LENGTH_MAX));
    let message_id = name(placed.action(), MESSAGE_ID_LENGTH_MAX);
    format!("<{priority}>1 {time} {host} tollgate {NIL} {message_id}")
}

// Severities of RFC 5424, section 6.2.1. A request that was let through is nothing special; a change is. How an erased entry ended
// is not known, and that it was erased is worth a notice.
fn severity(placed: &Placed<'_>) -> u8 {
    match placed.entry().map(Entry::outcome) {
        Some(Outcome::Allowed) if placed.action().starts_with("request.") => 6,
        Some(Outcome::Allowed) | None => NOTICE,
        Some(Outcome::Refused) => 4,
        Some(Outcome::Failed) => 3,
    }
}

// Visible ASCII is all that a field of the header may have.
fn name(text: &str, length_max: usize) -> String {
    let visible = |character: char| if character.is_ascii_graphic() { character } else { '_' };
    if text.is_empty() { NIL.to_owned() } else { text.chars().take(length_max).map(visible).collect() }
}

// What is not known is left out. `detail_bytes` is the length of a detail of which the message has only the beginning.
fn data(placed: &Placed<'_>, detail_bytes: Option<usize>) -> String {
    let mut data = format!("[{DATA_ID} index=\"{}\" leaf=\"{}\"", placed.index, hex::encode(placed.leaf));
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            data.push_str(&format!(" {name}=\"{}\"", escaped(value)));
        }
    };
    put("writer", placed.writer);
    put("action", placed.action());
    match placed.told {
        Told::Entry(entry) => {
            put("outcome", entry.outcome().word());
            put("initiator", entry.initiator());
            put("target", entry.target());
            put("replica", entry.replica());
            put("request_id", entry.request_id());
            put("session", entry.session());
            put("source", entry.source_address());
        }
        Told::Erased { .. } => put("erased", "true"),
    }
    put("detail_bytes", &detail_bytes.map(|bytes| bytes.to_string()).unwrap_or_default());
    data.push(']');
    data
}

// RFC 5424, section 6.3.3: these three are escaped and nothing else. It has no escape for control characters; an entry has none
// but where its stored bytes were tampered with. Nor has it one for what only some reader takes for the end of a line, such as
// U+2028: that stands as it is, and in the message escaped as JSON.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in cut(value, FACT_BYTES_MAX).chars() {
        if matches!(character, '"' | '\\' | ']') {
            escaped.push('\\');
        }
        escaped.push(if character.is_control() { ' ' } else { character });
    }
    escaped
}
