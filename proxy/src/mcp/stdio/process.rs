//! One process, as those see it who speak to it: what is written to it, and what becomes of each line that it writes.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tollgate_mcp::{
    Edit, Fault, Id, Json, Message, Method, Notification, Request,
    failure::{self, code},
    params::meta,
    write,
};

use super::{heard::Heard, lock, open::Open};
use crate::mcp::wire::{Bounds, Unreached};

/// A process to which nothing is said for so long, and which says nothing, ends.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(10 * 60);
/// So many messages wait to be written.
pub(super) const LINES_MAX: usize = 16;
/// The longest message, in bytes, before somebody waits for a longer one.
const MESSAGE_BYTES_MIN: usize = 4 * 1024 * 1024;
/// So much of a line that is no message is logged, in bytes.
const GARBLED_BYTES_MAX: usize = 200;

/// A process.
pub(super) struct Process {
    name: Arc<str>,
    lines: mpsc::Sender<Bytes>,
    inner: Mutex<Inner>,
    longest: AtomicUsize,
    ending: CancellationToken,
}

struct Inner {
    open: Open,
    used: Instant,
    // Why it is no longer spoken to.
    over: Option<Unreached>,
    // Whether it is spoken to without sessions.
    is_stateless: bool,
    // Whether it has written what is no message.
    is_garbled: bool,
}

// === impl Process ===

impl Process {
    /// A process to which these lines are written.
    pub(super) fn new(name: Arc<str>, lines: mpsc::Sender<Bytes>) -> Self {
        let (open, used) = (Open::new(), Instant::now());
        let inner = Inner { open, used, over: None, is_stateless: false, is_garbled: false };
        let longest = AtomicUsize::new(MESSAGE_BYTES_MIN);
        Self { name, lines, inner: Mutex::new(inner), longest, ending: CancellationToken::new() }
    }

    /// Whose process it is.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The longest message that it may write, in bytes.
    pub(super) fn bytes_max(&self) -> usize {
        self.longest.load(Ordering::Relaxed)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When it could not be written.
    pub(super) async fn ask(self: &Arc<Self>, request: &Request<'_>, bounds: Bounds) -> Result<Heard, Unreached> {
        self.longest.fetch_max(bounds.bytes_max, Ordering::Relaxed);
        let (number, messages) = {
            let mut inner = self.inner();
            if let Some(why) = &inner.over {
                return Err(why.clone());
            }
            inner.open.admit(request, bounds.bytes_max)
        };
        let heard = Heard::of_request(messages, Arc::clone(self), number);
        let wire = Id::of_number(number);
        let params = match request.params.meta_value(meta::PROGRESS_TOKEN) {
            Some(_) => Some(request.params.with_meta(&[Edit::Set(meta::PROGRESS_TOKEN, wire.json())])),
            None => request.params.given().map(Json::into_owned),
        };
        self.write(&write::request(&wire, &request.method, params.as_ref()), bounds.until).await?;
        Ok(heard)
    }

    /// Sends what has no answer.
    ///
    /// # Errors
    /// When it could not be written.
    pub(super) async fn tell(&self, message: &Message<'_>, until: Instant) -> Result<(), Unreached> {
        let bytes = match message {
            Message::Notification(told) if Method::of_name(&told.method) == Method::Cancelled => {
                match self.cancelled(told) {
                    Some(bytes) => bytes,
                    // It is answered already, or was never asked here.
                    None => return Ok(()),
                }
            }
            Message::Notification(told) => told.to_bytes(),
            Message::Response(response) => write::response(&response.id, &Json::from(response.result)),
            Message::Failure(failure) => write::failure(failure.id.as_ref(), &Json::from(failure.error)),
            Message::Request(request) => request.to_bytes(),
        };
        self.write(&bytes, until).await
    }

    /// The stream of what it says by itself: one, the last that was asked for. `None`: it is over.
    pub(super) fn stand(&self) -> Option<Heard> {
        let mut inner = self.inner();
        inner.over.is_none().then(|| Heard::standing(inner.open.stand()))
    }

    /// Ends it: whatever is open in it ends with that reason. The first reason stays.
    pub(super) fn end(&self, why: Unreached) {
        let mut inner = self.inner();
        if inner.over.is_none() {
            // A session that has ended says that nothing was done, so that the request is sent again; of what is open nobody knows that.
            inner.open.fail(if why == Unreached::Ended { &Unreached::Broken } else { &why });
            inner.over = Some(why);
        }
        self.ending.cancel();
    }

    /// Ends it when what is returned is dropped.
    pub(super) fn ends(&self) -> DropGuard {
        self.ending.clone().drop_guard()
    }

    /// Waits until it is to end.
    pub(super) async fn ended(&self) {
        self.ending.cancelled().await;
    }

    /// Whether it is no longer spoken to.
    pub(super) fn is_over(&self) -> bool {
        self.ending.is_cancelled()
    }

    /// Since when nothing was said, where nobody waits for it to speak.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        let inner = self.inner();
        (inner.open.is_empty() && !inner.open.is_heard()).then_some(inner.used)
    }

