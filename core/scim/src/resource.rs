//! A resource as a client sent it, made canonical: names as the schema writes them, values of the declared types.

use serde_json::Value;

use crate::{
    Object, Problem,
    path::get,
    problem::shown,
    schema::{Attribute, Kind, ResourceKind, find},
};

/// The most values of one attribute; members of a group are counted elsewhere.
pub const VALUES_MAX: usize = 20_000;

/// Makes a resource canonical. What only the server writes is dropped, and so is what must not be kept: a password. An
/// attribute that no schema knows stays as it is.
///
/// # Errors
/// When a value has another type than its attribute, a name appears twice, or a required attribute is missing.
pub fn canonical(sent: Object, kind: &ResourceKind) -> Result<Object, Problem> {
    let mut resource = Object::new();
    for (name, value) in sent {
        if name.eq_ignore_ascii_case("schemas") || name.eq_ignore_ascii_case("password") {
            continue;
        }
        let (name, value) = match (kind.attribute(&name), kind.extension(&name)) {
            (Some(attribute), _) if attribute.read_only => continue,
            (Some(attribute), _) => (attribute.name.to_owned(), typed(value, attribute)?),
            (None, Some(schema)) => (schema.uri.to_owned(), extension(value, schema.attributes, schema.uri)?),
            (None, None) => (name, Some(value).filter(|value| !is_unassigned(value))),
        };
        put(&mut resource, &name, value)?;
    }
    Ok(resource)
}

/// Demands what a resource must have.
///
/// # Errors
/// [`Problem::InvalidValue`] names what is missing.
pub fn ensure_complete(resource: &Object, kind: &ResourceKind) -> Result<(), Problem> {
    let missing = kind.schema.attributes.iter().filter(|attribute| attribute.required).find(|attribute| {
        resource.get(attribute.name).and_then(Value::as_str).is_none_or(|text| text.trim().is_empty())
    });
    match missing {
        Some(attribute) => Err(Problem::InvalidValue(format!("{} is required", attribute.name))),
        None => Ok(()),
    }
}

/// The schemas that a resource uses: its own, and each extension of which it has something.
#[must_use]
pub fn schemas(resource: &Object, kind: &ResourceKind) -> Value {
    let extensions = resource.keys().filter(|name| name.contains(':')).map(String::as_str);
    std::iter::once(kind.schema.uri).chain(extensions).collect()
}

