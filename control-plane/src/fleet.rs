//! The fleet as this control plane serves it: one value that the listener's services share, and the tasks behind it.
//!
//! ```text
//! let fleet = Fleet::open(&store, &keyring, &minter, Admission::Certificates, alerts, checkpoints, mcp).await?;
//! admin.add_service(fleet.replica_service());            // on the admin listener
//! parts.spawn(fleet.clone().serve(listener, metrics, stop));
//! parts.spawn(fleet.run(stop));
//! ```

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tollgate_audit::{Entry, Facts, Outcome};
use tollgate_policy::{id::ReplicaId, name::Name};
use tollgate_proto::{
    admin::v1::replica_service_server::ReplicaServiceServer,
    fleet::v1::{fleet_service_server::FleetServiceServer, lease_service_server::LeaseServiceServer},
    push,
    usage::v1::usage_intake_service_server::UsageIntakeServiceServer,
};
use tonic::{
    Status,
    body::Body,
    server::NamedService,
    transport::{
        Server, ServerTlsConfig,
        server::{TcpConnectInfo, TcpIncoming, TlsConnectInfo},
    },
};
use tower::Service;

use crate::{
    alerts::Alerts,
    api::{fleet::FleetApi, replicas::Replicas},
    audit::{self, checkpoints::Checkpoints},
    authority::{self, Authority, AuthorityError},
    clock,
    intake::{Intake, Reporter},
    keys::Minter,
    lend::{Desk, Leases, Lender},
    mcp_oauth::McpOAuth,
    metrics::Metrics,
    publish::{Handle, PublishError, Publisher},
    recalls::Recalls,
    roster::Roster,
    seal::Keyring,
    store::{Store, StoreError, replicas::Replica},
};

mod calls;

pub use self::calls::FleetCalls;

/// The longest message of a replica, in bytes: a certificate request, a hello, or asks of 256 budgets.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// The most joins at a time. They are the only calls without a certificate, and each reads the database.
const JOINS_MAX: usize = 16;

/// The longest report of usage, in bytes: 500 records of the longest that they may be.
const REPORT_BYTES_MAX: usize = 8 << 20;
/// The longest observation of a server of tools, in bytes: 2,000 tools of 4 KiB each, which is more than models are given.
const OBSERVATION_BYTES_MAX: usize = 8 << 20;
/// Calls at a time on one connection: a replica follows, reports, borrows, and renews.
const STREAMS_PER_CONNECTION_MAX: usize = 16;
/// Header bytes of one call.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// A silent connection is asked after this long whether it lives, and given up after as long again.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Who is admitted to the fleet listener.
pub enum Admission {
    /// Replicas with a certificate of the fleet's authority, over TLS.
    Certificates,
    /// Whoever has this token, over plain HTTP/2: for a listener on loopback only.
    Token(String),
}

/// Why the fleet is not served.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The certificate authority.
    #[error("the fleet's certificate authority failed")]
    Authority(#[from] AuthorityError),
    /// Publishing.
    #[error("publishing failed")]
    Publish(#[from] PublishError),
    /// The listener.
    #[error("the fleet listener failed")]
    Listener(#[from] tonic::transport::Error),
}

/// A service behind [`Fleet::identified`].
#[derive(Clone, Debug)]
pub struct Identified<S> {
    inner: S,
    fleet: Fleet,
}

/// The fleet as this control plane serves it. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub(crate) parts: Arc<Parts>,
}

/// What the services share.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) authority: Arc<Authority>,
    pub(crate) minter: Arc<Minter>,
    pub(crate) handle: Handle,
    pub(crate) roster: Roster,
    pub(crate) joins: Semaphore,
    pub(crate) streams: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) recalls: Recalls,
    pub(crate) alerts: Alerts,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) mcp: Arc<McpOAuth>,
    lender: Lender,
    admission: Admitting,
    tasks: std::sync::Mutex<Option<(Publisher, Desk)>>,
}

// A token is kept as its hash, so that comparing takes the same time whatever was sent.
enum Admitting {
    Certificates,
    Token([u8; 32]),
}

impl Fleet {
    /// Prepares to serve the fleet: finds or makes its authority and its signing keys.
    ///
    /// # Errors
    /// When either cannot be made, stored or opened.
    pub async fn open(
        store: &Store,
        keyring: &Arc<Keyring>,
        minter: &Arc<Minter>,
        admission: Admission,
        alerts: Alerts,
        checkpoints: Arc<Checkpoints>,
        mcp: Arc<McpOAuth>,
    ) -> Result<Self, FleetError> {
        let authority = Arc::new(Authority::open(store, keyring).await?);
        let (publisher, handle) = Publisher::new(store.clone(), Arc::clone(keyring)).await?;
        let admission = match admission {
            Admission::Certificates => Admitting::Certificates,
            Admission::Token(token) => Admitting::Token(Sha256::digest(token.as_bytes()).into()),
        };
        let recalls = Recalls::default();
        let (lender, desk) = Lender::new(store.clone(), recalls.clone());
        let parts = Parts {
            store: store.clone(),
            authority,
            minter: Arc::clone(minter),
            handle,
            roster: Roster::new(store.clone(), recalls.clone()),
            joins: Semaphore::new(JOINS_MAX),
            streams: TaskTracker::new(),
            stop: CancellationToken::new(),
            recalls,
            alerts,
            checkpoints,
            mcp,
            lender,
            admission,
            tasks: std::sync::Mutex::new(Some((publisher, desk))),
        };
        Ok(Self { parts: Arc::new(parts) })
    }

