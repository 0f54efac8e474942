//! Groups.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use axum::{
    Extension,
    body::Bytes,
    extract::{Path, Query as Parameters, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use tollgate_audit::Fields;
use tollgate_scim::{
    Object, Problem,
    filter::Filter,
    members::{self, Edit},
    patch,
    path::get,
    resource::{self, text},
    schema::GROUPS,
};

use super::{
    Scim,
    admission::Caller,
    query::{self, LOOK, LOOKS_MAX, Query},
    reply::{self, Refusal},
};
use crate::{
    api::wire,
    change::{Change, Done},
    store::{
        Txn,
        scim::groups::{Group, Narrow},
    },
};

/// The most members of one group.
const MEMBERS_MAX: usize = 20_000;
/// The longest name of a group, in characters.
const NAME_MAX: usize = 200;
/// The longest external id, in bytes.
const ID_BYTES_MAX: usize = 256;

type Handled = Result<Response, Refusal>;
type Shared = State<Arc<Scim>>;
type Sent = Result<Bytes, BytesRejection>;
type Asked = Parameters<HashMap<String, String>>;

pub(super) async fn list(State(scim): Shared, Extension(caller): Extension<Caller>, asked: Asked) -> Handled {
    scim.groups(&caller, &Query::of_address(&asked)?).await
}

pub(super) async fn search(
    State(scim): Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    sent: Sent,
) -> Handled {
    scim.groups(&caller, &Query::of_body(&reply::object(&headers, sent)?)?).await
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
    let group = find(&mut txn, &id).await?;
    if reply::is_known(&headers, &group.stamp) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let body = written(&mut txn, &group, &caller.base, &query).await?;
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
    let mut sent = resource::canonical(reply::object(&headers, sent)?, &GROUPS)?;
    let ids = members::taken(&mut sent)?;
    let mut change = Change::begin(&scim.store, &caller.by).await?;
    let id = format!("group-{}", ulid::Ulid::generate().to_string().to_lowercase());
    let stamp = change.created();
    let group = named(Group { id, name: String::new(), external_id: String::new(), stamp }, &sent)?;
    ensure_free(&mut change.txn, &group).await?;
    change.txn.scim_group_insert(&group).await?;
    edit(&mut change.txn, &group.name, &[Edit::Add(ids)]).await?;
    let body = written(&mut change.txn, &group, &caller.base, &query).await?;
    let after = Some(fields(&mut change.txn, &group).await?);
    change.finish(Done { target: &target(&group), after, ..Done::default() }).await?;
    Ok(reply::resource(StatusCode::CREATED, body))
}

// A group that is sent whole but says nothing of its members keeps them; an empty list takes them all out.
pub(super) async fn replace(
    State(scim): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    asked: Asked,
    headers: HeaderMap,
    sent: Sent,
) -> Handled {
    let query = Query::of_address(&asked)?;
    let sent = reply::object(&headers, sent)?;
    let members = get(&sent, "members").map(members::ids).transpose()?;
    let sent = resource::canonical(sent, &GROUPS)?;
    let edits: Vec<_> = members.map(Edit::Replace).into_iter().collect();
    scim.group_change(&caller, &id, &headers, &query, &edits, |_| Ok(sent)).await
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
    let (edits, operations) = members::edits(patch::parse(&reply::object(&headers, sent)?)?)?;
    let apply = |mut given: Object| {
        patch::apply(&mut given, operations, &GROUPS)?;
        Ok(given)
    };
    scim.group_change(&caller, &id, &headers, &query, &edits, apply).await
}

pub(super) async fn delete(
    State(scim): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Handled {
    let mut change = Change::begin(&scim.store, &caller.by).await?;
    let group = find(&mut change.txn, &id).await?;
    reply::ensure_fresh(&headers, &group.stamp)?;
    let before = Some(fields(&mut change.txn, &group).await?);
    change.txn.scim_group_delete(&group).await?;
    change.finish(Done { target: &target(&group), before, ..Done::default() }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// How many groups match, and those on the page.
pub(super) async fn found(txn: &mut Txn, base: &str, query: &Query) -> Result<(usize, Vec<Value>), Refusal> {
    let (total, groups) = match &query.filter {
        None => {
            let total = txn.scim_group_count().await?;
            (total, txn.scim_group_list(&Narrow::default(), None, query.page.skip, query.page.size).await?)
        }
        Some(filter) => matching(txn, base, filter, query).await?,
    };
    let mut found = Vec::with_capacity(groups.len());
    for group in &groups {
        found.push(Value::Object(written(txn, group, base, query).await?));
    }
    Ok((total, found))
}

// Only the groups on the page are kept. Members are not read: the database finds the groups of the one that is compared with.
async fn matching(txn: &mut Txn, base: &str, filter: &Filter, query: &Query) -> Result<(usize, Vec<Group>), Refusal> {
    let narrow = narrow(filter);
    if filter.mentions("members") > usize::from(narrow.member.is_some()) {
        let text = "members can be compared once, by eq, and joined to the rest by and";
        return Err(Problem::InvalidFilter(text.into()).into());
    }
    let member: Vec<_> = narrow.member.iter().cloned().collect();
    let (mut total, mut looked, mut kept, mut after) = (0, 0, Vec::new(), None);
    loop {
        let groups = txn.scim_group_list(&narrow, after.as_ref(), 0, LOOK).await?;
        looked += groups.len();
        if looked > LOOKS_MAX {
            return Err(query::too_many());
        }
        let more = groups.len() == LOOK;
        after = groups.last().map(Group::position);
        for group in groups {
            if !filter.matches(&document(&group, &member, base), &GROUPS) {
                continue;
            }
            if query.page.has(total) {
                kept.push(group);
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
    let member = filter.demanded(&|path| path.is_part("members", "value")).and_then(Value::as_str).map(str::to_owned);
    Narrow {
        id: text("id"),
        name: text("displayName"),
        external_id: text("externalId"),
        member: member.or_else(|| text("members")),
    }
}

impl Scim {
    async fn groups(&self, caller: &Caller, query: &Query) -> Handled {
        let mut txn = self.store.begin_read().await?;
        let (total, found) = found(&mut txn, &caller.base, query).await?;
        txn.end().await?;
        Ok(reply::answer(StatusCode::OK, &query.page.body(total, found)))
    }

    async fn group_change(
        &self,
        caller: &Caller,
        id: &str,
        headers: &HeaderMap,
        query: &Query,
        edits: &[Edit],
        make: impl FnOnce(Object) -> Result<Object, Problem>,
    ) -> Handled {
        let mut change = Change::begin(&self.store, &caller.by).await?;
        let old = find(&mut change.txn, id).await?;
        reply::ensure_fresh(headers, &old.stamp)?;
        let new = named(old.clone(), &make(given(&old))?)?;
        let before = fields(&mut change.txn, &old).await?;
        let edited = edit(&mut change.txn, &old.name, edits).await?;
        if new == old && !edited {
            let body = written(&mut change.txn, &old, &caller.base, query).await?;
            change.txn.end().await?;
            return Ok(reply::resource(StatusCode::OK, body));
        }
        ensure_free(&mut change.txn, &new).await?;
        let new = Group { stamp: change.updated(old.stamp), ..new };
        change.txn.scim_group_update(&old, &new).await?;
        let body = written(&mut change.txn, &new, &caller.base, query).await?;
        let after = fields(&mut change.txn, &new).await?;
        change
            .finish(Done { target: &target(&new), before: Some(before), after: Some(after), ..Done::default() })
            .await?;
        Ok(reply::resource(StatusCode::OK, body))
    }
}

// Edits the members, and says whether that changed anything.
async fn edit(txn: &mut Txn, group: &str, edits: &[Edit]) -> Result<bool, Refusal> {
    let mut changed = false;
    for edit in edits {
        changed |= match edit {
            Edit::Add(ids) => add(txn, group, ids).await?,
            Edit::Remove(ids) => txn.scim_members_remove(group, ids).await? > 0,
            Edit::Replace(ids) => {
                let own = txn.scim_members(group).await?;
                let wanted: HashSet<&String> = ids.iter().collect();
                let gone: Vec<_> = own.into_iter().filter(|id| !wanted.contains(id)).collect();
                let removed = txn.scim_members_remove(group, &gone).await? > 0;
                add(txn, group, ids).await? || removed
            }
        };
    }
    if txn.scim_members_count(group).await? > MEMBERS_MAX {
        return Err(Problem::InvalidValue(format!("a group may have {MEMBERS_MAX} members")).into());
    }
    Ok(changed)
}

async fn add(txn: &mut Txn, group: &str, ids: &[String]) -> Result<bool, Refusal> {
    let (known, added) = txn.scim_members_add(group, ids).await?;
    if known < ids.len() {
        let text = format!("{} of {} members are not users who were provisioned here", ids.len() - known, ids.len());
        return Err(Problem::InvalidValue(text).into());
    }
    Ok(added > 0)
}

async fn find(txn: &mut Txn, id: &str) -> Result<Group, Refusal> {
    txn.scim_group_find(id).await?.ok_or_else(|| Refusal::missing("group", id))
}

async fn written(txn: &mut Txn, group: &Group, base: &str, query: &Query) -> Result<Object, Refusal> {
    let members = if query.projection.includes("members") { txn.scim_members(&group.name).await? } else { Vec::new() };
    Ok(query.projection.of(document(group, &members, base)))
}

async fn ensure_free(txn: &mut Txn, group: &Group) -> Result<(), Refusal> {
    match txn.scim_group_named(&group.name).await? {
        Some(other) if other != group.id => {
            Err(Problem::Uniqueness(format!("another group has the displayName {:?}", group.name)).into())
        }
        _ => Ok(()),
    }
}

async fn fields(txn: &mut Txn, group: &Group) -> Result<Fields, Refusal> {
    let members = txn.scim_members_count(&group.name).await?;
    let Group { id: _, name, external_id, stamp: _ } = group;
    Ok(wire::fields([("name", json!(name)), ("external_id", json!(external_id)), ("members", json!(members))]))
}

// What a canonical resource makes of a group, its members aside.
fn named(group: Group, resource: &Object) -> Result<Group, Problem> {
    resource::ensure_complete(resource, &GROUPS)?;
    let of = |name: &str| text(resource, name).unwrap_or_default().to_owned();
    let (name, external_id) = (of("displayName"), of("externalId"));
    if name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(Problem::InvalidValue(format!(
            "displayName may have {NAME_MAX} characters, no control characters"
        )));
    }
    if external_id.len() > ID_BYTES_MAX || external_id.chars().any(char::is_control) {
        return Err(Problem::InvalidValue(format!("externalId may have {ID_BYTES_MAX} bytes, no control characters")));
    }
    Ok(Group { name, external_id, ..group })
}

fn given(group: &Group) -> Object {
    let mut given = Object::from_iter([("displayName".to_owned(), group.name.as_str().into())]);
    if !group.external_id.is_empty() {
        given.insert("externalId".into(), group.external_id.as_str().into());
    }
    given
}

fn document(group: &Group, members: &[String], base: &str) -> Object {
    let member = |id: &String| json!({"value": id, "$ref": format!("{base}/Users/{id}"), "type": "User"});
    let mut resource = given(group);
    if !members.is_empty() {
        resource.insert("members".into(), members.iter().map(member).collect());
    }
    resource.insert("schemas".into(), json!([GROUPS.schema.uri]));
    resource.insert("id".into(), group.id.as_str().into());
    let location = format!("{base}/Groups/{}", group.id);
    resource.insert("meta".into(), reply::meta(GROUPS.name, location, &group.stamp));
    resource
}

fn target(group: &Group) -> String {
    format!("group/{}", group.id)
}
