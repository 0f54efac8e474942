//! `usageMetadata`, both ways: cached input is part of the prompt here, and thinking is no part of the candidates.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    hub::Usage,
    meter::{COUNT_MAX, Counters},
};

/// What the API counts. In a stream each chunk tells the totals so far.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireUsage {
    #[serde(alias = "prompt_token_count", deserialize_with = "count")]
    prompt_token_count: Option<u64>,
    #[serde(alias = "cached_content_token_count", deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    cached_content_token_count: Option<u64>,
    #[serde(alias = "candidates_token_count", deserialize_with = "count")]
    candidates_token_count: Option<u64>,
    #[serde(alias = "thoughts_token_count", deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    thoughts_token_count: Option<u64>,
    #[serde(
        alias = "tool_use_prompt_token_count",
        deserialize_with = "count",
        skip_serializing_if = "Option::is_none"
    )]
    tool_use_prompt_token_count: Option<u64>,
    #[serde(alias = "total_token_count", deserialize_with = "count")]
    total_token_count: Option<u64>,
}

// A number that nobody can mean is none.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(number.as_ref().and_then(serde_json::Value::as_u64).filter(|count| *count <= COUNT_MAX))
}

impl WireUsage {
    /// Takes what a later chunk tells.
    pub(super) fn take(&mut self, later: Self) {
        let Self {
            prompt_token_count,
            cached_content_token_count,
            candidates_token_count,
            thoughts_token_count,
            tool_use_prompt_token_count,
            total_token_count,
        } = later;
        self.prompt_token_count = prompt_token_count.or(self.prompt_token_count);
        self.cached_content_token_count = cached_content_token_count.or(self.cached_content_token_count);
        self.candidates_token_count = candidates_token_count.or(self.candidates_token_count);
        self.thoughts_token_count = thoughts_token_count.or(self.thoughts_token_count);
        self.tool_use_prompt_token_count = tool_use_prompt_token_count.or(self.tool_use_prompt_token_count);
        self.total_token_count = total_token_count.or(self.total_token_count);
    }

    /// The hub's usage, with so many searches of the web.
    pub(super) fn usage(&self, web_searches: u64) -> Usage {
        let told = |count: Option<u64>| count.unwrap_or_default();
        let cache_read = told(self.cached_content_token_count);
        // What tools of the provider found is input too.
        let prompt = told(self.prompt_token_count).saturating_add(told(self.tool_use_prompt_token_count));
        let counters = Counters {
            input: prompt.saturating_sub(cache_read),
            output: told(self.candidates_token_count).saturating_add(told(self.thoughts_token_count)),
            cache_read,
            web_searches,
            ..Counters::default()
        };
        Usage { counters, thinking: self.thoughts_token_count }
    }

    /// Writes the hub's usage.
    pub(super) fn of(usage: &Usage) -> Self {
        let Counters { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches: _ } = usage.counters;
        let prompt = [cache_read, cache_write_5m, cache_write_1h].into_iter().fold(input, u64::saturating_add);
        Self {
            prompt_token_count: Some(prompt),
            cached_content_token_count: Some(cache_read).filter(|count| *count > 0),
            candidates_token_count: Some(output.saturating_sub(usage.thinking.unwrap_or_default())),
            thoughts_token_count: usage.thinking,
            tool_use_prompt_token_count: None,
            total_token_count: Some(prompt.saturating_add(output)),
        }
    }
}
