//! Retention: entries whose time has come are written to an archive, and then taken away. What is left still verifies.
//!
//! A stretch ends at a signed checkpoint, which stays with its tree: the log goes on behind it, and an entry says what was taken
//! away, why, and the root over all of it. Nothing goes that a hold keeps, or that a sink has not got yet.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tollgate_audit::{Entry, Facts, Fields, Outcome, verify::PRUNED};

use super::{
    append,
    export::{Export, ExportError},
};
use crate::{
    clock,
    store::{Store, StoreError, audit::retention::Cut},
};

/// How often is looked whether the time of entries has come.
const INTERVAL: Duration = Duration::from_secs(600);
/// The most entries that go at once: what they hold the database for is a second, not a minute.
const STRETCH_MAX: i64 = 20_000;

/// For how long entries are kept, and where they go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// How long at least, counted from when an entry was written.
    pub keep: Duration,
    /// Where the archives are written; `None`: nowhere.
    pub archive_dir: Option<PathBuf>,
}

/// What was taken away at once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pruned {
    /// The first entry.
    pub first: i64,
    /// The last one.
    pub last: i64,
    /// Its archive.
    pub archive: Option<PathBuf>,
}

/// Why nothing is taken away.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The database.
    #[error("failed to prune the audit log")]
    Store(#[from] StoreError),
    /// The archive.
    #[error("failed to export what is to be archived")]
    Export(#[from] ExportError),
    /// The archive's file.
    #[error("failed to write the archive {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Keeps the log as long as its settings say. There is one in a control plane.
#[derive(Debug)]
pub struct Retention {
    store: Store,
    settings: Settings,
}

// An archive that was written.
struct Archive {
    path: PathBuf,
    sha256: String,
}

impl Retention {
    /// Keeps this log.
    #[must_use]
    pub const fn new(store: Store, settings: Settings) -> Self {
        Self { store, settings }
    }

    /// Takes away what is due, every ten minutes, until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let mut look = tokio::time::interval(INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => {}
            }
            while !stop.is_cancelled() {
                match self.prune(clock::now_ms()).await {
                    Ok(Some(Pruned { first, last, archive })) => {
                        tracing::info!(first, last, archive = ?archive, "pruned the audit log");
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "failed to prune the audit log");
                        break;
                    }
                }
            }
        }
    }

    /// Takes away one stretch that is due, if there is one.
    ///
    /// # Errors
    /// [`RetentionError`]. Nothing was taken away then.
    pub async fn prune(&self, now_ms: i64) -> Result<Option<Pruned>, RetentionError> {
        let Some((pruned, cut)) = self.due(now_ms).await? else { return Ok(None) };
        let (first, last) = (pruned + 1, cut.size());
        // It is whole and on the disk before anything is gone. Another control plane would write the same bytes.
        let archive = match &self.settings.archive_dir {
            Some(directory) => Some(self.archive(directory, first, &cut).await?),
            None => None,
        };
        let mut txn = self.store.begin().await?;
        let mut head = txn.audit_head().await?;
        let held = txn.audit_holds().await?.iter().map(|hold| hold.since).min();
        // Somebody was faster, or a hold was placed meanwhile.
        if head.pruned != pruned || held.is_some_and(|since| since <= cut.signed.checkpoint.time_ms) {
            txn.end().await?;
            return Ok(None);
        }
        head.pruned = last;
        txn.audit_move(&head).await?;
        txn.audit_prune(&head).await?;
        append(&mut txn, self.entry(now_ms, first, &cut, archive.as_ref())).await?;
        txn.commit().await?;
        Ok(Some(Pruned { first, last, archive: archive.map(|archive| archive.path) }))
    }

    // What was pruned, and the checkpoint through which is to be pruned now.
    async fn due(&self, now_ms: i64) -> Result<Option<(i64, Cut)>, StoreError> {
        let keep = i64::try_from(self.settings.keep.as_millis()).unwrap_or(i64::MAX);
        let mut txn = self.store.begin_read().await?;
        let pruned = txn.audit_pruned().await?;
        let held = txn.audit_holds().await?.into_iter().map(|hold| hold.since);
        let before = held.chain([now_ms.saturating_sub(keep)]).min().unwrap_or_default();
        // What a sink has not got yet is not taken away from it.
        let shipped = txn.audit_shipped_min(now_ms).await?.unwrap_or(i64::MAX);
        let through = shipped.min(pruned + STRETCH_MAX);
        let cut = txn.audit_cut_before(before, through).await?.filter(|cut| cut.size() > pruned);
        let cut = match cut {
            Some(cut) => Some(cut),
            // Two checkpoints are farther apart than that.
            None => txn.audit_cut_behind(before, pruned).await?.filter(|cut| cut.size() <= shipped),
        };
        txn.end().await?;
        Ok(cut.map(|cut| (pruned, cut)))
    }

    async fn archive(&self, directory: &Path, first: i64, cut: &Cut) -> Result<Archive, RetentionError> {
        let name = format!("audit-{}-{first}-{}.jsonl", hex::encode(cut.signed.checkpoint.log), cut.size());
        let path = directory.join(name);
        let failed = |source| RetentionError::File { path: path.clone(), source };
        let partial = path.with_extension("jsonl.partial");
        let mut file = create(directory, &partial).map_err(failed)?;
        let (mut export, mut lines) = Export::through(&self.store, first, cut).await?;
        let mut digest = Sha256::new();
        while !lines.is_empty() {
            digest.update(&lines);
            file.write_all(&lines).map_err(failed)?;
            lines = export.page().await?;
        }
        file.sync_all().map_err(failed)?;
        fs::rename(&partial, &path).map_err(failed)?;
        fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        Ok(Archive { path, sha256: hex::encode(digest.finalize()) })
    }

    fn entry(&self, now_ms: i64, first: i64, cut: &Cut, archive: Option<&Archive>) -> Entry {
        let mut detail = Fields::new();
        detail.insert("from".into(), json!(first));
        detail.insert("to".into(), json!(cut.signed.checkpoint.size));
        detail.insert("root".into(), json!(hex::encode(cut.signed.checkpoint.root)));
        detail.insert("keep_seconds".into(), json!(self.settings.keep.as_secs()));
        if let Some(Archive { path, sha256 }) = archive {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            detail.insert("archive".into(), json!(name));
            detail.insert("archive_sha256".into(), json!(sha256));
        }
        let facts = Facts { initiator: "system", target: "audit/log", detail, ..Facts::default() };
        Entry::new(now_ms, PRUNED, Outcome::Allowed, facts)
    }
}

fn create(directory: &Path, path: &Path) -> io::Result<fs::File> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}
