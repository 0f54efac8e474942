//! What a server answers, on its way to the client: looked at by guardrails, within its bound, under the names that the client knows.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use tokio::time::{Instant, sleep, timeout_at};
use tollgate_mcp::{
    Id, Json, Message, Method, Request, Revision, ServerName,
    capability::ClientCapabilities,
    content::with_server,
    failure::{self, code},
    server_request, write,
};
use tollgate_policy::{
    mcp::McpServer,
    refusal::{Refusal, RefusalKind},
};

use super::{Body, Reached, Visit};
use crate::{
    evidence::{self, Circumstances, REASON_BYTES_MAX, ToolCall},
    gate::{
        inspect::Guarding,
        ticket::{End, Ticket, Verdict},
    },
    mcp::{Address, Events, Link, Said, Unreached, catalogue, events, servers::Place},
    refuse::{self, rpc_code},
    upstream::Upstream,
    visits::Registration,
};

mod shape;

/// A stream on which nothing is said for so long bears a comment, so that nobody on the way takes it for dead.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);
pub(super) const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// What was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    /// A tool.
    Tool,
    /// The contents of a resource.
    Resource,
    /// Anything else.
    Other,
}

/// A request whose answer is awaited.
pub(super) struct Relay {
    pub(super) client_id: Id<'static>,
    pub(super) sent_id: Id<'static>,
    /// The client's own token, where another one was sent.
    pub(super) progress_token: Option<Json<'static>>,
    /// In which revision the client speaks, and in which the server.
    pub(super) revision: Revision,
    pub(super) spoken: Revision,
    pub(super) server: ServerName,
    /// Whether the client knows names with the server's before them.
    pub(super) is_joined: bool,
    pub(super) method: Asked,
    pub(super) client: ClientCapabilities,
    pub(super) result_bytes_max: usize,
    pub(super) truncates: bool,
    pub(super) guarding: Guarding,
}

/// To whom an answer belongs.
pub(super) struct Behind {
    pub(super) reached: Reached,
    pub(super) link: Link,
    pub(super) place: Place,
}

/// What becomes of a message.
enum Step {
    /// It goes on.
    Pass(Vec<u8>),
    /// It does not.
    Skip,
    /// This goes back to the server.
    Back(Vec<u8>),
    /// It was the answer: with what came of it, and the status for it where it is alone.
    Done(Vec<u8>, &'static str, StatusCode),
    /// It was the answer, and does not go on.
    Stopped(Refusal),
}

/// Passes an answer on.
pub(super) async fn answer(mut visit: Visit<'_>, relay: Relay, said: Said, behind: Behind) -> Verdict<Response<Body>> {
    let policy = Arc::clone(&behind.reached.policy);
    visit.ticket.times.answered = Some(Instant::now());
    let events = match said {
        Said::Nothing => return Ok(unreached(visit, &relay, &policy, &Unreached::Garbage)),
        Said::Whole(message) => {
            return Ok(match relay.take(&message, &mut visit.ticket.circumstances) {
                Ok(Step::Done(body, outcome, status)) => {
                    note(&mut visit.ticket, outcome);
                    visit.done_with(status, body.into())
                }
                Ok(Step::Stopped(refusal)) => stopped(visit, &relay, &refusal),
                Ok(Step::Pass(_) | Step::Skip | Step::Back(_)) => {
                    unreached(visit, &relay, &policy, &Unreached::Garbage)
                }
                Err(why) => unreached(visit, &relay, &policy, &why),
            });
        }
        Said::Events(events) => events,
    };
    let Behind { reached, link, place } = behind;
    let address = match &reached.server.address {
        Ok(address) => address.clone(),
        Err(why) => return Ok(unreached(visit, &relay, &policy, &why.clone())),
    };
    let takes_events = visit.takes_events;
    let (request_id, until) = (Arc::clone(&visit.ticket.request_id), Instant::now() + policy.timeout);
    let Visit { gate, mut ticket, registration, .. } = visit;
    ticket.streamed = takes_events;
    ticket.status = StatusCode::OK.as_u16();
    let upstream = Arc::clone(&gate.upstream);
    let following = Following {
        relay,
        events,
        ticket: Some(ticket),
        registration,
        until,
        policy,
        server: Arc::clone(&reached.server),
        upstream,
        address,
        link,
        _place: place,
    };
    if takes_events {
        let body = Body::events(stream::unfold(following, Following::next));
        return Ok(super::events(body, &request_id));
    }
    // What is said before the answer is for nobody.
    let body = following.last().await;
    Ok(refuse::json(StatusCode::OK, Vec::new(), &request_id).map(|_| Body::whole(body)))
}

/// Says that a server gave no answer.
pub(super) fn unreached(visit: Visit<'_>, relay: &Relay, policy: &McpServer, why: &Unreached) -> Response<Body> {
    stopped(visit, relay, &refusal_of(&policy.name, why))
}

/// Says that an answer does not go on.
pub(super) fn stopped(mut visit: Visit<'_>, relay: &Relay, refusal: &Refusal) -> Response<Body> {
    visit.ticket.circumstances.reason = evidence::bounded(refusal.public().as_bytes(), REASON_BYTES_MAX);
    let body = relay.failed(refusal);
    visit.close(refusal.kind(), StatusCode::OK, body)
}

fn note(ticket: &mut Ticket, outcome: &'static str) {
    if let Some(call) = &ticket.circumstances.tool {
        ticket.circumstances.tool = Some(Arc::new(ToolCall { outcome, ..ToolCall::clone(call) }));
    }
}

fn refusal_of(server: &str, why: &Unreached) -> Refusal {
    let kind = match why {
        Unreached::Late => RefusalKind::UpstreamTimeout,
        Unreached::Arguments(_) => RefusalKind::Malformed,
        Unreached::Garbage | Unreached::Long(_) | Unreached::Revision(_) => RefusalKind::UpstreamInvalid,
        _ => RefusalKind::UpstreamUnavailable,
    };
    Refusal::new(kind, why.sentence(server))
}

// An answer that comes as a stream.
struct Following {
    relay: Relay,
    events: Events,
    // Until the answer was passed on.
    ticket: Option<Box<Ticket>>,
    registration: Registration,
    until: Instant,
    policy: Arc<McpServer>,
    server: Arc<crate::mcp::Server>,
    upstream: Arc<Upstream>,
    address: Address,
    link: Link,
    _place: Place,
}

impl Following {
    // The next event for the client.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        self.ticket.as_ref()?;
        let message = self.message(true).await;
        Some((message.map_or(COMMENT, |message| events::event(&message)), self))
    }

