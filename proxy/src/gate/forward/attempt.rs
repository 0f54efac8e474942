//! One attempt: the request as a provider gets it, on its way, and what came of it.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::Instant;
use tollgate_policy::{
    id::CredentialId,
    refusal::{Refusal, RefusalKind},
    snapshot::Provider,
};
use tollgate_telemetry::{span, traceparent};

use super::super::{
    Gate,
    inspect::Guarding,
    linger::{Flight, Landed},
    parse::Outgoing,
    reserve::{Attempt, Journey},
    ticket::{AttemptResult, Ticket},
    translate::{self, Prepared, Wanted},
};
use crate::{
    clock,
    current::Secret,
    health::{latency::Place, rest::Cause},
    upstream::{destination::Destination, sign::sign},
};

/// A request that was sent.
pub(super) struct Underway {
    pub(super) flight: Flight,
    pub(super) asked: Asked,
}

/// Who was asked, and with what.
pub(super) struct Asked {
    provider: Arc<Provider>,
    credential: CredentialId,
    /// The provider and the model.
    pub(super) place: Place,
    /// What went out as the credential.
    pub(super) secret: Secret,
    /// What the request lost on its way, as the client is told.
    pub(super) losses: Option<HeaderValue>,
}

/// Why an attempt gave no answer.
pub(super) enum Failure {
    /// Another attempt may be made.
    Passing(Cause),
    /// Another attempt may be made where the route says so: this one may have been carried out.
    Late(Refusal),
    /// None may.
    Final(AttemptResult, Refusal),
}

/// Why a request did not leave.
pub(super) enum Grounded {
    /// Another attempt may be made.
    Failed(Cause),
    /// It cannot be said in the provider's dialect.
    Refused(Refusal),
}

// One request, as it leaves.
struct Sending {
    headers: HeaderMap,
    path: String,
    body: Bytes,
}

/// Sends a request: from here on its answer is waited for, whatever becomes of the client.
pub(super) async fn launch(
    gate: &Gate,
    mut ticket: Box<Ticket>,
    attempt: Attempt,
    request: &mut Outgoing,
    guarding: &Guarding,
    journey: &Journey,
) -> Result<Underway, (Box<Ticket>, Grounded)> {
    let Attempt { provider, name, output_max, secret, credential } = attempt;
    let tokens = gate.upstream.tokens();
    let secret = match tokens.shown(&provider, &credential, &secret, clock::wall()).await {
        Ok(shown) => shown,
        Err(error) => {
            tracing::warn!(provider = %provider.name, %credential, %error, "no access token");
            gate.upstream.health().credentials().rest(&credential, Cause::Rejected, None, Instant::now());
            ticket.resolve(AttemptResult::Failed(Cause::Rejected));
            return Err((ticket, Grounded::Failed(Cause::Rejected)));
        }
    };
    let wanted = Wanted {
        operation: ticket.operation,
        asked: &Arc::clone(&ticket.model),
        name: &name,
        output_max,
        stream: ticket.streamed,
        is_strict: journey.is_strict(),
        is_read: ticket.streamed && guarding.is_active(),
    };
    let headers = headers_for(request, journey);
    let Prepared { mut headers, path, body, passage, losses } =
        match translate::prepare(&provider, &wanted, request, headers) {
            Ok(prepared) => prepared,
            Err(refusal) => return Err((ticket, Grounded::Refused(refusal))),
        };
    ticket.passage = passage;
    trace(&mut ticket, &provider, &mut headers);
    let message = match message(&provider, &secret, Sending { headers, path, body }) {
        Ok(message) => message,
        Err(cause) => return Err(fell(gate, ticket, &provider, &credential, cause)),
    };
    if let Some(attempt) = ticket.trace.as_ref().and_then(|trace| trace.attempt.as_ref()) {
        attempt.record("server.address", message.uri().host());
    }
    // The reservation put it there. Without one nothing is sent.
    let Some(hold) = &ticket.hold else { return Err((ticket, Grounded::Failed(Cause::Unreachable))) };
    let sending = gate.upstream.send(hold, provider.allow_private, message);
    let now = Instant::now();
    ticket.times.sent = Some(now);
    ticket.times.answered = None;
    let patience = journey.first_byte_timeout().unwrap_or(gate.first_byte_timeout);
    let place = (provider.id.clone(), name);
    Ok(Underway {
        flight: Flight::new(&gate.lingering, ticket, sending, now + patience),
        asked: Asked { provider, credential, place, secret, losses },
    })
}

