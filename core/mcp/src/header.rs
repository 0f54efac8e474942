//! Values of headers that repeat what a body says (2026-07-28, Transports, "Value Encoding"): as they are, or `=?base64?…?=`.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::route::Refused;

/// Around a value in Base64.
const BEGIN: &str = "=?base64?";
const END: &str = "?=";

/// A value as a header carries it.
#[must_use]
pub fn encode(value: &str) -> Cow<'_, str> {
    let is_plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    let is_padded = value.starts_with([' ', '\t']) || value.ends_with([' ', '\t']);
    if is_plain && !is_padded && !is_encoded(value) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(format!("{BEGIN}{}{END}", STANDARD.encode(value)))
}

/// What a header says.
///
/// # Errors
/// When it says that it is in Base64, and is not, or not of a text.
pub fn decode(header: &str) -> Result<Cow<'_, str>, Refused> {
    let Some(encoded) = header.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)) else {
        return Ok(Cow::Borrowed(header));
    };
    let bytes = STANDARD.decode(encoded).ok();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map(Cow::Owned).ok_or_else(Refused::encoding)
}

fn is_encoded(value: &str) -> bool {
    value.starts_with(BEGIN) && value.ends_with(END)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_written_as_the_specification_shows() {
        for (value, header) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("", ""),
            ("=?base64?x", "=?base64?x"),
        ] {
            assert_eq!(encode(value), header, "{value:?}");
            assert_eq!(decode(header).unwrap(), value, "{header}");
        }
        for bad in ["=?base64?***?=", "=?base64?SGVsbG8?=", "=?base64?gICA?="] {
            assert!(decode(bad).is_err(), "{bad}");
        }
        // Letter case counts.
        assert_eq!(decode("=?BASE64?SGk=?=").unwrap(), "=?BASE64?SGk=?=");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_value_survives_its_header(value in any::<String>()) {
            let header = encode(&value).into_owned();
            prop_assert!(header.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')));
            prop_assert_eq!(&*decode(&header).unwrap(), value.as_str());
        }
    }
}
