//! What an operator sets. Everything else is policy, and lives in the database.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use tollgate_settings::{Problems, Reader, Secret, SecretSource};
use zeroize::Zeroizing;

use crate::{
    audit::ship::settings::{self as sinks, SinkSettings},
    base_url,
    oidc::settings::{self, IssuerSettings},
    private,
    seal::{KEY_BYTES, Keyring, SealError, random_key},
    webhooks,
};

mod audit;

pub use self::audit::AuditSettings;

/// The file in the data directory that holds the key-encryption key, unless it is configured.
pub const ENCRYPTION_KEY_FILE: &str = "encryption-key";

/// The shortest fleet token, in bytes: it is all that stands before the fleet listener.
const FLEET_TOKEN_BYTES_MIN: usize = 16;
const ENVIRONMENT_LENGTH_MAX: usize = 16;
/// How long a person stays signed in unless it is configured: a working day.
const SESSION_LIFE: Duration = Duration::from_secs(12 * 3_600);
/// Bounds of that: shorter than an access token makes no sense, longer than 30 days nobody looks.
const SESSION_LIFE_BOUNDS: [Duration; 2] = [Duration::from_secs(900), Duration::from_secs(30 * 24 * 3_600)];

/// The configuration of a control plane.
#[derive(Clone, Debug)]
pub struct Config {
    /// `sqlite://path` or `postgres://...`. It may hold a password, and is never logged.
    pub database_url: DatabaseUrl,
    /// Where the administrator's token, and unless it is configured the encryption key, are kept.
    pub data_dir: PathBuf,
    /// Where the admin API listens.
    pub admin_listen: SocketAddr,
    /// Permits the admin API in plain text on an address that is not loopback.
    pub admin_plaintext: bool,
    /// Where replicas are served.
    pub fleet_listen: SocketAddr,
    /// Where health and metrics are served.
    pub http_listen: SocketAddr,
    /// The word in each virtual key: `live`, `test`.
    pub environment: String,
    /// The key-encryption key, 64 hexadecimal digits. Several control planes over one database need the same.
    pub encryption_key: Option<Secret>,
    /// The key-encryption key before it was changed: at start every secret is wrapped again under the current one.
    pub encryption_key_previous: Option<Secret>,
    /// Lets replicas on this machine follow by this token instead of a certificate.
    pub fleet_token: Option<Secret>,
    /// The certificate chain of the admin listener, in PEM.
    pub tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    pub tls_key: Option<PathBuf>,
    /// Where alerts are delivered, `http` or `https`. Who knows the address may often post to it: it is a secret.
    pub webhook_url: Option<Secret>,
    /// The secret that signs them, as it is or as `whsec_` and base64.
    pub webhook_secret: Option<Secret>,
    /// The identity providers that people sign in at; none unless `oidc_config` names a file.
    pub issuers: Vec<IssuerSettings>,
    /// Where the audit log is shipped to; nowhere unless `audit_sinks_config` names a file.
    pub audit_sinks: Vec<SinkSettings>,
    /// The address at which browsers reach the HTTP listener; without it, that of the listener.
    pub public_url: Option<String>,
    /// For how long a sign-in can be renewed.
    pub session_life: Duration,
    /// The issuer whose subjects are the external ids of users who are provisioned over SCIM.
    pub scim_issuer: Option<String>,
    /// The audit log.
    pub audit: AuditSettings,
    /// How the process reports.
    pub report: Report,
}

/// Logs and traces.
#[derive(Clone, Debug)]
pub struct Report {
    /// One JSON object a line rather than text for people.
    pub json: bool,
    /// Which logs, in the form of `RUST_LOG`.
    pub filter: String,
    /// The collector of traces, if there is one.
    pub otlp_endpoint: Option<String>,
    /// The share of traced requests.
    pub trace_ratio: f64,
}

/// A database URL; its Debug shows no more than the scheme.
#[derive(Clone, Eq, PartialEq)]
pub struct DatabaseUrl(String);

/// Why the key-encryption key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key is not one.
    #[error("{name}: {source}")]
    Key {
        /// The setting or the file.
        name: String,
        /// What is wrong.
        #[source]
        source: SealError,
    },
    /// The data directory or the key file cannot be used.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others may read the key file.
    #[error("{path} may be read by others: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
}

