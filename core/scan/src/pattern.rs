//! One expression, compiled: tried at one place of a text of which more may come.
//!
//! The automaton is stepped by hand, since what a stream must know is not only whether there is a match, but whether there may be one yet.
//! It is built lazily: a counted expression such as `[\w.-]{0,50}?key` would fill megabytes if built whole, and text visits a few states.

use regex_automata::{
    Anchored, Input, MatchKind,
    hybrid::dfa::{self, DFA},
    nfa::thompson::{self, NFA, State, pikevm::PikeVM},
    util::primitives::StateID,
};
use regex_syntax::{
    ParserBuilder,
    hir::{Class, Hir, HirKind},
};

use crate::syntax;

/// An expression in a file is a few hundred bytes; the official file's longest has 1,400.
pub(crate) const REGEX_BYTES_MAX: usize = 16 * 1024;
/// The largest expression of the official file takes a quarter of this.
const NFA_BYTES_MAX: usize = 4 * 1024 * 1024;
/// States that one thread keeps of one expression; more are made anew.
const CACHE_BYTES_MAX: usize = 256 * 1024;
/// A longer prefix stays part of the automaton.
const PREFIX_BYTES_MAX: u32 = 128;
/// Parsing recurses this deep.
const NESTING_MAX: u32 = 100;

/// What came of trying an expression at one place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tried {
    /// No match begins here, whatever follows. `seen` bytes decided it.
    Dead { seen: usize, is_capped: bool },
    /// A match from here ends there.
    Match { end: usize, is_capped: bool },
    /// More text decides.
    Alive,
}

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Pattern {
    dfa: DFA,
    captures: PikeVM,
    /// How many groups it has, without the whole match.
    groups: usize,
    /// How long a match can be; `None`: without bound.
    pub(crate) len_max: Option<usize>,
    /// The bytes that a match can begin with.
    first: Bytes,
    /// The bytes that a match can hold.
    any: Bytes,
    /// What may stand before it, and is not needed to find it.
    prefix: Option<Prefix>,
}

/// A lazy repetition at the beginning of an expression, such as `[\w.-]{0,50}?`: whatever its count, the rest matches at the same places, so
/// it is left out of the automaton, which would need a state for each count, and put before the match once there is one.
#[derive(Clone, Copy, Debug)]
struct Prefix {
    bytes: Bytes,
    max: usize,
}

/// A set of bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes([bool; 256]);

/// An expression cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Uncompiled {
    #[error("it has more than {REGEX_BYTES_MAX} bytes")]
    TooLong,
    #[error("it does not parse: {0}")]
    Syntax(String),
    #[error("it is too large once compiled: {0}")]
    TooLarge(String),
    #[error("it matches where there is nothing")]
    Empty,
}

// === impl Pattern ===

impl Pattern {
    /// Parses and compiles an expression of Go's syntax. What is returned beside it lacks the prefix.
    pub(crate) fn compile(go: &str) -> Result<(Self, Hir), Uncompiled> {
        let (prefix, hir) = Prefix::split(parse(go)?);
        if hir.properties().minimum_len().unwrap_or(0) == 0 {
            return Err(Uncompiled::Empty);
        }
        let large = |error: String| Uncompiled::TooLarge(error);
        let nfa = thompson::Compiler::new()
            .configure(NFA::config().utf8(false).nfa_size_limit(Some(NFA_BYTES_MAX)))
            .build_from_hir(&hir)
            .map_err(|error| large(error.to_string()))?;
        let (first, any) = (first(&nfa), any(&nfa));
        let config = DFA::config()
            .match_kind(MatchKind::LeftmostFirst)
            .cache_capacity(CACHE_BYTES_MAX)
            .skip_cache_capacity_check(true);
        let dfa =
            DFA::builder().configure(config).build_from_nfa(nfa.clone()).map_err(|error| large(error.to_string()))?;
        let captures = PikeVM::new_from_nfa(nfa).map_err(|error| large(error.to_string()))?;
        let groups = hir.properties().explicit_captures_len();
        Ok((Self { dfa, captures, groups, len_max: hir.properties().maximum_len(), first, any, prefix }, hir))
    }

