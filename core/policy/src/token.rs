//! The virtual key that a client presents: `tg_<environment>_<id>_<secret>_<crc32>`.
//!
//! `<environment>` is 1 to 16 of `a-z 0-9`; `<id>` is the ULID of the key's id; `<secret>` is 256 random bits in lower-case
//! base 32 (RFC 4648 alphabet, unpadded: 52 characters); `<crc32>` is the CRC-32 (IEEE) of all before its underscore, as
//! eight hexadecimal digits. The checksum rejects junk before anything is hashed, and lets secret scanners match a key with
//! certainty. Only the HMAC of a key is ever stored or shipped.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::id::{KeyId, ULID_LENGTH};

/// With what every virtual key begins.
pub const PREFIX: &str = "tg_";
/// The random part, in bytes.
pub const SECRET_BYTES: usize = 32;
/// The shortest pepper that is accepted, in bytes.
pub const PEPPER_BYTES_MIN: usize = 32;

const SECRET_LENGTH: usize = 52;
const CHECKSUM_LENGTH: usize = 8;
const ENVIRONMENT_LENGTH_MAX: usize = 16;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A well-formed virtual key. Whether it is known is another question.
pub struct Token(Zeroizing<String>);

/// HMAC-SHA256 of a virtual key under the fleet's pepper: what is stored, shipped and looked up.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct KeyHash([u8; 32]);

/// The key under which virtual keys are hashed.
#[derive(Clone)]
pub struct Pepper(Zeroizing<Vec<u8>>);

/// A text that is not a virtual key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidToken {
    /// It does not have the shape of a virtual key.
    #[error("not of the form tg_<environment>_<id>_<secret>_<checksum>")]
    Shape,
    /// It has the shape, but a character was lost or changed.
    #[error("the checksum does not match: a character was lost or changed")]
    Checksum,
}

/// A pepper that is too short to be one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a pepper needs at least 32 bytes")]
pub struct ShortPepper;

impl Token {
    /// Builds the virtual key of `id` from 256 random bits.
    ///
    /// # Errors
    /// Refuses an environment that is not 1 to 16 of `a-z 0-9`.
    pub fn mint(environment: &str, id: &KeyId, random: &[u8; SECRET_BYTES]) -> Result<Self, InvalidToken> {
        if !is_environment(environment) {
            return Err(InvalidToken::Shape);
        }
        let mut text = Zeroizing::new(format!("{PREFIX}{environment}_{}_", id.ulid()));
        push_base32(&mut text, random);
        let checksum = crc32fast::hash(text.as_bytes());
        text.push_str(&format!("_{checksum:08x}"));
        Ok(Self(text))
    }

    /// Parses what a client presented.
    ///
    /// # Errors
    /// Says whether the shape is wrong or only the checksum.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let mut parts = text.strip_prefix(PREFIX).ok_or(InvalidToken::Shape)?.split('_');
        let mut part = || parts.next().ok_or(InvalidToken::Shape);
        let (environment, id, secret, checksum) = (part()?, part()?, part()?, part()?);
        let lower = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
        let shaped = is_environment(environment)
            && id.len() == ULID_LENGTH
            && secret.len() == SECRET_LENGTH
            && checksum.len() == CHECKSUM_LENGTH
            && [id, secret, checksum].into_iter().all(lower)
            && parts.next().is_none();
        let (covered, _) = text.rsplit_once('_').ok_or(InvalidToken::Shape)?;
        if !shaped {
            return Err(InvalidToken::Shape);
        }
        if format!("{:08x}", crc32fast::hash(covered.as_bytes())) != checksum {
            return Err(InvalidToken::Checksum);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The whole secret: for showing it once, at creation.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The part that may be shown at any time, `tg_<environment>_<id>`.
    #[must_use]
    pub fn public_prefix(&self) -> &str {
        let hidden = SECRET_LENGTH + CHECKSUM_LENGTH + 2;
        self.0.len().checked_sub(hidden).and_then(|end| self.0.get(..end)).unwrap_or_default()
    }

    /// The hash under which the key is known.
    #[must_use]
    pub fn hash(&self, pepper: &Pepper) -> KeyHash {
        KeyHash(pepper.mac(self.0.as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_***", self.public_prefix())
    }
}

// === impl KeyHash ===

impl KeyHash {
    /// The hash with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are the same, in time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(***)")
    }
}

// === impl Pepper ===

impl Pepper {
    /// Takes a pepper.
    ///
    /// # Errors
    /// Refuses one that is shorter than 32 bytes.
    pub fn new(bytes: Vec<u8>) -> Result<Self, ShortPepper> {
        if bytes.len() < PEPPER_BYTES_MIN { Err(ShortPepper) } else { Ok(Self(Zeroizing::new(bytes))) }
    }

    /// The bytes: for handing the pepper to a replica, and for sealing it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// A key of its own for another use, which tells nothing of the pepper: for `label`, which is no virtual key.
    #[must_use]
    pub fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.mac(label.as_bytes()))
    }

    /// HMAC-SHA256 of `text` under the pepper.
    #[must_use]
    pub fn mac(&self, text: &[u8]) -> [u8; 32] {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            unreachable!("HMAC takes a key of any length")
        };
        mac.update(text);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(***)")
    }
}

fn is_environment(text: &str) -> bool {
    (1..=ENVIRONMENT_LENGTH_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
}

fn push_base32(text: &mut String, bytes: &[u8]) {
    let (mut buffer, mut bits) = (0u32, 0u32);
    let mut push = |index: u32| {
        let at = usize::try_from(index & 31).unwrap_or_default();
        text.push(char::from(ALPHABET.get(at).copied().unwrap_or_default()));
    };
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            push(buffer >> bits);
        }
        buffer &= (1 << bits) - 1;
    }
    if bits > 0 {
        push(buffer << (5 - bits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        let id = KeyId::from_ulid("01k9zq3v5m8c4t2n7r6x0w1y9b").unwrap();
        Token::mint("live", &id, &[7; 32]).unwrap()
    }

    #[test]
    fn a_minted_key_parses_and_names_its_id() {
        let minted = token();
        assert_eq!(minted.public_prefix(), "tg_live_01k9zq3v5m8c4t2n7r6x0w1y9b");
        assert_eq!(Token::parse(minted.expose()).unwrap().expose(), minted.expose());
        assert_eq!(format!("{minted:?}"), "tg_live_01k9zq3v5m8c4t2n7r6x0w1y9b_***");
    }

    #[test]
    fn each_changed_character_is_noticed() {
        let text = token().expose().to_owned();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            assert!(Token::parse(std::str::from_utf8(&bytes).unwrap()).is_err(), "changed at {at}");
        }
        for bad in ["", "tg_", "sk-ant-api03", &text[..text.len() - 1], &format!("{text}0"), &text.to_uppercase()] {
            assert!(Token::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_hash_depends_on_the_pepper() {
        let (one, two) = (Pepper::new(vec![1; 32]).unwrap(), Pepper::new(vec![2; 32]).unwrap());
        assert!(token().hash(&one).matches(&token().hash(&one)));
        assert!(!token().hash(&one).matches(&token().hash(&two)));
        assert!(Pepper::new(vec![1; 31]).is_err());
    }
}
