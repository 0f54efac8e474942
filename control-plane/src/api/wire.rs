//! Fields that several nouns share, between wire and domain.

use std::collections::{BTreeMap, HashMap};

use prost_types::Timestamp;
use serde_json::Value;
use tollgate_audit::Fields;
use tollgate_policy::{
    id::InvalidId,
    name::Name,
    pattern::{InvalidPattern, Patterns},
};

use super::{failure::Failure, mask::Mask, violations::Violations};
use crate::store::{StoreError, organisation::Stamp};

/// The longest display name, in characters.
pub const DISPLAY_NAME_MAX: usize = 200;
/// RFC 5321, 4.5.3.1.3: a path is at most 256 octets, two of which are its brackets.
const EMAIL_BYTES_MAX: usize = 254;
/// The most tags of an object.
pub const TAGS_MAX: usize = 32;
/// The longest name of a tag, in characters.
pub const TAG_NAME_MAX: usize = 63;
/// The longest value of a tag, in characters.
pub const TAG_VALUE_MAX: usize = 255;

/// Reads a name.
pub fn name(text: &str, violations: &mut Violations) -> Option<Name> {
    violations.take("name", Name::parse(text))
}

/// Reads a text for people: at most so many characters, none of them a control character.
pub fn prose(field: &str, text: &str, characters_max: usize, violations: &mut Violations) -> Option<String> {
    if text.chars().count() > characters_max {
        violations.add(field, format!("must be at most {characters_max} characters"));
        return None;
    }
    if text.chars().any(|character| character.is_control() || is_invisible(character)) {
        violations.add(field, "must not have control characters or characters that change the direction of text");
        return None;
    }
    Some(text.to_owned())
}

/// Reads a display name.
pub fn display_name(text: &str, violations: &mut Violations) -> Option<String> {
    prose("display_name", text, DISPLAY_NAME_MAX, violations)
}

/// Whether a text may be an e-mail address. Not a full parser: it refuses what is certainly none and what could forge a line of
/// a log.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let (local, domain) = text.rsplit_once('@').unwrap_or_default();
    !local.is_empty()
        && !domain.is_empty()
        && text.len() <= EMAIL_BYTES_MAX
        && !text.chars().any(|character| character.is_control() || character.is_whitespace())
}

/// Reads a list of model patterns, which stays as it was written. Each pattern that is wrong is named by its place.
pub fn patterns(field: &str, list: &[String], violations: &mut Violations) -> Option<Vec<String>> {
    if let Err(InvalidPattern::TooMany) = Patterns::parse(list) {
        violations.add(field, InvalidPattern::TooMany);
        return None;
    }
    let wrong = list.iter().enumerate().filter(|(_, pattern)| Patterns::parse(std::slice::from_ref(pattern)).is_err());
    let mut sound = true;
    for (at, _) in wrong {
        sound = false;
        violations.add(format!("{field}[{at}]"), "must be 1 to 200 visible characters, behind a '!' when it denies");
    }
    sound.then(|| list.to_vec())
}

/// Reads words, each known and each once, into the order that the type has. Each one that is wrong is named by its place.
pub fn words<T: Copy + Ord>(
    field: &str,
    list: &[String],
    all: &[T],
    word: fn(T) -> &'static str,
    violations: &mut Violations,
) -> Option<Vec<T>> {
    let mut read = Vec::new();
    for (at, text) in list.iter().enumerate() {
        match all.iter().copied().find(|known| word(*known) == text) {
            Some(known) if read.contains(&known) => violations.add(format!("{field}[{at}]"), "is given twice"),
            Some(known) => read.push(known),
            None => {
                let known: Vec<_> = all.iter().copied().map(word).collect();
                violations.add(format!("{field}[{at}]"), format!("must be one of: {}", known.join(", ")));
            }
        }
    }
    read.sort_unstable();
    (read.len() == list.len()).then_some(read)
}

/// `the route 'a'`, `the routes 'a', 'b'`.
#[must_use]
pub fn quoted(noun: &str, names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
    format!("the {noun}{} {}", if names.len() == 1 { "" } else { "s" }, quoted.join(", "))
}

