//! Puts a replica together: builds, binds, wires, and ends its parts in the order in which they depend on each other.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    task::{JoinError, JoinSet},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use tollgate_policy::rate::Share;

use crate::{
    clock,
    config::Config,
    current::Holder,
    funds::{Borrowing, Funds},
    gate::{self, Gate, Lingerer, SessionBook, Settler},
    health::Health,
    listen::{self, Listener, TlsError},
    mcp::{Keeper, Observer, Processes, Servers, stdio::Supervisor},
    membership::{self, Link, MembershipError},
    metrics::Metrics,
    rates::{Courier, InvalidRedis, Rates},
    report::Report,
    spool::{self, Durability, Spool, SpoolError},
    status::{Status, Watched},
    sync::{self, Sync},
    upstream::{self, Upstream},
    witness::{self, Watch, Witness},
};

/// How often open visits are decided again without a change of policy, so that a key that expires takes its streams along.
const TICK: Duration = Duration::from_secs(1);

/// A replica whose listeners are bound and whose parts wait to run.
#[derive(Debug)]
pub struct App {
    listener: Listener,
    gate: Arc<Gate>,
    settler: Settler,
    lingerer: Lingerer,
    borrowing: Borrowing,
    courier: Option<Courier>,
    status: Status,
    sync: Sync,
    report: Report,
    watch: Watch,
    holder: Arc<Holder>,
    keeper: Keeper,
    observer: Observer,
    supervisor: Supervisor,
    spool: Spool,
    addresses: Addresses,
    // Cancelled first of all, and watched by readiness.
    ending: CancellationToken,
}

/// Where a replica is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Addresses {
    /// By agents.
    pub proxy: SocketAddr,
    /// By operators and orchestrators.
    pub status: SocketAddr,
}

