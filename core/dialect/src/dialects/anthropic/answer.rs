//! Reads the counters out of an answer that is not a stream.

use super::usage::{Latest, Loose, Usage};
use crate::{error::Malformed, meter::Metered};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Reads the counters of a whole `Message`, or the type of an error.
///
/// # Errors
/// Says what is wrong with a body that is not a JSON object. An object of another kind gives no counters and is not final.
pub fn meter_answer(body: &[u8]) -> Result<Metered, Malformed> {
    let Answer { kind, model, usage, error } = crate::dialects::read::object(body)?;
    let usage: Option<Usage> = usage.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let error: Option<Failure> = error.map(|raw| serde_json::from_str(raw.get()).unwrap_or_default());
    let is_message = kind.0.as_deref() == Some("message") && usage.is_some();
    let mut latest = Latest::default();
    latest.take(usage.unwrap_or_default());
    let failed = error.map(|error| error.kind.0.unwrap_or_else(|| "error".to_owned()));
    Ok(Metered { counters: latest.counters(), model: model.0, is_final: is_message, complete: is_message, failed })
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(rename = "type", default)]
    kind: Loose<String>,
    #[serde(default)]
    model: Loose<String>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Failure {
    #[serde(rename = "type", default)]
    kind: Loose<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Counters;

    #[test]
    fn an_answer_is_metered() {
        let none = Metered::default();
        let whole =
            |counters| Metered { counters, model: Some("m".into()), is_final: true, complete: true, failed: None };
        for (body, expect) in [
            (
                r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"usage"}],
                "stop_reason":"end_turn","usage":{"input_tokens":3,"cache_creation_input_tokens":50,"cache_read_input_tokens":70,
                "cache_creation":{"ephemeral_5m_input_tokens":20,"ephemeral_1h_input_tokens":30},"output_tokens":9,
                "server_tool_use":{"web_search_requests":2},"service_tier":"standard"}}"#,
                whole(Counters {
                    input: 3,
                    output: 9,
                    cache_read: 70,
                    cache_write_5m: 20,
                    cache_write_1h: 30,
                    web_searches: 2,
                }),
            ),
            (
                r#"{"type":"message","model":"m","usage":{"input_tokens":3,"cache_creation_input_tokens":50,"cache_creation":null,"output_tokens":1}}"#,
                whole(Counters { input: 3, output: 1, cache_write_5m: 50, ..Counters::default() }),
            ),
            (
                r#"{"type":"message","model":"m","usage":{"input_tokens":-3,"output_tokens":1e300,"cache_read_input_tokens":"7",
                "cache_creation_input_tokens":[{}],"server_tool_use":{"web_search_requests":18446744073709551615}}}"#,
                whole(Counters::default()),
            ),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#,
                Metered { failed: Some("overloaded_error".into()), ..none.clone() },
            ),
            (r#"{"error":"no"}"#, Metered { failed: Some("error".into()), ..none.clone() }),
            (r#"{"type":"message","usage":7}"#, none.clone()),
            (r#"{"input_tokens":12}"#, none),
        ] {
            assert_eq!(meter_answer(body.as_bytes()), Ok(expect), "{body}");
        }
        for (body, expect) in [
            ("", Malformed::Empty),
            ("<html>", Malformed::NotJson { line: 1, column: 1 }),
            ("[]", Malformed::NotAnObject),
        ] {
            assert_eq!(meter_answer(body.as_bytes()), Err(expect), "{body}");
        }
    }
}
