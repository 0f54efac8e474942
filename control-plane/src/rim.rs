//! The HTTP rim: health, readiness, metrics, and what others serve on the same listener.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    metrics::Metrics,
    store::{Store, StoreError},
};

/// How long a probe waits for the database: less than the second in which orchestrators lose patience.
const PROBE_MAX: Duration = Duration::from_millis(900);

#[derive(Debug)]
struct Rim {
    store: Store,
    metrics: Metrics,
    stop: CancellationToken,
}

/// Serves, together with the routes of others, until `stop` is cancelled and what had begun has ended.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    metrics: Metrics,
    others: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    let stopped = stop.clone().cancelled_owned();
    let routes = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_text))
        .with_state(Arc::new(Rim { store, metrics, stop }))
        .merge(others);
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, routes).with_graceful_shutdown(stopped).await
}

async fn ready(State(rim): State<Arc<Rim>>) -> (StatusCode, &'static str) {
    if rim.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match tokio::time::timeout(PROBE_MAX, rim.store.revision()).await {
        Ok(Ok(_)) => (StatusCode::OK, "ready\n"),
        Ok(Err(_)) => (StatusCode::SERVICE_UNAVAILABLE, "the database cannot be read\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}

async fn metrics_text(State(rim): State<Arc<Rim>>) -> impl IntoResponse {
    // An outage of the database leaves the gauges as they were; what is counted in this process is told all the same.
    let _ = tokio::time::timeout(PROBE_MAX, rim.refresh()).await;
    match rim.metrics.text() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, [(header::CONTENT_TYPE, kind)], text)
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], String::new()),
    }
}

impl Rim {
    async fn refresh(&self) -> Result<(), StoreError> {
        let mut txn = self.store.begin_read().await?;
        let (_, revision) = txn.fleet().await?;
        let entries = txn.audit_length().await?;
        let (connected, behind) = txn.replica_counts(clock::now_ms()).await?;
        txn.end().await?;
        self.metrics.replicas_connected.set(connected);
        self.metrics.replicas_behind.set(behind);
        self.metrics.revision.set(revision);
        self.metrics.audit_entries.set(entries);
        Ok(())
    }
}
