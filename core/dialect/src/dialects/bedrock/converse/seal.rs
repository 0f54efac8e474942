//! Whose seal it is that stands in `signature` or `redactedContent`.
//!
//! Claude's thinking is sealed by Anthropic, and its seals are good on every platform that serves the model
//! (<https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking>), so that a conversation may move between them. An answer does
//! not say which model it is of. Anthropic's seals are base64 of a message in protocol buffers that begins with its second field:
//! whatever looks so is taken for one. What does not is Bedrock's own, which goes back to nobody else.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    dialects::Dialect,
    hub::{Signature, Text, signature::ENVELOPE},
};

/// No seal of Anthropic's is shorter: a key and a signature do not fit into less.
const ANTHROPIC_CHARS_MIN: usize = 64;

/// Reads `signature`: a seal, or the envelope of another provider's.
pub(super) fn read(field: Text<'_>) -> Signature<'_> {
    Signature::read(maker(&field), field)
}

/// Reads `redactedContent`. It is binary, in base64, and so is an envelope in it.
pub(super) fn read_redacted(field: Text<'_>) -> Signature<'_> {
    match STANDARD.decode(&*field).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) if text.starts_with(ENVELOPE) => Signature::read(Dialect::BedrockConverse, text.into()),
        _ => Signature::new(maker(&field), field),
    }
}

/// What to write into `signature` for a client to keep.
pub(super) fn enclose<'a>(seal: &'a Signature<'_>) -> Cow<'a, str> {
    match seal.dialect {
        Dialect::Anthropic if maker(&seal.seal) == Dialect::Anthropic => Cow::Borrowed(&seal.seal),
        _ => seal.enclose(Dialect::BedrockConverse),
    }
}

/// What to write into `redactedContent` for a client to keep: base64, as which clients and [`read_redacted`] take it. What some vendor sealed
/// otherwise goes in an envelope.
pub(super) fn enclose_redacted<'a>(seal: &'a Signature<'_>) -> Cow<'a, str> {
    match enclose(seal) {
        enclosed if enclosed.starts_with(ENVELOPE) => STANDARD.encode(&*enclosed).into(),
        kept if STANDARD.decode(&*kept).is_ok() => kept,
        kept => STANDARD.encode([ENVELOPE, seal.dialect.word(), ".", &*kept].concat()).into(),
    }
}

/// What to give back to Bedrock; `None` where it is another provider's.
pub(super) fn for_provider<'a>(seal: &'a Signature<'_>) -> Option<&'a str> {
    seal.for_provider(Dialect::BedrockConverse).or_else(|| seal.for_provider(Dialect::Anthropic))
}

fn maker(seal: &str) -> Dialect {
    let is_anthropic = seal.len() >= ANTHROPIC_CHARS_MIN && matches!(seal.as_bytes(), [b'E', b'g'..=b'v', ..]);
    if is_anthropic { Dialect::Anthropic } else { Dialect::BedrockConverse }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_of_claude_is_anthropics_and_comes_back_to_both() {
        let seal = format!("EqQB{}", "QUJD".repeat(40));
        for read in [read(Text::from(seal.as_str())), read_redacted(Text::from(seal.as_str()))] {
            assert_eq!(read, Signature::new(Dialect::Anthropic, seal.as_str()));
            assert_eq!(for_provider(&read), Some(seal.as_str()));
            assert_eq!((enclose(&read), enclose_redacted(&read)), (seal.as_str().into(), seal.as_str().into()));
        }
    }

    #[test]
    fn a_seal_that_is_not_anthropics_goes_back_to_bedrock_alone() {
        for seal in ["AbCd", "EqQB", &format!("CqQB{}", "QUJD".repeat(40))] {
            let read = read(Text::from(seal));
            assert_eq!(read, Signature::new(Dialect::BedrockConverse, seal));
            assert_eq!((for_provider(&read), read.for_provider(Dialect::Anthropic)), (Some(seal), None));
            assert_eq!(enclose(&read), seal);
        }
    }

    #[test]
    fn what_is_no_base64_is_kept_in_an_envelope_where_the_field_is_binary() {
        let like_anthropics = format!("EmwK{}", ")".repeat(60));
        for made in [
            Signature::new(Dialect::Anthropic, like_anthropics.as_str()),
            Signature::new(Dialect::BedrockConverse, ")))"),
            Signature::new(Dialect::Gemini, ")))"),
        ] {
            let binary = enclose_redacted(&made).into_owned();
            assert!(STANDARD.decode(&binary).is_ok(), "{binary}");
            assert_eq!(read_redacted(Text::from(binary)), made);
        }
    }

    #[test]
    fn a_seal_of_another_survives_in_either_field() {
        // Also one that says it is Anthropic's and does not look so.
        let made = Signature::new(Dialect::Anthropic, "c2VhbA==");
        assert_eq!(enclose(&made), "tollgate.1.anthropic.c2VhbA==");
        assert_eq!(read(Text::from(enclose(&made).into_owned())), made);
        let binary = enclose_redacted(&made).into_owned();
        assert!(STANDARD.decode(&binary).is_ok());
        assert_eq!(read_redacted(Text::from(binary)), made);
    }
}
