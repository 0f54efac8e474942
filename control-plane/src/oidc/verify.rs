//! Verifies a token of an identity provider: its signature, and the claims that say for whom, from whom and for how long.
//!
//! The library verifies signature, issuer, audience and expiry. What it leaves open is decided here, and strictly: the type of
//! each registered claim, `azp`, `nbf`, and an expiry that must be there.

use std::str::FromStr as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openidconnect::{
    ClaimsVerificationError, ClientId, IssuerUrl, JsonWebTokenType, Nonce, SignatureVerificationError,
    core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm},
};
use serde_json::Value;

use super::{
    claims::Claims,
    settings::{Algorithm, IssuerSettings},
};

/// The longest token, in bytes: 1,000 groups by their ids fit.
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// How far the clock of an issuer may be ahead, in seconds.
const CLOCK_SKEW_S: f64 = 60.0;

/// What a token must be for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// A sign-in that began with this nonce.
    SignIn {
        /// The nonce.
        nonce: &'a str,
    },
    /// What the issuer gives anew for a grant that was verified before.
    Refresh,
    /// Automation that presents the issuer's token as it is.
    Bearer,
}

/// Why a token is refused. None repeats anything of the token.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// It is not a signed token.
    #[error("the token is not a signed JWT")]
    Malformed,
    /// It is a token of another kind, or demands what is not understood.
    #[error("the token is of a type, or has a critical extension, that is not accepted")]
    Unsupported,
    /// The algorithm is not one that the operator accepts of this issuer.
    #[error("the token is signed with an algorithm that is not accepted")]
    Algorithm,
    /// No key of the issuer has the id that the token names.
    #[error("the token names a key that the issuer does not have")]
    UnknownKey,
    /// The signature is not the issuer's.
    #[error("the signature of the token is wrong")]
    Signature,
    /// A claim is missing.
    #[error("the claim {0} is missing")]
    Missing(&'static str),
    /// A claim has another type than it must have.
    #[error("the claim {0} does not have the type that it must have")]
    Mistyped(&'static str),
    /// It is of another issuer.
    #[error("the token is of another issuer")]
    Issuer,
    /// It is for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// It was issued to somebody else.
    #[error("the token was issued to another party")]
    AuthorizedParty,
    /// It belongs to another sign-in.
    #[error("the token belongs to another sign-in")]
    Nonce,
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// It is not valid yet.
    #[error("the token is not valid yet")]
    NotYet,
}

/// Verifies a token and returns its claims.
///
/// # Errors
/// Says why it is refused.
pub fn verify(
    settings: &IssuerSettings,
    keys: &CoreJsonWebKeySet,
    raw: &str,
    purpose: Purpose<'_>,
    now_ms: i64,
) -> Result<Claims, Rejection> {
    let (header, claims) = parts(raw)?;
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::of_word);
    if !algorithm.is_some_and(|algorithm| settings.algorithms.contains(&algorithm)) {
        return Err(Rejection::Algorithm);
    }
    check_types(&claims)?;
    let audience = audience(settings, &claims, purpose)?;
    let token = CoreIdToken::from_str(raw).map_err(|_| Rejection::Malformed)?;
    let issuer = IssuerUrl::new(settings.url.clone()).map_err(|_| Rejection::Issuer)?;
    // Further audiences were judged above, with the party that the token was issued to.
    let mut verifier = CoreIdTokenVerifier::new_public_client(ClientId::new(audience), issuer, keys.clone())
        .set_allowed_algs(settings.algorithms.iter().map(|algorithm| algorithm.of_library()))
        .set_other_audience_verifier_fn(|_| true);
    if matches!(purpose, Purpose::Bearer) {
        let types =
            ["JWT", "at+jwt"].into_iter().filter_map(|kind| JsonWebTokenType::new(kind.into()).normalize().ok());
        verifier = verifier.set_allowed_jose_types(types);
    }
    let verified = match purpose {
        Purpose::SignIn { nonce } => token.claims(&verifier, &Nonce::new(nonce.to_owned())),
        Purpose::Refresh | Purpose::Bearer => token.claims(&verifier, |_: Option<&Nonce>| Ok(())),
    };
    verified.map_err(|error| rejection(&error))?;
    check_times(&claims, now_ms)?;
    Ok(claims)
}

