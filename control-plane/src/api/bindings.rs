//! BindingService.

use serde_json::json;
use tollgate_audit::Fields;
use tollgate_policy::{
    id::{BindingId, CustomerId, RoleId, ServiceAccountId, TeamId, UserId},
    rbac::{Permissions, Place, Scope, SystemRole},
};
use tollgate_proto::{
    admin::v1::{
        self, binding::Scope as WireScope, binding::Subject as WireSubject, binding_service_server::BindingService,
    },
    permission,
};
use tonic::{Request, Response, Status};

use super::{
    Admin, administrators, authorize::Authorized, customers, failure::Failure, filter::Filter, page::Page, teams,
    violations::Violations, wire,
};
use crate::{
    change::{Change, Done},
    principals::Identity,
    store::{
        StoreError, Txn,
        access::{Binding, BindingFilter, Subject},
    },
};

/// The longest name of a group, in characters.
const GROUP_LENGTH_MAX: usize = 255;

#[tonic::async_trait]
impl BindingService for Admin {
    async fn create_binding(
        &self,
        request: Request<v1::CreateBindingRequest>,
    ) -> Result<Response<v1::Binding>, Status> {
        let (by, message) = Authorized::take(request)?;
        let binding = self.binding_create(&by, message.binding.unwrap_or_default()).await?;
        Ok(Response::new(written(&binding)))
    }

    async fn get_binding(&self, request: Request<v1::GetBindingRequest>) -> Result<Response<v1::Binding>, Status> {
        let (by, message) = Authorized::take(request)?;
        let mut txn = self.store.begin_read().await.map_err(Failure::from)?;
        let binding = find(&mut txn, &by, &message.binding).await?;
        Ok(Response::new(written(&binding)))
    }

    async fn list_bindings(
        &self,
        request: Request<v1::ListBindingsRequest>,
    ) -> Result<Response<v1::ListBindingsResponse>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.binding_list(&by, message).await?))
    }

    async fn delete_binding(&self, request: Request<v1::DeleteBindingRequest>) -> Result<Response<()>, Status> {
        let (by, message) = Authorized::take(request)?;
        self.binding_delete(&by, &message.binding, &message.etag).await?;
        Ok(Response::new(()))
    }
}

impl Admin {
    async fn binding_create(&self, by: &Authorized, wire: v1::Binding) -> Result<Binding, Failure> {
        let v1::Binding { id, role, subject, scope, expire_time, etag, create_time } = wire;
        let mut violations = Violations::default();
        violations.output_only([
            ("id", !id.is_empty()),
            ("etag", !etag.is_empty()),
            ("create_time", create_time.is_some()),
        ]);
        let mut change = Change::begin(&self.store, by).await?;
        let now = change.now;
        let role = read_role(&mut change.txn, &role, &mut violations).await?;
        let subject = read_subject(&mut change.txn, by, subject, &mut violations).await?;
        let scope = read_scope(&mut change.txn, by, scope, &mut violations).await?;
        let expires_ms = expire_time.and_then(|at| {
            let at = wire::instant("expire_time", &at, &mut violations)?;
            violations.take("expire_time", (at > now).then_some(at).ok_or("is in the past"))
        });
        if matches!((&scope, &subject), (Some((Scope::Own, _)), Some(Subject::ServiceAccount(_)))) {
            violations.add("own", "is for users and groups: a service account owns nothing");
        }
        let ((role, subject), (scope, place)) = violations.finish(wire::both((wire::both((role, subject)), scope)))?;
        let Known { id: role, name: role_name, permissions } = role;
        ensure_not_self(&mut change, &subject).await?;
        if !by.holder().covers(by.now(), &permissions, &place, &permission::all()) {
            let text =
                format!("the role '{role_name}' permits what you do not hold there ({scope}), and so cannot give");
            return Err(Failure::Denied(text));
        }
        let id = wire::new_id(BindingId::from_ulid)?;
        let binding = Binding { id, role, role_name, subject, scope, expires_ms, stamp: change.created() };
        if !change.txn.binding_insert(&binding).await? {
            let value = format!("{} of {}", binding.role_name, subject_text(&binding.subject));
            return Err(Failure::Exists { kind: BindingId::NOUN, field: "role", value });
        }
        change.finish(Done { target: &target(&binding), after: Some(fields_of(&binding)), ..Done::default() }).await?;
        Ok(binding)
    }

