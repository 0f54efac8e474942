//! What is open in a process: the requests that it has not answered, and its standing stream. Each message that it writes is for one of these.
//!
//! All messages share one line, so that requests have numbers of ours there: ids and progress tokens of several clients may be alike.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::sync::mpsc;
use tollgate_mcp::{Edit, Id, Json, Method, Notification, Request, Response, message::Failure, params::meta, write};

use super::heard::Piece;
use crate::mcp::wire::Unreached;

/// So many messages wait for whoever asked. The last place is kept for the answer; of the others those go first that have no room.
pub(super) const MESSAGES_MAX: usize = 64;

/// What is open in a process.
pub(super) struct Open {
    requests: HashMap<i64, Asked>,
    next: i64,
    standing: Option<mpsc::Sender<Piece>>,
}

/// A request that is not answered.
struct Asked {
    id: Id<'static>,
    token: Option<Json<'static>>,
    // Whether whoever asked also hears what is said before the answer.
    hears: bool,
    // Whether the process is told when nobody waits for the answer any more.
    tells: bool,
    bytes_max: usize,
    to: mpsc::Sender<Piece>,
}

// === impl Open ===

impl Open {
    /// Nothing.
    pub(super) fn new() -> Self {
        Self { requests: HashMap::new(), next: 1, standing: None }
    }

    /// Takes a request in whose answer may have so many bytes. Returns its number, and where its answer comes.
    pub(super) fn admit(&mut self, request: &Request<'_>, bytes_max: usize) -> (i64, mpsc::Receiver<Piece>) {
        let (to, messages) = mpsc::channel(MESSAGES_MAX);
        let method = Method::of_name(&request.method);
        let hears = matches!(
            method,
            Method::CallTool
                | Method::GetPrompt
                | Method::ReadResource
                | Method::Complete
                | Method::Subscribe
                | Method::Unsubscribe
        );
        // Neither may be cancelled: one by the protocol, the other may be unknown to a process that has not begun.
        let tells = !matches!(method, Method::Initialize | Method::Discover);
        let token = request.params.meta_value(meta::PROGRESS_TOKEN).map(|raw| Json::from(raw).into_owned());
        let id = request.id.clone().into_owned();
        let number = self.next;
        self.next += 1;
        self.requests.insert(number, Asked { id, token, hears, tells, bytes_max, to });
        (number, messages)
    }

    /// The stream of what it says by itself: one, the last that was asked for.
    pub(super) fn stand(&mut self) -> mpsc::Receiver<Piece> {
        let (sender, messages) = mpsc::channel(MESSAGES_MAX);
        self.standing = Some(sender);
        messages
    }

    /// Whether it has answered every request.
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether somebody is on its standing stream.
    pub(super) fn is_heard(&self) -> bool {
        self.standing.as_ref().is_some_and(|standing| !standing.is_closed())
    }

    /// Ends everything for that reason.
    pub(super) fn fail(&mut self, why: &Unreached) {
        for (_, asked) in self.requests.drain() {
            // There is room: the last place was kept.
            let _ = asked.to.try_send(Err(why.clone()));
        }
        self.standing = None;
    }

    /// Whoever sent the request of that id cancels it. Returns its number; `None`: it is answered already, or cancelled, or was never asked here.
    pub(super) fn cancel(&mut self, id: &Id<'_>) -> Option<i64> {
        let (number, asked) = self.requests.iter_mut().find(|(_, asked)| asked.id == *id && asked.tells)?;
        asked.tells = false;
        Some(*number)
    }

    /// Nobody waits for an answer any more. Returns whether the process is told.
    pub(super) fn give_up(&mut self, number: i64) -> bool {
        self.requests.remove(&number).is_some_and(|asked| asked.tells)
    }

    /// Takes an answer.
    pub(super) fn response(&mut self, response: &Response<'_>) {
        let result = Json::from(response.result);
        self.answer(number(response.id.raw()), |id| write::response(id, &result));
    }

    /// Takes an error.
    pub(super) fn failure(&mut self, failure: &Failure<'_>) {
        // Without an id it is about the only one that there is.
        let alone = || self.requests.keys().next().copied().filter(|_| self.requests.len() == 1);
        let number = failure.id.as_ref().map_or_else(alone, |id| number(id.raw()));
        let error = Json::from(failure.error);
        self.answer(number, |id| write::failure(Some(id), &error));
    }

    /// Takes a request of the server. Returns whether somebody is there to whom it goes.
    pub(super) fn request(&self, request: &Request<'_>) -> bool {
        self.pass(None, &request.to_bytes())
    }

    /// Takes a notification: to the request that it names, to the stream of what belongs to none, or to the only request that it can be about.
    pub(super) fn notification(&self, told: &Notification<'_>) {
        if let Some(raw) = told.params.meta_value(meta::SUBSCRIPTION_ID) {
            let asked = number(raw.get()).and_then(|number| Some((number, self.requests.get(&number)?)));
            let Some((number, asked)) = asked else { return };
            let own = told.params.with_meta(&[Edit::Set(meta::SUBSCRIPTION_ID, asked.id.json())]);
            self.pass(Some(number), &write::notification(&told.method, Some(&own)));
            return;
        }
        match Method::of_name(&told.method) {
            Method::Progress => {
                let number = told.params.get("progressToken").and_then(|raw| number(raw.get()));
                let token = number.and_then(|number| self.requests.get(&number)?.token.clone());
                if let Some(token) = token {
                    let params = told.params.with("progressToken", &token);
                    self.pass(number, &write::notification(&told.method, Some(&params)));
                }
            }
            Method::ToolsChanged | Method::PromptsChanged | Method::ResourcesChanged | Method::ResourceUpdated => {
                if let Some(standing) = &self.standing {
                    let _ = standing.try_send(Ok((told.to_bytes().into(), false)));
                }
            }
            _ => _ = self.pass(None, &told.to_bytes()),
        }
    }

    fn answer(&mut self, number: Option<i64>, written: impl FnOnce(&Id<'_>) -> Vec<u8>) {
        // One that nobody waits for any more is dropped.
        let Some(asked) = number.and_then(|number| self.requests.remove(&number)) else { return };
        let message = written(&asked.id);
        let said = if message.len() > asked.bytes_max {
            Err(Unreached::Long(asked.bytes_max))
        } else {
            Ok((message.into(), true))
        };
        let _ = asked.to.try_send(said);
    }

    // Passes a message to that request; without one to the only one that hears, or else to the standing stream. False: nobody took it.
    fn pass(&self, number: Option<i64>, message: &[u8]) -> bool {
        let message = || Ok((Bytes::copy_from_slice(message), false));
        let mut hearing = self.requests.values().filter(|asked| asked.hears);
        let asked = match number {
            Some(number) => self.requests.get(&number),
            None => hearing.next().filter(|_| hearing.next().is_none()),
        };
        match (asked, &self.standing) {
            // The last place is the answer's.
            (Some(asked), _) => asked.to.capacity() > 1 && asked.to.try_send(message()).is_ok(),
            (None, Some(standing)) if number.is_none() => standing.try_send(message()).is_ok(),
            _ => false,
        }
    }
}

// A number of ours, as an id or a token has it.
fn number(raw: &str) -> Option<i64> {
    raw.parse().ok()
}
