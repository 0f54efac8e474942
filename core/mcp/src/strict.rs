//! What two readers of one JSON document could read differently: a name that stands twice in an object, and nesting that one follows and
//! another does not.
//!
//! The grammar is serde_json's work; this walks over what it has accepted.

use std::borrow::Cow;

use crate::{fault::Fault, json::unquoted};

/// The deepest nesting that is accepted. Parsers of other languages stop between 100 (Ruby) and 1,000 (Python); serde_json at 127.
pub(crate) const DEPTH_MAX: usize = 128;

/// So many names may the objects have together that are open at one place: enough for any definition, and a bound for what is remembered
/// of a body (24 bytes each).
pub(crate) const NAMES_MAX: usize = 100_000;

/// What is open.
#[derive(Clone, Copy)]
struct Level {
    is_list: bool,
    /// How many names were remembered when it began.
    names: usize,
}

/// Refuses a document in which an object has a name twice, whatever their escapes, or that is too deep. `json` must be JSON.
pub(crate) fn check(json: &str) -> Result<(), Fault> {
    let bytes = json.as_bytes();
    let (mut open, mut names): (Vec<Level>, Vec<Cow<'_, str>>) = (Vec::with_capacity(16), Vec::with_capacity(32));
    let (mut at, mut is_name) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let end = end_of_string(bytes, at);
                if is_name {
                    is_name = false;
                    let name = json.get(at..end).and_then(unquoted).ok_or(Fault::HalfCharacter)?;
                    names.push(name);
                    if names.len() > NAMES_MAX {
                        return Err(Fault::TooManyNames);
                    }
                }
                at = end;
                continue;
            }
            b'{' | b'[' => {
                is_name = byte == b'{';
                open.push(Level { is_list: !is_name, names: names.len() });
                if open.len() > DEPTH_MAX {
                    return Err(Fault::TooDeep);
                }
            }
            b'}' | b']' => {
                is_name = false;
                let begun = open.pop().map_or(0, |level| level.names);
                twice(names.get_mut(begun..).unwrap_or_default())?;
                names.truncate(begun);
            }
            b',' => is_name = open.last().is_some_and(|level| !level.is_list),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Behind the quotation mark that ends the string which begins at `at`.
fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Refuses names of which two are equal. Sorting a handful is cheaper than hashing it, and a million take no longer than they should.
fn twice(names: &mut [Cow<'_, str>]) -> Result<(), Fault> {
    if names.len() < 2 {
        return Ok(());
    }
    names.sort_unstable();
    match names.iter().zip(names.iter().skip(1)).find(|(one, next)| one == next) {
        Some((name, _)) => Err(Fault::Duplicate(crate::character::shown(name, NAME_SHOWN_MAX))),
        None => Ok(()),
    }
}

/// So many characters of a member's name are told in a sentence.
pub(crate) const NAME_SHOWN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_once_in_an_object_whatever_its_escapes() {
        for (json, twice) in [
            (r#"{"a":1,"b":{"a":2},"c":[{"a":1},{"a":2}]}"#, None),
            (r#"{"a":"a","b":"a"}"#, None),
            (r#"["a","a"]"#, None),
            (r#"{"a":["x",{"x":1}],"x":2}"#, None),
            (r#"{"a":1,"a":2}"#, Some("a")),
            (r#"{"a":1,"b":2,"\u0061":3}"#, Some("a")),
            (r#"[[{"x":{"q\"":1,"q\u0022":2}}]]"#, Some("q\"")),
            (r#"{"":1,"":2}"#, Some("")),
            (r#"{"A":1,"a":2}"#, None),
            (r#"{"a":"}","b":"{\"","a":1}"#, Some("a")),
        ] {
            let expected = twice.map_or(Ok(()), |name| Err(Fault::Duplicate(name.to_owned())));
            assert_eq!(check(json), expected, "{json}");
        }
        assert_eq!(check(r#"{"\ud800":1}"#), Err(Fault::HalfCharacter));
        assert_eq!(check(r#"{"a":"\ud800"}"#), Ok(()));
    }

    #[test]
    fn nesting_ends_at_its_bound() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(&nested(DEPTH_MAX)), Ok(()));
        assert_eq!(check(&nested(DEPTH_MAX + 1)), Err(Fault::TooDeep));
        let wide = vec!["[1]"; 1_000].join(",");
        assert_eq!(check(&format!("[{wide}]")), Ok(()));
    }

    #[test]
    fn an_object_has_no_end_of_names() {
        let members = |count: usize| (0..count).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(",");
        assert_eq!(check(&format!("{{{}}}", members(NAMES_MAX))), Ok(()));
        assert_eq!(check(&format!("{{{}}}", members(NAMES_MAX + 1))), Err(Fault::TooManyNames));
    }
}
