//! Schemas of OpenAPI as JSON Schema 2020-12, each whole in itself: what is referred to stands where it is referred to, since not every model's
//! API follows a `$ref`.
//!
//! A schema that contains itself, or is nested deeper than there is room for, is cut: what is there instead admits every value of the type.
//! Only keywords of JSON Schema are taken over, and only with values that they may have: one schema that a model's API cannot compile costs
//! every tool of the request.

use serde_json::{Map, Value, json};

use crate::{
    document::{Document, Version, reference},
    reason::Unfit,
};

/// How much of schemas is taken over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Detail {
    /// How many schemas may be within each other.
    pub(crate) depth: usize,
    /// How many characters of a description come along; 0: none, and no examples and defaults either.
    pub(crate) text: usize,
}

/// Why a schema is not taken over.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It cannot be read.
    Unfit(Unfit),
    /// It needs more room than there is, at this detail.
    Full,
}

/// The longest example or default, in bytes.
const VALUE_BYTES_MAX: usize = 200;
/// What a keyword takes beside its value, and what a schema does.
const KEYWORD_BYTES: usize = 4;
const SCHEMA_BYTES: usize = 2;
/// So many schemas may be within each other, those about the same value (`allOf`) and references counted: what is written of them stays
/// within the nesting that readers of JSON follow.
const LEVELS_MAX: usize = 24;

/// Takes schemas over, as long as there is room.
#[derive(Debug)]
pub(crate) struct Converter<'d> {
    document: &'d Document,
    detail: Detail,
    bytes_left: usize,
    level: usize,
    // The references that are being followed.
    open: Vec<&'d str>,
}

// === impl Detail ===

impl Detail {
    /// What is tried, from whole to barely anything.
    pub(crate) const LEVELS: [Self; 9] = [
        Self { depth: 16, text: 1_000 },
        Self { depth: 6, text: 1_000 },
        Self { depth: 6, text: 200 },
        Self { depth: 4, text: 200 },
        Self { depth: 3, text: 80 },
        Self { depth: 3, text: 0 },
        Self { depth: 2, text: 0 },
        Self { depth: 1, text: 0 },
        Self { depth: 0, text: 0 },
    ];
    /// What arguments are checked by.
    pub(crate) const CHECKED: Self = Self { depth: 2, text: 0 };
}

// === impl Converter ===

impl<'d> Converter<'d> {
    pub(crate) const fn new(document: &'d Document, detail: Detail, bytes_max: usize) -> Self {
        Self { document, detail, bytes_left: bytes_max, level: 0, open: Vec::new() }
    }

    /// Takes a schema over.
    ///
    /// # Errors
    /// When a reference leads nowhere, or there is no room.
    pub(crate) fn schema(&mut self, schema: &'d Value) -> Result<Value, Stop> {
        self.nested(schema, 0)
    }

    fn nested(&mut self, schema: &'d Value, depth: usize) -> Result<Value, Stop> {
        self.spend(SCHEMA_BYTES)?;
        if self.level >= LEVELS_MAX {
            return self.cut(schema);
        }
        self.level += 1;
        let taken = self.taken(schema, depth);
        self.level -= 1;
        taken
    }

    fn taken(&mut self, schema: &'d Value, depth: usize) -> Result<Value, Stop> {
        match schema {
            Value::Bool(_) => Ok(schema.clone()),
            Value::Object(members) => match reference(schema) {
                Some(target) => self.referred(target, members, depth),
                None => self.object(members, depth),
            },
            _ => Err(Stop::Unfit(Unfit::Malformed("schema".into(), "an object"))),
        }
    }

    fn referred(&mut self, target: &'d str, beside: &'d Map<String, Value>, depth: usize) -> Result<Value, Stop> {
        let document = self.document;
        let schema = document.target(target).map_err(Stop::Unfit)?;
        // Once within itself shows what it is like.
        if self.open.iter().filter(|open| **open == target).count() > 1 {
            return self.cut(document.resolved(schema).map_err(Stop::Unfit)?);
        }
        self.open.push(target);
        let there = self.nested(schema, depth);
        self.open.pop();
        let mut there = there?;
        if document.version() == Version::V3_0 || beside.len() == 1 {
            return Ok(there);
        }
        let Value::Object(more) = self.object(beside, depth)? else { return Ok(there) };
        // What is said of it here counts for here; what is asked of it counts as well.
        let (said, asked): (Map<_, _>, Map<_, _>) = more.into_iter().partition(|(name, _)| is_annotation(name));
        if let Value::Object(there) = &mut there {
            there.extend(said);
        }
        Ok(if asked.is_empty() { there } else { json!({ "allOf": [there, asked] }) })
    }

