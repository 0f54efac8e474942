//! Cuts a `text/event-stream` into events, however its bytes arrive.
//!
//! Follows the parsing rules of the HTML standard, section 9.2.6: lines end with LF, CR or CRLF, a line that begins with a colon is a
//! comment, a byte order mark may lead, several `data` lines make one text, an empty line ends the event. Unlike a browser it keeps
//! no `id` and no `retry`, and an event above a limit is passed over instead of held.
//!
//! An event that lies whole in one piece, with one `data` line, is handed out without a copy.

use memchr::memchr2;

/// What a buffer may keep once its event is done; more is given back, so that one large event does not burden a long stream.
const KEPT_BYTES_MAX: usize = 4 * 1024;
/// No event of any dialect has a longer name; a longer one is cut, and so equals none.
const NAME_BYTES_MAX: usize = 64;
/// The smallest limit of an event: room for any line that names one.
pub const BYTES_MIN: usize = 2 * NAME_BYTES_MAX;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event, as long as it is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Event<'a> {
    /// Its `event` field; empty where there is none.
    pub name: &'a [u8],
    /// Its `data` lines, joined by LF.
    pub data: &'a [u8],
    /// It exceeded the limit, and `data` is empty for that reason.
    pub oversized: bool,
}

/// Finds the events of one stream.
#[derive(Debug)]
pub struct Splitter {
    /// How many bytes of one event may be held.
    bytes_max: usize,
    /// How many bytes have been pushed.
    seen: u64,
    /// The offset just behind the last empty line.
    boundary: u64,
    /// The beginning of a line whose end has not arrived, at most `bytes_max` of it.
    line: Vec<u8>,
    /// That line is longer than what is held of it.
    is_line_cut: bool,
    name: Vec<u8>,
    /// The `data` lines so far, joined by LF.
    data: Vec<u8>,
    has_data: bool,
    oversized: bool,
    /// The last byte was CR: an LF that follows belongs to it.
    after_cr: bool,
    begun: bool,
}

