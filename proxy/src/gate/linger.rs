//! Requests whose client went away before the provider had answered. The provider works on them all the same, so somebody
//! waits on until it has told what they cost: otherwise each would be charged at its worst case, or not at all.
//!
//! An answer that is streamed tells its input at its beginning, and is dropped there. One that is not is read to its end: it
//! has been paid for.

use std::{future::Future as _, pin::Pin, task::Poll, time::Duration};

use bytes::Bytes;
use futures_util::future::poll_fn;
use http::Response;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, ResponseFuture};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tollgate_policy::refusal::Refusal;

use super::{
    relay::{Pile, Track},
    ticket::{AttemptResult, End, Ticket},
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

// Dropped with its cargo, it hands that over: one message.
struct Flight<'a> {
    lingering: &'a Lingering,
    cargo: Option<Cargo>,
}

/// Makes the queue.
#[must_use]
pub(crate) fn open(first_byte_timeout: Duration) -> (Lingering, Lingerer) {
    let (sender, receiver) = mpsc::channel(LINGERING_MAX);
    (Lingering(sender), Lingerer { receiver, first_byte_timeout })
}

/// Waits for the head of an answer. When the client goes away meanwhile, the request and its ticket are waited for elsewhere.
pub(super) async fn fly(
    lingering: &Lingering,
    ticket: Box<Ticket>,
    registration: &Registration,
    sending: ResponseFuture,
    patience: Duration,
) -> (Box<Ticket>, Landed) {
    let mut flight = Flight { lingering, cargo: Some((ticket, sending)) };
    let mut late = std::pin::pin!(sleep_until(Instant::now() + patience));
    poll_fn(|context| {
        // The cargo is in here only between two polls: that is when a client can be gone.
        let Some((ticket, mut sending)) = flight.cargo.take() else { return Poll::Pending };
        let landed = if let Poll::Ready(answer) = Pin::new(&mut sending).poll(context) {
            Landed::Answer(answer)
        } else if let Poll::Ready(refusal) = registration.poll_cut(context) {
            Landed::Cut(refusal.clone())
        } else if late.as_mut().poll(context).is_ready() {
            Landed::Late
        } else {
            flight.cargo = Some((ticket, sending));
            return Poll::Pending;
        };
        Poll::Ready((ticket, landed))
    })
    .await
}

impl Drop for Flight<'_> {
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
    let mut track = Track::new(ticket.passage.clone());
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
