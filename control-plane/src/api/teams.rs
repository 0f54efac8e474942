//! TeamService.

pub(super) mod self_service;

use serde_json::json;
use tollgate_audit::Fields;
use tollgate_policy::{
    id::{CustomerId, ProviderId, TeamId},
    name::Name,
    rbac::Place,
};
use tollgate_proto::admin::v1::{self, team_service_server::TeamService};
use tonic::{Request, Response, Status};

use super::{
    Admin,
    authorize::Authorized,
    customers,
    failure::Failure,
    filter::Filter,
    guardrails,
    mask::Mask,
    mcp,
    page::Page,
    providers,
    quotas::{self, Asked},
    routes,
    violations::Violations,
    wire,
};
use crate::{
    change::{Change, Done},
    store::{
        StoreError, Txn,
        organisation::{Team, TeamFilter},
        quotas::Quota,
    },
};

/// What is said of a reference to a team that does not exist, or not for the caller.
pub(super) const NO_TEAM: &str = "is not the id or the name of a team";

const CHANGEABLE: [&str; 9] =
    ["name", "display_name", "disabled", "budgets", "limits", "session_limit", "self_service", "providers", "regions"];

#[tonic::async_trait]
impl TeamService for Admin {
    async fn create_team(&self, request: Request<v1::CreateTeamRequest>) -> Result<Response<v1::Team>, Status> {
        let (by, message) = Authorized::take(request)?;
        let team = self.team_create(&by, message.team.unwrap_or_default()).await?;
        Ok(Response::new(written(&team)))
    }

    async fn get_team(&self, request: Request<v1::GetTeamRequest>) -> Result<Response<v1::Team>, Status> {
        let (by, message) = Authorized::take(request)?;
        let mut txn = self.store.begin_read().await.map_err(Failure::from)?;
        let team = find(&mut txn, &by, &message.team).await?;
        Ok(Response::new(written(&team)))
    }

    async fn list_teams(
        &self,
        request: Request<v1::ListTeamsRequest>,
    ) -> Result<Response<v1::ListTeamsResponse>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.team_list(&by, message).await?))
    }

    async fn update_team(&self, request: Request<v1::UpdateTeamRequest>) -> Result<Response<v1::Team>, Status> {
        let (by, message) = Authorized::take(request)?;
        let team = self.team_update(&by, message).await?;
        Ok(Response::new(written(&team)))
    }

    async fn delete_team(&self, request: Request<v1::DeleteTeamRequest>) -> Result<Response<()>, Status> {
        let (by, message) = Authorized::take(request)?;
        self.team_delete(&by, &message.team, &message.etag).await?;
        Ok(Response::new(()))
    }
}

impl Admin {
    async fn team_create(&self, by: &Authorized, wire: v1::Team) -> Result<Team, Failure> {
        let v1::Team {
            id,
            name,
            display_name,
            customer,
            disabled,
            etag,
            create_time,
            update_time,
            budgets,
            limits,
            session_limit,
            self_service,
            providers,
            regions,
        } = wire;
        let mut violations = Violations::default();
        violations.output_only([
            ("id", !id.is_empty()),
            ("etag", !etag.is_empty()),
            ("create_time", create_time.is_some()),
            ("update_time", update_time.is_some()),
        ]);
        let mut change = Change::begin(&self.store, by).await?;
        let name = wire::name(&name, &mut violations);
        let display_name = wire::display_name(&display_name, &mut violations);
        let customer = owner(&mut change.txn, by, &customer, &mut violations).await?;
        let asked = Asked::new(&budgets, &limits, session_limit.as_ref());
        let quota = asked.read(&mut change, &Quota::default(), &mut violations).await?;
        let self_service = self_service::read(self_service.as_ref(), &mut violations);
        let providers = providers::listed(&mut change.txn, &providers, &mut violations).await?;
        let regions = wire::patterns("regions", &regions, &mut violations);
        let (((name, display_name), customer), regions) =
            violations.finish(name.zip(display_name).zip(customer).zip(regions))?;
        ensure_free(&mut change.txn, &name, None).await?;
        let id = wire::new_id(TeamId::from_ulid)?;
        let team = Team {
            id,
            name,
            display_name,
            customer,
            disabled,
            quota,
            self_service,
            providers,
            regions,
            stamp: change.created(),
        };
        change.txn.team_insert(&team).await?;
        let target = target(&team);
        change.finish(Done { target: &target, after: Some(fields_of(&team)), ..Done::default() }).await?;
        Ok(team)
    }