    /// TLS for the fleet listener; `None` when a token admits.
    ///
    /// # Errors
    /// When a certificate cannot be made.
    pub fn tls(&self) -> Result<Option<ServerTlsConfig>, FleetError> {
        match self.parts.admission {
            Admitting::Certificates => Ok(Some(self.parts.authority.server_tls()?)),
            Admitting::Token(_) => Ok(None),
        }
    }

    /// The service of the fleet listener.
    #[must_use]
    pub fn service(&self) -> FleetCalls {
        let calls =
            |bytes_max| FleetServiceServer::new(FleetApi::new(self.clone())).max_decoding_message_size(bytes_max);
        FleetCalls {
            short: calls(MESSAGE_BYTES_MAX),
            known: self.identified(calls(MESSAGE_BYTES_MAX)),
            long: self.identified(calls(OBSERVATION_BYTES_MAX)),
        }
    }

    /// The service of the admin listener that manages replicas.
    #[must_use]
    pub fn replica_service(&self) -> ReplicaServiceServer<Replicas> {
        ReplicaServiceServer::new(Replicas::new(self.parts.store.clone(), Arc::clone(&self.parts.authority)))
    }

    /// The tokens of servers of tools.
    #[must_use]
    pub fn mcp(&self) -> &Arc<McpOAuth> {
        &self.parts.mcp
    }

