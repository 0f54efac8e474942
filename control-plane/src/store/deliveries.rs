//! Alerts that wait to be delivered.

use super::{Row, StoreError, Txn};

/// An alert that waits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// Its id, which names it to the receiver however often it is sent.
    pub id: String,
    /// What is sent.
    pub body: String,
    /// When it was written, in Unix milliseconds.
    pub create_time: i64,
    /// How often it was tried.
    pub attempts: i64,
    /// When it is due, in Unix milliseconds.
    pub next_time: i64,
}

/// Deliveries. Each method fails as [`Txn::execute`] does.
impl Txn {
    /// Stores an alert that is due now.
    pub async fn delivery_insert(&mut self, id: &str, body: &str, now: i64) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO webhook_deliveries (id, body, create_time, attempts, next_time) VALUES ($1, $2, $3, 0, $3)",
            id,
            body,
            now,
        );
        self.execute(insert).await.map(drop)
    }

    /// The alerts that are due, the longest first, at most `count`.
    pub async fn deliveries_due(&mut self, now: i64, count: i64) -> Result<Vec<Delivery>, StoreError> {
        let select =
            sql!("SELECT * FROM webhook_deliveries WHERE next_time <= $1 ORDER BY next_time, id LIMIT $2", now, count,);
        self.fetch_all(select).await?.iter().map(Delivery::read).collect()
    }

    /// Takes an alert for one attempt: it is due to others only when that must have failed. Tells whether it was still there.
    pub async fn delivery_claim(&mut self, delivery: &Delivery, until: i64) -> Result<bool, StoreError> {
        let Delivery { id, next_time, .. } = delivery;
        let update = sql!(
            "UPDATE webhook_deliveries SET next_time = $1, attempts = attempts + 1 WHERE id = $2 AND next_time = $3",
            until,
            id,
            *next_time,
        );
        Ok(self.execute(update).await? == 1)
    }

    /// Has an alert tried again at an instant.
    pub async fn delivery_postpone(&mut self, id: &str, next_time: i64) -> Result<(), StoreError> {
        let update = sql!("UPDATE webhook_deliveries SET next_time = $1 WHERE id = $2", next_time, id);
        self.execute(update).await.map(drop)
    }

    /// Removes an alert that was delivered or is given up. Tells whether it was still there.
    pub async fn delivery_delete(&mut self, id: &str) -> Result<bool, StoreError> {
        Ok(self.execute(sql!("DELETE FROM webhook_deliveries WHERE id = $1", id)).await? == 1)
    }
}

impl Delivery {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.text("id")?,
            body: row.text("body")?,
            create_time: row.int("create_time")?,
            attempts: row.int("attempts")?,
            next_time: row.int("next_time")?,
        })
    }
}
