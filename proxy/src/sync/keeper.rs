//! Keeps the disk cache up to date, a little behind and off the runtime that serves requests.

use std::{
    sync::Arc,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tollgate_policy::time::UnixMillis;

use crate::{
    backoff,
    cache::{self, Cache, Context, Stored},
};

/// Pushes that come within this time are written together.
const SETTLE: Duration = Duration::from_secs(2);
/// After a failed write the disk is left alone for so long.
const RETRY: Duration = Duration::from_secs(30);
/// What waits to be written, in bytes of payload; beyond it the next full snapshot is waited for.
const PENDING_BYTES_MAX: usize = 64 << 20;

/// What waits to be written. The replica adds to it, [`Keeper::run`] takes from it.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    pending: Mutex<Pending>,
    wake: Notify,
    heard: AtomicI64,
    wants_base: AtomicBool,
}

#[derive(Debug, Default)]
struct Pending {
    context: Option<Context>,
    news: Vec<Stored>,
    // A delta is missing between what is on disk and what comes: only a full snapshot helps.
    gap: bool,
}

impl Keeper {
    /// Has this written soon.
    pub(super) fn keep(&self, context: Context, stored: Option<Stored>) {
        let mut pending = self.lock();
        pending.context = Some(context);
        if let Some(stored) = stored {
            pending.add(stored);
        }
        drop(pending);
        self.wake.notify_one();
    }

    /// Notes when the control plane was heard.
    pub(super) fn heard(&self, now: UnixMillis) {
        self.heard.store(now.get(), Ordering::Relaxed);
    }

    /// Whether a full snapshot is wanted, so that the disk cache can begin anew; asking takes the wish back.
    pub(super) fn take_wish(&self) -> bool {
        self.wants_base.swap(false, Ordering::Relaxed)
    }

    /// Writes what waits, until `stop` is cancelled, and then once more.
    pub(super) async fn run(self: Arc<Self>, cache: Option<Cache>, age_max: Duration, stop: CancellationToken) {
        let Some(mut cache) = cache else { return stop.cancelled().await };
        // A fleet that wears its caches alike must not ask for full snapshots at once.
        let worn = 1.0 + backoff::random_fraction();
        loop {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => pause(SETTLE, &stop).await,
                () = tokio::time::sleep(cache::refresh_interval(age_max)) => {}
            }
            let written;
            (cache, written) = match self.write(cache).await {
                Some(done) => done,
                None => return stop.cancelled().await,
            };
            if stop.is_cancelled() {
                return;
            }
            if cache.wear() >= worn {
                self.wants_base.store(true, Ordering::Relaxed);
            }
            if !written {
                pause(RETRY, &stop).await;
            }
        }
    }

    // Returns the cache, and whether the disk took it. `None`: the cache was lost with a thread that panicked.
    async fn write(&self, mut cache: Cache) -> Option<(Cache, bool)> {
        let (context, news, gap) = {
            let mut pending = self.lock();
            (pending.context.clone(), std::mem::take(&mut pending.news), pending.gap)
        };
        let heard = UnixMillis::new(self.heard.load(Ordering::Relaxed));
        let Some(context) = context.map(|context| Context { heard, ..context }) else { return Some((cache, true)) };
        if gap {
            self.wants_base.store(true, Ordering::Relaxed);
            return Some((cache, true));
        }
        let work = move || {
            let result = cache.write(&context, &news);
            (cache, news, result)
        };
        let done = tokio::task::spawn_blocking(work).await;
        let (cache, news, result) = done.inspect_err(|error| tracing::error!(%error, "disk cache lost")).ok()?;
        match result {
            Ok(()) => Some((cache, true)),
            Err(cache::SlotError::NoBase) if news.is_empty() => Some((cache, true)),
            Err(error) => {
                tracing::warn!(%error, "failed to write the snapshot to disk");
                self.lock().put_back(news, matches!(error, cache::SlotError::NoBase));
                Some((cache, false))
            }
        }
    }

    // No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn add(&mut self, stored: Stored) {
        if stored.head.base_revision == 0 {
            self.news.clear();
            self.gap = false;
        } else if self.gap {
            return;
        }
        self.news.push(stored);
        let bytes: usize = self.news.iter().flat_map(|stored| &stored.chunks).map(bytes::Bytes::len).sum();
        if bytes > PENDING_BYTES_MAX && self.news.len() > 1 {
            self.news.clear();
            self.gap = true;
        }
    }

    // What could not be written comes before what came meanwhile, unless that stands alone.
    fn put_back(&mut self, news: Vec<Stored>, gap: bool) {
        if self.news.first().is_some_and(|first| first.head.base_revision == 0) {
            return;
        }
        if gap {
            self.news.clear();
            self.gap = true;
            return;
        }
        let later = std::mem::replace(&mut self.news, news);
        later.into_iter().for_each(|stored| self.add(stored));
    }
}

async fn pause(duration: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(duration) => {}
    }
}
