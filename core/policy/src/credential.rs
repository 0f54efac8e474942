//! A developer's short-lived credential: `tgt_` and a compact JWT (RFC 7519, RFC 7515) that is signed with Ed25519 (RFC 8037).
//!
//! ```text
//! tgt_ <header> . <claims> . <signature>      each in base64url without padding
//! header   {"alg":"EdDSA","kid":"<key>","typ":"at+jwt"}, to the byte
//! claims   iss "tollgate", aud "tollgate-proxy", sub user, key virtual key, sid session, iat, nbf, exp, jti
//! ```
//!
//! The control plane signs, and a replica verifies with the public keys of its snapshot, without asking anybody. A header is
//! not read: it must be the one that a known key signs under. So no algorithm, no key and no address ever comes from a token.
//! Claims are read once the signature is good. All of them are required, and each has its type; others are ignored.
//!
//! Reading order: [`Claims`], what is signed; [`TokenKey`], with what; [`Presented`], what arrives, well-formed; [`Verified`],
//! what has a good signature. Whether it is to be admitted is decided by [`decide`](crate::decide), at each request.

use std::{borrow::Cow, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use ed25519_dalek::{SIGNATURE_LENGTH as SIGNATURE_BYTES, Signature, Verifier as _, VerifyingKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    id::{InvalidId, KeyId, SessionId, UserId},
    time::UnixMillis,
};

/// With what every credential begins.
pub const PREFIX: &str = "tgt_";
/// The longest credential, in bytes. One takes about 500.
pub const BYTES_MAX: usize = 1_024;
/// The longest life of a credential, in seconds: longer than a working day, and never over a night.
pub const LIFE_SECONDS_MAX: i64 = 12 * 3_600;
/// By how much a replica's clock may be behind the control plane's, in seconds. Nothing is added to the end of a life.
pub const EARLY_SECONDS_MAX: i64 = 60;
/// Who issues credentials.
pub const ISSUER: &str = "tollgate";
/// For whom they are.
pub const AUDIENCE: &str = "tollgate-proxy";
/// The longest id of a key that signs.
pub const TOKEN_KEY_ID_LENGTH_MAX: usize = 64;
/// The length of an Ed25519 public key, in bytes.
pub const PUBLIC_KEY_BYTES: usize = 32;

// 64 bytes in base64url without padding.
const SIGNATURE_LENGTH: usize = 86;

/// What a credential says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claims {
    /// Whose it is.
    pub user: UserId,
    /// The virtual key as which it acts.
    pub key: KeyId,
    /// The session in which it was issued.
    pub session: SessionId,
    /// When it was issued, in Unix seconds.
    pub issued: i64,
    /// From when it holds, in Unix seconds.
    pub not_before: i64,
    /// From when it holds no longer, in Unix seconds.
    pub expires: i64,
    /// Names it, for records.
    pub id: Arc<str>,
}

/// A public key that signs credentials.
#[derive(Clone, Eq, PartialEq)]
pub struct TokenKey {
    id: Arc<str>,
    public_key: [u8; PUBLIC_KEY_BYTES],
    // The point that the key encodes, computed once rather than for each credential. Nothing is verified without it.
    point: Option<VerifyingKey>,
    // Encoded as in a credential, so that headers are compared and never read.
    header: Arc<str>,
}

/// What a client presented, well-formed and not yet verified.
pub struct Presented {
    text: Zeroizing<String>,
    header_end: usize,
    signed_end: usize,
}

/// A credential with a good signature. Only [`Presented::verify`] makes one. Whether it holds now is another question.
#[derive(Clone, Eq, PartialEq)]
pub struct Verified {
    claims: Claims,
    key_id: Arc<str>,
    public_key: [u8; PUBLIC_KEY_BYTES],
}

/// A key that cannot sign credentials.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the id of a token key is not 1 to 64 of a-z, 0-9 and -")]
pub struct InvalidTokenKey;

