//! What an answer cost in tokens.

use crate::{
    dialects::{Dialect, anthropic},
    error::DecodeError,
    hub::Answer,
};

/// The largest count that is believed, a trillion: far beyond any answer, and safe to add up in 64 bits.
pub const COUNT_MAX: u64 = 1_000_000_000_000;

/// The billable counters of one answer.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Counters {
    /// Tokens of input that were neither read from nor written to the cache.
    pub input: u64,
    /// Tokens of output, thinking included.
    pub output: u64,
    /// Tokens of input read from the cache.
    pub cache_read: u64,
    /// Tokens of input written to the cache for five minutes.
    pub cache_write_5m: u64,
    /// Tokens of input written to the cache for an hour.
    pub cache_write_1h: u64,
    /// Web searches that the provider made.
    pub web_searches: u64,
}

/// What is known of an answer so far.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Metered {
    /// The latest of each counter. Where the answer is not final, the output is an estimate.
    pub counters: Counters,
    /// The model that the answer names.
    pub model: Option<String>,
    /// The counters are final: nothing that arrives later changes them. False for an answer that was cut before its end.
    pub is_final: bool,
    /// The answer arrived to its very end.
    pub complete: bool,
    /// The type of the error that the provider reported in place of an answer, or in the middle of one.
    pub failed: Option<String>,
}

/// Reads the counters of a whole answer of a dialect.
///
/// # Errors
/// When it is none of that dialect.
pub fn meter_answer(dialect: Dialect, body: &[u8]) -> Result<Metered, DecodeError> {
    match dialect {
        Dialect::Anthropic => anthropic::meter_answer(body).map_err(DecodeError::from),
        _ => dialect.decode_answer(body).map(|answer| Metered::of(&answer)),
    }
}

// === impl Metered ===

impl Metered {
    /// What a whole answer came to. One that tells no counters is not final.
    #[must_use]
    pub fn of(answer: &Answer<'_>) -> Self {
        let counters = answer.usage.counters;
        let model = Some(answer.model.to_string()).filter(|model| !model.is_empty());
        Self { counters, model, is_final: counters != Counters::default(), complete: true, failed: None }
    }
}

// === impl Counters ===

impl Counters {
    /// All of the input.
    #[must_use]
    pub const fn input_total(&self) -> u64 {
        let Self { input, output: _, cache_read, cache_write_5m, cache_write_1h, web_searches: _ } = *self;
        input.saturating_add(cache_read).saturating_add(cache_write_5m).saturating_add(cache_write_1h)
    }
}
