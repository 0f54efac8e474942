//! `tollgate audit explain`: what decided a request.

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use tollgate_policy::money::NanoUsd;
use tollgate_proto::audit::v1;

use super::entry::EntryView;
use crate::{
    commands::{Context, filter::Filter, pages, text},
    failure::Failure,
    output::{Answer, Format, bare_table},
};

/// The most entries that one request is explained by: it has one, and a few when its records came twice or late.
const ENTRIES_MAX: u32 = 100;

/// Which request.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The request id, as the client saw it in the header request-id
    #[arg(value_name = "REQUEST_ID")]
    request_id: String,
}

#[derive(Serialize)]
struct ExplainedView {
    request_id: String,
    /// A sentence for each entry, oldest first.
    decided: Vec<String>,
    entries: Vec<EntryView>,
}

impl Explain {
    pub(super) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let Self { request_id } = self;
        let filter = Filter::default().and("request_id", Some(&request_id))?.text();
        let mut client = context.client.audit();
        let mut found = pages(Some(ENTRIES_MAX), async |page_size: i32, page_token: String| {
            let request = v1::ListEntriesRequest { page_size, page_token, filter: filter.clone(), after_index: None };
            let page = client.list_entries(request).await?.into_inner();
            Ok((page.entries, page.next_page_token))
        })
        .await?;
        if found.is_empty() {
            return Err(Failure::new("not_found", format!("the audit log has no entry of the request {request_id:?}")).hint(
                "a request is written down when it has ended, and a replica reports it within seconds; the id is in the answer's header \
                 request-id",
            ));
        }
        found.reverse();
        let entries: Vec<_> = found.into_iter().map(EntryView::from).collect();
        let decided = entries.iter().map(decided).collect();
        let view = ExplainedView { request_id, decided, entries };
        match context.format {
            Format::Table => Ok(Answer::raw(view.text())),
            format => format.document(&view, bare_table),
        }
    }
}

impl ExplainedView {
    fn text(&self) -> String {
        let parts = self.entries.iter().zip(&self.decided).map(|(entry, decided)| {
            let mut table = bare_table();
            for (name, value) in rows(entry) {
                table.add_row([text::for_terminal(&name), text::for_terminal(&value)]);
            }
            for column in table.column_iter_mut() {
                column.set_padding((2, 0));
            }
            format!("{}\n{}\n", text::for_terminal(decided), table.trim_fmt())
        });
        parts.collect::<Vec<_>>().join("\n")
    }
}

// What decided it, in a sentence.
fn decided(entry: &EntryView) -> String {
    let detail = |name: &str| entry.detail.get(name);
    let word = |name: &str| detail(name).and_then(Value::as_str).unwrap_or_default();
    if entry.erased {
        return format!("{}: the content of this entry was erased", entry.action);
    }
    let refusal = match word("refusal") {
        "" => word("reason"),
        refusal => refusal,
    };
    let because = if refusal.is_empty() { String::new() } else { format!(" because of {refusal}") };
    let by = match detail("revision").and_then(Value::as_u64) {
        // The first revision is 1: it was refused before it was looked for, or there was none.
        Some(0) => ", before any policy was asked".to_owned(),
        Some(revision) => format!(", by revision {revision} of the policy"),
        None => String::new(),
    };
    let attempts = detail("attempts").and_then(Value::as_u64);
    let reached = match (attempts, word("provider")) {
        (Some(0), _) => "; nothing was sent to a provider".to_owned(),
        (Some(1), "") => "; a provider was called once".to_owned(),
        (Some(1), provider) => format!("; {provider} was called once"),
        (Some(count), _) => format!("; providers were called {count} times"),
        (None, _) => String::new(),
    };
    let cost = detail("cost_nano_usd").and_then(Value::as_i64).filter(|cost| *cost != 0);
    let cost = cost.map(|cost| format!("; it cost {} USD", NanoUsd::new(cost))).unwrap_or_default();
    let what = match entry.action.as_str() {
        "request.admit" => "admitted and answered",
        "request.refuse" if entry.initiator == "unknown" => "refused before its key was accepted,",
        "request.refuse" => "refused",
        "request.cut" => "admitted, and cut while it was answered",
        "request.fail" => "admitted, and the provider failed",
        "request.abandon" => "admitted, and the client left before the end",
        "request.uncertain" => "admitted, and nobody saw how it ended",
        _ => "",
    };
    let what = if what.is_empty() { format!("{} {}", entry.action, entry.outcome) } else { what.to_owned() };
    format!("{what}{because}{by}{reached}{cost}")
}

