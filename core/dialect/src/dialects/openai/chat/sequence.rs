//! Puts the calls of a stream in sequence. Vendors send the pieces of several calls mixed; in the hub, each call ends before the next
//! begins.
//!
//! The pieces of the open call pass at once. The next call begins when the arguments of the open one are a whole JSON value; until
//! then its pieces are held. So nothing waits where calls follow each other, and nothing is lost where they do not.

use super::call::{Extra, WireCall, WireFunction, id_of_place};
use crate::hub::{Begin, Delta, Event, Signature, Text};

/// The calls of one stream.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    calls: Vec<Call>,
    /// The place of the open call, or of the next to begin.
    open: usize,
    /// How many calls came before these.
    before: usize,
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    seal: Option<Signature<'static>>,
    /// Arguments that wait.
    held: String,
    scan: Scan,
    is_begun: bool,
}

/// Finds where a JSON value ends, piece by piece.
#[derive(Debug, Default)]
struct Scan {
    depth: u32,
    is_in_text: bool,
    is_escaped: bool,
    is_whole: bool,
}

// === impl Sequence ===

impl Sequence {
    /// Whether a call was made at all.
    pub(super) const fn has_calls(&self) -> bool {
        self.before > 0 || !self.calls.is_empty()
    }

    /// Takes a piece of a call. `answer` is the id of the answer, which makes the ids of calls that have none.
    pub(super) fn take(&mut self, piece: WireCall<'_>, answer: &str, sink: &mut dyn FnMut(Event<'_>)) {
        let WireCall { index, id, kind: _, function, extra_content } = piece;
        let WireFunction { name, arguments } = function.unwrap_or_default();
        let (id, name) = (id.unwrap_or_default(), name.unwrap_or_default());
        let Some(place) = self.place(index, &id, &name) else { return };
        // A text, or, with some vendors, the object itself.
        let text = arguments
            .as_ref()
            .filter(|json| json.get() != "null")
            .map(|json| json.read::<Text<'_>>().unwrap_or_else(|| json.get().into()));
        let text = text.unwrap_or_default();
        let serial = self.before + place;
        let Some(call) = self.calls.get_mut(place) else { return };
        if call.id.is_empty() {
            call.id = if id.is_empty() { id_of_place(answer, serial) } else { id.to_string() };
        }
        if call.name.is_empty() {
            call.name = name.to_string();
        }
        call.seal = call.seal.take().or(extra_content.and_then(Extra::seal).map(owned));
        let is_behind = place < self.open;
        if !text.is_empty() && !is_behind {
            call.scan.take(&text);
            if call.is_begun {
                sink(Event::Delta(Delta::Input(text)));
            } else {
                call.held.push_str(&text);
            }
        }
        self.advance(sink);
    }

    /// No call goes on: each is handed out that is not yet.
    pub(super) fn finish(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        for call in self.calls.iter_mut().skip(self.open) {
            call.begin(sink);
            sink(Event::End);
        }
        self.before += self.calls.len();
        self.calls.clear();
        self.open = 0;
    }

    fn advance(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        let count = self.calls.len();
        while let Some(call) = self.calls.get_mut(self.open) {
            if call.name.is_empty() {
                return;
            }
            call.begin(sink);
            if !call.scan.is_whole || self.open + 1 == count {
                return;
            }
            sink(Event::End);
            self.open += 1;
        }
    }

    // Which call a piece belongs to; one that belongs to none and begins none is left out.
    fn place(&mut self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let is_same = |call: &Call| id.is_empty() || call.id.is_empty() || call.id == id;
        let found = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index),
            None if !id.is_empty() => self.calls.iter().rposition(|call| call.id == id),
            None if name.is_empty() => self.calls.len().checked_sub(1),
            None => None,
        };
        // Some vendors number every call 0.
        let found = found.filter(|place| name.is_empty() || self.calls.get(*place).is_some_and(is_same));
        if found.is_none() && !(id.is_empty() && name.is_empty()) {
            self.calls.push(Call { index, ..Call::default() });
            return self.calls.len().checked_sub(1);
        }
        found
    }
}

fn owned(seal: Signature<'_>) -> Signature<'static> {
    Signature { dialect: seal.dialect, seal: seal.seal.into_owned() }
}

// === impl Call ===

impl Call {
    fn begin(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        if !std::mem::replace(&mut self.is_begun, true) {
            let (id, name) = (self.id.as_str().into(), self.name.as_str().into());
            sink(Event::Begin(Begin::ToolUse { id, name, signature: self.seal.take() }));
        }
        if !self.held.is_empty() {
            sink(Event::Delta(Delta::Input(std::mem::take(&mut self.held).into())));
        }
    }
}

// === impl Scan ===

impl Scan {
    fn take(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_in_text => self.is_escaped = true,
                b'"' => self.is_in_text = !self.is_in_text,
                _ if self.is_in_text => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.is_whole |= self.depth == 0;
                }
                _ => {}
            }
        }
    }
}
