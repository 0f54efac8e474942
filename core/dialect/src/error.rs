//! The ways in which a request fails, independent of how a dialect spells them.

/// Why a request was not answered; each dialect has its own word for it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ErrorClass {
    /// The request is malformed, or asks for something that cannot be.
    InvalidRequest,
    /// The credential is missing, unknown, expired or revoked.
    Authentication,
    /// The credential is good, and may not do this.
    Permission,
    /// No such path or model.
    NotFound,
    /// The body exceeds the accepted size.
    RequestTooLarge,
    /// Too many requests or tokens for now.
    RateLimit,
    /// The money is spent.
    Billing,
    /// The provider did not answer in time.
    Timeout,
    /// Something failed that is not the client's fault.
    Api,
    /// The provider has no capacity now.
    Overloaded,
    /// The path exists, and this method or feature of it does not.
    NotSupported,
}

/// Why a body cannot be read. The text of each is a sentence for the client; it never quotes the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// Nothing was sent.
    #[error("The body is empty: send a JSON object.")]
    Empty,
    /// The bytes are not UTF-8.
    #[error("The body is not valid UTF-8 (byte {0}): send JSON encoded as UTF-8.")]
    NotUtf8(usize),
    /// The text is not JSON, here.
    #[error("The body is not valid JSON (line {line}, column {column}): check how it is put together.")]
    NotJson {
        /// The line, counted from 1.
        line: usize,
        /// The column in bytes, counted from 1.
        column: usize,
    },
    /// The JSON ends in the middle.
    #[error("The body ends in the middle of its JSON: send all of it.")]
    Unfinished,
    /// The JSON is not an object.
    #[error("The body must be a JSON object.")]
    NotAnObject,
    /// A field that decides how the request is treated is missing.
    #[error("The field `{0}` is missing: add it.")]
    Missing(&'static str),
    /// A field that decides stands there twice: two readers could take different ones.
    #[error("The field `{0}` is given more than once: give it once.")]
    Duplicate(&'static str),
    /// A field that decides is spelled in other letter case: some readers would take it for the real one.
    #[error("A field is named like `{0}`, but in other letter case: write it in lower case.")]
    Spelling(&'static str),
    /// A field has the wrong type or value.
    #[error("The field `{field}` must be {expected}.")]
    Invalid {
        /// The field's name.
        field: &'static str,
        /// What it must be, to complete the sentence.
        expected: &'static str,
    },
}
