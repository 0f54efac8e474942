//! What was found: which rule, where, and a keyed fingerprint; never the value.

use std::{cmp::Reverse, fmt, ops::Range};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Half of an HMAC-SHA256: no two secrets of one installation share it by accident.
const FINGERPRINT_BYTES: usize = 16;
/// A key of HMAC-SHA256.
pub(crate) type Key = [u8; 32];
const FINGERPRINT_DOMAIN: &[u8] = b"tollgate scan fingerprint v1\0";

/// A secret in a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The rule, for [`crate::RuleSet::rule`] of the set that found it.
    pub rule: RuleIndex,
    /// The bytes of the text that the secret takes. Where it was encoded, these are the encoded bytes.
    pub range: Range<usize>,
    /// The same for the same secret under the same key.
    pub fingerprint: Fingerprint,
    /// It stood in an encoded part of the text, or with escapes in it.
    pub is_encoded: bool,
    /// It was longer than a match may be, and was cut there; what follows of it counts to the range.
    pub(crate) is_open: bool,
}

/// A rule of one compiled set.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RuleIndex(pub(crate) u32);

/// Names a secret without telling it: a truncated HMAC-SHA256 under a key of the installation.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fingerprint([u8; FINGERPRINT_BYTES]);

/// The key under which fingerprints are made. Whoever has it can test guesses.
#[derive(Clone)]
pub struct FingerprintKey(Hmac<Sha256>);

// === impl Finding ===

impl Finding {
    /// The same in a text that begins so many bytes before.
    #[must_use]
    pub fn moved(&self, by: usize) -> Self {
        let range = self.range.start.saturating_add(by)..self.range.end.saturating_add(by);
        Self { range, ..self.clone() }
    }

    /// Where it begins, then the longest first. Of two readings that have it at the same place, that with escapes taken back is first,
    /// whichever was decided first: its fingerprint is that of the secret wherever it stands.
    pub(crate) fn order(&self) -> (usize, Reverse<usize>, RuleIndex, Reverse<bool>, Fingerprint) {
        let Self { rule, range, fingerprint, is_encoded, .. } = self;
        (range.start, Reverse(range.end), *rule, Reverse(*is_encoded), *fingerprint)
    }
}

// === impl RuleIndex ===

impl RuleIndex {
    /// Its number among the rules of its set, from 0.
    #[must_use]
    pub fn number(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

// === impl Fingerprint ===

impl Fingerprint {
    /// Reads what [`fmt::Display`] writes; `None` where it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.bytes().map(hex_digit).collect::<Option<_>>()?;
        let bytes: Vec<u8> =
            digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |high, low| high << 4 | low)).collect();
        (text.len() == 2 * FINGERPRINT_BYTES).then(|| bytes.try_into().ok().map(Self))?
    }

    /// The same as bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; FINGERPRINT_BYTES] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

pub(crate) const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

// === impl FingerprintKey ===

impl FingerprintKey {
    /// A key from bytes that the caller keeps secret.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        let mut mac = keyed(key);
        mac.update(FINGERPRINT_DOMAIN);
        Self(mac)
    }

    /// The fingerprint of a secret.
    #[must_use]
    pub fn fingerprint(&self, secret: &[u8]) -> Fingerprint {
        let mut mac = self.0.clone();
        mac.update(secret);
        let mut bytes = [0; FINGERPRINT_BYTES];
        bytes.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(slot, byte)| *slot = byte);
        Fingerprint(bytes)
    }
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FingerprintKey(***)")
    }
}

/// HMAC-SHA256 under a key of its own block size or less, which it always takes.
pub(crate) fn keyed(key: &Key) -> Hmac<Sha256> {
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block.iter_mut().zip(key).for_each(|(slot, byte)| *slot = *byte);
    Hmac::new(&block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_readings_of_one_secret_that_without_escapes_is_first() {
        let key = FingerprintKey::new(&[7; 32]);
        let finding = |secret: &[u8], is_encoded| Finding {
            rule: RuleIndex(1),
            range: 3..9,
            fingerprint: key.fingerprint(secret),
            is_encoded,
            is_open: false,
        };
        for secrets in [[b"a\n", b"a\r"], [b"a\r", b"a\n"]] {
            let [plain, taken] = secrets;
            assert!(finding(taken, true).order() < finding(plain, false).order());
            assert_ne!(finding(taken, true).order(), finding(plain, true).order());
        }
    }
}
