//! What is told of budgets that pass a threshold: an entry in the log, a count, and an alert for the webhook.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tollgate_audit::{Entry, Facts, Outcome};
use tollgate_policy::id::BudgetId;

use crate::{
    books::Passed,
    store::{StoreError, Txn},
};

/// The kind of an alert and of its entry in the log.
pub const THRESHOLD: &str = "budget.threshold";

/// Where alerts go. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    passed: Counter,
    webhook: Option<Arc<Notify>>,
}

impl Alerts {
    /// Counts in `passed`, and, with a webhook, stores alerts for it and wakes who delivers them.
    #[must_use]
    pub const fn new(passed: Counter, webhook: Option<Arc<Notify>>) -> Self {
        Self { passed, webhook }
    }

    /// The entries for the log, after storing the alerts in the same transaction.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn entries(&self, txn: &mut Txn, passed: &[Passed], now: i64) -> Result<Vec<Entry>, StoreError> {
        if self.webhook.is_some() {
            for passed in passed {
                let id = format!("msg_{}", ulid::Ulid::generate().to_string().to_lowercase());
                let body = json!({"type": THRESHOLD, "timestamp": instant(now), "data": data(passed)});
                txn.delivery_insert(&id, &body.to_string(), now).await?;
            }
        }
        Ok(passed.iter().map(|passed| entry(passed, now)).collect())
    }

    /// Counts what was passed, and wakes who delivers it, once it is committed.
    pub fn told(&self, passed: usize) {
        if passed > 0 {
            self.passed.inc_by(u64::try_from(passed).unwrap_or_default());
            if let Some(webhook) = &self.webhook {
                webhook.notify_one();
            }
        }
    }
}

fn entry(passed: &Passed, now: i64) -> Entry {
    let target = format!("{}/{}", BudgetId::NOUN, passed.window.budget);
    let facts = Facts { initiator: "system", target: &target, detail: data(passed), ..Facts::default() };
    Entry::new(now, THRESHOLD, Outcome::Allowed, facts)
}

fn data(passed: &Passed) -> Map<String, Value> {
    let Passed { terms, window, row, percent } = passed;
    let fields = [
        ("budget", json!(window.budget.as_str())),
        ("owner", json!(format!("{}/{}", terms.owner_kind, terms.owner))),
        ("contact", json!(terms.contact)),
        ("percent", json!(percent)),
        ("limit_nano_usd", json!(terms.limit.get())),
        ("settled_nano_usd", json!(row.settled.get())),
        ("window_start", json!(instant(window.start))),
        ("reset_time", json!(row.end.map(instant))),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

// RFC 3339 in UTC.
fn instant(millis: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(millis);
    at.map_or_else(|_| millis.to_string(), |at| at.to_string())
}
