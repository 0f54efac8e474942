//! The listener and its connections.

use crate::{
    behaviour::Behaviour,
    faults::{Fault, Faults},
    ledger::{Entry, Ledger},
    serve,
    wire::{Reset, Wire},
};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use sha2::{Digest as _, Sha256};
use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use subtle::ConstantTimeEq as _;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// How many connections may be open; beyond it, new ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 20_000;
/// How many requests one HTTP/2 connection may have open: a gateway opens few connections and many streams.
const STREAMS_PER_CONNECTION_MAX: u32 = 2048;
/// How long to wait when no connection can be accepted, so that running out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// How to start a simulator.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The one key that is accepted; none: any that is not empty.
    pub require_key: Option<String>,
    /// What answers are like, unless a request asks otherwise.
    pub defaults: Behaviour,
    /// Remember requests. Costs a hash of each body.
    pub ledger: bool,
}

/// A model provider without a model.
#[derive(Debug)]
pub struct Simulator;

/// A simulator that runs. Dropped, it stops at once.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) keeps_ledger: bool,
    pub(crate) faults: Faults,
    pub(crate) defaults: Behaviour,
    /// The SHA-256 of the one key that is accepted, in hexadecimal.
    key_sha256: Option<String>,
    /// Tells the requests of this process from those of another.
    started_ms: u64,
    requests: AtomicU64,
}

/// The SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

// === impl Options ===

impl Default for Options {
    /// A free port on loopback, any key, short answers at once, with the ledger.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            require_key: None,
            defaults: Behaviour::default(),
            ledger: true,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, require_key, defaults, ledger } = self;
        f.debug_struct("Options")
            .field("listen", listen)
            .field("require_key", &require_key.as_ref().map(|_| "***"))
            .field("defaults", defaults)
            .field("ledger", ledger)
            .finish()
    }
}

// === impl Simulator ===

impl Simulator {
    /// Binds the listener and begins to serve.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(options: Options) -> io::Result<Running> {
        let Options { listen, require_key, defaults, ledger } = options;
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let shared = Arc::new(Shared {
            ledger: Arc::default(),
            keeps_ledger: ledger,
            faults: Faults::default(),
            defaults,
            key_sha256: require_key.map(|key| sha256(key.as_bytes())),
            started_ms: u64::try_from(since_epoch.as_millis()).unwrap_or_default(),
            requests: AtomicU64::new(0),
        });
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared), stop.clone()));
        Ok(Running { address, shared, stop, tasks })
    }
}

// === impl Running ===

impl Running {
    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.address
    }

    /// What a provider's base URL is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests that it remembers, the newest last.
    #[must_use]
    pub fn ledger(&self) -> Vec<Entry> {
        self.shared.ledger.entries()
    }

    /// Waits until the ledger is as wanted, and gives it. The caller bounds the time.
    pub async fn ledger_when(&self, is_met: impl FnMut(&[Entry]) -> bool) -> Vec<Entry> {
        self.shared.ledger.when(is_met).await
    }

    /// Forgets the requests.
    pub fn clear_ledger(&self) {
        self.shared.ledger.clear();
    }

    /// Plans a failure; false where too many are planned.
    pub fn plan(&self, fault: Fault) -> bool {
        self.shared.faults.plan(fault)
    }

    /// Forgets the failures that are planned.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Closes the listener, cuts every connection, and waits until all of it is gone.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

// === impl Shared ===

impl Shared {
    /// Whether a credential is accepted.
    pub(crate) fn admits(&self, credential_sha256: Option<&str>) -> bool {
        match (credential_sha256, &self.key_sha256) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(found), Some(wanted)) => found.as_bytes().ct_eq(wanted.as_bytes()).into(),
        }
    }

    /// An identifier that no other request has.
    pub(crate) fn next_request_id(&self) -> String {
        format!("req_sim{:x}_{:06}", self.started_ms, self.requests.fetch_add(1, Ordering::Relaxed))
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Each event leaves at once.
    let _ = stream.set_nodelay(true);
    let reset = Reset::default();
    let wire = TokioIo::new(Wire::new(stream, reset.clone()));
    let service =
        service_fn(move |request: Request<Incoming>| serve::respond(Arc::clone(&shared), reset.clone(), request));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(STREAMS_PER_CONNECTION_MAX);
    // A connection that breaks is a client's business, or was cut on purpose.
    if let Err(error) = builder.serve_connection(wire, service).await {
        tracing::debug!(error, "connection ended");
    }
}
