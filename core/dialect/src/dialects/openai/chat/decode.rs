//! Reads a Chat Completions request into the hub.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{encode::SCHEMA_NAME, turn::Reading, wire::WireCache};
use crate::{
    dialects::{
        Called, Dialect,
        read::{Members, each, field, is_null, is_text, object},
    },
    error::{DecodeError, Malformed},
    hub::{Effort, Format, Hosted, Json, Request, Text, ThinkingMode, Tool, ToolChoice},
};

type Read<T> = Result<T, DecodeError>;

/// The schema of a function that is given without one: it has no arguments.
const NO_ARGUMENTS: &str = r#"{"type":"object","properties":{}}"#;

/// Reads a request.
///
/// # Errors
/// As [`Dialect::decode_request`].
pub fn decode_request<'a>(called: &Called<'a>, body: &'a [u8]) -> Read<Request<'a>> {
    let Members(members) = object(body)?;
    let stream = called.stream.unwrap_or_default();
    let mut request = Request { dialect: Dialect::OpenAiChat, stream, ..Request::default() };
    let (mut model, mut has_turns, mut includes_usage) = (called.model.clone().map(Text), false, false);
    for (name, raw) in members {
        if is_null(raw) {
            continue;
        }
        match &*name {
            "model" => model = Some(field("model", raw)?),
            "stream" => request.stream = field("stream", raw)?,
            "stream_options" => includes_usage = stream_options(raw)?,
            "messages" => {
                let mut reading = Reading::default();
                each("messages", raw, |raw| reading.take(raw))?;
                reading.finish(&mut request);
                has_turns = true;
            }
            "max_completion_tokens" => request.output_tokens_max = Some(field("max_completion_tokens", raw)?),
            "max_tokens" => {
                let most = field("max_tokens", raw)?;
                request.output_tokens_max.get_or_insert(most);
            }
            "tools" => request.tools.extend(each("tools", raw, tool)?),
            // What tools were before.
            "functions" => request.tools.extend(each("functions", raw, |raw| function(raw, None))?),
            "web_search_options" => request.tools.push(Tool::Hosted {
                hosted: Hosted::WebSearch,
                json: field("web_search_options", raw)?,
                kind: name,
            }),
            "tool_choice" => {
                let choice = tool_choice(raw).map_err(|error| error.within("tool_choice", None))?;
                if choice.is_more {
                    request.rest.push((name, field("tool_choice", raw)?));
                }
                request.tool_choice = Some(choice.choice);
            }
            "parallel_tool_calls" => request.parallel_tools = Some(field("parallel_tool_calls", raw)?),
            "stop" if is_text(raw) => request.stop_sequences = vec![field("stop", raw)?],
            "stop" => request.stop_sequences = field("stop", raw)?,
            "response_format" => {
                request.format = format(raw).map_err(|error| error.within("response_format", None))?;
            }
            "safety_identifier" => request.user = Some(field("safety_identifier", raw)?),
            "user" => {
                let user = field("user", raw)?;
                request.user.get_or_insert(user);
            }
            // One answer, and no probabilities, is what the hub has.
            "n" if raw.get() == "1" => {}
            "logprobs" if raw.get() == "false" => {}
            _ if sampling(&name, raw, &mut request)? || thinking(&name, raw, &mut request)? => {}
            _ => request.rest.push((name, field("", raw)?)),
        }
    }
    request.is_usage_hidden = request.stream && !includes_usage;
    request.model = model.ok_or(Malformed::Missing("model"))?;
    if has_turns { Ok(request) } else { Err(Malformed::Missing("messages").into()) }
}

fn stream_options(raw: &RawValue) -> Read<bool> {
    #[derive(Deserialize)]
    struct Options {
        #[serde(default)]
        include_usage: Option<bool>,
    }
    let Options { include_usage } = field("stream_options", raw)?;
    Ok(include_usage.unwrap_or_default())
}

fn sampling(name: &str, raw: &RawValue, request: &mut Request<'_>) -> Read<bool> {
    let sampling = &mut request.sampling;
    match name {
        "temperature" => sampling.temperature = Some(field(name, raw)?),
        "top_p" => sampling.top_p = Some(field(name, raw)?),
        "top_k" => sampling.top_k = Some(field(name, raw)?),
        "seed" => sampling.seed = Some(field(name, raw)?),
        "presence_penalty" => sampling.presence_penalty = Some(field(name, raw)?),
        "frequency_penalty" => sampling.frequency_penalty = Some(field(name, raw)?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// The fields by which OpenAI and its vendors are told how much the model thinks.
fn thinking(name: &str, raw: &RawValue, request: &mut Request<'_>) -> Read<bool> {
    #[derive(Deserialize)]
    struct Reasoning<'a> {
        #[serde(borrow, default)]
        effort: Option<Text<'a>>,
        #[serde(default)]
        max_tokens: Option<u64>,
        #[serde(default)]
        enabled: Option<bool>,
        #[serde(default)]
        exclude: Option<bool>,
    }
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(rename = "type", borrow)]
        kind: Text<'a>,
        #[serde(default)]
        budget_tokens: Option<u64>,
    }
    let thinking = &mut request.thinking;
    let on = |is_on: bool| if is_on { ThinkingMode::Adaptive } else { ThinkingMode::Off };
    match name {
        "reasoning_effort" => match &*field::<Text<'_>>(name, raw)? {
            "none" => thinking.mode = Some(ThinkingMode::Off),
            word => thinking.effort = Effort::from_word(word).or(thinking.effort),
        },
        "reasoning" => {
            let Reasoning { effort: word, max_tokens, enabled, exclude } = field(name, raw)?;
            let is_off = word.as_deref() == Some("none");
            thinking.effort = word.as_deref().and_then(Effort::from_word).or(thinking.effort);
            thinking.mode = enabled.or(is_off.then_some(false)).map(on).or(thinking.mode);
            thinking.mode = max_tokens.map(ThinkingMode::Budget).or(thinking.mode);
            thinking.is_shown = exclude.map(|exclude| !exclude).or(thinking.is_shown);
        }
        "thinking" => {
            let Typed { kind, budget_tokens } = field(name, raw)?;
            let budget = budget_tokens.filter(|_| &*kind == "enabled").map(ThinkingMode::Budget);
            thinking.mode = budget.or(Some(on(&*kind != "disabled")));
        }
        "enable_thinking" => thinking.mode = thinking.mode.or(Some(on(field(name, raw)?))),
        "thinking_budget" => thinking.mode = Some(ThinkingMode::Budget(field(name, raw)?)),
        _ => return Ok(false),
    }
    Ok(true)
}

