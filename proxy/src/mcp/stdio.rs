//! Servers that run as processes of this replica and speak over their standard input and output (Model Context Protocol, "stdio"), behind the
//! same interface as those that are reached over HTTP.
//!
//! A session with such a server is a process of its own: what it keeps by session is then kept apart by the system. Messages without a session, of
//! the revisions that have none, go to one process that all share. `process`: what is written to one, and what it writes; `open`: the requests that it
//! has not answered, and for which of them each of its messages is; `heard`: what comes for one of them. `running`: how one is started, read, and ended.
//! Which commands there are is said by the replica's own configuration alone.

mod heard;
mod open;
mod process;
mod running;

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tollgate_mcp::{Message, Method, Request};
use tollgate_policy::lease::Hold;

pub(crate) use self::heard::Heard;
use self::{process::Process, running::Running};
use super::{
    events::Events,
    wire::{Bounds, Head, Reply, Said, Unreached},
};
use crate::{
    backoff::Backoff,
    config::{McpProcess, McpProcesses},
};

/// So many processes wait to be taken over by the supervisor, which does nothing else.
const STARTING_MAX: usize = 64;
/// How long a process may take to begin a session, where the caller would wait for less: interpreters load for seconds.
const BEGIN_MAX: Duration = Duration::from_secs(20);
/// How long one that makes room for another may take to end.
const ROOM_MAX: Duration = Duration::from_secs(8);
/// Between starts of a server whose processes end right after they began, with jitter.
const REST_FIRST: Duration = Duration::from_secs(1);
const REST_LONGEST: Duration = Duration::from_secs(60);
/// One that lived for so long did not end because it began.
const STEADY: Duration = Duration::from_secs(30);

/// What this replica may start. There is one in a replica.
pub(crate) struct Processes {
    programs: McpProcesses,
    data_dir: PathBuf,
    starting: mpsc::Sender<Running>,
}

/// Who owns what runs. There is one in a replica.
pub(crate) struct Supervisor {
    starting: mpsc::Receiver<Running>,
}

/// A server that runs as processes.
pub(crate) struct Stdio {
    name: Arc<str>,
    program: McpProcess,
    // Where it runs when its program does not say.
    home: PathBuf,
    starting: mpsc::Sender<Running>,
    // A place for each process that runs, until it is gone.
    places: Arc<Semaphore>,
    crashes: Arc<Mutex<Crashes>>,
    state: Mutex<State>,
    // Cancelled when policy no longer has it.
    gone: CancellationToken,
}

#[derive(Default)]
struct State {
    sessions: HashMap<Arc<str>, Arc<Process>>,
    // For messages without a session. Before it is known whether the server speaks so, it can still be given to a session.
    shared: Option<Arc<Process>>,
    // It was asked in the revisions without sessions, and did not know them.
    is_legacy: bool,
}

/// How often one after the other ended right after it began.
struct Crashes {
    in_a_row: u32,
    backoff: Backoff,
    until: Instant,
}

// === impl Processes ===

impl Processes {
    /// Those of a configuration, and who must run for them to run.
    pub(crate) fn new(programs: McpProcesses, data_dir: PathBuf) -> (Arc<Self>, Supervisor) {
        let (sender, receiver) = mpsc::channel(STARTING_MAX);
        (Arc::new(Self { programs, data_dir, starting: sender }), Supervisor { starting: receiver })
    }

    /// The server of that name, of which nothing runs yet.
    ///
    /// # Errors
    /// When the configuration names no command for it.
    pub(super) fn of(&self, server: &str) -> Result<Arc<Stdio>, Unreached> {
        let program = self.programs.get(server).cloned().ok_or(Unreached::NoProgram)?;
        Ok(Arc::new(Stdio {
            name: server.into(),
            places: Arc::new(Semaphore::new(program.processes_max)),
            program,
            home: self.data_dir.join("mcp").join(server),
            starting: self.starting.clone(),
            crashes: Arc::default(),
            state: Mutex::default(),
            gone: CancellationToken::new(),
        }))
    }
}

impl fmt::Debug for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processes").field("programs", &self.programs).finish_non_exhaustive()
    }
}

// === impl Supervisor ===

