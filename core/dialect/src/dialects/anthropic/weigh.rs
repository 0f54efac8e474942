//! What a request may cost, weighed in the same pass that probes it.
//!
//! A field that is missing, of the wrong type or given twice never makes a request lighter: the provider refuses it, or takes one of
//! the readings, and the costlier one is weighed. A block or a tool of a type that is not known here counts as one that cannot be
//! sized.
//!
//! What this takes for granted, and what an estimator's error would show to be wrong: a top-level field that is not known here comes to
//! no more than its bytes and [`PROMPT_TOKENS`], since clients gain such fields with every release; what is encrypted (`signature`,
//! `encrypted_content`) has no more tokens than bytes; and neither has JSON that the provider writes out again, such as schemas.

mod content;
mod tool;

use super::probe::Text;
use crate::weight::Weight;
use content::{Place, Sources};
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// The most tokens of an image, whatever its source: the provider resizes a larger one. The documented maximum is 4,784
/// (high-resolution models, 2,576 pixels on the long edge); the rest is for marks around it.
/// <https://platform.claude.com/docs/en/build-with-claude/vision>
pub const IMAGE_TOKENS: u64 = 5_000;

/// The most tokens of the provider's own prompts in a request with tools or anything else that may bring one. The documented prompts
/// for tool use have 264 to 804 tokens. <https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview#pricing>
pub const PROMPT_TOKENS: u64 = 4_096;

/// The same for a plain conversation: the provider does not bill what it adds there, and the marks at its ends are few.
pub const PLAIN_PROMPT_TOKENS: u64 = 64;

/// The most tokens of a tool that the provider defines and the client runs. Documented are 245 to 735, and 499 more for `computer`.
/// <https://platform.claude.com/docs/en/agents-and-tools/tool-use/computer-use-tool>
pub const CLIENT_TOOL_TOKENS: u64 = 2_048;

/// How often the provider runs the model for one request with tools of its own, before it pauses the turn: ten times, and once more
/// for the answer. A `max_uses` does not lower it: a use too many ends in an error that the model reads in a further run. Each run has the
/// whole `max_tokens` for itself. <https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons>
pub const LOOP_SAMPLES: u64 = 11;

/// How often the provider runs the model in place of once where it may summarise the conversation first, in each turn of its loop.
/// <https://platform.claude.com/docs/en/build-with-claude/compaction>
const COMPACTION_SAMPLES: u64 = 2;

/// How often a tool is taken to be used that has no `max_uses`: once in each run but the last.
pub const USES: u64 = 10;

/// How many models `fallbacks` can name beside the one that is asked.
/// <https://platform.claude.com/docs/en/build-with-claude/refusals-and-fallback>
pub const FALLBACKS_MAX: u64 = 3;

/// The fields that bring no prompt of the provider's own.
const PLAIN: [&str; 13] = [
    "model",
    "messages",
    "system",
    "max_tokens",
    "stream",
    "metadata",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "service_tier",
    "inference_geo",
    "cache_control",
];

/// What was found so far. All of it only grows.
#[derive(Debug, Default)]
pub(super) struct Scale<'a> {
    /// The whole body.
    text: &'a str,
    /// Those of the block that is being visited.
    sources: Sources,
    image_bytes: u64,
    images: u64,
    references: u64,
    deferred_bytes_max: u64,
    client_tools: u64,
    web_searches: u64,
    loops: bool,
    compacts: bool,
    falls_back: bool,
    prompts: bool,
    cache_write_5m: bool,
    cache_write_1h: bool,
    is_unresolvable: bool,
    is_fast: bool,
    is_regional: bool,
    thinks: bool,
    is_open_to_other_models: bool,
    is_open_to_any_uses: bool,
}

