//! The objects of the API, as they are read and written. A field that is `None` is not written.

use serde::{Deserialize, Serialize};

use crate::hub::{Json, Text};

/// A content block, as it is read: one of the fields is there, or something that is not known here.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireBlock<'a> {
    #[serde(borrow)]
    pub(super) text: Option<Text<'a>>,
    pub(super) image: Option<WireMedia<'a>>,
    pub(super) document: Option<WireMedia<'a>>,
    pub(super) audio: Option<WireMedia<'a>>,
    pub(super) video: Option<WireMedia<'a>>,
    pub(super) tool_use: Option<WireToolUse<'a>>,
    pub(super) tool_result: Option<WireToolResult<'a>>,
    pub(super) cache_point: Option<WireCachePoint<'a>>,
    pub(super) reasoning_content: Option<WireReasoning<'a>>,
    pub(super) citations_content: Option<WireCited<'a>>,
    pub(super) guard_content: Option<WireGuarded<'a>>,
    /// Of a tool's result.
    pub(super) json: Option<Json<'a>>,
}

/// An image, a document, audio or video.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct WireMedia<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<Text<'a>>,
    pub(super) source: WireSource<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) context: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) citations: Option<WireEnabled>,
}

/// Where the content of a medium is.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireSource<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<Text<'a>>,
    #[serde(skip_serializing)]
    pub(super) s3_location: Option<Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<Vec<WireText<'a>>>,
}

/// A text in an object of its own.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct WireText<'a> {
    #[serde(borrow)]
    pub(super) text: Text<'a>,
}

/// `citations` of a document.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct WireEnabled {
    pub(super) enabled: bool,
}

/// A call of a tool.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireToolUse<'a> {
    #[serde(borrow)]
    pub(super) tool_use_id: Text<'a>,
    pub(super) name: Text<'a>,
    pub(super) input: Json<'a>,
    /// `server_tool_use`: the provider ran it.
    #[serde(rename = "type", default, skip_serializing)]
    pub(super) kind: Option<Text<'a>>,
}

/// What a tool answered, as it is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireToolResult<'a> {
    #[serde(borrow)]
    pub(super) tool_use_id: Text<'a>,
    #[serde(default)]
    pub(super) content: Option<Json<'a>>,
    #[serde(default)]
    pub(super) status: Option<Text<'a>>,
    /// The provider ran the tool.
    #[serde(rename = "type", default)]
    pub(super) kind: Option<Text<'a>>,
}

/// The end of what is cached.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct WireCachePoint<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ttl: Option<Text<'a>>,
}

/// What the model thought.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireReasoning<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_text: Option<WireReasoningText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) redacted_content: Option<Text<'a>>,
}

/// Thinking that is shown.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct WireReasoningText<'a> {
    #[serde(borrow)]
    pub(super) text: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signature: Option<Text<'a>>,
}

/// Text, and what it rests on.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct WireCited<'a> {
    #[serde(borrow)]
    pub(super) content: Vec<WireText<'a>>,
    pub(super) citations: Vec<WireCitation<'a>>,
}

/// What a piece of text rests on.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireCitation<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) source_content: Vec<WireText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) location: Option<WireLocation<'a>>,
}

/// Where it rests: one of the fields.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireLocation<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) web: Option<WireWeb<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) document_char: Option<WireRange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) document_page: Option<WireRange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) document_chunk: Option<WireRange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) search_result_location: Option<WireRange>,
}

/// A page on the web.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct WireWeb<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) domain: Option<Text<'a>>,
}

/// A piece of the document, or of the search result, of that index.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireRange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) document_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) search_result_index: Option<u64>,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// What a guardrail looks at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireGuarded<'a> {
    #[serde(borrow)]
    pub(super) text: Option<WireText<'a>>,
    pub(super) image: Option<WireMedia<'a>>,
}

/// `inferenceConfig`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireInference<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_p: Option<f64>,
    #[serde(borrow, skip_serializing_if = "Vec::is_empty")]
    pub(super) stop_sequences: Vec<Text<'a>>,
}

/// `outputConfig`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireOutput<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) text_format: Option<WireFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) effort: Option<Text<'a>>,
}

/// `outputConfig.textFormat`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct WireFormat<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    pub(super) structure: WireStructure<'a>,
}

/// `outputConfig.textFormat.structure`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireStructure<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) json_schema: Option<WireSchema<'a>>,
}

/// A schema, as a text of JSON.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct WireSchema<'a> {
    #[serde(borrow)]
    pub(super) schema: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<Text<'a>>,
}
