//! An answer of a provider that speaks another dialect than the client, or in another envelope: it is read, and written anew. A stream
//! event by event as it comes; anything else whole.

use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use std::sync::Arc;
use tollgate_dialect::{Dialect, ErrorClass, Metered, count};

use super::{
    ANSWER_BYTES_MAX, Body, broken_off, garbage,
    gather::{self, GATHERED_BYTES_MAX, Gathered},
    guarded, is_plain, media, message_end, silent,
    stream::Stream,
};
use crate::{
    gate::{
        Gate,
        forward::{Answering, Source},
        inspect::Guarding,
        ticket::{AttemptResult, End, Ticket, Verdict},
        translate::APPROXIMATED,
    },
    refuse::{self, SHOULD_RETRY},
    upstream::speech::Question,
};

/// The largest error that is read.
const ERROR_BYTES_MAX: usize = GATHERED_BYTES_MAX;

/// Passes an answer on.
pub(super) async fn relay(gate: &Gate, answering: Answering) -> Verdict<Response<Body>> {
    let Answering { mut ticket, registration, response, secret: _, losses, guarding } = answering;
    let (head, source) = response.into_parts();
    ticket.status = head.status.as_u16();
    let request_id = Arc::clone(&ticket.request_id);
    let mut headers = HeaderMap::new();
    if let Some(losses) = losses {
        headers.insert(APPROXIMATED, losses);
    }
    if let Some(used) = ticket.used.as_ref().filter(|_| ticket.passage.client == Dialect::Anthropic) {
        refuse::warn(&mut headers, used);
    }
    let (silence_max, errors) = (gate.silence_max, ticket.passage.client_errors());
    let (status, body) = if !head.status.is_success() {
        keep(&head.headers, &mut headers, [RETRY_AFTER, SHOULD_RETRY]);
        headers.insert(CONTENT_TYPE, JSON);
        let gathered = gather::gather(source, &registration, silence_max, ERROR_BYTES_MAX).await;
        let (status, class, body) = failed(gathered, head.status, ticket)?;
        if errors == Dialect::BedrockConverse {
            refuse::name_error(&mut headers, class);
        }
        (status, body)
    } else if is_stream(&ticket, &head.headers) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(ticket.passage.client_stream_type()));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let (funds, spool) = (Arc::clone(&gate.funds), gate.spool.clone());
        let stream = Stream::new(source, ticket, registration, silence_max, funds, spool, guarding.filter());
        (StatusCode::OK, Body::stream(stream))
    } else if is_whole(&ticket, &head.headers) {
        headers.insert(CONTENT_TYPE, JSON);
        let gathered = gather::gather(source, &registration, silence_max, ANSWER_BYTES_MAX).await;
        (StatusCode::OK, answered(gathered, ticket, &guarding)?)
    } else {
        ticket.resolve(AttemptResult::Invalid);
        return Err(ticket.refuse(garbage()));
    };
    let mut answer = Response::new(body);
    (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
    refuse::identify(&mut answer, &request_id);
    Ok(answer)
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

fn keep(from: &HeaderMap, to: &mut HeaderMap, names: [HeaderName; 2]) {
    for name in names {
        if let Some(value) = from.get(&name) {
            to.insert(name, value.clone());
        }
    }
}

fn is_stream(ticket: &Ticket, headers: &HeaderMap) -> bool {
    let expected = ticket.passage.stream_type();
    ticket.streamed && is_plain(headers) && media(headers).eq_ignore_ascii_case(expected)
}

fn is_whole(ticket: &Ticket, headers: &HeaderMap) -> bool {
    let media = media(headers);
    let is_json = media.is_empty() || media.eq_ignore_ascii_case("application/json");
    !ticket.streamed && is_plain(headers) && is_json
}

fn answered(gathered: Gathered<Source>, mut ticket: Box<Ticket>, guarding: &Guarding) -> Verdict<Body> {
    let bytes = match gathered {
        Gathered::Whole(bytes) => bytes,
        Gathered::Cut(refusal) => return Err(ticket.refuse(refusal)),
        Gathered::Broken => return Err(ticket.refuse(broken_off())),
        Gathered::Silent => return Err(ticket.refuse(silent())),
        Gathered::More(..) => {
            ticket.resolve(AttemptResult::Invalid);
            return Err(ticket.refuse(garbage()));
        }
    };
    let passage = ticket.passage.clone();
    if passage.question == Question::Count {
        let Ok(tokens) = count::decode_answer(passage.provider, &bytes) else {
            ticket.resolve(AttemptResult::Invalid);
            return Err(ticket.refuse(garbage()));
        };
        ticket.close(End::Completed);
        return Ok(Body::whole(count::encode_answer(passage.client, tokens).into()));
    }
    if !passage.is_translated {
        let Ok(metered) = passage.meter(&bytes) else {
            ticket.resolve(AttemptResult::Invalid);
            return Err(ticket.refuse(garbage()));
        };
        let end = message_end(ticket.metered.insert(metered));
        let bytes = match guarded(bytes, &mut ticket, guarding) {
            Ok(bytes) => bytes,
            Err(refusal) => return Err(ticket.refuse(refusal)),
        };
        ticket.close(end);
        return Ok(Body::whole(bytes));
    }
    let bytes = match guarded(bytes, &mut ticket, guarding) {
        Ok(bytes) => bytes,
        Err(refusal) => return Err(ticket.refuse(refusal)),
    };
    let Ok(answer) = passage.provider.decode_answer(&bytes) else {
        // It was an answer, of which nobody knows the cost.
        ticket.resolve(AttemptResult::Invalid);
        return Err(ticket.refuse(garbage()));
    };
    let metered = Metered::of(&answer);
    let end = if metered.is_final { End::Completed } else { End::Unmetered };
    ticket.metered = Some(metered);
    let body = passage.client.encode_answer_in(&passage.forms, &answer);
    ticket.close(end);
    Ok(Body::whole(body.into()))
}

// What the provider says is wrong, in the words of the client's dialect.
fn failed(
    gathered: Gathered<Source>,
    status: StatusCode,
    ticket: Box<Ticket>,
) -> Verdict<(StatusCode, ErrorClass, Body)> {
    let bytes = match gathered {
        Gathered::Whole(bytes) | Gathered::More(bytes, _) => bytes,
        Gathered::Cut(refusal) => return Err(ticket.refuse(refusal)),
        // The status has said enough.
        Gathered::Broken | Gathered::Silent => bytes::Bytes::new(),
    };
    let client = ticket.passage.client_errors();
    let failure = ticket.passage.errors().decode_error(status.as_u16(), &bytes);
    let body = client.encode_error(failure.class, &failure.sentence(), &ticket.request_id);
    // Claude Code takes an overloaded provider for what it is only by this status.
    let status = match (client, failure.class) {
        (Dialect::Anthropic, ErrorClass::Overloaded) => StatusCode::from_u16(529).unwrap_or(status),
        _ => status,
    };
    ticket.close(End::UpstreamFailed);
    Ok((status, failure.class, Body::whole(body.into())))
}
