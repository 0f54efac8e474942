//! ServiceAccountService.

mod tokens;

use serde_json::json;
use tollgate_audit::Fields;
use tollgate_policy::{id::ServiceAccountId, name::Name};
use tollgate_proto::admin::v1::{self, service_account_service_server::ServiceAccountService};
use tonic::{Request, Response, Status};

use super::{
    Admin, administrators, authorize::Authorized, failure::Failure, filter::Filter, mask::Mask, page::Page,
    violations::Violations, wire,
};
use crate::{
    change::{Change, Done},
    store::{
        Txn,
        service_accounts::{ServiceAccount, ServiceAccountFilter, Token},
    },
};

const CHANGEABLE: [&str; 3] = ["name", "display_name", "disabled"];

#[tonic::async_trait]
impl ServiceAccountService for Admin {
    async fn create_service_account(
        &self,
        request: Request<v1::CreateServiceAccountRequest>,
    ) -> Result<Response<v1::ServiceAccount>, Status> {
        let (by, message) = Authorized::take(request)?;
        let account = self.service_account_create(&by, message.service_account.unwrap_or_default()).await?;
        Ok(Response::new(written(&account)))
    }

    async fn get_service_account(
        &self,
        request: Request<v1::GetServiceAccountRequest>,
    ) -> Result<Response<v1::ServiceAccount>, Status> {
        let (_, message) = Authorized::take(request)?;
        let mut txn = self.store.begin_read().await.map_err(Failure::from)?;
        let account = find(&mut txn, &message.service_account).await?;
        Ok(Response::new(written(&account)))
    }

    async fn list_service_accounts(
        &self,
        request: Request<v1::ListServiceAccountsRequest>,
    ) -> Result<Response<v1::ListServiceAccountsResponse>, Status> {
        let (_, message) = Authorized::take(request)?;
        Ok(Response::new(self.service_account_list(message).await?))
    }

    async fn update_service_account(
        &self,
        request: Request<v1::UpdateServiceAccountRequest>,
    ) -> Result<Response<v1::ServiceAccount>, Status> {
        let (by, message) = Authorized::take(request)?;
        let account = self.service_account_update(&by, message).await?;
        Ok(Response::new(written(&account)))
    }

    async fn delete_service_account(
        &self,
        request: Request<v1::DeleteServiceAccountRequest>,
    ) -> Result<Response<()>, Status> {
        let (by, message) = Authorized::take(request)?;
        self.service_account_delete(&by, &message.service_account, &message.etag).await?;
        Ok(Response::new(()))
    }

    async fn create_service_account_token(
        &self,
        request: Request<v1::CreateServiceAccountTokenRequest>,
    ) -> Result<Response<v1::ServiceAccountTokenSecret>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.service_account_token_create(&by, message).await?))
    }

    async fn delete_service_account_token(
        &self,
        request: Request<v1::DeleteServiceAccountTokenRequest>,
    ) -> Result<Response<v1::ServiceAccount>, Status> {
        let (by, message) = Authorized::take(request)?;
        let account = self.service_account_token_delete(&by, message).await?;
        Ok(Response::new(written(&account)))
    }
}

impl Admin {
    async fn service_account_create(
        &self,
        by: &Authorized,
        wire: v1::ServiceAccount,
    ) -> Result<ServiceAccount, Failure> {
        let v1::ServiceAccount { id, name, display_name, disabled, tokens, etag, create_time, update_time } = wire;
        let mut violations = Violations::default();
        violations.output_only([
            ("id", !id.is_empty()),
            ("tokens", !tokens.is_empty()),
            ("etag", !etag.is_empty()),
            ("create_time", create_time.is_some()),
            ("update_time", update_time.is_some()),
        ]);
        let fields = (wire::name(&name, &mut violations), wire::display_name(&display_name, &mut violations));
        let (name, display_name) = violations.finish(wire::both(fields))?;
        let mut change = Change::begin(&self.store, by).await?;
        ensure_free(&mut change.txn, &name, None).await?;
        let id = wire::new_id(ServiceAccountId::from_ulid)?;
        let account = ServiceAccount { id, name, display_name, disabled, tokens: Vec::new(), stamp: change.created() };
        change.txn.service_account_insert(&account).await?;
        change.finish(Done { target: &target(&account), after: Some(fields_of(&account)), ..Done::default() }).await?;
        Ok(account)
    }

    async fn service_account_list(
        &self,
        message: v1::ListServiceAccountsRequest,
    ) -> Result<v1::ListServiceAccountsResponse, Failure> {
        let v1::ListServiceAccountsRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("service-accounts", &filter, page_size, &page_token, &mut violations);
        let after = page.created_after(&mut violations);
        let mut terms = Filter::read(&filter, &["name", "disabled"], &mut violations);
        let (name, disabled) = (terms.text_match("name"), terms.flag("disabled", &mut violations));
        let filter = violations.finish(Some(ServiceAccountFilter { name, disabled }))?;
        let mut txn = self.store.begin_read().await?;
        let rows = txn.service_account_list(&filter, after.as_ref(), page.limit()).await?;
        txn.end().await?;
        let (service_accounts, next_page_token) =
            page.write_created(&rows, written, |row| (row.stamp, row.id.as_str()));
        Ok(v1::ListServiceAccountsResponse { service_accounts, next_page_token })
    }

