//! Values as they are written into their places: nothing in one ends its place, or begins another.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;

use crate::{
    argument::{InvalidArguments, Members, elements, primitive, type_of},
    document::shown,
    parameter::Style,
    shape::{Shape, Types},
};

/// The longest value of a header, in bytes.
pub(crate) const HEADER_BYTES_MAX: usize = 4 * 1024;

// All that is not unreserved (RFC 3986, section 2.3), whether the place would have room for it or not.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `name=value` one after the other, as queries and forms have them.
#[derive(Debug, Default)]
pub(crate) struct Pairs(String);

/// An argument with what its parameter says of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    pub(crate) argument: &'a str,
    pub(crate) raw: &'a RawValue,
    pub(crate) shape: &'a Shape,
}

/// A text in which every character means itself, in a path and in a query.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

// === impl Pairs ===

impl Pairs {
    /// Adds a value under a name, in that style.
    ///
    /// # Errors
    /// When an element or a member is not as it must be.
    pub(crate) fn add(&mut self, name: &str, style: Style, given: Given<'_>) -> Result<(), InvalidArguments> {
        let name = encoded(name);
        let own = type_of(given.raw);
        match style {
            Style::Json => self.push(&name, &encoded(given.raw.get())),
            Style::Form { explode: true } if own == Types::ARRAY => {
                for element in given.elements()? {
                    self.push(&name, &encoded(&element));
                }
            }
            Style::Form { explode: true } if own == Types::OBJECT => {
                for (member, value) in given.members()? {
                    // Each is a parameter of its own, and must be one that the description names.
                    if !given.shape.members.contains_key(&member) {
                        return Err(given.wrong(&member, "is not a member of it"));
                    }
                    self.push(&encoded(&member), &encoded(&value));
                }
            }
            Style::DeepObject => {
                for (member, value) in given.members()? {
                    self.push(&format!("{name}%5B{}%5D", encoded(&member)), &encoded(&value));
                }
            }
            Style::Delimited(delimiter) => {
                let elements = given.elements()?;
                if elements.iter().any(|element| element.contains(delimiter)) {
                    return Err(InvalidArguments::Delimiter(given.argument.to_owned(), delimiter));
                }
                self.push(&name, &encoded(&elements.join(&delimiter.to_string())));
            }
            Style::Simple { .. } | Style::Form { .. } => self.push(&name, &given.simple(false, encoded)?),
        }
        Ok(())
    }

    /// All of them; empty: there are none.
    pub(crate) fn into_text(self) -> String {
        self.0
    }

    fn push(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.extend([name, "=", value]);
    }
}

// === impl Given ===

impl Given<'_> {
    /// The whole value in one, with commas between its elements; `write` writes each.
    pub(crate) fn simple(self, explode: bool, write: impl Fn(&str) -> String) -> Result<String, InvalidArguments> {
        let own = type_of(self.raw);
        if own == Types::ARRAY {
            let elements: Vec<String> = self.elements()?.iter().map(|element| write(element)).collect();
            return Ok(elements.join(","));
        }
        if own == Types::OBJECT {
            let between = if explode { "=" } else { "," };
            let members = self.members()?;
            let members: Vec<String> =
                members.iter().map(|(name, value)| [&write(name), between, &write(value)].concat()).collect();
            return Ok(members.join(","));
        }
        let text = primitive(self.raw, self.shape.types);
        text.map(|text| write(&text))
            .ok_or_else(|| InvalidArguments::Type(self.argument.to_owned(), self.shape.types.sentence()))
    }

    fn elements(self) -> Result<Vec<String>, InvalidArguments> {
        let expected = || {
            let types = self.shape.elements.primitive().sentence();
            InvalidArguments::Type(self.argument.to_owned(), format!("a list in which each element is {types}"))
        };
        let types = self.shape.elements.primitive();
        let elements = elements(self.raw).ok_or_else(expected)?;
        elements.into_iter().map(|raw| primitive(raw, types).map(Cow::into_owned).ok_or_else(expected)).collect()
    }

    fn members(self) -> Result<Vec<(String, String)>, InvalidArguments> {
        let members = Members::read(self.raw).ok_or(InvalidArguments::Unreadable)?;
        let mut texts = Vec::new();
        for (name, raw) in members.iter().filter(|(_, raw)| type_of(raw) != Types::NONE) {
            let types = self.shape.members.get(name).map_or(Types::PRIMITIVE, |types| types.primitive());
            let text = primitive(raw, types)
                .ok_or_else(|| self.wrong(name, "is not of its type, or not a string, a number or a boolean"))?;
            texts.push((name.to_owned(), text.into_owned()));
        }
        Ok(texts)
    }

    fn wrong(self, member: &str, why: &'static str) -> InvalidArguments {
        InvalidArguments::Member(self.argument.to_owned(), shown(member), why)
    }
}

