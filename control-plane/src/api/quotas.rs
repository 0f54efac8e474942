//! What an owner may spend and how fast, between wire and domain. Budgets and limits are fields of their owners.

use std::fmt;

use serde_json::{Value, json};
use tollgate_audit::Fields;
use tollgate_policy::limit::LIMITS_MAX;
use tollgate_proto::admin::v1;

use super::{failure::Failure, mask::Mask, violations::Violations, wire};
use crate::{change::Change, store::quotas::Quota};

mod budgets;
mod limits;

pub(super) use self::budgets::written as budget_written;

/// The most patterns in the budgets, and in the rate limits, of one owner together: with both, and whatever else it has, an
/// owner fits an item of a push.
const PATTERNS_MAX: usize = 400;
/// The longest pause and the longest grace, in seconds: a day.
const SECONDS_MAX: i64 = 86_400;

/// The fields of an owner, as they were asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    budgets: &'a [v1::Budget],
    limits: &'a [v1::RateLimit],
    session_limit: Option<&'a v1::SessionLimit>,
    // `None`: the owner is new, so that every field is meant.
    mask: Option<&'a Mask>,
}

// One element of a list, which names the fields that are wrong.
struct Element<'a> {
    list: &'static str,
    at: usize,
    violations: &'a mut Violations,
}

// === impl Asked ===

impl<'a> Asked<'a> {
    /// What a new owner is to have.
    pub(super) const fn new(
        budgets: &'a [v1::Budget],
        limits: &'a [v1::RateLimit],
        session_limit: Option<&'a v1::SessionLimit>,
    ) -> Self {
        Self { budgets, limits, session_limit, mask: None }
    }

    /// What an owner that exists is to have, in the fields that the mask names.
    pub(super) const fn masked(self, mask: &'a Mask) -> Self {
        Self { mask: Some(mask), ..self }
    }

    /// The quota of the owner that had `old`. What is not asked for stays; the value counts only without violations.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) async fn read(
        self,
        change: &mut Change<'_>,
        old: &Quota,
        violations: &mut Violations,
    ) -> Result<Quota, Failure> {
        let Self { budgets, limits, session_limit, mask } = self;
        let asked = |field| mask.is_none_or(|mask| mask.has(field));
        let mut new = old.clone();
        if asked("budgets") {
            if mask.is_none() {
                budgets::refuse_output_only(budgets, violations);
            }
            new.budgets = budgets::read(change, budgets, &old.budgets, violations).await?;
        }
        if asked("limits") {
            new.limits = limits::read(limits, violations);
        }
        if asked("session_limit") {
            new.session_limit = session_limit.and_then(|limit| limits::read_session(limit, violations));
        }
        Ok(new)
    }
}

/// The quota on the wire: every default is written out.
pub(super) fn written(quota: &Quota) -> (Vec<v1::Budget>, Vec<v1::RateLimit>, Option<v1::SessionLimit>) {
    let Quota { budgets, limits, session_limit } = quota;
    (
        budgets.iter().map(budgets::written).collect(),
        limits.iter().map(limits::written).collect(),
        session_limit.as_ref().map(limits::written_session),
    )
}

/// An owner's fields with its quota, for the log. Each budget is a field of its own, so that a change of one does not repeat
/// the others.
pub(super) fn with_fields(quota: &Quota, mut fields: Fields) -> Fields {
    let Quota { budgets, limits, session_limit } = quota;
    for budget in budgets {
        fields.insert(format!("budgets.{}", budget.id), budgets::field_of(budget));
    }
    let limits: Vec<Value> = limits.iter().map(limits::field_of).collect();
    fields.insert("limits".into(), json!(limits));
    fields.insert("session_limit".into(), json!(session_limit.as_ref().map(limits::session_field_of)));
    fields
}

// Reads a list of at most so many elements, of which `models` tells the patterns.
fn bounded<'a, T>(
    field: &str,
    list: &'a [T],
    most: usize,
    models: impl Fn(&T) -> &[String],
    violations: &mut Violations,
) -> &'a [T] {
    if list.len() > most {
        violations.add(field, format!("must be at most {most}"));
        return &[];
    }
    if list.iter().map(|element| models(element).len()).sum::<usize>() > PATTERNS_MAX {
        violations.add(field, format!("must have at most {PATTERNS_MAX} patterns of models together"));
        return &[];
    }
    list
}

// === impl Element ===

impl Element<'_> {
    fn path(&self, field: &str) -> String {
        format!("{}[{}].{field}", self.list, self.at)
    }

    fn add(&mut self, field: &str, description: impl fmt::Display) {
        self.violations.add(self.path(field), description);
    }

    fn take<T, E: fmt::Display>(&mut self, field: &str, parsed: Result<T, E>) -> Option<T> {
        self.violations.take(&self.path(field), parsed)
    }

    fn models(&mut self, list: &[String]) -> Option<Vec<String>> {
        wire::patterns(&self.path("models"), list, self.violations)
    }
}
