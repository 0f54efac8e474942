//! What a replica remembers until the control plane has it: an intent before a visit may cost anything, an outcome after it.
//!
//! A write has reached the operating system when it returns, so a killed process loses nothing; how much a lost machine may
//! lose is the [`Durability`]. Intents that have no outcome when the spool is opened again become *uncertain* records at
//! their estimate, once. Outcomes bear a sequence without gaps within the run, the *incarnation*, whose number rises with
//! each start; the control plane counts each pair once.
//!
//! ```text
//! intent ........ outcome, in one batch with the intent's removal ........ receipt, in one batch with the outcome's
//! killed here: uncertain            killed here: sent by the next run               removal
//! ```
//!
//! With its sequence each record gets its audit entry, and a place in the chain of the run ([`crate::evidence`]). Records of
//! earlier runs keep those that they were stored with. An entry takes 0.9 to 1.6 kB (`benches/evidence.rs`), more than the record
//! beside it. A gap in the place of a record that was lost has none: nobody knows what
//! stood there.
//!
//! The spool is bounded. When it is full, intents are refused and with them the visits; records of visits without an intent,
//! which were refused or whose key does not require the audit log, are counted in a gap record instead of stored, so that a
//! flood of them neither fills the disk nor goes unseen.
//!
//! Reading order: `contract`, what callers hand in and are told; here, the spool; `missed`, what is only counted; `ledger`, the sequences;
//! `stored`, what the values look like; `disk` and `memory`, where they are; `journals`, how they become durable.

use std::{
    collections::HashMap,
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;
use tollgate_policy::time::UnixMillis;
use tollgate_proto::usage::v1;

pub use self::contract::{
    Backlog, Depth, Durability, Ended, Intent, Options, Pending, Recovered, SpoolError, Ticketed,
};

use self::{
    disk::Disk,
    journals::Journals,
    ledger::{Batch, Ledger, Numbered},
    memory::Memory,
};
use crate::evidence::{self, Chain};

mod contract;
mod missed;
mod ledger;
mod stored;
mod disk;
mod memory;
mod journals;

/// The smallest bound of a spool: below it, one batch of long records would fill it.
pub const BYTES_MIN: u64 = 1024 * 1024;
/// The share of the bound, in percent, at which the spool warns.
pub const ALARM_PERCENT: u64 = 80;
// The warning ends here, so that it does not flicker.
const ALARM_OVER_PERCENT: u64 = 60;
/// Where Linux names the boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// What a record takes besides its own bytes: keys, journal and index.
const OVERHEAD_BYTES: u64 = 64;
/// The most records that [`Spool::pending`] hands out at a time: what the contract of Report allows.
pub const BATCH_MAX: usize = 500;
/// The most that [`Spool::pending`] hands out at a time, in encoded bytes, beyond the first record: half of what the control plane
/// takes in one message. A record that fills its bounds takes 16 KiB, most take 2.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// The most earlier runs that [`Spool::replayed`] names at a time: what the contract of Exchange allows.
pub const REPLAYED_MAX: usize = 256;

/// The spool. Cloning shares it.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    durability: Durability,
    bytes_max: u64,
    incarnation: u64,
    ledger: Mutex<Ledger>,
    // The size of each open intent, by visit.
    open: Mutex<HashMap<u64, u64>>,
    bytes: AtomicU64,
    dropped: AtomicU64,
    earlier: Mutex<Earlier>,
    alarming: AtomicBool,
    failed: AtomicBool,
    arrivals: Notify,
    misses: Notify,
}

// Earlier runs of which every record is here or was reported, and up to which sequence of the current run their open visits
// were recovered.
#[derive(Debug, Default)]
struct Earlier {
    runs: Vec<u64>,
    recovered_through: u64,
}

enum Store {
    Disk(Disk, Journals),
    Memory(Memory),
}

// === impl Spool ===

