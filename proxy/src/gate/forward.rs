//! Room 7: to the provider and back with the head of its answer. Another attempt is made only here, where the client has
//! not received a byte, and only after a failure that cannot have been answered: no connection, or a status that turns the
//! credential or the moment away. A request that was sent and not answered is never repeated: it may have been carried out,
//! and charged.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::{BodyExt as _, Collected, Either, Full};
use hyper::body::Incoming;
use tokio::time::Instant;
use tollgate_policy::{
    refusal::{Refusal, RefusalKind},
    route::Condition,
    snapshot::Provider,
};
use tollgate_telemetry::{span, traceparent};

use super::{
    Gate,
    inspect::{Cleared, Parts},
    linger::{self, Landed},
    parse::Outgoing,
    relay::{Gathered, gather},
    reserve::{Attempt, Journey},
    ticket::{AttemptResult, Ticket, Verdict},
    translate::{self, Prepared, Wanted},
};
use crate::{
    clock,
    current::Secret,
    health::rest::Cause,
    refuse::REQUEST_ID,
    upstream::{destination::Destination, sign::sign},
    visits::Registration,
};

/// A visit whose provider has begun to answer.
pub(super) struct Answering {
    pub(super) ticket: Box<Ticket>,
    pub(super) registration: Registration,
    pub(super) response: Response<Source>,
    pub(super) secret: Secret,
    /// What the request lost on its way, as the client is told.
    pub(super) losses: Option<HeaderValue>,
}

/// The body of an answer: as it comes, or read already, to know whether another provider shall be asked.
pub(super) type Source = Either<Incoming, Full<Bytes>>;

/// Why an attempt gave no answer.
enum Failure {
    /// Another attempt may be made.
    Passing(Cause),
    /// Another attempt may be made where the route says so: this one may have been carried out.
    Late(Refusal),
    /// None may.
    Final(AttemptResult, Refusal),
}

/// Sends the request, and again elsewhere as long as that is safe.
pub(super) async fn forward(gate: &Gate, cleared: Cleared) -> Verdict<Answering> {
    let Parts { mut ticket, registration, mut request, mut attempt, mut journey } = cleared.leave();
    // The last answer that turned the request away: what the client gets when nobody else takes it.
    let mut turned_away: Option<(Response<Source>, Secret)> = None;
    let mut late: Option<Refusal> = None;
    loop {
        let tokens = gate.upstream.tokens();
        match tokens.shown(&attempt.provider, &attempt.credential, &attempt.secret, clock::wall()).await {
            Ok(shown) => attempt.secret = shown,
            Err(error) => {
                tracing::warn!(provider = %attempt.provider.name, credential = %attempt.credential, %error, "no access token");
                gate.upstream.health().credentials().rest(&attempt.credential, Cause::Rejected, None, Instant::now());
                ticket.resolve(AttemptResult::Failed(Cause::Rejected));
                match journey.next(gate, &mut ticket, Some(Condition::Credential)).await {
                    Ok(Some(next)) => attempt = next,
                    Ok(None) => break,
                    Err((refusal, detail)) => return Err(ticket.refuse(refusal).with(detail)),
                }
                continue;
            }
        }
        let secret = attempt.secret.clone();
        let headers = headers_for(&mut request, &journey);
        let wanted = Wanted {
            operation: ticket.operation,
            asked: &Arc::clone(&ticket.model),
            name: &Arc::clone(&attempt.name),
            output_max: attempt.output_max,
            stream: ticket.streamed,
            is_strict: journey.is_strict(),
        };
        let Prepared { headers, path, body, passage, losses } =
            match translate::prepare(&attempt.provider, &wanted, &request, headers) {
                Ok(prepared) => prepared,
                Err(refusal) => return Err(ticket.refuse(refusal)),
            };
        ticket.passage = passage;
        let patience = journey.first_byte_timeout().unwrap_or(gate.first_byte_timeout);
        let place = (attempt.provider.id.clone(), Arc::clone(&attempt.name));
        let sending = Sending { headers, path, body, patience };
        let (back, sent) = send(gate, ticket, &registration, attempt, sending).await;
        ticket = back;
        let condition = match sent {
            Ok(response) => {
                let (response, condition) = match condition(response.status()) {
                    None if overflows(response.status()) && journey.goes_on_after(Condition::ContextLength) => {
                        read(gate, &ticket, &registration, response).await
                    }
                    condition => (response.map(Either::Left), condition),
                };
                match condition {
                    None => {
                        if let (Some(sent), Some(answered)) = (ticket.times.sent, ticket.times.answered) {
                            journey.answered(gate.upstream.health(), place, answered.duration_since(sent));
                        }
                        return Ok(Answering { losses, ..answering(ticket, registration, response, secret) });
                    }
                    Some(condition) => {
                        turned_away = Some((response, secret));
                        condition
                    }
                }
            }
            Err(Failure::Passing(cause)) => of_cause(cause),
            Err(Failure::Late(refusal)) if journey.goes_on_after(Condition::Timeout) => {
                ticket.resolve(AttemptResult::TimedOut);
                late = Some(refusal);
                Condition::Timeout
            }
            Err(Failure::Late(refusal)) => {
                ticket.resolve(AttemptResult::TimedOut);
                return Err(ticket.refuse(refusal));
            }
            Err(Failure::Final(result, refusal)) => {
                ticket.resolve(result);
                return Err(ticket.refuse(refusal));
            }
        };
        match journey.next(gate, &mut ticket, Some(condition)).await {
            Ok(Some(next)) => attempt = next,
            Ok(None) => break,
            Err((refusal, detail)) => return Err(ticket.refuse(refusal).with(detail)),
        }
    }
    match turned_away {
        Some((response, secret)) => Ok(answering(ticket, registration, response, secret)),
        None => Err(ticket.refuse(late.unwrap_or_else(unavailable))),
    }
}

