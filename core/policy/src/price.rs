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
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Extent {
    /// The bytes of the request's body that may be text to the model. No tokenizer with byte fallback makes more tokens than bytes.
    pub body_bytes: u64,
    /// Tokens of input that the bytes do not show: images, the provider's own prompts.
    pub hidden_tokens: u64,
    /// The input holds what only the provider can size: up to the whole context window.
    pub is_unresolvable: bool,
    /// How often the provider may run the model within the request; at least 1.
    pub samples: u64,
    /// How many searches may be billed.
    pub web_searches: u64,
    /// Input may be written to a five-minute cache.
    pub cache_write_5m: bool,
    /// Input may be written to a one-hour cache.
    pub cache_write_1h: bool,
    /// The model's context window in tokens; 0 when unknown.
    pub context_window: u64,
    /// The most output tokens of one run of the model, or the model's maximum; 0 when unknown: then up to the context window.
    pub output_tokens_max: u64,
}

/// The context window that is assumed where it is unknown and matters, in tokens: twice the largest of today.
pub const CONTEXT_WINDOW_ASSUMED: u64 = 2_000_000;

/// By how many nano-dollars the four lines of input, each rounded up, may exceed their sum rounded up.
const ROUNDING: NanoUsd = NanoUsd::new(3);

impl Default for Extent {
    /// An empty request of which nothing is known: it may write to every cache, and answer up to the context window.
    fn default() -> Self {
        Self {
            body_bytes: 0,
            hidden_tokens: 0,
            is_unresolvable: false,
            samples: 1,
            web_searches: 0,
            cache_write_5m: true,
            cache_write_1h: true,
            context_window: 0,
            output_tokens_max: 0,
        }
    }
}

impl Extent {
    /// The most tokens of output of one run of the model.
    #[must_use]
    pub fn output_tokens_once(&self) -> u64 {
        self.output_once((self.context_window > 0).then_some(self.context_window))
    }

    /// Whether the input that is told when the answer begins is all that is billed: the model runs once.
    #[must_use]
    pub const fn input_is_told(&self) -> bool {
        self.samples <= 1
    }

    // In a window of this many tokens, or an unknown one. What one run of the model writes, the next one reads.
    fn input_tokens(&self, window: Option<u64>) -> u64 {
        let shown = self.body_bytes.saturating_add(self.hidden_tokens);
        let written = self.output_once(window).saturating_mul(self.samples.saturating_sub(1));
        let read = match self.is_unresolvable {
            true => shown.max(CONTEXT_WINDOW_ASSUMED),
            false => shown.saturating_add(written),
        };
        let most = match window {
            Some(window) if self.is_unresolvable => window,
            Some(window) => read.min(window),
            None => read,
        };
        most.saturating_mul(self.samples.max(1))
    }

    fn output_tokens(&self, window: Option<u64>) -> u64 {
        self.output_once(window).saturating_mul(self.samples.max(1))
    }

    fn output_once(&self, window: Option<u64>) -> u64 {
        match (self.output_tokens_max, window) {
            (0, window) => window.unwrap_or(CONTEXT_WINDOW_ASSUMED),
            (most, window) => most.min(window.unwrap_or(u64::MAX)),
        }
    }
}

impl Rates {
    fn dearest_input(&self, extent: &Extent) -> NanoUsd {
        let write_5m = if extent.cache_write_5m { self.cache_write_5m } else { NanoUsd::ZERO };
        let write_1h = if extent.cache_write_1h { self.cache_write_1h } else { NanoUsd::ZERO };
        self.input.max(self.cache_read).max(write_5m).max(write_1h)
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

    fn at_percent(&self, percent: u64) -> Self {
        let scale = |rate: NanoUsd| NanoUsd::priced(percent.saturating_mul(10_000), rate);
        Self {
            input: scale(self.input),
            output: scale(self.output),
            cache_read: scale(self.cache_read),
            cache_write_5m: scale(self.cache_write_5m),
            cache_write_1h: scale(self.cache_write_1h),
        }
    }
}

impl Price {
    /// These prices for a service that costs so many percent of them: a faster one, or one in a region. Each is rounded up. The fee for
    /// a search stays as it is. What a request is bounded with is what it must be charged with.
    #[must_use]
    pub fn at_percent(&self, percent: u64) -> Self {
        Self {
            rates: self.rates.at_percent(percent),
            long_context: self.long_context.map(|(threshold, rates)| (threshold, rates.at_percent(percent))),
            web_search: self.web_search,
        }
    }

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
            self.searches(tokens.web_searches),
        ]
        .into_iter()
        .sum()
    }

    /// The most that a request of this extent can cost, searches included: every token of input at the dearest price that may apply.
    #[must_use]
    pub fn bound(&self, extent: &Extent) -> NanoUsd {
        let output = extent.output_tokens(self.window(extent));
        self.bound_input(extent).plus(NanoUsd::priced(output, self.rates_for(extent).output))
    }

    /// The most that a request of this extent can cost but for its output: what is owed before the first word of the answer.
    #[must_use]
    pub fn bound_input(&self, extent: &Extent) -> NanoUsd {
        let rate = self.rates_for(extent).dearest_input(extent);
        let rounding = if rate > NanoUsd::ZERO { ROUNDING } else { NanoUsd::ZERO };
        let tokens = extent.input_tokens(self.window(extent));
        NanoUsd::priced(tokens, rate).plus(rounding).plus(self.searches(extent.web_searches))
    }

    /// The most that so many tokens of output can cost, whatever the input. Slices that are priced one by one come to no less than
    /// the whole.
    #[must_use]
    pub fn output(&self, tokens: u64) -> NanoUsd {
        let dearest = self.long_context.map_or(self.rates, |(_, long)| self.rates.dearest(&long));
        NanoUsd::priced(tokens, dearest.output)
    }

    fn searches(&self, count: u64) -> NanoUsd {
        NanoUsd::priced(count.saturating_mul(1_000_000), self.web_search)
    }

    // The dearest of each that may hold for the request.
    fn rates_for(&self, extent: &Extent) -> Rates {
        match &self.long_context {
            Some((threshold, long)) if extent.input_tokens(self.window(extent)) > *threshold => {
                self.rates.dearest(long)
            }
            _ => self.rates,
        }
    }

    // A window that ends before the prices of a longer input begin is not the largest that the model has.
    fn window(&self, extent: &Extent) -> Option<u64> {
        let reaches = self.long_context.is_none_or(|(threshold, _)| extent.context_window > threshold);
        (extent.context_window > 0 && reaches).then_some(extent.context_window)
    }
}

#[cfg(test)]
mod tests;