    pub(crate) fn create_cache(&self) -> dfa::Cache {
        self.dfa.create_cache()
    }

    /// How many groups it has.
    pub(crate) const fn groups(&self) -> usize {
        self.groups
    }

    /// Bytes of memory, without caches.
    pub(crate) fn memory(&self) -> usize {
        self.dfa.memory_usage().saturating_add(size_of::<Self>())
    }

    /// The first of these places at which a match can begin.
    pub(crate) fn first_of(&self, places: &[u8]) -> Option<usize> {
        places.iter().position(|byte| self.first.has(*byte))
    }

    /// The bytes that a match can hold.
    pub(crate) const fn bytes(&self) -> &Bytes {
        &self.any
    }

    /// Tries it at `start` of a text of which more comes, unless `is_final`, for a match of at most `len_max` bytes.
    pub(crate) fn attempt(
        &self,
        cache: &mut dfa::Cache,
        text: &[u8],
        start: usize,
        len_max: usize,
        is_final: bool,
    ) -> Tried {
        let bound = start.saturating_add(len_max);
        let end = text.len().min(bound);
        let mut matched = None;
        let decided = |matched: Option<usize>, at: usize, is_capped: bool| match matched {
            Some(end) => Tried::Match { end, is_capped },
            None => Tried::Dead { seen: at.saturating_sub(start), is_capped },
        };
        let input = Input::new(text).range(start..end).anchored(Anchored::Yes);
        let Ok(mut state) = self.dfa.start_state_forward(cache, &input) else { return decided(None, start, true) };
        for (at, byte) in (start..end).zip(text.get(start..end).unwrap_or_default()) {
            let Ok(next) = self.dfa.next_state(cache, state, *byte) else { return decided(matched, at, true) };
            state = next;
            if state.is_tagged() {
                if state.is_match() {
                    matched = Some(at);
                } else if state.is_dead() || state.is_quit() {
                    return decided(matched, at, false);
                }
            }
        }
        // Whether a match ends at `end` shows one step behind it.
        let last = match text.get(end) {
            Some(byte) => self.dfa.next_state(cache, state, *byte),
            None if is_final => self.dfa.next_eoi_state(cache, state),
            None => return Tried::Alive,
        };
        let Ok(last) = last else { return decided(matched, end, true) };
        if last.is_match() {
            matched = Some(end);
        }
        decided(matched, end, end == bound && !last.is_dead())
    }

    /// Where a match that was found at `start` begins with its prefix, at `floor` at the earliest.
    pub(crate) fn beginning(&self, text: &[u8], start: usize, floor: usize) -> usize {
        let Some(prefix) = &self.prefix else { return start };
        let before = text.get(floor.max(start.saturating_sub(prefix.max))..start).unwrap_or_default();
        start.saturating_sub(before.iter().rev().take_while(|byte| prefix.bytes.has(**byte)).count())
    }

    /// The secret within the match `start..end`: the group that is asked for, or the first that took part.
    pub(crate) fn secret(&self, text: &[u8], start: usize, end: usize, group: usize) -> Option<(usize, usize)> {
        if self.groups == 0 {
            return Some((start, end));
        }
        let mut captures = self.captures.create_captures();
        let input = Input::new(text).range(start..end).anchored(Anchored::Yes);
        self.captures.captures(&mut self.captures.create_cache(), input, &mut captures);
        if !captures.is_match() {
            return Some((start, end));
        }
        let span = |group| captures.get_group(group).map(|span| (span.start, span.end));
        if group > 0 {
            return span(group);
        }
        (1..=self.groups).filter_map(span).find(|(start, end)| start < end).or(Some((start, end)))
    }
}

