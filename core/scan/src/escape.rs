//! Takes escapes back into what they stand for: `%41`, `\x41`, `\u0041`, the escapes of JSON, and characters without width, which stand
//! for nothing.

use crate::finding::hex_digit;

/// The longest escape: a surrogate pair, `\ud83d\udd11`.
pub(crate) const ESCAPE_BYTES_MAX: usize = 12;

/// What stands at a place of a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Escape {
    /// Nothing but itself.
    Plain,
    /// What may become an escape with more text.
    Partial,
    /// An escape of `len` bytes, and what it stands for.
    Whole { len: usize, text: Text },
}

/// The few bytes of one character.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Text {
    bytes: [u8; 4],
    len: u8,
}

/// Where the next escape may begin, from `from` on.
pub(crate) fn next(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    rest.iter()
        .position(|byte| matches!(byte, b'%' | b'\\' | 0xc2 | 0xe1 | 0xe2 | 0xef))
        .map(|at| from.saturating_add(at))
}

/// What stands at the beginning of `text`, of which more may come unless `is_final`.
pub(crate) fn read(text: &[u8], is_final: bool) -> Escape {
    let found = match text {
        [b'%', rest @ ..] => percent(rest),
        [b'\\', rest @ ..] => backslash(rest),
        [0xc2 | 0xe1 | 0xe2 | 0xef, ..] => without_width(text),
        _ => Escape::Plain,
    };
    if found == Escape::Partial && is_final { Escape::Plain } else { found }
}

fn percent(rest: &[u8]) -> Escape {
    match hex(rest, 2) {
        Number::Whole(value @ (0x20..=0x7e | 0x09 | 0x0a | 0x0d)) => whole(3, char::from_u32(value)),
        Number::Partial => Escape::Partial,
        _ => Escape::Plain,
    }
}

fn backslash(rest: &[u8]) -> Escape {
    let Some((kind, rest)) = rest.split_first() else { return Escape::Partial };
    let simple = match kind {
        b'n' => Some('\n'),
        b'r' => Some('\r'),
        b't' => Some('\t'),
        b'"' | b'\'' | b'/' | b'\\' => Some(char::from(*kind)),
        _ => None,
    };
    match (kind, simple) {
        (_, Some(char)) => whole(2, Some(char)),
        (b'x', _) => number(hex(rest, 2), 4),
        (b'u', _) => match rest.first() {
            Some(b'{') => braced(rest),
            _ => unicode(rest),
        },
        (b'U', _) => number(hex(rest, 8), 10),
        _ => Escape::Plain,
    }
}

fn unicode(rest: &[u8]) -> Escape {
    match hex(rest, 4) {
        Number::Whole(high @ 0xd800..=0xdbff) => match rest.get(4..).unwrap_or_default() {
            [b'\\', b'u', low @ ..] => match hex(low, 4) {
                Number::Whole(low @ 0xdc00..=0xdfff) => {
                    whole(12, char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)))
                }
                Number::Partial => Escape::Partial,
                _ => Escape::Plain,
            },
            [] | [b'\\'] => Escape::Partial,
            _ => Escape::Plain,
        },
        other => number(other, 6),
    }
}

/// `\u{41}`, of up to six digits.
fn braced(rest: &[u8]) -> Escape {
    let digits = rest.get(1..).unwrap_or_default();
    let count = digits.iter().take(7).take_while(|digit| hex_digit(**digit).is_some()).count();
    match (count, digits.get(count)) {
        (1..=6, Some(b'}')) => number(hex(digits, count), count.saturating_add(4)),
        (0..=6, None) => Escape::Partial,
        _ => Escape::Plain,
    }
}

fn without_width(text: &[u8]) -> Escape {
    const NOTHING: [&[u8]; 15] = [
        b"\xc2\xad",
        b"\xe1\xa0\x8e",
        b"\xe2\x80\x8b",
        b"\xe2\x80\x8c",
        b"\xe2\x80\x8d",
        b"\xe2\x80\x8e",
        b"\xe2\x80\x8f",
        b"\xe2\x81\xa0",
        b"\xe2\x81\xa1",
        b"\xe2\x81\xa2",
        b"\xe2\x81\xa3",
        b"\xe2\x81\xa4",
        b"\xe2\x80\xaa",
        b"\xe2\x80\xac",
        b"\xef\xbb\xbf",
    ];
    if let Some(nothing) = NOTHING.iter().find(|nothing| text.starts_with(nothing)) {
        return whole(nothing.len(), None);
    }
    if NOTHING.iter().any(|nothing| nothing.starts_with(text)) { Escape::Partial } else { Escape::Plain }
}

enum Number {
    Whole(u32),
    Partial,
    None,
}

fn hex(text: &[u8], digits: usize) -> Number {
    let mut value = 0_u32;
    for at in 0..digits {
        match text.get(at).map(|byte| hex_digit(*byte)) {
            Some(Some(digit)) => value = value << 4 | u32::from(digit),
            Some(None) => return Number::None,
            None => return Number::Partial,
        }
    }
    Number::Whole(value)
}

fn number(number: Number, len: usize) -> Escape {
    match number {
        Number::Whole(value) => match char::from_u32(value) {
            Some(char) => whole(len, Some(char)),
            None => Escape::Plain,
        },
        Number::Partial => Escape::Partial,
        Number::None => Escape::Plain,
    }
}

fn whole(len: usize, char: Option<char>) -> Escape {
    Escape::Whole { len, text: Text::of(char) }
}

// === impl Text ===

impl Text {
    fn of(char: Option<char>) -> Self {
        let mut bytes = [0; 4];
        let len = char.map_or(0, |char| char.encode_utf8(&mut bytes).len());
        Self { bytes, len: u8::try_from(len).unwrap_or(0) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<(usize, &str)>) {
        let Some((len, meant)) = expect else {
            assert_eq!(read(text.as_bytes(), true), Escape::Plain, "{text:?}");
            return;
        };
        match read(text.as_bytes(), false) {
            Escape::Whole { len: found, text: decoded } => {
                assert_eq!((found, decoded.bytes()), (len, meant.as_bytes()))
            }
            other => panic!("{text:?}: {other:?}"),
        }
        assert!(len <= ESCAPE_BYTES_MAX);
        for cut in 1..len {
            let part = &text.as_bytes()[..cut];
            assert_eq!(read(part, false), Escape::Partial, "{:?}", String::from_utf8_lossy(part));
            assert_eq!(read(part, true), Escape::Plain);
        }
    }

    #[test]
    fn escapes_are_taken_back() {
        for (text, expect) in [
            ("%41", Some((3, "A"))),
            ("%00", None),
            ("%zz", None),
            ("100% sure", None),
            ("\\n", Some((2, "\n"))),
            ("\\/", Some((2, "/"))),
            ("\\x41", Some((4, "A"))),
            ("\\u0041", Some((6, "A"))),
            ("\\u00e9", Some((6, "é"))),
            ("\\ud83d\\udd11", Some((12, "🔑"))),
            ("\\ud83dxx", None),
            ("\\u{41}", Some((6, "A"))),
            ("\\u{}", None),
            ("\\U00000041", Some((10, "A"))),
            ("\\d", None),
            ("\u{200b}", Some((3, ""))),
            ("\u{feff}", Some((3, ""))),
            ("\u{ad}", Some((2, ""))),
            ("\u{201c}", None),
        ] {
            check(text, expect);
        }
    }
}
