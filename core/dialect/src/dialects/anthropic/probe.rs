//! One look at a request: what decides how it is treated and what it may cost, borrowed from the body, which itself stays as it is.
//!
//! The whole body is checked to be one JSON object, and a field that decides is refused when it stands there twice or in other letter
//! case. Otherwise the gateway could judge one model and the provider answer with another.

use super::weigh::Scale;
use crate::{dialects::read::read_object, error::Malformed, weight::Weight};
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// The longest name of a model, in characters.
pub const MODEL_CHARS_MAX: usize = 200;

/// What a request asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Probe<'a> {
    /// The model's name: 1 to [`MODEL_CHARS_MAX`] visible ASCII characters.
    pub model: Cow<'a, str>,
    /// The answer shall be a stream. False where the field is missing or null.
    pub stream: bool,
    /// The most tokens of output that the client wants; none where the field is missing or null.
    pub max_tokens: Option<u64>,
    /// What bounds its cost.
    pub weight: Weight,
}

/// Reads what a Messages or `count_tokens` request asks for, in one pass over the body, without copying it.
///
/// # Errors
/// Refuses what is not exactly one JSON object in UTF-8, and a `model`, `stream` or `max_tokens` that is missing though needed, given
/// twice, spelled in other letter case, or of the wrong type.
pub fn probe(body: &[u8]) -> Result<Probe<'_>, Malformed> {
    let Fields { model, stream, max_tokens, fault, scale } = read_object(body, |text| TopLevel { text })?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    let model = read_model(model.ok_or(Malformed::Missing("model"))?)?;
    let stream = read(stream, "stream", "true or false")?.unwrap_or_default();
    let max_tokens = read(max_tokens, "max_tokens", "a whole number that is not negative")?;
    Ok(Probe { model, stream, max_tokens, weight: scale.weight(max_tokens) })
}

fn read_model(raw: &RawValue) -> Result<Cow<'_, str>, Malformed> {
    const INVALID: Malformed = Malformed::Invalid {
        field: "model",
        expected: "the name of a model: 1 to 200 visible ASCII characters without spaces",
    };
    let Text(model) = serde_json::from_str(raw.get()).map_err(|_| INVALID)?;
    let visible = model.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && (1..=MODEL_CHARS_MAX).contains(&model.len()) { Ok(model) } else { Err(INVALID) }
}

fn read<'a, T: Deserialize<'a>>(
    raw: Option<&'a RawValue>,
    field: &'static str,
    expected: &'static str,
) -> Result<Option<T>, Malformed> {
    let Some(raw) = raw else { return Ok(None) };
    serde_json::from_str(raw.get()).map_err(|_| Malformed::Invalid { field, expected })
}

/// A text, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// The fields that decide, unread, what is wrong with their names, and the weight of all the others.
struct Fields<'a> {
    model: Option<&'a RawValue>,
    stream: Option<&'a RawValue>,
    max_tokens: Option<&'a RawValue>,
    fault: Option<Malformed>,
    scale: Scale<'a>,
}

/// The names of the fields that decide.
const DECIDING: [&str; 3] = ["model", "stream", "max_tokens"];

struct TopLevel<'a> {
    text: &'a str,
}

