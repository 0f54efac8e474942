//! The session of a browser: a cookie that no script reads and no other site sends along.

use std::sync::Arc;

use axum::{
    Form,
    extract::{Query, State},
    response::{IntoResponse, Redirect},
};
use http::StatusCode;
use serde::Deserialize;

use super::{
    OAuth,
    answers::Answer,
    authorize::{self, cookie_name},
    begun::Purpose,
    caller::Caller,
    pages,
};
use crate::{oidc::issuer::form, sessions::SignedIn, store::StoreError};

/// The name of the cookie; `__Host-` stands before it where there is TLS.
pub const COOKIE: &str = "tollgate";
/// The longest path to go on at, in bytes.
const NEXT_BYTES_MAX: usize = 1_000;

/// `GET /login`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Login {
    issuer: String,
    next: String,
}

/// `POST /logout`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Logout {
    form_token: String,
}

/// Sends a browser to an issuer.
pub async fn login(State(oauth): State<Arc<OAuth>>, caller: Caller, Query(login): Query<Login>) -> Answer {
    let Login { issuer, next } = login;
    let next = if next.is_empty() { "/" } else { &next };
    if !is_local(next) {
        oauth.refuse(&caller, "login", "next is not a path of this host").await;
        return pages::sentence(
            StatusCode::BAD_REQUEST,
            "This sign-in cannot begin",
            "next must be a path of this host",
        );
    }
    let again = |name: &str| format!("/login?{}", form([("issuer", name), ("next", next)].iter()));
    match authorize::choose(&oauth, &issuer, again) {
        Ok(issuer) => authorize::send(&oauth, &caller, issuer, Purpose::Browser { next: next.to_owned() }).await,
        Err(page) => *page,
    }
}

/// `GET /logout`: the form that signs out.
pub async fn page(State(oauth): State<Arc<OAuth>>, caller: Caller) -> Answer {
    match signed_in(&oauth, &caller).await {
        Ok(Some((cookie, SignedIn { user, .. }))) => {
            let token = pages::hidden("form_token", &oauth.minter.form_token(&cookie));
            let body = format!(
                "<p>You are {}.</p><form method=\"post\" action=\"/logout\">{token}<button>Sign out</button></form>",
                pages::escaped(user.name.as_str())
            );
            pages::page(StatusCode::OK, "Sign out", &body)
        }
        Ok(None) => pages::sentence(StatusCode::OK, "Sign out", "You are not signed in."),
        Err(_) => pages::sentence(StatusCode::SERVICE_UNAVAILABLE, "Sign out", "Try again in a moment."),
    }
}

/// Ends the browser's session.
pub async fn logout(State(oauth): State<Arc<OAuth>>, caller: Caller, Form(fields): Form<Logout>) -> Answer {
    let signed_in = match signed_in(&oauth, &caller).await {
        Ok(signed_in) => signed_in,
        Err(_) => return pages::sentence(StatusCode::SERVICE_UNAVAILABLE, "Sign out", "Try again in a moment."),
    };
    let gone = authorize::set_cookie(&oauth, COOKIE, "", 0);
    let Some((cookie, signed_in)) = signed_in else {
        return authorize::with_cookie(Redirect::to("/logout").into_response(), &gone);
    };
    let is_ours = crate::sessions::same(&fields.form_token, &oauth.minter.form_token(&cookie));
    if !caller.is_same_origin(&oauth.public_url) || !is_ours {
        oauth.refuse(&caller, "logout", "the form is not of a page of this host").await;
        return pages::sentence(StatusCode::FORBIDDEN, "Sign out", "Open this page again and try once more.");
    }
    match end(&oauth, &signed_in).await {
        Ok(Some(page)) => authorize::with_cookie(page, &gone),
        Ok(None) => authorize::with_cookie(Redirect::to("/logout").into_response(), &gone),
        Err(_) => pages::sentence(StatusCode::SERVICE_UNAVAILABLE, "Sign out", "Try again in a moment."),
    }
}

// Ends the session here; the page leads on to where its issuer ends its own, if it does. A link and no redirect: the page's policy
// lets a form lead nowhere else, and not everybody who leaves Tollgate wants to leave all that they have open there.
async fn end(oauth: &OAuth, signed_in: &SignedIn) -> Result<Option<Answer>, StoreError> {
    let SignedIn { session, user } = signed_in;
    let hint = oauth.sessions.hint(&session.id).await?;
    oauth.sessions.end(session, &format!("user/{}", user.id), "signed out").await?;
    let Some(issuer) = oauth.issuers.at(&session.issuer) else { return Ok(None) };
    let back = format!("{}/logout", oauth.public_url);
    // An issuer that does not answer keeps nobody signed in here.
    let url = issuer.end_session_url(hint.as_ref().map(|hint| hint.as_str()), &back).await.ok().flatten();
    Ok(url.map(|url| {
        let name = &issuer.settings().name;
        let sentence = format!("You are signed out here. {name} may still know this browser, and let it in again.");
        let link = pages::link(&url, &format!("Sign out at {name} as well"));
        pages::page(StatusCode::OK, "Signed out", &format!("<p>{}</p>{link}", pages::escaped(&sentence)))
    }))
}

/// Who is signed in at this browser, with the cookie of the session.
pub(super) async fn signed_in(oauth: &OAuth, caller: &Caller) -> Result<Option<(String, SignedIn)>, StoreError> {
    let Some(cookie) = caller.cookie(&cookie_name(oauth, COOKIE)) else { return Ok(None) };
    Ok(oauth.sessions.authenticate(cookie).await?.map(|signed_in| (cookie.to_owned(), signed_in)))
}

// `//host` and `/\host` are other hosts to a browser, and it drops tabs and line breaks before it looks.
fn is_local(next: &str) -> bool {
    let plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    plain && next.len() <= NEXT_BYTES_MAX && next.starts_with('/') && !next.starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_goes_on_at_a_path_of_this_host() {
        for good in ["/", "/oauth/device?user_code=X", "/a//b"] {
            assert!(is_local(good), "{good}");
        }
        for bad in ["", "//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example", "evil", "/ü"]
        {
            assert!(!is_local(bad), "{bad}");
        }
    }
}
