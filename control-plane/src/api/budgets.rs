//! BudgetService.

mod books;

use tollgate_policy::{id::BudgetId, money::NanoUsd, time::UnixMillis, window::Window};
use tollgate_proto::admin::v1::{self, budget_service_server::BudgetService};
use tonic::{Request, Response, Status};

use super::{
    Admin, authorize::Authorized, failure::Failure, filter::Filter, page::Page, quotas, violations::Violations, wire,
};
use crate::{
    clock,
    store::{
        Txn,
        quotas::{Owner, SLOT_MS, Standing, first_slot},
    },
};

/// An hour, in milliseconds: the span over which a burn rate is measured.
const HOUR_MS: i64 = 3_600_000;
/// The last instant that a message may bear: the end of the year 9999.
const INSTANT_MS_MAX: i64 = 253_402_300_799_999;

#[tonic::async_trait]
impl BudgetService for Admin {
    async fn list_budgets(
        &self,
        request: Request<v1::ListBudgetsRequest>,
    ) -> Result<Response<v1::ListBudgetsResponse>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.budget_list(&by, message).await?))
    }

    async fn get_budget(&self, request: Request<v1::GetBudgetRequest>) -> Result<Response<v1::BudgetStatus>, Status> {
        let (by, message) = Authorized::take(request)?;
        let mut txn = self.store.begin_read().await.map_err(Failure::from)?;
        let status = status_of(&mut txn, &by, &message.budget, UnixMillis::new(clock::now_ms())).await?;
        Ok(Response::new(status))
    }

    async fn adjust_budget(
        &self,
        request: Request<v1::AdjustBudgetRequest>,
    ) -> Result<Response<v1::BudgetStatus>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.budget_adjust(&by, message).await?))
    }

    async fn list_leases(
        &self,
        request: Request<v1::ListLeasesRequest>,
    ) -> Result<Response<v1::ListLeasesResponse>, Status> {
        let (_, message) = Authorized::take(request)?;
        Ok(Response::new(self.lease_list(message).await?))
    }

    async fn release_leases(
        &self,
        request: Request<v1::ReleaseLeasesRequest>,
    ) -> Result<Response<v1::ReleaseLeasesResponse>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.lease_release(&by, message).await?))
    }
}

impl Admin {
    async fn budget_list(
        &self,
        by: &Authorized,
        message: v1::ListBudgetsRequest,
    ) -> Result<v1::ListBudgetsResponse, Failure> {
        let v1::ListBudgetsRequest { page_size, page_token, filter } = message;
        let now = UnixMillis::new(clock::now_ms());
        let mut violations = Violations::default();
        let page = Page::read("budgets", &filter, page_size, &page_token, &mut violations);
        let after = page.created_after(&mut violations);
        let mut txn = self.store.begin_read().await?;
        let owner = read_owner(&mut txn, by, &filter, &mut violations).await?;
        let owner = violations.finish(Some(owner))?;
        let rows = txn.budget_list(owner.as_deref(), &by.reach(), after.as_ref(), page.limit(), now.get()).await?;
        txn.end().await?;
        let place = |row: &Standing| format!("{}/{}", row.budget.created, row.budget.id);
        let (budgets, next_page_token) = page.write(&rows, |row| status(row, now), place);
        Ok(v1::ListBudgetsResponse { budgets, next_page_token })
    }
}

/// How a budget stands. One that its owner no longer has is not found.
///
/// # Errors
/// [`Failure::NotFound`], or when the database cannot be read.
pub(super) async fn status_of(
    txn: &mut Txn,
    by: &Authorized,
    budget: &str,
    now: UnixMillis,
) -> Result<v1::BudgetStatus, Failure> {
    let missing = || Failure::NotFound { kind: BudgetId::NOUN, name: wire::shown(budget) };
    let standing = txn.budget_find(budget, &by.reach(), now.get()).await?.ok_or_else(missing)?;
    Ok(status(&standing, now))
}

