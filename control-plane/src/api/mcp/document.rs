//! What an HTTP API can, as an administrator wrote it.

use serde_json::Value;
use tollgate_openapi::Api;
use tollgate_policy::mcp::DOCUMENT_BYTES_MAX;

/// The longest document as it is written. Spaces, comments and what aliases save go when it is kept.
const WRITTEN_BYTES_MAX: usize = 4 * DOCUMENT_BYTES_MAX;
/// How much of a reader's reason is shown, in characters.
const REASON_CHARS_MAX: usize = 120;
/// So much of what is no tool is told.
const LEFT_OUT_MAX: usize = 100;

/// Reads a document, in JSON or in YAML, and returns it as JSON without spaces. Another spelling of the same document gives the same text.
///
/// # Errors
/// Says what is wrong, continuing the sentence `document ..`.
pub(super) fn read(text: &str) -> Result<String, String> {
    let kibibytes = DOCUMENT_BYTES_MAX / 1_024;
    let long =
        || format!("must be at most {kibibytes} KiB as JSON: leave out the operations that agents shall not have");
    if text.len() > WRITTEN_BYTES_MAX {
        return Err(long());
    }
    let value = value(text)?;
    let version = value.get("openapi").ok_or("must be an OpenAPI document: an object with openapi: 3.x.y")?;
    if !version.as_str().is_some_and(|version| version.starts_with("3.")) {
        return Err("must be of OpenAPI 3, written as a text such as openapi: \"3.1.0\"".to_owned());
    }
    let json = value.to_string();
    if json.len() > DOCUMENT_BYTES_MAX {
        return Err(long());
    }
    // As each replica reads it.
    Api::read(&json).map_err(|invalid| format!("makes no tools: {invalid}"))?;
    Ok(json)
}

/// What of a document that was kept is no tool, or is not part of one.
pub(super) fn left_out(json: &str) -> Vec<String> {
    let Ok(api) = Api::read(json) else { return Vec::new() };
    let all = api.left_out();
    let mut told: Vec<String> = all.iter().take(LEFT_OUT_MAX).map(ToString::to_string).collect();
    if all.len() > LEFT_OUT_MAX {
        told.push(format!("and {} more", all.len() - LEFT_OUT_MAX));
    }
    told
}

// JSON is read as such, since that is quicker, and tells the place of a mistake better.
fn value(text: &str) -> Result<Value, String> {
    let reason = |reason: String| {
        let reason: String = reason.lines().next().unwrap_or_default().chars().take(REASON_CHARS_MAX).collect();
        format!("is neither JSON nor YAML: {reason}")
    };
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        // As YAML 1.2 has it: `no` and `y` are texts.
        Err(_) => {
            let options = serde_saphyr::options! { strict_booleans: true };
            serde_saphyr::from_str_with_options(text, options)
                .map_err(|error| reason(error.without_snippet().to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_kept_as_json_whatever_it_was_written_in() {
        let json = r#"{"info":{"title":"Pets","version":"1"},"openapi":"3.0.3","paths":{"/pets":{"get":{"responses":{"200":{"description":"no"}}}}}}"#;
        let yaml = "openapi: 3.0.3\ninfo: { title: Pets, version: '1' } # mine\npaths:\n  /pets:\n    get:\n      responses:\n        200: { description: no }\n";
        for text in [json, yaml, &json.replace(':', " : ")] {
            assert_eq!(read(text).as_deref(), Ok(json), "{text}");
        }
        let numbers = r#"{"openapi":"3.1.0","paths":{"/":{"get":{}}},"x":[1,1.5,true,null,18446744073709551615]}"#;
        assert_eq!(read(numbers).as_deref(), Ok(numbers));
    }

    #[test]
    fn what_is_no_tool_is_told() {
        assert_eq!(left_out(r#"{"openapi":"3.1.0","paths":{"/":{"get":{}}}}"#), Vec::<String>::new());
        let trace = |at: usize| (format!("/{at:03}"), serde_json::json!({ "trace": {} }));
        let mut paths: serde_json::Map<_, _> = (0..103).map(trace).collect();
        paths.insert("/".into(), serde_json::json!({ "get": {} }));
        let told = left_out(&serde_json::json!({ "openapi": "3.1.0", "paths": paths }).to_string());
        assert_eq!(
            (told.len(), told.first().map(String::as_str)),
            (101, Some("TRACE /000: TRACE requests are not sent"))
        );
        assert_eq!(told.last().map(String::as_str), Some("and 3 more"));
    }

    #[test]
    fn what_is_no_document_says_why() {
        let long = format!(r#"{{"openapi":"3.0.0","x":"{}"}}"#, "x".repeat(DOCUMENT_BYTES_MAX));
        for (text, expect) in [
            ("", "must be an OpenAPI document"),
            ("[]", "must be an OpenAPI document"),
            ("hello", "must be an OpenAPI document"),
            ("swagger: '2.0'", "must be an OpenAPI document"),
            ("openapi: 3.1", "written as a text"),
            ("openapi: '2.0'", "must be of OpenAPI 3"),
            ("openapi: 3.2.0\npaths: {}", "makes no tools: at /openapi"),
            ("openapi: 3.0.0\npaths: {}", "makes no tools: at /paths"),
            ("openapi: 3.0.0\npaths: { /a: 1 }", "makes no tools: at /paths/~1a"),
            ("openapi: [", "is neither JSON nor YAML"),
            ("openapi: 3.0.0\na: 1\na: 2\n", "is neither JSON nor YAML"),
            (&long, "must be at most 512 KiB"),
            (&" ".repeat(WRITTEN_BYTES_MAX + 1), "must be at most 512 KiB"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(expect) && !said.contains('\n'), "{text:.40}: {said}");
        }
    }
}
