//! What an answer shall be like: settings with a default each, given by header, by directive, by a planned fault, or at start.

pub(crate) mod directive;
mod settings;

pub use settings::SETTINGS;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};
use std::time::Duration;

/// The most text in one answer, in bytes: beyond any model, and it is held in memory.
pub const SIZE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most pieces of text in one stream; with a spacing of 10 ms it lasts for nearly three hours.
pub const EVENTS_MAX: usize = 1_000_000;
/// The longest wait that can be asked for.
pub const WAIT_MAX: Duration = Duration::from_secs(3600);
/// The most tool calls in one answer.
pub const TOOLS_MAX: usize = 64;
/// The prefix of a header that asks for something.
pub(crate) const HEADER_PREFIX: &str = "x-simulator-";

/// A setting that cannot be understood. Its text is a sentence for whoever asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unclear {
    /// No setting has this name.
    #[error("The simulator has no setting named `{0}`; see `tollgate-simulator --help`.")]
    Unknown(String),
    /// The value is not of the kind that the setting takes.
    #[error("The simulator's setting `{name}` must be {expected}.")]
    Value {
        /// The setting.
        name: String,
        /// What it takes, to complete the sentence.
        expected: &'static str,
    },
    /// A directive does not end, or has a word without `=`.
    #[error("The directive must read `[[simulate name=value name=\"a value\"]]`.")]
    Directive,
}

/// What an answer shall be like. The default is a short text, at once, without fault.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Behaviour {
    pub(crate) content: Content,
    pub(crate) counters: Counters,
    pub(crate) pace: Pace,
    pub(crate) failure: Option<Failure>,
    pub(crate) shape: Shape,
    pub(crate) fault: StreamFault,
}

/// What the answer says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub(crate) text: Option<String>,
    pub(crate) size: Option<usize>,
    pub(crate) events: Option<usize>,
    pub(crate) thinking: Option<String>,
    pub(crate) tools: Vec<ToolUse>,
    pub(crate) stop_reason: Option<String>,
    /// A ping behind each so many events.
    pub(crate) pings: Option<usize>,
}

/// A call of a tool, which the client is to make.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ToolUse {
    pub(crate) name: String,
    pub(crate) input: Map<String, Value>,
    /// It takes a text and no JSON: the argument `input`.
    pub(crate) is_custom: bool,
}

/// What the answer says that it cost; what is absent is counted from the bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
    pub(crate) cache_read: u64,
    pub(crate) cache_write_5m: u64,
    pub(crate) cache_write_1h: u64,
    pub(crate) web_searches: u64,
}

/// When it is sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// Before the head.
    pub(crate) delay: Duration,
    /// Between the head and the first event.
    pub(crate) delay_body: Duration,
    /// Between events.
    pub(crate) spacing: Duration,
    /// In pieces of so many bytes, whatever the events are.
    pub(crate) drip: Option<usize>,
}

/// An error in place of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failure {
    pub(crate) status: Option<http::StatusCode>,
    pub(crate) kind: Option<String>,
    pub(crate) message: Option<String>,
}

/// The answer's envelope.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) odd: Option<Odd>,
    pub(crate) redirect: Option<HeaderValue>,
    pub(crate) encoding: Option<Encoding>,
}

/// A body that is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Odd {
    Garbage,
    Html,
    Empty,
}

/// How the body is compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Encoding {
    Gzip,
    Deflate,
    Zstd,
}

/// What goes wrong while it is sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamFault {
    pub(crate) hang: Option<Place>,
    pub(crate) cut: Option<Place>,
    pub(crate) reset: bool,
    /// An error event takes the place of the rest behind so many events.
    pub(crate) error_event: Option<usize>,
}

/// Where something happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Head,
    Events(usize),
    Bytes(usize),
}

// === impl Behaviour ===

impl Behaviour {
    /// Sets one thing, by the name and in the notation of [`SETTINGS`].
    ///
    /// # Errors
    /// Says which setting is unknown, or what it must be.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Unclear> {
        settings::set(self, name, value)
    }

    /// The same with these settings on top.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn with<'a>(mut self, settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Unclear> {
        settings.into_iter().try_for_each(|(name, value)| self.set(name, value))?;
        Ok(self)
    }

    /// Tools are to be called: whether they already answered must be looked up.
    pub(crate) const fn wants_tools(&self) -> bool {
        !self.content.tools.is_empty()
    }

    /// How many tokens of input to report, whatever the body is.
    pub(crate) const fn input_tokens(&self) -> Option<u64> {
        self.counters.input
    }

    /// An error comes in the middle of a stream, and not in place of the answer.
    pub(crate) const fn fails_midway(&self) -> bool {
        self.fault.error_event.is_some()
    }

    /// The body is sent in one piece, as it is.
    pub(crate) fn is_plain(&self) -> bool {
        let Pace { delay: _, delay_body, spacing: _, drip } = self.pace;
        let StreamFault { hang, cut, reset: _, error_event: _ } = self.fault;
        delay_body.is_zero() && drip.is_none() && hang.is_none() && cut.is_none() && self.shape.encoding.is_none()
    }

    /// Takes what the headers ask for, in any order: what belongs to a tool comes behind the tool.
    pub(crate) fn set_from_headers(&mut self, headers: &http::HeaderMap) -> Result<(), Unclear> {
        let settings =
            || headers.iter().filter_map(|(name, value)| Some((name.as_str().strip_prefix(HEADER_PREFIX)?, value)));
        let belongs_to_tool = |name: &str| name == "tool-input";
        let first = settings().filter(|(name, _)| !belongs_to_tool(name));
        for (name, value) in first.chain(settings().filter(|(name, _)| belongs_to_tool(name))) {
            let value = std::str::from_utf8(value.as_bytes())
                .map_err(|_| Unclear::Value { name: name.to_owned(), expected: "UTF-8 text" })?;
            self.set(name, value)?;
        }
        Ok(())
    }
}

impl Encoding {
    /// Its word in `content-encoding`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }
}
