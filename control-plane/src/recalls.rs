//! Which budgets are recalled: somebody needs more of them than is free, and replicas may have what they do not hold.
//!
//! The control plane that learns of it tells its own streams at once. The others find the instant in the row of the window,
//! within a second, and tell theirs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::broadcast;
use tollgate_policy::id::BudgetId;

use crate::store::{StoreError, Txn};

/// Recalls that wait to be said on one stream. A stream that falls behind misses some: who still needs funds asks again.
const QUEUE_MAX: usize = 256;
/// How far back the rows of other control planes are read, in milliseconds: a few polls, and the difference of two clocks.
const LOOK_BACK_MS: i64 = 10_000;
/// The most budgets that one poll recalls.
const POLLED_MAX: i64 = 1_000;

/// The budgets that are recalled. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Recalls {
    send: broadcast::Sender<BudgetId>,
    // When each budget was last scarce, as far as was told: those of the last seconds.
    told: Arc<Mutex<HashMap<BudgetId, i64>>>,
}

impl Default for Recalls {
    fn default() -> Self {
        Self { send: broadcast::Sender::new(QUEUE_MAX), told: Arc::default() }
    }
}

impl Recalls {
    /// Hears of every budget that is recalled from now on.
    #[must_use]
    pub fn heard(&self) -> broadcast::Receiver<BudgetId> {
        self.send.subscribe()
    }

    /// Recalls a budget that was scarce at an instant, unless that was told.
    pub fn tell(&self, budget: &BudgetId, scarce_time: i64) {
        let is_news = self.told().insert(budget.clone(), scarce_time) != Some(scarce_time);
        if is_news {
            // Without a stream there is nobody to tell.
            let _ = self.send.send(budget.clone());
        }
    }

    /// Recalls what was scarce of late, by whichever control plane.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn poll(&self, txn: &mut Txn, now: i64) -> Result<(), StoreError> {
        let after = now.saturating_sub(LOOK_BACK_MS);
        for (budget, scarce_time) in txn.windows_scarce(after, POLLED_MAX).await? {
            self.tell(&budget, scarce_time);
        }
        self.told().retain(|_, scarce_time| *scarce_time > after);
        Ok(())
    }

    fn told(&self) -> MutexGuard<'_, HashMap<BudgetId, i64>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
