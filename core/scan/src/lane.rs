//! Matches rules over one text that arrives in pieces.
//!
//! What a lane knows after a piece depends on the text so far and on nothing else: not on where it was cut. Each keyword opens a task for
//! its rules, tasks of one rule are taken in order, and a task whose automaton is still alive at the end of the text waits, with all of
//! the same rule behind it. So whatever way the text was cut, the same questions get the same answers in the same order.

use std::ops::Range;

use crate::{
    finding::{Finding, FingerprintKey, RuleIndex},
    judge,
    keywords::At,
    pattern::Tried,
    set::{BEFORE_BYTES_MAX, BESIDE_BYTES_MAX, Compiled, KEYWORD_BYTES_MAX, RuleSet, Scratch, Trigger},
};

/// How much of its line is looked at to either side of a match.
pub const LINE_BYTES_MAX: usize = 256;
/// How far from a match a rule that it requires may match.
pub const REQUIRED_BYTES_MAX: usize = 1_536;
/// Steps of automata, for each byte of text, before a text is given up as a trap; usual texts take fewer than two.
const STEPS_PER_BYTE_MAX: u64 = 64;
const STEPS_MIN: u64 = 1 << 20;

/// Above so many rules, those that were last tried so far back are forgotten.
const PROGRESS_MAX: usize = 24;
const PROGRESS_BYTES: usize = BEFORE_BYTES_MAX + 3 * KEYWORD_BYTES_MAX;

/// What a scan works with.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    pub(crate) set: &'a RuleSet,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) key: &'a FingerprintKey,
    /// How long a match may be, where its rule sets no bound.
    pub(crate) match_max: usize,
    pub(crate) spent: &'a mut Spent,
}

/// What a scan has spent, against what it may spend.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spent {
    steps: u64,
    bytes: u64,
    decoded: u64,
    /// It was more than it may, and some of the text was not looked at.
    pub(crate) is_exhausted: bool,
    /// Rules whose match was alive at its greatest length, and where it began.
    pub(crate) cut: Vec<(RuleIndex, usize)>,
}

/// A part of a text, and where it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) base: usize,
}

/// The state of matching.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    at: usize,
    keyword: At,
    /// Of the rules that were tried lately; for each other it is nought.
    progress: Vec<(u32, Progress)>,
    tasks: Vec<Task>,
    waiting: Vec<Waiting>,
    /// Where rules matched that others require.
    seen: Vec<(u32, usize)>,
}

/// How far one rule has come.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Behind its last match.
    resume: usize,
    /// Behind what was handed to tasks.
    cursor: usize,
}

/// Places at which a rule is still to be tried.
#[derive(Clone, Copy, Debug)]
struct Task {
    rule: u32,
    next: usize,
    last: usize,
    /// Where the secret begins at the earliest.
    guard: usize,
    /// It waits for more text.
    is_alive: bool,
}

/// A secret that its line, or a rule that it requires, may yet acquit.
#[derive(Clone, Debug)]
struct Waiting {
    matched: Range<usize>,
    finding: Finding,
    /// Found within what was encoded: its rule has had its say.
    is_judged: bool,
}

// === impl Spent ===

impl Spent {
    pub(crate) fn grow(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    fn step(&mut self, steps: usize) {
        self.steps = self.steps.saturating_add(steps as u64);
        self.is_exhausted |= self.steps > STEPS_MIN.saturating_add(self.bytes.saturating_mul(STEPS_PER_BYTE_MAX));
    }

    /// Whether so many bytes more may be decoded: eight times what the text has, and a little for short ones.
    pub(crate) fn decode(&mut self, bytes: usize) -> bool {
        let decoded = self.decoded.saturating_add(bytes as u64);
        let is_granted = decoded <= self.bytes.saturating_mul(8).saturating_add(1 << 16);
        self.is_exhausted |= !is_granted;
        if is_granted {
            self.decoded = decoded;
        }
        is_granted
    }
}

// === impl Part ===

impl<'a> Part<'a> {
    pub(crate) const fn end(&self) -> usize {
        self.base.saturating_add(self.bytes.len())
    }

    pub(crate) fn get(&self, range: Range<usize>) -> &'a [u8] {
        let end = range.end.saturating_sub(self.base).min(self.bytes.len());
        let start = range.start.saturating_sub(self.base).min(end);
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The same text as far as `end`.
    pub(crate) fn until(&self, end: usize) -> Self {
        Self { bytes: self.get(self.base..end), base: self.base }
    }
}

// === impl Lane ===

impl Lane {
    pub(crate) const fn new(set: &RuleSet) -> Self {
        let keyword = set.keywords.start();
        Self { at: 0, keyword, progress: Vec::new(), tasks: Vec::new(), waiting: Vec::new(), seen: Vec::new() }
    }

