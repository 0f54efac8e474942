//! How far a sink has the log, and who ships to it: both stand in the database.

use prometheus_client::metrics::gauge::Gauge;

use super::settings::SinkSettings;
use crate::{
    clock,
    store::{Store, StoreError},
};

/// For so long a sink belongs to a control plane that says nothing more, in milliseconds: two attempts.
const HOLD_MS: i64 = 20_000;

/// The cursor of a sink.
#[derive(Debug)]
pub(super) struct Cursor {
    store: Store,
    name: String,
    from_now: bool,
    // Entries that the sink has not acknowledged.
    lag: Gauge,
    // The run, to the other control planes.
    holder: String,
    // By the clock; 0 when another holds the sink.
    held_until: i64,
    shipped: i64,
}

/// Who has a sink.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hold {
    /// Another control plane, or nobody yet.
    Elsewhere,
    /// This run, since now.
    Taken,
    /// This run, as before.
    Kept,
}

impl Cursor {
    /// The cursor of that run.
    pub(super) fn new(sink: &SinkSettings, store: &Store, lag: Gauge, holder: String) -> Self {
        let SinkSettings { name, from_now, .. } = sink;
        let (store, name, from_now) = (store.clone(), name.to_string(), *from_now);
        Self { store, name, from_now, lag, holder, held_until: 0, shipped: 0 }
    }

    /// The sink's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The last entry that the sink has acknowledged, as far as this run knows.
    pub(super) const fn shipped(&self) -> i64 {
        self.shipped
    }

    /// Begins the sink if it is new. A log that is shorter than what was shipped of it was restored from a backup: what it has
    /// anew is to be shipped.
    pub(super) async fn begin(&self) -> Result<(), StoreError> {
        let mut txn = self.store.begin().await?;
        let shipped = txn.audit_sink(&self.name).await?.map(|standing| standing.shipped);
        let length = txn.audit_length().await?;
        let first = if self.from_now { length } else { 0 };
        txn.audit_sink_begin(&self.name, first, clock::now_ms()).await?;
        if let Some(shipped) = shipped.filter(|shipped| *shipped > length) {
            tracing::error!(sink = self.name, shipped, length, "the audit log is shorter than what was shipped of it");
            txn.audit_sink_rewind(&self.name, length).await?;
        }
        txn.commit().await
    }

    /// Takes the sink, or keeps it.
    pub(super) async fn hold(&mut self) -> Result<Hold, StoreError> {
        let now = clock::now_ms();
        if now + HOLD_MS / 2 < self.held_until {
            return Ok(Hold::Kept);
        }
        let had = now < self.held_until;
        let mut txn = self.store.begin_read().await?;
        let (standing, length) = (txn.audit_sink(&self.name).await?, txn.audit_length().await?);
        txn.end().await?;
        let Some(standing) = standing else {
            // Somebody has taken the row away: the sink begins anew.
            self.held_until = 0;
            self.begin().await?;
            return Ok(Hold::Elsewhere);
        };
        self.tell(length, standing.shipped);
        if standing.holder != self.holder && now < standing.held_until {
            self.held_until = 0;
            return Ok(Hold::Elsewhere);
        }
        let until = now + HOLD_MS;
        let mut txn = self.store.begin().await?;
        let held = txn.audit_sink_hold(&self.name, &self.holder, now, until).await?;
        txn.commit().await?;
        self.held_until = if held.is_some() { until } else { 0 };
        let Some(shipped) = held else { return Ok(Hold::Elsewhere) };
        if had {
            return Ok(Hold::Kept);
        }
        self.shipped = shipped;
        Ok(Hold::Taken)
    }

    /// Notes what the sink has acknowledged of a log of that length.
    pub(super) async fn acknowledge(&mut self, index: i64, length: i64) -> Result<(), StoreError> {
        if index > self.shipped {
            let until = clock::now_ms() + HOLD_MS;
            if self.note(index, until).await? {
                (self.shipped, self.held_until) = (index, until);
            } else {
                tracing::warn!(sink = self.name, "another control plane has taken over a sink of the audit log");
                self.held_until = 0;
            }
        }
        self.tell(length, self.shipped);
        Ok(())
    }

    /// Notes the last that was acknowledged, and lets others go on at once.
    pub(super) async fn release(&mut self, index: i64) -> Result<(), StoreError> {
        if self.held_until > 0 {
            self.note(index.max(self.shipped), clock::now_ms()).await?;
        }
        Ok(())
    }

    async fn note(&self, index: i64, until: i64) -> Result<bool, StoreError> {
        let mut txn = self.store.begin().await?;
        let is_ours = txn.audit_sink_move(&self.name, &self.holder, index, until).await?;
        txn.commit().await?;
        Ok(is_ours)
    }

    fn tell(&self, length: i64, shipped: i64) {
        self.lag.set(length - shipped);
    }
}
