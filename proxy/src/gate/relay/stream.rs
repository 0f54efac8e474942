//! An event stream on its way to the client.
//!
//! Only whole events leave; what has begun is held until it is whole. So the stream can be ended at any moment behind a
//! whole event, with an `error` event of ours and a proper end. The client runs every tool call that it has received whole,
//! and nothing of one that it has not.
//!
//! Events that are ready together leave together: when some are at hand and no more is ready, the provider's connection gets
//! one turn to bring more before they are written. That turn costs less than the write that it saves.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tollgate_policy::refusal::Refusal;

use super::{body::Aborted, broken_off, follow::Follower, gather::Pile, silence::Silence, silent, track::Track};
use crate::{
    funds::Funds,
    gate::ticket::{End, Ticket},
    guard::Filter,
    spool::Spool,
    visits::Registration,
};

/// Whole events are written when so many bytes of them are at hand, even if more is ready.
pub(crate) const WRITE_BYTES_MIN: usize = 16 * 1024;
/// The largest event that is held until it is whole, in bytes. A larger one passes as it comes; a cut in its middle aborts
/// the stream.
pub(crate) const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// After so much silence a client is sent a sign of life. Claude Code gives up after 300 seconds.
pub(crate) const PING_AFTER: Duration = Duration::from_secs(15);

// So often a body that has events at hand says that it is not ready. Hyper's HTTP/1 server asks twice before it lets the
// task of the provider's connection run, so the second time is the first that waits.
const TURNS: u8 = 2;

/// An event stream on its way.
#[derive(Debug)]
pub(in crate::gate) struct Stream<B> {
    source: B,
    // `None`: closed, and so the stream has ended.
    ticket: Option<Box<Ticket>>,
    registration: Registration,
    track: Track,
    // What arrived and has not left.
    held: Pile,
    // How many bytes have left.
    sent: u64,
    // How often the provider's connection was waited for since something last arrived.
    turns: u8,
    silence: Silence,
    // When the client was last sent something, where signs of life are ours to give.
    quiet: Option<Silence>,
    holding: Follower,
}

type Polled = Poll<Option<Result<Frame<Bytes>, Aborted>>>;

impl<B: Body<Data = Bytes> + Unpin> Stream<B> {
    pub(super) fn new(
        source: B,
        ticket: Box<Ticket>,
        registration: Registration,
        silence_max: Duration,
        funds: Arc<Funds>,
        spool: Spool,
        filter: Option<Filter>,
    ) -> Self {
        Self {
            holding: Follower::new(&ticket, funds, spool),
            quiet: ticket.passage.is_translated.then(|| Silence::new(PING_AFTER)),
            track: Track::new(ticket.passage.clone(), filter),
            source,
            ticket: Some(ticket),
            registration,
            held: Pile::default(),
            sent: 0,
            turns: 0,
            silence: Silence::new(silence_max),
        }
    }

    // How many bytes may leave: whole events, or everything when one event has grown too large to be held.
    fn sendable(&self) -> usize {
        let whole = usize::try_from(self.track.boundary().saturating_sub(self.sent)).unwrap_or(usize::MAX);
        if self.held.len() - whole.min(self.held.len()) > EVENT_BYTES_MAX { self.held.len() } else { whole }
    }

