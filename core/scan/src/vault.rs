//! What placeholders stand for, for as long as one request and its answer take; sealed, for longer and for other replicas.
//!
//! A vault is filled by the scan of each request, as [`crate::placeholder`] tells. It need not be kept. Where it is nevertheless, for a
//! conversation that a client continues by an id instead of sending it again, it is sealed by AES-256-GCM under a key of the session, with
//! a nonce that is an HMAC of what is sealed: two different contents do not meet under one nonce, and no randomness is needed.

use std::{collections::HashMap, fmt};

use aes_gcm::{
    Aes256Gcm, Nonce,
    aead::{Aead as _, KeyInit as _, Payload},
};
use hmac::Mac;
use zeroize::Zeroizing;

use crate::{
    finding::{Key, keyed},
    placeholder::{self, At, PLACEHOLDER_BYTES, PREFIX, Placeholder},
};

/// A conversation with more secrets than this is not one to be worked on through placeholders.
const SECRETS_MAX: usize = 1_024;
/// All secrets of a vault together.
const SECRET_BYTES_MAX: usize = 1024 * 1024;
const NONCE_BYTES: usize = 12;
const SEAL_CONTEXT: &[u8] = b"tollgate-scan-vault-v1";

/// The key of one session, from which placeholders and seals are made.
#[derive(Clone)]
pub struct SessionKey(Zeroizing<Key>);

/// Placeholders and their secrets.
pub struct Vault {
    key: SessionKey,
    secrets: HashMap<Placeholder, Zeroizing<Vec<u8>>>,
    bytes: usize,
}

/// A sealed vault does not open: it was made under another key, or changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the sealed placeholders do not open with this session's key")]
pub struct SealBroken;

/// In what a secret is put back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// Plain text: as it was.
    Text,
    /// Within a string of JSON, as the arguments of a tool are streamed: with JSON's escapes.
    JsonString,
    /// Within a string of JSON that is itself written in a string of JSON.
    NestedJsonString,
}

/// Puts secrets back into a text that arrives in pieces.
#[derive(Debug)]
pub struct Restorer {
    form: Form,
    /// The beginning of what may be a placeholder.
    held: Vec<u8>,
    /// How many were put back.
    pub restored: usize,
    /// How many looked like one and are not known.
    pub unknown: usize,
}

// === impl SessionKey ===

impl SessionKey {
    /// The key of the session `session` (tenant, key and session id, unambiguously joined), from a key that all replicas share.
    #[must_use]
    pub fn derive(master: &[u8; 32], session: &[u8]) -> Self {
        Self::labelled(master, b"tollgate scan session v1\0", session)
    }

    fn labelled(master: &Key, label: &[u8], context: &[u8]) -> Self {
        let mut mac = keyed(master);
        mac.update(label);
        mac.update(context);
        Self(Zeroizing::new(mac.finalize().into_bytes().into()))
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionKey(***)")
    }
}

// === impl Vault ===

impl Vault {
    /// An empty one.
    #[must_use]
    pub fn new(key: SessionKey) -> Self {
        Self { key, secrets: HashMap::new(), bytes: 0 }
    }

    /// The placeholder of a secret, which is kept; `None` when there is no room, and it must be redacted instead.
    pub fn tokenize(&mut self, secret: &[u8]) -> Option<Placeholder> {
        let placeholder = Placeholder::of(&self.key.0, secret);
        if self.secrets.contains_key(&placeholder) {
            return Some(placeholder);
        }
        let bytes = self.bytes.saturating_add(secret.len());
        if self.secrets.len() >= SECRETS_MAX || bytes > SECRET_BYTES_MAX {
            return None;
        }
        self.bytes = bytes;
        self.secrets.insert(placeholder, Zeroizing::new(secret.to_vec()));
        Some(placeholder)
    }

    /// The secret of a placeholder.
    #[must_use]
    pub fn secret(&self, placeholder: &Placeholder) -> Option<&[u8]> {
        self.secrets.get(placeholder).map(|secret| secret.as_slice())
    }

    /// How many secrets it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Puts the secrets back into a whole text.
    #[must_use]
    pub fn restore(&self, form: Form, text: &[u8]) -> Vec<u8> {
        let (mut restorer, mut out) = (Restorer::new(form), Vec::with_capacity(text.len()));
        restorer.push(self, text, &mut out);
        restorer.finish(&mut out);
        out
    }

