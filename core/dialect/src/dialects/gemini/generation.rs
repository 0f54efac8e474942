//! `generationConfig`, both ways.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    model::Model,
    schema::json_schema,
    wire::{Rest, WireThinking, camel},
};
use crate::{
    dialects::{
        Dialect,
        read::{Members, field, is_null},
    },
    error::DecodeError,
    hub::{Effort, Feature, Format, Json, Losses, Request, Sampling, Text, ThinkingMode},
};

/// How fields of `generationConfig` that the hub does not model are called in the rest of a request.
pub(super) const PREFIX: &str = "generationConfig.";
const JSON: &str = "application/json";
/// The API takes no more texts at which the model stops.
const STOP_SEQUENCES_MAX: usize = 5;
/// A budget of -1: the model thinks as much as it deems right.
const DYNAMIC: i64 = -1;

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireGeneration<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'a [Text<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<&'a Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<WireThinking<'a>>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

/// Reads the configuration into the request.
pub(super) fn read<'a>(raw: &'a RawValue, request: &mut Request<'a>) -> Result<(), DecodeError> {
    let Members(members) = field("", raw)?;
    let (mut media_type, mut schema) = (None::<Text<'a>>, None);
    for (name, raw) in members {
        if is_null(raw) {
            continue;
        }
        let sampling = &mut request.sampling;
        let spelled = camel(&name);
        match &*spelled {
            "temperature" => sampling.temperature = Some(field("temperature", raw)?),
            "topP" => sampling.top_p = Some(field("topP", raw)?),
            "topK" => sampling.top_k = Some(whole("topK", raw)?),
            "maxOutputTokens" => request.output_tokens_max = Some(whole("maxOutputTokens", raw)?),
            "stopSequences" => request.stop_sequences = field("stopSequences", raw)?,
            "seed" => sampling.seed = Some(field("seed", raw)?),
            "presencePenalty" => sampling.presence_penalty = Some(field("presencePenalty", raw)?),
            "frequencyPenalty" => sampling.frequency_penalty = Some(field("frequencyPenalty", raw)?),
            "responseMimeType" => media_type = Some(field("responseMimeType", raw)?),
            "responseSchema" => schema = Some(("responseSchema", raw)),
            "responseJsonSchema" => schema = Some(("responseJsonSchema", raw)),
            "thinkingConfig" => thinking(field("thinkingConfig", raw)?, request),
            // One answer is what the hub has.
            "candidateCount" if raw.get() == "1" => {}
            _ => request.rest.push(([PREFIX, &spelled].concat().into(), field("", raw)?)),
        }
    }
    format(media_type, schema, request)
}

// Another form than text and JSON is only this dialect's own, its schema included.
fn format<'a>(
    media_type: Option<Text<'a>>,
    schema: Option<(&'static str, &'a RawValue)>,
    request: &mut Request<'a>,
) -> Result<(), DecodeError> {
    let other = media_type.as_deref().filter(|media_type| ![JSON, "text/plain", ""].contains(media_type));
    if let Some(other) = other {
        request.rest.push(([PREFIX, "responseMimeType"].concat().into(), Json::of(other)));
        if let Some((name, raw)) = schema {
            request.rest.push(([PREFIX, name].concat().into(), field(name, raw)?));
        }
        return Ok(());
    }
    request.format = match schema {
        Some((name, raw)) => {
            let schema = if name == "responseSchema" { json_schema(raw) } else { field(name, raw)? };
            Format::Schema { name: None, description: None, schema, strict: None }
        }
        None if media_type.as_deref() == Some(JSON) => Format::Json,
        None => Format::Text,
    };
    Ok(())
}

fn thinking(wire: WireThinking<'_>, request: &mut Request<'_>) {
    let WireThinking { include_thoughts, thinking_budget, thinking_level } = wire;
    request.thinking.is_shown = include_thoughts;
    request.thinking.mode = thinking_budget.map(|tokens| match u64::try_from(tokens) {
        Ok(0) => ThinkingMode::Off,
        Ok(tokens) => ThinkingMode::Budget(tokens),
        Err(_) => ThinkingMode::Adaptive,
    });
    request.thinking.effort = thinking_level.and_then(|level| {
        Some(match &*level.to_ascii_uppercase() {
            "MINIMAL" => Effort::Minimal,
            "LOW" => Effort::Low,
            "MEDIUM" => Effort::Medium,
            "HIGH" => Effort::High,
            _ => return None,
        })
    });
}

