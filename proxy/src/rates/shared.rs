//! What the fleet counts, in a Redis: the scripts, the connection while there is one, and what Redis must still hear.
//!
//! Time is Redis's own, so that replicas need no common clock. A bucket of requests or tokens expires when it is empty; an
//! open request counts for a lease that its replica renews, so that a replica that dies frees what it had open.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, aio::MultiplexedConnection};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, timeout},
};
use tollgate_policy::{
    limit::Measure,
    rate::{PARALLEL_RETRY_MS, Rate, Refused, RetryAfter},
};
use ulid::Ulid;

use super::local::Slot;

/// So long a request waits for Redis: as much as a gateway may add where nothing is wrong.
pub(super) const PATIENCE: Duration = Duration::from_millis(5);
/// Redis is away when every answer was late for so long. One hiccup only has the requests decided here that met it.
const LATE_MAX: Duration = Duration::from_millis(50);
/// So long the first connection, and each message of the courier, may take.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(1);
/// A request whose replica has not renewed it for so long no longer counts as open.
pub(super) const LEASE: Duration = Duration::from_secs(60);
/// Ends that wait to be told. More are forgotten: their estimates stay, and their leases end.
const ENDINGS_MAX: usize = 65_536;
/// Commands that wait to be written: as many as may arrive while one is.
const COMMANDS_MAX: usize = 1_024;
/// The largest number that Lua counts exactly: 2^53.
const COUNT_MAX: u64 = 1 << 53;

const TAKE: &str = concat!(include_str!("flow.lua"), include_str!("take.lua"));
const SETTLE: &str = concat!(include_str!("flow.lua"), include_str!("settle.lua"));
const RENEW: &str = concat!(include_str!("flow.lua"), include_str!("renew.lua"));

/// The counts of the fleet, as one replica reaches them.
pub(super) struct Shared {
    client: Client,
    patience: Duration,
    // Tells this run of this replica from all others.
    run: Box<str>,
    link: ArcSwapOption<Link>,
    lost: Notify,
    // The requests of this replica that are open, in buckets of parallel requests.
    open: Mutex<HashMap<u64, Vec<Arc<Slot>>>>,
    endings: mpsc::Sender<Ending>,
    unheard: AtomicU64,
}

/// The ends that wait to be told.
pub(super) type Endings = mpsc::Receiver<Ending>;

/// A connection on which the scripts are known, by these names.
pub(super) struct Link {
    connection: MultiplexedConnection,
    take: String,
    settle: String,
    renew: String,
    // When the first of the answers was missed after which none came; 0: none was. In milliseconds, counted from 1.
    since: Instant,
    late_since: AtomicU64,
}

/// Redis is late or away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Away {
    /// Whether it was asked, so that nobody knows what it has counted.
    pub(super) asked: bool,
}

/// The end of a request.
pub(super) struct Ending {
    pub(super) number: u64,
    pub(super) parts: Vec<(Arc<Slot>, Part)>,
}

/// What is told of one bucket at the end.
pub(super) enum Part {
    /// The request is no longer open.
    Open,
    /// So many tokens were taken, and so many used.
    Tokens { rate: Rate, taken: u64, used: u64 },
}

/// A text that is not the URL of a Redis that this build can reach.
#[derive(Debug, thiserror::Error)]
#[error("must be redis://[user:password@]host[:port][/database] or redis+unix:///path: {0}")]
pub struct InvalidRedis(RedisError);

// === impl Shared ===

impl Shared {
    pub(super) fn open(url: &str, patience: Duration) -> Result<(Self, Endings), InvalidRedis> {
        let client = Client::open(url).map_err(InvalidRedis)?;
        let (endings, waiting) = mpsc::channel(ENDINGS_MAX);
        let shared = Self {
            client,
            patience,
            run: Ulid::generate().to_string().into(),
            link: ArcSwapOption::empty(),
            lost: Notify::new(),
            open: Mutex::default(),
            endings,
            unheard: AtomicU64::new(0),
        };
        Ok((shared, waiting))
    }

    /// Takes from all buckets, or from none.
    pub(super) async fn take<'p>(
        &self,
        number: u64,
        parts: impl Iterator<Item = (&'p Slot, Measure, Rate, u64)> + Clone,
    ) -> Result<Result<(), Refused>, Away> {
        let Some(link) = self.link.load_full() else { return Err(Away { asked: false }) };
        let command = self.take_command(&link, number, parts);
        let mut connection = link.connection.clone();
        let answer = timeout(self.patience, command.query_async::<(usize, u64)>(&mut connection)).await;
        if matches!(answer, Ok(Ok(_))) {
            link.answered();
        }
        match answer {
            Ok(Ok((0, _))) => Ok(Ok(())),
            Ok(Ok((at, millis))) => Ok(Err(Refused { at: at - 1, retry: RetryAfter { millis } })),
            Ok(Err(error)) => {
                self.lose(&link, Some(&error));
                Err(Away { asked: true })
            }
            Err(_) => {
                if link.is_late() {
                    self.lose(&link, None);
                }
                Err(Away { asked: true })
            }
        }
    }

    /// Remembers a request while it is open, if it has a bucket of parallel requests.
    pub(super) fn opened(&self, number: u64, slots: Vec<Arc<Slot>>) {
        if !slots.is_empty() {
            self.held().insert(number, slots);
        }
    }