impl Supervisor {
    /// Runs until `stop` is cancelled, and every process has ended.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(one) = self.starting.recv() => { running.spawn(one.run(stop.clone())); }
                Some(_) = running.join_next() => {}
            }
        }
        self.starting.close();
        while let Some(one) = self.starting.recv().await {
            running.spawn(one.run(stop.clone()));
        }
        while running.join_next().await.is_some() {}
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").finish_non_exhaustive()
    }
}

// === impl Stdio ===

impl Stdio {
    /// Ends all processes of it when what is returned is dropped.
    pub(super) fn ends(&self) -> DropGuard {
        self.gone.clone().drop_guard()
    }

    /// Sends a message.
    ///
    /// # Errors
    /// Says why nothing of the protocol came back.
    pub(super) async fn post(
        &self,
        _hold: &Hold,
        head: &Head,
        body: &Bytes,
        bounds: Bounds,
    ) -> Result<Reply, Unreached> {
        let message = Message::parse(body).map_err(|_| Unreached::Garbage)?;
        let Message::Request(request) = &message else {
            self.process(head, bounds.until).await?.tell(&message, bounds.until).await?;
            return Ok(Reply { session: None, said: Said::Nothing });
        };
        match Method::of_name(&request.method) {
            Method::Initialize => self.begin(request, bounds).await,
            Method::Discover if head.session.is_none() => self.discover(request, bounds).await,
            _ => {
                let process = self.process(head, bounds.until).await?;
                if head.session.is_none() {
                    process.speaks_without_sessions();
                }
                let said = process.ask(request, bounds).await?.said(bounds).await?;
                Ok(Reply { session: None, said })
            }
        }
    }

    /// The stream of what a session's process says by itself; `None`: there is no such session.
    pub(super) fn listen(&self, head: &Head, bounds: Bounds) -> Option<Events> {
        let process = self.session(head.session.as_ref()?)?;
        Some(Events::of_process(process.stand()?, bounds.bytes_max))
    }

    /// Ends a session, and its process.
    pub(super) fn leave(&self, head: &Head) {
        let Some(session) = &head.session else { return };
        if let Some(process) = self.state().sessions.remove(session) {
            process.end(Unreached::Ended);
        }
    }

    // A process without a session that answers belongs to those who speak so.
    async fn discover(&self, request: &Request<'_>, bounds: Bounds) -> Result<Reply, Unreached> {
        if self.state().is_legacy {
            return Err(Unreached::Garbage);
        }
        let process = self.shared(bounds.until).await?;
        let answer = match process.ask(request, bounds).await {
            Ok(open) => open.answer(bounds.until).await,
            Err(why) => Err(why),
        };
        match answer {
            Ok(message) => {
                if matches!(Message::parse(&message), Ok(Message::Response(_))) {
                    process.speaks_without_sessions();
                } else {
                    self.state().is_legacy = true;
                }
                Ok(Reply { session: None, said: Said::Whole(message) })
            }
            // Servers of older revisions answer what they do not know in many ways, or not at all.
            Err(Unreached::Late) => Err(Unreached::Garbage),
            Err(why) => {
                self.state().is_legacy |= matches!(why, Unreached::Died(_));
                Err(why)
            }
        }
    }

    // Begins a session: in the process that was asked before whether it needs none, or in one of its own.
    async fn begin(&self, request: &Request<'_>, bounds: Bounds) -> Result<Reply, Unreached> {
        let until = bounds.until.max(Instant::now() + BEGIN_MAX);
        let asked = {
            let mut state = self.state();
            let is_free = state.shared.as_ref().is_some_and(|shared| !shared.is_over() && shared.can_begin());
            if is_free { state.shared.take() } else { None }
        };
        let process = match asked {
            Some(process) => process,
            None => self.start(until).await?,
        };
        // Whoever gives up while it begins leaves no process behind.
        let ending = process.ends();
        let answer = process.ask(request, Bounds { until, ..bounds }).await?.answer(until).await?;
        let said = Said::Whole(answer.clone());
        if !matches!(Message::parse(&answer), Ok(Message::Response(_))) {
            return Ok(Reply { session: None, said });
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| Unreached::Start("no random bytes".into()))?;
        let session: Arc<str> = hex::encode(random).into();
        self.state().sessions.insert(Arc::clone(&session), process);
        ending.disarm();
        Ok(Reply { session: Some(session), said })
    }

