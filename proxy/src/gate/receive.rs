//! Room 1: the head of the request. Which operation it names, whether its head keeps the bounds, the credential lifted off,
//! the headers reduced to what a provider may see, and the policy that holds now.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue, Method, Request, Uri, Version,
    header::{CONTENT_ENCODING, HOST, USER_AGENT},
    uri::Authority,
};
use hyper::body::Incoming;
use tollgate_policy::refusal::{Refusal, RefusalKind};
use tollgate_telemetry::{Traceparent, span, traceparent};

use super::{
    Gate,
    credential::{self, Lifted},
    passage,
    route::{Call, Operation, route},
    ticket::{Ticket, Trace, Verdict},
};
use crate::{
    current::Current,
    evidence::{self, USER_AGENT_BYTES_MAX},
    refuse::Detail,
};

/// The longest address, in bytes.
pub(crate) const ADDRESS_BYTES_MAX: usize = 8 * 1024;
/// The most that the headers of a request may measure, names and values, in bytes.
pub(crate) const HEADER_BYTES_MAX: usize = 64 * 1024;

/// What room 1 gives.
#[expect(clippy::large_enum_variant, reason = "it lives for one match, and a box would cost an allocation a visit")]
pub(super) enum Received {
    /// Somebody looked whether we are there.
    Probe(Box<Ticket>),
    /// A visit.
    Arrival(Arrival),
}

/// A request whose head is in order.
pub(super) struct Arrival {
    pub(super) ticket: Box<Ticket>,
    pub(super) current: Arc<Current>,
    pub(super) lifted: Lifted,
    pub(super) message: Message,
}

/// The request, without what belongs to the hop on which it came.
pub(super) struct Message {
    pub(super) method: Method,
    /// To whom it was sent, as its head said.
    pub(super) host: Option<HeaderValue>,
    pub(super) headers: HeaderMap,
    pub(super) uri: Uri,
    pub(super) body: Incoming,
    /// What the path says.
    pub(super) call: Call,
}

/// Receives a request.
pub(super) fn receive(gate: &Gate, mut ticket: Box<Ticket>, request: Request<Incoming>) -> Verdict<Received> {
    let (head, body) = request.into_parts();
    let mut message = Message {
        method: head.method.clone(),
        host: None,
        headers: head.headers,
        uri: head.uri,
        body,
        call: Call::default(),
    };
    // The credential leaves the headers before anything is done that could print them.
    let lifted = credential::lift(&mut message.headers);
    if let Some(agent) = message.headers.get(USER_AGENT) {
        ticket.circumstances.user_agent = evidence::bounded(agent.as_bytes(), USER_AGENT_BYTES_MAX);
    }
    message.call = match route(&head.method, message.uri.path()) {
        Ok(call) => call,
        Err((refusal, detail)) => return Err(ticket.refuse(refusal).with(detail).leaving(message.body)),
    };
    ticket.operation = message.call.operation;
    if let Err((refusal, detail)) = bounds(&message.headers, &message.uri, head.version) {
        return Err(ticket.refuse(refusal).with(detail).leaving(message.body));
    }
    if ticket.operation == Operation::Probe {
        return Ok(Received::Probe(ticket));
    }
    if let Err(refusal) = credential::none_in_query(ticket.operation.dialect(), message.uri.query()) {
        return Err(ticket.refuse(refusal).leaving(message.body));
    }
    trace(gate, &mut ticket, head.method.as_str(), &mut message.headers);
    let current = match ready(gate) {
        Ok(current) => current,
        Err(refusal) => return Err(ticket.refuse(refusal).leaving(message.body)),
    };
    let lifted = match lifted {
        Ok(lifted) => lifted,
        Err(refusal) => return Err(ticket.refuse(refusal).leaving(message.body)),
    };
    ticket.revision = current.snapshot.revision();
    message.host = message.headers.get(HOST).cloned();
    passage::outbound(&mut message.headers);
    Ok(Received::Arrival(Arrival { ticket, current, lifted, message }))
}

fn ready(gate: &Gate) -> Result<Arc<Current>, Refusal> {
    let not_ready = |sentence| Refusal::new(RefusalKind::NotReady, sentence);
    if gate.holder.is_draining() {
        return Err(not_ready("This Tollgate replica is being taken out of service. Try again in a few seconds."));
    }
    gate.holder.load().ok_or_else(|| not_ready("Tollgate has not received its policy yet. Try again in a few seconds."))
}

