//! The fleet's certificate authority: it says who is a replica, and by which certificate a replica knows its control plane.
//!
//! Its key (P-256) and certificate are made once, sealed in the store, and shared by every control plane over one database.
//! Replicas do not trust any other authority on the fleet listener, and the fleet listener trusts no other one.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tollgate_policy::id::ReplicaId;
use tollgate_proto::push::{JOIN_TOKEN_PREFIX, REPLICA_URI_PREFIX, SERVER_NAME};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    seal::{Keyring, SealError},
    store::{Store, StoreError},
};

/// How long a replica's certificate is good. It is renewed at half of that.
pub const REPLICA_LIFE: Duration = Duration::from_secs(24 * 3_600);
/// The longest, and the usual, life of a join token.
pub const JOIN_TOKEN_LIFE: Duration = Duration::from_secs(600);

/// The purpose under which the authority is sealed.
const PURPOSE: &str = "fleet-authority";
/// The authority outlives every machine that pins it; it is replaced by letting replicas join anew.
const AUTHORITY_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3_600);
/// A control plane makes itself a certificate at each start, and starts more often than this.
const SERVER_LIFE: Duration = Duration::from_secs(5 * 365 * 24 * 3_600);
/// Clocks of replicas may be behind by so much.
const CLOCK_SKEW: Duration = Duration::from_secs(300);
/// A TLS handshake that takes longer is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest certificate signing request, in bytes; one for P-256 takes 250.
const REQUEST_BYTES_MAX: usize = 4_096;

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The request is not a certificate signing request for a P-256 key, signed with that key.
    #[error("not a certificate signing request for a P-256 key, signed with that key")]
    Request,
    /// The authority as it is stored cannot be read.
    #[error("the stored authority cannot be read: {0}")]
    Stored(String),
    /// A certificate could not be made.
    #[error("failed to make a certificate")]
    Make(#[from] rcgen::Error),
    /// The store failed.
    #[error("failed to read the authority from the store")]
    Store(#[from] StoreError),
    /// There was no randomness.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// A join token, made. `text` is shown once; `hash` is stored.
pub struct JoinToken {
    /// `tgj_<secret>.<certificate>`.
    pub text: Zeroizing<String>,
    /// SHA-256 of `tgj_<secret>`.
    pub hash: [u8; 32],
}

// As it is sealed: both in base64, of DER.
#[derive(Deserialize, Serialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Stored {
    key: String,
    certificate: String,
}

// === impl Authority ===

impl Authority {
    /// The fleet's authority, made when there is none yet.
    ///
    /// # Errors
    /// When it cannot be made, stored or read.
    pub async fn open(store: &Store, keyring: &Keyring) -> Result<Self, AuthorityError> {
        let fresh = make()?;
        let stored = store.secret_get_or_create(keyring, PURPOSE, || fresh).await?;
        let unreadable = |error: &dyn std::fmt::Display| AuthorityError::Stored(error.to_string());
        let stored: Stored = serde_json::from_slice(&stored).map_err(|error| unreadable(&error))?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|error| unreadable(&error));
        let key = KeyPair::try_from(Zeroizing::new(decode(&stored.key)?).as_slice())?;
        let certificate = CertificateDer::from(decode(&stored.certificate)?);
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { issuer, certificate })
    }

    /// Certifies the key of a PKCS#10 request as that of the replica. Nothing else in the request counts. Returns the chain in
    /// PEM.
    ///
    /// # Errors
    /// [`AuthorityError::Request`] when the request is not one, or not signed with its own key.
    pub fn certify(&self, replica: &ReplicaId, request: &[u8]) -> Result<String, AuthorityError> {
        if request.len() > REQUEST_BYTES_MAX {
            return Err(AuthorityError::Request);
        }
        // Parsing verifies the signature: who asks has the key.
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
            .map_err(|_| AuthorityError::Request)?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(AuthorityError::Request);
        }
        let mut params = params(replica.as_str(), REPLICA_LIFE)?;
        let uri = format!("{REPLICA_URI_PREFIX}{replica}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params.signed_by(&request.public_key, &self.issuer)?.pem())
    }

    /// TLS for the fleet listener: a fresh certificate for this control plane. A certificate of the caller is verified when
    /// there is one; each call but Join then demands it.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn server_tls(&self) -> Result<ServerTlsConfig, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = params(SERVER_NAME, SERVER_LIFE)?;
        params.subject_alt_names = vec![SanType::DnsName(SERVER_NAME.try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = Zeroizing::new(key.serialize_pem());
        Ok(ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate.pem(), key.as_bytes()))
            .client_ca_root(Certificate::from_pem(pem(&self.certificate)))
            .client_auth_optional(true)
            .timeout(HANDSHAKE_TIMEOUT))
    }

    /// Makes a join token, which carries the authority's certificate, so that a replica knows whom it joins.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn join_token(&self) -> Result<JoinToken, AuthorityError> {
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(crate::seal::random_key()?));
        let admits = Zeroizing::new(format!("{JOIN_TOKEN_PREFIX}{}", *secret));
        let text = format!("{}.{}", *admits, URL_SAFE_NO_PAD.encode(&self.certificate));
        Ok(JoinToken { text: Zeroizing::new(text), hash: token_hash(&admits) })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(..)")
    }
}

impl std::fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JoinToken(***)")
    }
}

/// The hash under which a join token is stored: of what stands before its point, so that the certificate need not be sent.
#[must_use]
pub fn token_hash(text: &str) -> [u8; 32] {
    let admits = text.split_once('.').map_or(text, |(admits, _)| admits);
    Sha256::digest(admits.as_bytes()).into()
}

/// The replica for which a certificate was issued that TLS has verified, if it is good at this instant (Unix seconds). A
/// connection outlives the certificate with which it was opened, so this is asked at each call.
#[must_use]
pub fn certified(certificate: &CertificateDer<'_>, now_seconds: i64) -> Option<ReplicaId> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    if certificate.validity().not_after.timestamp() <= now_seconds {
        return None;
    }
    let names = certificate.subject_alternative_name().ok()??;
    match names.value.general_names.as_slice() {
        [GeneralName::URI(uri)] => ReplicaId::parse(uri.strip_prefix(REPLICA_URI_PREFIX)?).ok(),
        _ => None,
    }
}

fn make() -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
    let key = KeyPair::generate()?;
    let mut params = params("Tollgate fleet authority", AUTHORITY_LIFE)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    let stored = Stored {
        key: URL_SAFE_NO_PAD.encode(Zeroizing::new(key.serialize_der())),
        certificate: URL_SAFE_NO_PAD.encode(certificate.der()),
    };
    serde_json::to_vec(&stored).map(Zeroizing::new).map_err(|error| AuthorityError::Stored(error.to_string()))
}

fn params(common_name: &str, life: Duration) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let now = std::time::SystemTime::now();
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + life).into();
    // RFC 5280: a positive serial number of at most 20 bytes.
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|_| SealError::Randomness)?;
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
