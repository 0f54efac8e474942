//! What each dialect can express of the hub, as a table: writing a request consults it, and so does whoever explains a route.

use std::{collections::BTreeSet, fmt};

use crate::dialects::Dialect;

/// How a dialect has a feature, best first.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Support {
    /// As it is: nothing is lost, though it may be spelled otherwise.
    Native,
    /// In another way, which comes near: an image by its URL where the dialect takes only bytes is a link in the text.
    Approximated,
    /// Not at all: it is left out, and the rest of the request goes on without it.
    Dropped,
}

/// Something that a request may ask for.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Feature {
    /// Marks up to which the prompt is cached.
    CacheControl,
    /// That a prompt is cached for an hour.
    CacheHour,
    /// Instructions in the middle of the conversation.
    MidConversationSystem,
    /// An image by its bytes.
    ImageBytes,
    /// An image by its URL.
    ImageUrl,
    /// A PDF by its bytes.
    DocumentBytes,
    /// A document by its URL.
    DocumentUrl,
    /// A document as text, or in blocks.
    DocumentText,
    /// That documents are cited.
    DocumentCitations,
    /// Audio by its bytes.
    Audio,
    /// Video.
    Video,
    /// A file that is with the provider.
    File,
    /// Citations in what the model said before.
    Citations,
    /// That a tool failed.
    ToolError,
    /// Images in what a tool answered.
    ToolResultImage,
    /// Documents in what a tool answered.
    ToolResultDocument,
    /// That a tool must be called.
    ToolChoiceAny,
    /// That this tool must be called.
    ToolChoiceNamed,
    /// That no tool may be called.
    ToolChoiceNone,
    /// Whether several tools may be called at a time.
    ParallelTools,
    /// That a tool's arguments keep its schema.
    StrictTools,
    /// The provider's web search.
    WebSearch,
    /// A tool that the provider runs, other than its web search.
    HostedTool,
    /// What the model thought before, with its seal.
    Thinking,
    /// A seal of another provider.
    ForeignThinking,
    /// That the model thinks at most so many tokens.
    ThinkingBudget,
    /// That the model thinks as much as it deems right.
    ThinkingAdaptive,
    /// That the model does not think.
    ThinkingOff,
    /// How hard the model tries.
    Effort,
    /// Whether the thinking is shown.
    ThinkingShown,
    /// `temperature` above 1.
    HighTemperature,
    /// `temperature`.
    Temperature,
    /// `top_p`.
    TopP,
    /// `top_k`.
    TopK,
    /// `seed`.
    Seed,
    /// `presence_penalty` and `frequency_penalty`.
    Penalties,
    /// Texts at which the model stops.
    StopSequences,
    /// That the answer is some JSON object.
    JsonFormat,
    /// That the answer keeps a schema.
    SchemaFormat,
    /// Who the end user is.
    User,
    /// A block that only the client's dialect has, by its type.
    Block(String),
    /// A field that only the client's dialect has, by its name.
    Field(String),
}

/// What a request loses on its way into a dialect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Losses {
    target: Dialect,
    found: BTreeSet<(Feature, Support)>,
}

// === impl Support ===

impl Support {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Approximated => "approximated",
            Self::Dropped => "dropped",
        }
    }
}

// === impl Feature ===

impl Feature {
    /// Every feature that is not one dialect's own.
    pub const ALL: [Self; 40] = [
        Self::CacheControl,
        Self::CacheHour,
        Self::MidConversationSystem,
        Self::ImageBytes,
        Self::ImageUrl,
        Self::DocumentBytes,
        Self::DocumentUrl,
        Self::DocumentText,
        Self::DocumentCitations,
        Self::Audio,
        Self::Video,
        Self::File,
        Self::Citations,
        Self::ToolError,
        Self::ToolResultImage,
        Self::ToolResultDocument,
        Self::ToolChoiceAny,
        Self::ToolChoiceNamed,
        Self::ToolChoiceNone,
        Self::ParallelTools,
        Self::StrictTools,
        Self::WebSearch,
        Self::HostedTool,
        Self::Thinking,
        Self::ForeignThinking,
        Self::ThinkingBudget,
        Self::ThinkingAdaptive,
        Self::ThinkingOff,
        Self::Effort,
        Self::ThinkingShown,
        Self::HighTemperature,
        Self::Temperature,
        Self::TopP,
        Self::TopK,
        Self::Seed,
        Self::Penalties,
        Self::StopSequences,
        Self::JsonFormat,
        Self::SchemaFormat,
        Self::User,
    ];

