//! Where, in whatever an expression matches, its keywords stand, and where its secret begins: read from the parsed expression.
//!
//! An expression is run only around its keywords. That finds the same as running it over the whole text if, and only if, each match holds
//! a keyword at a bounded distance from its beginning. Whether that is so is decided here, never assumed. Words for an expression that
//! came without keywords are derived in the same way.

use std::collections::BTreeSet;

use regex_syntax::hir::{Capture, Class, Hir, HirKind, Repetition};

/// Sets of words above this are not written out.
const WORDS_MAX: usize = 256;
/// A derived word shorter than this would stand nearly everywhere.
const DERIVED_BYTES_MIN: usize = 3;
/// How many words may be derived for one expression.
const DERIVED_MAX: usize = 64;

/// Where a keyword stands in a match.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Lead {
    /// At least so many bytes stand before it.
    pub(crate) min: usize,
    /// At most so many; `None`: any number.
    pub(crate) max: Option<usize>,
    /// Where the secret begins.
    pub(crate) secret: Begins,
}

/// Where the secret begins, beside the keyword.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Begins {
    /// Behind the keyword.
    Behind,
    /// At most so many bytes before it; `None`: any number.
    Before(Option<usize>),
}

/// Finds where one of `keywords`, in lower case, stands in each match of `hir`; `None` when a match may be without any.
/// `group` is the group of the secret, 0 for the first that took part.
pub(crate) fn lead(hir: &Hir, keywords: &[String], group: usize) -> Option<Lead> {
    let wanted = |words: &BTreeSet<Vec<u8>>| -> Option<(usize, usize)> {
        let mut bounds = (usize::MAX, 0);
        for word in words {
            let found = keywords.iter().filter_map(|keyword| position(word, keyword.as_bytes())).min()?;
            bounds = (bounds.0.min(found), bounds.1.max(found));
        }
        (!words.is_empty()).then_some(bounds)
    };
    locate(hir, group, &wanted)
}

/// Words of which each match holds one: the longest set that the expression demands; empty where it demands none.
pub(crate) fn derived(hir: &Hir) -> Vec<String> {
    let mut best: BTreeSet<Vec<u8>> = BTreeSet::new();
    let shortest = |words: &BTreeSet<Vec<u8>>| words.iter().map(Vec::len).min().unwrap_or(0);
    // A longer word stands in fewer places, and twice as many words in twice as many.
    let worth = |words: &BTreeSet<Vec<u8>>| shortest(words).saturating_sub(words.len().max(1).ilog2() as usize);
    each_window(hir, &mut |words| {
        let is_fit = words.len() <= DERIVED_MAX && words.iter().all(|word| word.is_ascii());
        if is_fit && worth(words) > worth(&best) {
            best.clone_from(words);
        }
    });
    if shortest(&best) < DERIVED_BYTES_MIN {
        return Vec::new();
    }
    best.into_iter().filter_map(|word| String::from_utf8(word).ok()).collect()
}

fn each_window(hir: &Hir, sink: &mut impl FnMut(&BTreeSet<Vec<u8>>)) {
    if let Some(words) = finite(hir) {
        return sink(&words);
    }
    match hir.kind() {
        HirKind::Capture(Capture { sub, .. }) => each_window(sub, sink),
        HirKind::Repetition(Repetition { min: 1.., sub, .. }) => each_window(sub, sink),
        HirKind::Concat(items) => {
            for at in 0..items.len() {
                windows(items, at, |_, words| {
                    sink(words);
                    false
                });
                if let Some(item) = items.get(at).filter(|item| finite(item).is_none()) {
                    each_window(item, sink);
                }
            }
        }
        _ => {}
    }
}

/// Hands out the sets of words that the items from `first` on spell together, longer and longer, until one is taken.
fn windows(items: &[Hir], first: usize, mut take: impl FnMut(usize, &BTreeSet<Vec<u8>>) -> bool) {
    let mut words = BTreeSet::from([Vec::new()]);
    for (at, item) in items.iter().enumerate().skip(first) {
        let Some(joined) = finite(item).and_then(|next| product(&words, &next)) else {
            // What the next one must begin with still belongs to it.
            if let Some(words) = beginning(item).and_then(|next| product(&words, &next)) {
                take(at, &words);
            }
            return;
        };
        words = joined;
        if take(at, &words) {
            return;
        }
    }
}

type Wanted<'a> = dyn Fn(&BTreeSet<Vec<u8>>) -> Option<(usize, usize)> + 'a;

