//! Writes a Responses request from the hub.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{
    decode::{ENCRYPTED_REASONING, NESTED, SCHEMA_NAME},
    input::Writing,
    wire::{Entry, WireFormat},
};
use crate::{
    dialects::{Dialect, Quirks, openai::chat::short_user},
    hub::{
        Effort, Feature, Form, FormKind, Format, Hosted, Json, Losses, Namespace, Request, Sampling, Text, Thinking,
        ThinkingMode, Tool, ToolChoice, fit::object_schema,
    },
};

/// The API takes no lower limit of output.
const OUTPUT_TOKENS_MIN: u64 = 16;

#[derive(Serialize)]
struct WireRequest<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    input: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<WireChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<WireReasoning<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<WireText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    safety_identifier: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    include: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(flatten)]
    rest: Rest<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireTool<'a> {
    Function(Box<Function<'a>>),
    Namespace(Group<'a>),
    Own(&'a Json<'a>),
    Plain(Plain),
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

#[derive(Serialize)]
struct Group<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    description: &'a str,
    tools: Vec<Function<'a>>,
}

#[derive(Serialize)]
struct Plain {
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireChoice<'a> {
    Word(&'static str),
    Tool {
        #[serde(rename = "type")]
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'a str>,
        name: &'a str,
    },
}

#[derive(Serialize)]
struct WireReasoning<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'static str>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

#[derive(Serialize)]
struct WireText<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<WireFormat<'a>>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

/// Fields of this dialect that the hub does not model.
struct Rest<'a>(Vec<(&'a str, &'a Json<'a>)>);

/// Writes a request.
#[must_use]
pub fn encode_request(request: &Request<'_>, quirks: &Quirks, losses: &mut Losses) -> Vec<u8> {
    let is_own = request.dialect == Dialect::OpenAiResponses;
    let (instructions, input, has_reasoning) = Writing::new(request, losses).conversation();
    let tools = tools(request, losses);
    if !is_own {
        request.rest.iter().for_each(|(name, _)| losses.drop(Feature::Field(name.to_string())));
    }
    let rest = |prefix: &str| Rest::of(if is_own { &request.rest } else { &[] }, prefix);
    let has = |name: &str| is_own && request.rest.iter().any(|(known, _)| &**known == name);
    let reasoning = reasoning(request, rest("reasoning."), losses);
    // Models that do not reason refuse to be asked for it.
    let is_reasoning = has_reasoning || request.thinking.effort.is_some() || reasoning.is_some();
    let Sampling { temperature, top_p, top_k, .. } = sampling(request, quirks, losses);
    let tool_choice = tool_choice(request).filter(|_| !has("tool_choice"));
    let wire = WireRequest {
        model: &request.model,
        instructions,
        input,
        tool_choice: tool_choice.filter(|_| !tools.is_empty()),
        parallel_tool_calls: request.parallel_tools.filter(|_| !tools.is_empty()),
        tools,
        reasoning,
        text: text(request, rest("text.")),
        max_output_tokens: output_tokens_max(request, losses),
        temperature,
        top_p,
        top_k,
        safety_identifier: user(request, losses),
        // What others keep themselves, OpenAI shall not keep beside.
        store: (!has("store")).then_some(false),
        include: (is_reasoning && !has("include")).then_some([ENCRYPTED_REASONING]),
        stream: request.stream,
        rest: rest(""),
    };
    // Texts, numbers and JSON have a JSON form.
    serde_json::to_vec(&wire).unwrap_or_default()
}

fn output_tokens_max(request: &Request<'_>, losses: &mut Losses) -> Option<u64> {
    let most = request.output_tokens_max?;
    if request.dialect != Dialect::OpenAiResponses && most < OUTPUT_TOKENS_MIN {
        losses.approximate(Feature::Field("max_tokens".to_owned()));
        return Some(OUTPUT_TOKENS_MIN);
    }
    Some(most)
}

fn user<'a>(request: &'a Request<'a>, losses: &mut Losses) -> Option<Text<'a>> {
    let user = request.user.as_ref()?;
    if request.dialect == Dialect::OpenAiResponses {
        return Some(user.lend());
    }
    let (user, is_same) = short_user(user);
    if !is_same {
        losses.approximate(Feature::User);
    }
    Some(user)
}

