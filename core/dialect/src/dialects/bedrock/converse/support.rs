//! What the Converse API can express of the hub. What a single model lacks is told when a request for it is written.

use crate::hub::{Feature, Support};

/// How the API has a feature.
#[must_use]
pub const fn support(feature: &Feature) -> Support {
    match feature {
        // An instruction says it, or a link in the text, or the nearest value that the API takes. Instructions in the middle are
        // as they were for models of Anthropic's, and the user's words for others.
        Feature::MidConversationSystem
        | Feature::ImageUrl
        | Feature::DocumentUrl
        | Feature::ToolChoiceNone
        | Feature::ParallelTools
        | Feature::HighTemperature
        | Feature::JsonFormat => Support::Approximated,
        Feature::File
        | Feature::WebSearch
        | Feature::HostedTool
        | Feature::ForeignThinking
        | Feature::Seed
        | Feature::Penalties
        | Feature::User
        | Feature::Block(_)
        | Feature::Field(_) => Support::Dropped,
        _ => Support::Native,
    }
}
