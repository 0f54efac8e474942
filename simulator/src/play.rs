//! How an answer's bytes are sent: at once, or slowly, dripping, hanging, cut, failing in the middle, compressed.

mod encoder;

use crate::{
    behaviour::{Encoding, Pace, Place, StreamFault},
    dialects::Frames,
    ledger::{State, Visit},
    wire::Reset,
};
use bytes::Bytes;
use encoder::Encoder;
use futures_util::{Stream, StreamExt as _, stream};
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// How long what was sent has to leave before the connection is cut; hyper writes as soon as the body is not ready.
const FLUSH: Duration = Duration::from_millis(2);

/// The body of an answer.
pub(crate) enum Sending {
    /// All of it at once.
    Whole { bytes: Bytes, visit: Visit },
    /// Piece by piece.
    Played(Pin<Box<dyn Stream<Item = Result<Bytes, CutOff>> + Send>>),
}

/// The connection is to be cut here.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the simulator cut the connection, as it was asked to")]
pub(crate) struct CutOff;

/// How to play an answer.
pub(crate) struct Score {
    pub(crate) frames: Frames,
    pub(crate) pace: Pace,
    pub(crate) fault: StreamFault,
    /// What `error-event` sends.
    pub(crate) error: Bytes,
    pub(crate) encoding: Option<Encoding>,
}

struct Player {
    score: Score,
    encoder: Option<Encoder>,
    visit: Visit,
    reset: Reset,
    /// Events that have been begun.
    events: usize,
    bytes: usize,
    /// What is left of the event that is being sent.
    held: Bytes,
}

// === impl Sending ===

impl Sending {
    /// Plays an answer.
    pub(crate) fn play(score: Score, visit: Visit, reset: Reset) -> Self {
        let encoder = score.encoding.and_then(Encoder::new);
        let player = Player { score, encoder, visit, reset, events: 0, bytes: 0, held: Bytes::new() };
        let pieces = stream::unfold(Some(player), |player| async move {
            let mut player = player?;
            match player.next().await {
                Ok(None) => None,
                Ok(Some(piece)) => Some((Ok(piece), Some(player))),
                Err(cut) => Some((Err(cut), None)),
            }
        });
        Self::Played(Box::pin(pieces))
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match self.get_mut() {
            Self::Whole { bytes, visit } => {
                let bytes = std::mem::take(bytes);
                visit.sent(bytes.len());
                visit.close(State::Completed);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Played(pieces) => pieces.poll_next_unpin(cx).map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        // An empty body is still polled once, which closes its entry.
        false
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            Self::Played(_) => SizeHint::default(),
        }
    }
}

// === impl Player ===

impl Player {
    /// The next bytes to send; none at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, CutOff> {
        while self.held.is_empty() {
            if !self.begin_event().await? {
                self.visit.close(State::Completed);
                return Ok(None);
            }
        }
        let mut length = self.held.len();
        if let Some(drip) = self.score.pace.drip {
            length = length.min(drip);
            if self.bytes > 0 {
                wait(self.score.pace.spacing).await;
            }
        }
        if let Some(Place::Bytes(end)) = self.score.fault.cut {
            length = length.min(end.saturating_sub(self.bytes));
            if length == 0 {
                return Err(self.cut().await);
            }
        }
        let piece = self.held.split_to(length);
        self.bytes += length;
        self.visit.sent(length);
        Ok(Some(piece))
    }

    /// Takes up the next event, when its time has come; false at the end.
    async fn begin_event(&mut self) -> Result<bool, CutOff> {
        let number = self.events;
        let event = self.score.frames.next();
        if number == 0 {
            wait(self.score.pace.delay_body).await;
        } else if event.is_some() && self.score.pace.drip.is_none() {
            wait(self.score.pace.spacing).await;
        }
        if self.score.fault.hang == Some(Place::Events(number)) {
            std::future::pending::<()>().await;
        }
        if self.score.fault.cut == Some(Place::Events(number)) {
            return Err(self.cut().await);
        }
        self.events += 1;
        let event = if self.score.fault.error_event == Some(number) {
            self.score.frames = Box::new(std::iter::empty());
            Some(std::mem::take(&mut self.score.error))
        } else {
            event
        };
        self.held = match (event, &mut self.encoder) {
            (Some(event), None) => event,
            (Some(event), Some(encoder)) => encoder.encode(&event),
            (None, encoder) => match encoder.take() {
                Some(encoder) => encoder.finish(),
                None => return Ok(false),
            },
        };
        Ok(true)
    }

    async fn cut(&mut self) -> CutOff {
        cut(self.score.fault.reset, &self.reset, &mut self.visit).await
    }
}

/// Lets what was sent leave, and cuts.
pub(crate) async fn cut(with_reset: bool, reset: &Reset, visit: &mut Visit) -> CutOff {
    wait(FLUSH).await;
    if with_reset {
        reset.demand();
        wait(FLUSH).await;
    }
    visit.close(State::Cut);
    CutOff
}

/// Waits; at once, without a timer, for no time.
pub(crate) async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
