//! The filter of a list: terms `field=value`, joined by ` AND `.

use super::violations::Violations;
use crate::store::TextMatch;

/// The longest filter, in bytes.
const FILTER_BYTES_MAX: usize = 2_000;
const JOIN: &str = " AND ";

/// The terms of a filter, each of which is taken by the noun that understands it.
#[derive(Debug)]
pub struct Filter(Vec<(&'static str, String)>);

impl Filter {
    /// Reads a filter over these fields. An empty one has no terms.
    pub fn read(text: &str, fields: &[&'static str], violations: &mut Violations) -> Self {
        let mut terms: Vec<(&'static str, String)> = Vec::new();
        if text.len() > FILTER_BYTES_MAX {
            violations.add("filter", format!("must be at most {FILTER_BYTES_MAX} bytes"));
            return Self(terms);
        }
        let parts = if text.trim().is_empty() { Vec::new() } else { text.split(JOIN).map(str::trim).collect() };
        for part in parts {
            match term(part, fields) {
                Ok((field, _)) if terms.iter().any(|(other, _)| *other == field) => {
                    violations.add("filter", format!("names {field} twice"));
                }
                Ok((field, value)) => terms.push((field, value.to_owned())),
                Err(description) => violations.add("filter", description),
            }
        }
        Self(terms)
    }

    /// The value of a field, if the filter names it.
    pub fn text(&mut self, field: &'static str) -> Option<String> {
        let at = self.0.iter().position(|(name, _)| *name == field)?;
        Some(self.0.swap_remove(at).1)
    }

    /// The value of a field in which a trailing `*` matches a prefix.
    pub fn text_match(&mut self, field: &'static str) -> Option<TextMatch> {
        let text = self.text(field)?;
        Some(match text.strip_suffix('*') {
            Some(prefix) => TextMatch::Prefix(prefix.to_owned()),
            None => TextMatch::Whole(text),
        })
    }

    /// The value of a field that is `true` or `false`.
    pub fn flag(&mut self, field: &'static str, violations: &mut Violations) -> Option<bool> {
        match self.text(field)?.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                violations.add("filter", format!("has a value of {field} that is neither true nor false"));
                None
            }
        }
    }

    /// The value of a field that is one of a few words.
    pub fn word<T>(
        &mut self,
        field: &'static str,
        of_word: impl FnOnce(&str) -> Option<T>,
        violations: &mut Violations,
    ) -> Option<T> {
        let word = self.text(field)?;
        let value = of_word(&word);
        if value.is_none() {
            violations.add("filter", format!("has a value of {field} that does not exist"));
        }
        value
    }
}

fn term<'a>(part: &'a str, fields: &[&'static str]) -> Result<(&'static str, &'a str), String> {
    let known = || fields.join(", ");
    let (name, value) = part.split_once('=').ok_or("must be terms field=value joined by ' AND '")?;
    let (name, value) = (name.trim(), value.trim());
    let field = fields.iter().find(|field| **field == name);
    let field = field.ok_or_else(|| format!("names an unknown field; the fields are {}", known()))?;
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err(format!("has no value for {field}"));
    }
    Ok((field, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_terms_joined_by_and() {
        let read = |text: &str| {
            let mut violations = Violations::default();
            let mut filter = Filter::read(text, &["name", "disabled", "state"], &mut violations);
            let name = filter.text_match("name");
            let disabled = filter.flag("disabled", &mut violations);
            let state = filter.word("state", |word| (word == "active").then_some(1), &mut violations);
            (name, disabled, state, violations.iter().count())
        };
        let whole = |text: &str| Some(TextMatch::Whole(text.to_owned()));
        for (text, expect) in [
            ("", (None, None, None, 0)),
            ("  ", (None, None, None, 0)),
            ("name=a", (whole("a"), None, None, 0)),
            ("name=a*", (Some(TextMatch::Prefix("a".into())), None, None, 0)),
            ("name = a AND disabled=true", (whole("a"), Some(true), None, 0)),
            ("state=active AND disabled=false", (None, Some(false), Some(1), 0)),
            ("name=a=b", (whole("a=b"), None, None, 0)),
            ("name", (None, None, None, 1)),
            ("name=", (None, None, None, 1)),
            ("owner=a", (None, None, None, 1)),
            ("name=a AND name=b", (whole("a"), None, None, 1)),
            ("disabled=maybe", (None, None, None, 1)),
            ("state=asleep", (None, None, None, 1)),
            ("name=a AND ", (whole("a"), None, None, 1)),
            ("x=1 AND y=2", (None, None, None, 2)),
            (&"a".repeat(3_000), (None, None, None, 1)),
        ] {
            assert_eq!(read(text), expect, "{text}");
        }
    }
}
