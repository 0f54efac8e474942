//! Sealing secrets at rest: AES-256-GCM under a data key of each secret's own, which the key-encryption key wraps.
//!
//! Both layers authenticate where the secret stands (its purpose and its id), so that a row that is copied elsewhere does not
//! open. Each secret remembers which key-encryption key wrapped it; changing that key wraps the data keys again and leaves the
//! secrets as they are.

use std::fmt;

use aes_gcm::{
    Aes256Gcm, Nonce,
    aead::{Aead as _, KeyInit as _, Payload},
};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The length of a key-encryption key and of a data key, in bytes.
pub const KEY_BYTES: usize = 32;

// NIST SP 800-38D: a random nonce of 96 bits. A data key seals once, a key-encryption key far fewer than 2^32 times.
const NONCE_BYTES: usize = 12;
const KEY_ID_BYTES: usize = 8;
const SECRET_CONTEXT: &str = "tollgate-secret-v1";
const WRAP_CONTEXT: &str = "tollgate-wrap-v1";

/// The key-encryption keys: the current one seals, all of them open.
pub struct Keyring {
    current: KeyEncryptionKey,
    previous: Option<KeyEncryptionKey>,
}

struct KeyEncryptionKey {
    id: String,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

/// Where a secret stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place<'a> {
    /// What the secret is for.
    pub purpose: &'a str,
    /// Which one of that purpose.
    pub id: &'a str,
}

/// A sealed secret.
#[derive(Clone, Eq, PartialEq)]
pub struct Sealed {
    /// The key-encryption key.
    pub key_id: String,
    /// Nonce and sealed data key.
    pub wrapped_key: Vec<u8>,
    /// Nonce and sealed secret.
    pub sealed: Vec<u8>,
}

/// Why a secret could not be sealed or opened.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SealError {
    /// A key-encryption key is not 64 hexadecimal digits.
    #[error("an encryption key must be 64 hexadecimal digits")]
    Key,
    /// The secret was sealed under a key that this control plane was not given.
    #[error("sealed under encryption key {0}, which is not configured")]
    UnknownKey(String),
    /// The bytes were changed, moved from another row, or sealed under another key of the same id.
    #[error("the sealed secret does not open: it was changed or moved")]
    Broken,
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system")]
    Randomness,
}

// === impl Keyring ===

impl Keyring {
    /// A keyring of the current key-encryption key and, during a rotation, the one before.
    #[must_use]
    pub fn new(current: Zeroizing<[u8; KEY_BYTES]>, previous: Option<Zeroizing<[u8; KEY_BYTES]>>) -> Self {
        Self { current: KeyEncryptionKey::new(current), previous: previous.map(KeyEncryptionKey::new) }
    }

    /// Reads a key-encryption key.
    ///
    /// # Errors
    /// Refuses what is not 64 hexadecimal digits, and a key whose bytes are all the same.
    pub fn parse_key(text: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, SealError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        hex::decode_to_slice(text.trim(), key.as_mut_slice()).map_err(|_| SealError::Key)?;
        let first = key.first().copied();
        if key.iter().all(|byte| Some(*byte) == first) { Err(SealError::Key) } else { Ok(key) }
    }

    /// Names the current key-encryption key; says nothing about its bytes.
    #[must_use]
    pub fn current_id(&self) -> &str {
        &self.current.id
    }

    /// Seals a secret for its place.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn seal(&self, place: Place<'_>, secret: &[u8]) -> Result<Sealed, SealError> {
        let data_key = random_key()?;
        Ok(Sealed {
            key_id: self.current.id.clone(),
            wrapped_key: encrypt(&self.current.key, &place.context(WRAP_CONTEXT), data_key.as_slice())?,
            sealed: encrypt(&data_key, &place.context(SECRET_CONTEXT), secret)?,
        })
    }

    /// Opens a secret at its place.
    ///
    /// # Errors
    /// Says whether the key is missing or the secret does not open.
    pub fn open(&self, place: Place<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let data_key = self.unwrap_key(place, sealed)?;
        decrypt(&data_key, &place.context(SECRET_CONTEXT), &sealed.sealed)
    }

    /// The same secret under the current key-encryption key.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn rewrap(&self, place: Place<'_>, sealed: &Sealed) -> Result<Sealed, SealError> {
        let data_key = self.unwrap_key(place, sealed)?;
        let wrapped_key = encrypt(&self.current.key, &place.context(WRAP_CONTEXT), data_key.as_slice())?;
        Ok(Sealed { key_id: self.current.id.clone(), wrapped_key, sealed: sealed.sealed.clone() })
    }

    fn unwrap_key(&self, place: Place<'_>, sealed: &Sealed) -> Result<Zeroizing<[u8; KEY_BYTES]>, SealError> {
        let keys = [Some(&self.current), self.previous.as_ref()];
        let key = keys.into_iter().flatten().find(|key| key.id == sealed.key_id);
        let key = key.ok_or_else(|| SealError::UnknownKey(sealed.key_id.clone()))?;
        let bytes = decrypt(&key.key, &place.context(WRAP_CONTEXT), &sealed.wrapped_key)?;
        let mut data_key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return Err(SealError::Broken);
        }
        data_key.copy_from_slice(&bytes);
        Ok(data_key)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({})", self.current.id)
    }
}

