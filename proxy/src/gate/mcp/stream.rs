//! What is told without being asked: the standing stream of a session, and, since 2026-07-28, of a request that listens. That lists have changed is told
//! by what the caller sees of them; the rest comes from the servers with which the session is.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    Stream, StreamExt as _,
    future::join_all,
    stream::{self, SelectAll},
};
use http::{HeaderMap, Response, StatusCode};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tollgate_mcp::{
    Id, Json, Kind, Message, Method, Request, ServerName, capability::ClientCapabilities, failure, params::meta,
    server_request, write,
};
use tollgate_policy::{guardrail::Direction, mcp::Offer, refusal::Refusal};

use super::{
    Body, Reached, View, Visit,
    answer::{COMMENT, KEEP_ALIVE},
    begin::version,
    events,
};
use crate::{
    current::Holder,
    evidence::{self, REASON_BYTES_MAX},
    gate::{
        inspect::Guarding,
        ticket::{End, Ticket, Verdict},
    },
    mcp::{Bounds, Events, Head, Link, catalogue::free, events::event},
    refuse::rpc_code,
    visits::Registration,
};

/// How long the streams of servers may take to stand.
const OPEN_MAX: Duration = Duration::from_secs(3);
/// The longest message on one, in bytes.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The kinds of lists of which changes are told, and how.
const TOLD: [(&str, &str, &[Kind]); 3] = [
    ("toolsListChanged", "notifications/tools/list_changed", &[Kind::Tool]),
    ("promptsListChanged", "notifications/prompts/list_changed", &[Kind::Prompt]),
    ("resourcesListChanged", "notifications/resources/list_changed", &[Kind::Resource, Kind::Template]),
];

type Heard = Pin<Box<dyn Stream<Item = (ServerName, Bytes)> + Send>>;

// A stream that stands.
struct Standing {
    // Until it is cut.
    ticket: Option<Box<Ticket>>,
    registration: Registration,
    view: View,
    holder: Arc<Holder>,
    // The request that listens, since 2026-07-28.
    listener: Option<Id<'static>>,
    // Which of the lists, and what they were like.
    told: Vec<(usize, u64)>,
    ready: VecDeque<Vec<u8>>,
    heard: SelectAll<Heard>,
    client: ClientCapabilities,
    guarding: Guarding,
    offers: watch::Receiver<u64>,
    policies: watch::Receiver<u64>,
}

/// Opens the standing stream of a session.
pub(super) async fn standing(visit: Visit<'_>, headers: &HeaderMap) -> Verdict<Response<Body>> {
    let session = match visit.session(headers) {
        Ok(session) => session,
        Err(missing) => return Ok(visit.without_session(None, missing)),
    };
    let open = visit.links(&session);
    let listening =
        open.iter().filter(|(_, link)| link.session.is_some()).map(|(reached, link)| hear(&visit, reached, link));
    let heard = join_all(listening).await.into_iter().flatten().collect();
    Ok(stand(visit, None, &[0, 1, 2], heard, session.client))
}

/// Opens the stream of a request that listens. What it asks for beyond changes of lists is not given, and not acknowledged.
pub(super) fn listen(visit: Visit<'_>, request: &Request<'_>) -> Response<Body> {
    let filter = request.params.object("notifications").unwrap_or_default();
    let wanted: Vec<usize> =
        (0..TOLD.len()).filter(|at| TOLD.get(*at).is_some_and(|(name, ..)| filter.is_true(name))).collect();
    let id = request.id.clone().into_owned();
    stand(visit, Some(id), &wanted, SelectAll::new(), ClientCapabilities::default())
}

fn stand(
    visit: Visit<'_>,
    listener: Option<Id<'static>>,
    wanted: &[usize],
    heard: SelectAll<Heard>,
    client: ClientCapabilities,
) -> Response<Body> {
    let Visit { gate, mut ticket, view, registration, .. } = visit;
    ticket.streamed = true;
    ticket.status = StatusCode::OK.as_u16();
    let request_id = Arc::clone(&ticket.request_id);
    let (offers, policies) = (view.servers.changes(), gate.holder.changes());
    let told = wanted.iter().filter_map(|at| Some((*at, view.seen(TOLD.get(*at)?.2)))).collect();
    let guarding = Guarding::new(view.watch(Direction::Response, "mcp:"), view.vault());
    let mut standing = Standing {
        ticket: Some(ticket),
        registration,
        view,
        holder: Arc::clone(&gate.holder),
        listener,
        told,
        ready: VecDeque::new(),
        heard,
        client,
        guarding,
        offers,
        policies,
    };
    // At once, before anything that a server could delay: clients ask for nothing until they have it.
    standing.acknowledge();
    events(Body::events(stream::unfold(standing, Standing::next)), &request_id)
}

