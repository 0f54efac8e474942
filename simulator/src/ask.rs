//! What a request's body says, as far as an answer depends on it.

use crate::{behaviour::directive, route::Call};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;

/// One request, understood.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// The most tokens of output that the client wants.
    pub(crate) max_tokens: Option<u64>,
    /// An OpenAI chat stream ends with its usage only when this is asked for.
    pub(crate) include_usage: bool,
    /// OpenAI Responses seals its reasoning only when this is asked for.
    pub(crate) include_seals: bool,
    pub(crate) body_bytes: usize,
    /// The CRC-32 of the body, of which the answer's identifiers are made, so that they depend on the request alone.
    pub(crate) body_sum: u32,
}

/// The fields at the top of a body, of all dialects.
#[derive(Deserialize)]
struct Top<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default, alias = "max_completion_tokens", alias = "max_output_tokens")]
    max_tokens: Option<u64>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(borrow, default)]
    include: Option<Vec<Cow<'a, str>>>,
    #[serde(default, rename = "generationConfig", alias = "generation_config")]
    generation: Option<Limits>,
    #[serde(default, rename = "inferenceConfig")]
    inference: Option<Limits>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Limits {
    #[serde(default, rename = "maxTokens", alias = "maxOutputTokens", alias = "max_output_tokens")]
    tokens_max: Option<u64>,
}

impl Ask {
    /// Reads a body, in one pass that keeps nothing of the conversation. None where it is not a JSON object with a model.
    pub(crate) fn read(call: &Call, body: &[u8]) -> Option<Self> {
        let top: Top<'_> = serde_json::from_slice(body).ok()?;
        let limits = top.generation.or(top.inference);
        let included = top.include.unwrap_or_default();
        Some(Self {
            model: call
                .model()
                .map(str::to_owned)
                .or(top.model.map(Cow::into_owned))
                .filter(|model| !model.is_empty())?,
            stream: call.is_stream().or(top.stream).unwrap_or_default(),
            max_tokens: top.max_tokens.or(limits.and_then(|limits| limits.tokens_max)),
            include_usage: top.stream_options.and_then(|options| options.include_usage).unwrap_or_default(),
            include_seals: included.iter().any(|field| field == "reasoning.encrypted_content"),
            body_bytes: body.len(),
            body_sum: crc32fast::hash(body),
        })
    }
}

/// The end of a conversation, behind the last word of the model: what directives are read from, and whether a tool has just answered.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct LastTurn {
    /// The texts of the user.
    pub(crate) text: String,
    /// A tool's result is among it.
    pub(crate) has_tool_result: bool,
}

impl LastTurn {
    /// Reads it, by parsing the whole body: only where `wants_tools`, or where the body may hold a directive.
    pub(crate) fn read(body: &[u8], wants_tools: bool) -> Self {
        if !wants_tools && !directive::may_stand_in(body) {
            return Self::default();
        }
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        let turns = ["messages", "input", "contents"].iter().find_map(|field| body.get(field));
        match turns {
            Some(Value::String(text)) => Self { text: text.clone(), has_tool_result: false },
            Some(Value::Array(turns)) => Self::of_turns(turns),
            _ => Self::default(),
        }
    }

    /// All that follows the last word of the model: clients put reminders, results and questions into messages of their own.
    fn of_turns(turns: &[Value]) -> Self {
        let said_by_model = |turn: &&Value| {
            let role = turn.get("role").and_then(Value::as_str);
            let kind = turn.get("type").and_then(Value::as_str);
            matches!(role, Some("assistant" | "model"))
                || matches!(kind, Some("function_call" | "custom_tool_call" | "reasoning"))
        };
        let behind = turns.iter().rposition(|turn| said_by_model(&turn)).map_or(0, |place| place + 1);
        let mut last = Self::default();
        for turn in turns.get(behind..).unwrap_or_default() {
            let role = turn.get("role").and_then(Value::as_str);
            let kind = turn.get("type").and_then(Value::as_str);
            last.has_tool_result |= role == Some("tool") || kind.is_some_and(|kind| kind.ends_with("call_output"));
            if role == Some("user") {
                last.take_message(turn);
            }
        }
        last
    }

