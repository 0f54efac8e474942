//! Hedging: where a route says so, an attempt that has not begun to answer gets a rival at another provider. Whichever begins first is the
//! answer; the other one is waited for elsewhere, and each is settled by itself.

use std::{pin::Pin, task::Poll};

use futures_util::future::poll_fn;
use http::Response;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};
use tollgate_policy::refusal::RefusalKind;

use super::attempt::{self, Asked, Failure, Underway};
use crate::{
    gate::{
        Gate,
        inspect::Guarding,
        linger::{Flight, Landed},
        parse::Outgoing,
        reserve::{After, Journey},
        ticket::{AttemptResult, End, Ticket},
    },
    health::rest::Cause,
    visits::Registration,
};

type Sent = Result<Response<Incoming>, Failure>;

// What happened first.
enum Event {
    // To the attempt that has the visit's own ticket.
    Own(Box<Ticket>, Landed),
    // To its rival.
    Rival(Box<Ticket>, Landed),
    // None has begun to answer.
    Silence,
}

/// Waits for the answer of an attempt, or of the rival that it gets. The ticket is the visit's own, with the attempt that is told of.
pub(super) async fn land(
    gate: &Gate,
    registration: &Registration,
    mut own: Underway,
    (request, guarding): (&mut Outgoing, &Guarding),
    journey: &mut Journey,
) -> (Box<Ticket>, Asked, Sent) {
    let mut patience = journey.hedge_after().map(|after| Box::pin(sleep_until(Instant::now() + after)));
    let mut rival: Option<Underway> = None;
    loop {
        let others = rival.as_mut().map(|rival| &mut rival.flight);
        match next(registration, &mut own.flight, others, patience.as_mut()).await {
            Event::Own(mut ticket, landed) => {
                let asked = own.asked;
                let sent = attempt::conclude(gate, &mut ticket, &asked, landed);
                match rival.take() {
                    // The visit goes on with the one that is still on its way.
                    Some(mut waiting) if has_failed(&sent) => {
                        fail(waiting.flight.trade(ticket), &sent);
                        own = waiting;
                    }
                    _ => return (ticket, asked, sent),
                }
            }
            Event::Rival(mut ticket, landed) => {
                let Some(Underway { asked, .. }) = rival.take() else { continue };
                let sent = attempt::conclude(gate, &mut ticket, &asked, landed);
                if has_failed(&sent) {
                    fail(ticket, &sent);
                } else {
                    return (own.flight.trade(ticket), asked, sent);
                }
            }
            Event::Silence => {
                patience = None;
                (own, rival) = hedge(gate, own, (request, guarding), journey).await;
            }
        }
    }
}

// Sends the request to another provider too, where one can be had and paid for. The visit's own ticket goes with it.
async fn hedge(
    gate: &Gate,
    mut first: Underway,
    (request, guarding): (&mut Outgoing, &Guarding),
    journey: &mut Journey,
) -> (Underway, Option<Underway>) {
    if !journey.goes_on_beside() {
        return (first, None);
    }
    let Some(place) = gate.door.place() else { return (first, None) };
    let Some(mut ticket) = first.flight.part(place) else { return (first, None) };
    let attempt = match journey.next(gate, &mut ticket, After::Silence).await {
        Ok(Some(attempt)) => attempt,
        // A budget that cannot pay for both pays for the first.
        Ok(None) | Err(_) => {
            first.flight.trade(ticket).discard();
            return (first, None);
        }
    };
    match attempt::launch(gate, ticket, attempt, request, guarding, journey).await {
        Ok(second) => (second, Some(first)),
        Err((ticket, _)) => {
            first.flight.trade(ticket).close(End::Refused(RefusalKind::UpstreamUnavailable));
            (first, None)
        }
    }
}

async fn next(
    registration: &Registration,
    own: &mut Flight,
    mut rival: Option<&mut Flight>,
    mut patience: Option<&mut Pin<Box<Sleep>>>,
) -> Event {
    poll_fn(|context| {
        if let Poll::Ready((ticket, landed)) = own.poll(context, registration) {
            return Poll::Ready(Event::Own(ticket, landed));
        }
        if let Some(Poll::Ready((ticket, landed))) = rival.as_mut().map(|rival| rival.poll(context, registration)) {
            return Poll::Ready(Event::Rival(ticket, landed));
        }
        match patience.as_mut().map(|patience| patience.as_mut().poll(context)) {
            Some(Poll::Ready(())) => Poll::Ready(Event::Silence),
            _ => Poll::Pending,
        }
    })
    .await
}

// Whether another attempt is worth waiting for.
fn has_failed(sent: &Sent) -> bool {
    match sent {
        Ok(response) => Cause::of_status(response.status()).is_some(),
        // Policy cuts the visit, not the attempt.
        Err(Failure::Final(result, _)) => *result != AttemptResult::Unanswered,
        Err(Failure::Passing(_) | Failure::Late(_)) => true,
    }
}

// Settles an attempt that failed while another one is on its way.
fn fail(ticket: Box<Ticket>, sent: &Sent) {
    ticket.close(End::Refused(match sent {
        Err(Failure::Late(_)) => RefusalKind::UpstreamTimeout,
        Err(Failure::Final(_, refusal)) => refusal.kind(),
        Ok(_) | Err(Failure::Passing(_)) => RefusalKind::UpstreamUnavailable,
    }));
}
