//! Room 7: to the provider and back with the head of its answer. Another attempt is made only here, where the client has
//! not received a byte, and only after a failure that cannot have been answered: no connection, or a status that turns the
//! credential or the moment away. A request that was sent and not answered is not repeated, since it may have been carried out, and
//! charged: but where a route says so, after a while, or beside the one that is still waited for.
//!
//! [`attempt`], one of them; [`race`], two at once.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Collected, Either, Full};
use hyper::body::Incoming;
use tollgate_policy::{
    refusal::{Refusal, RefusalKind},
    route::Condition,
};

use self::attempt::{Failure, Grounded};
use super::{
    Gate,
    inspect::Guarding,
    relay::{Gathered, gather},
    reserve::{After, Held, Parts},
    ticket::{Ticket, Verdict},
};
use crate::{current::Secret, health::rest::Cause, refuse::REQUEST_ID, visits::Registration};

mod attempt;
mod race;

/// A visit whose provider has begun to answer.
pub(super) struct Answering {
    pub(super) ticket: Box<Ticket>,
    pub(super) registration: Registration,
    pub(super) response: Response<Source>,
    pub(super) secret: Secret,
    /// What the request lost on its way, as the client is told.
    pub(super) losses: Option<HeaderValue>,
    /// What guardrails have to do with it.
    pub(super) guarding: Guarding,
}

/// The body of an answer: as it comes, or read already, to know whether another provider shall be asked.
pub(super) type Source = Either<Incoming, Full<Bytes>>;

/// Sends the request, and again elsewhere as long as that is safe.
pub(super) async fn forward(gate: &Gate, held: Held) -> Verdict<Answering> {
    let Parts { mut ticket, registration, mut request, guarding, mut attempt, mut journey } = held.leave();
    // The last answer that turned the request away: what the client gets when nobody else takes it.
    let mut turned_away: Option<(Response<Source>, Secret)> = None;
    let mut late: Option<Refusal> = None;
    loop {
        let condition = match attempt::launch(gate, ticket, attempt, &mut request, &guarding, &journey).await {
            Ok(underway) => {
                let (back, asked, sent) =
                    race::land(gate, &registration, underway, (&mut request, &guarding), &mut journey).await;
                ticket = back;
                match sent {
                    Ok(response) => {
                        let (response, condition) = match condition(response.status()) {
                            None if overflows(response.status()) && journey.goes_on_after(Condition::ContextLength) => {
                                read(gate, &ticket, &registration, response).await
                            }
                            condition => (response.map(Either::Left), condition),
                        };
                        let Some(condition) = condition else {
                            if let (Some(sent), Some(answered)) = (ticket.times.sent, ticket.times.answered) {
                                journey.answered(gate.upstream.health(), asked.place, answered.duration_since(sent));
                            }
                            let losses = asked.losses;
                            let answering = answering(ticket, registration, response, asked.secret, guarding);
                            return Ok(Answering { losses, ..answering });
                        };
                        turned_away = Some((response, asked.secret));
                        condition
                    }
                    Err(Failure::Passing(cause)) => of_cause(cause),
                    Err(Failure::Late(refusal)) if journey.goes_on_after(Condition::Timeout) => {
                        late = Some(refusal);
                        Condition::Timeout
                    }
                    Err(Failure::Late(refusal) | Failure::Final(_, refusal)) => return Err(ticket.refuse(refusal)),
                }
            }
            Err((back, Grounded::Failed(cause))) => {
                ticket = back;
                of_cause(cause)
            }
            Err((back, Grounded::Refused(refusal))) => return Err(back.refuse(refusal)),
        };
        match journey.next(gate, &mut ticket, After::Failure(condition)).await {
            Ok(Some(next)) => attempt = next,
            Ok(None) => break,
            Err((refusal, detail)) => return Err(ticket.refuse(refusal).with(detail)),
        }
    }
    match turned_away {
        Some((response, secret)) => Ok(answering(ticket, registration, response, secret, guarding)),
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

// The provider's own request id goes into the record; the client gets ours.
fn answering(
    mut ticket: Box<Ticket>,
    registration: Registration,
    response: Response<Source>,
    secret: Secret,
    guarding: Guarding,
) -> Answering {
    let named = REQUEST_IDS.iter().find_map(|name| response.headers().get(name));
    if let Some(id) = named.and_then(|value| value.to_str().ok()) {
        ticket.upstream_request_id = id.chars().take(UPSTREAM_ID_LENGTH_MAX).collect::<String>().into();
    }
    Answering { ticket, registration, response, secret, losses: None, guarding }
}

// How Anthropic, OpenAI and those after it, and AWS call it.
const REQUEST_IDS: [HeaderName; 3] =
    [REQUEST_ID, HeaderName::from_static("x-request-id"), HeaderName::from_static("x-amzn-requestid")];
// Providers' ids are about thirty characters long; the ledger keeps no more than this of one.
const UPSTREAM_ID_LENGTH_MAX: usize = 128;

fn unavailable() -> Refusal {
    Refusal::new(RefusalKind::UpstreamUnavailable, "No model provider could be reached for this request. Try again.")
}