fn tool<'a>(raw: &'a RawValue) -> Read<Tool<'a>> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(rename = "type", borrow, default)]
        kind: Text<'a>,
        #[serde(borrow, default)]
        function: Option<&'a RawValue>,
        #[serde(default)]
        cache_control: Option<WireCache<'a>>,
    }
    let Wire { kind, function, cache_control } = field("", raw)?;
    let Some(function) = function.filter(|_| kind.is_empty() || &*kind == "function") else {
        let hosted = if kind.starts_with("web_search") { Hosted::WebSearch } else { Hosted::Other };
        return Ok(Tool::Hosted { hosted, json: field("", raw)?, kind });
    };
    let marked = cache_control.as_ref().map(WireCache::cache);
    self::function(function, marked).map_err(|error| error.within("function", None))
}

fn function<'a>(raw: &'a RawValue, mut cache: Option<crate::hub::Cache>) -> Read<Tool<'a>> {
    let Members(members) = field("", raw)?;
    let (mut name, mut description, mut schema, mut strict, mut rest) = (None, None, None, None, Vec::new());
    for (member, raw) in members {
        if is_null(raw) {
            continue;
        }
        match &*member {
            "name" => name = Some(field("name", raw)?),
            "description" => description = Some(field("description", raw)?),
            "parameters" => schema = Some(field("parameters", raw)?),
            "strict" => strict = Some(field("strict", raw)?),
            "cache_control" => cache = Some(field::<WireCache<'_>>("cache_control", raw)?.cache()),
            _ => rest.push((member, field("", raw)?)),
        }
    }
    let input_schema = match schema {
        Some(schema) => schema,
        None => Json::parse(NO_ARGUMENTS).map_err(|_| DecodeError::invalid("parameters", "a JSON schema"))?,
    };
    let name = name.ok_or_else(|| DecodeError::invalid("name", "there"))?;
    Ok(Tool::Function { name, description, input_schema, strict, cache, rest })
}

struct Chosen<'a> {
    choice: ToolChoice<'a>,
    /// It says more than the hub models.
    is_more: bool,
}

fn tool_choice<'a>(raw: &'a RawValue) -> Read<Chosen<'a>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: Text<'a>,
    }
    #[derive(Deserialize)]
    struct Allowed<'a> {
        #[serde(borrow, default)]
        mode: Text<'a>,
    }
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(rename = "type", borrow)]
        kind: Text<'a>,
        #[serde(borrow, default)]
        function: Option<Named<'a>>,
        #[serde(default)]
        allowed_tools: Option<Allowed<'a>>,
    }
    let chosen = |choice| Ok(Chosen { choice, is_more: false });
    let invalid = || DecodeError::invalid("", "`none`, `auto`, `required` or an object with a `type`");
    if is_text(raw) {
        return match &*field::<Text<'_>>("", raw)? {
            "auto" => chosen(ToolChoice::Auto),
            "none" => chosen(ToolChoice::None),
            "required" | "any" => chosen(ToolChoice::Any),
            _ => Err(invalid()),
        };
    }
    let Wire { kind, function, allowed_tools } = field("", raw)?;
    match (&*kind, function, allowed_tools) {
        ("function", Some(Named { name }), _) => chosen(ToolChoice::Tool { name }),
        ("allowed_tools", _, Some(Allowed { mode })) => {
            let choice = if &*mode == "required" { ToolChoice::Any } else { ToolChoice::Auto };
            Ok(Chosen { choice, is_more: true })
        }
        ("custom", ..) => Ok(Chosen { choice: ToolChoice::Any, is_more: true }),
        _ => Err(invalid()),
    }
}

fn format<'a>(raw: &'a RawValue) -> Read<Format<'a>> {
    #[derive(Deserialize)]
    struct Schema<'a> {
        #[serde(borrow, default)]
        name: Option<Text<'a>>,
        #[serde(default)]
        description: Option<Text<'a>>,
        #[serde(default)]
        schema: Option<Json<'a>>,
        #[serde(default)]
        strict: Option<bool>,
    }
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(rename = "type", borrow)]
        kind: Text<'a>,
        #[serde(borrow, default)]
        json_schema: Option<Schema<'a>>,
    }
    let Wire { kind, json_schema } = field("", raw)?;
    match (&*kind, json_schema) {
        ("text", _) => Ok(Format::Text),
        ("json_object", _) => Ok(Format::Json),
        ("json_schema", Some(Schema { name, description, schema, strict })) => Ok(Format::Schema {
            name: name.filter(|name| &**name != SCHEMA_NAME),
            description,
            schema: match schema {
                Some(schema) => schema,
                None => Json::empty_object(),
            },
            strict,
        }),
        _ => Err(DecodeError::invalid("type", "`text`, `json_object` or `json_schema` with its schema")),
    }
}
