//! A description in OpenAPI, read as JSON: which version it is in, and what its references mean.

use serde_json::{Map, Value};

use crate::reason::Unfit;

/// The longest document, in bytes. It travels with the policy, and stays in the memory of each replica.
pub const DOCUMENT_BYTES_MAX: usize = 512 * 1024;

/// So many references may lead to each other before they count as a circle.
const HOPS_MAX: usize = 16;

/// A document that is OpenAPI.
#[derive(Debug)]
pub(crate) struct Document {
    root: Map<String, Value>,
    version: Version,
}

/// What differs between versions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Version {
    /// Members beside a `$ref` mean nothing.
    V3_0,
    /// Schemas are those of JSON Schema 2020-12.
    V3_1,
}

/// A text is no document of which tools can be made. `at` is a JSON pointer (RFC 6901).
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidDocument {
    /// It is too long.
    #[error(
        "the document is {0} bytes long, and at most {DOCUMENT_BYTES_MAX} are read: take out operations and schemas that no agent needs"
    )]
    Long(usize),
    /// It is no JSON.
    #[error("the document is no JSON: {0}")]
    Json(String),
    /// It is another format.
    #[error("at /openapi: {0}: write \"3.0.x\" or \"3.1.x\", and convert older descriptions (Swagger 2.0) first")]
    Version(String),
    /// Something is not what OpenAPI has there.
    #[error("at {at}: {expected} is expected")]
    Malformed {
        /// Where.
        at: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// It has too many operations.
    #[error("at /paths: there are more than {0} operations: take out those that no agent needs")]
    Operations(usize),
    /// The definitions of all tools together would be too long.
    #[error(
        "at /paths: the definitions of its {0} tools together would be longer than {1} bytes: divide the document among several servers"
    )]
    Tools(usize, usize),
    /// None of its operations can be a tool.
    #[error("at /paths: {0}")]
    Empty(String),
}

// === impl Document ===

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// When it is no JSON, or not of a version that is known.
    pub(crate) fn read(text: &str) -> Result<Self, InvalidDocument> {
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(InvalidDocument::Long(text.len()));
        }
        let root: Value = serde_json::from_str(text).map_err(|error| InvalidDocument::Json(error.to_string()))?;
        let Value::Object(root) = root else {
            return Err(InvalidDocument::Malformed { at: "/".into(), expected: "an object with \"openapi\"" });
        };
        let version = match root.get("openapi") {
            Some(Value::String(version)) if is_of(version, "3.0") => Version::V3_0,
            Some(Value::String(version)) if is_of(version, "3.1") => Version::V3_1,
            Some(other) => return Err(InvalidDocument::Version(format!("{} is not read", shown(&other.to_string())))),
            None => return Err(InvalidDocument::Version("the version is missing".into())),
        };
        Ok(Self { root, version })
    }

    pub(crate) const fn root(&self) -> &Map<String, Value> {
        &self.root
    }

    pub(crate) const fn version(&self) -> Version {
        self.version
    }

    /// What a reference leads to; a value that is none, itself.
    pub(crate) fn resolved<'d>(&'d self, value: &'d Value) -> Result<&'d Value, Unfit> {
        let mut value = value;
        for _ in 0..HOPS_MAX {
            let Some(reference) = reference(value) else { return Ok(value) };
            value = self.target(reference)?;
        }
        let reference = reference(value).unwrap_or_default();
        Err(Unfit::Reference(shown(reference), "which leads in a circle"))
    }

    /// What one reference names.
    pub(crate) fn target(&self, reference: &str) -> Result<&Value, Unfit> {
        let Some(pointer) = reference.strip_prefix("#/") else {
            let why = "which is not in this document, and nothing is fetched: bundle what it needs into one document";
            return Err(Unfit::Reference(shown(reference), why));
        };
        // A pointer in the fragment of a URI (RFC 6901, section 6).
        let decoded = percent_encoding::percent_decode_str(pointer).decode_utf8().ok();
        let mut parts = decoded.as_deref().unwrap_or(pointer).split('/').map(unescaped);
        let first = parts.next().and_then(|name| self.root.get(&name));
        let found = parts.try_fold(first, |value, name| match value? {
            Value::Object(members) => Some(members.get(&name)),
            Value::Array(elements) => Some(name.parse::<usize>().ok().and_then(|at| elements.get(at))),
            _ => None,
        });
        found.flatten().ok_or_else(|| Unfit::Reference(shown(reference), "which is not there"))
    }
}

/// The reference that a value is.
pub(crate) fn reference(value: &Value) -> Option<&str> {
    value.get("$ref")?.as_str()
}

/// A JSON pointer to what has these names.
pub(crate) fn pointer(names: &[&str]) -> String {
    names.iter().flat_map(|name| ["/".to_owned(), name.replace('~', "~0").replace('/', "~1")]).collect()
}

/// What a sentence shows of a text that somebody else wrote.
pub(crate) fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 80;
    let visible = text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter });
    let mut shown: String = visible.take(CHARACTERS_MAX).collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

fn is_of(version: &str, line: &str) -> bool {
    version.strip_prefix(line).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_openapi_3_0_and_3_1_are_read() {
        for (text, problem) in [
            (r#"{"openapi":"3.0.3"}"#, None),
            (r#"{"openapi":"3.1.1"}"#, None),
            (r#"{"openapi":"3.10.0"}"#, Some("at /openapi: \"3.10.0\" is not read")),
            (r#"{"openapi":3.1}"#, Some("at /openapi: 3.1 is not read")),
            (r#"{"swagger":"2.0"}"#, Some("at /openapi: the version is missing")),
            ("[]", Some("at /: an object")),
            ("openapi: 3.1.0", Some("the document is no JSON")),
        ] {
            let read = Document::read(text).map(|_| ()).map_err(|error| error.to_string());
            match problem {
                None => assert_eq!(read, Ok(()), "{text}"),
                Some(problem) => assert!(read.as_ref().is_err_and(|error| error.starts_with(problem)), "{read:?}"),
            }
        }
        let long = format!("{{\"openapi\":\"3.1.0\"{}}}", " ".repeat(DOCUMENT_BYTES_MAX));
        assert!(matches!(Document::read(&long), Err(InvalidDocument::Long(_))));
    }

    #[test]
    fn a_reference_leads_within_the_document_and_nowhere_else() {
        let text =
            r##"{"openapi":"3.1.0","a b":{"x/y":[1,{"~":2}]},"to":{"$ref":"#/a b/x~1y/0"},"loop":{"$ref":"#/loop"}}"##;
        let document = Document::read(text).unwrap();
        for (reference, expect) in [
            ("#/a b/x~1y/0", Some("1")),
            ("#/a%20b/x~1y/1/~0", Some("2")),
            ("#/to", Some("1")),
            ("#/loop", None),
            ("#/nothing", None),
            ("#/a b/x~1y/2", None),
            ("#/a b/x~1y/0/deeper", None),
            ("other.json#/a", None),
            ("https://evil.example/x.json", None),
            ("/etc/passwd", None),
            ("#", None),
            ("", None),
        ] {
            let found = document.resolved(&serde_json::json!({ "$ref": reference })).map(ToString::to_string);
            assert_eq!(found.ok().as_deref(), expect, "{reference}");
        }
        assert_eq!(pointer(&["paths", "/a~b/{c}"]), "/paths/~1a~0b~1{c}");
    }
}
