//! Issues developers' short-lived credentials, which replicas verify without asking.
//!
//! The Ed25519 key that signs is sealed in the store; its public half travels in the snapshot. Both are read where a credential
//! is issued, in the caller's transaction: so every control plane over one database signs with the same key, and what a
//! rotation withdrew signs nothing more.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tollgate_audit::{Entry, Facts, Outcome};
use tollgate_policy::{
    credential::{Claims, LIFE_SECONDS_MAX, Presented, TokenKey},
    id::{KeyId, SessionId, UserId},
};
use ulid::Ulid;
use zeroize::Zeroizing;

use crate::{
    audit,
    seal::{Keyring, Place, SealError},
    store::{Store, StoreError, Txn, token_keys::MadeKey},
};

/// The purpose under which the keys are sealed, each with its id.
const PURPOSE: &str = "token-signer";
/// A key signs once it is so old: by then every replica that follows has its public half.
const SETTLED_MS: i64 = 60_000;
/// The key that signs, and the one before, whose credentials still live.
const KEYS_MAX: usize = 2;

/// Signs credentials. Cloning shares it.
#[derive(Clone)]
pub struct Signer {
    store: Store,
    keyring: Arc<Keyring>,
}

/// For whom a credential is asked. The caller has checked that the key is the user's, and that the session goes on.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Whose it is.
    pub user: UserId,
    /// The virtual key as which it acts.
    pub key: KeyId,
    /// The session in which it is issued.
    pub session: SessionId,
    /// For how long it holds, in seconds; at most twelve hours are given.
    pub life_s: i64,
}

/// A credential, issued.
#[derive(Debug)]
pub struct Issued {
    /// The credential: it is shown once and stored nowhere.
    pub credential: Presented,
    /// Names it, for the audit log.
    pub id: String,
    /// When it expires, in Unix milliseconds: for the session's `tokens_expire_time`.
    pub expire_time: i64,
}

