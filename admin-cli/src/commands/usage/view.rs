//! How usage is shown. The names of a summary's fields are fixed, since automation reads them.

use serde::Serialize;
use tollgate_policy::money::NanoUsd;
use tollgate_proto::usage::v1;

use crate::{literals::printed, output::View};

/// One row of a report.
#[derive(Serialize)]
pub(super) struct SummaryView {
    id: String,
    name: String,
    requests: i64,
    #[serde(flatten)]
    tokens: TokensView,
    cost_usd: String,
    refused: i64,
    uncertain: i64,
    unpriced: i64,
}

/// What was metered. `cache_write_tokens` is the sum of the two that follow it.
#[derive(Serialize)]
struct TokensView {
    input_tokens: i64,
    output_tokens: i64,
    cache_read_tokens: i64,
    cache_write_tokens: i64,
    cache_write_5m_tokens: i64,
    cache_write_1h_tokens: i64,
    web_searches: i64,
}

/// One record.
#[derive(Serialize)]
pub(super) struct RecordView {
    time: Option<String>,
    request_id: String,
    outcome: &'static str,
    refusal: String,
    status: i32,
    key: String,
    team: String,
    customer: String,
    user: String,
    session: String,
    agent: String,
    parent_agent: String,
    operation: String,
    model: String,
    answered_model: String,
    provider: String,
    credential: String,
    streamed: bool,
    #[serde(flatten)]
    tokens: TokensView,
    cost_usd: String,
    /// The budgets that the cost is charged to, by id.
    charges: Vec<String>,
    unpriced: bool,
    duration_ms: i64,
    first_byte_ms: i64,
    attempts: i32,
    /// Above 0, this is a gap in the ledger: so many records are missing.
    dropped: i64,
    upstream_request_id: String,
    revision: i64,
    replica: String,
    incarnation: i64,
    sequence: i64,
    /// The run that borrowed what the cost is paid from; 0: the run that reports it.
    held_incarnation: i64,
}

impl From<v1::Summary> for SummaryView {
    fn from(summary: v1::Summary) -> Self {
        let v1::Summary { id, name, requests, refused, uncertain, unpriced, tokens, cost_nano_usd } = summary;
        let cost_usd = NanoUsd::new(cost_nano_usd).to_string();
        Self { id, name, requests, tokens: tokens.unwrap_or_default().into(), cost_usd, refused, uncertain, unpriced }
    }
}

impl From<v1::Tokens> for TokensView {
    fn from(tokens: v1::Tokens) -> Self {
        let v1::Tokens { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches } = tokens;
        Self {
            input_tokens: input,
            output_tokens: output,
            cache_read_tokens: cache_read,
            cache_write_tokens: cache_write_5m.saturating_add(cache_write_1h),
            cache_write_5m_tokens: cache_write_5m,
            cache_write_1h_tokens: cache_write_1h,
            web_searches,
        }
    }
}

impl From<v1::StoredRecord> for RecordView {
    fn from(stored: v1::StoredRecord) -> Self {
        let v1::StoredRecord { replica, record } = stored;
        let record = record.unwrap_or_default();
        let outcome = outcome_name(record.outcome());
        let v1::Record {
            incarnation,
            sequence,
            request_id,
            arrived_ms,
            duration_ms,
            first_byte_ms,
            outcome: _,
            refusal,
            status,
            key,
            team,
            customer,
            user,
            session,
            agent,
            parent_agent,
            operation,
            model,
            answered_model,
            provider,
            credential,
            streamed,
            tokens,
            cost_nano_usd,
            unpriced,
            revision,
            upstream_request_id,
            attempts,
            dropped,
            charges,
            held_incarnation,
            // Told by the audit log, and the ledger has none of nobody.
            evidence: _,
            unidentified: _,
        } = record;
        let arrived = jiff::Timestamp::from_millisecond(arrived_ms).ok().map(crate::literals::to_wire);
        Self {
            time: printed(arrived.as_ref()),
            request_id,
            outcome,
            refusal,
            status,
            key,
            team,
            customer,
            user,
            session,
            agent,
            parent_agent,
            operation,
            model,
            answered_model,
            provider,
            credential,
            streamed,
            tokens: tokens.unwrap_or_default().into(),
            cost_usd: NanoUsd::new(cost_nano_usd).to_string(),
            charges: charges.into_iter().map(|charge| charge.budget).collect(),
            unpriced,
            duration_ms,
            first_byte_ms,
            attempts,
            dropped,
            upstream_request_id,
            revision,
            replica,
            incarnation,
            sequence,
            held_incarnation,
        }
    }
}