/// Reads labels.
pub fn tags(tags: &HashMap<String, String>, violations: &mut Violations) -> Option<BTreeMap<String, String>> {
    if tags.len() > TAGS_MAX {
        violations.add("tags", format!("must be at most {TAGS_MAX}"));
        return None;
    }
    let mut read = BTreeMap::new();
    for (name, value) in tags {
        let shaped = !name.is_empty()
            && name.len() <= TAG_NAME_MAX
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
        if !shaped {
            violations
                .add("tags", format!("must have names of 1 to {TAG_NAME_MAX} letters, digits, '.', '_', '-' and '/'"));
            return None;
        }
        let value = prose(&format!("tags.{name}"), value, TAG_VALUE_MAX, violations)?;
        read.insert(name.clone(), value);
    }
    Some(read)
}

/// Reads an instant, in Unix milliseconds.
pub fn instant(field: &str, at: &Timestamp, violations: &mut Violations) -> Option<i64> {
    let millis = at.seconds.checked_mul(1_000).and_then(|millis| millis.checked_add(i64::from(at.nanos / 1_000_000)));
    // RFC 3339, which Timestamp follows, ends with the year 9999.
    let shaped = (0..1_000_000_000).contains(&at.nanos) && (-62_135_596_800..=253_402_300_799).contains(&at.seconds);
    violations.take(field, millis.filter(|_| shaped).ok_or("is not an instant between the years 1 and 9999"))
}

/// Writes an instant that is in Unix milliseconds.
#[must_use]
pub fn timestamp(millis: i64) -> Timestamp {
    let nanos = i32::try_from(millis.rem_euclid(1_000) * 1_000_000).unwrap_or_default();
    Timestamp { seconds: millis.div_euclid(1_000), nanos }
}

/// Writes the etag of an object: it changes with each change.
#[must_use]
pub fn etag(stamp: &Stamp) -> String {
    format!("r{}", stamp.revision)
}

/// Which object an update means: by id, or by name when the id is empty.
pub fn named(kind: &str, id: &str, name: &str, mask: &Mask, violations: &mut Violations) -> Option<String> {
    match (id, name) {
        ("", "") => {
            violations.add(kind, "must say which one, by id or by name");
            None
        }
        ("", _) if mask.has("name") => {
            violations.add("id", "must be set to change the name");
            None
        }
        ("", name) => Some(name.to_owned()),
        (id, _) => Some(id.to_owned()),
    }
}

/// Refuses a change of an object that has changed since its etag was read. An empty etag demands nothing.
///
/// # Errors
/// [`Failure::Stale`].
pub fn ensure_fresh(kind: &'static str, name: &Name, given: &str, stamp: &Stamp) -> Result<(), Failure> {
    if given.is_empty() || given == etag(stamp) {
        return Ok(());
    }
    Err(Failure::Stale { kind, name: name.to_string() })
}

/// The refusal of a name that another object has.
#[must_use]
pub fn taken(kind: &'static str, name: &Name) -> Failure {
    Failure::Exists { kind, field: "name", value: name.to_string() }
}

/// A fresh id.
///
/// # Errors
/// Never in practice: a ULID makes an id.
pub fn new_id<T>(from_ulid: impl FnOnce(&str) -> Result<T, InvalidId>) -> Result<T, Failure> {
    let id = from_ulid(&ulid::Ulid::generate().to_string());
    Ok(id.map_err(|error| StoreError::corrupt("id", error))?)
}

/// Both, when both could be read.
#[must_use]
pub fn both<A, B>((a, b): (Option<A>, Option<B>)) -> Option<(A, B)> {
    a.zip(b)
}

/// What a caller wrote, fit to be shown in an error: cut, and without control characters.
#[must_use]
pub fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(80).collect()
}

/// `1 team`, `2 teams`.
#[must_use]
pub fn count(number: i64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// An object's fields, for the log.
#[must_use]
pub fn fields<const N: usize>(fields: [(&str, Value); N]) -> Fields {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

// The bidirectional controls and zero-width characters with which a name can look like another one.
const fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