// Models that reason refuse both, and everybody's default is 1: to leave that out is the same.
fn sampling(request: &Request<'_>, quirks: &Quirks, losses: &mut Losses) -> Sampling {
    let is_own = request.dialect == Dialect::OpenAiResponses;
    let mut sampling = request.sampling;
    if !is_own {
        sampling.temperature = sampling.temperature.filter(|temperature| (temperature - 1.0).abs() > f64::EPSILON);
        sampling.top_p = sampling.top_p.filter(|share| (share - 1.0).abs() > f64::EPSILON);
    }
    if sampling.top_k.is_some() && !is_own && !quirks.takes_top_k {
        losses.meet(Feature::TopK);
        sampling.top_k = None;
    }
    if sampling.seed.is_some() {
        losses.meet(Feature::Seed);
    }
    if sampling.presence_penalty.or(sampling.frequency_penalty).is_some() {
        losses.meet(Feature::Penalties);
    }
    if !request.stop_sequences.is_empty() {
        losses.meet(Feature::StopSequences);
    }
    sampling
}

fn reasoning<'a>(request: &Request<'_>, rest: Rest<'a>, losses: &mut Losses) -> Option<WireReasoning<'a>> {
    let Thinking { mode, effort, is_shown } = request.thinking;
    match mode {
        Some(ThinkingMode::Budget(_)) => losses.meet(Feature::ThinkingBudget),
        Some(ThinkingMode::Adaptive) => losses.meet(Feature::ThinkingAdaptive),
        Some(ThinkingMode::Off) | None => {}
    }
    let effort = match mode {
        Some(ThinkingMode::Off) => Some("none"),
        Some(ThinkingMode::Budget(tokens)) => Some(effort.unwrap_or(Effort::of_budget(tokens)).word()),
        Some(ThinkingMode::Adaptive) | None => effort.map(Effort::word),
    };
    // Who asks for thinking elsewhere is shown it, unless they say otherwise.
    let is_asked = matches!(mode, Some(ThinkingMode::Adaptive | ThinkingMode::Budget(_)));
    let is_shown = is_shown.unwrap_or(is_asked && request.dialect != Dialect::OpenAiResponses);
    let has_summary = rest.0.iter().any(|(name, _)| *name == "summary");
    let summary = (is_shown && !has_summary && mode != Some(ThinkingMode::Off)).then_some("auto");
    (effort.is_some() || summary.is_some() || !rest.0.is_empty()).then_some(WireReasoning { effort, summary, rest })
}

fn text<'a>(request: &'a Request<'a>, rest: Rest<'a>) -> Option<WireText<'a>> {
    let format = match &request.format {
        Format::Text => None,
        Format::Json => Some(WireFormat { kind: "json_object".into(), ..WireFormat::default() }),
        Format::Schema { name, description, schema, strict } => Some(WireFormat {
            kind: "json_schema".into(),
            name: Some(name.as_ref().map_or(SCHEMA_NAME.into(), Text::lend)),
            description: description.as_ref().map(Text::lend),
            schema: Some(schema.lend()),
            strict: *strict,
        }),
    };
    (format.is_some() || !rest.0.is_empty()).then_some(WireText { format, rest })
}

fn tool_choice<'a>(request: &'a Request<'a>) -> Option<WireChoice<'a>> {
    Some(match request.tool_choice.as_ref()? {
        ToolChoice::Auto => WireChoice::Word("auto"),
        ToolChoice::Any => WireChoice::Word("required"),
        ToolChoice::None => WireChoice::Word("none"),
        ToolChoice::Tool { name } => {
            let form = form(request, name);
            let kind = match form.map(|form| &form.kind) {
                Some(FormKind::Freeform { .. }) => "custom",
                _ => "function",
            };
            let namespace = form.and_then(|form| form.namespace.as_ref()).map(|namespace| &*namespace.name);
            WireChoice::Tool { kind, namespace, name: form.map_or(name, |form| &form.name) }
        }
    })
}

// The forms of another dialect's tools are not those of this one.
fn form<'a>(request: &'a Request<'a>, name: &str) -> Option<&'a Form> {
    request.forms.get(name).filter(|_| request.dialect == Dialect::OpenAiResponses)
}

