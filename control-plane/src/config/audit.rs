//! What an operator sets about the audit log.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tollgate_audit::MacKey;
use tollgate_settings::{Reader, Secret};
use zeroize::Zeroizing;

use super::secret;
use crate::audit::retention;

/// A key of 32 bytes as hexadecimal digits.
const KEY_DIGITS: usize = 64;
/// The shortest retention: a unit that was mistyped must not empty the log.
const RETENTION_MIN: Duration = Duration::from_secs(24 * 3_600);

/// The audit log.
#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// The HMAC key that seals entries, as it is or in 64 hexadecimal digits; without one, each epoch has a random one.
    pub hmac_key: Option<Secret>,
    /// How long entries are kept; without it, for ever.
    pub retention: Option<Duration>,
    /// Whether entries are written to an archive before they are pruned.
    pub archive: bool,
    /// Where the archives are written; without it, in the data directory.
    pub archive_dir: Option<PathBuf>,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self { hmac_key: None, retention: None, archive: true, archive_dir: None }
    }
}

impl AuditSettings {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let settings = Self {
            hmac_key: secret(reader, "audit_hmac_key"),
            retention: reader.optional("audit_retention"),
            archive: reader.or("audit_archive", true),
            archive_dir: reader.optional("audit_archive_dir"),
        };
        if settings.retention.is_some_and(|keep| keep < RETENTION_MIN) {
            reader.problem("audit_retention", "must be 1d or more");
        }
        if settings.hmac_key.as_ref().is_some_and(|key| MacKey::new(&hmac_key_bytes(key)).is_err()) {
            reader.problem("audit_hmac_key", "must be 32 bytes or more: `openssl rand -hex 32` makes one");
        }
        settings
    }

    /// The bytes of the HMAC key, if one is set.
    #[must_use]
    pub fn hmac_key_bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.hmac_key.as_ref().map(hmac_key_bytes)
    }

    /// How long entries are kept and where they go, if they are not kept for ever.
    #[must_use]
    pub fn retention(&self, data_dir: &Path) -> Option<retention::Settings> {
        let archive_dir = || self.archive_dir.clone().unwrap_or_else(|| data_dir.join("audit-archive"));
        Some(retention::Settings { keep: self.retention?, archive_dir: self.archive.then(archive_dir) })
    }
}

fn hmac_key_bytes(key: &Secret) -> Zeroizing<Vec<u8>> {
    let text = key.expose();
    let decoded = (text.len() == KEY_DIGITS).then(|| hex::decode(text).ok()).flatten();
    Zeroizing::new(decoded.unwrap_or_else(|| text.as_bytes().to_vec()))
}
