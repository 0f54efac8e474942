use super::*;
use crate::bedrock::frames::Splitter as Frames;
use aws_smithy_eventstream::frame::read_message_from;

const EVENTS: [&str; 6] = [
    r#"{"type":"message_start","message":{"id":"msg_bdrk_01","type":"message","role":"assistant","model":"claude-sonnet-5-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":7,"output_tokens":1}}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Gr\u00fc\u00dfe 😀"}}"#,
    r#"{"type":"content_block_stop","index":0}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":9}}"#,
    r#"{"type":"message_stop"}"#,
];
const COUNTED: &str = r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":12,"outputTokenCount":9,"invocationLatency":840,"firstByteLatency":310}}"#;

fn sse(events: &[&str]) -> Vec<u8> {
    let event = |data: &&str| {
        let kind = data.split('"').nth(3).unwrap();
        format!("event: {kind}\ndata: {data}\n\n")
    };
    events.iter().map(event).collect::<String>().into_bytes()
}

// As Bedrock sends them: with padding that means nothing.
fn frames(events: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for data in events {
        let payload = format!(r#"{{"bytes":"{}","p":"abcdefgh"}}"#, STANDARD.encode(data));
        frames::event("chunk", &mut out, |out| out.extend_from_slice(payload.as_bytes()));
    }
    out
}

fn exception(kind: &str, message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    frames::exception(kind, &mut out, |out| out.extend_from_slice(format!(r#"{{"message":"{message}"}}"#).as_bytes()));
    out
}

fn opened<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let (mut reader, mut out) = (FramesToEvents::default(), Vec::new());
    pieces.into_iter().for_each(|piece| reader.push(piece, &mut out));
    reader.end(&mut out);
    String::from_utf8(out).unwrap()
}

fn framed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut writer, mut out) = (EventsToFrames::default(), Vec::new());
    pieces.into_iter().for_each(|piece| writer.push(piece, &mut out));
    out
}

// The headers and the payloads of frames, and the data in those that are chunks.
fn told(bytes: &[u8]) -> Vec<String> {
    let mut told = Vec::new();
    Frames::new(1 << 20).push(bytes, |frame| {
        let frame = frame.unwrap();
        let kind = frame.text(":event-type").or(frame.text(":exception-type")).unwrap();
        let payload: serde_json::Value = serde_json::from_slice(frame.payload).unwrap();
        let data = match payload["bytes"].as_str() {
            Some(bytes) => String::from_utf8(STANDARD.decode(bytes).unwrap()).unwrap(),
            None => payload.to_string(),
        };
        told.push(format!("{kind} {data}"));
    });
    told
}

#[test]
fn frames_become_the_events_in_them_however_they_are_cut() {
    let mut events = EVENTS;
    events[5] = COUNTED;
    let bytes = frames(&events);
    let expected = String::from_utf8(sse(&EVENTS)).unwrap();
    assert_eq!(opened([bytes.as_slice()]), expected);
    assert_eq!(opened(bytes.chunks(1)), expected);
    for at in 0..bytes.len() {
        assert_eq!(opened([&bytes[..at], &bytes[at..]]), expected, "{at}");
    }
}

#[test]
fn events_become_frames_that_their_inventor_reads_however_they_are_cut() {
    let bytes = [sse(&EVENTS[..2]), sse(&[r#"{"type": "ping"}"#]), sse(&EVENTS[2..])].concat();
    let whole = framed([bytes.as_slice()]);
    let mut expected: Vec<String> = EVENTS.iter().map(|data| format!("chunk {data}")).collect();
    expected[5] = concat!(
        r#"chunk {"amazon-bedrock-invocationMetrics":{"inputTokenCount":12,"outputTokenCount":9,"#,
        r#""cacheReadInputTokenCount":7,"cacheWriteInputTokenCount":0},"type":"message_stop"}"#
    )
    .to_owned();
    assert_eq!(told(&whole), expected);
    for at in 0..bytes.len() {
        assert_eq!(framed([&bytes[..at], &bytes[at..]]), whole, "{at}");
    }
    let mut unread = whole.as_slice();
    let first = read_message_from(&mut unread).unwrap();
    assert_eq!(first.payload().first(), Some(&b'{'));
    assert_eq!(opened([whole.as_slice()]), String::from_utf8(sse(&EVENTS)).unwrap());
}

#[test]
fn an_exception_becomes_an_error_event_and_ends_the_stream() {
    let check = |kind: &str, message: &str, expected: &str| {
        let bytes = [frames(&EVENTS[..1]), exception(kind, message), frames(&EVENTS[1..])].concat();
        let expected =
            [String::from_utf8(sse(&EVENTS[..1])).unwrap(), format!("event: error\ndata: {expected}\n\n")].concat();
        assert_eq!(opened([bytes.as_slice()]), expected);
        assert_eq!(opened(bytes.chunks(1)), expected);
    };
    check("throttlingException", "Slow.", r#"{"type":"error","error":{"type":"rate_limit_error","message":"Slow."}}"#);
    check("modelStreamErrorException", "No.", r#"{"type":"error","error":{"type":"api_error","message":"No."}}"#);
    check("modelTimeoutException", "Late.", r#"{"type":"error","error":{"type":"timeout_error","message":"Late."}}"#);
    check(
        "validationException",
        "Input is too long for requested model.",
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: Input is too long for requested model."}}"#,
    );
}

#[test]
fn an_error_event_becomes_an_exception_and_ends_the_stream() {
    let check = |kind: &str, expected: &str| {
        let error = format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"Why."}}}}"#);
        let bytes = [sse(&EVENTS[..1]), sse(&[&error]), sse(&EVENTS[1..])].concat();
        let expected = [format!("chunk {}", EVENTS[0]), format!(r#"{expected} {{"message":"Why."}}"#)];
        assert_eq!(told(&framed([bytes.as_slice()])), expected);
    };
    check("overloaded_error", "serviceUnavailableException");
    check("rate_limit_error", "throttlingException");
    check("timeout_error", "modelTimeoutException");
    check("api_error", "internalServerException");
    check("invalid_request_error", "validationException");
}

#[test]
fn what_is_broken_is_a_failure_and_never_skipped() {
    let error = format!(
        "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"api_error\",\"message\":\"{UNREADABLE_STREAM}\"}}}}\n\n"
    );
    let (whole, before) = (frames(&EVENTS), frames(&EVENTS[..1]));
    let first = String::from_utf8(sse(&EVENTS[..1])).unwrap();
    let after_first = [first.as_str(), &error].concat();
    assert_eq!(opened([&whole[..before.len() + 5]]), after_first, "truncated");
    assert_eq!(opened([before.as_slice()]), first, "broken off between frames");
    let mut wrong = whole.clone();
    wrong[before.len() + 40] ^= 1;
    assert_eq!(opened([wrong.as_slice()]), after_first, "a wrong checksum");
    let check = |payload: &str| {
        let mut bytes = Vec::new();
        frames::event("chunk", &mut bytes, |out| out.extend_from_slice(payload.as_bytes()));
        assert_eq!(opened([bytes.as_slice(), &before]), error, "{payload}");
    };
    check("{}");
    check(r#"{"bytes":"%"}"#);
    check(&format!(r#"{{"bytes":"{}"}}"#, STANDARD.encode("no JSON")));
    check(&format!(r#"{{"bytes":"{}"}}"#, STANDARD.encode("{\"type\":\n\"ping\"}")));
    check(&format!(r#"{{"bytes":"{}"}}"#, STANDARD.encode(r#"{"type":"a\nevent: b"}"#)));
    let exception = told(&framed([b"data: no JSON\n\n".as_slice(), &sse(&EVENTS)]));
    assert_eq!(exception, [format!(r#"internalServerException {{"message":"{UNREADABLE_STREAM}"}}"#)]);
    let exception = told(&framed([b"data: [\"message_stop\"]\n\n".as_slice(), &sse(&EVENTS)]));
    assert_eq!(exception, [format!(r#"internalServerException {{"message":"{UNREADABLE_STREAM}"}}"#)]);
}

#[test]
fn a_stream_is_interrupted_behind_its_last_whole_event() {
    let events = sse(&EVENTS);
    for cut in 0..events.len() {
        let (mut writer, mut out) = (EventsToFrames::default(), Vec::new());
        writer.push(&events[..cut], &mut out);
        let whole = told(&out).len();
        let event = br#"{"type":"error","error":{"type":"permission_error","message":"No more."}}"#;
        writer.interrupt(&[b"event: error\ndata: ", event.as_slice(), b"\n\n"].concat(), &mut out);
        let told = told(&out);
        let is_over = whole == EVENTS.len();
        assert_eq!(told.len(), if is_over { whole } else { whole + 1 }, "cut at {cut}");
        assert!(is_over || told.last().unwrap().contains("No more."), "cut at {cut}: {told:?}");
    }
}

#[test]
fn what_follows_the_end_of_a_message_is_not_counted_in_it() {
    let late = b"data: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":999}}\n\n";
    let wire = [sse(&EVENTS).as_slice(), late].concat();
    assert_eq!(framed([wire.as_slice()]), framed(wire.chunks(1)));
    assert!(!told(&framed([wire.as_slice()])).concat().contains("999"));
}
