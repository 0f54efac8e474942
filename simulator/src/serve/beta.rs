//! Beta features of Messages: the clouds refuse a request that names one which they do not know.

use crate::route::Call;
use http::HeaderMap;
use serde::Deserialize;
use std::borrow::Cow;
use tollgate_dialect::beta;

/// What the cloud says that a request goes to; `None`: it takes it.
pub(super) fn refused(call: &Call, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    match call {
        Call::Invoke { .. } => in_body(body).then(|| "invalid beta flag".to_owned()),
        Call::RawPredict { .. } => {
            let lists = headers.get_all("anthropic-beta").iter().filter_map(|list| list.to_str().ok());
            let mut names = lists.flat_map(|list| list.split(',')).map(str::trim);
            let name = names.find(|name| beta::on_vertex(name) != Some(*name))?;
            Some(format!("Unexpected value(s) `{name}` for the `anthropic-beta` header."))
        }
        _ => None,
    }
}

fn in_body(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Top<'a> {
        #[serde(borrow, default)]
        anthropic_beta: Vec<Cow<'a, str>>,
    }
    let top: Option<Top<'_>> = serde_json::from_slice(body).ok();
    top.is_some_and(|top| top.anthropic_beta.iter().any(|name| beta::on_bedrock(name) != Some(&**name)))
}
