//! The budgets of the control plane that tests talk to. It fills in what is left to it, keeps ids and what was spent where a
//! budget covers the same as before, and lets one replica borrow.

use tollgate_proto::admin::v1::*;
use tonic::{Request, Response, Status};

use super::{Plane, World, found, page};

/// What proxy-1 has borrowed of every budget.
const BORROWED: i64 = 2_500_000_000;

impl World {
    /// The budgets as they are kept.
    pub(super) fn budgets(&mut self, given: &mut [Budget], held: &[Budget]) -> Result<(), Status> {
        let same = |one: &Budget, other: &Budget| {
            (&one.window, one.alignment, &one.time_zone, &one.models, &one.provider)
                == (&other.window, other.alignment, &other.time_zone, &other.models, &other.provider)
        };
        for budget in given {
            budget.alignment = budget.alignment.max(BudgetAlignment::Rolling.into());
            budget.enforcement = budget.enforcement.max(BudgetEnforcement::Hard.into());
            budget.holding = budget.holding.max(BudgetHolding::Auto.into());
            if budget.thresholds.is_empty() {
                budget.thresholds = vec![50, 80, 100];
            }
            budget.provider = self.optional(&budget.provider, Self::provider)?;
            let old = held.iter().find(|held| same(held, budget)).map(|held| held.id.clone());
            budget.id = old.unwrap_or_else(|| self.next("budget"));
        }
        Ok(())
    }

    fn statuses(&self) -> Vec<BudgetStatus> {
        let status = |kind: &str, owner: &str, name: &str, budget: &Budget| {
            let settled = self.settled.get(&budget.id).copied().unwrap_or_default();
            let leased = if self.released { 0 } else { BORROWED };
            BudgetStatus {
                owner_kind: kind.to_owned(),
                owner: owner.to_owned(),
                owner_name: name.to_owned(),
                settled_nano_usd: settled,
                leased_nano_usd: leased,
                free_nano_usd: budget.limit_nano_usd - settled - leased,
                budget: Some(budget.clone()),
                ..BudgetStatus::default()
            }
        };
        let mut all = Vec::new();
        for each in &self.customers {
            all.extend(each.budgets.iter().map(|budget| status("customer", &each.id, &each.name, budget)));
        }
        for each in &self.teams {
            all.extend(each.budgets.iter().map(|budget| status("team", &each.id, &each.name, budget)));
        }
        for each in &self.users {
            all.extend(each.budgets.iter().map(|budget| status("user", &each.id, &each.name, budget)));
        }
        for each in &self.keys {
            all.extend(each.budgets.iter().map(|budget| status("key", &each.id, &each.name, budget)));
        }
        all
    }

    fn status(&self, id: &str) -> Result<BudgetStatus, Status> {
        let named = |status: &BudgetStatus| status.budget.as_ref().is_some_and(|budget| budget.id == id);
        found("budget", id, self.statuses().into_iter().find(named))
    }
}

#[tonic::async_trait]
impl budget_service_server::BudgetService for Plane {
    async fn list_budgets(
        &self,
        request: Request<ListBudgetsRequest>,
    ) -> Result<Response<ListBudgetsResponse>, Status> {
        let ListBudgetsRequest { page_size, page_token, filter } = request.into_inner();
        let owned = |status: &BudgetStatus| {
            let BudgetStatus { owner_kind, owner, owner_name, .. } = status;
            filter.is_empty() || [owner, owner_name].into_iter().any(|named| filter == format!("{owner_kind}={named}"))
        };
        let (budgets, next_page_token) = page(&self.world().statuses(), page_size, &page_token, owned);
        Ok(Response::new(ListBudgetsResponse { budgets, next_page_token }))
    }

    async fn get_budget(&self, request: Request<GetBudgetRequest>) -> Result<Response<BudgetStatus>, Status> {
        self.world().status(&request.into_inner().budget).map(Response::new)
    }

    async fn adjust_budget(&self, request: Request<AdjustBudgetRequest>) -> Result<Response<BudgetStatus>, Status> {
        let AdjustBudgetRequest { budget, amount_nano_usd, reason, at: _, request_id } = request.into_inner();
        assert!(!reason.is_empty());
        let world = &mut *self.world();
        world.status(&budget)?;
        if request_id.is_empty() || world.corrections.insert(request_id) {
            let settled = world.settled.entry(budget.clone()).or_default();
            *settled = (*settled + amount_nano_usd).max(0);
        }
        world.status(&budget).map(Response::new)
    }

    async fn list_leases(&self, request: Request<ListLeasesRequest>) -> Result<Response<ListLeasesResponse>, Status> {
        let ListLeasesRequest { replica, budget } = request.into_inner();
        let world = self.world();
        let ids = world.statuses().into_iter().filter_map(|status| Some(status.budget?.id));
        let here = !world.released && ["", "proxy-1"].contains(&replica.as_str());
        let leases = ids.filter(|id| here && (budget.is_empty() || *id == budget)).map(|id| Lease {
            budget: id,
            replica: "replica-1".to_owned(),
            replica_name: "proxy-1".to_owned(),
            outstanding_nano_usd: BORROWED,
            ended: true,
            ..Lease::default()
        });
        Ok(Response::new(ListLeasesResponse { leases: leases.collect() }))
    }

    async fn release_leases(
        &self,
        request: Request<ReleaseLeasesRequest>,
    ) -> Result<Response<ReleaseLeasesResponse>, Status> {
        let ReleaseLeasesRequest { replica, reason } = request.into_inner();
        assert!(!reason.is_empty());
        found("replica", &replica, (replica == "proxy-1").then_some(()))?;
        let world = &mut *self.world();
        let leases = if world.released { 0 } else { i32::try_from(world.statuses().len()).unwrap() };
        world.released = true;
        Ok(Response::new(ReleaseLeasesResponse { leases, released_nano_usd: i64::from(leases) * BORROWED }))
    }
}
