//! Reads a Responses request into the hub.

use std::collections::HashSet;

use serde_json::value::RawValue;

use super::{
    item::{Spoken, item},
    part::content,
    tools::{Chosen, Tools},
    wire::WireFormat,
};
use crate::{
    dialects::{
        Called, Dialect,
        read::{Members, each, field, is_null, is_text, object, unnested},
    },
    error::{DecodeError, Malformed},
    hub::{Block, Effort, Format, Json, Request, Role, Text, ThinkingMode, ToolChoice, Turn},
};

pub(super) type Read<T> = Result<T, DecodeError>;

/// The objects of a request whose fields stand in `rest` with the object's name before them.
pub(super) const NESTED: [&str; 2] = ["reasoning.", "text."];
/// What a schema without a name is called: the API wants one.
pub(super) const SCHEMA_NAME: &str = "answer";
/// The only thing that is asked of `include` by all who keep their conversations themselves.
pub(super) const ENCRYPTED_REASONING: &str = "reasoning.encrypted_content";
pub(super) const KEPT_ELSEWHERE: &str = "left out: what is kept between requests stays with the provider that keeps it. Send the \
    whole conversation in `input`";

/// Reads a request.
///
/// # Errors
/// As [`Dialect::decode_request`]; also where the conversation is not in it, but with a provider who kept it.
pub fn decode_request<'a>(called: &Called<'a>, body: &'a [u8]) -> Read<Request<'a>> {
    let Members(members) = object(body)?;
    let mut request =
        Request { dialect: Dialect::OpenAiResponses, stream: called.stream.unwrap_or_default(), ..Request::default() };
    let (mut model, mut input, mut choice) = (called.model.clone().map(Text), None, None);
    let (mut user, mut safety) = (None, None);
    let mut tools = Tools::default();
    for (name, raw) in members {
        if is_null(raw) {
            continue;
        }
        match &*name {
            "model" => model = Some(field("model", raw)?),
            "stream" => request.stream = field("stream", raw)?,
            "instructions" => {
                let instructions: Text<'a> = field("instructions", raw)?;
                if !instructions.is_empty() {
                    request.system.insert(0, Block::text(instructions));
                }
            }
            "input" => input = Some(raw),
            "tools" => tools.read("tools", raw)?,
            "tool_choice" => choice = Some(raw),
            "parallel_tool_calls" => request.parallel_tools = Some(field("parallel_tool_calls", raw)?),
            "max_output_tokens" => request.output_tokens_max = Some(field("max_output_tokens", raw)?),
            "temperature" => request.sampling.temperature = Some(field("temperature", raw)?),
            "top_p" => request.sampling.top_p = Some(field("top_p", raw)?),
            "top_k" => request.sampling.top_k = Some(field("top_k", raw)?),
            "reasoning" => reasoning(raw, &mut request)?,
            "text" => text(raw, &mut request)?,
            "user" => user = Some((name, raw)),
            "safety_identifier" => safety = Some(field("safety_identifier", raw)?),
            "store" if raw.get() == "false" => {}
            "background" if raw.get() == "false" => {}
            "include" if is_ordinary(raw) => {}
            "previous_response_id" | "conversation" | "prompt" => {
                return Err(DecodeError::invalid(&*name, KEPT_ELSEWHERE));
            }
            _ => {
                unnested(&name, &NESTED)?;
                request.rest.push((name, field("", raw)?));
            }
        }
    }
    request.model = model.ok_or(Malformed::Missing("model"))?;
    conversation(input.ok_or(Malformed::Missing("input"))?, &mut request, &mut tools)?;
    if let Some(raw) = choice {
        tool_choice(raw, &mut request, &mut tools)?;
    }
    match (safety, user) {
        (Some(safety), Some((name, raw))) => {
            request.user = Some(safety);
            request.rest.push((name, field("", raw)?));
        }
        (Some(safety), None) => request.user = Some(safety),
        (None, Some((_, raw))) => request.user = Some(field("user", raw)?),
        (None, None) => {}
    }
    // In the order in which they are written.
    request.rest.sort_by_key(|(name, _)| match &**name {
        name if name.starts_with("reasoning.") => 0,
        name if name.starts_with("text.") => 1,
        _ => 2,
    });
    request.tools = tools.list;
    request.forms = tools.forms;
    Ok(request)
}

/// What must be there.
pub(super) fn needed<T>(name: &str, value: Option<T>) -> Read<T> {
    value.ok_or_else(|| DecodeError::invalid(name, "there"))
}

fn is_ordinary(include: &RawValue) -> bool {
    let list: Vec<Text<'_>> = serde_json::from_str(include.get()).unwrap_or_default();
    matches!(list.as_slice(), [only] if &**only == ENCRYPTED_REASONING)
}

