//! Reading JSON bodies, for every dialect.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    error::{DecodeError, Malformed},
    hub::Text,
};

/// The members of an object in their order, unread.
#[derive(Debug, Default)]
pub(crate) struct Members<'a>(pub(crate) Vec<(Text<'a>, &'a RawValue)>);

/// Reads exactly one JSON object.
pub(crate) fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Malformed> {
    read_object(body, |_| PhantomData)
}

pub(crate) fn read_object<'a, S: DeserializeSeed<'a>>(
    body: &'a [u8],
    seed: impl Fn(&'a str) -> S,
) -> Result<S::Value, Malformed> {
    let text = std::str::from_utf8(body).map_err(|error| Malformed::NotUtf8(error.valid_up_to()))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let read = seed(text).deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    read.map_err(|error| match error.classify() {
        _ if text.trim().is_empty() => Malformed::Empty,
        serde_json::error::Category::Data => Malformed::NotAnObject,
        serde_json::error::Category::Eof => Malformed::Unfinished,
        _ => Malformed::NotJson { line: error.line(), column: error.column() },
    })
}

/// Reads a field, named in the error.
pub(crate) fn field<'a, T: Deserialize<'a>>(name: &str, raw: &'a RawValue) -> Result<T, DecodeError> {
    serde_json::from_str(raw.get()).map_err(|_| DecodeError::invalid(name, "what the API's reference says of its type"))
}

/// Refuses a field of a request whose name is that under which the hub keeps a field of an object, such as `thinking.`, which ends in a dot.
pub(crate) fn unnested(name: &str, objects: &[&str]) -> Result<(), DecodeError> {
    match objects.iter().find(|object| name.starts_with(**object)) {
        Some(object) => {
            let object = object.trim_end_matches('.');
            Err(DecodeError::invalid(object, "an object: no field of a request has a dot in its name"))
        }
        None => Ok(()),
    }
}

/// Reads each element of a list by itself, so that an error can say which.
pub(crate) fn each<'a, T>(
    name: &str,
    raw: &'a RawValue,
    mut read: impl FnMut(&'a RawValue) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let list: Vec<&'a RawValue> = serde_json::from_str(raw.get()).map_err(|_| DecodeError::invalid(name, "a list"))?;
    let read = |(index, raw)| read(raw).map_err(|error| error.within(name, Some(index)));
    list.into_iter().enumerate().map(read).collect()
}

/// Whether it is a JSON text, without reading it.
pub(crate) fn is_text(raw: &RawValue) -> bool {
    raw.get().starts_with('"')
}

/// Whether it is `null`.
pub(crate) fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(map.size_hint().unwrap_or(16));
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
