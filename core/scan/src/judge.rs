//! Decides whether a match is a secret: entropy, allow-lists, checksums, remarks on its line.

use aho_corasick::AhoCorasick;
use regex_automata::{Input, meta};

use crate::{
    checksum::{self, Verdict},
    placeholder,
    rule::{Condition, Target},
    set::Compiled,
};

/// A remark on the line of a secret that says: this is meant to be here.
const ALLOW_REMARKS: [&[u8]; 2] = [b"tollgate:allow", b"gitleaks:allow"];

/// A compiled list of what is allowed.
#[derive(Debug)]
pub(crate) struct AllowList {
    pub(crate) condition: Condition,
    pub(crate) target: Target,
    pub(crate) regexes: Option<meta::Regex>,
    pub(crate) stop_words: Option<AhoCorasick>,
}

/// Whether a match is a secret, as far as its line has no say in it.
pub(crate) fn is_secret(rule: &Compiled, global: &[AllowList], matched: &[u8], secret: &[u8]) -> bool {
    let allows = |list: &AllowList| match list.target {
        Target::Secret => list.allows(secret, secret),
        Target::Match => list.allows(matched, secret),
        Target::Line => false,
    };
    !secret.is_empty()
        && (rule.entropy == 0.0 || entropy(secret) > rule.entropy)
        && !placeholder::is_all(secret)
        && !global.iter().chain(rule.allow.iter().map(AsRef::as_ref)).any(allows)
        && !is_refuted(rule, secret)
}

/// Whether the line of a secret allows it.
pub(crate) fn is_allowed_by_line(rule: &Compiled, global: &[AllowList], line: &[u8], secret: &[u8]) -> bool {
    let allows = |list: &AllowList| list.target == Target::Line && list.allows(line, secret);
    global.iter().chain(rule.allow.iter().map(AsRef::as_ref)).any(allows)
}

/// Whether the line carries the remark that allows.
pub(crate) fn has_allow_remark(line: &[u8]) -> bool {
    ALLOW_REMARKS.iter().any(|remark| memchr::memmem::find(line, remark).is_some())
}

fn is_refuted(rule: &Compiled, secret: &[u8]) -> bool {
    std::str::from_utf8(secret).is_ok_and(|secret| checksum::verify(&rule.id, secret) == Verdict::Invalid)
}

/// Shannon entropy in bits a character, as Gitleaks counts it: characters over bytes.
pub(crate) fn entropy(secret: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in secret {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count = count.saturating_add(1);
        }
    }
    let all = f64::from(u32::try_from(secret.len()).unwrap_or(u32::MAX).max(1));
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / all)
        .map(|share| -share * share.log2())
        .sum()
}

// === impl AllowList ===

impl AllowList {
    pub(crate) fn memory(&self) -> usize {
        let regexes = self.regexes.as_ref().map_or(0, meta::Regex::memory_usage);
        regexes.saturating_add(self.stop_words.as_ref().map_or(0, AhoCorasick::memory_usage))
    }

    fn allows(&self, target: &[u8], secret: &[u8]) -> bool {
        let by_regex = self.regexes.as_ref().map(|regexes| regexes.is_match(Input::new(target)));
        let by_word = self.stop_words.as_ref().map(|words| words.is_match(secret));
        let mut criteria = [by_regex, by_word].into_iter().flatten();
        match self.condition {
            Condition::Any => criteria.any(|holds| holds),
            Condition::All => criteria.all(|holds| holds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_shannons() {
        for (secret, bits) in [("", 0.0), ("aaaa", 0.0), ("abab", 1.0), ("abcd", 2.0), ("0123456789abcdef", 4.0)] {
            assert!((entropy(secret.as_bytes()) - bits).abs() < 1e-9, "{secret}");
        }
    }
}
