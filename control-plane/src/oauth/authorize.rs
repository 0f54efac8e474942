//! The way to the issuer: what the command line asks for is checked, and its browser is sent on.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Query, State},
    response::{IntoResponse, Redirect},
};
use http::{HeaderValue, StatusCode, Uri, header};
use openidconnect::PkceCodeChallenge;
use serde::Deserialize;

use super::{
    CLIENT_ID, OAuth,
    answers::Answer,
    begun::{self, CodeRequest, Purpose},
    caller::Caller,
    pages,
    refusal::Refusal,
};
use crate::{
    keys::random_token,
    oidc::{
        SignInError,
        issuer::{Issuer, form},
    },
    store::StoreError,
};

/// The cookie that binds a sign-in to the browser in which it began.
pub const SIGN_IN_COOKIE: &str = "tollgate-sign-in";
/// The longest `state` of a client, in bytes.
const STATE_BYTES_MAX: usize = 512;

/// `GET /oauth/authorize`, RFC 6749, 4.1.1 with RFC 7636.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Parameters {
    response_type: String,
    client_id: String,
    redirect_uri: String,
    state: String,
    code_challenge: String,
    code_challenge_method: String,
    issuer: String,
}

/// Why a browser is not sent to an issuer.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// The issuer.
    #[error(transparent)]
    Issuer(#[from] SignInError),
    /// Too many wait.
    #[error("too many sign-ins wait: try again in a few minutes")]
    Full,
}

/// Sends the command line's browser to an issuer.
pub async fn authorize(
    State(oauth): State<Arc<OAuth>>,
    caller: Caller,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let wrong = if parameters.client_id != CLIENT_ID {
        Some("client_id must be tollgate-cli")
    } else if !is_loopback_callback(&parameters.redirect_uri) {
        Some("redirect_uri must be http://127.0.0.1:<port>/callback or http://[::1]:<port>/callback")
    } else if parameters.response_type != "code" {
        Some("response_type must be code")
    } else if parameters.code_challenge_method != "S256" || !is_challenge(&parameters.code_challenge) {
        Some("code_challenge must be given, with code_challenge_method S256")
    } else if parameters.state.is_empty() || parameters.state.len() > STATE_BYTES_MAX {
        Some("state must be 1 to 512 characters")
    } else {
        None
    };
    if let Some(wrong) = wrong {
        oauth.refuse(&caller, "authorize", wrong).await;
        return pages::sentence(StatusCode::BAD_REQUEST, "This sign-in cannot begin", wrong);
    }
    let Parameters { redirect_uri, state, code_challenge, issuer, .. } = &parameters;
    let again = |name: &str| {
        let Parameters { response_type, client_id, redirect_uri, state, code_challenge, code_challenge_method, .. } =
            &parameters;
        let fields = [
            ("response_type", response_type.as_str()),
            ("client_id", client_id),
            ("redirect_uri", redirect_uri),
            ("state", state),
            ("code_challenge", code_challenge),
            ("code_challenge_method", code_challenge_method),
            ("issuer", name),
        ];
        format!("/oauth/authorize?{}", form(fields.iter()))
    };
    let issuer = match choose(&oauth, issuer, again) {
        Ok(issuer) => issuer,
        Err(page) => return *page,
    };
    let request = CodeRequest {
        redirect_uri: redirect_uri.clone(),
        state: state.clone(),
        code_challenge: code_challenge.clone(),
    };
    send(&oauth, &caller, issuer, Purpose::Code(request)).await
}

/// The issuer of that name, the only one, or a page on which a person chooses.
pub fn choose<'a>(oauth: &'a OAuth, name: &str, again: impl Fn(&str) -> String) -> Result<&'a Issuer, Box<Answer>> {
    match (oauth.issuers.all(), name) {
        ([only], "") => Ok(only),
        (all, "") => {
            let links = all.iter().map(|issuer| issuer.settings().name.as_str());
            let links: String = links.map(|name| pages::link(&again(name), name)).collect();
            Err(Box::new(pages::page(StatusCode::OK, "Where do you sign in?", &links)))
        }
        (_, name) => {
            let missing =
                || pages::sentence(StatusCode::BAD_REQUEST, "This sign-in cannot begin", "No issuer has that name.");
            oauth.issuers.named(name).ok_or_else(|| Box::new(missing()))
        }
    }
}

/// Sends a browser to an issuer, by a redirect.
pub async fn send(oauth: &OAuth, caller: &Caller, issuer: &Issuer, purpose: Purpose) -> Answer {
    match way(oauth, caller, issuer, purpose).await {
        Ok((url, cookie)) => with_cookie(Redirect::to(&url).into_response(), &cookie),
        Err(not_sent) => not_sent_page(oauth, caller, issuer, &not_sent).await,
    }
}

