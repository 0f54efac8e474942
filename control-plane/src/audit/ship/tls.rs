//! Whom a sink is believed to be, and who we are to it.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls_platform_verifier::BuilderVerifierExt as _;
use zeroize::Zeroizing;

/// Files of TLS, as the operator names them.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    /// The certificates of the authorities that are believed; without them those of the machine.
    pub(super) ca: Option<PathBuf>,
    /// Our certificate chain.
    pub(super) cert: Option<PathBuf>,
    /// Its private key.
    pub(super) key: Option<PathBuf>,
}

/// The client's side of TLS. Its Debug shows nothing of it.
#[derive(Clone)]
pub(super) struct Tls(pub(super) Arc<ClientConfig>);

// A setting, and what is wrong with it.
type Problem = (&'static str, String);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Names the setting, and what is wrong.
    pub(super) fn read(files: &Files) -> Result<Self, Problem> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| ("tls_ca", error.to_string()))?;
        let trusting = match &files.ca {
            Some(path) => builder.with_root_certificates(roots(path).map_err(|problem| ("tls_ca", problem))?),
            None => builder.with_platform_verifier().map_err(|error| {
                ("tls_ca", format!("must be set, since this machine has no certificates of authorities: {error}"))
            })?,
        };
        let config = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => {
                let chain = certificates(cert).map_err(|problem| ("tls_cert", problem))?;
                let secret = read(key).map_err(|problem| ("tls_key", problem))?;
                let secret = PrivateKeyDer::from_pem_slice(&secret);
                let secret = secret.map_err(|_| ("tls_key", "holds no private key in PEM".to_owned()))?;
                let paired = trusting.with_client_auth_cert(chain, secret);
                paired
                    .map_err(|error| ("tls_cert", format!("and tls_key are not a certificate and its key: {error}")))?
            }
            (None, None) => trusting.with_no_client_auth(),
            _ => return Err(("tls_cert", "and tls_key must be set together".to_owned())),
        };
        Ok(Self(Arc::new(config)))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("holds a certificate that is none: {error}"))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let chain = chain.map_err(|_| "is not a file in PEM".to_owned())?;
    if chain.is_empty() { Err("holds no certificate in PEM".to_owned()) } else { Ok(chain) }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    fs::read(path)
        .map(Zeroizing::new)
        .map_err(|error| format!("names {}, which cannot be read: {error}", path.display()))
}
