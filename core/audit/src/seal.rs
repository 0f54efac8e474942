//! What binds an entry to its place in the log.
//!
//! ```text
//! commitment  SHA-256(salt || body)                                  the body is stored as it was signed
//! header      version, log, index, writer, incarnation, sequence, previous, time, action, key     see Header::encode
//! mac         HMAC-SHA256(epoch key, header || commitment)           nobody without the key can append
//! leaf        SHA-256(0 || header || commitment || mac)              what the Merkle tree is over
//! link        SHA-256(2 || incarnation || sequence || previous || commitment)
//! ```
//!
//! Links chain the entries of one writer (a replica, or the control plane) apart from the log: a replica computes its own before
//! any control plane has seen the entry, so that no entry of it can be left out or replaced unnoticed. The MAC lies within the
//! leaf, so that a change of it shows to whoever has only the public key.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{
    entry::ACTION_BYTES_MAX,
    tree::{HASH_BYTES, Hash, LEAF, leaf},
};

/// The length of a salt, in bytes: nobody guesses a body that was erased by trying what it may have been.
pub const SALT_BYTES: usize = 16;
/// The shortest HMAC key, in bytes: as long as the hash (RFC 2104, section 3).
pub const MAC_KEY_BYTES_MIN: usize = 32;
/// The longest name of a writer, in bytes.
pub const WRITER_BYTES_MAX: usize = 64;
/// The link before the first entry of a chain.
pub const CHAIN_START: Hash = [0; HASH_BYTES];
/// The writer of what control planes write, all of them in one chain.
pub const CONTROL_PLANE: &str = "control-plane";

const VERSION: u8 = 1;
// With a writer and an action as long as may be.
const HEADER_BYTES_MAX: usize = 256;
const LINK: [u8; 1] = [2];

/// Names a log: random, made with the log.
pub type LogId = [u8; 16];
/// A salt.
pub type Salt = [u8; SALT_BYTES];
/// Names an HMAC key: the beginning of a hash of it.
pub type MacKeyId = [u8; 8];

/// The place of an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header<'a> {
    /// The log.
    pub log: LogId,
    /// The position in the log, from 1, without gaps.
    pub index: u64,
    /// Who wrote it: a replica's id, or [`CONTROL_PLANE`].
    pub writer: &'a str,
    /// The number of the writer's run.
    pub incarnation: u64,
    /// The position among the entries of that run, from 1, without gaps.
    pub sequence: u64,
    /// The link of the writer's entry before; [`CHAIN_START`] for the first of a run.
    pub previous: Hash,
    /// When it happened, in Unix milliseconds by the writer's clock; as in the body, which may be erased.
    pub time_ms: i64,
    /// What was done; as in the body.
    pub action: &'a str,
    /// The key of the MAC.
    pub key: MacKeyId,
}

/// What is sealed of an entry, in one piece: what its leaf's hash is over, and within that what its MAC is over.
#[derive(Debug, Default)]
pub(crate) struct Sealed(Vec<u8>);

/// Bytes that are no header.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not the header of an entry")]
pub struct InvalidHeader;

/// An HMAC key, which makes and checks MACs.
#[derive(Clone)]
pub struct MacKey {
    id: MacKeyId,
    // The state behind the key's block: two compressions less for each entry.
    keyed: Hmac<Sha256>,
}

/// A key that is too short.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an HMAC key must be at least 32 bytes")]
pub struct ShortKey;

/// Commits to a body without showing it.
#[must_use]
pub fn commitment(salt: &Salt, body: &[u8]) -> Hash {
    Sha256::new_with_prefix(salt).chain_update(body).finalize().into()
}

/// The link of an entry, to which the writer's next one points.
#[must_use]
pub fn link(incarnation: u64, sequence: u64, previous: &Hash, commitment: &Hash) -> Hash {
    let hasher = Sha256::new_with_prefix(LINK).chain_update(incarnation.to_be_bytes());
    hasher.chain_update(sequence.to_be_bytes()).chain_update(previous).chain_update(commitment).finalize().into()
}

/// Whether a name can be a writer's: letters, digits and hyphens.
#[must_use]
pub fn is_writer(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    // Every byte is looked at: without a branch for each, that is quicker.
    (1..=WRITER_BYTES_MAX).contains(&name.len()) && name.bytes().fold(true, |all, byte| all & fits(byte))
}