/// Why a replica cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The data directory cannot be made.
    #[error("data directory {path}: {source}")]
    DataDir {
        /// The directory.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// An address cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The certificate for agents cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The TLS library refuses to make a client.
    #[error("tls towards providers: {0}")]
    Upstream(#[from] rustls::Error),
    /// The replica cannot be a member of the fleet.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The address of the Redis is not one.
    #[error("redis_url {0}")]
    Redis(#[from] InvalidRedis),
    /// The spool cannot be opened.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A task that builds failed.
    #[error("building failed: {0}")]
    Task(#[from] JoinError),
}

/// Why a running replica ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A part failed by our own fault.
    #[error("a part of the replica failed: {0}")]
    Part(#[from] JoinError),
}

/// Builds a replica.
///
/// # Errors
/// When a file, an address or a token does not serve; nothing runs then.
pub async fn build(config: Config) -> Result<App, BuildError> {
    tracing::info!(?config, "replica starts");
    data_dir(&config.data_dir)?;
    let tls = match (&config.tls_cert, &config.tls_key) {
        (Some(certificate), Some(key)) => Some(listen::tls(certificate, key)?),
        _ => None,
    };
    let holder = Arc::new(Holder::default());
    let metrics = Arc::new(Metrics::new());
    let spool = spool(&config).await?;
    let link = Link::open(membership(&config))?;
    let funds = Arc::new(Funds::new());
    let borrowing = Borrowing::new(Arc::clone(&funds), link.clone(), spool.clone());
    let (witness, watch) = witness(&config, &metrics).await?;
    let report = Report::new(link.clone(), spool.clone(), witness.clone());
    let (rates, courier) = rates(&config)?;
    let observing = link.clone();
    let health = Arc::new(Health::default());
    let sync = Sync::new(
        sync::Options {
            link,
            data_dir: config.data_dir.clone(),
            name: config.name.clone(),
            region: config.region.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            incarnation: spool.incarnation(),
            funds: Arc::clone(&funds),
            rates: rates.clone(),
            health: Arc::clone(&health),
            witness,
            snapshot_age_max: config.snapshot_age_max,
            environment: Arc::clone(&config.environment),
        },
        Arc::clone(&holder),
    );
    let connect_timeout = config.upstream_connect_timeout;
    let upstream =
        Arc::new(Upstream::new(&upstream::Options { connect_timeout, http2: config.upstream_http2 }, health)?);
    let servers = Arc::new(Servers::new(Arc::new(observing.clone())));
    let (processes, supervisor) = Processes::new(Arc::clone(&config.mcp_stdio), config.data_dir.clone());
    let keeper = Keeper::new(Arc::clone(&holder), Arc::clone(&servers), Arc::clone(&upstream), processes);
    let observer = Observer::new(observing, Arc::clone(&servers), keeper.asked());
    let sessions = Arc::new(SessionBook::default());
    let (door, settler) = {
        let (spool, funds, metrics) = (spool.clone(), Arc::clone(&funds), Arc::clone(&metrics));
        gate::settlement(spool, funds, Arc::clone(&sessions), metrics)
    };
    let (lingering, lingerer) = gate::lingering(config.upstream_first_byte_timeout);
    let gate = Arc::new(Gate::new(gate::Parts {
        holder: Arc::clone(&holder),
        upstream,
        servers,
        origins: config.mcp_origins.iter().cloned().collect(),
        spool: spool.clone(),
        funds: Arc::clone(&funds),
        rates: rates.clone(),
        sessions,
        lingering,
        door,
        sampler: config.sampler.clone(),
        first_byte_timeout: config.upstream_first_byte_timeout,
        silence_max: config.upstream_silence_max,
        region: config.region.as_str().into(),
    }));
    let refused = |address| move |source| BuildError::Listen { address, source };
    let listener = Listener::bind(config.listen, tls, config.connections_max, config.drain_timeout)
        .await
        .map_err(refused(config.listen))?;
    let ending = CancellationToken::new();
    let watched = Watched {
        holder: Arc::clone(&holder),
        gate: Arc::downgrade(&gate),
        funds,
        rates,
        spool: spool.clone(),
        metrics,
        sync: sync.status(),
        connections: listener.open(),
        snapshot_age_max: config.snapshot_age_max,
        ending: ending.clone(),
    };
    let tcp = TcpListener::bind(config.status_listen).await.map_err(refused(config.status_listen))?;
    let status = Status::new(tcp, watched);
    let addresses = Addresses {
        proxy: listener.address().map_err(refused(config.listen))?,
        status: status.address().map_err(refused(config.status_listen))?,
    };
    Ok(App {
        listener,
        gate,
        settler,
        lingerer,
        borrowing,
        courier,
        status,
        sync,
        report,
        watch,
        holder,
        keeper,
        observer,
        supervisor,
        spool,
        addresses,
        ending,
    })
}

// === impl App ===

impl App {
    /// Where the replica is reached.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Runs until `shutdown` is cancelled. Then, in this order: no new connections, open answers end, the last visits are
    /// settled, the last records are reported.
    ///
    /// # Errors
    /// When a part failed.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let Self {
            listener,
            gate,
            settler,
            lingerer,
            borrowing,
            courier,
            status,
            sync,
            report,
            watch,
            holder,
            keeper,
            observer,
            supervisor,
            spool,
            addresses,
            ending,
        } = self;
        tracing::info!(proxy = %addresses.proxy, status = %addresses.status, "replica listens");
        let (follow, linger, tell) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let mut parts = JoinSet::new();
        parts.spawn(status.serve(tell.clone()));
        parts.spawn(sync.run(follow.clone()));
        parts.spawn(tick(holder, follow.clone()));
        parts.spawn(keeper.run(follow.clone()));
        parts.spawn(observer.run(follow.clone()));
        parts.spawn(supervisor.run(follow.clone()));
        let mut reporting = JoinSet::new();
        reporting.spawn(report.run(tell.clone()));
        reporting.spawn(borrowing.run(tell.clone()));
        if let Some(courier) = courier {
            reporting.spawn(courier.run(tell.clone()));
        }
        let mut witnessing = JoinSet::new();
        witnessing.spawn(watch.run());
        let mut settling = JoinSet::new();
        settling.spawn(settler.run());
        settling.spawn(lingerer.run(linger.clone()));
        let mut serving = JoinSet::new();
        serving.spawn(listener.serve(gate, ending.clone()));

        let failed = tokio::select! {
            () = shutdown.cancelled() => None,
            failed = first_failure(&mut parts) => Some(failed),
            failed = first_failure(&mut settling) => Some(failed),
            failed = first_failure(&mut reporting) => Some(failed),
        };
        ending.cancel();
        let served = all(serving).await;
        // Policy may cut the last streams until they are gone.
        follow.cancel();
        linger.cancel();
        // The last ticket is closed, and with it the queue: the settler ends by itself.
        let settled = all(settling).await;
        tell.cancel();
        let reported = all(reporting).await;
        let ended = all(parts).await;
        // Nobody is left who could see anything, so it ends by itself.
        let witnessed = all(witnessing).await;
        let synced = tokio::task::spawn_blocking(move || spool.sync()).await?;
        if let Err(error) = synced {
            tracing::error!(%error, "spool was not made durable");
        }
        tracing::info!("replica ended");
        failed.map_or(Ok(()), Err)?;
        Ok(served.and(settled).and(reported).and(ended).and(witnessed)?)
    }
}

// === impl Addresses ===

impl Addresses {
    /// Writes them to `endpoints.json` in the data directory, for whoever started the replica on free ports.
    ///
    /// # Errors
    /// Returns what the system says.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        let Self { proxy, status } = self;
        let text = format!("{{\"proxy\": \"http://{proxy}\", \"status\": \"http://{status}\"}}\n");
        std::fs::write(data_dir.join("endpoints.json"), text)
    }
}

