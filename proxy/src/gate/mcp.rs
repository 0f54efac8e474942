//! Messages to servers of tools, at `/mcp` for all of them and at `/mcp/<server>` for one: the same rooms, for another protocol.
//!
//! [`head`]: what the head of a request must be like. [`begin`]: how clients of either kind begin. [`lists`]: what is offered, from what is known.
//! [`target`]: which server a message is for, and whether the key may have what it names. [`consent`]: what is said where a user has to sign in first. [`charge`]: limits, budgets and the note of a call. [`pass`]: a request on
//! its way to a server; [`answer`], what comes back; [`stream`], what servers say by themselves.
//!
//! Messages are passed on raw, as [`tollgate_mcp`] has read them: what was checked is what a server reads. The official library for Rust would read each
//! of them into its types and write it anew, which is dearer, and loses what it does not know.

mod head;
mod begin;
mod lists;
mod target;
mod consent;
mod charge;
mod pass;
mod answer;
mod stream;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Method as Verb, Response, StatusCode, header::CONTENT_TYPE};
use tokio::time::Instant;
use tollgate_mcp::{
    Id, Json, Message, Method, Notification, Request, Revision,
    capability::ClientCapabilities,
    failure::{self, code},
    params::meta,
    route::Headers,
    write,
};
use tollgate_policy::{
    decide::{self, Caller},
    guardrail::{Asker, Direction},
    mcp::McpServer,
    refusal::{Refusal, RefusalKind},
    usage::Attribution,
};
use tollgate_scan::Vault;

use super::{
    Body, Gate,
    authenticate::Visitor,
    parse::collect,
    ticket::{End, Ticket, Verdict},
};
use crate::{
    clock,
    current::{Current, Holder},
    evidence::{self, REASON_BYTES_MAX},
    guard::Watch,
    mcp::{Server, Servers, Session, wire},
    refuse::{self, rpc_code},
    visits::Registration,
};

/// A visit to servers of tools.
struct Visit<'g> {
    gate: &'g Gate,
    ticket: Box<Ticket>,
    view: View,
    registration: Registration,
    /// Whether the client takes a stream.
    takes_events: bool,
}

/// What a caller sees of servers at a path.
struct View {
    servers: Arc<Servers>,
    current: Arc<Current>,
    caller: Caller,
    attribution: Attribution,
    /// The server that the path names.
    only: Option<Arc<McpServer>>,
}

/// How the client speaks.
enum Speech {
    /// In a session.
    Session(Box<Session>),
    /// Each request for itself, with what the client can.
    Alone(ClientCapabilities),
}

/// A server that the caller may reach, in policy and as it is known.
#[derive(Clone)]
struct Reached {
    policy: Arc<McpServer>,
    server: Arc<Server>,
}

/// Serves one request.
pub(super) async fn serve(gate: &Gate, visitor: Visitor) -> Verdict<Response<Body>> {
    let Visitor { ticket, current, caller, message } = visitor;
    let (headers, mut body) = (message.headers, message.body);
    if let Err((refusal, detail)) = head::check(&message.method, message.host.as_ref(), &headers, &gate.origins) {
        return Err(ticket.refuse(refusal).with(detail).leaving(body));
    }
    let only = match message.call.model.as_deref().map(|name| named(&current, name)).transpose() {
        Ok(only) => only,
        Err(refusal) => return Err(ticket.refuse(refusal).leaving(body)),
    };
    let begun = Instant::now();
    let mut ticket = ticket;
    let bytes = match collect(&mut body, begun).await {
        Ok(bytes) => bytes,
        Err(refusal) => return Err(ticket.refuse(refusal).leaving(body)),
    };
    ticket.times.body = begun.elapsed();
    let visit = enter(gate, ticket, &current, caller, only, head::takes_events(&headers))?;
    match message.method {
        Verb::GET => stream::standing(visit, &headers).await,
        Verb::DELETE => begin::end(visit, &headers).await,
        _ => posted(visit, &headers, &bytes).await,
    }
}

