//! Room 8: the answer on its way to the client.
//!
//! An event stream passes as it comes, whole events at a time, so that it can be ended in good form at any moment: by a
//! change of policy, or when the provider breaks off or falls silent. Any other answer is small and arrives at once: it is
//! gathered first, up to a bound, so that a provider that breaks off in the middle becomes a clean error, and head and body
//! leave in one write.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
use tollgate_dialect::Dialect;
use tollgate_policy::refusal::{Refusal, RefusalKind};

mod silence;
mod gather;
mod follow;
mod edit;
mod track;
mod anew;
mod stream;
mod flow;
mod body;

pub(crate) use self::body::Body;
pub(super) use self::{
    gather::{Gathered, Pile, gather},
    track::Track,
};

use self::{
    flow::{Flow, Tee},
    gather::GATHERED_BYTES_MAX,
    stream::Stream,
};
use super::{
    Gate,
    forward::{Answering, Source},
    inspect::Guarding,
    passage,
    ticket::{AttemptResult, End, Ticket, Verdict},
};
use crate::{
    refuse,
    upstream::{sign::bare, speech::Question},
    visits::Registration,
};

/// What an answer is, as far as its passage is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Events to be metered on their way.
    Events,
    /// A whole message to be metered at its end.
    Message,
    /// Something that is not metered: an error, a count, or a compressed answer.
    Opaque,
    /// Nothing that the dialect knows.
    Garbage,
}

/// The largest answer that is read whole.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Passes the answer on.
pub(super) async fn relay(gate: &Gate, answering: Answering) -> Verdict<Response<Body>> {
    if !answering.ticket.passage.is_plain() {
        return anew::relay(gate, answering).await;
    }
    let Answering { mut ticket, registration, response, secret, losses: _, guarding } = answering;
    let (mut head, source) = response.into_parts();
    let kind = kind(&ticket, head.status, &head.headers);
    passage::inbound(&mut head.headers, bare(&secret));
    ticket.status = head.status.as_u16();
    if let Some(used) = &ticket.used {
        refuse::warn(&mut head.headers, used);
    }
    let is_success = head.status.is_success();
    // What cannot be read cannot be looked at.
    let is_unseen = kind == Kind::Opaque && is_success && guarding.is_strict() && !is_plain(&head.headers);
    if kind == Kind::Garbage || is_unseen {
        return Err(ticket.refuse(garbage()));
    }
    if guarding.is_active() {
        // The answer may become longer or shorter.
        head.headers.remove(CONTENT_LENGTH);
    }
    let request_id = Arc::clone(&ticket.request_id);
    let silence_max = gate.silence_max;
    let body = if kind == Kind::Events {
        // An event of ours may be added.
        head.headers.remove(CONTENT_LENGTH);
        // What the client will read is what the provider sends.
        ticket.passage.is_list = !media(&head.headers).eq_ignore_ascii_case(EVENTS);
        // What is looked at is written anew, in the same dialect; Messages alone are only edited.
        ticket.passage.is_translated = guarding.is_active() && ticket.passage.provider != Dialect::Anthropic;
        let (funds, spool, filter) = (Arc::clone(&gate.funds), gate.spool.clone(), guarding.filter());
        Body::stream(Stream::new(source, ticket, registration, silence_max, funds, spool, filter))
    } else {
        let most = if guarding.is_active() { ANSWER_BYTES_MAX } else { GATHERED_BYTES_MAX };
        let gathered = gather(source, &registration, silence_max, most).await;
        self::gathered(gathered, kind, ticket, registration, silence_max, &guarding)?
    };
    let mut answer = Response::from_parts(head, body);
    refuse::identify(&mut answer, &request_id);
    Ok(answer)
}

