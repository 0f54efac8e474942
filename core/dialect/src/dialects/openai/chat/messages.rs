//! The messages of a request, in the order that the API demands: behind a message with calls stands the result of each, and nothing
//! else before them all.

use std::collections::{BTreeMap, VecDeque};

use super::say::{Content, Message};
use crate::hub::{
    Text,
    order::{NO_RESULT, OPENING},
};

/// The messages so far.
#[derive(Debug, Default)]
pub(super) struct Messages<'a> {
    written: Vec<Message<'a>>,
    /// The places of the last calls that have no result yet, by their ids, as they are written.
    pending: BTreeMap<Text<'a>, VecDeque<usize>>,
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
        for (id, place) in calls.into_iter().zip(0..) {
            self.pending.entry(id).or_default().push_back(place);
        }
    }

    /// Whether that call waits for its result. One that does is answered now.
    pub(super) fn takes(&mut self, id: &Text<'_>) -> bool {
        let Some(places) = self.pending.get_mut(&**id) else { return false };
        places.pop_front();
        if places.is_empty() {
            self.pending.remove(&**id);
        }
        true
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
        let pending = std::mem::take(&mut self.pending).into_iter();
        let mut pending: Vec<_> =
            pending.flat_map(|(id, places)| places.into_iter().map(move |place| (place, id.clone()))).collect();
        pending.sort_unstable_by_key(|(place, _)| *place);
        for (_, id) in pending {
            let content = Some(Content::Text(NO_RESULT.into()));
            self.written.push(Message { role: "tool", content, tool_call_id: Some(id), ..Message::default() });
        }
        self.written.append(&mut self.waiting);
    }
}
