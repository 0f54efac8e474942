//! `GET /.well-known/jwks.json`: by what authorization servers know what they are told of users.

use std::sync::Arc;

use axum::{Json, Router, extract::State, response::IntoResponse, routing::get};
use http::StatusCode;

use super::McpOAuth;

/// Where the keys are, on the HTTP listener.
pub const KEYS: &str = "/.well-known/jwks.json";

/// The route.
pub fn routes(mcp: &Arc<McpOAuth>) -> Router {
    Router::new().route(KEYS, get(keys)).with_state(Arc::clone(mcp))
}

async fn keys(State(mcp): State<Arc<McpOAuth>>) -> axum::response::Response {
    match mcp.signer().key_set().await {
        Ok(keys) => Json(keys).into_response(),
        Err(error) => {
            tracing::error!(%error, "failed to read the keys that sign");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}
