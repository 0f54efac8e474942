//! Streams of InvokeModel: from frames to the events of Messages, and back.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{
    dialects::{
        STREAM_EVENT_BYTES_MAX, UNREADABLE_STREAM, anthropic,
        bedrock::{
            converse,
            frames::{self, Broken, Frame},
        },
    },
    error::ErrorClass,
    hub::{Event, StreamDecoder as _, StreamEncoder as _, Text},
    meter::Counters,
    splice::{Edit, Object},
    sse::{self, Splitter},
};

/// What Bedrock counted, beside the event that ends a message.
const METRICS: &str = "amazon-bedrock-invocationMetrics";
/// The event that ends a message.
const LAST: &str = "message_stop";

/// What a frame carries.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    bytes: Text<'a>,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
}

/// Makes frames of InvokeModel events of Messages. What a frame carries stays byte by byte, but for what Bedrock counted, which goes.
#[derive(Debug)]
pub struct FramesToEvents {
    frames: frames::Splitter,
    is_over: bool,
}

impl Default for FramesToEvents {
    fn default() -> Self {
        Self { frames: frames::Splitter::new(STREAM_EVENT_BYTES_MAX), is_over: false }
    }
}

impl FramesToEvents {
    /// Takes the next bytes, cut anywhere, and appends the events that they complete. What cannot be read, and an exception, becomes one
    /// `error` event; nothing follows it.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Self { frames, is_over } = self;
        frames.push(bytes, |frame| {
            if !*is_over && let Err((class, message)) = event(frame, out) {
                *is_over = true;
                fail(class, &message, out);
            }
        });
    }

    /// Where the last whole frame ends: the offset from the start of the stream.
    #[must_use]
    pub const fn boundary(&self) -> u64 {
        self.frames.boundary()
    }

    /// The stream has ended. A frame that is not whole becomes an `error` event.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if self.frames.end().is_err() && !std::mem::replace(&mut self.is_over, true) {
            fail(ErrorClass::Api, UNREADABLE_STREAM, out);
        }
    }
}

fn fail(class: ErrorClass, message: &str, out: &mut Vec<u8>) {
    anthropic::Encoder::default().push(&Event::Failed { class, message: message.into() }, out);
}

fn unreadable<E>(_: E) -> (ErrorClass, String) {
    (ErrorClass::Api, UNREADABLE_STREAM.to_owned())
}

fn event(frame: Result<Frame<'_>, Broken>, out: &mut Vec<u8>) -> Result<(), (ErrorClass, String)> {
    let frame = frame.map_err(unreadable)?;
    if frame.text(":message-type") != Some("event") {
        let failure = converse::failure_of(frame).ok_or_else(|| unreadable(()))?;
        return Err((failure.class, failure.sentence().into_owned()));
    }
    // Events may be added.
    if frame.text(":event-type") != Some("chunk") {
        return Ok(());
    }
    let chunk: Chunk<'_> = serde_json::from_slice(frame.payload).map_err(unreadable)?;
    let data = STANDARD.decode(&*chunk.bytes).map_err(unreadable)?;
    let Typed { kind } = serde_json::from_slice(&data).map_err(unreadable)?;
    let kind = kind.into_owned();
    let data = match &*kind {
        LAST => Object::read(&data).map_err(unreadable)?.edited(&[Edit::Remove(METRICS)]),
        _ => data,
    };
    // Bedrock writes JSON on one line; an event's data could not be written otherwise.
    let is_line = !data.contains(&b'\n') && !data.contains(&b'\r');
    let is_plain = kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_line || !is_plain {
        return Err(unreadable(()));
    }
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(&data);
    out.extend_from_slice(b"\n\n");
    Ok(())
}

/// Makes events of Messages frames of InvokeModel. The data of an event stays byte by byte; to the one that ends a message is added what
/// was counted.
#[derive(Debug)]
pub struct EventsToFrames {
    events: Splitter,
    meter: anthropic::StreamMeter,
    is_over: bool,
}

impl Default for EventsToFrames {
    fn default() -> Self {
        Self { events: Splitter::new(STREAM_EVENT_BYTES_MAX), meter: anthropic::StreamMeter::new(), is_over: false }
    }
}

#[derive(Serialize)]
struct Written<'a> {
    bytes: &'a str,
}

#[derive(Serialize)]
struct Failed<'a> {
    message: &'a str,
}

/// What Bedrock counts. The times that it measures too are not known here.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    input_token_count: u64,
    output_token_count: u64,
    cache_read_input_token_count: u64,
    cache_write_input_token_count: u64,
}

impl EventsToFrames {
    /// Takes the next bytes, cut anywhere, and appends the frames of the events that they complete. An `error` event, and what cannot be
    /// read, becomes an exception; nothing follows it. A `ping` has no frame: Bedrock has none.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Self { events, meter, is_over } = self;
        events.push(bytes, |event| {
            if *is_over {
                return;
            }
            // What was counted stands before the event that ends a message.
            meter.see(event);
            *is_over = framed(event, meter, out).unwrap_or_else(|(class, message)| {
                failed(class, &message, out);
                true
            });
        });
    }
}

impl EventsToFrames {
    /// Ends the stream with an event, behind the last whole one: what has begun and is not whole is forgotten.
    pub fn interrupt(&mut self, event: &[u8], out: &mut Vec<u8>) {
        self.events = Splitter::new(STREAM_EVENT_BYTES_MAX);
        self.push(event, out);
    }
}

// Whether the event was the last.
fn framed(
    event: sse::Event<'_>,
    meter: &anthropic::StreamMeter,
    out: &mut Vec<u8>,
) -> Result<bool, (ErrorClass, String)> {
    if event.oversized {
        return Err(unreadable(()));
    }
    let Typed { kind } = serde_json::from_slice(event.data).map_err(unreadable)?;
    match &*kind {
        "ping" => {}
        "error" => return Err(anthropic_failure(event.data)),
        LAST => {
            let object = Object::read(event.data).map_err(unreadable)?;
            let metrics = serde_json::to_string(&metrics(&meter.metered().counters)).unwrap_or_default();
            chunk(&object.edited(&[Edit::Set(METRICS, metrics.into())]), out);
            return Ok(true);
        }
        _ => chunk(event.data, out),
    }
    Ok(false)
}

fn anthropic_failure(data: &[u8]) -> (ErrorClass, String) {
    let mut failure = unreadable(());
    anthropic::Decoder::default().push(&[b"data: ", data, b"\n\n"].concat(), &mut |event| {
        if let Event::Failed { class, message } = event {
            failure = (class, message.to_string());
        }
    });
    failure
}

fn chunk(data: &[u8], out: &mut Vec<u8>) {
    let bytes = STANDARD.encode(data);
    // A text has a JSON form.
    frames::event("chunk", out, |out| drop(serde_json::to_writer(out, &Written { bytes: &bytes })));
}

fn failed(class: ErrorClass, message: &str, out: &mut Vec<u8>) {
    let kind = match class {
        ErrorClass::Timeout => "modelTimeoutException",
        class => converse::exception_type(class),
    };
    frames::exception(kind, out, |out| drop(serde_json::to_writer(out, &Failed { message })));
}

const fn metrics(counters: &Counters) -> Metrics {
    let Counters { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches: _ } = *counters;
    Metrics {
        input_token_count: input,
        output_token_count: output,
        cache_read_input_token_count: cache_read,
        cache_write_input_token_count: cache_write_5m.saturating_add(cache_write_1h),
    }
}

#[cfg(test)]
mod tests;
