//! Text that others chose, on a terminal: it neither moves the cursor nor turns a line around.

use std::fmt::Write as _;

use serde::Serialize;

use crate::failure::Failure;

/// The text with every character escaped that a terminal would act on.
pub(crate) fn for_terminal(text: &str) -> String {
    escaped(text, |escaped, character| write!(escaped, "{}", character.escape_unicode()))
}

/// A JSON document on one line, in which such characters are escaped as JSON escapes them: it still says the same.
pub(crate) fn json_line(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::new("internal", format!("cannot print the result: {error}")))?;
    // None of them stands outside a string. One beyond the basic multilingual plane is two escapes (RFC 8259, section 7).
    Ok(escaped(&text, |escaped, character| {
        character.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(escaped, "\\u{unit:04x}"))
    }))
}

fn escaped(text: &str, escape: impl Fn(&mut String, char) -> std::fmt::Result) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if misleads(character) {
            // Writing into a String cannot fail.
            let _ = escape(&mut escaped, character);
        } else {
            escaped.push(character);
        }
    }
    escaped
}

// Control characters, what some program takes for the end of a line, what is not seen although a model reads it (tags and selectors of
// variants carry whole sentences so), and what turns the rest of a line around (Unicode Standard Annex 9). The selector of coloured
// pictures alone is left as it is, since many texts have it.
fn misleads(character: char) -> bool {
    let turns =
        matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let unseen = matches!(character,
        '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0e}' | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}' | '\u{e0100}'..='\u{e01ef}');
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') || unseen || turns
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_is_left() {
        assert_eq!(for_terminal("a\u{1b}[2Jb\rc\u{202e}d\u{9b}é"), "a\\u{1b}[2Jb\\u{d}c\\u{202e}d\\u{9b}é");
        for character in
            ['\0', '\n', '\u{7f}', '\u{85}', '\u{200b}', '\u{2028}', '\u{2066}', '\u{feff}', '\u{e0041}', '\u{e0100}']
        {
            assert!(!for_terminal(&character.to_string()).contains(character), "{character:?}");
        }
    }

    #[test]
    fn a_line_of_json_says_the_same() {
        let value = json!({"a": "x\u{202e}y\u{9b}\n\u{1b}\"é\u{e0041}"});
        let line = json_line(&value).unwrap();
        assert!(
            !line.contains(['\u{202e}', '\u{9b}', '\n', '\u{1b}', '\u{e0041}']) && line.contains("\\u202e"),
            "{line}"
        );
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }
}
