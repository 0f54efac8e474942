//! The keys that seal the log: an HMAC key and an Ed25519 key an epoch. The head of the log names the epoch in force, in the
//! database, so that every control plane over it seals with the same keys; each opens those that it meets, and keeps them.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde::{Deserialize, Serialize};
use tollgate_audit::{Checkpoint, MacKey, checkpoint::PublicKey};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    seal::{Keyring, Place, SealError, Sealed, random_key},
    store::{StoreError, Txn},
};

/// The purpose under which the keys of an epoch are sealed, with its id.
const PURPOSE: &str = "audit-epoch";

/// The keys of an epoch.
pub struct Epoch {
    id: String,
    mac_key: MacKey,
    pair: Ed25519KeyPair,
    public_key: PublicKey,
}

/// Opens epochs, and keeps what it opened. There is one in a control plane.
pub struct Epochs {
    keyring: Arc<Keyring>,
    opened: Mutex<HashMap<String, Arc<Epoch>>>,
    configured: OnceLock<()>,
}

// As they are sealed: in base64, the signing key as PKCS#8.
#[derive(Deserialize, Serialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Stored {
    mac_key: String,
    signing_key: String,
}

// === impl Epoch ===

impl Epoch {
    /// Names the epoch: the id of its HMAC key in hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The HMAC key.
    #[must_use]
    pub const fn mac_key(&self) -> &MacKey {
        &self.mac_key
    }

    /// The key that verifies its checkpoints.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The checkpoint, signed.
    #[must_use]
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let text = checkpoint.text(&self.mac_key);
        checkpoint.note(&text, &self.public_key, self.pair.sign(text.as_bytes()).as_ref())
    }

    fn read(stored: &[u8]) -> Result<Self, StoreError> {
        let broken = |reason: &str| StoreError::corrupt("audit epoch", reason);
        let stored: Stored = serde_json::from_slice(stored).map_err(|_| broken("not a pair of keys"))?;
        let decode = |text: &str| BASE64.decode(text).map(Zeroizing::new).map_err(|_| broken("not base64"));
        let mac_key = MacKey::new(&decode(&stored.mac_key)?).map_err(|error| broken(&error.to_string()))?;
        let pair = Ed25519KeyPair::from_pkcs8(&decode(&stored.signing_key)?).map_err(|_| broken("no signing key"))?;
        let public_key = PublicKey::try_from(pair.public_key().as_ref()).map_err(|_| broken("no public key"))?;
        Ok(Self { id: hex::encode(mac_key.id()), mac_key, pair, public_key })
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({})", self.id)
    }
}

// === impl Epochs ===

impl Epochs {
    /// Opens with this keyring.
    #[must_use]
    pub fn new(keyring: Arc<Keyring>) -> Self {
        Self { keyring, opened: Mutex::default(), configured: OnceLock::new() }
    }

    /// Remembers that the HMAC key is configured: no other one may be made meanwhile.
    pub(crate) fn set_configured(&self) {
        self.configured.get_or_init(|| ());
    }

    /// Whether the HMAC key is configured.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.configured.get().is_some()
    }

    /// The epoch of that id.
    ///
    /// # Errors
    /// When its keys are not stored, or do not open.
    pub(crate) async fn open(&self, txn: &mut Txn, id: &str) -> Result<Arc<Epoch>, StoreError> {
        if let Some(epoch) = self.opened.lock().unwrap_or_else(PoisonError::into_inner).get(id) {
            return Ok(Arc::clone(epoch));
        }
        let place = Place { purpose: PURPOSE, id };
        let sealed = txn.secret_get(place).await?.ok_or(StoreError::Missing)?;
        let epoch = Epoch::read(&self.keyring.open(place, &sealed)?)?;
        if epoch.id != id {
            return Err(StoreError::corrupt("audit epoch", "the keys are those of another epoch"));
        }
        Ok(self.keep(epoch))
    }

    /// Makes the keys of an epoch and stores them. The HMAC key is random unless it is given.
    ///
    /// # Errors
    /// When there is no randomness, or the store fails.
    pub(crate) async fn make(&self, txn: &mut Txn, mac_key: Option<&[u8]>) -> Result<Arc<Epoch>, StoreError> {
        let random = random_key()?;
        let mac_key = mac_key.unwrap_or(random.as_slice());
        let signing_key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| SealError::Randomness)?;
        let stored = Stored { mac_key: BASE64.encode(mac_key), signing_key: BASE64.encode(signing_key.as_ref()) };
        let stored =
            Zeroizing::new(serde_json::to_vec(&stored).map_err(|error| StoreError::corrupt("audit epoch", error))?);
        let epoch = Epoch::read(&stored)?;
        let place = Place { purpose: PURPOSE, id: &epoch.id };
        if txn.secret_get(place).await?.is_some() {
            return Err(StoreError::corrupt(
                "audit_hmac_key",
                "this key sealed an epoch that has ended: set a new one",
            ));
        }
        let sealed: Sealed = self.keyring.seal(place, &stored)?;
        txn.secret_insert(place, &sealed).await?;
        Ok(self.keep(epoch))
    }

    fn keep(&self, epoch: Epoch) -> Arc<Epoch> {
        let epoch = Arc::new(epoch);
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.insert(epoch.id.clone(), Arc::clone(&epoch));
        epoch
    }
}

impl fmt::Debug for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epochs({:?})", self.keyring)
    }
}
