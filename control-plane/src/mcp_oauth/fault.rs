//! Why there is no token, in words for the person who waits for one. None of them repeats a token, a code or a secret.

use super::metadata::Unfit;
use crate::{oidc::outbound::OutboundError, store::StoreError};

/// The longest text of another server that is shown, in characters.
const TEXT_MAX: usize = 200;

/// Why there is no token.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// Somebody cannot be asked at this moment: trying again can succeed.
    #[error("{0}")]
    Unavailable(String),
    /// What is configured, or what the servers say of themselves, does not lead to a token: an administrator has to look into it.
    #[error("{0}")]
    Unfit(String),
    /// What a user permitted was permitted at another authorization server, or to another client.
    #[error("it was permitted at another authorization server, or to another client")]
    Superseded,
    /// The authorization server refuses (RFC 6749, 5.2).
    #[error("the authorization server refuses: {code}{}", described(.description))]
    Refused {
        /// Its code: `invalid_grant`.
        code: String,
        /// What it says beside it; empty when it says nothing.
        description: String,
    },
}

// === impl Fault ===

impl Fault {
    /// An answer that did not come.
    #[must_use]
    pub fn outbound(who: &str, error: &OutboundError) -> Self {
        tracing::warn!(%error, source = ?std::error::Error::source(error), who, "failed to ask for a token of a server of tools");
        match error {
            OutboundError::Address => {
                Self::Unfit(format!("{who} is at an address that may not be asked: set allow_private to permit that"))
            }
            OutboundError::TooLong => Self::Unfit(format!("{who} gives an answer that is longer than 1 MiB")),
            OutboundError::Unreachable(_) => Self::Unavailable(format!("{who} cannot be reached")),
        }
    }

    /// A document that is not made use of.
    #[must_use]
    pub fn unfit(who: &str, unfit: Unfit) -> Self {
        Self::Unfit(format!("{who} cannot be used: {unfit}"))
    }

    /// A refusal, with what the authorization server says as far as it may be shown.
    #[must_use]
    pub fn refused(code: &str, description: &str) -> Self {
        Self::Refused { code: shown(code), description: shown(description) }
    }

    /// Whether the authorization server gives that code.
    #[must_use]
    pub fn is(&self, expected: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == expected)
    }
}

impl From<&StoreError> for Fault {
    fn from(error: &StoreError) -> Self {
        tracing::error!(%error, "failed to get a token of a server of tools");
        Self::Unavailable("the database cannot be used".to_owned())
    }
}

fn described(description: &str) -> String {
    if description.is_empty() { String::new() } else { format!(" ({description})") }
}

/// A text of another server, without what a terminal or a log would act on, and not longer than is read.
#[must_use]
pub fn shown(text: &str) -> String {
    let is_plain = |letter: &char| matches!(letter, ' '..='~' | '\u{a1}'..='\u{24f}');
    text.chars().filter(is_plain).take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_server_says_is_shown_within_bounds_and_without_what_acts() {
        let refused = Fault::refused("invalid_grant", "gone\u{1b}[31m\r\nnow\u{202e}");
        assert_eq!(refused.to_string(), "the authorization server refuses: invalid_grant (gone[31mnow)");
        assert!(refused.is("invalid_grant") && !refused.is("invalid_client"));
        assert_eq!(Fault::refused("x", "").to_string(), "the authorization server refuses: x");
        assert_eq!(shown(&"x".repeat(1_000)).len(), TEXT_MAX);
    }
}