    /// Seals it, for a vault of the same session elsewhere.
    ///
    /// # Errors
    /// When it is larger than the cipher takes, which its bounds prevent.
    pub fn seal(&self) -> Result<Vec<u8>, SealBroken> {
        let mut all: Vec<_> = self.secrets.iter().collect();
        all.sort_unstable_by_key(|(placeholder, _)| **placeholder);
        let mut plain = Zeroizing::new(Vec::with_capacity(self.bytes.saturating_add(all.len().saturating_mul(28))));
        for (placeholder, secret) in all {
            plain.extend_from_slice(placeholder.letters());
            plain.extend_from_slice(&u32::try_from(secret.len()).map_err(|_| SealBroken)?.to_be_bytes());
            plain.extend_from_slice(secret);
        }
        let mut nonce = [0; NONCE_BYTES];
        let mut mac = keyed(&SessionKey::labelled(&self.key.0, b"tollgate scan nonce v1\0", b"").0);
        mac.update(&plain);
        nonce.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(slot, byte)| *slot = byte);
        let payload = Payload { msg: &plain, aad: SEAL_CONTEXT };
        let sealed = self.cipher().encrypt(&Nonce::from(nonce), payload).map_err(|_| SealBroken)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens a sealed one.
    ///
    /// # Errors
    /// When it was sealed in another session, or changed.
    pub fn open(key: SessionKey, sealed: &[u8]) -> Result<Self, SealBroken> {
        let mut vault = Self::new(key);
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SealBroken)?;
        let payload = Payload { msg: sealed, aad: SEAL_CONTEXT };
        let plain =
            vault.cipher().decrypt(&Nonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| SealBroken)?;
        let mut rest = plain.as_slice();
        while let Some((letters, behind)) = rest.split_first_chunk() {
            let (len, behind) = behind.split_first_chunk().ok_or(SealBroken)?;
            let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| SealBroken)?;
            let (secret, behind) = behind.split_at_checked(len).ok_or(SealBroken)?;
            vault.bytes = vault.bytes.saturating_add(len);
            vault.secrets.insert(Placeholder::from_letters(*letters), Zeroizing::new(secret.to_vec()));
            rest = behind;
        }
        Ok(vault)
    }

    fn cipher(&self) -> Aes256Gcm {
        let key = SessionKey::labelled(&self.key.0, b"tollgate scan seal v1\0", b"");
        Aes256Gcm::new(&(*key.0).into())
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Vault").field("secrets", &self.secrets.len()).finish_non_exhaustive()
    }
}

// === impl Restorer ===

impl Restorer {
    /// One for a new text.
    #[must_use]
    pub const fn new(form: Form) -> Self {
        Self { form, held: Vec::new(), restored: 0, unknown: 0 }
    }

    /// Takes the next bytes, and appends to `out` what may go on; fewer than [`PLACEHOLDER_BYTES`] are held back.
    pub fn push(&mut self, vault: &Vault, bytes: &[u8], out: &mut Vec<u8>) {
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(bytes);
        let mut rest = text.as_slice();
        while let Some(at) = memchr::memchr(b'T', rest) {
            let (before, from) = rest.split_at_checked(at).unwrap_or((rest, &[]));
            out.extend_from_slice(before);
            rest = match placeholder::read(from) {
                At::Placeholder(placeholder) => {
                    self.put(vault, &placeholder, out);
                    from.get(PLACEHOLDER_BYTES..).unwrap_or_default()
                }
                At::Partial => {
                    self.held = from.to_vec();
                    return;
                }
                At::Other => {
                    out.push(b'T');
                    from.get(1..).unwrap_or_default()
                }
            };
        }
        out.extend_from_slice(rest);
    }

    /// Ends the text.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }

    fn put(&mut self, vault: &Vault, placeholder: &Placeholder, out: &mut Vec<u8>) {
        match (vault.secret(placeholder), self.form) {
            (Some(secret), Form::Text) => out.extend_from_slice(secret),
            (Some(secret), Form::JsonString) => secret.iter().for_each(|byte| json_byte(*byte, out)),
            (Some(secret), Form::NestedJsonString) => {
                let mut inner = Zeroizing::new(Vec::with_capacity(secret.len()));
                secret.iter().for_each(|byte| json_byte(*byte, &mut inner));
                inner.iter().for_each(|byte| json_byte(*byte, out));
            }
            (None, _) => {
                self.unknown = self.unknown.saturating_add(1);
                out.extend_from_slice(PREFIX);
                out.extend_from_slice(placeholder.letters());
                return;
            }
        }
        self.restored = self.restored.saturating_add(1);
    }
}