// Registers the visit, then decides by the policy that holds now, as every visit does.
fn enter<'g>(
    gate: &'g Gate,
    mut ticket: Box<Ticket>,
    pinned: &Arc<Current>,
    caller: Caller,
    only: Option<Arc<McpServer>>,
    takes_events: bool,
) -> Verdict<Visit<'g>> {
    let registration = gate.holder.visits().register(caller.clone());
    let current = gate.holder.load().unwrap_or_else(|| Arc::clone(pinned));
    let Some(attribution) = ticket.attribution.clone() else {
        let refusal = Refusal::new(RefusalKind::Unauthenticated, "The request lost its key. Send it again.");
        return Err(ticket.refuse(refusal));
    };
    ticket.revision = current.snapshot.revision();
    let caller = if Arc::ptr_eq(pinned, &current) {
        caller
    } else {
        match decide::readmit(&current.snapshot, clock::wall(), &caller) {
            Ok(caller) => caller,
            Err(refusal) => return Err(ticket.refuse(refusal)),
        }
    };
    let only = match only.map(|only| named(&current, &only.name)).transpose() {
        Ok(only) => only,
        Err(refusal) => return Err(ticket.refuse(refusal)),
    };
    let view = View { servers: Arc::clone(&gate.servers), current, caller, attribution, only };
    // A server that the key does not reach is not there.
    match &view.only {
        Some(only) if !view.reaches(only) => Err(ticket.refuse(absent(&only.name))),
        _ => Ok(Visit { gate, ticket, view, registration, takes_events }),
    }
}

async fn posted(visit: Visit<'_>, headers: &HeaderMap, bytes: &[u8]) -> Verdict<Response<Body>> {
    let message = match Message::parse(bytes) {
        Ok(message) => message,
        Err(invalid) => {
            let body = failure::answer(invalid.id.as_ref(), invalid.fault.code(), &invalid.fault.to_string());
            return Ok(visit.close(RefusalKind::Malformed, StatusCode::BAD_REQUEST, body));
        }
    };
    let read = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let routing = match Headers::read(read) {
        Ok(routing) => routing,
        Err(refused) => return Ok(visit.misrouted(id_of(&message), &refused)),
    };
    match message {
        Message::Request(request) => asked(visit, headers, &routing, request).await,
        Message::Notification(notification) => told(visit, headers, &routing, notification).await,
        Message::Response(_) | Message::Failure(_) => {
            let session = match visit.session(headers) {
                Ok(session) => session,
                Err(missing) => return Ok(visit.without_session(None, missing)),
            };
            pass::answered(visit, &session, &message).await
        }
    }
}

async fn asked(
    mut visit: Visit<'_>,
    headers: &HeaderMap,
    routing: &Headers<'_>,
    request: Request<'_>,
) -> Verdict<Response<Body>> {
    let method = Method::of_name(&request.method);
    // A request that says in which revision it is, is in that one.
    if method == Method::Initialize && request.params.meta_value(meta::PROTOCOL_VERSION).is_none() {
        visit.view.settle().await;
        return begin::initialize(visit, &request).await;
    }
    let revision = match routing.revision(&request.params) {
        Ok(revision) => revision,
        Err(refused) => return Ok(visit.misrouted(Some(&request.id), &refused)),
    };
    let speech = if revision.is_stateless() {
        if let Err(refused) = routing.check(&request) {
            return Ok(visit.misrouted(Some(&request.id), &refused));
        }
        let client = request.params.meta().object(meta::CLIENT_CAPABILITIES).unwrap_or_default();
        Speech::Alone(ClientCapabilities::read(&client))
    } else {
        match visit.session(headers) {
            Ok(session) => Speech::Session(Box::new(session)),
            Err(missing) => return Ok(visit.without_session(Some(&request.id), missing)),
        }
    };
    let revision = speech.revision();
    if !method.is_of(revision) {
        return Ok(visit.unknown(&request.id, revision, &request.method));
    }
    if matches!(
        method,
        Method::Discover
            | Method::ListTools
            | Method::ListPrompts
            | Method::ListResources
            | Method::ListTemplates
            | Method::Listen
    ) {
        visit.view.settle().await;
    }
    match method {
        Method::Ping => Ok(visit.result(&request.id, &Json::empty_object())),
        Method::Discover => Ok(begin::discover(visit, &request.id)),
        Method::ListTools | Method::ListPrompts | Method::ListResources | Method::ListTemplates => {
            Ok(lists::list(visit, &speech, &method, &request))
        }
        Method::SetLevel => pass::level(visit, &speech, &request).await,
        Method::Listen => Ok(stream::listen(visit, &request)),
        Method::CallTool
        | Method::GetPrompt
        | Method::ReadResource
        | Method::Subscribe
        | Method::Unsubscribe
        | Method::Complete => {
            if method == Method::CallTool {
                visit.ticket.operation = super::route::Operation::McpCall;
            }
            pass::pass(visit, speech, &method, &request, routing).await
        }
        _ => Ok(visit.unknown(&request.id, revision, &request.method)),
    }
}

