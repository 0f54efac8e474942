//! The eight ways in which a sample is written.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

/// Writes a text in another form.
pub(crate) type Encode = fn(&str) -> String;

/// Each encoding, by name.
pub(crate) const ENCODINGS: [(&str, Encode); 8] = [
    ("plain text", plain),
    ("JSON", json),
    ("base64", base64),
    ("base64 for URLs", base64_url),
    ("hex", hex),
    ("percent encoding", percent),
    ("\\u escapes", unicode_escapes),
    ("characters without width", zero_width),
];

fn plain(text: &str) -> String {
    text.to_owned()
}

/// A string of JSON, with the solidus escaped as some writers do.
fn json(text: &str) -> String {
    let mut out = String::from("{\"content\":\"");
    for char in text.chars() {
        match char {
            '"' | '\\' | '/' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            _ => out.push(char),
        }
    }
    out + "\"}"
}

fn base64(text: &str) -> String {
    format!("data: {}\n", STANDARD.encode(text))
}

fn base64_url(text: &str) -> String {
    format!("data: {}\n", URL_SAFE_NO_PAD.encode(text))
}

fn hex(text: &str) -> String {
    format!("dump: {}", text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// As a form is sent: all but letters and digits is escaped.
fn percent(text: &str) -> String {
    let escaped =
        |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    format!("q={}", text.bytes().map(escaped).collect::<String>())
}

fn unicode_escapes(text: &str) -> String {
    format!("\"{}\"", text.chars().map(|char| format!("\\u{:04x}", u32::from(char))).collect::<String>())
}

/// A character without width behind each fifth.
fn zero_width(text: &str) -> String {
    let mut out = String::new();
    for (at, char) in text.chars().enumerate() {
        out.push(char);
        if at % 5 == 4 {
            out.push(['\u{200b}', '\u{200d}', '\u{feff}', '\u{2060}'][at / 5 % 4]);
        }
    }
    out
}
