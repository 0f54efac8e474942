//! Rate limits, and the limits of one agent session, as they are configured.

use crate::{money::NanoUsd, pattern::Patterns};

/// The most rate limits of one owner.
pub const LIMITS_MAX: usize = 16;
/// The longest span of a rate limit, in milliseconds: a day.
pub const SPAN_MS_MAX: u64 = 24 * 3_600_000;

/// What a rate limit counts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Measure {
    /// Requests that are admitted.
    Requests,
    /// Tokens, input and output, cached ones included.
    Tokens,
    /// Requests that are open at the same time.
    Parallel,
}

/// A rate limit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateLimit {
    /// What it counts.
    pub measure: Measure,
    /// How many, at least 1.
    pub amount: u64,
    /// In how many milliseconds, at most [`SPAN_MS_MAX`]; 0 for [`Measure::Parallel`].
    pub span_ms: u64,
    /// The models that it covers, by the name that was asked for.
    pub models: Patterns,
}

/// What one agent session may do: a stop for an agent that runs in circles.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SessionLimit {
    /// The most that it may spend.
    pub dollars: Option<NanoUsd>,
    /// The most requests that it may make.
    pub requests: Option<u64>,
    /// So often the same request may be repeated in a row.
    pub repeats: Option<u32>,
    /// What happens then.
    pub action: RunawayAction,
}

/// What happens to a session that has reached its limit.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum RunawayAction {
    /// Its requests are refused.
    #[default]
    Refuse,
    /// Its requests are refused for so many seconds, and then counted anew.
    Pause {
        /// For how long.
        seconds: u32,
    },
}

impl Measure {
    /// Every measure.
    pub const ALL: [Self; 3] = [Self::Requests, Self::Tokens, Self::Parallel];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Parallel => "parallel",
        }
    }

    /// What a word means.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.word() == word)
    }
}
