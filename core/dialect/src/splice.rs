//! Changes members at the top of a JSON object and leaves every other byte as it is.
//!
//! A gateway that adds a version or names another model must not write the rest anew: numbers, the order of members, escapes and white
//! space are the client's own, prompt caches are found by them, and a body may be megabytes long.

use std::{borrow::Cow, ops::Range};

use serde_json::value::RawValue;

use crate::{
    dialects::read::{Members, object},
    error::Malformed,
    hub::Text,
};

/// One JSON object, of which the members at the top are known.
#[derive(Debug)]
pub struct Object<'a> {
    text: &'a str,
    members: Vec<Member<'a>>,
}

/// A member: its name, where it stands from the name's quote to the end of its value, and the value.
#[derive(Debug)]
struct Member<'a> {
    name: Text<'a>,
    span: Range<usize>,
    value: &'a RawValue,
}

/// A change of one member. Values are JSON.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Edit<'e> {
    /// It goes, however often it is there.
    Remove(&'e str),
    /// It has this value, wherever it stands; where it is missing, it stands in front.
    Set(&'e str, Cow<'e, str>),
}

// === impl Object ===

impl<'a> Object<'a> {
    /// Reads where the members are; what is in them is not looked at.
    ///
    /// # Errors
    /// When the body is not exactly one JSON object.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let Members(members) = object(body)?;
        // It was UTF-8 for the reader.
        let text = std::str::from_utf8(body).map_err(|error| Malformed::NotUtf8(error.valid_up_to()))?;
        let mut end = text.find('{').map_or(0, |at| at + 1);
        let place = |(name, value): (Text<'a>, &'a RawValue)| {
            // Between two members there are only white space and a comma, so that the next quote opens the name.
            let start = text.get(end..).and_then(|rest| rest.find('"')).map_or(end, |at| end + at);
            end = (value.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize) + value.get().len();
            Member { name, span: start..end, value }
        };
        Ok(Self { text, members: members.into_iter().map(place).collect() })
    }

    /// The value of the last member of that name: the one that most readers take.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().rev().find(|member| &*member.name == name).map(|member| member.value)
    }

    /// How many members have that name.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.members.iter().filter(|member| &*member.name == name).count()
    }

    /// Whether it has no member.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The object with these changes.
    #[must_use]
    pub fn edited(&self, edits: &[Edit<'_>]) -> Vec<u8> {
        let mut out = String::with_capacity(self.text.len() + 256);
        let (first, last) = match (self.members.first(), self.members.last()) {
            (Some(first), Some(last)) => (first.span.start, last.span.end),
            _ => self.text.find('{').map(|at| (at + 1, at + 1)).unwrap_or_default(),
        };
        out.push_str(self.text.get(..first).unwrap_or_default());
        let mut is_first = true;
        for edit in edits {
            if let Edit::Set(name, value) = edit
                && self.get(name).is_none()
            {
                out.push_str(if std::mem::take(&mut is_first) { "" } else { "," });
                push_name(name, &mut out);
                out.push_str(value);
            }
        }
        let mut before = first;
        for member in &self.members {
            // The white space and the comma that stood before it.
            let between = self.text.get(before..member.span.start).filter(|between| !between.is_empty()).unwrap_or(",");
            before = member.span.end;
            let edit = edits.iter().find(|edit| edit.name() == &*member.name);
            if matches!(edit, Some(Edit::Remove(_))) {
                continue;
            }
            out.push_str(if std::mem::take(&mut is_first) { "" } else { between });
            match edit {
                Some(Edit::Set(_, value)) => {
                    let value_start = member.span.end - member.value.get().len();
                    out.push_str(self.text.get(member.span.start..value_start).unwrap_or_default());
                    out.push_str(value);
                }
                _ => out.push_str(self.text.get(member.span.clone()).unwrap_or_default()),
            }
        }
        out.push_str(self.text.get(last..).unwrap_or_default());
        out.into_bytes()
    }
}

impl Edit<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Remove(name) | Self::Set(name, _) => name,
        }
    }
}

fn push_name(name: &str, out: &mut String) {
    // A text has a JSON form.
    out.push_str(&serde_json::to_string(name).unwrap_or_default());
    out.push(':');
}

