//! What was not taken over of a rule file as it stands there: each by the name of its rule and field, never silently.

use std::fmt;

/// What became of the part of a rule file that a [`Remark`] is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The rule, list or file is left out as a whole.
    Refused,
    /// The field has no effect; the rest of the rule has.
    Ignored,
    /// It has effect, but within narrower bounds than where the format comes from.
    Limited,
}

/// One remark about a rule file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remark {
    /// The id of the rule; `None` where it is about the file as a whole.
    pub rule: Option<String>,
    /// The field, as the file spells it.
    pub field: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, in one sentence.
    pub why: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, field, outcome, why } = self;
        let word = match outcome {
            Outcome::Refused => "refused",
            Outcome::Ignored => "ignored",
            Outcome::Limited => "limited",
        };
        write!(formatter, "{}: {field} {word}: {why}", rule.as_deref().unwrap_or("the file"))
    }
}

/// All remarks about what was loaded.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    remarks: Vec<Remark>,
}

// === impl Report ===

impl Report {
    /// The remarks, in the order of the file.
    #[must_use]
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// The ids of rules that are left out.
    pub fn refused(&self) -> impl Iterator<Item = &str> {
        let refused = self.remarks.iter().filter(|remark| remark.outcome == Outcome::Refused);
        refused.filter_map(|remark| remark.rule.as_deref())
    }

    /// The first remark about a rule, list or file that is left out.
    #[must_use]
    pub fn first_refused(&self) -> Option<&Remark> {
        self.remarks.iter().find(|remark| remark.outcome == Outcome::Refused)
    }

    /// Adds the remarks of another report behind these.
    pub fn append(&mut self, mut other: Self) {
        self.remarks.append(&mut other.remarks);
    }

    pub(crate) fn add(&mut self, rule: Option<&str>, field: &str, outcome: Outcome, why: impl Into<String>) {
        let remark = Remark { rule: rule.map(str::to_owned), field: field.to_owned(), outcome, why: why.into() };
        self.remarks.push(remark);
    }
}
