//! The kinds of sinks, as one.

use tollgate_audit::Placed;

use super::{Failure, batch::Batch, collector::Collector, file::Output, settings::To, syslog::Syslog};

/// Where records go.
#[derive(Debug)]
pub(super) enum Destination {
    Syslog(Syslog),
    Collector(Collector),
    File(Output),
}

impl Destination {
    /// A place that nothing is sent to yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(super) fn open(to: To) -> Result<Self, reqwest::Error> {
        Ok(match to {
            To::Syslog(settings) => Self::Syslog(Syslog::new(settings)),
            To::Collector(settings) => Self::Collector(Collector::new(settings)?),
            To::File(settings) => Self::File(Output::new(settings)),
        })
    }

    /// What is sent of an entry, with what delimits it.
    pub(super) fn record(&self, host: &str, placed: &Placed<'_>) -> Vec<u8> {
        match self {
            Self::Syslog(syslog) => syslog.record(host, placed),
            Self::Collector(collector) => collector.record(host, placed),
            Self::File(output) => output.record(host, placed),
        }
    }

    /// Sends a batch, which may be empty. Returns the last entry that is acknowledged now, if that is known.
    ///
    /// # Errors
    /// When the batch was not taken, or it is not known whether it was.
    pub(super) async fn deliver(&mut self, batch: &Batch) -> Result<Option<i64>, Failure> {
        match self {
            Self::Syslog(syslog) => syslog.deliver(batch).await,
            Self::Collector(collector) => collector.deliver(batch).await,
            Self::File(output) => output.deliver(batch).await,
        }
    }

    /// Tells whether all that was delivered is acknowledged.
    pub(super) async fn finish(&mut self) -> bool {
        match self {
            Self::Syslog(syslog) => syslog.finish().await,
            Self::Collector(_) | Self::File(_) => true,
        }
    }

    /// Ends what is open: what it carried is sent again.
    pub(super) fn reset(&mut self) {
        match self {
            Self::Syslog(syslog) => syslog.reset(),
            Self::Collector(_) => {}
            Self::File(output) => output.reset(),
        }
    }
}
