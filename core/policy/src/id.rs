//! Identifiers: a noun, a dash, and a ULID in lower case, such as `key-01k9zq3v5m8c4t2n7r6x0w1y9b`.

use std::{borrow::Borrow, fmt, sync::Arc};

/// The length of the ULID in an identifier, in characters.
pub const ULID_LENGTH: usize = 26;

/// A text that is not an identifier of the expected noun.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is not an id of the form {noun}-<26 characters of a-z and 0-9>")]
pub struct InvalidId {
    noun: &'static str,
    text: String,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $noun:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The noun with which each of these identifiers begins.
            pub const NOUN: &'static str = $noun;

            /// Parses the identifier.
            ///
            /// # Errors
            /// Refuses a text with another noun, or without a ULID in lower case behind it.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let ulid = text.strip_prefix($noun).and_then(|rest| rest.strip_prefix('-'));
                match ulid {
                    Some(ulid) if is_ulid(ulid) => Ok(Self(Arc::from(text))),
                    _ => Err(InvalidId { noun: $noun, text: text.chars().take(80).collect() }),
                }
            }

            /// Makes the identifier from a ULID in either case.
            ///
            /// # Errors
            /// Refuses what is not a ULID.
            pub fn from_ulid(ulid: &str) -> Result<Self, InvalidId> {
                Self::parse(&format!("{}-{}", $noun, ulid.to_ascii_lowercase()))
            }

            /// The whole identifier.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The ULID alone.
            #[must_use]
            pub fn ulid(&self) -> &str {
                self.0.get($noun.len() + 1..).unwrap_or_default()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

ids! {
    /// Names a customer.
    CustomerId = "customer";
    /// Names a team.
    TeamId = "team";
    /// Names a user.
    UserId = "user";
    /// Names a virtual key.
    KeyId = "key";
    /// Names a provider.
    ProviderId = "provider";
    /// Names a route.
    RouteId = "route";
    /// Names a guardrail.
    GuardrailId = "guardrail";
    /// Names a server of tools.
    McpServerId = "mcp-server";
    /// Names a credential of a provider.
    CredentialId = "credential";
    /// Names a replica.
    ReplicaId = "replica";
    /// Names a budget.
    BudgetId = "budget";
    /// Names a user's session.
    SessionId = "session";
    /// Names a custom role.
    RoleId = "role";
    /// Names the binding of a role.
    BindingId = "binding";
    /// Names a service account.
    ServiceAccountId = "service-account";
}

fn is_ulid(text: &str) -> bool {
    text.len() == ULID_LENGTH && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_noun_and_a_ulid() {
        let id = KeyId::from_ulid("01K9ZQ3V5M8C4T2N7R6X0W1Y9B").unwrap();
        assert_eq!(id.as_str(), "key-01k9zq3v5m8c4t2n7r6x0w1y9b");
        assert_eq!(KeyId::parse(id.as_str()).unwrap(), id);
        assert_eq!(id.ulid(), "01k9zq3v5m8c4t2n7r6x0w1y9b");
        let account = ServiceAccountId::from_ulid(id.ulid()).unwrap();
        assert_eq!((account.as_str(), account.ulid()), ("service-account-01k9zq3v5m8c4t2n7r6x0w1y9b", id.ulid()));
        for bad in ["", "key-", "team-01k9zq3v5m8c4t2n7r6x0w1y9b", "key-01K9ZQ3V5M8C4T2N7R6X0W1Y9B", "key-01k9"] {
            assert!(KeyId::parse(bad).is_err(), "{bad}");
        }
    }
}
