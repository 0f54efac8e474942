//! The answer to a call that is understood.

use super::{Arrival, Wanted};
use crate::{
    dialects::{Frames, anthropic, bedrock, converse, failure::Wrong, gemini, openai, responses},
    reply::{Reply, Tokens, tokens_of},
    route::Call,
};
use bytes::Bytes;
use http::StatusCode;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream; charset=utf-8";
const FRAMES: &str = "application/vnd.amazon.eventstream";

/// An answer, ready to be sent.
pub(super) struct Answer {
    pub(super) content_type: &'static str,
    pub(super) content: Content,
    pub(super) tokens: Option<Tokens>,
}

pub(super) enum Content {
    Whole(Bytes),
    Stream(Frames),
}

/// Makes the answer.
pub(super) fn make(arrival: &Arrival, wanted: &Wanted) -> Result<Answer, Wrong> {
    let Some(call) = &arrival.call else { return Err(unknown()) };
    let Some(ask) = &wanted.ask else { return listed(arrival, call) };
    let input = wanted.behaviour.input_tokens().unwrap_or(tokens_of(ask.body_bytes));
    match call {
        Call::CountTokens => return Ok(Answer::whole(JSON, anthropic::counted(input))),
        Call::GeminiCount { .. } => return Ok(Answer::whole(JSON, gemini::counted(input))),
        Call::Embeddings => {
            let request = arrival.body.as_deref().unwrap_or_default();
            let body = openai::embeddings(&ask.model, request, input);
            let tokens = Some(Tokens { input, ..Tokens::default() });
            return Ok(Answer { tokens, ..Answer::whole(JSON, body) });
        }
        _ => {}
    }
    let mut reply = Reply::new(ask, &wanted.behaviour, wanted.has_tool_result);
    if *call == Call::Responses {
        responses::find_custom(arrival.body.as_deref().unwrap_or_default(), &mut reply.tools);
    }
    let tokens = Some(reply.tokens);
    if !ask.stream {
        return Ok(Answer { tokens, ..Answer::whole(JSON, whole(call, &reply)?) });
    }
    let is_sse = arrival.parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse"));
    let (content_type, frames) = stream(call, &reply, is_sse)?;
    Ok(Answer { content_type, content: Content::Stream(frames), tokens })
}

fn whole(call: &Call, reply: &Reply) -> Result<Bytes, Wrong> {
    match call {
        Call::Messages | Call::Invoke { .. } | Call::RawPredict { .. } => Ok(anthropic::whole(reply)),
        Call::Chat => Ok(openai::whole(reply)),
        Call::Responses => Ok(responses::whole(reply)),
        Call::Generate { .. } => Ok(gemini::whole(reply)),
        Call::Converse { .. } => Ok(converse::whole(reply)),
        _ => Err(unknown()),
    }
}

fn stream(call: &Call, reply: &Reply, is_sse: bool) -> Result<(&'static str, Frames), Wrong> {
    match call {
        Call::Messages | Call::RawPredict { .. } => Ok((EVENTS, anthropic::stream(reply))),
        Call::Chat => Ok((EVENTS, openai::stream(reply))),
        Call::Responses => Ok((EVENTS, responses::stream(reply))),
        Call::Generate { .. } => Ok((if is_sse { EVENTS } else { JSON }, gemini::stream(reply, is_sse))),
        Call::Invoke { .. } => Ok((FRAMES, bedrock::stream(reply))),
        Call::Converse { .. } => Ok((FRAMES, converse::stream(reply))),
        _ => Err(unknown()),
    }
}

/// The calls that have no body.
fn listed(arrival: &Arrival, call: &Call) -> Result<Answer, Wrong> {
    match call {
        Call::Probe => Ok(Answer::whole("text/plain", Bytes::from_static(b"tollgate-simulator\n"))),
        Call::Models => {
            let in_own_manner = arrival.parts.headers.contains_key("anthropic-version");
            Ok(Answer::whole(JSON, anthropic::model_list(in_own_manner)))
        }
        Call::GeminiModels => Ok(Answer::whole(JSON, gemini::model_list())),
        Call::Model { id } => anthropic::model(id).map(|body| Answer::whole(JSON, body)).ok_or_else(unknown),
        _ => Err(unknown()),
    }
}

fn unknown() -> Wrong {
    Wrong::new(StatusCode::NOT_FOUND, "The simulator has no such model or path.")
}

// === impl Answer ===

impl Answer {
    /// An answer in one piece, which costs nothing.
    pub(super) const fn whole(content_type: &'static str, body: Bytes) -> Self {
        Self { content_type, content: Content::Whole(body), tokens: None }
    }
}

impl Content {
    /// The length, where it is known beforehand.
    pub(super) fn length(&self) -> Option<usize> {
        match self {
            Self::Whole(bytes) => Some(bytes.len()),
            Self::Stream(_) => None,
        }
    }
}
