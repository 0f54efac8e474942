//! Hints that a definition wants to be looked at before it is approved.
//!
//! These are hints and no protection: whoever knows the list writes around it, and what is harmless can look alike. Pins, approval and
//! policy protect; a flag tells a person where to look first.

use std::{collections::BTreeMap, sync::LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use serde_json::Value;

use crate::{
    character::{Hidden, hidden, shown},
    list::Definition,
    path::Path,
};

/// Something that is unusual in a definition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Flag {
    /// What it is.
    pub kind: FlagKind,
    /// Where it stands, such as `inputSchema.properties.path.description`.
    pub place: String,
    /// The text around it, with what is hidden made visible; or the other name.
    pub shown: String,
}

/// What is unusual.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum FlagKind {
    /// A character that a person does not see, and a model reads.
    Hidden(Hidden),
    /// A phrase that tells a model what to do, rather than what the tool does.
    Instruction(&'static str),
    /// So much white space that what is behind it is not seen.
    Padding,
    /// A name that differs from another of the same list only in letter case, separators or letters that look alike.
    LookAlike,
}

/// The most flags that one definition gets.
pub const FLAGS_MAX: usize = 50;

/// So many characters stand around what was found.
const AROUND: usize = 40;

/// From so many characters of white space on, nobody scrolls on.
const PADDING_MIN: usize = 64;

/// What tells a model what to do. Small letters, single spaces.
const PHRASES: [&str; 42] = [
    "<important>",
    "</important>",
    "<system>",
    "<secret>",
    "<instructions>",
    "<|im_start|>",
    "<|system|>",
    "[system]",
    "[inst]",
    "system prompt",
    "system message",
    "ignore previous",
    "ignore all previous",
    "ignore the previous",
    "ignore any previous",
    "ignore prior instructions",
    "ignore your instructions",
    "disregard previous",
    "disregard all",
    "forget previous",
    "forget your instructions",
    "override your instructions",
    "new instructions:",
    "do not tell the user",
    "don't tell the user",
    "do not inform the user",
    "do not mention this",
    "do not mention that",
    "without telling the user",
    "without informing the user",
    "never reveal",
    "hide this from",
    "before using this tool",
    "before calling this tool",
    "before using any other tool",
    "before any other tool",
    "instead of using",
    "you must always",
    "~/.ssh",
    "id_rsa",
    "~/.aws",
    "mcp.json",
];

static SEARCH: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasickBuilder::new().match_kind(MatchKind::LeftmostLongest).build(PHRASES).ok());

/// What is unusual in a definition: in its name and in every text of it, whether a value or the name of a member, those of `_meta`
/// included. `icons` are left out.
#[must_use]
pub fn flags(definition: &Definition) -> Vec<Flag> {
    let mut found = Vec::new();
    look(&definition.value(), &mut Path::default(), &mut found);
    found.truncate(FLAGS_MAX);
    found
}

/// What is unusual in a text that a model reads, such as the instructions of a server.
#[must_use]
pub fn flags_of_text(place: &str, text: &str) -> Vec<Flag> {
    let mut found = Vec::new();
    look_at(text, place, &mut found);
    found.truncate(FLAGS_MAX);
    found
}

/// Names of one list that a person could take for each other: the index of each, and the flag, which shows the name that came first.
#[must_use]
pub fn look_alikes<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<(usize, Flag)> {
    let (mut first, mut found) = (BTreeMap::new(), Vec::new());
    for (index, name) in names.into_iter().enumerate() {
        let other = *first.entry(skeleton(name)).or_insert(name);
        if other != name {
            let shown = shown(other, AROUND * 2);
            found.push((index, Flag { kind: FlagKind::LookAlike, place: "name".to_owned(), shown }));
        }
    }
    found
}

