//! Room 6: what the request carries. It gives the only value with which [`forward`](super::forward) sends anything.
//!
//! What is checked today is what is already ours to check: that nothing of the caller's key goes out with the request.

use tollgate_policy::refusal::{Refusal, RefusalKind};

use super::{
    parse::Outgoing,
    reserve::{Attempt, Held, Journey},
    ticket::{Ticket, Verdict},
};
use crate::visits::Registration;

// What every virtual key begins with.
const KEY_PREFIX: &str = "tg_";

/// A visit that may leave. Only [`inspect`] makes one.
pub(super) struct Cleared {
    ticket: Box<Ticket>,
    registration: Registration,
    request: Outgoing,
    attempt: Attempt,
    journey: Journey,
}

/// The parts of a cleared visit.
pub(super) struct Parts {
    pub(super) ticket: Box<Ticket>,
    pub(super) registration: Registration,
    pub(super) request: Outgoing,
    pub(super) attempt: Attempt,
    pub(super) journey: Journey,
}

/// Looks at what is about to leave.
pub(super) fn inspect(held: Held) -> Verdict<Cleared> {
    let Held { ticket, registration, request, attempt, journey } = held;
    if carries_a_key(&request) {
        return Err(ticket.refuse(Refusal::new(
            RefusalKind::Malformed,
            "A Tollgate key stands in the address of the request, where logs would keep it. Send it only as \
             \"Authorization: Bearer <key>\" or \"x-api-key: <key>\".",
        )));
    }
    Ok(Cleared { ticket, registration, request, attempt, journey })
}

impl Cleared {
    /// Takes the visit apart, to send it.
    pub(super) fn leave(self) -> Parts {
        let Self { ticket, registration, request, attempt, journey } = self;
        Parts { ticket, registration, request, attempt, journey }
    }
}

// `?key=tg_live_..` is what some clients do with keys.
fn carries_a_key(request: &Outgoing) -> bool {
    let value = |pair: &str| pair.split_once('=').is_some_and(|(_, value)| value.starts_with(KEY_PREFIX));
    request.uri.query().is_some_and(|query| query.contains(KEY_PREFIX) && query.split('&').any(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::route::Operation;
    use bytes::Bytes;
    use http::HeaderMap;

    #[test]
    fn a_key_in_the_address_does_not_leave() {
        for (uri, expect) in [
            ("/v1/messages", false),
            ("/v1/messages?beta=true", false),
            ("/v1/messages?note=about_tg_keys", false),
            ("/v1/messages?beta=true&key=tg_live_01k9", true),
        ] {
            let request = Outgoing {
                headers: HeaderMap::new(),
                uri: uri.parse().unwrap(),
                body: Bytes::new(),
                dialect: tollgate_dialect::Dialect::Anthropic,
                call: Operation::Messages.into(),
                enclosed: None,
            };
            assert_eq!(carries_a_key(&request), expect, "{uri}");
        }
    }
}
