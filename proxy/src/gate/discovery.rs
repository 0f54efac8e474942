//! `GET /v1/models` and its like: the models that the key may ask for, in the shape of the client's dialect.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, Response, StatusCode};
use tollgate_dialect::{ListedModel, anthropic, bedrock, gemini, openai_model_list};
use tollgate_policy::{
    decide,
    refusal::{Refusal, RefusalKind},
    snapshot::Model,
};

use super::{
    authenticate::Visitor,
    route::Operation,
    ticket::{End, Verdict},
};
use crate::refuse;

const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const GOOGLE_CLIENT: HeaderName = HeaderName::from_static("x-goog-api-client");
// The API's own bounds of a page: 20 when nothing is said, 1,000 at most.
const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 1_000;

/// A page of the list, as `?limit=`, `?after_id=` and `?before_id=` ask for it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Page<'a> {
    limit: Option<usize>,
    after: Option<&'a str>,
    before: Option<&'a str>,
}

/// Answers with the list.
pub(super) fn discover(visitor: Visitor) -> Verdict<Response<Bytes>> {
    let Visitor { mut ticket, current, caller, message } = visitor;
    let Some(page) = Page::parse(message.uri.query().unwrap_or_default()) else {
        let sentence = "The query is not one of a list of models: limit must be a number from 1 to 1000.";
        return Err(ticket.refuse(Refusal::new(RefusalKind::Malformed, sentence)));
    };
    let models = decide::models(&current.snapshot, &caller);
    let all = || models.iter().map(|model| listed(model));
    let body = match ticket.operation {
        Operation::GeminiModels => gemini::model_list(all()),
        // Newer SDKs of Google ask where the others do.
        Operation::Models if message.headers.contains_key(GOOGLE_CLIENT) => gemini::model_list(all()),
        // Profiles of one's own are none of ours.
        Operation::InferenceProfiles if message.uri.query().is_some_and(is_application) => {
            bedrock::profile_list([].into_iter())
        }
        Operation::InferenceProfiles => bedrock::profile_list(all()),
        _ if message.headers.contains_key(ANTHROPIC_VERSION) => {
            let (shown, has_more) = page.of(&models);
            anthropic::model_page(shown.iter().map(|model| listed(model)), has_more)
        }
        _ => openai_model_list(all()),
    };
    let answer = refuse::json(StatusCode::OK, body, &ticket.request_id);
    ticket.status = answer.status().as_u16();
    ticket.close(End::Completed);
    Ok(answer)
}

fn is_application(query: &str) -> bool {
    query.split('&').any(|pair| pair == "type=APPLICATION")
}

fn listed(model: &Arc<Model>) -> ListedModel<'_> {
    let known = |tokens: u64| (tokens > 0).then_some(tokens);
    ListedModel {
        id: &model.name,
        display_name: Some(&*model.display_name).filter(|name| !name.is_empty()),
        owned_by: Some(&*model.vendor),
        max_input_tokens: known(model.context_window),
        max_output_tokens: known(model.output_max),
    }
}

// === impl Page ===

impl<'a> Page<'a> {
    // What is unknown in a query is passed over, as the API does.
    fn parse(query: &'a str) -> Option<Self> {
        let mut page = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "limit" => page.limit = Some(value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit))?),
                "after_id" => page.after = Some(value),
                "before_id" => page.before = Some(value),
                _ => {}
            }
        }
        Some(page)
    }

    // The models of the page, and whether there are more in its direction. An id that is not in the list stands at its end.
    fn of<'m>(&self, models: &'m [Arc<Model>]) -> (&'m [Arc<Model>], bool) {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        let place = |id: &str| models.iter().position(|model| *model.name == *id);
        if let Some(before) = self.before {
            let end = place(before).unwrap_or(0);
            let start = end.saturating_sub(limit);
            return (models.get(start..end).unwrap_or_default(), start > 0);
        }
        let start = self.after.map_or(0, |after| place(after).map_or(models.len(), |place| place + 1));
        let end = start.saturating_add(limit).min(models.len());
        (models.get(start..end).unwrap_or_default(), end < models.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(names: &[&str]) -> Vec<Arc<Model>> {
        let model = |name: &&str| Model {
            vendor: "anthropic".into(),
            name: Arc::from(*name),
            display_name: Arc::default(),
            aliases: vec![],
            context_window: 0,
            output_max: 0,
            price: None,
        };
        names.iter().map(|name| Arc::new(model(name))).collect()
    }

    #[test]
    fn a_page_is_cut_as_the_api_cuts_it() {
        let models = models(&["a", "b", "c", "d"]);
        for (query, expect, more) in [
            ("", "abcd", false),
            ("limit=1000", "abcd", false),
            ("limit=4", "abcd", false),
            ("limit=2", "ab", true),
            ("limit=2&after_id=b", "cd", false),
            ("limit=1&after_id=b", "c", true),
            ("after_id=d", "", false),
            ("after_id=gone", "", false),
            ("limit=2&before_id=d", "bc", true),
            ("limit=9&before_id=c", "ab", false),
            ("unknown=1", "abcd", false),
        ] {
            let (shown, has_more) = Page::parse(query).unwrap().of(&models);
            let names: String = shown.iter().map(|model| &*model.name).collect();
            assert_eq!((names.as_str(), has_more), (expect, more), "{query}");
        }
        for bad in ["limit=0", "limit=1001", "limit=-1", "limit=x"] {
            assert_eq!(Page::parse(bad), None, "{bad}");
        }
    }
}
