//! The objects of the API, as they are read. Each has all the fields that one of its kinds has.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::reasoning::WireDetail;
use crate::hub::{Cache, Citation, Json, Text};

/// A message of a request or of an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireMessage<'a> {
    #[serde(borrow)]
    pub(super) role: Text<'a>,
    /// A text, or a list of parts.
    #[serde(borrow)]
    pub(super) content: Option<&'a RawValue>,
    pub(super) refusal: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) tool_calls: Option<&'a RawValue>,
    /// A call as it was before there were tools: without an id, and one at a time.
    #[serde(borrow)]
    pub(super) function_call: Option<&'a RawValue>,
    pub(super) tool_call_id: Option<Text<'a>>,
    pub(super) annotations: Option<Vec<WireAnnotation<'a>>>,
    pub(super) audio: Option<Json<'a>>,
    pub(super) reasoning_content: Option<Text<'a>>,
    pub(super) reasoning: Option<Text<'a>>,
    pub(super) reasoning_details: Option<Vec<WireDetail<'a>>>,
}

/// A part of a message's content.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WirePart<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    pub(super) text: Option<Text<'a>>,
    pub(super) refusal: Option<Text<'a>>,
    /// Mistral: what the model thought, in parts.
    #[serde(borrow)]
    pub(super) thinking: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) image_url: Option<&'a RawValue>,
    /// OpenRouter and vLLM.
    #[serde(borrow)]
    pub(super) video_url: Option<&'a RawValue>,
    pub(super) input_audio: Option<WireAudio<'a>>,
    pub(super) file: Option<WireFile<'a>>,
    pub(super) cache_control: Option<WireCache<'a>>,
    pub(super) prompt_cache_breakpoint: Option<WireBreakpoint<'a>>,
}

/// `image_url` and `video_url`.
#[derive(Debug, Deserialize)]
pub(super) struct WireUrl<'a> {
    #[serde(borrow)]
    pub(super) url: Text<'a>,
    #[serde(default)]
    pub(super) detail: Option<Text<'a>>,
}

/// `input_audio`.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct WireAudio<'a> {
    #[serde(borrow)]
    pub(super) data: Text<'a>,
    pub(super) format: Text<'a>,
}

/// `file`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct WireFile<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) filename: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_data: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_id: Option<Text<'a>>,
}

/// The mark up to which a prompt is cached, where a vendor has it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct WireCache<'a> {
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ttl: Option<Text<'a>>,
}

/// The same, as OpenAI has it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct WireBreakpoint<'a> {
    #[serde(borrow, default)]
    pub(super) mode: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ttl: Option<Text<'a>>,
}

/// An annotation: what a piece of the content cites.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireAnnotation<'a> {
    #[serde(borrow)]
    pub(super) url_citation: Option<WireCited<'a>>,
}

/// `url_citation`. OpenRouter tells what is cited.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireCited<'a> {
    #[serde(borrow)]
    pub(super) url: Option<Text<'a>>,
    pub(super) title: Option<Text<'a>>,
    pub(super) content: Option<Text<'a>>,
}

/// An annotation, as it is written: where in the content, counted in characters, the citing text stands.
#[derive(Debug, Serialize)]
pub(super) struct Annotation<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    url_citation: Cited<'a>,
}

#[derive(Debug, Serialize)]
struct Cited<'a> {
    start_index: usize,
    end_index: usize,
    url: &'a str,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a Text<'a>>,
}

// === impl WireAnnotation ===

impl<'a> WireAnnotation<'a> {
    /// The citation; `None` for annotations of other kinds.
    pub(super) fn citation(self) -> Option<Citation<'a>> {
        let WireCited { url, title, content } = self.url_citation?;
        let title = title.filter(|title| !title.is_empty());
        Some(Citation { url, title, cited_text: content, native: None })
    }
}

// === impl Annotation ===

impl<'a> Annotation<'a> {
    /// Writes a citation of the characters from `start` to `end`; `None` where there is no URL, which the API wants.
    pub(super) fn of(citation: &'a Citation<'a>, start: usize, end: usize) -> Option<Self> {
        let Citation { url, title, cited_text, native: _ } = citation;
        let url_citation = Cited {
            start_index: start,
            end_index: end,
            url: url.as_deref()?,
            title: title.as_deref().unwrap_or_default(),
            content: cited_text.as_ref(),
        };
        Some(Self { kind: "url_citation", url_citation })
    }
}

// === impl WireCache ===

impl WireCache<'_> {
    /// What it says.
    pub(super) fn cache(&self) -> Cache {
        if self.ttl.as_deref() == Some("1h") { Cache::Hour } else { Cache::Default }
    }
}

impl WireBreakpoint<'_> {
    /// What it says. Half an hour is what a cache has anyway.
    pub(super) fn cache(&self) -> Cache {
        if self.ttl.as_deref() == Some("12h") { Cache::Hour } else { Cache::Default }
    }
}

impl From<Cache> for WireBreakpoint<'static> {
    fn from(cache: Cache) -> Self {
        let ttl = match cache {
            Cache::Default => None,
            Cache::Hour => Some("12h".into()),
        };
        Self { mode: "explicit".into(), ttl }
    }
}

impl From<Cache> for WireCache<'static> {
    fn from(cache: Cache) -> Self {
        let ttl = match cache {
            Cache::Default => None,
            Cache::Hour => Some("1h".into()),
        };
        Self { kind: "ephemeral".into(), ttl }
    }
}
