//! What one operation does.

use serde_json::Value;

use super::{Operation, Verb};
use crate::{
    Object, Problem,
    filter::{Comparison, Filter},
    path::{AttributePath, Target},
    resource::{extension, is_primary, is_unassigned, single, typed},
    schema::{Attribute, ResourceKind, find},
};

pub(super) fn one(resource: &mut Object, operation: Operation, kind: &ResourceKind) -> Result<(), Problem> {
    let Operation { verb, target: Target { path, filter }, value } = operation;
    let attribute = path.whole_attribute(kind);
    if path.is("password") {
        return Ok(());
    }
    if path.is("schemas") || attribute.is_some_and(|attribute| attribute.read_only) {
        return Err(Problem::Mutability(format!("{path} is written by the server only")));
    }
    if path.name.is_empty() {
        return whole_extension(resource, verb, &path, value, kind);
    }
    let Some(uri) = &path.extension else { return within(resource, verb, &path, filter.as_ref(), value, attribute) };
    let uri = kind.extension(uri).map_or_else(|| key_of(resource, uri), |schema| schema.uri.to_owned());
    let holder = resource.entry(uri.clone()).or_insert_with(|| Value::Object(Object::new()));
    let holder = holder.as_object_mut().ok_or_else(|| Problem::InvalidPath(format!("{uri} is not an object")))?;
    within(holder, verb, &path, filter.as_ref(), value, attribute)?;
    if holder.is_empty() {
        resource.remove(&uri);
    }
    Ok(())
}

fn whole_extension(
    resource: &mut Object,
    verb: Verb,
    path: &AttributePath,
    value: Value,
    kind: &ResourceKind,
) -> Result<(), Problem> {
    let uri = path.extension.as_deref().unwrap_or_default();
    let schema =
        kind.extension(uri).ok_or_else(|| Problem::InvalidPath(format!("{uri} does not extend this resource")))?;
    if verb == Verb::Remove || is_unassigned(&value) {
        resource.remove(schema.uri);
    } else if let Some(Value::Object(given)) = extension(value, schema.attributes, schema.uri)? {
        let own = resource.entry(schema.uri).or_insert_with(|| Value::Object(Object::new()));
        merge(own, given);
    }
    Ok(())
}

fn within(
    holder: &mut Object,
    verb: Verb,
    path: &AttributePath,
    filter: Option<&Filter>,
    value: Value,
    attribute: Option<&'static Attribute>,
) -> Result<(), Problem> {
    let key = attribute.map_or_else(|| key_of(holder, &path.name), |attribute| attribute.name.to_owned());
    match (filter, &path.part) {
        (None, None) => whole(holder, &key, verb, value, attribute)?,
        (None, Some(part)) => part_of(holder, &key, verb, part, value, attribute)?,
        (Some(filter), part) => selected(holder, &key, verb, filter, part.as_deref(), value, attribute)?,
    }
    if holder.get(&key).is_some_and(|value| is_unassigned(value) || *value == Value::Object(Object::new())) {
        holder.remove(&key);
    }
    Ok(())
}

fn whole(
    holder: &mut Object,
    key: &str,
    verb: Verb,
    value: Value,
    attribute: Option<&'static Attribute>,
) -> Result<(), Problem> {
    let read = match attribute {
        Some(attribute) => typed(value, attribute)?,
        None => Some(value).filter(|value| !is_unassigned(value)),
    };
    match (verb, read) {
        // Entra names in `value` what it wants removed of several.
        (Verb::Remove, Some(Value::Array(gone))) => {
            if let Some(Value::Array(own)) = holder.get_mut(key) {
                own.retain(|one| !gone.iter().any(|gone| is_same(one, gone)));
            }
        }
        (Verb::Remove, _) | (Verb::Replace, None) => {
            holder.remove(key);
        }
        (Verb::Add, None) => {}
        (Verb::Add, Some(Value::Array(added))) => match holder.get_mut(key) {
            Some(Value::Array(own)) => append(own, added),
            _ => {
                holder.insert(key.to_owned(), Value::Array(added));
            }
        },
        (_, Some(Value::Object(given))) => {
            merge(holder.entry(key).or_insert_with(|| Value::Object(Object::new())), given);
        }
        (_, Some(value)) => {
            holder.insert(key.to_owned(), value);
        }
    }
    Ok(())
}

fn part_of(
    holder: &mut Object,
    key: &str,
    verb: Verb,
    part: &str,
    value: Value,
    attribute: Option<&'static Attribute>,
) -> Result<(), Problem> {
    let (name, value) = read_part(part, verb, value, attribute)?;
    let several = attribute.is_some_and(|attribute| attribute.multiple);
    if value.is_some() && !holder.contains_key(key) {
        let empty = Value::Object(Object::new());
        holder.insert(key.to_owned(), if several { Value::Array(vec![empty]) } else { empty });
    }
    match holder.get_mut(key) {
        Some(Value::Array(own)) => own.iter_mut().for_each(|one| set_part(one, &name, value.clone())),
        Some(one) => set_part(one, &name, value),
        None => {}
    }
    Ok(())
}

