//! `tollgate usage`: what was used, by whom, at what cost.

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use tollgate_policy::money::NanoUsd;
use tollgate_proto::usage::v1;

mod view;

use super::{Context, filter::Filter, pages};
use crate::{
    arguments::Listing,
    failure::Failure,
    literals::{Moment, reference, to_wire},
    output::{Answer, Format},
};
use view::{RecordView, SummaryView};

/// What to do with usage.
#[derive(Debug, Subcommand)]
pub(crate) enum UsageCommand {
    /// Sum usage and cost by one dimension, dearest first; by day, oldest first
    #[command(after_help = "Example: tollgate usage report --by team --since 30d -o json")]
    Report(Box<Report>),
    /// List single records, newest first
    #[command(after_help = "Example: tollgate usage list --key payments-dev --limit 20")]
    List(Box<List>),
}

/// A summary.
#[derive(Args, Debug)]
pub(crate) struct Report {
    /// What to group by
    #[arg(long)]
    by: Dimension,
    /// From this moment: a duration back, an instant in RFC 3339, or a day [default: the beginning]
    #[arg(long, value_name = "WHEN")]
    since: Option<Moment>,
    /// Before this moment [default: now]
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
    #[command(flatten)]
    about: About,
    /// Terms field=value joined by ' AND '
    #[arg(long)]
    filter: Option<String>,
}

/// Which records are listed.
#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    about: About,
    /// Only the visit with this request id
    #[arg(long)]
    request_id: Option<String>,
    /// Only visits that ended so
    #[arg(long)]
    outcome: Option<Outcome>,
    #[command(flatten)]
    listing: Listing,
}

/// What usage is about.
#[derive(Args, Debug)]
pub(crate) struct About {
    /// Only of this key, by id or name
    #[arg(long, value_parser = reference)]
    key: Option<String>,
    /// Only of this team, by id or name
    #[arg(long, value_parser = reference)]
    team: Option<String>,
    /// Only of this customer, by id or name
    #[arg(long, value_parser = reference)]
    customer: Option<String>,
    /// Only of this user, by id or name
    #[arg(long, value_parser = reference)]
    user: Option<String>,
    /// Only at this provider, by id or name
    #[arg(long, value_parser = reference)]
    provider: Option<String>,
    /// Only of this model, as it was asked for
    #[arg(long)]
    model: Option<String>,
    /// Only of this agent session
    #[arg(long)]
    session: Option<String>,
}

/// What a summary groups by.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Dimension {
    Key,
    Team,
    Customer,
    Model,
    Provider,
    Session,
    Agent,
    Day,
    User,
}

/// How a visit ended.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Outcome {
    Completed,
    Refused,
    UpstreamFailed,
    ClientGone,
    Cut,
    Uncertain,
}

impl UsageCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::Report(report) => {
                let request = report.request(context.now)?;
                let rows = context.client.usage().summarize(request).await?.into_inner().rows;
                let cost: NanoUsd = rows.iter().map(|row| NanoUsd::new(row.cost_nano_usd)).sum();
                let requests: i64 = rows.iter().fold(0, |sum, row| sum.saturating_add(row.requests));
                let unpriced: i64 = rows.iter().fold(0, |sum, row| sum.saturating_add(row.unpriced));
                let answer = context.format.list(&rows.into_iter().map(SummaryView::from).collect::<Vec<_>>())?;
                let total = (context.format == Format::Table && requests > 0).then(|| total(requests, cost, unpriced));
                Ok(total.into_iter().fold(answer, Answer::note))
            }
            Self::List(list) => {
                let limit = list.listing.limit;
                let filter = list.filter()?;
                let mut client = context.client.usage();
                let found = pages(limit, async |page_size: i32, page_token: String| {
                    let request = v1::ListRecordsRequest { page_size, page_token, filter: filter.clone() };
                    let page = client.list_records(request).await?.into_inner();
                    Ok((page.records, page.next_page_token))
                })
                .await?;
                context.format.list(&found.into_iter().map(RecordView::from).collect::<Vec<_>>())
            }
        }
    }
}

