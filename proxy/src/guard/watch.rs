//! The guardrails that look at one visit in one direction, and what they decide about a finding.

use std::sync::{Arc, MutexGuard, PoisonError};

use tollgate_policy::{
    guardrail::{Action, Asker, Direction, Guardrail},
    refusal::{Refusal, RefusalKind},
    time::UnixMillis,
};
use tollgate_scan::{Finding, Fingerprint, FingerprintKey, Hasher, Memo, RuleIndex, json::Place};

use super::{
    Group, GuardKeys, Guards,
    engine::Engine,
    report::{Done, Report},
};

/// The guardrails that look at one visit in one direction.
#[derive(Clone)]
pub struct Watch {
    pub(super) direction: Direction,
    pub(super) groups: Arc<[Watching]>,
    keys: Arc<GuardKeys>,
    now: UnixMillis,
}

/// Those that have their rules from one source.
pub(super) struct Watching {
    group: Arc<Group>,
    // Which of the group's guardrails.
    guards: Vec<usize>,
}

/// Something that must not go on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Blocked {
    guardrail: Arc<str>,
    what: String,
    fingerprint: Option<Fingerprint>,
    direction: Direction,
    place: String,
    // Another refusal than that of a guardrail.
    refusal: Option<Refusal>,
}

// === impl Watch ===

impl Watch {
    pub(super) fn of(guards: &Guards, keys: &Arc<GuardKeys>, direction: Direction, asker: Asker<'_>) -> Option<Self> {
        let watching = guards.groups.iter().filter_map(|group| {
            let applies =
                |at: &usize| group.guards.get(*at).is_some_and(|guard| guard.guardrail.applies(direction, asker));
            let guards: Vec<usize> = (0..group.guards.len()).filter(applies).collect();
            (!guards.is_empty()).then(|| Watching { group: Arc::clone(group), guards })
        });
        let groups: Arc<[Watching]> = watching.collect();
        let keys = Arc::clone(keys);
        (!groups.is_empty()).then(|| Self { direction, groups, keys, now: crate::clock::wall() })
    }

    /// Why a tool's call does not go on that is too long to be held.
    pub(super) fn too_long(&self) -> Option<Blocked> {
        self.groups.iter().find_map(|watching| self.unseen(watching, None))
    }

    pub(super) fn fingerprints(&self) -> &FingerprintKey {
        &self.keys.fingerprints
    }

    pub(super) fn hasher(&self) -> &Hasher {
        &self.keys.hasher
    }

    pub(super) fn memo(&self) -> MutexGuard<'_, Memo> {
        self.keys.memo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about a finding, and reports it. `None`: it goes on.
    pub(super) fn decide(
        &self,
        watching: &Watching,
        finding: &Finding,
        report: &mut Report,
        mut place: impl FnMut() -> Place,
    ) -> Option<Decided> {
        let set = watching.engine().set();
        let mut decided: Option<Done<'_>> = None;
        for guardrail in watching.acting(finding.rule) {
            if guardrail.lets_pass(finding.fingerprint.as_bytes(), self.now) {
                continue;
            }
            let done = Done { guardrail, action: guardrail.action, shadow: guardrail.shadow };
            if guardrail.shadow {
                report.add(done, self.direction, set, finding, &mut place);
            } else if decided.as_ref().is_none_or(|decided| decided.action < done.action) {
                decided = Some(done);
            }
        }
        let done = decided?;
        report.add(done, self.direction, set, finding, place);
        let rule = set.rule(finding.rule)?;
        let (guardrail, action) = (Arc::clone(&done.guardrail.name), done.action);
        Some(Decided { guardrail, action, rule: rule.id.to_owned(), what: rule.description.to_owned() })
    }

    /// Which guardrail, if any, does not let a text go on that could not be looked at to its end.
    pub(super) fn unseen(&self, watching: &Watching, rule: Option<RuleIndex>) -> Option<Blocked> {
        let strict = |guardrail: &&Guardrail| !guardrail.shadow && guardrail.action > Action::Detect;
        let guardrail = match rule {
            Some(rule) => watching.acting(rule).find(strict)?,
            None => watching.all().find(strict)?,
        };
        let what = match rule.and_then(|rule| watching.engine().set().rule(rule)) {
            Some(rule) => format!("what may be a secret of the rule {} and is too long to be sure", rule.id),
            None => "a text that takes too much work to be looked at".to_owned(),
        };
        let guardrail = Arc::clone(&guardrail.name);
        let (direction, place) = (self.direction, String::new());
        Some(Blocked { guardrail, what, fingerprint: None, direction, place, refusal: None })
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("direction", &self.direction).finish_non_exhaustive()
    }
}

/// What is done about a finding.
pub(super) struct Decided {
    guardrail: Arc<str>,
    pub(super) action: Action,
    pub(super) rule: String,
    what: String,
}

// === impl Watching ===

impl Watching {
    pub(super) fn engine(&self) -> &Engine {
        &self.group.engine
    }

    fn all(&self) -> impl Iterator<Item = &Guardrail> {
        self.guards.iter().filter_map(|at| self.group.guards.get(*at)).map(|guard| &*guard.guardrail)
    }

    fn acting(&self, rule: RuleIndex) -> impl Iterator<Item = &Guardrail> {
        let guards = self.guards.iter().filter_map(|at| self.group.guards.get(*at));
        let acts = move |guard: &&super::Guard| guard.acts.get(rule.number()).copied().unwrap_or_default();
        guards.filter(acts).map(|guard| &*guard.guardrail)
    }
}

// === impl Blocked ===

impl Blocked {
    pub(super) fn by(decided: &Decided, finding: &Finding, direction: Direction, place: Place) -> Self {
        let Decided { guardrail, rule, what, .. } = decided;
        let what = if what.is_empty() { format!("what the rule {rule} finds") } else { format!("{what} ({rule})") };
        let fingerprint = Some(finding.fingerprint);
        let guardrail = Arc::clone(guardrail);
        Self { guardrail, what, fingerprint, direction, place: place.path, refusal: None }
    }

    /// A call of a tool that the caller may not use.
    pub(super) fn call(refusal: Refusal) -> Self {
        let (guardrail, what, place) = (Arc::default(), String::new(), String::new());
        Self { guardrail, what, fingerprint: None, direction: Direction::Response, place, refusal: Some(refusal) }
    }

    /// What the client is told: which rule, where, and how to go on; never the value.
    pub(crate) fn refusal(&self) -> Refusal {
        if let Some(refusal) = &self.refusal {
            return refusal.clone();
        }
        Refusal::new(RefusalKind::Guardrail, self.sentence())
    }

    /// The sentence of [`Self::refusal`].
    pub(crate) fn sentence(&self) -> String {
        if let Some(refusal) = &self.refusal {
            return refusal.public().to_owned();
        }
        let Self { guardrail, what, fingerprint, direction, place, refusal: _ } = self;
        let place = if place.is_empty() { String::new() } else { format!(" in {place}") };
        let known =
            fingerprint.map(|it| format!(" If it is no secret, your platform team can allow its fingerprint {it}."));
        let known = known.unwrap_or_default();
        match direction {
            Direction::Request => format!(
                "Tollgate stopped this request before it left: the guardrail \"{guardrail}\" found{place}: {what}. Take it out of the \
                 conversation (in Claude Code: go back with /rewind, or /clear) and out of what the agent reads, then ask again.{known}"
            ),
            Direction::Response => format!(
                "Tollgate stopped this answer: the guardrail \"{guardrail}\" found in it: {what}. Ask for it without.{known}"
            ),
        }
    }
}
