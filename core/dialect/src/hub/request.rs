//! What an agent asks a model.

use super::{
    forms::Forms,
    signature::Signature,
    text::{Json, Text},
};
use crate::{dialects::Dialect, hub::Citation};

/// One request: the conversation so far, and how it shall go on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request<'a> {
    /// The dialect that it was read from: only a provider of the same one is sent what the hub does not model.
    pub dialect: Dialect,
    /// The model's name, as the one who is asked knows it.
    pub model: Text<'a>,
    /// The instructions ahead of the conversation: texts.
    pub system: Vec<Block<'a>>,
    /// The conversation, oldest first.
    pub turns: Vec<Turn<'a>>,
    /// What the model may call.
    pub tools: Vec<Tool<'a>>,
    /// Which of them are no functions in the client's dialect.
    pub forms: Forms,
    /// Whether it must call one.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// Whether it may call several at a time; `None`: as the provider has it.
    pub parallel_tools: Option<bool>,
    /// The most tokens of output, thinking included.
    pub output_tokens_max: Option<u64>,
    /// How the next token is drawn.
    pub sampling: Sampling,
    /// Texts at which it stops.
    pub stop_sequences: Vec<Text<'a>>,
    /// How much it thinks.
    pub thinking: Thinking,
    /// The form of the answer.
    pub format: Format<'a>,
    /// Whether the answer shall be a stream.
    pub stream: bool,
    /// The client of the stream wants no usage in it: so OpenAI Chat has it unless a request asks. Whoever writes the answer tells the
    /// encoder ([`StreamEncoder::hide_usage`](super::StreamEncoder::hide_usage)); the provider is asked for it all the same.
    pub is_usage_hidden: bool,
    /// Who the end user is, to the provider's abuse detection: no name, a hash or an id.
    pub user: Option<Text<'a>>,
    /// Fields that the hub does not model, with their names, as they were: what another dialect leaves out.
    pub rest: Vec<(Text<'a>, Json<'a>)>,
}

impl Request<'_> {
    /// Whether the conversation of an agent comes without marks of what is cached, because its client's provider caches unasked.
    /// Where a provider caches nothing without a mark, two are set: behind tools and instructions, and behind what was said last.
    #[must_use]
    pub fn is_cached_unasked(&self) -> bool {
        let is_marked = |block: &Block<'_>| match block {
            Block::ToolResult(result) => {
                result.cache.is_some() || result.blocks.iter().any(|block| block.cache().is_some())
            }
            block => block.cache().is_some(),
        };
        let has_mark = |tool: &Tool<'_>| matches!(tool, Tool::Function { cache: Some(_), .. });
        let said = || self.turns.iter().flat_map(|turn| &turn.blocks);
        // What is asked but once is not worth what it costs to keep.
        (!self.tools.is_empty() || self.turns.len() > 1)
            && matches!(self.dialect, Dialect::OpenAiChat | Dialect::OpenAiResponses | Dialect::Gemini)
            && !self.tools.iter().any(has_mark)
            && !self.system.iter().chain(said()).any(is_marked)
    }
}

/// One turn of the conversation. Two of one role may follow each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn<'a> {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub blocks: Vec<Block<'a>>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// The agent's user, and the results of tools.
    User,
    /// The model.
    Assistant,
    /// Whoever wrote the instructions, in the middle of the conversation.
    System,
}

/// A piece of a turn.
#[derive(Clone, Debug, PartialEq)]
pub enum Block<'a> {
    /// Text.
    Text {
        /// The text.
        text: Text<'a>,
        /// What it cites.
        citations: Vec<Citation<'a>>,
        /// Up to here, the prompt is cached.
        cache: Option<Cache>,
    },
    /// An image, a document, audio or video.
    Media(Box<Media<'a>>),
    /// The model calls a tool.
    ToolUse(Box<ToolUse<'a>>),
    /// What a tool answered.
    ToolResult(Box<ToolResult<'a>>),
    /// What the model thought, as far as its provider shows it.
    Thinking {
        /// The text; may be empty.
        text: Text<'a>,
        /// The provider's seal, without which it does not take its thinking back.
        signature: Option<Signature<'a>>,
    },
    /// What the model thought, sealed as a whole.
    RedactedThinking {
        /// The sealed thinking.
        data: Signature<'a>,
    },
    /// What only its own dialect has.
    Other {
        /// Its type, in that dialect.
        kind: Text<'a>,
        /// All of it.
        json: Json<'a>,
    },
}

/// An image, a document, audio or video.
#[derive(Clone, Debug, PartialEq)]
pub struct Media<'a> {
    /// Which of them.
    pub kind: MediaKind,
    /// Where its content is.
    pub source: Source<'a>,
    /// The title or file name.
    pub title: Option<Text<'a>>,
    /// What the model shall know about it, beside its content.
    pub context: Option<Text<'a>>,
    /// Whether the model shall cite it.
    pub is_cited: bool,
    /// How closely an image is looked at: `low`, `high`, `auto`.
    pub detail: Option<Text<'a>>,
    /// Up to here, the prompt is cached.
    pub cache: Option<Cache>,
}

/// What a medium is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MediaKind {
    /// An image.
    Image,
    /// A document: PDF or text.
    Document,
    /// Sound.
    Audio,
    /// Moving images.
    Video,
}

