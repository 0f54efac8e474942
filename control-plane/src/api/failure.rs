//! Why a call was not done, and how a gRPC client learns of it.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::violations::Violations;
use crate::{seal::SealError, store::StoreError, tokens::TokenError};

/// Why a call was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Fields of the request are wrong: INVALID_ARGUMENT with all of them.
    #[error("{0}")]
    Invalid(Violations),
    /// The object does not exist: NOT_FOUND.
    #[error("no {kind} has the id or name '{name}'")]
    NotFound {
        /// The noun.
        kind: &'static str,
        /// As it was asked for.
        name: String,
    },
    /// Another object has this value: ALREADY_EXISTS.
    #[error("a {kind} with the {field} '{value}' exists already")]
    Exists {
        /// The noun.
        kind: &'static str,
        /// The field that must be unique.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// Something else must be done first: FAILED_PRECONDITION. The sentence says what.
    #[error("{sentence}")]
    Blocked {
        /// What is in the way: `team/<id>`.
        subject: String,
        /// What must be done first.
        sentence: String,
    },
    /// The caller may not do this: PERMISSION_DENIED. The sentence says what is missing.
    #[error("{0}")]
    Denied(String),
    /// The object changed since the caller read it: ABORTED.
    #[error("the {kind} '{name}' has changed since it was read: read it again, and repeat the change")]
    Stale {
        /// The noun.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The database failed: UNAVAILABLE when trying again can succeed, otherwise INTERNAL.
    #[error("the database failed")]
    Store(#[from] StoreError),
    /// A credential could not be signed: INTERNAL.
    #[error("a credential could not be signed")]
    Signer(#[from] TokenError),
    /// A secret could not be sealed: INTERNAL.
    #[error("a secret could not be sealed")]
    Seal(#[from] SealError),
    /// The call passed no authorisation layer: INTERNAL. A mistake of assembly, refused.
    #[error("the call was not authorised")]
    Unauthorised,
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        match failure {
            Failure::Invalid(violations) => {
                let mut details = ErrorDetails::new();
                for (field, description) in violations.iter() {
                    details.add_bad_request_violation(field, description);
                }
                Self::with_error_details(Code::InvalidArgument, text, details)
            }
            Failure::NotFound { kind, name } => {
                let details = ErrorDetails::with_resource_info(kind, name, "", "not found");
                Self::with_error_details(Code::NotFound, text, details)
            }
            Failure::Exists { kind, field, value } => {
                let mut details = ErrorDetails::with_resource_info(kind, value, "", "exists already");
                details.add_bad_request_violation(field, "is taken");
                Self::with_error_details(Code::AlreadyExists, text, details)
            }
            Failure::Blocked { subject, sentence } => {
                let details = ErrorDetails::with_precondition_failure_violation("BLOCKED", subject, sentence);
                Self::with_error_details(Code::FailedPrecondition, text, details)
            }
            Failure::Denied(_) => Self::permission_denied(text),
            Failure::Stale { .. } => Self::aborted(text),
            Failure::Store(error) if error.is_transient() => {
                log(&error);
                Self::unavailable("the database is busy or cannot be reached: try again")
            }
            Failure::Store(error) => {
                log(&error);
                Self::internal("the control plane could not do this: its log says why")
            }
            Failure::Signer(error) => {
                log(&error);
                Self::internal("the control plane could not sign a credential: its log says why")
            }
            Failure::Seal(error) => {
                log(&error);
                Self::internal("the control plane could not seal a secret: its log says why")
            }
            Failure::Unauthorised => {
                tracing::error!("a call reached its handler without authorisation");
                Self::internal("the call was not authorised")
            }
        }
    }
}

// The client gets a sentence; the log gets the chain of causes, once.
fn log(error: &(dyn std::error::Error + 'static)) {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(source) = cause {
        causes.push(source.to_string());
        cause = source.source();
    }
    tracing::error!(%error, causes = causes.join(": "), "admin call failed");
}
