//! The world in which a seed plays: a queue of events in simulated milliseconds, the network, and the mishaps.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fmt,
    rc::Rc,
};

use tollgate_policy::{
    borrow::{Answered, Asked},
    id::BudgetId,
    time::Ticks,
};

use super::{
    bank::{Bank, Exchanged},
    figures::Figures,
    plan::{Durability, Fault, Plan, Weather},
    replica::{Job, Run},
    rng::Rng,
    spool::{Record, Spool},
};

/// How long is waited, when traffic has stopped, before everything must be at rest.
const REST_MS: i64 = 75_000;
/// Between two looks of the lease task, when nobody waits.
pub(crate) const LOOK_MS: i64 = 250;
/// The same, when traffic has stopped: seeds then play faster.
const REST_LOOK_MS: i64 = 1_000;

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) invariant: &'static str,
    what: String,
}

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Arrive,
    Look(usize),
    Pump(usize),
    Report(usize),
    GiveUp(usize, u64),
    Call(usize, u64),
    Step(usize, u64),
    Ask { run: usize, sent: Sent },
    Answer { run: usize, sent: Sent, answers: Option<Rc<[Answered]>> },
    Recall { run: usize, budget: usize },
    Records { run: usize, of: u64, first: u64, records: Rc<[Record]> },
    Receipt { run: usize, of: u64, through: u64 },
    Revoke { run: usize, key: usize },
    Mishap,
    Restart(usize),
    PlaneUp(usize),
    Back(usize),
    Rest,
}

/// A call of the lease service.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) plane: usize,
    pub(crate) at: i64,
    pub(crate) asked_at: Ticks,
    pub(crate) asks: Rc<[Asked]>,
    pub(crate) replayed: Rc<[u64]>,
}

#[derive(Debug, Default)]
pub(crate) struct Plane {
    offset: i64,
    down: bool,
    recalled: BTreeMap<usize, i64>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) rng: Rng,
    pub(crate) now: i64,
    pub(crate) bank: Bank,
    pub(crate) disks: Vec<Spool>,
    pub(crate) runs: Vec<Run>,
    pub(crate) ids: Vec<BudgetId>,
    pub(crate) figures: Figures,
    /// What each visit last held, or was charged.
    pub(crate) last_held: BTreeMap<u64, i64>,
    /// When a request was first refused for want of a budget.
    pub(crate) scarce_since: BTreeMap<usize, i64>,
    /// How often a scarce budget was looked at, and the sum of what was stranded, in thousandths.
    pub(crate) stranded_looks: BTreeMap<usize, (i64, i64)>,
    pub(crate) visits: u64,
    pub(crate) resting: bool,
    planes: Vec<Plane>,
    revoked: Vec<usize>,
    queue: BinaryHeap<Reverse<(i64, u64, usize)>>,
    events: Vec<Option<Event>>,
    free_events: Vec<usize>,
    order: u64,
    runs_started: u64,
    trace: bool,
}

impl Broken {
    pub(crate) const fn new(invariant: &'static str, what: String) -> Self {
        Self { invariant, what }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.invariant, self.what)
    }
}

/// Plays a seed to its end, or to the first invariant that does not hold.
pub(crate) fn play(seed: u64, fault: Fault, trace: bool) -> Result<Figures, String> {
    let mut rng = Rng::new(seed);
    let plan = Plan::new(fault, &mut rng);
    if trace {
        println!("{plan:#?}");
    }
    let mut world = World::new(plan, rng, trace);
    let mut step = 0_u64;
    world.run(&mut step).map_err(|broken| format!("seed {seed} step {step}: {broken}"))?;
    Ok(world.into_figures())
}

