//! Writes a Chat Completions request from the hub.

use serde::Serialize;

use super::{
    super::rest::Rest,
    call::short_user,
    messages::Messages,
    say::{Message, Writing},
    wire::WireCache,
};
use crate::{
    dialects::{Dialect, Quirks, ThinkingForm},
    hub::{
        Effort, Feature, Format, Hosted, Json, Losses, Request, Sampling, Text, Thinking, ThinkingMode, Tool,
        ToolChoice, fit::object_schema,
    },
};

/// The API takes no more texts at which it stops.
const STOPS_MAX: usize = 4;
/// The API wants a name for a schema: what one without is called, and read as being without.
pub(super) const SCHEMA_NAME: &str = "answer";

#[derive(Serialize)]
struct WireRequest<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    web_search_options: Option<Json<'a>>,
    #[serde(flatten)]
    thinking: WireThinking,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<WireFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [Text<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Text<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireTool<'a> {
    Function(Box<Callable<'a>>),
    Own(&'a Json<'a>),
}

#[derive(Serialize)]
struct Callable<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<WireCache<'static>>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a Text<'a>>,
    parameters: Json<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Choice<'a> {
    Word(&'static str),
    Named {
        #[serde(rename = "type")]
        kind: &'static str,
        function: Named<'a>,
    },
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireFormat<'a> {
    JsonObject,
    JsonSchema { json_schema: Schema<'a> },
}

#[derive(Serialize)]
struct Schema<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a Text<'a>>,
    schema: &'a Json<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

/// How much the model thinks, in the fields of whichever vendor.
#[derive(Default, Serialize)]
struct WireThinking {
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Typed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enable_thinking: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<u64>,
}

#[derive(Default, Serialize)]
struct Reasoning {
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exclude: Option<bool>,
}

#[derive(Serialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: &'static str,
}

/// Writes a request.
#[must_use]
pub fn encode_request(request: &Request<'_>, quirks: &Quirks, losses: &mut Losses) -> Vec<u8> {
    let mut writing = Writing { is_own: request.dialect == Dialect::OpenAiChat, quirks: *quirks, losses };
    let mut messages = Messages::with_capacity(request.turns.len() + 1);
    let (response_format, instruction) = format(&request.format, &mut writing);
    writing.system(&request.system, instruction, &mut messages);
    request.turns.iter().for_each(|turn| writing.turn(turn, &mut messages));
    let Tools { tools, web_search_options } = tools(&request.tools, &mut writing);
    let has_tools = !tools.is_empty();
    let rest = rest(&request.rest, &mut writing);
    // A choice that the hub does not model stands in the rest.
    let is_chosen = rest.0.iter().any(|(name, _)| &***name == "tool_choice");
    let thinking = thinking(&request.thinking, &mut writing);
    let Writing { is_own, losses, .. } = writing;
    let Sampling { temperature, top_p, top_k, seed, presence_penalty, frequency_penalty } = request.sampling;
    let takes_top_k = is_own || quirks.takes_top_k;
    if top_k.is_some() && !takes_top_k {
        losses.meet(Feature::TopK);
    }
    if request.parallel_tools.is_some() && has_tools && quirks.lacks_parallel_tools {
        losses.drop(Feature::ParallelTools);
    }
    if request.stop_sequences.len() > STOPS_MAX {
        losses.approximate(Feature::StopSequences);
    }
    let most = request.output_tokens_max;
    let wire = WireRequest {
        model: &request.model,
        messages: messages.finish(),
        max_completion_tokens: most.filter(|_| !quirks.has_max_tokens),
        max_tokens: most.filter(|_| quirks.has_max_tokens),
        tools,
        // The API refuses both without tools.
        tool_choice: request.tool_choice.as_ref().filter(|_| has_tools && !is_chosen).map(tool_choice),
        parallel_tool_calls: request.parallel_tools.filter(|_| has_tools && !quirks.lacks_parallel_tools),
        web_search_options,
        thinking,
        response_format,
        temperature,
        top_p,
        top_k: top_k.filter(|_| takes_top_k),
        seed,
        presence_penalty,
        frequency_penalty,
        stop: request.stop_sequences.get(..STOPS_MAX).unwrap_or(&request.stop_sequences),
        user: user(request, losses),
        stream: request.stream,
        // The gateway needs the usage, whether the client wants it or not.
        stream_options: (request.stream && !quirks.lacks_stream_options)
            .then_some(StreamOptions { include_usage: true }),
        rest,
    };
    // Texts, numbers and JSON have a JSON form.
    serde_json::to_vec(&wire).unwrap_or_default()
}

struct Tools<'a> {
    tools: Vec<WireTool<'a>>,
    web_search_options: Option<Json<'a>>,
}

