//! `additionalModelRequestFields`: what the API passes on to the model as it is. Each maker has its own form, and some models refuse a
//! field that they do not know; whose a model is, is taken from its id. An id that does not say it, such as that of an inference profile
//! of one's own, is taken for one of Anthropic's.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use crate::{
    dialects::read::{Members, field},
    error::DecodeError,
    hub::{Effort, Feature, Json, Losses, Request, Sampling, Text, Thinking, ThinkingMode},
};

/// How a field that the hub does not model is called among those of the request.
pub(super) const PREFIX: &str = "additionalModelRequestFields.";

/// Ids of models that have none of what is written here.
const PLAIN: [&str; 14] = [
    "ai21.",
    "cohere.",
    "deepseek.",
    "google.",
    "meta.",
    "minimax.",
    "mistral.",
    "moonshot",
    "nvidia.",
    "qwen.",
    "stability.",
    "titan",
    "writer.",
    "zai.",
];

/// Whose form the fields of a model have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Maker {
    /// Claude.
    Anthropic,
    /// Nova.
    Amazon,
    /// GPT.
    OpenAi,
    /// None that is known.
    Other,
}

/// Fields by their names.
pub(super) type Fields<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

/// `thinking`, in Anthropic's form.
#[derive(Deserialize, Serialize)]
struct WireThinking<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budget_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    display: Option<Text<'a>>,
}

// === impl Maker ===

impl Maker {
    /// Whose model it is.
    pub(super) fn of(model: &str) -> Self {
        let has = |word: &str| model.contains(word);
        match () {
            () if has("claude") || has("anthropic") => Self::Anthropic,
            () if has("nova") => Self::Amazon,
            () if has("openai") || has("gpt-") => Self::OpenAi,
            () if PLAIN.into_iter().any(has) => Self::Other,
            () => Self::Anthropic,
        }
    }
}

/// Reads the fields, whoever's form they have.
pub(super) fn read<'a>(raw: &'a RawValue, request: &mut Request<'a>) -> Result<(), DecodeError> {
    let Members(members) = field("additionalModelRequestFields", raw)?;
    for (name, raw) in members {
        if read_field(&name, raw, request).is_none() {
            request.rest.push((Text::from([PREFIX, &*name].concat()), field("", raw)?));
        }
    }
    Ok(())
}

// `None`: it is not what is known here by that name.
fn read_field<'a>(name: &str, raw: &'a RawValue, request: &mut Request<'a>) -> Option<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Reasoning<'a> {
        #[serde(rename = "type", borrow)]
        kind: Text<'a>,
        #[serde(default)]
        max_reasoning_effort: Option<Text<'a>>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inference {
        #[serde(rename = "topK")]
        top_k: u64,
    }
    let text = raw.get();
    match name {
        "top_k" => request.sampling.top_k = Some(serde_json::from_str(text).ok()?),
        "inferenceConfig" => request.sampling.top_k = Some(serde_json::from_str::<Inference>(text).ok()?.top_k),
        "thinking" => read_thinking(serde_json::from_str(text).ok()?, request)?,
        "reasoning_effort" => {
            let word: Text<'_> = serde_json::from_str(text).ok()?;
            request.thinking.effort = Some(Effort::from_word(&word)?);
        }
        "reasoningConfig" => {
            let Reasoning { kind, max_reasoning_effort } = serde_json::from_str(text).ok()?;
            request.thinking.mode = match &*kind {
                "disabled" => Some(ThinkingMode::Off),
                "enabled" => Some(ThinkingMode::Adaptive),
                _ => return None,
            };
            request.thinking.effort = max_reasoning_effort.as_deref().and_then(Effort::from_word);
        }
        _ => return None,
    }
    Some(())
}

fn read_thinking(wire: WireThinking<'_>, request: &mut Request<'_>) -> Option<()> {
    let mode = match &*wire.kind {
        "disabled" => ThinkingMode::Off,
        "adaptive" => ThinkingMode::Adaptive,
        "enabled" => ThinkingMode::Budget(wire.budget_tokens?),
        _ => return None,
    };
    request.thinking.mode = Some(mode);
    request.thinking.is_shown = wire.display.map(|display| &*display != "omitted");
    Some(())
}