    /// How far the text was followed.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Whether nothing waits for more text.
    pub(crate) fn is_quiet(&self) -> bool {
        self.tasks.iter().all(|task| !task.is_alive) && self.waiting.is_empty()
    }

    /// Follows the text to the end of `text`.
    pub(crate) fn advance(&mut self, work: &mut Work<'_>, text: Part<'_>, is_final: bool, out: &mut Vec<Finding>) {
        self.resume_tasks(work, text, is_final);
        let mut hits = std::mem::take(&mut work.scratch.hits);
        let from = self.at;
        let set = work.set;
        set.keywords.advance(&mut self.keyword, text.get(from..text.end()), |end, len, rules| {
            let end = from.saturating_add(end);
            hits.extend(rules.iter().map(|rule| (end.saturating_sub(len), end, *rule)));
        });
        for (start, end, rule) in hits.drain(..) {
            if let Some(task) = self.task(set, rule, start, end) {
                self.begin(work, text, is_final, task);
            }
        }
        work.scratch.hits = hits;
        self.at = text.end();
        for rule in &set.everywhere {
            self.begin_everywhere(work, text, is_final, *rule, from);
        }
        self.settle(work, text, is_final, out);
    }

    /// Adds what was found in an encoded part: its line may yet allow it.
    pub(crate) fn add(&mut self, finding: Finding) {
        self.waiting.push(Waiting { matched: finding.range.clone(), finding, is_judged: true });
    }

    /// The rules whose match may yet become one, and where it begins.
    pub(crate) fn alive(&self) -> impl Iterator<Item = (RuleIndex, usize)> {
        let alive = self.tasks.iter().filter(|task| task.is_alive);
        alive.map(|task| (RuleIndex(task.rule), task.next.max(task.guard)))
    }

    /// From where on the text may hold a secret that is not yet decided.
    pub(crate) fn hold(&self, set: &RuleSet, text: Part<'_>) -> usize {
        let partial = self.at.saturating_sub(set.keywords.depth(self.keyword));
        let tasks = self.tasks.iter().filter(|task| task.is_alive).map(|task| task.next.max(task.guard));
        let waiting = self.waiting.iter().map(|waiting| waiting.finding.range.start);
        let earliest = tasks.chain(waiting).min().unwrap_or(usize::MAX);
        earliest.min(before(set, text, partial))
    }

    fn resume_tasks(&mut self, work: &mut Work<'_>, text: Part<'_>, is_final: bool) {
        let tasks = std::mem::take(&mut self.tasks);
        for task in tasks {
            self.begin(work, text, is_final, task);
        }
    }

    /// How far a rule has come.
    fn progress(&self, rule: u32) -> Progress {
        self.progress.iter().find(|(of, _)| *of == rule).map_or_else(Progress::default, |(_, progress)| *progress)
    }

    /// Notes how far a rule has come.
    fn advance_rule(&mut self, rule: u32, to: Progress) {
        match self.progress.iter_mut().find(|(of, _)| *of == rule) {
            Some((_, progress)) => *progress = to,
            None => self.progress.push((rule, to)),
        }
    }

    /// Forgets rules that were last tried long before `at`: no keyword to come reaches back to there.
    fn forget(&mut self, at: usize) {
        let (reach, tasks) = (at.saturating_sub(PROGRESS_BYTES), &self.tasks);
        let is_due = |rule: u32| tasks.iter().any(|task| task.rule == rule);
        self.progress.retain(|(rule, progress)| progress.resume.max(progress.cursor) > reach || is_due(*rule));
    }

    /// Runs a task as far as the text goes, unless one of its rule waits before it.
    fn begin(&mut self, work: &mut Work<'_>, text: Part<'_>, is_final: bool, mut task: Task) {
        let is_blocked = self.tasks.iter().any(|earlier| earlier.rule == task.rule);
        if is_blocked || !self.run(work, text, is_final, &mut task) {
            task.is_alive |= is_blocked;
            self.tasks.push(task);
        }
    }