impl<'a> Scale<'a> {
    /// A scale for the object that this text is.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, ..Self::default() }
    }

    /// Weighs the value of one top-level field.
    pub(super) fn field<A: MapAccess<'a>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        self.prompts |= !PLAIN.contains(&name);
        let place = match name {
            "messages" => Place::Message,
            "system" => Place::Block,
            "tools" => Place::Tool,
            "cache_control" | "thinking" | "speed" | "inference_geo" | "fallbacks" | "compaction"
            | "context_management" | "mcp_servers" | "container" => {
                self.option(name, map.next_value()?);
                return Ok(());
            }
            _ => return map.next_value::<IgnoredAny>().map(|_| ()),
        };
        walk(self, map, name, place, 0)
    }

    /// What all of it comes to in a request for so many tokens of output.
    pub(super) fn weight(&self, max_tokens: Option<u64>) -> Weight {
        let images = self.images.saturating_mul(IMAGE_TOKENS);
        let repeated = self.references.saturating_mul(self.deferred_bytes_max);
        let tools = self.client_tools.saturating_mul(CLIENT_TOOL_TOKENS);
        let prompt = if self.prompts { PROMPT_TOKENS } else { PLAIN_PROMPT_TOKENS };
        let times = |more: bool, count: u64| if more { count } else { 1 };
        let samples = times(self.loops, LOOP_SAMPLES)
            * times(self.compacts, COMPACTION_SAMPLES)
            * times(self.falls_back, 1 + FALLBACKS_MAX);
        Weight {
            text_bytes: (self.text.len() as u64).saturating_sub(self.image_bytes),
            hidden_tokens: images.saturating_add(repeated).saturating_add(tools).saturating_add(prompt),
            images: self.images,
            is_unresolvable: self.is_unresolvable || self.loops,
            samples,
            web_searches: self.web_searches,
            // What the provider's own tools find may be cached without being asked for.
            cache_write_5m: self.cache_write_5m || self.loops,
            cache_write_1h: self.cache_write_1h,
            // A summary is not bound by the request's `max_tokens`, and a fallback may have its own.
            output_tokens: max_tokens.filter(|_| !self.compacts && !self.falls_back),
            is_fast: self.is_fast,
            is_regional: self.is_regional,
            is_output_hidden: self.thinks,
            is_open_to_other_models: self.is_open_to_other_models,
            is_open_to_any_uses: self.is_open_to_any_uses,
        }
    }

    fn option(&mut self, name: &str, value: &RawValue) {
        let is_empty = value.get().bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(*b"[]");
        let is_given = !is_empty && value.get() != "null";
        match name {
            "cache_control" => self.cache_control(value),
            "thinking" => self.thinks |= is_given && !is_disabled(value),
            "speed" => self.is_fast |= is_given && !is_word(value, &["standard"]),
            "inference_geo" => self.is_regional |= is_given && !is_word(value, &["global"]),
            "fallbacks" if is_given && !is_word(value, &["off"]) => {
                self.falls_back = true;
                self.is_open_to_other_models = true;
            }
            "compaction" => self.compacts |= is_given,
            "context_management" => self.compacts |= is_given && !only_clears(value),
            "mcp_servers" => self.loops |= is_given,
            // Files and skills that lie with the provider.
            "container" => self.is_unresolvable |= is_given,
            _ => {}
        }
    }

    /// Takes a mark that asks for a cache. A lifetime that is not known counts as an hour.
    fn cache_control(&mut self, value: &RawValue) {
        if value.get() == "null" {
            return;
        }
        self.cache_write_5m = true;
        let ttl = serde_json::from_str::<Lifetime<'_>>(value.get());
        self.cache_write_1h |= !ttl.is_ok_and(|mark| mark.ttl.is_none_or(|ttl| ttl.0 == "5m"));
    }
}

