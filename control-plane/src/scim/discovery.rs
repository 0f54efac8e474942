//! What there is: RFC 7644, 4.

use std::collections::HashMap;

use axum::{
    Extension,
    extract::{Path, Query},
    http::StatusCode,
    response::Response,
};
use serde_json::Value;
use tollgate_scim::{
    list::{PAGE_MAX, Page},
    schema::{self, KINDS, SCHEMAS},
};

use super::{
    admission::Caller,
    reply::{Refusal, answer},
};

pub(super) async fn service_provider(Extension(caller): Extension<Caller>) -> Response {
    answer(StatusCode::OK, &schema::service_provider(&caller.base, PAGE_MAX))
}

pub(super) async fn kinds(
    Extension(caller): Extension<Caller>,
    Query(parameters): Query<HashMap<String, String>>,
) -> Result<Response, Refusal> {
    all(&parameters, KINDS.iter().map(|kind| kind.body(&caller.base)).collect())
}

pub(super) async fn kind(Extension(caller): Extension<Caller>, Path(name): Path<String>) -> Result<Response, Refusal> {
    let kind = KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| Refusal::missing("resource type", &name))?;
    Ok(answer(StatusCode::OK, &kind.body(&caller.base)))
}

pub(super) async fn schemas(
    Extension(caller): Extension<Caller>,
    Query(parameters): Query<HashMap<String, String>>,
) -> Result<Response, Refusal> {
    all(&parameters, SCHEMAS.iter().map(|schema| schema.body(&caller.base)).collect())
}

pub(super) async fn schema(Extension(caller): Extension<Caller>, Path(uri): Path<String>) -> Result<Response, Refusal> {
    let schema = SCHEMAS.iter().find(|schema| schema.uri.eq_ignore_ascii_case(&uri));
    let schema = schema.ok_or_else(|| Refusal::missing("schema", &uri))?;
    Ok(answer(StatusCode::OK, &schema.body(&caller.base)))
}

// RFC 7644, 4: a filter is refused here, and everything is on one page.
fn all(parameters: &HashMap<String, String>, resources: Vec<Value>) -> Result<Response, Refusal> {
    if parameters.contains_key("filter") {
        return Err(Refusal::status(403, "this list takes no filter"));
    }
    let page = Page { skip: 0, size: resources.len() };
    Ok(answer(StatusCode::OK, &page.body(resources.len(), resources)))
}
