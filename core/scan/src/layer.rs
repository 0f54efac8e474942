//! One reading of a text: as it stands, or with its escapes taken back.
//!
//! At the first escape a layer forks: the reading in which the escape is taken back goes on beside it, from the same state, and ends when
//! both agree again. So a secret is found whether it holds `%2F`, `\/` or a character without width, and a text without any is read once.
//! Base64 and hex are decoded where a run of them ends, and read as a text of their own.

use std::ops::Range;

use crate::{
    encoded::{self, Run, Runs},
    escape::{self, Escape},
    finding::Finding,
    lane::{Lane, Part, REQUIRED_BYTES_MAX, Work},
    set::RuleSet,
};

/// How deep encodings are taken off.
const DEPTH_MAX: usize = 3;
/// What a layer keeps of the text before what is not yet decided: beginnings of matches, of their lines, and of rules that they require.
pub(crate) const KEPT_BYTES: usize = REQUIRED_BYTES_MAX + 1_024;
/// So far behind its last escape a reading is asked whether it still differs.
const AGREE_BYTES: usize = 128;
/// A buffer is moved down when so much of it is done with.
const DONE_BYTES: usize = 8 * 1024;

/// One reading of a text.
#[derive(Debug)]
pub(crate) struct Layer {
    depth: usize,
    text: Vec<u8>,
    /// Where `text` begins.
    base: usize,
    lane: Lane,
    runs: Runs,
    /// How far escapes were looked for.
    looked: usize,
    taken: Option<Box<Taken>>,
    found: Vec<Finding>,
}

/// The reading with escapes taken back.
#[derive(Debug)]
struct Taken {
    layer: Layer,
    /// Where both readings moved apart, in order.
    steps: Vec<Step>,
    /// Where, in the text with escapes, they may agree again.
    check: usize,
}

/// An escape: where it stands in the text, and what it became in the reading.
#[derive(Clone, Copy, Debug)]
struct Step {
    text: (usize, usize),
    reading: (usize, usize),
}

// === impl Layer ===

impl Layer {
    pub(crate) fn new(set: &RuleSet, depth: usize) -> Self {
        Self {
            depth,
            text: Vec::new(),
            base: 0,
            lane: Lane::new(set),
            runs: Runs::new(0),
            looked: 0,
            taken: None,
            found: Vec::new(),
        }
    }

    /// Reads a whole text, and returns what is in it.
    fn whole(work: &mut Work<'_>, text: Vec<u8>, depth: usize) -> Vec<Finding> {
        let mut layer = Self::new(work.set, depth);
        layer.text = text;
        layer.advance(work, true);
        layer.found
    }

