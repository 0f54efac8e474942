//! RouteService.

mod explain;
mod facts;
mod fields;
mod losses;
mod pace;

use tollgate_policy::{id::RouteId, name::Name};
use tollgate_proto::admin::v1::{self, route_service_server::RouteService};
use tonic::{Request, Response, Status};

use self::{
    fields::{fields_of, written},
    pace::Pace,
};
use super::{
    Admin, authorize::Authorized, failure::Failure, filter::Filter, mask::Mask, page::Page, violations::Violations,
    wire,
};
use crate::{
    change::{Change, Done},
    store::{
        Txn,
        routes::{Route, RouteFilter},
    },
};

const CHANGEABLE: [&str; 14] = [
    "name",
    "models",
    "customers",
    "teams",
    "keys",
    "priority",
    "disabled",
    "strict",
    "tiers",
    "rule",
    "balance",
    "first_byte_timeout",
    "hedge_after",
    "deadline",
];

#[tonic::async_trait]
impl RouteService for Admin {
    async fn create_route(&self, request: Request<v1::CreateRouteRequest>) -> Result<Response<v1::Route>, Status> {
        let (by, message) = Authorized::take(request)?;
        let route = self.route_create(&by, message.route.unwrap_or_default()).await?;
        Ok(Response::new(written(&route)))
    }

    async fn get_route(&self, request: Request<v1::GetRouteRequest>) -> Result<Response<v1::Route>, Status> {
        let (_, message) = Authorized::take(request)?;
        let mut txn = self.store.begin_read().await.map_err(Failure::from)?;
        let route = find(&mut txn, &message.route).await?;
        Ok(Response::new(written(&route)))
    }

    async fn list_routes(
        &self,
        request: Request<v1::ListRoutesRequest>,
    ) -> Result<Response<v1::ListRoutesResponse>, Status> {
        let (_, message) = Authorized::take(request)?;
        Ok(Response::new(self.route_list(message).await?))
    }

    async fn update_route(&self, request: Request<v1::UpdateRouteRequest>) -> Result<Response<v1::Route>, Status> {
        let (by, message) = Authorized::take(request)?;
        let route = self.route_update(&by, message).await?;
        Ok(Response::new(written(&route)))
    }

    async fn delete_route(&self, request: Request<v1::DeleteRouteRequest>) -> Result<Response<()>, Status> {
        let (by, message) = Authorized::take(request)?;
        self.route_delete(&by, &message.route, &message.etag).await?;
        Ok(Response::new(()))
    }

    async fn explain_route(
        &self,
        request: Request<v1::ExplainRouteRequest>,
    ) -> Result<Response<v1::ExplainRouteResponse>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.route_explain(&by, message).await?))
    }
}

impl Admin {
    async fn route_create(&self, by: &Authorized, wire: v1::Route) -> Result<Route, Failure> {
        let mut violations = Violations::default();
        violations.output_only([
            ("id", !wire.id.is_empty()),
            ("etag", !wire.etag.is_empty()),
            ("create_time", wire.create_time.is_some()),
            ("update_time", wire.update_time.is_some()),
        ]);
        let mut change = Change::begin(&self.store, by).await?;
        let name = wire::name(&wire.name, &mut violations);
        let models = fields::models(&wire.models, &mut violations);
        let scope = fields::scope(&mut change.txn, &wire, &mut violations).await?;
        let tiers = fields::tiers(&mut change.txn, &wire.tiers, &mut violations).await?;
        let pace = Pace::read(&wire, &mut violations);
        let ((name, models), pace) = violations.finish(name.zip(models).zip(pace))?;
        let Pace { rule, balance, first_byte_timeout_ms, hedge_after_ms, deadline_ms } = pace;
        ensure_free(&mut change.txn, &name, None).await?;
        let route = Route {
            id: wire::new_id(RouteId::from_ulid)?,
            name,
            models,
            scope,
            priority: wire.priority,
            disabled: wire.disabled,
            strict: wire.strict,
            tiers,
            rule,
            balance,
            first_byte_timeout_ms,
            hedge_after_ms,
            deadline_ms,
            stamp: change.created(),
        };
        change.txn.route_insert(&route).await?;
        let target = target(&route);
        change.finish(Done { target: &target, after: Some(fields_of(&route)), ..Done::default() }).await?;
        Ok(route)
    }

