//! The listener for agents: connections, TLS, the bounds of HTTP, and a graceful end.

use std::{
    convert::Infallible,
    fmt, fs, io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;

/// The largest head of a request that is read, in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The most headers of a request.
pub(crate) const HEADERS_MAX: usize = 100;
/// How long a head may take to arrive. The same clock ends a connection that stays idle.
pub(crate) const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a TLS handshake may take.
pub(crate) const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// The most streams of one HTTP/2 connection.
pub(crate) const STREAMS_MAX: u32 = 256;
/// The most streams of one HTTP/2 connection that its client reset before they were seen, or that we reset for errors of
/// its own: beyond, the connection is closed (CVE-2023-44487 and its kind).
pub(crate) const RESETS_MAX: usize = 20;
/// An HTTP/2 connection that does not answer a ping within the second of these is closed.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(20);
/// What is queued on one HTTP/2 stream for a client that does not read.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// When the system has no more file descriptors, accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound listener.
pub(crate) struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    permits: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
    drain_timeout: Duration,
}

/// The gate, and who stands at it.
#[derive(Clone)]
struct Door {
    gate: Arc<Gate>,
    peer: IpAddr,
}

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no certificate or key.
    #[error("{file}: {reason}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate and the key do not make a server.
    #[error("certificate and key cannot be served: {0}")]
    Pair(#[from] rustls::Error),
}

// === impl Listener ===

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    /// Returns what the system says.
    pub(crate) async fn bind(
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
        connections_max: usize,
        drain_timeout: Duration,
    ) -> io::Result<Self> {
        let permits = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        Ok(Self { tcp: TcpListener::bind(address).await?, tls, permits, open: Arc::default(), drain_timeout })
    }

    /// The bound address.
    ///
    /// # Errors
    /// Returns what the system says.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Counts the open connections.
    pub(crate) fn open(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.open)
    }

    /// Serves until `stop` is cancelled; then takes no more connections, lets open answers end, and drops what has not ended
    /// after the drain timeout.
    pub(crate) async fn serve(self, gate: Arc<Gate>, stop: CancellationToken) {
        let Self { tcp, tls, permits, open, drain_timeout } = self;
        let mut connections = JoinSet::new();
        let server = Arc::new(server());
        loop {
            let accepted = tokio::select! {
                accepted = accept(&tcp, &permits) => accepted,
                () = stop.cancelled() => break,
            };
            while connections.try_join_next().is_some() {}
            let Some((stream, peer, permit)) = accepted else { continue };
            let counted = Counted::new(Arc::clone(&open), permit);
            let (gate, server, tls) = (Arc::clone(&gate), Arc::clone(&server), tls.clone());
            // A token of its own: connections do not meet at one lock each time they are polled.
            let stop = stop.child_token();
            connections.spawn(async move {
                let _counted = counted;
                connection(stream, tls, &server, Door { gate, peer: peer.ip() }, &stop).await;
            });
        }
        drop(tcp);
        let ended = async { while connections.join_next().await.is_some() {} };
        if timeout(drain_timeout, ended).await.is_err() {
            tracing::warn!(open = connections.len(), "answers that did not end in time are dropped");
            gate.end();
            connections.shutdown().await;
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("tcp", &self.tcp).field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

/// Reads a certificate chain and its key, and offers HTTP/2 and HTTP/1.1.
///
/// # Errors
/// Says which file is wrong, or that both do not belong together.
pub(crate) fn tls(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let file = |path: &Path, reason: String| TlsError::File { file: path.display().to_string(), reason };
    let read = |path: &Path| fs::read(path).map_err(|error| file(path, error.to_string()));
    let (chain, secret) = (read(certificate)?, zeroize::Zeroizing::new(read(key)?));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
    let chain = chain.map_err(|error| file(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(file(certificate, "holds no certificate".to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_slice(&secret).map_err(|error| file(key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = versions.with_no_client_auth().with_single_cert(chain, secret)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(tcp: &TcpListener, permits: &Arc<Semaphore>) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // The permit comes first: beyond the bound, clients wait in the system's queue.
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match tcp.accept().await {
        Ok((stream, peer)) => {
            // Small events must not wait for their acknowledgement. A socket that refuses is about to fail anyway.
            let _ = stream.set_nodelay(true);
            Some((stream, peer, permit))
        }
        Err(error) => {
            tracing::warn!(%error, "connection was not accepted");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    server: &Server,
    door: Door,
    stop: &CancellationToken,
) {
    let Some(tls) = tls else { return serve(stream, server, door, stop).await };
    // A client that fails its handshake, or takes too long for it, gets no answer that it could read.
    if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIME_MAX, tls.accept(stream)).await {
        serve(stream, server, door, stop).await;
    }
}

async fn serve<S>(stream: S, server: &Server, door: Door, stop: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let Door { gate, peer } = door.clone();
        // In a box of its own, which goes when the answer begins: hyper keeps room for the future of a connection's requests as long as the
        // connection stands, and this one takes 11 kB.
        async move { Ok::<_, Infallible>(Box::pin(gate.answer(peer, request)).await) }
    });
    let connection = server.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(error = &*error, "connection ended");
    }
}

type Server = auto::Builder<TokioExecutor>;

fn server() -> Server {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_PATIENCE);
    server
}

/// Counts one connection as long as it lives.
struct Counted {
    open: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
}

impl Counted {
    fn new(open: Arc<AtomicUsize>, permit: OwnedSemaphorePermit) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self { open, _permit: permit }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
