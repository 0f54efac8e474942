//! Which values an argument may have, as far as that is checked here: of which types they, their elements and their members are. The rest of
//! a schema is the API's to check.

use std::collections::BTreeMap;

use serde_json::Value;

/// Types of JSON Schema.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Types(u8);

/// What a value may be.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Its type.
    pub(crate) types: Types,
    /// Of what type its elements are, where it is an array.
    pub(crate) elements: Types,
    /// Its members that are named, where it is an object, and of what types.
    pub(crate) members: BTreeMap<String, Types>,
    /// Of those, the ones that must be there.
    pub(crate) required: Vec<String>,
    /// The only values that it may have, as JSON; empty: any.
    pub(crate) choices: Vec<String>,
}

// === impl Types ===

impl Types {
    pub(crate) const STRING: Self = Self(1);
    pub(crate) const INTEGER: Self = Self(2);
    /// Whole numbers among them.
    pub(crate) const NUMBER: Self = Self(2 | 4);
    pub(crate) const BOOLEAN: Self = Self(8);
    pub(crate) const ARRAY: Self = Self(16);
    pub(crate) const OBJECT: Self = Self(32);
    const NULL: Self = Self(64);
    const ALL: Self = Self(127);
    pub(crate) const NONE: Self = Self(0);
    /// What one text can be.
    pub(crate) const PRIMITIVE: Self = Self(1 | 2 | 4 | 8);

    const NAMES: [(&'static str, Self); 7] = [
        ("string", Self::STRING),
        ("number", Self::NUMBER),
        ("integer", Self::INTEGER),
        ("boolean", Self::BOOLEAN),
        ("array", Self::ARRAY),
        ("object", Self::OBJECT),
        ("null", Self::NULL),
    ];

    /// Whether one of these is one of those.
    pub(crate) const fn meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether all of these are among those.
    pub(crate) const fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Those of them that one text can be.
    pub(crate) const fn primitive(self) -> Self {
        self.and(Self::PRIMITIVE)
    }

    /// Whether a value may be null.
    pub(crate) const fn is_nullable(self) -> bool {
        self.meet(Self::NULL)
    }

    /// For a sentence: `a string or an integer`.
    pub(crate) fn sentence(self) -> String {
        let mut left = self;
        let mut words = Vec::new();
        for (name, types) in Self::NAMES {
            if types.within(left) && name != "null" {
                let article = if matches!(name, "integer" | "array" | "object") { "an" } else { "a" };
                words.push(format!("{article} {name}"));
                left = Self(left.0 & !types.0);
            }
        }
        words.join(" or ")
    }

    fn named(name: &str) -> Self {
        Self::NAMES.iter().find(|(known, _)| *known == name).map_or(Self::NONE, |(_, types)| *types)
    }

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that a schema without references admits.
    pub(crate) fn of(schema: &Value) -> Self {
        let Value::Object(members) = schema else {
            return if schema == &Value::Bool(false) { Self::NONE } else { Self::ALL };
        };
        let mut types = match members.get("type") {
            Some(Value::String(name)) => Self::named(name),
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).map(Self::named).fold(Self::NONE, Self::or)
            }
            _ => Self::ALL,
        };
        let values = members.get("enum").and_then(Value::as_array).map(Vec::as_slice);
        let values = values.or_else(|| members.get("const").map(std::slice::from_ref));
        if let Some(values) = values {
            types = types.and(values.iter().map(Self::of_value).fold(Self::NONE, Self::or));
        }
        for (name, any) in [("allOf", false), ("anyOf", true), ("oneOf", true)] {
            let Some(schemas) = members.get(name).and_then(Value::as_array) else { continue };
            let each = schemas.iter().map(Self::of);
            types = types.and(if any { each.fold(Self::NONE, Self::or) } else { each.fold(Self::ALL, Self::and) });
        }
        types
    }

    fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(number) if number.is_f64() => Self::NUMBER,
            Value::Number(_) => Self::INTEGER,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }
}

// === impl Shape ===

impl Shape {
    /// The one that every value has.
    pub(crate) fn any() -> Self {
        Self::of(&Value::Bool(true))
    }

    /// What a schema without references asks for.
    pub(crate) fn of(schema: &Value) -> Self {
        let mut shape = Self {
            types: Types::of(schema),
            elements: schema.get("items").map_or(Types::ALL, Types::of),
            members: BTreeMap::new(),
            required: Vec::new(),
            choices: Vec::new(),
        };
        if let Some(Value::Array(choices)) = schema.get("enum") {
            shape.choices = choices.iter().map(ToString::to_string).collect();
        }
        shape.add(schema, true);
        // What nobody can write, such as what only answers have, is not asked for.
        shape.required.retain(|name| shape.members.contains_key(name));
        shape
    }

    fn add(&mut self, schema: &Value, is_certain: bool) {
        for (name, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let types = self.members.get(name).map_or(Types::of(member), |known| known.or(Types::of(member)));
            self.members.insert(name.clone(), types);
        }
        if is_certain {
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            self.required.extend(required.filter_map(Value::as_str).map(str::to_owned));
        }
        for (name, is_each) in [("allOf", true), ("anyOf", false), ("oneOf", false)] {
            for schema in schema.get(name).and_then(Value::as_array).into_iter().flatten() {
                self.add(schema, is_certain && is_each);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_are_those_that_all_of_a_schema_admits() {
        for (schema, expect) in [
            (json!({ "type": "string" }), "a string"),
            (json!({ "type": ["number", "null"] }), "a number"),
            (json!({ "enum": ["a", 1] }), "a string or an integer"),
            (json!({ "oneOf": [{ "type": "integer" }, { "type": "array" }] }), "an integer or an array"),
            (json!({ "allOf": [{ "type": ["string", "integer"] }, { "type": "integer" }] }), "an integer"),
            (json!({ "type": "number", "const": 1 }), "an integer"),
            (json!(false), ""),
        ] {
            assert_eq!(Types::of(&schema).sentence(), expect, "{schema}");
        }
        assert_eq!(Types::of(&json!({})), Types::ALL);
    }

    #[test]
    fn members_are_gathered_and_those_of_an_alternative_are_not_required() {
        let shape = Shape::of(&json!({
            "allOf": [{ "required": ["a", "id"], "properties": { "a": { "type": "string" } } }],
            "oneOf": [{ "required": ["b"], "properties": { "b": { "type": "integer" } } }],
        }));
        assert_eq!(shape.members.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(shape.required, ["a"]);
    }
}