    /// The text that is kept.
    pub(crate) fn part(&self) -> Part<'_> {
        Part { bytes: &self.text, base: self.base }
    }

    fn end(&self) -> usize {
        self.base.saturating_add(self.text.len())
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, work: &mut Work<'_>, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        self.advance(work, false);
    }

    /// Reads to the end of what has come.
    pub(crate) fn advance(&mut self, work: &mut Work<'_>, is_final: bool) {
        if self.depth < DEPTH_MAX {
            self.take_escapes(work, is_final);
        } else {
            self.looked = self.end();
        }
        if let Some(mut taken) = self.taken.take() {
            taken.layer.advance(work, is_final);
            taken.drain(&mut self.found);
            self.taken = Some(taken);
        }
        self.follow(work, self.looked, is_final);
    }

    /// Ends the reading with escapes taken back, as if its text ended here: what waits in it is decided.
    pub(crate) fn end_reading(&mut self, work: &mut Work<'_>) {
        let Some(mut taken) = self.taken.take() else { return };
        let cut: Vec<_> = taken.layer.lane.alive().map(|(rule, at)| (rule, taken.to_text(at).start)).collect();
        work.spent.cut.extend(cut);
        taken.layer.end_reading(work);
        taken.layer.advance(work, true);
        taken.drain(&mut self.found);
    }

    /// Removes and returns what was found.
    pub(crate) fn drain(&mut self) -> std::vec::Drain<'_, Finding> {
        self.found.drain(..)
    }

    /// From where on the text may hold a secret that is not yet decided.
    pub(crate) fn hold(&self, set: &RuleSet) -> usize {
        let part = self.part().until(self.lane.at());
        let mut hold = self.lane.hold(set, part).min(self.looked);
        if let Some(open) = self.runs.open() {
            hold = hold.min(open);
        }
        if let Some(taken) = &self.taken {
            hold = hold.min(taken.to_text(taken.layer.hold(set)).start);
        }
        hold
    }

    /// Forgets the text before `done`, but what may be needed of it.
    pub(crate) fn forget(&mut self, set: &RuleSet, done: usize) {
        if let Some(taken) = &mut self.taken {
            let reading = taken.layer.hold(set);
            taken.layer.forget(set, reading);
            let kept = taken.layer.base;
            let first = taken.steps.iter().position(|step| step.reading.1 >= kept).unwrap_or(taken.steps.len());
            // The last step before says how far both are apart.
            taken.steps.drain(..first.saturating_sub(1));
        }
        let kept = done.min(self.lane.at()).saturating_sub(KEPT_BYTES);
        let len = kept.saturating_sub(self.base);
        if len >= DONE_BYTES {
            self.text.drain(..len.min(self.text.len()));
            self.base = kept;
        }
    }

    /// Whether nothing waits for more text.
    fn is_quiet(&self) -> bool {
        self.lane.is_quiet() && self.lane.at() == self.end() && self.runs.open().is_none() && self.taken.is_none()
    }

    /// Matches rules, and decodes runs, as far as `end`.
    fn follow(&mut self, work: &mut Work<'_>, end: usize, is_final: bool) {
        let text = Part { bytes: &self.text, base: self.base }.until(end);
        if self.depth < DEPTH_MAX {
            let (lane, depth) = (&mut self.lane, self.depth);
            self.runs.advance(text.bytes, text.base, is_final, |run| decode(work, lane, text, run, depth));
        }
        self.lane.advance(work, text, is_final, &mut self.found);
    }

    /// Looks for escapes, and feeds the reading in which they are taken back.
    fn take_escapes(&mut self, work: &mut Work<'_>, is_final: bool) {
        loop {
            let limit = self.taken.as_ref().map_or(self.end(), |taken| taken.check.min(self.end()));
            let plain = self.looked;
            let (at, found) = self.next_escape(limit, is_final);
            self.looked = at;
            if let Some(taken) = &mut self.taken {
                let bytes = Part { bytes: &self.text, base: self.base }.get(plain..at);
                taken.layer.text.extend_from_slice(bytes);
            }
            match found {
                Escape::Whole { len, text } => self.take(work, at, len, text.bytes()),
                Escape::Partial => return,
                Escape::Plain if self.taken.as_ref().is_some_and(|taken| taken.check == at) => self.agree(work),
                Escape::Plain => return,
            }
        }
    }

    /// The next escape before `limit`, or where looking ended.
    fn next_escape(&self, limit: usize, is_final: bool) -> (usize, Escape) {
        let mut from = self.looked.saturating_sub(self.base);
        let limit_here = limit.saturating_sub(self.base);
        while let Some(at) = escape::next(self.text.get(..limit_here).unwrap_or_default(), from) {
            // What stands behind the limit belongs to the escape that begins before it.
            let ahead = at.saturating_add(escape::ESCAPE_BYTES_MAX).min(self.text.len());
            match escape::read(self.text.get(at..ahead).unwrap_or_default(), is_final) {
                Escape::Plain => from = at.saturating_add(1),
                found => return (self.base.saturating_add(at), found),
            }
        }
        (limit.max(self.looked), Escape::Plain)
    }

    fn take(&mut self, work: &mut Work<'_>, at: usize, len: usize, meant: &[u8]) {
        if self.taken.is_none() {
            self.follow(work, at, false);
            self.taken = Some(Box::new(Taken { layer: self.fork(at), steps: Vec::new(), check: 0 }));
        }
        let end = at.saturating_add(len);
        self.looked = end;
        if let Some(taken) = &mut self.taken {
            let before = taken.layer.end();
            taken.layer.text.extend_from_slice(meant);
            taken.steps.push(Step { text: (at, end), reading: (before, taken.layer.end()) });
            taken.check = end.saturating_add(AGREE_BYTES);
        }
    }

    /// The same state at `at`, to which it has been followed.
    fn fork(&self, at: usize) -> Self {
        let kept = at.saturating_sub(KEPT_BYTES).max(self.base);
        let text = self.part().get(kept..at).to_vec();
        let (lane, runs) = (self.lane.clone(), self.runs);
        Self { depth: self.depth + 1, text, base: kept, lane, runs, looked: at, taken: None, found: Vec::new() }
    }

    /// Ends the other reading where it no longer differs.
    fn agree(&mut self, work: &mut Work<'_>) {
        let Some(mut taken) = self.taken.take() else { return };
        taken.layer.advance(work, false);
        taken.drain(&mut self.found);
        if !taken.layer.is_quiet() {
            taken.check = taken.check.saturating_add(AGREE_BYTES);
            self.taken = Some(taken);
        }
    }
}

// === impl Taken ===

impl Taken {
    /// Hands what was found over, where it stands in the text.
    fn drain(&mut self, found: &mut Vec<Finding>) {
        for mut finding in std::mem::take(&mut self.layer.found) {
            let (start, end) = (self.to_text(finding.range.start), self.to_text(finding.range.end.saturating_sub(1)));
            let is_touched = |step: &Step| step.reading.0 < finding.range.end && step.reading.1 > finding.range.start;
            finding.is_encoded |=
                self.steps.iter().any(is_touched) || end.end.saturating_sub(start.start) != finding.range.len();
            finding.range = start.start..end.end;
            found.push(finding);
        }
    }

    /// What a byte of the reading stands for in the text.
    fn to_text(&self, at: usize) -> Range<usize> {
        let index = self.steps.partition_point(|step| step.reading.0 <= at && step.reading.1 <= at);
        match self.steps.get(index) {
            Some(step) if step.reading.0 <= at => step.text.0..step.text.1,
            _ => {
                let before = index.checked_sub(1).and_then(|index| self.steps.get(index));
                let at = before.map_or(at, |step| step.text.1.saturating_add(at.saturating_sub(step.reading.1)));
                at..at.saturating_add(1)
            }
        }
    }
}

/// Reads what a run stands for, and tells what is in it as being where the run is.
fn decode(work: &mut Work<'_>, lane: &mut Lane, text: Part<'_>, run: Run, depth: usize) {
    for bytes in encoded::decoded(text.get(run.start..run.end)) {
        if !work.spent.decode(bytes.len()) {
            return;
        }
        let hits = std::mem::take(&mut work.scratch.hits);
        let found = Layer::whole(work, bytes, depth + 1);
        work.scratch.hits = hits;
        for finding in found {
            lane.add(Finding { range: run.start..run.end, is_encoded: true, is_open: false, ..finding });
        }
    }
}
