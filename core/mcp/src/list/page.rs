//! Writes a page of a list, of what one or several servers offer.

use std::ops::Range;

use crate::{
    failure::result_type,
    json::{Json, push_text},
    list::{Definition, Kind},
    name::{InvalidName, ServerName},
    revision::Revision,
};

/// A definition that is offered.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Of which server it is; none where the list is of one server alone, and names are as they are.
    pub server: Option<&'a ServerName>,
    /// As its server wrote it.
    pub definition: &'a Definition,
}

/// For how long and by whom a result of 2026-07-28 may be kept (Caching).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Caching {
    /// In milliseconds.
    pub ttl_ms: u64,
    /// By whom.
    pub scope: Scope,
}

/// Who may keep a result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Whoever sees it pass, for everybody.
    Public,
    /// Only for the caller. What policy filters is this.
    Private,
}

/// A page that was written.
#[derive(Clone, Debug)]
pub struct Page {
    /// The result.
    pub result: Json<'static>,
    /// What is not in it, since its name cannot stand beside those of other servers.
    pub omitted: Vec<Omitted>,
}

/// A definition that cannot be offered beside those of other servers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Omitted {
    /// Of which server it is.
    pub server: ServerName,
    /// By which name its server knows it.
    pub name: String,
    /// Why.
    pub why: InvalidName,
}

/// Writes a page. Of each definition only the name is another, where it has a server; every other byte is the server's.
#[must_use]
pub fn page<'a>(
    kind: Kind,
    revision: Revision,
    offers: impl IntoIterator<Item = Offer<'a>>,
    next_cursor: Option<&str>,
    caching: Caching,
) -> Page {
    let (mut list, mut omitted) = (String::from("["), Vec::new());
    for Offer { server, definition } in offers {
        let name = server.map(|server| (server, kind.join(server, definition.name()))).map(|(server, joined)| {
            joined.map_err(|why| Omitted { server: server.clone(), name: definition.name().to_owned(), why })
        });
        match name.transpose() {
            Ok(name) => {
                if list.len() > 1 {
                    list.push(',');
                }
                push_definition(definition, name.as_deref(), &mut list);
            }
            Err(why) => omitted.push(why),
        }
    }
    list.push(']');
    let list = Some((kind.member(), Json::written(list)));
    let cursor = next_cursor.map(|cursor| ("nextCursor", Json::text(cursor)));
    let members = result_type(revision).into_iter().chain(list).chain(cursor).chain(caching.members(revision));
    Page { result: Json::object(members), omitted }
}

fn push_definition(definition: &Definition, name: Option<&str>, out: &mut String) {
    let json = &*definition.json;
    let parts = name.and_then(|name| {
        let Range { start, end } = definition.place.clone();
        Some((json.get(..start)?, name, json.get(end..)?))
    });
    match parts {
        Some((before, name, behind)) => {
            out.push_str(before);
            push_text(name, out);
            out.push_str(behind);
        }
        None => out.push_str(json),
    }
}

// === impl Caching ===

impl Caching {
    /// Not to be kept at all.
    pub const NONE: Self = Self { ttl_ms: 0, scope: Scope::Private };

    /// The members of a result, in a revision that has them.
    pub(crate) fn members(self, revision: Revision) -> impl Iterator<Item = (&'static str, Json<'static>)> {
        let scope = match self.scope {
            Scope::Public => "public",
            Scope::Private => "private",
        };
        let members = [("ttlMs", Json::of(&self.ttl_ms)), ("cacheScope", Json::text(scope))];
        revision.is_stateless().then_some(members).into_iter().flatten()
    }
}
