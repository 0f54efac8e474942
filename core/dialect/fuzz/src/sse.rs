//! Event streams.

use tollgate_dialect::sse::{Event, Splitter};

use crate::input::Input;

type Found = Vec<(Vec<u8>, Vec<u8>, bool)>;

fn split(pieces: &[&[u8]], bytes_max: usize) -> (Found, u64) {
    let (mut splitter, mut found) = (Splitter::new(bytes_max), Vec::new());
    for piece in pieces {
        splitter.push(piece, |Event { name, data, oversized }| found.push((name.to_vec(), data.to_vec(), oversized)));
        assert!(splitter.boundary() <= splitter.seen());
    }
    (found, splitter.boundary())
}

// As the standard says it, over the whole stream at once.
fn plain(stream: &[u8]) -> Found {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let (mut lines, mut line, mut after_cr) = (Vec::new(), Vec::new(), false);
    for byte in stream {
        match (byte, std::mem::replace(&mut after_cr, *byte == b'\r')) {
            (b'\n', true) => {}
            (b'\n' | b'\r', _) => lines.push(std::mem::take(&mut line)),
            _ => line.push(*byte),
        }
    }
    let (mut found, mut name, mut data) = (Vec::new(), Vec::new(), Vec::new());
    for line in lines {
        if line.is_empty() {
            if data.pop().is_some() {
                found.push((std::mem::take(&mut name), std::mem::take(&mut data), false));
            }
            name.clear();
            continue;
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(at) => (&line[..at], line[at + 1..].strip_prefix(b" ").unwrap_or(&line[at + 1..])),
            None => (line.as_slice(), [].as_slice()),
        };
        match field {
            b"event" => name = value[..value.len().min(64)].to_vec(),
            b"data" => data.extend(value.iter().chain(b"\n")),
            _ => {}
        }
    }
    found
}

/// Splits a stream whole and in pieces, and as the standard says it.
///
/// # Panics
/// When they differ.
pub fn check(bytes: &[u8]) {
    let Some(input) = Input::read(bytes) else { return };
    let bytes_max = if input.has(0) { 128 + usize::from(input.kind) } else { 1 << 20 };
    let whole = split(&[input.body], bytes_max);
    assert_eq!(split(&input.pieces(input.body), bytes_max), whole);
    if bytes_max == 1 << 20 {
        assert_eq!(whole.0, plain(input.body));
    } else {
        assert!(whole.0.iter().all(|(_, data, oversized)| data.len() <= bytes_max && (!oversized || data.is_empty())));
    }
}
