//! What guardrails found, one by one or counted.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;
use tollgate_proto::admin::v1;

use crate::{
    commands::{
        Context,
        filter::Filter,
        names::{Names, Noun},
        pages,
    },
    failure::Failure,
    literals::{
        Moment,
        guardrail::{direction, fingerprint},
        printed, reference,
    },
    output::{Answer, View},
};

/// How a key's id begins, as the log has it.
const KEY_ID: &str = "key-";

/// Which findings.
#[derive(Args, Debug)]
pub(crate) struct Findings {
    /// From this moment: a duration back, an instant in RFC 3339, or a day
    #[arg(long, value_name = "WHEN")]
    since: Option<Moment>,
    /// Before this moment
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
    /// Of this guardrail, by name
    #[arg(long, value_name = "NAME")]
    guardrail: Option<String>,
    /// Of this rule
    #[arg(long)]
    rule: Option<String>,
    /// Of this key, by id or name
    #[arg(long, value_parser = reference)]
    key: Option<String>,
    /// Of this team, by id
    #[arg(long, value_name = "ID")]
    team: Option<String>,
    /// Of this customer, by id
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// Of this session
    #[arg(long)]
    session: Option<String>,
    /// Of this secret
    #[arg(long, value_parser = fingerprint)]
    fingerprint: Option<String>,
    /// In requests, or in responses
    #[arg(long, value_parser = direction)]
    direction: Option<String>,
    /// Count them
    #[arg(long, value_name = "WHAT")]
    by: Option<By>,
    /// Stop after so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// By what findings are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum By {
    Rule,
    Fingerprint,
    Key,
    Guardrail,
}

/// A finding.
#[derive(Serialize)]
struct FindingView {
    time: Option<String>,
    guardrail: String,
    rule: String,
    direction: String,
    action: String,
    shadow: bool,
    fingerprint: String,
    place: String,
    offset: i64,
    count: i64,
    key: String,
    key_name: String,
    team: String,
    customer: String,
    session: String,
    request_id: String,
    model: String,
    index: i64,
}

/// How many findings have something in common.
#[derive(Debug, Eq, PartialEq, Serialize)]
struct CountView {
    /// What they have in common; of a key the id.
    value: String,
    /// As people read it.
    name: String,
    /// How many findings.
    findings: u64,
    /// How often what was found stood there in all.
    occurrences: i64,
    /// How many requests.
    requests: usize,
    /// The newest of them.
    last: Option<String>,
}

impl Findings {
    pub(super) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let (by, limit) = (self.by, self.limit);
        let filter = self.filter(context).await?;
        let mut client = context.client.guardrails();
        let found = pages(limit, async |page_size: i32, page_token: String| {
            let request = v1::ListFindingsRequest { page_size, page_token, filter: filter.clone() };
            let page = client.list_findings(request).await?.into_inner();
            Ok((page.findings, page.next_page_token))
        });
        let found = found.await?;
        let mut names = Names::default();
        names.learn(context, Noun::Key, found.iter().map(|finding| finding.key.as_str())).await;
        match by {
            Some(by) => context.format.list(&counted(&found, by, &names)),
            None => {
                let views: Vec<_> = found.into_iter().map(|finding| FindingView::new(finding, &names)).collect();
                context.format.list(&views)
            }
        }
    }

    // The log knows keys by their ids; one that is gone has no name any more.
    async fn filter(self, context: &Context) -> Result<String, Failure> {
        let key = match &self.key {
            Some(named) if !named.starts_with(KEY_ID) => {
                let request = v1::GetKeyRequest { key: named.clone() };
                Some(context.client.keys().get_key(request).await?.into_inner().id)
            }
            other => other.clone(),
        };
        self.terms(key, context.now)
    }

    fn terms(self, key: Option<String>, now: Timestamp) -> Result<String, Failure> {
        let Self {
            since,
            until,
            guardrail,
            rule,
            key: _,
            team,
            customer,
            session,
            fingerprint,
            direction,
            by: _,
            limit: _,
        } = self;
        let instant = |flag: &str, moment: Option<Moment>| {
            let at = moment.map(|moment| moment.before(now)).transpose();
            at.map(|at| at.map(|at| at.to_string())).map_err(|reason| Failure::usage(format!("--{flag} {reason}")))
        };
        Ok(Filter::default()
            .and("guardrail", guardrail)?
            .and("rule", rule)?
            .and("key", key)?
            .and("team", team)?
            .and("customer", customer)?
            .and("session", session)?
            .and("fingerprint", fingerprint)?
            .and("direction", direction)?
            .and("since", instant("since", since)?)?
            .and("until", instant("until", until)?)?
            .text())
    }
}

