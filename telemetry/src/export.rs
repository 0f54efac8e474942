//! The way to the collector: OTLP as protobuf over HTTP, in batches, from a thread of its own.

use std::{
    fmt,
    future::{Future as _, poll_fn},
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, Uri};
use opentelemetry_http::{HttpClient, HttpError, ResponseBodyTooLarge};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor};
use tokio::runtime::Handle;

use crate::TelemetryError;

// Spans wait for the exporter here; more are dropped, since tracing must not hold a request. About 2 MB at 1 KB a span.
const QUEUE_MAX: usize = 2_048;
// Spans sent together.
const BATCH_MAX: usize = 512;
// How long a span waits for company.
const BATCH_DELAY: Duration = Duration::from_secs(1);
// How long one batch may take: shorter than a shutdown waits.
const SEND_MAX: Duration = Duration::from_secs(4);
// A collector answers with a few bytes; what is longer is no collector.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

const PATH: &str = "/v1/traces";

pub(crate) fn processor(endpoint: &str) -> Result<BatchSpanProcessor, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(OnRuntime::new()?)
        .with_endpoint(address(endpoint)?)
        .with_timeout(SEND_MAX)
        .build()?;
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_MAX)
        .with_max_export_batch_size(BATCH_MAX)
        .with_scheduled_delay(BATCH_DELAY)
        .build();
    Ok(BatchSpanProcessor::builder(exporter).with_batch_config(config).build())
}

fn address(endpoint: &str) -> Result<String, TelemetryError> {
    let uri: Uri = endpoint.parse().map_err(|_| TelemetryError::Endpoint)?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.query().is_none();
    if !is_http {
        return Err(TelemetryError::Endpoint);
    }
    let base = endpoint.trim_end_matches('/');
    Ok(if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") })
}

/// Sends from the batch processor's thread, which has no reactor, over the connections of the process's runtime.
struct OnRuntime {
    client: reqwest::Client,
    runtime: Handle,
    failing: AtomicBool,
}

impl OnRuntime {
    fn new() -> Result<Self, TelemetryError> {
        // The client panics where no TLS provider is installed; installing a second one is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(SEND_MAX).build()?;
        Ok(Self { client, runtime: Handle::try_current()?, failing: AtomicBool::new(false) })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut answer = self.client.execute(request.try_into()?).await.map_err(reqwest::Error::without_url)?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            *headers = std::mem::take(answer.headers_mut());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(ResponseBodyTooLarge::new().into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(response.body(body.freeze())?)
    }

    // One line when the collector goes, one when it is back.
    fn note(&self, sent: &Result<Response<Bytes>, HttpError>) {
        let problem = match sent {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("status {}", response.status().as_u16())),
            Err(error) => Some(error.to_string()),
        };
        let failed_before = self.failing.swap(problem.is_some(), Ordering::Relaxed);
        match (problem, failed_before) {
            (Some(reason), false) => tracing::warn!(%reason, "trace collector does not take spans"),
            (None, true) => tracing::info!("trace collector takes spans again"),
            _ => {}
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut send = pin!(self.send(request));
        let sent = poll_fn(|context| {
            let _entered = self.runtime.enter();
            send.as_mut().poll(context)
        })
        .await;
        self.note(&sent);
        sent
    }
}

impl fmt::Debug for OnRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnRuntime").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_is_added_to_a_base() {
        for (endpoint, expect) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://otel.example.com/", "https://otel.example.com/v1/traces"),
            ("https://example.com/otlp", "https://example.com/otlp/v1/traces"),
            ("https://example.com/otlp/v1/traces", "https://example.com/otlp/v1/traces"),
        ] {
            assert_eq!(address(endpoint).unwrap(), expect);
        }
        for bad in ["", "127.0.0.1:4318", "ftp://a", "http://", "grpc://a:4317", "http://a/?b=c", "http://a b"] {
            assert!(matches!(address(bad), Err(TelemetryError::Endpoint)), "{bad}");
        }
    }
}