// === impl Config ===

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// Every problem together.
    pub fn read(reader: &mut Reader) -> Result<Self, Problems> {
        let data_dir: PathBuf = reader.or("data_dir", PathBuf::from("tollgate-data"));
        let default_url = format!("sqlite://{}", data_dir.join("tollgate.db").display());
        let config = Self {
            // Where it holds a password it comes from a file or the environment, like any secret.
            database_url: DatabaseUrl(
                secret(reader, "database_url").map_or(default_url, |url| url.expose().to_owned()),
            ),
            admin_listen: reader.or("admin_listen", loopback(7070)),
            admin_plaintext: reader.or("admin_plaintext", false),
            fleet_listen: reader.or("fleet_listen", loopback(7071)),
            http_listen: reader.or("http_listen", loopback(7072)),
            environment: reader.or("environment", "live".to_owned()),
            encryption_key: secret(reader, "encryption_key"),
            encryption_key_previous: secret(reader, "encryption_key_previous"),
            fleet_token: secret(reader, "fleet_token"),
            tls_cert: reader.optional("tls_cert"),
            tls_key: reader.optional("tls_key"),
            webhook_url: secret(reader, "webhook_url"),
            webhook_secret: secret(reader, "webhook_secret"),
            issuers: issuers(reader),
            audit_sinks: audit_sinks(reader),
            public_url: reader.optional("public_url").map(|url: String| url.trim_end_matches('/').to_owned()),
            session_life: reader.or("session_life", SESSION_LIFE),
            scim_issuer: reader.optional("scim_issuer"),
            audit: AuditSettings::read(reader),
            report: Report::read(reader),
            data_dir,
        };
        config.check(reader);
        reader.finish()?;
        Ok(config)
    }

    // What one value alone cannot show.
    fn check(&self, reader: &mut Reader) {
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if !(1..=ENVIRONMENT_LENGTH_MAX).contains(&self.environment.len()) || !self.environment.bytes().all(lower) {
            reader.problem("environment", "must be 1 to 16 of a-z and 0-9");
        }
        if !["sqlite:", "postgres:", "postgresql:"].iter().any(|scheme| self.database_url.0.starts_with(scheme)) {
            reader.problem("database_url", "must begin with sqlite:// or postgres://");
        }
        for (name, key) in
            [("encryption_key", &self.encryption_key), ("encryption_key_previous", &self.encryption_key_previous)]
        {
            if let Some(Err(error)) = key.as_ref().map(|key| Keyring::parse_key(key.expose())) {
                reader.problem(name, error.to_string());
            }
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            reader.problem("tls_cert", "and tls_key must be set together");
        }
        self.check_webhook(reader);
        self.check_sign_in(reader);
        let is_url = |issuer: &String| ["https://", "http://"].iter().any(|scheme| issuer.starts_with(scheme));
        if !self.scim_issuer.as_ref().is_none_or(is_url) {
            reader.problem("scim_issuer", "must be the URL of an issuer");
        }
        if self.plaintext_is_refused() {
            reader.problem(
                "admin_listen",
                "is not a loopback address: set tls_cert and tls_key, or admin_plaintext = true where something else encrypts",
            );
        }
        if let Some(token) = &self.fleet_token {
            if token.expose().len() < FLEET_TOKEN_BYTES_MIN {
                reader.problem("fleet_token", "must be at least 16 characters");
            }
            if !self.fleet_listen.ip().is_loopback() {
                reader.problem("fleet_token", "is for a loopback fleet_listen only: elsewhere replicas join");
            }
        }
    }

    fn check_webhook(&self, reader: &mut Reader) {
        if self.webhook_url.is_some() != self.webhook_secret.is_some() {
            reader.problem("webhook_url", "and webhook_secret must be set together");
        }
        if let Some(Err(problem)) = self.webhook_url.as_ref().map(webhooks::address) {
            reader.problem("webhook_url", problem);
        }
        if let Some(Err(problem)) = self.webhook_secret.as_ref().map(webhooks::signing_key) {
            reader.problem("webhook_secret", problem);
        }
    }

    // Sessions and codes go over this address: in plain text on this machine only.
    fn check_sign_in(&self, reader: &mut Reader) {
        let is_loopback = |url: &str| {
            let host = url.strip_prefix("http://").and_then(|rest| rest.parse::<http::uri::Authority>().ok());
            let host = host.as_ref().map(|authority| authority.host().trim_matches(['[', ']']));
            host.is_some_and(|host| {
                host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            })
        };
        let is_https = |url: &str| url.starts_with("https://") && base_url::parse(url, true).is_ok();
        match &self.public_url {
            Some(url) if !is_https(url) && !is_loopback(url) => {
                reader
                    .problem("public_url", "must be an https:// URL without a query, or http:// of a loopback address");
            }
            None if !self.issuers.is_empty() && !self.http_listen.ip().is_loopback() => {
                reader.problem(
                    "public_url",
                    "must be set where people sign in and http_listen is not a loopback address",
                );
            }
            _ => {}
        }
        let [least, most] = SESSION_LIFE_BOUNDS;
        if !(least..=most).contains(&self.session_life) {
            reader.problem("session_life", "must be from 15m to 30d");
        }
    }

    /// Whether the admin API would be readable on the network, and nobody said that it may.
    #[must_use]
    pub const fn plaintext_is_refused(&self) -> bool {
        !self.admin_listen.ip().is_loopback() && self.tls_cert.is_none() && !self.admin_plaintext
    }

    /// The key-encryption keys. Without a configured one it is read from the data directory, and made there once.
    ///
    /// # Errors
    /// When a key is not one, or its file cannot be used or may be read by others.
    pub fn keyring(&self) -> Result<Keyring, KeyError> {
        let parse = |name: &str, key: &Secret| {
            Keyring::parse_key(key.expose()).map_err(|source| KeyError::Key { name: name.to_owned(), source })
        };
        let current = match &self.encryption_key {
            Some(key) => parse("encryption_key", key)?,
            None => kept_key(&self.data_dir.join(ENCRYPTION_KEY_FILE))?,
        };
        let previous = self.encryption_key_previous.as_ref().map(|key| parse("encryption_key_previous", key));
        Ok(Keyring::new(current, previous.transpose()?))
    }

    /// Makes the data directory, for this user only.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_data_dir(&self) -> Result<(), KeyError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.data_dir);
        made.map_err(|source| KeyError::File { path: self.data_dir.clone(), source })
    }
}

