//! The Merkle tree over the log, as RFC 6962 (section 2.1) defines it: SHA-256, leaves behind a zero byte, nodes behind a one.

use sha2::{Digest as _, Sha256};

/// The length of a hash, in bytes.
pub const HASH_BYTES: usize = 32;
/// A SHA-256.
pub type Hash = [u8; HASH_BYTES];

/// What stands before the bytes of a leaf.
pub(crate) const LEAF: [u8; 1] = [0];
const NODE: [u8; 1] = [1];
const SIZE_BYTES: usize = 8;

/// The hash of a leaf whose bytes are these parts, one after the other.
#[must_use]
pub fn leaf(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new_with_prefix(LEAF);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix(NODE).chain_update(left).chain_update(right).finalize().into()
}

/// All that is needed of a tree in order to go on: the roots of its perfect subtrees, the largest first, one for each bit that
/// is set in its size.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

/// Bytes or hashes that are no frontier.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a frontier has one hash for each bit that is set in its size")]
pub struct InvalidFrontier;

impl Frontier {
    /// A frontier of its parts.
    ///
    /// # Errors
    /// [`InvalidFrontier`].
    pub fn new(size: u64, roots: Vec<Hash>) -> Result<Self, InvalidFrontier> {
        if usize::try_from(size.count_ones()) == Ok(roots.len()) {
            Ok(Self { size, roots })
        } else {
            Err(InvalidFrontier)
        }
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, the largest first.
    #[must_use]
    pub fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Each perfect subtree of the same height becomes the left half of a larger one.
        for _ in 0..self.size.trailing_ones() {
            let left = self.roots.pop().unwrap_or_default();
            hash = node(&left, &hash);
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// The root of the tree; of an empty one, the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let joined = self.roots.iter().rev().copied().reduce(|right, left| node(&left, &right));
        joined.unwrap_or_else(|| Sha256::digest([]).into())
    }

    /// The size in 8 bytes, big endian, and the hashes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [self.size.to_be_bytes().as_slice(), self.roots.as_flattened()].concat()
    }

    /// Reads what [`Self::encode`] made.
    ///
    /// # Errors
    /// [`InvalidFrontier`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidFrontier> {
        let (size, hashes) = bytes.split_first_chunk::<SIZE_BYTES>().ok_or(InvalidFrontier)?;
        let (roots, rest) = hashes.as_chunks::<HASH_BYTES>();
        if rest.is_empty() { Self::new(u64::from_be_bytes(*size), roots.to_vec()) } else { Err(InvalidFrontier) }
    }

    // The root of the perfect subtree over the leaves from `begin`, where it is one of ours.
    fn subtree(&self, begin: u64, end: u64) -> Option<Hash> {
        let mut at = 0;
        for (bit, root) in (0..u64::BITS).rev().filter(|bit| self.size >> bit & 1 == 1).zip(&self.roots) {
            let next = at + (1 << bit);
            if (at, next) == (begin, end) {
                return Some(*root);
            }
            at = next;
        }
        None
    }
}

/// A tree of which the beginning may be gone: its frontier there, and the hashes of the leaves behind.
#[derive(Clone, Copy, Debug)]
pub struct Tree<'a> {
    /// What is known of the leaves before.
    pub start: &'a Frontier,
    /// The hashes of the leaves behind them.
    pub leaves: &'a [Hash],
}

impl Tree<'_> {
    /// How many leaves there are, those that are gone included.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.start.size + u64::try_from(self.leaves.len()).unwrap_or(u64::MAX)
    }

    /// The path of the leaf at this position, from 0, to the root: its siblings from the bottom up (RFC 6962, section 2.1.1).
    /// `None`: there is no such leaf, or it is gone.
    #[must_use]
    pub fn inclusion(&self, position: u64) -> Option<Vec<Hash>> {
        if position < self.start.size || position >= self.size() {
            return None;
        }
        let (mut begin, mut end) = (0, self.size());
        let mut path = Vec::new();
        while end - begin > 1 {
            let middle = begin + split(end - begin);
            if position < middle {
                path.push(self.hash(middle, end)?);
                end = middle;
            } else {
                path.push(self.hash(begin, middle)?);
                begin = middle;
            }
        }
        path.reverse();
        Some(path)
    }

    // A subtree that holds none of what is gone is computed; one that holds nothing else is a root of the frontier; one of both
    // is split, since whatever is gone of it is made of such roots.
    fn hash(&self, begin: u64, end: u64) -> Option<Hash> {
        if begin >= self.start.size {
            let at = |position: u64| usize::try_from(position - self.start.size).ok();
            let mut part = Frontier::default();
            self.leaves.get(at(begin)?..at(end)?)?.iter().for_each(|leaf| part.push(*leaf));
            return Some(part.root());
        }
        if let Some(root) = self.start.subtree(begin, end) {
            return Some(root);
        }
        if end - begin < 2 {
            return None;
        }
        let middle = begin + split(end - begin);
        Some(node(&self.hash(begin, middle)?, &self.hash(middle, end)?))
    }
}

/// The root that a leaf at this position, from 0, has in a tree of that size by this path; `None` when the path does not fit
/// (RFC 9162, section 2.1.3.2).
#[must_use]
pub fn root_of_path(position: u64, size: u64, leaf: Hash, path: &[Hash]) -> Option<Hash> {
    if position >= size {
        return None;
    }
    let (mut at, mut last, mut hash) = (position, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

// The largest power of two below the size, which is at least 2.
const fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    // The inputs and roots that the Certificate Transparency project tests RFC 6962 with.
    const INPUTS: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|at| leaf(&[&at.to_be_bytes()])).collect()
    }

    fn frontier(leaves: &[Hash]) -> Frontier {
        let mut frontier = Frontier::default();
        leaves.iter().for_each(|leaf| frontier.push(*leaf));
        frontier
    }

    #[test]
    fn roots_are_those_of_the_specification() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex::encode(Frontier::default().root()), empty);
        let mut frontier = Frontier::default();
        for (input, root) in INPUTS.iter().zip(ROOTS) {
            frontier.push(leaf(&[&hex::decode(input).unwrap()]));
            assert_eq!(hex::encode(frontier.root()), root);
            assert_eq!(Frontier::decode(&frontier.encode()).unwrap(), frontier);
        }
    }

    #[test]
    fn what_is_no_frontier_is_refused() {
        let good = frontier(&leaves(5)).encode();
        for bytes in [&good[..good.len() - 1], &good[..40], &good[..7], &[good.as_slice(), &[0; 32]].concat()] {
            assert_eq!(Frontier::decode(bytes), Err(InvalidFrontier));
        }
    }

    #[test]
    fn every_leaf_is_proved_in_every_tree_and_nothing_else_is() {
        for size in 1..70 {
            let all = leaves(size);
            let root = frontier(&all).root();
            for gone in 0..size {
                let (before, after) = all.split_at(usize::try_from(gone).unwrap());
                let start = frontier(before);
                let tree = Tree { start: &start, leaves: after };
                for position in 0..size {
                    let path = tree.inclusion(position);
                    assert_eq!(path.is_some(), position >= gone, "{position} of {size}, {gone} gone");
                    let Some(path) = path else { continue };
                    let at = usize::try_from(position).unwrap();
                    assert_eq!(root_of_path(position, size, all[at], &path), Some(root));
                    assert_ne!(root_of_path(position, size, [7; 32], &path), Some(root));
                    assert_ne!(root_of_path(position + 1, size, all[at], &path), Some(root));
                }
                assert_eq!(tree.inclusion(size), None);
            }
        }
    }
}