    async fn route_list(&self, message: v1::ListRoutesRequest) -> Result<v1::ListRoutesResponse, Failure> {
        let v1::ListRoutesRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("routes", &filter, page_size, &page_token, &mut violations);
        let after = page.created_after(&mut violations);
        let mut terms = Filter::read(&filter, &["name", "disabled"], &mut violations);
        let filter = RouteFilter { name: terms.text_match("name"), disabled: terms.flag("disabled", &mut violations) };
        let filter = violations.finish(Some(filter))?;
        let mut txn = self.store.begin_read().await?;
        let rows = txn.route_list(&filter, after.as_ref(), page.limit()).await?;
        txn.end().await?;
        let (routes, next_page_token) = page.write_created(&rows, written, |row| (row.stamp, row.id.as_str()));
        Ok(v1::ListRoutesResponse { routes, next_page_token })
    }

    async fn route_update(&self, by: &Authorized, message: v1::UpdateRouteRequest) -> Result<Route, Failure> {
        let wire = message.route.unwrap_or_default();
        let mut violations = Violations::default();
        let mask = Mask::read(message.update_mask.as_ref(), &CHANGEABLE, &mut violations);
        let named = wire::named(RouteId::NOUN, &wire.id, &wire.name, &mask, &mut violations);
        let mut change = Change::begin(&self.store, by).await?;
        let old = match &named {
            Some(named) => find(&mut change.txn, named).await?,
            None => return violations.finish(None),
        };
        wire::ensure_fresh(RouteId::NOUN, &old.name, &wire.etag, &old.stamp)?;
        let new = fields::merged(&mut change.txn, &old, &wire, &mask, &mut violations).await?;
        let new = violations.finish(Some(new))?;
        if new == old {
            return Ok(old);
        }
        ensure_free(&mut change.txn, &new.name, Some(&old.id)).await?;
        let new = Route { stamp: change.updated(old.stamp), ..new };
        change.txn.route_update(&new).await?;
        let (before, after) = (Some(fields_of(&old)), Some(fields_of(&new)));
        change.finish(Done { target: &target(&new), before, after, ..Done::default() }).await?;
        Ok(new)
    }

    async fn route_delete(&self, by: &Authorized, named: &str, etag: &str) -> Result<(), Failure> {
        let mut change = Change::begin(&self.store, by).await?;
        let route = find(&mut change.txn, named).await?;
        wire::ensure_fresh(RouteId::NOUN, &route.name, etag, &route.stamp)?;
        change.txn.route_delete(&route.id, change.revision).await?;
        let target = target(&route);
        change.finish(Done { target: &target, before: Some(fields_of(&route)), ..Done::default() }).await?;
        Ok(())
    }
}

/// Refuses to delete an object that a route names: the route would come to mean something else. `named` is the object as people
/// read it, `subject` as the log does.
pub(super) async fn ensure_unnamed(txn: &mut Txn, id: &str, named: &str, subject: &str) -> Result<(), Failure> {
    let routes = txn.routes_naming(id).await?;
    if routes.is_empty() {
        return Ok(());
    }
    let these = if routes.len() == 1 { "this route" } else { "these routes" };
    let sentence = format!("{named} is named by {}: take it out of {these} first", wire::quoted("route", &routes));
    Err(Failure::Blocked { subject: subject.to_owned(), sentence })
}

async fn find(txn: &mut Txn, named: &str) -> Result<Route, Failure> {
    let missing = || Failure::NotFound { kind: RouteId::NOUN, name: wire::shown(named) };
    txn.route_find(named).await?.ok_or_else(missing)
}

async fn ensure_free(txn: &mut Txn, name: &Name, own: Option<&RouteId>) -> Result<(), Failure> {
    match txn.route_find(name.as_str()).await? {
        Some(other) if Some(&other.id) != own => Err(wire::taken(RouteId::NOUN, name)),
        _ => Ok(()),
    }
}

fn target(route: &Route) -> String {
    format!("{}/{}", RouteId::NOUN, route.id)
}
