//! Servers of tools that are another one to each user: what one of them is shown is got for a user, and what it offers may be theirs alone. They are
//! there for as long as somebody makes use of them.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use tollgate_policy::{
    id::{McpServerId, UserId},
    mcp::McpServer,
};

use super::{address::Address, servers::Server, tokens::Source};

/// For how long one is kept of which nobody makes use.
const UNUSED_MAX: Duration = Duration::from_mins(15);
/// The most that are kept; the ones go that were not used for the longest time.
const PEOPLE_MAX: usize = 5_000;

/// The servers of users.
#[derive(Default)]
pub(super) struct People {
    all: Mutex<HashMap<(McpServerId, UserId), Person>>,
    wanted: Notify,
}

/// One of them that nobody asks yet.
pub(super) struct Wanted {
    /// It.
    pub(super) server: Arc<Server>,
    /// Ends the asking.
    pub(super) stop: CancellationToken,
}

struct Person {
    server: Arc<Server>,
    // What stands for it towards whoever is no user: it is another one when policy has moved it.
    of: Arc<Server>,
    used: Instant,
    stop: CancellationToken,
    is_asked: bool,
    _asking: DropGuard,
}

// === impl People ===

impl People {
    /// The server as it is to a user.
    pub(super) fn get(
        &self,
        policy: &McpServer,
        of: &Arc<Server>,
        user: &UserId,
        source: &Arc<dyn Source>,
    ) -> Option<Arc<Server>> {
        let mut all = self.lock();
        let key = (policy.id.clone(), user.clone());
        if let Some(person) = all.get_mut(&key).filter(|person| Arc::ptr_eq(&person.of, of)) {
            person.used = Instant::now();
            return Some(Arc::clone(&person.server));
        }
        let interface = of.interface.clone();
        let address = Address::of_user(policy, interface.as_ref(), user, source);
        let server = Arc::new(Server::new(policy, interface, address)?);
        let stop = CancellationToken::new();
        let person = Person {
            server: Arc::clone(&server),
            of: Arc::clone(of),
            used: Instant::now(),
            stop: stop.clone(),
            is_asked: false,
            _asking: stop.drop_guard(),
        };
        if all.len() >= PEOPLE_MAX {
            let unused = all.iter().min_by_key(|(_, person)| person.used).map(|(key, _)| key.clone());
            unused.and_then(|key| all.remove(&key));
        }
        all.insert(key, person);
        drop(all);
        self.wanted.notify_one();
        Some(server)
    }

    /// All of a server, for whoever tells what it offers.
    pub(super) fn of(&self, id: &McpServerId) -> Vec<Arc<Server>> {
        let all = self.lock();
        all.iter().filter(|((of, _), _)| of == id).map(|(_, person)| Arc::clone(&person.server)).collect()
    }

    /// Waits until there is one that nobody asks.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Those that nobody asks yet. Whoever takes them asks them.
    pub(super) fn take_wanted(&self) -> Vec<Wanted> {
        let mut all = self.lock();
        let unasked = all.values_mut().filter(|person| !person.is_asked);
        let take = |person: &mut Person| {
            person.is_asked = true;
            Wanted { server: Arc::clone(&person.server), stop: person.stop.clone() }
        };
        unasked.map(take).collect()
    }

    /// Keeps those of the servers that there are, and of them those that are made use of.
    pub(super) fn tidy(&self, servers: &HashMap<McpServerId, Arc<Server>>) {
        let is_there = |id: &McpServerId, of: &Arc<Server>| servers.get(id).is_some_and(|there| Arc::ptr_eq(there, of));
        self.lock().retain(|(id, _), person| is_there(id, &person.of) && person.used.elapsed() < UNUSED_MAX);
    }

    // Nothing panics while it is held.
    fn lock(&self) -> MutexGuard<'_, HashMap<(McpServerId, UserId), Person>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for People {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("People").field("all", &self.lock().len()).finish_non_exhaustive()
    }
}
