//! The rows of routes, and which objects they name.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tollgate_policy::{
    id::{CustomerId, KeyId, ProviderId, RouteId, TeamId},
    name::Name,
    route::{Balance, Condition, RouteTarget, Scope, Tier},
};

use super::{Position, Row, Statement, StoreError, TextMatch, Txn, organisation::Stamp, statement};

/// A route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Its id.
    pub id: RouteId,
    /// Its name.
    pub name: Name,
    /// The models, as patterns, as they were written.
    pub models: Vec<String>,
    /// Whom it is for.
    pub scope: Scope,
    /// The lowest decides.
    pub priority: i32,
    /// Whether it does not decide.
    pub disabled: bool,
    /// Whether a request is refused that the target's dialect cannot express whole.
    pub strict: bool,
    /// Where to, tier by tier.
    pub tiers: Vec<Tier>,
    /// It decides only where this holds, as it was written; empty: always.
    pub rule: String,
    /// How is chosen within a tier.
    pub balance: Balance,
    /// How long an attempt may take until its answer begins, in milliseconds; `None`: as the replica is configured.
    pub first_byte_timeout_ms: Option<i64>,
    /// After how long another target is asked beside the first, in milliseconds; `None`: never.
    pub hedge_after_ms: Option<i64>,
    /// How long the whole request may take, in milliseconds; `None`: as long as it takes.
    pub deadline_ms: Option<i64>,
    /// Its history.
    pub stamp: Stamp,
}

/// Which routes to list.
#[derive(Clone, Debug, Default)]
pub struct RouteFilter {
    /// The name.
    pub name: Option<TextMatch>,
    /// Whether disabled.
    pub disabled: Option<bool>,
}

// The form of a tier in the column `tiers`, a JSON array of these.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TierForm {
    targets: Vec<TargetForm>,
    on: Vec<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TargetForm {
    provider: String,
    // Empty: as the client names it.
    model: String,
    weight: u32,
}

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The route with this id or name.
    pub async fn route_find(&mut self, named: &str) -> Result<Option<Route>, StoreError> {
        let select = sql!("SELECT * FROM routes WHERE id = $1 OR name = $1", named);
        self.fetch_optional(select).await?.map(|row| Route::read(&row)).transpose()
    }

    /// The routes that match, in the order of creation.
    pub async fn route_list(
        &mut self,
        filter: &RouteFilter,
        after: Option<&Position>,
        limit: i64,
    ) -> Result<Vec<Route>, StoreError> {
        let RouteFilter { name, disabled } = filter;
        let mut select = sql!("SELECT * FROM routes WHERE 1 = 1");
        if let Some(name) = name {
            name.narrow(&mut select, "name");
        }
        select.narrow("disabled", *disabled);
        select.page(after, limit);
        self.fetch_all(select).await?.iter().map(Route::read).collect()
    }

    /// The routes that changed after a revision.
    pub async fn routes_changed(&mut self, after: i64) -> Result<Vec<Route>, StoreError> {
        let rows = self.fetch_all(sql!("SELECT * FROM routes WHERE revision > $1", after)).await?;
        rows.iter().map(Route::read).collect()
    }

    /// Stores a new route.
    pub async fn route_insert(&mut self, route: &Route) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO routes (id, name, models, customers, teams, keys, priority, disabled, strict, tiers, rule,
             balance, first_byte_timeout_ms, hedge_after_ms, deadline_ms, create_time, update_time, created, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
            route.id.as_str(),
        );
        self.execute(route.stamp.bind(route.bind(insert)?)).await?;
        self.route_links(route).await
    }

    /// Stores the changed fields of a route.
    pub async fn route_update(&mut self, route: &Route) -> Result<(), StoreError> {
        let update = sql!(
            "UPDATE routes SET name = $2, models = $3, customers = $4, teams = $5, keys = $6, priority = $7, disabled = $8,
             strict = $9, tiers = $10, rule = $11, balance = $12, first_byte_timeout_ms = $13, hedge_after_ms = $14,
             deadline_ms = $15, update_time = $16, revision = $17 WHERE id = $1",
            route.id.as_str(),
        );
        let Stamp { update_time, revision, .. } = route.stamp;
        self.execute(route.bind(update)?.bind(update_time).bind(revision)).await?;
        self.execute(sql!("DELETE FROM route_references WHERE route = $1", route.id.as_str())).await?;
        self.route_links(route).await
    }

    /// Deletes a route, and remembers that it is gone.
    pub async fn route_delete(&mut self, id: &RouteId, revision: i64) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM routes WHERE id = $1", id.as_str())).await?;
        self.tombstone(RouteId::NOUN, id.as_str(), revision).await
    }

    /// The names of at most five routes that name the object with this id: a provider, a customer, a team or a key.
    pub async fn routes_naming(&mut self, id: &str) -> Result<Vec<String>, StoreError> {
        let select = sql!(
            "SELECT name FROM routes WHERE id IN
             (SELECT route FROM route_references WHERE provider = $1 OR customer = $1 OR team = $1 OR key_id = $1)
             ORDER BY name LIMIT 5",
            id
        );
        self.fetch_all(select).await?.iter().map(|row| row.text("name")).collect()
    }

    async fn route_links(&mut self, route: &Route) -> Result<(), StoreError> {
        let Scope { customers, teams, keys } = &route.scope;
        let id = route.id.as_str();
        let targets = route.tiers.iter().flat_map(|tier| &tier.targets);
        let providers: BTreeSet<&str> = targets.map(|target| target.provider.as_str()).collect();
        for provider in providers {
            self.execute(sql!("INSERT INTO route_references (route, provider) VALUES ($1, $2)", id, provider)).await?;
        }
        for customer in customers.iter().map(CustomerId::as_str) {
            self.execute(sql!("INSERT INTO route_references (route, customer) VALUES ($1, $2)", id, customer)).await?;
        }
        for team in teams.iter().map(TeamId::as_str) {
            self.execute(sql!("INSERT INTO route_references (route, team) VALUES ($1, $2)", id, team)).await?;
        }
        for key in keys.iter().map(KeyId::as_str) {
            self.execute(sql!("INSERT INTO route_references (route, key_id) VALUES ($1, $2)", id, key)).await?;
        }
        Ok(())
    }
}

