//! What Chat Completions can express of the hub.

use crate::hub::{Feature, Support};

/// How the API has a feature.
#[must_use]
pub const fn support(feature: &Feature) -> Support {
    match feature {
        // A link or the text itself; a word ahead of the result; a message behind the results; the nearest effort.
        Feature::DocumentUrl
        | Feature::DocumentText
        | Feature::ToolError
        | Feature::ToolResultImage
        | Feature::ToolResultDocument
        | Feature::ThinkingBudget
        | Feature::ThinkingAdaptive => Support::Approximated,
        // The API caches by itself.
        Feature::CacheControl
        | Feature::CacheHour
        | Feature::DocumentCitations
        | Feature::Video
        | Feature::File
        | Feature::Citations
        | Feature::WebSearch
        | Feature::HostedTool
        | Feature::ForeignThinking
        | Feature::ThinkingShown
        | Feature::TopK
        | Feature::Block(_)
        | Feature::Field(_) => Support::Dropped,
        _ => Support::Native,
    }
}