    /// Has Redis told that a request has ended. Nobody waits for that.
    pub(super) fn ended(&self, ending: Ending) {
        if ending.parts.iter().any(|(_, part)| matches!(part, Part::Open)) {
            self.held().remove(&ending.number);
        }
        if !ending.parts.is_empty() && self.endings.try_send(ending).is_err() {
            self.unheard(1);
        }
    }

    /// Counts ends of which Redis will not hear.
    pub(super) fn unheard(&self, count: usize) {
        self.unheard.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many that were.
    pub(super) fn count_unheard(&self) -> u64 {
        self.unheard.load(Ordering::Relaxed)
    }

    /// Connects, and teaches the scripts.
    pub(super) async fn connect(&self) -> Result<Link, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_MAX))
            .set_response_timeout(Some(ANSWER_MAX))
            .set_pipeline_buffer_size(COMMANDS_MAX);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut pipeline = redis::pipe();
        for script in [TAKE, SETTLE, RENEW] {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(script);
        }
        let (take, settle, renew) = pipeline.query_async(&mut connection).await?;
        Ok(Link { connection, take, settle, renew, since: Instant::now(), late_since: AtomicU64::new(0) })
    }

    /// Has requests decided over a connection from now on.
    pub(super) fn install(&self, link: Arc<Link>) {
        self.link.store(Some(link));
    }

    /// Has no more requests decided over a connection.
    pub(super) fn lose(&self, link: &Arc<Link>, error: Option<&RedisError>) {
        let lost = self.link.compare_and_swap(link, None);
        if lost.as_ref().is_some_and(|lost| Arc::ptr_eq(lost, link)) {
            let reason = error.map_or_else(|| "no answer in time".to_owned(), ToString::to_string);
            tracing::warn!(reason, "redis is away: this replica's share of each rate limit decides");
            self.lost.notify_one();
        }
    }

    /// Waits until a connection is lost.
    pub(super) async fn lost(&self, link: &Arc<Link>) {
        // Only the courier waits; what was notified before it does is remembered.
        while self.link.load().as_ref().is_some_and(|linked| Arc::ptr_eq(linked, link)) {
            self.lost.notified().await;
        }
    }

    /// Whether Redis decides.
    #[cfg(test)]
    pub(super) fn is_linked(&self) -> bool {
        self.link.load().is_some()
    }

    /// The commands that renew what is open.
    pub(super) fn renewals(&self, link: &Link) -> Vec<Cmd> {
        let lease = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        let renewal = |(number, slots): (&u64, &Vec<Arc<Slot>>)| {
            let mut command = call(&link.renew, slots.iter().map(|slot| slot.key()));
            command.arg(self.name(*number)).arg(lease);
            command
        };
        self.held().iter().map(renewal).collect()
    }

    /// The command that tells an end.
    pub(super) fn settlement(&self, link: &Link, ending: &Ending) -> Cmd {
        let mut command = call(&link.settle, ending.parts.iter().map(|(slot, _)| slot.key()));
        command.arg(self.name(ending.number));
        for (_, part) in &ending.parts {
            match part {
                Part::Open => command.arg("open").arg(0).arg(0).arg(0).arg(0),
                Part::Tokens { rate, taken, used } => {
                    let rate = bounded(*rate);
                    command.arg("flow").arg(rate.amount).arg(rate.span_ms).arg(*taken).arg((*used).min(COUNT_MAX))
                }
            };
        }
        command
    }

    fn take_command<'p>(
        &self,
        link: &Link,
        number: u64,
        parts: impl Iterator<Item = (&'p Slot, Measure, Rate, u64)> + Clone,
    ) -> Cmd {
        let lease = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        let mut command = call(&link.take, parts.clone().map(|(slot, ..)| slot.key()));
        command.arg(self.name(number)).arg(lease);
        for (_, measure, rate, count) in parts {
            let rate = bounded(rate);
            let (kind, span_ms) = match measure {
                Measure::Requests | Measure::Tokens => ("flow", rate.span_ms),
                Measure::Parallel => ("open", PARALLEL_RETRY_MS),
            };
            command.arg(kind).arg(rate.amount).arg(span_ms).arg(count.min(rate.amount));
        }
        command
    }

    fn name(&self, number: u64) -> String {
        format!("{}:{number}", self.run)
    }

    // No code panics while it holds the lock.
    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Vec<Arc<Slot>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("run", &self.run).finish_non_exhaustive()
    }
}

// === impl Link ===

impl Link {
    fn answered(&self) {
        if self.late_since.load(Ordering::Relaxed) != 0 {
            self.late_since.store(0, Ordering::Relaxed);
        }
    }

    // An answer is late. Whether all were for so long that no more is asked.
    fn is_late(&self) -> bool {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let first =
            self.late_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).unwrap_or_else(|it| it);
        first != 0 && u128::from(now.saturating_sub(first)) >= LATE_MAX.as_millis()
    }

    /// Sends commands whose answers say nothing.
    pub(super) async fn send(&self, commands: Vec<Cmd>) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        for command in commands {
            pipeline.add_command(command).ignore();
        }
        pipeline.query_async(&mut self.connection.clone()).await
    }
}

fn call<'k>(script: &str, keys: impl Iterator<Item = &'k str> + Clone) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(script).arg(keys.clone().count());
    keys.for_each(|key| {
        command.arg(key);
    });
    command
}

fn bounded(rate: Rate) -> Rate {
    Rate { amount: rate.amount.min(COUNT_MAX), ..rate }
}