// Instructions ahead of everything else are those of the request; items of one side that follow each other are one turn.
fn conversation<'a>(raw: &'a RawValue, request: &mut Request<'a>, tools: &mut Tools<'a>) -> Read<()> {
    if is_text(raw) {
        request.turns.push(Turn { role: Role::User, blocks: content("input", raw)? });
        return Ok(());
    }
    for Spoken { role, blocks, is_refusal: _, tools: more } in each("input", raw, item)? {
        if let Some(raw) = more {
            tools.read("input.tools", raw)?;
        }
        if blocks.is_empty() {
            continue;
        }
        match request.turns.last_mut() {
            None if role == Role::System => request.system.extend(blocks),
            Some(turn) if turn.role == role => turn.blocks.extend(blocks),
            _ => request.turns.push(Turn { role, blocks }),
        }
    }
    Ok(())
}

fn tool_choice<'a>(raw: &'a RawValue, request: &mut Request<'a>, tools: &mut Tools<'a>) -> Read<()> {
    let expected = "`auto`, `none`, `required`, or an object with a `type`";
    if is_text(raw) {
        let word: Text<'a> = field("tool_choice", raw)?;
        request.tool_choice = Some(mode(&word).ok_or_else(|| DecodeError::invalid("tool_choice", expected))?);
        return Ok(());
    }
    let chosen = Chosen::read(raw).map_err(|error| error.within("tool_choice", None))?;
    if &*chosen.kind == "allowed_tools" {
        let list = needed("tool_choice.tools", chosen.tools.as_ref().and_then(Json::raw))?;
        let allowed = each("tool_choice.tools", list, Chosen::read)?;
        let names: HashSet<Text<'a>> = allowed.iter().filter_map(Chosen::function).collect();
        let kinds: HashSet<Text<'a>> = allowed.into_iter().map(|chosen| chosen.kind).collect();
        tools.allow(&names, &kinds);
        let word = chosen.mode.unwrap_or_else(|| "auto".into());
        request.tool_choice = Some(mode(&word).ok_or_else(|| DecodeError::invalid("tool_choice.mode", expected))?);
    } else if let Some(name) = chosen.function() {
        request.tool_choice = Some(ToolChoice::Tool { name });
    } else if &*chosen.kind == "function" || &*chosen.kind == "custom" {
        return needed("tool_choice.name", None);
    } else {
        // A tool that the provider runs: no other dialect can be made to use it.
        request.rest.push(("tool_choice".into(), field("tool_choice", raw)?));
    }
    Ok(())
}

fn mode<'a>(word: &str) -> Option<ToolChoice<'a>> {
    Some(match word {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "required" => ToolChoice::Any,
        _ => return None,
    })
}

fn reasoning<'a>(raw: &'a RawValue, request: &mut Request<'a>) -> Read<()> {
    let Members(members) = field("reasoning", raw)?;
    for (name, raw) in members {
        match &*name {
            _ if is_null(raw) => {}
            "effort" => {
                let word: Text<'a> = field("reasoning.effort", raw)?;
                match Effort::from_word(&word) {
                    Some(effort) => request.thinking.effort = Some(effort),
                    None if &*word == "none" => request.thinking.mode = Some(ThinkingMode::Off),
                    None => request.rest.push(("reasoning.effort".into(), field("", raw)?)),
                }
            }
            "summary" => {
                request.thinking.is_shown = Some(true);
                if raw.get() != "\"auto\"" {
                    request.rest.push(("reasoning.summary".into(), field("", raw)?));
                }
            }
            _ => request.rest.push((["reasoning.", &*name].concat().into(), field("", raw)?)),
        }
    }
    Ok(())
}

fn text<'a>(raw: &'a RawValue, request: &mut Request<'a>) -> Read<()> {
    let Members(members) = field("text", raw)?;
    for (name, raw) in members {
        match &*name {
            _ if is_null(raw) => {}
            "format" => {
                let WireFormat { kind, name, description, schema, strict } = field("text.format", raw)?;
                request.format = match &*kind {
                    "text" => Format::Text,
                    "json_object" => Format::Json,
                    "json_schema" => Format::Schema {
                        name: name.filter(|name| &**name != SCHEMA_NAME),
                        description,
                        schema: needed("text.format.schema", schema)?,
                        strict,
                    },
                    _ => {
                        return Err(DecodeError::invalid("text.format.type", "`text`, `json_object` or `json_schema`"));
                    }
                };
            }
            _ => request.rest.push((["text.", &*name].concat().into(), field("", raw)?)),
        }
    }
    Ok(())
}
