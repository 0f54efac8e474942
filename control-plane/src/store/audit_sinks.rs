//! How far the audit log is shipped, and who ships it.

use super::{
    StoreError, Txn,
    audit::{Found, found},
};

/// For so long after it was last held a sink still counts, in milliseconds: seven days, in which a control plane that is
/// configured with it may be away.
const FORGOTTEN_MS: i64 = 7 * 24 * 3_600_000;

/// Where a sink stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    /// The last entry that it has acknowledged.
    pub shipped: i64,
    /// The run that ships to it.
    pub holder: String,
    /// Until when, in Unix milliseconds.
    pub held_until: i64,
}

/// Sinks of the audit log. Each method fails as [`Txn::execute`] does.
impl Txn {
    /// Begins a sink behind an index. One that has begun stays where it is, and counts from now on.
    pub async fn audit_sink_begin(&mut self, name: &str, shipped: i64, now: i64) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO audit_sinks (name, shipped, holder, held_until) VALUES ($1, $2, '', $3) ON CONFLICT (name)
             DO UPDATE SET held_until = CASE WHEN audit_sinks.held_until < $3 THEN $3 ELSE audit_sinks.held_until END",
            name,
            shipped,
            now,
        );
        self.execute(insert).await.map(drop)
    }

    /// Where a sink stands; `None` when it has not begun.
    pub async fn audit_sink(&mut self, name: &str) -> Result<Option<Standing>, StoreError> {
        let select = sql!("SELECT shipped, holder, held_until FROM audit_sinks WHERE name = $1", name);
        let Some(row) = self.fetch_optional(select).await? else { return Ok(None) };
        let (shipped, holder) = (row.int("shipped")?, row.text("holder")?);
        Ok(Some(Standing { shipped, holder, held_until: row.int("held_until")? }))
    }

    /// Takes a sink, or keeps it, until an instant, unless another run has it. Returns the last entry that it has acknowledged.
    pub async fn audit_sink_hold(
        &mut self,
        name: &str,
        holder: &str,
        now: i64,
        until: i64,
    ) -> Result<Option<i64>, StoreError> {
        let update = sql!(
            "UPDATE audit_sinks SET holder = $1, held_until = $2 WHERE name = $3 AND (holder = $1 OR held_until <= $4)
             RETURNING shipped",
            holder,
            until,
            name,
            now,
        );
        self.fetch_optional(update).await?.map(|row| row.int("shipped")).transpose()
    }

    /// Notes what a sink has acknowledged, and keeps it until an instant. Tells whether the run still had it.
    pub async fn audit_sink_move(
        &mut self,
        name: &str,
        holder: &str,
        shipped: i64,
        until: i64,
    ) -> Result<bool, StoreError> {
        let update = sql!(
            "UPDATE audit_sinks SET shipped = $1, held_until = $2 WHERE name = $3 AND holder = $4",
            shipped,
            until,
            name,
            holder,
        );
        Ok(self.execute(update).await? == 1)
    }

    /// Puts a sink back to an index, whoever has it.
    pub async fn audit_sink_rewind(&mut self, name: &str, index: i64) -> Result<(), StoreError> {
        self.execute(sql!("UPDATE audit_sinks SET shipped = $1 WHERE name = $2", index, name)).await.map(drop)
    }

    /// The last entry that every sink has acknowledged: what is behind it is not to be pruned. `None` when nothing is shipped. A
    /// sink that no control plane has held for seven days was taken out of the configuration, and does not count.
    pub async fn audit_shipped_min(&mut self, now: i64) -> Result<Option<i64>, StoreError> {
        let select = sql!("SELECT MIN(shipped) AS least FROM audit_sinks WHERE held_until > $1", now - FORGOTTEN_MS);
        self.fetch_one(select).await?.int_opt("least")
    }

    /// The rows behind an index, at most so many, as they are.
    pub async fn audit_behind(&mut self, index: i64, limit: i64) -> Result<Vec<Found>, StoreError> {
        let select = sql!("SELECT * FROM audit_entries WHERE idx > $1 ORDER BY idx LIMIT $2", index, limit);
        let rows = self.fetch_all(select).await?;
        rows.iter().map(|row| Ok(Found { index: row.int("idx")?, row: found(row) })).collect()
    }
}
