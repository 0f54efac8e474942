//! What clients are told: RFC 6749's answers and errors, and RFC 8414's description of this server.

use std::sync::Arc;

use axum::{Json, extract::State, response::IntoResponse};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::OAuth;
use crate::{mcp_oauth::keys::KEYS, sessions::Tokens};

/// An error of RFC 6749, 5.2 and RFC 8628, 3.5.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OAuthError {
    /// A parameter is missing or wrong.
    InvalidRequest(&'static str),
    /// There is one client only.
    InvalidClient,
    /// The code or token is not good.
    InvalidGrant(&'static str),
    /// Another grant was asked for.
    UnsupportedGrantType,
    /// The person has not answered yet.
    AuthorizationPending,
    /// The device asks too often.
    SlowDown,
    /// The device took too long.
    ExpiredToken,
    /// The person, or the issuer, said no.
    AccessDenied(&'static str),
    /// Trying again can succeed.
    TemporarilyUnavailable(&'static str),
}

/// An answer that no cache keeps.
pub type Answer = axum::response::Response;

// === impl OAuthError ===

impl OAuthError {
    /// The code and the sentence.
    #[must_use]
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::InvalidRequest(sentence) => ("invalid_request", sentence),
            Self::InvalidClient => ("invalid_client", "client_id must be tollgate-cli"),
            Self::InvalidGrant(sentence) => ("invalid_grant", sentence),
            Self::UnsupportedGrantType => ("unsupported_grant_type", "grant_type is none of those that are offered"),
            Self::AuthorizationPending => ("authorization_pending", "the person has not answered yet: ask again"),
            Self::SlowDown => ("slow_down", "ask less often: five more seconds between two questions"),
            Self::ExpiredToken => ("expired_token", "the device code is over: begin again"),
            Self::AccessDenied(sentence) => ("access_denied", sentence),
            Self::TemporarilyUnavailable(sentence) => ("temporarily_unavailable", sentence),
        }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Answer {
        let (code, sentence) = self.words();
        let status = match self {
            Self::InvalidClient => StatusCode::UNAUTHORIZED,
            Self::TemporarilyUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        private(status, json!({ "error": code, "error_description": sentence }))
    }
}

/// A JSON answer that no cache keeps.
pub fn private(status: StatusCode, body: Value) -> Answer {
    let mut answer = (status, Json(body)).into_response();
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The answer of the token endpoint.
pub fn tokens(tokens: &Tokens) -> Answer {
    let mut body = json!({
        "access_token": tokens.access.as_str(),
        "token_type": "Bearer",
        "expires_in": tokens.expires_in_s,
    });
    if let (Some(refresh), Some(members)) = (&tokens.refresh, body.as_object_mut()) {
        members.insert("refresh_token".into(), json!(refresh.as_str()));
    }
    private(StatusCode::OK, body)
}

/// `GET /.well-known/oauth-authorization-server`, RFC 8414.
pub async fn metadata(State(oauth): State<Arc<OAuth>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", oauth.public_url);
    let issuers: Vec<_> = oauth.issuers.all().iter().map(|issuer| issuer.settings().name.to_string()).collect();
    Json(json!({
        "issuer": oauth.public_url,
        "authorization_endpoint": at("/oauth/authorize"),
        "token_endpoint": at("/oauth/token"),
        "revocation_endpoint": at("/oauth/revoke"),
        "device_authorization_endpoint": at("/oauth/device_authorization"),
        "jwks_uri": at(KEYS),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", super::device::GRANT_TYPE],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "tollgate_issuers": issuers,
    }))
}
