//! RoleService.

use serde_json::json;
use tollgate_audit::Fields;
use tollgate_policy::{
    id::RoleId,
    name::Name,
    rbac::{PERMISSIONS_MAX, Permissions, Place, Reach, SYSTEM_ROLES, SystemRole},
};
use tollgate_proto::{
    admin::v1::{self, role_service_server::RoleService},
    permission,
};
use tonic::{Request, Response, Status};

use super::{
    Admin, authorize::Authorized, failure::Failure, filter::Filter, mask::Mask, page::Page, violations::Violations,
    wire,
};
use crate::{
    change::{Change, Done},
    principals::Identity,
    store::{
        Txn,
        access::{BindingFilter, Role, Subject},
    },
};

const CHANGEABLE: [&str; 3] = ["name", "display_name", "permissions"];

#[tonic::async_trait]
impl RoleService for Admin {
    async fn create_role(&self, request: Request<v1::CreateRoleRequest>) -> Result<Response<v1::Role>, Status> {
        let (by, message) = Authorized::take(request)?;
        let role = self.role_create(&by, message.role.unwrap_or_default()).await?;
        Ok(Response::new(written(&role)))
    }

    async fn get_role(&self, request: Request<v1::GetRoleRequest>) -> Result<Response<v1::Role>, Status> {
        let (_, message) = Authorized::take(request)?;
        if let Some(role) = SystemRole::named(&message.role) {
            return Ok(Response::new(written_system(role)));
        }
        let mut txn = self.store.begin_read().await.map_err(Failure::from)?;
        let role = find(&mut txn, &message.role).await?;
        Ok(Response::new(written(&role)))
    }

    async fn list_roles(
        &self,
        request: Request<v1::ListRolesRequest>,
    ) -> Result<Response<v1::ListRolesResponse>, Status> {
        let (_, message) = Authorized::take(request)?;
        Ok(Response::new(self.role_list(message).await?))
    }

    async fn update_role(&self, request: Request<v1::UpdateRoleRequest>) -> Result<Response<v1::Role>, Status> {
        let (by, message) = Authorized::take(request)?;
        let role = self.role_update(&by, message).await?;
        Ok(Response::new(written(&role)))
    }

    async fn delete_role(&self, request: Request<v1::DeleteRoleRequest>) -> Result<Response<()>, Status> {
        let (by, message) = Authorized::take(request)?;
        self.role_delete(&by, &message.role, &message.etag).await?;
        Ok(Response::new(()))
    }
}

impl Admin {
    async fn role_create(&self, by: &Authorized, wire: v1::Role) -> Result<Role, Failure> {
        let v1::Role { id, name, display_name, permissions, system, etag, create_time, update_time } = wire;
        let mut violations = Violations::default();
        violations.output_only([
            ("id", !id.is_empty()),
            ("system", system),
            ("etag", !etag.is_empty()),
            ("create_time", create_time.is_some()),
            ("update_time", update_time.is_some()),
        ]);
        let fields = (wire::name(&name, &mut violations), wire::display_name(&display_name, &mut violations));
        let permissions = read_permissions(&permissions, &mut violations);
        let ((name, display_name), permissions) = violations.finish(wire::both((wire::both(fields), permissions)))?;
        ensure_held(by, &permissions)?;
        let mut change = Change::begin(&self.store, by).await?;
        ensure_free(&mut change.txn, &name, None).await?;
        let id = wire::new_id(RoleId::from_ulid)?;
        let role = Role { id, name, display_name, permissions, stamp: change.created() };
        change.txn.role_insert(&role).await?;
        change.finish(Done { target: &target(&role), after: Some(fields_of(&role)), ..Done::default() }).await?;
        Ok(role)
    }

    async fn role_list(&self, message: v1::ListRolesRequest) -> Result<v1::ListRolesResponse, Failure> {
        let v1::ListRolesRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("roles", &filter, page_size, &page_token, &mut violations);
        let after = page.created_after(&mut violations);
        let mut terms = Filter::read(&filter, &["name"], &mut violations);
        let name = violations.finish(Some(terms.text_match("name")))?;
        let mut txn = self.store.begin_read().await?;
        let rows = txn.role_list(name.as_ref(), after.as_ref(), page.limit()).await?;
        txn.end().await?;
        let (custom, next_page_token) = page.write_created(&rows, written, |row| (row.stamp, row.id.as_str()));
        let matches = |role: &&SystemRole| name.as_ref().is_none_or(|name| name.matches(role.name));
        let first = SYSTEM_ROLES.iter().filter(|_| after.is_none()).filter(matches).map(written_system);
        Ok(v1::ListRolesResponse { roles: first.chain(custom).collect(), next_page_token })
    }

    async fn role_update(&self, by: &Authorized, message: v1::UpdateRoleRequest) -> Result<Role, Failure> {
        let wire = message.role.unwrap_or_default();
        let mut violations = Violations::default();
        let mask = Mask::read(message.update_mask.as_ref(), &CHANGEABLE, &mut violations);
        let named = wire::named(RoleId::NOUN, &wire.id, &wire.name, &mask, &mut violations);
        let name = mask.of("name", || wire::name(&wire.name, &mut violations));
        let display_name = mask.of("display_name", || wire::display_name(&wire.display_name, &mut violations));
        let permissions = mask.of("permissions", || read_permissions(&wire.permissions, &mut violations));
        let named = violations.finish(named)?;
        let mut change = Change::begin(&self.store, by).await?;
        let old = find(&mut change.txn, &named).await?;
        wire::ensure_fresh(RoleId::NOUN, &old.name, &wire.etag, &old.stamp)?;
        let new = Role {
            name: name.unwrap_or_else(|| old.name.clone()),
            display_name: display_name.unwrap_or_else(|| old.display_name.clone()),
            permissions: permissions.unwrap_or_else(|| old.permissions.clone()),
            ..old.clone()
        };
        if new == old {
            return Ok(old);
        }
        ensure_held(by, &old.permissions)?;
        ensure_held(by, &new.permissions)?;
        ensure_not_own(&mut change, &old).await?;
        ensure_free(&mut change.txn, &new.name, Some(&old.id)).await?;
        let new = Role { stamp: change.updated(old.stamp), ..new };
        change.txn.role_update(&new).await?;
        let (before, after) = (Some(fields_of(&old)), Some(fields_of(&new)));
        change.finish(Done { target: &target(&new), before, after, ..Done::default() }).await?;
        Ok(new)
    }

