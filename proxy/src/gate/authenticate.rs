//! Room 2: who is calling. Nothing of the body has been read yet.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use tollgate_policy::{
    decide::{self, Caller},
    refusal::Refusal,
};

use super::{
    Gate,
    credential::Lifted,
    receive::{Arrival, Message},
    route::Operation,
    ticket::{Ticket, Verdict},
};
use crate::{clock, current::Current};

// The headers by which Claude Code says whose work it is.
const SESSION: HeaderName = HeaderName::from_static("x-claude-code-session-id");
const AGENT: HeaderName = HeaderName::from_static("x-claude-code-agent-id");
const PARENT_AGENT: HeaderName = HeaderName::from_static("x-claude-code-parent-agent-id");
// Clients send UUIDs of 36 characters. What is longer is not recorded, so that nobody fills the ledger with it.
const ATTRIBUTION_LENGTH_MAX: usize = 128;

/// A visit whose key is known and in good standing.
pub(super) struct Visitor {
    pub(super) ticket: Box<Ticket>,
    pub(super) current: Arc<Current>,
    pub(super) caller: Caller,
    pub(super) message: Message,
}

/// Finds out who calls.
pub(super) fn authenticate(gate: &Gate, arrival: Arrival) -> Verdict<Visitor> {
    let Arrival { mut ticket, current, lifted, message } = arrival;
    match decide(gate, &current, lifted) {
        Ok(caller) => {
            let headers = &message.headers;
            ticket.attribution =
                Some(caller.attribution(id(headers, &SESSION), id(headers, &AGENT), id(headers, &PARENT_AGENT)));
            // Where the data of a key may not be received, the body is not read.
            match decide::admit_region(&current.snapshot, &caller, &gate.region) {
                Ok(()) => Ok(Visitor { ticket, current, caller, message }),
                Err(refusal) => Err(ticket.refuse(refusal).leaving(message.body)),
            }
        }
        Err(refusal) => Err(ticket.refuse(refusal).leaving(message.body)),
    }
}

// What was lifted off the headers ends here.
fn decide(gate: &Gate, current: &Current, lifted: Lifted) -> Result<Caller, Refusal> {
    let now = clock::wall();
    match lifted {
        Lifted::Key(token) => decide::authenticate(&current.snapshot, now, &token.hash(&current.pepper)),
        Lifted::Credential(presented) => gate.credentials.authenticate(&current.snapshot, now, &presented),
    }
}

impl Visitor {
    /// What is called.
    pub(super) fn operation(&self) -> Operation {
        self.ticket.operation
    }
}

// An id that a client claims: visible and bounded, or nothing.
fn id(headers: &HeaderMap, name: &HeaderName) -> Arc<str> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    let fit = |text: &&str| text.len() <= ATTRIBUTION_LENGTH_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    value.filter(fit).map(Arc::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_and_bounded_ids_are_recorded() {
        let check = |sent: &str, expect: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(SESSION, http::HeaderValue::from_bytes(sent.as_bytes()).unwrap());
            assert_eq!(&*id(&headers, &SESSION), expect, "{sent}");
        };
        check("0b4c1b52-7d55-4c55-9d5b-1f8f4a3c9e11", "0b4c1b52-7d55-4c55-9d5b-1f8f4a3c9e11");
        check("", "");
        check("two words", "");
        check("caf\u{e9}", "");
        check(&"x".repeat(128), &"x".repeat(128));
        check(&"x".repeat(129), "");
        assert_eq!(&*id(&HeaderMap::new(), &SESSION), "");
    }
}
