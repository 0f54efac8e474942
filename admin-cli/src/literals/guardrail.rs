//! What is typed of guardrails: kinds, actions, directions, fingerprints, expressions and what is let pass.

use std::str::FromStr;

use jiff::Timestamp;
use tollgate_policy::guardrail::{Action, Direction, FINGERPRINT_BYTES};
use tollgate_proto::admin::v1;

use super::{instant, to_wire};

/// Where rules come from.
const KINDS: [&str; 3] = ["secrets", "expressions", "words"];
/// The digits of a fingerprint.
const FINGERPRINT_DIGITS: usize = 2 * FINGERPRINT_BYTES;

/// An expression, `ID=REGEX`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ExpressionArgument {
    pub(crate) id: String,
    pub(crate) regex: String,
}

/// Something that is let pass, `FINGERPRINT[@UNTIL]=REASON`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct AllowedArgument {
    pub(crate) fingerprint: String,
    pub(crate) until: Option<Timestamp>,
    pub(crate) reason: String,
}

/// Parses where rules come from.
pub(crate) fn kind(text: &str) -> Result<String, String> {
    known(text, &KINDS)
}

/// Parses what is done where something is found.
pub(crate) fn action(text: &str) -> Result<String, String> {
    known(text, &Action::ALL.map(Action::word))
}

/// Parses where is looked.
pub(crate) fn direction(text: &str) -> Result<String, String> {
    known(text, &Direction::ALL.map(Direction::word))
}

/// Parses a fingerprint, into its one spelling.
pub(crate) fn fingerprint(text: &str) -> Result<String, String> {
    if text.len() == FINGERPRINT_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!("must be {FINGERPRINT_DIGITS} hexadecimal digits, as findings tell it"))
}

fn known(text: &str, words: &[&str]) -> Result<String, String> {
    if words.contains(&text) { Ok(text.to_owned()) } else { Err(format!("must be one of {}", words.join(", "))) }
}

// === impl ExpressionArgument ===

impl FromStr for ExpressionArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').filter(|(id, regex)| !id.is_empty() && !regex.is_empty());
        let (id, regex) = parts.ok_or("must be ID=REGEX, such as employee='emp-[0-9]{6}'")?;
        Ok(Self { id: id.to_owned(), regex: regex.to_owned() })
    }
}

impl ExpressionArgument {
    pub(crate) fn into_wire(self) -> v1::Expression {
        let Self { id, regex } = self;
        v1::Expression { id, regex }
    }
}

// === impl AllowedArgument ===

impl FromStr for AllowedArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = "must be FINGERPRINT=REASON, or FINGERPRINT@2027-01-31=REASON";
        let (what, reason) = text.split_once('=').ok_or(shape)?;
        if reason.trim().is_empty() {
            return Err(shape.to_owned());
        }
        let (digits, until) = what.split_once('@').map_or((what, None), |(digits, until)| (digits, Some(until)));
        let until = until.map(instant).transpose()?;
        Ok(Self { fingerprint: fingerprint(digits)?, until, reason: reason.to_owned() })
    }
}

impl AllowedArgument {
    pub(crate) fn into_wire(self) -> v1::AllowedFinding {
        let Self { fingerprint, until, reason } = self;
        v1::AllowedFinding { fingerprint, until: until.map(to_wire), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_let_pass_is_a_fingerprint_perhaps_an_end_and_a_reason() {
        let digits = "0A".repeat(16);
        let read = |text: &str| text.replace("FP", &digits).parse::<AllowedArgument>();
        let until: Timestamp = "2027-01-31T00:00:00Z".parse().unwrap();
        for (text, until, reason) in [
            ("FP=a sample", None, "a sample"),
            ("FP@2027-01-31=a=b", Some(until), "a=b"),
            ("FP@2027-01-31T00:00:00Z=r", Some(until), "r"),
        ] {
            let expect = AllowedArgument { fingerprint: "0a".repeat(16), until, reason: reason.into() };
            assert_eq!(read(text), Ok(expect), "{text}");
        }
        for bad in ["", "FP", "FP=", "FP= ", "FP@soon=r", "=r", "0a=r", "FP0a=r"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_and_expressions_say_what_they_must_be() {
        assert_eq!(action("shout"), Err("must be one of detect, tokenize, redact, block".to_owned()));
        assert_eq!(direction("up"), Err("must be one of request, response".to_owned()));
        assert!(kind("words").is_ok() && kind("magic").is_err());
        let expression = ExpressionArgument { id: "a".into(), regex: "x=y".into() };
        assert_eq!("a=x=y".parse(), Ok(expression));
        assert!(["a", "a=", "=x"].iter().all(|bad| bad.parse::<ExpressionArgument>().is_err()));
    }
}