fn tools<'a>(tools: &'a [Tool<'a>], writing: &mut Writing<'_>) -> Tools<'a> {
    let mut found = Tools { tools: Vec::with_capacity(tools.len()), web_search_options: None };
    for tool in tools {
        match tool {
            Tool::Function { name, description, input_schema, strict, cache, rest: more } => {
                let function = Function {
                    name,
                    description: description.as_ref(),
                    parameters: if writing.is_own { input_schema.lend() } else { object_schema(input_schema) },
                    strict: *strict,
                    rest: rest(more, writing),
                };
                let cache_control = writing.mark_tool(*cache);
                found.tools.push(WireTool::Function(Box::new(Callable { kind: "function", function, cache_control })));
            }
            Tool::Hosted { kind, json, .. } if writing.is_own && &**kind == "web_search_options" => {
                found.web_search_options = Some(json.lend());
            }
            Tool::Hosted { json, .. } if writing.is_own => found.tools.push(WireTool::Own(json)),
            Tool::Hosted { hosted: Hosted::WebSearch, .. } => {
                if writing.quirks.takes_web_search {
                    writing.losses.approximate(Feature::WebSearch);
                    found.web_search_options = Some(Json::empty_object());
                } else {
                    writing.losses.meet(Feature::WebSearch);
                }
            }
            Tool::Hosted { .. } => writing.losses.meet(Feature::HostedTool),
        }
    }
    found
}

fn tool_choice<'a>(choice: &'a ToolChoice<'a>) -> Choice<'a> {
    match choice {
        ToolChoice::Auto => Choice::Word("auto"),
        ToolChoice::Any => Choice::Word("required"),
        ToolChoice::None => Choice::Word("none"),
        ToolChoice::Tool { name } => Choice::Named { kind: "function", function: Named { name } },
    }
}

fn rest<'a>(rest: &'a [(Text<'a>, Json<'a>)], writing: &mut Writing<'_>) -> Rest<'a> {
    if writing.is_own {
        return Rest(rest.iter().map(|(name, json)| (name, json)).collect());
    }
    rest.iter().for_each(|(name, _)| writing.losses.drop(Feature::Field(name.to_string())));
    Rest::default()
}

// Where a vendor has no format with a schema, the schema stands in the instructions.
fn format<'a>(format: &'a Format<'a>, writing: &mut Writing<'_>) -> (Option<WireFormat<'a>>, Option<String>) {
    match format {
        Format::Text => (None, None),
        Format::Json => (Some(WireFormat::JsonObject), None),
        Format::Schema { schema, .. } if writing.quirks.lacks_schema_format => {
            writing.losses.approximate(Feature::SchemaFormat);
            let instruction = format!("Answer with one JSON object that keeps this JSON schema:\n{}", schema.get());
            (Some(WireFormat::JsonObject), Some(instruction))
        }
        Format::Schema { name, description, schema, strict } => {
            let name = name.as_deref().unwrap_or(SCHEMA_NAME);
            let json_schema = Schema { name, description: description.as_ref(), schema, strict: *strict };
            (Some(WireFormat::JsonSchema { json_schema }), None)
        }
    }
}

