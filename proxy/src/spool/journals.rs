//! How writes become durable: a thread that syncs the store's journals.
//!
//! The store can sync by itself, but holds the lock that every writer needs while the disk works. A sync through another
//! handle of the same file has the same effect and holds nobody up.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Backlog, Durability};

/// How long writes are gathered for one sync: what a lost machine may lose.
const GATHER: Duration = Duration::from_millis(10);

/// The journals of a store, and the thread that syncs them. Dropping this ends the thread after a last sync.
#[derive(Debug)]
pub(super) struct Journals {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    // Counts the writes; `durable` is the highest count that a sync covered, or the end of it all.
    written: AtomicU64,
    durable: watch::Sender<Synced>,
    asleep: AtomicBool,
    ended: AtomicBool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Synced {
    Through(u64),
    // After a failed sync nobody knows what is on the disk; the kernel may have dropped it.
    Failed,
}

impl Journals {
    /// Starts the thread for the store in `dir`.
    ///
    /// # Errors
    /// When there is no journal to sync, or no thread to be had.
    pub(super) fn start(dir: &Path, durability: Durability) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            dir: dir.to_path_buf(),
            written: AtomicU64::new(0),
            durable: watch::Sender::new(Synced::Through(0)),
            asleep: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        shared.sync_files()?;
        let gather = if durability == Durability::Strict { Duration::ZERO } else { GATHER };
        let for_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("spool-sync".to_owned()).spawn(move || for_thread.run(gather))?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    /// Notes that something was written. Returns its position.
    pub(super) fn written(&self) -> u64 {
        let position = self.shared.written.fetch_add(1, Ordering::SeqCst) + 1;
        if self.shared.asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
        position
    }

    /// Waits until a position is durable.
    pub(super) async fn durable(&self, position: u64) -> Result<(), Backlog> {
        let mut durable = self.shared.durable.subscribe();
        let reached = durable.wait_for(|synced| match synced {
            Synced::Through(through) => *through >= position,
            Synced::Failed => true,
        });
        match reached.await.as_deref() {
            Ok(Synced::Through(_)) => Ok(()),
            Ok(Synced::Failed) | Err(_) => Err(Backlog::Failed),
        }
    }

    /// Makes durable what is written, now, unless it is.
    ///
    /// # Errors
    /// When the disk refuses, or refused before.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.shared.sync()
    }
}

impl Drop for Journals {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Shared {
    fn run(&self, gather: Duration) {
        loop {
            self.wait();
            let ended = self.ended.load(Ordering::SeqCst);
            if !ended {
                self.gather(gather);
            }
            if let Err(error) = self.sync() {
                tracing::error!(%error, "failed to sync the spool");
                return;
            }
            if ended {
                return;
            }
        }
    }

    // Sleeps until something is written. Who writes looks at `asleep` after counting; this looks at the count after setting
    // it: one of the two sees the other.
    fn wait(&self) {
        loop {
            self.asleep.store(true, Ordering::SeqCst);
            let synced = *self.durable.borrow();
            let behind = synced != Synced::Through(self.written.load(Ordering::SeqCst));
            if behind || self.ended.load(Ordering::SeqCst) {
                self.asleep.store(false, Ordering::SeqCst);
                return;
            }
            thread::park();
        }
    }

    fn gather(&self, gather: Duration) {
        let until = Instant::now() + gather;
        while !self.ended.load(Ordering::SeqCst) {
            match until.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => thread::park_timeout(left),
                _ => return,
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        let through = self.written.load(Ordering::SeqCst);
        match *self.durable.borrow() {
            Synced::Failed => return Err(io::Error::other("an earlier sync failed")),
            Synced::Through(synced) if synced >= through => return Ok(()),
            Synced::Through(_) => {}
        }
        let done = self.sync_files();
        self.durable.send_if_modified(|synced| {
            let next = match (&done, *synced) {
                (Ok(()), Synced::Through(before)) => Synced::Through(before.max(through)),
                (Err(_), _) | (_, Synced::Failed) => Synced::Failed,
            };
            std::mem::replace(synced, next) != next
        });
        done
    }

    fn sync_files(&self) -> io::Result<()> {
        let mut synced = 0;
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "jnl") {
                match File::open(&path).and_then(|file| file.sync_data()) {
                    // The store removes a journal only when its tables are durable.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    done => done?,
                }
                synced += 1;
            }
        }
        if synced == 0 { Err(io::Error::other("the store has no journal")) } else { Ok(()) }
    }
}
