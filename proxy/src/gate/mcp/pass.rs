//! Messages on their way to servers: requests, whose answers come back through [`answer`](super::answer), and what a client tells or answers.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Response;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tollgate_mcp::{
    Edit, Id, Json, Members, Message, Method, Notification, Params, Request, Revision, ServerName,
    capability::ClientCapabilities,
    failure::{self, code},
    params::meta,
    route::{self, Headers},
    server_request, write,
};
use tollgate_policy::{
    guardrail::Direction,
    mcp::CALL_BYTES_MAX,
    refusal::{Refusal, RefusalKind},
};

use super::{
    Body, Reached, Speech, Visit,
    answer::{self, Relay},
    consent::CONNECT,
    target::Aimed,
};
use crate::{
    gate::{
        inspect::{Guarding, seen},
        ticket::Verdict,
    },
    guard::Screened,
    mcp::{Bounds, Head, Link, Reply, Session, Unreached, catalogue, servers::Place},
    refuse::Detail,
};

/// What a message has beyond the result in it, at most: an id, and names.
const ENVELOPE_BYTES: usize = 64 * 1024;
/// The longest name that a record has of what was asked for.
const NAME_CHARACTERS_MAX: usize = 160;

/// A request that may leave.
struct Cleared {
    aimed: Aimed,
    params: Json<'static>,
    guarding: Guarding,
    place: Place,
}

/// Passes a request to the server that has what it names.
pub(super) async fn pass(
    mut visit: Visit<'_>,
    speech: Speech,
    method: &Method<'_>,
    request: &Request<'_>,
    routing: &Headers<'_>,
) -> Verdict<Response<Body>> {
    let (id, revision) = (&request.id, speech.revision());
    let is_call = *method == Method::CallTool;
    if is_call {
        visit.name(&speech, &request.params);
    }
    visit.view.settle_at(method, &request.params).await;
    if is_call && let Some((reached, name, why)) = visit.view.unsigned(&request.params) {
        let server = Arc::clone(&reached.policy.name);
        return Ok(match (&why, &*name) {
            (Unreached::Consent { url, .. }, CONNECT) => visit.connect(id, revision, &server, url),
            _ => visit.must_sign_in(id, &speech, &server, &why),
        });
    }
    let aimed = match visit.view.aim(method, &request.params) {
        Ok(aimed) => aimed,
        Err(astray) if is_call && astray.kind == RefusalKind::UpstreamUnavailable => {
            return Ok(visit.tool_failed(id, revision, &astray.refusal()));
        }
        Err(astray) => return Ok(visit.refuse_with(id, revision, astray.kind, &astray.error, &astray.reason)),
    };
    if is_call
        && revision.is_stateless()
        && let Some(known) = aimed.reached.server.catalogue()
        && let Some(tool) = known.tool(&aimed.name)
        && let Err(refused) = tool.parameters().check(routing, &request.params.object("arguments").unwrap_or_default())
    {
        return Ok(visit.misrouted(Some(id), &refused));
    }
    if is_call && let Err(refusal) = visit.ensure_ruled(&aimed) {
        return Ok(visit.tool_failed(id, revision, &refusal));
    }
    let cleared = match clear(&mut visit, aimed).await {
        Ok(cleared) => cleared,
        Err((refusal, detail)) => {
            let mut answer =
                if is_call { visit.tool_failed(id, revision, &refusal) } else { visit.refuse(id, revision, &refusal) };
            if let Detail::Later(seconds) = detail {
                answer.headers_mut().insert(http::header::RETRY_AFTER, seconds.max(1).into());
            }
            return Ok(answer);
        }
    };
    if is_call
        && let Err((refusal, _)) =
            visit.reserve(&cleared.aimed.reached.policy.clone(), &cleared.aimed.name.clone()).await
    {
        return Ok(visit.tool_failed(id, revision, &refusal));
    }
    send(visit, speech, method, id, cleared).await
}