// What is known first, in the order in which a person asks; then all else that the detail has, as it is.
fn rows(entry: &EntryView) -> Vec<(String, String)> {
    let mut rows: Vec<_> = [
        ("entry", entry.index.to_string()),
        ("time", entry.time.clone().unwrap_or_default()),
        ("action", entry.action.clone()),
        ("outcome", entry.outcome.clone()),
        ("initiator", entry.initiator.clone()),
        ("target", entry.target.clone()),
        ("replica", entry.replica.clone()),
        ("session", entry.session.clone()),
        ("source", entry.source_address.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let mut detail = entry.detail.as_object().cloned().unwrap_or_default();
    for (name, label) in KNOWN {
        if let Some(value) = detail.remove(*name) {
            push(&mut rows, label, &value);
        }
    }
    for (name, value) in &detail {
        push(&mut rows, name, value);
    }
    rows.push(("leaf".to_owned(), entry.leaf.clone()));
    rows.retain(|(_, value)| !value.is_empty());
    rows
}

/// The members of the detail, and how people call them.
const KNOWN: &[(&str, &str)] = &[
    ("refusal", "refused because of"),
    ("rule", "rule"),
    ("revision", "policy revision"),
    ("operation", "operation"),
    ("status", "HTTP status"),
    ("provider", "provider"),
    ("credential", "credential"),
    ("answered_model", "answered by model"),
    ("attempts", "attempts"),
    ("upstream_request_id", "provider's request id"),
    ("cost_nano_usd", "cost"),
    ("unpriced", "unpriced"),
    ("price", "price"),
    ("input_tokens", "input tokens"),
    ("output_tokens", "output tokens"),
    ("cache_read_tokens", "tokens read from the cache"),
    ("cache_write_5m_tokens", "tokens written to the cache for 5 minutes"),
    ("cache_write_1h_tokens", "tokens written to the cache for an hour"),
    ("web_searches", "web searches"),
    ("hold", "hold"),
    ("budgets", "budgets"),
    ("limits", "limits"),
];

fn push(rows: &mut Vec<(String, String)>, name: &str, value: &Value) {
    match value {
        // Several of a kind: one a row.
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            items.iter().for_each(|item| rows.push((name.to_owned(), shown("", item))));
        }
        _ => rows.push((name.to_owned(), shown(if name == "cost" { "cost_nano_usd" } else { name }, value))),
    }
}

// A value as people read it: money in dollars, members as name=value.
fn shown(name: &str, value: &Value) -> String {
    match value {
        Value::Number(number) if name.ends_with("nano_usd") => {
            number.as_i64().map_or_else(|| number.to_string(), |amount| format!("{} USD", NanoUsd::new(amount)))
        }
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(|item| shown("", item)).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| format!("{}={}", bare(name), shown(name, value));
            members.iter().map(member).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

fn bare(name: &str) -> &str {
    name.strip_suffix("_nano_usd").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(action: &str, detail: &Value) -> EntryView {
        let entry = v1::Entry { index: 7, action: action.into(), detail: detail.to_string(), ..v1::Entry::default() };
        EntryView::from(entry)
    }

    #[test]
    fn a_decision_is_told_in_a_sentence() {
        let check = |action: &str, detail: Value, expect: &str| assert_eq!(decided(&entry(action, &detail)), expect);
        check(
            "request.refuse",
            json!({"refusal": "model_not_allowed", "revision": 9, "attempts": 0, "cost_nano_usd": 0}),
            "refused because of model_not_allowed, by revision 9 of the policy; nothing was sent to a provider",
        );
        check(
            "request.admit",
            json!({"revision": 9, "attempts": 1, "provider": "provider-1", "cost_nano_usd": 10_500_000}),
            "admitted and answered, by revision 9 of the policy; provider-1 was called once; it cost 0.0105 USD",
        );
        check("key.create", json!({}), "key.create ");
        let nobody = |revision: u64| {
            let detail = json!({"refusal": "unauthenticated", "revision": revision, "attempts": 0, "cost_nano_usd": 0});
            decided(&EntryView { initiator: "unknown".into(), ..entry("request.refuse", &detail) })
        };
        assert_eq!(
            nobody(9),
            "refused before its key was accepted, because of unauthenticated, by revision 9 of the policy; nothing was sent \
             to a provider"
        );
        assert_eq!(
            nobody(0),
            "refused before its key was accepted, because of unauthenticated, before any policy was asked; nothing was sent \
             to a provider"
        );
    }

    #[test]
    fn what_is_known_comes_first_and_nothing_is_left_out() {
        let detail = json!({
            "zebra": {"b": 1, "left_nano_usd": 2_500_000_000_i64}, "cost_nano_usd": 1_000_000_000, "refusal": "budget",
            "budgets": [{"id": "b1", "held_nano_usd": 500_000_000}, {"id": "b2"}], "models": ["a", "b"]
        });
        let rows = rows(&entry("request.refuse", &detail));
        let row = |name: &str| rows.iter().filter(|row| row.0 == name).map(|row| row.1.as_str()).collect::<Vec<_>>();
        assert_eq!(row("refused because of"), ["budget"]);
        assert_eq!(row("cost"), ["1 USD"]);
        assert_eq!(row("budgets"), ["held=0.5 USD id=b1", "id=b2"]);
        assert_eq!(row("zebra"), ["b=1 left=2.5 USD"]);
        assert_eq!(row("models"), ["a, b"]);
        let place = |name: &str| rows.iter().position(|row| row.0 == name).unwrap();
        assert!(place("refused because of") < place("cost") && place("budgets") < place("zebra"));
    }
}
