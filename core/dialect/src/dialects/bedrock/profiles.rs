//! The list of inference profiles, in which Bedrock names the models that may be asked for:
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListInferenceProfiles.html>.

use serde::Serialize;

use crate::models::ListedModel;

/// Writes `GET /inference-profiles`, all on one page. The account and the region of a name are empty, since the models are offered in none.
#[must_use]
pub fn profile_list<'a>(models: impl Iterator<Item = ListedModel<'a>>) -> Vec<u8> {
    let inference_profile_summaries = models.map(summary).collect();
    serde_json::to_vec(&List { inference_profile_summaries }).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    inference_profile_summaries: Vec<Summary<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    inference_profile_name: &'a str,
    inference_profile_arn: String,
    models: [Model; 1],
    inference_profile_id: &'a str,
    status: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Model {
    model_arn: String,
}

fn summary(model: ListedModel<'_>) -> Summary<'_> {
    let ListedModel { id, display_name, .. } = model;
    Summary {
        inference_profile_name: display_name.unwrap_or(id),
        inference_profile_arn: format!("arn:aws:bedrock:::inference-profile/{id}"),
        models: [Model { model_arn: format!("arn:aws:bedrock:::foundation-model/{id}") }],
        inference_profile_id: id,
        status: "ACTIVE",
        kind: "SYSTEM_DEFINED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_each_model_as_a_profile() {
        let models = [ListedModel { display_name: Some("Claude"), ..ListedModel::named("claude-x") }];
        let expected = r#"{"inferenceProfileSummaries":[{"inferenceProfileName":"Claude","inferenceProfileArn":"arn:aws:bedrock:::inference-profile/claude-x","models":[{"modelArn":"arn:aws:bedrock:::foundation-model/claude-x"}],"inferenceProfileId":"claude-x","status":"ACTIVE","type":"SYSTEM_DEFINED"}]}"#;
        assert_eq!(String::from_utf8(profile_list(models.into_iter())).unwrap(), expected);
        assert_eq!(profile_list([].into_iter()), br#"{"inferenceProfileSummaries":[]}"#);
    }
}
