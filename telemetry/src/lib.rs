//! What a Tollgate process says about itself: logs to standard error, traces to an OTLP collector.
//!
//! Whether a request is traced is decided before a span is made, so that a request that is not traced pays for no span.
//! Neither logs nor spans hold prompt text or credentials: the fields of spans are declared here, once.
//!
//! Reading order: [`Telemetry`], made once in a process; [`traceparent`], the context that crosses the wire; [`sampler`],
//! which requests are traced; [`span`], the spans of a request; `export`, the way to the collector.

use std::{fmt, io::IsTerminal as _, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterFn, filter_fn},
    layer::SubscriberExt as _,
};

pub mod traceparent;
pub mod sampler;
pub mod span;
mod export;

pub use self::{sampler::Sampler, traceparent::Traceparent};

/// How long a shutdown waits for the last spans: a collector that is away must not hold a process that was told to end.
pub const FLUSH_MAX: Duration = Duration::from_secs(5);

/// How a process reports.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program's name: `tollgate-proxy`.
    pub service: &'static str,
    /// The program's version.
    pub version: &'static str,
    /// Logs as one JSON object a line, rather than for people.
    pub json: bool,
    /// Which logs, in the form of `RUST_LOG`: `info,tollgate_proxy=debug`.
    pub filter: String,
    /// The collector's base address, such as `http://127.0.0.1:4318`; `/v1/traces` is added. `None` traces nothing.
    pub otlp_endpoint: Option<String>,
    /// The share of requests that are traced, from 0 to 1, among those whose caller did not decide.
    pub trace_ratio: f64,
    /// What else names this process in traces: `service.instance.id`, `cloud.region`.
    pub attributes: Vec<(&'static str, String)>,
}

/// The process's telemetry, once started.
#[derive(Debug)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
    sampler: Sampler,
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("log filter does not parse: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The share of traced requests is no share.
    #[error("trace ratio must be from 0 to 1")]
    Ratio,
    /// The collector's address does not parse. It is not repeated: it may hold a password.
    #[error("otlp endpoint must be an http or https address such as http://127.0.0.1:4318")]
    Endpoint,
    /// The exporter cannot be made.
    #[error("failed to make the trace exporter: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The HTTP client cannot be made.
    #[error("failed to make the exporter's http client: {0}")]
    Client(#[from] reqwest::Error),
    /// Spans are exported from a tokio runtime, and there is none.
    #[error("traces need a tokio runtime: {0}")]
    Runtime(#[from] tokio::runtime::TryCurrentError),
    /// Something else in this process collects logs already.
    #[error("telemetry was started before")]
    StartedBefore,
}

// === impl Telemetry ===

impl Telemetry {
    /// Starts logging, and tracing if there is a collector. Call it once, from a tokio runtime, before anything logs.
    ///
    /// # Errors
    /// Returns what in the options is wrong. A collector that cannot be reached is no error: it may come.
    pub fn start(options: &Options) -> Result<Self, TelemetryError> {
        let (telemetry, subscriber) = Self::prepare(options)?;
        tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::StartedBefore)?;
        Ok(telemetry)
    }

    /// Decides which requests are traced.
    #[must_use]
    pub fn sampler(&self) -> Sampler {
        self.sampler.clone()
    }

    /// Sends the last spans, for at most [`FLUSH_MAX`]. Nothing is traced afterwards.
    pub async fn shutdown(self) {
        let Some(provider) = self.provider else { return };
        // Joining the exporter's thread blocks, and that thread needs this runtime to send.
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_MAX));
        match flush.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "last spans were not sent"),
            Err(error) => tracing::warn!(%error, "last spans were not sent"),
        }
    }

    fn prepare(options: &Options) -> Result<(Self, impl Subscriber + Send + Sync + use<>), TelemetryError> {
        if !(0.0..=1.0).contains(&options.trace_ratio) {
            return Err(TelemetryError::Ratio);
        }
        let provider = options.otlp_endpoint.as_deref().map(|endpoint| provider(options, endpoint)).transpose()?;
        let spans = provider.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("tollgate"))
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                .with_context_activation(false)
                .with_filter(spans_only())
        });
        let subscriber = Registry::default().with(logs(options)?).with(spans);
        let sampler = if provider.is_some() { Sampler::new(options.trace_ratio) } else { Sampler::off() };
        Ok((Self { provider, sampler }, subscriber))
    }
}

impl fmt::Display for Options {
    /// Prints what a start-up log shows: whether traces go somewhere, not where, since the address may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let traces = if self.otlp_endpoint.is_some() { "otlp" } else { "off" };
        write!(f, "{} {} logs={} traces={traces} ratio={}", self.service, self.version, self.filter, self.trace_ratio)
    }
}

fn logs<S>(options: &Options) -> Result<Box<dyn Layer<S> + Send + Sync>, TelemetryError>
where
    S: Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
{
    let off = filter_fn(|metadata| !is_trace(metadata));
    let filter = EnvFilter::try_new(&options.filter)?;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    Ok(if options.json {
        let layer = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
        layer.with_filter(off).with_filter(filter).boxed()
    } else {
        layer.with_ansi(std::io::stderr().is_terminal()).with_filter(off).with_filter(filter).boxed()
    })
}

fn provider(options: &Options, endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let attributes = options.attributes.iter().map(|(name, value)| KeyValue::new(*name, value.clone()));
    let resource = Resource::builder()
        .with_service_name(options.service)
        .with_attribute(KeyValue::new("service.version", options.version))
        .with_attributes(attributes)
        .build();
    Ok(SdkTracerProvider::builder().with_span_processor(export::processor(endpoint)?).with_resource(resource).build())
}

// Only the spans that this crate declares: those of libraries may hold anything.
fn spans_only() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    filter_fn(|metadata| metadata.is_span() && is_trace(metadata))
}

fn is_trace(metadata: &Metadata<'_>) -> bool {
    metadata.target() == span::TARGET
}

#[cfg(test)]
mod tests;
