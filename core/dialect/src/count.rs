//! How many tokens a request has, as providers count it who have an endpoint for that: Anthropic's `count_tokens`, Gemini's `countTokens`
//! and `input_tokens` of OpenAI Responses. A request to count is one for an answer, without what only an answer needs; between two
//! dialects it goes through the hub as well.

use serde::Deserialize;

use crate::{
    dialects::{Called, Dialect, Quirks, gemini, gemini::CountForm, read::object},
    error::{DecodeError, Malformed},
    hub::{Json, Losses, Request},
    splice::{Edit, Object},
};

/// What Anthropic does not take where it counts.
const NOT_COUNTED_BY_ANTHROPIC: [&str; 8] =
    ["max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata", "service_tier"];
/// What OpenAI does not take where it counts.
const NOT_COUNTED_BY_OPENAI: [&str; 12] = [
    "max_output_tokens",
    "stream",
    "temperature",
    "top_p",
    "top_logprobs",
    "store",
    "include",
    "metadata",
    "service_tier",
    "user",
    "safety_identifier",
    "prompt_cache_key",
];

/// Reads a request to count: the request whose input is counted.
///
/// # Errors
/// As [`Dialect::decode_request`].
pub fn decode<'a>(dialect: Dialect, called: &Called<'a>, body: &'a [u8]) -> Result<Request<'a>, DecodeError> {
    match dialect {
        Dialect::Gemini => gemini::decode_count(called, body),
        _ => dialect.decode_request(called, body),
    }
}

/// Writes a request to count; `form` is how Gemini wants it. What cannot be expressed is noted. `None`: nobody counts in this dialect.
#[must_use]
pub fn encode(
    dialect: Dialect,
    request: &Request<'_>,
    quirks: &Quirks,
    form: CountForm,
    losses: &mut Losses,
) -> Option<Vec<u8>> {
    let left_out: &[&str] = match dialect {
        Dialect::Gemini => return Some(gemini::encode_count(request, form, losses)),
        Dialect::Anthropic => &NOT_COUNTED_BY_ANTHROPIC,
        Dialect::OpenAiResponses => &NOT_COUNTED_BY_OPENAI,
        Dialect::OpenAiChat | Dialect::BedrockConverse => return None,
    };
    let whole = dialect.encode_request(request, quirks, losses);
    let edits: Vec<Edit<'_>> = left_out.iter().map(|name| Edit::Remove(name)).collect();
    // What was just written is an object.
    Object::read(&whole).ok().map(|object| object.edited(&edits))
}

/// Reads the answer: how many tokens the input has.
///
/// # Errors
/// When it does not say so.
pub fn decode_answer(dialect: Dialect, body: &[u8]) -> Result<u64, DecodeError> {
    #[derive(Deserialize)]
    struct Counted<'a> {
        #[serde(borrow, default)]
        input_tokens: Option<Json<'a>>,
    }
    if dialect == Dialect::Gemini {
        return gemini::decode_count_answer(body);
    }
    let Counted { input_tokens } = object(body)?;
    input_tokens.and_then(|tokens| tokens.read()).ok_or_else(|| Malformed::Missing("input_tokens").into())
}

/// Writes the answer.
#[must_use]
pub fn encode_answer(dialect: Dialect, tokens: u64) -> Vec<u8> {
    match dialect {
        Dialect::Gemini => gemini::encode_count_answer(tokens),
        Dialect::OpenAiResponses => {
            format!("{{\"object\":\"response.input_tokens\",\"input_tokens\":{tokens}}}").into_bytes()
        }
        Dialect::Anthropic | Dialect::OpenAiChat | Dialect::BedrockConverse => {
            format!("{{\"input_tokens\":{tokens}}}").into_bytes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    // A request to count in one dialect, as another one counts it.
    fn across(from: Dialect, body: &Value, to: Dialect) -> Value {
        let body = serde_json::to_vec(body).unwrap();
        let called = Called { model: Some("m".into()), stream: None };
        let request = decode(from, &called, &body).unwrap();
        let counted = encode(to, &request, &Quirks::default(), CountForm::Gemini, &mut Losses::new(to)).unwrap();
        serde_json::from_slice(&counted).unwrap()
    }

    #[test]
    fn a_request_to_count_goes_from_each_dialect_to_each_without_what_only_an_answer_needs() {
        let messages = json!({"model": "m", "system": "Be brief.", "messages": [{"role": "user", "content": "hi"}]});
        let contents = json!({"generateContentRequest": {"model": "models/m", "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
            "systemInstruction": {"parts": [{"text": "Be brief."}]}, "generationConfig": {"temperature": 1, "stopSequences": ["."]}}});
        let input =
            json!({"model": "m", "instructions": "Be brief.", "input": "hi", "top_p": 0.5, "max_output_tokens": 9});
        for (from, body) in
            [(Dialect::Anthropic, &messages), (Dialect::Gemini, &contents), (Dialect::OpenAiResponses, &input)]
        {
            let told = across(from, body, Dialect::Anthropic);
            let names: Vec<&str> = told.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, ["messages", "model", "system"], "{told}");
            let told = across(from, body, Dialect::Gemini);
            let whole = &told["generateContentRequest"];
            assert_eq!(
                (&whole["model"], &whole["contents"][0]["parts"][0]["text"]),
                (&json!("models/m"), &json!("hi"))
            );
            let told = across(from, body, Dialect::OpenAiResponses);
            let fits = |name: &String| ["model", "input", "instructions", "text", "reasoning"].contains(&&**name);
            assert!(told.as_object().unwrap().keys().all(fits), "{told}");
            assert!(told["input"].to_string().contains("hi") && told.to_string().contains("Be brief."), "{told}");
        }
    }

    #[test]
    fn an_answer_is_told_in_each_dialect_that_counts() {
        for dialect in [Dialect::Anthropic, Dialect::Gemini, Dialect::OpenAiResponses] {
            assert_eq!(decode_answer(dialect, &encode_answer(dialect, 31)), Ok(31));
            assert!(decode_answer(dialect, b"{}").is_err());
        }
        let chat = encode(
            Dialect::OpenAiChat,
            &Request::default(),
            &Quirks::default(),
            CountForm::Gemini,
            &mut Losses::new(Dialect::OpenAiChat),
        );
        assert_eq!(chat, None, "nobody counts there");
    }
}
