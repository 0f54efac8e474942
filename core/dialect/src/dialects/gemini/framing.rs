//! How chunks of a stream lie in its bytes: as server-sent events (`alt=sse`), or as the elements of one JSON list. Which of them it is
//! shows in the first byte. [`Elements`] finds where the elements end in a list that passes.

use memchr::memchr2;

use crate::{
    dialects::STREAM_EVENT_BYTES_MAX,
    sse::{self, Splitter},
};

/// Finds the chunks.
#[derive(Debug, Default)]
pub(super) enum Chunks {
    /// Nothing but white space has arrived.
    #[default]
    Unknown,
    Events(Box<Splitter>),
    List(List),
}

/// The elements of a JSON list, which are objects.
#[derive(Debug, Default)]
pub(super) struct List {
    /// What has arrived of the element that is open.
    held: Vec<u8>,
    depth: usize,
    is_in_text: bool,
    is_escaped: bool,
    is_oversized: bool,
}

/// Where the elements end of a JSON list that passes as it is, so that it can be ended in good form behind one of them.
#[derive(Debug, Default)]
pub struct Elements {
    list: List,
    seen: u64,
    boundary: u64,
}

impl Elements {
    /// Takes the next bytes, cut anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        let (seen, boundary) = (self.seen, &mut self.boundary);
        self.list.push(bytes, &mut |end, _| *boundary = seen.saturating_add(end as u64));
        self.seen = seen.saturating_add(bytes.len() as u64);
    }

    /// Where the last whole element ends: the offset from the start of the stream; 0 where there is none yet.
    #[must_use]
    pub const fn boundary(&self) -> u64 {
        self.boundary
    }

    /// What ends the list behind the last whole element: one more, and the bracket.
    #[must_use]
    pub fn ended_by(&self, element: &[u8]) -> Vec<u8> {
        let before: &[u8] = if self.boundary == 0 { b"[" } else { b"\n,\r\n" };
        [before, element, b"\n]"].concat()
    }
}

impl Chunks {
    /// Takes the next bytes, and hands out each chunk that they complete; `None` for one that is too large.
    pub(super) fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Option<&[u8]>)) {
        let mut rest = bytes;
        if matches!(self, Self::Unknown) {
            rest = rest.trim_ascii_start();
            match rest.first() {
                None => return,
                Some(b'[' | b'{' | b',') => *self = Self::List(List::default()),
                Some(_) => *self = Self::Events(Box::new(Splitter::new(STREAM_EVENT_BYTES_MAX))),
            }
        }
        match self {
            Self::Unknown => {}
            Self::Events(events) => {
                events.push(rest, |sse::Event { data, oversized, .. }| sink((!oversized).then_some(data)));
            }
            Self::List(list) => list.push(rest, &mut |_, chunk| sink(chunk)),
        }
    }
}

impl List {
    // Hands out each element with where it ends in these bytes.
    fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(usize, Option<&[u8]>)) {
        let mut start = 0;
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let byte = *byte;
            at += 1;
            if self.is_in_text {
                at = self.pass_text(bytes, at - 1);
                continue;
            }
            match byte {
                b'"' => self.is_in_text = self.depth > 0,
                b'{' if self.depth == 0 => {
                    start = at - 1;
                    self.depth = 1;
                }
                // The bracket of the list itself is none of an element.
                b'[' if self.depth == 0 => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 1 => self.depth -= 1,
                b'}' if self.depth == 1 => {
                    self.depth = 0;
                    self.hand_out(bytes.get(start..at).unwrap_or_default(), &mut |chunk| sink(at, chunk));
                }
                _ => {}
            }
        }
        if self.depth > 0 {
            self.hold(bytes.get(start..).unwrap_or_default());
        }
    }

    // Goes on inside a text: to behind its end, or behind the bytes.
    fn pass_text(&mut self, bytes: &[u8], from: usize) -> usize {
        if std::mem::take(&mut self.is_escaped) {
            return from + 1;
        }
        let rest = bytes.get(from..).unwrap_or_default();
        match memchr2(b'"', b'\\', rest) {
            None => bytes.len(),
            Some(offset) => {
                let found = from + offset;
                self.is_escaped = bytes.get(found) == Some(&b'\\');
                self.is_in_text = self.is_escaped;
                found + 1
            }
        }
    }

    fn hold(&mut self, piece: &[u8]) {
        if self.held.len().saturating_add(piece.len()) > STREAM_EVENT_BYTES_MAX {
            self.is_oversized = true;
            self.held = Vec::new();
        }
        if !self.is_oversized {
            self.held.extend_from_slice(piece);
        }
    }

    fn hand_out(&mut self, piece: &[u8], sink: &mut dyn FnMut(Option<&[u8]>)) {
        if self.held.is_empty() && !self.is_oversized {
            return sink(Some(piece));
        }
        self.hold(piece);
        let whole = std::mem::take(&mut self.held);
        sink((!std::mem::take(&mut self.is_oversized)).then_some(&whole));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_found_in_either_form_wherever_the_bytes_are_cut() {
        let first = r#"{"a":"}]\"[{","b":[1,{}]}"#;
        let second = r#"{"c":"\\"}"#;
        for stream in [
            format!("data: {first}\r\n\r\ndata: {second}\r\n\r\n"),
            format!("[{first}\n,\r\n{second}\n]\n"),
            format!(" \n[{first},{second}"),
            format!("{first}{second}"),
        ] {
            for at in 0..=stream.len() {
                let (mut chunks, mut found) = (Chunks::default(), Vec::new());
                let (before, behind) = stream.as_bytes().split_at(at);
                let mut sink = |chunk: Option<&[u8]>| found.push(String::from_utf8(chunk.unwrap().to_vec()).unwrap());
                chunks.push(before, &mut sink);
                chunks.push(behind, &mut sink);
                assert_eq!(found, [first, second], "{stream} cut at {at}");
            }
        }
    }

    #[test]
    fn a_list_can_be_ended_behind_each_element_wherever_the_bytes_are_cut() {
        let stream = b"[{\"a\":\"}\\\"\"}\n,\r\n{\"b\":[{}]}\n]";
        for cut in 0..=stream.len() {
            let mut elements = Elements::default();
            let (before, behind) = stream.split_at(cut);
            before.chunks(1).for_each(|byte| elements.push(byte));
            let kept = usize::try_from(elements.boundary()).unwrap();
            let ended = [&stream[..kept], &elements.ended_by(b"{\"error\":1}")].concat();
            let list: Vec<serde_json::Value> = serde_json::from_slice(&ended).unwrap();
            assert_eq!(list.last().unwrap()["error"], 1, "cut at {cut}");
            let whole = [12, 26].iter().filter(|end| **end <= cut).count();
            assert_eq!(list.len(), whole + 1, "cut at {cut}: {}", String::from_utf8_lossy(&ended));
            elements.push(behind);
            assert_eq!(elements.boundary(), 26, "cut at {cut}");
        }
    }

    #[test]
    fn a_chunk_without_end_is_not_held_for_ever() {
        let (mut chunks, mut found) = (Chunks::default(), Vec::new());
        let piece = vec![b'a'; 1024 * 1024];
        chunks.push(b"[{\"a\":\"", &mut |_| {});
        (0..20).for_each(|_| chunks.push(&piece, &mut |_| {}));
        chunks.push(b"\"},{\"b\":1}]", &mut |chunk| found.push(chunk.map(<[u8]>::to_vec)));
        assert_eq!(found, [None, Some(b"{\"b\":1}".to_vec())]);
    }
}
