//! What was seen of the log before, in whatever form it was kept.

use std::path::Path;

use serde::Deserialize;
use tollgate_audit::{
    Note,
    file::{FORMAT, Line},
    verify::{ChainLink, Witness},
};

use super::lines::{Lines, Piece};
use crate::failure::Failure;

/// The most statements of one file. A replica keeps less than a thousand, a control plane some 80,000.
const WITNESSES_MAX: usize = 1_000_000;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What was seen.
    pub(super) witnesses: Vec<Witness>,
    /// What the caller should know.
    pub(super) note: Option<String>,
}

// A line of a replica's or of a control plane's file. Each of a writer that was killed may be half of one.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kept {
    Key(#[expect(dead_code, reason = "a key is said to be one, and is not a statement about the log")] String),
    Checkpoint(String),
    Conflict(String),
    Link(ChainLink),
}

// What `tollgate audit checkpoint -o json` and `tollgate audit prove` print.
#[derive(Deserialize)]
struct Document {
    checkpoint: String,
}

/// Reads a file.
///
/// # Errors
/// When it says nothing about a log.
pub(super) fn read(path: &Path) -> Result<Seen, Failure> {
    let mut lines = Lines::of_file(path)?;
    let name = lines.name().to_owned();
    let first = match lines.next()? {
        Some(Piece::Whole(line) | Piece::Broken(line)) => line.to_vec(),
        _ => vec![],
    };
    let seen = if first.starts_with(b"tollgate/") || first.trim_ascii() == b"{" {
        whole(&first, &mut lines)?
    } else if is_export(&first) {
        last_of_export(&mut lines)?
    } else {
        kept(&first, &mut lines)?
    };
    if seen.witnesses.is_empty() {
        return Err(Failure::new("unreadable", format!("{name} holds no checkpoint that can be read")).hint(
            "--checkpoint takes audit-witness.jsonl, audit-checkpoints.jsonl, a signed checkpoint or an export",
        ));
    }
    Ok(seen)
}

fn is_export(first: &[u8]) -> bool {
    first.starts_with(format!("{{\"format\":\"{FORMAT}\"").as_bytes())
}

// A signed note, or a document that holds one.
fn whole(first: &[u8], lines: &mut Lines<'_>) -> Result<Seen, Failure> {
    let mut text = first.to_vec();
    text.push(b'\n');
    while let Some(Piece::Whole(line) | Piece::Broken(line)) = lines.next()? {
        // Of a line that is longer than a log's, and of a text that is longer than a document of ours, nothing is a note.
        if text.len() > tollgate_audit::file::LINE_BYTES_MAX {
            break;
        }
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    let note = match serde_json::from_slice(&text) {
        Ok(Document { checkpoint }) => checkpoint,
        Err(_) => String::from_utf8(text).unwrap_or_default(),
    };
    Ok(Seen { witnesses: checkpoint(&note).into_iter().collect(), note: None })
}

// The last one is over all entries of the file, and so over every other in it.
fn last_of_export(lines: &mut Lines<'_>) -> Result<Seen, Failure> {
    let mut last = None;
    while let Some(piece) = lines.next()? {
        let (Piece::Whole(line) | Piece::Broken(line)) = piece else { break };
        if !line.starts_with(b"{\"checkpoint\"") && !line.starts_with(b"{\"end\"") {
            continue;
        }
        if let Ok(Line::Checkpoint(note) | Line::End(note)) = Line::read([0; 16], line) {
            last = checkpoint(&note).or(last);
        }
    }
    Ok(Seen { witnesses: last.into_iter().collect(), note: None })
}

fn kept(first: &[u8], lines: &mut Lines<'_>) -> Result<Seen, Failure> {
    let mut witnesses = vec![];
    let mut unread = 0_u64;
    let mut take = |line: &[u8]| match statement(line) {
        Some(Some(witness)) => witnesses.push(witness),
        Some(None) => {}
        None => unread += 1,
    };
    take(first);
    let mut count = 1;
    while let Some(piece) = lines.next()? {
        match piece {
            Piece::Whole(line) | Piece::Broken(line) => take(line),
            Piece::TooLong => take(&[]),
        }
        count += 1;
        if count > WITNESSES_MAX {
            let message = format!("{} has more than {WITNESSES_MAX} lines", lines.name());
            return Err(Failure::new("unreadable", message));
        }
    }
    let name = lines.name();
    let note = (unread > 0).then(|| format!("{name}: {unread} lines could not be read, and say nothing"));
    Ok(Seen { witnesses, note })
}

// `None`: the line is none. `Some(None)`: it says nothing about the log.
fn statement(line: &[u8]) -> Option<Option<Witness>> {
    Some(match serde_json::from_slice(line).ok()? {
        Kept::Key(_) => None,
        // What contradicts another was signed too: no log can have been like both.
        Kept::Checkpoint(note) | Kept::Conflict(note) => Some(checkpoint(&note)?),
        Kept::Link(link) => Some(Witness::Link(link)),
    })
}

fn checkpoint(note: &str) -> Option<Witness> {
    Note::parse(note).ok().map(Witness::Checkpoint)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tests::sealed::Sealed;

    #[test]
    fn every_form_in_which_a_checkpoint_is_kept_is_read() {
        let mut log = Sealed::new();
        log.write("key.create");
        let note = log.checkpoint();
        log.write("key.delete");
        log.checkpoint();
        let line = |name: &str| serde_json::json!({ name: note }).to_string();
        let link = serde_json::json!({"link": {"writer": "replica-1", "incarnation": 1, "sequence": 1, "link": "ab".repeat(32)}});
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seen");
        let check = |text: &str, expect: usize, unread: bool| {
            fs::write(&path, text).unwrap();
            let seen = read(&path).unwrap();
            assert_eq!((seen.witnesses.len(), seen.note.is_some()), (expect, unread), "{text}");
        };
        check(&note, 1, false);
        check(&serde_json::to_string_pretty(&serde_json::json!({"checkpoint": note, "log": "x"})).unwrap(), 1, false);
        check(&log.export(), 1, false);
        let (key, checkpoint, conflict) = (r#"{"key":"aa"}"#, line("checkpoint"), line("conflict"));
        check(&format!("{checkpoint}\n{checkpoint}\n"), 2, false);
        check(&format!("{key}\n{checkpoint}\n{conflict}\n{link}\n"), 3, false);
        // The writer was killed, once or twice.
        check(&format!("{checkpoint}\n{}", &checkpoint[..50]), 1, true);
        check(&format!("{}{checkpoint}\n{checkpoint}\n", &checkpoint[..50]), 1, true);
    }

    #[test]
    fn what_says_nothing_about_a_log_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seen");
        for text in ["", "\n", "hello\n", "{\n}\n", "tollgate/\n", r#"{"key":"aa"}"#] {
            fs::write(&path, text).unwrap();
            assert_eq!(read(&path).unwrap_err().code, "unreadable", "{text:?}");
        }
    }
}