async fn tick(holder: Arc<Holder>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let cut = holder.tick(clock::wall());
        if cut > 0 {
            tracing::info!(
                cut,
                "open visits were cut: their keys or credentials have expired, or their deadlines have passed"
            );
        }
    }
}

// The parts run until they are told to end: one that panics takes the replica with it, so that it is started anew.
async fn first_failure(parts: &mut JoinSet<()>) -> JoinError {
    loop {
        match parts.join_next().await {
            Some(Err(error)) => return error,
            Some(Ok(())) => {}
            None => std::future::pending().await,
        }
    }
}

async fn all(mut parts: JoinSet<()>) -> Result<(), JoinError> {
    let mut ended = Ok(());
    while let Some(part) = parts.join_next().await {
        ended = ended.and(part);
    }
    ended
}

fn data_dir(path: &Path) -> Result<(), BuildError> {
    use std::os::unix::fs::DirBuilderExt as _;
    // Identity and spool are nobody else's business.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| BuildError::DataDir { path: path.display().to_string(), source })
}

async fn spool(config: &Config) -> Result<Spool, BuildError> {
    let directory = config.data_dir.join("spool");
    let options = spool::Options { durability: config.spool_durability, bytes_max: config.spool_bytes_max };
    let (spool, recovered) = tokio::task::spawn_blocking(move || Spool::open(&directory, options)).await??;
    if recovered != spool::Recovered::default() {
        tracing::info!(
            uncertain = recovered.uncertain,
            unreported = recovered.unreported,
            unreadable = recovered.unreadable,
            "the run before left records"
        );
    }
    Ok(spool)
}

// A replica that leaves nothing of its visits behind leaves no trace of what it saw either.
async fn witness(config: &Config, metrics: &Metrics) -> Result<(Witness, Watch), JoinError> {
    let is_kept = config.spool_durability != Durability::Memory;
    let path = is_kept.then(|| config.data_dir.join(witness::FILE_NAME));
    let conflicts = metrics.audit_conflicts();
    tokio::task::spawn_blocking(move || witness::open(path, conflicts)).await
}

// Counts of the fleet in a Redis, if there is one.
fn rates(config: &Config) -> Result<(Rates, Option<Courier>), InvalidRedis> {
    match &config.redis_url {
        Some(url) => Rates::with_redis(url.expose(), Share::WHOLE).map(|(rates, courier)| (rates, Some(courier))),
        None => Ok((Rates::local(Share::WHOLE), None)),
    }
}

fn membership(config: &Config) -> membership::Options {
    membership::Options {
        control_plane: config.control_plane.clone(),
        data_dir: config.data_dir.clone(),
        name: config.name.clone(),
        region: config.region.clone(),
        join_token: config.join_token.clone(),
        fleet_token: config.fleet_token.clone(),
        authority: config.control_plane_ca.clone(),
    }
}
