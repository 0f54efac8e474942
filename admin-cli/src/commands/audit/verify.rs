//! `tollgate audit verify`: whether an exported log, or a proof, is sound.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tollgate_audit::{
    Finding, Trust, Verifier,
    file::{FORMAT, InvalidLine},
    verify::{Fault, Report},
};

use super::{
    entry::instant,
    lines::{Lines, Piece, foreign},
    proof,
    trust::{KeyView, TrustArguments, unpinned, unreadable},
};
use crate::{
    failure::{Exit, Failure},
    output::{Answer, Format, View},
    surroundings::Surroundings,
};

/// What is said under `tollgate audit verify --help`.
pub(super) const HELP: &str = "Example: tollgate audit verify audit.jsonl --key 0000000000000000000000000000000000000000000000000000000000000000

Needs no server and no token. FILE is an export in the format jsonl, or a proof as `tollgate audit prove` prints it. Several files that
follow each other, archives and then an export of what is left, verify as one.
Without --key it is shown that the file agrees with itself; with it, that your control plane signed it. With --checkpoint it is
shown too that the log is still the one that was seen then, and not shorter. Entries before the beginning must have been pruned,
and bodies erased, by the word of an entry in the file; an archive or an export --from-index is a part of the log: --partial.

Exit codes: 0 sound, 1 tampered (the first entry at which something is wrong is named), 2 unreadable.";

/// What is verified.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// The exported log, or the proof; - is standard input. Several files must follow each other
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The files are a part of the log: do not ask for what is before and behind them
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    trust: TrustArguments,
}

/// A sound log, for people and programs.
#[derive(Serialize)]
struct SoundView {
    sound: bool,
    file: String,
    log: String,
    first: u64,
    last: u64,
    entries: u64,
    macs_checked: u64,
    erased: u64,
    /// How many of those no entry in the file declares.
    undeclared: u64,
    /// Whether an entry in the file says that what is before it was pruned.
    pruned: bool,
    checkpoints: u64,
    witnessed: u64,
    not_compared: u64,
    pinned: bool,
    root: String,
    signed_at: Option<String>,
    keys: Vec<KeyView>,
}

/// A log that is not sound.
#[derive(Serialize)]
struct TamperedView {
    sound: bool,
    file: String,
    /// The first index at which something is wrong; 0 for the first line.
    index: u64,
    fault: String,
}

/// What a file turned out to be.
pub(super) enum Verified {
    /// An export.
    Log(Report),
    /// Something is wrong.
    Tampered(Finding),
    /// A proof: the first line, with which it begins.
    Proof(Vec<u8>),
}

// A file that was read to its end, or as far as it says anything.
enum Begun {
    Log(Box<Verifier>),
    Ended(Verified),
}

impl Verify {
    pub(super) fn run(self, format: Format, surroundings: &mut Surroundings<'_>) -> Result<Answer, Failure> {
        let Self { files, partial, trust } = self;
        let (trust, mut notes) = trust.read()?;
        let trust = Trust { partial, ..trust };
        let Some((file, others)) = files.split_first() else { return Err(Failure::usage("which file?")) };
        let mut lines = Lines::open(file, surroundings).map_err(unreadable)?;
        let mut name = lines.name().to_owned();
        let with_macs = !trust.mac_keys.is_empty();
        let mut begun = begin(&mut lines, trust.clone(), &mut |_| Ok(())).map_err(unreadable)?;
        if let Begun::Ended(Verified::Proof(first)) = begun {
            let answer = match proof::Proof::read(&first, &mut lines).map_err(unreadable)?.check(&trust) {
                Ok(checked) => checked.answer(format, name)?,
                Err(finding) => tampered(format, name, finding.index, &finding.fault)?,
            };
            return Ok(notes.into_iter().fold(answer, Answer::note));
        }
        drop(lines);
        for file in others {
            let Begun::Log(verifier) = begun else { break };
            let mut next = Lines::open(file, surroundings).map_err(unreadable)?;
            next.name().clone_into(&mut name);
            begun = go_on(*verifier, &mut next).map_err(unreadable)?;
        }
        let answer = match begun.finish() {
            Verified::Log(report) => {
                if with_macs && report.macs == 0 {
                    notes.push("no entry names an HMAC key that was given: no MAC was checked".to_owned());
                }
                sound(format, name, report)?
            }
            Verified::Tampered(finding) => tampered(format, name, finding.index, &finding.fault.to_string())?,
            Verified::Proof(_) => return Err(foreign(&name)),
        };
        Ok(notes.into_iter().fold(answer, Answer::note))
    }
}

