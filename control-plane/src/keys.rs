//! Minting and hashing virtual keys, administrators' tokens, and the fingerprints of credentials, under the fleet's pepper.

use std::fmt;

use tollgate_policy::{
    id::KeyId,
    token::{KeyHash, Pepper, ShortPepper, Token},
};
use zeroize::Zeroizing;

use crate::{
    seal::{Keyring, SealError, random_key},
    store::{Store, StoreError},
};

/// With what the token of an administrator begins, so that secret scanners know it.
pub const ADMIN_PREFIX: &str = "tga_";

/// With what the token of a service account begins.
pub const SERVICE_PREFIX: &str = "tgs_";
/// With what an access token of a person's session begins.
pub const ACCESS_PREFIX: &str = "tgu_";
/// With what its refresh token begins.
pub const REFRESH_PREFIX: &str = "tgr_";

/// The purpose under which the pepper is sealed.
const PEPPER: &str = "pepper";
const FINGERPRINT_LENGTH: usize = 12;
/// How much of a token is shown to recognise it.
const PUBLIC_LENGTH: usize = 12;

/// Mints secrets and hashes them. One pepper serves the whole fleet.
pub struct Minter {
    pepper: Pepper,
    environment: String,
}

/// The token of an administrator or of a program: `tga_` or `tgs_` and 256 random bits in hexadecimal.
pub struct AdminToken(Zeroizing<String>);

/// Why there is no minter.
#[derive(Debug, thiserror::Error)]
pub enum MinterError {
    /// The pepper could not be stored or opened.
    #[error("failed to open the pepper")]
    Store(#[from] StoreError),
    /// No randomness.
    #[error("failed to make the pepper")]
    Seal(#[from] SealError),
    /// The stored pepper is too short to be one.
    #[error("the stored pepper is damaged")]
    Pepper(#[from] ShortPepper),
}

// === impl Minter ===

impl Minter {
    /// Opens the fleet's pepper, or makes it when there is none. `environment` stands in each key that is minted.
    ///
    /// # Errors
    /// When the pepper cannot be stored, opened or made.
    pub async fn open(store: &Store, keyring: &Keyring, environment: &str) -> Result<Self, MinterError> {
        let fresh = random_key()?;
        let stored = store.secret_get_or_create(keyring, PEPPER, || Zeroizing::new(fresh.to_vec())).await?;
        Ok(Self { pepper: Pepper::new(stored.to_vec())?, environment: environment.to_owned() })
    }

    /// The pepper, for replicas.
    #[must_use]
    pub const fn pepper(&self) -> &Pepper {
        &self.pepper
    }

    /// A fresh virtual key and its hash.
    ///
    /// # Errors
    /// [`SealError::Randomness`]; also for an environment that the configuration should have refused.
    pub fn mint(&self, id: &KeyId) -> Result<(Token, KeyHash), SealError> {
        let token = Token::mint(&self.environment, id, &*random_key()?).map_err(|_| SealError::Randomness)?;
        let hash = token.hash(&self.pepper);
        Ok((token, hash))
    }

    /// The hash of an administrator's token.
    #[must_use]
    pub fn admin_hash(&self, token: &str) -> KeyHash {
        self.keyed("tollgate-admin-token-v1", token)
    }

    /// The hash of a service account's token.
    #[must_use]
    pub fn service_hash(&self, token: &str) -> KeyHash {
        self.keyed("tollgate-service-account-token-v1", token)
    }

    /// The hash of the access token of a session.
    #[must_use]
    pub fn access_hash(&self, token: &str) -> KeyHash {
        self.keyed("tollgate-session-access-v1", token)
    }

    /// The hash of the refresh token of a session.
    #[must_use]
    pub fn refresh_hash(&self, token: &str) -> KeyHash {
        self.keyed("tollgate-session-refresh-v1", token)
    }

    /// The hash of what the holder of a sign-in that has begun was given.
    #[must_use]
    pub fn sign_in_hash(&self, secret: &str) -> KeyHash {
        self.keyed("tollgate-sign-in-v1", secret)
    }

    /// What the form of a page must send back, for the holder of this cookie.
    #[must_use]
    pub fn form_token(&self, cookie: &str) -> String {
        hex::encode(self.keyed("tollgate-form-v1", cookie).as_bytes())
    }

    /// What tells two credentials apart without telling anything about them: 12 hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self, secret: &str) -> String {
        let mut text = hex::encode(self.keyed("tollgate-fingerprint-v1", secret).as_bytes());
        text.truncate(FINGERPRINT_LENGTH);
        text
    }

    // A context before the text: a hash of one kind is never one of another.
    fn keyed(&self, context: &str, text: &str) -> KeyHash {
        let covered = Zeroizing::new(format!("{context}\0{text}"));
        KeyHash::new(self.pepper.mac(covered.as_bytes()))
    }
}

impl fmt::Debug for Minter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minter").field("environment", &self.environment).finish_non_exhaustive()
    }
}

// === impl AdminToken ===

impl AdminToken {
    /// A fresh token of an administrator.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn mint() -> Result<Self, SealError> {
        Ok(Self(random_token(ADMIN_PREFIX)?))
    }

    /// A fresh token of a service account.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn mint_service() -> Result<Self, SealError> {
        Ok(Self(random_token(SERVICE_PREFIX)?))
    }

    /// The part that may be shown at any time: the prefix and eight digits of 64.
    #[must_use]
    pub fn public_prefix(&self) -> &str {
        self.0.get(..PUBLIC_LENGTH).unwrap_or_default()
    }

    /// The token itself: for showing it once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// 256 random bits in hexadecimal behind a prefix.
///
/// # Errors
/// [`SealError::Randomness`].
pub fn random_token(prefix: &str) -> Result<Zeroizing<String>, SealError> {
    let random = random_key()?;
    let digits = Zeroizing::new(hex::encode(random.as_slice()));
    Ok(Zeroizing::new(format!("{prefix}{}", *digits)))
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}***", self.0.get(..ADMIN_PREFIX.len()).unwrap_or_default())
    }
}