/// Remembers what came of it: in the ticket, and of the provider's health.
pub(super) fn conclude(
    gate: &Gate,
    ticket: &mut Ticket,
    asked: &Asked,
    landed: Landed,
) -> Result<Response<Incoming>, Failure> {
    let now = Instant::now();
    ticket.times.answered = Some(now);
    let health = gate.upstream.health();
    let Asked { provider, credential, .. } = asked;
    match judge(landed) {
        ControlFlow::Continue(response) => {
            ticket.upstream_status = response.status().as_u16();
            match Cause::of_status(response.status()) {
                Some(cause) => {
                    ticket.resolve(AttemptResult::Failed(cause));
                    health.credentials().rest(credential, cause, retry_after(response.headers()), now);
                    health.providers().failed(&provider.id, cause, now);
                }
                None => {
                    ticket.resolve(AttemptResult::Answered);
                    health.credentials().wake(credential);
                    health.providers().answered(&provider.id);
                }
            }
            Ok(response)
        }
        ControlFlow::Break(failure) => {
            match &failure {
                Failure::Passing(cause) => {
                    ticket.resolve(AttemptResult::Failed(*cause));
                    health.credentials().rest(credential, *cause, None, now);
                    health.providers().failed(&provider.id, *cause, now);
                }
                // It is no fault of the credential.
                Failure::Late(_) => {
                    ticket.resolve(AttemptResult::TimedOut);
                    health.providers().failed(&provider.id, Cause::Late, now);
                }
                Failure::Final(result, _) => ticket.resolve(*result),
            }
            Err(failure)
        }
    }
}

// It could not be put together, which is a failure of the provider's.
fn fell(
    gate: &Gate,
    mut ticket: Box<Ticket>,
    provider: &Provider,
    credential: &CredentialId,
    cause: Cause,
) -> (Box<Ticket>, Grounded) {
    let (now, health) = (Instant::now(), gate.upstream.health());
    ticket.resolve(AttemptResult::Failed(cause));
    health.credentials().rest(credential, cause, None, now);
    health.providers().failed(&provider.id, cause, now);
    (ticket, Grounded::Failed(cause))
}

// The headers are moved into the last attempt, and copied only where another may follow.
fn headers_for(request: &mut Outgoing, journey: &Journey) -> HeaderMap {
    if journey.goes_on() { request.headers.clone() } else { std::mem::take(&mut request.headers) }
}

// What came back, or did not.
fn judge(landed: Landed) -> ControlFlow<Failure, Response<Incoming>> {
    let end = |result, kind, sentence| ControlFlow::Break(Failure::Final(result, Refusal::new(kind, sentence)));
    match landed {
        Landed::Cut(refusal) => ControlFlow::Break(Failure::Final(AttemptResult::Unanswered, refusal)),
        Landed::Late => ControlFlow::Break(Failure::Late(Refusal::new(
            RefusalKind::UpstreamTimeout,
            "The model provider did not begin to answer in time. Try again.",
        ))),
        Landed::Answer(Err(error)) if error.is_connect() => {
            tracing::debug!(error = &error as &dyn std::error::Error, "provider cannot be reached");
            ControlFlow::Break(Failure::Passing(Cause::Unreachable))
        }
        Landed::Answer(Err(error)) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "provider broke off before its answer");
            end(
                AttemptResult::Invalid,
                RefusalKind::UpstreamUnavailable,
                "The model provider closed the connection before it answered. Try again.",
            )
        }
        Landed::Answer(Ok(response)) if is_no_answer(response.status()) => end(
            AttemptResult::Redirected,
            RefusalKind::UpstreamInvalid,
            "The model provider answered with a redirect, which is not followed. Tell your platform team: the provider's base \
             URL needs a correction.",
        ),
        Landed::Answer(Ok(response)) => ControlFlow::Continue(response),
    }
}

fn is_no_answer(status: StatusCode) -> bool {
    status.is_redirection() || status.is_informational()
}

// The request as the provider gets it, with the provider's credential.
fn message(provider: &Provider, secret: &Secret, sending: Sending) -> Result<Request<Full<Bytes>>, Cause> {
    let Sending { headers, path, body } = sending;
    let destination = Destination::of(provider).and_then(|destination| destination.uri(&path));
    let uri = destination.map_err(|error| {
        tracing::debug!(provider = %provider.name, %error, "provider cannot be called");
        Cause::Unreachable
    })?;
    let mut message = Request::new(Full::new(body.clone()));
    *message.method_mut() = Method::POST;
    *message.uri_mut() = uri;
    *message.headers_mut() = headers;
    sign(&mut message, &body, provider, secret, clock::wall()).map_err(|error| {
        tracing::debug!(provider = %provider.name, %error, "provider cannot be shown the credential");
        Cause::Rejected
    })?;
    Ok(message)
}

// A traced request tells the provider its own span; any other passes the client's header as it came.
fn trace(ticket: &mut Ticket, provider: &Provider, headers: &mut HeaderMap) {
    let (operation, model) = (ticket.operation, Arc::clone(&ticket.model));
    let Some(trace) = &mut ticket.trace else { return };
    let attempt = span::attempt(&trace.visit, operation.genai(), provider.dialect.word(), &model);
    if let Some(value) = span::traceparent(&attempt).and_then(|parent| parent.to_string().try_into().ok()) {
        headers.insert(traceparent::HEADER, value);
    }
    trace.attempt = Some(attempt);
}

// Whole seconds; the form with a date is not used by model providers.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_whole_seconds() {
        for (value, expect) in [
            ("7", Some(7)),
            (" 12 ", Some(12)),
            ("0", Some(0)),
            ("1.5", None),
            ("-1", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(retry_after(&headers), expect.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