impl Report {
    fn read(reader: &mut Reader) -> Self {
        let format = reader.or("log_format", "json".to_owned());
        if !matches!(format.as_str(), "text" | "json") {
            reader.problem("log_format", "must be text or json");
        }
        let trace_ratio: f64 = reader.or("trace_ratio", 0.01);
        if !(0.0..=1.0).contains(&trace_ratio) {
            reader.problem("trace_ratio", "must be from 0 to 1");
        }
        Self {
            json: format == "json",
            filter: reader.or("log_filter", "info".to_owned()),
            otlp_endpoint: reader.optional("otlp_endpoint"),
            trace_ratio,
        }
    }
}

// === impl DatabaseUrl ===

impl DatabaseUrl {
    /// Takes a URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL, with its password if it has one.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:***", self.0.split(':').next().unwrap_or_default())
    }
}

fn issuers(reader: &mut Reader) -> Vec<IssuerSettings> {
    let Some(path) = reader.optional::<PathBuf>("oidc_config") else { return Vec::new() };
    settings::read_file(&path).unwrap_or_else(|problems| {
        for (place, problem) in problems {
            reader.problem("oidc_config", format!("{place} {problem}"));
        }
        Vec::new()
    })
}

fn audit_sinks(reader: &mut Reader) -> Vec<SinkSettings> {
    let Some(path) = reader.optional::<PathBuf>("audit_sinks_config") else { return Vec::new() };
    sinks::read_file(&path).unwrap_or_else(|problems| {
        for (place, problem) in problems {
            reader.problem("audit_sinks_config", format!("{place} {problem}"));
        }
        Vec::new()
    })
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[expect(clippy::disallowed_methods, reason = "an env:// reference names a variable that no setting knows in advance")]
fn secret(reader: &mut Reader, name: &str) -> Option<Secret> {
    let source: SecretSource = reader.optional(name)?;
    let resolved = source.resolve(&|variable| std::env::var(variable).ok(), &|path: &Path| fs::read_to_string(path));
    resolved.map_err(|problem| reader.problem(name, problem)).ok()
}

// Two processes that start over one empty directory: the second fails to make the file, and reads what the first made.
fn kept_key(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyError> {
    match read_key(path) {
        Err(KeyError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        read => return read,
    }
    let key = random_key().map_err(|source| KeyError::Key { name: path.display().to_string(), source })?;
    match private::create(path, &Zeroizing::new(hex::encode(key.as_slice()))) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(KeyError::File { path: path.to_owned(), source })
        }
        _ => read_key(path),
    }
}

fn read_key(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyError> {
    let file = |source| KeyError::File { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(file)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned() });
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(file)?);
    Keyring::parse_key(&text).map_err(|source| KeyError::Key { name: path.display().to_string(), source })
}

#[cfg(test)]
mod tests;