impl MediaKind {
    /// What the model is told in place of one that its provider does not take.
    pub(crate) const fn left_out(self) -> &'static str {
        match self {
            Self::Image => "[An image that cannot be shown here was left out.]",
            Self::Document => "[A file that cannot be read here was left out.]",
            Self::Audio => "[A recording that cannot be heard here was left out.]",
            Self::Video => "[A film that cannot be seen here was left out.]",
        }
    }
}

/// Where the content of a medium is.
#[derive(Clone, Debug, PartialEq)]
pub enum Source<'a> {
    /// Here, in base64.
    Base64 {
        /// Such as `image/png`.
        media_type: Text<'a>,
        /// The content.
        data: Text<'a>,
    },
    /// Here, as text.
    Text {
        /// The text.
        text: Text<'a>,
    },
    /// Here, in blocks (a document of one's own pieces, which are what it is cited by).
    Blocks {
        /// Texts and images.
        blocks: Vec<Block<'a>>,
    },
    /// Behind a URL that the provider fetches.
    Url {
        /// The URL.
        url: Text<'a>,
        /// The type, where the dialect says it.
        media_type: Option<Text<'a>>,
    },
    /// With the provider, who gave it an id.
    File {
        /// The id.
        id: Text<'a>,
    },
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolUse<'a> {
    /// The id by which its result names it.
    pub id: Text<'a>,
    /// The tool.
    pub name: Text<'a>,
    /// The arguments: a JSON object.
    pub input: Json<'a>,
    /// A provider's seal over the thinking that led to the call.
    pub signature: Option<Signature<'a>>,
    /// Up to here, the prompt is cached.
    pub cache: Option<Cache>,
}

/// What a tool answered.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult<'a> {
    /// The call's id.
    pub tool_use_id: Text<'a>,
    /// Texts, images, documents.
    pub blocks: Vec<Block<'a>>,
    /// Whether the tool failed.
    pub is_error: bool,
    /// Up to here, the prompt is cached.
    pub cache: Option<Cache>,
}

/// How long a prompt is cached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cache {
    /// Five minutes, or as the provider has it.
    Default,
    /// An hour.
    Hour,
}

/// What the model may call.
#[derive(Clone, Debug, PartialEq)]
pub enum Tool<'a> {
    /// A tool that the client runs.
    Function {
        /// Its name.
        name: Text<'a>,
        /// What it does.
        description: Option<Text<'a>>,
        /// The JSON schema of its arguments.
        input_schema: Json<'a>,
        /// Whether the arguments must keep the schema.
        strict: Option<bool>,
        /// Up to here, the prompt is cached.
        cache: Option<Cache>,
        /// Fields that the hub does not model.
        rest: Vec<(Text<'a>, Json<'a>)>,
    },
    /// A tool that the provider runs.
    Hosted {
        /// What it does, where several dialects have it.
        hosted: Hosted,
        /// Its type, in its own dialect.
        kind: Text<'a>,
        /// All of it.
        json: Json<'a>,
    },
}

/// What tools of providers do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hosted {
    /// Searches the web.
    WebSearch,
    /// Runs code.
    CodeExecution,
    /// Fetches a page.
    WebFetch,
    /// Something that one dialect alone has.
    Other,
}

/// Whether the model must call a tool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ToolChoice<'a> {
    /// As it likes.
    Auto,
    /// One of them.
    Any,
    /// None.
    None,
    /// This one.
    Tool {
        /// Its name.
        name: Text<'a>,
    },
}

