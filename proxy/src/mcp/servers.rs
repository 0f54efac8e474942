//! All servers of tools of the policy that holds, each with what is known of it.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tollgate_mcp::{
    ServerName,
    capability::{ClientCapabilities, ServerCapabilities},
};
use tollgate_policy::{
    id::{McpServerId, UserId},
    mcp::McpServer,
};

use super::{
    address::Address,
    catalogue::{self, Catalogue, Line, Link},
    openapi::Interface,
    people::People,
    tokens::Source,
    wire::Unreached,
};

/// So many sessions that had to be opened anew are remembered; the oldest ones go.
const REOPENED_MAX: usize = 10_000;
/// How long a client waits for a server of which nothing is known yet, and for one at which its user may have signed in meanwhile.
const FIRST_MAX: Duration = Duration::from_secs(5);
const CONSENT_MAX: Duration = Duration::from_secs(2);
/// So many sessions that their clients have ended are remembered.
const ENDED_MAX: usize = 1_000;

/// The servers of tools. There is one in a replica.
pub(crate) struct Servers {
    all: ArcSwap<HashMap<McpServerId, Arc<Server>>>,
    people: People,
    source: Arc<dyn Source>,
    // How often what is offered has changed.
    changes: watch::Sender<u64>,
    reopened: Mutex<Reopened>,
    ended: Mutex<VecDeque<[u8; 16]>>,
}

/// One of them, at one address.
pub(crate) struct Server {
    /// Its name, for prefixes.
    pub(crate) name: ServerName,
    /// Where policy has it.
    pub(super) url: Arc<str>,
    /// Where it is; or why nobody can say.
    pub(crate) address: Result<Address, Unreached>,
    /// The document by which it is spoken to, where it is an HTTP API.
    pub(super) interface: Option<Arc<Interface>>,
    catalogue: ArcSwapOption<Catalogue>,
    // With which it is asked what it offers; clients without a session of their own use it as well.
    link: Mutex<Option<Link>>,
    problem: Mutex<Option<Unreached>>,
    stale: Notify,
    // How often it was asked.
    asked: watch::Sender<u64>,
    // How often it is to be tested, and was when it was asked last.
    tests: AtomicU64,
    tested: AtomicU64,
    calls: AtomicU32,
    // What it can in a session; and whether it has none, although it was asked.
    in_session: Mutex<Option<ServerCapabilities>>,
    lacks_sessions: AtomicBool,
}

/// A call that is open at a server.
pub(crate) struct Place(Arc<Server>);

// Sessions with servers, by the client's session: those that a server had ended, or that the client's session does not carry.
#[derive(Default)]
struct Reopened {
    links: HashMap<([u8; 16], McpServerId), (u64, Link)>,
    next: u64,
}

// === impl Servers ===

impl Servers {
    /// None yet. What OAuth is for is shown tokens of that source.
    pub(crate) fn new(source: Arc<dyn Source>) -> Self {
        Self {
            all: ArcSwap::default(),
            people: People::default(),
            source,
            changes: watch::Sender::default(),
            reopened: Mutex::default(),
            ended: Mutex::default(),
        }
    }

    /// The server of that policy, as it is to that user.
    #[must_use]
    pub(crate) fn get(&self, policy: &McpServer, user: Option<&UserId>) -> Option<Arc<Server>> {
        let server = self.all.load().get(&policy.id).map(Arc::clone)?;
        match user.filter(|_| policy.auth.is_per_user()) {
            Some(user) => self.people.get(policy, &server, user, &self.source),
            None => Some(server),
        }
    }

    /// Who gives tokens.
    pub(super) const fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// Those that are another one to each user.
    pub(super) const fn people(&self) -> &People {
        &self.people
    }

    /// All of them.
    #[must_use]
    pub(super) fn all(&self) -> Arc<HashMap<McpServerId, Arc<Server>>> {
        self.all.load_full()
    }

    /// Wakes when something else is offered.
    #[must_use]
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Takes the place of what was there.
    pub(super) fn put(&self, all: HashMap<McpServerId, Arc<Server>>) {
        self.people.tidy(&all);
        self.all.store(Arc::new(all));
        self.changed();
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// The link of a client's session with a server that was opened here.
    #[must_use]
    pub(crate) fn reopened(&self, session: &[u8; 16], server: &McpServerId) -> Option<Link> {
        lock(&self.reopened).links.get(&(*session, server.clone())).map(|(_, link)| link.clone())
    }

    /// Remembers one.
    pub(crate) fn remember(&self, session: [u8; 16], server: McpServerId, link: Link) {
        let mut reopened = lock(&self.reopened);
        let number = reopened.next;
        reopened.next += 1;
        reopened.links.insert((session, server), (number, link));
        if reopened.links.len() > REOPENED_MAX {
            // Half of them at once, so that it is seldom done.
            let oldest = number.saturating_sub(REOPENED_MAX as u64 / 2);
            reopened.links.retain(|_, (number, _)| *number > oldest);
        }
    }

    /// Ends a client's session: as far as this replica goes.
    pub(crate) fn end(&self, session: [u8; 16]) {
        lock(&self.reopened).links.retain(|(other, _), _| *other != session);
        let mut ended = lock(&self.ended);
        if ended.len() >= ENDED_MAX {
            ended.pop_front();
        }
        ended.push_back(session);
    }

    /// Whether a client's session was ended here.
    #[must_use]
    pub(crate) fn has_ended(&self, session: &[u8; 16]) -> bool {
        lock(&self.ended).contains(session)
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers").field("all", &self.all.load().len()).finish_non_exhaustive()
    }
}

// === impl Server ===

impl Server {
    /// A server of which nothing is known yet; `None`: its name cannot stand before others.
    pub(super) fn new(
        policy: &McpServer,
        interface: Option<Arc<Interface>>,
        address: Result<Address, Unreached>,
    ) -> Option<Self> {
        Some(Self {
            name: ServerName::parse(&policy.name).ok()?,
            url: Arc::clone(&policy.url),
            address,
            interface,
            catalogue: ArcSwapOption::empty(),
            link: Mutex::default(),
            problem: Mutex::default(),
            stale: Notify::new(),
            asked: watch::Sender::default(),
            tests: AtomicU64::new(policy.tests),
            tested: AtomicU64::new(0),
            calls: AtomicU32::new(0),
            in_session: Mutex::default(),
            lacks_sessions: AtomicBool::new(false),
        })
    }

