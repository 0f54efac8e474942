//! Records in memory, for replicas without a disk.

use std::{collections::BTreeMap, sync::Mutex};

use super::{
    ledger::{Batch, Numbered},
    lock, weight,
};

/// The unreported outcomes. There is one run, and intents need no place: they would not outlive it.
#[derive(Debug, Default)]
pub(super) struct Memory {
    outcomes: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl Memory {
    pub(super) fn settle(&self, batch: &Batch) {
        let values = batch.outcomes.iter().map(|outcome| (outcome.sequence, outcome.value.clone()));
        lock(&self.outcomes).extend(values);
    }

    /// Returns what was there before.
    pub(super) fn replace(&self, outcome: Numbered) -> Option<Vec<u8>> {
        lock(&self.outcomes).insert(outcome.sequence, outcome.value)
    }

    pub(super) fn outcomes(&self, first: u64, last: u64) -> Vec<(u64, Vec<u8>)> {
        lock(&self.outcomes).range(first..=last).map(|(sequence, value)| (*sequence, value.clone())).collect()
    }

    /// Removes outcomes. Returns what they weighed.
    pub(super) fn forget(&self, first: u64, last: u64) -> u64 {
        let mut outcomes = lock(&self.outcomes);
        (first..=last).filter_map(|sequence| outcomes.remove(&sequence)).map(|value| weight(value.len())).sum()
    }
}
