//! Remembers what blocks of text held, so that the next turn of a conversation costs what is new in it.
//!
//! A block is known by a hash of 128 bits: POLYVAL (RFC 8452), a universal hash, under a random key that does not leave the process. For
//! any two different blocks, the share of keys under which they collide is at most the number of their 16-byte pieces over 2^128: for blocks
//! of 32 MiB under 2^-106. That is proven, not assumed, and holds against whoever chooses the blocks, as long as they see neither key nor
//! hashes, which nobody does. So a secret does not pass because its block was taken for another. A cryptographic hash would cost several
//! times as much, and a fast hash without such a bound (such as those of hash tables) is made to collide on purpose.

use std::{collections::HashMap, fmt, sync::Arc};

use polyval::{Polyval, universal_hash::UniversalHash};

use crate::{set::Version, text::Scan};

/// What a scan found, by the hash of its text and the version of the rules.
///
/// Bounded: what was not asked for while as many others came as it holds is forgotten. The caller locks it.
pub struct Memo {
    entries_max: usize,
    young: HashMap<BlockHash, Arc<Scan>>,
    old: HashMap<BlockHash, Arc<Scan>>,
    /// Most blocks hold nothing, and share this.
    clean: Arc<Scan>,
}

/// Makes the hashes for a memo; cheap to clone, and used outside of the lock.
#[derive(Clone)]
pub struct Hasher(Polyval);

/// Names a block under one version of the rules.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct BlockHash([u8; 16]);

// === impl Hasher ===

impl Hasher {
    /// A hasher under a key from the operating system's randomness, made when the process starts and never shown.
    #[must_use]
    pub fn new(key: &[u8; 16]) -> Self {
        Self(Polyval::new(&(*key).into()))
    }

    /// The hash of a block under a version of the rules.
    #[must_use]
    pub fn hash(&self, version: Version, block: &[u8]) -> BlockHash {
        self.hash_in(version, 0, block)
    }

    /// The same, of a block that is looked at in one of several ways.
    #[must_use]
    pub fn hash_in(&self, version: Version, way: u64, block: &[u8]) -> BlockHash {
        let mut hash = self.0.clone();
        hash.update(&[(*version.as_bytes()).into()]);
        hash.update_padded(block);
        // Padding with zeros tells no lengths apart: the length does.
        hash.update(&[(u128::from(way) << 64 | block.len() as u128).to_le_bytes().into()]);
        BlockHash(hash.finalize().into())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Hasher(***)")
    }
}

// === impl Memo ===

impl Memo {
    /// A memo of at most `entries_max` blocks (at least two), of about 80 bytes each where nothing was found.
    #[must_use]
    pub fn new(entries_max: usize) -> Self {
        Self { entries_max, young: HashMap::new(), old: HashMap::new(), clean: Arc::default() }
    }

    /// What the block held; `None` when it is not remembered.
    pub fn get(&mut self, block: BlockHash) -> Option<Arc<Scan>> {
        if let Some(scan) = self.young.get(&block) {
            return Some(Arc::clone(scan));
        }
        let scan = self.old.remove(&block)?;
        self.put(block, Arc::clone(&scan));
        Some(scan)
    }

    /// Remembers what a block held.
    pub fn insert(&mut self, block: BlockHash, scan: Scan) -> Arc<Scan> {
        let scan = if scan == *self.clean { Arc::clone(&self.clean) } else { Arc::new(scan) };
        self.put(block, Arc::clone(&scan));
        scan
    }

    /// How many blocks it remembers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len().saturating_add(self.old.len())
    }

    /// Whether it remembers none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Two generations: when the young one is half of all, it becomes the old one, and what of that was not asked for goes.
    fn put(&mut self, block: BlockHash, scan: Arc<Scan>) {
        if self.young.len() >= (self.entries_max / 2).max(1) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(block, scan);
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Memo").field("blocks", &self.len()).field("entries_max", &self.entries_max).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u8) -> Version {
        Version::for_tests(number)
    }

    #[test]
    fn a_hash_tells_blocks_lengths_versions_and_keys_apart() {
        let hasher = Hasher::new(&[1; 16]);
        let one = hasher.hash(version(1), b"a block");
        assert_eq!(one, hasher.hash(version(1), b"a block"));
        assert_ne!(one, hasher.hash(version(1), b"a block\0"));
        assert_ne!(one, hasher.hash(version(1), b"b block"));
        assert_ne!(one, hasher.hash(version(2), b"a block"));
        assert_ne!(one, hasher.hash_in(version(1), 1, b"a block"));
        assert_ne!(one, Hasher::new(&[2; 16]).hash(version(1), b"a block"));
        assert_ne!(hasher.hash(version(1), b""), hasher.hash(version(1), &[0; 16]));
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let (hasher, mut memo) = (Hasher::new(&[1; 16]), Memo::new(8));
        let hash = |number: u8| hasher.hash(version(1), &[number]);
        for number in 0..100 {
            memo.insert(hash(number), Scan::default());
            assert!(memo.get(hash(0)).is_some(), "asked for at {number}");
            assert!(memo.len() <= 8);
        }
        assert!(memo.get(hash(99)).is_some());
        assert!(memo.get(hash(50)).is_none());
        let scan = Scan { is_exhausted: true, ..Scan::default() };
        memo.insert(hash(1), scan.clone());
        assert_eq!(*memo.get(hash(1)).unwrap(), scan);
    }
}