fn look(value: &Value, path: &mut Path, found: &mut Vec<Flag>) {
    if found.len() >= FLAGS_MAX {
        return;
    }
    match value {
        Value::String(text) => look_at(text, &path.to_string(), found),
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                path.within_list(index, |path| look(element, path, found));
            }
        }
        Value::Object(members) => {
            let is_top = path.is_empty();
            for (name, member) in members.iter().filter(|(name, _)| !is_top || *name != "icons") {
                path.within(name, |path| {
                    look_at(name, &path.to_string(), found);
                    look(member, path, found);
                });
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn look_at(text: &str, place: &str, found: &mut Vec<Flag>) {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t'));
    let flag = |kind, at: usize| Flag { kind, place: place.to_owned(), shown: around(text, at) };
    if !is_plain {
        let mut seen: Vec<Hidden> = Vec::new();
        for (at, kind) in hidden_characters(text) {
            if !seen.contains(&kind) {
                seen.push(kind);
                found.push(flag(FlagKind::Hidden(kind), at));
            }
        }
    }
    found.extend(padding(text).map(|at| flag(FlagKind::Padding, at)));
    let (plain, places) = plain(text);
    let mut phrases: Vec<&str> = Vec::new();
    for hit in SEARCH.iter().flat_map(|search| search.find_iter(&plain)) {
        let Some(&phrase) = PHRASES.get(hit.pattern().as_usize()) else { continue };
        if !phrases.contains(&phrase) {
            phrases.push(phrase);
            found.push(flag(FlagKind::Instruction(phrase), places.get(hit.start()).copied().unwrap_or_default()));
        }
    }
}

/// The hidden characters of a text that are not as they are in ordinary writing: joiners between letters of other scripts than Latin and
/// within emoji, and one variation selector behind a character that has variants, are.
fn hidden_characters(text: &str) -> impl Iterator<Item = (usize, Hidden)> {
    let mut before = ' ';
    text.char_indices().filter_map(move |(at, character)| {
        let last = std::mem::replace(&mut before, character);
        let kind = hidden(character)?;
        let is_drawn = |c: char| !c.is_ascii() && hidden(c).is_none();
        let behind = text.get(at + character.len_utf8()..).and_then(|rest| rest.chars().next());
        let is_ordinary = match (kind, character) {
            (Hidden::ZeroWidth, '\u{200c}' | '\u{200d}') => {
                (is_drawn(last) || last == '\u{fe0f}') && behind.is_some_and(is_drawn)
            }
            (Hidden::VariationSelector, '\u{fe0e}' | '\u{fe0f}') => is_drawn(last) || "0123456789#*".contains(last),
            _ => false,
        };
        (!is_ordinary).then_some((at, kind))
    })
}

/// Where white space begins that hides what is behind it.
fn padding(text: &str) -> Option<usize> {
    let text = text.trim_end();
    let (mut begin, mut count) = (0, 0);
    for (at, character) in text.char_indices() {
        match (character.is_whitespace(), count) {
            (true, 0) => (begin, count) = (at, 1),
            (true, _) => count += 1,
            (false, PADDING_MIN..) => return Some(begin),
            (false, _) => count = 0,
        }
    }
    None
}

/// A text in small letters, with single spaces and without what is hidden; and where each of its bytes comes from.
fn plain(text: &str) -> (String, Vec<usize>) {
    let (mut plain, mut places) = (String::with_capacity(text.len()), Vec::with_capacity(text.len()));
    for (at, character) in text.char_indices() {
        let character = match character {
            '\u{2019}' => '\'',
            c if c.is_whitespace() && plain.ends_with(' ') => continue,
            c if c.is_whitespace() => ' ',
            c if hidden(c).is_some() => continue,
            c => c.to_ascii_lowercase(),
        };
        plain.push(character);
        places.resize(plain.len(), at);
    }
    (plain, places)
}

/// The text around a place.
fn around(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or_default();
    let skipped = before.chars().count().saturating_sub(AROUND);
    let begin = before.char_indices().nth(skipped).map_or(before.len(), |(at, _)| at);
    let mark = if skipped > 0 { "…" } else { "" };
    format!("{mark}{}", shown(text.get(begin..).unwrap_or_default(), AROUND * 2))
}

/// What of a name a person reads at a glance.
fn skeleton(name: &str) -> String {
    name.chars().filter_map(look_of).collect()
}

/// How a character looks at a glance; separators and what is hidden do not count. Letters of Greek and Cyrillic that look like Latin ones
/// are taken for them.
fn look_of(character: char) -> Option<char> {
    let small = character.to_lowercase().next().unwrap_or(character);
    Some(match small {
        '_' | '-' | '.' | '/' | ' ' | ':' | '‐' | '‑' | '–' | '—' | '·' => return None,
        c if hidden(c).is_some() => return None,
        '0' => 'o',
        '1' | 'i' | 'ı' | 'і' | 'ι' | 'ӏ' | '|' => 'l',
        'а' | 'α' => 'a',
        'с' => 'c',
        'ԁ' => 'd',
        'е' => 'e',
        'һ' => 'h',
        'ј' => 'j',
        'к' | 'κ' => 'k',
        'о' | 'ο' => 'o',
        'р' | 'ρ' => 'p',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'у' => 'y',
        'х' | 'χ' => 'x',
        'ν' => 'v',
        c => c,
    })
}

#[cfg(test)]
mod tests;
