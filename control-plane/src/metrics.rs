//! What the control plane counts, for Prometheus. Labels are bounded: methods come from the table of permissions and from the
//! fleet's own, codes from gRPC.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tollgate_proto::permission;
use tonic::{Code, body::Body};
use tower::{Layer, Service};

use crate::store::Latency;

/// From a SQLite read (a fifth of a millisecond) to the deadline of a call (30 s).
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// What replicas call. Who may is not a matter of permissions, so the table of those has no rows for it.
const FLEET: [&str; 4] = [
    "/tollgate.fleet.v1.FleetService/Join",
    "/tollgate.fleet.v1.FleetService/Renew",
    "/tollgate.fleet.v1.FleetService/Follow",
    "/tollgate.fleet.v1.LeaseService/Exchange",
];

/// All metrics. Cloning shares them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    calls: Family<Call, Counter>,
    durations: Family<Method, Histogram>,
    /// The newest revision.
    pub revision: Gauge,
    /// Replicas that follow now.
    pub replicas_connected: Gauge,
    /// Replicas that follow and have not acknowledged the newest revision.
    pub replicas_behind: Gauge,
    /// Entries in the audit log.
    pub audit_entries: Gauge,
    /// Thresholds that budgets passed.
    pub budget_thresholds: Counter,
    /// The shipping of the audit log.
    pub audit_sinks: AuditSinks,
}

/// The shipping of the audit log, by sink; sinks are bounded by the configuration.
#[derive(Clone, Debug, Default)]
pub struct AuditSinks {
    lag: Family<Sink, Gauge>,
    shipped: Family<Sink, Counter>,
    failures: Family<Sink, Counter>,
}

/// The shipping to one sink.
#[derive(Clone, Debug)]
pub struct AuditSink {
    /// Entries that it has not acknowledged.
    pub lag: Gauge,
    /// Records that it was sent, those that were sent again included.
    pub shipped: Counter,
    /// Batches that it did not take, and entries that could not be read.
    pub failures: Counter,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Sink {
    sink: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Call {
    method: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Method {
    method: &'static str,
}

/// Counts the calls that pass through it.
#[derive(Clone, Debug)]
pub struct Counting<S> {
    inner: S,
    metrics: Metrics,
}

// === impl Metrics ===

impl Metrics {
    /// Registers everything.
    #[must_use]
    pub fn new(latency: &Latency) -> Self {
        let mut registry = Registry::with_prefix("tollgate_control_plane");
        let calls = Family::<Call, Counter>::default();
        let durations = Family::<Method, Histogram>::new_with_constructor(|| Histogram::new(SECONDS));
        let (revision, replicas_connected) = (Gauge::default(), Gauge::default());
        let (replicas_behind, audit_entries) = (Gauge::default(), Gauge::default());
        registry.register("rpcs", "Calls by method and gRPC code", calls.clone());
        registry.register("rpc_seconds", "How long calls took", durations.clone());
        registry.register("revision", "The newest revision of the policy", revision.clone());
        registry.register("replicas_connected", "Replicas that follow now", replicas_connected.clone());
        registry.register("replicas_behind", "Connected replicas behind the newest revision", replicas_behind.clone());
        registry.register("audit_entries", "Entries in the audit log", audit_entries.clone());
        let budget_thresholds = Counter::default();
        registry.register("budget_thresholds", "Thresholds that budgets passed", budget_thresholds.clone());
        let audit_sinks = AuditSinks::default();
        audit_sinks.register(&mut registry);
        registry.register("store_read_seconds", "How long read transactions took", latency.read.clone());
        registry.register("store_write_seconds", "How long write transactions took", latency.write.clone());
        Self {
            registry: Arc::new(registry),
            calls,
            durations,
            revision,
            replicas_connected,
            replicas_behind,
            audit_entries,
            budget_thresholds,
            audit_sinks,
        }
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// Never in practice: a String takes what is written to it.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn count(&self, method: &'static str, code: Code, seconds: f64) {
        self.calls.get_or_create(&Call { method, code: word(code) }).inc();
        self.durations.get_or_create(&Method { method }).observe(seconds);
    }
}

// === impl AuditSinks ===

impl AuditSinks {
    /// Those of one sink.
    #[must_use]
    pub fn of(&self, name: &str) -> AuditSink {
        let sink = Sink { sink: name.to_owned() };
        AuditSink {
            lag: self.lag.get_or_create(&sink).clone(),
            shipped: self.shipped.get_or_create(&sink).clone(),
            failures: self.failures.get_or_create(&sink).clone(),
        }
    }

    fn register(&self, registry: &mut Registry) {
        let Self { lag, shipped, failures } = self;
        registry.register("audit_sink_lag", "Audit entries that a sink has not acknowledged", lag.clone());
        registry.register("audit_sink_shipped", "Audit records sent to a sink", shipped.clone());
        registry.register("audit_sink_failures", "Batches that a sink did not take", failures.clone());
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl<S> Layer<S> for Metrics {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Counting { inner, metrics: self.clone() }
    }
}

// === impl Counting ===

impl<S> Service<Request<Body>> for Counting<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (metrics, begun, method) = (self.metrics.clone(), Instant::now(), method(request.uri().path()));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            // A refusal is in the headers; an answer with a body ends well unless its trailers say otherwise, which a call
            // with one answer never does.
            let code = answer.as_ref().map_or(Code::Unknown, |answer| {
                answer.headers().get("grpc-status").map_or(Code::Ok, |status| Code::from_bytes(status.as_bytes()))
            });
            metrics.count(method, code, begun.elapsed().as_secs_f64());
            answer
        })
    }
}

// A path that nobody declared is one label, however many are tried.
fn method(path: &str) -> &'static str {
    let declared = permission::required(path).map(|row| row.path);
    declared.or_else(|| FLEET.into_iter().find(|fleet| *fleet == path)).unwrap_or("other")
}

const fn word(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_what_is_declared_and_the_rest_together() {
        for (path, expect) in [
            ("/tollgate.admin.v1.KeyService/RevokeKey", "/tollgate.admin.v1.KeyService/RevokeKey"),
            ("/tollgate.fleet.v1.LeaseService/Exchange", "/tollgate.fleet.v1.LeaseService/Exchange"),
            ("/tollgate.fleet.v1.LeaseService/Steal", "other"),
            ("/", "other"),
        ] {
            assert_eq!(method(path), expect);
        }
    }
}
