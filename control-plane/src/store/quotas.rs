//! What owners may spend and how fast: the rows of budgets, and the columns of the limits.
//!
//! Reading order: here, what is configured; [`standing`], how budgets stand in their windows.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use tollgate_policy::{
    budget::{BUDGETS_MAX, Enforcement, Grace, Holding},
    id::{BudgetId, ProviderId},
    limit::{Measure, RunawayAction, SessionLimit},
    money::NanoUsd,
    time::UnixMillis,
    window::{Alignment, Period, Windows, Zone},
};

use super::{Row, Statement, StoreError, Txn, statement};
use crate::clock;

mod standing;

pub(crate) use self::standing::first_slot;
pub use self::standing::{Owner, Standing, WindowBooks};
pub use super::books::corrections::SLOT_MS;

/// What one owner may spend and how fast.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Quota {
    /// Its budgets, in the order in which they were given.
    pub budgets: Vec<Budget>,
    /// Its rate limits.
    pub limits: Vec<RateLimit>,
    /// What one agent session may do.
    pub session_limit: Option<SessionLimit>,
}

/// A budget as it is configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Budget {
    /// Its id, under which its books are kept.
    pub id: BudgetId,
    /// The most that may be spent in one window.
    pub limit: NanoUsd,
    /// Its windows; their anchor is the budget's creation.
    pub windows: Windows,
    /// The models that it covers, as patterns.
    pub models: Vec<String>,
    /// The provider that it covers; `None`: all.
    pub provider: Option<ProviderId>,
    /// What happens at the limit.
    pub enforcement: Enforcement,
    /// How much is held for a stream.
    pub holding: Holding,
    /// Percentages of the limit at which an alert is written, ascending.
    pub thresholds: Vec<u8>,
    /// What may be spent while no control plane can be reached.
    pub grace: Option<Grace>,
    /// Whom to ask for more; empty: the platform team.
    pub contact: String,
    /// The revision of its creation, which orders pages.
    pub created: i64,
}

/// A rate limit as it is configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateLimit {
    /// What it counts.
    pub measure: Measure,
    /// How many, at least 1.
    pub amount: u64,
    /// In how many milliseconds; 0 for [`Measure::Parallel`].
    pub span_ms: u64,
    /// The models that it covers, as patterns.
    pub models: Vec<String>,
}

// The form of a rate limit in the column `limits`, a JSON array of these.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct LimitForm {
    measure: String,
    amount: u64,
    span_ms: u64,
    models: Vec<String>,
}

// The form of the column `session_limit`. 0: no limit.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SessionForm {
    dollars: i64,
    requests: u64,
    repeats: u32,
    pause_seconds: u32,
}

/// The budgets that an owner has after an update. One that is told from the others as an old one was keeps its id, its
/// beginning and so its books; the others begin new ones.
#[must_use]
pub fn reconciled(old: &[Budget], new: Vec<Budget>) -> Vec<Budget> {
    let kept = |new: Budget| match old.iter().find(|old| old.is_same(&new)) {
        Some(old) => Budget {
            id: old.id.clone(),
            windows: Windows { anchor: old.windows.anchor, ..new.windows },
            created: old.created,
            ..new
        },
        None => new,
    };
    new.into_iter().map(kept).collect()
}

