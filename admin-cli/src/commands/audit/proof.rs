//! A proof that an entry is in the log: the entry's line of an export, the path from its leaf to the root (RFC 6962, section
//! 2.1.1), and a signed checkpoint over that root. Whoever has the public key can check it, with `tollgate audit verify` or
//! without.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_audit::{
    Entry, Note, Trust,
    checkpoint::PublicKey,
    file::{Content, EntryLine, LINE_BYTES_MAX, Line},
    seal::entry_leaf,
    tree::{Hash, root_of_path},
    verify::Witness,
};

use super::{
    entry::instant,
    lines::{Lines, Piece, foreign},
    trust::{KeyView, public_key, unpinned},
};
use crate::{
    failure::Failure,
    output::{Answer, Format, View},
};

/// The format, as the document names it.
const FORMAT: &str = "tollgate-audit-proof-1";
/// What every version of it begins with.
const FORMATS: &[u8] = b"tollgate-audit-proof-";
/// The longest document, in bytes: a line twice, as text within text, and a path of at most 64 hashes.
const PROOF_BYTES_MAX: usize = 4 * LINE_BYTES_MAX;

/// The document.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proof {
    format: String,
    /// The position in the log, from 1.
    pub(super) index: u64,
    /// The entry, as a line of an export.
    pub(super) line: String,
    /// The hash of the leaf, which is computed from the line.
    leaf: String,
    /// The hashes beside the way from the leaf to the root, from the bottom up.
    path: Vec<String>,
    /// The checkpoint, as a C2SP signed note.
    checkpoint: String,
    /// The Ed25519 key that signed it.
    public_key: String,
}

/// What is wrong with a proof.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The index that it is about; 0 when that is not known.
    pub(super) index: u64,
    /// What.
    pub(super) fault: String,
}

/// A proof that holds.
#[derive(Debug, Serialize)]
pub(super) struct Checked {
    sound: bool,
    index: u64,
    log: String,
    size: u64,
    root: String,
    signed_at: Option<String>,
    leaf: String,
    writer: String,
    action: String,
    time: Option<String>,
    erased: bool,
    entry: Option<Value>,
    witnessed: u64,
    pinned: bool,
    key: KeyView,
}

/// Whether a file that begins so is a proof.
pub(super) fn is_first_line(line: &[u8]) -> bool {
    line.trim_ascii() == b"{" || contains(line)
}

fn contains(text: &[u8]) -> bool {
    text.windows(FORMATS.len()).any(|window| window == FORMATS)
}

// === impl Proof ===

impl Proof {
    /// Makes a proof, and checks it.
    ///
    /// # Errors
    /// When it does not hold.
    pub(super) fn new(line: &[u8], path: &[Hash], checkpoint: &str, signer: &PublicKey) -> Result<Self, Wrong> {
        let note = Note::parse(checkpoint).map_err(|error| wrong(0, error))?;
        let Ok(Line::Entry(entry)) = Line::read(note.checkpoint().log, line) else {
            return Err(wrong(0, "the line is no entry"));
        };
        let proof = Self {
            format: FORMAT.to_owned(),
            index: entry.header.index,
            line: std::str::from_utf8(line).map_err(|_| wrong(0, "the line is no text"))?.to_owned(),
            leaf: hex::encode(entry.leaf),
            path: path.iter().map(hex::encode).collect(),
            checkpoint: checkpoint.to_owned(),
            public_key: hex::encode(signer),
        };
        proof.check(&Trust::default())?;
        Ok(proof)
    }