fn selected(
    holder: &mut Object,
    key: &str,
    verb: Verb,
    filter: &Filter,
    part: Option<&str>,
    value: Value,
    attribute: Option<&'static Attribute>,
) -> Result<(), Problem> {
    let own = match holder.entry(key).or_insert_with(|| Value::Array(Vec::new())) {
        Value::Array(own) => own,
        _ => return Err(Problem::InvalidPath(format!("{key} has one value, and no filter can select it"))),
    };
    let matches = |one: &Value| filter.matches_value(one, attribute);
    if verb == Verb::Remove && part.is_none() {
        own.retain(|one| !matches(one));
        return Ok(());
    }
    if !own.iter().any(matches) {
        match verb {
            // Nothing there to be removed is what was wanted.
            Verb::Remove => return Ok(()),
            Verb::Replace => return Err(Problem::NoTarget(format!("no value of {key} matches the filter"))),
            // Entra adds so what the filter describes.
            Verb::Add => own.push(
                described(filter).ok_or_else(|| Problem::NoTarget(format!("no value of {key} matches the filter")))?,
            ),
        }
    }
    let hits: Vec<bool> = own.iter().map(matches).collect();
    let given = match part {
        Some(part) => {
            let (name, value) = read_part(part, verb, value, attribute)?;
            Given::Part(name, value)
        }
        None => match attribute.map_or(Ok(value.clone()), |attribute| single(value, attribute))? {
            Value::Object(given) => Given::Whole(given),
            _ => return Err(Problem::InvalidValue(format!("a value of {key} is an object"))),
        },
    };
    for (one, _) in own.iter_mut().zip(&hits).filter(|(_, hit)| **hit) {
        match &given {
            Given::Part(name, value) => set_part(one, name, value.clone()),
            Given::Whole(given) if verb == Verb::Replace => *one = Value::Object(given.clone()),
            Given::Whole(given) => merge(one, given.clone()),
        }
    }
    if own.iter().zip(&hits).any(|(one, hit)| *hit && is_primary(one)) {
        own.iter_mut().zip(&hits).filter(|(_, hit)| !**hit).for_each(|(one, _)| demote(one));
    }
    Ok(())
}

enum Given {
    Part(String, Option<Value>),
    Whole(Object),
}

fn read_part(
    part: &str,
    verb: Verb,
    value: Value,
    attribute: Option<&'static Attribute>,
) -> Result<(String, Option<Value>), Problem> {
    let known = attribute.and_then(|attribute| find(attribute.parts, part));
    let name = known.map_or(part, |known| known.name).to_owned();
    let value = match known {
        _ if verb == Verb::Remove => None,
        Some(known) => typed(value, known)?,
        None => Some(value).filter(|value| !is_unassigned(value)),
    };
    Ok((name, value))
}

// The value that a filter describes with equalities: `type eq "work"`.
fn described(filter: &Filter) -> Option<Value> {
    match filter {
        Filter::Compare(path, Comparison::Equal, value) if path.part.is_none() && path.extension.is_none() => {
            Some(Value::Object(Object::from_iter([(path.name.clone(), value.clone())])))
        }
        Filter::And(left, right) => {
            let mut left = described(left)?;
            if let Value::Object(right) = described(right)? {
                merge(&mut left, right);
            }
            Some(left)
        }
        _ => None,
    }
}

fn append(own: &mut Vec<Value>, added: Vec<Value>) {
    if added.iter().any(is_primary) {
        own.iter_mut().for_each(demote);
    }
    for value in added {
        if !own.contains(&value) {
            own.push(value);
        }
    }
}

fn demote(one: &mut Value) {
    if is_primary(one) {
        set_part(one, "primary", Some(Value::Bool(false)));
    }
}

fn merge(own: &mut Value, given: Object) {
    match own {
        Value::Object(own) => own.extend(given),
        own => *own = Value::Object(given),
    }
}

fn set_part(one: &mut Value, name: &str, value: Option<Value>) {
    let Value::Object(parts) = one else { return };
    match value {
        Some(value) => {
            parts.insert(name.to_owned(), value);
        }
        None => {
            parts.remove(name);
        }
    }
}

// Two values are the same when they are equal or have the same `value`.
fn is_same(one: &Value, other: &Value) -> bool {
    let value = |whole: &Value| whole.get("value").cloned();
    one == other || value(one).is_some_and(|own| value(other) == Some(own))
}

fn key_of(holder: &Object, name: &str) -> String {
    holder.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned().unwrap_or_else(|| name.to_owned())
}
