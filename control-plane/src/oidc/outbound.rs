//! How an identity provider, or the authorization server of a server of tools, is asked: without redirects, within bounds, and never at an
//! address inside unless that is allowed.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use reqwest::{
    Client,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};

use crate::base_url;

/// How long one question may take. A person waits for it.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The longest answer, in bytes: a key set or a discovery document is far shorter.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Asks identity providers and authorization servers.
#[derive(Clone, Debug)]
pub struct Outbound {
    client: Client,
    allow_private: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The URL is plain HTTP, or of this machine or a private network.
    #[error("the address is not one that may be asked: set allow_private to permit that")]
    Address,
    /// The answer is too long.
    #[error("the answer is longer than 1 MiB")]
    TooLong,
    /// The request could not be sent or the answer not be read.
    #[error("the identity provider cannot be reached")]
    Unreachable(#[source] reqwest::Error),
}

// Names are resolved here, filtered, and the connection is made to an address that passed.
struct PublicOnly;

// === impl Outbound ===

impl Outbound {
    /// A client.
    ///
    /// # Errors
    /// When none can be made.
    pub fn new(allow_private: bool) -> Result<Self, reqwest::Error> {
        // Another part may have installed the same provider: what counts is that there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(redirect::Policy::none()).timeout(ANSWER_MAX);
        let client = if allow_private { client } else { client.dns_resolver(Arc::new(PublicOnly)) };
        Ok(Self { client: client.build()?, allow_private })
    }

    /// Asks, and returns the whole answer whatever its status.
    ///
    /// # Errors
    /// Says whether it was not sent, not answered, or too long.
    pub async fn call(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, OutboundError> {
        let (mut whole, mut answer) = self.begin(request).await?;
        while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
            if whole.body().len() + piece.len() > BODY_BYTES_MAX {
                return Err(OutboundError::TooLong);
            }
            whole.body_mut().extend_from_slice(&piece);
        }
        Ok(whole)
    }

    /// Asks, and returns the answer without its body, which may never end.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn head(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, OutboundError> {
        Ok(self.begin(request).await?.0)
    }

    async fn begin(&self, request: Request<Vec<u8>>) -> Result<(Response<Vec<u8>>, reqwest::Response), OutboundError> {
        let uri = request.uri();
        let is_public = uri.scheme_str() == Some("https") && !uri.host().is_none_or(base_url::is_private);
        if !self.allow_private && !is_public {
            return Err(OutboundError::Address);
        }
        let request = reqwest::Request::try_from(request).map_err(unreachable)?;
        let mut answer = self.client.execute(request).await.map_err(unreachable)?;
        let mut whole = Response::new(Vec::new());
        *whole.status_mut() = answer.status();
        *whole.headers_mut() = std::mem::take(answer.headers_mut());
        Ok((whole, answer))
    }
}

// The URL may hold a code.
fn unreachable(error: reqwest::Error) -> OutboundError {
    OutboundError::Unreachable(error.without_url())
}

// === impl PublicOnly ===

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| !base_url::is_private_address(address.ip())).collect();
            if public.is_empty() {
                let sentence = "the name has no address that may be connected to";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, sentence).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}