impl World {
    fn new(plan: Plan, rng: Rng, trace: bool) -> Self {
        let id = |number: usize| BudgetId::from_ulid(&format!("01k9zq3v5m8c4t2n7r6x0w1y{number:02}")).unwrap();
        let mut world = Self {
            now: 0,
            bank: Bank::new(plan.fault, plan.budgets.clone()),
            disks: Vec::new(),
            runs: Vec::new(),
            ids: (0..plan.budgets.len()).map(id).collect(),
            figures: Figures::default(),
            last_held: BTreeMap::new(),
            scarce_since: BTreeMap::new(),
            stranded_looks: BTreeMap::new(),
            visits: 0,
            resting: false,
            planes: (0..plan.planes).map(|_| Plane::default()).collect(),
            revoked: Vec::new(),
            queue: BinaryHeap::new(),
            events: Vec::new(),
            free_events: Vec::new(),
            order: 0,
            runs_started: 0,
            trace,
            plan,
            rng,
        };
        for replica in 0..world.plan.replicas.len() {
            let durability = world.plan.replicas[replica];
            world.start_on_new_machine(replica, durability);
        }
        world.after(0, Event::Arrive);
        if world.plan.mishap_ms > 0 {
            world.after(world.plan.mishap_ms, Event::Mishap);
        }
        world.after(world.plan.traffic_ms, Event::Rest);
        world
    }

    pub(crate) fn after(&mut self, delay_ms: i64, event: Event) {
        let at = self.free_events.pop().unwrap_or(self.events.len());
        if at == self.events.len() {
            self.events.push(None);
        }
        self.events[at] = Some(event);
        self.order += 1;
        self.queue.push(Reverse((self.now + delay_ms, self.order, at)));
    }

    fn run(&mut self, step: &mut u64) -> Result<(), Broken> {
        while let Some(Reverse((at, _, slot))) = self.queue.pop() {
            if at > self.plan.traffic_ms + REST_MS {
                break;
            }
            let Some(event) = self.events[slot].take() else { continue };
            self.free_events.push(slot);
            self.now = at;
            *step += 1;
            if self.trace {
                println!("{step} at {at}: {event:?}");
            }
            if let Some(run) = self.happen(event)? {
                self.check_run(run)?;
            }
        }
        self.check_service()?;
        (0..self.runs.len()).try_for_each(|run| self.check_rest(run))
    }

    fn into_figures(mut self) -> Figures {
        self.figures.checks += self.bank.audits;
        self.figures.excess = self.bank.excess.max(0);
        if self.plan.weather == Weather::Scarce {
            self.figures.used_percent.extend(self.bank.used_percent().max());
        }
        self.figures
    }

    // Returns the run that it happened to.
    fn happen(&mut self, event: Event) -> Result<Option<usize>, Broken> {
        let run = match event {
            Event::Arrive => {
                let run = self.arrive()?;
                if !self.resting {
                    let gap = self.rng.between(0, 2 * self.plan.gap_ms);
                    self.after(gap, Event::Arrive);
                }
                return Ok(run);
            }
            Event::Mishap => {
                self.mishap()?;
                return Ok(None);
            }
            Event::Restart(run) => {
                self.restart(run);
                return Ok(None);
            }
            Event::PlaneUp(plane) => {
                self.planes[plane].down = false;
                return Ok(None);
            }
            Event::Back(budget) => {
                self.bank.gone.remove(&budget);
                return Ok(None);
            }
            Event::Rest => {
                self.rest();
                return Ok(None);
            }
            Event::Ask { run, sent } => {
                self.ask(run, &sent)?;
                return Ok(None);
            }
            Event::Records { run, of, first, records } => {
                let (now, replica) = (self.wall(0), self.runs[run].replica);
                let through = self.bank.report(now, (replica, of), first, &records)?;
                self.send(run, &Event::Receipt { run, of, through });
                return Ok(None);
            }
            Event::Look(run)
            | Event::Pump(run)
            | Event::Report(run)
            | Event::GiveUp(run, _)
            | Event::Call(run, _)
            | Event::Step(run, _)
            | Event::Answer { run, .. }
            | Event::Recall { run, .. }
            | Event::Receipt { run, .. }
            | Event::Revoke { run, .. } => run,
        };
        if self.runs[run].alive {
            self.happen_to(run, event)?;
        }
        Ok(self.runs[run].alive.then_some(run))
    }

