//! UserService.

use serde_json::json;
use tollgate_audit::Fields;
use tollgate_policy::{
    id::{TeamId, UserId},
    rbac::Place,
};
use tollgate_proto::admin::v1::{self, user_service_server::UserService};
use tonic::{Request, Response, Status};

use super::{
    Admin, administrators,
    authorize::Authorized,
    failure::Failure,
    filter::Filter,
    mask::Mask,
    page::Page,
    quotas::{self, Asked},
    teams,
    violations::Violations,
    wire,
};
use crate::{
    change::{Change, Done},
    store::{
        StoreError, Txn,
        mcp::grants::Ending,
        organisation::{User, UserFilter},
        quotas::Quota,
    },
};

const CHANGEABLE: [&str; 8] =
    ["name", "email", "display_name", "team", "disabled", "budgets", "limits", "session_limit"];

#[tonic::async_trait]
impl UserService for Admin {
    async fn create_user(&self, request: Request<v1::CreateUserRequest>) -> Result<Response<v1::User>, Status> {
        let (by, message) = Authorized::take(request)?;
        let user = self.user_create(&by, message.user.unwrap_or_default()).await?;
        Ok(Response::new(written(&user)))
    }

    async fn get_user(&self, request: Request<v1::GetUserRequest>) -> Result<Response<v1::User>, Status> {
        let (by, message) = Authorized::take(request)?;
        let mut txn = self.store.begin_read().await.map_err(Failure::from)?;
        let user = find(&mut txn, &by, &message.user).await?;
        Ok(Response::new(written(&user)))
    }

    async fn list_users(
        &self,
        request: Request<v1::ListUsersRequest>,
    ) -> Result<Response<v1::ListUsersResponse>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.user_list(&by, message).await?))
    }

    async fn update_user(&self, request: Request<v1::UpdateUserRequest>) -> Result<Response<v1::User>, Status> {
        let (by, message) = Authorized::take(request)?;
        let user = self.user_update(&by, message).await?;
        Ok(Response::new(written(&user)))
    }

    async fn delete_user(&self, request: Request<v1::DeleteUserRequest>) -> Result<Response<()>, Status> {
        let (by, message) = Authorized::take(request)?;
        self.user_delete(&by, &message.user, &message.etag).await?;
        Ok(Response::new(()))
    }
}

