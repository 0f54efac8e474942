//! The books of budgets: on which terms a budget lends, and its rows, one a window.
//!
//! The row of a window is the lock for the window and for its leases: who changes either holds it. Several are locked in the
//! order of budget and start.
//!
//! Reading order: here, terms and windows; [`leases`], what is lent; [`corrections`], adjustments and what is spent by slot.

use std::collections::{BTreeMap, HashMap};

use tollgate_policy::{
    budget::Enforcement,
    id::BudgetId,
    money::NanoUsd,
    time::UnixMillis,
    window::{Window, Windows},
};

use super::{Row, Statement, StoreError, Txn, quotas};

pub mod leases;
pub mod corrections;

/// How many rows a statement names: few shapes, so that each stays prepared. One that names fewer repeats its last.
const READ_ROWS: [usize; 4] = [1, 8, 64, 256];
/// How many rows a statement writes.
const WRITE_ROWS: [usize; 3] = [64, 8, 1];
/// The percentages of a budget that names none.
const THRESHOLDS: [i64; 3] = [50, 80, 100];

/// On which terms a budget lends.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The budget.
    pub budget: BudgetId,
    /// What owns it: `customer`, `team`, `user` or `key`.
    pub owner_kind: String,
    /// The owner, by id.
    pub owner: String,
    /// The most that may be spent in one window.
    pub limit: NanoUsd,
    /// Its windows.
    pub windows: Windows,
    /// What happens at the limit.
    pub enforcement: Enforcement,
    /// The percentages of which is told, in no order.
    pub thresholds: Vec<i64>,
    /// Whom to ask for more; empty: the platform team.
    pub contact: String,
    /// Whether its owner no longer has it.
    pub retired: bool,
    /// The start of its newest window, if it has one, in Unix milliseconds.
    pub newest: Option<i64>,
}

/// Names a window of a budget. The order is that in which rows are locked.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WindowId {
    /// The budget.
    pub budget: BudgetId,
    /// The start, in Unix milliseconds.
    pub start: i64,
}

/// The row of a window.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct WindowRow {
    /// The end, in Unix milliseconds; `None`: never.
    pub end: Option<i64>,
    /// What was spent, less what was refunded.
    pub settled: NanoUsd,
    /// What is outstanding over all leases.
    pub leased: NanoUsd,
    /// The highest percentage that was told of; 0: none.
    pub alerted: i64,
    /// When somebody last asked for more than was free, in Unix milliseconds; 0: never.
    pub scarce_time: i64,
}

/// Terms and windows. Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The terms of those of these budgets that exist, retired ones with them.
    pub async fn books_terms(&mut self, budgets: &[BudgetId]) -> Result<HashMap<BudgetId, Terms>, StoreError> {
        let mut terms = HashMap::with_capacity(budgets.len());
        for some in budgets.chunks(256) {
            let mut select = named("WITH k (budget) AS (VALUES ", some, |select, budget| {
                select.push_bind(budget.as_str());
            });
            select.push(
                ") SELECT b.*, (SELECT MAX(w.start_ms) FROM budget_windows w WHERE w.budget = b.id) AS newest
                 FROM k CROSS JOIN budgets b WHERE b.id = k.budget",
            );
            for row in self.fetch_all(select).await? {
                let read = Terms::read(&row)?;
                terms.insert(read.budget.clone(), read);
            }
        }
        Ok(terms)
    }

    /// Locks the rows of these windows, which are sorted, until the transaction ends. What does not exist is left out.
    pub async fn windows_lock(
        &mut self,
        windows: &[WindowId],
        into: &mut BTreeMap<WindowId, WindowRow>,
    ) -> Result<(), StoreError> {
        for some in windows.chunks(256) {
            let mut select = named("WITH k (budget, start_ms) AS (VALUES ", some, |select, window| window.bind(select));
            select.push(
                ") SELECT w.* FROM k CROSS JOIN budget_windows w WHERE w.budget = k.budget AND w.start_ms = k.start_ms
                 ORDER BY w.budget, w.start_ms",
            );
            let lock = self.for_update();
            select.push(lock);
            if !lock.is_empty() {
                select.push(" OF w");
            }
            for row in self.fetch_all(select).await? {
                into.insert(WindowId::read(&row)?, WindowRow::read(&row)?);
            }
        }
        Ok(())
    }

    /// Makes the rows of windows, each unless it is there. They are sorted.
    pub async fn windows_insert(&mut self, windows: &[(WindowId, WindowRow)]) -> Result<(), StoreError> {
        self.windows_upsert(windows, " ON CONFLICT (budget, start_ms) DO NOTHING").await
    }

    /// Writes the rows of windows that this transaction has locked. They are sorted.
    pub async fn windows_write(&mut self, windows: &[(WindowId, WindowRow)]) -> Result<(), StoreError> {
        let conflict =
            " ON CONFLICT (budget, start_ms) DO UPDATE SET settled = excluded.settled, leased = excluded.leased,
             alerted = excluded.alerted, scarce_time = excluded.scarce_time";
        self.windows_upsert(windows, conflict).await
    }

    async fn windows_upsert(
        &mut self,
        windows: &[(WindowId, WindowRow)],
        conflict: &'static str,
    ) -> Result<(), StoreError> {
        let head =
            "INSERT INTO budget_windows (budget, start_ms, end_ms, settled, leased, alerted, scarce_time) VALUES ";
        self.write_rows(windows, head, conflict, |insert, (id, row)| {
            id.bind(insert);
            let WindowRow { end, settled, leased, alerted, scarce_time } = *row;
            insert.push(", ");
            insert.push_bind(end);
            for number in [settled.get(), leased.get(), alerted, scarce_time] {
                insert.push(", ");
                insert.push_bind(number);
            }
        })
        .await
    }

    /// The budgets of which somebody asked for more than was free after an instant, each with when that was last, at most
    /// `count`.
    pub async fn windows_scarce(&mut self, after: i64, count: i64) -> Result<Vec<(BudgetId, i64)>, StoreError> {
        let select = sql!(
            "SELECT budget, MAX(scarce_time) AS scarce_time FROM budget_windows WHERE scarce_time > $1 GROUP BY budget
             ORDER BY budget LIMIT $2",
            after,
            count,
        );
        let rows = self.fetch_all(select).await?;
        rows.iter().map(|row| Ok((row.parsed("budget", BudgetId::parse)?, row.int("scarce_time")?))).collect()
    }

    // Writes rows by as few statements as their shapes allow.
    async fn write_rows<T>(
        &mut self,
        rows: &[T],
        head: &'static str,
        conflict: &'static str,
        bind: impl Fn(&mut Statement, &T),
    ) -> Result<(), StoreError> {
        let mut rest = rows;
        while !rest.is_empty() {
            let count = WRITE_ROWS.into_iter().find(|count| *count <= rest.len()).unwrap_or(1);
            let (now, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            let mut insert = Statement::new(head);
            for (at, row) in now.iter().enumerate() {
                insert.push(if at == 0 { "(" } else { ", (" });
                bind(&mut insert, row);
                insert.push(")");
            }
            insert.push(conflict);
            self.execute(insert).await?;
            rest = later;
        }
        Ok(())
    }
}

