//! What a database can refuse, by what the caller can do about it.

use std::fmt;

use sqlx::{error::ErrorKind, migrate::MigrateError};

use crate::seal::SealError;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database URL is not one that Tollgate can open.
    #[error("database url {0}")]
    Url(String),
    /// The database was migrated by a newer Tollgate, or a migration failed.
    #[error("failed to migrate the database")]
    Migration(#[source] MigrateError),
    /// A row that must be there is not.
    #[error("a row is missing")]
    Missing,
    /// Another row has this value already.
    #[error("a value is taken ({constraint})")]
    Taken {
        /// The constraint as the database names it.
        constraint: String,
    },
    /// Another row still refers to this one, or the one that it refers to is gone.
    #[error("a row is referred to ({constraint})")]
    Referenced {
        /// The constraint as the database names it.
        constraint: String,
    },
    /// Others hold what is needed; trying again can succeed.
    #[error("database is busy")]
    Busy,
    /// The database cannot be reached; trying again can succeed.
    #[error("database cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    /// A stored value is not what this program writes.
    #[error("column {column} cannot be read: {reason}")]
    Corrupt {
        /// The column.
        column: &'static str,
        /// Why.
        reason: String,
    },
    /// A secret could not be sealed or opened.
    #[error("failed to seal or open a secret")]
    Seal(#[from] SealError),
    /// The database refused the statement.
    #[error("database refused a statement")]
    Statement(#[source] sqlx::Error),
}

impl StoreError {
    /// A stored value that cannot be read.
    pub fn corrupt(column: &'static str, reason: impl fmt::Display) -> Self {
        Self::Corrupt { column, reason: reason.to_string() }
    }

    /// Whether trying again can succeed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Unreachable(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut => Self::Busy,
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Self::Unreachable(error)
            }
            sqlx::Error::Database(refusal) => {
                let constraint = refusal.constraint().unwrap_or(refusal.message()).to_owned();
                match refusal.kind() {
                    ErrorKind::UniqueViolation => Self::Taken { constraint },
                    ErrorKind::ForeignKeyViolation => Self::Referenced { constraint },
                    _ if is_busy(refusal.code().as_deref()) => Self::Busy,
                    _ if is_going_away(refusal.code().as_deref()) => Self::Unreachable(error),
                    _ => Self::Statement(error),
                }
            }
            _ => Self::Statement(error),
        }
    }
}

// SQLite: SQLITE_BUSY, SQLITE_LOCKED and their extended codes. PostgreSQL: serialization failure, deadlock, lock timeout.
fn is_busy(code: Option<&str>) -> bool {
    matches!(code, Some("5" | "6" | "261" | "262" | "517" | "773" | "40001" | "40P01" | "55P03"))
}

// PostgreSQL: too many connections, and the shutdown codes.
fn is_going_away(code: Option<&str>) -> bool {
    matches!(code, Some("53300" | "57P01" | "57P02" | "57P03"))
}