    async fn team_list(
        &self,
        by: &Authorized,
        message: v1::ListTeamsRequest,
    ) -> Result<v1::ListTeamsResponse, Failure> {
        let v1::ListTeamsRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("teams", &filter, page_size, &page_token, &mut violations);
        let after = page.created_after(&mut violations);
        let mut terms = Filter::read(&filter, &["name", "customer", "disabled"], &mut violations);
        let mut txn = self.store.begin_read().await?;
        let customer = match terms.text("customer") {
            Some(named) => {
                let customer = txn.customer_find(&named).await?.filter(|found| by.reaches(&customers::place(found)));
                let customer = customer.ok_or("names a customer that does not exist");
                violations.take("filter", customer).map(|customer| customer.id)
            }
            None => None,
        };
        let (name, disabled) = (terms.text_match("name"), terms.flag("disabled", &mut violations));
        let filter = violations.finish(Some(TeamFilter { name, customer, disabled, reach: by.reach() }))?;
        let rows = txn.team_list(&filter, after.as_ref(), page.limit()).await?;
        txn.end().await?;
        let (teams, next_page_token) = page.write_created(&rows, written, |row| (row.stamp, row.id.as_str()));
        Ok(v1::ListTeamsResponse { teams, next_page_token })
    }

    async fn team_update(&self, by: &Authorized, message: v1::UpdateTeamRequest) -> Result<Team, Failure> {
        let wire = message.team.unwrap_or_default();
        let mut violations = Violations::default();
        let mask = Mask::read(message.update_mask.as_ref(), &CHANGEABLE, &mut violations);
        let named = wire::named(TeamId::NOUN, &wire.id, &wire.name, &mask, &mut violations);
        let name = mask.of("name", || wire::name(&wire.name, &mut violations));
        let display_name = mask.of("display_name", || wire::display_name(&wire.display_name, &mut violations));
        let mut change = Change::begin(&self.store, by).await?;
        let old = match &named {
            Some(named) => find(&mut change.txn, by, named).await?,
            None => return violations.finish(None),
        };
        wire::ensure_fresh(TeamId::NOUN, &old.name, &wire.etag, &old.stamp)?;
        // They bound the team: its own administrators could otherwise lift them.
        let bounds = ["providers", "regions"].into_iter().find(|field| mask.has(field));
        let around = Place { customer: Some(old.customer.clone()), ..Place::default() };
        if let Some(field) = bounds.filter(|_| !by.reaches(&around)) {
            let sentence =
                format!("the {field} of a team are changed by the administrators of its customer, not by its own");
            return Err(Failure::Denied(sentence));
        }
        let asked = Asked::new(&wire.budgets, &wire.limits, wire.session_limit.as_ref()).masked(&mask);
        let quota = asked.read(&mut change, &old.quota, &mut violations).await?;
        let self_service = match mask.has("self_service") {
            true => self_service::read(wire.self_service.as_ref(), &mut violations),
            false => old.self_service.clone(),
        };
        let providers = match mask.has("providers") {
            true => providers::listed(&mut change.txn, &wire.providers, &mut violations).await?,
            false => old.providers.clone(),
        };
        let regions = mask.of("regions", || wire::patterns("regions", &wire.regions, &mut violations));
        let quota = violations.finish(Some(quota))?;
        let new = Team {
            name: name.unwrap_or_else(|| old.name.clone()),
            display_name: display_name.unwrap_or_else(|| old.display_name.clone()),
            disabled: mask.of("disabled", || Some(wire.disabled)).unwrap_or(old.disabled),
            quota,
            self_service,
            providers,
            regions: regions.unwrap_or_else(|| old.regions.clone()),
            ..old.clone()
        };
        if new == old {
            return Ok(old);
        }
        ensure_free(&mut change.txn, &new.name, Some(&old.id)).await?;
        let new = Team { stamp: change.updated(old.stamp), ..new };
        change.txn.team_update(&new).await?;
        let (before, after) = (Some(fields_of(&old)), Some(fields_of(&new)));
        change.finish(Done { target: &target(&new), before, after, ..Done::default() }).await?;
        Ok(new)
    }

