//! Texts of custom (freeform) tools, which are the only argument of a function in the hub: `{"input": "…"}`.

use memchr::memchr2;
use serde::{Deserialize, Serialize};

use crate::hub::{Json, Text};

/// How the arguments begin, as JSON deltas.
pub(super) const OPENING: &str = "{\"input\":\"";
/// How they end.
pub(super) const CLOSING: &str = "\"}";
/// Ahead of the text nothing but a name, marks and some white space is waited for.
const AHEAD_BYTES_MAX: usize = 64;
/// Two escapes make one character at most: `\ud83d\ude00`.
const ESCAPE_BYTES: usize = 6;

#[derive(Deserialize, Serialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    input: Text<'a>,
}

/// Finds the text in arguments that arrive piece by piece.
#[derive(Debug, Default)]
pub(super) struct Unwrapper {
    place: Place,
    // What waits for more: the beginning of the arguments, or of an escape.
    held: String,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Place {
    #[default]
    Ahead,
    Within,
    // Behind the text, or in arguments that do not begin with it.
    Over,
}

/// The arguments with that text.
pub(super) fn wrap(input: Text<'_>) -> Json<'static> {
    Json::of(&Wrapped { input })
}

/// A piece of the text, as it stands in the arguments.
pub(super) fn escaped(piece: &str) -> String {
    let mut quoted = serde_json::to_string(piece).unwrap_or_default();
    quoted.pop();
    quoted.drain(..1.min(quoted.len()));
    quoted
}

/// The text in whole arguments. A model that did not keep to the schema is taken at its word: the only text, or all that it wrote.
pub(super) fn unwrap(arguments: &str) -> Text<'_> {
    if let Ok(Wrapped { input }) = serde_json::from_str(arguments) {
        return input;
    }
    let members: Option<std::collections::BTreeMap<String, Text<'_>>> = serde_json::from_str(arguments).ok();
    let only = members.filter(|members| members.len() == 1).and_then(|members| members.into_values().next());
    only.or_else(|| serde_json::from_str(arguments).ok()).unwrap_or_else(|| arguments.into())
}

impl Unwrapper {
    /// Takes the next piece of the arguments and appends what it has of the text.
    pub(super) fn push(&mut self, piece: &str, text: &mut String) {
        match self.place {
            Place::Over => {}
            Place::Within => {
                self.held.push_str(piece);
                self.within(text);
            }
            Place::Ahead => {
                self.held.push_str(piece);
                match behind_opening(&self.held) {
                    Some(behind) => {
                        self.held = behind.to_owned();
                        self.place = Place::Within;
                        self.within(text);
                    }
                    None if self.held.len() > AHEAD_BYTES_MAX => self.place = Place::Over,
                    None => {}
                }
            }
        }
    }

    fn within(&mut self, text: &mut String) {
        let held = std::mem::take(&mut self.held);
        let mut rest = held.as_str();
        while let Some(at) = memchr2(b'\\', b'"', rest.as_bytes()) {
            let (plain, marked) = rest.split_at(at);
            text.push_str(plain);
            if marked.starts_with('"') {
                self.place = Place::Over;
                return;
            }
            let Some((character, behind)) = escape(marked) else {
                self.held = marked.to_owned();
                return;
            };
            text.push(character);
            rest = behind;
        }
        text.push_str(rest);
    }
}

fn behind_opening(arguments: &str) -> Option<&str> {
    let mut rest = arguments;
    for mark in ["{", "\"input\"", ":", "\""] {
        rest = rest.trim_start().strip_prefix(mark)?;
    }
    Some(rest)
}

// The character that an escape stands for, and what follows; `None`: it has not arrived whole.
fn escape(marked: &str) -> Option<(char, &str)> {
    let is_unicode = marked.get(1..2)? == "u";
    if !is_unicode {
        let (escape, behind) = marked.split_at_checked(2)?;
        return Some((character(escape), behind));
    }
    let (first, behind) = marked.split_at_checked(ESCAPE_BYTES)?;
    let is_half = first.get(2..3).is_some_and(|digit| digit.eq_ignore_ascii_case("d"))
        && first.get(3..4).is_some_and(|digit| "89abAB".contains(digit));
    if !is_half {
        return Some((character(first), behind));
    }
    if !behind.starts_with("\\u") && !"\\u".starts_with(behind) {
        return Some((char::REPLACEMENT_CHARACTER, behind));
    }
    let (pair, behind) = marked.split_at_checked(2 * ESCAPE_BYTES)?;
    Some((character(pair), behind))
}

fn character(escape: &str) -> char {
    serde_json::from_str(&["\"", escape, "\""].concat()).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_in_its_arguments_however_they_are_cut() {
        let text = "*** Begin \"Patch\"\n+a\\b\t😀é\u{1}\n*** End";
        let escaped_unicode =
            r#" { "input" : "*** Begin \"Patch\"\n+a\\b\t\ud83d\ude00\u00e9\u0001\n*** End" , "more": 1 }"#;
        for arguments in [wrap(text.into()).get(), escaped_unicode] {
            for at in (0..=arguments.len()).filter(|at| arguments.is_char_boundary(*at)) {
                let (mut unwrapper, mut found) = (Unwrapper::default(), String::new());
                let (first, second) = arguments.split_at(at);
                unwrapper.push(first, &mut found);
                unwrapper.push(second, &mut found);
                assert_eq!(found, text, "cut at {at}");
            }
            let (mut unwrapper, mut found) = (Unwrapper::default(), String::new());
            arguments.chars().for_each(|piece| unwrapper.push(piece.encode_utf8(&mut [0; 4]), &mut found));
            assert_eq!(found, text);
            assert_eq!(&*unwrap(arguments), text);
        }
        assert_eq!([OPENING, &escaped(text), CLOSING].concat(), wrap(text.into()).get());
    }

    #[test]
    fn arguments_of_another_form_are_taken_at_their_word() {
        for (arguments, expect) in [
            (r#"{"patch": "x"}"#, "x"),
            (r#""x\n""#, "x\n"),
            ("*** Begin Patch", "*** Begin Patch"),
            (r#"{"a": "x", "b": "y"}"#, r#"{"a": "x", "b": "y"}"#),
            ("", ""),
        ] {
            assert_eq!(&*unwrap(arguments), expect);
            let (mut unwrapper, mut found) = (Unwrapper::default(), String::new());
            unwrapper.push(arguments, &mut found);
            assert_eq!(found, "");
        }
    }

    #[test]
    fn half_a_pair_of_escapes_is_no_reason_to_lose_the_rest() {
        let (mut unwrapper, mut found) = (Unwrapper::default(), String::new());
        unwrapper.push(r#"{"input":"a\ud83db\ud83d\n"#, &mut found);
        assert_eq!(found, "a\u{fffd}b\u{fffd}\n");
    }
}
