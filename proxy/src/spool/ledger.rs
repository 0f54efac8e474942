//! The sequences: which are given, which are handed out, which are reported. With its sequence a record gets its place in the
//! chain of the run, so that both are taken back together when a write fails.

use std::collections::BTreeMap;

use tollgate_audit::seal::Salt;
use tollgate_policy::time::UnixMillis;
use tollgate_proto::{convert::usage::Gap, usage::v1};

use super::{stored, weight};
use crate::evidence::{Chain, Circumstances};

/// Who gives each record its sequence. There is one, behind a lock.
#[derive(Debug)]
pub(super) struct Ledger {
    chain: Chain,
    // The unreported sequences of each run, without gaps. The current run is always there.
    runs: BTreeMap<u64, Run>,
    // The newest record, while it is a gap that can still grow.
    gap: Option<OpenGap>,
    // What no gap counts yet.
    missed: Option<Missed>,
    // The highest sequence of the current run that a report may be carrying.
    handed_out: u64,
}

/// The unreported records of a run: from `first`, up to the one before `next`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) next: u64,
}

// A gap, its salt, and the chain before it: what it says changes as it grows, and with that its weight; where it stands does not.
#[derive(Clone, Copy, Debug)]
struct OpenGap {
    gap: Gap,
    salt: Salt,
    before: Chain,
    weight: u64,
}

// Records of which nothing is left but when they were and how many.
#[derive(Clone, Copy, Debug)]
struct Missed {
    from: UnixMillis,
    duration_ms: u64,
    count: u64,
}

/// What is written in one step.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) settled: Vec<u64>,
    pub(super) outcomes: Vec<Numbered>,
    // How many sequences were given, and the gap and the chain as they were before.
    given: u64,
    before: Option<(Option<OpenGap>, Chain)>,
    // What its gap counts of what was missed before.
    missed: Option<Missed>,
}

/// A record as it is stored, and its sequence.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) sequence: u64,
    pub(super) value: Vec<u8>,
}

impl Ledger {
    /// Goes on where earlier runs ended, or where recovery left the current one.
    pub(super) fn new(chain: Chain, mut runs: BTreeMap<u64, Run>) -> Self {
        runs.entry(chain.incarnation()).or_insert(Run { first: 1, next: 1 });
        Self { chain, runs, gap: None, missed: None, handed_out: 0 }
    }

    /// Adds a record under the next sequence. Returns what it weighs.
    pub(super) fn ended(
        &mut self,
        batch: &mut Batch,
        record: v1::Record,
        circumstances: &Circumstances,
        salt: &Salt,
    ) -> u64 {
        self.remember(batch);
        self.gap = None;
        let sequence = self.give(batch);
        push(batch, sequence, &self.chain.append(sequence, record, circumstances, salt))
    }

    /// Counts a record that finds no room, in the newest gap if that is the newest record and still here, otherwise in a new
    /// one, which takes the salt. Returns what that adds.
    pub(super) fn dropped(&mut self, batch: &mut Batch, arrived: UnixMillis, salt: &Salt) -> u64 {
        self.count(batch, &Missed::one(arrived), salt)
    }

    /// Remembers a record that was not written, to be counted by [`Self::catch_up`].
    pub(super) fn miss(&mut self, arrived: UnixMillis) {
        let one = Missed::one(arrived);
        self.missed = Some(self.missed.map_or(one, |missed| missed.and(&one)));
    }

    /// Whether there are records that no gap counts yet.
    pub(super) const fn has_missed(&self) -> bool {
        self.missed.is_some()
    }

    /// Counts what was missed, as [`Self::dropped`] does. Returns what that adds.
    pub(super) fn catch_up(&mut self, batch: &mut Batch, salt: &Salt) -> u64 {
        let Some(missed) = self.missed.take() else { return 0 };
        batch.missed = Some(missed);
        self.count(batch, &missed, salt)
    }

