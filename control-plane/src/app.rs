//! Assembly: opens the database, binds the listeners, wires the services ([`services`]), and ends them in order.

mod services;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tollgate_policy::time::UnixMillis;
use tonic::transport::{Identity, Server, ServerTlsConfig, server::Router};
use tower::layer::util::{Identity as Bare, Stack};

use crate::{
    administrators::{Administrators, BootstrapError},
    alerts::Alerts,
    api::{Admin, authorize::Authorize},
    audit::{
        self,
        checkpoints::{Checkpoints, CompareError},
        retention::Retention,
        ship::{ShipError, Shipping},
    },
    catalogue::{self, Catalogue, CatalogueError},
    clock,
    config::{Config, KeyError},
    fleet::{Admission, Fleet, FleetError},
    keys::{Minter, MinterError},
    mcp_oauth::{McpOAuth, keys},
    metrics::Metrics,
    oauth::OAuth,
    oidc::Issuers,
    principals::Principals,
    refusals::{CALLS_MAX, Refusals},
    rim,
    scim::{self, Scim},
    seal::Keyring,
    sessions::Sessions,
    store::{Store, StoreError},
    tokens::{Signer, TokenError},
    webhooks::{WebhookError, Webhooks},
};

/// How long one admin call may take.
const CALL_MAX: Duration = Duration::from_secs(30);
/// Calls at a time on one connection; what is more waits.
const CALLS_PER_CONNECTION_MAX: usize = 64;
/// Streams at a time on one connection: beyond the calls that run, a few that wait.
const STREAMS_PER_CONNECTION_MAX: u32 = 128;
/// Header bytes of one call: a token and a user agent, with room.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// A silent peer is asked after this long whether it is there, and given up after half as long again.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long what has begun may take to end when the process is told to stop.
const DRAIN_MAX: Duration = Duration::from_secs(15);

/// A control plane that is ready to run.
#[derive(Debug)]
pub struct App {
    store: Store,
    admin: AdminListener,
    fleet: FleetListener,
    http: HttpListener,
    webhooks: Option<Webhooks>,
    checkpoints: Arc<Checkpoints>,
    shipping: Shipping,
    retention: Option<Retention>,
    metrics: Metrics,
    people: People,
    mcp: Arc<McpOAuth>,
    addresses: Addresses,
}

/// Who knows people: by the tokens of their sessions, and by those of their identity providers.
#[derive(Clone, Debug)]
pub struct People {
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// The identity providers.
    pub issuers: Arc<Issuers>,
}

#[derive(Debug)]
struct AdminListener {
    router: Router<Layered>,
    listener: TcpListener,
}

type Layered = Stack<Authorize, Stack<Metrics, Bare>>;

#[derive(Debug)]
struct FleetListener {
    fleet: Fleet,
    listener: TcpListener,
}

#[derive(Debug)]
struct HttpListener {
    others: axum::Router,
    listener: TcpListener,
}

/// Where a control plane listens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Addresses {
    /// The admin API.
    pub admin: SocketAddr,
    /// The fleet.
    pub fleet: SocketAddr,
    /// Health and metrics.
    pub http: SocketAddr,
}