fn user<'a>(request: &'a Request<'a>, losses: &mut Losses) -> Option<Text<'a>> {
    let (user, is_same) = short_user(request.user.as_ref()?);
    if !is_same {
        losses.approximate(Feature::User);
    }
    Some(user)
}

fn thinking(thinking: &Thinking, writing: &mut Writing<'_>) -> WireThinking {
    let Thinking { mode, effort, is_shown } = *thinking;
    let form = writing.quirks.thinking_form;
    if is_shown.is_some() && form != ThinkingForm::Reasoning {
        writing.losses.meet(Feature::ThinkingShown);
    }
    let is_on = mode.map(|mode| mode != ThinkingMode::Off);
    let budget = match mode {
        Some(ThinkingMode::Budget(tokens)) => Some(tokens),
        _ => None,
    };
    let word = if writing.quirks.lacks_effort { None } else { effort_of(mode, effort, &writing.quirks) };
    match form {
        ThinkingForm::Effort => {
            let reasoning_effort = word;
            say_losses(thinking, reasoning_effort.is_some(), writing);
            WireThinking { reasoning_effort, ..WireThinking::default() }
        }
        ThinkingForm::Reasoning => {
            // The limit of tokens and the effort exclude each other.
            let effort = effort.filter(|_| budget.is_none()).map(Effort::word);
            let enabled = is_on.filter(|on| !on || (effort.is_none() && budget.is_none()));
            let reasoning = Reasoning { enabled, effort, max_tokens: budget, exclude: is_shown.map(|shown| !shown) };
            let is_said = is_on.is_some() || effort.is_some() || is_shown.is_some();
            WireThinking { reasoning: is_said.then_some(reasoning), ..WireThinking::default() }
        }
        ThinkingForm::Thinking => {
            if budget.is_some() {
                writing.losses.meet(Feature::ThinkingBudget);
            }
            let reasoning_effort = if is_on == Some(false) { None } else { word.filter(|_| effort.is_some()) };
            let kind = is_on.map(|on| Typed { kind: if on { "enabled" } else { "disabled" } });
            WireThinking { thinking: kind, reasoning_effort, ..WireThinking::default() }
        }
        ThinkingForm::Enable => {
            if effort.is_some() {
                writing.losses.drop(Feature::Effort);
            }
            WireThinking { enable_thinking: is_on, thinking_budget: budget, ..WireThinking::default() }
        }
    }
}

fn say_losses(thinking: &Thinking, is_said: bool, writing: &mut Writing<'_>) {
    let feature = match thinking.mode {
        Some(ThinkingMode::Budget(_)) => Some(Feature::ThinkingBudget),
        Some(ThinkingMode::Adaptive) => Some(Feature::ThinkingAdaptive),
        Some(ThinkingMode::Off) => Some(Feature::ThinkingOff),
        None => None,
    };
    match feature {
        Some(feature) if !is_said => writing.losses.drop(feature),
        Some(Feature::ThinkingOff) if writing.quirks.cannot_stop_thinking => {
            writing.losses.approximate(Feature::ThinkingOff);
        }
        Some(feature) => writing.losses.meet(feature),
        None => {}
    }
    match thinking.effort {
        Some(_) if !is_said => writing.losses.drop(Feature::Effort),
        _ => {}
    }
}

/// One word says whether the model thinks, how hard and how much.
const fn effort_of(mode: Option<ThinkingMode>, effort: Option<Effort>, quirks: &Quirks) -> Option<&'static str> {
    Some(match (mode, effort) {
        (Some(ThinkingMode::Off), _) if quirks.cannot_stop_thinking => Effort::Low.word(),
        (Some(ThinkingMode::Off), _) => "none",
        (_, Some(effort)) => effort.word(),
        (Some(ThinkingMode::Adaptive), None) => Effort::Medium.word(),
        (Some(ThinkingMode::Budget(tokens)), None) => Effort::of_budget(tokens).word(),
        (None, None) => return None,
    })
}
