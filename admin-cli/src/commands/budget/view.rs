//! How a budget stands, and what is borrowed of it, as it is shown.

use serde::Serialize;
use tollgate_policy::money::NanoUsd;
use tollgate_proto::admin::v1;

use crate::{
    commands::{names::Names, quota::view::BudgetView},
    literals::printed,
    output::View,
};

/// A budget and how it stands in its current window.
#[derive(Serialize)]
pub(super) struct StatusView {
    #[serde(flatten)]
    budget: BudgetView,
    owner_kind: String,
    owner: String,
    owner_name: String,
    window_start: Option<String>,
    reset_time: Option<String>,
    settled_usd: String,
    leased_usd: String,
    free_usd: String,
    /// What was spent on average in an hour.
    burn_per_hour_usd: String,
    empty_time: Option<String>,
    #[serde(skip)]
    used: String,
}

/// What a replica has borrowed from one budget.
#[derive(Serialize)]
pub(super) struct LeaseView {
    budget: String,
    window_start: Option<String>,
    replica: String,
    replica_name: String,
    incarnation: i64,
    outstanding_usd: String,
    ended: bool,
}

impl StatusView {
    pub(super) fn new(status: v1::BudgetStatus, names: &Names) -> Self {
        let v1::BudgetStatus {
            budget,
            owner_kind,
            owner,
            owner_name,
            window_start,
            reset_time,
            settled_nano_usd,
            leased_nano_usd,
            free_nano_usd,
            burn_nano_usd_per_hour,
            empty_time,
        } = status;
        let budget = budget.unwrap_or_default();
        let used = percent(settled_nano_usd, budget.limit_nano_usd);
        Self {
            budget: BudgetView::new(budget, names),
            owner_kind,
            owner,
            owner_name,
            window_start: printed(window_start.as_ref()),
            reset_time: printed(reset_time.as_ref()),
            settled_usd: NanoUsd::new(settled_nano_usd).to_string(),
            leased_usd: NanoUsd::new(leased_nano_usd).to_string(),
            free_usd: NanoUsd::new(free_nano_usd).to_string(),
            burn_per_hour_usd: NanoUsd::new(burn_nano_usd_per_hour).to_string(),
            empty_time: printed(empty_time.as_ref()),
            used,
        }
    }

    fn owner(&self) -> String {
        let name = if self.owner_name.is_empty() { &self.owner } else { &self.owner_name };
        format!("{}/{name}", self.owner_kind)
    }
}

// Rounded down, so that only what is spent shows as 100.
fn percent(settled: i64, limit: i64) -> String {
    let percent = (i128::from(settled) * 100).checked_div(i128::from(limit));
    percent.map_or_else(|| "-".to_owned(), |percent| percent.to_string())
}

impl View for StatusView {
    const PLURAL: &'static str = "budgets";
    const LISTED: &'static [&'static str] =
        &["owner", "window", "limit", "settled", "leased", "free", "used_%", "resets_at", "burn/h", "empty_at", "id"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("owner", self.owner()),
            ("budget", self.budget.text().to_owned()),
            ("window", self.budget.window()),
            ("limit", self.budget.limit_usd().to_owned()),
            ("settled", self.settled_usd.clone()),
            ("leased", self.leased_usd.clone()),
            ("free", self.free_usd.clone()),
            ("used_%", self.used.clone()),
            ("began_at", self.window_start.clone().unwrap_or_default()),
            ("resets_at", self.reset_time.clone().unwrap_or_else(|| "never".to_owned())),
            ("burn/h", self.burn_per_hour_usd.clone()),
            ("empty_at", self.empty_time.clone().unwrap_or_else(|| "-".to_owned())),
            ("id", self.budget.id().to_owned()),
        ]
    }
}

impl From<v1::Lease> for LeaseView {
    fn from(lease: v1::Lease) -> Self {
        let v1::Lease { budget, window_start, replica, replica_name, incarnation, outstanding_nano_usd, ended } = lease;
        let outstanding_usd = NanoUsd::new(outstanding_nano_usd).to_string();
        let window_start = printed(window_start.as_ref());
        Self { budget, window_start, replica, replica_name, incarnation, outstanding_usd, ended }
    }
}

impl View for LeaseView {
    const PLURAL: &'static str = "leases";
    const LISTED: &'static [&'static str] =
        &["replica", "incarnation", "state", "outstanding", "window_began_at", "budget"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let replica = if self.replica_name.is_empty() { &self.replica } else { &self.replica_name };
        vec![
            ("replica", replica.clone()),
            ("incarnation", self.incarnation.to_string()),
            ("state", if self.ended { "ended" } else { "running" }.to_owned()),
            ("outstanding", self.outstanding_usd.clone()),
            ("window_began_at", self.window_start.clone().unwrap_or_default()),
            ("budget", self.budget.clone()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(settled: i64, reset: Option<&str>) -> v1::BudgetStatus {
        v1::BudgetStatus {
            budget: Some(v1::Budget {
                id: "budget-1".to_owned(),
                limit_nano_usd: 500_000_000_000,
                window: "1M".to_owned(),
                ..v1::Budget::default()
            }),
            owner_kind: "team".to_owned(),
            owner: "team-1".to_owned(),
            owner_name: "platform".to_owned(),
            reset_time: reset.map(|at| crate::literals::to_wire(at.parse().unwrap())),
            settled_nano_usd: settled,
            leased_nano_usd: 1_500_000_000,
            free_nano_usd: 498_500_000_000 - settled,
            burn_nano_usd_per_hour: 250_000_000,
            ..v1::BudgetStatus::default()
        }
    }

    #[test]
    fn a_budget_shows_how_much_is_used_and_when_it_resets() {
        for (settled, used) in [(0, "0"), (499_999_999_999, "99"), (500_000_000_000, "100"), (600_000_000_000, "120")] {
            let fields = StatusView::new(status(settled, None), &Names::default()).fields();
            let field = |name| fields.iter().find(|field| field.0 == name).unwrap().1.clone();
            assert_eq!([field("used_%"), field("resets_at"), field("empty_at")], [used, "never", "-"]);
        }
        assert_eq!(percent(5, 0), "-");
    }

    #[test]
    fn programs_read_decimal_dollars() {
        let view = StatusView::new(status(12_340_000_000, Some("2026-04-01T00:00:00Z")), &Names::default());
        let document = serde_json::to_value(view).unwrap();
        for (field, expect) in [
            ("id", "budget-1"),
            ("limit_usd", "500"),
            ("window", "1M"),
            ("alignment", "rolling"),
            ("enforcement", "hard"),
            ("owner_name", "platform"),
            ("settled_usd", "12.34"),
            ("leased_usd", "1.5"),
            ("free_usd", "486.16"),
            ("burn_per_hour_usd", "0.25"),
            ("reset_time", "2026-04-01T00:00:00Z"),
        ] {
            assert_eq!(document[field], expect, "{field}");
        }
        assert_eq!(document["thresholds"], serde_json::json!([50, 80, 100]));
        assert!(document["empty_time"].is_null() && document["grace_usd"].is_null());
    }

    #[test]
    fn a_lease_says_whether_its_run_has_ended() {
        let lease = v1::Lease {
            budget: "budget-1".to_owned(),
            replica: "replica-1".to_owned(),
            incarnation: 7,
            outstanding_nano_usd: 2_000_000_000,
            ended: true,
            ..v1::Lease::default()
        };
        let fields = LeaseView::from(lease).fields();
        let values: Vec<_> = fields.iter().map(|field| field.1.as_str()).collect();
        assert_eq!(values, ["replica-1", "7", "ended", "2", "", "budget-1"]);
    }
}
