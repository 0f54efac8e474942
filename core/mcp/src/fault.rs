//! What is wrong with a message: a sentence for whoever sent it, and the code that JSON-RPC has for it.

use crate::{failure::code, id::Id};

/// A message that is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{fault}")]
pub struct Invalid {
    /// The first id that could be read before the fault, so that the answer can bear it.
    pub id: Option<Id<'static>>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a message. Each text is a sentence for its sender; it quotes no values, and names at most a member.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// The bytes are not UTF-8.
    #[error("The message is not valid UTF-8 (byte {0}): send JSON encoded as UTF-8.")]
    NotUtf8(usize),
    /// It is no JSON, ends in the middle, or goes on behind its end.
    #[error("The message is not valid JSON (line {line}, column {column}): send exactly one JSON object.")]
    NotJson {
        /// The line, counted from 1.
        line: usize,
        /// The column in bytes, counted from 1.
        column: usize,
    },
    /// A list: the batches of 2025-03-26 were taken out of the protocol by 2025-06-18.
    #[error("Batches are not accepted: send each message in a request of its own.")]
    Batch,
    /// JSON, and no object.
    #[error("The message must be a JSON object.")]
    NotAnObject,
    /// Nested too deeply.
    #[error("The message is nested more than 128 levels deep: send a flatter one.")]
    TooDeep,
    /// Too many names of members.
    #[error("The message has more than 100000 members in objects that contain each other: send a smaller one.")]
    TooManyNames,
    /// A name of a member with half of a character that takes two escapes.
    #[error("The name of a member has half of a surrogate pair: write whole characters.")]
    HalfCharacter,
    /// A member stands twice in one object.
    #[error("The member \"{0}\" is given more than once in an object: give it once.")]
    Duplicate(String),
    /// A member that lenient readers would take for one that decides: in other letter case, or with hidden characters.
    #[error(
        "A member is named like \"{0}\", but not exactly: write it in the same letter case, and without hidden characters."
    )]
    Spelling(&'static str),
    /// A member that no JSON-RPC message has.
    #[error("A message has no member \"{0}\": leave it out, or put it into \"params\".")]
    Unknown(String),
    /// `jsonrpc` is missing or another.
    #[error("The member \"jsonrpc\" must be \"2.0\".")]
    Version,
    /// `id` is null, fractional, an object, or too long.
    #[error("The member \"id\" must be a string or an integer, and at most 1024 bytes long.")]
    Id,
    /// `method` is no text of visible ASCII characters.
    #[error("The member \"method\" must be a string of 1 to 256 visible ASCII characters.")]
    Method,
    /// `params` is no object.
    #[error("The member \"params\" must be an object, where it is given.")]
    Params,
    /// `result` is no object.
    #[error("The member \"result\" must be an object.")]
    Result,
    /// `error` lacks what an error has.
    #[error("The member \"error\" must be an object with an integer \"code\" and a string \"message\".")]
    Error,
    /// Members of different kinds of messages together.
    #[error("A message has either a \"method\", or a \"result\", or an \"error\": send one of them.")]
    Mixed,
    /// Of no kind.
    #[error("The message has no \"method\", no \"result\" and no \"error\": send one of them.")]
    NoKind,
    /// A notification with an id.
    #[error("A method that begins with \"notifications/\" is not answered: send it without an \"id\".")]
    Answered,
    /// A request without an id.
    #[error("A request needs an \"id\": only methods that begin with \"notifications/\" go without.")]
    Unanswered,
    /// An answer to nothing.
    #[error("A response needs the \"id\" of its request.")]
    NoId,
}

// === impl Fault ===

impl Fault {
    /// The code for it.
    #[must_use]
    pub const fn code(&self) -> i64 {
        match self {
            Self::NotUtf8(_) | Self::NotJson { .. } => code::PARSE_ERROR,
            _ => code::INVALID_REQUEST,
        }
    }
}