/// The outcome in a word, as filters take it.
pub(super) const fn outcome_name(outcome: v1::Outcome) -> &'static str {
    match outcome {
        v1::Outcome::Unspecified => "unknown",
        v1::Outcome::Completed => "completed",
        v1::Outcome::Refused => "refused",
        v1::Outcome::UpstreamFailed => "upstream_failed",
        v1::Outcome::ClientGone => "client_gone",
        v1::Outcome::Cut => "cut",
        v1::Outcome::Uncertain => "uncertain",
    }
}

impl TokensView {
    fn fields(&self) -> [(&'static str, String); 4] {
        [
            ("input", self.input_tokens.to_string()),
            ("output", self.output_tokens.to_string()),
            ("cache_read", self.cache_read_tokens.to_string()),
            ("cache_write", self.cache_write_tokens.to_string()),
        ]
    }
}

impl View for SummaryView {
    const PLURAL: &'static str = "usage in that time";
    const LISTED: &'static [&'static str] = &[
        "name",
        "requests",
        "input",
        "output",
        "cache_read",
        "cache_write",
        "cost_usd",
        "refused",
        "uncertain",
        "unpriced",
    ];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let label = [&self.name, &self.id].into_iter().find(|text| !text.is_empty()).cloned();
        let mut fields =
            vec![("name", label.unwrap_or_else(|| "-".to_owned())), ("requests", self.requests.to_string())];
        fields.extend(self.tokens.fields());
        fields.extend([
            ("cost_usd", self.cost_usd.clone()),
            ("refused", self.refused.to_string()),
            ("uncertain", self.uncertain.to_string()),
            ("unpriced", self.unpriced.to_string()),
        ]);
        fields
    }
}

impl View for RecordView {
    const PLURAL: &'static str = "records";
    const LISTED: &'static [&'static str] = &[
        "time",
        "request_id",
        "outcome",
        "status",
        "model",
        "input",
        "output",
        "cache_read",
        "cache_write",
        "cost_usd",
        "ms",
        "key",
    ];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let outcome = match (self.dropped, self.refusal.as_str()) {
            (1.., _) => format!("{} records lost", self.dropped),
            (_, "") => self.outcome.to_owned(),
            (_, refusal) => format!("{}: {refusal}", self.outcome),
        };
        let mut fields = vec![
            ("time", self.time.clone().unwrap_or_default()),
            ("request_id", self.request_id.clone()),
            ("outcome", outcome),
            ("status", self.status.to_string()),
            ("model", self.model.clone()),
        ];
        fields.extend(self.tokens.fields());
        fields.extend([
            ("cost_usd", if self.unpriced { "unpriced".to_owned() } else { self.cost_usd.clone() }),
            ("ms", self.duration_ms.to_string()),
            ("key", self.key.clone()),
        ]);
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_names_that_automation_reads() {
        let tokens =
            v1::Tokens { input: 1, output: 2, cache_read: 3, cache_write_5m: 4, cache_write_1h: 5, web_searches: 6 };
        let summary = v1::Summary {
            id: "key-1".to_owned(),
            name: "payments-dev".to_owned(),
            requests: 7,
            refused: 8,
            uncertain: 9,
            unpriced: 10,
            tokens: Some(tokens),
            cost_nano_usd: 10_500_000,
        };
        assert_eq!(
            serde_json::to_value(SummaryView::from(summary)).unwrap(),
            serde_json::json!({
                "id": "key-1", "name": "payments-dev", "requests": 7, "input_tokens": 1, "output_tokens": 2,
                "cache_read_tokens": 3, "cache_write_tokens": 9, "cache_write_5m_tokens": 4, "cache_write_1h_tokens": 5,
                "web_searches": 6, "cost_usd": "0.0105", "refused": 8, "uncertain": 9, "unpriced": 10
            })
        );
    }

    #[test]
    fn a_record_shows_when_it_arrived_and_how_it_ended() {
        let record = v1::Record {
            arrived_ms: 1_772_366_400_123,
            outcome: v1::Outcome::Refused.into(),
            refusal: "model_denied".to_owned(),
            unpriced: true,
            charges: vec![v1::BudgetCharge { budget: "budget-1".to_owned(), window_ms: Some(0) }],
            ..v1::Record::default()
        };
        let view = RecordView::from(v1::StoredRecord { replica: "r".to_owned(), record: Some(record) });
        assert_eq!(view.time.as_deref(), Some("2026-03-01T12:00:00.123Z"));
        assert_eq!(serde_json::to_value(&view).unwrap()["charges"], serde_json::json!(["budget-1"]));
        let fields = view.fields();
        let field = |name| fields.iter().find(|field| field.0 == name).unwrap().1.as_str();
        assert_eq!((field("outcome"), field("cost_usd")), ("refused: model_denied", "unpriced"));
    }
}
