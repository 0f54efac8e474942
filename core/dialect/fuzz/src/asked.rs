//! What decides about a request.

use tollgate_dialect::{
    Called, Dialect, anthropic,
    asked::{asked, has_envelope, includes_usage, last_turn},
    gemini, openai,
};

use crate::input::Input;

/// Probes a body and reads it.
///
/// # Panics
/// When the gateway would decide about something else than it sends.
pub fn check(bytes: &[u8]) {
    let Some(input) = Input::read(bytes) else { return };
    let dialect = Dialect::ALL[usize::from(input.kind) % Dialect::ALL.len()];
    let is_path = matches!(dialect, Dialect::Gemini | Dialect::BedrockConverse);
    let called = Called { model: is_path.then(|| "m".into()), stream: is_path.then(|| input.has(0)) };
    let (found, read) = (asked(dialect, &called, input.body), dialect.decode_request(&called, input.body));
    match (&found, &read) {
        (Ok(found), Ok(read)) => {
            assert_eq!((&*found.model, found.stream), (&*read.model, read.stream));
            assert!(found.weight.text_bytes <= input.body.len() as u64);
            if found.weight.output_tokens.is_some() {
                assert_eq!(found.weight.output_tokens, read.output_tokens_max);
            }
        }
        // The probe of Messages does not look at what it does not need.
        (Ok(_), Err(error)) => assert!(dialect == Dialect::Anthropic, "{error}"),
        (Err(error), _) => assert!(error.to_string().ends_with('.'), "{error}"),
    }
    let turn = last_turn(dialect, &called, input.body);
    assert_eq!(turn, last_turn(dialect, &called, input.body));
    let _ = (has_envelope(input.body), includes_usage(input.body));
    if let Err(error) = openai::embeddings::probe(input.body) {
        assert!(error.to_string().ends_with('.'), "{error}");
    }
    let _ = gemini::decode_count(&called, input.body);
    if let Ok(probe) = anthropic::probe(input.body) {
        let value: Result<serde_json::Value, _> = serde_json::from_slice(input.body);
        if let Ok(value) = value {
            assert_eq!(value["model"], *probe.model);
            assert_eq!(value["stream"].as_bool().unwrap_or_default(), probe.stream);
            assert_eq!(value["max_tokens"].as_u64(), probe.max_tokens);
        }
    }
}
