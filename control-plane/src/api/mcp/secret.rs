//! The secret that an administrator wrote for a server: what the server is shown, and how, or what the client has that gets tokens for it.

use tollgate_policy::{id::CredentialId, mcp::McpAuth};
use tollgate_settings::{Secret, SecretSource, Setting as _};

use super::super::{
    failure::Failure,
    providers::credentials::{BEARER_PREFIX, SECRET_BYTES_MAX, Secrets, looks_like_a_reference},
    violations::Violations,
    wire,
};
use crate::{keys::Minter, store::mcp::ServerCredential};

// What the field `secret` said.
enum Written {
    Kept,
    Reference(String),
    Literal(Secret),
}

/// Reads how a server is shown what. An empty `secret` keeps what there is, and `auth` is then `bearer` when it is empty; `none` takes the
/// secret away. What a server is shown and what a client has are never taken for each other: either goes when the other is meant.
pub(super) fn read(
    (auth, secret): (&str, &str),
    old: Option<(&McpAuth, &ServerCredential)>,
    (minter, secrets): (&Minter, &mut Secrets),
    violations: &mut Violations,
) -> Result<Option<(McpAuth, Option<ServerCredential>)>, Failure> {
    let Some(written) = read_secret(secret, violations) else { return Ok(None) };
    let has_secret = old.is_some() || !matches!(written, Written::Kept);
    let auth = if auth.is_empty() && has_secret { McpAuth::Bearer.text() } else { auth.to_owned() };
    let refusal = "must be none, bearer, client_credentials, per_user, token_exchange or header:<name>, where the name is of letters, digits, '-' and '_', and none of those of which HTTP or MCP makes use";
    let Some(auth) = violations.take("auth", McpAuth::parse(&auth).ok_or(refusal)) else { return Ok(None) };
    let (old, other) = match old {
        Some((of, credential)) if of.is_oauth() == auth.is_oauth() => (Some(credential), None),
        Some((_, credential)) => (None, Some(credential)),
        None => (None, None),
    };
    if let Some(other) = other.filter(|other| other.reference.is_none()) {
        secrets.forget(&other.id);
    }
    match (&auth, &written) {
        (McpAuth::Nothing, Written::Kept) => {
            if let Some(old) = old.filter(|old| old.reference.is_none()) {
                secrets.forget(&old.id);
            }
            return Ok(Some((auth, None)));
        }
        (McpAuth::Nothing, _) => {
            violations
                .add("secret", "must be empty with the auth none, which shows none: write bearer or header:<name>");
            return Ok(None);
        }
        // A client may be a public one, or register itself.
        (McpAuth::PerUser | McpAuth::TokenExchange, Written::Kept) if old.is_none() => return Ok(Some((auth, None))),
        (_, Written::Kept) if old.is_none() => {
            let text = format!("is required for the auth {}: write it, or env://NAME or file:///path", auth.text());
            violations.add("secret", text);
            return Ok(None);
        }
        (McpAuth::Bearer, Written::Literal(secret)) if secret.expose().starts_with(BEARER_PREFIX) => {
            violations.add("secret", "must be the token alone, without 'Bearer ': that is put before it");
            return Ok(None);
        }
        _ => {}
    }
    let id = match old {
        Some(old) => old.id.clone(),
        None => wire::new_id(CredentialId::from_ulid)?,
    };
    let credential = match written {
        Written::Kept => old.cloned(),
        Written::Reference(reference) => {
            if old.is_some_and(|old| old.reference.is_none()) {
                secrets.forget(&id);
            }
            Some(ServerCredential { id, reference: Some(reference), fingerprint: String::new() })
        }
        Written::Literal(secret) => {
            let fingerprint = minter.fingerprint(secret.expose());
            // The same secret again is no change: a declarative file may be applied any number of times.
            if old.is_none_or(|old| old.fingerprint != fingerprint) {
                secrets.put(&id, secret);
            }
            Some(ServerCredential { id, reference: None, fingerprint })
        }
    };
    Ok(Some((auth, credential)))
}

fn read_secret(text: &str, violations: &mut Violations) -> Option<Written> {
    if text.is_empty() {
        return Some(Written::Kept);
    }
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if text.len() > SECRET_BYTES_MAX || !is_visible || text.trim() != text {
        let text = format!("must be at most {SECRET_BYTES_MAX} visible ASCII characters, without spaces at its ends");
        violations.add("secret", text);
        return None;
    }
    match violations.take("secret", SecretSource::parse(text))? {
        SecretSource::Env(_) | SecretSource::File(_) => Some(Written::Reference(text.to_owned())),
        SecretSource::Literal(_) if looks_like_a_reference(text) => {
            let text = "must be env://NAME, file:///path or the secret itself: other references are not known";
            violations.add("secret", text);
            None
        }
        SecretSource::Literal(secret) => Some(Written::Literal(secret)),
    }
}
