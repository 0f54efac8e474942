//! A checkpoint: so long was the log, and this was the root of its tree. Whoever keeps one can tell later whether the log still
//! begins like that.
//!
//! It has the form of C2SP `tlog-checkpoint`, which is a C2SP `signed-note`, so that other programs can be its witness:
//!
//! ```text
//! tollgate/<log>                          the origin, the log in 32 hexadecimal digits
//! <size>
//! <root in base64>
//! time <Unix milliseconds>
//! hmac-sha256 <key> <MAC of the lines above in base64>
//!
//! — tollgate/<log> <key hash and Ed25519 signature in base64>
//! ```
//!
//! The MAC is among what is signed, so that a change of it shows to whoever has only the public key.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

use crate::{
    seal::{LogId, MacKey, MacKeyId},
    tree::Hash,
};

/// The longest note, in bytes: one takes 350, and during a rotation 650.
pub const NOTE_BYTES_MAX: usize = 4_096;
/// The length of an Ed25519 public key, in bytes.
pub const PUBLIC_KEY_BYTES: usize = 32;

const ORIGIN: &str = "tollgate/";
const ED25519_TYPE: u8 = 1;
const MAC: &str = "hmac-sha256 ";
const DASH: &str = "— ";
// A note has a few signatures; more are not read.
const SIGNATURES_MAX: usize = 8;

/// An Ed25519 public key.
pub type PublicKey = [u8; PUBLIC_KEY_BYTES];

/// How long the log was, and the root of its tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// The log.
    pub log: LogId,
    /// How many entries it had.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// When it was signed, in Unix milliseconds.
    pub time_ms: i64,
}

/// A checkpoint with its signatures. That they are good is another question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    checkpoint: Checkpoint,
    mac_key: MacKeyId,
    mac: Hash,
    signatures: Vec<Signature>,
    others: usize,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Signature {
    key: [u8; 4],
    bytes: Vec<u8>,
}

/// Text that is no checkpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a signed checkpoint: {0}")]
pub struct InvalidNote(&'static str);

// === impl Checkpoint ===

impl Checkpoint {
    /// Who signs: `tollgate/` and the log.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{ORIGIN}{}", hex::encode(self.log))
    }

    /// The text that is to be signed, its last line break included.
    #[must_use]
    pub fn text(&self, mac_key: &MacKey) -> String {
        self.with_mac(mac_key.id(), &mac_key.mac(&[self.lines().as_bytes()]))
    }

    /// The note: the text, with the Ed25519 signature over it and the public key that verifies it.
    #[must_use]
    pub fn note(&self, text: &str, public_key: &PublicKey, signature: &[u8]) -> String {
        let origin = self.origin();
        let signature = [key_hash(&origin, public_key).as_slice(), signature].concat();
        format!("{text}\n{DASH}{origin} {}\n", BASE64.encode(signature))
    }

    fn lines(&self) -> String {
        let Self { log: _, size, root, time_ms } = self;
        format!("{}\n{size}\n{}\ntime {time_ms}\n", self.origin(), BASE64.encode(root))
    }

    fn with_mac(&self, key: MacKeyId, mac: &Hash) -> String {
        format!("{}{MAC}{} {}\n", self.lines(), hex::encode(key), BASE64.encode(mac))
    }
}

// === impl Note ===

impl Note {
    /// Reads a note.
    ///
    /// # Errors
    /// Says what is not as it must be.
    pub fn parse(note: &str) -> Result<Self, InvalidNote> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(InvalidNote("it is too long"));
        }
        let (body, signatures) = note.split_once("\n\n").ok_or(InvalidNote("it has no signatures"))?;
        let lines: Vec<_> = body.split('\n').collect();
        let [origin, size, root, time, mac] = lines.as_slice() else {
            return Err(InvalidNote("it has not five lines"));
        };
        let mut log = LogId::default();
        let id = origin.strip_prefix(ORIGIN).ok_or(InvalidNote("the origin is not Tollgate"))?;
        hex::decode_to_slice(id, &mut log).map_err(|_| InvalidNote("the origin names no log"))?;
        let checkpoint = Checkpoint {
            log,
            size: decimal(size).ok_or(InvalidNote("the size is no number"))?,
            root: hash(root).ok_or(InvalidNote("the root is no hash"))?,
            time_ms: time.strip_prefix("time ").and_then(decimal).ok_or(InvalidNote("the time is no number"))?,
        };
        let (mac_key, mac) = mac.strip_prefix(MAC).and_then(read_mac).ok_or(InvalidNote("the MAC is none"))?;
        // What was signed is made from what was read: nothing else is signed.
        if checkpoint.with_mac(mac_key, &mac).strip_suffix('\n') != Some(body) {
            return Err(InvalidNote("it is not written in the one way"));
        }
        let signatures = signatures.strip_suffix('\n').ok_or(InvalidNote("its last line is cut off"))?;
        let prefix = format!("{DASH}{origin} ");
        let all: Vec<_> = signatures.split('\n').take(SIGNATURES_MAX).collect();
        let ours = all.iter().filter_map(|line| signature(line.strip_prefix(&prefix)?));
        let signatures: Vec<_> = ours.collect();
        let others = all.len() - signatures.len();
        Ok(Self { checkpoint, mac_key, mac, signatures, others })
    }

    /// What is signed.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Names the key of the MAC.
    #[must_use]
    pub const fn mac_key(&self) -> MacKeyId {
        self.mac_key
    }

    /// Whether this key signed it.
    #[must_use]
    pub fn is_signed_by(&self, public_key: &PublicKey) -> bool {
        self.signatures.iter().any(|signature| self.verifies(signature, public_key))
    }

    /// Whether this key signed it, and nobody else did.
    #[must_use]
    pub fn is_signed_by_none_but(&self, public_key: &PublicKey) -> bool {
        self.others == 0 && self.signatures.len() == 1 && self.is_signed_by(public_key)
    }

    /// Whether its MAC is that of this key.
    #[must_use]
    pub fn has_mac_of(&self, key: &MacKey) -> bool {
        self.mac_key == key.id() && key.verifies(&[self.checkpoint.lines().as_bytes()], &self.mac)
    }

    fn verifies(&self, signature: &Signature, public_key: &PublicKey) -> bool {
        let text = self.checkpoint.with_mac(self.mac_key, &self.mac);
        let key = UnparsedPublicKey::new(&ED25519, public_key);
        signature.key == key_hash(&self.checkpoint.origin(), public_key)
            && key.verify(text.as_bytes(), &signature.bytes).is_ok()
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries, root {}", self.size, hex::encode(self.root))
    }
}

