//! Which names a list of patterns admits. `*` stands for any run of characters, a leading `!` denies.

use std::{iter, sync::Arc};

/// The longest pattern, in bytes.
pub const PATTERN_LENGTH_MAX: usize = 200;
/// The most patterns in one list.
pub const PATTERNS_MAX: usize = 200;

/// One pattern without its `!`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Pattern(Arc<str>);

/// A list of patterns: a name is admitted when some pattern allows it and none denies it. An empty list admits every name,
/// and a list of denials alone admits what it does not deny.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Patterns {
    allow: Arc<[Pattern]>,
    deny: Arc<[Pattern]>,
}

/// A list that is not one of patterns.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidPattern {
    /// One of the patterns is empty, too long, or has control or white-space characters.
    #[error("pattern {0:?} must be 1 to 200 visible characters")]
    Shape(String),
    /// There are too many.
    #[error("at most 200 patterns are allowed")]
    TooMany,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Refuses what is empty, longer than 200 bytes, or has characters that are not visible ASCII.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() || text.len() > PATTERN_LENGTH_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidPattern::Shape(text.chars().take(PATTERN_LENGTH_MAX).collect()));
        }
        Ok(Self(Arc::from(text)))
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `name` matches. Takes time linear in the name for each `*`, whatever the pattern.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return *self.0 == *name };
        let Some(mut left) = name.strip_prefix(head) else { return false };
        let Some((middle, tail)) = rest.rsplit_once('*') else {
            return left.ends_with(rest);
        };
        // Taking each middle part at its first place leaves the most for those that follow.
        for part in middle.split('*').filter(|part| !part.is_empty()) {
            let Some(at) = left.find(part) else { return false };
            left = left.get(at + part.len()..).unwrap_or_default();
        }
        left.ends_with(tail)
    }
}

impl Patterns {
    /// Parses a list.
    ///
    /// # Errors
    /// Names the first pattern that is not one.
    pub fn parse<T: AsRef<str>>(list: &[T]) -> Result<Self, InvalidPattern> {
        if list.len() > PATTERNS_MAX {
            return Err(InvalidPattern::TooMany);
        }
        let (mut allow, mut deny) = (Vec::new(), Vec::new());
        for text in list.iter().map(AsRef::as_ref) {
            match text.strip_prefix('!') {
                Some(denied) => deny.push(Pattern::parse(denied)?),
                None => allow.push(Pattern::parse(text)?),
            }
        }
        Ok(Self { allow: allow.into(), deny: deny.into() })
    }

    /// Whether the list is empty, and so admits every name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// The list as [`Self::parse`] reads it: what it allows, then what it denies.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let denied = self.deny.iter().map(|pattern| format!("!{}", pattern.as_str()));
        self.allow.iter().map(|pattern| pattern.as_str().to_owned()).chain(denied).collect()
    }

    /// What it allows; empty: whatever it does not deny.
    #[must_use]
    pub fn allowed(&self) -> &[Pattern] {
        &self.allow
    }

    /// What it denies.
    #[must_use]
    pub fn denied(&self) -> &[Pattern] {
        &self.deny
    }

    /// The names that it allows and does not deny, as far as it spells them out.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.allow.iter().map(|pattern| &pattern.0).filter(|name| !name.contains('*') && self.admit(name))
    }

    /// Whether the list admits the name.
    #[must_use]
    pub fn admit(&self, name: &str) -> bool {
        let allowed = self.allow.is_empty() || self.allow.iter().any(|pattern| pattern.matches(name));
        allowed && !self.deny.iter().any(|pattern| pattern.matches(name))
    }

    /// Tells lists apart, by what is written and in which order: FNV-1a of 64 bits, the same on every replica and in every
    /// version. Not for lists that are chosen to collide.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let allowed = self.allow.iter().map(|pattern| (b' ', pattern));
        let denied = self.deny.iter().map(|pattern| (b'!', pattern));
        let bytes = allowed.chain(denied).flat_map(|(mark, pattern)| iter::once(mark).chain(pattern.as_str().bytes()));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run() {
        for (pattern, name, expect) in [
            ("claude-*", "claude-opus-5-5", true),
            ("claude-*", "claude", false),
            ("*", "", true),
            ("a*b", "ab", true),
            ("a*b", "aXb", true),
            ("a*b", "aXc", false),
            ("a*a", "a", false),
            ("*sonnet*", "claude-sonnet-5", true),
            ("a*b*c", "abbc", true),
            ("a*bc*c", "abc", false),
            ("**", "anything", true),
            ("exact", "exact", true),
            ("exact", "exactly", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(name), expect, "{pattern} {name}");
        }
    }

    #[test]
    fn a_fingerprint_tells_lists_apart() {
        let of = |list: &[&str]| Patterns::parse(list).unwrap().fingerprint();
        assert_eq!(of(&[]), 0xcbf2_9ce4_8422_2325);
        let lists: [&[&str]; 6] = [&[], &["a"], &["!a"], &["ab"], &["a", "b"], &["b", "a"]];
        for (at, list) in lists.iter().enumerate() {
            assert!(lists.iter().skip(at + 1).all(|other| of(other) != of(list)), "{list:?}");
        }
    }

    #[test]
    fn a_denial_wins_and_an_empty_list_admits() {
        let check = |list: &[&str], name: &str, expect: bool| {
            assert_eq!(Patterns::parse(list).unwrap().admit(name), expect, "{list:?} {name}");
        };
        check(&[], "claude-opus-5-5", true);
        check(&["claude-*", "!*opus*"], "claude-opus-5-5", false);
        check(&["claude-*", "!*opus*"], "claude-sonnet-5-5", true);
        check(&["!*opus*"], "gpt-5", true);
        check(&["claude-*"], "gpt-5", false);
        assert!(
            Patterns::parse(&[""]).is_err() && Patterns::parse(&["!"]).is_err() && Patterns::parse(&["a b"]).is_err()
        );
    }
}