    fn object(&mut self, schema: &'d Map<String, Value>, depth: usize) -> Result<Value, Stop> {
        if depth > self.detail.depth {
            return self.cut_members(schema);
        }
        let mut out = Map::new();
        for (name, value) in schema {
            let Some(taken) = self.keyword(name, value, depth)? else { continue };
            // A list of schemas by place was `items` once.
            let name = if name == "items" && taken.is_array() { "prefixItems" } else { name };
            self.spend(name.len() + KEYWORD_BYTES)?;
            out.insert(name.to_owned(), taken);
        }
        self.without_read_only(schema, &mut out);
        of_older_forms(schema, &mut out, self.detail.text > 0);
        Ok(Value::Object(out))
    }

    fn keyword(&mut self, name: &str, value: &'d Value, depth: usize) -> Result<Option<Value>, Stop> {
        let taken = match (name, value) {
            ("type", _) => types(value),
            ("description" | "title", Value::String(text)) if self.detail.text > 0 => {
                Some(Value::String(bounded(text, self.detail.text)))
            }
            ("default" | "examples", _) if self.detail.text > 0 && value.to_string().len() <= VALUE_BYTES_MAX => {
                (name == "default" || value.is_array()).then(|| value.clone())
            }
            ("deprecated" | "uniqueItems", Value::Bool(_))
            | ("format" | "pattern" | "contentMediaType" | "contentEncoding", Value::String(_))
            | ("minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum", Value::Number(_))
            | ("const", _) => Some(value.clone()),
            ("enum", Value::Array(choices)) if !choices.is_empty() => Some(value.clone()),
            ("multipleOf", Value::Number(number)) if number.as_f64().is_some_and(|number| number > 0.0) => {
                Some(value.clone())
            }
            (
                "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" | "minContains"
                | "maxContains",
                Value::Number(number),
            ) if number.is_u64() => Some(value.clone()),
            ("required", Value::Array(names)) if names.iter().all(Value::is_string) => Some(value.clone()),
            ("items" | "prefixItems", Value::Array(schemas)) if !schemas.is_empty() => {
                return self.list(schemas, depth + 1).map(Some);
            }
            (
                "items"
                | "additionalProperties"
                | "not"
                | "contains"
                | "propertyNames"
                | "unevaluatedItems"
                | "unevaluatedProperties"
                | "if"
                | "then"
                | "else",
                Value::Object(_) | Value::Bool(_),
            ) => return self.nested(value, depth + 1).map(Some),
            ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) if !schemas.is_empty() => {
                // These are about the same value, and no deeper.
                return self.list(schemas, depth).map(Some);
            }
            ("properties" | "patternProperties" | "dependentSchemas", Value::Object(schemas)) => {
                return self.by_name(schemas, depth).map(Some);
            }
            _ => None,
        };
        if let Some(taken) = &taken {
            self.spend(taken.to_string().len())?;
        }
        Ok(taken)
    }

    fn list(&mut self, schemas: &'d [Value], depth: usize) -> Result<Value, Stop> {
        schemas.iter().map(|schema| self.nested(schema, depth)).collect::<Result<_, _>>().map(Value::Array)
    }

    fn by_name(&mut self, schemas: &'d Map<String, Value>, depth: usize) -> Result<Value, Stop> {
        let mut taken = Map::new();
        for (name, schema) in schemas {
            // What only answers have is nothing to be asked for.
            if self.is_read_only(schema) {
                continue;
            }
            self.spend(name.len() + KEYWORD_BYTES)?;
            taken.insert(name.clone(), self.nested(schema, depth + 1)?);
        }
        Ok(Value::Object(taken))
    }

    fn is_read_only(&self, schema: &Value) -> bool {
        let says = |schema: &Value| schema.get("readOnly").and_then(Value::as_bool) == Some(true);
        says(schema) || self.document.resolved(schema).is_ok_and(says)
    }

    fn without_read_only(&self, schema: &Map<String, Value>, out: &mut Map<String, Value>) {
        let (Some(properties), Some(Value::Array(required))) =
            (schema.get("properties").and_then(Value::as_object), out.get_mut("required"))
        else {
            return;
        };
        required.retain(|name| {
            let property = name.as_str().and_then(|name| properties.get(name));
            !property.is_some_and(|property| self.is_read_only(property))
        });
    }

    // What stands for a schema that is not taken over.
    fn cut(&mut self, schema: &Value) -> Result<Value, Stop> {
        match schema {
            Value::Object(members) => self.cut_members(members),
            _ => Ok(json!({})),
        }
    }

    fn cut_members(&mut self, schema: &Map<String, Value>) -> Result<Value, Stop> {
        let mut out = Map::new();
        out.extend(schema.get("type").and_then(types).map(|types| ("type".to_owned(), types)));
        if let Some(Value::String(text)) = schema.get("description").filter(|_| self.detail.text > 0) {
            out.insert("description".into(), bounded(text, self.detail.text).into());
        }
        // Whoever names members without a type means an object.
        if !out.contains_key("type") && schema.contains_key("properties") {
            out.insert("type".into(), "object".into());
        }
        if schema.get("nullable").and_then(Value::as_bool) == Some(true) {
            nullable(&mut out);
        }
        let out = Value::Object(out);
        self.spend(out.to_string().len())?;
        Ok(out)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Stop> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(Stop::Full)?;
        Ok(())
    }
}

