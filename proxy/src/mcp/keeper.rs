//! Asks each server of tools what it offers: when policy names it, when it says that something changed, and every minute. A server that is down is
//! asked again with growing pauses, and keeps nobody waiting.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use futures_util::future::Either;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tollgate_mcp::{
    Json, Message, Method, Revision,
    failure::{self, code},
    route, write,
};
use tollgate_policy::{
    id::McpServerId,
    mcp::{McpAuth, McpServer, Transport},
};

use super::{
    address::Address,
    catalogue::{self, Line, Link, free, with_meta},
    events::Events,
    openapi::Interface,
    people::Wanted,
    servers::{Server, Servers},
    stdio::Processes,
    wire::{Bounds, Head, Said, Unreached},
};
use crate::{
    backoff::Backoff,
    current::{Current, Holder},
    upstream::Upstream,
};

/// How often a server is asked that says nothing.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// Between attempts at one that is down, with jitter.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// How often it is asked whether a user has signed in at theirs.
const CONSENT_EVERY: Duration = Duration::from_secs(5);
/// How often users' servers are looked through for those of which nobody makes use.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// A server that says all the time that something changed is asked no oftener.
const PAUSE: Duration = Duration::from_millis(200);
/// How long asking for everything may take.
const LEARN_MAX: Duration = Duration::from_secs(60);
/// How long a stream may take to stand, and the longest message on one.
const STREAM_OPENS_MAX: Duration = Duration::from_secs(10);
const STREAM_BYTES_MAX: usize = 1024 * 1024;

/// Keeps what is known of servers in step with policy and with them. There is one in a replica.
pub(crate) struct Keeper {
    holder: Arc<Holder>,
    servers: Arc<Servers>,
    upstream: Arc<Upstream>,
    processes: Arc<Processes>,
    told: watch::Sender<u64>,
}

// What must be the same for a server to stay the one that it was.
#[derive(Clone, Eq, PartialEq)]
struct Place {
    name: Arc<str>,
    url: Arc<str>,
    document: Option<Arc<str>>,
    allow_private: bool,
    transport: Transport,
    auth: McpAuth,
    secret: Option<String>,
}

struct Kept {
    place: Place,
    server: Arc<Server>,
    asking: AbortHandle,
    _ends: Option<DropGuard>,
}

impl Keeper {
    /// Keeps these servers.
    pub(crate) fn new(
        holder: Arc<Holder>,
        servers: Arc<Servers>,
        upstream: Arc<Upstream>,
        processes: Arc<Processes>,
    ) -> Self {
        Self { holder, servers, upstream, processes, told: watch::Sender::new(0) }
    }

    /// Wakes whenever a server was asked.
    #[must_use]
    pub(crate) fn asked(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    /// Runs until `stop` is cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut changes = self.holder.changes();
        let mut asking = JoinSet::new();
        let mut kept = HashMap::new();
        let mut known = None;
        loop {
            changes.mark_unchanged();
            if let Some(current) = self.holder.load()
                && !known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &current))
            {
                self.follow(&current, &mut kept, &mut asking);
                known = Some(current);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = asking.join_next() => {}
                changed = changes.changed() => if changed.is_err() { return },
                () = self.servers.people().wanted() => self.ask_people(&mut asking),
                () = sleep(TIDY_EVERY) => self.servers.people().tidy(&self.servers.all()),
            }
        }
    }

    fn follow(&self, current: &Current, kept: &mut HashMap<McpServerId, Kept>, asking: &mut JoinSet<()>) {
        let mut next = HashMap::new();
        let named = current.snapshot.mcp_servers().iter().filter(|policy| !policy.disabled);
        for policy in named {
            let place = Place::of(policy, current);
            let same = kept.remove(&policy.id).filter(|kept| {
                let is_same = kept.place == place;
                if !is_same {
                    kept.asking.abort();
                }
                is_same
            });
            let one = same.or_else(|| {
                let interface = Interface::of(policy);
                let (source, processes) = (self.servers.source(), &self.processes);
                let address = Address::of(policy, interface.as_ref(), current, source, processes);
                let ends = address.as_ref().ok().and_then(Address::ends);
                let server = Arc::new(Server::new(policy, interface, address)?);
                let (upstream, servers, told) =
                    (Arc::clone(&self.upstream), Arc::clone(&self.servers), self.told.clone());
                let asking = asking.spawn(keep(upstream, servers, Arc::clone(&server), told));
                Some(Kept { place, server, asking, _ends: ends })
            });
            if let Some(one) = &one {
                one.server.test(policy.tests);
            }
            next.extend(one.map(|one| (policy.id.clone(), one)));
        }
        for gone in kept.drain() {
            gone.1.asking.abort();
        }
        for policy in current.snapshot.mcp_servers().iter().filter(|policy| policy.auth.is_oauth()) {
            let own = next.get(&policy.id).map(|kept| Arc::clone(&kept.server));
            for server in self.servers.people().of(&policy.id).iter().chain(&own) {
                server.taken_back(policy.grants);
            }
        }
        self.servers.put(next.iter().map(|(id, kept)| (id.clone(), Arc::clone(&kept.server))).collect());
        *kept = next;
    }
}

