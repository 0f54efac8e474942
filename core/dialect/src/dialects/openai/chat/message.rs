//! Reads and writes a whole completion.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    super::usage::{Billed, WireUsage},
    call::id_of_place,
    reasoning::{Detail, is_packed},
    say::{Call, Called, Content, Message, joined},
    turn::answer,
    wire::{Annotation, WireMessage},
};
use crate::{
    dialects::{Dialect, read::object},
    error::DecodeError,
    hub::{Answer, Block, Citation, Stop, Text},
};

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(default)]
    model: Option<Text<'a>>,
    choices: Vec<Choice<'a>>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: WireMessage<'a>,
    #[serde(default)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Serialize)]
struct Written<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [Chosen<'a>; 1],
    usage: Billed,
}

#[derive(Serialize)]
struct Chosen<'a> {
    index: u64,
    message: Saying<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Saying<'a> {
    #[serde(flatten)]
    message: Message<'a>,
    refusal: Option<()>,
}

/// Reads a completion; of several choices the first.
///
/// # Errors
/// As [`Dialect::decode_answer`].
pub fn decode_answer(body: &[u8]) -> Result<Answer<'_>, DecodeError> {
    let missing = || DecodeError::invalid("choices", "there, with a message in each");
    let Read { id, model, choices, usage } = object::<Option<Read<'_>>>(body)?.ok_or_else(missing)?;
    let Choice { mut message, finish_reason } = choices.into_iter().next().ok_or_else(missing)?;
    let is_refused = message.refusal.as_ref().is_some_and(|refusal| !refusal.is_empty());
    let id = id.unwrap_or_default();
    let blocks = answer(&mut message, |place| id_of_place(&id, place))
        .map_err(|error| error.within("message", None).within("choices", Some(0)))?;
    let has_calls = blocks.iter().any(|block| matches!(block, Block::ToolUse(_)));
    Ok(Answer {
        dialect: crate::Dialect::OpenAiChat,
        id,
        model: model.unwrap_or_default(),
        blocks,
        stop: finish_reason.map(|word| stop(word, has_calls, is_refused)),
        usage: usage.map(|usage| usage.usage()).unwrap_or_default(),
    })
}

/// Reads `finish_reason`. Some vendors end with `stop` although the model calls tools, and a model that refuses does it always.
pub(super) fn stop(word: Text<'_>, has_calls: bool, is_refused: bool) -> Stop<'_> {
    match &*word {
        "stop" | "eos" | "end_turn" | "tool_calls" | "function_call" if has_calls => Stop::ToolUse,
        "stop" | "eos" | "end_turn" if is_refused => Stop::Refusal,
        "stop" | "eos" | "end_turn" => Stop::EndTurn,
        "tool_calls" | "function_call" => Stop::EndTurn,
        "length" | "max_tokens" => Stop::MaxTokens,
        "model_length" | "model_context_window_exceeded" => Stop::ContextWindow,
        "content_filter" | "sensitive" | "refusal" => Stop::Refusal,
        _ => Stop::Other { word },
    }
}

/// `finish_reason`. A word that nobody knows is the end of a turn. Whether tools shall be run is told by whether some were called, since
/// not every provider says it.
pub(super) const fn finish_reason(stop: &Stop<'_>, has_calls: bool) -> &'static str {
    match stop {
        Stop::EndTurn | Stop::Sequence { .. } | Stop::Pause | Stop::Other { .. } | Stop::ToolUse if has_calls => {
            "tool_calls"
        }
        Stop::EndTurn | Stop::Sequence { .. } | Stop::Pause | Stop::Other { .. } | Stop::ToolUse => "stop",
        Stop::MaxTokens | Stop::ContextWindow => "length",
        Stop::Refusal => "content_filter",
    }
}

/// Writes a completion.
#[must_use]
pub fn encode_answer(answer: &Answer<'_>) -> Vec<u8> {
    let Answer { dialect: _, id, model, blocks, stop, usage } = answer;
    let message = said(blocks);
    let finish_reason = finish_reason(stop.as_ref().unwrap_or(&Stop::EndTurn), !message.tool_calls.is_empty());
    let choice = Chosen { index: 0, message: Saying { message, refusal: None }, logprobs: None, finish_reason };
    let wire =
        Written { id, object: "chat.completion", created: 0, model, choices: [choice], usage: Billed::of(usage) };
    serde_json::to_vec(&wire).unwrap_or_default()
}

// A client is given all that was thought, each seal in what it sends back.
fn said<'a>(blocks: &'a [Block<'a>]) -> Message<'a> {
    let mut message = Message { role: "assistant", ..Message::default() };
    let (mut texts, mut thoughts, mut cited) = (Vec::new(), Vec::new(), Vec::new());
    let (mut at, mut is_sealed) = (0, false);
    for block in blocks {
        let index = message.reasoning_details.len() as u64;
        match block {
            Block::Text { text, citations, .. } => {
                let end = at + text.chars().count();
                cited.extend(citations.iter().map(|citation: &Citation<'_>| Annotation::of(citation, at, end)));
                at = end;
                texts.push(&**text);
            }
            Block::Thinking { text, signature } => {
                let detail = Detail::text(text, index);
                thoughts.extend((!text.is_empty()).then_some(Cow::Borrowed(&**text)));
                is_sealed |= signature.is_some();
                message.reasoning_details.push(match signature {
                    Some(seal) => detail.signed(seal.enclose(Dialect::OpenAiChat)),
                    None => detail,
                });
            }
            Block::RedactedThinking { data } => {
                is_sealed = true;
                message.reasoning_details.push(Detail::encrypted(data.enclose(Dialect::OpenAiChat), index));
            }
            Block::ToolUse(tool) => {
                let own = tool.signature.as_ref().and_then(|seal| seal.for_provider(Dialect::OpenAiChat));
                let own = own.filter(|seal| !is_packed(seal));
                if let Some(seal) = tool.signature.as_ref().filter(|_| own.is_none()) {
                    is_sealed = true;
                    let seal = seal.enclose(Dialect::OpenAiChat);
                    message.reasoning_details.push(Detail::of_call(seal, &tool.id, index));
                }
                message.tool_calls.push(Called::Function(Call::of(tool.id.lend(), tool, own)));
            }
            Block::Other { .. } | Block::Media(_) | Block::ToolResult(_) => {}
        }
    }
    if !is_sealed {
        message.reasoning_details.clear();
    }
    message.reasoning_content = (!thoughts.is_empty()).then(|| joined(thoughts));
    message.annotations = cited.into_iter().flatten().collect();
    message.content = match texts.as_slice() {
        [] => message.tool_calls.is_empty().then_some(Content::Text(Cow::Borrowed(""))),
        [text] => Some(Content::Text(Cow::Borrowed(text))),
        texts => Some(Content::Text(texts.concat().into())),
    };
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_calls_ends_for_them_in_whatever_word_its_provider_had() {
        for (word, call, expect) in [
            ("done", r#"{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}"#, "tool_calls"),
            ("done", "", "stop"),
            ("length", r#"{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}"#, "length"),
        ] {
            let body = format!(r#"{{"choices":[{{"message":{{"tool_calls":[{call}]}},"finish_reason":"{word}"}}]}}"#);
            let written = String::from_utf8(encode_answer(&decode_answer(body.as_bytes()).unwrap())).unwrap();
            assert!(written.contains(&format!(r#""finish_reason":"{expect}""#)), "{written}");
        }
    }
}
