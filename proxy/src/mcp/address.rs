//! Where a server is, and so which way messages go to it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;
use tollgate_policy::{
    id::UserId,
    lease::Hold,
    mcp::{McpServer, Transport},
};

use super::{
    events::Events,
    openapi::{self, Interface},
    sse,
    stdio::{Processes, Stdio},
    tokens::Source,
    wire::{Bounds, Head, Reply, Unreached, Web},
};
use crate::{current::Current, upstream::Upstream};

/// Where a server is.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    /// Behind a URL, at which it also answers: streamable HTTP.
    Http(Web),
    /// Behind the URL of a stream on which it answers, as the transport of 2024-11-05 has it.
    Sse(Web),
    /// Behind the URL of an HTTP API, and what is said to it is in a document.
    OpenApi(Web, Arc<Interface>),
    /// In processes of this replica.
    Process(Arc<Stdio>),
}

impl Address {
    /// Where a server of a policy is, for all callers.
    ///
    /// # Errors
    /// When it may not be called, its credential is not here, it is another one to each user, or nothing says how it is started.
    pub(crate) fn of(
        server: &McpServer,
        interface: Option<&Arc<Interface>>,
        current: &Current,
        source: &Arc<dyn Source>,
        processes: &Processes,
    ) -> Result<Self, Unreached> {
        match server.transport {
            Transport::Stdio => processes.of(&server.name).map(Self::Process),
            _ => Self::behind(server, interface, Web::of(server, current, source)?),
        }
    }

    /// Where a server of a policy is for one user.
    ///
    /// # Errors
    /// When it may not be called.
    pub(super) fn of_user(
        server: &McpServer,
        interface: Option<&Arc<Interface>>,
        user: &UserId,
        source: &Arc<dyn Source>,
    ) -> Result<Self, Unreached> {
        Self::behind(server, interface, Web::of_user(server, user, source)?)
    }

    fn behind(server: &McpServer, interface: Option<&Arc<Interface>>, web: Web) -> Result<Self, Unreached> {
        match server.transport {
            Transport::StreamableHttp => Ok(Self::Http(web)),
            Transport::Sse => Ok(Self::Sse(web)),
            Transport::OpenApi if web.uri().query().is_some() => {
                Err(Unreached::Address("the url of an HTTP API has no query".into()))
            }
            Transport::OpenApi => match interface {
                Some(interface) => Ok(Self::OpenApi(web, Arc::clone(interface))),
                None => Err(Unreached::Document("there is none".into())),
            },
            Transport::Stdio => Err(Unreached::Address("it runs as a process, and has none".into())),
        }
    }

    /// The document that says how it is spoken to.
    pub(super) const fn interface(&self) -> Option<&Arc<Interface>> {
        match self {
            Self::OpenApi(_, interface) => Some(interface),
            Self::Http(_) | Self::Sse(_) | Self::Process(_) => None,
        }
    }

    /// Tokens that were got before so many were taken back are no good. Returns whether that was news.
    pub(super) fn taken_back(&self, grants: u64) -> bool {
        match self {
            Self::Http(web) | Self::Sse(web) | Self::OpenApi(web, _) => web.taken_back(grants),
            Self::Process(_) => false,
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// Says why nothing of the protocol came back.
    pub(crate) async fn post(
        &self,
        upstream: &Upstream,
        hold: &Hold,
        head: &Head,
        body: Bytes,
        bounds: Bounds,
    ) -> Result<Reply, Unreached> {
        match self {
            Self::Http(web) => web.post(upstream, hold, head, body, bounds).await,
            // The others in futures of their own, since most servers need none of them.
            Self::Sse(web) => Box::pin(sse::exchange(web, upstream, hold, body, bounds)).await,
            Self::OpenApi(web, interface) => {
                Box::pin(openapi::exchange(web, interface, upstream, hold, &body, bounds)).await
            }
            Self::Process(process) => Box::pin(process.post(hold, head, &body, bounds)).await,
        }
    }

    /// Opens the standing stream of a session; `None`: the server has none.
    ///
    /// # Errors
    /// Says why there is none although there could be.
    pub(crate) async fn listen(
        &self,
        upstream: &Upstream,
        hold: &Hold,
        head: &Head,
        bounds: Bounds,
    ) -> Result<Option<Events>, Unreached> {
        match self {
            Self::Http(web) => web.listen(upstream, hold, head, bounds).await,
            // There are no sessions with them.
            Self::Sse(_) | Self::OpenApi(..) => Ok(None),
            Self::Process(process) => Ok(process.listen(head, bounds)),
        }
    }

    /// Ends a session, as far as the server can.
    pub(crate) async fn leave(&self, upstream: &Upstream, hold: &Hold, head: &Head, until: Instant) {
        match self {
            Self::Http(web) => web.leave(upstream, hold, head, until).await,
            Self::Sse(_) | Self::OpenApi(..) => {}
            Self::Process(process) => process.leave(head),
        }
    }

    /// Ends what was started for it when what is returned is dropped; `None`: nothing was.
    pub(super) fn ends(&self) -> Option<DropGuard> {
        match self {
            Self::Http(_) | Self::Sse(_) | Self::OpenApi(..) => None,
            Self::Process(process) => Some(process.ends()),
        }
    }

    /// Whether what greeted it once goes on with it: another server cannot take its place unseen.
    pub(super) const fn is_lasting(&self) -> bool {
        matches!(self, Self::Process(_))
    }
}