/// The value of a header.
///
/// # Errors
/// When a header cannot have it.
pub(crate) fn header(argument: &str, text: String) -> Result<String, InvalidArguments> {
    let is_visible = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let fits = text.len() <= HEADER_BYTES_MAX && text.trim() == text;
    if is_visible && fits { Ok(text) } else { Err(InvalidArguments::Header(argument.to_owned(), HEADER_BYTES_MAX)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pairs(style: Style, schema: &serde_json::Value, json: &str) -> Option<String> {
        let raw = RawValue::from_string(json.to_owned()).unwrap();
        let shape = Shape::of(schema);
        let mut pairs = Pairs::default();
        let added = pairs.add("a[b]", style, Given { argument: "a", raw: &raw, shape: &shape });
        added.ok().map(|()| pairs.into_text())
    }

    #[test]
    fn a_value_is_written_in_its_style() {
        let (any, object) =
            (json!({}), json!({ "properties": { "x": { "type": "string" }, "y": { "type": "integer" } } }));
        let whole = Style::Form { explode: true };
        let joined = Style::Form { explode: false };
        for (style, schema, value, expect) in [
            (whole, &any, r#""1&c=2""#, Some("a%5Bb%5D=1%26c%3D2")),
            (whole, &any, r#"["1","2&"]"#, Some("a%5Bb%5D=1&a%5Bb%5D=2%26")),
            (whole, &any, "[]", Some("")),
            (whole, &object, r#"{"x":"=","y":2}"#, Some("x=%3D&y=2")),
            (whole, &object, r#"{"z":"="}"#, None),
            (whole, &object, r#"{"y":"2"}"#, None),
            (joined, &any, r#"["1","2,3"]"#, Some("a%5Bb%5D=1,2%2C3")),
            (joined, &any, r#"{"k":1,"l":"2"}"#, Some("a%5Bb%5D=k,1,l,2")),
            (Style::Delimited(' '), &any, r#"["1","2"]"#, Some("a%5Bb%5D=1%202")),
            (Style::Delimited(' '), &any, r#"["1 2"]"#, None),
            (Style::Delimited('|'), &any, r#"["1","2"]"#, Some("a%5Bb%5D=1%7C2")),
            (Style::DeepObject, &any, r#"{"k]&x=[":"1"}"#, Some("a%5Bb%5D%5Bk%5D%26x%3D%5B%5D=1")),
            (Style::DeepObject, &any, r#"{"k":[1]}"#, None),
            (Style::Json, &any, r#"{"k":[1]}"#, Some("a%5Bb%5D=%7B%22k%22%3A%5B1%5D%7D")),
            (whole, &any, r#""ü\n""#, Some("a%5Bb%5D=%C3%BC%0A")),
            (whole, &json!({ "items": { "type": "integer" } }), r#"["1"]"#, None),
        ] {
            assert_eq!(pairs(style, schema, value).as_deref(), expect, "{style:?} {value}");
        }
    }

    #[test]
    fn a_header_has_visible_characters_only() {
        for (text, is_one) in [
            ("a b", true),
            ("", true),
            (" a", false),
            ("a\r\nb: c", false),
            ("ä", false),
            ("a\0", false),
            ("a\tb", false),
        ] {
            assert_eq!(header("a", text.to_owned()).is_ok(), is_one, "{text:?}");
        }
        assert!(header("a", "x".repeat(HEADER_BYTES_MAX + 1)).is_err());
    }
}
