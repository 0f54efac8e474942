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
use tollgate_policy::{
    id::UserId,
    rbac::{Holder, Place, Reach},
    time::UnixMillis,
};
use tollgate_proto::permission::{self, Permission};
use tonic::{
    Status,
    body::Body,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use tower::{Layer, Service};
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::{
    clock,
    principals::{Identity, NotKnown, Principal, Principals},
    refusals::{Refusals, Refused},
};

/// Services that anybody who reaches the listener may call.
const OPEN: [&str; 3] =
    ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];

/// The caller of a call whose token nobody knows.
const NOBODY: &str = "unknown";

/// The longest user agent that is remembered, in bytes.
const USER_AGENT_BYTES_MAX: usize = 200;

/// The witness that a call was authorised, and by whom it was made.
#[derive(Clone, Debug)]
pub struct Authorized {
    principal: Principal,
    now: UnixMillis,
    permission: Permission,
    call: Arc<str>,
    source_address: Arc<str>,
    user_agent: Arc<str>,
}

/// Makes the layer.
#[derive(Clone, Debug)]
pub struct Authorize {
    principals: Arc<Principals>,
    refusals: Arc<Refusals>,
}

/// The layer around a service.
#[derive(Clone, Debug)]
pub struct Authorizing<S> {
    inner: S,
    authorize: Authorize,
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

    /// The witness of a call over HTTP, whose caller was asked for the permission where it came in.
    #[must_use]
    pub(crate) fn over_http(
        principal: Principal,
        permission: Permission,
        call: &str,
        source_address: &str,
        headers: &HeaderMap,
    ) -> Self {
        let user_agent = user_agent(headers).into();
        let now = UnixMillis::new(clock::now_ms());
        Self { principal, now, permission, call: call.into(), source_address: source_address.into(), user_agent }
    }

    /// Who calls: `administrator/bootstrap`.
    #[must_use]
    pub fn principal(&self) -> &str {
        self.principal.name()
    }

    /// What kind of caller it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        self.principal.identity()
    }

    /// What the caller holds.
    #[must_use]
    pub fn holder(&self) -> &Holder {
        self.principal.holder()
    }

    /// When the call was admitted.
    #[must_use]
    pub const fn now(&self) -> UnixMillis {
        self.now
    }

    /// The same caller, for something else that the call does on the way; `None` when they may do it nowhere.
    #[must_use]
    pub fn also(&self, permission: Permission) -> Option<Self> {
        let held = self.holder().holds_somewhere(self.now, permission);
        held.then(|| Self { permission, ..self.clone() })
    }

    /// Whether the caller may do this at a place.
    #[must_use]
    pub fn reaches(&self, place: &Place) -> bool {
        self.holder().holds(self.now, self.permission, place)
    }

    /// Whether the caller may do this at a place for no other reason than that it is their own.
    #[must_use]
    pub fn is_mere_owner(&self, place: &Place) -> bool {
        self.holder().holds_as_owner(self.now, self.permission, place)
    }

    /// Everywhere that the caller may do this.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.holder().reach(self.now, self.permission)
    }

    /// The caller, when it is a person.
    #[must_use]
    pub const fn user(&self) -> Option<&UserId> {
        match self.principal.identity() {
            Identity::User(user, _) => Some(user),
            Identity::Bootstrap | Identity::ServiceAccount(_) => None,
        }
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
    /// A layer that knows these callers, and writes down whom it refuses.
    #[must_use]
    pub const fn new(principals: Arc<Principals>, refusals: Arc<Refusals>) -> Self {
        Self { principals, refusals }
    }
}

impl<S> Layer<S> for Authorize {
    type Service = Authorizing<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authorizing { inner, authorize: self.clone() }
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
        let authorize = self.authorize.clone();
        Box::pin(async move {
            if OPEN.iter().any(|open| request.uri().path().starts_with(open)) {
                return inner.call(request).await;
            }
            let attempt = Attempt::of(&request);
            match attempt.admit(&authorize).await {
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

    async fn admit(self, authorize: &Authorize) -> Result<Authorized, Status> {
        let refused_for = async |principal: &str, cause: &str, status: Status| {
            let refusal = Refused { principal, call: &self.call, source_address: &self.source_address, cause };
            authorize.refusals.refused(refusal, status).await
        };
        let refused = async |principal: &str, status: Status| refused_for(principal, "", status).await;
        let token = match &self.token {
            Ok(token) => token,
            Err(text) => return Err(refused(NOBODY, Status::unauthenticated(*text)).await),
        };
        let principal = match authorize.principals.authenticate(token).await {
            Ok(principal) => principal,
            Err(NotKnown::Store(error)) => return Err(Failure::from(error).into()),
            Err(error) => {
                return Err(refused_for(NOBODY, &error.cause(), Status::unauthenticated(error.to_string())).await);
            }
        };
        let Some(demanded) = permission::required(&self.call) else {
            return Err(refused(principal.name(), Status::permission_denied("this call does not exist")).await);
        };
        let (permission, now) = (demanded.permission, UnixMillis::new(clock::now_ms()));
        let held = match demanded.owned {
            true => principal.holder().holds_somewhere(now, permission),
            false => principal.holder().holds_everywhere(now, permission),
        };
        if permission != permission::PUBLIC && !held {
            let text = format!("this needs the permission {permission}, which {principal} does not hold");
            return Err(refused(principal.name(), Status::permission_denied(text)).await);
        }
        let Self { token: _, call, source_address, user_agent } = self;
        Ok(Authorized { principal, now, permission, call, source_address, user_agent })
    }
}

/// The token of a call. Two are refused: a proxy in between might have checked the other one.
///
/// # Errors
/// When there is none, or more than one, with what to do.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, &'static str> {
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
