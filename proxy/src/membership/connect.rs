//! The connection to the control plane: plain on loopback, otherwise TLS 1.3 with the fleet's authority as the only root.

use std::{
    fmt, io,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, client::WantsClientCert};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;
use tollgate_proto::push::SERVER_NAME;
use tonic::transport::{Channel, Endpoint};
use tower::Service;

use super::{MembershipError, identity::Identity};

/// TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// HTTP/2 pings find a dead peer even while nothing is sent.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// What may be under way on one stream and on the connection, in bytes: two chunks, so that a snapshot flows.
const WINDOW_BYTES: u32 = 2 << 20;

/// Where the control plane is.
#[derive(Clone)]
pub(super) struct Address {
    tls: bool,
    host: String,
    port: u16,
}

// Opens one connection each time it is called.
#[derive(Clone)]
struct Connector {
    address: Address,
    tls: Tls,
}

#[derive(Clone)]
enum Tls {
    Off,
    On(Arc<ClientConfig>),
    NoIdentity,
}

type Connection = TokioIo<Either<TcpStream, TlsStream<TcpStream>>>;

// === impl Address ===

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, MembershipError> {
        let shape = MembershipError::Address("must be https://host:port or http://host:port");
        let Ok(uri) = text.trim_end_matches('/').parse::<Uri>() else { return Err(shape) };
        let (tls, default_port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err(shape),
        };
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let Some(host) = uri.host().filter(|host| bare && !host.is_empty()) else { return Err(shape) };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { tls, host, port: uri.port_u16().unwrap_or(default_port) })
    }

    pub(super) const fn is_tls(&self) -> bool {
        self.tls
    }

    pub(super) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.tls { "https" } else { "http" }, self.host, self.port)
    }
}

/// Without TLS.
pub(super) fn plain(address: &Address) -> Channel {
    channel(address, Tls::Off)
}

/// To a control plane that the authority certified, without saying who asks: for joining.
pub(super) fn pinned(address: &Address, authority: &[u8]) -> Result<Channel, MembershipError> {
    let config = trusting(authority)?.with_no_client_auth();
    Ok(channel(address, Tls::On(Arc::new(config))))
}

/// To a control plane that the authority certified, as this replica.
pub(super) fn mutual(address: &Address, identity: &Identity) -> Result<Channel, MembershipError> {
    let config = trusting(&identity.authority)?.with_client_auth_cert(identity.chain.clone(), identity.key());
    let config = config.map_err(|error| MembershipError::Certificate(error.to_string()))?;
    Ok(channel(address, Tls::On(Arc::new(config))))
}

/// To nobody: there is no identity yet.
pub(super) fn refusing(address: &Address) -> Channel {
    channel(address, Tls::NoIdentity)
}

fn trusting(authority: &[u8]) -> Result<rustls::ConfigBuilder<ClientConfig, WantsClientCert>, MembershipError> {
    let invalid = |error: rustls::Error| MembershipError::Certificate(error.to_string());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.to_vec())).map_err(invalid)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    Ok(builder.map_err(invalid)?.with_root_certificates(roots))
}

fn channel(address: &Address, tls: Tls) -> Channel {
    let tls = match tls {
        Tls::On(config) => {
            let mut config = ClientConfig::clone(&config);
            config.alpn_protocols = vec![b"h2".to_vec()];
            Tls::On(Arc::new(config))
        }
        other => other,
    };
    // The connector knows where to go and how; the origin only fills the pseudo headers.
    Endpoint::from_static("http://tollgate-control-plane")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .connect_with_connector_lazy(Connector { address: address.clone(), tls })
}

// === impl Connector ===

impl Connector {
    async fn connect(self) -> io::Result<Connection> {
        let config = match self.tls {
            Tls::NoIdentity => return Err(io::Error::new(io::ErrorKind::NotConnected, "not yet joined")),
            Tls::Off => None,
            Tls::On(config) => Some(config),
        };
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await?;
        stream.set_nodelay(true)?;
        let Some(config) = config else { return Ok(TokioIo::new(Either::Left(stream))) };
        let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Ok(TokioIo::new(Either::Right(stream)))
    }
}

impl Service<Uri> for Connector {
    type Response = Connection;
    type Error = io::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = io::Result<Connection>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        for (text, expect) in [
            ("http://127.0.0.1:7071", Some(("http://127.0.0.1:7071", true))),
            ("http://localhost:7071/", Some(("http://localhost:7071", true))),
            ("https://[::1]:7071", Some(("https://::1:7071", true))),
            ("https://control.example.com", Some(("https://control.example.com:443", false))),
            ("https://control.example.com/path", None),
            ("control.example.com:7071", None),
            ("ftp://control.example.com", None),
            ("", None),
        ] {
            let parsed = Address::parse(text).ok();
            let shown = parsed.as_ref().map(|address| (format!("{address:?}"), address.is_loopback()));
            assert_eq!(shown.as_ref().map(|(text, loopback)| (text.as_str(), *loopback)), expect, "{text}");
        }
    }
}