/// A text that is not a credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not of the form tgt_<header>.<claims>.<signature>, in at most 1,024 bytes")]
pub struct Malformed;

/// Why a credential was not verified.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unverified {
    /// Its header is not that of a known key.
    #[error("the header is not that of a known key")]
    Header,
    /// The signature is not that of the key.
    #[error("the signature does not match")]
    Signature,
    /// A claim is missing, has another type, or is not for a replica.
    #[error("the claims are not those of a credential")]
    Claims,
}

/// Why a credential does not hold at an instant.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Untimely {
    /// Not any more.
    #[error("expired")]
    Expired,
    /// Not yet.
    #[error("not valid yet")]
    Early,
    /// It would hold longer than any credential may.
    #[error("lives longer than a credential may")]
    Long,
}

// As they are signed. What is missing or has another type does not decode; what is further there is ignored.
// Borrowed from what was decoded, unless it has escapes.
#[derive(Deserialize, Serialize)]
struct Wire<'t> {
    #[serde(borrow)]
    iss: Cow<'t, str>,
    #[serde(borrow)]
    aud: Cow<'t, str>,
    #[serde(borrow)]
    sub: Cow<'t, str>,
    #[serde(borrow)]
    key: Cow<'t, str>,
    #[serde(borrow)]
    sid: Cow<'t, str>,
    iat: i64,
    nbf: i64,
    exp: i64,
    #[serde(borrow)]
    jti: Cow<'t, str>,
}

// === impl Claims ===

impl Claims {
    /// The text that the key named `key` signs.
    ///
    /// # Errors
    /// Refuses claims that do not fit in a credential.
    pub fn signing_input(&self, key: &TokenKey) -> Result<String, Malformed> {
        let Self { user, key: virtual_key, session, issued, not_before, expires, id } = self;
        let wire = Wire {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: user.as_str().into(),
            key: virtual_key.as_str().into(),
            sid: session.as_str().into(),
            iat: *issued,
            nbf: *not_before,
            exp: *expires,
            jti: Cow::Borrowed(id),
        };
        let claims = serde_json::to_vec(&wire).map_err(|_| Malformed)?;
        let input = format!("{}.{}", key.header, BASE64.encode(claims));
        let fits = PREFIX.len() + input.len() + 1 + SIGNATURE_LENGTH <= BYTES_MAX;
        if fits { Ok(input) } else { Err(Malformed) }
    }

    /// Whether they hold at this instant.
    ///
    /// # Errors
    /// Says why they do not.
    pub fn check(&self, now: UnixMillis) -> Result<(), Untimely> {
        let millis = |seconds: i64| seconds.saturating_mul(1_000);
        let life = self.expires.saturating_sub(self.issued);
        if !(0..=LIFE_SECONDS_MAX).contains(&life) {
            Err(Untimely::Long)
        } else if millis(self.expires) <= now.get() {
            Err(Untimely::Expired)
        } else if millis(self.not_before.saturating_sub(EARLY_SECONDS_MAX)) > now.get() {
            Err(Untimely::Early)
        } else {
            Ok(())
        }
    }

    fn read(json: &[u8]) -> Option<Self> {
        // Decoders also take a list for the members in their order.
        if !json.starts_with(b"{") {
            return None;
        }
        let Wire { iss, aud, sub, key, sid, iat, nbf, exp, jti } = serde_json::from_slice(json).ok()?;
        let ids = || Ok::<_, InvalidId>((UserId::parse(&sub)?, KeyId::parse(&key)?, SessionId::parse(&sid)?));
        let (user, key, session) = ids().ok()?;
        let meant = iss == ISSUER && aud == AUDIENCE && !jti.is_empty();
        let claims = Self { user, key, session, issued: iat, not_before: nbf, expires: exp, id: (*jti).into() };
        meant.then_some(claims)
    }
}

// === impl TokenKey ===