/// Parses an expression of Go's syntax.
pub(crate) fn parse(go: &str) -> Result<Hir, Uncompiled> {
    if go.len() > REGEX_BYTES_MAX {
        return Err(Uncompiled::TooLong);
    }
    ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .nest_limit(NESTING_MAX)
        .build()
        .parse(&syntax::translated(go))
        .map_err(|error| Uncompiled::Syntax(reason(&error)))
}

/// The reason alone: an error of the parser draws the whole expression.
fn reason(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        other => other.to_string(),
    }
}

// === impl Prefix ===

impl Prefix {
    /// Splits it off an expression that has one.
    fn split(hir: Hir) -> (Option<Self>, Hir) {
        let HirKind::Concat(items) = hir.kind() else { return (None, hir) };
        let Some((HirKind::Repetition(first), rest)) = items.split_first().map(|(first, rest)| (first.kind(), rest))
        else {
            return (None, hir);
        };
        let (0, Some(max @ ..=PREFIX_BYTES_MAX), false) = (first.min, first.max, first.greedy) else {
            return (None, hir);
        };
        let HirKind::Class(Class::Bytes(class)) = first.sub.kind() else { return (None, hir) };
        let mut bytes = Bytes::none();
        class.iter().for_each(|range| bytes.add(range.start()..=range.end()));
        (Some(Self { bytes, max: max as usize }), Hir::concat(rest.to_vec()))
    }
}

// === impl Bytes ===

impl Bytes {
    pub(crate) const fn none() -> Self {
        Self([false; 256])
    }

    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).copied().unwrap_or(false)
    }

    pub(crate) fn add(&mut self, range: std::ops::RangeInclusive<u8>) {
        for byte in range {
            if let Some(slot) = self.0.get_mut(usize::from(byte)) {
                *slot = true;
            }
        }
    }
}

fn any(nfa: &NFA) -> Bytes {
    let mut bytes = Bytes::none();
    // The loop before the expression, for searches from anywhere, takes every byte and is no part of it.
    let prefix = prefix_states(nfa);
    for (at, state) in nfa.states().iter().enumerate() {
        if !prefix.contains(&at) {
            add_bytes(state, &mut bytes);
        }
    }
    bytes
}

fn prefix_states(nfa: &NFA) -> Vec<usize> {
    let (anchored, mut found, mut next) = (nfa.start_anchored(), Vec::new(), vec![nfa.start_unanchored()]);
    while let Some(id) = next.pop() {
        if id == anchored || found.contains(&id.as_usize()) {
            continue;
        }
        found.push(id.as_usize());
        match nfa.state(id) {
            State::ByteRange { trans } => next.push(trans.next),
            other => follow(other, &mut next),
        }
    }
    found
}

fn first(nfa: &NFA) -> Bytes {
    let mut bytes = Bytes::none();
    let mut seen = vec![false; nfa.states().len()];
    let mut next = vec![nfa.start_anchored()];
    while let Some(id) = next.pop() {
        let Some(slot) = seen.get_mut(id.as_usize()) else { continue };
        if !std::mem::replace(slot, true) {
            let state = nfa.state(id);
            add_bytes(state, &mut bytes);
            follow(state, &mut next);
        }
    }
    bytes
}

fn add_bytes(state: &State, bytes: &mut Bytes) {
    match state {
        State::ByteRange { trans } => bytes.add(trans.start..=trans.end),
        State::Sparse(sparse) => sparse.transitions.iter().for_each(|trans| bytes.add(trans.start..=trans.end)),
        State::Dense(dense) => {
            for byte in 0..=u8::MAX {
                if dense.matches_byte(byte).is_some() {
                    bytes.add(byte..=byte);
                }
            }
        }
        _ => {}
    }
}

/// The states that are reached without a byte.
fn follow(state: &State, next: &mut Vec<StateID>) {
    match state {
        State::Look { next: to, .. } | State::Capture { next: to, .. } => next.push(*to),
        State::Union { alternates } => next.extend(alternates.iter()),
        State::BinaryUnion { alt1, alt2 } => next.extend([*alt1, *alt2]),
        _ => {}
    }
}
