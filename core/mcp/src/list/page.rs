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
    let offers: Vec<Offer<'a>> = offers.into_iter().collect();
    let length = |offer: &Offer<'_>| offer.definition.json.len() + NAME_BYTES_MORE;
    // All in one piece: a list may have megabytes.
    let mut out =
        String::with_capacity(offers.iter().map(length).sum::<usize>() + next_cursor.map_or(0, str::len) + 128);
    out.push('{');
    if let Some((name, value)) = result_type(revision) {
        push_member(name, &value, &mut out);
        out.push(',');
    }
    push_text(kind.member(), &mut out);
    out.push_str(":[");
    let omitted = push_list(kind, &offers, &mut out);
    out.push(']');
    let cursor = next_cursor.map(|cursor| ("nextCursor", Json::text(cursor)));
    for (name, value) in cursor.into_iter().chain(caching.members(revision)) {
        out.push(',');
        push_member(name, &value, &mut out);
    }
    out.push('}');
    Page { result: Json::written(out), omitted }
}

/// Writes the definitions that can be offered, and tells the others.
fn push_list(kind: Kind, offers: &[Offer<'_>], out: &mut String) -> Vec<Omitted> {
    let (mut is_first, mut omitted) = (true, Vec::new());
    for Offer { server, definition } in offers {
        let name = server.map(|server| kind.join(server, definition.name()).map_err(|why| (server, why)));
        let name = match name.transpose() {
            Ok(name) => name,
            Err((server, why)) => {
                omitted.push(Omitted { server: server.clone(), name: definition.name().to_owned(), why });
                continue;
            }
        };
        out.push_str(if std::mem::take(&mut is_first) { "" } else { "," });
        push_definition(definition, name.as_deref(), out);
    }
    omitted
}

fn push_member(name: &str, value: &Json<'_>, out: &mut String) {
    push_text(name, out);
    out.push(':');
    out.push_str(value.as_str());
}

/// By so many bytes a definition grows at most: a comma and the name of a server, where nothing in the name becomes longer by escapes.
const NAME_BYTES_MORE: usize = 40;

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
