//! The spans of a request, with every field that they may have. Names follow OpenTelemetry's semantic conventions for HTTP
//! and generative AI where these have one, and begin with `tollgate.` where they have none.
//!
//! Make a span only for a request that the [`Sampler`](crate::Sampler) took. What is known later is recorded by name:
//! `span.record("gen_ai.response.model", name)`, and numbers by [`count`].

use opentelemetry::{
    Context,
    trace::{SpanId, TraceContextExt as _},
};
use tracing::{Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::traceparent::Traceparent;

/// The target of every exported span. Logs leave it out.
pub const TARGET: &str = "tollgate::trace";

/// The span of one visit, from its arrival to its settlement. It has no local parent; a remote one if the caller sent it.
#[must_use]
pub fn visit(parent: Option<&Traceparent>, method: &str, route: &str) -> Span {
    let span = info_span!(
        target: TARGET,
        parent: None,
        "visit",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        error.type = Empty,
        session.id = Empty,
        gen_ai.agent.id = Empty,
        tollgate.request_id = Empty,
        tollgate.customer = Empty,
        tollgate.team = Empty,
        tollgate.user = Empty,
        tollgate.key = Empty,
        tollgate.revision = Empty,
        tollgate.outcome = Empty,
        tollgate.refusal = Empty,
        tollgate.cost_nano_usd = Empty,
    );
    if let Some(parent) = parent {
        // It fails where nothing is exported; then there is nothing to attach to.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent.remote()));
    }
    span
}

/// The span of one attempt at a provider, within a visit.
#[must_use]
pub fn attempt(visit: &Span, operation: &str, provider: &str, model: &str) -> Span {
    info_span!(
        target: TARGET,
        parent: visit,
        "attempt",
        otel.name = format!("{operation} {model}"),
        otel.kind = "client",
        otel.status_code = Empty,
        gen_ai.operation.name = operation,
        gen_ai.provider.name = provider,
        gen_ai.request.model = model,
        gen_ai.response.model = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        gen_ai.usage.cache_read.input_tokens = Empty,
        gen_ai.usage.cache_creation.input_tokens = Empty,
        http.response.status_code = Empty,
        error.type = Empty,
        server.address = Empty,
        tollgate.credential = Empty,
        tollgate.upstream_request_id = Empty,
    )
}

/// Records a number. It goes out as a signed one: collectors get an unsigned one as text.
pub fn count(span: &Span, field: &str, value: u64) {
    span.record(field, i64::try_from(value).unwrap_or(i64::MAX));
}

/// The parent to send onwards for what happens within a span. `None` where the span is not exported.
#[must_use]
pub fn traceparent(span: &Span) -> Option<Traceparent> {
    let context = span.context();
    let context = context.span().span_context().clone();
    if context.span_id() == SpanId::INVALID { None } else { Traceparent::of(&context) }
}
