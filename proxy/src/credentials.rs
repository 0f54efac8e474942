//! Developers' short-lived credentials: verified once, remembered while they live, and decided anew at each request.
//!
//! What is remembered is that a signature was good, which stays true. Whether the credential is admitted depends on the
//! snapshot, the session and the hour, and is asked of [`decide`] every time. The memory is looked up by the SHA-256 of the
//! whole text: two credentials of one developer share their first hundreds of characters.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest as _, Sha256};
use tollgate_policy::{
    credential::{Presented, Verified},
    decide::{self, Caller},
    refusal::Refusal,
    snapshot::Snapshot,
    time::UnixMillis,
};

// Requests are spread over so many maps, so that two cores seldom wait for one lock.
const SHARDS: usize = 16;
/// So many credentials are remembered in each: 32,768 in all, more than the developers that one replica serves at a time, in
/// at most 20 MB. One that is forgotten costs a verification.
const ENTRIES_MAX: usize = 2_048;
/// Expired ones are looked for so often, where credentials arrive.
const SWEEP_MS: i64 = 60_000;

/// The credentials that were verified. There is one in a replica.
#[derive(Default)]
pub struct Credentials {
    shards: [Mutex<Shard>; SHARDS],
}

type Hash = [u8; 32];

#[derive(Default)]
struct Shard {
    verified: HashMap<Hash, Arc<Verified>>,
    swept_ms: i64,
}

// === impl Credentials ===

impl Credentials {
    /// Finds out whom a credential stands for.
    ///
    /// # Errors
    /// Refuses a credential that no key of the snapshot signed, and as [`decide::authenticate_credential`] does.
    pub fn authenticate(&self, snapshot: &Snapshot, now: UnixMillis, presented: &Presented) -> Result<Caller, Refusal> {
        let hash: Hash = Sha256::digest(presented.expose().as_bytes()).into();
        if let Some(verified) = self.recall(&hash) {
            return decide::authenticate_credential(snapshot, now, &verified);
        }
        let verified = Arc::new(presented.verify(snapshot.token_keys()).map_err(|_| decide::unsigned())?);
        let caller = decide::authenticate_credential(snapshot, now, &verified)?;
        // Only what is admitted is remembered: nobody fills the memory with what has expired.
        self.remember(hash, verified, now);
        Ok(caller)
    }

    /// How many are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).verified.len()).sum()
    }

    fn recall(&self, hash: &Hash) -> Option<Arc<Verified>> {
        lock(self.shard(hash)?).verified.get(hash).map(Arc::clone)
    }

    fn remember(&self, hash: Hash, verified: Arc<Verified>, now: UnixMillis) {
        let Some(shard) = self.shard(&hash) else { return };
        let mut shard = lock(shard);
        if shard.verified.len() >= ENTRIES_MAX || now.get().saturating_sub(shard.swept_ms) >= SWEEP_MS {
            shard.verified.retain(|_, verified| verified.claims().check(now).is_ok());
            shard.swept_ms = now.get();
        }
        // Once, in full: growing step by step would move every entry again, while somebody's request waits.
        if shard.verified.capacity() == 0 {
            shard.verified.reserve(ENTRIES_MAX);
        }
        // All of them live: to begin anew costs each one verification, and keeps no order of use.
        if shard.verified.len() >= ENTRIES_MAX {
            shard.verified.clear();
        }
        shard.verified.insert(hash, verified);
    }

    fn shard(&self, hash: &Hash) -> Option<&Mutex<Shard>> {
        self.shards.get(hash.last().map_or(0, |last| usize::from(*last) % SHARDS))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("remembered", &self.remembered()).finish()
    }
}

// No code panics while it holds the lock, and a map is sound whatever happened.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
