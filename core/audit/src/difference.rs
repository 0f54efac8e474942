//! What a change changed.

use serde_json::{Map, Value, json};

/// The fields of an object as the log may show them: secrets are fingerprints here.
pub type Fields = Map<String, Value>;

/// The fields that differ, each with what it was `before` and what it is `after`. An object that is new or gone has only one
/// side.
#[must_use]
pub fn difference(before: Option<&Fields>, after: Option<&Fields>) -> Fields {
    let none = Fields::new();
    let (old, new) = (before.unwrap_or(&none), after.unwrap_or(&none));
    let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
    names
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| (name.clone(), sides(old.get(name), new.get(name))))
        .collect()
}

fn sides(before: Option<&Value>, after: Option<&Value>) -> Value {
    match (before, after) {
        (Some(before), Some(after)) => json!({"before": before, "after": after}),
        (Some(before), None) => json!({"before": before}),
        (None, Some(after)) => json!({"after": after}),
        (None, None) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: Value) -> Fields {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn only_what_differs_is_told() {
        let old = fields(json!({"name": "a", "disabled": false, "gone": 1}));
        let new = fields(json!({"name": "a", "disabled": true, "fresh": [1]}));
        let expect =
            json!({"disabled": {"before": false, "after": true}, "gone": {"before": 1}, "fresh": {"after": [1]}});
        assert_eq!(Value::Object(difference(Some(&old), Some(&new))), expect);
        assert_eq!(Value::Object(difference(None, Some(&fields(json!({"x": 1}))))), json!({"x": {"after": 1}}));
        assert_eq!(Value::Object(difference(Some(&old), Some(&old))), json!({}));
    }
}
