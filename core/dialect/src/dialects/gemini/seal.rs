//! `thoughtSignature`: bytes in base64, as JSON of protocol buffers has them. A seal of another provider is put there as base64 of its
//! envelope, since Google's SDKs decode and encode the field.

use std::borrow::Cow;

use base64::{
    Engine as _,
    alphabet::{STANDARD as PLAIN, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use serde::Deserialize;

use crate::{
    dialects::Dialect,
    hub::{Block, Json, Signature, Text, signature::ENVELOPE},
};

/// What Google documents for a conversation that did not come from the model: it stands for a seal, and is not checked
/// (<https://ai.google.dev/gemini-api/docs/thought-signatures>).
pub(super) const NONE: &str = "skip_thought_signature_validator";

/// How the base64 of every envelope begins.
const ENVELOPE_BASE64: &str = "dG9sbGdhdGUuMS";

/// Reads the field.
pub(super) fn read(field: Text<'_>) -> Signature<'_> {
    match envelope(&field) {
        Some(envelope) => Signature::read(Dialect::Gemini, envelope.into()),
        None => Signature::new(Dialect::Gemini, field),
    }
}

fn envelope(field: &str) -> Option<String> {
    if !field.starts_with(ENVELOPE_BASE64) {
        return None;
    }
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    // Some SDKs write the bytes again in the other alphabet.
    let decoded =
        [PLAIN, URL_SAFE].iter().find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(field).ok())?;
    String::from_utf8(decoded).ok().filter(|text| text.starts_with(ENVELOPE))
}

/// Writes the field.
pub(super) fn write<'a>(seal: &'a Signature<'_>) -> Cow<'a, str> {
    if seal.dialect == Dialect::Gemini {
        return Cow::Borrowed(&seal.seal);
    }
    STANDARD.encode(seal.enclose(Dialect::Gemini).as_bytes()).into()
}

/// Whether a block is nothing but the seal of the part ahead of it, as which it was read beside that part.
pub(super) fn is_within(part: &Json<'_>, block: &Block<'_>) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sealed<'a> {
        #[serde(alias = "thought_signature", borrow)]
        thought_signature: Text<'a>,
    }
    match block {
        Block::Thinking { text, signature: Some(seal) } if text.is_empty() => {
            part.read::<Sealed<'_>>().is_some_and(|sealed| read(sealed.thought_signature) == *seal)
        }
        _ => false,
    }
}

/// The seal, where it is Gemini's.
pub(super) fn own<'a>(seal: Option<&'a Signature<'_>>) -> Option<&'a str> {
    seal.and_then(|seal| seal.for_provider(Dialect::Gemini))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_of_another_provider_passes_through_clients_that_handle_the_field_as_bytes() {
        let made = Signature::new(Dialect::Anthropic, "EqQBCgIYAhIM+/9=");
        let field = write(&made).into_owned();
        assert!(field.starts_with(ENVELOPE_BASE64), "{field}");
        let url_safe = field.replace('+', "-").replace('/', "_");
        for kept in [field.clone(), url_safe.clone(), url_safe.trim_end_matches('=').to_owned()] {
            assert_eq!(read(kept.into()), made);
        }
    }

    #[test]
    fn what_is_no_envelope_is_geminis_own() {
        for field in ["", "__79c2VhbA==", NONE, "dG9sbGdhdGUuMS", "dG9sbGdhdGUuMS!!"] {
            assert_eq!(read(field.into()), Signature::new(Dialect::Gemini, field));
        }
    }
}
