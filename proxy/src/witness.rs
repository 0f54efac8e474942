//! The replica as a witness of the audit log: what it was told of the log, and what it wrote into it, where no control plane and
//! no database reaches.
//!
//! A control plane says now and then how long the log is and what the root over it is; the replica keeps that, with the links of
//! its own chain that were acknowledged, in `audit-witness.jsonl` in its data directory. `tollgate audit verify` compares a log
//! with such a file. The replica sees by itself only what contradicts what it has: a log that became shorter, or that is as long
//! and another. It goes on serving then, and says so: an error in its log, a metric, a line in the file.
//!
//! A replica whose spool is in memory keeps all of that in memory too: what it has seen is then compared while it runs, and gone
//! with it.
//!
//! Reading order: [`Witness`], by which others say what they see; [`Watch`], who judges and keeps it; `book`, what is kept;
//! `file`, where.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tollgate_audit::{
    Note,
    checkpoint::{PublicKey, key_name},
    seal::is_writer,
    tree::Hash,
    verify::ChainLink,
};
use tollgate_proto::fleet::v1::Checkpoint;

use self::{
    book::{Book, Judged, Line},
    file::Store,
};

mod book;
mod file;

/// The name of the file in the data directory.
pub const FILE_NAME: &str = "audit-witness.jsonl";
/// What waits to be kept. There is a checkpoint every few seconds, and a link with each report: what finds no place is one of
/// many alike, and nothing that holds up policy or reports.
const SEEN_MAX: usize = 64;
/// Between two writes of links.
const LINKS_INTERVAL: Duration = Duration::from_secs(5);

/// Tells the [`Watch`] what was seen. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Witness(mpsc::Sender<Seen>);

/// Judges what was seen, and keeps it. There is one in a replica.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: mpsc::Receiver<Seen>,
    keeping: Keeping,
}

#[derive(Debug)]
enum Seen {
    Writer(String),
    Checkpoint(Checkpoint),
    Link { incarnation: u64, sequence: u64, link: Hash },
}

#[derive(Debug)]
struct Keeping {
    book: Book,
    store: Store,
    conflicts: Counter,
    writer: Option<String>,
    // By run: the newest that is not kept yet.
    links: BTreeMap<u64, (u64, Hash)>,
    links_kept: Option<Instant>,
    // Whether the last checkpoint was in conflict, or none at all: it is told when that begins.
    conflicting: bool,
    invalid: bool,
}

/// Makes the queue, and reads what was witnessed before. Blocks. `None` keeps it in memory.
pub(crate) fn open(path: Option<PathBuf>, conflicts: Counter) -> (Witness, Watch) {
    let (sender, seen) = mpsc::channel(SEEN_MAX);
    let (store, book) = Store::open(path);
    let keeping = Keeping {
        book,
        store,
        conflicts,
        writer: None,
        links: BTreeMap::new(),
        links_kept: None,
        conflicting: false,
        invalid: false,
    };
    (Witness(sender), Watch { seen, keeping })
}

// === impl Witness ===

impl Witness {
    /// Under this id the replica writes into the log.
    pub(crate) fn writer(&self, replica: &str) {
        self.say(Seen::Writer(replica.to_owned()));
    }

    /// A control plane said that the log is like this.
    pub(crate) fn checkpoint(&self, checkpoint: Checkpoint) {
        self.say(Seen::Checkpoint(checkpoint));
    }

    /// A control plane has this entry of a run of this replica, and all before it.
    pub(crate) fn acknowledged(&self, incarnation: u64, sequence: u64, link: Hash) {
        self.say(Seen::Link { incarnation, sequence, link });
    }

    fn say(&self, seen: Seen) {
        if self.0.try_send(seen).is_err() {
            tracing::debug!("what was seen of the audit log found no place to be kept");
        }
    }
}

impl Default for Witness {
    /// Nobody keeps what it sees.
    fn default() -> Self {
        Self(mpsc::channel(1).0)
    }
}

// === impl Watch ===

