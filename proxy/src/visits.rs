//! The visits that are open, so that a change of policy reaches them.
//!
//! A visit registers first and checks the current policy afterwards. A change installs the policy first and walks the
//! register afterwards. Whatever the order, one of the two sees the other:
//!
//! ```text
//! visit:   register ......... check
//! change:          install ......... walk
//! ```

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;
use tollgate_policy::{
    decide::{self, Caller},
    refusal::Refusal,
    snapshot::Snapshot,
    time::UnixMillis,
};

// Visits are spread over so many maps, so that two cores seldom wait for one lock.
const SHARDS: usize = 16;

/// The register of open visits.
#[derive(Default)]
pub struct Visits {
    shards: [Arc<Shard>; SHARDS],
    next: AtomicU64,
}

type Shard = Mutex<HashMap<u64, Visit>>;

struct Visit {
    caller: Caller,
    switch: Arc<Switch>,
    deadline: Option<(Instant, Refusal)>,
}

/// Keeps a visit in the register until it is dropped.
pub struct Registration {
    number: u64,
    shard: Arc<Shard>,
    switch: Arc<Switch>,
}

/// Set once, when policy no longer admits the visit.
#[derive(Default)]
struct Switch {
    refusal: OnceLock<Refusal>,
    waker: AtomicWaker,
}

// === impl Visits ===

impl Visits {
    /// Registers a visit. The caller checks the current policy after this, not before.
    pub fn register(&self, caller: Caller) -> Registration {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let at = usize::try_from(number).unwrap_or_default() % SHARDS;
        let shard = self.shards.get(at).map(Arc::clone).unwrap_or_default();
        let switch = Arc::new(Switch::default());
        lock(&shard).insert(number, Visit { caller, switch: Arc::clone(&switch), deadline: None });
        Registration { number, shard, switch }
    }

    /// How many visits are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Decides every open visit again and cuts those that are refused. Returns how many were cut.
    pub fn reconsider(&self, snapshot: &Snapshot, now: UnixMillis) -> usize {
        self.cut(|visit| decide::reconsider(snapshot, now, &visit.caller).err())
    }

    /// Cuts the visits whose deadline has passed. Returns how many were cut.
    pub fn expire(&self, now: Instant) -> usize {
        self.cut(|visit| {
            let (at, refusal) = visit.deadline.as_ref()?;
            (*at <= now).then(|| refusal.clone())
        })
    }

    fn cut(&self, refused: impl Fn(&Visit) -> Option<Refusal>) -> usize {
        let mut cut = 0;
        for shard in &self.shards {
            for visit in lock(shard).values() {
                if let Some(refusal) = refused(visit)
                    && visit.switch.refusal.set(refusal).is_ok()
                {
                    visit.switch.waker.wake();
                    cut += 1;
                }
            }
        }
        cut
    }
}

impl fmt::Debug for Visits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visits").field("open", &self.open()).finish()
    }
}

// === impl Registration ===

impl Registration {
    /// Lets the visit be cut at that instant, with these words.
    pub fn end_at(&self, deadline: Instant, refusal: Refusal) {
        if let Some(visit) = lock(&self.shard).get_mut(&self.number) {
            visit.deadline = Some((deadline, refusal));
        }
    }

    /// Ready when policy no longer admits the visit, or its deadline has passed.
    pub fn poll_cut(&self, context: &Context<'_>) -> Poll<&Refusal> {
        self.switch.waker.register(context.waker());
        self.switch.refusal.get().map_or(Poll::Pending, Poll::Ready)
    }

    /// Waits until then.
    pub async fn cut(&self) -> Refusal {
        std::future::poll_fn(|context| self.poll_cut(context).map(Clone::clone)).await
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.shard).remove(&self.number);
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("number", &self.number).finish()
    }
}

// No code panics while it holds the lock, and a map is sound whatever happened.
fn lock(shard: &Shard) -> std::sync::MutexGuard<'_, HashMap<u64, Visit>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
