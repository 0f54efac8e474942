//! What stands for a secret in the text that goes on: a mark that says which rule (redaction), or a placeholder that can be taken back.
//!
//! A placeholder is a tag and nothing else: an HMAC of the secret under a key of the session. So the same secret becomes the same
//! placeholder in every turn and on every replica, which prompt caches and preserved thinking need, and nobody can make the placeholder of
//! a secret they do not know. Its letters survive JSON, shells, URLs and names in programs as they are, and its length is fixed, so that
//! it is found in a stream that is cut anywhere. The secret itself is not in it: sealed into the text, a private key would cost a thousand
//! tokens in each turn, and a model would not repeat it faithfully.
//!
//! What it stands for is known without storing anything: an agent sends its whole conversation in every turn, with the secrets that its
//! files hold, so the scan of each request meets each secret whose placeholder the answer can name, and fills the [`crate::Vault`] anew.

use hmac::Mac;

use crate::finding::{Key, keyed};

/// What each placeholder begins with.
pub(crate) const PREFIX: &[u8] = b"TOLLGATE_SECRET_";
const TAG_LETTERS: usize = 24;
/// The length of each placeholder.
pub const PLACEHOLDER_BYTES: usize = PREFIX.len() + TAG_LETTERS;
/// Five bits a letter; none is mistaken for another in upper case.
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const REDACTED: &[u8] = b"[REDACTED:";

/// A tag of 120 bits that stands for a secret.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Placeholder([u8; TAG_LETTERS]);

/// What a redacted secret becomes.
#[must_use]
pub fn redaction(rule: &str) -> String {
    format!("[REDACTED:{rule}]")
}

/// What stands at the beginning of a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum At {
    Placeholder(Placeholder),
    /// It may become one with more text.
    Partial,
    Other,
}

// === impl Placeholder ===

impl Placeholder {
    pub(crate) fn of(key: &Key, secret: &[u8]) -> Self {
        let mut mac = keyed(key);
        mac.update(b"tollgate scan placeholder v1\0");
        mac.update(secret);
        let tag = mac.finalize().into_bytes();
        let mut letters = [b'A'; TAG_LETTERS];
        for (group, bytes) in letters.chunks_mut(8).zip(tag.chunks(5)) {
            let bits = bytes.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            for (slot, shift) in group.iter_mut().zip([35, 30, 25, 20, 15, 10, 5, 0]) {
                *slot = LETTERS.get(usize::try_from(bits >> shift & 31).unwrap_or(0)).copied().unwrap_or(b'A');
            }
        }
        Self(letters)
    }

    /// What is written into the text.
    #[must_use]
    pub fn text(&self) -> String {
        [PREFIX, &self.0].concat().into_iter().map(char::from).collect()
    }

    pub(crate) const fn letters(&self) -> &[u8; TAG_LETTERS] {
        &self.0
    }

    pub(crate) const fn from_letters(letters: [u8; TAG_LETTERS]) -> Self {
        Self(letters)
    }
}

/// Reads what stands at the beginning of `text`.
pub(crate) fn read(text: &[u8]) -> At {
    let head = text.get(..PREFIX.len().min(text.len())).unwrap_or_default();
    if !PREFIX.starts_with(head) {
        return At::Other;
    }
    let letters = text.get(PREFIX.len()..).unwrap_or_default();
    let letters = letters.get(..TAG_LETTERS.min(letters.len())).unwrap_or_default();
    if !letters.iter().all(|letter| LETTERS.contains(letter)) {
        return At::Other;
    }
    <[u8; TAG_LETTERS]>::try_from(letters).map_or(At::Partial, |letters| At::Placeholder(Placeholder(letters)))
}

/// Whether a secret is nothing but placeholders and marks of redaction: what this crate put into the text is not found again.
pub(crate) fn is_all(secret: &[u8]) -> bool {
    let mut rest = secret;
    let mut any = false;
    while let Some(first) = rest.first() {
        let taken = match read(rest) {
            At::Placeholder(_) => PLACEHOLDER_BYTES,
            _ if rest.starts_with(REDACTED) => rest.iter().position(|byte| *byte == b']').map_or(0, |end| end + 1),
            _ if !first.is_ascii_alphanumeric() => 1,
            _ => 0,
        };
        any |= taken > 1;
        match rest.get(taken..).filter(|_| taken > 0) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_the_same_for_the_same_secret_and_reads_back() {
        let one = Placeholder::of(&[1; 32], b"a secret");
        assert_eq!(one, Placeholder::of(&[1; 32], b"a secret"));
        assert_ne!(one, Placeholder::of(&[2; 32], b"a secret"));
        assert_ne!(one, Placeholder::of(&[1; 32], b"b secret"));
        let text = one.text();
        assert_eq!(text.len(), PLACEHOLDER_BYTES);
        assert_eq!(read(text.as_bytes()), At::Placeholder(one));
        for cut in 0..text.len() {
            assert_eq!(read(&text.as_bytes()[..cut]), At::Partial, "{cut}");
        }
        assert_eq!(read(b"TOLLGATE_SECRET_a"), At::Other);
    }

    #[test]
    fn what_stands_for_a_secret_is_no_secret() {
        let text = Placeholder::of(&[1; 32], b"a secret").text();
        for (secret, expect) in [
            (text.clone(), true),
            (format!("{text}={text}"), true),
            (redaction("acme-key"), true),
            (format!("{text}abc"), false),
            ("abc".to_owned(), false),
            ("---".to_owned(), false),
        ] {
            assert_eq!(is_all(secret.as_bytes()), expect, "{secret}");
        }
    }
}