async fn told(
    visit: Visit<'_>,
    headers: &HeaderMap,
    routing: &Headers<'_>,
    notification: Notification<'_>,
) -> Verdict<Response<Body>> {
    let is_alone = routing.revision(&notification.params).is_ok_and(Revision::is_stateless);
    // Without a session there is nothing that a notification could be about: a request ends with its stream.
    if is_alone {
        return Ok(visit.accepted());
    }
    match visit.session(headers) {
        Ok(session) => pass::told(visit, &session, &notification).await,
        Err(missing) => Ok(visit.without_session(None, missing)),
    }
}

/// Why a request has no session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum NoSession {
    /// It bears none.
    Missing,
    /// It is none of the caller's at that path, or too old.
    Unknown,
}

// === impl View ===

impl View {
    /// The servers that the caller reaches at this path, by name.
    fn reached(&self) -> Vec<Reached> {
        let all = self.current.snapshot.mcp_servers().iter();
        let here = all.filter(|policy| self.only.as_ref().is_none_or(|only| only.id == policy.id));
        here.filter_map(|policy| self.reach(policy)).collect()
    }

    /// One server, if the caller reaches it.
    fn reach(&self, policy: &Arc<McpServer>) -> Option<Reached> {
        if !self.reaches(policy) {
            return None;
        }
        let server = self.servers.get(policy, self.attribution.user.as_ref())?;
        Some(Reached { policy: Arc::clone(policy), server })
    }

    /// Waits, shortly, for servers of which nothing is known yet.
    async fn settle(&self) {
        let reached = self.reached();
        join_all(reached.iter().map(|reached| reached.server.settle())).await;
    }

    fn reaches(&self, policy: &McpServer) -> bool {
        let (Attribution { customer, team, .. }, key) = (&self.attribution, self.caller.key());
        policy.is_for(customer, team, &key.name, &key.tools)
    }

    /// The same by the policy that holds now; a caller whom it no longer admits is cut by others.
    fn renew(&mut self, holder: &Holder) {
        let Some(current) = holder.load() else { return };
        if let Ok(caller) = decide::readmit(&current.snapshot, clock::wall(), &self.caller) {
            self.caller = caller;
        }
        self.current = current;
    }

    /// The guardrails that look at what goes to a server, or comes from it.
    fn watch(&self, direction: Direction, model: &str) -> Option<Watch> {
        let (Attribution { customer, team, .. }, key) = (&self.attribution, &self.caller.key().name);
        let asker = Asker { customer, team, key, model };
        self.current.guards.watch(&self.current.guard_keys, direction, asker)
    }

    /// Where placeholders of a call are kept.
    fn vault(&self) -> Vault {
        Vault::new(self.current.guard_keys.session(&self.caller.key().id, ""))
    }
}

// === impl Visit ===

