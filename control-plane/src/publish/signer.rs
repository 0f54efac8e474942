//! The Ed25519 keys that sign pushes: the current one, and the next, which is announced before it signs.

use std::sync::Arc;

use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tollgate_proto::{
    fleet::v1::{Push, SigningKey},
    push,
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::PublishError;
use crate::{
    clock,
    seal::{Keyring, Place},
    store::{Store, Txn, secrets::FLEET},
};

/// The purpose under which the keys are sealed.
const PURPOSE: &str = "fleet-signing";
/// A key signs for so long, and is announced for as long before: a replica may miss one rotation while it is off.
const KEY_LIFE_MS: i64 = 90 * 24 * 3_600 * 1_000;

/// The keys.
pub(crate) struct Signer {
    current: Ed25519KeyPair,
    announced: Vec<SigningKey>,
    made_ms: i64,
}

// As they are sealed: PKCS#8, in hexadecimal digits.
#[derive(Deserialize, Serialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Stored {
    current: String,
    next: String,
    made_ms: i64,
}

impl Signer {
    /// Makes the keys when there are none yet.
    pub(crate) async fn ensure(store: &Store, keyring: &Keyring) -> Result<(), PublishError> {
        let fresh = Stored { current: random()?, next: random()?, made_ms: clock::now_ms() }.encode()?;
        store.secret_get_or_create(keyring, PURPOSE, || fresh).await?;
        Ok(())
    }

    /// Reads the keys, in the transaction that reads what they sign.
    pub(crate) async fn read(txn: &mut Txn, keyring: &Keyring) -> Result<Arc<Self>, PublishError> {
        Stored::read(txn, keyring).await?.signer().map(Arc::new)
    }

    /// Has the announced key sign, and announces another one, when the current one is old enough. Tells whether it did.
    pub(crate) async fn rotate(store: &Store, keyring: &Keyring) -> Result<bool, PublishError> {
        let mut txn = store.begin().await?;
        // A new revision makes every control plane read the keys again. It comes first, as in every change.
        txn.advance_revision().await?;
        let stored = Stored::read(&mut txn, keyring).await?;
        let now = clock::now_ms();
        if now - stored.made_ms < KEY_LIFE_MS {
            txn.end().await?;
            return Ok(false);
        }
        let next = Stored { current: stored.next.clone(), next: random()?, made_ms: now };
        let sealed = keyring.seal(PLACE, &next.encode()?)?;
        txn.secret_replace(PLACE, &sealed).await?;
        txn.commit().await?;
        Ok(true)
    }

    #[cfg(test)]
    pub(crate) fn of_seeds(current: [u8; 32], next: [u8; 32]) -> Arc<Self> {
        let pair = |seed: [u8; 32]| Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let (current, next) = (pair(current), pair(next));
        let announced = vec![public(&current), public(&next)];
        Arc::new(Self { current, announced, made_ms: 0 })
    }

    /// Whether the current key has signed for long enough.
    pub(crate) const fn is_due(&self, now_ms: i64) -> bool {
        now_ms - self.made_ms >= KEY_LIFE_MS
    }

    /// The keys that a Welcome announces: the current one, then the next.
    pub(crate) fn announced(&self) -> &[SigningKey] {
        &self.announced
    }

    /// Completes a head with its signature.
    pub(crate) fn sign(&self, head: Push) -> Push {
        let signing_key = self.announced.first().map(|key| key.id.clone()).unwrap_or_default();
        let signature = self.current.sign(&push::signed_bytes(&head)).as_ref().to_vec().into();
        Push { signing_key, signature, ..head }
    }

    /// Whether one of the keys signed this head.
    pub(crate) fn has_signed(&self, head: &Push) -> bool {
        let key = self.announced.iter().find(|key| key.id == head.signing_key);
        key.is_some_and(|key| {
            let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &key.public_key);
            key.verify(&push::signed_bytes(head), &head.signature).is_ok()
        })
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("announced", &self.announced).finish_non_exhaustive()
    }
}

const PLACE: Place<'static> = Place { purpose: PURPOSE, id: FLEET };

impl Stored {
    async fn read(txn: &mut Txn, keyring: &Keyring) -> Result<Self, PublishError> {
        let sealed = txn.secret_get(PLACE).await?.ok_or(PublishError::SigningKey("is missing"))?;
        let bytes = keyring.open(PLACE, &sealed)?;
        serde_json::from_slice(&bytes).map_err(|_| PublishError::SigningKey("cannot be read"))
    }

    fn encode(&self) -> Result<Zeroizing<Vec<u8>>, PublishError> {
        serde_json::to_vec(self).map(Zeroizing::new).map_err(|_| PublishError::SigningKey("cannot be encoded"))
    }

    fn signer(&self) -> Result<Signer, PublishError> {
        let (current, next) = (pair(&self.current)?, pair(&self.next)?);
        let announced = vec![public(&current), public(&next)];
        Ok(Signer { current, announced, made_ms: self.made_ms })
    }
}

fn random() -> Result<String, PublishError> {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    document.map(hex::encode).map_err(|_| PublishError::SigningKey("cannot be made without randomness"))
}

fn pair(text: &str) -> Result<Ed25519KeyPair, PublishError> {
    let document = hex::decode(text).map(Zeroizing::new).map_err(|_| PublishError::SigningKey("cannot be read"))?;
    Ed25519KeyPair::from_pkcs8(&document).map_err(|_| PublishError::SigningKey("is not an Ed25519 key"))
}

fn public(pair: &Ed25519KeyPair) -> SigningKey {
    let public_key = pair.public_key().as_ref().to_vec();
    let digest = Sha256::digest(&public_key);
    SigningKey { id: hex::encode(digest.get(..8).unwrap_or_default()), public_key: public_key.into() }
}
