//! The database: SQLite in a file, or PostgreSQL. The only SQL of the repository lives here and below.
//!
//! One text serves both: `$1` placeholders, BIGINT, TEXT and BYTEA columns, instants in Unix milliseconds, flags 0 or 1.
//! On PostgreSQL `SUM` of BIGINT is NUMERIC: write `CAST(SUM(x) AS BIGINT)`.
//!
//! ```text
//! let mut txn = store.begin().await?;
//! let revision = txn.advance_revision().await?;             // first: its row lock orders administrative changes
//! txn.execute(sql!("UPDATE teams SET disabled = $1, revision = $2 WHERE id = $3", true, revision, id)).await?;
//! audit::append(&mut txn, entry).await?;
//! txn.commit().await?;                                       // wakes those who wait on store.changed()
//! ```
//!
//! Lock order, so that no two transactions wait for each other: the `fleet` row, then objects, then the audit head. Where the
//! books are concerned: the row of the run, then windows sorted by budget and start, then what is below them, then the head.

use std::{
    fmt,
    str::FromStr as _,
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus_client::metrics::histogram::Histogram;
use sqlx::{
    ConnectOptions as _, Connection as _, Postgres, Sqlite, Transaction,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::watch;

#[macro_use]
pub mod statement;
pub mod row;
mod error;
mod migrations;
mod following;
pub mod secrets;
pub mod organisation;
pub mod self_service;
mod reach;
pub mod access;
pub mod service_accounts;
pub mod scim;
pub mod quotas;
pub mod providers;
pub mod routes;
pub mod guardrails;
pub mod mcp;
pub mod keys;
pub mod replicas;
pub mod resting;
pub mod models;
pub mod token_keys;
pub mod changes;
pub mod audit;
pub mod audit_sinks;
pub mod findings;
pub mod usage;
pub mod books;
pub mod deliveries;
mod administrators;
pub mod identities;
pub mod sessions;
pub mod sign_ins;

pub use self::{
    error::StoreError,
    row::Row,
    statement::{Arg, Position, Statement, TextMatch},
};

use crate::{
    audit::{self as log, Epochs},
    seal::Keyring,
};

/// Readers of SQLite at a time. Reads are short; more would only contend for two or four cores.
const SQLITE_READERS_MAX: u32 = 4;
/// Connections to PostgreSQL per control plane: its default limit of 100 leaves room for several.
const POSTGRES_CONNECTIONS_MAX: u32 = 16;
/// How long a statement waits for a connection or for SQLite's write lock before it is refused as busy.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// What bounds a statement, a wait for a lock, and a transaction that nobody goes on with, on PostgreSQL.
const POSTGRES_TIMEOUTS: [(&str, &str); 3] =
    [("statement_timeout", "60s"), ("lock_timeout", "10s"), ("idle_in_transaction_session_timeout", "60s")];
/// Switching a fresh file to WAL takes an exclusive lock that ignores the busy timeout; a sibling may hold it for a moment.
const OPEN_ATTEMPTS_MAX: u32 = 20;

/// From a read of SQLite to [`WAIT_MAX`] and beyond.
const LATENCY_SECONDS: [f64; 10] = [0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 10.0];

/// The database of a control plane. Cloning shares it.
#[derive(Clone)]
pub struct Store {
    db: Db,
    newest: Arc<watch::Sender<i64>>,
    latency: Latency,
    epochs: Arc<Epochs>,
}

/// Which database it is.
#[derive(Clone)]
pub enum Db {
    /// One connection that writes, and a pool that reads.
    Sqlite {
        /// The only connection that writes.
        writer: SqlitePool,
        /// Connections that cannot write.
        readers: SqlitePool,
    },
    /// A pool.
    Postgres(PgPool),
}

/// A transaction. Dropping it rolls it back.
pub struct Txn {
    inner: Inner,
    epochs: Arc<Epochs>,
    advanced: Option<i64>,
    newest: Arc<watch::Sender<i64>>,
    begun: Instant,
    took: Histogram,
}

/// How long transactions took, in seconds, from their begin to their end.
#[derive(Clone, Debug)]
pub struct Latency {
    /// Those that only read.
    pub read: Histogram,
    /// Those that may write.
    pub write: Histogram,
}

enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

// === impl Store ===

impl Store {
    /// Opens `sqlite://path` (made when it is missing, with mode 0600) or `postgres://...`, and migrates it under a lock. What
    /// seals the audit log stands in it under the keyring.
    ///
    /// # Errors
    /// When the URL is neither, when the database cannot be reached, or when a newer Tollgate has migrated it.
    pub async fn open(url: &str, keyring: Arc<Keyring>) -> Result<Self, StoreError> {
        let db = if url.starts_with("sqlite:") {
            open_sqlite(url).await?
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            open_postgres(url).await?
        } else {
            return Err(StoreError::Url("must begin with sqlite:// or postgres://".into()));
        };
        let histogram = || Histogram::new(LATENCY_SECONDS);
        let latency = Latency { read: histogram(), write: histogram() };
        let epochs = Arc::new(Epochs::new(keyring));
        let store = Self { db, newest: Arc::new(watch::channel(0).0), latency, epochs };
        let revision = store.found_fleet().await?;
        log::found(&store).await?;
        store.newest.send_replace(revision);
        Ok(store)
    }

    /// `sqlite` or `postgres`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.db {
            Db::Sqlite { .. } => "sqlite",
            Db::Postgres(_) => "postgres",
        }
    }

    /// Begins a transaction that writes. On SQLite it holds the write lock from the start.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when no connection or lock comes free in 10 s.
    pub async fn begin(&self) -> Result<Txn, StoreError> {
        let begun = Instant::now();
        let inner = match &self.db {
            Db::Sqlite { writer, .. } => Inner::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Db::Postgres(pool) => Inner::Postgres(pool.begin().await?),
        };
        Ok(self.transaction(inner, begun, &self.latency.write))
    }

    /// Begins a transaction that reads one consistent state and cannot write.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn begin_read(&self) -> Result<Txn, StoreError> {
        let begun = Instant::now();
        let inner = match &self.db {
            Db::Sqlite { readers, .. } => Inner::Sqlite(readers.begin().await?),
            Db::Postgres(pool) => {
                Inner::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
            }
        };
        Ok(self.transaction(inner, begun, &self.latency.read))
    }

    /// The newest revision, from the database.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn revision(&self) -> Result<i64, StoreError> {
        let mut txn = self.begin_read().await?;
        let (_, revision) = txn.fleet().await?;
        txn.end().await?;
        Ok(revision)
    }

    /// Tells the newest revision that this process knows of, and wakes at each higher one: after a commit here, after a
    /// notification of PostgreSQL, and after the poll of [`Self::follow`].
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<i64> {
        self.newest.subscribe()
    }

    /// Closes every connection, and lets SQLite fold its log into the file.
    pub async fn close(&self) {
        match &self.db {
            Db::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Db::Postgres(pool) => pool.close().await,
        }
    }

    /// How long transactions took.
    #[must_use]
    pub const fn latency(&self) -> &Latency {
        &self.latency
    }

    fn transaction(&self, inner: Inner, begun: Instant, took: &Histogram) -> Txn {
        let epochs = Arc::clone(&self.epochs);
        Txn { inner, epochs, advanced: None, newest: Arc::clone(&self.newest), begun, took: took.clone() }
    }

    // The first control plane over a database names its history; the others find the name.
    async fn found_fleet(&self) -> Result<i64, StoreError> {
        let mut txn = self.begin().await?;
        let found = sql!("INSERT INTO fleet (id, epoch, revision) VALUES (1, $1, 0) ON CONFLICT DO NOTHING", epoch());
        txn.execute(found).await?;
        let (_, revision) = txn.fleet().await?;
        txn.commit().await?;
        Ok(revision)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.kind())
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite { .. } => "Sqlite",
            Self::Postgres(_) => "Postgres",
        })
    }
}