impl Watch {
    /// Keeps what is seen until nobody is left to see anything.
    pub(crate) async fn run(self) {
        let Self { mut seen, mut keeping } = self;
        loop {
            let mut batch = Vec::new();
            let due = keeping.links_due(Instant::now());
            let ended = tokio::select! {
                biased;
                count = seen.recv_many(&mut batch, SEEN_MAX) => count == 0,
                () = wait(due) => false,
            };
            let now = Instant::now();
            let work = move || {
                batch.into_iter().for_each(|seen| keeping.take(seen));
                if ended || keeping.links_due(now).is_some_and(|due| due <= now) {
                    keeping.keep_links(now);
                }
                keeping
            };
            keeping = match tokio::task::spawn_blocking(work).await {
                Ok(keeping) if !ended => keeping,
                Ok(_) => return,
                Err(error) => return tracing::error!(%error, "the audit log is no longer witnessed"),
            };
        }
    }
}

async fn wait(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

// === impl Keeping ===

impl Keeping {
    fn take(&mut self, seen: Seen) {
        match seen {
            Seen::Writer(writer) if is_writer(&writer) => self.writer = Some(writer),
            Seen::Writer(_) => {}
            Seen::Checkpoint(checkpoint) => self.checkpoint(&checkpoint),
            Seen::Link { incarnation, sequence, link } => {
                self.links.insert(incarnation, (sequence, link));
                while self.links.len() > book::LINKS_MAX {
                    self.links.pop_first();
                }
            }
        }
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        let Checkpoint { note: text, public_key } = checkpoint;
        let (note, key) = match read(text, public_key) {
            Ok(read) => read,
            Err(reason) => {
                if !std::mem::replace(&mut self.invalid, true) {
                    tracing::warn!(reason, "control plane sent a checkpoint of the audit log that is none");
                }
                return;
            }
        };
        self.invalid = false;
        let known = self.book.knows_key(&key);
        if known == Some(false) {
            tracing::warn!(key = key_name(&key), "the audit log is signed with a key that was not seen here before");
        }
        if known != Some(true) {
            self.keep(Line::key(&key));
        }
        let size = note.checkpoint().size;
        match self.book.judge(note.checkpoint()) {
            Judged::Known => {}
            Judged::New => {
                if std::mem::take(&mut self.conflicting) {
                    tracing::info!(size, "the audit log has grown beyond what this replica had witnessed");
                }
                self.keep(Line::Checkpoint(text.clone()));
            }
            Judged::AnotherLog => {
                self.conflicts.inc();
                let origin = note.checkpoint().origin();
                tracing::error!(size, origin, "the audit log is another one than this replica has witnessed");
                self.keep(Line::Checkpoint(text.clone()));
            }
            Judged::Conflict(reason) => {
                self.conflicts.inc();
                if !std::mem::replace(&mut self.conflicting, true) {
                    let newest = self.book.newest(note.checkpoint().log).map(|newest| newest.size);
                    tracing::error!(size, newest, reason, "the audit log is not what this replica has witnessed");
                }
                self.keep(Line::Conflict(text.clone()));
            }
        }
    }

    fn keep(&mut self, line: Line) {
        let written = self.store.append(&line);
        self.book.add(line);
        self.store.settle(written, &self.book);
    }

    // The first are due at once.
    fn links_due(&self, now: Instant) -> Option<Instant> {
        if self.links.is_empty() || self.writer.is_none() {
            return None;
        }
        Some(self.links_kept.map_or(now, |kept| kept + LINKS_INTERVAL))
    }

    fn keep_links(&mut self, now: Instant) {
        let Some(writer) = self.writer.clone() else { return };
        for (incarnation, (sequence, link)) in std::mem::take(&mut self.links) {
            self.keep(Line::Link(ChainLink { writer: writer.clone(), incarnation, sequence, link }));
        }
        self.links_kept = Some(now);
    }
}

// A note that the key beside it signed.
fn read(text: &str, public_key: &[u8]) -> Result<(Note, PublicKey), &'static str> {
    if text.len() > book::NOTE_BYTES_MAX {
        return Err("it is too long");
    }
    let key = PublicKey::try_from(public_key).map_err(|_| "its key is none")?;
    let note = Note::parse(text).map_err(|_| "it is not in the form of one")?;
    if note.is_signed_by(&key) { Ok((note, key)) } else { Err("the key beside it did not sign it") }
}

#[cfg(test)]
mod tests;