impl Visit<'_> {
    /// The session that the headers name.
    fn session(&self, headers: &HeaderMap) -> Result<Session, NoSession> {
        let mut ids = headers.get_all(wire::SESSION).iter();
        let (Some(id), None) = (ids.next(), ids.next()) else { return Err(NoSession::Missing) };
        let id = id.to_str().map_err(|_| NoSession::Unknown)?;
        let session = Session::open(id, &self.view.current.pepper, &self.view.caller.key().id, clock::wall());
        let is_here = |session: &Session| session.server.as_ref() == self.view.only.as_ref().map(|only| &only.id);
        let session = session.filter(is_here).filter(|session| !self.view.servers.has_ended(&session.number));
        session.ok_or(NoSession::Unknown)
    }

    /// An answer that ends the visit well.
    fn result(self, id: &Id<'_>, result: &Json<'_>) -> Response<Body> {
        self.done(write::response(id, result).into())
    }

    fn done(self, body: Bytes) -> Response<Body> {
        self.done_with(StatusCode::OK, body)
    }

    fn done_with(mut self, status: StatusCode, body: Bytes) -> Response<Body> {
        let answer = refuse::json(status, Vec::new(), &self.ticket.request_id).map(|_| Body::whole(body));
        self.ticket.status = answer.status().as_u16();
        self.ticket.close(End::Completed);
        answer
    }

    /// That a notification or an answer was taken.
    fn accepted(mut self) -> Response<Body> {
        let mut answer = Response::new(Body::whole(Bytes::new()));
        *answer.status_mut() = StatusCode::ACCEPTED;
        refuse::identify(&mut answer, &self.ticket.request_id);
        self.ticket.status = answer.status().as_u16();
        self.ticket.close(End::Completed);
        answer
    }

    /// Refuses a request in its own protocol, which knows it by that id.
    fn refuse(self, id: &Id<'_>, revision: Revision, refusal: &Refusal) -> Response<Body> {
        let code = rpc_code(refusal.kind());
        self.refuse_with(id, revision, refusal.kind(), &failure::error(code, refusal.public(), None), refusal.public())
    }

    fn refuse_with(
        mut self,
        id: &Id<'_>,
        revision: Revision,
        kind: RefusalKind,
        error: &Json<'_>,
        reason: &str,
    ) -> Response<Body> {
        self.ticket.circumstances.reason = evidence::bounded(reason.as_bytes(), REASON_BYTES_MAX);
        let status = StatusCode::from_u16(failure::status(revision, rpc_code(kind))).unwrap_or(StatusCode::OK);
        self.close(kind, status, write::failure(Some(id), error))
    }

    /// Tells the model what went wrong with its call, as what its tool said: it can then do something else.
    fn tool_failed(mut self, id: &Id<'_>, revision: Revision, refusal: &Refusal) -> Response<Body> {
        self.ticket.circumstances.reason = evidence::bounded(refusal.public().as_bytes(), REASON_BYTES_MAX);
        let body = write::response(id, &failure::tool_failed(revision, refusal.public()));
        self.close(refusal.kind(), StatusCode::OK, body)
    }

    fn close(mut self, kind: RefusalKind, status: StatusCode, body: Vec<u8>) -> Response<Body> {
        let answer = refuse::json(status, body, &self.ticket.request_id).map(Body::whole);
        self.ticket.status = status.as_u16();
        self.ticket.close(End::Refused(kind));
        answer
    }

    fn misrouted(self, id: Option<&Id<'_>>, refused: &tollgate_mcp::route::Refused) -> Response<Body> {
        let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::BAD_REQUEST);
        self.close(RefusalKind::Malformed, status, write::failure(id, &refused.error()))
    }

    fn without_session(self, id: Option<&Id<'_>>, missing: NoSession) -> Response<Body> {
        let (status, sentence) = match missing {
            NoSession::Missing => (
                StatusCode::BAD_REQUEST,
                "The request bears no Mcp-Session-Id. Begin with `initialize`, and send the id of its answer; or speak 2026-07-28, \
                 with its protocol version in `_meta`.",
            ),
            NoSession::Unknown => (
                StatusCode::NOT_FOUND,
                "This session is not known for this key at this path, or it is too old. Begin a new one with `initialize`.",
            ),
        };
        self.close(RefusalKind::Malformed, status, failure::answer(id, code::INVALID_REQUEST, sentence))
    }

    fn unknown(self, id: &Id<'_>, revision: Revision, method: &str) -> Response<Body> {
        let method: String = method.chars().take(60).collect();
        let sentence = format!("Tollgate does not serve the method \"{method}\" in the revision {revision}.");
        let status = StatusCode::from_u16(failure::status(revision, code::METHOD_NOT_FOUND)).unwrap_or(StatusCode::OK);
        self.close(RefusalKind::UnknownRoute, status, failure::answer(Some(id), code::METHOD_NOT_FOUND, &sentence))
    }

    fn line<'a>(&'a self, reached: &'a Reached) -> Result<crate::mcp::Line<'a>, crate::mcp::Unreached> {
        let address = reached.server.address.as_ref().map_err(Clone::clone)?;
        Ok(crate::mcp::Line { upstream: &self.gate.upstream, address })
    }
}

impl Speech {
    fn revision(&self) -> Revision {
        match self {
            Self::Session(session) => session.revision,
            Self::Alone(_) => Revision::LATEST,
        }
    }
}

fn id_of<'m>(message: &'m Message<'_>) -> Option<&'m Id<'m>> {
    match message {
        Message::Request(request) => Some(&request.id),
        _ => None,
    }
}

fn named(current: &Current, name: &str) -> Result<Arc<McpServer>, Refusal> {
    let found = current.snapshot.mcp_servers().iter().find(|server| *server.name == *name);
    found.map(Arc::clone).ok_or_else(|| absent(name))
}

fn absent(name: &str) -> Refusal {
    Refusal::new(
        RefusalKind::UnknownRoute,
        format!(
            "There is no MCP server \"{name}\" for this Tollgate key. `/mcp` has all that it may use; ask your platform team for others."
        ),
    )
}

/// The type of a stream of events.
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// A stream of events of ours.
fn events(body: Body, request_id: &str) -> Response<Body> {
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, EVENTS);
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Whatever stands before us passes events on as they come.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    refuse::identify(&mut answer, request_id);
    answer
}