// === impl Txn ===

impl Txn {
    /// Runs a statement and returns how many rows it touched.
    ///
    /// # Errors
    /// What the database refused, by kind.
    pub async fn execute(&mut self, statement: Statement) -> Result<u64, StoreError> {
        match &mut self.inner {
            Inner::Sqlite(txn) => Ok(statement.sqlite().execute(&mut **txn).await?.rows_affected()),
            Inner::Postgres(txn) => Ok(statement.postgres().execute(&mut **txn).await?.rows_affected()),
        }
    }

    /// Runs a statement and returns its first row, if it has one.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn fetch_optional(&mut self, statement: Statement) -> Result<Option<Row>, StoreError> {
        match &mut self.inner {
            Inner::Sqlite(txn) => Ok(statement.sqlite().fetch_optional(&mut **txn).await?.map(Row::Sqlite)),
            Inner::Postgres(txn) => Ok(statement.postgres().fetch_optional(&mut **txn).await?.map(Row::Postgres)),
        }
    }

    /// Runs a statement and returns its first row.
    ///
    /// # Errors
    /// As [`Self::execute`]; [`StoreError::Missing`] when there is none.
    pub async fn fetch_one(&mut self, statement: Statement) -> Result<Row, StoreError> {
        self.fetch_optional(statement).await?.ok_or(StoreError::Missing)
    }

    /// Runs a statement and returns its rows. The caller bounds them, with `LIMIT` or by what they are.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn fetch_all(&mut self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        Ok(match &mut self.inner {
            Inner::Sqlite(txn) => {
                statement.sqlite().fetch_all(&mut **txn).await?.into_iter().map(Row::Sqlite).collect()
            }
            Inner::Postgres(txn) => {
                statement.postgres().fetch_all(&mut **txn).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Takes the next revision. Its row lock is held until the transaction ends, so revisions follow the order of commits and
    /// leave no gap, over every control plane. Call it before anything else is written or checked.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn advance_revision(&mut self) -> Result<i64, StoreError> {
        if let Some(revision) = self.advanced {
            return Ok(revision);
        }
        let advance = sql!("UPDATE fleet SET revision = revision + 1 WHERE id = 1 RETURNING revision");
        let revision = self.fetch_one(advance).await?.int("revision")?;
        if matches!(self.inner, Inner::Postgres(_)) {
            let notify = sql!("SELECT pg_notify($1, $2)", following::CHANNEL, revision.to_string());
            self.execute(notify).await?;
        }
        self.advanced = Some(revision);
        Ok(revision)
    }

    /// The name of the history and its newest revision.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn fleet(&mut self) -> Result<(String, i64), StoreError> {
        let row = self.fetch_one(sql!("SELECT epoch, revision FROM fleet WHERE id = 1")).await?;
        Ok((row.text("epoch")?, row.int("revision")?))
    }

    /// The keys of the audit log.
    pub(crate) fn epochs(&self) -> Arc<Epochs> {
        Arc::clone(&self.epochs)
    }

    /// What a `SELECT` ends with so that its rows stay locked: on SQLite nothing, since its writer is alone.
    pub(crate) const fn for_update(&self) -> &'static str {
        match self.inner {
            Inner::Sqlite(_) => "",
            Inner::Postgres(_) => " FOR UPDATE",
        }
    }

    /// Commits, durably, and then wakes those who wait for the revision that was taken.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.inner {
            Inner::Sqlite(txn) => txn.commit().await?,
            Inner::Postgres(txn) => txn.commit().await?,
        }
        self.took.observe(self.begun.elapsed().as_secs_f64());
        if let Some(revision) = self.advanced {
            following::raise(&self.newest, revision);
        }
        Ok(())
    }

    /// Ends the transaction without effect; that of [`Store::begin_read`] ends so.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn end(self) -> Result<(), StoreError> {
        match self.inner {
            Inner::Sqlite(txn) => txn.rollback().await?,
            Inner::Postgres(txn) => txn.rollback().await?,
        }
        self.took.observe(self.begun.elapsed().as_secs_f64());
        Ok(())
    }
}

