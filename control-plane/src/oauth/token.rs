//! `POST /oauth/token` and `POST /oauth/revoke`: what a session begins, goes on and ends with.

use std::sync::Arc;

use axum::{Form, extract::State, response::IntoResponse};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tollgate_policy::id::UserId;

use super::{
    CLIENT_ID, OAuth,
    answers::{self, Answer, OAuthError},
    begun::{Code, Verified},
    caller::Caller,
    device,
    refusal::Refusal,
};
use crate::{
    sessions::{Beginning, RenewError, Tokens, same},
    store::{StoreError, sessions::SessionKind},
};

/// The fields of either endpoint.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Fields {
    grant_type: String,
    client_id: String,
    code: String,
    redirect_uri: String,
    code_verifier: String,
    refresh_token: String,
    device_code: String,
    token: String,
}

/// Why there are no tokens: what the client is told, and what the log is.
pub(super) struct Denied {
    pub(super) error: OAuthError,
    pub(super) reason: String,
    pub(super) target: String,
}

/// Gives the tokens of a session.
pub async fn token(State(oauth): State<Arc<OAuth>>, caller: Caller, Form(fields): Form<Fields>) -> Answer {
    if fields.client_id != CLIENT_ID {
        oauth.refuse(&caller, "token", "client_id is not tollgate-cli").await;
        return OAuthError::InvalidClient.into_response();
    }
    let given = match fields.grant_type.as_str() {
        "authorization_code" => exchange(&oauth, &caller, &fields).await,
        "refresh_token" => renew(&oauth, &caller, &fields.refresh_token).await,
        device::GRANT_TYPE => device::poll(&oauth, &caller, &fields.device_code).await,
        _ => Err(Denied::new(OAuthError::UnsupportedGrantType, "another grant was asked for")),
    };
    let denied = match given {
        Ok(tokens) => return answers::tokens(&tokens),
        Err(denied) => denied,
    };
    // A device that waits is not refused.
    if !matches!(denied.error, OAuthError::AuthorizationPending | OAuthError::SlowDown) {
        let refusal = Refusal {
            step: "token",
            reason: &denied.reason,
            target: &denied.target,
            source_address: &caller.source_address,
            is_failure: matches!(denied.error, OAuthError::TemporarilyUnavailable(_)),
            ..Refusal::default()
        };
        oauth.write(refusal).await;
    }
    denied.error.into_response()
}

/// RFC 7009: ends the session of a token. A token that nobody knows is no error.
pub async fn revoke(State(oauth): State<Arc<OAuth>>, Form(fields): Form<Fields>) -> Answer {
    let ended = async {
        if let Some(session) = oauth.sessions.find(&fields.token).await? {
            oauth.sessions.end(&session, &format!("user/{}", session.user), "signed out").await?;
        }
        Ok::<_, StoreError>(())
    };
    match ended.await {
        Ok(()) => answers::private(StatusCode::OK, json!({})),
        Err(_) => OAuthError::TemporarilyUnavailable("the session could not be ended: try again").into_response(),
    }
}

async fn exchange(oauth: &OAuth, caller: &Caller, fields: &Fields) -> Result<Tokens, Denied> {
    let invalid = |reason: &str| Denied::new(OAuthError::InvalidGrant("the code is not good: sign in again"), reason);
    let code = oauth.take::<Code>(&fields.code).await?;
    let Code { request, verified } = code.ok_or_else(|| invalid("the code was used, is over, or was made up"))?;
    if request.redirect_uri != fields.redirect_uri {
        return Err(invalid("redirect_uri is not the one that the code was asked for with"));
    }
    let is_verifier = (43..=128).contains(&fields.code_verifier.len());
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(fields.code_verifier.as_bytes()));
    if !is_verifier || !same(&challenge, &request.code_challenge) {
        return Err(invalid("code_verifier is not that of the code"));
    }
    begin(oauth, caller, &verified).await
}

/// Begins the session of a command line, if the user is still there and enabled.
pub(super) async fn begin(oauth: &OAuth, caller: &Caller, verified: &Verified) -> Result<Tokens, Denied> {
    let user = UserId::parse(&verified.user).map_err(|error| StoreError::corrupt("body", error))?;
    let mut txn = oauth.store.begin().await?;
    if txn.user_find(user.as_str()).await?.is_none_or(|user| user.disabled) {
        let error = OAuthError::AccessDenied("the user is disabled: ask your platform team");
        let denied = Denied::new(error, "the user is disabled");
        return Err(Denied { target: format!("user/{user}"), ..denied });
    }
    let beginning = Beginning {
        id: &verified.session,
        user: &user,
        issuer: &verified.issuer,
        kind: SessionKind::CommandLine,
        checked_time: verified.time,
        source_address: &caller.source_address,
        user_agent: &caller.user_agent,
    };
    let tokens = oauth.sessions.begin(&mut txn, beginning).await?;
    txn.commit().await?;
    Ok(tokens)
}

async fn renew(oauth: &OAuth, caller: &Caller, token: &str) -> Result<Tokens, Denied> {
    oauth.sessions.renew(token, &caller.source_address).await.map_err(|error| {
        let reason = error.to_string();
        let invalid = OAuthError::InvalidGrant("the session has ended: sign in again");
        let (error, session) = match error {
            RenewError::Unknown => (invalid, None),
            RenewError::Reused(session) | RenewError::Ended(session) => (invalid, Some(session)),
            RenewError::Unreachable(session) => {
                let sentence = "the identity provider cannot be asked: try again later";
                (OAuthError::TemporarilyUnavailable(sentence), Some(session))
            }
            RenewError::Store(error) => return error.into(),
        };
        let target = session.map(|session| format!("session/{session}")).unwrap_or_default();
        Denied { target, ..Denied::new(error, &reason) }
    })
}

// === impl Denied ===

impl Denied {
    pub(super) fn new(error: OAuthError, reason: &str) -> Self {
        Self { error, reason: reason.to_owned(), target: String::new() }
    }
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "failed to give tokens");
        Self::new(OAuthError::TemporarilyUnavailable("try again in a moment"), "the database cannot be used")
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fields").field("grant_type", &self.grant_type).finish_non_exhaustive()
    }
}