/// Where a browser is to be sent, and the cookie that it must come back with.
pub async fn way(
    oauth: &OAuth,
    caller: &Caller,
    issuer: &Issuer,
    purpose: Purpose,
) -> Result<(String, String), NotSent> {
    let name = cookie_name(oauth, SIGN_IN_COOKIE);
    // One browser may have several sign-ins under way.
    let known = caller.cookie(&name).filter(|value| value.len() == 64).map(str::to_owned);
    let store = |error: StoreError| NotSent::Issuer(error.into());
    let fresh = || random_token("").map_err(|error| store(error.into()));
    let cookie = match known {
        Some(cookie) => cookie,
        None => fresh()?.to_string(),
    };
    let nonce = fresh()?;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let begun = begun::State {
        issuer: issuer.settings().url.clone(),
        nonce: nonce.to_string(),
        verifier: verifier.secret().clone(),
        binding: oauth.binding(&cookie),
        purpose,
    };
    let mut txn = oauth.store.begin().await.map_err(store)?;
    let state = oauth.put(&mut txn, &begun, None).await.map_err(store)?.ok_or(NotSent::Full)?;
    txn.commit().await.map_err(store)?;
    let parameters = [
        ("redirect_uri", oauth.callback_url()),
        ("state", state.to_string()),
        ("nonce", nonce.to_string()),
        ("code_challenge", challenge.as_str().to_owned()),
        ("code_challenge_method", "S256".to_owned()),
    ];
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let url = issuer.authorize_url(&parameters).await.map_err(SignInError::from)?;
    let cookie = set_cookie(oauth, SIGN_IN_COOKIE, &cookie, begun::STATE_LIFE_MS / 1_000);
    Ok((url, cookie))
}

/// Says why a browser was not sent on.
pub async fn not_sent_page(oauth: &OAuth, caller: &Caller, issuer: &Issuer, not_sent: &NotSent) -> Answer {
    let reason = not_sent.to_string();
    let refusal = Refusal {
        step: "authorize",
        reason: &reason,
        issuer: issuer.settings().name.as_str(),
        source_address: &caller.source_address,
        is_failure: true,
        ..Refusal::default()
    };
    oauth.write(refusal).await;
    let sentence = match not_sent {
        NotSent::Issuer(_) => "The identity provider cannot be reached. Try again, or tell your platform team.",
        NotSent::Full => "Too many sign-ins wait. Try again in a few minutes.",
    };
    pages::sentence(StatusCode::SERVICE_UNAVAILABLE, "This sign-in cannot begin", sentence)
}

/// The name of a cookie: the browser keeps a `__Host-` one to this host and to TLS.
pub fn cookie_name(oauth: &OAuth, name: &str) -> String {
    if oauth.is_secure() { format!("__Host-{name}") } else { name.to_owned() }
}

/// The header that sets a cookie, for so many seconds; 0 removes it.
pub fn set_cookie(oauth: &OAuth, name: &str, value: &str, seconds: i64) -> String {
    let secure = if oauth.is_secure() { "; Secure" } else { "" };
    format!("{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}", cookie_name(oauth, name))
}

/// An answer that sets a cookie.
pub fn with_cookie(mut answer: Answer, cookie: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        answer.headers_mut().append(header::SET_COOKIE, value);
    }
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

// RFC 8252, 7.3: any port of a loopback address that is written as a number; a name could resolve elsewhere.
fn is_loopback_callback(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let host = uri.host().map(|host| host.trim_matches(['[', ']']));
    let is_loopback =
        matches!(host, Some("127.0.0.1" | "::1")) && host.is_some_and(|host| host.parse::<IpAddr>().is_ok());
    let port = uri.port_u16().filter(|port| *port > 0);
    let host = uri.host().unwrap_or_default();
    is_loopback && port.is_some_and(|port| text == format!("http://{host}:{port}/callback"))
}

fn is_challenge(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_goes_to_a_loopback_address_and_nowhere_else() {
        for good in ["http://127.0.0.1:1/callback", "http://[::1]:65535/callback"] {
            assert!(is_loopback_callback(good), "{good}");
        }
        for bad in [
            "",
            "http://127.0.0.1/callback",
            "http://127.0.0.1:0/callback",
            "http://127.0.0.1:01/callback",
            "http://127.0.0.1:99999/callback",
            "https://127.0.0.1:1/callback",
            "http://localhost:1/callback",
            "http://127.0.0.2:1/callback",
            "http://127.0.0.1:1/callback/",
            "http://127.0.0.1:1/callback?x=1",
            "http://127.0.0.1:1/callback#x",
            "http://127.0.0.1:1/other",
            "http://127.0.0.1:1@evil.example/callback",
            "http://u@127.0.0.1:1/callback",
            "http://evil.example:1/callback",
            "HTTP://127.0.0.1:1/callback",
            "//127.0.0.1:1/callback",
        ] {
            assert!(!is_loopback_callback(bad), "{bad}");
        }
    }
}
