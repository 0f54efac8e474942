//! All keywords of all rules, sought in one pass whose state lives on between the pieces of a stream.

use std::collections::{BTreeMap, VecDeque};

use aho_corasick::{
    Anchored, MatchKind,
    automaton::{Automaton, StateID},
    dfa::DFA,
};

/// The automaton, and which rules a keyword belongs to.
#[derive(Debug)]
pub(crate) struct Keywords {
    /// `None` where there are no keywords.
    dfa: Option<DFA>,
    start: StateID,
    /// By number: the keyword, and the rules that have it.
    words: Vec<(String, Vec<u32>)>,
    /// By state: how many of the last bytes may yet become a keyword.
    depths: Vec<u8>,
    pub(crate) len_max: usize,
}

/// Where the pass stands.
pub(crate) type At = StateID;

// === impl Keywords ===

impl Keywords {
    /// Builds the automaton over `(keyword in lower case, rules)`.
    pub(crate) fn build(words: BTreeMap<String, Vec<u32>>) -> Result<Self, String> {
        let texts: Vec<&String> = words.keys().collect();
        let dfa = DFA::builder()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .build(&texts)
            .map_err(|error| error.to_string())?;
        let start = dfa.start_state(Anchored::No).map_err(|error| error.to_string())?;
        let depths = depths(&dfa, start);
        let len_max = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let words = words.into_iter().collect();
        Ok(Self { dfa: Some(dfa), start, words, depths, len_max })
    }

    /// One that finds nothing.
    pub(crate) const fn none() -> Self {
        Self { dfa: None, start: StateID::ZERO, words: Vec::new(), depths: Vec::new(), len_max: 0 }
    }

    /// All keywords.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|(word, _)| word.as_str())
    }

    pub(crate) const fn start(&self) -> At {
        self.start
    }

    /// How many of the bytes before `at` may yet become a keyword.
    pub(crate) fn depth(&self, at: At) -> usize {
        self.depths.get(at.as_usize()).copied().map_or(0, usize::from)
    }

    /// Goes over `bytes` and tells each keyword that ends in them: where it ends, its length, its rules.
    pub(crate) fn advance(&self, at: &mut At, bytes: &[u8], mut sink: impl FnMut(usize, usize, &[u32])) {
        let Some(dfa) = &self.dfa else { return };
        let mut state = *at;
        for (index, byte) in bytes.iter().enumerate() {
            state = dfa.next_state(Anchored::No, state, *byte);
            if dfa.is_special(state) && dfa.is_match(state) {
                for found in 0..dfa.match_len(state) {
                    if let Some((word, rules)) = self.words.get(dfa.match_pattern(state, found).as_usize()) {
                        sink(index.saturating_add(1), word.len(), rules);
                    }
                }
            }
        }
        *at = state;
    }

    pub(crate) fn memory(&self) -> usize {
        let words: usize =
            self.words.iter().map(|(_, rules)| 40_usize.saturating_add(rules.len().saturating_mul(4))).sum();
        self.dfa.as_ref().map_or(0, DFA::memory_usage).saturating_add(self.depths.len()).saturating_add(words)
    }
}

/// The depth of each state: breadth first, since the shortest text that leads to a state of such an automaton is what it has matched.
fn depths(dfa: &DFA, start: StateID) -> Vec<u8> {
    let mut depths: Vec<Option<u8>> = Vec::new();
    let mut next = VecDeque::from([(start, 0_u8)]);
    while let Some((state, depth)) = next.pop_front() {
        let index = state.as_usize();
        if depths.len() <= index {
            depths.resize(index.saturating_add(1), None);
        }
        let Some(slot) = depths.get_mut(index) else { continue };
        if slot.is_some() {
            continue;
        }
        *slot = Some(depth);
        for byte in 0..=u8::MAX {
            let to = dfa.next_state(Anchored::No, state, byte);
            if depths.get(to.as_usize()).copied().flatten().is_none() {
                next.push_back((to, depth.saturating_add(1)));
            }
        }
    }
    depths.into_iter().map(|depth| depth.unwrap_or(0)).collect()
}
