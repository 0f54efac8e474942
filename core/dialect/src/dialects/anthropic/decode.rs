//! Reads a Messages request into the hub.

use std::{borrow::Cow, collections::HashSet};

use serde_json::value::RawValue;

use super::wire::{NESTED, WireBlock, WireCache, WireChoice, WireFormat, WireSource, WireTurn};
use crate::{
    dialects::{
        Called, Dialect,
        read::{Members, each, field, is_null, is_text, object, unnested},
    },
    error::{DecodeError, Malformed},
    hub::{
        Block, Cache, Citation, Effort, Format, Hosted, Json, Media, MediaKind, Request, Role, Signature, Source, Text,
        ThinkingMode, Tool, ToolChoice, ToolResult, ToolUse, Turn, spelling::original,
    },
};

type Read<T> = Result<T, DecodeError>;

/// Where the content of a medium may be, as far as the hub knows.
const SOURCES: [&str; 5] = ["base64", "text", "url", "file", "content"];
/// A message holds a tool's result, that a document, and that its pieces: the API knows no deeper content.
const DEPTH_MAX: u8 = 3;

/// Reads a request.
///
/// # Errors
/// As [`Dialect::decode_request`].
pub fn decode_request<'a>(called: &Called<'a>, body: &'a [u8]) -> Read<Request<'a>> {
    let Members(members) = object(body)?;
    let mut request = Request { stream: called.stream.unwrap_or_default(), ..Request::default() };
    let (mut model, mut has_turns) = (called.model.clone().map(Text), false);
    let mut objects = HashSet::new();
    for (name, raw) in members {
        if is_null(raw) {
            continue;
        }
        match &*name {
            // What two of them say cannot be told apart in `rest`.
            "thinking" | "output_config" | "metadata" if !objects.insert(name.clone()) => {
                return Err(DecodeError::invalid(&*name, "there once"));
            }
            "model" => model = Some(field("model", raw)?),
            "stream" => request.stream = field("stream", raw)?,
            "max_tokens" => request.output_tokens_max = Some(field("max_tokens", raw)?),
            "system" => request.system = content("system", raw, 0)?,
            "messages" => {
                request.turns = each("messages", raw, turn)?;
                has_turns = true;
            }
            "tools" => request.tools = each("tools", raw, tool)?,
            "tool_choice" => {
                let choice: WireChoice<'a> = field("tool_choice", raw)?;
                request.parallel_tools = choice.disable_parallel_tool_use.map(|disabled| !disabled);
                request.tool_choice = Some(tool_choice(choice)?);
            }
            "temperature" => request.sampling.temperature = Some(field("temperature", raw)?),
            "top_p" => request.sampling.top_p = Some(field("top_p", raw)?),
            "top_k" => request.sampling.top_k = Some(field("top_k", raw)?),
            "stop_sequences" => request.stop_sequences = field("stop_sequences", raw)?,
            "thinking" => thinking(raw, &mut request)?,
            "output_config" => output(raw, &mut request)?,
            // As the beta of structured outputs had it.
            "output_format" => match format(raw)? {
                Some(format) => request.format = format,
                None => request.rest.push((name, field("", raw)?)),
            },
            "metadata" => metadata(raw, &mut request)?,
            _ => {
                unnested(&name, &NESTED)?;
                request.rest.push((name, field("", raw)?));
            }
        }
    }
    request.model = model.ok_or(Malformed::Missing("model"))?;
    if has_turns { Ok(request) } else { Err(Malformed::Missing("messages").into()) }
}

fn turn<'a>(raw: &'a RawValue) -> Read<Turn<'a>> {
    let WireTurn { role, content: said } = field("", raw)?;
    let role = match &*role {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(DecodeError::invalid("role", "`user`, `assistant` or `system`")),
    };
    Ok(Turn { role, blocks: content("content", said, 0)? })
}

