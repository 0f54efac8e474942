//! Writes a Messages request from the hub.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::wire::{WireBlock, WireCache, WireChoice, WireFormat, WireMetadata, WireOutput, WireSource, WireThinking};
use crate::{
    dialects::{Dialect, Quirks},
    hub::{
        Block, Cache, Citation, Effort, Feature, Format, Hosted, Json, Losses, Media, MediaKind, Request, Role,
        Sampling, Source, Text, Thinking, ThinkingMode, Tool, ToolChoice, ToolResult,
    },
};

/// The API wants a limit of output; every model takes this one.
const OUTPUT_TOKENS_DEFAULT: u64 = 8_192;
const TEMPERATURE_MAX: f64 = 1.0;
const JSON_INSTRUCTION: &str = "Answer with one JSON object and nothing else.";

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
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'a [Text<'a>],
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

/// A content block, or one that is only this dialect's own.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Piece<'a> {
    Block(Box<WireBlock<'a>>),
    Own(&'a Json<'a>),
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
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a Text<'a>>,
    input_schema: &'a Json<'a>,
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

/// Fields of this dialect that the hub does not model.
struct Rest<'a>(&'a [(Text<'a>, Json<'a>)]);

/// Writes a request.
#[must_use]
pub fn encode_request(request: &Request<'_>, _: &Quirks, losses: &mut Losses) -> Vec<u8> {
    let is_own = request.dialect == Dialect::Anthropic;
    let mut writing = Writing { is_own, losses };
    let mut system = writing.blocks(&request.system);
    if request.format == Format::Json {
        writing.losses.meet(Feature::JsonFormat);
        system.push(Piece::Block(Box::new(text(JSON_INSTRUCTION))));
    }
    let messages = request.turns.iter().filter(|turn| !turn.blocks.is_empty());
    let messages = messages.map(|turn| Said { role: role(turn.role), content: writing.blocks(&turn.blocks) });
    // A turn of nothing but what the API does not have is no turn: it refuses one without content.
    let messages = messages.filter(|said| !said.content.is_empty()).collect();
    let tools = request.tools.iter().filter_map(|tool| writing.tool(tool)).collect();
    let rest = writing.rest(&request.rest);
    let Sampling { temperature, top_p, top_k, seed, presence_penalty, frequency_penalty } = request.sampling;
    if temperature.is_some_and(|temperature| temperature > TEMPERATURE_MAX) {
        losses.meet(Feature::HighTemperature);
    }
    if seed.is_some() {
        losses.meet(Feature::Seed);
    }
    if presence_penalty.or(frequency_penalty).is_some() {
        losses.meet(Feature::Penalties);
    }
    let thinking = thinking(&request.thinking);
    let least = match request.thinking.mode {
        Some(ThinkingMode::Budget(budget)) => OUTPUT_TOKENS_DEFAULT.saturating_add(budget),
        _ => OUTPUT_TOKENS_DEFAULT,
    };
    let wire = WireRequest {
        model: &request.model,
        max_tokens: request.output_tokens_max.unwrap_or(least),
        system,
        messages,
        tools,
        tool_choice: tool_choice(request),
        thinking,
        output_config: output(request),
        temperature: temperature.map(|temperature| temperature.min(TEMPERATURE_MAX)),
        top_p,
        top_k,
        stop_sequences: &request.stop_sequences,
        metadata: request.user.as_ref().map(|user| WireMetadata { user_id: Some(user.lend()) }),
        stream: request.stream,
        rest,
    };
    // Texts, numbers and JSON have a JSON form.
    serde_json::to_vec(&wire).unwrap_or_default()
}

/// What is written, and what is lost of it.
struct Writing<'l> {
    // The request came in this dialect: what only it has is written as it was.
    is_own: bool,
    losses: &'l mut Losses,
}

