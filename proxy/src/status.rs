//! The listener for operators and orchestrators: whether the process lives, whether it should get requests, and what it
//! counts. Without authentication, and so bound to loopback by default.

use std::{
    convert::Infallible,
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    current::Holder,
    funds::Funds,
    gate::Gate,
    metrics::{Levels, Metrics},
    rates::Rates,
    spool::Spool,
    sync,
};

// Probes and one or two collectors; more connections than this are somebody's mistake.
const CONNECTIONS_MAX: usize = 64;
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
const OPENMETRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What the listener looks at.
pub(crate) struct Watched {
    /// What holds now.
    pub(crate) holder: Arc<Holder>,
    /// The gate.
    pub(crate) gate: std::sync::Weak<Gate>,
    /// What is borrowed from budgets.
    pub(crate) funds: Arc<Funds>,
    /// How fast callers may go.
    pub(crate) rates: Rates,
    /// The spool.
    pub(crate) spool: Spool,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// How following the control plane goes.
    pub(crate) sync: watch::Receiver<sync::Status>,
    /// The open connections of agents.
    pub(crate) connections: Arc<AtomicUsize>,
    /// A policy that was not confirmed for longer is too old.
    pub(crate) snapshot_age_max: Duration,
    /// Cancelled when the process ends.
    pub(crate) ending: CancellationToken,
}

/// A bound status listener.
pub(crate) struct Status {
    tcp: TcpListener,
    watched: Arc<Watched>,
}

// === impl Status ===

impl Status {
    /// Puts what is watched behind a bound listener.
    pub(crate) fn new(tcp: TcpListener, watched: Watched) -> Self {
        Self { tcp, watched: Arc::new(watched) }
    }

    /// The bound address.
    ///
    /// # Errors
    /// Returns what the system says.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until `stop` is cancelled.
    pub(crate) async fn serve(self, stop: CancellationToken) {
        let Self { tcp, watched } = self;
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        while let Some(Ok(permit)) = stop.run_until_cancelled(Arc::clone(&permits).acquire_owned()).await {
            let Some(accepted) = stop.run_until_cancelled(tcp.accept()).await else { break };
            while connections.try_join_next().is_some() {}
            let Ok((stream, _)) = accepted else { continue };
            let watched = Arc::clone(&watched);
            connections.spawn(async move {
                let _permit = permit;
                let service = service_fn(|request: Request<Incoming>| {
                    let answer = watched.answer(request.method(), request.uri().path());
                    async { Ok::<_, Infallible>(answer) }
                });
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX);
                // Whoever asked is gone; there is nobody to tell.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
        connections.shutdown().await;
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").field("tcp", &self.tcp).finish_non_exhaustive()
    }
}

// === impl Watched ===

impl Watched {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n".to_owned());
        }
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => match self.why_not_ready() {
                None => text(StatusCode::OK, "ready\n".to_owned()),
                Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
            },
            "/metrics" => {
                let mut answer = text(StatusCode::OK, self.metrics.text(&self.levels()));
                answer.headers_mut().insert(CONTENT_TYPE, OPENMETRICS);
                answer
            }
            _ => text(StatusCode::NOT_FOUND, "paths: /healthz /readyz /metrics\n".to_owned()),
        }
    }

    fn why_not_ready(&self) -> Option<String> {
        let age = self.sync.borrow().age(clock::wall()).unwrap_or_default();
        if self.ending.is_cancelled() {
            Some("the process ends".to_owned())
        } else if self.holder.is_draining() {
            Some("an operator drains this replica".to_owned())
        } else if self.holder.load().is_none() {
            let why =
                self.sync.borrow().last_error.clone().unwrap_or_else(|| "waiting for the control plane".to_owned());
            Some(format!("no policy yet: {why}"))
        } else if age > self.snapshot_age_max {
            Some(format!("the control plane has not confirmed the policy for {} s", age.as_secs()))
        } else if self.spool.is_full() {
            Some("the spool takes no more records".to_owned())
        } else {
            None
        }
    }

    fn levels(&self) -> Levels {
        let depth = self.spool.depth();
        let sync = self.sync.borrow().clone();
        let (held, free) = self.funds.totals();
        Levels {
            connections: self.connections.load(Ordering::Relaxed),
            visits: self.gate.upgrade().map_or(0, |gate| gate.open()),
            admitted: self.holder.visits().open(),
            spool_records: depth.outcomes,
            spool_bytes: depth.bytes,
            spool_bytes_max: depth.bytes_max,
            spool_dropped: depth.dropped,
            revision: self.holder.load().map_or(0, |current| current.snapshot.revision()),
            age: sync.age(clock::wall()).unwrap_or_default(),
            connected: sync.connected,
            funds_held: held,
            funds_free: free,
            funds_waits: self.funds.waits(),
            rate_decisions: self.rates.decisions(),
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, TEXT);
    answer
}