    async fn role_delete(&self, by: &Authorized, named: &str, etag: &str) -> Result<(), Failure> {
        let mut change = Change::begin(&self.store, by).await?;
        let role = find(&mut change.txn, named).await?;
        wire::ensure_fresh(RoleId::NOUN, &role.name, etag, &role.stamp)?;
        ensure_held(by, &role.permissions)?;
        let target = target(&role);
        let bindings = change.txn.role_bindings(role.id.as_str()).await?;
        if bindings > 0 {
            let sentence =
                format!("role '{}' still has {}: delete them first", role.name, wire::count(bindings, "binding"));
            return Err(Failure::Blocked { subject: target, sentence });
        }
        change.txn.role_delete(&role.id).await?;
        change.finish(Done { target: &target, before: Some(fields_of(&role)), ..Done::default() }).await?;
        Ok(())
    }
}

/// The custom role with this id or name. A system role cannot be changed, and is not found here.
async fn find(txn: &mut Txn, named: &str) -> Result<Role, Failure> {
    if SystemRole::named(named).is_some() {
        let sentence = format!("role '{named}' is part of the program: create a role of your own instead");
        return Err(Failure::Blocked { subject: format!("role/{named}"), sentence });
    }
    let missing = || Failure::NotFound { kind: RoleId::NOUN, name: wire::shown(named) };
    txn.role_find(named).await?.ok_or_else(missing)
}

// A role may be bound everywhere, so what it permits must be held everywhere.
fn ensure_held(by: &Authorized, permissions: &Permissions) -> Result<(), Failure> {
    if by.holder().covers(by.now(), permissions, &Place::default(), &permission::all()) {
        return Ok(());
    }
    Err(Failure::Denied("the role permits what you do not hold everywhere, and so cannot give".into()))
}

// Nobody edits the role that they hold.
async fn ensure_not_own(change: &mut Change<'_>, role: &Role) -> Result<(), Failure> {
    let mine = match change.by().identity() {
        Identity::Bootstrap => false,
        Identity::User(user, _) => {
            change.txn.grants_of_user(user).await?.iter().any(|grant| grant.role == role.name.as_str())
        }
        Identity::ServiceAccount(account) => {
            let subject = Some(Subject::ServiceAccount(account.clone()));
            let filter = BindingFilter { role: Some(role.id.to_string()), subject, reach: Reach::everything() };
            !change.txn.binding_list(&filter, None, 1).await?.is_empty()
        }
    };
    if mine {
        Err(Failure::Denied("this is a role that you hold: somebody else has to change it".into()))
    } else {
        Ok(())
    }
}

async fn ensure_free(txn: &mut Txn, name: &Name, own: Option<&RoleId>) -> Result<(), Failure> {
    if SystemRole::named(name.as_str()).is_some() {
        return Err(wire::taken(RoleId::NOUN, name));
    }
    match txn.role_find(name.as_str()).await? {
        Some(other) if Some(&other.id) != own => Err(wire::taken(RoleId::NOUN, name)),
        _ => Ok(()),
    }
}

fn read_permissions(texts: &[String], violations: &mut Violations) -> Option<Permissions> {
    if texts.is_empty() || texts.len() > PERMISSIONS_MAX {
        violations.add("permissions", format!("must be 1 to {PERMISSIONS_MAX}"));
        return None;
    }
    violations.take("permissions", Permissions::parse(texts, &permission::all()))
}

fn target(role: &Role) -> String {
    format!("{}/{}", RoleId::NOUN, role.id)
}

fn fields_of(role: &Role) -> Fields {
    let Role { id: _, name, display_name, permissions, stamp: _ } = role;
    wire::fields([
        ("name", json!(name.as_str())),
        ("display_name", json!(display_name)),
        ("permissions", json!(permissions.iter().collect::<Vec<_>>())),
    ])
}

fn written(role: &Role) -> v1::Role {
    let Role { id, name, display_name, permissions, stamp } = role;
    v1::Role {
        id: id.to_string(),
        name: name.to_string(),
        display_name: display_name.clone(),
        permissions: permissions.iter().map(str::to_owned).collect(),
        system: false,
        etag: wire::etag(stamp),
        create_time: Some(wire::timestamp(stamp.create_time)),
        update_time: Some(wire::timestamp(stamp.update_time)),
    }
}

// The administrator's wildcard is written out with it: the list of all permissions that there are.
fn written_system(role: &SystemRole) -> v1::Role {
    let permissions = role.permissions();
    let all = permission::all().into_iter().filter(|_| permissions.permit("*"));
    v1::Role {
        id: role.name.to_owned(),
        name: role.name.to_owned(),
        display_name: role.display_name.to_owned(),
        permissions: permissions.iter().chain(all).map(str::to_owned).collect(),
        system: true,
        ..v1::Role::default()
    }
}
