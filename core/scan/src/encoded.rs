//! Finds what looks like base64, base64url or hex, and decodes it.
//!
//! A run is followed byte by byte, however the text arrives. One that is longer than a segment is taken in segments that overlap by half,
//! so that work, memory and what a stream holds back stay bounded, and a secret of half a segment lies whole in one of them.

use crate::finding::hex_digit;

/// A shorter run holds no secret worth the name.
const RUN_BYTES_MIN: usize = 16;
const HEX_BYTES_MIN: usize = 32;
/// A segment, and how far the next one lies behind its beginning: multiples of four, so that base64 stays aligned.
const SEGMENT_BYTES: usize = 3_584;
const STEP_BYTES: usize = SEGMENT_BYTES / 2;
/// So much of what a run decodes to is looked at before the rest is decoded.
const LOOK_BYTES: usize = 24;

/// Follows runs through one text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Runs {
    /// Where the open run, or its current segment, begins.
    start: Option<usize>,
    /// Signs of padding at its end, so far.
    padding: usize,
    /// How far the text was followed.
    at: usize,
}

/// A run, or a segment of one, that has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Run {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

// === impl Runs ===

impl Runs {
    /// Begins at `at`, where no run is open.
    pub(crate) const fn new(at: usize) -> Self {
        Self { start: None, padding: 0, at }
    }

    /// Where the open run begins.
    pub(crate) const fn open(&self) -> Option<usize> {
        self.start
    }

    /// Follows `text`, which begins at `base`, to its end, and hands out each run that ends.
    pub(crate) fn advance(&mut self, text: &[u8], base: usize, is_final: bool, mut sink: impl FnMut(Run)) {
        let mut rest = text.get(self.at.saturating_sub(base)..).unwrap_or_default();
        while let Some(byte) = rest.first() {
            let taken = match self.start {
                Some(start) => self.go_on(start, *byte, rest, &mut sink),
                None => {
                    let between = rest.iter().take_while(|byte| !is_sign(**byte)).count();
                    if between < rest.len() {
                        (self.start, self.padding) = (Some(self.at.saturating_add(between)), 0);
                    }
                    between
                }
            };
            self.at = self.at.saturating_add(taken);
            rest = rest.get(taken..).unwrap_or_default();
        }
        if is_final && let Some(start) = self.start.take() {
            end(start, self.at, &mut sink);
        }
    }

    /// Follows the open run, and says how many bytes of `rest` that took.
    fn go_on(&mut self, start: usize, byte: u8, rest: &[u8], sink: &mut impl FnMut(Run)) -> usize {
        if byte == b'=' && self.padding < 2 {
            self.padding = self.padding.saturating_add(1);
            return 1;
        }
        if !is_sign(byte) || self.padding > 0 {
            end(start, self.at, sink);
            self.start = None;
            return 0;
        }
        let room = SEGMENT_BYTES.saturating_sub(self.at.saturating_sub(start));
        if room == 0 {
            sink(Run { start, end: self.at });
            self.start = Some(start.saturating_add(STEP_BYTES));
        }
        rest.iter().take(room).take_while(|byte| is_sign(**byte)).count()
    }
}

fn end(start: usize, end: usize, sink: &mut impl FnMut(Run)) {
    if end.saturating_sub(start) >= RUN_BYTES_MIN {
        sink(Run { start, end });
    }
}

/// What a run may stand for: bytes that look like text, from hex or from base64.
pub(crate) fn decoded(run: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let hex = (run.len() >= HEX_BYTES_MIN).then(|| looked(run, 2, from_hex)).flatten();
    hex.into_iter().chain(looked(run, 4, from_base64))
}

/// Decodes the whole where its beginning looks like text; random bytes seldom do.
fn looked(run: &[u8], unit: usize, decode: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let look = run.get(..LOOK_BYTES.min(run.len() / unit * unit))?;
    decode(look).filter(|bytes| is_text(bytes)).and_then(|_| decode(run))
}

fn is_text(bytes: &[u8]) -> bool {
    let printable = bytes.iter().filter(|byte| matches!(byte, 0x20..=0x7e | b'\t' | b'\n' | b'\r')).count();
    printable.saturating_mul(4) >= bytes.len().saturating_mul(3)
}

fn from_hex(run: &[u8]) -> Option<Vec<u8>> {
    run.chunks_exact(2).map(|pair| pair.iter().try_fold(0, |high, low| Some(high << 4 | hex_digit(*low)?))).collect()
}

/// Both alphabets at once, which no library takes, and whatever of a last group there is.
fn from_base64(run: &[u8]) -> Option<Vec<u8>> {
    let signs: Vec<u8> =
        run.iter().take_while(|byte| **byte != b'=').map(|byte| value(*byte)).collect::<Option<_>>()?;
    let mut bytes = Vec::with_capacity(signs.len().saturating_mul(3) / 4);
    for group in signs.chunks(4) {
        let bits =
            group.iter().fold(0_u32, |bits, value| bits << 6 | u32::from(*value)) << (6 * (4 - group.len().min(4)));
        let [_, taken @ ..] = bits.to_be_bytes();
        bytes.extend(taken.iter().take(group.len().saturating_sub(1)));
    }
    Some(bytes)
}

const fn is_sign(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'/' | b'_')
}

const fn value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, engine::general_purpose};

    fn runs(text: &str, step: usize) -> Vec<(usize, usize)> {
        let (mut runs, mut found) = (Runs::new(0), Vec::new());
        for end in (0..=text.len()).step_by(step) {
            runs.advance(&text.as_bytes()[..end], 0, false, |run| found.push((run.start, run.end)));
        }
        runs.advance(text.as_bytes(), 0, true, |run| found.push((run.start, run.end)));
        found
    }

    #[test]
    fn runs_are_found_however_the_text_arrives() {
        let long = "A".repeat(SEGMENT_BYTES + 10);
        for (text, expect) in [
            ("short words only", vec![]),
            ("x=abcdefghijklmnop==;", vec![(2, 20)]),
            ("abcdefghijklmnopq=r", vec![(0, 18)]),
            ("abcdefghijklmnop===", vec![(0, 18)]),
            (long.as_str(), vec![(0, SEGMENT_BYTES), (STEP_BYTES, SEGMENT_BYTES + 10)]),
        ] {
            for step in [1, 2, 3, 7, text.len()] {
                assert_eq!(runs(text, step), expect, "{text}, {step} at a time");
            }
        }
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let text = b"a text >>> with ??? and more of it";
        let encoded = [
            general_purpose::STANDARD.encode(text),
            general_purpose::STANDARD_NO_PAD.encode(text),
            general_purpose::URL_SAFE.encode(text),
            general_purpose::URL_SAFE_NO_PAD.encode(text),
            text.iter().map(|byte| format!("{byte:02X}")).collect(),
        ];
        for run in encoded {
            assert!(decoded(run.as_bytes()).any(|bytes| bytes == text), "{run}");
        }
        assert_eq!(decoded(b"some_identifier_of_a_program").count(), 0);
    }
}
