//! The texts of a JSON document: where its strings stand, what they say without their escapes, and what was found in them as ranges of the
//! document, so that it can be replaced there.
//!
//! The document is read as it stands, without a tree: what is no JSON is read as far as its quotation marks go, and never fails.

use std::{borrow::Cow, ops::Range};

use memchr::memchr2;

use crate::{
    finding::FingerprintKey,
    set::{RuleSet, Scratch},
    text::Scan,
};

/// So many levels are told apart; what lies deeper counts to the last one.
const DEPTH_MAX: usize = 64;

/// A string of a document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quoted<'a> {
    /// Where it begins in the document, behind its quotation mark.
    pub start: usize,
    /// What stands between the quotation marks.
    pub raw: &'a [u8],
    /// It is the name of a member.
    pub is_name: bool,
}

/// What of a document must pass as it is, since somebody has sealed it: by the names of the members that lead there, lists left out. What
/// lies below is meant too.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a>(pub &'a [&'a [&'a str]]);

/// A part of a document that is looked at by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// Where it lies.
    pub range: Range<usize>,
    /// Where the name of the member stands that it is, or is an element of; empty: it is the whole document.
    pub name: Range<usize>,
}

/// Where something stands in a document, for people.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// Such as `messages[3].content[0].text`.
    pub path: String,
    /// At which byte of the text there, without its escapes.
    pub offset: usize,
}

/// Walks through a value.
struct Walk<'a> {
    json: &'a [u8],
    at: usize,
    open: Vec<Level<'a>>,
    /// How many levels are open below those.
    deeper: usize,
    is_name_next: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Level<'a> {
    is_list: bool,
    /// Of an object: the name of the member that is read.
    name: &'a [u8],
    /// Of a list: the number of the element that is read.
    index: usize,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Text(Quoted<'a>),
    Open(usize),
    Close(usize),
    Comma(usize),
    Colon(usize),
}

/// A string without its escapes, and where they stood.
struct Unescaped {
    text: Vec<u8>,
    escapes: Vec<Escape>,
}

/// What an escape takes in the string, and what it stands for in the text.
struct Escape {
    raw: Range<usize>,
    text: Range<usize>,
}

/// The parts of a document: the elements of the lists that are its members, and each other member. What is no object is one part.
#[must_use]
pub fn parts(json: &[u8]) -> Vec<Part> {
    let (mut parts, mut walk) = (Vec::new(), Walk::new(json, &[]));
    let (mut name, mut begun, mut in_list) = (0..0, None, false);
    while let Some(step) = walk.step() {
        let ended = match (step, walk.depth()) {
            (Step::Text(text), 1) if text.is_name => {
                name = text.start..text.start.saturating_add(text.raw.len());
                None
            }
            (Step::Colon(at), 1) => {
                (begun, in_list) = (Some(at), false);
                None
            }
            (Step::Open(at), 2) if walk.is_in_list() && begun.is_some() => {
                (begun, in_list) = (Some(at), true);
                None
            }
            (Step::Comma(at), 2) if in_list => begun.replace(at).map(|start| start..at),
            (Step::Close(at), 1) if in_list => {
                in_list = false;
                begun.take().map(|start| start..at)
            }
            (Step::Comma(at), 1) | (Step::Close(at), 0) => begun.take().map(|start| start..at),
            _ => None,
        };
        // From behind the mark before it.
        parts.extend(ended.map(|range| Part { range: range.start.saturating_add(1)..range.end, name: name.clone() }));
    }
    if parts.is_empty() {
        parts.push(Part { range: 0..json.len(), name: 0..0 });
    }
    parts
}