// What holds for whatever leaves for a server: how long it may be, what guardrails let pass, and how many are open at once.
async fn clear(visit: &mut Visit<'_>, aimed: Aimed) -> Result<Cleared, (Refusal, Detail)> {
    let policy = Arc::clone(&aimed.reached.policy);
    let length = |params: Members<'_>| params.get("arguments").map(|raw| raw.get().len());
    if aimed.params.members().and_then(length).is_some_and(|length| length as u64 > policy.arguments_bytes_max) {
        let sentence = format!(
            "The arguments are longer than the {} bytes that the MCP server \"{}\" may be sent. Send less at a time.",
            policy.arguments_bytes_max, policy.name
        );
        return Err((Refusal::new(RefusalKind::TooLarge, sentence), Detail::None));
    }
    let billed = policy.billed_as(&aimed.name);
    let request = visit.view.watch(Direction::Request, &billed);
    let mut vault = visit.view.vault();
    let mut params = aimed.params.clone();
    if let Some(request) = request {
        let (screened, filled) = seen(&request, Bytes::from(params.as_str().to_owned()), vault)
            .await
            .map_err(|refusal| (refusal, Detail::None))?;
        vault = filled;
        let Screened { changed, report, blocked } = screened;
        report.tell(&mut visit.ticket.circumstances);
        if let Some(blocked) = blocked {
            return Err((blocked.refusal(), Detail::None));
        }
        params = redacted(changed, params).map_err(|refusal| (refusal, Detail::None))?;
    }
    let guarding = Guarding::new(visit.view.watch(Direction::Response, &billed), vault);
    let place = aimed.reached.server.place(policy.parallel_max).ok_or_else(|| {
        let sentence = format!(
            "The MCP server \"{}\" has {} calls open at once, which is its limit. Try again when one has ended.",
            policy.name, policy.parallel_max
        );
        (Refusal::new(RefusalKind::ParallelLimited, sentence), Detail::Later(1))
    })?;
    let arguments = params.members().and_then(|params| params.get("arguments").map(RawValue::get));
    visit.describe_arguments(&policy, arguments.unwrap_or_default().as_bytes());
    Ok(Cleared { aimed, params, guarding, place })
}

// Sends what was cleared; where the server has ended the session meanwhile, once more in another one.
async fn send(
    mut visit: Visit<'_>,
    speech: Speech,
    method: &Method<'_>,
    id: &Id<'_>,
    cleared: Cleared,
) -> Verdict<Response<Body>> {
    let Cleared { aimed: Aimed { reached, name, .. }, params, guarding, place } = cleared;
    let policy = Arc::clone(&reached.policy);
    let relay = |sent: &Id<'_>, link: &Link, token| Relay {
        client_id: id.clone().into_owned(),
        sent_id: sent.clone().into_owned(),
        progress_token: token,
        revision: speech.revision(),
        spoken: link.revision,
        server: reached.server.name.clone(),
        is_joined: visit.view.only.is_none(),
        method: answer::Asked::of(method),
        client: speech.client(),
        result_bytes_max: usize::try_from(policy.result_bytes_max).unwrap_or(usize::MAX),
        truncates: policy.truncate,
        guarding: guarding.clone(),
    };
    let most = if policy.truncate { CALL_BYTES_MAX } else { policy.result_bytes_max };
    let bytes_max = usize::try_from(most).unwrap_or(usize::MAX).saturating_add(ENVELOPE_BYTES);
    let mut is_again = false;
    let (relay, reply, link) = loop {
        let link = match link(&visit, &speech, &reached, is_again).await {
            Ok(link) => link,
            Err(why @ Unreached::Consent { .. }) if *method == Method::CallTool => {
                reached.server.doubt();
                return Ok(visit.must_sign_in(id, &speech, &policy.name, &why));
            }
            Err(why) => {
                let relay = relay(id, &Link { revision: speech.revision(), session: None }, None);
                return Ok(answer::unreached(visit, &relay, &policy, &why));
            }
        };
        let parameters = reached.server.catalogue().and_then(|catalogue| {
            Some(catalogue.tool(&name).filter(|_| *method == Method::CallTool)?.parameters().clone())
        });
        let Written { sent, head, body, token } = written(&speech, &link, method, id, &params, parameters.as_ref());
        let relay = relay(&sent, &link, token);
        let bounds = Bounds { until: Instant::now() + policy.timeout, bytes_max };
        visit.ticket.times.sent = Some(Instant::now());
        let sending = {
            let line = match visit.line(&reached) {
                Ok(line) => line,
                Err(why) => return Ok(answer::unreached(visit, &relay, &policy, &why)),
            };
            let free = catalogue::free();
            let hold = visit.ticket.hold.as_ref().unwrap_or(&free);
            let posting = line.address.post(line.upstream, hold, &head, body, bounds);
            tokio::select! {
                cut = visit.registration.cut() => Err(cut),
                sending = posting => Ok(sending),
            }
        };
        match sending {
            Err(cut) => return Ok(answer::stopped(visit, &relay, &cut)),
            Ok(Ok(reply)) => break (relay, reply, link),
            // It did nothing, since it knows no such session.
            Ok(Err(Unreached::Ended)) if !is_again => is_again = true,
            Ok(Err(why @ Unreached::Consent { .. })) if *method == Method::CallTool => {
                reached.server.doubt();
                return Ok(visit.must_sign_in(id, &speech, &policy.name, &why));
            }
            Ok(Err(why)) => {
                if matches!(why, Unreached::Connect | Unreached::Arguments(_)) {
                    // Nothing left for it.
                    visit.ticket.times.sent = None;
                }
                reached.server.doubt();
                return Ok(answer::unreached(visit, &relay, &policy, &why));
            }
        }
    };
    let Reply { said, session: _ } = reply;
    answer::answer(visit, relay, said, answer::Behind { reached, link, place }).await
}

