//! The objects of the API, as they are read and written. A field that is `None` is not written.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap as _};

use crate::hub::{Json, Text};

/// A part, of whatever kind: one of the fields says which.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WirePart<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thought: Option<bool>,
    #[serde(alias = "inline_data", skip_serializing_if = "Option::is_none")]
    pub(super) inline_data: Option<WireBlob<'a>>,
    #[serde(alias = "file_data", skip_serializing_if = "Option::is_none")]
    pub(super) file_data: Option<WireFile<'a>>,
    #[serde(alias = "function_call", skip_serializing_if = "Option::is_none")]
    pub(super) function_call: Option<WireCall<'a>>,
    #[serde(alias = "function_response", skip_serializing_if = "Option::is_none")]
    pub(super) function_response: Option<WireResult<'a>>,
    #[serde(alias = "thought_signature", skip_serializing_if = "Option::is_none")]
    pub(super) thought_signature: Option<Text<'a>>,
    #[serde(alias = "media_resolution", skip_serializing_if = "Option::is_none")]
    pub(super) media_resolution: Option<WireResolution<'a>>,
    // What the hub does not model; such a part is kept whole.
    #[serde(alias = "video_metadata", skip_serializing)]
    pub(super) video_metadata: Option<Json<'a>>,
    #[serde(alias = "executable_code", skip_serializing)]
    pub(super) executable_code: Option<Json<'a>>,
    #[serde(alias = "code_execution_result", skip_serializing)]
    pub(super) code_execution_result: Option<Json<'a>>,
    #[serde(alias = "tool_call", skip_serializing)]
    pub(super) tool_call: Option<Json<'a>>,
    #[serde(alias = "tool_response", skip_serializing)]
    pub(super) tool_response: Option<Json<'a>>,
}

/// Bytes, here.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireBlob<'a> {
    #[serde(alias = "mime_type", borrow, default)]
    pub(super) mime_type: Text<'a>,
    pub(super) data: Text<'a>,
    #[serde(alias = "display_name", default, skip_serializing_if = "Option::is_none")]
    pub(super) display_name: Option<Text<'a>>,
}

/// Bytes, elsewhere.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireFile<'a> {
    #[serde(alias = "mime_type", borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) mime_type: Option<Text<'a>>,
    #[serde(alias = "file_uri")]
    pub(super) file_uri: Text<'a>,
    #[serde(alias = "display_name", default, skip_serializing_if = "Option::is_none")]
    pub(super) display_name: Option<Text<'a>>,
}

/// How closely a medium is looked at.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct WireResolution<'a> {
    #[serde(borrow, default)]
    pub(super) level: Text<'a>,
}

/// `functionCall`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireCall<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) args: Option<Json<'a>>,
    /// Of Vertex alone: pieces of the arguments, while they are made.
    #[serde(alias = "partial_args", skip_serializing)]
    pub(super) partial_args: Option<Vec<WirePartial<'a>>>,
    #[serde(alias = "will_continue", skip_serializing)]
    pub(super) will_continue: Option<bool>,
}

/// A piece of an argument.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WirePartial<'a> {
    #[serde(alias = "json_path", borrow)]
    pub(super) json_path: Text<'a>,
    #[serde(alias = "string_value")]
    pub(super) string_value: Option<Text<'a>>,
    #[serde(alias = "number_value")]
    pub(super) number_value: Option<serde_json::Number>,
    #[serde(alias = "bool_value")]
    pub(super) bool_value: Option<bool>,
}

/// `functionResponse`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct WireResult<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<Text<'a>>,
    pub(super) name: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<Json<'a>>,
    /// Media: a list of parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parts: Option<Json<'a>>,
}

/// A turn, or the instructions, as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireContent<'a> {
    #[serde(borrow)]
    pub(super) role: Option<Text<'a>>,
    pub(super) parts: Option<Json<'a>>,
}

/// A turn, as it is written.
#[derive(Debug, Serialize)]
pub(super) struct Said<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    pub(super) parts: Vec<Piece<'a>>,
}

/// A part, or one that is only this dialect's own.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Piece<'a> {
    Part(Box<WirePart<'a>>),
    Own(&'a Json<'a>),
}

/// `thinkingConfig`.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireThinking<'a> {
    #[serde(alias = "include_thoughts", skip_serializing_if = "Option::is_none")]
    pub(super) include_thoughts: Option<bool>,
    #[serde(alias = "thinking_budget", skip_serializing_if = "Option::is_none")]
    pub(super) thinking_budget: Option<i64>,
    #[serde(alias = "thinking_level", borrow, skip_serializing_if = "Option::is_none")]
    pub(super) thinking_level: Option<Text<'a>>,
}

/// `toolConfig`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireToolConfig<'a> {
    #[serde(alias = "function_calling_config", borrow, skip_serializing_if = "Option::is_none")]
    pub(super) function_calling_config: Option<WireCalling<'a>>,
}

/// `toolConfig.functionCallingConfig`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireCalling<'a> {
    #[serde(borrow)]
    pub(super) mode: Text<'a>,
    #[serde(alias = "allowed_function_names", skip_serializing_if = "Vec::is_empty")]
    pub(super) allowed_function_names: Vec<Text<'a>>,
}

/// Fields of this dialect that the hub does not model: names and values.
#[derive(Debug, Default)]
pub(super) struct Rest<'a>(pub(super) Vec<(&'a str, &'a Json<'a>)>);

impl Serialize for Rest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, json) in &self.0 {
            map.serialize_entry(name, json)?;
        }
        map.end()
    }
}

/// The name as the API's reference spells it: `inline_data` is `inlineData`.
pub(super) fn camel(name: &str) -> Cow<'_, str> {
    if !name.contains('_') {
        return Cow::Borrowed(name);
    }
    let mut parts = name.split('_');
    let mut spelled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        spelled.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        spelled.push_str(letters.as_str());
    }
    Cow::Owned(spelled)
}
