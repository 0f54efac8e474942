//! What a provider seals, and wants back as it was: the signature of its thinking, or thinking that it encrypted.
//!
//! Only the provider that made a seal can read it, and some refuse a request with a seal that is not theirs. A seal therefore knows
//! its dialect. A client of another dialect is given it in an envelope that says so, inside the one opaque field that its own
//! dialect has for the purpose; it comes back with the next turn, is taken out of the envelope for the dialect that made it, and is
//! left out for every other.
//!
//! ```text
//! tollgate.1.<dialect>.<seal>
//! ```

use std::borrow::Cow;

use super::text::Text;
use crate::dialects::Dialect;

/// How an envelope begins. No provider's own seal does: they are base64, which has no full stop.
pub const ENVELOPE: &str = "tollgate.1.";

/// A seal, and whose it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signature<'a> {
    /// The dialect of the provider that made it.
    pub dialect: Dialect,
    /// The seal, as the provider wrote it.
    pub seal: Text<'a>,
}

impl<'a> Signature<'a> {
    /// A seal that a provider of that dialect made.
    #[must_use]
    pub fn new(dialect: Dialect, seal: impl Into<Text<'a>>) -> Self {
        Self { dialect, seal: seal.into() }
    }

    /// Reads what stands in the opaque field of a request or an answer in `dialect`: a seal of its own, or an envelope.
    #[must_use]
    pub fn read(dialect: Dialect, field: Text<'a>) -> Self {
        let inner = field.strip_prefix(ENVELOPE).and_then(|rest| rest.split_once('.'));
        let made = inner.and_then(|(word, seal)| Some((Dialect::from_word(word)?, seal.to_owned())));
        match made {
            Some((dialect, seal)) => Self { dialect, seal: seal.into() },
            None => Self { dialect, seal: field },
        }
    }

    /// What to write into the opaque field of an answer in `dialect`, for its client to keep.
    #[must_use]
    pub fn enclose(&self, dialect: Dialect) -> Cow<'_, str> {
        if self.dialect == dialect {
            return Cow::Borrowed(&self.seal);
        }
        [ENVELOPE, self.dialect.word(), ".", &self.seal].concat().into()
    }

    /// What to give back to a provider of `dialect`; `None` where it is not theirs.
    #[must_use]
    pub fn for_provider(&self, dialect: Dialect) -> Option<&str> {
        (self.dialect == dialect).then_some(&*self.seal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_comes_back_to_whoever_made_it_and_to_nobody_else() {
        for made in Dialect::ALL {
            for client in Dialect::ALL {
                let seal = Signature::new(made, "c2VhbA==");
                let kept = seal.enclose(client).into_owned();
                assert_eq!(kept.starts_with(ENVELOPE), made != client, "{kept}");
                let back = Signature::read(client, kept.into());
                assert_eq!(back, seal);
                for provider in Dialect::ALL {
                    assert_eq!(back.for_provider(provider), (provider == made).then_some("c2VhbA=="));
                }
            }
        }
    }

    #[test]
    fn what_only_looks_like_an_envelope_is_a_seal() {
        for field in ["", "tollgate.1.", "tollgate.1.nobody.x", "tollgate.2.gemini.x", "EqQBCgIYAhIM"] {
            let read = Signature::read(Dialect::Anthropic, field.into());
            assert_eq!(read, Signature::new(Dialect::Anthropic, field));
        }
    }
}