// Tools of one namespace that follow each other are written as one.
fn tools<'a>(request: &'a Request<'a>, losses: &mut Losses) -> Vec<WireTool<'a>> {
    let mut tools: Vec<WireTool<'a>> = Vec::with_capacity(request.tools.len());
    for tool in &request.tools {
        let Tool::Function { name, .. } = tool else {
            tools.extend(hosted(request, tool, losses));
            continue;
        };
        let Some(function) = function(request, tool, losses) else { continue };
        let namespace = form(request, name).and_then(|form| form.namespace.as_ref());
        // A description may be long, and is the same one for each tool of its group.
        let is_same = |group: &Group<'a>, namespace: &Namespace| {
            group.name == namespace.name
                && (std::ptr::eq(group.description, &*namespace.description)
                    || group.description == namespace.description)
        };
        match (namespace, tools.last_mut()) {
            (None, _) => tools.push(WireTool::Function(Box::new(function))),
            (Some(namespace), Some(WireTool::Namespace(group))) if is_same(group, namespace) => {
                group.tools.push(function);
            }
            (Some(namespace), _) => tools.push(WireTool::Namespace(Group {
                kind: "namespace",
                name: &namespace.name,
                description: &namespace.description,
                tools: vec![function],
            })),
        }
    }
    tools
}

fn function<'a>(request: &'a Request<'a>, tool: &'a Tool<'a>, losses: &mut Losses) -> Option<Function<'a>> {
    let Tool::Function { name, description, input_schema, strict, cache, rest } = tool else { return None };
    let is_own = request.dialect == Dialect::OpenAiResponses;
    if cache.is_some() {
        losses.meet(Feature::CacheControl);
    }
    if !is_own {
        rest.iter().for_each(|(name, _)| losses.drop(Feature::Field(name.to_string())));
    }
    let form = form(request, name);
    let function = Function {
        kind: "function",
        name: Some(form.map_or(name, |form| &form.name)),
        description: description.as_ref(),
        execution: None,
        parameters: Some(if is_own { input_schema.lend() } else { object_schema(input_schema) }),
        format: None,
        // Without a word the API takes every schema to the letter, and refuses most that others know.
        strict: if is_own { *strict } else { Some(strict.unwrap_or_default()) },
        rest: Rest::of(if is_own { rest } else { &[] }, ""),
    };
    Some(match form.map(|form| &form.kind) {
        None | Some(FormKind::Function) => function,
        Some(FormKind::Freeform { format }) => Function {
            kind: "custom",
            parameters: None,
            format: format.as_deref().and_then(|format| Json::parse(format).ok()),
            ..function
        },
        Some(FormKind::Search) => Function { kind: "tool_search", name: None, execution: Some("client"), ..function },
        Some(FormKind::Shell) => Function { kind: "local_shell", name: None, parameters: None, ..function },
    })
}

fn hosted<'a>(request: &Request<'_>, tool: &'a Tool<'a>, losses: &mut Losses) -> Option<WireTool<'a>> {
    match tool {
        Tool::Hosted { json, .. } if request.dialect == Dialect::OpenAiResponses => Some(WireTool::Own(json)),
        Tool::Hosted { hosted: Hosted::WebSearch, .. } => {
            losses.meet(Feature::WebSearch);
            Some(WireTool::Plain(Plain { kind: "web_search" }))
        }
        Tool::Hosted { .. } => {
            losses.meet(Feature::HostedTool);
            None
        }
        Tool::Function { .. } => None,
    }
}

impl<'a> Rest<'a> {
    // Those whose names begin with the prefix; without one, those of the request itself.
    fn of(rest: &'a [(Text<'a>, Json<'a>)], prefix: &str) -> Self {
        let is_inner = |name: &str| NESTED.iter().any(|object| name.starts_with(object));
        let inner = |name: &'a str| {
            if prefix.is_empty() { (!is_inner(name)).then_some(name) } else { name.strip_prefix(prefix) }
        };
        Self(rest.iter().filter_map(|(name, json)| Some((inner(name)?, json))).collect())
    }
}

impl Serialize for Rest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, json) in &self.0 {
            map.serialize_entry(name, json)?;
        }
        map.end()
    }
}