/// Whether a word can be an action: lower case letters, digits, hyphens, underscores and points.
#[must_use]
pub fn is_action(word: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    (1..=ACTION_BYTES_MAX).contains(&word.len()) && word.bytes().fold(true, |all, byte| all & fits(byte))
}

// === impl Header ===

impl<'a> Header<'a> {
    /// The bytes that are signed: the version (1), then each field in order; numbers in 8 bytes, big endian; texts behind their
    /// length in one byte.
    ///
    /// # Errors
    /// When the writer or the action cannot be one.
    pub fn encode(&self) -> Result<Vec<u8>, InvalidHeader> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES_MAX);
        self.append_to(&mut bytes)?;
        Ok(bytes)
    }

    fn append_to(&self, bytes: &mut Vec<u8>) -> Result<(), InvalidHeader> {
        let Self { log, index, writer, incarnation, sequence, previous, time_ms, action, key } = self;
        if !is_writer(writer) || !is_action(action) {
            return Err(InvalidHeader);
        }
        bytes.reserve(HEADER_BYTES_MAX);
        bytes.push(VERSION);
        bytes.extend_from_slice(log);
        bytes.extend_from_slice(&index.to_be_bytes());
        put(bytes, writer)?;
        bytes.extend_from_slice(&incarnation.to_be_bytes());
        bytes.extend_from_slice(&sequence.to_be_bytes());
        bytes.extend_from_slice(previous);
        bytes.extend_from_slice(&time_ms.to_be_bytes());
        put(bytes, action)?;
        bytes.extend_from_slice(key);
        Ok(())
    }

    /// Reads what [`Self::encode`] made.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, InvalidHeader> {
        let mut rest = Rest(bytes);
        if rest.take::<1>()? != &[VERSION] {
            return Err(InvalidHeader);
        }
        let header = Self {
            log: *rest.take()?,
            index: rest.number()?,
            writer: rest.text(is_writer)?,
            incarnation: rest.number()?,
            sequence: rest.number()?,
            previous: *rest.take()?,
            time_ms: i64::from_be_bytes(*rest.take()?),
            action: rest.text(is_action)?,
            key: *rest.take()?,
        };
        if rest.0.is_empty() { Ok(header) } else { Err(InvalidHeader) }
    }

    /// The link of this entry.
    #[must_use]
    pub fn link(&self, commitment: &Hash) -> Hash {
        link(self.incarnation, self.sequence, &self.previous, commitment)
    }
}

/// The hash of an entry's leaf.
#[must_use]
pub fn entry_leaf(header: &[u8], commitment: &Hash, mac: &Hash) -> Hash {
    leaf(&[header, commitment, mac])
}

// === impl Sealed ===

impl Sealed {
    /// Takes the place of what was there.
    pub(crate) fn set(&mut self, header: &Header<'_>, commitment: &Hash, mac: &Hash) -> Result<(), InvalidHeader> {
        self.0.clear();
        self.0.extend_from_slice(&LEAF);
        header.append_to(&mut self.0)?;
        self.0.extend_from_slice(commitment);
        self.0.extend_from_slice(mac);
        Ok(())
    }

    /// As [`entry_leaf`] makes it.
    pub(crate) fn leaf(&self) -> Hash {
        Sha256::digest(&self.0).into()
    }

    /// The header and the commitment.
    pub(crate) fn under_mac(&self) -> &[u8] {
        self.0.get(LEAF.len()..self.0.len().saturating_sub(HASH_BYTES)).unwrap_or_default()
    }
}

fn put(bytes: &mut Vec<u8>, text: &str) -> Result<(), InvalidHeader> {
    bytes.push(u8::try_from(text.len()).map_err(|_| InvalidHeader)?);
    bytes.extend_from_slice(text.as_bytes());
    Ok(())
}

// What is left to read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take<const LENGTH: usize>(&mut self) -> Result<&'a [u8; LENGTH], InvalidHeader> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(InvalidHeader)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, InvalidHeader> {
        Ok(u64::from_be_bytes(*self.take()?))
    }

    fn text(&mut self, fits: fn(&str) -> bool) -> Result<&'a str, InvalidHeader> {
        let [length] = *self.take::<1>()?;
        let (text, rest) = self.0.split_at_checked(usize::from(length)).ok_or(InvalidHeader)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().filter(|text| fits(text)).ok_or(InvalidHeader)
    }
}

