//! What is lent: a row for each run of a replica and each window, the newest runs, and the lists for operators.

use std::collections::{BTreeMap, HashMap};

use tollgate_policy::{
    id::{BudgetId, ReplicaId},
    lend::Loan,
    money::NanoUsd,
};

use super::{WindowId, named};
use crate::store::{Row, Statement, StoreError, Txn};

/// Names a lease.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LeaseId {
    /// The window.
    pub window: WindowId,
    /// The replica.
    pub replica: ReplicaId,
    /// The run.
    pub incarnation: i64,
}

/// A lease of which something is outstanding, for operators.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeaseRow {
    /// Which one.
    pub id: LeaseId,
    /// The name of the replica; empty when it was deleted.
    pub replica_name: String,
    /// What is outstanding.
    pub outstanding: NanoUsd,
    /// Whether a newer run of the replica is known, or the replica was deleted.
    pub ended: bool,
}

/// Leases. Each method fails as [`Txn::execute`] does.
impl Txn {
    /// These leases, where they exist. Their windows are locked.
    pub async fn leases_read(
        &mut self,
        leases: &[LeaseId],
        into: &mut BTreeMap<LeaseId, Loan>,
    ) -> Result<(), StoreError> {
        for some in leases.chunks(256) {
            let mut select =
                named("WITH k (budget, start_ms, replica, incarnation) AS (VALUES ", some, |select, lease| {
                    lease.bind(select);
                });
            select.push(
                ") SELECT l.* FROM k CROSS JOIN budget_leases l WHERE l.budget = k.budget AND l.start_ms = k.start_ms
                 AND l.replica = k.replica AND l.incarnation = k.incarnation",
            );
            for row in self.fetch_all(select).await? {
                into.insert(LeaseId::read(&row)?, loan(&row)?);
            }
        }
        Ok(())
    }

    /// Writes leases. Their windows are locked.
    pub async fn leases_write(&mut self, leases: &[(LeaseId, Loan)]) -> Result<(), StoreError> {
        let head =
            "INSERT INTO budget_leases (budget, start_ms, replica, incarnation, granted, returned, settled) VALUES ";
        let conflict = " ON CONFLICT (budget, start_ms, replica, incarnation) DO UPDATE SET granted = excluded.granted,
             returned = excluded.returned, settled = excluded.settled";
        self.write_rows(leases, head, conflict, |insert, (id, loan)| {
            id.bind(insert);
            let Loan { granted, returned, settled } = *loan;
            for number in [granted.get(), returned.get(), settled.get()] {
                insert.push(", ");
                insert.push_bind(number);
            }
        })
        .await
    }

    /// The leases of windows that ended before an instant of which nothing is outstanding, at most `count`.
    pub async fn leases_ended(&mut self, before: i64, count: i64) -> Result<Vec<LeaseId>, StoreError> {
        let select = sql!(
            "SELECT budget, start_ms, replica, incarnation FROM budget_leases l
             WHERE start_ms < $1 AND granted <= returned + settled AND (SELECT w.end_ms FROM budget_windows w
                 WHERE w.budget = l.budget AND w.start_ms = l.start_ms) < $1
             LIMIT $2",
            before,
            count,
        );
        self.fetch_all(select).await?.iter().map(LeaseId::read).collect()
    }

    /// Removes those of these leases of which nothing is outstanding. Their windows are locked.
    pub async fn leases_forget(&mut self, leases: &[LeaseId]) -> Result<(), StoreError> {
        for some in leases.chunks(256) {
            let mut delete =
                named("WITH k (budget, start_ms, replica, incarnation) AS (VALUES ", some, |delete, lease| {
                    lease.bind(delete);
                });
            delete.push(
                ") DELETE FROM budget_leases WHERE granted <= returned + settled
                 AND (budget, start_ms, replica, incarnation) IN (SELECT budget, start_ms, replica, incarnation FROM k)",
            );
            self.execute(delete).await?;
        }
        Ok(())
    }