fn locate(hir: &Hir, group: usize, wanted: &Wanted<'_>) -> Option<Lead> {
    match hir.kind() {
        HirKind::Capture(capture) => {
            let lead = locate(&capture.sub, group, wanted)?;
            let secret = if is_secret(capture, group) { Begins::Before(lead.max) } else { lead.secret };
            Some(Lead { secret, ..lead })
        }
        HirKind::Repetition(Repetition { min: 1.., sub, .. }) => locate(sub, group, wanted),
        HirKind::Alternation(branches) => {
            let mut leads = branches.iter().map(|branch| locate(branch, group, wanted));
            let first = leads.next()??;
            leads.try_fold(first, |one, other| other.map(|other| either(one, other)))
        }
        HirKind::Concat(items) => in_concat(items, group, wanted),
        _ => {
            let (min, max) = wanted(&finite(hir)?)?;
            Some(Lead { min, max: Some(max), secret: Begins::Before(Some(max)) })
        }
    }
}

fn in_concat(items: &[Hir], group: usize, wanted: &Wanted<'_>) -> Option<Lead> {
    let (mut before_min, mut before_max) = (0_usize, Some(0_usize));
    for (at, item) in items.iter().enumerate() {
        let mut found = None;
        windows(items, at, |last, words| {
            found = wanted(words).map(|bounds| (last, bounds));
            found.is_some()
        });
        let inner = match found {
            Some((last, (min, max))) => Some((last, Lead { min, max: Some(max), secret: Begins::Before(Some(max)) })),
            None => locate(item, group, wanted).map(|lead| (at, lead)),
        };
        if let Some((last, lead)) = inner {
            let max = before_max.zip(lead.max).map(|(before, inner)| before.saturating_add(inner));
            let holds = |part: Option<&[Hir]>| part.unwrap_or_default().iter().any(|item| has_secret(item, group));
            let secret = if found.is_none() && holds(items.get(at..=last)) {
                lead.secret
            } else if !holds(items.get(..=last))
                && items.iter().skip(last.saturating_add(1)).any(|item| takes(item, group))
            {
                Begins::Behind
            } else {
                Begins::Before(max)
            };
            return Some(Lead { min: before_min.saturating_add(lead.min), max, secret });
        }
        before_min = before_min.saturating_add(item.properties().minimum_len().unwrap_or(0));
        before_max = before_max.zip(item.properties().maximum_len()).map(|(one, two)| one.saturating_add(two));
    }
    None
}

fn either(one: Lead, other: Lead) -> Lead {
    let wider = |one: Option<usize>, other: Option<usize>| one.zip(other).map(|(one, other)| one.max(other));
    let secret = match (one.secret, other.secret) {
        (Begins::Behind, other) => other,
        (one, Begins::Behind) => one,
        (Begins::Before(one), Begins::Before(other)) => Begins::Before(wider(one, other)),
    };
    Lead { min: one.min.min(other.min), max: wider(one.max, other.max), secret }
}

fn is_secret(capture: &Capture, group: usize) -> bool {
    group == 0 || usize::try_from(capture.index) == Ok(group)
}

/// Whether the group of the secret takes part in each match of `hir`. Where it need not, the whole match may be the secret.
fn takes(hir: &Hir, group: usize) -> bool {
    match hir.kind() {
        HirKind::Capture(capture) => {
            (is_secret(capture, group) && capture.sub.properties().minimum_len() > Some(0))
                || takes(&capture.sub, group)
        }
        HirKind::Repetition(Repetition { min: 1.., sub, .. }) => takes(sub, group),
        HirKind::Concat(items) => items.iter().any(|item| takes(item, group)),
        HirKind::Alternation(branches) => branches.iter().all(|branch| takes(branch, group)),
        _ => false,
    }
}

fn has_secret(hir: &Hir, group: usize) -> bool {
    match hir.kind() {
        HirKind::Capture(capture) => is_secret(capture, group) || has_secret(&capture.sub, group),
        HirKind::Repetition(repetition) => has_secret(&repetition.sub, group),
        HirKind::Concat(items) | HirKind::Alternation(items) => items.iter().any(|item| has_secret(item, group)),
        _ => false,
    }
}

/// What each match of `hir` begins with, where that is not much, though the whole may be.
fn beginning(hir: &Hir) -> Option<BTreeSet<Vec<u8>>> {
    match hir.kind() {
        HirKind::Capture(capture) => beginning(&capture.sub),
        HirKind::Repetition(Repetition { min: 1.., sub, .. }) => finite(sub).or_else(|| beginning(sub)),
        HirKind::Concat(items) => {
            let mut words = None;
            windows(items, 0, |_, found| {
                words = Some(found.clone());
                false
            });
            words
        }
        _ => None,
    }
}

/// All that `hir` matches, in lower case, where that is not much.
fn finite(hir: &Hir) -> Option<BTreeSet<Vec<u8>>> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(BTreeSet::from([Vec::new()])),
        HirKind::Literal(literal) => Some(BTreeSet::from([literal.0.to_ascii_lowercase()])),
        HirKind::Class(class) => letters(class),
        HirKind::Capture(capture) => finite(&capture.sub),
        HirKind::Concat(items) => {
            items.iter().try_fold(BTreeSet::from([Vec::new()]), |words, item| product(&words, &finite(item)?))
        }
        HirKind::Alternation(branches) => branches.iter().try_fold(BTreeSet::new(), |mut words, branch| {
            words.append(&mut finite(branch)?);
            (words.len() <= WORDS_MAX).then_some(words)
        }),
        HirKind::Repetition(repetition) => repeated(repetition),
    }
}