    /// Reads the rest of a file. Whether it is one is left to [`Self::check`]; the document itself must be.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn read(first: &[u8], lines: &mut Lines<'_>) -> Result<Unchecked, Failure> {
        let mut text = first.to_vec();
        while let Some(piece) = lines.next()? {
            let (Piece::Whole(line) | Piece::Broken(line)) = piece else { break };
            text.push(b'\n');
            text.extend_from_slice(line);
            if text.len() > PROOF_BYTES_MAX {
                break;
            }
        }
        if contains(&text) { Ok(Unchecked(text)) } else { Err(foreign(lines.name())) }
    }

    /// Checks the proof: each hash is computed again, and what was said is compared with it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn check(&self, trust: &Trust) -> Result<Checked, Wrong> {
        let Self { format, index, line, leaf, path, checkpoint, public_key: signer } = self;
        let index = *index;
        let bad = |fault: &str| wrong(index, fault);
        if format != FORMAT {
            return Err(bad("the format is not one that this version reads"));
        }
        let signer = public_key(signer).map_err(|_| bad("the public key is none"))?;
        let note = Note::parse(checkpoint).map_err(|error| wrong(index, error))?;
        let pinned = !trust.public_keys.is_empty();
        if pinned && !trust.public_keys.contains(&signer) {
            return Err(bad("the checkpoint is signed by a key that is not one of yours"));
        }
        if !note.is_signed_by_none_but(&signer) {
            return Err(bad("the checkpoint is not signed by the key that the proof names"));
        }
        let sealed = Line::read(note.checkpoint().log, line.as_bytes());
        let entry = match sealed.map_err(|error| wrong(index, format!("the line cannot be read: {error}")))? {
            Line::Entry(entry) if entry.header.index == index => entry,
            _ => return Err(bad("the line is not that of the entry")),
        };
        if hex::encode(entry.leaf) != *leaf || computed(&entry) != Some(entry.leaf) {
            return Err(bad("its content is not what its leaf hash covers"));
        }
        let told = told(&entry).map_err(bad)?;
        let path = path.iter().map(|hash| hash_of(hash)).collect::<Option<Vec<_>>>();
        let path = path.ok_or_else(|| bad("the path is not one of hashes"))?;
        let end = note.checkpoint();
        let position = index.checked_sub(1).ok_or_else(|| bad("entries are numbered from 1"))?;
        if root_of_path(position, end.size, entry.leaf, &path) != Some(end.root) {
            return Err(bad("the path does not lead to the root that was signed"));
        }
        check_macs(&entry, &note, trust).map_err(bad)?;
        let witnessed = witnessed(&note, &signer, trust).map_err(bad)?;
        Ok(Checked {
            sound: true,
            index,
            log: hex::encode(end.log),
            size: end.size,
            root: hex::encode(end.root),
            signed_at: instant(end.time_ms),
            leaf: leaf.clone(),
            writer: entry.header.writer.to_owned(),
            action: entry.header.action.to_owned(),
            time: instant(entry.header.time_ms),
            erased: told.is_none(),
            entry: told,
            witnessed,
            pinned,
            key: KeyView::from(&signer),
        })
    }

    /// The document.
    pub(super) fn answer(&self, format: Format) -> Result<Answer, Failure> {
        // It is a document for others, whatever this caller likes to read.
        let format = if format == Format::Table { Format::Json } else { format };
        format.document(self, crate::output::bare_table)
    }
}

/// The text of a proof.
#[derive(Debug)]
pub(super) struct Unchecked(Vec<u8>);

impl Unchecked {
    /// Reads and checks it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn check(&self, trust: &Trust) -> Result<Checked, Wrong> {
        let proof: Proof = serde_json::from_slice(&self.0)
            .map_err(|error| wrong(0, format!("it is not written as a proof is: {error}")))?;
        proof.check(trust)
    }
}

fn computed(entry: &EntryLine<'_>) -> Option<Hash> {
    let header = entry.header.encode().ok()?;
    Some(entry_leaf(&header, &entry.content.commitment(), &entry.mac))
}

