//! How a plan is shown, before and after it is carried out.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::{
    carry::Progress,
    document::Kind,
    plan::{Action, Change, Plan, Step},
};

/// A plan, and what came of it, for programs.
#[derive(Serialize)]
pub(crate) struct Report<'p> {
    pub(crate) plan: Vec<StepView<'p>>,
    pub(crate) summary: Summary,
    /// The objects that were changed. Absent where nothing was to be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) applied: Option<usize>,
    /// The secrets of keys that were created: shown here and never again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) secrets: Vec<NewSecret>,
}

/// A step for programs.
#[derive(Serialize)]
pub(crate) struct StepView<'p> {
    action: Action,
    kind: Kind,
    name: &'p str,
    changes: &'p [Change],
}

/// How many objects of the file meet which fate.
#[derive(Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct Summary {
    create: usize,
    update: usize,
    compare: usize,
    delete: usize,
    unchanged: usize,
}

/// The secret of a key that was created.
#[derive(Clone, Serialize)]
pub(crate) struct NewSecret {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) secret: String,
}

/// What is said when nothing changes.
pub(crate) const NOTHING: &str = "nothing to do\n";

impl<'p> Report<'p> {
    /// A plan that has not been carried out.
    pub(crate) fn new(plan: &'p Plan) -> Self {
        let steps = plan.steps.iter().map(|Step { kind, name, action, changes, call: _ }| StepView {
            action: *action,
            kind: *kind,
            name,
            changes,
        });
        Self { plan: steps.collect(), summary: Summary::of(plan), applied: None, secrets: Vec::new() }
    }
}

impl Summary {
    fn of(plan: &Plan) -> Self {
        let count = |action: Action| plan.steps.iter().filter(|step| step.action == action).count();
        Self {
            create: count(Action::Create),
            update: count(Action::Update),
            compare: count(Action::Compare),
            delete: count(Action::Delete),
            unchanged: plan.unchanged.len(),
        }
    }
}

/// The plan for people: `+` for what is created, `~` for what changes, `-` for what is deleted, `?` for what only the control
/// plane can compare.
pub(crate) fn text(plan: &Plan) -> String {
    if plan.steps.is_empty() {
        return NOTHING.to_owned();
    }
    let mut text = String::new();
    for step in &plan.steps {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{} {} {}", sign(step.action), step.kind.noun(), step.name);
        for change in &step.changes {
            let _ = writeln!(text, "    {}", line(step.action, change));
        }
    }
    let Summary { create, update, compare, delete, unchanged } = Summary::of(plan);
    let _ = write!(text, "plan: {create} to create, {update} to update, {delete} to delete, {unchanged} unchanged");
    if compare > 0 {
        let _ = write!(text, ", {compare} with literal secrets that the control plane compares");
    }
    text + "\n"
}

/// What came of it, for people.
pub(crate) fn outcome(progress: &Progress) -> String {
    if progress.applied == 0 {
        return NOTHING.to_owned();
    }
    let plural = if progress.applied == 1 { "" } else { "s" };
    let mut text = format!("applied: {} change{plural}\n", progress.applied);
    for NewSecret { id: _, name, secret } in &progress.secrets {
        let _ = writeln!(text, "secret of key {name}: {secret}");
    }
    text
}

const fn sign(action: Action) -> char {
    match action {
        Action::Create => '+',
        Action::Update => '~',
        Action::Compare => '?',
        Action::Delete => '-',
    }
}

fn line(action: Action, change: &Change) -> String {
    let Change { field, from, to } = change;
    match (action, to) {
        (Action::Create, to) => format!("{field}: {to}"),
        (_, Value::Null) => format!("{field}: {from} -> removed"),
        (_, to) if from.is_null() => format!("{field}: {to}"),
        (_, to) => format!("{field}: {from} -> {to}"),
    }
}
