//! The body of every answer of the gate.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{flow::Flow, stream::Stream};
use crate::gate::forward::Source;

/// An answer that ends before its end. The connection is closed, so that the client does not take it for whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("answer cut before its end")]
pub(crate) struct Aborted;

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Body(Inner);

#[derive(Debug)]
enum Inner {
    Whole(Bytes),
    Stream(Box<Stream<Source>>),
    Flow(Box<Flow<Source>>),
    Events(Events),
}

/// Events that are made one after the other.
pub(crate) struct Events(Pin<Box<dyn futures_util::Stream<Item = Bytes> + Send>>);

impl Body {
    /// A body that is at hand.
    #[must_use]
    pub(crate) const fn whole(bytes: Bytes) -> Self {
        Self(Inner::Whole(bytes))
    }

    /// An event stream.
    pub(super) fn stream(stream: Stream<Source>) -> Self {
        Self(Inner::Stream(Box::new(stream)))
    }

    /// Events that are made one after the other.
    pub(crate) fn events(events: impl futures_util::Stream<Item = Bytes> + Send + 'static) -> Self {
        Self(Inner::Events(Events(Box::pin(events))))
    }

    /// Anything else that is not at hand.
    pub(super) fn flow(flow: Flow<Source>) -> Self {
        Self(Inner::Flow(Box::new(flow)))
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        match &mut self.0 {
            Inner::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Inner::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Inner::Stream(stream) => Pin::new(&mut **stream).poll_frame(context),
            Inner::Flow(flow) => Pin::new(&mut **flow).poll_frame(context),
            Inner::Events(Events(events)) => {
                events.as_mut().poll_next(context).map(|event| event.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Whole(bytes) => bytes.is_empty(),
            Inner::Stream(stream) => stream.is_end_stream(),
            Inner::Flow(flow) => flow.is_end_stream(),
            Inner::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Stream(stream) => stream.size_hint(),
            Inner::Flow(flow) => flow.size_hint(),
            Inner::Events(_) => SizeHint::default(),
        }
    }
}
