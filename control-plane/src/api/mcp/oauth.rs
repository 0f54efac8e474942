//! The control plane as an OAuth client of a server, as an administrator describes it.

use tollgate_policy::mcp::McpAuth;
use tollgate_proto::admin::v1;

use super::super::violations::Violations;
use crate::{
    base_url::{self, BASE_URL_BYTES_MAX},
    store::mcp::{McpServer, OAuth},
};

/// The most scopes that are asked for.
const SCOPES_MAX: usize = 50;
/// The longest scope, in bytes.
const SCOPE_BYTES_MAX: usize = 200;
/// The longest id of a client, in bytes. One may be a URL.
const CLIENT_ID_BYTES_MAX: usize = 500;

/// Reads it. The outer `None` says that something is wrong, the inner one that no token is got for the server. `has_secret` says whether
/// the client has one.
pub(super) fn read(
    wire: Option<&v1::McpOAuth>,
    (auth, has_secret): (&McpAuth, bool),
    allow_private: bool,
    violations: &mut Violations,
) -> Option<Option<OAuth>> {
    let bare = v1::McpOAuth::default();
    let wire = wire.unwrap_or(&bare);
    if !auth.is_oauth() {
        let is_bare = *wire == bare;
        if !is_bare {
            violations.add("oauth", "must be unset but with the auth client_credentials, per_user or token_exchange");
        }
        return is_bare.then_some(None);
    }
    let v1::McpOAuth { client_id, scopes, authorization_server, resource } = wire;
    let client_id = violations.take("oauth.client_id", client_of(client_id, auth, has_secret));
    let scopes = scopes_of(scopes, violations);
    let authorization_server =
        violations.take("oauth.authorization_server", issuer_of(authorization_server, allow_private));
    let resource = violations.take("oauth.resource", resource_of(resource));
    Some(Some(OAuth {
        client_id: client_id?,
        scopes: scopes?,
        authorization_server: authorization_server?,
        resource: resource?,
    }))
}

/// It on the wire.
pub(super) fn written(oauth: &OAuth) -> v1::McpOAuth {
    let OAuth { client_id, scopes, authorization_server, resource } = oauth.clone();
    v1::McpOAuth { client_id, scopes, authorization_server, resource }
}

/// Whether a change of a server makes the tokens that were got for it useless: they are for another place, from somebody else, or for
/// another client.
pub(super) fn is_another(old: &McpServer, new: &McpServer) -> bool {
    let whose = |server: &McpServer| {
        let OAuth { client_id, scopes: _, authorization_server, resource } = server.oauth.clone().unwrap_or_default();
        (server.auth.clone(), client_id, authorization_server, resource)
    };
    let is_got = old.auth.is_oauth() || new.auth.is_oauth();
    let has_moved = old.url != new.url && !base_url::has_same_origin(&old.url, &new.url);
    is_got && (has_moved || whose(old) != whose(new))
}

/// Whether tokens that nobody has to permit are to be got anew: they are for other scopes, or by another secret.
pub(super) fn asks_anew(old: &McpServer, new: &McpServer) -> bool {
    let scopes = |server: &McpServer| server.oauth.as_ref().map(|oauth| oauth.scopes.clone());
    let is_got = old.auth.is_oauth() && old.auth != McpAuth::PerUser;
    is_got && (scopes(old) != scopes(new) || old.credential != new.credential)
}

fn client_of(text: &str, auth: &McpAuth, has_secret: bool) -> Result<String, String> {
    let is_required = match auth {
        McpAuth::ClientCredentials | McpAuth::TokenExchange => true,
        _ => has_secret,
    };
    if text.is_empty() && is_required {
        let whom = if has_secret { "whose secret is given" } else { "that the authorization server knows" };
        return Err(format!("is required for the auth {}: the id of the client {whom}", auth.text()));
    }
    // RFC 6749, appendix A.1.
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if text.len() <= CLIENT_ID_BYTES_MAX && is_visible && text.trim() == text {
        Ok(text.to_owned())
    } else {
        Err(format!("must be at most {CLIENT_ID_BYTES_MAX} visible ASCII characters, without spaces at its ends"))
    }
}

// Each once, in the order in which they are written.
fn scopes_of(list: &[String], violations: &mut Violations) -> Option<Vec<String>> {
    if list.len() > SCOPES_MAX {
        violations.add("oauth.scopes", format!("must be at most {SCOPES_MAX}"));
        return None;
    }
    // RFC 6749, 3.3.
    let is_token = |scope: &str| {
        let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        (1..=SCOPE_BYTES_MAX).contains(&scope.len()) && scope.bytes().all(allowed)
    };
    let mut read: Vec<String> = Vec::with_capacity(list.len());
    let mut are_sound = true;
    for (at, scope) in list.iter().enumerate() {
        if !is_token(scope) {
            are_sound = false;
            let text = format!("must be 1 to {SCOPE_BYTES_MAX} visible ASCII characters without spaces, quotes and \\");
            violations.add(format!("oauth.scopes[{at}]"), text);
        } else if !read.contains(scope) {
            read.push(scope.clone());
        }
    }
    are_sound.then_some(read)
}

// An issuer is compared as it is written, also with a slash at its end (RFC 8414, 3.3).
fn issuer_of(text: &str, allow_private: bool) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    if text.contains('?') {
        return Err("must not have a query or a fragment".to_owned());
    }
    base_url::endpoint(text, allow_private).map_err(|error| error.to_string())
}

// RFC 8707, 2: an absolute URI without a fragment. Nobody is called there.
fn resource_of(text: &str) -> Result<String, String> {
    let is_absolute = text.split_once(':').is_some_and(|(scheme, rest)| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        scheme.bytes().next().is_some_and(|first| first.is_ascii_alphabetic())
            && scheme.bytes().all(allowed)
            && !rest.is_empty()
    });
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if text.is_empty() || (text.len() <= BASE_URL_BYTES_MAX && is_absolute && is_plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be a URI with its scheme and without a fragment, of at most {BASE_URL_BYTES_MAX} characters"))
    }
}
