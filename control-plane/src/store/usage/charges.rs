//! The budgets that a visit is charged to, as the JSON of a column: an array of `{"budget", "window_ms"}`.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};
use tollgate_policy::{id::BudgetId, time::UnixMillis, usage::Charge};

/// The column of a visit that is charged to none.
pub(super) const NONE: &str = "[]";

#[derive(Deserialize, Serialize)]
struct Stored<'a> {
    budget: Cow<'a, str>,
    // Missing for a soft budget, in which nothing is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window_ms: Option<i64>,
}

/// The text of the column.
pub(super) fn written(charges: &[Charge]) -> Cow<'static, str> {
    if charges.is_empty() {
        return NONE.into();
    }
    let stored = |charge: &Charge| {
        let Charge { budget, window } = charge;
        let window_ms = window.map(UnixMillis::get);
        serde_json::to_value(Stored { budget: budget.as_str().into(), window_ms }).unwrap_or_default()
    };
    charges.iter().map(stored).collect::<serde_json::Value>().to_string().into()
}

/// What the column says.
pub(super) fn read(text: &str) -> Result<Arc<[Charge]>, String> {
    let stored: Vec<Stored<'_>> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let charge = |Stored { budget, window_ms }: Stored<'_>| {
        let budget = BudgetId::parse(&budget).map_err(|error| error.to_string())?;
        Ok(Charge { budget, window: window_ms.map(UnixMillis::new) })
    };
    stored.into_iter().map(charge).collect()
}
