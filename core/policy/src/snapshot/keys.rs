//! The virtual keys of a snapshot, by hash and by id.
//!
//! Each map is cut into shards that snapshots share. A change of one key copies two shards of some hundred entries, not the
//! whole of a hundred thousand; and what it does not touch is in memory once, however many snapshots are pinned.

use std::{
    borrow::Borrow,
    collections::HashSet,
    hash::{BuildHasherDefault, Hash, Hasher},
    sync::Arc,
};

use super::Key;
use crate::{id::KeyId, token::KeyHash};

/// Shards of each map. More would make a change cheaper and an empty snapshot larger.
const SHARDS: usize = 64;

/// The keys. Cloning shares them.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    by_hash: Arc<Vec<Arc<HashSet<Hashed, ByHash>>>>,
    by_id: Arc<Vec<Arc<HashSet<Named>>>>,
    count: usize,
}

// A key that is looked up by its hash: the set holds one pointer, the hash is in the key.
#[derive(Clone, Debug)]
struct Hashed(Arc<Key>);

// A key that is looked up by its id.
#[derive(Clone, Debug)]
struct Named(Arc<Key>);

type ByHash = BuildHasherDefault<HashOfHash>;

/// Takes the first eight bytes of what is already an HMAC.
#[derive(Clone, Debug, Default)]
struct HashOfHash(u64);

impl Hasher for HashOfHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    // KeyHash is one array: its bytes arrive in one write, and the length before them says nothing.
    fn write_usize(&mut self, _: usize) {}
}

// === impl Keys ===

impl Keys {
    /// The key with this hash, found by a comparison that takes as long whatever is asked for.
    pub(super) fn of_hash(&self, hash: &KeyHash) -> Option<&Arc<Key>> {
        let found = self.by_hash.get(shard_of_hash(hash))?.get(hash)?;
        found.0.hash.matches(hash).then_some(&found.0)
    }

    /// The key with this id.
    pub(super) fn of_id(&self, id: &KeyId) -> Option<&Arc<Key>> {
        self.by_id.get(shard_of_id(id))?.get(id).map(|found| &found.0)
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Puts a key in the place of the one with its id. A rotated key has a new hash: the old one must stop to be found.
    pub(super) fn put(&mut self, key: Key) {
        self.remove(&key.id);
        let (hash, id) = (shard_of_hash(&key.hash), shard_of_id(&key.id));
        let key = Arc::new(key);
        let by_hash = Arc::make_mut(&mut self.by_hash).get_mut(hash).map(Arc::make_mut);
        // Of two keys with one hash the later one is found; their count tells that there is one too few.
        let displaced = by_hash.and_then(|shard| shard.replace(Hashed(Arc::clone(&key))));
        self.count += usize::from(displaced.is_none());
        if let Some(shard) = Arc::make_mut(&mut self.by_id).get_mut(id) {
            Arc::make_mut(shard).replace(Named(key));
        }
    }

    /// Takes a key away.
    pub(super) fn remove(&mut self, id: &KeyId) {
        if self.of_id(id).is_none() {
            return;
        }
        let by_id = Arc::make_mut(&mut self.by_id).get_mut(shard_of_id(id)).map(Arc::make_mut);
        let Some(Named(gone)) = by_id.and_then(|shard| shard.take(id)) else { return };
        let by_hash = Arc::make_mut(&mut self.by_hash).get_mut(shard_of_hash(&gone.hash)).map(Arc::make_mut);
        if by_hash.is_some_and(|shard| shard.remove(&gone.hash)) {
            self.count -= 1;
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            by_hash: Arc::new((0..SHARDS).map(|_| Arc::default()).collect()),
            by_id: Arc::new((0..SHARDS).map(|_| Arc::default()).collect()),
            count: 0,
        }
    }
}

// The last byte, since the first ones choose the place within a shard.
fn shard_of_hash(hash: &KeyHash) -> usize {
    hash.as_bytes().last().map_or(0, |last| usize::from(*last) % SHARDS)
}

// Ids of one moment differ in their last characters.
fn shard_of_id(id: &KeyId) -> usize {
    usize::try_from(crc32fast::hash(id.as_str().as_bytes())).unwrap_or_default() % SHARDS
}

// === impl Hashed, Named ===

impl Borrow<KeyHash> for Hashed {
    fn borrow(&self) -> &KeyHash {
        &self.0.hash
    }
}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash.hash(state);
    }
}

impl PartialEq for Hashed {
    fn eq(&self, other: &Self) -> bool {
        self.0.hash == other.0.hash
    }
}

impl Eq for Hashed {}

impl Borrow<KeyId> for Named {
    fn borrow(&self) -> &KeyId {
        &self.0.id
    }
}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Named {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::TeamId, pattern::Patterns, snapshot::AuditMode};

    fn key(id: usize, hash: usize) -> Key {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&hash.to_le_bytes());
        bytes[31] = u8::try_from(hash % 251).unwrap();
        Key {
            id: KeyId::from_ulid(&format!("{id:026}")).unwrap(),
            name: "key".into(),
            hash: KeyHash::new(bytes),
            team: TeamId::from_ulid(&"0".repeat(26)).unwrap(),
            user: None,
            revoked: false,
            expires: None,
            models: Patterns::default(),
            providers: Arc::new([]),
            credentials: Arc::new([]),
            quota: None,
            audit: AuditMode::Required,
            regions: Patterns::default(),
            tools: crate::mcp::Access::default(),
            tool_rules: std::sync::Arc::default(),
        }
    }

    #[test]
    fn keys_are_found_by_hash_and_by_id_and_pinned_ones_stay() {
        let mut keys = Keys::default();
        (0..1_000).for_each(|at| keys.put(key(at, at)));
        let pinned = keys.clone();
        (0..500).for_each(|at| keys.remove(&key(at, at).id));
        (500..600).for_each(|at| keys.put(key(at, at + 10_000)));
        assert_eq!((pinned.len(), keys.len()), (1_000, 500));
        for at in 0..1_000 {
            let (id, hash) = (key(at, at).id, key(at, at).hash);
            assert!(pinned.of_id(&id).is_some() && pinned.of_hash(&hash).is_some(), "{at}");
            assert_eq!(keys.of_id(&id).is_some(), at >= 500, "{at}");
            assert_eq!(keys.of_hash(&hash).is_some(), at >= 600, "{at}");
            assert_eq!(keys.of_hash(&key(at, at + 10_000).hash).is_some(), (500..600).contains(&at), "{at}");
        }
    }

    #[test]
    fn a_change_copies_two_shards_and_shares_the_rest() {
        let mut keys = Keys::default();
        (0..1_000).for_each(|at| keys.put(key(at, at)));
        let before = keys.clone();
        keys.put(Key { revoked: true, ..key(7, 7) });
        let copied = |one: usize, other: usize| one - other;
        let shared = before.by_hash.iter().zip(keys.by_hash.iter()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(copied(SHARDS, shared), 1);
        let shared = before.by_id.iter().zip(keys.by_id.iter()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(copied(SHARDS, shared), 1);
        assert!(keys.of_id(&key(7, 7).id).unwrap().revoked && !before.of_id(&key(7, 7).id).unwrap().revoked);
    }

    #[test]
    fn two_keys_with_one_hash_count_as_one() {
        let mut keys = Keys::default();
        keys.put(key(1, 1));
        keys.put(key(2, 1));
        assert_eq!(keys.len(), 1);
        keys.remove(&key(1, 1).id);
        keys.remove(&key(1, 1).id);
        assert!(keys.len() <= 1);
    }
}
