//! What is kept of what was seen, within bounds: the first of all, the newest ones, and of those in between the fewer the older
//! they are.

use serde::{Deserialize, Serialize};
use tollgate_audit::{Checkpoint, Note, checkpoint::PublicKey, seal::LogId, verify::ChainLink};

/// The longest note that is kept, in bytes: one takes 350, and during a rotation 650.
pub(super) const NOTE_BYTES_MAX: usize = 1_024;
/// The most checkpoints that are kept, and how many of the newest are all kept.
const CHECKPOINTS_MAX: usize = 512;
const CHECKPOINTS_RECENT: usize = 64;
/// The most checkpoints in conflict that are kept.
const CONFLICTS_MAX: usize = 64;
const CONFLICTS_RECENT: usize = 16;
/// The most public keys: one is made a year.
const KEYS_MAX: usize = 16;
const KEYS_RECENT: usize = 8;
/// The most runs of which the newest link is kept.
pub(super) const LINKS_MAX: usize = 64;
/// A checkpoint that was signed so much before the newest one, in milliseconds, is only late: it comes from another control plane.
const LATE_MS_MAX: i64 = 60_000;

/// A line of the file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line {
    /// A public key that signed checkpoints from there on, in hexadecimal digits.
    Key(String),
    /// A signed checkpoint.
    Checkpoint(String),
    /// A signed checkpoint that contradicts one above it.
    Conflict(String),
    /// An entry of this replica that a control plane acknowledged.
    Link(ChainLink),
}

/// What a checkpoint is to those that were kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Judged {
    /// The newest.
    New,
    /// Nothing new.
    Known,
    /// The first of a log that is not the one that was there.
    AnotherLog,
    /// Not of the log that was witnessed: why.
    Conflict(&'static str),
}

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Book {
    keys: Vec<String>,
    checkpoints: Vec<(Checkpoint, String)>,
    conflicts: Vec<String>,
    // The one that was written last stands last.
    links: Vec<ChainLink>,
}

impl Line {
    pub(super) fn key(key: &PublicKey) -> Self {
        Self::Key(hex::encode(key))
    }
}

impl Book {
    /// Whether this key was seen before; `None` when there was none.
    pub(super) fn knows_key(&self, key: &PublicKey) -> Option<bool> {
        let key = hex::encode(key);
        (!self.keys.is_empty()).then(|| self.keys.contains(&key))
    }

    /// The newest checkpoint of a log.
    pub(super) fn newest(&self, log: LogId) -> Option<&Checkpoint> {
        self.of(log).next_back()
    }

    /// What a checkpoint is to those that are here.
    pub(super) fn judge(&self, checkpoint: &Checkpoint) -> Judged {
        let Checkpoint { log, size, root, time_ms } = *checkpoint;
        let Some(newest) = self.newest(log) else {
            return if self.checkpoints.is_empty() { Judged::New } else { Judged::AnotherLog };
        };
        if size > newest.size {
            return Judged::New;
        }
        match self.of(log).find(|kept| kept.size == size) {
            Some(kept) if kept.root == root => Judged::Known,
            Some(_) => Judged::Conflict("it has another root than one of its size"),
            None if (0..=LATE_MS_MAX).contains(&newest.time_ms.saturating_sub(time_ms)) => Judged::Known,
            None => Judged::Conflict("it is shorter than it was"),
        }
    }

    /// Adds what a line says. What is no note is left out: nobody could compare anything with it.
    pub(super) fn add(&mut self, line: Line) {
        match line {
            Line::Key(key) => {
                self.keys.push(key);
                thin(&mut self.keys, KEYS_MAX, KEYS_RECENT);
            }
            Line::Checkpoint(text) => {
                if let Ok(note) = Note::parse(&text) {
                    self.checkpoints.push((*note.checkpoint(), text));
                    thin(&mut self.checkpoints, CHECKPOINTS_MAX, CHECKPOINTS_RECENT);
                }
            }
            Line::Conflict(text) => {
                self.conflicts.push(text);
                thin(&mut self.conflicts, CONFLICTS_MAX, CONFLICTS_RECENT);
            }
            Line::Link(link) => {
                self.links.retain(|kept| (kept.incarnation, &kept.writer) != (link.incarnation, &link.writer));
                self.links.push(link);
                let more = self.links.len().saturating_sub(LINKS_MAX);
                self.links.drain(..more);
            }
        }
    }

    /// Everything, as lines from which the same book is read.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        let keys = self.keys.iter().cloned().map(Line::Key);
        let checkpoints = self.checkpoints.iter().map(|(_, text)| Line::Checkpoint(text.clone()));
        let conflicts = self.conflicts.iter().cloned().map(Line::Conflict);
        keys.chain(checkpoints).chain(conflicts).chain(self.links.iter().cloned().map(Line::Link))
    }

    fn of(&self, log: LogId) -> impl DoubleEndedIterator<Item = &Checkpoint> {
        self.checkpoints.iter().map(|(checkpoint, _)| checkpoint).filter(move |checkpoint| checkpoint.log == log)
    }
}

// Beyond the bound, every second of all but the recent ones goes: the first stays, and each time is the older part sparser.
fn thin<T>(kept: &mut Vec<T>, most: usize, recent: usize) {
    if kept.len() <= most {
        return;
    }
    let older = kept.len().saturating_sub(recent);
    let mut places = 0..;
    kept.retain(|_| places.next().is_none_or(|place: usize| place >= older || place.is_multiple_of(2)));
}
