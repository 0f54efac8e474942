//! `usage`: its counters exclude each other, as the hub's do.

use serde::{Deserialize, Serialize};

use crate::{
    hub::Usage,
    meter::{COUNT_MAX, Counters},
};

/// `usage`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireUsage {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
    cache_read_input_tokens: u64,
    cache_write_input_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cache_details: Vec<WireWritten>,
}

/// What was written to the cache for that time.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct WireWritten {
    ttl: String,
    input_tokens: u64,
}

// === impl WireUsage ===

impl WireUsage {
    /// Reads the counters. What was written to the cache and is not told apart was written for five minutes.
    pub(super) fn read(&self) -> Usage {
        let for_an_hour = self.cache_details.iter().filter(|written| written.ttl == "1h");
        let cache_write_1h = for_an_hour.map(|written| written.input_tokens).fold(0, u64::saturating_add);
        let counters = Counters {
            input: self.input_tokens.min(COUNT_MAX),
            output: self.output_tokens.min(COUNT_MAX),
            cache_read: self.cache_read_input_tokens.min(COUNT_MAX),
            cache_write_5m: self.cache_write_input_tokens.saturating_sub(cache_write_1h).min(COUNT_MAX),
            cache_write_1h: cache_write_1h.min(COUNT_MAX),
            web_searches: 0,
        };
        Usage { counters, thinking: None }
    }

    /// Writes the counters.
    pub(super) fn of(usage: &Usage) -> Self {
        let Counters { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches: _ } = usage.counters;
        let written = |ttl: &str, input_tokens| WireWritten { ttl: ttl.to_owned(), input_tokens };
        let cache_details = [written("1h", cache_write_1h), written("5m", cache_write_5m)];
        let cache_write_input_tokens = cache_write_5m.saturating_add(cache_write_1h);
        let all = [input, output, cache_read, cache_write_input_tokens];
        Self {
            input_tokens: input,
            output_tokens: output,
            total_tokens: all.into_iter().fold(0, u64::saturating_add),
            cache_read_input_tokens: cache_read,
            cache_write_input_tokens,
            cache_details: cache_details.into_iter().filter(|written| written.input_tokens > 0).collect(),
        }
    }
}
