//! The `usage` object, read without trust: a field that is not what it should be counts as absent.

use crate::meter::{COUNT_MAX, Counters};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::fmt;

/// The `usage` object as it arrives, in one event or answer.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    input_tokens: Loose<u64>,
    output_tokens: Loose<u64>,
    cache_read_input_tokens: Loose<u64>,
    cache_creation_input_tokens: Loose<u64>,
    cache_creation: Option<CacheCreation>,
    output_tokens_details: Option<OutputDetails>,
    server_tool_use: Option<ServerToolUse>,
    iterations: Iterations,
}

/// The sums over the runs of the model that a request came to, where it came to more than one. What a run was billed that was not
/// the last, such as the summary of a long conversation, stands only here.
#[derive(Clone, Copy, Debug, Default)]
struct Iterations {
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct CacheCreation {
    ephemeral_5m_input_tokens: Loose<u64>,
    ephemeral_1h_input_tokens: Loose<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    thinking_tokens: Loose<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct ServerToolUse {
    web_search_requests: Loose<u64>,
}

/// The latest of each counter of a `usage` object, over all events of an answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Latest {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    /// Written to the cache for whatever time.
    cache_write: Option<u64>,
    cache_write_5m: Option<u64>,
    cache_write_1h: Option<u64>,
    web_searches: Option<u64>,
    /// Of the output.
    thinking: Option<u64>,
}

impl Latest {
    /// Takes what a later event says; what it leaves out stays.
    pub(super) fn take(&mut self, usage: Usage) {
        let cache = usage.cache_creation.unwrap_or_default();
        let tools = usage.server_tool_use.unwrap_or_default();
        self.input = usage.input_tokens.0.or(self.input);
        self.output = usage.output_tokens.0.or(self.output);
        self.cache_read = usage.cache_read_input_tokens.0.or(self.cache_read);
        self.cache_write = usage.cache_creation_input_tokens.0.or(self.cache_write);
        self.cache_write_5m = cache.ephemeral_5m_input_tokens.0.or(self.cache_write_5m);
        self.cache_write_1h = cache.ephemeral_1h_input_tokens.0.or(self.cache_write_1h);
        self.thinking = usage.output_tokens_details.and_then(|details| details.thinking_tokens.0).or(self.thinking);
        self.web_searches = tools.web_search_requests.0.or(self.web_searches);
        // The totals may or may not hold what the runs came to: the larger one is billed.
        let runs = usage.iterations;
        for (total, sum) in [
            (&mut self.input, runs.input),
            (&mut self.output, runs.output),
            (&mut self.cache_read, runs.cache_read),
            (&mut self.cache_write, runs.cache_write),
        ] {
            if sum > total.unwrap_or_default() {
                *total = Some(sum);
            }
        }
    }

    /// What the hub is told.
    pub(super) fn usage(&self) -> crate::hub::Usage {
        crate::hub::Usage { counters: self.counters(), thinking: self.thinking }
    }

    /// The counters to bill. What was written to the cache and is not told apart was written for five minutes.
    pub(super) fn counters(&self) -> Counters {
        let for_an_hour = self.cache_write_1h.unwrap_or_default();
        let undivided = self.cache_write.unwrap_or_default().saturating_sub(for_an_hour);
        Counters {
            input: self.input.unwrap_or_default(),
            output: self.output.unwrap_or_default(),
            cache_read: self.cache_read.unwrap_or_default(),
            cache_write_5m: self.cache_write_5m.unwrap_or_default().max(undivided),
            cache_write_1h: for_an_hour,
            web_searches: self.web_searches.unwrap_or_default(),
        }
    }
}

/// A value that is `None` wherever it is missing, null, of another type, or out of range.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loose<T>(pub(super) Option<T>);

// === impl Loose ===

impl<'de> Deserialize<'de> for Loose<u64> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whatever).map(|found| match found {
            Found::Count(count) if count <= COUNT_MAX => Self(Some(count)),
            _ => Self(None),
        })
    }
}

impl<'de> Deserialize<'de> for Loose<String> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whatever).map(|found| match found {
            Found::Text(text) => Self(Some(text)),
            _ => Self(None),
        })
    }
}