    /// Waits until nothing was said for so long that it may end.
    pub(super) async fn idle(&self) {
        loop {
            let (is_busy, used) = {
                let inner = self.inner();
                (!inner.open.is_empty(), inner.used)
            };
            let now = Instant::now();
            if !is_busy && used + IDLE_MAX <= now {
                return;
            }
            // What is open counts as said.
            sleep_until(if is_busy { now + IDLE_MAX } else { used + IDLE_MAX }).await;
        }
    }

    /// Notes that it is spoken to without sessions, so that none begins in it.
    pub(super) fn speaks_without_sessions(&self) {
        self.inner().is_stateless = true;
    }

    /// Whether a session may begin in it.
    pub(super) fn can_begin(&self) -> bool {
        let inner = self.inner();
        !inner.is_stateless && inner.open.is_empty()
    }

    /// Takes a line that it wrote. Returns what is written back.
    pub(super) fn take(&self, line: &[u8]) -> Option<Vec<u8>> {
        let message = match Message::parse(line) {
            Ok(message) => message,
            Err(invalid) => {
                self.garbled(line, &invalid.fault);
                return None;
            }
        };
        let mut inner = self.inner();
        inner.used = Instant::now();
        match message {
            Message::Response(response) => inner.open.response(&response),
            Message::Failure(failure) => inner.open.failure(&failure),
            Message::Request(request) if Method::of_name(&request.method) == Method::Ping => {
                return Some(write::response(&request.id, &Json::empty_object()));
            }
            Message::Request(request) => {
                if !inner.open.request(&request) {
                    let sentence = "Nobody is there who could answer this.";
                    return Some(failure::answer(Some(&request.id), code::METHOD_NOT_FOUND, sentence));
                }
            }
            Message::Notification(told) => inner.open.notification(&told),
        }
        None
    }

    /// Writes an answer of our own, if there is room: whoever does not read gets none.
    pub(super) fn write_back(&self, message: &[u8]) {
        let _ = self.lines.try_send(line(message));
    }

    // Once for everybody, without what it says; each for whoever looks for the fault.
    fn garbled(&self, line: &[u8], fault: &Fault) {
        let (server, bytes) = (&*self.name, line.len());
        if !std::mem::replace(&mut self.inner().is_garbled, true) {
            tracing::info!(server, bytes, "a process has written a line that is no message of the protocol");
        }
        let beginning = String::from_utf8_lossy(line.get(..GARBLED_BYTES_MAX).unwrap_or(line));
        tracing::debug!(server, bytes, %fault, line = &*beginning, "a line that is no message");
    }

    // With the number of the request that a client no longer waits for.
    fn cancelled(&self, told: &Notification<'_>) -> Option<Vec<u8>> {
        let raw = told.params.get("requestId")?.get();
        // The same id may be written in several ways.
        let id = match raw.parse() {
            Ok(number) => Id::of_number(number),
            Err(_) => Id::of_text(&serde_json::from_str::<String>(raw).ok()?),
        };
        let number = self.inner().open.cancel(&id)?;
        let params = told.params.with("requestId", &Id::of_number(number).json());
        Some(write::notification(&told.method, Some(&params)))
    }

    async fn write(&self, message: &[u8], until: Instant) -> Result<(), Unreached> {
        self.inner().used = Instant::now();
        match timeout_at(until, self.lines.send(line(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.inner().over.clone().unwrap_or(Unreached::Broken)),
            Err(_) => Err(Unreached::Late),
        }
    }

    /// Nobody waits for the answer to the request of that number any more.
    pub(super) fn give_up(&self, number: i64) {
        let is_told = self.inner().open.give_up(number);
        if is_told {
            let params = Json::object([("requestId", Id::of_number(number).json())]);
            self.write_back(&write::notification(Method::Cancelled.name(), Some(&params)));
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("name", &self.name).finish_non_exhaustive()
    }
}

// A message as a line: between its members JSON may have line ends, within texts it has none.
fn line(message: &[u8]) -> Bytes {
    let mut line: Vec<u8> =
        message.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
mod tests;
