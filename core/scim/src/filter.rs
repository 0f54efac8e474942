//! Filters: RFC 7644, 3.4.2.2. Reading one is in `filter/grammar.rs`; here are its meaning and what it narrows down to.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Object,
    path::{AttributePath, get},
    schema::{Attribute, Kind, ResourceKind, find},
};

mod grammar;

pub use self::grammar::{FILTER_BYTES_MAX, parse};

/// A filter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Filter {
    /// The attribute has a value.
    Present(AttributePath),
    /// The attribute compares to a value.
    Compare(AttributePath, Comparison, Value),
    /// One value of the attribute matches the inner filter as a whole.
    Values(AttributePath, Box<Self>),
    /// Both match.
    And(Box<Self>, Box<Self>),
    /// One matches.
    Or(Box<Self>, Box<Self>),
    /// It does not match.
    Not(Box<Self>),
}

/// How an attribute is compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Contains.
    Contains,
    /// Begins with.
    Begins,
    /// Ends with.
    Ends,
    /// Greater.
    Greater,
    /// Greater or equal.
    AtLeast,
    /// Less.
    Less,
    /// Less or equal.
    AtMost,
}

// What the attributes of a filter are looked up in: those of a resource, or the parts of one attribute.
#[derive(Clone, Copy)]
enum Known<'a> {
    Resource(&'a ResourceKind),
    Parts(&'static [Attribute]),
}

impl Filter {
    /// Whether a resource matches.
    #[must_use]
    pub fn matches(&self, resource: &Object, kind: &ResourceKind) -> bool {
        self.test(resource, Known::Resource(kind))
    }

    /// Whether one value of an attribute matches. A value that is no object is its own `value`.
    #[must_use]
    pub fn matches_value(&self, value: &Value, attribute: Option<&Attribute>) -> bool {
        let parts = Known::Parts(attribute.map_or(&[], |attribute| attribute.parts));
        match value {
            Value::Object(object) => self.test(object, parts),
            value => self.test(&Object::from_iter([("value".to_owned(), value.clone())]), parts),
        }
    }

    /// The values with which every match must have this attribute, or this part of it: `a eq "x"`, alone or joined by `and`.
    #[must_use]
    pub fn demanded(&self, is: &dyn Fn(&AttributePath) -> bool) -> Option<&Value> {
        match self {
            Self::Compare(path, Comparison::Equal, value) if is(path) => Some(value),
            Self::And(left, right) => left.demanded(is).or_else(|| right.demanded(is)),
            _ => None,
        }
    }

    /// How often it mentions this attribute of the core schema.
    #[must_use]
    pub fn mentions(&self, name: &str) -> usize {
        match self {
            Self::Present(path) | Self::Compare(path, ..) | Self::Values(path, _) => usize::from(path.is(name)),
            Self::And(left, right) | Self::Or(left, right) => left.mentions(name) + right.mentions(name),
            Self::Not(inner) => inner.mentions(name),
        }
    }

    fn test(&self, object: &Object, known: Known<'_>) -> bool {
        match self {
            Self::Present(path) => path.values(object).into_iter().any(has_value),
            Self::Compare(path, how, value) => compare(path, *how, value, object, known),
            Self::Values(path, inner) => {
                let attribute = known.whole(path);
                path.values(object).into_iter().any(|value| inner.matches_value(value, attribute))
            }
            Self::And(left, right) => left.test(object, known) && right.test(object, known),
            Self::Or(left, right) => left.test(object, known) || right.test(object, known),
            Self::Not(inner) => !inner.test(object, known),
        }
    }
}

impl Known<'_> {
    fn whole(self, path: &AttributePath) -> Option<&'static Attribute> {
        match self {
            Self::Resource(kind) => path.whole_attribute(kind),
            Self::Parts(parts) => find(parts, &path.name),
        }
    }

    fn named(self, path: &AttributePath) -> Option<&'static Attribute> {
        let whole = self.whole(path)?;
        match &path.part {
            Some(part) => find(whole.parts, part),
            // RFC 7644, 3.4.2.2: an attribute with parts is compared by its `value`.
            None if whole.kind == Kind::Complex => find(whole.parts, "value"),
            None => Some(whole),
        }
    }
}

fn compare(path: &AttributePath, how: Comparison, value: &Value, object: &Object, known: Known<'_>) -> bool {
    let attribute = known.named(path);
    let own = path.values(object).into_iter().filter_map(|own| match own {
        Value::Object(parts) => get(parts, "value"),
        own => Some(own),
    });
    let own: Vec<_> = own.filter(|own| has_value(own)).collect();
    let equal = |own: &&Value| holds(own, Comparison::Equal, value, attribute);
    match how {
        Comparison::Equal if value.is_null() => own.is_empty(),
        Comparison::NotEqual if value.is_null() => !own.is_empty(),
        Comparison::NotEqual => !own.iter().any(equal),
        how => own.iter().any(|own| holds(own, how, value, attribute)),
    }
}

fn holds(own: &Value, how: Comparison, value: &Value, attribute: Option<&Attribute>) -> bool {
    match (own, value) {
        (Value::String(own), Value::String(value)) => {
            if attribute.is_some_and(|attribute| attribute.kind == Kind::Instant)
                && let (Ok(own), Ok(value)) = (own.parse::<Timestamp>(), value.parse::<Timestamp>())
            {
                return ordered(how, own.cmp(&value));
            }
            if attribute.is_some_and(|attribute| attribute.case_exact) {
                texts(own, how, value)
            } else {
                texts(&own.to_lowercase(), how, &value.to_lowercase())
            }
        }
        (Value::Number(own), Value::Number(value)) => own
            .as_f64()
            .zip(value.as_f64())
            .and_then(|(own, value)| own.partial_cmp(&value))
            .is_some_and(|order| ordered(how, order)),
        (Value::Bool(own), Value::Bool(value)) => how == Comparison::Equal && own == value,
        // Some clients write true as a text.
        (Value::Bool(own), Value::String(value)) => {
            how == Comparison::Equal && value.eq_ignore_ascii_case(if *own { "true" } else { "false" })
        }
        _ => false,
    }
}

fn texts(own: &str, how: Comparison, value: &str) -> bool {
    match how {
        Comparison::Contains => own.contains(value),
        Comparison::Begins => own.starts_with(value),
        Comparison::Ends => own.ends_with(value),
        how => ordered(how, own.cmp(value)),
    }
}

const fn ordered(how: Comparison, order: std::cmp::Ordering) -> bool {
    match how {
        Comparison::Equal => order.is_eq(),
        Comparison::Greater => order.is_gt(),
        Comparison::AtLeast => order.is_ge(),
        Comparison::Less => order.is_lt(),
        Comparison::AtMost => order.is_le(),
        Comparison::NotEqual | Comparison::Contains | Comparison::Begins | Comparison::Ends => false,
    }
}

fn has_value(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => values.iter().any(has_value),
        Value::Object(parts) => parts.values().any(has_value),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

#[cfg(test)]
mod tests;