    /// What a keyword of a rule asks for.
    fn task(&mut self, set: &RuleSet, rule: u32, start: usize, end: usize) -> Option<Task> {
        let compiled = set.rules.get(rule as usize)?;
        if self.progress.len() >= PROGRESS_MAX {
            self.forget(start);
        }
        let progress = self.progress(rule);
        let cursor = progress.cursor;
        let slack = set.keywords.len_max;
        let mut before = compiled.secret_before;
        let (next, last) = match compiled.trigger {
            Trigger::At(bytes) => {
                let at = start.checked_sub(bytes)?;
                (at, at)
            }
            Trigger::From { max, min } => {
                before = before.map(|bytes| bytes.saturating_add(slack));
                let low = start.saturating_sub(max).saturating_sub(slack).max(cursor);
                (low, start.checked_sub(min)?)
            }
            Trigger::Beside => (start.max(cursor), end.saturating_add(BESIDE_BYTES_MAX)),
            Trigger::Everywhere => return None,
        };
        let guard = match (compiled.trigger, before) {
            (Trigger::Beside | Trigger::Everywhere, _) => next,
            (_, Some(bytes)) => start.saturating_sub(bytes),
            (_, None) => end,
        };
        if !matches!(compiled.trigger, Trigger::At(_)) {
            self.advance_rule(rule, Progress { cursor: cursor.max(last.saturating_add(1)), ..progress });
        }
        (next <= last).then_some(Task { rule, next, last, guard, is_alive: false })
    }

    fn begin_everywhere(&mut self, work: &mut Work<'_>, text: Part<'_>, is_final: bool, rule: u32, next: usize) {
        let Some(last) = text.end().checked_sub(1).filter(|last| next <= *last) else { return };
        if let Some(waiting) = self.tasks.iter_mut().rfind(|task| task.rule == rule) {
            waiting.last = last;
            return;
        }
        self.begin(work, text, is_final, Task { rule, next, last, guard: next, is_alive: false });
    }

    /// Tries a rule at the places of a task; false when it waits for more text.
    fn run(&mut self, work: &mut Work<'_>, text: Part<'_>, is_final: bool, task: &mut Task) -> bool {
        let set = work.set;
        let Some(rule) = set.rules.get(task.rule as usize) else { return true };
        let len_max = if rule.pattern.len_max.is_some() { usize::MAX } else { work.match_max };
        task.is_alive = false;
        task.next = task.next.max(self.progress(task.rule).resume).max(text.base);
        while task.next <= task.last {
            // Most places are none where a match can begin: they are passed by at once.
            let places = text.get(task.next..task.last.saturating_add(1));
            let Some(ahead) = rule.pattern.first_of(places) else {
                task.next = task.next.saturating_add(places.len());
                return task.next > task.last || is_final;
            };
            if work.spent.is_exhausted {
                return true;
            }
            task.next = task.next.saturating_add(ahead);
            let start = task.next;
            let Some(cache) = work.scratch.cache(task.rule, &rule.pattern) else { return true };
            match rule.pattern.attempt(cache, text.bytes, start.saturating_sub(text.base), len_max, is_final) {
                Tried::Alive => {
                    task.is_alive = true;
                    return false;
                }
                Tried::Dead { seen, is_capped } => {
                    work.spent.step(seen);
                    if is_capped {
                        work.spent.cut.push((RuleIndex(task.rule), start.max(task.guard)));
                    }
                }
                Tried::Match { end, is_capped } => {
                    let end = end.saturating_add(text.base);
                    work.spent.step(end.saturating_sub(start));
                    self.matched(work, text, task, start..end, is_capped);
                    task.next = task.next.max(self.progress(task.rule).resume);
                }
            }
            task.next = task.next.max(start.saturating_add(1));
        }
        true
    }

    fn matched(&mut self, work: &Work<'_>, text: Part<'_>, task: &Task, range: Range<usize>, is_capped: bool) {
        let Some(rule) = work.set.rules.get(task.rule as usize) else { return };
        let progress = self.progress(task.rule);
        let floor = progress.resume.saturating_sub(text.base);
        self.advance_rule(task.rule, Progress { resume: range.end, ..progress });
        let (start, end) = (range.start.saturating_sub(text.base), range.end.saturating_sub(text.base));
        let Some((from, to)) = rule.pattern.secret(text.bytes, start, end, rule.group) else { return };
        let beginning = rule.pattern.beginning(text.bytes, start, floor).saturating_add(text.base);
        let matched = trimmed(text, beginning..range.end);
        let secret = trimmed(text, from.saturating_add(text.base).max(task.guard)..to.saturating_add(text.base));
        if !judge::is_secret(rule, &work.set.global, text.get(matched.clone()), text.get(secret.clone())) {
            return;
        }
        if rule.is_required {
            self.seen.push((task.rule, matched.start));
        }
        if !rule.is_hidden {
            let finding = Finding {
                rule: RuleIndex(task.rule),
                fingerprint: work.key.fingerprint(text.get(secret.clone())),
                is_open: is_capped && secret.end == range.end,
                is_encoded: false,
                range: secret,
            };
            self.waiting.push(Waiting { matched, finding, is_judged: false });
        }
    }

