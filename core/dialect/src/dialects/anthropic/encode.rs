//! Writes a Messages request from the hub.

use std::borrow::Cow;

use serde::Serialize;

use super::{
    block::{Piece, Writing, cache, is_foreign_thinking, text},
    limits::limits,
    wire::{Rest, WireCache, WireChoice, WireFormat, WireMetadata, WireOutput, WireThinking},
};
use crate::{
    dialects::{Dialect, Quirks},
    hub::{
        Cache, Effort, Feature, Format, Hosted, Json, Losses, Request, Role, Text, ThinkingMode, Tool, ToolChoice,
        fit::object_schema, order::ordered, spelling::spelled,
    },
};

const JSON_INSTRUCTION: &str = "Answer with one JSON object and nothing else.";
/// What stands ahead of instructions in the middle that have become the user's.
const INSTRUCTION: &str = "The following is an instruction of the application, not of the user:";

#[derive(Serialize)]
struct WireRequest<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    model: &'a str,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Piece<'a>>,
    messages: Vec<Said<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<WireChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<WireThinking<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<WireOutput<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<WireMetadata<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(flatten)]
    rest: Rest<'a>,
}

#[derive(Serialize)]
struct Said<'a> {
    role: &'static str,
    content: Vec<Piece<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireTool<'a> {
    Function(Box<Function<'a>>),
    Own(&'a Json<'a>),
    WebSearch(WebSearch),
}

#[derive(Serialize)]
struct Function<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a Text<'a>>,
    input_schema: Json<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<WireCache<'a>>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

#[derive(Serialize)]
struct WebSearch {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'static str,
}

/// Writes a request.
#[must_use]
pub fn encode_request(request: &Request<'_>, quirks: &Quirks, losses: &mut Losses) -> Vec<u8> {
    write(request, request.dialect == Dialect::Anthropic, quirks, losses)
}

fn write(request: &Request<'_>, is_own: bool, quirks: &Quirks, losses: &mut Losses) -> Vec<u8> {
    // The clients of this dialect know what the API wants, as long as nothing of another provider is left out of what they say.
    let is_kept = is_own && !request.turns.iter().flat_map(|turn| &turn.blocks).any(is_foreign_thinking);
    let ordered = (!is_kept).then(|| ordered(&request.turns));
    let turns = ordered.as_ref().map(|ordered| ordered.turns.as_slice());
    let limits = limits(request, turns, quirks, Dialect::Anthropic, losses);
    let mut writing = Writing { is_own, losses };
    let mut system = writing.blocks(Role::System, &request.system);
    if let Some(ordered) = &ordered {
        system.extend(writing.turn(Role::System, &ordered.system));
    }
    if request.format == Format::Json {
        writing.losses.meet(Feature::JsonFormat);
        system.push(Piece::Block(Box::new(text(JSON_INSTRUCTION))));
    }
    let mut messages = match &ordered {
        Some(ordered) => {
            messages(ordered.turns.iter().map(|turn| (turn.role, writing.turn(turn.role, &turn.blocks))), quirks)
        }
        None => messages(request.turns.iter().map(|turn| (turn.role, writing.blocks(turn.role, &turn.blocks))), quirks),
    };
    if quirks.lacks_system_turns && request.turns.iter().any(|turn| turn.role == Role::System) {
        writing.losses.approximate(Feature::MidConversationSystem);
    }
    let mut tools: Vec<_> = request.tools.iter().filter_map(|tool| writing.tool(tool)).collect();
    if request.is_cached_unasked() {
        mark(&mut system, &mut tools, &mut messages);
    }
    let fields = writing.rest(&request.rest);
    let rest = |of| Rest { of, fields };
    let wire = WireRequest {
        model: &request.model,
        max_tokens: limits.output_tokens_max,
        system,
        messages,
        tool_choice: tool_choice(request).filter(|_| !tools.is_empty()),
        tools,
        thinking: thinking(limits.mode, request.thinking.is_shown, rest("thinking.")),
        output_config: output(limits.effort, &request.format, rest("output_config.")),
        temperature: limits.temperature,
        top_p: limits.top_p,
        top_k: limits.top_k,
        stop_sequences: limits.stop_sequences,
        metadata: metadata(limits.user_id, rest("metadata.")),
        stream: request.stream,
        rest: rest(""),
    };
    // Texts, numbers and JSON have a JSON form.
    serde_json::to_vec(&wire).unwrap_or_default()
}

// Turns of which nothing is left are left out, but for those of the user: the model's turns about them stay apart.
fn messages<'a>(turns: impl Iterator<Item = (Role, Vec<Piece<'a>>)>, quirks: &Quirks) -> Vec<Said<'a>> {
    let mut messages: Vec<Said<'a>> = Vec::new();
    for (role, content) in turns {
        let is_instruction = role == Role::System && quirks.lacks_system_turns;
        match messages.last_mut() {
            _ if content.is_empty() => {}
            Some(last) if is_instruction && last.role == "user" => {
                last.content.push(Piece::Block(Box::new(text(INSTRUCTION))));
                last.content.extend(content);
            }
            _ => messages.push(Said { role: if is_instruction { "user" } else { role_word(role) }, content }),
        }
    }
    messages
}

