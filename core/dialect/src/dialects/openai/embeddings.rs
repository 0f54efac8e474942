//! Embeddings (<https://platform.openai.com/docs/api-reference/embeddings>), which pass in the same dialect in and out: what a
//! request asks for and what it may cost, and what its answer cost.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::usage::WireUsage;
use crate::{
    dialects::{
        anthropic::MODEL_CHARS_MAX,
        read::{Members, is_text, object},
    },
    error::Malformed,
    hub::{Json, Text},
    meter::{Counters, Metered},
    weight::Weight,
};

/// What a request asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Probe<'a> {
    /// The model's name: 1 to [`MODEL_CHARS_MAX`] visible ASCII characters.
    pub model: Cow<'a, str>,
    /// How many inputs there are: texts, or lists of tokens.
    pub inputs: u64,
    /// What bounds its cost.
    pub weight: Weight,
}

/// The fields that decide.
const DECIDING: [&str; 2] = ["model", "input"];

/// Reads what a request asks for. Its inputs are weighed in the bytes of their JSON: no text has more tokens than bytes, and no list of
/// tokens has fewer bytes than tokens.
///
/// # Errors
/// Refuses what is not exactly one JSON object in UTF-8, and a `model` or `input` that is missing, given twice, spelled in other letter
/// case, or of the wrong type.
pub fn probe(body: &[u8]) -> Result<Probe<'_>, Malformed> {
    let Members(members) = object(body)?;
    let (mut model, mut input) = (None, None);
    for (name, raw) in members {
        let (slot, field) = match &*name {
            "model" => (&mut model, "model"),
            "input" => (&mut input, "input"),
            other => match DECIDING.into_iter().find(|field| other.eq_ignore_ascii_case(field)) {
                Some(field) => return Err(Malformed::Spelling(field)),
                None => continue,
            },
        };
        if slot.replace(raw).is_some() {
            return Err(Malformed::Duplicate(field));
        }
    }
    let model = read_model(model.ok_or(Malformed::Missing("model"))?)?;
    let input = input.ok_or(Malformed::Missing("input"))?;
    let inputs = count(input)?;
    let weight = Weight { text_bytes: input.get().len() as u64, output_tokens: Some(0), ..Weight::default() };
    Ok(Probe { model, inputs, weight })
}

fn read_model(raw: &RawValue) -> Result<Cow<'_, str>, Malformed> {
    const INVALID: Malformed = Malformed::Invalid {
        field: "model",
        expected: "the name of a model: 1 to 200 visible ASCII characters without spaces",
    };
    let Text(model) = serde_json::from_str(raw.get()).map_err(|_| INVALID)?;
    let is_visible = model.bytes().all(|byte| byte.is_ascii_graphic());
    if is_visible && (1..=MODEL_CHARS_MAX).contains(&model.len()) { Ok(model) } else { Err(INVALID) }
}

// A list of numbers is one input, already cut into tokens.
fn count(raw: &RawValue) -> Result<u64, Malformed> {
    if is_text(raw) {
        return Ok(1);
    }
    let Elements { count, starts_with_number } = serde_json::from_str(raw.get())
        .map_err(|_| Malformed::Invalid { field: "input", expected: "a text, or a list of texts or of tokens" })?;
    Ok(if starts_with_number { 1 } else { count })
}

// One token, or a list of them.
fn is_of_tokens(raw: &RawValue) -> bool {
    raw.get().bytes().all(|byte| byte.is_ascii_digit() || b"[], \t\r\n".contains(&byte))
}