// The most frequent first. The findings are newest first.
fn counted(found: &[v1::GuardrailFinding], by: By, names: &Names) -> Vec<CountView> {
    let mut groups: BTreeMap<&str, Vec<&v1::GuardrailFinding>> = BTreeMap::new();
    for finding in found {
        let value = match by {
            By::Rule => &finding.rule,
            By::Fingerprint => &finding.fingerprint,
            By::Key => &finding.key,
            By::Guardrail => &finding.guardrail,
        };
        groups.entry(value).or_default().push(finding);
    }
    let count = |(value, group): (&str, Vec<&v1::GuardrailFinding>)| {
        let requests: std::collections::BTreeSet<_> = group.iter().map(|finding| &finding.request_id).collect();
        CountView {
            value: value.to_owned(),
            name: names.of(value),
            findings: u64::try_from(group.len()).unwrap_or(u64::MAX),
            occurrences: group.iter().map(|finding| finding.count).sum(),
            requests: requests.len(),
            last: group.first().and_then(|finding| printed(finding.time.as_ref())),
        }
    };
    let mut counts: Vec<_> = groups.into_iter().map(count).collect();
    counts.sort_by(|one, next| (next.findings, &one.name).cmp(&(one.findings, &next.name)));
    counts
}

impl FindingView {
    fn new(finding: v1::GuardrailFinding, names: &Names) -> Self {
        let v1::GuardrailFinding {
            index,
            time,
            guardrail,
            rule,
            direction,
            action,
            shadow,
            fingerprint,
            place,
            offset,
            count,
            key,
            team,
            customer,
            session,
            request_id,
            model,
        } = finding;
        Self {
            time: printed(time.as_ref()),
            guardrail,
            rule,
            direction,
            action,
            shadow,
            fingerprint,
            place,
            offset,
            count,
            key_name: names.of(&key),
            key,
            team,
            customer,
            session,
            request_id,
            model,
            index,
        }
    }
}

impl View for FindingView {
    const PLURAL: &'static str = "findings";
    const LISTED: &'static [&'static str] =
        &["time", "guardrail", "rule", "direction", "action", "key", "place", "count", "fingerprint", "request"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let shadow = if self.shadow { " (shadow)" } else { "" };
        vec![
            ("time", self.time.clone().unwrap_or_default()),
            ("guardrail", self.guardrail.clone()),
            ("rule", self.rule.clone()),
            ("direction", self.direction.clone()),
            ("action", format!("{}{shadow}", self.action)),
            ("key", self.key_name.clone()),
            ("place", self.place.clone()),
            ("count", self.count.to_string()),
            ("fingerprint", self.fingerprint.clone()),
            ("request", self.request_id.clone()),
        ]
    }
}

impl View for CountView {
    const PLURAL: &'static str = "findings";
    const LISTED: &'static [&'static str] = &["of", "findings", "occurrences", "requests", "last"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("of", self.name.clone()),
            ("findings", self.findings.to_string()),
            ("occurrences", self.occurrences.to_string()),
            ("requests", self.requests.to_string()),
            ("last", self.last.clone().unwrap_or_default()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_counted_by_what_they_have_in_common_the_most_frequent_first() {
        let finding = |rule: &str, key: &str, request: &str, count: i64| v1::GuardrailFinding {
            rule: rule.into(),
            key: key.into(),
            request_id: request.into(),
            count,
            ..Default::default()
        };
        let found = [finding("aws", "k1", "r1", 2), finding("gcp", "k2", "r1", 1), finding("aws", "k1", "r1", 1)];
        let counts = |by| {
            let counts = counted(&found, by, &Names::default());
            counts
                .into_iter()
                .map(|each| (each.value, each.findings, each.occurrences, each.requests))
                .collect::<Vec<_>>()
        };
        assert_eq!(counts(By::Rule), [("aws".into(), 2, 3, 1), ("gcp".into(), 1, 1, 1)]);
        assert_eq!(counts(By::Key), [("k1".into(), 2, 3, 1), ("k2".into(), 1, 1, 1)]);
    }
}