/// The text of an attribute, if it has one that is not empty.
#[must_use]
pub fn text<'a>(resource: &'a Object, name: &str) -> Option<&'a str> {
    get(resource, name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A value as its attribute declares it; `None` when it says that there is none.
pub(crate) fn typed(value: Value, attribute: &'static Attribute) -> Result<Option<Value>, Problem> {
    if is_unassigned(&value) {
        return Ok(None);
    }
    if !attribute.multiple {
        return single(value, attribute).map(Some);
    }
    // A lone value stands for a list of one.
    let values = match value {
        Value::Array(values) => values,
        value => vec![value],
    };
    if values.len() > VALUES_MAX {
        return Err(Problem::InvalidValue(format!("{} may have {VALUES_MAX} values", attribute.name)));
    }
    let values: Vec<_> = values.into_iter().map(|value| single(value, attribute)).collect::<Result<_, _>>()?;
    if values.iter().filter(|value| is_primary(value)).count() > 1 {
        return Err(Problem::InvalidValue(format!("{} may have one primary value", attribute.name)));
    }
    Ok(Some(Value::Array(values)))
}

/// One value of an attribute.
pub(crate) fn single(value: Value, attribute: &'static Attribute) -> Result<Value, Problem> {
    let wrong = || {
        let (name, word) = (attribute.name, attribute.kind.word());
        Problem::InvalidValue(format!("{name} must be of the type {word}"))
    };
    match (attribute.kind, value) {
        (Kind::Text | Kind::Reference | Kind::Instant, Value::String(text)) => Ok(Value::String(text)),
        // Entra writes booleans as texts.
        (Kind::Boolean, Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
        (Kind::Boolean, Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
        (Kind::Boolean, Value::Bool(flag)) => Ok(Value::Bool(flag)),
        (Kind::Complex, Value::Object(parts)) => Ok(Value::Object(complex(parts, attribute.parts)?)),
        // Entra writes a manager as the id alone.
        (Kind::Complex, Value::String(text)) if find(attribute.parts, "value").is_some() => {
            Ok(Value::Object(Object::from_iter([("value".to_owned(), Value::String(text))])))
        }
        _ => Err(wrong()),
    }
}

/// Whether a value says that there is none: RFC 7643, 2.5.
pub(crate) fn is_unassigned(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        _ => false,
    }
}

pub(crate) fn is_primary(value: &Value) -> bool {
    value.get("primary") == Some(&Value::Bool(true))
}

/// The attributes of an extension.
pub(crate) fn extension(value: Value, attributes: &'static [Attribute], uri: &str) -> Result<Option<Value>, Problem> {
    match value {
        Value::Null => Ok(None),
        Value::Object(parts) => {
            let parts = complex(parts, attributes)?;
            Ok(Some(Value::Object(parts)).filter(|parts| *parts != Value::Object(Object::new())))
        }
        _ => Err(Problem::InvalidValue(format!("{uri} must be an object"))),
    }
}

fn complex(parts: Object, known: &'static [Attribute]) -> Result<Object, Problem> {
    let mut read = Object::new();
    for (name, value) in parts {
        let (name, value) = match find(known, &name) {
            Some(attribute) if attribute.read_only => continue,
            Some(attribute) => (attribute.name.to_owned(), typed(value, attribute)?),
            None => (name, Some(value).filter(|value| !is_unassigned(value))),
        };
        put(&mut read, &name, value)?;
    }
    Ok(read)
}

fn put(object: &mut Object, name: &str, value: Option<Value>) -> Result<(), Problem> {
    let Some(value) = value else { return Ok(()) };
    if object.insert(name.to_owned(), value).is_some() {
        return Err(Problem::InvalidSyntax(format!("{} appears twice", shown(name))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::{ENTERPRISE_USER, USERS};

    fn read(sent: Value) -> Result<Value, Problem> {
        canonical(sent.as_object().unwrap().clone(), &USERS).map(Value::Object)
    }

    #[test]
    fn names_and_types_become_those_of_the_schema() {
        let sent = json!({
            "schemas": ["x"], "id": "mine", "meta": {}, "groups": [{"value": "g"}], "password": "canary",
            "USERNAME": "a", "active": "False", "emails": {"VALUE": "a@b", "primary": "True"}, "title": null,
            "nothing": [], "custom": {"kept": [1]}, "urn:example:X": {"y": 1},
            ENTERPRISE_USER: {"Manager": "user-1", "more": 2},
        });
        let expect = json!({
            "userName": "a", "active": false, "emails": [{"value": "a@b", "primary": true}], "custom": {"kept": [1]},
            "urn:example:X": {"y": 1}, ENTERPRISE_USER: {"manager": {"value": "user-1"}, "more": 2},
        });
        assert_eq!(read(sent).unwrap(), expect);
        let schemas = schemas(expect.as_object().unwrap(), &USERS);
        assert_eq!(schemas.as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        for sent in [
            json!({"userName": 1}),
            json!({"active": "perhaps"}),
            json!({"name": "x"}),
            json!({"emails": [1]}),
            json!({"emails": [{"value": "a", "primary": true}, {"value": "b", "primary": true}]}),
            json!({"userName": "a", "USERNAME": "b"}),
            json!({ENTERPRISE_USER: "x"}),
        ] {
            assert!(read(sent.clone()).is_err(), "{sent}");
        }
        assert!(ensure_complete(&Object::new(), &USERS).is_err());
        let blank = json!({"userName": "  "});
        assert!(ensure_complete(blank.as_object().unwrap(), &USERS).is_err());
    }
}
