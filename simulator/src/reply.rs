//! An answer as content, before a dialect gives it a form: a function of the request and the behaviour, of nothing else.

use crate::{
    ask::Ask,
    behaviour::{Behaviour, Content, SIZE_BYTES_MAX, ToolUse},
};
use serde::Serialize;
use std::sync::Arc;

const GREETING: &str = "Hello from the simulator: no model has thought about this.";
const AFTER_TOOL: &str = "The tool has answered, and the simulator is done.";
/// How many bytes count as one token.
pub(crate) const BYTES_PER_TOKEN: usize = 4;
/// When every answer says that it was made, in Unix seconds: a constant, so that answers are the same each time.
pub(crate) const CREATED: u64 = 1_750_000_000;

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) model: String,
    /// What its identifiers are made of.
    pub(crate) mark: String,
    pub(crate) thinking: Option<String>,
    pub(crate) text: Option<Text>,
    pub(crate) tools: Vec<ToolUse>,
    pub(crate) tokens: Tokens,
    pub(crate) stop: Stop,
    /// In place of the dialect's word for `stop`.
    pub(crate) stop_word: Option<String>,
    pub(crate) pings: Option<usize>,
    pub(crate) include_usage: bool,
    pub(crate) include_seals: bool,
}

/// Why it ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stop {
    End,
    Tool,
    Length,
}

/// What an answer costs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Tokens {
    /// Input that was neither read from nor written to the cache.
    pub input: u64,
    /// All output, thinking included.
    pub output: u64,
    /// How many of the output are thinking.
    pub thinking: u64,
    /// Input read from the cache.
    pub cache_read: u64,
    /// Input written to the cache for five minutes.
    pub cache_write_5m: u64,
    /// Input written to the cache for an hour.
    pub cache_write_1h: u64,
    /// Web searches by the provider.
    pub web_searches: u64,
}

/// Text, and how a stream cuts it.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) whole: Arc<str>,
    cut: Cut,
}

#[derive(Clone, Copy, Debug)]
enum Cut {
    Words,
    Pieces(usize),
}

/// How many tokens so many bytes are: a quarter, rounded up.
pub(crate) const fn tokens_of(bytes: usize) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}

// === impl Reply ===

impl Reply {
    /// The answer to a request that shall be answered so.
    pub(crate) fn new(ask: &Ask, behaviour: &Behaviour, has_tool_result: bool) -> Self {
        let Content { thinking, tools, stop_reason, pings, .. } = &behaviour.content;
        let tools = if has_tool_result { Vec::new() } else { tools.clone() };
        let mut text = text(&behaviour.content, &tools, has_tool_result);
        let wanted = text.as_ref().map_or(0, |text| text.whole.len());
        let limit =
            usize::try_from(ask.max_tokens.unwrap_or(u64::MAX)).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN);
        let is_cut = wanted > limit;
        if is_cut {
            text = text.map(|text| text.shortened(limit));
        }
        let calls: usize = tools.iter().map(|tool| tool.name.len() + input_json(tool).len()).sum();
        let said = text.as_ref().map_or(0, |text| text.whole.len());
        let thought = thinking.as_ref().map_or(0, String::len);
        let counters = behaviour.counters;
        let stop = match () {
            () if is_cut => Stop::Length,
            () if tools.is_empty() => Stop::End,
            () => Stop::Tool,
        };
        Self {
            model: ask.model.clone(),
            mark: format!("{:08x}", ask.body_sum),
            thinking: thinking.clone(),
            text,
            tools,
            tokens: Tokens {
                input: counters.input.unwrap_or(tokens_of(ask.body_bytes)),
                output: counters.output.unwrap_or(tokens_of(said + thought + calls)),
                thinking: tokens_of(thought),
                cache_read: counters.cache_read,
                cache_write_5m: counters.cache_write_5m,
                cache_write_1h: counters.cache_write_1h,
                web_searches: counters.web_searches,
            },
            stop,
            stop_word: stop_reason.clone(),
            pings: *pings,
            include_usage: ask.include_usage,
            include_seals: ask.include_seals,
        }
    }

    /// The whole text; empty where there is none.
    pub(crate) fn text(&self) -> &str {
        self.text.as_ref().map_or("", |text| &text.whole)
    }

    /// The text in the pieces of a stream.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = String> + Send + use<> {
        self.text.clone().into_iter().flat_map(Text::pieces)
    }

    /// What a provider seals its thinking with, and wants back: base64, of which the beginning is always the same.
    pub(crate) fn seal(&self) -> String {
        format!("c2ltdWxhdG9y{}", self.mark)
    }

    /// The identifier of a tool's call.
    pub(crate) fn tool_id(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}{}{index:02}", self.mark)
    }

    /// The dialect's word for why it ends: of `end`, `tool` and `length`.
    pub(crate) fn stop<'a>(&'a self, end: &'a str, tool: &'a str, length: &'a str) -> &'a str {
        self.stop_word.as_deref().unwrap_or(match self.stop {
            Stop::End => end,
            Stop::Tool => tool,
            Stop::Length => length,
        })
    }
}

impl Tokens {
    /// All of the input, as the dialects count it that do not tell the cache apart.
    pub(crate) const fn input_with_cache(&self) -> u64 {
        self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h
    }
}

/// The input of a tool's call as JSON text.
pub(crate) fn input_json(tool: &ToolUse) -> String {
    serde_json::to_string(&tool.input).unwrap_or_default()
}