    fn wall(&self, plane: usize) -> i64 {
        self.plan.start + self.now + self.planes[plane].offset
    }

    /// Sends a message between a run and a control plane: it may be lost, late, or come twice.
    pub(crate) fn send(&mut self, run: usize, message: &Event) {
        let copies = 1 + i32::from(self.troubled(self.plan.duplicate_percent));
        for _ in 0..copies {
            if self.runs[run].cut_off_until > self.now || self.troubled(self.plan.loss_percent) {
                continue;
            }
            let delay = self.rng.between(1, if self.resting { 8 } else { self.plan.delay_ms_max });
            self.after(delay, message.clone());
        }
    }

    /// Between two looks of a task.
    pub(crate) fn look_ms(&self) -> i64 {
        if self.resting { REST_LOOK_MS } else { LOOK_MS }
    }

    fn troubled(&mut self, percent: i64) -> bool {
        !self.resting && percent > 0 && self.rng.chance(percent)
    }

    pub(crate) fn pick_plane(&mut self) -> usize {
        self.rng.index(self.planes.len())
    }

    fn ask(&mut self, run: usize, sent: &Sent) -> Result<(), Broken> {
        let plane = sent.plane;
        if self.planes[plane].down {
            return Ok(());
        }
        let (now, name) = (self.wall(plane), self.runs[run].name());
        let (answers, scarce) = match self.bank.exchange(now, name, &sent.asks, &sent.replayed)? {
            Exchanged::Lent(answers, scarce) => (Some(answers.into()), scarce),
            Exchanged::Fenced => (None, Vec::new()),
        };
        self.send(run, &Event::Answer { run, sent: sent.clone(), answers });
        for (budget, start) in scarce {
            // Each control plane recalls a budget once a second.
            let last = self.planes[plane].recalled.entry(budget).or_insert(i64::MIN / 2);
            if self.now - *last < 1_000 {
                continue;
            }
            *last = self.now;
            let borrowers: Vec<_> = self.bank.borrowers((budget, start)).filter(|of| *of != name).collect();
            for other in 0..self.runs.len() {
                if borrowers.contains(&self.runs[other].name()) {
                    self.send(other, &Event::Recall { run: other, budget });
                }
            }
        }
        Ok(())
    }

    // Traffic and faults end; control planes and the machines that will come back do so.
    fn rest(&mut self) {
        self.resting = true;
        self.bank.gone.clear();
        self.planes.iter_mut().for_each(|plane| plane.down = false);
        self.runs.iter_mut().for_each(|run| run.cut_off_until = 0);
    }

    fn start_on_new_machine(&mut self, replica: usize, durability: Durability) {
        self.disks.push(Spool::new(durability));
        let disk = self.disks.len() - 1;
        self.start(replica, disk);
    }

    fn start(&mut self, replica: usize, disk: usize) {
        self.runs_started += 1;
        let incarnation = self.runs_started;
        let found = self.disks[disk].open(incarnation, self.plan.fault == Fault::WrongRun);
        for record in found {
            // A machine that was lost may have lost how an attempt ended: it is then charged more than it held.
            let more = record.cost - self.last_held.get(&record.visit).copied().unwrap_or(record.cost);
            self.bank.allow(&record.charges, more.max(0));
        }
        let mut run = Run::new(replica, incarnation, disk, self.now, self.ids.len());
        run.revoked.extend(&self.revoked);
        self.runs.push(run);
        let run = self.runs.len() - 1;
        let (look, report) = (self.rng.between(1, LOOK_MS), self.rng.between(1, LOOK_MS));
        self.after(look, Event::Look(run));
        self.after(report, Event::Report(run));
    }

    fn restart(&mut self, run: usize) {
        let (replica, disk) = (self.runs[run].replica, self.runs[run].disk);
        self.start(replica, disk);
    }