fn bounds(headers: &HeaderMap, uri: &Uri, version: Version) -> Result<(), (Refusal, Detail)> {
    let too_large = |sentence, detail| Err((Refusal::new(RefusalKind::TooLarge, sentence), detail));
    let malformed = |sentence, detail| Err((Refusal::new(RefusalKind::Malformed, sentence), detail));
    if uri.path_and_query().is_some_and(|path| path.as_str().len() > ADDRESS_BYTES_MAX) {
        return too_large("The address is longer than 8 KiB. Shorten its query.", Detail::Address);
    }
    let measure = |(name, value): (&http::HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    if headers.iter().map(measure).sum::<usize>() > HEADER_BYTES_MAX {
        return too_large("The headers are larger than 64 KiB. Send fewer or shorter ones.", Detail::Headers);
    }
    if passage::is_framed_twice(headers) {
        return malformed("The request has both Content-Length and Transfer-Encoding. Send one of them.", Detail::None);
    }
    if !host_agrees(headers, uri, version) {
        return malformed("The request names two different hosts, or none. Send one Host header.", Detail::None);
    }
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        let sentence = "The body is compressed, which Tollgate does not accept. Send it without content-encoding.";
        return malformed(sentence, Detail::Encoding);
    }
    Ok(())
}

// RFC 9112, section 3.2: one Host, and where the target names an authority as well, both must agree.
fn host_agrees(headers: &HeaderMap, uri: &Uri, version: Version) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next(), uri.authority()) {
        (_, Some(_), _) => false,
        (Some(host), None, Some(authority)) => same_host(host, authority),
        (Some(_), None, None) | (None, None, Some(_)) => true,
        (None, None, None) => version == Version::HTTP_10,
    }
}

fn same_host(host: &HeaderValue, authority: &Authority) -> bool {
    host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
}

// A sampled request gets a span, and our traceparent goes on to the provider; any other passes the header as it came.
fn trace(gate: &Gate, ticket: &mut Ticket, method: &str, headers: &mut HeaderMap) {
    let parent = headers.get(traceparent::HEADER).and_then(|value| value.to_str().ok()?.parse::<Traceparent>().ok());
    if gate.sampler.sampled(parent.as_ref()) {
        let visit = span::visit(parent.as_ref(), method, ticket.operation.path());
        visit.record("tollgate.request_id", &*ticket.request_id);
        ticket.trace = Some(Box::new(Trace { visit, attempt: None }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(uri: &str, headers: &[(&'static str, &str)]) -> Option<(RefusalKind, Detail)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let result = bounds(&map, &uri.parse().unwrap(), Version::HTTP_11);
        result.err().map(|(refusal, detail)| (refusal.kind(), detail))
    }

    #[test]
    fn a_head_keeps_its_bounds() {
        let host = ("host", "gateway.example");
        let long = "x".repeat(ADDRESS_BYTES_MAX);
        let heavy = "y".repeat(HEADER_BYTES_MAX);
        assert_eq!(checked("/v1/messages?beta=true", &[host]), None);
        assert_eq!(checked("http://gateway.example/v1/messages", &[host]), None);
        assert_eq!(checked("/v1/messages", &[host, ("content-encoding", "identity")]), None);
        for (uri, headers, expect) in [
            (format!("/v1/messages?{long}"), vec![host], (RefusalKind::TooLarge, Detail::Address)),
            ("/v1/messages".into(), vec![host, ("x-heavy", &heavy)], (RefusalKind::TooLarge, Detail::Headers)),
            (
                "/v1/messages".into(),
                vec![host, ("content-encoding", "gzip")],
                (RefusalKind::Malformed, Detail::Encoding),
            ),
            ("/v1/messages".into(), vec![host, host], (RefusalKind::Malformed, Detail::None)),
            ("/v1/messages".into(), vec![], (RefusalKind::Malformed, Detail::None)),
            ("http://other.example/v1/messages".into(), vec![host], (RefusalKind::Malformed, Detail::None)),
            (
                "/v1/messages".into(),
                vec![host, ("content-length", "3"), ("transfer-encoding", "chunked")],
                (RefusalKind::Malformed, Detail::None),
            ),
        ] {
            assert_eq!(checked(&uri, &headers), Some(expect), "{uri:.40} {:?}", headers.len());
        }
    }
}
