//! The ways in which a request fails, independent of how a dialect spells them.

use std::borrow::Cow;

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

/// How a provider said that it failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// What kind of failure it is.
    pub class: ErrorClass,
    /// The provider's sentence.
    pub message: String,
    /// The provider's own word for it, such as `context_length_exceeded`; empty where it has none.
    pub code: String,
}

/// The word for a conversation that exceeds what the model can read, whatever its provider calls it.
pub const CONTEXT_LENGTH_EXCEEDED: &str = "context_length_exceeded";

/// What is said of a failure of which the provider says nothing.
const NO_REASON: &str = "The model provider gave no reason.";

/// Claude Code compacts a conversation when an error says so.
const TOO_LONG: &str = "prompt is too long";

/// No model reads less: smaller numbers in a sentence are no sizes.
const CONTEXT_TOKENS_MIN: u64 = 1_000;

/// In what words providers say it.
const TOO_LONG_WORDS: [&str; 11] = [
    TOO_LONG,
    "maximum context length",
    "context length exceeded",
    "context_length_exceeded",
    "exceeds the context window",
    "exceed context limit",
    "input is too long",
    "exceeds the maximum number of tokens",
    "maximum number of input tokens",
    "too many input tokens",
    "longer than the model's context length",
];

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

/// Why a request or an answer cannot be read into the hub.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The body as a whole.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A place in it. The text is a sentence for the client; it never quotes the body beyond the names of its fields.
    #[error("`{at}` must be {expected}.")]
    Invalid {
        /// Where: `messages[3].content[0].source`.
        at: String,
        /// What it must be, to complete the sentence.
        expected: &'static str,
    },
}

// === impl DecodeError ===

impl DecodeError {
    /// Something at that place must be something else.
    #[must_use]
    pub fn invalid(at: impl Into<String>, expected: &'static str) -> Self {
        Self::Invalid { at: at.into(), expected }
    }

    /// The same, seen from outside: `name.at`, or `name[index].at`.
    #[must_use]
    pub fn within(self, name: &str, index: Option<usize>) -> Self {
        match self {
            Self::Invalid { at, expected } => {
                let index = index.map(|index| format!("[{index}]")).unwrap_or_default();
                let dot = if at.is_empty() || at.starts_with('[') { "" } else { "." };
                Self::Invalid { at: format!("{name}{index}{dot}{at}"), expected }
            }
            whole @ Self::Malformed(_) => whole,
        }
    }
}

// === impl Failure ===

impl Failure {
    /// Whether it says that the conversation exceeds what the model can read.
    #[must_use]
    pub fn is_context_length(&self) -> bool {
        self.code == CONTEXT_LENGTH_EXCEEDED
    }

    /// What a provider says. Where it says that the conversation exceeds what the model can read, the code is
    /// [`CONTEXT_LENGTH_EXCEEDED`], whatever its own word. Where it says nothing, the message says that.
    #[must_use]
    pub fn told(class: ErrorClass, message: impl Into<String>, code: impl Into<String>) -> Self {
        let (mut message, code) = (message.into(), code.into());
        if message.trim().is_empty() {
            NO_REASON.clone_into(&mut message);
        }
        let is_too_long = code == CONTEXT_LENGTH_EXCEEDED || Self::says_too_long(&message);
        // Those who are out of money or too fast are told of other limits in the same words.
        if is_too_long && !matches!(class, ErrorClass::RateLimit | ErrorClass::Billing) {
            return Self { class: ErrorClass::InvalidRequest, message, code: CONTEXT_LENGTH_EXCEEDED.to_owned() };
        }
        Self { class, message, code }
    }

    /// What is left to say when the body is not in the dialect's shape: its text, where it is short and in one line.
    #[must_use]
    pub fn bare(class: ErrorClass, body: &[u8]) -> Self {
        let text = std::str::from_utf8(body).unwrap_or_default().trim();
        let is_sentence = (1..=512).contains(&text.len()) && !text.contains(['\n', '<', '{']);
        let message = if is_sentence { text } else { NO_REASON };
        Self { class, message: message.to_owned(), code: String::new() }
    }

