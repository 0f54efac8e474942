//! Gathers an answer that is not a stream of events.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use tollgate_policy::refusal::Refusal;

use super::silence::Silence;
use crate::visits::Registration;

/// Up to this size an answer is gathered before its head is passed on, in bytes. A message without streaming is far
/// smaller; what is larger passes as it comes.
pub(crate) const GATHERED_BYTES_MAX: usize = 1024 * 1024;

/// What was gathered.
#[derive(Debug)]
pub(in crate::gate) enum Gathered<B> {
    /// All of it.
    Whole(Bytes),
    /// The beginning of a long answer, and the rest as it will come.
    More(Bytes, B),
    /// Policy no longer admits the visit.
    Cut(Refusal),
    /// It broke off.
    Broken,
    /// Nothing came for too long.
    Silent,
}

/// Gathers the answer. One that arrives in one piece is not copied.
pub(in crate::gate) async fn gather<B>(
    mut source: B,
    registration: &Registration,
    silence_max: Duration,
    bytes_max: usize,
) -> Gathered<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut pile = Pile::default();
    // Most answers are here when their head is: the alarm is made for those that are not.
    let mut silence = None;
    let ended = std::future::poll_fn(|context| {
        let ended = pile.poll_fill(&mut source, bytes_max, context);
        if ended.is_ready() {
            return ended;
        }
        if let Poll::Ready(refusal) = registration.poll_cut(context) {
            return Poll::Ready(Ended::Cut(refusal.clone()));
        }
        let silence = silence.get_or_insert_with(|| Silence::new(silence_max));
        if std::mem::take(&mut pile.grew) {
            silence.broken();
        }
        silence.poll_too_long(context).map(|()| Ended::Silent)
    })
    .await;
    match ended {
        Ended::Whole => Gathered::Whole(pile.bytes()),
        Ended::Full => Gathered::More(pile.bytes(), source),
        Ended::Broken => Gathered::Broken,
        Ended::Cut(refusal) => Gathered::Cut(refusal),
        Ended::Silent => Gathered::Silent,
    }
}

enum Ended {
    Whole,
    Full,
    Broken,
    Cut(Refusal),
    Silent,
}

/// Pieces that arrived, put together only when there is more than one.
#[derive(Debug, Default)]
pub(in crate::gate) struct Pile {
    first: Bytes,
    all: BytesMut,
    grew: bool,
}

// === impl Pile ===

impl Pile {
    fn poll_fill<B>(&mut self, source: &mut B, bytes_max: usize, context: &mut Context<'_>) -> Poll<Ended>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        loop {
            if source.is_end_stream() {
                return Poll::Ready(Ended::Whole);
            }
            match ready!(Pin::new(&mut *source).poll_frame(context)) {
                None => return Poll::Ready(Ended::Whole),
                Some(Err(_)) => return Poll::Ready(Ended::Broken),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.push(data);
                    }
                }
            }
            if self.len() > bytes_max {
                return Poll::Ready(Ended::Full);
            }
        }
    }

    /// Adds a piece.
    pub(super) fn push(&mut self, data: Bytes) {
        self.grew = true;
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            self.all.extend_from_slice(&first);
        }
        self.all.extend_from_slice(&data);
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    /// Takes the first `count` bytes, or as many as there are.
    pub(super) fn take(&mut self, count: usize) -> Bytes {
        if self.all.is_empty() {
            self.first.split_to(count.min(self.first.len()))
        } else {
            self.all.split_to(count.min(self.all.len())).freeze()
        }
    }

    /// Keeps the first `count` bytes, and forgets the rest.
    pub(super) fn truncate(&mut self, count: usize) {
        self.first.truncate(count);
        self.all.truncate(count);
    }

    /// Takes all of it.
    pub(super) fn bytes(&mut self) -> Bytes {
        self.take(usize::MAX)
    }
}

#[cfg(test)]
mod tests;