    /// Its word in headers and tables.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::CacheControl => "cache_control",
            Self::CacheHour => "cache_control_1h",
            Self::MidConversationSystem => "mid_conversation_system",
            Self::ImageBytes => "image",
            Self::ImageUrl => "image_url",
            Self::DocumentBytes => "document",
            Self::DocumentUrl => "document_url",
            Self::DocumentText => "document_text",
            Self::DocumentCitations => "document_citations",
            Self::Audio => "audio",
            Self::Video => "video",
            Self::File => "file",
            Self::Citations => "citations",
            Self::ToolError => "tool_error",
            Self::ToolResultImage => "tool_result_image",
            Self::ToolResultDocument => "tool_result_document",
            Self::ToolChoiceAny => "tool_choice_any",
            Self::ToolChoiceNamed => "tool_choice_named",
            Self::ToolChoiceNone => "tool_choice_none",
            Self::ParallelTools => "parallel_tools",
            Self::StrictTools => "strict_tools",
            Self::WebSearch => "web_search",
            Self::HostedTool => "hosted_tool",
            Self::Thinking => "thinking",
            Self::ForeignThinking => "foreign_thinking",
            Self::ThinkingBudget => "thinking_budget",
            Self::ThinkingAdaptive => "thinking_adaptive",
            Self::ThinkingOff => "thinking_off",
            Self::Effort => "effort",
            Self::ThinkingShown => "thinking_shown",
            Self::HighTemperature => "temperature_above_1",
            Self::Temperature => "temperature",
            Self::TopP => "top_p",
            Self::TopK => "top_k",
            Self::Seed => "seed",
            Self::Penalties => "penalties",
            Self::StopSequences => "stop_sequences",
            Self::JsonFormat => "json_format",
            Self::SchemaFormat => "schema_format",
            Self::User => "user",
            Self::Block(kind) => kind,
            Self::Field(name) => name,
        }
    }

    /// How that dialect has it.
    #[must_use]
    pub const fn support(&self, target: Dialect) -> Support {
        target.support(self)
    }
}

// === impl Losses ===

impl Losses {
    /// Nothing is lost yet.
    #[must_use]
    pub const fn new(target: Dialect) -> Self {
        Self { target, found: BTreeSet::new() }
    }

    /// The request asks for this; what the table says becomes of it is noted.
    pub fn meet(&mut self, feature: Feature) {
        let support = feature.support(self.target);
        if support != Support::Native {
            self.found.insert((feature, support));
        }
    }

    /// The request asks for this, and something near is asked for in its place.
    pub fn approximate(&mut self, feature: Feature) {
        self.found.insert((feature, Support::Approximated));
    }

    /// The request has this block or field, which is left out.
    pub fn drop(&mut self, feature: Feature) {
        self.found.insert((feature, Support::Dropped));
    }

    /// Whether nothing is lost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// What is lost, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Feature, Support)> {
        self.found.iter().map(|(feature, support)| (feature, *support))
    }
}

/// For a header: `cache_control=dropped, top_k=dropped`. Names of fields and blocks that are no plain words are written `?`.
impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (feature, support)) in self.found.iter().enumerate() {
            let word = feature.word();
            let is_plain =
                word.len() <= 64 && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
            let (comma, word) = (if at == 0 { "" } else { ", " }, if is_plain { word } else { "?" });
            write!(f, "{comma}{word}={}", support.word())?;
        }
        Ok(())
    }
}