impl Admin {
    async fn user_create(&self, by: &Authorized, wire: v1::User) -> Result<User, Failure> {
        let v1::User {
            id,
            name,
            email,
            display_name,
            team,
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
        let mut change = Change::begin(&self.store, by).await?;
        let name = wire::name(&name, &mut violations);
        let display_name = wire::display_name(&display_name, &mut violations);
        let email = read_email(&email, &mut violations);
        let team = member_of(&mut change.txn, by, &team, &mut violations).await?;
        let asked = Asked::new(&budgets, &limits, session_limit.as_ref());
        let quota = asked.read(&mut change, &Quota::default(), &mut violations).await?;
        let (name, display_name) = violations.finish(wire::both((name, display_name)))?;
        let id = wire::new_id(UserId::from_ulid)?;
        let user = User { id, name, email, display_name, team, disabled, quota, stamp: change.created() };
        ensure_free(&mut change.txn, &user).await?;
        change.txn.user_insert(&user).await?;
        let target = target(&user);
        change.finish(Done { target: &target, after: Some(fields_of(&user)), ..Done::default() }).await?;
        Ok(user)
    }

    async fn user_list(
        &self,
        by: &Authorized,
        message: v1::ListUsersRequest,
    ) -> Result<v1::ListUsersResponse, Failure> {
        let v1::ListUsersRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("users", &filter, page_size, &page_token, &mut violations);
        let after = page.created_after(&mut violations);
        let mut terms = Filter::read(&filter, &["name", "email", "team", "disabled"], &mut violations);
        let mut txn = self.store.begin_read().await?;
        let team = match terms.text("team") {
            Some(named) => {
                let team = txn.team_find(&named).await?.filter(|found| by.reaches(&teams::place(found)));
                let team = team.ok_or("names a team that does not exist");
                violations.take("filter", team).map(|team| team.id)
            }
            None => None,
        };
        let (name, email) = (terms.text_match("name"), terms.text("email"));
        let disabled = terms.flag("disabled", &mut violations);
        let filter = violations.finish(Some(UserFilter { name, email, team, disabled, reach: by.reach() }))?;
        let rows = txn.user_list(&filter, after.as_ref(), page.limit()).await?;
        txn.end().await?;
        let (users, next_page_token) = page.write_created(&rows, written, |row| (row.stamp, row.id.as_str()));
        Ok(v1::ListUsersResponse { users, next_page_token })
    }

    async fn user_update(&self, by: &Authorized, message: v1::UpdateUserRequest) -> Result<User, Failure> {
        let wire = message.user.unwrap_or_default();
        let mut violations = Violations::default();
        let mask = Mask::read(message.update_mask.as_ref(), &CHANGEABLE, &mut violations);
        let named = wire::named(UserId::NOUN, &wire.id, &wire.name, &mask, &mut violations);
        let name = mask.of("name", || wire::name(&wire.name, &mut violations));
        let display_name = mask.of("display_name", || wire::display_name(&wire.display_name, &mut violations));
        let email = mask.of("email", || Some(read_email(&wire.email, &mut violations)));
        let mut change = Change::begin(&self.store, by).await?;
        let team = if mask.has("team") {
            Some(member_of(&mut change.txn, by, &wire.team, &mut violations).await?)
        } else {
            None
        };
        let old = match &named {
            Some(named) => find(&mut change.txn, by, named).await?,
            None => return violations.finish(None),
        };
        wire::ensure_fresh(UserId::NOUN, &old.name, &wire.etag, &old.stamp)?;
        let place = change.txn.place_of_user(&old.id, old.team.as_ref()).await?;
        if by.is_mere_owner(&place) && CHANGEABLE.iter().any(|field| *field != "display_name" && mask.has(field)) {
            return Err(Failure::Denied("of their own user people may change the display name alone".into()));
        }
        let asked = Asked::new(&wire.budgets, &wire.limits, wire.session_limit.as_ref()).masked(&mask);
        let quota = asked.read(&mut change, &old.quota, &mut violations).await?;
        let quota = violations.finish(Some(quota))?;
        let new = User {
            name: name.unwrap_or_else(|| old.name.clone()),
            email: email.unwrap_or_else(|| old.email.clone()),
            display_name: display_name.unwrap_or_else(|| old.display_name.clone()),
            team: team.unwrap_or_else(|| old.team.clone()),
            disabled: mask.of("disabled", || Some(wire.disabled)).unwrap_or(old.disabled),
            quota,
            ..old.clone()
        };
        if new == old {
            return Ok(old);
        }
        ensure_free(&mut change.txn, &new).await?;
        let administered = administrators::count(&mut change).await?;
        let new = User { stamp: change.updated(old.stamp), ..new };
        change.txn.user_update(&new).await?;
        let mut ended = Vec::new();
        if new.disabled && !old.disabled {
            change.txn.session_end_all(&new.id, change.revision).await?;
            ended = self.fleet.mcp().end(&mut change.txn, Ending::User(&new.id), change.revision).await?;
            administrators::ensure_left(&mut change, administered).await?;
        }
        let (before, after) = (Some(fields_of(&old)), Some(fields_of(&new)));
        change.finish(Done { target: &target(&new), before, after, ..Done::default() }).await?;
        self.fleet.mcp().tell(ended);
        Ok(new)
    }

    async fn user_delete(&self, by: &Authorized, named: &str, etag: &str) -> Result<(), Failure> {
        let mut change = Change::begin(&self.store, by).await?;
        let user = find(&mut change.txn, by, named).await?;
        wire::ensure_fresh(UserId::NOUN, &user.name, etag, &user.stamp)?;
        let target = target(&user);
        let keys = change.txn.user_keys(&user.id).await?;
        if keys > 0 {
            let keys = wire::count(keys, "key");
            let sentence =
                format!("user '{}' still has {keys}: delete them, or give them another user, first", user.name);
            return Err(Failure::Blocked { subject: target, sentence });
        }
        let administered = administrators::count(&mut change).await?;
        let ended = self.fleet.mcp().end(&mut change.txn, Ending::User(&user.id), change.revision).await?;
        change.txn.user_delete(&user.id, change.revision).await?;
        administrators::ensure_left(&mut change, administered).await?;
        change.finish(Done { target: &target, before: Some(fields_of(&user)), ..Done::default() }).await?;
        self.fleet.mcp().tell(ended);
        Ok(())
    }
}

/// The user with this id or name. One out of the caller's reach is not found.
pub(super) async fn find(txn: &mut Txn, by: &Authorized, named: &str) -> Result<User, Failure> {
    let missing = || Failure::NotFound { kind: UserId::NOUN, name: wire::shown(named) };
    let user = txn.user_find(named).await?.ok_or_else(missing)?;
    let place = txn.place_of_user(&user.id, user.team.as_ref()).await?;
    if by.reaches(&place) { Ok(user) } else { Err(missing()) }
}

// Without a team a user belongs to the whole, and so to those who administer all of it.
async fn member_of(
    txn: &mut Txn,
    by: &Authorized,
    named: &str,
    violations: &mut Violations,
) -> Result<Option<TeamId>, StoreError> {
    if !named.is_empty() {
        return teams::referred(txn, by, named, violations).await;
    }
    if !by.reaches(&Place::default()) {
        violations.add("team", "is required: name a team in which you may manage users");
    }
    Ok(None)
}

async fn ensure_free(txn: &mut Txn, user: &User) -> Result<(), Failure> {
    match txn.user_find(user.name.as_str()).await? {
        Some(other) if other.id != user.id => return Err(wire::taken(UserId::NOUN, &user.name)),
        _ => {}
    }
    let Some(email) = &user.email else { return Ok(()) };
    match txn.user_find_email(email).await? {
        Some(other) if other.id != user.id => {
            Err(Failure::Exists { kind: UserId::NOUN, field: "email", value: email.clone() })
        }
        _ => Ok(()),
    }
}

// Empty: none.
fn read_email(text: &str, violations: &mut Violations) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    if !wire::is_address(text) {
        violations.add("email", "is not an e-mail address");
        return None;
    }
    Some(text.to_owned())
}

fn target(user: &User) -> String {
    format!("{}/{}", UserId::NOUN, user.id)
}

fn fields_of(user: &User) -> Fields {
    let User { id: _, name, email, display_name, team, disabled, quota, stamp: _ } = user;
    let fields = wire::fields([
        ("name", json!(name.as_str())),
        ("email", json!(email)),
        ("display_name", json!(display_name)),
        ("team", json!(team.as_ref().map(TeamId::as_str))),
        ("disabled", json!(disabled)),
    ]);
    quotas::with_fields(quota, fields)
}

fn written(user: &User) -> v1::User {
    let User { id, name, email, display_name, team, disabled, quota, stamp } = user;
    let (budgets, limits, session_limit) = quotas::written(quota);
    v1::User {
        id: id.to_string(),
        name: name.to_string(),
        email: email.clone().unwrap_or_default(),
        display_name: display_name.clone(),
        team: team.as_ref().map(TeamId::to_string).unwrap_or_default(),
        disabled: *disabled,
        etag: wire::etag(stamp),
        create_time: Some(wire::timestamp(stamp.create_time)),
        update_time: Some(wire::timestamp(stamp.update_time)),
        budgets,
        limits,
        session_limit,
    }
}