/// A request as it leaves.
struct Written {
    sent: Id<'static>,
    head: Head,
    body: Bytes,
    token: Option<Json<'static>>,
}

fn written(
    speech: &Speech,
    link: &Link,
    method: &Method<'_>,
    id: &Id<'_>,
    params: &Json<'static>,
    parameters: Option<&tollgate_mcp::parameter::Parameters>,
) -> Written {
    let read = Params::from(params.members());
    // A session of the replica's own is used by many clients, whose ids and tokens may be alike.
    let is_shared = matches!(speech, Speech::Alone(_)) && !link.revision.is_stateless();
    let sent = if is_shared {
        Id::of_text(&format!("tollgate-{}", ulid::Ulid::generate().to_string().to_ascii_lowercase()))
    } else {
        id.clone().into_owned()
    };
    let mut token = None;
    let params = match (speech, link.revision.is_stateless()) {
        (Speech::Session(_), true) => catalogue::with_meta(Some(params.clone()), ClientCapabilities::default()),
        (Speech::Alone(_), false) => {
            token = read.meta_value(meta::PROGRESS_TOKEN).map(|raw| Json::from(raw).into_owned());
            let own = [meta::PROTOCOL_VERSION, meta::CLIENT_INFO, meta::CLIENT_CAPABILITIES, meta::LOG_LEVEL];
            let mut edits: Vec<Edit<'_>> = own.into_iter().map(Edit::Remove).collect();
            if token.is_some() {
                edits.push(Edit::Set(meta::PROGRESS_TOKEN, sent.json()));
            }
            read.with_meta(&edits)
        }
        _ => params.clone(),
    };
    let headers = route::outgoing(link.revision, method.name(), &Params::from(params.members()), parameters);
    let body = write::request(&sent, method.name(), Some(&params)).into();
    Written { sent, head: Head { session: link.session.clone(), headers }, body, token }
}