    // The answer alone.
    async fn last(mut self) -> Bytes {
        loop {
            let message = self.message(false).await;
            if self.ticket.is_none() {
                return message.map(Bytes::from).unwrap_or_default();
            }
        }
    }

    // The next message for the client; `None`: none came for a while. The ticket is closed with the last one.
    async fn message(&mut self, passes: bool) -> Option<Vec<u8>> {
        loop {
            let said = tokio::select! {
                biased;
                cut = self.registration.cut() => return Some(self.end(End::Cut(cut.kind()), &cut)),
                said = timeout_at(self.until, self.events.next()) => said,
                () = sleep(KEEP_ALIVE), if passes => return None,
            };
            let said = match said {
                Err(_) => Err(Unreached::Late),
                Ok(Ok(None)) => Err(Unreached::Broken),
                Ok(Ok(Some(message))) => Ok(message),
                Ok(Err(why)) => Err(why),
            };
            let Some(ticket) = &mut self.ticket else { return None };
            let step = said.and_then(|message| {
                // Whoever tells how far it is has not hung.
                self.until = Instant::now() + self.policy.timeout;
                self.relay.take(&message, &mut ticket.circumstances)
            });
            match step {
                Ok(Step::Pass(message)) if passes => return Some(message),
                Ok(Step::Pass(_) | Step::Skip) => {}
                Ok(Step::Back(message)) => self.back(message).await,
                Ok(Step::Done(message, outcome, _)) => {
                    if let Some(mut ticket) = self.ticket.take() {
                        note(&mut ticket, outcome);
                        ticket.close(End::Completed);
                    }
                    return Some(message);
                }
                Ok(Step::Stopped(refusal)) => return Some(self.end(End::Refused(refusal.kind()), &refusal)),
                Err(why) => {
                    self.server.doubt();
                    let refusal = refusal_of(&self.policy.name, &why);
                    return Some(self.end(End::Refused(refusal.kind()), &refusal));
                }
            }
        }
    }

    fn end(&mut self, end: End, refusal: &Refusal) -> Vec<u8> {
        if let Some(mut ticket) = self.ticket.take() {
            ticket.circumstances.reason = evidence::bounded(refusal.public().as_bytes(), REASON_BYTES_MAX);
            ticket.close(end);
        }
        self.relay.failed(refusal)
    }

    async fn back(&self, message: Vec<u8>) {
        let line = crate::mcp::Line { upstream: &self.upstream, address: &self.address };
        // Whether it was told or not, it goes on or gives up.
        let _ = catalogue::tell(line, &self.link, message.into()).await;
    }
}

// === impl Asked ===

