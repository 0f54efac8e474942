//! What holds now: one immutable value, swapped whole. A visit takes it once and keeps it.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use tokio::{sync::watch, time::Instant};
use tollgate_policy::{id::CredentialId, snapshot::Snapshot, time::UnixMillis, token::Pepper};
use zeroize::Zeroizing;

use crate::{
    guard::{GuardKeys, Guards},
    visits::Visits,
};

/// A provider's secret. It is added to a request at the last moment and printed nowhere.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

/// The policy of one revision, with what is needed to act on it.
#[derive(Debug)]
pub struct Current {
    /// The policy.
    pub snapshot: Snapshot,
    /// The key under which virtual keys are hashed.
    pub pepper: Pepper,
    /// The guardrails of the policy, compiled.
    pub guards: Arc<Guards>,
    /// With what they look at texts.
    pub guard_keys: Arc<GuardKeys>,
    /// The secrets of credentials, by id. A credential without one cannot be used.
    pub secrets: HashMap<CredentialId, Secret>,
}

/// Holds what is current, and cuts the open visits that it no longer admits. There is one in a process.
#[derive(Debug, Default)]
pub struct Holder {
    current: ArcSwapOption<Current>,
    visits: Visits,
    draining: AtomicBool,
    // How often something was installed.
    installed: watch::Sender<u64>,
}

// === impl Secret ===

impl Secret {
    /// Takes a secret.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(Arc::new(Zeroizing::new(secret)))
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

// === impl Holder ===

impl Holder {
    /// What holds now; `None` before the first snapshot.
    #[must_use]
    pub fn load(&self) -> Option<Arc<Current>> {
        self.current.load_full()
    }

    /// Makes `next` hold, and cuts every open visit that it does not admit. Returns how many were cut.
    pub fn install(&self, next: Arc<Current>, now: UnixMillis) -> usize {
        self.current.store(Some(Arc::clone(&next)));
        self.installed.send_modify(|count| *count += 1);
        self.visits.reconsider(&next.snapshot, now)
    }

    /// Decides the open visits again at this instant, so that a key that expires takes its streams with it, and a deadline
    /// that passes ends its visit. Returns how many were cut.
    pub fn tick(&self, now: UnixMillis) -> usize {
        let refused = self.load().map_or(0, |current| self.visits.reconsider(&current.snapshot, now));
        refused + self.visits.expire(Instant::now())
    }

    /// Wakes at each change of what holds.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.installed.subscribe()
    }

    /// The open visits.
    #[must_use]
    pub const fn visits(&self) -> &Visits {
        &self.visits
    }

    /// Whether an operator asked this replica to take no more requests.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Starts or ends draining.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }
}