// The session with the server in which the client's request goes: the one of the client's session, or one that is opened now.
async fn link(visit: &Visit<'_>, speech: &Speech, reached: &Reached, is_again: bool) -> Result<Link, Unreached> {
    // Who keeps nothing by session is spoken to without one; who speaks both kinds of revisions, as the client does.
    if let Some(known) = reached.server.catalogue() {
        let is_modern = known.revision.is_stateless();
        let has_sessions = is_modern && matches!(speech, Speech::Session(_)) && !reached.server.lacks_sessions();
        if !has_sessions && (is_modern || (!known.is_stateful && !is_again)) {
            return Ok(Link { revision: known.revision, session: None });
        }
    }
    let (servers, id) = (&visit.gate.servers, &reached.policy.id);
    let line = visit.line(reached)?;
    match speech {
        Speech::Session(session) => {
            let open = servers.reopened(&session.number, id).or_else(|| session.link(id).cloned());
            if let Some(link) = open.filter(|_| !is_again) {
                return Ok(link);
            }
            match reached.server.open(line, session.client).await {
                Ok(Some(link)) => {
                    servers.remember(session.number, id.clone(), link.clone());
                    Ok(link)
                }
                Ok(None) => Ok(Link { revision: Revision::LATEST, session: None }),
                Err(why) => Err(why),
            }
        }
        Speech::Alone(_) => match reached.server.link().filter(|_| !is_again) {
            Some(link) => Ok(link),
            None => {
                reached.server.doubt();
                catalogue::open(line, ClientCapabilities::default()).await.map(|(link, _)| link)
            }
        },
    }
}

/// Tells the servers of a session what its client tells.
pub(super) async fn told(
    visit: Visit<'_>,
    session: &Session,
    notification: &Notification<'_>,
) -> Verdict<Response<Body>> {
    let is_for_servers =
        matches!(Method::of_name(&notification.method), Method::Cancelled | Method::Progress | Method::RootsChanged);
    if is_for_servers {
        // Which server a request went to that is no longer wanted is not known on every replica; ids of a session are its own.
        let body = Bytes::from(notification.to_bytes());
        let open = visit.links(session);
        let telling = open.iter().filter_map(|(reached, link)| {
            let line = visit.line(reached).ok()?;
            Some(catalogue::tell(line, link, body.clone()))
        });
        join_all(telling).await;
    }
    Ok(visit.accepted())
}

/// Sets from which level on the servers of a session send log messages.
pub(super) async fn level(visit: Visit<'_>, speech: &Speech, request: &Request<'_>) -> Verdict<Response<Body>> {
    let Some(session) = speech.session() else {
        return Ok(visit.unknown(&request.id, speech.revision(), &request.method));
    };
    let open = visit.links(session);
    let asking = open.iter().filter_map(|(reached, link)| {
        let line = visit.line(reached).ok()?;
        let logs = reached.server.capabilities(true).logging;
        let params = request.params.given().map(Json::into_owned);
        logs.then(|| catalogue::ask(line, link, "logging/setLevel", params))
    });
    let answers = join_all(asking).await;
    // What one of them refuses, such as a level that there is not, is told; one that is down is not.
    let refused = answers.into_iter().flatten().find_map(|message| match Message::parse(&message) {
        Ok(Message::Failure(failure)) => Some(write::failure(Some(&request.id), &Json::from(failure.error))),
        _ => None,
    });
    match refused {
        Some(body) => Ok(visit.done(body.into())),
        None => Ok(visit.result(&request.id, &Json::empty_object())),
    }
}

/// Passes a client's answer to the server that asked.
pub(super) async fn answered(
    mut visit: Visit<'_>,
    session: &Session,
    message: &Message<'_>,
) -> Verdict<Response<Body>> {
    let id = match message {
        Message::Response(response) => Some(response.id.clone()),
        Message::Failure(failure) => failure.id.clone(),
        Message::Request(_) | Message::Notification(_) => None,
    };
    let asked = id.as_ref().and_then(server_request::unwrap);
    let Some((server, original)) = asked else { return Ok(visit.accepted()) };
    let open = visit.links(session);
    let found = open.into_iter().find(|(reached, _)| is_named(&reached.server.name, &server));
    let Some((reached, link)) = found else { return Ok(visit.accepted()) };
    let said = match message {
        Message::Response(response) => response.result,
        Message::Failure(failure) => failure.error,
        Message::Request(_) | Message::Notification(_) => return Ok(visit.accepted()),
    };
    let screened = screened(&mut visit, &reached, Json::from(said).into_owned()).await;
    let body = match (&screened, message) {
        (Ok(said), Message::Failure(_)) => write::failure(Some(&original), said),
        (Ok(said), _) => write::response(&original, said),
        // The server need not wait for what does not come.
        (Err(_), _) => failure::answer(Some(&original), code::GUARDRAIL, "The client's answer was stopped on its way."),
    };
    let told = match visit.line(&reached) {
        Ok(line) => catalogue::tell(line, &link, body.into()).await,
        Err(why) => Err(why),
    };
    if let Err(why) = told {
        tracing::debug!(server = reached.server.name.as_str(), %why, "an answer did not reach its server");
    }
    match screened {
        Ok(_) => Ok(visit.accepted()),
        Err(refusal) => Err(visit.ticket.refuse(refusal)),
    }
}

