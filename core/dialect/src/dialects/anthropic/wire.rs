//! The objects of the API, as they are read and written. A field that is `None` is not written.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::hub::{Json, Text};

/// A content block, of whatever type: each has some of the fields.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct WireBlock<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input: Option<Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_use_id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thinking: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signature: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<WireSource<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) context: Option<Text<'a>>,
    /// Of a tool's result: a text, or blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is_error: Option<bool>,
    /// Of a text: a list. Of a document: `{"enabled": true}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) citations: Option<Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_control: Option<WireCache<'a>>,
}

/// Where the content of an image or a document is.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct WireSource<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) media_type: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<Json<'a>>,
}

/// The mark up to which a prompt is cached.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct WireCache<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ttl: Option<Text<'a>>,
}

/// A turn.
#[derive(Debug, Deserialize)]
pub(super) struct WireTurn<'a> {
    #[serde(borrow)]
    pub(super) role: Text<'a>,
    pub(super) content: &'a RawValue,
}

/// `thinking`.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct WireThinking<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) budget_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) display: Option<Text<'a>>,
}

/// `output_config`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct WireOutput<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) effort: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<WireFormat<'a>>,
}

/// `output_config.format`.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct WireFormat<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    pub(super) schema: Json<'a>,
}

/// `tool_choice`.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct WireChoice<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) disable_parallel_tool_use: Option<bool>,
}

/// `metadata`.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct WireMetadata<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<Text<'a>>,
}