impl TokenKey {
    /// Takes a public key, and prepares the header of what it signs.
    ///
    /// # Errors
    /// Refuses an id that would have to be escaped in a header, or is long.
    pub fn new(id: &str, public_key: [u8; PUBLIC_KEY_BYTES]) -> Result<Self, InvalidTokenKey> {
        let plain = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'-';
        if !(1..=TOKEN_KEY_ID_LENGTH_MAX).contains(&id.len()) || !id.bytes().all(plain) {
            return Err(InvalidTokenKey);
        }
        let header = format!(r#"{{"alg":"EdDSA","kid":"{id}","typ":"at+jwt"}}"#);
        // Under a point of small order anybody signs anything.
        let point = VerifyingKey::from_bytes(&public_key).ok().filter(|point| !point.is_weak());
        Ok(Self { id: id.into(), public_key, point, header: BASE64.encode(header).into() })
    }

    /// Its id, `kid` in a header.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key itself.
    #[must_use]
    pub const fn public_key(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.public_key
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.id)
    }
}

// === impl Presented ===

impl Presented {
    /// Takes what a client presented. What passes costs at most one verification.
    ///
    /// # Errors
    /// Refuses what does not have the size and the shape of a credential.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > BYTES_MAX {
            return Err(Malformed);
        }
        let mut parts = text.strip_prefix(PREFIX).ok_or(Malformed)?.split('.');
        let mut part = || parts.next().filter(|part| is_base64url(part)).ok_or(Malformed);
        let (header, claims, signature) = (part()?, part()?, part()?);
        if parts.next().is_some() || signature.len() != SIGNATURE_LENGTH {
            return Err(Malformed);
        }
        let header_end = PREFIX.len() + header.len();
        let signed_end = header_end + 1 + claims.len();
        Ok(Self { text: Zeroizing::new(text.to_owned()), header_end, signed_end })
    }

    /// Makes a credential of what was signed and its signature.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn assemble(signing_input: &str, signature: &[u8]) -> Result<Self, Malformed> {
        Self::parse(&Zeroizing::new(format!("{PREFIX}{signing_input}.{}", BASE64.encode(signature))))
    }

    /// The whole secret: for showing it once, when it is issued, and for hashing it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Verifies the signature with the key whose header it has, and then reads the claims. Time is not looked at.
    ///
    /// # Errors
    /// Refuses another header before anything is computed, then a wrong signature, then claims that are not those of a
    /// credential.
    pub fn verify(&self, keys: &[Arc<TokenKey>]) -> Result<Verified, Unverified> {
        let part = |from: usize, to: usize| self.text.get(from..to).unwrap_or_default();
        let header = part(PREFIX.len(), self.header_end);
        let key = keys.iter().find(|key| *key.header == *header).ok_or(Unverified::Header)?;
        let mut signature = [0; SIGNATURE_BYTES];
        let sent = part(self.signed_end + 1, self.text.len());
        let length = BASE64.decode_slice(sent, &mut signature).map_err(|_| Unverified::Signature)?;
        let signed = part(PREFIX.len(), self.signed_end);
        let point = key.point.as_ref().filter(|_| length == SIGNATURE_BYTES).ok_or(Unverified::Signature)?;
        let good = point.verify(signed.as_bytes(), &Signature::from_bytes(&signature));
        good.map_err(|_| Unverified::Signature)?;
        let mut json = [0; BYTES_MAX];
        let claims = part(self.header_end + 1, self.signed_end);
        let length = BASE64.decode_slice(claims, &mut json).map_err(|_| Unverified::Claims)?;
        let claims = json.get(..length).and_then(Claims::read).ok_or(Unverified::Claims)?;
        Ok(Verified { claims, key_id: Arc::clone(&key.id), public_key: key.public_key })
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}***")
    }
}

// === impl Verified ===

impl Verified {
    /// What it says.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Whether it was verified with this key.
    #[must_use]
    pub fn was_signed_by(&self, key: &TokenKey) -> bool {
        self.key_id == key.id && self.public_key == key.public_key
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("claims", &self.claims).field("key", &self.key_id).finish_non_exhaustive()
    }
}

fn is_base64url(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests;
