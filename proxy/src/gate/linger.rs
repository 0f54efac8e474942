//! Requests whose client went away before the provider had answered. The provider works on them all the same, so somebody
//! waits on until it has told what they cost: otherwise each would be charged at its worst case, or not at all.
//!
//! An answer that is streamed tells its input at its beginning, and is dropped there. One that is not is read to its end: it
//! has been paid for.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, ResponseFuture};
use tokio::{
    sync::mpsc::{self, OwnedPermit},
    task::JoinSet,
    time::{Instant, Sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tollgate_policy::refusal::Refusal;

use super::{
    relay::{Pile, Track},
    ticket::{AttemptResult, End, Facts, Ticket},
};
use crate::{health::rest::Cause, visits::Registration};

/// The most requests that are waited for without a client. Beyond, one is charged at its worst case.
pub(crate) const LINGERING_MAX: usize = 1_024;
// How much of an answer is read without a client, in bytes.
const READ_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A request on its way, and the ticket that pays for it.
type Cargo = (Box<Ticket>, ResponseFuture);

/// Takes requests that lost their client.
#[derive(Clone, Debug)]
pub(crate) struct Lingering(mpsc::Sender<Cargo>);

/// Waits for their answers. There is one in a replica.
#[derive(Debug)]
pub(crate) struct Lingerer {
    receiver: mpsc::Receiver<Cargo>,
    first_byte_timeout: Duration,
}

/// How a request ended on its way.
pub(super) enum Landed {
    /// An answer began, or none could be had.
    Answer(Result<Response<Incoming>, legacy::Error>),
    /// None began in time.
    Late,
    /// Policy no longer admits the visit.
    Cut(Refusal),
}

/// A request on its way. When it is dropped, since its client went away or another answer was sooner, it is waited for elsewhere.
pub(super) struct Flight {
    lingering: Lingering,
    late: Pin<Box<Sleep>>,
    // Only until it has landed.
    cargo: Option<Cargo>,
}

/// Makes the queue.
#[must_use]
pub(crate) fn open(first_byte_timeout: Duration) -> (Lingering, Lingerer) {
    let (sender, receiver) = mpsc::channel(LINGERING_MAX);
    (Lingering(sender), Lingerer { receiver, first_byte_timeout })
}

// === impl Flight ===

impl Flight {
    /// A request that was sent, whose answer must begin until then.
    pub(super) fn new(lingering: &Lingering, ticket: Box<Ticket>, sending: ResponseFuture, until: Instant) -> Self {
        Self { lingering: lingering.clone(), late: Box::pin(sleep_until(until)), cargo: Some((ticket, sending)) }
    }

    /// Whether its answer has begun, it is late, or policy cuts the visit: then it has landed, and no more is heard of it.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        registration: &Registration,
    ) -> Poll<(Box<Ticket>, Landed)> {
        // The cargo is in here only between two polls: that is when a client can be gone.
        let Some((ticket, mut sending)) = self.cargo.take() else { return Poll::Pending };
        let landed = if let Poll::Ready(answer) = Pin::new(&mut sending).poll(context) {
            Landed::Answer(answer)
        } else if let Poll::Ready(refusal) = registration.poll_cut(context) {
            Landed::Cut(refusal.clone())
        } else if self.late.as_mut().poll(context).is_ready() {
            Landed::Late
        } else {
            self.cargo = Some((ticket, sending));
            return Poll::Pending;
        };
        Poll::Ready((ticket, landed))
    }

    /// Takes the visit's own ticket out, for another attempt beside this one, which gets a ticket of its own.
    pub(super) fn part(&mut self, place: OwnedPermit<Facts>) -> Option<Box<Ticket>> {
        let (ticket, _) = self.cargo.as_mut()?;
        let of_attempt = ticket.part(place);
        Some(std::mem::replace(ticket, of_attempt))
    }

    /// Of two attempts of a visit, the one that is on its way here gets the ticket of the other, and the other one its.
    pub(super) fn trade(&mut self, mut other: Box<Ticket>) -> Box<Ticket> {
        let Some((ticket, _)) = &mut self.cargo else { return other };
        ticket.trade(&mut other);
        std::mem::replace(ticket, other)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(cargo) = self.cargo.take() {
            // When nobody can wait for it the ticket is dropped here, and charged at its worst case.
            let _ = self.lingering.0.try_send(cargo);
        }
    }
}

// === impl Lingerer ===

impl Lingerer {
    /// Waits for answers until `stop` is cancelled; what is still waited for then is charged at its worst case.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut waits = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = waits.join_next() => {}
                cargo = self.receiver.recv(), if waits.len() < LINGERING_MAX => {
                    let Some((ticket, sending)) = cargo else { return };
                    waits.spawn(wait(ticket, sending, self.first_byte_timeout));
                }
            }
        }
    }
}

async fn wait(mut ticket: Box<Ticket>, sending: ResponseFuture, patience: Duration) {
    match timeout(patience, sending).await {
        Ok(Ok(response)) => {
            ticket.upstream_status = response.status().as_u16();
            match Cause::of_status(response.status()) {
                Some(cause) => ticket.resolve(AttemptResult::Failed(cause)),
                None => {
                    ticket.resolve(AttemptResult::Answered);
                    if response.status().is_success() {
                        let _ = timeout(patience, meter(&mut ticket, response.into_body())).await;
                    }
                }
            }
        }
        Ok(Err(error)) if error.is_connect() => ticket.resolve(AttemptResult::Failed(Cause::Unreachable)),
        Ok(Err(_)) => ticket.resolve(AttemptResult::Invalid),
        Err(_) => ticket.resolve(AttemptResult::TimedOut),
    }
    ticket.close(End::Dropped);
}

// Reads as much of an answer as tells what it costs.
async fn meter(ticket: &mut Ticket, mut body: Incoming) {
    if !ticket.streamed {
        let whole = http_body_util::Limited::new(body, READ_BYTES_MAX).collect().await;
        ticket.metered = whole.ok().and_then(|whole| ticket.passage.meter(&whole.to_bytes()).ok());
        return;
    }
    let mut track = Track::new(ticket.passage.clone(), None);
    read(&mut body, |data| {
        // Nobody reads what it says.
        track.push(data.clone(), &mut Pile::default());
        track.input().is_some()
    })
    .await;
    ticket.metered = Some(track.metered());
}

// Reads until that is enough.
async fn read(body: &mut Incoming, mut is_enough: impl FnMut(&Bytes) -> bool) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        let data: Bytes = frame.into_data().unwrap_or_default();
        read += data.len();
        if is_enough(&data) || read > READ_BYTES_MAX {
            return;
        }
    }
}
