//! What an HTTP API can, as an administrator wrote it.

use serde_json::Value;
use tollgate_policy::mcp::DOCUMENT_BYTES_MAX;

/// The longest document as it is written. Spaces, comments and what aliases save go when it is kept.
const WRITTEN_BYTES_MAX: usize = 4 * DOCUMENT_BYTES_MAX;
/// How much of a reader's reason is shown, in characters.
const REASON_CHARS_MAX: usize = 120;

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
    if json.len() > DOCUMENT_BYTES_MAX { Err(long()) } else { Ok(json) }
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
        assert_eq!(
            read(r#"{"openapi":"3.1.0","x":[1,1.5,true,null,18446744073709551615]}"#).as_deref(),
            Ok(r#"{"openapi":"3.1.0","x":[1,1.5,true,null,18446744073709551615]}"#)
        );
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
