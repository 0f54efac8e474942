//! How clients begin: with a session that `initialize` opens, or, since 2026-07-28, with nothing; and how a session ends.

use std::{borrow::Cow, sync::Arc, time::Duration};

use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Response};
use tokio::time::{Instant, timeout};
use tollgate_mcp::{
    Id, Json, Request, Revision,
    capability::{self, ClientCapabilities, Listed, ServerCapabilities},
    failure::code,
    flag::flags_of_text,
    list::Caching,
    write,
};
use tollgate_policy::refusal::{Refusal, RefusalKind};

use super::{Body, Reached, Visit};
use crate::{
    clock,
    gate::ticket::Verdict,
    mcp::{
        Head, Session,
        catalogue::{US, free},
        wire,
    },
};

/// How long the servers of a session may take to open theirs. One that takes longer is opened when it is needed.
const OPEN_MAX: Duration = Duration::from_secs(3);
/// How long they may take to end it.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// Begins a session.
pub(super) async fn initialize(visit: Visit<'_>, request: &Request<'_>) -> Verdict<Response<Body>> {
    let params = &request.params;
    let (Some(asked), Some(capabilities)) = (params.text("protocolVersion"), params.object("capabilities")) else {
        let sentence = "`initialize` needs a protocolVersion and capabilities.";
        let refusal = Refusal::new(RefusalKind::Malformed, sentence);
        let error = tollgate_mcp::failure::error(code::INVALID_PARAMS, sentence, None);
        return Ok(visit.refuse_with(&request.id, Revision::LATEST_STATEFUL, refusal.kind(), &error, sentence));
    };
    let revision = Revision::answer_to(&asked);
    let client = ClientCapabilities::read(&capabilities);
    let only = visit.view.only.as_ref().map(|only| only.id.clone());
    let begun = Session::begin(only, revision, client, clock::wall());
    let Ok(mut session) = begun else { return Ok(visit.no_random(&request.id)) };
    let reached = visit.view.reached();
    let opening = reached.iter().map(|reached| open(&visit, reached, client));
    session.links = join_all(opening).await.into_iter().flatten().collect();
    let Ok(sealed) = session.seal(&visit.view.current.pepper, &visit.view.caller.key().id) else {
        return Ok(visit.no_random(&request.id));
    };
    let instructions = instructions(&visit, &reached);
    let result = capability::initialized(revision, &US, together(&reached, true), instructions.as_deref());
    let mut answer = visit.result(&request.id, &result);
    if let Ok(id) = HeaderValue::from_str(&sealed) {
        answer.headers_mut().insert(wire::SESSION, id);
    }
    Ok(answer)
}

/// Says what there is to a client without sessions.
pub(super) fn discover(visit: Visit<'_>, id: &Id<'_>) -> Response<Body> {
    let reached = visit.view.reached();
    let instructions = instructions(&visit, &reached);
    let result = capability::discovered(&US, together(&reached, false), instructions.as_deref(), Caching::NONE);
    visit.result(id, &result)
}

/// Ends a session: those with servers that it carries, and those that were opened for it here.
pub(super) async fn end(visit: Visit<'_>, headers: &HeaderMap) -> Verdict<Response<Body>> {
    let session = match visit.session(headers) {
        Ok(session) => session,
        Err(missing) => return Ok(visit.without_session(None, missing)),
    };
    let until = Instant::now() + LEAVE_MAX;
    let reached = visit.view.reached();
    let leaving = reached.iter().filter_map(|reached| {
        let line = visit.line(reached).ok()?;
        let reopened = visit.gate.servers.reopened(&session.number, &reached.policy.id);
        let link = reopened.or_else(|| session.link(&reached.policy.id).cloned())?;
        link.session.as_ref()?;
        let head = Head { session: link.session.clone(), headers: version(link.revision) };
        Some(async move { line.address.leave(line.upstream, &free(), &head, until).await })
    });
    join_all(leaving).await;
    visit.gate.servers.end(session.number);
    Ok(visit.done(bytes::Bytes::new()))
}

/// The header of a revision.
pub(super) fn version(revision: Revision) -> Vec<(Cow<'static, str>, String)> {
    if revision < Revision::V2025_06_18 {
        return Vec::new();
    }
    vec![(tollgate_mcp::route::PROTOCOL_VERSION.into(), revision.word().to_owned())]
}

// Only servers that have sessions are greeted now, and none that did not answer last: nobody waits for what is down.
async fn open(
    visit: &Visit<'_>,
    reached: &Reached,
    client: ClientCapabilities,
) -> Option<(tollgate_policy::id::McpServerId, crate::mcp::Link)> {
    let catalogue = reached.server.catalogue()?;
    let may_have = catalogue.is_stateful || (catalogue.revision.is_stateless() && !reached.server.lacks_sessions());
    if !may_have || reached.server.problem().is_some() {
        return None;
    }
    let line = visit.line(reached).ok()?;
    match timeout(OPEN_MAX, reached.server.open(line, client)).await {
        Ok(Ok(link)) => link.map(|link| (reached.policy.id.clone(), link)),
        Ok(Err(_)) | Err(_) => {
            reached.server.doubt();
            None
        }
    }
}

// What all of them can. That lists change we tell ourselves; single resources only a session can follow.
fn together(reached: &[Reached], has_session: bool) -> ServerCapabilities {
    let all = reached.iter().fold(ServerCapabilities::default(), |all, reached| {
        let one = reached.server.capabilities(has_session);
        let (subscribe, logging) = (one.subscribe && has_session, one.logging && has_session);
        all.or(ServerCapabilities { subscribe, logging, ..one })
    });
    let telling = |listed: Option<Listed>| listed.map(|_| Listed { changes: true });
    ServerCapabilities {
        // A server that is down now may have tools later.
        tools: Some(Listed { changes: true }),
        prompts: telling(all.prompts),
        resources: telling(all.resources),
        ..all
    }
}

// What hides something from people is not given to a model. Of one server alone the words stand as they are.
fn instructions(visit: &Visit<'_>, reached: &[Reached]) -> Option<String> {
    let said: Vec<_> = reached
        .iter()
        .filter_map(|reached| {
            let catalogue = reached.server.catalogue()?;
            let text = catalogue.instructions.clone()?;
            flags_of_text("instructions", &text).is_empty().then(|| (Arc::clone(&reached.server), text))
        })
        .collect();
    match (&visit.view.only, said.as_slice()) {
        (Some(_), [(_, text)]) => Some(text.clone()),
        _ => capability::instructions(said.iter().map(|(server, text)| (&server.name, text.as_str()))),
    }
}

impl Visit<'_> {
    fn no_random(self, id: &Id<'_>) -> Response<Body> {
        let refusal = Refusal::new(
            RefusalKind::NotReady,
            "This Tollgate replica could not begin a session. Try again in a few seconds.",
        );
        let error: Json<'_> = tollgate_mcp::failure::error(code::INTERNAL_ERROR, refusal.public(), None);
        let body = write::failure(Some(id), &error);
        self.close(refusal.kind(), http::StatusCode::SERVICE_UNAVAILABLE, body)
    }
}