// A text stands for one block of text.
fn content<'a>(name: &str, raw: &'a RawValue, depth: u8) -> Read<Vec<Block<'a>>> {
    if is_text(raw) {
        return Ok(vec![Block::text(field::<Text<'a>>(name, raw)?)]);
    }
    if depth > DEPTH_MAX {
        return Err(DecodeError::invalid(name, "a text: blocks are not nested so deeply"));
    }
    each(name, raw, |raw| nested_block(raw, depth))
}

/// Reads a content block, of a request or an answer.
pub(super) fn block<'a>(raw: &'a RawValue) -> Read<Block<'a>> {
    nested_block(raw, 0)
}

fn nested_block<'a>(raw: &'a RawValue, depth: u8) -> Read<Block<'a>> {
    let wire: WireBlock<'a> = match field("", raw) {
        Ok(wire) => wire,
        Err(error) => return other(raw).ok_or(error),
    };
    Ok(match &*wire.kind {
        "text" => Block::Text {
            citations: wire.citations.and_then(|json| json.raw()).map(citations).transpose()?.unwrap_or_default(),
            cache: cache(wire.cache_control),
            text: needed("text", wire.text)?,
        },
        "image" | "document" if wire.source.as_ref().is_some_and(|source| !SOURCES.contains(&&*source.kind)) => {
            Block::Other { kind: wire.kind, json: field("", raw)? }
        }
        "image" => Block::Media(Box::new(media(MediaKind::Image, wire, depth)?)),
        "document" => Block::Media(Box::new(media(MediaKind::Document, wire, depth)?)),
        "tool_use" => Block::ToolUse(Box::new(ToolUse {
            id: unspelled(needed("id", wire.id)?),
            name: unspelled(needed("name", wire.name)?),
            // Some vendors of this dialect leave it out where a tool has no arguments.
            input: wire.input.unwrap_or_else(Json::empty_object),
            signature: None,
            cache: cache(wire.cache_control),
        })),
        "tool_result" => Block::ToolResult(Box::new(ToolResult {
            tool_use_id: unspelled(needed("tool_use_id", wire.tool_use_id)?),
            blocks: nested(wire.content, depth)?,
            is_error: wire.is_error.unwrap_or_default(),
            cache: cache(wire.cache_control),
        })),
        "thinking" => {
            let signature = wire.signature.filter(|seal| !seal.is_empty());
            Block::Thinking {
                text: wire.thinking.unwrap_or_default(),
                signature: signature.map(|seal| Signature::read(Dialect::Anthropic, seal)),
            }
        }
        "redacted_thinking" => {
            Block::RedactedThinking { data: Signature::read(Dialect::Anthropic, needed("data", wire.data)?) }
        }
        _ => Block::Other {
            kind: needed("type", Some(wire.kind).filter(|kind| !kind.is_empty()))?,
            json: field("", raw)?,
        },
    })
}

// A block of another type may have a field of the same name and another form, such as the `source` of a search result.
fn other<'a>(raw: &'a RawValue) -> Option<Block<'a>> {
    #[derive(serde::Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type", borrow)]
        kind: Text<'a>,
    }
    let Kind { kind } = field("", raw).ok()?;
    let is_known = ["", "text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking"];
    (!is_known.contains(&&*kind)).then_some(Block::Other { kind, json: field("", raw).ok()? })
}

// A tool that answers with an empty text answers with nothing: the API takes no empty blocks.
fn nested(wire: Option<Json<'_>>, depth: u8) -> Read<Vec<Block<'_>>> {
    let raw = wire.and_then(|json| json.raw()).filter(|raw| !is_null(raw) && raw.get() != "\"\"");
    raw.map(|raw| content("content", raw, depth + 1)).transpose().map(Option::unwrap_or_default)
}

fn needed<T>(name: &str, value: Option<T>) -> Read<T> {
    value.ok_or_else(|| DecodeError::invalid(name, "there"))
}

// Ids and names of another dialect come back as they were.
fn unspelled(word: Text<'_>) -> Text<'_> {
    match original(&word) {
        Cow::Owned(original) => original.into(),
        Cow::Borrowed(_) => word,
    }
}

fn cache(wire: Option<WireCache<'_>>) -> Option<Cache> {
    wire.map(|cache| if cache.ttl.as_deref() == Some("1h") { Cache::Hour } else { Cache::Default })
}

fn media<'a>(kind: MediaKind, wire: WireBlock<'a>, depth: u8) -> Read<Media<'a>> {
    #[derive(Default, serde::Deserialize)]
    struct Enabled {
        #[serde(default)]
        enabled: bool,
    }
    let source = source(needed("source", wire.source)?, depth).map_err(|error| error.within("source", None))?;
    let enabled: Option<Enabled> =
        wire.citations.and_then(|json| json.raw()).map(|raw| field("citations", raw)).transpose()?;
    Ok(Media {
        kind,
        source,
        title: wire.title,
        context: wire.context,
        is_cited: enabled.unwrap_or_default().enabled,
        detail: None,
        cache: cache(wire.cache_control),
    })
}

