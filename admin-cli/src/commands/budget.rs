//! `tollgate budget`: how budgets stand, what replicas have borrowed of them, and corrections.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use tollgate_policy::money::NanoUsd;
use tollgate_proto::admin::v1;

mod view;

use super::{
    Context,
    filter::Filter,
    names::{Names, Noun},
    one, pages,
    quota::view::providers,
};
use crate::{
    arguments::Listing,
    failure::Failure,
    literals::{Moment, quota::correction, reference, to_wire},
    output::{Answer, View},
};
use view::{LeaseView, StatusView};

/// The longest reason, and the longest name of a correction, in characters.
const REASON_CHARS_MAX: usize = 500;
const REQUEST_ID_CHARS_MAX: usize = 128;

/// What is said under `tollgate budget list --help`.
const LIST_HELP: &str = "Example: tollgate budget list --team platform

SETTLED is what was spent in the current window, less refunds. LEASED is what replicas have borrowed and neither spent nor given \
back. FREE is what can still be lent. BURN/H is what was spent on average in an hour, EMPTY AT when nothing is left at that rate. \
All are dollars. Budgets are set on their owners: see `tollgate key update --help`.";

/// What is said under `tollgate budget adjust --help`.
const ADJUST_HELP: &str = "Example: tollgate budget adjust budget-01JC2Y5X8M0000000000000000 --amount -12.50 --reason credited

A refund is negative: it lowers what was spent, though not below 0. A positive amount adds to it. Nothing is overwritten: each \
correction is a row of its own, and an entry of the audit log. With --request-id it is made once, however often the command runs.";

/// What is said under `tollgate budget release --help`.
const RELEASE_HELP: &str = "Example: tollgate budget release proxy-1 --reason 'disk lost with the machine'

What a replica has borrowed counts as spent when it dies, since it may have spent it without a report. A replica that comes back \
reports by itself, and nothing need be released. So release only what a replica left that never will come back.

By releasing YOU VOUCH that it spent nothing beyond what it reported. If it did, a budget can be passed by that much. Nothing is \
asked again: `tollgate budget leases --replica NAME` shows beforehand what would be freed. The current run of a replica that \
follows is left alone.";

/// What to do with budgets.
#[derive(Debug, Subcommand)]
pub(crate) enum BudgetCommand {
    /// List budgets and how they stand in their current windows
    #[command(after_help = LIST_HELP)]
    List(Box<List>),
    /// Show one budget and how it stands
    #[command(after_help = "Example: tollgate budget get budget-01JC2Y5X8M0000000000000000")]
    Get {
        /// The id
        #[arg(value_name = "ID", value_parser = reference)]
        budget: String,
    },
    /// Correct what was spent; a refund is a negative amount
    #[command(after_help = ADJUST_HELP)]
    Adjust(Box<Adjust>),
    /// List what replicas have borrowed and neither spent nor given back, the largest first
    #[command(after_help = "Example: tollgate budget leases --replica proxy-1")]
    Leases {
        /// Only those of this replica, by id or name
        #[arg(long, value_parser = reference)]
        replica: Option<String>,
        /// Only those of this budget, by id
        #[arg(long, value_name = "ID", value_parser = reference)]
        budget: Option<String>,
    },
    /// Free what a replica that will never report again has borrowed: you vouch for what it spent
    #[command(after_help = RELEASE_HELP)]
    Release {
        /// The id or the name of the replica
        #[arg(value_parser = reference)]
        replica: String,
        /// Why, for the audit log
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
}

/// Which budgets are listed.
#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    owner: Owner,
    #[command(flatten)]
    listing: Listing,
}

/// Whose budgets.
#[derive(Args, Debug)]
#[group(multiple = false)]
struct Owner {
    /// Only those of this customer, by id or name
    #[arg(long, value_parser = reference)]
    customer: Option<String>,
    /// Only those of this team, by id or name
    #[arg(long, value_parser = reference)]
    team: Option<String>,
    /// Only those of this user, by id or name
    #[arg(long, value_parser = reference)]
    user: Option<String>,
    /// Only those of this key, by id or name
    #[arg(long, value_parser = reference)]
    key: Option<String>,
}

/// A correction.
#[derive(Args, Debug)]
pub(crate) struct Adjust {
    /// The id of the budget
    #[arg(value_name = "ID", value_parser = reference)]
    budget: String,
    /// What to add to what was spent, in dollars; negative for a refund: -12.50
    #[arg(long, value_name = "USD", value_parser = correction, allow_hyphen_values = true)]
    amount: NanoUsd,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    /// A moment in the window that is corrected: an instant in RFC 3339, a day, or a duration back [default: now]
    #[arg(long, value_name = "INSTANT")]
    at: Option<Moment>,
    /// A name of the correction, so that it is made once however often it is asked for
    #[arg(long, value_name = "ID", value_parser = request_id)]
    request_id: Option<String>,
}

/// What was freed.
#[derive(Serialize)]
struct ReleasedView {
    replica: String,
    leases: i32,
    released_usd: String,
}