/// What a value turned out to be.
enum Found {
    Count(u64),
    Text(String),
    Other,
}

/// The longest text that is kept: names of models, types of errors.
const TEXT_BYTES_MAX: usize = 256;

struct Whatever;

impl<'de> Visitor<'de> for Whatever {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_u64<E>(self, count: u64) -> Result<Found, E> {
        Ok(Found::Count(count))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(Found::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Found::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(Found::Other)
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        Ok(if text.len() <= TEXT_BYTES_MAX { Found::Text(text.to_owned()) } else { Found::Other })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Found::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Found, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::Other)
    }
}

/// One run, with whatever it has.
struct Run(Iterations);

struct Runs;

struct OneRun;

impl<'de> Deserialize<'de> for Iterations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Runs)
    }
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneRun).map(Self)
    }
}

/// What is neither a list nor an object counts nothing.
macro_rules! nothing {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("anything")
        }

        fn visit_u64<E>(self, _: u64) -> Result<Iterations, E> {
            Ok(Iterations::default())
        }

        fn visit_i64<E>(self, _: i64) -> Result<Iterations, E> {
            Ok(Iterations::default())
        }

        fn visit_f64<E>(self, _: f64) -> Result<Iterations, E> {
            Ok(Iterations::default())
        }

        fn visit_bool<E>(self, _: bool) -> Result<Iterations, E> {
            Ok(Iterations::default())
        }

        fn visit_unit<E>(self) -> Result<Iterations, E> {
            Ok(Iterations::default())
        }

        fn visit_str<E>(self, _: &str) -> Result<Iterations, E> {
            Ok(Iterations::default())
        }
    };
}

impl<'de> Visitor<'de> for Runs {
    type Value = Iterations;

    nothing!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Iterations, A::Error> {
        let mut sum = Iterations::default();
        while let Some(Run(run)) = seq.next_element()? {
            sum.input = sum.input.saturating_add(run.input);
            sum.output = sum.output.saturating_add(run.output);
            sum.cache_read = sum.cache_read.saturating_add(run.cache_read);
            sum.cache_write = sum.cache_write.saturating_add(run.cache_write);
        }
        Ok(sum)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Iterations, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Iterations::default())
    }
}

impl<'de> Visitor<'de> for OneRun {
    type Value = Iterations;

    nothing!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Iterations, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Iterations::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Iterations, A::Error> {
        let mut run = Iterations::default();
        while let Some(name) = map.next_key::<String>()? {
            let counter = match name.as_str() {
                "input_tokens" => &mut run.input,
                "output_tokens" => &mut run.output,
                "cache_read_input_tokens" => &mut run.cache_read,
                "cache_creation_input_tokens" => &mut run.cache_write,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *counter = map.next_value::<Loose<u64>>()?.0.unwrap_or_default();
        }
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_runs_tell_is_billed_and_nothing_else_about_them_matters() {
        for (text, input, output, cache_write) in [
            (r#"{"input_tokens":5,"output_tokens":7}"#, 5, 7, 0),
            (
                r#"{"input_tokens":5,"output_tokens":7,"iterations":[{"type":"compaction","input_tokens":90,"output_tokens":30},
                    {"type":"message","input_tokens":5,"output_tokens":7,"cache_creation_input_tokens":4}]}"#,
                95,
                37,
                4,
            ),
            (
                r#"{"input_tokens":500,"output_tokens":7,"iterations":[{"input_tokens":5,"output_tokens":7}]}"#,
                500,
                7,
                0,
            ),
            (r#"{"input_tokens":5,"output_tokens":7,"iterations":null}"#, 5, 7, 0),
            (r#"{"input_tokens":5,"output_tokens":7,"iterations":{"input_tokens":9}}"#, 5, 7, 0),
            (r#"{"input_tokens":5,"output_tokens":7,"iterations":[3,"x",[],{"input_tokens":"y"},null]}"#, 5, 7, 0),
        ] {
            let mut latest = Latest::default();
            latest.take(serde_json::from_str(text).unwrap());
            let counters = latest.counters();
            assert_eq!(
                (counters.input, counters.output, counters.cache_write_5m),
                (input, output, cache_write),
                "{text}"
            );
        }
    }
}