impl fmt::Debug for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Txn").field("advanced", &self.advanced).finish_non_exhaustive()
    }
}

async fn open_sqlite(url: &str) -> Result<Db, StoreError> {
    let options = SqliteConnectOptions::from_str(url).map_err(|error| StoreError::Url(error.to_string()))?;
    let path = options.get_filename().to_path_buf();
    if path.as_os_str().is_empty() || url.contains(":memory:") || url.contains("mode=memory") {
        return Err(StoreError::Url("needs a file: a database in memory would lose the ledger".into()));
    }
    make_private(&path).await.map_err(|error| StoreError::Url(format!("cannot make {}: {error}", path.display())))?;
    // FULL: a commit that was acknowledged, and with it usage and its debit, survives a power cut.
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // What is erased from the audit log does not stay in free pages.
        .pragma("secure_delete", "ON")
        .busy_timeout(WAIT_MAX)
        .disable_statement_logging();
    migrations::run_sqlite(&options, OPEN_ATTEMPTS_MAX).await?;
    let pool = SqlitePoolOptions::new().acquire_timeout(WAIT_MAX).idle_timeout(None).max_lifetime(None);
    let writer = pool.clone().max_connections(1).connect_with(options.clone()).await?;
    let readers = pool.max_connections(SQLITE_READERS_MAX).connect_with(options.pragma("query_only", "ON")).await?;
    Ok(Db::Sqlite { writer, readers })
}

async fn open_postgres(url: &str) -> Result<Db, StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(|error| StoreError::Url(error.to_string()))?;
    let options = options.application_name("tollgate-control-plane").disable_statement_logging();
    let mut connection = sqlx::PgConnection::connect_with(&options).await?;
    migrations::run_postgres(&mut connection).await?;
    connection.close().await?;
    // The locks of a control plane that was cut off from the database end with its session.
    let options = options.options(POSTGRES_TIMEOUTS);
    let pool = PgPoolOptions::new().max_connections(POSTGRES_CONNECTIONS_MAX).acquire_timeout(WAIT_MAX);
    Ok(Db::Postgres(pool.connect_with(options).await?))
}

// SQLite gives its log and its shared memory the mode of the database file.
async fn make_private(path: &std::path::Path) -> std::io::Result<()> {
    match tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn epoch() -> String {
    ulid::Ulid::generate().to_string().to_lowercase()
}
