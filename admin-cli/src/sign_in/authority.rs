//! The authorisation server of a control plane: where its endpoints are (RFC 8414), and what it is asked (RFC 6749, 7009, 8628).

use std::{fs::File, path::Path, time::Duration};

use http::{StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Certificate, Client, Response, header::CONTENT_TYPE, redirect::Policy};
use serde::{Deserialize, de::DeserializeOwned};

use super::private::Hidden;
use crate::{client::innermost, failure::Failure, surroundings::read_bounded};

/// As whom the authorisation server knows this program.
pub(crate) const CLIENT_ID: &str = "tollgate-cli";
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The largest answer: tokens and metadata are a few kilobytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How much of a reason is shown, in characters.
const REASON_MAX: usize = 300;
/// What a form leaves as it is.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An authorisation server that has said where its endpoints are.
#[derive(Debug)]
pub(crate) struct Authority {
    client: Client,
    endpoints: Endpoints,
}

/// The part of its metadata that is of use here.
#[derive(Debug, Deserialize)]
struct Endpoints {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    device_authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
}

/// What a sign-in gives.
#[derive(Debug, Deserialize)]
pub(crate) struct Tokens {
    pub(crate) access_token: Hidden,
    pub(crate) refresh_token: Option<Hidden>,
    /// In seconds.
    pub(crate) expires_in: i64,
}

/// What a sign-in on another device begins with.
#[derive(Debug, Deserialize)]
pub(crate) struct Device {
    pub(crate) device_code: Hidden,
    pub(crate) user_code: String,
    pub(crate) verification_uri: String,
    pub(crate) verification_uri_complete: Option<String>,
    /// In seconds.
    pub(crate) expires_in: u64,
    /// How often it may be asked, in seconds.
    pub(crate) interval: Option<u64>,
}

/// A refusal in the words of RFC 6749.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Refused {
    pub(crate) error: String,
    #[serde(default)]
    pub(crate) error_description: String,
}

// === impl Authority ===

impl Authority {
    /// Asks for the endpoints.
    ///
    /// # Errors
    /// Nobody answers there, or the answer is another server's.
    pub(crate) async fn discover(url: &str, ca: Option<&Path>) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/');
        scheme(url).ok_or_else(|| Failure::usage(format!("the login URL {url:?} must be http://… or https://…")))?;
        let client = client(ca)?;
        let response = client.get(format!("{url}/.well-known/oauth-authorization-server")).send().await;
        let response = response.map_err(|error| unreachable(url, &error))?;
        if response.status() != StatusCode::OK {
            let text = format!("{url} offers no sign-in: it answers {}", response.status());
            return Err(Failure::new("unavailable", text).hint("give the control plane's HTTP address with --url"));
        }
        let endpoints: Endpoints = parsed(url, &body(url, response).await?)?;
        endpoints.check(url)?;
        Ok(Self { client, endpoints })
    }

    /// Where a browser begins.
    pub(crate) fn authorize_url(&self, parameters: &[(&str, &str)]) -> String {
        let address = &self.endpoints.authorization_endpoint;
        let joint = if address.contains('?') { '&' } else { '?' };
        format!("{address}{joint}{}", form(parameters))
    }

    /// Asks for tokens.
    pub(crate) async fn token(&self, parameters: &[(&str, &str)]) -> Result<Result<Tokens, Refused>, Failure> {
        self.ask(&self.endpoints.token_endpoint, parameters).await
    }

    /// Exchanges a refresh token for new tokens.
    pub(crate) async fn refresh(&self, refresh_token: &Hidden) -> Result<Result<Tokens, Refused>, Failure> {
        let token = refresh_token.expose();
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", CLIENT_ID)]).await
    }

    /// Begins a sign-in on another device.
    pub(crate) async fn device(&self, parameters: &[(&str, &str)]) -> Result<Result<Device, Refused>, Failure> {
        let none = || Failure::new("unimplemented", "this control plane offers no sign-in on another device");
        let endpoint = self.endpoints.device_authorization_endpoint.as_deref().ok_or_else(none)?;
        self.ask(endpoint, parameters).await
    }

    /// Ends the session of a token.
    pub(crate) async fn revoke(&self, token: &Hidden) -> Result<(), Failure> {
        let none = || Failure::new("unimplemented", "this control plane offers no way to end a session");
        let endpoint = self.endpoints.revocation_endpoint.as_deref().ok_or_else(none)?;
        let response = self.post(endpoint, &[("token", token.expose()), ("client_id", CLIENT_ID)]).await?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(Failure::new("refused", format!("{endpoint} answers {}", response.status())))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        endpoint: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Result<T, Refused>, Failure> {
        let response = self.post(endpoint, parameters).await?;
        let status = response.status();
        let body = body(endpoint, response).await?;
        if status.is_success() {
            return parsed(endpoint, &body).map(Ok);
        }
        match serde_json::from_slice(&body) {
            Ok(refused) if status.is_client_error() => Ok(Err(refused)),
            _ => Err(Failure::new("unavailable", format!("{endpoint} answers {status}"))),
        }
    }

    async fn post(&self, endpoint: &str, parameters: &[(&str, &str)]) -> Result<Response, Failure> {
        let request = self.client.post(endpoint).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        request.body(form(parameters)).send().await.map_err(|error| unreachable(endpoint, &error))
    }
}