impl Txn {
    /// The owners that a statement selects, each read with its quota. One more statement reads the budgets of them all.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub(super) async fn owners<T>(
        &mut self,
        select: Statement,
        read: impl Fn(&Row, Quota) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.fetch_all(select.clone()).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let select = select.enclosed(
            "SELECT b.* FROM budgets b WHERE b.retired = 0 AND b.owner IN (SELECT owners.id FROM (",
            ") AS owners) ORDER BY b.owner, b.position",
        );
        let mut budgets: HashMap<String, Vec<Budget>> = HashMap::new();
        for row in self.fetch_all(select).await? {
            budgets.entry(row.text("owner")?).or_default().push(Budget::read(&row)?);
        }
        let whole = |row: &Row| read(row, Quota::read(row, budgets.remove(&row.text("id")?).unwrap_or_default())?);
        rows.iter().map(whole).collect()
    }

    /// Stores the budgets that an owner has, and retires those that it no longer has. A retired budget names no provider, so
    /// that the provider can be deleted.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub(super) async fn budgets_put(
        &mut self,
        kind: &'static str,
        owner: &str,
        budgets: &[Budget],
    ) -> Result<(), StoreError> {
        let select = sql!("SELECT * FROM budgets WHERE owner = $1 AND retired = 0 ORDER BY position", owner);
        let stored = self.fetch_all(select).await?.iter().map(Budget::read).collect::<Result<Vec<_>, StoreError>>()?;
        if stored == budgets {
            return Ok(());
        }
        for gone in stored.iter().filter(|old| !budgets.iter().any(|new| new.id == old.id)) {
            let retire = sql!("UPDATE budgets SET retired = 1, provider = NULL WHERE id = $1", gone.id.as_str());
            self.execute(retire).await?;
        }
        for (position, budget) in budgets.iter().enumerate() {
            let put = sql!(
                "INSERT INTO budgets (owner_kind, owner, position, id, limit_nano_usd, period, alignment, time_zone, models,
                 provider, enforcement, holding, thresholds, grace_nano_usd, grace_ms, contact, create_time, created, retired)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, 0)
                 ON CONFLICT (id) DO UPDATE SET position = EXCLUDED.position, limit_nano_usd = EXCLUDED.limit_nano_usd,
                 models = EXCLUDED.models, enforcement = EXCLUDED.enforcement, holding = EXCLUDED.holding,
                 thresholds = EXCLUDED.thresholds, grace_nano_usd = EXCLUDED.grace_nano_usd, grace_ms = EXCLUDED.grace_ms,
                 contact = EXCLUDED.contact",
                kind,
                owner,
                position,
            );
            self.execute(budget.bind(put)).await?;
        }
        let is_lowered = |new: &&Budget| stored.iter().any(|old| old.id == new.id && old.limit > new.limit);
        let mut lowered: Vec<_> = budgets.iter().filter(is_lowered).map(|budget| budget.id.as_str()).collect();
        // In the order in which windows are locked.
        lowered.sort_unstable();
        for budget in lowered {
            self.budget_recall(budget, clock::now_ms()).await?;
        }
        Ok(())
    }

    // Has what replicas borrowed of a budget and do not hold given back, on every control plane: it was lent under another
    // limit.
    async fn budget_recall(&mut self, budget: &str, now_ms: i64) -> Result<(), StoreError> {
        let update = sql!(
            "UPDATE budget_windows SET scarce_time = $1 WHERE budget = $2
             AND start_ms = (SELECT MAX(n.start_ms) FROM budget_windows n WHERE n.budget = $2)",
            now_ms,
            budget,
        );
        self.execute(update).await.map(drop)
    }

    /// At most five owners of budgets that name the provider, such as `team 'platform'`.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn provider_budgets(&mut self, id: &ProviderId) -> Result<Vec<String>, StoreError> {
        // Of five owners, each with as many budgets as one may have.
        let most = 5 * BUDGETS_MAX;
        let select = sql!(
            "SELECT * FROM budgets WHERE provider = $1 AND retired = 0 ORDER BY created, id LIMIT $2",
            id.as_str(),
            most
        );
        let standing = self.budgets_owned(select).await?;
        let mut owners: Vec<_> = standing.iter().map(|(_, owner)| format!("{} '{}'", owner.kind, owner.name)).collect();
        owners.sort();
        owners.dedup();
        owners.truncate(5);
        Ok(owners)
    }
}

// === impl Quota ===

impl Quota {
    /// Whether nothing is limited.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.budgets.is_empty() && self.limits.is_empty() && self.session_limit.is_none()
    }

    pub(super) fn read(row: &Row, budgets: Vec<Budget>) -> Result<Self, StoreError> {
        let limits = |text: &str| {
            let forms: Vec<LimitForm> = serde_json::from_str(text).map_err(|error| error.to_string())?;
            forms.into_iter().map(LimitForm::limit).collect::<Result<_, String>>()
        };
        let session_limit = |text: &str| serde_json::from_str(text).map(SessionForm::limit);
        Ok(Self {
            budgets,
            limits: row.parsed("limits", limits)?,
            session_limit: row.parsed_opt("session_limit", session_limit)?,
        })
    }

    // As the column `limits`.
    pub(super) fn limits_text(&self) -> Result<String, StoreError> {
        let forms: Vec<_> = self.limits.iter().map(LimitForm::of).collect();
        serde_json::to_string(&forms).map_err(|error| StoreError::corrupt("limits", error))
    }

    // As the column `session_limit`.
    pub(super) fn session_text(&self) -> Result<Option<String>, StoreError> {
        let form = self.session_limit.as_ref().map(SessionForm::of);
        let text = form.map(|form| serde_json::to_string(&form)).transpose();
        text.map_err(|error| StoreError::corrupt("session_limit", error))
    }
}

// === impl Budget ===

