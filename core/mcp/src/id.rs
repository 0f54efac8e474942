//! The id of a request: written back as it was written, and compared by what it means.

use std::{
    borrow::Cow,
    fmt,
    hash::{Hash, Hasher},
};

use crate::json::{Json, unquoted};

/// The longest id, in bytes as it is written. Ids are kept beside open requests, and written into records.
pub const ID_BYTES_MAX: usize = 1_024;

/// A number or a text. An integer of 64 bits: peers that read numbers as floating point would answer others with another id.
#[derive(Clone)]
pub struct Id<'a> {
    raw: Cow<'a, str>,
    meaning: Meaning<'a>,
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Meaning<'a> {
    Number(i64),
    Text(Cow<'a, str>),
}

// === impl Id ===

impl<'a> Id<'a> {
    /// Reads an id as it is written in JSON.
    pub(crate) fn read(raw: &'a str) -> Option<Self> {
        if raw.len() > ID_BYTES_MAX {
            return None;
        }
        let meaning = match raw.as_bytes().first()? {
            b'"' => Meaning::Text(unquoted(raw)?),
            // `-0`, `1.0` and `1e3` are written otherwise by whoever reads and writes them.
            _ => Meaning::Number(raw.parse().ok().filter(|number: &i64| number.to_string() == raw)?),
        };
        Some(Self { raw: Cow::Borrowed(raw), meaning })
    }

    /// An id that is a text.
    #[must_use]
    pub fn of_text(text: &str) -> Id<'static> {
        let raw = Json::text(text).to_string();
        Id { raw: Cow::Owned(raw), meaning: Meaning::Text(Cow::Owned(text.to_owned())) }
    }

    /// An id that is a number.
    #[must_use]
    pub fn of_number(number: i64) -> Id<'static> {
        Id { raw: Cow::Owned(number.to_string()), meaning: Meaning::Number(number) }
    }

    /// As it is written in JSON.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// As a value.
    #[must_use]
    pub fn json(&self) -> Json<'_> {
        Json::read(&self.raw)
    }

    /// What it says, if it is a text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.meaning {
            Meaning::Text(text) => Some(text),
            Meaning::Number(_) => None,
        }
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> Id<'static> {
        let meaning = match self.meaning {
            Meaning::Number(number) => Meaning::Number(number),
            Meaning::Text(text) => Meaning::Text(Cow::Owned(text.into_owned())),
        };
        Id { raw: Cow::Owned(self.raw.into_owned()), meaning }
    }
}

impl PartialEq for Id<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.meaning == other.meaning
    }
}

impl Eq for Id<'_> {}

impl Hash for Id<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.meaning.hash(state);
    }
}

impl fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

impl fmt::Debug for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_text_or_an_integer() {
        let long = format!("\"{}\"", "x".repeat(ID_BYTES_MAX));
        for (raw, is_one) in [
            ("0", true),
            ("-7", true),
            ("9223372036854775807", true),
            ("9223372036854775808", false),
            ("-0", false),
            ("1.0", false),
            ("1.5", false),
            ("1e3", false),
            ("null", false),
            ("true", false),
            ("{}", false),
            ("[1]", false),
            (r#""""#, true),
            (r#""a\u00e9""#, true),
            (r#""\ud800""#, false),
            (long.as_str(), false),
        ] {
            assert_eq!(Id::read(raw).is_some(), is_one, "{raw}");
        }
    }

    #[test]
    fn ids_are_compared_by_what_they_mean_and_written_as_they_were() {
        let (plain, escaped) = (Id::read(r#""é""#).unwrap(), Id::read(r#""\u00e9""#).unwrap());
        assert_eq!(plain, escaped);
        assert_eq!(escaped.raw(), r#""\u00e9""#);
        assert_ne!(Id::read("7").unwrap(), Id::read(r#""7""#).unwrap());
        assert_eq!(Id::of_number(7), Id::read("7").unwrap());
        assert_eq!(Id::of_text("a\"b").raw(), r#""a\"b""#);
    }
}