impl Writing<'_> {
    fn blocks<'a>(&mut self, blocks: &'a [Block<'a>]) -> Vec<Piece<'a>> {
        blocks.iter().filter_map(|block| self.block(block)).collect()
    }

    fn block<'a>(&mut self, block: &'a Block<'a>) -> Option<Piece<'a>> {
        let wire = match block {
            Block::Media(media) => return self.media(media),
            Block::ToolResult(result) => self.tool_result(result),
            Block::Other { kind, json } => {
                if self.is_own {
                    return Some(Piece::Own(json));
                }
                self.losses.drop(Feature::Block(kind.to_string()));
                return None;
            }
            Block::Thinking { signature, .. } => {
                // The API takes back no thinking that it did not sign.
                if signature.as_ref().is_none_or(|seal| seal.for_provider(Dialect::Anthropic).is_none()) && !self.is_own
                {
                    self.losses.meet(Feature::ForeignThinking);
                    return None;
                }
                said(block)?
            }
            Block::RedactedThinking { data } if data.for_provider(Dialect::Anthropic).is_none() => {
                self.losses.meet(Feature::ForeignThinking);
                return None;
            }
            Block::Text { text, .. } if text.is_empty() => return None,
            Block::Text { .. } | Block::ToolUse(_) | Block::RedactedThinking { .. } => said(block)?,
        };
        Some(Piece::Block(Box::new(wire)))
    }

    fn tool_result<'a>(&mut self, result: &'a ToolResult<'a>) -> WireBlock<'a> {
        let pieces = self.blocks(&result.blocks);
        WireBlock {
            kind: "tool_result".into(),
            tool_use_id: Some(result.tool_use_id.lend()),
            content: (!pieces.is_empty()).then(|| Json::of(&pieces)),
            is_error: result.is_error.then_some(true),
            cache_control: result.cache.map(cache),
            ..WireBlock::default()
        }
    }

    fn media<'a>(&mut self, media: &'a Media<'a>) -> Option<Piece<'a>> {
        let kind = match (media.kind, &media.source) {
            (MediaKind::Image, _) => "image",
            (MediaKind::Document, _) => "document",
            (MediaKind::Audio, _) => {
                self.losses.meet(Feature::Audio);
                return None;
            }
            (MediaKind::Video, _) => {
                self.losses.meet(Feature::Video);
                return None;
            }
        };
        let source = self.source(&media.source);
        Some(Piece::Block(Box::new(WireBlock {
            kind: kind.into(),
            source: Some(source),
            title: media.title.as_ref().filter(|_| media.kind == MediaKind::Document).map(Text::lend),
            context: media.context.as_ref().map(Text::lend),
            citations: media.is_cited.then(|| Json::of(&serde_json::json!({"enabled": true}))),
            cache_control: media.cache.map(cache),
            ..WireBlock::default()
        })))
    }

    fn source<'a>(&mut self, source: &'a Source<'a>) -> WireSource<'a> {
        let wire = |kind: &'static str| WireSource { kind: kind.into(), ..WireSource::default() };
        match source {
            Source::Base64 { media_type, data } => {
                WireSource { media_type: Some(media_type.lend()), data: Some(data.lend()), ..wire("base64") }
            }
            Source::Text { text } => {
                WireSource { media_type: Some("text/plain".into()), data: Some(text.lend()), ..wire("text") }
            }
            Source::Blocks { blocks } => {
                WireSource { content: Some(Json::of(&self.blocks(blocks))), ..wire("content") }
            }
            Source::Url { url, media_type: _ } => WireSource { url: Some(url.lend()), ..wire("url") },
            Source::File { id } => WireSource { file_id: Some(id.lend()), ..wire("file") },
        }
    }

    fn tool<'a>(&mut self, tool: &'a Tool<'a>) -> Option<WireTool<'a>> {
        Some(match tool {
            Tool::Function { name, description, input_schema, strict, cache: marked, rest } => {
                WireTool::Function(Box::new(Function {
                    name,
                    description: description.as_ref(),
                    input_schema,
                    strict: *strict,
                    cache_control: marked.map(cache),
                    rest: self.rest(rest),
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

    fn rest<'a>(&mut self, rest: &'a [(Text<'a>, Json<'a>)]) -> Rest<'a> {
        if self.is_own {
            return Rest(rest);
        }
        rest.iter().for_each(|(name, _)| self.losses.drop(Feature::Field(name.to_string())));
        Rest(&[])
    }
}

/// What the model says: a block of an answer as much as of a request. `None`: the model does not say such.
pub(super) fn said<'a>(block: &'a Block<'a>) -> Option<WireBlock<'a>> {
    Some(match block {
        Block::Text { text: said, citations, cache: marked } => WireBlock {
            citations: (!citations.is_empty()).then(|| Json::of(&citations.iter().map(citation).collect::<Vec<_>>())),
            cache_control: marked.map(cache),
            ..text(said)
        },
        Block::ToolUse(tool) => WireBlock {
            kind: "tool_use".into(),
            id: Some(tool.id.lend()),
            name: Some(tool.name.lend()),
            input: Some(tool.input.lend()),
            cache_control: tool.cache.map(cache),
            ..WireBlock::default()
        },
        Block::Thinking { text, signature } => WireBlock {
            kind: "thinking".into(),
            thinking: Some(text.lend()),
            signature: Some(signature.as_ref().map(|seal| Text(seal.enclose(Dialect::Anthropic))).unwrap_or_default()),
            ..WireBlock::default()
        },
        Block::RedactedThinking { data } => WireBlock {
            kind: "redacted_thinking".into(),
            data: Some(Text(data.enclose(Dialect::Anthropic))),
            ..WireBlock::default()
        },
        Block::Media(_) | Block::ToolResult(_) | Block::Other { .. } => return None,
    })
}

fn text(text: &str) -> WireBlock<'_> {
    WireBlock { kind: "text".into(), text: Some(text.into()), ..WireBlock::default() }
}

/// Writes a citation: its own form where it has one, otherwise that of a page on the web.
pub(super) fn citation<'a>(citation: &'a Citation<'a>) -> Json<'a> {
    #[derive(Serialize)]
    struct Web<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        url: &'a str,
        title: Option<&'a Text<'a>>,
        cited_text: &'a str,
        encrypted_index: &'static str,
    }
    let Citation { url, title, cited_text, native } = citation;
    native.as_ref().map(Json::lend).unwrap_or_else(|| {
        Json::of(&Web {
            kind: "web_search_result_location",
            url: url.as_deref().unwrap_or_default(),
            title: title.as_ref(),
            cited_text: cited_text.as_deref().unwrap_or_default(),
            encrypted_index: "",
        })
    })
}

fn cache<'a>(cache: Cache) -> WireCache<'a> {
    let ttl = match cache {
        Cache::Default => None,
        Cache::Hour => Some("1h".into()),
    };
    WireCache { kind: "ephemeral".into(), ttl }
}

const fn role(role: Role) -> &'static str {
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
        Some(ToolChoice::Tool { name }) => ("tool", Some(name.lend())),
        Some(ToolChoice::Auto) => ("auto", None),
        // Only here the API takes whether several may be called.
        None if request.parallel_tools.is_some() && !request.tools.is_empty() => ("auto", None),
        None => return None,
    };
    let disable_parallel_tool_use = request.parallel_tools.filter(|_| kind != "none").map(|allowed| !allowed);
    Some(WireChoice { kind: kind.into(), name, disable_parallel_tool_use })
}

fn thinking<'a>(thinking: &Thinking) -> Option<WireThinking<'a>> {
    let display = thinking.is_shown.map(|shown| if shown { "summarized" } else { "omitted" }.into());
    let wire = |kind: &'static str, budget_tokens| WireThinking { kind: kind.into(), budget_tokens, display };
    Some(match thinking.mode? {
        ThinkingMode::Off => WireThinking { kind: "disabled".into(), budget_tokens: None, display: None },
        ThinkingMode::Adaptive => wire("adaptive", None),
        ThinkingMode::Budget(tokens) => wire("enabled", Some(tokens)),
    })
}

fn output<'a>(request: &'a Request<'a>) -> Option<WireOutput<'a>> {
    let effort = request.thinking.effort.map(|effort| effort_word(effort).into());
    let format = match &request.format {
        Format::Schema { schema, .. } => Some(WireFormat { kind: "json_schema".into(), schema: schema.lend() }),
        Format::Text | Format::Json => None,
    };
    (effort.is_some() || format.is_some()).then_some(WireOutput { effort, format })
}

// The API has nothing below low.
const fn effort_word(effort: Effort) -> &'static str {
    match effort {
        Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::ExtraHigh => "xhigh",
        Effort::Max => "max",
    }
}

impl Serialize for Rest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, json) in self.0 {
            map.serialize_entry(name, json)?;
        }
        map.end()
    }
}
