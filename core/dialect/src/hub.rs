//! The hub: one form of a conversation, into which each dialect is read and from which each is written.
//!
//! It is shaped after Anthropic's content blocks, since Claude Code is the first client, and models what at least two dialects
//! can say. What it does not model is kept as the JSON that it was, with its name: a dialect that is written knows then what it leaves
//! out, and says so ([`Losses`]). Text is borrowed from the body wherever nothing in it is escaped, and JSON that nobody needs
//! to understand (schemas, arguments of tools) is never parsed at all.
//!
//! Where the client's dialect is the provider's, none of this is used: the bytes pass as they came.
//!
//! Reading order: [`request`], [`answer`], [`event`] (a streamed answer), [`signature`] (what a provider seals and wants back),
//! [`spelling`] (ids and names that not everybody takes), [`order`] (in which strict providers want a conversation),
//! [`forms`] (what a client's tools are where they are no functions), [`fit`] (what a provider does not take, or tell),
//! [`support`] (what each dialect can express), [`tally`] and [`weigh`] (what an answer came to, and what it may come to).

pub mod text;
pub mod request;
pub mod answer;
pub mod event;
pub mod signature;
pub mod spelling;
pub mod order;
pub mod forms;
pub mod fit;
pub mod support;
pub mod tally;
pub mod weigh;

pub use answer::{Answer, Citation, Stop, Usage};
pub use event::{Begin, Delta, Event, StreamDecoder, StreamEncoder};
pub use fit::Fit;
pub use forms::{Form, FormKind, Forms, Namespace};
pub use request::{
    Block, Cache, Effort, Format, Hosted, Media, MediaKind, Request, Role, Sampling, Source, Thinking, ThinkingMode,
    Tool, ToolChoice, ToolResult, ToolUse, Turn,
};
pub use signature::Signature;
pub use support::{Feature, Losses, Support};
pub use tally::Tally;
pub use text::{Json, Text};