// The owner, by id, whose budgets a filter wants. Who does not see everything is not told whether one exists.
async fn read_owner(
    txn: &mut Txn,
    by: &Authorized,
    filter: &str,
    violations: &mut Violations,
) -> Result<Option<String>, Failure> {
    let mut terms = Filter::read(filter, &["customer", "team", "user", "key"], violations);
    let mut owners = Vec::new();
    if let Some(named) = terms.text("customer") {
        owners.push(("customer", txn.customer_find(&named).await?.map(|found| found.id.to_string())));
    }
    if let Some(named) = terms.text("team") {
        owners.push(("team", txn.team_find(&named).await?.map(|found| found.id.to_string())));
    }
    if let Some(named) = terms.text("user") {
        owners.push(("user", txn.user_find(&named).await?.map(|found| found.id.to_string())));
    }
    if let Some(named) = terms.text("key") {
        owners.push(("key", txn.key_find(&named).await?.map(|found| found.id.to_string())));
    }
    if !by.reach().everything {
        owners.iter_mut().for_each(|(_, found)| *found = Some(found.take().unwrap_or_default()));
    }
    for (kind, _) in owners.iter().filter(|(_, found)| found.is_none()) {
        violations.add("filter", format!("names a {kind} that does not exist"));
    }
    if owners.len() > 1 {
        violations.add("filter", "names several owners, of which a budget has one: list the budgets of one at a time");
    }
    Ok(owners.pop().and_then(|(_, found)| found))
}

fn status(standing: &Standing, now: UnixMillis) -> v1::BudgetStatus {
    let Standing { budget, owner, newest, spent } = standing;
    let Owner { kind, id, name } = owner;
    let computed = budget.windows.at(now);
    // Windows only go forward: a clock that was set back does not bring an old one back.
    let books = newest.filter(|books| books.window.start >= computed.start);
    let window = books.map_or(computed, |books| books.window);
    let (settled, leased) = books.map_or((0, 0), |books| (books.settled.get(), books.leased.get()));
    let burn = burn_per_hour(spent, window, now);
    let left = budget.limit.get().saturating_sub(settled);
    let empty = empty_ms(left, burn, now).filter(|empty| window.end.is_none_or(|end| *empty < end.get()));
    v1::BudgetStatus {
        budget: Some(quotas::budget_written(budget)),
        owner_kind: kind.clone(),
        owner: id.clone(),
        owner_name: name.clone(),
        window_start: Some(wire::timestamp(window.start.get())),
        reset_time: window.end.map(UnixMillis::get).filter(|end| *end <= INSTANT_MS_MAX).map(wire::timestamp),
        settled_nano_usd: settled,
        leased_nano_usd: leased,
        free_nano_usd: left.saturating_sub(leased).max(0),
        burn_nano_usd_per_hour: burn,
        empty_time: empty.map(wire::timestamp),
    }
}

// The slots of the last hour that lie in the window, by the part of the hour that they cover: at least one slot, so that a
// window that has just begun does not seem to burn.
fn burn_per_hour(spent: &[(i64, NanoUsd)], window: Window, now: UnixMillis) -> i64 {
    let first = first_slot(now.get()).max(window.start.get().div_euclid(SLOT_MS));
    let sum: NanoUsd = spent.iter().filter(|(slot, _)| *slot >= first).map(|(_, amount)| *amount).sum();
    let since = (first * SLOT_MS).max(window.start.get());
    let elapsed_ms = now.get().saturating_sub(since).max(SLOT_MS);
    let burn = i128::from(sum.get().max(0)) * i128::from(HOUR_MS) / i128::from(elapsed_ms);
    i64::try_from(burn).unwrap_or(i64::MAX)
}

// When what is left is gone at that rate; what is gone already, is gone now.
fn empty_ms(left: i64, burn: i64, now: UnixMillis) -> Option<i64> {
    if left <= 0 {
        return Some(now.get());
    }
    let last_ms = (i128::from(left) * i128::from(HOUR_MS)).checked_div(i128::from(burn))?;
    i64::try_from(last_ms + i128::from(now.get())).ok().filter(|empty| *empty <= INSTANT_MS_MAX)
}

#[cfg(test)]
mod tests;
