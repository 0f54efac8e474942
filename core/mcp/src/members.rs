//! The members of a JSON object, as they stand in its text: looked up by name, and changed one by one while every other byte stays.

use std::{borrow::Cow, fmt, ops::Range};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{Json, push_text, unquoted};

/// An object, of which only the members at the top are known. One that is absent has none, and can be given some.
#[derive(Clone, Debug, Default)]
pub struct Members<'a> {
    text: &'a str,
    members: Vec<Member<'a>>,
}

/// A member.
#[derive(Clone, Debug)]
struct Member<'a> {
    name: Name<'a>,
    value: &'a RawValue,
}

/// The name of a member without its escapes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Name<'a>(pub(crate) Cow<'a, str>);

/// A change of a member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Edit<'e> {
    /// It goes.
    Remove(&'e str),
    /// It has this value, where it stands or else at the end.
    Set(&'e str, Json<'e>),
}

/// Collects the members of an object, so that those before a fault are there nevertheless.
pub(crate) struct Collect<'c, 'a>(pub(crate) &'c mut Vec<(Name<'a>, &'a RawValue)>);

// === impl Members ===

impl<'a> Members<'a> {
    /// Reads an object; none of what is no object.
    #[must_use]
    pub fn read(raw: &'a RawValue) -> Option<Self> {
        Self::of_text(raw.get())
    }

    pub(crate) fn of_text(text: &'a str) -> Option<Self> {
        let mut members = Vec::with_capacity(8);
        let mut json = serde_json::Deserializer::from_str(text);
        Collect(&mut members).deserialize(&mut json).and_then(|()| json.end()).ok()?;
        let members = members.into_iter().map(|(name, value)| Member { name, value }).collect();
        Some(Self { text: text.trim_ascii(), members })
    }

    /// The value of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().find(|member| member.name.0 == name).map(|member| member.value)
    }

    /// What a member says that is a text; none where it is missing, something else, or has half of a surrogate pair.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(|raw| unquoted(raw.get()))
    }

    /// A member that is an object; none where it is missing or something else.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<Members<'a>> {
        self.get(name).and_then(Members::read)
    }

    /// A member that is a list; none where it is missing or something else.
    #[must_use]
    pub fn list(&self, name: &str) -> Option<Vec<&'a RawValue>> {
        self.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// Whether a member is there and `true`.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|raw| raw.get() == "true")
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.members.iter().map(|member| (&*member.name.0, member.value))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The object as it stands.
    #[must_use]
    pub fn json(&self) -> Json<'a> {
        if self.text.is_empty() { Json::empty_object() } else { Json::read(self.text) }
    }

    /// The object with one member set; every other byte stays.
    #[must_use]
    pub fn with(&self, name: &str, value: &Json<'_>) -> Json<'static> {
        self.edited(&[Edit::Set(name, Json::read(value.as_str()))])
    }

    /// The object with these changes; every other byte stays, but the commas beside what goes.
    #[must_use]
    pub fn edited(&self, edits: &[Edit<'_>]) -> Json<'static> {
        let text = if self.text.is_empty() { "{}" } else { self.text };
        let mut out = String::with_capacity(text.len() + 128);
        let mut at = 1;
        out.push('{');
        let mut kept = 0_usize;
        for member in &self.members {
            let value = self.span(member);
            let (between, end) = (text.get(at..value.start).unwrap_or_default(), value.end);
            at = end;
            let edit = edits.iter().find(|edit| edit.name() == member.name.0);
            if matches!(edit, Some(Edit::Remove(_))) {
                continue;
            }
            // The first that stays has no comma before it.
            let comma = between.find('"').and_then(|name| between.get(..name)?.find(',')).filter(|_| kept == 0);
            out.push_str(comma.and_then(|comma| between.get(comma + 1..)).unwrap_or(between));
            match edit {
                Some(Edit::Set(_, value)) => out.push_str(value.as_str()),
                _ => out.push_str(member.value.get()),
            }
            kept += 1;
        }
        for edit in edits {
            let Edit::Set(name, value) = edit else { continue };
            if self.get(name).is_none() {
                out.push_str(if kept == 0 { "" } else { "," });
                push_text(name, &mut out);
                out.push(':');
                out.push_str(value.as_str());
                kept += 1;
            }
        }
        out.push_str(text.get(at..).unwrap_or("}"));
        Json::written(out)
    }

    /// Where the value of a member stands in the text.
    fn span(&self, member: &Member<'_>) -> Range<usize> {
        let start = (member.value.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        start..start + member.value.get().len()
    }

    /// Where the text of a member stands in that of the object.
    pub(crate) fn place(&self, name: &str) -> Option<Range<usize>> {
        self.members.iter().find(|member| member.name.0 == name).map(|member| self.span(member))
    }
}

impl Edit<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Remove(name) | Self::Set(name, _) => name,
        }
    }
}

// === impl Name, Collect ===

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl<'de> DeserializeSeed<'de> for Collect<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Collect<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(member) = map.next_entry()? {
            self.0.push(member);
        }
        Ok(())
    }
}
