//! Reads and writes a whole `GenerateContentResponse`.

use serde::{Deserialize, Serialize};

use super::{
    encode::{function_call, thought},
    grounding::{Sources, WireCited, WireGrounding, attach},
    part::{self, Calls},
    seal,
    usage::WireUsage,
    wire::{Piece, Said, WireContent, WirePart},
};
use crate::{
    dialects::read::object,
    error::DecodeError,
    hub::{Answer, Block, Citation, Json, Signature, Stop, Text, spelling::mark},
};

/// An answer, or a chunk of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireAnswer<'a> {
    #[serde(borrow)]
    pub(super) candidates: Option<Vec<WireCandidate<'a>>>,
    #[serde(alias = "prompt_feedback")]
    pub(super) prompt_feedback: Option<WireFeedback<'a>>,
    #[serde(alias = "usage_metadata")]
    pub(super) usage_metadata: Option<WireUsage>,
    #[serde(alias = "model_version")]
    pub(super) model_version: Option<Text<'a>>,
    #[serde(alias = "response_id")]
    pub(super) response_id: Option<Text<'a>>,
    pub(super) error: Option<Json<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireCandidate<'a> {
    pub(super) index: Option<u64>,
    #[serde(borrow)]
    pub(super) content: Option<WireContent<'a>>,
    #[serde(alias = "finish_reason")]
    pub(super) finish_reason: Option<Text<'a>>,
    #[serde(alias = "grounding_metadata")]
    pub(super) grounding_metadata: Option<Json<'a>>,
    #[serde(alias = "citation_metadata")]
    pub(super) citation_metadata: Option<Json<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireFeedback<'a> {
    #[serde(alias = "block_reason", borrow)]
    pub(super) block_reason: Option<Text<'a>>,
}

/// An answer, or a chunk of one, as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written<'a> {
    pub(super) candidates: [WrittenCandidate<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage_metadata: Option<WireUsage>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) model_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) response_id: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenCandidate<'a> {
    pub(super) content: Said<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finish_reason: Option<&'a str>,
    pub(super) index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grounding_metadata: Option<WireGrounding<'static>>,
}

/// Reads an answer.
///
/// # Errors
/// As [`Dialect::decode_answer`](crate::Dialect::decode_answer).
pub fn decode_answer(body: &[u8]) -> Result<Answer<'_>, DecodeError> {
    let WireAnswer { candidates, prompt_feedback, usage_metadata, model_version, response_id, error: _ } =
        object::<Option<WireAnswer<'_>>>(body)?.ok_or_else(|| DecodeError::invalid("candidates", "there"))?;
    let id = response_id.unwrap_or_default();
    let refusal = prompt_feedback.and_then(|feedback| feedback.block_reason).map(|_| Stop::Refusal);
    let first = candidates.and_then(first);
    if first.is_none() && refusal.is_none() && usage_metadata.is_none() {
        return Err(DecodeError::invalid("candidates", "there"));
    }
    let WireCandidate { content, finish_reason, grounding_metadata, citation_metadata, .. } = first.unwrap_or_default();
    if finish_reason.as_deref().is_some_and(is_malformed) {
        return Err(DecodeError::invalid(
            "candidates[0].finishReason",
            "another: the model wrote a call that cannot be read",
        ));
    }
    let mut calls = Calls::new(call_prefix(&id, body));
    let mut blocks = Vec::new();
    part::content(content.unwrap_or_default(), &mut calls, &mut blocks)
        .map_err(|error| error.within("content", None).within("candidates", Some(0)))?;
    let grounding = grounding(borrowed(grounding_metadata));
    let web_searches = grounding.as_ref().map(WireGrounding::web_searches).unwrap_or_default();
    attach(&mut blocks, grounding.map(WireGrounding::citations).unwrap_or_default());
    attach(&mut blocks, cited(borrowed(citation_metadata)).map(|citation| (None, citation)).collect());
    let has_calls = blocks.iter().any(|block| matches!(block, Block::ToolUse(_)));
    Ok(Answer {
        dialect: crate::Dialect::Gemini,
        id,
        model: model_version.unwrap_or_default(),
        stop: finish_reason.map(|word| stop(word, has_calls)).or(refusal),
        blocks,
        usage: usage_metadata.unwrap_or_default().usage(web_searches),
    })
}

fn borrowed(json: Option<Json<'_>>) -> Option<&str> {
    Some(json?.raw()?.get())
}

/// The candidate that counts.
pub(super) fn first(candidates: Vec<WireCandidate<'_>>) -> Option<WireCandidate<'_>> {
    candidates.into_iter().find(|candidate| candidate.index.unwrap_or_default() == 0)
}

/// What ids of calls begin with in that answer: the same each time that it is read, other in each answer, and of such letters as every
/// dialect takes. An answer without an id is known by its bytes.
pub(super) fn call_prefix(answer_id: &str, bytes: &[u8]) -> String {
    let letters = answer_id.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').take(40);
    let letters: String = letters.collect();
    if letters.is_empty() {
        return format!("call_{:016x}", mark(&[bytes]));
    }
    format!("call_{letters}")
}

/// Reads `groundingMetadata`; what cannot be read is no reason to refuse an answer.
pub(super) fn grounding<'a>(json: Option<&'a str>) -> Option<WireGrounding<'a>> {
    json.and_then(|json| serde_json::from_str(json).ok())
}

