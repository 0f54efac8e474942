//! JSON that is known to be JSON: what was read from a message, or written here.

use std::{borrow::Cow, fmt};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::members::Members;

/// A JSON value as text. Nobody can make one of a text that was not read or written as JSON, so that whatever is put into a message leaves
/// it a message.
#[derive(Clone, Eq, PartialEq)]
pub struct Json<'a>(Cow<'a, str>);

// === impl Json ===

impl<'a> Json<'a> {
    /// A text, quoted.
    #[must_use]
    pub fn text(text: &str) -> Json<'static> {
        Json::of(text)
    }

    /// A value that has a JSON form; whatever has none, such as a map whose keys are no texts, becomes `null`.
    #[must_use]
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Json<'static> {
        Json(serde_json::to_string(value).map_or(Cow::Borrowed("null"), Cow::Owned))
    }

    /// An empty object.
    #[must_use]
    pub const fn empty_object() -> Json<'static> {
        Json(Cow::Borrowed("{}"))
    }

    /// An object of these members, in this order. Whoever gives a name twice gets it twice.
    #[must_use]
    pub fn object<'m>(members: impl IntoIterator<Item = (&'m str, Json<'m>)>) -> Json<'static> {
        let members: Vec<(&str, Json<'m>)> = members.into_iter().collect();
        let mut out = String::with_capacity(members.iter().map(|(name, value)| name.len() + value.0.len() + 8).sum());
        out.push('{');
        for (name, value) in members {
            if out.len() > 1 {
                out.push(',');
            }
            push_text(name, &mut out);
            out.push(':');
            out.push_str(value.as_str());
        }
        out.push('}');
        Json::written(out)
    }

    /// A list of these elements.
    #[must_use]
    pub fn list<'m>(elements: impl IntoIterator<Item = Json<'m>>) -> Json<'static> {
        let mut out = String::from("[");
        for element in elements {
            if out.len() > 1 {
                out.push(',');
            }
            out.push_str(element.as_str());
        }
        out.push(']');
        Json::written(out)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What an object has in it; none of what is no object.
    #[must_use]
    pub fn members(&self) -> Option<Members<'_>> {
        Members::of_text(&self.0)
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> Json<'static> {
        Json(Cow::Owned(self.0.into_owned()))
    }

    /// What was put together here of parts that are JSON.
    pub(crate) fn written(text: String) -> Json<'static> {
        Json(Cow::Owned(text))
    }

    /// A part of a document that was read as JSON.
    pub(crate) fn read(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a RawValue> for Json<'a> {
    fn from(raw: &'a RawValue) -> Self {
        Self(Cow::Borrowed(raw.get()))
    }
}

impl From<bool> for Json<'_> {
    fn from(value: bool) -> Self {
        Self(Cow::Borrowed(if value { "true" } else { "false" }))
    }
}

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes a text with its quotation marks.
pub(crate) fn push_text(text: &str, out: &mut String) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return;
    }
    // A text has a JSON form.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// What a JSON string says; none of what is no string, or has half of a surrogate pair.
pub(crate) fn unquoted(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(raw).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}
