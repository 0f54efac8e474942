//! Messages and their blocks: text is only bytes, an image has its price, and what is fetched or unpacked elsewhere has no size here.

use super::{super::probe::Text, Scale, is_word, walk, word};
use serde::{
    Deserialize,
    de::{IgnoredAny, MapAccess},
};
use serde_json::value::RawValue;
use std::mem;

/// What an object is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Message,
    Block,
    Source,
    Tool,
}

/// How a block is weighed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// By its bytes, and by the blocks in it.
    Text,
    Image,
    Document,
    /// It stands for the definition of a tool.
    Reference,
    /// Not known: it may be anything.
    Other,
}

/// The types of blocks whose tokens stand in the body itself.
/// <https://platform.claude.com/docs/en/api/messages/create>, and its beta.
const TEXTS: [&str; 42] = [
    "text",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "tool_result",
    "search_result",
    "server_tool_use",
    "web_search_tool_result",
    "web_search_result",
    "web_search_tool_result_error",
    "web_fetch_tool_result",
    "web_fetch_result",
    "web_fetch_tool_result_error",
    "web_fetch_tool_error",
    "code_execution_tool_result",
    "code_execution_result",
    "encrypted_code_execution_result",
    "code_execution_output",
    "code_execution_tool_result_error",
    "bash_code_execution_tool_result",
    "bash_code_execution_result",
    "bash_code_execution_output",
    "bash_code_execution_tool_result_error",
    "text_editor_code_execution_tool_result",
    "text_editor_code_execution_view_result",
    "text_editor_code_execution_create_result",
    "text_editor_code_execution_str_replace_result",
    "text_editor_code_execution_tool_result_error",
    "tool_search_tool_result",
    "tool_search_tool_search_result",
    "tool_search_tool_result_error",
    "mcp_tool_use",
    "mcp_tool_result",
    "advisor_tool_result",
    "advisor_result",
    "advisor_redacted_result",
    "advisor_tool_result_error",
    "compaction",
    "fallback",
    "tool_addition",
    "tool_removal",
    "tool_definition",
];

/// Weighs a message: only its content counts.
pub(super) fn message<'de, A: MapAccess<'de>>(scale: &mut Scale<'de>, mut map: A, depth: u8) -> Result<(), A::Error> {
    while let Some(Text(name)) = map.next_key()? {
        if name == "content" {
            walk(scale, &mut map, &name, Place::Block, depth)?;
        } else {
            map.next_value::<IgnoredAny>()?;
        }
    }
    Ok(())
}

/// Weighs a block and the blocks in it.
pub(super) fn block<'de, A: MapAccess<'de>>(scale: &mut Scale<'de>, mut map: A, depth: u8) -> Result<(), A::Error> {
    let mut kind = None;
    let outer = mem::take(&mut scale.sources);
    while let Some(Text(name)) = map.next_key()? {
        let place = match &*name {
            "type" => {
                let found = Kind::of(map.next_value()?);
                kind = Some(if kind.is_none_or(|kind| kind == found) { found } else { Kind::Other });
                continue;
            }
            "cache_control" => {
                scale.cache_control(map.next_value()?);
                continue;
            }
            "citations" => {
                scale.is_unresolvable |= is_cut_into_chunks(map.next_value()?);
                continue;
            }
            "source" => {
                scale.sources.count += 1;
                Place::Source
            }
            "content" | "tool" | "tool_reference" | "tool_references" => Place::Block,
            "definition" => Place::Tool,
            _ => {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
        };
        walk(scale, &mut map, &name, place, depth)?;
    }
    let sources = mem::replace(&mut scale.sources, outer);
    match kind.unwrap_or(Kind::Other) {
        Kind::Text => {}
        Kind::Image => {
            scale.images = scale.images.saturating_add(1);
            scale.image_bytes = scale.image_bytes.saturating_add(sources.image_bytes());
        }
        Kind::Document => scale.is_unresolvable |= !sources.are_text(),
        Kind::Reference => scale.references = scale.references.saturating_add(1),
        Kind::Other => scale.is_unresolvable = true,
    }
    Ok(())
}

/// Whether a text is to be cited: the provider then sets marks around each of its sentences, and nobody says how many tokens they have.
/// <https://platform.claude.com/docs/en/build-with-claude/citations>
fn is_cut_into_chunks(citations: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Citations {
        enabled: bool,
    }
    // The citations of an earlier answer are a list.
    let is_setting = citations.get().starts_with('{');
    is_setting && !serde_json::from_str::<Citations>(citations.get()).is_ok_and(|citations| !citations.enabled)
}

/// Notes where the content of the block around it comes from.
pub(super) fn source<'de, A: MapAccess<'de>>(scale: &mut Scale<'de>, mut map: A, depth: u8) -> Result<(), A::Error> {
    while let Some(Text(name)) = map.next_key()? {
        match &*name {
            "type" => {
                let value: &RawValue = map.next_value()?;
                scale.sources.types += 1;
                scale.sources.texts += usize::from(is_word(value, &["text", "content"]));
                scale.sources.base64s += usize::from(is_word(value, &["base64"]));
            }
            "data" => {
                let value: &RawValue = map.next_value()?;
                scale.sources.data_bytes = scale.sources.data_bytes.saturating_add(value.get().len() as u64);
            }
            "content" => walk(scale, &mut map, &name, Place::Block, depth)?,
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }
    Ok(())
}

/// Where the content of an image or a document comes from, over all the sources that its block names.
#[derive(Debug, Default)]
pub(super) struct Sources {
    count: usize,
    texts: usize,
    base64s: usize,
    types: usize,
    data_bytes: u64,
}

// === impl Sources ===

impl Sources {
    /// What is certainly an image in base64, and no text.
    fn image_bytes(&self) -> u64 {
        if (self.count, self.types, self.base64s) == (1, 1, 1) { self.data_bytes } else { 0 }
    }

    /// Whether all that the document holds stands in the body as text, or as blocks that were weighed.
    fn are_text(&self) -> bool {
        self.count > 0 && self.types == self.count && self.texts == self.types
    }
}

// === impl Kind ===

impl Kind {
    fn of(value: &RawValue) -> Self {
        match word(value).as_deref() {
            Some("image") => Self::Image,
            Some("document") => Self::Document,
            Some("tool_reference") => Self::Reference,
            Some(name) if TEXTS.contains(&name) => Self::Text,
            _ => Self::Other,
        }
    }
}
