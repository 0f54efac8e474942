//! Reads and writes a whole `Response`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{item::item, say, wire::Entry};
use crate::{
    dialects::read::{each, object},
    error::DecodeError,
    hub::{Answer, Block, Forms, Json, Stop, Text, Usage},
    meter::{COUNT_MAX, Counters},
};

/// A response, as it is read: whole, or in an event of a stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Answered<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Text<'a>>,
    pub(super) model: Option<Text<'a>>,
    pub(super) status: Option<Text<'a>>,
    pub(super) error: Option<Json<'a>>,
    pub(super) incomplete_details: Option<Incomplete<'a>>,
    pub(super) output: Option<Json<'a>>,
    pub(super) usage: Option<ReadUsage>,
}

/// Why an answer is not whole.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Incomplete<'a> {
    #[serde(borrow)]
    pub(super) reason: Option<Text<'a>>,
}

/// `usage`, as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReadUsage {
    input_tokens: Option<u64>,
    input_tokens_details: Option<ReadInput>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<ReadOutput>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReadInput {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReadOutput {
    reasoning_tokens: Option<u64>,
}

/// A response, as it is written. What it repeats of the request is left at what most requests have: clients read none of it.
#[derive(Serialize)]
pub(super) struct Response<'a, O: Serialize> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    // The hub knows no clock.
    pub(super) created_at: u64,
    pub(super) status: &'static str,
    pub(super) background: bool,
    pub(super) error: Option<Failed<'a>>,
    pub(super) incomplete_details: Option<Reason>,
    pub(super) instructions: Option<()>,
    pub(super) max_output_tokens: Option<()>,
    pub(super) model: &'a str,
    pub(super) output: O,
    pub(super) parallel_tool_calls: bool,
    pub(super) previous_response_id: Option<()>,
    pub(super) store: bool,
    pub(super) temperature: Option<()>,
    pub(super) tool_choice: &'static str,
    pub(super) tools: [(); 0],
    pub(super) top_p: Option<()>,
    pub(super) usage: Option<Billed>,
    pub(super) metadata: Empty,
}

/// `{}`.
#[derive(Serialize)]
pub(super) struct Empty {}

/// Why a response failed.
#[derive(Serialize)]
pub(super) struct Failed<'a> {
    pub(super) code: &'static str,
    pub(super) message: &'a str,
}

/// Why a response is not whole.
#[derive(Serialize)]
pub(super) struct Reason {
    pub(super) reason: &'static str,
}

/// `usage`, as it is written.
#[derive(Serialize)]
pub(super) struct Billed {
    input_tokens: u64,
    input_tokens_details: BilledInput,
    output_tokens: u64,
    output_tokens_details: BilledOutput,
    total_tokens: u64,
}

#[derive(Serialize)]
struct BilledInput {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Serialize)]
struct BilledOutput {
    reasoning_tokens: u64,
}

impl<'a, O: Serialize> Response<'a, O> {
    /// A response with that status and output, of which nothing else is known.
    pub(super) const fn new(id: &'a str, model: &'a str, status: &'static str, output: O) -> Self {
        Self {
            id,
            object: "response",
            created_at: 0,
            status,
            background: false,
            error: None,
            incomplete_details: None,
            instructions: None,
            max_output_tokens: None,
            model,
            output,
            parallel_tool_calls: true,
            previous_response_id: None,
            store: false,
            temperature: None,
            tool_choice: "auto",
            tools: [],
            top_p: None,
            usage: None,
            metadata: Empty {},
        }
    }
}

/// Reads a response.
///
/// # Errors
/// As [`Dialect::decode_answer`](crate::Dialect::decode_answer); also of a response that failed.
pub fn decode_answer(body: &[u8]) -> Result<Answer<'_>, DecodeError> {
    let wire: Answered<'_> =
        object::<Option<Answered<'_>>>(body)?.ok_or_else(|| DecodeError::invalid("output", "there"))?;
    if matches!(wire.status.as_deref(), Some("failed" | "cancelled" | "queued" | "in_progress")) {
        return Err(DecodeError::invalid("status", "`completed` or `incomplete`"));
    }
    let raw = wire.output.as_ref().and_then(Json::raw).ok_or_else(|| DecodeError::invalid("output", "there"))?;
    let Said { blocks, is_refusal } = said(raw)?;
    let is_called = blocks.iter().any(|block| matches!(block, Block::ToolUse(_)));
    let mut usage = wire.usage.map(|usage| usage.usage()).unwrap_or_default();
    usage.counters.web_searches = blocks.iter().map(searches).sum();
    Ok(Answer {
        dialect: crate::Dialect::OpenAiResponses,
        id: wire.id.unwrap_or_default(),
        model: wire.model.unwrap_or_default(),
        blocks,
        stop: Some(stop(wire.incomplete_details, is_called, is_refusal)),
        usage,
    })
}

/// What an output says.
pub(super) struct Said<'a> {
    pub(super) blocks: Vec<Block<'a>>,
    pub(super) is_refusal: bool,
}