    /// What an operator should know of what is published, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let refused = self.parts.handle.refused();
        refused.iter().map(|error| format!("Not published, since replicas would refuse it: {error}.")).collect()
    }

    /// Publishes, lends, and keeps the roster, until `stop` is cancelled; then ends the streams. Runs once: a second call only
    /// waits.
    pub async fn run(&self, stop: CancellationToken) {
        let tasks = self.parts.tasks.lock().ok().and_then(|mut tasks| tasks.take());
        let Some((publisher, desk)) = tasks else { return stop.cancelled().await };
        let roster_stop = CancellationToken::new();
        let serve = async {
            tokio::join!(publisher.run(stop.clone()), stop.cancelled());
            self.parts.stop.cancel();
            self.parts.streams.close();
            self.parts.streams.wait().await;
            // The streams have reported that they ended; the last write tells the other control planes.
            roster_stop.cancel();
        };
        let desk = Box::pin(desk.run(roster_stop.clone()));
        tokio::join!(serve, self.parts.roster.run(roster_stop.clone()), desk);
    }

    /// Serves the fleet listener until `stop` is cancelled: following, borrowing, and the reports of usage.
    ///
    /// # Errors
    /// When TLS cannot be set up, or the listener fails.
    pub async fn serve(
        &self,
        listener: TcpListener,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Result<(), FleetError> {
        let server = Server::builder()
            .concurrency_limit_per_connection(STREAMS_PER_CONNECTION_MAX)
            .max_concurrent_streams(u32::try_from(STREAMS_PER_CONNECTION_MAX).unwrap_or(u32::MAX))
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE));
        let server = match self.tls()? {
            Some(tls) => server.tls_config(tls)?,
            None => server,
        };
        let intake = Intake::alerting(self.parts.store.clone(), self.parts.alerts.clone());
        let intake = UsageIntakeServiceServer::new(intake).max_decoding_message_size(REPORT_BYTES_MAX);
        let leases = LeaseServiceServer::new(Leases::new(self.parts.lender.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let router = server
            .layer(metrics)
            .add_service(self.service())
            .add_service(self.identified(intake))
            .add_service(self.identified(leases));
        // A revocation is a small write; held back for the acknowledgement of the one before, it would be 40 ms late.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        Ok(router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await?)
    }

    /// Puts before a service of the fleet listener who calls, as a [`Reporter`]; nobody else gets through.
    #[must_use]
    pub fn identified<S>(&self, service: S) -> Identified<S> {
        Identified { inner: service, fleet: self.clone() }
    }

    /// Which replica makes this call: the one that its certificate names, or the one that it names beside the fleet's token.
    /// For every service of the fleet listener; Join alone does without.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without a certificate or token that is good now, or for a replica that was deleted.
    pub async fn identify(
        &self,
        extensions: &http::Extensions,
        headers: &http::HeaderMap,
    ) -> Result<ReplicaId, Status> {
        Ok(self.caller(extensions, headers).await?.id)
    }

    pub(crate) async fn caller(
        &self,
        extensions: &http::Extensions,
        headers: &http::HeaderMap,
    ) -> Result<Replica, Status> {
        match &self.parts.admission {
            Admitting::Certificates => {
                let id = certified(extensions)?;
                let found = self.find(id.as_str()).await?;
                found.ok_or_else(|| Status::unauthenticated("this replica was deleted: let it join again"))
            }
            Admitting::Token(hash) => {
                let name = admitted(headers, hash)?;
                match self.find(name.as_str()).await? {
                    Some(known) => Ok(known),
                    None => self.enroll(&name, "", "fleet-token").await,
                }
            }
        }
    }

    /// Whether replicas join, rather than share a token.
    pub(crate) fn admits_joins(&self) -> bool {
        matches!(self.parts.admission, Admitting::Certificates)
    }

    /// The replica of this name, made if it is new. The log tells by what it was admitted.
    pub(crate) async fn enroll(&self, name: &Name, region: &str, admitted_by: &str) -> Result<Replica, Status> {
        self.enrolled(name, region, admitted_by).await.map_err(|error| unavailable(&error))
    }

    async fn enrolled(&self, name: &Name, region: &str, admitted_by: &str) -> Result<Replica, StoreError> {
        let now = clock::now_ms();
        let ulid = ulid::Ulid::generate().to_string();
        let id = ReplicaId::from_ulid(&ulid).map_err(|error| StoreError::corrupt("id", error))?;
        let mut txn = self.parts.store.begin().await?;
        let is_new = txn.replica_insert(&id, name, region, now).await?;
        let replica = txn.replica_find(name.as_str()).await?.ok_or(StoreError::Missing)?;
        let mut detail = serde_json::Map::new();
        detail.insert("name".into(), json!(name.as_str()));
        detail.insert("region".into(), json!(region));
        detail.insert("new".into(), json!(is_new));
        let target = format!("replica/{}", replica.id);
        let facts = Facts { initiator: admitted_by, target: &target, detail, ..Facts::default() };
        audit::append(&mut txn, Entry::new(now, "replica.join", Outcome::Allowed, facts)).await?;
        txn.commit().await?;
        self.parts.roster.wake();
        tracing::info!(replica = %replica.id, %name, is_new, "a replica joined");
        Ok(replica)
    }

    /// The replica of this id or name.
    pub(crate) async fn find(&self, named: &str) -> Result<Option<Replica>, Status> {
        let found = async {
            let mut txn = self.parts.store.begin_read().await?;
            let found = txn.replica_find(named).await?;
            txn.end().await?;
            Ok::<_, StoreError>(found)
        };
        found.await.map_err(|error| unavailable(&error))
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificates => "Certificates",
            Self::Token(_) => "Token(***)",
        })
    }
}

impl fmt::Debug for Admitting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificates => "Certificates",
            Self::Token(_) => "Token(***)",
        })
    }
}

/// The answer to a replica when the database fails.
pub(crate) fn unavailable(error: &StoreError) -> Status {
    tracing::error!(%error, "a call of a replica failed");
    Status::unavailable("the database is busy or cannot be reached: try again")
}

fn certified(extensions: &http::Extensions) -> Result<ReplicaId, Status> {
    let info = extensions.get::<TlsConnectInfo<TcpConnectInfo>>();
    let certificates = info.and_then(TlsConnectInfo::peer_certs).unwrap_or_default();
    let certificate =
        certificates.first().ok_or_else(|| Status::unauthenticated("this call needs a replica's certificate"))?;
    authority::certified(certificate, clock::now_ms() / 1_000)
        .ok_or_else(|| Status::unauthenticated("the certificate has ended, or is not one of a replica"))
}

fn admitted(headers: &http::HeaderMap, hash: &[u8; 32]) -> Result<Name, Status> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = text("authorization").strip_prefix("Bearer ").unwrap_or_default();
    let sent: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    if !bool::from(sent.ct_eq(hash)) {
        return Err(Status::unauthenticated("this call needs the fleet token"));
    }
    Name::parse(text(push::REPLICA_NAME_METADATA))
        .map_err(|error| Status::invalid_argument(format!("{}: {error}", push::REPLICA_NAME_METADATA)))
}

// === impl Identified ===

impl<S> Service<http::Request<Body>> for Identified<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Future: Send> + Clone + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // The clone that was polled ready is the one that is called.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let fleet = self.fleet.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match fleet.identify(&parts.extensions, &parts.headers).await {
                Ok(replica) => {
                    parts.extensions.insert(Reporter(replica));
                    inner.call(http::Request::from_parts(parts, body)).await
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

impl<S: NamedService> NamedService for Identified<S> {
    const NAME: &'static str = S::NAME;
}
