//! A collector over HTTP: Splunk's HTTP Event Collector, or one that takes JSON Lines.
//!
//! ```text
//! POST /services/collector/event
//! authorization: Splunk <token>
//!
//! {"time":1700000000.000,"host":"…","source":"tollgate","sourcetype":"tollgate:audit","event":{…}}
//! ```

use http::{HeaderValue, header};
use reqwest::{Client, redirect};
use serde_json::Value;
use tollgate_audit::Placed;

use super::{
    ATTEMPT_MAX, Failure,
    batch::Batch,
    settings::{Address, CollectorSettings},
};

/// The longest answer that is read, in bytes: what it says is its status, and the connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A collector.
#[derive(Debug)]
pub(super) struct Collector {
    client: Client,
    settings: CollectorSettings,
}

impl Collector {
    /// A collector that nothing is sent to yet.
    ///
    /// # Errors
    /// When no client can be made.
    pub(super) fn new(settings: CollectorSettings) -> Result<Self, reqwest::Error> {
        // Another part may have installed the same provider: what counts is that there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder().redirect(redirect::Policy::none()).timeout(ATTEMPT_MAX);
        let builder = match &settings.tls {
            Some(tls) => builder.tls_backend_preconfigured(rustls::ClientConfig::clone(&tls.0)),
            None => builder,
        };
        Ok(Self { client: builder.build()?, settings })
    }

    /// The record of an entry, on a line.
    pub(super) fn record(&self, host: &str, placed: &Placed<'_>) -> Vec<u8> {
        let record = self.settings.format.record(host, placed).unwrap_or_default();
        if !self.settings.is_splunk {
            return [&record, &b"\n"[..]].concat();
        }
        let (seconds, millis) = (placed.time_ms().div_euclid(1_000), placed.time_ms().rem_euclid(1_000));
        let host = Value::from(host);
        let head = format!(
            r#"{{"time":{seconds}.{millis:03},"host":{host},"source":"tollgate","sourcetype":"tollgate:audit","event":"#
        );
        [head.as_bytes(), &record, b"}\n"].concat()
    }

    /// Sends records.
    ///
    /// # Errors
    /// When the answer is not 2xx, or does not come whole.
    pub(super) async fn deliver(&self, batch: &Batch) -> Result<Option<i64>, Failure> {
        if batch.records.is_empty() {
            return Ok(Some(batch.through));
        }
        let CollectorSettings { url: Address(url), authorization, .. } = &self.settings;
        let kind = if self.settings.is_splunk { "application/json" } else { "application/x-ndjson" };
        let mut request = self.client.post(url.clone()).header(header::CONTENT_TYPE, kind).body(batch.joined());
        if let Some(Ok(mut value)) = authorization.as_ref().map(|secret| HeaderValue::from_str(secret.expose())) {
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let mut answer = request.send().await.map_err(failed)?;
        if !answer.status().is_success() {
            return Err(Failure::Refused(answer.status()));
        }
        let mut read = 0;
        while let Some(piece) = answer.chunk().await.map_err(failed)?
            && read < ANSWER_BYTES_MAX
        {
            read += piece.len();
        }
        Ok(Some(batch.through))
    }
}

// The library's sentence does not say why. The URL may hold a secret.
fn failed(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut sentence = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        sentence.push_str(&format!(": {error}"));
        cause = error.source();
    }
    Failure::Request(sentence)
}