    /// Whether a sentence says that the conversation exceeds what the model can read.
    #[must_use]
    pub fn says_too_long(message: &str) -> bool {
        let message = message.to_ascii_lowercase();
        TOO_LONG_WORDS.iter().any(|words| message.contains(words))
    }

    /// The sentence for the client. Where the conversation is too long, it begins as Anthropic's does, with its numbers if the provider
    /// told them: agents compact the conversation at these words.
    #[must_use]
    pub fn sentence(&self) -> Cow<'_, str> {
        if self.code != CONTEXT_LENGTH_EXCEEDED {
            return Cow::Borrowed(&self.message);
        }
        // Some put their own words ahead.
        if let Some(told) = self.message.find(TOO_LONG).and_then(|at| self.message.get(at..)) {
            return Cow::Borrowed(told);
        }
        let mut numbers =
            self.message.split(|letter: char| !letter.is_ascii_digit() && letter != ',').filter_map(|word| {
                let digits: String = word.chars().filter(char::is_ascii_digit).collect();
                digits.parse::<u64>().ok().filter(|number| *number >= CONTEXT_TOKENS_MIN)
            });
        match (numbers.next(), numbers.next()) {
            (Some(one), Some(other)) if one != other => {
                Cow::Owned(format!("{TOO_LONG}: {} tokens > {} maximum", one.max(other), one.min(other)))
            }
            _ => Cow::Owned(format!("{TOO_LONG}: {}", self.message)),
        }
    }
}

// === impl ErrorClass ===

impl ErrorClass {
    /// The class of an HTTP status, where nothing better is known.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Authentication,
            402 => Self::Billing,
            403 => Self::Permission,
            404 => Self::NotFound,
            405 | 501 => Self::NotSupported,
            408 | 504 => Self::Timeout,
            413 => Self::RequestTooLarge,
            429 => Self::RateLimit,
            503 | 529 => Self::Overloaded,
            400..=499 => Self::InvalidRequest,
            _ => Self::Api,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_which_nothing_is_said_says_so() {
        for message in ["", " \n"] {
            let failure = Failure::told(ErrorClass::Api, message, CONTEXT_LENGTH_EXCEEDED);
            assert_eq!(failure.sentence(), "prompt is too long: The model provider gave no reason.");
            assert_eq!(Failure::told(ErrorClass::Api, message, "").sentence(), NO_REASON);
        }
    }

    #[test]
    fn a_conversation_that_is_too_long_is_told_in_the_words_at_which_agents_compact_it() {
        for (code, message, expect) in [
            (
                CONTEXT_LENGTH_EXCEEDED,
                "This model's maximum context length is 128000 tokens. However, your messages resulted in 130500 tokens.",
                "prompt is too long: 130500 tokens > 128000 maximum",
            ),
            (
                CONTEXT_LENGTH_EXCEEDED,
                "You sent 213,452 of 200,000 tokens.",
                "prompt is too long: 213452 tokens > 200000 maximum",
            ),
            (
                CONTEXT_LENGTH_EXCEEDED,
                "Your input exceeds the context window.",
                "prompt is too long: Your input exceeds the context window.",
            ),
            (
                CONTEXT_LENGTH_EXCEEDED,
                "prompt is too long: 9 tokens > 8 maximum",
                "prompt is too long: 9 tokens > 8 maximum",
            ),
            (
                CONTEXT_LENGTH_EXCEEDED,
                "The model said: prompt is too long: 9 tokens > 8 maximum",
                "prompt is too long: 9 tokens > 8 maximum",
            ),
            ("", "Try again in 12000 of 13000 seconds.", "Try again in 12000 of 13000 seconds."),
        ] {
            let failure = Failure { class: ErrorClass::InvalidRequest, message: message.into(), code: code.into() };
            assert_eq!(failure.sentence(), expect);
            assert!(code.is_empty() || Failure::says_too_long(&failure.sentence()));
        }
    }
}