/// A text as JSON, for [`Edit::Set`].
#[must_use]
pub fn quoted(text: &str) -> Cow<'static, str> {
    serde_json::to_string(text).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use serde_json::{Map, Value};

    fn edited(body: &str, edits: &[Edit<'_>]) -> String {
        String::from_utf8(Object::read(body.as_bytes()).unwrap().edited(edits)).unwrap()
    }

    #[test]
    fn a_member_goes_and_nothing_else_changes() {
        let check = |body: &str, expected: &str| assert_eq!(edited(body, &[Edit::Remove("m")]), expected, "{body}");
        check(r#"{"m":1,"a":1.0,"b":[ 1e3 ]}"#, r#"{"a":1.0,"b":[ 1e3 ]}"#);
        check(r#"{"a":1,"m":{"m":2},"b":3}"#, r#"{"a":1,"b":3}"#);
        check(r#"{"a":1,"m":"x,}"}"#, r#"{"a":1}"#);
        check("{\n  \"m\": 1,\n  \"a\": 2\n}\n", "{\n  \"a\": 2\n}\n");
        check("{\n  \"a\": 2,\n  \"m\": 1\n}", "{\n  \"a\": 2\n}");
        check(r#" { "m" : 1 } "#, " {  } ");
        check(r#"{"m":1,"m":2,"a":3,"m":4}"#, r#"{"a":3}"#);
        check(r#"{"\u006d":1,"a":"\u00e9\/"}"#, r#"{"a":"\u00e9\/"}"#);
        check(r#"{"a":{"m":1}}"#, r#"{"a":{"m":1}}"#);
        check("{}", "{}");
    }

    #[test]
    fn a_member_is_set_where_it_stands_or_else_in_front() {
        let set = || [Edit::Set("m", "\"x\"".into())];
        let check = |body: &str, expected: &str| assert_eq!(edited(body, &set()), expected, "{body}");
        check(r#"{"a":1, "m" : null ,"b":2}"#, r#"{"a":1, "m" : "x" ,"b":2}"#);
        check(r#"{"m":1,"m":2}"#, r#"{"m":"x","m":"x"}"#);
        check(r#"{"a":1}"#, r#"{"m":"x","a":1}"#);
        check("{ }", r#"{"m":"x" }"#);
        check("{\n \"a\": 1\n}", "{\n \"m\":\"x\",\"a\": 1\n}");
    }

    #[test]
    fn members_go_and_come_at_once() {
        let edits = [
            Edit::Set("version", "1".into()),
            Edit::Remove("a"),
            Edit::Set("b", "[]".into()),
            Edit::Set("c", "0".into()),
        ];
        assert_eq!(edited(r#"{"a":1,"b":2,"d":3}"#, &edits), r#"{"version":1,"c":0,"b":[],"d":3}"#);
        assert_eq!(edited(r#"{"a":1}"#, &edits), r#"{"version":1,"b":[],"c":0}"#);
    }

    #[test]
    fn the_last_of_a_name_is_what_readers_take() {
        let object = Object::read(br#"{"a":1,"a":[2]}"#).unwrap();
        assert_eq!(object.get("a").map(RawValue::get), Some("[2]"));
        assert!(object.get("b").is_none());
        assert_eq!(Object::read(b"[1]").unwrap_err(), Malformed::NotAnObject);
    }

    proptest! {
        #[test]
        fn an_edited_object_is_the_object_with_its_edits(
            members in vec(("[a-d\"é]{1,2}", "[ -~é]{0,6}", "[ \n]{0,2}"), 0..6),
            name in "[a-d]{1,2}",
            is_set in any::<bool>(),
        ) {
            let mut body = "{".to_owned();
            for (at, (name, value, space)) in members.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                let (name, value) = (Value::from(name.as_str()), Value::from(value.as_str()));
                body.push_str(&format!("{space}{comma}{space}{name}{space}:{space}{value}{space}"));
            }
            body.push('}');
            let mut expected: Map<String, Value> = serde_json::from_str(&body).unwrap();
            let edit = if is_set { Edit::Set(&name, "7".into()) } else { Edit::Remove(&name) };
            if is_set {
                expected.insert(name.clone(), 7.into());
            } else {
                expected.remove(&name);
            }
            let found = edited(&body, std::slice::from_ref(&edit));
            prop_assert_eq!(&serde_json::from_str::<Map<String, Value>>(&found).unwrap(), &expected, "{}", found);
            let untouched = edited(&body, &[]);
            prop_assert_eq!(untouched, body);
        }
    }
}
