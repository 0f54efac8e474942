//! The parameters of a list, in the address or in the body of a search, and the search over everything.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Extension,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde_json::Value;
use tollgate_scim::{
    Object, Problem,
    filter::{self, Filter},
    list::Page,
    path::get,
    projection::Projection,
};

use super::{
    Scim,
    admission::Caller,
    groups,
    reply::{self, Refusal},
    users,
};

/// The most resources that a filter looks at: about a second.
pub(super) const LOOKS_MAX: usize = 100_000;
/// Resources that are looked at in one go.
pub(super) const LOOK: usize = 1_000;

/// What a client asks for.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) filter: Option<Filter>,
    pub(super) page: Page,
    pub(super) projection: Projection,
}

impl Query {
    /// Reads the parameters of an address.
    pub(super) fn of_address(parameters: &HashMap<String, String>) -> Result<Self, Refusal> {
        Self::read(&|name| {
            parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, text)| text.clone())
        })
    }

    /// Reads the body of a search: RFC 7644, 3.4.3.
    pub(super) fn of_body(body: &Object) -> Result<Self, Refusal> {
        Self::read(&|name| match get(body, name)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            Value::Array(names) => Some(names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")),
            other => Some(other.to_string()),
        })
    }

    fn read(parameter: &dyn Fn(&str) -> Option<String>) -> Result<Self, Refusal> {
        let number = |name: &str| match parameter(name) {
            Some(text) => match text.trim().parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(Problem::InvalidValue(format!("{name} must be a number"))),
            },
            None => Ok(None),
        };
        let filter = parameter("filter").filter(|text| !text.trim().is_empty());
        let (only, without) = (parameter("attributes"), parameter("excludedAttributes"));
        Ok(Self {
            filter: filter.map(|text| filter::parse(&text)).transpose()?,
            page: Page::new(number("startIndex")?, number("count")?),
            projection: Projection::parse(only.as_deref(), without.as_deref())?,
        })
    }
}

/// The refusal of a filter that would look at too much.
pub(super) fn too_many() -> Refusal {
    Refusal::Problem(Problem::TooMany(format!(
        "the filter would look at more than {LOOKS_MAX} resources: compare id, userName, displayName or externalId by eq"
    )))
}

/// Searches users and groups.
pub(super) async fn search(
    State(scim): State<Arc<Scim>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let mut query = Query::of_body(&reply::object(&headers, body)?)?;
    let page = query.page;
    let mut txn = scim.store.begin_read().await?;
    let (people, mut found) = users::found(&mut txn, &caller.base, &query).await?;
    query.page = Page { skip: page.skip.saturating_sub(people), size: page.size - found.len() };
    let (teams, more) = groups::found(&mut txn, &caller.base, &query).await?;
    txn.end().await?;
    found.extend(more);
    Ok(reply::answer(StatusCode::OK, &page.body(people + teams, found)))
}
