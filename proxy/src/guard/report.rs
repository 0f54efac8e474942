//! What guardrails found in one visit, for the audit log: bounded, and never a value.

use std::sync::Arc;

use tollgate_policy::guardrail::{Action, Direction, Guardrail};
use tollgate_proto::convert::evidence::Found;
use tollgate_scan::{Finding, RuleSet, json::Place};

use crate::evidence::Circumstances;

/// So many different findings of a visit are told; of more there is a count.
const FOUND_MAX: usize = 16;
/// The longest place that is told, in bytes.
const PLACE_BYTES_MAX: usize = 96;

/// The longest id of a rule that is told, in bytes: a rule file may have longer ones.
const RULE_BYTES_MAX: usize = 64;

/// Collects what was found.
#[derive(Debug, Default)]
pub struct Report {
    found: Vec<Found>,
    more: u32,
}

/// What became of a finding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done<'a> {
    pub(super) guardrail: &'a Guardrail,
    pub(super) action: Action,
    pub(super) shadow: bool,
}

impl Report {
    /// Adds a finding. The place is asked for only where it is told.
    pub(super) fn add(
        &mut self,
        done: Done<'_>,
        direction: Direction,
        set: &RuleSet,
        finding: &Finding,
        place: impl FnOnce() -> Place,
    ) {
        let Done { guardrail, action, shadow } = done;
        let rule = cut(set.rule(finding.rule).map(|rule| rule.id).unwrap_or_default(), RULE_BYTES_MAX);
        let fingerprint = *finding.fingerprint.as_bytes();
        let same = |found: &&mut Found| {
            found.fingerprint == fingerprint
                && *found.rule == *rule
                && found.guardrail == guardrail.name
                && (found.direction, found.action, found.shadow) == (direction, action, shadow)
        };
        if let Some(found) = self.found.iter_mut().find(same) {
            found.count = found.count.saturating_add(1);
            return;
        }
        if self.found.len() >= FOUND_MAX {
            self.more = self.more.saturating_add(1);
            return;
        }
        let Place { path, offset } = place();
        let path = cut(&path, PLACE_BYTES_MAX).into();
        self.found.push(Found {
            guardrail: Arc::clone(&guardrail.name),
            rule: rule.into(),
            direction,
            action,
            shadow,
            place: path,
            offset: u64::try_from(offset).unwrap_or(u64::MAX),
            fingerprint,
            count: 1,
        });
    }

    /// Adds those of another part of the visit.
    pub(super) fn append(&mut self, other: Self) {
        let room = FOUND_MAX.saturating_sub(self.found.len());
        let left = u32::try_from(other.found.len().saturating_sub(room)).unwrap_or(u32::MAX);
        self.found.extend(other.found.into_iter().take(room));
        self.more = self.more.saturating_add(other.more).saturating_add(left);
    }

    /// Whether nothing was found.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Adds them to what the audit log is told of a visit.
    pub(crate) fn tell(self, circumstances: &mut Circumstances) {
        if self.is_empty() {
            return;
        }
        let mut all = circumstances.findings.to_vec();
        let room = FOUND_MAX.saturating_sub(all.len());
        let left = u32::try_from(self.found.len().saturating_sub(room)).unwrap_or(u32::MAX);
        all.extend(self.found.into_iter().take(room));
        circumstances.findings = all.into();
        circumstances.findings_more = circumstances.findings_more.saturating_add(self.more).saturating_add(left);
    }
}

fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}