    async fn binding_list(
        &self,
        by: &Authorized,
        message: v1::ListBindingsRequest,
    ) -> Result<v1::ListBindingsResponse, Failure> {
        let v1::ListBindingsRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("bindings", &filter, page_size, &page_token, &mut violations);
        let after = page.created_after(&mut violations);
        let mut terms = Filter::read(&filter, &["role", "user", "group", "service_account"], &mut violations);
        let mut txn = self.store.begin_read().await?;
        let role = match terms.text("role") {
            Some(named) => read_role(&mut txn, &named, &mut violations).await?.map(|known| known.id),
            None => None,
        };
        let asked = [
            terms.text("user").map(WireSubject::User),
            terms.text("group").map(WireSubject::Group),
            terms.text("service_account").map(WireSubject::ServiceAccount),
        ];
        let mut asked = asked.into_iter().flatten();
        let subject = match asked.next() {
            Some(asked) => read_subject(&mut txn, by, Some(asked), &mut violations).await?,
            None => None,
        };
        if asked.next().is_some() {
            violations.add("filter", "names several subjects, of which a binding has one");
        }
        let filter = violations.finish(Some(BindingFilter { role, subject, reach: by.reach() }))?;
        let rows = txn.binding_list(&filter, after.as_ref(), page.limit()).await?;
        txn.end().await?;
        let (bindings, next_page_token) = page.write_created(&rows, written, |row| (row.stamp, row.id.as_str()));
        Ok(v1::ListBindingsResponse { bindings, next_page_token })
    }

    async fn binding_delete(&self, by: &Authorized, named: &str, etag: &str) -> Result<(), Failure> {
        let mut change = Change::begin(&self.store, by).await?;
        let binding = find(&mut change.txn, by, named).await?;
        if !etag.is_empty() && etag != wire::etag(&binding.stamp) {
            return Err(Failure::Stale { kind: BindingId::NOUN, name: binding.id.to_string() });
        }
        let administered = administrators::count(&mut change).await?;
        change.txn.binding_delete(&binding.id).await?;
        administrators::ensure_left(&mut change, administered).await?;
        let target = target(&binding);
        change.finish(Done { target: &target, before: Some(fields_of(&binding)), ..Done::default() }).await?;
        Ok(())
    }
}

// A role that exists.
struct Known {
    id: String,
    name: String,
    permissions: Permissions,
}

async fn find(txn: &mut Txn, by: &Authorized, named: &str) -> Result<Binding, Failure> {
    let missing = || Failure::NotFound { kind: BindingId::NOUN, name: wire::shown(named) };
    let binding = txn.binding_find(named).await?.ok_or_else(missing)?;
    let user = match &binding.subject {
        Subject::User(user) => txn.user_find(user.as_str()).await?,
        Subject::Group(_) | Subject::ServiceAccount(_) => None,
    };
    let place = match (&binding.scope, &user) {
        (Scope::Customer(customer), _) => Place { customer: Some(customer.clone()), ..Place::default() },
        (Scope::Team(team), _) => txn.place_of_team(team).await?,
        (Scope::Own, Some(user)) => txn.place_of_user(&user.id, user.team.as_ref()).await?,
        _ => Place::default(),
    };
    let place = Place { user: user.map(|user| user.id), ..place };
    if by.reaches(&place) { Ok(binding) } else { Err(missing()) }
}

async fn read_role(txn: &mut Txn, named: &str, violations: &mut Violations) -> Result<Option<Known>, StoreError> {
    if let Some(role) = SystemRole::named(named) {
        let (id, name) = (role.name.to_owned(), role.name.to_owned());
        return Ok(Some(Known { id, name, permissions: role.permissions() }));
    }
    let role = txn.role_find(named).await?.ok_or("is not the id or the name of a role");
    let role = violations.take(RoleId::NOUN, role);
    Ok(role.map(|role| Known { id: role.id.to_string(), name: role.name.to_string(), permissions: role.permissions }))
}

