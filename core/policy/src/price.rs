//! What tokens cost, and the most that a request can cost.

use crate::{money::NanoUsd, usage::Tokens};

/// The prices of one tier, each for a million tokens.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rates {
    /// Input that no cache served.
    pub input: NanoUsd,
    /// Output, hidden reasoning included.
    pub output: NanoUsd,
    /// Input read from a cache.
    pub cache_read: NanoUsd,
    /// Input written to a five-minute cache.
    pub cache_write_5m: NanoUsd,
    /// Input written to a one-hour cache.
    pub cache_write_1h: NanoUsd,
}

/// The prices of a model.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Price {
    /// What holds ordinarily.
    pub rates: Rates,
    /// What holds for the whole request when its input, cached tokens included, exceeds so many tokens.
    pub long_context: Option<(u64, Rates)>,
    /// One web search by the provider's own tool.
    pub web_search: NanoUsd,
}

/// What bounds the cost of a request before it runs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Extent {
    /// The length of the request's body in bytes. No tokenizer with byte fallback makes more tokens than bytes.
    pub body_bytes: u64,
    /// The model's context window in tokens; 0 when unknown.
    pub context_window: u64,
    /// The most output tokens that the request allows, or the model's maximum.
    pub output_tokens_max: u64,
}

impl Rates {
    fn dearest_input(&self) -> NanoUsd {
        self.input.max(self.cache_read).max(self.cache_write_5m).max(self.cache_write_1h)
    }

    fn dearest(&self, other: &Self) -> Self {
        Self {
            input: self.input.max(other.input),
            output: self.output.max(other.output),
            cache_read: self.cache_read.max(other.cache_read),
            cache_write_5m: self.cache_write_5m.max(other.cache_write_5m),
            cache_write_1h: self.cache_write_1h.max(other.cache_write_1h),
        }
    }
}

impl Price {
    /// What the metered tokens cost. Each priced line is rounded up.
    #[must_use]
    pub fn cost(&self, tokens: &Tokens) -> NanoUsd {
        let rates = match &self.long_context {
            Some((threshold, long)) if tokens.input_total() > *threshold => long,
            _ => &self.rates,
        };
        [
            NanoUsd::priced(tokens.input, rates.input),
            NanoUsd::priced(tokens.output, rates.output),
            NanoUsd::priced(tokens.cache_read, rates.cache_read),
            NanoUsd::priced(tokens.cache_write_5m, rates.cache_write_5m),
            NanoUsd::priced(tokens.cache_write_1h, rates.cache_write_1h),
            NanoUsd::priced(tokens.web_searches.saturating_mul(1_000_000), self.web_search),
        ]
        .into_iter()
        .sum()
    }

    /// The most that a request of this extent can cost: every input token at the dearest input price that may apply.
    #[must_use]
    pub fn bound(&self, extent: &Extent) -> NanoUsd {
        let input = match extent.context_window {
            0 => extent.body_bytes,
            window => extent.body_bytes.min(window),
        };
        let rates = match &self.long_context {
            Some((threshold, long)) if input > *threshold => self.rates.dearest(long),
            _ => self.rates,
        };
        NanoUsd::priced(input, rates.dearest_input()).plus(NanoUsd::priced(extent.output_tokens_max, rates.output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sonnet() -> Price {
        let rates = |input: i64, output: i64| Rates {
            input: NanoUsd::new(input),
            output: NanoUsd::new(output),
            cache_read: NanoUsd::new(input / 10),
            cache_write_5m: NanoUsd::new(input / 4 * 5),
            cache_write_1h: NanoUsd::new(input * 2),
        };
        Price {
            rates: rates(3_000_000_000, 15_000_000_000),
            long_context: Some((200_000, rates(6_000_000_000, 22_500_000_000))),
            web_search: NanoUsd::new(10_000_000),
        }
    }

    #[test]
    fn each_counter_has_its_own_price() {
        for (tokens, dollars) in [
            (Tokens { input: 1_000, output: 100, ..Tokens::default() }, "0.0045"),
            (Tokens { cache_read: 10_000, ..Tokens::default() }, "0.003"),
            (Tokens { cache_write_5m: 1_000, ..Tokens::default() }, "0.00375"),
            (Tokens { cache_write_1h: 1_000, ..Tokens::default() }, "0.006"),
            (Tokens { web_searches: 3, ..Tokens::default() }, "0.03"),
            (Tokens { input: 100_000, cache_read: 100_001, ..Tokens::default() }, "0.6600006"),
        ] {
            assert_eq!(sonnet().cost(&tokens).to_string(), dollars, "{tokens:?}");
        }
    }

    #[test]
    fn the_bound_takes_the_dearest_input_price() {
        let extent = Extent { body_bytes: 1_000, context_window: 200_000, output_tokens_max: 100 };
        assert_eq!(sonnet().bound(&extent).to_string(), "0.0075");
        let capped = Extent { body_bytes: 10_000_000, context_window: 1_000_000, output_tokens_max: 0 };
        assert_eq!(sonnet().bound(&capped).to_string(), "12");
    }
}
