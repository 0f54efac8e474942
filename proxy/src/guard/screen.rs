//! A document on its way: a request, or an answer that is no stream.
//!
//! It is looked at part by part, and what a part held is remembered by a keyed hash: an agent sends its whole conversation in each turn, and
//! pays for what is new in it. A long string is remembered by itself, so that a mark that moves beside it changes nothing.

use std::{ops::Range, sync::Arc};

use tollgate_policy::guardrail::Action;
use tollgate_scan::{
    Finding, Form, RuleSet, Scan, Scratch, Vault,
    json::{self, Part, Quoted},
    redaction,
};

use super::{
    report::Report,
    sealed::{SEALED, is_picture, way},
    watch::{Blocked, Watch, Watching},
};

/// A string of so many bytes is remembered by itself.
const REMEMBERED_BYTES_MIN: usize = 1_024;
/// The way of looking at a string, beside those of parts.
const STRING: u64 = 1 << 32;

/// What became of a document.
#[derive(Debug, Default)]
pub struct Screened {
    /// The document with placeholders in it; `None`: it goes on as it came.
    pub changed: Option<Vec<u8>>,
    /// What was found.
    pub report: Report,
    /// Why it must not go on.
    pub blocked: Option<Blocked>,
}

// A secret of the document, and what takes its place.
struct Edit {
    range: Range<usize>,
    action: Action,
    rule: String,
}

/// Looks at a document. What is put in the place of secrets can be taken back with the vault; without one nothing can.
pub fn screen(watch: &Watch, document: &[u8], vault: Option<&mut Vault>) -> Screened {
    let parts = json::parts(document);
    let (mut screened, mut edits) = (Screened::default(), Vec::new());
    for watching in &*watch.groups {
        let scans = watching.engine().with(|set, scratch| {
            let scan = |part: &Part| Looking { watch, set, scratch: &mut *scratch }.part(document, part);
            parts.iter().map(scan).collect::<Vec<Arc<Scan>>>()
        });
        for (part, scan) in parts.iter().zip(scans) {
            let unseen = match (scan.is_exhausted, scan.cut.first()) {
                (true, _) => watch.unseen(watching, None),
                (false, Some(rule)) => watch.unseen(watching, Some(*rule)),
                (false, None) => None,
            };
            if screened.blocked.is_none() {
                screened.blocked = unseen;
            }
            for finding in &scan.findings {
                let finding = finding.moved(part.range.start);
                edits.extend(edit(watch, watching, document, &finding, &mut screened));
            }
        }
    }
    if screened.blocked.is_none() && !edits.is_empty() {
        screened.changed = Some(edited(document, edits, vault));
    }
    screened
}

/// A document with the secrets back in the place of their placeholders. `nested` are members whose text is JSON again.
pub(crate) fn restored(document: &[u8], vault: &Vault, nested: &[&str]) -> Option<Vec<u8>> {
    if vault.is_empty() {
        return None;
    }
    let (mut out, mut behind, mut name) = (Vec::new(), 0, &b""[..]);
    json::strings(document, &[], SEALED, |text| {
        let is_nested = !text.is_name && nested.iter().any(|nested| nested.as_bytes() == name);
        let form = if is_nested { Form::NestedJsonString } else { Form::JsonString };
        let said = vault.restore(form, text.raw);
        if said != text.raw {
            out.extend_from_slice(document.get(behind..text.start).unwrap_or_default());
            out.extend_from_slice(&said);
            behind = text.start.saturating_add(text.raw.len());
        }
        if text.is_name {
            name = text.raw;
        }
    });
    if out.is_empty() {
        return None;
    }
    out.extend_from_slice(document.get(behind..).unwrap_or_default());
    Some(out)
}

struct Looking<'a> {
    watch: &'a Watch,
    set: &'a RuleSet,
    scratch: &'a mut Scratch,
}

