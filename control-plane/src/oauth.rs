//! How people sign in: an OAuth 2.0 authorisation server for Tollgate's own clients, in front of the identity providers.
//!
//! ```text
//! command line ──authorize──► here ──state, nonce, PKCE──► issuer ──callback──► here ──code──► command line ──token──► session
//! device       ──device_authorization──► here   person ──device──► issuer ──callback──► confirmation   device ──token──► session
//! browser      ──login──► here ──► issuer ──callback──► cookie
//! ```
//!
//! Reading order: [`caller`], who asks; [`begun`], what waits in the database between two steps; [`authorize`], the way to the
//! issuer; [`callback`], the way back; [`device`] and [`browser`], the other two ways in; [`token`], what a session begins
//! with; [`connect`], what somebody who is signed in permits elsewhere; [`pages`] and [`answers`], what is said; [`refusal`], what the
//! log says of those who are not let in.

pub mod caller;
pub mod begun;
pub mod authorize;
pub mod callback;
pub mod device;
pub mod browser;
pub mod token;
pub mod connect;
pub mod pages;
pub mod answers;
pub mod refusal;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};

use self::device::Guesses;
use crate::{
    keys::Minter,
    mcp_oauth::{CALLBACK, McpOAuth},
    oidc::Issuers,
    refusals::{Refusals, SIGN_INS_MAX},
    sessions::Sessions,
    store::Store,
};

/// The only client: Tollgate's own command line, which has no secret.
pub const CLIENT_ID: &str = "tollgate-cli";

/// The longest body: a form of a few fields.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What the routes share.
#[derive(Debug)]
pub struct OAuth {
    store: Store,
    minter: Arc<Minter>,
    sessions: Arc<Sessions>,
    issuers: Arc<Issuers>,
    refusals: Refusals,
    guesses: Guesses,
    mcp: Arc<McpOAuth>,
    public_url: String,
}

// === impl OAuth ===

impl OAuth {
    /// An authorisation server at this address.
    #[must_use]
    pub fn new(
        store: &Store,
        minter: &Arc<Minter>,
        sessions: &Arc<Sessions>,
        issuers: &Arc<Issuers>,
        mcp: &Arc<McpOAuth>,
        public_url: String,
    ) -> Self {
        Self {
            store: store.clone(),
            minter: Arc::clone(minter),
            sessions: Arc::clone(sessions),
            issuers: Arc::clone(issuers),
            refusals: Refusals::new(store, SIGN_INS_MAX),
            guesses: Guesses::default(),
            mcp: Arc::clone(mcp),
            public_url,
        }
    }

    /// Its routes.
    pub fn routes(self: Arc<Self>) -> Router {
        Router::new()
            .route("/.well-known/oauth-authorization-server", get(answers::metadata))
            .route("/oauth/authorize", get(authorize::authorize))
            .route("/oauth/callback", get(callback::callback))
            .route("/oauth/token", post(token::token))
            .route("/oauth/revoke", post(token::revoke))
            .route("/oauth/device_authorization", post(device::begin))
            .route("/oauth/device", get(device::page).post(device::answer))
            .route("/login", get(browser::login))
            .route("/mcp/connect/{server}", get(connect::page).post(connect::answer))
            .route(CALLBACK, get(connect::callback))
            .route("/mcp/callback/{server}", get(connect::callback))
            .route("/logout", get(browser::page).post(browser::logout))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(self)
    }

    fn callback_url(&self) -> String {
        format!("{}/oauth/callback", self.public_url)
    }

    /// Whether cookies go over TLS.
    fn is_secure(&self) -> bool {
        self.public_url.starts_with("https://")
    }
}