// After which failure of its provider a request may go on elsewhere.
fn condition(status: StatusCode) -> Option<Condition> {
    match status.as_u16() {
        404 => Some(Condition::NotFound),
        503 | 529 => Some(Condition::Overloaded),
        _ => Cause::of_status(status).map(of_cause),
    }
}

// With which statuses providers say that a conversation is too long.
const fn overflows(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 413 | 422)
}

// Reads an error, and whether it says that the conversation is too long. What cannot be read whole is passed on as far as it came.
async fn read(
    gate: &Gate,
    ticket: &Ticket,
    registration: &Registration,
    response: Response<Incoming>,
) -> (Response<Source>, Option<Condition>) {
    let (head, body) = response.into_parts();
    let bytes = match gather(body, registration, gate.silence_max, ERROR_BYTES_MAX).await {
        Gathered::Whole(bytes) => bytes,
        // So long an error is about something else.
        Gathered::More(first, rest) => {
            let body = rest.collect().await.map(Collected::to_bytes).unwrap_or_default();
            let whole = [first, body].concat();
            return (Response::from_parts(head, Either::Right(Full::from(whole))), None);
        }
        Gathered::Cut(_) | Gathered::Broken | Gathered::Silent => Bytes::new(),
    };
    let failure = ticket.passage.errors().decode_error(head.status.as_u16(), &bytes);
    let condition = failure.is_context_length().then_some(Condition::ContextLength);
    (Response::from_parts(head, Either::Right(Full::new(bytes))), condition)
}

// Errors are of a few hundred bytes.
const ERROR_BYTES_MAX: usize = 64 * 1024;

const fn of_cause(cause: Cause) -> Condition {
    match cause {
        Cause::Rejected => Condition::Credential,
        Cause::Limited => Condition::RateLimit,
        Cause::Failing | Cause::Unreachable => Condition::ServerError,
        Cause::Late => Condition::Timeout,
    }
}

// One request, as it leaves.
struct Sending {
    headers: HeaderMap,
    path: String,
    body: Bytes,
    // Until its answer begins.
    patience: Duration,
}

// The provider's own request id goes into the record; the client gets ours.
fn answering(
    mut ticket: Box<Ticket>,
    registration: Registration,
    response: Response<Source>,
    secret: Secret,
) -> Answering {
    let named = REQUEST_IDS.iter().find_map(|name| response.headers().get(name));
    if let Some(id) = named.and_then(|value| value.to_str().ok()) {
        ticket.upstream_request_id = id.chars().take(UPSTREAM_ID_LENGTH_MAX).collect::<String>().into();
    }
    Answering { ticket, registration, response, secret, losses: None }
}

