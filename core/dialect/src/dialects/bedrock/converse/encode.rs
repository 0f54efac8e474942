//! Writes a Converse request from the hub.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{
    additional::{self, Fields, Maker},
    piece::{Piece, Writing, cache_point},
    tools::{self, Config},
    wire::{WireFormat, WireInference, WireOutput, WireSchema, WireStructure},
};
use crate::{
    dialects::{Dialect, Quirks, anthropic::limits::limits},
    hub::{
        Block, Cache, Effort, Feature, Format, Json, Losses, MediaKind, Request, Role, Sampling, Text,
        order::{OPENING, ordered},
    },
};

const TEMPERATURE_MAX: f64 = 1.0;
const JSON_INSTRUCTION: &str = "Answer with one JSON object and nothing else.";
const NO_TOOL_INSTRUCTION: &str = "Do not call any tool now: answer in text.";
const ONE_TOOL_INSTRUCTION: &str = "Call at most one tool at a time.";
/// The API wants a text beside a document.
const DOCUMENT_TEXT: &str = "Read what is attached.";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireRequest<'a> {
    messages: Vec<Said<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Piece<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inference_config: Option<WireInference<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<Config<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<WireOutput<'a>>,
    #[serde(skip_serializing_if = "Additional::is_empty")]
    additional_model_request_fields: Additional<'a>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

#[derive(Serialize)]
struct Said<'a> {
    role: &'static str,
    content: Vec<Piece<'a>>,
}

struct Additional<'a>(Fields<'a>);

/// Fields of this dialect that the hub does not model, without those of the model.
struct Rest<'a>(&'a [(Text<'a>, Json<'a>)]);

/// Writes a request. The model and whether the answer shall be a stream belong into the path.
#[must_use]
pub fn encode_request(request: &Request<'_>, quirks: &Quirks, losses: &mut Losses) -> Vec<u8> {
    let is_own = request.dialect == Dialect::BedrockConverse;
    let maker = Maker::of(&request.model);
    // The clients of this dialect know what the API wants.
    let ordered = (!is_own).then(|| ordered(&request.turns));
    let turns = ordered.as_ref().map(|ordered| ordered.turns.as_slice()).filter(|_| maker == Maker::Anthropic);
    let mut sampling = request.sampling;
    let mut thinking = request.thinking;
    if turns.is_some() {
        let limits = limits(request, turns, quirks, Dialect::BedrockConverse, losses);
        (sampling.temperature, sampling.top_p, sampling.top_k) = (limits.temperature, limits.top_p, limits.top_k);
        (thinking.mode, thinking.effort) = (limits.mode, limits.effort);
    }
    let (fields, told) = additional::write(maker, is_own, request, (&sampling, &thinking), losses);
    let mut writing = Writing { is_own, is_answer: false, losses, names: super::document::Names::default() };
    let mut system = writing.blocks(&request.system);
    let mut tools = tools::write(&mut writing, maker, request);
    let mut messages = match &ordered {
        Some(ordered) => {
            system.extend(writing.blocks(ordered.system.iter().map(|block| &**block)));
            messages(&mut writing, (maker, quirks), ordered.turns.iter().map(|turn| (turn.role, turn.given())))
        }
        None => messages(
            &mut writing,
            (maker, quirks),
            request.turns.iter().map(|turn| (turn.role, turn.blocks.iter().collect())),
        ),
    };
    let rest = Rest(writing.rest(&request.rest).0);
    system.extend(instructions(request, tools.is_forbidden, losses).map(|text| Piece::Text(text.into())));
    if request.user.is_some() {
        losses.meet(Feature::User);
    }
    if request.is_cached_unasked() && maker == Maker::Anthropic {
        mark(&mut system, tools.config.as_mut(), &mut messages);
    }
    let wire = WireRequest {
        messages,
        system,
        inference_config: inference(request, &sampling, losses),
        tool_config: tools.config,
        output_config: output(request, told),
        additional_model_request_fields: Additional(fields),
        rest,
    };
    // Texts, numbers and JSON have a JSON form.
    serde_json::to_vec(&wire).unwrap_or_default()
}