/// Verifies a file line by line, and shows each line to `see` once it is found to be in order.
///
/// # Errors
/// When it cannot be read, or is something else.
pub(super) fn verified(
    lines: &mut Lines<'_>,
    trust: Trust,
    mut see: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<Verified, Failure> {
    Ok(begin(lines, trust, &mut see)?.finish())
}

type See<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), Failure>;

fn begin(lines: &mut Lines<'_>, trust: Trust, see: See<'_>) -> Result<Begun, Failure> {
    let first = match lines.next()? {
        Some(Piece::Whole(line) | Piece::Broken(line)) => line.to_vec(),
        Some(Piece::TooLong) => return Err(foreign(lines.name())),
        None => return Err(Failure::new("unreadable", format!("{} is empty", lines.name()))),
    };
    if proof::is_first_line(&first) {
        return Ok(Begun::Ended(Verified::Proof(first)));
    }
    match Verifier::begin(&first, trust) {
        Ok(verifier) => {
            see(&first)?;
            read(Box::new(verifier), lines, 1, see)
        }
        Err(finding) => begins_badly(&first, lines, finding).map(Begun::Ended),
    }
}

// The next of several files.
fn go_on(mut verifier: Verifier, lines: &mut Lines<'_>) -> Result<Begun, Failure> {
    let first = match lines.next()? {
        Some(Piece::Whole(line) | Piece::Broken(line)) => line.to_vec(),
        _ => return Err(foreign(lines.name())),
    };
    let index = verifier.next_index();
    match verifier.go_on(&first) {
        Ok(()) => read(Box::new(verifier), lines, index, &mut |_| Ok(())),
        Err(finding) => Ok(Begun::Ended(Verified::Tampered(finding))),
    }
}

// The index is that of the entry that is read next.
fn read(mut verifier: Box<Verifier>, lines: &mut Lines<'_>, mut index: u64, see: See<'_>) -> Result<Begun, Failure> {
    let finding = |index, what| Finding { index, fault: Fault::Line(InvalidLine(what)) };
    while let Some(piece) = lines.next()? {
        let checked = match piece {
            Piece::Whole(line) => verifier.line(line).map(|()| line),
            Piece::Broken(line) => verifier.line(line).and_then(|()| {
                Err(Finding { index, fault: Fault::Truncated("the file ends within a line".to_owned()) })
            }),
            Piece::TooLong => Err(finding(index, "it is longer than any line of a log")),
        };
        match checked {
            Ok(line) => {
                index = next_index(line, index);
                see(line)?;
            }
            Err(finding) => return Ok(Begun::Ended(Verified::Tampered(finding))),
        }
    }
    Ok(Begun::Log(verifier))
}

impl Begun {
    fn finish(self) -> Verified {
        match self {
            Self::Ended(verified) => verified,
            Self::Log(verifier) => match verifier.finish() {
                Ok(report) => Verified::Log(report),
                Err(finding) => Verified::Tampered(finding),
            },
        }
    }
}

// An entry's line was checked to have the next index.
fn next_index(line: &[u8], index: u64) -> u64 {
    let digits = line.strip_prefix(b"{\"index\":").unwrap_or_default();
    let digits = digits.split(|byte| !byte.is_ascii_digit()).next().and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse::<u64>().ok()).map_or(index, |found| found + 1)
}

