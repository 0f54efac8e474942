//! A long answer that is not a stream of events: it passes as it comes, and is metered from a bounded copy at its end. It
//! has no form in which it could be ended early, so a cut aborts it.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tollgate_dialect::Metered;

use super::{body::Aborted, message_end, silence::Silence};
use crate::{
    gate::ticket::{End, Passage, Ticket},
    visits::Registration,
};

/// The most of an answer that is kept to be metered, in bytes. The counters of a message stand behind its content, so a
/// longer one is charged at its estimate.
pub(crate) const TEE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An answer on its way.
#[derive(Debug)]
pub(in crate::gate) struct Flow<B> {
    first: Bytes,
    source: B,
    ticket: Option<Box<Ticket>>,
    registration: Registration,
    tee: Option<Tee>,
    // How the visit ends when the answer ends well, and there is no message to read that from.
    end: End,
    silence: Silence,
}

/// A copy of what passed.
#[derive(Debug, Default)]
pub(in crate::gate) struct Tee {
    copy: BytesMut,
    overflowed: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Flow<B> {
    pub(super) fn new(
        first: Bytes,
        source: B,
        ticket: Box<Ticket>,
        registration: Registration,
        mut tee: Option<Tee>,
        end: End,
        silence_max: Duration,
    ) -> Self {
        if let Some(tee) = &mut tee {
            tee.push(&first);
        }
        let silence = Silence::new(silence_max);
        Self { first, source, ticket: Some(ticket), registration, tee, end, silence }
    }

    fn pass(&mut self, data: Bytes) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        self.silence.broken();
        if let Some(tee) = &mut self.tee {
            tee.push(&data);
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn finish(&mut self) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        if let Some(mut ticket) = self.ticket.take() {
            let metered = self.tee.take().map(|tee| tee.meter(&ticket.passage));
            let end = match metered {
                None => self.end,
                Some(None) => End::Unmetered,
                Some(Some(metered)) => message_end(ticket.metered.insert(metered)),
            };
            ticket.close(end);
        }
        Poll::Ready(None)
    }

    fn abort(&mut self, end: End) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        if let Some(ticket) = self.ticket.take() {
            ticket.close(end);
        }
        Poll::Ready(Some(Err(Aborted)))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Flow<B> {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if self.ticket.is_none() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(refusal) = self.registration.poll_cut(context) {
            let kind = refusal.kind();
            return self.abort(End::Cut(kind));
        }
        loop {
            match Pin::new(&mut self.source).poll_frame(context) {
                Poll::Ready(None) => return self.finish(),
                Poll::Ready(Some(Err(_))) => return self.abort(End::UpstreamFailed),
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return self.pass(data);
                    }
                }
                Poll::Pending if self.silence.poll_too_long(context).is_ready() => {
                    return self.abort(End::UpstreamFailed);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ticket.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.source.size_hint().exact();
        rest.map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + self.first.len() as u64))
    }
}

// === impl Tee ===

impl Tee {
    fn push(&mut self, data: &[u8]) {
        if self.overflowed || self.copy.len() + data.len() > TEE_BYTES_MAX {
            self.overflowed = true;
            self.copy = BytesMut::new();
        } else {
            self.copy.extend_from_slice(data);
        }
    }

    fn meter(self, passage: &Passage) -> Option<Metered> {
        if self.overflowed { None } else { passage.meter(&self.copy).ok() }
    }
}