    async fn team_delete(&self, by: &Authorized, named: &str, etag: &str) -> Result<(), Failure> {
        let mut change = Change::begin(&self.store, by).await?;
        let team = find(&mut change.txn, by, named).await?;
        wire::ensure_fresh(TeamId::NOUN, &team.name, etag, &team.stamp)?;
        let target = target(&team);
        let (keys, users) = change.txn.team_members(&team.id).await?;
        if keys > 0 || users > 0 {
            let (keys, users) = (wire::count(keys, "key"), wire::count(users, "user"));
            let sentence = format!("team '{}' still has {keys} and {users}: delete or move them first", team.name);
            return Err(Failure::Blocked { subject: target, sentence });
        }
        let named = format!("team '{}'", team.name);
        routes::ensure_unnamed(&mut change.txn, team.id.as_str(), &named, &target).await?;
        guardrails::ensure_unnamed(&mut change.txn, team.id.as_str(), &named, &target).await?;
        mcp::ensure_unnamed(&mut change.txn, team.id.as_str(), &named, &target).await?;
        change.txn.team_delete(&team.id, change.revision).await?;
        change.finish(Done { target: &target, before: Some(fields_of(&team)), ..Done::default() }).await?;
        Ok(())
    }
}

/// The team with this id or name. One out of the caller's reach is not found.
pub(super) async fn find(txn: &mut Txn, by: &Authorized, named: &str) -> Result<Team, Failure> {
    let missing = || Failure::NotFound { kind: TeamId::NOUN, name: wire::shown(named) };
    txn.team_find(named).await?.filter(|found| by.reaches(&place(found))).ok_or_else(missing)
}

/// Where a team is.
pub(super) fn place(team: &Team) -> Place {
    Place { customer: Some(team.customer.clone()), team: Some(team.id.clone()), user: None }
}

/// The team that a field refers to, within the caller's reach.
pub(super) async fn referred(
    txn: &mut Txn,
    by: &Authorized,
    named: &str,
    violations: &mut Violations,
) -> Result<Option<TeamId>, StoreError> {
    let team = txn.team_find(named).await?.filter(|found| by.reaches(&place(found)));
    Ok(violations.take(TeamId::NOUN, team.ok_or(NO_TEAM)).map(|team| team.id))
}

async fn owner(
    txn: &mut Txn,
    by: &Authorized,
    named: &str,
    violations: &mut Violations,
) -> Result<Option<CustomerId>, StoreError> {
    if named.is_empty() {
        violations.add("customer", "is required: name the customer that owns the team, by id or name");
        return Ok(None);
    }
    let customer = txn.customer_find(named).await?.filter(|found| by.reaches(&customers::place(found)));
    let customer = customer.ok_or("is not the id or the name of a customer");
    Ok(violations.take("customer", customer).map(|customer| customer.id))
}

async fn ensure_free(txn: &mut Txn, name: &Name, own: Option<&TeamId>) -> Result<(), Failure> {
    match txn.team_find(name.as_str()).await? {
        Some(other) if Some(&other.id) != own => Err(wire::taken(TeamId::NOUN, name)),
        _ => Ok(()),
    }
}

fn target(team: &Team) -> String {
    format!("{}/{}", TeamId::NOUN, team.id)
}

fn fields_of(team: &Team) -> Fields {
    let Team { id: _, name, display_name, customer, disabled, quota, self_service, providers, regions, stamp: _ } =
        team;
    let fields = wire::fields([
        ("name", json!(name.as_str())),
        ("display_name", json!(display_name)),
        ("customer", json!(customer.as_str())),
        ("disabled", json!(disabled)),
        ("self_service", self_service::field_of(self_service.as_ref())),
        ("providers", json!(providers.iter().map(ProviderId::as_str).collect::<Vec<_>>())),
        ("regions", json!(regions)),
    ]);
    quotas::with_fields(quota, fields)
}

fn written(team: &Team) -> v1::Team {
    let Team { id, name, display_name, customer, disabled, quota, self_service, providers, regions, stamp } = team;
    let (budgets, limits, session_limit) = quotas::written(quota);
    v1::Team {
        id: id.to_string(),
        name: name.to_string(),
        display_name: display_name.clone(),
        customer: customer.to_string(),
        disabled: *disabled,
        etag: wire::etag(stamp),
        create_time: Some(wire::timestamp(stamp.create_time)),
        update_time: Some(wire::timestamp(stamp.update_time)),
        budgets,
        limits,
        session_limit,
        self_service: self_service::written(self_service.as_ref()),
        providers: providers.iter().map(ProviderId::to_string).collect(),
        regions: regions.clone(),
    }
}