// === impl KeyEncryptionKey ===

impl KeyEncryptionKey {
    fn new(key: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_slice()) else {
            unreachable!("HMAC takes a key of any length")
        };
        mac.update(b"tollgate-key-id-v1");
        let id = mac.finalize().into_bytes();
        Self { id: hex::encode(id.get(..KEY_ID_BYTES).unwrap_or_default()), key }
    }
}

// === impl Place ===

impl Place<'_> {
    // Lengths before texts: no two places share a context.
    fn context(self, version: &str) -> Vec<u8> {
        let mut context = Vec::new();
        for part in [version, self.purpose, self.id] {
            context.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.extend_from_slice(part.as_bytes());
        }
        context
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({})", self.key_id)
    }
}

/// 256 random bits from the operating system.
///
/// # Errors
/// [`SealError::Randomness`].
pub fn random_key() -> Result<Zeroizing<[u8; KEY_BYTES]>, SealError> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    getrandom::fill(key.as_mut_slice()).map_err(|_| SealError::Randomness)?;
    Ok(key)
}

fn encrypt(key: &[u8; KEY_BYTES], context: &[u8], secret: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|_| SealError::Randomness)?;
    let payload = Payload { msg: secret, aad: context };
    let cipher = Aes256Gcm::new(&(*key).into());
    let sealed = cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_| SealError::Broken)?;
    Ok([nonce.as_slice(), &sealed].concat())
}

fn decrypt(key: &[u8; KEY_BYTES], context: &[u8], bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Broken)?;
    let cipher = Aes256Gcm::new(&(*key).into());
    let secret = cipher.decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: context });
    secret.map(Zeroizing::new).map_err(|_| SealError::Broken)
}

/// A keyring for the tests of this crate.
#[cfg(test)]
pub(crate) fn keyring_for_tests() -> std::sync::Arc<Keyring> {
    std::sync::Arc::new(Keyring::new(Zeroizing::new([7; KEY_BYTES]), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place { purpose: "credential", id: "one" };

    fn keyring(current: u8, previous: Option<u8>) -> Keyring {
        Keyring::new(Zeroizing::new([current; KEY_BYTES]), previous.map(|byte| Zeroizing::new([byte; KEY_BYTES])))
    }

    #[test]
    fn a_secret_opens_at_its_place_only() {
        let sealed = keyring(1, None).seal(PLACE, b"sk-canary").unwrap();
        assert_eq!(keyring(1, None).open(PLACE, &sealed).unwrap().as_slice(), b"sk-canary");
        for place in [Place { purpose: "credentia", id: "lone" }, Place { id: "two", ..PLACE }] {
            assert_eq!(keyring(1, None).open(place, &sealed), Err(SealError::Broken), "{place:?}");
        }
        let unknown = Err(SealError::UnknownKey(sealed.key_id.clone()));
        assert_eq!(keyring(2, None).open(PLACE, &sealed), unknown);
        assert!(!format!("{sealed:?}{:?}", keyring(1, None)).contains("canary"));
    }

    #[test]
    fn each_changed_byte_is_noticed() {
        let sealed = keyring(1, None).seal(PLACE, b"sk-canary").unwrap();
        for at in 0..sealed.wrapped_key.len() + sealed.sealed.len() {
            let mut changed = sealed.clone();
            match at.checked_sub(changed.wrapped_key.len()) {
                None => changed.wrapped_key[at] ^= 1,
                Some(at) => changed.sealed[at] ^= 1,
            }
            assert_eq!(keyring(1, None).open(PLACE, &changed), Err(SealError::Broken), "changed at {at}");
        }
        let short = Sealed { sealed: vec![0; 5], ..sealed };
        assert_eq!(keyring(1, None).open(PLACE, &short), Err(SealError::Broken));
    }

    #[test]
    fn a_rotated_key_opens_what_the_old_one_sealed() {
        let sealed = keyring(1, None).seal(PLACE, b"sk-canary").unwrap();
        let rotated = keyring(2, Some(1));
        let rewrapped = rotated.rewrap(PLACE, &sealed).unwrap();
        assert_eq!(rewrapped.key_id, rotated.current_id());
        assert_eq!(keyring(2, None).open(PLACE, &rewrapped).unwrap().as_slice(), b"sk-canary");
    }

    #[test]
    fn an_encryption_key_is_64_digits_and_not_trivial() {
        assert!(Keyring::parse_key(&"0123456789abcdef".repeat(4)).is_ok());
        for bad in ["", "00", &"0".repeat(64), &"f".repeat(64), &"g".repeat(64), &"ab".repeat(33)] {
            assert!(Keyring::parse_key(bad).is_err(), "{bad}");
        }
    }
}
