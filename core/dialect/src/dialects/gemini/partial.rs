//! A call whose arguments arrive in pieces, as Vertex sends them where it is asked to: each piece says by a JSON path (RFC 9535) where
//! it belongs, and a text may come in several.

use serde_json::{Map, Value};

use super::wire::WirePartial;

/// No argument is nested deeper.
const DEPTH_MAX: usize = 64;

/// The arguments so far: an object.
#[derive(Debug, Default)]
pub(super) struct Arguments(Map<String, Value>);

enum Step<'p> {
    Name(&'p str),
    Index(usize),
}

impl Arguments {
    /// Takes a piece. `None`: its path leads nowhere.
    pub(super) fn take(&mut self, piece: WirePartial<'_>) -> Option<()> {
        let WirePartial { json_path, string_value, number_value, bool_value } = piece;
        let mut steps = steps(&json_path)?.into_iter();
        let Some(Step::Name(first)) = steps.next() else { return None };
        let mut place = self.0.entry(first).or_insert(Value::Null);
        for step in steps {
            place = enter(place, &step)?;
        }
        match (string_value, number_value, bool_value) {
            (Some(more), _, _) => match place {
                Value::String(text) => text.push_str(&more),
                _ => *place = Value::String(more.to_string()),
            },
            (None, Some(number), _) => *place = Value::Number(number),
            (None, None, Some(value)) => *place = Value::Bool(value),
            // An object or a list whose members follow, a null, or the end of a text.
            (None, None, None) => {}
        }
        Some(())
    }

    /// The arguments as JSON.
    pub(super) fn written(self) -> String {
        Value::Object(self.0).to_string()
    }
}

fn enter<'v>(place: &'v mut Value, step: &Step<'_>) -> Option<&'v mut Value> {
    match step {
        Step::Name(name) => {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            Some(place.as_object_mut()?.entry(*name).or_insert(Value::Null))
        }
        Step::Index(index) => {
            if !place.is_array() {
                *place = Value::Array(Vec::new());
            }
            let list = place.as_array_mut()?;
            // Elements come in their order.
            if *index == list.len() {
                list.push(Value::Null);
            }
            list.get_mut(*index)
        }
    }
}

// `$.foo.bar[0]['x y']`.
fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, behind) = if let Some(inner) = rest.strip_prefix('[') {
            bracketed(inner)?
        } else {
            let inner = rest.strip_prefix('.').unwrap_or(rest);
            let (name, behind) = inner.split_at(inner.find(['.', '[']).unwrap_or(inner.len()));
            (Step::Name(Some(name).filter(|name| !name.is_empty())?), behind)
        };
        steps.push(step);
        rest = behind;
        if steps.len() > DEPTH_MAX {
            return None;
        }
    }
    Some(steps)
}

fn bracketed(inner: &str) -> Option<(Step<'_>, &str)> {
    for quote in ["'", "\""] {
        if let Some(quoted) = inner.strip_prefix(quote) {
            let (name, behind) = quoted.split_once(quote)?;
            return Some((Step::Name(name), behind.strip_prefix(']')?));
        }
    }
    let (index, behind) = inner.split_once(']')?;
    Some((Step::Index(index.parse().ok()?), behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_to_the_arguments() {
        let mut arguments = Arguments::default();
        for piece in [
            r#"{"jsonPath":"$.city","stringValue":"Ber","willContinue":true}"#,
            r#"{"jsonPath":"$.city","stringValue":"lin"}"#,
            r#"{"json_path":"$.days","number_value":3}"#,
            r#"{"jsonPath":"$.units['per day']","boolValue":true}"#,
            r#"{"jsonPath":"$.stops[0].name","stringValue":"a"}"#,
            r#"{"jsonPath":"$.stops[1].name","stringValue":"b"}"#,
            r#"{"jsonPath":"$.note","nullValue":"NULL_VALUE"}"#,
        ] {
            assert_eq!(arguments.take(serde_json::from_str(piece).unwrap()), Some(()), "{piece}");
        }
        assert_eq!(
            arguments.written(),
            r#"{"city":"Berlin","days":3,"note":null,"stops":[{"name":"a"},{"name":"b"}],"units":{"per day":true}}"#
        );
    }

    #[test]
    fn a_path_that_leads_nowhere_is_none() {
        for path in ["", "$", "$[0]", "$.a[", "$.a[x]", "$.a[9]", "$..", "$['a", &format!("${}", ".a".repeat(100))] {
            let piece = WirePartial { json_path: path.into(), ..WirePartial::default() };
            assert_eq!(Arguments::default().take(piece), None, "{path}");
        }
    }
}
