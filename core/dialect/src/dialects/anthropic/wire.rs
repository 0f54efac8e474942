//! The objects of the API, as they are read and written. A field that is `None` is not written.

use serde::{Deserialize, Serialize, Serializer};
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
#[derive(Debug, Serialize)]
pub(super) struct WireThinking<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) budget_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) display: Option<&'static str>,
    #[serde(flatten)]
    pub(super) rest: Rest<'a>,
}

/// `output_config`.
#[derive(Debug, Serialize)]
pub(super) struct WireOutput<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<WireFormat<'a>>,
    #[serde(flatten)]
    pub(super) rest: Rest<'a>,
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
#[derive(Debug, Serialize)]
pub(super) struct WireMetadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<&'a str>,
    #[serde(flatten)]
    pub(super) rest: Rest<'a>,
}

/// Fields of this dialect that the hub does not model: those of one object, without its name before them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest<'a> {
    /// The object with its full stop, such as `thinking.`; empty for the request itself.
    pub(super) of: &'static str,
    pub(super) fields: &'a [(Text<'a>, Json<'a>)],
}

/// The objects of a request whose fields stand in `rest` with the object's name before them.
pub(super) const NESTED: [&str; 3] = ["thinking.", "output_config.", "metadata."];

impl<'a> Rest<'a> {
    fn each(&self) -> impl Iterator<Item = (&'a str, &'a Json<'a>)> {
        let Self { of, fields } = *self;
        let is_nested = move |name: &str| of.is_empty() && NESTED.iter().any(|nested| name.starts_with(nested));
        let own = fields.iter().filter(move |(name, _)| !is_nested(name));
        own.filter_map(move |(name, json)| Some((name.strip_prefix(of)?, json)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.each().next().is_none()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.each().any(|(known, _)| known == name)
    }
}

impl Serialize for Rest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.each())
    }
}