// === impl MacKey ===

impl MacKey {
    /// A key of its bytes.
    ///
    /// # Errors
    /// Refuses fewer than [`MAC_KEY_BYTES_MIN`]; none at all is the shortest of those.
    pub fn new(bytes: &[u8]) -> Result<Self, ShortKey> {
        if bytes.len() < MAC_KEY_BYTES_MIN {
            return Err(ShortKey);
        }
        let keyed = Hmac::new_from_slice(bytes).map_err(|_| ShortKey)?;
        let named: Hash = Sha256::new_with_prefix("tollgate-audit-key-v1\0").chain_update(bytes).finalize().into();
        let mut id = MacKeyId::default();
        id.iter_mut().zip(named).for_each(|(to, from)| *to = from);
        Ok(Self { id, keyed })
    }

    /// Names the key, and says nothing about its bytes.
    #[must_use]
    pub const fn id(&self) -> MacKeyId {
        self.id
    }

    /// The MAC of these parts, one after the other.
    #[must_use]
    pub fn mac(&self, parts: &[&[u8]]) -> Hash {
        let mut mac = self.keyed.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }

    /// Whether that is their MAC, in constant time.
    #[must_use]
    pub fn verifies(&self, parts: &[&[u8]], mac: &[u8]) -> bool {
        self.mac(parts).ct_eq(mac).into()
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MacKey({:02x?})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header<'_> = Header {
        log: [1; 16],
        index: 7,
        writer: "replica-01",
        incarnation: 2,
        sequence: 5,
        previous: [9; 32],
        time_ms: 1_700_000_000_000,
        action: "request.admit",
        key: [3; 8],
    };

    #[test]
    fn a_header_survives_encoding_and_no_byte_of_it_is_free() {
        let bytes = HEADER.encode().unwrap();
        assert_eq!(Header::decode(&bytes), Ok(HEADER));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_ne!(Header::decode(&changed), Ok(HEADER), "byte {at}");
            assert_eq!(Header::decode(&bytes[..at]), Err(InvalidHeader), "{at} bytes");
        }
        assert_eq!(Header::decode(&[bytes.as_slice(), &[0]].concat()), Err(InvalidHeader));
    }

    #[test]
    fn a_name_cannot_carry_anything_but_a_name() {
        for writer in ["", "a b", "a\"", "a\n", &"x".repeat(65)] {
            assert_eq!(Header { writer, ..HEADER }.encode(), Err(InvalidHeader), "{writer:?}");
        }
        for action in ["", "Key.create", "a\"b", &"x".repeat(65)] {
            assert_eq!(Header { action, ..HEADER }.encode(), Err(InvalidHeader), "{action:?}");
        }
    }

    #[test]
    fn a_short_key_is_refused() {
        for length in [0, 1, 16, 31] {
            assert_eq!(MacKey::new(&vec![7; length]).unwrap_err(), ShortKey);
        }
        let (one, other) = (MacKey::new(&[7; 32]).unwrap(), MacKey::new(&[8; 32]).unwrap());
        assert_ne!(one.id(), other.id());
        assert!(one.verifies(&[b"a", b"bc"], &one.mac(&[b"abc"])));
        assert!(!one.verifies(&[b"abc"], &other.mac(&[b"abc"])));
        assert!(!one.verifies(&[b"abc"], &[]));
    }

    // RFC 4231, test case 1 has a key of 20 bytes; test case 6 one of 131, which is hashed first.
    #[test]
    fn macs_are_those_of_rfc_4231() {
        let key = MacKey::new(&[0xaa; 131]).unwrap();
        let mac = key.mac(&[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(hex::encode(mac), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn everything_is_in_the_link() {
        let made = link(1, 1, &CHAIN_START, &[1; 32]);
        for other in [
            link(2, 1, &CHAIN_START, &[1; 32]),
            link(1, 2, &CHAIN_START, &[1; 32]),
            link(1, 1, &[1; 32], &[1; 32]),
            link(1, 1, &CHAIN_START, &[2; 32]),
        ] {
            assert_ne!(made, other);
        }
        assert_ne!(commitment(&[0; 16], b"a"), commitment(&[1; 16], b"a"));
    }
}