impl BudgetCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.budgets();
        let status = match self {
            Self::List(list) => {
                let List { owner: Owner { customer, team, user, key }, listing: Listing { filter, limit } } = *list;
                let filter = Filter::new(filter)
                    .and("customer", customer)?
                    .and("team", team)?
                    .and("user", user)?
                    .and("key", key)?;
                let found = all(context, limit, filter.text()).await?;
                return context.format.list(&views(context, found).await);
            }
            Self::Get { budget } => client.get_budget(v1::GetBudgetRequest { budget }).await?,
            Self::Adjust(adjust) => client.adjust_budget(adjust.request(context.now)?).await?,
            Self::Leases { replica, budget } => {
                let (replica, budget) = (replica.unwrap_or_default(), budget.unwrap_or_default());
                let found = client.list_leases(v1::ListLeasesRequest { replica, budget }).await?.into_inner().leases;
                return context.format.list(&found.into_iter().map(LeaseView::from).collect::<Vec<_>>());
            }
            Self::Release { replica, reason } => {
                let request = v1::ReleaseLeasesRequest { replica: replica.clone(), reason };
                let v1::ReleaseLeasesResponse { leases, released_nano_usd } =
                    client.release_leases(request).await?.into_inner();
                let released_usd = NanoUsd::new(released_nano_usd).to_string();
                return context.format.item(&ReleasedView { replica, leases, released_usd });
            }
        };
        one(context, views(context, vec![status.into_inner()]).await)
    }
}

impl Adjust {
    fn request(self, now: Timestamp) -> Result<v1::AdjustBudgetRequest, Failure> {
        let Self { budget, amount, reason, at, request_id } = self;
        let at = at.map(|moment| moment.before(now)).transpose();
        let at = at.map_err(|reason| Failure::usage(format!("--at {reason}")))?;
        Ok(v1::AdjustBudgetRequest {
            budget,
            amount_nano_usd: amount.get(),
            reason,
            at: at.map(to_wire),
            request_id: request_id.unwrap_or_default(),
        })
    }
}

/// Follows the list of budgets.
async fn all(context: &Context, limit: Option<u32>, filter: String) -> Result<Vec<v1::BudgetStatus>, Failure> {
    let mut client = context.client.budgets();
    pages(limit, async |page_size: i32, page_token: String| {
        let request = v1::ListBudgetsRequest { page_size, page_token, filter: filter.clone() };
        let page = client.list_budgets(request).await?.into_inner();
        Ok((page.budgets, page.next_page_token))
    })
    .await
}

async fn views(context: &Context, found: Vec<v1::BudgetStatus>) -> Vec<StatusView> {
    let mut names = Names::default();
    let covered = found.iter().filter_map(|status| status.budget.as_ref()).map(std::slice::from_ref);
    names.learn(context, Noun::Provider, covered.flat_map(providers)).await;
    found.into_iter().map(|status| StatusView::new(status, &names)).collect()
}

fn reason(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().count() > REASON_CHARS_MAX {
        return Err(format!("must be 1 to {REASON_CHARS_MAX} characters that say why"));
    }
    Ok(text.to_owned())
}

fn request_id(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > REQUEST_ID_CHARS_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("must be 1 to {REQUEST_ID_CHARS_MAX} visible characters"));
    }
    Ok(text.to_owned())
}

impl View for ReleasedView {
    const PLURAL: &'static str = "leases";
    const LISTED: &'static [&'static str] = &["replica", "leases", "released"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("replica", self.replica.clone()),
            ("leases", self.leases.to_string()),
            ("released", format!("{} USD", self.released_usd)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{arguments::Cli, commands::Command};

    fn parsed(line: &[&str]) -> Result<BudgetCommand, clap::Error> {
        match Cli::try_parse_from(["tollgate", "budget"].iter().chain(line))?.command {
            Command::Budget(command) => Ok(command),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_correction_carries_its_sign_its_window_and_its_name() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        for (line, nano, at) in [
            (&["--amount", "-12.50"][..], -12_500_000_000, None),
            (&["--amount=-12.50 USD", "--at", "2026-02-28"], -12_500_000_000, Some("2026-02-28T00:00:00Z")),
            (&["--amount", "0.000000001", "--at", "24h"], 1, Some("2026-02-28T12:00:00Z")),
        ] {
            let line = [&["adjust", "budget-1", "--reason", "why", "--request-id", "r-1"], line].concat();
            let Ok(BudgetCommand::Adjust(adjust)) = parsed(&line) else { panic!("{line:?}") };
            let request = adjust.request(now).unwrap();
            assert_eq!((request.amount_nano_usd, request.request_id.as_str()), (nano, "r-1"));
            assert_eq!(request.at, at.map(|at| to_wire(at.parse().unwrap())), "{line:?}");
        }
    }

    #[test]
    fn a_correction_and_a_release_say_why() {
        for line in [
            &["adjust", "budget-1", "--amount", "-1"][..],
            &["adjust", "budget-1", "--amount", "0", "--reason", "why"],
            &["adjust", "budget-1", "--amount", "-1", "--reason", " "],
            &["adjust", "budget-1", "--amount", "-1", "--reason", "why", "--request-id", "a b"],
            &["release", "proxy-1"],
            &["release", "--reason", "why"],
            &["list", "--team", "a", "--key", "b"],
        ] {
            assert!(parsed(line).is_err(), "{line:?}");
        }
    }
}
