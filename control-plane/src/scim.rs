//! SCIM 2.0 on the HTTP listener, under `/scim/v2`: identity providers push who joins, changes and leaves.
//!
//! Reading order: [`admission`], who may call; [`reply`], what is answered; [`query`], the parameters of a list; [`person`], what
//! a provisioned user is in Tollgate; [`users`] and [`groups`], the resources; [`discovery`], what there is.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use tokio::sync::Semaphore;
use tollgate_scim::Problem;

use crate::{mcp_oauth::McpOAuth, principals::Principals, refusals::Refusals, store::Store};

mod admission;
mod reply;
mod query;
mod person;
mod users;
mod groups;
mod discovery;

use self::reply::Refusal;

/// Where it is, on the HTTP listener.
pub const PATH: &str = "/scim/v2";

/// The largest body: a group with 20,000 members, each `{"value":"user-<26 characters>"}`.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How long one call may take, its wait for a turn included.
const CALL_MAX: Duration = Duration::from_secs(30);
/// Calls at a time. Changes run one by one anyway; a list holds one page of resources.
const CALLS_MAX: usize = 16;

/// The service provider.
#[derive(Debug)]
pub struct Scim {
    store: Store,
    principals: Arc<Principals>,
    refusals: Arc<Refusals>,
    mcp: Arc<McpOAuth>,
    settings: Settings,
    turns: Semaphore,
}

/// What operators set of it.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The issuer whose subjects are the external ids of provisioned users.
    pub issuer: Option<String>,
    /// How the HTTP listener is reached from outside; without it, as the caller says that it was.
    pub public_url: Option<String>,
}

impl Scim {
    /// A service provider over this database.
    #[must_use]
    pub fn new(
        store: Store,
        principals: Arc<Principals>,
        refusals: Arc<Refusals>,
        mcp: Arc<McpOAuth>,
        settings: Settings,
    ) -> Self {
        Self { store, principals, refusals, mcp, settings, turns: Semaphore::new(CALLS_MAX) }
    }

    /// Its routes.
    pub fn routes(self) -> Router {
        let scim = Arc::new(self);
        let one_user = get(users::one).put(users::replace).patch(users::patch).delete(users::delete);
        let one_group = get(groups::one).put(groups::replace).patch(groups::patch).delete(groups::delete);
        let routes = Router::new()
            .route("/ServiceProviderConfig", get(discovery::service_provider))
            .route("/ResourceTypes", get(discovery::kinds))
            .route("/ResourceTypes/{name}", get(discovery::kind))
            .route("/Schemas", get(discovery::schemas))
            .route("/Schemas/{uri}", get(discovery::schema))
            .route("/.search", post(query::search))
            .route("/Users", get(users::list).post(users::create))
            .route("/Users/.search", post(users::search))
            .route("/Users/{id}", one_user)
            .route("/Groups", get(groups::list).post(groups::create))
            .route("/Groups/.search", post(groups::search))
            .route("/Groups/{id}", one_group)
            .fallback(async || Refusal::status(404, "there is no such endpoint"))
            .method_not_allowed_fallback(async || Refusal::status(405, "the endpoint does not take this method"))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(middleware::from_fn_with_state(Arc::clone(&scim), guard))
            .with_state(scim);
        Router::new().nest(PATH, routes)
    }
}

// Every call passes here, one to an endpoint that does not exist as well.
async fn guard(State(scim): State<Arc<Scim>>, mut request: Request, next: Next) -> Response {
    let call = format!("{} {PATH}{}", request.method(), request.uri().path());
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let source = peer.map(|ConnectInfo(address)| address.to_string()).unwrap_or_default();
    let served = async {
        let _turn = scim.turns.acquire().await;
        match scim.admit(request.headers(), &call, &source).await {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
            Err(refusal) => refusal.into_response(),
        }
    };
    let late = || Refusal::Problem(Problem::Status(503, "the control plane is busy: try again".into())).into_response();
    tokio::time::timeout(CALL_MAX, served).await.unwrap_or_else(|_| late())
}
