//! What servers of tools and authorization servers say of themselves (RFC 9728, RFC 8414, OpenID Connect Discovery 1.0), and where
//! they say it. Nothing here asks anybody.

use http::{HeaderMap, Uri, header};
use serde::{Deserialize, Deserializer};

use crate::base_url;

/// The longest list that is read of a document, and the longest text in one, in bytes.
const LIST_MAX: usize = 200;
const TEXT_BYTES_MAX: usize = 1_000;

/// What a server says that wants a token: the parameters of `www-authenticate: Bearer` (RFC 6750, 3; RFC 9728, 5.1).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Challenge {
    /// Where it describes itself.
    pub resource_metadata: Option<String>,
    /// The scopes that it wants, separated by spaces.
    pub scope: Option<String>,
}

/// What a server of tools says of itself: RFC 9728, 2.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct ProtectedResource {
    /// Its resource identifier.
    pub resource: String,
    /// The issuers of the authorization servers that it trusts.
    #[serde(deserialize_with = "list")]
    pub authorization_servers: Vec<String>,
    /// The scopes that it knows.
    #[serde(deserialize_with = "list")]
    pub scopes_supported: Vec<String>,
}

/// What an authorization server says of itself: RFC 8414, 2; RFC 9207, 3.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct AuthorizationServer {
    /// Its issuer.
    pub issuer: String,
    /// Where users permit something.
    pub authorization_endpoint: Option<String>,
    /// Where tokens are got.
    pub token_endpoint: Option<String>,
    /// Where clients are registered.
    pub registration_endpoint: Option<String>,
    /// Where tokens are taken back.
    pub revocation_endpoint: Option<String>,
    /// The scopes that it knows.
    #[serde(deserialize_with = "list")]
    pub scopes_supported: Vec<String>,
    /// How a code is bound to whoever asked for it (RFC 7636).
    #[serde(deserialize_with = "list")]
    pub code_challenge_methods_supported: Vec<String>,
    /// How a client shows its secret.
    #[serde(deserialize_with = "list")]
    pub token_endpoint_auth_methods_supported: Vec<String>,
    /// Whether it names itself in its answers to a browser.
    pub authorization_response_iss_parameter_supported: bool,
}

/// Why a document is not made use of.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// It is none.
    #[error("its metadata is not the JSON document that it must be")]
    Document,
    /// It has more than is read.
    #[error("its metadata has a list or a text that is too long")]
    TooLong,
    /// It speaks of another server.
    #[error("its metadata is that of another resource")]
    Resource,
    /// It trusts nobody.
    #[error("its metadata names no authorization server")]
    NoAuthorizationServer,
    /// It is the document of another issuer.
    #[error("its metadata names another issuer than the one that was asked")]
    Issuer,
    /// An endpoint is at an address that may not be asked.
    #[error("its metadata names an endpoint that is not https at a public address: set allow_private to permit that")]
    Address,
    /// It gives no tokens.
    #[error("its metadata has no token endpoint")]
    NoTokenEndpoint,
}

// === impl Challenge ===

impl Challenge {
    /// Reads the challenges of an answer. Those of other schemes than Bearer say nothing.
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Self {
        let mut read = Self::default();
        for line in headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|line| line.to_str().ok()) {
            for (name, value) in bearer_parameters(line) {
                let place = match name.as_str() {
                    "resource_metadata" => &mut read.resource_metadata,
                    "scope" => &mut read.scope,
                    _ => continue,
                };
                if place.is_none() && value.len() <= TEXT_BYTES_MAX {
                    *place = Some(value);
                }
            }
        }
        read
    }
}

// RFC 9110, 11.6.1: several challenges in one line, each a scheme and parameters, all of them separated by commas. A word that no equals sign
// follows begins the next challenge.
fn bearer_parameters(line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (mut rest, mut is_bearer) = (line, false);
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find(|byte: char| !is_token(byte)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at_checked(end).unwrap_or_default();
        if word.is_empty() {
            return found;
        }
        let spaced = behind.trim_start_matches([' ', '\t']);
        let Some(value) = spaced.strip_prefix('=') else {
            is_bearer = word.eq_ignore_ascii_case("bearer");
            rest = behind;
            continue;
        };
        let (value, behind) = parameter_value(value.trim_start_matches([' ', '\t']));
        if is_bearer {
            found.push((word.to_ascii_lowercase(), value));
        }
        rest = behind;
    }
}

fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let (value, behind) = text.split_at_checked(end).unwrap_or_default();
        return (value.to_owned(), behind);
    };
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, character) in quoted.char_indices() {
        match character {
            _ if is_escaped => {
                value.push(character);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            character => value.push(character),
        }
    }
    (value, "")
}

const fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || matches!(
            character,
            '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '.' | '^' | '_' | '`' | '|' | '~' | '/'
        )
}

// === impl ProtectedResource ===

impl ProtectedResource {
    /// Reads the document of the server at this URL.
    ///
    /// # Errors
    /// When it is none, or that of another server.
    pub fn read(bytes: &[u8], server: &str) -> Result<Self, Unfit> {
        let read: Self = serde_json::from_slice(bytes).map_err(|_| Unfit::Document)?;
        bounded([&read.authorization_servers, &read.scopes_supported])?;
        if !covers(&read.resource, server) {
            return Err(Unfit::Resource);
        }
        if read.authorization_servers.is_empty() {
            return Err(Unfit::NoAuthorizationServer);
        }
        Ok(read)
    }
}

// === impl AuthorizationServer ===

impl AuthorizationServer {
    /// Reads the document of this issuer.
    ///
    /// # Errors
    /// When it is none, that of another issuer, or names endpoints that may not be asked.
    pub fn read(bytes: &[u8], issuer: &str, allow_private: bool) -> Result<Self, Unfit> {
        let read: Self = serde_json::from_slice(bytes).map_err(|_| Unfit::Document)?;
        bounded([
            &read.scopes_supported,
            &read.code_challenge_methods_supported,
            &read.token_endpoint_auth_methods_supported,
        ])?;
        if !is_same_issuer(&read.issuer, issuer) {
            return Err(Unfit::Issuer);
        }
        let endpoints = [
            &read.authorization_endpoint,
            &read.token_endpoint,
            &read.registration_endpoint,
            &read.revocation_endpoint,
        ];
        if endpoints.into_iter().flatten().any(|url| base_url::endpoint(url, allow_private).is_err()) {
            return Err(Unfit::Address);
        }
        if read.token_endpoint.is_none() {
            return Err(Unfit::NoTokenEndpoint);
        }
        Ok(read)
    }

    /// Whether it binds codes by SHA-256, without which no user is sent there.
    #[must_use]
    pub fn has_s256(&self) -> bool {
        self.code_challenge_methods_supported.iter().any(|method| method == "S256")
    }
}

/// Whether two texts name one issuer: they are the same, but that a host alone is the same with a slash.
#[must_use]
pub fn is_same_issuer(one: &str, other: &str) -> bool {
    fn bare(text: &str) -> &str {
        let is_host = text.matches('/').count() == 3;
        text.strip_suffix('/').filter(|_| is_host).unwrap_or(text)
    }
    !one.is_empty() && bare(one) == bare(other)
}

/// Where a server of tools may describe itself where it does not say: for its path, then for its host (RFC 9728, 3.1).
#[must_use]
pub fn resource_urls(server: &str) -> Vec<String> {
    let Some((origin, path)) = parts(server) else { return Vec::new() };
    let known = format!("{origin}/.well-known/oauth-protected-resource");
    if path.is_empty() { vec![known] } else { vec![format!("{known}{path}"), known] }
}

/// Where an authorization server may describe itself, in the order in which MCP 2025-11-25 has them tried (RFC 8414, 3.1; OpenID Connect
/// Discovery 1.0, 4).
#[must_use]
pub fn issuer_urls(issuer: &str) -> Vec<String> {
    let Some((origin, path)) = parts(issuer) else { return Vec::new() };
    let (oauth, openid) = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration");
    if path.is_empty() {
        return vec![format!("{origin}{oauth}"), format!("{origin}{openid}")];
    }
    vec![format!("{origin}{oauth}{path}"), format!("{origin}{openid}{path}"), format!("{origin}{path}{openid}")]
}

// Scheme and host, and the path without a slash at its end.
fn parts(url: &str) -> Option<(String, String)> {
    let uri: Uri = url.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    Some((format!("{scheme}://{authority}"), uri.path().trim_end_matches('/').to_owned()))
}

/// Whether a resource identifier is that of the server at this URL, or of what the server is a part of: another host's would have tokens
/// made for somebody else.
#[must_use]
pub fn covers(resource: &str, server: &str) -> bool {
    let Some(((_, of), (_, at))) = parts(resource).zip(parts(server)) else { return false };
    let is_part = at == of || at.strip_prefix(of.as_str()).is_some_and(|behind| behind.starts_with('/'));
    let is_plain = !resource.contains(['#', ' ']) && resource.len() <= TEXT_BYTES_MAX;
    is_plain && is_part && base_url::has_same_origin(resource, server)
}

// Some write `null` for a list that they do not have.
fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn bounded<const N: usize>(lists: [&Vec<String>; N]) -> Result<(), Unfit> {
    let fits = |list: &Vec<String>| list.len() <= LIST_MAX && list.iter().all(|text| text.len() <= TEXT_BYTES_MAX);
    if lists.into_iter().all(fits) { Ok(()) } else { Err(Unfit::TooLong) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn challenge(lines: &[&str]) -> (Option<String>, Option<String>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_str(line).unwrap());
        }
        let Challenge { resource_metadata, scope } = Challenge::read(&headers);
        (resource_metadata, scope)
    }

    #[test]
    fn a_challenge_is_read_wherever_bearer_stands() {
        let some = |text: &str| Some(text.to_owned());
        for (lines, expect) in [
            (vec![], (None, None)),
            (vec!["Bearer"], (None, None)),
            (vec!["Bearer resource_metadata=\"https://a/x\""], (some("https://a/x"), None)),
            (vec!["bearer scope = \"a b\" , resource_metadata=https://a/x"], (some("https://a/x"), some("a b"))),
            (vec!["Basic realm=\"x, Bearer scope=evil\", Bearer scope=\"a\\\"b\""], (None, some("a\"b"))),
            (vec!["DPoP scope=\"evil\", Bearer error=\"x\",scope=good"], (None, some("good"))),
            (vec!["Negotiate", "Bearer scope=\"one\", scope=\"two\""], (None, some("one"))),
            (vec!["Bearer scope=\"open"], (None, some("open"))),
            (vec!["Basic scope=evil"], (None, None)),
            (vec!["=, Bearer scope=x"], (None, None)),
        ] {
            assert_eq!(challenge(&lines), expect, "{lines:?}");
        }
    }

    #[test]
    fn documents_are_looked_for_in_the_order_that_the_specifications_give() {
        for (server, expect) in [
            (
                "https://a.example/public/mcp?x=1",
                vec![
                    "https://a.example/.well-known/oauth-protected-resource/public/mcp",
                    "https://a.example/.well-known/oauth-protected-resource",
                ],
            ),
            ("https://a.example:8443/", vec!["https://a.example:8443/.well-known/oauth-protected-resource"]),
            ("nothing", vec![]),
        ] {
            assert_eq!(resource_urls(server), expect, "{server}");
        }
        for (issuer, expect) in [
            (
                "https://a.example/tenant/",
                vec![
                    "https://a.example/.well-known/oauth-authorization-server/tenant",
                    "https://a.example/.well-known/openid-configuration/tenant",
                    "https://a.example/tenant/.well-known/openid-configuration",
                ],
            ),
            (
                "https://a.example",
                vec![
                    "https://a.example/.well-known/oauth-authorization-server",
                    "https://a.example/.well-known/openid-configuration",
                ],
            ),
        ] {
            assert_eq!(issuer_urls(issuer), expect, "{issuer}");
        }
    }

    #[test]
    fn a_resource_is_the_server_or_what_it_is_a_part_of() {
        for (resource, server, expect) in [
            ("https://a.example/mcp", "https://a.example/mcp", true),
            ("https://a.example", "https://a.example/mcp", true),
            ("https://A.example:443/", "https://a.example/mcp?x=1", true),
            ("https://a.example/mc", "https://a.example/mcp", false),
            ("https://a.example/mcp/x", "https://a.example/mcp", false),
            ("https://b.example/mcp", "https://a.example/mcp", false),
            ("http://a.example/mcp", "https://a.example/mcp", false),
            ("https://a.example/mcp#x", "https://a.example/mcp", false),
            ("", "https://a.example/mcp", false),
        ] {
            assert_eq!(covers(resource, server), expect, "{resource} {server}");
        }
    }

    #[test]
    fn an_issuer_is_the_same_to_the_letter() {
        for (one, other, expect) in [
            ("https://a.example", "https://a.example/", true),
            ("https://a.example/t", "https://a.example/t", true),
            ("https://a.example/t", "https://a.example/t/", false),
            ("https://a.example", "https://A.example", false),
            ("", "", false),
        ] {
            assert_eq!(is_same_issuer(one, other), expect, "{one} {other}");
        }
    }

    #[test]
    fn what_an_authorization_server_says_must_be_its_own_and_lead_to_public_addresses() {
        let issuer = "https://a.example";
        let document = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut value =
                serde_json::json!({"issuer": issuer, "token_endpoint": "https://a.example/token", "jwks_uri": 7});
            change(&mut value);
            serde_json::to_vec(&value).unwrap()
        };
        let read = |bytes: &[u8]| AuthorizationServer::read(bytes, issuer, false).map(|read| read.has_s256());
        assert_eq!(read(&document(&|_| ())), Ok(false));
        type Change = fn(&mut serde_json::Value);
        let changes: [(Change, Result<bool, Unfit>); 8] = [
            (|value| value["code_challenge_methods_supported"] = ["plain", "S256"].as_slice().into(), Ok(true)),
            (|value| value["issuer"] = "https://b.example".into(), Err(Unfit::Issuer)),
            (|value| value["token_endpoint"] = "http://a.example/token".into(), Err(Unfit::Address)),
            (|value| value["token_endpoint"] = "https://127.0.0.1/token".into(), Err(Unfit::Address)),
            (|value| value["revocation_endpoint"] = "https://10.0.0.1/".into(), Err(Unfit::Address)),
            (|value| value["token_endpoint"] = serde_json::Value::Null, Err(Unfit::NoTokenEndpoint)),
            (|value| value["token_endpoint"] = 7.into(), Err(Unfit::Document)),
            (|value| value["scopes_supported"] = vec!["x"; LIST_MAX + 1].into(), Err(Unfit::TooLong)),
        ];
        for (change, expect) in changes {
            let bytes = document(&change);
            assert_eq!(read(&bytes), expect, "{}", String::from_utf8_lossy(&bytes));
        }
        assert!(AuthorizationServer::read(&document(&changes[2].0), issuer, true).is_ok());
        assert_eq!(read(&document(&|value| value["scopes_supported"] = serde_json::Value::Null)), Ok(false));
        assert_eq!(read(b"<html>"), Err(Unfit::Document));
    }

    #[test]
    fn a_server_of_tools_speaks_of_itself_and_names_whom_it_trusts() {
        let server = "https://a.example/mcp";
        for (text, expect) in [
            (r#"{"resource": "https://a.example/mcp", "authorization_servers": ["https://b.example"]}"#, None),
            (r#"{"resource": "https://a.example/mcp"}"#, Some(Unfit::NoAuthorizationServer)),
            (
                r#"{"resource": "https://b.example/mcp", "authorization_servers": ["https://b.example"]}"#,
                Some(Unfit::Resource),
            ),
            (r#"{"authorization_servers": ["https://b.example"]}"#, Some(Unfit::Resource)),
            ("<html>", Some(Unfit::Document)),
        ] {
            assert_eq!(ProtectedResource::read(text.as_bytes(), server).err(), expect, "{text}");
        }
    }
}