impl Spool {
    /// Opens the spool in a directory of its own, which is made when it is missing, and settles what the run before left.
    /// Blocks.
    ///
    /// # Errors
    /// When the bound is too small, when the directory is in use or cannot be read, or when a newer version wrote it.
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Recovered), SpoolError> {
        // Linux names each boot; elsewhere a machine that was started anew cannot be told from one that was not.
        let boot = std::fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
        Self::open_at(dir, options, u64::try_from(crate::clock::wall().get()).unwrap_or_default(), boot)
    }

    fn open_at(dir: &Path, options: Options, now_ms: u64, boot: String) -> Result<(Self, Recovered), SpoolError> {
        if options.bytes_max < BYTES_MIN {
            return Err(SpoolError::TooSmall);
        }
        let (store, found) = if options.durability == Durability::Memory {
            let chain = Chain::begin(now_ms.max(1));
            (Store::Memory(Memory::default()), disk::Found { chain, ..disk::Found::default() })
        } else {
            let keeping = disk::Keeping { durability: options.durability, boot };
            let (disk, found) = Disk::open(dir, now_ms, &keeping)?;
            let journals = Journals::start(dir, options.durability)
                .map_err(|error| SpoolError::Store { path: dir.display().to_string(), reason: error.to_string() })?;
            (Store::Disk(disk, journals), found)
        };
        let incarnation = found.chain.incarnation();
        let recovered_through = found.runs.get(&incarnation).map_or(0, |run| run.next - 1);
        let earlier = Mutex::new(Earlier { runs: found.earlier, recovered_through });
        let shared = Shared {
            store,
            durability: options.durability,
            bytes_max: options.bytes_max,
            incarnation,
            ledger: Mutex::new(Ledger::new(found.chain, found.runs)),
            open: Mutex::default(),
            bytes: AtomicU64::new(found.bytes),
            dropped: AtomicU64::new(0),
            earlier,
            alarming: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            arrivals: Notify::new(),
            misses: Notify::new(),
        };
        shared.look_at_depth();
        Ok((Self { shared: Arc::new(shared) }, found.recovered))
    }

    /// The number of this run.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.shared.incarnation
    }

    /// What a lost machine may lose.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.shared.durability
    }

    /// Remembers that a visit may cost something. It has reached the operating system when this returns, in microseconds;
    /// nothing may be sent to a provider before [`Self::durable`] returned as well.
    ///
    /// # Errors
    /// When the spool is full or failed: the visit must be refused, unless no budget is charged for it and its key does not
    /// require the audit log.
    pub fn intent(&self, intent: &Intent) -> Result<Ticketed, Backlog> {
        let shared = &self.shared;
        if shared.failed.load(Ordering::Relaxed) {
            return Err(Backlog::Failed);
        }
        let value = stored::intent(intent, shared.incarnation);
        let size = weight(value.len());
        if shared.bytes.fetch_add(size, Ordering::Relaxed) + size > shared.bytes_max {
            shared.bytes.fetch_sub(size, Ordering::Relaxed);
            return Err(Backlog::Full);
        }
        // A further attempt of a visit takes the place of the one before.
        if let Some(before) = lock(&shared.open).insert(intent.visit, size) {
            shared.release(before);
        }
        let position = match &shared.store {
            Store::Memory(_) => 0,
            Store::Disk(disk, journals) => {
                if let Err(error) = disk.put_intent(shared.incarnation, intent.visit, value) {
                    shared.fail(&error);
                    lock(&shared.open).remove(&intent.visit);
                    shared.bytes.fetch_sub(size, Ordering::Relaxed);
                    return Err(Backlog::Failed);
                }
                journals.written()
            }
        };
        shared.look_at_depth();
        Ok(Ticketed { position })
    }

    /// Waits until an intent would survive the machine, where the durability is strict; returns at once otherwise.
    ///
    /// # Errors
    /// When the disk refused to make it durable: as [`Self::intent`].
    pub async fn durable(&self, ticketed: Ticketed) -> Result<(), Backlog> {
        match (&self.shared.store, self.shared.durability) {
            (Store::Disk(_, journals), Durability::Strict) => journals.durable(ticketed.position).await,
            _ => Ok(()),
        }
    }

    /// Remembers how visits ended, gives each record its sequence and its audit entry, and forgets their intents, all in one
    /// step. For one task at a time; it writes and does not wait.
    ///
    /// # Errors
    /// When the disk refuses the write. The intents are then still there, and become uncertain records at the next start.
    /// Visits without one are counted, in the metrics at once and in the first gap record that is written. After a
    /// failed write the store of a disk takes none until the process is started anew, and then nobody remembers the number.
    pub fn outcomes(&self, ended: Vec<Ended>) -> Result<(), SpoolError> {
        let shared = &self.shared;
        let unnoted = ended.iter().filter(|ended| ended.visit.is_none()).map(|ended| arrived(&ended.record));
        let unnoted: Vec<UnixMillis> = unnoted.collect();
        let mut ledger = lock(&shared.ledger);
        self.settle(&mut ledger, ended).inspect_err(|error| shared.unwritten(&mut ledger, &unnoted, error))?;
        drop(ledger);
        shared.look_at_depth();
        shared.arrivals.notify_one();
        Ok(())
    }

    fn settle(&self, ledger: &mut Ledger, ended: Vec<Ended>) -> Result<(), SpoolError> {
        let shared = &self.shared;
        let salts = evidence::salts(ended.len())?;
        let mut batch = Batch::default();
        let mut freed = 0;
        let mut taken = 0;
        let mut dropped = 0;
        for (Ended { visit, record, circumstances }, salt) in ended.into_iter().zip(&salts) {
            if let Some(visit) = visit {
                freed += lock(&shared.open).remove(&visit).unwrap_or_default();
                batch.settled.push(visit);
            } else if shared.is_full() {
                dropped += 1;
                taken += ledger.dropped(&mut batch, arrived(&record), salt);
                continue;
            }
            taken += ledger.ended(&mut batch, record, &circumstances, salt);
        }
        shared.write(ledger, &batch)?;
        shared.dropped.fetch_add(dropped, Ordering::Relaxed);
        shared.bytes.fetch_add(taken, Ordering::Relaxed);
        shared.release(freed);
        Ok(())
    }

    /// The oldest records that are not reported, those of earlier runs first; `None` when all are. They are durable, so that
    /// what the control plane has is never settled again as uncertain. The same records are handed out until they are
    /// acknowledged. Blocks.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn pending(&self) -> Result<Option<Pending>, SpoolError> {
        let shared = &self.shared;
        let Some((incarnation, first, last)) = lock(&shared.ledger).hand_out(BATCH_MAX) else { return Ok(None) };
        let (records, lost) = match &shared.store {
            Store::Memory(memory) => stored::contiguous(incarnation, first, last, memory.outcomes(first, last)),
            Store::Disk(disk, journals) => {
                journals.sync().map_err(|error| disk.failed(error))?;
                stored::contiguous(incarnation, first, last, disk.outcomes(incarnation, first, last)?)
            }
        };
        if lost > 0 {
            self.lose_charge()?;
        }
        Ok(Some(Pending { incarnation, first, records: stored::within(records, BATCH_BYTES_MAX) }))
    }

    /// Forgets the records of a run up to a sequence, since the control plane has them. Blocks.
    ///
    /// # Errors
    /// When the disk refuses the write. The records are then reported again, which is harmless.
    pub fn acknowledge(&self, incarnation: u64, through: u64) -> Result<(), SpoolError> {
        let shared = &self.shared;
        let Some((first, last)) = lock(&shared.ledger).reported(incarnation, through) else { return Ok(()) };
        let freed = match &shared.store {
            Store::Memory(memory) => memory.forget(first, last),
            Store::Disk(disk, _) => disk.forget(incarnation, first, last)?,
        };
        lock(&shared.ledger).forget(incarnation, last);
        shared.release(freed);
        shared.look_at_depth();
        Ok(())
    }

    /// Puts a gap record in the place of one that the control plane refuses to take, so that those behind it can go on.
    /// Returns whether it was no gap record before. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn replace_by_gap(&self, incarnation: u64, sequence: u64) -> Result<bool, SpoolError> {
        let value = stored::encode(&stored::gap(incarnation, sequence));
        let after = weight(value.len());
        let gap = Numbered { sequence, value };
        // A visit of nobody was charged to nobody.
        if !self.shared.outcome(incarnation, sequence)?.is_some_and(|record| record.unidentified) {
            self.lose_charge()?;
        }
        let before = match &self.shared.store {
            Store::Memory(memory) => memory.replace(gap),
            Store::Disk(disk, _) => disk.replace(incarnation, gap)?,
        };
        // Forgetting it will free what the gap weighs, so the rest is freed here.
        self.shared.release(before.as_ref().map_or(0, |value| weight(value.len())).saturating_sub(after));
        let was_gap = before.and_then(|value| stored::decode(&value)).is_some_and(|record| record.dropped > 0);
        Ok(!was_gap)
    }

    /// The earlier runs of which every record was acknowledged and none was lost: what they borrowed and did not spend is
    /// free. At most [`REPLAYED_MAX`]; the same runs are named until [`Self::released`] takes them.
    #[must_use]
    pub fn replayed(&self) -> Vec<u64> {
        let earlier = lock(&self.shared.earlier);
        let reported = || lock(&self.shared.ledger).is_reported(earlier.recovered_through);
        if earlier.runs.is_empty() || !reported() {
            return Vec::new();
        }
        earlier.runs.iter().take(REPLAYED_MAX).copied().collect()
    }

    /// Forgets earlier runs, since the control plane knows that what they borrowed is free. Blocks.
    ///
    /// # Errors
    /// When the disk refuses the write. They are then named again, which is harmless.
    pub fn released(&self, runs: &[u64]) -> Result<(), SpoolError> {
        let mut earlier = lock(&self.shared.earlier);
        let left: Vec<u64> = earlier.runs.iter().filter(|run| !runs.contains(run)).copied().collect();
        if earlier.runs != left {
            if let Store::Disk(disk, _) = &self.shared.store {
                disk.keep_earlier(&left)?;
            }
            earlier.runs = left;
        }
        Ok(())
    }

    // A charge is lost: what this run and earlier ones borrowed is never known to be free, whatever else is reported.
    fn lose_charge(&self) -> Result<(), SpoolError> {
        let mut earlier = lock(&self.shared.earlier);
        if let Store::Disk(disk, _) = &self.shared.store {
            disk.keep_nothing()?;
        }
        earlier.runs.clear();
        Ok(())
    }

    /// Waits until records were added since the last call.
    pub async fn arrived(&self) {
        self.shared.arrivals.notified().await;
    }

    /// How full it is.
    #[must_use]
    pub fn depth(&self) -> Depth {
        // One lock after the other: `outcomes` takes the second while it has the first, in the other order.
        let intents = lock(&self.shared.open).len();
        let outcomes = lock(&self.shared.ledger).len();
        Depth {
            intents: intents.try_into().unwrap_or(u64::MAX),
            outcomes,
            bytes: self.shared.bytes.load(Ordering::Relaxed),
            bytes_max: self.shared.bytes_max,
            dropped: self.shared.dropped.load(Ordering::Relaxed),
        }
    }

    /// Whether no visit can be taken: the spool is full, or its disk failed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.shared.is_full() || self.shared.failed.load(Ordering::Relaxed)
    }

    /// Makes everything durable. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&self) -> Result<(), SpoolError> {
        match &self.shared.store {
            Store::Memory(_) => Ok(()),
            Store::Disk(disk, journals) => journals.sync().map_err(|error| disk.failed(error)),
        }
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("incarnation", &self.shared.incarnation).field("depth", &self.depth()).finish()
    }
}

