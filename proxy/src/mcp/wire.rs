//! One message to a server of tools, and what comes back: streamable HTTP (Model Context Protocol, "Transports").
//!
//! Nothing of the client's own headers goes there, its credential least of all: a server is shown what policy gives for it.

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};
use tollgate_mcp::Message;
use tollgate_policy::{
    id::UserId,
    lease::Hold,
    mcp::{McpAuth, McpServer},
};

pub(crate) use super::unreached::Unreached;
use super::{
    events::Events,
    tokens::{Bearer, Source},
};
use crate::{
    current::{Current, Secret},
    upstream::{Upstream, destination},
};

/// The header of a session.
pub(crate) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The longest session id that a server may give, in bytes: those of the official SDKs have 36.
pub(crate) const SESSION_BYTES_MAX: usize = 512;
/// The media types that an answer may have.
const ACCEPTED: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
// What of a refusal is read, to see whether it is one of the protocol.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// Where one behind a URL is, and what it is shown.
#[derive(Clone)]
pub(crate) struct Web {
    uri: Uri,
    is_private: bool,
    shown: Shown,
}

/// What a server is shown.
#[derive(Clone)]
enum Shown {
    Nothing,
    Secret(HeaderName, HeaderValue),
    Token(Arc<Bearer>),
}

/// What is sent beside the body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// The session with the server.
    pub(crate) session: Option<Arc<str>>,
    /// What the revision has in headers.
    pub(crate) headers: Vec<(Cow<'static, str>, String)>,
}

/// Within what an answer stays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Until when it must have begun, and, where it is whole, ended.
    pub(crate) until: Instant,
    /// The most bytes of one message.
    pub(crate) bytes_max: usize,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The session that the server gave.
    pub(crate) session: Option<Arc<str>>,
    /// What it said.
    pub(crate) said: Said,
}

/// What a server said.
#[derive(Debug)]
pub(crate) enum Said {
    /// Nothing: it took a notification, or an answer.
    Nothing,
    /// One message.
    Whole(Bytes),
    /// A stream of them.
    Events(Events),
}

// === impl Web ===

impl Web {
    /// Where a server of a policy is, for all callers.
    ///
    /// # Errors
    /// When it may not be called, its credential is not here, or it is another one to each user.
    pub(super) fn of(server: &McpServer, current: &Current, source: &Arc<dyn Source>) -> Result<Self, Unreached> {
        let secret = server.credential.as_ref().map(|credential| current.secrets.get(&credential.id));
        let shown = match (&server.auth, secret) {
            (McpAuth::Nothing, _) => Shown::Nothing,
            (McpAuth::ClientCredentials, _) => {
                Shown::Token(Arc::new(Bearer::new(Arc::clone(source), server.id.clone(), None, server.grants)))
            }
            (McpAuth::PerUser | McpAuth::TokenExchange, _) => return Err(Unreached::Nobody),
            (_, None | Some(None)) => return Err(Unreached::NoCredential),
            (McpAuth::Bearer, Some(Some(secret))) => Shown::Secret(AUTHORIZATION, value("Bearer ", secret)?),
            (McpAuth::Header(name), Some(Some(secret))) => {
                let name = name.parse().map_err(|_| Unreached::NoCredential)?;
                Shown::Secret(name, value("", secret)?)
            }
        };
        Self::showing(server, shown)
    }

    /// Where a server of a policy is for one user.
    ///
    /// # Errors
    /// When it may not be called.
    pub(super) fn of_user(server: &McpServer, user: &UserId, source: &Arc<dyn Source>) -> Result<Self, Unreached> {
        let bearer = Bearer::new(Arc::clone(source), server.id.clone(), Some(user.clone()), server.grants);
        Self::showing(server, Shown::Token(Arc::new(bearer)))
    }

    fn showing(server: &McpServer, shown: Shown) -> Result<Self, Unreached> {
        let uri = destination::whole(&server.url, server.allow_private);
        let uri = uri.map_err(|error| Unreached::Address(error.to_string()))?;
        Ok(Self { uri, is_private: server.allow_private, shown })
    }

    /// Whether it is shown anything.
    pub(super) const fn has_shown(&self) -> bool {
        !matches!(self.shown, Shown::Nothing)
    }

