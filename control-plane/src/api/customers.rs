//! CustomerService.

use serde_json::{Value, json};
use tollgate_audit::Fields;
use tollgate_policy::{id::CustomerId, name::Name, rbac::Place};
use tollgate_proto::admin::v1::{self, customer_service_server::CustomerService};
use tonic::{Request, Response, Status};

use super::{
    Admin,
    authorize::Authorized,
    failure::Failure,
    filter::Filter,
    guardrails,
    mask::Mask,
    mcp,
    page::Page,
    quotas::{self, Asked},
    routes,
    violations::Violations,
    wire::{self, new_id},
};
use crate::{
    change::{Change, Done},
    store::{
        Txn,
        organisation::{Customer, CustomerFilter},
        quotas::Quota,
    },
};

const CHANGEABLE: [&str; 6] = ["name", "display_name", "disabled", "budgets", "limits", "session_limit"];

#[tonic::async_trait]
impl CustomerService for Admin {
    async fn create_customer(
        &self,
        request: Request<v1::CreateCustomerRequest>,
    ) -> Result<Response<v1::Customer>, Status> {
        let (by, message) = Authorized::take(request)?;
        let customer = self.customer_create(&by, message.customer.unwrap_or_default()).await?;
        Ok(Response::new(written(&customer)))
    }

    async fn get_customer(&self, request: Request<v1::GetCustomerRequest>) -> Result<Response<v1::Customer>, Status> {
        let (by, message) = Authorized::take(request)?;
        let mut txn = self.store.begin_read().await.map_err(Failure::from)?;
        let customer = find(&mut txn, &by, &message.customer).await?;
        Ok(Response::new(written(&customer)))
    }

    async fn list_customers(
        &self,
        request: Request<v1::ListCustomersRequest>,
    ) -> Result<Response<v1::ListCustomersResponse>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.customer_list(&by, message).await?))
    }

    async fn update_customer(
        &self,
        request: Request<v1::UpdateCustomerRequest>,
    ) -> Result<Response<v1::Customer>, Status> {
        let (by, message) = Authorized::take(request)?;
        let customer = self.customer_update(&by, message).await?;
        Ok(Response::new(written(&customer)))
    }

    async fn delete_customer(&self, request: Request<v1::DeleteCustomerRequest>) -> Result<Response<()>, Status> {
        let (by, message) = Authorized::take(request)?;
        self.customer_delete(&by, &message.customer, &message.etag).await?;
        Ok(Response::new(()))
    }
}

impl Admin {
    async fn customer_create(&self, by: &Authorized, wire: v1::Customer) -> Result<Customer, Failure> {
        let v1::Customer {
            id,
            name,
            display_name,
            disabled,
            etag,
            create_time,
            update_time,
            budgets,
            limits,
            session_limit,
        } = wire;
        let mut violations = Violations::default();
        violations.output_only([
            ("id", !id.is_empty()),
            ("etag", !etag.is_empty()),
            ("create_time", create_time.is_some()),
            ("update_time", update_time.is_some()),
        ]);
        let fields = (wire::name(&name, &mut violations), wire::display_name(&display_name, &mut violations));
        let mut change = Change::begin(&self.store, by).await?;
        let asked = Asked::new(&budgets, &limits, session_limit.as_ref());
        let quota = asked.read(&mut change, &Quota::default(), &mut violations).await?;
        let (name, display_name) = violations.finish(wire::both(fields))?;
        ensure_free(&mut change.txn, &name, None).await?;
        let id = new_id(CustomerId::from_ulid)?;
        let customer = Customer { id, name, display_name, disabled, quota, stamp: change.created() };
        change.txn.customer_insert(&customer).await?;
        let target = target(&customer);
        change.finish(Done { target: &target, after: Some(fields_of(&customer)), ..Done::default() }).await?;
        Ok(customer)
    }

    async fn customer_list(
        &self,
        by: &Authorized,
        message: v1::ListCustomersRequest,
    ) -> Result<v1::ListCustomersResponse, Failure> {
        let v1::ListCustomersRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("customers", &filter, page_size, &page_token, &mut violations);
        let after = page.created_after(&mut violations);
        let mut terms = Filter::read(&filter, &["name", "disabled"], &mut violations);
        let filter = CustomerFilter {
            name: terms.text_match("name"),
            disabled: terms.flag("disabled", &mut violations),
            reach: by.reach(),
        };
        let filter = violations.finish(Some(filter))?;
        let mut txn = self.store.begin_read().await?;
        let rows = txn.customer_list(&filter, after.as_ref(), page.limit()).await?;
        txn.end().await?;
        let (customers, next_page_token) = page.write_created(&rows, written, |row| (row.stamp, row.id.as_str()));
        Ok(v1::ListCustomersResponse { customers, next_page_token })
    }

