//! One run of a replica: requests that wait, attempts that hold, what is told to the control plane, and the end of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tollgate_policy::{
    borrow::{Answered, Asked, Borrower, Want},
    id::BudgetId,
    lease::{Account, Hold},
    lend::Standing,
    money::NanoUsd,
    time::Ticks,
};

use super::{
    bank::RunName,
    plan::{Durability, Fault, Plan, Weather},
    rng::Rng,
    spool::{Place, Record},
    world::{Broken, Event, Sent, World},
};

/// How long a request waits for funds.
const WAIT_MS: i64 = 1_000;
/// How long a lease call may take.
const CALL_MS: i64 = 1_000;
/// Between two tries while somebody waits.
const RETRY_MS: i64 = 50;

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) replica: usize,
    pub(crate) incarnation: u64,
    pub(crate) disk: usize,
    pub(crate) alive: bool,
    pub(crate) stopping: bool,
    /// Another run was started in its place while it goes on.
    pub(crate) zombie: bool,
    /// It has ended, and its disk is never opened again.
    pub(crate) abandoned: bool,
    pub(crate) released: bool,
    pub(crate) fenced: bool,
    pub(crate) cut_off_until: i64,
    pub(crate) revoked: BTreeSet<usize>,
    pub(crate) borrower: Borrower,
    pub(crate) attempts: BTreeMap<u64, Attempt>,
    pub(crate) waiting: Vec<Waiting>,
    /// Every account that it ever had.
    pub(crate) opened: BTreeMap<Place, Arc<Account>>,
    born: i64,
    published: Vec<Option<Arc<Account>>>,
    called: Option<i64>,
    reported: Option<i64>,
}

/// What a request wants, what it will really cost, and how it goes.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    key: usize,
    input_bound: i64,
    output_bound: i64,
    input: i64,
    output: i64,
    incremental: bool,
    // At this step something happens to it.
    at_step: i64,
    fate: Fate,
    // What earlier attempts cost that have no record of their own.
    spent_before: i64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Completes,
    /// The client goes away; what was produced is charged.
    Cancelled,
    /// The task is dropped; the hold is charged whole.
    Dropped,
    /// The provider fails, after it has billed this much.
    Fails(i64),
}

#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) hold: Hold,
    pub(crate) places: Vec<Place>,
    job: Job,
    called: bool,
    step: i64,
    // What the provider has done so far, at its price.
    produced: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    id: u64,
    job: Job,
    since: i64,
}

/// The number of a budget, which its id ends with.
pub(crate) fn number(budget: &BudgetId) -> usize {
    let digit = |back: usize| usize::from(budget.as_str().as_bytes()[budget.as_str().len() - back] - b'0');
    digit(2) * 10 + digit(1)
}

fn place(account: &Arc<Account>) -> Place {
    (number(account.budget()), account.window().get())
}

// === impl Job ===

impl Job {
    pub(crate) fn new(plan: &Plan, rng: &mut Rng) -> Self {
        let (input_bound, output_bound) = (rng.between(1, plan.hold_max / 2), rng.between(1, plan.hold_max / 2));
        let errs = plan.estimator_errs && rng.chance(10);
        let fails = rng.pick(&[0, 0, input_bound / 2]);
        let fate = match rng.between(0, 19) {
            0 | 1 => Fate::Fails(fails),
            2 | 3 => Fate::Cancelled,
            4 => Fate::Dropped,
            _ => Fate::Completes,
        };
        Self {
            key: rng.index(plan.keys.len()),
            input_bound,
            output_bound,
            input: if errs {
                input_bound + rng.between(1, plan.hold_max)
            } else {
                rng.between(0, input_bound) * rng.between(10, 100) / 100
            },
            output: rng.between(0, output_bound) * rng.between(5, 100) / 100,
            incremental: rng.chance(30),
            at_step: rng.between(0, 4),
            fate: if plan.weather == Weather::Rough { fate } else { Fate::Completes },
            spent_before: 0,
        }
    }

    fn slice(&self) -> i64 {
        (self.output_bound / 4).max(1)
    }

    // What must be held before it is sent.
    fn amount(&self) -> i64 {
        self.input_bound + if self.incremental { self.slice() } else { self.output_bound }
    }
}

// === impl Run ===