fn total(requests: i64, cost: NanoUsd, unpriced: i64) -> String {
    let unknown =
        if unpriced > 0 { format!(", and {unpriced} requests of models without a price") } else { String::new() };
    format!("total: {requests} requests, {cost} USD{unknown}")
}

impl Report {
    fn request(self, now: Timestamp) -> Result<v1::SummarizeRequest, Failure> {
        let Self { by, since, until, about, filter } = self;
        let instant = |flag: &str, moment: Option<Moment>| {
            let at = moment.map(|moment| moment.before(now)).transpose();
            at.map_err(|reason| Failure::usage(format!("--{flag} {reason}")))
        };
        let (since, until) = (instant("since", since)?, instant("until", until)?);
        if since.zip(until).is_some_and(|(since, until)| since >= until) {
            return Err(Failure::usage("--since must lie before --until"));
        }
        Ok(v1::SummarizeRequest {
            by: v1::Dimension::from(by).into(),
            since: since.map(to_wire),
            until: until.map(to_wire),
            filter: about.onto(Filter::new(filter))?.text(),
        })
    }
}

impl List {
    fn filter(self) -> Result<String, Failure> {
        let Self { about, request_id, outcome, listing } = self;
        let filter = about.onto(Filter::new(listing.filter))?.and("request_id", request_id)?;
        Ok(filter.and("outcome", outcome.map(|outcome| view::outcome_name(outcome.into())))?.text())
    }
}

impl About {
    fn onto(self, filter: Filter) -> Result<Filter, Failure> {
        let Self { key, team, customer, user, provider, model, session } = self;
        filter
            .and("key", key)?
            .and("team", team)?
            .and("customer", customer)?
            .and("user", user)?
            .and("provider", provider)?
            .and("model", model)?
            .and("session", session)
    }
}

impl From<Dimension> for v1::Dimension {
    fn from(dimension: Dimension) -> Self {
        match dimension {
            Dimension::Key => Self::Key,
            Dimension::Team => Self::Team,
            Dimension::Customer => Self::Customer,
            Dimension::Model => Self::Model,
            Dimension::Provider => Self::Provider,
            Dimension::Session => Self::Session,
            Dimension::Agent => Self::Agent,
            Dimension::Day => Self::Day,
            Dimension::User => Self::User,
        }
    }
}

impl From<Outcome> for v1::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Completed => Self::Completed,
            Outcome::Refused => Self::Refused,
            Outcome::UpstreamFailed => Self::UpstreamFailed,
            Outcome::ClientGone => Self::ClientGone,
            Outcome::Cut => Self::Cut,
            Outcome::Uncertain => Self::Uncertain,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{arguments::Cli, commands::Command};

    fn request(line: &[&str]) -> Result<v1::SummarizeRequest, Failure> {
        let line = [&["tollgate", "usage", "report"], line].concat();
        let Command::Usage(UsageCommand::Report(report)) = Cli::try_parse_from(line).unwrap().command else { panic!() };
        report.request("2026-03-01T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn each_dimension_of_the_contract_is_known() {
        for by in ["key", "team", "customer", "model", "provider", "session", "agent", "day", "user"] {
            let expect = v1::Dimension::from_str_name(&format!("DIMENSION_{}", by.to_uppercase())).unwrap();
            assert_eq!(request(&["--by", by]).unwrap().by(), expect, "{by}");
        }
    }

    #[test]
    fn a_report_has_bounds_and_a_filter() {
        let asked =
            request(&["--by", "day", "--since", "24h", "--until", "1h", "--team", "platform", "--filter", "model=x"])
                .unwrap();
        assert_eq!(asked.since, Some(to_wire("2026-02-28T12:00:00Z".parse().unwrap())));
        assert_eq!(asked.until, Some(to_wire("2026-03-01T11:00:00Z".parse().unwrap())));
        assert_eq!(asked.filter, "model=x AND team=platform");
        assert_eq!(request(&["--by", "day", "--since", "1h", "--until", "24h"]).unwrap_err().code, "usage");
    }

    #[test]
    fn a_total_names_what_it_does_not_count() {
        assert_eq!(total(2, NanoUsd::new(10_500_000), 0), "total: 2 requests, 0.0105 USD");
        assert!(total(2, NanoUsd::ZERO, 1).contains("without a price"));
    }
}