impl Splitter {
    /// A splitter that reads events of at most `bytes_max` (and no fewer than [`BYTES_MIN`]); it holds up to twice as much of an event
    /// whose end has not arrived.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max: if bytes_max < BYTES_MIN { BYTES_MIN } else { bytes_max },
            seen: 0,
            boundary: 0,
            line: Vec::new(),
            is_line_cut: false,
            name: Vec::new(),
            data: Vec::new(),
            has_data: false,
            oversized: false,
            after_cr: false,
            begun: false,
        }
    }

    /// Where another event may be put in: the offset, counted from the stream's start, just behind the last line that ended an event.
    #[must_use]
    pub const fn boundary(&self) -> u64 {
        self.boundary
    }

    /// How many bytes have been pushed.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes the next bytes and hands each event that they complete to `sink`, in order.
    pub fn push(&mut self, bytes: &[u8], mut sink: impl FnMut(Event<'_>)) {
        let start = self.seen;
        self.seen = start.saturating_add(bytes.len() as u64);
        let begun = self.after_line_feed(start, bytes);
        let mut rest = self.end_held_line(begun, &mut sink);
        // The only data line so far of the open event, while its event may still lie whole in `bytes`.
        let mut sole = None;
        while let Some((line, behind)) = self.next_line(rest) {
            rest = behind;
            self.take_line(line, &mut sole, rest.len(), &mut sink);
        }
        if let Some(data) = sole {
            self.append(data);
        }
        self.hold(rest);
    }

    /// Drops the LF that belongs to the CR before it.
    fn after_line_feed<'a>(&mut self, start: u64, bytes: &'a [u8]) -> &'a [u8] {
        if !self.after_cr || bytes.is_empty() {
            return bytes;
        }
        self.after_cr = false;
        let Some(rest) = bytes.strip_prefix(b"\n") else { return bytes };
        if self.boundary == start {
            self.boundary = start.saturating_add(1);
        }
        rest
    }

    /// Completes the line that earlier pieces began, where `bytes` ends it.
    fn end_held_line<'a>(&mut self, bytes: &'a [u8], sink: &mut impl FnMut(Event<'_>)) -> &'a [u8] {
        if self.line.is_empty() && !self.is_line_cut {
            return bytes;
        }
        let Some((head, rest)) = self.next_line(bytes) else { return bytes };
        self.hold(head);
        let line = std::mem::take(&mut self.line);
        let mut sole = None;
        self.take_line(&line, &mut sole, rest.len(), sink);
        if let Some(data) = sole {
            self.append(data);
        }
        self.is_line_cut = false;
        self.line = emptied(line);
        rest
    }

    /// Splits at the next end of a line.
    fn next_line<'a>(&mut self, bytes: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let (line, end) = bytes.split_at_checked(memchr2(b'\n', b'\r', bytes)?)?;
        let rest = match end {
            [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => rest,
            [_, rest @ ..] => {
                self.after_cr = rest.is_empty();
                rest
            }
            [] => end,
        };
        Some((line, rest))
    }

    /// Reads one whole line; `behind` bytes of the piece follow it.
    fn take_line<'a>(
        &mut self,
        line: &'a [u8],
        sole: &mut Option<&'a [u8]>,
        behind: usize,
        sink: &mut impl FnMut(Event<'_>),
    ) {
        let line = if std::mem::replace(&mut self.begun, true) { line } else { without_mark(line) };
        if line.is_empty() {
            self.boundary = self.seen.saturating_sub(behind as u64);
            return self.end_event(sole.take(), sink);
        }
        if let Some(value) = field(line, b"data") {
            if let Some(earlier) = sole.take() {
                self.append(earlier);
            }
            if self.is_line_cut || line.len() > self.bytes_max {
                self.oversized = true;
            } else if self.has_data {
                self.append(value);
            } else {
                *sole = Some(value);
            }
        } else if let Some(value) = field(line, b"event") {
            self.name.clear();
            self.name.extend_from_slice(value.get(..NAME_BYTES_MAX).unwrap_or(value));
        }
    }

    /// Hands the event out, if it has data, and makes ready for the next.
    fn end_event(&mut self, sole: Option<&[u8]>, sink: &mut impl FnMut(Event<'_>)) {
        if self.oversized {
            sink(Event { name: &self.name, data: &[], oversized: true });
        } else if let Some(data) = sole.or(self.has_data.then_some(self.data.as_slice())) {
            sink(Event { name: &self.name, data, oversized: false });
        }
        self.name.clear();
        self.has_data = false;
        self.oversized = false;
        self.data = emptied(std::mem::take(&mut self.data));
    }

    /// Adds one data line to those that are held.
    fn append(&mut self, value: &[u8]) {
        let joint: &[u8] = if self.has_data { b"\n" } else { b"" };
        self.has_data = true;
        if self.oversized || self.data.len() + joint.len() + value.len() > self.bytes_max {
            self.oversized = true;
            self.data = Vec::new();
            return;
        }
        self.data.extend_from_slice(joint);
        self.data.extend_from_slice(value);
    }

    /// Keeps a piece of a line whose end has not arrived.
    fn hold(&mut self, piece: &[u8]) {
        let room = self.bytes_max.saturating_sub(self.line.len());
        self.is_line_cut |= piece.len() > room;
        self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }
}

/// The buffer, empty, and small again if it had grown.
fn emptied(mut buffer: Vec<u8>) -> Vec<u8> {
    if buffer.capacity() > KEPT_BYTES_MAX {
        return Vec::new();
    }
    buffer.clear();
    buffer
}

fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)
}

