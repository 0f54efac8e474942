//! What the Messages API can express of the hub.

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