impl Keeper {
    // Asks what users' servers offer, for as long as somebody makes use of them.
    fn ask_people(&self, asking: &mut JoinSet<()>) {
        for Wanted { server, stop } in self.servers.people().take_wanted() {
            let (upstream, servers, told) = (Arc::clone(&self.upstream), Arc::clone(&self.servers), self.told.clone());
            asking.spawn(async move {
                stop.run_until_cancelled(keep(upstream, servers, server, told)).await;
            });
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Place {
    fn of(policy: &McpServer, current: &Current) -> Self {
        let secret = policy.credential.as_ref().and_then(|credential| current.secrets.get(&credential.id));
        Self {
            name: Arc::clone(&policy.name),
            url: Arc::clone(&policy.url),
            document: policy.document.clone(),
            allow_private: policy.allow_private,
            transport: policy.transport,
            auth: policy.auth.clone(),
            secret: secret.map(|secret| secret.expose().to_owned()),
        }
    }
}

async fn keep(upstream: Arc<Upstream>, servers: Arc<Servers>, server: Arc<Server>, told: watch::Sender<u64>) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST);
    let Ok(address) = &server.address else {
        if let Err(problem) = &server.address {
            if !problem.is_of_user() {
                tracing::warn!(server = server.name.as_str(), %problem, "server of tools cannot be used");
            }
            // What keeps it from being asked is told again to whoever wants it tested.
            loop {
                server.learned(Err(problem.clone()), server.tests());
                told.send_modify(|count| *count += 1);
                server.doubted().await;
                sleep(PAUSE).await;
            }
        }
        return;
    };
    let line = Line { upstream: &upstream, address };
    let mut stream = None;
    loop {
        // A process stays the server that it was, and is not greeted again.
        let known = address.is_lasting().then(|| server.link().zip(server.catalogue())).flatten();
        let tests = server.tests();
        let learned = timeout(LEARN_MAX, catalogue::learn(line, known)).await.unwrap_or(Err(Unreached::Late));
        let wait = match &learned {
            Ok((_, link)) => {
                backoff.reset();
                if stream.is_none() {
                    stream = standing(line, link).await;
                }
                ASK_EVERY
            }
            // Somebody may be signing in there at this moment.
            Err(Unreached::Consent { .. }) => CONSENT_EVERY,
            Err(problem) => {
                if server.problem().as_ref() != Some(problem) {
                    tracing::warn!(server = server.name.as_str(), %problem, "server of tools does not answer");
                }
                stream = None;
                if let Some(link) = server.drop_link().filter(|_| address.is_lasting()) {
                    let head = Head { session: link.session, headers: Vec::new() };
                    line.address.leave(line.upstream, &free(), &head, Instant::now()).await;
                }
                backoff.next()
            }
        };
        if server.learned(learned, tests) {
            tracing::info!(server = server.name.as_str(), "server of tools offers something else");
            servers.changed();
        }
        told.send_modify(|count| *count += 1);
        // What a document says stays as it is.
        if address.interface().is_some() {
            return;
        }
        let link = server.link();
        let heard = match (&mut stream, &link) {
            (Some(events), Some(link)) => Either::Left(change(line, link, events)),
            _ => Either::Right(std::future::pending()),
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = server.doubted() => sleep(PAUSE).await,
            is_on = heard => {
                if !is_on {
                    stream = None;
                }
                sleep(PAUSE).await;
            }
        }
    }
}

// The stream on which a server tells that its lists have changed, if it has one.
async fn standing(line: Line<'_>, link: &Link) -> Option<Events> {
    let bounds = Bounds { until: Instant::now() + STREAM_OPENS_MAX, bytes_max: STREAM_BYTES_MAX };
    if link.revision.is_stateless() {
        let yes = || Json::from(true);
        let filter = [("toolsListChanged", yes()), ("promptsListChanged", yes()), ("resourcesListChanged", yes())];
        let params = with_meta(Some(Json::object([("notifications", Json::object(filter))])), Default::default());
        let (head, body) = request(link, "tollgate-listen", "subscriptions/listen", &params);
        let reply = line.address.post(line.upstream, &free(), &head, body, bounds).await.ok()?;
        return match reply.said {
            Said::Events(events) => Some(events),
            Said::Nothing | Said::Whole(_) => None,
        };
    }
    link.session.as_ref()?;
    let mut head = Head { session: link.session.clone(), headers: Vec::new() };
    if link.revision >= Revision::V2025_06_18 {
        head.headers.push((route::PROTOCOL_VERSION.into(), link.revision.word().to_owned()));
    }
    line.address.listen(line.upstream, &free(), &head, bounds).await.ok().flatten()
}

fn request(link: &Link, id: &str, method: &str, params: &Json<'static>) -> (Head, bytes::Bytes) {
    let headers = route::outgoing(link.revision, method, &tollgate_mcp::Params::from(params.members()), None);
    let body = write::request(&tollgate_mcp::Id::of_text(id), method, Some(params));
    (Head { session: link.session.clone(), headers }, body.into())
}

// Waits until the server says that a list has changed; false: its stream has ended.
async fn change(line: Line<'_>, link: &Link, events: &mut Events) -> bool {
    while let Ok(Some(message)) = events.next().await {
        match Message::parse(&message) {
            Ok(Message::Notification(said)) => match Method::of_name(&said.method) {
                Method::ToolsChanged | Method::PromptsChanged | Method::ResourcesChanged => return true,
                _ => {}
            },
            // Here is no client who could, and the server would wait.
            Ok(Message::Request(asked)) => {
                let answer = match Method::of_name(&asked.method) {
                    Method::Ping => write::response(&asked.id, &Json::empty_object()),
                    _ => failure::answer(Some(&asked.id), code::METHOD_NOT_FOUND, "No client is there to answer this."),
                };
                // Whether it takes that or not, it goes on or gives up.
                let _ = catalogue::tell(line, link, answer.into()).await;
            }
            _ => {}
        }
    }
    false
}