/// Names a public key for people: the beginning of a hash of it, in hexadecimal digits.
#[must_use]
pub fn key_name(public_key: &PublicKey) -> String {
    let hash: Hash = Sha256::digest(public_key).into();
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

// C2SP `signed-note`: SHA-256(name || 0x0a || signature type || key), of which four bytes are kept.
fn key_hash(origin: &str, key: &PublicKey) -> [u8; 4] {
    let hasher = Sha256::new_with_prefix(origin).chain_update([b'\n', ED25519_TYPE]).chain_update(key);
    let hash: Hash = hasher.finalize().into();
    let [a, b, c, d, ..] = hash;
    [a, b, c, d]
}

fn hash(text: &str) -> Option<Hash> {
    Hash::try_from(BASE64.decode(text).ok()?).ok()
}

fn read_mac(text: &str) -> Option<(MacKeyId, Hash)> {
    let (key, mac) = text.split_once(' ')?;
    let mut id = MacKeyId::default();
    hex::decode_to_slice(key, &mut id).ok()?;
    Some((id, hash(mac)?))
}

fn signature(text: &str) -> Option<Signature> {
    let bytes = BASE64.decode(text).ok()?;
    let (key, bytes) = bytes.split_first_chunk()?;
    Some(Signature { key: *key, bytes: bytes.to_vec() })
}

// A number in the one way to write it.
fn decimal<T: std::str::FromStr + fmt::Display>(text: &str) -> Option<T> {
    let number = text.parse::<T>().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    const CHECKPOINT: Checkpoint =
        Checkpoint { log: [0xab; 16], size: 1_000, root: [7; 32], time_ms: 1_764_000_000_000 };

    fn pair(seed: u8) -> (Ed25519KeyPair, PublicKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        (pair, public)
    }

    fn signed(seed: u8, mac_key: &MacKey) -> String {
        let text = CHECKPOINT.text(mac_key);
        let (pair, public) = pair(seed);
        CHECKPOINT.note(&text, &public, pair.sign(text.as_bytes()).as_ref())
    }

    #[test]
    fn who_signed_is_known_and_nobody_else() {
        let (key, other) = (MacKey::new(&[1; 32]).unwrap(), MacKey::new(&[2; 32]).unwrap());
        let note = Note::parse(&signed(1, &key)).unwrap();
        assert_eq!(note.checkpoint(), &CHECKPOINT);
        assert_eq!([1, 2].map(|seed| note.is_signed_by(&pair(seed).1)), [true, false]);
        assert!(note.has_mac_of(&key) && !note.has_mac_of(&other));
        assert!(note.is_signed_by_none_but(&pair(1).1));
        // A witness may add its own line, and nothing of ours changes.
        let witnessed = Note::parse(&format!("{}— witness.example AAAA\n", signed(1, &key))).unwrap();
        assert!(witnessed.is_signed_by(&pair(1).1) && !witnessed.is_signed_by_none_but(&pair(1).1));
    }

    #[test]
    fn no_byte_of_a_note_can_be_changed() {
        let key = MacKey::new(&[1; 32]).unwrap();
        let good = signed(1, &key);
        let sound = |note: &str| {
            let note = Note::parse(note).ok()?;
            note.is_signed_by_none_but(&pair(1).1).then_some(note)
        };
        sound(&good).unwrap();
        let characters: Vec<char> = good.chars().collect();
        for at in 0..characters.len() {
            let mut changed = characters.clone();
            changed[at] = if changed[at] == 'A' { 'B' } else { 'A' };
            let changed: String = changed.into_iter().collect();
            assert!(sound(&changed).is_none(), "{at}: {changed}");
        }
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let good = signed(1, &MacKey::new(&[1; 32]).unwrap());
        for (from, to) in [("\n1000\n", "\n01000\n"), ("\n1000\n", "\n-1\n"), ("time ", "at "), ("tollgate/", "other/")]
        {
            assert!(Note::parse(&good.replace(from, to)).is_err(), "{to:?}");
        }
        assert!(Note::parse("").is_err());
        assert!(Note::parse(&"a".repeat(10_000)).is_err());
    }
}