    async fn process(&self, head: &Head, until: Instant) -> Result<Arc<Process>, Unreached> {
        match &head.session {
            Some(session) => self.session(session).ok_or(Unreached::Ended),
            None => self.shared(until).await,
        }
    }

    fn session(&self, session: &str) -> Option<Arc<Process>> {
        self.state().sessions.get(session).filter(|process| !process.is_over()).map(Arc::clone)
    }

    async fn shared(&self, until: Instant) -> Result<Arc<Process>, Unreached> {
        let living = |state: &State| state.shared.as_ref().filter(|process| !process.is_over()).map(Arc::clone);
        if let Some(process) = living(&self.state()) {
            return Ok(process);
        }
        let started = self.start(until).await?;
        let mut state = self.state();
        // Somebody else may have been first.
        if let Some(process) = living(&state) {
            started.end(Unreached::Ended);
            return Ok(process);
        }
        state.shared = Some(Arc::clone(&started));
        Ok(started)
    }

    async fn start(&self, until: Instant) -> Result<Arc<Process>, Unreached> {
        if self.gone.is_cancelled() {
            return Err(Unreached::Ended);
        }
        if lock(&self.crashes).until > Instant::now() {
            return Err(Unreached::Resting);
        }
        let place = self.place(until).await?;
        let running = Running::start(self, place)?;
        let process = running.process();
        self.starting.send(running).await.map_err(|_| Unreached::Ended)?;
        Ok(process)
    }

    // A place for one more. Where there is none, the session goes that was silent for longest: its client may be gone without a word, as most go,
    // and otherwise it is given a new one. One in which something is open, or on whose stream somebody is, does not go.
    async fn place(&self, until: Instant) -> Result<OwnedSemaphorePermit, Unreached> {
        let most = self.program.processes_max;
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let is_room_made = {
            let mut state = self.state();
            state.sessions.retain(|_, process| !process.is_over());
            let shared = state.shared.iter().filter(|process| !process.is_over());
            let all: Vec<_> = state.sessions.values().chain(shared).map(Arc::clone).collect();
            let quiet = all.iter().filter_map(|process| Some((process.quiet_since()?, process)));
            match quiet.min_by_key(|(since, _)| *since) {
                Some((_, process)) => {
                    process.end(Unreached::Ended);
                    true
                }
                // One that ends already makes room as well.
                None => all.len() < most,
            }
        };
        if !is_room_made {
            return Err(Unreached::Busy(most));
        }
        let until = until.min(Instant::now() + ROOM_MAX);
        match timeout_at(until, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Unreached::Busy(most)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl fmt::Debug for Stdio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stdio").field("name", &self.name).finish_non_exhaustive()
    }
}

// === impl Crashes ===

impl Default for Crashes {
    fn default() -> Self {
        Self { in_a_row: 0, backoff: Backoff::new(REST_FIRST, REST_LONGEST), until: Instant::now() }
    }
}

impl Crashes {
    // One ended by itself. The first time is forgiven: some end over a question that they do not know.
    fn note(&mut self, lived: Duration) {
        if lived >= STEADY {
            *self = Self::default();
            return;
        }
        self.in_a_row += 1;
        if self.in_a_row > 1 {
            self.until = Instant::now() + self.backoff.next();
        }
    }
}

// Nothing panics while it is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_ends_right_after_the_start_rests_from_the_second_time_on() {
        let mut crashes = Crashes::default();
        let rests = |crashes: &Crashes| crashes.until > Instant::now();
        crashes.note(Duration::ZERO);
        assert!(!rests(&crashes), "some end over a question that they do not know");
        for _ in 0..20 {
            crashes.note(Duration::ZERO);
            assert!(crashes.until <= Instant::now() + REST_LONGEST);
        }
        assert_eq!(crashes.in_a_row, 21);
        crashes.until = Instant::now() + REST_LONGEST;
        crashes.note(STEADY);
        assert!(!rests(&crashes) && crashes.in_a_row == 0);
    }
}
