//! OpenAPI documents: read from JSON or YAML, and shown in a few words.

use serde_json::Value;

/// What an operation may stand under.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// Reads a document. Whether it is one of OpenAPI, the control plane says.
pub(crate) fn read(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).or_else(|_| {
        // As YAML 1.2 has it: `no` and `y` are texts.
        let options = serde_saphyr::options! { strict_booleans: true };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let reason = error.without_snippet().to_string();
            format!("is neither JSON nor YAML: {}", reason.lines().next().unwrap_or_default())
        })
    })
}

/// A document in a few words: `Pets 1.0.0, 3 operations, 2810 bytes`. Empty where there is none.
pub(crate) fn summary(document: &Value) -> String {
    if document.is_null() {
        return String::new();
    }
    let said = |name: &str| document.pointer(&format!("/info/{name}")).and_then(Value::as_str).unwrap_or_default();
    let paths = document.get("paths").and_then(Value::as_object);
    let of_path = |path: &Value| METHODS.into_iter().filter(|method| path.get(*method).is_some()).count();
    let operations: usize = paths.map(|paths| paths.values().map(of_path).sum()).unwrap_or_default();
    let plural = if operations == 1 { "" } else { "s" };
    let title = format!("{} {}", said("title"), said("version"));
    let bytes = document.to_string().len();
    format!("{}, {operations} operation{plural}, {bytes} bytes", title.trim()).trim_start_matches(", ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_shown_in_a_few_words() {
        let yaml = "openapi: 3.0.0\ninfo: { title: Pets, version: 1.0.0 }\npaths:\n  /pets: { get: {}, post: {}, parameters: [] }\n  /pets/{id}: { get: { responses: { 200: {} } } }\n";
        let document = read(yaml).unwrap();
        let bytes = document.to_string().len();
        assert_eq!(summary(&document), format!("Pets 1.0.0, 3 operations, {bytes} bytes"));
        assert_eq!(read(&document.to_string()), Ok(document));
        assert_eq!(summary(&read("{}").unwrap()), "0 operations, 2 bytes");
        assert_eq!(summary(&Value::Null), "");
        assert!(read("a: [").unwrap_err().starts_with("is neither JSON nor YAML"));
    }
}