fn repeated(Repetition { min, max, sub, .. }: &Repetition) -> Option<BTreeSet<Vec<u8>>> {
    let (once, max) = (finite(sub)?, (*max)?);
    let mut words = BTreeSet::from([Vec::new()]);
    let mut all = BTreeSet::new();
    for count in 0..=max.min(u32::from(u8::MAX)) {
        if count >= *min {
            all.extend(words.iter().cloned());
        }
        if count < max {
            words = product(&words, &once)?;
        }
    }
    (all.len() <= WORDS_MAX).then_some(all)
}

fn letters(class: &Class) -> Option<BTreeSet<Vec<u8>>> {
    let Class::Bytes(class) = class else { return None };
    let bytes = class.iter().flat_map(|range| range.start()..=range.end());
    let set: BTreeSet<Vec<u8>> = bytes.take(WORDS_MAX).map(|byte| vec![byte.to_ascii_lowercase()]).collect();
    (set.len() <= WORDS_MAX / 16).then_some(set)
}

fn product(one: &BTreeSet<Vec<u8>>, other: &BTreeSet<Vec<u8>>) -> Option<BTreeSet<Vec<u8>>> {
    if one.len().saturating_mul(other.len()) > WORDS_MAX {
        return None;
    }
    Some(one.iter().flat_map(|head| other.iter().map(move |tail| [head.as_slice(), tail].concat())).collect())
}

fn position(word: &[u8], keyword: &[u8]) -> Option<usize> {
    memchr::memmem::find(word, keyword)
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex_syntax::ParserBuilder;

    fn parsed(regex: &str) -> Hir {
        ParserBuilder::new().unicode(false).utf8(false).build().parse(regex).unwrap()
    }

    #[test]
    fn where_a_keyword_stands_is_read_from_the_expression() {
        let before = |max| Begins::Before(Some(max));
        let at = |min, max, secret| Some(Lead { min, max: Some(max), secret });
        for (regex, keywords, group, expect) in [
            (r"\bAK[A-Z]{3}", vec!["ak"], 0, at(0, 0, before(0))),
            (r"\b((?:AKIA|ASIA)[A-Z]{16})\b", vec!["akia", "asia"], 0, at(0, 0, before(0))),
            (r"(?i)[\w.-]{0,50}?(?:adafruit)\s{0,3}=([a-z]{4})", vec!["adafruit"], 0, at(0, 50, Begins::Behind)),
            (r"(?:https?://)?hooks\.example\.com/([a-z]+)", vec!["hooks.example.com"], 0, at(0, 8, Begins::Behind)),
            (r"(?:https?://)?hooks\.example\.com/[a-z]+", vec!["hooks.example.com"], 0, at(0, 8, before(8))),
            (r"key=([a-z]{2}/)?[a-z]{8}", vec!["key"], 0, at(0, 0, before(0))),
            (r"id=([a-z]{14}\.atlas\.[a-z]{5})", vec!["atlas"], 0, at(18, 18, before(15))),
            (r"([a-z]{4})-suffix", vec!["suffix"], 0, at(5, 5, before(5))),
            (r"(?i)(?:key|token)=(x)", vec!["key", "token"], 0, at(0, 0, Begins::Behind)),
            (r"(?i)(?:key|token)=(x)", vec!["key"], 0, None),
            (r"(?:sgp_[a-f]{4}|[a-f]{40})", vec!["sgp_"], 0, None),
            (r"(a(x))key", vec!["key"], 2, at(2, 2, before(2))),
            (r"xox[pe](?:-[0-9]{10}){3}", vec!["xoxp-", "xoxe-"], 0, at(0, 0, before(0))),
            (r".*key=(x)", vec!["key"], 0, Some(Lead { min: 0, max: None, secret: Begins::Behind })),
        ] {
            let keywords: Vec<String> = keywords.into_iter().map(str::to_owned).collect();
            assert_eq!(lead(&parsed(regex), &keywords, group), expect, "{regex}");
        }
    }

    #[test]
    fn words_are_derived_where_an_expression_demands_them() {
        for (regex, expect) in [
            (r"acme_[a-z]{8}", vec!["acme_"]),
            (r"(?i)acme_(live|test)_[0-9]+", vec!["acme_live_", "acme_test_"]),
            (r"[0-9]{16}", vec![]),
            (r"x?[0-9]+-(?:PROD|TEST)\b", vec!["-prod", "-test"]),
            (r"a|b", vec![]),
        ] {
            assert_eq!(derived(&parsed(regex)), expect, "{regex}");
        }
    }
}