// === impl Endpoints ===

impl Endpoints {
    // Codes and tokens go to these addresses, so they must be of the server that was meant, and no less protected than it.
    fn check(&self, url: &str) -> Result<(), Failure> {
        let Self { issuer, authorization_endpoint, token_endpoint, device_authorization_endpoint, revocation_endpoint } =
            self;
        if issuer.trim_end_matches('/') != url {
            let issuer = plain(issuer);
            let text = format!("the server at {url} says that its address is {issuer}");
            return Err(Failure::new("refused", text).hint(format!("if that is right, give it: --url {issuer}")));
        }
        let optional = [device_authorization_endpoint, revocation_endpoint].into_iter().flatten();
        for endpoint in [authorization_endpoint, token_endpoint].into_iter().chain(optional) {
            let protected = scheme(endpoint).is_some_and(|found| found == "https" || scheme(url) == Some("http"));
            if !protected {
                let text = format!("the server at {url} names {}, which is not https", plain(endpoint));
                return Err(Failure::new("refused", text));
            }
        }
        Ok(())
    }
}

// === impl Refused ===

impl Refused {
    /// The refusal as a failure of what was tried.
    pub(crate) fn failure(&self, tried: &str) -> Failure {
        let Self { error, error_description } = self;
        let reason = if error_description.is_empty() { error } else { error_description };
        Failure::new("refused", format!("{tried}: {}", plain(reason)))
    }
}

/// Another program's text, without what a terminal would act on.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(REASON_MAX).collect()
}

fn client(ca: Option<&Path>) -> Result<Client, Failure> {
    // Whoever came first has installed the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().timeout(TIMEOUT).redirect(Policy::none()).user_agent(crate::client::USER_AGENT);
    let builder = match ca {
        Some(path) => builder.tls_certs_only(authorities(path)?),
        None => builder,
    };
    builder.build().map_err(|error| Failure::new("tls", format!("cannot prepare TLS: {}", innermost(&error))))
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, Failure> {
    let shown = path.display().to_string();
    let pem = File::open(path).and_then(|mut file| read_bounded(&mut file));
    let pem = pem.map_err(|error| Failure::unreadable(&shown, &error))?;
    Certificate::from_pem_bundle(pem.as_bytes())
        .map_err(|error| Failure::new("tls", format!("{shown} holds no certificate: {}", innermost(&error))))
}

async fn body(address: &str, mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(address, &error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Failure::new(
                "internal",
                format!("the answer of {address} is longer than any that is expected"),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn parsed<T: DeserializeOwned>(address: &str, body: &[u8]) -> Result<T, Failure> {
    // The parser's text may quote the answer, and tokens are in it.
    serde_json::from_slice(body)
        .map_err(|_| Failure::new("internal", format!("the answer of {address} is not what it must be")))
}

fn unreachable(address: &str, error: &reqwest::Error) -> Failure {
    let text = format!("no authorisation server answers at {address}: {}", innermost(error));
    Failure::new("unavailable", text).hint("give the control plane's HTTP address with --url or TOLLGATE_LOGIN_URL")
}

fn scheme(address: &str) -> Option<&'static str> {
    let uri: Uri = address.parse().ok()?;
    uri.host()?;
    ["http", "https"].into_iter().find(|scheme| uri.scheme_str() == Some(scheme))
}

fn form(parameters: &[(&str, &str)]) -> String {
    let encode = |text| utf8_percent_encode(text, FORM);
    let pairs = parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(issuer: &str, token: &str) -> Endpoints {
        Endpoints {
            issuer: issuer.to_owned(),
            authorization_endpoint: format!("{issuer}/oauth/authorize"),
            token_endpoint: token.to_owned(),
            device_authorization_endpoint: None,
            revocation_endpoint: None,
        }
    }

    #[test]
    fn endpoints_are_of_the_server_that_was_meant_and_as_protected() {
        let secure = "https://tollgate.example.com";
        assert!(endpoints(secure, "https://tollgate.example.com/oauth/token").check(secure).is_ok());
        assert!(endpoints("http://127.0.0.1:7072/", "http://127.0.0.1:7072/t").check("http://127.0.0.1:7072").is_ok());
        assert!(endpoints("https://other.example.com", "https://x/t").check(secure).is_err());
        assert!(endpoints(secure, "http://tollgate.example.com/oauth/token").check(secure).is_err());
        assert!(endpoints(secure, "javascript:alert(1)").check(secure).is_err());
    }

    #[test]
    fn a_form_keeps_what_it_carries() {
        assert_eq!(form(&[("a", "b c&d"), ("e", "é/")]), "a=b%20c%26d&e=%C3%A9%2F");
        assert_eq!(plain("no\u{1b}[2J\nway"), "no[2Jway");
    }
}
