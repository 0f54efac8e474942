//! What of a definition was approved: a hash that is another as soon as anything is that a model or a gateway goes by.

use std::fmt;

use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};

use crate::json::push_text;

/// The SHA-256 of a definition in its canonical form.
///
/// The canonical form is the definition as JSON in UTF-8 without white space, in which
/// - the members `_meta` and `icons` at the top are left out;
/// - the members of each object are sorted by the bytes of their names;
/// - texts have only the escapes `\"`, `\\`, `\b`, `\t`, `\n`, `\f`, `\r`, and `\u00xx` (small letters) for other control characters below
///   U+0020;
/// - a number is written as an integer if it is one in an `i64` or `u64`, or a floating point number without a fraction below 2^53; and
///   otherwise in the shortest form that reads back as the same floating point number of 64 bits (`0.1`, `1e30`, `1.5e-7`);
/// - everything else is as it was, with its order and its presence: `"title": null` is another definition than one without a title.
///
/// That is RFC 8785 but for the order of names beyond the Basic Multilingual Plane and the `+` in exponents. For a definition without
/// such, `jq -cjS 'del(._meta, .icons)' | sha256sum` gives the same.
///
/// Everything that is not left out counts, also members that no revision knows: a client may show to its model, or act upon, whatever it
/// finds (`execution.taskSupport`, `x-mcp-header` and `$defs` in schemas, members of later revisions). `icons` are drawn for people, and
/// are often signed URLs that change by the hour. `_meta` is where servers put versions, times and traces, which change without meaning
/// anything, so that pinning it would quarantine good servers until nobody looks any more; since some clients do read it
/// (`anthropic/searchHint`), [`crate::flag`] looks at its texts.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Pin([u8; 32]);

/// A text is no pin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a pin is 64 hexadecimal digits in small letters")]
pub struct InvalidPin;

/// Members at the top that do not count.
pub(crate) const UNPINNED: [&str; 2] = ["_meta", "icons"];

// === impl Pin ===

impl Pin {
    /// The pin of a definition that was read whole.
    pub(crate) fn of_value(definition: &Value) -> Self {
        Self(Sha256::digest(canonical(definition)).into())
    }

    /// Reads what [`fmt::Display`] writes.
    ///
    /// # Errors
    /// Refuses every other text.
    pub fn parse(text: &str) -> Result<Self, InvalidPin> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidPin)?;
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) { Err(InvalidPin) } else { Ok(Self(bytes)) }
    }

    /// A pin that was kept.
    #[must_use]
    pub const fn of_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// To be kept.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The canonical form of a definition.
pub(crate) fn canonical(definition: &Value) -> String {
    let mut out = String::new();
    match definition {
        Value::Object(members) => push_object(members, &UNPINNED, &mut out),
        other => push(other, &mut out),
    }
    out
}

/// A value in the same form, whole.
pub(crate) fn canonical_value(value: &Value) -> String {
    let mut out = String::new();
    push(value, &mut out);
    out
}

fn push(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => push_number(number, out),
        Value::String(text) => push_text(text, out),
        Value::Array(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                push(element, out);
            }
            out.push(']');
        }
        Value::Object(members) => push_object(members, &[], out),
    }
}

fn push_object(members: &Map<String, Value>, without: &[&str], out: &mut String) {
    // Sorted here: whether serde_json's own map is depends on a feature that any crate of a program may switch on.
    let mut members: Vec<(&String, &Value)> =
        members.iter().filter(|(name, _)| !without.contains(&name.as_str())).collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    out.push('{');
    for (at, (name, value)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_text(name, out);
        out.push(':');
        push(value, out);
    }
    out.push('}');
}

/// Up to here every integer is a floating point number of its own.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

fn push_number(number: &Number, out: &mut String) {
    let written = match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(number), _, _) => number.to_string(),
        (_, Some(number), _) => number.to_string(),
        (_, _, Some(number)) if number.fract() == 0.0 && number.abs() < INTEGER_MAX => format!("{}", number as i64),
        (_, _, Some(number)) => serde_json::to_string(&number).unwrap_or_default(),
        _ => number.to_string(),
    };
    out.push_str(&written);
}
