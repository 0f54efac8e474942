//! Learning of revisions that another control plane committed.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Db, Store, StoreError};

/// The channel on which PostgreSQL tells of a committed revision.
pub(super) const CHANNEL: &str = "tollgate_revision";
/// The poll is the truth: a lost notification costs at most this much.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

impl Store {
    /// Raises [`Store::changed`] for what others commit, until `stop` is cancelled. A control plane runs it once. An outage
    /// of the database is logged once when it begins and once when it ends.
    pub async fn follow(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut listener = None;
        let mut reachable = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                heard = hear(&mut listener) => match heard {
                    Ok(revision) => {
                        raise(&self.newest, revision);
                        continue;
                    }
                    Err(_) => listener = None,
                },
            }
            // A database that is away is waited for, a shutdown is not.
            let polled = tokio::select! {
                () = stop.cancelled() => return,
                polled = self.revision() => polled,
            };
            if let Ok(revision) = &polled {
                raise(&self.newest, *revision);
            }
            note(&mut reachable, &polled);
            if let (Db::Postgres(pool), None, true) = (&self.db, &listener, reachable) {
                listener = listen(pool).await.ok();
            }
        }
    }
}

/// Raises the newest known revision; a lower one changes nothing and wakes nobody.
pub(super) fn raise(newest: &watch::Sender<i64>, revision: i64) {
    newest.send_if_modified(|known| {
        let higher = revision > *known;
        *known = revision.max(*known);
        higher
    });
}

async fn listen(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

// Without a listener nothing is ever heard. What is heard may be unreadable: the poll corrects it.
async fn hear(listener: &mut Option<PgListener>) -> Result<i64, sqlx::Error> {
    match listener {
        Some(listener) => Ok(listener.recv().await?.payload().parse().unwrap_or_default()),
        None => std::future::pending().await,
    }
}

fn note(reachable: &mut bool, polled: &Result<i64, StoreError>) {
    match (polled, *reachable) {
        (Err(error), true) => tracing::error!(%error, "failed to poll the revision"),
        (Ok(revision), false) => tracing::info!(revision, "database is reachable again"),
        _ => {}
    }
    *reachable = polled.is_ok();
}
