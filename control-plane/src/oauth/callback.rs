//! The way back from the issuer: whoever comes back is who the issuer says, or is not let in.

use std::sync::Arc;

use axum::{
    extract::{Query, State},
    response::{IntoResponse, Redirect},
};
use http::StatusCode;
use serde::Deserialize;
use tollgate_policy::id::UserId;

use super::{
    OAuth,
    answers::{Answer, OAuthError},
    authorize::{self, SIGN_IN_COOKIE, cookie_name},
    begun::{self, Code, CodeRequest, Confirmation, Purpose, Verified},
    browser,
    caller::Caller,
    device, pages,
    refusal::Refusal,
};
use crate::{
    clock,
    oidc::{
        SignInError,
        issuer::{Issuer, form},
    },
    sessions::{self, Beginning},
    store::{StoreError, sessions::SessionKind},
};

/// `GET /oauth/callback`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Parameters {
    state: String,
    code: String,
    error: String,
    iss: Option<String>,
}

/// Why somebody who came back is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The state was used, is over, or was never given out.
    #[error("the state is not one that waits: it was used, is over, or was made up")]
    State,
    /// The browser is another than the one that began.
    #[error("the sign-in began in another browser")]
    Binding,
    /// The issuer said no.
    #[error("the identity provider did not sign the person in")]
    Denied,
    /// The answer is another issuer's.
    #[error("the answer is of another identity provider")]
    MixedUp,
    /// The issuer, or what it gave.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// Too many wait.
    #[error("too many sign-ins wait")]
    Full,
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::SignIn(error.into())
    }
}

/// Takes what the issuer gave, and leads on to what the sign-in was for.
pub async fn callback(State(oauth): State<Arc<OAuth>>, caller: Caller, Query(parameters): Query<Parameters>) -> Answer {
    let begun = match oauth.take::<begun::State>(&parameters.state).await {
        Ok(Some(begun)) => begun,
        Ok(None) => return refused(&oauth, &caller, None, None, &Refused::State).await,
        Err(error) => return refused(&oauth, &caller, None, None, &error.into()).await,
    };
    let issuer = oauth.issuers.at(&begun.issuer);
    match arrive(&oauth, &caller, &parameters, &begun, issuer).await {
        Ok(answer) => answer,
        // Only the browser in which it began is sent anywhere.
        Err(error @ Refused::Binding) => refused(&oauth, &caller, issuer, None, &error).await,
        Err(error) => refused(&oauth, &caller, issuer, Some(&begun.purpose), &error).await,
    }
}

async fn arrive(
    oauth: &OAuth,
    caller: &Caller,
    parameters: &Parameters,
    begun: &begun::State,
    issuer: Option<&Issuer>,
) -> Result<Answer, Refused> {
    let cookie = caller.cookie(&cookie_name(oauth, SIGN_IN_COOKIE)).ok_or(Refused::Binding)?;
    if oauth.binding(cookie) != begun.binding {
        return Err(Refused::Binding);
    }
    let issuer = issuer.ok_or(SignInError::UnknownIssuer)?;
    // RFC 9207: an issuer that names itself must be the one that was asked.
    if parameters.iss.as_ref().is_some_and(|iss| *iss != begun.issuer) {
        return Err(Refused::MixedUp);
    }
    if !parameters.error.is_empty() || parameters.code.is_empty() {
        return Err(Refused::Denied);
    }
    let verified = verify(oauth, issuer, &parameters.code, begun).await?;
    match &begun.purpose {
        Purpose::Code(request) => give_code(oauth, request, verified).await,
        Purpose::Browser { next } => begin_browser(oauth, caller, next, &verified).await,
        Purpose::Device { user_code } => {
            let confirmation = Confirmation { user_code: user_code.clone(), binding: begun.binding.clone(), verified };
            let mut txn = oauth.store.begin().await?;
            let ticket = oauth.put(&mut txn, &confirmation, None).await?.ok_or(Refused::Full)?;
            txn.commit().await?;
            Ok(device::confirmation_page(oauth, &confirmation, &ticket).await?)
        }
    }
}