    fn take(&mut self, count: usize) -> Bytes {
        let bytes = self.held.take(count);
        self.sent = self.sent.saturating_add(bytes.len() as u64);
        bytes
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Polled {
        if let Poll::Ready(refusal) = self.registration.poll_cut(context) {
            let refusal = refusal.clone();
            return self.cut(End::Cut(refusal.kind()), &refusal);
        }
        loop {
            match Pin::new(&mut self.source).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    self.track.push(data, &mut self.held);
                    if let Some(ticket) = &mut self.ticket
                        && let Err(refusal) = self.holding.follow(ticket, &self.track)
                    {
                        return self.cut(End::Cut(refusal.kind()), &refusal);
                    }
                    if let Some(blocked) = self.track.blocked() {
                        let kind = blocked.refusal().kind();
                        return self.stop(End::Cut(kind));
                    }
                    self.turns = 0;
                    self.silence.broken();
                    let sendable = self.sendable();
                    if sendable >= WRITE_BYTES_MIN {
                        return self.write(sendable);
                    }
                }
                Poll::Ready(None) => return self.finish(),
                Poll::Ready(Some(Err(_))) => return self.fail(&broken_off()),
                Poll::Pending => return self.pause(context),
            }
        }
    }

    // Nothing more is ready.
    fn pause(&mut self, context: &mut Context<'_>) -> Polled {
        let sendable = self.sendable();
        if sendable == 0 {
            return match self.silence.poll_too_long(context) {
                Poll::Ready(()) => self.fail(&silent()),
                Poll::Pending => self.live(context),
            };
        }
        if self.turns == TURNS {
            return self.write(sendable);
        }
        self.turns += 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }

    // The provider says nothing: the client is told that the connection lives.
    fn live(&mut self, context: &mut Context<'_>) -> Polled {
        let Some(quiet) = &mut self.quiet else { return Poll::Pending };
        if quiet.poll_too_long(context).is_pending() {
            return Poll::Pending;
        }
        quiet.broken();
        let ping = self.track.ping();
        if ping.is_empty() {
            return quiet_again(quiet, context);
        }
        self.held.push(ping);
        self.write(self.sendable())
    }

    fn write(&mut self, count: usize) -> Polled {
        if let Some(quiet) = &mut self.quiet {
            quiet.broken();
        }
        Poll::Ready(Some(Ok(Frame::data(self.take(count)))))
    }

    // The provider failed. What it does to the connection behind the end of its answer does not matter.
    fn fail(&mut self, refusal: &Refusal) -> Polled {
        if self.track.metered().complete { self.finish() } else { self.cut(End::UpstreamFailed, refusal) }
    }

    // The provider ended its answer: everything passes, with whatever follows the last whole event.
    fn finish(&mut self) -> Polled {
        self.track.end(&mut self.held);
        let metered = self.track.metered();
        match self.track.blocked().map(|blocked| blocked.refusal().kind()) {
            Some(kind) => self.stop(End::Cut(kind)),
            None => self.stop(if metered.complete { End::Completed } else { End::UpstreamFailed }),
        }
    }

    // All that is held is whole, and the last of it.
    fn stop(&mut self, end: End) -> Polled {
        self.close(end);
        match self.held.bytes() {
            rest if rest.is_empty() => Poll::Ready(None),
            rest => Poll::Ready(Some(Ok(Frame::data(rest)))),
        }
    }

    // Ends the stream behind the last whole event. In the middle of an event that was too large to be held there is no such
    // place.
    fn cut(&mut self, end: End, refusal: &Refusal) -> Polled {
        if self.sent > self.track.boundary() {
            self.close(end);
            return Poll::Ready(Some(Err(Aborted)));
        }
        let whole = usize::try_from(self.track.boundary() - self.sent).unwrap_or(usize::MAX);
        self.held.truncate(whole);
        let request_id = self.ticket.as_ref().map_or("", |ticket| &ticket.request_id);
        let event = self.track.failed(refusal.kind(), refusal.public(), request_id);
        self.held.push(event);
        self.close(end);
        Poll::Ready(Some(Ok(Frame::data(self.held.bytes()))))
    }

    fn close(&mut self, end: End) {
        if let Some(mut ticket) = self.ticket.take() {
            ticket.metered = Some(self.track.metered());
            self.track.report().tell(&mut ticket.circumstances);
            ticket.close(end);
        }
    }
}

// A dialect without signs of life: the alarm is set anew.
fn quiet_again(quiet: &mut Silence, context: &mut Context<'_>) -> Polled {
    let _ = quiet.poll_too_long(context);
    Poll::Pending
}

impl<B: Body<Data = Bytes> + Unpin> Body for Stream<B> {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        if self.ticket.is_none() {
            return Poll::Ready(None);
        }
        self.poll(context)
    }

    fn is_end_stream(&self) -> bool {
        self.ticket.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl<B> Drop for Stream<B> {
    // The client went away: what was metered until now is what the visit cost. One message, sent by the ticket.
    fn drop(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            ticket.metered = Some(self.track.metered());
            self.track.report().tell(&mut ticket.circumstances);
        }
    }
}

#[cfg(test)]
mod tests;
