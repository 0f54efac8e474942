//! How budgets and limits are shown: in one line for people, by fields for programs. Amounts are decimal strings of dollars.

use serde::Serialize;
use tollgate_policy::money::NanoUsd;
use tollgate_proto::admin::v1;

use crate::{
    commands::names::Names,
    literals::quota::shown_seconds,
    quota::{Budget, RateLimit, SessionLimit, alignment_word, enforcement_word, holding_word, measure_word},
};

/// What an owner may spend and how fast.
#[derive(Serialize)]
pub(crate) struct QuotaView {
    budgets: Vec<BudgetView>,
    limits: Vec<LimitView>,
    session_limit: Option<SessionView>,
}

/// A budget.
#[derive(Serialize)]
pub(crate) struct BudgetView {
    id: String,
    limit_usd: String,
    window: String,
    alignment: &'static str,
    time_zone: String,
    models: Vec<String>,
    provider: String,
    provider_name: String,
    enforcement: &'static str,
    holding: &'static str,
    thresholds: Vec<i32>,
    grace_usd: Option<String>,
    grace: Option<String>,
    contact: String,
    #[serde(skip)]
    text: String,
}

/// A rate limit.
#[derive(Serialize)]
struct LimitView {
    measure: &'static str,
    amount: i64,
    per_seconds: i64,
    models: Vec<String>,
    #[serde(skip)]
    text: String,
}

/// What one agent session may do; what is absent is not limited.
#[derive(Serialize)]
struct SessionView {
    cost_usd: Option<String>,
    requests: Option<i64>,
    repeats: Option<i32>,
    pause_seconds: Option<i32>,
    #[serde(skip)]
    text: String,
}

// === impl QuotaView ===

impl QuotaView {
    pub(crate) fn new(
        budgets: Vec<v1::Budget>,
        limits: Vec<v1::RateLimit>,
        session_limit: Option<v1::SessionLimit>,
        names: &Names,
    ) -> Self {
        Self {
            budgets: budgets.into_iter().map(|budget| BudgetView::new(budget, names)).collect(),
            limits: limits.into_iter().map(LimitView::new).collect(),
            session_limit: session_limit.and_then(SessionLimit::new).map(SessionView::new),
        }
    }

    /// The fields for people.
    pub(crate) fn fields(&self) -> [(&'static str, String); 3] {
        let budgets: Vec<_> = self.budgets.iter().map(|budget| budget.text.as_str()).collect();
        let limits: Vec<_> = self.limits.iter().map(|limit| limit.text.as_str()).collect();
        let session_limit = self.session_limit.as_ref().map(|session| session.text.clone());
        [
            ("budgets", budgets.join("; ")),
            ("limits", limits.join("; ")),
            ("session_limit", session_limit.unwrap_or_default()),
        ]
    }
}

/// The providers that budgets cover, by id.
pub(crate) fn providers(budgets: &[v1::Budget]) -> impl Iterator<Item = &str> {
    budgets.iter().map(|budget| budget.provider.as_str())
}

// === impl BudgetView ===

impl BudgetView {
    pub(crate) fn new(budget: v1::Budget, names: &Names) -> Self {
        let id = budget.id.clone();
        let budget = Budget::new(budget);
        let text = budget.clone().named(|id| names.of(id)).to_string();
        let wire = budget.into_wire();
        let (alignment, enforcement, holding) = (alignment_word(&wire), enforcement_word(&wire), holding_word(&wire));
        let v1::Budget {
            id: _,
            limit_nano_usd,
            window,
            alignment: _,
            time_zone,
            models,
            provider,
            enforcement: _,
            holding: _,
            thresholds,
            grace_nano_usd,
            grace_seconds,
            contact,
        } = wire;
        let grace = grace_nano_usd != 0;
        Self {
            id,
            limit_usd: NanoUsd::new(limit_nano_usd).to_string(),
            window,
            alignment,
            time_zone,
            models,
            provider_name: names.of(&provider),
            provider,
            enforcement,
            holding,
            thresholds,
            grace_usd: grace.then(|| NanoUsd::new(grace_nano_usd).to_string()),
            grace: grace.then(|| shown_seconds(grace_seconds)),
            contact,
            text,
        }
    }

    /// The budget in one line.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// How long a window is, and by whose calendar.
    pub(crate) fn window(&self) -> String {
        if self.time_zone.is_empty() { self.window.clone() } else { format!("{}@{}", self.window, self.time_zone) }
    }

    /// The most that may be spent in a window.
    pub(crate) fn limit_usd(&self) -> &str {
        &self.limit_usd
    }
}

// === impl LimitView ===

impl LimitView {
    fn new(limit: v1::RateLimit) -> Self {
        let limit = RateLimit::new(limit);
        let (text, measure) = (limit.to_string(), measure_word(limit.wire()));
        let v1::RateLimit { measure: _, amount, per_seconds, models } = limit.into_wire();
        Self { measure, amount, per_seconds, models, text }
    }
}

// === impl SessionView ===

impl SessionView {
    fn new(limit: SessionLimit) -> Self {
        let v1::SessionLimit { dollars_nano_usd, requests, repeats, pause_seconds } = limit.wire();
        Self {
            cost_usd: (dollars_nano_usd != 0).then(|| NanoUsd::new(dollars_nano_usd).to_string()),
            requests: (requests != 0).then_some(requests),
            repeats: (repeats != 0).then_some(repeats),
            pause_seconds: (pause_seconds != 0).then_some(pause_seconds),
            text: limit.to_string(),
        }
    }
}
