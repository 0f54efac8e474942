//! A JSON value, whole, in which two that mean the same are equal.
//!
//! serde_json's own tree is another by features that any crate of a program may switch on: the order of members, the form of numbers, and
//! how exactly floating point numbers are read. What is hashed and kept must not change with them.

use std::borrow::Cow;

use crate::{
    json::{push_text, unquoted},
    strict::{DEPTH_MAX, end_of_string},
};

/// A value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Tree<'a> {
    Null,
    Bool(bool),
    /// In its canonical form.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    List(Vec<Tree<'a>>),
    /// Sorted by the bytes of the names.
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
}

/// Reads a text that is JSON.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

// === impl Tree ===

impl<'a> Tree<'a> {
    /// Reads a text that is JSON; none of what has half of a surrogate pair, a number beyond those of 64 bits, a name twice, or is nested
    /// too deeply.
    pub(crate) fn read(json: &'a str) -> Option<Self> {
        Reader { text: json, at: 0 }.value(0)
    }

    /// A member of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        let at = members.binary_search_by(|(member, _)| (**member).cmp(name)).ok()?;
        members.get(at).map(|(_, value)| value)
    }

    /// What it says, if it is a text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The members of an object, in the order of their names; none of anything else.
    pub(crate) fn members(&self) -> &[(Cow<'a, str>, Tree<'a>)] {
        match self {
            Self::Object(members) => members,
            _ => &[],
        }
    }

    /// Writes the canonical form.
    pub(crate) fn push(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => out.push_str(number),
            Self::Text(text) => push_text(text, out),
            Self::List(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    element.push(out);
                }
                out.push(']');
            }
            Self::Object(members) => push_members(members.iter(), out),
        }
    }
}

/// Writes the canonical form of an object of these members, which are sorted.
pub(crate) fn push_members<'t, 'a: 't>(members: impl Iterator<Item = &'t (Cow<'a, str>, Tree<'a>)>, out: &mut String) {
    out.push('{');
    for (at, (name, value)) in members.enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        push_text(name, out);
        out.push(':');
        value.push(out);
    }
    out.push('}');
}

/// The canonical form of a number.
fn number(text: &str) -> Option<Cow<'_, str>> {
    if text.parse::<i64>().is_ok_and(|number| number != 0) || text.parse::<u64>().is_ok() {
        return Some(Cow::Borrowed(text));
    }
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
    Some(Cow::Owned(if number == 0.0 { "0".to_owned() } else { floating(number) }))
}