// === impl Shared ===

impl Shared {
    fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.bytes_max
    }

    // In one step, or not at all.
    fn write(&self, ledger: &mut Ledger, batch: &Batch) -> Result<(), SpoolError> {
        let written = match &self.store {
            Store::Memory(memory) => {
                memory.settle(batch);
                Ok(())
            }
            Store::Disk(disk, journals) => disk.settle(self.incarnation, batch).map(|()| {
                journals.written();
            }),
        };
        written.inspect_err(|_| ledger.undo(batch))
    }

    fn outcome(&self, incarnation: u64, sequence: u64) -> Result<Option<v1::Record>, SpoolError> {
        Ok(match &self.store {
            Store::Memory(memory) => {
                memory.outcomes(sequence, sequence).first().and_then(|(_, value)| stored::decode(value))
            }
            Store::Disk(disk, _) => {
                disk.outcomes(incarnation, sequence, sequence)?.first().and_then(|(_, value)| stored::decode(value))
            }
        })
    }

    fn release(&self, size: u64) {
        self.bytes.fetch_sub(size, Ordering::Relaxed);
    }

    fn fail(&self, error: &SpoolError) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "spool failed and takes no more visits");
        }
    }

    // Of visits without an intent nothing is left but their number. Refused ones are among them.
    fn unwritten(&self, ledger: &mut Ledger, unnoted: &[UnixMillis], error: &SpoolError) {
        self.fail(error);
        self.dropped.fetch_add(unnoted.len().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        unnoted.iter().for_each(|arrived| ledger.miss(*arrived));
    }

    fn look_at_depth(&self) {
        let percent = self.bytes.load(Ordering::Relaxed).saturating_mul(100) / self.bytes_max;
        let alarming = self.alarming.load(Ordering::Relaxed);
        if percent >= ALARM_PERCENT && !alarming && !self.alarming.swap(true, Ordering::Relaxed) {
            tracing::warn!(percent, "spool fills with unreported records");
        } else if percent < ALARM_OVER_PERCENT && alarming && self.alarming.swap(false, Ordering::Relaxed) {
            tracing::info!(percent, "spool has room again");
        }
    }
}

fn arrived(record: &v1::Record) -> UnixMillis {
    UnixMillis::new(record.arrived_ms)
}

fn weight(value_bytes: usize) -> u64 {
    u64::try_from(value_bytes).unwrap_or(u64::MAX).saturating_add(OVERHEAD_BYTES)
}

// What these locks guard is sound at every step, whatever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