    /// Sends a message to the one address of a server, which answers there.
    ///
    /// # Errors
    /// Says why nothing of the protocol came back.
    pub(super) async fn post(
        &self,
        upstream: &Upstream,
        hold: &Hold,
        head: &Head,
        body: Bytes,
        bounds: Bounds,
    ) -> Result<Reply, Unreached> {
        let mut request = self.request(Method::POST, head, Full::new(body), &ACCEPTED)?;
        request.headers_mut().insert(CONTENT_TYPE, JSON);
        let response = self.deliver(upstream, hold, request, bounds.until).await?;
        let (answer, body) = response.into_parts();
        let session = answer.headers.get(&SESSION).map(session_of).transpose()?;
        let media = media(answer.headers.get(CONTENT_TYPE));
        let said = match answer.status {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT => Said::Nothing,
            StatusCode::OK if media == "text/event-stream" => Said::Events(Events::of_web(body, bounds.bytes_max)),
            StatusCode::OK if media == "application/json" => {
                let whole = timeout_at(bounds.until, collect(body, bounds.bytes_max)).await;
                Said::Whole(whole.map_err(|_| Unreached::Late)??)
            }
            // Some answer a notification with an empty OK.
            StatusCode::OK if media.is_empty() => Said::Nothing,
            StatusCode::OK => return Err(Unreached::Garbage),
            StatusCode::NOT_FOUND if head.session.is_some() => return Err(Unreached::Ended),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Err(Unreached::Credential(status.as_u16()));
            }
            status => match refusal(body, &media, bounds.until).await {
                Some(refusal) => Said::Whole(refusal),
                None => return Err(Unreached::Status(status.as_u16())),
            },
        };
        Ok(Reply { session, said })
    }

    /// The same server, at another address of it.
    pub(super) fn at(&self, uri: Uri) -> Self {
        Self { uri, ..self.clone() }
    }

    pub(super) const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Sends a message whose answer, if there is one, comes elsewhere.
    ///
    /// # Errors
    /// When it was not taken.
    pub(super) async fn say(
        &self,
        upstream: &Upstream,
        hold: &Hold,
        body: Bytes,
        bounds: Bounds,
    ) -> Result<(), Unreached> {
        let mut request = self.request(Method::POST, &Head::default(), Full::new(body), &ACCEPTED)?;
        request.headers_mut().insert(CONTENT_TYPE, JSON);
        let response = self.deliver(upstream, hold, request, bounds.until).await?;
        if response.status().is_success() { Ok(()) } else { Err(Unreached::Status(response.status().as_u16())) }
    }

    /// Opens a stream of what a server says; `None`: it has none.
    ///
    /// # Errors
    /// Says why there is none although there could be.
    pub(super) async fn listen(
        &self,
        upstream: &Upstream,
        hold: &Hold,
        head: &Head,
        bounds: Bounds,
    ) -> Result<Option<Events>, Unreached> {
        let request = self.request(Method::GET, head, Full::default(), &EVENTS)?;
        let (answer, body) = self.deliver(upstream, hold, request, bounds.until).await?.into_parts();
        let is_stream = media(answer.headers.get(CONTENT_TYPE)) == "text/event-stream";
        Ok((answer.status == StatusCode::OK && is_stream).then(|| Events::of_web(body, bounds.bytes_max)))
    }

    /// Ends a session, as far as the server can.
    pub(super) async fn leave(&self, upstream: &Upstream, hold: &Hold, head: &Head, until: Instant) {
        let Ok(request) = self.request(Method::DELETE, head, Full::default(), &ACCEPTED) else { return };
        // Whatever it says: nobody will use the session any more.
        let _ = self.deliver(upstream, hold, request, until).await;
    }

    /// Tokens that were got before so many were taken back are no good. Returns whether that was news.
    pub(super) fn taken_back(&self, grants: u64) -> bool {
        match &self.shown {
            Shown::Token(bearer) => bearer.taken_back(grants),
            Shown::Nothing | Shown::Secret(..) => false,
        }
    }

    /// Sends a request with what the server is shown. A token that it turns away is renewed once: it did nothing for it.
    ///
    /// # Errors
    /// Says why no answer began.
    pub(super) async fn deliver(
        &self,
        upstream: &Upstream,
        hold: &Hold,
        mut request: Request<Full<Bytes>>,
        until: Instant,
    ) -> Result<Response<Incoming>, Unreached> {
        let bearer = match &self.shown {
            Shown::Nothing => return self.send(upstream, hold, request, until).await,
            Shown::Secret(name, value) => {
                request.headers_mut().insert(name.clone(), value.clone());
                return self.send(upstream, hold, request, until).await;
            }
            Shown::Token(bearer) => bearer,
        };
        let mut rejected = None;
        loop {
            let showing = timeout_at(until, bearer.show(rejected.as_ref()));
            let token = showing.await.map_err(|_| Unreached::Late)??;
            let mut bearing = request.clone();
            bearing.headers_mut().insert(AUTHORIZATION, token.clone());
            let response = self.send(upstream, hold, bearing, until).await?;
            if response.status() != StatusCode::UNAUTHORIZED || rejected.is_some() {
                return Ok(response);
            }
            rejected = Some(token);
        }
    }

    async fn send(
        &self,
        upstream: &Upstream,
        hold: &Hold,
        request: Request<Full<Bytes>>,
        until: Instant,
    ) -> Result<Response<Incoming>, Unreached> {
        match timeout_at(until, upstream.send(hold, self.is_private, request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_connect() => Err(Unreached::Connect),
            Ok(Err(_)) => Err(Unreached::Broken),
            Err(_) => Err(Unreached::Late),
        }
    }

    fn request(
        &self,
        method: Method,
        head: &Head,
        body: Full<Bytes>,
        accepted: &HeaderValue,
    ) -> Result<Request<Full<Bytes>>, Unreached> {
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut()) = (method, self.uri.clone());
        let headers = request.headers_mut();
        headers.insert(ACCEPT, accepted.clone());
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION"))));
        for (name, text) in &head.headers {
            let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(text)) else {
                return Err(Unreached::Garbage);
            };
            headers.insert(name, value);
        }
        if let Some(session) = &head.session {
            headers.insert(SESSION, HeaderValue::from_str(session).map_err(|_| Unreached::Ended)?);
        }
        Ok(request)
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").field("host", &self.uri.host()).finish_non_exhaustive()
    }
}