/// The beginning of a text.
pub(crate) fn bounded(text: &str, characters_max: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(characters_max) {
        Some((at, _)) => [text.get(..at).unwrap_or_default().trim_end(), "…"].concat(),
        None => text.to_owned(),
    }
}

// What 3.0 writes in another way, and what is still written so in 3.1.
fn of_older_forms(schema: &Map<String, Value>, out: &mut Map<String, Value>, annotated: bool) {
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if schema.get(exclusive).and_then(Value::as_bool) == Some(true)
            && let Some(value) = out.remove(bound)
        {
            out.insert(exclusive.to_owned(), value);
        }
    }
    if let Some(example) = schema.get("example").filter(|example| example.to_string().len() <= VALUE_BYTES_MAX)
        && annotated
        && !out.contains_key("examples")
    {
        out.insert("examples".into(), json!([example]));
    }
    if schema.get("nullable").and_then(Value::as_bool) == Some(true) {
        nullable(out);
    }
}

fn nullable(out: &mut Map<String, Value>) {
    if let Some(Value::Array(choices)) = out.get_mut("enum")
        && !choices.contains(&Value::Null)
    {
        choices.push(Value::Null);
    }
    let restricts = out.keys().any(|name| !is_annotation(name));
    match out.get_mut("type") {
        Some(Value::String(one)) => {
            let both = json!([one, "null"]);
            out.insert("type".into(), both);
        }
        Some(Value::Array(several)) if !several.contains(&"null".into()) => several.push("null".into()),
        Some(_) => {}
        // Without a type it says something only where something else restricts it.
        None if restricts => {
            let (said, asked): (Map<_, _>, Map<_, _>) =
                std::mem::take(out).into_iter().partition(|(name, _)| is_annotation(name));
            *out = said;
            out.insert("anyOf".into(), json!([asked, { "type": "null" }]));
        }
        None => {}
    }
}

// The types of JSON Schema; nothing of others, such as `file`.
fn types(value: &Value) -> Option<Value> {
    let is_known = |value: &Value| {
        let known = ["string", "integer", "number", "boolean", "array", "object", "null"];
        value.as_str().is_some_and(|name| known.contains(&name))
    };
    match value {
        Value::String(_) if is_known(value) => Some(value.clone()),
        Value::Array(several) if !several.is_empty() && several.iter().all(is_known) => {
            let mut once: Vec<Value> = Vec::new();
            for one in several {
                if !once.contains(one) {
                    once.push(one.clone());
                }
            }
            Some(Value::Array(once))
        }
        _ => None,
    }
}

