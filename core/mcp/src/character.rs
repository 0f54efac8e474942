//! Characters that a reader does not see, or sees elsewhere than they stand, and texts in which they are made visible.
//!
//! Unicode 17, general categories Cc, Cf, Co and the default ignorable code points, by hand: the ranges change seldom, and a crate of
//! tables would bring all categories.

/// Why a character is not seen as it stands.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Hidden {
    /// Takes no room: U+200B to U+200D, U+2060, U+FEFF, U+180E.
    ZeroWidth,
    /// Turns the direction of the text: U+200E, U+202A to U+202E, U+2066 to U+2069, U+061C.
    Direction,
    /// Repeats ASCII invisibly: U+E0000 to U+E007F.
    Tag,
    /// Chooses a variant of the character before: U+FE00 to U+FE0F, U+E0100 to U+E01EF, and the Mongolian ones.
    VariationSelector,
    /// Means what two parties have agreed upon: U+E000 to U+F8FF, planes 15 and 16.
    PrivateUse,
    /// A control character other than tab, line feed and carriage return.
    Control,
    /// Any other that is not drawn: soft hyphen, fillers, invisible operators, annotations, blank braille.
    Format,
}

/// Whether a character is not seen as it stands, and why.
#[must_use]
pub const fn hidden(character: char) -> Option<Hidden> {
    Some(match character {
        '\t' | '\n' | '\r' | ' '..='~' => return None,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => Hidden::Control,
        '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{180e}' => Hidden::ZeroWidth,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}' => Hidden::Direction,
        '\u{e0000}'..='\u{e007f}' => Hidden::Tag,
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' | '\u{180b}'..='\u{180d}' | '\u{180f}' => {
            Hidden::VariationSelector
        }
        '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}' => Hidden::PrivateUse,
        '\u{ad}'
        | '\u{34f}'
        | '\u{600}'..='\u{605}'
        | '\u{6dd}'
        | '\u{70f}'
        | '\u{890}'..='\u{891}'
        | '\u{8e2}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{2028}'..='\u{2029}'
        | '\u{2061}'..='\u{2065}'
        | '\u{2800}'
        | '\u{206a}'..='\u{206f}'
        | '\u{3164}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{110bd}'
        | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0080}'..='\u{e00ff}'
        | '\u{e01f0}'..='\u{e0fff}' => Hidden::Format,
        _ => return None,
    })
}

/// A text of at most so many characters, in which whatever is hidden stands as `\u{200b}`; cut with `…`. Line breaks stand as `\n`.
#[must_use]
pub fn shown(text: &str, characters_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(characters_max) + 8);
    for (count, character) in text.chars().enumerate() {
        if count == characters_max {
            out.push('…');
            break;
        }
        match character {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            _ if hidden(character).is_some() => out.extend(character.escape_unicode()),
            _ => out.push(character),
        }
    }
    out
}

/// The longest name of a prompt or a resource, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// Whether a text can be a name at all: 1 to 256 bytes, nothing hidden, no line breaks, and no spaces at its ends. Spaces of other kinds
/// than U+0020 are not allowed anywhere.
#[must_use]
pub fn visible(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && is_drawn(name)
}

/// The same for a URI, which may be longer (RFC 9110 has servers take 8,000 bytes) and has no spaces at all.
#[must_use]
pub fn visible_uri(uri: &str) -> bool {
    (1..=URI_BYTES_MAX).contains(&uri.len()) && is_drawn(uri) && !uri.contains(' ')
}

/// The longest URI, in bytes.
pub const URI_BYTES_MAX: usize = 8_192;

fn is_drawn(text: &str) -> bool {
    let is_drawn = |c: char| c == ' ' || (!c.is_whitespace() && hidden(c).is_none());
    text.chars().all(is_drawn) && !text.starts_with(' ') && !text.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_known_by_kind() {
        for (character, expected) in [
            ('a', None),
            ('é', None),
            ('世', None),
            ('\n', None),
            ('\u{0}', Some(Hidden::Control)),
            ('\u{85}', Some(Hidden::Control)),
            ('\u{200b}', Some(Hidden::ZeroWidth)),
            ('\u{feff}', Some(Hidden::ZeroWidth)),
            ('\u{202e}', Some(Hidden::Direction)),
            ('\u{2067}', Some(Hidden::Direction)),
            ('\u{e0041}', Some(Hidden::Tag)),
            ('\u{fe0f}', Some(Hidden::VariationSelector)),
            ('\u{e0101}', Some(Hidden::VariationSelector)),
            ('\u{e000}', Some(Hidden::PrivateUse)),
            ('\u{100001}', Some(Hidden::PrivateUse)),
            ('\u{ad}', Some(Hidden::Format)),
            ('\u{3164}', Some(Hidden::Format)),
        ] {
            assert_eq!(hidden(character), expected, "{character:?}");
        }
    }

    #[test]
    fn a_name_is_what_can_be_seen() {
        for (name, is_name) in [
            ("create_issue", true),
            ("Zusammenfassung für heute", true),
            ("", false),
            (" a", false),
            ("a ", false),
            ("a\nb", false),
            ("a\u{a0}b", false),
            ("a\u{200d}b", false),
            ("a\u{202e}b", false),
            ("a\u{e0062}", false),
            (&"n".repeat(256), true),
            (&"n".repeat(257), false),
        ] {
            assert_eq!(visible(name), is_name, "{name:?}");
        }
        assert!(visible_uri("file:///a%20b") && !visible_uri("file:///a b") && !visible_uri(""));
    }

    #[test]
    fn what_is_hidden_is_shown() {
        assert_eq!(shown("a\u{200b}b\nc", 9), "a\\u{200b}b\\nc");
        assert_eq!(shown("abcdef", 3), "abc…");
        assert_eq!(shown("abc", 3), "abc");
    }
}
