//! Scans a text that arrives in pieces, and says what of it may go on.
//!
//! What goes on, and what is told, is the same wherever the text was cut. Bytes are held back only while they may belong to a secret:
//! from the last word on, since it may be the beginning of a keyword or of an encoded run, and while a match is alive. What is held is
//! bounded by [`HELD_BYTES_MAX`]; for how long is the caller's to decide, by ending the stream or by [`Stream::finish`].

use crate::{
    finding::{Finding, FingerprintKey, RuleIndex},
    lane::{LINE_BYTES_MAX, Part, Spent, Work},
    layer::{KEPT_BYTES, Layer},
    set::{RuleSet, Scratch},
};

/// How long a match may be in a stream, where its rule sets no bound: a private key of 4,096 bits fits.
const STREAM_MATCH_BYTES_MAX: usize = 3_584;
/// The same in a text that is there as a whole.
pub(crate) const TEXT_MATCH_BYTES_MAX: usize = 16 * 1024;
/// How much longer a text may be than what it stands for: `\u0041` has six bytes. Escapes within escapes have more, and characters without
/// width any number: then the reading with escapes taken back ends early, so that a stream does not wait for it without end.
const ESCAPED_TIMES_MAX: usize = 6;
/// So often that is looked at, at the same places of a text however it is cut.
const LOOK_BYTES: usize = 4 * 1024;
/// A stream holds no more than this, and without escapes far less.
pub const HELD_BYTES_MAX: usize = held_max(STREAM_MATCH_BYTES_MAX) + LOOK_BYTES;

