//! What a client is told when a request cannot be served: RFC 7644, 3.12.

use serde_json::{Value, json};

/// The schema of an error.
pub const ERROR_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// Why a request is refused. The text says what to do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// The filter cannot be read, or is not supported.
    #[error("{0}")]
    InvalidFilter(String),
    /// The filter would look at too many resources.
    #[error("{0}")]
    TooMany(String),
    /// Another resource has this value.
    #[error("{0}")]
    Uniqueness(String),
    /// The attribute cannot be written.
    #[error("{0}")]
    Mutability(String),
    /// The body is not what the call takes.
    #[error("{0}")]
    InvalidSyntax(String),
    /// The path of a patch cannot be read.
    #[error("{0}")]
    InvalidPath(String),
    /// The path of a patch selects nothing.
    #[error("{0}")]
    NoTarget(String),
    /// A value is missing or has another type.
    #[error("{0}")]
    InvalidValue(String),
    /// Another status, which RFC 7644 gives no `scimType`.
    #[error("{1}")]
    Status(u16, String),
}

impl Problem {
    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Uniqueness(_) => 409,
            Self::Status(status, _) => *status,
            _ => 400,
        }
    }

    /// The `scimType`, where RFC 7644 has one.
    #[must_use]
    pub const fn kind(&self) -> Option<&'static str> {
        Some(match self {
            Self::InvalidFilter(_) => "invalidFilter",
            Self::TooMany(_) => "tooMany",
            Self::Uniqueness(_) => "uniqueness",
            Self::Mutability(_) => "mutability",
            Self::InvalidSyntax(_) => "invalidSyntax",
            Self::InvalidPath(_) => "invalidPath",
            Self::NoTarget(_) => "noTarget",
            Self::InvalidValue(_) => "invalidValue",
            Self::Status(..) => return None,
        })
    }

    /// The body of the answer. The status is a text there.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut body =
            json!({"schemas": [ERROR_SCHEMA], "status": self.status().to_string(), "detail": self.to_string()});
        if let (Some(kind), Some(body)) = (self.kind(), body.as_object_mut()) {
            body.insert("scimType".into(), kind.into());
        }
        body
    }
}

/// What a client wrote, fit to be shown in an error: cut, and without control characters.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_its_status_as_text_and_its_kind() {
        let expect = json!({"schemas": [ERROR_SCHEMA], "status": "409", "scimType": "uniqueness", "detail": "taken"});
        assert_eq!(Problem::Uniqueness("taken".into()).body(), expect);
        let expect = json!({"schemas": [ERROR_SCHEMA], "status": "404", "detail": "gone"});
        assert_eq!(Problem::Status(404, "gone".into()).body(), expect);
    }
}
