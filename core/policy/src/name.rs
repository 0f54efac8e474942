//! Names of objects, as people type them.

use std::{fmt, sync::Arc};

/// The longest name, in bytes: that of a DNS label, so that a name fits everywhere.
pub const NAME_LENGTH_MAX: usize = 63;

/// A name: 1 to 63 characters of `a-z 0-9 . _ -`, beginning with a letter or a digit.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name(Arc<str>);

/// A text that is not a name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be 1 to 63 characters of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit")]
pub struct InvalidName;

impl Name {
    /// Parses a name.
    ///
    /// # Errors
    /// Refuses a text that is empty, too long, or has other characters. A text that reads like an identifier is refused
    /// as well, so that a name is never taken for an id.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        let begins = text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
        if begins && text.len() <= NAME_LENGTH_MAX && text.bytes().all(allowed) && !reads_like_an_id(text) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(InvalidName)
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn reads_like_an_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(noun, rest)| {
        matches!(
            noun,
            "customer" | "team" | "user" | "key" | "provider" | "credential" | "replica" | "route" | "guardrail"
        ) && rest.len() == crate::id::ULID_LENGTH
    })
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_fits_a_file_a_label_and_a_shell() {
        for good in ["a", "payments-dev", "0.x_y", &"n".repeat(63)] {
            assert!(Name::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a b", "ä", "a/b", &"n".repeat(64), "key-01k9zq3v5m8c4t2n7r6x0w1y9b"] {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
    }
}
