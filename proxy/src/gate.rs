//! The gate: one request on its way through nine rooms, one file each. Each room takes what the room before it gave, by
//! value and with private fields, so that skipping one does not compile.
//!
//! Beside the rooms: [`translate`], the request in the provider's dialect; [`fund`], the budgets of an attempt, and [`pace`], how fast its caller may go; [`ticket`], the promise that a visit is settled; [`operation`], what is called, and [`route`], which path names it;
//! [`credential`], the client's key or credential; [`passage`], which headers pass; [`discovery`], the list of models; [`estimate`], the count of tokens where nobody counts; [`identity`], the
//! ids of requests.

mod ticket;
mod identity;
mod operation;
mod route;
mod credential;
mod passage;

mod receive;
mod authenticate;
mod discovery;
mod estimate;
mod parse;
mod authorize;
mod inspect;
mod fund;
mod pace;
mod reserve;
mod linger;
mod translate;
mod forward;
mod relay;
mod settle;
mod mcp;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};
use tollgate_policy::refusal::{Refusal, RefusalKind};
use tollgate_telemetry::Sampler;

use self::{
    identity::RequestIds,
    receive::Received,
    ticket::{End, Refused, Ticket, Verdict},
};
use crate::{
    clock,
    credentials::Credentials,
    current::Holder,
    evidence::{self, REASON_BYTES_MAX},
    funds::Funds,
    mcp::Servers,
    rates::Rates,
    refuse::{self, Detail, Shape},
    spool::Spool,
    upstream::Upstream,
};

pub(crate) use self::{
    linger::{Lingerer, Lingering, open as lingering},
    pace::SessionBook,
    relay::Body,
    settle::{Door, Settled, Settler, Words, open as settlement},
    ticket::Facts,
};

// What of an unread body is taken off the wire before a refusal is sent: a connection that is closed with unread bytes is
// reset, and the client would see that in place of the sentence. Nothing of it is kept.
const DRAINED_BYTES_MAX: usize = 2 * parse::BODY_BYTES_MAX;
const DRAINED_TIME_MAX: Duration = Duration::from_secs(5);

/// What the rooms need. There is one in a replica.
pub(crate) struct Gate {
    holder: Arc<Holder>,
    upstream: Arc<Upstream>,
    servers: Arc<Servers>,
    origins: Arc<[String]>,
    spool: Spool,
    funds: Arc<Funds>,
    rates: Rates,
    sessions: Arc<SessionBook>,
    credentials: Credentials,
    lingering: Lingering,
    door: Door,
    sampler: Sampler,
    first_byte_timeout: Duration,
    silence_max: Duration,
    region: Arc<str>,
    request_ids: RequestIds,
    words: Words,
    // The numbers of visits in the spool, from 1.
    visits: AtomicU64,
    // The choices of credentials for requests without a session.
    seeds: AtomicU64,
}

/// What a gate is made of.
pub(crate) struct Parts {
    /// What holds now.
    pub(crate) holder: Arc<Holder>,
    /// The way out.
    pub(crate) upstream: Arc<Upstream>,
    /// The servers of tools.
    pub(crate) servers: Arc<Servers>,
    /// From which origins of the web servers of tools are spoken to, besides this machine's.
    pub(crate) origins: Arc<[String]>,
    /// Where intents are written.
    pub(crate) spool: Spool,
    /// What is borrowed from budgets.
    pub(crate) funds: Arc<Funds>,
    /// How fast callers may go.
    pub(crate) rates: Rates,
    /// The agent sessions that are limited.
    pub(crate) sessions: Arc<SessionBook>,
    /// The way to whoever waits for requests that lost their client.
    pub(crate) lingering: Lingering,
    /// The way to the settler.
    pub(crate) door: Door,
    /// Which requests are traced.
    pub(crate) sampler: Sampler,
    /// How long a provider may take to begin its answer.
    pub(crate) first_byte_timeout: Duration,
    /// How long a provider may fall silent in the middle of its answer.
    pub(crate) silence_max: Duration,
    /// Where the replica runs; empty: it does not say.
    pub(crate) region: Arc<str>,
}