    fn mishap(&mut self) -> Result<(), Broken> {
        if self.resting {
            return Ok(());
        }
        let gap = self.rng.between(0, 2 * self.plan.mishap_ms);
        self.after(gap, Event::Mishap);
        let alive: Vec<usize> = (0..self.runs.len()).filter(|run| self.runs[*run].alive).collect();
        let plane = self.pick_plane();
        let Some(run) = (!alive.is_empty()).then(|| alive[self.rng.index(alive.len())]) else { return Ok(()) };
        match self.rng.between(0, 12) {
            0 | 1 => self.kill(run, false)?,
            2 => self.kill(run, true)?,
            3 => self.replace(run),
            4 => self.runs[run].shut_down(),
            5 => self.runs[run].cut_off_until = self.now + self.rng.between(100, 15_000),
            6 => {
                self.planes[plane].down = true;
                let outage = self.rng.between(100, 12_000);
                self.after(outage, Event::PlaneUp(plane));
            }
            7 => {
                let far = self.rng.pick(&[1_000, 60_000, 3_600_000, 90_000_000]);
                self.planes[plane].offset = self.rng.between(-far, far);
            }
            8 => self.operator()?,
            9 => {
                let (index, amount) = (self.rng.index(16), self.rng.between(-self.plan.hold_max, self.plan.hold_max));
                self.bank.adjust(index, amount)?;
            }
            10 => {
                let budget = self.rng.index(self.ids.len());
                let limit = self.bank.limit(budget) * self.rng.between(50, 150) / 100;
                self.bank.set_limit(budget, limit.max(1));
            }
            11 => {
                let budget = self.rng.index(self.ids.len());
                self.bank.gone.insert(budget);
                self.bank.was_gone = true;
                let while_soft = self.rng.between(100, 8_000);
                self.after(while_soft, Event::Back(budget));
            }
            _ => self.revoke(),
        }
        if self.plan.fault == Fault::DeadLeaseRegranted {
            self.bank.regrant_silent(self.wall(0))?;
        }
        Ok(())
    }

    fn kill(&mut self, run: usize, with_machine: bool) -> Result<(), Broken> {
        self.end_run(run, with_machine)?;
        if self.runs[run].zombie || self.rng.chance(25) {
            self.runs[run].abandoned = true;
        } else {
            let pause = self.rng.between(100, 8_000);
            self.after(pause, Event::Restart(run));
        }
        Ok(())
    }

    // The replica is started elsewhere, and the run that was thought dead goes on.
    fn replace(&mut self, run: usize) {
        if !self.runs[run].zombie {
            self.runs[run].zombie = true;
            let durability = self.disks[self.runs[run].disk].durability();
            self.start_on_new_machine(self.runs[run].replica, durability);
        }
    }

    // Somebody who knows that a run has ended for good frees what it had borrowed.
    fn operator(&mut self) -> Result<(), Broken> {
        let dead = (0..self.runs.len()).find(|run| self.runs[*run].abandoned && !self.runs[*run].released);
        let Some(run) = dead else { return Ok(()) };
        self.runs[run].released = true;
        self.bank.operator_releases(self.runs[run].name())
    }

    fn revoke(&mut self) {
        if self.revoked.len() + 1 < self.plan.keys.len() {
            let key = self.revoked.len();
            self.revoked.push(key);
            for run in 0..self.runs.len() {
                let delay = self.rng.between(1, 500);
                self.after(delay, Event::Revoke { run, key });
            }
        }
    }

    // A request comes to one of the replicas that take some.
    fn arrive(&mut self) -> Result<Option<usize>, Broken> {
        let takes = |run: &usize| self.runs[*run].alive && !self.runs[*run].stopping;
        let open: Vec<usize> = (0..self.runs.len()).filter(takes).collect();
        if self.resting || open.is_empty() {
            return Ok(None);
        }
        // Later on few of the replicas are busy, and what the others borrowed must come back.
        let busy =
            if self.now > self.plan.traffic_ms / 3 && self.rng.chance(90) { open.len().min(2) } else { open.len() };
        let run = open[self.rng.index(busy)];
        let job = Job::new(&self.plan, &mut self.rng);
        self.request(run, job)?;
        Ok(Some(run))
    }
}
