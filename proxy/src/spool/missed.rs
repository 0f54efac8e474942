//! Visits that are only counted: in the next gap record, which says how many there were and when.

use std::sync::atomic::Ordering;

use tollgate_policy::time::UnixMillis;

use super::{Batch, Spool, SpoolError, lock};
use crate::evidence;

/// Visits without a valid key are noted while less than this of the bound, in percent, is taken. They need no key to come, so
/// that while no control plane takes records, they leave room for the visits of those who have one.
const UNIDENTIFIED_PERCENT: u64 = 50;

impl Spool {
    /// Whether there is room for the record of a visit without a valid key.
    #[must_use]
    pub fn has_room_for_unidentified(&self) -> bool {
        let shared = &self.shared;
        shared.bytes.load(Ordering::Relaxed) < shared.bytes_max / 100 * UNIDENTIFIED_PERCENT
    }

    /// Remembers a visit of which no record is written, so that [`Self::count_missed`] counts it.
    pub fn miss(&self, arrived: UnixMillis) {
        lock(&self.shared.ledger).miss(arrived);
        self.shared.misses.notify_one();
    }

    /// Waits until there are visits that no gap record counts yet. For one task at a time.
    pub async fn missed(&self) {
        while !lock(&self.shared.ledger).has_missed() {
            self.shared.misses.notified().await;
        }
    }

    /// Writes how many visits were missed, in a gap record with its audit entry, if there were any.
    ///
    /// # Errors
    /// When the disk refuses the write. They are then counted in the next one.
    pub fn count_missed(&self) -> Result<(), SpoolError> {
        let shared = &self.shared;
        let mut ledger = lock(&shared.ledger);
        if !ledger.has_missed() {
            return Ok(());
        }
        let mut batch = Batch::default();
        for salt in &evidence::salts(1)? {
            let taken = ledger.catch_up(&mut batch, salt);
            shared.write(&mut ledger, &batch).inspect_err(|error| shared.fail(error))?;
            shared.bytes.fetch_add(taken, Ordering::Relaxed);
        }
        drop(ledger);
        shared.look_at_depth();
        shared.arrivals.notify_one();
        Ok(())
    }
}
