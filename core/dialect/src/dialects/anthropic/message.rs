//! Reads and writes a whole `Message`.

use serde::{Deserialize, Serialize};

use super::{
    block::{Piece, said, sealed},
    decode::block,
    usage::{Latest, Usage as WireUsage},
};
use crate::{
    dialects::{
        Dialect,
        read::{each, object},
    },
    error::{DecodeError, ErrorClass, Failure},
    hub::{Answer, Block, Json, Stop, Text, Usage},
    meter::Counters,
};

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(default)]
    model: Text<'a>,
    content: Json<'a>,
    #[serde(default)]
    stop_reason: Option<Text<'a>>,
    #[serde(default)]
    stop_sequence: Option<Text<'a>>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

#[derive(Serialize)]
struct Written<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Piece<'a>>,
    stop_reason: Option<&'a str>,
    stop_sequence: Option<&'a str>,
    usage: Billed,
}

/// `usage`, as it is written.
#[derive(Serialize)]
pub(super) struct Billed {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    cache_creation: Created,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<Detailed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_tool_use: Option<Searched>,
}

#[derive(Serialize)]
struct Created {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

#[derive(Serialize)]
struct Detailed {
    thinking_tokens: u64,
}

#[derive(Serialize)]
struct Searched {
    web_fetch_requests: u64,
    web_search_requests: u64,
}

/// Reads a message.
///
/// # Errors
/// As [`Dialect::decode_answer`](crate::Dialect::decode_answer).
pub fn decode_answer(body: &[u8]) -> Result<Answer<'_>, DecodeError> {
    let Read { id, model, content, stop_reason, stop_sequence, usage } =
        object::<Option<Read<'_>>>(body)?.ok_or_else(|| DecodeError::invalid("content", "there"))?;
    let mut latest = Latest::default();
    latest.take(usage.unwrap_or_default());
    let raw = content.raw().ok_or_else(|| DecodeError::invalid("content", "a list"))?;
    Ok(Answer {
        dialect: Dialect::Anthropic,
        id,
        model,
        blocks: each("content", raw, block)?,
        stop: stop_reason.map(|word| stop(word, stop_sequence)),
        usage: latest.usage(),
    })
}

/// Writes a message.
#[must_use]
pub fn encode_answer<'a>(answer: &'a Answer<'a>) -> Vec<u8> {
    let is_own = answer.dialect == Dialect::Anthropic;
    let said = |block: &'a Block<'a>| match block {
        Block::Other { json, .. } => is_own.then_some(Piece::Own(json)),
        block => said(block).map(|block| Piece::Block(Box::new(block))),
    };
    // A tool's call has no place for a seal here: thinking without text goes ahead of it and bears the seal.
    let content = shown(&answer.blocks).iter().flat_map(|block| [seal(block), said(block)]).flatten();
    let has_call = answer.blocks.iter().any(|block| matches!(block, Block::ToolUse(_)));
    let (stop_reason, stop_sequence) = match &answer.stop {
        Some(Stop::Other { word }) if is_own => (Some(&**word), None),
        stop => stop.as_ref().map(|stop| stop_words(stop, has_call)).unzip(),
    };
    let wire = Written {
        id: &answer.id,
        kind: "message",
        role: "assistant",
        model: &answer.model,
        content: content.collect(),
        stop_reason,
        stop_sequence: stop_sequence.flatten(),
        usage: billed(&answer.usage),
    };
    serde_json::to_vec(&wire).unwrap_or_default()
}

// The blocks but for another provider's seal of a text at the end: clients take the last block of a message for what it says.
fn shown<'b, 'a>(blocks: &'b [Block<'a>]) -> &'b [Block<'a>] {
    match blocks {
        [shown @ .., Block::Thinking { text, signature: Some(seal) }]
            if text.is_empty()
                && seal.dialect != Dialect::Anthropic
                && matches!(shown.last(), Some(Block::Text { .. })) =>
        {
            shown
        }
        all => all,
    }
}

fn seal<'a>(block: &'a Block<'a>) -> Option<Piece<'a>> {
    let Block::ToolUse(tool) = block else { return None };
    tool.signature.as_ref().map(sealed)
}

/// Reads the body of an error answer.
#[must_use]
pub fn decode_error(status: u16, body: &[u8]) -> Failure {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        error: Said<'a>,
    }
    #[derive(Deserialize)]
    struct Said<'a> {
        #[serde(rename = "type", borrow, default)]
        kind: Text<'a>,
        #[serde(default)]
        message: Text<'a>,
    }
    let class = ErrorClass::of_status(status);
    match serde_json::from_slice(body) {
        Ok(Envelope { error: Said { kind, message } }) => {
            Failure::told(class_of(&kind).unwrap_or(class), &*message, &*kind)
        }
        Err(_) => Failure::bare(class, body),
    }
}