/// RFC 8259, section 7: what must be escaped within a string.
fn json_byte(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' => out.extend([b'\\', byte]),
        b'\n' => out.extend(b"\\n"),
        b'\r' => out.extend(b"\\r"),
        b'\t' => out.extend(b"\\t"),
        0..=0x1f => out.extend(format!("\\u{byte:04x}").bytes()),
        _ => out.push(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &[u8] = b"line \"one\"\nline\\two\x01";

    fn vault() -> Vault {
        Vault::new(SessionKey::derive(&[3; 32], b"a session"))
    }

    fn restored(vault: &Vault, form: Form, pieces: &[&[u8]]) -> Vec<u8> {
        let (mut restorer, mut out) = (Restorer::new(form), Vec::new());
        for piece in pieces {
            restorer.push(vault, piece, &mut out);
            assert!(restorer.held.len() < PLACEHOLDER_BYTES);
        }
        restorer.finish(&mut out);
        out
    }

    #[test]
    fn a_secret_is_put_back_wherever_the_text_is_cut() {
        let mut vault = vault();
        let token = vault.tokenize(SECRET).unwrap().text();
        let text = format!("T TOLL {token}{token} TOLLGATE_SECRET_x {}", &token[..30]);
        for form in [Form::Text, Form::JsonString, Form::NestedJsonString] {
            let whole = vault.restore(form, text.as_bytes());
            let once = "line \\\"one\\\"\\nline\\\\two\\u0001";
            let secret = match form {
                Form::Text => String::from_utf8_lossy(SECRET).into_owned(),
                Form::JsonString => once.to_owned(),
                Form::NestedJsonString => once.replace('\\', "\\\\").replace('"', "\\\""),
            };
            assert_eq!(String::from_utf8_lossy(&whole), text.replace(&token, &secret));
            for cut in 0..=text.len() {
                let (one, two) = text.as_bytes().split_at(cut);
                assert_eq!(restored(&vault, form, &[one, two]), whole, "cut at {cut}");
            }
            assert_eq!(restored(&vault, form, &text.as_bytes().chunks(1).collect::<Vec<_>>()), whole);
        }
    }

    #[test]
    fn a_sealed_vault_opens_in_its_session_only() {
        let mut vault = vault();
        let one = vault.tokenize(SECRET).unwrap();
        vault.tokenize(b"another").unwrap();
        let sealed = vault.seal().unwrap();
        assert_eq!(vault.seal().unwrap(), sealed);
        assert!(!sealed.windows(7).any(|part| part == b"another"));
        let open = |session: &[u8], sealed: &[u8]| Vault::open(SessionKey::derive(&[3; 32], session), sealed);
        assert_eq!(open(b"a session", &sealed).unwrap().secret(&one), Some(SECRET));
        assert_eq!(open(b"b session", &sealed).unwrap_err(), SealBroken);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(b"a session", &changed).unwrap_err(), SealBroken, "byte {at}");
        }
    }

    #[test]
    fn a_placeholder_of_another_session_stays_and_a_full_vault_says_so() {
        let foreign = Vault::new(SessionKey::derive(&[3; 32], b"other")).tokenize(SECRET).unwrap().text();
        let mut vault = vault();
        assert_eq!(vault.restore(Form::Text, foreign.as_bytes()), foreign.as_bytes());
        assert!(vault.tokenize(&vec![b'x'; SECRET_BYTES_MAX + 1]).is_none());
        for number in 0..SECRETS_MAX {
            assert!(vault.tokenize(number.to_string().as_bytes()).is_some());
        }
        assert!(vault.tokenize(b"one more").is_none());
        assert!(vault.tokenize(b"7").is_some());
        assert_eq!(format!("{vault:?} {:?}", vault.key), "Vault { secrets: 1024, .. } SessionKey(***)");
    }

    proptest! {
        #[test]
        fn text_without_placeholders_passes_unchanged(text in "[TOLGAE_SCR2x]{0,80}", cut in 0_usize..80) {
            let cut = cut.min(text.len());
            let (one, two) = text.as_bytes().split_at(cut);
            prop_assert_eq!(restored(&vault(), Form::Text, &[one, two]), text.as_bytes());
        }
    }
}
