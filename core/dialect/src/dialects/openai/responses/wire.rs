//! The objects of the API. What is read and what is written differ, since much is optional only on one side. A field that is `None` is
//! not written.

use serde::{Deserialize, Serialize};

use crate::hub::{Json, Text};

/// An item of the input or the output, of whatever type, as it is read: each has some of the fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReadItem<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Option<Text<'a>>,
    pub(super) id: Option<Text<'a>>,
    pub(super) role: Option<Text<'a>>,
    /// Of a message: a text, or parts. Of reasoning: parts.
    pub(super) content: Option<Json<'a>>,
    pub(super) call_id: Option<Text<'a>>,
    pub(super) name: Option<Text<'a>>,
    pub(super) namespace: Option<Text<'a>>,
    /// JSON inside a text; of a search for tools: an object.
    pub(super) arguments: Option<Json<'a>>,
    /// Of a custom tool: a text.
    pub(super) input: Option<Text<'a>>,
    /// Of a call: a text, or parts.
    pub(super) output: Option<Json<'a>>,
    pub(super) summary: Option<Json<'a>>,
    pub(super) encrypted_content: Option<Text<'a>>,
    pub(super) action: Option<Json<'a>>,
    pub(super) tools: Option<Json<'a>>,
}

/// A part of a message, a result or a summary, as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReadPart<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    pub(super) text: Option<Text<'a>>,
    pub(super) refusal: Option<Text<'a>>,
    pub(super) annotations: Option<Json<'a>>,
    pub(super) image_url: Option<Text<'a>>,
    pub(super) detail: Option<Text<'a>>,
    pub(super) file_id: Option<Text<'a>>,
    pub(super) file_data: Option<Text<'a>>,
    pub(super) file_url: Option<Text<'a>>,
    pub(super) filename: Option<Text<'a>>,
    pub(super) input_audio: Option<WireAudio<'a>>,
    pub(super) prompt_cache_breakpoint: Option<Json<'a>>,
}

/// `input_audio`.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct WireAudio<'a> {
    #[serde(borrow)]
    pub(super) data: Text<'a>,
    pub(super) format: Text<'a>,
}

/// What a text rests on, as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReadAnnotation<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    pub(super) url: Option<Text<'a>>,
    pub(super) title: Option<Text<'a>>,
}

/// `text.format`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct WireFormat<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) strict: Option<bool>,
}

/// An item, as it is written.
#[derive(Debug, Default, Serialize)]
pub(super) struct Item<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<Vec<Piece<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) call_id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) arguments: Option<Arguments<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<Output<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) summary: Option<Vec<Part<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) encrypted_content: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) action: Option<Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) execution: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tools: Option<Json<'a>>,
}

/// The arguments of a call.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Arguments<'a> {
    Text(Text<'a>),
    Object(Json<'a>),
}

/// What a tool answered.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Output<'a> {
    Text(Text<'a>),
    Pieces(Vec<Piece<'a>>),
}

/// A part, or one that the hub does not model, or an item of that kind.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Piece<'a> {
    Part(Box<Part<'a>>),
    Own(Json<'a>),
}

/// An item, or one that the hub does not model.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Entry<'a> {
    Item(Box<Item<'a>>),
    Own(Json<'a>),
}

/// A part, as it is written.
#[derive(Debug, Default, Serialize)]
pub(super) struct Part<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) annotations: Option<Vec<Annotation<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image_url: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) filename: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_data: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_url: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input_audio: Option<WireAudio<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt_cache_breakpoint: Option<Breakpoint>,
}

/// The mark up to which a prompt is cached.
#[derive(Debug, Serialize)]
pub(super) struct Breakpoint {
    pub(super) mode: &'static str,
}

/// What a text rests on, as it is written. The indices count characters.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Annotation<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) start_index: usize,
    pub(super) end_index: usize,
    pub(super) url: Text<'a>,
    pub(super) title: Text<'a>,
}
