//! What a request changes in the members of a group, without the members: a group may have 20,000.

use serde_json::Value;

use crate::{
    Object, Problem,
    filter::{Comparison, Filter},
    patch::{Operation, Verb},
    path::{each, get},
};

/// A change of the members, by their ids.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Edit {
    /// These come in addition.
    Add(Vec<String>),
    /// These go.
    Remove(Vec<String>),
    /// All go, and these come.
    Replace(Vec<String>),
}

/// Takes the changes of members out of a patch, in their order; what is left changes the group itself.
///
/// # Errors
/// When a change of members is none that can be made without reading them.
pub fn edits(operations: Vec<Operation>) -> Result<(Vec<Edit>, Vec<Operation>), Problem> {
    let (members, rest): (Vec<_>, Vec<_>) =
        operations.into_iter().partition(|operation| operation.target.path.is("members"));
    let edits = members.into_iter().map(edit).collect::<Result<_, _>>()?;
    Ok((edits, rest))
}

/// The ids in a value of `members`: a list of objects with a `value`, one of them, or an id.
///
/// # Errors
/// When a member has no id.
pub fn ids(value: &Value) -> Result<Vec<String>, Problem> {
    let id = |member: &Value| {
        let id = match member {
            Value::Object(parts) => get(parts, "value").and_then(Value::as_str),
            member => member.as_str(),
        };
        id.filter(|id| !id.is_empty()).map(str::to_owned)
    };
    let ids = each(value).filter(|member| !member.is_null()).map(|member| {
        id(member)
            .ok_or_else(|| Problem::InvalidValue("a member is an object with the id of a user as its value".into()))
    });
    let mut ids: Vec<_> = ids.collect::<Result<_, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Takes the members out of a group that was sent whole.
///
/// # Errors
/// As [`ids`].
pub fn taken(group: &mut Object) -> Result<Vec<String>, Problem> {
    group.remove("members").map_or(Ok(Vec::new()), |members| ids(&members))
}

fn edit(operation: Operation) -> Result<Edit, Problem> {
    let Operation { verb, target, value } = operation;
    if target.path.part.is_some() {
        return Err(Problem::Mutability("a member is added or removed as a whole".into()));
    }
    match (verb, &target.filter) {
        (Verb::Add, None) => Ok(Edit::Add(ids(&value)?)),
        (Verb::Replace, None) => Ok(Edit::Replace(ids(&value)?)),
        // Entra names in `value` whom it wants removed.
        (Verb::Remove, None) if value.is_null() => Ok(Edit::Replace(Vec::new())),
        (Verb::Remove, None) => Ok(Edit::Remove(ids(&value)?)),
        (Verb::Remove, Some(filter)) => {
            let mut named = Vec::new();
            if !name(filter, &mut named) {
                return Err(Problem::InvalidFilter("select members by 'value eq', joined by 'or'".into()));
            }
            Ok(Edit::Remove(named))
        }
        (_, Some(_)) => Err(Problem::InvalidPath("members are added and replaced without a filter".into())),
    }
}

// The ids that a filter names, when it does nothing else.
fn name(filter: &Filter, named: &mut Vec<String>) -> bool {
    match filter {
        Filter::Compare(path, Comparison::Equal, Value::String(id)) if path.is("value") && path.part.is_none() => {
            named.push(id.clone());
            true
        }
        Filter::Or(left, right) => name(left, named) && name(right, named),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::patch;

    fn read(operation: Value) -> Result<(Vec<Edit>, usize), Problem> {
        let body = json!({"Operations": [operation]});
        let (edits, rest) = edits(patch::parse(body.as_object().unwrap())?)?;
        Ok((edits, rest.len()))
    }

    #[test]
    fn members_are_changed_by_their_ids() {
        let list = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        for (operation, expect) in [
            (
                json!({"op": "add", "path": "members", "value": [{"value": "b"}, {"value": "a"}, {"value": "a"}]}),
                Edit::Add(list(&["a", "b"])),
            ),
            (json!({"op": "Add", "path": "members", "value": {"value": "a"}}), Edit::Add(list(&["a"]))),
            (json!({"op": "replace", "path": "members", "value": []}), Edit::Replace(list(&[]))),
            (json!({"op": "replace", "value": {"members": [{"value": "a"}]}}), Edit::Replace(list(&["a"]))),
            (json!({"op": "remove", "path": "members"}), Edit::Replace(list(&[]))),
            (json!({"op": "Remove", "path": "members", "value": [{"value": "a"}]}), Edit::Remove(list(&["a"]))),
            (json!({"op": "remove", "path": r#"members[value eq "a"]"#}), Edit::Remove(list(&["a"]))),
            (
                json!({"op": "remove", "path": r#"members[value eq "a" or value eq "b"]"#}),
                Edit::Remove(list(&["a", "b"])),
            ),
        ] {
            assert_eq!(read(operation.clone()).unwrap(), (vec![expect], 0), "{operation}");
        }
        let both = json!({"op": "replace", "value": {"displayName": "x", "members": []}});
        assert_eq!(read(both).unwrap(), (vec![Edit::Replace(Vec::new())], 1));
    }

    #[test]
    fn what_would_need_the_members_is_refused() {
        for operation in [
            json!({"op": "add", "path": "members", "value": [{"display": "x"}]}),
            json!({"op": "remove", "path": r#"members[display eq "a"]"#}),
            json!({"op": "replace", "path": r#"members[value eq "a"]"#, "value": {"value": "b"}}),
            json!({"op": "replace", "path": "members.value", "value": "b"}),
        ] {
            assert!(read(operation.clone()).is_err(), "{operation}");
        }
    }
}