/// The value of a line with this field name, without the one space that may lead it.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = BYTES_MIN;

    type Seen = (Vec<(String, String, bool)>, u64);

    fn split(pieces: &[&[u8]]) -> Seen {
        let mut splitter = Splitter::new(LIMIT);
        let mut events = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for piece in pieces {
            splitter.push(piece, |event| events.push((text(event.name), text(event.data), event.oversized)));
        }
        assert!(splitter.line.capacity().max(splitter.data.capacity()) <= KEPT_BYTES_MAX);
        (events, splitter.boundary())
    }

    /// The same bytes whole, cut once at each place, and one at a time.
    fn check(input: &[u8]) -> Seen {
        let whole = split(&[input]);
        for at in 0..=input.len() {
            assert_eq!(
                split(&[&input[..at], &input[at..]]),
                whole,
                "cut at {at} of {:?}",
                String::from_utf8_lossy(input)
            );
        }
        assert_eq!(split(&input.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
        whole
    }

    #[test]
    fn a_stream_is_cut_into_events_as_the_standard_has_it() {
        let long = format!("data:{}\n\ndata:x\n\n", "y".repeat(LIMIT));
        let joined = format!("data:{0}\ndata:{0}\n\n", "y".repeat(LIMIT / 2));
        let remark = format!(":{}\ndata:x\n\n", "y".repeat(LIMIT * 9));
        for (input, expect, boundary) in [
            ("", vec![], 0),
            ("data: x\n\n", vec![("", "x", false)], 9),
            ("event: a\ndata: x\n\nevent: b\ndata:y\n\n", vec![("a", "x", false), ("b", "y", false)], 35),
            ("data: x\r\n\r\ndata: y\r\rdata: z\r\n\n", vec![("", "x", false), ("", "y", false), ("", "z", false)], 30),
            ("data: x\r\r\n", vec![("", "x", false)], 10),
            ("\u{feff}data: x\n\ndata: y\n\n", vec![("", "x", false), ("", "y", false)], 21),
            ("data: x\n\n\u{feff}data: y\n\n", vec![("", "x", false)], 21),
            (": hello\n\ndata: x\n\n", vec![("", "x", false)], 18),
            ("data: a\ndata:\ndata\ndata:  b\n\n", vec![("", "a\n\n\n b", false)], 29),
            ("event: a\n\ndata: x\n\n", vec![("", "x", false)], 19),
            ("data:\n\n", vec![("", "", false)], 7),
            ("data\nevent: last\nid: 7\nretry: 1\nother: x\ndatum: y\nDATA: z\n\n", vec![("last", "", false)], 59),
            ("event: a\nevent: b\ndata: x\n\n", vec![("b", "x", false)], 27),
            ("data: x\n\ndata: y\n", vec![("", "x", false)], 9),
            (&long, vec![("", "", true), ("", "x", false)], 143),
            (&joined, vec![("", "", true)], 141),
            (&remark, vec![("", "x", false)], 1162),
        ] {
            let (events, end) = check(input.as_bytes());
            let events: Vec<_> =
                events.iter().map(|(name, data, over)| (name.as_str(), data.as_str(), *over)).collect();
            assert_eq!((events, end), (expect, boundary), "{input:?}");
        }
    }

    #[test]
    fn what_is_held_of_an_endless_event_is_bounded() {
        let mut splitter = Splitter::new(1000);
        for piece in [b"data: ".as_slice(), &[b'x'; 5000], &[b'x'; 5000], b"\ndata: y\n", &[b'z'; 9000]] {
            splitter.push(piece, |_| panic!("no event has ended"));
            assert!(splitter.line.len() <= 1000 && splitter.data.len() <= 1000);
        }
        let mut events = 0;
        splitter.push(b"\n\ndata: ok\n\n", |event| {
            events += 1;
            assert_eq!(event.oversized, events == 1);
        });
        assert_eq!(events, 2);
        assert!(splitter.line.capacity() <= KEPT_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same_events(
            input in proptest::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b' '), Just(b'd'), Just(b'x'), any::<u8>()], 0..120),
            words in proptest::collection::vec(prop_oneof![Just("data:"), Just("data: x"), Just("event: e"), Just("\n"), Just("\r\n"), Just("\r")], 0..24),
            cuts in proptest::collection::vec(0usize..400, 0..12),
        ) {
            let mut bytes = words.concat().into_bytes();
            bytes.extend(input);
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= bytes.len()).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            prop_assert_eq!(split(&pieces), split(&[&bytes]));
        }
    }
}