// What the user or the model says leaves for the server like the arguments of a call.
async fn screened(visit: &mut Visit<'_>, reached: &Reached, said: Json<'static>) -> Result<Json<'static>, Refusal> {
    let Some(watch) = visit.view.watch(Direction::Request, &reached.policy.billed_as("")) else { return Ok(said) };
    let vault = visit.view.vault();
    let (Screened { changed, report, blocked }, _) = seen(&watch, Bytes::from(said.as_str().to_owned()), vault).await?;
    report.tell(&mut visit.ticket.circumstances);
    if let Some(blocked) = blocked {
        return Err(blocked.refusal());
    }
    redacted(changed, said)
}

// What a guardrail has made of a text. If that is no JSON any more, nothing leaves: the text that was there has what was found.
fn redacted(changed: Option<Vec<u8>>, said: Json<'static>) -> Result<Json<'static>, Refusal> {
    let Some(changed) = changed else { return Ok(said) };
    let raw: Result<Box<serde_json::value::RawValue>, _> = serde_json::from_slice(&changed);
    let raw = raw.map_err(|_| {
        Refusal::new(RefusalKind::Guardrail, "A guardrail found something that could not be taken out. Leave it away.")
    })?;
    Ok(Json::from(&*raw).into_owned())
}

impl Visit<'_> {
    // Notes what a client wants to call, before it is known whether there is such a tool.
    fn name(&mut self, speech: &Speech, params: &Params<'_>) {
        let said = params.text("name").unwrap_or_default();
        let said = tollgate_mcp::character::shown(&said, NAME_CHARACTERS_MAX);
        let only = self.view.only.as_ref().map(|only| Arc::clone(&only.name));
        let (server, tool) = match (&only, tollgate_mcp::name::split(&said)) {
            (Some(only), _) => (&**only, &*said),
            (None, Some(named)) => named,
            (None, None) => ("", &*said),
        };
        let tool_use_id = params.meta_text(meta::TOOL_USE_ID).unwrap_or_default();
        let session = speech.session().map(Session::name).unwrap_or_default();
        self.describe(server, tool, &tool_use_id, session);
    }

    /// The open sessions with servers of a client's session.
    pub(super) fn links(&self, session: &Session) -> Vec<(Reached, Link)> {
        let with_link = |reached: Reached| {
            let reopened = self.gate.servers.reopened(&session.number, &reached.policy.id);
            let link = reopened.or_else(|| session.link(&reached.policy.id).cloned());
            // Who keeps nothing by session is spoken to without one.
            let link = link.or_else(|| {
                let known = reached.server.catalogue()?;
                (!known.is_stateful && !known.revision.is_stateless())
                    .then(|| Link { revision: known.revision, session: None })
            })?;
            Some((reached, link))
        };
        self.view.reached().into_iter().filter_map(with_link).collect()
    }
}

impl Speech {
    pub(super) fn session(&self) -> Option<&Session> {
        match self {
            Self::Session(session) => Some(session),
            Self::Alone(_) => None,
        }
    }

    // What servers may ask of the client.
    pub(super) fn client(&self) -> ClientCapabilities {
        match self {
            Self::Session(session) => session.client,
            Self::Alone(client) => *client,
        }
    }
}

fn is_named(name: &ServerName, other: &ServerName) -> bool {
    name.as_str() == other.as_str()
}