/// Why a control plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The key-encryption key or the data directory.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database.
    #[error("failed to open the database")]
    Store(#[from] StoreError),
    /// The pepper.
    #[error(transparent)]
    Minter(#[from] MinterError),
    /// The bootstrap administrator's token.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The catalogue that is part of the program.
    #[error("failed to read the catalogue")]
    Catalogue(#[from] CatalogueError),
    /// The fleet.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The key that signs credentials.
    #[error(transparent)]
    Signer(#[from] TokenError),
    /// The checkpoints of the audit log.
    #[error(transparent)]
    Checkpoints(#[from] CompareError),
    /// The shipping of the audit log.
    #[error(transparent)]
    Shipping(#[from] ShipError),
    /// The webhook.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// The client that asks identity providers.
    #[error("failed to make the client of an identity provider")]
    Issuers(#[source] reqwest::Error),
    /// A listener.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file of the certificate or of its key.
    #[error("failed to read {path}")]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The certificate and the key do not make TLS.
    #[error("tls_cert and tls_key are not a certificate and its key")]
    Tls(#[source] tonic::transport::Error),
    /// The admin API would be readable on the network.
    #[error("{0} is not a loopback address: set tls_cert and tls_key, or admin_plaintext")]
    Plaintext(SocketAddr),
    /// The reflection service.
    #[error("failed to describe the services")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Why a control plane stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A gRPC listener failed.
    #[error("a grpc listener failed")]
    Grpc(#[from] tonic::transport::Error),
    /// The fleet listener failed.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The HTTP listener failed.
    #[error("the http listener failed")]
    Http(#[from] io::Error),
    /// A part panicked.
    #[error("a part of the control plane panicked")]
    Part(#[from] tokio::task::JoinError),
}

/// Opens the database, makes what is made once (keys, the pepper, the administrator's token), and binds the listeners.
///
/// # Errors
/// When any of that fails.
pub async fn build(config: Config) -> Result<App, BuildError> {
    if config.plaintext_is_refused() {
        return Err(BuildError::Plaintext(config.admin_listen));
    }
    let Opened { store, keyring, minter, administrators } = open(&config).await?;
    if let Some(path) = administrators.bootstrap(&config.data_dir).await? {
        tracing::info!(path = %path.display(), "wrote the bootstrap administrator's token");
    }
    catalogue::import(&store, &Catalogue::embedded()?, UnixMillis::new(clock::now_ms())).await?;
    let metrics = Metrics::new(store.latency());
    let webhooks = Webhooks::open(&config, &store)?;
    let alerts = Alerts::new(metrics.budget_thresholds.clone(), webhooks.as_ref().map(Webhooks::due));
    let checkpoints = Arc::new(Checkpoints::new(store.clone(), &config.data_dir));
    // Before an entry is written: it tells whether the log is shorter than what was shipped of it.
    let shipping = Shipping::open(&config.audit_sinks, &store, &metrics.audit_sinks).await?;
    checkpoints.compare().await?;
    if let Some(key) = config.audit.hmac_key_bytes() {
        audit::adopt(&store, &key).await?;
    }
    let retention = config.audit.retention(&config.data_dir);
    let retention = retention.map(|settings| Retention::new(store.clone(), settings));
    let people = people(&config, &store, &keyring, &minter)?;
    let signer = Signer::open(&store, Arc::clone(&keyring), clock::now_ms()).await?;
    let (listener_http, http_address) = bind(config.http_listen).await?;
    let public_url = config.public_url.clone().unwrap_or_else(|| format!("http://{http_address}"));
    let mcp =
        McpOAuth::new(&store, &keyring, &signer, (public_url.clone(), !config.issuers.is_empty()), &config.data_dir);
    let mcp = Arc::new(mcp.map_err(BuildError::Issuers)?);
    let shared = (Arc::clone(&checkpoints), Arc::clone(&mcp));
    let fleet = Fleet::open(&store, &keyring, &minter, admission(&config), alerts, shared.0, shared.1).await?;
    let principals = Arc::new(principals(&store, &minter, administrators, &people));
    let refusals = Arc::new(Refusals::new(&store, CALLS_MAX));
    let scim = Scim::new(
        store.clone(),
        Arc::clone(&principals),
        Arc::clone(&refusals),
        Arc::clone(&mcp),
        scim_settings(&config),
    );
    let api = Admin::new(store.clone(), keyring, Arc::clone(&minter), fleet.clone(), signer);
    let layered = admin_server(&config)?.layer(metrics.clone()).layer(Authorize::new(principals, refusals));
    let router = services::added(layered, api, &fleet).await?;
    let (admin, admin_address) = bind(config.admin_listen).await?;
    let (listener, fleet_address) = bind(config.fleet_listen).await?;
    let addresses = Addresses { admin: admin_address, fleet: fleet_address, http: http_address };
    let oauth = oauth(&config, &store, &minter, &people, &mcp, public_url);
    let others = oauth.map(OAuth::routes).unwrap_or_default().merge(scim.routes()).merge(keys::routes(&mcp));
    let http = HttpListener { others, listener: listener_http };
    let (admin, fleet) = (AdminListener { router, listener: admin }, FleetListener { fleet, listener });
    Ok(App { store, admin, fleet, http, webhooks, checkpoints, shipping, retention, metrics, people, mcp, addresses })
}

/// Replaces the bootstrap administrator's token, without starting anything, and returns its file.
///
/// # Errors
/// As [`build`].
pub async fn reset_admin_token(config: &Config) -> Result<PathBuf, BuildError> {
    let Opened { store, administrators, .. } = open(config).await?;
    let path = administrators.reset(&config.data_dir).await?;
    store.close().await;
    Ok(path)
}

struct Opened {
    store: Store,
    keyring: Arc<Keyring>,
    minter: Arc<Minter>,
    administrators: Arc<Administrators>,
}

async fn open(config: &Config) -> Result<Opened, BuildError> {
    config.make_data_dir()?;
    let keyring = Arc::new(config.keyring()?);
    let store = Store::open(config.database_url.expose(), Arc::clone(&keyring)).await?;
    let rewrapped = store.secrets_rewrap(&keyring).await?;
    if rewrapped > 0 {
        tracing::info!(secrets = rewrapped, key = keyring.current_id(), "wrapped secrets under the new encryption key");
    }
    let minter = Arc::new(Minter::open(&store, &keyring, &config.environment).await?);
    let administrators = Arc::new(Administrators::new(store.clone(), Arc::clone(&minter)));
    Ok(Opened { store, keyring, minter, administrators })
}

fn principals(store: &Store, minter: &Arc<Minter>, administrators: Arc<Administrators>, people: &People) -> Principals {
    let People { sessions, issuers } = people.clone();
    Principals::new(store.clone(), Arc::clone(minter), administrators, sessions, issuers)
}

fn people(config: &Config, store: &Store, keyring: &Arc<Keyring>, minter: &Arc<Minter>) -> Result<People, BuildError> {
    let issuers = Arc::new(Issuers::open(&config.issuers, store).map_err(BuildError::Issuers)?);
    let sessions = Arc::new(Sessions::new(store, keyring, minter, &issuers, config.session_life));
    Ok(People { sessions, issuers })
}

// Without an identity provider nobody signs in, and there is nothing to reach.
fn oauth(
    config: &Config,
    store: &Store,
    minter: &Arc<Minter>,
    people: &People,
    mcp: &Arc<McpOAuth>,
    public_url: String,
) -> Option<Arc<OAuth>> {
    if config.issuers.is_empty() {
        return None;
    }
    Some(Arc::new(OAuth::new(store, minter, &people.sessions, &people.issuers, mcp, public_url)))
}

// The configuration permits a token on loopback only; a program that embeds this one may not have asked it.
fn admission(config: &Config) -> Admission {
    match &config.fleet_token {
        Some(token) if config.fleet_listen.ip().is_loopback() => Admission::Token(token.expose().to_owned()),
        _ => Admission::Certificates,
    }
}

fn scim_settings(config: &Config) -> scim::Settings {
    scim::Settings { issuer: config.scim_issuer.clone(), public_url: config.public_url.clone() }
}

async fn bind(asked: SocketAddr) -> Result<(TcpListener, SocketAddr), BuildError> {
    let bound = async {
        let listener = TcpListener::bind(asked).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|source| BuildError::Listen { address: asked, source })
}

fn admin_server(config: &Config) -> Result<Server, BuildError> {
    let server = Server::builder()
        .timeout(CALL_MAX)
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION_MAX)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE / 2));
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(server) };
    let read =
        |path: &Path| std::fs::read(path).map_err(|source| BuildError::TlsFile { path: path.to_owned(), source });
    let identity = Identity::from_pem(read(cert)?, read(key)?);
    server.tls_config(ServerTlsConfig::new().identity(identity)).map_err(BuildError::Tls)
}

// === impl App ===

impl App {
    /// Where it listens.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Its database: for what a program that embeds a control plane asks of it.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Who knows people.
    #[must_use]
    pub const fn people(&self) -> &People {
        &self.people
    }

    /// Serves until `shutdown` is cancelled, then ends what has begun, for at most 15 s, and closes the database.
    ///
    /// # Errors
    /// When a listener fails, or a part panics.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let Self {
            store,
            admin,
            fleet,
            http,
            webhooks,
            checkpoints,
            shipping,
            retention,
            metrics,
            people,
            mcp,
            addresses,
        } = self;
        // One part that ends takes the others along: half a control plane would look alive.
        let stop = shutdown.child_token();
        let mut parts: JoinSet<Result<(), RunError>> = JoinSet::new();
        parts.spawn(admin.serve(stop.clone()));
        let (part, stopped) = (fleet.fleet.clone(), stop.clone());
        parts.spawn(async move {
            part.run(stopped).await;
            Ok(())
        });
        parts.spawn(fleet.serve(metrics.clone(), stop.clone()));
        let (part, stopped) = (store.clone(), stop.clone());
        parts.spawn(async move {
            part.follow(stopped).await;
            Ok(())
        });
        if let Some(webhooks) = webhooks {
            parts.spawn(webhooks.run(stop.clone()).map(Ok));
        }
        let stopped = stop.clone();
        parts.spawn(async move {
            checkpoints.run(stopped).await;
            Ok(())
        });
        parts.spawn(shipping.run(stop.clone()).map(Ok));
        if let Some(retention) = retention {
            parts.spawn(retention.run(stop.clone()).map(Ok));
        }
        let (part, stopped) = (people.sessions, stop.clone());
        parts.spawn(async move {
            part.run(stopped).await;
            Ok(())
        });
        {
            let (store, stop) = (store.clone(), stop.clone());
            let HttpListener { others, listener } = http;
            parts.spawn(async move { Ok(rim::serve(listener, store, metrics, others, stop).await?) });
        }
        tracing::info!(admin = %addresses.admin, fleet = %addresses.fleet, http = %addresses.http, "control plane is ready");
        let outcome = supervise(&mut parts, &stop).await;
        parts.shutdown().await;
        // Nobody asks any more; what was asked of an authorization server is still written down.
        if tokio::time::timeout(DRAIN_MAX, mcp.drain()).await.is_err() {
            tracing::warn!("gave up waiting for authorization servers");
        }
        store.close().await;
        tracing::info!("control plane has stopped");
        outcome
    }
}

// Waits for the first part to end or for the stop, then for the others to drain.
async fn supervise(parts: &mut JoinSet<Result<(), RunError>>, stop: &CancellationToken) -> Result<(), RunError> {
    let mut outcome = Ok(());
    tokio::select! {
        () = stop.cancelled() => {}
        Some(ended) = parts.join_next() => outcome = ended.map_err(RunError::from).flatten(),
    }
    stop.cancel();
    let drained = tokio::time::timeout(DRAIN_MAX, async {
        while let Some(ended) = parts.join_next().await {
            let ended = ended.map_err(RunError::from).flatten();
            outcome = std::mem::replace(&mut outcome, Ok(())).and(ended);
        }
    });
    if drained.await.is_err() {
        tracing::warn!("gave up waiting for calls that had begun");
    }
    outcome
}

// === impl AdminListener ===

impl AdminListener {
    async fn serve(self, stop: CancellationToken) -> Result<(), RunError> {
        let Self { router, listener } = self;
        Ok(router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned()).await?)
    }
}

// === impl FleetListener ===

impl FleetListener {
    async fn serve(self, metrics: Metrics, stop: CancellationToken) -> Result<(), RunError> {
        let Self { fleet, listener } = self;
        Ok(fleet.serve(listener, metrics, stop).await?)
    }
}
