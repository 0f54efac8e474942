//! The ids of requests: `req_` and a ULID, so that they sort by time.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tollgate_policy::time::UnixMillis;
use ulid::Ulid;

/// Makes the ids of one replica's requests: the time, 48 random bits of the process, and a counter.
#[derive(Debug)]
pub(super) struct RequestIds {
    process: u64,
    count: AtomicU64,
}

impl RequestIds {
    /// Starts at a random place. Without randomness the time alone tells two processes apart.
    pub(super) fn new() -> Self {
        Self { process: getrandom::u64().unwrap_or_default() >> 16, count: AtomicU64::new(0) }
    }

    /// The next id.
    pub(super) fn next(&self, now: UnixMillis) -> Arc<str> {
        let count = u128::from(self.count.fetch_add(1, Ordering::Relaxed) & u64::from(u32::MAX));
        let ulid =
            Ulid::from_parts(u64::try_from(now.get()).unwrap_or_default(), u128::from(self.process) << 32 | count);
        let mut text = [0; PREFIX.len() + ulid::ULID_LEN];
        let (head, tail) = text.split_at_mut(PREFIX.len());
        head.copy_from_slice(PREFIX.as_bytes());
        if let Some(room) = tail.first_chunk_mut() {
            ulid.array_to_str(room);
        }
        text.make_ascii_lowercase();
        Arc::from(std::str::from_utf8(&text).unwrap_or(PREFIX))
    }
}

const PREFIX: &str = "req_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_sort_by_time() {
        let (one, two) = (RequestIds::new(), RequestIds::new());
        let at = UnixMillis::new;
        let ids = [one.next(at(1_700_000_000_000)), one.next(at(1_700_000_000_000)), two.next(at(1_700_000_000_001))];
        assert!(ids.is_sorted() && ids[0] != ids[1], "{ids:?}");
        for id in &ids {
            assert_eq!(id.len(), 30);
            assert!(id.starts_with("req_01hf7"), "{id}");
        }
    }
}
