//! `tollgate audit`: who did what.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use tollgate_proto::audit::v1;

use super::{Context, filter::Filter, pages};
use crate::{
    arguments::Listing,
    failure::Failure,
    literals::{Moment, printed},
    output::{Answer, View},
};

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List entries, newest first
    #[command(after_help = "Example: tollgate audit list --action 'key.*' --since 24h")]
    List(Box<List>),
}

/// Which entries are listed.
#[derive(Args, Debug)]
pub(crate) struct List {
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
    #[command(flatten)]
    listing: Listing,
}

/// An entry as it is shown.
#[derive(Serialize)]
struct EntryView {
    index: i64,
    time: Option<String>,
    action: String,
    outcome: String,
    initiator: String,
    target: String,
    replica: String,
    request_id: String,
    session: String,
    source_address: String,
    detail: serde_json::Value,
    writer: String,
    leaf: String,
    erased: bool,
}

impl AuditCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let Self::List(list) = self;
        let limit = list.listing.limit;
        let filter = list.filter(context.now)?;
        let mut client = context.client.audit();
        let found = pages(limit, async |page_size: i32, page_token: String| {
            let request = v1::ListEntriesRequest { page_size, page_token, filter: filter.clone() };
            let page = client.list_entries(request).await?.into_inner();
            Ok((page.entries, page.next_page_token))
        })
        .await?;
        context.format.list(&found.into_iter().map(EntryView::from).collect::<Vec<_>>())
    }
}

impl List {
    fn filter(self, now: Timestamp) -> Result<String, Failure> {
        let Self { action, outcome, initiator, target, replica, request_id, session, since, until, listing } = self;
        let instant = |flag: &str, moment: Option<Moment>| {
            let at = moment.map(|moment| moment.before(now)).transpose();
            at.map(|at| at.map(|at| at.to_string())).map_err(|reason| Failure::usage(format!("--{flag} {reason}")))
        };
        Ok(Filter::new(listing.filter)
            .and("action", action)?
            .and("outcome", outcome)?
            .and("initiator", initiator)?
            .and("target", target)?
            .and("replica", replica)?
            .and("request_id", request_id)?
            .and("session", session)?
            .and("since", instant("since", since)?)?
            .and("until", instant("until", until)?)?
            .text())
    }
}

impl From<v1::Entry> for EntryView {
    fn from(entry: v1::Entry) -> Self {
        let v1::Entry {
            index,
            time,
            action,
            outcome,
            initiator,
            target,
            replica,
            request_id,
            session,
            detail,
            source_address,
            writer,
            leaf,
            erased,
        } = entry;
        let time = printed(time.as_ref());
        // The detail is a JSON object in a string; programs should not have to parse twice.
        let detail = match serde_json::from_str(&detail) {
            Ok(parsed) => parsed,
            Err(_) => serde_json::Value::String(detail),
        };
        Self {
            index,
            time,
            action,
            outcome,
            initiator,
            target,
            replica,
            request_id,
            session,
            source_address,
            detail,
            writer,
            leaf: hex::encode(leaf),
            erased,
        }
    }
}

impl View for EntryView {
    const PLURAL: &'static str = "entries";
    const LISTED: &'static [&'static str] = &["index", "time", "action", "outcome", "initiator", "target", "detail"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("index", self.index.to_string()),
            ("time", self.time.clone().unwrap_or_default()),
            ("action", self.action.clone()),
            ("outcome", self.outcome.clone()),
            ("initiator", self.initiator.clone()),
            ("target", self.target.clone()),
            ("replica", self.replica.clone()),
            ("request_id", self.request_id.clone()),
            ("session", self.session.clone()),
            ("source", self.source_address.clone()),
            ("writer", self.writer.clone()),
            ("leaf", self.leaf.clone()),
            ("erased", if self.erased { "yes".into() } else { String::new() }),
            ("detail", if self.detail.is_null() { String::new() } else { self.detail.to_string() }),
        ]
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{arguments::Cli, commands::Command};

    #[test]
    fn flags_become_terms_of_the_filter() {
        let check = |line: &[&str], expect: &str| {
            let line = [&["tollgate", "audit", "list"], line].concat();
            let Command::Audit(AuditCommand::List(list)) = Cli::try_parse_from(line).unwrap().command else { panic!() };
            assert_eq!(list.filter("2026-03-01T12:00:00Z".parse().unwrap()).unwrap(), expect);
        };
        check(&[], "");
        check(&["--action", "key.*", "--outcome", "refused"], "action=key.* AND outcome=refused");
        check(
            &["--since", "24h", "--until", "2026-03-01"],
            "since=2026-02-28T12:00:00Z AND until=2026-03-01T00:00:00Z",
        );
        check(&["--filter", "replica=r", "--request-id", "req_1"], "replica=r AND request_id=req_1");
    }

    #[test]
    fn a_detail_is_a_value_for_programs() {
        let entry =
            |detail: &str| EntryView::from(v1::Entry { detail: detail.to_owned(), ..v1::Entry::default() }).detail;
        assert_eq!(entry(r#"{"a": 1}"#), serde_json::json!({"a": 1}));
        assert_eq!(entry("not json"), serde_json::json!("not json"));
    }
}
