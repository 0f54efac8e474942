//! A streamed answer.
//!
//! ```text
//! Start, ( Begin, Delta.., End ).., Stop, Done        with Ping anywhere, and Failed in place of the rest
//! ```
//! Blocks follow each other: each ends before the next begins. A decoder that gets them interleaved puts them in order. Each event is
//! made and written without looking at those before it, so that a long stream costs no more for each event than a short one.

use super::{
    answer::{Citation, Stop, Usage},
    signature::Signature,
    text::{Json, Text},
};
use crate::error::ErrorClass;

/// One step of a streamed answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// The answer begins.
    Start {
        /// The provider's id of the answer; empty where it has none.
        id: Text<'a>,
        /// The model that answers.
        model: Text<'a>,
        /// What is known of its usage by now: mostly the input.
        usage: Usage,
    },
    /// A block begins, the next one: they are counted from 0.
    Begin(Begin<'a>),
    /// More of the block that is open.
    Delta(Delta<'a>),
    /// The open block ends.
    End,
    /// The answer is said, and this is why it ended.
    Stop {
        /// Why.
        stop: Stop<'a>,
        /// All that it used.
        usage: Usage,
    },
    /// Nothing follows. What ends without it broke off.
    Done,
    /// The connection lives.
    Ping,
    /// The provider failed in the middle.
    Failed {
        /// How.
        class: ErrorClass,
        /// What it says.
        message: Text<'a>,
    },
}

/// Which block begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Begin<'a> {
    /// Text.
    Text,
    /// Thinking that is shown.
    Thinking,
    /// Thinking that is sealed as a whole; no deltas follow.
    RedactedThinking {
        /// The sealed thinking.
        data: Signature<'a>,
    },
    /// The call of a tool, whose arguments follow.
    ToolUse {
        /// The id by which the result names it.
        id: Text<'a>,
        /// The tool.
        name: Text<'a>,
        /// A provider's seal over the thinking that led to the call.
        signature: Option<Signature<'a>>,
    },
    /// What only its own dialect has; deltas that follow are its own too.
    Other {
        /// Its type, in that dialect.
        kind: Text<'a>,
        /// All of it.
        json: Json<'a>,
    },
}

/// More of a block.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta<'a> {
    /// More text.
    Text(Text<'a>),
    /// More thinking.
    Thinking(Text<'a>),
    /// The seal of the thinking; once, at its end.
    Signature(Signature<'a>),
    /// More of the JSON text of a tool's arguments, cut anywhere.
    Input(Text<'a>),
    /// A citation of the text.
    Citation(Citation<'a>),
    /// What only its own dialect has.
    Other(Json<'a>),
}

/// Reads a streamed answer.
pub trait StreamDecoder: Send {
    /// Takes the next bytes, cut anywhere, and hands out what they complete. What cannot be read becomes [`Event::Failed`], once;
    /// nothing follows it.
    fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Event<'_>));

    /// The stream has ended: hands out what was waiting for more. A stream that broke off ends without [`Event::Done`].
    fn end(&mut self, sink: &mut dyn FnMut(Event<'_>));
}

/// Writes a streamed answer.
pub trait StreamEncoder: Send {
    /// Appends the bytes of an event; none where the dialect says nothing about it.
    fn push(&mut self, event: &Event<'_>, out: &mut Vec<u8>);

    /// The client asked not to be told the usage ([`Request::is_usage_hidden`](super::Request::is_usage_hidden)). A dialect whose
    /// streams always tell it has nothing to do here.
    fn hide_usage(&mut self) {}
}
