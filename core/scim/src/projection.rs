//! What is returned of a resource: RFC 7644, 3.9.

use serde_json::Value;

use crate::{Object, Problem, path::AttributePath};

/// The most attributes that a request names.
const NAMES_MAX: usize = 100;

/// Which attributes are returned. The id and the schemas always are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Projection {
    /// All.
    #[default]
    All,
    /// These.
    Only(Vec<AttributePath>),
    /// All but these.
    Without(Vec<AttributePath>),
}

impl Projection {
    /// Reads the parameters `attributes` and `excludedAttributes`, lists with commas.
    ///
    /// # Errors
    /// When a path is none, or both are given.
    pub fn parse(only: Option<&str>, without: Option<&str>) -> Result<Self, Problem> {
        match (
            only.map(str::trim).filter(|list| !list.is_empty()),
            without.map(str::trim).filter(|list| !list.is_empty()),
        ) {
            (None, None) => Ok(Self::All),
            (Some(list), None) => Ok(Self::Only(paths(list)?)),
            (None, Some(list)) => Ok(Self::Without(paths(list)?)),
            (Some(_), Some(_)) => Err(Problem::InvalidValue("give attributes or excludedAttributes, not both".into())),
        }
    }

    /// Whether this attribute of the core schema is returned, or a part of it.
    #[must_use]
    pub fn includes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(paths) => paths.iter().any(|path| path.is(name)),
            Self::Without(paths) => !paths.iter().any(|path| path.is(name) && path.part.is_none()),
        }
    }

    /// What is returned of a resource.
    #[must_use]
    pub fn of(&self, mut resource: Object) -> Object {
        match self {
            Self::All => resource,
            Self::Only(paths) => {
                resource.retain(|name, _| is_always(name) || paths.iter().any(|path| names(path, name)));
                for (name, value) in &mut resource {
                    let about: Vec<_> = paths.iter().filter(|path| names(path, name)).collect();
                    let inner: Vec<_> = about.iter().filter_map(|path| inner(path)).collect();
                    if !about.is_empty() && inner.len() == about.len() {
                        keep(value, &|part| inner.iter().any(|name| part.eq_ignore_ascii_case(name)));
                    }
                }
                resource
            }
            Self::Without(paths) => {
                resource.retain(|name, _| {
                    is_always(name) || !paths.iter().any(|path| names(path, name) && inner(path).is_none())
                });
                for (name, value) in &mut resource {
                    for gone in paths.iter().filter(|path| names(path, name)).filter_map(inner) {
                        keep(value, &|part| !part.eq_ignore_ascii_case(gone));
                    }
                }
                resource
            }
        }
    }
}

fn paths(list: &str) -> Result<Vec<AttributePath>, Problem> {
    let paths: Vec<_> = list.split(',').map(|path| AttributePath::parse(path.trim())).collect::<Result<_, _>>()?;
    if paths.len() > NAMES_MAX {
        return Err(Problem::InvalidValue(format!("a request may name {NAMES_MAX} attributes")));
    }
    Ok(paths)
}

// What a path names at the top of a resource: the attribute, or the extension that it is in.
fn names(path: &AttributePath, top: &str) -> bool {
    path.extension.as_deref().unwrap_or(&path.name).eq_ignore_ascii_case(top)
}

// What it names inside of that.
fn inner(path: &AttributePath) -> Option<&str> {
    match &path.extension {
        Some(_) => Some(path.name.as_str()).filter(|name| !name.is_empty()),
        None => path.part.as_deref(),
    }
}

fn is_always(name: &str) -> bool {
    matches!(name, "id" | "schemas")
}

fn keep(value: &mut Value, which: &dyn Fn(&str) -> bool) {
    match value {
        Value::Object(parts) => parts.retain(|name, _| which(name)),
        Value::Array(values) => values.iter_mut().for_each(|value| keep(value, which)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::ENTERPRISE_USER;

    #[test]
    fn attributes_are_chosen_or_left_out() {
        let resource = json!({
            "schemas": [], "id": "1", "userName": "a", "name": {"givenName": "A", "familyName": "B"},
            "emails": [{"value": "v", "type": "work"}], ENTERPRISE_USER: {"department": "d", "division": "e"},
        });
        let department = format!("{ENTERPRISE_USER}:department");
        for (only, without, expect) in [
            (Some("USERNAME"), None, json!({"schemas": [], "id": "1", "userName": "a"})),
            (
                Some("name.givenName, emails.value"),
                None,
                json!({"schemas": [], "id": "1", "name": {"givenName": "A"}, "emails": [{"value": "v"}]}),
            ),
            (
                Some("name,name.givenName"),
                None,
                json!({"schemas": [], "id": "1", "name": {"givenName": "A", "familyName": "B"}}),
            ),
            (Some(&*department), None, json!({"schemas": [], "id": "1", ENTERPRISE_USER: {"department": "d"}})),
            (
                None,
                Some("id,userName,name.givenName,emails,urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"),
                json!({"schemas": [], "id": "1", "name": {"familyName": "B"}}),
            ),
            (Some(""), Some(" "), resource.clone()),
        ] {
            let projection = Projection::parse(only, without).unwrap();
            assert_eq!(Value::Object(projection.of(resource.as_object().unwrap().clone())), expect);
        }
        assert!(Projection::parse(Some("a"), Some("b")).is_err());
        assert!(!Projection::parse(None, Some("members")).unwrap().includes("Members"));
    }
}