/// Writes the fields, and says which effort the API itself is told.
pub(super) fn write<'a>(
    maker: Maker,
    is_own: bool,
    request: &'a Request<'a>,
    (sampling, thinking): (&Sampling, &Thinking),
    losses: &mut Losses,
) -> (Fields<'a>, Option<Effort>) {
    let mut fields = Fields::new();
    let mut add = |name: &'static str, json: Json<'a>| fields.push((name.into(), json));
    if let Some(top_k) = sampling.top_k {
        match maker {
            Maker::Anthropic => add("top_k", Json::of(&top_k)),
            Maker::Amazon => add("inferenceConfig", Json::of(&json!({"topK": top_k}))),
            Maker::OpenAi | Maker::Other => losses.drop(Feature::TopK),
        }
    }
    let mut told = None;
    match maker {
        Maker::Anthropic => {
            told = thinking.effort;
            if let Some(thinking) = wire_thinking(thinking) {
                add("thinking", Json::of(&thinking));
            }
        }
        Maker::Amazon => {
            if let Some(reasoning) = nova(request, losses) {
                add("reasoningConfig", reasoning);
            }
        }
        Maker::OpenAi => {
            if let Some(effort) = coarse(request, losses) {
                add("reasoning_effort", Json::of(effort.at_least_low().word()));
            }
        }
        Maker::Other => without(request, losses),
    }
    if is_own {
        let own = request.rest.iter().filter_map(|(name, json)| Some((name.strip_prefix(PREFIX)?, json)));
        fields.extend(own.map(|(name, json)| (name.into(), json.lend())));
    }
    (fields, told)
}

/// Whether a field that the hub does not model is one of the model.
pub(super) fn is_of_model(name: &str) -> bool {
    name.starts_with(PREFIX)
}

fn wire_thinking(thinking: &Thinking) -> Option<WireThinking<'static>> {
    let display = thinking.is_shown.map(|shown| if shown { "summarized" } else { "omitted" }.into());
    let wire = |kind: &'static str, budget_tokens| WireThinking { kind: kind.into(), budget_tokens, display };
    Some(match thinking.mode? {
        ThinkingMode::Off => WireThinking { kind: "disabled".into(), budget_tokens: None, display: None },
        ThinkingMode::Adaptive => wire("adaptive", None),
        ThinkingMode::Budget(tokens) => wire("enabled", Some(tokens)),
    })
}

// Nova takes no limit of output and no temperature beside a high effort.
fn nova(request: &Request<'_>, losses: &mut Losses) -> Option<Json<'static>> {
    if request.thinking.mode == Some(ThinkingMode::Off) {
        return Some(Json::of(&json!({"type": "disabled"})));
    }
    let effort = coarse(request, losses)?;
    let is_limited =
        request.output_tokens_max.is_some() || request.sampling.temperature.or(request.sampling.top_p).is_some();
    let most = if is_limited { Effort::Medium } else { Effort::High };
    if effort > most {
        losses.approximate(Feature::Effort);
    }
    Some(Json::of(&json!({"type": "enabled", "maxReasoningEffort": effort.min(most).at_least_low().word()})))
}

// How hard a model shall try that knows only that of its thinking.
fn coarse(request: &Request<'_>, losses: &mut Losses) -> Option<Effort> {
    let of_budget = match request.thinking.mode {
        Some(ThinkingMode::Budget(tokens)) => {
            losses.approximate(Feature::ThinkingBudget);
            Some(Effort::of_budget(tokens))
        }
        Some(ThinkingMode::Adaptive) => Some(Effort::Medium),
        Some(ThinkingMode::Off) => {
            losses.approximate(Feature::ThinkingOff);
            Some(Effort::Low)
        }
        None => None,
    };
    request.thinking.effort.or(of_budget)
}

fn without(request: &Request<'_>, losses: &mut Losses) {
    let mode = match request.thinking.mode {
        Some(ThinkingMode::Budget(_)) => Some(Feature::ThinkingBudget),
        Some(ThinkingMode::Adaptive) => Some(Feature::ThinkingAdaptive),
        // A model without such a field does not think, or cannot be told.
        Some(ThinkingMode::Off) | None => None,
    };
    let effort = request.thinking.effort.map(|_| Feature::Effort);
    mode.into_iter().chain(effort).for_each(|feature| losses.drop(feature));
}
