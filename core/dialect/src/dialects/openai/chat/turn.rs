//! Reads messages into turns.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::value::RawValue;

use super::{
    call::{call, called_before, id_of_place},
    part::{AUDIO, content},
    reasoning,
    wire::WireMessage,
};
use crate::{
    dialects::read::{each, field, is_null},
    error::DecodeError,
    hub::{Block, Request, Role, Signature, Text, ToolResult, Turn},
};

type Read<T> = Result<T, DecodeError>;

/// What is known of the conversation while it is read.
#[derive(Debug, Default)]
pub(super) struct Reading<'a> {
    system: Vec<Block<'a>>,
    turns: Vec<Turn<'a>>,
    /// The ids of the last calls, in their order, as far as no result took its id from them.
    unanswered: VecDeque<Text<'a>>,
    /// Those which results have named.
    answered: HashSet<Text<'a>>,
    /// The last message was a tool's: another one goes on with its turn.
    is_answering: bool,
    messages: usize,
}

impl<'a> Reading<'a> {
    /// Reads the next message.
    pub(super) fn take(&mut self, raw: &'a RawValue) -> Read<()> {
        let mut message: WireMessage<'a> = field("", raw)?;
        self.messages += 1;
        let was_answering = std::mem::take(&mut self.is_answering);
        match &*message.role {
            "system" | "developer" => {
                let blocks = said(&message)?;
                if self.turns.is_empty() {
                    self.system.extend(blocks);
                } else {
                    self.push(Role::System, blocks);
                }
            }
            "user" => self.push(Role::User, said(&message)?),
            "assistant" => {
                let blocks = answer(&mut message, |place| id_of_place(&self.messages.to_string(), place))?;
                self.unanswered = blocks.iter().filter_map(called).collect();
                self.answered.clear();
                self.push(Role::Assistant, blocks);
            }
            "tool" | "function" => {
                let result = self.result(&message)?;
                match self.turns.last_mut().filter(|_| was_answering) {
                    Some(turn) => turn.blocks.push(result),
                    None => self.push(Role::User, vec![result]),
                }
                self.is_answering = true;
            }
            _ => return Err(DecodeError::invalid("role", "`system`, `developer`, `user`, `assistant` or `tool`")),
        }
        Ok(())
    }

    /// Puts what was read into the request.
    pub(super) fn finish(self, request: &mut Request<'a>) {
        request.system = self.system;
        request.turns = self.turns;
    }

    // A turn in which nothing is said is none.
    fn push(&mut self, role: Role, blocks: Vec<Block<'a>>) {
        if !blocks.is_empty() {
            self.turns.push(Turn { role, blocks });
        }
    }

    fn result(&mut self, message: &WireMessage<'a>) -> Read<Block<'a>> {
        let given = message.tool_call_id.clone().filter(|id| !id.is_empty());
        let id = match given {
            Some(id) => {
                self.answered.insert(id.clone());
                id
            }
            None => loop {
                let waiting = self.unanswered.pop_front();
                let id = waiting.ok_or_else(|| {
                    DecodeError::invalid("tool_call_id", "the id of a call that waits for its result")
                })?;
                if !self.answered.contains(&id) {
                    break id;
                }
            },
        };
        let blocks = said(message)?;
        Ok(Block::ToolResult(Box::new(ToolResult { tool_use_id: id, blocks, is_error: false, cache: None })))
    }
}

fn called<'a>(block: &Block<'a>) -> Option<Text<'a>> {
    match block {
        Block::ToolUse(tool) => Some(tool.id.clone()),
        _ => None,
    }
}

fn said<'a>(message: &WireMessage<'a>) -> Read<Vec<Block<'a>>> {
    message.content.filter(|raw| !is_null(raw)).map(content).transpose().map(Option::unwrap_or_default)
}

/// Reads what the model says, in a request as in an answer: thinking, text, calls. `id` makes the id of a call that has none from its
/// place.
pub(super) fn answer<'a>(message: &mut WireMessage<'a>, id: impl Fn(usize) -> String) -> Read<Vec<Block<'a>>> {
    let (mut blocks, seals) = reasoning::take(message);
    let mut seals: Vec<Option<(Text<'a>, Signature<'a>)>> = seals.into_iter().map(Some).collect();
    blocks.extend(said(message)?);
    blocks.extend(message.refusal.take().filter(|text| !text.is_empty()).map(Block::text));
    annotate(message, &mut blocks);
    if let Some(json) = message.audio.take() {
        blocks.push(Block::Other { kind: AUDIO.into(), json });
    }
    if let Some(raw) = message.tool_calls.filter(|raw| !is_null(raw)) {
        let mut places: HashMap<Text<'a>, VecDeque<usize>> = HashMap::new();
        for (place, (call, _)) in seals.iter().flatten().enumerate() {
            places.entry(call.clone()).or_default().push_back(place);
        }
        let mut place = 0;
        let read = |raw: &'a RawValue| {
            place += 1;
            call(raw, || id(place))
        };
        for mut block in each("tool_calls", raw, read)? {
            if let Block::ToolUse(tool) = &mut block {
                let at = places.get_mut(&tool.id).and_then(VecDeque::pop_front);
                let seal = at.and_then(|at| seals.get_mut(at)?.take());
                tool.signature = seal.map(|(_, seal)| seal).or(tool.signature.take());
            }
            blocks.push(block);
        }
    }
    if let Some(raw) = message.function_call.take().filter(|raw| !is_null(raw)) {
        blocks.push(called_before(raw, id(0)).map_err(|error| error.within("function_call", None))?);
    }
    // A seal whose call is not there is kept as thinking.
    let kept = seals.into_iter().flatten().map(|(_, data)| Block::RedactedThinking { data });
    blocks.splice(0..0, kept);
    Ok(blocks)
}

// The annotations are those of the whole content: the last text bears them.
fn annotate<'a>(message: &mut WireMessage<'a>, blocks: &mut [Block<'a>]) {
    let found = message.annotations.take().unwrap_or_default();
    if let Some(Block::Text { citations, .. }) = blocks.iter_mut().rfind(|block| matches!(block, Block::Text { .. })) {
        citations.extend(found.into_iter().filter_map(super::wire::WireAnnotation::citation));
    }
}
