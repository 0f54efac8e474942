//! What is different between the definition that was approved and another, line by line, for the person who approves.

use serde_json::Value;

use crate::{character::shown, json::Json, path::Path, pin::UNPINNED};

/// The most lines.
pub const LINES_MAX: usize = 100;

/// So many characters of a value are shown.
const VALUE_SHOWN_MAX: usize = 160;

/// Up to so many characters of each, two values stand in one line.
const SHORT_MAX: usize = 60;

/// So much of what is equal is shown before the first difference of two texts.
const BEFORE: usize = 30;

/// What is different between two definitions as their servers wrote them. Such as
///
/// ```text
/// description: - "Adds two numbers"
/// description: + "Adds two numbers.\n\n<IMPORTANT>…"
/// inputSchema.properties.path.type: "string" -> "integer"
/// inputSchema.properties.sidenote: + {"type":"string"}
/// ```
///
/// Hidden characters stand as `\u{200b}`, long texts are shown from where they differ. What does not count for a [`crate::Pin`] is left
/// out. There are at most 100 lines, and the last then says that there are more.
#[must_use]
pub fn difference(approved: &Json<'_>, found: &Json<'_>) -> Vec<String> {
    let read = |json: &Json<'_>| serde_json::from_str::<Value>(json.as_str()).unwrap_or_default();
    let (mut approved, mut found) = (read(approved), read(found));
    for definition in [&mut approved, &mut found] {
        if let Value::Object(members) = definition {
            members.retain(|name, _| !UNPINNED.contains(&name.as_str()));
        }
    }
    let mut lines = Vec::new();
    compare(&approved, &found, &mut Path::default(), &mut lines);
    if lines.len() > LINES_MAX {
        lines.truncate(LINES_MAX - 1);
        lines.push("… and more".to_owned());
    }
    lines
}

fn compare(old: &Value, new: &Value, path: &mut Path, lines: &mut Vec<String>) {
    // One more than are shown, so that it is known that there are more.
    if old == new || lines.len() > LINES_MAX {
        return;
    }
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut names: Vec<&String> =
                old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))).collect();
            names.sort_unstable();
            for name in names {
                path.within(name, |path| one(old.get(name), new.get(name), path, lines));
            }
        }
        (Value::Array(old), Value::Array(new)) if old.iter().chain(new).any(is_nested) => {
            for index in 0..old.len().max(new.len()) {
                path.within_list(index, |path| one(old.get(index), new.get(index), path, lines));
            }
        }
        (Value::String(old), Value::String(new)) => texts(old, new, path, lines),
        (old, new) => pair(&value(old), &value(new), path, lines),
    }
}

fn one(old: Option<&Value>, new: Option<&Value>, path: &mut Path, lines: &mut Vec<String>) {
    if lines.len() > LINES_MAX {
        return;
    }
    match (old, new) {
        (Some(old), Some(new)) => compare(old, new, path, lines),
        (Some(old), None) => lines.push(format!("{path}: - {}", value(old))),
        (None, Some(new)) => lines.push(format!("{path}: + {}", value(new))),
        (None, None) => {}
    }
}

fn texts(old: &str, new: &str, path: &Path, lines: &mut Vec<String>) {
    let equal = old.chars().zip(new.chars()).take_while(|(old, new)| old == new).count();
    let skipped =
        if old.chars().count().max(new.chars().count()) > VALUE_SHOWN_MAX { equal.saturating_sub(BEFORE) } else { 0 };
    let part = |text: &str| {
        let begin = text.char_indices().nth(skipped).map_or(text.len(), |(at, _)| at);
        let mark = if skipped > 0 { "…" } else { "" };
        format!("\"{mark}{}\"", shown(text.get(begin..).unwrap_or_default(), VALUE_SHOWN_MAX))
    };
    pair(&part(old), &part(new), path, lines);
}

fn pair(old: &str, new: &str, path: &Path, lines: &mut Vec<String>) {
    if old.chars().count().max(new.chars().count()) <= SHORT_MAX {
        lines.push(format!("{path}: {old} -> {new}"));
    } else {
        lines.push(format!("{path}: - {old}"));
        lines.push(format!("{path}: + {new}"));
    }
}

fn is_nested(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

fn value(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", shown(text, VALUE_SHOWN_MAX)),
        other => shown(&crate::pin::canonical_value(other), VALUE_SHOWN_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    fn lines(old: &str, new: &str) -> Vec<String> {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        difference(&Json::from(&*raw(old)), &Json::from(&*raw(new)))
    }

    #[test]
    fn what_has_changed_is_told_line_by_line() {
        for (old, new, expected) in [
            (r#"{"name":"a"}"#, r#"{ "name" : "\u0061" }"#, vec![]),
            (r#"{"name":"a","_meta":{"v":1},"icons":[]}"#, r#"{"name":"a","_meta":{"v":2}}"#, vec![]),
            (
                r#"{"inputSchema":{"properties":{"path":{"type":"string"}}}}"#,
                r#"{"inputSchema":{"properties":{"path":{"type":"integer"}}}}"#,
                vec![r#"inputSchema.properties.path.type: "string" -> "integer""#],
            ),
            (r#"{"a":1,"b":{"x":[1]}}"#, r#"{"c":null}"#, vec!["a: - 1", r#"b: - {"x":[1]}"#, "c: + null"]),
            (r#"{"required":["a"]}"#, r#"{"required":["a","b"]}"#, vec![r#"required: ["a"] -> ["a","b"]"#]),
            (
                r#"{"anyOf":[{"type":"string"}]}"#,
                r#"{"anyOf":[{"type":"null"},{"type":"string"}]}"#,
                vec![r#"anyOf[0].type: "string" -> "null""#, r#"anyOf[1]: + {"type":"string"}"#],
            ),
            (r#"{"a b":{"é":true}}"#, r#"{"a b":{"é":false}}"#, vec![r#"["a b"]["é"]: true -> false"#]),
            (r#"{"d":"ab"}"#, r#"{"d":"a\u200bb\n"}"#, vec![r#"d: "ab" -> "a\u{200b}b\n""#]),
        ] {
            assert_eq!(lines(old, new), expected, "{old} {new}");
        }
    }

    #[test]
    fn a_long_text_is_shown_from_where_it_differs() {
        let long = "x".repeat(400);
        let found =
            lines(&format!(r#"{{"description":"{long}"}}"#), &format!(r#"{{"description":"{long}<IMPORTANT>"}}"#));
        let before = "x".repeat(BEFORE);
        let expected = [format!("description: \"…{before}\" -> \"…{before}<IMPORTANT>\"")];
        assert_eq!(found, expected);
        let found = lines(&format!(r#"{{"d":"{long}"}}"#), &format!(r#"{{"d":"y{long}"}}"#));
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|line| line.chars().count() < VALUE_SHOWN_MAX + 12), "{found:?}");
    }

    #[test]
    fn a_difference_has_an_end() {
        let many = |value: usize| {
            let members: Vec<String> = (0..500).map(|n| format!("\"{n}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        };
        let found = lines(&many(1), &many(2));
        assert_eq!(found.len(), LINES_MAX);
        assert_eq!(found.last().unwrap(), "… and more");
    }
}