// What the body says; `None` when it was erased.
fn told(entry: &EntryLine<'_>) -> Result<Option<Value>, &'static str> {
    if !entry.differs.is_empty() {
        return Err("the stored row differs from the signed entry");
    }
    let Content::Body { body, .. } = &entry.content else { return Ok(None) };
    let read = Entry::decode(body).map_err(|_| "its body is no entry")?;
    if read.action() != entry.header.action || read.time_ms() != entry.header.time_ms {
        return Err("its body is of another action or time");
    }
    serde_json::from_slice(body).map(Some).map_err(|_| "its body is no entry")
}

fn check_macs(entry: &EntryLine<'_>, note: &Note, trust: &Trust) -> Result<(), &'static str> {
    let named = |id| trust.mac_keys.iter().find(|key| key.id() == id);
    if let Some(key) = named(entry.header.key) {
        let header = entry.header.encode().map_err(|_| "its header is none")?;
        if !key.verifies(&[&header, &entry.content.commitment()], &entry.mac) {
            return Err("its MAC is not that of the key that it names");
        }
    }
    match named(note.mac_key()) {
        Some(key) if !note.has_mac_of(key) => Err("the MAC of the checkpoint is not that of the key that it names"),
        _ => Ok(()),
    }
}

// A proof is over one size of the log: only what was seen of that size says something about it.
fn witnessed(note: &Note, signer: &PublicKey, trust: &Trust) -> Result<u64, &'static str> {
    let mut witnessed = 0;
    for witness in &trust.witnesses {
        let Witness::Checkpoint(seen) = witness else { continue };
        let is_ours = trust.public_keys.iter().chain([signer]).any(|key| seen.is_signed_by(key));
        let (seen, proved) = (seen.checkpoint(), note.checkpoint());
        if seen.log != proved.log {
            return Err("the witness saw another log");
        }
        if seen.size == proved.size {
            if !is_ours {
                return Err("the witness is signed by a key that is not the log's");
            }
            if seen.root != proved.root {
                return Err("the log had another root when it was witnessed");
            }
            witnessed += 1;
        }
    }
    Ok(witnessed)
}

fn hash_of(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    hex::decode_to_slice(text, &mut hash).ok()?;
    Some(hash)
}

fn wrong(index: u64, fault: impl ToString) -> Wrong {
    Wrong { index, fault: fault.to_string() }
}

// === impl Checked ===

impl Checked {
    /// The answer of whoever checks it.
    pub(super) fn answer(&self, format: Format, file: String) -> Result<Answer, Failure> {
        let answer = format.item(self)?.note(format!("{file} is a proof of entry {}, and it holds", self.index));
        let unknown = unpinned(std::slice::from_ref(&self.key), "--key");
        Ok(if self.pinned { answer } else { answer.note(unknown) })
    }
}

impl View for Checked {
    const PLURAL: &'static str = "proofs";
    const LISTED: &'static [&'static str] = &["index", "sound", "action", "time"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let entry = self.entry.as_ref().map(ToString::to_string).unwrap_or_default();
        vec![
            ("sound", "yes".to_owned()),
            ("index", self.index.to_string()),
            ("action", self.action.clone()),
            ("time", self.time.clone().unwrap_or_default()),
            ("writer", self.writer.clone()),
            ("erased", if self.erased { "yes".into() } else { String::new() }),
            ("leaf", self.leaf.clone()),
            ("log", self.log.clone()),
            ("size", self.size.to_string()),
            ("root", self.root.clone()),
            ("signed at", self.signed_at.clone().unwrap_or_default()),
            ("witnessed", if self.witnessed == 0 { String::new() } else { self.witnessed.to_string() }),
            ("key", self.key.to_string()),
            ("entry", crate::commands::text::for_terminal(&entry)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use tollgate_audit::tree::{Frontier, Tree};

    use super::*;
    use crate::tests::sealed::Sealed;

    fn proof(log: &mut Sealed, index: u64) -> Proof {
        let note = log.checkpoint();
        let leaves = log.leaves();
        let path = Tree { start: &Frontier::default(), leaves: &leaves }.inclusion(index - 1).unwrap();
        Proof::new(log.line(index).as_bytes(), &path, &note, &log.public_key()).unwrap()
    }

    #[test]
    fn a_proof_holds_for_its_entry_and_nothing_of_it_can_be_changed() {
        let mut log = Sealed::new();
        (0..5).for_each(|_| log.write("key.create"));
        let proof = proof(&mut log, 3);
        let trust = Trust { public_keys: vec![log.public_key()], mac_keys: vec![log.mac_key()], ..Trust::default() };
        let text = serde_json::to_string_pretty(&proof).unwrap();
        let sound = |text: &str| Unchecked(text.as_bytes().to_vec()).check(&trust);
        assert_eq!(sound(&text).unwrap().index, 3);
        let mut checked = 0;
        // Each letter and digit of each value, once.
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            let (before, rest) = text.split_at(at);
            let Some(old) = rest.chars().next().filter(char::is_ascii_alphanumeric) else { continue };
            let new = if old == '1' { '2' } else { '1' };
            let changed = format!("{before}{new}{}", &rest[1..]);
            assert!(sound(&changed).is_err(), "{at}: {changed}");
            checked += 1;
        }
        assert!(checked > 1_000, "{checked}");
    }

    #[test]
    fn who_signed_and_what_was_seen_are_compared() {
        let mut log = Sealed::new();
        (0..4).for_each(|_| log.write("key.create"));
        let proof = proof(&mut log, 2);
        let fault = |trust: Trust| proof.check(&trust).unwrap_err().fault;
        assert!(fault(Trust { public_keys: vec![[7; 32]], ..Trust::default() }).contains("not one of yours"));
        let mut other = Sealed::new();
        (0..4).for_each(|_| other.write("key.delete"));
        let seen = Witness::Checkpoint(Note::parse(&other.checkpoint()).unwrap());
        assert!(fault(Trust { witnesses: vec![seen], ..Trust::default() }).contains("another root"));
        let seen = Witness::Checkpoint(Note::parse(&log.checkpoint()).unwrap());
        assert_eq!(proof.check(&Trust { witnesses: vec![seen], ..Trust::default() }).unwrap().witnessed, 1);
    }
}
