//! Text as a part of one line.

use serde_json::Value;

use crate::entry::Entry;

// What stands where text was cut off.
const CUT: &str = "…";

pub(super) fn detail_line(entry: &Entry) -> String {
    line(&Value::Object(entry.detail().clone()))
}

// Compact JSON. What some reader may take for the end of a line, or what turns the rest of one around, is escaped (RFC 8259,
// section 7); serde_json does so for the characters that JSON itself forbids. None of them stands outside a string.
pub(super) fn line(value: &Value) -> String {
    let text = value.to_string();
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if misleads(character) {
            line.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            line.push(character);
        }
    }
    line
}

// All of them are in the basic multilingual plane, so that four digits say each.
fn misleads(character: char) -> bool {
    let turns =
        |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}') || turns(character)
}

pub(super) fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub(CUT.len()));
    [text.get(..end).unwrap_or_default(), CUT].concat()
}