/// Hands out each string of a value that is not sealed. `above` are the names of the members that lead to the value.
pub fn strings<'a>(json: &'a [u8], above: &[&'a [u8]], sealed: Sealed<'_>, mut sink: impl FnMut(Quoted<'a>)) {
    let mut walk = Walk::new(json, above);
    while let Some(step) = walk.step() {
        if let Step::Text(text) = step
            && (text.is_name || !walk.is_sealed(sealed))
        {
            sink(text);
        }
    }
}

/// Where the byte at `offset` of a document stands.
#[must_use]
pub fn place(json: &[u8], offset: usize) -> Place {
    let mut walk = Walk::new(json, &[]);
    while let Some(step) = walk.step() {
        let Step::Text(text) = step else { continue };
        if let Some(before) = offset.checked_sub(text.start).and_then(|before| text.raw.get(..before)) {
            return Place { path: walk.path(), offset: unescaped(before).len() };
        }
    }
    Place { path: String::new(), offset }
}

/// What a string says, from what stands between its quotation marks. What is no escape stays as it is.
#[must_use]
pub fn unescaped(raw: &[u8]) -> Cow<'_, [u8]> {
    match memchr::memchr(b'\\', raw) {
        None => Cow::Borrowed(raw),
        Some(_) => Cow::Owned(Unescaped::read(raw).text),
    }
}

// === impl RuleSet ===

impl RuleSet {
    /// Finds the secrets in what a string says. The ranges are those of the string as it stands, with its escapes.
    #[must_use]
    pub fn scan_quoted(&self, scratch: &mut Scratch, key: &FingerprintKey, raw: &[u8]) -> Scan {
        if memchr::memchr(b'\\', raw).is_none() {
            return self.scan(scratch, key, raw);
        }
        let unescaped = Unescaped::read(raw);
        let mut scan = self.scan(scratch, key, &unescaped.text);
        for finding in &mut scan.findings {
            finding.range = unescaped.start_of(finding.range.start)..unescaped.end_of(finding.range.end);
        }
        scan
    }
}

// === impl Sealed ===

impl Sealed<'_> {
    /// Nothing is.
    pub const NOTHING: Self = Self(&[]);
}

// === impl Walk ===

impl<'a> Walk<'a> {
    fn new(json: &'a [u8], above: &[&'a [u8]]) -> Self {
        let open = above.iter().map(|name| Level { name, ..Level::default() }).collect();
        Self { json, at: 0, open, deeper: 0, is_name_next: false }
    }

    fn depth(&self) -> usize {
        self.open.len().saturating_add(self.deeper)
    }

    fn is_in_list(&self) -> bool {
        self.open.last().is_some_and(|level| level.is_list)
    }

    fn step(&mut self) -> Option<Step<'a>> {
        loop {
            let at = self.at;
            let byte = *self.json.get(at)?;
            self.at = at.saturating_add(1);
            match byte {
                b'"' => return Some(Step::Text(self.text())),
                b'{' | b'[' => {
                    self.descend(byte == b'[');
                    return Some(Step::Open(at));
                }
                b'}' | b']' => {
                    self.ascend();
                    return Some(Step::Close(at));
                }
                b',' => {
                    if let Some(level) = self.open.last_mut() {
                        self.is_name_next = !level.is_list;
                        level.index = level.index.saturating_add(usize::from(level.is_list && self.deeper == 0));
                    }
                    return Some(Step::Comma(at));
                }
                b':' => return Some(Step::Colon(at)),
                _ => {}
            }
        }
    }

    fn text(&mut self) -> Quoted<'a> {
        let start = self.at;
        let mut end = start;
        loop {
            let rest = self.json.get(end..).unwrap_or_default();
            match memchr2(b'"', b'\\', rest) {
                None => {
                    end = self.json.len();
                    self.at = end;
                    break;
                }
                Some(found) if rest.get(found) == Some(&b'"') => {
                    end = end.saturating_add(found);
                    self.at = end.saturating_add(1);
                    break;
                }
                Some(found) => end = end.saturating_add(found).saturating_add(2).min(self.json.len()),
            }
        }
        let raw = self.json.get(start..end).unwrap_or_default();
        let is_name = std::mem::take(&mut self.is_name_next);
        if is_name
            && self.deeper == 0
            && let Some(level) = self.open.last_mut()
        {
            level.name = raw;
        }
        Quoted { start, raw, is_name }
    }

    fn descend(&mut self, is_list: bool) {
        self.is_name_next = !is_list;
        if self.open.len() < DEPTH_MAX {
            self.open.push(Level { is_list, ..Level::default() });
        } else {
            self.deeper = self.deeper.saturating_add(1);
        }
    }

    fn ascend(&mut self) {
        self.is_name_next = false;
        match self.deeper.checked_sub(1) {
            Some(deeper) => self.deeper = deeper,
            None => drop(self.open.pop()),
        }
    }

    fn is_sealed(&self, sealed: Sealed<'_>) -> bool {
        sealed.0.iter().any(|path| {
            let mut names = self.open.iter().filter(|level| !level.is_list).map(|level| level.name);
            path.iter().all(|name| names.next() == Some(name.as_bytes()))
        })
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for level in &self.open {
            if level.is_list {
                path.push_str(&format!("[{}]", level.index));
            } else {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&String::from_utf8_lossy(level.name));
            }
        }
        path
    }
}

