//! What every owner takes alike: `--budget`, `--limit`, `--session-limit`, and how they are shown.

pub(crate) mod view;

use clap::{Args, ValueEnum};
use tollgate_proto::admin::v1;

use super::Changed;
use crate::{
    failure::Failure,
    literals::quota::SessionTerm,
    quota::{Budget, RateLimit, SessionLimit},
};

/// What is said of `--budget` under `--help`. A row stays within the width of the help, so that it is not broken.
const BUDGET_HELP: &str = "\
What may be spent: AMOUNT USD[/WINDOW[@ZONE]][,OPTION]... [may be repeated; on update they replace the whole list]

  500 USD/1M                 500 dollars a month, each month from the budget's creation
  100 USD/1d                 a window is a number of h, d, w, M (month) or Y
  20 USD                     20 dollars in all: it never begins anew
  1000 USD/1M@Europe/Berlin  from the first of each month by the clocks of that time zone

Options:
  soft                  alert and refuse nothing [default: hard]
  model=PATTERN         cover only these models, as --model does [may be repeated]
  provider=NAME         cover only this provider
  strict                hold the worst case of each stream [default: auto]
  incremental           hold slices as the stream grows, and cut it at the limit
  thresholds=50+80+100  alert at these percentages [default: these]
  grace=5 USD/10m       what each replica keeps for so long without a control plane
  contact=TEXT          whom a refusal says to ask for more; without commas

Budgets of one owner are told apart by window, zone, models and provider: one that keeps these keeps its id and what was spent.";

/// What is said of `--limit` under `--help`.
const LIMIT_HELP: &str = "How fast: '600 requests/1m', '2000000 tokens/1h' or '10 parallel', with ',model=PATTERN' behind it for some models only [may be \
     repeated; on update they replace the whole list]";

/// What is said of `--session-limit` under `--help`.
const SESSION_HELP: &str = "What one agent session may do: '5 USD', '500 requests', '20 repeats' of the same request in a row; 'pause=10m' refuses it for so \
     long and then counts anew, rather than for good [joined by commas or repeated; on update they replace all of it]";

/// What an owner may spend and how fast.
#[derive(Args, Debug, Default)]
pub(crate) struct QuotaArguments {
    #[arg(long = "budget", value_name = "BUDGET", help = "What may be spent, such as '500 USD/1M' [may be repeated]", long_help = BUDGET_HELP)]
    budgets: Vec<Budget>,
    #[arg(long = "limit", value_name = "LIMIT", help = "How fast, such as '600 requests/1m' [may be repeated]", long_help = LIMIT_HELP)]
    limits: Vec<RateLimit>,
    #[arg(
        long,
        value_name = "LIMIT",
        value_delimiter = ',',
        help = "What one agent session may do, such as '5 USD,20 repeats' [may be repeated]",
        long_help = SESSION_HELP
    )]
    session_limit: Vec<SessionTerm>,
}

/// What an owner may from now on spend, and how fast.
#[derive(Args, Debug, Default)]
pub(crate) struct QuotaChange {
    #[command(flatten)]
    quota: QuotaArguments,
    /// Empty a field [may be repeated]
    #[arg(long, value_name = "FIELD")]
    clear: Vec<QuotaField>,
}

/// A field that can be emptied: nothing limits then.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum QuotaField {
    Budgets,
    Limits,
    #[value(alias = "session-limit")]
    SessionLimit,
}

/// The fields of an owner on the wire.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    pub(crate) budgets: Vec<v1::Budget>,
    pub(crate) limits: Vec<v1::RateLimit>,
    pub(crate) session_limit: Option<v1::SessionLimit>,
}

// === impl QuotaArguments ===

impl QuotaArguments {
    /// The fields of a new owner.
    pub(crate) fn new_quota(self) -> Result<Quota, Failure> {
        self.changed(&[], &mut Changed::default())
    }

    /// The fields of a changed owner; those that were given or cleared are masked.
    pub(crate) fn changed(self, clear: &[QuotaField], changed: &mut Changed) -> Result<Quota, Failure> {
        let Self { budgets, limits, session_limit } = self;
        let cleared = |field| clear.contains(&field);
        let set = [
            (QuotaField::Budgets, !budgets.is_empty()),
            (QuotaField::Limits, !limits.is_empty()),
            (QuotaField::SessionLimit, !session_limit.is_empty()),
        ];
        if set.into_iter().any(|(field, set)| set && cleared(field)) {
            return Err(Failure::usage("a field cannot be set and cleared at once"));
        }
        for (at, budget) in budgets.iter().enumerate() {
            if budgets.iter().take(at).any(|earlier| earlier.identity() == budget.identity()) {
                let text =
                    format!("--budget '{budget}' covers the same as one before it: window, zone, models and provider");
                return Err(Failure::usage(text).hint("give one of them, with the limit that you mean"));
            }
        }
        let session = (!session_limit.is_empty()).then(|| SessionLimit::of(&session_limit)).transpose();
        let session = session.map_err(|reason| Failure::usage(format!("--session-limit {reason}")))?;
        let budgets: Vec<_> = budgets.into_iter().map(Budget::into_wire).collect();
        let limits: Vec<_> = limits.into_iter().map(RateLimit::into_wire).collect();
        let given = session.is_some() || cleared(QuotaField::SessionLimit);
        Ok(Quota {
            budgets: changed.field("budgets", (!budgets.is_empty() || cleared(QuotaField::Budgets)).then_some(budgets)),
            limits: changed.field("limits", (!limits.is_empty() || cleared(QuotaField::Limits)).then_some(limits)),
            session_limit: changed.field("session_limit", given.then(|| session.map(SessionLimit::wire))),
        })
    }
}

// === impl QuotaChange ===

impl QuotaChange {
    /// The fields of a changed owner, as [`QuotaArguments::changed`].
    pub(crate) fn changed(self, changed: &mut Changed) -> Result<Quota, Failure> {
        self.quota.changed(&self.clear, changed)
    }
}

#[cfg(test)]
mod tests;