    async fn service_account_update(
        &self,
        by: &Authorized,
        message: v1::UpdateServiceAccountRequest,
    ) -> Result<ServiceAccount, Failure> {
        let wire = message.service_account.unwrap_or_default();
        let mut violations = Violations::default();
        let mask = Mask::read(message.update_mask.as_ref(), &CHANGEABLE, &mut violations);
        let named = wire::named("service_account", &wire.id, &wire.name, &mask, &mut violations);
        let name = mask.of("name", || wire::name(&wire.name, &mut violations));
        let display_name = mask.of("display_name", || wire::display_name(&wire.display_name, &mut violations));
        let named = violations.finish(named)?;
        let mut change = Change::begin(&self.store, by).await?;
        let old = find(&mut change.txn, &named).await?;
        wire::ensure_fresh(ServiceAccountId::NOUN, &old.name, &wire.etag, &old.stamp)?;
        let new = ServiceAccount {
            name: name.unwrap_or_else(|| old.name.clone()),
            display_name: display_name.unwrap_or_else(|| old.display_name.clone()),
            disabled: mask.of("disabled", || Some(wire.disabled)).unwrap_or(old.disabled),
            ..old.clone()
        };
        if new == old {
            return Ok(old);
        }
        ensure_free(&mut change.txn, &new.name, Some(&old.id)).await?;
        let administered = administrators::count(&mut change).await?;
        let new = ServiceAccount { stamp: change.updated(old.stamp), ..new };
        change.txn.service_account_update(&new).await?;
        administrators::ensure_left(&mut change, administered).await?;
        let (before, after) = (Some(fields_of(&old)), Some(fields_of(&new)));
        change.finish(Done { target: &target(&new), before, after, ..Done::default() }).await?;
        Ok(new)
    }

    async fn service_account_delete(&self, by: &Authorized, named: &str, etag: &str) -> Result<(), Failure> {
        let mut change = Change::begin(&self.store, by).await?;
        let account = find(&mut change.txn, named).await?;
        wire::ensure_fresh(ServiceAccountId::NOUN, &account.name, etag, &account.stamp)?;
        let administered = administrators::count(&mut change).await?;
        change.txn.service_account_delete(&account.id).await?;
        administrators::ensure_left(&mut change, administered).await?;
        let target = target(&account);
        change.finish(Done { target: &target, before: Some(fields_of(&account)), ..Done::default() }).await?;
        Ok(())
    }
}

/// The service account with this id or name.
async fn find(txn: &mut Txn, named: &str) -> Result<ServiceAccount, Failure> {
    let missing = || Failure::NotFound { kind: ServiceAccountId::NOUN, name: wire::shown(named) };
    txn.service_account_find(named).await?.ok_or_else(missing)
}

async fn ensure_free(txn: &mut Txn, name: &Name, own: Option<&ServiceAccountId>) -> Result<(), Failure> {
    match txn.service_account_find(name.as_str()).await? {
        Some(other) if Some(&other.id) != own => Err(wire::taken(ServiceAccountId::NOUN, name)),
        _ => Ok(()),
    }
}

fn target(account: &ServiceAccount) -> String {
    format!("{}/{}", ServiceAccountId::NOUN, account.id)
}

// The log tells tokens by their names and their public beginnings.
fn fields_of(account: &ServiceAccount) -> Fields {
    let ServiceAccount { id: _, name, display_name, disabled, tokens, stamp: _ } = account;
    let tokens: Vec<_> = tokens
        .iter()
        .map(|token| {
            let Token { name, hash: _, prefix, expires_ms, create_time: _, used_time: _ } = token;
            json!({ "name": name.as_str(), "prefix": prefix, "expire_time_ms": expires_ms })
        })
        .collect();
    wire::fields([
        ("name", json!(name.as_str())),
        ("display_name", json!(display_name)),
        ("disabled", json!(disabled)),
        ("tokens", json!(tokens)),
    ])
}

fn written(account: &ServiceAccount) -> v1::ServiceAccount {
    let ServiceAccount { id, name, display_name, disabled, tokens, stamp } = account;
    v1::ServiceAccount {
        id: id.to_string(),
        name: name.to_string(),
        display_name: display_name.clone(),
        disabled: *disabled,
        tokens: tokens.iter().map(tokens::written).collect(),
        etag: wire::etag(stamp),
        create_time: Some(wire::timestamp(stamp.create_time)),
        update_time: Some(wire::timestamp(stamp.update_time)),
    }
}