// Nothing is cached here that is not marked.
fn mark(system: &mut Vec<Piece<'_>>, tools: Option<&mut Config<'_>>, messages: &mut [Said<'_>]) {
    if system.is_empty() {
        tools.into_iter().for_each(Config::mark);
    } else {
        system.push(Piece::CachePoint(cache_point(Cache::Default)));
    }
    if let Some(said) = messages.iter_mut().rfind(|said| said.role == "user") {
        said.content.push(Piece::CachePoint(cache_point(Cache::Default)));
    }
}

// What the API has no field for.
fn instructions(
    request: &Request<'_>,
    is_forbidden: bool,
    losses: &mut Losses,
) -> impl Iterator<Item = &'static str> + use<> {
    let one_at_a_time = request.parallel_tools == Some(false) && !request.tools.is_empty();
    if one_at_a_time {
        losses.meet(Feature::ParallelTools);
    }
    if request.format == Format::Json {
        losses.meet(Feature::JsonFormat);
    }
    let said = [
        (is_forbidden, NO_TOOL_INSTRUCTION),
        (one_at_a_time, ONE_TOOL_INSTRUCTION),
        (request.format == Format::Json, JSON_INSTRUCTION),
    ];
    said.into_iter().filter_map(|(is_said, text)| is_said.then_some(text))
}

fn messages<'a>(
    writing: &mut Writing<'_>,
    (maker, quirks): (Maker, &Quirks),
    turns: impl Iterator<Item = (Role, Vec<&'a Block<'a>>)>,
) -> Vec<Said<'a>> {
    let mut messages: Vec<Said<'a>> = Vec::new();
    for (role, blocks) in turns {
        let role = match role {
            // Models of other makers know no instructions in the middle, and of Anthropic's only the newer ones do.
            Role::System if (maker != Maker::Anthropic || quirks.lacks_system_turns) && !writing.is_own => {
                writing.losses.approximate(Feature::MidConversationSystem);
                Role::User
            }
            role => role,
        };
        let mut content = writing.blocks(blocks.iter().copied());
        if content.is_empty() {
            continue;
        }
        if !writing.is_own && lacks_text(&blocks) {
            content.push(Piece::Text(DOCUMENT_TEXT.into()));
        }
        let role = word(role);
        match messages.last_mut() {
            // Two of one role, or what stood between them said nothing.
            Some(last) if last.role == role => last.content.extend(content),
            _ => messages.push(Said { role, content }),
        }
    }
    if !writing.is_own && messages.first().is_none_or(|first| first.role != "user") {
        messages.insert(0, Said { role: "user", content: vec![Piece::Text(OPENING.into())] });
    }
    messages
}

fn lacks_text(blocks: &[&Block<'_>]) -> bool {
    let is_document = |block: &&Block<'_>| matches!(block, Block::Media(media) if media.kind == MediaKind::Document);
    let is_text = |block: &&Block<'_>| matches!(block, Block::Text { text, .. } if !text.trim().is_empty());
    blocks.iter().any(is_document) && !blocks.iter().any(is_text)
}

const fn word(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::System => "system",
    }
}

fn inference<'a>(request: &'a Request<'a>, sampling: &Sampling, losses: &mut Losses) -> Option<WireInference<'a>> {
    let Sampling { temperature, top_p, top_k: _, seed, presence_penalty, frequency_penalty } = *sampling;
    if temperature.is_some_and(|temperature| temperature > TEMPERATURE_MAX) {
        losses.meet(Feature::HighTemperature);
    }
    if seed.is_some() {
        losses.meet(Feature::Seed);
    }
    if presence_penalty.or(frequency_penalty).is_some() {
        losses.meet(Feature::Penalties);
    }
    let wire = WireInference {
        max_tokens: request.output_tokens_max,
        temperature: temperature.map(|temperature| temperature.min(TEMPERATURE_MAX)),
        top_p,
        stop_sequences: request.stop_sequences.iter().filter(|text| !text.is_empty()).map(Text::lend).collect(),
    };
    let is_said =
        wire.max_tokens.is_some() || wire.temperature.or(wire.top_p).is_some() || !wire.stop_sequences.is_empty();
    is_said.then_some(wire)
}

fn output<'a>(request: &'a Request<'a>, told: Option<Effort>) -> Option<WireOutput<'a>> {
    let text_format = match &request.format {
        Format::Schema { name, description, schema, strict: _ } => Some(WireFormat {
            kind: "json_schema".into(),
            structure: WireStructure {
                json_schema: Some(WireSchema {
                    schema: schema.get().into(),
                    name: name.as_ref().map(Text::lend),
                    description: description.as_ref().map(Text::lend),
                }),
            },
        }),
        Format::Text | Format::Json => None,
    };
    let effort = told.map(|told| told.at_least_low().word().into());
    (effort.is_some() || text_format.is_some()).then_some(WireOutput { text_format, effort })
}

// === impl Additional ===

impl Additional<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Additional<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, json)| (name, json)))
    }
}

impl Serialize for Rest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, json) in self.0.iter().filter(|(name, _)| !additional::is_of_model(name)) {
            map.serialize_entry(name, json)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests;
