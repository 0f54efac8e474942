//! The courier between this replica and Redis: one task that connects, tells which requests have ended, and renews those
//! that are open.
//!
//! A message is sent once. What is lost with a connection is counted, and does no harm that lasts: an estimate stays as it
//! was until it has leaked, and a request that is not renewed no longer counts as open.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, RedisError};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::shared::{Ending, Endings, LEASE, Link, Shared};

/// After a failure Redis is left alone for so long, so that one that is dead delays few requests.
const RETRY: Duration = Duration::from_secs(1);
/// Open requests are renewed so often: two renewals may be lost.
const RENEW_EVERY: Duration = Duration::from_secs(LEASE.as_secs() / 3);
/// Messages that travel together: Redis works through them in about half a millisecond, for which requests wait.
const BATCH_MAX: usize = 16;
/// How long the last messages may take when the replica ends.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Keeps a replica in touch with Redis. There is one in a process.
#[derive(Debug)]
pub(crate) struct Courier {
    shared: Arc<Shared>,
    endings: Endings,
}

// === impl Courier ===

impl Courier {
    pub(super) fn new(shared: Arc<Shared>, endings: Endings) -> Self {
        Self { shared, endings }
    }

    /// Runs until `stop` is cancelled, and then tells what is left, for a bounded time. Cancel it after the last request has
    /// ended.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut failed = false;
        while let Some(connected) = stop.run_until_cancelled(self.connect()).await {
            match connected {
                Ok(link) => {
                    tracing::info!("redis decides rate limits");
                    failed = false;
                    match self.deliver(&link, &stop).await {
                        Ok(()) => {
                            let _ = timeout(FLUSH_MAX, self.flush(&link)).await;
                            return;
                        }
                        Err(error) => self.shared.lose(&link, error.as_ref()),
                    }
                }
                Err(error) if failed => tracing::debug!(%error, "failed to connect to redis"),
                Err(error) => {
                    failed = true;
                    tracing::warn!(%error, "failed to connect to redis");
                }
            }
            stop.run_until_cancelled(sleep(RETRY)).await;
        }
    }

    // What is open is made known before anybody counts, since a Redis that was started anew knows of nothing.
    async fn connect(&self) -> Result<Arc<Link>, RedisError> {
        let link = Arc::new(self.shared.connect().await?);
        self.renew(&link).await?;
        self.shared.install(Arc::clone(&link));
        Ok(link)
    }

    // Until `stop` is cancelled, or the connection is lost; without an error it is somebody else who found that. What was
    // begun is finished: a message whose sender gives up may not be sent.
    async fn deliver(&mut self, link: &Arc<Link>, stop: &CancellationToken) -> Result<(), Option<RedisError>> {
        let mut renewal = interval(RENEW_EVERY);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.shared.lost(link) => return Err(None),
                _ = renewal.tick() => self.renew(link).await?,
                _ = self.endings.recv_many(&mut batch, BATCH_MAX) => self.tell(link, &mut batch).await?,
            }
        }
    }

    async fn renew(&self, link: &Link) -> Result<(), RedisError> {
        let mut renewals = self.shared.renewals(link);
        while !renewals.is_empty() {
            let rest = renewals.split_off(renewals.len().min(BATCH_MAX));
            link.send(std::mem::replace(&mut renewals, rest)).await?;
        }
        Ok(())
    }

    async fn tell(&self, link: &Link, batch: &mut Vec<Ending>) -> Result<(), RedisError> {
        let commands: Vec<Cmd> = batch.drain(..).map(|ending| self.shared.settlement(link, &ending)).collect();
        let count = commands.len();
        let sent = link.send(commands).await;
        if sent.is_err() {
            self.shared.unheard(count);
        }
        sent
    }

    async fn flush(&mut self, link: &Link) -> Result<(), RedisError> {
        let mut batch = Vec::new();
        while let Ok(ending) = self.endings.try_recv() {
            batch.push(ending);
            if batch.len() >= BATCH_MAX {
                self.tell(link, &mut batch).await?;
            }
        }
        if batch.is_empty() { Ok(()) } else { self.tell(link, &mut batch).await }
    }
}