/// Why no credential was issued.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The database failed.
    #[error("failed to read or store the key that signs credentials")]
    Store(#[from] StoreError),
    /// The key does not open, or there is no randomness for a new one.
    #[error("failed to open or make the key that signs credentials")]
    Seal(#[from] SealError),
    /// What is stored is no key.
    #[error("the stored key that signs credentials {0}")]
    Key(&'static str),
    /// The claims do not fit, or the life is not positive.
    #[error("a credential with these claims cannot be issued")]
    Claims,
}

// A fresh key: its public half, and its PKCS#8 sealed for its place.
struct Fresh {
    made: MadeKey,
    sealed: crate::seal::Sealed,
}

// === impl Signer ===

impl Signer {
    /// Opens the signer, and makes the first key when there is none. Of several control planes that start together one makes it.
    ///
    /// # Errors
    /// When the key cannot be made or stored.
    pub async fn open(store: &Store, keyring: Arc<Keyring>, now_ms: i64) -> Result<Self, TokenError> {
        let signer = Self { store: store.clone(), keyring };
        let mut txn = store.begin_read().await?;
        let keys = txn.token_key_list().await?;
        txn.end().await?;
        if keys.is_empty() {
            signer.add(now_ms, false).await?;
        }
        Ok(signer)
    }

    /// Makes a new key, which signs as soon as the replicas have it. The one that signs until then stays for its credentials;
    /// any other is withdrawn, and what it signed is refused everywhere. So a second rotation ends all that was issued before
    /// the first. Returns the new key's id.
    ///
    /// # Errors
    /// When the key cannot be made or stored.
    pub async fn rotate(&self, now_ms: i64) -> Result<String, TokenError> {
        self.add(now_ms, true).await
    }

    /// Issues a credential, in the caller's transaction: the session that is charged with it is checked and written in the same.
    ///
    /// # Errors
    /// [`TokenError::Claims`] for a life that is not positive; otherwise when the key cannot be read.
    pub async fn issue(&self, txn: &mut Txn, asked: &Asked, now_ms: i64) -> Result<Issued, TokenError> {
        let Asked { user, key, session, life_s } = asked;
        let life_s = (*life_s).min(LIFE_SECONDS_MAX);
        if life_s <= 0 {
            return Err(TokenError::Claims);
        }
        let (token_key, pair) = self.current(txn, now_ms).await?;
        let issued = now_ms.div_euclid(1_000);
        let id = Ulid::generate().to_string().to_lowercase();
        let claims = Claims {
            user: user.clone(),
            key: key.clone(),
            session: session.clone(),
            issued,
            not_before: issued,
            expires: issued + life_s,
            id: id.as_str().into(),
        };
        let input = claims.signing_input(&token_key).map_err(|_| TokenError::Claims)?;
        let credential =
            Presented::assemble(&input, pair.sign(input.as_bytes()).as_ref()).map_err(|_| TokenError::Claims)?;
        Ok(Issued { credential, id, expire_time: (issued + life_s).saturating_mul(1_000) })
    }

    /// Signs what another server is told of a user: a JWT (RFC 7519) that is no credential here, since a replica takes none but with the
    /// header and the claims of a credential. Its public half is at `/.well-known/jwks.json`.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub async fn assert(
        &self,
        txn: &mut Txn,
        claims: &Map<String, Value>,
        now_ms: i64,
    ) -> Result<Zeroizing<String>, TokenError> {
        let (token_key, pair) = self.current(txn, now_ms).await?;
        let header = json!({ "alg": "EdDSA", "kid": token_key.id(), "typ": "JWT" });
        let claims = Value::Object(claims.clone());
        let covered = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = BASE64.encode(pair.sign(covered.as_bytes()));
        Ok(Zeroizing::new(format!("{covered}.{signature}")))
    }

    /// The public halves, as a set of keys (RFC 7517; RFC 8037, 2).
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn key_set(&self) -> Result<Value, StoreError> {
        let mut txn = self.store.begin_read().await?;
        let keys = txn.token_key_list().await?;
        txn.end().await?;
        let key = |made: &MadeKey| {
            let x = BASE64.encode(made.key.public_key());
            json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": made.key.id(), "x": x })
        };
        Ok(json!({ "keys": keys.iter().map(key).collect::<Vec<_>>() }))
    }

    // The newest key that every replica has. Where none is that old, the oldest one there is.
    async fn current(&self, txn: &mut Txn, now_ms: i64) -> Result<(TokenKey, Ed25519KeyPair), TokenError> {
        let keys = txn.token_key_list().await?;
        let settled = keys.iter().find(|made| now_ms.saturating_sub(made.create_time) >= SETTLED_MS);
        let made = settled.or(keys.last()).ok_or(TokenError::Key("is missing"))?;
        let place = Place { purpose: PURPOSE, id: made.key.id() };
        let sealed = txn.secret_get(place).await?.ok_or(TokenError::Key("is missing"))?;
        let document = self.keyring.open(place, &sealed)?;
        let pair = Ed25519KeyPair::from_pkcs8(&document).map_err(|_| TokenError::Key("is not an Ed25519 key"))?;
        if pair.public_key().as_ref() != made.key.public_key() {
            return Err(TokenError::Key("is not that of its public half"));
        }
        Ok((made.key.clone(), pair))
    }

    // The revision comes first, as in every change: two that start together find one after the other what is there.
    async fn add(&self, now_ms: i64, again: bool) -> Result<String, TokenError> {
        let Fresh { made, sealed } = self.fresh(now_ms)?;
        let mut txn = self.store.begin().await?;
        let revision = txn.advance_revision().await?;
        let keys = txn.token_key_list().await?;
        if let Some(first) = keys.first().filter(|_| !again) {
            let id = first.key.id().to_owned();
            txn.end().await?;
            return Ok(id);
        }
        for old in keys.iter().skip(KEYS_MAX - 1) {
            txn.token_key_delete(old.key.id(), revision).await?;
            txn.secret_delete(Place { purpose: PURPOSE, id: old.key.id() }).await?;
        }
        txn.secret_insert(Place { purpose: PURPOSE, id: made.key.id() }, &sealed).await?;
        txn.token_key_insert(&made, revision).await?;
        let mut detail = serde_json::Map::new();
        let withdrawn: Vec<&str> = keys.iter().skip(KEYS_MAX - 1).map(|old| old.key.id()).collect();
        detail.insert("withdrawn".into(), json!(withdrawn));
        let target = format!("token-key/{}", made.key.id());
        let facts = Facts { initiator: "system", target: &target, detail, ..Facts::default() };
        audit::append(&mut txn, Entry::new(now_ms, "token_key.create", Outcome::Allowed, facts)).await?;
        txn.commit().await?;
        Ok(made.key.id().to_owned())
    }

    fn fresh(&self, now_ms: i64) -> Result<Fresh, TokenError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| SealError::Randomness)?;
        let document = Zeroizing::new(document.as_ref().to_vec());
        let pair = Ed25519KeyPair::from_pkcs8(&document).map_err(|_| TokenError::Key("is not an Ed25519 key"))?;
        let public_key = pair.public_key().as_ref();
        // Named after its bytes: one id is one key, on every replica and for ever.
        let id = hex::encode(Sha256::digest(public_key).get(..8).unwrap_or_default());
        let public_key = public_key.try_into().map_err(|_| TokenError::Key("is not an Ed25519 key"))?;
        let key = TokenKey::new(&id, public_key).map_err(|_| TokenError::Key("has no id"))?;
        let sealed = self.keyring.seal(Place { purpose: PURPOSE, id: &id }, &document)?;
        Ok(Fresh { made: MadeKey { key, create_time: now_ms }, sealed })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

#[cfg(test)]
mod tests;
