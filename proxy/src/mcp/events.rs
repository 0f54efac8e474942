//! What a server says as a stream, one message after the other: as events of HTTP (WHATWG HTML, "Server-sent events"), or as lines of a process.

use std::{collections::VecDeque, fmt};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tollgate_dialect::sse::Splitter;

use super::{stdio::Heard, unreached::Unreached};

/// Messages, one after the other.
pub(crate) struct Events {
    feed: Feed,
    splitter: Splitter,
    ready: VecDeque<Result<Bytes, Unreached>>,
    bytes_max: usize,
    endpoint: Option<String>,
}

enum Feed {
    Web(Incoming),
    Process(Heard),
}

// === impl Events ===

impl Events {
    /// What comes as the body of an answer.
    pub(super) fn of_web(body: Incoming, bytes_max: usize) -> Self {
        Self::of(Feed::Web(body), bytes_max)
    }

    /// What comes from a process.
    pub(super) fn of_process(heard: Heard, bytes_max: usize) -> Self {
        Self::of(Feed::Process(heard), bytes_max)
    }

    /// The same after a message that has come already.
    pub(super) fn after(mut self, message: Bytes) -> Self {
        self.ready.push_back(Ok(message));
        self
    }

    fn of(feed: Feed, bytes_max: usize) -> Self {
        Self { feed, splitter: Splitter::new(bytes_max), ready: VecDeque::new(), bytes_max, endpoint: None }
    }

    /// Where messages go, as a stream of 2024-11-05 begins. It is read off once.
    ///
    /// # Errors
    /// When the stream ends before it says so.
    pub(super) async fn endpoint(&mut self) -> Result<String, Unreached> {
        loop {
            if let Some(endpoint) = self.endpoint.take() {
                return Ok(endpoint);
            }
            if !self.read().await? {
                return Err(Unreached::Broken);
            }
        }
    }

    /// The next message; `None`: the stream has ended. Nothing is lost when it is dropped before it gives one.
    ///
    /// # Errors
    /// When the stream broke off, or a message was too long. It gives no more then.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Unreached> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return ready.map(Some);
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    // Takes what arrives; false: nothing more does.
    async fn read(&mut self) -> Result<bool, Unreached> {
        let body = match &mut self.feed {
            Feed::Web(body) => body,
            Feed::Process(heard) => {
                let Some(message) = heard.next().await? else { return Ok(false) };
                self.ready.push_back(Ok(message));
                return Ok(true);
            }
        };
        let data = match body.frame().await {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) => return Err(Unreached::Broken),
            None => return Ok(false),
        };
        let (ready, endpoint, bytes_max) = (&mut self.ready, &mut self.endpoint, self.bytes_max);
        self.splitter.push(&data, |event| {
            // Streams begin with an event without a message, so that they can be taken up again: which nobody here does.
            if event.oversized {
                ready.push_back(Err(Unreached::Long(bytes_max)));
            } else if !event.data.is_empty() && matches!(event.name, b"" | b"message") {
                ready.push_back(Ok(Bytes::copy_from_slice(event.data)));
            } else if event.name == b"endpoint" && endpoint.is_none() {
                *endpoint = std::str::from_utf8(event.data).ok().map(str::to_owned);
            }
        });
        Ok(true)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

/// A message as an event of a stream. A message is one line: JSON escapes what ends one.
#[must_use]
pub(crate) fn event(message: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(message.len() + 24);
    event.extend_from_slice(b"event: message\ndata: ");
    // Between its members JSON may have line ends; within texts it has none.
    if message.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        event.extend(message.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    } else {
        event.extend_from_slice(message);
    }
    event.extend_from_slice(b"\n\n");
    event.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_event_whatever_stands_between_its_members() {
        for (message, expect) in [
            (&b"{\"a\":1}"[..], "event: message\ndata: {\"a\":1}\n\n"),
            (b"{\n \"a\":\r1}", "event: message\ndata: {  \"a\": 1}\n\n"),
        ] {
            assert_eq!(event(message), expect);
        }
    }
}