impl Budget {
    /// Whether it is told from its owner's other budgets as that one is: by window, alignment, time zone, models and provider.
    /// The order of the models does not matter.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let models = |budget: &'_ Self| budget.models.iter().cloned().collect::<BTreeSet<_>>();
        self.windows.period == other.windows.period
            && zone_name(&self.windows) == zone_name(&other.windows)
            && self.provider == other.provider
            && models(self) == models(other)
    }

    /// The name of its time zone; `None` for windows that roll from its creation.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        zone_name(&self.windows)
    }

    // As the columns of an INSERT from id to created.
    fn bind(&self, insert: Statement) -> Statement {
        let Self { id, limit, windows, models, provider, enforcement, holding, thresholds, grace, contact, created } =
            self;
        let zone = self.zone();
        insert
            .bind(id.as_str())
            .bind(limit.get())
            .bind(windows.period.to_string())
            .bind(if zone.is_some() { CALENDAR } else { ROLLING })
            .bind(zone.unwrap_or_default())
            .bind(statement::list(models))
            .bind(provider.as_ref().map(ProviderId::as_str))
            .bind(enforcement.word())
            .bind(holding.word())
            .bind(serde_json::Value::from(thresholds.as_slice()).to_string())
            .bind(grace.map_or(0, |grace| grace.amount.get()))
            .bind(grace.map_or(0, |grace| i64::try_from(grace.duration_ms).unwrap_or(i64::MAX)))
            .bind(contact)
            .bind(windows.anchor.get())
            .bind(*created)
    }

    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let grace = match row.int("grace_nano_usd")? {
            0 => None,
            amount => Some(Grace { amount: NanoUsd::new(amount), duration_ms: unsigned(row, "grace_ms")? }),
        };
        Ok(Self {
            id: row.parsed("id", BudgetId::parse)?,
            limit: NanoUsd::new(row.int("limit_nano_usd")?),
            windows: windows(row)?,
            models: row.list("models")?,
            provider: row.parsed_opt("provider", ProviderId::parse)?,
            enforcement: row.parsed("enforcement", |word| Enforcement::of_word(word).ok_or("not an enforcement"))?,
            holding: row.parsed("holding", |word| Holding::of_word(word).ok_or("not a holding"))?,
            thresholds: row.parsed("thresholds", |text| serde_json::from_str(text))?,
            grace,
            contact: row.text("contact")?,
            created: row.int("created")?,
        })
    }
}

// === impl LimitForm ===

impl LimitForm {
    fn of(limit: &RateLimit) -> Self {
        let RateLimit { measure, amount, span_ms, models } = limit;
        Self { measure: measure.word().to_owned(), amount: *amount, span_ms: *span_ms, models: models.clone() }
    }

    fn limit(self) -> Result<RateLimit, String> {
        let Self { measure, amount, span_ms, models } = self;
        let measure = Measure::of_word(&measure).ok_or_else(|| format!("{measure:?} is not a measure"))?;
        Ok(RateLimit { measure, amount, span_ms, models })
    }
}

// === impl SessionForm ===

impl SessionForm {
    fn of(limit: &SessionLimit) -> Self {
        let SessionLimit { dollars, requests, repeats, action } = limit;
        let pause_seconds = match action {
            RunawayAction::Refuse => 0,
            RunawayAction::Pause { seconds } => *seconds,
        };
        Self {
            dollars: dollars.map_or(0, NanoUsd::get),
            requests: requests.unwrap_or_default(),
            repeats: repeats.unwrap_or_default(),
            pause_seconds,
        }
    }

    fn limit(self) -> SessionLimit {
        let Self { dollars, requests, repeats, pause_seconds } = self;
        SessionLimit {
            dollars: (dollars > 0).then(|| NanoUsd::new(dollars)),
            requests: (requests > 0).then_some(requests),
            repeats: (repeats > 0).then_some(repeats),
            action: match pause_seconds {
                0 => RunawayAction::Refuse,
                seconds => RunawayAction::Pause { seconds },
            },
        }
    }
}

const ROLLING: &str = "rolling";
const CALENDAR: &str = "calendar";

// The windows of a row of budgets.
pub(super) fn windows(row: &Row) -> Result<Windows, StoreError> {
    let period: Period = row.parsed("period", str::parse)?;
    let alignment = match row.text("alignment")?.as_str() {
        ROLLING => Alignment::Rolling,
        CALENDAR => Alignment::Calendar(row.parsed("time_zone", Zone::parse)?),
        other => return Err(StoreError::corrupt("alignment", other)),
    };
    Ok(Windows { period, alignment, anchor: UnixMillis::new(row.int("create_time")?) })
}

fn zone_name(windows: &Windows) -> Option<&str> {
    match &windows.alignment {
        Alignment::Rolling => None,
        Alignment::Calendar(zone) => Some(zone.name()),
    }
}

fn unsigned(row: &Row, column: &'static str) -> Result<u64, StoreError> {
    row.narrow(column)
}