// How Anthropic, OpenAI and those after it, and AWS call it.
const REQUEST_IDS: [HeaderName; 3] =
    [REQUEST_ID, HeaderName::from_static("x-request-id"), HeaderName::from_static("x-amzn-requestid")];
// Providers' ids are about thirty characters long; the ledger keeps no more than this of one.
const UPSTREAM_ID_LENGTH_MAX: usize = 128;

// The headers are moved into the last attempt, and copied only where another may follow.
fn headers_for(request: &mut Outgoing, journey: &Journey) -> HeaderMap {
    if journey.goes_on() { request.headers.clone() } else { std::mem::take(&mut request.headers) }
}

// One attempt: until the head of the answer is there.
async fn send(
    gate: &Gate,
    mut ticket: Box<Ticket>,
    registration: &Registration,
    attempt: Attempt,
    mut sending: Sending,
) -> (Box<Ticket>, Result<Response<Incoming>, Failure>) {
    let Attempt { provider, name: _, output_max: _, secret, credential } = attempt;
    trace(&mut ticket, &provider, &mut sending.headers);
    let patience = sending.patience;
    let message = match message(&provider, &secret, sending) {
        Ok(message) => message,
        Err(failure) => return (ticket, Err(failure)),
    };
    if let Some(attempt) = ticket.trace.as_ref().and_then(|trace| trace.attempt.as_ref()) {
        attempt.record("server.address", message.uri().host());
    }
    // The reservation put it there. Without one nothing is sent.
    let Some(hold) = &ticket.hold else { return (ticket, Err(Failure::Passing(Cause::Unreachable))) };
    let sending = gate.upstream.send(hold, provider.allow_private, message);
    ticket.times.sent = Some(Instant::now());
    ticket.times.answered = None;
    let (mut ticket, landed) = linger::fly(&gate.lingering, ticket, registration, sending, patience).await;
    let now = Instant::now();
    ticket.times.answered = Some(now);
    let health = gate.upstream.health();
    let sent = match judge(landed) {
        ControlFlow::Continue(response) => {
            ticket.upstream_status = response.status().as_u16();
            match Cause::of_status(response.status()) {
                Some(cause) => {
                    ticket.resolve(AttemptResult::Failed(cause));
                    health.credentials().rest(&credential, cause, retry_after(response.headers()), now);
                    health.providers().failed(&provider.id, cause, now);
                }
                None => {
                    ticket.resolve(AttemptResult::Answered);
                    health.credentials().wake(&credential);
                    health.providers().answered(&provider.id);
                }
            }
            Ok(response)
        }
        ControlFlow::Break(failure) => {
            match &failure {
                Failure::Passing(cause) => {
                    ticket.resolve(AttemptResult::Failed(*cause));
                    health.credentials().rest(&credential, *cause, None, now);
                    health.providers().failed(&provider.id, *cause, now);
                }
                // It is no fault of the credential.
                Failure::Late(_) => health.providers().failed(&provider.id, Cause::Late, now),
                Failure::Final(..) => {}
            }
            Err(failure)
        }
    };
    (ticket, sent)
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
fn message(provider: &Provider, secret: &Secret, sending: Sending) -> Result<Request<Full<Bytes>>, Failure> {
    let Sending { headers, path, body, patience: _ } = sending;
    let destination = Destination::of(provider).and_then(|destination| destination.uri(&path));
    let uri = destination.map_err(|error| {
        tracing::debug!(provider = %provider.name, %error, "provider cannot be called");
        Failure::Passing(Cause::Unreachable)
    })?;
    let mut message = Request::new(Full::new(body.clone()));
    *message.method_mut() = Method::POST;
    *message.uri_mut() = uri;
    *message.headers_mut() = headers;
    sign(&mut message, &body, provider, secret, clock::wall()).map_err(|error| {
        tracing::debug!(provider = %provider.name, %error, "provider cannot be shown the credential");
        Failure::Passing(Cause::Rejected)
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

fn unavailable() -> Refusal {
    Refusal::new(RefusalKind::UpstreamUnavailable, "No model provider could be reached for this request. Try again.")
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