    fn count(&mut self, batch: &mut Batch, missed: &Missed, salt: &Salt) -> u64 {
        self.remember(batch);
        let open = self.gap.filter(|open| open.gap.sequence > self.handed_out);
        let open = match open {
            Some(open) => open.with(missed),
            None => {
                let sequence = self.give(batch);
                let incarnation = self.chain.incarnation();
                let Missed { from, duration_ms, count } = *missed;
                let gap = Gap { incarnation, sequence, from, duration_ms, dropped: count };
                OpenGap { gap, salt: *salt, before: self.chain, weight: 0 }
            }
        };
        let sequence = open.gap.sequence;
        // It replaces the gap that is there, behind which nothing follows in the chain.
        batch.outcomes.retain(|outcome| outcome.sequence != sequence);
        self.chain = open.before;
        let record = self.chain.append(sequence, v1::Record::from(&open.gap), &Circumstances::default(), &open.salt);
        let weight = push(batch, sequence, &record);
        self.gap = Some(OpenGap { weight, ..open });
        weight.saturating_sub(open.weight)
    }

    /// Takes back what a batch that was not written had taken.
    pub(super) fn undo(&mut self, batch: &Batch) {
        let run = self.current();
        run.next = run.next.saturating_sub(batch.given);
        if let Some(before) = batch.before {
            (self.gap, self.chain) = before;
        }
        self.missed = batch.missed.or(self.missed);
    }

    /// The oldest run with unreported records, and the first and the last of the next report.
    pub(super) fn hand_out(&mut self, most: usize) -> Option<(u64, u64, u64)> {
        let (incarnation, run) = self.runs.iter().find(|(_, run)| run.first < run.next)?;
        let (incarnation, first) = (*incarnation, run.first);
        let last = (run.next - 1).min(first.saturating_add(u64::try_from(most).unwrap_or(u64::MAX)).saturating_sub(1));
        if incarnation == self.chain.incarnation() {
            self.handed_out = self.handed_out.max(last);
        }
        Some((incarnation, first, last))
    }

    /// Which records a receipt covers. `None` when they are forgotten already.
    pub(super) fn reported(&self, incarnation: u64, through: u64) -> Option<(u64, u64)> {
        let run = self.runs.get(&incarnation)?;
        // A receipt for more than was sent would forget what comes.
        let last = through.min(run.next.saturating_sub(1));
        (run.first <= last).then_some((run.first, last))
    }

    /// Forgets the records of a run up to a sequence.
    pub(super) fn forget(&mut self, incarnation: u64, last: u64) {
        let Some(run) = self.runs.get_mut(&incarnation) else { return };
        run.first = run.first.max(last.saturating_add(1)).min(run.next);
        if run.first == run.next && incarnation != self.chain.incarnation() {
            self.runs.remove(&incarnation);
        }
    }

    /// Whether every record of earlier runs is reported, and those of this one up to a sequence.
    pub(super) fn is_reported(&self, through: u64) -> bool {
        let current = self.chain.incarnation();
        self.runs.iter().all(
            |(incarnation, run)| {
                if *incarnation == current { run.first > through } else { run.first == run.next }
            },
        )
    }

    /// How many records are unreported.
    pub(super) fn len(&self) -> u64 {
        self.runs.values().map(|run| run.next - run.first).sum()
    }

    fn give(&mut self, batch: &mut Batch) -> u64 {
        let run = self.current();
        let sequence = run.next;
        run.next += 1;
        batch.given += 1;
        sequence
    }

    fn current(&mut self) -> &mut Run {
        self.runs.entry(self.chain.incarnation()).or_insert(Run { first: 1, next: 1 })
    }

    fn remember(&self, batch: &mut Batch) {
        batch.before.get_or_insert((self.gap, self.chain));
    }
}

impl OpenGap {
    // With more records.
    fn with(mut self, more: &Missed) -> Self {
        let held = Missed { from: self.gap.from, duration_ms: self.gap.duration_ms, count: self.gap.dropped };
        let Missed { from: _, duration_ms, count } = held.and(more);
        (self.gap.duration_ms, self.gap.dropped) = (duration_ms, count);
        self
    }
}

impl Missed {
    const fn one(arrived: UnixMillis) -> Self {
        Self { from: arrived, duration_ms: 0, count: 1 }
    }

    // Both. The first says where it begins: visits end in another order than they arrived in.
    fn and(self, more: &Self) -> Self {
        let behind = u64::try_from(more.from.get().saturating_sub(self.from.get())).unwrap_or_default();
        Self {
            from: self.from,
            duration_ms: self.duration_ms.max(behind.saturating_add(more.duration_ms)),
            count: self.count.saturating_add(more.count),
        }
    }
}

fn push(batch: &mut Batch, sequence: u64, record: &v1::Record) -> u64 {
    let value = stored::encode(record);
    let size = weight(value.len());
    batch.outcomes.push(Numbered { sequence, value });
    size
}
