//! What the Messages API can express of the hub.
//!
//! Nothing is cached here that is not marked. The conversation of an agent whose own provider caches unasked (OpenAI, Gemini) gets two
//! marks, behind the instructions or tools and behind what the user said last; no loss is counted for it. An effort without a word
//! about thinking means that the model thinks, as it does with those who have no other word.

use crate::hub::{Feature, Support};

/// How the API has a feature.
#[must_use]
pub const fn support(feature: &Feature) -> Support {
    match feature {
        // Instructions say it, or the nearest value that the API takes.
        Feature::JsonFormat | Feature::HighTemperature => Support::Approximated,
        Feature::Audio
        | Feature::Video
        | Feature::Seed
        | Feature::Penalties
        | Feature::ForeignThinking
        | Feature::HostedTool
        | Feature::Block(_)
        | Feature::Field(_) => Support::Dropped,
        _ => Support::Native,
    }
}
