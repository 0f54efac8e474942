//! A YAML or JSON text as a tree in which every node knows where it stands, so that every mistake can be placed.

use std::fmt;

use serde::{
    Deserialize,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, MessageFormatter as _, Spanned, UserMessageFormatter};

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

/// A mistake, and where.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Mistake {
    pub(crate) place: Place,
    pub(crate) text: String,
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    /// As it was written, so that an amount never passes through a float.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Table(Vec<(Place, String, Node)>),
}

/// Parses every document of a text. Documents that are empty are left out.
///
/// # Errors
/// The first place at which the text is not YAML.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, Mistake> {
    // As YAML 1.2 has it: `no` and `y` are texts.
    let options = serde_saphyr::options! { strict_booleans: true };
    let parsed: Result<Vec<Raw>, _> = serde_saphyr::from_multiple_with_options(text, options);
    match parsed {
        Ok(documents) => Ok(documents.into_iter().map(|raw| node(raw, text)).collect()),
        Err(error) => {
            let error = error.without_snippet();
            let place = error.location().map(Place::from).unwrap_or_default();
            Err(Mistake { place, text: UserMessageFormatter.format_message(error).into_owned() })
        }
    }
}

impl Value {
    /// What it is, for a sentence.
    pub(crate) const fn noun(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Boolean(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// A node as the parser gives it. Its numbers have been read, so their text is taken from the source afterwards.
struct Raw(Spanned<RawValue>);

enum RawValue {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    List(Vec<Raw>),
    Table(Vec<(Spanned<String>, Raw)>),
}

fn node(raw: Raw, source: &str) -> Node {
    let Raw(Spanned { value, referenced, defined }) = raw;
    let value = match value {
        RawValue::Null => Value::Null,
        RawValue::Boolean(value) => Value::Boolean(value),
        RawValue::Number(read) => Value::Number(written(defined, source).unwrap_or(read)),
        RawValue::Text(text) => Value::Text(text),
        RawValue::List(items) => Value::List(items.into_iter().map(|item| node(item, source)).collect()),
        RawValue::Table(entries) => {
            let entries =
                entries.into_iter().map(|(key, value)| (key.referenced.into(), key.value, node(value, source)));
            Value::Table(entries.collect())
        }
    };
    Node { place: referenced.into(), value }
}

fn written(location: Location, source: &str) -> Option<String> {
    let span = location.span();
    let (from, length) = (usize::try_from(span.byte_offset()?).ok()?, usize::try_from(span.byte_len()?).ok()?);
    let text = source.get(from..from.checked_add(length)?)?.trim();
    // Only what looks like the number that was read: a span that points elsewhere must not replace it.
    text.parse::<f64>().is_ok().then(|| text.to_owned())
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Raw)
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }

    fn visit_some<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<RawValue, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<RawValue, E> {
        Ok(RawValue::Boolean(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<RawValue, E> {
        Ok(RawValue::Number(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<RawValue, E> {
        Ok(RawValue::Number(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<RawValue, E> {
        Ok(RawValue::Number(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<RawValue, E> {
        Ok(RawValue::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawValue, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(RawValue::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<RawValue, A::Error> {
        let mut table = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            table.push(entry);
        }
        Ok(RawValue::Table(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(node: &Node) -> String {
        let Place { line, column } = node.place;
        match &node.value {
            Value::Null => format!("{line}:{column} null"),
            Value::Boolean(value) => format!("{line}:{column} {value}"),
            Value::Number(text) => format!("{line}:{column} #{text}"),
            Value::Text(text) => format!("{line}:{column} {text:?}"),
            Value::List(items) => format!("[{}]", items.iter().map(outline).collect::<Vec<_>>().join(", ")),
            Value::Table(entries) => {
                let entries = entries
                    .iter()
                    .map(|(at, key, value)| format!("{}:{} {key}: {}", at.line, at.column, outline(value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn check(text: &str, expect: &[&str]) {
        let outlines: Vec<_> = parse(text).unwrap().iter().map(outline).collect();
        assert_eq!(outlines, expect, "{text}");
    }

    #[test]
    fn every_node_knows_its_place() {
        check("a: 1\nb:\n  - x\n  - true\n", &["{1:1 a: 1:4 #1, 2:1 b: [3:5 \"x\", 4:5 true]}"]);
        check("{ a: \"1\", b: null }", &["{1:3 a: 1:6 \"1\", 1:11 b: 1:14 null}"]);
        check("{\n\t\"a\": [1.50, \"x\"]\n}", &["{2:2 a: [2:8 #1.50, 2:14 \"x\"]}"]);
    }

    #[test]
    fn numbers_keep_their_digits() {
        check(
            "a: 0.300000000\nb: 1234567.123456789\nc: 12_000\n",
            &["{1:1 a: 1:4 #0.300000000, 2:1 b: 2:4 #1234567.123456789, 3:1 c: 3:4 #12000}"],
        );
    }

    #[test]
    fn only_true_and_false_are_booleans() {
        check(
            "[true, false, yes, no, on, y]",
            &["[1:2 true, 1:8 false, 1:15 \"yes\", 1:20 \"no\", 1:24 \"on\", 1:28 \"y\"]"],
        );
    }

    #[test]
    fn several_documents_and_empty_ones() {
        check("a: 1\n---\n---\nb: 2\n", &["{1:1 a: 1:4 #1}", "{4:1 b: 4:4 #2}"]);
        check("", &[]);
        check("# only a comment\n", &[]);
    }

    #[test]
    fn what_is_no_yaml_says_where() {
        for (text, line) in [("a: [1, 2\nb: 3\n", 2), ("a: 1\na: 2\n", 2), ("a: 1\n b: 2\n", 2), ("x: *nowhere\n", 1)] {
            let mistake = parse(text).unwrap_err();
            assert_eq!(mistake.place.line, line, "{text:?}: {mistake:?}");
            assert!(!mistake.text.is_empty() && !mistake.text.contains('\n'), "{mistake:?}");
        }
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let below = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", vec![below; 10].join(", "));
        }
        assert!(parse(&text).is_err());
    }
}