    /// How many leases of each of these windows have something outstanding.
    pub async fn leases_borrowers(&mut self, windows: &[WindowId]) -> Result<HashMap<WindowId, u32>, StoreError> {
        let mut borrowers = HashMap::with_capacity(windows.len());
        for some in windows.chunks(256) {
            let mut select = named("WITH k (budget, start_ms) AS (VALUES ", some, |select, window| window.bind(select));
            select.push(
                ") SELECT k.budget AS budget, k.start_ms AS start_ms, (SELECT COUNT(*) FROM budget_leases l
                 WHERE l.budget = k.budget AND l.start_ms = k.start_ms AND l.granted > l.returned + l.settled) AS borrowers
                 FROM k",
            );
            for row in self.fetch_all(select).await? {
                borrowers.insert(WindowId::read(&row)?, row.narrow("borrowers")?);
            }
        }
        Ok(borrowers)
    }

    /// The leases of a replica of which something is outstanding. To be locked before they are relied on.
    pub async fn leases_of(&mut self, replica: &ReplicaId) -> Result<Vec<LeaseId>, StoreError> {
        let select = sql!(
            "SELECT budget, start_ms, replica, incarnation FROM budget_leases
             WHERE replica = $1 AND granted > returned + settled",
            replica.as_str(),
        );
        self.fetch_all(select).await?.iter().map(LeaseId::read).collect()
    }

    /// The newest known runs of these replicas, which are sorted. The rows stay locked until the transaction ends.
    pub async fn lease_runs(&mut self, replicas: &[&ReplicaId]) -> Result<HashMap<ReplicaId, i64>, StoreError> {
        let mut runs = HashMap::with_capacity(replicas.len());
        for some in replicas.chunks(256) {
            let mut select = named("WITH k (replica) AS (VALUES ", some, |select, replica| {
                select.push_bind(replica.as_str());
            });
            select.push(") SELECT r.* FROM k CROSS JOIN lease_runs r WHERE r.replica = k.replica ORDER BY r.replica");
            let lock = self.for_update();
            select.push(lock);
            if !lock.is_empty() {
                select.push(" OF r");
            }
            for row in self.fetch_all(select).await? {
                runs.insert(row.parsed("replica", ReplicaId::parse)?, row.int("incarnation")?);
            }
        }
        Ok(runs)
    }

    /// Raises the newest known runs of replicas, which are sorted. Returns the newest of each, which may be higher yet.
    pub async fn lease_runs_raise(
        &mut self,
        runs: &[(&ReplicaId, i64)],
    ) -> Result<HashMap<ReplicaId, i64>, StoreError> {
        let mut raised = HashMap::with_capacity(runs.len());
        for (replica, incarnation) in runs {
            let upsert = sql!(
                "INSERT INTO lease_runs (replica, incarnation) VALUES ($1, $2) ON CONFLICT (replica) DO UPDATE
                 SET incarnation = CASE WHEN excluded.incarnation > lease_runs.incarnation THEN excluded.incarnation
                     ELSE lease_runs.incarnation END
                 RETURNING incarnation",
                replica.as_str(),
                *incarnation,
            );
            raised.insert((*replica).clone(), self.fetch_one(upsert).await?.int("incarnation")?);
        }
        Ok(raised)
    }

    /// The leases of which something is outstanding, the largest first, at most `count`.
    pub async fn leases_list(
        &mut self,
        replica: Option<&ReplicaId>,
        budget: Option<&BudgetId>,
        count: i64,
    ) -> Result<Vec<LeaseRow>, StoreError> {
        let mut select = sql!(
            "SELECT l.*, COALESCE(r.name, '') AS name, CAST(CASE WHEN r.id IS NULL OR r.incarnation > l.incarnation
                     OR COALESCE(n.incarnation, 0) > l.incarnation THEN 1 ELSE 0 END AS BIGINT) AS ended
             FROM budget_leases l LEFT JOIN replicas r ON r.id = l.replica LEFT JOIN lease_runs n ON n.replica = l.replica
             WHERE l.granted > l.returned + l.settled"
        );
        select.narrow("l.replica", replica.map(ReplicaId::as_str));
        select.narrow("l.budget", budget.map(BudgetId::as_str));
        select.push(
            " ORDER BY l.granted - l.returned - l.settled DESC, l.budget, l.start_ms, l.replica, l.incarnation LIMIT ",
        );
        select.push_bind(count);
        self.fetch_all(select).await?.iter().map(LeaseRow::read).collect()
    }
}

// === impl LeaseId ===

impl LeaseId {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            window: WindowId::read(row)?,
            replica: row.parsed("replica", ReplicaId::parse)?,
            incarnation: row.int("incarnation")?,
        })
    }

    fn bind(&self, statement: &mut Statement) {
        let Self { window, replica, incarnation } = self;
        window.bind(statement);
        statement.push(", ");
        statement.push_bind(replica.as_str());
        statement.push(", ");
        statement.push_bind(*incarnation);
    }
}

// === impl LeaseRow ===

impl LeaseRow {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: LeaseId::read(row)?,
            replica_name: row.text("name")?,
            outstanding: loan(row)?.outstanding(),
            ended: row.flag("ended")?,
        })
    }
}

fn loan(row: &Row) -> Result<Loan, StoreError> {
    Ok(Loan {
        granted: NanoUsd::new(row.int("granted")?),
        returned: NanoUsd::new(row.int("returned")?),
        settled: NanoUsd::new(row.int("settled")?),
    })
}