// The stream of a server, for the session that is with it.
async fn hear(visit: &Visit<'_>, reached: &Reached, link: &Link) -> Option<Heard> {
    let line = visit.line(reached).ok()?;
    let head = Head { session: link.session.clone(), headers: version(link.revision) };
    let bounds = Bounds { until: Instant::now() + OPEN_MAX, bytes_max: MESSAGE_BYTES_MAX };
    let events = line.address.listen(line.upstream, &free(), &head, bounds).await.ok().flatten()?;
    let name = reached.server.name.clone();
    let next = |(name, mut events): (ServerName, Events)| async move {
        let message = events.next().await.ok().flatten()?;
        Some(((name.clone(), message), (name, events)))
    };
    Some(Box::pin(stream::unfold((name, events), next)))
}

// === impl Standing ===

impl Standing {
    // The next event for the client.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some((event(&message), self));
            }
            self.ticket.as_ref()?;
            tokio::select! {
                biased;
                cut = self.registration.cut() => self.end(&cut),
                changed = self.policies.changed() => {
                    // The replica ends.
                    changed.ok()?;
                    self.view.renew(&self.holder);
                    self.compare();
                }
                changed = self.offers.changed() => {
                    changed.ok()?;
                    self.compare();
                }
                Some((server, message)) = self.heard.next(), if !self.heard.is_empty() => self.hear(&server, &message),
                () = sleep(KEEP_ALIVE) => return Some((COMMENT, self)),
            }
        }
    }

    fn acknowledge(&mut self) {
        let Some(id) = &self.listener else { return };
        let told = self.told.iter().filter_map(|(at, _)| Some((TOLD.get(*at)?.0, Json::from(true))));
        let params = Json::object([("notifications", Json::object(told)), of_listener(id)]);
        self.ready.push_back(write::notification("notifications/subscriptions/acknowledged", Some(&params)));
    }

    // Tells which lists the caller now sees differently.
    fn compare(&mut self) {
        for (at, before) in &mut self.told {
            let Some((_, notification, kinds)) = TOLD.get(*at) else { continue };
            let now = self.view.seen(kinds);
            if now != *before {
                *before = now;
                let params = self.listener.as_ref().map(|id| Json::object([of_listener(id)]));
                self.ready.push_back(write::notification(notification, params.as_ref()));
            }
        }
    }

    fn hear(&mut self, name: &ServerName, message: &[u8]) {
        let reached = self.view.reached();
        // One that is reached no longer says nothing more.
        let Some(reached) = reached.iter().find(|reached| reached.server.name.as_str() == name.as_str()) else {
            return;
        };
        let passed = match Message::parse(message) {
            Ok(Message::Notification(told)) => match Method::of_name(&told.method) {
                Method::ToolsChanged | Method::PromptsChanged | Method::ResourcesChanged => {
                    reached.server.doubt();
                    None
                }
                Method::ResourceUpdated => {
                    let uri = told
                        .params
                        .text("uri")
                        .filter(|uri| reached.policy.admits(Offer::Resource, uri, &self.view.caller.key().tools));
                    uri.and_then(|uri| {
                        let uri = if self.view.only.is_some() { uri.into_owned() } else { name.uri(&uri).ok()? };
                        let params = told.params.with("uri", &Json::text(&uri));
                        Some(write::notification(&told.method, Some(&params)))
                    })
                }
                Method::LogMessage | Method::ElicitationComplete => Some(told.to_bytes()),
                _ => None,
            },
            Ok(Message::Request(request)) if self.client.answers(&Method::of_name(&request.method)) => {
                let id = server_request::wrap(name, &request.id).ok();
                id.map(|id| write::request(&id, &request.method, request.params.given().as_ref()))
            }
            _ => None,
        };
        let Some(passed) = passed else { return };
        // What a guardrail finds here is in the entry of the stream, when it ends.
        let Some(ticket) = &mut self.ticket else { return };
        if let Ok(changed) = self.guarding.whole(&passed, &[], &mut ticket.circumstances) {
            self.ready.push_back(changed.unwrap_or(passed));
        }
    }

    fn end(&mut self, refusal: &Refusal) {
        if let Some(mut ticket) = self.ticket.take() {
            ticket.circumstances.reason = evidence::bounded(refusal.public().as_bytes(), REASON_BYTES_MAX);
            ticket.close(End::Cut(refusal.kind()));
        }
        if let Some(id) = &self.listener {
            let error = failure::error(rpc_code(refusal.kind()), refusal.public(), None);
            self.ready.push_back(write::failure(Some(id), &error));
        }
    }
}

// To which request a notification belongs.
fn of_listener(id: &Id<'_>) -> (&'static str, Json<'static>) {
    ("_meta", Json::object([(meta::SUBSCRIPTION_ID, id.json())]))
}
