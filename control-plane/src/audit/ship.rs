//! Ships the log to where others read it: to each sink of the configuration every entry, in order, at least once.
//!
//! ```text
//!          shipped              sent          length
//! ----------|--------------------|--------------|
//!   the sink has acknowledged    | on its way   | waits
//! ```
//!
//! What is acknowledged stands in the database, and only that is never sent again: after a failure, a restart or a change of the
//! control plane that ships, sending begins behind it. Whoever reads tells what came twice by the index. Of several control
//! planes over one database one holds a sink, for as long as it says so every few seconds.
//!
//! Reading order: [`settings`], the configuration; [`shipper`], one sink; [`cursor`], how far it has the log; [`batch`], what is
//! sent; [`destination`], which is [`syslog`] with the [`stream`] below it, [`collector`] or [`file`]; [`tls`], whom they are
//! believed to be.

use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use self::{settings::SinkSettings, shipper::Shipper};
use crate::{
    metrics::AuditSinks,
    store::{Store, StoreError},
};

pub mod settings;
mod shipper;
mod cursor;
mod batch;
mod destination;
mod syslog;
mod stream;
mod collector;
mod file;
mod tls;

/// How long a sink may take for a batch, or for a connection.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);

/// Ships to every sink of a configuration.
#[derive(Debug)]
pub struct Shipping {
    shippers: Vec<Shipper>,
}

/// Why nothing can be shipped.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// The database.
    #[error("failed to begin shipping the audit log")]
    Store(#[from] StoreError),
    /// The HTTP client.
    #[error("failed to make the client of a sink of the audit log")]
    Client(#[from] reqwest::Error),
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the connection failed: {0}")]
    Connection(#[from] std::io::Error),
    #[error("the sink ended the connection")]
    Ended,
    #[error("the sink took longer than ten seconds")]
    Late,
    #[error("the request failed: {0}")]
    Request(String),
    #[error("the collector answered {0}")]
    Refused(http::StatusCode),
}

// === impl Shipping ===

impl Shipping {
    /// Begins the sinks that are new.
    ///
    /// # Errors
    /// [`ShipError`].
    pub async fn open(sinks: &[SinkSettings], store: &Store, metrics: &AuditSinks) -> Result<Self, ShipError> {
        let holder = ulid::Ulid::generate().to_string();
        let mut shippers = Vec::with_capacity(sinks.len());
        for sink in sinks {
            shippers.push(Shipper::open(sink, store, metrics.of(sink.name.as_str()), holder.clone()).await?);
        }
        Ok(Self { shippers })
    }

    /// Ships until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        join_all(self.shippers.into_iter().map(|shipper| shipper.run(&stop))).await;
        stop.cancelled().await;
    }
}
