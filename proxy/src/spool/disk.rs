//! Records on disk, in an embedded store with a journal.

use std::{collections::BTreeMap, fmt, path::Path};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{
    Recovered, SpoolError,
    ledger::{Batch, Numbered, Run},
    stored, weight,
};

/// The version of the layout.
const LAYOUT: u64 = 1;
const LAYOUT_KEY: &str = "layout";
const INCARNATION_KEY: &str = "incarnation";

/// Records live for seconds, so hardly any is read from a table; what is cached is read once.
const CACHE_BYTES: u64 = 1024 * 1024;
/// Written to a table when it grows past this: small, since it stays in memory; a busy replica writes a table every few
/// thousand visits.
const MEMTABLE_BYTES: u64 = 2 * 1024 * 1024;
/// Journals beyond this are emptied into tables. The store keeps at least one of 64 MiB, mostly a hole in the file.
const JOURNAL_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Tables are few and small.
const FILES_MAX: usize = 32;
/// Uncertain records written in one step at recovery.
const RECOVERY_BATCH: usize = 1_000;

/// The store: intents by (incarnation, visit), outcomes by (incarnation, sequence), both big-endian, so in order.
pub(super) struct Disk {
    database: Database,
    meta: Keyspace,
    intents: Keyspace,
    outcomes: Keyspace,
    path: String,
}

/// What was found, and the number of the new run.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) incarnation: u64,
    pub(super) runs: BTreeMap<u64, Run>,
    pub(super) bytes: u64,
    pub(super) recovered: Recovered,
}

impl Disk {
    /// Opens the store, begins a new run, and turns the intents of earlier runs into uncertain records of this one.
    pub(super) fn open(dir: &Path, now_ms: u64) -> Result<(Self, Found), SpoolError> {
        let path = dir.display().to_string();
        let failed = |error: fjall::Error| SpoolError::Store { path: path.clone(), reason: error.to_string() };
        let database = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .max_cached_files(Some(FILES_MAX))
            .worker_threads(1)
            .open()
            .map_err(failed)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let meta = database.keyspace("meta", options).map_err(failed)?;
        let intents = database.keyspace("intents", options).map_err(failed)?;
        let outcomes = database.keyspace("outcomes", options).map_err(failed)?;
        let disk = Self { database, meta, intents, outcomes, path };
        let incarnation = disk.begin_run(now_ms).map_err(|error| disk.failed(error))??;
        let found = disk.recover(incarnation).map_err(|error| disk.failed(error))?;
        Ok((disk, found))
    }

    pub(super) fn put_intent(&self, incarnation: u64, visit: u64, value: Vec<u8>) -> Result<(), SpoolError> {
        self.intents.insert(key(incarnation, visit), value).map_err(|error| self.failed(error))
    }

    /// Returns what was there before.
    pub(super) fn replace(&self, incarnation: u64, outcome: Numbered) -> Result<Option<Vec<u8>>, SpoolError> {
        let key = key(incarnation, outcome.sequence);
        let replaced = self.outcomes.get(key).and_then(|before| {
            self.outcomes.insert(key, outcome.value)?;
            Ok(before.map(|value| value.to_vec()))
        });
        replaced.map_err(|error| self.failed(error))
    }

    /// Writes outcomes and removes intents in one step.
    pub(super) fn settle(&self, incarnation: u64, batch: &Batch) -> Result<(), SpoolError> {
        let mut write = self.database.batch();
        for visit in &batch.settled {
            write.remove(&self.intents, key(incarnation, *visit));
        }
        for outcome in &batch.outcomes {
            write.insert(&self.outcomes, key(incarnation, outcome.sequence), outcome.value.as_slice());
        }
        write.commit().map_err(|error| self.failed(error))
    }

    pub(super) fn outcomes(
        &self,
        incarnation: u64,
        first: u64,
        last: u64,
    ) -> Result<Vec<(u64, fjall::UserValue)>, SpoolError> {
        let range = self.outcomes.range(key(incarnation, first)..=key(incarnation, last));
        let read = |guard: fjall::Guard| guard.into_inner().map(|(key, value)| (parts(&key).1, value));
        range.map(read).collect::<Result<_, _>>().map_err(|error| self.failed(error))
    }

