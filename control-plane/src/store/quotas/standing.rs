//! How budgets stand: their owners, the books of their newest window, and what was spent lately.

use std::collections::HashMap;

use tollgate_policy::{id::BudgetId, money::NanoUsd, rbac::Reach, time::UnixMillis, window::Window};

use super::{Budget, SLOT_MS};
use crate::store::{Position, Row, Statement, StoreError, Txn, reach::Belonging};

/// A budget, whose it is, and how it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    /// The budget.
    pub budget: Budget,
    /// Whose it is.
    pub owner: Owner,
    /// Its newest window; `None`: nothing was lent or spent yet.
    pub newest: Option<WindowBooks>,
    /// What was charged in the last hour, by slots of [`SLOT_MS`] since the Unix epoch.
    pub spent: Vec<(i64, NanoUsd)>,
}

/// The owner of a budget.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owner {
    /// `customer`, `team`, `user` or `key`.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// The books of one window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WindowBooks {
    /// Which window.
    pub window: Window,
    /// What was spent.
    pub settled: NanoUsd,
    /// What is lent and neither spent nor given back.
    pub leased: NanoUsd,
}

// A budget belongs to its owner, and to those above.
const BUDGETS: Belonging = Belonging {
    customer: Some(
        "CASE owner_kind WHEN 'customer' THEN owner WHEN 'team' THEN (SELECT t.customer FROM teams t WHERE t.id = owner)
         WHEN 'user' THEN (SELECT t.customer FROM users u JOIN teams t ON t.id = u.team WHERE u.id = owner)
         ELSE (SELECT t.customer FROM keys k JOIN teams t ON t.id = k.team WHERE k.id = owner) END",
    ),
    team: Some(
        "CASE owner_kind WHEN 'team' THEN owner WHEN 'user' THEN (SELECT u.team FROM users u WHERE u.id = owner)
         WHEN 'key' THEN (SELECT k.team FROM keys k WHERE k.id = owner) END",
    ),
    user: Some(
        "CASE owner_kind WHEN 'user' THEN owner WHEN 'key' THEN (SELECT k.user_id FROM keys k WHERE k.id = owner) END",
    ),
};

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The budgets of an owner, by its id, or of every one, in the order of creation.
    pub async fn budget_list(
        &mut self,
        owner: Option<&str>,
        reach: &Reach,
        after: Option<&Position>,
        limit: i64,
        now_ms: i64,
    ) -> Result<Vec<Standing>, StoreError> {
        let mut select = sql!("SELECT * FROM budgets WHERE retired = 0");
        select.narrow("owner", owner);
        BUDGETS.narrow(&mut select, reach);
        select.page(after, limit);
        self.budgets_standing(select, now_ms).await
    }

    /// The budget with this id, unless it is retired or out of reach.
    pub async fn budget_find(&mut self, id: &str, reach: &Reach, now_ms: i64) -> Result<Option<Standing>, StoreError> {
        let mut select = sql!("SELECT * FROM budgets WHERE retired = 0 AND id = $1", id);
        BUDGETS.narrow(&mut select, reach);
        Ok(self.budgets_standing(select, now_ms).await?.pop())
    }

    // The budgets that a statement selects, and their owners, in the order of creation.
    pub(super) async fn budgets_owned(&mut self, select: Statement) -> Result<Vec<(Budget, Owner)>, StoreError> {
        let select = select.enclosed(
            "SELECT b.*, COALESCE(c.name, t.name, u.name, k.name, '') AS owner_name FROM (",
            ") AS b LEFT JOIN customers c ON c.id = b.owner LEFT JOIN teams t ON t.id = b.owner
             LEFT JOIN users u ON u.id = b.owner LEFT JOIN keys k ON k.id = b.owner ORDER BY b.created, b.id",
        );
        let owned = |row: &Row| Ok((Budget::read(row)?, Owner::read(row)?));
        self.fetch_all(select).await?.iter().map(owned).collect()
    }

    async fn budgets_standing(&mut self, select: Statement, now_ms: i64) -> Result<Vec<Standing>, StoreError> {
        let owned = self.budgets_owned(select.clone()).await?;
        if owned.is_empty() {
            return Ok(Vec::new());
        }
        let newest = select.clone().enclosed(
            "SELECT w.* FROM budget_windows w WHERE w.start_ms =
             (SELECT MAX(n.start_ms) FROM budget_windows n WHERE n.budget = w.budget) AND w.budget IN (SELECT b.id FROM (",
            ") AS b)",
        );
        let mut books: HashMap<String, WindowBooks> = HashMap::new();
        for row in self.fetch_all(newest).await? {
            books.insert(row.text("budget")?, WindowBooks::read(&row)?);
        }
        let mut lately = select.enclosed(
            "SELECT s.budget, s.slot, s.amount FROM budget_spend s WHERE s.budget IN (SELECT b.id FROM (",
            ") AS b) AND s.slot >= ",
        );
        lately.push_bind(first_slot(now_ms));
        let mut spent: HashMap<String, Vec<(i64, NanoUsd)>> = HashMap::new();
        for row in self.fetch_all(lately).await? {
            let slot = (row.int("slot")?, NanoUsd::new(row.int("amount")?));
            spent.entry(row.text("budget")?).or_default().push(slot);
        }
        let standing = |(budget, owner): (Budget, Owner)| {
            let id = BudgetId::as_str(&budget.id);
            let (newest, spent) = (books.remove(id), spent.remove(id).unwrap_or_default());
            Standing { budget, owner, newest, spent }
        };
        Ok(owned.into_iter().map(standing).collect())
    }
}

/// The first of the twelve slots that the last hour has, the one that runs included.
pub(crate) const fn first_slot(now_ms: i64) -> i64 {
    now_ms.div_euclid(SLOT_MS) - 11
}

impl Owner {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { kind: row.text("owner_kind")?, id: row.text("owner")?, name: row.text("owner_name")? })
    }
}

impl WindowBooks {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let (start, end) = (row.int("start_ms")?, row.int_opt("end_ms")?);
        Ok(Self {
            window: Window { start: UnixMillis::new(start), end: end.map(UnixMillis::new) },
            settled: NanoUsd::new(row.int("settled")?),
            leased: NanoUsd::new(row.int("leased")?),
        })
    }
}
