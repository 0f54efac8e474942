//! The identity on disk, and what a join token says.

use std::{
    fmt, fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PublicKeyData as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use tollgate_policy::id::ReplicaId;
use tollgate_proto::push::{JOIN_TOKEN_PREFIX, REPLICA_URI_PREFIX};
use tollgate_settings::Secret;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::MembershipError;
use crate::durable;

/// The file under the data directory.
const FILE: &str = "identity.json";
/// The longest file that is read as an identity or an authority, in bytes; a chain of two certificates takes 2 KiB.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Who this replica is.
pub(super) struct Identity {
    /// Its id, as its certificate says.
    pub(super) replica: ReplicaId,
    /// When the certificate ends.
    pub(super) expires: SystemTime,
    /// The certificate, and those above it.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The fleet's authority, in DER.
    pub(super) authority: Vec<u8>,
    /// SHA-256 of the token with which it joined.
    pub(super) token_digest: [u8; 32],
    key: Zeroizing<Vec<u8>>,
}

/// A join token, taken apart.
pub(super) struct Ticket {
    /// What the control plane wants to see.
    pub(super) secret: Secret,
    /// The fleet's authority, in DER.
    pub(super) authority: Vec<u8>,
}

// As it is on disk; every field is base64.
#[derive(Deserialize, Serialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Stored {
    chain: Vec<String>,
    key: String,
    authority: String,
    token_digest: String,
}

// === impl Identity ===

impl Identity {
    /// Takes what the control plane answered, when it is for `key` and for `replica`.
    pub(super) fn new(
        chain_pem: &str,
        key: &KeyPair,
        authority: Vec<u8>,
        token_digest: [u8; 32],
        replica: Option<&str>,
    ) -> Result<Self, MembershipError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain_pem.as_bytes()).collect();
        let chain = chain.map_err(|error| MembershipError::Certificate(error.to_string()))?;
        let key_der = Zeroizing::new(key.serialize_der());
        let identity = Self::of(chain, key_der, authority, token_digest)?;
        if replica.is_some_and(|expect| expect != identity.replica.as_str()) {
            return Err(MembershipError::Certificate("is for another replica than the answer says".into()));
        }
        Ok(identity)
    }

    /// Reads the identity; `None` when there is none. Blocks.
    pub(super) fn load(data_dir: &Path) -> Result<Option<Self>, MembershipError> {
        let path = data_dir.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = Zeroizing::new(read(&path)?);
        let invalid = |reason: String| MembershipError::File { path: path.clone(), reason };
        let stored: Stored = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|error| invalid(error.to_string()));
        let chain: Result<Vec<_>, _> = stored.chain.iter().map(|der| decode(der).map(CertificateDer::from)).collect();
        let digest = decode(&stored.token_digest)?.try_into();
        let digest = digest.map_err(|_| invalid("token_digest is not of 32 bytes".into()))?;
        let key = Zeroizing::new(decode(&stored.key)?);
        Self::of(chain?, key, decode(&stored.authority)?, digest).map(Some)
    }

    /// Writes the identity, whole or not at all. Blocks.
    pub(super) fn save(&self, data_dir: &Path) -> Result<(), MembershipError> {
        let stored = Stored {
            chain: self.chain.iter().map(|der| URL_SAFE_NO_PAD.encode(der)).collect(),
            key: URL_SAFE_NO_PAD.encode(&self.key),
            authority: URL_SAFE_NO_PAD.encode(&self.authority),
            token_digest: URL_SAFE_NO_PAD.encode(self.token_digest),
        };
        let path = data_dir.join(FILE);
        let written = serde_json::to_vec(&stored)
            .map(Zeroizing::new)
            .map_err(std::io::Error::other)
            .and_then(|text| durable::replace(&path, |file| file.write_all(&text)));
        written.map_err(|error| MembershipError::File { path, reason: error.to_string() })
    }

    /// The private key.
    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.to_vec()))
    }

    fn of(
        chain: Vec<CertificateDer<'static>>,
        key: Zeroizing<Vec<u8>>,
        authority: Vec<u8>,
        token_digest: [u8; 32],
    ) -> Result<Self, MembershipError> {
        let invalid = |reason: &str| MembershipError::Certificate(reason.to_owned());
        let leaf = chain.first().ok_or_else(|| invalid("is missing"))?;
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|error| invalid(&error.to_string()))?;
        let pair = KeyPair::try_from(key.as_slice()).map_err(|error| invalid(&error.to_string()))?;
        if leaf.public_key().raw != pair.subject_public_key_info() {
            return Err(invalid("is for another key"));
        }
        let replica = replica_of(&leaf).ok_or_else(|| invalid("names no replica"))?;
        let seconds = u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or_default();
        let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Ok(Self { replica, expires, authority, token_digest, key, chain })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("replica", &self.replica)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

// === impl Ticket ===

impl Ticket {
    /// Takes a join token apart: `tgj_<secret>.<authority>`, the latter in unpadded base64url.
    pub(super) fn parse(token: &Secret) -> Result<Self, MembershipError> {
        let shape = MembershipError::Token("a join token has the form tgj_<secret>.<certificate>; copy all of it");
        let text = token.expose().trim();
        let parts = text.starts_with(JOIN_TOKEN_PREFIX).then(|| text.split_once('.')).flatten();
        let Some((secret, authority)) = parts else { return Err(shape) };
        let authority = URL_SAFE_NO_PAD.decode(authority).map_err(|_| shape)?;
        Ok(Self { secret: Secret::new(secret), authority })
    }
}

/// Reads the first certificate of a PEM file. Blocks.
pub(super) fn read_authority(path: &Path) -> Result<Vec<u8>, MembershipError> {
    let der = CertificateDer::from_pem_slice(&read(path)?);
    let invalid = |error: rustls_pki_types::pem::Error| file_error(path, &error);
    Ok(der.map_err(invalid)?.to_vec())
}

fn replica_of(leaf: &X509Certificate<'_>) -> Option<ReplicaId> {
    let names = leaf.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(REPLICA_URI_PREFIX).and_then(|id| ReplicaId::parse(id).ok()),
        _ => None,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, MembershipError> {
    let length = fs::metadata(path).map_err(|error| file_error(path, &error))?.len();
    if length > FILE_BYTES_MAX {
        return Err(file_error(path, &"is longer than 64 KiB"));
    }
    fs::read(path).map_err(|error| file_error(path, &error))
}

fn file_error(path: &Path, reason: &dyn fmt::Display) -> MembershipError {
    MembershipError::File { path: PathBuf::from(path), reason: reason.to_string() }
}