/// The class of the API's word.
pub(super) fn class_of(word: &str) -> Option<ErrorClass> {
    Some(match word {
        "invalid_request_error" => ErrorClass::InvalidRequest,
        "authentication_error" => ErrorClass::Authentication,
        "permission_error" => ErrorClass::Permission,
        "not_found_error" => ErrorClass::NotFound,
        "request_too_large" => ErrorClass::RequestTooLarge,
        "rate_limit_error" => ErrorClass::RateLimit,
        "billing_error" => ErrorClass::Billing,
        "timeout_error" => ErrorClass::Timeout,
        "api_error" => ErrorClass::Api,
        "overloaded_error" => ErrorClass::Overloaded,
        _ => return None,
    })
}

/// Reads `stop_reason`.
pub(super) fn stop<'a>(word: Text<'a>, sequence: Option<Text<'a>>) -> Stop<'a> {
    match &*word {
        "end_turn" => Stop::EndTurn,
        "max_tokens" => Stop::MaxTokens,
        "model_context_window_exceeded" => Stop::ContextWindow,
        "stop_sequence" => Stop::Sequence { text: sequence },
        "tool_use" => Stop::ToolUse,
        "pause_turn" => Stop::Pause,
        "refusal" => Stop::Refusal,
        _ => Stop::Other { word },
    }
}

/// `stop_reason` and `stop_sequence`. A word that nobody knows is the end of a turn, since clients stop at unknown words. Whether
/// tools shall be run is told by whether some were called: vendors of other dialects are known to say `stop` there, and `tool_calls`
/// without any.
pub(super) fn stop_words<'a>(stop: &'a Stop<'a>, has_call: bool) -> (&'static str, Option<&'a str>) {
    match stop {
        Stop::EndTurn | Stop::Other { .. } | Stop::ToolUse => (if has_call { "tool_use" } else { "end_turn" }, None),
        Stop::MaxTokens => ("max_tokens", None),
        Stop::ContextWindow => ("model_context_window_exceeded", None),
        Stop::Sequence { text } => ("stop_sequence", text.as_deref()),
        Stop::Pause => ("pause_turn", None),
        Stop::Refusal => ("refusal", None),
    }
}

/// Writes `usage`.
pub(super) fn billed(usage: &Usage) -> Billed {
    let Counters { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches } = usage.counters;
    Billed {
        input_tokens: input,
        cache_creation_input_tokens: cache_write_5m.saturating_add(cache_write_1h),
        cache_read_input_tokens: cache_read,
        cache_creation: Created {
            ephemeral_5m_input_tokens: cache_write_5m,
            ephemeral_1h_input_tokens: cache_write_1h,
        },
        output_tokens: output,
        output_tokens_details: usage.thinking.map(|thinking_tokens| Detailed { thinking_tokens }),
        server_tool_use: (web_searches > 0)
            .then_some(Searched { web_fetch_requests: 0, web_search_requests: web_searches }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_its_class_and_a_conversation_that_is_too_long_its_code() {
        let body = |kind: &str, message: &str| {
            serde_json::json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"})
                .to_string()
        };
        let long = "prompt is too long: 210000 tokens > 200000 maximum";
        let both = "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or `max_tokens` and try again";
        for (status, body, class, message, code) in [
            (529, body("overloaded_error", "Overloaded"), ErrorClass::Overloaded, "Overloaded", "overloaded_error"),
            (400, body("invalid_request_error", "No."), ErrorClass::InvalidRequest, "No.", "invalid_request_error"),
            (400, body("invalid_request_error", long), ErrorClass::InvalidRequest, long, "context_length_exceeded"),
            (400, body("invalid_request_error", both), ErrorClass::InvalidRequest, both, "context_length_exceeded"),
            (418, body("new_error", "So."), ErrorClass::InvalidRequest, "So.", "new_error"),
            (502, "Bad gateway".to_owned(), ErrorClass::Api, "Bad gateway", ""),
            (
                529,
                r#"{"error":{"type":"overloaded_error"}}"#.to_owned(),
                ErrorClass::Overloaded,
                "The model provider gave no reason.",
                "overloaded_error",
            ),
            (503, "<html>".to_owned(), ErrorClass::Overloaded, "The model provider gave no reason.", ""),
        ] {
            let failure = decode_error(status, body.as_bytes());
            assert_eq!((failure.class, &*failure.message, &*failure.code), (class, message, code));
        }
    }
}
