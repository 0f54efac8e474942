//! What decides about a request, of whatever dialect.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use serde_json::value::RawValue;

use crate::{
    dialects::{Called, Dialect, anthropic, gemini, openai, read},
    error::{DecodeError, Malformed},
    hub::{Block, Request, weigh::weigh},
    weight::Weight,
};

/// The fields that decide, at the top of a body of some dialect: none may stand there twice, or in other letter case, since a
/// provider could take another one for it than the gateway.
const DECIDING: [&str; 11] = [
    "model",
    "stream",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
    "messages",
    "input",
    "contents",
    "generationConfig",
    "inferenceConfig",
];

/// What decides about a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asked<'a> {
    /// The model: 1 to [`anthropic::MODEL_CHARS_MAX`] visible ASCII characters.
    pub model: Cow<'a, str>,
    /// The answer shall be a stream.
    pub stream: bool,
    /// What bounds its cost.
    pub weight: Weight,
}

/// Reads what decides about a request for an answer.
///
/// # Errors
/// When the body is none of that dialect, or a field that decides is ambiguous.
pub fn asked<'a>(dialect: Dialect, called: &Called<'a>, body: &'a [u8]) -> Result<Asked<'a>, DecodeError> {
    if dialect == Dialect::Anthropic {
        let anthropic::Probe { model, stream, max_tokens: _, weight } = anthropic::probe(body)?;
        return Ok(Asked { model, stream, weight });
    }
    let answers = decided(body)?;
    of(dialect.decode_request(called, body)?, body.len(), answers)
}

/// Reads what decides about a request that asks how many tokens it has.
///
/// # Errors
/// As [`asked`].
pub fn counted<'a>(dialect: Dialect, called: &Called<'a>, body: &'a [u8]) -> Result<Asked<'a>, DecodeError> {
    if dialect != Dialect::Gemini {
        return asked(dialect, called, body);
    }
    decided(body)?;
    of(gemini::decode_count(called, body)?, body.len(), 1)
}

/// Reads what decides about a request for embeddings.
///
/// # Errors
/// As [`openai::embeddings::probe`].
pub fn embedded(body: &[u8]) -> Result<Asked<'_>, DecodeError> {
    let openai::embeddings::Probe { model, inputs: _, weight } = openai::embeddings::probe(body)?;
    Ok(Asked { model, stream: false, weight })
}

fn of(request: Request<'_>, body_bytes: usize, answers: u64) -> Result<Asked<'_>, DecodeError> {
    let weight = weigh(&request, body_bytes, answers);
    let is_visible = request.model.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_visible || !(1..=anthropic::MODEL_CHARS_MAX).contains(&request.model.len()) {
        const EXPECTED: &str = "the name of a model: 1 to 200 visible ASCII characters without spaces";
        return Err(Malformed::Invalid { field: "model", expected: EXPECTED }.into());
    }
    Ok(Asked { model: request.model.0, stream: request.stream, weight })
}

// Whether the fields that decide are unambiguous, and how many answers are wanted.
fn decided(body: &[u8]) -> Result<u64, DecodeError> {
    let read::Members(members) = read::object(body)?;
    let mut seen = [false; DECIDING.len()];
    let mut answers = 1;
    for (name, raw) in &members {
        let found = DECIDING.iter().zip(&mut seen).find(|(field, _)| name.eq_ignore_ascii_case(field));
        let Some((field, seen)) = found else { continue };
        if **name != **field {
            return Err(Malformed::Spelling(field).into());
        }
        if std::mem::replace(seen, true) {
            return Err(Malformed::Duplicate(field).into());
        }
        if *field == "n" && !read::is_null(raw) {
            answers = read::field("n", raw)?;
        }
    }
    Ok(answers)
}

/// A number for what the last turn of a request says, whoever said it and under whatever ids: the same for an agent that asks the
/// same again, and for one whose tool gives it the same result again. None where there is no turn.
#[must_use]
pub fn last_turn(dialect: Dialect, called: &Called<'_>, body: &[u8]) -> Option<u64> {
    if dialect == Dialect::Anthropic {
        return anthropic::last_turn(body);
    }
    let request: Request<'_> = dialect.decode_request(called, body).ok()?;
    let mut hasher = DefaultHasher::new();
    request.turns.last()?.blocks.iter().for_each(|block| hash(block, &mut hasher));
    Some(hasher.finish())
}

/// A number for a body, whatever it is: the same for the same bytes.
#[must_use]
pub fn fingerprint(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

fn hash(block: &Block<'_>, hasher: &mut DefaultHasher) {
    match block {
        Block::Text { text, .. } | Block::Thinking { text, .. } => text.hash(hasher),
        Block::ToolUse(tool) => (&*tool.name, tool.input.get()).hash(hasher),
        Block::ToolResult(result) => result.blocks.iter().for_each(|block| hash(block, hasher)),
        Block::Media(media) => format!("{:?}", media.source).hash(hasher),
        Block::RedactedThinking { data } => data.seal.hash(hasher),
        Block::Other { json, .. } => json.get().hash(hasher),
    }
}

/// Whether a body has a seal in an envelope: it came from a provider of another dialect, and the bytes must not pass as they are.
#[must_use]
pub fn has_envelope(body: &[u8]) -> bool {
    memchr::memmem::find(body, crate::hub::signature::ENVELOPE.as_bytes()).is_some()
}

/// Whether a stream of OpenAI Chat tells its usage.
#[must_use]
pub fn includes_usage(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        stream_options: Option<&'a RawValue>,
    }
    #[derive(Default, serde::Deserialize)]
    struct Options {
        #[serde(default)]
        include_usage: bool,
    }
    let options = serde_json::from_slice::<Body<'_>>(body).ok().and_then(|body| body.stream_options);
    options.and_then(|raw| serde_json::from_str::<Options>(raw.get()).ok()).unwrap_or_default().include_usage
}
