//! The messages of a request, in the order that the API demands: behind a message with calls stands the result of each, and nothing
//! else before them all.

use super::say::{Content, Message};
use crate::hub::{
    Text,
    order::{NO_RESULT, OPENING},
};

/// The messages so far.
#[derive(Debug, Default)]
pub(super) struct Messages<'a> {
    written: Vec<Message<'a>>,
    /// The ids of the last calls that have no result yet, as they are written.
    pending: Vec<Text<'a>>,
    /// What was said before the results were there.
    waiting: Vec<Message<'a>>,
}

impl<'a> Messages<'a> {
    /// Makes room for so many.
    pub(super) fn with_capacity(count: usize) -> Self {
        Self { written: Vec::with_capacity(count), ..Self::default() }
    }

    /// Adds what the model said, and which calls it made.
    pub(super) fn answer(&mut self, message: Message<'a>, calls: Vec<Text<'a>>) {
        self.settle();
        self.written.push(message);
        self.pending = calls;
    }

    /// Whether that call waits for its result. One that does is answered now.
    pub(super) fn takes(&mut self, id: &Text<'_>) -> bool {
        let found = self.pending.iter().position(|pending| pending == id);
        found.map(|at| self.pending.remove(at)).is_some()
    }

    /// Adds the result of a call that was taken.
    pub(super) fn result(&mut self, message: Message<'a>) {
        self.written.push(message);
    }

    /// Adds what somebody else said.
    pub(super) fn say(&mut self, message: Message<'a>) {
        self.waiting.push(message);
        if self.pending.is_empty() {
            self.written.append(&mut self.waiting);
        }
    }

    /// All messages.
    pub(super) fn finish(mut self) -> Vec<Message<'a>> {
        self.settle();
        if self.written.is_empty() {
            let content = Some(Content::Text(OPENING.into()));
            self.written.push(Message { role: "user", content, ..Message::default() });
        }
        self.written
    }

    fn settle(&mut self) {
        for id in std::mem::take(&mut self.pending) {
            let content = Some(Content::Text(NO_RESULT.into()));
            self.written.push(Message { role: "tool", content, tool_call_id: Some(id), ..Message::default() });
        }
        self.written.append(&mut self.waiting);
    }
}
