//! The settings by name: one table for people, one match for the program; a test holds them together.

use super::{
    Behaviour, EVENTS_MAX, Encoding, Failure, Odd, Place, SIZE_BYTES_MAX, TOOLS_MAX, ToolUse, Unclear, WAIT_MAX,
};
use http::{HeaderName, HeaderValue, StatusCode};
use std::{str::FromStr, time::Duration};

/// Every setting: its name, an example of its value, and what it does.
pub const SETTINGS: &[(&str, &str, &str)] = &[
    ("text", "Hello there.", "the text to answer"),
    ("size", "4096", "so many bytes of text, by repeating it"),
    ("events", "200", "cut the text into so many pieces of a stream; without text or size, so many words"),
    ("thinking", "Let me see.", "thinking in front of the text"),
    ("tool", "Bash", "call this tool; behind a tool's result the answer is text. May be repeated"),
    ("tool-input", "{\"command\":\"echo hi\"}", "the JSON input of the tool named before"),
    ("stop-reason", "refusal", "the reason to stop, in the dialect's own word"),
    ("pings", "10", "a ping behind each so many pieces, where the dialect has pings"),
    ("input-tokens", "1000", "report so much input, instead of the body's bytes / 4"),
    ("output-tokens", "50", "report so much output, instead of the content's bytes / 4"),
    ("cache-read", "20000", "report so many tokens read from the cache, besides the input"),
    ("cache-write-5m", "500", "report so many tokens written to the cache for five minutes"),
    ("cache-write-1h", "500", "report so many tokens written to the cache for an hour"),
    ("web-searches", "1", "so many web searches made by the provider"),
    ("delay", "200ms", "wait before the head"),
    ("delay-body", "200ms", "wait between the head and the first event"),
    ("spacing", "20ms", "wait between events, or between the pieces of a drip"),
    ("drip", "1", "send so many bytes at a time"),
    ("status", "529", "answer an error with this status; with error-event it only decides the error's type"),
    ("error-type", "overloaded_error", "the error's type, in the dialect's own word"),
    ("error-message", "No capacity.", "the error's message"),
    ("retry-after", "2", "send this retry-after header"),
    ("answer-header", "x-should-retry: false", "send this header with the answer. May be repeated in directives"),
    ("content-type", "text/plain", "send this content type"),
    ("body", "garbage", "in place of an answer: garbage, html or empty"),
    ("redirect", "http://127.0.0.1:1/", "answer 307 to this address, or `status`"),
    ("encoding", "gzip", "compress the body: gzip, deflate or zstd"),
    ("hang", "head", "stop sending, and hold the connection: head, or behind so many events"),
    ("cut", "head", "cut the connection: head (nothing is sent), or behind so many events"),
    ("cut-bytes", "100", "cut the connection behind so many bytes of the body"),
    ("cut-with", "rst", "cut with rst or fin"),
    ("error-event", "3", "in a stream: an error event in place of what follows so many events"),
];

/// Headers that decide where a body ends, which is the server's to say.
const FRAMING: &[&str] = &["connection", "content-length", "transfer-encoding"];

