//! Corrections of what was spent, and what is spent in each five minutes.

use tollgate_policy::{id::BudgetId, money::NanoUsd};

use super::WindowId;
use crate::store::{Row, StoreError, Txn};

/// How long a slot of [`Txn::spend_add`] is, in milliseconds.
pub const SLOT_MS: i64 = 300_000;
/// How long slots are kept, in slots: two hours.
pub const SLOTS_KEPT: i64 = 24;

/// A correction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Adjustment {
    /// Its id.
    pub id: String,
    /// The window that is corrected.
    pub window: WindowId,
    /// What is added to what was spent; negative: a refund.
    pub amount: NanoUsd,
    /// Who corrected.
    pub principal: String,
    /// Why.
    pub reason: String,
    /// Names the request; `None`: it has no name.
    pub request_id: Option<String>,
    /// When, in Unix milliseconds.
    pub time: i64,
}

/// Corrections and slots. Each method fails as [`Txn::execute`] does.
impl Txn {
    /// Stores a correction.
    pub async fn adjustment_insert(&mut self, adjustment: &Adjustment) -> Result<(), StoreError> {
        let Adjustment { id, window, amount, principal, reason, request_id, time } = adjustment;
        let insert = sql!(
            "INSERT INTO budget_adjustments (id, budget, start_ms, amount, principal, reason, request_id, time)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            id,
            window.budget.as_str(),
            window.start,
            amount.get(),
            principal,
            reason,
            request_id.as_deref(),
            *time,
        );
        self.execute(insert).await.map(drop)
    }

    /// The correction that a request of this name made.
    pub async fn adjustment_find(&mut self, request_id: &str) -> Result<Option<Adjustment>, StoreError> {
        let select = sql!("SELECT * FROM budget_adjustments WHERE request_id = $1", request_id);
        self.fetch_optional(select).await?.as_ref().map(Adjustment::read).transpose()
    }

    /// Adds to what was spent in slots, which are sorted. Their windows are locked.
    pub async fn spend_add(&mut self, spent: &[((BudgetId, i64), NanoUsd)]) -> Result<(), StoreError> {
        let head = "INSERT INTO budget_spend (budget, slot, amount) VALUES ";
        let conflict = " ON CONFLICT (budget, slot) DO UPDATE SET amount = budget_spend.amount + excluded.amount";
        self.write_rows(spent, head, conflict, |insert, ((budget, slot), amount)| {
            insert.push_bind(budget.as_str());
            insert.push(", ");
            insert.push_bind(*slot);
            insert.push(", ");
            insert.push_bind(amount.get());
        })
        .await
    }

    /// Removes the slots before this one.
    pub async fn spend_forget(&mut self, before: i64) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM budget_spend WHERE slot < $1", before)).await.map(drop)
    }
}

impl Adjustment {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.text("id")?,
            window: WindowId::read(row)?,
            amount: NanoUsd::new(row.int("amount")?),
            principal: row.text("principal")?,
            reason: row.text("reason")?,
            request_id: row.text_opt("request_id")?,
            time: row.int("time")?,
        })
    }
}
