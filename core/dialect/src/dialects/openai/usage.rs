//! `usage`, as OpenAI and the vendors of its dialect have it: what the cache served is a part of the prompt.
//!
//! Read without trust: a counter that is not what it should be counts as absent.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{
    hub::Usage,
    meter::{COUNT_MAX, Counters},
};

/// `usage` of Chat Completions and of embeddings, as it arrives.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireUsage {
    #[serde(deserialize_with = "count")]
    prompt_tokens: Option<u64>,
    #[serde(deserialize_with = "count")]
    completion_tokens: Option<u64>,
    #[serde(deserialize_with = "count")]
    total_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
    /// DeepSeek.
    #[serde(deserialize_with = "count")]
    prompt_cache_hit_tokens: Option<u64>,
    /// Moonshot.
    #[serde(deserialize_with = "count")]
    cached_tokens: Option<u64>,
    /// OpenRouter.
    server_tool_use: Option<ServerTools>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    #[serde(deserialize_with = "count")]
    cached_tokens: Option<u64>,
    /// OpenRouter.
    #[serde(deserialize_with = "count")]
    cache_write_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct CompletionDetails {
    #[serde(deserialize_with = "count")]
    reasoning_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct ServerTools {
    #[serde(deserialize_with = "count")]
    web_search_requests: Option<u64>,
}

/// `usage`, as it is written.
#[derive(Debug, Serialize)]
pub(super) struct Billed {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: BilledPrompt,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<BilledCompletion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_tool_use: Option<BilledTools>,
}

#[derive(Debug, Serialize)]
struct BilledPrompt {
    cached_tokens: u64,
    #[serde(skip_serializing_if = "is_nothing")]
    cache_write_tokens: u64,
}

#[derive(Debug, Serialize)]
struct BilledCompletion {
    reasoning_tokens: u64,
}

#[derive(Debug, Serialize)]
struct BilledTools {
    web_search_requests: u64,
}

// === impl WireUsage ===

impl WireUsage {
    /// The hub's counters, which exclude each other. Where only the total is told, it is all input, as with embeddings.
    pub(super) fn usage(&self) -> Usage {
        let prompt = self.prompt_tokens_details.unwrap_or_default();
        let cached = prompt.cached_tokens.or(self.prompt_cache_hit_tokens).or(self.cached_tokens).unwrap_or_default();
        let written = prompt.cache_write_tokens.unwrap_or_default();
        let output = self.completion_tokens.unwrap_or_default();
        let input = self.prompt_tokens.or(self.total_tokens.map(|total| total.saturating_sub(output)));
        let counters = Counters {
            input: input.unwrap_or_default().saturating_sub(cached).saturating_sub(written),
            output,
            cache_read: cached,
            cache_write_5m: written,
            cache_write_1h: 0,
            web_searches: self.server_tool_use.unwrap_or_default().web_search_requests.unwrap_or_default(),
        };
        Usage { counters, thinking: self.completion_tokens_details.unwrap_or_default().reasoning_tokens }
    }
}

// === impl Billed ===

impl Billed {
    /// Writes what was used.
    pub(super) fn of(usage: &Usage) -> Self {
        let Usage { counters, thinking } = *usage;
        let Counters { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches } = counters;
        let written = cache_write_5m.saturating_add(cache_write_1h);
        let prompt = input.saturating_add(cache_read).saturating_add(written);
        Self {
            prompt_tokens: prompt,
            completion_tokens: output,
            total_tokens: prompt.saturating_add(output),
            prompt_tokens_details: BilledPrompt { cached_tokens: cache_read, cache_write_tokens: written },
            completion_tokens_details: thinking.map(|reasoning_tokens| BilledCompletion { reasoning_tokens }),
            server_tool_use: (web_searches > 0).then_some(BilledTools { web_search_requests: web_searches }),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_nothing(count: &u64) -> bool {
    *count == 0
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_u64().filter(|count| *count <= COUNT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Usage {
        serde_json::from_str::<WireUsage>(text).unwrap().usage()
    }

    #[test]
    fn what_the_cache_served_is_taken_out_of_the_prompt_and_put_back() {
        for (text, input, cache_read, cache_write_5m, thinking) in [
            (r#"{"prompt_tokens":100,"completion_tokens":7}"#, 100, 0, 0, None),
            (r#"{"prompt_tokens":100,"prompt_tokens_details":{"cached_tokens":64}}"#, 36, 64, 0, None),
            (r#"{"prompt_tokens":100,"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}"#, 36, 64, 0, None),
            (r#"{"prompt_tokens":100,"cached_tokens":64}"#, 36, 64, 0, None),
            (r#"{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":64}}"#, 0, 64, 0, None),
            (
                r#"{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":3,"cache_write_tokens":4}}"#,
                2,
                3,
                4,
                None,
            ),
            (r#"{"prompt_tokens":9,"completion_tokens_details":{"reasoning_tokens":5}}"#, 9, 0, 0, Some(5)),
            (r#"{"prompt_tokens":"9","completion_tokens":-1,"prompt_tokens_details":null}"#, 0, 0, 0, None),
            (r#"{"total_tokens":12}"#, 12, 0, 0, None),
            (r#"{"prompt_tokens":18446744073709551615}"#, 0, 0, 0, None),
        ] {
            let usage = read(text);
            let Counters { input: found, cache_read: read_back, cache_write_5m: written, .. } = usage.counters;
            assert_eq!(
                (found, read_back, written, usage.thinking),
                (input, cache_read, cache_write_5m, thinking),
                "{text}"
            );
            assert_eq!(read(&serde_json::to_string(&Billed::of(&usage)).unwrap()), usage, "{text}");
        }
    }
}