fn gathered(
    gathered: Gathered<Source>,
    kind: Kind,
    mut ticket: Box<Ticket>,
    registration: Registration,
    silence_max: Duration,
    guarding: &Guarding,
) -> Verdict<Body> {
    match gathered {
        Gathered::Whole(bytes) => {
            let end = match kind {
                Kind::Message => match ticket.passage.meter(&bytes) {
                    Ok(metered) => message_end(ticket.metered.insert(metered)),
                    Err(_) => {
                        // It was an answer, of which nobody knows the cost.
                        ticket.resolve(AttemptResult::Invalid);
                        return Err(ticket.refuse(garbage()));
                    }
                },
                _ => opaque_end(&ticket),
            };
            let bytes = match guarded(bytes, &mut ticket, guarding) {
                Ok(bytes) => bytes,
                Err(refusal) => return Err(ticket.refuse(refusal)),
            };
            ticket.close(end);
            Ok(Body::whole(bytes))
        }
        // Longer than anything that is looked at.
        Gathered::More(..) if guarding.is_active() => Err(ticket.refuse(garbage())),
        Gathered::More(first, source) => {
            let tee = (kind == Kind::Message).then(Tee::default);
            let end = opaque_end(&ticket);
            Ok(Body::flow(Flow::new(first, source, ticket, registration, tee, end, silence_max)))
        }
        Gathered::Cut(refusal) => Err(ticket.refuse(refusal)),
        Gathered::Broken => Err(ticket.refuse(broken_off())),
        Gathered::Silent => Err(ticket.refuse(silent())),
    }
}

// A whole answer, as guardrails let it pass. What it cost is metered, whether it passes or not.
fn guarded(bytes: Bytes, ticket: &mut Ticket, guarding: &Guarding) -> Result<Bytes, Refusal> {
    // Numbers tell nothing.
    if !guarding.is_active() || ticket.passage.question != Question::Answer {
        return Ok(bytes);
    }
    let nested: &[&str] = match ticket.passage.provider {
        Dialect::OpenAiChat | Dialect::OpenAiResponses => &["arguments"],
        Dialect::Anthropic | Dialect::Gemini | Dialect::BedrockConverse => &[],
    };
    let looked = guarding.calls(ticket.passage.provider, &bytes);
    match looked.and_then(|()| guarding.whole(&bytes, nested, &mut ticket.circumstances)) {
        Ok(changed) => Ok(changed.map_or(bytes, Bytes::from)),
        Err(refusal) => {
            if ticket.metered.is_none() {
                ticket.metered = ticket.passage.meter(&bytes).ok();
            }
            Err(refusal)
        }
    }
}

fn broken_off() -> Refusal {
    Refusal::new(
        RefusalKind::UpstreamUnavailable,
        "The model provider broke off in the middle of its answer. Try again.",
    )
}

fn silent() -> Refusal {
    Refusal::new(RefusalKind::UpstreamTimeout, "The model provider fell silent in the middle of its answer. Try again.")
}

/// How a visit ends whose answer was a whole message.
fn message_end(metered: &tollgate_dialect::Metered) -> End {
    if metered.complete { End::Completed } else { End::UpstreamFailed }
}

// An error of the provider is passed on whole, and is still no answer. A message that was not read is charged at its
// estimate.
fn opaque_end(ticket: &Ticket) -> End {
    match (ticket.status, ticket.operation) {
        (400.., _) => End::UpstreamFailed,
        (_, operation) if operation.is_answered() => End::Unmetered,
        _ => End::Completed,
    }
}

fn kind(ticket: &Ticket, status: StatusCode, headers: &HeaderMap) -> Kind {
    if !status.is_success() {
        return Kind::Opaque;
    }
    let media = media(headers);
    // Some vendors leave the type out.
    let is_json = media.is_empty() || media.eq_ignore_ascii_case("application/json");
    let passage = &ticket.passage;
    // The elements of a list are events as well.
    let is_list = is_json && ticket.streamed && passage.provider == Dialect::Gemini;
    let is_events = is_list || media.eq_ignore_ascii_case(passage.stream_type());
    // We asked for identity. Who compresses nevertheless has its bytes passed on, unread.
    let is_metered = is_plain(headers) && ticket.operation.is_answered() && status == StatusCode::OK;
    match (is_json, is_events) {
        (false, false) => Kind::Garbage,
        (_, true) if is_metered => Kind::Events,
        (true, _) if is_metered => Kind::Message,
        _ => Kind::Opaque,
    }
}

fn is_plain(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().all(|value| value == "identity")
}

const EVENTS: &str = "text/event-stream";

fn media(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).map(media_type).unwrap_or_default()
}

fn media_type(value: &HeaderValue) -> &str {
    let text = value.to_str().unwrap_or_default();
    text.split_once(';').map_or(text, |(media, _)| media).trim()
}

fn garbage() -> Refusal {
    Refusal::new(
        RefusalKind::UpstreamInvalid,
        "The model provider answered with something that is no answer of its API. Tell your platform team: its base URL may \
         point at another service.",
    )
}
