//! The OpenAI API: its list of models, its errors, embeddings, and its dialects, one folder each.

mod error;
mod media;
mod rest;
mod usage;
pub mod chat;
pub mod embeddings;
pub mod responses;

pub use error::{decode_error, encode_error};

use crate::models::ListedModel;
use serde::Serialize;

/// Writes `GET /v1/models` of the OpenAI API. The time of creation is the epoch, since the list does not know it.
#[must_use]
pub fn model_list<'a>(models: impl Iterator<Item = ListedModel<'a>>) -> Vec<u8> {
    let data = models
        .map(|model| Entry { id: model.id, object: "model", created: 0, owned_by: model.owned_by.unwrap_or("system") })
        .collect();
    serde_json::to_vec(&List { object: "list", data }).unwrap_or_default()
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_each_model_and_its_owner() {
        let models =
            [ListedModel { owned_by: Some("anthropic"), ..ListedModel::named("claude-x") }, ListedModel::named("b")];
        assert_eq!(
            String::from_utf8(model_list(models.into_iter())).unwrap(),
            r#"{"object":"list","data":[{"id":"claude-x","object":"model","created":0,"owned_by":"anthropic"},{"id":"b","object":"model","created":0,"owned_by":"system"}]}"#
        );
    }
}