/// How the next token is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sampling {
    /// 0 to 1 with Anthropic, to 2 elsewhere.
    pub temperature: Option<f64>,
    /// The share of probability that is considered.
    pub top_p: Option<f64>,
    /// How many tokens are considered.
    pub top_k: Option<u64>,
    /// The seed of the draw.
    pub seed: Option<i64>,
    /// -2 to 2: less of what was said at all.
    pub presence_penalty: Option<f64>,
    /// -2 to 2: less of what was said often.
    pub frequency_penalty: Option<f64>,
}

/// How much the model thinks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Thinking {
    /// Whether, and how much.
    pub mode: Option<ThinkingMode>,
    /// How hard it tries.
    pub effort: Option<Effort>,
    /// Whether the thinking shall be shown, in a summary; `None`: as the provider has it.
    pub is_shown: Option<bool>,
}

/// Whether the model thinks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ThinkingMode {
    /// Not.
    Off,
    /// As much as it deems right.
    Adaptive,
    /// At most so many tokens.
    Budget(u64),
}

/// How hard a model tries, least first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Effort {
    /// Hardly.
    Minimal,
    /// A little.
    Low,
    /// Ordinarily.
    Medium,
    /// Hard.
    High,
    /// Harder.
    ExtraHigh,
    /// As hard as it can.
    Max,
}

/// Up to so many tokens of thinking are a low effort, and up to so many a medium one.
const LOW_BUDGET_MAX: u64 = 4_096;
const MEDIUM_BUDGET_MAX: u64 = 16_384;

impl Effort {
    /// Its word, with all who have one for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::ExtraHigh => "xhigh",
            Self::Max => "max",
        }
    }

    /// The effort of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Minimal, Self::Low, Self::Medium, Self::High, Self::ExtraHigh, Self::Max]
            .into_iter()
            .find(|effort| effort.word() == word)
    }

    /// The effort that comes near a limit of thinking.
    #[must_use]
    pub const fn of_budget(tokens: u64) -> Self {
        if tokens <= LOW_BUDGET_MAX {
            Self::Low
        } else if tokens <= MEDIUM_BUDGET_MAX {
            Self::Medium
        } else {
            Self::High
        }
    }

    /// The limit of thinking that comes near it, as Google's translation of OpenAI's API has it:
    /// <https://ai.google.dev/gemini-api/docs/openai>.
    #[must_use]
    pub const fn budget(self) -> u64 {
        match self {
            Self::Minimal | Self::Low => 1_024,
            Self::Medium => 8_192,
            Self::High => 24_576,
            Self::ExtraHigh | Self::Max => 32_768,
        }
    }

    /// The same, where there is nothing below low.
    #[must_use]
    pub const fn at_least_low(self) -> Self {
        match self {
            Self::Minimal => Self::Low,
            effort => effort,
        }
    }
}

/// The form of the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Format<'a> {
    /// Text.
    #[default]
    Text,
    /// Some JSON object.
    Json,
    /// JSON that keeps a schema.
    Schema {
        /// What the schema is called.
        name: Option<Text<'a>>,
        /// What it is for.
        description: Option<Text<'a>>,
        /// The schema.
        schema: Json<'a>,
        /// Whether it must be kept to the letter.
        strict: Option<bool>,
    },
}

// === impl Block ===

impl<'a> Block<'a> {
    /// A text without more.
    #[must_use]
    pub fn text(text: impl Into<Text<'a>>) -> Self {
        Self::Text { text: text.into(), citations: Vec::new(), cache: None }
    }

    /// The mark up to which the prompt is cached.
    #[must_use]
    pub fn cache(&self) -> Option<Cache> {
        match self {
            Self::Text { cache, .. } => *cache,
            Self::Media(media) => media.cache,
            Self::ToolUse(tool) => tool.cache,
            Self::ToolResult(result) => result.cache,
            Self::Thinking { .. } | Self::RedactedThinking { .. } | Self::Other { .. } => None,
        }
    }
}

// === impl Media ===

impl<'a> Media<'a> {
    /// A medium of which nothing but its content is known.
    #[must_use]
    pub const fn new(kind: MediaKind, source: Source<'a>) -> Self {
        Self { kind, source, title: None, context: None, is_cited: false, detail: None, cache: None }
    }
}

// === impl MediaKind ===

impl MediaKind {
    /// What a medium of that type is: `application/pdf` is a document.
    #[must_use]
    pub fn of(media_type: &str) -> Self {
        match media_type.split_once('/').map_or(media_type, |(top, _)| top) {
            "image" => Self::Image,
            "audio" => Self::Audio,
            "video" => Self::Video,
            _ => Self::Document,
        }
    }
}