async fn verify(oauth: &OAuth, issuer: &Issuer, code: &str, begun: &begun::State) -> Result<Verified, Refused> {
    let grant = issuer.exchange(code, &begun.verifier, &oauth.callback_url()).await.map_err(SignInError::from)?;
    let person = oauth.issuers.person(issuer, &grant, &begun.nonce).await?;
    let user = oauth.issuers.provision(issuer, &person).await?;
    let (session, now) = (sessions::fresh_id(), clock::now_ms());
    let mut txn = oauth.store.begin().await?;
    txn.identity_signed_in(&begun.issuer, &person.subject, now).await?;
    if let Some(refresh_token) = &grant.refresh_token {
        oauth.sessions.keep_grant(&mut txn, &session, refresh_token).await?;
    }
    if let (Purpose::Browser { .. }, Some(id_token)) = (&begun.purpose, &grant.id_token) {
        oauth.sessions.keep_hint(&mut txn, &session, id_token).await?;
    }
    txn.commit().await?;
    Ok(Verified { user: user.id.to_string(), issuer: begun.issuer.clone(), session, time: now })
}

async fn give_code(oauth: &OAuth, request: &CodeRequest, verified: Verified) -> Result<Answer, Refused> {
    let mut txn = oauth.store.begin().await?;
    let code = oauth.put(&mut txn, &Code { request: request.clone(), verified }, None).await?.ok_or(Refused::Full)?;
    txn.commit().await?;
    let fields = [("code", code.as_str()), ("state", &request.state), ("iss", &oauth.public_url)];
    let location = format!("{}?{}", request.redirect_uri, form(fields.iter()));
    Ok(Redirect::to(&location).into_response())
}

async fn begin_browser(oauth: &OAuth, caller: &Caller, next: &str, verified: &Verified) -> Result<Answer, Refused> {
    let user = UserId::parse(&verified.user).map_err(|error| StoreError::corrupt("body", error))?;
    let mut txn = oauth.store.begin().await?;
    let beginning = Beginning {
        id: &verified.session,
        user: &user,
        issuer: &verified.issuer,
        kind: SessionKind::Browser,
        checked_time: verified.time,
        source_address: &caller.source_address,
        user_agent: &caller.user_agent,
    };
    let tokens = oauth.sessions.begin(&mut txn, beginning).await?;
    txn.commit().await?;
    let cookie = authorize::set_cookie(oauth, browser::COOKIE, &tokens.access, tokens.expires_in_s);
    Ok(authorize::with_cookie(Redirect::to(next).into_response(), &cookie))
}

async fn refused(
    oauth: &OAuth,
    caller: &Caller,
    issuer: Option<&Issuer>,
    purpose: Option<&Purpose>,
    error: &Refused,
) -> Answer {
    let reason = error.to_string();
    let is_failure = matches!(error, Refused::SignIn(error) if error.is_transient());
    let refusal = Refusal {
        step: "callback",
        reason: &reason,
        issuer: issuer.map(|issuer| issuer.settings().name.as_str()).unwrap_or_default(),
        source_address: &caller.source_address,
        is_failure,
        ..Refusal::default()
    };
    oauth.write(refusal).await;
    // The command line waits for an answer. What exactly was wrong is for the log: it may say how somebody else is refused.
    let (words, status) = if is_failure {
        (
            OAuthError::TemporarilyUnavailable("the identity provider does not answer: try again").words(),
            StatusCode::BAD_GATEWAY,
        )
    } else {
        (
            OAuthError::AccessDenied("not signed in: ask your platform team to look into the audit log").words(),
            StatusCode::FORBIDDEN,
        )
    };
    if let Some(Purpose::Code(request)) = purpose {
        let fields =
            [("error", words.0), ("error_description", words.1), ("state", &request.state), ("iss", &oauth.public_url)];
        return Redirect::to(&format!("{}?{}", request.redirect_uri, form(fields.iter()))).into_response();
    }
    pages::sentence(status, "You are not signed in", words.1)
}