impl<'de> DeserializeSeed<'de> for TopLevel<'de> {
    type Value = Fields<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TopLevel<'de> {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let scale = Scale::new(self.text);
        let mut fields = Fields { model: None, stream: None, max_tokens: None, fault: None, scale };
        while let Some(Text(name)) = map.next_key()? {
            let (slot, name) = match &*name {
                "model" => (&mut fields.model, "model"),
                "stream" => (&mut fields.stream, "stream"),
                "max_tokens" => (&mut fields.max_tokens, "max_tokens"),
                _ => {
                    if let Some(field) = DECIDING.into_iter().find(|field| name.eq_ignore_ascii_case(field)) {
                        fields.fault.get_or_insert(Malformed::Spelling(field));
                    }
                    fields.scale.field(&name, &mut map)?;
                    continue;
                }
            };
            if slot.replace(map.next_value()?).is_some() {
                fields.fault.get_or_insert(Malformed::Duplicate(name));
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: Malformed = Malformed::Invalid {
        field: "model",
        expected: "the name of a model: 1 to 200 visible ASCII characters without spaces",
    };
    const STREAM: Malformed = Malformed::Invalid { field: "stream", expected: "true or false" };
    const MAX_TOKENS: Malformed =
        Malformed::Invalid { field: "max_tokens", expected: "a whole number that is not negative" };

    #[test]
    fn a_request_is_read_or_refused_with_its_reason() {
        let deep = format!(r#"{{"model":"m","messages":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        let open = format!(r#"{{"model":"m","messages":{}"#, "[{\"a\":".repeat(100_000));
        let longest = "m".repeat(MODEL_CHARS_MAX);
        let named = |model: &str| format!(r#"{{"model":"{model}"}}"#);
        let asks = |model, stream, max_tokens| Ok((model, stream, max_tokens));
        for (body, expect) in [
            (r#"{"model":"m"}"#, asks("m", false, None)),
            (
                r#" { "messages" : [ ] , "model" : "m" , "stream" : true , "max_tokens" : 32000 } "#,
                asks("m", true, Some(32_000)),
            ),
            (r#"{"model":"m","stream":null,"max_tokens":null}"#, asks("m", false, None)),
            (r#"{"model":"\u0063laude\/x"}"#, asks("claude/x", false, None)),
            (r#"{"\u006dodel":"m","messages":[{"model":"n","stream":true}]}"#, asks("m", false, None)),
            (r#"{"model":"m","max_tokens":18446744073709551615}"#, asks("m", false, Some(u64::MAX))),
            (&deep, asks("m", false, None)),
            (&named(&longest), asks(&longest, false, None)),
            ("", Err(Malformed::Empty)),
            (" \n", Err(Malformed::Empty)),
            (r#"{"model":"m"} x"#, Err(Malformed::NotJson { line: 1, column: 15 })),
            ("{\"model\":\"m\"}\n{}", Err(Malformed::NotJson { line: 2, column: 1 })),
            (r#"{"model":"m",}"#, Err(Malformed::NotJson { line: 1, column: 14 })),
            ("{\"model\":\"m\",\"a\":\"\u{1}\"}", Err(Malformed::NotJson { line: 1, column: 18 })),
            (r#"{"model":"m","a":NaN}"#, Err(Malformed::NotJson { line: 1, column: 18 })),
            (r#"{"model":"m""#, Err(Malformed::Unfinished)),
            (&open, Err(Malformed::Unfinished)),
            ("[]", Err(Malformed::NotAnObject)),
            (r#""model""#, Err(Malformed::NotAnObject)),
            ("{}", Err(Malformed::Missing("model"))),
            (r#"{"messages":[{"model":"m"}]}"#, Err(Malformed::Missing("model"))),
            (r#"{"model":"a","model":"b"}"#, Err(Malformed::Duplicate("model"))),
            (r#"{"model":"a","\u006dodel":"b"}"#, Err(Malformed::Duplicate("model"))),
            (r#"{"model":"a","stream":false,"stream":true}"#, Err(Malformed::Duplicate("stream"))),
            (r#"{"model":"a","max_tokens":1,"max_tokens":1}"#, Err(Malformed::Duplicate("max_tokens"))),
            (r#"{"model":"a","Model":"b"}"#, Err(Malformed::Spelling("model"))),
            (r#"{"MODEL":"b"}"#, Err(Malformed::Spelling("model"))),
            (r#"{"model":7}"#, Err(MODEL)),
            (r#"{"model":null}"#, Err(MODEL)),
            (&named(""), Err(MODEL)),
            (&named("a b"), Err(MODEL)),
            (&named("a\\u0000b"), Err(MODEL)),
            (&named("modèle"), Err(MODEL)),
            (&named(&format!("{longest}m")), Err(MODEL)),
            (r#"{"model":"m","stream":"true"}"#, Err(STREAM)),
            (r#"{"model":"m","stream":1}"#, Err(STREAM)),
            (r#"{"model":"m","max_tokens":"1"}"#, Err(MAX_TOKENS)),
            (r#"{"model":"m","max_tokens":-1}"#, Err(MAX_TOKENS)),
            (r#"{"model":"m","max_tokens":1.5}"#, Err(MAX_TOKENS)),
            (r#"{"model":"m","max_tokens":{}}"#, Err(MAX_TOKENS)),
        ] {
            let shown: String = body.chars().take(80).collect();
            let found = probe(body.as_bytes());
            let found =
                found.as_ref().map(|probe| (&*probe.model, probe.stream, probe.max_tokens)).map_err(|error| *error);
            assert_eq!(found, expect, "{shown}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_wherever_they_stand() {
        for (body, at) in [
            (b"{\"model\":\"m\",\"x\":\"\xff\"}".as_slice(), 18),
            (b"\xff{}", 0),
            (b"{\"model\":\"\xed\xa0\x80\"}", 10),
        ] {
            assert_eq!(probe(body), Err(Malformed::NotUtf8(at)));
        }
    }

    #[test]
    fn a_name_without_escapes_is_borrowed() {
        let found = probe(br#"{"model":"claude-x"}"#).unwrap();
        assert!(matches!(found.model, Cow::Borrowed("claude-x")));
    }

    #[test]
    fn each_reason_is_a_sentence_that_does_not_quote_the_body() {
        for body in [
            r#"{"secret":"hunter2"}"#,
            r#"{"model":"hunter 2"}"#,
            r#"["hunter2"]"#,
            r#"{"model":"m","stream":"hunter2"}"#,
        ] {
            let sentence = probe(body.as_bytes()).unwrap_err().to_string();
            assert!(sentence.starts_with(char::is_uppercase) && sentence.ends_with('.'), "{sentence}");
            assert!(!sentence.contains("hunter"), "{sentence}");
        }
    }
}