// Nothing is cached here that is not marked.
fn mark(system: &mut [Piece<'_>], tools: &mut [WireTool<'_>], messages: &mut [Said<'_>]) {
    match (system.last_mut(), tools.last_mut()) {
        (Some(Piece::Block(last)), _) => last.cache_control = Some(cache(Cache::Default)),
        (_, Some(WireTool::Function(last))) => last.cache_control = Some(cache(Cache::Default)),
        _ => {}
    }
    let said = messages.iter_mut().rfind(|said| said.role == "user").and_then(|said| said.content.last_mut());
    if let Some(Piece::Block(last)) = said {
        last.cache_control = Some(cache(Cache::Default));
    }
}

impl Writing<'_> {
    fn tool<'a>(&mut self, tool: &'a Tool<'a>) -> Option<WireTool<'a>> {
        Some(match tool {
            Tool::Function { name, description, input_schema, strict, cache: marked, rest } => {
                WireTool::Function(Box::new(Function {
                    name: spelled(name),
                    description: description.as_ref(),
                    input_schema: if self.is_own { input_schema.lend() } else { object_schema(input_schema) },
                    strict: *strict,
                    cache_control: marked.map(cache),
                    rest: Rest { of: "", fields: self.rest(rest) },
                }))
            }
            Tool::Hosted { json, .. } if self.is_own => WireTool::Own(json),
            Tool::Hosted { hosted: Hosted::WebSearch, .. } => {
                self.losses.meet(Feature::WebSearch);
                WireTool::WebSearch(WebSearch { kind: "web_search_20250305", name: "web_search" })
            }
            Tool::Hosted { .. } => {
                self.losses.meet(Feature::HostedTool);
                return None;
            }
        })
    }

    fn rest<'a>(&mut self, rest: &'a [(Text<'a>, Json<'a>)]) -> &'a [(Text<'a>, Json<'a>)] {
        if self.is_own {
            return rest;
        }
        rest.iter().for_each(|(name, _)| self.losses.drop(Feature::Field(name.to_string())));
        &[]
    }
}

const fn role_word(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::System => "system",
    }
}

fn tool_choice<'a>(request: &'a Request<'a>) -> Option<WireChoice<'a>> {
    let (kind, name) = match &request.tool_choice {
        Some(ToolChoice::Any) => ("any", None),
        Some(ToolChoice::None) => ("none", None),
        Some(ToolChoice::Tool { name }) => ("tool", Some(Text(spelled(name)))),
        Some(ToolChoice::Auto) => ("auto", None),
        // Only here the API takes whether several may be called.
        None if request.parallel_tools.is_some() && !request.tools.is_empty() => ("auto", None),
        None => return None,
    };
    let disable_parallel_tool_use = request.parallel_tools.filter(|_| kind != "none").map(|allowed| !allowed);
    Some(WireChoice { kind: kind.into(), name, disable_parallel_tool_use })
}

// What is said about thinking has a type: one that the hub knows, or one that it does not, which is then among the rest.
fn thinking(mode: Option<ThinkingMode>, is_shown: Option<bool>, rest: Rest<'_>) -> Option<WireThinking<'_>> {
    let display = is_shown.map(|shown| if shown { "summarized" } else { "omitted" });
    if rest.has("type") {
        return Some(WireThinking { kind: None, budget_tokens: None, display, rest });
    }
    let (kind, budget_tokens) = match mode? {
        ThinkingMode::Off => ("disabled", None),
        ThinkingMode::Adaptive => ("adaptive", None),
        ThinkingMode::Budget(tokens) => ("enabled", Some(tokens)),
    };
    let display = display.filter(|_| mode != Some(ThinkingMode::Off));
    Some(WireThinking { kind: Some(kind), budget_tokens, display, rest })
}

fn output<'a>(effort: Option<Effort>, format: &'a Format<'a>, rest: Rest<'a>) -> Option<WireOutput<'a>> {
    // The API has nothing below low.
    let effort = effort.map(|effort| effort.at_least_low().word());
    let format = match format {
        Format::Schema { schema, .. } => Some(WireFormat { kind: "json_schema".into(), schema: schema.lend() }),
        Format::Text | Format::Json => None,
    };
    let is_said = effort.is_some() || format.is_some() || !rest.is_empty();
    is_said.then_some(WireOutput { effort, format, rest })
}

fn metadata<'a>(user_id: Option<&'a str>, rest: Rest<'a>) -> Option<WireMetadata<'a>> {
    (user_id.is_some() || !rest.is_empty()).then_some(WireMetadata { user_id, rest })
}

#[cfg(test)]
mod tests;