// Somebody out of the caller's reach does not exist for them.
async fn read_subject(
    txn: &mut Txn,
    by: &Authorized,
    subject: Option<WireSubject>,
    violations: &mut Violations,
) -> Result<Option<Subject>, StoreError> {
    match subject {
        None => {
            violations.add("user", "is required, or a group, or a service account: say who gets the role");
            Ok(None)
        }
        Some(WireSubject::User(named)) => {
            let user = txn.user_find(&named).await?;
            let place = match &user {
                Some(user) => txn.place_of_user(&user.id, user.team.as_ref()).await?,
                None => Place::default(),
            };
            let user = user.filter(|_| by.reaches(&place)).ok_or("is not the id or the name of a user");
            Ok(violations.take("user", user).map(|user| Subject::User(user.id)))
        }
        Some(WireSubject::Group(name)) if name.is_empty() => {
            violations.add("group", "must not be empty");
            Ok(None)
        }
        Some(WireSubject::Group(name)) => {
            Ok(wire::prose("group", &name, GROUP_LENGTH_MAX, violations).map(Subject::Group))
        }
        Some(WireSubject::ServiceAccount(named)) => {
            let account = txn.service_account_find(&named).await?.filter(|_| by.reaches(&Place::default()));
            let account = account.ok_or("is not the id or the name of a service account");
            Ok(violations.take("service_account", account).map(|account| Subject::ServiceAccount(account.id)))
        }
    }
}

// The scope, and the place at which the caller must hold what is given. What somebody owns may be anywhere.
async fn read_scope(
    txn: &mut Txn,
    by: &Authorized,
    scope: Option<WireScope>,
    violations: &mut Violations,
) -> Result<Option<(Scope, Place)>, StoreError> {
    match scope {
        None => Ok(Some((Scope::Everything, Place::default()))),
        Some(WireScope::Own(true)) => Ok(Some((Scope::Own, Place::default()))),
        Some(WireScope::Own(false)) => {
            violations.add("own", "must be true, or not set");
            Ok(None)
        }
        Some(WireScope::Customer(named)) => {
            let customer = txn.customer_find(&named).await?.filter(|found| by.reaches(&customers::place(found)));
            let customer = customer.ok_or("is not the id or the name of a customer");
            let customer = violations.take(CustomerId::NOUN, customer);
            Ok(customer.map(|customer| (Scope::Customer(customer.id.clone()), customers::place(&customer))))
        }
        Some(WireScope::Team(named)) => {
            let team = txn.team_find(&named).await?.filter(|found| by.reaches(&teams::place(found)));
            let team = violations.take(TeamId::NOUN, team.ok_or(teams::NO_TEAM));
            Ok(team.map(|team| (Scope::Team(team.id.clone()), teams::place(&team))))
        }
    }
}

// Nobody gives themselves a role, nor a group in which they are.
async fn ensure_not_self(change: &mut Change<'_>, subject: &Subject) -> Result<(), Failure> {
    let mine = match (change.by().identity(), subject) {
        (Identity::User(me, _), Subject::User(user)) => me == user,
        (Identity::User(me, _), Subject::Group(group)) => change.txn.is_member(me, group).await?,
        (Identity::ServiceAccount(me), Subject::ServiceAccount(account)) => me == account,
        _ => false,
    };
    if mine { Err(Failure::Denied("nobody gives themselves a role: somebody else has to".into())) } else { Ok(()) }
}

fn target(binding: &Binding) -> String {
    format!("{}/{}", BindingId::NOUN, binding.id)
}

fn subject_text(subject: &Subject) -> String {
    match subject {
        Subject::User(user) => format!("{}/{user}", UserId::NOUN),
        Subject::Group(group) => format!("group/{group}"),
        Subject::ServiceAccount(account) => format!("{}/{account}", ServiceAccountId::NOUN),
    }
}

fn fields_of(binding: &Binding) -> Fields {
    let Binding { id: _, role, role_name, subject, scope, expires_ms, stamp: _ } = binding;
    wire::fields([
        ("role", json!(role)),
        ("role_name", json!(role_name)),
        ("subject", json!(subject_text(subject))),
        ("scope", json!(scope.to_string())),
        ("expire_time_ms", json!(expires_ms)),
    ])
}

fn written(binding: &Binding) -> v1::Binding {
    let Binding { id, role: _, role_name, subject, scope, expires_ms, stamp } = binding;
    v1::Binding {
        id: id.to_string(),
        role: role_name.clone(),
        subject: Some(match subject {
            Subject::User(user) => WireSubject::User(user.to_string()),
            Subject::Group(group) => WireSubject::Group(group.clone()),
            Subject::ServiceAccount(account) => WireSubject::ServiceAccount(account.to_string()),
        }),
        scope: match scope {
            Scope::Everything => None,
            Scope::Customer(customer) => Some(WireScope::Customer(customer.to_string())),
            Scope::Team(team) => Some(WireScope::Team(team.to_string())),
            Scope::Own => Some(WireScope::Own(true)),
        },
        expire_time: expires_ms.map(wire::timestamp),
        etag: wire::etag(stamp),
        create_time: Some(wire::timestamp(stamp.create_time)),
    }
}