// === impl Route ===

impl Route {
    // As the columns from name to deadline_ms.
    fn bind(&self, statement: Statement) -> Result<Statement, StoreError> {
        let Self {
            id: _,
            name,
            models,
            scope,
            priority,
            disabled,
            strict,
            tiers,
            rule,
            balance,
            first_byte_timeout_ms,
            hedge_after_ms,
            deadline_ms,
            stamp: _,
        } = self;
        let Scope { customers, teams, keys } = scope;
        let tiers: Vec<_> = tiers.iter().map(TierForm::of).collect();
        let tiers = serde_json::to_string(&tiers).map_err(|error| StoreError::corrupt("tiers", error))?;
        Ok(statement
            .bind(name.as_str())
            .bind(statement::list(models))
            .bind(statement::list(customers.iter().map(CustomerId::as_str)))
            .bind(statement::list(teams.iter().map(TeamId::as_str)))
            .bind(statement::list(keys.iter().map(KeyId::as_str)))
            .bind(*priority)
            .bind(*disabled)
            .bind(*strict)
            .bind(tiers)
            .bind(rule)
            .bind(balance.word())
            .bind(*first_byte_timeout_ms)
            .bind(*hedge_after_ms)
            .bind(*deadline_ms))
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        let tiers = |text: &str| {
            let forms: Vec<TierForm> = serde_json::from_str(text).map_err(|error| error.to_string())?;
            forms.into_iter().map(TierForm::tier).collect::<Result<_, String>>()
        };
        Ok(Self {
            id: row.parsed("id", RouteId::parse)?,
            name: row.parsed("name", Name::parse)?,
            models: row.list("models")?,
            scope: Scope {
                customers: row.ids("customers", CustomerId::parse)?,
                teams: row.ids("teams", TeamId::parse)?,
                keys: row.ids("keys", KeyId::parse)?,
            },
            priority: row.narrow("priority")?,
            disabled: row.flag("disabled")?,
            strict: row.flag("strict")?,
            tiers: row.parsed("tiers", tiers)?,
            rule: row.text("rule")?,
            balance: row.parsed("balance", balance)?,
            first_byte_timeout_ms: row.int_opt("first_byte_timeout_ms")?,
            hedge_after_ms: row.int_opt("hedge_after_ms")?,
            deadline_ms: row.int_opt("deadline_ms")?,
            stamp: Stamp::read(row)?,
        })
    }
}

// Routes that are older than the ways have none.
fn balance(word: &str) -> Result<Balance, &'static str> {
    if word.is_empty() {
        return Ok(Balance::default());
    }
    Balance::of_word(word).ok_or("neither weight nor latency")
}

// === impl TierForm ===

impl TierForm {
    fn of(tier: &Tier) -> Self {
        let Tier { targets, on } = tier;
        let target = |target: &RouteTarget| TargetForm {
            provider: target.provider.to_string(),
            model: target.model.as_deref().unwrap_or_default().to_owned(),
            weight: target.weight,
        };
        Self {
            targets: targets.iter().map(target).collect(),
            on: on.iter().map(|condition| condition.word().to_owned()).collect(),
        }
    }

    fn tier(self) -> Result<Tier, String> {
        let Self { targets, on } = self;
        let target = |TargetForm { provider, model, weight }| {
            let provider = ProviderId::parse(&provider).map_err(|error| error.to_string())?;
            Ok(RouteTarget { provider, model: (!model.is_empty()).then(|| model.into()), weight })
        };
        let condition =
            |word: &String| Condition::of_word(word).ok_or_else(|| format!("{word:?} is not a condition of a tier"));
        Ok(Tier {
            targets: targets.into_iter().map(target).collect::<Result<_, String>>()?,
            on: on.iter().map(condition).collect::<Result<_, String>>()?,
        })
    }
}