impl Looking<'_> {
    // What a part holds; the ranges are those of the part.
    fn part(&mut self, document: &[u8], part: &Part) -> Arc<Scan> {
        let bytes = document.get(part.range.clone()).unwrap_or_default();
        let name = document.get(part.name.clone()).unwrap_or_default();
        let hash = self.watch.hasher().hash_in(self.set.version(), way(name), bytes);
        if let Some(known) = self.watch.memo().get(hash) {
            return known;
        }
        let mut scan = Scan::default();
        json::strings(bytes, &[name], SEALED, |text| self.string(text, &mut scan));
        self.watch.memo().insert(hash, scan)
    }

    fn string(&mut self, text: Quoted<'_>, scan: &mut Scan) {
        if is_picture(text.raw) {
            return;
        }
        let key = self.watch.fingerprints();
        if text.raw.len() < REMEMBERED_BYTES_MIN {
            add(scan, &self.set.scan_quoted(self.scratch, key, text.raw), text.start);
            return;
        }
        let hash = self.watch.hasher().hash_in(self.set.version(), STRING, text.raw);
        let known = self.watch.memo().get(hash);
        let known = known.unwrap_or_else(|| {
            let scan = self.set.scan_quoted(self.scratch, key, text.raw);
            self.watch.memo().insert(hash, scan)
        });
        add(scan, &known, text.start);
    }
}

fn add(scan: &mut Scan, one: &Scan, by: usize) {
    scan.findings.extend(one.findings.iter().map(|finding| finding.moved(by)));
    scan.cut.extend_from_slice(&one.cut);
    scan.is_exhausted |= one.is_exhausted;
}

fn edit(
    watch: &Watch,
    watching: &Watching,
    document: &[u8],
    finding: &Finding,
    screened: &mut Screened,
) -> Option<Edit> {
    let place = || json::place(document, finding.range.start);
    let decided = watch.decide(watching, finding, &mut screened.report, place)?;
    match decided.action {
        Action::Detect => None,
        Action::Tokenize | Action::Redact => {
            Some(Edit { range: finding.range.clone(), action: decided.action, rule: decided.rule })
        }
        Action::Block => {
            screened.blocked.get_or_insert_with(|| Blocked::by(&decided, finding, watch.direction, place()));
            None
        }
    }
}

// Of secrets that overlap, one placeholder takes the place: that of the strictest action.
fn edited(document: &[u8], mut edits: Vec<Edit>, mut vault: Option<&mut Vault>) -> Vec<u8> {
    edits.sort_by_key(|edit| (edit.range.start, std::cmp::Reverse(edit.range.end)));
    let mut merged: Vec<Edit> = Vec::new();
    for edit in edits {
        match merged.last_mut() {
            Some(last) if edit.range.start < last.range.end => {
                last.range.end = last.range.end.max(edit.range.end);
                if edit.action > last.action {
                    (last.action, last.rule) = (edit.action, edit.rule);
                }
            }
            _ => merged.push(edit),
        }
    }
    let (mut out, mut behind) = (Vec::with_capacity(document.len()), 0);
    for Edit { range, action, rule } in merged {
        out.extend_from_slice(document.get(behind..range.start).unwrap_or_default());
        let secret = json::unescaped(document.get(range.clone()).unwrap_or_default());
        out.extend_from_slice(stand_in(action, &rule, &secret, vault.as_deref_mut()).as_bytes());
        behind = range.end;
    }
    out.extend_from_slice(document.get(behind..).unwrap_or_default());
    out
}

/// What takes the place of a secret: letters that no JSON, no shell and no URL has to escape.
pub(super) fn stand_in(action: Action, rule: &str, secret: &[u8], vault: Option<&mut Vault>) -> String {
    let vault = vault.filter(|_| action == Action::Tokenize);
    let token = vault.and_then(|vault| vault.tokenize(secret));
    token.map_or_else(|| redaction(&plain(rule)), |token| token.text())
}

// Whatever somebody calls a rule.
fn plain(rule: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    rule.chars().map(|letter| if is_plain(letter) { letter } else { '-' }).collect()
}