// === impl Unescaped ===

impl Unescaped {
    fn read(raw: &[u8]) -> Self {
        let (mut text, mut escapes, mut at) = (Vec::with_capacity(raw.len()), Vec::new(), 0_usize);
        while let Some(rest) = raw.get(at..) {
            let Some(found) = memchr::memchr(b'\\', rest) else {
                text.extend_from_slice(rest);
                break;
            };
            text.extend_from_slice(rest.get(..found).unwrap_or_default());
            let (begin, begin_raw) = (text.len(), at.saturating_add(found));
            at = begin_raw.saturating_add(take(rest.get(found..).unwrap_or_default(), &mut text));
            escapes.push(Escape { raw: begin_raw..at, text: begin..text.len() });
        }
        Self { text, escapes }
    }

    /// Where the byte of the text at `offset` begins in the string.
    fn start_of(&self, offset: usize) -> usize {
        match self.last_before(|escape| escape.text.start <= offset) {
            None => offset,
            Some(escape) if offset < escape.text.end => escape.raw.start,
            Some(escape) => escape.raw.end.saturating_add(offset.saturating_sub(escape.text.end)),
        }
    }

    /// Where the text before `offset` ends in the string.
    fn end_of(&self, offset: usize) -> usize {
        match self.last_before(|escape| escape.text.start < offset) {
            None => offset,
            Some(escape) => escape.raw.end.saturating_add(offset.saturating_sub(escape.text.end)),
        }
    }

    fn last_before(&self, is_before: impl Fn(&Escape) -> bool) -> Option<&Escape> {
        self.escapes.partition_point(is_before).checked_sub(1).and_then(|last| self.escapes.get(last))
    }
}

/// Reads one escape (RFC 8259, section 7), and returns how many bytes it took.
fn take(escape: &[u8], text: &mut Vec<u8>) -> usize {
    let plain = match escape.get(1) {
        Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
        Some(b'b') => 8,
        Some(b'f') => 12,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'u') => return take_unicode(escape, text),
        _ => {
            text.push(b'\\');
            return 1;
        }
    };
    text.push(plain);
    2
}