pub(super) fn set(to: &mut Behaviour, name: &str, value: &str) -> Result<(), Unclear> {
    let set = Setting { name, value };
    match name {
        "text" => to.content.text = Some(set.text()?),
        "size" => to.content.size = Some(set.at_most(SIZE_BYTES_MAX)?),
        "events" => to.content.events = Some(set.at_most(EVENTS_MAX)?),
        "thinking" => to.content.thinking = Some(set.text()?),
        "tool" => add_tool(to, set)?,
        "tool-input" => to.content.tools.last_mut().ok_or(set.unclear("given behind `tool`"))?.input = set.json()?,
        "stop-reason" => to.content.stop_reason = Some(set.text()?),
        "pings" => to.content.pings = Some(set.at_most(EVENTS_MAX)?),
        "input-tokens" => to.counters.input = Some(set.number()?),
        "output-tokens" => to.counters.output = Some(set.number()?),
        "cache-read" => to.counters.cache_read = set.number()?,
        "cache-write-5m" => to.counters.cache_write_5m = set.number()?,
        "cache-write-1h" => to.counters.cache_write_1h = set.number()?,
        "web-searches" => to.counters.web_searches = set.at_most(100)? as u64,
        "delay" => to.pace.delay = set.wait()?,
        "delay-body" => to.pace.delay_body = set.wait()?,
        "spacing" => to.pace.spacing = set.wait()?,
        "drip" => to.pace.drip = Some(set.at_most(SIZE_BYTES_MAX)?.max(1)),
        "status" => failure(to).status = Some(set.status()?),
        "error-type" => failure(to).kind = Some(set.text()?),
        "error-message" => failure(to).message = Some(set.text()?),
        "retry-after" => to.shape.headers.push((http::header::RETRY_AFTER, set.header_value()?)),
        "answer-header" => to.shape.headers.push(set.header()?),
        "content-type" => to.shape.headers.push((http::header::CONTENT_TYPE, set.header_value()?)),
        "body" => to.shape.odd = Some(set.odd()?),
        "redirect" => to.shape.redirect = Some(set.header_value()?),
        "encoding" => to.shape.encoding = Some(set.encoding()?),
        "hang" => to.fault.hang = Some(set.place()?),
        "cut" => to.fault.cut = Some(set.place()?),
        "cut-bytes" => to.fault.cut = Some(Place::Bytes(set.at_most(SIZE_BYTES_MAX)?)),
        "cut-with" => to.fault.reset = set.is_reset()?,
        "error-event" => to.fault.error_event = Some(set.at_most(EVENTS_MAX)?),
        _ => return Err(Unclear::Unknown(name.chars().take(64).collect())),
    }
    Ok(())
}

/// What error to give: in place of the answer, or with `error-event` in the middle of it.
fn failure(to: &mut Behaviour) -> &mut Failure {
    to.failure.get_or_insert_default()
}

fn add_tool(to: &mut Behaviour, set: Setting<'_>) -> Result<(), Unclear> {
    if to.content.tools.len() >= TOOLS_MAX {
        return Err(set.unclear("given at most 64 times"));
    }
    to.content.tools.push(ToolUse { name: set.text()?, ..ToolUse::default() });
    Ok(())
}

/// Reads a number followed by `ms`, `s` or `m`; a bare number is in milliseconds.
pub(crate) fn wait(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let scale = match unit {
        "ms" | "" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return None,
    };
    let wait = Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(scale)?);
    (wait <= WAIT_MAX).then_some(wait)
}

#[derive(Clone, Copy)]
struct Setting<'a> {
    name: &'a str,
    value: &'a str,
}

