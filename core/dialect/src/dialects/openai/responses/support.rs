//! What the Responses API can express of the hub.

use crate::hub::{Feature, Support};

/// How the API has a feature.
#[must_use]
pub const fn support(feature: &Feature) -> Support {
    match feature {
        // A word ahead of the result; a document's text as text; the nearest effort; the API's own search; marks without the place.
        Feature::ToolError
        | Feature::DocumentText
        | Feature::ThinkingBudget
        | Feature::ThinkingAdaptive
        | Feature::WebSearch
        | Feature::Citations => Support::Approximated,
        // Caching needs no marks here: whatever a prompt begins with is cached.
        Feature::CacheControl
        | Feature::CacheHour
        | Feature::DocumentCitations
        | Feature::Audio
        | Feature::Video
        | Feature::File
        | Feature::ForeignThinking
        | Feature::TopK
        | Feature::Seed
        | Feature::Penalties
        | Feature::StopSequences
        | Feature::HostedTool
        | Feature::Block(_)
        | Feature::Field(_) => Support::Dropped,
        _ => Support::Native,
    }
}