/// The rooms, in order.
async fn pass(gate: &Gate, ticket: Box<Ticket>, request: Request<Incoming>) -> Verdict<Response<Body>> {
    let arrival = match receive::receive(gate, ticket, request)? {
        Received::Probe(ticket) => return Ok(probe(ticket)),
        Received::Arrival(arrival) => arrival,
    };
    let visitor = authenticate::authenticate(gate, arrival)?;
    if visitor.operation().is_mcp() {
        return mcp::serve(gate, visitor).await;
    }
    if visitor.operation().is_list() {
        return discovery::discover(visitor).map(|answer| answer.map(Body::whole));
    }
    let ask = parse::parse(visitor).await?;
    let granted = authorize::authorize(gate, ask)?;
    if granted.ticket.operation.is_count() && !estimate::is_counted(&granted) {
        return estimate::estimate(granted).map(|answer| answer.map(Body::whole));
    }
    let cleared = inspect::inspect(granted).await?;
    let held = reserve::reserve(gate, cleared).await?;
    let answering = forward::forward(gate, held).await?;
    relay::relay(gate, answering).await
}

// === impl Gate ===

impl Gate {
    /// Makes the gate.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            holder,
            upstream,
            servers,
            origins,
            spool,
            funds,
            rates,
            sessions,
            lingering,
            door,
            sampler,
            first_byte_timeout,
            silence_max,
            region,
        } = parts;
        Self {
            holder,
            upstream,
            servers,
            origins,
            spool,
            funds,
            rates,
            sessions,
            lingering,
            door,
            sampler,
            first_byte_timeout,
            silence_max,
            region,
            credentials: Credentials::default(),
            request_ids: RequestIds::new(),
            words: Words::default(),
            visits: AtomicU64::new(1),
            seeds: AtomicU64::new(0),
        }
    }

    /// From now on, answers that are dropped are dropped by us.
    pub(crate) fn end(&self) {
        self.door.end();
    }

    /// How many visits are open or wait to be settled.
    pub(crate) fn open(&self) -> usize {
        self.door.taken()
    }

    /// Answers one request, which came from there. It always does: a refusal, and a failure of our own, are answers too.
    pub(crate) async fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> Response<Body> {
        let (now, arrived) = (Instant::now(), clock::wall());
        let shape = route::shape(request.uri().path());
        let request_id = self.request_ids.next(arrived);
        let Some(place) = self.door.place() else {
            // Nobody will settle it.
            self.spool.miss(arrived);
            let full = Refusal::new(
                RefusalKind::Backlog,
                "This Tollgate replica has more requests open than it can hold. Try again in a few seconds.",
            );
            let mut answer = refuse::answer(shape, &full, Detail::None, &request_id).map(Body::whole);
            refuse::identify_for(shape, &mut answer, &request_id);
            return answer;
        };
        let mut ticket = Ticket::open(place, Arc::clone(&request_id), arrived, now);
        ticket.circumstances.source_address = Some(peer);
        let mut answer = match AssertUnwindSafe(pass(self, ticket, request)).catch_unwind().await {
            Ok(Ok(answer)) => answer,
            Ok(Err(refused)) => refusal(*refused, shape).await.map(Body::whole),
            // The ticket was dropped on the way out, and so is settled.
            Err(_) => refuse::fault(shape, &request_id).map(Body::whole),
        };
        refuse::identify_for(shape, &mut answer, &request_id);
        answer
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("upstream", &self.upstream).field("spool", &self.spool).finish_non_exhaustive()
    }
}

// Somebody is here.
fn probe(mut ticket: Box<Ticket>) -> Response<Body> {
    let mut answer = Response::new(Body::whole(Bytes::new()));
    refuse::identify(&mut answer, &ticket.request_id);
    ticket.status = answer.status().as_u16();
    ticket.close(End::Completed);
    answer
}

// The answer to a refused visit, in the dialect of its path, and the end of its ticket.
async fn refusal(refused: Refused, shape: Shape) -> Response<Bytes> {
    let Refused { mut ticket, refusal, detail, unread } = refused;
    let answer = refuse::answer(shape, &refusal, detail, &ticket.request_id);
    // What is wrong with a body is told in words of that body, which no log may have.
    if refusal.kind() != RefusalKind::Malformed {
        ticket.circumstances.reason = evidence::bounded(refusal.public().as_bytes(), REASON_BYTES_MAX);
    }
    ticket.status = answer.status().as_u16();
    ticket.close(End::Refused(refusal.kind()));
    if let Some(body) = unread {
        drain(body).await;
    }
    answer
}

async fn drain(body: Incoming) {
    let mut body = Limited::new(body, DRAINED_BYTES_MAX);
    let drained = async { while let Some(Ok(_)) = body.frame().await {} };
    // What is not here by now is left to the connection's end.
    let _ = timeout(DRAINED_TIME_MAX, drained).await;
}
