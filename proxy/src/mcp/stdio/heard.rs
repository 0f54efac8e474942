//! What comes from a process, for one request or for its standing stream.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::process::Process;
use crate::mcp::{
    events::Events,
    wire::{Bounds, Said, Unreached},
};

/// A message, and whether it is the last for that request.
pub(super) type Piece = Result<(Bytes, bool), Unreached>;

/// What comes from a process for one request, or for its standing stream.
pub(crate) struct Heard {
    messages: mpsc::Receiver<Piece>,
    // Whose answer it is: the request has that number in the process.
    asked: Option<(Arc<Process>, i64)>,
}

// === impl Heard ===

impl Heard {
    /// What is said until a request is answered.
    pub(super) const fn of_request(messages: mpsc::Receiver<Piece>, process: Arc<Process>, number: i64) -> Self {
        Self { messages, asked: Some((process, number)) }
    }

    /// What is said by itself.
    pub(super) const fn standing(messages: mpsc::Receiver<Piece>) -> Self {
        Self { messages, asked: None }
    }

    /// The next message; `None`: there are no more. Nothing is lost when it is dropped before it gives one.
    ///
    /// # Errors
    /// When the process has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Unreached> {
        let Some(said) = self.messages.recv().await else { return Ok(None) };
        said.map(|(message, _)| Some(message))
    }

    /// The answer alone.
    ///
    /// # Errors
    /// When there is none in time, or the process has ended.
    pub(super) async fn answer(mut self, until: Instant) -> Result<Bytes, Unreached> {
        loop {
            let said = timeout_at(until, self.messages.recv()).await.map_err(|_| Unreached::Late)?;
            let (message, is_last) = said.ok_or(Unreached::Broken)??;
            if is_last {
                return Ok(message);
            }
        }
    }

    /// The answer, if it is the first that is said; or a stream that has begun.
    ///
    /// # Errors
    /// When nothing is said in time, or the process has ended.
    pub(super) async fn said(mut self, bounds: Bounds) -> Result<Said, Unreached> {
        let first = timeout_at(bounds.until, self.messages.recv()).await.map_err(|_| Unreached::Late)?;
        let (message, is_last) = first.ok_or(Unreached::Broken)??;
        if is_last {
            return Ok(Said::Whole(message));
        }
        Ok(Said::Events(Events::of_process(self, bounds.bytes_max).after(message)))
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        if let Some((process, number)) = &self.asked {
            process.give_up(*number);
        }
    }
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heard").finish_non_exhaustive()
    }
}