    /// Removes outcomes in one step. Returns what they weighed.
    pub(super) fn forget(&self, incarnation: u64, first: u64, last: u64) -> Result<u64, SpoolError> {
        let mut freed = 0;
        let mut write = self.database.batch();
        for (sequence, value) in self.outcomes(incarnation, first, last)? {
            freed += weight(value.len());
            write.remove(&self.outcomes, key(incarnation, sequence));
        }
        write.commit().map_err(|error| self.failed(error))?;
        Ok(freed)
    }

    pub(super) fn failed(&self, error: impl fmt::Display) -> SpoolError {
        SpoolError::Store { path: self.path.clone(), reason: error.to_string() }
    }

    // The number rises with each start, even when the clock went back, and even when the directory was lost, provided that
    // the clock did not go back as well.
    fn begin_run(&self, now_ms: u64) -> fjall::Result<Result<u64, SpoolError>> {
        let layout = self.meta.get(LAYOUT_KEY)?.map_or(LAYOUT, |value| number(&value));
        if layout > LAYOUT {
            return Ok(Err(SpoolError::Newer { path: self.path.clone() }));
        }
        let before = self.meta.get(INCARNATION_KEY)?.map_or(0, |value| number(&value));
        let incarnation = before.saturating_add(1).max(now_ms);
        let mut write = self.database.batch().durability(Some(PersistMode::SyncAll));
        write.insert(&self.meta, LAYOUT_KEY, LAYOUT.to_be_bytes());
        write.insert(&self.meta, INCARNATION_KEY, incarnation.to_be_bytes());
        write.commit()?;
        Ok(Ok(incarnation))
    }

    fn recover(&self, incarnation: u64) -> fjall::Result<Found> {
        let mut found = Found { incarnation, ..Found::default() };
        for guard in self.outcomes.iter() {
            let (key, value) = guard.into_inner()?;
            let (run, sequence) = parts(&key);
            let range = found.runs.entry(run).or_insert(Run { first: sequence, next: sequence });
            range.next = sequence + 1;
            found.bytes += weight(value.len());
            found.recovered.unreported += 1;
        }
        self.settle_intents(&mut found)?;
        Ok(found)
    }

    // Each step removes intents and stores the records that they become. Killed between two steps, the next start goes on
    // with what is left.
    fn settle_intents(&self, found: &mut Found) -> fjall::Result<()> {
        let incarnation = found.incarnation;
        let mut next = 1;
        loop {
            let keys = self.intents.iter().take(RECOVERY_BATCH).map(fjall::Guard::into_inner);
            let intents = keys.collect::<fjall::Result<Vec<_>>>()?;
            if intents.is_empty() {
                break;
            }
            let mut write = self.database.batch().durability(Some(PersistMode::SyncAll));
            for (key_of_intent, value) in intents {
                let record = stored::decode(&value).map_or_else(
                    || {
                        found.recovered.unreadable += 1;
                        stored::gap(incarnation, next)
                    },
                    |mut record| {
                        found.recovered.uncertain += 1;
                        record.incarnation = i64::try_from(incarnation).unwrap_or(i64::MAX);
                        record.sequence = i64::try_from(next).unwrap_or(i64::MAX);
                        record
                    },
                );
                let value = stored::encode(&record);
                found.bytes += weight(value.len());
                write.insert(&self.outcomes, key(incarnation, next), value);
                write.remove(&self.intents, key_of_intent);
                next += 1;
            }
            write.commit()?;
        }
        if next > 1 {
            found.runs.insert(incarnation, Run { first: 1, next });
        }
        Ok(())
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("path", &self.path).finish_non_exhaustive()
    }
}

fn key(incarnation: u64, number: u64) -> [u8; 16] {
    ((u128::from(incarnation) << 64) | u128::from(number)).to_be_bytes()
}

// A key of another length cannot be there: nobody writes one.
fn parts(key: &[u8]) -> (u64, u64) {
    match key.split_at_checked(8) {
        Some((high, low)) => (number(high), number(low)),
        None => (0, 0),
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}