impl Setting<'_> {
    fn unclear(self, expected: &'static str) -> Unclear {
        Unclear::Value { name: self.name.to_owned(), expected }
    }

    fn text(self) -> Result<String, Unclear> {
        if self.value.is_empty() { Err(self.unclear("a text that is not empty")) } else { Ok(self.value.to_owned()) }
    }

    fn number(self) -> Result<u64, Unclear> {
        self.value.parse().map_err(|_| self.unclear("a whole number"))
    }

    fn at_most(self, max: usize) -> Result<usize, Unclear> {
        self.value
            .parse()
            .ok()
            .filter(|number| *number <= max)
            .ok_or(self.unclear("a whole number, and not beyond its limit"))
    }

    fn wait(self) -> Result<Duration, Unclear> {
        wait(self.value).ok_or(self.unclear("a time of at most an hour, such as 250ms, 2s or 5m"))
    }

    fn json<T: serde::de::DeserializeOwned>(self) -> Result<T, Unclear> {
        serde_json::from_str(self.value).map_err(|_| self.unclear("a JSON object"))
    }

    fn status(self) -> Result<StatusCode, Unclear> {
        StatusCode::from_str(self.value)
            .ok()
            .filter(|status| status.as_u16() >= 200)
            .ok_or(self.unclear("an HTTP status of 200 to 999"))
    }

    fn header_value(self) -> Result<HeaderValue, Unclear> {
        HeaderValue::from_str(self.value).map_err(|_| self.unclear("a value that a header can have"))
    }

    fn header(self) -> Result<(HeaderName, HeaderValue), Unclear> {
        let unclear = || self.unclear("a header, such as `x-should-retry: false`");
        let (name, value) = self.value.split_once(':').ok_or_else(unclear)?;
        let name: HeaderName = name.trim().parse().map_err(|_| unclear())?;
        if FRAMING.contains(&name.as_str()) {
            return Err(self.unclear("a header that does not frame the body; see `cut` and `hang`"));
        }
        Ok((name, value.trim().parse().map_err(|_| unclear())?))
    }

    fn odd(self) -> Result<Odd, Unclear> {
        match self.value {
            "garbage" => Ok(Odd::Garbage),
            "html" => Ok(Odd::Html),
            "empty" => Ok(Odd::Empty),
            _ => Err(self.unclear("garbage, html or empty")),
        }
    }

    fn encoding(self) -> Result<Encoding, Unclear> {
        match self.value {
            "gzip" => Ok(Encoding::Gzip),
            "deflate" => Ok(Encoding::Deflate),
            "zstd" => Ok(Encoding::Zstd),
            _ => Err(self.unclear("gzip, deflate or zstd")),
        }
    }

    fn place(self) -> Result<Place, Unclear> {
        if self.value == "head" {
            return Ok(Place::Head);
        }
        self.value.parse().map(Place::Events).map_err(|_| self.unclear("`head` or a number of events"))
    }

    fn is_reset(self) -> Result<bool, Unclear> {
        match self.value {
            "rst" => Ok(true),
            "fin" => Ok(false),
            _ => Err(self.unclear("rst or fin")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_the_table_is_understood_and_stands_in_the_readme() {
        let readme = include_str!("../../README.md");
        for (name, example, _) in SETTINGS {
            let mut behaviour = Behaviour::default();
            if *name == "tool-input" {
                behaviour.set("tool", "Bash").unwrap();
            }
            assert_eq!(behaviour.set(name, example), Ok(()), "{name}");
            assert!(readme.contains(&format!("`{name}`")), "{name} is missing in README.md");
        }
    }

    #[test]
    fn an_unclear_setting_is_refused_by_name() {
        for (name, value) in [
            ("delay", "soon"),
            ("delay", "2h"),
            ("delay", "-1"),
            ("delay", "61m"),
            ("size", "-1"),
            ("size", "99999999999"),
            ("status", "99"),
            ("status", "ok"),
            ("tool-input", "{}"),
            ("body", "x"),
            ("encoding", "br"),
            ("hang", "tail"),
            ("cut-with", "x"),
            ("answer-header", "x"),
            ("answer-header", "a b: c"),
            ("answer-header", "Content-Length: 1"),
            ("text", ""),
        ] {
            let found = Behaviour::default().set(name, value);
            assert!(
                matches!(&found, Err(Unclear::Value { name: refused, .. }) if refused == name),
                "{name}={value}: {found:?}"
            );
        }
        assert_eq!(Behaviour::default().set("spaces", "1"), Err(Unclear::Unknown("spaces".into())));
    }

    #[test]
    fn times_are_read_with_their_unit() {
        for (text, millis) in [("7", 7), ("250ms", 250), ("2s", 2000), ("5m", 300_000), ("60m", 3_600_000)] {
            assert_eq!(wait(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "1h", "1.5s", "99999999999999999999s"] {
            assert_eq!(wait(text), None, "{text}");
        }
    }
}