fn is_annotation(keyword: &str) -> bool {
    matches!(keyword, "description" | "title" | "default" | "examples" | "deprecated")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEEP: Detail = Detail { depth: 3, text: 1_000 };

    fn converted(version: &str, schema: Value) -> Value {
        let schemas = json!({
            "Id": { "type": "integer", "readOnly": true },
            "Pet": { "type": "object", "required": ["id", "name"], "properties": {
                "id": { "$ref": "#/components/schemas/Id" }, "name": { "type": "string" } } },
            "Tree": { "type": "object", "description": "A node.", "properties": {
                "left": { "$ref": "#/components/schemas/Tree" } } },
        });
        let document = json!({ "openapi": version, "components": { "schemas": schemas }, "it": schema }).to_string();
        let document = Document::read(&document).unwrap();
        let mut converter = Converter::new(&document, DEEP, 10_000);
        converter.schema(document.root().get("it").unwrap()).unwrap()
    }

    #[test]
    fn what_3_0_writes_in_its_own_way_becomes_json_schema() {
        for (schema, expect) in [
            (json!({ "type": "string", "nullable": true }), json!({ "type": ["string", "null"] })),
            (
                json!({ "type": "string", "enum": ["a"], "nullable": true }),
                json!({ "type": ["string", "null"], "enum": ["a", null] }),
            ),
            (
                json!({ "allOf": [{ "type": "string" }], "nullable": true, "description": "x" }),
                json!({ "description": "x", "anyOf": [{ "allOf": [{ "type": "string" }] }, { "type": "null" }] }),
            ),
            (
                json!({ "type": "number", "minimum": 1, "exclusiveMinimum": true, "maximum": 2, "exclusiveMaximum": false }),
                json!({ "type": "number", "exclusiveMinimum": 1, "maximum": 2 }),
            ),
            (json!({ "nullable": true }), json!({})),
            (json!({ "type": "file", "x-mcp-header": "Authorization", "xml": {}, "discriminator": {} }), json!({})),
            (
                json!({ "type": "array", "items": [{ "type": "string" }] }),
                json!({ "type": "array", "prefixItems": [{ "type": "string" }] }),
            ),
            (json!({ "required": true, "minLength": -1, "pattern": 5, "enum": [] }), json!({})),
        ] {
            assert_eq!(converted("3.0.3", schema.clone()), expect, "{schema}");
        }
    }

    #[test]
    fn references_are_replaced_and_what_only_answers_have_is_not_asked_for() {
        let pet = json!({ "$ref": "#/components/schemas/Pet", "description": "the pet", "minProperties": 1 });
        let alone = json!({ "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } } });
        assert_eq!(converted("3.0.3", pet.clone()), alone);
        let mut said = alone;
        said["description"] = "the pet".into();
        assert_eq!(converted("3.1.0", pet), json!({ "allOf": [said, { "minProperties": 1 }] }));
    }

    #[test]
    fn a_schema_within_itself_is_cut() {
        let tree = json!({ "$ref": "#/components/schemas/Tree" });
        let cut = json!({ "type": "object", "description": "A node." });
        let node = |left: Value| json!({ "type": "object", "description": "A node.", "properties": { "left": left } });
        let expect = node(node(cut));
        assert_eq!(converted("3.1.0", tree), expect);
        let deep = (0..9).fold(json!({ "type": "string" }), |inner, _| json!({ "type": "array", "items": inner }));
        let expect = (0..4).fold(json!({ "type": "array" }), |inner, _| json!({ "type": "array", "items": inner }));
        assert_eq!(converted("3.1.0", deep), expect);
    }

    #[test]
    fn room_is_not_exceeded_by_schemas_that_multiply() {
        let mut schemas = Map::new();
        for at in 0..12 {
            let next = json!({ "$ref": format!("#/components/schemas/{}", at + 1) });
            let double = json!({ "type": "object", "properties": { "a": next, "b": next } });
            schemas.insert(at.to_string(), double);
        }
        schemas.insert("12".into(), json!({ "type": "string" }));
        let text = json!({ "openapi": "3.1.0", "components": { "schemas": schemas } }).to_string();
        let document = Document::read(&text).unwrap();
        let all = document.target("#/components/schemas/0").unwrap();
        let full = Detail { depth: 16, text: 1_000 };
        assert!(matches!(Converter::new(&document, full, 65_536).schema(all), Err(Stop::Full)));
        let at_three = Converter::new(&document, DEEP, 65_536).schema(all).unwrap();
        assert!(at_three.to_string().len() < 2_000);
    }
}