/// The whole of a body.
///
/// # Errors
/// When it breaks off, or is longer.
pub(super) async fn collect(mut body: Incoming, bytes_max: usize) -> Result<Bytes, Unreached> {
    let (mut first, mut all) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(|_| Unreached::Broken)?.into_data().unwrap_or_default();
        if first.len() + all.len() + data.len() > bytes_max {
            return Err(Unreached::Long(bytes_max));
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

// An error of the protocol comes under several statuses.
async fn refusal(body: Incoming, media: &str, until: Instant) -> Option<Bytes> {
    if media != "application/json" {
        return None;
    }
    let bytes = timeout_at(until, collect(body, REFUSAL_BYTES_MAX)).await.ok()?.ok()?;
    matches!(Message::parse(&bytes), Ok(Message::Failure(_))).then_some(bytes)
}

fn session_of(value: &HeaderValue) -> Result<Arc<str>, Unreached> {
    let text = value.to_str().ok().filter(|text| (1..=SESSION_BYTES_MAX).contains(&text.len()));
    let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
    text.map(Arc::from).ok_or(Unreached::Garbage)
}

/// The media type of a body, without its parameters; empty: none is given.
pub(super) fn media(value: Option<&HeaderValue>) -> String {
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn value(prefix: &str, secret: &Secret) -> Result<HeaderValue, Unreached> {
    let mut value = HeaderValue::try_from([prefix, secret.expose()].concat()).map_err(|_| Unreached::NoCredential)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_is_visible_and_bounded() {
        for (text, expect) in
            [("0b4c-1", true), ("", false), ("a b", false), (&"x".repeat(512), true), (&"x".repeat(513), false)]
        {
            assert_eq!(session_of(&HeaderValue::from_str(text).unwrap()).is_ok(), expect, "{text}");
        }
    }

    #[test]
    fn a_media_type_is_read_without_its_parameters() {
        let read = |text: &'static str| media(Some(&HeaderValue::from_static(text)));
        assert_eq!(
            [read("Application/JSON; charset=utf-8"), read("text/event-stream")],
            ["application/json", "text/event-stream"]
        );
        assert_eq!(media(None), "");
    }
}
