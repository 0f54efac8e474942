//! Entries in the forms that other systems read (`core/audit`'s `Format`), from the lines of an export or from the pages of a list.

use clap::ValueEnum;
use serde_json::{Map, Value};
use tollgate_audit::{
    Entry, Facts, Format, Outcome, Placed,
    export::Told,
    file::{Content, EntryLine},
    tree::Hash,
};
use tollgate_proto::audit::v1;

use crate::{failure::Failure, literals::from_wire, surroundings::Surroundings};

/// Where Linux says how the machine is called.
const HOST_FILE: &str = "/proc/sys/kernel/hostname";

/// The form of an export, as it is typed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Form {
    /// The sealed log, which `tollgate audit verify` checks; no filters.
    #[default]
    Jsonl,
    /// One JSON array of entries.
    Json,
    /// A syslog message a line (RFC 5424).
    Syslog,
    /// ArcSight's Common Event Format, a line each.
    Cef,
    /// Events of the Open Cybersecurity Schema Framework, a line each.
    Ocsf,
}

/// Writes records, with what stands around them.
#[derive(Debug)]
pub(super) struct Recorder {
    form: Form,
    host: String,
    written: u64,
}

impl Form {
    const fn format(self) -> Format {
        match self {
            Self::Jsonl => Format::JsonLines,
            Self::Json => Format::Json,
            Self::Syslog => Format::Syslog,
            Self::Cef => Format::Cef,
            Self::Ocsf => Format::Ocsf,
        }
    }

    /// The word for it.
    pub(super) const fn word(self) -> &'static str {
        self.format().word()
    }
}

impl Recorder {
    /// Writes in this form. The host is whom syslog names as the sender.
    pub(super) fn new(form: Form, host: String) -> Self {
        Self { form, host, written: 0 }
    }

    /// Whether there are no records, but the lines of the log as they are.
    pub(super) const fn is_sealed(&self) -> bool {
        matches!(self.form, Form::Jsonl)
    }

    /// How many records there are.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// The record of an entry of an export.
    pub(super) fn line(&mut self, line: &EntryLine<'_>) -> Result<Vec<u8>, Failure> {
        let entry = match &line.content {
            Content::Body { body, .. } => {
                Some(Entry::decode(body).map_err(|error| unreadable(line.header.index, error))?)
            }
            Content::Erased(_) => None,
        };
        Ok(self.record(&Placed::new(&line.header, line.leaf, entry.as_ref())))
    }

    /// The record of an entry of a list.
    pub(super) fn listed(&mut self, entry: &v1::Entry) -> Result<Vec<u8>, Failure> {
        let index = entry.index.unsigned_abs();
        let time_ms = from_wire(entry.time.as_ref()).map_or(0, jiff::Timestamp::as_millisecond);
        let leaf = Hash::try_from(entry.leaf.as_slice()).map_err(|_| unreadable(index, "its leaf hash is none"))?;
        let placed = |told| Placed { index, writer: &entry.writer, leaf, told };
        if entry.erased {
            return Ok(self.record(&placed(Told::Erased { time_ms, action: &entry.action })));
        }
        let outcome = Outcome::of_word(&entry.outcome).ok_or_else(|| unreadable(index, "its outcome is none"))?;
        let detail: Map<String, Value> =
            serde_json::from_str(&entry.detail).map_err(|error| unreadable(index, error))?;
        let facts = Facts {
            initiator: &entry.initiator,
            target: &entry.target,
            replica: &entry.replica,
            request_id: &entry.request_id,
            session: &entry.session,
            source_address: &entry.source_address,
            detail,
        };
        let entry = Entry::new(time_ms, &entry.action, outcome, facts);
        Ok(self.record(&placed(Told::Entry(&entry))))
    }

    /// What stands behind the last record.
    pub(super) fn end(&self) -> &'static [u8] {
        match (self.form, self.written) {
            (Form::Json, 0) => b"[]\n",
            (Form::Json, _) => b"\n]\n",
            _ => b"",
        }
    }

    fn record(&mut self, placed: &Placed<'_>) -> Vec<u8> {
        let record = self.form.format().record(&self.host, placed).unwrap_or_default();
        let first = self.written == 0;
        self.written += 1;
        match self.form {
            Form::Json => [if first { b"[\n".as_slice() } else { b",\n" }, &record].concat(),
            _ => [record.as_slice(), b"\n"].concat(),
        }
    }
}

/// How this machine is called; empty when nothing says so.
pub(super) fn host(surroundings: &Surroundings<'_>) -> String {
    let named = surroundings.variable("HOSTNAME").map(str::to_owned);
    let told = || std::fs::read_to_string(HOST_FILE).ok().map(|text| text.trim().to_owned());
    named.or_else(told).unwrap_or_default()
}

fn unreadable(index: u64, reason: impl std::fmt::Display) -> Failure {
    Failure::new("unreadable", format!("entry {index} cannot be read: {reason}"))
        .hint("export the log as jsonl and run `tollgate audit verify` on it")
}
