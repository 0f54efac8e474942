//! Changes of a resource: RFC 7644, 3.5.2, with what Okta and Entra make of it.
//!
//! Reading the request is here; what an operation does to a value is in `patch/change.rs`.

use serde_json::Value;

use crate::{
    Object, Problem,
    path::{Target, get},
    problem::shown,
    resource,
    schema::ResourceKind,
};

mod change;

/// The most operations of one patch: clients send a few, and put many values into one.
pub const OPERATIONS_MAX: usize = 1_000;

/// What is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// Values are added, or set where there is one.
    Add,
    /// Values are replaced.
    Replace,
    /// Values are removed.
    Remove,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// What is done.
    pub verb: Verb,
    /// To what.
    pub target: Target,
    /// With what; `null` when nothing was given.
    pub value: Value,
}

/// Reads the body of a patch. An operation without a path becomes one for each attribute of its value.
///
/// # Errors
/// When it is not a patch.
pub fn parse(body: &Object) -> Result<Vec<Operation>, Problem> {
    let Some(Value::Array(sent)) = get(body, "Operations") else {
        return Err(Problem::InvalidSyntax("a patch has a list of Operations".into()));
    };
    let mut operations = Vec::new();
    for operation in sent {
        let operation = operation.as_object();
        let operation = operation.ok_or_else(|| Problem::InvalidSyntax("an operation must be an object".into()))?;
        read(operation, &mut operations)?;
        if operations.len() > OPERATIONS_MAX {
            return Err(Problem::InvalidValue(format!("a patch may have {OPERATIONS_MAX} operations")));
        }
    }
    Ok(operations)
}

/// Applies operations to a canonical resource, in their order. After an error the resource is of no use.
///
/// # Errors
/// When one cannot be applied.
pub fn apply(resource: &mut Object, operations: Vec<Operation>, kind: &ResourceKind) -> Result<(), Problem> {
    for operation in operations {
        change::one(resource, operation, kind)?;
    }
    resource::ensure_complete(resource, kind)
}

fn read(sent: &Object, operations: &mut Vec<Operation>) -> Result<(), Problem> {
    let word = get(sent, "op").and_then(Value::as_str).unwrap_or_default();
    // Entra writes it with a capital.
    let verb = match word.to_ascii_lowercase().as_str() {
        "add" => Verb::Add,
        "replace" => Verb::Replace,
        "remove" => Verb::Remove,
        _ => return Err(Problem::InvalidSyntax(format!("op must be add, replace or remove, not {:?}", shown(word)))),
    };
    let value = get(sent, "value");
    if value.is_none() && verb != Verb::Remove {
        return Err(Problem::InvalidValue(format!("{word} needs a value")));
    }
    match get(sent, "path").unwrap_or(&Value::Null) {
        Value::String(path) if !path.is_empty() => {
            let value = value.cloned().unwrap_or_default();
            operations.push(Operation { verb, target: Target::parse(path)?, value });
            Ok(())
        }
        Value::Null | Value::String(_) => pathless(verb, value, operations),
        _ => Err(Problem::InvalidPath("path must be a text".into())),
    }
}

fn pathless(verb: Verb, value: Option<&Value>, operations: &mut Vec<Operation>) -> Result<(), Problem> {
    if verb == Verb::Remove {
        return Err(Problem::NoTarget("remove needs a path".into()));
    }
    let attributes = value.and_then(Value::as_object);
    let attributes =
        attributes.ok_or_else(|| Problem::InvalidValue("without a path, value must be an object".into()))?;
    // A whole resource may be sent so; what only the server writes is passed over there.
    let server = |name: &str| ["schemas", "id", "meta", "groups"].iter().any(|own| own.eq_ignore_ascii_case(name));
    for (name, value) in attributes.iter().filter(|(name, _)| !server(name)) {
        operations.push(Operation { verb, target: Target::parse(name)?, value: value.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