/// Reads an output.
pub(super) fn said<'a>(raw: &'a RawValue) -> Result<Said<'a>, DecodeError> {
    let mut said = Said { blocks: Vec::new(), is_refusal: false };
    for spoken in each("output", raw, item)? {
        said.is_refusal |= spoken.is_refusal;
        said.blocks.extend(spoken.blocks.into_iter().filter_map(told));
    }
    Ok(said)
}

/// What a block of an answer says, if anything: reasoning that is kept with the provider is of no use to anybody else, and has no seal.
pub(super) fn told(block: Block<'_>) -> Option<Block<'_>> {
    let block = match block {
        Block::Thinking { text, signature } => {
            Block::Thinking { text, signature: signature.filter(|seal| !seal.seal.ends_with('.')) }
        }
        block => block,
    };
    let is_empty = match &block {
        Block::Thinking { text, signature } => text.is_empty() && signature.is_none(),
        Block::Text { text, .. } => text.is_empty(),
        _ => false,
    };
    (!is_empty).then_some(block)
}

/// How many searches of the web a block is.
pub(super) fn searches(block: &Block<'_>) -> u64 {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Call<'a> {
        #[serde(borrow)]
        action: Action<'a>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Action<'a> {
        #[serde(rename = "type", borrow)]
        kind: Option<Text<'a>>,
    }
    let Block::Other { kind, json } = block else { return 0 };
    // To open a page that was found costs nothing.
    let is_search = &**kind == "web_search_call"
        && json.read().is_none_or(|Call { action }| action.kind.is_none_or(|kind| &*kind == "search"));
    u64::from(is_search)
}

/// Why an answer ended.
pub(super) fn stop<'a>(incomplete: Option<Incomplete<'a>>, is_called: bool, is_refusal: bool) -> Stop<'a> {
    match incomplete.and_then(|incomplete| incomplete.reason) {
        Some(word) => match &*word {
            "max_output_tokens" => Stop::MaxTokens,
            "content_filter" => Stop::Refusal,
            _ => Stop::Other { word },
        },
        None if is_refusal => Stop::Refusal,
        None if is_called => Stop::ToolUse,
        None => Stop::EndTurn,
    }
}

/// The status of a response that ended so, and why it is not whole.
pub(super) fn status(stop: Option<&Stop<'_>>) -> (&'static str, Option<Reason>) {
    let incomplete = |reason| ("incomplete", Some(Reason { reason }));
    match stop {
        Some(Stop::MaxTokens | Stop::ContextWindow) => incomplete("max_output_tokens"),
        Some(Stop::Refusal) => incomplete("content_filter"),
        Some(Stop::EndTurn | Stop::Sequence { .. } | Stop::ToolUse | Stop::Pause | Stop::Other { .. }) | None => {
            (say::COMPLETED, None)
        }
    }
}

/// Writes a response.
#[must_use]
pub fn encode_answer(answer: &Answer<'_>) -> Vec<u8> {
    encode_answer_in(&Forms::default(), answer)
}

/// Writes a response to a request whose tools have these forms.
#[must_use]
pub fn encode_answer_in(forms: &Forms, answer: &Answer<'_>) -> Vec<u8> {
    let write = |(index, block)| say::answer(forms, &answer.id, index, block);
    let output: Vec<Entry<'_>> = (0..).zip(&answer.blocks).flat_map(write).collect();
    let (status, incomplete_details) = status(answer.stop.as_ref());
    let usage = Some(billed(&answer.usage));
    let response = Response { incomplete_details, usage, ..Response::new(&answer.id, &answer.model, status, output) };
    serde_json::to_vec(&response).unwrap_or_default()
}

impl ReadUsage {
    /// What it comes to: the cached input is part of the input here.
    pub(super) fn usage(&self) -> Usage {
        let count = |value: Option<u64>| value.unwrap_or_default().min(COUNT_MAX);
        let input = self.input_tokens_details.as_ref();
        let cache_read = count(input.and_then(|input| input.cached_tokens));
        let cache_write_5m = count(input.and_then(|input| input.cache_write_tokens));
        let thinking = self.output_tokens_details.as_ref().and_then(|output| output.reasoning_tokens);
        Usage {
            counters: Counters {
                input: count(self.input_tokens).saturating_sub(cache_read).saturating_sub(cache_write_5m),
                output: count(self.output_tokens),
                cache_read,
                cache_write_5m,
                ..Counters::default()
            },
            // What is not told is written as 0, since clients want a number.
            thinking: thinking.filter(|tokens| *tokens > 0).map(|tokens| tokens.min(COUNT_MAX)),
        }
    }
}

/// Writes `usage`.
pub(super) fn billed(usage: &Usage) -> Billed {
    let Counters { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches: _ } = usage.counters;
    let written = cache_write_5m.saturating_add(cache_write_1h);
    let input = input.saturating_add(cache_read).saturating_add(written);
    Billed {
        input_tokens: input,
        input_tokens_details: BilledInput { cached_tokens: cache_read, cache_write_tokens: written },
        output_tokens: output,
        output_tokens_details: BilledOutput { reasoning_tokens: usage.thinking.unwrap_or_default() },
        total_tokens: input.saturating_add(output),
    }
}
