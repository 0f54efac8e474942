//! What a seed stands for: who takes part, what they may spend, and what goes wrong.

use tollgate_policy::{
    money::NanoUsd,
    time::UnixMillis,
    window::{Alignment, Period, Unit, Windows, Zone},
};

use super::rng::Rng;

/// A fault that is planted into the world around the state machines. The suite must notice each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    None,
    /// A strict spool says that an intent is durable without fsync.
    NoSpoolFsync,
    /// The control plane serves an older run of a replica.
    NoFence,
    /// What a replica that seems dead had borrowed is lent to others.
    DeadLeaseRegranted,
    /// A cancelled request forgets its hold.
    HoldForgotten,
    /// The end of a window sets the books to zero.
    WindowZeroed,
    /// A request is not held in the topmost budget.
    AncestorSkipped,
    /// A charge does not reach the topmost budget.
    AncestorUncharged,
    /// A record that is reported twice counts twice.
    CountedTwice,
    /// An uncertain record is charged to the run that found it.
    WrongRun,
    /// A charge goes to the window of its report.
    WrongWindow,
    /// The window of a budget follows a clock that went back.
    WindowBackwards,
    /// A stream that holds more does not say so in its intent.
    IntentNotRaised,
    /// What a further attempt holds takes the place of what the first one spent.
    AttemptForgotten,
    /// A run says that an earlier one is replayed before its records are acknowledged.
    ReplayedTooEarly,
    /// A waiting request is not decided again.
    RevokedAdmitted,
}

/// What kind of seed it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Weather {
    /// No faults and enough for all.
    Calm,
    /// No faults and too little for all.
    Scarce,
    /// Everything goes wrong that may.
    Rough,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Durability {
    Strict,
    Group,
    Memory,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) fault: Fault,
    pub(crate) weather: Weather,
    /// The wall time at which it begins.
    pub(crate) start: i64,
    pub(crate) planes: usize,
    pub(crate) replicas: Vec<Durability>,
    pub(crate) budgets: Vec<(NanoUsd, Windows)>,
    /// The budgets of each key, topmost first.
    pub(crate) keys: Vec<Vec<usize>>,
    pub(crate) traffic_ms: i64,
    /// The mean time between two requests, of all replicas together.
    pub(crate) gap_ms: i64,
    pub(crate) hold_max: i64,
    /// What each replica keeps back of each budget while control planes answer.
    pub(crate) reserve: i64,
    /// Whether providers may charge more than the bound.
    pub(crate) estimator_errs: bool,
    pub(crate) loss_percent: i64,
    pub(crate) duplicate_percent: i64,
    pub(crate) delay_ms_max: i64,
    /// The mean time between two mishaps; 0: never.
    pub(crate) mishap_ms: i64,
}

/// Beginnings of days and hours in Berlin, with both changes of the clocks.
const BOUNDARIES: [i64; 5] = [
    1_774_738_800_000, // 2026-03-28T23:00:00Z: the day of 23 hours begins
    1_774_821_600_000, // 2026-03-29T22:00:00Z: it ends
    1_792_879_200_000, // 2026-10-24T22:00:00Z: the day of 25 hours begins
    1_792_969_200_000, // 2026-10-25T23:00:00Z: it ends
    1_782_896_400_000, // 2026-07-01T09:00:00Z
];

impl Plan {
    pub(crate) fn new(fault: Fault, rng: &mut Rng) -> Self {
        let weather = match rng.between(0, 19) {
            _ if fault != Fault::None => Weather::Rough,
            0 => Weather::Calm,
            1 => Weather::Scarce,
            _ => Weather::Rough,
        };
        let rough = weather == Weather::Rough;
        let traffic_ms = rng.between(25_000, 60_000);
        let start = rng.pick(&BOUNDARIES) - rng.between(1, traffic_ms);
        let gap_ms = if rough { rng.between(30, 300) } else { rng.between(8, 50) };
        let hold_max = rng.pick(&[200, 5_000, 100_000]);
        let mut plan = Self {
            fault,
            weather,
            start,
            planes: usize::try_from(rng.between(1, 3)).unwrap(),
            replicas: Vec::new(),
            budgets: Vec::new(),
            keys: Vec::new(),
            traffic_ms,
            gap_ms,
            hold_max,
            reserve: if rough && rng.chance(25) { hold_max / 2 } else { 0 },
            estimator_errs: rough && rng.chance(10),
            loss_percent: if rough { rng.between(0, 15) } else { 0 },
            duplicate_percent: if rough { rng.between(0, 15) } else { 0 },
            delay_ms_max: if rough { rng.pick(&[5, 50, 1_500]) } else { 8 },
            mishap_ms: if rough { rng.pick(&[0, 1_500, 4_000, 10_000]) } else { 0 },
        };
        for _ in 0..rng.between(2, 8) {
            plan.replicas.push(rng.pick(&[
                Durability::Strict,
                Durability::Strict,
                Durability::Group,
                Durability::Memory,
            ]));
        }
        plan.owners(rng);
        plan
    }

    // Customer, team and key, or fewer levels; now and then a level has two budgets.
    fn owners(&mut self, rng: &mut Rng) {
        let levels = rng.between(1, 3);
        let spent = self.traffic_ms / self.gap_ms * self.hold_max / 8;
        let customer: Vec<usize> = (0..rng.between(1, 2)).map(|_| self.budget(rng, spent)).collect();
        let teams: Vec<Option<usize>> = (0..2).map(|_| (levels > 1).then(|| self.budget(rng, spent / 2))).collect();
        for number in 0..4 {
            let mut path = customer.clone();
            path.extend(teams[number % 2]);
            if levels > 2 {
                path.push(self.budget(rng, spent / 4));
            }
            self.keys.push(path);
        }
    }

    fn budget(&mut self, rng: &mut Rng, spent: i64) -> usize {
        let percent = match self.weather {
            Weather::Calm => rng.between(2_000, 5_000),
            Weather::Scarce => rng.between(20, 60),
            Weather::Rough => rng.between(10, 200),
        };
        let limit = (spent * percent / 100).max(if self.weather == Weather::Rough { 1 } else { 60 * self.hold_max });
        let berlin = || Alignment::Calendar(Zone::parse("Europe/Berlin").unwrap());
        let every = |unit| Period::Every { count: 1, unit };
        let calm = self.weather == Weather::Scarce;
        let (period, alignment, anchor) = match rng.between(0, 3) {
            0 if !calm => (every(Unit::Hour), Alignment::Rolling, self.start - rng.between(3_500_000, 3_600_000)),
            1 if !calm => (every(Unit::Day), berlin(), self.start),
            2 if !calm => (every(Unit::Hour), berlin(), self.start),
            _ => (Period::Total, Alignment::Rolling, self.start),
        };
        self.budgets.push((NanoUsd::new(limit), Windows { period, alignment, anchor: UnixMillis::new(anchor) }));
        self.budgets.len() - 1
    }
}