#[derive(Default)]
struct Elements {
    count: u64,
    starts_with_number: bool,
}

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Elements;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Elements, A::Error> {
                let mut found = Elements::default();
                while let Some(element) = seq.next_element::<&RawValue>()? {
                    // An image, or what stands at an address, has more tokens than its JSON has bytes.
                    if !(is_text(element) || is_of_tokens(element)) {
                        return Err(serde::de::Error::custom("no text, and no token"));
                    }
                    found.starts_with_number |= element.get().starts_with(|letter: char| letter.is_ascii_digit());
                    found.count += 1;
                }
                Ok(found)
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// Reads the counters of an answer, or the type of an error.
///
/// # Errors
/// Says what is wrong with a body that is not a JSON object. An object of another kind gives no counters and is not final.
pub fn meter_answer(body: &[u8]) -> Result<Metered, Malformed> {
    let Members(members) = object(body)?;
    let mut metered = Metered::default();
    let (mut has_data, mut usage) = (false, None::<WireUsage>);
    for (name, raw) in members {
        match &*name {
            "data" => has_data = raw.get().starts_with('['),
            "usage" => usage = serde_json::from_str::<Option<WireUsage>>(raw.get()).ok().flatten(),
            "model" => metered.model = serde_json::from_str(raw.get()).ok(),
            "error" if raw.get() != "null" => metered.failed = Some(failed(raw)),
            _ => {}
        }
    }
    metered.is_final = has_data && usage.is_some();
    metered.complete = has_data && metered.failed.is_none();
    metered.counters = Counters { output: 0, ..usage.unwrap_or_default().usage().counters };
    Ok(metered)
}

fn failed(raw: &RawValue) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Typed<'a> {
        #[serde(rename = "type", borrow)]
        kind: Option<Json<'a>>,
    }
    let Typed { kind } = serde_json::from_str(raw.get()).unwrap_or_default();
    kind.and_then(|kind| kind.read()).unwrap_or_else(|| "error".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_weighed_by_its_inputs() {
        const MODEL: Malformed = Malformed::Invalid {
            field: "model",
            expected: "the name of a model: 1 to 200 visible ASCII characters without spaces",
        };
        const INPUT: Malformed =
            Malformed::Invalid { field: "input", expected: "a text, or a list of texts or of tokens" };
        for (body, expect) in [
            (r#"{"model":"m","input":"four"}"#, Ok((1, 6))),
            (r#"{"input":["one","two"],"model":"m","encoding_format":"base64","dimensions":256}"#, Ok((2, 13))),
            (r#"{"model":"m","input":[1,2,3]}"#, Ok((1, 7))),
            (r#"{"model":"m","input":[[1,2],[3]]}"#, Ok((2, 11))),
            (r#"{"model":"m","input":[]}"#, Ok((0, 2))),
            (r#"{"model":"m","input":7}"#, Err(INPUT)),
            (r#"{"model":"m","input":["a",{"image":"https://images.example/1.png"}]}"#, Err(INPUT)),
            (r#"{"model":"m","input":[["a"]]}"#, Err(INPUT)),
            (r#"{"model":"m","input":null}"#, Err(INPUT)),
            (r#"{"model":"m"}"#, Err(Malformed::Missing("input"))),
            (r#"{"input":"x"}"#, Err(Malformed::Missing("model"))),
            (r#"{"model":"a b","input":"x"}"#, Err(MODEL)),
            (r#"{"model":"m","input":"x","input":"y"}"#, Err(Malformed::Duplicate("input"))),
            (r#"{"model":"m","input":"x","Model":"y"}"#, Err(Malformed::Spelling("model"))),
            ("[]", Err(Malformed::NotAnObject)),
        ] {
            let found = probe(body.as_bytes());
            let found = found.as_ref().map(|probe| (probe.inputs, probe.weight.text_bytes)).map_err(|error| *error);
            assert_eq!(found, expect, "{body}");
        }
        assert_eq!(probe(br#"{"model":"m","input":"x"}"#).unwrap().weight.output_tokens, Some(0));
    }

    #[test]
    fn an_answer_is_metered() {
        let counters = |input| Counters { input, ..Counters::default() };
        for (body, expect) in [
            (
                r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1]}],"model":"m","usage":{"prompt_tokens":8,"total_tokens":8}}"#,
                Metered {
                    counters: counters(8),
                    model: Some("m".into()),
                    is_final: true,
                    complete: true,
                    failed: None,
                },
            ),
            (
                r#"{"data":[],"usage":{"total_tokens":9}}"#,
                Metered { counters: counters(9), is_final: true, complete: true, ..Metered::default() },
            ),
            (r#"{"data":[],"usage":null}"#, Metered { complete: true, ..Metered::default() }),
            (
                r#"{"error":{"message":"No.","type":"invalid_request_error","code":null}}"#,
                Metered { failed: Some("invalid_request_error".into()), ..Metered::default() },
            ),
            (r#"{"error":"no"}"#, Metered { failed: Some("error".into()), ..Metered::default() }),
        ] {
            assert_eq!(meter_answer(body.as_bytes()), Ok(expect), "{body}");
        }
        assert_eq!(meter_answer(b""), Err(Malformed::Empty));
    }
}
