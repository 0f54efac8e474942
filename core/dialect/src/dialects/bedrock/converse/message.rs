//! Reads and writes a whole answer.

use serde::{Deserialize, Serialize};

use super::{
    block::blocks,
    document::Names,
    piece::{Piece, Writing},
    usage::WireUsage,
};
use crate::{
    dialects::{Dialect, read::object},
    error::DecodeError,
    hub::{Answer, Json, Losses, Stop, Text},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read<'a> {
    #[serde(borrow)]
    output: Output<Spoken<'a>>,
    #[serde(default)]
    stop_reason: Option<Text<'a>>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(default)]
    additional_model_response_fields: Option<Additional<'a>>,
}

#[derive(Deserialize, Serialize)]
struct Output<T> {
    message: T,
}

#[derive(Deserialize)]
struct Spoken<'a> {
    #[serde(borrow)]
    content: Json<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    output: Output<Said<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Option<&'static str>,
    usage: WireUsage,
    metrics: Metrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_model_response_fields: Option<Additional<'a>>,
}

#[derive(Serialize)]
struct Said<'a> {
    role: &'static str,
    content: Vec<Piece<'a>>,
}

/// `metrics`, which must be there. Whoever translates measures no time.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metrics {
    latency_ms: u64,
}

/// What the model says beside the API: the text at which it stopped, where the request asks for `/stop_sequence`.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Additional<'a> {
    #[serde(borrow, default)]
    pub(super) stop_sequence: Option<Text<'a>>,
}

/// Reads an answer. It has no id and does not say which model it is of.
///
/// # Errors
/// As [`Dialect::decode_answer`].
pub fn decode_answer(body: &[u8]) -> Result<Answer<'_>, DecodeError> {
    let Read { output, stop_reason, usage, additional_model_response_fields: additional } =
        object::<Option<Read<'_>>>(body)?.ok_or_else(|| DecodeError::invalid("output", "there"))?;
    let raw = output.message.content.raw();
    let content = raw.map(|raw| blocks("content", raw)).transpose();
    Ok(Answer {
        dialect: Dialect::BedrockConverse,
        id: Text::default(),
        model: Text::default(),
        blocks: content.map_err(|error| error.within("output.message", None))?.unwrap_or_default(),
        stop: stop_reason.map(|word| stop(word, additional.unwrap_or_default().stop_sequence)),
        usage: usage.unwrap_or_default().read(),
    })
}

/// Writes an answer.
#[must_use]
pub fn encode_answer(answer: &Answer<'_>) -> Vec<u8> {
    // What no client of this dialect knows is left out, and no request loses anything by it.
    let mut losses = Losses::new(Dialect::BedrockConverse);
    let mut writing = Writing { is_own: false, is_answer: true, losses: &mut losses, names: Names::default() };
    let wire = Written {
        output: Output { message: Said { role: "assistant", content: writing.blocks(&answer.blocks) } },
        stop_reason: answer.stop.as_ref().map(stop_word),
        usage: WireUsage::of(&answer.usage),
        metrics: Metrics::default(),
        additional_model_response_fields: answer.stop.as_ref().and_then(additional),
    };
    serde_json::to_vec(&wire).unwrap_or_default()
}

/// Reads `stopReason`.
pub(super) fn stop<'a>(word: Text<'a>, sequence: Option<Text<'a>>) -> Stop<'a> {
    match &*word {
        "end_turn" => Stop::EndTurn,
        "tool_use" => Stop::ToolUse,
        "max_tokens" => Stop::MaxTokens,
        "stop_sequence" => Stop::Sequence { text: sequence },
        "model_context_window_exceeded" => Stop::ContextWindow,
        "guardrail_intervened" | "content_filtered" => Stop::Refusal,
        _ => Stop::Other { word },
    }
}

/// `stopReason`. A word that nobody knows is the end of a turn, since clients stop at unknown words; so is a pause.
pub(super) fn stop_word(stop: &Stop<'_>) -> &'static str {
    match stop {
        Stop::ToolUse => "tool_use",
        Stop::MaxTokens => "max_tokens",
        Stop::ContextWindow => "model_context_window_exceeded",
        Stop::Sequence { .. } => "stop_sequence",
        Stop::Refusal => "content_filtered",
        Stop::Other { word } if **word == *"malformed_tool_use" => "malformed_tool_use",
        Stop::Other { word } if **word == *"malformed_model_output" => "malformed_model_output",
        Stop::EndTurn | Stop::Pause | Stop::Other { .. } => "end_turn",
    }
}

/// What stands beside `stopReason`.
pub(super) fn additional<'a>(stop: &'a Stop<'a>) -> Option<Additional<'a>> {
    match stop {
        Stop::Sequence { text: Some(text) } => Some(Additional { stop_sequence: Some(text.lend()) }),
        _ => None,
    }
}
