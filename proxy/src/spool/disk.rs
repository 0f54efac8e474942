//! Records on disk, in an embedded store with a journal.

use std::{collections::BTreeMap, fmt, io, path::Path};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{
    Durability, Recovered, SpoolError,
    ledger::{Batch, Numbered, Run},
    stored, weight,
};
use crate::evidence::{self, Chain};

/// The version of the layout.
const LAYOUT: u64 = 1;
const LAYOUT_KEY: &str = "layout";
const INCARNATION_KEY: &str = "incarnation";
/// How the current run keeps its records: the durability, and the boot of the machine.
const KEPT_KEY: &str = "kept";
/// The earlier runs of which nothing was lost and whose leases are not yet known to be free: 8 bytes each, big-endian.
const EARLIER_KEY: &str = "earlier";

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

/// What was found, and the chain of the new run.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) chain: Chain,
    pub(super) runs: BTreeMap<u64, Run>,
    pub(super) bytes: u64,
    pub(super) recovered: Recovered,
    /// Earlier runs of which nothing was lost.
    pub(super) earlier: Vec<u64>,
}

/// What decides whether a run's records outlive it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Keeping {
    /// When records become durable.
    pub(super) durability: Durability,
    /// Which boot of the machine it is; empty when that is not known.
    pub(super) boot: String,
}

impl Disk {
    /// Opens the store, begins a new run, and turns the intents of earlier runs into uncertain records of this one.
    pub(super) fn open(dir: &Path, now_ms: u64, keeping: &Keeping) -> Result<(Self, Found), SpoolError> {
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
        let earlier = disk.earlier(keeping).map_err(|error| disk.failed(error))?;
        let incarnation = disk.begin_run(now_ms, keeping, &earlier).map_err(|error| disk.failed(error))??;
        let mut found = disk.recover(incarnation).map_err(|error| disk.failed(error))?;
        if found.recovered.unreadable == 0 {
            found.earlier = earlier;
        } else {
            disk.keep_earlier(&[])?;
        }
        Ok((disk, found))
    }

    /// Remembers which earlier runs wait for their leases to be free.
    pub(super) fn keep_earlier(&self, earlier: &[u64]) -> Result<(), SpoolError> {
        self.meta.insert(EARLIER_KEY, encoded(earlier)).map_err(|error| self.failed(error))
    }

    /// Remembers that a charge of this run, or of one before it, is lost: what they borrowed is never known to be free.
    pub(super) fn keep_nothing(&self) -> Result<(), SpoolError> {
        let nothing = Keeping { durability: Durability::Memory, boot: String::new() };
        let mut write = self.database.batch().durability(Some(PersistMode::SyncAll));
        write.insert(&self.meta, KEPT_KEY, nothing.encode());
        write.insert(&self.meta, EARLIER_KEY, encoded(&[]));
        write.commit().map_err(|error| self.failed(error))
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

    // Adds the run before to the earlier ones, if all that it wrote is here: it was durable before anything was sent, or the
    // machine, whose memory holds what is not on the disk yet, has not been started anew since.
    fn earlier(&self, now: &Keeping) -> fjall::Result<Vec<u64>> {
        let mut earlier = self.meta.get(EARLIER_KEY)?.map(|value| decoded(&value)).unwrap_or_default();
        let run = self.meta.get(INCARNATION_KEY)?.map(|value| number(&value));
        let kept = self.meta.get(KEPT_KEY)?.map(|value| Keeping::decode(&value));
        if let Some((run, kept)) = run.zip(kept) {
            let survives = match kept.durability {
                Durability::Strict => true,
                Durability::Group => !kept.boot.is_empty() && kept.boot == now.boot,
                Durability::Memory => false,
            };
            if survives {
                earlier.push(run);
            } else {
                tracing::warn!(
                    run,
                    "records of the run before may be lost: what it borrowed stays lent until released"
                );
            }
        }
        Ok(earlier)
    }

    // The number rises with each start, even when the clock went back, and even when the directory was lost, provided that
    // the clock did not go back as well.
    fn begin_run(&self, now_ms: u64, keeping: &Keeping, earlier: &[u64]) -> fjall::Result<Result<u64, SpoolError>> {
        let layout = self.meta.get(LAYOUT_KEY)?.map_or(LAYOUT, |value| number(&value));
        if layout > LAYOUT {
            return Ok(Err(SpoolError::Newer { path: self.path.clone() }));
        }
        let before = self.meta.get(INCARNATION_KEY)?.map_or(0, |value| number(&value));
        let incarnation = before.saturating_add(1).max(now_ms);
        let mut write = self.database.batch().durability(Some(PersistMode::SyncAll));
        write.insert(&self.meta, LAYOUT_KEY, LAYOUT.to_be_bytes());
        write.insert(&self.meta, INCARNATION_KEY, incarnation.to_be_bytes());
        write.insert(&self.meta, KEPT_KEY, keeping.encode());
        write.insert(&self.meta, EARLIER_KEY, encoded(earlier));
        write.commit()?;
        Ok(Ok(incarnation))
    }

    fn recover(&self, incarnation: u64) -> fjall::Result<Found> {
        let mut found = Found { chain: Chain::begin(incarnation), ..Found::default() };
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
        let incarnation = found.chain.incarnation();
        let mut next = 1;
        loop {
            let keys = self.intents.iter().take(RECOVERY_BATCH).map(fjall::Guard::into_inner);
            let intents = keys.collect::<fjall::Result<Vec<_>>>()?;
            if intents.is_empty() {
                break;
            }
            let salts = evidence::salts(intents.len()).map_err(|error| fjall::Error::Io(io::Error::other(error)))?;
            let mut write = self.database.batch().durability(Some(PersistMode::SyncAll));
            for ((key_of_intent, value), salt) in intents.into_iter().zip(&salts) {
                let (record, known) = stored::decode(&value).map_or_else(
                    || {
                        found.recovered.unreadable += 1;
                        (stored::gap(incarnation, next), vec![])
                    },
                    |mut record| {
                        found.recovered.uncertain += 1;
                        // The cost is paid from what its own run had borrowed.
                        record.held_incarnation = i64::try_from(parts(&key_of_intent).0).unwrap_or(i64::MAX);
                        let noted = record.evidence.take().unwrap_or_default();
                        (record, noted.body)
                    },
                );
                let value = stored::encode(&found.chain.append_noted(next, record, &known, salt));
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

// === impl Keeping ===

impl Keeping {
    fn encode(&self) -> Vec<u8> {
        let durability = match self.durability {
            Durability::Strict => b's',
            Durability::Group => b'g',
            Durability::Memory => b'm',
        };
        [&[durability], self.boot.as_bytes()].concat()
    }

    // Whatever else stands there kept nothing.
    fn decode(value: &[u8]) -> Self {
        let (first, boot) = value.split_first().map_or((b'm', &[][..]), |(first, boot)| (*first, boot));
        let durability = match first {
            b's' => Durability::Strict,
            b'g' => Durability::Group,
            _ => Durability::Memory,
        };
        Self { durability, boot: String::from_utf8_lossy(boot).into_owned() }
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

fn encoded(runs: &[u64]) -> Vec<u8> {
    runs.iter().flat_map(|run| run.to_be_bytes()).collect()
}

fn decoded(value: &[u8]) -> Vec<u64> {
    value.chunks_exact(8).map(number).collect()
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