impl Asked {
    pub(super) fn of(method: &Method<'_>) -> Self {
        match method {
            Method::CallTool => Self::Tool,
            Method::ReadResource => Self::Resource,
            _ => Self::Other,
        }
    }
}

// === impl Relay ===

impl Relay {
    fn take(&self, message: &[u8], circumstances: &mut Circumstances) -> Result<Step, Unreached> {
        match Message::parse(message).map_err(|_| Unreached::Garbage)? {
            Message::Response(response) if response.id == self.sent_id => {
                self.result(&Json::from(response.result), circumstances)
            }
            Message::Failure(refused) if refused.id.as_ref().is_none_or(|id| *id == self.sent_id) => {
                let error = Json::from(refused.error);
                match self.guarding.whole(error.as_str().as_bytes(), &[], circumstances) {
                    Ok(changed) => {
                        let error = shape::json(changed).unwrap_or_else(|| error.into_owned());
                        let status = failure::status(self.revision, refused.code);
                        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
                        Ok(Step::Done(write::failure(Some(&self.client_id), &error), "error", status))
                    }
                    Err(refusal) => Ok(Step::Stopped(refusal)),
                }
            }
            Message::Response(_) | Message::Failure(_) => Ok(Step::Skip),
            Message::Request(request) => Ok(self.asked(&request, circumstances)),
            Message::Notification(told) => Ok(match Method::of_name(&told.method) {
                Method::Progress => {
                    let message = match &self.progress_token {
                        Some(token) => {
                            let params = told.params.with("progressToken", token);
                            write::notification(&told.method, Some(&params))
                        }
                        None => told.to_bytes(),
                    };
                    self.looked_at(message, circumstances)
                }
                Method::LogMessage | Method::ElicitationComplete => self.looked_at(message.to_vec(), circumstances),
                _ => Step::Skip,
            }),
        }
    }

    // A request of the server, which the client's answer will find its way back to.
    fn asked(&self, request: &Request<'_>, circumstances: &mut Circumstances) -> Step {
        let method = Method::of_name(&request.method);
        if method == Method::Ping {
            return Step::Back(write::response(&request.id, &Json::empty_object()));
        }
        let wrapped = server_request::wrap(&self.server, &request.id).ok();
        let can = !self.revision.is_stateless() && self.client.answers(&method);
        let (Some(id), true) = (wrapped, can) else {
            let sentence = "The client cannot answer this.";
            return Step::Back(failure::answer(Some(&request.id), code::METHOD_NOT_FOUND, sentence));
        };
        let asked = write::request(&id, &request.method, request.params.given().as_ref());
        match self.looked_at(asked, circumstances) {
            // It would wait for ever.
            Step::Skip => {
                let sentence = "A guardrail stopped the request.";
                Step::Back(failure::answer(Some(&request.id), code::GUARDRAIL, sentence))
            }
            step => step,
        }
    }

    fn looked_at(&self, message: Vec<u8>, circumstances: &mut Circumstances) -> Step {
        match self.guarding.whole(&message, &[], circumstances) {
            Ok(changed) => Step::Pass(changed.unwrap_or(message)),
            Err(_) => Step::Skip,
        }
    }

    fn result(&self, result: &Json<'_>, circumstances: &mut Circumstances) -> Result<Step, Unreached> {
        let changed = match self.guarding.whole(result.as_str().as_bytes(), &[], circumstances) {
            Ok(changed) => shape::json(changed),
            Err(refusal) => return Ok(Step::Stopped(refusal)),
        };
        let mut result = changed.unwrap_or_else(|| result.clone().into_owned());
        if result.as_str().len() > self.result_bytes_max {
            if !self.truncates {
                return Err(Unreached::Long(self.result_bytes_max));
            }
            result = shape::truncated(&result, self.result_bytes_max);
        }
        if self.is_joined {
            result = with_server(&self.server, &result).into_owned();
        }
        let result = shape::translated(result, self).ok_or(Unreached::Garbage)?;
        let is_error = self.method == Asked::Tool && is_error(&result);
        let outcome = if is_error { "tool_error" } else { "result" };
        Ok(Step::Done(write::response(&self.client_id, &result), outcome, StatusCode::OK))
    }

    /// The answer in place of one that there is not: of a tool, as what it said, so that a model reads it.
    fn failed(&self, refusal: &Refusal) -> Vec<u8> {
        if self.method == Asked::Tool {
            return write::response(&self.client_id, &failure::tool_failed(self.revision, refusal.public()));
        }
        failure::answer(Some(&self.client_id), rpc_code(refusal.kind()), refusal.public())
    }
}

fn is_error(result: &Json<'_>) -> bool {
    result.members().is_some_and(|result| result.is_true("isError"))
}
