//! Checkpoints: every few seconds the length of the log and the root over it are signed, and told where a writer of the database
//! does not reach: to a file, to the log of the process, and to every replica.
//!
//! What this process has told is never contradicted silently: when the database holds less than the file beside it says, or
//! something else, that becomes an entry of its own, an error in the log of the process and a gauge.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tollgate_audit::{Checkpoint, Entry, Facts, Fields, Note, Outcome, checkpoint::PublicKey, file};

use super::append;
use crate::{
    clock,
    store::{Store, StoreError, Txn},
};

/// The file in the data directory to which checkpoints are appended.
pub const FILE: &str = "audit-checkpoints.jsonl";
/// How long an entry waits for a checkpoint at most, in a control plane that runs.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often is looked whether so many entries came that they are not to wait.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// So many entries do not wait.
const ENTRIES_MAX: i64 = 1_000;
/// At this length, in bytes, the file becomes `.old` in the place of the one before, and a new one begins: some 40,000
/// checkpoints each.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// The longest line that is read back.
const LINE_BYTES_MAX: usize = file::LINE_BYTES_MAX;

/// A signed checkpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signed {
    /// What is signed.
    pub checkpoint: Checkpoint,
    /// The note.
    pub note: Arc<str>,
    /// The key that verifies it.
    pub public_key: PublicKey,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to keep checkpoints in {path}")]
pub struct FileError {
    /// The file.
    path: PathBuf,
    /// Why.
    #[source]
    source: std::io::Error,
}

/// Signs checkpoints and tells them. There is one in a control plane.
#[derive(Debug)]
pub struct Checkpoints {
    store: Store,
    path: PathBuf,
    newest: watch::Sender<Option<Signed>>,
}

/// Signs the log as it is in this transaction, unless that was done. Returns the newest checkpoint; `None` for an empty log.
///
/// # Errors
/// When the database refuses.
pub async fn sign(txn: &mut Txn, now_ms: i64) -> Result<Option<Signed>, StoreError> {
    let head = txn.audit_head().await?;
    if head.frontier.size() == 0 {
        return Ok(None);
    }
    if let Some(signed) = txn.audit_checkpoint_at(head.size()).await? {
        return Ok(Some(signed));
    }
    let epoch = txn.epochs().open(txn, &head.epoch).await?;
    let checkpoint =
        Checkpoint { log: head.log, size: head.frontier.size(), root: head.frontier.root(), time_ms: now_ms };
    let note = epoch.sign(&checkpoint).into();
    let signed = Signed { checkpoint, note, public_key: *epoch.public_key() };
    txn.audit_checkpoint_insert(&signed, &head.frontier).await?;
    Ok(Some(signed))
}

// === impl Checkpoints ===

impl Checkpoints {
    /// Keeps them in that directory.
    #[must_use]
    pub fn new(store: Store, data_dir: &Path) -> Self {
        Self { store, path: data_dir.join(FILE), newest: watch::Sender::new(None) }
    }

    /// The newest checkpoint that this control plane knows of, and a wake at each.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<Option<Signed>> {
        self.newest.subscribe()
    }

    /// Compares the log with what the file says of it, before anything is signed. What does not agree is written to the log.
    ///
    /// # Errors
    /// When the file cannot be read, or the database refuses.
    pub async fn compare(&self) -> Result<(), CompareError> {
        let Some(told) = last(&self.path).map_err(|source| self.failed(source))? else { return Ok(()) };
        let told = *told.checkpoint();
        let mut txn = self.store.begin().await?;
        let head = txn.audit_head().await?;
        let size = i64::try_from(told.size).unwrap_or(i64::MAX);
        let found = if told.log != head.log {
            Some("the database holds another log")
        } else if told.size > head.frontier.size() {
            Some("the log in the database is shorter")
        } else {
            let signed = txn.audit_checkpoint_at(size).await?;
            signed.filter(|signed| signed.checkpoint.root != told.root).map(|_| "the log in the database is another")
        };
        let Some(found) = found else { return Ok(txn.end().await?) };
        tracing::error!(told = %told, length = head.frontier.size(), found, "audit log differs from its checkpoint file");
        let mut detail = Fields::new();
        detail.insert("found".into(), json!(found));
        detail.insert("told_size".into(), json!(told.size));
        detail.insert("told_root".into(), json!(hex::encode(told.root)));
        detail.insert("size".into(), json!(head.frontier.size()));
        let facts = Facts { initiator: "system", target: "audit/log", detail, ..Facts::default() };
        append(&mut txn, Entry::new(clock::now_ms(), "audit.differ", Outcome::Failed, facts)).await?;
        Ok(txn.commit().await?)
    }

    /// Signs and tells until `stop` is cancelled, and then once more.
    pub async fn run(&self, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut told, mut waited, mut failing) = (0, Duration::ZERO, false);
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = look.tick() => waited += LOOK_INTERVAL,
            }
            let done = self.look(told, waited >= INTERVAL || stop.is_cancelled()).await;
            match done {
                Ok(Some(size)) => (told, waited) = (size, Duration::ZERO),
                Ok(None) => {}
                Err(ref error) if !failing => tracing::error!(%error, "failed to sign or tell a checkpoint"),
                Err(_) => {}
            }
            failing = done.is_err();
        }
    }

    // Signs when it is time and there is something new. Returns the size that was told.
    async fn look(&self, told: i64, is_time: bool) -> Result<Option<i64>, CompareError> {
        let mut txn = self.store.begin_read().await?;
        let length = txn.audit_length().await?;
        txn.end().await?;
        if length == told || (!is_time && length - told < ENTRIES_MAX) {
            return Ok(None);
        }
        let mut txn = self.store.begin().await?;
        let signed = sign(&mut txn, clock::now_ms()).await?;
        txn.commit().await?;
        let Some(signed) = signed else { return Ok(None) };
        self.keep(&signed).map_err(|source| self.failed(source))?;
        tracing::info!(checkpoint = %signed.checkpoint, "signed the audit log");
        let size = i64::try_from(signed.checkpoint.size).unwrap_or(i64::MAX);
        self.newest.send_replace(Some(signed));
        Ok(Some(size))
    }

    // A few hundred bytes, once in seconds.
    fn keep(&self, signed: &Signed) -> std::io::Result<()> {
        let line = file::write_checkpoint(&signed.note).map_err(std::io::Error::other)?;
        if std::fs::metadata(&self.path).is_ok_and(|file| file.len() > FILE_BYTES_MAX) {
            std::fs::rename(&self.path, self.path.with_extension("jsonl.old"))?;
        }
        let mut file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        file.write_all(&line)?;
        file.sync_data()
    }

    fn failed(&self, source: std::io::Error) -> FileError {
        FileError { path: self.path.clone(), source }
    }
}

/// Why checkpoints are not signed, told or compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database.
    #[error("failed to read or sign the audit log")]
    Store(#[from] StoreError),
}

// The last checkpoint of the file that can be read. The last line may be half written: the process was killed.
fn last(path: &Path) -> std::io::Result<Option<Note>> {
    let mut newest = None;
    for path in [path.with_extension("jsonl.old"), path.to_owned()] {
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file).split(b'\n') {
            let line = line?;
            if line.len() <= LINE_BYTES_MAX
                && let Ok(file::Line::Checkpoint(note)) = file::Line::read([0; 16], &line)
                && let Ok(note) = Note::parse(&note)
            {
                newest = Some(note);
            }
        }
    }
    Ok(newest)
}