// A log whose beginning was changed or cut off is a tampered one; whatever else is no log.
fn begins_badly(first: &[u8], lines: &mut Lines<'_>, finding: Finding) -> Result<Verified, Failure> {
    let name = lines.name().to_owned();
    if is_of_later_version(first) {
        return Err(Failure::new(
            "unreadable",
            format!("{name} is an audit log of a format that this version does not read"),
        )
        .hint("use a `tollgate` of the version that exported it"));
    }
    let is_entry = |line: &[u8]| line.starts_with(b"{\"index\":");
    let begun = format!("{{\"format\":\"{FORMAT}\"");
    let resembles = first.windows(15).any(|window| window == b"tollgate-audit-")
        || (!first.is_empty() && begun.as_bytes().starts_with(first))
        || is_entry(first);
    let second = matches!(lines.next()?, Some(Piece::Whole(line) | Piece::Broken(line)) if is_entry(line));
    if resembles || second { Ok(Verified::Tampered(finding)) } else { Err(foreign(&name)) }
}

fn is_of_later_version(first: &[u8]) -> bool {
    let document: Option<serde_json::Value> = serde_json::from_slice(first).ok();
    let format = document.as_ref().and_then(|document| document.get("format")?.as_str()).unwrap_or_default();
    let version = format.strip_prefix("tollgate-audit-").unwrap_or_default();
    format != FORMAT && version.parse::<u32>().is_ok()
}

fn sound(format: Format, file: String, report: Report) -> Result<Answer, Failure> {
    let Report {
        first,
        checkpoint,
        entries,
        macs,
        erased,
        undeclared,
        pruned,
        checkpoints,
        witnessed,
        older,
        pinned,
        keys,
    } = report;
    let view = SoundView {
        sound: true,
        file,
        log: hex::encode(checkpoint.log),
        first,
        last: checkpoint.size,
        entries,
        macs_checked: macs,
        erased,
        undeclared,
        pruned,
        checkpoints,
        witnessed,
        not_compared: older,
        pinned,
        root: hex::encode(checkpoint.root),
        signed_at: instant(checkpoint.time_ms),
        keys: keys.iter().map(KeyView::from).collect(),
    };
    let answer = format.item(&view)?;
    // The first key is the one that the file names; the others are announced by entries that it signed.
    let first = view.keys.get(..1).unwrap_or_default();
    Ok(if pinned { answer } else { answer.note(unpinned(first, "--key")) })
}

/// The answer for what is not sound.
pub(super) fn tampered(format: Format, file: String, index: u64, fault: &str) -> Result<Answer, Failure> {
    let place = if index == 0 { "the first line".to_owned() } else { format!("entry {index}") };
    let note = format!("error: {file} is not sound: {place}: {fault}");
    let view = TamperedView { sound: false, file, index, fault: fault.to_owned() };
    Ok(Answer { exit: Exit::Failed, ..format.item(&view)?.note(note) })
}

// === impl SoundView ===

impl View for SoundView {
    const PLURAL: &'static str = "logs";
    const LISTED: &'static [&'static str] = &["file", "sound", "entries"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let some = |count: u64| if count == 0 { String::new() } else { count.to_string() };
        let mut fields = vec![
            ("sound", "yes".to_owned()),
            ("file", self.file.clone()),
            ("log", self.log.clone()),
            ("entries", format!("{}, from {} to {}", self.entries, self.first, self.last)),
            ("checkpoints", self.checkpoints.to_string()),
            ("MACs checked", some(self.macs_checked)),
            ("erased", some(self.erased)),
            ("erased, not declared here", some(self.undeclared)),
            ("before it", if self.pruned { "pruned".to_owned() } else { String::new() }),
            ("witnessed", some(self.witnessed)),
            ("not compared", some(self.not_compared)),
            ("root", self.root.clone()),
            ("signed at", self.signed_at.clone().unwrap_or_default()),
        ];
        fields.extend(self.keys.iter().map(|key| ("key", key.to_string())));
        fields
    }
}

// === impl TamperedView ===

impl View for TamperedView {
    const PLURAL: &'static str = "logs";
    const LISTED: &'static [&'static str] = &["file", "sound", "index", "fault"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let fault = crate::commands::text::for_terminal(&self.fault);
        vec![
            ("sound", "no".to_owned()),
            ("file", self.file.clone()),
            ("index", self.index.to_string()),
            ("fault", fault),
        ]
    }
}
