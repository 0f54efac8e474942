//! What a machine's disk keeps: intents and outcomes, as the operating system has them and as the disk has them.

use std::collections::BTreeMap;

use super::plan::Durability;

/// The name of an account: the budget's number and the window's start.
pub(crate) type Place = (usize, i64);

/// What an attempt may cost, or did cost. The run is that of its hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Record {
    pub(crate) visit: u64,
    pub(crate) run: u64,
    pub(crate) cost: i64,
    pub(crate) charges: Vec<Place>,
}

#[derive(Clone, Debug)]
enum Write {
    Intent(Record),
    Outcome { visit: u64, record: Option<Record> },
    Forget { run: u64, through: u64 },
}

#[derive(Clone, Debug, Default)]
struct State {
    intents: BTreeMap<u64, Record>,
    // By run and sequence.
    outcomes: BTreeMap<(u64, u64), Record>,
    // The last sequence of each run.
    last: BTreeMap<u64, u64>,
}

/// A spool on the disk of one machine.
#[derive(Debug)]
pub(crate) struct Spool {
    durability: Durability,
    written: State,
    durable: State,
    unsynced: Vec<Write>,
    // Earlier runs of which nothing was lost.
    whole: Vec<u64>,
}

impl Spool {
    pub(crate) fn new(durability: Durability) -> Self {
        Self {
            durability,
            written: State::default(),
            durable: State::default(),
            unsynced: Vec::new(),
            whole: Vec::new(),
        }
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    pub(crate) fn intent(&mut self, intent: Record) {
        self.write(Write::Intent(intent));
    }

    /// Takes the place of the intent. Without a record, nothing was spent and nothing is remembered.
    pub(crate) fn outcome(&mut self, visit: u64, record: Option<Record>) {
        self.write(Write::Outcome { visit, record });
    }

    pub(crate) fn sync(&mut self) {
        for write in self.unsynced.drain(..) {
            self.durable.apply(&write);
        }
    }

    /// The oldest records that were not acknowledged, with the sequence of the first. They are durable.
    pub(crate) fn pending(&mut self) -> Option<(u64, u64, Vec<Record>)> {
        let (run, first) = *self.written.outcomes.keys().next()?;
        if self.durability != Durability::Memory {
            self.sync();
        }
        let records = self.written.outcomes.range((run, first)..=(run, u64::MAX)).take(40);
        Some((run, first, records.map(|(_, record)| record.clone()).collect()))
    }

    pub(crate) fn acknowledge(&mut self, run: u64, through: u64) {
        self.write(Write::Forget { run, through });
    }

    /// The process was killed, or the machine with it.
    pub(crate) fn crash(&mut self, run: u64, with_machine: bool) {
        let lost = match self.durability {
            Durability::Memory => true,
            Durability::Group => with_machine,
            Durability::Strict => false,
        };
        if !lost {
            self.whole.push(run);
        }
        if self.durability == Durability::Memory {
            self.durable = State::default();
        }
        if with_machine || self.durability == Durability::Memory {
            self.unsynced.clear();
            self.written = self.durable.clone();
        }
    }

    /// A new run finds the intents of those before it: they become records at their estimate. Returns them.
    pub(crate) fn open(&mut self, new_run: u64, in_new_run: bool) -> Vec<Record> {
        let found: Vec<Record> = self.written.intents.values().cloned().collect();
        for record in &found {
            let run = if in_new_run { new_run } else { record.run };
            let record = Record { run, ..record.clone() };
            self.write(Write::Outcome { visit: record.visit, record: Some(record) });
        }
        self.sync();
        found
    }

    /// Earlier runs of which nothing was lost and every record was acknowledged.
    pub(crate) fn replayed(&self, too_early: bool) -> Vec<u64> {
        let reported =
            |run: &u64| too_early || self.written.outcomes.range((*run, 0)..=(*run, u64::MAX)).next().is_none();
        self.whole.iter().copied().filter(reported).collect()
    }

    pub(crate) fn forget_replayed(&mut self, runs: &[u64]) {
        self.whole.retain(|run| !runs.contains(run));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.written.outcomes.is_empty()
    }

    fn write(&mut self, write: Write) {
        self.written.apply(&write);
        self.unsynced.push(write);
    }
}

impl State {
    fn apply(&mut self, write: &Write) {
        match write {
            Write::Intent(intent) => {
                self.intents.insert(intent.visit, intent.clone());
            }
            Write::Outcome { visit, record } => {
                self.intents.remove(visit);
                if let Some(record) = record {
                    let last = self.last.entry(record.run).or_default();
                    *last += 1;
                    self.outcomes.insert((record.run, *last), record.clone());
                }
            }
            Write::Forget { run, through } => self.outcomes.retain(|at, _| at.0 != *run || at.1 > *through),
        }
    }
}
