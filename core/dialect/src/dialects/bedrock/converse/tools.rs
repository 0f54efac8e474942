//! `toolConfig`: what the model may call, and whether it must.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    additional::Maker,
    block,
    piece::{Members as Rest, Writing, cache_point},
    wire::WireCachePoint,
};
use crate::{
    dialects::read::{Members, each, field, is_null},
    error::DecodeError,
    hub::{Block, Cache, Feature, Hosted, Json, Request, Text, Tool, ToolChoice, fit::object_schema},
};

type Read<T> = Result<T, DecodeError>;

/// Nova's search of the web, a tool that Amazon runs.
const NOVA_SEARCH: &str = "nova_grounding";
/// How the end of what is cached is called where no tool stands before it.
const CACHE_POINT: &str = "cachePoint";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireConfig<'a> {
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(default)]
    tool_choice: Option<WireChoice<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireChoice<'a> {
    #[serde(borrow)]
    auto: Option<Json<'a>>,
    any: Option<Json<'a>>,
    tool: Option<Named<'a>>,
}

#[derive(Debug, Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireTool<'a> {
    #[serde(borrow, default)]
    tool_spec: Option<&'a RawValue>,
    #[serde(default)]
    system_tool: Option<Named<'a>>,
    #[serde(default)]
    cache_point: Option<WireCachePoint<'a>>,
}

/// `toolConfig`, as it is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config<'a> {
    tools: Vec<Written<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
}

impl Config<'_> {
    /// Marks that the prompt is cached up to behind the tools.
    pub(super) fn mark(&mut self) {
        self.tools.push(Written::CachePoint(cache_point(Cache::Default)));
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Written<'a> {
    ToolSpec(Spec<'a>),
    SystemTool {
        name: &'static str,
    },
    CachePoint(WireCachePoint<'static>),
    #[serde(untagged)]
    Own(&'a Json<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: Schema<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

#[derive(Serialize)]
struct Schema<'a> {
    json: Json<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Choice<'a> {
    Auto {},
    Any {},
    Tool { name: &'a str },
}

/// Reads `toolConfig`.
pub(super) fn read<'a>(raw: &'a RawValue, request: &mut Request<'a>) -> Read<()> {
    let WireConfig { tools, tool_choice } = field("", raw)?;
    for found in tools.map(|raw| each("tools", raw, tool)).transpose()?.unwrap_or_default() {
        match (found, request.tools.last_mut()) {
            (Found::CachePoint(found, _), Some(Tool::Function { cache, .. })) if cache.is_none() => {
                *cache = Some(found)
            }
            (Found::CachePoint(_, json), _) => {
                request.tools.push(Tool::Hosted { hosted: Hosted::Other, kind: CACHE_POINT.into(), json });
            }
            (Found::Tool(tool), _) => request.tools.push(tool),
        }
    }
    request.tool_choice = match tool_choice {
        Some(WireChoice { tool: Some(Named { name }), .. }) => Some(ToolChoice::Tool { name }),
        Some(WireChoice { any: Some(_), .. }) => Some(ToolChoice::Any),
        Some(WireChoice { auto: Some(_), .. }) => Some(ToolChoice::Auto),
        Some(_) => return Err(DecodeError::invalid("toolChoice", "`auto`, `any` or `tool`")),
        None => None,
    };
    Ok(())
}

/// A tool, or the end of what is cached, which is a member of the list here.
enum Found<'a> {
    Tool(Tool<'a>),
    CachePoint(Cache, Json<'a>),
}

fn tool<'a>(raw: &'a RawValue) -> Read<Found<'a>> {
    Ok(match field("", raw)? {
        WireTool { tool_spec: Some(spec), .. } => {
            Found::Tool(function(spec).map_err(|error| error.within("toolSpec", None))?)
        }
        WireTool { cache_point: Some(point), .. } => Found::CachePoint(block::cache(&point), field("", raw)?),
        WireTool { system_tool: Some(Named { name }), .. } => {
            let hosted = if &*name == NOVA_SEARCH { Hosted::WebSearch } else { Hosted::Other };
            Found::Tool(Tool::Hosted { hosted, kind: name, json: field("", raw)? })
        }
        _ => return Err(DecodeError::invalid("", "one of `toolSpec`, `systemTool` and `cachePoint`")),
    })
}

fn function<'a>(raw: &'a RawValue) -> Read<Tool<'a>> {
    #[derive(Deserialize)]
    struct InputSchema<'a> {
        #[serde(borrow)]
        json: Json<'a>,
    }
    let Members(members) = field("", raw)?;
    let (mut name, mut description, mut schema, mut strict, mut rest) = (None, None, None, None, Vec::new());
    for (member, raw) in members {
        if is_null(raw) {
            continue;
        }
        match &*member {
            "name" => name = Some(field("name", raw)?),
            "description" => description = Some(field("description", raw)?),
            "inputSchema" => schema = Some(field::<InputSchema<'a>>("inputSchema", raw)?.json),
            "strict" => strict = Some(field("strict", raw)?),
            _ => rest.push((member, field("", raw)?)),
        }
    }
    Ok(Tool::Function {
        name: name.ok_or_else(|| DecodeError::invalid("name", "there"))?,
        description,
        input_schema: schema.ok_or_else(|| DecodeError::invalid("inputSchema", "there"))?,
        strict,
        cache: None,
        rest,
    })
}