    async fn customer_update(&self, by: &Authorized, message: v1::UpdateCustomerRequest) -> Result<Customer, Failure> {
        let wire = message.customer.unwrap_or_default();
        let mut violations = Violations::default();
        let mask = Mask::read(message.update_mask.as_ref(), &CHANGEABLE, &mut violations);
        let named = wire::named("customer", &wire.id, &wire.name, &mask, &mut violations);
        let name = mask.of("name", || wire::name(&wire.name, &mut violations));
        let display_name = mask.of("display_name", || wire::display_name(&wire.display_name, &mut violations));
        let mut change = Change::begin(&self.store, by).await?;
        let old = match &named {
            Some(named) => find(&mut change.txn, by, named).await?,
            None => return violations.finish(None),
        };
        wire::ensure_fresh(CustomerId::NOUN, &old.name, &wire.etag, &old.stamp)?;
        let asked = Asked::new(&wire.budgets, &wire.limits, wire.session_limit.as_ref()).masked(&mask);
        let quota = asked.read(&mut change, &old.quota, &mut violations).await?;
        let quota = violations.finish(Some(quota))?;
        let new = Customer {
            id: old.id.clone(),
            name: name.unwrap_or_else(|| old.name.clone()),
            display_name: display_name.unwrap_or_else(|| old.display_name.clone()),
            disabled: mask.of("disabled", || Some(wire.disabled)).unwrap_or(old.disabled),
            quota,
            stamp: old.stamp,
        };
        if new == old {
            return Ok(old);
        }
        ensure_free(&mut change.txn, &new.name, Some(&old.id)).await?;
        let new = Customer { stamp: change.updated(old.stamp), ..new };
        change.txn.customer_update(&new).await?;
        let (before, after) = (Some(fields_of(&old)), Some(fields_of(&new)));
        change.finish(Done { target: &target(&new), before, after, ..Done::default() }).await?;
        Ok(new)
    }

    async fn customer_delete(&self, by: &Authorized, named: &str, etag: &str) -> Result<(), Failure> {
        let mut change = Change::begin(&self.store, by).await?;
        let customer = find(&mut change.txn, by, named).await?;
        wire::ensure_fresh(CustomerId::NOUN, &customer.name, etag, &customer.stamp)?;
        let target = target(&customer);
        let teams = change.txn.customer_teams(&customer.id).await?;
        if teams > 0 {
            let sentence =
                format!("customer '{}' still has {}: delete them first", customer.name, wire::count(teams, "team"));
            return Err(Failure::Blocked { subject: target, sentence });
        }
        let named = format!("customer '{}'", customer.name);
        routes::ensure_unnamed(&mut change.txn, customer.id.as_str(), &named, &target).await?;
        guardrails::ensure_unnamed(&mut change.txn, customer.id.as_str(), &named, &target).await?;
        mcp::ensure_unnamed(&mut change.txn, customer.id.as_str(), &named, &target).await?;
        change.txn.customer_delete(&customer.id, change.revision).await?;
        change.finish(Done { target: &target, before: Some(fields_of(&customer)), ..Done::default() }).await?;
        Ok(())
    }
}

/// The customer with this id or name. One out of the caller's reach is not found.
pub(super) async fn find(txn: &mut Txn, by: &Authorized, named: &str) -> Result<Customer, Failure> {
    let missing = || Failure::NotFound { kind: CustomerId::NOUN, name: wire::shown(named) };
    txn.customer_find(named).await?.filter(|found| by.reaches(&place(found))).ok_or_else(missing)
}

/// Where a customer is.
pub(super) fn place(customer: &Customer) -> Place {
    Place { customer: Some(customer.id.clone()), ..Place::default() }
}

async fn ensure_free(txn: &mut Txn, name: &Name, own: Option<&CustomerId>) -> Result<(), Failure> {
    match txn.customer_find(name.as_str()).await? {
        Some(other) if Some(&other.id) != own => Err(wire::taken(CustomerId::NOUN, name)),
        _ => Ok(()),
    }
}

fn target(customer: &Customer) -> String {
    format!("{}/{}", CustomerId::NOUN, customer.id)
}

fn fields_of(customer: &Customer) -> Fields {
    let Customer { id: _, name, display_name, disabled, quota, stamp: _ } = customer;
    let fields: [(&str, Value); 3] =
        [("name", json!(name.as_str())), ("display_name", json!(display_name)), ("disabled", json!(disabled))];
    quotas::with_fields(quota, wire::fields(fields))
}

fn written(customer: &Customer) -> v1::Customer {
    let Customer { id, name, display_name, disabled, quota, stamp } = customer;
    let (budgets, limits, session_limit) = quotas::written(quota);
    v1::Customer {
        id: id.to_string(),
        name: name.to_string(),
        display_name: display_name.clone(),
        disabled: *disabled,
        etag: wire::etag(stamp),
        create_time: Some(wire::timestamp(stamp.create_time)),
        update_time: Some(wire::timestamp(stamp.update_time)),
        budgets,
        limits,
        session_limit,
    }
}
