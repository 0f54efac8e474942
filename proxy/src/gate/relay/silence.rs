//! How long a provider may say nothing. The alarm is set once and moved only when it rings, so that a stream of many small
//! pieces does not turn a timer for each.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Rings when nothing was heard for a while.
#[derive(Debug)]
pub(super) struct Silence {
    max: Duration,
    heard: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Silence {
    /// Starts to listen.
    pub(super) fn new(max: Duration) -> Self {
        let heard = Instant::now();
        Self { max, heard, alarm: Box::pin(sleep_until(heard + max)) }
    }

    /// Something was heard.
    pub(super) fn broken(&mut self) {
        self.heard = Instant::now();
    }

    /// Ready when nothing was heard for too long.
    pub(super) fn poll_too_long(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.alarm.as_mut().poll(context).is_ready() {
            let next = self.heard + self.max;
            if next <= Instant::now() {
                return Poll::Ready(());
            }
            self.alarm.as_mut().reset(next);
        }
        Poll::Pending
    }
}
