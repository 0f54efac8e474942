//! The log as a file: JSON Lines that prove themselves.
//!
//! ```text
//! {"format":"tollgate-audit-1","log":…,"first":1,"start":[…],"key":…}
//! {"index":1,"leaf":…,"mac":…,"writer":…,"incarnation":1,"sequence":1,"previous":…,"key":…,"time_ms":…,"action":…,"salt":…,"body":{…}}
//! {"checkpoint":"tollgate/…\n1\n…"}
//! {"end":"tollgate/…\n1\n…"}
//! ```
//!
//! The first line says where the file begins in the log, with the frontier of the tree before that, and the public key that signs
//! the first checkpoint in it; later ones are announced by entries. `body` is the last member of its line and holds the stored bytes as they are. Of an erased entry it is `null`,
//! and `commitment` stands in the place of `salt`. A file ends with a checkpoint over its last entry, and that line alone
//! is named `end`: a shortened file does not verify. Hashes are in lower case hexadecimal digits. A line that says the same in
//! another writing is none: two readers must not be able to read two things.

mod body;
mod cursor;
mod unique;

use std::{borrow::Cow, io::Write as _};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub(crate) use self::body::Told;
use self::{body::Reading, cursor::Cursor};
use crate::{
    checkpoint::PublicKey,
    seal::{CHAIN_START, Header, LogId, Salt, commitment, entry_leaf},
    tree::{Frontier, Hash},
};

/// The format, as the first line names it.
pub const FORMAT: &str = "tollgate-audit-1";
/// The longest line, in bytes: an entry of 8 KiB of detail with its seal takes 12.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

// Databases count so far, and behind it there is room for more lines than any file has.
const FIRST_MAX: u64 = i64::MAX.cast_unsigned();
const OTHERWISE: InvalidLine = InvalidLine("it is not written in the one way");

/// The first line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    /// The log.
    pub log: LogId,
    /// The tree before the first entry of the file.
    pub start: Frontier,
    /// The public key that signs the first checkpoint in the file.
    pub key: PublicKey,
}

/// An entry as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stored<'a> {
    /// The encoded [`Header`].
    pub header: Cow<'a, [u8]>,
    /// What was sealed.
    pub content: Content<'a>,
    /// The MAC.
    pub mac: Hash,
    /// The leaf's hash.
    pub leaf: Hash,
}

/// What an entry says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content<'a> {
    /// The body, and its salt.
    Body {
        /// The salt.
        salt: Salt,
        /// The encoded entry.
        body: Cow<'a, [u8]>,
    },
    /// The body was erased; this commits to what it was.
    Erased(Hash),
}

/// A line that cannot be read or written: what is wrong with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidLine(pub &'static str);

/// A line behind the first.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every line is an entry's, and needs no memory of its own")]
pub enum Line<'a> {
    /// An entry.
    Entry(EntryLine<'a>),
    /// The text of a signed checkpoint.
    Checkpoint(String),
    /// The text of the last one.
    End(String),
    /// The row at this index is not as any writer stores one: what is wrong with it.
    Broken(u64, String),
}

