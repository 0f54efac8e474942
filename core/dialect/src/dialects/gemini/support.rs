//! What `generateContent` can express of the hub.

use crate::hub::{Feature, Support};

/// How the API has a feature.
#[must_use]
pub const fn support(feature: &Feature) -> Support {
    match feature {
        // Instructions in the middle are a user's text; a strict tool is the mode in which every call keeps its schema.
        Feature::MidConversationSystem | Feature::StrictTools => Support::Approximated,
        // The API caches by itself.
        Feature::CacheControl
        | Feature::CacheHour
        | Feature::DocumentCitations
        | Feature::Citations
        | Feature::File
        | Feature::ParallelTools
        | Feature::ForeignThinking
        | Feature::HostedTool
        | Feature::User
        | Feature::Block(_)
        | Feature::Field(_) => Support::Dropped,
        _ => Support::Native,
    }
}
