//! The way out: connections to providers, and which credential is shown to them.
//!
//! [`speech`]: how a provider's dialect is spoken, and where. [`address`]: which addresses may be connected to. [`destination`]: a provider's base URL. [`sign`]: how its credential is
//! shown. [`token`]: what it is exchanged for first, with some clouds. [`choice`]: which of the credentials is taken, of those that are well ([`health`](crate::health)).
//!
//! This is hyper's own client rather than a higher one, since a request must leave with exactly the headers and the query
//! that the client sent: nothing is added, normalised, followed or decoded on the way.

pub(crate) mod speech;
mod address;
pub(crate) mod destination;
pub(crate) mod sign;
pub(crate) mod token;
pub(crate) mod choice;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use hyper_rustls::{ConfigBuilderExt, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{Client, ResponseFuture, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tollgate_policy::lease::Hold;
use tower::{BoxError, timeout::Timeout, util::BoxCloneSyncService};

use self::{address::Resolver, token::Tokens};
use crate::health::Health;

// Providers close idle connections after a minute or more: ours are gone before, so that no request meets a closing one.
const IDLE_MAX: Duration = Duration::from_secs(50);
// As many connections stay open to one host between bursts; each costs a few kilobytes.
const IDLE_PER_HOST_MAX: usize = 256;
// The largest head of an answer, as large as the largest head of a request.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How providers are called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// How long a connection may take to stand, name look-up and TLS included.
    pub(crate) connect_timeout: Duration,
    /// Whether HTTP/2 is offered. HTTP/1.1 is the default: the pool keeps one HTTP/2 connection to a host, and when the
    /// provider's limit of concurrent streams is reached (100 is common) the next request waits for one to end.
    pub(crate) http2: bool,
}

/// Calls providers.
pub(crate) struct Upstream {
    public: Pool,
    private: Pool,
    health: Arc<Health>,
    tokens: Tokens,
}

type Pool = Client<BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, BoxError>, Full<Bytes>>;

impl Upstream {
    /// Makes the connection pools. Nothing is connected yet.
    ///
    /// # Errors
    /// Returns what the TLS library refuses; a machine without root certificates is no error, but every TLS connection will
    /// fail there.
    pub(crate) fn new(options: &Options, health: Arc<Health>) -> Result<Self, rustls::Error> {
        let tls = tls()?;
        Ok(Self {
            public: pool(tls.clone(), options, false),
            private: pool(tls, options, true),
            health,
            tokens: Tokens::default(),
        })
    }

    /// How well providers answer.
    #[must_use]
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// The access tokens that credentials are exchanged for.
    #[must_use]
    pub(crate) const fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Sends a request. Whoever calls this shows that money is held for it.
    pub(crate) fn send(&self, _hold: &Hold, allow_private: bool, request: Request<Full<Bytes>>) -> ResponseFuture {
        if allow_private { self.private.request(request) } else { self.public.request(request) }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("health", &self.health).finish_non_exhaustive()
    }
}

fn tls() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = || ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    Ok(match builder()?.with_native_roots() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "no root certificates: providers over tls cannot be reached");
            builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        }
    })
}

fn pool(tls: ClientConfig, options: &Options, allow_private: bool) -> Pool {
    let mut tcp = HttpConnector::new_with_resolver(Resolver::new(allow_private));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    let connector = if options.http2 {
        connector.enable_all_versions().wrap_connector(tcp)
    } else {
        connector.enable_http1().wrap_connector(tcp)
    };
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .http1_max_buf_size(HEAD_BYTES_MAX)
        .build(BoxCloneSyncService::new(Timeout::new(connector, options.connect_timeout)))
}