fn source(wire: WireSource<'_>, depth: u8) -> Read<Source<'_>> {
    Ok(match &*wire.kind {
        "base64" => {
            Source::Base64 { media_type: needed("media_type", wire.media_type)?, data: needed("data", wire.data)? }
        }
        "text" => Source::Text { text: needed("data", wire.data)? },
        "url" => Source::Url { url: needed("url", wire.url)?, media_type: None },
        "file" => Source::File { id: needed("file_id", wire.file_id)? },
        "content" => Source::Blocks { blocks: nested(wire.content, depth)? },
        _ => return Err(DecodeError::invalid("type", "`base64`, `text`, `url`, `file` or `content`")),
    })
}

/// Reads the citations of a text.
pub(super) fn citations<'a>(raw: &'a RawValue) -> Read<Vec<Citation<'a>>> {
    if is_null(raw) { Ok(Vec::new()) } else { each("citations", raw, citation) }
}

/// Reads one citation.
pub(super) fn citation<'a>(raw: &'a RawValue) -> Read<Citation<'a>> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Cited<'a> {
        #[serde(borrow)]
        url: Option<Text<'a>>,
        source: Option<Text<'a>>,
        title: Option<Text<'a>>,
        document_title: Option<Text<'a>>,
        cited_text: Option<Text<'a>>,
        encrypted_index: Option<Text<'a>>,
    }
    let Cited { url, source, title, document_title, cited_text, encrypted_index } = field("", raw)?;
    // Such an index was written for the citation of another provider, and means nothing to this one.
    let is_native = encrypted_index.is_none_or(|index| !index.is_empty());
    let native = if is_native { Some(field("", raw)?) } else { None };
    Ok(Citation { url: url.or(source), title: title.or(document_title), cited_text, native })
}

fn tool<'a>(raw: &'a RawValue) -> Read<Tool<'a>> {
    let Members(members) = field("", raw)?;
    let (mut kind, mut name, mut description, mut schema) = (None, None, None, None);
    let (mut strict, mut marked, mut rest) = (None, None, Vec::new());
    for (member, raw) in members {
        if is_null(raw) {
            continue;
        }
        match &*member {
            "type" => kind = Some(field::<Text<'a>>("type", raw)?),
            "name" => name = Some(field("name", raw)?),
            "description" => description = Some(field("description", raw)?),
            "input_schema" => schema = Some(field("input_schema", raw)?),
            "strict" => strict = Some(field("strict", raw)?),
            "cache_control" => marked = Some(field("cache_control", raw)?),
            _ => rest.push((member, field("", raw)?)),
        }
    }
    match kind.filter(|kind| &**kind != "custom") {
        Some(kind) => Ok(Tool::Hosted { hosted: hosted(&kind), json: field("", raw)?, kind }),
        None => Ok(Tool::Function {
            name: unspelled(needed("name", name)?),
            description,
            input_schema: needed("input_schema", schema)?,
            strict,
            cache: cache(marked),
            rest,
        }),
    }
}

// Types end with the date of their version.
fn hosted(kind: &str) -> Hosted {
    let known = [
        ("web_search_", Hosted::WebSearch),
        ("web_fetch_", Hosted::WebFetch),
        ("code_execution_", Hosted::CodeExecution),
    ];
    known.into_iter().find(|(prefix, _)| kind.starts_with(prefix)).map_or(Hosted::Other, |(_, hosted)| hosted)
}

