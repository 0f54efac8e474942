//! How a client names an attribute: RFC 7644, 3.10, and the paths of patches, 3.5.2.

use std::fmt;

use serde_json::Value;

use crate::{
    Object, Problem,
    filter::{self, Filter},
    problem::shown,
    schema::{Attribute, ResourceKind, SCHEMAS, find},
};

/// An attribute, of the core schema or of an extension, with a part of it.
#[derive(Clone, Eq, PartialEq)]
pub struct AttributePath {
    /// The URI of the extension.
    pub extension: Option<String>,
    /// The attribute; empty for the whole extension.
    pub name: String,
    /// The part of it.
    pub part: Option<String>,
}

/// What a patch changes: an attribute, those of its values that a filter selects, a part of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The attribute. Behind a filter its part is the part of each selected value.
    pub path: AttributePath,
    /// Which of the values.
    pub filter: Option<Filter>,
}

// === impl AttributePath ===

impl AttributePath {
    /// Reads a path. The URI of a core schema in front of it says nothing, and is dropped.
    ///
    /// # Errors
    /// When it is not a path.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let (extension, rest) = split_uri(text);
        let (name, part) = match rest.split_once('.') {
            Some((name, part)) => (name, Some(part)),
            None => (rest, None),
        };
        let whole = rest.is_empty() && extension.is_some();
        if !(whole || is_name(name) && part.is_none_or(is_name)) {
            return Err(Problem::InvalidPath(format!("{:?} names no attribute", shown(text))));
        }
        Ok(Self { extension: extension.map(str::to_owned), name: name.to_owned(), part: part.map(str::to_owned) })
    }

    /// What is known of the attribute that it names, or of its part.
    #[must_use]
    pub fn attribute(&self, kind: &ResourceKind) -> Option<&'static Attribute> {
        let attribute = self.whole_attribute(kind)?;
        match &self.part {
            Some(part) => find(attribute.parts, part),
            None => Some(attribute),
        }
    }

    /// What is known of the attribute, its part aside.
    #[must_use]
    pub fn whole_attribute(&self, kind: &ResourceKind) -> Option<&'static Attribute> {
        match &self.extension {
            Some(uri) => find(kind.extension(uri)?.attributes, &self.name),
            None => kind.attribute(&self.name),
        }
    }

    /// The values that it names in a resource, an array's one by one.
    #[must_use]
    pub fn values<'a>(&self, resource: &'a Object) -> Vec<&'a Value> {
        let holder = match &self.extension {
            Some(uri) => get(resource, uri).and_then(Value::as_object),
            None => Some(resource),
        };
        let Some(value) = holder.and_then(|holder| get(holder, &self.name)) else { return Vec::new() };
        let whole = each(value);
        match &self.part {
            None => whole.collect(),
            Some(part) => whole.filter_map(|value| get(value.as_object()?, part)).flat_map(each).collect(),
        }
    }

    /// Whether it names this attribute of the core schema.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.extension.is_none() && self.name.eq_ignore_ascii_case(name)
    }

    /// Whether it names this part of this attribute of the core schema.
    #[must_use]
    pub fn is_part(&self, name: &str, part: &str) -> bool {
        self.is(name) && self.part.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(part))
    }
}

impl fmt::Display for AttributePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(uri) = &self.extension {
            write!(f, "{uri}:")?;
        }
        f.write_str(&self.name)?;
        match &self.part {
            Some(part) => write!(f, ".{part}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for AttributePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

// === impl Target ===

impl Target {
    /// Reads the path of a patch: `active`, `name.givenName`, `emails[type eq "work"].value`.
    ///
    /// # Errors
    /// When it is not a path.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let Some((before, rest)) = text.split_once('[') else {
            return Ok(Self { path: AttributePath::parse(text)?, filter: None });
        };
        let wrong = || Problem::InvalidPath(format!("{:?} is not a path", shown(text)));
        let (inside, after) = rest.rsplit_once(']').ok_or_else(wrong)?;
        let mut path = AttributePath::parse(before)?;
        if path.part.is_some() {
            return Err(wrong());
        }
        path.part = match after.strip_prefix('.') {
            Some(part) if is_name(part) => Some(part.to_owned()),
            None if after.is_empty() => None,
            _ => return Err(wrong()),
        };
        let filter = filter::parse(inside).map_err(|problem| Problem::InvalidPath(problem.to_string()))?;
        Ok(Self { path, filter: Some(filter) })
    }
}

/// The member of this name, whatever its case.
#[must_use]
pub fn get<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// The value itself, or each value of an array.
pub(crate) fn each(value: &Value) -> impl Iterator<Item = &Value> {
    match value {
        Value::Array(values) => values.iter(),
        value => std::slice::from_ref(value).iter(),
    }
}

// A URI and what is behind it. A known one may stand alone; of an unknown one the attribute is what is behind the last colon.
fn split_uri(text: &str) -> (Option<&str>, &str) {
    for schema in SCHEMAS {
        let Some(head) = text.get(..schema.uri.len()).filter(|head| head.eq_ignore_ascii_case(schema.uri)) else {
            continue;
        };
        let extension = Some(head).filter(|_| !schema.uri.contains(":core:"));
        match text.get(schema.uri.len()..).unwrap_or_default() {
            "" => return (extension, ""),
            rest if rest.starts_with(':') => return (extension, rest.get(1..).unwrap_or_default()),
            _ => {}
        }
    }
    match text.rsplit_once(':') {
        Some((uri, rest)) => (Some(uri), rest),
        None => (None, text),
    }
}

// RFC 7643, 2.1, and `$ref`.
fn is_name(text: &str) -> bool {
    let text = text.strip_prefix('$').unwrap_or(text);
    text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ENTERPRISE_USER;

    #[test]
    fn a_path_names_an_attribute_or_a_part() {
        let enterprise = |rest: &str| format!("{ENTERPRISE_USER}{rest}");
        for (text, expect) in [
            ("userName", Some("userName")),
            ("name.givenName", Some("name.givenName")),
            ("members.$ref", Some("members.$ref")),
            ("urn:ietf:params:scim:schemas:core:2.0:User:userName", Some("userName")),
            (&enterprise(":manager.value"), Some(&*enterprise(":manager.value"))),
            (&enterprise(""), Some(&*enterprise(":"))),
            ("urn:example:2.0:Thing:size", Some("urn:example:2.0:Thing:size")),
            ("", None),
            ("1st", None),
            ("a.b.c", None),
            ("a b", None),
            ("name.", None),
        ] {
            let read = AttributePath::parse(text).ok().map(|path| path.to_string());
            assert_eq!(read.as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn the_path_of_a_patch_may_select_values() {
        for (text, good) in [
            ("active", true),
            (r#"emails[type eq "work"].value"#, true),
            (r#"members[value eq "a]b"]"#, true),
            (r#"emails[type eq "work""#, false),
            (r#"emails[type eq "work"]value"#, false),
            (r#"emails.value[type eq "work"]"#, false),
            ("emails[]", false),
        ] {
            assert_eq!(Target::parse(text).is_ok(), good, "{text}");
        }
    }
}
