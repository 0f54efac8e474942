//! Bedrock's InvokeModel of Anthropic's models carries bodies of Messages
//! (<https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html>): the model and whether the
//! answer is a stream stand in the path, a version and the beta features in the body. A whole answer is that of Messages; of a stream, each
//! event's data lies in base64 in a frame of its own.

mod stream;

pub use stream::{EventsToFrames, FramesToEvents};

use crate::{
    dialects::envelope::{Enveloped, wrap},
    error::Malformed,
    splice::{Edit, Object, quoted},
};

/// What `anthropic_version` says.
pub const VERSION: &str = "bedrock-2023-05-31";

/// What is said of a body of another maker's model.
const OTHERS: Malformed = Malformed::Invalid {
    field: "anthropic_version",
    expected: "there: this path takes bodies of Anthropic Messages alone. Ask other models over /converse",
};

/// A body of Messages that came in an envelope.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Opened {
    /// The body.
    pub body: Vec<u8>,
    /// What belongs into the header `anthropic-beta`.
    pub beta: Option<String>,
}

/// Makes a body of Messages ready for InvokeModel. `beta` are the values of the header `anthropic-beta`, each a list by commas.
///
/// # Errors
/// When the body is not a JSON object with a `model`, its `stream` is no truth value, or its `anthropic_beta` no list of texts.
pub fn from_messages<'h>(body: &[u8], beta: impl IntoIterator<Item = &'h str>) -> Result<Enveloped, Malformed> {
    wrap(body, VERSION, |object| {
        let mut edits = vec![Edit::Remove("stream")];
        let mut all = betas(object)?;
        let named = beta.into_iter().flat_map(|value| value.split(',')).map(str::trim).filter(|name| !name.is_empty());
        for name in named {
            if all.iter().all(|known| known != name) {
                all.push(name.to_owned());
            }
        }
        if !all.is_empty() {
            edits.push(Edit::Set("anthropic_beta", serde_json::to_string(&all).unwrap_or_default().into()));
        }
        Ok(edits)
    })
}

/// Makes a body of InvokeModel one of Messages, with what the path says. The version tells it from the bodies of other makers' models.
///
/// # Errors
/// When the body is not a JSON object with an `anthropic_version`, or its `anthropic_beta` no list of texts.
pub fn to_messages(body: &[u8], model: &str, is_stream: bool) -> Result<Opened, Malformed> {
    let object = Object::read(body)?;
    object.get("anthropic_version").ok_or(OTHERS)?;
    let betas = betas(&object)?;
    let mut edits =
        vec![Edit::Set("model", quoted(model)), Edit::Remove("anthropic_version"), Edit::Remove("anthropic_beta")];
    edits.push(if is_stream { Edit::Set("stream", "true".into()) } else { Edit::Remove("stream") });
    Ok(Opened { body: object.edited(&edits), beta: (!betas.is_empty()).then(|| betas.join(",")) })
}

fn betas(object: &Object<'_>) -> Result<Vec<String>, Malformed> {
    let Some(raw) = object.get("anthropic_beta") else { return Ok(Vec::new()) };
    let read: Result<Option<Vec<String>>, _> = serde_json::from_str(raw.get());
    let wrong = Malformed::Invalid { field: "anthropic_beta", expected: "a list of texts" };
    read.map(Option::unwrap_or_default).map_err(|_| wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_messages_goes_to_bedrock_and_comes_back() {
        let messages = r#"{"model":"claude-sonnet-5-5","max_tokens":1.0e2,"messages":[ {"role":"user","content":"\u00e9"} ],"stream":true,"tags":{}}"#;
        let invoke = r#"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["a-1","b-2","c-3"],"max_tokens":1.0e2,"messages":[ {"role":"user","content":"\u00e9"} ]}"#;
        let enveloped = from_messages(messages.as_bytes(), ["a-1, b-2", "c-3,a-1,"]).unwrap();
        assert_eq!((&*enveloped.model, enveloped.is_stream), ("claude-sonnet-5-5", true));
        assert_eq!(String::from_utf8(enveloped.body).unwrap(), invoke);
        let opened = to_messages(invoke.as_bytes(), "us.anthropic.claude-sonnet-5-5", true).unwrap();
        let expected = r#"{"model":"us.anthropic.claude-sonnet-5-5","stream":true,"max_tokens":1.0e2,"messages":[ {"role":"user","content":"\u00e9"} ]}"#;
        assert_eq!(String::from_utf8(opened.body).unwrap(), expected);
        assert_eq!(opened.beta.as_deref(), Some("a-1,b-2,c-3"));
    }

    #[test]
    fn without_beta_features_there_is_no_list_of_them() {
        let enveloped = from_messages(br#"{"model":"m","a":1}"#, []).unwrap();
        assert_eq!(enveloped.body, br#"{"anthropic_version":"bedrock-2023-05-31","a":1}"#);
        let opened = to_messages(&enveloped.body, "m", false).unwrap();
        assert_eq!(opened, Opened { body: br#"{"model":"m","a":1}"#.to_vec(), beta: None });
    }

    #[test]
    fn a_list_of_beta_features_in_the_body_grows_where_it_stands() {
        let enveloped = from_messages(br#"{"model":"m","anthropic_beta":["x"],"a":1}"#, ["y"]).unwrap();
        assert_eq!(enveloped.body, br#"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["x","y"],"a":1}"#);
        let wrong = Malformed::Invalid { field: "anthropic_beta", expected: "a list of texts" };
        assert_eq!(from_messages(br#"{"model":"m","anthropic_beta":"x"}"#, []), Err(wrong));
        let opened = |body: &str| to_messages(body.as_bytes(), "m", false);
        assert_eq!(opened(r#"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":[1]}"#), Err(wrong));
        assert_eq!(opened(r#"{"inputText":"hi"}"#), Err(OTHERS));
    }
}
