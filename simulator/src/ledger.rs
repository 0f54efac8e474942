//! What the simulator remembers of each request: enough to compare with a gateway's books, and never a text.

use crate::reply::Tokens;
use http::HeaderMap;
use serde::Serialize;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// How many requests are remembered, about 30 MB of them; the oldest is forgotten first.
pub const ENTRIES_MAX: usize = 16_384;
/// Headers whose values are kept, besides those of [`KEPT_PREFIXES`]. None carries a credential or a text.
const KEPT_HEADERS: &[&str] = &["accept-encoding", "content-type", "host", "traceparent", "user-agent", "x-app"];
const KEPT_PREFIXES: &[&str] = &["anthropic-", "x-claude-"];

/// How far a request came.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is being answered.
    Open,
    /// All of the answer was handed to the connection.
    Completed,
    /// The client went away first.
    Aborted,
    /// The simulator cut the answer, as it was asked to.
    Cut,
}

/// One request.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Counts the requests of this process from 0.
    pub number: u64,
    /// The `request-id` header of the answer.
    pub request_id: String,
    /// The request's method.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query, with the values of `key` left out.
    pub query: Option<String>,
    /// The SHA-256 of the body as it was received, in hexadecimal.
    pub body_sha256: String,
    /// The body's length.
    pub body_bytes: u64,
    /// The names of all headers, sorted.
    pub header_names: Vec<String>,
    /// The values of `anthropic-*`, `x-claude-*` and a few harmless headers.
    pub headers: BTreeMap<String, String>,
    /// The SHA-256 of the credential, in hexadecimal.
    pub credential_sha256: Option<String>,
    /// The model that was asked for.
    pub model: Option<String>,
    /// A stream was asked for.
    pub stream: bool,
    /// The status of the answer, once there is one.
    pub status: Option<u16>,
    /// What the whole answer costs, whether or not all of it was sent.
    pub tokens: Option<Tokens>,
    /// How far it came.
    pub state: State,
    /// How many bytes of the answer's body were handed to the connection.
    pub bytes_sent: u64,
}

/// All requests, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pages: Mutex<Pages>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Pages {
    /// The number of the first entry.
    first: u64,
    entries: VecDeque<Entry>,
}

/// One request while it is answered. Dropped before it is closed, it was aborted.
#[derive(Debug)]
pub(crate) struct Visit {
    book: Option<(Arc<Ledger>, u64)>,
    bytes_sent: u64,
}

// === impl Ledger ===

impl Ledger {
    /// Writes down a new request.
    pub(crate) fn open(self: &Arc<Self>, mut entry: Entry) -> Visit {
        let mut pages = self.lock();
        if pages.entries.len() >= ENTRIES_MAX {
            pages.entries.pop_front();
            pages.first += 1;
        }
        entry.number = pages.first + pages.entries.len() as u64;
        let number = entry.number;
        pages.entries.push_back(entry);
        drop(pages);
        self.changed.notify_waiters();
        Visit { book: Some((Arc::clone(self), number)), bytes_sent: 0 }
    }

    /// What is remembered.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lock().entries.iter().cloned().collect()
    }

    /// Forgets all of it.
    pub(crate) fn clear(&self) {
        let mut pages = self.lock();
        pages.first += pages.entries.len() as u64;
        pages.entries.clear();
    }

    /// Waits until `is_met` holds, and gives the entries for which it did.
    pub(crate) async fn when(&self, mut is_met: impl FnMut(&[Entry]) -> bool) -> Vec<Entry> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let entries = self.entries();
            if is_met(&entries) {
                return entries;
            }
            changed.await;
        }
    }

    fn amend(&self, number: u64, amend: impl FnOnce(&mut Entry)) {
        let mut pages = self.lock();
        let place = number.checked_sub(pages.first).and_then(|place| usize::try_from(place).ok());
        if let Some(entry) = place.and_then(|place| pages.entries.get_mut(place)) {
            amend(entry);
        }
        drop(pages);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Visit ===

impl Visit {
    /// A request that is not written down.
    pub(crate) const fn unrecorded() -> Self {
        Self { book: None, bytes_sent: 0 }
    }

    /// Notes what the answer will be.
    pub(crate) fn answering(&self, status: u16, tokens: Option<Tokens>) {
        self.amend(|entry| {
            entry.status = Some(status);
            entry.tokens = tokens;
        });
    }

    /// Notes what was asked for.
    pub(crate) fn asked(&self, model: &str, stream: bool) {
        self.amend(|entry| {
            entry.model = Some(model.to_owned());
            entry.stream = stream;
        });
    }

    /// Counts bytes that were handed to the connection.
    pub(crate) const fn sent(&mut self, bytes: usize) {
        self.bytes_sent += bytes as u64;
    }

    /// Closes the entry; only the first time counts.
    pub(crate) fn close(&mut self, state: State) {
        let bytes_sent = self.bytes_sent;
        self.amend(|entry| {
            entry.state = state;
            entry.bytes_sent = bytes_sent;
        });
        self.book = None;
    }

    fn amend(&self, amend: impl FnOnce(&mut Entry)) {
        if let Some((ledger, number)) = &self.book {
            ledger.amend(*number, amend);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.close(State::Aborted);
    }
}

/// The names of all headers, and the values of those that are kept.
pub(crate) fn headers(headers: &HeaderMap) -> (Vec<String>, BTreeMap<String, String>) {
    let mut names: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort_unstable();
    let is_kept =
        |name: &str| KEPT_HEADERS.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let kept = names
        .iter()
        .filter(|name| is_kept(name))
        .map(|name| {
            let values: Vec<_> =
                headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            (name.clone(), values.join(", "))
        })
        .collect();
    (names, kept)
}

/// The query without the values of `key`, in which Gemini's clients may send their credential.
pub(crate) fn query(query: &str) -> String {
    let hidden = |pair: &str| if pair.starts_with("key=") { "key=" } else { pair }.to_owned();
    query.split('&').map(hidden).collect::<Vec<_>>().join("&")
}