/// What comes out of a stream, in the order of the text.
#[derive(Debug)]
pub enum Piece<'a> {
    /// Text without a secret.
    Text(&'a [u8]),
    /// Secrets that overlap, and the bytes that they take together. The first finding names them.
    Secret {
        /// At least one, by where it begins.
        findings: &'a [Finding],
        /// The bytes; not to be told.
        text: &'a [u8],
    },
    /// More of the secret before, which was longer than a match may be.
    More(&'a [u8]),
    /// The match of a rule was alive for longer than a stream may hold bytes. What may belong to it comes next, as text.
    Overflow(RuleIndex),
    /// The text asks for more work than is spent on one: what comes is not looked at any more.
    Exhausted,
}

/// A scanner of one stream.
#[derive(Debug)]
pub struct Stream {
    layer: Layer,
    spent: Spent,
    match_max: usize,
    /// Behind what went on.
    released: usize,
    found: Vec<Finding>,
    /// A secret that was cut at its greatest length goes on here.
    is_open: bool,
    is_exhaustion_told: bool,
}

/// What may be held where matches have at most `match_max` bytes.
const fn held_max(match_max: usize) -> usize {
    ESCAPED_TIMES_MAX * (match_max + 2 * LINE_BYTES_MAX)
}

// === impl Stream ===

impl Stream {
    /// A scanner for a new text.
    #[must_use]
    pub fn new(set: &RuleSet) -> Self {
        Self::with_match_max(set, STREAM_MATCH_BYTES_MAX)
    }

    pub(crate) fn with_match_max(set: &RuleSet, match_max: usize) -> Self {
        Self {
            layer: Layer::new(set, 0),
            spent: Spent::default(),
            match_max,
            released: 0,
            found: Vec::new(),
            is_open: false,
            is_exhaustion_told: false,
        }
    }

    /// Takes the next bytes, and hands out what may go on. The set must be that with which the stream began.
    pub fn push(
        &mut self,
        set: &RuleSet,
        scratch: &mut Scratch,
        key: &FingerprintKey,
        bytes: &[u8],
        mut sink: impl FnMut(Piece<'_>),
    ) {
        scratch.begin(set);
        self.spent.grow(bytes.len());
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = LOOK_BYTES.saturating_sub(self.layer.part().end() % LOOK_BYTES);
            let (next, behind) = rest.split_at(room.min(rest.len()));
            let mut work = Work { set, scratch, key, match_max: self.match_max, spent: &mut self.spent };
            self.layer.push(&mut work, next);
            rest = behind;
            if self.layer.part().end().is_multiple_of(LOOK_BYTES) {
                self.look(set, scratch, key, &mut sink);
            }
        }
        let hold = self.layer.hold(set);
        self.release(hold, false, sink);
        self.layer.forget(set, self.released);
    }

    /// Hands out what is decided, and decides when too much is held.
    fn look(&mut self, set: &RuleSet, scratch: &mut Scratch, key: &FingerprintKey, mut sink: impl FnMut(Piece<'_>)) {
        self.release(self.layer.hold(set), false, &mut sink);
        if self.held() <= held_max(self.match_max) {
            return;
        }
        let mut work = Work { set, scratch, key, match_max: self.match_max, spent: &mut self.spent };
        self.layer.end_reading(&mut work);
        let hold = self.layer.hold(set);
        self.release(hold, false, &mut sink);
        // A secret no longer waits for what overlaps it.
        while self.held() > held_max(self.match_max) && !self.found.is_empty() {
            let (_, end) = cluster(&self.found);
            self.release(end.max(hold), false, &mut sink);
        }
    }

    /// Ends the text, and hands out the rest.
    pub fn finish(&mut self, set: &RuleSet, scratch: &mut Scratch, key: &FingerprintKey, sink: impl FnMut(Piece<'_>)) {
        scratch.begin(set);
        let mut work = Work { set, scratch, key, match_max: self.match_max, spent: &mut self.spent };
        self.layer.advance(&mut work, true);
        self.release(self.layer.part().end(), true, sink);
    }

    /// How many bytes are held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.layer.part().end().saturating_sub(self.released)
    }

    /// Hands out what is decided, as far as `hold`.
    fn release(&mut self, hold: usize, is_final: bool, mut sink: impl FnMut(Piece<'_>)) {
        self.found.extend(self.layer.drain());
        self.found.sort_by_key(Finding::order);
        if self.spent.is_exhausted && !std::mem::replace(&mut self.is_exhaustion_told, true) {
            sink(Piece::Exhausted);
        }
        let text = self.layer.part();
        loop {
            let (count, end) = cluster(&self.found);
            let Some(start) = self.found.first().map(|finding| finding.range.start.max(self.released)) else { break };
            if end > hold {
                let until = start.min(hold);
                pass(text, &mut self.released, until, &mut self.is_open, &mut self.spent, &mut sink);
                return;
            }
            pass(text, &mut self.released, start, &mut self.is_open, &mut self.spent, &mut sink);
            let findings: Vec<Finding> = reduced(self.found.drain(..count).collect());
            if end > self.released {
                sink(Piece::Secret { findings: &findings, text: text.get(self.released..end) });
                self.is_open = findings.iter().any(|finding| finding.is_open && finding.range.end == end);
                self.released = end;
            }
        }
        let hold = if is_final { text.end() } else { hold };
        pass(text, &mut self.released, hold, &mut self.is_open, &mut self.spent, &mut sink);
    }
}

/// Lets text without findings go on, as far as `until`.
fn pass(
    text: Part<'_>,
    released: &mut usize,
    until: usize,
    is_open: &mut bool,
    spent: &mut Spent,
    sink: &mut impl FnMut(Piece<'_>),
) {
    if *released >= until {
        return;
    }
    if *is_open {
        let more = text.get(*released..until);
        let len = more.iter().take_while(|byte| is_token(**byte)).count();
        *is_open = len == more.len();
        if len > 0 {
            sink(Piece::More(more.get(..len).unwrap_or_default()));
            *released = released.saturating_add(len);
        }
    }
    let mut cut: Vec<(RuleIndex, usize)> = Vec::new();
    spent.cut.retain(|(rule, at)| {
        let is_passed = *at < until;
        if is_passed && cut.iter().all(|(told, _)| told != rule) {
            cut.push((*rule, *at));
        }
        !is_passed
    });
    for (rule, _) in cut {
        sink(Piece::Overflow(rule));
    }
    if *released < until {
        sink(Piece::Text(text.get(*released..until)));
        *released = until;
    }
}

/// How many of the findings overlap from the first on, and where they end.
fn cluster(found: &[Finding]) -> (usize, usize) {
    let mut end = found.first().map_or(0, |finding| finding.range.end);
    let mut count = 0;
    for finding in found {
        if count > 0 && finding.range.start >= end {
            break;
        }
        end = end.max(finding.range.end);
        count += 1;
    }
    (count, end)
}

/// The same without what says nothing new: a secret found twice, by two readings.
fn reduced(mut findings: Vec<Finding>) -> Vec<Finding> {
    let all = findings.clone();
    let mut index = 0_usize;
    findings.retain(|finding| {
        let own = index;
        index += 1;
        let covers = |(at, other): (usize, &Finding)| {
            let is_wider = other.range.start <= finding.range.start && other.range.end >= finding.range.end;
            at != own && other.rule == finding.rule && is_wider && (other.range != finding.range || at < own)
        };
        !all.iter().enumerate().any(covers)
    });
    findings
}

/// What a token goes on with.
pub(crate) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-' | b'.')
}

const _: () = assert!(KEPT_BYTES > 2 * LINE_BYTES_MAX);