fn text(content: &Content, tools: &[ToolUse], has_tool_result: bool) -> Option<Text> {
    let Content { text, size, events, .. } = content;
    let is_silent = text.is_none() && size.is_none() && events.is_none() && !tools.is_empty();
    if is_silent {
        return None;
    }
    let given = text.as_deref().unwrap_or(if has_tool_result { AFTER_TOOL } else { GREETING });
    let (whole, cut) = match (*size, *events) {
        (Some(size), events) => (repeated(given, size), events.map_or(Cut::Words, Cut::Pieces)),
        (None, Some(events)) if text.is_none() => (words(given, events), Cut::Words),
        (None, events) => (given.to_owned(), events.map_or(Cut::Words, Cut::Pieces)),
    };
    Some(Text { whole: whole.into(), cut })
}

/// The text over and over, in so many bytes, or up to three fewer where a character would be cut.
fn repeated(text: &str, bytes: usize) -> String {
    let mut all = String::with_capacity(bytes);
    while all.len() < bytes {
        let room = (bytes - all.len()).min(SIZE_BYTES_MAX);
        let piece = text.get(..text.floor_char_boundary(room)).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        all.push_str(piece);
        if piece.len() == text.len() && all.len() < bytes {
            all.push(' ');
        }
    }
    all
}

/// So many words, from the text over and over.
fn words(text: &str, count: usize) -> String {
    text.split(' ').cycle().take(count).flat_map(|word| [word, " "]).collect()
}

// === impl Text ===

impl Text {
    fn shortened(self, bytes: usize) -> Self {
        let whole = self.whole.get(..self.whole.floor_char_boundary(bytes)).unwrap_or_default();
        Self { whole: whole.into(), cut: self.cut }
    }

    /// The pieces, one after the other; together they are the whole.
    fn pieces(self) -> impl Iterator<Item = String> + Send {
        let Self { whole, cut } = self;
        let mut from = 0;
        let mut index = 0;
        std::iter::from_fn(move || {
            let rest = whole.get(from..)?;
            let end = match cut {
                Cut::Words if rest.is_empty() => return None,
                Cut::Words => from + rest.find(' ').map_or(rest.len(), |space| space + 1),
                Cut::Pieces(count) if index >= count => return None,
                Cut::Pieces(count) => fraction(whole.len(), index + 1, count),
            };
            index += 1;
            let end = whole.floor_char_boundary(end).max(from);
            let piece = whole.get(from..end)?.to_owned();
            from = end;
            Some(piece)
        })
    }
}

/// `length * part / parts`, without overflow.
fn fraction(length: usize, part: usize, parts: usize) -> usize {
    usize::try_from(length as u128 * part as u128 / parts.max(1) as u128).unwrap_or(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(settings: &[(&str, &str)], max_tokens: Option<u64>, has_tool_result: bool) -> Reply {
        let body = br#"{"model":"m"}"#;
        let ask = Ask { max_tokens, ..Ask::read(&crate::route::Call::Messages, body).unwrap() };
        let behaviour = Behaviour::default().with(settings.iter().copied()).unwrap();
        Reply::new(&ask, &behaviour, has_tool_result)
    }

    #[test]
    fn a_text_is_cut_into_as_many_pieces_as_asked_and_they_are_the_whole() {
        for (settings, pieces, bytes) in [
            ([("text", "one two three"), ("pings", "0")].as_slice(), 3, 13),
            (&[("text", "Grüße"), ("events", "7")], 7, 7),
            (&[("events", "200")], 200, 1180),
            (&[("events", "0")], 0, 0),
            (&[("size", "1000"), ("events", "3")], 3, 1000),
            (&[("size", "1000"), ("text", "é")], 333, 999),
            (&[("size", "0")], 0, 0),
        ] {
            let reply = reply(settings, None, false);
            let found: Vec<String> = reply.pieces().collect();
            assert_eq!((found.len(), found.concat().len()), (pieces, bytes), "{settings:?}");
            assert_eq!(found.concat(), reply.text());
            assert_eq!(reply.tokens.output, tokens_of(bytes));
        }
    }

    #[test]
    fn an_answer_costs_what_it_says_or_a_quarter_of_its_bytes() {
        let counted = reply(&[("text", "12345"), ("thinking", "abcdefg")], None, false).tokens;
        assert_eq!(counted, Tokens { input: 4, output: 3, thinking: 2, ..Tokens::default() });
        let said = reply(&[("input-tokens", "7"), ("output-tokens", "8"), ("cache-read", "9")], None, false).tokens;
        assert_eq!(said, Tokens { input: 7, output: 8, cache_read: 9, ..Tokens::default() });
        assert_eq!(said.input_with_cache(), 16);
    }

    #[test]
    fn a_text_beyond_the_limit_of_the_request_is_cut_there() {
        let cut = reply(&[("size", "1000")], Some(10), false);
        assert_eq!((cut.text().len(), cut.tokens.output, cut.stop), (40, 10, Stop::Length));
        assert_eq!(reply(&[("size", "40")], Some(10), false).stop, Stop::End);
    }

    #[test]
    fn a_tool_is_called_once_and_its_result_is_answered_with_text() {
        let call = reply(&[("tool", "Bash"), ("tool-input", r#"{"command":"ls"}"#)], None, false);
        assert_eq!((call.tools.len(), call.stop, call.text()), (1, Stop::Tool, ""));
        let after = reply(&[("tool", "Bash")], None, true);
        assert_eq!((after.tools.len(), after.stop, after.text()), (0, Stop::End, AFTER_TOOL));
    }
}
