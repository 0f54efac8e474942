//! Ids and names in the letters that strict providers take.
//!
//! Some make ids such as `functions.Bash:0`, or let tools be called `github.search`; others refuse everything but letters, digits,
//! `_` and `-`. Such a word is spelled in those letters, always the same and reversibly, so that nothing need be remembered: a call
//! and its result still name each other, and a name comes back from the provider as the client wrote it.
//!
//! ```text
//! functions.Bash:0   functions_x2eBash_x3a0-tg
//! ```

use std::borrow::Cow;

/// How a spelled word ends.
const MARK: &str = "-tg";
/// How the hexadecimal digits of a byte begin.
const ESCAPE: &str = "_x";

/// The word in letters, digits, `_` and `-`; as it is where it has no others.
#[must_use]
pub fn spelled(word: &str) -> Cow<'_, str> {
    let is_plain = !word.is_empty() && word.bytes().all(is_letter);
    if is_plain && !word.ends_with(MARK) {
        return Cow::Borrowed(word);
    }
    let mut spelled = String::with_capacity(word.len() + 16);
    let mut rest = word.as_bytes();
    while let [byte, behind @ ..] = rest {
        // What looks like an escape and is none is escaped itself.
        if is_letter(*byte) && escaped(rest).is_none() {
            spelled.push(char::from(*byte));
        } else {
            spelled.push_str(ESCAPE);
            [byte >> 4, byte & 0x0f].iter().for_each(|half| spelled.extend(char::from_digit(u32::from(*half), 16)));
        }
        rest = behind;
    }
    spelled.push_str(MARK);
    Cow::Owned(spelled)
}

/// The word of which this is the spelling; itself where it is none.
#[must_use]
pub fn original(word: &str) -> Cow<'_, str> {
    unspelled(word).filter(|original| *spelled(original) == *word).map_or(Cow::Borrowed(word), Cow::Owned)
}

/// The word in letters, digits and those marks, of at most so many; another one, always the same, where it is not so itself.
pub(crate) fn shortened<'a>(word: &'a str, marks: &str, most: usize) -> Cow<'a, str> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || marks.contains(letter);
    if (1..=most).contains(&word.len()) && word.chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    let kept: String = word.chars().filter(|letter| is_plain(*letter)).take(most.saturating_sub(17)).collect();
    format!("{kept}_{:016x}", mark(&[word.as_bytes()])).into()
}

/// FNV-1a in 64 bits: tells texts apart that nobody made to collide, and is the same in every process.
pub(crate) fn mark(pieces: &[&[u8]]) -> u64 {
    let step = |mark: u64, byte: &u8| (mark ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    pieces.iter().flat_map(|piece| piece.iter()).fold(0xcbf2_9ce4_8422_2325, step)
}

fn unspelled(word: &str) -> Option<String> {
    let mut rest = word.strip_suffix(MARK)?.as_bytes();
    let mut original = Vec::with_capacity(rest.len());
    while let [first, behind @ ..] = rest {
        let (byte, behind) = escaped(rest).unwrap_or((*first, behind));
        original.push(byte);
        rest = behind;
    }
    String::from_utf8(original).ok()
}

// The byte whose escape stands at the beginning, and what follows it.
fn escaped(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = bytes.strip_prefix(ESCAPE.as_bytes())?.split_at_checked(2)?;
    let is_hex = digits.iter().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(digit));
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
    Some((u8::from_str_radix(digits, 16).ok()?, rest))
}

const fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_word_is_spelled_only_where_it_must_be() {
        for (word, expect) in [
            ("toolu_01AbC-x", "toolu_01AbC-x"),
            ("functions.Bash:0", "functions_x2eBash_x3a0-tg"),
            ("", "-tg"),
            ("é", "_xc3_xa9-tg"),
            ("a_x2eb", "a_x2eb"),
            ("a_x2e.b", "a_x5fx2e_x2eb-tg"),
            ("ends-tg", "ends-tg-tg"),
        ] {
            assert_eq!(spelled(word), expect);
            assert_eq!(original(expect), word);
        }
        // The spelling of nothing, since nobody would have spelled it so.
        for word in ["plain-tg", "a_x41-tg", "_xff-tg", "_x2-tg"] {
            assert_eq!(original(word), word);
        }
    }

    proptest! {
        #[test]
        fn every_word_comes_back(word in "([a-z_.:é-]|_x2e|-tg){0,12}", any in ".{0,8}") {
            for word in [word, any] {
                let there = spelled(&word);
                prop_assert!(!there.is_empty() && there.bytes().all(is_letter));
                prop_assert_eq!(original(&there), &*word);
            }
        }
    }
}
