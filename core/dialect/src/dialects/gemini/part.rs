//! Parts, read: what a model or a user says, of a request or an answer.

use std::collections::{HashMap, VecDeque};

use serde_json::value::RawValue;

use super::{
    media, result, seal,
    wire::{WireCall, WireContent, WirePart, camel},
};
use crate::{
    dialects::{
        Dialect,
        read::{Members, each, field, is_null, is_text},
    },
    error::DecodeError,
    hub::{Block, Json, Media, Signature, Text, ToolUse},
};

type Read<T> = Result<T, DecodeError>;

/// So far back a thought is looked for that another provider's seal belongs to.
const RECOVERED_BLOCKS_MAX: usize = 256;

/// The calls of a conversation, which ids are made for where they have none, and which of them wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Calls<'a> {
    /// What ids begin with that are made here.
    prefix: String,
    made: usize,
    waiting: HashMap<Text<'a>, VecDeque<Text<'a>>>,
}

impl<'a> Calls<'a> {
    /// None yet; ids that are made begin so.
    pub(super) fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }

    fn make(&mut self) -> Text<'a> {
        self.made += 1;
        format!("{}_{}", self.prefix, self.made).into()
    }

    /// The id of a call.
    pub(super) fn call(&mut self, id: Option<Text<'a>>, name: &Text<'a>) -> Text<'a> {
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| self.make());
        self.waiting.entry(name.clone()).or_default().push_back(id.clone());
        id
    }

    /// The id of the call that is answered: the oldest of that function that waits.
    fn answered(&mut self, id: Option<Text<'a>>, name: &Text<'a>) -> Text<'a> {
        let waiting = self.waiting.get_mut(name);
        match id.filter(|id| !id.is_empty()) {
            Some(id) => {
                waiting.and_then(|calls| calls.pop_front_if(|first| *first == id));
                id
            }
            None => waiting.and_then(VecDeque::pop_front).unwrap_or_else(|| self.make()),
        }
    }
}

/// Reads the parts of a content onto `blocks`.
pub(super) fn content<'a>(wire: WireContent<'a>, calls: &mut Calls<'a>, blocks: &mut Vec<Block<'a>>) -> Read<()> {
    let Some(raw) = wire.parts.and_then(|json| json.raw()).filter(|raw| !is_null(raw)) else { return Ok(()) };
    list("parts", raw, |raw| part(raw, calls, blocks))
}

/// Reads each element of a list, or the only one where the brackets are left out.
pub(super) fn list<'a>(name: &str, raw: &'a RawValue, mut read: impl FnMut(&'a RawValue) -> Read<()>) -> Read<()> {
    if raw.get().starts_with('{') {
        return read(raw).map_err(|error| error.within(name, None));
    }
    each(name, raw, read).map(|_: Vec<()>| ())
}

/// Reads a part onto `blocks`.
pub(super) fn part<'a>(raw: &'a RawValue, calls: &mut Calls<'a>, blocks: &mut Vec<Block<'a>>) -> Read<()> {
    if is_text(raw) {
        // A list of texts: no JSON of the API, and accepted by it.
        blocks.push(Block::text(field::<Text<'a>>("", raw)?));
        return Ok(());
    }
    let mut wire: WirePart<'a> = field("", raw)?;
    let signature = wire.thought_signature.take().filter(|seal| !seal.is_empty()).map(seal::read);
    if let Some(call) = wire.function_call {
        return function_call(call, signature, calls, blocks);
    }
    let medium = |media: Media<'a>| Block::Media(Box::new(media));
    let block = if let Some(answered) = wire.function_response {
        let id = calls.answered(answered.id.clone(), &answered.name);
        let read = result::read(id, answered).map_err(|error| error.within("functionResponse", None))?;
        Some(Block::ToolResult(Box::new(read)))
    } else if let Some(kind) = own_kind(&wire) {
        Some(Block::Other { kind: kind.into(), json: field("", raw)? })
    } else if let Some(blob) = wire.inline_data {
        Some(medium(media::read_blob(blob, wire.media_resolution)))
    } else if let Some(file) = wire.file_data {
        Some(medium(media::read_file(file, wire.media_resolution)))
    } else if wire.thought == Some(true) {
        thought(wire.text, signature, blocks);
        return Ok(());
    } else if let Some(text) = wire.text {
        Some(text).filter(|text| !text.is_empty()).map(Block::text)
    } else if signature.is_some() {
        None
    } else {
        unknown(raw)?
    };
    blocks.extend(block);
    blocks.extend(signature.map(|seal| Block::Thinking { text: Text::default(), signature: Some(seal) }));
    Ok(())
}

fn function_call<'a>(
    call: WireCall<'a>,
    mut signature: Option<Signature<'a>>,
    calls: &mut Calls<'a>,
    blocks: &mut Vec<Block<'a>>,
) -> Read<()> {
    let name = call.name.ok_or_else(|| DecodeError::invalid("functionCall.name", "there"))?;
    if let Some(foreign) = signature.take_if(|seal| seal.dialect != Dialect::Gemini) {
        recover(foreign, blocks);
    }
    let input = match call.args {
        Some(args) if args.get() != "null" => args,
        _ => Json::empty_object(),
    };
    let id = calls.call(call.id, &name);
    blocks.push(Block::ToolUse(Box::new(ToolUse { id, name, input, signature, cache: None })));
    Ok(())
}

// Another provider's seal rides on the call that followed its thinking, in case that the client forgets the thought itself. The thinking
// stood ahead of what the model said before it called.
fn recover<'a>(seal: Signature<'a>, blocks: &mut Vec<Block<'a>>) {
    let is_there = |block: &Block<'a>| match block {
        Block::Thinking { signature, .. } => signature.as_ref() == Some(&seal),
        Block::RedactedThinking { data } => *data == seal,
        _ => false,
    };
    if !blocks.iter().rev().take(RECOVERED_BLOCKS_MAX).any(is_there) {
        let behind = blocks.iter().rposition(|block| !matches!(block, Block::Text { .. })).map_or(0, |last| last + 1);
        blocks.insert(behind, Block::Thinking { text: Text::default(), signature: Some(seal) });
    }
}