fn tool_choice(wire: WireChoice<'_>) -> Read<ToolChoice<'_>> {
    Ok(match &*wire.kind {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Any,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Tool { name: unspelled(needed("tool_choice.name", wire.name)?) },
        _ => return Err(DecodeError::invalid("tool_choice.type", "`auto`, `any`, `tool` or `none`")),
    })
}

// What is said of thinking, output and end user beyond what the hub models goes to the rest, with the name of its object before it:
// the API gains such fields with every release of its clients.
fn thinking<'a>(raw: &'a RawValue, request: &mut Request<'a>) -> Read<()> {
    let (mut kind, mut budget) = (None, None);
    for (name, raw) in nested_members("thinking", raw)? {
        match &*name {
            "type" => kind = Some((field::<Text<'a>>("thinking.type", raw)?, raw)),
            "budget_tokens" => budget = Some((field("thinking.budget_tokens", raw)?, raw)),
            "display" => match &*field::<Text<'a>>("thinking.display", raw)? {
                "summarized" => request.thinking.is_shown = Some(true),
                "omitted" => request.thinking.is_shown = Some(false),
                _ => leave("thinking.", &name, raw, request)?,
            },
            _ => leave("thinking.", &name, raw, request)?,
        }
    }
    let (kind, raw) = needed("thinking.type", kind)?;
    request.thinking.mode = match &*kind {
        "disabled" => Some(ThinkingMode::Off),
        "adaptive" => Some(ThinkingMode::Adaptive),
        "enabled" => Some(ThinkingMode::Budget(needed("thinking.budget_tokens", budget)?.0)),
        _ => {
            leave("thinking.", "type", raw, request)?;
            budget.map(|(_, raw)| leave("thinking.", "budget_tokens", raw, request)).transpose()?;
            None
        }
    };
    Ok(())
}

fn output<'a>(raw: &'a RawValue, request: &mut Request<'a>) -> Read<()> {
    for (name, raw) in nested_members("output_config", raw)? {
        match &*name {
            "effort" => {
                let word: Text<'a> = field("output_config.effort", raw)?;
                // The API has nothing below low.
                request.thinking.effort = Effort::from_word(&word).filter(|effort| *effort != Effort::Minimal);
            }
            "format" => request.format = format(raw)?.unwrap_or_default(),
            _ => {}
        }
        let is_modelled = match &*name {
            "effort" => request.thinking.effort.is_some(),
            "format" => request.format != Format::Text,
            _ => false,
        };
        if !is_modelled {
            leave("output_config.", &name, raw, request)?;
        }
    }
    Ok(())
}

// `None`: a form that the hub does not know.
fn format<'a>(raw: &'a RawValue) -> Read<Option<Format<'a>>> {
    #[derive(serde::Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type", borrow)]
        kind: Text<'a>,
    }
    if &*field::<Kind<'a>>("output_config.format", raw)?.kind != "json_schema" {
        return Ok(None);
    }
    let WireFormat { kind: _, schema } = field("output_config.format", raw)?;
    Ok(Some(Format::Schema { name: None, description: None, schema, strict: None }))
}

fn metadata<'a>(raw: &'a RawValue, request: &mut Request<'a>) -> Read<()> {
    for (name, raw) in nested_members("metadata", raw)? {
        match &*name {
            "user_id" => request.user = Some(field("metadata.user_id", raw)?),
            _ => leave("metadata.", &name, raw, request)?,
        }
    }
    Ok(())
}

fn nested_members<'a>(name: &str, raw: &'a RawValue) -> Read<impl Iterator<Item = (Text<'a>, &'a RawValue)>> {
    let Members(members) = field(name, raw)?;
    let mut names = HashSet::with_capacity(members.len());
    if !members.iter().all(|(name, _)| names.insert(&**name)) {
        return Err(DecodeError::invalid(name, "an object that has each name once"));
    }
    Ok(members.into_iter().filter(|(_, raw)| !is_null(raw)))
}

fn leave<'a>(of: &str, name: &str, raw: &'a RawValue, request: &mut Request<'a>) -> Read<()> {
    request.rest.push(([of, name].concat().into(), field("", raw)?));
    Ok(())
}
