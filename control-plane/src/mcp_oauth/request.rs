//! The questions to an authorization server that tokens come by (RFC 6749, 4 and 6; RFC 8693, 2), and the one that takes them back
//! (RFC 7009, 2).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Method, Request, Response, header};
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::{
    client::{self, Client, Shows},
    fault::Fault,
    metadata::{AuthorizationServer, Unfit},
};
use crate::oidc::{
    issuer::{encoded, form},
    outbound::Outbound,
};

/// The longest token, in bytes: it travels in a header.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// The longest that is believed of a token's life, in seconds: a year.
const LIFE_S_MAX: i64 = 366 * 86_400;
const WHO: &str = "the authorization server";

/// What a token is asked for with.
pub type Fields<'a> = [(&'a str, &'a str)];

/// The tokens of a grant.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tokens {
    /// What a server of tools is shown.
    pub access: String,
    /// By what another one is got.
    pub refresh: Option<String>,
}

/// What an authorization server gave.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Given {
    /// The tokens.
    pub tokens: Tokens,
    /// For how long the access token is good, in seconds, where that is said.
    pub expires_in_s: Option<i64>,
    /// For what, separated by spaces, where that is not what was asked for.
    pub scope: Option<String>,
}

/// Asks for tokens.
///
/// # Errors
/// When the authorization server refuses, does not answer, or gives none that can be shown.
pub async fn tokens(
    outbound: &Outbound,
    server: &AuthorizationServer,
    client: &Client,
    fields: &Fields<'_>,
) -> Result<Given, Fault> {
    let endpoint = server.token_endpoint.as_deref().ok_or_else(|| Fault::unfit(WHO, Unfit::NoTokenEndpoint))?;
    let answer = post(outbound, endpoint, server, client, fields).await?;
    if !answer.status().is_success() {
        return Err(client::refusal(answer.status(), answer.body()));
    }
    read(answer.body())
}

/// Has a token taken back, where the authorization server has a place for that.
///
/// # Errors
/// When it refuses or does not answer.
pub async fn revoke(
    outbound: &Outbound,
    server: &AuthorizationServer,
    client: &Client,
    token: &str,
    hint: &str,
) -> Result<(), Fault> {
    let Some(endpoint) = &server.revocation_endpoint else { return Ok(()) };
    let answer = post(outbound, endpoint, server, client, &[("token", token), ("token_type_hint", hint)]).await?;
    if answer.status().is_success() { Ok(()) } else { Err(client::refusal(answer.status(), answer.body())) }
}

async fn post(
    outbound: &Outbound,
    endpoint: &str,
    server: &AuthorizationServer,
    client: &Client,
    fields: &Fields<'_>,
) -> Result<Response<Vec<u8>>, Fault> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(endpoint)
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let secret = client.secret.as_ref().map(tollgate_settings::Secret::expose).unwrap_or_default();
    let id = client.id.as_str();
    let body = match client.shows(server) {
        Shows::Nothing => form(fields.iter().chain(&[("client_id", id)])),
        Shows::Post => form(fields.iter().chain(&[("client_id", id), ("client_secret", secret)])),
        Shows::Basic => {
            // RFC 6749, 2.3.1: both are encoded as in a form first.
            let pair = Zeroizing::new(format!("{}:{}", encoded(id), encoded(secret)));
            request = request.header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair.as_bytes())));
            form(fields.iter())
        }
    };
    let body = Zeroizing::new(body);
    let request = request.body(body.as_bytes().to_vec()).map_err(|_| Fault::unfit(WHO, Unfit::Address))?;
    outbound.call(request).await.map_err(|error| Fault::outbound(WHO, &error))
}

fn read(bytes: &[u8]) -> Result<Given, Fault> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: String,
        token_type: String,
        #[serde(default, deserialize_with = "seconds")]
        expires_in: Option<i64>,
        refresh_token: Option<String>,
        scope: Option<String>,
    }
    // Its own text would repeat what it stumbled over.
    let unreadable = || Fault::Unfit("the authorization server does not give tokens as it must".to_owned());
    let Answer { access_token, token_type, expires_in, refresh_token, scope } =
        serde_json::from_slice(bytes).map_err(|_| unreadable())?;
    // RFC 8693, 2.2.1: what was given as no access token at all has the type N_A.
    if !token_type.eq_ignore_ascii_case("bearer") {
        return Err(Fault::Unfit("the authorization server gives tokens of another type than Bearer".to_owned()));
    }
    let refresh = refresh_token.filter(|token| !token.is_empty());
    if !is_token(&access_token) || !refresh.iter().all(|token| is_token(token)) {
        return Err(unreadable());
    }
    let scope = scope.map(|scope| super::fault::shown(&scope));
    let expires_in_s = expires_in.map(|seconds| seconds.clamp(0, LIFE_S_MAX));
    Ok(Given { tokens: Tokens { access: access_token, refresh }, expires_in_s, scope })
}

// Some write the number as a text.
fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Seconds {
        Whole(i64),
        Broken(f64),
        Text(String),
    }
    Ok(match Option::deserialize(from)? {
        Some(Seconds::Whole(seconds)) => Some(seconds),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a cast to an integer saturates, and the life is bounded afterwards"
        )]
        Some(Seconds::Broken(seconds)) => Some(seconds as i64),
        Some(Seconds::Text(text)) => text.trim().parse().ok(),
        None => None,
    })
}

fn is_token(text: &str) -> bool {
    (1..=TOKEN_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_strictly_where_it_matters_and_else_as_servers_write_it() {
        let given = |text: &str| read(text.as_bytes()).map(|given| (given.tokens.access, given.expires_in_s));
        for (text, expect) in [
            (r#"{"access_token": "a", "token_type": "bearer"}"#, Some(None)),
            (r#"{"access_token": "a", "token_type": "Bearer", "expires_in": 3600}"#, Some(Some(3_600))),
            (r#"{"access_token": "a", "token_type": "Bearer", "expires_in": "3600"}"#, Some(Some(3_600))),
            (r#"{"access_token": "a", "token_type": "Bearer", "expires_in": 3599.5}"#, Some(Some(3_599))),
            (r#"{"access_token": "a", "token_type": "Bearer", "expires_in": null}"#, Some(None)),
            (r#"{"access_token": "a", "token_type": "Bearer", "expires_in": -5}"#, Some(Some(0))),
            (r#"{"access_token": "a", "token_type": "Bearer", "expires_in": 1e300}"#, Some(Some(LIFE_S_MAX))),
            (r#"{"access_token": "a", "token_type": "Bearer", "refresh_token": ""}"#, Some(None)),
            (r#"{"access_token": "", "token_type": "Bearer"}"#, None),
            (r#"{"access_token": "a\r\nb: c", "token_type": "Bearer"}"#, None),
            (r#"{"access_token": "a", "token_type": "N_A"}"#, None),
            (r#"{"access_token": "a"}"#, None),
            (r#"{"token_type": "Bearer"}"#, None),
            ("access_token=a", None),
        ] {
            assert_eq!(given(text).ok(), expect.map(|life| ("a".to_owned(), life)), "{text}");
        }
    }

    #[test]
    fn no_error_and_no_debug_text_repeats_a_token() {
        let error = read(br#"{"access_token": "canary", "token_type": 7}"#).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
        let tokens = Tokens { access: "canary".into(), refresh: None };
        assert!(!format!("{tokens:?}").contains("canary"));
    }
}
