//! What of a description is no tool, and why: told, never dropped in silence.

use std::fmt;

/// Something that is left out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeftOut {
    /// Which: `POST /pets/{id}/photo`; or `GET /pets, in part`, of one that is a tool without it.
    pub what: String,
    /// Why.
    pub why: Unfit,
}

/// Why something is left out. Each text says what would help, where something would.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// A `$ref` leads nowhere, or out of the document.
    #[error("it refers to {0:?}, {1}")]
    Reference(String, &'static str),
    /// Something is not what OpenAPI has there.
    #[error("its {0} is not {1}")]
    Malformed(String, &'static str),
    /// Its method is none that is sent for an agent.
    #[error("{0} requests are not sent")]
    Method(&'static str),
    /// Its path is none that arguments can be put into safely.
    #[error("its path {0}")]
    Path(&'static str),
    /// A parameter, of that name, has no place that arguments may reach.
    #[error("the parameter {0:?} {1}")]
    Parameter(String, &'static str),
    /// Its body is of media types that cannot be written.
    #[error(
        "its body is {0}, and only application/json, application/*+json, application/x-www-form-urlencoded and text/plain can be written"
    )]
    Media(String),
    /// A body stands where HTTP has none.
    #[error("a {0} request has no body")]
    Body(&'static str),
    /// Two would have the same name.
    #[error("another one would have the same name {0:?}: give it an operationId of its own")]
    Name(String),
    /// Its definition would be longer than a tool's may be.
    #[error("its definition would be longer than {0} bytes, however much of its schemas is left away")]
    Long(usize),
    /// It is a request of the API, and not to it.
    #[error("it is a request that the API sends")]
    Reverse,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}