fn take_unicode(escape: &[u8], text: &mut Vec<u8>) -> usize {
    let unit = |at: usize| {
        let digits = escape.get(at..).filter(|rest| rest.starts_with(b"\\u"))?.get(2..6)?;
        digits.iter().try_fold(0_u32, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
    };
    let Some(first) = unit(0) else {
        text.push(b'\\');
        return 1;
    };
    let (code, taken) = match unit(6) {
        Some(second @ 0xdc00..=0xdfff) if (0xd800..0xdc00).contains(&first) => {
            (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12)
        }
        _ => (first, 6),
    };
    let letter = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rule::{Rule, Rules};

    fn set(regex: &str) -> RuleSet {
        let rule = Rule { id: "own".into(), regex: regex.into(), ..Rule::default() };
        RuleSet::compile(&Rules { rules: vec![rule], ..Rules::default() }).0
    }

    fn texts(json: &str, above: &[&str], sealed: &[&[&str]]) -> Vec<String> {
        let mut all = Vec::new();
        let above: Vec<&[u8]> = above.iter().map(|name| name.as_bytes()).collect();
        strings(json.as_bytes(), &above, Sealed(sealed), |text| {
            assert_eq!(json.as_bytes().get(text.start..text.start + text.raw.len()), Some(text.raw));
            all.push(String::from_utf8_lossy(&unescaped(text.raw)).into_owned());
        });
        all
    }

    #[test]
    fn each_string_is_handed_out_but_what_is_sealed() {
        let json = r#"{"a":["x",{"b":"y\"z\u00e9\ud83d\ude00","seal":"s","c":{"d":"deep"}}],"seal":"t","e":[]}"#;
        let all = ["a", "x", "b", "y\"z\u{e9}\u{1f600}", "seal", "s", "c", "d", "deep", "seal", "t", "e"];
        assert_eq!(texts(json, &[], &[]), all);
        let without = |gone: &[&str]| all.iter().filter(|text| !gone.contains(text)).copied().collect::<Vec<_>>();
        assert_eq!(texts(json, &[], &[&["a", "seal"], &["a", "c"]]), without(&["s", "deep"]));
        assert_eq!(texts(json, &["seal"], &[&["seal"]]), ["a", "b", "seal", "c", "d", "seal", "e"], "names are seen");
        for broken in ["", "\"", "\"a", "{\"a\":\"\\", "]]]}\"x\"", "nonsense \"\\u12\" \"\\q\""] {
            texts(broken, &[], &[]);
        }
    }

    #[test]
    fn a_document_is_cut_where_its_elements_begin() {
        let json = r#" {"model" : "m", "messages":[ {"role":"user","content":["[,]"]} ,{"a":[1,2]}],"tools":[],"n":{"x":[1,2]}, "z":1}"#;
        let cut: Vec<(&str, &str)> = parts(json.as_bytes())
            .into_iter()
            .map(|part| (json.get(part.name).unwrap(), json.get(part.range).unwrap().trim()))
            .collect();
        assert_eq!(
            cut,
            [
                ("model", r#""m""#),
                ("messages", r#"{"role":"user","content":["[,]"]}"#),
                ("messages", r#"{"a":[1,2]}"#),
                ("tools", ""),
                ("n", r#"{"x":[1,2]}"#),
                ("z", "1"),
            ]
        );
        for whole in ["[1,2]", "\"x\"", "", "{}"] {
            assert_eq!(parts(whole.as_bytes()), [Part { range: 0..whole.len(), name: 0..0 }], "{whole}");
        }
    }

    #[test]
    fn a_place_is_told_as_people_write_it() {
        let json = r#"{"messages":[{"a":1},{"content":[{"text":"\n\u00e9key"}]}]}"#;
        let place = place(json.as_bytes(), json.find("key").unwrap());
        assert_eq!(place, Place { path: "messages[1].content[0].text".into(), offset: 3 });
        assert_eq!(super::place(b"{}", 1), Place { path: String::new(), offset: 1 });
    }

    #[test]
    fn what_is_found_is_told_as_it_stands_with_its_escapes() {
        let set = set("k[^.]{3}y");
        let key = FingerprintKey::new(&[1; 32]);
        for (raw, expect) in [
            ("a kaaay", "kaaay"),
            (r"\n\nkaaay", "kaaay"),
            (r"\u006baaa\u0079\n", r"\u006baaa\u0079"),
            (r"\tka\na\u0079 kaaa", r"ka\na\u0079"),
            (r#"k\\\"ay\\"#, r#"k\\\"ay"#),
        ] {
            let scan = set.scan_quoted(&mut Scratch::new(), &key, raw.as_bytes());
            let found: Vec<&str> =
                scan.findings.iter().map(|finding| raw.get(finding.range.clone()).unwrap()).collect();
            assert_eq!(found, [expect], "{raw}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_again(text in any::<String>(), other in any::<String>()) {
            let json = serde_json::json!({"a": [text, {other.clone(): 1}], "b": text}).to_string();
            prop_assert_eq!(texts(&json, &[], &[]), ["a", &text, &other, "b", &text]);
            let ascii: String = json.chars().map(|letter| match letter {
                ' '..='~' => letter.to_string(),
                _ => letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            }).collect();
            prop_assert_eq!(texts(&ascii, &[], &[]), ["a", &text, &other, "b", &text]);
            for part in parts(json.as_bytes()) {
                prop_assert!(json.get(part.range).is_some());
            }
        }
    }
}
