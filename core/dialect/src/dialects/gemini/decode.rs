//! Reads a `generateContent` request into the hub.

use serde_json::value::RawValue;

use super::{
    generation::{self, PREFIX},
    part::{self, Calls},
    schema::json_schema,
    wire::{WireContent, WireToolConfig, camel},
};
use crate::{
    dialects::{
        Called, Dialect,
        read::{Members, field, is_null, is_text, object, unnested},
    },
    error::{DecodeError, Malformed},
    hub::{Block, Hosted, Json, Request, Role, Text, Tool, ToolChoice, Turn},
};

type Read<T> = Result<T, DecodeError>;

/// Reads a request.
///
/// # Errors
/// As [`Dialect::decode_request`].
pub fn decode_request<'a>(called: &Called<'a>, body: &'a [u8]) -> Read<Request<'a>> {
    members(called, object(body)?)
}

pub(super) fn members<'a>(called: &Called<'a>, Members(members): Members<'a>) -> Read<Request<'a>> {
    let stream = called.stream.unwrap_or_default();
    let mut request = Request { dialect: Dialect::Gemini, stream, ..Request::default() };
    let (mut model, mut has_turns) = (called.model.clone().map(Text), false);
    for (name, raw) in members {
        if is_null(raw) {
            continue;
        }
        match &*camel(&name) {
            "contents" => {
                request.turns = contents(raw)?;
                has_turns = true;
            }
            "systemInstruction" => request.system = system(raw)?,
            "tools" => tools(raw, &mut request)?,
            "toolConfig" => tool_config(raw, &mut request)?,
            "generationConfig" => {
                generation::read(raw, &mut request).map_err(|error| error.within("generationConfig", None))?
            }
            // What the path says counts.
            "model" => model = model.or(Some(field("model", raw)?)),
            _ => {
                unnested(&name, &[PREFIX])?;
                request.rest.push((name, field("", raw)?));
            }
        }
    }
    request.model = model.ok_or(Malformed::Missing("model"))?;
    if has_turns { Ok(request) } else { Err(Malformed::Missing("contents").into()) }
}

fn contents<'a>(raw: &'a RawValue) -> Read<Vec<Turn<'a>>> {
    let (mut calls, mut turns) = (Calls::new("call"), Vec::new());
    part::list("contents", raw, |raw| {
        let wire: WireContent<'a> = field("", raw)?;
        let role = match wire.role.as_deref() {
            Some("model") => Role::Assistant,
            // `function` is how results of tools were marked once.
            Some("user" | "function" | "tool" | "") | None => Role::User,
            Some("system") => Role::System,
            Some(_) => return Err(DecodeError::invalid("role", "`user` or `model`")),
        };
        let mut blocks = Vec::new();
        part::content(wire, &mut calls, &mut blocks)?;
        match turns.last_mut() {
            Some(Turn { role: Role::Assistant, blocks: last }) if role == Role::Assistant => part::go_on(last, blocks),
            _ => turns.push(Turn { role, blocks }),
        }
        Ok(())
    })?;
    Ok(turns)
}

// Instructions are text, says the API.
fn system<'a>(raw: &'a RawValue) -> Read<Vec<Block<'a>>> {
    if is_text(raw) {
        return Ok(vec![Block::text(field::<Text<'a>>("systemInstruction", raw)?)]);
    }
    let wire: WireContent<'a> = field("systemInstruction", raw)?;
    let mut blocks = Vec::new();
    part::content(wire, &mut Calls::default(), &mut blocks).map_err(|error| error.within("systemInstruction", None))?;
    blocks.retain(|block| matches!(block, Block::Text { .. }));
    Ok(blocks)
}

// An object of the list has functions, or tools of the provider by their names, or both.
fn tools<'a>(raw: &'a RawValue, request: &mut Request<'a>) -> Read<()> {
    part::list("tools", raw, |raw| {
        let Members(members) = field("", raw)?;
        for (name, raw) in members {
            if is_null(raw) {
                continue;
            }
            let kind = camel(&name).into_owned();
            if kind == "functionDeclarations" {
                part::list("functionDeclarations", raw, |raw| {
                    request.tools.push(function(raw)?);
                    Ok(())
                })?;
            } else {
                let json = Json::of(&std::collections::BTreeMap::from([(&kind, raw)]));
                request.tools.push(Tool::Hosted { hosted: hosted(&kind), kind: kind.into(), json });
            }
        }
        Ok(())
    })
}

fn function<'a>(raw: &'a RawValue) -> Read<Tool<'a>> {
    let Members(members) = field("", raw)?;
    let (mut name, mut description, mut input_schema, mut rest) = (None, None, None, Vec::new());
    for (member, raw) in members {
        if is_null(raw) {
            continue;
        }
        match &*camel(&member) {
            "name" => name = Some(field("name", raw)?),
            "description" => description = Some(field("description", raw)?),
            "parameters" => input_schema = input_schema.or_else(|| Some(json_schema(raw))),
            "parametersJsonSchema" => input_schema = Some(field("parametersJsonSchema", raw)?),
            _ => rest.push((member, field("", raw)?)),
        }
    }
    Ok(Tool::Function {
        name: name.ok_or_else(|| DecodeError::invalid("name", "there"))?,
        description,
        // A function without parameters.
        input_schema: input_schema
            .unwrap_or_else(|| Json::of(&serde_json::json!({"type": "object", "properties": {}}))),
        strict: None,
        cache: None,
        rest,
    })
}

fn hosted(kind: &str) -> Hosted {
    match kind {
        "googleSearch" | "googleSearchRetrieval" | "enterpriseWebSearch" => Hosted::WebSearch,
        "codeExecution" => Hosted::CodeExecution,
        "urlContext" => Hosted::WebFetch,
        _ => Hosted::Other,
    }
}

// What the hub's choice does not tell is kept whole: the mode in which calls keep their schemas, several names, other settings.
fn tool_config<'a>(raw: &'a RawValue, request: &mut Request<'a>) -> Read<()> {
    let WireToolConfig { function_calling_config } = field("toolConfig", raw)?;
    let calling = function_calling_config.unwrap_or_default();
    let names = calling.allowed_function_names;
    let (choice, is_told) = match (&*calling.mode.to_ascii_uppercase(), names.as_slice()) {
        ("AUTO", []) => (Some(ToolChoice::Auto), true),
        ("NONE", []) => (Some(ToolChoice::None), true),
        ("ANY", []) => (Some(ToolChoice::Any), true),
        ("ANY", [name]) => (Some(ToolChoice::Tool { name: name.clone() }), true),
        ("ANY", _) => (Some(ToolChoice::Any), false),
        ("NONE", _) => (Some(ToolChoice::None), false),
        ("AUTO" | "VALIDATED", _) => (Some(ToolChoice::Auto), false),
        _ => (None, false),
    };
    request.tool_choice = choice;
    if !is_told || !is_only_calling(raw) {
        request.rest.push(("toolConfig".into(), field("toolConfig", raw)?));
    }
    Ok(())
}

fn is_only_calling(raw: &RawValue) -> bool {
    let only = |raw: &RawValue, known: &[&str]| {
        let Members(members) = field("", raw).unwrap_or_default();
        members.iter().all(|(name, _)| known.contains(&&*camel(name)))
    };
    let Members(members) = field("", raw).unwrap_or_default();
    only(raw, &["functionCallingConfig"]) && members.iter().all(|(_, raw)| only(raw, &["mode", "allowedFunctionNames"]))
}