/// What a request says of its tools.
pub(super) struct Said<'a> {
    /// `toolConfig`.
    pub(super) config: Option<Config<'a>>,
    /// No tool may be called, which the API cannot be told.
    pub(super) is_forbidden: bool,
}

/// Writes `toolConfig`. Where the conversation has calls, the API wants their tools whatever may be called now.
pub(super) fn write<'a>(writing: &mut Writing<'_>, maker: Maker, request: &'a Request<'a>) -> Said<'a> {
    let mut tools = Vec::new();
    for tool in &request.tools {
        one(writing, maker, tool, &mut tools);
    }
    let blocks = || request.turns.iter().flat_map(|turn| &turn.blocks);
    let has_calls = blocks().any(|block| matches!(block, Block::ToolUse(_) | Block::ToolResult(_)));
    let mut is_forbidden = request.tool_choice == Some(ToolChoice::None);
    if is_forbidden {
        writing.losses.meet(Feature::ToolChoiceNone);
        if !has_calls {
            return Said { config: None, is_forbidden: false };
        }
    }
    if tools.is_empty() && has_calls && !writing.is_own {
        tools = called(blocks());
        is_forbidden = true;
    }
    let tool_choice = match &request.tool_choice {
        Some(ToolChoice::Auto) => Some(Choice::Auto {}),
        Some(ToolChoice::Any) => Some(Choice::Any {}),
        Some(ToolChoice::Tool { name }) => Some(Choice::Tool { name }),
        Some(ToolChoice::None) | None => None,
    };
    let tool_choice = tool_choice.filter(|_| !is_forbidden);
    Said { config: (!tools.is_empty()).then_some(Config { tools, tool_choice }), is_forbidden }
}

fn one<'a>(writing: &mut Writing<'_>, maker: Maker, tool: &'a Tool<'a>, out: &mut Vec<Written<'a>>) {
    match tool {
        Tool::Function { name, description, input_schema, strict, cache, rest } => {
            out.push(Written::ToolSpec(Spec {
                name,
                description: description.as_deref().filter(|text| !text.is_empty()),
                input_schema: Schema {
                    json: if writing.is_own { input_schema.lend() } else { object_schema(input_schema) },
                },
                strict: *strict,
                rest: writing.rest(rest),
            }));
            out.extend(cache.map(|cache| Written::CachePoint(cache_point(cache))));
        }
        Tool::Hosted { json, .. } if writing.is_own => out.push(Written::Own(json)),
        Tool::Hosted { hosted: Hosted::WebSearch, .. } if maker == Maker::Amazon => {
            writing.losses.approximate(Feature::WebSearch);
            out.push(Written::SystemTool { name: NOVA_SEARCH });
        }
        Tool::Hosted { hosted: Hosted::WebSearch, .. } => writing.losses.meet(Feature::WebSearch),
        Tool::Hosted { .. } => writing.losses.meet(Feature::HostedTool),
    }
}

// The tools that were called, of which no more is known than their names.
fn called<'a>(blocks: impl Iterator<Item = &'a Block<'a>>) -> Vec<Written<'a>> {
    let mut names: Vec<&str> = blocks
        .filter_map(|block| match block {
            Block::ToolUse(tool) => Some(&*tool.name),
            _ => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    let any = || Schema { json: Json::of(&serde_json::json!({"type": "object"})) };
    let spec = |name| Spec { name, description: None, input_schema: any(), strict: None, rest: Rest(&[]) };
    names.into_iter().map(|name| Written::ToolSpec(spec(name))).collect()
}