/// Reads `citationMetadata`.
pub(super) fn cited<'a>(json: Option<&'a str>) -> impl Iterator<Item = Citation<'a>> {
    let read = |json: &'a str| serde_json::from_str::<WireCited<'a>>(json).ok();
    json.and_then(read).into_iter().flat_map(WireCited::citations)
}

/// What a client is told of a call that cannot be read: the next try mostly succeeds.
pub(super) const MALFORMED: &str = "The model wrote a call of a tool that cannot be read. Try again.";

/// Whether the model failed to call a tool: there is an answer, and nothing in it that a client could go on with.
pub(super) fn is_malformed(finish_reason: &str) -> bool {
    finish_reason == "MALFORMED_FUNCTION_CALL"
}

/// Reads `finishReason`.
pub(super) fn stop(word: Text<'_>, has_calls: bool) -> Stop<'_> {
    match &*word {
        "STOP" if has_calls => Stop::ToolUse,
        "STOP" => Stop::EndTurn,
        "MAX_TOKENS" => Stop::MaxTokens,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => Stop::Refusal,
        _ => Stop::Other { word },
    }
}

/// Writes `finishReason`. Clients know no other words than the API's.
pub(super) fn stop_word<'a>(stop: &'a Stop<'_>) -> &'a str {
    match stop {
        Stop::EndTurn | Stop::ToolUse | Stop::Sequence { .. } | Stop::Pause => "STOP",
        Stop::MaxTokens | Stop::ContextWindow => "MAX_TOKENS",
        Stop::Refusal => "SAFETY",
        Stop::Other { word } => {
            let is_like_the_api = word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            if is_like_the_api && !word.is_empty() { word } else { "OTHER" }
        }
    }
}

/// Writes an answer.
#[must_use]
pub fn encode_answer(answer: &Answer<'_>) -> Vec<u8> {
    let (mut parts, mut sources) = (Vec::new(), Sources::default());
    let mut riding: Option<&Signature<'_>> = None;
    for block in &answer.blocks {
        if let Block::Text { text, citations, .. } = block {
            citations.iter().for_each(|citation| sources.cite(parts.len(), text.len(), Some(text), citation));
        }
        let sealed = match block {
            Block::Thinking { signature, .. } => signature.as_ref(),
            Block::RedactedThinking { data } => Some(data),
            _ => None,
        };
        riding = sealed.filter(|seal| seal::own(Some(seal)).is_none()).or(riding);
        parts.extend(part(block, &mut riding));
    }
    // Clients take an answer without any part for a broken one.
    if parts.is_empty() {
        parts.push(WirePart { text: Some(Text::default()), ..WirePart::default() });
    }
    let candidate = WrittenCandidate {
        content: Said {
            role: Some("model"),
            parts: parts.into_iter().map(|part| Piece::Part(Box::new(part))).collect(),
        },
        finish_reason: answer.stop.as_ref().map(stop_word),
        index: 0,
        grounding_metadata: sources.written(answer.usage.counters.web_searches),
    };
    let written = Written {
        candidates: [candidate],
        usage_metadata: Some(WireUsage::of(&answer.usage)),
        model_version: &answer.model,
        response_id: &answer.id,
    };
    serde_json::to_vec(&written).unwrap_or_default()
}

// `None`: the model does not say such here.
fn part<'a>(block: &'a Block<'a>, riding: &mut Option<&'a Signature<'a>>) -> Option<WirePart<'a>> {
    Some(match block {
        Block::Text { text, citations, .. } => {
            if text.is_empty() && citations.is_empty() {
                return None;
            }
            WirePart { text: Some(text.lend()), ..WirePart::default() }
        }
        Block::Media(media) => super::media::write(media, false)?,
        Block::ToolUse(call) => {
            let seal = call.signature.as_ref().or(riding.take());
            WirePart { thought_signature: seal.map(|seal| Text(seal::write(seal))), ..function_call(call) }
        }
        Block::Thinking { text, signature: Some(seal) } if seal::own(Some(seal)).is_none() => WirePart {
            text: Some(text.lend()),
            thought: Some(true),
            thought_signature: Some(Text(seal::write(seal))),
            ..WirePart::default()
        },
        Block::Thinking { text, signature } => thought(text, seal::own(signature.as_ref())),
        Block::RedactedThinking { data } => {
            WirePart { thought: Some(true), thought_signature: Some(Text(seal::write(data))), ..WirePart::default() }
        }
        Block::ToolResult(_) | Block::Other { .. } => return None,
    })
}