/// An entry as its line has it.
#[derive(Debug)]
pub struct EntryLine<'a> {
    /// Its place.
    pub header: Header<'a>,
    /// What it says.
    pub content: Content<'a>,
    /// The MAC.
    pub mac: Hash,
    /// The leaf's hash, as the line gives it.
    pub leaf: Hash,
    /// The columns of the stored row that do not say what the body says; empty for a sound one.
    pub differs: &'a str,
    // What the body repeats of the header, when it is written as writers do.
    pub(crate) told: Option<Told<'a>>,
    // What is signed of the content.
    pub(crate) commitment: Hash,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WireHead {
    format: String,
    log: String,
    first: u64,
    start: Vec<String>,
    key: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WireCheckpoint {
    checkpoint: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WireEnd {
    end: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WireBroken {
    index: u64,
    broken: String,
}

// === impl Head ===

impl Head {
    /// The line, its break included.
    ///
    /// # Errors
    /// Never in practice: every member has a JSON form.
    pub fn write(&self) -> Result<Vec<u8>, InvalidLine> {
        written(&WireHead {
            format: FORMAT.into(),
            log: hex::encode(self.log),
            first: self.start.size() + 1,
            start: self.start.roots().iter().map(hex::encode).collect(),
            key: hex::encode(self.key),
        })
    }

    /// Reads the line.
    ///
    /// # Errors
    /// Says what is not as it must be.
    pub fn read(line: &[u8]) -> Result<Self, InvalidLine> {
        let wire = serde_json::from_slice::<WireHead>(line);
        let WireHead { format, log, first, start, key } =
            wire.map_err(|_| InvalidLine("the first line is not that of an exported audit log"))?;
        if format != FORMAT {
            return Err(InvalidLine("the format is not one that this version reads"));
        }
        let roots = start.iter().map(|root| bytes(root)).collect::<Result<Vec<Hash>, _>>()?;
        let size = first.checked_sub(1).ok_or(InvalidLine("entries are numbered from 1"))?;
        if first > FIRST_MAX {
            return Err(InvalidLine("no log is so long"));
        }
        let start = Frontier::new(size, roots).map_err(|_| InvalidLine("the frontier does not fit the first index"))?;
        let head = Self { log: bytes(&log)?, start, key: bytes(&key)? };
        if is_line(&head.write()?, line) { Ok(head) } else { Err(OTHERWISE) }
    }
}

// === impl Stored ===

impl Stored<'_> {
    /// The line, its break included. `differs` names the columns of the row that contradict the body.
    ///
    /// # Errors
    /// When what is stored is no entry.
    pub fn write(&self, differs: &[&str]) -> Result<Vec<u8>, InvalidLine> {
        let Self { header, content, mac, leaf } = self;
        let header = Header::decode(header).map_err(|_| InvalidLine("header"))?;
        let mut line = before_body(&header, content, mac, leaf, &differs.join(" "))?;
        let body = content.body();
        // A body that is no JSON text was not written by us, and must not break the line.
        if serde_json::from_slice::<&RawValue>(body).is_err() || body.contains(&b'\n') {
            return Err(InvalidLine("body"));
        }
        line.extend_from_slice(body);
        line.extend_from_slice(b"}\n");
        Ok(line)
    }
}

/// The line of a checkpoint, its break included.
///
/// # Errors
/// Never in practice.
pub fn write_checkpoint(note: &str) -> Result<Vec<u8>, InvalidLine> {
    written(&WireCheckpoint { checkpoint: note.to_owned() })
}

/// The last line, its break included.
///
/// # Errors
/// Never in practice.
pub fn write_end(note: &str) -> Result<Vec<u8>, InvalidLine> {
    written(&WireEnd { end: note.to_owned() })
}

/// The line of a row that is not as any writer stores one.
///
/// # Errors
/// Never in practice.
pub fn write_broken(index: u64, what: &str) -> Result<Vec<u8>, InvalidLine> {
    written(&WireBroken { index, broken: what.to_owned() })
}

// === impl Line ===

impl<'a> Line<'a> {
    /// Reads a line behind the first, of a file over that log.
    ///
    /// # Errors
    /// Says what is not as it must be.
    pub fn read(log: LogId, line: &'a [u8]) -> Result<Self, InvalidLine> {
        if let Some(entry) = EntryLine::read(log, line) {
            return Ok(Self::Entry(entry));
        }
        if line.starts_with(b"{\"checkpoint\"") {
            let read = serde_json::from_slice::<WireCheckpoint>(line);
            let wire = read.map_err(|_| InvalidLine("not a checkpoint"))?;
            return if is_line(&written(&wire)?, line) {
                Ok(Self::Checkpoint(wire.checkpoint))
            } else {
                Err(OTHERWISE)
            };
        }
        if line.starts_with(b"{\"end\"") {
            let read = serde_json::from_slice::<WireEnd>(line);
            let wire = read.map_err(|_| InvalidLine("not an end"))?;
            return if is_line(&written(&wire)?, line) { Ok(Self::End(wire.end)) } else { Err(OTHERWISE) };
        }
        match serde_json::from_slice(line) {
            Ok(WireBroken { index, broken }) => Ok(Self::Broken(index, broken)),
            Err(_) => Err(InvalidLine("not an entry, written in the one way")),
        }
    }
}

// === impl EntryLine ===

impl<'a> EntryLine<'a> {
    /// Reads the line of an entry. It can be written in one way only, so that whatever it is made of stands where it must; `None`
    /// when it is another line, or written in another way.
    pub(crate) fn read(log: LogId, line: &'a [u8]) -> Option<Self> {
        let mut rest = Cursor::new(line);
        rest.literal(br#"{"index":"#)?;
        let index = rest.unsigned()?;
        rest.literal(br#","leaf":""#)?;
        let leaf = rest.hexadecimal()?;
        rest.literal(br#"","mac":""#)?;
        let mac = rest.hexadecimal()?;
        rest.literal(br#"","writer":""#)?;
        let writer = text(rest.plain()?)?;
        rest.literal(br#","incarnation":"#)?;
        let incarnation = rest.unsigned()?;
        rest.literal(br#","sequence":"#)?;
        let sequence = rest.unsigned()?;
        rest.literal(br#","previous":""#)?;
        let previous = previous(&mut rest)?;
        rest.literal(br#"","key":""#)?;
        let key = rest.hexadecimal()?;
        rest.literal(br#"","time_ms":"#)?;
        let time_ms = rest.signed()?;
        rest.literal(br#","action":""#)?;
        let action = text(rest.plain()?)?;
        let (content, commitment, differs, told) = sealed(rest)?;
        let header = Header { log, index, writer, incarnation, sequence, previous, time_ms, action, key };
        Some(Self { header, content, mac, leaf, differs, told, commitment })
    }
}

impl Content<'_> {
    /// What is signed of it.
    #[must_use]
    pub fn commitment(&self) -> Hash {
        match self {
            Self::Body { salt, body } => commitment(salt, body),
            Self::Erased(commitment) => *commitment,
        }
    }

    // As its line has it.
    fn body(&self) -> &[u8] {
        match self {
            Self::Body { body, .. } => body,
            Self::Erased(_) => b"null",
        }
    }
}

/// Seals an entry: its stored form, and its commitment.
///
/// # Errors
/// When the writer or the action cannot be one.
pub fn seal<'a>(
    header: &Header<'_>,
    content: Content<'a>,
    key: &crate::seal::MacKey,
) -> Result<(Stored<'a>, Hash), InvalidLine> {
    let encoded = header.encode().map_err(|_| InvalidLine("header"))?;
    let commitment = content.commitment();
    let mac = key.mac(&[&encoded, &commitment]);
    let leaf = entry_leaf(&encoded, &commitment, &mac);
    Ok((Stored { header: Cow::Owned(encoded), content, mac, leaf }, commitment))
}

// The link before; the first of a chain has none, and nobody writes zeros for it.
fn previous(rest: &mut Cursor<'_>) -> Option<Hash> {
    if rest.rest().starts_with(b"\"") {
        return Some(CHAIN_START);
    }
    rest.hexadecimal().filter(|previous| *previous != CHAIN_START)
}

// What stands behind the header, to the end of the line.
fn sealed<'a>(mut rest: Cursor<'a>) -> Option<(Content<'a>, Hash, &'a str, Option<Told<'a>>)> {
    if rest.literal(br#","commitment":""#).is_some() {
        let commitment = rest.hexadecimal()?;
        let (differs, body) = body(rest)?;
        return (body == b"null").then_some((Content::Erased(commitment), commitment, differs, None));
    }
    rest.literal(br#","salt":""#)?;
    let salt = rest.hexadecimal()?;
    let (differs, body) = body(rest)?;
    let mut reading = Reading::new(&salt, body);
    let told = reading.told(body);
    if told.is_none() {
        // Any other JSON text but that of an erased body: what it says is for its readers to judge.
        let raw = serde_json::from_slice::<&RawValue>(body).ok()?.get();
        if raw == "null" || raw.len() != body.len() {
            return None;
        }
    }
    Some((Content::Body { salt, body: Cow::Borrowed(body) }, reading.commitment(), differs, told))
}

// The columns that differ, and the body behind them.
fn body(mut rest: Cursor<'_>) -> Option<(&str, &[u8])> {
    rest.literal(b"\"")?;
    let mut differs = "";
    if rest.literal(br#","differs":""#).is_some() {
        differs = text(rest.plain()?).filter(|differs| !differs.is_empty())?;
    }
    rest.literal(br#","body":"#)?;
    Some((differs, rest.rest().strip_suffix(b"}")?))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

// The line of an entry up to its body.
fn before_body(
    header: &Header<'_>,
    content: &Content<'_>,
    mac: &Hash,
    leaf: &Hash,
    differs: &str,
) -> Result<Vec<u8>, InvalidLine> {
    let Header { log: _, index, writer, incarnation, sequence, previous, time_ms, action, key } = header;
    let sealed = match content {
        Content::Body { salt, .. } => ("salt", hex::encode(salt)),
        Content::Erased(commitment) => ("commitment", hex::encode(commitment)),
    };
    let differs = if differs.is_empty() { String::new() } else { format!(",\"differs\":\"{differs}\"") };
    let previous = if *previous == CHAIN_START { String::new() } else { hex::encode(previous) };
    let mut line = Vec::with_capacity(512 + content.body().len());
    let start = write!(
        line,
        r#"{{"index":{index},"leaf":"{}","mac":"{}","writer":"{writer}","incarnation":{incarnation},"sequence":{sequence},"previous":"{previous}","key":"{}","time_ms":{time_ms},"action":"{action}","{}":"{}"{differs},"body":"#,
        hex::encode(leaf),
        hex::encode(mac),
        hex::encode(key),
        sealed.0,
        sealed.1,
    );
    start.map_err(|_| InvalidLine("line"))?;
    Ok(line)
}

fn is_line(written: &[u8], line: &[u8]) -> bool {
    written.strip_suffix(b"\n") == Some(line)
}

fn written(wire: &impl Serialize) -> Result<Vec<u8>, InvalidLine> {
    let mut line = serde_json::to_vec(wire).map_err(|_| InvalidLine("line"))?;
    line.push(b'\n');
    Ok(line)
}

fn bytes<const LENGTH: usize>(text: &str) -> Result<[u8; LENGTH], InvalidLine> {
    let mut bytes = [0; LENGTH];
    // One way to write each: what is compared as text elsewhere is the same here.
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(InvalidLine("hexadecimal digits must be lower case"));
    }
    hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidLine("not a hash of the right length"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
