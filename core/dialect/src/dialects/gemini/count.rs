//! `countTokens`, and the list of models.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    decode::members,
    encode::{in_order, wire},
    generation::whole,
    wire::camel,
};
use crate::{
    dialects::{
        Called,
        read::{Members, field, is_null, object},
    },
    error::{DecodeError, Malformed},
    hub::{Json, Losses, Request},
    models::ListedModel,
};

/// The field in which a request is counted whole.
const WHOLE: &str = "generateContentRequest";

/// How a request to count is put.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CountForm {
    /// The Gemini API: more than the turns is counted only within `generateContentRequest`.
    Gemini,
    /// Vertex: the request's own fields.
    Vertex,
}

/// Reads a request to count, in either form: the request whose input is counted.
///
/// # Errors
/// When it is not one; the text is a sentence for the client.
pub fn decode_count<'a>(called: &Called<'a>, body: &'a [u8]) -> Result<Request<'a>, DecodeError> {
    let read: Members<'a> = object(body)?;
    match read.0.iter().find(|(name, raw)| camel(name) == WHOLE && !is_null(raw)) {
        Some((_, raw)) => members(called, field(WHOLE, raw)?).map_err(|error| error.within(WHOLE, None)),
        None => members(called, read),
    }
}

/// Whether a body counts as it is where requests to count are put in that form.
#[must_use]
pub fn takes_count(form: CountForm, body: &[u8]) -> bool {
    let Ok(Members(members)) = object::<Members<'_>>(body) else { return false };
    let mut names = members.iter().map(|(name, _)| camel(name));
    match form {
        CountForm::Gemini => names.all(|name| ["contents", WHOLE].contains(&&*name)),
        CountForm::Vertex => names.all(|name| name != WHOLE),
    }
}

/// Writes a request to count. What cannot be expressed is noted.
#[must_use]
pub fn encode_count(request: &Request<'_>, form: CountForm, losses: &mut Losses) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Whole<T> {
        generate_content_request: T,
    }
    let ordered = in_order(request);
    let mut counted = wire(request, ordered.as_ref(), losses);
    match form {
        CountForm::Gemini => {
            counted.model = Some(resource(&request.model).into_owned());
            serde_json::to_vec(&Whole { generate_content_request: counted }).unwrap_or_default()
        }
        CountForm::Vertex => serde_json::to_vec(&counted).unwrap_or_default(),
    }
}

/// Reads the answer: how many tokens the input has.
///
/// # Errors
/// When it does not say so.
pub fn decode_count_answer(body: &[u8]) -> Result<u64, DecodeError> {
    #[derive(Deserialize)]
    struct Counted<'a> {
        #[serde(rename = "totalTokens", alias = "total_tokens", borrow, default)]
        total_tokens: Option<Json<'a>>,
    }
    let Counted { total_tokens } = object(body)?;
    // Vertex leaves out what is zero.
    let Some(raw) = total_tokens.and_then(|json| json.raw()) else {
        return Err(Malformed::Missing("totalTokens").into());
    };
    whole("totalTokens", raw)
}

/// Writes the answer.
#[must_use]
pub fn encode_count_answer(tokens: u64) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Counted {
        total_tokens: u64,
    }
    serde_json::to_vec(&Counted { total_tokens: tokens }).unwrap_or_default()
}

/// Writes `GET /v1beta/models`, all on one page.
#[must_use]
pub fn model_list<'a>(models: impl Iterator<Item = ListedModel<'a>>) -> Vec<u8> {
    #[derive(Serialize)]
    struct List<'a> {
        models: Vec<Entry<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry<'a> {
        name: Cow<'a, str>,
        display_name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        input_token_limit: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        output_token_limit: Option<u64>,
        supported_generation_methods: [&'static str; 2],
    }
    let entry = |model: ListedModel<'a>| Entry {
        name: resource(model.id),
        display_name: model.display_name.unwrap_or(model.id),
        input_token_limit: model.max_input_tokens,
        output_token_limit: model.max_output_tokens,
        supported_generation_methods: ["generateContent", "countTokens"],
    };
    serde_json::to_vec(&List { models: models.map(entry).collect() }).unwrap_or_default()
}

// The name of a resource has its collection ahead of it.
fn resource(model: &str) -> Cow<'_, str> {
    if model.contains('/') { Cow::Borrowed(model) } else { Cow::Owned(["models/", model].concat()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::Dialect;

    #[test]
    fn a_request_to_count_is_read_in_either_form() {
        let called = Called { model: Some("m".into()), stream: None };
        for body in [
            r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"systemInstruction":{"parts":[{"text":"be brief"}]}}"#,
            r#"{"generateContentRequest":{"model":"models/other","contents":[{"parts":[{"text":"hi"}]}],"system_instruction":{"parts":[{"text":"be brief"}]}}}"#,
        ] {
            let request = decode_count(&called, body.as_bytes()).unwrap();
            assert_eq!((&*request.model, request.system.len(), request.turns.len()), ("m", 1, 1));
            let mut losses = Losses::new(Dialect::Gemini);
            let expect = r#""contents":[{"role":"user","parts":[{"text":"hi"}]}],"systemInstruction":{"parts":[{"text":"be brief"}]}}"#;
            let vertex = encode_count(&request, CountForm::Vertex, &mut losses);
            assert_eq!(String::from_utf8(vertex).unwrap(), format!("{{{expect}"));
            let gemini = encode_count(&request, CountForm::Gemini, &mut losses);
            let expect = format!(r#"{{"generateContentRequest":{{"model":"models/m",{expect}}}"#);
            assert_eq!(String::from_utf8(gemini).unwrap(), expect);
        }
        let error = decode_count(&called, br#"{"generateContentRequest":{"contents":[{"role":7}]}}"#).unwrap_err();
        assert!(error.to_string().starts_with("`generateContentRequest.contents[0]"), "{error}");
    }

    #[test]
    fn a_body_passes_where_its_form_is_taken() {
        for (body, gemini, vertex) in [
            (r#"{"contents":[]}"#, true, true),
            (r#"{"contents":[],"systemInstruction":{}}"#, false, true),
            (r#"{"generateContentRequest":{}}"#, true, false),
            (r#"{"generate_content_request":{}}"#, true, false),
            ("[]", false, false),
        ] {
            let taken = [CountForm::Gemini, CountForm::Vertex].map(|form| takes_count(form, body.as_bytes()));
            assert_eq!(taken, [gemini, vertex], "{body}");
        }
    }

    #[test]
    fn an_answer_tells_the_total() {
        assert_eq!(decode_count_answer(br#"{"totalTokens": 31, "promptTokensDetails": []}"#), Ok(31));
        assert_eq!(decode_count_answer(&encode_count_answer(7)), Ok(7));
        assert_eq!(decode_count_answer(b"{}").unwrap_err().to_string(), "The field `totalTokens` is missing: add it.");
        assert!(decode_count_answer(br#"{"totalTokens": -1}"#).is_err());
    }

    #[test]
    fn a_list_names_resources() {
        let models = [
            ListedModel { display_name: Some("B"), max_input_tokens: Some(9), ..ListedModel::named("b") },
            ListedModel::named("models/a"),
        ];
        assert_eq!(
            String::from_utf8(model_list(models.into_iter())).unwrap(),
            r#"{"models":[{"name":"models/b","displayName":"B","inputTokenLimit":9,"supportedGenerationMethods":["generateContent","countTokens"]},{"name":"models/a","displayName":"models/a","supportedGenerationMethods":["generateContent","countTokens"]}]}"#
        );
    }
}