    fn take_message(&mut self, message: &Value) {
        match message.get("content").or_else(|| message.get("parts")) {
            Some(Value::String(text)) => self.take_text(text),
            Some(Value::Array(blocks)) => blocks.iter().for_each(|block| self.take_block(block)),
            _ => {}
        }
    }

    fn take_block(&mut self, block: &Value) {
        let is_result = block.get("type").and_then(Value::as_str) == Some("tool_result")
            || block.get("toolResult").is_some()
            || block.get("functionResponse").is_some();
        self.has_tool_result |= is_result;
        if let Some(text) = block.get("text").and_then(Value::as_str) {
            self.take_text(text);
        }
    }

    fn take_text(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_says_model_stream_and_limit() {
        let gemini = Call::Generate { model: "g".into(), stream: true };
        let converse = Call::Converse { model: "c".into(), stream: false };
        for (call, body, expect) in [
            (
                Call::Messages,
                r#"{"model":"m","stream":true,"max_tokens":9,"messages":[{"model":"x"}]}"#,
                Some(("m", true, Some(9))),
            ),
            (Call::Chat, r#"{"model":"m","max_completion_tokens":8}"#, Some(("m", false, Some(8)))),
            (Call::Responses, r#"{"model":"m","max_output_tokens":7,"stream":null}"#, Some(("m", false, Some(7)))),
            (gemini, r#"{"generationConfig":{"maxOutputTokens":6}}"#, Some(("g", true, Some(6)))),
            (converse, r#"{"inferenceConfig":{"maxTokens":5}}"#, Some(("c", false, Some(5)))),
            (Call::Messages, r#"{"messages":[]}"#, None),
            (Call::Messages, r#"{"model":""}"#, None),
            (Call::Messages, "[]", None),
            (Call::Messages, "", None),
        ] {
            let ask = Ask::read(&call, body.as_bytes());
            assert_eq!(ask.as_ref().map(|ask| (&*ask.model, ask.stream, ask.max_tokens)), expect, "{body}");
        }
    }

    #[test]
    fn the_last_turn_of_the_user_is_found_in_each_dialect() {
        for (body, text, has_tool_result) in [
            (r#"{"messages":[{"role":"user","content":"a"},{"role":"system","content":"s"}]}"#, "a\n", false),
            (
                r#"{"messages":[{"role":"user","content":"old"},{"role":"assistant","content":"x"},{"role":"user","content":"a"},{"role":"user","content":"b"}]}"#,
                "a\nb\n",
                false,
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}"#,
                "a\nb\n",
                false,
            ),
            (
                r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[]},{"role":"user","content":[{"type":"tool_result","content":"x"}]}]}"#,
                "",
                true,
            ),
            (
                r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":null},{"role":"tool","content":"x"}]}"#,
                "",
                true,
            ),
            (r#"{"input":"a"}"#, "a", false),
            (
                r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"a"}]},{"type":"function_call","name":"f"},{"type":"function_call_output","output":"x"}]}"#,
                "",
                true,
            ),
            (
                r#"{"input":[{"role":"user","content":"a"},{"type":"custom_tool_call","name":"f","input":"x"},{"type":"custom_tool_call_output","output":"x"}]}"#,
                "",
                true,
            ),
            (r#"{"contents":[{"role":"user","parts":[{"text":"a"}]}]}"#, "a\n", false),
            (r#"{"contents":[{"role":"user","parts":[{"functionResponse":{}}]}]}"#, "", true),
            (r#"{"messages":[{"role":"user","content":[{"toolResult":{}}]}]}"#, "", true),
            (r#"{"messages":7}"#, "", false),
            ("x", "", false),
        ] {
            assert_eq!(
                LastTurn::read(body.as_bytes(), true),
                LastTurn { text: text.into(), has_tool_result },
                "{body}"
            );
        }
    }
}