// A statement that names rows, padded to one of the shapes.
fn named<T>(head: &'static str, rows: &[T], bind: impl Fn(&mut Statement, &T)) -> Statement {
    let shape = READ_ROWS.into_iter().find(|shape| rows.len() <= *shape).unwrap_or(rows.len());
    let mut statement = Statement::new(head);
    let padding = rows.last().into_iter().cycle().take(shape.saturating_sub(rows.len()));
    for (at, row) in rows.iter().chain(padding).enumerate() {
        statement.push(if at == 0 { "(" } else { ", (" });
        bind(&mut statement, row);
        statement.push(")");
    }
    statement
}

// === impl Terms ===

impl Terms {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let thresholds: Vec<i64> = row.parsed("thresholds", |text| serde_json::from_str(text))?;
        let enforcement = |word: &str| Enforcement::of_word(word).ok_or("is not an enforcement");
        Ok(Self {
            budget: row.parsed("id", BudgetId::parse)?,
            owner_kind: row.text("owner_kind")?,
            owner: row.text("owner")?,
            limit: NanoUsd::new(row.int("limit_nano_usd")?),
            windows: quotas::windows(row)?,
            enforcement: row.parsed("enforcement", enforcement)?,
            thresholds: if thresholds.is_empty() { THRESHOLDS.to_vec() } else { thresholds },
            contact: row.text("contact")?,
            retired: row.flag("retired")?,
            newest: row.int_opt("newest")?,
        })
    }

    /// Whether replicas may borrow from it.
    #[must_use]
    pub fn lends(&self) -> bool {
        !self.retired && self.enforcement == Enforcement::Hard
    }

    /// The window in which an instant lies, by its terms alone.
    #[must_use]
    pub fn window_at(&self, at: i64) -> Window {
        self.windows.at(UnixMillis::new(at))
    }

    /// The start of the current window, and the window itself where it may have no row yet. Windows only go forward: while
    /// the newest one begins later than a clock says, it stays the current one.
    #[must_use]
    pub fn current(&self, now: i64) -> (i64, Option<Window>) {
        let window = self.window_at(now);
        match self.newest {
            Some(newest) if newest > window.start.get() => (newest, None),
            _ => (window.start.get(), Some(window)),
        }
    }
}

// === impl WindowId ===

impl WindowId {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { budget: row.parsed("budget", BudgetId::parse)?, start: row.int("start_ms")? })
    }

    pub(super) fn bind(&self, statement: &mut Statement) {
        statement.push_bind(self.budget.as_str());
        statement.push(", ");
        statement.push_bind(self.start);
    }
}

// === impl WindowRow ===

impl WindowRow {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            end: row.int_opt("end_ms")?,
            settled: NanoUsd::new(row.int("settled")?),
            leased: NanoUsd::new(row.int("leased")?),
            alerted: row.int("alerted")?,
            scarce_time: row.int("scarce_time")?,
        })
    }

    /// A window in which nothing happened yet.
    #[must_use]
    pub fn fresh(end: Option<UnixMillis>) -> Self {
        Self { end: end.map(UnixMillis::get), ..Self::default() }
    }
}