/// What a request of this weight costs at the named model, in percent of the model's prices for tokens. Fees of tools stay as
/// they are.
///
/// Fast mode costs twice as much at the models that are known to have it today; any other may cost the six times that were charged
/// once (<https://platform.claude.com/docs/en/build-with-claude/fast-mode>). A region costs a tenth more on top of it
/// (<https://platform.claude.com/docs/en/manage-claude/data-residency>). `service_tier` has no price of its own here: a priority tier is
/// paid by contract.
#[must_use]
pub fn price_percent(weight: &Weight, model: &str) -> u64 {
    const TWICE: [&str; 3] = ["claude-opus-5-5", "claude-opus-5", "claude-opus-4-8"];
    let is_dated = |rest: &str| rest.len() == 9 && rest.starts_with('-') && is_digits(rest.trim_start_matches('-'));
    let is_named = |name: &&str| model.strip_prefix(*name).is_some_and(|rest| rest.is_empty() || is_dated(rest));
    let speed = match weight.is_fast {
        false => 100,
        true if TWICE.iter().any(is_named) => 200,
        true => 600,
    };
    if weight.is_regional { speed / 10 * 11 } else { speed }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The text that a value is; none where it is something else.
fn word(value: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if quoted.bytes().all(|byte| byte != b'\\') {
        return Some(Cow::Borrowed(quoted));
    }
    serde_json::from_str(value.get()).ok().map(|Text(text)| text)
}

fn is_word(value: &RawValue, words: &[&str]) -> bool {
    word(value).is_some_and(|found| words.contains(&&*found))
}

/// Whether this is thinking that is switched off.
fn is_disabled(value: &RawValue) -> bool {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Thinking<'a> {
        #[serde(borrow, rename = "type")]
        kind: Text<'a>,
    }
    serde_json::from_str::<Thinking<'_>>(value.get()).is_ok_and(|thinking| thinking.kind.0 == "disabled")
}

/// Whether these edits only take away from the conversation, and summarise nothing.
fn only_clears(value: &RawValue) -> bool {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Management<'a> {
        #[serde(borrow, default)]
        edits: Vec<Edit<'a>>,
    }
    #[derive(Deserialize)]
    struct Edit<'a> {
        #[serde(borrow, rename = "type")]
        kind: Text<'a>,
    }
    serde_json::from_str::<Management<'_>>(value.get())
        .is_ok_and(|management| management.edits.iter().all(|edit| edit.kind.0.starts_with("clear_")))
}

#[derive(Deserialize)]
struct Lifetime<'a> {
    #[serde(borrow, default)]
    ttl: Option<Text<'a>>,
}

/// How deep values are followed. A block in a document in a tool's result lies at half of it.
const DEPTH_MAX: u8 = 16;

/// Visits the value under this name, in a map at this depth.
///
/// A text is passed over unread: it may be large, and it may hold what is not a text in Unicode, which is the provider's to judge.
fn walk<'de, A: MapAccess<'de>>(
    scale: &mut Scale<'de>,
    map: &mut A,
    name: &str,
    place: Place,
    depth: u8,
) -> Result<(), A::Error> {
    if is_text_next(scale.text, name) {
        return map.next_value::<IgnoredAny>().map(|_| ());
    }
    map.next_value_seed(Walk { scale, place, depth: depth + 1 })
}

/// Whether the value of the field with this name is a text. No, where the name is not borrowed from the body: it was escaped.
fn is_text_next(body: &str, name: &str) -> bool {
    let start = name.as_ptr().addr().wrapping_sub(body.as_ptr().addr());
    let behind_quote = start.saturating_add(name.len()).saturating_add(1);
    let rest = body.as_bytes().get(behind_quote..).unwrap_or_default();
    rest.iter().find(|byte| !matches!(byte, b':' | b' ' | b'\t' | b'\n' | b'\r')) == Some(&b'"')
}

/// Visits a value of any shape: an object is weighed by its place, a list one by one, all else is only bytes.
struct Walk<'s, 'a> {
    scale: &'s mut Scale<'a>,
    place: Place,
    depth: u8,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.depth < DEPTH_MAX {
            return deserializer.deserialize_any(self);
        }
        self.scale.is_unresolvable = true;
        deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ())
    }
}

impl<'de> Visitor<'de> for Walk<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { scale, place, depth } = self;
        while seq.next_element_seed(Walk { scale, place, depth: depth + 1 })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Self { scale, place, depth } = self;
        match place {
            Place::Message => content::message(scale, map, depth),
            Place::Block => content::block(scale, map, depth),
            Place::Source => content::source(scale, map, depth),
            Place::Tool => tool::tool(scale, map),
        }
    }
}

#[cfg(test)]
mod tests;