impl Run {
    pub(crate) fn new(replica: usize, incarnation: u64, disk: usize, born: i64, budgets: usize) -> Self {
        Self {
            replica,
            incarnation,
            disk,
            alive: true,
            stopping: false,
            zombie: false,
            abandoned: false,
            released: false,
            fenced: false,
            cut_off_until: 0,
            revoked: BTreeSet::new(),
            borrower: Borrower::new(),
            attempts: BTreeMap::new(),
            waiting: Vec::new(),
            opened: BTreeMap::new(),
            born,
            published: vec![None; budgets],
            called: None,
            reported: None,
        }
    }

    pub(crate) fn name(&self) -> RunName {
        (self.replica, self.incarnation)
    }

    /// Its own clock.
    pub(crate) fn ticks(&self, now: i64) -> Ticks {
        Ticks::new(u64::try_from(now - self.born).unwrap() + 7)
    }

    pub(crate) fn shut_down(&mut self) {
        self.stopping = true;
        self.borrower.close();
    }
}

// === impl World ===

impl World {
    pub(crate) fn happen_to(&mut self, run: usize, event: Event) -> Result<(), Broken> {
        match event {
            Event::Look(_) => self.look(run),
            Event::Pump(_) => {
                self.pump(run);
                Ok(())
            }
            Event::Report(_) => {
                self.report(run);
                Ok(())
            }
            Event::GiveUp(_, id) => {
                self.give_up(run, |waiting| waiting.id == id);
                Ok(())
            }
            Event::Call(_, visit) => {
                if self.plan.fault != Fault::NoSpoolFsync {
                    self.disks[self.runs[run].disk].sync();
                }
                self.call(run, visit);
                Ok(())
            }
            Event::Step(_, visit) => self.step(run, visit),
            Event::Answer { sent, answers, .. } => self.answered(run, &sent, answers.as_deref()),
            Event::Recall { budget, .. } => {
                let now = self.runs[run].ticks(self.now);
                self.runs[run].borrower.recall(now, &self.ids[budget]);
                Ok(())
            }
            Event::Receipt { of, through, .. } => {
                self.runs[run].reported = None;
                self.disks[self.runs[run].disk].acknowledge(of, through);
                Ok(())
            }
            Event::Revoke { key, .. } => {
                self.runs[run].revoked.insert(key);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    // The lease task's regular look.
    fn look(&mut self, run: usize) -> Result<(), Broken> {
        self.after(self.look_ms(), Event::Look(run));
        let disk = self.runs[run].disk;
        if self.disks[disk].durability() == Durability::Group && self.rng.chance(30) {
            self.disks[disk].sync();
        }
        self.check_stranded();
        let Run { stopping, attempts, waiting, borrower, .. } = &self.runs[run];
        let at_rest = attempts.is_empty() && waiting.is_empty() && self.disks[disk].is_empty();
        if *stopping && at_rest && borrower.is_clear() {
            return self.leave(run);
        }
        self.pump(run);
        Ok(())
    }

    // A clean end: everything went back.
    fn leave(&mut self, run: usize) -> Result<(), Broken> {
        let ended = &self.runs[run];
        let left = self.bank.outstanding(ended.name()).find(|(place, _)| ended.opened.contains_key(place));
        // A late message may still be granted, and nothing is heard of a budget that is gone; the next run frees that.
        let late = self.plan.delay_ms_max > 50 || self.bank.was_gone;
        if let Some((place, left)) = left.filter(|_| !ended.fenced && !late) {
            return Err(Broken::new("I5", format!("a clean end left {left} lent in {place:?}")));
        }
        self.disks[self.runs[run].disk].crash(self.runs[run].incarnation, false);
        self.runs[run].alive = false;
        if !self.runs[run].zombie {
            let pause = self.rng.between(100, 8_000);
            self.after(pause, Event::Restart(run));
        }
        Ok(())
    }

    // Says what there is to say, one call at a time.
    fn pump(&mut self, run: usize) {
        let Run { called, disk, .. } = &self.runs[run];
        if called.is_some_and(|called| self.now - called < CALL_MS) {
            return;
        }
        if called.is_some() {
            // No answer came: what was kept for this may be used.
            self.keep_back(run, 0);
        }
        let replayed = self.disks[*disk].replayed(self.plan.fault == Fault::ReplayedTooEarly);
        let wants = self.wants(run);
        let now = self.runs[run].ticks(self.now);
        let asks = self.runs[run].borrower.asks(now, &wants);
        if asks.is_empty() && replayed.is_empty() {
            return;
        }
        self.runs[run].called = Some(self.now);
        self.figures.calls += 1;
        self.figures.calm.2 += u64::from(self.plan.weather == Weather::Calm && !self.resting);
        let plane = self.pick_plane();
        let sent = Sent { plane, at: self.now, asked_at: now, asks: asks.into(), replayed: replayed.into() };
        self.send(run, &Event::Ask { run, sent });
    }

    fn wants(&self, run: usize) -> Vec<Want> {
        let mut wants: BTreeMap<usize, Want> = BTreeMap::new();
        for waiting in &self.runs[run].waiting {
            let amount = NanoUsd::new(waiting.job.amount());
            for budget in &self.plan.keys[waiting.job.key] {
                let id = &self.ids[*budget];
                let first = || Want { budget: id.clone(), first: amount, waiting: NanoUsd::ZERO, ahead: true };
                let want = wants.entry(*budget).or_insert_with(first);
                want.waiting = want.waiting.plus(amount);
            }
        }
        wants.into_values().collect()
    }

    fn report(&mut self, run: usize) {
        self.after(self.look_ms(), Event::Report(run));
        if self.runs[run].reported.is_some_and(|reported| self.now - reported < 2_000) {
            return;
        }
        if let Some((of, first, records)) = self.disks[self.runs[run].disk].pending() {
            self.runs[run].reported = Some(self.now);
            self.send(run, &Event::Records { run, of, first, records: records.into() });
        }
    }

    fn answered(&mut self, run: usize, sent: &Sent, answers: Option<&[Answered]>) -> Result<(), Broken> {
        let was_called = self.runs[run].called == Some(sent.at);
        if was_called {
            self.runs[run].called = None;
        }
        let Some(answers) = answers else {
            self.runs[run].fenced = true;
            return Ok(());
        };
        self.disks[self.runs[run].disk].forget_replayed(&sent.replayed);
        let now = self.runs[run].ticks(self.now);
        let changes = self.runs[run].borrower.answered(sent.asked_at, now, &sent.asks, answers);
        for (budget, account) in changes {
            self.runs[run].published[number(&budget)] = account;
        }
        self.remember_accounts(run)?;
        self.keep_back(run, self.plan.reserve);
        for (asked, answer) in sent.asks.iter().zip(answers) {
            if let Answered::Lent { answer, .. } = answer
                && answer.standing == Standing::Exhausted
            {
                self.refuse_exhausted(run, asked);
            }
        }
        self.admit_waiting(run)?;
        if was_called && !self.runs[run].waiting.is_empty() {
            let newer = self.runs[run].waiting.iter().any(|waiting| waiting.since >= sent.at);
            self.after(if newer { 0 } else { RETRY_MS }, Event::Pump(run));
        }
        Ok(())
    }

    fn keep_back(&self, run: usize, reserve: i64) {
        let accounts = self.runs[run].published.iter().flatten();
        accounts.for_each(|account| account.keep_back(NanoUsd::new(reserve)));
    }

    // No window may ever have two accounts in one run.
    fn remember_accounts(&mut self, run: usize) -> Result<(), Broken> {
        let Run { borrower, opened, .. } = &mut self.runs[run];
        for account in borrower.accounts() {
            let first = opened.entry(place(account)).or_insert_with(|| Arc::clone(account));
            if !Arc::ptr_eq(first, account) {
                return Err(Broken::new("I2", format!("a second account was opened in {:?}", place(account))));
            }
        }
        Ok(())
    }

    // Whatever others give back, it does not fit.
    fn refuse_exhausted(&mut self, run: usize, asked: &Asked) {
        let budget = number(&asked.budget);
        let need = asked.ask.need.get();
        let keys = self.plan.keys.clone();
        if need > 0 {
            self.give_up(run, |waiting| keys[waiting.job.key].contains(&budget) && waiting.job.amount() >= need);
        }
    }

    fn give_up(&mut self, run: usize, which: impl Fn(&Waiting) -> bool) {
        let (gone, stay): (Vec<Waiting>, Vec<Waiting>) =
            std::mem::take(&mut self.runs[run].waiting).into_iter().partition(which);
        self.runs[run].waiting = stay;
        for waiting in gone {
            self.figures.refused += 1;
            for budget in &self.plan.keys[waiting.job.key] {
                let free =
                    self.runs[run].published[*budget].as_ref().map_or(0, |account| account.position().free.get());
                if free < waiting.job.amount() {
                    self.scarce_since.entry(*budget).or_insert(self.now);
                }
            }
        }
    }

    /// A request arrives, or a further attempt of one.
    pub(crate) fn request(&mut self, run: usize, job: Job) -> Result<(), Broken> {
        if self.runs[run].revoked.contains(&job.key) {
            self.figures.refused += 1;
            return Ok(());
        }
        if self.admit(run, &job)? {
            self.figures.calm.0 += u64::from(self.plan.weather == Weather::Calm);
            return Ok(());
        }
        self.visits += 1;
        let id = self.visits;
        self.runs[run].waiting.push(Waiting { id, job, since: self.now });
        self.after(WAIT_MS, Event::GiveUp(run, id));
        self.pump(run);
        Ok(())
    }

    fn admit_waiting(&mut self, run: usize) -> Result<(), Broken> {
        for waiting in std::mem::take(&mut self.runs[run].waiting) {
            // What was decided when it arrived may be revoked by now.
            if self.runs[run].revoked.contains(&waiting.job.key) && self.plan.fault != Fault::RevokedAdmitted {
                self.figures.refused += 1;
            } else if self.admit(run, &waiting.job)? {
                self.figures.waited += 1;
                if self.plan.weather == Weather::Calm {
                    let waited = self.now - waiting.since;
                    self.figures.calm.0 += 1;
                    self.figures.calm.1 += 1;
                    self.figures.longest_wait_ms = self.figures.longest_wait_ms.max(waited);
                    if waited > 500 {
                        return Err(Broken::new("I12", format!("admitted after {waited} ms, with enough for all")));
                    }
                }
            } else {
                self.runs[run].waiting.push(waiting);
            }
        }
        Ok(())
    }

    // Holds and begins, or does nothing.
    fn admit(&mut self, run: usize, job: &Job) -> Result<bool, Broken> {
        let now = self.runs[run].ticks(self.now);
        let path = &self.plan.keys[job.key];
        let skipped = usize::from(self.plan.fault == Fault::AncestorSkipped && path.len() > 1);
        let accounts = path.iter().skip(skipped).map(|budget| self.runs[run].published[*budget].clone());
        let Some(accounts) = accounts.collect::<Option<Arc<[_]>>>() else { return Ok(false) };
        let Ok(hold) = Hold::take(now, accounts, NanoUsd::new(job.amount())) else { return Ok(false) };
        let places: Vec<Place> = hold.accounts().iter().map(place).collect();
        if !places.iter().map(|place| place.0).eq(path.iter().copied()) {
            return Err(Broken::new("I9", format!("held in {places:?} of {path:?}")));
        }
        if self.runs[run].revoked.contains(&job.key) {
            return Err(Broken::new("I10", format!("key {} was admitted after its revocation", job.key)));
        }
        self.figures.admitted += 1;
        self.visits += 1;
        let visit = self.visits;
        self.bank.note_held(visit, &places);
        let attempt = Attempt { hold, places, job: job.clone(), called: false, step: 0, produced: 0 };
        self.runs[run].attempts.insert(visit, attempt);
        self.write_intent(run, visit);
        if self.disks[self.runs[run].disk].durability() == Durability::Strict {
            let fsync = self.rng.between(0, 15);
            self.after(fsync, Event::Call(run, visit));
        } else {
            self.call(run, visit);
        }
        Ok(true)
    }

    // What the attempt may cost, were nothing more heard of it.
    fn write_intent(&mut self, run: usize, visit: u64) {
        let Run { attempts, disk, incarnation, .. } = &self.runs[run];
        let attempt = &attempts[&visit];
        let amount = attempt.hold.amount().get();
        let before = if self.plan.fault == Fault::AttemptForgotten { 0 } else { attempt.job.spent_before };
        let record = Record { visit, run: *incarnation, cost: amount + before, charges: attempt.places.clone() };
        self.last_held.insert(visit, amount);
        self.disks[*disk].intent(record);
    }

    fn call(&mut self, run: usize, visit: u64) {
        if let Some(attempt) = self.runs[run].attempts.get_mut(&visit) {
            attempt.called = true;
            let delay = self.rng.between(5, 1_500);
            self.after(delay, Event::Step(run, visit));
        }
    }

    // The provider has done a part.
    fn step(&mut self, run: usize, visit: u64) -> Result<(), Broken> {
        let Some(attempt) = self.runs[run].attempts.get_mut(&visit) else { return Ok(()) };
        let (job, step) = (attempt.job.clone(), attempt.step);
        attempt.step += 1;
        match job.fate {
            Fate::Fails(billed) if step == 0 => return self.fail(run, visit, &job, billed),
            Fate::Cancelled | Fate::Dropped if step == job.at_step => return self.finish(run, visit, job.fate),
            _ => {}
        }
        let attempt = self.runs[run].attempts.get_mut(&visit).unwrap();
        let slice = job.slice();
        if step == 0 {
            // The input is known.
            attempt.produced = job.input;
            attempt.hold.tighten(NanoUsd::new(job.input + if job.incremental { slice } else { job.output_bound }));
            self.write_intent(run, visit);
        } else {
            let left = job.input + job.output - attempt.produced;
            attempt.produced += left.min(slice);
            if left <= slice {
                return self.finish(run, visit, Fate::Completes);
            }
            if job.incremental {
                if attempt.hold.extend(NanoUsd::new(slice)).is_err() {
                    return self.finish(run, visit, Fate::Cancelled);
                }
                if self.plan.fault != Fault::IntentNotRaised {
                    self.write_intent(run, visit);
                    if self.disks[self.runs[run].disk].durability() == Durability::Strict {
                        self.disks[self.runs[run].disk].sync();
                    }
                }
            }
        }
        let delay = self.rng.between(5, 1_500);
        self.after(delay, Event::Step(run, visit));
        Ok(())
    }

    // The provider failed before its first byte; another one is tried, with a hold of its own.
    fn fail(&mut self, run: usize, visit: u64, job: &Job, billed: i64) -> Result<(), Broken> {
        self.runs[run].attempts.get_mut(&visit).unwrap().produced = billed;
        let mut again = Job { fate: Fate::Completes, ..job.clone() };
        if self.plan.fault == Fault::AttemptForgotten {
            let attempt = self.runs[run].attempts.remove(&visit).unwrap();
            let _ = attempt.hold.settle(NanoUsd::new(billed));
            self.bank.bill(self.runs[run].name(), &attempt.places, billed)?;
            self.disks[self.runs[run].disk].outcome(visit, None);
            again.spent_before += billed;
        } else {
            self.finish(run, visit, Fate::Completes)?;
        }
        self.request(run, again)
    }

    fn finish(&mut self, run: usize, visit: u64, how: Fate) -> Result<(), Broken> {
        let attempt = self.runs[run].attempts.remove(&visit).unwrap();
        let name = self.runs[run].name();
        let Attempt { hold, places, produced, job, .. } = attempt;
        let held = hold.amount().get();
        self.bank.allow(&places, (produced - held).max(0));
        self.bank.bill(name, &places, produced)?;
        let charge = match how {
            Fate::Dropped => {
                drop(hold);
                held.max(produced)
            }
            Fate::Cancelled if self.plan.fault == Fault::HoldForgotten => {
                std::mem::forget(hold);
                produced
            }
            _ => hold.settle(NanoUsd::new(produced)).charged.get(),
        } + job.spent_before;
        self.last_held.insert(visit, charge);
        let record = Record { visit, run: name.1, cost: charge, charges: places };
        self.disks[self.runs[run].disk].outcome(visit, (charge > 0).then_some(record));
        self.admit_waiting(run)
    }

    /// The process ends at once, or the machine does. Providers bill what was under way.
    pub(crate) fn end_run(&mut self, run: usize, with_machine: bool) -> Result<(), Broken> {
        let ended = &mut self.runs[run];
        ended.alive = false;
        ended.waiting.clear();
        let (name, disk) = (ended.name(), ended.disk);
        for (_, attempt) in std::mem::take(&mut ended.attempts) {
            let Attempt { hold, places, job, called, produced, .. } = attempt;
            let held = hold.amount().get();
            self.bank.allow(&places, (produced - held).max(0));
            if called {
                let whole = (job.input + job.output).min(held).max(produced);
                let billed = self.rng.between(produced, whole);
                self.bank.bill(name, &places, billed)?;
            }
        }
        self.disks[disk].crash(name.1, with_machine);
        Ok(())
    }

    /// The replicas of a budget, for figures: what is lent to them and not held.
    pub(crate) fn stranded(&self, budget: usize) -> i64 {
        let start = self.bank.newest(budget);
        let alive = self.runs.iter().filter(|run| run.alive);
        let accounts = alive.filter_map(|run| run.opened.get(&(budget, start?)));
        accounts.map(|account| account.position().free.get().max(0)).sum()
    }
}