// Thinking whose text is not even empty is what another provider sealed as a whole. A thought that has no seal yet goes on: clients keep
// a streamed answer in the pieces in which it came.
fn thought<'a>(text: Option<Text<'a>>, signature: Option<Signature<'a>>, blocks: &mut Vec<Block<'a>>) {
    let Some(more) = text else {
        return blocks.extend(signature.map(|data| Block::RedactedThinking { data }));
    };
    if let Some(Block::Thinking { text, signature: open @ None }) = blocks.last_mut() {
        text.0.to_mut().push_str(&more);
        *open = signature;
    } else if !more.is_empty() || signature.is_some() {
        blocks.push(Block::Thinking { text: more, signature });
    }
}

/// Makes one turn of two of the model's: what the second begins with goes on where the first ended, since clients keep a streamed answer
/// in the pieces in which it came.
pub(super) fn go_on<'a>(blocks: &mut Vec<Block<'a>>, more: Vec<Block<'a>>) {
    for (at, block) in more.into_iter().enumerate() {
        match (blocks.last_mut(), block) {
            (Some(Block::Text { text, .. }), Block::Text { text: next, .. }) if at == 0 => {
                text.0.to_mut().push_str(&next);
            }
            (Some(Block::Thinking { text, signature: None }), Block::Thinking { text: next, signature: None })
                if at == 0 =>
            {
                text.0.to_mut().push_str(&next);
            }
            (last, Block::Thinking { text: next, signature: Some(seal) }) if seal.dialect != Dialect::Gemini => {
                match last {
                    Some(Block::Thinking { text, signature: open @ None }) if at == 0 => {
                        text.0.to_mut().push_str(&next);
                        *open = Some(seal);
                    }
                    _ if next.is_empty() => recover(seal, blocks),
                    _ => blocks.push(Block::Thinking { text: next, signature: Some(seal) }),
                }
            }
            (_, block) => blocks.push(block),
        }
    }
}

fn own_kind(wire: &WirePart<'_>) -> Option<&'static str> {
    let kinds = [
        ("executableCode", &wire.executable_code),
        ("codeExecutionResult", &wire.code_execution_result),
        ("toolCall", &wire.tool_call),
        ("toolResponse", &wire.tool_response),
        ("videoMetadata", &wire.video_metadata),
    ];
    kinds.into_iter().find(|(_, json)| json.is_some()).map(|(kind, _)| kind)
}

// Kinds may be added, says the API; a part without any is nothing.
fn unknown<'a>(raw: &'a RawValue) -> Read<Option<Block<'a>>> {
    let Members(members) = field("", raw)?;
    let kind = members.iter().find(|(name, raw)| !is_null(raw) && !["thought", "text"].contains(&&**name));
    let json = field("", raw)?;
    Ok(kind.map(|(name, _)| Block::Other { kind: camel(name).into_owned().into(), json }))
}
