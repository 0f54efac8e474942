//! Reads the items of an input or an output.

use serde_json::value::RawValue;

use super::{
    decode::{KEPT_ELSEWHERE, Read, needed},
    freeform::wrap,
    part::{content, is_part, joined, part},
    seal,
    tools::{SEARCH, SHELL, function_name},
    wire::ReadItem,
};
use crate::{
    dialects::read::{each, field, is_null, is_text},
    error::DecodeError,
    hub::{Block, Json, Role, Text, ToolResult, ToolUse},
};

/// What an item says, and who says it.
#[derive(Debug)]
pub(super) struct Spoken<'a> {
    pub(super) role: Role,
    pub(super) blocks: Vec<Block<'a>>,
    /// The model refused.
    pub(super) is_refusal: bool,
    /// Tools that the item brings along.
    pub(super) tools: Option<&'a RawValue>,
}

impl<'a> Spoken<'a> {
    const fn new(role: Role, blocks: Vec<Block<'a>>) -> Self {
        Self { role, blocks, is_refusal: false, tools: None }
    }
}

/// Reads an item.
pub(super) fn item<'a>(raw: &'a RawValue) -> Read<Spoken<'a>> {
    let wire: ReadItem<'a> = field("", raw)?;
    Ok(match wire.kind.as_deref().unwrap_or_default() {
        // A message needs no type.
        "" | "message" if wire.content.is_some() => message(wire)?,
        "function_call" => {
            let input = arguments(needed("arguments", wire.arguments)?)?;
            called(wire.call_id, wire.namespace, wire.name, input)?
        }
        "custom_tool_call" => {
            let input = wrap(needed("input", wire.input)?);
            called(wire.call_id, wire.namespace, wire.name, input)?
        }
        // What the provider itself looks for has no id.
        "tool_search_call" if wire.call_id.is_some() => {
            let input = needed("arguments", wire.arguments)?;
            called(wire.call_id, None, Some(SEARCH.into()), input)?
        }
        "local_shell_call" => called(wire.call_id, None, Some(SHELL.into()), needed("action", wire.action)?)?,
        "function_call_output" | "custom_tool_call_output" | "local_shell_call_output" => {
            let raw = wire.output.as_ref().and_then(Json::raw).filter(|raw| !is_null(raw));
            let blocks = raw.map(|raw| content("output", raw)).transpose()?.unwrap_or_default();
            answered(needed("call_id", wire.call_id.or(wire.id))?, blocks)
        }
        "tool_search_output" if wire.call_id.is_some() => {
            let tools = needed("tools", wire.tools.as_ref().and_then(Json::raw))?;
            let found = vec![Block::text(tools.get())];
            Spoken { tools: Some(tools), ..answered(needed("call_id", wire.call_id)?, found) }
        }
        "reasoning" => {
            let summary = wire.summary.as_ref().and_then(Json::raw).filter(|raw| !is_null(raw));
            let mut text = summary.map(|raw| joined("summary", raw)).transpose()?.unwrap_or_default();
            let content = wire.content.as_ref().and_then(Json::raw).filter(|raw| text.is_empty() && !is_null(raw));
            if let Some(raw) = content {
                text = joined("content", raw)?;
            }
            Spoken::new(Role::Assistant, vec![seal::block(text, wire)])
        }
        "additional_tools" => {
            let tools = needed("tools", wire.tools.as_ref().and_then(Json::raw))?;
            Spoken { tools: Some(tools), ..Spoken::new(Role::System, Vec::new()) }
        }
        // It has nothing but the id of what the provider keeps.
        "" if wire.role.is_none() => return Err(DecodeError::invalid("", KEPT_ELSEWHERE)),
        "item_reference" => return Err(DecodeError::invalid("", KEPT_ELSEWHERE)),
        "" | "message" => return needed("content", None),
        kind if is_part(kind) => return Err(DecodeError::invalid("type", "the type of an item")),
        kind => {
            let role =
                if kind.ends_with("_output") || kind.ends_with("_response") { Role::User } else { Role::Assistant };
            Spoken::new(role, vec![Block::Other { kind: kind.to_owned().into(), json: field("", raw)? }])
        }
    })
}

fn message(wire: ReadItem<'_>) -> Read<Spoken<'_>> {
    let role = match wire.role.as_deref() {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system" | "developer") => Role::System,
        _ => return Err(DecodeError::invalid("role", "`user`, `assistant`, `system` or `developer`")),
    };
    let raw = needed("content", wire.content.as_ref().and_then(Json::raw))?;
    if is_text(raw) {
        return Ok(Spoken::new(role, content("content", raw)?));
    }
    let parts = each("content", raw, part)?;
    let is_refusal = parts.iter().any(|(_, is_refusal)| *is_refusal);
    let blocks = parts.into_iter().map(|(block, _)| block).collect();
    Ok(Spoken { is_refusal, ..Spoken::new(role, blocks) })
}

fn called<'a>(
    id: Option<Text<'a>>,
    namespace: Option<Text<'a>>,
    name: Option<Text<'a>>,
    input: Json<'a>,
) -> Read<Spoken<'a>> {
    let (id, name) = (needed("call_id", id)?, needed("name", name)?);
    let name = function_name(namespace.as_deref(), name);
    let call = ToolUse { id, name, input, signature: None, cache: None };
    Ok(Spoken::new(Role::Assistant, vec![Block::ToolUse(Box::new(call))]))
}

fn answered<'a>(tool_use_id: Text<'a>, blocks: Vec<Block<'a>>) -> Spoken<'a> {
    let result = ToolResult { tool_use_id, blocks, is_error: false, cache: None };
    Spoken::new(Role::User, vec![Block::ToolResult(Box::new(result))])
}

/// The arguments of a call: an object inside a text. What a model wrote instead of an object is kept as the member `arguments`.
fn arguments(json: Json<'_>) -> Read<Json<'_>> {
    #[derive(serde::Serialize)]
    struct Unreadable<'a> {
        arguments: &'a str,
    }
    let Some(raw) = json.raw().filter(|raw| is_text(raw)) else { return Ok(json) };
    let text: Text<'_> = field("arguments", raw)?;
    if text.trim().is_empty() {
        return Ok(Json::empty_object());
    }
    let read = Json::parse(&text).ok().filter(|json| json.get().starts_with('{'));
    Ok(read.map_or_else(|| Json::of(&Unreadable { arguments: &text }), Json::into_owned))
}
