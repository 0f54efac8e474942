//! The API's own `Schema`, a subset of OpenAPI 3.0, as a JSON schema: types in small letters, `nullable` as a type, numbers as numbers,
//! properties in the order that `propertyOrdering` gives. Everything else stays as it was written.

use serde_json::value::RawValue;

use super::wire::camel;
use crate::{
    dialects::read::{Members, is_null},
    hub::{Json, Text},
};

/// No schema that a model can follow is nested deeper; what is, stays as it was.
const DEPTH_MAX: usize = 64;

/// Reads a `Schema`.
pub(super) fn json_schema(raw: &RawValue) -> Json<'static> {
    let mut out = String::with_capacity(raw.get().len());
    schema(raw, 0, &mut out);
    let parsed = Json::parse(&out).map(Json::into_owned);
    parsed.unwrap_or_else(|_| Json::empty_object())
}

fn schema(raw: &RawValue, depth: usize, out: &mut String) {
    let members = serde_json::from_str::<Members<'_>>(raw.get()).ok().filter(|_| depth < DEPTH_MAX);
    let Some(Members(members)) = members else { return out.push_str(raw.get()) };
    let value = |wanted: &str| members.iter().find(|(name, _)| camel(name) == wanted).map(|(_, raw)| *raw);
    let is_nullable = value("nullable").is_some_and(|raw| raw.get() == "true");
    out.push('{');
    let start = out.len();
    for (name, raw) in &members {
        if is_null(raw) && &**name != "default" {
            continue;
        }
        let spelled = camel(name);
        match &*spelled {
            "nullable" | "propertyOrdering" => {}
            "type" => kind(raw, is_nullable, start, out),
            // OpenAPI's mark of an enumeration.
            "format" if raw.get() == r#""enum""# => {}
            "properties" => {
                key("properties", start, out);
                properties(raw, value("propertyOrdering"), depth, out);
            }
            "items" | "additionalProperties" => {
                key(&spelled, start, out);
                schema(raw, depth + 1, out);
            }
            "anyOf" => {
                key("anyOf", start, out);
                list(raw, is_nullable.then_some(r#"{"type":"null"}"#), |raw, out| schema(raw, depth + 1, out), out);
            }
            "enum" => {
                key("enum", start, out);
                list(raw, is_nullable.then_some("null"), |raw, out| out.push_str(raw.get()), out);
            }
            "$defs" | "defs" => {
                key("$defs", start, out);
                properties(raw, None, depth, out);
            }
            "ref" => {
                key("$ref", start, out);
                out.push_str(raw.get());
            }
            "example" => {
                key("examples", start, out);
                out.extend(["[", raw.get(), "]"]);
            }
            "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties" => {
                key(&spelled, start, out);
                // 64-bit numbers may be texts in JSON of protocol buffers.
                out.push_str(raw.get().trim_matches('"'));
            }
            other => {
                key(other, start, out);
                out.push_str(raw.get());
            }
        }
    }
    out.push('}');
}

fn key(name: &str, start: usize, out: &mut String) {
    if out.len() > start {
        out.push(',');
    }
    out.push_str(Json::of(name).get());
    out.push(':');
}

fn kind(raw: &RawValue, is_nullable: bool, start: usize, out: &mut String) {
    let Ok(word) = serde_json::from_str::<Text<'_>>(raw.get()) else {
        // JSON schema's list of types.
        key("type", start, out);
        return out.push_str(&raw.get().to_ascii_lowercase());
    };
    if &*word == "TYPE_UNSPECIFIED" {
        return;
    }
    key("type", start, out);
    let small = word.to_ascii_lowercase();
    let written = if is_nullable { Json::of(&[small.as_str(), "null"]) } else { Json::of(small.as_str()) };
    out.push_str(written.get());
}

fn properties(raw: &RawValue, ordering: Option<&RawValue>, depth: usize, out: &mut String) {
    let Ok(Members(mut members)) = serde_json::from_str::<Members<'_>>(raw.get()) else {
        return out.push_str(raw.get());
    };
    let order: Vec<Text<'_>> = ordering.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    if !order.is_empty() {
        let places: std::collections::HashMap<&str, usize> =
            order.iter().enumerate().map(|(place, name)| (&**name, place)).collect();
        members.sort_by_key(|(name, _)| places.get(&**name).copied().unwrap_or(usize::MAX));
    }
    out.push('{');
    let start = out.len();
    for (name, raw) in members {
        key(&name, start, out);
        schema(raw, depth + 1, out);
    }
    out.push('}');
}

fn list(raw: &RawValue, last: Option<&str>, write: impl Fn(&RawValue, &mut String), out: &mut String) {
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else { return out.push_str(raw.get()) };
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(item, out);
    }
    if let Some(last) = last.filter(|last| !items.iter().any(|item| item.get() == *last)) {
        out.push_str(if items.is_empty() { "" } else { "," });
        out.push_str(last);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_of_the_api_is_a_json_schema() {
        for (schema, expect) in [
            (r#"{"type": "OBJECT"}"#, r#"{"type":"object"}"#),
            (r#"{"type":"STRING","nullable":true}"#, r#"{"type":["string","null"]}"#),
            (r#"{"nullable":true,"type":"STRING","enum":["a"]}"#, r#"{"type":["string","null"],"enum":["a",null]}"#),
            (r#"{"type":"STRING","format":"enum","enum":["a","b"]}"#, r#"{"type":"string","enum":["a","b"]}"#),
            (r#"{"anyOf":[{"type":"STRING"}],"nullable":true}"#, r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#),
            (
                r#"{"type":"OBJECT","properties":{"b":{"type":"INTEGER"},"a":{"type":"ARRAY","items":{"type":"NUMBER"},"min_items":"2"}},"property_ordering":["a","b"],"required":["a"]}"#,
                r#"{"type":"object","properties":{"a":{"type":"array","items":{"type":"number"},"minItems":2},"b":{"type":"integer"}},"required":["a"]}"#,
            ),
            // A property may be called like a keyword.
            (
                r#"{"properties":{"type":{"type":"STRING","default":null},"nullable":{"type":"BOOLEAN"}}}"#,
                r#"{"properties":{"type":{"type":"string","default":null},"nullable":{"type":"boolean"}}}"#,
            ),
            (
                r#"{"type":"TYPE_UNSPECIFIED","example":[1],"pattern":"^\"a\"$"}"#,
                r#"{"examples":[[1]],"pattern":"^\"a\"$"}"#,
            ),
            ("true", "true"),
        ] {
            let raw: Box<RawValue> = serde_json::from_str(schema).unwrap();
            assert_eq!(json_schema(&raw).get(), expect, "{schema}");
        }
    }

    #[test]
    fn a_schema_without_end_is_left_as_it_is() {
        let schema = format!("{}{}{}", r#"{"items":"#.repeat(100_000), "{}", "}".repeat(100_000));
        if let Ok(raw) = serde_json::from_str::<Box<RawValue>>(&schema) {
            assert_eq!(json_schema(&raw).get(), schema);
        }
    }
}