/// The issuer that a token names, which is not verified by that.
#[must_use]
pub fn claimed_issuer(raw: &str) -> Option<String> {
    let (_, claims) = parts(raw).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

fn parts(raw: &str) -> Result<(Claims, Claims), Rejection> {
    if raw.len() > TOKEN_BYTES_MAX {
        return Err(Rejection::Malformed);
    }
    let mut parts = raw.split('.');
    let (Some(header), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(Rejection::Malformed);
    };
    let object = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
        serde_json::from_slice::<Claims>(&bytes).ok()
    };
    object(header).zip(object(payload)).ok_or(Rejection::Malformed)
}

type IsTyped<'a> = &'a dyn Fn(&Value) -> bool;

fn check_types(claims: &Claims) -> Result<(), Rejection> {
    let is_text = |value: &Value| value.is_string();
    let is_number = |value: &Value| value.is_number();
    let is_audience = |value: &Value| match value {
        Value::Array(audiences) => !audiences.is_empty() && audiences.iter().all(Value::is_string),
        value => value.is_string(),
    };
    let table: [(&'static str, bool, IsTyped<'_>); 8] = [
        ("iss", true, &is_text),
        ("sub", true, &is_text),
        ("aud", true, &is_audience),
        ("exp", true, &is_number),
        ("iat", true, &is_number),
        ("nbf", false, &is_number),
        ("azp", false, &is_text),
        ("nonce", false, &is_text),
    ];
    for (name, is_required, is_typed) in table {
        match claims.get(name) {
            None if is_required => return Err(Rejection::Missing(name)),
            Some(value) if !is_typed(value) => return Err(Rejection::Mistyped(name)),
            _ => {}
        }
    }
    Ok(())
}

// The audience by which the token is for us. A token of a sign-in that is for others as well must say that it was issued to us.
fn audience(settings: &IssuerSettings, claims: &Claims, purpose: Purpose<'_>) -> Result<String, Rejection> {
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(audience)) => vec![audience],
        _ => Vec::new(),
    };
    if matches!(purpose, Purpose::Bearer) {
        let ours = settings.bearer_audiences.iter().find(|ours| audiences.contains(&ours.as_str()));
        return ours.cloned().ok_or(Rejection::Audience);
    }
    let us = settings.client_id.as_str();
    if !audiences.contains(&us) {
        return Err(Rejection::Audience);
    }
    match claims.get("azp").and_then(Value::as_str) {
        Some(party) if party != us => Err(Rejection::AuthorizedParty),
        None if audiences.len() > 1 => Err(Rejection::AuthorizedParty),
        _ => Ok(us.to_owned()),
    }
}

fn check_times(claims: &Claims, now_ms: i64) -> Result<(), Rejection> {
    let number = |name: &str| claims.get(name).and_then(Value::as_f64);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this age are exact in 53 bits")]
    let now = now_ms as f64 / 1_000.0;
    if number("exp").is_none_or(|expiry| expiry <= now) {
        return Err(Rejection::Expired);
    }
    let begins = [number("nbf"), number("iat")].into_iter().flatten();
    if begins.into_iter().any(|begin| begin > now + CLOCK_SKEW_S) {
        return Err(Rejection::NotYet);
    }
    Ok(())
}

fn rejection(error: &ClaimsVerificationError) -> Rejection {
    use SignatureVerificationError::{AmbiguousKeyId, DisallowedAlg, NoMatchingKey, UnsupportedAlg};
    match error {
        ClaimsVerificationError::Expired(_) => Rejection::Expired,
        ClaimsVerificationError::InvalidAudience(_) => Rejection::Audience,
        ClaimsVerificationError::InvalidIssuer(_) => Rejection::Issuer,
        ClaimsVerificationError::InvalidNonce(_) => Rejection::Nonce,
        ClaimsVerificationError::Unsupported(_) => Rejection::Unsupported,
        ClaimsVerificationError::SignatureVerification(NoMatchingKey | AmbiguousKeyId(_)) => Rejection::UnknownKey,
        ClaimsVerificationError::SignatureVerification(DisallowedAlg(_) | UnsupportedAlg(_)) => Rejection::Algorithm,
        ClaimsVerificationError::SignatureVerification(_) => Rejection::Signature,
        _ => Rejection::Malformed,
    }
}

// === impl Algorithm ===

impl Algorithm {
    const fn of_library(self) -> CoreJwsSigningAlgorithm {
        match self {
            Self::Rs256 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
            Self::Rs384 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
            Self::Rs512 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
            Self::Ps256 => CoreJwsSigningAlgorithm::RsaSsaPssSha256,
            Self::Es256 => CoreJwsSigningAlgorithm::EcdsaP256Sha256,
            Self::Es384 => CoreJwsSigningAlgorithm::EcdsaP384Sha384,
        }
    }
}
