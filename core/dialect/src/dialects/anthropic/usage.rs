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
    server_tool_use: Option<ServerToolUse>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct CacheCreation {
    ephemeral_5m_input_tokens: Loose<u64>,
    ephemeral_1h_input_tokens: Loose<u64>,
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
        self.web_searches = tools.web_search_requests.0.or(self.web_searches);
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