/// A number as JavaScript writes it (ECMA-262, Number::toString), which RFC 8785 takes over: the fewest digits that read back as the same,
/// with an exponent from 1e21 on and below 1e-6.
fn floating(number: f64) -> String {
    let written = format!("{:e}", number.abs());
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let (digits, exponent) = (mantissa.replace('.', ""), exponent.parse::<i32>().unwrap_or_default());
    let sign = if number < 0.0 { "-" } else { "" };
    let point = usize::try_from(exponent + 1).ok().filter(|point| (1..=21).contains(point));
    match (point, exponent) {
        (Some(point), _) => match digits.split_at_checked(point) {
            Some((whole, "")) => format!("{sign}{whole}"),
            Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
            None => format!("{sign}{digits:0<point$}"),
        },
        (None, -6..0) => format!("{sign}0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1)),
        (None, _) => {
            let plus = if exponent > 0 { "+" } else { "" };
            format!("{sign}{mantissa}e{plus}{exponent}")
        }
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<Tree<'a>> {
        if depth > DEPTH_MAX {
            return None;
        }
        match self.next()? {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => self.string().map(Tree::Text),
            _ => match self.word() {
                "null" => Some(Tree::Null),
                "true" => Some(Tree::Bool(true)),
                "false" => Some(Tree::Bool(false)),
                text => number(text).map(Tree::Number),
            },
        }
    }

    fn object(&mut self, depth: usize) -> Option<Tree<'a>> {
        let mut members = Vec::new();
        self.at += 1;
        while self.next()? != b'}' {
            let name = self.string()?;
            self.next().filter(|byte| *byte == b':')?;
            self.at += 1;
            members.push((name, self.value(depth + 1)?));
            self.at += usize::from(self.next()? == b',');
        }
        self.at += 1;
        members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let is_twice = members.iter().zip(members.iter().skip(1)).any(|((one, _), (next, _))| one == next);
        (!is_twice).then_some(Tree::Object(members))
    }

    fn list(&mut self, depth: usize) -> Option<Tree<'a>> {
        let mut elements = Vec::new();
        self.at += 1;
        while self.next()? != b']' {
            elements.push(self.value(depth + 1)?);
            self.at += usize::from(self.next()? == b',');
        }
        self.at += 1;
        Some(Tree::List(elements))
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.next().filter(|byte| *byte == b'"')?;
        let end = end_of_string(self.text.as_bytes(), self.at);
        let raw = self.text.get(self.at..end)?;
        self.at = end;
        unquoted(raw)
    }

    /// The next byte that is no white space; it stays the next.
    fn next(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        self.at += rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        self.text.as_bytes().get(self.at).copied()
    }

    /// What ends before a comma, a bracket or white space.
    fn word(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.find(|c: char| matches!(c, ',' | ']' | '}') || c.is_ascii_whitespace()).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn canonical(json: &str) -> Option<String> {
        let mut out = String::new();
        Tree::read(json)?.push(&mut out);
        Some(out)
    }

    #[test]
    fn two_texts_that_mean_the_same_have_one_form() {
        for (json, expected) in [
            (r#" { "b" : 1 , "a" : [ true , null ] } "#, Some(r#"{"a":[true,null],"b":1}"#)),
            (r#"{"é":1,"z":2,"\u0041":3}"#, Some(r#"{"A":3,"z":2,"é":1}"#)),
            (r#""\u00e9\/\u001f\n\"""#, Some("\"é/\\u001f\\n\\\"\"")),
            ("[1,1.0,1e0,10e-1,-0,0.0,-1]", Some("[1,1,1,1,0,0,-1]")),
            ("[0.1,-1e30,1.5e-7,1E2,8.29053250366286e203]", Some("[0.1,-1e+30,1.5e-7,100,8.29053250366286e+203]")),
            (
                "[1e20,1e21,123456789e13,1e-6,-1.25e-7,12.50]",
                Some("[100000000000000000000,1e+21,1.23456789e+21,0.000001,-1.25e-7,12.5]"),
            ),
            (
                "[9007199254740993,9007199254740993.0,36893488147419103232]",
                Some("[9007199254740993,9007199254740992,36893488147419103000]"),
            ),
            ("[9223372036854775807,18446744073709551615]", Some("[9223372036854775807,18446744073709551615]")),
            ("[]", Some("[]")),
            ("{}", Some("{}")),
            ("1e999", None),
            (r#""\ud800""#, None),
            (r#"{"a":1,"\u0061":2}"#, None),
        ] {
            assert_eq!(canonical(json).as_deref(), expected, "{json}");
        }
        assert!(Tree::read(&format!("{}{}", "[".repeat(400), "]".repeat(400))).is_none());
        assert_eq!(Tree::read(r#"{"b":1,"a":"x"}"#).unwrap().get("a").and_then(Tree::as_text), Some("x"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_canonical_form_means_the_same(text in "\\PC{0,20}", number in any::<i64>(), names in "[a-f]{1,6}") {
            let members: serde_json::Map<String, Value> =
                names.chars().map(|name| (name.to_string(), serde_json::json!([{"t": text.clone()}, number, [], {}]))).collect();
            let value = Value::from(members);
            let written = canonical(&serde_json::to_string_pretty(&value).unwrap()).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), value);
            prop_assert_eq!(canonical(&written), Some(written));
        }

        #[test]
        fn whatever_is_no_json_is_only_not_read(text in "[\\[\\]{}:,\"\\\\a1 ]{0,40}") {
            let _ = Tree::read(&text);
        }
    }
}
