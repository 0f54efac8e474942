//! Text and JSON, borrowed from a body where that can be.

use std::{
    borrow::{Borrow, Cow},
    fmt,
    ops::Deref,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};
use serde_json::value::RawValue;

/// A text; borrowed where nothing in it was escaped, also inside an `Option` or a list.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Text<'a>(pub Cow<'a, str>);

/// JSON that is kept as it was written: numbers, the order of members and white space included.
#[derive(Clone)]
pub struct Json<'a>(Cow<'a, RawValue>);

struct Borrowing;

// === impl Text ===

impl Text<'_> {
    /// The same text, owned.
    #[must_use]
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }

    /// The same text, borrowed from this one.
    #[must_use]
    pub fn lend(&self) -> Text<'_> {
        Text(Cow::Borrowed(&self.0))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Borrowing).map(Text)
    }
}

impl<'de> Visitor<'de> for Borrowing {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text))
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

// It is hashed and put in order as its text is.
impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

// === impl Json ===

impl<'a> Json<'a> {
    /// Takes a piece of JSON text.
    ///
    /// # Errors
    /// When it is not exactly one JSON value.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(|raw| Self(Cow::Borrowed(raw)))
    }

    /// Takes a text that is JSON, without copying it where it is owned.
    ///
    /// # Errors
    /// Hands out an error when it is not exactly one JSON value.
    pub fn from_text(text: Text<'a>) -> Result<Self, serde_json::Error> {
        match text.0 {
            Cow::Borrowed(text) => Self::parse(text),
            Cow::Owned(text) => RawValue::from_string(text).map(|raw| Self(Cow::Owned(raw))),
        }
    }

    /// Writes a value as JSON; `null` for what has no JSON form, such as a map whose keys are no text.
    #[must_use]
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Json<'static> {
        Json(Cow::Owned(serde_json::value::to_raw_value(value).unwrap_or_default()))
    }

    /// The text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// The piece of the body that it is borrowed from; `None` where it is owned. What a body was read into is borrowed.
    #[must_use]
    pub fn raw(&self) -> Option<&'a RawValue> {
        match self.0 {
            Cow::Borrowed(raw) => Some(raw),
            Cow::Owned(_) => None,
        }
    }

    /// Reads it.
    #[must_use]
    pub fn read<'b, T: Deserialize<'b>>(&'b self) -> Option<T> {
        serde_json::from_str(self.get()).ok()
    }

    /// The same JSON, owned.
    #[must_use]
    pub fn into_owned(self) -> Json<'static> {
        Json(Cow::Owned(self.0.into_owned()))
    }

    /// The same JSON, borrowed from this one.
    #[must_use]
    pub fn lend(&self) -> Json<'_> {
        Json(Cow::Borrowed(&self.0))
    }
}

impl Json<'_> {
    /// `{}`.
    #[must_use]
    pub fn empty_object() -> Self {
        Json::of(&serde_json::Map::new())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'de RawValue>::deserialize(deserializer).map(|raw| Self(Cow::Borrowed(raw)))
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl PartialEq for Json<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Json<'_> {}

impl fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_borrowed_where_nothing_is_escaped_wherever_it_stands() {
        let read: Vec<Option<Text<'_>>> = serde_json::from_str(r#"["plain", null, "a\nb"]"#).unwrap();
        assert!(matches!(read.as_slice(), [Some(Text(Cow::Borrowed("plain"))), None, Some(Text(Cow::Owned(_)))]));
    }

    #[test]
    fn json_stays_as_it_was_written() {
        let text = r#"{"b": 1.00, "a":[ 1e3,-0 ]}"#;
        let json = Json::parse(text).unwrap();
        assert_eq!(serde_json::to_string(&json).unwrap(), text);
        assert_eq!(json.clone().into_owned(), json);
        assert!(Json::parse("{} {}").is_err());
    }
}