    /// Decides what its line, and rules that it requires, have a say in.
    fn settle(&mut self, work: &Work<'_>, text: Part<'_>, is_final: bool, out: &mut Vec<Finding>) {
        if self.waiting.is_empty() && self.seen.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        for one in waiting {
            match self.settled(work, text, is_final, &one) {
                Some(true) => out.push(one.finding),
                Some(false) => {}
                None => self.waiting.push(one),
            }
        }
        let kept = self.at.saturating_sub(3 * REQUIRED_BYTES_MAX);
        self.seen.retain(|(_, at)| *at >= kept);
    }

    /// Whether it is a secret; `None` until more text has come.
    fn settled(&self, work: &Work<'_>, text: Part<'_>, is_final: bool, one: &Waiting) -> Option<bool> {
        let rule = work.set.rules.get(one.finding.rule.0 as usize)?;
        let ahead = one.matched.end.saturating_add(LINE_BYTES_MAX);
        let rest = text.get(one.matched.end..ahead);
        let end = match memchr::memchr(b'\n', rest) {
            Some(at) => one.matched.end.saturating_add(at),
            None if is_final || text.end() >= ahead => one.matched.end.saturating_add(rest.len()),
            None => return None,
        };
        let line = text.get(line_start(text, one.matched.start)..end);
        if judge::has_allow_remark(line) {
            return Some(false);
        }
        if one.is_judged {
            return Some(true);
        }
        if judge::is_allowed_by_line(rule, &work.set.global, line, text.get(one.finding.range.clone())) {
            return Some(false);
        }
        self.is_accompanied(rule, text, is_final, one)
    }

    /// Whether all rules that it requires have matched nearby; `None` until more text has come.
    fn is_accompanied(&self, rule: &Compiled, text: Part<'_>, is_final: bool, one: &Waiting) -> Option<bool> {
        if rule.required.is_empty() {
            return Some(true);
        }
        let start = one.matched.start;
        let ahead = one.matched.end.saturating_add(REQUIRED_BYTES_MAX);
        let is_open = rule.required.iter().any(|needed| self.tasks.iter().any(|task| task.rule == needed.rule));
        if !is_final && (text.end() < ahead || is_open) {
            return None;
        }
        let near = start.saturating_sub(REQUIRED_BYTES_MAX)..ahead;
        let column = |at: usize| at.saturating_sub(line_start(text, at));
        Some(rule.required.iter().all(|needed| {
            let mut seen = self.seen.iter().filter(|(rule, at)| *rule == needed.rule && near.contains(at));
            seen.any(|(_, at)| {
                let between = text.get(start.min(*at)..start.max(*at));
                let lines = memchr::memchr_iter(b'\n', between).count();
                needed.lines.is_none_or(|max| lines <= max)
                    && needed.columns.is_none_or(|max| column(start).abs_diff(column(*at)) <= max)
            })
        }))
    }
}

/// Where the line of `at` begins, or how much of it is looked at.
fn line_start(text: Part<'_>, at: usize) -> usize {
    let before = text.get(at.saturating_sub(LINE_BYTES_MAX)..at);
    let cut = memchr::memrchr(b'\n', before).map_or(0, |found| found.saturating_add(1));
    at.saturating_sub(before.len().saturating_sub(cut))
}

/// From where on the bytes before `at` may be the beginning of a secret whose keyword has not come.
fn before(set: &RuleSet, text: Part<'_>, at: usize) -> usize {
    let mut hold = at;
    for (max, bytes) in &set.before {
        let reach = text.get(at.saturating_sub(*max)..at);
        let run = reach.iter().rev().take_while(|byte| bytes.has(**byte)).count();
        hold = hold.min(at.saturating_sub(run));
    }
    hold
}

fn trimmed(text: Part<'_>, range: Range<usize>) -> Range<usize> {
    let bytes = text.get(range.clone());
    let is_end = |byte: &&u8| **byte == b'\n';
    let head = bytes.iter().take_while(is_end).count();
    let tail = bytes.iter().skip(head).rev().take_while(is_end).count();
    range.start.saturating_add(head)..range.end.saturating_sub(tail)
}
