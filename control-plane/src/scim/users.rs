//! Users.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Extension,
    body::Bytes,
    extract::{Path, Query as Parameters, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use serde_json::Value;
use tollgate_policy::id::UserId;
use tollgate_scim::{Object, Problem, filter::Filter, patch, resource, schema::USERS};

use super::{
    Scim,
    admission::Caller,
    person::{self, Wanted},
    query::{self, LOOK, LOOKS_MAX, Query},
    reply::{self, Refusal},
};
use crate::{
    change::{Change, Done},
    mcp_oauth::ending::Ended,
    store::{
        StoreError, Txn,
        mcp::grants::Ending,
        organisation::{Stamp, User},
        quotas::Quota,
        scim::{Narrow, Provisioned},
    },
};

type Handled = Result<Response, Refusal>;
type Shared = State<Arc<Scim>>;
type Sent = Result<Bytes, BytesRejection>;
type Asked = Parameters<HashMap<String, String>>;

pub(super) async fn list(State(scim): Shared, Extension(caller): Extension<Caller>, asked: Asked) -> Handled {
    scim.users(&caller, &Query::of_address(&asked)?).await
}

pub(super) async fn search(
    State(scim): Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    sent: Sent,
) -> Handled {
    scim.users(&caller, &Query::of_body(&reply::object(&headers, sent)?)?).await
}

pub(super) async fn one(
    State(scim): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    asked: Asked,
    headers: HeaderMap,
) -> Handled {
    let query = Query::of_address(&asked)?;
    let mut txn = scim.store.begin_read().await?;
    let user = find(&mut txn, &id).await?;
    if reply::is_known(&headers, &user.stamp) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let body = written(&mut txn, &user, &caller, &query).await?;
    txn.end().await?;
    Ok(reply::resource(StatusCode::OK, body))
}

pub(super) async fn create(
    State(scim): Shared,
    Extension(caller): Extension<Caller>,
    asked: Asked,
    headers: HeaderMap,
    sent: Sent,
) -> Handled {
    let query = Query::of_address(&asked)?;
    let wanted = Wanted::read(resource::canonical(reply::object(&headers, sent)?, &USERS)?)?;
    let mut change = Change::begin(&scim.store, &caller.by).await?;
    let user = scim.user_create(&mut change, &wanted).await?;
    let ended = scim.deprovisioned(&mut change, &user).await?;
    let body = written(&mut change.txn, &user, &caller, &query).await?;
    let after = Some(person::fields(&user, &wanted.user_name));
    change.finish(Done { target: &target(&user), after, ..Done::default() }).await?;
    scim.mcp.tell(ended);
    Ok(reply::resource(StatusCode::CREATED, body))
}

pub(super) async fn replace(
    State(scim): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    asked: Asked,
    headers: HeaderMap,
    sent: Sent,
) -> Handled {
    let query = Query::of_address(&asked)?;
    let sent = resource::canonical(reply::object(&headers, sent)?, &USERS)?;
    scim.user_change(&caller, &id, &headers, &query, |_| Ok(sent)).await
}

pub(super) async fn patch(
    State(scim): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    asked: Asked,
    headers: HeaderMap,
    sent: Sent,
) -> Handled {
    let query = Query::of_address(&asked)?;
    let operations = patch::parse(&reply::object(&headers, sent)?)?;
    let apply = |mut given: Object| {
        patch::apply(&mut given, operations, &USERS)?;
        // Who is no longer said to be active is not.
        given.entry("active").or_insert(Value::Null);
        Ok(given)
    };
    scim.user_change(&caller, &id, &headers, &query, apply).await
}

// A user whose keys usage refers to stays, disabled, without an e-mail address that somebody else may get.
pub(super) async fn delete(
    State(scim): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Handled {
    let mut change = Change::begin(&scim.store, &caller.by).await?;
    let user = find(&mut change.txn, &id).await?;
    reply::ensure_fresh(&headers, &user.stamp)?;
    let before = Some(person::fields(&user, &user_name(&user)?));
    let ended = scim.mcp.end(&mut change.txn, Ending::User(&user.id), change.revision).await?;
    let after = if change.txn.user_keys(&user.id).await? > 0 {
        let gone = Provisioned { email: None, disabled: true, stamp: change.updated(user.stamp), ..user.clone() };
        change.txn.scim_user_apply(&gone).await?;
        change.txn.scim_user_forget(&gone.id).await?;
        Some(person::fields(&gone, ""))
    } else {
        change.txn.user_delete(&user.id, change.revision).await?;
        None
    };
    change.finish(Done { target: &target(&user), before, after, ..Done::default() }).await?;
    scim.mcp.tell(ended);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// How many users match, and those on the page.
pub(super) async fn found(txn: &mut Txn, base: &str, query: &Query) -> Result<(usize, Vec<Value>), Refusal> {
    let Query { filter, page, projection } = query;
    let (total, users) = match filter {
        None => {
            let total = txn.scim_user_count().await?;
            (total, txn.scim_user_list(&Narrow::default(), None, page.skip, page.size).await?)
        }
        Some(filter) => matching(txn, base, filter, query).await?,
    };
    let ids: Vec<_> = users.iter().map(|user| user.id.to_string()).collect();
    let groups = if projection.includes("groups") { txn.scim_groups_of(&ids).await? } else { Vec::new() };
    let mut groups = groups
        .chunk_by(|one, other| one.user == other.user)
        .map(|of| (of.first().map(|one| one.user.as_str()), of))
        .collect::<HashMap<_, _>>();
    let mut found = Vec::with_capacity(users.len());
    for user in &users {
        let own = groups.remove(&Some(user.id.as_str())).unwrap_or_default();
        found.push(Value::Object(projection.of(person::document(user, own, base)?)));
    }
    Ok((total, found))
}

// Only the users on the page are kept, however many match.
async fn matching(
    txn: &mut Txn,
    base: &str,
    filter: &Filter,
    query: &Query,
) -> Result<(usize, Vec<Provisioned>), Refusal> {
    let narrow = narrow(filter);
    let (mut total, mut looked, mut kept, mut after) = (0, 0, Vec::new(), None);
    loop {
        let users = txn.scim_user_list(&narrow, after.as_ref(), 0, LOOK).await?;
        looked += users.len();
        if looked > LOOKS_MAX {
            return Err(query::too_many());
        }
        let more = users.len() == LOOK;
        after = users.last().map(Provisioned::position);
        let ids: Vec<_> = users.iter().map(|user| user.id.to_string()).collect();
        let groups = if filter.mentions("groups") > 0 { txn.scim_groups_of(&ids).await? } else { Vec::new() };
        for user in users {
            let own: Vec<_> = groups.iter().filter(|belongs| belongs.user == user.id.as_str()).cloned().collect();
            if !filter.matches(&person::document(&user, &own, base)?, &USERS) {
                continue;
            }
            if query.page.has(total) {
                kept.push(user);
            }
            total += 1;
        }
        if !more {
            return Ok((total, kept));
        }
    }
}

fn narrow(filter: &Filter) -> Narrow {
    let demanded = |name: &str| filter.demanded(&|path| path.is(name) && path.part.is_none());
    let text = |name: &str| demanded(name).and_then(Value::as_str).map(str::to_owned);
    Narrow {
        id: text("id"),
        user_name: text("userName"),
        external_id: text("externalId"),
        disabled: demanded("active").and_then(Value::as_bool).map(|active| !active),
    }
}

impl Scim {
    async fn users(&self, caller: &Caller, query: &Query) -> Handled {
        let mut txn = self.store.begin_read().await?;
        let (total, found) = found(&mut txn, &caller.base, query).await?;
        txn.end().await?;
        Ok(reply::answer(StatusCode::OK, &query.page.body(total, found)))
    }

    async fn user_create(&self, change: &mut Change<'_>, wanted: &Wanted) -> Result<Provisioned, Refusal> {
        ensure_free(&mut change.txn, wanted, None).await?;
        let (stamp, txn) = (change.created(), &mut change.txn);
        let user = match self.known(txn, wanted).await? {
            Some(user) => {
                ensure_free_address(txn, wanted, Some(user.id.as_str())).await?;
                let stamp = Stamp { created: user.stamp.created, create_time: user.stamp.create_time, ..stamp };
                let user = wanted.apply(provisioned(&user, stamp, user.disabled));
                txn.scim_user_insert(&user, &wanted.user_name).await?;
                txn.scim_user_apply(&user).await?;
                user
            }
            None => {
                ensure_free_address(txn, wanted, None).await?;
                let id = UserId::from_ulid(&ulid::Ulid::generate().to_string());
                let id = id.map_err(|error| StoreError::corrupt("id", error))?;
                let name = person::free_name(txn, &wanted.user_name).await?;
                let (email, display_name) = (wanted.email.clone(), wanted.display_name.clone());
                let disabled = wanted.active == Some(false);
                let user = User { id, name, email, display_name, team: None, disabled, quota: Quota::default(), stamp };
                txn.user_insert(&user).await?;
                let user = wanted.apply(provisioned(&user, stamp, disabled));
                txn.scim_user_insert(&user, &wanted.user_name).await?;
                user
            }
        };
        self.link(txn, &user, "", stamp.update_time).await?;
        Ok(user)
    }

    async fn user_change(
        &self,
        caller: &Caller,
        id: &str,
        headers: &HeaderMap,
        query: &Query,
        make: impl FnOnce(Object) -> Result<Object, Problem>,
    ) -> Handled {
        let mut change = Change::begin(&self.store, &caller.by).await?;
        let old = find(&mut change.txn, id).await?;
        reply::ensure_fresh(headers, &old.stamp)?;
        let wanted = Wanted::read(make(person::given(&old)?)?)?;
        let new = wanted.apply(old.clone());
        if new == old {
            let body = written(&mut change.txn, &old, caller, query).await?;
            change.txn.end().await?;
            return Ok(reply::resource(StatusCode::OK, body));
        }
        ensure_free(&mut change.txn, &wanted, Some(id)).await?;
        ensure_free_address(&mut change.txn, &wanted, Some(id)).await?;
        let new = Provisioned { stamp: change.updated(old.stamp), ..new };
        change.txn.scim_user_update(&new, &wanted.user_name).await?;
        self.link(&mut change.txn, &new, &old.external_id, change.now).await?;
        let ended = self.deprovisioned(&mut change, &new).await?;
        let body = written(&mut change.txn, &new, caller, query).await?;
        let (before, after) = (person::fields(&old, &user_name(&old)?), person::fields(&new, &wanted.user_name));
        change
            .finish(Done { target: &target(&new), before: Some(before), after: Some(after), ..Done::default() })
            .await?;
        self.mcp.tell(ended);
        Ok(reply::resource(StatusCode::OK, body))
    }

    // What somebody who is disabled has permitted elsewhere has ended, as their sessions have.
    async fn deprovisioned(&self, change: &mut Change<'_>, user: &Provisioned) -> Result<Vec<Ended>, StoreError> {
        if !user.disabled {
            return Ok(Vec::new());
        }
        self.mcp.end(&mut change.txn, Ending::User(&user.id), change.revision).await
    }

    // Somebody who signed in before they were provisioned is the same person.
    async fn known(&self, txn: &mut Txn, wanted: &Wanted) -> Result<Option<User>, Refusal> {
        let Some(issuer) = self.settings.issuer.as_deref().filter(|_| !wanted.external_id.is_empty()) else {
            return Ok(None);
        };
        let Some(id) = txn.scim_identity(issuer, &wanted.external_id).await? else { return Ok(None) };
        if txn.scim_user_find(&id).await?.is_some() {
            return Err(taken("externalId", &wanted.external_id));
        }
        Ok(txn.user_find(&id).await?)
    }

    // Whom the issuer means by the external id is this user, and by the former one nobody.
    async fn link(&self, txn: &mut Txn, user: &Provisioned, former: &str, now: i64) -> Result<(), Refusal> {
        let Some(issuer) = self.settings.issuer.as_deref().filter(|_| user.external_id != former) else {
            return Ok(());
        };
        if !former.is_empty() {
            txn.scim_identity_delete(issuer, former, &user.id).await?;
        }
        if user.external_id.is_empty() {
            return Ok(());
        }
        match txn.scim_identity(issuer, &user.external_id).await? {
            Some(other) if other != user.id.as_str() => Err(taken("externalId", &user.external_id)),
            Some(_) => Ok(()),
            None => Ok(txn.scim_identity_insert(issuer, &user.external_id, &user.id, now).await?),
        }
    }
}

async fn find(txn: &mut Txn, id: &str) -> Result<Provisioned, Refusal> {
    txn.scim_user_find(id).await?.ok_or_else(|| Refusal::missing("user", id))
}

async fn written(txn: &mut Txn, user: &Provisioned, caller: &Caller, query: &Query) -> Result<Object, Refusal> {
    let groups = txn.scim_groups_of(&[user.id.to_string()]).await?;
    Ok(query.projection.of(person::document(user, &groups, &caller.base)?))
}

async fn ensure_free(txn: &mut Txn, wanted: &Wanted, own: Option<&str>) -> Result<(), Refusal> {
    match txn.scim_user_named(&wanted.user_name).await? {
        Some(other) if Some(other.as_str()) != own => Err(taken("userName", &wanted.user_name)),
        _ => Ok(()),
    }
}

async fn ensure_free_address(txn: &mut Txn, wanted: &Wanted, own: Option<&str>) -> Result<(), Refusal> {
    let Some(email) = &wanted.email else { return Ok(()) };
    match txn.user_find_email(email).await? {
        Some(other) if Some(other.id.as_str()) != own => Err(taken("emails.value", email)),
        _ => Ok(()),
    }
}

fn taken(attribute: &str, value: &str) -> Refusal {
    Refusal::Problem(Problem::Uniqueness(format!("another user has the {attribute} {value:?}")))
}

fn provisioned(user: &User, stamp: Stamp, disabled: bool) -> Provisioned {
    Provisioned {
        id: user.id.clone(),
        name: user.name.clone(),
        email: user.email.clone(),
        display_name: user.display_name.clone(),
        disabled,
        stamp,
        external_id: String::new(),
        attributes: String::new(),
    }
}

fn user_name(user: &Provisioned) -> Result<String, StoreError> {
    Ok(resource::text(&person::given(user)?, "userName").unwrap_or_default().to_owned())
}

fn target(user: &Provisioned) -> String {
    format!("{}/{}", UserId::NOUN, user.id)
}
