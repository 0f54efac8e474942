//! The one layer that every call of the admin listener passes: who calls, what the call demands, whether they hold it.
//!
//! A handler gets an [`Authorized`], which only this file can make. A path that declares no permission is refused, unless it
//! is that of health or reflection, which tell nothing but schema and liveness.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, header};
use tollgate_proto::permission::{self, Permission};
use tonic::{
    Status,
    body::Body,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use tower::{Layer, Service};
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::administrators::{Administrators, Principal};

/// Services that anybody who reaches the listener may call.
const OPEN: [&str; 3] =
    ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];

/// The longest user agent that is remembered, in bytes.
const USER_AGENT_BYTES_MAX: usize = 200;

/// The witness that a call was authorised, and by whom it was made.
#[derive(Clone, Debug)]
pub struct Authorized {
    principal: Principal,
    permission: Permission,
    call: Arc<str>,
    source_address: Arc<str>,
    user_agent: Arc<str>,
}

/// Makes the layer.
#[derive(Clone, Debug)]
pub struct Authorize(Arc<Administrators>);

/// The layer around a service.
#[derive(Clone, Debug)]
pub struct Authorizing<S> {
    inner: S,
    administrators: Arc<Administrators>,
}

// What is known of a call before it is admitted.
struct Attempt {
    token: Result<Zeroizing<String>, &'static str>,
    call: Arc<str>,
    source_address: Arc<str>,
    user_agent: Arc<str>,
}

// === impl Authorized ===

impl Authorized {
    /// Takes the witness out of a call, together with its message.
    ///
    /// # Errors
    /// [`Failure::Unauthorised`] when the call did not pass the layer.
    pub fn take<T>(request: tonic::Request<T>) -> Result<(Self, T), Failure> {
        let (_, mut extensions, message) = request.into_parts();
        extensions.remove::<Self>().map(|by| (by, message)).ok_or(Failure::Unauthorised)
    }

    /// Who calls: `administrator/bootstrap`.
    #[must_use]
    pub fn principal(&self) -> &str {
        self.principal.name()
    }

    /// The permissions that the caller holds; `*` stands for all.
    #[must_use]
    pub fn permissions(&self) -> Vec<String> {
        self.principal.permissions()
    }

    /// The permission under which this call was admitted.
    #[must_use]
    pub const fn permission(&self) -> Permission {
        self.permission
    }

    /// The call: `/tollgate.admin.v1.KeyService/CreateKey`.
    #[must_use]
    pub fn call(&self) -> &str {
        &self.call
    }

    /// Where the caller is, as the connection says; empty when it does not.
    #[must_use]
    pub fn source_address(&self) -> &str {
        &self.source_address
    }

    /// What the caller's program says that it is.
    #[must_use]
    pub fn user_agent(&self) -> &str {
        &self.user_agent
    }
}

// === impl Authorize ===

impl Authorize {
    /// A layer that knows these administrators.
    #[must_use]
    pub const fn new(administrators: Arc<Administrators>) -> Self {
        Self(administrators)
    }
}

impl<S> Layer<S> for Authorize {
    type Service = Authorizing<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authorizing { inner, administrators: Arc::clone(&self.0) }
    }
}

// === impl Authorizing ===

impl<S> Service<Request<Body>> for Authorizing<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Future: Send> + Clone + Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The clone that was polled ready is the one that is called.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let administrators = Arc::clone(&self.administrators);
        Box::pin(async move {
            if OPEN.iter().any(|open| request.uri().path().starts_with(open)) {
                return inner.call(request).await;
            }
            let attempt = Attempt::of(&request);
            match attempt.admit(&administrators).await {
                Ok(by) => {
                    request.headers_mut().remove(header::AUTHORIZATION);
                    request.extensions_mut().insert(by);
                    inner.call(request).await
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

// === impl Attempt ===

impl Attempt {
    fn of(request: &Request<Body>) -> Self {
        Self {
            token: bearer(request.headers()).map(|token| Zeroizing::new(token.to_owned())),
            call: request.uri().path().into(),
            source_address: source(request).into(),
            user_agent: user_agent(request.headers()).into(),
        }
    }

    async fn admit(self, administrators: &Administrators) -> Result<Authorized, Status> {
        let token = self.token.as_ref().map_err(|text| self.refuse("unknown", Status::unauthenticated(*text)))?;
        let principal = administrators.authenticate(token).await.map_err(Failure::from)?;
        let principal = principal.ok_or_else(|| {
            self.refuse("unknown", Status::unauthenticated("the token is not known: it may have been replaced"))
        })?;
        let permission = permission::required(&self.call)
            .ok_or_else(|| self.refuse(principal.name(), Status::permission_denied("this call does not exist")))?;
        let permission = permission.permission;
        if permission != permission::PUBLIC && !principal.holds(permission) {
            let text = format!("this needs the permission {permission}, which {principal} does not hold");
            return Err(self.refuse(principal.name(), Status::permission_denied(text)));
        }
        let Self { token: _, call, source_address, user_agent } = self;
        Ok(Authorized { principal, permission, call, source_address, user_agent })
    }

    fn refuse(&self, principal: &str, status: Status) -> Status {
        let (call, source) = (&*self.call, &*self.source_address);
        tracing::warn!(principal, call, source, code = ?status.code(), "refused an admin call");
        status
    }
}

// Two credentials are refused: a proxy in between might have checked the other one.
fn bearer(headers: &HeaderMap) -> Result<&str, &'static str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or("send the token as 'authorization: Bearer <token>'")?;
    if values.next().is_some() {
        return Err("send one authorization header");
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err("send the token as 'authorization: Bearer <token>'");
    }
    Ok(token)
}

fn source(request: &Request<Body>) -> String {
    let extensions = request.extensions();
    let plain = extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    let tls = || extensions.get::<TlsConnectInfo<TcpConnectInfo>>().and_then(|info| info.get_ref().remote_addr());
    plain.or_else(tls).map(|address| address.to_string()).unwrap_or_default()
}

fn user_agent(headers: &HeaderMap) -> String {
    let text = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.chars().take(USER_AGENT_BYTES_MAX).collect()
}

impl fmt::Display for Authorized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.principal())
    }
}
