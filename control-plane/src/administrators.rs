//! The bootstrap administrator, who holds everything, and the token that is made at the first start.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tollgate_audit::{Entry, Facts, Outcome};

use crate::{
    audit, clock,
    keys::{AdminToken, Minter},
    private,
    seal::SealError,
    store::{Store, StoreError},
};

/// The name of the bootstrap administrator.
pub const BOOTSTRAP: &str = "administrator/bootstrap";
/// The file in the data directory that holds the bootstrap administrator's token.
pub const TOKEN_FILE: &str = "admin-token";

/// Knows administrators by their tokens.
#[derive(Debug)]
pub struct Administrators {
    store: Store,
    minter: Arc<Minter>,
}

/// Why the bootstrap token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The file could not be written.
    #[error("failed to write {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The hash or the entry could not be stored.
    #[error("failed to store the token's hash")]
    Store(#[from] StoreError),
    /// No randomness.
    #[error("failed to make a token")]
    Seal(#[from] SealError),
}

// === impl Administrators ===

impl Administrators {
    /// Administrators of this database.
    #[must_use]
    pub const fn new(store: Store, minter: Arc<Minter>) -> Self {
        Self { store, minter }
    }

    /// Makes the bootstrap administrator's token when there is none, and writes it to a file that only this user can read.
    /// Returns the file if it was made now. Of several control planes that start together one makes it.
    ///
    /// # Errors
    /// When the file or the hash cannot be written; then neither counts.
    pub async fn bootstrap(&self, data_dir: &Path) -> Result<Option<PathBuf>, BootstrapError> {
        self.issue(data_dir, false).await
    }

    /// Replaces the bootstrap administrator's token; the old one is refused from now on.
    ///
    /// # Errors
    /// As [`Self::bootstrap`].
    pub async fn reset(&self, data_dir: &Path) -> Result<PathBuf, BootstrapError> {
        Ok(self.issue(data_dir, true).await?.unwrap_or_else(|| data_dir.join(TOKEN_FILE)))
    }

    /// Whether this is the bootstrap administrator's token.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn authenticate(&self, token: &str) -> Result<bool, StoreError> {
        let hash = self.minter.admin_hash(token);
        let mut txn = self.store.begin_read().await?;
        let known = txn.admin_tokens().await?;
        txn.end().await?;
        // Whole hashes, in constant time, and all of them.
        Ok(known.into_iter().fold(false, |found, (_, stored)| found | stored.matches(&hash)))
    }

    // The hash goes in first and waits, uncommitted, for the file: a control plane that loses the race writes none, and a
    // file without a committed hash is replaced at the next start.
    async fn issue(&self, data_dir: &Path, replace: bool) -> Result<Option<PathBuf>, BootstrapError> {
        let token = AdminToken::mint()?;
        let hash = self.minter.admin_hash(token.expose());
        let mut txn = self.store.begin().await?;
        if replace {
            txn.admin_token_delete(BOOTSTRAP).await?;
        }
        if !txn.admin_token_insert(BOOTSTRAP, &hash).await? {
            txn.end().await?;
            return Ok(None);
        }
        let path = data_dir.join(TOKEN_FILE);
        private::replace(&path, token.expose())
            .map_err(|source| BootstrapError::File { path: path.clone(), source })?;
        let action = if replace { "administrator.token.reset" } else { "administrator.token.create" };
        let facts = Facts { initiator: "system", target: BOOTSTRAP, ..Facts::default() };
        audit::append(&mut txn, Entry::new(clock::now_ms(), action, Outcome::Allowed, facts)).await?;
        txn.commit().await?;
        Ok(Some(path))
    }
}