/// Reads a whole number, which may be written `40.0` or as a text.
pub(super) fn whole(name: &str, raw: &RawValue) -> Result<u64, DecodeError> {
    let digits = raw.get().trim_matches('"');
    let digits = digits
        .split_once('.')
        .filter(|(_, zeros)| zeros.bytes().all(|byte| byte == b'0'))
        .map_or(digits, |(whole, _)| whole);
    digits.parse().map_err(|_| DecodeError::invalid(name, "a whole number"))
}

/// Writes the configuration; `None` where there is nothing to say.
pub(super) fn write<'a>(request: &'a Request<'a>, rest: Rest<'a>, losses: &mut Losses) -> Option<WireGeneration<'a>> {
    let Sampling { temperature, top_p, top_k, seed, presence_penalty, frequency_penalty } = request.sampling;
    let stops = request.stop_sequences.as_slice();
    let stop_sequences = stops.get(..STOP_SEQUENCES_MAX).unwrap_or(stops);
    if stops.len() > stop_sequences.len() {
        losses.drop(Feature::StopSequences);
    }
    let (response_mime_type, response_json_schema) = match &request.format {
        Format::Text => (None, None),
        Format::Json => (Some(JSON), None),
        Format::Schema { schema, .. } => (Some(JSON), Some(schema)),
    };
    let thinking = written_thinking(request, losses);
    let wire = WireGeneration {
        temperature,
        top_p,
        top_k,
        max_output_tokens: request.output_tokens_max,
        stop_sequences,
        // 32 bits of it are taken.
        seed: seed.map(|seed| i32::try_from(seed).map_or(seed % i64::from(i32::MAX), i64::from)),
        presence_penalty,
        frequency_penalty,
        response_mime_type,
        response_json_schema,
        thinking_config: Some(thinking).filter(|wire| *wire != WireThinking::default()),
        rest,
    };
    let is_empty = serde_json::to_string(&wire).is_ok_and(|json| json == "{}");
    (!is_empty).then_some(wire)
}

// A level and a budget do not go together, says the API: models before Gemini 3 take the budget, later ones the level.
fn written_thinking<'a>(request: &Request<'_>, losses: &mut Losses) -> WireThinking<'a> {
    let model = Model::named(&request.model);
    let (mode, effort) = (request.thinking.mode, request.thinking.effort);
    let level = |word: &'static str| WireThinking { thinking_level: Some(word.into()), ..WireThinking::default() };
    let budget = |tokens: u64| WireThinking { thinking_budget: i64::try_from(tokens).ok(), ..WireThinking::default() };
    // Some models think a little whatever they are told.
    if mode == Some(ThinkingMode::Off) && (model.is_3_or_later() || model.thinking_tokens(0) > 0) {
        losses.drop(Feature::ThinkingOff);
    }
    let wire = match (mode, effort) {
        (Some(ThinkingMode::Off), _) if model.is_3_or_later() => {
            level(if model.always_thinks() { "LOW" } else { "MINIMAL" })
        }
        (Some(ThinkingMode::Off), _) => budget(model.thinking_tokens(0)),
        (Some(ThinkingMode::Budget(tokens)), _) if model.is_before_3() => budget(model.thinking_tokens(tokens)),
        (mode, Some(effort)) if !model.is_before_3() => {
            if let Some(ThinkingMode::Budget(_)) = mode {
                losses.drop(Feature::ThinkingBudget);
            }
            if effort > Effort::High {
                losses.approximate(Feature::Effort);
            }
            level(level_word(effort, model))
        }
        (_, Some(effort)) => budget(model.thinking_tokens(effort.budget())),
        (Some(ThinkingMode::Budget(tokens)), None) => budget(model.thinking_tokens(tokens)),
        // Later models think so anyway.
        (Some(ThinkingMode::Adaptive), None) if model.is_3_or_later() => WireThinking::default(),
        (Some(ThinkingMode::Adaptive), None) => {
            WireThinking { thinking_budget: Some(DYNAMIC), ..WireThinking::default() }
        }
        (None, None) => WireThinking::default(),
    };
    // Other providers show what they are told to think; this one only where it is asked to.
    let is_shown = mode.filter(|mode| *mode != ThinkingMode::Off && request.dialect != Dialect::Gemini).map(|_| true);
    WireThinking { include_thoughts: request.thinking.is_shown.or(is_shown), ..wire }
}

const fn level_word(effort: Effort, model: Model) -> &'static str {
    match effort {
        Effort::Minimal if model.always_thinks() => "LOW",
        Effort::Minimal => "MINIMAL",
        Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        Effort::High | Effort::ExtraHigh | Effort::Max => "HIGH",
    }
}
