//! What must hold of a run after each step, and of all when everything has come to rest.

use tollgate_policy::lease::{Account, Position};

use super::{
    plan::Weather,
    replica::Run,
    spool::Place,
    world::{Broken, World},
};

/// So long after the first refusal, what is lent and not held must have come back.
const SCARCITY_MS: i64 = 10_000;
/// All but so many thousandths of the limit, or one hold a replica where that is more.
const STRANDED_MAX: i64 = 20;
/// Fewer looks make no average.
const LOOKS_MIN: i64 = 40;

impl World {
    /// After each step of a run: its accounts hold what its open requests hold, within what they were lent.
    pub(crate) fn check_run(&mut self, run: usize) -> Result<(), Broken> {
        self.figures.checks += 1;
        let Run { opened, attempts, .. } = &self.runs[run];
        let mut open: Vec<(Place, i64)> = opened.keys().map(|place| (*place, 0)).collect();
        for attempt in attempts.values() {
            for place in &attempt.places {
                let here = open.iter_mut().find(|here| here.0 == *place).expect("it is held in an account of the run");
                here.1 += attempt.hold.amount().get();
            }
        }
        for ((place, account), (_, open)) in opened.iter().zip(open) {
            check_account(*place, account, open, self.bank.slack(place))?;
        }
        Ok(())
    }

    /// When traffic and faults have ended and a minute has passed: nothing is held, nothing is lent to a live replica.
    pub(crate) fn check_rest(&self, run: usize) -> Result<(), Broken> {
        let Run { alive, fenced, opened, attempts, waiting, .. } = &self.runs[run];
        if !alive {
            return Ok(());
        }
        if !attempts.is_empty() || !waiting.is_empty() {
            return Err(Broken::new("I5", format!("{} attempts never ended", attempts.len())));
        }
        for (place, account) in opened {
            let Position { held, free, .. } = account.position();
            if held.get() != 0 || (!fenced && free.get() > 0) {
                return Err(Broken::new("I5", format!("at rest {held} held and {free} free in {place:?}")));
            }
        }
        let mut lent = self.bank.outstanding(self.runs[run].name());
        let lent = lent.find(|(place, _)| opened.contains_key(place));
        match lent.filter(|_| !fenced) {
            Some((place, lent)) => Err(Broken::new("I5", format!("at rest run {run} is lent {lent} in {place:?}"))),
            None => Ok(()),
        }
    }

    /// Measures what is lent and not held while somebody is refused.
    pub(crate) fn check_stranded(&mut self) {
        if self.plan.weather != Weather::Scarce || self.resting {
            return;
        }
        for (budget, since) in self.scarce_since.clone() {
            if self.now - since >= SCARCITY_MS && self.bank.unlent(budget) < self.plan.hold_max {
                let part = self.stranded(budget) * 1_000 / self.bank.limit(budget);
                let (looks, sum) = self.stranded_looks.entry(budget).or_default();
                (*looks, *sum) = (*looks + 1, *sum + part);
                self.figures.stranded.0 += 1;
                self.figures.stranded.1 += part;
                self.figures.stranded.2 = self.figures.stranded.2.max(part);
            }
        }
    }

    /// With enough for all, all are served. With too little, what came back and is not lent again at once is on its way: on
    /// average that is little.
    pub(crate) fn check_service(&self) -> Result<(), Broken> {
        if self.plan.weather == Weather::Calm && self.figures.refused > 0 {
            return Err(Broken::new("I12", format!("{} were refused, with enough for all", self.figures.refused)));
        }
        for (budget, (looks, sum)) in &self.stranded_looks {
            let holds = i64::try_from(self.plan.replicas.len()).unwrap() * self.plan.hold_max / 2;
            let most = STRANDED_MAX.max(holds * 1_000 / self.bank.limit(*budget));
            if *looks >= LOOKS_MIN && *sum > *looks * most {
                let mean = sum / looks;
                return Err(Broken::new(
                    "I12",
                    format!("{mean} thousandths of budget {budget} are stranded in scarcity"),
                ));
            }
        }
        Ok(())
    }
}

fn check_account(place: Place, account: &Account, open: i64, slack: i64) -> Result<(), Broken> {
    let position = account.position();
    let Position { free, held, spent, granted, returned, .. } = position;
    let broken =
        |invariant, what: &str| Err(Broken::new(invariant, format!("{what} in {place:?}: {position:?}, {open} open")));
    let lent = granted.get() - returned.get();
    if held.get() < 0 || spent.get() + held.get() > lent + slack {
        return broken("I2", "more is spent and held than was lent");
    }
    if free.get() + spent.get() + held.get() != lent {
        return broken("I2", "what is free, spent and held is not what was lent");
    }
    if held.get() != open {
        return broken("I9", "what is held is not what open requests hold");
    }
    Ok(())
}