    /// Tokens for it that were got before so many were taken back are no good, as far as it is shown any.
    pub(super) fn taken_back(&self, grants: u64) {
        if let Ok(address) = &self.address
            && address.taken_back(grants)
        {
            self.doubt();
        }
    }

    /// Lets it be asked at once where it is to be tested so many times, and not as many as before: fewer are so after the control plane's database
    /// was restored.
    pub(super) fn test(&self, tests: u64) {
        if self.tests.swap(tests, Ordering::Relaxed) != tests {
            self.doubt();
        }
    }

    /// How often it is to be tested.
    #[must_use]
    pub(super) fn tests(&self) -> u64 {
        self.tests.load(Ordering::Relaxed)
    }

    /// How often it was to be tested when it was asked last. What is read of it afterwards is not from before.
    #[must_use]
    pub(super) fn tested(&self) -> u64 {
        self.tested.load(Ordering::Acquire)
    }

    /// What it offers; `None`: it could not be asked yet.
    #[must_use]
    pub(crate) fn catalogue(&self) -> Option<Arc<Catalogue>> {
        self.catalogue.load_full()
    }

    /// Why it could not be asked last.
    #[must_use]
    pub(crate) fn problem(&self) -> Option<Unreached> {
        lock(&self.problem).clone()
    }

    /// The link with which it was asked last.
    #[must_use]
    pub(crate) fn link(&self) -> Option<Link> {
        lock(&self.link).clone()
    }

    /// Waits, shortly, until something is known of it; where its user has to sign in, whether that was done.
    pub(crate) async fn settle(&self) {
        let mut asked = self.asked.subscribe();
        let patience = match (self.catalogue().is_some(), self.problem()) {
            (_, Some(Unreached::Consent { .. })) => {
                self.doubt();
                CONSENT_MAX
            }
            (false, None) => FIRST_MAX,
            _ => return,
        };
        // Whatever is known then is told.
        let _ = timeout(patience, asked.changed()).await;
    }

    /// Lets it be asked again soon: it has said that something changed, or something was missing.
    pub(crate) fn doubt(&self) {
        self.stale.notify_one();
    }

    pub(super) async fn doubted(&self) {
        self.stale.notified().await;
    }

    /// Takes what was learned when it was to be tested for the so many-th time. Returns whether something else is offered now.
    pub(super) fn learned(&self, learned: Result<(Catalogue, Link), Unreached>, tests: u64) -> bool {
        let is_new = self.take(learned);
        self.tested.store(tests, Ordering::Release);
        self.asked.send_modify(|count| *count += 1);
        is_new
    }

    fn take(&self, learned: Result<(Catalogue, Link), Unreached>) -> bool {
        match learned {
            Ok((catalogue, link)) => {
                *lock(&self.link) = Some(link);
                *lock(&self.problem) = None;
                let before = self.catalogue.load();
                let is_same = before.as_ref().is_some_and(|before| before.is_like(&catalogue));
                if !is_same {
                    self.catalogue.store(Some(Arc::new(catalogue)));
                }
                !is_same
            }
            // What it offered is offered on: a call will tell how it is.
            Err(problem) => {
                *lock(&self.problem) = Some(problem);
                false
            }
        }
    }

    pub(super) fn drop_link(&self) -> Option<Link> {
        lock(&self.link).take()
    }

    /// Opens a session with it, for a client that can do so much; `None`: it has none, and is spoken to without.
    ///
    /// # Errors
    /// Says why it could not be asked.
    pub(crate) async fn open(&self, line: Line<'_>, client: ClientCapabilities) -> Result<Option<Link>, Unreached> {
        match catalogue::open(line, client).await {
            Ok((link, capabilities)) => {
                *lock(&self.in_session) = Some(capabilities);
                Ok(Some(link))
            }
            Err(why) if why.is_no_answer() => Err(why),
            // It said no to a session, and has answered without one.
            Err(_) if self.catalogue().is_some_and(|catalogue| catalogue.revision.is_stateless()) => {
                self.lacks_sessions.store(true, Ordering::Relaxed);
                Ok(None)
            }
            Err(why) => Err(why),
        }
    }

    /// Whether it is known to have no sessions.
    #[must_use]
    pub(crate) fn lacks_sessions(&self) -> bool {
        self.lacks_sessions.load(Ordering::Relaxed)
    }

    /// What it can, in a session or without one.
    #[must_use]
    pub(crate) fn capabilities(&self, in_session: bool) -> ServerCapabilities {
        let in_session = in_session.then(|| *lock(&self.in_session)).flatten();
        in_session.or_else(|| Some(self.catalogue()?.capabilities)).unwrap_or_default()
    }

    /// Takes a place among its open calls; `None`: there are so many already.
    #[must_use]
    pub(crate) fn place(self: &Arc<Self>, most: u32) -> Option<Place> {
        let taken = self.calls.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        (most == 0 || taken < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.0.name).finish()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("name", &self.name).finish_non_exhaustive()
    }
}

// Nothing panics while it is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
