//! Which entries are meant.

use clap::Args;
use jiff::Timestamp;

use crate::{commands::filter::Filter, failure::Failure, literals::Moment};

/// Which entries.
#[derive(Args, Debug)]
pub(super) struct Filters {
    /// What was done, such as key.create; a trailing '*' matches a prefix
    #[arg(long)]
    action: Option<String>,
    /// How it ended: allowed, refused or failed
    #[arg(long, value_parser = ["allowed", "refused", "failed"])]
    outcome: Option<String>,
    /// Who did it, such as administrator/bootstrap
    #[arg(long)]
    initiator: Option<String>,
    /// What it was done to, such as key/<id>
    #[arg(long)]
    target: Option<String>,
    /// The key that did it or to which it was done, by id
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// The team of the caller, by id
    #[arg(long, value_name = "ID")]
    team: Option<String>,
    /// The replica that decided
    #[arg(long)]
    replica: Option<String>,
    /// The request id that the client saw
    #[arg(long)]
    request_id: Option<String>,
    /// The coding agent's session id
    #[arg(long)]
    session: Option<String>,
    /// From this moment: a duration back, an instant in RFC 3339, or a day
    #[arg(long, value_name = "WHEN")]
    since: Option<Moment>,
    /// Before this moment
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
    /// A text that stands anywhere in the entry, in any case; looked for among the entries of the other filters
    #[arg(long)]
    text: Option<String>,
    /// Terms field=value joined by ' AND '
    #[arg(long)]
    filter: Option<String>,
}

impl Filters {
    /// The wire form; empty for every entry.
    pub(super) fn text(self, now: Timestamp) -> Result<String, Failure> {
        let Self {
            action,
            outcome,
            initiator,
            target,
            key,
            team,
            replica,
            request_id,
            session,
            since,
            until,
            text,
            filter,
        } = self;
        let instant = |flag: &str, moment: Option<Moment>| {
            let at = moment.map(|moment| moment.before(now)).transpose();
            at.map(|at| at.map(|at| at.to_string())).map_err(|reason| Failure::usage(format!("--{flag} {reason}")))
        };
        Ok(Filter::new(filter)
            .and("action", action)?
            .and("outcome", outcome)?
            .and("initiator", initiator)?
            .and("target", target)?
            .and("key", key)?
            .and("team", team)?
            .and("replica", replica)?
            .and("request_id", request_id)?
            .and("session", session)?
            .and("since", instant("since", since)?)?
            .and("until", instant("until", until)?)?
            .and("text", text)?
            .text())
    }
}
