//! Following the control plane: the policy arrives, is checked, and is swapped in whole.
//!
//! ```text
//! disk cache --\
//!               >-- pushes -- State::next -- Holder::install -- Ack
//! Follow ------/                  |
//!                                 refused: Nack or Resync, and what was good stays
//! ```
//!
//! Reading order: [`assembly`], a push as it arrives; [`payload`], its items; [`pins`], whose signature counts; [`state`], from
//! one state to the next; [`secrets`], what the credentials are; [`replica`], all of that with what holds; [`keeper`], the disk
//! cache; [`session`], one stream; then [`Sync`], which opens the next one.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tollgate_policy::time::UnixMillis;

use self::{keeper::Keeper, replica::Replica, session::Ended};
use crate::{
    backoff::Backoff, current::Holder, funds::Funds, health::Health, membership::Link, rates::Rates, witness::Witness,
};

mod assembly;
mod keeper;
mod payload;
mod pins;
mod replica;
mod secrets;
mod session;
mod state;

pub use self::secrets::Environment;

/// Between two attempts to follow: a control plane that restarts is followed again at once, and one that is away is not hurt
/// by a thousand replicas.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// How a replica follows.
#[derive(Clone)]
pub struct Options {
    /// The connection to the control plane.
    pub link: Link,
    /// Where the disk cache is.
    pub data_dir: PathBuf,
    /// The name under which operators know the replica.
    pub name: String,
    /// Where it runs.
    pub region: String,
    /// The version of its program.
    pub version: String,
    /// The number of this run; each start has a higher one.
    pub incarnation: u64,
    /// What is borrowed from budgets, for recalls.
    pub funds: Arc<Funds>,
    /// How fast callers may go: which share is this replica's.
    pub rates: Rates,
    /// Which providers do not answer, for operators.
    pub health: Arc<Health>,
    /// Who keeps what is said of the audit log.
    pub witness: Witness,
    /// A policy on disk that was last confirmed longer ago is not used.
    pub snapshot_age_max: Duration,
    /// Where `env://` references are looked up.
    pub environment: Environment,
}

/// Where following stands: for readiness, metrics and operators.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// Whether a stream is open and welcome.
    pub connected: bool,
    /// Names the history of the policy that holds; empty before the first.
    pub epoch: String,
    /// The revision that holds; 0 before the first.
    pub revision: u64,
    /// The newest revision that the control plane told of.
    pub head_revision: u64,
    /// When the policy that holds was installed.
    pub since: Option<UnixMillis>,
    /// When the control plane was last heard; of a policy from disk, when it was last confirmed.
    pub heard: Option<UnixMillis>,
    /// How long the last push took to check, decode and install, in microseconds.
    pub apply_us: u64,
    /// How many open visits the last push cut.
    pub cut: usize,
    /// Why the last push was refused, or the last stream failed; `None` when all is well again.
    pub last_error: Option<String>,
}

/// Follows the control plane. There is one in a process.
#[derive(Debug)]
pub struct Sync {
    options: Options,
    holder: Arc<Holder>,
    status: Arc<watch::Sender<Status>>,
}

// === impl Sync ===

impl Sync {
    /// Prepares to follow; [`Sync::run`] does it.
    #[must_use]
    pub fn new(options: Options, holder: Arc<Holder>) -> Self {
        Self { options, holder, status: Arc::new(watch::Sender::new(Status::default())) }
    }

    /// Where following stands, and a wake at each change.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Installs what the disk cache has, then follows, and keeps membership and the cache, until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let Self { options, holder, status } = self;
        let link = options.link.clone();
        let mut replica = Replica::new(options.clone(), holder, status);
        let cache = replica.start().await;
        let keeper = replica.keeper();
        let membership = link.maintain(stop.clone());
        let keep = Keeper::run(keeper, cache, options.snapshot_age_max, stop.clone());
        tokio::join!(membership, keep, follow(&mut replica, &link, &stop));
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("link", &self.link).field("name", &self.name).finish_non_exhaustive()
    }
}

// === impl Status ===

impl Status {
    /// How long ago the control plane was heard; `None` when it never was.
    #[must_use]
    pub fn age(&self, now: UnixMillis) -> Option<Duration> {
        let millis = now.get().saturating_sub(self.heard?.get());
        Some(Duration::from_millis(u64::try_from(millis).unwrap_or_default()))
    }
}

async fn follow(replica: &mut Replica, link: &Link, stop: &CancellationToken) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST);
    let mut logged = String::new();
    loop {
        let mut standing = link.standing();
        standing.borrow_and_update();
        if !link.is_member() {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = standing.changed() => continue,
            }
        }
        let mut lived = false;
        let ended = session::run(replica, link, standing, stop, &mut lived).await;
        if lived {
            backoff.reset();
            logged.clear();
        }
        match ended {
            Ok(Ended::Stopped) => return,
            Ok(Ended::NewIdentity) => continue,
            Err(error) => {
                let text = error.to_string();
                // An outage is told when it begins and when it changes, not at each of a thousand attempts.
                if logged != text {
                    tracing::warn!(error = %text, "not following the control plane");
                }
                replica.note(|status| {
                    status.connected = false;
                    status.last_error = Some(text.clone());
                });
                logged = text;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
}

#[cfg(test)]
mod tests;
