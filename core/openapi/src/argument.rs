//! Arguments of a call, as an agent wrote them: read once, each name once, and looked at as far as their types go.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    document::shown,
    shape::{Shape, Types},
};

/// Why a call is not made. Each text says what to do, and shows nothing of a value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidArguments {
    /// There is no such tool.
    #[error("there is no tool {0:?}")]
    Tool(String),
    /// The arguments are no object, or name something twice.
    #[error("the arguments are no JSON object in which each name stands once")]
    Unreadable,
    /// One is not of the tool.
    #[error("the tool has no argument {0:?}: {1}")]
    Unknown(String, String),
    /// One is missing.
    #[error("the argument {0:?} is missing, which must be given")]
    Missing(String),
    /// One is of another type.
    #[error("the argument {0:?} must be {1}")]
    Type(String, String),
    /// One is none of the values that it may have.
    #[error("the argument {0:?} must be one of {1}")]
    Choice(String, String),
    /// A member of one, or an element, is not as it must be.
    #[error("in the argument {0:?}, {1:?} {2}")]
    Member(String, String, &'static str),
    /// One would lead to another path.
    #[error(
        "the argument {0:?} goes into the path and must stay in its place there: it must not be empty, nor have control characters, nor \".\" or \"..\" between slashes"
    )]
    Path(String),
    /// One cannot be a header.
    #[error(
        "the argument {0:?} goes into a header, which takes visible ASCII characters and single spaces between them, at most {1} bytes"
    )]
    Header(String, usize),
    /// One has what stands between elements of its list.
    #[error("the argument {0:?} has elements with {1:?} in them, which stands between elements")]
    Delimiter(String, char),
    /// Together they are too long for a URL.
    #[error("path and query would be longer than {0} bytes: give shorter arguments, or fewer")]
    Long(usize),
}

/// The members of an object, in their order.
#[derive(Debug, Default)]
pub(crate) struct Members<'a>(Vec<(String, &'a RawValue)>);

// === impl Members ===

impl<'a> Members<'a> {
    /// Reads an object; `None`: it is none, or has a name twice.
    pub(crate) fn read(raw: &'a RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.iter().find(|(member, _)| *member == name).map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object in which each name stands once")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut members, mut names) = (Vec::new(), HashSet::new());
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if !names.insert(name.clone()) {
                        return Err(serde::de::Error::custom("a name stands twice"));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// The elements of a list; `None`: it is none.
pub(crate) fn elements(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// The type of a value.
pub(crate) fn type_of(raw: &RawValue) -> Types {
    let text = raw.get();
    match text.bytes().next() {
        Some(b'"') => Types::STRING,
        Some(b't' | b'f') => Types::BOOLEAN,
        Some(b'[') => Types::ARRAY,
        Some(b'{') => Types::OBJECT,
        Some(b'n') | None => Types::NONE,
        Some(_) if is_whole(text) => Types::INTEGER,
        Some(_) => Types::NUMBER,
    }
}

/// What a text, a number or a truth is written as, where its type is one of these.
pub(crate) fn primitive<'a>(raw: &'a RawValue, types: Types) -> Option<Cow<'a, str>> {
    let own = type_of(raw);
    let is_of = if own == Types::NUMBER { Types::NUMBER.within(types) } else { own.meet(types) };
    match own {
        _ if !is_of => None,
        Types::STRING => serde_json::from_str::<String>(raw.get()).ok().map(Cow::Owned),
        Types::ARRAY | Types::OBJECT => None,
        _ => Some(Cow::Borrowed(raw.get())),
    }
}

/// Looks at a value: its type, and whether it is one of those that it may be.
pub(crate) fn check(argument: &str, raw: &RawValue, shape: &Shape) -> Result<(), InvalidArguments> {
    let own = type_of(raw);
    let is_of = if own == Types::NUMBER { Types::NUMBER.within(shape.types) } else { own.meet(shape.types) };
    let is_null = own == Types::NONE && shape.types.is_nullable();
    if !is_of && !is_null {
        return Err(InvalidArguments::Type(argument.to_owned(), shape.types.sentence()));
    }
    if !shape.choices.is_empty() {
        let value: Result<serde_json::Value, _> = serde_json::from_str(raw.get());
        if !value.is_ok_and(|value| shape.choices.contains(&value.to_string())) {
            return Err(InvalidArguments::Choice(argument.to_owned(), shown(&shape.choices.join(", "))));
        }
    }
    Ok(())
}

fn is_whole(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn an_object_names_each_member_once() {
        assert!(Members::read(&raw(r#"{"a":1,"\u0061":2}"#)).is_none());
        assert!(Members::read(&raw("[]")).is_none());
        let all = raw(r#"{"b":[1, 2],"a":"x"}"#);
        let members = Members::read(&all).unwrap();
        assert_eq!(
            members.iter().map(|(name, raw)| (name, raw.get())).collect::<Vec<_>>(),
            [("b", "[1, 2]"), ("a", "\"x\"")]
        );
    }

    #[test]
    fn a_value_is_written_as_it_was_given() {
        for (json, types, expect) in [
            (r#""a\u0062""#, Types::STRING, Some("ab")),
            ("12345678901234567890123", Types::INTEGER, Some("12345678901234567890123")),
            ("1.50", Types::NUMBER, Some("1.50")),
            ("1.50", Types::INTEGER, None),
            ("7", Types::NUMBER, Some("7")),
            ("7", Types::STRING, None),
            ("\"7\"", Types::INTEGER, None),
            ("true", Types::BOOLEAN, Some("true")),
            ("null", Types::STRING, None),
            ("[1]", Types::ARRAY, None),
            (r#""\ud800""#, Types::STRING, None),
        ] {
            assert_eq!(primitive(&raw(json), types).as_deref(), expect, "{json}");
        }
    }
}
